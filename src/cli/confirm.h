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

/* What an `apply --confirm` holds on to while it runs. All zero before confirm_prepare. */
struct trial {
	uint32_t seconds;
	unsigned char *bundle; /* what to go back to, see struct pending; malloc'ed */
	size_t bundle_size;
	bool kept;		   /* an earlier trial was there; */
	uint64_t kept_deadline_ns; /* and would have ended then */
};

/*
 * Before a policy is changed: notes down the running one, or keeps what an earlier trial has noted
 * down if that still waits, and starts the process that goes back to it. It gives the change itself
 * a minute more. Nothing is left behind on failure.
 */
int confirm_prepare(uint32_t seconds, struct trial *trial, struct problem *problem);
/* The policy has been changed: the time counts from now. */
int confirm_begin(const struct trial *trial, struct problem *problem);
/* The policy could not be changed: nothing waits, or an earlier trial as before. */
void confirm_undo(const struct trial *trial);
/* Nothing waits any more. */
void confirm_forget(void);
void trial_free(struct trial *trial);
/* Nanoseconds until the former policy is back, 0 when that is due; false when nothing waits. */
bool confirm_left(uint64_t *left_ns);

#endif
