// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where the fast path (core/fast.h) is on.
 *
 * It is a comfort: what it does not forward takes the other ways. It goes past queueing disciplines
 * and past what others have on the kernel's hooks, and it cannot make checksums; so where that would
 * be noticed it stays off, unless the policy insists. That is looked at whenever a policy is applied
 * or interfaces are looked after; what changes in between is noticed then. Its program is that of
 * `early` (early.h): a device has one.
 */
#ifndef REEVE_ENGINE_BPF_FAST_H
#define REEVE_ENGINE_BPF_FAST_H

#include "engine/bpf/interfaces.h"
#include "engine/bpf/loaded.h"

/* An interface as it should be. */
struct fast_place {
	uint32_t ifindex;
	uint8_t address[6];
	uint8_t bits; /* enum fast_bits */
	uint8_t why;  /* enum fast_why */
};

VECTOR(fast_place_vector, struct fast_place);

/*
 * One for each link, in their order. Where `loaded`, unless NULL, notes a refusal, that stays.
 * -ENOMEM.
 */
int fast_plan(const struct loaded *loaded, const struct link_vector *links,
	      const struct ruleset *ruleset, struct fast_place_vector *plan);
/* Is it already so? */
bool fast_agrees(const struct loaded *loaded, const struct fast_place *place);
/*
 * Makes it so for the policy that runs: attaches programs and tells them. Never fails for good: what
 * cannot be stays off. `again`: what has been refused before is tried once more.
 */
void fast_update(struct loaded *loaded, const struct pins *pins, const struct link_vector *links,
		 const struct ruleset *ruleset, bool again);
/* Off everywhere, until the next fast_update(). */
void fast_stop(struct loaded *loaded);
/* Does the fast path have a program there? */
bool fast_wanted(const struct loaded *loaded, uint32_t ifindex);
/* Into a list, what programs have been told. */
void fast_tell(const struct loaded *loaded, struct interface_vector *interfaces);

#endif
