// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef REEVE_ENGINE_BPF_SINGLE_H
#define REEVE_ENGINE_BPF_SINGLE_H

#include <sys/types.h>

/*
 * One reeved in a network namespace: takes the abstract socket name "reeved", which belongs to the
 * namespace and goes with the process, however that ends. Returns the descriptor that holds it.
 * -EADDRINUSE when another process of root has it, *pid is then that one. A process of somebody
 * else that sits on the name does not count (a second reeved does no harm, one that does not start
 * does): -EACCES, *pid, and go on.
 */
int single_take(pid_t *pid);
/*
 * Lets those go who asked who holds the name; to be called when the descriptor is readable, lest
 * the queue of them fills.
 */
void single_answer(int fd);
/* The process of the reeved that runs in this network namespace; 0 when there is none. */
pid_t single_process(void);

#endif
