// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The XDP programs: early, for devices with and without an Ethernet header.
 *
 * An object of its own, loaded when a policy first has rules of `early`: it shares images, counters,
 * events and what rates count with the tc programs. What it lets pass meets these as if it was not
 * there.
 */
#include "engine/bpf/host_early.bpf.h"
#include "engine/bpf/host_fast.bpf.h"
#include "engine/bpf/protect.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

static __always_inline int early(struct xdp_md *xdp, __u32 way)
{
	host_packet_t frame = { .xdp = xdp };
	struct room *room;
	host_t host;

	/* No policy runs, as in reeve.bpf.c. */
	if (!*(volatile __u32 *)&control.slot[*(volatile __u32 *)&control.active & 1].generation)
		return XDP_PASS;
	room = room_find();
	if (!room)
		return XDP_PASS;
	memset(&room->judgement, 0, sizeof(room->judgement));
	host.room = room;
	host.packet = &room->packet;
	host.generic = way & WAY_GENERIC;
	checkpoint_early(&host, &frame, xdp->ingress_ifindex, &room->judgement,
			 way & WAY_ETHERNET);
	switch (room->judgement.outcome) {
	case OUTCOME_PASS:
		return XDP_PASS;
	case OUTCOME_ANSWERED:
		return XDP_TX;
	default:
		return XDP_DROP;
	}
}

/* In the driver of a device with Ethernet: `early`, where its zone has any, then the fast path. */
SEC("xdp.frags")
int early_ethernet(struct xdp_md *xdp)
{
	__u32 slot = *(volatile __u32 *)&control.active & 1, ifindex = xdp->ingress_ifindex;
	__u32 bits = ifindex < INTERFACES_NEAR ? control.fast[ifindex].bits[slot] : 0;
	int verdict = bits & FAST_ALONE ? XDP_PASS : early(xdp, WAY_ETHERNET);

	if (!*(volatile __u32 *)&control.slot[slot].generation)
		return XDP_PASS;
	if (verdict != XDP_PASS || !(bits & FAST_ARRIVES))
		return verdict;
	ifindex = step_fast(xdp, slot);
	return ifindex ? (int)bpf_redirect(ifindex, 0) : XDP_PASS;
}

SEC("xdp.frags")
int early_raw(struct xdp_md *xdp)
{
	return early(xdp, 0);
}

/*
 * The same behind the driver. There a program that takes frames of several buffers has the kernel
 * make a new packet of each (seen on 6.18), and that one forgets how long its link layer is: tc
 * programs behind it begin to read at the IP header. Of these it makes one buffer, as ever.
 */
SEC("xdp")
int early_ethernet_generic(struct xdp_md *xdp)
{
	return early(xdp, WAY_ETHERNET | WAY_GENERIC);
}

SEC("xdp")
int early_raw_generic(struct xdp_md *xdp)
{
	return early(xdp, WAY_GENERIC);
}
