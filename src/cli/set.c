// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * set: what dynamic sets hold, and changing it.
 *
 * Entries are read as `policy/set_entries.h` says, and are listed in that form: what `set list`
 * prints, `set replace` takes. The policy is not read for a change, however large it is; only when
 * a set is not found, to say what may have been meant.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/running.h"
#include "engine/bpf/sets.h"

#define ROWS_AT_ONCE 512
#define SECOND 1000000000ull

/* --- entries that were said ---------------------------------------------------------- */

/* Words as lines of a file: each begins one, but `forever`, and `timeout` with what follows it. */
static int words_add(const struct arguments *arguments, struct source_set *sources,
		     uint32_t *source)
{
	struct text text = TEXT_INIT(SOURCE_SIZE_MAX);
	bool joined = false;
	int err;

	for (int i = 2; i < arguments->word_n; i++) {
		const char *word = arguments->words[i];
		bool timeout = strcmp(word, "timeout") == 0;

		text_printf(&text, "%s%s",
			    i == 2					  ? "" :
			    joined || timeout || !strcmp(word, "forever") ? " " : "\n",
			    word);
		joined = timeout;
	}
	err = text_error(&text) ? -ENOMEM :
				  source_set_add(sources, "entries", text_string(&text), text.len,
						 source);
	text_free(&text);
	return err;
}

static int entries_refused(const struct arguments *arguments, const struct source_set *sources,
			   const struct diagnostics *diagnostics)
{
	if (arguments->json)
		output_json_take(json_pack("{s:b, s:o}", "ok", 0, "errors",
					   json_diagnostics(diagnostics, sources, DIAGNOSTIC_ERROR)),
				 false);
	else
		complain_diagnostics(diagnostics, sources);
	return STATUS_FAILED;
}

/*
 * From the words, a file (-f), or standard input (`-`). An exit status; only STATUS_DONE gives
 * some.
 */
static int entries_read(const struct arguments *arguments, struct set_entry_vector *entries)
{
	const char *file = arguments->option[OPTION_ENTRIES];
	struct diagnostics diagnostics = { 0 };
	struct source_set sources = { 0 };
	int status = STATUS_DONE, err;
	uint32_t source;

	if (!file && arguments->word_n == 3 && strcmp(arguments->words[2], "-") == 0)
		file = "-";
	else if (!file == (arguments->word_n == 2))
		return usage_error(arguments,
				   "entries come behind the name, or by -f FILE, or by `-`");
	err = file ? source_set_read(&sources, file, POSITION_NONE, &source) :
		     words_add(arguments, &sources, &source);
	if (err && file) {
		complain("cannot read `%s`: %s", file, strerror(-err));
		status = STATUS_FAILED;
	} else if (!err) {
		err = set_entries_parse(&sources, source, IMAGE_SET_ENTRIES_MAX, &diagnostics,
					entries);
		if (err == -EINVAL || err == -E2BIG)
			status = entries_refused(arguments, &sources, &diagnostics);
		else if (!err && !arguments->json)
			complain_diagnostics(&diagnostics, &sources); /* warnings */
	}
	if (err == -ENOMEM) {
		complain("out of memory");
		status = STATUS_FAILED;
	}
	diagnostics_free(&diagnostics);
	source_set_free(&sources);
	return status;
}

/* --- changes --------------------------------------------------------------------------- */

/* The set is not there: what may have been meant? */
static int unknown_set(const struct arguments *arguments, const char *name, struct problem *problem)
{
	struct running running;
	struct problem ignored;
	cleanup_free const char **names = NULL;
	const char *near = NULL;

	if (running_open(&running, &ignored))
		return complain_problem(arguments, -ESRCH, problem);
	names = calloc(running.ruleset.set_n + 1, sizeof(*names));
	for (uint32_t i = 0; names && i < running.ruleset.set_n; i++)
		names[i] = running.ruleset.sets[i].name;
	if (names)
		near = nearest_word(name, names, running.ruleset.set_n);
	if (near)
		snprintf(problem->hint, sizeof(problem->hint), "did you mean `%s`?", near);
	else if (names && ruleset_has_static_set(&running.ruleset, name))
		snprintf(problem->hint, sizeof(problem->hint),
			 "`%s` is part of the policy: change it there, and apply that", name);
	running_close(&running);
	return complain_problem(arguments, -ESRCH, problem);
}

enum change { CHANGE_ADD, CHANGE_DELETE, CHANGE_REPLACE, CHANGE_FLUSH };

static void text_entries(struct text *out, uint64_t n)
{
	text_printf(out, n == 1 ? "%lu entry" : "%lu entries", n);
}

