// SPDX-License-Identifier: GPL-2.0-or-later
#include "compile/interfaces.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static int interface_compare(const void *a, const void *b)
{
	const struct compile_interface *x = a, *y = b;

	if (x->ifindex != y->ifindex)
		return x->ifindex < y->ifindex ? -1 : 1;
	return (x->zone > y->zone) - (x->zone < y->zone);
}

/* Fills `n` buckets; false if one of them overflows. */
static bool buckets_fill(const struct ruleset *ruleset, const struct compile_interface *list,
			 uint32_t list_n, struct image_bucket *buckets, uint32_t n)
{
	uint32_t i, j;

	for (i = 0; i < list_n; i++) {
		struct image_interface *entry =
			buckets[image_hash(list[i].ifindex) & (n - 1)].entry;

		for (j = 0; j < 4 && entry[j].ifindex; j++)
			;
		if (j == 4)
			return false;
		entry[j].ifindex = list[i].ifindex;
		entry[j].zone = (uint16_t)list[i].zone;
		entry[j].tag = ruleset->zones[list[i].zone].tag;
	}
	return true;
}

int interfaces_make(const struct ruleset *ruleset, const struct compile_interface *interfaces,
		    uint32_t interface_n, struct interfaces *made)
{
	cleanup_free struct compile_interface *list =
		calloc((size_t)interface_n + 1, sizeof(*list));
	uint32_t i, n = 0, buckets = 1;

	if (!list)
		return -ENOMEM;
	if (interface_n)
		memcpy(list, interfaces, interface_n * sizeof(*list));
	qsort(list, interface_n, sizeof(*list), interface_compare);
	for (i = 0; i < interface_n; i++) {
		if (list[i].zone >= ruleset->zone_n)
			return -EINVAL;
		if (list[i].ifindex && list[i].zone != ZONE_OTHER &&
		    (!n || list[n - 1].ifindex != list[i].ifindex))
			list[n++] = list[i];
	}
	while (buckets < n / 2)
		buckets *= 2;
	for (; buckets <= IMAGE_UNITS_MAX; buckets *= 2) {
		struct image_bucket *filled = calloc(buckets, sizeof(*filled));

		if (!filled)
			return -ENOMEM;
		if (buckets_fill(ruleset, list, n, filled, buckets)) {
			*made = (struct interfaces){ filled, buckets };
			return 0;
		}
		free(filled);
	}
	return -E2BIG;
}

uint32_t image_interface_zone(const struct image *image, uint32_t ifindex)
{
	const struct image_header *header = (const void *)image->bytes;
	uint32_t unit = header->interfaces + (image_hash(ifindex) & header->interface_mask);
	const struct image_bucket *bucket =
		(const void *)(image->bytes + (size_t)unit * IMAGE_UNIT);

	for (int i = 0; i < 4; i++)
		if (bucket->entry[i].ifindex == ifindex)
			return bucket->entry[i].zone;
	return ZONE_OTHER;
}
