// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The quick way: packets of live flows, which are nearly all there are.
 *
 * On arrival a plain TCP or UDP packet (no options of IP, no fragment, no tags) whose flow is in
 * the table of replied flows is taken in with no more work than that needs: no struct packet is
 * filled, no image is opened. At departure a forwarded packet passes by what arrival has left on
 * it. Anything else (odd, new, over, from elsewhere) is none of the quick way's business: it
 * answers QUICK_NOT_OURS and has changed nothing, and the full way of checkpoint.h begins. So every
 * test here may only be stricter than the full way's, never looser. Translated flows go it too
 * (core/quick_nat.h).
 *
 * The including host header defines, besides what brief.h, proof.h and judge.h ask for:
 *	int host_start(host_t *)		 opens what is below; negative when nothing runs
 *	__u32 host_tag(host_t *, __u32 ifindex)	 zone tag of an interface in the running policy, 0 when it is quicker to look it up in full
 *	int host_scrubs(host_t *, __u32 ifindex)	 does the leaving interface's zone ask for headers to be changed? 1 when it is quicker
 *							 to look it up in full
 *	int host_clamps(host_t *)			 does any zone ask for lower segment sizes?
 *	__u32 host_mark_shift(host_t *)
 *	void host_count_open(host_t *)		 before host_count(); host_open() does it too
 *	__u64 host_now_quick(host_t *)		 as host_now(), and cheaper when asked often
 *	__u32 host_witness(host_t *), const __u64 *host_proof_keys(host_t *)	random, the same for all packets
 */
#ifndef REEVE_CORE_QUICK_H
#define REEVE_CORE_QUICK_H

#include "core/brief.h"
#include "core/judge.h"
#include "core/proof.h"
#include "core/quick_nat.h"

enum quick {
	QUICK_NOT_OURS, /* the full way; nothing has been changed */
	QUICK_PASS,
	QUICK_DROP, /* its headers could not be written */
};

/* Takes the packet into its flow. 0, or negative when it is none of ours. */
static __always_inline int brief_advance(host_t *host, const struct brief *brief, struct flow *flow,
					 __u32 from, __u32 direction)
{
	__u32 next;
	__u64 now;

	host_count_open(host);
	now = host_now_quick(host);
	if (brief_look(host, brief, flow, from, direction, now, &next))
		return -1;
	brief_take(host, brief, flow, next, direction, now);
	return 0;
}

/* Leaves on the packet what departure and the guard look for: mark and tag. */
static __always_inline void brief_leave(host_t *host, host_packet_t *skb, __u32 bits, __u32 tag)
{
	__u32 shift = host_mark_shift(host), mark = (skb->mark & ~(3u << shift)) | bits << shift;

	if (mark != skb->mark)
		skb->mark = mark;
	skb->tc_index = tag ^ host_witness(host);
}

static __always_inline int brief_take_in(host_t *host, host_packet_t *skb,
					 const struct brief *brief, struct flow *flow, __u32 from)
{
	__u32 direction = DIRECTION_ORIGINAL, there = flow->to_tag, tag, bits = MARK_SELF;

	if (brief->sender_high != (flow->flags & FLOW_ORIGIN_HIGH)) {
		direction = DIRECTION_REPLY;
		there = flow->from_tag;
	}
	if (brief_advance(host, brief, flow, from, direction))
		return QUICK_NOT_OURS;
	tag = there;
	if (there != IMAGE_TAG_SELF) {
		bits = direction == DIRECTION_REPLY ? MARK_REPLY : MARK_DEFERRED;
		if (direction == DIRECTION_ORIGINAL) {
			tag |= TAG_ORIGINAL;
			host_set_hash(skb, proof_of_key(&brief->key, brief->sender_high,
							host_proof_keys(host)) |
						   PROOF_TAKEN_IN);
		}
	}
	brief_leave(host, skb, bits, tag);
	return QUICK_PASS;
}

