// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Terms: the clauses of a ruleset as the tree builder wants them.
 *
 * A term is a rule number and a set of constraints, at most one a dimension. Dimensions are what a
 * clause can speak about: most are ranged (ports, protocol, addresses, zones: a list of ranges),
 * two are masked (TCP flags, mark), and two ask dynamic sets.
 */
#ifndef REEVE_COMPILE_TERM_H
#define REEVE_COMPILE_TERM_H

#include "base/arena.h"
#include "base/vector.h"
#include "compile/span.h"

/*
 * In the order in which a chain tests them, constraints of equal cost considered: the most telling
 * first.
 */
enum dimension {
	DIM_DST,
	DIM_SRC,
	DIM_DST_PORT,
	DIM_SRC_PORT,
	DIM_PROTOCOL,
	DIM_STATE,
	DIM_FRAGMENT,
	DIM_MAC_LOW,
	DIM_MAC_HIGH,
	DIM_DSCP,
	DIM_TTL,
	DIM_LENGTH,
	DIM_EXPECTED,
	DIM_FROM,
	DIM_TO,
	DIM_RANGED, /* dimensions below are lists of ranges */
	DIM_FLAGS = DIM_RANGED,
	DIM_MARK,
	DIM_DST_SETS,
	DIM_SRC_SETS,
	DIM_COUNT,
};

#define DIM_BIT(dim) (1u << (dim))
/* What a flow's record does not hold of its first packet. */
#define DIM_UNKNOWN_OF_FLOWS                                                                       \
	(DIM_BIT(DIM_MAC_LOW) | DIM_BIT(DIM_MAC_HIGH) | DIM_BIT(DIM_DSCP) | DIM_BIT(DIM_TTL) |     \
	 DIM_BIT(DIM_LENGTH) | DIM_BIT(DIM_EXPECTED) | DIM_BIT(DIM_FLAGS) | DIM_BIT(DIM_MARK))
#define DIM_ADDRESSES (DIM_BIT(DIM_DST) | DIM_BIT(DIM_SRC))
#define DIM_SETS (DIM_BIT(DIM_DST_SETS) | DIM_BIT(DIM_SRC_SETS))

struct constraint {
	const struct address_range
		*items; /* ranged: sorted, disjoint, never empty; equal lists are one */
	uint32_t n;
	uint32_t list; /* number of the list, below terms.list_n */
	struct masked masked;
	struct membership sets;
};

struct term {
	uint32_t rule;
	uint32_t dims;	   /* DIM_BITs that are constrained */
	uint32_t families; /* family_bits */
	bool limited;	   /* its rule is: what matches may go on behind it */
	uint32_t first;	   /* its constraints in terms.constraints, by ascending dimension */
};

/* What is known of a packet: for every ranged dimension, where it lies. */
struct box {
	unsigned family;
	struct address_range range[DIM_RANGED];
};

VECTOR(term_vector, struct term);
VECTOR(constraint_vector, struct constraint);

struct terms {
	struct term_vector list; /* in judging order */
	struct constraint_vector constraints;
	uint32_t list_n;    /* different lists of ranges */
	struct arena arena; /* ranges made here */
	void *interned;	    /* lists of ranges by content, see term.c */
};

/* All clauses of the ruleset, which must live as long as the terms do. -ENOMEM, -E2BIG. */
int terms_make(const struct ruleset *ruleset, struct terms *terms);
void terms_free(struct terms *terms);

/* The word number a dimension begins at. */
uint32_t dimension_field(enum dimension dim);
/* Everything a packet of a family can be. */
void box_whole(unsigned family, struct box *box);

static inline const struct constraint *term_constraint(const struct terms *terms, uint32_t term,
						       enum dimension dim)
{
	const struct term *t = &terms->list.items[term];
	uint32_t before = t->dims & (DIM_BIT(dim) - 1);

	return &terms->constraints.items[t->first + (uint32_t)__builtin_popcount(before)];
}

#endif
