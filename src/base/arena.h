// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Arena: memory that is freed whole.
 *
 * Everything that belongs to one policy (names, tree, rules) lives in one arena. Memory is zeroed.
 * Every allocation can fail and returns NULL then; nothing aborts. An arena has a cap, so that a
 * hostile file cannot eat the machine: beyond it allocation returns NULL as well.
 */
#ifndef REEVE_BASE_ARENA_H
#define REEVE_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *block; /* the newest block; older ones hang behind it */
	size_t used;		   /* bytes handed out, over all blocks */
	size_t cap;		   /* most bytes ever handed out; 0 means ARENA_CAP_DEFAULT */
};

#define ARENA_CAP_DEFAULT ((size_t)4 << 30)

/* Zeroed memory of `size` bytes, aligned to 16; NULL when out of memory or over the cap. */
void *arena_alloc(struct arena *arena, size_t size);
/* The same for `n` objects of `size` bytes; NULL also when n * size overflows. */
void *arena_array(struct arena *arena, size_t n, size_t size);
/* A copy of `len` bytes with a NUL behind them. */
char *arena_copy(struct arena *arena, const void *bytes, size_t len);
char *arena_printf(struct arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Gives everything back; the arena is empty and usable again. */
void arena_free(struct arena *arena);

#define arena_new(arena, type) ((type *)arena_alloc((arena), sizeof(type)))

#endif
