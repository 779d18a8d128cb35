// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Early: what is dropped before anything else is spent on a packet.
 *
 * No state, no routes, no marks: a packet and the zone it arrives from meet the rules of `early`,
 * later fragments like all others. Whatever is not dropped goes on to the arrival checkpoint as if
 * nothing had happened, and so does what cannot be parsed: there every packet has a defined end.
 *
 * A rule with a limit is asked as elsewhere (core/limit.h), but there are no flows to begin: every
 * packet counts. IMAGE_RULE_OVER turns the answer round: what is within goes on to the next rule.
 * Without room for a bucket a packet is within.
 *
 * A rule that protects (ACTION_PROTECT) is about connections to a service of this host. A SYN is
 * answered here, with a cookie, and nothing of it is remembered; an ACK of no connection must bear
 * one. All else goes on, and so does the SYN where the host cannot or may not answer.
 *
 * Includes nothing that needs flows. The including host header defines what frame.h, classify.h,
 * ask.h and rate.h ask for; host_t as for judge.h, with `packet`, `header`, `image`; and:
 *	int host_glance(host_packet_t *, struct packet *)	glance() (core/glance.h), or always 0
 *	int host_parse(host_packet_t *, struct packet *, __u32 ethernet, __u32 arriving)
 *						frame_parse(), as a function of its own or not
 *	__u32 host_walk(host_t *, enum walk_kind, __u32 from)	see judge.h
 *	int host_open(host_t *)			opens the running image; negative when there is none
 *	int host_foreign(host_t *, host_packet_t *)	see checkpoint.h
 *	__u32 host_generation(host_t *)
 *	const struct image_rule *host_image_rule(host_t *, __u32 rule)
 *	void host_count(host_t *, enum statistic)
 *	void host_count_rule(host_t *, __u32 rule)
 *	void host_log(host_t *, __u32 sample, const struct judgement *)
 *	void host_tell(host_t *, enum event_kind, const struct judgement *)
 *						as host_event() of judge.h, but of many at once
 *						it may tell some
 *	enum protection host_protect(host_t *, host_packet_t *, __u32 ethernet)
 *						of a SYN or ACK to a protected service: looks
 *						at it, and may turn it into its answer
 * and behind it:
 *	__u32 host_early_admit(host_t *, __u32 ref)	early_admit(), as a function of its own or not
 *
 * What is dropped early is a flood, so the way to the first sets is short: a plain packet is not
 * parsed but glanced at, and sets that are asked first are asked here, not in functions.
 */
#ifndef REEVE_CORE_EARLY_H
#define REEVE_CORE_EARLY_H

#include "core/ask.h"
#include "core/frame.h"
#include "core/judgement.h"
#include "core/rate.h"

enum protection {
	PROTECTION_NONE,     /* the packet goes on */
	PROTECTION_ANSWERED, /* a SYN: it has been turned into the answer */
	PROTECTION_REFUSED,  /* a SYN of a shape, or from a source, that is not answered */
	PROTECTION_FORGED,   /* an ACK of no connection, without a cookie */
};

static __u32 host_early_admit(host_t *host, __u32 ref);
static enum protection host_protect(host_t *host, host_packet_t *frame, __u32 ethernet);

/* Where the walk goes on from the limited rule at `ref`: the rule, if it takes the packet. */
static __always_inline __u32 early_admit(host_t *host, __u32 ref)
{
	const struct image_limited *node = host_unit(&host->image, REF_INDEX(ref));
	const struct image_rule *rule = node ? host_image_rule(host, node->rule) : 0;
	struct admission *a = host_admission(host);
	const struct image_limit *limit;
	int over;

	if (!rule || !a)
		return REF_NONE;
	limit = limit_at(host, rule->limit);
	over = rule->flags & IMAGE_RULE_OVER;
	/* In doubt it is not dropped. */
	if (limit && limit_take(host, limit, !!over, a) == !over)
		return REF_MAKE(REF_RULE, node->rule);
	if (!over)
		host_count(host, STAT_BEYOND);
	return node->beyond;
}

#define EARLY_ASKED_AT_ONCE 2

