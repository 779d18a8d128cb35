// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The tables that the tc programs share, and what they work in. User space sizes those whose room is
 * a policy's business, pins them, and reads them (maps.h, loaded.h).
 *
 * Included once, by host_bpf.h.
 */
#ifndef REEVE_ENGINE_BPF_TABLES_BPF_H
#define REEVE_ENGINE_BPF_TABLES_BPF_H

INNER_MAP(source_pages, SOURCE_PAGE);

SLOT_MAP(sources, source_pages);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct flow);
} embryonic SEC(".maps");

/*
 * The tables of the programs that these replace, or that replace these, while `control.moving` says
 * MOVING_FLOWS (engine/bpf/resize.h).
 */
struct flows_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct flow_key));
	__uint(value_size, sizeof(struct flow));
};

struct embryonic_inner {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct flow_key));
	__uint(value_size, sizeof(struct flow));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__array(values, struct flows_inner);
} other_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__array(values, struct embryonic_inner);
} other_embryonic SEC(".maps");

/* Keys of translated tuples, and where they lead (core/nat.h). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); /* the loader's business */
	__type(key, struct flow_key);
	__type(value, struct translated_tuple);
} translations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PENDING_MAX);
	__type(key, struct flow_key);
	__type(value, struct pending);
} pendings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LEAVING_ADDRESSES_MAX);
	__type(key, struct leaving_key);
	__type(value, struct leaving_address);
} leaving_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nat_room);
} nat_rooms SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, TALLIES_MAX);
	__type(key, struct limit_key);
	__type(value, struct tally);
} tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PLACES_MAX);
	__type(key, struct limit_key);
	__type(value, struct place);
} places SEC(".maps");

/* When the DHCP client of an interface last sent something. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} asked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct answer_budget);
} answers SEC(".maps");

/* Room for a flow record while it is made; the stack is short. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} scratch SEC(".maps");

/* The sweep of the table of replied flows, when it is full. */
struct sweep {
	struct bpf_timer timer;
	__u64 not_before;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2); /* 1: of dynamic sets */
	__type(key, __u32);
	__type(value, struct sweep);
} sweeps SEC(".maps");

/* Room for the key of a flow that is fetched. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_key);
} fetch_keys SEC(".maps");

#endif
