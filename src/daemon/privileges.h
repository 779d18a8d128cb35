// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef REEVE_DAEMON_PRIVILEGES_H
#define REEVE_DAEMON_PRIVILEGES_H

/*
 * Gives up, for good, every capability that reeved has no use for, and the way to get new ones by
 * execve. 0, or -errno when the kernel did not let it; then nothing is lost but the precaution.
 */
int privileges_drop(void);

#endif
