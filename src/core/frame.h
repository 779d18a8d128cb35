// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The link layer: from a frame as the engine is handed it to the IP packet inside.
 *
 * Decides what is not ours: what is not IP, and what belongs to a VLAN device. A frame with VID 0
 * (a priority tag), stacked or not, is delivered by the parent device and judged there.
 *
 * The including host header defines, before this file, host_packet_t and host_read() as packet.h
 * asks, and host_packet_t has the members of struct __sk_buff that are read here, with the same
 * meaning: len, pkt_type, protocol (EtherType in network order), vlan_present, vlan_tci, gso_size,
 * gso_segs.
 */
#ifndef REEVE_CORE_FRAME_H
#define REEVE_CORE_FRAME_H

#include "core/packet.h"

#define ETHERNET_HEADER 14
#define VLAN_DEPTH 4 /* tags in a row */

/* pkt_type, as <linux/if_packet.h> numbers it */
enum packet_type {
	PACKET_TYPE_HOST = 0,
	PACKET_TYPE_BROADCAST = 1,
	PACKET_TYPE_MULTICAST = 2,
	PACKET_TYPE_OTHERHOST = 3,
	PACKET_TYPE_OUTGOING = 4,
	PACKET_TYPE_LOOPBACK = 5,
};

enum frame {
	FRAME_IP,    /* judge it */
	FRAME_OTHER, /* not IP, or it belongs to a VLAN device: left alone */
};

/* What is known without looking into the packet. */
static __always_inline void frame_facts(host_packet_t *skb, struct packet *p, __u32 arriving)
{
	p->segments = 1;
	if (skb->gso_size) {
		p->flags |= PACKET_GSO;
		p->segments = skb->gso_segs;
		if (!p->segments)
			p->segments = 1 + skb->len / skb->gso_size;
	}
	if (skb->pkt_type == PACKET_TYPE_BROADCAST || skb->pkt_type == PACKET_TYPE_MULTICAST)
		p->flags |= PACKET_GROUP;
	if (arriving)
		p->flags |= PACKET_ARRIVING;
}

static __always_inline void frame_source_mac(host_packet_t *skb, struct packet *p)
{
	__u8 mac[6];

	if (host_read(skb, 6, mac, sizeof(mac)))
		return;
	p->fields.word[FIELD_MAC_HIGH] = (__u32)mac[0] << 8 | mac[1];
	p->fields.word[FIELD_MAC_LOW] = (__u32)mac[2] << 24 | (__u32)mac[3] << 16 |
					(__u32)mac[4] << 8 | mac[5];
}

/*
 * Looks at the link layer and parses what is behind it into `p`, which is zero. `ethernet` is 1 if
 * the frame begins with an Ethernet header. Returns enum frame; for FRAME_IP p->sanity says whether
 * the packet is whole.
 */
static __always_inline int frame_parse(host_packet_t *skb, struct packet *p, __u32 ethernet,
				       __u32 arriving)
{
	__u32 ethertype = from_be16((be16)skb->protocol), offset = 0, i;

	frame_facts(skb, p, arriving);
	if (skb->vlan_present && (skb->vlan_tci & 0xfff))
		return FRAME_OTHER;
	if (ethernet)
		offset = ETHERNET_HEADER;
#pragma clang loop unroll(full)
	for (i = 0; i < VLAN_DEPTH; i++) {
		struct {
			be16 tci, ethertype;
		} tag;

		if (ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ)
			break;
		if (!ethernet || host_read(skb, offset, &tag, sizeof(tag))) {
			p->sanity = SANITY_TRUNCATED;
			return FRAME_IP;
		}
		if (from_be16(tag.tci) & 0xfff)
			return FRAME_OTHER;
		ethertype = from_be16(tag.ethertype);
		offset += sizeof(tag);
	}
	if (ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ) {
		p->sanity = SANITY_VLAN_DEPTH;
		return FRAME_IP;
	}
	if (ethertype != ETHERTYPE_IPV4 && ethertype != ETHERTYPE_IPV6)
		return FRAME_OTHER;
	p->l3 = (__u16)offset;
	if (ethernet && arriving)
		frame_source_mac(skb, p);
	packet_parse(skb, p, ethertype, skb->len);
	return FRAME_IP;
}

#endif
