// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Limits in the user engine, under policies: flows at a time against a model that knows which live;
 * what an apply keeps; timeouts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../property/craft.h"
#include "compile/compile.h"
#include "engine/user/engine.h"
#include "policy/rule.h"

#define SECOND 1000000000ull
#define WAN 10
#define SOURCES 3
#define PORTS 12
#define STEPS 20000

static uint64_t seed = 88172645463325252ull;

static uint32_t below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % n;
}

static struct image image_of(const char *rules)
{
	struct source_set sources = { 0 };
	struct diagnostics diagnostics = { 0 };
	struct text text = TEXT_INIT(1 << 16);
	struct compile_interface wan = { .ifindex = WAN };
	struct ruleset ruleset;
	struct image image;
	const char *why = "";
	uint32_t index;

	text_printf(&text, "zone wan = eth0\npolicy wan -> self default drop { %s }\n", rules);
	assert_int_equal(source_set_add(&sources, "t.reeve", text_string(&text), text.len, &index),
			 0);
	assert_int_equal(policy_load("t.reeve", &sources, &ruleset, &diagnostics), 0);
	wan.zone = (uint32_t)ruleset_zone(&ruleset, "wan");
	assert_int_equal(image_compile(&ruleset, &wan, 1, &image, &why), 0);
	ruleset_free(&ruleset);
	diagnostics_free(&diagnostics);
	text_free(&text);
	return image;
}

static struct user_engine *engine_of(const char *rules)
{
	struct user_options options = { .flows_max = 1000, .embryonic_max = 1000 };
	struct image image = image_of(rules);
	struct user_engine *engine;
	const char *why = "";

	assert_int_equal(user_engine_new(image.bytes, image.size, &options, &engine, &why), 0);
	user_engine_set_clock(engine, 1000 * SECOND);
	image_free(&image);
	return engine;
}

static void swap(struct user_engine *engine, const char *rules)
{
	struct image image = image_of(rules);
	const char *why = "";

	assert_int_equal(user_engine_swap(engine, image.bytes, image.size, false, &why), 0);
	image_free(&image);
}

/* A datagram of a source, from a port. Does it pass? */
static bool sends(struct user_engine *engine, uint32_t source, uint16_t port)
{
	struct user_verdict verdict;
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame = { .bytes = bytes, .ethernet = true, .ifindex = WAN,
				    .ingress_ifindex = WAN };
	struct craft craft;

	craft_init(&craft);
	craft.protocol = 17;
	craft.src[0] = 0x0a000001 + source;
	craft.dst[0] = 0x0a0000ff;
	craft.src_port = (uint16_t)(1000 + port);
	craft.dst_port = 53;
	frame.len = craft_build(&craft, bytes);
	user_engine_arrive(engine, &frame, &verdict);
	return verdict.action == USER_NEXT;
}

/*
 * Flows begin, go on and expire at random; there are never more than the rule has, and one more
 * begins whenever there are less.
 */
static void test_places(void **state)
{
	struct user_engine *engine = engine_of("allow 53/udp timeout 10s max flows 4 each source");
	uint64_t seen[SOURCES][PORTS] = { { 0 } }, now = 1000 * SECOND;
	unsigned begun = 0, refused = 0;

	(void)state;
	for (unsigned step = 0; step < STEPS; step++) {
		uint32_t source = below(SOURCES), port = below(PORTS), live = 0;
		bool known, passes;

		now += below(20) ? below(SECOND / 2) : below(1500000000) * 10ull;
		user_engine_set_clock(engine, now);
		for (uint32_t i = 0; i < PORTS; i++)
			live += seen[source][i] && now - seen[source][i] <= 10 * SECOND;
		known = seen[source][port] && now - seen[source][port] <= 10 * SECOND;
		passes = sends(engine, source, (uint16_t)port);
		assert_int_equal(passes, known || live < 4);
		if (passes)
			seen[source][port] = now;
		begun += passes && !known;
		refused += !passes;
		if (!below(500)) { /* an apply in between changes nothing */
			swap(engine, "allow 53/udp timeout 10s max flows 4 each source");
		} else if (!below(500)) { /* all of them end */
			user_engine_flush(engine);
			memset(seen, 0, sizeof(seen));
		}
	}
	assert_true(begun > STEPS / 20 && refused > STEPS / 20);
	user_engine_free(engine);
}

