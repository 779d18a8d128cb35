// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/parser_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- actions ------------------------------------------------------------ */

#define POLICY_ACTIONS 3 /* allow, drop, reject */

static const char *const early_actions[] = { "drop", "limit", "protect" };

/* What other languages say. */
static const struct {
	const char *word, *ours;
} synonyms[] = {
	{ "accept", "allow" },	{ "pass", "allow" },	{ "permit", "allow" },
	{ "deny", "drop" },	{ "block", "drop" },	{ "discard", "drop" },
	{ "refuse", "reject" }, { "allowed", "allow" },
};

bool at_action(const struct parser *parser)
{
	for (unsigned i = 0; i < POLICY_ACTIONS; i++) {
		if (at_word(parser, tree_action_words[i]))
			return true;
	}
	return false;
}

static int unknown_action(struct parser *parser, const char *what, const char *const *words,
			  size_t n)
{
	char buffer[SHOWN_LEN], hint[SHOWN_LEN];

	for (size_t i = 0; i < sizeof(synonyms) / sizeof(*synonyms); i++) {
		if (at_word(parser, synonyms[i].word))
			return fail(parser, parser->token.position, "unknown-word",
				    did_you_mean(synonyms[i].ours, hint, sizeof(hint)),
				    "unknown %s %s", what, shown(&parser->token, buffer));
	}
	return unknown_word(parser, what, words, n);
}

int parse_action(struct parser *parser, const char *what, enum tree_action *action,
		 enum reject *reject)
{
	int found = accept_one_of(parser, tree_action_words, POLICY_ACTIONS);

	if (found < 0)
		return unknown_action(parser, what, tree_action_words, POLICY_ACTIONS);
	*action = (enum tree_action)found;
	*reject = REJECT_DEFAULT;
	if (found != TREE_REJECT || !accept_word(parser, "with"))
		return 0;
	found = accept_one_of(parser, tree_reject_words + 1, REJECT_KINDS - 1);
	if (found < 0)
		return unknown_word(parser, "reject answer", tree_reject_words + 1,
				    REJECT_KINDS - 1);
	*reject = (enum reject)(found + 1);
	return 0;
}

/* --- rates -------------------------------------------------------------- */

static bool is_unit(const struct token *token)
{
	for (size_t i = 0; i < TREE_UNITS; i++) {
		if (token->kind == TOKEN_WORD && token->len == 1 &&
		    token->start[0] == tree_units[i].letter)
			return true;
	}
	return false;
}

/* Does a rate begin here: `10/s`, `6 per 30s`? */
static bool at_rate(const struct parser *parser)
{
	struct parser ahead = *parser;

	if (!at_kind(parser, TOKEN_WORD) || !all_digits(parser->token.start, parser->token.len))
		return false;
	ahead.lexer.quiet = true;
	advance(&ahead);
	if (at_word(&ahead, "per"))
		return true;
	return accept_kind(&ahead, TOKEN_SLASH) && is_unit(&ahead.token);
}

static int parse_each(struct parser *parser, enum tree_each *each, uint8_t *prefix)
{
	uint32_t bits = 0;
	int found, err;

	if (!accept_word(parser, "each"))
		return 0;
	found = accept_one_of(parser, tree_each_words + 1, 2);
	if (found < 0)
		return unknown_word(parser, "word", tree_each_words + 1, 2);
	*each = (enum tree_each)(found + 1);
	if (!accept_kind(parser, TOKEN_SLASH))
		return 0;
	err = parse_number(parser, "how many bits of an IPv6 address make one", 1, 128, &bits);
	*prefix = (uint8_t)bits;
	return err;
}

static int parse_period(struct parser *parser, uint32_t *period)
{
	if (accept_word(parser, "per"))
		return parse_duration(parser, period);
	if (!accept_kind(parser, TOKEN_SLASH))
		return expected(parser, "`/s` or `per 30s` behind the number", NULL);
	if (!is_unit(&parser->token))
		return expected(parser, "one of s, m, h, d behind `/`",
				"other periods are written `6 per 30s`");
	for (size_t i = 0; i < TREE_UNITS; i++) {
		if (parser->token.start[0] == tree_units[i].letter)
			*period = tree_units[i].seconds;
	}
	advance(parser);
	return 0;
}

static int parse_rate(struct parser *parser, struct tree_rate *rate)
{
	int err = parse_number(parser, "a rate such as `10/s` or `6 per 30s`", 1, UINT32_MAX,
			       &rate->count);

	if (!err)
		err = parse_period(parser, &rate->period);
	if (!err && accept_word(parser, "burst"))
		err = parse_number(parser, "the number of a burst", 1, UINT32_MAX, &rate->burst);
	if (!err)
		err = parse_each(parser, &rate->each, &rate->prefix);
	return err;
}

