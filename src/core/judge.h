// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The judge: what happens to a packet, on arrival and at departure. Every engine calls these two functions.
 *
 * The order of truth: malformed packets are dropped; a packet of a known flow that agrees with its zones, its direction and the
 * state machine passes; everything else meets the rules (built-in rules, the file's, defaults), of which one always matches.
 *
 * Arrival knows where the packet comes from, not where it goes. If it belongs to a flow, the flow tells. If not, the host is asked for its
 * route: what is for this host is judged here (X -> self), the rest is deferred to departure, where both zones are known. The outcome
 * travels in two bits of the mark (enum mark_state).
 *
 * A packet advances its flow where the flow decides it: exactly once.
 *
 * The including host header defines first, besides what packet.h and classify.h ask for, a type host_t and:
 *	host_t		  has the members `packet` (struct packet *), `header` (const struct image_header *), `image` (host_image_t)
 *	__u64 host_now(host_t *)
 *	__u32 host_classify(host_t *)			  rule number, or RULE_NONE
 *	const struct image_rule *host_image_rule(host_t *, __u32 rule)	  or NULL
 *	struct flow *host_flow_find(host_t *, const struct flow_key *)	  in the table of replied flows
 *	struct flow *host_embryonic_find(host_t *, const struct flow_key *)
 *	void host_flow_delete(host_t *, const struct flow_key *)
 *	int host_flow_promote(host_t *, const struct flow_key *, const struct flow *)	 to the replied ones; 0 or negative
 *	int host_flow_create(host_t *, const struct flow_key *, const struct judgement *, __u32 state, __u32 sender_high)
 *							  an embryonic one
 *	enum route host_route(host_t *)			  for this host, or to be forwarded?
 *	void host_count(host_t *, enum statistic)
 *	void host_count_rule(host_t *, __u32 rule)
 *	void host_event(host_t *, enum event_kind, const struct judgement *)
 *	void host_log(host_t *, __u32 sample, const struct judgement *)	  every sample-th becomes an event
 */
#ifndef REEVE_CORE_JUDGE_H
#define REEVE_CORE_JUDGE_H

#include "core/classify.h"
#include "core/judgement.h"
#include "core/track.h"

/* The flow of a packet, if there is one, and where it was found. */
struct found {
	struct flow *flow;
	__u32 embryonic;
	__u32 sender_high;
	__u32 direction;
	__u32 taken;   /* the tuple belongs to a live connection that this packet is not part of: start none */
	__u32 replace; /* a replied flow holds the tuple, and may be replaced */
};

static __always_inline void flow_find(host_t *host, struct flow_key *key, struct found *found,
				      __u64 now)
{
	struct flow *flow;

	found->sender_high = (__u32)flow_key_make(host->packet, key);
	found->embryonic = 0;
	found->flow = 0;
	found->taken = 0;
	found->replace = 0;
	found->direction = DIRECTION_ORIGINAL;
	flow = host_flow_find(host, key);
	if (flow && flow_expired(flow, now)) {
		host_flow_delete(host, key);
		flow = 0;
	}
	if (!flow) {
		flow = host_embryonic_find(host, key);
		if (!flow || flow_expired(flow, now))
			return;
		found->embryonic = 1;
	}
	if (found->sender_high != (flow->flags & FLOW_ORIGIN_HIGH))
		found->direction = DIRECTION_REPLY;
	found->flow = flow;
}

/* A segment with the numbers of another connection, or of none. */
static __always_inline void judge_outside(host_t *host, struct judgement *j)
{
	host->packet->sanity = SANITY_WINDOW;
	j->outcome = OUTCOME_DROP;
	j->by = BY_SANITY;
	host_count(host, STAT_OUTSIDE);
	host_event(host, EVENT_DROP, j);
}

/* Takes the packet into its flow, or drops it. 0, or -1 when it is not part of the connection. */
static __always_inline int flow_advance(host_t *host, const struct flow_key *key,
					const struct found *found, struct judgement *j, __u64 now)
{
	struct flow *flow = found->flow;
	struct packet *p = host->packet;
	struct flow_count *count;
	__u32 next;

	next = flow_next(flow, p, found->direction, now);
	if (next & REJUDGE)
		return -1;
	if (next & OUTSIDE) {
		judge_outside(host, j);
		return 0;
	}
	flow_take(flow, next, &p->numbers, p->fields.word[FIELD_TCP_FLAGS], found->direction, now);
	count = found->direction == DIRECTION_REPLY ? &flow->reply : &flow->original;
	/* Not atomic: one direction of a flow is the business of one CPU at a time, and two atomic additions cost a third of the lookup. */
	count->packets += p->segments;
	count->bytes += p->length;
	j->outcome = OUTCOME_PASS;
	j->by = BY_FLOW;
	j->rule = flow->rule;
	j->mark_mask = flow->mark_mask;
	j->mark_value = flow->mark_value;
	if (found->embryonic) {
		if (found->direction == DIRECTION_REPLY && !(flow->flags & FLOW_REPLIED))
			flow->flags |= FLOW_REPLIED;
		/* The record is gone behind a promotion: its room may already be somebody else's. */
		if (flow_promotable(flow, found->direction)) {
			if (!host_flow_promote(host, key, flow))
				host_count(host, STAT_FLOW_PROMOTED);
			else
				host_count(host, STAT_FLOW_FULL);
		}
	}
	host_count(host, STAT_BY_FLOW);
	return 0;
}

/*
 * The packet has a flow's tuple but is not part of it: it meets the rules. If they allow it, may it take the tuple over? From an embryonic
 * flow, yes. From a replied one if that is over, or if its own originator now leaves by another zone (a route has changed: the
 * zones do not `agree`); otherwise a forged packet could end somebody's connection.
 */
static __always_inline void flow_estrange(struct found *found, __u16 from_tag, int agree)
{
	struct flow *flow = found->flow;

	found->flow = 0;
	if (found->embryonic)
		return;
	if ((flow->protocol == PROTOCOL_TCP && flow->state >= FLOW_TIME_WAIT) ||
	    (!agree && found->direction == DIRECTION_ORIGINAL && flow->from_tag == from_tag))
		found->replace = 1;
	else
		found->taken = 1;
}

/* A rule has allowed the packet: makes its flow. Negative when it may not pass without one, or when there is no memory for one. */
static __always_inline int flow_begin(host_t *host, const struct flow_key *key,
				      const struct found *found, struct judgement *j)
{
	__u32 state = flow_first_state(host->packet);

	if (state != FLOW_SYN_SENT && state != FLOW_UNREPLIED &&
	    !(host->header->flags & IMAGE_PICKUP)) {
		host->packet->sanity = SANITY_MID_STREAM;
		j->by = BY_SANITY;
		host_count(host, STAT_SANITY);
		host_event(host, EVENT_DROP, j);
		return -1;
	}
	if (state == FLOW_NONE || found->taken)
		return 0; /* it passes by the rule alone */
	if (found->replace)
		host_flow_delete(host, key);
	if (host_flow_create(host, key, j, state, found->sender_high)) {
		host_count(host, STAT_FLOW_FAILED);
		return -1;
	}
	host_count(host, STAT_FLOW_NEW);
	host_event(host, EVENT_FLOW_NEW, j);
	return 0;
}

/* Both zones are known and no flow decides: the rules do. */
static __always_inline void judge_by_rules(host_t *host, const struct flow_key *key,
					   const struct found *found, struct judgement *j)
{
	struct packet *p = host->packet;
	const struct image_rule *rule = 0;
	__u32 number = host_classify(host);

	j->by = BY_RULE;
	j->outcome = OUTCOME_DROP;
	if (number != RULE_NONE)
		rule = host_image_rule(host, number);
	if (!rule) {
		j->by = BY_NOTHING;
		host_count(host, STAT_NO_POLICY);
		return;
	}
	j->rule = number;
	j->action = rule->action;
	j->reject = rule->reject;
	host_count(host, STAT_BY_RULE);
	host_count_rule(host, number);
	if (rule->action == ACTION_ALLOW) {
		j->outcome = OUTCOME_PASS;
		j->mark_mask = rule->mark_mask;
		j->mark_value = rule->mark_value;
		host_count(host, STAT_ALLOWED);
		if (!(rule->flags & IMAGE_RULE_STATELESS) && flow_startable(p) &&
		    flow_begin(host, key, found, j))
			j->outcome = OUTCOME_DROP;
	} else if (rule->action == ACTION_REJECT) {
		j->outcome = OUTCOME_REJECT; /* counted by the host, which knows whether it answers */
	} else {
		host_count(host, STAT_DROPPED);
	}
	if (rule->flags & IMAGE_RULE_LOG)
		host_log(host, rule->log_sample, j);
	else if (rule->action != ACTION_ALLOW)
		host_event(host, rule->action == ACTION_REJECT ? EVENT_REJECT : EVENT_DROP, j);
}

static __always_inline void judge_malformed(host_t *host, struct judgement *j)
{
	j->outcome = OUTCOME_DROP;
	j->by = BY_SANITY;
	host_count(host, STAT_SANITY);
	host_event(host, EVENT_DROP, j);
}

/* Fields a packet of a flow can have: a later fragment has no ports, so it has no flow. */
static __always_inline int flow_searchable(const struct packet *p)
{
	if (p->fields.word[FIELD_FRAGMENT])
		return 0;
	if (p->fields.word[FIELD_PROTOCOL] == PROTOCOL_ICMP ||
	    p->fields.word[FIELD_PROTOCOL] == PROTOCOL_ICMPV6)
		return p->flags & (PACKET_ECHO_REQUEST | PACKET_ECHO_REPLY);
	return 1;
}

/*
 * On arrival. The packet is parsed; j->ifindex, in_ifindex, hook, generation are set, the rest is zero.
 */
static __always_inline void judge_arrive(host_t *host, struct judgement *j)
{
	struct packet *p = host->packet;
	struct image_interface from;
	struct found found = { 0 };
	struct flow_key key;

	host_count(host, STAT_ARRIVED);
	from = interface_find(&host->image, host->header, j->ifindex);
	j->from_tag = from.tag;
	p->fields.word[FIELD_FROM_ZONE] = from.zone;
	p->fields.word[FIELD_TO_ZONE] = ZONE_UNKNOWN;
	if (p->sanity != SANITY_OK) {
		judge_malformed(host, j);
		return;
	}
	if (flow_searchable(p)) {
		__u64 now = host_now(host);

		flow_find(host, &key, &found, now);
		if (found.flow) {
			struct flow *flow = found.flow;
			__u16 here = flow->from_tag, there = flow->to_tag;

			if (found.direction == DIRECTION_REPLY) {
				here = flow->to_tag;
				there = flow->from_tag;
			}
			if (here == from.tag) {
				int forward = found.direction == DIRECTION_ORIGINAL &&
					      there != IMAGE_TAG_SELF;

				/*
				 * A fragment has no proof. A flow whose rule sets the mark gets it at departure, as its
				 * first packet did: before routing it could choose another route.
				 */
				if (forward && ((p->flags & PACKET_FRAGMENT) || (flow->flags & FLOW_MARKS))) {
					j->outcome = OUTCOME_PASS;
					j->mark = MARK_DEFERRED;
					return;
				}
				if (!flow_advance(host, &key, &found, j, now)) {
					j->mark = forward ? MARK_DEFERRED : MARK_REPLY;
					if (there == IMAGE_TAG_SELF)
						j->mark = MARK_SELF;
					j->leave_tag = there;
					return;
				}
			}
			flow_estrange(&found, from.tag, here == from.tag);
		}
	}
	if (!(p->flags & PACKET_GROUP) && host_route(host) == ROUTE_FORWARD) {
		j->outcome = OUTCOME_PASS;
		j->mark = MARK_DEFERRED;
		return;
	}
	p->fields.word[FIELD_TO_ZONE] = ZONE_SELF;
	j->to_tag = IMAGE_TAG_SELF;
	j->mark = MARK_SELF;
	judge_by_rules(host, &key, &found, j);
}

/*
 * At departure, for what does not pass by what arrival has decided. j->in_ifindex is the arriving interface, 0 for the host's own packets;
 * `taken_in` says that arrival has taken the packet into the flow of its tuple.
 */
static __always_inline void judge_depart(host_t *host, struct judgement *j, int taken_in)
{
	struct packet *p = host->packet;
	struct image_interface from = { 0, ZONE_SELF, IMAGE_TAG_SELF }, to;
	struct found found = { 0 };
	struct flow_key key;

	host_count(host, STAT_DEPARTED);
	to = interface_find(&host->image, host->header, j->ifindex);
	if (j->in_ifindex)
		from = interface_find(&host->image, host->header, j->in_ifindex);
	j->from_tag = from.tag;
	j->to_tag = to.tag;
	p->fields.word[FIELD_FROM_ZONE] = from.zone;
	p->fields.word[FIELD_TO_ZONE] = to.zone;
	if (p->sanity != SANITY_OK) {
		judge_malformed(host, j);
		return;
	}
	if (flow_searchable(p)) {
		__u64 now = host_now(host);

		flow_find(host, &key, &found, now);
		if (found.flow) {
			struct flow *flow = found.flow;
			int agree = found.direction == DIRECTION_ORIGINAL ?
					    flow->from_tag == from.tag && flow->to_tag == to.tag :
					    flow->to_tag == from.tag && flow->from_tag == to.tag;

			/* Arrival takes in every reply that is forwarded. */
			if (found.direction == DIRECTION_REPLY && j->in_ifindex)
				taken_in = 1;
			if (agree && taken_in) {
				j->outcome = OUTCOME_PASS;
				return;
			}
			if (agree && !flow_advance(host, &key, &found, j, now))
				return;
			flow_estrange(&found, from.tag, agree);
		}
	}
	judge_by_rules(host, &key, &found, j);
}

#endif
