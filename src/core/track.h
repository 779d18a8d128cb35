// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Flow tracking: keys, states, timeouts. What a flow is, is in core/flow.h.
 *
 * Life of a flow. The first packet that a rule allows makes an embryonic record. Packets of either
 * direction that fit the state machine pass by it. When the other side has answered and the
 * originator has then spoken again (TCP: the handshake is through), the record is promoted to the
 * table of replied flows: inserted there first, then deleted here, so that there is always one.
 * Records end by timeout, which is looked at when a packet meets them (lazily) and by whoever lists
 * them.
 *
 * TCP's states are a table, [state][direction][kind of segment] -> next state, after RFC 9293,
 * figure 5, as seen from a point between the two ends, where a segment seen may still be lost
 * behind us: so a repeated SYN, FIN or ACK changes nothing. Entries:
 *	a state	  pass, and go there
 *	SAME	  pass, nothing changes (a retransmission, or a segment that its receiver will judge)
 *	REJUDGE	  not part of this connection: the packet meets the rules as if there were no flow, and may start a new one
 * A segment that the table lets pass must have numbers that fit the connection (core/window.h):
 * otherwise it is OUTSIDE, and dropped, for no rule can tell it from an attack on the connection.
 */
#ifndef REEVE_CORE_TRACK_H
#define REEVE_CORE_TRACK_H

#include "core/flow.h"
#include "core/image.h"
#include "core/packet.h"
#include "core/timeout.h"
#include "core/window.h"

enum direction {
	DIRECTION_ORIGINAL = 0,
	DIRECTION_REPLY = 1,
};

enum segment {
	SEGMENT_SYN,
	SEGMENT_SYN_ACK,
	SEGMENT_FIN,
	SEGMENT_RST,
	SEGMENT_ACK,
	SEGMENTS,
};

#define TCP_STATES (FLOW_CLOSE + 1)
#define TCP_ROWS 16 /* a power of two, so that an index can be masked: the verifier wants to see its bound */

#define SAME 0x40
#define REJUDGE 0x80
#define OUTSIDE 0x100 /* not in the table: the numbers are wrong */
#define LEARN 0x200   /* added to what the table says: the numbers are right, and tell something */

#define NO FLOW_NONE
#define SS FLOW_SYN_SENT
#define SR FLOW_SYN_RECV
#define S2 FLOW_SYN_SENT2
#define ES FLOW_ESTABLISHED
#define FW FLOW_FIN_WAIT
#define CW FLOW_CLOSE_WAIT
#define LA FLOW_LAST_ACK
#define TW FLOW_TIME_WAIT
#define CL FLOW_CLOSE
#define __ SAME
#define XX REJUDGE

static const __u8 tcp_next[TCP_ROWS][2][SEGMENTS] = {
	/*       from the originator                    from the responder */
	/*       SYN SYNACK FIN  RST  ACK               SYN SYNACK FIN  RST  ACK */
	[NO] = { { SS, XX, XX, XX, ES },		{ XX, XX, XX, XX, XX } },
	[SS] = { { __, XX, XX, CL, XX },		{ S2, SR, XX, CL, __ } },
	[SR] = { { __, SR, FW, CL, ES },		{ XX, __, FW, CL, __ } },
	[S2] = { { __, SR, XX, CL, XX },		{ __, SR, XX, CL, __ } },
	[ES] = { { __, XX, FW, CL, __ },		{ XX, __, FW, CL, __ } },
	[FW] = { { __, XX, LA, CL, CW },		{ XX, __, LA, CL, CW } },
	[CW] = { { __, XX, LA, CL, __ },		{ XX, __, LA, CL, __ } },
	[LA] = { { __, XX, LA, CL, TW },		{ XX, __, LA, CL, TW } },
	[TW] = { { XX, XX, __, CL, __ },		{ XX, __, __, CL, __ } },
	[CL] = { { XX, XX, __, __, __ },		{ XX, __, __, __, __ } },
};

#undef NO
#undef SS
#undef SR
#undef S2
#undef ES
#undef FW
#undef CW
#undef LA
#undef TW
#undef CL
#undef __
#undef XX

/* The key of the packet's flow. */
static __always_inline int flow_key_make(const struct packet *p, struct flow_key *key)
{
	__u32 src_port = p->fields.word[FIELD_SRC_PORT], dst_port = p->fields.word[FIELD_DST_PORT];

	if (!(p->flags & PACKET_PORTS))
		src_port = dst_port = p->echo_id; /* 0 unless an echo */
	return (int)flow_key_order(key, &p->fields.word[FIELD_SRC], &p->fields.word[FIELD_DST],
				   src_port, dst_port, p->fields.word[FIELD_PROTOCOL],
				   p->fields.word[FIELD_FAMILY]);
}

static __always_inline __u32 tcp_segment(__u32 flags)
{
	if (flags & TCP_RST)
		return SEGMENT_RST;
	if (flags & TCP_SYN)
		return flags & TCP_ACK ? SEGMENT_SYN_ACK : SEGMENT_SYN;
	if (flags & TCP_FIN)
		return SEGMENT_FIN;
	return SEGMENT_ACK;
}

