// SPDX-License-Identifier: GPL-2.0-or-later
#define HASH_NONFATAL_OOM 1

#include "engine/user/nat_table.h"

#include <errno.h>
#include <stdlib.h>

#include <uthash.h>

struct nat_entry {
	struct flow_key key;
	union nat_value value;
	UT_hash_handle hh;
};

static struct nat_entry *entry_find(const struct nat_table *table, const struct flow_key *key)
{
	struct nat_entry *entry;

	HASH_FIND(hh, table->entries, key, sizeof(*key), entry);
	return entry;
}

union nat_value *nat_table_find(const struct nat_table *table, const struct flow_key *key)
{
	struct nat_entry *entry = entry_find(table, key);

	return entry ? &entry->value : NULL;
}

int nat_table_put(struct nat_table *table, const struct flow_key *key, const union nat_value *value)
{
	struct nat_entry *entry = entry_find(table, key);

	if (!entry) {
		entry = calloc(1, sizeof(*entry));
		if (!entry)
			return -ENOMEM;
		entry->key = *key;
		HASH_ADD(hh, table->entries, key, sizeof(entry->key), entry);
		if (!entry->hh.tbl) {
			free(entry);
			return -ENOMEM;
		}
		table->n++;
	}
	entry->value = *value;
	return 0;
}

static void entry_remove(struct nat_table *table, struct nat_entry *entry)
{
	HASH_DELETE(hh, table->entries, entry);
	free(entry);
	table->n--;
}

void nat_table_sweep(struct nat_table *table,
		     int (*gone)(void *context, const struct flow_key *key,
				 const union nat_value *value),
		     void *context)
{
	struct nat_entry *entry, *next;

	HASH_ITER(hh, table->entries, entry, next)
		if (gone(context, &entry->key, &entry->value))
			entry_remove(table, entry);
}

static int always(void *context, const struct flow_key *key, const union nat_value *value)
{
	(void)context;
	(void)key;
	(void)value;
	return 1;
}

void nat_table_clear(struct nat_table *table)
{
	nat_table_sweep(table, always, NULL);
}
