// SPDX-License-Identifier: GPL-2.0-or-later
/* Words for numbers: every value has one, no two share one, and numbers beyond do no harm. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/names.h"

static const struct {
	const char *what;
	const char *(*name)(unsigned value);
	unsigned n;
} tables[] = {
	{ "action", action_name, ACTION_PROTECT + 1 },
	{ "event kind", event_kind_name, EVENT_GUARD + 1 },
	{ "hook", event_hook_name, HOOK_EARLY + 1 },
	{ "decided by", decided_by_name, BY_ANSWER + 1 },
	{ "sanity", sanity_name, SANITY_KINDS },
	{ "sanity text", sanity_text, SANITY_KINDS },
	{ "statistic", stat_name, STAT_COUNT },
	{ "statistic text", stat_text, STAT_COUNT },
	{ "coverage", coverage_name, COVERAGE_KINDS },
	{ "origin", rule_origin_name, RULE_BUILTIN_DEFAULT + 1 },
	{ "flow state", flow_state_name, FLOW_STATES },
};

static void test_tables(void **state)
{
	(void)state;
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (unsigned i = 0; i < tables[t].n; i++) {
			const char *name = tables[t].name(i);

			if (!name || !name[0] || strcmp(name, "?") == 0)
				fail_msg("%s %u has no name", tables[t].what, i);
			for (unsigned j = 0; j < i; j++)
				if (strcmp(name, tables[t].name(j)) == 0)
					fail_msg("%s %u and %u are both %s", tables[t].what, j, i, name);
		}
		assert_string_equal(tables[t].name(tables[t].n), "?");
		assert_string_equal(tables[t].name(UINT32_MAX), "?");
	}
}

static void check_text(struct text *text, const char *expected)
{
	assert_string_equal(text_string(text), expected);
	text_free(text);
}

static void test_addresses(void **state)
{
	static const uint32_t v4[4] = { 0xc0000201 }, v6[4] = { 0x20010db8, 0, 0, 1 };
	struct text text = TEXT_INIT(1 << 10);

	(void)state;
	text_address(&text, 4, v4);
	check_text(&text, "192.0.2.1");
	text_address(&text, 6, v6);
	check_text(&text, "2001:db8::1");
	text_endpoint(&text, 4, v4, 80);
	check_text(&text, "192.0.2.1:80");
	text_endpoint(&text, 6, v6, 80);
	check_text(&text, "[2001:db8::1]:80");
}

static void test_packet_words(void **state)
{
	struct text text = TEXT_INIT(1 << 10);

	(void)state;
	text_tcp_flags(&text, 0x12);
	check_text(&text, "syn,ack");
	text_tcp_flags(&text, 0);
	check_text(&text, "none");
	text_tcp_flags(&text, 0xff);
	check_text(&text, "fin,syn,rst,psh,ack,urg,ece,cwr");
	text_protocol(&text, IPPROTO_TCP);
	check_text(&text, "tcp");
	text_protocol(&text, 200);
	check_text(&text, "protocol 200");
	text_icmp(&text, 4, 8 << 8);
	check_text(&text, "echo-request");
	text_icmp(&text, 6, 128 << 8);
	check_text(&text, "echo-request");
	text_icmp(&text, 4, 200 << 8 | 3);
	check_text(&text, "type 200 code 3");
	assert_true(protocol_is_icmp(IPPROTO_ICMPV6));
	assert_false(protocol_is_icmp(IPPROTO_UDP));
}

static void test_zones(void **state)
{
	static struct zone zones[] = {
		{ .name = "self", .tag = 1 }, { .name = "other", .tag = 2 }, { .name = "wan", .tag = 77 },
	};
	const struct ruleset ruleset = { .zones = zones, .zone_n = 3 };

	(void)state;
	assert_string_equal(zone_name(&ruleset, 2), "wan");
	assert_string_equal(zone_name(&ruleset, 3), "?");
	assert_string_equal(zone_tag_name(&ruleset, 77), "wan");
	assert_string_equal(zone_tag_name(&ruleset, 2), "other");
	assert_string_equal(zone_tag_name(&ruleset, 3), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_packet_words),
		cmocka_unit_test(test_zones),
	};

	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
