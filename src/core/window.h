// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Sequence numbers of TCP, as seen from between the two ends: what a live connection's segment may
 * look like.
 *
 * After RFC 9293, 3.10.7.4, and RFC 5961, told from outside as G. van Rooij does in "Real stateful
 * TCP packet filtering in IP Filter" (2001), which conntrack follows too. For a segment [seq, seq +
 * length) with acknowledgement `ack`, between a sender and a receiver:
 *
 *	I	it ends what the receiver lets it send:		seq <= sender.max_end
 *	II	it is not older than a window:			end >= sender.end - receiver.window
 *	III	it acknowledges what was sent:			ack <= receiver.end
 *	IV	and not what was long ago:			ack >= receiver.end - max(sender.window, 66000)
 *
 * The handshake is stricter: SYN-ACK and the ACK that ends the handshake must acknowledge what the
 * other end has sent and nothing older, so somebody who does not see the packets cannot complete
 * it.
 *
 * Resets (RFC 5961, 3.2): one with exactly the next number ends the connection; one elsewhere in
 * the window passes, and its receiver answers it with a challenge; one outside is dropped. "The
 * next number" is what the receiver has acknowledged last, or what the sender has sent last.
 *
 * A SYN amid a connection (RFC 5961, 4.2) passes and changes nothing: its receiver answers with a
 * challenge, and if that end has really begun anew, it resets the old connection by the book.
 *
 * Each field of an end is written by the packets of one direction only. Two packets of one
 * direction on two CPUs at once may lose an update; the next one makes up for it, at worst a
 * retransmission.
 *
 * Not looked at: selective acknowledgements and timestamps. What they say is not needed for any of
 * these checks.
 */
#ifndef REEVE_CORE_WINDOW_H
#define REEVE_CORE_WINDOW_H

#include "core/flow.h"

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_PSH 8
#define TCP_ACK 16

#define SCALE_MAX 14u	 /* RFC 7323, 2.3; also what is taken for an end whose SYN was not seen */
#define SCALE_NONE 0xffu /* a SYN without the option */
#define OLD_ACK_MAX 66000u

/* What is needed of a segment, in host order. */
struct numbers {
	__u32 seq, ack;
	__u32 length;  /* of its data; SYN and FIN do not count here */
	__u16 window;  /* as it stands in the header */
	__u8 scale;    /* of a SYN: the option's value, or SCALE_NONE */
	__u8 fragment; /* a first fragment: more data follows in others */
};

enum numbers_verdict {
	NUMBERS_RIGHT,
	NUMBERS_KEEP,  /* the segment passes, and changes nothing */
	NUMBERS_WRONG, /* it is not of this connection */
};

static __always_inline int seq_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline __u32 end_window(const struct flow_end *end)
{
	return (__u32)end->window << (end->scale & 15);
}

/*
 * Has `receiver` sent what this acknowledges, and is it not older than what it had to acknowledge
 * first?
 */
static __always_inline int handshake_ack(const struct flow_end *sender,
					 const struct flow_end *receiver, const struct numbers *n)
{
	if ((receiver->flags & END_SEEN) && seq_before(receiver->end, n->ack))
		return 0;
	return !(sender->flags & END_ACKED) || !seq_before(n->ack, sender->max_ack);
}

static __always_inline enum numbers_verdict syn_check(__u32 state, const struct flow_end *sender,
						      const struct flow_end *receiver,
						      const struct numbers *n, __u32 flags)
{
	if (state >= FLOW_ESTABLISHED)
		return NUMBERS_KEEP;
	if (flags & TCP_ACK)
		return handshake_ack(sender, receiver, n) ? NUMBERS_RIGHT : NUMBERS_WRONG;
	return state == FLOW_SYN_SENT ? NUMBERS_RIGHT : NUMBERS_KEEP;
}

static __always_inline enum numbers_verdict reset_check(const struct flow *flow,
							const struct flow_end *sender,
							const struct flow_end *receiver,
							const struct numbers *n, __u32 flags,
							__u32 reply)
{
	__u32 liberal = flow->flags & (FLOW_PICKED_UP | FLOW_LIBERAL);

	/*
	 * Nobody has answered: the originator may give up; the responder has to show that it saw
	 * the SYN.
	 */
	if (flow->state == FLOW_SYN_SENT) {
		if (!reply)
			return NUMBERS_RIGHT;
		return (flags & TCP_ACK) && handshake_ack(sender, receiver, n) ? NUMBERS_RIGHT :
									       NUMBERS_WRONG;
	}
	if (!(receiver->flags & END_ACKED))
		return NUMBERS_RIGHT;
	if (seq_before(n->seq, receiver->max_ack))
		return NUMBERS_WRONG;
	if (!liberal && (sender->flags & END_BOUNDED) && seq_before(sender->max_end, n->seq))
		return NUMBERS_WRONG;
	if (flow->state < FLOW_ESTABLISHED || n->seq == receiver->max_ack ||
	    ((sender->flags & END_SEEN) && n->seq == sender->end))
		return NUMBERS_RIGHT;
	return NUMBERS_KEEP;
}