/* The number of the rule of `early` that the packet meets, or RULE_NONE. */
static __always_inline __u32 early_find(host_t *host)
{
	__u32 ref = walk_begin(&host->image, host->header, &host->packet->fields, WALK_EARLY), i;

#pragma clang loop unroll(full)
	for (i = 0; i < EARLY_ASKED_AT_ONCE; i++)
		if (REF_KIND(ref) == REF_MEMBER_OF)
			ref = set_ask(host, ref);
	if (!walk_ends(ref))
		ref = host_walk(host, WALK_EARLY, ref);
	for (i = 0; i < IMAGE_LIMITED_MAX + IMAGE_ASKED_MAX; i++) {
		if (REF_KIND(ref) == REF_LIMIT)
			ref = host_early_admit(host, ref);
		else if (REF_KIND(ref) == REF_MEMBER_OF)
			ref = host_ask(host, ref);
		else
			break;
		if (!walk_ends(ref))
			ref = host_walk(host, WALK_EARLY, ref);
	}
	return REF_KIND(ref) == REF_RULE ? ref : RULE_NONE;
}

/* What becomes of a packet to a protected service. 0: nothing, it goes on. */
static __always_inline int protect(host_t *host, host_packet_t *frame, struct judgement *j,
				   __u32 ethernet)
{
	__u32 flags = host->packet->fields.word[FIELD_TCP_FLAGS] & (TCP_SYN | TCP_ACK | TCP_RST);

	if (host->packet->fields.word[FIELD_PROTOCOL] != PROTOCOL_TCP ||
	    (flags != TCP_SYN && flags != TCP_ACK))
		return 0;
	j->outcome = OUTCOME_DROP;
	switch (host_protect(host, frame, ethernet)) {
	case PROTECTION_ANSWERED:
		j->outcome = OUTCOME_ANSWERED;
		host_count(host, STAT_SYN_ANSWERED);
		return 1;
	case PROTECTION_REFUSED:
		host_count(host, STAT_SYN_REFUSED);
		return 1;
	case PROTECTION_FORGED:
		host_count(host, STAT_COOKIE_WRONG);
		return 1;
	default:
		j->outcome = OUTCOME_PASS;
		return 0;
	}
}

/* A packet whose fields are known, zones included. */
static __always_inline void judge_early(host_t *host, host_packet_t *frame, struct judgement *j,
					__u32 ethernet)
{
	const struct image_rule *rule = 0;
	__u32 number = early_find(host);

	if (number != RULE_NONE)
		rule = host_image_rule(host, number);
	if (!rule || rule->action == ACTION_ALLOW)
		return;
	if (rule->action == ACTION_PROTECT) {
		if (!protect(host, frame, j, ethernet))
			return;
	} else {
		j->outcome = OUTCOME_DROP;
		host_count(host, STAT_EARLY_DROPPED);
	}
	j->by = BY_RULE;
	j->rule = number;
	j->action = j->outcome == OUTCOME_DROP ? ACTION_DROP : rule->action;
	host_count_rule(host, number);
	if (rule->flags & IMAGE_RULE_LOG)
		host_log(host, rule->log_sample, j);
	else if (j->outcome == OUTCOME_DROP)
		host_tell(host, EVENT_DROP, j);
}

/*
 * Fills host->packet, which need not be zero. 1 if it is IP, and whole; its addresses and ports are
 * then its own.
 */
static __always_inline int early_parse(host_t *host, host_packet_t *frame, __u32 ethernet)
{
	struct packet *p = host->packet;

	if (ethernet && host_glance(frame, p))
		return 1;
	__builtin_memset(p, 0, sizeof(*p));
	return host_parse(frame, p, ethernet, 1) == FRAME_IP && p->sanity == SANITY_OK;
}

/*
 * *j is zero. Afterwards j->outcome is OUTCOME_PASS, by BY_NOTHING; OUTCOME_DROP; or
 * OUTCOME_ANSWERED.
 */
static __always_inline void checkpoint_early(host_t *host, host_packet_t *frame, __u32 ifindex,
					     struct judgement *j, __u32 ethernet)
{
	struct packet *p = host->packet;
	struct image_interface from;

	if (host_open(host) || host->header->early_rules >= host->header->rules ||
	    host_foreign(host, frame))
		return;
	if (!early_parse(host, frame, ethernet))
		return;
	from = interface_find(&host->image, host->header, ifindex);
	p->fields.word[FIELD_FROM_ZONE] = from.zone;
	p->fields.word[FIELD_TO_ZONE] = ZONE_SELF;
	j->hook = HOOK_EARLY;
	j->ifindex = ifindex;
	j->in_ifindex = ifindex;
	j->from_tag = from.tag;
	j->generation = host_generation(host);
	judge_early(host, frame, j, ethernet);
}

#endif
