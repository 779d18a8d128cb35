// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What limits have counted, from user space.
 */
#ifndef REEVE_ENGINE_BPF_LIMITS_H
#define REEVE_ENGINE_BPF_LIMITS_H

#include "engine/bpf/loaded.h"

/*
 * Forgets the buckets that are one for all packets of rules which the image does not have: they
 * would stay for ever, where those of addresses are pushed out. What cannot be forgotten stays.
 */
void limits_forget(const struct loaded *loaded, const struct image *image);

#endif
