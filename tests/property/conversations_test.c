// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Flow tracking in both engines: random conversations, packet by packet through arrival and
 * departure of the user engine and of the kernel's programs. After every packet: the same action,
 * rule, mark, tc_index and events, and the same record of the flow in the same table. Policies
 * change in between.
 *
 * Beside that, what holds whatever the engine: an undisturbed conversation that a policy allows to
 * begin is not hindered, and counted to the packet; one that it does not allow to begin gets
 * nowhere.
 *
 * Time does not pass here: a round takes milliseconds. Timeouts are
 * tests/unit/engine/user_test.c's.
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

#include "play.h"

#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "core/track.h"

#define ROUNDS 400

static struct world *world; /* NULL: no kernel */
static int world_error;
static uint64_t seed;

static void fail_with(struct round *round)
{
	struct text report = TEXT_INIT(1 << 20);

	round->tally = NULL;
	shrink_round(world, round);
	text_printf(&report, "seed %llu, the smallest failure:\n", (unsigned long long)seed);
	policy_print(&round->policies[0], &report);
	for (uint32_t i = 0; i < round->talk.n; i++)
		if (round->talk.steps[i].swap) {
			text_puts(&report, "and the other policy:\n");
			policy_print(&round->policies[1], &report);
			break;
		}
	round->report = &report;
	if (play(world, round))
		text_puts(&report, "(not seen again)\n");
	bench_print(text_string(&report));
	text_free(&report);
	fail_msg("engines differ; REEVE_SEED=%llu repeats this", (unsigned long long)seed);
}

/* --- properties ------------------------------------------------------------------ */

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

/* Closed enough that flows matter, open enough that there are some. */
static const char *const office[] = {
	"zone wan = { d0, d1 }",
	"zone lan = { d2, d3 }",
	"policy wan -> self default drop {",
	"allow { 22/tcp, 53, 443/tcp }",
	"allow icmp echo-request",
	"allow icmpv6 echo-request",
	"reject 113/tcp",
	"}",
	"policy self -> any default allow",
	"policy lan -> { wan, other } default allow {",
	"reject 25/tcp",
	"allow 80/tcp mark set 0x10/0xf0",
	"allow 53/udp stateless",
	"}",
	"policy wan -> lan default drop { allow { 80/tcp, 5000/sctp } }",
	"policy lan -> self default allow",
	NULL,
};

static void test_engines_agree(void **state)
{
	uint64_t rounds = environment_number("REEVE_ROUNDS", ROUNDS);
	static struct round round;
	struct tally tally = { 0 };
	struct random r;

	(void)state;
	random_seed(&r, seed);
	for (uint64_t i = 0; i < rounds; i++) {
		round.tally = &tally;
		for (int j = 0; j < 2; j++)
			if (random_chance(&r, 60))
				policy_of(&round.policies[j], office);
			else
				assert_int_equal(bench_random_policy(&r, &round.policies[j]), 0);
		talk_random(&r, false, &round.talk);
		if (!play(world, &round))
			fail_with(&round);
	}
	printf("# %llu rounds, %llu checkpoints: %llu left alone or deferred, %llu malformed, %llu by flows, %llu by rules, %llu own answers\n",
	       (unsigned long long)rounds, (unsigned long long)tally.packets,
	       (unsigned long long)tally.by[BY_NOTHING], (unsigned long long)tally.by[BY_SANITY],
	       (unsigned long long)tally.by[BY_FLOW], (unsigned long long)tally.by[BY_RULE],
	       (unsigned long long)tally.by[BY_ANSWER]);
	printf("# behind them: %llu without a flow, %llu with an embryonic one, %llu with a replied one\n",
	       (unsigned long long)tally.gone, (unsigned long long)tally.embryonic,
	       (unsigned long long)tally.replied);
	printf("# %llu ICMP errors, %llu passed by the flow that they quote\n",
	       (unsigned long long)tally.errors, (unsigned long long)tally.related);
	if (rounds < 50)
		return;
	assert_true(tally.related > tally.errors / 50 && tally.related < tally.errors / 2);
	assert_true(tally.by[BY_FLOW] > tally.packets / 10);
	assert_true(tally.by[BY_RULE] > tally.packets / 10);
	assert_true(tally.replied > tally.packets / 50);
}

