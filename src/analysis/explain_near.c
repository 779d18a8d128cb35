// SPDX-License-Identifier: GPL-2.0-or-later
#include "analysis/explain_near.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "analysis/evaluate.h"
#include "analysis/explain_fill.h"
#include "policy/icmp.h"
#include "policy/protocols.h"
#include "policy/resolve_ranges.h"

#define RANGES_SHOWN 4
#define NO_FIELD FIELD_WORDS

/* What a part of a packet is called. */
static const char *const part_names[FIELD_WORDS] = {
	[FIELD_FAMILY] = "family",
	[FIELD_PROTOCOL] = "protocol",
	[FIELD_SRC_PORT] = "source port",
	[FIELD_DST_PORT] = "port",
	[FIELD_FRAGMENT] = "fragment",
	[FIELD_TCP_FLAGS] = "flags",
	[FIELD_LENGTH] = "length",
	[FIELD_DSCP] = "dscp",
	[FIELD_TTL] = "ttl",
	[FIELD_MARK] = "mark",
	[FIELD_MAC_HIGH] = "source MAC",
	[FIELD_EXPECTED] = "DHCP answer",
	[FIELD_STATE] = "state",
	[FIELD_SRC] = "source address",
	[FIELD_DST] = "destination address",
};

/* --- which part differs --------------------------------------------------------- */

/*
 * The clause without its demand on one field. A part is the only difference if the clause matches
 * without that demand, so the evaluator itself tells.
 */
static struct clause without(const struct clause *clause, enum field field)
{
	struct clause rest = *clause;

	switch (field) {
	case FIELD_FAMILY:
		rest.families = FAMILY_BITS_ALL;
		break;
	case FIELD_TCP_FLAGS:
		rest.flags.mask = 0;
		rest.flags.value = 0;
		break;
	case FIELD_MARK:
		rest.mark.mask = 0;
		rest.mark.value = 0;
		break;
	case FIELD_MAC_HIGH:
		rest.has_mac = false;
		break;
	case FIELD_SRC:
		rest.src = NULL;
		rest.src_sets = (struct membership){ 0 };
		break;
	case FIELD_DST:
		rest.dst = NULL;
		rest.dst_sets = (struct membership){ 0 };
		break;
	default:
		rest.field[field].n = 0;
		break;
	}
	return rest;
}

static enum field only_difference(const struct ruleset *ruleset, const struct clause *clause,
				  const struct fields *fields)
{
	for (unsigned field = 0; field < FIELD_WORDS; field++) {
		struct clause rest;

		if (!part_names[field])
			continue;
		rest = without(clause, (enum field)field);
		if (clause_matches(ruleset, &rest, fields))
			return (enum field)field;
	}
	return NO_FIELD;
}

/* --- telling it --------------------------------------------------------------------- */

static void put_address_range(const struct address_range *range, unsigned family, struct text *out)
{
	explain_address(range->lo, family, out);
	if (address_order(range->lo, range->hi)) {
		text_putc(out, '-');
		explain_address(range->hi, family, out);
	}
}

static void put_addresses(const struct addresses *addresses, struct text *out)
{
	if (addresses->name) {
		text_printf(out, "%s@%s", addresses->negated ? "!" : "", addresses->name);
		return;
	}
	for (uint32_t i = 0; i < addresses->n && i < RANGES_SHOWN; i++) {
		text_puts(out, i ? ", " : "");
		put_address_range(&addresses->items[i], addresses->family, out);
	}
	if (addresses->n > RANGES_SHOWN)
		text_printf(out, " and %u more", addresses->n - RANGES_SHOWN);
}

/* Addresses, dynamic sets, or addresses that are in none of these. */
static void put_side(const struct ruleset *ruleset, const struct addresses *addresses,
		     const struct membership *sets, struct text *out)
{
	bool first = true;

	if (addresses)
		put_addresses(addresses, out);
	if (addresses && sets->sets)
		text_puts(out, ", and ");
	for (uint32_t i = 0; i < ruleset->set_n; i++) {
		if (!(sets->sets >> i & 1))
			continue;
		text_printf(out, "%s%s@%s", first ? "" : ", ", sets->none ? "!" : "",
			    ruleset->sets[i].name);
		first = false;
	}
}

/*
 * A number of a field as a person says it. `icmp` is the family whose types the field holds, or 0.
 */
static void put_value(enum field field, uint32_t value, unsigned icmp, struct text *out)
{
	const char *name = NULL;

	if (field == FIELD_PROTOCOL)
		name = protocol_name((uint8_t)value);
	else if (field == FIELD_STATE)
		name = value == STATE_NEW ? "new" : "untracked";
	else if (field == FIELD_FRAGMENT || field == FIELD_EXPECTED)
		name = value ? "yes" : "no";
	else if (field == FIELD_DST_PORT && icmp)
		name = icmp_name(icmp, (uint8_t)(value >> 8), (int)(value & 0xff));
	if (name)
		text_puts(out, name);
	else if (field == FIELD_DST_PORT && icmp)
		text_printf(out, "type %u code %u", value >> 8, value & 0xff);
	else
		text_printf(out, "%u", value);
}

static void put_ranges(enum field field, const struct ranges *ranges, unsigned icmp,
		       struct text *out)
{
	for (uint32_t i = 0; i < ranges->n && i < RANGES_SHOWN; i++) {
		const struct range *range = &ranges->items[i];
		bool type = icmp && range->hi == (range->lo | 0xff);

		text_puts(out, i ? ", " : "");
		put_value(field, range->lo, icmp, out);
		if (range->lo != range->hi && !type) {
			text_putc(out, '-');
			put_value(field, range->hi, icmp, out);
		}
	}
	if (ranges->n > RANGES_SHOWN)
		text_printf(out, " and %u more", ranges->n - RANGES_SHOWN);
}

