// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A policy that waits for confirmation: what to go back to, and when.
 *
 * Kept in one file, /run/reeve/pending-<cookie>, beside the mount of the pins, in the mount
 * namespace of PID 1. It is written whole under another name and then renamed, before the policy is
 * changed; it is removed when the policy is confirmed, or after the former one is back. So whatever
 * is killed in between, the file says that something is pending, and holds all that going back
 * needs. Whoever acts on it holds its lock (flock), and looks again whether it is still there.
 */
#ifndef REEVE_ENGINE_BPF_PENDING_H
#define REEVE_ENGINE_BPF_PENDING_H

#include <stddef.h>
#include <stdint.h>

#include "engine/bpf/engine.h"

struct pending {
	int fd;		       /* holds the lock while >= 0 */
	uint64_t deadline_ns;  /* CLOCK_BOOTTIME */
	unsigned char *bundle; /* sources of the former policy (source_set_pack), malloc'ed; NULL: nothing was running */
	size_t bundle_size;
};

#define PENDING_NONE { .fd = -1 }

/* CLOCK_BOOTTIME now. */
uint64_t pending_now(void);
/*
 * Reads what is pending in this network namespace. With `lock` it is locked first. 0; -ENOENT when
 * nothing is; -EBADMSG when the file is damaged (*pending is then empty, but locked if asked for).
 * Free with pending_close.
 */
int pending_read(bool lock, struct pending *pending, struct problem *problem);
/* Only until when, not locked. Errors as of pending_read. */
int pending_deadline(uint64_t *deadline_ns, struct problem *problem);
/* Writes it, in place of what was there. `bundle` NULL: nothing was running. */
int pending_write(uint64_t deadline_ns, const unsigned char *bundle, size_t bundle_size,
		  struct problem *problem);
/* Removes it. 0 also when there is none. */
int pending_remove(struct problem *problem);
void pending_close(struct pending *pending);

#endif