/* --- options ------------------------------------------------------------ */

static int option_limit(struct parser *parser, struct tree_option *option)
{
	return parse_rate(parser, &option->rate);
}

static int option_log(struct parser *parser, struct tree_option *option)
{
	struct tree_word word;
	uint32_t one;
	int err;

	option->log.sample = 1;
	if (at_kind(parser, TOKEN_STRING)) {
		err = parse_text(parser, "a text", TEXT_LEN_MAX, &word);
		if (err)
			return err;
		option->log.text = word.text;
	}
	if (!accept_word(parser, "sample"))
		return 0;
	err = parse_number(parser, "a sample such as `1/100`", 0, UINT32_MAX, &one);
	if (!err && one != 1)
		return fail(parser, option->position, "bad-number",
			    "one of a number is logged: `sample 1/100`",
			    "a sample begins with `1/`");
	if (!err && !accept_kind(parser, TOKEN_SLASH))
		err = expected(parser, "`/` of a sample such as `1/100`", NULL);
	if (!err)
		err = parse_number(parser, "the number behind `1/`", 1, UINT32_MAX,
				   &option->log.sample);
	return err;
}

static int option_count(struct parser *parser, struct tree_option *option)
{
	return parse_name(parser, "the name of a counter", &option->name);
}

static int option_mark_set(struct parser *parser, struct tree_option *option)
{
	if (!accept_word(parser, "set"))
		return expected(parser, "`set` behind `mark`",
				"a condition `mark 0x1` stands before all options");
	return parse_masked(parser, &option->masked);
}

static int option_stateless(struct parser *parser, struct tree_option *option)
{
	(void)parser;
	(void)option;
	return 0;
}

static int option_timeout(struct parser *parser, struct tree_option *option)
{
	return parse_duration(parser, &option->seconds);
}

static int option_max_flows(struct parser *parser, struct tree_option *option)
{
	int err;

	if (!accept_word(parser, "flows"))
		return expected(parser, "`flows` behind `max`", NULL);
	err = parse_number(parser, "the number of flows", 1, UINT32_MAX, &option->max_flows.n);
	return err ? err : parse_each(parser, &option->max_flows.each, &option->max_flows.prefix);
}

static int option_add(struct parser *parser, struct tree_option *option)
{
	int found = accept_one_of(parser, tree_each_words + 1, 2);

	if (found < 0)
		return unknown_word(parser, "word", tree_each_words + 1, 2);
	option->add.what = (enum tree_each)(found + 1);
	if (!accept_word(parser, "to"))
		return expected(parser, "`to @SET`", NULL);
	if (!accept_kind(parser, TOKEN_AT))
		return expected(parser, "a set such as `@scanners`", NULL);
	return parse_name(parser, "the name of a set behind `@`", &option->add.set);
}

static int option_id(struct parser *parser, struct tree_option *option)
{
	return parse_name(parser, "the name of a rule", &option->name);
}

static int (*const parse_option[])(struct parser *, struct tree_option *) = {
	[TREE_OPTION_LIMIT] = option_limit,
	[TREE_OPTION_LOG] = option_log,
	[TREE_OPTION_COUNT] = option_count,
	[TREE_OPTION_MARK_SET] = option_mark_set,
	[TREE_OPTION_STATELESS] = option_stateless,
	[TREE_OPTION_TIMEOUT] = option_timeout,
	[TREE_OPTION_MAX_FLOWS] = option_max_flows,
	[TREE_OPTION_ADD] = option_add,
	[TREE_OPTION_ID] = option_id,
};

/* Reads the first word of an option; -1 when there is none. */
static int accept_option(struct parser *parser)
{
	for (unsigned kind = 0; kind < TREE_OPTION_KINDS; kind++) {
		const char *words = tree_option_words[kind];
		size_t first = strcspn(words, " ");

		if (at_kind(parser, TOKEN_WORD) && parser->token.len == first &&
		    memcmp(parser->token.start, words, first) == 0) {
			advance(parser);
			return (int)kind;
		}
	}
	return -1;
}

struct options {
	struct tree_option found[TREE_OPTION_KINDS];
	bool seen[TREE_OPTION_KINDS];
	uint32_t n;
};

