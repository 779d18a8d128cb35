// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The fast path against the full way: random conversations through two engines, of which one tries
 * each forwarded packet on the fast path first. What goes fast there, the other one lets pass by
 * its flow, out by the same interface. After every packet both hold the same flows, with the
 * same counts, and have counted the same for every rule.
 *
 * What goes fast has one hop less, right checksums, other link layer addresses, and is otherwise as
 * it came; what does not is untouched. Sometimes a next hop is not known.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "play.h"

#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "core/track.h"

#define ROUNDS 300

static uint64_t seed;
static struct {
	uint64_t packets, tried, went;
} tally;

static void policy_of(struct random_policy *policy, const char *const *lines)
{
	memset(policy, 0, sizeof(*policy));
	for (; *lines; lines++) {
		struct policy_line *line = &policy->lines[policy->n++];

		line->part_n = 1;
		line->kind = LINE_RULE;
		snprintf(line->parts[0], POLICY_PART, "%s", *lines);
	}
}

static const char *const office[] = {
	"zone wan = { d0, d1 }",
	"zone lan = { d2, d3 }",
	"policy wan -> self default drop { allow { 22/tcp, 53, 443/tcp } }",
	"policy self -> any default allow",
	"policy lan -> { wan, other } default allow {",
	"reject 25/tcp; allow 80/tcp mark set 0x10/0xf0; allow 53/udp stateless",
	"}",
	"policy wan -> lan default drop { allow { 80/tcp, 443, 5000/sctp } }",
	"policy other -> any default allow",
	NULL,
};

/* --- comparing ------------------------------------------------------------------- */

struct comparing {
	const struct user_engine *other;
	uint32_t n;
	bool same;
};

static int compare_flow(void *context, const struct flow_key *key, const struct flow *flow,
			bool embryonic)
{
	struct comparing *comparing = context;
	bool other_embryonic;
	const struct flow *other = user_engine_flow(comparing->other, key, &other_embryonic);
	struct flow copy;

	comparing->n++;
	if (!other || other_embryonic != embryonic) {
		comparing->same = false;
		return 0;
	}
	copy = *other;
	copy.created = flow->created;
	copy.seen = flow->seen;
	comparing->same &= !memcmp(&copy, flow, sizeof(copy));
	return 0;
}

static bool same_flows(const struct user_engine *one, const struct user_engine *two)
{
	struct comparing there = { two, 0, true }, back = { one, 0, true };

	user_engine_flows(one, compare_flow, &there);
	user_engine_flows(two, compare_flow, &back);
	return there.same && back.same && there.n == back.n;
}

static bool same_counters(const struct user_engine *one, const struct user_engine *two)
{
	const struct user_counter *left = user_engine_counters(one);
	const struct user_counter *right = user_engine_counters(two);

	for (uint32_t i = 0; i < user_engine_rules(one); i++)
		if (left[i].packets != right[i].packets || left[i].bytes != right[i].bytes)
			return false;
	return user_engine_stats(one)[STAT_ARRIVED] == user_engine_stats(two)[STAT_ARRIVED] &&
	       user_engine_stats(one)[STAT_BY_FLOW] == user_engine_stats(two)[STAT_BY_FLOW] &&
	       user_engine_stats(one)[STAT_DEPARTED] == user_engine_stats(two)[STAT_DEPARTED];
}

/* As a router sends it on: the description with one hop less gives the same bytes. */
static void check_bytes(const struct step *step, uint32_t out, const uint8_t *sent, uint32_t len)
{
	struct craft craft = step->craft;
	uint8_t bytes[CRAFT_BYTES];

	craft.ttl--;
	memcpy(craft.target_mac, bench_next_address, 6);
	world_mac(out - WORLD_IFINDEX, craft.source_mac);
	assert_int_equal(craft_build(&craft, bytes), len);
	assert_memory_equal(bytes, sent, len);
}

/* --- one step -------------------------------------------------------------------- */

/* May the fast path see it, as a driver would hand it on? Others' translations turn it off. */
static bool seen_by_driver(const struct step *step)
{
	return step->way == WAY_FORWARD && !step->mark && !step->tc_index && !step->gso_segs &&
	       (step->tamper == TAMPER_NONE || step->tamper == TAMPER_OUT);
}

