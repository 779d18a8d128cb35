// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Translation, held against what it has to be, whatever the policy: over random conversations
 * through the user engine
 *
 *	no two live flows share a tuple on the responder's side, nor the reply tuple of one;
 *	a reply to a translated packet comes back as the reply to the packet that was sent;
 *	later packets of a flow are translated as its first one;
 *	every checksum is right behind every checkpoint (IPv4, TCP, UDP, ICMP, ICMPv6);
 *
 * and over single ones, what happens with time.
 *
 * REEVE_SEED repeats a run, REEVE_ROUNDS makes it longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/source.h"
#include "compile/compile.h"
#include "craft.h"
#include "engine/user/engine.h"
#include "random.h"

#define WAN 10
#define LAN 11
#define DMZ 12 /* where what is inside may move */
#define SECOND 1000000000ull
#define TALKS 400

static uint64_t seed;
static unsigned inner = LAN; /* by which the inside is reached */
static uint8_t reply_flags = 0x12;

static const char *const blocks[] = {
	"nat lan -> wan { masquerade }",
	"nat lan -> wan { source to 203.0.113.5-203.0.113.6:2000-2030; masquerade }",
	"nat lan -> wan { source from 10.0.0.0/16 to 172.16.0.0/16; masquerade }",
	"nat wan -> self { forward 80-89/tcp to 10.0.0.9:8080-8089; forward 53 to 10.0.0.8 }\n"
	"nat lan -> wan { masquerade }",
	"nat wan -> self { forward udp to { 10.0.0.3, 10.0.0.4, 10.0.0.5 }\n"
	"forward tcp to 10.0.0.7; forward udp to fd00::9; forward tcp to fd00::7-fd00::8 }",
	"nat lan -> wan { source from fd00::/48 to 2001:db8:7::/48; masquerade }",
};

/* The router's own addresses, outside. */
static const uint32_t own4[4] = { 0xcb007101 }, own6[4] = { 0x20010db8, 0x0203, 0, 1 };

static bool inside(unsigned family, const uint32_t *address)
{
	return family == 4 ? address[0] >> 24 == 10 : address[0] >> 16 == 0xfd00;
}

static bool own(unsigned family, const uint32_t *address)
{
	return !memcmp(address, family == 4 ? own4 : own6, 16);
}

static enum route route_of(void *context, const struct user_frame *frame,
			   const struct packet *packet)
{
	(void)context;
	(void)frame;
	return own(packet->fields.word[FIELD_FAMILY], &packet->fields.word[FIELD_DST]) ?
		       ROUTE_SELF : ROUTE_FORWARD;
}

static uint32_t leaves_by(void *context, const struct user_frame *frame,
			  const struct packet *packet)
{
	(void)context;
	(void)frame;
	return inside(packet->fields.word[FIELD_FAMILY], &packet->fields.word[FIELD_DST]) ? inner : WAN;
}

static int address_of(void *context, uint32_t ifindex, unsigned family, uint32_t address[4])
{
	static const uint32_t lan4[4] = { 0x0a000001 }, lan6[4] = { 0xfd000000, 0, 0, 1 };

	(void)context;
	if (ifindex == WAN)
		memcpy(address, family == 4 ? own4 : own6, 16);
	else
		memcpy(address, family == 4 ? lan4 : lan6, 16);
	return 0;
}

static struct user_engine *engine_make(const char *nat, bool *refused)
{
	static const struct compile_interface interfaces[] = { { WAN, 2 }, { LAN, 3 }, { DMZ, 4 } };
	const struct user_options options = {
		.flows_max = 4096, .embryonic_max = 4096, .route = route_of, .leaves = leaves_by,
		.address = address_of, .proof_seed = 7, .witness = 0x1234,
	};
	struct diagnostics diagnostics = { 0 };
	struct user_engine *engine = NULL;
	struct source_set sources = { 0 };
	struct ruleset ruleset = { 0 };
	struct image image = { 0 };
	const char *why = "";
	uint32_t index;
	char text[1024];

