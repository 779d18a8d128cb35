// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Flow tables of another size, while flows live in the ones there are.
 *
 * The size of a map is given when it is made, and a program's maps when it is loaded: so programs
 * with tables of their own are loaded beside those that run. Everything else they share, the policy
 * included.
 *
 *	1. The new tables and programs are pinned as next_<name>. Each set of programs is told the
 *	   other's tables. MOVING_FLOWS: whichever program misses a flow brings it over, in both
 *	   directions, so it does not matter which of them an interface runs.
 *	2. Each link gets the new program in place of the old one: no hook is empty for a moment, and
 *	   no packet meets both.
 *	3. No old program runs any more. What no packet has brought over is moved from here.
 *	4. MOVING_PINS: the old tables are let go, and the pins get their final names.
 *
 * All of it can be done again from the start of the step that `control.moving` tells: a change that
 * was killed is finished by the next one (resize_finish), and until then all is judged as it
 * should be.
 */
#ifndef REEVE_ENGINE_BPF_RESIZE_H
#define REEVE_ENGINE_BPF_RESIZE_H

#include "engine/bpf/loaded.h"

/* Do the options ask for other sizes than the tables have? */
bool resize_wanted(const struct loaded *loaded, const struct policy_options *options);
/*
 * Loads programs with tables of those sizes beside `loaded`; nothing is changed yet. -EBUSY when
 * more flows live than would have room.
 */
int resize_load(const struct loaded *loaded, const struct policy_options *options,
		struct loaded *next, struct problem *problem);
/*
 * Puts `next` in place of `loaded`, which is then what `next` was; `next` is closed. On failure all
 * is as before, or resize_finish() makes it whole. Under the lock.
 */
int resize_move(struct loaded *loaded, struct loaded *next, const struct pins *pins,
		struct problem *problem);
/* Was a move begun and not ended? */
bool resize_pending(const struct loaded *loaded);
/*
 * Ends it; `loaded` is what runs then. Where none was begun, takes away what one that was killed before
 * has pinned. Under the lock.
 */
int resize_finish(struct loaded *loaded, const struct pins *pins, struct problem *problem);

#endif