static uint32_t leaving(const struct step *step)
{
	return WORLD_IFINDEX +
	       (step->tamper == TAMPER_OUT ? (step->out + 1) % WORLD_INTERFACES : step->out);
}

static uint32_t try_fast(struct random *r, struct bench *bench, const struct step *step)
{
	/* The IP header is aligned, as a driver would have it. */
	_Alignas(4) uint8_t room[CRAFT_BYTES + 2];
	uint8_t before[CRAFT_BYTES], *bytes = room + 2;
	struct user_frame frame = { .bytes = bytes,
				    .writable = bytes,
				    .ethernet = true,
				    .ifindex = WORLD_IFINDEX + step->in,
				    .ingress_ifindex = WORLD_IFINDEX + step->in };
	uint32_t out;

	if (!seen_by_driver(step))
		return 0;
	frame.len = craft_build(&step->craft, bytes);
	frame.pkt_type = world_packet_type(step->in, bytes);
	memcpy(before, bytes, sizeof(before));
	bench->next_hop = random_chance(r, 85) ? leaving(step) : 0;
	tally.tried++;
	out = user_engine_fast(bench->engine, &frame);
	if (!out) {
		assert_memory_equal(bytes, before, frame.len);
		return 0;
	}
	tally.went++;
	check_bytes(step, out, bytes, frame.len);
	return out;
}

/* Both engines; what they did is the same. */
static void both(struct random *r, struct bench *full, struct bench *fast, struct round *round,
		 const struct step *step)
{
	struct user_verdict verdict = { 0 }, other = { 0 };
	struct round again = *round;
	uint32_t out;

	tally.packets++;
	if (step->swap) {
		again.at = !again.at;
		assert_int_equal(bench_swap(fast, &again.policies[again.at]), 0);
	}
	out = try_fast(r, fast, step);
	assert_true(take_step(full, round, step, &verdict));
	if (out) {
		if (verdict.action != USER_NEXT)
			fail_msg("it went fast and should not have passed; REEVE_SEED=%llu",
				 (unsigned long long)seed);
		assert_int_equal(out, leaving(step));
		assert_int_equal(step->in == out - WORLD_IFINDEX, false);
	} else {
		struct step rest = *step;

		rest.swap = false;
		assert_true(take_step(fast, &again, &rest, &other));
		assert_int_equal(verdict.action, other.action);
	}
	if (!same_flows(full->engine, fast->engine))
		fail_msg("the flows differ; REEVE_SEED=%llu", (unsigned long long)seed);
	if (!same_counters(full->engine, fast->engine))
		fail_msg("the counters differ; REEVE_SEED=%llu", (unsigned long long)seed);
}

static void test_fast(void **state)
{
	uint64_t rounds = environment_number("REEVE_ROUNDS", ROUNDS);
	struct text errors = TEXT_INIT(1 << 20);
	static struct round round;
	struct random r;

	(void)state;
	random_seed(&r, seed);
	for (uint64_t i = 0; i < rounds; i++) {
		struct bench full, fast;
		uint32_t refused;

		memset(&round, 0, sizeof(round));
		for (int j = 0; j < 2; j++)
			if (random_chance(&r, 80))
				policy_of(&round.policies[j], office);
			else
				assert_int_equal(bench_random_policy(&r, &round.policies[j]), 0);
		talk_random(&r, random_chance(&r, 50), &round.talk);
		assert_int_equal(bench_open(&full, NULL, &round.policies[0], &refused, &errors), 0);
		assert_int_equal(bench_open(&fast, NULL, &round.policies[0], &refused, &errors), 0);
		for (uint32_t j = 0; j < round.talk.n; j++) {
			struct step *step = &round.talk.steps[j];

			if (random_chance(&r, 5)) /* the last hop, and what is beyond it */
				step->craft.ttl = (uint8_t)random_below(&r, 3);
			both(&r, &full, &fast, &round, step);
		}
		bench_close(&full);
		bench_close(&fast);
	}
	printf("# %llu packets, %llu tried on the fast path, %llu went\n",
	       (unsigned long long)tally.packets, (unsigned long long)tally.tried,
	       (unsigned long long)tally.went);
	text_free(&errors);
	if (rounds >= 50)
		assert_true(tally.went > tally.packets / 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_fast) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	seed = environment_number("REEVE_SEED", (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32);
	printf("# REEVE_SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests_name("fast", tests, NULL, NULL);
}
