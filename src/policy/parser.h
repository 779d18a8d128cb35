// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Parser: text of the policy language to a tree (tree.h). The grammar is in docs/LANGUAGE.md.
 *
 * Any bytes are safe: time is linear in the text, recursion is bounded, memory is the arena's. An
 * error is reported as a diagnostic at its word and the parser goes on with the next statement, so
 * that one run tells all errors of a file. After errors there is no tree.
 */
#ifndef REEVE_POLICY_PARSER_H
#define REEVE_POLICY_PARSER_H

#include "base/arena.h"
#include "base/diagnostic.h"
#include "base/source.h"
#include "policy/tree.h"

/*
 * The tree of source number `source`. Returns 0 (there may be warnings in *diagnostics), -EINVAL
 * when there were errors, -ENOMEM. The tree keeps no pointer into the source's text. With -EINVAL
 * *tree is what had no errors, so that the rest can be looked at in the same run, or NULL.
 */
int tree_parse(const struct source_set *sources, uint32_t source, struct arena *arena,
	       struct diagnostics *diagnostics, const struct tree **tree);

/*
 * A question of `explain`: FROM -> TO, then what a rule may say before its options. The text is
 * added to the sources under the name "question", so that diagnostics show it. Returns as
 * tree_parse.
 */
int question_parse(const char *text, struct source_set *sources, struct arena *arena,
		   struct diagnostics *diagnostics, const struct question **question);

/*
 * The file of a `set x = file "…"`: addresses, prefixes and ranges, one a line; `#` begins a
 * comment; commas at line ends are let pass. No `@set`, no `!`. Items are malloc'ed, for they can
 * be many: the caller frees *items. Returns as tree_parse; -E2BIG (with a diagnostic) when there
 * are more than `max` entries.
 */
int set_file_parse(const struct source_set *sources, uint32_t source, uint32_t max,
		   struct diagnostics *diagnostics, struct tree_address **items, uint32_t *n);

#endif
