// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hearing of interfaces and their addresses: rtnetlink's notifications. What they say is not read,
 * only that they came: reeved looks at everything anew, so a lost one (the socket's queue was full)
 * is like any other.
 */
#ifndef REEVE_DAEMON_LISTEN_H
#define REEVE_DAEMON_LISTEN_H

#include <libmnl/libmnl.h>

/* A socket that hears of both, not blocking. NULL with errno. Close it with mnl_socket_close. */
struct mnl_socket *listen_open(void);
/*
 * Empties the socket's queue. 1 when anything was in it or was lost, 0 when not, -errno when it
 * cannot be read any more.
 */
int listen_drain(struct mnl_socket *socket);

#endif
