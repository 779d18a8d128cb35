// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/diagnostic.h"

struct fixture {
	struct source_set sources;
	struct diagnostics diagnostics;
};

static void fixture_init(struct fixture *fixture, const char *text)
{
	uint32_t index;

	*fixture = (struct fixture){ 0 };
	assert_int_equal(source_set_add(&fixture->sources, "x.reeve", text, strlen(text), &index),
			 0);
}

static void check_print(struct fixture *fixture, int colour, const char *expected)
{
	struct text out = TEXT_INIT(0);

	diagnostics_print(&fixture->diagnostics, &fixture->sources, colour, &out);
	assert_int_equal(text_error(&out), 0);
	assert_string_equal(text_string(&out), expected);
	text_free(&out);
	diagnostics_free(&fixture->diagnostics);
	source_set_free(&fixture->sources);
}

static struct position at(uint32_t offset, uint32_t length)
{
	return (struct position){ 0, offset, length };
}

static void test_print(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, "a\n\tallow htp from @x\nlast");
	diagnose(&f.diagnostics, DIAGNOSTIC_WARNING, at(21, 4), "w", NULL, "second");
	diagnose(&f.diagnostics, DIAGNOSTIC_ERROR, at(9, 3), "e", "did you mean `http`?",
		 "unknown service `%s`", "htp");
	diagnose(&f.diagnostics, DIAGNOSTIC_NOTE, (struct position){ POSITION_NONE, 0, 1 }, "n",
		 "hint", "nowhere");
	check_print(&f, 0,
		    "x.reeve:2:8: error: unknown service `htp`\n"
		    "    allow htp from @x\n"
		    "          ^~~ did you mean `http`?\n"
		    "x.reeve:3:1: warning: second\n"
		    "    last\n"
		    "    ^~~~\n"
		    "note: nowhere\n"
		    "    hint\n");
}

static void test_end_of_line(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, "abc\r\nd");
	diagnose(&f.diagnostics, DIAGNOSTIC_ERROR, at(3, 2), "e", NULL, "x");
	diagnose(&f.diagnostics, DIAGNOSTIC_ERROR, at(6, 1), "e", NULL, "y");
	diagnose(&f.diagnostics, DIAGNOSTIC_ERROR, at(600, 1), "e", NULL, "z");
	check_print(&f, 0,
		    "x.reeve:1:4: error: x\n    abc\n       ^\n"
		    "x.reeve:2:2: error: y\n    d\n     ^\n"
		    "x.reeve:2:2: error: z\n    d\n     ^\n");
}

/* A terminal gets no control characters, and the caret stands under what is seen. */
static void test_unprintable(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, "\033[1m\tb\xff\xc3\xa4 word\xc2\x9b");
	diagnose(&f.diagnostics, DIAGNOSTIC_ERROR, at(10, 4), "e", "a\nb", "bad `\033`");
	check_print(&f, 0,
		    "x.reeve:1:11: error: bad `?`\n"
		    "    ?[1m b?\xc3\xa4 word??\n"
		    "             ^~~~ a?b\n");
}

static void test_colour(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, "abc");
	diagnose(&f.diagnostics, DIAGNOSTIC_ERROR, at(1, 1), "e", NULL, "x");
	check_print(&f, 1,
		    "\033[1mx.reeve:1:2:\033[0m \033[1;31merror:\033[0m x\n"
		    "    abc\n     \033[1;32m^\033[0m\n");
}

/* Long lines are cut around the caret, at whole characters. */
static void test_long_lines(void **state)
{
	static const uint32_t offsets[] = { 0, 50, 99, 100, 101, 1000, 1500, 1999 };

	(void)state;
	for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		struct text out = TEXT_INIT(0);
		const char *line, *caret;
		char text[2001];
		struct fixture f;

		for (size_t c = 0; c < 2000; c += 2)
			memcpy(text + c, "\xc3\xa4", 2);
		memcpy(text + (offsets[i] & ~1u), "XY", 2);
		text[2000] = '\0';
		fixture_init(&f, text);
		diagnose(&f.diagnostics, DIAGNOSTIC_ERROR, at(offsets[i] & ~1u, 1), "e", NULL, "x");
		diagnostics_print(&f.diagnostics, &f.sources, 0, &out);
		line = strchr(text_string(&out), '\n') + 1;
		caret = strchr(line, '\n') + 1;
		assert_true(caret - line < 120);
		assert_null(strchr(line, '?'));
		/* The X above the caret: count characters. */
		for (const char *x = line; *x != 'X'; x++) {
			if ((*x & 0xc0) != 0x80)
				assert_int_equal(*caret++, ' ');
		}
		assert_int_equal(*caret, '^');
		text_free(&out);
		diagnostics_free(&f.diagnostics);
		source_set_free(&f.sources);
	}
}

static void test_counts(void **state)
{
	struct text out = TEXT_INIT(0);
	struct fixture f;
	size_t errors = 0;

	(void)state;
	fixture_init(&f, "abc");
	for (int i = 0; i < 500; i++)
		diagnose(&f.diagnostics, DIAGNOSTIC_WARNING, at(0, 1), "w", NULL, "w%d", i);
	for (int i = 0; i < 50; i++)
		diagnose(&f.diagnostics, DIAGNOSTIC_ERROR, at(1, 1), "e", NULL, "e%d", i);
	assert_int_equal(f.diagnostics.errors, 50);
	assert_int_equal(f.diagnostics.warnings, 500);
	assert_int_equal(f.diagnostics.list.n, 200);
	for (size_t i = 0; i < f.diagnostics.list.n; i++)
		errors += f.diagnostics.list.items[i].level == DIAGNOSTIC_ERROR;
	assert_int_equal(errors, 50);
	diagnostics_print(&f.diagnostics, &f.sources, 0, &out);
	assert_non_null(strstr(text_string(&out), "error: e19\n"));
	assert_null(strstr(text_string(&out), "error: e20\n"));
	assert_non_null(strstr(text_string(&out), "and 30 more errors, not shown\n"));
	assert_non_null(strstr(text_string(&out), "and 480 more warnings, not shown\n"));
	text_free(&out);
	diagnostics_free(&f.diagnostics);
	source_set_free(&f.sources);
}

static void test_nearest_word(void **state)
{
	static const char *const words[] = { "http", "https", "allow", "drop", "destination", "id" };
	static const struct {
		const char *word, *nearest;
	} rows[] = {
		{ "htp", "http" },
		{ "htpt", "http" },
		{ "HTTPS", "https" },
		{ "alow", "allow" },
		{ "allow", "allow" },
		{ "lalow", "allow" },
		{ "drpo", "drop" },
		{ "destnation", "destination" },
		{ "desstinatoin", "destination" },
		{ "xyz", NULL },
		{ "dddd", NULL },
		{ "a", NULL },
		{ "", NULL },
		{ "alphabet", NULL },
		{ "di", "id" },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *found = nearest_word(rows[i].word, words, 6);

		if (found ? !rows[i].nearest || strcmp(found, rows[i].nearest) : !!rows[i].nearest)
			fail_msg("`%s`: %s", rows[i].word, found ? found : "none");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_print),	     cmocka_unit_test(test_end_of_line),
		cmocka_unit_test(test_unprintable),  cmocka_unit_test(test_colour),
		cmocka_unit_test(test_long_lines),   cmocka_unit_test(test_counts),
		cmocka_unit_test(test_nearest_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
