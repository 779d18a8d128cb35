// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Hygiene: what a zone asks for besides its rules (struct image_hygiene).
 *
 * On arrival, against forged sources: a packet that no live flow answers for is dropped unless the
 * way back to its source leaves by the interface it came by (RFC 3704, 2.2), or, when loose, unless
 * there is a way back at all (2.4). What has no source that could be asked for, and what speaks on
 * the link alone, is let through to the rules: DHCP, neighbour discovery, the unspecified source to
 * a group, IPv6 link-local sources. A flow of an older policy asks once more.
 *
 * At departure, of what is forwarded and passes: the segment size that a SYN announces is lowered
 * to what the two devices can carry (RFC 879, RFC 6691; never raised, never added); then, of what
 * leaves to the zone, a lowest TTL or hop limit, no DF, an unpredictable identification. All
 * writing goes through the host, which mends checksums its own way.
 *
 * The including host header defines, besides what judge.h and checkpoint.h ask for:
 *	int host_way_back(host_t *, __u32 *ifindex)	the device by which the kernel would send to the packet's source: 1; 0 when
 *							there is none (or the source is this host); negative when the kernel does not say
 *	__u32 host_mtu(host_t *, host_packet_t *, __u32 ifindex)	of a device; 0 when it is not known
 *	__u32 host_random32(host_t *)
 *	void host_edit_ipv4(host_packet_t *, __u32 l3, __u32 at, be16 from, be16 to)	a word of the IPv4 header, `at` bytes from its
 *							beginning, and its checksum
 *	void host_edit_tcp(host_packet_t *, __u32 l4, __u32 at, be16 from, be16 to)	likewise of the TCP header; `at` may be odd
 *	void host_edit_hop_limit(host_packet_t *, __u32 offset, __u8 value)	no checksum has it
 * and behind it:
 *	int host_spoofed(host_t *, struct judgement *)	judge_spoofed(), as a function of its own or not; 0 without hygiene
 *	void host_mss_search(struct mss_search *)	runs mss_search_step() at most TCP_OPTIONS_MAX times
 */
#ifndef REEVE_CORE_HYGIENE_H
#define REEVE_CORE_HYGIENE_H

#include "core/classify.h"
#include "core/frame.h"
#include "core/judgement.h"

#define IPV4_DF 0x4000
#define IPV4_FRAGMENT 0x3fff /* more fragments, and the offset */

static int host_spoofed(host_t *host, struct judgement *j);

static __always_inline struct image_hygiene hygiene_of(host_t *host, __u32 zone)
{
	struct image_hygiene none = { 0 };
	const struct image_hygiene *entry;

	if (!host->header->hygiene || zone >= ZONES_MAX)
		return none;
	entry = host_unit(&host->image, host->header->hygiene + zone / IMAGE_UNIT_HYGIENE);
	return entry ? entry[zone % IMAGE_UNIT_HYGIENE] : none;
}

/* --- sources --------------------------------------------------------------- */

/* Neighbour discovery proves by its hop limit that it comes from the link (RFC 4861). */
static __always_inline int source_on_link(const struct packet *p)
{
	__u32 type = p->fields.word[FIELD_DST_PORT] >> 8;

	if (p->fields.word[FIELD_FAMILY] != 6)
		return 0;
	if (p->fields.word[FIELD_SRC] >> 22 == 0xfe80 >> 6)
		return 1;
	return p->fields.word[FIELD_PROTOCOL] == PROTOCOL_ICMPV6 && type >= 133 && type <= 137 &&
	       p->fields.word[FIELD_TTL] == 255 && !p->fields.word[FIELD_FRAGMENT];
}

/* Is the source none that a route could speak of? */
static __always_inline int source_excused(const struct packet *p)
{
	const __u32 *src = &p->fields.word[FIELD_SRC];

	if (p->flags & PACKET_GROUP) {
		/* Who has no address yet, or speaks for nobody: DHCP, IGMP (RFC 4541, 2.1.1), DAD, MLD. */
		if (!(src[0] | src[1] | src[2] | src[3]))
			return 1;
		if (dhcp_to(p, 0))
			return 1; /* an address of another link, where it is now (RFC 2131, 4.4.5) */
	}
	/* The answer comes before there is a route. */
	if (dhcp_to(p, 1) && ((p->flags & PACKET_GROUP) || p->fields.word[FIELD_EXPECTED]))
		return 1;
	return source_on_link(p);
}

/* Is the source of this arriving packet forged, as far as its zone asks? Then it is dropped: 1. */
static __always_inline int judge_spoofed(host_t *host, struct judgement *j)
{
	struct packet *p = host->packet;
	struct image_hygiene zone = hygiene_of(host, p->fields.word[FIELD_FROM_ZONE]);
	__u32 ifindex = 0;
	int known;

	if (!(zone.flags & HYGIENE_ANTISPOOF) || source_excused(p))
		return 0;
	known = host_way_back(host, &ifindex);
	if (known < 0 || (known && ((zone.flags & HYGIENE_LOOSE) || ifindex == j->ifindex)))
		return 0;
	p->sanity = SANITY_SPOOFED;
	j->outcome = OUTCOME_DROP;
	j->by = BY_SANITY;
	host_count(host, STAT_SPOOFED);
	host_event(host, EVENT_DROP, j);
	return 1;
}

/* --- segment sizes ---------------------------------------------------------- */

