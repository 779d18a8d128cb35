// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An open view of what is running, from inside.
 */
#ifndef REEVE_ENGINE_BPF_OPEN_H
#define REEVE_ENGINE_BPF_OPEN_H

#include "engine/bpf/loaded.h"

struct engine {
	struct pins pins;
	struct loaded loaded;
	int lock; /* what changes of sets are locked with, locked or not; -1: not open */
	/* What dynamic sets held when they were last looked at, by place; -1: never. */
	int set_fds[SET_PLACES];
	uint32_t set_ids[SET_PLACES];
};

#endif
