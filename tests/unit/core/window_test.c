// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sequence numbers of TCP: connections told segment by segment, with their numbers relative to each
 * end's first one, and what has to become of each segment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/user/frame.h"

#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "core/track.h"

#define STEPS 24

enum fate {
	END, /* of the steps */
	PASS,
	DROP,
	RULES, /* not of this connection */
};

/*
 * "> SA 0 1 500 s7": who speaks (> the originator), flags, seq, ack, window, then what there is of: s
 * the window scale of a SYN, d bytes of data, f a first fragment.
 */
static const struct connection {
	const char *name;
	uint32_t first[2]; /* sequence numbers, for all that is relative */
	unsigned flags;	   /* of the flow: FLOW_LIBERAL */
	struct {
		const char *segment;
		enum fate fate;
		unsigned state; /* behind it; 0: as before */
	} steps[STEPS];
} connections[] = {
#define OPENED                                                                                     \
	{ "> S 0 0 1000", PASS, FLOW_SYN_SENT }, { "< SA 0 1 2000", PASS, FLOW_SYN_RECV },         \
	{                                                                                          \
		"> A 1 1 1000", PASS, FLOW_ESTABLISHED                                             \
	}
	{ "data both ways, closed", { 4294967290u, 77 }, 0,
	  { OPENED, { "> A 1 1 1000 d100", PASS, 0 }, { "< A 1 101 2000 d500", PASS, 0 },
	    { "> FA 101 501 1000", PASS, FLOW_FIN_WAIT }, { "< A 501 102 2000", PASS, FLOW_CLOSE_WAIT },
	    { "< A 501 102 2000 d50", PASS, 0 }, { "< FA 551 102 2000", PASS, FLOW_LAST_ACK },
	    { "> A 102 552 1000", PASS, FLOW_TIME_WAIT } } },
	{ "the SYN-ACK must acknowledge the SYN", { 5, 9 }, 0,
	  { { "> S 0 0 1000", PASS, FLOW_SYN_SENT }, { "< SA 0 0 2000", DROP, 0 },
	    { "< SA 0 2 2000", DROP, 0 }, { "< SA 0 1 2000", PASS, FLOW_SYN_RECV } } },
	{ "data in the SYN may be acknowledged or not", { 5, 9 }, 0,
	  { { "> S 0 0 1000 d100", PASS, FLOW_SYN_SENT }, { "< SA 0 102 2000", DROP, 0 },
	    { "< SA 0 1 2000", PASS, FLOW_SYN_RECV }, { "< A 1 1 2000 d900", PASS, 0 },
	    { "> A 1 1 1000 d100", PASS, FLOW_ESTABLISHED } } },
	{ "the handshake's last ACK must be right", { 5, 9 }, 0,
	  { { "> S 0 0 1000", PASS, FLOW_SYN_SENT }, { "< SA 0 1 2000", PASS, FLOW_SYN_RECV },
	    { "> A 1 0 1000", DROP, 0 }, { "> A 1 2 1000", DROP, 0 }, { "> A 1 70000 1000", DROP, 0 },
	    { "> A 1 1 1000", PASS, FLOW_ESTABLISHED } } },
	{ "another SYN before the answer: the last one counts", { 5, 9 }, 0,
	  { { "> S 0 0 1000", PASS, FLOW_SYN_SENT }, { "> S 5000 0 1000", PASS, 0 },
	    { "< SA 0 1 2000", DROP, 0 }, { "< SA 0 5001 2000", PASS, FLOW_SYN_RECV } } },
	{ "beyond what the other end takes", { 5, 9 }, 0,
	  { OPENED, { "> A 2001 1 1000 d1", PASS, 0 }, { "> A 2002 1 1000 d1", DROP, 0 },
	    { "< A 1001 1 2000", PASS, 0 }, { "< A 1002 1 2000", DROP, 0 } } },
	{ "older than a window", { 100000, 200000 }, 0,
	  { OPENED, { "> A 1 1 1000 d2000", PASS, 0 }, { "< A 1 2001 2000", PASS, 0 },
	    { "> A 2001 1 1000 d2000", PASS, 0 }, { "> A 1001 1 1000 d1000", PASS, 0 },
	    { "> A 1000 1 1000 d1000", DROP, 0 } } },
	{ "acknowledges what was not sent", { 5, 9 }, 0,
	  { OPENED, { "< A 1 1 2000 d10", PASS, 0 }, { "> A 1 11 1000", PASS, 0 },
	    { "> A 1 12 1000", DROP, 0 }, { "> A 1 2147483648 1000", DROP, 0 } } },
	{ "acknowledges what was long ago", { 5, 9 }, 0,
	  { { "> S 0 0 60000", PASS, FLOW_SYN_SENT }, { "< SA 0 1 60000", PASS, FLOW_SYN_RECV },
	    { "> A 1 1 60000", PASS, FLOW_ESTABLISHED }, { "< A 1 1 60000 d60000", PASS, 0 },
	    { "> A 1 60001 60000", PASS, 0 }, { "< A 60001 1 60000 d60000", PASS, 0 },
	    { "> A 1 54001 60000", PASS, 0 }, { "> A 1 54000 60000", DROP, 0 } } },
	{ "windows scaled by both", { 5, 9 }, 0,
	  { { "> S 0 0 1000 s7", PASS, FLOW_SYN_SENT }, { "< SA 0 1 2000 s2", PASS, FLOW_SYN_RECV },
	    { "> A 1 1 100", PASS, FLOW_ESTABLISHED }, { "< A 12801 1 2000", PASS, 0 },
	    { "< A 12802 1 2000", DROP, 0 }, { "> A 8001 1 100", PASS, 0 },
	    { "> A 8002 1 100", DROP, 0 } } },
	{ "a scale that one end did not offer is none", { 5, 9 }, 0,
	  { { "> S 0 0 1000 s7", PASS, FLOW_SYN_SENT }, { "< SA 0 1 2000", PASS, FLOW_SYN_RECV },
	    { "> A 1 1 900", PASS, FLOW_ESTABLISHED }, { "< A 1026 1 2000", DROP, 0 },
	    { "> A 2002 1 900", DROP, 0 }, { "> A 2001 1 900", PASS, 0 } } },
	{ "resets: exact ends, in the window passes, outside is dropped", { 5, 9 }, 0,
	  { OPENED, { "> A 1 1 1000 d10", PASS, 0 }, { "> R 0 0 0", DROP, 0 },
	    { "> R 2002 0 0", DROP, 0 }, { "> R 500 0 0", PASS, FLOW_ESTABLISHED },
	    { "< R 300 0 0", PASS, FLOW_ESTABLISHED }, { "< R 1 0 0", PASS, FLOW_CLOSE } } },
	{ "a reset behind data that is not acknowledged yet", { 5, 9 }, 0,
	  { OPENED, { "> A 1 1 1000 d10", PASS, 0 }, { "> RA 11 1 0", PASS, FLOW_CLOSE } } },
	{ "refused", { 5, 9 }, 0,
	  { { "> S 0 0 1000", PASS, FLOW_SYN_SENT }, { "< R 0 0 0", DROP, 0 },
	    { "< RA 0 2 0", DROP, 0 }, { "< RA 0 1 0", PASS, FLOW_CLOSE } } },
	{ "a SYN amid the connection is for its receiver to challenge", { 5, 9 }, 0,
	  { OPENED, { "> A 1 1 1000 d10", PASS, 0 }, { "> S 900000 0 1000", PASS, FLOW_ESTABLISHED },
	    { "< A 1 11 2000", PASS, 0 }, { "> R 11 0 0", PASS, FLOW_CLOSE },
	    { "> S 900000 0 1000", RULES, 0 } } },
	{ "half-open at the responder: its old ACK is let out to be reset", { 5, 9 }, 0,
	  { { "> S 0 0 1000", PASS, FLOW_SYN_SENT }, { "< A 700 55555 1000", PASS, FLOW_SYN_SENT },
	    { "> R 55555 0 0", PASS, FLOW_CLOSE } } },
	{ "both open at once", { 5, 9 }, 0,
	  { { "> S 0 0 1000", PASS, FLOW_SYN_SENT }, { "< S 0 0 2000", PASS, FLOW_SYN_SENT2 },
	    { "> SA 0 2 1000", DROP, 0 }, { "> SA 0 1 1000", PASS, FLOW_SYN_RECV },
	    { "< SA 0 1 2000", PASS, 0 }, { "> A 1 1 1000", PASS, FLOW_ESTABLISHED },
	    { "> A 2002 1 1000", DROP, 0 } } },
	{ "half-closed: the other end sends for long", { 5, 9 }, 0,
	  { OPENED, { "> FA 1 1 1000", PASS, FLOW_FIN_WAIT }, { "< A 1 2 2000 d900", PASS, FLOW_CLOSE_WAIT },
	    { "> A 2 901 1000", PASS, 0 }, { "< A 901 2 2000 d900", PASS, 0 }, { "> A 3 901 1000", PASS, 0 },
	    { "< A 1801 4 2000", DROP, 0 } } },
	{ "reused from TIME-WAIT", { 5, 9 }, 0,
	  { OPENED, { "> FA 1 1 1000", PASS, FLOW_FIN_WAIT }, { "< FA 1 2 2000", PASS, FLOW_LAST_ACK },
	    { "> A 2 2 1000", PASS, FLOW_TIME_WAIT }, { "> S 70000 0 1000", RULES, 0 } } },
	{ "keep-alives and probes of a closed window", { 5, 9 }, 0,
	  { OPENED, { "> A 0 1 1000", PASS, 0 }, { "< A 0 1 2000 d1", PASS, 0 },
	    { "> A 1 1 0", PASS, 0 }, { "> A 1 1 1000 d2000", PASS, 0 }, { "< A 1 2001 0", PASS, 0 },
	    { "> A 2001 1 1000 d1", PASS, 0 }, { "> A 2003 1 1000 d1", DROP, 0 } } },
	{ "a first fragment: the rest of the segment is not seen", { 5, 9 }, 0,
	  { OPENED, { "> A 1 1 1000 d500 f", PASS, 0 }, { "< A 1 1401 2000", PASS, 0 } } },
	{ "taken up in mid-stream: only resets are checked", { 5, 9 }, 0,
	  { { "> A 7000 300 1000 d10", PASS, FLOW_ESTABLISHED }, { "< A 9000000 7500 2000", PASS, 0 },
	    { "> A 6000 300 10", PASS, 0 }, { "> R 7499 0 0", DROP, 0 },
	    { "> R 7600 0 0", PASS, FLOW_ESTABLISHED }, { "> R 7500 0 0", PASS, FLOW_CLOSE } } },
	{ "liberal", { 5, 9 }, FLOW_LIBERAL,
	  { OPENED, { "> A 900000 1 1000 d1", PASS, 0 }, { "< A 1 70 2000", PASS, 0 },
	    { "< R 0 0 0", DROP, 0 }, { "< R 900 0 0", PASS, FLOW_ESTABLISHED },
	    { "< R 1 0 0", PASS, FLOW_CLOSE } } },
};

