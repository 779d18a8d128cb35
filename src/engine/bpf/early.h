// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The XDP programs of `early`: on which interfaces, in which way, and why not.
 *
 * They are a comfort, not the wall: what they would have dropped, arrival judges. So an interface
 * that cannot have one goes without, unless the policy says `early required`; programs of others are
 * never replaced.
 */
#ifndef REEVE_ENGINE_BPF_EARLY_H
#define REEVE_ENGINE_BPF_EARLY_H

#include "engine/bpf/interfaces.h"
#include "engine/bpf/loaded.h"

/* Does the policy ask for it there? (The interface is covered.) */
bool early_wanted(const struct link *link, const struct ruleset *ruleset);
/*
 * What is there. Of EARLY_GENERIC and EARLY_REFUSED *why is the errno of what was tried, 0 when
 * nobody knows.
 */
enum early_state early_look(const struct loaded *loaded, const struct pins *pins, uint32_t ifindex,
			    uint16_t *why);
/* The same into a list; EARLY_UNASKED for what is not covered or has no rules. `loaded` may be NULL. */
void early_tell(const struct loaded *loaded, const struct pins *pins, const struct ruleset *ruleset,
		struct interface_vector *interfaces);
/* Whether `protect` works, as the kernel's settings are now. */
enum protection_state early_protection(const struct loaded *loaded, const struct ruleset *ruleset);
/* -EBUSY: the policy requires what others' programs are in the way of. Changes nothing. */
int early_check(const struct pins *pins, const struct ruleset *ruleset,
		const struct link_vector *links, struct problem *problem);
/* Does a program have to be attached, or another one? False where it has been tried in vain. */
bool early_missing(const struct loaded *loaded, const struct pins *pins, const struct link *link);
/*
 * Attaches it, natively if the driver takes it, and pins its link under early_name(). 1: that was
 * done; 0: it was there, or cannot be; negative: it cannot be and is required, with a problem.
 */
int early_attach(struct loaded *loaded, const struct pins *pins, const struct link *link,
		 const struct ruleset *ruleset, struct problem *problem);

/* For the fast path: natively or not at all. 0 when it is there now. */
int early_attach_native(const struct loaded *loaded, const struct pins *pins,
			const struct link *link);

#define EARLY_NAME_MAX 32
void early_name(char name[EARLY_NAME_MAX], uint32_t ifindex);

#endif
