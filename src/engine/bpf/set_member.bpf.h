// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Dynamic sets in the kernel: the maps, and whether a set holds an address (core/set.h).
 *
 * Needs nothing of any program's host. An object that includes it has maps of these names; its
 * loader makes them those that are pinned. What a set holds is one hash table, which user space
 * exchanges in one step.
 *
 * A set without prefixes costs one lookup, also for an address that is not in it; each length of
 * prefix that the set has, one more.
 */
#ifndef REEVE_ENGINE_BPF_SET_MEMBER_BPF_H
#define REEVE_ENGINE_BPF_SET_MEMBER_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "core/set.h"
#include "engine/bpf/maps.h"

struct set_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct set_key));
	__uint(value_size, sizeof(__u64));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SET_PLACES);
	__uint(key_size, sizeof(__u32));
	__array(values, struct set_inner);
} sets SEC(".maps");

/* Global data: the programs know its address, and user space maps it. */
struct set_directory set_directory SEC(".data.sets");

/* The place of a set of the image in this slot; 0: it has none. */
static __always_inline __u32 set_place(__u32 slot, __u32 number)
{
	if (number >= IMAGE_SETS_MAX)
		return 0;
	return *(volatile __u8 *)&set_directory.places[slot & 1][number];
}

/* What a set's head knows, and in *set what it holds. NULL when there is no such set. */
static __always_inline struct set_head *set_open(__u32 place, void **set)
{
	struct set_head *head = &set_directory.heads[place & (SET_PLACES - 1)];

	/* Kept as a pointer: of a number that was on the stack the verifier forgets the bounds. */
	asm volatile("" : "+r"(head));
	*set = bpf_map_lookup_elem(&sets, &place);
	return place && *set ? head : 0;
}

static __always_inline int set_has(void *set, const struct set_key *key)
{
	const __u64 *value = bpf_map_lookup_elem(set, key);
	__u64 expires;

	if (!value)
		return 0;
	expires = *(const volatile __u64 *)value;
	return !expires || !set_expired(expires, bpf_ktime_get_coarse_ns());
}

/* What a search works with, off the short stack. */
struct set_search {
	struct set_key key;
	__u32 first;
	__u64 bits;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct set_search);
} set_searches SEC(".maps");

struct set_search_context {
	void *set;
	struct set_search *search;
};

/* What is left of the bits afterwards says whether it was found: then there is one more. */
static long set_search_next(__u32 i, struct set_search_context *context)
{
	struct set_search *search = context->search;
	__u64 bits = search->bits;

	set_key_shorten(&search->key, &bits, search->first);
	if (set_has(context->set, &search->key))
		return 1;
	search->bits = bits;
	return !bits;
}

static __always_inline int set_search_prefixes(struct set_search_context *context, __u64 bits,
					       __u32 first)
{
	if (!bits)
		return 0;
	context->search->bits = bits;
	context->search->first = first;
	bpf_loop(64, set_search_next, context, 0);
	return context->search->bits != 0;
}

/* Does the set at this place hold the address? */
static __always_inline int set_member(__u32 place, const __u32 *address, __u32 family)
{
	struct set_search_context context;
	const volatile __u64 *bits;
	struct set_head *head = set_open(place, &context.set);
	__u32 zero = 0;

	context.search = bpf_map_lookup_elem(&set_searches, &zero);
	if (!head || !context.search)
		return 0;
	set_key_whole(&context.search->key, address, family);
	if (set_has(context.set, &context.search->key))
		return 1;
	bits = head->lengths.bits;
	if (family == 4)
		return set_search_prefixes(&context, bits[0], 0);
	return set_search_prefixes(&context, bits[2], 64) ||
	       set_search_prefixes(&context, bits[1], 0);
}

#endif
