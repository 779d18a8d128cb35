// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Output: bytes, colours, figures, tables, JSON.
 *
 * Standard output is written with write(2), not through stdio: every command collects a struct text
 * and hands it over whole or line by line. So the errno of the first failure is known, is kept in
 * output_error, and decides the exit status in output_status; later writes do nothing. A closed
 * pipe is no news to the person who closed it: exit status 1, no words.
 *
 * Escaping happens here and nowhere else: complain, text_toned and table cells escape all they
 * print, so a caller cannot forget it. What is added with plain text_printf must be reeve's own
 * words or figures.
 */
#include "cli/output.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

static int output_error; /* first failure of standard output, as -errno */

bool output_colour(int fd)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (no_color && no_color[0])
		return false;
	return isatty(fd) && term && strcmp(term, "dumb") != 0;
}

static bool stdout_colour(void)
{
	static int known = -1;

	if (known < 0)
		known = output_colour(STDOUT_FILENO);
	return known;
}

static int write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t done = write(fd, bytes, len);

		if (done >= 0) {
			bytes += done;
			len -= (size_t)done;
		} else if (errno == EAGAIN) {
			struct pollfd ready = { .fd = fd, .events = POLLOUT };

			poll(&ready, 1, -1);
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

int output_write(struct text *text)
{
	if (!output_error)
		output_error = text_error(text);
	if (!output_error)
		output_error = write_all(STDOUT_FILENO, text_string(text), text->len);
	text_free(text);
	return output_error;
}

int output_json_take(json_t *value, bool compact)
{
	struct text out = TEXT_INIT(TEXT_CAP_DEFAULT);
	size_t flags = JSON_ENCODE_ANY | JSON_ENSURE_ASCII;
	char *string;

	string = value ? json_dumps(value, flags | (compact ? JSON_COMPACT : JSON_INDENT(2))) : NULL;
	json_decref(value);
	if (!string) {
		if (!output_error)
			output_error = -ENOMEM;
		return output_error;
	}
	text_puts(&out, string);
	text_putc(&out, '\n');
	free(string);
	return output_write(&out);
}

int output_status(int status)
{
	if (!output_error)
		return status;
	if (output_error == -ENOMEM)
		complain("out of memory");
	else if (output_error != -EPIPE)
		complain("standard output: %s", strerror(-output_error));
	return STATUS_FAILED;
}

void complain(const char *format, ...)
{
	struct text raw = TEXT_INIT(1 << 16), out = TEXT_INIT(1 << 19);
	va_list args;

	va_start(args, format);
	text_vprintf(&raw, format, args);
	va_end(args);
	text_puts(&out, "reeve: ");
	text_escaped(&out, text_string(&raw));
	text_putc(&out, '\n');
	if (!text_error(&raw) && !text_error(&out))
		write_all(STDERR_FILENO, text_string(&out), out.len);
	text_free(&raw);
	text_free(&out);
}

/* What the kernel has said itself, line by line. */
static void complain_detail(const char *detail)
{
	while (*detail) {
		size_t len = strcspn(detail, "\n");

		complain("kernel: %.*s", (int)len, detail);
		detail += len + (detail[len] == '\n');
	}
}

int complain_problem(const struct arguments *arguments, int err, const struct problem *problem)
{
	const char *what = problem->what[0] ? problem->what : strerror(-err);
	const char *hint = problem->hint[0] ? problem->hint : NULL;

	complain("error: %s", what);
	complain_detail(problem->detail);
	if (hint)
		complain("hint: %s", hint);
	if (arguments->json)
		output_json_take(json_pack("{s:b, s:o, s:o, s:o}", "ok", 0, "error",
					   json_text(what), "hint", json_text(hint), "detail",
					   json_text(problem->detail[0] ? problem->detail : NULL)),
				 false);
	return STATUS_FAILED;
}

/* --- text that others wrote --- */

/*
 * The length of the UTF-8 sequence at `bytes`, 0 when there is none; *code is what it says. RFC
 * 3629.
 */
static size_t utf8_sequence(const unsigned char *bytes, size_t len, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = bytes[0] < 0x80 ? 1 : bytes[0] >> 5 == 6 ? 2 : bytes[0] >> 4 == 14 ? 3
		 : bytes[0] >> 3 == 30 ? 4 : 0;
	uint32_t value;

	if (n == 0 || n > len)
		return 0;
	value = n == 1 ? bytes[0] : bytes[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if (bytes[i] >> 6 != 2)
			return 0;
		value = value << 6 | (bytes[i] & 0x3f);
	}
	if (value < least[n] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	*code = value;
	return n;
}

/* Control characters, and those that change the direction of the text around them. */
static bool code_is_unsafe(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c || code == 0x200e
	    || code == 0x200f || (code >= 0x2028 && code <= 0x202e)
	    || (code >= 0x2066 && code <= 0x2069);
}

void text_escaped_n(struct text *out, const char *bytes, size_t len)
{
	const unsigned char *at = (const unsigned char *)bytes;

	for (size_t i = 0; i < len;) {
		uint32_t code = 0;
		size_t n = utf8_sequence(at + i, len - i, &code);

		if (n > 0 && !code_is_unsafe(code)) {
			text_add(out, at + i, n);
			i += n;
			continue;
		}
		for (n = n ? n : 1; n > 0; n--, i++)
			text_printf(out, "\\x%02x", at[i]);
	}
}

void text_escaped(struct text *out, const char *string)
{
	text_escaped_n(out, string, strlen(string));
}

json_t *json_text(const char *string)
{
	struct text whole = TEXT_INIT(TEXT_CAP_DEFAULT);
	const unsigned char *at = (const unsigned char *)string;
	json_t *value;

	if (!string)
		return json_null();
	for (size_t i = 0, len = strlen(string); i < len;) {
		uint32_t code = 0;
		size_t n = utf8_sequence(at + i, len - i, &code);

		if (n)
			text_add(&whole, at + i, n);
		else
			text_puts(&whole, "\xef\xbf\xbd");
		i += n ? n : 1;
	}
	value = text_error(&whole) ? NULL : json_string(text_string(&whole));
	text_free(&whole);
	return value;
}

json_t *json_take(struct text *text)
{
	json_t *value = text_error(text) ? NULL : json_text(text_string(text));

	text_free(text);
	return value;
}

static const char *const tone_codes[] = {
	[TONE_PLAIN] = "", [TONE_BOLD] = "\033[1m", [TONE_DIM] = "\033[2m",
	[TONE_RED] = "\033[31m", [TONE_GREEN] = "\033[32m", [TONE_YELLOW] = "\033[33m",
};

static void tone_begin(struct text *out, enum tone tone)
{
	if (stdout_colour())
		text_puts(out, tone_codes[tone]);
}

static void tone_end(struct text *out, enum tone tone)
{
	if (tone != TONE_PLAIN && stdout_colour())
		text_puts(out, "\033[0m");
}

void text_toned(struct text *out, enum tone tone, const char *format, ...)
{
	struct text raw = TEXT_INIT(TEXT_CAP_DEFAULT);
	va_list args;

	va_start(args, format);
	text_vprintf(&raw, format, args);
	va_end(args);
	tone_begin(out, tone);
	text_escaped_n(out, text_string(&raw), raw.len);
	tone_end(out, tone);
	if (text_error(&raw) && !out->error)
		out->error = text_error(&raw);
	text_free(&raw);
}

/* --- diagnostics --- */

json_t *json_diagnostics(const struct diagnostics *diagnostics, const struct source_set *sources,
			 enum diagnostic_level level)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < diagnostics->list.n; i++) {
		const struct diagnostic *each = &diagnostics->list.items[i];
		json_t *object;

		if (each->level != level)
			continue;
		object = json_pack("{s:o, s:o, s:o}", "code", json_text(each->code), "message",
				   json_text(each->message), "hint", json_text(each->hint));
		if (object && each->position.source < sources->sources.n) {
			const struct source *source = &sources->sources.items[each->position.source];
			unsigned line, column;

			source_place(source, each->position.offset, &line, &column);
			json_object_set_new(object, "file", json_text(source->name));
			json_object_set_new(object, "line", json_integer(line));
			json_object_set_new(object, "column", json_integer(column));
		}
		json_array_append_new(array, object);
	}
	return array;
}