/* Everybody may speak first to everybody: a flow is all that tells who did. */
static const char *const open_policy[] = {
	"policy { any, self } -> { any, self } default allow",
	/* the built-in rules for DHCP are stateless */
	"options { tcp-pickup off; dhcp-client off }",
	NULL,
};

static const char *const closed_policy[] = {
	"options { dhcp-client off }",
	"policy { any, self } -> { any, self } default drop",
	NULL,
};

struct said {
	uint64_t packets[2], bytes[2];
};

static bool counted(const struct bench *bench, const struct packet *packet, const struct said *said)
{
	const struct flow *flow;
	struct flow_key key;
	bool embryonic;

	flow_key_make(packet, &key);
	flow = user_engine_flow(bench->engine, &key, &embryonic);
	return flow && flow->original.packets == said->packets[0] &&
	       flow->original.bytes == said->bytes[0] && flow->reply.packets == said->packets[1] &&
	       flow->reply.bytes == said->bytes[1];
}

/*
 * Plays a round to its end or to the first packet that is hindered or not counted once; returns how
 * many steps were fine.
 */
static uint32_t play_undisturbed(struct bench *bench, struct round *round)
{
	struct said said[TALK_SPEAKERS] = { 0 };
	struct user_verdict verdict;

	for (uint32_t i = 0; i < round->talk.n; i++) {
		const struct step *step = &round->talk.steps[i];
		struct said *counts = &said[step->speaker];

		if (!take_step(bench, round, step, &verdict) || verdict.action != USER_NEXT)
			return i;
		counts->packets[step->reply]++;
		counts->bytes[step->reply] += round->packet.length;
		if (!counted(bench, &round->packet, counts))
			return i;
	}
	return round->talk.n;
}

/* Others may lose tc_index on the way: it saves a lookup, no more. */
static void lose_tc_index(struct random *r, struct talk *talk)
{
	for (uint32_t i = 0; i < talk->n; i++)
		if (random_chance(r, 30))
			talk->steps[i].tamper = TAMPER_TC_INDEX;
}

/* Two conversations with the same tuple are one for a filter: such rounds are left out. */
static bool tuples_differ(const struct talk *talk)
{
	for (uint32_t i = 0; i < talk->n; i++)
		for (uint32_t j = 0; j < i; j++) {
			const struct craft *a = &talk->steps[i].craft, *b = &talk->steps[j].craft;

			if (talk->steps[i].speaker != talk->steps[j].speaker &&
			    a->family == b->family && a->protocol == b->protocol)
				return false;
		}
	return true;
}

static void test_undisturbed(void **state)
{
	static struct round round;
	struct text errors = TEXT_INIT(1 << 20), report = TEXT_INIT(1 << 20);
	unsigned played = 0;
	struct random r;

	(void)state;
	random_seed(&r, seed);
	policy_of(&round.policies[0], open_policy);
	round.report = &report;
	for (int i = 0; i < 300; i++) {
		struct bench bench;
		uint32_t refused, fine;

		talk_random(&r, true, &round.talk);
		if (!tuples_differ(&round.talk))
			continue;
		lose_tc_index(&r, &round.talk);
		text_free(&report);
		report = TEXT_INIT(1 << 20);
		played++;
		assert_int_equal(bench_open(&bench, world, &round.policies[0], &refused, &errors),
				 0);
		fine = play_undisturbed(&bench, &round);
		if (world)
			world_flush(world);
		bench_close(&bench);
		if (fine == round.talk.n)
			continue;
		bench_print(text_string(&report));
		fail_msg("the last of these packets was hindered or not counted; REEVE_SEED=%llu",
			 (unsigned long long)seed);
	}
	assert_true(played > 20);
	text_free(&errors);
	text_free(&report);
}

