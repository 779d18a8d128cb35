// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Addresses: single ones, prefixes, ranges, sets, and the targets of translation; files of sets.
 *
 * Addresses become words in host order as soon as they are read, with the first and last of a
 * prefix or range, so nobody behind the parser handles the text of one. What is written loosely
 * but means one thing (host bits behind a prefix, a range of one address) is put right with a
 * warning or silently; what may mean two things is refused with the likely meaning as a hint.
 *
 * An IPv4-mapped IPv6 address is refused: no packet on a wire has one, and the IPv4 address was
 * meant. The block as a whole, ::ffff:0:0/96, or more than it, may be named, for those who drop
 * it.
 */
#include "policy/parser_state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/format.h"

#define ADDRESS_TEXT_MAX 100 /* a range of two long IPv6 addresses has 91 */

VECTOR(address_vector, struct tree_address);
VECTOR(target_vector, struct tree_target);

struct words {
	uint8_t family;
	uint32_t word[4];
};

/* A plain address, IPv4 or IPv6. */
static bool read_address(const char *text, size_t len, struct words *words)
{
	char copy[ADDRESS_TEXT_MAX];
	uint32_t raw[4] = { 0 };

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	words->family = memchr(text, ':', len) ? 6 : 4;
	if (inet_pton(words->family == 6 ? AF_INET6 : AF_INET, copy, raw) != 1)
		return false;
	for (int i = 0; i < 4; i++)
		words->word[i] = ntohl(raw[i]);
	return true;
}

static int compare_words(const uint32_t *a, const uint32_t *b)
{
	for (int i = 0; i < 4; i++) {
		if (a[i] != b[i])
			return a[i] < b[i] ? -1 : 1;
	}
	return 0;
}

static bool is_mapped(const struct words *words)
{
	return words->family == 6 && !words->word[0] && !words->word[1] && words->word[2] == 0xffff;
}

static unsigned family_bits(uint8_t family)
{
	return family == 4 ? 32 : 128;
}

/* Word i of the netmask of a prefix. */
static uint32_t mask_word(unsigned prefix, unsigned i)
{
	if (prefix >= 32 * (i + 1))
		return UINT32_MAX;
	if (prefix <= 32 * i)
		return 0;
	return UINT32_MAX << (32 * (i + 1) - prefix);
}

/* Fills lo and hi of a prefix; true if host bits had to be masked. */
static bool set_prefix(struct tree_address *address, const struct words *words, unsigned prefix)
{
	bool masked = false;

	address->kind = TREE_ADDRESS_PREFIX;
	address->family = words->family;
	address->prefix = (uint8_t)prefix;
	for (unsigned i = 0; i < family_bits(words->family) / 32; i++) {
		uint32_t mask = mask_word(prefix, i);

		masked |= (words->word[i] & ~mask) != 0;
		address->lo[i] = words->word[i] & mask;
		address->hi[i] = words->word[i] | ~mask;
	}
	return masked;
}

/* "did you mean `ADDRESS`?" */
static const char *mean_address(const struct tree_address *address, struct text *hint)
{
	text_puts(hint, "did you mean `");
	format_address(address, hint);
	text_puts(hint, "`?");
	return text_error(hint) ? NULL : text_string(hint);
}

/* The hint names the same addresses as IPv4: one, or `prefix` bits of it, or up to `last`. */
static int fail_mapped(struct parser *parser, struct position position, const struct words *first,
		       const struct words *last, unsigned prefix)
{
	struct words ipv4 = { .family = 4, .word = { first->word[3] } };
	cleanup(text_free) struct text hint = TEXT_INIT(256);
	struct tree_address inner = { 0 };

	set_prefix(&inner, &ipv4, prefix);
	if (compare_words(first->word, last->word) < 0) {
		inner.kind = TREE_ADDRESS_RANGE;
		inner.hi[0] = last->word[3];
	}
	return fail(parser, position, "bad-address", mean_address(&inner, &hint),
		    "IPv4-mapped IPv6 address: no packet has one");
}

