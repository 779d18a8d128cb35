// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the files of the parser share: the state of a parse, tokens, words, numbers, lists, trivia.
 * For src/policy/parser*.c only.
 *
 * Every parsing function returns 0 with the current token behind what it has read, or -EINVAL when
 * it has reported an error, or -ENOMEM. After -EINVAL the current token is where it was noticed;
 * the statement loop skips to the next one.
 */
#ifndef REEVE_POLICY_PARSER_STATE_H
#define REEVE_POLICY_PARSER_STATE_H

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/vector.h"
#include "policy/lexer.h"
#include "policy/parser.h"

VECTOR(comment_vector, struct tree_comment);

struct parser {
	struct arena *arena;
	struct diagnostics *diagnostics;
	struct lexer lexer;
	struct token token;	       /* the current one, not yet read */
	uint32_t end;		       /* offset behind the last token that was read */
	uint32_t lines;		       /* newlines read */
	uint32_t depth;		       /* open braces of lists of this statement */
	struct position open;	       /* the outermost of these */
	struct broken_vector broken;   /* definitions with errors */
	struct comment_vector pending; /* comment lines that belong to what comes next */
	bool blank;		       /* an empty line was read after the last of them */
	/* the current token begins a statement, although the last one failed */
	bool resync;
};

/* --- tokens -- */

/* Reads the current token. */
void advance(struct parser *parser);
bool token_is_word(const struct token *token, const char *word);
bool at_word(const struct parser *parser, const char *word);
bool at_kind(const struct parser *parser, enum token_kind kind);
/* The token behind the current one; nothing is reported. */
struct token peek(const struct parser *parser);
/* Reads the word if it is the current token. */
bool accept_word(struct parser *parser, const char *word);
bool accept_kind(struct parser *parser, enum token_kind kind);
/* From offset `start` to the end of the last token read. */
struct position span_from(const struct parser *parser, uint32_t start);

/* --- errors: each reports and returns -EINVAL -- */

int fail(struct parser *parser, struct position position, const char *code, const char *hint,
	 const char *format, ...) __attribute__((format(printf, 5, 6)));
/*
 * "expected WHAT, found `x`" at the current token; silent when the lexer has already reported it.
 */
int expected(struct parser *parser, const char *what, const char *hint);
/* "unknown WHAT `x`", with the nearest of the words. */
int unknown_word(struct parser *parser, const char *what, const char *const *words, size_t n);
/* "`x` is …" with the text of the current token. */
int bad_token(struct parser *parser, const char *code, const char *hint, const char *what);

#define SHOWN_LEN 64
/* A token as messages show it, cut if it is long; `buffer` has SHOWN_LEN bytes. */
const char *shown(const struct token *token, char *buffer);
/* "did you mean `x`?" in `buffer`, or NULL when x is NULL. */
const char *did_you_mean(const char *x, char *buffer, size_t len);

/* --- words and numbers -- */

#define NAME_LEN_MAX 63
#define TEXT_LEN_MAX 255
#define PATH_LEN_MAX 1023

/* A plain name or a quoted one. `what` as in "expected a zone name". */
int parse_name(struct parser *parser, const char *what, struct tree_word *word);
/* A quoted text of up to `max` bytes. */
int parse_text(struct parser *parser, const char *what, size_t max, struct tree_word *word);
/* The index of the current token among the words, which is read; or -1. */
int accept_one_of(struct parser *parser, const char *const *words, size_t n);
/* All of `text` as a decimal number (with `hex`, also 0x…) of at most `max`. */
bool read_number(const char *text, size_t len, bool hex, uint32_t max, uint32_t *number);
/* The current token as a number between `min` and `max`. */
int parse_number(struct parser *parser, const char *what, uint32_t min, uint32_t max,
		 uint32_t *number);
/* `30s`, `5m`, `1h`, `2d`. */
int parse_duration(struct parser *parser, uint32_t *seconds);
bool all_digits(const char *text, size_t len);

/* --- trivia -- */

/*
 * The pending comments as an arena array; none are pending then. The `first` thing of a block has
 * no blank before it.
 */