static void test_closed(void **state)
{
	static struct round round;
	struct text errors = TEXT_INIT(1 << 20);
	struct random r;

	(void)state;
	random_seed(&r, seed);
	policy_of(&round.policies[0], closed_policy);
	for (int i = 0; i < 50; i++) {
		struct user_verdict verdict;
		struct bench bench;
		uint32_t refused;

		talk_random(&r, true, &round.talk);
		assert_int_equal(bench_open(&bench, world, &round.policies[0], &refused, &errors),
				 0);
		for (uint32_t j = 0; j < round.talk.n; j++) {
			assert_true(take_step(&bench, &round, &round.talk.steps[j], &verdict));
			assert_int_equal(verdict.action, USER_DROP);
		}
		bench_close(&bench);
	}
	text_free(&errors);
}

/* A flow is bound to its zones and its tuple: nothing else passes by it, however like it. */
static const char *const bound_policy[] = {
	"zone wan = { d1 }",
	"zone lan = { d3 }",
	"policy wan -> lan default drop { allow { 80/tcp, 80/udp } }",
	NULL,
};

/* Here the stranger has rules of its own that let it pass. */
static const char *const two_sides_policy[] = {
	"zone wan = { d1 }",
	"zone lan = { d3 }",
	"policy wan -> lan default drop { allow { 80/tcp, 80/udp } }",
	"policy other -> lan default drop { allow { 80/tcp, 80/udp } }",
	"options { tcp-pickup on }",
	NULL,
};

static const struct {
	const char *name;
	bool reply;
	unsigned in, out;
	enum tamper tamper;
} strangers[] = {
	{ "from another zone", false, 5, 3, TAMPER_NONE },
	{ "the same where tc_index gets lost", false, 5, 3, TAMPER_TC_INDEX },
	{ "to another zone", false, 1, 5, TAMPER_NONE },
	{ "from the other side", false, 3, 1, TAMPER_NONE },
	{ "a reply from another zone", true, 5, 1, TAMPER_NONE },
	{ "a reply to another zone", true, 3, 5, TAMPER_NONE },
	{ "a reply from the originator's zone", true, 1, 3, TAMPER_NONE },
	{ "sent elsewhere by others", false, 1, 3, TAMPER_OUT },
	{ "translated to what no rule allows", false, 1, 3, TAMPER_TARGET },
};

static struct step bound_step(struct random *r, const struct craft ends[2], bool reply)
{
	struct step step = { .craft = ends[reply], .way = WAY_FORWARD, .reply = reply };

	step.in = reply ? 3 : 1;
	step.out = reply ? 1 : 3;
	step.craft.payload = (uint16_t)random_below(r, 50);
	return step;
}

/* `n` packets of the flow itself, which must pass and be counted. */
static void go_on(struct random *r, struct bench *bench, struct round *round,
		  const struct craft ends[2], unsigned n, struct said *said)
{
	struct user_verdict verdict;

	while (n--) {
		bool reply = random_chance(r, 50);
		struct step step = bound_step(r, ends, reply);

		world_mac(step.in, step.craft.target_mac);
		assert_true(take_step(bench, round, &step, &verdict));
		assert_int_equal(verdict.action, USER_NEXT);
		said->packets[reply]++;
		said->bytes[reply] += round->packet.length;
		assert_true(counted(bench, &round->packet, said));
	}
}

static void bound_begin(struct random *r, struct bench *bench, struct round *round,
			struct craft ends[2], struct said *said)
{
	struct user_verdict verdict;
	struct step step;

