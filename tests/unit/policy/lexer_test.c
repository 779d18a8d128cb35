// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "policy/lexer.h"

#define BYTES(string) string, sizeof(string) - 1

/*
 * One letter a token: w word, s string, n newline, $ end, x bad, - arrow, l <=, g >=; symbols are
 * themselves.
 */
static const char letters[] = {
	[TOKEN_END] = '$',	    [TOKEN_NEWLINE] = 'n',	 [TOKEN_SEMICOLON] = ';',
	[TOKEN_WORD] = 'w',	    [TOKEN_STRING] = 's',	 [TOKEN_OPEN] = '{',
	[TOKEN_CLOSE] = '}',	    [TOKEN_COMMA] = ',',	 [TOKEN_SLASH] = '/',
	[TOKEN_EQUAL] = '=',	    [TOKEN_NOT] = '!',		 [TOKEN_AT] = '@',
	[TOKEN_BRACKET_OPEN] = '[', [TOKEN_BRACKET_CLOSE] = ']', [TOKEN_LESS] = '<',
	[TOKEN_LESS_EQUAL] = 'l',   [TOKEN_GREATER] = '>',	 [TOKEN_GREATER_EQUAL] = 'g',
	[TOKEN_ARROW] = '-',	    [TOKEN_BAD] = 'x',
};

static const struct {
	const char *text;
	size_t len;
	const char *tokens;
	unsigned errors;
} kind_rows[] = {
	{ BYTES(""), "$", 0 },
	{ BYTES("\n"), "n$", 0 },
	{ BYTES("a"), "wn$", 0 },
	{ BYTES("a\n"), "wn$", 0 },
	{ BYTES("# only"), "n$", 0 },
	{ BYTES("wan -> self"), "w-wn$", 0 },
	{ BYTES("wan->self"), "w-wn$", 0 },
	{ BYTES("wan-> self"), "w-wn$", 0 },
	{ BYTES("lan-2->dmz--3"), "w-wn$", 0 },
	{ BYTES("22/tcp"), "w/wn$", 0 },
	{ BYTES("{ 80, 443 }/tcp;"), "{w,w}/w;n$", 0 },
	{ BYTES("198.51.100.7-198.51.100.20"), "wn$", 0 },
	{ BYTES("2001:db8:5::/64"), "w/wn$", 0 },
	{ BYTES("[::1]:80"), "[w]wn$", 0 },
	{ BYTES("!@set = <5 <= 6>= >"), "!@w=<wlwg>n$", 0 },
	{ BYTES("\"a # b\" # c"), "sn$", 0 },
	{ BYTES("\"a\\\"b\""), "sn$", 0 },
	{ BYTES("a\r\nb\r\n"), "wnwn$", 0 },
	{ BYTES("a\r"), "wn$", 0 },
	{ BYTES("\xef\xbb\xbf"
		"a"),
	  "wn$", 0 },
	{ BYTES("a # \xff\xfe\n"), "wn$", 0 },
	{ BYTES("\"\xc3\xa4\""), "sn$", 0 },
	{ BYTES("a\rb"), "wxwn$", 1 },
	{ BYTES("a \xef\xbb\xbf"), "wxn$", 1 },
	{ BYTES("\"abc"), "xn$", 1 },
	{ BYTES("\"abc\nx"), "xnwn$", 1 },
	{ BYTES("\"abc\\"), "xn$", 1 },
	{ BYTES("\"\xff\""), "xn$", 1 },
	{ BYTES("\"\xed\xa0\x80\""), "xn$", 1 },
	{ BYTES("\"a\tb\""), "xn$", 1 },
	{ BYTES("\xc3\xa4"), "xn$", 1 },
	{ BYTES("\xff\xff"), "xxn$", 2 },
	{ BYTES("a\0\0\0b"), "wxwn$", 1 },
	{ BYTES("a # \0 c\n"), "wn$", 1 },
	{ BYTES("80 - 90"), "wxwn$", 1 },
	{ BYTES("80 -"), "wxn$", 1 },
	{ BYTES("a---->b"), "wx-wn$", 1 },
	{ BYTES("vlan*"), "wxn$", 1 },
};

static void lex(const char *text, size_t len, struct text *kinds, unsigned *errors)
{
	struct source_set sources = { 0 };
	struct diagnostics diagnostics = { 0 };
	struct lexer lexer;
	struct token token;
	uint32_t source;

	assert_int_equal(source_set_add(&sources, "test", text, len, &source), 0);
	lexer_init(&lexer, &sources, source, &diagnostics);
	do {
		lexer_next(&lexer, &token);
		text_putc(kinds, letters[token.kind]);
		assert_true(token.position.length >= 1);
		assert_true(token.position.offset <= len);
	} while (token.kind != TOKEN_END);
	*errors = diagnostics.errors;
	diagnostics_free(&diagnostics);
	source_set_free(&sources);
}

static void test_kinds(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(kind_rows) / sizeof(*kind_rows); i++) {
		struct text kinds = TEXT_INIT(0);
		unsigned errors;

		lex(kind_rows[i].text, kind_rows[i].len, &kinds, &errors);
		if (strcmp(text_string(&kinds), kind_rows[i].tokens) != 0 ||
		    errors != kind_rows[i].errors)
			fail_msg("row %zu `%s`: %s with %u errors, expected %s with %u", i,
				 kind_rows[i].text, text_string(&kinds), errors,
				 kind_rows[i].tokens, kind_rows[i].errors);
		text_free(&kinds);
	}
}

/* Where tokens stand, and what hangs on them. */
static void test_places(void **state)
{
	static const char text[] = "  a b\t# why  \n\n#no\n\"c\\\"\"";
	struct source_set sources = { 0 };
	struct diagnostics diagnostics = { 0 };
	struct lexer lexer;
	struct token token;
	uint32_t source;

	(void)state;
	assert_int_equal(source_set_add(&sources, "test", BYTES(text), &source), 0);
	lexer_init(&lexer, &sources, source, &diagnostics);
	lexer_next(&lexer, &token);
	assert_true(token.first_on_line && token.position.offset == 2);
	lexer_next(&lexer, &token);
	assert_true(!token.first_on_line && token.space_before && token.position.offset == 4);
	lexer_next(&lexer, &token);
	assert_true(token.kind == TOKEN_NEWLINE && !token.first_on_line);
	assert_int_equal(token.comment_len, 3);
	assert_memory_equal(token.comment, "why", 3);
	lexer_next(&lexer, &token);
	assert_true(token.kind == TOKEN_NEWLINE && token.first_on_line && !token.comment);
	lexer_next(&lexer, &token);
	assert_true(token.kind == TOKEN_NEWLINE && token.first_on_line);
	assert_memory_equal(token.comment, "no", 2);
	lexer_next(&lexer, &token);
	assert_int_equal(token.kind, TOKEN_STRING);
	assert_int_equal(token.len, 3);
	assert_int_equal(token.position.offset, 19);
	assert_int_equal(token.position.length, 5);
	diagnostics_free(&diagnostics);
	source_set_free(&sources);
}

static void test_names(void **state)
{
	static const struct {
		const char *name;
		bool plain;
	} rows[] = {
		{ "wan", true },  { "eth0.5", true }, { "a-b", true }, { "_", true },
		{ "", false },	  { "-a", false },    { "a-", false }, { "a b", false },
		{ "a:b", false }, { "a*", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_int_equal(name_is_plain(rows[i].name, strlen(rows[i].name)), rows[i].plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
