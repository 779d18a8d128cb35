// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Entries of dynamic sets as people and programs write them:
 *
 *	ADDRESS [timeout DURATION | forever]
 *
 * one a line, where ADDRESS is an address, a prefix or a range; `#` begins a comment. What a set
 * holds is listed in the same form.
 */
#ifndef REEVE_POLICY_SET_ENTRIES_H
#define REEVE_POLICY_SET_ENTRIES_H

#include "base/diagnostic.h"
#include "base/source.h"
#include "base/text.h"
#include "base/vector.h"

#define ENTRY_AS_SET 0		 /* for as long as the set says */
#define ENTRY_FOREVER UINT32_MAX

struct set_entry {
	uint32_t address[4]; /* as in FIELD_SRC, host bits zero */
	uint32_t timeout;    /* seconds, or one of the above */
	uint8_t family, prefix;
};

VECTOR(set_entry_vector, struct set_entry);

/*
 * Reads source number `source` to its end. A range becomes the prefixes that make it up. 0 (there
 * may be warnings in *diagnostics), -EINVAL when there were errors (each line that is wrong is
 * one), -E2BIG (with a diagnostic) for more than `max` entries, -ENOMEM. On failure *entries is as
 * it was.
 */
int set_entries_parse(const struct source_set *sources, uint32_t source, size_t max,
		      struct diagnostics *diagnostics, struct set_entry_vector *entries);

/* "192.0.2.1", "2001:db8::/32" */
void set_entry_text(uint8_t family, uint8_t prefix, const uint32_t address[4], struct text *out);

#endif
