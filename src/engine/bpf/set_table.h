// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What one dynamic set holds: a hash table in the kernel, keys and values as in core/set.h.
 */
#ifndef REEVE_ENGINE_BPF_SET_TABLE_H
#define REEVE_ENGINE_BPF_SET_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/set.h"

/* CLOCK_MONOTONIC, by which entries expire. */
uint64_t set_now(void);

/* An empty one. A descriptor, or -errno. */
int set_table_new(uint32_t max);
/* The table at a place of the map of maps. A descriptor, or -errno. */
int set_table_at(int sets, uint32_t place);

/* Return non-zero to stop; that is handed on. */
typedef int set_visitor(void *context, const struct set_key *key, uint64_t expires);

/* Every entry, expired or not; what comes or goes meanwhile may be missed. 0 or -errno. */
int set_table_each(int fd, set_visitor *visit, void *context);
/*
 * Puts entries in, as many as there is room for: *done of them. -E2BIG: it is full. With `keep`,
 * those that are there stay for the longer of the two times.
 */
int set_table_put(int fd, const struct set_key *keys, const uint64_t *expires, size_t n, bool keep,
		  size_t *done);
/* Adds the live entries of one to another. */
int set_table_copy(int from, int to, bool keep);
/* Takes what has expired away. *live and *removed are how many there were. */
int set_table_sweep(int fd, uint64_t *live, uint64_t *removed);

#endif
