// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/builtin.h"

#include <netinet/in.h>
#include <stddef.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define TYPES(first, last) { (first) << 8, (last) << 8 | 0xff }
#define NO_PORT { 1, 0 }

enum direction { TO_SELF, FROM_SELF };

/* One row, one rule of one clause. A range with lo > hi is no constraint. */
struct builtin {
	const char *id;
	size_t option; /* the switch in struct policy_options */
	enum direction direction;
	uint8_t families;
	uint8_t protocol;
	uint8_t expected;
	struct range src_port, dst_port[2], ttl;
	const char *text;
	const char *comment;
};

#define OPTION(member) offsetof(struct policy_options, member)
#define ND_TEXT                                                                                    \
	"allow { icmpv6 router-solicitation, icmpv6 router-advertisement, "                        \
	"icmpv6 neighbour-solicitation, icmpv6 neighbour-advertisement, icmpv6 redirect } "        \
	"ttl 255 stateless"
#define MLD_TEXT                                                                                   \
	"allow { icmpv6 mld-listener-query, icmpv6 mld-listener-report, "                          \
	"icmpv6 mld-listener-done, icmpv6 mld2-listener-report } ttl 1 stateless"

static const struct builtin builtins[] = {
	{ "builtin-nd-in", OPTION(builtin_nd), TO_SELF, FAMILY_BIT_6, IPPROTO_ICMPV6, 0, NO_PORT,
	  { TYPES(133, 137), NO_PORT }, { 255, 255 }, ND_TEXT },
	{ "builtin-nd-out", OPTION(builtin_nd), FROM_SELF, FAMILY_BIT_6, IPPROTO_ICMPV6, 0, NO_PORT,
	  { TYPES(133, 137), NO_PORT }, { 255, 255 }, ND_TEXT },
	{ "builtin-mld-in", OPTION(builtin_multicast), TO_SELF, FAMILY_BIT_6, IPPROTO_ICMPV6, 0,
	  NO_PORT, { TYPES(130, 132), TYPES(143, 143) }, { 1, 1 }, MLD_TEXT },
	{ "builtin-mld-out", OPTION(builtin_multicast), FROM_SELF, FAMILY_BIT_6, IPPROTO_ICMPV6, 0,
	  NO_PORT, { TYPES(130, 132), TYPES(143, 143) }, { 1, 1 }, MLD_TEXT },
	{ "builtin-igmp-in", OPTION(builtin_multicast), TO_SELF, FAMILY_BIT_4, IPPROTO_IGMP, 0,
	  NO_PORT, { NO_PORT, NO_PORT }, { 1, 1 },
	  "allow proto igmp from 0.0.0.0/0 ttl 1 stateless" },
	{ "builtin-igmp-out", OPTION(builtin_multicast), FROM_SELF, FAMILY_BIT_4, IPPROTO_IGMP, 0,
	  NO_PORT, { NO_PORT, NO_PORT }, { 1, 1 },
	  "allow proto igmp from 0.0.0.0/0 ttl 1 stateless" },
	{ "builtin-dhcp-in", OPTION(builtin_dhcp), TO_SELF, FAMILY_BIT_4, IPPROTO_UDP, 1,
	  { 67, 67 }, { { 68, 68 }, NO_PORT }, NO_PORT,
	  "allow 68/udp from 0.0.0.0/0 port 67 stateless",
	  "answers to this host's DHCP client only" },
	{ "builtin-dhcp-out", OPTION(builtin_dhcp), FROM_SELF, FAMILY_BIT_4, IPPROTO_UDP, 0,
	  { 68, 68 }, { { 67, 67 }, NO_PORT }, NO_PORT,
	  "allow 67/udp from 0.0.0.0/0 port 68 stateless" },
	{ "builtin-dhcpv6-in", OPTION(builtin_dhcp), TO_SELF, FAMILY_BIT_6, IPPROTO_UDP, 1,
	  { 547, 547 }, { { 546, 546 }, NO_PORT }, NO_PORT,
	  "allow 546/udp from ::/0 port 547 stateless",
	  "answers to this host's DHCPv6 client only" },
	{ "builtin-dhcpv6-out", OPTION(builtin_dhcp), FROM_SELF, FAMILY_BIT_6, IPPROTO_UDP, 0,
	  { 546, 546 }, { { 547, 547 }, NO_PORT }, NO_PORT,
	  "allow 547/udp from ::/0 port 546 stateless" },
};