void complain_diagnostics(const struct diagnostics *diagnostics, const struct source_set *sources)
{
	struct text out = TEXT_INIT(1 << 22);

	diagnostics_print(diagnostics, sources, output_colour(STDERR_FILENO), &out);
	if (text_error(&out))
		complain("%u errors, %u warnings; no memory to show them", diagnostics->errors,
			 diagnostics->warnings);
	else
		write_all(STDERR_FILENO, text_string(&out), out.len);
	text_free(&out);
}

/* --- figures --- */

static void text_scaled(struct text *out, double value, double step, const char *const *units)
{
	unsigned i = 0;

	while (value >= step * 0.9995 && units[i + 1]) {
		value /= step;
		i++;
	}
	if (i == 0)
		text_printf(out, "%.0f%s", value, units[i]);
	else
		text_printf(out, value < 99.95 ? "%.1f%s" : "%.0f%s", value, units[i]);
}

void text_count(struct text *out, uint64_t count)
{
	static const char *const units[] = { "", "k", "M", "G", "T", "P", NULL };

	if (count < 10000)
		text_printf(out, "%u", (unsigned)count);
	else
		text_scaled(out, (double)count, 1000, units);
}

void text_bytes(struct text *out, uint64_t bytes)
{
	static const char *const units[] = { " B", " KiB", " MiB", " GiB", " TiB", " PiB", NULL };

	text_scaled(out, (double)bytes, 1024, units);
}

