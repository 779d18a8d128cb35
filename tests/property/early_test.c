// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Early, the same everywhere: random policies with `early` blocks times packets aimed at them. The
 * reference evaluator over the rules, the user engine over the image, the XDP programs through
 * BPF_PROG_TEST_RUN: what is dropped, by which rule, and what is told. Dynamic sets hold the same
 * for all. What `early` lets pass is property-verdicts' business.
 *
 * REEVE_SEED repeats a run, REEVE_POLICIES and REEVE_PACKETS make it longer.
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
#include <unistd.h>

#include <cmocka.h>

#include "analysis/evaluate.h"
#include "bench.h"
#include "probe.h"

static struct world *world; /* NULL: no kernel */
static int world_error;
static uint64_t seed;

struct tally {
	uint64_t packets, dropped, limited, fragments, unknown, rules, met;
};

/* A rule with a limit is asked for a packet; what its bucket has given out is in the policy. */
struct asked {
	struct loaded_policy *policy;
	const uint32_t *word;
};

static bool within(void *context, uint32_t number)
{
	const struct asked *asked = context;
	struct loaded_policy *policy = asked->policy;
	const struct rule_limit *limit = &policy->ruleset.early[number].limit;
	struct spent wanted = { .rule = number };
	uint32_t i;

	if (limit->each != LIMIT_EACH_NONE) {
		bool source = limit->each == LIMIT_EACH_SOURCE;

		wanted.family = asked->word[FIELD_FAMILY];
		memcpy(wanted.address, asked->word + (source ? FIELD_SRC : FIELD_DST), 16);
		/* A source is a whole /64. */
		if (source && wanted.family == 6)
			wanted.address[2] = wanted.address[3] = 0;
	}
	for (i = 0; i < policy->spent_n; i++)
		if (!memcmp(&policy->spent[i], &wanted, offsetof(struct spent, n)))
			break;
	assert_true(i < POLICY_SPENT);
	if (i == policy->spent_n)
		policy->spent[policy->spent_n++] = wanted;
	if (policy->spent[i].n >= limit->burst)
		return false;
	policy->spent[i].n++;
	return true;
}

/* The rule of `early` that drops it, or RULE_NONE. False when nobody knows. */
static bool expect(struct loaded_policy *policy, const struct probe *probe, uint32_t *rule)
{
	const struct ruleset *ruleset = &policy->ruleset;
	struct asked asked = { .policy = policy };
	struct fields fields;

	*rule = RULE_NONE;
	if (probe->damage_n || probe->cut)
		return false;
	/* A frame of a VLAN device, or one that arrival finds malformed: not early's business. */
	if (craft_foreign(&probe->craft) || craft_malformed(&probe->craft, true))
		return true;
	craft_fields(&probe->craft, true, &fields);
	fields.word[FIELD_FROM_ZONE] = policy->zones[probe->here];
	fields.word[FIELD_MARK] = 0;
	asked.word = fields.word;
	*rule = evaluate_early(ruleset, &fields, within, &asked);
	*rule = *rule == ruleset->early_n || ruleset->early[*rule].action == ACTION_PROTECT ? RULE_NONE : *rule + ruleset_early_first(ruleset);
	return true;
}

static void make_probe(struct random *r, const struct loaded_policy *policy, struct probe *probe)
{
	const struct ruleset *ruleset = &policy->ruleset;
	const struct rule *rule = &ruleset->early[random_below(r, ruleset->early_n)];

	probe_aim(r, policy, rule, probe);
	probe->departs = probe->forwarded = probe->typed = false;
	probe->gso_size = probe->gso_segs = probe->tagged = 0;
	for (unsigned i = 0; i < 20 && !(rule->from >> policy->zones[probe->here] & 1); i++)
		probe->here = random_below(r, WORLD_INTERFACES);
}

/* Of many drops at once the kernel tells some. */
static bool same(const struct seen *user, const struct seen *kernel)
{
	struct seen silent = *user;

	if (user->events == 1 && user->event[0].kind == EVENT_DROP && !kernel->events)
		silent.events = 0;
	return seen_same(&silent, kernel);
}

static void one_packet(struct bench *bench, const struct random_policy *text, struct random *r,
		       struct tally *tally, bool *met)
{
	struct text report = TEXT_INIT(1 << 20);
	struct seen user, kernel = { 0 };
	struct user_verdict verdict;
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame;
	struct probe probe;
	uint32_t rule;
	bool known, good;
	int err = 0;

