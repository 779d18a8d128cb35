// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From a question to one packet: what the question leaves open is chosen.
 */
#ifndef REEVE_ANALYSIS_EXPLAIN_FILL_H
#define REEVE_ANALYSIS_EXPLAIN_FILL_H

#include "analysis/explain.h"
#include "base/text.h"
#include "base/vector.h"
#include "policy/resolve.h"

VECTOR(filled_vector, struct explain_filled);

/*
 * One packet the question is about, in *fields, and what was chosen in it, pushed on *filled (texts
 * in the arena). The meaning has at least one clause. -ENOMEM.
 */
int explain_fill(const struct ruleset *ruleset, const struct question_meaning *meaning,
		 struct arena *arena, struct fields *fields, struct filled_vector *filled);

/* FIELD_STATE of such a packet, as the packet parser sets it. */
uint32_t explain_state(const struct fields *fields);
/* "203.0.113.9", "2001:db8::1": words as in FIELD_SRC. */
void explain_address(const uint32_t address[4], unsigned family, struct text *out);
/* "syn,ack"; "none" for 0. */
void explain_flags(uint32_t flags, struct text *out);

#endif
