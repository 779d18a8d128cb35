// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The parser: recursive descent over tokens, one function a rule of the grammar
 * (docs/LANGUAGE.md), in eight files:
 *
 * 	parser.c		the file, its statements, questions
 * 	parser_block.c		pairs; policy, early, nat, options blocks; ends of statements
 * 	parser_hygiene.c	antispoof, clamp-mss, scrub
 * 	parser_rule.c		rules: actions, options
 * 	parser_match.c		what a rule is about: from, to, conditions
 * 	parser_service.c	services and ports
 * 	parser_address.c	addresses, targets, files of sets
 * 	parser_token.c		tokens, errors, words and numbers, comments, lists
 *
 * One token is looked at (struct parser, `token`); a second one in few places, by a copy of the
 * lexer. Nothing goes back, so time is linear in the text. Blocks do not nest and lists nest
 * twice, so recursion is bounded by the grammar.
 *
 * Comments and empty lines are not tokens. They hang on newlines; the loops over statements and
 * over the entries of lists gather them as `pending` and give them to the next statement or entry,
 * or to the closing brace. A comment behind something on its line belongs to that.
 *
 * Errors: the function that meets one reports it and returns -EINVAL; all callers return at once
 * up to the loop over statements of the file or of a block, which calls recover(): it skips to the
 * end of the statement, counting braces, and the loop goes on. `resync` says that the current
 * token already begins the next statement, which happens when a missing brace is noticed by what
 * follows. Memory: what a failed statement has built stays in the arena.
 */
#include "policy/parser_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

VECTOR(statement_vector, const struct tree_statement *);

#define STATEMENTS ((size_t)TREE_OPTIONS + 1)

bool at_statement(const struct parser *parser)
{
	for (size_t i = 0; i < STATEMENTS; i++) {
		if (at_word(parser, tree_statement_words[i]))
			return true;
	}
	return false;
}

/* --- definitions -------------------------------------------------------- */

static int parse_equal(struct parser *parser)
{
	return accept_kind(parser, TOKEN_EQUAL) ? 0 : expected(parser, "`=`", NULL);
}

/* Behind a definition: a second thing means that braces are missing. */
static int only_one(struct parser *parser)
{
	if (at_kind(parser, TOKEN_COMMA) || at_kind(parser, TOKEN_WORD) ||
	    at_kind(parser, TOKEN_STRING) || at_kind(parser, TOKEN_AT))
		return expected(parser, "the end of the line", "several are written `{ a, b }`");
	return 0;
}

static int parse_zone(struct parser *parser, struct tree_statement *statement)
{
	static const char *const taken[] = { "self", "other", "any" };
	struct tree_zone *zone = &statement->zone;
	int err = parse_name(parser, "the name of a zone", &zone->name);

	for (size_t i = 0; !err && i < 3; i++) {
		if (strcmp(zone->name.text, taken[i]) == 0)
			err = fail(parser, zone->name.position, "bad-name",
				   "`self`, `other` and `any` are there without a definition",
				   "`%s` cannot be defined", taken[i]);
	}
	if (!err)
		err = parse_equal(parser);
	if (!err)
		err = parse_words(parser, "the name of an interface", &zone->patterns);
	return err ? err : only_one(parser);
}

static int parse_dynamic(struct parser *parser, struct tree_set *set)
{
	struct list list;
	bool more = true;
	int err;

	set->kind = TREE_SET_DYNAMIC;
	if (!at_kind(parser, TOKEN_OPEN))
		return 0;
	set->dynamic_braces = true;
	err = list_open(parser, &list);
	while (!err) {
		static const char *const words[] = { "timeout", "max" };
		struct position position;
		uint32_t *value;
		int found;

		err = list_next(parser, &list, &more);
		if (err || !more)
			break;
		position = parser->token.position;
		found = accept_one_of(parser, words, 2);
		if (found < 0)
			return unknown_word(parser, "word of a dynamic set", words, 2);
		value = found == 0 ? &set->timeout : &set->max;
		if (*value)
			return fail(parser, position, "duplicate", NULL, "`%s` is given twice",
				    words[found]);
		err = found == 0 ?
			      parse_duration(parser, value) :
			      parse_number(parser, "a number of entries", 1, UINT32_MAX, value);
		if (!err)
			err = list_entry_end(parser, &list,
					     found == 0 ? &set->timeout_trivia : &set->max_trivia);
	}
	set->closing = list.closing;
	set->closing_n = list.closing_n;
	return err;
}

