// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A text that was parsed, for the tests of the language.
 */
#ifndef TESTS_UNIT_POLICY_PARSED_H
#define TESTS_UNIT_POLICY_PARSED_H

#include <string.h>

#include "base/arena.h"
#include "base/diagnostic.h"
#include "base/source.h"
#include "policy/format.h"
#include "policy/parser.h"

struct parsed {
	struct source_set sources;
	struct arena arena;
	struct diagnostics diagnostics;
	const struct tree *tree;
	int err;
};

static inline void parse_bytes(struct parsed *parsed, const char *text, size_t len)
{
	uint32_t source = 0;

	*parsed = (struct parsed){ 0 };
	parsed->err = source_set_add(&parsed->sources, "test.reeve", text, len, &source);
	if (!parsed->err)
		parsed->err = tree_parse(&parsed->sources, source, &parsed->arena,
					 &parsed->diagnostics, &parsed->tree);
}

static inline void parse_string(struct parsed *parsed, const char *text)
{
	parse_bytes(parsed, text, strlen(text));
}

static inline void parsed_free(struct parsed *parsed)
{
	diagnostics_free(&parsed->diagnostics);
	arena_free(&parsed->arena);
	source_set_free(&parsed->sources);
}

/* The diagnostics as people see them, or the canonical text; malloc'ed. */
static inline char *parsed_print(const struct parsed *parsed)
{
	struct text out = TEXT_INIT(0);

	if (parsed->err)
		diagnostics_print(&parsed->diagnostics, &parsed->sources, 0, &out);
	else
		format_tree(parsed->tree, &out);
	return text_take(&out);
}

#endif
