// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The user engine over small images made by hand: what becomes of packets, flows, marks, counters,
 * events.
 *
 * Interfaces: 10 and 11 are in zone `wan` (2), 20 in zone `lan` (3), 30 in `other`. Addresses in
 * 10.0.0.0/8 are this host's.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "../../property/craft.h"
#include "engine/user/engine.h"

#define SECOND 1000000000ull
#define ZONES 4
#define WAN 10
#define WAN2 11
#define LAN 20
#define OTHER 30
#define TAG_WAN 100
#define TAG_LAN 200

enum { /* rules of the image */
	RULE_DROP,
	RULE_ALLOW,
	RULE_REJECT,
	RULE_MARK,	/* allow, mark set 0x10/0xf0 */
	RULE_STATELESS, /* allow, stateless */
	RULE_LOG,	/* drop, log */
	RULES,
};

enum {
	UNIT_DISPATCH = IMAGE_HEADER_UNITS,
	UNIT_TAGS = UNIT_DISPATCH + ZONES * ZONES * 2 * WALK_KINDS / 8,
	UNIT_INTERFACES,
	UNIT_RULES,
	UNIT_TEST = UNIT_RULES + RULES,
	UNITS,
};

/* Every pair of zones begins at a rule, which tests change. */
struct hand {
	struct image_header header;
	uint32_t dispatch[ZONES * ZONES * 2 * WALK_KINDS];
	uint16_t tags[IMAGE_UNIT_TAGS];
	struct image_bucket interfaces;
	struct image_rule rules[RULES];
	struct image_test test;
};

_Static_assert(sizeof(struct hand) == UNITS * IMAGE_UNIT, "layout");

static struct hand hand_image(void)
{
	struct hand hand = {
		.header = { .magic = IMAGE_MAGIC,
			    .version = IMAGE_VERSION,
			    .units = UNITS,
			    .zones = ZONES,
			    .rules = RULES,
			    .policy_rules = RULES,
			    .early_rules = RULES,
			    .dispatch = UNIT_DISPATCH,
			    .interfaces = UNIT_INTERFACES,
			    .zone_tags = UNIT_TAGS,
			    .rule_table = UNIT_RULES,
			    .walk_max = 1,
			    .flags = IMAGE_PICKUP,
			    .mark_shift = 30 },
		.tags = { IMAGE_TAG_SELF, IMAGE_TAG_OTHER, TAG_WAN, TAG_LAN },
		.interfaces.entry = { { WAN, 2, TAG_WAN },
				      { WAN2, 2, TAG_WAN },
				      { LAN, 3, TAG_LAN } },
		.rules = { [RULE_DROP] = { .action = ACTION_DROP },
			   [RULE_ALLOW] = { .action = ACTION_ALLOW },
			   [RULE_REJECT] = { .action = ACTION_REJECT,
					     .reject = REJECT_NET_PROHIBITED },
			   [RULE_MARK] = { .action = ACTION_ALLOW,
					   .mark_mask = 0xf0,
					   .mark_value = 0x10 },
			   [RULE_STATELESS] = { .action = ACTION_ALLOW,
						.flags = IMAGE_RULE_STATELESS },
			   [RULE_LOG] = { .action = ACTION_DROP,
					  .flags = IMAGE_RULE_LOG,
					  .log_sample = 1 } },
	};

	return hand;
}

static void hand_pair(struct hand *hand, unsigned from, unsigned to, uint32_t rule)
{
	for (unsigned kind = 0; kind <= WALK_FRAGMENT; kind++) {
		hand->dispatch[IMAGE_DISPATCH(ZONES, kind, from, to, 4)] = rule;
		hand->dispatch[IMAGE_DISPATCH(ZONES, kind, from, to, 6)] = rule;
	}
}

struct heard {
	struct event last;
	unsigned n;
};

static enum route route_10(void *context, const struct user_frame *frame,
			   const struct packet *packet)
{
	(void)context;
	(void)frame;
	return packet->fields.word[FIELD_DST] >> 24 == 10 ? ROUTE_SELF : ROUTE_FORWARD;
}

