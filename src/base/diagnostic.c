// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/diagnostic.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_MAX 200
#define LINE_WIDTH 100	/* characters of a source line that are shown */
#define WORD_MAX_LEN 64 /* longer words have no near one */

static const char *const level_words[] = { "error", "warning", "note" };
static const char *const level_colours[] = { "\033[1;31m", "\033[1;35m", "\033[1;36m" };

#define BOLD "\033[1m"
#define GREEN "\033[1;32m"
#define PLAIN "\033[0m"

static void diagnostic_free(struct diagnostic *diagnostic)
{
	free(diagnostic->message);
	free(diagnostic->hint);
	free(diagnostic->code);
}

/* Room for one more: when all is taken an error takes the place of a lesser one. */
static int make_room(struct diagnostics *diagnostics, enum diagnostic_level level)
{
	struct diagnostic_vector *list = &diagnostics->list;

	if (list->n < KEPT_MAX)
		return diagnostic_vector_reserve(list, 1);
	for (size_t i = list->n; level == DIAGNOSTIC_ERROR && i-- > 0;) {
		if (list->items[i].level == DIAGNOSTIC_ERROR)
			continue;
		diagnostic_free(&list->items[i]);
		memmove(&list->items[i], &list->items[i + 1],
			(list->n - i - 1) * sizeof(*list->items));
		list->n--;
		return 0;
	}
	return -E2BIG;
}

void diagnose(struct diagnostics *diagnostics, enum diagnostic_level level,
	      struct position position, const char *code, const char *hint, const char *format, ...)
{
	struct diagnostic diagnostic = { .level = level, .position = position };
	va_list args;
	int len;

	if (level == DIAGNOSTIC_ERROR)
		diagnostics->errors++;
	else if (level == DIAGNOSTIC_WARNING)
		diagnostics->warnings++;
	if (make_room(diagnostics, level))
		return;
	va_start(args, format);
	len = vasprintf(&diagnostic.message, format, args);
	va_end(args);
	if (len < 0)
		diagnostic.message = NULL;
	diagnostic.code = strdup(code);
	diagnostic.hint = hint ? strdup(hint) : NULL;
	if (diagnostic.message && diagnostic.code)
		diagnostics->list.items[diagnostics->list.n++] = diagnostic;
	else
		diagnostic_free(&diagnostic);
}

void diagnostics_free(struct diagnostics *diagnostics)
{
	if (!diagnostics)
		return;
	for (size_t i = 0; i < diagnostics->list.n; i++)
		diagnostic_free(&diagnostics->list.items[i]);
	diagnostic_vector_free(&diagnostics->list);
	*diagnostics = (struct diagnostics){ 0 };
}

/* --- printing ----------------------------------------------------------- */

/*
 * Bytes of the well-formed, printable UTF-8 character at `s`, or 0 (RFC 3629; C1 controls are not
 * printable).
 */
static size_t character_len(const char *s, size_t len)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t n = u[0] < 0x80		       ? 1 :
		   u[0] >= 0xc2 && u[0] < 0xe0 ? 2 :
		   u[0] >= 0xe0 && u[0] < 0xf0 ? 3 :
		   u[0] >= 0xf0 && u[0] < 0xf5 ? 4 :
						 0;

	if (n == 0 || n > len)
		return 0;
	if (n == 1)
		return u[0] >= 0x20 && u[0] != 0x7f;
	for (size_t i = 1; i < n; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((u[0] == 0xc2 && u[1] < 0xa0) || (u[0] == 0xe0 && u[1] < 0xa0) ||
	    (u[0] == 0xed && u[1] >= 0xa0) || (u[0] == 0xf0 && u[1] < 0x90) ||
	    (u[0] == 0xf4 && u[1] >= 0x90))
		return 0;
	return n;
}

/* Adds text with what a terminal must not see replaced; returns the characters written. */
static size_t add_printable(struct text *out, const char *s, size_t len)
{
	size_t width = 0;

	for (size_t i = 0; i < len; width++) {
		size_t n = character_len(s + i, len - i);

		if (n)
			text_add(out, s + i, n);
		else
			text_putc(out, s[i] == '\t' ? ' ' : '?');
		i += n ? n : 1;
	}
	return width;
}

/*
 * The part of a line that is shown, and where the caret stands in it. Offsets into the source's
 * text.
 */
struct excerpt {
	size_t start, end;
	bool cut_start, cut_end;
};

static struct excerpt excerpt_of(const struct source *source, size_t offset, size_t length)
{
	struct excerpt excerpt = { .start = offset, .end = offset };
	const char *text = source->text, *found;

	found = offset ? memrchr(text, '\n', offset) : NULL;
	excerpt.start = found ? (size_t)(found - text) + 1 : 0;
	found = memchr(text + offset, '\n', source->len - offset);
	excerpt.end = found ? (size_t)(found - text) : source->len;
	while (excerpt.end > offset && text[excerpt.end - 1] == '\r')
		excerpt.end--;
	while (excerpt.start < offset &&
	       (text[excerpt.start] == ' ' || text[excerpt.start] == '\t'))
		excerpt.start++;
	if (excerpt.end - excerpt.start <= LINE_WIDTH)
		return excerpt;
	/* Keep the word in view, with a third of the width before it. */
	if (offset - excerpt.start + (length < LINE_WIDTH / 2 ? length : LINE_WIDTH / 2) >
	    LINE_WIDTH) {
		excerpt.start = offset - LINE_WIDTH / 3;
		excerpt.cut_start = true;
		while (excerpt.start < offset && (text[excerpt.start] & 0xc0) == 0x80)
			excerpt.start++;
	}
	if (excerpt.end - excerpt.start > LINE_WIDTH) {
		excerpt.end = excerpt.start + LINE_WIDTH;
		excerpt.cut_end = true;
		while (excerpt.end > offset && (text[excerpt.end] & 0xc0) == 0x80)
			excerpt.end--;
	}
	return excerpt;
}

