// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Buckets of rates in the kernel, as core/rate.h asks for them. Included once by an object, behind
 * its host_t; its loader makes the maps those that are pinned.
 */
#ifndef REEVE_ENGINE_BPF_RATE_BPF_H
#define REEVE_ENGINE_BPF_RATE_BPF_H

#include "core/bucket.h"

/* What limits have counted, for each address and for all together (core/limit.h). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, BUCKETS_MAX);
	__type(key, struct limit_key);
	__type(value, __u64);
} buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, IMAGE_LIMITS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct limit_key);
	__type(value, __u64);
} buckets_of_all SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct admission);
} admissions SEC(".maps");

static __always_inline struct admission *host_admission(host_t *host)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&admissions, &zero);
}

static __always_inline __u64 host_now_exact(host_t *host)
{
	return bpf_ktime_get_ns();
}

static __always_inline void *value_get(void *map, const struct limit_key *key, const void *zero)
{
	void *value = bpf_map_lookup_elem(map, key);

	if (value)
		return value;
	bpf_map_update_elem(map, key, zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, key);
}

static __always_inline __u64 *host_bucket(host_t *host, const struct limit_key *key)
{
	__u64 zero = 0;

	return value_get(&buckets, key, &zero);
}

static __always_inline __u64 *host_bucket_of_all(host_t *host, const struct limit_key *key)
{
	__u64 zero = 0;

	return value_get(&buckets_of_all, key, &zero);
}

static __always_inline int host_swap(__u64 *word, __u64 old, __u64 new)
{
	return __sync_val_compare_and_swap(word, old, new) == old;
}

#endif
