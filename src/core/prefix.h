// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#ifndef REEVE_CORE_PREFIX_H
#define REEVE_CORE_PREFIX_H

#include "core/types.h"

/* Word i of an address, of whose bits the upper `prefix` stay. */
static __always_inline __u32 prefix_word(__u32 word, __u32 prefix, __u32 i)
{
	__u32 bits = prefix > i * 32 ? prefix - i * 32 : 0;

	if (bits >= 32)
		return word;
	return bits ? word & ~(0xffffffffu >> bits) : 0;
}

#endif
