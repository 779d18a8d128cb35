// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Packets of a round go through arrival and departure of both engines. After every checkpoint the
 * engines must have done the same, and hold the same record of the packet's flow in the same table.
 */
#include "play.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "core/track.h"

/* --- comparing ------------------------------------------------------------------- */

static bool same_flow(const struct flow *one, const struct flow *two)
{
	struct flow copy = *two;

	copy.created = one->created;
	copy.seen = one->seen;
	return !memcmp(one, &copy, sizeof(copy));
}

static void print_flow(const char *who, const struct flow *flow, bool embryonic,
		       struct text *report)
{
	if (!flow) {
		text_printf(report, "  %s: no flow\n", who);
		return;
	}
	text_printf(
		report,
		"  %s: %s, state %u, flags %u, tags %u %u, packets %llu %llu, bytes %llu %llu, rule %u of %u, mark %#x/%#x, interfaces %u %u\n",
		who, embryonic ? "embryonic" : "replied", flow->state, flow->flags, flow->from_tag,
		flow->to_tag, (unsigned long long)flow->original.packets,
		(unsigned long long)flow->reply.packets, (unsigned long long)flow->original.bytes,
		(unsigned long long)flow->reply.bytes, flow->rule, flow->policy,
		flow->mark_value, flow->mark_mask, flow->from_ifindex, flow->to_ifindex);
}

/* The record of the packet's tuple, in both. */
static bool compare_flow(const struct bench *bench, struct round *round)
{
	const struct packet *packet = &round->packet;
	struct flow kernel;
	const struct flow *user;
	bool user_embryonic, kernel_embryonic;
	struct flow_key key;
	bool good;
	int err;

	if (packet->sanity != SANITY_OK || !packet->fields.word[FIELD_FAMILY])
		return true;
	flow_key_make(packet, &key);
	user = user_engine_flow(bench->engine, &key, &user_embryonic);
	if (round->tally && user)
		++*(user_embryonic ? &round->tally->embryonic : &round->tally->replied);
	else if (round->tally)
		round->tally->gone++;
	if (!bench->world)
		return true;
	err = world_flow(bench->world, &key, &kernel, &kernel_embryonic);
	good = err ? !user :
		     user && user_embryonic == kernel_embryonic && same_flow(user, &kernel);
	if (!good && round->report) {
		print_flow("user engine", user, user_embryonic, round->report);
		print_flow("kernel", err ? NULL : &kernel, kernel_embryonic, round->report);
	}
	return good;
}

/* One checkpoint of both engines. The frame is then as the user engine left it. */
static bool pass(struct bench *bench, struct round *round, struct user_frame *frame, bool departs,
		 struct user_verdict *verdict)
{
	struct seen user, kernel;
	int err = 0;

	if (bench->world)
		err = world_run(bench->world, frame, departs, true, &kernel);
	bench_run(bench, frame, departs, verdict, &user);
	if (round->tally) {
		round->tally->packets++;
		round->tally->by[verdict->judgement.by]++;
		if (verdict->packet.flags & PACKET_ICMP_ERROR) {
			round->tally->errors++;
			round->tally->related += verdict->judgement.by == BY_FLOW;
		}
	}
	if (bench->world && (err || !seen_same(&user, &kernel))) {
		if (round->report && err)
			text_printf(round->report, "  kernel: %s\n", strerror(-err));
		if (round->report) {
			seen_print("  user engine", &user, round->report);
			seen_print("  kernel", &kernel, round->report);
		}
		return false;
	}
	/* Departure does not parse what it lets pass by arrival's word; the flow is the same. */
	if (!departs)
		round->arrived = verdict->packet;
	else if (!verdict->packet.length)
		verdict->packet = round->arrived;
	if (verdict->packet.fields.word[FIELD_FAMILY])
		round->packet = verdict->packet;
	return compare_flow(bench, round);
}

/* --- one step -------------------------------------------------------------------- */

static void print_step(const struct step *step, bool departs, struct text *report)
{
	static const char *const ways[] = { "to self", "from self", "forward" };
	const struct craft *c = &step->craft;

	text_printf(
		report,
		"%u %s: %s, in d%u out d%u, tamper %u, mark %#x, tc_index %#x; IPv%u protocol %u flags %#x %08x..%x:%u -> %08x..%x:%u%s%s%s\n",
		step->speaker, departs ? "departs" : "arrives", ways[step->way], step->in,
		step->out, step->tamper, step->mark, step->tc_index, c->family, c->protocol,
		c->tcp_flags, c->src[0], c->src[3], c->src_port, c->dst[0], c->dst[3], c->dst_port,
		c->fragmented ? " fragment" : "", step->gso_segs ? " gso" : "",
		step->swap ? " (after a swap)" : "");
}

