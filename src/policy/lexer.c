// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/lexer.h"

#include <stdio.h>
#include <string.h>

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* Characters that people paste in place of others. */
static const struct lookalike {
	const char *bytes, *hint;
} lookalikes[] = {
	{ "\xc2\xa0", "this is a no-break space: write an ordinary one" },
	{ "\xe2\x80\x8b", "this is an invisible space: take it out" },
	{ BYTE_ORDER_MARK, "a byte order mark stands only at the head of a file" },
	{ "\xe2\x80\x9c", "quotes are written \"" },
	{ "\xe2\x80\x9d", "quotes are written \"" },
	{ "\xe2\x80\x98", "quotes are written \"" },
	{ "\xe2\x80\x99", "quotes are written \"" },
	{ "\xe2\x86\x92", "an arrow is written `->`" },
	{ "\xe2\x80\x93", "a range is written with a plain `-`" },
	{ "\xe2\x80\x94", "a range is written with a plain `-`" },
	{ "'", "quotes are written \"" },
	{ "*", "quote a pattern: \"vlan*\"" },
	{ "?", "quote a pattern: \"vlan?\"" },
	{ "-", "a range is written without spaces: `80-90`" },
	{ "(", "lists are written in braces: `{ a, b }`" },
	{ "$", "a set is written `@name`" },
	{ "+", "quote a name with unusual characters" },
	{ "%", "quote a name with unusual characters" },
};

static const struct {
	char bytes[3];
	enum token_kind kind;
} symbols[] = {
	/* Two characters come before one. */
	{ "->", TOKEN_ARROW },	      { "<=", TOKEN_LESS_EQUAL }, { ">=", TOKEN_GREATER_EQUAL },
	{ ";", TOKEN_SEMICOLON },     { "{", TOKEN_OPEN },	  { "}", TOKEN_CLOSE },
	{ ",", TOKEN_COMMA },	      { "/", TOKEN_SLASH },	  { "=", TOKEN_EQUAL },
	{ "!", TOKEN_NOT },	      { "@", TOKEN_AT },	  { "[", TOKEN_BRACKET_OPEN },
	{ "]", TOKEN_BRACKET_CLOSE }, { "<", TOKEN_LESS },	  { ">", TOKEN_GREATER },
};

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '.';
}

static bool is_word_char(char c)
{
	return is_name_char(c) || c == ':';
}

bool name_is_plain(const char *name, size_t len)
{
	if (!len || name[0] == '-' || name[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!is_name_char(name[i]) && name[i] != '-')
			return false;
	}
	return true;
}

/* Bytes of the well-formed UTF-8 character at `s` (RFC 3629), or 0. */
static size_t utf8_len(const char *s, size_t len)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t n = u[0] < 0x80 ? 1 :
		   u[0] < 0xc2 ? 0 :
		   u[0] < 0xe0 ? 2 :
		   u[0] < 0xf0 ? 3 :
		   u[0] < 0xf5 ? 4 :
				 0;

	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] >= 0xa0) ||
	    (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] >= 0x90))
		return 0;
	return n;
}

bool text_is_printable(const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = utf8_len(text + i, len - i);
		unsigned char c = (unsigned char)text[i];

		if (!n || c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0))
			return false;
		i += n;
	}
	return true;
}

void lexer_init(struct lexer *lexer, const struct source_set *sources, uint32_t source,
		struct diagnostics *diagnostics)
{
	const struct source *text = &sources->sources.items[source];

	*lexer = (struct lexer){
		.text = text->text,
		.len = text->len,
		.source = source,
		.line_start = true,
		.diagnostics = diagnostics,
	};
	if (text->len >= 3 && memcmp(text->text, BYTE_ORDER_MARK, 3) == 0)
		lexer->at = 3;
}

static void report(const struct lexer *lexer, size_t offset, size_t len, const char *code,
		   const char *hint, const char *message)
{
	struct position position = { lexer->source, (uint32_t)offset, (uint32_t)len };

	if (!lexer->quiet)
		diagnose(lexer->diagnostics, DIAGNOSTIC_ERROR, position, code, hint, "%s", message);
}

static void set_token(const struct lexer *lexer, struct token *token, enum token_kind kind,
		      size_t start, size_t end)
{
	token->kind = kind;
	token->start = lexer->text + start;
	token->len = (uint32_t)(end - start);
	token->position = (struct position){
		.source = lexer->source,
		.offset = (uint32_t)start,
		.length = end > start ? (uint32_t)(end - start) : 1,
	};
}

/* Blanks, and carriage returns that stand before a newline or the end. */
static size_t skip_blanks(const struct lexer *lexer, size_t at)
{
	for (;;) {
		size_t end = at;

		while (at < lexer->len && (lexer->text[at] == ' ' || lexer->text[at] == '\t'))
			at++;
		end = at;
		while (end < lexer->len && lexer->text[end] == '\r')
			end++;
		if (end > at && (end == lexer->len || lexer->text[end] == '\n'))
			return end;
		return at;
	}
}

static bool is_trailing_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* A comment from its `#` to the end of the line; the end of it is returned. */
static size_t lex_comment(struct lexer *lexer, struct token *token)
{
	const char *newline = memchr(lexer->text + lexer->at, '\n', lexer->len - lexer->at);
	size_t end = newline ? (size_t)(newline - lexer->text) : lexer->len;
	size_t start = lexer->at + 1, last = end;
	const char *nul = memchr(lexer->text + lexer->at, '\0', end - lexer->at);

	if (nul)
		report(lexer, (size_t)(nul - lexer->text), 1, "encoding", "is this a text file?",
		       "NUL byte in a comment");
	if (start < end && (lexer->text[start] == ' ' || lexer->text[start] == '\t'))
		start++;
	while (last > start && is_trailing_blank(lexer->text[last - 1]))
		last--;
	if (!nul) {
		token->comment = lexer->text + start;
		token->comment_len = (uint32_t)(last - start);
	}
	return end;
}

