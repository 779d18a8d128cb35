// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * A glance at a packet: the fields of a plain one, without the work that odd ones make.
 *
 * Plain is TCP, UDP or ICMP in one piece, right behind a fixed IP header, right behind an Ethernet
 * header without tags, in linear data. Of such a packet every field is set as the parser would set
 * it (core/packet.h), and nothing else of struct packet but length, segments, flags, sanity. Anything
 * odd, malformed among it, is not plain: the answer is 0 and the parser begins from the start. So
 * every test here may only be stricter than the parser's, never looser.
 *
 * The including host header defines, besides what frame.h asks for:
 *	const void *host_peek(host_packet_t *, __u32 offset, __u32 length)
 *				the bytes in place, or NULL when they are not in one piece
 */
#ifndef REEVE_CORE_GLANCE_H
#define REEVE_CORE_GLANCE_H

#include "core/frame.h"

struct wire_link {
	__u8 destination[6], source[6];
	be16 ethertype;
} __attribute__((packed));

/* 1 if what is behind the IP header is whole and sane; `room` bytes of it are in the packet. */
static __always_inline int glance_transport(host_packet_t *frame, struct packet *p, __u32 protocol,
					    __u32 l4, __u32 room, const struct wire_ports *ports)
{
	__u32 *word = p->fields.word, v6 = word[FIELD_FAMILY] == 6, length, type, state = STATE_NEW;
	const struct wire_tcp *tcp;

	word[FIELD_PROTOCOL] = protocol;
	word[FIELD_TCP_FLAGS] = 0;
	word[FIELD_SRC_PORT] = from_be16(ports->src);
	word[FIELD_DST_PORT] = from_be16(ports->dst);
	switch (protocol) {
	case PROTOCOL_UDP:
		length = from_be16(ports->length);
		if (!ports->dst || length < sizeof(*ports) || length > room)
			return 0;
		break;
	case PROTOCOL_TCP:
		tcp = host_peek(frame, l4, sizeof(*tcp));
		if (!tcp || room < sizeof(*tcp))
			return 0;
		length = (__u32)(tcp->offset >> 4) * 4;
		if (length < sizeof(*tcp) || length > room || !tcp->src || !tcp->dst ||
		    tcp_flags_insane(tcp->flags))
			return 0;
		word[FIELD_TCP_FLAGS] = tcp->flags;
		if ((tcp->flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
			state = STATE_UNTRACKED;
		break;
	case PROTOCOL_ICMP:
	case PROTOCOL_ICMPV6:
		if (v6 != (protocol == PROTOCOL_ICMPV6))
			return 0;
		type = word[FIELD_SRC_PORT] >> 8;
		word[FIELD_DST_PORT] = word[FIELD_SRC_PORT];
		word[FIELD_SRC_PORT] = 0;
		if (v6 ? type < 128 || type == 129 :
			 !type || type == 3 || type == 4 || type == 5 || type == 11 || type == 12)
			state = STATE_UNTRACKED;
		break;
	default:
		return 0;
	}
	word[FIELD_STATE] = state;
	return 1;
}

static __always_inline int glance_ipv4(host_packet_t *frame, struct packet *p)
{
	const struct {
		struct wire_ipv4 ip;
		struct wire_ports ports;
	} *head = host_peek(frame, ETHERNET_HEADER, sizeof(*head));
	__u32 *word = p->fields.word, src, dst, length, i;

	if (!head || head->ip.version_ihl != 0x45 || (from_be16(head->ip.fragment) & 0x3fff))
		return 0;
	src = from_be32(head->ip.src);
	dst = from_be32(head->ip.dst);
	length = from_be16(head->ip.length);
	/* 224/3: multicast and the like; 127/8: loopback. */
	if (src >> 29 == 7 || src >> 24 == 127 || dst >> 24 == 127 || length < sizeof(*head) ||
	    length > frame->len - ETHERNET_HEADER)
		return 0;
	word[FIELD_FAMILY] = 4;
	word[FIELD_LENGTH] = length;
	word[FIELD_DSCP] = head->ip.tos >> 2;
	word[FIELD_TTL] = head->ip.ttl;
	word[FIELD_SRC] = src;
	word[FIELD_DST] = dst;
#pragma clang loop unroll(full)
	for (i = 1; i < 4; i++)
		word[FIELD_SRC + i] = word[FIELD_DST + i] = 0;
	p->length = length;
	return glance_transport(frame, p, head->ip.protocol,
				ETHERNET_HEADER + (__u32)sizeof(head->ip),
				length - (__u32)sizeof(head->ip), &head->ports);
}

static __always_inline int glance_ipv6(host_packet_t *frame, struct packet *p)
{
	const struct {
		struct wire_ipv6 ip;
		struct wire_ports ports;
	} *head = host_peek(frame, ETHERNET_HEADER, sizeof(*head));
	__u32 *word = p->fields.word, first, room, i;

	if (!head)
		return 0;
	first = from_be32(head->ip.version_class_flow);
	room = from_be16(head->ip.length);
	if (first >> 28 != 6 || room < sizeof(head->ports) ||
	    room > frame->len - ETHERNET_HEADER - sizeof(head->ip))
		return 0;
#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++) {
		word[FIELD_SRC + i] = from_be32(head->ip.src[i]);
		word[FIELD_DST + i] = from_be32(head->ip.dst[i]);
	}
	/* Multicast, and all that begins with 64 zero bits: unspecified, loopback, IPv4-mapped. */
	if (word[FIELD_SRC] >> 24 == 0xff || !(word[FIELD_SRC] | word[FIELD_SRC + 1]) ||
	    !(word[FIELD_DST] | word[FIELD_DST + 1]))
		return 0;
	word[FIELD_FAMILY] = 6;
	word[FIELD_LENGTH] = p->length = room + (__u32)sizeof(head->ip);
	word[FIELD_DSCP] = (first >> 22) & 63;
	word[FIELD_TTL] = head->ip.hop_limit;
	return glance_transport(frame, p, head->ip.next,
				ETHERNET_HEADER + (__u32)sizeof(head->ip), room, &head->ports);
}

/* 1 if the packet is plain; zones are the caller's business. Of `p` nothing need be set before. */
static __always_inline int glance(host_packet_t *frame, struct packet *p)
{
	const struct wire_link *link = host_peek(frame, 0, sizeof(*link));
	__u32 *word = p->fields.word;

	if (!link)
		return 0;
	word[FIELD_MAC_HIGH] = (__u32)link->source[0] << 8 | link->source[1];
	word[FIELD_MAC_LOW] = (__u32)link->source[2] << 24 | (__u32)link->source[3] << 16 |
			      (__u32)link->source[4] << 8 | link->source[5];
	word[FIELD_FRAGMENT] = 0;
	word[FIELD_MARK] = 0;
	word[FIELD_EXPECTED] = 0;
	p->segments = 1;
	p->flags = p->sanity = 0;
	if (link->ethertype == from_be16(ETHERTYPE_IPV4))
		return glance_ipv4(frame, p);
	if (link->ethertype == from_be16(ETHERTYPE_IPV6))
		return glance_ipv6(frame, p);
	return 0;
}

#endif
