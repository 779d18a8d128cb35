// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the dynamic sets of the running policy hold: looked at and changed, by their names.
 *
 * A change takes effect at once, for every packet; nothing is compiled, and no other set is
 * touched. It is made under the lock of changes, so that none is lost to an apply, whose sets of
 * the same names go on with what these hold. Live flows go on, whatever is added: they meet the
 * rules again after the next apply.
 *
 * Besides the errors of engine.h: -ESRCH when the running policy has no dynamic set of this name.
 */
#ifndef REEVE_ENGINE_BPF_SETS_H
#define REEVE_ENGINE_BPF_SETS_H

#include "engine/bpf/engine.h"
#include "policy/set_entries.h"

/*
 * Adds entries, or gives those that are there another time. -ENOSPC when the set is full: then
 * *added, at most n, are in it. What has expired makes room.
 */
int engine_set_add(struct engine *engine, const char *name, const struct set_entry *entries,
		   size_t n, size_t *added, struct problem *problem);
/* Takes entries out; *removed is how many of them were there, expired ones not counted. */
int engine_set_delete(struct engine *engine, const char *name, const struct set_entry *entries,
		      size_t n, size_t *removed, struct problem *problem);
/*
 * The set holds just these from now on: a packet sees all that it held before, or all of these.
 * -ENOSPC when they are too many: it then holds what it held.
 */
int engine_set_replace(struct engine *engine, const char *name, const struct set_entry *entries,
		       size_t n, struct problem *problem);

/* An entry as it is. `expires`: CLOCK_MONOTONIC in nanoseconds; 0: never. Non-zero stops. */
typedef int set_entry_visitor(void *context, uint8_t family, uint8_t prefix,
			      const uint32_t address[4], uint64_t expires);
/* Every entry that has not expired, in no order; the others are taken away by the way. */
int engine_set_each(struct engine *engine, const char *name, set_entry_visitor *visit,
		    void *context, struct problem *problem);

struct set_figures {
	uint64_t entries; /* that have not expired */
	uint32_t max;
	uint32_t timeout; /* seconds; 0: none */
	uint64_t refused; /* addresses that rules could not add, for it was full */
	uint64_t bytes;	  /* kernel memory */
};

int engine_set_figures(struct engine *engine, const char *name, struct set_figures *figures,
		       struct problem *problem);
/* Takes away what has expired from all of them; *removed is how many that were. */
int engine_sets_sweep(struct engine *engine, uint64_t *removed, struct problem *problem);

/*
 * Does a set of this name run, and hold the address? As set_contents.holds; the context is the
 * engine.
 */
bool engine_set_holds(void *engine, const struct dynamic_set *set, uint32_t family,
		      const uint32_t address[4]);
/* Does the running policy have a dynamic set of this name? */
bool engine_set_runs(const struct engine *engine, const char *name);

#endif
