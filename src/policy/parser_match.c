// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/parser_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/field.h"
#include "policy/protocols.h"

/* --- conditions --------------------------------------------------------- */

#define ALL_FLAGS 0xffu

/* `syn,ack`, `none`, `all` */
static int parse_flag_list(struct parser *parser, uint32_t *bits)
{
	uint32_t parsed = 0;

	if (accept_word(parser, "none")) {
		*bits = 0;
		return 0;
	}
	if (accept_word(parser, "all")) {
		*bits = ALL_FLAGS;
		return 0;
	}
	do {
		int found = accept_one_of(parser, tree_flag_words, TREE_FLAG_WORDS);

		if (found < 0)
			return unknown_word(parser, "TCP flag", tree_flag_words, TREE_FLAG_WORDS);
		parsed |= tree_flag_bits[found];
	} while (accept_kind(parser, TOKEN_COMMA));
	*bits = parsed;
	return 0;
}

/* `syn/syn,ack`: of syn and ack just syn; `syn`: syn at least. */
static int parse_flags(struct parser *parser, struct tree_condition *condition)
{
	uint32_t start = parser->token.position.offset;
	struct tree_masked flags = { 0 };
	int err = parse_flag_list(parser, &flags.value);

	if (err)
		return err;
	flags.mask = flags.value;
	if (accept_kind(parser, TOKEN_SLASH)) {
		err = parse_flag_list(parser, &flags.mask);
		if (err)
			return err;
		if (flags.value & ~flags.mask)
			return fail(parser, span_from(parser, start), "bad-mask",
				    "the flags before `/` are among those behind it",
				    "no packet can match these flags");
	}
	if (!flags.mask)
		return fail(parser, span_from(parser, start), "bad-mask",
			    "say which flags are looked at: `none/syn,ack`",
			    "these flags match every packet");
	flags.has_mask = flags.mask != flags.value;
	condition->masked = flags;
	return 0;
}

static int parse_masked_number(struct parser *parser, bool *hex, uint32_t *number)
{
	const struct token *token = &parser->token;

	if (token->kind != TOKEN_WORD || token->start[0] < '0' || token->start[0] > '9')
		return expected(parser, "a number such as `0x10`", NULL);
	if (!read_number(token->start, token->len, true, UINT32_MAX, number))
		return bad_token(parser, "bad-number", "32 bits, decimal or with 0x",
				 "is not a number for a mark");
	*hex |= token->len > 1 && (token->start[1] | 0x20) == 'x';
	advance(parser);
	return 0;
}

int parse_masked(struct parser *parser, struct tree_masked *masked)
{
	uint32_t start = parser->token.position.offset;
	struct tree_masked parsed = { .mask = UINT32_MAX };
	char hint[64];
	int err = parse_masked_number(parser, &parsed.hex, &parsed.value);

	if (err)
		return err;
	if (accept_kind(parser, TOKEN_SLASH)) {
		err = parse_masked_number(parser, &parsed.hex, &parsed.mask);
		if (err)
			return err;
		if (!parsed.mask || (parsed.value & ~parsed.mask)) {
			snprintf(hint, sizeof(hint), "did you mean `0x%x/0x%x`?", parsed.value,
				 parsed.mask | parsed.value);
			return fail(parser, span_from(parser, start), "bad-mask",
				    parsed.value ? hint : NULL,
				    "the value lies outside of its mask");
		}
	}
	parsed.has_mask = parsed.mask != UINT32_MAX;
	*masked = parsed;
	return 0;
}

static int parse_mark(struct parser *parser, struct tree_condition *condition)
{
	return parse_masked(parser, &condition->masked);
}

/* The bounds that a comparison with `value` means; false when nothing is left. */
static bool compare_bounds(enum tree_comparison comparison, uint32_t value, uint32_t max,
			   struct tree_span *span)
{
	*span = (struct tree_span){ .comparison = comparison, .lo = 0, .hi = max };
	switch (comparison) {
	case TREE_IN:
		span->lo = span->hi = value;
		return true;
	case TREE_LESS:
		span->hi = value - 1;
		return value > 0;
	case TREE_LESS_EQUAL:
		span->hi = value;
		return true;
	case TREE_GREATER:
		span->lo = value + 1;
		return value < max;
	case TREE_GREATER_EQUAL:
		span->lo = value;
		return true;
	}
	return false;
}

/* `128-1500` */
static int parse_span_range(struct parser *parser, const char *dash, uint32_t max,
			    struct tree_span *span)
{
	const struct token *token = &parser->token;
	size_t first = (size_t)(dash - token->start);
	char hint[64];
	uint32_t lo, hi;

