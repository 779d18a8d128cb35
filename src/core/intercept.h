// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Interception: flows that are handed to a transparent proxy of this host, which sees both original
 * addresses.
 *
 * Nothing in a packet is changed. A flow that would be forwarded, that a rule of WALK_INTERCEPT
 * matches and that the policy allows for the pair it takes (from where it came, to where it would
 * have left), begins on arrival as one that ends here; its record remembers the other zone, by which
 * it is judged again after an apply. The first packet goes to the listener at the rule's target;
 * what follows belongs to the socket that the kernel made of it, whose own tuple is the packet's.
 * Datagrams go to a socket that is connected for their tuple, and to the listener without one.
 *
 * The kernel's routes would send such packets on. So arrival leaves a third bit in the mark
 * (image_intercept_mark()), by which a rule of routing sends them to a table where everything is
 * local. The same bit is needed by answers to a socket of this host that speaks with an address of
 * others (a proxy that keeps the client's): they are known by their flow, which says that they end
 * here, while the routes say that they do not.
 *
 * Where nobody listens, a flow does not begin: its packet is dropped, or goes on as if there was no
 * such rule (TRANSLATE_PASS). First fragments count as having no listener, for the kernel puts a
 * datagram together only when it has found out that it is for this host, and forgets the listener.
 *
 * The including host header defines, besides what nat.h asks for:
 *	int host_socket_own(host_t *)		is there a socket for the packet's own tuple: a connection, or one of UDP that is connected?
 *	int host_socket_listens(host_t *, __u32 hand)	does one listen at host_nat(host)->asked (dst, port)? `hand`: it gets the packet
 * and behind it, as functions of their own or not: host_intercept(), judge_intercept(); host_stays(),
 * flow_stays(); host_hand_over(), hand_over().
 */
#ifndef REEVE_CORE_INTERCEPT_H
#define REEVE_CORE_INTERCEPT_H

#include "core/nat.h"

static int host_socket_own(host_t *host);
static int host_socket_listens(host_t *host, __u32 hand);
static int host_intercept(host_t *host, struct judgement *j, __u32 leaves);
static void host_stays(host_t *host, const struct flow_key *key, struct judgement *j, __u32 reply);
static int host_hand_over(host_t *host, struct judgement *j);

enum intercepted {
	INTERCEPT_NOT,	  /* it is forwarded */
	INTERCEPT_NOBODY, /* it is dropped, as *j says */
	INTERCEPT_HANDED, /* the rules are to be asked; then it stays */
};

/* The target of the rule that matches the packet, by the zones in its fields; or NULL. */
static __always_inline const struct image_translation *intercept_target(host_t *host, __u32 *number)
{
	const struct image_translation *target;
	const struct image_rule *rule = 0;

	*number = host_find(host, 0, WALK_INTERCEPT, 0);
	if (*number != RULE_NONE)
		rule = host_image_rule(host, *number);
	if (!rule || rule->action != ACTION_TRANSLATE)
		return 0;
	target = host_translation(host, rule->mark_value);
	return target && target->kind == TRANSLATE_INTERCEPT ? target : 0;
}

/* Notes the target for host_socket_listens(). */
static __always_inline void target_note(host_t *host, const struct image_translation *target)
{
	address_copy(host_nat(host)->asked.dst, target->lo);
	host_nat(host)->asked.port = target->port_lo;
}

static __always_inline void judge_no_listener(host_t *host, struct judgement *j)
{
	host->packet->sanity = SANITY_NO_LISTENER;
	j->outcome = OUTCOME_DROP;
	j->by = BY_SANITY;
	host_count(host, STAT_NO_LISTENER);
	host_event(host, EVENT_DROP, j);
}

/* A flow may begin with the packet, which would leave by this interface: is it intercepted? */
static __always_inline int judge_intercept(host_t *host, struct judgement *j, __u32 leaves)
{
	struct image_interface to = interface_find(&host->image, host->header, leaves);
	const struct image_translation *target;
	struct packet *p = host->packet;
	__u32 number, pass;

	p->fields.word[FIELD_TO_ZONE] = to.zone;
	target = intercept_target(host, &number);
	if (target) {
		pass = target->flags & TRANSLATE_PASS;
		target_note(host, target);
		if (!(p->flags & PACKET_FRAGMENT) &&
		    (host_socket_own(host) || host_socket_listens(host, 0))) {
			host_nat(host)->rule = number;
			j->mark = MARK_SELF;
			j->to_tag = IMAGE_TAG_SELF;
			j->toward = to.tag;
			j->stays = STAYS_FROM_NOW;
			return INTERCEPT_HANDED;
		}
		if (!pass) {
			judge_no_listener(host, j);
			return INTERCEPT_NOBODY;
		}
		host_count(host, STAT_INTERCEPT_PASSED);
	}
	p->fields.word[FIELD_TO_ZONE] = ZONE_UNKNOWN;
	return INTERCEPT_NOT;
}

/*
 * A packet of a live flow ends here: notes whether the routes have to be told. `reply`: it answers
 * a flow that this host began, which is looked at as long as that has not been answered before.
 */
static __always_inline void flow_stays(host_t *host, const struct flow_key *key,
				       struct judgement *j, __u32 reply)
{
	struct flow *flow = host_flow_find(host, key);
	__u32 leaves;

	if (flow)
		reply = 0;
	else
		flow = host_embryonic_find(host, key);
	if (!flow || !(flow->translation.flags & TRANSLATION_STAYS)) {
		if (!reply || host_route(host, &leaves) != ROUTE_FORWARD)
			return;
		if (flow) {
			flow->translation.flags |= TRANSLATION_STAYS;
			flow->flags |= FLOW_MARKS;
		}
	}
	j->stays = STAYS;
	j->toward = flow ? flow->translation.toward : 0;
}

/*
 * The packet is let pass, and stays: sees to it that a socket gets it. Non-zero: nobody does, and it
 * is dropped.
 */
static __always_inline int hand_over(host_t *host, struct judgement *j)
{
	const struct image_translation *target;
	struct packet *p = host->packet;
	__u32 number, pass = 0;

	if (j->stays == STAYS_FROM_NOW) {
		host_count_rule(host, host_nat(host)->rule);
		host_count(host, STAT_INTERCEPTED);
	}
	/* A segment without any socket the kernel answers with a reset. */
	if (!j->toward || !(p->flags & PACKET_PORTS) || p->fields.word[FIELD_FRAGMENT] ||
	    host_socket_own(host))
		return 0;
	p->fields.word[FIELD_TO_ZONE] = host_zone(host, j->toward);
	target = p->fields.word[FIELD_TO_ZONE] == ZONE_UNKNOWN ? 0 : intercept_target(host, &number);
	if (target) {
		pass = target->flags & TRANSLATE_PASS;
		target_note(host, target);
		if (host_socket_listens(host, 1))
			return 0;
	}
	if (p->fields.word[FIELD_PROTOCOL] == PROTOCOL_TCP)
		return 0;
	if (!pass) {
		judge_no_listener(host, j);
		return -1;
	}
	/* Departure judges it anew, and begins a flow in place of this one. */
	host_count(host, STAT_INTERCEPT_PASSED);
	j->stays = STAYS_NOT;
	j->leave_tag = 0;
	j->mark = MARK_DEFERRED;
	return 0;
}

#endif
