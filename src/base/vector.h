// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Typed growing arrays.
 *
 *	VECTOR(rule_vector, struct rule)
 *
 * defines `struct rule_vector { struct rule *items; size_t n, room; }` and, with the same prefix,
 * `_reserve` (room for `more` further items), `_push` (a copy of one item), `_free`. The vector
 * owns `items`; it does not own what items point to. Functions return 0, -ENOMEM, or -E2BIG beyond
 * VECTOR_CAP items.
 */
#ifndef REEVE_BASE_VECTOR_H
#define REEVE_BASE_VECTOR_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#define VECTOR_CAP ((size_t)1 << 28)

#define VECTOR(name, type)                                                                         \
	struct name {                                                                              \
		type *items;                                                                       \
		size_t n, room;                                                                    \
	};                                                                                         \
	__attribute__((unused)) static inline int name##_reserve(struct name *v, size_t more)      \
	{                                                                                          \
		size_t room = v->room ? v->room : 8;                                               \
		type *items;                                                                       \
		if (more > VECTOR_CAP || v->n > VECTOR_CAP - more)                                 \
			return -E2BIG;                                                             \
		if (v->room - v->n >= more)                                                        \
			return 0;                                                                  \
		while (room - v->n < more)                                                         \
			room *= 2;                                                                 \
		items = reallocarray(v->items, room, sizeof(type));                                \
		if (!items)                                                                        \
			return -ENOMEM;                                                            \
		v->items = items;                                                                  \
		v->room = room;                                                                    \
		return 0;                                                                          \
	}                                                                                          \
	__attribute__((unused)) static inline int name##_push(struct name *v, type item)           \
	{                                                                                          \
		int err = name##_reserve(v, 1);                                                    \
		if (err)                                                                           \
			return err;                                                                \
		v->items[v->n++] = item;                                                           \
		return 0;                                                                          \
	}                                                                                          \
	__attribute__((unused)) static inline void name##_free(struct name *v)                     \
	{                                                                                          \
		free(v->items);                                                                    \
		*v = (struct name){ 0 };                                                           \
	}                                                                                          \
	struct name

#endif
