// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What arrival tells departure and the guard: two bits of the mark, a zone tag in tc_index, and the proof in the hash (core/proof.h).
 *
 *	mark		tc_index		departure
 *	MARK_REPLY	tag of a zone		lets it pass if it leaves by that zone: the reply of a forwarded flow, whatever its addresses
 *						are now (others may have un-NATed it)
 *	MARK_REPLY	TAG_ANSWER		lets it pass: reeve's own answer
 *	MARK_DEFERRED	TAG_ORIGINAL | tag	lets it pass if it leaves by that zone and the proof is right: the original direction of a
 *						forwarded flow
 *	anything else				judges
 */
#ifndef REEVE_CORE_MARK_H
#define REEVE_CORE_MARK_H

enum mark_state {
	MARK_NONE = 0,
	MARK_SELF = 1,	   /* judged for this host */
	MARK_DEFERRED = 2, /* to be judged at departure */
	MARK_REPLY = 3,	   /* the reply of an allowed, forwarded flow; or reeve's own answer */
};

#define TAG_MAX 0x7ffe
#define TAG_ORIGINAL 0x8000
#define TAG_ANSWER 0xffff
#define ZONE_UNKNOWN 0xffffu

#endif