static void hear(void *context, const struct event *event)
{
	struct heard *heard = context;

	heard->last = *event;
	heard->n++;
}

static struct user_engine *engine_of(const struct hand *hand, struct heard *heard)
{
	struct user_options options = { .flows_max = 8,
					.embryonic_max = 4,
					.route = route_10,
					.event = heard ? hear : NULL,
					.context = heard };
	struct user_engine *engine;
	const char *why = NULL;

	assert_int_equal(user_engine_new(hand, sizeof(*hand), &options, &engine, &why), 0);
	user_engine_set_clock(engine, 1000 * SECOND);
	return engine;
}

/* One packet through a checkpoint. The frame keeps mark and tc_index from call to call. */
struct trip {
	struct craft craft;
	struct user_frame frame;
	struct user_verdict verdict;
	uint8_t bytes[CRAFT_BYTES];
};

static void trip_init(struct trip *trip, uint32_t src, uint32_t dst, uint8_t protocol)
{
	memset(trip, 0, sizeof(*trip));
	craft_init(&trip->craft);
	trip->craft.src[0] = src;
	trip->craft.dst[0] = dst;
	trip->craft.protocol = protocol;
	trip->frame.ethernet = true;
	trip->frame.bytes = trip->bytes;
}

static enum user_action arrive(struct user_engine *engine, struct trip *trip, uint32_t ifindex)
{
	trip->frame.len = craft_build(&trip->craft, trip->bytes);
	trip->frame.ifindex = trip->frame.ingress_ifindex = ifindex;
	user_engine_arrive(engine, &trip->frame, &trip->verdict);
	return trip->verdict.action;
}

static enum user_action depart(struct user_engine *engine, struct trip *trip, uint32_t in,
			       uint32_t ifindex)
{
	trip->frame.len = craft_build(&trip->craft, trip->bytes);
	trip->frame.ifindex = ifindex;
	trip->frame.ingress_ifindex = in;
	user_engine_depart(engine, &trip->frame, &trip->verdict);
	return trip->verdict.action;
}

static void turn(struct trip *trip)
{
	uint32_t address = trip->craft.src[0];
	uint16_t port = trip->craft.src_port;

	trip->craft.src[0] = trip->craft.dst[0];
	trip->craft.dst[0] = address;
	trip->craft.src_port = trip->craft.dst_port;
	trip->craft.dst_port = port;
	trip->frame.mark = trip->frame.tc_index = 0;
}

static uint32_t mark_state(const struct trip *trip)
{
	return trip->frame.mark >> 30;
}

static const struct flow *flow_of(const struct user_engine *engine, const struct trip *trip,
				  bool *embryonic)
{
	struct flow_key key = { .protocol = trip->craft.protocol, .family = 4 };
	bool high = trip->craft.src[0] > trip->craft.dst[0];

	key.low[0] = high ? trip->craft.dst[0] : trip->craft.src[0];
	key.high[0] = high ? trip->craft.src[0] : trip->craft.dst[0];
	key.low_port = high ? trip->craft.dst_port : trip->craft.src_port;
	key.high_port = high ? trip->craft.src_port : trip->craft.dst_port;
	return user_engine_flow(engine, &key, embryonic);
}

static void test_refuses_images(void **state)
{
	struct hand hand = hand_image();
	struct user_options options = { 0 };
	struct user_engine *engine = NULL;
	const char *why = NULL;

	(void)state;
	hand.header.rules = hand.header.policy_rules = hand.header.early_rules = RULES + 2;
	assert_int_equal(user_engine_new(&hand, sizeof(hand), &options, &engine, &why), -EBADMSG);
	assert_non_null(why);
	assert_null(engine);
	hand.header.version++;
	assert_int_equal(user_engine_new(&hand, sizeof(hand), &options, &engine, &why),
			 -EPROTONOSUPPORT);
	assert_int_equal(user_engine_new("", 0, &options, &engine, &why), -EBADMSG);
	user_engine_free(NULL);
}

