// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a dynamic set holds (core/set.h), in memory.
 */
#ifndef REEVE_ENGINE_USER_SET_TABLE_H
#define REEVE_ENGINE_USER_SET_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/set.h"

struct set_item;

struct set_table {
	uint64_t tag; /* of its name */
	uint32_t timeout; /* seconds; 0: none */
	uint32_t max, n;
	uint32_t lengths[129 + 33]; /* entries by length of prefix: IPv6, then IPv4 */
	struct set_item *items;
};

/* Puts an entry in, or gives it another time. -ENOSPC when the set is full; -ENOMEM. */
int set_table_put(struct set_table *table, const struct set_key *key, uint64_t expires,
		  uint64_t now);
/* When it expires; NULL when it is not there. Until the next change. */
uint64_t *set_table_find(const struct set_table *table, const struct set_key *key);
/* -ENOENT when it is not there. */
int set_table_remove(struct set_table *table, const struct set_key *key);
bool set_table_holds(const struct set_table *table, const uint32_t address[4], uint32_t family,
		     uint64_t now);
void set_table_clear(struct set_table *table);

#endif
