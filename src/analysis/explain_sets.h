// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What explain says of dynamic sets.
 */
#ifndef REEVE_ANALYSIS_EXPLAIN_SETS_H
#define REEVE_ANALYSIS_EXPLAIN_SETS_H

#include "analysis/explain_fill.h"

/*
 * Of each set that a rule of the packet's pair asks: whether it holds the address. Texts in the
 * arena. -ENOMEM.
 */
int explain_sets(const struct ruleset *ruleset, const struct fields *fields, struct arena *arena,
		 struct filled_vector *filled);
/*
 * Does the question name a dynamic set? Then there is no telling what packet it is about: an error
 * at its place, and -EINVAL.
 */
int explain_no_sets(const struct question *question, const struct question_meaning *meaning,
		    struct diagnostics *diagnostics);

#endif
