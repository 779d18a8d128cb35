// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/resolve_names.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#define ROOM_FIRST 64

/* The slot of the name, or the free one where it belongs. The table has a free slot. */
static struct name_slot *slot_of(struct name_slot *slots, size_t room, const char *name,
				 uint64_t hash)
{
	size_t i = hash & (room - 1);

	while (slots[i].name && (slots[i].hash != hash || strcmp(slots[i].name, name)))
		i = (i + 1) & (room - 1);
	return &slots[i];
}

bool name_table_get(const struct name_table *table, const char *name, uint32_t *value)
{
	const struct name_slot *slot;

	if (!table->n)
		return false;
	slot = slot_of(table->slots, table->room, name, XXH3_64bits(name, strlen(name)));
	if (!slot->name)
		return false;
	if (value)
		*value = slot->value;
	return true;
}

static int grow(struct name_table *table, struct arena *arena)
{
	size_t room = table->room ? table->room * 2 : ROOM_FIRST;
	struct name_slot *slots = arena_array(arena, room, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < table->room; i++)
		if (table->slots[i].name)
			*slot_of(slots, room, table->slots[i].name, table->slots[i].hash) =
				table->slots[i];
	table->slots = slots;
	table->room = room;
	return 0;
}

int name_table_put(struct name_table *table, struct arena *arena, const char *name, uint32_t value)
{
	uint64_t hash = XXH3_64bits(name, strlen(name));
	int err = table->n * 2 >= table->room ? grow(table, arena) : 0;

	if (err)
		return err;
	*slot_of(table->slots, table->room, name, hash) =
		(struct name_slot){ .name = name, .hash = hash, .value = value };
	table->n++;
	return 0;
}

int name_table_set(struct name_table *table, struct arena *arena, const char *name, uint32_t value)
{
	struct name_slot *slot;

	if (!table->n)
		return name_table_put(table, arena, name, value);
	slot = slot_of(table->slots, table->room, name, XXH3_64bits(name, strlen(name)));
	if (!slot->name)
		return name_table_put(table, arena, name, value);
	slot->value = value;
	return 0;
}
