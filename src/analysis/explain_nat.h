// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What NAT does to the packet of a question.
 */
#ifndef REEVE_ANALYSIS_EXPLAIN_NAT_H
#define REEVE_ANALYSIS_EXPLAIN_NAT_H

#include "analysis/explain.h"
#include "analysis/explain_fill.h"

/*
 * Translates the destination in e->fields, if a rule does, and looks where the packet then goes.
 * -ENOMEM.
 */
int explain_forward(const struct ruleset *ruleset, const struct explain_host *host,
		    struct filled_vector *filled, struct explanation *e);
/* Finds the rule that translates the source of the packet, which is allowed. -ENOMEM. */
int explain_source(const struct ruleset *ruleset, struct explanation *e);
/* Finds the `intercept` statement that takes the packet, which is allowed. -ENOMEM. */
int explain_intercept(const struct ruleset *ruleset, struct explanation *e);

/* The packet as a question, in the arena; NULL without memory. explain.c. */
const char *explain_packet(const struct ruleset *ruleset, const struct fields *fields,
			   struct arena *arena);

#endif
