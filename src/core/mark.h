// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What arrival tells departure and the guard: in tc_index, in two bits of the mark, and by the
 * proof in the hash (core/proof.h).
 *
 *	tc_index (xor witness)	mark		means
 *	IMAGE_TAG_SELF		MARK_SELF	judged for this host
 *	TAG_DEFERRED		MARK_DEFERRED	to be judged at departure
 *	tag of a zone		MARK_REPLY	the reply of a forwarded flow: departure lets it pass if it leaves by that zone, whatever its
 *						addresses are then (others may have un-NATed it)
 *	TAG_ORIGINAL | tag	MARK_DEFERRED	the original direction of a forwarded flow: departure lets it pass if it leaves by that
 *						zone and the proof is right
 *	TAG_ANSWER		MARK_REPLY	reeve's own answer
 *
 * tc_index is the first witness: nft and iptables cannot write it, while rules that set or restore
 * a whole mark are everywhere. tc filters can: they leave the minor of a class there. So what reeve
 * writes is changed by a secret, `witness`, which no minor in use comes near. Departure believes
 * tc_index alone; without it, it judges anew, which costs time and no more. The guard at local_in
 * believes the mark where tc_index says nothing.
 */
#ifndef REEVE_CORE_MARK_H
#define REEVE_CORE_MARK_H

#include "core/image.h"

enum mark_state {
	MARK_NONE = 0,
	MARK_SELF = 1,	   /* judged for this host */
	MARK_DEFERRED = 2, /* to be judged at departure */
	MARK_REPLY = 3,	   /* the reply of an allowed, forwarded flow; or reeve's own answer */
};

#define TAG_MAX 0x7ffd
#define TAG_ORIGINAL 0x8000
#define TAG_DEFERRED 0xfffe
#define TAG_ANSWER 0xffff

/* May a packet go up into this host? `bits` are reeve's two of the mark. */
static __always_inline int marked_for_self(__u32 tc_index, __u32 witness, __u32 bits)
{
	__u32 tag = tc_index ^ witness;

	if (tag == IMAGE_TAG_SELF || tag == TAG_ANSWER)
		return 1;
	return tag != TAG_DEFERRED && (bits & 3) == MARK_SELF;
}

#endif
