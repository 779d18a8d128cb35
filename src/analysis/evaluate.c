// SPDX-License-Identifier: GPL-2.0-or-later
#include "analysis/evaluate.h"

#include <netinet/in.h>

static bool ranges_match(const struct ranges *ranges, uint32_t value)
{
	if (!ranges->n)
		return true;
	for (uint32_t i = 0; i < ranges->n; i++)
		if (ranges->items[i].lo <= value && value <= ranges->items[i].hi)
			return true;
	return false;
}

/* As numbers of 128 bits: the most significant word decides first. */
static int address_compare(const uint32_t left[4], const uint32_t right[4])
{
	for (int i = 0; i < 4; i++)
		if (left[i] != right[i])
			return left[i] < right[i] ? -1 : 1;
	return 0;
}

bool addresses_have(const struct addresses *addresses, uint32_t family, const uint32_t address[4])
{
	if (family != addresses->family)
		return false;
	for (uint32_t i = 0; i < addresses->n; i++)
		if (address_compare(addresses->items[i].lo, address) <= 0 &&
		    address_compare(address, addresses->items[i].hi) <= 0)
			return true;
	return false;
}

static bool addresses_match(const struct addresses *addresses, const struct fields *fields,
			    unsigned first_word)
{
	return !addresses || addresses_have(addresses, fields->word[FIELD_FAMILY],
					    &fields->word[first_word]);
}

bool membership_holds(const struct ruleset *ruleset, const struct membership *sets,
		      uint32_t family, const uint32_t address[4])
{
	const struct set_contents *contents = &ruleset->contents;
	bool in = false;

	if (!sets->sets)
		return true;
	for (uint32_t i = 0; i < ruleset->set_n && !in; i++)
		in = sets->sets >> i & 1 && contents->holds &&
		     contents->holds(contents->context, &ruleset->sets[i], family, address);
	return in != sets->none;
}

static bool mac_matches(const struct clause *clause, const struct fields *fields)
{
	const uint8_t *mac = clause->mac;
	uint32_t high = (uint32_t)mac[0] << 8 | mac[1];
	uint32_t low = (uint32_t)mac[2] << 24 | (uint32_t)mac[3] << 16 | (uint32_t)mac[4] << 8 |
		       mac[5];

	return !clause->has_mac ||
	       (fields->word[FIELD_MAC_HIGH] == high && fields->word[FIELD_MAC_LOW] == low);
}

static bool family_matches(const struct clause *clause, uint32_t family)
{
	return (family == 4 && clause->families & FAMILY_BIT_4) ||
	       (family == 6 && clause->families & FAMILY_BIT_6);
}

bool clause_matches(const struct ruleset *ruleset, const struct clause *clause,
		    const struct fields *fields)
{
	uint32_t family = fields->word[FIELD_FAMILY];

	if (!family_matches(clause, fields->word[FIELD_FAMILY]))
		return false;
	for (unsigned field = 0; field < FIELD_SRC; field++)
		if (!ranges_match(&clause->field[field], fields->word[field]))
			return false;
	return addresses_match(clause->src, fields, FIELD_SRC) &&
	       addresses_match(clause->dst, fields, FIELD_DST) &&
	       membership_holds(ruleset, &clause->src_sets, family, &fields->word[FIELD_SRC]) &&
	       membership_holds(ruleset, &clause->dst_sets, family, &fields->word[FIELD_DST]) &&
	       (fields->word[FIELD_TCP_FLAGS] & clause->flags.mask) == clause->flags.value &&
	       (fields->word[FIELD_MARK] & clause->mark.mask) == clause->mark.value &&
	       mac_matches(clause, fields);
}

/* Zones are numbers below 64; anything else is in no set. */
static bool zone_in(uint64_t zones, uint32_t zone)
{
	return zone < ZONES_MAX && zones >> zone & 1;
}

static bool built_in(const struct rule *rule)
{
	return rule->origin == RULE_BUILTIN || rule->origin == RULE_BUILTIN_DEFAULT;
}

/* A later fragment meets only clauses that say `fragment`, and what is built in. */
static bool clause_meets(const struct rule *rule, const struct clause *clause,
			 const struct fields *fields)
{
	return !fields->word[FIELD_FRAGMENT] || clause->field[FIELD_FRAGMENT].n || built_in(rule);
}

bool rule_matches(const struct ruleset *ruleset, const struct rule *rule,
		  const struct fields *fields)
{
	if (!zone_in(rule->from, fields->word[FIELD_FROM_ZONE]) ||
	    !zone_in(rule->to, fields->word[FIELD_TO_ZONE]))
		return false;
	for (uint32_t i = 0; i < rule->clause_n; i++)
		if (clause_meets(rule, &rule->clauses[i], fields) &&
		    clause_matches(ruleset, &rule->clauses[i], fields))
			return true;
	return false;
}

bool evaluate_orphan(const struct ruleset *ruleset, const struct fields *fields, uint32_t rule)
{
	return fields->word[FIELD_FRAGMENT] && built_in(&ruleset->rules[rule]);
}

/* No flow begins with a packet to many. */
static bool to_group(const struct fields *fields)
{
	uint32_t first = fields->word[FIELD_DST];

	if (fields->word[FIELD_FAMILY] == 6)
		return first >> 24 == 0xff;
	return first >> 28 == 14 || first == 0xffffffff;
}

