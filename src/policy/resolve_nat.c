// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rules of `nat` blocks: what they match becomes clauses as any match does, where they translate to
 * becomes targets. All targets of a rule are of one family, and the rule is then about that family
 * only.
 *
 * A prefix that is translated to a prefix of its length keeps the host bits. That holds where both
 * are written as one prefix each; a `source` with any other match takes the target's addresses as a
 * pool.
 */
#include "policy/resolve.h"

#include <netinet/in.h>
#include <string.h>

#include "policy/format.h"

#define IPV6_PREFIX_MAX 112 /* 16 bits are left for the checksum, RFC 6296 */

static const enum nat_kind kinds[] = {
	[TREE_NAT_SOURCE] = NAT_SOURCE,
	[TREE_NAT_MASQUERADE] = NAT_MASQUERADE,
	[TREE_NAT_FORWARD] = NAT_FORWARD,
};

static const char *const kind_words[] = {
	[NAT_SOURCE] = "source",
	[NAT_MASQUERADE] = "masquerade",
	[NAT_FORWARD] = "forward",
};

/* --- where a rule stands ---------------------------------------------------------- */

/* Destinations are translated on arrival, sources on departure. */
static int check_sides(struct resolver *resolver, const struct tree_nat_rule *tree,
		       const struct zone_pair *pair)
{
	const char *word = kind_words[kinds[tree->kind]];

	if (tree->kind == TREE_NAT_FORWARD && pair->from & UINT64_C(1) << ZONE_SELF)
		return resolve_error(resolver, tree->position, "nat-side",
				     "name the zone from which the packets arrive, as in `nat wan -> self`",
				     "`forward` is for packets that arrive, `self` stands on the left of `%s`",
				     pair->text);
	if (tree->kind != TREE_NAT_FORWARD && pair->to & UINT64_C(1) << ZONE_SELF)
		return resolve_error(resolver, tree->position, "nat-side",
				     "name the zone to which the packets leave, as in `nat lan -> wan`",
				     "`%s` is for packets that leave, `self` stands on the right of `%s`",
				     word, pair->text);
	return 0;
}

/* --- targets ------------------------------------------------------------------------ */

static unsigned address_bits(unsigned family)
{
	return family == 4 ? 32 : 128;
}

static bool is_prefix(const struct tree_address *address)
{
	return address->kind == TREE_ADDRESS_PREFIX &&
	       address->prefix < address_bits(address->family);
}

static const char *address_text(struct resolver *resolver, const struct tree_address *address)
{
	struct text *text = resolve_fresh_text(resolver);
	const char *copy;

	format_address(address, text);
	copy = text_error(text) ? NULL :
				  arena_copy(&resolver->scratch, text_string(text), text->len);
	return copy ? copy : "the target";
}

/* An address that a packet can come from or go to. */
static int check_address(struct resolver *resolver, const struct tree_address *address)
{
	bool zero = !(address->lo[0] | address->lo[1] | address->lo[2] | address->lo[3]);
	uint32_t many = address->family == 4 ? 0xe0000000 : 0xff000000;

	if (!zero && address->hi[0] < many)
		return 0;
	return resolve_error(resolver, address->position, "bad-target",
			     zero ? "write the address itself; `masquerade` takes that of the leaving interface" :
				    NULL,
			     zero ? "`%s` is no address to translate to" :
				    "`%s` is not of one host: packets to many are not translated",
			     address_text(resolver, address));
}

/* The one prefix that a match names on the side that is translated, or NULL. */
static const struct tree_address *matched_prefix(const struct tree_nat_rule *tree)
{
	const struct tree_addresses *named = tree->kind == TREE_NAT_FORWARD ? tree->match.to :
									      tree->match.from;

	if (!named || named->negated || named->n != 1 || !is_prefix(&named->items[0]))
		return NULL;
	return &named->items[0];
}

static int prefix_target(struct resolver *resolver, const struct tree_target *tree,
			 const struct tree_address *matched, struct nat_target *target)
{
	const struct tree_address *address = &tree->address;

	if (matched->family != address->family)
		return resolve_error(resolver, address->position, "mixed-families", NULL,
				     "`%s` is IPv%u, what is matched is IPv%u",
				     address_text(resolver, address), address->family,
				     matched->family);
	if (matched->prefix != address->prefix)
		return resolve_error(resolver, address->position, "prefix-length",
				     "a pool of addresses is written as a range, with `-`",
				     "a prefix is translated to one of its length: /%u is not /%u",
				     address->prefix, matched->prefix);
	if (address->family == 6 && address->prefix > IPV6_PREFIX_MAX)
		return resolve_error(resolver, address->position, "prefix-length", NULL,
				     "an IPv6 prefix that is translated has at most %u bits",
				     IPV6_PREFIX_MAX);
	if (tree->has_ports)
		return resolve_error(resolver, address->position, "prefix-ports", NULL,
				     "from prefix to prefix ports stay as they are");
	target->prefix_to_prefix = true;
	target->prefix = address->prefix;
	memcpy(target->from_lo, matched->lo, sizeof(target->from_lo));
	return 0;
}