static __always_inline enum numbers_verdict data_check(const struct flow *flow,
						       const struct flow_end *sender,
						       const struct flow_end *receiver,
						       const struct numbers *n, __u32 end,
						       __u32 reply)
{
	__u32 window;

	/*
	 * The responder still has an old connection: the originator resets that (RFC 9293, 3.5.1,
	 * figure 9).
	 */
	if (flow->state == FLOW_SYN_SENT && reply)
		return NUMBERS_KEEP;

	if (flow->flags & (FLOW_PICKED_UP | FLOW_LIBERAL))
		return NUMBERS_RIGHT;
	if ((sender->flags & END_BOUNDED) && seq_before(sender->max_end, n->seq))
		return NUMBERS_WRONG;
	if (!(receiver->flags & END_SEEN))
		return NUMBERS_RIGHT;
	if ((sender->flags & END_SEEN) && seq_before(end, sender->end - end_window(receiver)))
		return NUMBERS_WRONG;
	if (seq_before(receiver->end, n->ack))
		return NUMBERS_WRONG;
	if (flow->state < FLOW_ESTABLISHED && !handshake_ack(sender, receiver, n))
		return NUMBERS_WRONG;
	window = end_window(sender);
	return seq_before(n->ack, receiver->end - (window > OLD_ACK_MAX ? window : OLD_ACK_MAX)) ?
		       NUMBERS_WRONG : NUMBERS_RIGHT;
}

/*
 * Is this segment with TCP `flags` one of the connection's? `reply`: it comes from the responder.
 */
static __always_inline enum numbers_verdict numbers_check(const struct flow *flow,
							  const struct numbers *n, __u32 flags,
							  __u32 reply)
{
	const struct flow_end *sender = &flow->ends[reply & 1], *receiver = &flow->ends[!reply];

	if (flags & TCP_RST)
		return reset_check(flow, sender, receiver, n, flags, reply);
	if (flags & TCP_SYN)
		return syn_check(flow->state, sender, receiver, n, flags);
	return data_check(flow, sender, receiver, n, n->seq + n->length + (flags & TCP_FIN),
			  reply);
}

/* Windows are scaled only if both ends say so, in their SYNs (RFC 7323, 2.2). */
static __always_inline void scales_settle(struct flow_end *one, struct flow_end *two)
{
	struct flow_end *end[2] = { one, two };

	if (one->flags & two->flags & END_SCALES)
		return;
#pragma clang loop unroll(full)
	for (int i = 0; i < 2; i++) {
		__u32 window = end_window(end[i]);

		end[i]->window = (__u16)(window > 0xffff ? 0xffff : window);
		end[i]->scale = 0;
	}
}

/* A SYN, or SYN-ACK: its window is never scaled. */
static __always_inline void syn_learn(struct flow_end *sender, struct flow_end *receiver,
				      const struct numbers *n, __u32 flags)
{
	__u32 scale = n->scale > SCALE_MAX ? n->scale == SCALE_NONE ? 0 : SCALE_MAX : n->scale;

	sender->end = n->seq + 1 + n->length;
	sender->scale = (__u8)scale;
	sender->window = (__u16)((n->window + (1u << scale) - 1) >> scale);
	sender->flags = (__u8)((sender->flags & (END_ACKED | END_BOUNDED)) | END_SEEN |
			       (n->scale == SCALE_NONE ? 0 : END_SCALES));
	receiver->max_ack = n->seq + 1;
	receiver->flags |= END_ACKED;
	if (!(receiver->flags & END_SEEN))
		return;
	scales_settle(sender, receiver);
	if (flags & TCP_ACK)
		sender->max_ack = n->ack;
	sender->max_end = sender->end + end_window(receiver);
	receiver->max_end = (flags & TCP_ACK ? n->ack : receiver->end) + n->window;
	sender->flags |= END_BOUNDED;
	receiver->flags |= END_BOUNDED;
}

/* Takes in what a segment tells that numbers_check() has found right. */
static __always_inline void numbers_learn(struct flow *flow, const struct numbers *n, __u32 flags,
					  __u32 reply)
{
	struct flow_end *sender = &flow->ends[reply & 1], *receiver = &flow->ends[!reply];
	__u32 end = n->seq + n->length + (flags & TCP_FIN), limit;

	if (flags & TCP_RST)
		return;
	if (flags & TCP_SYN) {
		syn_learn(sender, receiver, n, flags);
		return;
	}
	/* The rest of the segment follows in fragments that have no numbers. */
	if (n->fragment && (sender->flags & END_BOUNDED) && seq_before(end, sender->max_end))
		end = sender->max_end;
	if (!(sender->flags & END_SEEN)) {
		sender->end = end;
		sender->window = n->window;
		sender->scale = SCALE_MAX;
		sender->flags |= END_SEEN;
	}
	if (seq_before(sender->end, end))
		sender->end = end;
	if (sender->window < n->window)
		sender->window = n->window;
	if (!(sender->flags & END_ACKED) || seq_before(sender->max_ack, n->ack)) {
		sender->max_ack = n->ack;
		sender->flags |= END_ACKED;
	}
	limit = ((__u32)n->window << (sender->scale & 15));
	limit = n->ack + (limit ? limit : 1);
	if (!(receiver->flags & END_BOUNDED) || seq_before(receiver->max_end, limit)) {
		receiver->max_end = limit;
		receiver->flags |= END_BOUNDED;
	}
}

#endif
