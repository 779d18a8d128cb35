// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Packet headers to fields.
 *
 * The host says where the IP header begins and what the EtherType is (devices differ: Ethernet,
 * tun, tags); from there on everything is decided here, the same for every engine. Headers are read
 * through host_read(), which sees the whole packet, paged or not: a header counts as truncated only
 * when the packet really ends.
 *
 * Sources: RFC 791, 8200 (IP), 7112 (first fragments), 1858 (tiny fragments), 9293 (TCP), 768, 9260
 * (SCTP), 792, 4443.
 *
 * The including host header defines, before this file:
 *	host_packet_t		what the engine is called with
 *	int host_read(host_packet_t *packet, __u32 offset, void *to, __u32 length)
 *				0, or negative when the packet is shorter. `length` is a compile-time constant.
 *	int host_read_paged(…)	the same, for what is read seldom
 * and behind it:
 *	void host_scale_search(struct scale_search *)	runs scale_search_step() at most TCP_OPTIONS_MAX times
 */
#ifndef REEVE_CORE_PACKET_H
#define REEVE_CORE_PACKET_H

#include "core/event.h"
#include "core/field.h"
#include "core/protocol.h"
#include "core/types.h"
#include "core/window.h"

#define EXTENSION_HOP_BY_HOP 0
#define EXTENSION_ROUTING 43
#define EXTENSION_FRAGMENT 44
#define EXTENSION_AUTHENTICATION 51
#define EXTENSION_DESTINATION 60
#define EXTENSION_MOBILITY 135

#define EXTENSION_MAX 8 /* extension headers in a row */

#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_MSS 2
#define TCP_OPTION_WINDOW_SCALE 3
#define TCP_OPTIONS_MAX 40u /* each has at least a byte */

#define SCTP_DCCP_HEADER 12 /* of SCTP without a chunk; the least of DCCP */

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8

enum packet_flags {
	PACKET_FRAGMENT = 1,  /* any part of a fragmented packet, the first one too */
	PACKET_GSO = 2,	      /* stands for several packets; lengths in headers may be 0 */
	PACKET_GROUP = 4,     /* to a broadcast or multicast address, of the frame or of the IP header */
	PACKET_ICMP_ERROR = 8,
	PACKET_ECHO_REQUEST = 16,
	PACKET_ECHO_REPLY = 32,
	PACKET_PORTS = 64,    /* has ports (not a later fragment) */
	PACKET_ARRIVING = 128,
};

struct packet {
	struct fields fields;
	__u32 length;	  /* of the IP packet, headers included */
	__u32 segments;	  /* 1, or gso_segs */
	struct numbers numbers; /* TCP */
	__u32 fragment_id;
	__u16 fragment_at; /* first fragment: where its data ends; a later one: where it begins; in bytes */
	__u16 echo_id;	  /* ICMP echo */
	__u16 l3, l4;	  /* offsets of the IP header and of the one behind it */
	__u8 flags;	  /* enum packet_flags */
	__u8 sanity;	  /* enum sanity */
	__u8 tcp_header;  /* length of the TCP header in bytes */
	__u8 cookie;	  /* a TCP packet that is told as the SYN it has answered (core/cookie.h) */
};

struct wire_ipv4 {
	__u8 version_ihl, tos;
	be16 length, id, fragment;
	__u8 ttl, protocol;
	be16 checksum;
	be32 src, dst;
};

struct wire_ipv6 {
	be32 version_class_flow;
	be16 length;
	__u8 next, hop_limit;
	be32 src[4], dst[4];
};

struct wire_tcp {
	be16 src, dst;
	be32 seq, ack;
	__u8 offset, flags;
	be16 window, checksum, urgent;
};

struct wire_ports { /* UDP; SCTP and DCCP begin alike */
	be16 src, dst, length, checksum;
};

struct wire_icmp {
	__u8 type, code;
	be16 checksum, id, sequence;
};

struct wire_extension { /* RFC 8200, section 4; of the fragment header all 8 bytes count */
	__u8 next, length;
	be16 fragment;
	be32 id;
};

static __always_inline __u16 from_be16(be16 value)
{
	return __builtin_bswap16(value);
}

static __always_inline __u32 from_be32(be32 value)
{
	return __builtin_bswap32(value);
}

