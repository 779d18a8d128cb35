// SPDX-License-Identifier: GPL-2.0-or-later
#include "sets.h"

#include <string.h>

const char *const model_set_names[MODEL_SETS] = { "bots", "guests" };
const char *const model_set_texts[MODEL_SETS] = { "dynamic { max 40, timeout 1h }",
						  "dynamic { max 4000 }" };

/* Among the addresses of random packets. */
static const struct model_entry small[] = {
	{ { 0x0a000007 }, 4, 32, false },
	{ { 0xc0a80110 }, 4, 28, false },
	{ { 0x20010db8, 0, 0, 9 }, 6, 128, false },
	{ { 0xfd000000 }, 6, 120, false },
};

static const struct model_entry large[] = {
	{ { 0x0a010200 }, 4, 24, false },
	{ { 0x0a010240 }, 4, 26, false },
	{ { 0xc6336400 }, 4, 25, true },
	{ { 0xc6336400 }, 4, 26, false },
	{ { 0xcb007107 }, 4, 32, true },
	{ { 0xc0000000 }, 4, 7, false },
	{ { 0x20010db8, 0x00010000 }, 6, 48, false },
	{ { 0x20010db8, 0x00010000 }, 6, 33, true },
	{ { 0xfe800000 }, 6, 10, false },
	{ { 0x20010db8, 0, 0, 0x80 }, 6, 121, false },
};

void model_sets_begin(struct model_sets *model)
{
	memset(model, 0, sizeof(*model));
	memcpy(model->sets[0].entries, small, sizeof(small));
	model->sets[0].n = sizeof(small) / sizeof(*small);
	memcpy(model->sets[1].entries, large, sizeof(large));
	model->sets[1].n = sizeof(large) / sizeof(*large);
}

struct model_set *model_set_of(struct model_sets *model, const char *name)
{
	for (unsigned i = 0; i < MODEL_SETS; i++)
		if (!strcmp(model_set_names[i], name))
			return &model->sets[i];
	return NULL;
}

static bool same_bits(const uint32_t a[4], const uint32_t b[4], unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if ((a[i / 32] ^ b[i / 32]) >> (31 - i % 32) & 1)
			return false;
	return true;
}

static bool set_holds(const struct model_set *set, uint32_t family, const uint32_t address[4])
{
	for (uint32_t i = 0; i < set->n; i++)
		if (set->entries[i].family == family && !set->entries[i].expired &&
		    same_bits(set->entries[i].address, address, set->entries[i].prefix))
			return true;
	return false;
}

bool model_holds(void *context, const struct dynamic_set *set, uint32_t family,
		 const uint32_t address[4])
{
	const struct model_set *found = model_set_of(context, set->name);

	return found && set_holds(found, family, address);
}

static struct model_entry *entry_find(struct model_set *set, const struct model_entry *wanted)
{
	for (uint32_t i = 0; i < set->n; i++)
		if (set->entries[i].family == wanted->family &&
		    set->entries[i].prefix == wanted->prefix &&
		    same_bits(set->entries[i].address, wanted->address, wanted->prefix))
			return &set->entries[i];
	return NULL;
}

bool model_put(struct model_set *set, const struct model_entry *entry)
{
	struct model_entry *found = entry_find(set, entry);

	if (!found && set->n == MODEL_ENTRIES)
		return false;
	if (!found)
		found = &set->entries[set->n++];
	*found = *entry;
	return true;
}

void model_remove(struct model_set *set, const struct model_entry *entry)
{
	struct model_entry *found = entry_find(set, entry);

	if (found)
		*found = set->entries[--set->n];
}

bool model_take(struct model_set *set, uint32_t max, uint32_t family, const uint32_t address[4])
{
	uint8_t whole = family == 4 ? 32 : 128;

	for (uint32_t i = 0; i < set->n; i++) {
		struct model_entry *entry = &set->entries[i];

		if (entry->family != family || entry->prefix != whole ||
		    !same_bits(entry->address, address, whole))
			continue;
		entry->expired = false;
		return true;
	}
	if (set->n >= max)
		return false;
	set->entries[set->n] = (struct model_entry){ .family = (uint8_t)family, .prefix = whole };
	memcpy(set->entries[set->n++].address, address, 16);
	return true;
}
