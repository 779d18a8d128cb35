// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What the fast path (core/fast.h) asks the kernel's routes, and what they answer.
 */
#ifndef REEVE_CORE_FAST_WAY_H
#define REEVE_CORE_FAST_WAY_H

#include "core/brief.h"

struct fast_packet {
	struct brief brief;
	__u32 service; /* IPv4: type of service; IPv6: traffic class and flow label, as in the header's first word */
};

struct fast_way {
	__u32 ifindex;
	struct fast_link {
		__u8 destination[6], source[6];
	} link __attribute__((aligned(4)));
};

#endif
