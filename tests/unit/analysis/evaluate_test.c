// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The reference evaluator, and the resolver with it: random small policies are written out as text
 * and loaded; their verdicts on random packets are held against a model that decides from the words
 * of the rules, with no clause in sight.
 */
#include "../policy/loaded.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "analysis/evaluate.h"

#define POLICIES 400
#define PACKETS 400
#define RULES_LIMIT 8
#define ZONES 4 /* self, other, wan, lan */
#define ANY 4

static const char *const zone_names[] = { "self", "other", "wan", "lan", "any" };

enum kind {
	KIND_NONE,
	KIND_PORT_TCP,	/* 3/tcp */
	KIND_PORT,	/* 3 */
	KIND_RANGE_UDP, /* 2-5/udp */
	KIND_LIST,	/* { 1/tcp, 3-4/udp, 7 } */
	KIND_TCP,
	KIND_UDP,
	KIND_SYN,
	KIND_ICMP,
	KIND_ECHO,
	KIND_ICMPV6,
	KIND_ECHO6,
	KIND_GRE,
	KINDS,
};

/* A list of at most two prefixes, or none. */
struct model_address {
	bool said, negated;
	unsigned n;
	struct {
		unsigned family, low, bits; /* of the last three bits, `bits` count */
	} item[2];
};

struct model_rule {
	unsigned from, to; /* zone numbers, or ANY */
	enum kind kind;
	unsigned port, span; /* port..port + span */
	bool said_from_port;
	unsigned from_port;
	struct model_address src, dst;
	bool ttl, length, fragment, state;
	unsigned ttl_below, length_lo, length_hi, state_value;
	enum action action;
};

struct model {
	struct model_rule rules[RULES_LIMIT];
	unsigned n;
	struct {
		unsigned from, to;
		enum action action;
	} defaults[RULES_LIMIT];
	unsigned default_n;
};

/* Of whose dynamic sets nothing is asked. */
static const struct ruleset nothing;

static uint64_t random_state;

static unsigned pick(unsigned n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state >> 11) % n;
}

/* --- the model's view of a rule -------------------------------------------------- */

static bool zone_fits(unsigned said, unsigned zone)
{
	return said == ANY ? zone != ZONE_SELF : said == zone;
}

static bool address_fits(const struct model_address *address, unsigned family, unsigned low)
{
	bool inside = false, named = false;

	if (!address->said)
		return true;
	for (unsigned i = 0; i < address->n; i++) {
		unsigned shift = 3 - address->item[i].bits;

		if (address->item[i].family != family)
			continue;
		named = true;
		inside |= low >> shift == address->item[i].low >> shift;
	}
	return address->negated ? named && !inside : inside;
}

static bool in_span(const struct model_rule *rule, unsigned port)
{
	return rule->port <= port && port <= rule->port + rule->span;
}

static bool service_fits(const struct model_rule *rule, const struct fields *fields)
{
	unsigned protocol = fields->word[FIELD_PROTOCOL], port = fields->word[FIELD_DST_PORT];
	unsigned family = fields->word[FIELD_FAMILY];
	bool whole = !fields->word[FIELD_FRAGMENT];

	switch (rule->kind) {
	case KIND_PORT_TCP:
		return whole && protocol == 6 && port == rule->port;
	case KIND_PORT:
		return whole && (protocol == 6 || protocol == 17) && port == rule->port;
	case KIND_RANGE_UDP:
		return whole && protocol == 17 && in_span(rule, port);
	case KIND_LIST:
		return whole && ((protocol == 6 && (port == 1 || port == 7)) ||
				 (protocol == 17 && (in_span(rule, port) || port == 7)));
	case KIND_TCP:
		return protocol == 6;
	case KIND_UDP:
		return protocol == 17;
	case KIND_SYN:
		return whole && protocol == 6 && (fields->word[FIELD_TCP_FLAGS] & 0x17) == 2;
	case KIND_ICMP:
		return protocol == 1 && family == 4;
	case KIND_ECHO:
		return whole && protocol == 1 && family == 4 && port >> 8 == 8;
	case KIND_ICMPV6:
		return protocol == 58 && family == 6;
	case KIND_ECHO6:
		return whole && protocol == 58 && family == 6 && port >> 8 == 128;
	case KIND_GRE:
		return protocol == 47;
	default:
		return true;
	}
}

