// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * uthash calls exit() without memory, unless it is told to leave the new element out and say so in
 * its handle.
 */
#define HASH_NONFATAL_OOM 1

#include "engine/user/set_table.h"

#include <errno.h>
#include <stdlib.h>

#include <uthash.h>

#define LENGTHS_4 129 /* where those of IPv4 begin */

struct set_item {
	struct set_key key;
	uint64_t expires;
	UT_hash_handle hh;
};

static uint32_t *length_of(struct set_table *table, const struct set_key *key)
{
	return &table->lengths[SET_KEY_PREFIX(key) + (SET_KEY_FAMILY(key) == 4 ? LENGTHS_4 : 0)];
}

static struct set_item *item_find(const struct set_table *table, const struct set_key *key)
{
	struct set_item *item;

	HASH_FIND(hh, table->items, key, sizeof(*key), item);
	return item;
}

static void item_remove(struct set_table *table, struct set_item *item)
{
	--*length_of(table, &item->key);
	table->n--;
	HASH_DELETE(hh, table->items, item);
	free(item);
}

static void sweep(struct set_table *table, uint64_t now)
{
	struct set_item *item, *next;

	HASH_ITER(hh, table->items, item, next)
		if (set_expired(item->expires, now))
			item_remove(table, item);
}

int set_table_put(struct set_table *table, const struct set_key *key, uint64_t expires,
		  uint64_t now)
{
	struct set_item *item = item_find(table, key);

	if (item) {
		item->expires = expires;
		return 0;
	}
	if (table->n >= table->max)
		sweep(table, now);
	if (table->n >= table->max)
		return -ENOSPC;
	item = calloc(1, sizeof(*item));
	if (!item)
		return -ENOMEM;
	item->key = *key;
	item->expires = expires;
	HASH_ADD(hh, table->items, key, sizeof(item->key), item);
	if (!item->hh.tbl) {
		free(item);
		return -ENOMEM;
	}
	table->n++;
	++*length_of(table, key);
	return 0;
}

uint64_t *set_table_find(const struct set_table *table, const struct set_key *key)
{
	struct set_item *item = item_find(table, key);

	return item ? &item->expires : NULL;
}

int set_table_remove(struct set_table *table, const struct set_key *key)
{
	struct set_item *item = item_find(table, key);

	if (!item)
		return -ENOENT;
	item_remove(table, item);
	return 0;
}

bool set_table_holds(const struct set_table *table, const uint32_t address[4], uint32_t family,
		     uint64_t now)
{
	const uint32_t *lengths = table->lengths + (family == 4 ? LENGTHS_4 : 0);
	uint32_t prefix = family == 4 ? 33 : 129;

	while (prefix--) {
		const struct set_item *item;
		struct set_key key;

		if (!lengths[prefix])
			continue;
		set_key_make(&key, address, family, prefix);
		item = item_find(table, &key);
		if (item && !set_expired(item->expires, now))
			return true;
	}
	return false;
}

void set_table_clear(struct set_table *table)
{
	struct set_item *item, *next;

	HASH_ITER(hh, table->items, item, next)
		item_remove(table, item);
}
