// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The compiler: every image must decide every packet as its rules do.
 *
 * Random rulesets come from a seed, which is printed; REEVE_TEST_SEED=N repeats a run.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include <cmocka.h>

#include "sample.h"

static uint64_t seed_of_run;

static const struct image_header *header_of(const struct image *image)
{
	return (const void *)image->bytes;
}

/* The last rule is what decides all that no other does. */
static void compile_valid(struct ruleset *ruleset, struct image *image)
{
	const char *why = "";

	ruleset->rules[ruleset->rule_n - 1].origin = RULE_BUILTIN_DEFAULT;
	if (image_compile(ruleset, NULL, 0, image, &why))
		fail_msg("does not compile: %s", why);
	if (image_validate(image->bytes, image->size, &why))
		fail_msg("not valid: %s", why);
	assert_int_equal(image->stats.walk_max, header_of(image)->walk_max);
	assert_int_equal(image->stats.bytes, image->size);
}

/* Holds the image against the rules with `packets` packets. */
static void hold(struct random *random, const struct ruleset *ruleset, const struct image *image,
		 unsigned packets, uint32_t *visits_max)
{
	while (packets--) {
		struct fields fields;
		uint32_t visits, expected, got;

		enum walk_kind kind = WALK_PACKET;

		sample_packet(random, ruleset, &fields);
		if (fields.word[FIELD_FRAGMENT])
			kind = WALK_FRAGMENT;
		else if (packets % 3 == 0)
			kind = WALK_FLOW;
		expected = sample_judge(ruleset, &fields, kind);
		got = sample_walk(image, &fields, kind, &visits);
		if (got != expected)
			fail_msg("seed %llu: rule %u, but the image says %u",
				 (unsigned long long)seed_of_run, expected, got);
		if (visits > *visits_max)
			*visits_max = visits;
	}
}

static void hold_random(const struct sample_shape *most, unsigned rulesets, unsigned packets)
{
	unsigned i;

	for (i = 0; i < rulesets; i++) {
		struct random random = { (seed_of_run + 1) * 0x9e3779b97f4a7c15ull +
					 i * 2654435761u };
		struct sample_shape shape;
		struct ruleset ruleset;
		struct image image;
		uint32_t visits_max = 0;

		random_word(&random);
		shape.rules = random_below(&random, most->rules + 1);
		shape.zones = 2 + random_below(&random, most->zones - 1);
		shape.addresses = 1 + random_below(&random, most->addresses);
		sample_random(&random, &shape, &ruleset);
		compile_valid(&ruleset, &image);
		hold(&random, &ruleset, &image, packets, &visits_max);
		assert_true(visits_max <= image.stats.walk_max);
		image_free(&image);
		sample_free(&ruleset);
	}
}

static void test_small(void **state)
{
	(void)state;
	hold_random(&(struct sample_shape){ 6, 4, 4 }, 200, 500);
}

static void test_middle(void **state)
{
	(void)state;
	hold_random(&(struct sample_shape){ 60, 12, 40 }, 120, 600);
}

static void test_large(void **state)
{
	(void)state;
	hold_random(&(struct sample_shape){ 400, 4, 300 }, 12, 1500);
}

/* So many pairs of zones that one tree serves all of them. */
static void test_many_zones(void **state)
{
	struct random random = { seed_of_run + 77 };
	struct ruleset ruleset;
	struct image image;
	uint32_t visits = 0;

	(void)state;
	sample_random(&random, &(struct sample_shape){ 300, ZONES_MAX, 10 }, &ruleset);
	compile_valid(&ruleset, &image);
	hold(&random, &ruleset, &image, 20000, &visits);
	image_free(&image);
	sample_free(&ruleset);
}

/*
 * `from 172.16.x.0/24 to 10.9.z.1 port N/udp`, the bar of the project: 1000 rules are no slower
 * than 10.
 */
