// SPDX-License-Identifier: GPL-2.0-or-later
#include "compile/term.h"

#include <xxhash.h>

/* How a dimension lies in the fields, and what a packet can have there. */
static const struct {
	uint32_t field;
	uint32_t hi;
} dimensions[DIM_COUNT] = {
	[DIM_DST] = { FIELD_DST, UINT32_MAX },
	[DIM_SRC] = { FIELD_SRC, UINT32_MAX },
	[DIM_DST_PORT] = { FIELD_DST_PORT, 0xffff },
	[DIM_SRC_PORT] = { FIELD_SRC_PORT, 0xffff },
	[DIM_PROTOCOL] = { FIELD_PROTOCOL, 0xff },
	[DIM_STATE] = { FIELD_STATE, 1 },
	[DIM_FRAGMENT] = { FIELD_FRAGMENT, 1 },
	[DIM_MAC_LOW] = { FIELD_MAC_LOW, UINT32_MAX },
	[DIM_MAC_HIGH] = { FIELD_MAC_HIGH, 0xffff },
	[DIM_DSCP] = { FIELD_DSCP, 0x3f },
	[DIM_TTL] = { FIELD_TTL, 0xff },
	[DIM_LENGTH] = { FIELD_LENGTH, UINT32_MAX },
	[DIM_EXPECTED] = { FIELD_EXPECTED, 1 },
	[DIM_FROM] = { FIELD_FROM_ZONE, ZONES_MAX - 1 },
	[DIM_TO] = { FIELD_TO_ZONE, ZONES_MAX - 1 },
	[DIM_FLAGS] = { FIELD_TCP_FLAGS, 0 },
	[DIM_MARK] = { FIELD_MARK, 0 },
	[DIM_DST_SETS] = { FIELD_DST, 0 },
	[DIM_SRC_SETS] = { FIELD_SRC, 0 },
};

uint32_t dimension_field(enum dimension dim)
{
	return dimensions[dim].field;
}

void box_whole(unsigned family, struct box *box)
{
	unsigned dim, word;

	memset(box, 0, sizeof(*box));
	box->family = family;
	for (dim = 0; dim < DIM_RANGED; dim++)
		box->range[dim].hi[0] = dimensions[dim].hi;
	for (word = 1; family == 6 && word < 4; word++) {
		box->range[DIM_DST].hi[word] = UINT32_MAX;
		box->range[DIM_SRC].hi[word] = UINT32_MAX;
	}
}

/*
 * Lists of ranges by content, so that equal lists have equal pointers. Those that many clauses
 * share are remembered by their pointer as well: a list of a million addresses is read once.
 */
struct list {
	const struct address_range *items;
	uint32_t n;
	uint32_t number;
	const struct address_range *alias; /* hashed by this pointer; NULL: by content */
};

struct interned {
	struct list *slots;
	uint32_t mask, n;
	uint32_t lists;
};

static uint64_t content_hash(const struct address_range *items, uint32_t n)
{
	return XXH3_64bits(items, n * sizeof(*items));
}

static uint64_t pointer_hash(const struct address_range *items, uint32_t n)
{
	struct {
		const void *items;
		uint64_t n;
	} key = { items, n };

	return XXH3_64bits(&key, sizeof(key));
}

