// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Taking over what lives: flows for the connections that are there when the first policy is
 * applied.
 */
#ifndef REEVE_ENGINE_BPF_SEED_H
#define REEVE_ENGINE_BPF_SEED_H

#include "engine/bpf/interfaces.h"
#include "engine/bpf/loaded.h"

/*
 * Puts records into the table of replied flows: for this host's own TCP connections and connected
 * UDP sockets (sock_diag), and for what the kernel's conntrack knows, where it runs. They count as
 * allowed by no policy yet, so each is judged by the running one when its next packet comes. A
 * source that the kernel does not have is left out; there is no failure. A quarter of the table
 * stays free. Returns how many.
 */
uint64_t seed_flows(const struct loaded *loaded, const struct link_vector *links,
		    const struct ruleset *ruleset);

#endif