	craft_init(&ends[0]);
	ends[0].protocol = random_chance(r, 50) ? 6 : 17;
	ends[0].family = random_chance(r, 50) ? 4 : 6;
	ends[0].src[0] = ends[0].family == 4 ? 0xc6336401 : 0x20010db8;
	ends[0].dst[0] = ends[0].family == 4 ? 0xc0a80001 : 0x20010db9;
	ends[1] = ends[0];
	memcpy(ends[1].src, ends[0].dst, 16);
	memcpy(ends[1].dst, ends[0].src, 16);
	ends[1].src_port = ends[0].dst_port;
	ends[1].dst_port = ends[0].src_port;
	step = bound_step(r, ends, false);
	world_mac(step.in, step.craft.target_mac);
	assert_true(take_step(bench, round, &step, &verdict));
	assert_int_equal(verdict.action, USER_NEXT);
	*said = (struct said){ .packets = { 1 }, .bytes = { round->packet.length } };
	step = bound_step(r, ends, true);
	step.craft.tcp_flags = TCP_SYN | TCP_ACK;
	step.craft.ack = 1;
	world_mac(step.in, step.craft.target_mac);
	assert_true(take_step(bench, round, &step, &verdict));
	assert_int_equal(verdict.action, USER_NEXT);
	said->packets[1]++;
	said->bytes[1] += round->packet.length;
	for (int i = 0; i < 2; i++) {
		ends[i].tcp_flags = TCP_ACK;
		ends[i].seq = ends[i].ack = 1;
	}
}

/* What the flow itself says. */
static void count_again(const struct bench *bench, const struct craft ends[2], struct said *said)
{
	struct packet packet = { .flags = PACKET_PORTS };
	const struct flow *flow;
	struct flow_key key;
	bool embryonic;

	craft_fields(&ends[0], false, &packet.fields);
	flow_key_make(&packet, &key);
	flow = user_engine_flow(bench->engine, &key, &embryonic);
	assert_non_null(flow);
	*said = (struct said){ .packets = { flow->original.packets, flow->reply.packets },
			       .bytes = { flow->original.bytes, flow->reply.bytes } };
}

/* One of the strangers, between packets of the flow itself. */
static void be_strange(struct random *r, struct bench *bench, struct round *round,
		       const struct craft ends[2], unsigned which, struct said *said)
{
	struct step step = bound_step(r, ends, strangers[which].reply);
	struct user_verdict verdict;

	step.in = strangers[which].in;
	step.out = strangers[which].out;
	step.tamper = strangers[which].tamper;
	step.mark = random_chance(r, 50) ? random_word(r) : 0;
	world_mac(step.in, step.craft.target_mac);
	assert_true(take_step(bench, round, &step, &verdict));
	if (verdict.action != USER_DROP)
		fail_msg("%s: it passed; REEVE_SEED=%llu", strangers[which].name,
			 (unsigned long long)seed);
	/* Where it came from the right zone it may have been counted before it went astray. */
	if (step.in == (step.reply ? 3u : 1u))
		count_again(bench, ends, said);
}

static void test_bound(void **state)
{
	static struct round round;
	struct text errors = TEXT_INIT(1 << 20);
	struct random r;

	(void)state;
	random_seed(&r, seed);
	policy_of(&round.policies[0], bound_policy);
	for (int i = 0; i < 40; i++) {
		struct craft ends[2];
		struct bench bench;
		struct said said;
		uint32_t refused;

		assert_int_equal(bench_open(&bench, world, &round.policies[0], &refused, &errors),
				 0);
		bound_begin(&r, &bench, &round, ends, &said);
		/* Embryonic still, or replied. */
		go_on(&r, &bench, &round, ends, random_below(&r, 4), &said);
		for (size_t j = 0; j < sizeof(strangers) / sizeof(strangers[0]); j++) {
			be_strange(&r, &bench, &round, ends, (unsigned)j, &said);
			go_on(&r, &bench, &round, ends, 1, &said);
		}
		if (world)
			world_flush(world);
		bench_close(&bench);
	}
	text_free(&errors);
}

/*
 * What comes from the responder and does not fit the connection meets the rules of its own
 * direction, whatever others have done to it on the way.
 */