/* As struct scale_search: every such option among a SYN's, since receivers take the last. */
struct mss_search {
	host_packet_t *packet;
	__u32 l4;
	__u32 at, end; /* from the beginning of the TCP header on */
	__u32 limit;
};

/* One option. Non-zero when the search is over. */
static __always_inline int mss_search_step(struct mss_search *search)
{
	struct {
		__u8 kind, length;
	} option;
	__u32 at = search->at;
	be16 size;

	if (search->end < at + sizeof(option) ||
	    host_read_paged(search->packet, search->l4 + at, &option, sizeof(option)) ||
	    option.kind == TCP_OPTION_END)
		return 1;
	if (option.kind == TCP_OPTION_NOP) {
		search->at = at + 1;
		return 0;
	}
	if (option.length < sizeof(option) || option.length > search->end - at)
		return 1;
	search->at = at + option.length;
	if (option.kind != TCP_OPTION_MSS || option.length != 4 ||
	    host_read_paged(search->packet, search->l4 + at + 2, &size, sizeof(size)))
		return 0;
	if (from_be16(size) > search->limit)
		host_edit_tcp(search->packet, search->l4, at + 2, size,
			      from_be16((__u16)search->limit));
	return 0;
}

static __always_inline void host_mss_search(struct mss_search *search);

/* What a device can carry behind the IP and TCP headers without options; 0: not known. */
static __always_inline __u32 mss_of_device(host_t *host, host_packet_t *skb, __u32 ifindex)
{
	__u32 mtu = host_mtu(host, skb, ifindex);
	__u32 headers = host->packet->fields.word[FIELD_FAMILY] == 6 ? 60 : 40;

	return mtu > headers ? mtu - headers : 0;
}

static __always_inline __u32 lower(__u32 limit, __u32 size)
{
	return size && size < limit ? size : limit;
}

static __always_inline void mss_clamp(host_t *host, host_packet_t *skb, struct image_hygiene from,
				      struct image_hygiene to)
{
	struct packet *p = host->packet;
	struct mss_search search = {
		.packet = skb,
		.l4 = p->l4,
		.at = sizeof(struct wire_tcp),
		.end = p->tcp_header,
		.limit = 0xffff,
	};

	if (!((from.flags | to.flags) & HYGIENE_CLAMP_MSS) ||
	    p->fields.word[FIELD_PROTOCOL] != PROTOCOL_TCP ||
	    !(p->fields.word[FIELD_TCP_FLAGS] & TCP_SYN))
		return;
	search.limit = lower(lower(search.limit, from.mss), to.mss);
	if (((from.flags & HYGIENE_CLAMP_MSS) && !from.mss) ||
	    ((to.flags & HYGIENE_CLAMP_MSS) && !to.mss)) {
		search.limit = lower(search.limit, mss_of_device(host, skb, skb->ifindex));
		search.limit = lower(search.limit, mss_of_device(host, skb, skb->ingress_ifindex));
	}
	if (search.limit != 0xffff)
		host_mss_search(&search);
}

/* --- headers ---------------------------------------------------------------- */

static __always_inline void scrub_ipv4(host_t *host, host_packet_t *skb, struct image_hygiene to)
{
	__u32 l3 = host->packet->l3, fragment, ttl;
	struct wire_ipv4 ip;
	be16 id;

	if (host_read(skb, l3, &ip, sizeof(ip)))
		return;
	fragment = from_be16(ip.fragment);
	ttl = (__u32)ip.ttl << 8 | ip.protocol;
	if (ip.ttl < to.min_ttl)
		host_edit_ipv4(skb, l3, 8, from_be16((__u16)ttl),
			       from_be16((__u16)((__u32)to.min_ttl << 8 | ip.protocol)));
	if ((to.flags & HYGIENE_NO_DF) && (fragment & IPV4_DF))
		host_edit_ipv4(skb, l3, 6, ip.fragment, from_be16((__u16)(fragment & ~(__u32)IPV4_DF)));
	if ((to.flags & HYGIENE_RANDOM_ID) && !(fragment & IPV4_FRAGMENT)) {
		id = (be16)host_random32(host);
		host_edit_ipv4(skb, l3, 4, ip.id, id ? id : 1); /* 0 says that it has none */
	}
}

/* A forwarded packet passes, at its leaving device: what the zones ask for. It was parsed, or not. */
static __always_inline void hygiene_depart(host_t *host, host_packet_t *skb, __u32 ethernet)
{
	struct packet *p = host->packet;
	struct image_hygiene from, to;
	__u32 ifindex = skb->ingress_ifindex;

	from = hygiene_of(host, interface_find(&host->image, host->header, ifindex).zone);
	to = hygiene_of(host, interface_find(&host->image, host->header, skb->ifindex).zone);
	if (!((from.flags | to.flags) & HYGIENE_CLAMP_MSS) && !to.min_ttl &&
	    !(to.flags & (HYGIENE_NO_DF | HYGIENE_RANDOM_ID)))
		return;
	if ((!p->l4 && host_parse(skb, p, ethernet, 0) != FRAME_IP) || p->sanity != SANITY_OK)
		return;
	mss_clamp(host, skb, from, to);
	if (p->fields.word[FIELD_FAMILY] == 4)
		scrub_ipv4(host, skb, to);
	else if (p->fields.word[FIELD_TTL] < to.min_ttl)
		host_edit_hop_limit(skb, p->l3 + 7u, to.min_ttl);
}

#endif