static int parse_set(struct parser *parser, struct tree_statement *statement)
{
	struct tree_set *set = &statement->set;
	int err = parse_name(parser, "the name of a set", &set->name);

	if (!err)
		err = parse_equal(parser);
	if (err)
		return err;
	if (accept_word(parser, "file")) {
		set->kind = TREE_SET_FILE;
		err = parse_text(parser, "the name of a file", PATH_LEN_MAX, &set->file);
	} else if (accept_word(parser, "dynamic")) {
		err = parse_dynamic(parser, set);
	} else if (at_kind(parser, TOKEN_NOT)) {
		err = bad_token(parser, "syntax", "write `!` where the set is used: `from !@name`",
				"is out of place: a set names what is in it");
	} else {
		set->kind = TREE_SET_LIST;
		err = parse_addresses(parser, &set->list);
	}
	return err ? err : only_one(parser);
}

static int parse_service_definition(struct parser *parser, struct tree_statement *statement)
{
	struct tree_service_definition *definition = &statement->service;
	struct tree_service *service = arena_new(parser->arena, struct tree_service);
	int err = service ? parse_name(parser, "the name of a service", &definition->name) :
			    -ENOMEM;

	if (!err)
		err = parse_equal(parser);
	if (!err)
		err = parse_service(parser, service);
	if (err)
		return err;
	definition->service = service;
	return only_one(parser);
}

static int parse_include(struct parser *parser, struct tree_statement *statement)
{
	return parse_text(parser, "the name of a file", PATH_LEN_MAX, &statement->include);
}

/* --- statements --------------------------------------------------------- */

static int parse_policy_statement(struct parser *parser, struct tree_statement *statement)
{
	return parse_policy(parser, &statement->policy);
}

static int parse_nat_statement(struct parser *parser, struct tree_statement *statement)
{
	return parse_nat(parser, &statement->nat);
}

static int parse_early_statement(struct parser *parser, struct tree_statement *statement)
{
	return parse_early(parser, &statement->early);
}

static int parse_options_statement(struct parser *parser, struct tree_statement *statement)
{
	return parse_settings(parser, &statement->settings);
}

static int parse_intercept(struct parser *parser, struct tree_statement *statement)
{
	struct tree_intercept *intercept = &statement->intercept;
	int err = parse_pair(parser, &intercept->pair), found;

	if (!err)
		err = parse_match(parser, 0, &intercept->match);
	if (!err && !accept_word(parser, "to"))
		err = expected(parser, "`to` and where to", NULL);
	if (!err)
		err = parse_target(parser, &intercept->to);
	if (err || !accept_word(parser, "on-missing"))
		return err;
	found = accept_one_of(parser, tree_missing_words, 2);
	if (found < 0)
		return unknown_word(parser, "way to go on", tree_missing_words, 2);
	intercept->pass = found;
	return 0;
}

static int parse_antispoof_statement(struct parser *parser, struct tree_statement *statement)
{
	return parse_antispoof(parser, &statement->antispoof);
}

static int parse_clamp_mss_statement(struct parser *parser, struct tree_statement *statement)
{
	return parse_clamp_mss(parser, &statement->clamp_mss);
}

static int parse_scrub_statement(struct parser *parser, struct tree_statement *statement)
{
	return parse_scrub(parser, &statement->scrub);
}