static uint32_t visits_of_stateless(uint32_t n)
{
	struct random random = { 5 };
	struct ruleset ruleset;
	struct image image;
	uint32_t i, visits = 0;

	sample_begin(&ruleset, 3, n + 1);
	for (i = 0; i < n; i++) {
		struct addresses *src = arena_new(&ruleset.arena, struct addresses);
		struct addresses *dst = arena_new(&ruleset.arena, struct addresses);
		struct address_range *range = arena_array(&ruleset.arena, 2, sizeof(*range));
		struct clause *clause = sample_rule(&ruleset);

		range[0].lo[0] = 0xac100000 + (i % 4000) * 256;
		range[0].hi[0] = range[0].lo[0] + 255;
		range[1].lo[0] = range[1].hi[0] = 0x0a090001 + (i * 7 % 256) * 256;
		*src = (struct addresses){ .items = &range[0], .n = 1, .family = 4 };
		*dst = (struct addresses){ .items = &range[1], .n = 1, .family = 4 };
		clause->families = FAMILY_BIT_4;
		clause->src = src;
		clause->dst = dst;
		sample_range(&ruleset, clause, FIELD_PROTOCOL, 17, 17);
		sample_range(&ruleset, clause, FIELD_DST_PORT, 1000 + i, 1000 + i);
	}
	sample_rule(&ruleset);
	compile_valid(&ruleset, &image);
	hold(&random, &ruleset, &image, 3000, &visits);
	image_free(&image);
	sample_free(&ruleset);
	return visits;
}

static void test_stateless_rules(void **state)
{
	(void)state;
	assert_true(visits_of_stateless(1000) <= visits_of_stateless(10) + 3);
}

/* Rectangles of ports between two hosts: crowded, and of little use to cut by addresses. */
static void test_rectangles(void **state)
{
	struct random random = { seed_of_run + 3 };
	struct ruleset ruleset;
	struct image image;
	uint32_t i, visits = 0;

	(void)state;
	sample_begin(&ruleset, 3, 3001);
	for (i = 0; i < 3000; i++) {
		struct clause *clause = sample_rule(&ruleset);
		uint32_t src = random_below(&random, 60000), dst = random_below(&random, 60000);

		sample_range(&ruleset, clause, FIELD_SRC_PORT, src,
			     src + random_below(&random, 5000));
		sample_range(&ruleset, clause, FIELD_DST_PORT, dst,
			     dst + random_below(&random, 5000));
	}
	sample_rule(&ruleset);
	compile_valid(&ruleset, &image);
	hold(&random, &ruleset, &image, 5000, &visits);
	assert_true(image.size < (8u << 20));
	assert_true(visits < 150);
	image_free(&image);
	sample_free(&ruleset);
}

/* A set of 200 000 ranges: some visits, and nodes beyond many pages. */
static void test_large_set(void **state)
{
	struct random random = { seed_of_run + 9 };
	const struct addresses *set;
	struct ruleset ruleset;
	struct clause *clause;
	struct image image;
	uint32_t i, visits;

	(void)state;
	sample_begin(&ruleset, 2, 3);
	set = sample_addresses(&ruleset, &random, 200000);
	clause = sample_rule(&ruleset);
	clause->src = set;
	clause->families = FAMILY_BIT_4;
	clause = sample_rule(&ruleset);
	clause->dst = set;
	clause->families = FAMILY_BIT_4;
	sample_rule(&ruleset);
	compile_valid(&ruleset, &image);
	assert_true(image.size > 8 * IMAGE_PAGE);
	for (i = 0; i < 20000; i++) {
		const struct address_range *range = &set->items[random_below(&random, set->n)];
		struct fields fields = { .word = { [FIELD_FAMILY] = 4 } };
		bool source = random_below(&random, 2);
		uint32_t expected = source ? 0 : 1, at;

		at = random_below(&random, 2) ? range->lo[0] : range->hi[0];
		if (random_below(&random, 2)) {
			at = range->hi[0] + 1;
			expected = 2;
		}
		fields.word[source ? FIELD_SRC : FIELD_DST] = at;
		fields.word[source ? FIELD_DST : FIELD_SRC] = set->items[3].hi[0] + 1;
		assert_int_equal(sample_walk(&image, &fields, WALK_PACKET, &visits), expected);
		assert_true(visits <= 16);
	}
	image_free(&image);
	sample_free(&ruleset);
}

