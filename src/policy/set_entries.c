// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/set_entries.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "policy/parser_state.h"

typedef unsigned __int128 wide;

static wide wide_of(const uint32_t words[4])
{
	return (wide)words[0] << 96 | (wide)words[1] << 64 | (wide)words[2] << 32 | words[3];
}

static void words_of(wide value, uint32_t words[4])
{
	for (unsigned i = 0; i < 4; i++)
		words[i] = (uint32_t)(value >> (96 - 32 * i));
}

static unsigned trailing_zeros(wide value)
{
	if ((uint64_t)value)
		return (unsigned)__builtin_ctzll((uint64_t)value);
	return value ? 64 + (unsigned)__builtin_ctzll((uint64_t)(value >> 64)) : 128;
}

static unsigned leading_zeros(wide value)
{
	if ((uint64_t)(value >> 64))
		return (unsigned)__builtin_clzll((uint64_t)(value >> 64));
	return value ? 64 + (unsigned)__builtin_clzll((uint64_t)value) : 128;
}

/* The range as the fewest prefixes; at most two for each bit of an address. */
static int push_range(const struct tree_address *address, uint32_t timeout, size_t max,
		      struct set_entry_vector *entries)
{
	unsigned spare = address->family == 4 ? 96 : 0; /* IPv4 is in the first word */
	wide lo = wide_of(address->lo) >> spare, hi = wide_of(address->hi) >> spare;

	for (;;) {
		struct set_entry entry = { .timeout = timeout, .family = address->family };
		wide left = hi - lo;
		/* As long as its bits are zero in `lo`, and it does not end behind `hi`. */
		unsigned bits = trailing_zeros(lo), most = 128 - spare, fits;

		fits = left + 1 ? 127 - leading_zeros(left + 1) : 128;
		bits = bits < fits ? bits : fits;
		bits = bits < most ? bits : most;
		words_of(lo << spare, entry.address);
		entry.prefix = (uint8_t)(most - bits);
		if (entries->n >= max)
			return -E2BIG;
		if (set_entry_vector_push(entries, entry))
			return -ENOMEM;
		if (bits == most || left == ((wide)1 << bits) - 1)
			return 0;
		lo += (wide)1 << bits;
	}
}

static int parse_time(struct parser *parser, uint32_t *timeout)
{
	*timeout = ENTRY_AS_SET;
	if (accept_word(parser, "forever")) {
		*timeout = ENTRY_FOREVER;
		return 0;
	}
	return accept_word(parser, "timeout") ? parse_duration(parser, timeout) : 0;
}

static int parse_entry(struct parser *parser, size_t max, struct set_entry_vector *entries)
{
	struct tree_address address;
	char buffer[SHOWN_LEN];
	uint32_t timeout;
	int err;

	if (at_kind(parser, TOKEN_AT))
		return bad_token(parser, "syntax", "write the addresses themselves",
				 "is out of place");
	err = parse_address(parser, &address);
	if (!err)
		err = parse_time(parser, &timeout);
	if (err)
		return err;
	accept_kind(parser, TOKEN_COMMA);
	if (!at_kind(parser, TOKEN_NEWLINE) && !at_kind(parser, TOKEN_END)) {
		if (at_kind(parser, TOKEN_BAD))
			return -EINVAL;
		return fail(parser, parser->token.position, "syntax",
			    "ADDRESS, then `timeout DURATION` or `forever`",
			    "expected the end of the entry, found %s",
			    shown(&parser->token, buffer));
	}
	err = push_range(&address, timeout, max, entries);
	if (err == -E2BIG)
		fail(parser, address.position, "too-many", NULL, "more than %zu entries", max);
	return err;
}

static int parse_all(struct parser *parser, size_t max, struct set_entry_vector *entries)
{
	int err = 0;

	lexer_next(&parser->lexer, &parser->token);
	while (!at_kind(parser, TOKEN_END) && err != -ENOMEM && err != -E2BIG) {
		if (accept_kind(parser, TOKEN_NEWLINE))
			continue;
		err = parse_entry(parser, max, entries);
		if (err == -EINVAL) {
			parser->lexer.quiet = true;
			while (!at_kind(parser, TOKEN_NEWLINE) && !at_kind(parser, TOKEN_END))
				advance(parser);
			parser->lexer.quiet = false;
		}
	}
	return err;
}

int set_entries_parse(const struct source_set *sources, uint32_t source, size_t max,
		      struct diagnostics *diagnostics, struct set_entry_vector *entries)
{
	cleanup(set_entry_vector_free) struct set_entry_vector read = { 0 };
	struct arena unused = { 0 };
	struct parser parser = { .arena = &unused, .diagnostics = diagnostics };
	unsigned errors = diagnostics->errors;
	int err;

	lexer_init(&parser.lexer, sources, source, diagnostics);
	err = parse_all(&parser, max, &read);
	arena_free(&unused);
	if (err == -ENOMEM || err == -E2BIG)
		return err;
	if (diagnostics->errors != errors)
		return -EINVAL;
	if (set_entry_vector_reserve(entries, read.n))
		return -ENOMEM;
	if (read.n)
		memcpy(entries->items + entries->n, read.items, read.n * sizeof(*read.items));
	entries->n += read.n;
	return 0;
}

void set_entry_text(uint8_t family, uint8_t prefix, const uint32_t address[4], struct text *out)
{
	char buffer[INET6_ADDRSTRLEN];
	uint32_t network[4];

	for (unsigned i = 0; i < 4; i++)
		network[i] = htonl(address[i]);
	if (inet_ntop(family == 6 ? AF_INET6 : AF_INET, network, buffer, sizeof(buffer)))
		text_puts(out, buffer);
	if (prefix != (family == 6 ? 128 : 32))
		text_printf(out, "/%u", prefix);
}
