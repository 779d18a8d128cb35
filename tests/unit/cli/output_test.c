// SPDX-License-Identifier: GPL-2.0-or-later
/* Escaping, figures, tables and JSON strings. Nothing here is a terminal, so no colour is expected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/output.h"

static void check_text(struct text *text, const char *expected)
{
	assert_int_equal(text_error(text), 0);
	assert_string_equal(text_string(text), expected);
	text_free(text);
}

static const struct {
	const char *raw, *escaped;
} escapes[] = {
	{ "", "" },
	{ "allow 22/tcp", "allow 22/tcp" },
	{ "a\033[2Jb", "a\\x1b[2Jb" },
	{ "tab\tline\nend\r", "tab\\x09line\\x0aend\\x0d" },
	{ "\177", "\\x7f" },
	{ "Grüße 日本 🙂", "Grüße 日本 🙂" },
	{ "\302\233", "\\xc2\\x9b" },		    /* CSI as one C1 character */
	{ "a\342\200\256b", "a\\xe2\\x80\\xaeb" },  /* right-to-left override */
	{ "a\342\201\246b", "a\\xe2\\x81\\xa6b" },  /* isolate */
	{ "\377\376", "\\xff\\xfe" },		    /* no UTF-8 */
	{ "\303", "\\xc3" },			    /* cut off */
	{ "\300\200", "\\xc0\\x80" },		    /* overlong NUL */
	{ "\340\200\257", "\\xe0\\x80\\xaf" },	    /* overlong '/' */
	{ "\355\240\200", "\\xed\\xa0\\x80" },	    /* surrogate */
	{ "\364\220\200\200", "\\xf4\\x90\\x80\\x80" }, /* beyond Unicode */
	{ "\303(x", "\\xc3(x" },		    /* the byte behind a broken one stays */
};

static void test_escaped(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++) {
		struct text text = TEXT_INIT(1 << 12);

		text_escaped(&text, escapes[i].raw);
		check_text(&text, escapes[i].escaped);
	}
}

static void test_escaped_nul(void **state)
{
	struct text text = TEXT_INIT(1 << 12);

	(void)state;
	text_escaped_n(&text, "a\0b", 3);
	check_text(&text, "a\\x00b");
}

static void test_toned_escapes(void **state)
{
	struct text text = TEXT_INIT(1 << 12);

	(void)state;
	text_toned(&text, TONE_RED, "x %s y", "\033[31m");
	check_text(&text, "x \\x1b[31m y");
}

static const struct {
	void (*add)(struct text *out, uint64_t value);
	uint64_t value;
	const char *text;
} figures[] = {
	{ text_count, 0, "0" },
	{ text_count, 9999, "9999" },
	{ text_count, 10000, "10.0k" },
	{ text_count, 123456, "123k" },
	{ text_count, 999949, "1.0M" },
	{ text_count, 1234567, "1.2M" },
	{ text_count, UINT64_MAX, "18447P" },
	{ text_bytes, 0, "0 B" },
	{ text_bytes, 1023, "1023 B" },
	{ text_bytes, 1024, "1.0 KiB" },
	{ text_bytes, 1536, "1.5 KiB" },
	{ text_bytes, 1048576, "1.0 MiB" },
	{ text_bytes, 5368709120, "5.0 GiB" },
	{ text_age, 0, "0s" },
	{ text_age, 100000, "0.1 ms" },
	{ text_age, 123456, "0.1 ms" },
	{ text_age, 12000000, "12 ms" },
	{ text_age, 999999999, "999 ms" },
	{ text_age, 1000000000, "1s" },
	{ text_age, 59999999999, "59s" },
	{ text_age, 60000000000, "1m 0s" },
	{ text_age, 3599000000000, "59m 59s" },
	{ text_age, 3600000000000, "1h 0m" },
	{ text_age, 90061000000000, "1d 1h" },
};

static void test_figures(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
		struct text text = TEXT_INIT(1 << 12);

		figures[i].add(&text, figures[i].value);
		check_text(&text, figures[i].text);
	}
}

static const struct table_column columns[] = { { "NAME" }, { "N", true }, { "WHAT" } };