	if (!read_number(token->start, first, false, max, &lo) ||
	    !read_number(dash + 1, token->len - first - 1, false, max, &hi)) {
		snprintf(hint, sizeof(hint), "numbers from 0 to %u", max);
		return bad_token(parser, "bad-range", hint, "is not a range of numbers");
	}
	if (lo > hi) {
		snprintf(hint, sizeof(hint), "did you mean `%u-%u`?", hi, lo);
		return bad_token(parser, "bad-range", hint, "runs backwards");
	}
	*span = (struct tree_span){ .comparison = TREE_IN, .lo = lo, .hi = hi };
	advance(parser);
	return 0;
}

static int parse_span(struct parser *parser, uint32_t max, struct tree_span *span)
{
	static const enum token_kind signs[] = {
		[TREE_IN] = TOKEN_END,
		[TREE_LESS] = TOKEN_LESS,
		[TREE_LESS_EQUAL] = TOKEN_LESS_EQUAL,
		[TREE_GREATER] = TOKEN_GREATER,
		[TREE_GREATER_EQUAL] = TOKEN_GREATER_EQUAL,
	};
	uint32_t start = parser->token.position.offset, value;
	enum tree_comparison comparison = TREE_IN;
	const char *dash;
	int err;

	for (unsigned i = TREE_LESS; i <= TREE_GREATER_EQUAL; i++) {
		if (accept_kind(parser, signs[i])) {
			comparison = i;
			break;
		}
	}
	dash = at_kind(parser, TOKEN_WORD) ? memchr(parser->token.start, '-', parser->token.len) :
					     NULL;
	if (comparison == TREE_IN && dash)
		return parse_span_range(parser, dash, max, span);
	err = parse_number(parser, "a number, a range or a comparison", 0, max, &value);
	if (err)
		return err;
	if (!compare_bounds(comparison, value, max, span))
		return fail(parser, span_from(parser, start), "bad-range", NULL,
			    "no packet can match this");
	return 0;
}

static int parse_length(struct parser *parser, struct tree_condition *condition)
{
	return parse_span(parser, UINT32_MAX, &condition->span);
}

static int parse_ttl(struct parser *parser, struct tree_condition *condition)
{
	return parse_span(parser, 255, &condition->span);
}

static int parse_dscp(struct parser *parser, struct tree_condition *condition)
{
	const struct token *token = &parser->token;
	char name[SHOWN_LEN], buffer[SHOWN_LEN], hint[SHOWN_LEN * 2];
	uint32_t number;
	int found;

	if (token->kind != TOKEN_WORD)
		return expected(parser, "a DSCP class or number", NULL);
	if (read_number(token->start, token->len, true, 63, &number)) {
		condition->dscp.value = (uint8_t)number;
		advance(parser);
		return 0;
	}
	snprintf(name, sizeof(name), "%.*s", token->len < 60 ? (int)token->len : 60, token->start);
	found = dscp_find(name);
	if (found < 0)
		return fail(parser, token->position, "unknown-word",
			    did_you_mean(dscp_nearest(name), hint, sizeof(hint)),
			    "unknown DSCP class %s", shown(token, buffer));
	condition->dscp.value = (uint8_t)found;
	condition->dscp.name = arena_copy(parser->arena, token->start, token->len);
	advance(parser);
	return condition->dscp.name ? 0 : -ENOMEM;
}

static int parse_mac(struct parser *parser, struct tree_condition *condition)
{
	const struct token *token = &parser->token;

	if (token->kind != TOKEN_WORD)
		return expected(parser, "a MAC address", NULL);
	for (uint32_t i = 0; i < 6; i++) {
		char digits[] = "0x00";
		uint32_t byte;

		if (token->len != 17 || (i < 5 && token->start[3 * i + 2] != ':'))
			return bad_token(parser, "bad-mac", "six bytes: `02:00:5e:10:00:01`",
					 "is not a MAC address");
		memcpy(digits + 2, token->start + (size_t)3 * i, 2);
		if (!read_number(digits, 4, true, 255, &byte))
			return bad_token(parser, "bad-mac", "six bytes: `02:00:5e:10:00:01`",
					 "is not a MAC address");
		condition->mac[i] = (uint8_t)byte;
	}
	advance(parser);
	return 0;
}

static int parse_state(struct parser *parser, struct tree_condition *condition)
{
	static const char *const words[] = { [STATE_NEW] = "new", [STATE_UNTRACKED] = "untracked" };
	int found = accept_one_of(parser, words, 2);

	if (at_word(parser, "established") || at_word(parser, "related"))
		return bad_token(parser, "syntax",
				 "packets of known flows pass before any rule; no rule is needed",
				 "is not a state of rules");
	if (found < 0)
		return unknown_word(parser, "state", words, 2);
	condition->state = (uint8_t)found;
	return 0;
}

static int parse_fragment(struct parser *parser, struct tree_condition *condition)
{
	(void)parser;
	(void)condition;
	return 0;
}

static int (*const parse_condition[])(struct parser *, struct tree_condition *) = {
	[TREE_FLAGS] = parse_flags,	  [TREE_LENGTH] = parse_length, [TREE_DSCP] = parse_dscp,
	[TREE_MARK] = parse_mark,	  [TREE_MAC] = parse_mac,	[TREE_STATE] = parse_state,
	[TREE_FRAGMENT] = parse_fragment, [TREE_TTL] = parse_ttl,
};

