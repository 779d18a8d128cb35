// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Translation of addresses and ports (NAT).
 *
 * A flow has two tuples: O = (S, D) as its originator sends, and T = (S', D') as its responder sees
 * it. Arrival rewrites destinations and departure rewrites sources, in both directions, so that
 * the kernel's routes see the real destination and the real source:
 *
 *	original	arrives (S, D)	 between the checkpoints (S, D')   leaves (S', D')
 *	reply		arrives (D', S') between the checkpoints (D', S)   leaves (D, S)
 *
 * M = (S, D') is the tuple between the checkpoints, and the one that the rules see: a translated
 * packet meets the policy of the pair that it really takes, with the translated destination.
 *
 * The record lies under the key of O. The keys of T, and of M where it is neither, lead to it
 * through the table of translated tuples. An entry of that table whose record is gone, or has
 * another translation, is stale: it counts as free.
 *
 * A destination is chosen on arrival, before the flow exists: until departure makes it, O's
 * destination is remembered under M (struct pending). Which of several targets a flow gets is a
 * keyed hash of its ends, so that a retransmission gets the same. A flow that begins anew because
 * its route has changed has it from the flow before.
 *
 * A source keeps its port if T is free, otherwise a random one of the pool is looked for (RFC 6056,
 * 3.3.1), PORT_TRIES times. T's key is claimed in the table before the flow is made: it is added if
 * it is not there, and a stale entry changes its owner by one atomic exchange of the time at which
 * it was claimed. So no two flows share a reply tuple, whichever CPUs they begin on. Protocols without
 * ports, and SCTP whose checksum covers them (RFC 9260), keep theirs; there T is free or the flow
 * does not begin.
 *
 * The including host header defines, besides what judge.h asks for:
 *	struct nat_room *host_nat(host_t *)		  working memory of this packet, see there
 *	int host_translates(host_t *)			  are there, or may there be, translated flows?
 *	struct translated_tuple *host_translated_find(host_t *, const struct flow_key *)	  in the table, or NULL
 *	int host_translated_add(host_t *, const struct flow_key *, const struct translated_tuple *)	  negative when it is there already
 *	int host_swap(__u64 *word, __u64 old, __u64 new)  atomic; 1: `word` was `old` and is `new`
 *	const struct pending *host_pending_find(host_t *, const struct flow_key *)
 *	void host_pending_put(host_t *, const struct flow_key *, const struct pending *)   may be lost
 *	const struct image_translation *host_translation(host_t *, __u32 number)	  or NULL
 *	__u32 host_random32(host_t *)
 *	void host_own_address(host_t *)			  the leaving interface's into host_nat(host)->own, if it has one
 * and behind it, as functions of their own or not: host_nat_tuples(), host_nat_source(), host_nat_taken(), host_nat_key(), host_nat_take(),
 * host_nat_middle(), which are the functions here without `host_`, and
 *	void host_port_search(host_t *)			  runs port_search_step() at most PORT_TRIES times
 */
#ifndef REEVE_CORE_NAT_H
#define REEVE_CORE_NAT_H

#include "core/ask.h"
#include "core/nat_record.h"
#include "core/proof.h"
#include "core/track.h"

#define PORT_TRIES 512u
#define PORT_POOL_LO 1024u
#define PORT_POOL_HI 65535u
#define PENDING_LIFETIME (30 * SECOND)

static int host_nat_tuples(host_t *host, struct flow_key *key);
static void host_own_address(host_t *host);
static int host_nat_source(host_t *host, const struct judgement *j);
static int host_nat_taken(host_t *host, const struct flow_key *key);
static int host_nat_key(host_t *host);
static int host_nat_take(host_t *host);
static int host_nat_middle(host_t *host, const struct flow_key *key);
static void host_port_search(host_t *host);
static __u32 host_find(host_t *host, struct judgement *j, enum walk_kind kind, __u32 taken);

static __always_inline int address_same(const __u32 *a, const __u32 *b)
{
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

static __always_inline void address_copy(__u32 *to, const __u32 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}

static __always_inline void nat_reset(struct nat_room *nat)
{
	nat->rewrite = REWRITE_NOTHING;
	nat->departs = 0;
	nat->quoted = 0;
	nat->own_known = 0;
}

static __always_inline __u32 packet_src_port(const struct packet *p)
{
	return p->flags & PACKET_PORTS ? p->fields.word[FIELD_SRC_PORT] : p->echo_id;
}

static __always_inline __u32 packet_dst_port(const struct packet *p)
{
	return p->flags & PACKET_PORTS ? p->fields.word[FIELD_DST_PORT] : p->echo_id;
}

static __always_inline const __u32 *flow_origin(const struct flow_key *key, const struct flow *flow)
{
	return flow->flags & FLOW_ORIGIN_HIGH ? key->high : key->low;
}

static __always_inline const __u32 *flow_target(const struct flow_key *key, const struct flow *flow)
{
	return flow->flags & FLOW_ORIGIN_HIGH ? key->low : key->high;
}

static __always_inline __u32 flow_origin_port(const struct flow_key *key, const struct flow *flow)
{
	return flow->flags & FLOW_ORIGIN_HIGH ? key->high_port : key->low_port;
}

static __always_inline __u32 flow_target_port(const struct flow_key *key, const struct flow *flow)
{
	return flow->flags & FLOW_ORIGIN_HIGH ? key->low_port : key->high_port;
}

/*
 * Of which direction of the translated flow with the key O is the packet, at this checkpoint?
 * Negative when of neither.
 */
static __always_inline int translated_direction(const struct packet *p, const struct flow_key *key,
						const struct flow *flow)
{
	const __u32 *src = &p->fields.word[FIELD_SRC], *dst = &p->fields.word[FIELD_DST];
	__u32 src_port = packet_src_port(p), dst_port = packet_dst_port(p);
	__u32 ports = p->flags & PACKET_PORTS, arriving = p->flags & PACKET_ARRIVING;
	const struct translation *to = &flow->translation;

	/* An echo has one identifier, the sender's at that place. */
	if (address_same(src, flow_origin(key, flow)) && src_port == flow_origin_port(key, flow) &&
	    address_same(dst, arriving ? flow_target(key, flow) : to->dst) &&
	    (!ports || dst_port == (arriving ? flow_target_port(key, flow) : to->dst_port)))
		return DIRECTION_ORIGINAL;
	if (address_same(src, to->dst) && (!ports || src_port == to->dst_port) &&
	    address_same(dst, arriving ? to->src : flow_origin(key, flow)) &&
	    dst_port == (arriving ? to->src_port : flow_origin_port(key, flow)))
		return DIRECTION_REPLY;
	return -1;
}

/* Notes what is to be rewritten in a packet of a translated flow. */
static __always_inline void translation_note(struct nat_room *nat, const struct packet *p,
					     const struct flow_key *key, const struct flow *flow,
					     __u32 direction)
{
	__u32 reply = direction == DIRECTION_REPLY, flags = flow->translation.flags;
	__u32 source = reply ? flags & TRANSLATED_DESTINATION : flags & TRANSLATED_SOURCE;
	__u32 destination = reply ? flags & TRANSLATED_SOURCE : flags & TRANSLATED_DESTINATION;

	if (p->flags & PACKET_ARRIVING) {
		nat->departs = source;
		if (!destination)
			return;
		nat->rewrite = REWRITE_DESTINATION;
		address_copy(nat->old, &p->fields.word[FIELD_DST]);
		address_copy(nat->address, reply ? flow_origin(key, flow) : flow->translation.dst);
		nat->port = reply ? flow_origin_port(key, flow) : flow->translation.dst_port;
		return;
	}
	if (!source)
		return;
	nat->rewrite = REWRITE_SOURCE;
	address_copy(nat->address, reply ? flow_target(key, flow) : flow->translation.src);
	nat->port = reply ? flow_target_port(key, flow) : flow->translation.src_port;
}

/* Where the checksum of the transport is behind its header's start; 0: it has none that needs care. */
static __always_inline __u32 checksum_offset(const struct packet *p)
{
	switch (p->fields.word[FIELD_PROTOCOL]) {
	case PROTOCOL_TCP:
		return 16;
	case PROTOCOL_UDP:
	case PROTOCOL_UDPLITE:
	case PROTOCOL_DCCP:
		return 6;
	case PROTOCOL_ICMPV6:
		return 2;
	case PROTOCOL_ICMP:
		return 2; /* of identifiers alone: it covers no addresses */
	}
	return 0;
}

/* The packet's fields as they are once it is rewritten. */
static __always_inline void translation_apply(struct nat_room *nat, struct packet *p)
{
	__u32 source = nat->rewrite == REWRITE_SOURCE;

	if (nat->quoted && !nat->outer)
		return;
	address_copy(&p->fields.word[source ? FIELD_SRC : FIELD_DST], nat->address);
	if (p->flags & PACKET_PORTS)
		p->fields.word[source ? FIELD_SRC_PORT : FIELD_DST_PORT] = nat->port;
	else if (p->flags & (PACKET_ECHO_REQUEST | PACKET_ECHO_REPLY))
		p->echo_id = (__u16)nat->port;
}

/* Is it the key of the tuple between these ends? */
static __always_inline int key_is(const struct flow_key *key, const __u32 *a, __u32 a_port,
				  const __u32 *b, __u32 b_port)
{
	if (key->low_port == a_port && key->high_port == b_port && address_same(key->low, a) &&
	    address_same(key->high, b))
		return 1;
	return key->low_port == b_port && key->high_port == a_port &&
	       address_same(key->low, b) && address_same(key->high, a);
}

static __always_inline int protocol_echoes(__u32 protocol)
{
	return protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6;
}

/*
 * Is the entry of a translated tuple alive: does its record still lead there, as T or M, or may it
 * be in the making?
 */
static __always_inline int translated_live(host_t *host, const struct flow_key *key,
					   const struct translated_tuple *entry, __u64 now)
{
	const struct flow_key *real = &entry->real;
	struct flow *flow = host_flow_find(host, real);
	const struct translation *to;
	__u32 port;

	if (translated_young(entry, now))
		return 1;
	if (!flow)
		flow = host_embryonic_find(host, real);
	if (!flow || flow_expired(flow, now) || !(flow->flags & FLOW_TRANSLATED))
		return 0;
	to = &flow->translation;
	if (key_is(key, to->src, to->src_port, to->dst, to->dst_port))
		return 1;
	port = flow_origin_port(real, flow);
	return key_is(key, flow_origin(real, flow), port, to->dst,
		      protocol_echoes(key->protocol) ? port : to->dst_port);
}

/*
 * T's key but for the ports. Negative where both ends have one address: their order would depend on
 * the ports, and nobody talks to himself through a translation.
 */
static __always_inline int nat_key(host_t *host)
{
	struct nat_room *nat = host_nat(host);

	nat->key_high = flow_key_order(&nat->key, nat->to.src, nat->to.dst, 0, 0,
				       nat->real.protocol, nat->real.family);
	return address_same(nat->to.src, nat->to.dst) ? -1 : 0;
}

static __always_inline int flow_key_same(const struct flow_key *a, const struct flow_key *b)
{
	return address_same(a->low, b->low) && address_same(a->high, b->high) &&
	       a->low_port == b->low_port && a->high_port == b->high_port &&
	       a->protocol == b->protocol && a->family == b->family;
}

/* Has the key for the record nat->real, which is about to be made. 1, or 0 when it is another's. */
static __always_inline int translated_claim(host_t *host, const struct flow_key *key)
{
	struct translated_tuple *entry = host_translated_find(host, key);
	struct nat_room *nat = host_nat(host);
	__u64 now = host_now(host), claimed;

	if (!entry) {
		nat->claim.real = nat->real;
		nat->claim.claimed = now;
		return !host_translated_add(host, key, &nat->claim);
	}
	claimed = *(volatile __u64 *)&entry->claimed;
	if (claimed == TRANSLATED_GOING)
		return 0;
	/* What leads to the same record was claimed for this flow, if not for one before it. */
	if (!flow_key_same(&entry->real, &nat->real) && translated_live(host, key, entry, now))
		return 0;
	if (!host_swap(&entry->claimed, claimed, now))
		return 0;
	entry->real = nat->real;
	return 1;
}

/* Has a flow this tuple by itself? */
static __always_inline int tuple_has_flow(host_t *host, const struct flow_key *key)
{
	__u64 now = host_now(host);
	struct flow *flow = host_flow_find(host, key);

	if (flow && !flow_expired(flow, now))
		return 1;
	flow = host_embryonic_find(host, key);
	return flow && !flow_expired(flow, now);
}

/*
 * Takes T's key if it is free. 1: it is ours. A flow that is not translated makes its record and
 * then looks whether its tuple is claimed; here it is claimed first: one of both sees the other.
 */
static __always_inline int nat_take(host_t *host)
{
	struct nat_room *nat = host_nat(host);

	nat->key.low_port = nat->key_high ? nat->to.dst_port : nat->to.src_port;
	nat->key.high_port = nat->key_high ? nat->to.src_port : nat->to.dst_port;
	return !tuple_has_flow(host, &nat->key) && translated_claim(host, &nat->key) &&
	       !tuple_has_flow(host, &nat->key);
}

/* One try of the search for a source port with which T is free. Non-zero when it is over. */
static __always_inline int port_search_step(host_t *host)
{
	struct nat_room *nat = host_nat(host);
	__u64 random = host_random32(host);
	__u32 port = nat->port_lo + (__u32)(random * (nat->port_span + 1) >> 32);

	nat->to.src_port = (__u16)port;
	if (protocol_echoes(nat->real.protocol))
		nat->to.dst_port = (__u16)port;
	nat->found = (__u32)nat_take(host);
	return (int)nat->found;
}

/*
 * An address whose prefix was exchanged gets back the checksum that it had (RFC 6296): the difference
 * of the prefixes is added to the word behind /48 (3.4), or behind longer ones to the first word of
 * the interface identifier that is not all ones (3.5).
 */
static __always_inline void prefix_keep_checksum(const struct image_translation *entry,
						 __u32 *address)
{
	__u32 first = entry->prefix <= 48 ? 3 : entry->prefix <= 64 ? 4 : (entry->prefix + 15u) / 16;
	__u32 difference = 0, done = 0, word, i;

#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++)
		difference += (entry->from_lo[i] >> 16) + (entry->from_lo[i] & 0xffff) +
			      (~entry->lo[i] >> 16) + (~entry->lo[i] & 0xffff);
	difference = (difference & 0xffff) + (difference >> 16);
#pragma clang loop unroll(full)
	for (word = 3; word < 8; word++) {
		__u32 shift = word & 1 ? 0 : 16, value = address[word / 2] >> shift & 0xffff;

		if (done || word < first || (word > 3 && word < 7 && value == 0xffff))
			continue;
		value += difference;
		value = (value & 0xffff) + (value >> 16);
		value = (value & 0xffff) + (value >> 16);
		address[word / 2] &= ~(0xffffu << shift);
		address[word / 2] |= (value == 0xffff ? 0 : value) << shift;
		done = 1;
	}
}

/* An address of the range, the same for the same `hash`. */
static __always_inline void translation_address(const struct image_translation *entry,
						const __u32 *old, __u32 hash, __u32 *address)
{
	__u32 last = entry->family == 6 ? 3 : 0, span = entry->hi[last] - entry->lo[last], i;

	/* A range of IPv6 addresses across more than the last word: as far as that goes. */
	if (last && ((entry->lo[0] ^ entry->hi[0]) | (entry->lo[1] ^ entry->hi[1]) |
		     (entry->lo[2] ^ entry->hi[2])))
		span = ~entry->lo[3];
	address_copy(address, entry->lo);
	if (entry->flags & TRANSLATE_PREFIX) {
#pragma clang loop unroll(full)
		for (i = 0; i < 4; i++) {
			__u32 bits = entry->prefix > i * 32 ? entry->prefix - i * 32 : 0;
			__u32 mask = bits >= 32 ? ~0u : bits ? ~0u << (32 - bits) : 0;

			address[i] = (entry->lo[i] & mask) | (old[i] & ~mask);
		}
		if (entry->family == 4)
			address[1] = address[2] = address[3] = 0;
		else
			prefix_keep_checksum(entry, address);
		return;
	}
	hash = (__u32)((__u64)hash * ((__u64)span + 1) >> 32);
	if (last)
		address[3] = entry->lo[3] + hash;
	else
		address[0] = entry->lo[0] + hash;
}

/*
 * A packet without a flow arrives, and its zones are in its fields: which translation of its
 * destination is it about? If one, its fields are translated, what is to be rewritten is noted,
 * and its destination remembered. 1, or 0 when there is none.
 */
static __always_inline int nat_forward(host_t *host)
{
	struct nat_room *nat = host_nat(host);
	const struct image_translation *entry;
	const struct image_rule *rule;
	struct packet *p = host->packet;
	__u32 number, hash, old_port;

	number = host_find(host, 0, WALK_FORWARD, 0);
	rule = number == RULE_NONE ? 0 : host_image_rule(host, number);
	if (!rule || rule->action != ACTION_TRANSLATE)
		return 0;
	entry = host_translation(host, rule->mark_value);
	if (!entry)
		return 0;
	hash = proof_of(&p->fields.word[FIELD_SRC], &p->fields.word[FIELD_DST], 4,
			packet_src_port(p), p->fields.word[FIELD_PROTOCOL], host_proof_keys(host));
	if (entry->n > 1) {
		entry = host_translation(host, rule->mark_value +
						       (__u32)((__u64)hash * entry->n >> 32));
		if (!entry)
			return 0;
		hash *= 0x9e3779b1u;
	}
	old_port = packet_dst_port(p);
	nat->pending.seen = host_now(host);
	address_copy(nat->pending.dst, &p->fields.word[FIELD_DST]);
	nat->pending.port = (__u16)old_port;
	translation_address(entry, nat->pending.dst, hash, nat->address);
	nat->port = old_port;
	if (entry->flags & TRANSLATE_PORTS)
		nat->port = entry->port_lo == entry->port_hi ?
				    entry->port_lo :
				    (entry->port_lo + (old_port - entry->match_port_lo)) & 0xffff;
	nat->rewrite = REWRITE_DESTINATION;
	address_copy(nat->old, nat->pending.dst);
	host_count_rule(host, number);
	translation_apply(nat, p);
	flow_key_make(p, &nat->key);
	host_pending_put(host, &nat->key, &nat->pending);
	return 1;
}

/* The source of a flow that begins at departure, by the rule of NAT that matches it. 0: it stays; 1: in nat->to; negative: it has none. */
static __always_inline int nat_source(host_t *host, const struct judgement *j)
{
	struct nat_room *nat = host_nat(host);
	const struct image_translation *entry = 0;
	const struct image_rule *rule = 0;
	struct packet *p = host->packet;
	__u32 number = nat->rule, hash;

	if (number != RULE_NONE)
		rule = host_image_rule(host, number);
	if (rule && rule->action == ACTION_TRANSLATE)
		entry = host_translation(host, rule->mark_value);
	if (entry)
		host_count_rule(host, number);
	if (entry && entry->port_lo) {
		nat->port_lo = entry->port_lo;
		nat->port_span = (__u32)entry->port_hi - entry->port_lo;
	}
	if (entry && entry->kind == TRANSLATE_SOURCE) {
		/* By its source alone: a host keeps its address (RFC 4787, 4.1). */
		hash = proof_of(&p->fields.word[FIELD_SRC], &p->fields.word[FIELD_SRC], 4, 0, 0,
				host_proof_keys(host));
		translation_address(entry, &p->fields.word[FIELD_SRC], hash, nat->to.src);
		return 1;
	}
	/* A forwarded one that goes back where it came from is answered through here only so. */
	if (!entry && !((nat->to.flags & TRANSLATED_DESTINATION) && j->in_ifindex == j->ifindex))
		return 0;
	if (!nat->own_known)
		return -1;
	address_copy(nat->to.src, nat->own);
	return 1;
}

/* May its source port be another than it chose? */
static __always_inline int port_free(const struct packet *p)
{
	__u32 protocol = p->fields.word[FIELD_PROTOCOL];

	return protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP ||
	       protocol == PROTOCOL_UDPLITE ||
	       (p->flags & (PACKET_ECHO_REQUEST | PACKET_ECHO_REPLY));
}

/*
 * The flow that the new one replaces, if its destination was translated: nat->real is the key of
 * its record. NULL: there is none. `key` is that of M.
 */
static __always_inline struct flow *nat_before(host_t *host, const struct flow_key *key)
{
	const struct translated_tuple *entry = host_translated_find(host, key);
	struct nat_room *nat = host_nat(host);
	struct flow *flow;

	if (!nat->replace || !entry)
		return 0;
	nat->real = entry->real;
	flow = host_flow_find(host, &nat->real);
	if (!flow || !(flow->flags & FLOW_TRANSLATED) ||
	    !(flow->translation.flags & TRANSLATED_DESTINATION) ||
	    !address_same(flow->translation.dst, nat->to.dst))
		return 0;
	return flow;
}

/*
 * The tuples of a flow that is about to begin, before its source is translated. *key becomes that of
 * the packet. 0, or negative when a live connection has its tuple.
 */
static __always_inline int nat_tuples(host_t *host, struct flow_key *key)
{
	struct nat_room *nat = host_nat(host);
	const struct pending *pending;
	struct packet *p = host->packet;
	__u64 now = host_now(host);
	struct flow *flow;

	/* It was that of a record, if the packet has been looked for among translated flows. */
	flow_key_make(p, key);
	pending = host_pending_find(host, key);
	nat->found = 0;
	nat->port_lo = PORT_POOL_LO;
	nat->port_span = PORT_POOL_HI - PORT_POOL_LO;
	__builtin_memset(&nat->to, 0, sizeof(nat->to));
	address_copy(nat->to.src, &p->fields.word[FIELD_SRC]);
	address_copy(nat->to.dst, &p->fields.word[FIELD_DST]);
	nat->to.src_port = (__u16)packet_src_port(p);
	nat->to.dst_port = (__u16)packet_dst_port(p);
	if (pending && now - pending->seen < PENDING_LIFETIME) {
		nat->to.flags = TRANSLATED_DESTINATION;
		nat->real_high = flow_key_order(&nat->real, nat->to.src, pending->dst,
						nat->to.src_port, pending->port, key->protocol,
						key->family);
	} else if ((flow = nat_before(host, key))) {
		nat->to.flags = TRANSLATED_DESTINATION;
		nat->real_high = flow->flags & FLOW_ORIGIN_HIGH;
	} else {
		nat->real_high = (__u32)flow_key_make(p, &nat->real);
	}
	flow = host_flow_find(host, &nat->real);
	if (!flow || flow_expired(flow, now))
		return 0;
	/* One that is over may be replaced, and one whose originator's route has changed. */
	if (!nat->replace && (flow->protocol != PROTOCOL_TCP || flow->state < FLOW_TIME_WAIT))
		return -1;
	host_flow_delete(host, &nat->real);
	return 0;
}

/* Is the key of a tuple that of another flow's translation? */
static __always_inline int nat_taken(host_t *host, const struct flow_key *key)
{
	const struct translated_tuple *entry = host_translated_find(host, key);

	return entry && !flow_key_same(&entry->real, &host_nat(host)->real) &&
	       translated_live(host, key, entry, host_now(host));
}

/*
 * Leads M, the packet's own tuple, to the record. 0, or negative when it is another flow's: T's entry
 * ages then.
 */
static __always_inline int nat_middle(host_t *host, const struct flow_key *key)
{
	return translated_claim(host, key) ? 0 : -1;
}

/*
 * The flow of this packet is about to begin, `key` is that of its tuple: how is it translated? 0:
 * it is not. 1: as nat->to says, nat->real is the key of the record, nat->real_high says where its
 * originator is, and the other tuples lead to it already. Negative: it cannot be.
 */
static __always_inline int nat_begin(host_t *host, struct flow_key *key,
				     const struct judgement *j)
{
	struct nat_room *nat = host_nat(host);
	int source = 0, free = port_free(host->packet);

	if (host_nat_tuples(host, key))
		return -1;
	if (j->hook == HOOK_DEPART && (host->header->flags & (IMAGE_FORWARDS | IMAGE_SOURCES))) {
		host_own_address(host);
		nat->rule = host->header->flags & IMAGE_SOURCES ?
				    host_find(host, 0, WALK_SOURCE, 0) : RULE_NONE;
		source = host_nat_source(host, j);
	}
	if (source < 0)
		return -1;
	if (source)
		nat->to.flags |= TRANSLATED_SOURCE;
	/* Its own tuple may be the T of another flow: departure can give it another port. */
	if (!nat->to.flags && !host_nat_taken(host, key))
		return 0;
	if (host_nat_key(host))
		return -1;
	if (!source || !free || nat->to.src_port - nat->port_lo <= nat->port_span)
		nat->found = (__u32)host_nat_take(host);
	if (!nat->found) {
		if (j->hook != HOOK_DEPART || !free)
			return -1;
		nat->to.flags |= TRANSLATED_SOURCE;
		host_port_search(host);
		if (!nat->found)
			return -1;
	}
	if (nat->to.flags == (TRANSLATED_SOURCE | TRANSLATED_DESTINATION) &&
	    host_nat_middle(host, key))
		return -1;
	if (nat->to.flags & TRANSLATED_SOURCE) {
		nat->rewrite = REWRITE_SOURCE;
		address_copy(nat->address, nat->to.src);
		nat->port = nat->to.src_port;
	}
	return 1;
}

/* The packet's fields become those that the rules saw when its flow began; and as they were. */
static __always_inline void nat_as_judged(struct nat_room *nat, struct packet *p,
					  const struct flow_key *key, const struct flow *flow,
					  __u32 original_type)
{
	__u32 *word = p->fields.word;

	address_copy(nat->asked_src, &word[FIELD_SRC]);
	address_copy(nat->asked.dst, &word[FIELD_DST]);
	nat->asked_src_port = word[FIELD_SRC_PORT];
	nat->asked.port = (__u16)word[FIELD_DST_PORT];
	address_copy(&word[FIELD_SRC], flow_origin(key, flow));
	address_copy(&word[FIELD_DST], flow->translation.dst);
	if (p->flags & PACKET_PORTS) {
		word[FIELD_SRC_PORT] = flow_origin_port(key, flow);
		word[FIELD_DST_PORT] = flow->translation.dst_port;
	} else if (original_type) {
		word[FIELD_DST_PORT] = original_type;
	}
}

static __always_inline void nat_as_it_is(const struct nat_room *nat, struct packet *p)
{
	__u32 *word = p->fields.word;

	address_copy(&word[FIELD_SRC], nat->asked_src);
	address_copy(&word[FIELD_DST], nat->asked.dst);
	word[FIELD_SRC_PORT] = nat->asked_src_port;
	word[FIELD_DST_PORT] = nat->asked.port;
}

#endif
