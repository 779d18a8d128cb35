// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What hosts of every hook count, in the same way: statistics, and packets of rules.
 *
 * Included once in an object, where host_t is known.
 */
#ifndef REEVE_ENGINE_BPF_COUNT_BPF_H
#define REEVE_ENGINE_BPF_COUNT_BPF_H

static __always_inline void host_count(host_t *host, enum statistic stat)
{
	if (host->stats && stat < STAT_COUNT)
		host->stats->count[stat]++;
}

static __always_inline void host_count_rule(host_t *host, __u32 rule)
{
	__u32 slot = host->slot, index;
	struct counter *counter;
	void *inner;

	inner = bpf_map_lookup_elem(&counters, &slot);
	if (!inner)
		return;
	index = bpf_get_smp_processor_id() * host->header->rules + rule;
	counter = bpf_map_lookup_elem(inner, &index);
	if (!counter)
		return;
	counter->packets += host->packet->segments;
	counter->bytes += host->packet->length;
	counter->last_ns = bpf_ktime_get_coarse_ns();
}

#endif
