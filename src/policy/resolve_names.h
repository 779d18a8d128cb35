// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names to numbers: a hash table that only grows.
 */
#ifndef REEVE_POLICY_RESOLVE_NAMES_H
#define REEVE_POLICY_RESOLVE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct name_slot {
	const char *name; /* NULL: free */
	uint64_t hash;
	uint32_t value;
};

struct name_table {
	struct name_slot *slots; /* in the arena that is given to name_table_put, always the same */
	size_t n, room;		 /* room is a power of two, or 0 */
};

/* The value of a name; false if it is not there, and *value is untouched. `value` may be NULL. */
bool name_table_get(const struct name_table *table, const char *name, uint32_t *value);
/* Adds a name that is not there yet. The name is borrowed for the life of the table. -ENOMEM. */
int name_table_put(struct name_table *table, struct arena *arena, const char *name, uint32_t value);
/* Adds a name, or changes the value of one that is there. */
int name_table_set(struct name_table *table, struct arena *arena, const char *name, uint32_t value);

#endif
