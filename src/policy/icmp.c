// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/icmp.h"

#include <errno.h>
#include <stddef.h>
#include <strings.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define EVERY_CODE (-1)

struct message {
	const char *name;
	uint8_t type;
	int16_t code;
};

/* The first name of a message is the one that is printed. */
static const struct message messages_4[] = {
	{ "echo-reply", 0, EVERY_CODE },
	{ "pong", 0, EVERY_CODE },
	{ "destination-unreachable", 3, EVERY_CODE },
	{ "network-unreachable", 3, 0 },
	{ "net-unreachable", 3, 0 },
	{ "host-unreachable", 3, 1 },
	{ "protocol-unreachable", 3, 2 },
	{ "prot-unreachable", 3, 2 },
	{ "port-unreachable", 3, 3 },
	{ "fragmentation-needed", 3, 4 },
	{ "frag-needed", 3, 4 },
	{ "source-route-failed", 3, 5 },
	{ "network-unknown", 3, 6 },
	{ "host-unknown", 3, 7 },
	{ "network-prohibited", 3, 9 },
	{ "net-prohibited", 3, 9 },
	{ "host-prohibited", 3, 10 },
	{ "tos-network-unreachable", 3, 11 },
	{ "tos-host-unreachable", 3, 12 },
	{ "communication-prohibited", 3, 13 },
	{ "admin-prohibited", 3, 13 },
	{ "host-precedence-violation", 3, 14 },
	{ "precedence-cutoff", 3, 15 },
	{ "source-quench", 4, EVERY_CODE },
	{ "redirect", 5, EVERY_CODE },
	{ "network-redirect", 5, 0 },
	{ "host-redirect", 5, 1 },
	{ "tos-network-redirect", 5, 2 },
	{ "tos-host-redirect", 5, 3 },
	{ "echo-request", 8, EVERY_CODE },
	{ "ping", 8, EVERY_CODE },
	{ "router-advertisement", 9, EVERY_CODE },
	{ "router-solicitation", 10, EVERY_CODE },
	{ "time-exceeded", 11, EVERY_CODE },
	{ "ttl-exceeded", 11, EVERY_CODE },
	{ "ttl-zero-during-transit", 11, 0 },
	{ "ttl-zero-during-reassembly", 11, 1 },
	{ "parameter-problem", 12, EVERY_CODE },
	{ "ip-header-bad", 12, 0 },
	{ "required-option-missing", 12, 1 },
	{ "timestamp-request", 13, EVERY_CODE },
	{ "timestamp-reply", 14, EVERY_CODE },
	{ "info-request", 15, EVERY_CODE },
	{ "info-reply", 16, EVERY_CODE },
	{ "address-mask-request", 17, EVERY_CODE },
	{ "address-mask-reply", 18, EVERY_CODE },
	{ "extended-echo-request", 42, EVERY_CODE },
	{ "extended-echo-reply", 43, EVERY_CODE },
};

static const struct message messages_6[] = {
	{ "destination-unreachable", 1, EVERY_CODE },
	{ "no-route", 1, 0 },
	{ "communication-prohibited", 1, 1 },
	{ "admin-prohibited", 1, 1 },
	{ "beyond-scope", 1, 2 },
	{ "address-unreachable", 1, 3 },
	{ "addr-unreachable", 1, 3 },
	{ "port-unreachable", 1, 4 },
	{ "failed-policy", 1, 5 },
	{ "policy-fail", 1, 5 },
	{ "reject-route", 1, 6 },
	{ "packet-too-big", 2, EVERY_CODE },
	{ "time-exceeded", 3, EVERY_CODE },
	{ "ttl-exceeded", 3, EVERY_CODE },
	{ "ttl-zero-during-transit", 3, 0 },
	{ "ttl-zero-during-reassembly", 3, 1 },
	{ "parameter-problem", 4, EVERY_CODE },
	{ "bad-header", 4, 0 },
	{ "unknown-header-type", 4, 1 },
	{ "unknown-option", 4, 2 },
	{ "echo-request", 128, EVERY_CODE },
	{ "ping", 128, EVERY_CODE },
	{ "echo-reply", 129, EVERY_CODE },
	{ "pong", 129, EVERY_CODE },
	{ "mld-listener-query", 130, EVERY_CODE },
	{ "mld-listener-report", 131, EVERY_CODE },
	{ "mld-listener-done", 132, EVERY_CODE },
	{ "mld-listener-reduction", 132, EVERY_CODE },
	{ "router-solicitation", 133, EVERY_CODE },
	{ "nd-router-solicit", 133, EVERY_CODE },
	{ "router-advertisement", 134, EVERY_CODE },
	{ "nd-router-advert", 134, EVERY_CODE },
	{ "neighbour-solicitation", 135, EVERY_CODE },
	{ "neighbor-solicitation", 135, EVERY_CODE },
	{ "nd-neighbor-solicit", 135, EVERY_CODE },
	{ "neighbour-advertisement", 136, EVERY_CODE },
	{ "neighbor-advertisement", 136, EVERY_CODE },
	{ "nd-neighbor-advert", 136, EVERY_CODE },
	{ "redirect", 137, EVERY_CODE },
	{ "nd-redirect", 137, EVERY_CODE },
	{ "router-renumbering", 138, EVERY_CODE },
	{ "ind-neighbor-solicit", 141, EVERY_CODE },
	{ "ind-neighbor-advert", 142, EVERY_CODE },
	{ "mld2-listener-report", 143, EVERY_CODE },
	{ "extended-echo-request", 160, EVERY_CODE },
	{ "extended-echo-reply", 161, EVERY_CODE },
};

static const struct message *messages(unsigned family, size_t *n)
{
	*n = family == 6 ? ARRAY_SIZE(messages_6) : ARRAY_SIZE(messages_4);
	return family == 6 ? messages_6 : messages_4;
}

int icmp_find(unsigned family, const char *name, struct range *message)
{
	size_t n;
	const struct message *rows = messages(family, &n);

	for (size_t i = 0; i < n; i++) {
		uint32_t type = (uint32_t)rows[i].type << 8;
		uint32_t code = (uint32_t)rows[i].code;

		if (strcasecmp(rows[i].name, name))
			continue;
		if (rows[i].code == EVERY_CODE)
			*message = (struct range){ type, type | 0xff };
		else
			*message = (struct range){ type | code, type | code };
		return 0;
	}
	return -ENOENT;
}

const char *icmp_name(unsigned family, uint8_t type, int code)
{
	size_t n;
	const struct message *rows = messages(family, &n);
	const char *whole = NULL;

	for (size_t i = 0; i < n; i++) {
		if (rows[i].type != type)
			continue;
		if (rows[i].code == EVERY_CODE && !whole)
			whole = rows[i].name;
		if (rows[i].code != EVERY_CODE && rows[i].code == code)
			return rows[i].name;
	}
	return whole;
}

const char *icmp_nearest(unsigned family, const char *name)
{
	const char *words[ARRAY_SIZE(messages_4) > ARRAY_SIZE(messages_6) ? ARRAY_SIZE(messages_4) :
									    ARRAY_SIZE(messages_6)];
	size_t n;
	const struct message *rows = messages(family, &n);

	for (size_t i = 0; i < n; i++)
		words[i] = rows[i].name;
	return nearest_word(name, words, n);
}
