// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Dynamic sets on the way of a walk (core/set.h says what they are).
 *
 * A walk ends where a set is to be asked, and goes on at the answer: asking needs tables of the
 * host's, and a walk in the kernel has hardly any stack. An answer holds for its moment: a set that
 * is changed meanwhile may give another one to the same packet further on.
 *
 * The including host header defines, besides what classify.h asks for:
 *	int host_set_member(host_t *, __u32 set, __u32 field)
 *			does the set hold this address of the packet?
 * and behind it:
 *	__u32 host_ask(host_t *, __u32 ref)	set_ask()
 */
#ifndef REEVE_CORE_ASK_H
#define REEVE_CORE_ASK_H

#include "core/classify.h"

static __u32 host_ask(host_t *host, __u32 ref);

/* Where a walk goes on that has ended at this REF_MEMBER_OF; REF_NONE: the image is damaged. */
static __always_inline __u32 set_ask(host_t *host, __u32 ref)
{
	const struct image_member_of *node = host_unit(&host->image, REF_INDEX(ref));

	if (!node)
		return REF_NONE;
	return host_set_member(host, node->set, node->field) ? node->yes : node->no;
}

#endif