int take_comments(struct parser *parser, bool first, const struct tree_comment **comments,
		  uint32_t *n);
/* Takes the pending comments as what stands before the coming item. */
int begin_trivia(struct parser *parser, bool first, struct tree_trivia *trivia);
/*
 * Takes the comment of the current NEWLINE, if it stands behind something; *comment stays if there
 * is none.
 */
int trailing_comment(struct parser *parser, const char **comment);
/* An arena copy, or NULL when there is nothing in it. */
int keep_trivia(struct parser *parser, const struct tree_trivia *trivia,
		const struct tree_trivia **kept);
/* Reads newlines and keeps the comments that stand alone. */
int skip_lines(struct parser *parser);

/* --- lists: `{ a, b, }` over any number of lines -- */

struct list {
	struct position open;
	uint32_t n; /* entries begun */
	struct tree_trivia trivia;
	const struct tree_comment *closing;
	uint32_t closing_n;
};

/* Reads the `{`. */
int list_open(struct parser *parser, struct list *list);
/* To the next entry; *more is false when the `}` was read instead. */
int list_next(struct parser *parser, struct list *list, bool *more);
/* Behind an entry: its comma and comment; *trivia is what surrounds it, or NULL. */
int list_entry_end(struct parser *parser, struct list *list, const struct tree_trivia **trivia);

/* --- parser_address.c -- */

int parse_addresses(struct parser *parser, struct tree_addresses *addresses);
/* One address, prefix, range or `@set`. */
int parse_address(struct parser *parser, struct tree_address *address);
int parse_target(struct parser *parser, struct tree_target *target);
int parse_targets(struct parser *parser, struct tree_targets *targets);

/* --- parser_service.c -- */

int parse_service(struct parser *parser, struct tree_service *service);
/* What may stand behind `port`. */
int parse_ports(struct parser *parser, struct tree_service *service);

/* --- parser_match.c -- */

enum match_parts {
	MATCH_TO = 1,	      /* `to ADDR` */
	MATCH_CONDITIONS = 2, /* `flags …` and so on */
	MATCH_ALL = 3,
	MATCH_NO_SERVICE = 4, /* none is here: a rate comes */
};

int parse_match(struct parser *parser, unsigned parts, struct tree_match *match);
/* `to ADDR` alone, at its `to`, into a match. */
int parse_match_to(struct parser *parser, struct tree_match *match);
int parse_masked(struct parser *parser, struct tree_masked *masked);

/* --- parser_rule.c -- */

enum rule_place { IN_POLICY, IN_EARLY };

int parse_rule(struct parser *parser, enum rule_place place, struct tree_rule *rule);
/* An action of policies, with `with …` of reject. */
int parse_action(struct parser *parser, const char *what, enum tree_action *action,
		 enum reject *reject);
/* Is the current token the action of a rule? */
bool at_action(const struct parser *parser);

/* --- parser_hygiene.c -- */

int parse_antispoof(struct parser *parser, struct tree_antispoof *antispoof);
int parse_clamp_mss(struct parser *parser, struct tree_clamp_mss *clamp);
int parse_scrub(struct parser *parser, struct tree_scrub *scrub);

/* --- parser_block.c -- */

int parse_policy(struct parser *parser, struct tree_policy *policy);
int parse_nat(struct parser *parser, struct tree_nat *nat);
int parse_early(struct parser *parser, struct tree_early *early);
int parse_settings(struct parser *parser, struct tree_settings *settings);
int parse_pair(struct parser *parser, struct tree_pair *pair);
int parse_words(struct parser *parser, const char *what, struct tree_words *words);
/* Behind a statement: its end and comment. */
int statement_end(struct parser *parser, struct tree_trivia *trivia);
/* Skips what is left of a statement that had an error. */
void recover(struct parser *parser);
/* Is the current token a word that begins a statement of a file? */
bool at_statement(const struct parser *parser);
/*
 * Does a statement or rule seem to begin here, on a line of its own, though something else is
 * awaited? Or is it the end?
 */
bool begins_statement(const struct parser *parser);

#endif
