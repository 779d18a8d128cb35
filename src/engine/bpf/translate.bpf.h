// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Translation in the kernel: what is written into a packet, and the address of the leaving
 * interface.
 *
 * A packet of the kernel's may have a partial checksum, which the device completes. The helpers for
 * checksums know, so they are used for every change.
 *
 * Included once, by steps.bpf.h.
 */
#ifndef REEVE_ENGINE_BPF_TRANSLATE_BPF_H
#define REEVE_ENGINE_BPF_TRANSLATE_BPF_H

/* Of bpf_fib_lookup(), newer than the headers at hand: Linux 6.3 and 6.7. */
#define FIB_SKIP_NEIGHBOUR 8u
#define FIB_SOURCE 16u

__noinline int step_own_address(struct __sk_buff *skb, struct room *room)
{
	struct bpf_fib_lookup fib = {};
	struct nat_room *nat;
	__u32 zero = 0, i;
	long result;

	nat = bpf_map_lookup_elem(&nat_rooms, &zero);
	if (!nat || !room)
		return -1;
	fib.ifindex = skb->ifindex;
	if (room->packet.fields.word[FIELD_FAMILY] == 4) {
		fib.family = AF_INET;
		fib.ipv4_dst = bpf_htonl(room->packet.fields.word[FIELD_DST]);
	} else {
		fib.family = AF_INET6;
#pragma clang loop unroll(full)
		for (i = 0; i < 4; i++)
			fib.ipv6_dst[i] = bpf_htonl(room->packet.fields.word[FIELD_DST + i]);
	}
	result = bpf_fib_lookup(skb, &fib, sizeof(fib),
				BPF_FIB_LOOKUP_OUTPUT | FIB_SKIP_NEIGHBOUR | FIB_SOURCE);
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    result != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return -1;
#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++)
		nat->own[i] = fib.family == AF_INET6 ? bpf_ntohl(fib.ipv6_src[i]) :
			      i ? 0 : bpf_ntohl(fib.ipv4_src);
	nat->own_known = nat->own[0] || nat->own[1] || nat->own[2] || nat->own[3];
	return 0;
}

static __always_inline void host_own_address(host_t *host)
{
	step_own_address(host->skb, host->room);
}

/* The address: `offset` is its place, `sum` that of the transport's checksum, or 0. */
static __always_inline int rewrite_ipv4(struct __sk_buff *skb, __u32 l3, __u32 offset, __u32 sum,
					__u32 sum_flags, const struct nat_room *nat)
{
	be32 old, address = bpf_htonl(nat->address[0]);

	if (bpf_skb_load_bytes(skb, offset, &old, sizeof(old)))
		return -1;
	if (sum && bpf_l4_csum_replace(skb, sum, old, address,
				       sum_flags | sizeof(old)))
		return -1;
	if (bpf_l3_csum_replace(skb, l3 + 10, old, address, sizeof(old)))
		return -1;
	return (int)bpf_skb_store_bytes(skb, offset, &address, sizeof(address), 0);
}

static __always_inline int rewrite_ipv6(struct __sk_buff *skb, __u32 offset, __u32 sum,
					__u32 sum_flags, const struct nat_room *nat)
{
	be32 old[4], address[4];
	__s64 difference;
	__u32 i;

#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++)
		address[i] = bpf_htonl(nat->address[i]);
	if (bpf_skb_load_bytes(skb, offset, old, sizeof(old)))
		return -1;
	difference = bpf_csum_diff(old, sizeof(old), address, sizeof(address), 0);
	if (sum && bpf_l4_csum_replace(skb, sum, 0, (__u64)difference, sum_flags))
		return -1;
	return (int)bpf_skb_store_bytes(skb, offset, address, sizeof(address), 0);
}

static __always_inline int rewrite_port(struct __sk_buff *skb, __u32 offset, __u32 sum,
					__u32 sum_flags, const struct nat_room *nat)
{
	be16 old, port = bpf_htons((__u16)nat->port);

	if (bpf_skb_load_bytes(skb, offset, &old, sizeof(old)))
		return -1;
	if (old == port)
		return 0;
	if (sum && bpf_l4_csum_replace(skb, sum, old, port, sum_flags | sizeof(old)))
		return -1;
	return (int)bpf_skb_store_bytes(skb, offset, &port, sizeof(port), 0);
}

/*
 * The error's own address, and in what it quotes the other end's. A change of the quoted IPv4
 * header and of its checksum cancel out in the error's checksum (RFC 1624).
 */
__noinline int step_rewrite_quoted(struct __sk_buff *skb, struct room *room)
{
	__u32 zero = 0, source, l3, ip, sum, l4, protocol;
	struct nat_room *nat = bpf_map_lookup_elem(&nat_rooms, &zero);
	int v6;

	if (!nat || !room)
		return -1;
	source = nat->rewrite == REWRITE_SOURCE;
	v6 = room->packet.fields.word[FIELD_FAMILY] == 6;
	l3 = room->packet.l3;
	ip = room->packet.l4 + 8u;
	sum = room->packet.l4 + 2u;
	l4 = room->quoted.l4;
	protocol = room->quoted.key.protocol;
	if (nat->outer && (v6 ? rewrite_ipv6(skb, l3 + (source ? 8 : 24), sum, BPF_F_PSEUDO_HDR, nat) :
				rewrite_ipv4(skb, l3, l3 + (source ? 12 : 16), 0, 0, nat)))
		return -1;
	if (v6 ? rewrite_ipv6(skb, ip + (source ? 24 : 8), sum, 0, nat) :
		 rewrite_ipv4(skb, ip, ip + (source ? 16 : 12), 0, 0, nat))
		return -1;
	if (protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_UDPLITE)
		return rewrite_port(skb, l4 + (source ? 2 : 0), sum, 0, nat);
	return protocol_echoes(protocol) ? rewrite_port(skb, l4 + 4, sum, 0, nat) : 0;
}

