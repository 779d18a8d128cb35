// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The choice of a cut.
 *
 * Every dimension in which some entry is still to be tested is a candidate. Its cut points are the
 * bounds of the entries' ranges, within the box: 15 of them at most, spread evenly, so that many
 * bounds become a tree of 16-way switches by recursion. A candidate is judged by what a packet is
 * expected to visit behind it. An entry weighs what its tests cost; a child weighs the sum of its
 * entries; a packet lands in a child as probably as the child weighs (packets go where the rules
 * are); and a child of weight w is thought to cost
 *
 *	w				up to a few visits: the chain
 *	that + RATE * log2(the rest)	beyond: further cuts will divide it
 *
 * The same sum is taken a second time over all cut points at once, with as many visits as that many
 * keys need: a field of a thousand single values shows its worth only when it is cut down to them.
 * The better one counts. Entries that reach into several children are copied, and copies are
 * memory: their factor is charged by its logarithm.
 *
 * Besides there is the answer to a condition that many entries share (a large address set, TCP
 * flags, a dynamic set): two children.
 *
 * All of it is integer arithmetic, so that an image does not depend on a machine's floating point.
 * Beyond SAMPLE_MAX entries only every k-th is looked at.
 */
#include "compile/cut.h"

#include <errno.h>

#define VISIT 256u	 /* the unit of estimates: a node visit */
#define WEIGHT_VISIT 8u	 /* the same, in weights */
#define WEIGHT_SET 32u	 /* to ask a dynamic set */
#define CHAIN_WEIGHT 24u /* up to here a child is thought to be a chain */
#define RATE 205u	 /* estimate for each halving beyond */
#define COPY_LEAST 64u	 /* penalty for each doubling of entries, at least */
#define COPY_MOST 2048u	 /* and at most */
#define SAMPLE_MAX 4096u
/* Ranges of all entries; a list that is longer than its part of them takes no part in cuts. */
#define ITEMS_ALL 262144u
#define ITEMS_LEAST 16u
#define SMALL_SORT 64u

void cutter_free(struct cutter *cutter)
{
	word_vector_free(&cutter->weights);
	word_vector_free(&cutter->values);
	word_vector_free(&cutter->spare);
	sum_vector_free(&cutter->sums);
	sum_vector_free(&cutter->counts);
}

uint32_t constraint_cost(const struct constraint *constraint)
{
	uint32_t cost = WEIGHT_VISIT, n = constraint->n;

	if (constraint->sets.sets)
		return WEIGHT_SET * (uint32_t)__builtin_popcountll(constraint->sets.sets);
	if (n <= 7)
		return cost;
	for (cost += WEIGHT_VISIT; n > 1; n /= 16)
		cost += WEIGHT_VISIT;
	return cost;
}

/* The cheapest test is always made, others only behind a match. */
static uint32_t entry_weight(const struct terms *terms, const struct entry *entry)
{
	uint32_t left, sum = 0, least = UINT32_MAX;

	for (left = entry->left; left; left &= left - 1) {
		uint32_t cost = constraint_cost(
			term_constraint(terms, entry->term, (enum dimension)__builtin_ctz(left)));

		sum += cost;
		if (cost < least)
			least = cost;
	}
	return least + (sum - least) / 2;
}

/* 256 * log2(n / 256), for n >= 256. */
static uint32_t log2_fixed(uint64_t n)
{
	uint32_t top = 63 - (uint32_t)__builtin_clzll(n);

	return (top - 8) * 256 + (uint32_t)(((n << (63 - top)) >> 55) & 255);
}

/* What a child of this weight will cost. */
static uint64_t estimate(uint64_t weight)
{
	if (weight <= CHAIN_WEIGHT)
		return weight * (VISIT / WEIGHT_VISIT);
	return CHAIN_WEIGHT * (VISIT / WEIGHT_VISIT) +
	       (uint64_t)log2_fixed(weight * 256 / CHAIN_WEIGHT) * RATE / 256;
}