static void test_rules_to_self(void **state)
{
	static const struct {
		uint32_t rule;
		enum user_action action;
		uint32_t mark;
	} cases[] = {
		{ RULE_DROP, USER_DROP, 0xabc },
		{ RULE_LOG, USER_DROP, 0xabc },
		{ RULE_ALLOW, USER_NEXT, 0x40000abc },
		{ RULE_STATELESS, USER_NEXT, 0x40000abc },
		{ RULE_MARK, USER_NEXT, 0x40000a1c },
		{ RULE_REJECT, USER_ANSWER, 0xabc },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct hand hand = hand_image();
		struct heard heard = { 0 };
		struct user_engine *engine;
		const struct user_counter *counter;
		struct trip trip;

		hand_pair(&hand, 2, ZONE_SELF, cases[i].rule);
		engine = engine_of(&hand, &heard);
		trip_init(&trip, 0xc6336401, 0x0a000001, PROTOCOL_UDP);
		trip.frame.mark = 0xabc;
		trip.craft.payload = 2;
		assert_int_equal(arrive(engine, &trip, WAN), cases[i].action);
		assert_int_equal(trip.frame.mark, cases[i].mark);
		assert_int_equal(trip.verdict.judgement.by, BY_RULE);
		assert_int_equal(trip.verdict.judgement.rule, cases[i].rule);
		assert_int_equal(trip.verdict.judgement.reject,
				 cases[i].rule == RULE_REJECT ? REJECT_NET_PROHIBITED : 0);
		counter = &user_engine_counters(engine)[cases[i].rule];
		assert_int_equal(counter->packets, 1);
		assert_int_equal(counter->bytes, 30);
		assert_int_equal(counter->last_ns, 1000 * SECOND);
		assert_int_equal(user_engine_rules(engine), RULES);
		assert_int_equal(user_engine_stats(engine)[STAT_ARRIVED], 1);
		assert_int_equal(heard.n, cases[i].rule == RULE_STATELESS ? 0 : 1);
		if (heard.n)
			assert_int_equal(heard.last.rule, cases[i].rule);
		user_engine_free(engine);
	}
}

/* A rejected packet that must not be answered is dropped. */
static void test_not_answered(void **state)
{
	struct hand hand = hand_image();
	struct user_engine *engine;
	struct trip trip;

	(void)state;
	hand_pair(&hand, 2, ZONE_SELF, RULE_REJECT);
	engine = engine_of(&hand, NULL);
	trip_init(&trip, 0xc6336401, 0x0a000001, PROTOCOL_TCP);
	assert_int_equal(arrive(engine, &trip, WAN), USER_ANSWER);
	trip.craft.tcp_flags = TCP_RST;
	assert_int_equal(arrive(engine, &trip, WAN), USER_DROP);
	trip_init(&trip, 0xc6336401, 0xe0000001, PROTOCOL_UDP);
	assert_int_equal(arrive(engine, &trip, WAN), USER_DROP);
	trip_init(&trip, 0, 0x0a000001, PROTOCOL_UDP);
	assert_int_equal(arrive(engine, &trip, WAN), USER_DROP);
	trip_init(&trip, 0xc6336401, 0x0a000001, PROTOCOL_ICMP);
	trip.craft.dst_port = 3 << 8;
	assert_int_equal(arrive(engine, &trip, WAN), USER_DROP);
	assert_int_equal(user_engine_stats(engine)[STAT_REJECTED], 1);
	assert_int_equal(user_engine_stats(engine)[STAT_DROPPED], 4);
	user_engine_free(engine);
}

