// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * uthash calls exit() without memory, unless it is told to leave the new element out and say so in
 * its handle.
 */
#define HASH_NONFATAL_OOM 1

#include "engine/user/flow_table.h"

#include <errno.h>
#include <stdlib.h>

#include <uthash.h>

struct flow_entry {
	struct flow_key key;
	struct flow flow;
	UT_hash_handle hh;
};

static struct flow_entry *entry_find(const struct flow_table *table, const struct flow_key *key)
{
	struct flow_entry *entry;

	HASH_FIND(hh, table->entries, key, sizeof(*key), entry);
	return entry;
}

static int entry_add(struct flow_table *table, struct flow_entry *entry)
{
	HASH_ADD(hh, table->entries, key, sizeof(entry->key), entry);
	if (!entry->hh.tbl)
		return -ENOMEM;
	table->n++;
	return 0;
}

static void entry_detach(struct flow_table *table, struct flow_entry *entry)
{
	HASH_DELETE(hh, table->entries, entry);
	table->n--;
}

struct flow *flow_table_find(struct flow_table *table, const struct flow_key *key)
{
	struct flow_entry *entry = entry_find(table, key);

	if (!entry)
		return NULL;
	/* The handle is taken out and put in again at the end: memory for it is there. */
	if (entry->hh.next) {
		entry_detach(table, entry);
		if (entry_add(table, entry)) {
			free(entry);
			return NULL;
		}
	}
	return &entry->flow;
}

const struct flow *flow_table_look(const struct flow_table *table, const struct flow_key *key)
{
	const struct flow_entry *entry = entry_find(table, key);

	return entry ? &entry->flow : NULL;
}

int flow_table_put(struct flow_table *table, const struct flow_key *key, const struct flow *flow)
{
	struct flow_entry *entry = entry_find(table, key);
	int err;

	if (entry) {
		entry->flow = *flow;
		return 0;
	}
	if (table->n >= table->max)
		return -ENOSPC;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	entry->key = *key;
	entry->flow = *flow;
	err = entry_add(table, entry);
	if (err)
		free(entry);
	return err;
}

int flow_table_push(struct flow_table *table, const struct flow_key *key, const struct flow *flow)
{
	struct flow_entry *oldest = table->entries;

	if (table->n >= table->max && oldest && !entry_find(table, key)) {
		entry_detach(table, oldest);
		free(oldest);
	}
	return flow_table_put(table, key, flow);
}

int flow_table_move(struct flow_table *from, struct flow_table *to, const struct flow_key *key)
{
	struct flow_entry *entry = entry_find(from, key);
	int err;

	if (to->n >= to->max)
		return -ENOSPC;
	entry_detach(from, entry);
	err = entry_add(to, entry);
	if (err && entry_add(from, entry))
		free(entry);
	return err;
}

void flow_table_remove(struct flow_table *table, const struct flow_key *key)
{
	struct flow_entry *entry = entry_find(table, key);

	if (!entry)
		return;
	entry_detach(table, entry);
	free(entry);
}

int flow_table_each(const struct flow_table *table,
		    int (*visit)(void *context, const struct flow_key *key,
				 const struct flow *flow),
		    void *context)
{
	const struct flow_entry *entry;
	int stop;

	for (entry = table->entries; entry; entry = entry->hh.next) {
		stop = visit(context, &entry->key, &entry->flow);
		if (stop)
			return stop;
	}
	return 0;
}

void flow_table_clear(struct flow_table *table)
{
	struct flow_entry *entry, *next;

	HASH_ITER(hh, table->entries, entry, next) {
		HASH_DELETE(hh, table->entries, entry);
		free(entry);
	}
	table->n = 0;
}