static int interned_grow(struct interned *interned)
{
	uint32_t n = interned->slots ? (interned->mask + 1) * 2 : 256, i;
	struct list *slots = calloc(n, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (i = 0; interned->slots && i <= interned->mask; i++) {
		const struct list *old = &interned->slots[i];
		uint64_t hash;

		if (!old->items)
			continue;
		hash = old->alias ? pointer_hash(old->alias, old->n) :
				    content_hash(old->items, old->n);
		while (slots[hash & (n - 1)].items)
			hash++;
		slots[hash & (n - 1)] = *old;
	}
	free(interned->slots);
	interned->slots = slots;
	interned->mask = n - 1;
	return 0;
}

static int interned_add(struct interned *interned, uint64_t hash, struct list list)
{
	int err;

	if (!interned->slots || interned->n >= interned->mask / 2) {
		err = interned_grow(interned);
		if (err)
			return err;
	}
	while (interned->slots[hash & interned->mask].items)
		hash++;
	interned->slots[hash & interned->mask] = list;
	interned->n++;
	return 0;
}

/* The list becomes the first one with its content. */
static int intern(struct interned *interned, struct constraint *constraint)
{
	const struct address_range *items = constraint->items;
	uint32_t n = constraint->n;
	uint64_t hash = content_hash(items, n), i;

	for (i = hash; interned->slots && interned->slots[i & interned->mask].items; i++) {
		const struct list *list = &interned->slots[i & interned->mask];

		if (!list->alias && list->n == n &&
		    !memcmp(list->items, items, n * sizeof(*items))) {
			constraint->items = list->items;
			constraint->list = list->number;
			return 0;
		}
	}
	constraint->list = interned->lists++;
	return interned_add(interned, hash, (struct list){ items, n, constraint->list, NULL });
}

/* The same for a list that lives elsewhere and is shared: hashed by content once. */
static int intern_shared(struct interned *interned, struct constraint *constraint)
{
	const struct address_range *alias = constraint->items;
	uint64_t hash = pointer_hash(alias, constraint->n), i;
	int err;

	for (i = hash; interned->slots && interned->slots[i & interned->mask].items; i++) {
		const struct list *list = &interned->slots[i & interned->mask];

		if (list->alias == alias && list->n == constraint->n) {
			constraint->items = list->items;
			constraint->list = list->number;
			return 0;
		}
	}
	err = intern(interned, constraint);
	if (err)
		return err;
	return interned_add(interned, hash,
			    (struct list){ constraint->items, constraint->n, constraint->list,
					   alias });
}

static int add_constraint(struct terms *terms, struct term *term, enum dimension dim,
			  struct constraint constraint)
{
	term->dims |= DIM_BIT(dim);
	return constraint_vector_push(&terms->constraints, constraint);
}

/* Adds a constraint of a one-word dimension. */
static int add_ranges(struct terms *terms, struct term *term, enum dimension dim,
		      const struct range *ranges, uint32_t n)
{
	struct constraint constraint = { .n = n };
	struct address_range *items;
	uint32_t i;
	int err;

	if (!n || (n == 1 && !ranges->lo && ranges->hi >= dimensions[dim].hi))
		return 0;
	items = arena_array(&terms->arena, n, sizeof(*items));
	if (!items)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		items[i].lo[0] = ranges[i].lo;
		items[i].hi[0] = ranges[i].hi;
	}
	constraint.items = items;
	err = intern(terms->interned, &constraint);
	if (err)
		return err;
	return add_constraint(terms, term, dim, constraint);
}

static int add_addresses(struct terms *terms, struct term *term, enum dimension dim,
			 const struct addresses *addresses)
{
	struct constraint constraint = { 0 };
	int err;

	if (!addresses)
		return 0;
	term->families &= addresses->family == 6 ? FAMILY_BIT_6 : FAMILY_BIT_4;
	constraint.items = addresses->items;
	constraint.n = addresses->n;
	err = intern_shared(terms->interned, &constraint);
	if (err)
		return err;
	return add_constraint(terms, term, dim, constraint);
}

static int add_masked(struct terms *terms, struct term *term, enum dimension dim,
		      struct masked masked)
{
	if (!masked.mask)
		return 0;
	return add_constraint(terms, term, dim, (struct constraint){ .masked = masked });
}

static int add_sets(struct terms *terms, struct term *term, enum dimension dim,
		    struct membership sets)
{
	if (!sets.sets)
		return 0;
	return add_constraint(terms, term, dim, (struct constraint){ .sets = sets });
}

