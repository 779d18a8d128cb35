// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What the programs and the loader share: shapes of the maps, bits of their values.
 */
#ifndef REEVE_ENGINE_BPF_MAPS_H
#define REEVE_ENGINE_BPF_MAPS_H

#include "core/types.h"

#define SLOTS 2 /* images: the one in use and the one before or after it */
#define LAYOUT_VERSION 1u /* of everything pinned; another one is refused, never misread */

/* The one value of the map `control`. Words are written singly, so each is old or new. */
struct control {
	__u32 active;		  /* slot of the running image, 0 or 1 */
	__u32 layout;		  /* LAYOUT_VERSION */
	__u32 generation[SLOTS];  /* of the policy in each slot; 0: none yet */
	__u64 applied_at[SLOTS];  /* seconds since 1970 */
	__u64 watch_until;	  /* CLOCK_MONOTONIC; before it somebody reads events */
	__u32 rules[SLOTS];	  /* rules of the image in each slot */
	__u32 cpus;		  /* possible CPUs, for the counters' index */
	__u32 mark_shift;	  /* the image's, for the guard */
	__u32 guard;		  /* 0: the guard lets everything pass */
	__u32 reserved;
};

/* A value of a counters map; its index is cpu * rules + rule. */
struct counter {
	__u64 packets, bytes, last_ns;
};

/* Values of the map `covered`, by interface index. */
enum covered_bits {
	COVERED_PROGRAMS = 1, /* reeve's programs are attached */
	COVERED_EXEMPT = 2,   /* left alone on purpose */
	COVERED_BRIDGE = 4,   /* a bridge: what it forwards between its ports is not filtered */
};

/* Answers (resets, ICMP errors) a second, over all CPUs. */
#define ANSWERS_PER_SECOND 1000

/* The one value of the map `answers`. */
struct answer_budget {
	__u64 window; /* number of the second */
	__u64 used;
};

#define SOURCE_PAGE 65536u

#endif
