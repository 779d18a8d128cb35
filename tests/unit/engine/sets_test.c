// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Dynamic sets in the user engine, under policies: what they hold decides, rules add to them, times
 * run out, an apply keeps them; and a set against a list that is looked through.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../property/craft.h"
#include "../../property/sets.h"
#include "compile/compile.h"
#include "core/set.h"
#include "engine/user/engine.h"
#include "policy/rule.h"

#define SECOND 1000000000ull
#define START (1000 * SECOND)
#define WAN 10
#define HERE 0x0a0000ffu

static uint64_t seed = 88172645463325252ull;

static uint32_t below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % n;
}

static struct image image_of(const char *sets, const char *rules)
{
	struct source_set sources = { 0 };
	struct diagnostics diagnostics = { 0 };
	struct text text = TEXT_INIT(1 << 16);
	struct compile_interface wan = { .ifindex = WAN };
	struct ruleset ruleset;
	struct image image;
	const char *why = "";
	uint32_t index;

	text_printf(&text, "%s\nzone wan = eth0\npolicy wan -> self default drop { %s }\n", sets,
		    rules);
	assert_int_equal(source_set_add(&sources, "t.reeve", text_string(&text), text.len, &index),
			 0);
	assert_int_equal(policy_load("t.reeve", &sources, &ruleset, &diagnostics), 0);
	wan.zone = (uint32_t)ruleset_zone(&ruleset, "wan");
	assert_int_equal(image_compile(&ruleset, &wan, 1, &image, &why), 0);
	assert_int_equal(image_validate(image.bytes, image.size, &why), 0);
	ruleset_free(&ruleset);
	diagnostics_free(&diagnostics);
	text_free(&text);
	return image;
}

static struct user_engine *engine_of(const char *sets, const char *rules)
{
	struct user_options options = { .flows_max = 1000, .embryonic_max = 1000 };
	struct image image = image_of(sets, rules);
	struct user_engine *engine;
	const char *why = "";

	assert_int_equal(user_engine_new(image.bytes, image.size, &options, &engine, &why), 0);
	user_engine_set_clock(engine, START);
	image_free(&image);
	return engine;
}

static void swap(struct user_engine *engine, const char *sets, const char *rules)
{
	struct image image = image_of(sets, rules);
	const char *why = "";

	assert_int_equal(user_engine_swap(engine, image.bytes, image.size, false, &why), 0);
	image_free(&image);
}

/* A datagram to a port of this host. Does it pass? */
static bool sends(struct user_engine *engine, uint32_t source, uint16_t port)
{
	struct user_verdict verdict;
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame = { .bytes = bytes, .ethernet = true, .ifindex = WAN,
				    .ingress_ifindex = WAN };
	struct craft craft;

	craft_init(&craft);
	craft.protocol = 17;
	craft.src[0] = source;
	craft.dst[0] = HERE;
	craft.src_port = 1000;
	craft.dst_port = port;
	frame.len = craft_build(&craft, bytes);
	user_engine_arrive(engine, &frame, &verdict);
	user_engine_flush(engine);
	return verdict.action == USER_NEXT;
}

static int put(struct user_engine *engine, uint32_t set, uint32_t address, uint32_t prefix,
	       uint64_t expires)
{
	uint32_t words[4] = { address };

	return user_engine_set_add(engine, set, 4, words, prefix, expires);
}

