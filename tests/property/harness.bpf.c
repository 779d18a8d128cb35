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

#define FAILED 99 /* no verdict of any program */

#define WRAPPER(name, checkpoint, ethernet)                                                        \
	SEC("tc")                                                                                  \
	int name(struct __sk_buff *skb)                                                            \
	{                                                                                          \
		int verdict;                                                                       \
                                                                                                   \
		if (enter(skb))                                                                    \
			return FAILED;                                                             \
		verdict = checkpoint(skb, ethernet);                                               \
		skb->cb[0] = skb->tc_index;                                                        \
		skb->cb[3] = skb->hash;                                                            \
		return verdict;                                                                    \
	}

/* Both ways of a checkpoint in one program: what it leaves on the packet has to be looked at behind it. The stack is for one at a time. */
static __attribute__((noinline)) int quick_way(struct __sk_buff *skb, __u32 ethernet, __u32 departs)
{
	host_t host;

	return departs ? quick_depart(&host, skb, ethernet) : quick_arrive(&host, skb, ethernet);
}

#define ARRIVE(skb, ethernet) (quick_way(skb, ethernet, 0) ? NEXT : arrive_full(skb, ethernet))
#define DEPART(skb, ethernet) (quick_way(skb, ethernet, 1) ? NEXT : depart_full(skb, ethernet))

WRAPPER(wrapped_arrive_ethernet, ARRIVE, 1)
WRAPPER(wrapped_arrive_raw, ARRIVE, 0)
WRAPPER(wrapped_depart_ethernet, DEPART, 1)
WRAPPER(wrapped_depart_raw, DEPART, 0)
