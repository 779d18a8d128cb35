// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/protocols.h"

#include <ctype.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <strings.h>

#include "base/diagnostic.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

struct named_number {
	const char *name;
	uint8_t number;
};

/* The first name of a number is the one that is printed. */
static const struct named_number protocols[] = {
	{ "hopopt", 0 },
	{ "icmp", 1 },
	{ "igmp", 2 },
	{ "ggp", 3 },
	{ "ipip", 4 },
	{ "ipencap", 4 },
	{ "ipv4", 4 },
	{ "st", 5 },
	{ "tcp", 6 },
	{ "egp", 8 },
	{ "igp", 9 },
	{ "pup", 12 },
	{ "udp", 17 },
	{ "hmp", 20 },
	{ "xns-idp", 22 },
	{ "rdp", 27 },
	{ "iso-tp4", 29 },
	{ "dccp", 33 },
	{ "xtp", 36 },
	{ "ddp", 37 },
	{ "idpr-cmtp", 38 },
	{ "ipv6", 41 },
	{ "6in4", 41 },
	{ "ipv6-route", 43 },
	{ "ipv6-frag", 44 },
	{ "idrp", 45 },
	{ "rsvp", 46 },
	{ "gre", 47 },
	{ "esp", 50 },
	{ "ipsec-esp", 50 },
	{ "ah", 51 },
	{ "ipsec-ah", 51 },
	{ "skip", 57 },
	{ "icmpv6", 58 },
	{ "ipv6-icmp", 58 },
	{ "ipv6-nonxt", 59 },
	{ "ipv6-opts", 60 },
	{ "rspf", 73 },
	{ "vmtp", 81 },
	{ "eigrp", 88 },
	{ "ospf", 89 },
	{ "ax.25", 93 },
	{ "ipip-mtp", 94 },
	{ "etherip", 97 },
	{ "encap", 98 },
	{ "pim", 103 },
	{ "ipcomp", 108 },
	{ "vrrp", 112 },
	{ "carp", 112 },
	{ "pgm", 113 },
	{ "l2tp", 115 },
	{ "isis", 124 },
	{ "sctp", 132 },
	{ "fc", 133 },
	{ "mobility-header", 135 },
	{ "udplite", 136 },
	{ "mpls-in-ip", 137 },
	{ "manet", 138 },
	{ "hip", 139 },
	{ "shim6", 140 },
	{ "wesp", 141 },
	{ "rohc", 142 },
	{ "ethernet", 143 },
};

static const struct named_number dscp_classes[] = {
	{ "be", 0 },	 { "cs0", 0 },	 { "default", 0 }, { "le", 1 },	   { "cs1", 8 },
	{ "af11", 10 },	 { "af12", 12 }, { "af13", 14 },   { "cs2", 16 },  { "af21", 18 },
	{ "af22", 20 },	 { "af23", 22 }, { "cs3", 24 },	   { "af31", 26 }, { "af32", 28 },
	{ "af33", 30 },	 { "cs4", 32 },	 { "af41", 34 },   { "af42", 36 }, { "af43", 38 },
	{ "cs5", 40 },	 { "va", 44 },	 { "ef", 46 },	   { "cs6", 48 },  { "cs7", 56 },
};

static int find(const struct named_number *rows, size_t n, const char *name, unsigned long max)
{
	char *end;
	unsigned long number;

	for (size_t i = 0; i < n; i++)
		if (!strcasecmp(rows[i].name, name))
			return rows[i].number;
	if (!isdigit((unsigned char)name[0]))
		return -1;
	number = strtoul(name, &end, name[0] == '0' && (name[1] | 32) == 'x' ? 16 : 10);
	return *end || number > max ? -1 : (int)number;
}

static const char *nearest(const struct named_number *rows, size_t n, const char *name)
{
	const char *words[ARRAY_SIZE(protocols)];

	_Static_assert(ARRAY_SIZE(dscp_classes) <= ARRAY_SIZE(protocols), "words has room");
	for (size_t i = 0; i < n; i++)
		words[i] = rows[i].name;
	return nearest_word(name, words, n);
}

int protocol_find(const char *name)
{
	return find(protocols, ARRAY_SIZE(protocols), name, 255);
}

const char *protocol_name(uint8_t number)
{
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (protocols[i].number == number)
			return protocols[i].name;
	return NULL;
}

const char *protocol_nearest(const char *name)
{
	return nearest(protocols, ARRAY_SIZE(protocols), name);
}

bool protocol_has_ports(uint8_t number)
{
	return number == IPPROTO_TCP || number == IPPROTO_UDP || number == IPPROTO_DCCP ||
	       number == IPPROTO_SCTP || number == IPPROTO_UDPLITE;
}

int dscp_find(const char *name)
{
	return find(dscp_classes, ARRAY_SIZE(dscp_classes), name, 63);
}

const char *dscp_nearest(const char *name)
{
	return nearest(dscp_classes, ARRAY_SIZE(dscp_classes), name);
}