__noinline int step_rewrite(struct __sk_buff *skb, struct room *room)
{
	__u32 zero = 0, protocol, source, l3, l4 = 0, sum = 0, flags = 0, sum_of_address;
	struct nat_room *nat = bpf_map_lookup_elem(&nat_rooms, &zero);
	int v6;

	if (!nat || !room)
		return -1;
	protocol = room->packet.fields.word[FIELD_PROTOCOL];
	source = nat->rewrite == REWRITE_SOURCE;
	v6 = room->packet.fields.word[FIELD_FAMILY] == 6;
	l3 = room->packet.l3;
	if (!room->packet.fields.word[FIELD_FRAGMENT]) {
		l4 = room->packet.l4;
		sum = checksum_offset(&room->packet);
		if (sum)
			sum += l4;
	}
	if (protocol == PROTOCOL_UDP)
		flags = BPF_F_MARK_MANGLED_0;
	sum_of_address = protocol == PROTOCOL_ICMP ? 0 : sum;
	if (v6 ? rewrite_ipv6(skb, l3 + (source ? 8 : 24), sum_of_address,
			      flags | BPF_F_PSEUDO_HDR, nat) :
		 rewrite_ipv4(skb, l3, l3 + (source ? 12 : 16), sum_of_address,
			      flags | BPF_F_PSEUDO_HDR, nat))
		return -1;
	if (!l4)
		return 0;
	if (room->packet.flags & PACKET_PORTS)
		return rewrite_port(skb, l4 + (source ? 0 : 2), sum, flags, nat);
	if (room->packet.flags & (PACKET_ECHO_REQUEST | PACKET_ECHO_REPLY))
		return rewrite_port(skb, l4 + 4, sum, flags, nat);
	return 0;
}

/* What is known need not be read again: of the quick way. */
static __always_inline int rewrite_brief_ipv4(struct __sk_buff *skb, __u32 l3, __u32 sum,
					      __u32 sum_flags, const struct brief_rewrite *rewrite)
{
	be32 old = bpf_htonl(rewrite->old[0]), address = bpf_htonl(rewrite->address[0]);

	if (bpf_l4_csum_replace(skb, sum, old, address,
				sum_flags | BPF_F_PSEUDO_HDR | sizeof(old)) ||
	    bpf_l3_csum_replace(skb, l3 + 10, old, address, sizeof(old)))
		return -1;
	return (int)bpf_skb_store_bytes(skb, l3 + (rewrite->source ? 12 : 16), &address,
					sizeof(address), 0);
}

static __always_inline int rewrite_brief_ipv6(struct __sk_buff *skb, __u32 l3, __u32 sum,
					      __u32 sum_flags, const struct brief_rewrite *rewrite)
{
	be32 old[4], address[4];
	__s64 difference;
	__u32 i;

#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++) {
		old[i] = bpf_htonl(rewrite->old[i]);
		address[i] = bpf_htonl(rewrite->address[i]);
	}
	difference = bpf_csum_diff(old, sizeof(old), address, sizeof(address), 0);
	if (bpf_l4_csum_replace(skb, sum, 0, (__u64)difference, sum_flags | BPF_F_PSEUDO_HDR))
		return -1;
	return (int)bpf_skb_store_bytes(skb, l3 + (rewrite->source ? 8 : 24), address,
					sizeof(address), 0);
}

static __always_inline int host_rewrite_brief(host_t *host, struct __sk_buff *skb, __u32 ethernet,
					      const struct brief *brief,
					      const struct brief_rewrite *rewrite)
{
	__u32 v6 = brief->key.family == 6, tcp = brief->key.protocol == PROTOCOL_TCP;
	__u32 l3 = ethernet ? ETHERNET_HEADER : 0, l4 = l3 + (v6 ? 40u : 20u);
	__u32 sum = l4 + (tcp ? 16u : 6u), flags = tcp ? 0 : BPF_F_MARK_MANGLED_0;
	be16 old = bpf_htons((__u16)rewrite->old_port), port = bpf_htons((__u16)rewrite->port);

	if (v6 ? rewrite_brief_ipv6(skb, l3, sum, flags, rewrite) :
		 rewrite_brief_ipv4(skb, l3, sum, flags, rewrite))
		return -1;
	if (old == port)
		return 0;
	if (bpf_l4_csum_replace(skb, sum, old, port, flags | sizeof(old)))
		return -1;
	return (int)bpf_skb_store_bytes(skb, l4 + (rewrite->source ? 0 : 2), &port, sizeof(port), 0);
}

static __always_inline int host_rewrite(host_t *host, struct __sk_buff *skb)
{
	return host->nat->quoted ? step_rewrite_quoted(skb, host->room) : step_rewrite(skb, host->room);
}

#endif
