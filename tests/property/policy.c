// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names, addresses and ports come from small pools, so that rules of one policy overlap, shadow and
 * border each other. Rules are put together without much thought for whether they make sense: what
 * the language refuses (ports of icmp, an IPv4 source with an IPv6 destination) is left out by the
 * caller, line by line.
 */
#include "policy.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "world.h"

static const char *const zone_names[] = { "wan", "lan", "dmz", "vpn" };
static const char *const set_names[] = { "admins", "blocked", "inside" };
static const char *const service_names[] = { "web", "games" };

struct names { /* how many of each there are */
	uint32_t zones, sets, services, dynamic;
};

static struct policy_line *add_line(struct random_policy *policy, enum line_kind kind)
{
	struct policy_line *line = &policy->lines[policy->n];

	if (policy->n + 1 < POLICY_LINES)
		policy->n++;
	memset(line, 0, sizeof(*line));
	line->kind = kind;
	return line;
}

__attribute__((format(printf, 2, 3))) static void add_part(struct policy_line *line,
							    const char *format, ...)
{
	va_list args;

	if (line->part_n == POLICY_PARTS)
		return;
	va_start(args, format);
	vsnprintf(line->parts[line->part_n++], POLICY_PART, format, args);
	va_end(args);
}

/* --- words of rules -------------------------------------------------------------- */

void policy_random_address(struct random *r, unsigned family, uint32_t address[4])
{
	static const uint32_t bases4[] = { 0x0a000000, 0x0a010200, 0xc0a80100, 0xc6336400,
					   0xcb007100, 0,	   0xffffff00, 0xe0000000 };
	static const uint32_t bases6[][2] = { { 0x20010db8, 0 },	 { 0x20010db8, 0x00010000 },
					      { 0xfd000000, 0 },	 { 0xfe800000, 0 },
					      { 0xff020000, 0 },	 { 0, 0 },
					      { 0xffffffff, 0xffffffff } };
	uint32_t base = random_below(r, 7);

	memset(address, 0, 16);
	if (family == 4) {
		address[0] = random_pick(r, bases4) | random_below(r, 256);
		return;
	}
	address[0] = bases6[base][0];
	address[1] = bases6[base][1];
	if (random_chance(r, 30))
		address[1] ^= random_below(r, 4);
	if (random_chance(r, 30))
		address[2] = random_chance(r, 50) ? UINT32_MAX : random_below(r, 4);
	address[3] = random_chance(r, 20) ? UINT32_MAX : random_below(r, 256);
}

static void address_text(unsigned family, const uint32_t address[4], char text[INET6_ADDRSTRLEN])
{
	uint32_t wire[4];

	for (int i = 0; i < 4; i++)
		wire[i] = htonl(address[i]);
	inet_ntop(family == 4 ? AF_INET : AF_INET6, wire, text, INET6_ADDRSTRLEN);
}

static int compare(const uint32_t left[4], const uint32_t right[4])
{
	for (int i = 0; i < 4; i++)
		if (left[i] != right[i])
			return left[i] < right[i] ? -1 : 1;
	return 0;
}

/* An address, a prefix (host bits may be set), or a range. */
static void address_item(struct random *r, unsigned family, char *text, size_t size)
{
	char first[INET6_ADDRSTRLEN], last[INET6_ADDRSTRLEN];
	uint32_t lo[4], hi[4], kind = random_below(r, 3);

	policy_random_address(r, family, lo);
	address_text(family, lo, first);
	if (kind == 0) {
		snprintf(text, size, "%s", first);
		return;
	}
	if (kind == 1) {
		snprintf(text, size, "%s/%u", first, random_between(r, 0, family == 4 ? 32 : 128));
		return;
	}
	policy_random_address(r, family, hi);
	address_text(family, hi, last);
	if (compare(lo, hi) <= 0)
		snprintf(text, size, "%s-%s", first, last);
	else
		snprintf(text, size, "%s-%s", last, first);
}

static void address_list(struct random *r, const struct names *names, uint32_t most, char *text,
			 size_t size)
{
	uint32_t n = random_between(r, 1, most);
	unsigned family = random_chance(r, 50) ? 4 : 6;
	size_t used = (size_t)snprintf(text, size, "{ ");

	for (uint32_t i = 0; i < n; i++) {
		char item[100];

		if (random_chance(r, 30))
			family = 10 - family;
		address_item(r, family, item, sizeof(item));
		if (names->dynamic && random_chance(r, 15))
			snprintf(item, sizeof(item), "@%s",
				 model_set_names[random_below(r, names->dynamic)]);
		if (used + strlen(item) + 8 > size)
			break;
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", item);
	}
	snprintf(text + used, size - used, " }");
}