static void test_left_alone(void **state)
{
	struct hand hand = hand_image();
	struct user_engine *engine = engine_of(&hand, NULL);
	uint8_t arp[42] = { [12] = 0x08, [13] = 0x06 };
	struct trip trip;

	(void)state;
	trip_init(&trip, 0xc6336401, 0x0a000001, PROTOCOL_UDP);
	trip.frame.pkt_type = PACKET_TYPE_OTHERHOST;
	assert_int_equal(arrive(engine, &trip, WAN), USER_NEXT);
	trip.frame.pkt_type = PACKET_TYPE_LOOPBACK;
	assert_int_equal(arrive(engine, &trip, WAN), USER_NEXT);
	assert_int_equal(mark_state(&trip), MARK_SELF);
	trip_init(&trip, 0xc6336401, 0x0a000001, PROTOCOL_UDP);
	trip.frame.vlan_present = trip.frame.vlan_tci = 1;
	assert_int_equal(arrive(engine, &trip, WAN), USER_NEXT);
	trip.frame.bytes = arp;
	trip.frame.vlan_present = 0;
	for (trip.frame.len = 0; trip.frame.len <= sizeof(arp); trip.frame.len++) {
		user_engine_arrive(engine, &trip.frame, &trip.verdict);
		assert_int_equal(trip.verdict.action, USER_NEXT);
		user_engine_depart(engine, &trip.frame, &trip.verdict);
		assert_int_equal(trip.verdict.action, USER_NEXT);
	}
	assert_int_equal(user_engine_stats(engine)[STAT_ARRIVED], 0);
	user_engine_free(engine);
}

/*
 * wan -> lan: deferred on arrival, a flow at departure; the reply passes by it, and by its mark at
 * departure.
 */
static void test_forwarded_flow(void **state)
{
	struct hand hand = hand_image();
	struct user_engine *engine;
	const struct flow *flow;
	struct trip trip;
	bool embryonic;

	(void)state;
	hand_pair(&hand, 2, 3, RULE_MARK);
	engine = engine_of(&hand, NULL);
	trip_init(&trip, 0xc6336401, 0xc0a80101, PROTOCOL_UDP);
	assert_int_equal(arrive(engine, &trip, WAN), USER_NEXT);
	assert_int_equal(mark_state(&trip), MARK_DEFERRED);
	assert_int_equal(trip.verdict.judgement.by, BY_NOTHING);
	assert_int_equal(depart(engine, &trip, WAN, LAN), USER_NEXT);
	assert_int_equal(trip.frame.mark, 0x80000010);
	flow = flow_of(engine, &trip, &embryonic);
	assert_non_null(flow);
	assert_true(embryonic);
	assert_int_equal(flow->from_tag, TAG_WAN);
	assert_int_equal(flow->to_tag, TAG_LAN);
	assert_int_equal(flow->flags, FLOW_ORIGIN_HIGH | FLOW_MARKS);
	assert_int_equal(flow->original.packets, 1);
	assert_int_equal(flow->from_ifindex, WAN);
	assert_int_equal(flow->to_ifindex, LAN);

	turn(&trip);
	assert_int_equal(arrive(engine, &trip, LAN), USER_NEXT);
	assert_int_equal(mark_state(&trip), MARK_REPLY);
	assert_int_equal(trip.frame.mark & 0xff, 0x10);
	assert_int_equal(trip.frame.tc_index, TAG_WAN);
	assert_int_equal(trip.verdict.judgement.by, BY_FLOW);
	assert_int_equal(flow->reply.packets, 1);
	assert_int_equal(depart(engine, &trip, LAN, WAN2), USER_NEXT);
	assert_int_equal(flow->reply.packets, 1); /* once */
	/* It may leave by no other zone than the one it came from. */
	assert_int_equal(depart(engine, &trip, LAN, OTHER), USER_DROP);

	turn(&trip);
	assert_int_equal(arrive(engine, &trip, WAN2), USER_NEXT);
	assert_int_equal(mark_state(&trip), MARK_DEFERRED);
	assert_int_equal(depart(engine, &trip, WAN2, LAN), USER_NEXT);
	assert_int_equal(trip.verdict.judgement.by, BY_FLOW);
	flow = flow_of(engine, &trip, &embryonic);
	assert_false(embryonic);
	assert_int_equal(flow->original.packets, 2);
	assert_int_equal(user_engine_stats(engine)[STAT_FLOW_PROMOTED], 1);
	user_engine_free(engine);
}

/*
 * A mark that a packet brings along from outside says nothing on arrival, and nothing for own
 * packets.
 */