	make_probe(r, &bench->policy, &probe);
	probe_frame(&probe, bytes, &frame);
	if (frame.len < 14)
		return; /* a test run takes no shorter ones */
	known = expect(&bench->policy, &probe, &rule);
	bench_run_early(bench, &frame, &verdict, &user);
	if (world)
		err = world_run_early(world, &frame, &kernel);
	good = !err && (!world || same(&user, &kernel));
	if (known)
		good = good && user.rule == rule && user.action == (rule == RULE_NONE ? USER_NEXT : USER_DROP);
	if (!good) {
		policy_print(text, &report);
		text_printf(&report, "at d%u, %s: expected rule %d; kernel %s\n", probe.here,
			    known ? "known" : "damaged", (int)rule, strerror(-err));
		for (uint32_t i = 0; i < frame.len && i < 100; i++)
			text_printf(&report, "%02x", bytes[i]);
		text_puts(&report, "\n");
		seen_print("user engine", &user, &report);
		if (world)
			seen_print("kernel", &kernel, &report);
		bench_print(text_string(&report));
		text_free(&report);
		fail_msg("engines differ; REEVE_SEED=%llu repeats this", (unsigned long long)seed);
	}
	if (!known)
		bench_forget(bench); /* who knows what it has taken */
	tally->packets++;
	tally->unknown += !known;
	tally->dropped += user.action == USER_DROP;
	if (user.rule == RULE_NONE)
		return;
	met[user.rule - ruleset_early_first(&bench->policy.ruleset)] = true;
	tally->fragments += verdict.packet.fields.word[FIELD_FRAGMENT];
	tally->limited += rule_limited(ruleset_rule(&bench->policy.ruleset, user.rule));
}

static void one_policy(struct random *r, uint64_t packets, struct tally *tally)
{
	static struct random_policy policy;
	uint64_t lines = 0, refused = 0, stats[STAT_COUNT];
	struct bench bench;
	bool *met;

	if (bench_open_random(&bench, world, r, &policy, &lines, &refused))
		fail_msg("cannot be used; REEVE_SEED=%llu repeats this", (unsigned long long)seed);
	met = calloc(bench.policy.ruleset.early_n + 1, sizeof(*met));
	assert_non_null(met);
	for (uint64_t i = 0; bench.policy.ruleset.early_n && i < packets; i++)
		one_packet(&bench, &policy, r, tally, met);
	for (uint32_t i = 0; i < bench.policy.ruleset.early_n; i++)
		tally->met += met[i];
	tally->rules += bench.policy.ruleset.early_n;
	if (world) {
		assert_int_equal(world_stats(world, stats), 0);
		assert_memory_equal(stats, user_engine_stats(bench.engine), sizeof(stats));
	}
	free(met);
	bench_close(&bench);
}

static void test_early(void **state)
{
	uint64_t policies = environment_number("REEVE_POLICIES", 150);
	uint64_t packets = environment_number("REEVE_PACKETS", 300);
	struct tally tally = { 0 };
	struct random r;

	(void)state;
	random_seed(&r, seed);
	for (uint64_t i = 0; i < policies; i++)
		one_policy(&r, packets, &tally);
	printf("# %llu rules of early, %llu met; %llu packets, %llu damaged; %llu dropped, %llu by rules with limits, %llu of them fragments\n",
	       (unsigned long long)tally.rules, (unsigned long long)tally.met,
	       (unsigned long long)tally.packets, (unsigned long long)tally.unknown,
	       (unsigned long long)tally.dropped, (unsigned long long)tally.limited,
	       (unsigned long long)tally.fragments);
	if (policies < 20 || packets < 100)
		return;
	/* Otherwise it would not have looked at much. */
	assert_true(tally.met > tally.rules / 4);
	assert_true(tally.dropped > tally.packets / 10 && tally.dropped < tally.packets);
	assert_true(tally.limited > tally.dropped / 50);
	assert_true(tally.fragments > 0);
}

/* The kernel's part, as a test of its own so that a machine without it shows a skip. */
static void test_kernel(void **state)
{
	(void)state;
	if (world_error == -EPERM || world_error == -ENOSYS)
		skip();
	assert_int_equal(world_error, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel),
		cmocka_unit_test(test_early),
	};
	const char *no_world;
	int status;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	seed = environment_number("REEVE_SEED", (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32);
	world_error = world_open(&world, &no_world);
	if (!world_error)
		world_error = world_open_early(world);
	if (world_error) {
		printf("# the kernel is left out: %s\n", strerror(-world_error));
		world_close(world);
		world = NULL;
	}
	printf("# REEVE_SEED=%llu\n", (unsigned long long)seed);
	status = cmocka_run_group_tests_name("early", tests, NULL, NULL);
	world_close(world);
	return status;
}