static bool model_matches(const struct model_rule *rule, const struct fields *fields)
{
	const uint32_t *word = fields->word;
	unsigned last = word[FIELD_FAMILY] == 4 ? 0 : 3;

	if (word[FIELD_FRAGMENT] && !rule->fragment)
		return false;
	if (!zone_fits(rule->from, word[FIELD_FROM_ZONE]) ||
	    !zone_fits(rule->to, word[FIELD_TO_ZONE]) || !service_fits(rule, fields))
		return false;
	if (rule->said_from_port &&
	    ((word[FIELD_PROTOCOL] != 6 && word[FIELD_PROTOCOL] != 17) || word[FIELD_FRAGMENT] ||
	     word[FIELD_SRC_PORT] != rule->from_port))
		return false;
	if (!address_fits(&rule->src, word[FIELD_FAMILY], word[FIELD_SRC + last] & 7) ||
	    !address_fits(&rule->dst, word[FIELD_FAMILY], word[FIELD_DST + last] & 7))
		return false;
	return !(rule->ttl && word[FIELD_TTL] >= rule->ttl_below) &&
	       !(rule->length &&
		 (word[FIELD_LENGTH] < rule->length_lo || word[FIELD_LENGTH] > rule->length_hi)) &&
	       !(rule->fragment && !word[FIELD_FRAGMENT]) &&
	       !(rule->state && word[FIELD_STATE] != rule->state_value);
}

static enum action model_verdict(const struct model *model, const struct fields *fields)
{
	unsigned from = fields->word[FIELD_FROM_ZONE], to = fields->word[FIELD_TO_ZONE];

	for (unsigned i = 0; i < model->n; i++)
		if (model_matches(&model->rules[i], fields))
			return model->rules[i].action;
	if (fields->word[FIELD_FRAGMENT]) /* one whose first has not been seen */
		return ACTION_DROP;
	for (unsigned i = 0; i < model->default_n; i++)
		if (zone_fits(model->defaults[i].from, from) &&
		    zone_fits(model->defaults[i].to, to))
			return model->defaults[i].action;
	return from == ZONE_SELF ? ACTION_ALLOW : ACTION_DROP;
}

/* --- random rules ------------------------------------------------------------------ */

/* Families a list can match, as bits 1 (IPv4) and 2 (IPv6). */
static unsigned families(const struct model_address *address)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < address->n; i++)
		bits |= address->item[i].family == 4 ? 1 : 2;
	return address->said ? bits : 3;
}

static void random_address(struct model_address *address)
{
	address->said = pick(3) == 0;
	address->negated = pick(3) == 0;
	address->n = 1 + pick(2);
	for (unsigned i = 0; i < address->n; i++) {
		address->item[i].family = pick(3) ? 4 : 6;
		address->item[i].bits = 1 + pick(3);
		address->item[i].low = pick(8);
		address->item[i].low &= ~((1u << (3 - address->item[i].bits)) - 1);
	}
}

static void random_pair(unsigned *from, unsigned *to)
{
	do {
		*from = pick(ZONES + 1);
		*to = pick(ZONES + 1);
	} while (*from == ZONE_SELF && *to == ZONE_SELF);
}