static int parse_options(struct parser *parser, struct options *options)
{
	for (;;) {
		struct position position = parser->token.position;
		int kind = accept_option(parser), err;

		if (kind < 0)
			return 0;
		if (options->seen[kind])
			return fail(parser, position, "duplicate", NULL, "`%s` is given twice",
				    tree_option_words[kind]);
		options->found[kind].kind = (enum tree_option_kind)kind;
		options->found[kind].position = position;
		err = parse_option[kind](parser, &options->found[kind]);
		if (err)
			return err;
		options->found[kind].position = span_from(parser, position.offset);
		options->seen[kind] = true;
		options->n++;
	}
}

static int keep_options(struct parser *parser, const struct options *options,
			struct tree_rule *rule)
{
	struct tree_option *kept;

	if (!options->n)
		return 0;
	kept = arena_array(parser->arena, options->n, sizeof(*kept));
	if (!kept)
		return -ENOMEM;
	rule->options = kept;
	for (unsigned kind = 0; kind < TREE_OPTION_KINDS; kind++) {
		if (options->seen[kind])
			kept[rule->option_n++] = options->found[kind];
	}
	return 0;
}

/* --- rules -------------------------------------------------------------- */

#define RULE_ORDER "ACTION [SERVICE] [from ...] [to ...] [conditions] [options]"

/* The rule should end here, but something stands in the way: what was it meant to be? */
static int stray_word(struct parser *parser)
{
	static const char *const places[] = { "from", "to" };
	const char *words[2 + TREE_CONDITION_KINDS + TREE_OPTION_KINDS];
	const struct token *token = &parser->token;
	size_t n = 0;

	if (token->kind != TOKEN_WORD)
		return expected(parser, "the end of the rule", NULL);
	for (size_t i = 0; i < 2; i++)
		words[n++] = places[i];
	for (size_t i = 0; i < TREE_CONDITION_KINDS; i++)
		words[n++] = tree_condition_words[i];
	for (size_t i = 0; i < n; i++) {
		if (token_is_word(token, words[i]))
			return bad_token(parser, "order", "the order is " RULE_ORDER,
					 "stands too late in the rule");
	}
	if (memchr(token->start, '.', token->len) || memchr(token->start, ':', token->len))
		return expected(parser, "the end of the rule",
				"an address stands behind `from` or `to`");
	if (all_digits(token->start, token->len))
		return expected(parser, "the end of the rule",
				"several services are written `{ 80/tcp, 443/tcp }`");
	for (size_t i = 0; i < TREE_OPTION_KINDS; i++)
		words[n++] = tree_option_words[i];
	return unknown_word(parser, "word", words, n);
}

static bool at_end(const struct parser *parser)
{
	return at_kind(parser, TOKEN_NEWLINE) || at_kind(parser, TOKEN_SEMICOLON) ||
	       at_kind(parser, TOKEN_CLOSE) || at_kind(parser, TOKEN_END);
}

static int parse_early_action(struct parser *parser, struct tree_rule *rule)
{
	static const enum tree_action meaning[] = { TREE_DROP, TREE_LIMIT, TREE_PROTECT };
	int found = accept_one_of(parser, early_actions, 3);

	if (found < 0)
		return unknown_action(parser, "statement of `early`", early_actions, 3);
	rule->action = meaning[found];
	return 0;
}

int parse_rule(struct parser *parser, enum rule_place place, struct tree_rule *rule)
{
	struct tree_rule parsed = { .position = parser->token.position };
	struct options options = { 0 };
	unsigned parts = MATCH_ALL;
	int err;

	if (place == IN_EARLY)
		err = parse_early_action(parser, &parsed);
	else
		err = parse_action(parser, "action", &parsed.action, &parsed.reject);
	if (!err && parsed.action == TREE_LIMIT && at_rate(parser))
		parts |= MATCH_NO_SERVICE;
	if (!err)
		err = parse_match(parser, parts, &parsed.match);
	if (!err && parsed.action == TREE_LIMIT) {
		struct tree_option *limit = &options.found[TREE_OPTION_LIMIT];
		uint32_t start = parser->token.position.offset;

		err = parse_rate(parser, &limit->rate);
		limit->kind = TREE_OPTION_LIMIT;
		limit->position = span_from(parser, start);
		options.seen[TREE_OPTION_LIMIT] = true;
		options.n = 1;
	}
	if (!err)
		err = parse_options(parser, &options);
	if (!err && !at_end(parser))
		err = stray_word(parser);
	if (!err)
		err = keep_options(parser, &options, &parsed);
	if (!err)
		*rule = parsed;
	return err;
}