static int change_report(const struct arguments *arguments, enum change change, size_t n,
			 size_t done)
{
	struct text out = TEXT_INIT(1 << 12);

	if (arguments->json) {
		output_json_take(json_pack("{s:b, s:I, s:I}", "ok", 1, "entries", (json_int_t)n,
					   change == CHANGE_DELETE ? "removed" : "added",
					   (json_int_t)done),
				 false);
		return STATUS_DONE;
	}
	if (change == CHANGE_FLUSH) {
		text_puts(&out, "empty now\n");
	} else if (change == CHANGE_DELETE) {
		text_entries(&out, done);
		text_puts(&out, " taken out");
		if (done != n)
			text_printf(&out, ", %lu not there", n - done);
		text_putc(&out, '\n');
	} else {
		text_entries(&out, done);
		text_puts(&out, change == CHANGE_REPLACE ? ", and nothing else\n" : " added\n");
	}
	output_write(&out);
	text_free(&out);
	return STATUS_DONE;
}

static int change_run(const struct arguments *arguments, enum change change)
{
	cleanup(set_entry_vector_free) struct set_entry_vector entries = { 0 };
	const char *name = arguments->words[1];
	struct problem problem = { 0 };
	struct engine *engine = NULL;
	size_t done = 0;
	int status, err;

	if (arguments->word_n < 2)
		return usage_error(arguments, "which set? `set %s NAME`", arguments->words[0]);
	if (change == CHANGE_FLUSH && arguments->word_n > 2)
		return usage_error(arguments, "unexpected `%s`", arguments->words[2]);
	status = change == CHANGE_FLUSH ? STATUS_DONE : entries_read(arguments, &entries);
	if (status)
		return status;
	err = engine_open(&engine, &problem);
	if (err)
		return complain_problem(arguments, err, &problem);
	if (change == CHANGE_ADD)
		err = engine_set_add(engine, name, entries.items, entries.n, &done, &problem);
	else if (change == CHANGE_DELETE)
		err = engine_set_delete(engine, name, entries.items, entries.n, &done, &problem);
	else
		err = engine_set_replace(engine, name, entries.items, entries.n, &problem);
	if (!err && change == CHANGE_REPLACE)
		done = entries.n;
	engine_close(engine);
	if (err == -ESRCH)
		return unknown_set(arguments, name, &problem);
	if (err && done)
		complain("%zu of %zu entries were added", done, entries.n);
	return err ? complain_problem(arguments, err, &problem) :
		     change_report(arguments, change, entries.n, done);
}

/* --- the entries of one set --------------------------------------------------------------- */

struct row {
	uint32_t address[4];
	uint64_t expires;
	uint8_t family, prefix;
};

VECTOR(row_vector, struct row);

static int collect(void *context, uint8_t family, uint8_t prefix, const uint32_t address[4],
		   uint64_t expires)
{
	struct row row = { .expires = expires, .family = family, .prefix = prefix };

	memcpy(row.address, address, sizeof(row.address));
	return row_vector_push(context, row) ? -ENOMEM : 0;
}

static int row_compare(const void *a, const void *b)
{
	const struct row *left = a, *right = b;

	if (left->family != right->family)
		return left->family < right->family ? -1 : 1;
	for (unsigned i = 0; i < 4; i++)
		if (left->address[i] != right->address[i])
			return left->address[i] < right->address[i] ? -1 : 1;
	return (left->prefix > right->prefix) - (left->prefix < right->prefix);
}

/* How long it has, in seconds, a begun one counted whole. */
static uint64_t row_left(const struct row *row, uint64_t now)
{
	return row->expires > now ? (row->expires - now + SECOND - 1) / SECOND : 1;
}

static int row_json(const struct row *row, uint64_t now)
{
	struct text text = TEXT_INIT(128);

	set_entry_text(row->family, row->prefix, row->address, &text);
	return output_json_take(json_pack("{s:o, s:i, s:o}", "entry", json_take(&text), "family",
					  (int)row->family, "expires_in",
					  row->expires ? json_integer((json_int_t)row_left(row, now)) :
							 json_null()),
				true);
}

/* `forever` is said only where another time would be meant without it. */
static void row_text(const struct row *row, bool timeout, uint64_t now, struct text *out)
{
	set_entry_text(row->family, row->prefix, row->address, out);
	if (row->expires)
		text_printf(out, " timeout %lus", row_left(row, now));
	else if (timeout)
		text_puts(out, " forever");
	text_putc(out, '\n');
}

static int print_rows(const struct arguments *arguments, const struct row_vector *rows,
		      bool timeout)
{
	struct text out = TEXT_INIT(TEXT_CAP_DEFAULT);
	uint64_t now = monotonic_ns();
	int err = 0;

	for (size_t i = 0; !err && i < rows->n; i++) {
		if (arguments->json)
			err = row_json(&rows->items[i], now);
		else
			row_text(&rows->items[i], timeout, now, &out);
		if (!arguments->json && (i + 1) % ROWS_AT_ONCE == 0)
			err = output_write(&out);
	}
	if (!arguments->json && !err)
		output_write(&out);
	text_free(&out);
	return STATUS_DONE;
}