static uint32_t flags_of(const char *letters)
{
	uint32_t flags = 0;

	for (; *letters; letters++)
		flags |= *letters == 'S' ? TCP_SYN :
			 *letters == 'A' ? TCP_ACK :
			 *letters == 'F' ? TCP_FIN :
					   TCP_RST;
	return flags;
}

static uint32_t segment_of(const struct connection *connection, const char *text,
			   struct numbers *n)
{
	uint32_t direction = *text == '<', flags;
	char letters[8], rest[3][12];
	unsigned seq, ack, window;
	int found;

	found = sscanf(text + 1, "%7s %u %u %u %11s %11s %11s", letters, &seq, &ack, &window, rest[0],
		       rest[1], rest[2]);
	assert_in_range(found, 4, 7);
	flags = flags_of(letters);
	*n = (struct numbers){ .window = (uint16_t)window, .scale = SCALE_NONE };
	n->seq = seq + connection->first[direction];
	n->ack = flags & TCP_ACK ? ack + connection->first[!direction] : ack;
	for (int i = 0; i < found - 4; i++) {
		if (rest[i][0] == 's')
			assert_int_equal(sscanf(rest[i] + 1, "%hhu", &n->scale), 1);
		else if (rest[i][0] == 'd')
			assert_int_equal(sscanf(rest[i] + 1, "%u", &n->length), 1);
		else if (rest[i][0] == 'f')
			n->fragment = 1;
		else
			fail_msg("%s", text);
	}
	return flags;
}

