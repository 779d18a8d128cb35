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

/* What the full way works with: in a map, because the stack is short. Programs of one CPU do not interrupt each other. */
struct room {
	struct packet packet;
	struct judgement judgement;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct room);
} rooms SEC(".maps");

static __always_inline struct room *room_get(void)
{
	__u32 zero = 0;
	struct room *room = bpf_map_lookup_elem(&rooms, &zero);

	if (room)
		memset(room, 0, sizeof(*room));
	return room;
}

/* The quick way and the full way share one host: the stack is short. */
static __always_inline int arrive_full(host_t *host, struct __sk_buff *skb, __u32 ethernet)
{
	struct room *room = room_get();

	if (!room)
		return TC_ACT_SHOT;
	host->packet = &room->packet;
	checkpoint_arrive(host, skb, &room->judgement, ethernet);
	return room->judgement.outcome == OUTCOME_PASS ? NEXT :
							 refuse(host, &room->judgement, ethernet);
}

static __always_inline int depart_full(host_t *host, struct __sk_buff *skb, __u32 ethernet)
{
	struct room *room = room_get();

	if (!room)
		return TC_ACT_SHOT;
	host->packet = &room->packet;
	checkpoint_depart(host, skb, &room->judgement, ethernet);
	return room->judgement.outcome == OUTCOME_PASS ? NEXT :
							 refuse(host, &room->judgement, ethernet);
}

static __always_inline int arrive(struct __sk_buff *skb, __u32 ethernet)
{
	host_t host;

	host.skb = skb;
	return quick_arrive(&host, skb, ethernet) ? NEXT : arrive_full(&host, skb, ethernet);
}

static __always_inline int depart(struct __sk_buff *skb, __u32 ethernet)
{
	host_t host;

	host.skb = skb;
	return quick_depart(&host, skb, ethernet) ? NEXT : depart_full(&host, skb, ethernet);
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
