// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tree builder.
 *
 * A problem is a list of entries in judging order and a box: what the switches above have found
 * out. Every entry carries the dimensions in which the box does not answer it yet. Building it:
 *
 *   1. tidy: entries behind the first one without open dimensions are never reached and go; in a
 *	short list so do those that an earlier one covers. If nothing is left before that first one,
 *	the answer is its rule.
 *   2. memo: problems with the same entries, open dimensions and box (in those dimensions only)
 *	have the same answer, wherever they come up: below another key, another switch, another
 *	pair of zones.
 *   3. cut (cut.c), build each part, and join them by a switch; or by a test or a set, for a cut by
 *	answer.
 *   4. where no cut pays, a chain: the tests of the entries, one after the other. A failed test
 *	goes on at the next entry that does not ask the same again.
 *
 * A rule with limits decides only while it is within them. An entry of such a rule without open
 * dimensions ends no list: what is before it is built with a node that asks the rule as its end,
 * and that goes on, beyond the limits, where what is behind it begins.
 *
 * Cuts copy entries into several children. Each list has a budget: the entries that all chains
 * below it may hold together, and a part of those looked at on the way. A child gets its share of
 * it, and what one child leaves over is for the next. When a cut is refused for that reason, a long
 * list is split in judging order instead: the tree of the first half ends, where nothing matches,
 * in the tree of the second half. So a hostile policy costs visits, neither memory nor time.
 *
 * Nothing depends on addresses in memory or on time: the same terms give the same nodes.
 */
#include "compile/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/cleanup.h"

#define COPIES 16u	/* budget: entries for each entry of the first list */
#define RANGE_COPIES 2u /* and for each further range of an address list */
#define RANGE_COPIES_MOST 262144u
#define LOOKS 64u	 /* so many bounds looked at in search of a cut cost as much as one entry */
#define LOOKS_FREE 16u	 /* unless there are fewer than so many for each entry */
#define TIDY_MAX 16u	 /* longer lists are not searched for covered entries */
#define SPLIT_MIN 16u	 /* shorter lists are not split */
#define INLINE_RANGES 7u /* longer address lists become sets */
#define INLINE_RANGES_6 2u
#define MEMO_BYTES_MAX ((size_t)256 << 20)

int tree_init(struct tree *tree, const struct terms *terms, struct nodes *nodes, uint64_t spare)
{
	*tree = (struct tree){ .terms = terms, .nodes = nodes, .spare = spare };
	tree->cutter.terms = terms;
	tree->arena.cap = MEMO_BYTES_MAX;
	tree->memo_mask = 1023;
	tree->memo = calloc(tree->memo_mask + 1, sizeof(*tree->memo));
	tree->roots = calloc((size_t)terms->list_n * 4 + 1, sizeof(*tree->roots));
	tree->seen = calloc((size_t)terms->list_n + 1, sizeof(*tree->seen));
	if (tree->memo && tree->roots && tree->seen)
		return 0;
	tree_free(tree);
	return -ENOMEM;
}

void tree_free(struct tree *tree)
{
	cutter_free(&tree->cutter);
	arena_free(&tree->arena);
	free(tree->memo);
	word_vector_free(&tree->key);
	free(tree->roots);
	free(tree->seen);
	*tree = (struct tree){ 0 };
}

static uint32_t rule_of(const struct tree *tree, const struct entry *entry)
{
	return tree->terms->list.items[entry->term].rule;
}

/* May what matches the entry go on behind it? */
static bool limited(const struct tree *tree, const struct entry *entry)
{
	return tree->limits && tree->terms->list.items[entry->term].limited;
}

static uint32_t stop(struct tree *tree, int error)
{
	if (!tree->nodes->error)
		tree->nodes->error = error;
	return REF_MAKE(REF_RULE, 0);
}

/* The root of a set tree, made once a list, direction and family. */
static uint32_t set_root(struct tree *tree, const struct constraint *constraint, enum dimension dim,
			 unsigned family)
{
	uint32_t slot = constraint->list * 4 + (dim == DIM_SRC ? 2 : 0) + (family == 6 ? 1 : 0);
	struct compile_stats *stats = &tree->nodes->stats;
	uint32_t switches = stats->switches;
	struct box whole;

	if (tree->roots[slot])
		return tree->roots[slot];
	box_whole(family, &whole);
	tree->roots[slot] = span_tree(tree->nodes, dimension_field(dim), constraint->items,
				      constraint->n, &whole.range[dim], REF_MAKE(REF_MEMBER, 1),
				      REF_MAKE(REF_MEMBER, 0));
	stats->set_switches += stats->switches - switches;
	stats->switches = switches;
	stats->set_trees++;
	return tree->roots[slot];
}

