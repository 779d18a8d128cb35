// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/parser_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/icmp.h"
#include "policy/protocols.h"

VECTOR(service_vector, struct tree_service);

#define ICMP 1
#define ICMPV6 58
#define TCP 6

/* Words of rules: none of them is a service unless it is quoted. */
static const char *const reserved[] = {
	"from",	   "to",       "port",	"flags", "length", "dscp",  "mark",	 "mac",
	"state",   "fragment", "ttl",	"limit", "log",	   "count", "stateless", "timeout",
	"max",	   "add",      "id",	"is",	 "except", "allow", "drop",	 "reject",
	"default", "per",      "burst", "each",	 "type",   "code",  "sample",
};

static bool is_reserved(const struct token *token)
{
	for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++) {
		if (token_is_word(token, reserved[i]))
			return true;
	}
	return false;
}

static bool has_letter(const struct token *token)
{
	for (uint32_t i = 0; i < token->len; i++) {
		if ((token->start[i] | 0x20) >= 'a' && (token->start[i] | 0x20) <= 'z')
			return true;
	}
	return false;
}

/* `80` or `6000-6063` */
static int parse_port_range(struct parser *parser, struct tree_service *service)
{
	const struct token *token = &parser->token;
	const char *dash = memchr(token->start, '-', token->len), *last;
	size_t first = dash ? (size_t)(dash - token->start) : token->len;
	uint32_t lo, hi;
	char hint[64];

	last = dash ? dash + 1 : token->start;
	if (!all_digits(token->start, first) ||
	    !all_digits(last, token->len - (size_t)(last - token->start)))
		return bad_token(parser, "bad-port",
				 memchr(token->start, '.', token->len) ||
						 memchr(token->start, ':', token->len) ?
					 "an address stands behind `from` or `to`" :
					 NULL,
				 "is not a port");
	if (!read_number(token->start, first, false, 65535, &lo) ||
	    !read_number(last, token->len - (size_t)(last - token->start), false, 65535, &hi))
		return bad_token(parser, "bad-port", "ports are from 0 to 65535",
				 "is out of range");
	if (lo > hi) {
		snprintf(hint, sizeof(hint), "did you mean `%u-%u`?", hi, lo);
		return bad_token(parser, "bad-range", hint, "runs backwards");
	}
	service->kind = TREE_SERVICE_PORTS;
	service->lo = (uint16_t)lo;
	service->hi = (uint16_t)hi;
	advance(parser);
	return 0;
}

/* A port, a range, or a name. */
static int parse_port(struct parser *parser, const char *what, struct tree_service *service)
{
	service->protocol = -1;
	if (at_kind(parser, TOKEN_WORD) && !has_letter(&parser->token))
		return parse_port_range(parser, service);
	if (is_reserved(&parser->token))
		return expected(parser, what, NULL);
	service->kind = TREE_SERVICE_NAME;
	return parse_name(parser, what, &service->name);
}

/* `/tcp`, if it is there. */
static int parse_transport(struct parser *parser, struct tree_service *service)
{
	int found;

	if (!accept_kind(parser, TOKEN_SLASH))
		return 0;
	found = accept_one_of(parser, tree_transport_words, TREE_TRANSPORTS);
	if (found < 0)
		return unknown_word(parser, "protocol", tree_transport_words, TREE_TRANSPORTS);
	service->protocol = tree_transport_numbers[found];
	return 0;
}

