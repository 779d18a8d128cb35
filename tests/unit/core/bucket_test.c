// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Buckets against a simple model at random times, and the keys by which they are found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bucket.h"

#define BUCKETS 300
#define PACKETS 4000

static uint64_t seed = 1;

/* xorshift64* */
static uint64_t word(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 0x2545f4914f6cdd1dull;
}

static uint64_t below(uint64_t n)
{
	return word() % n;
}

/*
 * As it is told to people: so many tokens, of which one comes back every interval, but never more
 * than the burst; in parts of a token as long as an interval.
 */
struct model {
	uint64_t level, then;
};

static bool model_takes(struct model *model, uint64_t interval, uint32_t burst, uint32_t n,
			uint64_t now)
{
	uint64_t whole = interval * burst, passed = now - model->then;

	model->then = now;
	model->level = passed > whole - model->level ? whole : model->level + passed;
	n = n < burst ? n : burst;
	if (model->level < n * interval)
		return false;
	model->level -= n * interval;
	return true;
}

static void test_model(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BUCKETS; i++) {
		uint32_t burst = 1 + (uint32_t)below(below(2) ? 5 : 2000);
		uint64_t interval = 1 + below(1ull << (1 + below(40)));
		uint64_t now = 1 + below(1ull << 40), full_at = 0;
		struct model model = { interval * burst, now };

		for (unsigned j = 0; j < PACKETS; j++) {
			uint32_t n = below(4) ? 1 : (uint32_t)below(50) + 1;
			uint64_t after = bucket_after(full_at, interval, burst, n, now);

			assert_int_equal(after != 0, model_takes(&model, interval, burst, n, now));
			if (after)
				full_at = after;
			now += below(3) ? below(interval * 2) : below(interval * burst + 1);
		}
	}
}

/* Whatever comes: in no time do more pass than the burst and what came back. */
static void test_bound(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BUCKETS; i++) {
		uint32_t burst = 1 + (uint32_t)below(20);
		uint64_t interval = 1 + below(1000000), start = 1 + below(1ull << 40), now = start;
		uint64_t passed = 0, full_at = 0;

		for (unsigned j = 0; j < PACKETS; j++) {
			uint64_t after = bucket_after(full_at, interval, burst, 1, now);

			if (after) {
				full_at = after;
				passed++;
			}
			assert_true(passed <= burst + (now - start) / interval);
			now += below(interval);
		}
		/* And not less: with room for two tokens none is lost to one that asks so often. */
		assert_true(burst == 1 || passed + 1 >= (now - start) / interval);
	}
}

static void test_edges(void **state)
{
	(void)state;
	/* Full at first, whenever that is; then empty until a token is back, to the nanosecond. */
	assert_int_equal(bucket_after(0, 100, 1, 1, 5), 105);
	assert_int_equal(bucket_after(105, 100, 1, 1, 104), 0);
	assert_int_equal(bucket_after(105, 100, 1, 1, 105), 205);
	/* A packet that stands for more than the burst takes all there is, if all is there. */
	assert_int_equal(bucket_after(0, 100, 3, 60, 1000), 1300);
	assert_int_equal(bucket_after(1100, 100, 3, 60, 1000), 0);
	/* The policy has a smaller burst now than what was spent. */
	assert_int_equal(bucket_after(100000, 100, 3, 1, 1000), 0);
	/* The largest there may be. */
	assert_int_equal(bucket_after(0, IMAGE_BURST_NS_MAX, 1, 1, 1ull << 62), 1ull << 63);
	assert_int_equal(bucket_after(1ull << 63, IMAGE_BURST_NS_MAX, 1, 1, 1ull << 62), 0);
}

static void test_keys(void **state)
{
	static const struct {
		uint32_t family;
		struct image_limit limit;
		uint32_t address[4];
	} cases[] = {
		{ 4, { .each = LIMIT_EACH_NONE, .prefix = 64 }, { 0 } },
		{ 4, { .each = LIMIT_EACH_SOURCE, .prefix = 64 }, { 0x0a010203 } },
		{ 4, { .each = LIMIT_EACH_DESTINATION, .prefix = 128 }, { 0xc0000201 } },
		{ 6, { .each = LIMIT_EACH_SOURCE, .prefix = 64 }, { 0x0a010203, 0x11111111 } },
		{ 6, { .each = LIMIT_EACH_SOURCE, .prefix = 56 }, { 0x0a010203, 0x11111100 } },
		{ 6, { .each = LIMIT_EACH_SOURCE, .prefix = 1 }, { 0 } },
		{ 6, { .each = LIMIT_EACH_SOURCE, .prefix = 97 },
		  { 0x0a010203, 0x11111111, 0x22222222, 0 } },
		{ 6, { .each = LIMIT_EACH_DESTINATION, .prefix = 128 },
		  { 0xc0000201, 0x44444444, 0x55555555, 0x66666666 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		bool six = cases[i].family == 6;
		struct fields fields = { .word = { [FIELD_FAMILY] = cases[i].family,
						   [FIELD_SRC] = 0x0a010203,
						   [FIELD_DST] = 0xc0000201 } };
		struct image_limit limit = cases[i].limit;
		struct limit_key key;

		for (unsigned j = 1; six && j < 4; j++) {
			fields.word[FIELD_SRC + j] = 0x11111111 * j;
			fields.word[FIELD_DST + j] = 0x11111111 * (j + 3);
		}
		limit.id[0] = 7;
		memset(&key, 0xff, sizeof(key));
		limit_key_make(&limit, &fields, &key);
		assert_memory_equal(key.address, cases[i].address, sizeof(key.address));
		assert_int_equal(key.id[0], 7);
		assert_int_equal(key.family, limit.each ? cases[i].family : 0);
		assert_int_equal(key.place, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_keys),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("bucket", tests, NULL, NULL);
}
