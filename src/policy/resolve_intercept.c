// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `intercept` statements: whether what is written can be meant, and the rule that comes of each. A
 * rule is about the family of its target, and about TCP and UDP, only.
 */
#include "policy/resolve.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "policy/format.h"

/* Packets of this host never arrive, and those for it need nobody to hand them over. */
static int check_sides(struct resolver *resolver, const struct tree_intercept *tree)
{
	const struct tree_words *sides[] = { &tree->pair.from, &tree->pair.to };

	for (int i = 0; i < 2; i++)
		for (uint32_t k = 0; k < sides[i]->n; k++)
			if (!strcmp(sides[i]->items[k].text, "self"))
				return resolve_error(resolver, sides[i]->items[k].position,
						     "intercept-side",
						     "name the zone from which the packets arrive and the zone they were to leave to",
						     "only packets that are forwarded are intercepted");
	return 0;
}

static int check_target(struct resolver *resolver, const struct tree_target *target)
{
	const struct tree_address *address = &target->address;
	bool zero = !(address->lo[0] | address->lo[1] | address->lo[2] | address->lo[3]);
	uint32_t many = address->family == 4 ? 0xe0000000 : 0xff000000;

	if (memcmp(address->lo, address->hi, sizeof(address->lo)) != 0)
		return resolve_error(resolver, address->position, "bad-target",
				     "write the one address on which the proxy listens",
				     "packets are handed to one address, not to several");
	if (zero || address->lo[0] >= many)
		return resolve_error(resolver, address->position, "bad-target",
				     "write an address of this host, as in `to 127.0.0.1:3129`",
				     "no proxy is found at this address");
	if (!target->has_ports)
		return resolve_error(resolver, address->position, "missing-port",
				     "add the port on which the proxy listens, as in `to 127.0.0.1:3129`",
				     "packets are handed to an address and a port");
	if (target->lo != target->hi)
		return resolve_error(resolver, address->position, "bad-target",
				     "write the one port on which the proxy listens",
				     "packets are handed to one port, not to a range");
	return 0;
}

static bool is_handed(const struct clause *clause)
{
	const struct ranges *protocol = &clause->field[FIELD_PROTOCOL];

	for (uint32_t i = 0; i < protocol->n; i++)
		if (protocol->items[i].lo != protocol->items[i].hi ||
		    (protocol->items[i].lo != IPPROTO_TCP && protocol->items[i].lo != IPPROTO_UDP))
			return false;
	return true;
}

/* What is matched, against where it is handed to. No protocol: all that can be handed over. */
static int check_match(struct resolver *resolver, const struct tree_statement *statement,
		       const struct clauses *clauses)
{
	const struct tree_address *address = &statement->intercept.to.address;
	uint8_t families = 0;

	for (uint32_t i = 0; i < clauses->n; i++) {
		families |= clauses->items[i].families;
		if (!is_handed(&clauses->items[i]))
			return resolve_error(resolver, statement->position, "intercept-protocol",
					     "name ports of tcp or udp, as in `80/tcp`",
					     "only TCP and UDP are intercepted");
	}
	if (families && !(families & (address->family == 4 ? FAMILY_BIT_4 : FAMILY_BIT_6)))
		return resolve_error(resolver, address->position, "mixed-families",
				     "write a statement for each family, each with a target of its own",
				     "the target is IPv%u, what is matched is IPv%u",
				     address->family, address->family == 4 ? 6 : 4);
	return 0;
}

/* What is matched without a protocol. */
static const struct range handed[] = { { IPPROTO_TCP, IPPROTO_TCP }, { IPPROTO_UDP, IPPROTO_UDP } };

/* The clauses of the target's family, as the rule has them. */
static int keep_clauses(struct resolver *resolver, const struct clauses *clauses, unsigned family,
			struct rule *rule)
{
	uint8_t bit = family == 4 ? FAMILY_BIT_4 : FAMILY_BIT_6;
	struct clause *kept = arena_array(resolver->arena, clauses->n + 1, sizeof(*kept));
	uint32_t n = 0;