/* A smaller number holds for flows that begin: those that are there live on. */
static void test_fewer(void **state)
{
	struct user_engine *engine = engine_of("allow 53/udp timeout 60s max flows 6 id x");
	uint64_t now = 1000 * SECOND;

	(void)state;
	for (uint16_t i = 0; i < 6; i++)
		assert_true(sends(engine, 0, i));
	assert_false(sends(engine, 0, 6));
	swap(engine, "allow 53/udp timeout 60s max flows 3 id x");
	for (unsigned round = 0; round < 3; round++) {
		for (uint16_t i = 0; i < 6; i++)
			assert_true(sends(engine, 0, i));
		assert_false(sends(engine, 0, 7));
		user_engine_set_clock(engine, now += 20 * SECOND);
	}
	/* Four of them fall silent; the other two leave room for one more, after some attempts. */
	for (unsigned round = 0; round < 4; round++) {
		user_engine_set_clock(engine, now += 20 * SECOND);
		assert_true(sends(engine, 0, 0) && sends(engine, 0, 5));
	}
	for (unsigned i = 0; i < 4; i++)
		(void)sends(engine, 0, 7);
	assert_true(sends(engine, 0, 7));
	for (uint16_t i = 8; i < 20; i++)
		assert_false(sends(engine, 0, i));
	user_engine_free(engine);
}

static void test_apply(void **state)
{
	struct user_engine *engine = engine_of("allow 53/udp limit 2/h burst 2 id x");

	(void)state;
	assert_true(sends(engine, 0, 0) && sends(engine, 1, 1));
	assert_false(sends(engine, 2, 2));
	/* The same id, the same bucket; the live flows are looked at again, and cost nothing. */
	swap(engine, "allow 53/udp limit 2/h burst 2 id x; allow 54/udp");
	assert_true(sends(engine, 0, 0) && sends(engine, 1, 1));
	assert_false(sends(engine, 2, 2));
	user_engine_set_clock(engine, 1000 * SECOND + 1801 * SECOND);
	assert_true(sends(engine, 2, 2));
	assert_false(sends(engine, 3, 3));
	/* Another id, another bucket. */
	swap(engine, "allow 53/udp limit 2/h burst 2 id y");
	assert_true(sends(engine, 3, 3) && sends(engine, 4, 4));
	assert_false(sends(engine, 5, 5));
	user_engine_free(engine);
}

/* A recheck does not hold against a flow what a rule drops within a limit. */
static void test_recheck(void **state)
{
	struct user_engine *engine = engine_of("allow 53/udp");

	(void)state;
	assert_true(sends(engine, 0, 0));
	swap(engine, "drop 53/udp limit 1/h burst 1; allow 53/udp");
	assert_true(sends(engine, 0, 0));
	assert_false(sends(engine, 0, 1)); /* the one that is dropped */
	assert_true(sends(engine, 0, 1));
	swap(engine, "drop 53/udp; allow 53/udp");
	assert_false(sends(engine, 0, 0));
	user_engine_free(engine);
}

/* Beyond one limit the next one, and beyond that the default. */
static void test_chain(void **state)
{
	struct user_engine *engine = engine_of("allow 53/udp limit 2/h burst 2 each source;"
					       "allow udp limit 3/h burst 3; drop 54/udp");
	const struct user_counter *counters = user_engine_counters(engine);
	unsigned passed = 0, first = 0;

	(void)state;
	for (uint16_t i = 0; i < 20; i++)
		passed += sends(engine, i % 2, i);
	assert_int_equal(passed, 2 + 2 + 3);
	for (uint32_t i = 0; i < user_engine_rules(engine); i++)
		first += counters[i].packets == 4;
	assert_int_equal(first, 1);
	user_engine_free(engine);
}

static void test_timeout(void **state)
{
	struct user_engine *engine = engine_of("allow 53/udp timeout 20m limit 1/d burst 1");
	uint64_t now = 1000 * SECOND;

	(void)state;
	assert_true(sends(engine, 0, 0));
	for (unsigned i = 0; i < 3; i++) {
		user_engine_set_clock(engine, now += 1200 * SECOND);
		assert_true(sends(engine, 0, 0));
	}
	/* A new policy says otherwise: its timeout holds once a packet has met it. */
	swap(engine, "allow 53/udp timeout 5s limit 1/d burst 1");
	assert_true(sends(engine, 0, 0));
	user_engine_set_clock(engine, now += 5 * SECOND);
	assert_true(sends(engine, 0, 0));
	user_engine_set_clock(engine, now += 5 * SECOND + 1);
	/* A new one, by a fresh bucket: the rule's id is another. */
	assert_true(sends(engine, 0, 0));
	user_engine_set_clock(engine, now += 6 * SECOND);
	assert_false(sends(engine, 0, 0));
	user_engine_free(engine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places), cmocka_unit_test(test_fewer),
		cmocka_unit_test(test_apply),  cmocka_unit_test(test_recheck),
		cmocka_unit_test(test_chain),  cmocka_unit_test(test_timeout),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
