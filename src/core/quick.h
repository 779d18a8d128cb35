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
 * The including host header defines, besides what proof.h and judge.h ask for:
 *	int host_start(host_t *)		 opens what is below; negative when nothing runs
 *	__u32 host_tag(host_t *, __u32 ifindex)	 zone tag of an interface in the running policy, 0 when it is quicker to look it up in full
 *	int host_scrubs(host_t *, __u32 ifindex)	 does the leaving interface's zone ask for headers to be changed? 1 when it is quicker
 *							 to look it up in full
 *	int host_clamps(host_t *)			 does any zone ask for lower segment sizes?
 *	__u32 host_mark_shift(host_t *)
 *	void host_count_open(host_t *)		 before host_count(); host_open() does it too
 *	__u64 host_now_quick(host_t *)		 as host_now(), and cheaper when asked often
 *	const void *host_peek(host_packet_t *, __u32 offset, __u32 length)	 the bytes in place, or NULL when they are not in one piece
 *	__u32 host_witness(host_t *), const __u64 *host_proof_keys(host_t *)	random, the same for all packets
 */
#ifndef REEVE_CORE_QUICK_H
#define REEVE_CORE_QUICK_H

#include "core/judge.h"
#include "core/proof.h"

/* What is needed of a packet. Addresses and ports are in the key. */
struct brief {
	struct flow_key key __attribute__((aligned(8)));
	__u32 sender_high;
	__u32 length, segments;
	__u32 tcp_flags;
	struct numbers numbers; /* TCP */
};

#include "core/quick_nat.h"

static __always_inline void brief_key(struct brief *brief, const __u32 *src, const __u32 *dst,
				      __u32 ports, __u32 protocol, __u32 family)
{
	brief->sender_high = flow_key_order(&brief->key, src, dst, ports >> 16, ports & 0xffff,
					    protocol, family);
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
typedef __u64 __attribute__((may_alias)) key_word;

/* The same for IPv4, in five words. */
static __always_inline void brief_key_ipv4(struct brief *brief, __u32 src, __u32 dst, __u32 ports,
					   __u32 protocol)
{
	__u32 src_port = ports >> 16, dst_port = ports & 0xffff;
	key_word *word = (key_word *)(void *)&brief->key;
	__u32 high = src != dst ? src > dst : src_port > dst_port;

	word[0] = high ? dst : src;
	word[1] = 0;
	word[2] = high ? src : dst;
	word[3] = 0;
	word[4] = (high ? dst_port | src_port << 16 : src_port | dst_port << 16) |
		  (__u64)protocol << 32 | 4ull << 40;
	brief->sender_high = high;
}
#else
static __always_inline void brief_key_ipv4(struct brief *brief, __u32 src, __u32 dst, __u32 ports,
					   __u32 protocol)
{
	__u32 from[4] = { src }, to[4] = { dst };

	brief_key(brief, from, to, ports, protocol, 4);
}
#endif

/* The header at `l4`, of which `room` bytes are in the packet. 0 if it is sane. */
static __always_inline int brief_transport(host_packet_t *skb, struct brief *brief, __u32 protocol,
					   __u32 l4, __u32 room, const struct wire_ports *ports)
{
	const struct wire_tcp *tcp;
	__u32 length;

	if (protocol == PROTOCOL_UDP) {
		length = from_be16(ports->length);
		brief->tcp_flags = 0;
		return room < sizeof(*ports) || !ports->dst ||
		       (!skb->gso_size && (length < sizeof(*ports) || length > room));
	}
	if (protocol != PROTOCOL_TCP || room < sizeof(*tcp))
		return -1;
	tcp = host_peek(skb, l4, sizeof(*tcp));
	if (!tcp)
		return -1;
	length = (__u32)(tcp->offset >> 4) * 4;
	brief->tcp_flags = tcp->flags;
	brief->numbers.seq = from_be32(tcp->seq);
	brief->numbers.ack = from_be32(tcp->ack);
	brief->numbers.length = room - length;
	brief->numbers.window = from_be16(tcp->window);
	brief->numbers.fragment = 0;
	return (tcp->flags & TCP_SYN) || length < sizeof(*tcp) || length > room || !tcp->src || !tcp->dst ||
	       tcp_flags_insane(tcp->flags);
}

static __always_inline int brief_ipv4(host_packet_t *skb, __u32 l3, struct brief *brief)
{
	const struct {
		struct wire_ipv4 ip;
		struct wire_ports ports;
	} *head = host_peek(skb, l3, sizeof(*head));
	__u32 src, dst, ports;

	if (!head || head->ip.version_ihl != 0x45 ||
	    (from_be16(head->ip.fragment) & 0x3fff))
		return -1;
	src = from_be32(head->ip.src);
	dst = from_be32(head->ip.dst);
	brief->length = from_be16(head->ip.length);
	/* 224/3: multicast and what has no flows; 127/8: loopback; 0/8: this network. */
	if (src >> 29 == 7 || dst >> 29 == 7 || src >> 24 == 127 || dst >> 24 == 127 ||
	    !(src >> 24) || brief->length < sizeof(*head) || brief->length > skb->len - l3 ||
	    brief_transport(skb, brief, head->ip.protocol, l3 + (__u32)sizeof(head->ip),
			    brief->length - (__u32)sizeof(head->ip), &head->ports))
		return -1;
	ports = (__u32)from_be16(head->ports.src) << 16 | from_be16(head->ports.dst);
	brief_key_ipv4(brief, src, dst, ports, head->ip.protocol);
	return 0;
}

static __always_inline int brief_ipv6(host_packet_t *skb, __u32 l3, struct brief *brief)
{
	const struct {
		struct wire_ipv6 ip;
		struct wire_ports ports;
	} *head = host_peek(skb, l3, sizeof(*head));
	__u32 src[4], dst[4], ports, room, i;

	if (!head ||
	    from_be32(head->ip.version_class_flow) >> 28 != 6)
		return -1;
#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++) {
		src[i] = from_be32(head->ip.src[i]);
		dst[i] = from_be32(head->ip.dst[i]);
	}
	room = from_be16(head->ip.length);
	brief->length = room + (__u32)sizeof(head->ip);
	/* Multicast, and all that begins with 64 zero bits: unspecified, loopback, IPv4-mapped. */
	if (src[0] >> 24 == 0xff || dst[0] >> 24 == 0xff || !(src[0] | src[1]) ||
	    !(dst[0] | dst[1]) || !room || brief->length > skb->len - l3 ||
	    brief_transport(skb, brief, head->ip.next, l3 + (__u32)sizeof(head->ip), room,
			    &head->ports))
		return -1;
	ports = (__u32)from_be16(head->ports.src) << 16 | from_be16(head->ports.dst);
	brief_key(brief, src, dst, ports, head->ip.next, 6);
	return 0;
}

