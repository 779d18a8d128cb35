// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names of ICMP and ICMPv6 messages, as iptables and nft say them.
 *
 * A message is a range of `type << 8 | code`, which is what FIELD_DST_PORT holds for these
 * protocols. Numbers: RFC 792, 950, 1191, 1256, 1812; RFC 4443, 4861, 2710, 3810, 2894.
 */
#ifndef REEVE_POLICY_ICMP_H
#define REEVE_POLICY_ICMP_H

#include <stdint.h>

#include "policy/rule.h"

/*
 * The message called `name` (any case; `type` alone has every code). `family` is 4 or 6. 0, or
 * -ENOENT.
 */
int icmp_find(unsigned family, const char *name, struct range *message);
/*
 * The name of exactly this type and code, else of the type with every code, else NULL. code < 0: of
 * the whole type. Static.
 */
const char *icmp_name(unsigned family, uint8_t type, int code);
/* The known name nearest to a wrong one, or NULL. Static. */
const char *icmp_nearest(unsigned family, const char *name);

#endif
