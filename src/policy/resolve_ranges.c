// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/resolve_ranges.h"

#include <stdlib.h>
#include <string.h>

static int compare_ranges(const void *left, const void *right)
{
	const struct range *a = left, *b = right;

	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	return (a->hi > b->hi) - (a->hi < b->hi);
}

void range_vector_normalise(struct range_vector *ranges)
{
	size_t last = 0;

	if (ranges->n < 2)
		return;
	qsort(ranges->items, ranges->n, sizeof(*ranges->items), compare_ranges);
	for (size_t i = 1; i < ranges->n; i++) {
		struct range *kept = &ranges->items[last];
		const struct range *next = &ranges->items[i];

		if (kept->hi != UINT32_MAX && next->lo > kept->hi + 1)
			ranges->items[++last] = *next;
		else if (next->hi > kept->hi)
			kept->hi = next->hi;
	}
	ranges->n = last + 1;
}

int address_order(const uint32_t left[4], const uint32_t right[4])
{
	for (int i = 0; i < 4; i++)
		if (left[i] != right[i])
			return left[i] < right[i] ? -1 : 1;
	return 0;
}

/* The least significant word of an address: the first of IPv4, which has no other. */
static int last_word(unsigned family)
{
	return family == 4 ? 0 : 3;
}

bool address_next(uint32_t address[4], unsigned family)
{
	uint32_t next[4];

	memcpy(next, address, sizeof(next));
	for (int i = last_word(family); i >= 0; i--) {
		if (++next[i]) {
			memcpy(address, next, sizeof(next));
			return true;
		}
	}
	return false;
}

bool address_previous(uint32_t address[4], unsigned family)
{
	uint32_t previous[4];

	memcpy(previous, address, sizeof(previous));
	for (int i = last_word(family); i >= 0; i--) {
		if (previous[i]--) {
			memcpy(address, previous, sizeof(previous));
			return true;
		}
	}
	return false;
}

static int compare_addresses(const void *left, const void *right)
{
	const struct address_range *a = left, *b = right;
	int order = address_order(a->lo, b->lo);

	return order ? order : address_order(a->hi, b->hi);
}

static bool is_sorted(const struct address_vector *ranges)
{
	for (size_t i = 1; i < ranges->n; i++)
		if (compare_addresses(&ranges->items[i - 1], &ranges->items[i]) > 0)
			return false;
	return true;
}

void address_vector_normalise(struct address_vector *ranges, unsigned family)
{
	size_t last = 0;

	if (ranges->n < 2)
		return;
	if (!is_sorted(ranges))
		qsort(ranges->items, ranges->n, sizeof(*ranges->items), compare_addresses);
	for (size_t i = 1; i < ranges->n; i++) {
		struct address_range *kept = &ranges->items[last];
		const struct address_range *next = &ranges->items[i];
		uint32_t after[4];

		memcpy(after, kept->hi, sizeof(after));
		if (address_next(after, family) && address_order(next->lo, after) > 0)
			ranges->items[++last] = *next;
		else if (address_order(next->hi, kept->hi) > 0)
			memcpy(kept->hi, next->hi, sizeof(kept->hi));
	}
	ranges->n = last + 1;
}

int address_complement(const struct address_range *ranges, size_t n, unsigned family,
		       struct address_vector *rest)
{
	struct address_range gap = { 0 };
	bool more = true;
	int err;

	for (size_t i = 0; i < n; i++) {
		memcpy(gap.hi, ranges[i].lo, sizeof(gap.hi));
		if (address_previous(gap.hi, family) && address_order(gap.lo, gap.hi) <= 0) {
			err = address_vector_push(rest, gap);
			if (err)
				return err;
		}
		memcpy(gap.lo, ranges[i].hi, sizeof(gap.lo));
		more = address_next(gap.lo, family);
	}
	if (!more)
		return 0;
	memset(gap.hi, 0, sizeof(gap.hi));
	for (int i = 0; i <= last_word(family); i++)
		gap.hi[i] = UINT32_MAX;
	return address_vector_push(rest, gap);
}

bool address_in(const struct address_range *ranges, size_t n, const uint32_t address[4])
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (address_order(ranges[middle].hi, address) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < n && address_order(ranges[low].lo, address) <= 0;
}
