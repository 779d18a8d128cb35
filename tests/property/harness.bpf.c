// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * reeve's programs, and beside each one a wrapper for tests.
 *
 * BPF_PROG_TEST_RUN can neither set nor return every member of a packet. The wrappers take them
 * from skb->cb and return them there:
 *	cb[0]	tc_index, in and out
 *	cb[1]	pkt_type + 1 to be set; 0 leaves what the destination MAC says
 *	cb[3]	hash, in and out
 *	cb[2]	0x10000 | VLAN tag that the device has taken out of the frame; 0 for none
 */
#include "engine/bpf/reeve.bpf.c"

static __always_inline int enter(struct __sk_buff *skb)
{
	skb->tc_index = skb->cb[0];
	if (skb->cb[3])
		bpf_set_hash(skb, skb->cb[3]);
	if (skb->cb[1] && bpf_skb_change_type(skb, skb->cb[1] - 1))
		return -1;
	if (skb->cb[2] && bpf_skb_vlan_push(skb, bpf_htons(ETHERTYPE_VLAN), (__u16)skb->cb[2]))
		return -1;
	return 0;
}

#define FAILED 99   /* no verdict of any program */
#define NOT_OURS 98 /* nor of the quick way */

#define WRAPPER(name, way)                                                                         \
	SEC("tc")                                                                                  \
	int name(struct __sk_buff *skb)                                                            \
	{                                                                                          \
		int verdict;                                                                       \
                                                                                                   \
		if (enter(skb))                                                                    \
			return FAILED;                                                             \
		verdict = way;                                                                     \
		skb->cb[0] = skb->tc_index;                                                        \
		skb->cb[3] = skb->hash;                                                            \
		return verdict;                                                                    \
	}

static __always_inline int quick_way(struct __sk_buff *skb, __u32 ethernet, __u32 departs)
{
	enum quick quick;
	host_t host;

	quick = departs ? quick_depart(&host, skb, ethernet) : quick_arrive(&host, skb, ethernet);
	if (quick == QUICK_NOT_OURS)
		return NOT_OURS;
	return quick == QUICK_PASS ? NEXT : TC_ACT_SHOT;
}

/* The two ways of each checkpoint: what the tail call does between them, the test does. */
WRAPPER(wrapped_quick_arrive_ethernet, quick_way(skb, 1, 0))
WRAPPER(wrapped_quick_arrive_raw, quick_way(skb, 0, 0))
WRAPPER(wrapped_quick_depart_ethernet, quick_way(skb, 1, 1))
WRAPPER(wrapped_quick_depart_raw, quick_way(skb, 0, 1))
WRAPPER(wrapped_arrive_ethernet, arrive_full(skb, 1))
WRAPPER(wrapped_arrive_raw, arrive_full(skb, 0))
WRAPPER(wrapped_depart_ethernet, depart_full(skb, 1))
WRAPPER(wrapped_depart_raw, depart_full(skb, 0))
