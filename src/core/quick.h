// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The quick way: packets of live flows, which are nearly all there are.
 *
 * On arrival a plain TCP or UDP packet (no options of IP, no fragment, no tags) whose flow is in
 * the table of replied flows is taken in with no more work than that needs: no struct packet is
 * filled, no image is opened. At departure a forwarded packet passes by what arrival has left on
 * it. Anything else (odd, new, over, from elsewhere) is none of the quick way's business: it
 * answers 0 and has changed nothing, and the full way of checkpoint.h begins. So every test here
 * may only be stricter than the full way's, never looser.
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

/*
 * Takes the packet in and leaves on it what departure and the guard look for. 1, or 0 when it is
 * none of ours.
 */
static __always_inline int brief_take_in(host_t *host, host_packet_t *skb, struct brief *brief,
					 struct flow *flow, __u32 from)
{
	__u32 tag, mark, shift = host_mark_shift(host), bits = MARK_SELF;
	struct brief_step step;
	__u64 now;

	host_count_open(host);
	now = host_now_quick(host);
	if (brief_look(host, brief, flow, from, now, &step))
		return 0;
	brief_take(brief, flow, &step, now);
	tag = step.there;
	if (tag != IMAGE_TAG_SELF) {
		bits = step.direction == DIRECTION_REPLY ? MARK_REPLY : MARK_DEFERRED;
		if (step.direction == DIRECTION_ORIGINAL) {
			tag |= TAG_ORIGINAL;
			host_set_hash(skb, proof_of_key(&brief->key, brief->sender_high,
							host_proof_keys(host)) |
						   PROOF_TAKEN_IN);
		}
	}
	mark = (skb->mark & ~(3u << shift)) | bits << shift;
	if (mark != skb->mark)
		skb->mark = mark;
	skb->tc_index = tag ^ host_witness(host);
	host_count(host, STAT_ARRIVED);
	host_count(host, STAT_BY_FLOW);
	return 1;
}

/* 1: the packet goes on, all is done. 0: the full way. */
static __always_inline int quick_arrive(host_t *host, host_packet_t *skb, __u32 ethernet)
{
	struct brief brief;
	struct flow *flow;
	__u32 from;

	/*
	 * A device that has moved to another namespace meets no live flow of this one, or does it
	 * no harm: host_foreign() can wait.
	 */
	if (host_start(host) ||
	    (skb->tc_index ^ host_witness(host)) == TAG_ANSWER)
		return 0;
	from = host_tag(host, skb->ifindex);
	if (!from || brief_read(skb, ethernet, &brief))
		return 0;
	flow = host_flow_find(host, &brief.key);
	return flow ? brief_take_in(host, skb, &brief, flow, from) : 0;
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

/* The same at departure. */
static __always_inline int quick_depart(host_t *host, host_packet_t *skb, __u32 ethernet)
{
	__u32 tag, zone, proof;

	/* Own packets have no arrival that could have decided. */
	if (!skb->ingress_ifindex || host_start(host))
		return 0;
	/* Where the device has moved to another namespace nobody has left our witness. */
	tag = skb->tc_index ^ host_witness(host);
	zone = host_tag(host, skb->ifindex);
	if (!zone || (tag != zone && tag != (zone | TAG_ORIGINAL)))
		return 0;
	if (tag != zone && (quick_proof(skb, ethernet, host_proof_keys(host), &proof) ||
			    (proof | PROOF_TAKEN_IN) != skb->hash))
		return 0;
	if (host_scrubs(host, skb->ifindex) || (host_clamps(host) && quick_opening(skb, ethernet)))
		return 0;
	return 1;
}

#endif
