// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SYN cookies: the answer to a SYN, read by the packet parser; what the ACK tells; the flow that it
 * begins.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/user/frame.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "core/cookie.h"
#include "core/track.h"
#pragma GCC diagnostic pop

#define COOKIE 0xfffffff0u /* its successor wraps */
#define ISN 1000u
#define CLOCK 0x12345678u

static void read_options(struct options_search *search, const uint8_t *options, uint32_t n)
{
	memset(search, 0, sizeof(*search));
	memcpy(search->tcp + sizeof(struct wire_tcp), options, n);
	options_begin(search, (uint32_t)sizeof(struct wire_tcp) + n);
	for (uint32_t i = 0; i < TCP_OPTIONS_MAX && !options_step(search); i++)
		;
}

static const struct {
	const char *title;
	uint8_t options[40];
	uint32_t n;
	struct tcp_told told;
} offers[] = {
	{ "nothing", { 0 }, 0, { 0, 0, 0, SCALE_NONE, 0 } },
	{ "all of Linux", { 2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 1, 2, 0, 0, 0, 0, 1, 3, 3, 7 }, 20,
	  { 0x102, 0, 1460, 7, TOLD_SACK | TOLD_STAMPS } },
	{ "without timestamps", { 2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2 }, 12,
	  { 0, 0, 1460, 8, TOLD_SACK } },
	{ "timestamps alone", { 1, 1, 8, 10, 1, 0, 0, 0, 9, 9, 9, 9 }, 12,
	  { 0x01000000, 0x09090909, 0, SCALE_NONE, TOLD_STAMPS } },
	{ "scale above 14", { 3, 3, 200, 1 }, 4, { 0, 0, 0, SCALE_MAX, 0 } },
	{ "length 0", { 1, 2, 0, 3, 3, 7, 1, 1 }, 8, { 0, 0, 0, SCALE_NONE, 0 } },
	{ "beyond the end", { 1, 1, 2, 4 }, 4, { 0, 0, 0, SCALE_NONE, 0 } },
	{ "no length at the very end", { 1, 1, 1, 8 }, 4, { 0, 0, 0, SCALE_NONE, 0 } },
	{ "behind the end", { 0, 3, 3, 7 }, 4, { 0, 0, 0, SCALE_NONE, 0 } },
	{ "the last of two", { 2, 4, 1, 0, 2, 4, 2, 0 }, 8, { 0, 0, 512, SCALE_NONE, 0 } },
	{ "wrong lengths", { 2, 3, 1, 3, 4, 1, 1, 4, 3, 1, 8, 9, 1, 1, 1, 1, 1, 1, 1, 0 }, 20,
	  { 0, 0, 0, SCALE_NONE, 0 } },
};

#define OFFERS (sizeof(offers) / sizeof(offers[0]))

static void test_options(void **state)
{
	struct options_search search;

	(void)state;
	for (size_t i = 0; i < OFFERS; i++) {
		read_options(&search, offers[i].options, offers[i].n);
		if (memcmp(&search.told, &offers[i].told, sizeof(search.told)))
			fail_msg("%s: mss %u scale %u flags %u stamp %x echo %x", offers[i].title,
				 search.told.mss, search.told.scale, search.told.flags,
				 search.told.stamp, search.told.echo);
	}
}

/* A SYN from [1]:40000 to [2]:443, and its answer. */
static void answer_to(uint32_t family, const struct tcp_told *told, int partial,
		      struct synack *answer)
{
	struct wire_tcp syn = { .src = to_be16(40000), .dst = to_be16(443), .seq = to_be32(ISN) };

	memset(answer, 0xa5, sizeof(*answer));
	if (family == 4) {
		answer->ip.v4.src = to_be32(0xc0000201);
		answer->ip.v4.dst = to_be32(0xc0000202);
	} else {
		for (unsigned i = 0; i < 4; i++) {
			answer->ip.v6.src[i] = to_be32(i ? i : 0x20010db8);
			answer->ip.v6.dst[i] = to_be32(i ? i << 16 : 0x20010db8);
		}
	}
	synack_make(answer, family, &syn, told, COOKIE, 1400, CLOCK, partial);
}

