// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A table of flows with a maximum size, in the order in which they were last met.
 */
#ifndef REEVE_ENGINE_USER_FLOW_TABLE_H
#define REEVE_ENGINE_USER_FLOW_TABLE_H

#include <stdint.h>

#include "core/flow.h"

struct flow_entry;

struct flow_table {
	struct flow_entry *entries; /* the one not met for longest comes first; NULL: none */
	uint32_t n, max;
};

/* The record of a key, now the last in order; or NULL. Borrowed until it is removed. */
struct flow *flow_table_find(struct flow_table *table, const struct flow_key *key);
/* As flow_table_find, but the order stays. */
const struct flow *flow_table_look(const struct flow_table *table, const struct flow_key *key);
/*
 * Puts a copy into the table, in place of what the key had. -ENOSPC when the table is full,
 * -ENOMEM.
 */
int flow_table_put(struct flow_table *table, const struct flow_key *key, const struct flow *flow);
/* The same, but a full table first loses the flow that was not met for longest. */
int flow_table_push(struct flow_table *table, const struct flow_key *key, const struct flow *flow);
/*
 * Moves a record that is in `from` to `to`, where its key is not. -ENOSPC: it stays in `from`;
 * -ENOMEM: it may be lost.
 */
int flow_table_move(struct flow_table *from, struct flow_table *to, const struct flow_key *key);
void flow_table_remove(struct flow_table *table, const struct flow_key *key);
/*
 * Calls `visit` for every record in order, until it returns non-zero, which is then returned. The
 * table must not change meanwhile.
 */
int flow_table_each(const struct flow_table *table,
		    int (*visit)(void *context, const struct flow_key *key,
				 const struct flow *flow),
		    void *context);
void flow_table_clear(struct flow_table *table);

#endif
