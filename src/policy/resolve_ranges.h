// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ranges of ports and of addresses, gathered in any order and brought into the form rules have them
 * in: sorted, disjoint, not adjacent.
 */
#ifndef REEVE_POLICY_RESOLVE_RANGES_H
#define REEVE_POLICY_RESOLVE_RANGES_H

#include "base/vector.h"
#include "policy/rule.h"

VECTOR(range_vector, struct range);
VECTOR(address_vector, struct address_range);

/* Sorts, merges what overlaps or touches. */
void range_vector_normalise(struct range_vector *ranges);
/* The same for addresses of one family (4 or 6). */
void address_vector_normalise(struct address_vector *ranges, unsigned family);
/* Everything of the family that `n` normalised ranges leave out, appended to *rest. -ENOMEM. */
int address_complement(const struct address_range *ranges, size_t n, unsigned family,
		       struct address_vector *rest);
/* Is the address in one of `n` normalised ranges? By halving. */
bool address_in(const struct address_range *ranges, size_t n, const uint32_t address[4]);
/* -1, 0, 1: as numbers of 128 bits, most significant word first. */
int address_order(const uint32_t left[4], const uint32_t right[4]);
/* The next address; false (and untouched) at the end of the family. The previous one likewise. */
bool address_next(uint32_t address[4], unsigned family);
bool address_previous(uint32_t address[4], unsigned family);

#endif