/* The part of a range within the box that it meets. */
static struct address_range range_clip(const struct address_range *range,
				       const struct address_range *box)
{
	struct address_range part = *range;

	if (words_compare(part.lo, box->lo) < 0)
		memcpy(part.lo, box->lo, sizeof(part.lo));
	if (words_compare(part.hi, box->hi) > 0)
		memcpy(part.hi, box->hi, sizeof(part.hi));
	return part;
}

/* Is a range inside the box all of it in the words behind its first open word? */
static bool range_simple(const struct address_range *range, const struct address_range *box)
{
	unsigned i = box_word(range);

	for (i++; i < 4; i++)
		if (range->lo[i] != box->lo[i] || range->hi[i] != box->hi[i])
			return false;
	return true;
}

/* Tests of one simple range, word by word. */
static uint32_t range_tests(struct tree *tree, uint32_t field, const struct address_range *range,
			    const struct address_range *box, uint32_t yes, uint32_t no)
{
	unsigned i = 4;

	while (i--) {
		uint32_t lo = range->lo[i], span = range->hi[i] - lo;

		if (range->lo[i] <= box->lo[i] && range->hi[i] >= box->hi[i])
			continue; /* nothing to find out, for the words before are equal */
		yes = nodes_test(tree->nodes, field + i, UINT32_MAX, lo, span, yes, no);
	}
	return yes;
}

/* Dynamic sets are asked one after the other, by ascending number. */
static uint32_t sets_nodes(struct tree *tree, const struct membership *sets, uint32_t field,
			   uint32_t yes, uint32_t no)
{
	uint32_t in = sets->none ? no : yes, ref = sets->none ? yes : no, i = IMAGE_SETS_MAX;

	while (i--)
		if (sets->sets >> i & 1)
			ref = nodes_member_of(tree->nodes, i, field, in, ref);
	return ref;
}

/* Nodes that go to `yes` if the constraint holds, else to `no`. */
static uint32_t constraint_nodes(struct tree *tree, const struct constraint *constraint,
				 enum dimension dim, const struct box *box, uint32_t yes,
				 uint32_t no)
{
	uint32_t field = dimension_field(dim), limit = UINT32_MAX;
	const struct address_range *range;
	struct address_range part;
	struct slice slice;

	if (DIM_BIT(dim) & DIM_SETS)
		return sets_nodes(tree, &constraint->sets, field, yes, no);
	if (dim >= DIM_RANGED)
		return nodes_test(tree->nodes, field, constraint->masked.mask,
				  constraint->masked.value, 0, yes, no);
	range = &box->range[dim];
	slice = slice_clip(constraint->items, constraint->n, range);
	if (slice.n == 1) {
		part = range_clip(slice.items, range);
		if (range_simple(&part, range))
			return range_tests(tree, field, &part, range, yes, no);
	}
	if (DIM_BIT(dim) & DIM_ADDRESSES)
		limit = box->family == 6 ? INLINE_RANGES_6 : INLINE_RANGES;
	if (slice.n > limit)
		return nodes_set(tree->nodes, set_root(tree, constraint, dim, box->family), yes,
				 no);
	return span_tree(tree->nodes, field, slice.items, slice.n, range, yes, no);
}

/* The open dimensions of an entry, cheapest test first. */
static unsigned test_order(const struct tree *tree, const struct entry *entry,
			   enum dimension order[DIM_COUNT])
{
	uint32_t costs[DIM_COUNT], left;
	unsigned n = 0, i;

	for (left = entry->left; left; left &= left - 1) {
		enum dimension dim = (enum dimension)__builtin_ctz(left);
		uint32_t cost = constraint_cost(term_constraint(tree->terms, entry->term, dim));

		for (i = n++; i && costs[i - 1] > cost; i--) {
			costs[i] = costs[i - 1];
			order[i] = order[i - 1];
		}
		costs[i] = cost;
		order[i] = dim;
	}
	return n;
}

