// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What the programs and the loader share: shapes of the maps, bits of their values.
 */
#ifndef REEVE_ENGINE_BPF_MAPS_H
#define REEVE_ENGINE_BPF_MAPS_H

#include "core/event.h"
#include "core/set.h"
#include "core/types.h"

#define PENDING_MAX 8192u /* destinations that are remembered until departure makes the flow */
#define FRAGMENTS_MAX 8192u /* first fragments that are remembered; the oldest go first */

#define SLOTS 2 /* images: the one in use and the one before or after it */
#define LAYOUT_VERSION 6u /* of everything pinned; another one is refused, never misread */

/*
 * Interfaces with an index below this have their coverage and their zone's tag in `control`, where
 * programs reach them at once; the others in the hash `covered_far`, and in the image.
 */
#define INTERFACES_NEAR 1024u
#define COVERED_FAR_MAX 65536u

#define TAG_SCRUBBED 0x8000u /* no tag has this bit */

/* Their value. All zero: reeve does not know the interface. */
struct coverage_entry {
	__u32 bits;
	__u32 master; /* COVERED_PORT: the master's index */
};

enum covered_bits {
	COVERED_PROGRAMS = 1, /* reeve's programs are attached */
	COVERED_EXEMPT = 2,   /* left alone on purpose: loopback */
	COVERED_PORT = 4,     /* a port, whose master is covered instead; no packet meets IP here while it is one */
};

/* The one value of the map `stats`, for each CPU. */
struct statistics {
	__u64 count[STAT_COUNT];
	__u64 tick, now; /* the clock as it was read last, and in which tick of the kernel's */
};

/* Flow tables of another size take the place of those there are, see engine/bpf/resize.h. */
enum moving {
	MOVING_NOTHING,
	MOVING_FLOWS, /* both sets of tables and programs are in use, and pinned */
	MOVING_PINS,  /* only the new ones are; their pins get the names of the old ones */
};

/* Which means of the kernel are used where it lacks the usual ones; 0: programs hang on links. */
enum means {
	MEANS_CLSACT = 1, /* filters of clsact, where there is no tcx */
	MEANS_NFT_GUARD = 2, /* an nftables table is the guard, where there is no BPF on Netfilter */
	MEANS_GUARD_BEHIND = 4, /* that table does not know yet what is written here */
	MEANS_OWN_ADDRESSES = 8, /* `leaving_addresses` tells what bpf_fib_lookup() does not */
};

#define EARLY_WITHOUT 0x8000u

/*
 * The fast path at an interface (core/fast.h). All zero: it is off there.
 */
struct fast_interface {
	__u8 address[6]; /* of its link layer: frames for others are none of the fast path's business */
	__u8 bits[SLOTS]; /* enum fast_bits, under the image in each slot */
} __attribute__((aligned(8)));

enum fast_bits {
	FAST_ARRIVES = 1,
	FAST_LEAVES = 2,
	FAST_ALONE = 4, /* there are no rules of `early` for its zone */
};

/* Why it is off, or on for what arrives alone. */
enum fast_why {
	FAST_UNKNOWN,	/* nobody has looked yet */
	FAST_ON,
	FAST_UNWANTED,	/* `fast-path off` */
	FAST_SINGLE,	/* there is no other interface where it could be on */
	FAST_FAR,	/* the interface's index is too large */
	FAST_LINK,	/* no Ethernet */
	FAST_UNTOLD,	/* the kernel does not tell what its driver can do with XDP */
	FAST_DRIVER,	/* it has no native XDP */
	FAST_REDIRECT,	/* it does not take redirected frames */
	FAST_VLANS,	/* VLAN devices stand on it, whose frames XDP may see without their tag */
	FAST_CHECKSUMS, /* frames may come with checksums that are still to be made */
	FAST_OTHERS_XDP,
	FAST_OTHERS_TC,
	FAST_OTHERS_NETFILTER,
	FAST_IPSEC,
	FAST_SHAPED,	/* its qdisc does more than to queue; only what leaves is concerned */
	FAST_REFUSED,	/* the program was not loaded, or not attached */
	FAST_WHYS,
};

