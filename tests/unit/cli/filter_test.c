// SPDX-License-Identifier: GPL-2.0-or-later
/* Filters over flows: each row is a filter, and the flows of a fixed list that it lets through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/filter.h"

static struct zone zones[] = {
	{ .name = "self", .tag = 1 },
	{ .name = "other", .tag = 2 },
	{ .name = "wan", .tag = 1001 },
	{ .name = "lan", .tag = 1002 },
};

static const struct ruleset ruleset = { .zones = zones, .zone_n = 4 };

#define V4(a, b, c, d) { (uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d) }
#define DB8(last) { 0x20010db8, 0, 0, (last) }

static const struct {
	struct flow_key key;
	struct flow flow;
	bool embryonic;
} flows[] = {
	/* 0: 203.0.113.9:50000 -> 192.0.2.1:22, wan -> self, established */
	{ { V4(192, 0, 2, 1), V4(203, 0, 113, 9), 22, 50000, 6, 4 },
	  { .flags = FLOW_ORIGIN_HIGH | FLOW_REPLIED, .state = FLOW_ESTABLISHED, .from_tag = 1001,
	    .to_tag = 1 }, false },
	/* 1: 192.168.1.5:40000 -> 203.0.113.9:53 udp, lan -> wan, unreplied */
	{ { V4(192, 168, 1, 5), V4(203, 0, 113, 9), 40000, 53, 17, 4 },
	  { .state = FLOW_UNREPLIED, .from_tag = 1002, .to_tag = 1001 }, true },
	/* 2: [2001:db8::5]:22 -> [2001:db8::9]:6010, self -> lan, time-wait */
	{ { DB8(5), DB8(9), 22, 6010, 6, 6 },
	  { .flags = FLOW_REPLIED, .state = FLOW_TIME_WAIT, .from_tag = 1, .to_tag = 1002 }, false },
	/* 3: icmp 192.168.1.5 -> 192.0.2.1, lan -> self, replied */
	{ { V4(192, 0, 2, 1), V4(192, 168, 1, 5), 77, 77, 1, 4 },
	  { .flags = FLOW_ORIGIN_HIGH | FLOW_REPLIED, .state = FLOW_REPLY_SEEN, .from_tag = 1002,
	    .to_tag = 1 }, false },
};

#define FLOWS (sizeof(flows) / sizeof(flows[0]))

static const struct {
	const char *words; /* one argument */
	unsigned passed;   /* bit i: flow i */
} good[] = {
	{ "", 15 },
	{ "  \t ", 15 },
	{ "22/tcp", 1 },		/* 22 as the originator's port is not meant */
	{ "22", 1 },
	{ "ssh", 1 },
	{ "53", 2 },
	{ "53/udp", 2 },
	{ "53/tcp", 0 },
	{ "domain", 2 },
	{ "6000-6063/tcp", 4 },
	{ "6000-6009/tcp", 0 },
	{ "tcp", 5 },
	{ "TCP", 5 },
	{ "udp", 2 },
	{ "icmp", 8 },
	{ "77", 0 },			/* an echo identifier is no port */
	{ "22/tcp 53/udp", 3 },		/* services are alternatives */
	{ "from 203.0.113.9", 1 },
	{ "to 203.0.113.9", 2 },
	{ "from 192.168.0.0/16", 10 },
	{ "from 192.168.1.4/31", 10 },
	{ "from 192.168.1.6/31", 0 },
	{ "from 0.0.0.0/0", 11 },
	{ "from ::/0", 4 },
	{ "from 2001:db8::/32 to 2001:db8::9", 4 },
	{ "from 2001:db8::6/127", 0 },
	{ "zone wan", 3 },
	{ "zone lan", 14 },
	{ "zone self", 13 },
	{ "zone other", 0 },
	{ "wan -> self", 1 },
	{ "wan->self", 1 },
	{ "wan ->self", 1 },
	{ "wan-> self", 1 },
	{ "any -> self", 9 },
	{ "any -> any", 2 },
	{ "self -> any 6010/tcp", 4 },
	{ "lan -> self tcp", 0 },
	{ "state established", 1 },
	{ "state established state time-wait", 5 },
	{ "embryonic", 2 },
	{ "embryonic tcp", 0 },
};

static int parse(const char *words, struct filter *filter, struct text *why)
{
	return filter_parse(&ruleset, &words, 1, filter, why);
}

static void test_matches(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct text why = TEXT_INIT(1 << 12);
		struct filter filter;
		unsigned passed = 0;

		if (parse(good[i].words, &filter, &why))
			fail_msg("`%s` was refused: %s", good[i].words, text_string(&why));
		for (unsigned f = 0; f < FLOWS; f++)
			if (filter_matches(&filter, &flows[f].key, &flows[f].flow, flows[f].embryonic))
				passed |= 1u << f;
		if (passed != good[i].passed)
			fail_msg("`%s` passes %#x, expected %#x", good[i].words, passed, good[i].passed);
		text_free(&why);
	}
}

static const struct {
	const char *words, *why; /* why: a part of the message */
} bad[] = {
	{ "htttp", "did you mean `http`" },
	{ "xqzw", "unknown word `xqzw`" },
	{ "fron 10.0.0.1", "did you mean `from`" },
	{ "70000", "70000" },
	{ "22/icmp", "no protocol with ports" },
	{ "22/frob", "`frob`" },
	{ "22-x/tcp", "expected ports" },
	{ "from", "needs a word" },
	{ "from nowhere", "`nowhere` is no address" },
	{ "from 10.0.0.1/33", "`10.0.0.1/33` is no address" },
	{ "from 10.0.0.1/", "is no address" },
	{ "to 2001:db8::/129", "is no address" },
	{ "zone wam", "did you mean `wan`" },
	{ "wan -> slef", "did you mean `self`" },
	{ "wan ->", "a pair names two zones" },
	{ "-> self", "a pair names two zones" },
	{ "state establish", "did you mean `established`" },
	{ "state x", "states are syn-sent," },
	{ "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "more than 16" },
};

static void test_refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct filter filter = { .embryonic = true, .service_n = 99 };
		struct text why = TEXT_INIT(1 << 12);

		if (parse(bad[i].words, &filter, &why) != -EINVAL)
			fail_msg("`%s` was not refused", bad[i].words);
		if (!strstr(text_string(&why), bad[i].why))
			fail_msg("`%s`: `%s` does not say `%s`", bad[i].words, text_string(&why),
				 bad[i].why);
		assert_int_equal(filter.service_n, 99);
		text_free(&why);
	}
}

static void test_several_arguments(void **state)
{
	const char *const words[] = { "wan", "->", "self 22/tcp", "from", "203.0.113.9" };
	struct text why = TEXT_INIT(1 << 12);
	struct filter filter;

	(void)state;
	assert_int_equal(filter_parse(&ruleset, words, 5, &filter, &why), 0);
	assert_true(filter_matches(&filter, &flows[0].key, &flows[0].flow, false));
	assert_false(filter_matches(&filter, &flows[1].key, &flows[1].flow, false));
}

static void test_ends(void **state)
{
	struct flow_ends ends;

	(void)state;
	flow_ends(&flows[0].key, &flows[0].flow, &ends);
	assert_int_equal(ends.from_port, 50000);
	assert_int_equal(ends.to_port, 22);
	assert_ptr_equal(ends.from, flows[0].key.high);
	flow_ends(&flows[1].key, &flows[1].flow, &ends);
	assert_int_equal(ends.from_port, 40000);
	assert_ptr_equal(ends.to, flows[1].key.high);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_several_arguments),
		cmocka_unit_test(test_ends),
	};

	return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