/* The tests of all entries, one after the other. */
static uint32_t chain_build(struct tree *tree, const struct entry *entries, uint32_t n,
			    const struct box *box, uint32_t fail)
{
	uint32_t past[DIM_COUNT]; /* by dimension: where to go on if the entry's test there fails */
	uint32_t start = fail, behind = fail, i = n; /* `behind` the entries of the same rule */
	unsigned dim, j;

	for (dim = 0; dim < DIM_COUNT; dim++)
		past[dim] = fail;
	if (n > tree->chain_max)
		tree->chain_max = n;
	tree->spent += n;
	while (i--) {
		uint32_t ref = REF_MAKE(REF_RULE, rule_of(tree, &entries[i]));
		const struct entry *after = i + 1 < n ? &entries[i + 1] : NULL;
		enum dimension order[DIM_COUNT];

		if (!after || rule_of(tree, after) != rule_of(tree, &entries[i]))
			behind = start;
		if (limited(tree, &entries[i]))
			ref = nodes_limited(tree->nodes, rule_of(tree, &entries[i]), behind);
		for (dim = 0; dim < DIM_COUNT; dim++) {
			bool same =
				after && (entries[i].left & after->left & DIM_BIT(dim)) &&
				constraint_same(term_constraint(tree->terms, entries[i].term, dim),
						term_constraint(tree->terms, after->term, dim));

			if (!same)
				past[dim] = start;
		}
		for (j = test_order(tree, &entries[i], order); j--;)
			ref = constraint_nodes(
				tree, term_constraint(tree->terms, entries[i].term, order[j]),
				order[j], box, ref, past[order[j]]);
		start = ref;
	}
	return start;
}

/* Whatever the sets hold. */
static bool sets_within(const struct membership *inner, const struct membership *outer)
{
	uint64_t more = outer->none ? outer->sets & ~inner->sets : inner->sets & ~outer->sets;

	return inner->none == outer->none && !more;
}

/* Does whatever passes `inner` in this dimension, within the box, pass `outer`? */
static bool constraint_within(const struct constraint *inner, const struct constraint *outer,
			      enum dimension dim, const struct box *box)
{
	const struct address_range *range = &box->range[dim];
	struct slice in, out;
	struct address_range part;

	if (DIM_BIT(dim) & DIM_SETS)
		return sets_within(&inner->sets, &outer->sets);
	if (dim >= DIM_RANGED)
		return (inner->masked.mask & outer->masked.mask) == outer->masked.mask &&
		       (inner->masked.value & outer->masked.mask) == outer->masked.value;
	if (inner->items == outer->items)
		return true;
	in = slice_clip(inner->items, inner->n, range);
	out = slice_clip(outer->items, outer->n, range);
	if (in.n != 1 || out.n != 1)
		return false;
	part = range_clip(in.items, range);
	return range_covers(out.items, &part);
}

static bool entry_covers(const struct tree *tree, const struct entry *outer,
			 const struct entry *inner, const struct box *box)
{
	uint32_t left;

	if (outer->left & ~inner->left)
		return false;
	if (limited(tree, outer) && rule_of(tree, outer) != rule_of(tree, inner))
		return false;
	for (left = outer->left; left; left &= left - 1) {
		enum dimension dim = (enum dimension)__builtin_ctz(left);

		if (!constraint_within(term_constraint(tree->terms, inner->term, dim),
				       term_constraint(tree->terms, outer->term, dim), dim, box))
			return false;
	}
	return true;
}

/*
 * Drops what is never reached. Returns how many open entries remain; *fail is where to go behind
 * them.
 */
static uint32_t tidy(struct tree *tree, struct entry *entries, uint32_t n, const struct box *box,
		     uint32_t *fail)
{
	uint32_t i, j, kept = 0;

	for (i = 0; i < n && entries[i].left; i++)
		;
	if (i < n)
		*fail = REF_MAKE(REF_RULE, rule_of(tree, &entries[i]));
	n = i;
	while (n && *fail == REF_MAKE(REF_RULE, rule_of(tree, &entries[n - 1])))
		n--;
	if (n > TIDY_MAX)
		return n;
	for (i = 0; i < n; i++) {
		for (j = 0; j < kept; j++)
			if (entry_covers(tree, &entries[j], &entries[i], box))
				break;
		if (j == kept)
			entries[kept++] = entries[i];
	}
	return kept;
}