/* A netmask such as 255.255.255.0 as the length of its prefix, or -1. */
static int netmask_length(const char *text, size_t len)
{
	struct words words;

	if (!read_address(text, len, &words) || words.family != 4)
		return -1;
	for (unsigned prefix = 0; prefix <= 32; prefix++) {
		if (words.word[0] == mask_word(prefix, 0))
			return (int)prefix;
	}
	return -1;
}

/* Behind the `/` of a prefix. */
static int parse_prefix_length(struct parser *parser, uint8_t family, uint32_t *prefix)
{
	const struct token *token = &parser->token;
	char hint[64];
	int length;

	if (token->kind != TOKEN_WORD || parser->token.space_before)
		return expected(parser, "the length of a prefix behind `/`", NULL);
	length = netmask_length(token->start, token->len);
	if (family == 4 && length >= 0) {
		snprintf(hint, sizeof(hint), "did you mean `/%d`?", length);
		return bad_token(parser, "bad-prefix", hint, "is not the length of a prefix");
	}
	snprintf(hint, sizeof(hint), "an IPv%u prefix has a length from 0 to %u", family,
		 family_bits(family));
	if (!all_digits(token->start, token->len) ||
	    !read_number(token->start, token->len, false, family_bits(family), prefix))
		return bad_token(parser, "bad-prefix", hint, "is not the length of a prefix");
	advance(parser);
	return 0;
}

static int not_an_address(struct parser *parser, const struct token *token)
{
	char buffer[SHOWN_LEN], hint[128];
	const char *said = NULL;

	if (token_is_word(token, "any")) {
		said = "leave it out: without an address every address is meant";
	} else if (name_is_plain(token->start, token->len) && token->len <= NAME_LEN_MAX &&
		   !all_digits(token->start, 1)) {
		snprintf(hint, sizeof(hint),
			 "a set is written `@%.*s`; host names are not looked up", (int)token->len,
			 token->start);
		said = hint;
	}
	return fail(parser, token->position, "bad-address", said, "%s is not an address",
		    shown(token, buffer));
}

/* `10.0.0.1-10.0.0.9`; `dash` is the place of the `-` in the token's text. */
static int read_range(struct parser *parser, const struct token *token, const char *text,
		      size_t len, size_t dash, struct tree_address *address)
{
	const char *last = text + dash + 1;
	size_t last_len = len - dash - 1, stem = dash;
	struct words lo, hi;
	char buffer[SHOWN_LEN], hint[256];

	if (!read_address(text, dash, &lo))
		return not_an_address(parser, token);
	if (lo.family == 4 && all_digits(last, last_len) && last_len <= 3) {
		while (stem > 0 && text[stem - 1] != '.')
			stem--;
		snprintf(hint, sizeof(hint), "did you mean `%.*s-%.*s%.*s`?", (int)dash, text,
			 (int)stem, text, (int)last_len, last);
		return fail(parser, token->position, "bad-range", hint,
			    "the end of the range %s is not an address", shown(token, buffer));
	}
	if (!read_address(last, last_len, &hi))
		return not_an_address(parser, token);
	if (lo.family != hi.family)
		return fail(parser, token->position, "bad-range", NULL,
			    "the ends of the range %s are of different families",
			    shown(token, buffer));
	if (is_mapped(&lo) && is_mapped(&hi))
		return fail_mapped(parser, token->position, &lo, &hi, 32);
	if (compare_words(lo.word, hi.word) > 0) {
		snprintf(hint, sizeof(hint), "did you mean `%.*s-%.*s`?", (int)last_len, last,
			 (int)dash, text);
		return fail(parser, token->position, "bad-range", hint,
			    "the range %s runs backwards", shown(token, buffer));
	}
	set_prefix(address, &lo, family_bits(lo.family));
	if (compare_words(lo.word, hi.word) != 0)
		address->kind = TREE_ADDRESS_RANGE;
	memcpy(address->hi, hi.word, sizeof(hi.word));
	return 0;
}