static void test_marks_not_believed(void **state)
{
	struct hand hand = hand_image();
	struct user_engine *engine = engine_of(&hand, NULL);
	struct trip trip;

	(void)state;
	trip_init(&trip, 0xc6336401, 0x0a000001, PROTOCOL_UDP);
	trip.frame.mark = 0xc0000000;
	trip.frame.tc_index = TAG_WAN;
	assert_int_equal(arrive(engine, &trip, WAN), USER_DROP);
	trip.frame.mark = 0xc0000000;
	trip.frame.tc_index = TAG_WAN;
	assert_int_equal(depart(engine, &trip, 0, WAN), USER_DROP);
	assert_int_equal(depart(engine, &trip, LAN, WAN), USER_NEXT);
	/* reeve's own answer */
	trip.frame.tc_index = TAG_ANSWER;
	assert_int_equal(depart(engine, &trip, LAN, WAN), USER_NEXT);
	assert_int_equal(trip.verdict.judgement.by, BY_ANSWER);
	assert_int_equal(arrive(engine, &trip, WAN), USER_NEXT);
	/* It keeps its marks: somebody may translate it and send it on. */
	assert_int_equal(mark_state(&trip), MARK_REPLY);
	assert_int_equal(trip.frame.tc_index, TAG_ANSWER);
	user_engine_free(engine);
}

static void test_timeouts(void **state)
{
	struct hand hand = hand_image();
	struct user_engine *engine;
	struct trip trip;
	bool embryonic;

	(void)state;
	hand_pair(&hand, 2, ZONE_SELF, RULE_ALLOW);
	engine = engine_of(&hand, NULL);
	trip_init(&trip, 0xc6336401, 0x0a000001, PROTOCOL_UDP);
	arrive(engine, &trip, WAN);
	user_engine_set_clock(engine, 1030 * SECOND);
	arrive(engine, &trip, WAN);
	assert_int_equal(trip.verdict.judgement.by, BY_FLOW);
	user_engine_set_clock(engine, 1060 * SECOND + 1);
	arrive(engine, &trip, WAN);
	assert_int_equal(trip.verdict.judgement.by, BY_RULE); /* it was silent for too long */
	turn(&trip);
	assert_int_equal(depart(engine, &trip, 0, WAN), USER_NEXT);
	assert_int_equal(trip.verdict.judgement.by, BY_FLOW);
	turn(&trip);
	arrive(engine, &trip, WAN);
	user_engine_set_clock(engine, 1062 * SECOND + 2);
	arrive(engine, &trip, WAN);
	assert_int_equal(flow_of(engine, &trip, &embryonic)->state, FLOW_ASSURED);
	assert_false(embryonic);
	user_engine_set_clock(engine, 1182 * SECOND + 2);
	turn(&trip);
	assert_int_equal(depart(engine, &trip, 0, WAN), USER_NEXT);
	user_engine_set_clock(engine, 1302 * SECOND + 3);
	assert_int_equal(depart(engine, &trip, 0, WAN), USER_DROP); /* self -> wan is closed */
	assert_null(flow_of(engine, &trip, &embryonic));
	user_engine_free(engine);
}

static int count_flow(void *context, const struct flow_key *key, const struct flow *flow,
		      bool embryonic)
{
	unsigned *counts = context;

	assert_true(key->family == 4 && flow->original.packets);
	counts[embryonic]++;
	return 0;
}

/*
 * A flood of first packets pushes out embryonic flows, those not met for longest first; never a
 * replied one.
 */