static void test_decides(void **state)
{
	struct user_engine *engine =
		engine_of("set a = dynamic; set b = dynamic",
			  "drop from @a; allow 53/udp from { @b, 192.0.2.0/24 }; "
			  "allow 54/udp from !{ @b, 10.0.0.0/8 }");
	uint32_t words[4] = { 0x0b000001 };

	(void)state;
	assert_false(sends(engine, 0x0b000001, 53));
	assert_true(sends(engine, 0x0b000001, 54));
	assert_false(sends(engine, 0x0a000001, 54));
	assert_true(sends(engine, 0xc0000201, 53));
	assert_int_equal(put(engine, 1, 0x0b000000, 8, 0), 0);
	assert_true(sends(engine, 0x0b000001, 53));
	assert_false(sends(engine, 0x0b000001, 54));
	assert_int_equal(put(engine, 0, 0x0b000001, 32, 0), 0);
	assert_false(sends(engine, 0x0b000001, 53));
	assert_true(sends(engine, 0x0b000002, 53));
	assert_int_equal(user_engine_set_delete(engine, 0, 4, words, 32), 0);
	assert_int_equal(user_engine_set_delete(engine, 0, 4, words, 32), -ENOENT);
	assert_true(sends(engine, 0x0b000001, 53));
	user_engine_set_flush(engine, 1);
	assert_false(sends(engine, 0x0b000001, 53));
	assert_int_equal(put(engine, 2, 1, 32, 0), -ENOENT);
	assert_int_equal(put(engine, IMAGE_SETS_MAX, 1, 32, 0), -ENOENT);
	assert_int_equal(user_engine_set_delete(engine, 77, 4, words, 32), -ENOENT);
	user_engine_free(engine);
}

/* Rules add; what is there already stays for the longer time; a full set takes nothing in. */
static void test_added(void **state)
{
	struct user_engine *engine =
		engine_of("set a = dynamic { timeout 10s, max 3 }",
			  "drop from @a; drop 23/udp add source to @a; allow");
	const uint64_t *stats = user_engine_stats(engine);
	uint32_t words[4] = { 1 };
	uint64_t expires;

	(void)state;
	assert_true(sends(engine, 0x0b000001, 53));
	assert_false(sends(engine, 0x0b000001, 23));
	assert_false(sends(engine, 0x0b000001, 53));
	assert_int_equal(stats[STAT_SET_ADDED], 1);
	user_engine_set_clock(engine, START + 10 * SECOND - 1);
	assert_false(sends(engine, 0x0b000001, 53));
	user_engine_set_clock(engine, START + 10 * SECOND);
	assert_true(sends(engine, 0x0b000001, 53));
	assert_false(sends(engine, 0x0b000001, 23));
	assert_false(sends(engine, 0x0b000002, 23));
	assert_false(sends(engine, 0x0b000003, 23));
	assert_int_equal(stats[STAT_SET_ADDED], 4);
	assert_false(sends(engine, 0x0b000004, 23));
	assert_true(sends(engine, 0x0b000004, 53));
	assert_int_equal(stats[STAT_SET_FULL], 1);
	assert_int_equal(put(engine, 0, 0x0b000005, 32, 0), -ENOSPC);
	/* What has expired makes room. */
	user_engine_set_clock(engine, START + 30 * SECOND);
	assert_false(sends(engine, 0x0b000004, 23));
	assert_false(sends(engine, 0x0b000004, 53));
	assert_int_equal(stats[STAT_SET_FULL], 1);
	swap(engine, "set a = dynamic { timeout 1s }", "drop 23/udp add source to @a; allow");
	words[0] = 0x0b000004;
	assert_false(sends(engine, 0x0b000004, 23));
	assert_int_equal(user_engine_set_find(engine, 0, 4, words, 32, &expires), 0);
	assert_int_equal(expires, START + 40 * SECOND);
	assert_int_equal(put(engine, 0, 0x0b000004, 32, SET_NEVER), 0);
	assert_false(sends(engine, 0x0b000004, 23));
	assert_int_equal(user_engine_set_find(engine, 0, 4, words, 32, &expires), 0);
	assert_int_equal(expires, SET_NEVER);
	user_engine_free(engine);
}

