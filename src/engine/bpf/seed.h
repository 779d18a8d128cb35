// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Taking over what lives: flows for the connections that are there when the first policy is
 * applied, or when a policy comes back after another has cut them.
 */
#ifndef REEVE_ENGINE_BPF_SEED_H
#define REEVE_ENGINE_BPF_SEED_H

#include "engine/bpf/interfaces.h"
#include "engine/bpf/loaded.h"

/*
 * Puts records into the table of replied flows: for this host's own TCP connections and connected
 * UDP sockets (sock_diag), and for what the kernel's conntrack knows, where it runs. They count as
 * last allowed by the policy of that generation, an older one than runs or is about to, so each is
 * judged when its next packet comes. Flows that are known stay as they are. A source that the
 * kernel does not have is left out; there is no failure. A quarter of the table stays free for
 * others, if it was empty. Returns how many.
 */
uint64_t seed_flows(const struct loaded *loaded, const struct link_vector *links,
		    const struct ruleset *ruleset, uint64_t generation);

#endif