/* A reset without ACK has a seq only, which is relative to its sender like all others. */
static void play(const struct connection *connection)
{
	struct flow flow = { .protocol = PROTOCOL_TCP, .flags = (uint8_t)connection->flags };

	for (int i = 0; i < STEPS && connection->steps[i].fate != END; i++) {
		const char *text = connection->steps[i].segment;
		uint32_t direction = *text == '<', flags, next, state = flow.state;
		struct flow before = flow;
		struct numbers n;
		enum fate fate;

		flags = segment_of(connection, text, &n);
		if (i) {
			next = flow_step(&flow, PROTOCOL_TCP, &n, flags, 0, direction, 0);
		} else {
			next = tcp_next[FLOW_NONE][0][tcp_segment(flags)] | LEARN;
			if ((next & 0x3f) == FLOW_ESTABLISHED)
				flow.flags |= FLOW_PICKED_UP;
		}
		fate = next & REJUDGE ? RULES : next & OUTSIDE ? DROP : PASS;
		if (fate == PASS)
			flow_take(&flow, next, &n, flags, direction, 0);
		else
			assert_memory_equal(&flow, &before, sizeof(flow));
		if (fate != connection->steps[i].fate)
			fail_msg("%s: step %d (%s): %d, not %d", connection->name, i, text, fate,
				 connection->steps[i].fate);
		if (connection->steps[i].state)
			state = connection->steps[i].state;
		if (flow.state != state)
			fail_msg("%s: step %d (%s): state %u, not %u", connection->name, i, text,
				 flow.state, state);
	}
}