/* Behind `icmp` or `icmpv6`: a type by name, or `type N [code N]`. */
static int parse_icmp(struct parser *parser, struct tree_service *service)
{
	unsigned family = service->protocol == ICMP ? 4 : 6;
	const struct token *token = &parser->token;
	char name[SHOWN_LEN], buffer[SHOWN_LEN], hint[SHOWN_LEN * 2];
	struct range message;
	struct token next;
	uint32_t number;
	int err;

	if (accept_word(parser, "type")) {
		err = parse_number(parser, "the number of an ICMP type", 0, 255, &number);
		if (err)
			return err;
		service->icmp_type = (int16_t)number;
		if (!accept_word(parser, "code"))
			return 0;
		err = parse_number(parser, "the number of an ICMP code", 0, 255, &number);
		if (!err)
			service->icmp_code = (int16_t)number;
		return err;
	}
	next = peek(parser);
	if (token->kind == TOKEN_WORD && all_digits(token->start, token->len) &&
	    next.kind != TOKEN_SLASH && !token_is_word(&next, "per")) {
		snprintf(hint, sizeof(hint), "did you mean `type %.*s`?",
			 token->len < 20 ? (int)token->len : 20, token->start);
		return expected(parser, "the name of an ICMP type", hint);
	}
	if (token->kind != TOKEN_WORD || !has_letter(token) || is_reserved(token))
		return 0;
	snprintf(name, sizeof(name), "%.*s", token->len < 60 ? (int)token->len : 60, token->start);
	if (icmp_find(family, name, &message))
		return fail(parser, token->position, "unknown-word",
			    did_you_mean(icmp_nearest(family, name), hint, sizeof(hint)),
			    "unknown ICMP%s type %s", family == 6 ? "v6" : "",
			    shown(token, buffer));
	return parse_name(parser, "the name of an ICMP type", &service->name);
}

/* Behind `proto`: a name or number. */
static int parse_protocol(struct parser *parser, struct tree_service *service)
{
	const struct token *token = &parser->token;
	uint32_t number;
	int err;

	service->proto = true;
	if (token->kind == TOKEN_WORD && all_digits(token->start, token->len)) {
		err = parse_number(parser, "the number of a protocol", 0, 255, &number);
		if (!err)
			service->protocol = (int16_t)number;
		return err;
	}
	service->protocol = -1;
	return parse_name(parser, "the name or number of a protocol", &service->name);
}

/* `tcp`, `udp`, … alone; a port behind it is a slip. */
static int parse_whole_transport(struct parser *parser, size_t row, struct tree_service *service)
{
	const struct token *token = &parser->token;
	struct token next;
	char hint[SHOWN_LEN * 2];

	service->kind = TREE_SERVICE_PROTOCOL;
	service->protocol = tree_transport_numbers[row];
	if (service->protocol == TCP && accept_word(parser, "syn")) {
		service->syn = true;
		return 0;
	}
	next = peek(parser);
	if (at_word(parser, "port")) {
		snprintf(hint, sizeof(hint), "a port is written `22/%s`",
			 tree_transport_words[row]);
		return bad_token(parser, "syntax", hint, "is out of place");
	}
	if (token->kind == TOKEN_WORD && all_digits(token->start, token->len) && token->len < 20 &&
	    next.kind != TOKEN_SLASH && !token_is_word(&next, "per")) {
		snprintf(hint, sizeof(hint), "did you mean `%.*s/%s`?", (int)token->len,
			 token->start, tree_transport_words[row]);
		return bad_token(parser, "syntax", hint, "is out of place");
	}
	return 0;
}

static int parse_plain_service(struct parser *parser, struct tree_service *service)
{
	int found;

	service->protocol = -1;
	service->icmp_type = service->icmp_code = -1;
	if (accept_word(parser, "any")) {
		service->kind = TREE_SERVICE_ANY;
		return 0;
	}
	if (at_word(parser, "icmp") || at_word(parser, "icmpv6")) {
		service->kind = TREE_SERVICE_ICMP;
		service->protocol = at_word(parser, "icmp") ? ICMP : ICMPV6;
		advance(parser);
		return parse_icmp(parser, service);
	}
	if (accept_word(parser, "proto")) {
		service->kind = TREE_SERVICE_PROTOCOL;
		return parse_protocol(parser, service);
	}
	found = accept_one_of(parser, tree_transport_words, TREE_TRANSPORTS);
	if (found >= 0)
		return parse_whole_transport(parser, (size_t)found, service);
	found = parse_port(parser, "a service", service);
	return found ? found : parse_transport(parser, service);
}

/* Ends of a list: what was gathered goes to the arena. */
static int keep_list(struct parser *parser, const struct list *list,
		     const struct service_vector *vector, struct tree_service *service)
{
	struct tree_service *copy;

	if (!vector->n)
		return fail(parser, list->open, "syntax", NULL, "this list is empty");
	copy = arena_array(parser->arena, vector->n, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, vector->items, vector->n * sizeof(*copy));
	service->kind = TREE_SERVICE_LIST;
	service->protocol = -1;
	service->items = copy;
	service->n = (uint32_t)vector->n;
	service->closing = list->closing;
	service->closing_n = list->closing_n;
	return 0;
}