/* What a problem is, as words: in tree->key. */
static int key_make(struct tree *tree, const struct entry *entries, uint32_t n,
		    const struct box *box, uint32_t fail)
{
	struct word_vector *key = &tree->key;
	uint32_t i, open = 0;
	unsigned dim;

	key->n = 0;
	if (word_vector_reserve(key, 2 + (size_t)n * 2 + DIM_RANGED * 8))
		return -ENOMEM;
	key->items[key->n++] = fail;
	key->items[key->n++] = tree->limits;
	for (i = 0; i < n; i++) {
		key->items[key->n++] = entries[i].term;
		key->items[key->n++] = entries[i].left;
		open |= entries[i].left;
	}
	for (dim = 0; dim < DIM_RANGED; dim++) {
		if (!(open & DIM_BIT(dim)))
			continue;
		memcpy(key->items + key->n, &box->range[dim], sizeof(box->range[dim]));
		key->n += sizeof(box->range[dim]) / sizeof(*key->items);
	}
	return 0;
}

static uint32_t key_hash(const uint32_t *key, size_t len)
{
	return (uint32_t)XXH3_64bits(key, len * sizeof(*key));
}

static struct memo_slot *memo_find(const struct tree *tree)
{
	uint32_t i = key_hash(tree->key.items, tree->key.n) & tree->memo_mask;

	for (;; i = (i + 1) & tree->memo_mask) {
		struct memo_slot *slot = &tree->memo[i];

		if (!slot->key ||
		    (slot->len == tree->key.n &&
		     !memcmp(slot->key, tree->key.items, slot->len * sizeof(*slot->key))))
			return slot;
	}
}

static int memo_grow(struct tree *tree)
{
	uint32_t n = (tree->memo_mask + 1) * 2, i;
	struct memo_slot *memo = calloc(n, sizeof(*memo));

	if (!memo)
		return -ENOMEM;
	for (i = 0; i <= tree->memo_mask; i++) {
		const struct memo_slot *slot = &tree->memo[i];
		uint32_t j;

		if (!slot->key)
			continue;
		j = key_hash(slot->key, slot->len) & (n - 1);
		while (memo[j].key)
			j = (j + 1) & (n - 1);
		memo[j] = *slot;
	}
	free(tree->memo);
	tree->memo = memo;
	tree->memo_mask = n - 1;
	return 0;
}

/* A copy of tree->key that lasts, or NULL when the memo is full. */
static const uint32_t *key_keep(struct tree *tree)
{
	uint32_t *key = arena_array(&tree->arena, tree->key.n, sizeof(*key));

	if (key)
		memcpy(key, tree->key.items, tree->key.n * sizeof(*key));
	return key;
}

static int memo_add(struct tree *tree, const uint32_t *key, uint32_t len, uint32_t ref)
{
	uint32_t i = key_hash(key, len) & tree->memo_mask;

	while (tree->memo[i].key)
		i = (i + 1) & tree->memo_mask;
	tree->memo[i] = (struct memo_slot){ key, len, ref };
	if (++tree->memo_n > tree->memo_mask / 2)
		return memo_grow(tree);
	return 0;
}

static uint32_t problem_build(struct tree *tree, struct entry *entries, uint32_t n, struct box *box,
			      uint32_t fail, uint64_t budget);

/* The entries that can match where dimension `dim` lies in `part`; returns how many. */
static uint32_t narrow(const struct tree *tree, const struct entry *entries, uint32_t n,
		       enum dimension dim, const struct address_range *part, struct entry *to)
{
	uint32_t i, kept = 0;

	for (i = 0; i < n; i++) {
		struct entry entry = entries[i];

		if (entry.left & DIM_BIT(dim)) {
			const struct constraint *constraint =
				term_constraint(tree->terms, entry.term, dim);
			struct slice slice = slice_clip(constraint->items, constraint->n, part);

			if (!slice.n)
				continue;
			if (slice.n == 1 && range_covers(slice.items, part))
				entry.left &= ~DIM_BIT(dim);
		}
		to[kept++] = entry;
		if (!entry.left && !limited(tree, &entry))
			break;
	}
	return kept;
}

/* The entries that can match where the answer to a constraint is known. */
static uint32_t answered(const struct tree *tree, const struct entry *entries, uint32_t n,
			 const struct cut *cut, bool answer, struct entry *to)
{
	uint32_t i, kept = 0;

	for (i = 0; i < n; i++) {
		struct entry entry = entries[i];

		if ((entry.left & DIM_BIT(cut->dim)) &&
		    constraint_same(term_constraint(tree->terms, entry.term, cut->dim),
				    cut->constraint)) {
			if (!answer)
				continue;
			entry.left &= ~DIM_BIT(cut->dim);
		}
		to[kept++] = entry;
		if (!entry.left && !limited(tree, &entry))
			break;
	}
	return kept;
}

/* What is left of a list's budget for its children, and how many entries they still bring. */
struct pool {
	uint64_t budget, entries;
};

