// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * uthash calls exit() without memory, unless it is told to leave the new element out and say so in
 * its handle.
 */
#define HASH_NONFATAL_OOM 1

#include "engine/user/fragment_table.h"

#include <stdlib.h>

#include <uthash.h>

struct fragment_entry {
	struct fragment_key key;
	struct fragment fragment;
	UT_hash_handle hh;
};

static struct fragment_entry *entry_find(const struct fragment_table *table,
					 const struct fragment_key *key)
{
	struct fragment_entry *entry;

	HASH_FIND(hh, table->entries, key, sizeof(*key), entry);
	return entry;
}

static void entry_remove(struct fragment_table *table, struct fragment_entry *entry)
{
	HASH_DELETE(hh, table->entries, entry);
	free(entry);
	table->n--;
}

const struct fragment *fragment_table_find(const struct fragment_table *table,
					   const struct fragment_key *key)
{
	const struct fragment_entry *entry = entry_find(table, key);

	return entry ? &entry->fragment : NULL;
}

void fragment_table_put(struct fragment_table *table, const struct fragment_key *key,
			const struct fragment *fragment)
{
	struct fragment_entry *entry = entry_find(table, key);

	if (entry)
		entry_remove(table, entry);
	else if (table->n >= FRAGMENT_TABLE_MAX)
		entry_remove(table, table->entries);
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return;
	entry->key = *key;
	entry->fragment = *fragment;
	HASH_ADD(hh, table->entries, key, sizeof(entry->key), entry);
	if (!entry->hh.tbl) {
		free(entry);
		return;
	}
	table->n++;
}

void fragment_table_clear(struct fragment_table *table)
{
	struct fragment_entry *entry, *next;

	HASH_ITER(hh, table->entries, entry, next)
		entry_remove(table, entry);
	table->n = 0;
}
