// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The two ends of the bench: one program makes frames, another counts and drops them at the end.
 *
 * A run of live frames hands `generate` the same pages again and again, with what the last use left
 * in them: all headers are written anew for each frame.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "frames.h"

char _license[] SEC("license") = "Dual BSD/GPL";

struct frames frames = {};
struct arrived arrived[ARRIVED_CPUS] = {};
__u64 began[BATCHES] = {};

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

static __always_inline void frame_write(void *data, __u32 flow)
{
	__u32 address = bpf_htonl(frames.client + flow / FLOW_PORTS);
	__u16 port = bpf_htons(FLOW_PORT_FIRST + flow % FLOW_PORTS);
	__u64 *words = data;

#pragma clang loop unroll(full)
	for (int i = 0; i < FRAME_WORDS; i++)
		words[i] = frames.words[i];
	*(__u16 *)(data + FRAME_IP_CHECKSUM) =
		(__u16)~fold(frames.sum + (address & 0xffff) + (address >> 16));
	if (frames.reply) {
		*(__u32 *)(data + FRAME_IP_DST) = address;
		*(__u16 *)(data + FRAME_UDP + 2) = port;
	} else {
		*(__u32 *)(data + FRAME_IP_SRC) = address;
		*(__u16 *)(data + FRAME_UDP) = port;
	}
}

static __always_inline int make_frame(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 flow = frames.next, made = frames.made;

	if (data + FRAME_LENGTH > end)
		return XDP_ABORTED;
	frame_write(data, flow);
	frames.next = flow + 1 < frames.end ? flow + 1 : frames.first;
	if (made % BATCH == 0)
		began[made / BATCH & (BATCHES - 1)] = bpf_ktime_get_ns();
	frames.made = made + 1;
	return frames.redirect ? (int)bpf_redirect(frames.redirect, 0) : XDP_PASS;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	return make_frame(ctx);
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} forwarder SEC(".maps");

/* Frames go to the program in `forwarder`, as if a driver had called it. */
SEC("xdp.frags")
int generate_forwarded(struct xdp_md *ctx)
{
	if (make_frame(ctx) == XDP_PASS)
		bpf_tail_call(ctx, &forwarder, 0);
	return XDP_ABORTED;
}

/* Frames of the bench only: neighbour discovery and the like go on. */
SEC("xdp")
int swallow(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;

	if (data + FRAME_UDP > end || ethernet->h_proto != bpf_htons(ETH_P_IP) ||
	    *(__u8 *)(data + FRAME_IP + 9) != IPPROTO_UDP)
		return XDP_PASS;
	arrived[bpf_get_smp_processor_id() & (ARRIVED_CPUS - 1)].frames++;
	return XDP_DROP;
}

/* The least that can be done with a frame. */
SEC("xdp")
int drop(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_DROP;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* the loader's business */
	__type(key, __u32);
	__type(value, __u32);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} dropper SEC(".maps");

struct drawn drawn = {};

/* A frame from any of `sources`, for the program in `dropper`. */
SEC("xdp")
int from_any(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 place, *source;

	if (data + FRAME_LENGTH > end)
		return XDP_ABORTED;
	/* Knuth's linear congruential generator; its upper bits are the good ones. */
	drawn.state = drawn.state * 6364136223846793005ull + 1442695040888963407ull;
	place = (__u32)((drawn.state >> 32) * drawn.n >> 32);
	source = bpf_map_lookup_elem(&sources, &place);
	if (!source)
		return XDP_ABORTED;
	*(__u32 *)(data + FRAME_IP_SRC) = *source;
	bpf_tail_call(ctx, &dropper, 0);
	return XDP_ABORTED;
}

/* What a test run itself costs. */
SEC("tc")
int nothing(struct __sk_buff *skb __attribute__((unused)))
{
	return -1;
}