/* A single address or a range in `text`, which is the token or a part of it. */
static int read_single_or_range(struct parser *parser, const struct token *token, const char *text,
				size_t len, struct tree_address *address)
{
	const char *dash = memchr(text, '-', len);
	struct words words;

	if (len >= ADDRESS_TEXT_MAX)
		return not_an_address(parser, token);
	if (dash)
		return read_range(parser, token, text, len, (size_t)(dash - text), address);
	if (!read_address(text, len, &words))
		return not_an_address(parser, token);
	if (is_mapped(&words))
		return fail_mapped(parser, token->position, &words, &words, 32);
	set_prefix(address, &words, family_bits(words.family));
	return 0;
}

/* The prefix that begins at the current word; the `/` stands behind it. */
static int parse_prefix(struct parser *parser, struct tree_address *address)
{
	struct token first = parser->token;
	struct words words;
	uint32_t prefix;
	int err;

	if (!read_address(first.start, first.len, &words))
		return not_an_address(parser, &first);
	advance(parser);
	advance(parser);
	err = parse_prefix_length(parser, words.family, &prefix);
	if (err)
		return err;
	address->position = span_from(parser, first.position.offset);
	if (is_mapped(&words) && prefix > 96)
		return fail_mapped(parser, address->position, &words, &words, prefix - 96);
	if (set_prefix(address, &words, prefix)) {
		cleanup(text_free) struct text hint = TEXT_INIT(256);

		diagnose(parser->diagnostics, DIAGNOSTIC_WARNING, address->position, "host-bits",
			 mean_address(address, &hint), "`%.*s/%u` has bits set behind its prefix",
			 (int)first.len, first.start, prefix);
	}
	return 0;
}

static int parse_set_name(struct parser *parser, struct tree_address *address)
{
	uint32_t start = parser->token.position.offset;
	struct tree_word name;
	int err;

	advance(parser);
	err = parse_name(parser, "the name of a set behind `@`", &name);
	if (err)
		return err;
	address->kind = TREE_ADDRESS_SET;
	address->set = name.text;
	address->position = span_from(parser, start);
	return 0;
}

int parse_address(struct parser *parser, struct tree_address *address)
{
	struct tree_address parsed = { .position = parser->token.position };
	struct token next;
	int err;

	if (at_kind(parser, TOKEN_AT)) {
		err = parse_set_name(parser, &parsed);
		if (!err)
			*address = parsed;
		return err;
	}
	if (at_kind(parser, TOKEN_NOT))
		return bad_token(parser, "syntax", "`!` stands before the whole list: `!{ a, b }`",
				 "is out of place");
	if (at_kind(parser, TOKEN_OPEN))
		return bad_token(parser, "syntax", "write one list", "is a list within a list");
	if (!at_kind(parser, TOKEN_WORD))
		return expected(parser, "an address", NULL);
	next = peek(parser);
	if (next.kind == TOKEN_SLASH && !next.space_before) {
		err = parse_prefix(parser, &parsed);
	} else {
		err = read_single_or_range(parser, &parser->token, parser->token.start,
					   parser->token.len, &parsed);
		if (!err)
			advance(parser);
	}
	if (!err)
		*address = parsed;
	return err;
}

/* Makes the vector's items an arena array. */
static int keep_addresses(struct parser *parser, const struct address_vector *vector,
			  struct tree_addresses *addresses)
{
	struct tree_address *copy;

	if (!vector->n)
		return 0;
	copy = arena_array(parser->arena, vector->n, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, vector->items, vector->n * sizeof(*copy));
	addresses->items = copy;
	addresses->n = (uint32_t)vector->n;
	return 0;
}

static int parse_address_list(struct parser *parser, struct tree_addresses *addresses)
{
	cleanup(address_vector_free) struct address_vector vector = { 0 };
	struct list list;
	bool more = true;
	int err = list_open(parser, &list);

	while (!err) {
		struct tree_address address;

		err = list_next(parser, &list, &more);
		if (err || !more)
			break;
		err = parse_address(parser, &address);
		if (!err)
			err = list_entry_end(parser, &list, &address.trivia);
		if (!err && address_vector_push(&vector, address))
			err = -ENOMEM;
	}
	if (err)
		return err;
	addresses->braces = true;
	addresses->closing = list.closing;
	addresses->closing_n = list.closing_n;
	return keep_addresses(parser, &vector, addresses);
}

