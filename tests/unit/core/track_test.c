// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Flow tracking: conversations walked through TCP's table, keys that are the same for both
 * directions, timeouts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/user/frame.h"

#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "core/track.h"

#define PROMOTED 0x100 /* in an expected step: the record moves to the replied ones here */
#define STEPS 16

/*
 * One packet: `>` from the originator, `<` from the responder; flags S A F R; and what follows from
 * it.
 */
struct step {
	const char *packet;
	unsigned expected; /* the state afterwards, or REJUDGE; + PROMOTED */
};

static const struct conversation {
	const char *name;
	struct step steps[STEPS];
} conversations[] = {
	{ "opened, used, closed by the originator",
	  { { ">S", FLOW_SYN_SENT },
	    { "<SA", FLOW_SYN_RECV },
	    { ">A", FLOW_ESTABLISHED | PROMOTED },
	    { ">A", FLOW_ESTABLISHED },
	    { "<A", FLOW_ESTABLISHED },
	    { ">FA", FLOW_FIN_WAIT },
	    { "<A", FLOW_CLOSE_WAIT },
	    { "<FA", FLOW_LAST_ACK },
	    { ">A", FLOW_TIME_WAIT } } },
	{ "closed by the responder",
	  { { ">S", FLOW_SYN_SENT },
	    { "<SA", FLOW_SYN_RECV },
	    { ">A", FLOW_ESTABLISHED | PROMOTED },
	    { "<FA", FLOW_FIN_WAIT },
	    { ">FA", FLOW_LAST_ACK },
	    { "<A", FLOW_TIME_WAIT } } },
	{ "retransmissions on both sides",
	  { { ">S", FLOW_SYN_SENT },
	    { ">S", FLOW_SYN_SENT },
	    { "<SA", FLOW_SYN_RECV },
	    { "<SA", FLOW_SYN_RECV },
	    { ">S", FLOW_SYN_RECV },
	    { ">A", FLOW_ESTABLISHED | PROMOTED },
	    { "<SA", FLOW_ESTABLISHED },
	    { ">S", FLOW_ESTABLISHED },
	    { ">FA", FLOW_FIN_WAIT },
	    { "<A", FLOW_CLOSE_WAIT },
	    { ">A", FLOW_CLOSE_WAIT },
	    { "<FA", FLOW_LAST_ACK },
	    { "<FA", FLOW_LAST_ACK },
	    { ">A", FLOW_TIME_WAIT },
	    { "<FA", FLOW_TIME_WAIT } } },
	{ "simultaneous open",
	  { { ">S", FLOW_SYN_SENT },
	    { "<S", FLOW_SYN_SENT2 },
	    { ">SA", FLOW_SYN_RECV },
	    { "<SA", FLOW_SYN_RECV },
	    { ">A", FLOW_ESTABLISHED | PROMOTED } } },
	{ "refused",
	  { { ">S", FLOW_SYN_SENT },
	    { "<RA", FLOW_CLOSE },
	    { ">S", REJUDGE } } },
	{ "reset in the middle",
	  { { ">S", FLOW_SYN_SENT },
	    { "<SA", FLOW_SYN_RECV },
	    { ">A", FLOW_ESTABLISHED | PROMOTED },
	    { ">R", FLOW_CLOSE },
	    { "<A", FLOW_CLOSE },
	    { ">S", REJUDGE } } },
	{ "the responder's data before the handshake's last ACK",
	  { { ">S", FLOW_SYN_SENT },
	    { "<SA", FLOW_SYN_RECV },
	    { "<A", FLOW_SYN_RECV },
	    { ">A", FLOW_ESTABLISHED | PROMOTED } } },
	{ "an ACK from nowhere in answer to a SYN",
	  { { ">S", FLOW_SYN_SENT },
	    { "<A", FLOW_SYN_SENT },
	    { ">A", REJUDGE },
	    { "<SA", FLOW_SYN_RECV } } },
	{ "reopened from time-wait",
	  { { ">S", FLOW_SYN_SENT },
	    { "<SA", FLOW_SYN_RECV },
	    { ">A", FLOW_ESTABLISHED | PROMOTED },
	    { "<FA", FLOW_FIN_WAIT },
	    { ">FA", FLOW_LAST_ACK },
	    { "<A", FLOW_TIME_WAIT },
	    { ">S", REJUDGE } } },
	{ "a SYN from the responder of an established connection",
	  { { ">S", FLOW_SYN_SENT },
	    { "<SA", FLOW_SYN_RECV },
	    { ">A", FLOW_ESTABLISHED | PROMOTED },
	    { "<S", REJUDGE },
	    { ">SA", REJUDGE },
	    { "<A", FLOW_ESTABLISHED } } },
	{ "taken up in mid-stream",
	  { { ">A", FLOW_ESTABLISHED },
	    { "<A", FLOW_ESTABLISHED },
	    { ">A", FLOW_ESTABLISHED | PROMOTED } } },
};

