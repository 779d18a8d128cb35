// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Limits: rates (token buckets), and how many flows a rule has at a time.
 *
 * A rule with limits is asked when a packet that meets the rules comes to it (REF_LIMIT): it takes
 * the packet, or the walk goes on behind it. Packets of live flows meet no rules, so only those
 * that begin a flow count, and those that pass or drop by a rule alone: all packets of stateless
 * rules, later fragments, packets to groups; of ICMP echo every request (FLOW_COUNTED). TCP amid a
 * connection that nobody knows is none of the limit's business: the rule takes it, and it is
 * dropped for what it is.
 *
 * Buckets are those of core/rate.h.
 *
 * Flows are counted without a counter that could go wrong: each has a place, which holds its key
 * and when it began, and a place is free when no such flow is alive (any more). So expiry,
 * eviction, promotion, `flows kill` and an apply need do nothing. New places are given out up to
 * the rule's number; then a round goes over them in search of free ones, PLACES_LOOKED_AT with each
 * packet. A flow that ends is so noticed within `flows` / PLACES_LOOKED_AT attempts. A flow counts
 * under the rule that it began by.
 *
 * Buckets and places for an address are in tables of a fixed size that forget what was not met for
 * longest: a flood from forged addresses cannot make them grow, but makes them forget, and then an
 * address has its full burst again. Rates for all together have a table of their own, so a flood
 * does not touch them. Without room for a bucket a rule that allows is beyond its limit, another
 * one is within.
 *
 * The including host header defines, besides what classify.h and rate.h ask for, with a zeroed value
 * where the key is new (NULL without room):
 *	struct tally *host_tally(host_t *, const struct limit_key *)
 *	const struct flow *host_flow_elsewhere(host_t *, const struct flow_key *)
 *			where host_flow_fetch() would bring it from
 *	const struct place *host_place(host_t *, const struct limit_key *)	NULL if there is none
 *	int host_place_put(host_t *, const struct limit_key *, const struct place *)	0, or negative
 * and behind it:
 *	void host_place_search(host_t *, struct admission *)
 *			place_search_step() until it says 1, at most PLACES_LOOKED_AT times
 */
#ifndef REEVE_CORE_LIMIT_H
#define REEVE_CORE_LIMIT_H

#include "core/bucket.h"
#include "core/classify.h"
#include "core/judgement.h"
#include "core/rate.h"
#include "core/track.h"

static struct flow_key *host_key(host_t *host);
static void host_place_search(host_t *host, struct admission *a);

static __always_inline int place_taken(host_t *host, const struct limit_key *key, __u64 now)
{
	const struct place *place = host_place(host, key);
	const struct flow *flow;

	if (!place)
		return 0;
	flow = host_flow_find(host, &place->key);
	if (!flow)
		flow = host_embryonic_find(host, &place->key);
	if (!flow)
		flow = host_flow_elsewhere(host, &place->key);
	/* The place knows the tuple that the rules saw; a translated flow's record has another key. */
	if (!flow && host_translates(host)) {
		const struct translated_tuple *entry = host_translated_find(host, &place->key);

		flow = entry ? host_flow_find(host, &entry->real) : 0;
		if (entry && !flow)
			flow = host_embryonic_find(host, &entry->real);
	}
	return flow && flow->created == place->created && !flow_expired(flow, now);
}

/* Looks at one place. 1: it is free. */
static __always_inline int place_search_step(host_t *host, struct admission *a)
{
	a->key.place = a->next < a->n ? a->next : 0;
	a->next = a->key.place + 1;
	a->found = !place_taken(host, &a->key, a->now);
	return (int)a->found;
}

/*
 * There are more places than the rule has flows now, for another policy gave them out: the last one
 * moves to the free one, until there are not.
 */
static __always_inline void place_move(host_t *host, struct tally *tally, __u64 n,
				       struct admission *a)
{
	const struct place *place;