static void random_rule(struct model_rule *rule)
{
	unsigned of_service;

	*rule = (struct model_rule){ .action = (enum action)pick(3) };
	random_pair(&rule->from, &rule->to);
	rule->kind = (enum kind)pick(KINDS);
	rule->port = pick(8);
	rule->span = rule->kind == KIND_RANGE_UDP || rule->kind == KIND_LIST ? pick(3) : 0;
	random_address(&rule->src);
	random_address(&rule->dst);
	of_service = rule->kind == KIND_ICMP || rule->kind == KIND_ECHO	   ? 1 :
		     rule->kind == KIND_ICMPV6 || rule->kind == KIND_ECHO6 ? 2 :
									     3;
	/* A rule that contradicts itself is refused; that is tested elsewhere. */
	if (!(families(&rule->src) & families(&rule->dst) & of_service))
		rule->src.said = rule->dst.said = false;
	rule->said_from_port = pick(5) == 0 && rule->kind <= KIND_SYN;
	rule->from_port = pick(8);
	rule->ttl = pick(5) == 0;
	rule->ttl_below = 1 + pick(8);
	rule->length = pick(5) == 0;
	rule->length_lo = pick(8);
	rule->length_hi = rule->length_lo + pick(4);
	rule->fragment = pick(5) == 0 && !rule->said_from_port &&
			 (rule->kind == KIND_NONE || rule->kind == KIND_TCP ||
			  rule->kind == KIND_UDP || rule->kind == KIND_ICMP);
	rule->state_value = pick(2);
	rule->state = pick(5) == 0 && !(rule->fragment && !rule->state_value);
}

/* --- as text -------------------------------------------------------------------------- */

static void put_model_address(const char *word, const struct model_address *address,
			      struct text *out)
{
	if (!address->said)
		return;
	text_printf(out, " %s %s{ ", word, address->negated ? "!" : "");
	for (unsigned i = 0; i < address->n; i++)
		text_printf(out, address->item[i].family == 4 ? "%s10.0.0.%u/%u" : "%sfd00::%u/%u",
			    i ? ", " : "", address->item[i].low,
			    (address->item[i].family == 4 ? 29 : 125) + address->item[i].bits);
	text_puts(out, " }");
}

static void put_model_rule(const struct model_rule *rule, struct text *out)
{
	static const char *const actions[] = { "allow", "drop", "reject" };
	static const char *const fixed[KINDS] = {
		[KIND_NONE] = "",	   [KIND_TCP] = " tcp",
		[KIND_UDP] = " udp",	   [KIND_SYN] = " tcp syn",
		[KIND_ICMP] = " icmp",	   [KIND_ECHO] = " icmp echo-request",
		[KIND_ICMPV6] = " icmpv6", [KIND_ECHO6] = " icmpv6 type 128",
		[KIND_GRE] = " proto gre",
	};

	text_puts(out, actions[rule->action]);
	if (rule->kind == KIND_PORT_TCP)
		text_printf(out, " %u/tcp", rule->port);
	else if (rule->kind == KIND_PORT)
		text_printf(out, " %u", rule->port);
	else if (rule->kind == KIND_RANGE_UDP)
		text_printf(out, " %u-%u/udp", rule->port, rule->port + rule->span);
	else if (rule->kind == KIND_LIST)
		text_printf(out, " { 1/tcp, %u-%u/udp, 7 }", rule->port, rule->port + rule->span);
	else
		text_puts(out, fixed[rule->kind]);
	put_model_address("from", &rule->src, out);
	if (rule->said_from_port)
		text_printf(out, "%s port %u", rule->src.said ? "" : " from", rule->from_port);
	put_model_address("to", &rule->dst, out);
	if (rule->length)
		text_printf(out, " length %u-%u", rule->length_lo, rule->length_hi);
	if (rule->state)
		text_printf(out, " state %s", rule->state_value ? "untracked" : "new");
	if (rule->fragment)
		text_puts(out, " fragment");
	if (rule->ttl)
		text_printf(out, " ttl < %u", rule->ttl_below);
	text_puts(out, "\n");
}

/* A default, unless this pair (other is the rest of `any`) has one already. */
static void random_default(struct model *model, struct text *out)
{
	static const char *const actions[] = { "allow", "drop", "reject" };
	unsigned from, to, n = model->default_n;

	random_pair(&from, &to);
	for (unsigned i = 0; i < n; i++)
		if (model->defaults[i].from == from && model->defaults[i].to == to)
			return;
	model->defaults[n].from = from;
	model->defaults[n].to = to;
	model->defaults[n].action = (enum action)pick(3);
	text_printf(out, "policy %s -> %s default %s\n", zone_names[from], zone_names[to],
		    actions[model->defaults[n].action]);
	model->default_n++;
}

