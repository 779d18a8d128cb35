// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The fast path: forwarded packets of live flows, sent on at the device where they arrive.
 *
 * The twin of the quick way (core/quick.h), before the kernel has made a packet of a frame: the same
 * tests, the same state machine, the same counters, for both checkpoints at once. The kernel's own
 * routes and neighbours say where to; the hop limit goes down by one, link layer addresses are
 * exchanged. Nothing is changed, neither the flow nor the frame, before all of it is certain: so
 * whatever is none of its business (0) meets the other ways as if nothing had been here, and
 * these find the right end for it: an ICMP error, a neighbour to be looked for, fragments, rules.
 *
 * Every now and then it leaves a packet for a neighbour to the kernel, which otherwise would not
 * notice that a neighbour is used, and so not whether it is still there.
 *
 * The including host header defines, besides what brief.h asks for:
 *	__u32 host_fast_tag(host_t *, __u32 ifindex)	 zone tag of an interface where the fast path may arrive
 *	int host_fast_leaves(host_t *, __u32 ifindex, __u32 tag)	 may it leave there, is that the interface's zone, and has nothing
 *						 to be changed in headers?
 *	struct flow *host_flow_find(host_t *, const struct flow_key *)
 *	void host_count_open(host_t *), host_count(host_t *, enum statistic), __u64 host_now_quick(host_t *)	 see quick.h
 *	int host_way(host_t *, host_packet_t *, const struct fast_packet *, __u32 ifindex, __u64 now, struct fast_way *)	 the kernel's: 0
 *						 when it knows a next hop, the packet fits, the device is still in our
 *						 namespace, and it is not time to leave the neighbour a packet
 *	void *host_edit(host_packet_t *, __u32 length)	 the first bytes of the frame, to be written to, or NULL
 */
#ifndef REEVE_CORE_FAST_H
#define REEVE_CORE_FAST_H

#include "core/event.h"
#include "core/fast_way.h"

/* What the kernel must look at itself besides what brief_read() leaves to it: the last hop. */
static __always_inline int fast_read(host_packet_t *frame, struct fast_packet *packet)
{
	const struct wire_ipv4 *v4;
	const struct wire_ipv6 *v6;

	if (brief_read(frame, 1, &packet->brief))
		return -1;
	if (packet->brief.key.family == 4) {
		v4 = host_peek(frame, ETHERNET_HEADER, sizeof(*v4));
		if (!v4 || v4->ttl <= 1)
			return -1;
		packet->service = v4->tos;
		return 0;
	}
	v6 = host_peek(frame, ETHERNET_HEADER, sizeof(*v6));
	if (!v6 || v6->hop_limit <= 1)
		return -1;
	packet->service = from_be32(v6->version_class_flow) & 0x0fffffff;
	return 0;
}

/* RFC 1624: the checksum of a header whose TTL is one less. */
static __always_inline be16 fast_checksum(be16 checksum)
{
	__u32 sum = (__u32)from_be16(checksum) + 0x100;

	return from_be16((__u16)(sum + (sum >= 0xffff)));
}

static __always_inline int fast_rewrite(host_packet_t *frame, __u32 family,
					const struct fast_way *way)
{
	__u8 *head = host_edit(frame, ETHERNET_HEADER + sizeof(struct wire_ipv4));
	struct wire_ipv4 *v4;
	struct wire_ipv6 *v6;

	if (!head)
		return -1;
	if (family == 4) {
		v4 = (void *)(head + ETHERNET_HEADER);
		v4->ttl--;
		v4->checksum = fast_checksum(v4->checksum);
	} else {
		v6 = (void *)(head + ETHERNET_HEADER);
		v6->hop_limit--;
	}
	__builtin_memcpy(__builtin_assume_aligned(head, 4), &way->link, sizeof(way->link));
	return 0;
}

/* The interface by which the frame, changed, is to be sent; or 0. */
static __always_inline __u32 fast_forward(host_t *host, host_packet_t *frame, __u32 ifindex)
{
	__u32 from, there, direction = DIRECTION_ORIGINAL, next;
	struct fast_packet packet;
	struct fast_way way;
	struct flow *flow;
	__u64 now;

	from = host_fast_tag(host, ifindex);
	if (!from || fast_read(frame, &packet))
		return 0;
	flow = host_flow_find(host, &packet.brief.key);
	if (!flow || (flow->flags & FLOW_TRANSLATED))
		return 0;
	there = flow->to_tag;
	if (packet.brief.sender_high != (flow->flags & FLOW_ORIGIN_HIGH)) {
		direction = DIRECTION_REPLY;
		there = flow->from_tag;
	}
	host_count_open(host);
	now = host_now_quick(host);
	if (there == IMAGE_TAG_SELF ||
	    brief_look(host, &packet.brief, flow, from, direction, now, &next) ||
	    host_way(host, frame, &packet, ifindex, now, &way) || way.ifindex == ifindex ||
	    !host_fast_leaves(host, way.ifindex, there) ||
	    fast_rewrite(frame, packet.brief.key.family, &way))
		return 0;
	brief_take(host, &packet.brief, flow, next, direction, now);
	host_count(host, STAT_FAST);
	return way.ifindex;
}

#endif