static __always_inline __u32 tcp_step(const struct flow *flow, const struct numbers *n,
				      __u32 flags, __u32 direction)
{
	__u32 state = flow->state, segment = tcp_segment(flags), next;

	if (state >= TCP_STATES)
		return REJUDGE;
	forget(state);
	next = tcp_next[state & (TCP_ROWS - 1)][direction & 1][segment];
	/*
	 * What others forward elsewhere after it was let in here (a published port) is never
	 * answered under this tuple: the answer belongs to the flow behind the translation. The
	 * flow stays embryonic.
	 */
	if (state == FLOW_SYN_SENT && direction == DIRECTION_ORIGINAL && segment == SEGMENT_ACK &&
	    flow->to_tag == IMAGE_TAG_SELF)
		next = FLOW_ESTABLISHED;
	if (next & REJUDGE)
		return REJUDGE;
	switch (numbers_check(flow, n, flags, direction)) {
	case NUMBERS_RIGHT:
		return next | LEARN;
	case NUMBERS_KEEP:
		return SAME;
	default:
		return OUTSIDE;
	}
}

/*
 * The state behind a packet with these flags (of TCP; enum packet_flags) and, if it is TCP, these
 * numbers; or SAME, either with LEARN added; or REJUDGE, or OUTSIDE.
 */
static __always_inline __u32 flow_step(const struct flow *flow, __u32 protocol,
				       const struct numbers *n, __u32 tcp_flags, __u32 packet_flags,
				       __u32 direction, __u64 now)
{
	__u32 state = flow->state;

	if (protocol == PROTOCOL_TCP)
		return tcp_step(flow, n, tcp_flags, direction);
	if (protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6) {
		if (!(packet_flags &
		      (direction == DIRECTION_REPLY ? PACKET_ECHO_REPLY : PACKET_ECHO_REQUEST)))
			return REJUDGE;
		return direction == DIRECTION_REPLY ? FLOW_REPLY_SEEN : SAME;
	}
	if (direction == DIRECTION_REPLY)
		return state == FLOW_UNREPLIED ? FLOW_REPLY_SEEN : SAME;
	if (state == FLOW_REPLY_SEEN && protocol == PROTOCOL_UDP &&
	    now - flow->created > FLOW_ASSURED_AFTER)
		return FLOW_ASSURED;
	return SAME;
}

static __always_inline __u32 flow_next(const struct flow *flow, const struct packet *p,
				       __u32 direction, __u64 now)
{
	return flow_step(flow, p->fields.word[FIELD_PROTOCOL], &p->numbers,
			 p->fields.word[FIELD_TCP_FLAGS], p->flags, direction, now);
}

/* Brings the flow to what flow_step() has found, which is neither REJUDGE nor OUTSIDE. */
static __always_inline void flow_take(struct flow *flow, __u32 next, const struct numbers *n,
				      __u32 tcp_flags, __u32 direction, __u64 now)
{
	__u32 state = next & ~(__u32)LEARN;

	/* Numbers first: a SYN is learnt by the state it came in. */
	if (next & LEARN)
		numbers_learn(flow, n, tcp_flags, direction);
	if (!(state & SAME) && state != flow->state)
		flow->state = (__u8)state;
	flow->seen = now;
}

/*
 * Was the flow last allowed by a policy before `since`, the generation from which on flows need not
 * be looked at again?
 */
static __always_inline int flow_stale(const struct flow *flow, __u32 since)
{
	return (__s16)(__u16)(flow->policy - since) < 0;
}

/* May this packet, once a rule has allowed it, start a flow? Others pass by the rule alone. */
static __always_inline int flow_startable(const struct packet *p)
{
	__u32 protocol = p->fields.word[FIELD_PROTOCOL];

	if (p->fields.word[FIELD_FRAGMENT] || (p->flags & PACKET_GROUP))
		return 0;
	if (protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6)
		return p->flags & PACKET_ECHO_REQUEST;
	return 1;
}

/* The state of a flow that begins with this packet; FLOW_NONE when it may not begin with it. */
static __always_inline __u32 flow_first_state(const struct packet *p)
{
	__u32 next;

	if (p->fields.word[FIELD_PROTOCOL] != PROTOCOL_TCP)
		return FLOW_UNREPLIED;
	next = tcp_next[FLOW_NONE][DIRECTION_ORIGINAL][tcp_segment(p->fields.word[FIELD_TCP_FLAGS])];
	return next & REJUDGE ? FLOW_NONE : next;
}

/*
 * Is it time to move an embryonic flow to the table of replied ones? `direction` is that of the
 * packet just taken in.
 */
static __always_inline int flow_promotable(const struct flow *flow, __u32 direction)
{
	if (!(flow->flags & FLOW_REPLIED) || direction != DIRECTION_ORIGINAL)
		return 0;
	return flow->protocol != PROTOCOL_TCP || flow->state >= FLOW_ESTABLISHED;
}

#endif