static void random_addresses(struct random *r, const struct names *names, char *text, size_t size)
{
	size_t used = 0;

	if (random_chance(r, 15))
		used = (size_t)snprintf(text, size, "!");
	if (names->dynamic && random_chance(r, 20))
		snprintf(text + used, size - used, "@%s",
			 model_set_names[random_below(r, names->dynamic)]);
	else if (names->sets && random_chance(r, 35))
		snprintf(text + used, size - used, "@%s", set_names[random_below(r, names->sets)]);
	else if (random_chance(r, 25))
		address_list(r, names, 3, text + used, size - used);
	else
		address_item(r, random_chance(r, 50) ? 4 : 6, text + used, size - used);
}

static uint32_t random_port(struct random *r)
{
	static const uint32_t ports[] = { 0,   1,   22,	 53,   67,   68,   80,
					  443, 546, 547, 1023, 1024, 8080, 65535 };

	return random_chance(r, 80) ? random_pick(r, ports) : random_below(r, 65536);
}

static void port_item(struct random *r, char *text, size_t size)
{
	uint32_t lo = random_port(r), hi = random_port(r);

	if (random_chance(r, 65))
		snprintf(text, size, "%u", lo);
	else
		snprintf(text, size, "%u-%u", lo < hi ? lo : hi, lo < hi ? hi : lo);
}

static void port_list(struct random *r, char *text, size_t size)
{
	uint32_t n = random_between(r, 1, 4);
	size_t used = (size_t)snprintf(text, size, "{ ");
	char item[16];

	for (uint32_t i = 0; i < n; i++) {
		port_item(r, item, sizeof(item));
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", item);
	}
	snprintf(text + used, size - used, " }");
}

static void icmp_service(struct random *r, char *text, size_t size)
{
	static const char *const names4[] = { "echo-request", "echo-reply",
					      "destination-unreachable", "time-exceeded" };
	static const char *const names6[] = { "echo-request", "echo-reply", "packet-too-big",
					      "time-exceeded" };
	static const uint32_t types[] = { 0, 3, 5, 8, 11, 127, 128, 129, 133, 143, 255 };
	bool six = random_chance(r, 50);
	const char *word = six ? "icmpv6" : "icmp";

	switch (random_below(r, 4)) {
	case 0:
		snprintf(text, size, "%s", word);
		break;
	case 1:
		snprintf(text, size, "%s %s", word,
			 six ? random_pick(r, names6) : random_pick(r, names4));
		break;
	case 2:
		snprintf(text, size, "%s type %u", word, random_pick(r, types));
		break;
	default:
		snprintf(text, size, "%s type %u code %u", word, random_pick(r, types),
			 random_below(r, 5));
	}
}

static void plain_service(struct random *r, char *text, size_t size)
{
	static const char *const transports[] = { "tcp",  "udp",  "tcp",    "udp",
						  "sctp", "dccp", "udplite" };
	static const char *const protocols[] = { "gre", "esp", "igmp", "icmp", "47",
						 "255", "0",   "6",    "58",   "44" };
	static const char *const known[] = { "ssh", "http", "domain", "dhcpv6-client" };
	char ports[64];

	switch (random_below(r, 10)) {
	case 0:
	case 1:
		icmp_service(r, text, size);
		break;
	case 2:
		snprintf(text, size, "proto %s", random_pick(r, protocols));
		break;
	case 3:
		snprintf(text, size, "%s", random_pick(r, transports));
		break;
	case 4:
		snprintf(text, size, random_chance(r, 50) ? "tcp syn" : "any");
		break;
	case 5:
		port_item(r, text, size);
		break;
	case 6:
		snprintf(text, size, "%s", random_pick(r, known));
		break;
	default:
		port_item(r, ports, sizeof(ports));
		snprintf(text, size, "%s/%s", ports, random_pick(r, transports));
	}
}

static void service_list(struct random *r, char *text, size_t size)
{
	uint32_t n = random_between(r, 1, 4);
	size_t used = (size_t)snprintf(text, size, "{ ");
	char item[64];

	for (uint32_t i = 0; i < n; i++) {
		plain_service(r, item, sizeof(item));
		if (used + strlen(item) + 8 > size)
			break;
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", item);
	}
	snprintf(text + used, size - used, " }");
}

