// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What limits have counted: a table with a fixed size, which loses what was not met for longest.
 */
#ifndef REEVE_ENGINE_USER_LIMIT_TABLE_H
#define REEVE_ENGINE_USER_LIMIT_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/user/frame.h"

struct limit_key;
struct limit_entry;

/* What a key stands for, by table. */
union limit_value {
	__u64 bucket;
	__u64 tally[2];
	__u64 place[6];
};

struct limit_table {
	struct limit_entry *entries; /* the one not met for longest comes first; NULL: none */
	uint32_t n, max;
	bool keeps; /* a full table takes nothing new, rather than lose something */
};

/* The value of a key; a new one is zero. NULL without room. Borrowed until the next call. */
union limit_value *limit_table_get(struct limit_table *table, const struct limit_key *key);
/* The same, NULL where there is none; the order stays. */
const union limit_value *limit_table_look(const struct limit_table *table,
					  const struct limit_key *key);
void limit_table_clear(struct limit_table *table);

#endif