/* What each end sends next, and its FIN once that is sent: to be repeated. */
struct sending {
	uint32_t next, fin;
	bool finished;
};

static void number(struct packet *p, struct sending *from, const struct sending *to)
{
	uint32_t flags = p->fields.word[FIELD_TCP_FLAGS], first = from > to ? 5000 : 1000;

	p->numbers.window = 1000;
	p->numbers.scale = SCALE_NONE;
	p->numbers.seq = flags & TCP_SYN ? first : from->next;
	if (flags & TCP_FIN) {
		p->numbers.seq = from->finished ? from->fin : from->next;
		from->fin = p->numbers.seq;
		from->finished = true;
		from->next = p->numbers.seq + 1;
	}
	if (flags & TCP_SYN)
		from->next = first + 1;
	if (flags & TCP_ACK)
		p->numbers.ack = to->next;
}

static struct packet tcp_packet(const char *text)
{
	struct packet p = { 0 };

	p.flags = PACKET_PORTS;
	p.segments = 1;
	p.fields.word[FIELD_FAMILY] = 4;
	p.fields.word[FIELD_PROTOCOL] = PROTOCOL_TCP;
	for (const char *c = text + 1; *c; c++)
		p.fields.word[FIELD_TCP_FLAGS] |= *c == 'S' ? TCP_SYN :
						  *c == 'A' ? TCP_ACK :
						  *c == 'F' ? TCP_FIN :
							      TCP_RST;
	return p;
}

static void walk(const struct conversation *conversation)
{
	struct flow flow = { .protocol = PROTOCOL_TCP };
	struct sending ends[2] = { { .next = 1000 }, { .next = 5000 } };
	bool embryonic = true;

	for (int i = 0; i < STEPS && conversation->steps[i].packet; i++) {
		const struct step *step = &conversation->steps[i];
		struct packet p = tcp_packet(step->packet);
		uint32_t direction = *step->packet == '<' ? DIRECTION_REPLY : DIRECTION_ORIGINAL;
		bool promoted = false;
		uint32_t next;

		number(&p, &ends[direction], &ends[!direction]);
		next = i ? flow_next(&flow, &p, direction, 0) : flow_first_state(&p) | LEARN;
		if (flow.state == FLOW_ESTABLISHED && i == 1)
			flow.flags |= FLOW_PICKED_UP;
		assert_false(next & OUTSIDE);
		if (!(next & REJUDGE)) {
			flow_take(&flow, next, &p.numbers, p.fields.word[FIELD_TCP_FLAGS], direction, 0);
			if (direction == DIRECTION_REPLY)
				flow.flags |= FLOW_REPLIED;
			promoted = embryonic && flow_promotable(&flow, direction);
			embryonic &= !promoted;
		}
		if ((next & REJUDGE ? REJUDGE : (uint32_t)flow.state | (promoted ? PROMOTED : 0)) !=
		    step->expected)
			fail_msg("%s, step %d (%s): %#x, state %u%s", conversation->name, i,
				 step->packet, next, flow.state, promoted ? ", promoted" : "");
	}
}

static void test_conversations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(conversations) / sizeof(conversations[0]); i++)
		walk(&conversations[i]);
}

/*
 * A flow never leaves the states of TCP, a reset closes from every state, and nothing but a SYN or
 * an ACK begins one.
 */
