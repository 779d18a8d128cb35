// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * uthash calls exit() without memory, unless it is told to leave the new element out and say so in
 * its handle.
 */
#define HASH_NONFATAL_OOM 1

#include "engine/user/limit_table.h"

#include <stdlib.h>

#include <uthash.h>

#define KEY_SIZE 32

struct limit_entry {
	unsigned char key[KEY_SIZE];
	union limit_value value;
	UT_hash_handle hh;
};

static struct limit_entry *entry_find(const struct limit_table *table, const struct limit_key *key)
{
	struct limit_entry *entry;

	HASH_FIND(hh, table->entries, key, KEY_SIZE, entry);
	return entry;
}

static void entry_remove(struct limit_table *table, struct limit_entry *entry)
{
	HASH_DELETE(hh, table->entries, entry);
	free(entry);
	table->n--;
}

static struct limit_entry *entry_add(struct limit_table *table, const struct limit_key *key,
				     const union limit_value *value)
{
	struct limit_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	memcpy(entry->key, key, KEY_SIZE);
	entry->value = *value;
	HASH_ADD(hh, table->entries, key, KEY_SIZE, entry);
	if (!entry->hh.tbl) {
		free(entry);
		return NULL;
	}
	table->n++;
	return entry;
}

union limit_value *limit_table_get(struct limit_table *table, const struct limit_key *key)
{
	struct limit_entry *entry = entry_find(table, key);
	union limit_value value = { .place = { 0 } };

	if (entry && (!entry->hh.next || table->keeps))
		return &entry->value;
	if (entry) {
		value = entry->value;
		entry_remove(table, entry);
	} else if (table->n >= table->max) {
		if (table->keeps)
			return NULL;
		entry_remove(table, table->entries);
	}
	entry = entry_add(table, key, &value);
	return entry ? &entry->value : NULL;
}

const union limit_value *limit_table_look(const struct limit_table *table,
					  const struct limit_key *key)
{
	const struct limit_entry *entry = entry_find(table, key);

	return entry ? &entry->value : NULL;
}

void limit_table_clear(struct limit_table *table)
{
	struct limit_entry *entry, *next;

	HASH_ITER(hh, table->entries, entry, next)
		entry_remove(table, entry);
}
