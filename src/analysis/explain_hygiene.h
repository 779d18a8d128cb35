// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What zones ask for besides rules, as far as it concerns a packet: antispoof, clamp-mss, scrub.
 */
#ifndef REEVE_ANALYSIS_EXPLAIN_HYGIENE_H
#define REEVE_ANALYSIS_EXPLAIN_HYGIENE_H

#include "base/arena.h"
#include "core/field.h"
#include "policy/rule.h"

#define EXPLAIN_NOTES_MAX 3

/*
 * Sentences about the packet, into `notes`, which has room for EXPLAIN_NOTES_MAX; their texts in
 * `arena`. `passes`: the rules let it pass. 0 or -ENOMEM.
 */
int explain_hygiene(const struct ruleset *ruleset, const struct fields *fields, bool passes,
		    struct arena *arena, const char **notes, uint32_t *note_n);

#endif
