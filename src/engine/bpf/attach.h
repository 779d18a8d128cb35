// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Coverage: which interfaces get programs, and what holds them there: links on tcx, or filters of
 * clsact (`control.means`).
 */
#ifndef REEVE_ENGINE_BPF_ATTACH_H
#define REEVE_ENGINE_BPF_ATTACH_H

#include "engine/bpf/interfaces.h"
#include "engine/bpf/loaded.h"

/* What reeve does with an interface under this policy: never COVERAGE_MISSING. */
enum coverage link_coverage(const struct link *link, const struct ruleset *ruleset);

/*
 * Attaches programs to every interface that should have them and has not, then the guard, and tells
 * the guard. On failure what this call attached is taken off again. Interfaces that vanish
 * meanwhile are skipped.
 */
int attach_all(struct loaded *loaded, const struct pins *pins, const struct link_vector *links,
	       const struct ruleset *ruleset, struct problem *problem);
/*
 * The same for a policy that runs already: what cannot be attached holds up nothing else, and
 * nothing is taken off again. The first failure is told. It stops when it has attached to `most`
 * interfaces; *last is the index of the last one it came to, UINT32_MAX when it was through.
 */
int attach_again(struct loaded *loaded, const struct pins *pins, const struct link_vector *links,
		 const struct ruleset *ruleset, uint32_t most, uint32_t *last,
		 struct problem *problem);
/*
 * Puts the programs of `to` in the place of those of `from`, wherever they are attached; each at
 * once. 0 or -errno.
 */
int attach_exchange(const struct pins *pins, const struct loaded *from, const struct loaded *to);
/*
 * Takes programs off interfaces that should not have them any more, and forgets interfaces that are
 * gone.
 */
int attach_tidy(struct loaded *loaded, const struct pins *pins, const struct link_vector *links,
		const struct ruleset *ruleset);
/*
 * Takes all of this namespace's programs off their hooks, the guard first, so that nothing is
 * dropped for want of a judgement. Removing a link's pin would do it too, but some time later.
 */
void detach_all(const struct pins *pins);
/* The same for a namespace that cannot be reached any more: only what is pinned. */
void detach_links(const struct pins *pins);
/* What a change that was killed has attached beside what was there, and did not get to pin. */
void detach_unfinished(const struct pins *pins);
/* Are both programs of this interface in place? */
bool attached(const struct loaded *loaded, const struct pins *pins, uint32_t ifindex);
/* The same, and are they the right ones for what the interface is now? */
bool attached_rightly(const struct loaded *loaded, const struct pins *pins, const struct link *link);
/* Is either of its links pinned, alive or not, or either filter there? */
bool attached_once(const struct loaded *loaded, const struct pins *pins, uint32_t ifindex);
/* What the guard is told of an interface; what it should be told. */
struct coverage_entry coverage_told(const struct loaded *loaded, uint32_t ifindex);
struct coverage_entry coverage_wanted(const struct link *link, enum coverage coverage);
/*
 * Are all links of the guard in place? The kernel does not tell that a link was detached by hand,
 * so its place is tried: it is taken as long as the link holds it.
 */
bool guard_attached(const struct loaded *loaded, const struct pins *pins);
/*
 * Where the guard is no program (`control.means`): makes it what the running policy asks for. After the
 * flip, and whenever interfaces were told of.
 */
int guard_tell(const struct loaded *loaded, const struct pins *pins, struct problem *problem);
/*
 * Before the flip to the slot `coming`: the guard lets pass what either policy's programs have judged.
 */
int guard_tell_coming(const struct loaded *loaded, const struct pins *pins, uint32_t coming,
		      struct problem *problem);
/*
 * Before something changes that such a guard has to be told: until it is, guard_attached() says no,
 * so that a sync sets right what was killed in between.
 */
void guard_will_change(const struct loaded *loaded);
/*
 * Takes that guard away, while the programs still judge: without their marks it would drop
 * everything. 0 also when there is none.
 */
int guard_take_away(const struct pins *pins, struct problem *problem);

#endif
