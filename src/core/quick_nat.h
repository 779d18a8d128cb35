// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The quick way of translated flows (core/nat.h): which direction a packet is of, and what is to be
 * written into it. Part of quick.h, whose rules hold here too: what is not plain is left to the
 * full way, and nothing has been changed then.
 *
 * Arrival leaves on a packet whose source is to be translated no more than the proof that it has
 * taken it in; departure looks the flow up.
 *
 * The including host header defines, besides what quick.h asks for:
 *	int host_rewrite_brief(host_t *, host_packet_t *, __u32 ethernet, const struct brief *, const struct brief_rewrite *)
 *							  as host_rewrite(), for what brief_read() has read; negative: it cannot be
 */
#ifndef REEVE_CORE_QUICK_NAT_H
#define REEVE_CORE_QUICK_NAT_H

/* One end of a packet, as it is and as it is to be; the addresses are borrowed. */
struct brief_rewrite {
	__u32 source; /* not 0: the sender's end */
	const __u32 *old, *address;
	__u32 old_port, port;
};

static int host_rewrite_brief(host_t *host, host_packet_t *skb, __u32 ethernet,
			      const struct brief *brief, const struct brief_rewrite *rewrite);

/* A packet's ends in the order in which it has them; the addresses are those of its key. */
struct brief_ends {
	const __u32 *src, *dst;
	__u32 src_port, dst_port;
};

static __always_inline struct brief_ends brief_ends(const struct brief *brief)
{
	const struct flow_key *key = &brief->key;

	if (brief->sender_high)
		return (struct brief_ends){ key->high, key->low, key->high_port, key->low_port };
	return (struct brief_ends){ key->low, key->high, key->low_port, key->high_port };
}

/* The record that the packet's tuple leads to; *real is its key. NULL: there is none. */
static __always_inline struct flow *brief_translated(host_t *host, const struct brief *brief,
						     struct flow_key *real)
{
	const struct translated_tuple *entry = host_translated_find(host, &brief->key);

	if (!entry)
		return 0;
	*real = entry->real;
	return host_flow_find(host, real);
}

/* translated_direction() of plain TCP and UDP. */
static __always_inline int brief_direction(const struct brief_ends *ends,
					   const struct flow_key *real, const struct flow *flow,
					   __u32 arriving)
{
	const struct translation *to = &flow->translation;
	__u32 high = flow->flags & FLOW_ORIGIN_HIGH;
	const __u32 *origin = high ? real->high : real->low;
	__u32 origin_port = high ? real->high_port : real->low_port;

	if (ends->src_port == origin_port && address_same(ends->src, origin) &&
	    ends->dst_port == (arriving ? flow_target_port(real, flow) : to->dst_port) &&
	    address_same(ends->dst, arriving ? flow_target(real, flow) : to->dst))
		return DIRECTION_ORIGINAL;
	if (ends->src_port == to->dst_port && address_same(ends->src, to->dst) &&
	    ends->dst_port == (arriving ? to->src_port : origin_port) &&
	    address_same(ends->dst, arriving ? to->src : origin))
		return DIRECTION_REPLY;
	return -1;
}

/* What arrival writes. */
static __always_inline struct brief_rewrite brief_rewrite_destination(const struct brief_ends *ends,
								      const struct flow_key *real,
								      const struct flow *flow,
								      __u32 reply)
{
	return (struct brief_rewrite){
		.old = ends->dst,
		.old_port = ends->dst_port,
		.address = reply ? flow_origin(real, flow) : flow->translation.dst,
		.port = reply ? flow_origin_port(real, flow) : flow->translation.dst_port,
	};
}

/* What departure writes. */
static __always_inline struct brief_rewrite brief_rewrite_source(const struct brief_ends *ends,
								 const struct flow_key *real,
								 const struct flow *flow,
								 __u32 reply)
{
	return (struct brief_rewrite){
		.source = 1,
		.old = ends->src,
		.old_port = ends->src_port,
		.address = reply ? flow_target(real, flow) : flow->translation.src,
		.port = reply ? flow_target_port(real, flow) : flow->translation.src_port,
	};
}

static __always_inline __u32 proof_of_ends(const struct brief_ends *ends, const struct brief *brief,
					   const __u64 *keys)
{
	__u32 ports = ends->src_port << 16 | ends->dst_port;

	return brief->key.family == 6 ?
		       proof_of(ends->src, ends->dst, 4, ports, brief->key.protocol, keys) :
		       proof_of(ends->src, ends->dst, 1, ports, brief->key.protocol, keys);
}

#endif