/* Behind each other, as they are sent. */
static uint32_t bytes_of(const struct synack *answer, uint32_t family, uint8_t *bytes)
{
	uint32_t head = family == 4 ? 20 : 40;

	memcpy(bytes, &answer->ip, head);
	memcpy(bytes + head, &answer->tcp, answer->tcp_length);
	return head + answer->tcp_length;
}

/* Over a copy, byte by byte: not by the code under test. */
static uint32_t sum_of(const uint8_t *bytes, uint32_t n)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return sum;
}

static uint32_t folded(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void check_answer(size_t offer, uint32_t family)
{
	const struct tcp_told *told = &offers[offer].told;
	uint32_t head = family == 4 ? 20 : 40, length, pseudo;
	struct options_search said;
	struct synack answer;
	uint8_t bytes[100];
	struct user_frame frame = { .bytes = bytes };
	struct packet p = { 0 };
	int stamps = told->flags & TOLD_STAMPS;

	answer_to(family, told, 0, &answer);
	length = bytes_of(&answer, family, bytes);
	frame.len = length;
	frame.protocol = family == 4 ? to_be16(ETHERTYPE_IPV4) : to_be16(ETHERTYPE_IPV6);
	assert_int_equal(frame_parse(&frame, &p, 0, 0), FRAME_IP);
	assert_int_equal(p.sanity, SANITY_OK);
	assert_int_equal(p.length, length);
	assert_int_equal(p.fields.word[FIELD_TCP_FLAGS], TCP_SYN | TCP_ACK);
	assert_int_equal(p.fields.word[FIELD_SRC_PORT], 443);
	assert_int_equal(p.fields.word[FIELD_DST_PORT], 40000);
	assert_int_equal(p.fields.word[FIELD_SRC], family == 4 ? 0xc0000202 : 0x20010db8);
	assert_int_equal(p.fields.word[FIELD_DST + (family == 4 ? 0 : 3)],
			 family == 4 ? 0xc0000201 : 3);
	assert_true(p.numbers.seq == COOKIE && p.numbers.ack == ISN + 1);
	assert_int_equal(p.numbers.length, 0);
	assert_int_equal(p.numbers.scale,
			 stamps && told->scale != SCALE_NONE ? COOKIE_SCALE : SCALE_NONE);
	assert_true(p.tcp_header <= sizeof(struct wire_tcp) + offers[offer].n + 3);
	pseudo = sum_of(bytes + (family == 4 ? 12 : 8), family == 4 ? 8 : 32) + PROTOCOL_TCP +
		 answer.tcp_length;
	assert_int_equal(folded(pseudo + sum_of(bytes + head, length - head)), 0xffff);
	if (family == 4)
		assert_int_equal(folded(sum_of(bytes, 20)), 0xffff);
	read_options(&said, bytes + head + 20, length - head - 20);
	assert_int_equal(said.told.mss, told->mss ? 1400 : 0);
	assert_int_equal(said.told.flags, stamps ? told->flags : 0);
	assert_int_equal(said.told.echo, stamps ? told->stamp : 0);

	answer_to(family, told, 1, &answer);
	assert_int_equal(from_be16(answer.tcp.checksum), folded(pseudo));
}

static void test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < OFFERS; i++) {
		check_answer(i, 4);
		check_answer(i, 6);
	}
}

static void test_stamps(void **state)
{
	(void)state;
	for (uint32_t scale = 0; scale <= SCALE_MAX + 1; scale++) {
		for (uint32_t sack = 0; sack <= 1; sack++) {
			struct tcp_told offer = {
				.scale = scale > SCALE_MAX ? SCALE_NONE : (uint8_t)scale,
				.flags = (uint8_t)(TOLD_STAMPS | (sack ? TOLD_SACK : 0)),
			};
			struct tcp_told back = { .echo = stamp_make(CLOCK, &offer),
						 .flags = TOLD_STAMPS | TOLD_SACK };

			assert_int_equal(back.echo & ~STAMP_BITS, CLOCK & ~STAMP_BITS);
			stamp_read(&back);
			assert_int_equal(back.scale, offer.scale);
			assert_int_equal(back.flags, offer.flags);
		}
	}
	/* Without the option nothing is believed. */
	struct tcp_told none = { .echo = 7, .flags = TOLD_SACK };

	stamp_read(&none);
	assert_true(none.scale == SCALE_NONE && !none.flags);
}

