// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * First fragments that were let pass: a table with a fixed size, which loses the oldest ones.
 */
#ifndef REEVE_ENGINE_USER_FRAGMENT_TABLE_H
#define REEVE_ENGINE_USER_FRAGMENT_TABLE_H

#include <stdint.h>

#include "core/flow.h"

#define FRAGMENT_TABLE_MAX 8192u

struct fragment_entry;

struct fragment_table {
	struct fragment_entry *entries; /* oldest first; NULL: none */
	uint32_t n;
};

/* NULL when there is none. Borrowed until the next put. */
const struct fragment *fragment_table_find(const struct fragment_table *table,
					   const struct fragment_key *key);
/*
 * Puts a copy into the table, in place of what the key had. Without memory nothing is remembered.
 */
void fragment_table_put(struct fragment_table *table, const struct fragment_key *key,
			const struct fragment *fragment);
void fragment_table_clear(struct fragment_table *table);

#endif
