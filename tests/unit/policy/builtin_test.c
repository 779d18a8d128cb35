// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Built-in rules: what they are, what turns them off, and that the defaults leave nothing out.
 */
#include "loaded.h"

static const struct {
	const char *id, *rule;
} expected[] = {
	/* Types 133-137: 34048 is 133 << 8. Types 130-132: 33280; 143: 36608. */
	{ "builtin-nd-in", "6>1 allow stateless [6 proto=58 dport=34048-35327 frag=0 ttl=255]\n" },
	{ "builtin-nd-out", "1>6 allow stateless [6 proto=58 dport=34048-35327 frag=0 ttl=255]\n" },
	{ "builtin-mld-in",
	  "6>1 allow stateless [6 proto=58 dport=33280-34047,36608-36863 frag=0 ttl=1]\n" },
	{ "builtin-mld-out",
	  "1>6 allow stateless [6 proto=58 dport=33280-34047,36608-36863 frag=0 ttl=1]\n" },
	{ "builtin-igmp-in", "6>1 allow stateless [4 proto=2 ttl=1]\n" },
	{ "builtin-igmp-out", "1>6 allow stateless [4 proto=2 ttl=1]\n" },
	{ "builtin-dhcp-in",
	  "6>1 allow stateless [4 proto=17 sport=67 dport=68 frag=0 expected=1]\n" },
	{ "builtin-dhcp-out", "1>6 allow stateless [4 proto=17 sport=68 dport=67 frag=0]\n" },
	{ "builtin-dhcpv6-in",
	  "6>1 allow stateless [6 proto=17 sport=547 dport=546 frag=0 expected=1]\n" },
	{ "builtin-dhcpv6-out", "1>6 allow stateless [6 proto=17 sport=546 dport=547 frag=0]\n" },
	{ "builtin-default-in", "6>1 drop [46]\n" },
	{ "builtin-default-out", "1>7 allow [46]\n" },
	{ "builtin-default-forward", "6>6 drop [46]\n" },
};

#define EXPECTED_N (sizeof(expected) / sizeof(expected[0]))

static void test_rules(void **state)
{
	struct ruleset ruleset;

	(void)state;
	load_right("zone wan = eth0", &ruleset);
	assert_int_equal(ruleset.rule_n, EXPECTED_N);
	for (size_t i = 0; i < EXPECTED_N; i++) {
		const struct rule *rule = &ruleset.rules[i];
		struct text got = TEXT_INIT(4096);

		put_rule(rule, &got);
		assert_string_equal(rule->id, expected[i].id);
		assert_string_equal(text_string(&got), expected[i].rule);
		assert_int_equal(rule->position.source, POSITION_NONE);
		assert_int_equal(rule->origin,
				 i < EXPECTED_N - 3 ? RULE_BUILTIN : RULE_BUILTIN_DEFAULT);
		assert_non_null(rule->text);
		text_free(&got);
	}
	ruleset_free(&ruleset);
}

/* With one switch off, the rules that begin with `prefix` are gone and no others. */
static void expect_without(const char *policy, const char *prefix, unsigned gone)
{
	struct ruleset ruleset;

	load_right(policy, &ruleset);
	assert_int_equal(ruleset.rule_n, EXPECTED_N - gone);
	for (uint32_t i = 0; i < ruleset.rule_n; i++)
		assert_int_not_equal(strncmp(ruleset.rules[i].id, prefix, strlen(prefix)), 0);
	ruleset_free(&ruleset);
}

static void test_switches(void **state)
{
	(void)state;
	expect_without("options { ipv6-nd off }", "builtin-nd", 2);
	expect_without("options { multicast-membership off }", "builtin-mld", 4);
	expect_without("options { multicast-membership off }", "builtin-igmp", 4);
	expect_without("options { dhcp-client off }", "builtin-dhcp", 4);
}

/*
 * The text of a built-in rule is a rule of the language and means the same clauses, but for
 * `expected`.
 */
static void test_texts_are_rules(void **state)
{
	struct ruleset builtin, again;

	(void)state;
	load_right("zone wan = eth0", &builtin);
	for (size_t i = 0; i < EXPECTED_N - 3; i++) {
		const struct rule *rule = &builtin.rules[i], *same;
		struct text policy = TEXT_INIT(4096), one = TEXT_INIT(4096), two = TEXT_INIT(4096);
		struct clause clause;

		text_printf(&policy, "zone wan = eth0\npolicy %s { %s }", rule->pair, rule->text);
		load_right(text_string(&policy), &again);
		same = again.rules;
		while (same->origin == RULE_BUILTIN)
			same++;
		assert_int_equal(same->origin, RULE_FILE);
		assert_int_equal(same->from, rule->from);
		assert_int_equal(same->to, rule->to);
		assert_true(same->stateless);
		assert_int_equal(same->clause_n, 1);
		/* `from 0.0.0.0/0` and `from ::/0` only say the family. */
		clause = same->clauses[0];
		if (clause.src && clause.src->n == 1)
			clause.src = NULL;
		put_clause(&clause, &one);
		clause = rule->clauses[0];
		clause.field[FIELD_EXPECTED].n = 0;
		put_clause(&clause, &two);
		assert_string_equal(text_string(&one), text_string(&two));
		text_free(&policy);
		text_free(&one);
		text_free(&two);
		ruleset_free(&again);
	}
	ruleset_free(&builtin);
}

/* Each pair of zones meets exactly one built-in default. */
static void test_defaults_cover_all(void **state)
{
	struct ruleset ruleset;

	(void)state;
	load_right("zone a = x\nzone b = y", &ruleset);
	for (uint32_t from = 0; from < ruleset.zone_n; from++) {
		for (uint32_t to = 0; to < ruleset.zone_n; to++) {
			unsigned n = 0;

			for (uint32_t i = 0; i < ruleset.rule_n; i++)
				n += ruleset.rules[i].origin == RULE_BUILTIN_DEFAULT &&
				     ruleset.rules[i].from >> from & 1 &&
				     ruleset.rules[i].to >> to & 1;
			assert_int_equal(n, 1);
		}
	}
	ruleset_free(&ruleset);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_switches),
		cmocka_unit_test(test_texts_are_rules),
		cmocka_unit_test(test_defaults_cover_all),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
