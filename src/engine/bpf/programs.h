// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef REEVE_ENGINE_BPF_PROGRAMS_H
#define REEVE_ENGINE_BPF_PROGRAMS_H

#include "engine/bpf/loaded.h"

/* As engine_programs, of what is open. 0 or -errno. */
int programs_figures(const struct loaded *loaded, struct program_figures figures[ENGINE_PROGRAMS],
		     uint32_t *n);

#endif