static void random_service(struct random *r, const struct names *names, char *text, size_t size)
{
	char ports[80];

	switch (random_below(r, 6)) {
	case 0:
		service_list(r, text, size);
		break;
	case 1:
		port_list(r, ports, sizeof(ports));
		snprintf(text, size, "%s/%s", ports, random_chance(r, 50) ? "tcp" : "udp");
		break;
	case 2:
		if (names->services) {
			snprintf(text, size, "%s", service_names[random_below(r, names->services)]);
			break;
		}
		/* fall through */
	default:
		plain_service(r, text, size);
	}
}

static void random_flags(struct random *r, char *text, size_t size)
{
	static const char *const flags[] = { "syn/syn,ack",   "syn",	       "ack",
					     "fin/fin,ack",   "syn,ack/all",   "none/syn",
					     "rst/rst,psh",   "none/ece,cwr",  "urg",
					     "ack/syn,ack,fin,rst" };

	snprintf(text, size, "flags %s", random_pick(r, flags));
}

static void random_span(struct random *r, const char *word, uint32_t max, char *text, size_t size)
{
	static const char *const signs[] = { "<", "<=", ">", ">=", "" };
	uint32_t lo = random_below(r, max), hi = random_between(r, lo, max);

	if (random_chance(r, 50))
		snprintf(text, size, "%s %u-%u", word, lo, hi);
	else
		snprintf(text, size, "%s %s %u", word, random_pick(r, signs), lo);
}

static void random_condition(struct random *r, unsigned kind, char *text, size_t size)
{
	static const char *const classes[] = { "ef", "cs1", "af41", "0", "63" };
	uint32_t mask = random_chance(r, 50) ? 0xff : 1u << random_below(r, 32) | 3;

	switch (kind) {
	case 0:
		random_flags(r, text, size);
		break;
	case 1:
		random_span(r, "length", random_chance(r, 70) ? 128 : 1500, text, size);
		break;
	case 2:
		snprintf(text, size, "dscp %s", random_pick(r, classes));
		break;
	case 3:
		snprintf(text, size, "mark %#x/%#x", random_word(r) & mask, mask);
		break;
	case 4:
		snprintf(text, size, "mac 02:00:00:00:00:%02x", random_below(r, 4));
		break;
	case 5:
		snprintf(text, size, "state %s", random_chance(r, 60) ? "new" : "untracked");
		break;
	case 6:
		snprintf(text, size, "fragment");
		break;
	default:
		random_span(r, "ttl", 255, text, size);
	}
}

static void add_conditions(struct random *r, struct policy_line *line)
{
	for (unsigned kind = 0; kind < 8; kind++) {
		char text[POLICY_PART];

		if (!random_chance(r, kind == 6 ? 4 : 8))
			continue;
		random_condition(r, kind, text, sizeof(text));
		add_part(line, "%s", text);
	}
}

/*
 * Rates are so slow that no token comes back while a test runs: what was spent is a matter of
 * counting, for every engine and whatever its clock.
 */
static void add_limits(struct random *r, struct policy_line *line)
{
	static const char *const each[] = { "", " each source", " each destination",
					    " each source/64", " each destination/128" };

	if (random_chance(r, 20))
		add_part(line, "limit 1/d burst %u%s", random_between(r, 1, 6), random_pick(r, each));
	if (random_chance(r, 15)) {
		add_part(line, "stateless");
		return;
	}
	if (random_chance(r, 10))
		add_part(line, "timeout %us", random_between(r, 1, 400));
	if (random_chance(r, 12))
		add_part(line, "max flows %u%s", random_between(r, 1, 4), random_pick(r, each));
}

static void add_options(struct random *r, struct policy_line *line, const struct names *names,
			unsigned *ids)
{
	if (random_chance(r, 10))
		add_part(line, random_chance(r, 50) ? "log" : "log \"seen\"");
	if (random_chance(r, 5))
		add_part(line, "count c%u", random_below(r, 3));
	if (random_chance(r, 12)) {
		uint32_t mask = random_chance(r, 50) ? 0xf0 : 1u << random_below(r, 24) | 1;

		add_part(line, "mark set %#x/%#x", random_word(r) & mask, mask);
	}
	add_limits(r, line);
	if (names->dynamic && random_chance(r, 15))
		add_part(line, "add %s to @%s", random_chance(r, 70) ? "source" : "destination",
			 model_set_names[random_below(r, names->dynamic)]);
	if (random_chance(r, 5))
		add_part(line, "id rule-%u", ++*ids);
}

