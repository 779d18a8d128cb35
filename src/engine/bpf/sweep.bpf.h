// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Sweeps: what has expired leaves a full table, all at once, in a timer of the kernel's.
 *
 * Included once, by host_bpf.h.
 */
#ifndef REEVE_ENGINE_BPF_SWEEP_BPF_H
#define REEVE_ENGINE_BPF_SWEEP_BPF_H

static long sweep_one(void *map, const void *key, void *value, void *context)
{
	if (flow_expired(value, *(__u64 *)context))
		bpf_map_delete_elem(&flows, key);
	return 0;
}

static long sweep_translated(void *map, const void *key, void *value, void *context)
{
	__u64 now = *(__u64 *)context, claimed;
	struct translated_tuple *entry = value;
	struct flow *flow;

	claimed = *(volatile __u64 *)&entry->claimed;
	flow = bpf_map_lookup_elem(&flows, &entry->real);
	if (!flow)
		flow = bpf_map_lookup_elem(&embryonic, &entry->real);
	if ((flow && !flow_expired(flow, now)) || translated_young(entry, now))
		return 0;
	/* Whoever claims it now has it; whom we are ahead of takes another. */
	if (host_swap(&entry->claimed, claimed, TRANSLATED_GOING))
		bpf_map_delete_elem(&translations, key);
	return 0;
}

static int sweep_run(void *map, int *key, void *value)
{
	__u64 now = bpf_ktime_get_coarse_ns();

	bpf_for_each_map_elem(&flows, sweep_one, &now, 0);
	if (control.translates)
		bpf_for_each_map_elem(&translations, sweep_translated, &now, 0);
	return 0;
}

static __always_inline void sweep_arm(struct sweep *sweep)
{
	/* The first time; later it says that it is. */
	bpf_timer_init(&sweep->timer, &sweeps, 1 /* CLOCK_MONOTONIC */);
}

/*
 * Expired flows are found when a packet meets them; those that none meets again stay. They do no
 * harm until the table is full: then they are removed all at once, at most once a second, by a
 * timer of the kernel's, so that no process is needed.
 */
static __noinline int sweep_start(void)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct sweep *sweep;
	__u32 zero = 0;

	sweep = bpf_map_lookup_elem(&sweeps, &zero);
	if (!sweep || now < sweep->not_before)
		return 0;
	sweep->not_before = now + SECOND;
	sweep_arm(sweep);
	bpf_timer_set_callback(&sweep->timer, sweep_run);
	bpf_timer_start(&sweep->timer, 0, 0);
	return 0;
}

struct set_sweep {
	__u64 now, soonest;
};

static long set_sweep_entry(void *set, const void *key, __u64 *value, struct set_sweep *sweep)
{
	__u64 expires = *(volatile __u64 *)value;

	if (set_expired(expires, sweep->now))
		bpf_map_delete_elem(set, key);
	else if (expires && expires < sweep->soonest)
		sweep->soonest = expires;
	return 0;
}

/* Packets wait for a sweep of a large set: it may take one part in so many of a CPU. */
#define SWEEP_REST 32

static long set_sweep_place(__u32 i, struct set_sweep *sweep)
{
	__u64 began, ended, rested;
	struct set_head *head;
	void *set;

	head = set_open(i & (SET_PLACES - 1), &set);
	if (!head || !head->full)
		return 0;
	head->full = 0;
	began = bpf_ktime_get_ns();
	sweep->soonest = sweep->now + 60 * SECOND; /* user space may bring what is sooner */
	bpf_for_each_map_elem(set, set_sweep_entry, sweep, 0);
	ended = bpf_ktime_get_ns();
	rested = ended + (ended - began) * SWEEP_REST;
	head->quiet_until = sweep->soonest > rested ? sweep->soonest : rested;
	return 0;
}

static int set_sweep_run(void *map, int *key, void *value)
{
	struct set_sweep sweep = { .now = bpf_ktime_get_ns() };

	bpf_loop(SET_PLACES, set_sweep_place, &sweep, 0);
	return 0;
}

/* A set is full: what has expired goes, as of the table of flows. */
static __always_inline void set_sweep_start(struct set_head *head)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct sweep *sweep;
	__u32 one = 1;

	if (now < head->quiet_until)
		return;
	head->full = 1;
	sweep = bpf_map_lookup_elem(&sweeps, &one);
	if (!sweep || now < sweep->not_before)
		return;
	sweep->not_before = now + SECOND;
	sweep_arm(sweep);
	bpf_timer_set_callback(&sweep->timer, set_sweep_run);
	bpf_timer_start(&sweep->timer, 0, 0);
}

#endif
