// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The tc programs: arrival and departure, each for devices with and without an Ethernet header.
 *
 * They are loaded once; a policy is the image they read. TCX_NEXT, never TCX_PASS, lets other
 * people's programs on the hook run.
 */
#include "engine/bpf/host_bpf.h"
#include "engine/bpf/steps.bpf.h"

#include "engine/bpf/answer.bpf.h"
#include "engine/bpf/cookie.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#define NEXT TC_ACT_UNSPEC /* TCX_NEXT */

/* Drops, after answering if the judgement asks for it and an answer is allowed. */
static __always_inline int refuse(host_t *host, struct judgement *j, __u32 ethernet)
{
	int verdict;

	if (j->outcome != OUTCOME_REJECT)
		return TC_ACT_SHOT;
	verdict = answer(host->skb, host->packet, j, ethernet);
	if (verdict == ANSWER_NONE || verdict == ANSWER_LIMITED) {
		host_count(host, verdict == ANSWER_LIMITED ? STAT_REJECT_LIMITED : STAT_DROPPED);
		return TC_ACT_SHOT;
	}
	host_count(host, STAT_REJECTED);
	skb_mark_answer(host->skb, host_mark_shift(host), host_witness(host));
	return verdict;
}

/*
 * No policy runs: it is about to, once all programs are in place, or it does not any more, and they
 * are about to go.
 */
static __always_inline int idle(void)
{
	__u32 slot = *(volatile __u32 *)&control.active & 1;

	return !*(volatile __u32 *)&control.slot[slot].generation;
}

/* A TC verdict. */
static __always_inline int arrive_full(struct __sk_buff *skb, __u32 ethernet)
{
	struct room *room;
	host_t host;

	if (idle())
		return NEXT;
	room = room_get(&host, skb);
	if (!room)
		return TC_ACT_SHOT;
	checkpoint_arrive(&host, skb, &room->judgement, ethernet);
	return room->judgement.outcome == OUTCOME_PASS ? NEXT :
							 refuse(&host, &room->judgement, ethernet);
}

static __always_inline int depart_full(struct __sk_buff *skb, __u32 ethernet)
{
	struct room *room;
	host_t host;

	if (idle())
		return NEXT;
	room = room_get(&host, skb);
	if (!room)
		return TC_ACT_SHOT;
	checkpoint_depart(&host, skb, &room->judgement, ethernet);
	return room->judgement.outcome == OUTCOME_PASS ? NEXT :
							 refuse(&host, &room->judgement, ethernet);
}

/*
 * The full ways are programs of their own, which the quick ones end in: each has the whole stack,
 * and is verified by itself. They are in the map as long as that is pinned; without them nothing
 * passes that is not of a live flow.
 */
int arrive_full_ethernet(struct __sk_buff *skb);
int arrive_full_raw(struct __sk_buff *skb);
int depart_full_ethernet(struct __sk_buff *skb);
int depart_full_raw(struct __sk_buff *skb);

enum full_way {
	FULL_ARRIVE_RAW,
	FULL_ARRIVE_ETHERNET,
	FULL_DEPART_RAW,
	FULL_DEPART_ETHERNET,
	FULL_WAYS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, FULL_WAYS);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} full_ways SEC(".maps") = {
	.values = {
		[FULL_ARRIVE_RAW] = (void *)&arrive_full_raw,
		[FULL_ARRIVE_ETHERNET] = (void *)&arrive_full_ethernet,
		[FULL_DEPART_RAW] = (void *)&depart_full_raw,
		[FULL_DEPART_ETHERNET] = (void *)&depart_full_ethernet,
	},
};

SEC("tc")
int arrive_full_ethernet(struct __sk_buff *skb)
{
	return arrive_full(skb, 1);
}

SEC("tc")
int arrive_full_raw(struct __sk_buff *skb)
{
	return arrive_full(skb, 0);
}

SEC("tc")
int depart_full_ethernet(struct __sk_buff *skb)
{
	return depart_full(skb, 1);
}

SEC("tc")
int depart_full_raw(struct __sk_buff *skb)
{
	return depart_full(skb, 0);
}

static __always_inline int arrive(struct __sk_buff *skb, __u32 ethernet)
{
	host_t host;

	switch (quick_arrive(&host, skb, ethernet)) {
	case QUICK_PASS:
		return NEXT;
	case QUICK_DROP:
		return TC_ACT_SHOT;
	default:
		break;
	}
	bpf_tail_call_static(skb, &full_ways,
			     ethernet ? FULL_ARRIVE_ETHERNET : FULL_ARRIVE_RAW);
	return TC_ACT_SHOT;
}

static __always_inline int depart(struct __sk_buff *skb, __u32 ethernet)
{
	host_t host;

	switch (quick_depart(&host, skb, ethernet)) {
	case QUICK_PASS:
		return NEXT;
	case QUICK_DROP:
		return TC_ACT_SHOT;
	default:
		break;
	}
	bpf_tail_call_static(skb, &full_ways,
			     ethernet ? FULL_DEPART_ETHERNET : FULL_DEPART_RAW);
	return TC_ACT_SHOT;
}

SEC("tc")
int arrive_ethernet(struct __sk_buff *skb)
{
	return arrive(skb, 1);
}

SEC("tc")
int arrive_raw(struct __sk_buff *skb)
{
	return arrive(skb, 0);
}

SEC("tc")
int depart_ethernet(struct __sk_buff *skb)
{
	return depart(skb, 1);
}

SEC("tc")
int depart_raw(struct __sk_buff *skb)
{
	return depart(skb, 0);
}
