// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE ((size_t)64 * 1024)
#define ALIGNMENT ((size_t)16)

struct arena_block {
	struct arena_block *older;
	size_t size; /* of `bytes` */
	size_t used;
	_Alignas(16) unsigned char bytes[];
};

static size_t round_up(size_t size)
{
	return (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

static struct arena_block *block_add(struct arena *arena, size_t need)
{
	size_t size = need > BLOCK_SIZE / 4 ? need : BLOCK_SIZE;
	struct arena_block *block = calloc(1, sizeof(*block) + size);

	if (!block)
		return NULL;
	block->size = size;
	/* A block of one large object goes behind the current one, which may still have room. */
	if (arena->block && size == need) {
		block->older = arena->block->older;
		arena->block->older = block;
	} else {
		block->older = arena->block;
		arena->block = block;
	}
	return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	size_t cap = arena->cap ? arena->cap : ARENA_CAP_DEFAULT;
	struct arena_block *block = arena->block;
	void *memory;

	if (size > cap || cap - size < arena->used)
		return NULL;
	size = round_up(size ? size : 1);
	if (!block || block->size - block->used < size) {
		block = block_add(arena, size);
		if (!block)
			return NULL;
	}
	memory = block->bytes + block->used;
	block->used += size;
	arena->used += size;
	return memory;
}

void *arena_array(struct arena *arena, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total))
		return NULL;
	return arena_alloc(arena, total);
}

char *arena_copy(struct arena *arena, const void *bytes, size_t len)
{
	char *copy = len == SIZE_MAX ? NULL : arena_alloc(arena, len + 1);

	if (copy && len)
		memcpy(copy, bytes, len);
	return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args, again;
	char *text = NULL;
	int len;

	va_start(args, format);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, args);
	if (len >= 0)
		text = arena_alloc(arena, (size_t)len + 1);
	if (text)
		vsnprintf(text, (size_t)len + 1, format, again);
	va_end(again);
	va_end(args);
	return text;
}

void arena_free(struct arena *arena)
{
	struct arena_block *block = arena->block;

	while (block) {
		struct arena_block *older = block->older;

		free(block);
		block = older;
	}
	arena->block = NULL;
	arena->used = 0;
}