/* The same for a translated flow; `real` is the key of its record. */
static __always_inline int brief_take_in_translated(host_t *host, host_packet_t *skb,
						    __u32 ethernet, const struct brief *brief,
						    const struct flow_key *real, struct flow *flow,
						    __u32 from)
{
	__u32 there, bits = MARK_SELF, tag, reply, source, destination;
	struct brief_ends ends = brief_ends(brief);
	struct brief_rewrite rewrite;
	int direction;

	direction = brief_direction(&ends, real, flow, 1);
	if (direction < 0)
		return QUICK_NOT_OURS;
	reply = direction == DIRECTION_REPLY;
	there = reply ? flow->from_tag : flow->to_tag;
	source = flow->translation.flags & (reply ? TRANSLATED_DESTINATION : TRANSLATED_SOURCE);
	destination = flow->translation.flags &
		      (reply ? TRANSLATED_SOURCE : TRANSLATED_DESTINATION);
	if (brief_advance(host, brief, flow, from, (__u32)direction))
		return QUICK_NOT_OURS;
	/* Where it is not translated, it is what it was. */
	rewrite = brief_rewrite_destination(&ends, real, flow, reply);
	ends.dst = rewrite.address;
	ends.dst_port = rewrite.port;
	tag = there;
	if (there != IMAGE_TAG_SELF) {
		bits = reply && !source ? MARK_REPLY : MARK_DEFERRED;
		/* What is to be rewritten at departure, departure looks up. */
		tag = source ? TAG_DEFERRED : reply ? there : there | TAG_ORIGINAL;
		if (bits == MARK_DEFERRED)
			host_set_hash(skb, proof_of_ends(&ends, brief, host_proof_keys(host)) |
						   PROOF_TAKEN_IN);
	}
	brief_leave(host, skb, bits, tag);
	if (destination && host_rewrite_brief(host, skb, ethernet, brief, &rewrite))
		return QUICK_DROP;
	return QUICK_PASS;
}

/* On arrival. */
static __always_inline enum quick quick_arrive(host_t *host, host_packet_t *skb, __u32 ethernet)
{
	struct flow_key real;
	struct brief brief;
	struct flow *flow;
	__u32 from;

	/*
	 * A device that has moved to another namespace meets no live flow of this one, or does it
	 * no harm: host_foreign() can wait.
	 */
	if (host_start(host) ||
	    (skb->tc_index ^ host_witness(host)) == TAG_ANSWER)
		return QUICK_NOT_OURS;
	from = host_tag(host, skb->ifindex);
	if (!from || brief_read(skb, ethernet, &brief))
		return QUICK_NOT_OURS;
	flow = host_flow_find(host, &brief.key);
	if (flow && !(flow->flags & FLOW_TRANSLATED))
		return brief_take_in(host, skb, &brief, flow, from);
	if (!host_translates(host))
		return QUICK_NOT_OURS;
	if (flow)
		real = brief.key;
	else
		flow = brief_translated(host, &brief, &real);
	if (!flow || !(flow->flags & FLOW_TRANSLATED))
		return QUICK_NOT_OURS;
	return brief_take_in_translated(host, skb, ethernet, &brief, &real, flow, from);
}

/* The proof of the packet as it is now; as proof_of_frame(). */
static __always_inline int quick_proof(host_packet_t *skb, __u32 ethernet, const __u64 *keys,
				       __u32 *proof)
{
	__u32 ethertype = from_be16((be16)skb->protocol), l3 = ethernet ? ETHERNET_HEADER : 0;
	const struct wire_ipv4_ports *v4;
	const struct wire_ipv6_ports *v6;

	if (skb->vlan_present)
		return -1;
	if (ethertype == ETHERTYPE_IPV4) {
		v4 = host_peek(skb, l3, sizeof(*v4));
		return v4 ? proof_of_ipv4(v4, keys, proof) : -1;
	}
	if (ethertype == ETHERTYPE_IPV6) {
		v6 = host_peek(skb, l3, sizeof(*v6));
		return v6 ? proof_of_ipv6(v6, keys, proof) : -1;
	}
	return -1;
}

