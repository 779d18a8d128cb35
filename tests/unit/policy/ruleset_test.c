// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ruleset as a whole: ids, zones, order, options, what is shared, limits.
 */
#include "loaded.h"

#include <errno.h>

/* --- ids, zones, order ------------------------------------------------------------- */

static const char *id_of(const struct ruleset *ruleset, const char *text, unsigned which)
{
	for (uint32_t i = 0; i < ruleset->rule_n; i++)
		if (ruleset->rules[i].origin != RULE_BUILTIN &&
		    !strcmp(ruleset->rules[i].text, text) && !which--)
			return ruleset->rules[i].id;
	return "";
}

static void test_ids_are_stable(void **state)
{
	struct ruleset one, other;

	(void)state;
	load_right(
		"zone wan = eth0\npolicy wan -> self default drop {\nallow 22/tcp\nallow 80/tcp\n"
		"allow 22/tcp\nallow 53 id dns # names\n}",
		&one);
	load_right("zone lan = eth1\nzone wan = eth0\npolicy wan -> self {\nallow 1/tcp\n"
		   "allow 80/tcp # web\nallow { 22/tcp }\nallow 22/tcp\n}\n"
		   "policy lan -> self { allow 22/tcp }\n"
		   "policy wan -> self { allow 22/tcp }\npolicy wan -> self default drop",
		   &other);
	assert_string_equal(id_of(&one, "allow 80/tcp", 0), id_of(&other, "allow 80/tcp", 0));
	assert_string_equal(id_of(&one, "default drop", 0), id_of(&other, "default drop", 0));
	assert_string_equal(id_of(&one, "allow 53", 0), "dns");
	assert_int_equal(strlen(id_of(&one, "allow 22/tcp", 0)), 10);
	/*
	 * Equal rules: the first keeps the plain hash, the second has the ordinal; another pair is
	 * not equal.
	 */
	assert_string_equal(id_of(&one, "allow 22/tcp", 0), id_of(&other, "allow 22/tcp", 0));
	assert_string_equal(id_of(&one, "allow 22/tcp", 1), id_of(&other, "allow 22/tcp", 2));
	assert_non_null(strstr(id_of(&one, "allow 22/tcp", 1), ".2"));
	assert_string_not_equal(id_of(&other, "allow 22/tcp", 1), id_of(&one, "allow 22/tcp", 0));
	ruleset_free(&one);
	ruleset_free(&other);
}

static void test_zone_tags(void **state)
{
	struct text policy = TEXT_INIT(1 << 16);
	struct diagnostics diagnostics = { 0 };
	struct ruleset many, one;

	(void)state;
	for (int i = 0; i < ZONES_MAX - ZONE_FIRST; i++)
		text_printf(&policy, "zone z%d = if%d\n", i, i);
	load_right(text_string(&policy), &many);
	assert_int_equal(many.zone_n, ZONES_MAX);
	assert_int_equal(many.zones[ZONE_SELF].tag, 1);
	assert_int_equal(many.zones[ZONE_OTHER].tag, 2);
	for (uint32_t i = ZONE_FIRST; i < many.zone_n; i++) {
		assert_true(many.zones[i].tag > 2 && many.zones[i].tag != 0xffff);
		for (uint32_t j = 0; j < i; j++)
			assert_int_not_equal(many.zones[i].tag, many.zones[j].tag);
	}
	load_right("zone a = x\nzone z61 = if61", &one);
	assert_int_equal(one.zones[3].tag, many.zones[63].tag);
	ruleset_free(&one);
	ruleset_free(&many);
	text_puts(&policy, "zone more = last");
	assert_int_equal(load_text(text_string(&policy), &one, &diagnostics), -EINVAL);
	assert_string_equal(diagnostics.list.items[0].code, "too-many-zones");
	diagnostics_free(&diagnostics);
	ruleset_free(&one);
	text_free(&policy);
}

static void test_interfaces(void **state)
{
	struct ruleset ruleset;

	(void)state;
	load_right("zone wan = { \"eth*\", \"wg?\" }\nzone lan = { eth1, \"*\" }", &ruleset);
	assert_int_equal(ruleset_zone(&ruleset, "self"), ZONE_SELF);
	assert_int_equal(ruleset_zone(&ruleset, "lan"), 3);
	assert_int_equal(ruleset_zone(&ruleset, "any"), -1);
	assert_int_equal(ruleset_interface_zone(&ruleset, "eth0"), 2);
	assert_int_equal(ruleset_interface_zone(&ruleset, "eth1"), 3); /* a name beats a pattern */
	assert_int_equal(ruleset_interface_zone(&ruleset, "wg0"), 2);
	assert_int_equal(ruleset_interface_zone(&ruleset, "wg10"), 3);
	assert_true(ruleset_names_interface(&ruleset, "eth1"));
	assert_false(ruleset_names_interface(&ruleset, "eth0")); /* a pattern does */
	assert_false(ruleset_names_interface(&ruleset, "lo"));
	ruleset_free(&ruleset);
	load_right("zone wan = eth0", &ruleset);
	assert_int_equal(ruleset_interface_zone(&ruleset, "eth1"), ZONE_OTHER);
	assert_false(ruleset_names_interface(&ruleset, "lo"));
	ruleset_free(&ruleset);
}