static void test_deterministic(void **state)
{
	const struct sample_shape shape = { 80, 6, 30 };
	unsigned i;

	(void)state;
	for (i = 0; i < 20; i++) {
		struct random one = { seed_of_run + 100 + i }, two = one;
		struct compile_interface interfaces[] = { { 3, 0 }, { 9, 1 }, { 4, 0 }, { 70, 1 } };
		struct compile_interface reversed[] = { { 70, 1 }, { 4, 0 }, { 9, 1 }, { 3, 0 } };
		struct ruleset a, b;
		struct image x, y;
		const char *why;
		void *between;

		sample_random(&one, &shape, &a);
		between = malloc(1 + random_below(&one, 99999)); /* so that addresses differ */
		sample_random(&two, &shape, &b);
		assert_int_equal(image_compile(&a, interfaces, 4, &x, &why), 0);
		assert_int_equal(image_compile(&b, reversed, 4, &y, &why), 0);
		assert_int_equal(x.size, y.size);
		assert_memory_equal(x.bytes, y.bytes, x.size);
		image_free(&x);
		image_free(&y);
		sample_free(&a);
		sample_free(&b);
		free(between);
	}
}

static void test_digest(void **state)
{
	struct random random = { 1 };
	struct ruleset ruleset;
	struct image_header *header;
	struct image image;
	uint64_t digest;

	(void)state;
	sample_random(&random, &(struct sample_shape){ 5, 3, 5 }, &ruleset);
	compile_valid(&ruleset, &image);
	header = (void *)image.bytes;
	digest = (uint64_t)header->digest[1] << 32 | header->digest[0];
	header->digest[0] = header->digest[1] = 0;
	assert_true(digest == XXH64(image.bytes, image.size, 0));
	image_free(&image);
	sample_free(&ruleset);
}

static const struct image_interface *find_interface(const struct image *image, uint32_t ifindex)
{
	const struct image_header *header = header_of(image);
	const struct image_bucket *bucket =
		(const void *)(image->bytes +
			       (size_t)(header->interfaces +
					(image_hash(ifindex) & header->interface_mask)) *
				       IMAGE_UNIT);
	unsigned i;

	for (i = 0; i < 4; i++)
		if (bucket->entry[i].ifindex == ifindex)
			return &bucket->entry[i];
	return NULL;
}

static void test_interfaces(void **state)
{
	static struct compile_interface list[5000];
	struct ruleset ruleset;
	struct image image;
	const char *why = "";
	uint32_t i;

	(void)state;
	sample_begin(&ruleset, 5, 1);
	sample_rule(&ruleset);
	ruleset.rules[0].origin = RULE_BUILTIN_DEFAULT;
	for (i = 0; i < 5000; i++)
		list[i] = (struct compile_interface){ 1 + i * 7, i % 5 };
	assert_int_equal(image_compile(&ruleset, list, 5000, &image, &why), 0);
	assert_int_equal(image_validate(image.bytes, image.size, &why), 0);
	for (i = 0; i < 5000; i++) {
		const struct image_interface *found = find_interface(&image, list[i].ifindex);

		assert_int_equal(image_interface_zone(&image, list[i].ifindex), list[i].zone);
		if (list[i].zone == ZONE_OTHER) {
			assert_null(found);
			continue;
		}
		assert_non_null(found);
		assert_int_equal(found->zone, list[i].zone);
		assert_int_equal(found->tag, ruleset.zones[list[i].zone].tag);
	}
	assert_null(find_interface(&image, 3));
	assert_int_equal(image_interface_zone(&image, 3), ZONE_OTHER);
	image_free(&image);
	assert_int_equal(image_compile(&ruleset, NULL, 0, &image, &why), 0);
	assert_null(find_interface(&image, 1));
	image_free(&image);
	list[4000].zone = 5;
	assert_int_equal(image_compile(&ruleset, list, 5000, &image, &why), -EINVAL);
	sample_free(&ruleset);
}