	if (!kept)
		return -ENOMEM;
	for (uint32_t i = 0; i < clauses->n; i++) {
		if (!(clauses->items[i].families & bit))
			continue;
		kept[n] = clauses->items[i];
		kept[n].families = bit;
		if (!kept[n].field[FIELD_PROTOCOL].n)
			kept[n].field[FIELD_PROTOCOL] =
				(struct ranges){ handed, sizeof(handed) / sizeof(handed[0]) };
		n++;
	}
	rule->clauses = kept;
	rule->clause_n = n;
	return 0;
}

static int keep_target(struct resolver *resolver, const struct tree_target *tree,
		       struct nat_rule *rule)
{
	struct nat_target *target = arena_new(resolver->arena, struct nat_target);

	if (!target)
		return -ENOMEM;
	*target = (struct nat_target){ .family = tree->address.family,
				       .port_lo = tree->lo,
				       .port_hi = tree->hi };
	memcpy(target->addresses.lo, tree->address.lo, sizeof(target->addresses.lo));
	memcpy(target->addresses.hi, tree->address.hi, sizeof(target->addresses.hi));
	rule->targets = target;
	rule->target_n = 1;
	return 0;
}

static int keep_rule(struct resolver *resolver, const struct tree_statement *statement,
		     const struct zone_pair *pair, const struct clauses *clauses,
		     struct nat_rule_vector *rules)
{
	const struct tree_intercept *tree = &statement->intercept;
	struct nat_rule rule = { .rule = { .origin = RULE_FILE,
					   .from = pair->from,
					   .to = pair->to,
					   .action = ACTION_TRANSLATE,
					   .log_sample = 1,
					   .pair = pair->text,
					   .position = statement->position },
				 .kind = NAT_INTERCEPT,
				 .pass = tree->pass };
	int err = keep_clauses(resolver, clauses, tree->to.address.family, &rule.rule);

	if (!err)
		err = keep_target(resolver, &tree->to, &rule);
	if (!err && statement->trivia)
		err = resolve_copy(resolver, statement->trivia->trailing, &rule.rule.comment);
	if (err)
		return err;
	format_intercept(tree, resolve_fresh_text(resolver));
	err = resolve_keep_text(resolver, &rule.rule.text);
	return err ? err : nat_rule_vector_push(rules, rule);
}

static int resolve_one(struct resolver *resolver, const struct tree_statement *statement,
		       struct nat_rule_vector *rules)
{
	const struct tree_intercept *tree = &statement->intercept;
	struct clauses clauses = { 0 };
	struct zone_pair pair = { 0 };
	int result = check_sides(resolver, tree);
	int err = result ? 0 : resolve_pair(resolver, &tree->pair, &pair);

	if (err == -ENOMEM)
		return err;
	result = err ? err : result;
	err = check_target(resolver, &tree->to);
	result = err ? err : result;
	err = resolve_match(resolver, &tree->match, statement->position, false, &clauses);
	if (!err)
		err = check_match(resolver, statement, &clauses);
	result = err ? err : result;
	return result ? result : keep_rule(resolver, statement, &pair, &clauses, rules);
}

int resolve_intercept(struct resolver *resolver, const struct statement_vector *statements,
		      struct nat_rule_vector *rules)
{
	int result = 0;

	for (size_t i = 0; i < statements->n; i++) {
		int err = statements->items[i]->kind == TREE_INTERCEPT ?
				  resolve_one(resolver, statements->items[i], rules) :
				  0;

		if (err == -ENOMEM)
			return err;
		if (rules->n > NAT_RULES_MAX)
			return resolve_error(resolver, statements->items[i]->position,
					     "too-many-rules", NULL,
					     "more than %d rules of NAT and `intercept` by this one",
					     NAT_RULES_MAX);
		result = result ? result : err;
	}
	return result ? result : resolve_intercept_check(resolver, rules->items, (uint32_t)rules->n);
}
