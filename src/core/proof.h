// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The proof: a keyed fingerprint of a packet's tuple, by which departure knows that nobody has
 * translated what arrival decided.
 *
 * A forwarded packet of a known flow is taken into its flow on arrival. What departure still has to
 * know is that it leaves by the zone the flow goes to (tc_index holds its tag) and that it is still
 * the same tuple: arrival puts the proof into the packet's hash, which nobody else changes on the
 * way. Then departure needs neither headers in full, nor the flow. Where anything differs departure
 * judges as if it knew nothing.
 *
 * It is a multilinear hash (Lemire and Kaser, "Strongly universal string hashing is fast", 2014): a
 * random key of 64 bits for each word, the upper half of the sum. The keys are secret, or else
 * somebody could look for two tuples with one proof. All packets that are deferred get the proof as
 * their hash, also those without a flow yet: the hash chooses among equal routes
 * (fib_multipath_hash_policy 1), and must not change in mid-flow. That choice leaves out the lowest
 * bit, which here says whether the packet was taken into its flow: so that none is counted twice,
 * even where others have changed tc_index.
 */
#ifndef REEVE_CORE_PROOF_H
#define REEVE_CORE_PROOF_H

#include "core/flow.h"
#include "core/frame.h"

#define PROOF_TAKEN_IN 1u /* the lowest bit: the packet was taken into its flow on arrival */

/* Which key goes with which word; a word of zero needs none. */
enum proof_word {
	PROOF_BASE, /* no word's: added once */
	PROOF_SRC,
	PROOF_DST = PROOF_SRC + 4,
	PROOF_PORTS = PROOF_DST + 4,
	PROOF_PROTOCOL,
	PROOF_KEYS,
};

/* The keys from a random number: splitmix64 (Steele, Lea and Flood, 2014). */
static inline void proof_keys_make(__u64 *keys, __u64 seed)
{
	for (int i = 0; i < PROOF_KEYS; i++) {
		__u64 z = seed += 0x9e3779b97f4a7c15ull;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ z >> 27) * 0x94d049bb133111ebull;
		keys[i] = z ^ z >> 31;
	}
}

/* `src`, `dst` in host order; of IPv4 one word each. */
static __always_inline __u32 proof_of(const __u32 *src, const __u32 *dst, __u32 words, __u32 ports,
				      __u32 protocol, const __u64 *keys)
{
	__u64 sum = keys[PROOF_BASE] + keys[PROOF_PORTS] * ports + keys[PROOF_PROTOCOL] * protocol;
	__u32 i;

#pragma clang loop unroll(full)
	for (i = 0; i < words; i++)
		sum += keys[PROOF_SRC + i] * src[i] + keys[PROOF_DST + i] * dst[i];
	return (__u32)(sum >> 32) & ~PROOF_TAKEN_IN;
}

/* Of a parsed packet. */
static __always_inline __u32 proof_of_packet(const struct packet *p, const __u64 *keys)
{
	__u32 ports = p->fields.word[FIELD_SRC_PORT] << 16 | p->fields.word[FIELD_DST_PORT];

	if (!(p->flags & PACKET_PORTS))
		ports = p->echo_id;
	return proof_of(&p->fields.word[FIELD_SRC], &p->fields.word[FIELD_DST], 4, ports,
			p->fields.word[FIELD_PROTOCOL], keys);
}

/* Of a flow's key and the end that sends. */
static __always_inline __u32 proof_of_key(const struct flow_key *flow, __u32 sender_high,
					  const __u64 *keys)
{
	const __u32 *src = sender_high ? flow->high : flow->low;
	const __u32 *dst = sender_high ? flow->low : flow->high;
	__u32 src_port = sender_high ? flow->high_port : flow->low_port;
	__u32 dst_port = sender_high ? flow->low_port : flow->high_port;
	__u32 ports = src_port << 16 | dst_port;

	return flow->family == 6 ? proof_of(src, dst, 4, ports, flow->protocol, keys) :
				   proof_of(src, dst, 1, ports, flow->protocol, keys);
}

struct wire_ipv4_ports {
	struct wire_ipv4 ip;
	be32 ports;
};

struct wire_ipv6_ports {
	struct wire_ipv6 ip;
	be32 ports;
};

static __always_inline int proof_of_ipv4(const struct wire_ipv4_ports *head, const __u64 *keys,
					 __u32 *proof)
{
	__u32 src, dst;

	if (head->ip.version_ihl != 0x45 || (from_be16(head->ip.fragment) & 0x3fff) ||
	    (head->ip.protocol != PROTOCOL_TCP && head->ip.protocol != PROTOCOL_UDP))
		return -1;
	src = from_be32(head->ip.src);
	dst = from_be32(head->ip.dst);
	*proof = proof_of(&src, &dst, 1, from_be32(head->ports), head->ip.protocol, keys);
	return 0;
}

static __always_inline int proof_of_ipv6(const struct wire_ipv6_ports *head, const __u64 *keys,
					 __u32 *proof)
{
	__u32 src[4], dst[4], i;

	if (head->ip.next != PROTOCOL_TCP && head->ip.next != PROTOCOL_UDP)
		return -1;
#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++) {
		src[i] = from_be32(head->ip.src[i]);
		dst[i] = from_be32(head->ip.dst[i]);
	}
	*proof = proof_of(src, dst, 4, from_be32(head->ports), head->ip.next, keys);
	return 0;
}

/*
 * Of a frame, without parsing it: TCP and UDP in plain IP headers, which is nearly everything.
 * Negative for all else. Arrival has looked at every header of this packet, so what is read here is
 * there and whole.
 */
static __always_inline int proof_of_frame(host_packet_t *skb, __u32 ethernet,
					  const __u64 *keys, __u32 *proof)
{
	__u32 ethertype = from_be16((be16)skb->protocol), offset = ethernet ? ETHERNET_HEADER : 0;
	struct wire_ipv4_ports v4;
	struct wire_ipv6_ports v6;

	if (skb->vlan_present)
		return -1;
	if (ethertype == ETHERTYPE_IPV4 && !host_read(skb, offset, &v4, sizeof(v4)))
		return proof_of_ipv4(&v4, keys, proof);
	if (ethertype == ETHERTYPE_IPV6 && !host_read(skb, offset, &v6, sizeof(v6)))
		return proof_of_ipv6(&v6, keys, proof);
	return -1;
}

#endif