static void test_table_whole(void **state)
{
	(void)state;
	for (uint32_t from = 0; from < TCP_STATES; from++)
		for (int direction = 0; direction < 2; direction++)
			for (int segment = 0; segment < SEGMENTS; segment++) {
				uint32_t next = tcp_next[from][direction][segment];

				if (next & (SAME | REJUDGE))
					assert_int_equal(next & (next - 1), 0);
				else
					assert_in_range(next, FLOW_SYN_SENT, FLOW_CLOSE);
				if (from && segment == SEGMENT_RST && from != FLOW_CLOSE)
					assert_int_equal(next, FLOW_CLOSE);
			}
	assert_int_equal(tcp_next[FLOW_NONE][0][SEGMENT_SYN], FLOW_SYN_SENT);
	assert_int_equal(tcp_next[FLOW_NONE][0][SEGMENT_ACK], FLOW_ESTABLISHED);
	assert_int_equal(tcp_next[FLOW_NONE][0][SEGMENT_SYN_ACK], REJUDGE);
	assert_int_equal(tcp_next[FLOW_NONE][0][SEGMENT_FIN], REJUDGE);
	assert_int_equal(tcp_next[FLOW_NONE][0][SEGMENT_RST], REJUDGE);
}

static struct packet between(uint32_t src, uint16_t src_port, uint32_t dst, uint16_t dst_port,
			     unsigned word)
{
	struct packet p = { 0 };

	p.flags = PACKET_PORTS;
	p.fields.word[FIELD_FAMILY] = word ? 6 : 4;
	p.fields.word[FIELD_PROTOCOL] = PROTOCOL_UDP;
	p.fields.word[FIELD_SRC + word] = src;
	p.fields.word[FIELD_DST + word] = dst;
	p.fields.word[FIELD_SRC_PORT] = src_port;
	p.fields.word[FIELD_DST_PORT] = dst_port;
	return p;
}

static void test_keys(void **state)
{
	static const struct {
		uint32_t src, dst;
		uint16_t src_port, dst_port;
		int high;
	} cases[] = {
		{ 1, 2, 9, 5, 0 },		  { 2, 1, 5, 9, 1 },
		{ 0xffffffff, 1, 5, 9, 1 },	  { 7, 7, 80, 443, 0 },
		{ 7, 7, 443, 80, 1 },		  { 7, 7, 80, 80, 0 },
		{ 0x7fffffff, 0x80000000, 1, 1, 0 }, { 0, 0, 0, 1, 0 },
	};

	(void)state;
	for (unsigned word = 0; word < 4; word++)
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct packet there = between(cases[i].src, cases[i].src_port, cases[i].dst,
						      cases[i].dst_port, word);
			struct packet back = between(cases[i].dst, cases[i].dst_port, cases[i].src,
						     cases[i].src_port, word);
			struct flow_key one, two;
			int same = cases[i].src == cases[i].dst &&
				   cases[i].src_port == cases[i].dst_port;

			memset(&one, 0xaa, sizeof(one)); /* every byte is written */
			memset(&two, 0x55, sizeof(two));
			assert_int_equal(flow_key_make(&there, &one), cases[i].high);
			assert_int_equal(flow_key_make(&back, &two), same ? 0 : !cases[i].high);
			assert_memory_equal(&one, &two, sizeof(one));
			assert_int_equal(one.protocol, PROTOCOL_UDP);
			assert_int_equal(one.family, word ? 6 : 4);
			assert_int_equal(one.zero, 0);
			assert_int_equal(one.low[word],
					 cases[i].high ? cases[i].dst : cases[i].src);
		}
}

/*
 * An echo has its identifier in place of ports; what has neither is told apart by addresses and
 * protocol.
 */
static void test_keys_without_ports(void **state)
{
	struct packet there = between(1, 0, 2, 8 << 8, 0), back = between(2, 0, 1, 0, 0);
	struct flow_key one, two;

	(void)state;
	there.flags = PACKET_ECHO_REQUEST;
	back.flags = PACKET_ECHO_REPLY;
	there.echo_id = back.echo_id = 77;
	flow_key_make(&there, &one);
	flow_key_make(&back, &two);
	assert_memory_equal(&one, &two, sizeof(one));
	assert_int_equal(one.low_port, 77);
	assert_int_equal(one.high_port, 77);
	there.flags = 0;
	there.echo_id = 0;
	flow_key_make(&there, &one);
	assert_int_equal(one.high_port, 0);
}