/* Builds one child with its share; what it leaves over is for the next ones. */
static uint32_t child_build(struct tree *tree, struct entry *entries, uint32_t n, struct box *box,
			    uint32_t fail, struct pool *pool)
{
	uint64_t share = pool->entries ? pool->budget * n / pool->entries : pool->budget;
	uint64_t before = tree->spent, spent;
	uint32_t ref = problem_build(tree, entries, n, box, fail, share);

	spent = tree->spent - before;
	pool->budget -= spent < pool->budget ? spent : pool->budget;
	pool->entries -= n;
	return ref;
}

static uint32_t answer_build(struct tree *tree, const struct entry *entries, uint32_t n,
			     struct box *box, uint32_t fail, uint64_t budget, const struct cut *cut)
{
	cleanup_free struct entry *yes = calloc(n, sizeof(*yes)), *no = calloc(n, sizeof(*no));
	uint32_t yes_n, no_n, yes_ref, no_ref;
	struct pool pool;

	if (!yes || !no)
		return stop(tree, -ENOMEM);
	yes_n = answered(tree, entries, n, cut, true, yes);
	no_n = answered(tree, entries, n, cut, false, no);
	pool = (struct pool){ budget, (uint64_t)yes_n + no_n };
	no_ref = child_build(tree, no, no_n, box, fail, &pool);
	yes_ref = child_build(tree, yes, yes_n, box, fail, &pool);
	return constraint_nodes(tree, cut->constraint, cut->dim, box, yes_ref, no_ref);
}

static uint32_t word_build(struct tree *tree, const struct entry *entries, uint32_t n,
			   struct box *box, uint32_t fail, uint64_t budget, const struct cut *cut)
{
	uint32_t children[IMAGE_SWITCH_KEYS + 1], counts[IMAGE_SWITCH_KEYS + 1], i;
	struct address_range whole = box->range[cut->dim], parts[IMAGE_SWITCH_KEYS + 1];
	struct entry_vector all = { 0 };
	struct pool pool = { budget, 0 };

	for (i = 0; i <= cut->n; i++) {
		uint32_t lo = i ? cut->keys[i - 1] : whole.lo[cut->word];
		uint32_t hi = i < cut->n ? cut->keys[i] - 1 : whole.hi[cut->word];

		parts[i] = box_narrow(&whole, cut->word, lo, hi);
		if (entry_vector_reserve(&all, n)) {
			entry_vector_free(&all);
			return stop(tree, -ENOMEM);
		}
		counts[i] = narrow(tree, entries, n, cut->dim, &parts[i], all.items + all.n);
		all.n += counts[i];
		pool.entries += counts[i];
	}
	for (i = 0, all.n = 0; i <= cut->n; i++) {
		box->range[cut->dim] = parts[i];
		children[i] = child_build(tree, all.items + all.n, counts[i], box, fail, &pool);
		all.n += counts[i];
	}
	box->range[cut->dim] = whole;
	entry_vector_free(&all);
	return nodes_switch(tree->nodes, dimension_field(cut->dim) + cut->word, cut->keys, children,
			    cut->n);
}

/* The tree of the first half ends in that of the second. */
static uint32_t split_build(struct tree *tree, struct entry *entries, uint32_t n, struct box *box,
			    uint32_t fail, uint64_t budget)
{
	struct pool pool = { budget, n };

	fail = child_build(tree, entries + n / 2, n - n / 2, box, fail, &pool);
	return child_build(tree, entries, n / 2, box, fail, &pool);
}

static uint32_t problem_divide(struct tree *tree, struct entry *entries, uint32_t n,
			       struct box *box, uint32_t fail, uint64_t budget)
{
	struct problem problem = { .entries = entries, .n = n, .box = box };
	struct cut cut = { .kind = CUT_NONE };
	int err;

	if (n > 2 && budget >= n) {
		uint64_t looked, price;

		err = cut_choose(&tree->cutter, &problem, budget, &cut, &looked);
		if (err)
			return stop(tree, err);
		price = looked > (uint64_t)n * LOOKS_FREE ? looked / LOOKS : 0;
		budget -= price < budget ? price : budget;
		tree->spent += price;
	}
	if (cut.kind == CUT_WORD)
		return word_build(tree, entries, n, box, fail, budget, &cut);
	if (cut.kind == CUT_ANSWER)
		return answer_build(tree, entries, n, box, fail, budget, &cut);
	if (cut.refused && n >= SPLIT_MIN)
		return split_build(tree, entries, n, box, fail, budget);
	return chain_build(tree, entries, n, box, fail);
}