static void print_excerpt(const struct source *source, const struct diagnostic *diagnostic,
			  int colour, struct text *out)
{
	size_t offset = diagnostic->position.offset;
	size_t length = diagnostic->position.length ? diagnostic->position.length : 1;
	struct excerpt excerpt;
	struct text marked = TEXT_INIT(4096);
	size_t before, under;

	if (offset > source->len)
		offset = source->len;
	excerpt = excerpt_of(source, offset, length);
	if (excerpt.end < offset)
		excerpt.end = offset;
	if (length > excerpt.end - offset)
		length = excerpt.end - offset;
	text_puts(out, excerpt.cut_start ? "    ..." : "    ");
	before = add_printable(out, source->text + excerpt.start, offset - excerpt.start);
	before += excerpt.cut_start ? 3 : 0;
	under = add_printable(&marked, source->text + offset, length);
	text_free(&marked);
	add_printable(out, source->text + offset, excerpt.end - offset);
	text_puts(out, excerpt.cut_end ? "...\n" : "\n");
	text_printf(out, "    %*s%s^", (int)before, "", colour ? GREEN : "");
	for (size_t i = 1; i < under; i++)
		text_putc(out, '~');
	if (colour)
		text_puts(out, PLAIN);
	if (diagnostic->hint) {
		text_putc(out, ' ');
		add_printable(out, diagnostic->hint, strlen(diagnostic->hint));
	}
	text_putc(out, '\n');
}

static void print_one(const struct diagnostic *diagnostic, const struct source_set *sources,
		      int colour, struct text *out)
{
	const struct source *source = NULL;
	unsigned line, column;

	if (diagnostic->position.source < sources->sources.n)
		source = &sources->sources.items[diagnostic->position.source];
	if (source) {
		source_place(source, diagnostic->position.offset, &line, &column);
		text_puts(out, colour ? BOLD : "");
		add_printable(out, source->name, strlen(source->name));
		text_printf(out, ":%u:%u:%s ", line, column, colour ? PLAIN : "");
	}
	text_printf(out, "%s%s:%s ", colour ? level_colours[diagnostic->level] : "",
		    level_words[diagnostic->level], colour ? PLAIN : "");
	add_printable(out, diagnostic->message, strlen(diagnostic->message));
	text_putc(out, '\n');
	if (source) {
		print_excerpt(source, diagnostic, colour, out);
	} else if (diagnostic->hint) {
		text_puts(out, "    ");
		add_printable(out, diagnostic->hint, strlen(diagnostic->hint));
		text_putc(out, '\n');
	}
}

static int compare_places(const void *left, const void *right)
{
	const struct diagnostic *a = *(const struct diagnostic *const *)left;
	const struct diagnostic *b = *(const struct diagnostic *const *)right;

	if (a->position.source != b->position.source)
		return a->position.source < b->position.source ? -1 : 1;
	if (a->position.offset != b->position.offset)
		return a->position.offset < b->position.offset ? -1 : 1;
	return a < b ? -1 : a > b; /* in the order of reporting */
}

static void print_rest(unsigned n, const char *what, struct text *out)
{
	if (n)
		text_printf(out, "and %u more %s%s, not shown\n", n, what, n == 1 ? "" : "s");
}

void diagnostics_print(const struct diagnostics *diagnostics, const struct source_set *sources,
		       int colour, struct text *out)
{
	const struct diagnostic *sorted[KEPT_MAX];
	unsigned shown[3] = { 0 };
	size_t n = diagnostics->list.n < KEPT_MAX ? diagnostics->list.n : KEPT_MAX;

	for (size_t i = 0; i < n; i++)
		sorted[i] = &diagnostics->list.items[i];
	qsort(sorted, n, sizeof(sorted[0]), compare_places);
	for (size_t i = 0; i < n; i++) {
		if (shown[sorted[i]->level] >= DIAGNOSTIC_SHOWN_MAX)
			continue;
		shown[sorted[i]->level]++;
		print_one(sorted[i], sources, colour, out);
	}
	print_rest(diagnostics->errors - shown[DIAGNOSTIC_ERROR], "error", out);
	print_rest(diagnostics->warnings - shown[DIAGNOSTIC_WARNING], "warning", out);
}

/* --- near words --------------------------------------------------------- */

/*
 * Optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours
 * cost one each; upper and lower case are the same letter.
 */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned rows[3][WORD_MAX_LEN + 1];
	unsigned *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		above[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *oldest = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			int x = tolower((unsigned char)a[i - 1]),
			    y = tolower((unsigned char)b[j - 1]);
			unsigned best = above[j - 1] + (x != y);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
			    y == tolower((unsigned char)a[i - 2]) && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = best;
		}
		before = above;
		above = row;
		row = oldest;
	}
	return above[b_len];
}

const char *nearest_word(const char *word, const char *const *words, size_t n)
{
	size_t len = strnlen(word, WORD_MAX_LEN + 1);
	const char *nearest = NULL;
	unsigned best = len <= 4 ? 2 : len <= 7 ? 3 : 4; /* nearer than this */

	if (len < 2 || len > WORD_MAX_LEN)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t other = strnlen(words[i], WORD_MAX_LEN + 1);
		unsigned d;

		if (other > WORD_MAX_LEN || (other > len ? other - len : len - other) >= best)
			continue;
		d = distance(word, len, words[i], other);
		if (d < best) {
			best = d;
			nearest = words[i];
		}
	}
	return nearest;
}