/* The one value of the map `control`. Words are written singly, so each is old or new. */
struct control {
	__u32 active; /* slot of the running image, 0 or 1 */
	__u32 layout; /* LAYOUT_VERSION */
	struct control_slot {
		__u32 generation; /* of the policy in this slot; counts applies; 0: none, and all passes */
		__u32 rules;	  /* of the image in this slot */
		__u32 mark_shift; /* as in its header, for the guard */
		__u32 guard;	  /* 0: the guard lets everything pass */
		__u32 flows_since; /* generation: flows of older policies are looked at again */
		__u32 clamps;	   /* some zone of the image in this slot lowers segment sizes */
		__u64 applied_at; /* seconds since 1970 */
		__u64 image_size;
		__u64 source_size;
		__u64 reserved2;   /* 64 bytes: the index is a shift */
	} slot[SLOTS];
	__u64 watch_until; /* CLOCK_MONOTONIC; before it somebody reads events */
	__u32 cpus;	   /* possible CPUs: rows of the counters maps */
	__u32 witness;	   /* random, see core/mark.h */
	__u32 moving;	   /* enum moving */
	__u32 means;	   /* enum means */
	__u32 translates;  /* a policy since the first apply has had NAT: flows may be translated */
	__u32 cookies;	   /* connections that began with a SYN cookie can be handed to the stack */
	__u64 namespace_inode; /* of /proc/PID/ns/net, while the namespace lives */
	__u64 cookie;	       /* SO_NETNS_COOKIE of the namespace */
	__u64 guard_table;     /* MEANS_NFT_GUARD: what the table looked like when reeve made it */
	__u64 proof_keys[12];  /* PROOF_KEYS of them; random, see core/proof.h */
	/* Of the image in each slot; with TAG_SCRUBBED where the zone has departing headers changed. */
	__u16 tags[SLOTS][INTERFACES_NEAR];
	struct coverage_entry covered[INTERFACES_NEAR];
	/*
	 * Why the XDP program of `early` is not in the driver: an errno, or 0; with EARLY_WITHOUT, why
	 * there is none at all.
	 */
	__u16 early_why[INTERFACES_NEAR];
	struct fast_interface fast[INTERFACES_NEAR];
	__u8 fast_why[INTERFACES_NEAR]; /* enum fast_why */
};

/*
 * By which address packets leave an interface, where the kernel does not tell programs: in the map
 * `leaving_addresses`. No entry: by none.
 */
#define LEAVING_ADDRESSES_MAX 131072u /* of COVERED_FAR_MAX interfaces, two families */

struct leaving_key {
	__u32 ifindex, family; /* 4 or 6 */
};

struct leaving_address {
	__u32 words[4]; /* as in FIELD_SRC */
};

/*
 * A value of a counters map; its index is cpu * rules + rule. Behind the rows of the CPUs comes one
 * more, which programs do not touch: what earlier policies counted for rules of the same id.
 */
struct counter {
	__u64 packets, bytes, last_ns;
};

/* Answers (resets, ICMP errors) a second, over all CPUs. */
#define ANSWERS_PER_SECOND 1000

/* The one value of the map `answers`. */
struct answer_budget {
	__u64 window; /* number of the second */
	__u64 used;
};

#define SOURCE_PAGE 65536u

/*
 * Dynamic sets have places, from 1 on, which they keep from one policy to the next: an entry of the
 * map of maps `sets`, with what the set holds, and a head here. There is room for those of the
 * policy that goes and of the one that comes. There is no place 0.
 */
#define SET_PLACES 256u

struct set_head {
	__u64 tag;     /* of the set, struct image_dynamic_set */
	__u64 timeout; /* nanoseconds; 0: none */
	__u32 max;     /* 0: the place is free */
	__u32 full;    /* a rule had something to add and found it full: sweep it */
	__u64 refused; /* how often */
	__u64 quiet_until; /* before, nothing of it expires: no use to sweep it */
	struct set_lengths lengths; /* may name more than there are */
};

/* The one value of the map `set_heads`. Words are written singly, so each is old or new. */
struct set_directory {
	struct set_head heads[SET_PLACES]; /* by place */
	__u8 places[SLOTS][IMAGE_SETS_MAX];    /* by number in the image of that slot; 0: none */
};

#endif
