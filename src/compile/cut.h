// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How to divide a list of terms: which field to look at next, and where to cut it.
 */
#ifndef REEVE_COMPILE_CUT_H
#define REEVE_COMPILE_CUT_H

#include "compile/term.h"

#define CUT_ITEMS_MOST 4096u /* a longer list of ranges takes no part in cuts */

/* A term in a list, and the dimensions in which it is still to be tested. 0: it matches. */
struct entry {
	uint32_t term;
	uint32_t left; /* DIM_BITs */
};

VECTOR(entry_vector, struct entry);
VECTOR(word_vector, uint32_t);
VECTOR(sum_vector, uint64_t);

struct problem {
	const struct entry *entries; /* none with left == 0 */
	uint32_t n;
	const struct box *box;
};

enum cut_kind {
	CUT_NONE,
	CUT_WORD,   /* one word of a ranged dimension, at up to 15 values */
	CUT_ANSWER, /* by the answer to one constraint of some entries */
};

struct cut {
	enum cut_kind kind;
	enum dimension dim;
	unsigned word; /* of the dimension */
	uint32_t n;
	uint32_t keys[IMAGE_SWITCH_KEYS];
	const struct constraint *constraint; /* CUT_ANSWER */
	bool refused; /* CUT_NONE, but only because the children would have too many entries */
};

/* Working memory of cut_choose(), kept from call to call. */
struct cutter {
	const struct terms *terms;
	struct word_vector weights, values, spare;
	struct sum_vector sums, counts;
	uint64_t copy_rate; /* price of a doubling of entries */
	uint64_t looked;
};

/*
 * The best cut. Its children hold at most `budget` entries together. CUT_NONE when a chain of tests
 * is as good. *looked is how many bounds of ranges the search saw. -ENOMEM.
 */
int cut_choose(struct cutter *cutter, const struct problem *problem, uint64_t budget,
	       struct cut *cut, uint64_t *looked);
void cutter_free(struct cutter *cutter);

/* Are these the same condition? */
static inline bool constraint_same(const struct constraint *a, const struct constraint *b)
{
	return a->items == b->items && a->masked.mask == b->masked.mask &&
	       a->masked.value == b->masked.value && a->sets.sets == b->sets.sets &&
	       a->sets.none == b->sets.none;
}

/* What one test of a constraint costs, in eighths of a node visit. */
uint32_t constraint_cost(const struct constraint *constraint);

#endif