/* The kernel takes such packets from itself only, whoever rewrote them. */
static void warn_of_loopback(struct resolver *resolver, const struct tree_address *address)
{
	static const uint32_t six[4] = { 0, 0, 0, 1 };

	if (address->family == 4 ? address->lo[0] >> 24 != 127 :
				   memcmp(address->lo, six, sizeof(six)) != 0)
		return;
	diagnose(resolver->diagnostics, DIAGNOSTIC_WARNING, address->position, "loopback-target",
		 "let the service listen on an address of an interface, and name that",
		 "the kernel drops packets for `%s` that come from outside",
		 address_text(resolver, address));
}

static int resolve_target(struct resolver *resolver, const struct tree_nat_rule *tree,
			  const struct tree_target *written, struct nat_target *target)
{
	const struct tree_address *address = &written->address, *matched = matched_prefix(tree);
	int err = check_address(resolver, address);

	*target = (struct nat_target){ .family = address->family,
				       .port_lo = written->has_ports ? written->lo : 0,
				       .port_hi = written->has_ports ? written->hi : 0 };
	memcpy(target->addresses.lo, address->lo, sizeof(address->lo));
	memcpy(target->addresses.hi, address->hi, sizeof(address->hi));
	if (!err && tree->kind == TREE_NAT_FORWARD)
		warn_of_loopback(resolver, address);
	if (err || !is_prefix(address))
		return err;
	if (matched && tree->to.n == 1)
		return prefix_target(resolver, written, matched, target);
	if (tree->kind == TREE_NAT_FORWARD)
		return resolve_error(resolver, address->position, "prefix-target",
				     "write a range to spread over its addresses, or `forward to PREFIX to PREFIX`",
				     "a prefix as target wants a prefix that is matched");
	return 0;
}

static int resolve_targets(struct resolver *resolver, const struct tree_nat_rule *tree,
			   struct nat_rule *rule)
{
	struct nat_target *targets;
	int result = 0;

	if (tree->to.n > NAT_TARGETS_MAX)
		return resolve_error(resolver, tree->position, "too-many", NULL,
				     "more than %d targets", NAT_TARGETS_MAX);
	if (!tree->to.n)
		return 0;
	targets = arena_array(resolver->arena, tree->to.n, sizeof(*targets));
	if (!targets)
		return -ENOMEM;
	for (uint32_t i = 0; i < tree->to.n; i++) {
		const struct tree_address *address = &tree->to.items[i].address;
		int err = resolve_target(resolver, tree, &tree->to.items[i], &targets[i]);

		if (!err && address->family != tree->to.items[0].address.family)
			err = resolve_error(resolver, address->position, "mixed-families",
					    "write a rule for each family",
					    "targets of one rule are of one family");
		result = result ? result : err;
	}
	rule->targets = targets;
	rule->target_n = tree->to.n;
	return result;
}

/* --- ports ----------------------------------------------------------------------------- */

static bool has_forwarded_ports(const struct clause *clause)
{
	const struct ranges *protocol = &clause->field[FIELD_PROTOCOL];

	return protocol->n == 1 && protocol->items[0].lo == protocol->items[0].hi &&
	       (protocol->items[0].lo == IPPROTO_TCP || protocol->items[0].lo == IPPROTO_UDP);
}

/* A range of ports is forwarded to a range as long, port by port. */
static int check_port_range(struct resolver *resolver, const struct tree_target *written,
			    const struct clauses *clauses, struct nat_target *target)
{
	const struct range *first = NULL;

	for (uint32_t i = 0; i < clauses->n; i++) {
		const struct ranges *ports = &clauses->items[i].field[FIELD_DST_PORT];

		if (ports->n != 1 || (first && memcmp(first, ports->items, sizeof(*first))))
			return resolve_error(resolver, written->address.position, "port-range",
					     "write a rule for each range",
					     "a range of ports as target wants one range that is matched");
		first = ports->items;
	}
	if (!first)
		return 0;
	if (first->hi - first->lo != (uint32_t)written->hi - written->lo)
		return resolve_error(resolver, written->address.position, "port-range",
				     "ports are forwarded one to one, or all to a single one",
				     "%u-%u are %u ports, %u-%u are %u", first->lo, first->hi,
				     first->hi - first->lo + 1, written->lo, written->hi,
				     written->hi - written->lo + 1);
	target->match_port_lo = (uint16_t)first->lo;
	return 0;
}