static void test_full_tables(void **state)
{
	struct hand hand = hand_image();
	struct user_engine *engine;
	unsigned counts[2] = { 0 };
	struct trip trip;
	bool embryonic;

	(void)state;
	hand_pair(&hand, 2, ZONE_SELF, RULE_ALLOW);
	engine = engine_of(&hand, NULL);
	for (uint16_t port = 1; port <= 12; port++) {
		trip_init(&trip, 0xc6336401, 0x0a000001, PROTOCOL_UDP);
		trip.craft.src_port = port;
		arrive(engine, &trip, WAN);
		turn(&trip);
		depart(engine, &trip, 0, WAN);
		turn(&trip);
		arrive(engine, &trip, WAN);
		flow_of(engine, &trip, &embryonic);
		assert_int_equal(embryonic, port > 8);
	}
	assert_int_equal(user_engine_stats(engine)[STAT_FLOW_FULL], 4);
	user_engine_flows(engine, count_flow, counts);
	assert_int_equal(counts[0], 8);
	assert_int_equal(counts[1], 4);
	/* 9 is met again, so 10 is the oldest. */
	trip.craft.src_port = 9;
	arrive(engine, &trip, WAN);
	trip.craft.src_port = 13;
	arrive(engine, &trip, WAN);
	assert_non_null(flow_of(engine, &trip, &embryonic));
	trip.craft.src_port = 10;
	assert_null(flow_of(engine, &trip, &embryonic));
	trip.craft.src_port = 9;
	assert_non_null(flow_of(engine, &trip, &embryonic));
	user_engine_set_clock(engine, 2000 * SECOND);
	counts[0] = counts[1] = 0;
	user_engine_flows(engine, count_flow, counts);
	assert_int_equal(counts[0] + counts[1], 0); /* expired ones are not shown */
	user_engine_flush(engine);
	assert_null(flow_of(engine, &trip, &embryonic));
	user_engine_free(engine);
}

static void test_swap(void **state)
{
	struct hand hand = hand_image(), closed = hand_image();
	struct user_engine *engine;
	const char *why = NULL;
	struct trip trip;
	bool embryonic;

	(void)state;
	hand_pair(&hand, 2, ZONE_SELF, RULE_ALLOW);
	engine = engine_of(&hand, NULL);
	trip_init(&trip, 0xc6336401, 0x0a000001, PROTOCOL_UDP);
	arrive(engine, &trip, WAN);
	closed.header.zones = 1;
	assert_int_equal(user_engine_swap(engine, &closed, sizeof(closed), false, &why), -EBADMSG);
	assert_int_equal(user_engine_counters(engine)[RULE_ALLOW].packets, 1);
	closed.header.zones = ZONES;
	assert_int_equal(user_engine_swap(engine, &closed, sizeof(closed), true, &why), 0);
	assert_int_equal(user_engine_counters(engine)[RULE_ALLOW].packets, 0);
	assert_int_equal(arrive(engine, &trip, WAN), USER_NEXT); /* the flow is kept */
	assert_int_equal(flow_of(engine, &trip, &embryonic)->policy, 1);
	trip.craft.src_port++;
	assert_int_equal(arrive(engine, &trip, WAN), USER_DROP);
	assert_int_equal(trip.verdict.judgement.generation, 2);
	trip.craft.src_port--;
	/* A policy that allows it: the flow is its own from now on. */
	assert_int_equal(user_engine_swap(engine, &hand, sizeof(hand), false, &why), 0);
	assert_int_equal(flow_of(engine, &trip, &embryonic)->policy, 1);
	assert_int_equal(arrive(engine, &trip, WAN), USER_NEXT);
	assert_int_equal(flow_of(engine, &trip, &embryonic)->policy, 3);
	assert_int_equal(user_engine_counters(engine)[RULE_ALLOW].packets, 0);
	/* One that does not: it ends at its next packet, whichever way that goes. */
	assert_int_equal(user_engine_swap(engine, &closed, sizeof(closed), false, &why), 0);
	assert_non_null(flow_of(engine, &trip, &embryonic));
	assert_int_equal(arrive(engine, &trip, WAN), USER_DROP);
	assert_null(flow_of(engine, &trip, &embryonic));
	assert_int_equal(user_engine_stats(engine)[STAT_FLOW_CUT], 1);
	user_engine_free(engine);
}

/*
 * An answer of a DHCP server is expected for two minutes after the client of that interface has
 * sent.
 */
