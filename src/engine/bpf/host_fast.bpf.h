// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The core's host at XDP for the fast path: flows, the kernel's routes, the frame as it is sent on.
 *
 * Included once, by early.bpf.c, behind host_early.bpf.h.
 */
#ifndef REEVE_ENGINE_BPF_HOST_FAST_BPF_H
#define REEVE_ENGINE_BPF_HOST_FAST_BPF_H

#include <bpf/bpf_endian.h>

#include "core/flow.h"
#include "core/timeout.h"
#include "engine/bpf/host_early.bpf.h"

#define AF_INET 2
#define AF_INET6 10

/* That of the tc programs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* the loader's business */
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

/*
 * When a neighbour was last left a packet. Two that share a place are left fewer, which does no
 * harm as long as they answer.
 */
#define NEIGHBOUR_PLACES 1024
#define NEIGHBOUR_INTERVAL (4 * SECOND)

static __u64 neighbours_seen[NEIGHBOUR_PLACES];

static __always_inline __u32 host_flows_since(host_t *host)
{
	return control.slot[host->slot & 1].flows_since;
}

#include "core/fast_way.h"

static __always_inline void host_count_open(host_t *host)
{
	__u32 zero = 0;

	host->stats = bpf_map_lookup_elem(&stats, &zero);
}

/* As of the tc programs (host_bpf.h), with which it shares what it remembers. */
static __always_inline __u64 host_now_quick(host_t *host)
{
	struct statistics *row = host->stats;
	__u64 tick = bpf_jiffies64();

	if (!row)
		return bpf_ktime_get_coarse_ns();
	if (row->tick != tick) {
		row->tick = tick;
		row->now = bpf_ktime_get_coarse_ns();
	}
	return row->now;
}

static __always_inline struct flow *host_flow_find(host_t *host, const struct flow_key *key)
{
	return bpf_map_lookup_elem(&flows, key);
}

static __always_inline __u32 host_fast_tag(host_t *host, __u32 ifindex)
{
	if (ifindex >= INTERFACES_NEAR ||
	    !(control.fast[ifindex].bits[host->slot & 1] & FAST_ARRIVES))
		return 0;
	return control.tags[host->slot & 1][ifindex] & ~TAG_SCRUBBED;
}

static __always_inline int host_fast_leaves(host_t *host, __u32 ifindex, __u32 tag)
{
	return ifindex < INTERFACES_NEAR &&
	       (control.fast[ifindex].bits[host->slot & 1] & FAST_LEAVES) &&
	       control.tags[host->slot & 1][ifindex] == tag;
}

static __always_inline void *host_edit(host_packet_t *frame, __u32 length)
{
	void *data = (void *)(long)frame->xdp->data, *end = (void *)(long)frame->xdp->data_end;

	return data + length <= end ? data : 0;
}

static __always_inline int neighbour_due(const struct fast_way *way, __u64 now)
{
	const __u8 *address = way->link.destination;
	__u32 place = (__u32)address[5] | (__u32)address[4] << 8;
	__u64 *seen;

	place ^= way->ifindex << 5 ^ (__u32)address[3];
	forget(place); /* or parts of it are masked singly, and old verifiers see no bound */
	seen = &neighbours_seen[place & (NEIGHBOUR_PLACES - 1)];
	if (now - *(volatile __u64 *)seen < NEIGHBOUR_INTERVAL)
		return 0;
	*(volatile __u64 *)seen = now;
	return 1;
}

static __always_inline void way_ends(struct bpf_fib_lookup *fib, const struct flow_key *key,
				     __u32 sender_high)
{
	const __u32 *from = sender_high ? key->high : key->low;
	const __u32 *to = sender_high ? key->low : key->high;
	__u32 i;

	if (key->family == 4) {
		fib->family = AF_INET;
		fib->ipv4_src = bpf_htonl(from[0]);
		fib->ipv4_dst = bpf_htonl(to[0]);
		return;
	}
	fib->family = AF_INET6;
#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++) {
		fib->ipv6_src[i] = bpf_htonl(from[i]);
		fib->ipv6_dst[i] = bpf_htonl(to[i]);
	}
}