static void test_checksums(void **state)
{
	uint8_t tcp[TCP_ROOM] = { 0x9c, 0x40, 0x01, 0xbb, 1, 2, 3, 4, 0, 0, 0, 0, 0x60, 2,
				  0xfa, 0xf0, 0, 0, 0, 0, 2, 4, 5, 0xb4 };
	uint8_t addresses[8] = { 192, 0, 2, 1, 192, 0, 2, 2 };
	uint32_t pseudo = sum_pseudo(addresses, sizeof(addresses), 24);
	uint16_t whole = (uint16_t)~sum_fold(sum_words(pseudo, tcp, TCP_HEADER_MAX));
	uint16_t partial = sum_fold(pseudo);

	(void)state;
	assert_int_equal(syn_checksum(tcp, pseudo), SYN_CHECKSUM_WRONG);
	memcpy(tcp + 16, &whole, 2);
	assert_int_equal(syn_checksum(tcp, pseudo), SYN_CHECKSUM_WHOLE);
	memcpy(tcp + 16, &partial, 2);
	assert_int_equal(syn_checksum(tcp, pseudo), SYN_CHECKSUM_PARTIAL);
}

/* The segments of a handshake as they are taken in by arrival, and what may follow. */
static void test_flow(void **state)
{
	struct packet p = { .numbers = { .seq = ISN + 1, .ack = COOKIE + 1, .length = 5,
					 .window = 500 } };
	struct cookie cookie = { .told = { .scale = 7, .flags = TOLD_STAMPS } };
	struct flow flow = { .state = FLOW_SYN_SENT, .protocol = PROTOCOL_TCP };
	struct numbers answer, next;

	(void)state;
	p.fields.word[FIELD_PROTOCOL] = PROTOCOL_TCP;
	p.fields.word[FIELD_TCP_FLAGS] = TCP_ACK | TCP_PSH;
	p.fields.word[FIELD_STATE] = STATE_UNTRACKED;
	assert_true(cookie_possible(&p));
	cookie_turn(&p, &cookie);
	assert_false(cookie_possible(&p));
	assert_int_equal(flow_first_state(&p), FLOW_SYN_SENT);
	assert_int_equal(p.fields.word[FIELD_STATE], STATE_NEW);
	numbers_learn(&flow, &p.numbers, TCP_SYN, 0);
	cookie_answer(&cookie, &answer);
	assert_int_equal(tcp_step(&flow, &answer, TCP_SYN | TCP_ACK, DIRECTION_REPLY),
			 FLOW_SYN_RECV | LEARN);
	flow_take(&flow, FLOW_SYN_RECV | LEARN, &answer, TCP_SYN | TCP_ACK, DIRECTION_REPLY, 1);
	assert_int_equal(tcp_step(&flow, &cookie.ack, TCP_ACK, DIRECTION_ORIGINAL),
			 FLOW_ESTABLISHED | LEARN);
	flow_take(&flow, FLOW_ESTABLISHED | LEARN, &cookie.ack, TCP_ACK, DIRECTION_ORIGINAL, 1);
	/* A reply within the client's window, scaled; and one beyond. */
	next = (struct numbers){ .seq = COOKIE + 1 + 500 * 128, .ack = ISN + 6, .window = 501 };
	assert_int_equal(tcp_step(&flow, &next, TCP_ACK, DIRECTION_REPLY), SAME | LEARN);
	next.seq += 1000;
	assert_int_equal(tcp_step(&flow, &next, TCP_ACK, DIRECTION_REPLY), OUTSIDE);
	/* The client may send what the answer offered. */
	next = (struct numbers){ .seq = ISN + 1 + COOKIE_WINDOW, .ack = COOKIE + 1, .window = 500 };
	assert_int_equal(tcp_step(&flow, &next, TCP_ACK, DIRECTION_ORIGINAL), SAME | LEARN);
	next.seq += 100;
	assert_int_equal(tcp_step(&flow, &next, TCP_ACK, DIRECTION_ORIGINAL), OUTSIDE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),	  cmocka_unit_test(test_answers),
		cmocka_unit_test(test_stamps),	  cmocka_unit_test(test_checksums),
		cmocka_unit_test(test_flow),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("cookie", tests, NULL, NULL);
}
