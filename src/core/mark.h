// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What arrival tells departure and the guard: two bits of the mark, and a zone tag in tc_index.
 */
#ifndef REEVE_CORE_MARK_H
#define REEVE_CORE_MARK_H

enum mark_state {
	MARK_NONE = 0,
	MARK_SELF = 1,	   /* judged for this host */
	MARK_DEFERRED = 2, /* to be judged at departure */
	MARK_REPLY = 3,	   /* the reply of an allowed, forwarded flow; or reeve's own answer */
};

#define TAG_ANSWER 0xffff /* in place of a zone tag: reeve's own answer */
#define ZONE_UNKNOWN 0xffffu

#endif