static void test_order(void **state)
{
	static const enum rule_origin order[] = { RULE_BUILTIN, RULE_FILE, RULE_DEFAULT,
						  RULE_BUILTIN_DEFAULT };
	struct ruleset ruleset;
	unsigned at = 0;

	(void)state;
	load_right(
		"policy any -> self default drop { allow 1/tcp }\npolicy self -> any default drop "
		"{ allow 2/tcp log # two\n}",
		&ruleset);
	for (uint32_t i = 0; i < ruleset.rule_n; i++) {
		while (at < 4 && ruleset.rules[i].origin != order[at])
			at++;
		assert_true(at < 4);
		assert_non_null(ruleset.rules[i].id);
	}
	assert_int_equal(at, 3);
	assert_string_equal(ruleset.rules[ruleset.rule_n - 6].comment, "two");
	assert_string_equal(ruleset.rules[ruleset.rule_n - 6].pair, "self -> any");
	assert_string_equal(ruleset.rules[ruleset.rule_n - 6].text, "allow 2/tcp log");
	ruleset_free(&ruleset);
}

static void test_options(void **state)
{
	struct ruleset ruleset;

	(void)state;
	load_right("", &ruleset);
	assert_true(ruleset.options.builtin_nd && ruleset.options.builtin_multicast &&
		    ruleset.options.builtin_dhcp && ruleset.options.guard &&
		    ruleset.options.windows);
	assert_false(ruleset.options.pickup);
	assert_int_equal(ruleset.options.mark_shift, 30);
	assert_int_equal(ruleset.options.flows_max, 131072);
	assert_int_equal(ruleset.options.embryonic_max, 65536);
	ruleset_free(&ruleset);
	load_right("options { ipv6-nd off; guard off\n tcp-pickup on; tcp-window off; mark-bits 8 }\n"
		   "options { flows 1000; embryonic-flows 500 }",
		   &ruleset);
	assert_false(ruleset.options.builtin_nd || ruleset.options.guard || ruleset.options.windows);
	assert_true(ruleset.options.pickup);
	assert_true(ruleset.options.builtin_multicast && ruleset.options.builtin_dhcp);
	assert_int_equal(ruleset.options.mark_shift, 8);
	assert_int_equal(ruleset.options.flows_max, 1000);
	assert_int_equal(ruleset.options.embryonic_max, 500);
	ruleset_free(&ruleset);
}

/* --- sharing and limits ------------------------------------------------------------- */

static void test_addresses_are_shared(void **state)
{
	struct ruleset ruleset;
	const struct rule *rule;

	(void)state;
	load_right(
		"set s = { 10.0.0.0/8, fd00::/8 }\npolicy any -> self {\n"
		"allow 1/tcp from @s\nallow 2/tcp from @s\n"
		"allow 3/tcp from !@s\nallow 4/tcp from !@s\n"
		"allow 5/tcp from { 192.0.2.1, 192.0.2.2 }\nallow 6/tcp to 192.0.2.1-192.0.2.2\n}",
		&ruleset);
	rule = ruleset.rules;
	while (rule->origin != RULE_FILE)
		rule++;
	assert_ptr_equal(rule[0].clauses[0].src, rule[1].clauses[0].src);
	assert_ptr_equal(rule[0].clauses[1].src, rule[1].clauses[1].src);
	assert_ptr_not_equal(rule[0].clauses[0].src, rule[0].clauses[1].src);
	assert_ptr_equal(rule[2].clauses[0].src, rule[3].clauses[0].src);
	assert_ptr_not_equal(rule[0].clauses[0].src, rule[2].clauses[0].src);
	assert_ptr_equal(rule[4].clauses[0].src, rule[5].clauses[0].dst);
	ruleset_free(&ruleset);
}

static void test_depth_of_sets(void **state)
{
	struct text policy = TEXT_INIT(1 << 16);
	struct diagnostics diagnostics = { 0 };
	struct ruleset ruleset;

	(void)state;
	for (int i = 0; i < 64; i++)
		text_printf(&policy, "set s%d = @s%d\nservice v%d = v%d\n", i, i + 1, i, i + 1);
	text_puts(&policy, "set s64 = 10.0.0.1\nservice v64 = 22/tcp\n");
	load_text(text_string(&policy), &ruleset, &diagnostics);
	assert_int_equal(diagnostics.errors, 2);
	assert_string_equal(diagnostics.list.items[0].code, "service-depth");
	assert_string_equal(diagnostics.list.items[1].code, "set-depth");
	diagnostics_free(&diagnostics);
	ruleset_free(&ruleset);
	text_free(&policy);
}

static void test_rules_max(void **state)
{
	struct text policy = TEXT_INIT(1 << 25);
	struct diagnostics diagnostics = { 0 };
	struct ruleset ruleset;

	(void)state;
	text_puts(&policy, "policy any -> self {\n");
	for (uint32_t i = 0; i <= RULES_MAX; i++)
		text_printf(&policy, "drop %u/tcp\n", i % 65536);
	text_puts(&policy, "}\n");
	assert_int_equal(text_error(&policy), 0);
	load_text(text_string(&policy), &ruleset, &diagnostics);
	assert_int_equal(diagnostics.errors, 1);
	assert_string_equal(diagnostics.list.items[0].code, "too-many-rules");
	diagnostics_free(&diagnostics);
	ruleset_free(&ruleset);
	text_free(&policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids_are_stable), cmocka_unit_test(test_zone_tags),
		cmocka_unit_test(test_interfaces),     cmocka_unit_test(test_order),
		cmocka_unit_test(test_options),	       cmocka_unit_test(test_addresses_are_shared),
		cmocka_unit_test(test_depth_of_sets),  cmocka_unit_test(test_rules_max),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
