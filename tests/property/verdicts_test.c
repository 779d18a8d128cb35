// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The same verdict everywhere: random policies times packets aimed at them.
 *
 * For every packet, three judges: the reference evaluator over the rules, with fields known from
 * how the packet was made; the user engine over the image; the programs in the kernel over the same
 * image, through BPF_PROG_TEST_RUN. Compared are the action, the rule (by whose counter went up),
 * the mark, tc_index, every event, and at the end of a policy all statistics. Flows are forgotten
 * after every packet. Without root or BPF the kernel is left out, and the test says so.
 *
 * REEVE_SEED repeats a run, REEVE_POLICIES and REEVE_PACKETS make it longer. A failure is made
 * small before it is shown.
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

#include "bench.h"
#include "probe.h"

static struct world *world; /* NULL: no kernel */
static int world_error;
static uint64_t seed;

struct tally {
	uint64_t packets, by[BY_ANSWER + 1], actions[USER_ANSWER + 1], not_taken;
	uint64_t rules, rules_met, lines, lines_refused, added;
};

/*
 * Judges a probe by all. True when they agree; otherwise `report` tells, if it is not NULL. *taken
 * is false when the kernel did not take the frame.
 */
static bool agree(struct bench *bench, const struct probe *probe, struct user_verdict *verdict,
		  bool *taken, struct text *report)
{
	struct seen user, kernel = { 0 };
	struct expected expected;
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame;
	bool good = true;
	int err = 0;

	probe_frame(probe, bytes, &frame);
	if (world)
		err = world_run(world, &frame, probe->departs, probe->wrapped, &kernel);
	*taken = err != -EINVAL;
	if (!*taken)
		return true;
	probe_expect(probe, &bench->policy, &expected);
	bench_run(bench, &frame, probe->departs, verdict, &user);
	user_engine_flush(bench->engine);
	if (world)
		world_flush(world);
	if (!expected.known) {
		bench_forget(bench); /* who knows what it has taken */
		bench_follow(bench, verdict);
	}
	if (expected.known)
		good = expected.action == user.action && expected.by == verdict->judgement.by &&
		       expected.rule == user.rule &&
		       (user.action != USER_NEXT || expected.mark == user.mark);
	if (world)
		good = good && !err && seen_same(&user, &kernel);
	if (good || !report)
		return good;
	if (expected.known)
		text_printf(report, "expected: action %u, by %u, rule %d, mark %#x\n",
			    expected.action, expected.by, (int)expected.rule, expected.mark);
	seen_print("user engine", &user, report);
	text_printf(report, "    by %u, sanity %u\n", verdict->judgement.by,
		    verdict->packet.sanity);
	if (world && err)
		text_printf(report, "kernel: %s\n", strerror(-err));
	else if (world)
		seen_print("kernel", &kernel, report);
	return false;
}

/* --- making failures small ------------------------------------------------------- */

struct failing {
	struct probe probe;
};

static bool still_fails(void *context, const struct random_policy *policy)
{
	const struct failing *failing = context;
	struct text errors = TEXT_INIT(1 << 20);
	struct user_verdict verdict;
	struct bench bench;
	uint32_t refused;
	bool fails, taken;

	if (bench_open(&bench, world, policy, &refused, &errors)) {
		text_free(&errors);
		return false;
	}
	fails = !agree(&bench, &failing->probe, &verdict, &taken, NULL);
	bench_close(&bench);
	return fails;
}

static void shrink(struct random_policy *policy, struct probe *probe)
{
	struct failing failing = { *probe };

	if (!still_fails(&failing, policy))
		return; /* it needs what was before it */
	policy_shrink(policy, still_fails, &failing);
	for (int round = 0; round < 3; round++) {
		struct probe kept = failing.probe;

		for (unsigned n = 0; probe_simplify(&kept, n, &failing.probe); n++) {
			if (still_fails(&failing, policy))
				kept = failing.probe;
			failing.probe = kept;
		}
	}
	policy_shrink(policy, still_fails, &failing);
	*probe = failing.probe;
}

static void print_probe(const struct probe *probe, const struct bench *bench, struct text *report)
{
	static const char *const words[] = { "from", "to", "family", "protocol", "sport", "dport",
					     "fragment", "flags", "length", "dscp", "ttl", "mark",
					     "mac-high", "mac-low", "expected", "state", "src", "",
					     "", "", "dst", "", "", "" };
	struct user_frame frame;
	uint8_t bytes[CRAFT_BYTES];
	struct fields fields;

	probe_frame(probe, bytes, &frame);
	text_printf(report, "packet: %s d%u%s, type %u, mark %#x, gso %u x %u, tag %#x, %s%s:\n  ",
		    probe->departs ?
			    (probe->forwarded ? "forwarded, departs at" : "own, departs at") :
			    "arrives at",
		    probe->here, probe->craft.raw ? " (raw)" : "", frame.pkt_type, frame.mark,
		    frame.gso_segs, frame.gso_size, probe->tagged,
		    probe->wrapped ? "wrapped" : "plain",
		    probe->damage_n || probe->cut ? ", damaged" : "");
	if (probe->departs && probe->forwarded)
		text_printf(report, "arrived at d%u\n  ", probe->there);
	for (uint32_t i = 0; i < frame.len && i < 200; i++)
		text_printf(report, "%02x", bytes[i]);
	text_puts(report, "\n");
	if (probe->damage_n || probe->cut)
		return;
	probe_fields(probe, &bench->policy, &fields);
	text_puts(report, "fields:");
	for (unsigned i = 0; i < FIELD_WORDS; i++)
		text_printf(report, " %s%s%#x", words[i], *words[i] ? " " : ":", fields.word[i]);
	text_puts(report, "\n");
}

