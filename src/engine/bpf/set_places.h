// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Dynamic sets from one policy to the next (engine/bpf/maps.h, struct set_directory).
 *
 * A set keeps its place under its tag, and with it what it holds. While a policy takes over from
 * another, the sets of both have places. All of this is done under the lock of changes.
 */
#ifndef REEVE_ENGINE_BPF_SET_PLACES_H
#define REEVE_ENGINE_BPF_SET_PLACES_H

#include "engine/bpf/engine.h"
#include "engine/bpf/loaded.h"

/*
 * Before the flip: every dynamic set of the ruleset, whose image goes to this slot, has a place
 * with room for as many as it says. -EBUSY when it holds more than that; with options->back it then
 * keeps the room it has. With one of options->trial and ->back, what no policy names is still
 * there to be found.
 */
int set_places_fill(struct loaded *loaded, const struct ruleset *ruleset, uint32_t slot,
		    const struct apply_options *options, struct problem *problem);
/* Before anything is changed: -EBUSY as set_places_fill would say. */
int set_places_check(const struct loaded *loaded, const struct ruleset *ruleset,
		     struct problem *problem);
/* Takes away what sets hold that the running policy does not name. */
void set_places_tidy(struct loaded *loaded);
/* The other slot gets an image with the same sets. */
void set_places_share(struct loaded *loaded, uint32_t from, uint32_t to);
/* The place of a set of the running policy; 0 when it has none of this tag. */
uint32_t set_places_find(const struct loaded *loaded, uint64_t tag);
/* Exchanges what a set holds, in one step; then no program sees the former any more. */
int set_places_exchange(const struct loaded *loaded, uint32_t place, int table);

#endif
