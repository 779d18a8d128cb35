// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What `intercept` needs of the kernel's routes: packets with reeve's third bit of the mark stay on
 * this host, whatever their destination is. That is a rule of routing, in front of all others but
 * the one for this host's own addresses, and a table of its own with one route:
 *
 *	ip rule add pref 1 fwmark BIT/BIT lookup 1919247734
 *	ip route add local default dev lo table 1919247734
 *
 * for each family that the policy intercepts. Nobody else's rules and tables are touched.
 */
#ifndef REEVE_ENGINE_BPF_INTERCEPT_H
#define REEVE_ENGINE_BPF_INTERCEPT_H

#include <stdbool.h>

#include "engine/bpf/engine.h"

#define INTERCEPT_TABLE 0x72656576u /* "reev" */
#define INTERCEPT_PREFERENCE 1u

/* Does the policy intercept anything? */
bool intercept_asked(const struct ruleset *ruleset);
/* Makes what is missing, or nothing. -ENETDOWN where loopback is down, other -errno; the problem tells. */
int intercept_routes_make(const struct ruleset *ruleset, struct problem *problem);
/* Is what the policy needs there, and does it work? True where it needs nothing. */
bool intercept_routes_work(const struct ruleset *ruleset);
/* Removes what the policy does not need; NULL: all. What cannot be removed stays. */
void intercept_routes_tidy(const struct ruleset *ruleset);

#endif
