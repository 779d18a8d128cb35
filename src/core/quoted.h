// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The packet that an ICMP or ICMPv6 error quotes, as far as it tells of which flow it was.
 *
 * RFC 792 and RFC 4443 have the sender of an error quote the IP header and at least 8 bytes behind
 * it: ports and, of TCP, the sequence number.
 */
#ifndef REEVE_CORE_QUOTED_H
#define REEVE_CORE_QUOTED_H

#include "core/track.h"

#define QUOTED_EXTENSIONS 4 /* IPv6 extension headers in a row, in the quote */

struct quoted {
	struct flow_key key;
	__u32 sender_high; /* the quoted packet was sent by key.high */
	__u32 seq;	   /* TCP */
	__u32 l4;	   /* offset of the quoted transport header */
};

/*
 * Errors that belong to the flow they quote. Redirects tell hosts to route otherwise, and source
 * quench is obsolete (RFC 6633): both meet the rules.
 */
static __always_inline int quotes_flow(const struct packet *p)
{
	__u32 type = p->fields.word[FIELD_DST_PORT] >> 8;

	if (!(p->flags & PACKET_ICMP_ERROR) || p->fields.word[FIELD_FRAGMENT])
		return 0;
	if (p->fields.word[FIELD_FAMILY] == 6)
		return type >= 1 && type <= 4;
	return type == 3 || type == 11 || type == 12;
}

/* What stands behind the quoted IP header, at `offset`. 0 or negative. */
static __always_inline int quoted_transport(host_packet_t *host, struct quoted *quoted,
					    __u32 protocol, __u32 v6, __u32 offset, __u32 end,
					    const __u32 *src, const __u32 *dst)
{
	struct {
		be16 src, dst;
		be32 third; /* TCP: the sequence number; ICMP echo: identifier, number */
	} head;
	__u32 src_port = 0, dst_port = 0, type;

	if (offset + sizeof(head) > end || host_read_paged(host, offset, &head, sizeof(head)))
		return -1;
	switch (protocol) {
	case PROTOCOL_TCP:
	case PROTOCOL_UDP:
	case PROTOCOL_UDPLITE:
	case PROTOCOL_SCTP:
	case PROTOCOL_DCCP:
		src_port = from_be16(head.src);
		dst_port = from_be16(head.dst);
		break;
	case PROTOCOL_ICMP:
	case PROTOCOL_ICMPV6:
		type = from_be16(head.src) >> 8;
		if (protocol != (v6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP) ||
		    (v6 ? type != 128 && type != 129 : type != 8 && type != 0))
			return -1;
		src_port = dst_port = from_be32(head.third) >> 16;
		break;
	}
	quoted->seq = from_be32(head.third);
	quoted->l4 = offset;
	quoted->sender_high = flow_key_order(&quoted->key, src, dst, src_port, dst_port, protocol,
					     v6 ? 6 : 4);
	return 0;
}

static __always_inline int quoted_ipv4(host_packet_t *host, struct quoted *quoted, __u32 offset,
				       __u32 end)
{
	__u32 src[4] = { 0 }, dst[4] = { 0 };
	struct wire_ipv4 ip;

	if (offset + sizeof(ip) > end || host_read_paged(host, offset, &ip, sizeof(ip)) ||
	    ip.version_ihl >> 4 != 4 || (ip.version_ihl & 15) < 5 ||
	    (from_be16(ip.fragment) & 0x1fff))
		return -1;
	src[0] = from_be32(ip.src);
	dst[0] = from_be32(ip.dst);
	return quoted_transport(host, quoted, ip.protocol, 0, offset + (ip.version_ihl & 15) * 4u,
				end, src, dst);
}

static __always_inline int quoted_ipv6(host_packet_t *host, struct quoted *quoted, __u32 offset,
				       __u32 end)
{
	struct wire_extension extension;
	struct wire_ipv6 ip;
	__u32 next, i;

	if (offset + sizeof(ip) > end || host_read_paged(host, offset, &ip, sizeof(ip)) ||
	    from_be32(ip.version_class_flow) >> 28 != 6)
		return -1;
#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++) {
		ip.src[i] = from_be32(ip.src[i]); /* in place: the stack is short */
		ip.dst[i] = from_be32(ip.dst[i]);
	}
	next = ip.next;
	offset += (__u32)sizeof(ip);
#pragma clang loop unroll(full)
	for (i = 0; i < QUOTED_EXTENSIONS; i++) {
		if (next != EXTENSION_HOP_BY_HOP && next != EXTENSION_ROUTING &&
		    next != EXTENSION_DESTINATION && next != EXTENSION_FRAGMENT)
			break;
		if (offset + sizeof(extension) > end ||
		    host_read_paged(host, offset, &extension, sizeof(extension)))
			return -1;
		if (next == EXTENSION_FRAGMENT && (from_be16(extension.fragment) & 0xfff8))
			return -1;
		offset += next == EXTENSION_FRAGMENT ? 8 : ((__u32)extension.length + 1) * 8;
		next = extension.next;
	}
	return quoted_transport(host, quoted, next, 1, offset, end, ip.src, ip.dst);
}

/*
 * Reads the quote of an error for which quotes_flow() says yes. 0, or negative when it names no
 * flow.
 */
static __always_inline int quoted_parse(host_packet_t *host, const struct packet *p,
					struct quoted *quoted)
{
	__u32 offset = (__u32)p->l4 + (__u32)sizeof(struct wire_icmp), end = p->l3 + p->length;

	return p->fields.word[FIELD_FAMILY] == 6 ? quoted_ipv6(host, quoted, offset, end) :
						   quoted_ipv4(host, quoted, offset, end);
}

/* Can the quoted packet, of this direction of the flow, have been sent? Returns it, or negative. */
static __always_inline int quoted_fits(const struct quoted *quoted, const struct flow *flow,
				       __u32 direction)
{
	const struct flow_end *sender = &flow->ends[direction], *receiver = &flow->ends[!direction];
	__u32 window = end_window(receiver);

	if (quoted->key.protocol != PROTOCOL_TCP || !(sender->flags & END_SEEN))
		return (int)direction;
	if (window < OLD_ACK_MAX)
		window = OLD_ACK_MAX;
	if (seq_before(sender->end, quoted->seq) ||
	    seq_before(quoted->seq, sender->end - window - 1))
		return -1;
	return (int)direction;
}

/*
 * Of which direction of the flow was the quoted packet, and can it have been sent? Negative if not.
 */
static __always_inline int quoted_direction(const struct quoted *quoted, const struct flow *flow)
{
	return quoted_fits(quoted, flow,
			   quoted->sender_high == (flow->flags & FLOW_ORIGIN_HIGH) ?
				   DIRECTION_ORIGINAL : DIRECTION_REPLY);
}

#endif
