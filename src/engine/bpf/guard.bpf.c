// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The guard: on Netfilter's local_in and post_routing, drops what no checkpoint has judged.
 *
 * A forwarded packet meets it once, at post_routing, where both its interfaces are known: a hook
 * costs ten times what the check does, and behind post_routing there is only departure. (A third
 * program on `forward` would stop the same packets one step earlier.)
 *
 * Without it a packet could slip in whose destination somebody changed behind arrival (an nft
 * redirect), one that came out of a tunnel on an interface without programs, or anything on an
 * interface that appeared after the last apply.
 *
 * An object of its own: it needs kernel 6.4 (netfilter links), the tc programs do not.
 */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "core/event.h"
#include "core/mark.h"
#include "core/protocol.h"
#include "engine/bpf/maps.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#define NF_DROP 0
#define NF_ACCEPT 1

/* Full structs, not forward declarations: only what is read, found by name in the kernel's BTF. */
struct net_device {
	int ifindex;
	void *tcx_ingress, *tcx_egress; /* also where only clsact is used */
} __attribute__((preserve_access_index));

/* Before Linux 6.6. */
struct net_device___before_tcx {
	void *miniq_ingress, *miniq_egress;
} __attribute__((preserve_access_index));

struct sk_buff {
	struct net_device *dev;
	__u32 len;
	__u32 mark;
	int skb_iif;
	__u16 tc_index;
	unsigned char *head;
	__u16 network_header, transport_header;
} __attribute__((preserve_access_index));

struct nf_hook_state {
	__u8 hook;
	__u8 pf;
	struct net_device *in;
	struct net_device *out;
} __attribute__((preserve_access_index));

struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
} __attribute__((preserve_access_index));

/* The tc programs' own: the loader makes it one. */
struct control control SEC(".data.control");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, COVERED_FAR_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct coverage_entry);
} covered_far SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct statistics);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

static __always_inline struct coverage_entry coverage(__u32 ifindex)
{
	struct coverage_entry *entry, none = {};

	if (ifindex < INTERFACES_NEAR)
		return control.covered[ifindex];
	entry = bpf_map_lookup_elem(&covered_far, &ifindex);
	return entry ? *entry : none;
}

static __always_inline const volatile struct control_slot *running_slot(void)
{
	return &control.slot[*(volatile __u32 *)&control.active & 1];
}

/*
 * Who it was from and to. The skb's pointers are not for direct reading here: a copy, and zeros
 * where it fails.
 */
static __always_inline void event_addresses(struct event *event, struct sk_buff *skb)
{
	const unsigned char *network = skb->head + skb->network_header;
	union {
		struct {
			__u8 version_ihl, tos;
			__u16 length, id, fragment;
			__u8 ttl, protocol;
			__u16 checksum;
			__u32 src, dst;
		} v4;
		struct {
			__u32 first;
			__u16 length;
			__u8 next, hop_limit;
			__u32 src[4], dst[4];
		} v6;
	} ip;
	__u16 ports[2];
	__u32 i;

	if (event->family == 4) {
		if (bpf_probe_read_kernel(&ip.v4, sizeof(ip.v4), network))
			return;
		event->protocol = ip.v4.protocol;
		event->src[0] = __builtin_bswap32(ip.v4.src);
		event->dst[0] = __builtin_bswap32(ip.v4.dst);
		network += (ip.v4.version_ihl & 15) * 4;
	} else {
		if (bpf_probe_read_kernel(&ip.v6, sizeof(ip.v6), network))
			return;
		event->protocol = ip.v6.next;
		for (i = 0; i < 4; i++) {
			event->src[i] = __builtin_bswap32(ip.v6.src[i]);
			event->dst[i] = __builtin_bswap32(ip.v6.dst[i]);
		}
		network += sizeof(ip.v6);
	}
	if ((event->protocol == PROTOCOL_TCP || event->protocol == PROTOCOL_UDP) &&
	    !bpf_probe_read_kernel(ports, sizeof(ports), network)) {
		event->src_port = __builtin_bswap16(ports[0]);
		event->dst_port = __builtin_bswap16(ports[1]);
	}
	if ((event->protocol == PROTOCOL_ICMP || event->protocol == PROTOCOL_ICMPV6) &&
	    !bpf_probe_read_kernel(ports, sizeof(ports[0]), network))
		event->dst_port = __builtin_bswap16(ports[0]); /* type and code */
}