/* May the packet announce a segment size? At departure; nothing but what is plain is told apart. */
static __always_inline int quick_opening(host_packet_t *skb, __u32 ethernet)
{
	__u32 ethertype = from_be16((be16)skb->protocol), l3 = ethernet ? ETHERNET_HEADER : 0;
	const struct {
		struct wire_ipv4 ip;
		struct wire_tcp tcp;
	} *v4;
	const struct {
		struct wire_ipv6 ip;
		struct wire_tcp tcp;
	} *v6;

	if (skb->vlan_present)
		return 1;
	if (ethertype == ETHERTYPE_IPV4) {
		v4 = host_peek(skb, l3, sizeof(v4->ip));
		if (!v4 || v4->ip.version_ihl != 0x45)
			return 1;
		if (v4->ip.protocol != PROTOCOL_TCP)
			return 0;
		v4 = host_peek(skb, l3, sizeof(*v4));
		return !v4 || (v4->tcp.flags & TCP_SYN);
	}
	if (ethertype == ETHERTYPE_IPV6) {
		v6 = host_peek(skb, l3, sizeof(v6->ip));
		if (v6 && (v6->ip.next == PROTOCOL_UDP || v6->ip.next == PROTOCOL_ICMPV6))
			return 0;
		if (!v6 || v6->ip.next != PROTOCOL_TCP)
			return 1;
		v6 = host_peek(skb, l3, sizeof(*v6));
		return !v6 || (v6->tcp.flags & TCP_SYN);
	}
	return 1;
}

/*
 * A forwarded packet that arrival has taken into a translated flow, for departure to find: its
 * source is written.
 */
static __always_inline enum quick quick_depart_translated(host_t *host, host_packet_t *skb,
							  __u32 ethernet, __u32 to)
{
	__u32 from = host_tag(host, skb->ingress_ifindex), reply;
	struct brief_rewrite rewrite;
	struct brief_ends ends;
	struct flow_key real;
	struct brief brief;
	struct flow *flow;
	int direction;

	if (!from || brief_read(skb, ethernet, &brief))
		return QUICK_NOT_OURS;
	if ((proof_of_key(&brief.key, brief.sender_high, host_proof_keys(host)) | PROOF_TAKEN_IN) !=
	    skb->hash)
		return QUICK_NOT_OURS;
	real = brief.key;
	flow = host_flow_find(host, &brief.key);
	if (!flow)
		flow = brief_translated(host, &brief, &real);
	if (!flow || !(flow->flags & FLOW_TRANSLATED))
		return QUICK_NOT_OURS;
	ends = brief_ends(&brief);
	direction = brief_direction(&ends, &real, flow, 0);
	if (direction < 0)
		return QUICK_NOT_OURS;
	reply = direction == DIRECTION_REPLY;
	if (flow->from_tag != (reply ? to : from) || flow->to_tag != (reply ? from : to) ||
	    !(flow->translation.flags & (reply ? TRANSLATED_DESTINATION : TRANSLATED_SOURCE)))
		return QUICK_NOT_OURS;
	rewrite = brief_rewrite_source(&ends, &real, flow, reply);
	host_count_open(host);
	host_count(host, STAT_DEPARTED);
	return host_rewrite_brief(host, skb, ethernet, &brief, &rewrite) ? QUICK_DROP : QUICK_PASS;
}

/* At departure. */
static __always_inline enum quick quick_depart(host_t *host, host_packet_t *skb, __u32 ethernet)
{
	__u32 tag, zone, proof;

	/* Own packets have no arrival that could have decided. */
	if (!skb->ingress_ifindex || host_start(host))
		return QUICK_NOT_OURS;
	/* Where the device has moved to another namespace nobody has left our witness. */
	tag = skb->tc_index ^ host_witness(host);
	zone = host_tag(host, skb->ifindex);
	if (!zone || host_scrubs(host, skb->ifindex))
		return QUICK_NOT_OURS;
	/* It tells no openings, so there is nothing to clamp. */
	if (tag == TAG_DEFERRED && host_translates(host))
		return quick_depart_translated(host, skb, ethernet, zone);
	if (tag != zone && tag != (zone | TAG_ORIGINAL))
		return QUICK_NOT_OURS;
	if (tag != zone && (quick_proof(skb, ethernet, host_proof_keys(host), &proof) ||
			    (proof | PROOF_TAKEN_IN) != skb->hash))
		return QUICK_NOT_OURS;
	if (host_clamps(host) && quick_opening(skb, ethernet))
		return QUICK_NOT_OURS;
	return QUICK_PASS;
}

#endif