static void test_dhcp(void **state)
{
	struct hand hand = hand_image();
	struct user_engine *engine;
	struct trip request, answer;

	(void)state;
	hand.test = (struct image_test){ .field = FIELD_EXPECTED, .mask = 1, .lo = 1,
					 .yes = RULE_STATELESS, .no = RULE_DROP };
	hand_pair(&hand, 2, ZONE_SELF, REF_MAKE(REF_TEST, UNIT_TEST));
	hand_pair(&hand, ZONE_SELF, 2, RULE_STATELESS);
	engine = engine_of(&hand, NULL);
	trip_init(&request, 0, 0xffffffff, PROTOCOL_UDP);
	request.craft.src_port = 68;
	request.craft.dst_port = 67;
	trip_init(&answer, 0xc6336401, 0xffffffff, PROTOCOL_UDP);
	answer.craft.src_port = 67;
	answer.craft.dst_port = 68;
	assert_int_equal(arrive(engine, &answer, WAN), USER_DROP);
	assert_int_equal(depart(engine, &request, 0, WAN), USER_NEXT);
	assert_int_equal(arrive(engine, &answer, WAN), USER_NEXT);
	assert_int_equal(arrive(engine, &answer, WAN2), USER_DROP); /* another client's */
	answer.craft.dst_port = 67;
	assert_int_equal(arrive(engine, &answer, WAN), USER_DROP);
	answer.craft.dst_port = 68;
	user_engine_set_clock(engine, 1120 * SECOND - 1);
	assert_int_equal(arrive(engine, &answer, WAN), USER_NEXT);
	user_engine_set_clock(engine, 1120 * SECOND);
	assert_int_equal(arrive(engine, &answer, WAN), USER_DROP);
	user_engine_free(engine);
}

static void test_pickup_off(void **state)
{
	struct hand hand = hand_image();
	struct heard heard = { 0 };
	struct user_engine *engine;
	struct trip trip;
	bool embryonic;

	(void)state;
	hand.header.flags = 0;
	hand_pair(&hand, 2, ZONE_SELF, RULE_ALLOW);
	engine = engine_of(&hand, &heard);
	trip_init(&trip, 0xc6336401, 0x0a000001, PROTOCOL_TCP);
	trip.craft.tcp_flags = TCP_ACK;
	assert_int_equal(arrive(engine, &trip, WAN), USER_DROP);
	assert_int_equal(trip.verdict.judgement.by, BY_SANITY);
	assert_int_equal(heard.last.sanity, SANITY_MID_STREAM);
	assert_null(flow_of(engine, &trip, &embryonic));
	trip.craft.tcp_flags = TCP_SYN;
	assert_int_equal(arrive(engine, &trip, WAN), USER_NEXT);
	user_engine_free(engine);
}

/* Engines know nothing of each other. */
static void test_two_engines(void **state)
{
	struct hand open = hand_image(), closed = hand_image();
	struct user_engine *one, *two;
	struct trip trip;
	bool embryonic;

	(void)state;
	hand_pair(&open, 2, ZONE_SELF, RULE_ALLOW);
	one = engine_of(&open, NULL);
	two = engine_of(&closed, NULL);
	trip_init(&trip, 0xc6336401, 0x0a000001, PROTOCOL_UDP);
	assert_int_equal(arrive(one, &trip, WAN), USER_NEXT);
	assert_int_equal(arrive(two, &trip, WAN), USER_DROP);
	assert_null(flow_of(two, &trip, &embryonic));
	user_engine_free(one);
	assert_int_equal(arrive(two, &trip, WAN), USER_DROP);
	user_engine_free(two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refuses_images), cmocka_unit_test(test_rules_to_self),
		cmocka_unit_test(test_not_answered),   cmocka_unit_test(test_left_alone),
		cmocka_unit_test(test_forwarded_flow), cmocka_unit_test(test_marks_not_believed),
		cmocka_unit_test(test_timeouts),       cmocka_unit_test(test_full_tables),
		cmocka_unit_test(test_swap),	       cmocka_unit_test(test_dhcp),
		cmocka_unit_test(test_pickup_off),     cmocka_unit_test(test_two_engines),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("user engine", tests, NULL, NULL);
}