/* Is the current word the option `mark set`, not the condition `mark 0x1`? */
static bool at_mark_set(const struct parser *parser)
{
	struct token next;

	if (!at_word(parser, "mark"))
		return false;
	next = peek(parser);
	return token_is_word(&next, "set");
}

static int parse_conditions(struct parser *parser, struct tree_match *match)
{
	struct tree_condition found[TREE_CONDITION_KINDS] = { 0 }, *kept;
	bool seen[TREE_CONDITION_KINDS] = { false };
	uint32_t n = 0;

	while (!at_mark_set(parser)) {
		struct position position = parser->token.position;
		int kind = accept_one_of(parser, tree_condition_words, TREE_CONDITION_KINDS);
		int err;

		if (kind < 0)
			break;
		if (seen[kind])
			return fail(parser, position, "duplicate", NULL, "`%s` is given twice",
				    tree_condition_words[kind]);
		seen[kind] = true;
		found[kind].kind = (enum tree_condition_kind)kind;
		err = parse_condition[kind](parser, &found[kind]);
		if (err)
			return err;
		found[kind].position = span_from(parser, position.offset);
		n++;
	}
	if (!n)
		return 0;
	kept = arena_array(parser->arena, n, sizeof(*kept));
	if (!kept)
		return -ENOMEM;
	match->conditions = kept;
	for (unsigned kind = 0; kind < TREE_CONDITION_KINDS; kind++) {
		if (seen[kind])
			kept[match->condition_n++] = found[kind];
	}
	return 0;
}

/* --- match -------------------------------------------------------------- */

static int new_addresses(struct parser *parser, const struct tree_addresses **addresses)
{
	struct tree_addresses *parsed = arena_new(parser->arena, struct tree_addresses);
	int err = parsed ? parse_addresses(parser, parsed) : -ENOMEM;

	if (!err && !parsed->n)
		err = fail(parser, parsed->position, "syntax", NULL, "this list is empty");
	if (!err)
		*addresses = parsed;
	return err;
}

static int parse_from(struct parser *parser, struct tree_match *match)
{
	struct tree_service *ports;
	int err = 0;

	if (!at_word(parser, "port"))
		err = new_addresses(parser, &match->from);
	if (err || !accept_word(parser, "port"))
		return err;
	ports = arena_new(parser->arena, struct tree_service);
	err = ports ? parse_ports(parser, ports) : -ENOMEM;
	if (!err)
		match->from_ports = ports;
	return err;
}

static int parse_to(struct parser *parser, struct tree_match *match)
{
	int err;

	if (!at_word(parser, "port")) {
		err = new_addresses(parser, &match->to);
		if (err)
			return err;
	}
	if (at_word(parser, "port"))
		return bad_token(parser, "syntax",
				 "the destination port is the service: `allow 22/tcp to 192.0.2.1`",
				 "is out of place");
	return 0;
}

/* Does a service begin here, rather than what stands behind one? */
static bool at_service(const struct parser *parser)
{
	static const char *const behind[] = { "from", "to", "is", "except" };

	if (at_kind(parser, TOKEN_OPEN) || at_kind(parser, TOKEN_STRING))
		return true;
	if (!at_kind(parser, TOKEN_WORD))
		return false;
	for (size_t i = 0; i < sizeof(behind) / sizeof(*behind); i++) {
		if (at_word(parser, behind[i]))
			return false;
	}
	for (size_t i = 0; i < TREE_CONDITION_KINDS; i++) {
		if (at_word(parser, tree_condition_words[i]))
			return false;
	}
	for (size_t i = 0; i < TREE_OPTION_KINDS; i++) {
		size_t first = strcspn(tree_option_words[i], " ");

		if (parser->token.len == first &&
		    memcmp(parser->token.start, tree_option_words[i], first) == 0)
			return false;
	}
	return true;
}

int parse_match_to(struct parser *parser, struct tree_match *match)
{
	advance(parser);
	return parse_to(parser, match);
}

int parse_match(struct parser *parser, unsigned parts, struct tree_match *match)
{
	struct tree_match parsed = { 0 };
	struct tree_service *service;
	int err = 0;

	if (!(parts & MATCH_NO_SERVICE) && at_service(parser)) {
		service = arena_new(parser->arena, struct tree_service);
		err = service ? parse_service(parser, service) : -ENOMEM;
		parsed.service = service;
	}
	if (!err && accept_word(parser, "from"))
		err = parse_from(parser, &parsed);
	if (!err && (parts & MATCH_TO) && accept_word(parser, "to"))
		err = parse_to(parser, &parsed);
	if (!err && (parts & MATCH_CONDITIONS))
		err = parse_conditions(parser, &parsed);
	if (!err)
		*match = parsed;
	return err;
}
