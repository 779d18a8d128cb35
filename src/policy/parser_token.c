// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/parser_state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- tokens ------------------------------------------------------------- */

void advance(struct parser *parser)
{
	if (parser->token.kind == TOKEN_NEWLINE)
		parser->lines++;
	else
		parser->end = parser->token.position.offset + parser->token.position.length;
	lexer_next(&parser->lexer, &parser->token);
}

bool token_is_word(const struct token *token, const char *word)
{
	return token->kind == TOKEN_WORD && strlen(word) == token->len &&
	       memcmp(token->start, word, token->len) == 0;
}

bool at_word(const struct parser *parser, const char *word)
{
	return token_is_word(&parser->token, word);
}

bool at_kind(const struct parser *parser, enum token_kind kind)
{
	return parser->token.kind == kind;
}

struct token peek(const struct parser *parser)
{
	struct lexer ahead = parser->lexer;
	struct token token;

	ahead.quiet = true;
	lexer_next(&ahead, &token);
	return token;
}

bool accept_word(struct parser *parser, const char *word)
{
	if (!at_word(parser, word))
		return false;
	advance(parser);
	return true;
}

bool accept_kind(struct parser *parser, enum token_kind kind)
{
	if (!at_kind(parser, kind))
		return false;
	advance(parser);
	return true;
}

struct position span_from(const struct parser *parser, uint32_t start)
{
	struct position position = { parser->lexer.source, start, 1 };

	if (parser->end > start)
		position.length = parser->end - start;
	return position;
}

/* --- errors ------------------------------------------------------------- */

int fail(struct parser *parser, struct position position, const char *code, const char *hint,
	 const char *format, ...)
{
	char message[256];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	diagnose(parser->diagnostics, DIAGNOSTIC_ERROR, position, code, hint, "%s", message);
	return -EINVAL;
}

const char *shown(const struct token *token, char *buffer)
{
	size_t max = SHOWN_LEN - 8, len = token->len < max ? token->len : max;
	const char *mark = token->kind == TOKEN_STRING ? "\"" : "";

	if (token->kind == TOKEN_NEWLINE)
		return "the end of the line";
	if (token->kind == TOKEN_END)
		return "the end of the text";
	while (len < token->len && len && (token->start[len] & 0xc0) == 0x80)
		len--;
	snprintf(buffer, SHOWN_LEN, "`%s%.*s%s%s`", mark, (int)len, token->start,
		 len < token->len ? "..." : "", mark);
	return buffer;
}

const char *did_you_mean(const char *x, char *buffer, size_t len)
{
	if (!x)
		return NULL;
	snprintf(buffer, len, "did you mean `%s`?", x);
	return buffer;
}

int expected(struct parser *parser, const char *what, const char *hint)
{
	char buffer[SHOWN_LEN];

	if (at_kind(parser, TOKEN_BAD))
		return -EINVAL;
	return fail(parser, parser->token.position, "syntax", hint, "expected %s, found %s", what,
		    shown(&parser->token, buffer));
}

int bad_token(struct parser *parser, const char *code, const char *hint, const char *what)
{
	char buffer[SHOWN_LEN];

	if (at_kind(parser, TOKEN_BAD))
		return -EINVAL;
	return fail(parser, parser->token.position, code, hint, "%s %s",
		    shown(&parser->token, buffer), what);
}

/* "one of `a`, `b`" in `buffer`, as many as there is room for. */
static void one_of(const char *const *words, size_t n, char *buffer, size_t len)
{
	size_t used = (size_t)snprintf(buffer, len, "one of");

	for (size_t i = 0; i < n && used + strlen(words[i]) + 10 < len; i++)
		used += (size_t)snprintf(buffer + used, len - used, "%s `%s`", i ? "," : "",
					 words[i]);
	if (n && !strstr(buffer, words[n - 1]))
		snprintf(buffer + used, len - used, ", ...");
}

int unknown_word(struct parser *parser, const char *what, const char *const *words, size_t n)
{
	char buffer[SHOWN_LEN], word[SHOWN_LEN], hint[160], article[SHOWN_LEN];
	const struct token *token = &parser->token;

	if (token->kind != TOKEN_WORD) {
		snprintf(article, sizeof(article), "%s %s",
			 what[0] && strchr("aeiou", what[0]) ? "an" : "a", what);
		return expected(parser, article, NULL);
	}
	snprintf(word, sizeof(word), "%.*s", token->len < 60 ? (int)token->len : 60, token->start);
	if (!did_you_mean(nearest_word(word, words, n), hint, sizeof(hint)))
		one_of(words, n, hint, sizeof(hint));
	return fail(parser, token->position, "unknown-word", hint, "unknown %s %s", what,
		    shown(token, buffer));
}

/* --- words and numbers -------------------------------------------------- */