static void test_misfits(void **state)
{
	static const uint8_t flags[] = { TCP_SYN, TCP_SYN | 0xc0 };
	static const enum tamper tampers[] = { TAMPER_NONE, TAMPER_TC_INDEX, TAMPER_MARK };
	static struct round round;
	struct text errors = TEXT_INIT(1 << 20);
	struct random r;

	(void)state;
	random_seed(&r, seed);
	policy_of(&round.policies[0], bound_policy);
	for (int i = 0; i < 60; i++) {
		struct user_verdict verdict;
		struct craft ends[2];
		struct bench bench;
		struct said said;
		struct step step;
		uint32_t refused;

		assert_int_equal(bench_open(&bench, world, &round.policies[0], &refused, &errors),
				 0);
		bound_begin(&r, &bench, &round, ends, &said);
		/* Embryonic still, or replied. */
		go_on(&r, &bench, &round, ends, random_below(&r, 20), &said);
		step = bound_step(&r, ends, true);
		step.craft.tcp_flags = random_pick(&r, flags);
		step.tamper = random_pick(&r, tampers);
		world_mac(step.in, step.craft.target_mac);
		assert_true(take_step(&bench, &round, &step, &verdict));
		if (ends[0].protocol == 6)
			assert_int_equal(verdict.action, USER_DROP);
		if (world)
			world_flush(world);
		bench_close(&bench);
	}
	text_free(&errors);
}

/* A live flow keeps its tuple, even from a packet that may pass. */
static void test_not_taken(void **state)
{
	static struct round round;
	struct text errors = TEXT_INIT(1 << 20);
	struct random r;

	(void)state;
	random_seed(&r, seed);
	policy_of(&round.policies[0], two_sides_policy);
	for (int i = 0; i < 20; i++) {
		struct user_verdict verdict;
		struct craft ends[2];
		struct bench bench;
		struct said said;
		struct step step;
		uint32_t refused;

		assert_int_equal(bench_open(&bench, world, &round.policies[0], &refused, &errors),
				 0);
		bound_begin(&r, &bench, &round, ends, &said);
		go_on(&r, &bench, &round, ends, 20, &said); /* long since replied */
		step = bound_step(&r, ends, false);
		step.in = 5;
		world_mac(step.in, step.craft.target_mac);
		if (ends[0].protocol == 6 && random_chance(&r, 50))
			step.craft.tcp_flags = TCP_SYN;
		assert_true(take_step(&bench, &round, &step, &verdict));
		assert_int_equal(verdict.action, USER_NEXT);
		assert_int_equal(verdict.judgement.by, BY_RULE);
		go_on(&r, &bench, &round, ends, 20, &said);
		if (world)
			world_flush(world);
		bench_close(&bench);
	}
	text_free(&errors);
}

/*
 * An ICMP error belongs to a flow by what it quotes, where it comes from and to whom it goes, and
 * leaves the flow as it is.
 */
static const struct {
	const char *name;
	bool passes, not_udp;
	uint16_t type4, type6;
	int32_t seq;	     /* added to the quoted number */
	uint16_t src_port, dst_port; /* likewise */
	uint8_t protocol;    /* quoted in place of the flow's */
	bool other_end;	     /* quotes what its receiver was sent */
	bool elsewhere;	     /* goes to somebody else */
	bool wrong_side;     /* comes from the side of who sent it */
	uint8_t length;	     /* quoted bytes behind the IP header; 0: all */
} related[] = {
	{ .name = "unreachable", .passes = true, .type4 = 0x301, .type6 = 0x100 },
	{ .name = "too big", .passes = true, .type4 = 0x304, .type6 = 0x200 },
	{ .name = "time exceeded", .passes = true, .type4 = 0xb00, .type6 = 0x300 },
	{ .name = "parameter problem", .passes = true, .type4 = 0xc00, .type6 = 0x400 },
	{ .name = "8 bytes", .passes = true, .type4 = 0x301, .type6 = 0x100, .length = 8 },
	{ .name = "7 bytes", .type4 = 0x301, .type6 = 0x100, .length = 7 },
	{ .name = "redirect", .type4 = 0x501, .type6 = 0x8900 },
	{ .name = "source quench, or no such error", .type4 = 0x400, .type6 = 0x500 },
	{ .name = "a number not yet sent", .not_udp = true, .type4 = 0x301, .type6 = 0x100, .seq = 5000 },
	{ .name = "a number of long ago", .not_udp = true, .type4 = 0x301, .type6 = 0x100, .seq = -200000 },
	{ .name = "another source port", .type4 = 0x301, .type6 = 0x100, .src_port = 1 },
	{ .name = "another destination port", .type4 = 0x301, .type6 = 0x100, .dst_port = 1 },
	{ .name = "another protocol", .type4 = 0x301, .type6 = 0x100, .protocol = 132 },
	{ .name = "what the other end sent", .type4 = 0x301, .type6 = 0x100, .other_end = true },
	{ .name = "to somebody else", .type4 = 0x301, .type6 = 0x100, .elsewhere = true },
	{ .name = "from the wrong side", .type4 = 0x301, .type6 = 0x100, .wrong_side = true },
};