static void test_connections(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(connections) / sizeof(connections[0]); i++)
		play(&connections[i]);
}

/* The same whatever the first numbers are: also where they run over. */
static void test_wherever(void **state)
{
	static const uint32_t firsts[] = { 0, 1, 0x7fffff00, 0x80000000, 0xffff0000, 0xffffffff };

	(void)state;
	for (size_t i = 0; i < sizeof(connections) / sizeof(connections[0]); i++)
		for (size_t j = 0; j < 36; j++) {
			struct connection moved = connections[i];

			moved.first[0] = firsts[j / 6];
			moved.first[1] = firsts[j % 6];
			play(&moved);
		}
}

/* The scale among a SYN's options, in whatever shape they are. */
static void test_scale_search(void **state)
{
	static const struct {
		const char *options;
		uint32_t length;
		uint8_t scale;
	} cases[] = {
		{ "", 0, SCALE_NONE },
		{ "\3\3\7\1", 4, 7 },
		{ "\1\3\3\0", 4, 0 },
		{ "\2\4\5\264\4\2\10\12\0\0\0\0\0\0\0\0\1\3\3\12", 20, 10 },
		{ "\0\3\3\7", 4, SCALE_NONE }, /* behind the end */
		{ "\2\0\3\3\7\1\1\1", 8, SCALE_NONE },
		{ "\2\1\3\3\7\1\1\1", 8, SCALE_NONE },
		{ "\2\44\3\3\7\1\1\1", 8, SCALE_NONE }, /* longer than the header */
		{ "\1\1\3\3", 4, SCALE_NONE },
		{ "\3\4\7\1", 4, SCALE_NONE }, /* a wrong length */
		{ "\3\3\377\1", 4, 14 }, /* RFC 7323, 2.3 */
		{ "\3\3\17\1", 4, 14 },
		{ "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1"
		  "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\3\3\5", 40, 5 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct user_frame frame = { .bytes = (const uint8_t *)cases[i].options,
					    .len = cases[i].length };
		struct scale_search search = { .host = &frame,
					       .room = cases[i].length,
					       .scale = SCALE_NONE };

		host_scale_search(&search);
		assert_int_equal(search.scale, cases[i].scale);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_wherever),
		cmocka_unit_test(test_scale_search),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
