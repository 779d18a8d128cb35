// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lexer: text of the policy language to tokens.
 *
 * A word is letters, digits, `_`, `.`, `:` and, inside, `-`: names, numbers, addresses, ranges
 * (`6000-6063`) and MAC addresses are words; what one may look like is the parser's business. `/`,
 * `,`, `@`, `!` and the like are tokens of their own. A comment is not a token: it belongs to the
 * newline behind it.
 *
 * What no token can begin with is reported and becomes TOKEN_BAD. Time is linear in the text. A
 * struct lexer may be copied to look ahead.
 */
#ifndef REEVE_POLICY_LEXER_H
#define REEVE_POLICY_LEXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/diagnostic.h"
#include "base/source.h"

enum token_kind {
	TOKEN_END,     /* of the text; comes again and again */
	TOKEN_NEWLINE, /* also before the end, if the last line has none */
	TOKEN_SEMICOLON,
	TOKEN_WORD,
	TOKEN_STRING, /* start and length without the quotes; escapes are still in it */
	TOKEN_OPEN,   /* { */
	TOKEN_CLOSE,  /* } */
	TOKEN_COMMA,
	TOKEN_SLASH,
	TOKEN_EQUAL,
	TOKEN_NOT, /* ! */
	TOKEN_AT,
	TOKEN_BRACKET_OPEN,
	TOKEN_BRACKET_CLOSE,
	TOKEN_LESS,
	TOKEN_LESS_EQUAL,
	TOKEN_GREATER,
	TOKEN_GREATER_EQUAL,
	TOKEN_ARROW, /* -> */
	TOKEN_BAD,   /* reported already */
};

struct token {
	enum token_kind kind;
	struct position position;
	const char *start; /* into the source's text */
	uint32_t len;
	/* only blanks stand before it on its line; NEWLINE: or only a comment */
	bool first_on_line;
	bool space_before;
	const char *comment; /* NEWLINE: text of the comment before it, or NULL */
	uint32_t comment_len;
};

struct lexer {
	const char *text;
	size_t len, at;
	uint32_t source;
	bool line_start; /* nothing but blanks seen on this line */
	bool quiet;	 /* report nothing */
	struct diagnostics *diagnostics;
};

/*
 * Begins a text; a UTF-8 byte order mark at its head is skipped. The text must outlive the tokens.
 */
void lexer_init(struct lexer *lexer, const struct source_set *sources, uint32_t source,
		struct diagnostics *diagnostics);
void lexer_next(struct lexer *lexer, struct token *token);

/* Is it a name that needs no quotes? Letters, digits, `_`, `.` and, inside, `-`. */
bool name_is_plain(const char *name, size_t len);
/* Is it well-formed UTF-8 without control characters? */
bool text_is_printable(const char *text, size_t len);

#endif