/* The error about the last packet of one end of the flow. */
static struct step related_step(const struct craft ends[2], bool of_reply, size_t which)
{
	struct craft quoted = ends[of_reply];
	bool v4 = quoted.family == 4;
	struct step step = { .way = WAY_FORWARD, .reply = !of_reply };
	uint32_t from[4];

	memcpy(from, quoted.dst, sizeof(from));
	if (related[which].other_end)
		quoted = ends[!of_reply];
	quoted.seq += (uint32_t)related[which].seq;
	quoted.src_port = (uint16_t)(quoted.src_port + related[which].src_port);
	quoted.dst_port = (uint16_t)(quoted.dst_port + related[which].dst_port);
	if (related[which].protocol)
		quoted.protocol = related[which].protocol;
	craft_error(&quoted, v4 ? related[which].type4 : related[which].type6, from,
		    related[which].length ? related[which].length + (v4 ? 20u : 40u) : CRAFT_QUOTE,
		    &step.craft);
	memcpy(step.craft.dst, ends[of_reply].src, sizeof(step.craft.dst));
	if (related[which].elsewhere)
		step.craft.dst[v4 ? 0 : 3] += 7;
	step.in = of_reply != related[which].wrong_side ? 1 : 3;
	step.out = of_reply ? 3 : 1;
	return step;
}

static void test_related(void **state)
{
	static struct round round;
	struct text errors = TEXT_INIT(1 << 20);
	struct random r;

	(void)state;
	random_seed(&r, seed);
	policy_of(&round.policies[0], bound_policy);
	for (int i = 0; i < 40; i++) {
		struct craft ends[2];
		struct bench bench;
		struct said said;
		uint32_t refused;

		assert_int_equal(bench_open(&bench, world, &round.policies[0], &refused, &errors),
				 0);
		bound_begin(&r, &bench, &round, ends, &said);
		/* Embryonic still, or replied. */
		go_on(&r, &bench, &round, ends, random_below(&r, 4), &said);
		for (size_t j = 0; j < sizeof(related) / sizeof(related[0]); j++) {
			struct step step = related_step(ends, random_chance(&r, 50), j);
			struct user_verdict verdict;

			if (ends[0].protocol == 17 && related[j].not_udp)
				continue;
			world_mac(step.in, step.craft.target_mac);
			assert_true(take_step(&bench, &round, &step, &verdict));
			if ((verdict.action == USER_NEXT) != related[j].passes)
				fail_msg("%s: it %s; REEVE_SEED=%llu", related[j].name,
					 related[j].passes ? "does not pass" : "passes",
					 (unsigned long long)seed);
			go_on(&r, &bench, &round, ends, 1, &said); /* and counts only itself */
		}
		if (world)
			world_flush(world);
		bench_close(&bench);
	}
	text_free(&errors);
}

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
		cmocka_unit_test(test_engines_agree),
		cmocka_unit_test(test_undisturbed),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_misfits),
		cmocka_unit_test(test_not_taken),
		cmocka_unit_test(test_related),
	};
	const char *no_world;
	int status;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	seed = environment_number("REEVE_SEED", (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32);
	world_error = world_open(&world, &no_world);
	if (world_error)
		printf("# the kernel is left out: %s: %s\n", no_world, strerror(-world_error));
	printf("# REEVE_SEED=%llu\n", (unsigned long long)seed);
	status = cmocka_run_group_tests_name("conversations", tests, NULL, NULL);
	world_close(world);
	return status;
}
