// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The tc programs: arrival and departure, each for devices with and without an Ethernet header.
 *
 * They are loaded once; a policy is the image they read. TCX_NEXT, never TCX_PASS, lets other people's programs on the hook run.
 */
#include "engine/bpf/host_bpf.h"

#include "engine/bpf/answer.bpf.h"

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

/* The full way is a global function: the verifier looks at it once, and not behind each way through the quick one. A TC verdict. */
__noinline int arrive_full(struct __sk_buff *skb, __u32 ethernet)
{
	struct room *room;
	host_t host;

	room = room_get(&host, skb);
	if (!room)
		return TC_ACT_SHOT;
	checkpoint_arrive(&host, skb, &room->judgement, ethernet);
	return room->judgement.outcome == OUTCOME_PASS ? NEXT :
							 refuse(&host, &room->judgement, ethernet);
}

__noinline int depart_full(struct __sk_buff *skb, __u32 ethernet)
{
	struct room *room;
	host_t host;

	room = room_get(&host, skb);
	if (!room)
		return TC_ACT_SHOT;
	checkpoint_depart(&host, skb, &room->judgement, ethernet);
	return room->judgement.outcome == OUTCOME_PASS ? NEXT :
							 refuse(&host, &room->judgement, ethernet);
}

/* The quick way leaves its part of the stack before the full way begins. */
static __attribute__((noinline)) int arrive_quick(struct __sk_buff *skb, __u32 ethernet)
{
	host_t host;

	return quick_arrive(&host, skb, ethernet);
}

static __attribute__((noinline)) int depart_quick(struct __sk_buff *skb, __u32 ethernet)
{
	host_t host;

	return quick_depart(&host, skb, ethernet);
}

static __always_inline int arrive(struct __sk_buff *skb, __u32 ethernet)
{
	return arrive_quick(skb, ethernet) ? NEXT : arrive_full(skb, ethernet);
}

static __always_inline int depart(struct __sk_buff *skb, __u32 ethernet)
{
	return depart_quick(skb, ethernet) ? NEXT : depart_full(skb, ethernet);
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