static int add_mac(struct terms *terms, struct term *term, const struct clause *clause)
{
	const uint8_t *mac = clause->mac;
	uint32_t high = (uint32_t)mac[0] << 8 | mac[1];
	uint32_t low = (uint32_t)mac[2] << 24 | (uint32_t)mac[3] << 16 | (uint32_t)mac[4] << 8 |
		       mac[5];
	int err;

	if (!clause->has_mac)
		return 0;
	err = add_ranges(terms, term, DIM_MAC_LOW, &(struct range){ low, low }, 1);
	if (err)
		return err;
	return add_ranges(terms, term, DIM_MAC_HIGH, &(struct range){ high, high }, 1);
}

/* A set of zones as ranges of zone numbers. */
static int add_zones(struct terms *terms, struct term *term, enum dimension dim, uint64_t zones)
{
	struct range ranges[ZONES_MAX];
	uint32_t zone, n = 0;

	for (zone = 0; zone < ZONES_MAX; zone++) {
		if (!(zones >> zone & 1))
			continue;
		if (n && ranges[n - 1].hi + 1 == zone)
			ranges[n - 1].hi = zone;
		else
			ranges[n++] = (struct range){ zone, zone };
	}
	return add_ranges(terms, term, dim, ranges, n);
}

static int add_term(struct terms *terms, const struct rule *rule, uint32_t number,
		    const struct clause *clause)
{
	struct term term = {
		.rule = number,
		.families = clause->families,
		.limited = rule_limited(rule),
		.first = (uint32_t)terms->constraints.n,
	};
	unsigned dim;
	int err = 0;

	/* By ascending dimension, as term_constraint() expects. */
	for (dim = 0; dim < DIM_COUNT && !err; dim++) {
		const struct ranges *ranges;

		if (dim == DIM_DST || dim == DIM_SRC)
			err = add_addresses(terms, &term, dim,
					    dim == DIM_DST ? clause->dst : clause->src);
		else if (dim == DIM_MAC_LOW)
			err = add_mac(terms, &term, clause);
		else if (dim == DIM_MAC_HIGH)
			continue;
		else if (dim == DIM_FROM || dim == DIM_TO)
			err = add_zones(terms, &term, dim, dim == DIM_FROM ? rule->from : rule->to);
		else if (dim == DIM_FLAGS || dim == DIM_MARK)
			err = add_masked(terms, &term, dim,
					 dim == DIM_FLAGS ? clause->flags : clause->mark);
		else if (DIM_BIT(dim) & DIM_SETS)
			err = add_sets(terms, &term, dim,
				       dim == DIM_DST_SETS ? clause->dst_sets : clause->src_sets);
		else {
			ranges = &clause->field[dimensions[dim].field];
			err = add_ranges(terms, &term, dim, ranges->items, ranges->n);
		}
	}
	return err ? err : term_vector_push(&terms->list, term);
}

int terms_make(const struct ruleset *ruleset, struct terms *terms)
{
	uint32_t i, j;
	int err = 0;

	*terms = (struct terms){ 0 };
	terms->interned = calloc(1, sizeof(struct interned));
	if (!terms->interned)
		return -ENOMEM;
	for (i = 0; i < ruleset->rule_n; i++) {
		const struct rule *rule = &ruleset->rules[i];

		if (!rule->from || !rule->to)
			continue;
		for (j = 0; j < rule->clause_n && !err; j++)
			err = add_term(terms, rule, i, &rule->clauses[j]);
	}
	terms->list_n = ((struct interned *)terms->interned)->lists;
	if (err)
		terms_free(terms);
	return err;
}

void terms_free(struct terms *terms)
{
	struct interned *interned = terms->interned;

	if (interned)
		free(interned->slots);
	free(interned);
	term_vector_free(&terms->list);
	constraint_vector_free(&terms->constraints);
	arena_free(&terms->arena);
	*terms = (struct terms){ 0 };
}
