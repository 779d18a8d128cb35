// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What the short ways (quick.h, fast.h) read of a packet, and how it steps through its flow.
 *
 * A plain TCP or UDP packet: no options of IP, no fragment, no tags. Every test here may only be
 * stricter than the full way's, never looser.
 *
 * The including host header defines, besides what track.h asks for:
 *	const void *host_peek(host_packet_t *, __u32 offset, __u32 length)	 the bytes in place, or NULL when they are not in one piece
 *	__u32 host_flows_since(host_t *)
 *	void host_count(host_t *, enum statistic)
 */
#ifndef REEVE_CORE_BRIEF_H
#define REEVE_CORE_BRIEF_H

#include "core/event.h"
#include "core/frame.h"
#include "core/track.h"

/* What is needed of a packet. Addresses and ports are in the key. */
struct brief {
	struct flow_key key __attribute__((aligned(8)));
	__u32 sender_high;
	__u32 length, segments;
	__u32 tcp_flags;
	struct numbers numbers; /* TCP */
};

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

/*
 * Is it one of the flow's, from the right zone, and is nothing to be done with it but to count it?
 * Changes nothing. 0: it is, and *next is what the state machine says.
 */
static __always_inline int brief_look(host_t *host, const struct brief *brief,
				      const struct flow *flow, __u32 from, __u32 direction, __u64 now,
				      __u32 *next)
{
	__u32 here = direction == DIRECTION_REPLY ? flow->to_tag : flow->from_tag;

	if (here != from || (flow->flags & FLOW_MARKS) || flow_expired(flow, now) ||
	    flow_stale(flow, host_flows_since(host)))
		return -1;
	*next = flow_step(flow, brief->key.protocol, &brief->numbers, brief->tcp_flags, 0, direction,
			  now);
	return *next & (REJUDGE | OUTSIDE) ? -1 : 0;
}

/* Takes it into the flow: it is counted. */
static __always_inline void brief_take(host_t *host, const struct brief *brief, struct flow *flow,
				       __u32 next, __u32 direction, __u64 now)
{
	struct flow_count *count = direction == DIRECTION_REPLY ? &flow->reply : &flow->original;

	flow_take(flow, next, &brief->numbers, brief->tcp_flags, direction, now);
	count->packets += brief->segments;
	count->bytes += brief->length;
	host_count(host, STAT_ARRIVED);
	host_count(host, STAT_BY_FLOW);
}

#endif