static void test_table(void **state)
{
	struct table table = TABLE_INIT(columns);
	struct text out = TEXT_INIT(1 << 12);

	(void)state;
	table_cell(&table, TONE_PLAIN, "%s", "a");
	table_cell(&table, TONE_PLAIN, "%d", 7);
	table_cell(&table, TONE_RED, "short");
	table_cell(&table, TONE_PLAIN, "grün");
	table_cell(&table, TONE_PLAIN, "%d", 1234);
	table_cell(&table, TONE_PLAIN, "x\ny");
	assert_int_equal(table_flush(&table, &out), 0);
	check_text(&out, "NAME     N  WHAT\n"
			 "a        7  short\n"
			 "grün  1234  x\\x0ay\n");
	/* A second portion has no titles and keeps the widths. */
	table_cell(&table, TONE_PLAIN, "b");
	table_cell(&table, TONE_PLAIN, "1");
	table_cell(&table, TONE_PLAIN, "%s", "");
	assert_int_equal(table_flush(&table, &out), 0);
	check_text(&out, "b        1\n");
	table_free(&table);
}

static void test_table_empty(void **state)
{
	struct table table = TABLE_INIT(columns);
	struct text out = TEXT_INIT(1 << 12);

	(void)state;
	assert_int_equal(table_flush(&table, &out), 0);
	check_text(&out, "");
	table_free(&table);
}

static void check_json_string(json_t *value, const char *expected)
{
	assert_non_null(value);
	if (expected)
		assert_string_equal(json_string_value(value), expected);
	else
		assert_true(json_is_null(value));
	json_decref(value);
}

static void test_json_text(void **state)
{
	(void)state;
	check_json_string(json_text(NULL), NULL);
	check_json_string(json_text(""), "");
	check_json_string(json_text("wan -> self"), "wan -> self");
	check_json_string(json_text("a\377b"), "a\xef\xbf\xbd" "b");
	check_json_string(json_text("\033"), "\033");
}

static void test_json_diagnostics(void **state)
{
	struct diagnostics diagnostics = { 0 };
	struct source_set sources = { 0 };
	uint32_t index;
	json_t *array, *first;

	(void)state;
	assert_int_equal(source_set_add(&sources, "x.reeve", "one\ntwo\n", 8, &index), 0);
	diagnose(&diagnostics, DIAGNOSTIC_ERROR, (struct position){ index, 5, 2 }, "some-code",
		 "do this", "wrong `%s`", "wo");
	diagnose(&diagnostics, DIAGNOSTIC_WARNING, (struct position){ POSITION_NONE, 0, 1 },
		 "other-code", NULL, "beware");
	array = json_diagnostics(&diagnostics, &sources, DIAGNOSTIC_ERROR);
	assert_int_equal(json_array_size(array), 1);
	first = json_array_get(array, 0);
	assert_string_equal(json_string_value(json_object_get(first, "file")), "x.reeve");
	assert_int_equal(json_integer_value(json_object_get(first, "line")), 2);
	assert_int_equal(json_integer_value(json_object_get(first, "column")), 2);
	assert_string_equal(json_string_value(json_object_get(first, "code")), "some-code");
	assert_string_equal(json_string_value(json_object_get(first, "message")), "wrong `wo`");
	assert_string_equal(json_string_value(json_object_get(first, "hint")), "do this");
	json_decref(array);
	array = json_diagnostics(&diagnostics, &sources, DIAGNOSTIC_WARNING);
	assert_int_equal(json_array_size(array), 1);
	assert_null(json_object_get(json_array_get(array, 0), "line"));
	json_decref(array);
	diagnostics_free(&diagnostics);
	source_set_free(&sources);
}

static void test_no_colour(void **state)
{
	int pipe_ends[2];

	(void)state;
	assert_int_equal(pipe(pipe_ends), 0);
	setenv("TERM", "xterm", 1);
	unsetenv("NO_COLOR");
	assert_false(output_colour(pipe_ends[1]));
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escaped),	      cmocka_unit_test(test_escaped_nul),
		cmocka_unit_test(test_toned_escapes), cmocka_unit_test(test_figures),
		cmocka_unit_test(test_table),	      cmocka_unit_test(test_table_empty),
		cmocka_unit_test(test_json_text),     cmocka_unit_test(test_json_diagnostics),
		cmocka_unit_test(test_no_colour),
	};

	return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
