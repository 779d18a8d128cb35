// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The library's dynamic sets in the kernel, against a list that is looked through: random changes,
 * replacements and applies, of which each entry and each answer is compared. And what it takes to
 * add an address.
 *
 * Without root or BPF all of it is skipped, and the test says so.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/bpf/sets.h"
#include "random.h"
#include "sets.h"

#define SET "guests"
#define STEPS 3000
#define ADDS 4000
#define ADD_NS 20000 /* to add one address to a set of many: half of the times at most */
#define MANY 100000

static uint64_t seed;
static int unusable; /* why there is no kernel to test with; 0: there is */

static void load(struct ruleset *ruleset, uint32_t max, unsigned other)
{
	struct diagnostics diagnostics = { 0 };
	struct source_set sources = { 0 };
	struct text text = TEXT_INIT(1 << 16);
	uint32_t index;

	while (other--)
		text_printf(&text, "set other%u = dynamic { max 10 }\n", other);
	text_printf(&text, "set " SET " = dynamic { max %u }\n"
			   "policy any -> self default drop { allow 22/tcp from @" SET " }\n",
		    max);
	assert_int_equal(source_set_add(&sources, "t.reeve", text_string(&text), text.len, &index),
			 0);
	assert_int_equal(policy_load("t.reeve", &sources, ruleset, &diagnostics), 0);
	diagnostics_free(&diagnostics);
	text_free(&text);
}

static void apply(uint32_t max, unsigned other)
{
	struct apply_options options = { 0 };
	struct apply_report report = { 0 };
	struct problem problem = { 0 };
	struct ruleset ruleset;

	load(&ruleset, max, other);
	if (engine_apply(&ruleset, &options, &report, &problem))
		fail_msg("apply: %s; REEVE_SEED=%llu", problem.what, (unsigned long long)seed);
	interface_vector_free(&report.interfaces);
	ruleset_free(&ruleset);
}

static struct engine *open_engine(void)
{
	struct problem problem = { 0 };
	struct engine *engine;

	if (engine_open(&engine, &problem))
		fail_msg("open: %s", problem.what);
	return engine;
}

/* Addresses close to each other, so that prefixes hold them. */
static void random_entry(struct random *r, struct model_entry *entry)
{
	uint8_t whole;

	*entry = (struct model_entry){ .family = random_chance(r, 50) ? 4 : 6 };
	whole = entry->family == 4 ? 32 : 128;
	for (unsigned i = 0; i < (entry->family == 4 ? 1 : 4); i++)
		entry->address[i] = random_below(r, 8) << 28 | random_below(r, 8) << 12 |
				    random_below(r, 16);
	entry->prefix = random_chance(r, 60) ? whole : (uint8_t)random_between(r, whole / 8, whole);
	for (unsigned bit = entry->prefix; bit < whole; bit++)
		entry->address[bit / 32] &= ~(1u << (31 - bit % 32));
}

static struct set_entry set_entry_of(const struct model_entry *entry)
{
	struct set_entry made = { .family = entry->family,
				  .prefix = entry->prefix,
				  .timeout = ENTRY_FOREVER };

	memcpy(made.address, entry->address, sizeof(made.address));
	return made;
}

struct comparing {
	const struct model_set *set;
	uint32_t seen;
	bool strange;
};

static int compare_one(void *context, uint8_t family, uint8_t prefix, const uint32_t address[4],
		       uint64_t expires)
{
	struct comparing *comparing = context;

	comparing->seen++;
	for (uint32_t i = 0; i < comparing->set->n; i++) {
		const struct model_entry *entry = &comparing->set->entries[i];

		if (entry->family == family && entry->prefix == prefix && !expires &&
		    !memcmp(entry->address, address, sizeof(entry->address)))
			return 0;
	}
	comparing->strange = true;
	return 1;
}

static void compare(struct engine *engine, struct model_sets *model, struct random *r)
{
	const struct dynamic_set named = { .name = SET };
	struct comparing comparing = { .set = &model->sets[1] };
	struct set_figures figures;
	struct problem problem = { 0 };

	if (random_chance(r, 10)) {
		assert_int_equal(engine_set_each(engine, SET, compare_one, &comparing, &problem),
				 0);
		assert_false(comparing.strange);
		assert_int_equal(comparing.seen, model->sets[1].n);
		assert_int_equal(engine_set_figures(engine, SET, &figures, &problem), 0);
		assert_int_equal(figures.entries, model->sets[1].n);
	}
	for (unsigned i = 0; i < 4; i++) {
		struct model_entry about;

		random_entry(r, &about);
		assert_int_equal(engine_set_holds(engine, &named, about.family, about.address),
				 model_holds(model, &named, about.family, about.address));
	}
}

