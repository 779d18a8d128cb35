// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/parser_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

VECTOR(word_vector, struct tree_word);
VECTOR(rule_vector, struct tree_rule);
VECTOR(nat_rule_vector, struct tree_nat_rule);
VECTOR(setting_vector, struct tree_setting);

/* --- names and pairs ---------------------------------------------------- */

static int keep_words(struct parser *parser, const struct tree_word *items, size_t n,
		      struct tree_words *words)
{
	struct tree_word *copy = arena_array(parser->arena, n, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	memcpy(copy, items, n * sizeof(*copy));
	words->items = copy;
	words->n = (uint32_t)n;
	return 0;
}

int parse_words(struct parser *parser, const char *what, struct tree_words *words)
{
	cleanup(word_vector_free) struct word_vector vector = { 0 };
	struct tree_words parsed = { 0 };
	struct tree_word word;
	struct list list;
	bool more = true;
	int err;

	if (!at_kind(parser, TOKEN_OPEN)) {
		err = parse_name(parser, what, &word);
		if (!err)
			err = keep_words(parser, &word, 1, &parsed);
		if (!err)
			*words = parsed;
		return err;
	}
	err = list_open(parser, &list);
	while (!err) {
		err = list_next(parser, &list, &more);
		if (err || !more)
			break;
		err = parse_name(parser, what, &word);
		if (!err)
			err = list_entry_end(parser, &list, &word.trivia);
		if (!err && word_vector_push(&vector, word))
			err = -ENOMEM;
	}
	if (err)
		return err;
	if (!vector.n)
		return fail(parser, list.open, "syntax", NULL, "this list is empty");
	parsed.braces = true;
	parsed.closing = list.closing;
	parsed.closing_n = list.closing_n;
	err = keep_words(parser, vector.items, vector.n, &parsed);
	if (!err)
		*words = parsed;
	return err;
}

int parse_pair(struct parser *parser, struct tree_pair *pair)
{
	uint32_t start = parser->token.position.offset;
	struct tree_pair parsed = { 0 };
	int err = parse_words(parser, "a zone", &parsed.from);

	if (!err && !accept_kind(parser, TOKEN_ARROW))
		err = expected(parser, "`->` between two zones", NULL);
	if (!err)
		err = parse_words(parser, "a zone behind `->`", &parsed.to);
	if (err)
		return err;
	parsed.position = span_from(parser, start);
	*pair = parsed;
	return 0;
}

/* --- statements and blocks ---------------------------------------------- */

int statement_end(struct parser *parser, struct tree_trivia *trivia)
{
	bool ended = at_kind(parser, TOKEN_CLOSE) || at_kind(parser, TOKEN_END);

	while (accept_kind(parser, TOKEN_SEMICOLON))
		ended = true;
	if (at_kind(parser, TOKEN_NEWLINE))
		return trailing_comment(parser, &trivia->trailing);
	if (!ended)
		return expected(parser, "the end of the statement", NULL);
	return 0;
}

void recover(struct parser *parser)
{
	unsigned lists = parser->depth, depth = parser->depth;

	parser->depth = 0;
	if (parser->resync) {
		parser->resync = false;
		return;
	}
	parser->lexer.quiet = true;
	while (!at_kind(parser, TOKEN_END)) {
		if (at_kind(parser, TOKEN_OPEN)) {
			depth++;
		} else if (at_kind(parser, TOKEN_CLOSE)) {
			if (depth == 0)
				break;
			depth--;
		} else if (depth == 0 &&
			   (at_kind(parser, TOKEN_NEWLINE) || at_kind(parser, TOKEN_SEMICOLON))) {
			break;
		} else if (depth && depth <= lists && begins_statement(parser)) {
			break; /* the list that had the error is not closed either */
		}
		advance(parser);
	}
	parser->lexer.quiet = false;
}

struct block {
	struct position open;
	uint32_t lines; /* newlines read before it */
	uint32_t n;	/* statements begun */
	struct tree_trivia trivia;
	struct tree_block *out;
};

static int block_open(struct parser *parser, const char *what, struct block *block,
		      struct tree_block *out)
{
	*block = (struct block){
		.open = parser->token.position,
		.lines = parser->lines,
		.out = out,
	};
	if (!at_kind(parser, TOKEN_OPEN))
		return expected(parser, what, NULL);
	advance(parser);
	parser->blank = false;
	return trailing_comment(parser, &out->opening);
}

/* To the next statement of the block; *more is false when its `}` was read instead. */
static int block_next(struct parser *parser, struct block *block, bool *more)
{
	int err;

	do {
		err = skip_lines(parser);
		if (err)
			return err;
	} while (accept_kind(parser, TOKEN_SEMICOLON));
	if (at_kind(parser, TOKEN_CLOSE)) {
		block->out->inline_block = parser->lines == block->lines;
		advance(parser);
		parser->blank = false;
		*more = false;
		return take_comments(parser, block->n == 0, &block->out->closing,
				     &block->out->closing_n);
	}
	if (begins_statement(parser) && !at_action(parser)) {
		parser->resync = true;
		return fail(parser, block->open, "not-closed", "its `}` is missing",
			    "this `{` is not closed");
	}
	*more = true;
	err = begin_trivia(parser, block->n == 0, &block->trivia);
	block->n++;
	return err;
}

/*
 * After a statement of a block that gave `err`: its end, or its recovery. Only other errors than
 * -EINVAL are returned.
 */
static int block_entry_end(struct parser *parser, struct block *block, int err, bool *failed,
			   const struct tree_trivia **trivia)
{
	if (!err)
		err = statement_end(parser, &block->trivia);
	if (!err)
		err = keep_trivia(parser, &block->trivia, trivia);
	if (err != -EINVAL)
		return err;
	*failed = true;
	recover(parser);
	return 0;
}

static int parse_rules(struct parser *parser, enum rule_place place, struct tree_block *out,
		       const struct tree_rule **rules, uint32_t *rule_n)
{
	cleanup(rule_vector_free) struct rule_vector vector = { 0 };
	struct tree_rule *copy = NULL;
	struct block block;
	bool more = true;
	int err = block_open(parser, "`{`", &block, out);

	while (!err) {
		struct tree_rule rule = { 0 };
		bool failed = false;

		err = block_next(parser, &block, &more);
		if (err || !more)
			break;
		err = parse_rule(parser, place, &rule);
		err = block_entry_end(parser, &block, err, &failed, &rule.trivia);
		/* The other rules stay, so that what they mean is looked at too. */
		if (!err && !failed && rule_vector_push(&vector, rule))
			err = -ENOMEM;
	}
	if (!err && vector.n) {
		copy = arena_array(parser->arena, vector.n, sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, vector.items, vector.n * sizeof(*copy));
	}
	if (err)
		return err;
	*rules = copy;
	*rule_n = (uint32_t)vector.n;
	return 0;
}

/*
 * The head of a statement with a block had an error: goes to the block, so that what is wrong in
 * there is told too. The block's brace is followed by the end of the line, or by an action.
 */
static bool skip_to_block(struct parser *parser)
{
	unsigned depth = 0;

	parser->depth = 0;
	if (parser->resync)
		return false;
	parser->lexer.quiet = true;
	while (!at_kind(parser, TOKEN_NEWLINE) && !at_kind(parser, TOKEN_SEMICOLON) &&
	       !at_kind(parser, TOKEN_END) && (!at_kind(parser, TOKEN_CLOSE) || depth)) {
		if (at_kind(parser, TOKEN_OPEN)) {
			struct parser ahead = *parser;

			advance(&ahead);
			if (at_kind(&ahead, TOKEN_NEWLINE) || at_action(&ahead))
				break;
			depth++;
		} else if (at_kind(parser, TOKEN_CLOSE)) {
			depth--;
		}
		advance(parser);
	}
	parser->lexer.quiet = false;
	return at_kind(parser, TOKEN_OPEN);
}

/* --- policy, early ------------------------------------------------------ */

static int parse_policy_head(struct parser *parser, struct tree_policy *policy)
{
	uint32_t start;
	int err = parse_pair(parser, &policy->pair);

	if (err)
		return err;
	start = parser->token.position.offset;
	if (!accept_word(parser, "default")) {
		if (at_kind(parser, TOKEN_OPEN))
			return 0;
		return expected(parser, "`default` or `{`", NULL);
	}
	err = parse_action(parser, "action", &policy->default_action, &policy->default_reject);
	policy->has_default = true;
	policy->default_position = span_from(parser, start);
	policy->default_position.length = (uint32_t)strlen("default");
	return err;
}

int parse_policy(struct parser *parser, struct tree_policy *policy)
{
	int err = parse_policy_head(parser, policy), rules_err = 0;

	if (err == -EINVAL && !skip_to_block(parser))
		return err;
	if (err != -ENOMEM && at_kind(parser, TOKEN_OPEN)) {
		policy->has_block = true;
		rules_err = parse_rules(parser, IN_POLICY, &policy->block, &policy->rules,
					&policy->rule_n);
	}
	return err ? err : rules_err;
}

int parse_early(struct parser *parser, struct tree_early *early)
{
	int err = parse_words(parser, "a zone", &early->zones), rules_err;

	if (err == -ENOMEM || (err == -EINVAL && !skip_to_block(parser)))
		return err;
	rules_err = parse_rules(parser, IN_EARLY, &early->block, &early->rules, &early->rule_n);
	return err ? err : rules_err;
}

/* --- nat ---------------------------------------------------------------- */

static const char *const nat_words[] = {
	[TREE_NAT_SOURCE] = "source",
	[TREE_NAT_MASQUERADE] = "masquerade",
	[TREE_NAT_FORWARD] = "forward",
};

/* Does another `to` follow in this statement? Then this one says what is matched. */
static bool two_targets(const struct parser *parser)
{
	struct parser ahead = *parser;
	unsigned depth = 0;

	ahead.lexer.quiet = true;
	for (advance(&ahead); !at_kind(&ahead, TOKEN_END); advance(&ahead)) {
		if (at_kind(&ahead, TOKEN_OPEN))
			depth++;
		else if (at_kind(&ahead, TOKEN_CLOSE) && !depth--)
			return false;
		else if (!depth &&
			 (at_kind(&ahead, TOKEN_NEWLINE) || at_kind(&ahead, TOKEN_SEMICOLON)))
			return false;
		else if (!depth && at_word(&ahead, "to"))
			return true;
	}
	return false;
}

static int parse_nat_target(struct parser *parser, struct tree_nat_rule *rule)
{
	int err = 0;

	if (at_word(parser, "to") && rule->kind == TREE_NAT_FORWARD && two_targets(parser))
		err = parse_match_to(parser, &rule->match);
	if (!err && !accept_word(parser, "to"))
		err = expected(parser, "`to` and where to", NULL);
	return err ? err : parse_targets(parser, &rule->to);
}

static int parse_nat_rule(struct parser *parser, struct tree_nat_rule *rule)
{
	struct tree_nat_rule parsed = { .position = parser->token.position };
	int kind = accept_one_of(parser, nat_words, 3);
	int err;

	if (kind < 0)
		return unknown_word(parser, "translation", nat_words, 3);
	parsed.kind = (enum tree_nat_kind)kind;
	if (kind == TREE_NAT_FORWARD || !at_word(parser, "full-cone"))
		err = parse_match(parser, 0, &parsed.match);
	else
		err = 0;
	if (err)
		return err;
	if (kind != TREE_NAT_MASQUERADE) {
		err = parse_nat_target(parser, &parsed);
	} else if (at_word(parser, "to")) {
		err = bad_token(
			parser, "syntax",
			"it takes the address of the leaving interface; or write `source ... to`",
			"is out of place: masquerade has no target");
	}
	if (!err && at_word(parser, "full-cone") && kind == TREE_NAT_FORWARD)
		return bad_token(parser, "syntax", "it says how `source` and `masquerade` choose ports",
				 "is out of place: a forward is open to everybody anyway");
	if (!err)
		parsed.full_cone = accept_word(parser, "full-cone");
	if (!err)
		*rule = parsed;
	return err;
}

int parse_nat(struct parser *parser, struct tree_nat *nat)
{
	cleanup(nat_rule_vector_free) struct nat_rule_vector vector = { 0 };
	bool more = true, failed = false;
	struct tree_nat_rule *copy;
	struct block block;
	int err = parse_pair(parser, &nat->pair);

	if (!err)
		err = block_open(parser, "`{`", &block, &nat->block);
	while (!err) {
		struct tree_nat_rule rule = { 0 };

		err = block_next(parser, &block, &more);
		if (err || !more)
			break;
		err = parse_nat_rule(parser, &rule);
		err = block_entry_end(parser, &block, err, &failed, &rule.trivia);
		if (!err && nat_rule_vector_push(&vector, rule))
			err = -ENOMEM;
	}
	if (err)
		return err;
	if (failed || !vector.n)
		return failed ? -EINVAL : 0;
	copy = arena_array(parser->arena, vector.n, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, vector.items, vector.n * sizeof(*copy));
	nat->rules = copy;
	nat->rule_n = (uint32_t)vector.n;
	return 0;
}

/* --- options ------------------------------------------------------------ */

static int parse_setting(struct parser *parser, struct tree_setting *setting)
{
	int err = parse_name(parser, "the name of an option", &setting->name);

	if (err)
		return err;
	if (!at_kind(parser, TOKEN_WORD) && !at_kind(parser, TOKEN_STRING))
		return expected(parser, "the value of the option", "`on`, `off` or a number");
	return parse_name(parser, "the value of the option", &setting->value);
}

int parse_settings(struct parser *parser, struct tree_settings *settings)
{
	cleanup(setting_vector_free) struct setting_vector vector = { 0 };
	bool more = true, failed = false;
	struct tree_setting *copy;
	struct block block;
	int err = block_open(parser, "`{`", &block, &settings->block);

	while (!err) {
		struct tree_setting setting = { 0 };

		err = block_next(parser, &block, &more);
		if (err || !more)
			break;
		err = parse_setting(parser, &setting);
		err = block_entry_end(parser, &block, err, &failed, &setting.name.trivia);
		if (!err && setting_vector_push(&vector, setting))
			err = -ENOMEM;
	}
	if (err)
		return err;
	if (failed || !vector.n)
		return failed ? -EINVAL : 0;
	copy = arena_array(parser->arena, vector.n, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, vector.items, vector.n * sizeof(*copy));
	settings->items = copy;
	settings->n = (uint32_t)vector.n;
	return 0;
}