static int parse_assert(struct parser *parser, struct tree_statement *statement)
{
	struct tree_assert *assertion = &statement->assertion;
	struct position position;
	int err = parse_pair(parser, &assertion->pair), found;

	if (!err)
		err = parse_match(parser, MATCH_ALL, &assertion->match);
	if (!err && !accept_word(parser, "is"))
		err = expected(parser, "`is allowed`, `is dropped` or `is rejected`", NULL);
	if (err)
		return err;
	found = accept_one_of(parser, tree_outcome_words, 3);
	if (found < 0)
		return unknown_word(parser, "outcome", tree_outcome_words, 3);
	assertion->outcome = (enum tree_outcome)found;
	position = parser->token.position;
	if (!accept_word(parser, "except"))
		return 0;
	assertion->has_except = true;
	err = parse_match(parser, MATCH_ALL, &assertion->except);
	if (!err && span_from(parser, position.offset).length == position.length)
		err = expected(parser, "which packets behind `except`", NULL);
	return err;
}

static int (*const parse_statement_of[])(struct parser *, struct tree_statement *) = {
	[TREE_ZONE] = parse_zone,
	[TREE_SET] = parse_set,
	[TREE_SERVICE] = parse_service_definition,
	[TREE_INCLUDE] = parse_include,
	[TREE_POLICY] = parse_policy_statement,
	[TREE_NAT] = parse_nat_statement,
	[TREE_EARLY] = parse_early_statement,
	[TREE_INTERCEPT] = parse_intercept,
	[TREE_ANTISPOOF] = parse_antispoof_statement,
	[TREE_CLAMP_MSS] = parse_clamp_mss_statement,
	[TREE_SCRUB] = parse_scrub_statement,
	[TREE_ASSERT] = parse_assert,
	[TREE_OPTIONS] = parse_options_statement,
};

/* The current token begins no statement: why? */
static int stray_statement(struct parser *parser)
{
	if (at_kind(parser, TOKEN_CLOSE)) {
		int err = bad_token(parser, "syntax", NULL, "closes nothing");

		while (accept_kind(parser, TOKEN_CLOSE))
			;
		return err;
	}
	if (at_word(parser, "test"))
		return bad_token(parser, "not-supported", NULL, "blocks are not supported yet");
	if (at_action(parser) || at_word(parser, "default"))
		return bad_token(parser, "syntax", "rules stand in a `policy FROM -> TO { ... }`",
				 "stands outside of a policy");
	return unknown_word(parser, "statement", tree_statement_words, STATEMENTS);
}

static int parse_statement(struct parser *parser, struct tree_statement *statement)
{
	uint32_t start = parser->token.position.offset;
	int kind = accept_one_of(parser, tree_statement_words, STATEMENTS);

	if (kind < 0)
		return stray_statement(parser);
	statement->kind = (enum tree_statement_kind)kind;
	statement->position = span_from(parser, start);
	return parse_statement_of[kind](parser, statement);
}

/* Remembers the name that a definition with an error would have defined. */
static int keep_broken(struct parser *parser, const struct tree_statement *statement)
{
	struct tree_broken broken = { .kind = statement->kind };

	if (!statement->position.length)
		return 0; /* no statement at all */
	switch (statement->kind) {
	case TREE_ZONE:
		broken.name = statement->zone.name.text;
		break;
	case TREE_SET:
		broken.name = statement->set.name.text;
		break;
	case TREE_SERVICE:
		broken.name = statement->service.name.text;
		break;
	default:
		return 0;
	}
	return broken_vector_push(&parser->broken, broken) ? -ENOMEM : 0;
}

static int parse_statements(struct parser *parser, struct statement_vector *statements)
{
	bool first = true;

	for (;; first = false) {
		struct tree_statement *statement;
		struct tree_trivia trivia;
		int err;

		do {
			err = skip_lines(parser);
			if (err)
				return err;
		} while (accept_kind(parser, TOKEN_SEMICOLON));
		if (at_kind(parser, TOKEN_END))
			return 0;
		err = begin_trivia(parser, first, &trivia);
		if (err)
			return err;
		statement = arena_new(parser->arena, struct tree_statement);
		err = statement ? parse_statement(parser, statement) : -ENOMEM;
		if (!err)
			err = statement_end(parser, &trivia);
		if (!err)
			err = keep_trivia(parser, &trivia, &statement->trivia);
		if (!err && statement_vector_push(statements, statement))
			err = -ENOMEM;
		if (err == -EINVAL) {
			recover(parser);
			err = keep_broken(parser, statement);
		}
		if (err)
			return err;
		parser->depth = 0;
	}
}