/* Ascending; values that fit one machine word, least digit first. */
static int sort_words(struct cutter *cutter)
{
	uint32_t *from = cutter->values.items, *to, n = (uint32_t)cutter->values.n, i, j;
	unsigned shift;

	if (n <= SMALL_SORT) {
		for (i = 1; i < n; i++) {
			uint32_t value = from[i];

			for (j = i; j && from[j - 1] > value; j--)
				from[j] = from[j - 1];
			from[j] = value;
		}
		return 0;
	}
	cutter->spare.n = 0;
	if (word_vector_reserve(&cutter->spare, n))
		return -ENOMEM;
	to = cutter->spare.items;
	for (shift = 0; shift < 32; shift += 8) {
		uint32_t start[256] = { 0 }, sum = 0, *swap;

		for (i = 0; i < n; i++)
			start[from[i] >> shift & 255]++;
		if (start[from[0] >> shift & 255] == n)
			continue;
		for (i = 0; i < 256; i++) {
			uint32_t count = start[i];

			start[i] = sum;
			sum += count;
		}
		for (i = 0; i < n; i++)
			to[start[from[i] >> shift & 255]++] = from[i];
		swap = from;
		from = to;
		to = swap;
	}
	if (from != cutter->values.items)
		memcpy(cutter->values.items, from, n * sizeof(*from));
	return 0;
}

static uint32_t stride_of(const struct problem *problem)
{
	return (problem->n + SAMPLE_MAX - 1) / SAMPLE_MAX;
}

static uint32_t items_max(const struct problem *problem)
{
	uint32_t items = ITEMS_ALL / problem->n;

	return items < ITEMS_LEAST ? ITEMS_LEAST : items > CUT_ITEMS_MOST ? CUT_ITEMS_MOST : items;
}

/* All cut points of a dimension, sorted and distinct, into cutter->values. */
static int gather(struct cutter *cutter, const struct problem *problem, enum dimension dim,
		  unsigned word)
{
	const struct address_range *box = &problem->box->range[dim];
	struct word_vector *values = &cutter->values;
	uint32_t stride = stride_of(problem), most = items_max(problem), i, j, n = 0;

	values->n = 0;
	for (i = 0; i < problem->n; i += stride) {
		const struct constraint *constraint;
		struct slice slice;

		if (!(problem->entries[i].left & DIM_BIT(dim)))
			continue;
		constraint = term_constraint(cutter->terms, problem->entries[i].term, dim);
		slice = slice_clip(constraint->items, constraint->n, box);
		if (slice.n > most)
			continue;
		if (word_vector_reserve(values, (size_t)slice.n * 4))
			return -ENOMEM;
		for (j = 0; j < slice.n; j++)
			values->n +=
				range_cuts(&slice.items[j], box, word, values->items + values->n);
	}
	cutter->looked += values->n;
	if (sort_words(cutter))
		return -ENOMEM;
	for (i = 0; i < values->n; i++)
		if (!n || values->items[n - 1] != values->items[i])
			values->items[n++] = values->items[i];
	values->n = n;
	return 0;
}

