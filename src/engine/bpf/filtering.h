// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the programs behind the pinned links do, by their own control block, which need not be the
 * pinned one: somebody may have removed pins by hand, or a change may have been killed.
 */
#ifndef REEVE_ENGINE_BPF_FILTERING_H
#define REEVE_ENGINE_BPF_FILTERING_H

#include <stdbool.h>

#include "engine/bpf/pins.h"

/* Does the program of any pinned link follow a policy? Programs of another version count as such. */
bool links_filter(const struct pins *pins);
/* Makes the programs of all pinned links idle, but for those of another version. */
void links_stop(const struct pins *pins);

#endif