	snprintf(text, sizeof(text),
		 "zone wan = wan0\nzone lan = lan0\nzone dmz = dmz0\n"
		 "policy { lan, wan, dmz } -> any default allow\n"
		 "policy any -> self default allow\n%s\n", nat);
	assert_int_equal(source_set_add(&sources, "nat.reeve", text, strlen(text), &index), 0);
	sources.sealed = true;
	*refused = policy_load("nat.reeve", &sources, &ruleset, &diagnostics) != 0;
	if (!*refused) {
		assert_int_equal(image_compile(&ruleset, interfaces, 3, &image, &why), 0);
		assert_int_equal(user_engine_new(image.bytes, image.size, &options, &engine, &why), 0);
	}
	image_free(&image);
	ruleset_free(&ruleset);
	diagnostics_free(&diagnostics);
	return engine;
}

/* --- frames -------------------------------------------------------------------------- */

static uint32_t sum_bytes(const uint8_t *bytes, uint32_t n, uint32_t sum)
{
	for (uint32_t i = 0; i < n; i++)
		sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Right checksums, of headers in which nothing is odd. */
static void check_sums(const uint8_t *frame, unsigned family, unsigned protocol)
{
	const uint8_t *ip = frame + 14;
	uint32_t head = family == 4 ? (ip[0] & 15) * 4u : 40, length, sum = 0;

	length = family == 4 ? (uint32_t)(ip[2] << 8 | ip[3]) - head : (uint32_t)(ip[4] << 8 | ip[5]);
	if (family == 4)
		assert_int_equal(sum_bytes(ip, head, 0), 0xffff);
	if (protocol != 1)
		sum = sum_bytes(family == 4 ? ip + 12 : ip + 8, family == 4 ? 8 : 32,
				protocol + length);
	if (protocol == 132)
		return;
	assert_int_equal(sum_bytes(ip + head, length, sum), 0xffff);
}

struct tuple {
	uint32_t src[4], dst[4];
	uint16_t src_port, dst_port;
	uint8_t family, protocol;
};

static struct tuple tuple_read(const struct user_verdict *verdict)
{
	const struct packet *p = &verdict->packet;
	struct tuple tuple = { .family = (uint8_t)p->fields.word[FIELD_FAMILY],
			       .protocol = (uint8_t)p->fields.word[FIELD_PROTOCOL] };

	memcpy(tuple.src, &p->fields.word[FIELD_SRC], 16);
	memcpy(tuple.dst, &p->fields.word[FIELD_DST], 16);
	tuple.src_port = p->flags & PACKET_PORTS ? (uint16_t)p->fields.word[FIELD_SRC_PORT] : p->echo_id;
	tuple.dst_port = p->flags & PACKET_PORTS ? (uint16_t)p->fields.word[FIELD_DST_PORT] : p->echo_id;
	return tuple;
}

static struct tuple tuple_turn(const struct tuple *tuple)
{
	struct tuple turned = *tuple;

	memcpy(turned.src, tuple->dst, 16);
	memcpy(turned.dst, tuple->src, 16);
	turned.src_port = tuple->dst_port;
	turned.dst_port = tuple->src_port;
	return turned;
}

/* Sends a packet of this tuple through both checkpoints. False when it does not come out. */
static bool send_through(struct user_engine *engine, const struct tuple *tuple, bool reply,
			 unsigned in, struct tuple *out)
{
	static uint8_t bytes[CRAFT_BYTES];
	struct user_verdict verdict;
	struct user_frame frame;
	struct craft craft;
	uint32_t length;

	craft_init(&craft);
	craft.family = tuple->family;
	craft.protocol = tuple->protocol;
	memcpy(craft.src, tuple->src, 16);
	memcpy(craft.dst, tuple->dst, 16);
	craft.src_port = tuple->src_port;
	craft.dst_port = tuple->dst_port;
	craft.tcp_flags = reply ? reply_flags : 0x02;
	craft.seq = reply ? 5000 : 100;
	craft.ack = reply ? 101 : 0;
	craft.payload = tuple->protocol == 6 ? 0 : 20;
	if (tuple->protocol == 1 || tuple->protocol == 58) {
		craft.echo_id = tuple->src_port;
		craft.dst_port = (uint16_t)(tuple->protocol == 1 ? (reply ? 0 : 8 << 8) :
								   (reply ? 129 << 8 : 128 << 8));
	}
	length = craft_build(&craft, bytes);
	check_sums(bytes, tuple->family, tuple->protocol);
	frame = (struct user_frame){ .bytes = bytes, .writable = bytes, .len = length,
				     .ethernet = true, .ifindex = in };
	user_engine_arrive(engine, &frame, &verdict);
	if (verdict.action != USER_NEXT)
		return false;
	check_sums(bytes, tuple->family, tuple->protocol);
	if (verdict.judgement.mark == MARK_SELF) {
		*out = tuple_read(&verdict);
		return true;
	}
	frame.ingress_ifindex = in;
	frame.ifindex = inside(verdict.packet.fields.word[FIELD_FAMILY],
			       &verdict.packet.fields.word[FIELD_DST]) ? inner : WAN;
	user_engine_depart(engine, &frame, &verdict);
	if (verdict.action != USER_NEXT)
		return false;
	check_sums(bytes, tuple->family, tuple->protocol);
	/* What passes by what arrival has left is not parsed: read what is in the frame. */
	frame.ingress_ifindex = 0;
	frame.ifindex = 99;
	frame.pkt_type = 0;
	user_engine_arrive(engine, &frame, &verdict);
	*out = tuple_read(&verdict);
	return true;
}

static void random_tuple(struct random *r, bool outside, struct tuple *tuple)
{
	static const uint8_t protocols[] = { 6, 6, 17, 17, 1, 132 };

	memset(tuple, 0, sizeof(*tuple));
	tuple->family = random_chance(r, 60) ? 4 : 6;
	tuple->protocol = random_pick(r, protocols);
	if (tuple->protocol == 1 && tuple->family == 6)
		tuple->protocol = 58;
	tuple->src_port = (uint16_t)random_between(r, 2000, 2010);
	tuple->dst_port = (uint16_t)(random_chance(r, 50) ? random_between(r, 80, 89) : 53);
	if (tuple->family == 4) {
		tuple->src[0] = (outside ? 0xc6336400 : 0x0a000010) + random_below(r, 4);
		tuple->dst[0] = outside ? own4[0] : 0xc6336400 + random_below(r, 3);
	} else {
		tuple->src[0] = outside ? 0x20010db8 : 0xfd000000;
		tuple->src[1] = outside ? 0x64 : 0;
		tuple->src[3] = 0x10 + random_below(r, 4);
		memcpy(tuple->dst, own6, 16);
		if (!outside) {
			tuple->dst[1] = 0x64;
			tuple->dst[3] = random_below(r, 3) + 1;
		}
	}
	if (tuple->protocol == 1 || tuple->protocol == 58)
		tuple->dst_port = tuple->src_port;
}

struct talk {
	struct tuple sent, came; /* as the originator sends it, as the responder sees it */
};

static void round_play(struct random *r, struct user_engine *engine, unsigned *translated)
{
	static struct talk talks[TALKS];
	unsigned n = 0;

	for (unsigned step = 0; step < TALKS; step++) {
		struct tuple tuple, came, back, again, expected;
		bool outside = random_chance(r, 40);
		unsigned i;

		random_tuple(r, outside, &tuple);
		for (i = 0; i < n && memcmp(&talks[i].sent, &tuple, sizeof(tuple)); i++)
			;
		if (!send_through(engine, &tuple, false, outside ? WAN : LAN, &came))
			continue;
		if (i < n) {
			assert_memory_equal(&came, &talks[i].came, sizeof(came));
			continue;
		}
		for (unsigned j = 0; j < n; j++)
			if (!memcmp(&talks[j].came, &came, sizeof(came)))
				fail_msg("two flows have one tuple behind the translation");
		talks[n++] = (struct talk){ tuple, came };
		*translated += memcmp(&tuple, &came, sizeof(came)) != 0;
		if (own(came.family, came.dst) || random_chance(r, 30))
			continue;
		back = tuple_turn(&came);
		expected = tuple_turn(&tuple);
		if (!send_through(engine, &back, true, inside(back.family, back.src) ? LAN : WAN,
				  &again))
			fail_msg("a reply does not come back: protocol %u", tuple.protocol);
		assert_memory_equal(&again, &expected, sizeof(again));
	}
}

static void test_bijection(void **state)
{
	uint64_t rounds = environment_number("REEVE_ROUNDS", 60);
	unsigned translated = 0;
	struct random r;

	(void)state;
	random_seed(&r, seed);
	for (uint64_t i = 0; i < rounds; i++) {
		bool refused;
		struct user_engine *engine = engine_make(blocks[i % (sizeof(blocks) / sizeof(*blocks))],
							 &refused);

		assert_false(refused);
		round_play(&r, engine, &translated);
		user_engine_free(engine);
	}
	printf("# %u translated flows\n", translated);
	assert_true(translated > rounds * 20);
}

static struct user_engine *engine_of(const char *nat)
{
	bool refused;
	struct user_engine *engine = engine_make(nat, &refused);

	assert_false(refused);
	inner = LAN;
	reply_flags = 0x12;
	return engine;
}

/* A server moves to another zone while a client speaks with it, long after that began. */
static void test_moved(void **state)
{
	const char *nat = "nat wan -> self { forward 80-89 to 10.0.0.9:8080-8089 }\n"
			  "nat wan -> { lan, dmz } { masquerade }";
	struct user_engine *engine = engine_of(nat);
	struct tuple tuple = { .family = 4, .protocol = 17, .src = { 0xc6336407 },
			       .dst = { own4[0] }, .src_port = 4000, .dst_port = 81 };
	struct tuple came, back, again, expected = tuple_turn(&tuple);

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		user_engine_set_clock(engine, i * 20 * SECOND);
		inner = i < 3 ? LAN : DMZ;
		assert_true(send_through(engine, &tuple, false, WAN, &came));
		assert_int_equal(came.dst[0], 0x0a000009);
		assert_int_equal(came.dst_port, 8081);
		back = tuple_turn(&came);
		assert_true(send_through(engine, &back, true, inner, &again));
		assert_memory_equal(&again, &expected, sizeof(again));
	}
	user_engine_free(engine);
}

