// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What translation keeps beside flows (core/nat.h says how): values of the two tables whose keys
 * are those of tuples.
 */
#ifndef REEVE_CORE_NAT_RECORD_H
#define REEVE_CORE_NAT_RECORD_H

#include "core/flow.h"

/* The destination that the packets of a tuple had before they were translated on arrival. */
struct pending {
	__u64 seen; /* CLOCK_MONOTONIC, ns */
	__u32 dst[4];
	__u16 port;
	__u16 zero[3];
};

/*
 * Where the key of a translated tuple leads. An entry is claimed before the record is made, so a
 * young one counts as alive without it.
 */
struct translated_tuple {
	struct flow_key real; /* the key of the record */
	__u64 claimed;	      /* CLOCK_MONOTONIC, ns; TRANSLATED_GOING: about to be removed */
};

#define TRANSLATED_YOUNG 1000000000ull
#define TRANSLATED_GOING (1ull << 63) /* far in the future: young */

static __always_inline int translated_young(const struct translated_tuple *entry, __u64 now)
{
	return (__s64)(now - *(volatile const __u64 *)&entry->claimed) < (__s64)TRANSLATED_YOUNG;
}

union nat_value {
	struct translated_tuple translated;
	struct pending pending;
};

enum rewrite {
	REWRITE_NOTHING,
	REWRITE_SOURCE,
	REWRITE_DESTINATION,
};

#define FLOW_KEPT 5

/* Working memory of the translation of one packet; zero in front of each up to `real`. */
struct nat_room {
	__u32 rewrite;	  /* enum rewrite: what is to be written into the packet */
	__u32 departs;	  /* it is to be rewritten at departure too */
	__u32 quoted;	  /* it is in the packet that an ICMP error quotes */
	__u32 outer;	  /* and in the error's own header too */
	__u32 old[4];	  /* the destination before it was translated on arrival */
	__u32 address[4]; /* the new one, and the new port (ICMP echo: the identifier) */
	__u32 port;
	__u32 own_known;
	__u32 port_lo, port_span; /* of the pool: port_lo..port_lo + port_span */
	__u32 found;
	__u32 rule; /* of NAT, that matches the source; or RULE_NONE */
	__u32 replace; /* the flow that has the tuple may be replaced */
	__u32 own[4];	  /* of the leaving interface */
	struct flow_key real, key; /* of the record, of T */
	struct translated_tuple claim;
	struct translation to;
	struct pending pending;
	struct pending asked; /* the packet's tuple while a flow is looked at again */
	__u32 asked_src[4], asked_src_port;
	__u32 kept[FLOW_KEPT]; /* other fields of it, likewise (flow_rule()) */
	__u32 real_high, key_high; /* the sender is key.high */
};

#endif
