// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The judge: what happens to a packet, on arrival and at departure. Every engine calls these two
 * functions.
 *
 * The order of truth: malformed packets are dropped; a packet of a known flow that agrees with its
 * zones, its direction and the state machine passes; a forged source is dropped, where its zone asks
 * for it (core/hygiene.h); everything else meets the rules (built-in rules, the file's, defaults),
 * of which one always matches.
 *
 * Arrival knows where the packet comes from, not where it goes. If it belongs to a flow, the flow
 * tells. If not, the host is asked for its route: what is for this host is judged here (X -> self),
 * the rest is deferred to departure, where both zones are known. The outcome travels in two bits of
 * the mark (enum mark_state).
 *
 * A packet advances its flow where the flow decides it: exactly once.
 *
 * A flow is allowed by the policy of its time. After an apply each flow is looked at once more,
 * when its next packet comes: if the policy that runs now would not have let it begin, it ends, and
 * its packet meets the rules (flow_recheck()).
 *
 * ICMP errors that quote a packet of a live flow pass by that flow (core/quoted.h). Later fragments
 * have no ports: they follow their first fragment, where that was decided; without one only rules
 * that say `fragment` can let them pass.
 *
 * The including host header defines first, besides what packet.h and classify.h ask for, a type
 * host_t and:
 *	host_t		  has the members `packet` (struct packet *), `header` (const struct image_header *), `image` (host_image_t)
 *	__u64 host_now(host_t *)
 *	__u32 host_walk(host_t *, enum walk_kind, __u32 from)	  where the walk ends (walk_ends()) that begins at `from`
 *							  (REF_NONE: at the pair's); or REF_NONE
 *	__u32 host_zone(host_t *, __u32 tag)		  by zone_search_step(); ZONE_UNKNOWN when there is none
 *	const struct image_rule *host_image_rule(host_t *, __u32 rule)	  or NULL
 *	struct flow_key *host_key(host_t *)		  room for the packet's
 *	void host_flow_fetch(host_t *, const struct flow_key *)	  before the two below: where flows are in tables that are being
 *							  replaced, brings that one over
 *	struct flow *host_flow_find(host_t *, const struct flow_key *)	  in the table of replied flows
 *	struct flow *host_embryonic_find(host_t *, const struct flow_key *)
 *	void host_flow_delete(host_t *, const struct flow_key *), void host_embryonic_delete(…)
 *	__u32 host_flows_since(host_t *)		  flows of policies before this generation are looked at again
 *	int host_flow_promote(host_t *, const struct flow_key *, const struct flow *)	 to the replied ones; 0 or negative
 *	int host_flow_create(host_t *, const struct flow_key *, const struct judgement *, __u32 state, __u32 sender_high, const struct translation *)
 *							  an embryonic one; NULL: it is not translated
 *	const struct quoted *host_quoted(host_t *)	  quoted_parse() into room of its own; NULL when it finds no flow's tuple
 *	const struct fragment *host_fragment_find(host_t *, const struct fragment_key *)
 *	void host_fragment_put(host_t *, const struct fragment_key *, const struct fragment *)   may be lost
 *	enum route host_route(host_t *, __u32 *leaves)	  for this host, or to be forwarded, and by which interface?
 *	void host_set_add(host_t *, __u32 add)		  an address of the packet into a dynamic set, as image_rule.add says
 *	void host_count(host_t *, enum statistic)
 *	void host_count_rule(host_t *, __u32 rule)
 *	void host_event(host_t *, enum event_kind, const struct judgement *)
 *	void host_log(host_t *, __u32 sample, const struct judgement *)	  every sample-th becomes an event
 *
 * and behind it, because it has them as functions of their own or not (in the kernel a program's
 * stack is short, and the verifier looks at each way through it):
 *	int host_translated_search(host_t *, struct flow_key *, struct found *)			translated_search()
 *	int host_nat_begin(host_t *, struct flow_key *, struct judgement *)		nat_begin()
 *	int host_forward(host_t *, __u32 leaves)						judge_forward()
 *	int host_recheck(host_t *, const struct flow_key *, struct found *)			flow_recheck()
 *	int host_related(host_t *, struct judgement *, __u32 from_tag, __u32 to_tag)		judge_related()
 *	int host_fragment_follow(host_t *, struct judgement *), host_fragment_note(host_t *, struct judgement *, from_tag, to_tag)
 *	int host_related_translated(host_t *, __u32 *travels)					related_translated()
 *	const struct quoted *host_quoted_read(host_t *)			what host_quoted() has read
 *	void host_fragment_translate(host_t *, from_tag), host_fragment_note_arrival(host_t *, from_tag)
 *	void host_rules(host_t *, struct flow_key *, const struct found *, struct judgement *)	judge_by_rules()
 *	__u32 host_find(host_t *, struct judgement *, enum walk_kind, __u32 taken)		rule_find()
 *	int host_knows_cookies(host_t *)	are there any? Best a constant
 *	int host_cookie(host_t *)	may the packet begin by a cookie (cookie_possible()), and does it
 *					hold one? Then cookie_turn() (core/cookie.h) makes it the SYN
 *	__u32 host_admit(host_t *, struct judgement *, __u32 ref, __u32 taken)	limit_rate() of what limit_place() says
 *	and those of core/intercept.h
 */
#ifndef REEVE_CORE_JUDGE_H
#define REEVE_CORE_JUDGE_H

#include "core/ask.h"
#include "core/classify.h"
#include "core/hygiene.h"
#include "core/intercept.h"
#include "core/judgement.h"
#include "core/nat.h"
#include "core/limit.h"
#include "core/quoted.h"
#include "core/track.h"

enum taken {
	TAKEN_NOT,
	TAKEN_BY_ANOTHER, /* the tuple belongs to a live connection that this packet is not part of */
	TAKEN_BY_ITS_OWN, /* its flow goes on, whatever the rules say of this packet */
};

/* The flow of a packet, if there is one, and where it was found. */
struct found {
	struct flow *flow;
	__u32 embryonic;
	__u32 sender_high;
	__u32 direction;
	__u32 taken;   /* enum taken: not 0: the packet starts no flow under its tuple */
	__u32 replace; /* a replied flow holds the tuple, and may be replaced */
	__u32 strange; /* its flow is translated, and the packet is of neither direction at this checkpoint */
};

static struct flow_key *host_key(host_t *host);
static const struct quoted *host_quoted(host_t *host);
static int host_translated_search(host_t *host, struct flow_key *key, struct found *found);
static int host_nat_begin(host_t *host, struct flow_key *key, struct judgement *j);
static int host_forward(host_t *host, __u32 leaves);
static void host_set_add(host_t *host, __u32 add);
static int host_related_translated(host_t *host, __u32 *travels);
static const struct quoted *host_quoted_read(host_t *host);
static void host_fragment_translate(host_t *host, __u32 from_tag);
static void host_fragment_note_arrival(host_t *host, __u32 from_tag);
static int host_recheck(host_t *host, const struct flow_key *key, struct found *found);
static int host_related(host_t *host, struct judgement *j, __u32 from_tag, __u32 to_tag);
static int host_fragment_follow(host_t *host, struct judgement *j);
static void host_fragment_note(host_t *host, struct judgement *j, __u32 from_tag, __u32 to_tag);
static void host_rules(host_t *host, struct flow_key *key, const struct found *found,
		       struct judgement *j);
static __u32 host_admit(host_t *host, struct judgement *j, __u32 ref, __u32 taken);
static int host_knows_cookies(host_t *host);
static int host_cookie(host_t *host);

static __always_inline void flow_find(host_t *host, struct flow_key *key, struct found *found,
				      __u64 now)
{
	struct flow *flow;

	found->sender_high = (__u32)flow_key_make(host->packet, key);
	found->embryonic = 0;
	found->flow = 0;
	found->taken = 0;
	found->replace = 0;
	found->strange = 0;
	found->direction = DIRECTION_ORIGINAL;
	host_flow_fetch(host, key);
	flow = host_flow_find(host, key);
	if (flow && flow_expired(flow, now)) {
		host_flow_delete(host, key);
		flow = 0;
	}
	if (!flow) {
		flow = host_embryonic_find(host, key);
		if (flow && flow_expired(flow, now))
			flow = 0;
		found->embryonic = !!flow;
	}
	found->flow = flow;
	if (host_translates(host) && (!flow || (flow->flags & FLOW_TRANSLATED))) {
		if (!host_translated_search(host, key, found)) {
			found->flow = flow;
			found->strange = !!flow;
		}
		return;
	}
	if (flow && found->sender_high != (flow->flags & FLOW_ORIGIN_HIGH))
		found->direction = DIRECTION_REPLY;
}

/* Is the packet of found->flow, a translated one with this key? Then what to rewrite is noted. */
static __always_inline int translated_fits(host_t *host, const struct flow_key *key,
					   struct found *found)
{
	int direction;

	if (!(found->flow->flags & FLOW_TRANSLATED))
		return 0;
	direction = translated_direction(host->packet, key, found->flow);
	if (direction < 0)
		return 0;
	found->direction = (__u32)direction & 1;
	translation_note(host_nat(host), host->packet, key, found->flow, found->direction);
	return 1;
}

/*
 * The translated flow that the packet is of: found->flow, which has its own tuple, if there is one,
 * or the one to which its tuple leads. 1: *found and *key are of its record. 0: there is none, and
 * found->flow means nothing.
 */
static __always_inline int translated_search(host_t *host, struct flow_key *key,
					     struct found *found, __u64 now)
{
	struct nat_room *nat = host_nat(host);
	const struct translated_tuple *entry;

	if (found->flow && translated_fits(host, key, found))
		return 1;
	entry = host_translated_find(host, key);
	if (!entry)
		return 0;
	nat->real = entry->real;
	host_flow_fetch(host, &nat->real);
	found->flow = host_flow_find(host, &nat->real);
	found->embryonic = !found->flow;
	if (!found->flow)
		found->flow = host_embryonic_find(host, &nat->real);
	if (!found->flow || flow_expired(found->flow, now) ||
	    !translated_fits(host, &nat->real, found))
		return 0;
	*key = nat->real;
	return 1;
}

static __always_inline void judge_malformed(host_t *host, struct judgement *j)
{
	j->outcome = OUTCOME_DROP;
	j->by = BY_SANITY;
	host_count(host, STAT_SANITY);
	host_event(host, EVENT_DROP, j);
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

/*
 * A connection that began with a SYN cookie is first seen here when its ACK comes, perhaps over one
 * that is dead.
 */
static __always_inline int begins_by_cookie(host_t *host)
{
	return (host->header->flags & IMAGE_PROTECTS) && host_cookie(host);
}

/* Takes the packet into its flow, or drops it. 0, or -1 when it is not part of the connection. */
static __always_inline int flow_advance(host_t *host, const struct flow_key *key,
					const struct found *found, struct judgement *j, __u64 now,
					int arrives)
{
	struct flow *flow = found->flow;
	struct packet *p = host->packet;
	struct flow_count *count;
	__u32 next, refused;

	next = flow_next(flow, p, found->direction, now);
	if (next & REJUDGE)
		return -1;
	if (arrives && host_knows_cookies(host) && ((next & OUTSIDE) || flow->state >= FLOW_TIME_WAIT) &&
	    flow->to_tag == IMAGE_TAG_SELF && begins_by_cookie(host))
		return -1;
	if (next & OUTSIDE) {
		judge_outside(host, j);
		return 0;
	}
	refused = flow->state == FLOW_SYN_SENT && next == (FLOW_CLOSE | LEARN);
	flow_take(flow, next, &p->numbers, p->fields.word[FIELD_TCP_FLAGS], found->direction, now);
	count = found->direction == DIRECTION_REPLY ? &flow->reply : &flow->original;
	/*
	 * Not atomic: one direction of a flow is the business of one CPU at a time, and two atomic
	 * additions cost a third of the lookup.
	 */
	count->packets += p->segments;
	count->bytes += p->length;
	j->outcome = OUTCOME_PASS;
	j->by = BY_FLOW;
	j->rule = flow->rule;
	j->mark_mask = flow->mark_mask;
	j->mark_value = flow->mark_value;
	if (refused) {
		/* It never was a connection: nothing more belongs to it. */
		host_embryonic_delete(host, key);
	} else if (found->embryonic) {
		if (found->direction == DIRECTION_REPLY && !(flow->flags & FLOW_REPLIED))
			flow->flags |= FLOW_REPLIED;
		/*
		 * The record is gone behind a promotion: its room may already be somebody else's.
		 */
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
 * The packet as if its flow's other end had sent it, where only what a flow's record holds is
 * looked at. Twice is as before.
 */
static __always_inline void packet_turn(struct packet *p, __u32 original_type)
{
	__u32 *word = p->fields.word, port = word[FIELD_SRC_PORT], i;

	word[FIELD_SRC_PORT] = word[FIELD_DST_PORT];
	word[FIELD_DST_PORT] = port;
	if (!(p->flags & PACKET_PORTS))
		word[FIELD_DST_PORT] = original_type;
#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++) {
		__u32 address = word[FIELD_SRC + i];

		word[FIELD_SRC + i] = word[FIELD_DST + i];
		word[FIELD_DST + i] = address;
	}
}

static __always_inline int flow_of_echo(const struct flow *flow)
{
	return flow->protocol == PROTOCOL_ICMP || flow->protocol == PROTOCOL_ICMPV6;
}

/* Would the policy that runs now intercept the packet? */
static __always_inline int intercepts(host_t *host)
{
	__u32 number;

	return (host->header->flags & IMAGE_INTERCEPTS) && intercept_target(host, &number);
}

/* The fields of a packet that are not those of its flow's first one; addresses go with ports. */
static __always_inline void fields_keep(const __u32 *word, __u32 *kept)
{
	kept[0] = word[FIELD_FROM_ZONE];
	kept[1] = word[FIELD_TO_ZONE];
	kept[2] = word[FIELD_STATE];
	kept[3] = word[FIELD_SRC_PORT];
	kept[4] = word[FIELD_DST_PORT];
}

static __always_inline void fields_restore(__u32 *word, const __u32 *kept)
{
	word[FIELD_FROM_ZONE] = kept[0];
	word[FIELD_TO_ZONE] = kept[1];
	word[FIELD_STATE] = kept[2];
	word[FIELD_SRC_PORT] = kept[3];
}

/*
 * Would the policy that runs now have let the flow begin? Its rule, or NULL. What the packet has
 * meanwhile lies in the room for translations: the stack is short.
 */
static __always_inline const struct image_rule *flow_rule(host_t *host, const struct flow_key *key,
							  const struct found *found, __u32 *number)
{
	const struct flow *flow = found->flow;
	struct packet *p = host->packet;
	__u32 *word = p->fields.word, *kept = host_nat(host)->kept;
	__u32 reply = found->direction == DIRECTION_REPLY;

	fields_keep(word, kept);
	word[FIELD_FROM_ZONE] = host_zone(host, flow->from_tag);
	word[FIELD_TO_ZONE] = host_zone(host, flow->translation.toward ? flow->translation.toward :
									 flow->to_tag);
	word[FIELD_STATE] = (flow->flags & (FLOW_PICKED_UP | FLOW_SEEDED)) == FLOW_PICKED_UP ?
				    STATE_UNTRACKED : STATE_NEW;
	*number = RULE_NONE;
	if (word[FIELD_FROM_ZONE] != ZONE_UNKNOWN && word[FIELD_TO_ZONE] != ZONE_UNKNOWN) {
		__u32 echo = p->flags & PACKET_ECHO_REPLY ?
				     (word[FIELD_FAMILY] == 6 ? 128u << 8 : 8u << 8) : 0;

		if (flow->flags & FLOW_TRANSLATED)
			nat_as_judged(host_nat(host), p, key, flow, echo);
		else if (reply)
			packet_turn(p, echo);
		/* A flow's recheck asks no limits: there are none in this kind of walk. */
		*number = host_find(host, 0, WALK_FLOW, 0);
		if (flow->translation.toward && !intercepts(host))
			*number = RULE_NONE;
		if (flow->flags & FLOW_TRANSLATED)
			nat_as_it_is(host_nat(host), p);
		else if (reply)
			packet_turn(p, kept[4]);
	}
	fields_restore(word, kept);
	return *number == RULE_NONE ? 0 : host_image_rule(host, *number);
}

/*
 * Looks at a flow of an older policy. 0: it lives on, under the rule that allows it now. -1: it is
 * gone.
 */
static __always_inline int flow_recheck(host_t *host, const struct flow_key *key,
					struct found *found)
{
	const struct image_rule *rule;
	struct flow *flow = found->flow;
	__u32 number;

	rule = flow_rule(host, key, found, &number);
	if (rule && rule->action == ACTION_ALLOW) {
		flow->rule = number;
		flow->mark_mask = rule->mark_mask;
		flow->mark_value = rule->mark_value;
		flow->flags = (__u8)((flow->flags & ~(FLOW_MARKS | FLOW_COUNTED)) |
				     (rule->mark_mask ||
						      (flow->translation.flags & TRANSLATION_STAYS) ?
					      FLOW_MARKS : 0) |
				     (rule->limit && flow_of_echo(flow) ? FLOW_COUNTED : 0));
		flow->timeout = rule->timeout & FLOW_TIMEOUT_MAX;
		flow->policy = (__u16)host_generation(host);
		return 0;
	}
	if (found->embryonic)
		host_embryonic_delete(host, key);
	else
		host_flow_delete(host, key);
	found->flow = 0;
	host_count(host, STAT_FLOW_CUT);
	return -1;
}

#include "core/judge_fragment.h"
#include "core/judge_related.h"

/* Is this an echo request that its rule's limit counts, though it has a flow? */
static __always_inline int flow_counted(const struct flow *flow, __u32 direction)
{
	return (flow->flags & FLOW_COUNTED) && direction == DIRECTION_ORIGINAL;
}

/*
 * The packet has a flow's tuple but is not part of it: it meets the rules. If they allow it, may it
 * take the tuple over? From an embryonic flow, yes. From a replied one if that is over, or if its
 * own originator now leaves by another zone (a route has changed: the zones do not `agree`);
 * otherwise a forged packet could end somebody's connection.
 */
static __always_inline void flow_estrange(host_t *host, struct found *found, __u16 from_tag,
					  int agree)
{
	struct flow *flow = found->flow;

	found->flow = 0;
	if (flow && agree && !found->strange && flow_counted(flow, found->direction)) {
		found->taken = TAKEN_BY_ITS_OWN;
		/* It stays translated; on arrival the rules see it as it then is. */
		if (host_translates(host) && host_nat(host)->rewrite == REWRITE_DESTINATION)
			translation_apply(host_nat(host), host->packet);
		return;
	}
	if (host_translates(host)) {
		host_nat(host)->rewrite = REWRITE_NOTHING;
		host_nat(host)->departs = 0;
	}
	if (!flow)
		return;
	if (found->embryonic)
		return;
	if (found->strange) {
		found->taken = TAKEN_BY_ANOTHER;
		return;
	}
	if ((flow->protocol == PROTOCOL_TCP && flow->state >= FLOW_TIME_WAIT) ||
	    (!agree && found->direction == DIRECTION_ORIGINAL && flow->from_tag == from_tag))
		found->replace = 1;
	else
		found->taken = TAKEN_BY_ANOTHER;
}

/* The flow of the packet would have to share a tuple with another. */
static __always_inline void judge_exhausted(host_t *host, struct judgement *j)
{
	j->outcome = OUTCOME_DROP;
	j->by = BY_SANITY;
	host->packet->sanity = SANITY_EXHAUSTED;
	host_count(host, STAT_NAT_EXHAUSTED);
	host_event(host, EVENT_DROP, j);
}

/*
 * A rule has allowed the packet: makes its flow. Negative when it may not pass without one, or when
 * there is no memory for one.
 */
static __always_inline int flow_begin(host_t *host, struct flow_key *key,
				      const struct found *found, struct judgement *j)
{
	__u32 state = flow_first_state(host->packet);
	int translated = 0;

	if (state != FLOW_SYN_SENT && state != FLOW_UNREPLIED &&
	    !(host->header->flags & IMAGE_PICKUP)) {
		host->packet->sanity = SANITY_MID_STREAM;
		j->by = BY_SANITY;
		host_count(host, STAT_SANITY);
		host_event(host, EVENT_DROP, j);
		return -1;
	}
	if (host->header->flags & IMAGE_LIBERAL)
		j->flow_flags |= FLOW_LIBERAL;
	if (state == FLOW_NONE || found->taken == TAKEN_BY_ITS_OWN)
		return 0; /* it passes by the rule alone */
	if (host_translates(host)) {
		host_nat(host)->replace = found->replace;
		translated = host_nat_begin(host, key, j);
		if (translated < 0) {
			judge_exhausted(host, j);
			return -1;
		}
	}
	if (found->taken && !translated)
		return 0;
	if (found->replace && !translated)
		host_flow_delete(host, key);
	if (translated) {
		host_count(host, STAT_TRANSLATED);
		key = &host_nat(host)->real;
	}
	if (host_flow_create(host, key, j, state,
			     translated ? host_nat(host)->real_high : found->sender_high,
			     translated ? &host_nat(host)->to : 0)) {
		host_count(host, STAT_FLOW_FAILED);
		return -1;
	}
	if (host_translates(host) && !translated && host_nat_taken(host, key)) {
		host_embryonic_delete(host, key);
		judge_exhausted(host, j);
		return -1;
	}
	host_count(host, STAT_FLOW_NEW);
	host_event(host, EVENT_FLOW_NEW, j);
	return 0;
}

/*
 * The number of the rule that a walk leads to, or RULE_NONE. Dynamic sets and rules with limits are
 * asked on the way; of these there are none without a judgement. `taken`: see struct found.
 */
static __always_inline __u32 rule_find(host_t *host, struct judgement *j, enum walk_kind kind,
				       __u32 taken)
{
	__u32 ref = host_walk(host, kind, REF_NONE), i;

	for (i = 0; i < IMAGE_LIMITED_MAX + IMAGE_ASKED_MAX; i++) {
		if (REF_KIND(ref) == REF_MEMBER_OF)
			ref = host_ask(host, ref);
		else if (REF_KIND(ref) == REF_LIMIT && j)
			ref = host_admit(host, j, ref, taken);
		else
			break;
		if (!walk_ends(ref))
			ref = host_walk(host, kind, ref);
	}
	return REF_KIND(ref) == REF_RULE ? ref : RULE_NONE;
}

/* Both zones are known and no flow decides: the rules do. */
static __always_inline void judge_by_rules(host_t *host, struct flow_key *key,
					   const struct found *found, struct judgement *j)
{
	struct packet *p = host->packet;
	const struct image_rule *rule = 0;
	__u32 number, later = p->fields.word[FIELD_FRAGMENT];

	if (later && host_fragment_follow(host, j))
		return;
	number = host_find(host, j, later ? WALK_FRAGMENT : WALK_PACKET, found->taken);
	j->by = BY_RULE;
	j->outcome = OUTCOME_DROP;
	if (number != RULE_NONE)
		rule = host_image_rule(host, number);
	if (!rule) {
		j->by = BY_NOTHING;
		host_count(host, STAT_NO_POLICY);
		return;
	}
	if (later && (rule->flags & IMAGE_RULE_BUILTIN)) {
		p->sanity = SANITY_ORPHAN;
		judge_malformed(host, j);
		return;
	}
	j->rule = number;
	j->action = rule->action;
	j->reject = rule->reject;
	if (rule->action == ACTION_ALLOW) {
		j->mark_mask = rule->mark_mask;
		j->mark_value = rule->mark_value;
		j->timeout = rule->timeout;
		if (rule->limit && (p->flags & PACKET_ECHO_REQUEST))
			j->flow_flags = FLOW_COUNTED;
		/* What cannot begin the flow that it needs was not decided by the rule. */
		if (!(rule->flags & IMAGE_RULE_STATELESS) && flow_startable(p) &&
		    flow_begin(host, key, found, j))
			return;
		j->outcome = OUTCOME_PASS;
		host_count(host, STAT_ALLOWED);
		if (first_fragment(p))
			host_fragment_note(host, j, j->from_tag, j->to_tag);
	}
	host_count(host, STAT_BY_RULE);
	host_count_rule(host, number);
	if (rule->add)
		host_set_add(host, rule->add);
	if (rule->action == ACTION_REJECT)
		j->outcome = OUTCOME_REJECT; /* counted by the host, which knows whether it answers */
	else if (rule->action != ACTION_ALLOW)
		host_count(host, STAT_DROPPED);
	if (rule->flags & IMAGE_RULE_LOG)
		host_log(host, rule->log_sample, j);
	else if (rule->action != ACTION_ALLOW)
		host_event(host, rule->action == ACTION_REJECT ? EVENT_REJECT : EVENT_DROP, j);
}

/* The rules have decided a request that they count: does it belong to its flow, if it has one? */
static __always_inline void flow_count_in(struct flow *flow, const struct packet *p,
					  const struct judgement *j, __u64 now)
{
	if (!flow || j->outcome != OUTCOME_PASS)
		return;
	flow->original.packets += p->segments;
	flow->original.bytes += p->length;
	flow->seen = now;
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
 * A packet without a flow arrives: is its destination translated? `leaves` is the interface by
 * which it would leave, 0 when it is for this host.
 */
static __always_inline int judge_forward(host_t *host, __u32 leaves)
{
	struct packet *p = host->packet;
	int forwarded;

	p->fields.word[FIELD_TO_ZONE] =
		leaves ? interface_find(&host->image, host->header, leaves).zone : ZONE_SELF;
	forwarded = nat_forward(host);
	p->fields.word[FIELD_TO_ZONE] = ZONE_UNKNOWN;
	return forwarded;
}

/* May a flow begin with it, and so have its destination translated? */
static __always_inline int forwardable(const struct packet *p)
{
	__u32 state = flow_first_state(p);

	return flow_startable(p) && (state == FLOW_SYN_SENT || state == FLOW_UNREPLIED);
}

/*
 * On arrival. The packet is parsed; j->ifindex, in_ifindex, hook, generation are set, the rest is
 * zero.
 */
static __always_inline void judge_arrive(host_t *host, struct judgement *j)
{
	struct packet *p = host->packet;
	struct image_interface from;
	struct flow_key *key = host_key(host);
	struct found found = { 0 };
	__u32 leaves = 0;
	int forwarded = 0;
	struct flow *counted_in = 0;
	__u64 now = 0;

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
		now = host_now(host);
		flow_find(host, key, &found, now);
		if (found.flow) {
			struct flow *flow = found.flow;
			__u16 here = flow->from_tag, there = flow->to_tag;

			if (found.direction == DIRECTION_REPLY) {
				here = flow->to_tag;
				there = flow->from_tag;
			}
			int stale = here == from.tag && !found.strange &&
				    flow_stale(flow, host_flows_since(host));

			if (stale && host_spoofed(host, j))
				return;
			if (here == from.tag && !found.strange &&
			    (!stale || !host_recheck(host, key, &found))) {
				int translated = flow->flags & FLOW_TRANSLATED;
				int counted = flow_counted(flow, found.direction);
				int forward = there != IMAGE_TAG_SELF &&
					      (found.direction == DIRECTION_ORIGINAL ||
					       (translated && (p->flags & PACKET_FRAGMENT)));

				/*
				 * A fragment has no proof. A flow whose rule sets the mark gets it
				 * at departure, as its first packet did: before routing it could
				 * choose another route.
				 */
				if (forward && ((p->flags & PACKET_FRAGMENT) || (flow->flags & FLOW_MARKS) ||
						counted)) {
					j->outcome = OUTCOME_PASS;
					j->mark = MARK_DEFERRED;
					return;
				}
				if (!counted && !flow_advance(host, key, &found, j, now, 1)) {
					if (translated && host_nat(host)->rewrite)
						translation_apply(host_nat(host), p);
					j->mark = forward ? MARK_DEFERRED : MARK_REPLY;
					if (there == IMAGE_TAG_SELF) {
						j->mark = MARK_SELF;
						if (host->header->flags & IMAGE_INTERCEPTS)
							host_stays(host, key, j, found.direction);
					} else if (translated && host_nat(host)->departs) {
						j->mark = MARK_DEFERRED;
					}
					j->leave_tag = there;
					if (first_fragment(p) && j->outcome == OUTCOME_PASS)
						host_fragment_note(host, j, here, there);
					return;
				}
			}
			if (here == from.tag && found.flow && !found.strange &&
			    flow_counted(flow, found.direction))
				counted_in = flow;
			flow_estrange(host, &found, from.tag, here == from.tag);
		}
	} else if (quotes_flow(p) && host_related(host, j, from.tag, 0)) {
		return;
	}
	if (host_spoofed(host, j))
		return;
	if (p->fields.word[FIELD_FRAGMENT] && host_translates(host))
		host_fragment_translate(host, from.tag);
	/* The first one may have been of an intercepted flow: the routes are not asked then. */
	if (p->fields.word[FIELD_FRAGMENT] && (host->header->flags & IMAGE_INTERCEPTS)) {
		j->to_tag = IMAGE_TAG_SELF;
		j->mark = MARK_SELF;
		j->stays = STAYS;
		if (host_fragment_follow(host, j))
			return;
		j->to_tag = 0;
		j->mark = MARK_NONE;
		j->stays = STAYS_NOT;
	}
	if (!(p->flags & PACKET_GROUP)) {
		if (host_route(host, &leaves) != ROUTE_FORWARD)
			leaves = 0;
		if ((host->header->flags & IMAGE_FORWARDS) && !found.taken && forwardable(p))
			forwarded = host_forward(host, leaves);
		/* Sent as what is translated looks like between the checkpoints: no part of that. */
		if (!forwarded && !found.taken && host_translates(host) && flow_searchable(p)) {
			host_nat(host)->real = *key;
			forwarded = host_nat_taken(host, key) ? -1 : 0;
		}
		if (forwarded < 0) {
			judge_exhausted(host, j);
			return;
		}
		if (forwarded && host_route(host, &leaves) != ROUTE_FORWARD)
			leaves = 0;
	}
	if (leaves && (host->header->flags & IMAGE_INTERCEPTS) && !found.taken && forwardable(p)) {
		switch (host_intercept(host, j, leaves)) {
		case INTERCEPT_HANDED:
			host_rules(host, key, &found, j);
			return;
		case INTERCEPT_NOBODY:
			return;
		}
	}
	if (leaves) {
		j->outcome = OUTCOME_PASS;
		j->mark = MARK_DEFERRED;
		return;
	}
	p->fields.word[FIELD_TO_ZONE] = ZONE_SELF;
	j->to_tag = IMAGE_TAG_SELF;
	j->mark = MARK_SELF;
	if (host_knows_cookies(host)) {
		if (!found.taken)
			begins_by_cookie(host);
		if (p->cookie) {
			found.taken = 0;
			found.replace = 1;
		}
	}
	host_rules(host, key, &found, j);
	flow_count_in(counted_in, p, j, now);
}

/*
 * At departure, for what does not pass by what arrival has decided. j->in_ifindex is the arriving
 * interface, 0 for the host's own packets; `taken_in` says that arrival has taken the packet into
 * the flow of its tuple.
 */
static __always_inline void judge_depart(host_t *host, struct judgement *j, int taken_in)
{
	struct packet *p = host->packet;
	struct image_interface from = { 0, ZONE_SELF, IMAGE_TAG_SELF }, to;
	struct flow_key *key = host_key(host);
	struct found found = { 0 };
	struct flow *counted_in = 0;
	__u64 now = 0;

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
		now = host_now(host);
		flow_find(host, key, &found, now);
		if (found.flow) {
			struct flow *flow = found.flow;
			int agree = found.direction == DIRECTION_ORIGINAL ?
					    flow->from_tag == from.tag && flow->to_tag == to.tag :
					    flow->to_tag == from.tag && flow->from_tag == to.tag;

			agree = agree && !found.strange;
			if (agree && taken_in && !flow_counted(flow, found.direction)) {
				j->outcome = OUTCOME_PASS;
				return;
			}
			if (agree &&
			    (!flow_stale(flow, host_flows_since(host)) ||
			     !host_recheck(host, key, &found)) &&
			    !flow_counted(flow, found.direction) &&
			    !flow_advance(host, key, &found, j, now, 0)) {
				if (first_fragment(p) && j->outcome == OUTCOME_PASS)
					host_fragment_note(host, j, from.tag, to.tag);
				return;
			}
			if (agree && found.flow && flow_counted(flow, found.direction))
				counted_in = flow;
			flow_estrange(host, &found, from.tag, agree);
		}
	} else if (quotes_flow(p) && host_related(host, j, from.tag, to.tag)) {
		return;
	}
	host_rules(host, key, &found, j);
	flow_count_in(counted_in, p, j, now);
}

#endif