static void random_model(struct model *model, struct text *out)
{
	*model = (struct model){ .n = pick(RULES_LIMIT) + 1 };
	text_puts(out, "zone wan = eth0\nzone lan = eth1\noptions { ipv6-nd off\n"
		       "multicast-membership off; dhcp-client off }\n");
	for (unsigned i = 0; i < model->n; i++) {
		struct model_rule *rule = &model->rules[i];

		if (pick(3) == 0)
			random_default(model, out);
		random_rule(rule);
		text_printf(out, "policy %s -> %s {\n", zone_names[rule->from],
			    zone_names[rule->to]);
		put_model_rule(rule, out);
		text_puts(out, "}\n");
	}
}

static void random_packet(struct fields *fields)
{
	static const uint8_t protocols[] = { 6, 6, 17, 17, 1, 58, 47 };
	static const uint8_t flags[] = { 2, 0x10, 0x12, 4, 0x42 };
	uint32_t *word = fields->word;

	*fields = (struct fields){ 0 };
	word[FIELD_FROM_ZONE] = pick(ZONES);
	word[FIELD_TO_ZONE] = pick(ZONES);
	word[FIELD_FAMILY] = pick(2) ? 4 : 6;
	word[FIELD_PROTOCOL] = protocols[pick(sizeof(protocols))];
	word[FIELD_FRAGMENT] = pick(5) == 0;
	if (!word[FIELD_FRAGMENT] && word[FIELD_PROTOCOL] <= 17 && word[FIELD_PROTOCOL] >= 6) {
		word[FIELD_SRC_PORT] = pick(10);
		word[FIELD_DST_PORT] = pick(10);
	}
	if (!word[FIELD_FRAGMENT] && (word[FIELD_PROTOCOL] == 1 || word[FIELD_PROTOCOL] == 58))
		word[FIELD_DST_PORT] = (pick(2) ? 8u : 128u) << 8 | pick(2);
	if (!word[FIELD_FRAGMENT] && word[FIELD_PROTOCOL] == 6)
		word[FIELD_TCP_FLAGS] = flags[pick(sizeof(flags))];
	word[FIELD_TTL] = pick(10);
	word[FIELD_LENGTH] = pick(12);
	word[FIELD_STATE] = pick(2);
	word[FIELD_SRC] = word[FIELD_FAMILY] == 4 ? 0x0a000000 | pick(8) : 0xfd000000;
	word[FIELD_DST] = word[FIELD_FAMILY] == 4 ? 0x0a000000 | pick(8) : 0xfd000000;
	if (word[FIELD_FAMILY] == 6) {
		word[FIELD_SRC + 3] = pick(8);
		word[FIELD_DST + 3] = pick(8);
	}
}

static void test_random(void **state)
{
	const char *seed = getenv("REEVE_TEST_SEED");
	uint64_t first = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);

	(void)state;
	print_message("# REEVE_TEST_SEED=%llu\n", (unsigned long long)first);
	random_state = first * 2 + 1;
	for (int i = 0; i < POLICIES; i++) {
		struct text policy = TEXT_INIT(1 << 16);
		struct ruleset ruleset;
		struct model model;

		random_model(&model, &policy);
		load_right(text_string(&policy), &ruleset);
		for (int n = 0; n < PACKETS; n++) {
			struct fields fields;
			enum action action;
			uint32_t rule;

			random_packet(&fields);
			rule = evaluate(&ruleset, &fields);
			assert_in_range(rule, 0, ruleset.rule_n - 1);
			action = ruleset.rules[rule].action;
			if (evaluate_orphan(&ruleset, &fields, rule))
				action = ACTION_DROP;
			if (action != model_verdict(&model, &fields))
				print_message("%s rule %u\n", text_string(&policy), rule);
			assert_int_equal(action, model_verdict(&model, &fields));
		}
		ruleset_free(&ruleset);
		text_free(&policy);
	}
}

/* --- parts the model does not speak of -------------------------------------------------- */

