// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Output: what a person or a script reads.
 *
 * Data goes to standard output, complaints to standard error. Callers collect a struct text and
 * write it whole, so a full disk or a closed pipe is noticed with its errno, once, and becomes the
 * exit status. Text that somebody else wrote (comments, names, log texts) is escaped on its way
 * out: it can move no cursor.
 */
#ifndef REEVE_CLI_OUTPUT_H
#define REEVE_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/diagnostic.h"
#include "base/text.h"
#include "cli/command.h"
#include "engine/bpf/engine.h"

enum tone {
	TONE_PLAIN,
	TONE_BOLD,
	TONE_DIM,
	TONE_RED,
	TONE_GREEN,
	TONE_YELLOW,
};

/* Does this descriptor want colour: a terminal, no NO_COLOR, TERM not "dumb". */
bool output_colour(int fd);
/*
 * Writes all of *text to standard output and empties it. 0 or -errno; after a failure nothing is
 * written any more.
 */
int output_write(struct text *text);
/*
 * Writes one JSON value and a newline and gives up the reference; NULL counts as out of memory.
 * `compact`: on one line.
 */
int output_json_take(json_t *value, bool compact);
/*
 * The exit status of a command that ended with `status`: STATUS_FAILED when standard output failed,
 * which is said.
 */
int output_status(int status);

/* Prints "reeve: …" on standard error, control characters escaped. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/*
 * Prints the problem and its hint; with --json also {"ok":false,"error":…,"hint":…}. Returns
 * STATUS_FAILED.
 */
int complain_problem(const struct arguments *arguments, int err, const struct problem *problem);

/* Adds a string with control characters, invalid UTF-8 and direction overrides escaped as \xNN. */
void text_escaped(struct text *out, const char *string);
void text_escaped_n(struct text *out, const char *bytes, size_t len);
/* Adds an escaped string, coloured if standard output wants colour. */
void text_toned(struct text *out, enum tone tone, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Figures for people: "1234", "12.3k"; "900 B", "4.2 KiB"; "12 ms", "4m 3s", "2d 4h". */
void text_count(struct text *out, uint64_t count);
void text_bytes(struct text *out, uint64_t bytes);
void text_age(struct text *out, uint64_t ns);
/* CLOCK_MONOTONIC, by which the core tells time. */
uint64_t monotonic_ns(void);

/* A JSON string whatever the bytes (invalid UTF-8 becomes U+FFFD); JSON null for NULL. */
json_t *json_text(const char *string);
/* The same out of a text, which is emptied. */
json_t *json_take(struct text *text);
/* The diagnostics of one level, as an array of {"file","line","column","code","message","hint"}. */
json_t *json_diagnostics(const struct diagnostics *diagnostics, const struct source_set *sources,
			 enum diagnostic_level level);
/* Prints diagnostics for a person on standard error. */
void complain_diagnostics(const struct diagnostics *diagnostics, const struct source_set *sources);

/*
 * A table: cells are added from left to right, row after row; columns are as wide as their widest
 * cell. A flush prints what is there and keeps the widths, so a long listing needs no memory for
 * all of it.
 */
#define TABLE_COLUMNS_MAX 12

struct table_column {
	const char *title;
	bool right; /* figures */
};

struct table_cell {
	char *string; /* owned */
	enum tone tone;
};

VECTOR(table_cells, struct table_cell);

struct table {
	const struct table_column *columns;
	size_t column_n;
	struct table_cells cells;
	unsigned widths[TABLE_COLUMNS_MAX];
	bool titled; /* the titles have been printed */
	bool bare;   /* no titles */
	int error;
};

#define TABLE_INIT(array)                                                                          \
	((struct table){ .columns = (array), .column_n = sizeof(array) / sizeof((array)[0]) })

/* Adds one cell; its text is escaped. */
void table_cell(struct table *table, enum tone tone, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Adds one cell out of a text, which is emptied. */
void table_take(struct table *table, enum tone tone, struct text *text);
/* Prints all whole rows into out and forgets them. 0 or -ENOMEM. */
int table_flush(struct table *table, struct text *out);
void table_free(struct table *table);

#endif
