// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `apply --confirm`: a policy that is taken back unless somebody confirms it.
 */
#ifndef REEVE_CLI_CONFIRM_H
#define REEVE_CLI_CONFIRM_H

#include "base/text.h"
#include "engine/bpf/engine.h"

#define CONFIRM_MIN 10u	  /* seconds */
#define CONFIRM_MAX 3600u

/* "60s", "2m", "1h", or plain seconds, between CONFIRM_MIN and CONFIRM_MAX. -EINVAL. */
int confirm_duration(const char *text, uint32_t *seconds);

/*
 * Before a policy is changed: notes down the running one, or keeps what an earlier apply has noted
 * down if that still waits, and starts the process that goes back to it. *kept says that an earlier
 * one was there.
 */
int confirm_prepare(uint32_t seconds, bool *kept, struct problem *problem);
/* The policy could not be changed: nothing waits, unless an earlier one did. */
void confirm_undo(bool kept);
/* Nanoseconds until the former policy is back, 0 when that is due; false when nothing waits. */
bool confirm_left(uint64_t *left_ns);

#endif