static int keep_tree(struct parser *parser, const struct statement_vector *statements,
		     const struct tree **tree)
{
	struct tree *kept = arena_new(parser->arena, struct tree);
	const struct tree_statement **copy;
	int err;

	if (!kept)
		return -ENOMEM;
	kept->source = parser->lexer.source;
	err = take_comments(parser, statements->n == 0, &kept->closing, &kept->closing_n);
	if (err)
		return err;
	if (statements->n) {
		copy = arena_array(parser->arena, statements->n, sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, statements->items, statements->n * sizeof(*copy));
		kept->statements = copy;
		kept->n = (uint32_t)statements->n;
	}
	if (parser->broken.n) {
		struct tree_broken *broken = arena_array(parser->arena, parser->broken.n, sizeof(*broken));

		if (!broken)
			return -ENOMEM;
		memcpy(broken, parser->broken.items, parser->broken.n * sizeof(*broken));
		kept->broken = broken;
		kept->broken_n = (uint32_t)parser->broken.n;
	}
	*tree = kept;
	return 0;
}

int tree_parse(const struct source_set *sources, uint32_t source, struct arena *arena,
	       struct diagnostics *diagnostics, const struct tree **tree)
{
	cleanup(statement_vector_free) struct statement_vector statements = { 0 };
	struct parser parser = { .arena = arena, .diagnostics = diagnostics };
	unsigned errors = diagnostics->errors;
	int err;

	lexer_init(&parser.lexer, sources, source, diagnostics);
	lexer_next(&parser.lexer, &parser.token);
	*tree = NULL;
	err = parse_statements(&parser, &statements);
	if (!err)
		err = keep_tree(&parser, &statements, tree);
	if (!err && diagnostics->errors != errors)
		err = -EINVAL;
	comment_vector_free(&parser.pending);
	broken_vector_free(&parser.broken);
	return err;
}

/* --- questions ---------------------------------------------------------- */

static int parse_question(struct parser *parser, struct question *question)
{
	uint32_t start;
	int err = skip_lines(parser);

	if (err)
		return err;
	start = parser->token.position.offset;
	err = parse_name(parser, "a zone", &question->from);
	if (!err && !accept_kind(parser, TOKEN_ARROW))
		err = expected(parser, "`->` between two zones", "such as `wan -> self 22/tcp`");
	if (!err)
		err = parse_name(parser, "a zone behind `->`", &question->to);
	if (!err)
		err = parse_match(parser, MATCH_ALL, &question->match);
	if (err)
		return err;
	question->position = span_from(parser, start);
	err = skip_lines(parser);
	if (!err && !at_kind(parser, TOKEN_END))
		err = expected(parser, "the end of the question", NULL);
	return err;
}

int question_parse(const char *text, struct source_set *sources, struct arena *arena,
		   struct diagnostics *diagnostics, const struct question **question)
{
	struct parser parser = { .arena = arena, .diagnostics = diagnostics };
	struct question *parsed = arena_new(arena, struct question);
	unsigned errors = diagnostics->errors;
	uint32_t source;
	int err;

	if (!parsed)
		return -ENOMEM;
	err = source_set_add(sources, "question", text, strlen(text), &source);
	if (err)
		return err;
	lexer_init(&parser.lexer, sources, source, diagnostics);
	lexer_next(&parser.lexer, &parser.token);
	err = parse_question(&parser, parsed);
	if (!err && diagnostics->errors != errors)
		err = -EINVAL;
	if (!err)
		*question = parsed;
	comment_vector_free(&parser.pending);
	return err;
}