static unsigned icmp_family(const struct fields *fields)
{
	uint32_t protocol = fields->word[FIELD_PROTOCOL];

	return protocol == IPPROTO_ICMP ? 4 : protocol == IPPROTO_ICMPV6 ? 6 : 0;
}

static void put_is(const struct fields *fields, enum field field, struct text *out)
{
	const uint32_t *word = fields->word;

	switch (field) {
	case FIELD_FAMILY:
		text_printf(out, "IPv%u", word[field]);
		break;
	case FIELD_SRC:
	case FIELD_DST:
		explain_address(&word[field], word[FIELD_FAMILY], out);
		break;
	case FIELD_TCP_FLAGS:
		explain_flags(word[field], out);
		break;
	case FIELD_MARK:
		text_printf(out, "0x%x", word[field]);
		break;
	case FIELD_MAC_HIGH:
		text_printf(out, "%02x:%02x:%02x:%02x:%02x:%02x", word[field] >> 8,
			    word[field] & 255, word[FIELD_MAC_LOW] >> 24,
			    word[FIELD_MAC_LOW] >> 16 & 255, word[FIELD_MAC_LOW] >> 8 & 255,
			    word[FIELD_MAC_LOW] & 255);
		break;
	default:
		put_value(field, word[field], icmp_family(fields), out);
		break;
	}
}

static void put_wants(const struct ruleset *ruleset, const struct clause *clause,
		      const struct fields *fields, enum field field, struct text *out)
{
	const uint8_t *mac = clause->mac;

	switch (field) {
	case FIELD_FAMILY:
		text_puts(out, clause->families == FAMILY_BIT_4 ? "IPv4" : "IPv6");
		break;
	case FIELD_SRC:
		put_side(ruleset, clause->src, &clause->src_sets, out);
		break;
	case FIELD_DST:
		put_side(ruleset, clause->dst, &clause->dst_sets, out);
		break;
	case FIELD_TCP_FLAGS:
		explain_flags(clause->flags.value, out);
		text_putc(out, '/');
		explain_flags(clause->flags.mask, out);
		break;
	case FIELD_MARK:
		text_printf(out, "0x%x/0x%x", clause->mark.value, clause->mark.mask);
		break;
	case FIELD_MAC_HIGH:
		text_printf(out, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
			    mac[4], mac[5]);
		break;
	default:
		put_ranges(field, &clause->field[field], icmp_family(fields), out);
		break;
	}
}

static const char *keep(struct arena *arena, struct text *text)
{
	const char *kept = text_error(text) ? NULL :
					      arena_copy(arena, text_string(text), text->len);

	text_free(text);
	return kept;
}

static int tell(const struct ruleset *ruleset, struct arena *arena, const struct fields *fields,
		const struct clause *clause, enum field field, struct explain_near *near)
{
	struct text is = TEXT_INIT(4096), wants = TEXT_INIT(4096);

	put_is(fields, field, &is);
	put_wants(ruleset, clause, fields, field, &wants);
	near->field = field;
	near->what = part_names[field];
	near->is = keep(arena, &is);
	near->wants = keep(arena, &wants);
	return near->is && near->wants ? 0 : -ENOMEM;
}

/*
 * The clause that says most: another family says least, for the rule has a clause for this family
 * too.
 */
static const struct clause *nearest_clause(const struct ruleset *ruleset, const struct rule *rule,
					   const struct fields *fields, enum field *field)
{
	const struct clause *found = NULL;

	for (uint32_t i = 0; i < rule->clause_n; i++) {
		enum field difference = only_difference(ruleset, &rule->clauses[i], fields);

		if (difference == NO_FIELD || (found && difference == FIELD_FAMILY))
			continue;
		found = &rule->clauses[i];
		*field = difference;
		if (difference != FIELD_FAMILY)
			break;
	}
	return found;
}

static bool is_port(enum field field)
{
	return field == FIELD_SRC_PORT || field == FIELD_DST_PORT;
}

/* The first rules that differ in a port only, or the first that differ in anything else. */
static int collect(const struct ruleset *ruleset, const struct fields *fields, uint32_t end,
		   bool ports, struct arena *arena, struct explain_near near[EXPLAIN_NEAR_MAX],
		   uint32_t *n)
{
	for (uint32_t i = 0; i < end && *n < EXPLAIN_NEAR_MAX; i++) {
		const struct rule *rule = &ruleset->rules[i];
		enum field field = NO_FIELD;
		const struct clause *clause;

		if (rule->origin != RULE_FILE ||
		    !(rule->from >> fields->word[FIELD_FROM_ZONE] & 1) ||
		    !(rule->to >> fields->word[FIELD_TO_ZONE] & 1))
			continue;
		clause = nearest_clause(ruleset, rule, fields, &field);
		if (!clause || is_port(field) != ports)
			continue;
		near[*n].rule = i;
		if (tell(ruleset, arena, fields, clause, field, &near[*n]))
			return -ENOMEM;
		(*n)++;
	}
	return 0;
}

int explain_near(const struct ruleset *ruleset, const struct fields *fields, uint32_t end,
		 struct arena *arena, struct explain_near near[EXPLAIN_NEAR_MAX], uint32_t *n)
{
	uint32_t found = 0;
	int err = collect(ruleset, fields, end, false, arena, near, &found);

	if (!err && !found)
		err = collect(ruleset, fields, end, true, arena, near, &found);
	if (!err)
		*n = found;
	return err;
}