static void test_kept(void **state)
{
	struct user_engine *engine = engine_of("set a = dynamic; set b = dynamic",
					       "allow from @a; allow 53/udp from @b");

	(void)state;
	assert_int_equal(put(engine, 0, 0x0b000001, 32, 0), 0);
	assert_int_equal(put(engine, 1, 0x0b000002, 32, 0), 0);
	swap(engine, "set c = dynamic; set b = dynamic { max 5 }; set a = dynamic",
	     "allow 53/udp from @c; allow 54/udp from @b; allow 55/udp from @a");
	assert_false(sends(engine, 0x0b000001, 53));
	assert_true(sends(engine, 0x0b000001, 55));
	assert_true(sends(engine, 0x0b000002, 54));
	assert_false(sends(engine, 0x0b000002, 55));
	swap(engine, "", "allow 53/udp");
	swap(engine, "set a = dynamic", "allow from @a");
	assert_false(sends(engine, 0x0b000001, 55));
	user_engine_free(engine);
}

/* Entries of all lengths at random, of both families. */
static void test_prefixes(void **state)
{
	static const struct dynamic_set set = { .name = "guests" };
	static struct model_sets model;
	struct user_engine *engine =
		engine_of("set guests = dynamic { max 4000 }", "drop from @guests");
	unsigned held = 0;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		struct model_entry entry = { .family = below(2) ? 4 : 6 };
		uint32_t bits = entry.family == 4 ? 32 : 128;
		bool expected;

		/* Close to each other, so that they hold each other. */
		for (unsigned j = 0; j < (entry.family == 4 ? 1 : 4); j++)
			entry.address[j] = below(16) << 28 | below(16) << 12 | below(32);
		entry.prefix = (uint8_t)(below(4) ? bits - below(8) :
						    bits / 8 + below(bits - bits / 8));
		entry.expired = !below(6);
		if (below(3) && model.sets[1].n < 300) {
			model_put(&model.sets[1], &entry);
			assert_int_equal(user_engine_set_add(engine, 0, entry.family,
							     entry.address, entry.prefix,
							     entry.expired),
					 0);
		} else if (model.sets[1].n) {
			entry = model.sets[1].entries[below(model.sets[1].n)];
			model_remove(&model.sets[1], &entry);
			assert_int_equal(user_engine_set_delete(engine, 0, entry.family,
								entry.address, entry.prefix),
					 0);
		}
		entry.address[below(entry.family == 4 ? 1 : 4)] ^= below(2) ? 0 : 1u << below(32);
		expected = model_holds(&model, &set, entry.family, entry.address);
		assert_int_equal(user_engine_set_holds(engine, 0, entry.family, entry.address),
				 expected);
		held += expected;
	}
	assert_in_range(held, 2000, 18000);
	user_engine_free(engine);
}

/* The arithmetic of keys, which is the kernel's too. */
static void test_keys(void **state)
{
	(void)state;
	for (uint32_t bit = 0; bit < 64; bit++)
		for (unsigned i = 0; i < 20; i++)
			assert_int_equal(set_top_bit(1ull << bit |
						     (((uint64_t)below(~0u) << 32 | below(~0u)) &
						      ((1ull << bit) - 1))),
					 bit);
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t family = below(2) ? 4 : 6, whole = family == 4 ? 32 : 128;
		uint32_t prefix = below(whole), address[4] = { 0 };
		struct set_lengths lengths = { 0 };
		struct set_key key, expected;
		__u64 *bits = &lengths.bits[SET_LENGTHS_WORD(family, prefix)];

		for (unsigned j = 0; j < (family == 4 ? 1 : 4); j++)
			address[j] = below(~0u);
		*bits = SET_LENGTHS_BIT(prefix) | (SET_LENGTHS_BIT(prefix) - 1);
		set_key_whole(&key, address, family);
		set_key_shorten(&key, bits, family == 6 && prefix >= 64 ? 64 : 0);
		set_key_make(&expected, address, family, prefix);
		assert_memory_equal(&key, &expected, sizeof(key));
		assert_int_equal(*bits, SET_LENGTHS_BIT(prefix) - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decides), cmocka_unit_test(test_added),
		cmocka_unit_test(test_kept),	cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_keys),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("sets", tests, NULL, NULL);
}
