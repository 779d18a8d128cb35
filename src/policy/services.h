// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names of services: `ssh` is 22/tcp.
 *
 * A name is looked up in a table inside reeve first, so that common names mean the same on every
 * host, then in /etc/services. That file is read through the source_set under its own name, at the
 * first lookup that the table does not answer: a policy that was sealed resolves later as it did
 * then.
 */
#ifndef REEVE_POLICY_SERVICES_H
#define REEVE_POLICY_SERVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/source.h"

#define SERVICES_FILE "/etc/services"
#define SERVICE_PORTS_MAX 16

struct service_port {
	uint8_t protocol;
	uint16_t port;
};

struct services_entry; /* a line of /etc/services, or one alias of it */

struct services {
	struct arena *arena;	    /* borrowed: entries live there */
	struct source_set *sources; /* borrowed */
	bool read;
	struct services_entry *entries; /* sorted by name, then as in the file */
	size_t n;
};

/*
 * The ports of a service: into ports[0..SERVICE_PORTS_MAX), *n of them. -ENOENT if nobody knows the
 * name (or /etc/services does not exist), -ENOMEM.
 */
int services_find(struct services *services, const char *name, struct service_port *ports,
		  unsigned *n);
/*
 * The known name nearest to a wrong one, among `more_n` names of the caller and all others, or
 * NULL. Lives in the arena or with the caller.
 */
const char *services_nearest(struct services *services, const char *name, const char *const *more,
			     size_t more_n);
/* Is the name in the table inside reeve? */
bool service_is_known(const char *name);
/* A name of the table inside reeve for a port, or NULL. Static. For printing to people only. */
const char *service_name(uint8_t protocol, uint16_t port);

#endif
