// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names of IP protocols and of DSCP classes.
 *
 * Both are tables inside reeve, so that a policy means the same on every host. Numbers and names:
 * IANA "Assigned Internet Protocol Numbers" (constants: IPPROTO_* of <netinet/in.h>); DSCP: RFC
 * 2474, 2597, 3246, 5865, 8622.
 */
#ifndef REEVE_POLICY_PROTOCOLS_H
#define REEVE_POLICY_PROTOCOLS_H

#include <stdbool.h>
#include <stdint.h>

/* The number of a protocol by name (any case) or by decimal number 0-255; -1 if there is none. */
int protocol_find(const char *name);
/* The usual name, or NULL if the number has none. Static. */
const char *protocol_name(uint8_t number);
/* The known name nearest to a wrong one, or NULL. Static. */
const char *protocol_nearest(const char *name);
/* Does the packet of this protocol carry ports that FIELD_SRC_PORT and FIELD_DST_PORT hold? */
bool protocol_has_ports(uint8_t number);

/*
 * The code point of a class such as `ef`, `af41`, `cs1` (any case), or of a number 0-63 (also
 * 0x2e); -1 if there is none.
 */
int dscp_find(const char *name);
/* The known class name nearest to a wrong one, or NULL. Static. */
const char *dscp_nearest(const char *name);

#endif