static void tamper_with(const struct step *step, struct user_frame *frame, struct craft *craft)
{
	switch (step->tamper) {
	case TAMPER_TC_INDEX:
		frame->tc_index = 0;
		break;
	case TAMPER_MARK:
		frame->mark = 0;
		break;
	case TAMPER_OUT:
		frame->ifindex =
			WORLD_IFINDEX + (frame->ifindex - WORLD_IFINDEX + 1) % WORLD_INTERFACES;
		break;
	case TAMPER_SOURCE:
		craft->src_port = 9999;
		break;
	case TAMPER_TARGET:
		craft->dst_port = 9999;
		break;
	default:
		break;
	}
}

bool take_step(struct bench *bench, struct round *round, const struct step *step,
		      struct user_verdict *verdict)
{
	struct craft craft = step->craft;
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame = { .bytes = bytes,
				    .ethernet = true,
				    .mark = step->mark,
				    .tc_index = step->tc_index,
				    .gso_size = step->gso_segs ? 50 : 0,
				    .gso_segs = step->gso_segs };

	if (step->swap) {
		round->at = !round->at;
		if (bench_swap(bench, &round->policies[round->at]))
			return false;
	}
	memset(&round->packet, 0, sizeof(round->packet));
	frame.len = craft_build(&craft, bytes);
	if (step->way != WAY_FROM_SELF) {
		frame.ifindex = frame.ingress_ifindex = WORLD_IFINDEX + step->in;
		if (round->report)
			print_step(step, false, round->report);
		if (!pass(bench, round, &frame, false, verdict))
			return false;
		if (verdict->action != USER_NEXT || step->way == WAY_TO_SELF ||
		    step->tamper == TAMPER_LOST)
			return true;
	}
	frame.ifindex = WORLD_IFINDEX + step->out;
	if (step->way == WAY_FROM_SELF)
		frame.ingress_ifindex = 0;
	else
		tamper_with(step, &frame, &craft);
	frame.len = craft_build(&craft, bytes);
	if (round->report)
		print_step(step, true, round->report);
	return pass(bench, round, &frame, true, verdict);
}

static int count_flow(void *context, const struct flow_key *key, const struct flow *flow,
		      bool embryonic)
{
	(void)key;
	(void)flow;
	(void)embryonic;
	++*(uint32_t *)context;
	return 0;
}

static bool compare_tables(struct bench *bench, struct text *report)
{
	uint32_t user = 0, kernel;

	if (!bench->world)
		return true;
	user_engine_flows(bench->engine, count_flow, &user);
	kernel = world_flow_count(bench->world);
	if (user != kernel && report)
		text_printf(report, "user engine has %u flows, kernel %u\n", user, kernel);
	return user == kernel;
}

bool play(struct world *world, struct round *round)
{
	struct text errors = TEXT_INIT(1 << 20);
	struct user_verdict verdict = { 0 };
	struct bench bench;
	bool good = true;
	uint32_t refused;

	round->at = 0;
	if (bench_open(&bench, world, &round->policies[0], &refused, &errors)) {
		text_free(&errors);
		return true; /* made too small */
	}
	for (uint32_t i = 0; good && i < round->talk.n; i++)
		good = take_step(&bench, round, &round->talk.steps[i], &verdict);
	good = good && compare_tables(&bench, round->report);
	if (world)
		world_flush(world);
	bench_close(&bench);
	return good;
}

/* --- making failures small ------------------------------------------------------- */

struct shrinking {
	struct world *world;
	struct round *round;
};

static bool still_fails(void *context, const struct random_policy *policy)
{
	const struct shrinking *shrinking = context;

	(void)policy; /* it is one of the round's */
	return !play(shrinking->world, shrinking->round);
}

void shrink_round(struct world *world, struct round *round)
{
	struct shrinking shrinking = { world, round };
	struct talk *talk = &round->talk;

	for (uint32_t size = talk->n / 2; size; size = size > 1 ? size / 2 : 0)
		for (uint32_t i = 0; i + size <= talk->n;) {
			static struct talk kept;

			kept = *talk;
			memmove(&talk->steps[i], &talk->steps[i + size],
				(talk->n - i - size) * sizeof(talk->steps[0]));
			talk->n -= size;
			if (!play(world, round))
				continue;
			*talk = kept;
			i += size;
		}
	policy_shrink(&round->policies[0], still_fails, &shrinking);
	policy_shrink(&round->policies[1], still_fails, &shrinking);
}