/* Other interfaces give the bytes that compiling for them gives, from many to none and back. */
static void test_replace_interfaces(void **state)
{
	static struct compile_interface list[900];
	static const uint32_t counts[] = { 900, 3, 0, 1, 60 };
	struct ruleset ruleset;
	struct image image;
	const char *why = "";
	size_t i;

	(void)state;
	sample_begin(&ruleset, 5, 3);
	sample_range(&ruleset, sample_rule(&ruleset), FIELD_PROTOCOL, 6, 6);
	sample_range(&ruleset, sample_rule(&ruleset), FIELD_DST_PORT, 53, 80);
	sample_rule(&ruleset);
	ruleset.rules[ruleset.rule_n - 1].origin = RULE_BUILTIN_DEFAULT;
	for (i = 0; i < 900; i++)
		list[i] = (struct compile_interface){ 2 + (uint32_t)i * 3, (uint32_t)i % 5 };
	assert_int_equal(image_compile(&ruleset, list, 77, &image, &why), 0);
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct image expected, replaced;

		assert_int_equal(image_compile(&ruleset, list, counts[i], &expected, &why), 0);
		assert_int_equal(image_replace_interfaces(&ruleset, &image, list, counts[i],
							  &replaced), 0);
		assert_int_equal(replaced.size, expected.size);
		assert_memory_equal(replaced.bytes, expected.bytes, expected.size);
		image_free(&expected);
		image_free(&image);
		image = replaced;
	}
	list[0].zone = 5;
	assert_int_equal(image_replace_interfaces(&ruleset, &image, list, 1, &image), -EINVAL);
	image_free(&image);
	sample_free(&ruleset);
}

static void test_rule_table(void **state)
{
	const struct image_rule *rules;
	struct ruleset ruleset;
	struct image image;

	(void)state;
	sample_begin(&ruleset, 2, 4);
	sample_range(&ruleset, sample_rule(&ruleset), FIELD_PROTOCOL, 6, 6);
	sample_range(&ruleset, sample_rule(&ruleset), FIELD_PROTOCOL, 17, 17);
	sample_range(&ruleset, sample_rule(&ruleset), FIELD_PROTOCOL, 1, 1);
	sample_rule(&ruleset);
	ruleset.rules[0].origin = RULE_BUILTIN;
	ruleset.rules[1].action = ACTION_REJECT;
	ruleset.rules[1].reject = REJECT_ADMIN_PROHIBITED;
	ruleset.rules[1].log = true;
	ruleset.rules[1].log_sample = 100;
	ruleset.rules[1].mark_set = (struct masked){ 0xff, 0x12 };
	ruleset.rules[2].origin = RULE_DEFAULT;
	ruleset.rules[2].stateless = true;
	ruleset.rules[2].log = true; /* a sample of 0 means all */
	ruleset.rules[3].origin = RULE_BUILTIN_DEFAULT;
	ruleset.rules[3].action = ACTION_DROP;
	ruleset.options.guard = ruleset.options.windows = true;
	ruleset.options.pickup = false;
	compile_valid(&ruleset, &image);
	assert_int_equal(header_of(&image)->flags, IMAGE_GUARD);
	assert_int_equal(header_of(&image)->mark_shift, 30);
	assert_int_equal(header_of(&image)->rules, 4);
	rules = (const void *)(image.bytes + (size_t)header_of(&image)->rule_table * IMAGE_UNIT);
	assert_int_equal(rules[0].flags, IMAGE_RULE_BUILTIN);
	assert_int_equal(rules[0].log_sample, 0);
	assert_int_equal(rules[1].flags, IMAGE_RULE_LOG);
	assert_int_equal(rules[1].action, ACTION_REJECT);
	assert_int_equal(rules[1].reject, REJECT_ADMIN_PROHIBITED);
	assert_int_equal(rules[1].log_sample, 100);
	assert_int_equal(rules[1].mark_mask, 0xff);
	assert_int_equal(rules[1].mark_value, 0x12);
	assert_int_equal(rules[2].flags,
			 IMAGE_RULE_LOG | IMAGE_RULE_STATELESS | IMAGE_RULE_DEFAULT);
	assert_int_equal(rules[2].log_sample, 1);
	assert_int_equal(rules[3].flags, IMAGE_RULE_BUILTIN | IMAGE_RULE_DEFAULT);
	assert_int_equal(rules[3].action, ACTION_DROP);
	image_free(&image);
	sample_free(&ruleset);
}

/* A failed compilation says why and leaves the image alone. */
static void refuse(const struct ruleset *ruleset, int error)
{
	struct image image = { .size = 4711 };
	const char *why = NULL;

	assert_int_equal(image_compile(ruleset, NULL, 0, &image, &why), error);
	assert_non_null(why);
	assert_null(image.bytes);
	assert_int_equal(image.size, 4711);
}

