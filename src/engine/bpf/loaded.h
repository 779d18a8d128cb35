// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The programs and maps of this namespace: loaded once, found again by their pins.
 */
#ifndef REEVE_ENGINE_BPF_LOADED_H
#define REEVE_ENGINE_BPF_LOADED_H

#include "engine/bpf/maps.h"
#include "engine/bpf/pins.h"

enum loaded_map {
	MAP_IMAGES,
	MAP_COUNTERS,
	MAP_SOURCES,
	MAP_FLOWS,
	MAP_EMBRYONIC,
	MAP_STATS,
	MAP_EVENTS,
	MAP_ASKED,
	MAP_ANSWERS,
	MAP_SWEEPS,
	MAP_FRAGMENTS,
	MAP_TRANSLATIONS,
	MAP_PENDINGS,
	MAP_BUCKETS,
	MAP_BUCKETS_OF_ALL,
	MAP_TALLIES,
	MAP_PLACES,
	MAP_OTHER_FLOWS,
	MAP_OTHER_EMBRYONIC,
	MAP_FULL_WAYS, /* its programs stay only while it is pinned */
	MAP_COVERED_FAR,
	MAP_SETS,
	MAP_SET_DIRECTORY,
	MAP_LEAVING_ADDRESSES,
	MAP_CONTROL, /* pinned last: its pin says that the rest is there */
	MAP_COUNT,
};

enum loaded_program {
	PROGRAM_ARRIVE_ETHERNET,
	PROGRAM_ARRIVE_RAW,
	PROGRAM_DEPART_ETHERNET,
	PROGRAM_DEPART_RAW,
	PROGRAM_GUARD_LOCAL_IN,
	PROGRAM_GUARD_POST_ROUTING,
	PROGRAM_EARLY_ETHERNET, /* this and those behind it: only once a policy has asked for them */
	PROGRAM_EARLY_RAW,
	PROGRAM_EARLY_ETHERNET_GENERIC,
	PROGRAM_EARLY_RAW_GENERIC,
	PROGRAM_COUNT,
};

struct loaded {
	int maps[MAP_COUNT];
	int programs[PROGRAM_COUNT]; /* -1 when opened from pins for reading only */
	struct control *control;     /* the map's value, shared with the programs */
	struct set_directory *sets;  /* likewise */
};

extern const char *const loaded_map_names[MAP_COUNT];
extern const char *const loaded_program_names[PROGRAM_COUNT];

/*
 * What belongs to the programs for packets and the size of their tables; the rest they can share
 * with others (loaded_load_beside).
 */
bool loaded_own_map(enum loaded_map map);
bool loaded_own_program(enum loaded_program program);

/* Nothing open. */
void loaded_init(struct loaded *loaded);
/*
 * Loads and verifies everything anew. Nothing is pinned yet. -ENOSYS when the kernel lacks
 * something.
 */
int loaded_load(struct loaded *loaded, const struct policy_options *options,
		struct problem *problem);
/*
 * Loads the programs for packets once more, with tables and a way of their own: the rest is that of
 * `loaded`. Nothing is pinned.
 */
int loaded_load_beside(struct loaded *beside, const struct loaded *loaded,
		       const struct policy_options *options, struct problem *problem);
/*
 * Loads the programs of `early`, if they are not; the maps are those of `loaded`. Nothing is pinned.
 */
int loaded_load_early(struct loaded *loaded, struct problem *problem);
/* As if they had never been loaded. Those that are attached go on until others take their place. */
void loaded_forget_early(struct loaded *loaded, const struct pins *pins);
/* Opens in `copy` what is not open there. 0 or -errno. */
int loaded_copy(struct loaded *copy, const struct loaded *loaded);
/* Pins what loaded_load made. */
int loaded_pin(struct loaded *loaded, const struct pins *pins, struct problem *problem);
/* Opens those of `early` that are pinned and not open: an apply may have loaded them meanwhile. */
void loaded_find_early(struct loaded *loaded, const struct pins *pins);
/* Pins the programs of `early`, where the rest is pinned already. */
int loaded_pin_early(const struct loaded *loaded, const struct pins *pins, struct problem *problem);
/* A copy of the control block behind a descriptor. -EPROTO: of another version. */
int control_read(int fd, struct control *control);
/*
 * Finds it by its pins. -ENOENT when there is none, or an unfinished one; -EPROTO when it belongs
 * to another version. The control map is mapped for writing.
 */
int loaded_find(struct loaded *loaded, const struct pins *pins, struct problem *problem);
/*
 * Visits the name of each map and program whose pin is missing though it is open here; with `put`
 * it is pinned again first. Stops at the first failure or non-zero return and hands it on; -ENOENT
 * when the folder itself is gone.
 */
int loaded_repin(const struct loaded *loaded, const struct pins *pins, bool put,
		 int (*missing)(void *context, const char *name), void *context);
void loaded_close(struct loaded *loaded);

#endif