static void fail_with(struct random_policy *policy, struct probe *probe)
{
	struct text report = TEXT_INIT(1 << 20), errors = TEXT_INIT(1 << 20);
	struct user_verdict verdict;
	struct bench bench;
	uint32_t refused;
	bool taken;

	shrink(policy, probe);
	text_printf(&report, "seed %llu, the smallest failure:\n", (unsigned long long)seed);
	policy_print(policy, &report);
	if (!bench_open(&bench, world, policy, &refused, &errors)) {
		print_probe(probe, &bench, &report);
		if (agree(&bench, probe, &verdict, &taken, &report))
			text_puts(&report, "(not seen again: it needs what was before it)\n");
		bench_close(&bench);
	}
	bench_print(text_string(&report));
	text_free(&report);
	text_free(&errors);
	fail_msg("engines differ; REEVE_SEED=%llu repeats this", (unsigned long long)seed);
}

/* --- the property ---------------------------------------------------------------- */

static void compare_stats(const struct bench *bench)
{
	const uint64_t *user = user_engine_stats(bench->engine);
	uint64_t kernel[STAT_COUNT];

	assert_int_equal(world_stats(world, kernel), 0);
	for (int i = 0; i < STAT_COUNT; i++)
		if (user[i] != kernel[i])
			fail_msg("statistic %d: user engine %llu, kernel %llu; REEVE_SEED=%llu", i,
				 (unsigned long long)user[i], (unsigned long long)kernel[i],
				 (unsigned long long)seed);
}

static void one_policy(struct random *r, uint64_t packets, struct tally *tally)
{
	static struct random_policy policy;
	struct bench bench;
	bool *met;

	if (bench_open_random(&bench, world, r, &policy, &tally->lines, &tally->lines_refused))
		fail_msg("cannot be used; REEVE_SEED=%llu repeats this", (unsigned long long)seed);
	met = calloc(bench.policy.ruleset.rule_n, sizeof(*met));
	assert_non_null(met);
	for (uint64_t i = 0; i < packets; i++) {
		struct user_verdict verdict = { 0 };
		struct probe probe;
		bool taken;

		if (random_chance(r, 10))
			assert_int_equal(bench_change_sets(&bench, r), 0);
		probe_random(r, &bench.policy, &probe);
		if (!agree(&bench, &probe, &verdict, &taken, NULL)) {
			free(met);
			bench_close(&bench);
			fail_with(&policy, &probe);
		}
		tally->packets++;
		if (!taken) {
			tally->not_taken++;
			continue;
		}
		tally->by[verdict.judgement.by]++;
		tally->actions[verdict.action]++;
		if (verdict.judgement.by == BY_RULE)
			met[verdict.judgement.rule] = true;
	}
	for (uint32_t i = 0; i < bench.policy.ruleset.rule_n; i++)
		tally->rules_met += met[i];
	tally->rules += bench.policy.ruleset.rule_n;
	tally->added += user_engine_stats(bench.engine)[STAT_SET_ADDED];
	if (world)
		compare_stats(&bench);
	free(met);
	bench_close(&bench);
}

static void test_verdicts(void **state)
{
	uint64_t policies = environment_number("REEVE_POLICIES", 200);
	uint64_t packets = environment_number("REEVE_PACKETS", 500);
	struct tally tally = { 0 };
	struct random r;

	(void)state;
	random_seed(&r, seed);
	for (uint64_t i = 0; i < policies; i++)
		one_policy(&r, packets, &tally);
	printf("# %llu policies of %llu rules, %llu met; %llu of %llu lines refused\n",
	       (unsigned long long)policies, (unsigned long long)tally.rules,
	       (unsigned long long)tally.rules_met, (unsigned long long)tally.lines_refused,
	       (unsigned long long)tally.lines);
	printf("# %llu packets: %llu left alone or deferred, %llu malformed, %llu by rules; %llu go on, %llu dropped, %llu answered; %llu not taken\n",
	       (unsigned long long)tally.packets, (unsigned long long)tally.by[BY_NOTHING],
	       (unsigned long long)tally.by[BY_SANITY], (unsigned long long)tally.by[BY_RULE],
	       (unsigned long long)tally.actions[USER_NEXT],
	       (unsigned long long)tally.actions[USER_DROP],
	       (unsigned long long)tally.actions[USER_ANSWER], (unsigned long long)tally.not_taken);
	printf("# %llu addresses added to sets by rules\n", (unsigned long long)tally.added);
	if (policies < 20 || packets < 100)
		return;
	/* Otherwise it would not have looked at much. */
	assert_true(tally.by[BY_RULE] > tally.packets / 2);
	assert_true(tally.rules_met > tally.rules / 3);
	assert_true(tally.lines_refused < tally.lines / 4);
	assert_true(tally.not_taken < tally.packets / 20);
	assert_true(tally.actions[USER_ANSWER] > tally.packets / 100);
	assert_true(tally.added > tally.packets / 1000);
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
		cmocka_unit_test(test_verdicts),
	};
	const char *no_world;
	int status;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	seed = environment_number("REEVE_SEED", (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32);
	world_error = world_open(&world, &no_world);
	if (world_error)
		printf("# the kernel is left out: %s: %s\n", no_world, strerror(-world_error));
	printf("# REEVE_SEED=%llu\n", (unsigned long long)seed);
	status = cmocka_run_group_tests_name("verdicts", tests, NULL, NULL);
	world_close(world);
	return status;
}
