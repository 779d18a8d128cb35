// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What reeved says: plain lines on standard error, which systemd takes into the journal.
 */
#ifndef REEVE_DAEMON_LOG_H
#define REEVE_DAEMON_LOG_H

/*
 * "reeved: …"; control characters are escaped. With standard error in the journal the line begins
 * with its level instead.
 */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