/* The text of a string token without its escapes, or of a word. */
static int unescape(struct parser *parser, const struct token *token, const char **text)
{
	char *copy = arena_alloc(parser->arena, (size_t)token->len + 1);
	size_t n = 0;

	if (!copy)
		return -ENOMEM;
	for (uint32_t i = 0; i < token->len; i++) {
		char c = token->start[i];

		if (token->kind == TOKEN_STRING && c == '\\') {
			c = token->start[++i];
			if (c != '"' && c != '\\')
				return fail(parser, token->position, "bad-string",
					    "write `\\\\` for one backslash",
					    "unknown escape `\\%c` in a text", c);
		}
		copy[n++] = c;
	}
	*text = copy;
	return 0;
}

static int take_word(struct parser *parser, struct tree_word *word)
{
	const char *text = NULL;
	int err = unescape(parser, &parser->token, &text);

	if (err)
		return err;
	*word = (struct tree_word){
		.text = text,
		.position = parser->token.position,
		.quoted = at_kind(parser, TOKEN_STRING),
	};
	advance(parser);
	return 0;
}

int parse_name(struct parser *parser, const char *what, struct tree_word *word)
{
	const struct token *token = &parser->token;

	if (token->kind != TOKEN_WORD && token->kind != TOKEN_STRING)
		return expected(parser, what, NULL);
	if (token->len > NAME_LEN_MAX)
		return bad_token(parser, "bad-name", "a name has at most 63 bytes", "is too long");
	if (!token->len)
		return bad_token(parser, "bad-name", NULL, "is an empty name");
	if (token->kind == TOKEN_WORD && !name_is_plain(token->start, token->len))
		return bad_token(
			parser, "bad-name",
			"a name is letters, digits, `_`, `.` and, inside, `-`; or put it in quotes",
			"is not a name");
	return take_word(parser, word);
}

int parse_text(struct parser *parser, const char *what, size_t max, struct tree_word *word)
{
	char hint[64];

	if (!at_kind(parser, TOKEN_STRING))
		return expected(parser, what,
				at_kind(parser, TOKEN_WORD) ? "put it in quotes" : NULL);
	if (!parser->token.len)
		return bad_token(parser, "bad-string", NULL, "is empty");
	if (parser->token.len > max) {
		snprintf(hint, sizeof(hint), "at most %zu bytes", max);
		return bad_token(parser, "bad-string", hint, "is too long");
	}
	return take_word(parser, word);
}

int accept_one_of(struct parser *parser, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (accept_word(parser, words[i]))
			return (int)i;
	}
	return -1;
}

bool all_digits(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
	}
	return len > 0;
}

static int digit_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 :
				      16;
}

bool read_number(const char *text, size_t len, bool hex, uint32_t max, uint32_t *number)
{
	uint64_t value = 0;
	size_t i = 0;
	int base = 10;

	if (hex && len > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		i = 2;
	}
	if (i == len)
		return false;
	for (; i < len; i++) {
		int digit = digit_value(text[i]);

		if (digit >= base)
			return false;
		value = value * (uint64_t)base + (uint64_t)digit;
		if (value > max)
			return false;
	}
	*number = (uint32_t)value;
	return true;
}

int parse_number(struct parser *parser, const char *what, uint32_t min, uint32_t max,
		 uint32_t *number)
{
	const struct token *token = &parser->token;
	char hint[64];
	uint32_t value;

	if (token->kind != TOKEN_WORD || !all_digits(token->start, token->len))
		return expected(parser, what, NULL);
	if (!read_number(token->start, token->len, false, max, &value) || value < min) {
		snprintf(hint, sizeof(hint), "from %u to %u", min, max);
		return bad_token(parser, "bad-number", hint, "is out of range");
	}
	*number = value;
	advance(parser);
	return 0;
}

int parse_duration(struct parser *parser, uint32_t *seconds)
{
	const struct token *token = &parser->token;
	uint32_t value, unit = 0;
	char hint[64];

	if (token->kind != TOKEN_WORD || token->start[0] < '0' || token->start[0] > '9')
		return expected(parser, "a duration such as `30s`, `5m`, `1h`", NULL);
	if (all_digits(token->start, token->len) && token->len < 20) {
		snprintf(hint, sizeof(hint), "did you mean `%.*ss`?", (int)token->len,
			 token->start);
		return bad_token(parser, "bad-duration", hint, "has no unit of time");
	}
	for (size_t i = 0; i < TREE_UNITS; i++) {
		if (token->start[token->len - 1] == tree_units[i].letter)
			unit = tree_units[i].seconds;
	}
	if (!unit || !all_digits(token->start, token->len - 1))
		return bad_token(parser, "bad-duration",
				 "a number and one of s, m, h, d: `90s`, `5m`",
				 "is not a duration");
	if (!read_number(token->start, token->len - 1, false, UINT32_MAX / unit, &value) || !value)
		return bad_token(parser, "bad-duration", "at least 1s, at most 49710d",
				 "is out of range");
	*seconds = value * unit;
	advance(parser);
	return 0;
}

/* --- trivia ------------------------------------------------------------- */

