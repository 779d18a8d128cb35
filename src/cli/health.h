// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What watch tells without a packet: programs or the guard were taken away, an interface came and
 * is not covered, or all is well again.
 */
#ifndef REEVE_CLI_HEALTH_H
#define REEVE_CLI_HEALTH_H

#include "cli/running.h"

struct health_watch {
	struct interface_vector seen; /* as last told; owned */
	bool guard_lost;	      /* this and the next: told, and not back yet */
	bool routes_lost;
	bool json;
};

/*
 * Prints a line for each thing that has changed since the last call; the first call tells what is
 * wrong already. 0 or -errno.
 */
int health_tell(struct health_watch *watch, const struct engine_health *health, bool guard_wanted);
void health_free(struct health_watch *watch);

#endif