int parse_addresses(struct parser *parser, struct tree_addresses *addresses)
{
	struct tree_addresses parsed = { .position = parser->token.position };
	uint32_t start = parsed.position.offset;
	struct address_vector one = { 0 };
	struct tree_address address;
	int err;

	parsed.negated = accept_kind(parser, TOKEN_NOT);
	if (at_kind(parser, TOKEN_OPEN)) {
		err = parse_address_list(parser, &parsed);
	} else {
		err = parse_address(parser, &address);
		one = (struct address_vector){ .items = &address, .n = 1 };
		if (!err)
			err = keep_addresses(parser, &one, &parsed);
	}
	if (err)
		return err;
	parsed.position = span_from(parser, start);
	*addresses = parsed;
	return 0;
}

/* --- targets ------------------------------------------------------------ */

/* `80` or `8000-8010` of a target. */
static int read_target_ports(struct parser *parser, const struct token *token, const char *text,
			     size_t len, struct tree_target *target)
{
	const char *dash = memchr(text, '-', len);
	size_t first = dash ? (size_t)(dash - text) : len;
	uint32_t lo, hi;
	char buffer[SHOWN_LEN];

	if (!all_digits(text, first) || !read_number(text, first, false, 65535, &lo) || !lo)
		return fail(parser, token->position, "bad-port", "ports are from 1 to 65535",
			    "%s does not end in a port", shown(token, buffer));
	hi = lo;
	if (dash && (!all_digits(dash + 1, len - first - 1) ||
		     !read_number(dash + 1, len - first - 1, false, 65535, &hi)))
		return fail(parser, token->position, "bad-port", "ports are from 1 to 65535",
			    "%s does not end in a range of ports", shown(token, buffer));
	if (hi < lo)
		return fail(parser, token->position, "bad-range", NULL,
			    "the ports of %s run backwards", shown(token, buffer));
	target->has_ports = true;
	target->lo = (uint16_t)lo;
	target->hi = (uint16_t)hi;
	return 0;
}

/* `[2001:db8::1]`, `[2001:db8::1]:80` */
static int parse_bracket_target(struct parser *parser, struct tree_target *target)
{
	uint32_t start = parser->token.position.offset;
	struct token token;
	int err;

	advance(parser);
	if (!at_kind(parser, TOKEN_WORD))
		return expected(parser, "an IPv6 address behind `[`", NULL);
	token = parser->token;
	err = read_single_or_range(parser, &token, token.start, token.len, &target->address);
	if (err)
		return err;
	advance(parser);
	if (target->address.family != 6)
		return fail(parser, token.position, "bad-address", NULL,
			    "only IPv6 addresses stand in brackets");
	if (!at_kind(parser, TOKEN_BRACKET_CLOSE))
		return expected(parser, "`]`", NULL);
	advance(parser);
	if (at_kind(parser, TOKEN_WORD) && !parser->token.space_before) {
		token = parser->token;
		if (token.start[0] != ':')
			return expected(parser, "`:` and a port behind `]`", NULL);
		err = read_target_ports(parser, &token, token.start + 1, token.len - 1, target);
		if (err)
			return err;
		advance(parser);
	}
	target->address.position = span_from(parser, start);
	return 0;
}

int parse_target(struct parser *parser, struct tree_target *target)
{
	struct tree_target parsed = { 0 };
	const struct token *token = &parser->token;
	const char *colon;
	int err;

	parsed.address.position = token->position;
	colon = at_kind(parser, TOKEN_WORD) ? memchr(token->start, ':', token->len) : NULL;
	if (at_kind(parser, TOKEN_AT))
		return bad_token(parser, "syntax", "write the addresses themselves",
				 "is out of place: a target is not a set");
	if (at_kind(parser, TOKEN_BRACKET_OPEN)) {
		err = parse_bracket_target(parser, &parsed);
	} else if (colon &&
		   !memchr(colon + 1, ':', token->len - (size_t)(colon + 1 - token->start))) {
		/* One colon: an IPv4 address and a port. */
		size_t len = (size_t)(colon - token->start);

		err = read_single_or_range(parser, token, token->start, len, &parsed.address);
		if (!err)
			err = read_target_ports(parser, token, colon + 1, token->len - len - 1,
						&parsed);
		if (!err)
			advance(parser);
	} else {
		err = parse_address(parser, &parsed.address);
	}
	if (!err)
		*target = parsed;
	return err;
}