	a->last = a->key;
	a->last.place = (__u32)n - 1;
	place = host_place(host, &a->last);
	if (place)
		host_place_put(host, &a->key, place);
	host_swap(&tally->n, n, n - 1);
}

/* a->key gets the number of a place that is free; 0, or -1 when there is none. */
static __always_inline int place_find(host_t *host, struct tally *tally, __u32 most,
				      struct admission *a)
{
	__u64 n = 0;
	__u32 i;

#pragma clang loop unroll(full)
	for (i = 0; i < SWAP_TRIES; i++) {
		n = *(volatile __u64 *)&tally->n;
		if (n >= most)
			break;
		if (host_swap(&tally->n, n, n + 1)) {
			a->key.place = (__u32)n;
			return 0;
		}
	}
	a->n = (__u32)n;
	a->next = (__u32)tally->next;
	host_place_search(host, a);
	tally->next = a->next;
	if (!a->found)
		return -1;
	if (n <= most)
		return 0;
	place_move(host, tally, n, a);
	return -1;
}

/* Gives the flow that begins a place. 1, or 0 when all are taken. */
static __always_inline int place_take(host_t *host, struct judgement *j,
				      const struct image_limit *limit, struct admission *a)
{
	struct tally *tally;

	limit_key_make(limit, &host->packet->fields, &a->key);
	a->now = host_now(host);
	tally = host_tally(host, &a->key);
	if (!tally || place_find(host, tally, limit->flows, a))
		return 0;
	a->place.key = *host_key(host); /* by which it will be found */
	a->place.created = a->now;
	if (host_place_put(host, &a->key, &a->place))
		return 0;
	j->place = a->now;
	return 1;
}

/* May the packet, if a rule allows it, begin a flow with its numbers? (flow_begin()) */
static __always_inline int limit_starts(host_t *host)
{
	__u32 state = flow_first_state(host->packet);

	return state == FLOW_SYN_SENT || state == FLOW_UNREPLIED ||
	       (host->header->flags & IMAGE_PICKUP);
}

/* Would the packet begin a flow of the rule? */
static __always_inline int limit_begins(host_t *host, const struct image_rule *rule)
{
	return rule->action == ACTION_ALLOW && !(rule->flags & IMAGE_RULE_STATELESS) &&
	       flow_startable(host->packet);
}

/*
 * The first half of asking the limited rule at `ref`: 0 when the packet would begin a flow for
 * which there is no place. `taken`: it begins none, see struct found.
 */
static __always_inline int limit_place(host_t *host, struct judgement *j, __u32 ref, __u32 taken)
{
	const struct image_limited *node = host_unit(&host->image, REF_INDEX(ref));
	const struct image_rule *rule = node ? host_image_rule(host, node->rule) : 0;
	struct admission *a = host_admission(host);
	const struct image_limit *limit;

	j->place = 0;
	if (!rule || !a)
		return 0;
	if (taken || !limit_begins(host, rule) || !limit_starts(host))
		return 1;
	limit = limit_at(host, rule->flows);
	return !limit || place_take(host, j, limit, a);
}

/*
 * The second half; `place` is what the first one said. The reference at which the walk goes on: the
 * rule, if it takes the packet.
 */
static __always_inline __u32 limit_rate(host_t *host, __u32 ref, __u32 place)
{
	const struct image_limited *node = host_unit(&host->image, REF_INDEX(ref));
	const struct image_rule *rule = node ? host_image_rule(host, node->rule) : 0;
	struct admission *a = host_admission(host);
	const struct image_limit *limit;

	if (!rule || !a)
		return REF_NONE;
	if (place) {
		limit = limit_at(host, rule->limit);
		if (!limit || (limit_begins(host, rule) && !limit_starts(host)) ||
		    limit_take(host, limit, rule->action != ACTION_ALLOW, a))
			return REF_MAKE(REF_RULE, node->rule);
	}
	host_count(host, STAT_BEYOND);
	return node->beyond;
}

#endif
