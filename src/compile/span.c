// SPDX-License-Identifier: GPL-2.0-or-later
#include "compile/span.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct slice slice_search(const struct address_range *items, uint32_t n,
			  const struct address_range *box)
{
	uint32_t first, end, low, high;

	for (low = 0, high = n; low < high;) {
		uint32_t middle = low + (high - low) / 2;

		if (words_compare(items[middle].hi, box->lo) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	first = low;
	for (high = n; low < high;) {
		uint32_t middle = low + (high - low) / 2;

		if (words_compare(items[middle].lo, box->hi) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	end = low;
	return (struct slice){ items + first, end - first };
}

unsigned box_word(const struct address_range *box)
{
	unsigned i;

	for (i = 0; i < 4 && box->lo[i] == box->hi[i]; i++)
		;
	return i;
}

unsigned range_cuts(const struct address_range *range, const struct address_range *box,
		    unsigned word, uint32_t cuts[4])
{
	bool low_partial = false, high_partial = false;
	unsigned i, n = 0;

	for (i = word + 1; i < 4; i++) {
		low_partial |= range->lo[i] != 0;
		high_partial |= range->hi[i] != box->hi[i];
	}
	if (words_compare(range->lo, box->lo) > 0) {
		uint32_t lo = range->lo[word];

		if (lo > box->lo[word])
			cuts[n++] = lo;
		if (low_partial && lo < box->hi[word])
			cuts[n++] = lo + 1;
	}
	if (words_compare(range->hi, box->hi) < 0) {
		uint32_t hi = range->hi[word];

		if (high_partial && hi > box->lo[word] && (!n || cuts[n - 1] < hi))
			cuts[n++] = hi;
		if (hi < box->hi[word] && (!n || cuts[n - 1] < hi + 1))
			cuts[n++] = hi + 1;
	}
	return n;
}

/* A tree under construction, down to the cell of one word. */
struct span {
	struct nodes *nodes;
	uint32_t field, yes, no;
};

static uint32_t word_tree(const struct span *span, struct slice slice,
			  const struct address_range *box);

/*
 * How many cuts a child of a packed tree gets: the largest that fills all levels below the first.
 * So the lowest nodes are full, and no deeper than in a balanced tree.
 */
static uint32_t child_cuts(uint32_t n)
{
	uint32_t below = 0;

	while (n > below * (IMAGE_SWITCH_KEYS + 1) + IMAGE_SWITCH_KEYS)
		below = below * (IMAGE_SWITCH_KEYS + 1) + IMAGE_SWITCH_KEYS;
	return below;
}

static uint32_t cuts_tree(const struct span *span, const uint32_t *cuts, uint32_t n,
			  struct slice slice, const struct address_range *box, unsigned word)
{
	uint32_t keys[IMAGE_SWITCH_KEYS], children[IMAGE_SWITCH_KEYS + 1];
	uint32_t below = child_cuts(n), used = 0, at = 0, lo = box->lo[word];

	if (!n)
		return word_tree(span, slice, box);
	for (;;) {
		uint32_t more = n - at < below ? n - at : below;
		bool last = at + more == n;
		uint32_t hi = last ? box->hi[word] : cuts[at + more] - 1;
		struct address_range part = box_narrow(box, word, lo, hi);

		children[used] = cuts_tree(span, cuts + at, more,
					   slice_clip(slice.items, slice.n, &part), &part, word);
		if (last)
			break;
		keys[used++] = hi + 1;
		lo = hi + 1;
		at += more + 1;
	}
	return nodes_switch(span->nodes, span->field + word, keys, children, used);
}

/* `slice` is what meets the box. */
static uint32_t word_tree(const struct span *span, struct slice slice,
			  const struct address_range *box)
{
	cleanup_free uint32_t *cuts = NULL;
	unsigned word = box_word(box);
	uint32_t i, n = 0;

	if (!slice.n)
		return span->no;
	if (range_covers(slice.items, box))
		return span->yes;
	if (span->nodes->error)
		return span->no;
	cuts = calloc((size_t)slice.n * 4, sizeof(*cuts));
	if (!cuts) {
		span->nodes->error = -ENOMEM;
		return span->no;
	}
	for (i = 0; i < slice.n; i++) {
		uint32_t own[4];
		unsigned j, own_n = range_cuts(&slice.items[i], box, word, own);

		for (j = 0; j < own_n; j++)
			if (!n || cuts[n - 1] < own[j])
				cuts[n++] = own[j];
	}
	return n ? cuts_tree(span, cuts, n, slice, box, word) : span->yes;
}

uint32_t span_tree(struct nodes *nodes, uint32_t field, const struct address_range *items,
		   uint32_t n, const struct address_range *box, uint32_t yes, uint32_t no)
{
	struct span span = { .nodes = nodes, .field = field, .yes = yes, .no = no };

	return word_tree(&span, slice_clip(items, n, box), box);
}