static void random_action(struct random *r, char *text, size_t size)
{
	static const char *const kinds[] = { "tcp-reset",	 "net-unreachable",
					     "host-unreachable", "proto-unreachable",
					     "port-unreachable", "net-prohibited",
					     "host-prohibited",	 "admin-prohibited" };
	uint32_t which = random_below(r, 10);

	if (which < 5)
		snprintf(text, size, "allow");
	else if (which < 8)
		snprintf(text, size, "drop");
	else if (which < 9)
		snprintf(text, size, "reject");
	else
		snprintf(text, size, "reject with %s", random_pick(r, kinds));
}

static void add_rule(struct random *r, struct random_policy *policy, const struct names *names,
		     unsigned *ids)
{
	struct policy_line *line = add_line(policy, LINE_RULE);
	char text[POLICY_PART];

	random_action(r, text, sizeof(text));
	add_part(line, "    %s", text);
	if (random_chance(r, 75)) {
		random_service(r, names, text, sizeof(text));
		add_part(line, "%s", text);
	}
	if (random_chance(r, 45)) {
		char ports[80] = "", addresses[POLICY_PART - 90] = "";

		if (random_chance(r, 20))
			random_chance(r, 50) ? port_item(r, ports, sizeof(ports)) :
					       port_list(r, ports, sizeof(ports));
		if (!*ports || random_chance(r, 60))
			random_addresses(r, names, addresses, sizeof(addresses));
		add_part(line, "from %s%s%s", addresses, *ports ? " port " : "", ports);
	}
	if (random_chance(r, 40)) {
		random_addresses(r, names, text, sizeof(text) - 8);
		add_part(line, "to %.150s", text);
	}
	add_conditions(r, line);
	add_options(r, line, names, ids);
}

/* What stands in an `early` block: most of it the language takes. */
static void add_early_rule(struct random *r, struct random_policy *policy,
			   const struct names *names)
{
	static const char *const each[] = { "", " each source", " each destination" };
	static const char *const protectable[] = { "tcp", "{ 22, 80, 443 }/tcp", "1-1024/tcp" };
	struct policy_line *line = add_line(policy, LINE_RULE);
	bool limits = random_chance(r, 35);
	char text[POLICY_PART];

	if (random_chance(r, 10)) {
		add_part(line, "    protect %s", random_pick(r, protectable));
		return;
	}
	add_part(line, "    %s", limits ? "limit" : "drop");
	if (random_chance(r, 60)) {
		random_service(r, names, text, sizeof(text));
		add_part(line, "%s", text);
	}
	if (random_chance(r, 50)) {
		random_addresses(r, names, text, sizeof(text) - 8);
		add_part(line, "from %.150s", text);
	}
	if (random_chance(r, 30)) {
		random_addresses(r, names, text, sizeof(text) - 8);
		add_part(line, "to %.150s", text);
	}
	add_conditions(r, line);
	if (limits || random_chance(r, 15))
		add_part(line, "%s1/d burst %u%s", limits ? "" : "limit ",
			 random_between(r, 1, 30), random_pick(r, each));
	if (random_chance(r, 20))
		add_part(line, "log");
}

/* --- statements ------------------------------------------------------------------ */

static void add_settings(struct random *r, struct random_policy *policy)
{
	static const char *const switches[] = { "ipv6-nd", "multicast-membership", "dhcp-client",
						"tcp-pickup", "guard" };
	struct policy_line *line;

	for (int i = 0; i < 5; i++) {
		if (!random_chance(r, 25))
			continue;
		line = add_line(policy, LINE_TOP);
		add_part(line, "options { %s off }", switches[i]);
	}
	if (random_chance(r, 20)) {
		line = add_line(policy, LINE_TOP);
		add_part(line, "options { mark-bits %u }", random_below(r, 31));
	}
}