static __always_inline int way_ask(host_packet_t *frame, const struct fast_packet *packet,
				   __u32 ifindex, __u64 now, struct fast_way *way)
{
	const struct flow_key *key = &packet->brief.key;
	__u32 high = packet->brief.sender_high;
	struct bpf_fib_lookup fib = {};

	fib.ifindex = ifindex;
	fib.l4_protocol = key->protocol;
	fib.sport = bpf_htons(high ? key->high_port : key->low_port);
	fib.dport = bpf_htons(high ? key->low_port : key->high_port);
	fib.tot_len = (__u16)packet->brief.length;
	if (key->family == 4)
		fib.tos = (__u8)packet->service;
	else
		fib.flowinfo = bpf_htonl(packet->service);
	way_ends(&fib, key, high);
	if (bpf_fib_lookup(frame->xdp, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return -1;
	way->ifindex = fib.ifindex;
	memcpy(way->link.destination, fib.dmac, sizeof(fib.dmac));
	memcpy(way->link.source, fib.smac, sizeof(fib.smac));
	return neighbour_due(way, now) ? -1 : 0;
}

/*
 * What the kernel has said of an IPv4 tuple, of all of it that routes can ask for. It is believed
 * for as long as a tick of the kernel's lasts, which is no longer than a packet may wait in a queue
 * behind the same answer.
 */
struct way_kept {
	__u64 ends;   /* both addresses, as in the key */
	__u64 rest;   /* ports and protocol, likewise */
	__u64 tick;
	__u32 asked;  /* interface, service, direction */
	__u32 length; /* packets up to this fit */
	struct fast_way way;
} __attribute__((aligned(64)));

#define WAYS_KEPT 2048

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WAYS_KEPT);
	__type(key, __u32);
	__type(value, struct way_kept);
} ways SEC(".maps");

typedef __u64 __attribute__((may_alias)) way_word;

/* Ports of one client are often neighbours: they get places beside each other. */
static __always_inline __u32 way_place(__u32 addresses, __u32 ports)
{
	addresses ^= addresses >> 16;
	return (ports ^ ports >> 16 ^ addresses * 61) & (WAYS_KEPT - 1);
}

static __always_inline int host_way(host_t *host, host_packet_t *frame,
				    const struct fast_packet *packet, __u32 ifindex, __u64 now,
				    struct fast_way *way)
{
	const struct flow_key *key = &packet->brief.key;
	__u64 ends = key->low[0] | (__u64)key->high[0] << 32;
	__u64 rest = *(const way_word *)(const void *)&key->low_port, tick = bpf_jiffies64();
	__u32 asked = ifindex | packet->service << 16 | packet->brief.sender_high << 24;
	__u32 place = way_place(key->low[0] ^ key->high[0], (__u32)rest);
	struct way_kept *kept;

	kept = key->family == 4 ? bpf_map_lookup_elem(&ways, &place) : 0;
	if (kept && kept->tick == tick && kept->ends == ends && kept->rest == rest &&
	    kept->asked == asked && packet->brief.length <= kept->length) {
		*way = kept->way;
		return 0;
	}
	if (host_foreign(host, frame) || way_ask(frame, packet, ifindex, now, way))
		return -1;
	if (kept) {
		kept->tick = tick;
		kept->ends = ends;
		kept->rest = rest;
		kept->asked = asked;
		kept->length = packet->brief.length;
		kept->way = *way;
	}
	return 0;
}

#include "core/fast.h"

/* Is it for this interface, and not only seen by it? */
static __always_inline int frame_is_ours(const __u8 *destination, const __u8 *address)
{
	const __u32 *one = __builtin_assume_aligned(destination, 4);
	const __u32 *two = __builtin_assume_aligned(address, 4);
	const __u16 *rest = (const __u16 *)(one + 1), *other = (const __u16 *)(two + 1);

	return *one == *two && *rest == *other;
}

/* By itself, so that it has a stack of its own. The interface to send by, or 0. */
__noinline __u32 step_fast(struct xdp_md *xdp, __u32 slot)
{
	host_packet_t frame = { .xdp = xdp };
	host_t host = { .slot = slot };
	__u32 ifindex = xdp->ingress_ifindex;
	const struct {
		__u8 destination[6], source[6];
		be16 ethertype;
	} *link = host_peek(&frame, 0, sizeof(*link));

	if (!link || ifindex >= INTERFACES_NEAR ||
	    !frame_is_ours(link->destination, (const __u8 *)control.fast[ifindex].address))
		return 0;
	frame.protocol = link->ethertype;
	frame.len = (__u32)(xdp->data_end - xdp->data);
	return fast_forward(&host, &frame, ifindex);
}

#endif