bool evaluate_mid_stream(const struct ruleset *ruleset, const struct fields *fields, uint32_t rule)
{
	const struct rule *allows = &ruleset->rules[rule];

	return allows->action == ACTION_ALLOW && !allows->stateless && !ruleset->options.pickup &&
	       fields->word[FIELD_PROTOCOL] == IPPROTO_TCP && !fields->word[FIELD_FRAGMENT] &&
	       fields->word[FIELD_STATE] == STATE_UNTRACKED && !to_group(fields);
}

/* The clause as a flow's record can be asked: what it does not hold counts as matching. */
static struct clause clause_of_flow(const struct clause *clause)
{
	static const unsigned unknown[] = { FIELD_LENGTH, FIELD_DSCP, FIELD_TTL, FIELD_EXPECTED };
	struct clause known = *clause;

	for (unsigned i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		known.field[unknown[i]].n = 0;
	known.flags.mask = known.flags.value = 0;
	known.mark.mask = known.mark.value = 0;
	known.has_mac = false;
	return known;
}

uint32_t evaluate_flow(const struct ruleset *ruleset, const struct fields *fields)
{
	for (uint32_t i = 0; i < ruleset->rule_n; i++) {
		const struct rule *rule = &ruleset->rules[i];

		if (!zone_in(rule->from, fields->word[FIELD_FROM_ZONE]) ||
		    !zone_in(rule->to, fields->word[FIELD_TO_ZONE]))
			continue;
		if (rule_limited(rule) && rule->action != ACTION_ALLOW)
			continue;
		for (uint32_t j = 0; j < rule->clause_n; j++) {
			struct clause clause = clause_of_flow(&rule->clauses[j]);

			if (clause_matches(ruleset, &clause, fields))
				return i;
		}
	}
	return ruleset->rule_n - 1;
}

static bool always(void *context, uint32_t rule)
{
	(void)context;
	(void)rule;
	return true;
}

uint32_t evaluate(const struct ruleset *ruleset, const struct fields *fields)
{
	return evaluate_limited(ruleset, fields, always, NULL);
}

uint32_t evaluate_limited(const struct ruleset *ruleset, const struct fields *fields,
			  bool (*within)(void *context, uint32_t rule), void *context)
{
	for (uint32_t i = 0; i < ruleset->rule_n; i++)
		if (rule_matches(ruleset, &ruleset->rules[i], fields) &&
		    (!rule_limited(&ruleset->rules[i]) || within(context, i)))
			return i;
	/*
	 * The built-in defaults, at the end of every ruleset, match all there is; self -> self
	 * meets the last of them.
	 */
	return ruleset->rule_n - 1;
}

static uint32_t evaluate_nat(const struct ruleset *ruleset, const struct fields *fields,
			     bool forward)
{
	uint32_t i;

	for (i = 0; i < ruleset->nat_n && !fields->word[FIELD_FRAGMENT]; i++)
		if ((ruleset->nat[i].kind == NAT_FORWARD) == forward &&
		    rule_matches(ruleset, &ruleset->nat[i].rule, fields))
			return i;
	return ruleset->nat_n;
}

uint32_t evaluate_forward(const struct ruleset *ruleset, const struct fields *fields)
{
	return evaluate_nat(ruleset, fields, true);
}

uint32_t evaluate_source(const struct ruleset *ruleset, const struct fields *fields)
{
	return evaluate_nat(ruleset, fields, false);
}

/* --- targets --------------------------------------------------------------------------- */

/* The 16-bit words of an address, and their ones' complement sum (RFC 1071). */
static uint32_t word_get(const uint32_t address[4], unsigned word)
{
	return address[word / 2] >> (word % 2 ? 0 : 16) & 0xffff;
}

static void word_set(uint32_t address[4], unsigned word, uint32_t value)
{
	unsigned shift = word % 2 ? 0 : 16;

	address[word / 2] = (address[word / 2] & ~(0xffffu << shift)) | value << shift;
}

static uint32_t ones_add(uint32_t a, uint32_t b)
{
	uint32_t sum = a + b;

	return (sum & 0xffff) + (sum >> 16);
}

static uint32_t ones_sum(const uint32_t address[4])
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < 8; i++)
		sum = ones_add(sum, word_get(address, i));
	return sum;
}

/* RFC 6296, 3.4 up to /48: the word behind it; 3.5: the first word behind that is not all ones. */
static void keep_checksum(const struct nat_target *target, uint32_t address[4])
{
	uint32_t difference = ones_add(ones_sum(target->from_lo),
				       ~ones_sum(target->addresses.lo) & 0xffff);
	unsigned word = target->prefix <= 48 ? 3 : target->prefix <= 64 ? 4 :
								 (target->prefix + 15u) / 16;
	uint32_t value;

	while (word > 3 && word < 7 && word_get(address, word) == 0xffff)
		word++;
	value = ones_add(word_get(address, word), difference);
	word_set(address, word, value == 0xffff ? 0 : value);
}

void evaluate_target(const struct nat_target *target, const uint32_t address[4],
		     uint32_t translated[4])
{
	unsigned words = target->family == 4 ? 1 : 4;

	for (unsigned i = 0; i < 4; i++)
		translated[i] = target->addresses.lo[i];
	if (!target->prefix_to_prefix)
		return;
	/* Host bits are those in which the first address and the last one differ. */
	for (unsigned i = 0; i < words; i++)
		translated[i] |= address[i] &
				 (target->addresses.lo[i] ^ target->addresses.hi[i]);
	if (target->family == 6)
		keep_checksum(target, translated);
}

uint32_t evaluate_target_port(const struct nat_target *target, uint32_t port)
{
	if (target->port_lo == target->port_hi)
		return target->port_lo;
	return target->port_lo + (port - target->match_port_lo);
}