static void add_zones(struct random *r, struct random_policy *policy, uint32_t zones)
{
	char members[4][64] = { "", "", "", "" };

	for (uint32_t i = 0; i < WORLD_INTERFACES; i++) {
		uint32_t zone = random_below(r, zones + 1);

		if (zone < zones) /* the others are in `other` */
			snprintf(members[zone] + strlen(members[zone]),
				 sizeof(members[zone]) - strlen(members[zone]), "%sd%u",
				 *members[zone] ? ", " : "", i);
	}
	for (uint32_t i = 0; i < zones; i++) {
		struct policy_line *line = add_line(policy, LINE_TOP);

		add_part(line, "zone %s = { %s }", zone_names[i],
			 *members[i] ? members[i] : "\"absent*\"");
	}
}

/* Only what judges: the tests here hold that a packet which passes is not changed. */
static void add_antispoof(struct random *r, struct random_policy *policy, uint32_t zones)
{
	for (uint32_t i = 0; i <= zones; i++) {
		struct policy_line *line;

		if (!random_chance(r, 15))
			continue;
		line = add_line(policy, LINE_TOP);
		add_part(line, "antispoof %s", i < zones ? zone_names[i] : "other");
		if (random_chance(r, 50))
			add_part(line, "loose");
	}
}

static void add_names(struct random *r, struct random_policy *policy, const struct names *names)
{
	struct policy_line *line;
	char text[POLICY_PART];

	for (uint32_t i = 0; i < names->dynamic; i++) {
		line = add_line(policy, LINE_TOP);
		add_part(line, "set %s = %s", model_set_names[i], model_set_texts[i]);
	}
	for (uint32_t i = 0; i < names->sets; i++) {
		line = add_line(policy, LINE_TOP);
		address_list(r, names, 5, text, sizeof(text) - 20);
		add_part(line, "set %s = %.140s", set_names[i], text);
	}
	for (uint32_t i = 0; i < names->services; i++) {
		line = add_line(policy, LINE_TOP);
		service_list(r, text, sizeof(text) - 20);
		add_part(line, "service %s = %.140s", service_names[i], text);
	}
}

static const char *random_zone(struct random *r, uint32_t zones)
{
	uint32_t which = random_below(r, zones + 4);

	if (which < zones)
		return zone_names[which];
	return which == zones ? "other" : which == zones + 1 ? "any" : "self";
}

static void random_side(struct random *r, uint32_t zones, char *text, size_t size)
{
	if (random_chance(r, 80))
		snprintf(text, size, "%s", random_zone(r, zones));
	else
		snprintf(text, size, "{ %s, %s }", random_zone(r, zones), random_zone(r, zones));
}

static void add_block(struct random *r, struct random_policy *policy, const struct names *names,
		      unsigned *ids)
{
	static const char *const defaults[] = { "", "", " default allow", " default drop",
						" default reject",
						" default reject with admin-prohibited" };
	struct policy_line *line = add_line(policy, LINE_OPEN);
	uint32_t rules = random_between(r, 0, 8);
	char from[64], to[64];

	random_side(r, names->zones, from, sizeof(from));
	random_side(r, names->zones, to, sizeof(to));
	add_part(line, "policy %s -> %s", from, to);
	add_part(line, "%s", random_pick(r, defaults));
	add_part(line, "{");
	while (rules--)
		add_rule(r, policy, names, ids);
	line = add_line(policy, LINE_CLOSE);
	add_part(line, "}");
}

static void add_early(struct random *r, struct random_policy *policy, const struct names *names)
{
	struct policy_line *line = add_line(policy, LINE_OPEN);
	uint32_t rules = random_between(r, 0, 6);
	char zones[64];

	random_side(r, names->zones, zones, sizeof(zones));
	add_part(line, "early %s {", zones);
	while (rules--)
		add_early_rule(r, policy, names);
	line = add_line(policy, LINE_CLOSE);
	add_part(line, "}");
}

void policy_random(struct random *r, struct random_policy *policy)
{
	struct names names = { random_between(r, 0, 4), random_between(r, 0, 3),
			       random_between(r, 0, 2), random_between(r, 0, MODEL_SETS) };
	uint32_t blocks = random_between(r, 1, 7);
	unsigned ids = 0;

	policy->n = 0;
	add_settings(r, policy);
	add_zones(r, policy, names.zones);
	add_antispoof(r, policy, names.zones);
	add_names(r, policy, &names);
	while (blocks-- && policy->n + 12 < POLICY_LINES)
		add_block(r, policy, &names, &ids);
	for (blocks = random_between(r, 0, 3); blocks-- && policy->n + 10 < POLICY_LINES;)
		add_early(r, policy, &names);
}