static void change(struct engine *engine, struct model_set *set, struct random *r)
{
	struct set_entry entries[40];
	struct model_entry one;
	struct problem problem = { 0 };
	size_t done, n = random_chance(r, 50) ? 1 : random_between(r, 0, 40);
	unsigned what = random_below(r, 20);

	if (!what)
		set->n = 0; /* a replace begins with nothing */
	for (size_t i = 0; i < n; i++) {
		bool known = set->n && what > 12 && random_chance(r, 80);

		if (known)
			one = set->entries[random_below(r, set->n)];
		else
			random_entry(r, &one);
		entries[i] = set_entry_of(&one);
		if (what > 12)
			model_remove(set, &one);
		else
			assert_true(model_put(set, &one));
	}
	if (!what) {
		assert_int_equal(engine_set_replace(engine, SET, entries, n, &problem), 0);
	} else if (what > 12) {
		assert_int_equal(engine_set_delete(engine, SET, entries, n, &done, &problem), 0);
	} else {
		assert_int_equal(engine_set_add(engine, SET, entries, n, &done, &problem), 0);
		assert_int_equal(done, n);
	}
}

static void test_changes(void **state)
{
	static struct model_sets model;
	struct engine *engine;
	struct random r;

	(void)state;
	if (unusable)
		skip();
	random_seed(&r, seed);
	apply(4000, 0);
	engine = open_engine();
	for (unsigned i = 0; i < STEPS; i++) {
		if (random_chance(&r, 1))
			apply(random_between(&r, 3000, 5000), random_below(&r, 4));
		if (model.sets[1].n > 1500) {
			struct problem problem = { 0 };

			assert_int_equal(engine_set_replace(engine, SET, NULL, 0, &problem), 0);
			model.sets[1].n = 0;
		}
		change(engine, &model.sets[1], &r);
		compare(engine, &model, &r);
	}
	engine_close(engine);
}

static void test_refused(void **state)
{
	struct set_entry entries[12];
	struct problem problem = { 0 };
	struct engine *engine;
	size_t done = 7;

	(void)state;
	if (unusable)
		skip();
	apply(4000, 0);
	engine = open_engine();
	assert_int_equal(engine_set_replace(engine, SET, NULL, 0, &problem), 0);
	apply(10, 2);
	for (unsigned i = 0; i < 12; i++)
		entries[i] = (struct set_entry){ .family = 4, .prefix = 32, .address = { i } };
	assert_int_equal(engine_set_add(engine, SET, entries, 12, &done, &problem), -ENOSPC);
	assert_int_equal(done, 10);
	assert_int_equal(engine_set_replace(engine, SET, entries + 1, 11, &problem), -ENOSPC);
	assert_int_equal(engine_set_delete(engine, SET, entries, 12, &done, &problem), 0);
	assert_int_equal(done, 10);
	assert_int_equal(engine_set_add(engine, "none", entries, 1, &done, &problem), -ESRCH);
	assert_int_equal(done, 0);
	assert_true(engine_set_runs(engine, "other1"));
	assert_false(engine_set_runs(engine, "other2"));
	engine_close(engine);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int by_time(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void test_speed(void **state)
{
	static uint64_t times[ADDS];
	struct set_entry *entries = calloc(MANY, sizeof(*entries));
	struct problem problem = { 0 };
	struct engine *engine;
	uint64_t start;
	size_t done;

	(void)state;
	if (unusable) {
		free(entries);
		skip();
	}
	assert_non_null(entries);
	apply(2 * MANY, 0);
	engine = open_engine();
	for (uint32_t i = 0; i < MANY; i++)
		entries[i] = (struct set_entry){ .family = 4, .prefix = 32, .address = { i * 7 } };
	start = now_ns();
	assert_int_equal(engine_set_replace(engine, SET, entries, MANY, &problem), 0);
	printf("# %u entries replaced in %llu us\n", MANY,
	       (unsigned long long)(now_ns() - start) / 1000);
	for (unsigned i = 0; i < ADDS; i++) {
		struct set_entry one = { .family = 6, .prefix = 128, .address = { 1, 2, 3, i } };

		start = now_ns();
		assert_int_equal(engine_set_add(engine, SET, &one, 1, &done, &problem), 0);
		times[i] = now_ns() - start;
	}
	qsort(times, ADDS, sizeof(*times), by_time);
	printf("# one address added in %llu ns (half of %u), 99 %% within %llu ns\n",
	       (unsigned long long)times[ADDS / 2], ADDS,
	       (unsigned long long)times[ADDS * 99 / 100]);
	assert_in_range(times[ADDS / 2], 1, ADD_NS);
	engine_close(engine);
	free(entries);
}

static int setup(void **state)
{
	struct problem problem = { 0 };
	struct apply_options options = { .dry_run = true };
	struct apply_report report = { 0 };
	struct ruleset ruleset;

	(void)state;
	if (unshare(CLONE_NEWNET)) {
		unusable = -errno;
		return 0;
	}
	load(&ruleset, 10, 0);
	unusable = engine_apply(&ruleset, &options, &report, &problem);
	if (unusable)
		printf("# no kernel to test with: %s\n", problem.what);
	interface_vector_free(&report.interfaces);
	ruleset_free(&ruleset);
	return 0;
}

static int teardown(void **state)
{
	struct problem problem;

	(void)state;
	if (!unusable)
		engine_down(&problem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_speed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	seed = environment_number("REEVE_SEED", (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32);
	printf("# REEVE_SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests_name("sets", tests, setup, teardown);
}
