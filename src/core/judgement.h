// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The result of judging a packet, and the records made from it: flows and events.
 */
#ifndef REEVE_CORE_JUDGEMENT_H
#define REEVE_CORE_JUDGEMENT_H

#include "core/event.h"
#include "core/flow.h"
#include "core/image.h"
#include "core/mark.h"
#include "core/packet.h"

/* What the host's routing says of a packet without a flow. */
enum route {
	ROUTE_SELF,    /* it stays here, or has no way on */
	ROUTE_FORWARD,
};

/* Do the routes lead on, and does the packet stay all the same (core/intercept.h)? */
enum stays {
	STAYS_NOT,
	STAYS,
	STAYS_FROM_NOW, /* an intercepted flow begins with it */
};

/* How a judgement ends. */
enum outcome {
	OUTCOME_PASS,	/* go on, with `mark` */
	OUTCOME_DROP,
	OUTCOME_REJECT, /* drop and answer; the host answers if it may */
	OUTCOME_ANSWERED, /* early: it is the answer now, and goes back by where it came from */
};

struct judgement {
	__u8 outcome; /* enum outcome */
	__u8 by;      /* enum decided_by */
	__u8 mark;    /* enum mark_state, for arrival */
	__u8 hook;    /* enum event_hook */
	__u8 reject;  /* enum reject */
	__u8 action;  /* enum action, when by == BY_RULE */
	__u8 flow_flags; /* for a flow that begins: FLOW_LIBERAL, FLOW_COUNTED */
	__u8 stays;	 /* enum stays */
	__u16 leave_tag; /* MARK_REPLY: tag of the zone by which the reply must leave */
	__u16 toward;	 /* `stays`: tag of the zone to which an intercepted one was to leave; 0: it is not intercepted */
	__u32 rule;
	__u32 mark_mask, mark_value; /* of `mark set` */
	__u16 from_tag, to_tag;
	__u32 in_ifindex, ifindex; /* arriving (0: own) and the hook's */
	__u32 generation;
	__u32 timeout; /* for a flow that begins */
	__u64 place;   /* likewise: when it got a place (core/limit.h); 0: it needs none */
};

/* The record of a flow that begins with this packet. */
static __always_inline void flow_fill(struct flow *flow, const struct packet *p,
				      const struct judgement *j, __u32 state, __u32 sender_high,
				      const struct translation *to, __u64 now)
{
	__builtin_memset(flow, 0, sizeof(*flow));
	if (to) {
		flow->translation = *to;
		flow->flags = FLOW_TRANSLATED;
	}
	flow->created = j->place ? j->place : now;
	flow->seen = now;
	flow->original.packets = p->segments;
	flow->original.bytes = p->length;
	flow->from_tag = j->from_tag;
	flow->to_tag = j->to_tag;
	flow->state = (__u8)state;
	flow->flags |= (__u8)((sender_high ? FLOW_ORIGIN_HIGH : 0) | j->flow_flags);
	if (state == FLOW_ESTABLISHED)
		flow->flags |= FLOW_PICKED_UP;
	flow->protocol = p->fields.word[FIELD_PROTOCOL] & 0xff;
	flow->timeout = j->timeout & FLOW_TIMEOUT_MAX;
	flow->rule = j->rule;
	flow->policy = (__u16)j->generation;
	if (p->fields.word[FIELD_PROTOCOL] == PROTOCOL_TCP)
		numbers_learn(flow, &p->numbers, p->fields.word[FIELD_TCP_FLAGS], 0);
	if (j->mark_mask)
		flow->flags |= FLOW_MARKS;
	flow->mark_mask = j->mark_mask;
	flow->mark_value = j->mark_value;
	if (j->stays) {
		flow->flags |= FLOW_MARKS;
		flow->translation.flags |= TRANSLATION_STAYS;
		flow->translation.toward = j->toward;
	}
	if (j->from_tag != IMAGE_TAG_SELF)
		flow->from_ifindex = j->in_ifindex;
	if (j->to_tag != IMAGE_TAG_SELF)
		flow->to_ifindex = j->ifindex;
}

static __always_inline void event_fill(struct event *event, enum event_kind kind,
				       const struct packet *p, const struct judgement *j,
				       __u64 now)
{
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = now;
	event->kind = (__u8)kind;
	event->hook = j->hook;
	event->by = j->by;
	event->action = j->action;
	event->sanity = p->sanity;
	event->family = (__u8)p->fields.word[FIELD_FAMILY];
	event->protocol = (__u8)p->fields.word[FIELD_PROTOCOL];
	event->tcp_flags = (__u8)p->fields.word[FIELD_TCP_FLAGS];
	event->rule = j->rule;
	event->ifindex = j->ifindex;
	event->in_ifindex = j->in_ifindex;
	event->from_zone = (__u16)p->fields.word[FIELD_FROM_ZONE];
	event->to_zone = (__u16)p->fields.word[FIELD_TO_ZONE];
	event->src_port = (__u16)p->fields.word[FIELD_SRC_PORT];
	event->dst_port = (__u16)p->fields.word[FIELD_DST_PORT];
	event->length = p->length;
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < 4; i++) {
		event->src[i] = p->fields.word[FIELD_SRC + i];
		event->dst[i] = p->fields.word[FIELD_DST + i];
	}
	event->generation = j->generation;
}

#endif