static const struct range fragment_none = { 0, 0 };
static const struct position nowhere = { .source = POSITION_NONE };

static uint64_t any_zones(uint32_t zone_n)
{
	uint64_t every = zone_n >= 64 ? UINT64_MAX : (UINT64_C(1) << zone_n) - 1;

	return every & ~(UINT64_C(1) << ZONE_SELF);
}

/* A list in the arena of one range and perhaps another behind it. */
static int make_ranges(struct arena *arena, struct range first, struct range second,
		       struct ranges *ranges)
{
	struct range *items;

	if (first.lo > first.hi)
		return 0;
	items = arena_array(arena, 2, sizeof(*items));
	if (!items)
		return -ENOMEM;
	items[0] = first;
	items[1] = second;
	*ranges = (struct ranges){ items, second.lo <= second.hi ? 2 : 1 };
	return 0;
}

static int make_clause(struct arena *arena, const struct builtin *row, const struct clause **result)
{
	struct clause *clause = arena_new(arena, struct clause);
	const struct range none = NO_PORT;
	const struct range protocol = { row->protocol, row->protocol };
	const struct range expected = { 1, row->expected }; /* lo > hi where nothing is asked */

	if (!clause)
		return -ENOMEM;
	clause->families = row->families;
	if (make_ranges(arena, protocol, none, &clause->field[FIELD_PROTOCOL]) ||
	    make_ranges(arena, row->src_port, none, &clause->field[FIELD_SRC_PORT]) ||
	    make_ranges(arena, row->dst_port[0], row->dst_port[1],
			&clause->field[FIELD_DST_PORT]) ||
	    make_ranges(arena, row->ttl, none, &clause->field[FIELD_TTL]) ||
	    make_ranges(arena, expected, none, &clause->field[FIELD_EXPECTED]))
		return -ENOMEM;
	if (clause->field[FIELD_DST_PORT].n)
		clause->field[FIELD_FRAGMENT] = (struct ranges){ &fragment_none, 1 };
	*result = clause;
	return 0;
}

int builtin_rules(struct arena *arena, const struct policy_options *options, uint32_t zone_n,
		  struct rule_vector *rules)
{
	uint64_t any = any_zones(zone_n), self = UINT64_C(1) << ZONE_SELF;

	for (size_t i = 0; i < ARRAY_SIZE(builtins); i++) {
		const struct builtin *row = &builtins[i];
		bool to_self = row->direction == TO_SELF;
		struct rule rule = {
			.id = row->id,
			.origin = RULE_BUILTIN,
			.from = to_self ? any : self,
			.to = to_self ? self : any,
			.clause_n = 1,
			.action = ACTION_ALLOW,
			.stateless = true,
			.log_sample = 1,
			.pair = to_self ? "any -> self" : "self -> any",
			.text = row->text,
			.comment = row->comment,
			.position = nowhere,
		};

		if (!*(const bool *)((const char *)options + row->option))
			continue;
		if (make_clause(arena, row, &rule.clauses) || rule_vector_push(rules, rule))
			return -ENOMEM;
	}
	return 0;
}

int builtin_defaults(struct arena *arena, uint32_t zone_n, struct rule_vector *rules)
{
	uint64_t any = any_zones(zone_n), self = UINT64_C(1) << ZONE_SELF;
	struct clause *everything = arena_new(arena, struct clause);
	/*
	 * This host with itself (loopback in a zone) counts as output, so that no pair is left out.
	 */
	struct rule rows[] = {
		{ .id = "builtin-default-in", .from = any, .to = self, .action = ACTION_DROP,
		  .pair = "any -> self", .text = "default drop" },
		{ .id = "builtin-default-out", .from = self, .to = any | self,
		  .action = ACTION_ALLOW, .pair = "self -> any", .text = "default allow" },
		{ .id = "builtin-default-forward", .from = any, .to = any, .action = ACTION_DROP,
		  .pair = "any -> any", .text = "default drop" },
	};

	if (!everything)
		return -ENOMEM;
	everything->families = FAMILY_BITS_ALL;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		rows[i].origin = RULE_BUILTIN_DEFAULT;
		rows[i].clauses = everything;
		rows[i].clause_n = 1;
		rows[i].log_sample = 1;
		rows[i].position = nowhere;
		if (rule_vector_push(rules, rows[i]))
			return -ENOMEM;
	}
	return 0;
}