/*
 * Where the first entry without open dimensions is one with limits: what is behind it is built
 * first. Returns how many entries are before it, and in *fail where to go behind those.
 */
static uint32_t limited_build(struct tree *tree, struct entry *entries, uint32_t n, struct box *box,
			      uint32_t *fail, uint64_t *budget)
{
	uint32_t i, behind, rule;
	struct pool pool;

	for (i = 0; i < n && entries[i].left; i++)
		;
	if (i == n || !limited(tree, &entries[i]))
		return n;
	rule = rule_of(tree, &entries[i]);
	for (behind = i + 1; behind < n && rule_of(tree, &entries[behind]) == rule; behind++)
		;
	pool = (struct pool){ *budget, n };
	*fail = child_build(tree, entries + behind, n - behind, box, *fail, &pool);
	*fail = nodes_limited(tree->nodes, rule, *fail);
	*budget = pool.budget;
	/* Those of the same rule before it would only ask the same. */
	while (i && rule_of(tree, &entries[i - 1]) == rule)
		i--;
	return i;
}

/* May reorder nothing but drop entries in place. */
static uint32_t problem_build(struct tree *tree, struct entry *entries, uint32_t n, struct box *box,
			      uint32_t fail, uint64_t budget)
{
	const struct memo_slot *slot;
	const uint32_t *key;
	uint32_t len, ref;

	if (tree->nodes->error)
		return stop(tree, tree->nodes->error);
	n = limited_build(tree, entries, n, box, &fail, &budget);
	n = tidy(tree, entries, n, box, &fail);
	if (fail == TREE_NO_FAIL)
		return stop(tree, -EINVAL);
	if (!n)
		return fail;
	if (key_make(tree, entries, n, box, fail))
		return stop(tree, -ENOMEM);
	slot = memo_find(tree);
	if (slot->key)
		return slot->ref;
	key = key_keep(tree);
	len = (uint32_t)tree->key.n;
	ref = problem_divide(tree, entries, n, box, fail, budget);
	if (key && memo_add(tree, key, len, ref))
		return stop(tree, -ENOMEM);
	return ref;
}

/*
 * What a tree of these entries may hold: more for long lists of ranges that may take part in cuts,
 * each counted once.
 */
static uint64_t first_budget(struct tree *tree, const struct entry *entries, uint32_t n)
{
	uint64_t ranges = 0;
	uint32_t i, left;

	tree->calls++;
	for (i = 0; i < n; i++) {
		for (left = entries[i].left & DIM_ADDRESSES; left; left &= left - 1) {
			enum dimension dim = (enum dimension)__builtin_ctz(left);
			const struct constraint *constraint =
				term_constraint(tree->terms, entries[i].term, dim);

			if (constraint->n > CUT_ITEMS_MOST ||
			    tree->seen[constraint->list] == tree->calls)
				continue;
			tree->seen[constraint->list] = tree->calls;
			ranges += constraint->n - 1;
		}
	}
	ranges *= RANGE_COPIES;
	if (ranges > RANGE_COPIES_MOST)
		ranges = RANGE_COPIES_MOST;
	return (uint64_t)n * COPIES + ranges + tree->spare;
}

uint32_t tree_build(struct tree *tree, const struct entry *entries, uint32_t n,
		    const struct box *box, uint32_t fail)
{
	cleanup_free struct entry *open = calloc((size_t)n + 1, sizeof(*open));
	struct box own = *box;
	uint32_t i, kept = 0;

	if (!open)
		return stop(tree, -ENOMEM);
	for (i = 0; i < n; i++) {
		struct entry entry = entries[i];
		uint32_t left;
		bool dead = false;

		/* What the box knows already. */
		for (left = entry.left; left && !dead; left &= left - 1) {
			enum dimension dim = (enum dimension)__builtin_ctz(left);
			const struct constraint *constraint;
			struct slice slice;

			if (dim >= DIM_RANGED)
				continue;
			constraint = term_constraint(tree->terms, entry.term, dim);
			slice = slice_clip(constraint->items, constraint->n, &box->range[dim]);
			dead = !slice.n;
			if (slice.n == 1 && range_covers(slice.items, &box->range[dim]))
				entry.left &= ~DIM_BIT(dim);
		}
		if (!dead)
			open[kept++] = entry;
		if (!dead && !entry.left && !limited(tree, &entry))
			break;
	}
	return problem_build(tree, open, kept, &own, fail, first_budget(tree, open, kept));
}