/* A list that has a protocol holds ports and names only. */
static int check_list_protocol(struct parser *parser, const struct tree_service *service)
{
	for (uint32_t i = 0; i < service->n; i++) {
		const struct tree_service *item = &service->items[i];

		if (item->kind == TREE_SERVICE_LIST || item->protocol >= 0 ||
		    (item->kind != TREE_SERVICE_PORTS && item->kind != TREE_SERVICE_NAME))
			return fail(parser, item->position, "syntax",
				    "only ports and names stand in a list with a protocol",
				    "this entry has a protocol of its own");
	}
	return 0;
}

typedef int parse_entry(struct parser *parser, struct tree_service *service);

static int parse_list(struct parser *parser, parse_entry *entry, struct tree_service *service)
{
	cleanup(service_vector_free) struct service_vector vector = { 0 };
	struct list list;
	bool more = true;
	int err = list_open(parser, &list);

	while (!err) {
		struct tree_service item = { 0 };

		err = list_next(parser, &list, &more);
		if (err || !more)
			break;
		err = entry(parser, &item);
		if (!err)
			err = list_entry_end(parser, &list, &item.trivia);
		if (!err && service_vector_push(&vector, item))
			err = -ENOMEM;
	}
	return err ? err : keep_list(parser, &list, &vector, service);
}

/* One service or a list; `entry` is what a list holds. */
static int parse_service_part(struct parser *parser, parse_entry *entry,
			      struct tree_service *service)
{
	struct tree_service parsed = { .position = parser->token.position };
	uint32_t start = parsed.position.offset;
	int err;

	if (!at_kind(parser, TOKEN_OPEN)) {
		err = parse_plain_service(parser, &parsed);
	} else {
		err = parse_list(parser, entry, &parsed);
		if (!err)
			err = parse_transport(parser, &parsed);
		if (!err && parsed.protocol >= 0)
			err = check_list_protocol(parser, &parsed);
	}
	if (err)
		return err;
	parsed.position = span_from(parser, start);
	*service = parsed;
	return 0;
}

/* An entry of an inner list. */
static int parse_inner_entry(struct parser *parser, struct tree_service *service)
{
	if (at_kind(parser, TOKEN_OPEN))
		return bad_token(parser, "syntax", "write one list", "is a list within a list");
	return parse_service_part(parser, NULL, service);
}

static int parse_list_entry(struct parser *parser, struct tree_service *service)
{
	struct position open = parser->token.position;
	bool list = at_kind(parser, TOKEN_OPEN);
	int err = parse_service_part(parser, parse_inner_entry, service);

	if (!err && list && service->protocol < 0)
		return fail(parser, open, "syntax",
			    "write one list, or put a protocol behind this one: `{ 80, 443 }/tcp`",
			    "a list within a list");
	return err;
}

int parse_service(struct parser *parser, struct tree_service *service)
{
	return parse_service_part(parser, parse_list_entry, service);
}

static int parse_port_entry(struct parser *parser, struct tree_service *service)
{
	struct tree_service parsed = { .position = parser->token.position };
	int err = parse_port(parser, "a port", &parsed);

	if (err)
		return err;
	if (at_kind(parser, TOKEN_SLASH))
		return bad_token(parser, "syntax",
				 "the protocol belongs to the service: `tcp from port 1024-65535`",
				 "is out of place");
	parsed.icmp_type = parsed.icmp_code = -1;
	*service = parsed;
	return 0;
}

int parse_ports(struct parser *parser, struct tree_service *service)
{
	struct tree_service parsed = { .position = parser->token.position };
	int err;

	if (!at_kind(parser, TOKEN_OPEN))
		return parse_port_entry(parser, service);
	err = parse_list(parser, parse_port_entry, &parsed);
	if (err)
		return err;
	parsed.icmp_type = parsed.icmp_code = -1;
	parsed.position = span_from(parser, parsed.position.offset);
	*service = parsed;
	return 0;
}