void text_age(struct text *out, uint64_t ns)
{
	uint64_t seconds = ns / 1000000000;

	if (!ns) /* of a clock that tells seconds */
		text_puts(out, "0s");
	else if (ns < 1000000)
		text_printf(out, "%.1f ms", (double)ns / 1e6);
	else if (seconds == 0)
		text_printf(out, "%u ms", (unsigned)(ns / 1000000));
	else if (seconds < 60)
		text_printf(out, "%us", (unsigned)seconds);
	else if (seconds < 3600)
		text_printf(out, "%um %us", (unsigned)(seconds / 60), (unsigned)(seconds % 60));
	else if (seconds < 86400)
		text_printf(out, "%uh %um", (unsigned)(seconds / 3600),
			    (unsigned)(seconds / 60 % 60));
	else
		text_printf(out, "%llud %uh", (unsigned long long)(seconds / 86400),
			    (unsigned)(seconds / 3600 % 24));
}

uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* --- tables --- */

void table_take(struct table *table, enum tone tone, struct text *text)
{
	struct table_cell cell = { .tone = tone };
	struct text escaped = TEXT_INIT(TEXT_CAP_DEFAULT);
	int err = text_error(text);

	text_escaped_n(&escaped, text_string(text), text->len);
	text_free(text);
	if (!err)
		err = text_error(&escaped);
	cell.string = escaped.len ? text_take(&escaped) : strdup("");
	text_free(&escaped);
	if (!err && !cell.string)
		err = -ENOMEM;
	if (!err)
		err = table_cells_push(&table->cells, cell);
	if (err) {
		free(cell.string);
		table->error = err;
	}
}

void table_cell(struct table *table, enum tone tone, const char *format, ...)
{
	struct text text = TEXT_INIT(TEXT_CAP_DEFAULT);
	va_list args;

	va_start(args, format);
	text_vprintf(&text, format, args);
	va_end(args);
	table_take(table, tone, &text);
}

/* Columns on a terminal, near enough: one for each character. */
static unsigned string_width(const char *string)
{
	unsigned width = 0;

	for (; *string; string++)
		width += ((unsigned char)*string & 0xc0) != 0x80;
	return width;
}

static void pad(struct text *out, unsigned n)
{
	while (n-- > 0)
		text_putc(out, ' ');
}

static void table_print_cell(const struct table *table, size_t column, enum tone tone,
			     const char *string, struct text *out)
{
	unsigned width = string_width(string);
	unsigned missing = table->widths[column] > width ? table->widths[column] - width : 0;

	if (column > 0)
		text_puts(out, "  ");
	if (table->columns[column].right)
		pad(out, missing);
	tone_begin(out, width ? tone : TONE_PLAIN);
	text_puts(out, string);
	tone_end(out, width ? tone : TONE_PLAIN);
	if (!table->columns[column].right && column + 1 < table->column_n)
		pad(out, missing);
}

/* Ends a row: blanks before the line end help nobody. */
static void table_end_row(struct text *out)
{
	while (!out->error && out->len > 0 && out->bytes[out->len - 1] == ' ')
		out->len--;
	text_putc(out, '\n');
}

static void table_measure(struct table *table, size_t rows)
{
	for (size_t column = 0; column < table->column_n; column++) {
		unsigned width = table->bare ? 0 : string_width(table->columns[column].title);

		if (width > table->widths[column])
			table->widths[column] = width;
		for (size_t row = 0; row < rows; row++) {
			width = string_width(table->cells.items[row * table->column_n + column].string);
			if (width > table->widths[column])
				table->widths[column] = width;
		}
	}
}

int table_flush(struct table *table, struct text *out)
{
	size_t rows = table->cells.n / table->column_n;

	if (table->error)
		return table->error;
	table_measure(table, rows);
	if (!table->titled && !table->bare && rows > 0) {
		for (size_t column = 0; column < table->column_n; column++)
			table_print_cell(table, column,
					 table->columns[column].title[0] ? TONE_BOLD : TONE_PLAIN,
					 table->columns[column].title, out);
		table_end_row(out);
		table->titled = true;
	}
	for (size_t i = 0; i < rows * table->column_n; i++) {
		struct table_cell *cell = &table->cells.items[i];

		table_print_cell(table, i % table->column_n, cell->tone, cell->string, out);
		if (i % table->column_n == table->column_n - 1)
			table_end_row(out);
		free(take(cell->string));
	}
	table->cells.n = 0;
	return text_error(out);
}

void table_free(struct table *table)
{
	for (size_t i = 0; i < table->cells.n; i++)
		free(table->cells.items[i].string);
	table_cells_free(&table->cells);
}
