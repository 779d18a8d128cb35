// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where forwards lead on this host, by its routes as they are now.
 */
#ifndef REEVE_CLI_FORWARDS_H
#define REEVE_CLI_FORWARDS_H

#include "engine/bpf/engine.h"
#include "policy/rule.h"

/*
 * Calls `say` for each target of a forward that has no route, or leads to no zone of the policy,
 * or to this host's own address where a forward takes it in turn.
 */
void forwards_check(const struct ruleset *ruleset, const struct interface_vector *interfaces,
		    void (*say)(void *context, const char *code, const char *message),
		    void *context);

#endif
