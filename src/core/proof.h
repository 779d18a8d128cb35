// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The proof: a keyed fingerprint of a packet's tuple, by which departure knows that nobody has translated what arrival decided.
 *
 * A forwarded packet of a known flow is taken into its flow on arrival. What departure still has to know is that it leaves by the zone the
 * flow goes to (tc_index holds its tag) and that it is still the same tuple: arrival puts the proof into the packet's hash, which
 * nobody else changes on the way. Then departure needs neither headers in full, nor the flow. Where anything differs departure judges as if it knew nothing.
 *
 * The key is random and secret, or else somebody could look for two tuples with one proof. All packets that are deferred get the proof as their hash,
 * also those without a flow yet: the hash chooses among equal routes (fib_multipath_hash_policy 1), and must not change in mid-flow. That
 * choice leaves out the lowest bit, which here says whether the packet was taken into its flow: so that none is counted twice, even where
 * others have changed tc_index.
 */
#ifndef REEVE_CORE_PROOF_H
#define REEVE_CORE_PROOF_H

#include "core/flow.h"
#include "core/frame.h"

#define PROOF_TAKEN_IN 1u /* the lowest bit: the packet was taken into its flow on arrival */

static __always_inline __u64 proof_mix(__u64 state, __u32 high, __u32 low)
{
	state = (state ^ ((__u64)high << 32 | low)) * 0x9e3779b97f4a7c15ull;
	return state ^ state >> 32;
}

static __always_inline __u32 proof_end(__u64 state, __u32 ports, __u32 protocol)
{
	state = proof_mix(state, ports, protocol);
	return (__u32)(state >> 16) & ~PROOF_TAKEN_IN;
}

/* Of a parsed packet. */
static __always_inline __u32 proof_of_packet(const struct packet *p, __u64 key)
{
	__u32 ports = p->fields.word[FIELD_SRC_PORT] << 16 | p->fields.word[FIELD_DST_PORT];
	__u64 state = proof_mix(key, p->fields.word[FIELD_SRC], p->fields.word[FIELD_DST]);
	__u32 i;

	if (!(p->flags & PACKET_PORTS))
		ports = p->echo_id;
	if (p->fields.word[FIELD_FAMILY] == 6) {
#pragma clang loop unroll(full)
		for (i = 1; i < 4; i++)
			state = proof_mix(state, p->fields.word[FIELD_SRC + i],
					  p->fields.word[FIELD_DST + i]);
	}
	return proof_end(state, ports, p->fields.word[FIELD_PROTOCOL]);
}

/* Of a flow's key and the end that sends. */
static __always_inline __u32 proof_of_key(const struct flow_key *flow, __u32 sender_high, __u64 key)
{
	const __u32 *src = sender_high ? flow->high : flow->low;
	const __u32 *dst = sender_high ? flow->low : flow->high;
	__u32 src_port = sender_high ? flow->high_port : flow->low_port;
	__u32 dst_port = sender_high ? flow->low_port : flow->high_port;
	__u32 i;

	key = proof_mix(key, src[0], dst[0]);
	if (flow->family == 6) {
#pragma clang loop unroll(full)
		for (i = 1; i < 4; i++)
			key = proof_mix(key, src[i], dst[i]);
	}
	return proof_end(key, src_port << 16 | dst_port, flow->protocol);
}

struct wire_ipv4_ports {
	struct wire_ipv4 ip;
	be32 ports;
};

struct wire_ipv6_ports {
	struct wire_ipv6 ip;
	be32 ports;
};

static __always_inline int proof_of_ipv4(const struct wire_ipv4_ports *head, __u64 key,
					 __u32 *proof)
{
	if (head->ip.version_ihl != 0x45 || (from_be16(head->ip.fragment) & 0x3fff) ||
	    (head->ip.protocol != PROTOCOL_TCP && head->ip.protocol != PROTOCOL_UDP))
		return -1;
	*proof = proof_end(proof_mix(key, from_be32(head->ip.src), from_be32(head->ip.dst)),
			   from_be32(head->ports), head->ip.protocol);
	return 0;
}

static __always_inline int proof_of_ipv6(const struct wire_ipv6_ports *head, __u64 key,
					 __u32 *proof)
{
	__u32 i;

	if (head->ip.next != PROTOCOL_TCP && head->ip.next != PROTOCOL_UDP)
		return -1;
#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++)
		key = proof_mix(key, from_be32(head->ip.src[i]), from_be32(head->ip.dst[i]));
	*proof = proof_end(key, from_be32(head->ports), head->ip.next);
	return 0;
}

/*
 * Of a frame, without parsing it: TCP and UDP in plain IP headers, which is nearly everything. Negative for all else. Arrival has looked at
 * every header of this packet, so what is read here is there and whole.
 */
static __always_inline int proof_of_frame(host_packet_t *skb, __u32 ethernet, __u64 key,
					  __u32 *proof)
{
	__u32 ethertype = from_be16((be16)skb->protocol), offset = ethernet ? ETHERNET_HEADER : 0;
	struct wire_ipv4_ports v4;
	struct wire_ipv6_ports v6;

	if (skb->vlan_present)
		return -1;
	if (ethertype == ETHERTYPE_IPV4 && !host_read(skb, offset, &v4, sizeof(v4)))
		return proof_of_ipv4(&v4, key, proof);
	if (ethertype == ETHERTYPE_IPV6 && !host_read(skb, offset, &v6, sizeof(v6)))
		return proof_of_ipv6(&v6, key, proof);
	return -1;
}

#endif
