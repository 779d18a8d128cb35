// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ranges of up to four words, and decision trees over lists of them.
 *
 * The compiler writes every range as a struct address_range, ports too (in the first word, the
 * others zero), so that there is one code for all. A box of a field is such a range as well, with
 * one property that cuts keep up: its words are fixed (lo == hi) up to some word, that one is a
 * range, and the words behind it are free, or zero throughout.
 */
#ifndef REEVE_COMPILE_SPAN_H
#define REEVE_COMPILE_SPAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "compile/node.h"
#include "policy/rule.h"

/* Items of a list that meet a box: those from `first`, `n` of them. */
struct slice {
	const struct address_range *items;
	uint32_t n;
};

static inline int words_compare(const uint32_t *a, const uint32_t *b)
{
	unsigned i;

	for (i = 0; i < 3 && a[i] == b[i]; i++)
		;
	return (a[i] > b[i]) - (a[i] < b[i]);
}

static inline bool range_meets(const struct address_range *a, const struct address_range *b)
{
	return words_compare(a->lo, b->hi) <= 0 && words_compare(b->lo, a->hi) <= 0;
}

static inline bool range_covers(const struct address_range *outer,
				const struct address_range *inner)
{
	return words_compare(outer->lo, inner->lo) <= 0 && words_compare(inner->hi, outer->hi) <= 0;
}

struct slice slice_search(const struct address_range *items, uint32_t n,
			  const struct address_range *box);

/* The items of a sorted, disjoint list that meet the box. */
static inline struct slice slice_clip(const struct address_range *items, uint32_t n,
				      const struct address_range *box)
{
	if (n == 1)
		return (struct slice){ items, range_meets(items, box) };
	return slice_search(items, n, box);
}

/* The first word that the box does not fix, or 4. */
unsigned box_word(const struct address_range *box);

/* The part of the box where word `word`, its first free one, lies within lo..hi. */
static inline struct address_range box_narrow(const struct address_range *box, unsigned word,
					      uint32_t lo, uint32_t hi)
{
	struct address_range part = *box;
	unsigned i;

	part.lo[word] = lo;
	part.hi[word] = hi;
	/* Free words become 0 .. all ones again where the box's own bounds were in between. */
	for (i = word + 1; i < 4; i++) {
		part.lo[i] = 0;
		part.hi[i] = box->hi[i];
	}
	return part;
}

/*
 * The values of word `word` at which the answer of `range` may change, within the box and above its
 * lowest: at most four into cuts, ascending. Returns how many. The range meets the box, whose first
 * free word is `word`.
 */
unsigned range_cuts(const struct address_range *range, const struct address_range *box,
		    unsigned word, uint32_t cuts[4]);

/*
 * A decision tree: `yes` where the field beginning at word number `field` lies in the list, else
 * `no`. For packets within the box only. NULL memory sets nodes->error.
 */
uint32_t span_tree(struct nodes *nodes, uint32_t field, const struct address_range *items,
		   uint32_t n, const struct address_range *box, uint32_t yes, uint32_t no);

#endif
