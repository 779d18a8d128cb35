// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What `intercept` needs of the kernel's routes: packets that arrive with reeve's third bit of the
 * mark stay on this host, whatever their destination is. That is three rules of routing, in front of
 * all others but the one for this host's own addresses, and a table of its own with one route:
 *
 *	ip rule add pref 1 iif lo fwmark BIT/BIT goto 3
 *	ip rule add pref 2 fwmark BIT/BIT lookup 1919247734
 *	ip rule add pref 3 nop
 *	ip route add local default dev lo table 1919247734
 *
 * The first one lets by what does not arrive: the kernel may ask with the mark of a packet for the
 * way back to its sender (src_valid_mark), and for answers (tcp_fwmark_accept, fwmark_reflect). This is
 * for each family that the policy intercepts. Nobody else's rules and tables are touched.
 */
#ifndef REEVE_ENGINE_BPF_INTERCEPT_H
#define REEVE_ENGINE_BPF_INTERCEPT_H

#include <stdbool.h>

#include "engine/bpf/engine.h"

#define INTERCEPT_TABLE 0x72656576u /* "reev" */

/* Does the policy intercept anything? */
bool intercept_asked(const struct ruleset *ruleset);
/* Makes what is missing, or nothing. -ENETDOWN where loopback is down, other -errno; the problem tells. */
int intercept_routes_make(const struct ruleset *ruleset, struct problem *problem);
/* Is what the policy needs there? True where it needs nothing. */
bool intercept_routes_there(const struct ruleset *ruleset);
/* Removes what the policy does not need; NULL: all. What cannot be removed stays. */
void intercept_routes_tidy(const struct ruleset *ruleset);

#endif