/* The number of keys that are at most `value`. */
static uint32_t rank_of(const uint32_t *keys, uint32_t n, uint32_t value)
{
	uint32_t low = 0, high = n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (keys[middle] <= value)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* What a set of cut points is worth. */
struct worth {
	uint64_t cost;	  /* expected visits behind the cut */
	uint64_t entries; /* in all children together, of the sample */
};

/* Adds to children first..last. The arrays hold differences. */
static void add_children(struct cutter *cutter, uint32_t first, uint32_t last, uint64_t weight,
			 uint64_t count)
{
	cutter->sums.items[first] += weight;
	cutter->sums.items[last + 1] -= weight;
	cutter->counts.items[first] += count;
	cutter->counts.items[last + 1] -= count;
}

/* One range of an entry. `*next` is the first child that the entry does not count in yet. */
static void add_range(struct cutter *cutter, const struct address_range *range,
		      const struct address_range *box, unsigned word, const uint32_t *keys,
		      uint32_t n, uint32_t weight, uint32_t covered, uint32_t *next)
{
	bool begins = words_compare(range->lo, box->lo) <= 0;
	bool ends = words_compare(range->hi, box->hi) >= 0;
	uint32_t first = begins ? 0 : rank_of(keys, n, range->lo[word]);
	uint32_t last = ends ? n : rank_of(keys, n, range->hi[word]);
	bool first_whole = begins || (first && keys[first - 1] == range->lo[word]);
	bool last_whole = ends || (last < n && keys[last] == range->hi[word] + 1);

	if (first < *next) { /* counted already, and there it is not whole */
		if (last < *next)
			return;
		first = *next;
		first_whole = true;
	}
	*next = last + 1;
	if (first == last) {
		add_children(cutter, first, last, first_whole && last_whole ? covered : weight, 1);
		return;
	}
	add_children(cutter, first, first, first_whole ? covered : weight, 1);
	if (first + 1 < last)
		add_children(cutter, first + 1, last - 1, covered, 1);
	add_children(cutter, last, last, last_whole ? covered : weight, 1);
}

static int judge_keys(struct cutter *cutter, const struct problem *problem, enum dimension dim,
		      unsigned word, const uint32_t *keys, uint32_t n, struct worth *worth)
{
	const struct address_range *box = &problem->box->range[dim];
	uint64_t weight_sum = 0, cost_sum = 0, weight = 0, count = 0, entries = 0;
	uint32_t stride = stride_of(problem), most = items_max(problem), i, j, next;

	cutter->sums.n = cutter->counts.n = 0;
	if (sum_vector_reserve(&cutter->sums, n + 2) || sum_vector_reserve(&cutter->counts, n + 2))
		return -ENOMEM;
	memset(cutter->sums.items, 0, (n + 2) * sizeof(uint64_t));
	memset(cutter->counts.items, 0, (n + 2) * sizeof(uint64_t));
	for (i = 0; i < problem->n; i += stride) {
		const struct entry *entry = &problem->entries[i];
		uint32_t own = cutter->weights.items[i], covered, cost;
		const struct constraint *constraint;
		struct slice slice = { NULL, 0 };

		if (entry->left & DIM_BIT(dim)) {
			constraint = term_constraint(cutter->terms, entry->term, dim);
			slice = slice_clip(constraint->items, constraint->n, box);
		}
		if (!slice.n || slice.n > most) {
			add_children(cutter, 0, n, own, 1);
			continue;
		}
		cost = constraint_cost(constraint);
		covered = entry->left == DIM_BIT(dim) ? 1 : own > cost ? own - cost / 2 : own / 2;
		for (j = 0, next = 0; j < slice.n; j++)
			add_range(cutter, &slice.items[j], box, word, keys, n, own, covered, &next);
	}
	for (i = 0; i <= n; i++) {
		weight += cutter->sums.items[i];
		count += cutter->counts.items[i];
		entries += count;
		weight_sum += weight;
		cost_sum += weight * estimate(weight * stride);
	}
	worth->cost = weight_sum ? cost_sum / weight_sum : 0;
	worth->entries = entries;
	return 0;
}

static uint32_t levels_of(uint32_t n)
{
	uint32_t levels = 1;

	for (; n > IMAGE_SWITCH_KEYS; n /= IMAGE_SWITCH_KEYS + 1)
		levels++;
	return levels;
}

/*
 * What a doubling of the entries should cost: as many halvings of the weight as are still needed,
 * for as many doublings as the budget still allows.
 */
static uint64_t copy_rate(uint64_t weight, uint32_t n, uint64_t budget)
{
	uint64_t halvings = weight > CHAIN_WEIGHT ? log2_fixed(weight * 256 / CHAIN_WEIGHT) : 0;
	uint64_t doublings = budget > n ? log2_fixed(budget * 256 / n) : 0;
	uint64_t rate = doublings ? RATE * halvings / doublings : COPY_MOST;

	return rate < COPY_LEAST ? COPY_LEAST : rate > COPY_MOST ? COPY_MOST : rate;
}

/* The price of a candidate; UINT64_MAX when it does not fit the budget. */
static uint64_t price(const struct cutter *cutter, const struct worth *worth, uint32_t sample,
		      uint64_t visits)
{
	uint64_t factor = worth->entries * 256 / sample;
	uint64_t copies = factor > 256 ? log2_fixed(factor) : 0;

	return visits * VISIT + worth->cost + copies * cutter->copy_rate / 256;
}

/* A cut and its price; the best so far. */
struct candidate {
	struct cut cut;
	uint64_t price;
};

static int try_dimension(struct cutter *cutter, const struct problem *problem, enum dimension dim,
			 uint64_t budget, struct candidate *best)
{
	unsigned word = box_word(&problem->box->range[dim]);
	uint32_t stride = stride_of(problem), sample = (problem->n + stride - 1) / stride;
	struct cut cut = { .kind = CUT_WORD, .dim = dim, .word = word };
	uint32_t i, n;
	struct worth worth;
	uint64_t cost;
	int err;

	err = gather(cutter, problem, dim, word);
	if (err || !cutter->values.n)
		return err;
	n = (uint32_t)cutter->values.n;
	cut.n = n < IMAGE_SWITCH_KEYS ? n : IMAGE_SWITCH_KEYS;
	for (i = 0; i < cut.n; i++)
		cut.keys[i] = cutter->values.items[(uint64_t)(i + 1) * n / (cut.n + 1)];
	if (n <= IMAGE_SWITCH_KEYS)
		memcpy(cut.keys, cutter->values.items, n * sizeof(*cut.keys));
	err = judge_keys(cutter, problem, dim, word, cut.keys, cut.n, &worth);
	if (err)
		return err;
	cost = price(cutter, &worth, sample, 1);
	if (n > cut.n) {
		struct worth whole;

		err = judge_keys(cutter, problem, dim, word, cutter->values.items, n, &whole);
		if (err)
			return err;
		whole.entries = worth.entries;
		whole.cost = price(cutter, &whole, sample, levels_of(n));
		if (whole.cost < cost)
			cost = whole.cost;
	}
	if (worth.entries * stride > budget) {
		best->cut.refused = true;
		return 0;
	}
	if (cost < best->price) {
		cut.refused = best->cut.refused;
		best->cut = cut;
		best->price = cost;
	}
	return 0;
}

/* The conditions that most of the first entries share. */
#define ANSWERS 8
struct answers {
	const struct constraint *items[ANSWERS];
	uint64_t weights[ANSWERS];
	uint32_t counts[ANSWERS];
	uint32_t n;
};

static void count_answers(const struct cutter *cutter, const struct problem *problem,
			  enum dimension dim, struct answers *answers)
{
	uint32_t i, j, stride = stride_of(problem);

	answers->n = 0;
	for (i = 0; i < problem->n; i += stride) {
		const struct constraint *constraint;

		if (!(problem->entries[i].left & DIM_BIT(dim)))
			continue;
		constraint = term_constraint(cutter->terms, problem->entries[i].term, dim);
		if (constraint->n == 1)
			continue;
		for (j = 0; j < answers->n; j++)
			if (constraint_same(answers->items[j], constraint))
				break;
		if (j == ANSWERS)
			continue;
		if (j == answers->n) {
			answers->items[j] = constraint;
			answers->weights[j] = answers->counts[j] = 0;
			answers->n++;
		}
		answers->weights[j] += cutter->weights.items[i];
		answers->counts[j]++;
	}
}

static void try_answers(const struct cutter *cutter, const struct problem *problem,
			enum dimension dim, uint64_t total, uint64_t budget, struct candidate *best)
{
	uint32_t stride = stride_of(problem), sample = (problem->n + stride - 1) / stride, i;
	struct answers answers;

	count_answers(cutter, problem, dim, &answers);
	for (i = 0; i < answers.n; i++) {
		uint32_t cost = constraint_cost(answers.items[i]), count = answers.counts[i];
		uint64_t saved = (uint64_t)count * cost / 2;
		uint64_t yes = (saved < total ? total - saved : 0), no = total - answers.weights[i];
		struct worth worth = { .entries = (uint64_t)2 * sample - count };
		uint64_t sum;

		if (count < 2)
			continue;
		worth.cost = (yes * estimate(yes * stride) + no * estimate(no * stride)) /
			     (yes + no ? yes + no : 1);
		sum = price(cutter, &worth, sample, 0) + cost * (VISIT / WEIGHT_VISIT);
		if (worth.entries * stride > budget)
			best->cut.refused = true;
		else if (sum < best->price)
			*best = (struct candidate){
				.cut = { .kind = CUT_ANSWER,
					 .dim = dim,
					 .constraint = answers.items[i],
					 .refused = best->cut.refused },
				.price = sum,
			};
	}
}

int cut_choose(struct cutter *cutter, const struct problem *problem, uint64_t budget,
	       struct cut *cut, uint64_t *looked)
{
	struct candidate best = { .cut = { .kind = CUT_NONE } };
	uint32_t stride = stride_of(problem), all = 0, i, dim;
	uint64_t total = 0;
	int err;

	cutter->looked = 0;
	cutter->weights.n = 0;
	if (word_vector_reserve(&cutter->weights, problem->n))
		return -ENOMEM;
	for (i = 0; i < problem->n; i += stride) {
		cutter->weights.items[i] = entry_weight(cutter->terms, &problem->entries[i]);
		total += cutter->weights.items[i];
		all |= problem->entries[i].left;
	}
	cutter->copy_rate = copy_rate(total * stride, problem->n, budget);
	best.price = total * stride * (VISIT / WEIGHT_VISIT); /* the chain's */
	for (dim = 0; dim < DIM_COUNT; dim++) {
		if (!(all & DIM_BIT(dim)))
			continue;
		if (dim < DIM_RANGED) {
			err = try_dimension(cutter, problem, dim, budget, &best);
			if (err)
				return err;
		}
		if (dim >= DIM_RANGED || (DIM_BIT(dim) & DIM_ADDRESSES))
			try_answers(cutter, problem, dim, total, budget, &best);
	}
	*cut = best.cut;
	*looked = cutter->looked;
	return 0;
}