static __always_inline int brief_read(host_packet_t *skb, __u32 ethernet, struct brief *brief)
{
	__u32 l3 = ethernet ? ETHERNET_HEADER : 0, ethertype = from_be16((be16)skb->protocol);

	if (skb->pkt_type != PACKET_TYPE_HOST || skb->vlan_present || skb->len < l3)
		return -1;
	brief->segments = 1;
	if (skb->gso_size)
		brief->segments = skb->gso_segs ? skb->gso_segs : 1 + skb->len / skb->gso_size;
	if (ethertype == ETHERTYPE_IPV4)
		return brief_ipv4(skb, l3, brief);
	return ethertype == ETHERTYPE_IPV6 ? brief_ipv6(skb, l3, brief) : -1;
}

enum quick {
	QUICK_NOT_OURS, /* the full way; nothing has been changed */
	QUICK_PASS,
	QUICK_DROP, /* its headers could not be written */
};

/* Takes the packet into its flow. 0, or negative when it is none of ours. */
static __always_inline int brief_advance(host_t *host, const struct brief *brief, struct flow *flow,
					 __u32 from, __u32 direction)
{
	__u32 here = direction == DIRECTION_REPLY ? flow->to_tag : flow->from_tag, next;
	struct flow_count *count;
	__u64 now;

	host_count_open(host);
	now = host_now_quick(host);
	if (here != from || (flow->flags & FLOW_MARKS) || flow_expired(flow, now) ||
	    flow_stale(flow, host_flows_since(host)))
		return -1;
	next = flow_step(flow, brief->key.protocol, &brief->numbers, brief->tcp_flags, 0, direction,
			 now);
	if (next & (REJUDGE | OUTSIDE))
		return -1;
	flow_take(flow, next, &brief->numbers, brief->tcp_flags, direction, now);
	count = direction == DIRECTION_REPLY ? &flow->reply : &flow->original;
	count->packets += brief->segments;
	count->bytes += brief->length;
	host_count(host, STAT_ARRIVED);
	host_count(host, STAT_BY_FLOW);
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
