// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any bytes as entries of a dynamic set: they are refused with a reason, or they are prefixes
 * which, printed, are read as the same; a set then holds the first and the last address of each.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/prefix.h"
#include "engine/user/set_table.h"
#include "policy/set_entries.h"

#define MOST 3000
#define PRINTED_MAX (1 << 20)

static int read_entries(const char *bytes, size_t len, struct set_entry_vector *entries)
{
	struct diagnostics diagnostics = { 0 };
	struct source_set sources = { 0 };
	struct text shown = TEXT_INIT(PRINTED_MAX);
	uint32_t source;
	int err;

	if (source_set_add(&sources, "fuzz", bytes, len, &source))
		abort();
	err = set_entries_parse(&sources, source, MOST, &diagnostics, entries);
	if ((err == 0) != (diagnostics.errors == 0))
		abort();
	if (err && (entries->n || (err != -EINVAL && err != -E2BIG)))
		abort();
	diagnostics_print(&diagnostics, &sources, 0, &shown);
	text_free(&shown);
	diagnostics_free(&diagnostics);
	source_set_free(&sources);
	return err;
}

static void check_entry(const struct set_entry *entry)
{
	unsigned most = entry->family == 4 ? 32 : 128;

	if ((entry->family != 4 && entry->family != 6) || entry->prefix > most)
		abort();
	for (unsigned i = 0; i < 4; i++)
		if (entry->address[i] != prefix_word(entry->address[i], entry->prefix, i))
			abort();
}

/* Printed and read again they are the same. */
static void check_printed(const struct set_entry_vector *entries)
{
	struct set_entry_vector again = { 0 };
	struct text text = TEXT_INIT(PRINTED_MAX);

	for (size_t i = 0; i < entries->n; i++) {
		const struct set_entry *entry = &entries->items[i];

		set_entry_text(entry->family, entry->prefix, entry->address, &text);
		if (entry->timeout == ENTRY_FOREVER)
			text_puts(&text, " forever");
		else if (entry->timeout)
			text_printf(&text, " timeout %us", entry->timeout);
		text_putc(&text, '\n');
	}
	if (!text_error(&text)) {
		if (read_entries(text_string(&text), text.len, &again) || again.n != entries->n)
			abort();
		for (size_t i = 0; i < again.n; i++)
			if (memcmp(&again.items[i], &entries->items[i], sizeof(again.items[i])))
				abort();
	}
	text_free(&text);
	set_entry_vector_free(&again);
}

static void last_of(const struct set_entry *entry, uint32_t last[4])
{
	for (unsigned i = 0; i < 4; i++) {
		uint32_t host = ~prefix_word(UINT32_MAX, entry->prefix, i);

		last[i] = entry->address[i] | (entry->family == 6 || !i ? host : 0);
	}
}

static void check_held(const struct set_entry_vector *entries)
{
	struct set_table table = { .max = MOST };

	for (size_t i = 0; i < entries->n; i++) {
		const struct set_entry *entry = &entries->items[i];
		struct set_key key;

		set_key_make(&key, entry->address, entry->family, entry->prefix);
		if (set_table_put(&table, &key, SET_NEVER, 1))
			abort();
	}
	for (size_t i = 0; i < entries->n; i++) {
		const struct set_entry *entry = &entries->items[i];
		uint32_t last[4];

		last_of(entry, last);
		if (!set_table_holds(&table, entry->address, entry->family, 1) ||
		    !set_table_holds(&table, last, entry->family, 1))
			abort();
	}
	set_table_clear(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct set_entry_vector entries = { 0 };
	char *bytes = malloc(size + 1);

	if (!bytes)
		return 0;
	memcpy(bytes, data, size);
	bytes[size] = '\0';
	if (!read_entries(bytes, size, &entries)) {
		for (size_t i = 0; i < entries.n; i++)
			check_entry(&entries.items[i]);
		check_printed(&entries);
		check_held(&entries);
	}
	set_entry_vector_free(&entries);
	free(bytes);
	return 0;
}