static void test_limits(void **state)
{
	struct ruleset ruleset;

	(void)state;
	sample_begin(&ruleset, ZONES_MAX, 1);
	refuse(&ruleset, -EINVAL); /* no rules */
	sample_rule(&ruleset);
	ruleset.zone_n = ZONES_MAX + 1;
	refuse(&ruleset, -E2BIG);
	ruleset.zone_n = 1;
	refuse(&ruleset, -EINVAL);
	ruleset.zone_n = 2;
	ruleset.rule_n = IMAGE_RULES_MAX + 1;
	refuse(&ruleset, -E2BIG);
	sample_free(&ruleset);
}

static void test_undecided(void **state)
{
	struct ruleset ruleset;

	(void)state;
	sample_begin(&ruleset, 2, 2);
	sample_range(&ruleset, sample_rule(&ruleset), FIELD_DST_PORT, 80, 80);
	refuse(&ruleset, -EINVAL);
	sample_rule(&ruleset);
	ruleset.rules[1].from = 1; /* nothing is said about the other zone */
	refuse(&ruleset, -EINVAL);
	sample_free(&ruleset);
}

/* How often one packet may ask is bounded: two rules that ask all sets, and one that asks once. */
static void test_asked_limit(void **state)
{
	static struct dynamic_set sets[IMAGE_SETS_MAX];
	static char names[IMAGE_SETS_MAX][8];
	unsigned i, rules;

	(void)state;
	for (i = 0; i < IMAGE_SETS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "set%u", i);
		sets[i] = (struct dynamic_set){ .name = names[i], .max = 1 };
	}
	for (rules = 2; rules <= 3; rules++) {
		struct ruleset ruleset;
		struct image image;

		sample_begin(&ruleset, 2, rules + 1);
		ruleset.sets = sets;
		ruleset.set_n = IMAGE_SETS_MAX;
		for (i = 0; i < rules; i++) {
			struct clause *clause = sample_rule(&ruleset);

			clause->src_sets.sets = UINT64_MAX >> (i == 2 ? 63 : 0);
			clause->src_sets.none = i == 1;
			clause->flags = (struct masked){ 1u << i, 0 };
			ruleset.rules[i].action = ACTION_DROP;
		}
		sample_rule(&ruleset);
		if (rules == 2) {
			compile_valid(&ruleset, &image);
			assert_int_equal(header_of(&image)->set_n, IMAGE_SETS_MAX);
			assert_in_range(image.stats.dynamic, 64, 256);
			image_free(&image);
		} else {
			refuse(&ruleset, -EXFULL);
		}
		sample_free(&ruleset);
	}
}

/* Conditions that no cut can divide make one long chain, up to the limit of a walk. */
static void test_walk_limit(void **state)
{
	static const uint32_t counts[] = { 100000, 140000 };
	unsigned i, j;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct ruleset ruleset;

		sample_begin(&ruleset, 2, counts[i] + 1);
		for (j = 0; j < counts[i]; j++) {
			struct clause *clause = sample_rule(&ruleset);

			clause->mark = (struct masked){ 0x0fffffff, j };
			clause->flags = (struct masked){ j % 255 + 1, j & (j % 255 + 1) };
		}
		sample_rule(&ruleset);
		if (i) {
			refuse(&ruleset, -E2BIG);
		} else {
			struct image image;

			compile_valid(&ruleset, &image);
			assert_in_range(image.stats.walk_max, 100000, 200000);
			image_free(&image);
		}
		sample_free(&ruleset);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small),		cmocka_unit_test(test_middle),
		cmocka_unit_test(test_large),		cmocka_unit_test(test_many_zones),
		cmocka_unit_test(test_stateless_rules), cmocka_unit_test(test_rectangles),
		cmocka_unit_test(test_large_set),	cmocka_unit_test(test_deterministic),
		cmocka_unit_test(test_digest),		cmocka_unit_test(test_interfaces),
		cmocka_unit_test(test_rule_table),	cmocka_unit_test(test_limits),
		cmocka_unit_test(test_undecided),	cmocka_unit_test(test_walk_limit),
		cmocka_unit_test(test_replace_interfaces),	cmocka_unit_test(test_asked_limit),
	};
	const char *seed = getenv("REEVE_TEST_SEED");

	seed_of_run = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
	printf("# seed %llu\n", (unsigned long long)seed_of_run);
	fflush(stdout);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("compile", tests, NULL, NULL);
}
