// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rules that nearly matched: what a person means who asks "but I allow that, don't I?".
 */
#ifndef REEVE_ANALYSIS_EXPLAIN_NEAR_H
#define REEVE_ANALYSIS_EXPLAIN_NEAR_H

#include "analysis/explain.h"

/*
 * The first rules of the file, before number `end`, whose zones fit and of which one clause differs
 * from the packet in one part only, into near[0..*n). Those that differ in a port only count if
 * there are no others: a rule about another port is seldom the one that was meant. Texts live in
 * the arena. -ENOMEM.
 */
int explain_near(const struct ruleset *ruleset, const struct fields *fields, uint32_t end,
		 struct arena *arena, struct explain_near near[EXPLAIN_NEAR_MAX], uint32_t *n);

#endif