static __always_inline int guard_drop(struct bpf_nf_ctx *ctx, enum statistic stat,
				      enum event_hook hook)
{
	const struct nf_hook_state *state = ctx->state;
	struct net_device *in = state->in, *out = state->out;
	__u32 zero = 0;
	struct statistics *row = bpf_map_lookup_elem(&stats, &zero);
	struct event *event;

	if (row && stat < STAT_COUNT)
		row->count[stat]++;
	if (*(volatile __u64 *)&control.watch_until <= bpf_ktime_get_ns())
		return NF_DROP;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return NF_DROP;
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = bpf_ktime_get_ns();
	event->kind = EVENT_GUARD;
	event->hook = hook;
	event->action = ACTION_DROP;
	event->family = state->pf == 10 ? 6 : 4;
	event->length = ctx->skb->len;
	event->in_ifindex = in ? (__u32)in->ifindex : 0;
	if (!in)
		event->in_ifindex = (__u32)ctx->skb->skb_iif;
	event->ifindex = hook == HOOK_POST_ROUTING ? (out ? (__u32)out->ifindex : 0) :
						     event->in_ifindex;
	event->from_zone = 0xffff;
	event->to_zone = 0xffff;
	event_addresses(event, ctx->skb);
	event->generation = running_slot()->generation;
	bpf_ringbuf_submit(event, 0);
	return NF_DROP;
}

static __always_inline int hooked(struct net_device *device, int departure)
{
	struct net_device___before_tcx *older = (void *)device;

	if (bpf_core_field_exists(device->tcx_ingress))
		return departure ? !!device->tcx_egress : !!device->tcx_ingress;
	return departure ? !!older->miniq_egress : !!older->miniq_ingress;
}

/*
 * Interface indices are used again, so the map's word is not enough: the device must have programs
 * on its hook. (Somebody else's would do; but then reeve's were taken away by hand, and `status`
 * says so.)
 */
SEC("netfilter")
int guard_local_in(struct bpf_nf_ctx *ctx)
{
	const volatile struct control_slot *slot = running_slot();
	struct net_device *in = ctx->state->in;
	struct coverage_entry entry;
	__u32 shift;

	if (!slot->generation || !slot->guard || !in)
		return NF_ACCEPT;
	entry = coverage((__u32)in->ifindex);
	shift = slot->mark_shift & 31;
	if ((entry.bits & COVERED_EXEMPT) ||
	    ((entry.bits & COVERED_PROGRAMS) && hooked(in, 0) &&
	     marked_for_self(ctx->skb->tc_index, control.witness & 0xffff, ctx->skb->mark >> shift)))
		return NF_ACCEPT;
	return guard_drop(ctx, STAT_GUARD_LOCAL, HOOK_LOCAL_IN);
}

/*
 * Did the packet come in where arrival sees it? Its marks need no look: departure, which follows,
 * judges all that arrival has not decided. Own packets have no arriving interface.
 */
static __always_inline int arrival_covered(struct bpf_nf_ctx *ctx, __u32 out)
{
	__u32 in = (__u32)ctx->skb->skb_iif;
	struct coverage_entry entry;

	if (!in)
		return 1;
	entry = coverage(in);
	if (entry.bits & COVERED_EXEMPT)
		return 1;
	/*
	 * Between ports of one bridge; what is routed through it meets departure of the bridge in
	 * any case.
	 */
	if ((entry.bits & COVERED_PORT) && entry.master == out)
		return 1;
	return entry.bits & COVERED_PROGRAMS;
}

SEC("netfilter")
int guard_post_routing(struct bpf_nf_ctx *ctx)
{
	const volatile struct control_slot *slot = running_slot();
	struct net_device *out = ctx->state->out;
	struct coverage_entry entry;

	if (!slot->generation || !slot->guard || !out)
		return NF_ACCEPT;
	/*
	 * A frame between ports of one bridge, which `bridge-nf-call-iptables` shows here: it
	 * leaves by a port, the bridge stands in for it. Such traffic is not filtered, also while
	 * nobody has covered the bridge yet.
	 */
	if (ctx->skb->dev->ifindex != out->ifindex)
		return NF_ACCEPT;
	entry = coverage((__u32)out->ifindex);
	if (!(entry.bits & COVERED_EXEMPT) &&
	    !((entry.bits & COVERED_PROGRAMS) && hooked(out, 1)))
		return guard_drop(ctx, STAT_GUARD_POST, HOOK_POST_ROUTING);
	if (!arrival_covered(ctx, (__u32)out->ifindex))
		return guard_drop(ctx, STAT_GUARD_FORWARD, HOOK_FORWARD);
	return NF_ACCEPT;
}
