// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hooks for people and for programs: see engine/bpf/hooks.h.
 */
#ifndef REEVE_CLI_HOOKS_H
#define REEVE_CLI_HOOKS_H

#include <jansson.h>

#include "base/text.h"
#include "engine/bpf/hooks.h"

/* A picture of the packet's path, then what is on each hook, then the notes. */
void hooks_text(const struct hooks *hooks, struct text *out);
/* The same: {"hooks":[...],"notes":[...]}. A new reference; NULL without memory. */
json_t *hooks_json(const struct hooks *hooks);

#endif