static int check_ports(struct resolver *resolver, const struct tree_nat_rule *tree,
		       const struct clauses *clauses, const struct nat_rule *rule)
{
	struct nat_target *targets = (struct nat_target *)rule->targets;

	for (uint32_t i = 0; tree->kind == TREE_NAT_FORWARD && i < tree->to.n; i++) {
		const struct tree_target *written = &tree->to.items[i];
		int err = 0;

		if (!written->has_ports)
			continue;
		for (uint32_t j = 0; j < clauses->n; j++)
			if (!has_forwarded_ports(&clauses->items[j]))
				return resolve_error(resolver, written->address.position,
						     "ports-protocol",
						     "name the service with its protocol, as in `8080/tcp`",
						     "ports can be changed of tcp and udp only");
		if (written->lo != written->hi)
			err = check_port_range(resolver, written, clauses, &targets[i]);
		if (err)
			return err;
	}
	return 0;
}

/* --- rules ------------------------------------------------------------------------------ */

/* Keeps the clauses of the targets' family. */
static int keep_family(struct resolver *resolver, const struct tree_nat_rule *tree,
		       const struct nat_rule *rule, struct clauses *clauses)
{
	struct clause *kept;
	uint8_t bit;
	uint32_t n = 0;

	if (!rule->target_n || !clauses->n)
		return 0;
	bit = rule->targets[0].family == 4 ? FAMILY_BIT_4 : FAMILY_BIT_6;
	kept = arena_array(resolver->arena, clauses->n, sizeof(*kept));
	if (!kept)
		return -ENOMEM;
	for (uint32_t i = 0; i < clauses->n; i++) {
		if (!(clauses->items[i].families & bit))
			continue;
		kept[n] = clauses->items[i];
		kept[n++].families = bit;
	}
	if (!n)
		return resolve_error(resolver, tree->to.items[0].address.position,
				     "mixed-families", NULL,
				     "`%s` is IPv%u, what is matched is IPv%u",
				     address_text(resolver, &tree->to.items[0].address),
				     rule->targets[0].family, bit == FAMILY_BIT_4 ? 6 : 4);
	*clauses = (struct clauses){ kept, n };
	return 0;
}

static int resolve_nat_rule(struct resolver *resolver, const struct tree_nat_rule *tree,
			    const struct zone_pair *pair, struct nat_rule *rule)
{
	struct clauses clauses = { 0 };
	int result, err;

	*rule = (struct nat_rule){ .rule = { .origin = RULE_FILE,
					     .from = pair->from,
					     .to = pair->to,
					     .action = ACTION_TRANSLATE,
					     .log_sample = 1,
					     .pair = pair->text,
					     .position = tree->position },
				   .kind = kinds[tree->kind],
				   .full_cone = tree->full_cone };
	if (tree->full_cone)
		diagnose(resolver->diagnostics, DIAGNOSTIC_WARNING, tree->position,
			 "not-supported", "others cannot answer to an outer port that they were not called from",
			 "`full-cone` is not carried out yet");
	result = check_sides(resolver, tree, pair);
	err = resolve_targets(resolver, tree, rule);
	result = result ? result : err;
	if (err != -ENOMEM) {
		err = resolve_match(resolver, &tree->match, tree->position, false, &clauses);
		result = result ? result : err;
	}
	if (!result)
		result = keep_family(resolver, tree, rule, &clauses);
	if (!result)
		result = check_ports(resolver, tree, &clauses, rule);
	if (result)
		return err == -ENOMEM ? err : result;
	rule->rule.clauses = clauses.items;
	rule->rule.clause_n = clauses.n;
	if (tree->trivia &&
	    resolve_copy(resolver, tree->trivia->trailing, &rule->rule.comment))
		return -ENOMEM;
	format_nat_rule(tree, resolve_fresh_text(resolver));
	return resolve_keep_text(resolver, &rule->rule.text);
}

static int resolve_block(struct resolver *resolver, const struct tree_nat *tree,
			 struct nat_rule_vector *rules)
{
	struct zone_pair pair = { 0 };
	int result = resolve_pair(resolver, &tree->pair, &pair);
	bool known = !result;

	if (result == -ENOMEM)
		return result;
	if (!known)
		pair.text = "";
	for (uint32_t i = 0; i < tree->rule_n; i++) {
		struct nat_rule rule;
		int err = resolve_nat_rule(resolver, &tree->rules[i], &pair, &rule);

		if (!err && known && nat_rule_vector_push(rules, rule))
			err = -ENOMEM;
		if (err == -ENOMEM)
			return err;
		result = err ? err : result;
	}
	return result;
}

int resolve_nat(struct resolver *resolver, const struct statement_vector *statements,
		struct nat_rule_vector *rules)
{
	int result = 0, err;

	for (size_t i = 0; i < statements->n; i++) {
		if (statements->items[i]->kind != TREE_NAT)
			continue;
		err = resolve_block(resolver, &statements->items[i]->nat, rules);
		if (err == -ENOMEM)
			return err;
		if (rules->n > NAT_RULES_MAX)
			return resolve_error(resolver, statements->items[i]->position,
					     "too-many-rules", NULL,
					     "more than %d rules of NAT by the end of this block",
					     NAT_RULES_MAX);
		result = err ? err : result;
	}
	err = resolve_nat_check(resolver, rules->items, (uint32_t)rules->n);
	return err ? err : result;
}
