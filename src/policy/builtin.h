// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Built-in rules: what a host must send and hear to be on a network at all, and what holds where
 * the policy says nothing.
 *
 *   IPv6 neighbour discovery, router advertisements, redirects (RFC 4861): hop limit 255, so never
 *   routed
 *   MLD (RFC 2710, 3810) and IGMP (RFC 2236, 3376): hop limit or TTL 1
 *   DHCP (RFC 2131, 8415): questions of this host, and answers on an interface whose client has
 *   just asked
 *
 * All are between this host and any zone; none is about forwarding. They are stateless: neither
 * makes a flow. Their text is written in the policy language as far as it goes.
 */
#ifndef REEVE_POLICY_BUILTIN_H
#define REEVE_POLICY_BUILTIN_H

#include "base/arena.h"
#include "policy/resolve.h"

/* Every id of a built-in rule or default begins so, and no other. */
#define BUILTIN_ID_PREFIX "builtin-"

/* Appends the built-in rules that the options leave on. `zone_n`: number of zones. -ENOMEM. */
int builtin_rules(struct arena *arena, const struct policy_options *options, uint32_t zone_n,
		  struct rule_vector *rules);
/*
 * Appends the built-in defaults. Together they match every packet of every pair of zones. -ENOMEM.
 */
int builtin_defaults(struct arena *arena, uint32_t zone_n, struct rule_vector *rules);

#endif