static int keep_targets(struct parser *parser, const struct tree_target *items, size_t n,
			struct tree_targets *targets)
{
	struct tree_target *copy = arena_array(parser->arena, n, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	memcpy(copy, items, n * sizeof(*copy));
	targets->items = copy;
	targets->n = (uint32_t)n;
	return 0;
}

int parse_targets(struct parser *parser, struct tree_targets *targets)
{
	cleanup(target_vector_free) struct target_vector vector = { 0 };
	struct tree_target target;
	struct list list;
	bool more = true;
	int err;

	if (!at_kind(parser, TOKEN_OPEN)) {
		err = parse_target(parser, &target);
		return err ? err : keep_targets(parser, &target, 1, targets);
	}
	err = list_open(parser, &list);
	while (!err) {
		err = list_next(parser, &list, &more);
		if (err || !more)
			break;
		err = parse_target(parser, &target);
		if (!err)
			err = list_entry_end(parser, &list, &target.trivia);
		if (!err && target_vector_push(&vector, target))
			err = -ENOMEM;
	}
	if (err)
		return err;
	if (!vector.n)
		return fail(parser, list.open, "syntax", NULL, "this list is empty");
	targets->braces = true;
	targets->closing = list.closing;
	targets->closing_n = list.closing_n;
	return keep_targets(parser, vector.items, vector.n, targets);
}

/* --- files of sets ------------------------------------------------------ */

static int set_file_entry(struct parser *parser, uint32_t max, struct address_vector *vector)
{
	struct tree_address address;
	char buffer[SHOWN_LEN];
	int err;

	if (at_kind(parser, TOKEN_AT))
		return bad_token(parser, "syntax", "a file of a set holds addresses only",
				 "is out of place");
	err = parse_address(parser, &address);
	if (err)
		return err;
	accept_kind(parser, TOKEN_COMMA);
	if (!at_kind(parser, TOKEN_NEWLINE) && !at_kind(parser, TOKEN_END)) {
		if (at_kind(parser, TOKEN_BAD))
			return -EINVAL;
		return fail(parser, parser->token.position, "syntax", "one entry a line",
			    "expected the end of the line, found %s",
			    shown(&parser->token, buffer));
	}
	if (vector->n >= max) {
		fail(parser, address.position, "too-many", NULL, "more than %u entries", max);
		return -E2BIG;
	}
	return address_vector_push(vector, address) ? -ENOMEM : 0;
}

int set_file_parse(const struct source_set *sources, uint32_t source, uint32_t max,
		   struct diagnostics *diagnostics, struct tree_address **items, uint32_t *n)
{
	cleanup(address_vector_free) struct address_vector vector = { 0 };
	struct arena unused = { 0 };
	struct parser parser = { .arena = &unused, .diagnostics = diagnostics };
	unsigned errors = diagnostics->errors;
	int err = 0;

	lexer_init(&parser.lexer, sources, source, diagnostics);
	lexer_next(&parser.lexer, &parser.token);
	while (!at_kind(&parser, TOKEN_END) && err != -ENOMEM && err != -E2BIG) {
		if (accept_kind(&parser, TOKEN_NEWLINE))
			continue;
		err = set_file_entry(&parser, max, &vector);
		if (err == -EINVAL) {
			parser.lexer.quiet = true;
			while (!at_kind(&parser, TOKEN_NEWLINE) && !at_kind(&parser, TOKEN_END))
				advance(&parser);
			parser.lexer.quiet = false;
		}
	}
	arena_free(&unused);
	if (err == -ENOMEM || err == -E2BIG)
		return err;
	if (diagnostics->errors != errors)
		return -EINVAL;
	*items = take(vector.items);
	*n = (uint32_t)vector.n;
	return 0;
}