int take_comments(struct parser *parser, bool first, const struct tree_comment **comments,
		  uint32_t *n)
{
	struct comment_vector *pending = &parser->pending;
	struct tree_comment *copy;

	*comments = NULL;
	*n = 0;
	if (!pending->n)
		return 0;
	copy = arena_array(parser->arena, pending->n, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, pending->items, pending->n * sizeof(*copy));
	if (first)
		copy[0].blank_before = false;
	*comments = copy;
	*n = (uint32_t)pending->n;
	pending->n = 0;
	return 0;
}

int begin_trivia(struct parser *parser, bool first, struct tree_trivia *trivia)
{
	int err;

	*trivia = (struct tree_trivia){ 0 };
	err = take_comments(parser, first, &trivia->leading, &trivia->leading_n);
	trivia->blank_before = parser->blank && !(first && !trivia->leading_n);
	parser->blank = false;
	return err;
}

static int comment_text(struct parser *parser, const char **text)
{
	*text = arena_copy(parser->arena, parser->token.comment, parser->token.comment_len);
	parser->token.comment = NULL;
	return *text ? 0 : -ENOMEM;
}

int trailing_comment(struct parser *parser, const char **comment)
{
	if (!at_kind(parser, TOKEN_NEWLINE) || parser->token.first_on_line ||
	    !parser->token.comment)
		return 0;
	return comment_text(parser, comment);
}

int keep_trivia(struct parser *parser, const struct tree_trivia *trivia,
		const struct tree_trivia **kept)
{
	struct tree_trivia *copy;

	*kept = NULL;
	if (!trivia->leading_n && !trivia->trailing && !trivia->blank_before)
		return 0;
	copy = arena_new(parser->arena, struct tree_trivia);
	if (!copy)
		return -ENOMEM;
	*copy = *trivia;
	*kept = copy;
	return 0;
}

int skip_lines(struct parser *parser)
{
	while (at_kind(parser, TOKEN_NEWLINE)) {
		struct tree_comment comment = { .blank_before = parser->blank };
		int err = 0;

		if (parser->token.comment) {
			err = comment_text(parser, &comment.text);
			if (!err)
				err = comment_vector_push(&parser->pending, comment);
			parser->blank = false;
		} else if (parser->token.first_on_line) {
			parser->blank = true;
		}
		if (err)
			return err == -E2BIG ? -ENOMEM : err;
		advance(parser);
	}
	return 0;
}

/* --- lists -------------------------------------------------------------- */

#define LIST_DEPTH_MAX 2 /* of any grammar here; deeper ones are refused at the brace */

int list_open(struct parser *parser, struct list *list)
{
	*list = (struct list){ .open = parser->token.position };
	if (parser->depth >= LIST_DEPTH_MAX)
		return bad_token(parser, "syntax", "write one list", "is a list within a list");
	if (!parser->depth)
		parser->open = list->open;
	parser->depth++;
	parser->blank = false;
	advance(parser);
	return 0;
}

bool begins_statement(const struct parser *parser)
{
	struct token next;

	if (at_kind(parser, TOKEN_END))
		return true;
	if (!parser->token.first_on_line || !(at_statement(parser) || at_action(parser)))
		return false;
	next = peek(parser);
	/* An option has the name of a statement. */
	if (at_word(parser, "early") &&
	    (token_is_word(&next, "required") || token_is_word(&next, "optional")))
		return false;
	return next.kind == TOKEN_WORD || next.kind == TOKEN_STRING || next.kind == TOKEN_OPEN;
}

static int not_closed(struct parser *parser)
{
	parser->resync = true;
	return fail(parser, parser->open, "not-closed", "its `}` is missing",
		    "this `{` is not closed");
}

int list_next(struct parser *parser, struct list *list, bool *more)
{
	int err = skip_lines(parser);

	if (err)
		return err;
	if (at_kind(parser, TOKEN_CLOSE)) {
		advance(parser);
		parser->depth--;
		parser->blank = false;
		*more = false;
		return take_comments(parser, list->n == 0, &list->closing, &list->closing_n);
	}
	if (begins_statement(parser))
		return not_closed(parser);
	*more = true;
	err = begin_trivia(parser, list->n == 0, &list->trivia);
	list->n++;
	return err;
}

int list_entry_end(struct parser *parser, struct list *list, const struct tree_trivia **trivia)
{
	int err = trailing_comment(parser, &list->trivia.trailing);

	if (!err)
		err = skip_lines(parser);
	if (err)
		return err;
	if (accept_kind(parser, TOKEN_COMMA)) {
		if (!list->trivia.trailing)
			err = trailing_comment(parser, &list->trivia.trailing);
	} else if (!at_kind(parser, TOKEN_CLOSE)) {
		return begins_statement(parser) ? not_closed(parser) :
						  expected(parser, "`,` or `}`", NULL);
	}
	if (err)
		return err;
	return keep_trivia(parser, &list->trivia, trivia);
}
