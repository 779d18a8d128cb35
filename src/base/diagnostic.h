// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Diagnostics: what is wrong with a text a person wrote, where, and what would be right.
 *
 *	host.reeve:12:11: error: unknown service `htp`
 *	    allow htp from @admins
 *	          ^~~ did you mean `http`?
 */
#ifndef REEVE_BASE_DIAGNOSTIC_H
#define REEVE_BASE_DIAGNOSTIC_H

#include "base/source.h"
#include "base/text.h"
#include "base/vector.h"

#define DIAGNOSTIC_SHOWN_MAX 20 /* errors printed; the rest is counted */

enum diagnostic_level {
	DIAGNOSTIC_ERROR,
	DIAGNOSTIC_WARNING,
	DIAGNOSTIC_NOTE,
};

struct diagnostic {
	enum diagnostic_level level;
	struct position position;
	char *message; /* one line; offending words in backquotes */
	char *hint;    /* what would be right, or NULL */
	char *code;    /* short stable name for --json, such as "unknown-service"; never NULL */
};

VECTOR(diagnostic_vector, struct diagnostic);

struct diagnostics {
	struct diagnostic_vector list;
	unsigned errors;   /* all that were reported, also those not kept */
	unsigned warnings;
};

/*
 * Reports one. `hint` may be NULL; message by printf. Keeps the first 200. Never fails: without
 * memory the count still goes up, so an error is never lost.
 */
void diagnose(struct diagnostics *diagnostics, enum diagnostic_level level, struct position position,
	      const char *code, const char *hint, const char *format, ...)
	__attribute__((format(printf, 6, 7)));
/*
 * Prints them as above, sorted by source and offset, at most DIAGNOSTIC_SHOWN_MAX errors, then how
 * many are not shown. Control characters of the source are shown as `?`, long lines are cut around
 * the caret. `colour` adds ANSI colours.
 */
void diagnostics_print(const struct diagnostics *diagnostics, const struct source_set *sources,
		       int colour, struct text *out);
void diagnostics_free(struct diagnostics *diagnostics);

/*
 * The word of `words` (n of them) nearest to `word` by edit distance, if near enough to suggest,
 * else NULL.
 */
const char *nearest_word(const char *word, const char *const *words, size_t n);

#endif