static void test_lifetimes(void **state)
{
	static const struct {
		uint8_t protocol, state, flags;
		uint64_t seconds;
	} cases[] = {
		{ 6, FLOW_SYN_SENT, 0, 120 },
		{ 6, FLOW_SYN_RECV, FLOW_REPLIED, 60 },
		{ 6, FLOW_ESTABLISHED, FLOW_REPLIED, 432000 },
		{ 6, FLOW_ESTABLISHED, FLOW_PICKED_UP, 300 },
		{ 6, FLOW_ESTABLISHED, FLOW_PICKED_UP | FLOW_REPLIED, 432000 },
		{ 6, FLOW_FIN_WAIT, FLOW_PICKED_UP, 120 },
		{ 6, FLOW_TIME_WAIT, FLOW_REPLIED, 120 },
		{ 6, FLOW_CLOSE, FLOW_REPLIED, 10 },
		{ 17, FLOW_UNREPLIED, 0, 30 },
		{ 17, FLOW_REPLY_SEEN, FLOW_REPLIED, 30 },
		{ 17, FLOW_ASSURED, FLOW_REPLIED, 120 },
		{ 1, FLOW_UNREPLIED, 0, 30 },
		{ 58, FLOW_REPLY_SEEN, FLOW_REPLIED, 30 },
		{ 47, FLOW_UNREPLIED, 0, 600 },
		{ 132, FLOW_REPLY_SEEN, FLOW_REPLIED, 600 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t life = cases[i].seconds * SECOND;
		struct flow flow = { .protocol = cases[i].protocol,
				     .state = cases[i].state,
				     .flags = cases[i].flags,
				     .seen = 1000 * SECOND };

		assert_int_equal(flow_lifetime(&flow), life);
		assert_false(flow_expired(&flow, flow.seen + life));
		assert_true(flow_expired(&flow, flow.seen + life + 1));
		assert_false(flow_expired(&flow, 0)); /* another CPU's clock is ahead */
	}
}

static void test_udp_and_echo(void **state)
{
	struct flow flow = { .protocol = PROTOCOL_UDP, .state = FLOW_UNREPLIED };
	struct packet p = between(1, 1, 2, 2, 0);

	(void)state;
	assert_int_equal(flow_next(&flow, &p, DIRECTION_ORIGINAL, 0), SAME);
	assert_int_equal(flow_next(&flow, &p, DIRECTION_REPLY, 0), FLOW_REPLY_SEEN);
	flow.state = FLOW_REPLY_SEEN;
	assert_int_equal(flow_next(&flow, &p, DIRECTION_REPLY, 9 * SECOND), SAME);
	assert_int_equal(flow_next(&flow, &p, DIRECTION_ORIGINAL, 2 * SECOND), SAME);
	assert_int_equal(flow_next(&flow, &p, DIRECTION_ORIGINAL, 2 * SECOND + 1), FLOW_ASSURED);
	p.fields.word[FIELD_PROTOCOL] = 47;
	assert_int_equal(flow_next(&flow, &p, DIRECTION_ORIGINAL, 9 * SECOND), SAME);

	p.fields.word[FIELD_PROTOCOL] = PROTOCOL_ICMP;
	flow.state = FLOW_UNREPLIED;
	p.flags = PACKET_ECHO_REPLY;
	assert_int_equal(flow_next(&flow, &p, DIRECTION_ORIGINAL, 0), REJUDGE);
	assert_int_equal(flow_next(&flow, &p, DIRECTION_REPLY, 0), FLOW_REPLY_SEEN);
	p.flags = PACKET_ECHO_REQUEST;
	assert_int_equal(flow_next(&flow, &p, DIRECTION_REPLY, 0), REJUDGE);
	assert_int_equal(flow_next(&flow, &p, DIRECTION_ORIGINAL, 0), SAME);
}

static void test_startable(void **state)
{
	struct packet p = between(1, 1, 2, 2, 0);

	(void)state;
	assert_true(flow_startable(&p));
	p.flags |= PACKET_GROUP;
	assert_false(flow_startable(&p));
	p.flags = 0;
	p.fields.word[FIELD_FRAGMENT] = 1;
	assert_false(flow_startable(&p));
	p.fields.word[FIELD_FRAGMENT] = 0;
	p.fields.word[FIELD_PROTOCOL] = PROTOCOL_ICMPV6;
	assert_false(flow_startable(&p));
	p.flags = PACKET_ECHO_REQUEST;
	assert_true(flow_startable(&p));
	p.flags = PACKET_ECHO_REPLY;
	assert_false(flow_startable(&p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conversations),	 cmocka_unit_test(test_table_whole),
		cmocka_unit_test(test_keys),		 cmocka_unit_test(test_keys_without_ports),
		cmocka_unit_test(test_lifetimes),	 cmocka_unit_test(test_udp_and_echo),
		cmocka_unit_test(test_startable),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("track", tests, NULL, NULL);
}