static void lex_word(struct lexer *lexer, struct token *token)
{
	size_t start = lexer->at, at = start;

	for (;;) {
		size_t run;

		while (at < lexer->len && is_word_char(lexer->text[at]))
			at++;
		/* `-` belongs to the word only when the word goes on behind it. */
		run = at;
		while (run < lexer->len && lexer->text[run] == '-')
			run++;
		if (run == at || run == lexer->len || !is_word_char(lexer->text[run]))
			break;
		at = run;
	}
	set_token(lexer, token, TOKEN_WORD, start, at);
	lexer->at = at;
}

static void lex_string(struct lexer *lexer, struct token *token)
{
	size_t start = lexer->at + 1, at = start;
	const char *text = lexer->text;

	while (at < lexer->len && text[at] != '"' && text[at] != '\n') {
		if (text[at] == '\\' && at + 1 < lexer->len && text[at + 1] != '\n')
			at++;
		at++;
	}
	if (at >= lexer->len || text[at] == '\n') {
		at = at < lexer->len ? at : lexer->len;
		report(lexer, start - 1, 1, "bad-string", "close it with \" on the same line",
		       "this text has no end");
		set_token(lexer, token, TOKEN_BAD, start - 1, at);
		lexer->at = at;
		return;
	}
	lexer->at = at + 1;
	if (text_is_printable(text + start, at - start)) {
		set_token(lexer, token, TOKEN_STRING, start, at);
		/* The quotes are underlined too. */
		token->position.offset--;
		token->position.length = (uint32_t)(at - start) + 2;
		return;
	}
	report(lexer, start - 1, at - start + 2, "encoding", "a text is printable UTF-8",
	       "text with control characters or broken UTF-8");
	set_token(lexer, token, TOKEN_BAD, start - 1, at + 1);
}

/* What no token begins with: said once for a whole run of it. */
static void lex_bad(struct lexer *lexer, struct token *token)
{
	const char *s = lexer->text + lexer->at, *hint = NULL;
	size_t rest = lexer->len - lexer->at, n = utf8_len(s, rest), run = n ? n : 1;
	char message[64];

	for (size_t i = 0; i < sizeof(lookalikes) / sizeof(*lookalikes); i++) {
		size_t len = strlen(lookalikes[i].bytes);

		if (len <= rest && memcmp(s, lookalikes[i].bytes, len) == 0) {
			hint = lookalikes[i].hint;
			break;
		}
	}
	if (*s == '\0' || *s == '-' || *s == '\r')
		while (run < rest && s[run] == *s &&
		       !(*s == '-' && run + 1 < rest && s[run + 1] == '>'))
			run++;
	if (*s == '\0')
		snprintf(message, sizeof(message), "NUL byte%s", run > 1 ? "s" : "");
	else if (!n)
		snprintf(message, sizeof(message), "byte 0x%02x is not UTF-8", (unsigned char)*s);
	else if (!text_is_printable(s, n))
		snprintf(message, sizeof(message), "control character 0x%02x",
			 (unsigned char)s[n - 1]);
	else
		snprintf(message, sizeof(message), "unexpected character `%.*s`", (int)n, s);
	if (*s == '\0')
		hint = "is this a text file?";
	report(lexer, lexer->at, run, n && *s ? "bad-character" : "encoding", hint, message);
	set_token(lexer, token, TOKEN_BAD, lexer->at, lexer->at + run);
	lexer->at += run;
}

static bool lex_symbol(struct lexer *lexer, struct token *token)
{
	for (size_t i = 0; i < sizeof(symbols) / sizeof(*symbols); i++) {
		size_t len = strlen(symbols[i].bytes);

		if (len <= lexer->len - lexer->at &&
		    memcmp(lexer->text + lexer->at, symbols[i].bytes, len) == 0) {
			set_token(lexer, token, symbols[i].kind, lexer->at, lexer->at + len);
			lexer->at += len;
			return true;
		}
	}
	return false;
}

void lexer_next(struct lexer *lexer, struct token *token)
{
	size_t before = lexer->at;

	*token = (struct token){ .first_on_line = lexer->line_start };
	lexer->at = skip_blanks(lexer, lexer->at);
	token->space_before = lexer->at > before || lexer->line_start;
	if (lexer->at < lexer->len && lexer->text[lexer->at] == '#')
		lexer->at = lex_comment(lexer, token);
	if (lexer->at >= lexer->len) {
		/* The last line ends, even without a newline, before the text does. */
		set_token(lexer, token,
			  lexer->line_start && !token->comment ? TOKEN_END : TOKEN_NEWLINE,
			  lexer->len, lexer->len);
		lexer->line_start = true;
		return;
	}
	if (lexer->text[lexer->at] == '\n') {
		set_token(lexer, token, TOKEN_NEWLINE, lexer->at, lexer->at + 1);
		lexer->at++;
		lexer->line_start = true;
		return;
	}
	lexer->line_start = false;
	if (is_word_char(lexer->text[lexer->at]))
		lex_word(lexer, token);
	else if (lexer->text[lexer->at] == '"')
		lex_string(lexer, token);
	else if (!lex_symbol(lexer, token))
		lex_bad(lexer, token);
}