/* A checksum (RFC 1071) in which `old` is replaced by `new`, both of network byte order (RFC 1624). */
static __always_inline __u16 checksum_replace(__u16 checksum, __u16 old, __u16 new)
{
	__u32 sum = (__u32)(__u16)~checksum + (__u16)~old + new;

	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~((sum & 0xffff) + (sum >> 16));
}

/* TCP flag combinations that no sender means; what conntrack calls invalid. */
static __always_inline int tcp_flags_insane(__u32 flags)
{
	if (!(flags & (TCP_SYN | TCP_RST | TCP_ACK)))
		return 1;
	if ((flags & TCP_SYN) && (flags & (TCP_FIN | TCP_RST)))
		return 1;
	return (flags & (TCP_FIN | TCP_RST)) == (TCP_FIN | TCP_RST);
}

/*
 * The search for the window scale among a SYN's options (RFC 9293, 3.1; RFC 7323, 2.2): `room`
 * bytes from `offset` on. Options out of shape end it: the receiver will not understand them
 * either.
 */
struct scale_search {
	host_packet_t *host;
	__u32 offset, room;
	__u8 scale; /* SCALE_NONE at first */
};

/* One option. Non-zero when the search is over. */
static __always_inline int scale_search_step(struct scale_search *search)
{
	struct {
		__u8 kind, length;
	} option;

	if (search->room < sizeof(option) ||
	    host_read_paged(search->host, search->offset, &option, sizeof(option)) ||
	    option.kind == TCP_OPTION_END)
		return 1;
	if (option.kind == TCP_OPTION_NOP) {
		search->offset++;
		search->room--;
		return 0;
	}
	if (option.length < sizeof(option) || option.length > search->room)
		return 1;
	if (option.kind == TCP_OPTION_WINDOW_SCALE && option.length == 3) {
		if (host_read_paged(search->host, search->offset + 2, &search->scale, 1))
			search->scale = SCALE_NONE;
		else if (search->scale > SCALE_MAX)
			search->scale = SCALE_MAX; /* RFC 7323, 2.3 */
		/* No end: of two, receivers take the last (Linux, net/ipv4/tcp_input.c). */
	}
	search->offset += option.length;
	search->room -= option.length;
	return 0;
}

/* The host runs the steps, because loops are the host's business. */
static __always_inline void host_scale_search(struct scale_search *search);

