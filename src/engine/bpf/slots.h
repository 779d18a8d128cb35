// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Slots: the two places for a policy in the kernel, of which one is running.
 *
 * A policy is put whole into the other slot (image, counters, sources; image and sources frozen),
 * then one word is written. A packet reads that word once, so it is judged by the old policy or by
 * the new. The old slot is emptied after every program that may still read it has ended.
 */
#ifndef REEVE_ENGINE_BPF_SLOTS_H
#define REEVE_ENGINE_BPF_SLOTS_H

#include "engine/bpf/engine.h"
#include "engine/bpf/loaded.h"

/* Puts the policy into the slot that is not running. *slot is which. */
int slots_fill(struct loaded *loaded, const struct ruleset *ruleset, const struct image *image,
	       const struct apply_options *options, uint32_t *slot, struct problem *problem);
/*
 * Makes `slot` the running one, carries over the counters of rules that stay, and empties the
 * other. Live flows are judged by the new policy at their next packet, unless
 * options->keep_flows.
 */
int slots_flip(struct loaded *loaded, const struct ruleset *ruleset, uint32_t slot,
	       const struct apply_options *options, struct problem *problem);
/*
 * The policy that runs, with an image for other interfaces: the other slot gets the image, shares
 * counters and sources with the running one, and becomes the running one. Generation and time of
 * apply stay: rule numbers mean what they meant.
 */
int slots_reimage(struct loaded *loaded, const struct image *image, struct problem *problem);
/*
 * Does what slots_reimage can do beforehand, so that it takes less time when an interface waits for
 * it.
 */
int slots_reimage_prepare(struct loaded *loaded);
/* Frees the image before, once no program can see it; until then the other slot is not for use. */
int slots_reimage_done(struct loaded *loaded, struct problem *problem);
/* From now on no policy runs: the programs let everything pass until they are detached. */
void slots_stop(struct loaded *loaded);
/* Of the running policy; 0 when there is none. */
uint64_t slots_generation(const struct loaded *loaded);
/* Is any policy running? */
bool slots_running(const struct loaded *loaded);

/* The bundle of sources in a slot, as a sealed set of the caller's. */
int slots_sources(const struct loaded *loaded, uint32_t slot, struct source_set *sources,
		  struct problem *problem);
int slots_image(const struct loaded *loaded, uint32_t slot, struct image *image,
		struct problem *problem);
/* Counters of a slot summed over CPUs and what was carried over; malloc'ed. */
int slots_counters(const struct loaded *loaded, uint32_t slot, struct rule_counter **counters,
		   uint32_t *n, struct problem *problem);

#endif
