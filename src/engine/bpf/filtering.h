// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the programs on the hooks do, by their own control block, which need not be the pinned one:
 * somebody may have removed pins by hand, or a change may have been killed.
 */
#ifndef REEVE_ENGINE_BPF_FILTERING_H
#define REEVE_ENGINE_BPF_FILTERING_H

#include <stdbool.h>

#include "engine/bpf/pins.h"

/*
 * Does any program that a pinned link holds, or a filter of clsact, follow a policy? Those of
 * another version count as such.
 */
bool programs_filter(const struct pins *pins);
/* Makes them all idle, but for those of another version. */
void programs_stop(const struct pins *pins);

#endif