static int list_one(const struct arguments *arguments, const char *name)
{
	cleanup(row_vector_free) struct row_vector rows = { 0 };
	struct problem problem = { 0 };
	struct set_figures figures;
	struct engine *engine;
	int err = engine_open(&engine, &problem);

	if (err)
		return complain_problem(arguments, err, &problem);
	err = engine_set_figures(engine, name, &figures, &problem);
	if (!err)
		err = engine_set_each(engine, name, collect, &rows, &problem);
	engine_close(engine);
	if (err == -ESRCH)
		return unknown_set(arguments, name, &problem);
	if (err)
		return complain_problem(arguments, err, &problem);
	if (rows.n)
		qsort(rows.items, rows.n, sizeof(*rows.items), row_compare);
	return print_rows(arguments, &rows, figures.timeout != 0);
}

/* --- all sets ------------------------------------------------------------------------------ */

static json_t *figures_json(const char *name, const struct set_figures *figures)
{
	return json_pack("{s:o, s:I, s:I, s:o, s:I, s:I}", "name", json_text(name), "entries",
			 (json_int_t)figures->entries, "max", (json_int_t)figures->max, "timeout",
			 figures->timeout ? json_integer(figures->timeout) : json_null(), "refused",
			 (json_int_t)figures->refused, "bytes", (json_int_t)figures->bytes);
}

static void figures_row(struct table *table, const char *name, const struct set_figures *figures)
{
	struct text timeout = TEXT_INIT(64), bytes = TEXT_INIT(64);

	if (figures->timeout)
		text_age(&timeout, figures->timeout * SECOND);
	else
		text_puts(&timeout, "none");
	text_bytes(&bytes, figures->bytes);
	table_cell(table, TONE_PLAIN, "%s", name);
	table_cell(table, TONE_PLAIN, "%lu", figures->entries);
	table_cell(table, TONE_PLAIN, "%u", figures->max);
	table_take(table, TONE_PLAIN, &timeout);
	table_cell(table, figures->refused ? TONE_YELLOW : TONE_PLAIN, "%lu", figures->refused);
	table_take(table, TONE_PLAIN, &bytes);
}

static int list_rows(const struct arguments *arguments, struct running *running,
		     struct table *table, json_t *sets)
{
	for (uint32_t i = 0; i < running->ruleset.set_n; i++) {
		const char *name = running->ruleset.sets[i].name;
		struct problem problem = { 0 };
		struct set_figures figures;
		int err = engine_set_figures(running->engine, name, &figures, &problem);

		if (err == -ESRCH)
			continue; /* an apply just now */
		if (err)
			return complain_problem(arguments, err, &problem);
		if (sets)
			json_array_append_new(sets, figures_json(name, &figures));
		else
			figures_row(table, name, &figures);
	}
	return STATUS_DONE;
}

static int list_all(const struct arguments *arguments)
{
	static const struct table_column columns[] = {
		{ "SET" }, { "ENTRIES", true }, { "MAX", true },
		{ "TIMEOUT", true }, { "REFUSED", true }, { "MEMORY", true },
	};
	struct table table = TABLE_INIT(columns);
	struct text out = TEXT_INIT(1 << 20);
	json_t *sets = arguments->json ? json_array() : NULL;
	struct problem problem = { 0 };
	struct running running;
	int status, err = running_open(&running, &problem);

	if (err) {
		json_decref(sets);
		return complain_problem(arguments, err, &problem);
	}
	status = list_rows(arguments, &running, &table, sets);
	if (status) {
		json_decref(sets);
	} else if (sets) {
		output_json_take(json_pack("{s:o}", "sets", sets), false);
	} else {
		if (!running.ruleset.set_n)
			text_puts(&out, "the running policy has no dynamic sets\n");
		else if (table_flush(&table, &out) && !out.error)
			out.error = table.error;
		output_write(&out);
	}
	table_free(&table);
	text_free(&out);
	running_close(&running);
	return status;
}

int command_set(const struct arguments *arguments)
{
	static const char *const words[] = { "add", "del", "replace", "flush", "list" };
	const char *word = arguments->words[0], *near;

	for (unsigned i = 0; i < 4; i++)
		if (strcmp(word, words[i]) == 0)
			return change_run(arguments, (enum change)i);
	if (strcmp(word, "list") != 0) {
		near = nearest_word(word, words, 5);
		return usage_error(arguments, near ? "unknown word `%s`; did you mean `%s`?" :
						     "unknown word `%s`",
				   word, near);
	}
	if (arguments->option[OPTION_ENTRIES])
		return usage_error(arguments, "--file goes with add, del and replace");
	if (arguments->word_n > 2)
		return usage_error(arguments, "unexpected `%s`", arguments->words[2]);
	return arguments->word_n == 2 ? list_one(arguments, arguments->words[1]) :
					list_all(arguments);
}