/* The tuple of a connection that was refused: another's at once would be too early. */
static void test_claims_age(void **state)
{
	struct user_engine *engine = engine_of("nat lan -> wan { masquerade }");
	struct tuple tuple = { .family = 4, .protocol = 6, .src = { 0x0a000010 },
			       .dst = { 0xc6336401 }, .src_port = 4000, .dst_port = 80 };
	struct tuple came, back, again;

	(void)state;
	user_engine_set_clock(engine, 100 * SECOND);
	for (unsigned i = 0; i < 3; i++) {
		tuple.src[0] = 0x0a000010 + i;
		assert_true(send_through(engine, &tuple, false, LAN, &came));
		assert_int_equal(came.src[0], own4[0]);
		if (i == 1)
			assert_int_not_equal(came.src_port, 4000);
		else
			assert_int_equal(came.src_port, 4000);
		back = tuple_turn(&came);
		reply_flags = 0x14;
		assert_true(send_through(engine, &back, true, WAN, &again));
		reply_flags = 0x12;
		if (i == 1)
			user_engine_set_clock(engine, 102 * SECOND);
	}
	user_engine_free(engine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bijection),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_claims_age),
	};

	seed = environment_number("REEVE_SEED", (uint64_t)time(NULL));
	printf("# REEVE_SEED=%llu\n", (unsigned long long)seed);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("nat", tests, NULL, NULL);
}