static __always_inline int parse_tcp(host_packet_t *host, struct packet *p, __u32 room)
{
	struct wire_tcp tcp;
	__u32 header;

	if (room < sizeof(tcp) || host_read(host, p->l4, &tcp, sizeof(tcp)))
		return p->flags & PACKET_FRAGMENT ? SANITY_FRAGMENT : SANITY_TRUNCATED;
	header = (__u32)(tcp.offset >> 4) * 4;
	if (header < sizeof(tcp))
		return SANITY_HEADER_LENGTH;
	if (header > room)
		return p->flags & PACKET_FRAGMENT ? SANITY_FRAGMENT : SANITY_TRUNCATED;
	if (!tcp.src || !tcp.dst)
		return SANITY_PORT_ZERO;
	if (tcp_flags_insane(tcp.flags))
		return SANITY_TCP_FLAGS;
	p->fields.word[FIELD_SRC_PORT] = from_be16(tcp.src);
	p->fields.word[FIELD_DST_PORT] = from_be16(tcp.dst);
	p->fields.word[FIELD_TCP_FLAGS] = tcp.flags;
	if ((tcp.flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
		p->fields.word[FIELD_STATE] = STATE_UNTRACKED;
	p->tcp_header = (__u8)header;
	p->numbers.seq = from_be32(tcp.seq);
	p->numbers.ack = from_be32(tcp.ack);
	p->numbers.length = room - header;
	p->numbers.window = from_be16(tcp.window);
	p->numbers.fragment = p->flags & PACKET_FRAGMENT;
	if (tcp.flags & TCP_SYN) {
		struct scale_search search = {
			.host = host,
			.offset = p->l4 + (__u32)sizeof(tcp),
			.room = header - (__u32)sizeof(tcp),
			.scale = SCALE_NONE,
		};

		host_scale_search(&search);
		p->numbers.scale = search.scale;
	}
	p->flags |= PACKET_PORTS;
	return SANITY_OK;
}

static __always_inline int parse_ports(host_packet_t *host, struct packet *p, __u32 room)
{
	__u32 protocol = p->fields.word[FIELD_PROTOCOL];
	struct wire_ports ports;
	__u32 length, header = sizeof(ports);

	/* RFC 9260, 3; RFC 4340, 5.1. The others have 8 bytes. */
	if (protocol == PROTOCOL_SCTP || protocol == PROTOCOL_DCCP)
		header = SCTP_DCCP_HEADER;
	if (room < header || host_read(host, p->l4, &ports, sizeof(ports)))
		return p->flags & PACKET_FRAGMENT ? SANITY_FRAGMENT : SANITY_TRUNCATED;
	if (protocol == PROTOCOL_UDP) {
		/* The length of a first fragment speaks of the whole datagram. */
		length = from_be16(ports.length);
		if (!(p->flags & (PACKET_FRAGMENT | PACKET_GSO)) &&
		    (length < sizeof(ports) || length > room))
			return SANITY_TOTAL_LENGTH;
		if (!ports.dst)
			return SANITY_PORT_ZERO;
	}
	p->fields.word[FIELD_SRC_PORT] = from_be16(ports.src);
	p->fields.word[FIELD_DST_PORT] = from_be16(ports.dst);
	p->flags |= PACKET_PORTS;
	return SANITY_OK;
}

static __always_inline int parse_icmp(host_packet_t *host, struct packet *p, __u32 room)
{
	int v6 = p->fields.word[FIELD_PROTOCOL] == PROTOCOL_ICMPV6;
	struct wire_icmp icmp;

	if (room < sizeof(icmp) || host_read(host, p->l4, &icmp, sizeof(icmp)))
		return p->flags & PACKET_FRAGMENT ? SANITY_FRAGMENT : SANITY_TRUNCATED;
	p->fields.word[FIELD_DST_PORT] = (__u32)icmp.type << 8 | icmp.code;
	if (icmp.type == (v6 ? 128 : 8))
		p->flags |= PACKET_ECHO_REQUEST;
	else if (icmp.type == (v6 ? 129 : 0))
		p->flags |= PACKET_ECHO_REPLY;
	else if (v6 ? icmp.type < 128 :
		      icmp.type == 3 || icmp.type == 4 || icmp.type == 5 || icmp.type == 11 ||
			      icmp.type == 12)
		p->flags |= PACKET_ICMP_ERROR;
	if (p->flags & (PACKET_ECHO_REQUEST | PACKET_ECHO_REPLY))
		p->echo_id = from_be16(icmp.id);
	if (p->flags & (PACKET_ECHO_REPLY | PACKET_ICMP_ERROR))
		p->fields.word[FIELD_STATE] = STATE_UNTRACKED;
	return SANITY_OK;
}

/* What is behind the IP header; `room` is what the IP length leaves for it. */
static __always_inline int parse_transport(host_packet_t *host, struct packet *p, __u32 room)
{
	__u32 v6 = p->fields.word[FIELD_FAMILY] == 6;

	if (p->fields.word[FIELD_FRAGMENT]) {
		p->fields.word[FIELD_STATE] = STATE_UNTRACKED;
		return SANITY_OK;
	}
	switch (p->fields.word[FIELD_PROTOCOL]) {
	case PROTOCOL_TCP:
		return parse_tcp(host, p, room);
	case PROTOCOL_UDP:
	case PROTOCOL_UDPLITE:
	case PROTOCOL_SCTP:
	case PROTOCOL_DCCP:
		return parse_ports(host, p, room);
	case PROTOCOL_ICMP:
		return v6 ? SANITY_OK : parse_icmp(host, p, room);
	case PROTOCOL_ICMPV6:
		return v6 ? parse_icmp(host, p, room) : SANITY_OK;
	}
	return SANITY_OK;
}

/* `available` is how many bytes the frame has from the IP header on. */
static __always_inline int parse_ipv4(host_packet_t *host, struct packet *p, __u32 available)
{
	__u32 header, length, fragment, src, dst;
	struct wire_ipv4 ip;

	if (available < sizeof(ip) || host_read(host, p->l3, &ip, sizeof(ip)))
		return SANITY_TRUNCATED;
	if (ip.version_ihl >> 4 != 4)
		return SANITY_IP_VERSION;
	header = (ip.version_ihl & 15) * 4u;
	if (header < sizeof(ip))
		return SANITY_HEADER_LENGTH;
	length = from_be16(ip.length);
	if (!length && (p->flags & PACKET_GSO))
		length = available; /* BIG TCP */
	if (length < header)
		return SANITY_TOTAL_LENGTH;
	if (length > available)
		return SANITY_TRUNCATED;
	src = from_be32(ip.src);
	dst = from_be32(ip.dst);
	p->length = length;
	p->l4 = (__u16)(p->l3 + header);
	p->fields.word[FIELD_FAMILY] = 4;
	p->fields.word[FIELD_PROTOCOL] = ip.protocol;
	p->fields.word[FIELD_LENGTH] = length;
	p->fields.word[FIELD_DSCP] = ip.tos >> 2;
	p->fields.word[FIELD_TTL] = ip.ttl;
	p->fields.word[FIELD_SRC] = src;
	p->fields.word[FIELD_DST] = dst;
	fragment = from_be16(ip.fragment);
	if (fragment & 0x3fff) {
		p->flags |= PACKET_FRAGMENT;
		p->fragment_id = from_be16(ip.id);
		p->fragment_at = (__u16)(length - header);
		/* A first one too, where GSO hides a longer one. */
		if ((fragment & 0x1fff) * 8 + (length - header) > 65535 - header)
			return SANITY_FRAGMENT;
	}
	if (fragment & 0x1fff) {
		p->fields.word[FIELD_FRAGMENT] = 1;
		p->fragment_at = (__u16)((fragment & 0x1fff) * 8);
		/* RFC 1858, 3.2: it would write over the header that was judged. */
		if (ip.protocol == PROTOCOL_TCP && p->fragment_at < sizeof(struct wire_tcp))
			return SANITY_FRAGMENT;
	}
	if (dst >> 28 == 14 || dst == 0xffffffff)
		p->flags |= PACKET_GROUP;
	if (src >> 28 == 14 || src == 0xffffffff)
		return SANITY_ADDRESS;
	if ((p->flags & PACKET_ARRIVING) && (src >> 24 == 127 || dst >> 24 == 127))
		return SANITY_ADDRESS;
	return parse_transport(host, p, length - header);
}

/*
 * Walks the extension headers. Afterwards FIELD_PROTOCOL is the upper protocol, p->l4 its header
 * and *used the bytes behind the fixed header. A later fragment ends the walk: its data is not a
 * header.
 */
static __always_inline int parse_extensions(host_packet_t *host, struct packet *p, __u32 next,
					    __u32 room, __u32 *used)
{
	__u32 offset = 0, size, i;
	struct wire_extension extension;

#pragma clang loop unroll(disable)
	for (i = 0; i <= EXTENSION_MAX; i++) {
		if (next != EXTENSION_HOP_BY_HOP && next != EXTENSION_ROUTING &&
		    next != EXTENSION_FRAGMENT && next != EXTENSION_AUTHENTICATION &&
		    next != EXTENSION_DESTINATION && next != EXTENSION_MOBILITY)
			goto found;
		if (i == EXTENSION_MAX || (next == EXTENSION_HOP_BY_HOP && i))
			return SANITY_EXTENSIONS;
		if (room - offset < sizeof(extension) ||
		    host_read(host, p->l3 + (__u32)sizeof(struct wire_ipv6) + offset, &extension,
			      sizeof(extension)))
			return p->flags & PACKET_FRAGMENT ? SANITY_FRAGMENT : SANITY_TRUNCATED;
		size = ((__u32)extension.length + 1) * 8;
		if (next == EXTENSION_AUTHENTICATION)
			size = ((__u32)extension.length + 2) * 4;
		if (next == EXTENSION_FRAGMENT) {
			__u32 fragment = from_be16(extension.fragment);

			size = sizeof(extension);
			if (p->flags & PACKET_FRAGMENT)
				return SANITY_EXTENSIONS;
			if (fragment & 0xfff9) { /* not atomic (RFC 6946) */
				p->flags |= PACKET_FRAGMENT;
				p->fragment_id = from_be32(extension.id);
				p->fragment_at = (__u16)(room - offset - size);
				/* A first one too, where GSO hides a longer one. */
				if ((fragment & 0xfff8) + (room - offset - size) > 65535)
					return SANITY_FRAGMENT;
			}
			if (fragment & 0xfff8) {
				p->fields.word[FIELD_FRAGMENT] = 1;
				p->fragment_at = (__u16)(fragment & 0xfff8);
				next = extension.next;
				offset += size;
				goto found;
			}
		}
		if (size > room - offset)
			return p->flags & PACKET_FRAGMENT ? SANITY_FRAGMENT : SANITY_TRUNCATED;
		offset += size;
		next = extension.next;
		LOOP_ENDS(i, offset, next);
	}
	return SANITY_EXTENSIONS;
found:
	p->fields.word[FIELD_PROTOCOL] = next;
	p->l4 = (__u16)(p->l3 + sizeof(struct wire_ipv6) + offset);
	*used = offset;
	return SANITY_OK;
}

/* ::1, and 127.0.0.0/8 as a socket of both families would be shown it (RFC 4291, 2.5.3 and 2.5.5.2). */
static __always_inline int loopback_ipv6(const __u32 *address)
{
	return !address[0] && !address[1] &&
	       ((!address[2] && address[3] == 1) ||
		(address[2] == 0xffff && address[3] >> 24 == 127));
}

static __always_inline int parse_ipv6(host_packet_t *host, struct packet *p, __u32 available)
{
	__u32 i, first, room, used = 0;
	struct wire_ipv6 ip;
	int insane;

	if (available < sizeof(ip) || host_read(host, p->l3, &ip, sizeof(ip)))
		return SANITY_TRUNCATED;
	first = from_be32(ip.version_class_flow);
	if (first >> 28 != 6)
		return SANITY_IP_VERSION;
	room = from_be16(ip.length);
	if (!room && (p->flags & PACKET_GSO))
		room = available - (__u32)sizeof(ip); /* BIG TCP */
	if (room > available - sizeof(ip))
		return SANITY_TRUNCATED;
	p->length = room + (__u32)sizeof(ip);
	p->fields.word[FIELD_FAMILY] = 6;
	p->fields.word[FIELD_LENGTH] = p->length;
	p->fields.word[FIELD_DSCP] = (first >> 22) & 63;
	p->fields.word[FIELD_TTL] = ip.hop_limit;
#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++) {
		p->fields.word[FIELD_SRC + i] = from_be32(ip.src[i]);
		p->fields.word[FIELD_DST + i] = from_be32(ip.dst[i]);
	}
	if (p->fields.word[FIELD_DST] >> 24 == 0xff)
		p->flags |= PACKET_GROUP;
	insane = parse_extensions(host, p, ip.next, room, &used);
	if (insane)
		return insane;
	if (p->fields.word[FIELD_SRC] >> 24 == 0xff)
		return SANITY_ADDRESS;
	if ((p->flags & PACKET_ARRIVING) && (loopback_ipv6(&p->fields.word[FIELD_SRC]) ||
					     loopback_ipv6(&p->fields.word[FIELD_DST])))
		return SANITY_ADDRESS;
	return parse_transport(host, p, room - used);
}

/* UDP ports of DHCP (RFC 2131) and DHCPv6 (RFC 8415): client and server. */
static __always_inline int dhcp_to(const struct packet *p, int client)
{
	int v6 = p->fields.word[FIELD_FAMILY] == 6;
	__u32 client_port = v6 ? 546 : 68, server_port = v6 ? 547 : 67;

	return p->fields.word[FIELD_PROTOCOL] == PROTOCOL_UDP &&
	       p->fields.word[FIELD_DST_PORT] == (client ? client_port : server_port) &&
	       p->fields.word[FIELD_SRC_PORT] == (client ? server_port : client_port);
}

/*
 * Fills `p`, of which the host has set l3, flags (GSO, GROUP, ARRIVING), segments, and of the
 * fields MARK and MAC; all else is zero. `ethertype` is that of the IP header, `length` that of the
 * whole frame from offset 0 on. Returns p->sanity.
 */
static __always_inline int packet_parse(host_packet_t *host, struct packet *p, __u32 ethertype,
					__u32 length)
{
	__u32 available = length > p->l3 ? length - p->l3 : 0;

	if (ethertype == ETHERTYPE_IPV4)
		p->sanity = (__u8)parse_ipv4(host, p, available);
	else
		p->sanity = (__u8)parse_ipv6(host, p, available);
	return p->sanity;
}

#endif