static void test_mark(void **state)
{
	struct clause clause = { .families = FAMILY_BIT_4,
				 .mark = { .mask = 0xf0, .value = 0x10 } };
	struct fields fields = { 0 };

	(void)state;
	fields.word[FIELD_FAMILY] = 4;
	fields.word[FIELD_MARK] = 0xff1f;
	assert_true(clause_matches(&nothing, &clause, &fields));
	fields.word[FIELD_MARK] = 0x30;
	assert_false(clause_matches(&nothing, &clause, &fields));
	fields.word[FIELD_MARK] = 0;
	assert_false(clause_matches(&nothing, &clause, &fields));
}

static void test_one_word_fields(void **state)
{
	static const struct range ranges[] = { { 5, 5 }, { 8, UINT32_MAX } };
	static const uint32_t values[] = { 0, 4, 5, 6, 7, 8, UINT32_MAX };
	static const bool inside[] = { false, false, true, false, false, true, true };

	(void)state;
	for (unsigned field = FIELD_PROTOCOL; field < FIELD_SRC; field++) {
		struct clause clause = { .families = FAMILY_BIT_4 };
		struct fields fields = { 0 };

		clause.field[field] = (struct ranges){ ranges, 2 };
		fields.word[FIELD_FAMILY] = 4;
		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			fields.word[field] = values[i];
			assert_int_equal(clause_matches(&nothing, &clause, &fields), inside[i]);
		}
	}
}

static void test_mac(void **state)
{
	struct clause clause = { .families = FAMILY_BIT_4,
				 .has_mac = true,
				 .mac = { 2, 0x80, 0xff, 0, 1, 0xfe } };
	struct fields fields = { 0 };

	(void)state;
	fields.word[FIELD_FAMILY] = 4;
	assert_false(clause_matches(&nothing, &clause, &fields));
	fields.word[FIELD_MAC_HIGH] = 0x0280;
	fields.word[FIELD_MAC_LOW] = 0xff0001fe;
	assert_true(clause_matches(&nothing, &clause, &fields));
	fields.word[FIELD_MAC_LOW]++;
	assert_false(clause_matches(&nothing, &clause, &fields));
}

static void test_zones(void **state)
{
	static const struct clause all = { .families = FAMILY_BIT_4 };
	struct rule rule = { .from = UINT64_C(1) << 63, .to = 1, .clauses = &all, .clause_n = 1 };
	struct fields fields = { 0 };

	(void)state;
	fields.word[FIELD_FAMILY] = 4;
	fields.word[FIELD_FROM_ZONE] = 63;
	assert_true(rule_matches(&nothing, &rule, &fields));
	fields.word[FIELD_FROM_ZONE] = 64;
	assert_false(rule_matches(&nothing, &rule, &fields));
	fields.word[FIELD_FROM_ZONE] = 63;
	rule.clause_n = 0;
	assert_false(rule_matches(&nothing, &rule, &fields));
}

/* Addresses compare as numbers of 128 bits. */
static void test_addresses(void **state)
{
	static const struct address_range item = { { 1, 2, 0xfffffff0, 5 }, { 1, 3, 1, 0 } };
	static const struct addresses six = { .items = &item, .n = 1, .family = 6 };
	struct clause clause = { .families = FAMILY_BIT_6, .src = &six };
	static const struct {
		uint32_t address[4];
		bool inside;
	} rows[] = {
		{ { 1, 2, 0xfffffff0, 5 }, true },  { { 1, 2, 0xfffffff0, 4 }, false },
		{ { 1, 2, 0xfffffff1, 0 }, true },  { { 1, 3, 0, 0xffffffff }, true },
		{ { 1, 3, 1, 0 }, true },	    { { 1, 3, 1, 1 }, false },
		{ { 2, 2, 0xfffffff1, 0 }, false }, { { 0, 3, 0, 0 }, false },
	};
	struct fields fields = { 0 };

	(void)state;
	fields.word[FIELD_FAMILY] = 6;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memcpy(&fields.word[FIELD_SRC], rows[i].address, sizeof(rows[i].address));
		assert_int_equal(clause_matches(&nothing, &clause, &fields), rows[i].inside);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),		cmocka_unit_test(test_mark),
		cmocka_unit_test(test_one_word_fields), cmocka_unit_test(test_mac),
		cmocka_unit_test(test_zones),		cmocka_unit_test(test_addresses),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
