// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rules: a policy with every name resolved.
 *
 * A rule is a pair of zone sets, a list of clauses and an action. It matches a packet when the
 * packet's zones are in the sets and at least one clause matches. A clause is a conjunction: every
 * field must lie in that field's list of ranges; an empty list means any value. So `allow { 80/tcp,
 * 443/tcp, 53 } from @admins` becomes a few clauses, one for each protocol and family that differ,
 * never a cross product.
 *
 * The ruleset lists rules in the order in which they are judged (first match wins): built-in rules,
 * the file's rules, the file's defaults, the built-in defaults. The last ones match everything, so
 * every packet has a rule. A rule's index in the list is its number in the image, in counters and
 * in events.
 */
#ifndef REEVE_POLICY_RULE_H
#define REEVE_POLICY_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/diagnostic.h"
#include "base/source.h"
#include "core/field.h"
#include "core/image.h"

/* A range of a one-word field, ends included. */
struct range {
	uint32_t lo, hi;
};

struct ranges {
	const struct range *items; /* sorted, disjoint, not adjacent */
	uint32_t n;		   /* 0: any value */
};

/*
 * A range of addresses, ends included; words as in FIELD_SRC. For IPv4 lo[1..3] and hi[1..3] are 0.
 */
struct address_range {
	uint32_t lo[4], hi[4];
};

/* Addresses of one family. Interned: clauses with the same addresses share one. */
struct addresses {
	const struct address_range *items; /* sorted, disjoint, not adjacent; never empty */
	uint32_t n;
	uint8_t family;	  /* 4 or 6 */
	bool negated;	  /* written with `!`: the items are the complement of what was named */
	const char *name; /* of the set it came from (also when negated), or NULL */
};

struct masked {
	uint32_t mask, value; /* (field & mask) == value; mask 0: any */
};

/*
 * Dynamic sets, as bits by number. `sets` 0: none is asked. Else the address is in any of them, or,
 * with `none`, in none of them.
 */
struct membership {
	uint64_t sets;
	bool none;
};

enum family_bits {
	FAMILY_BIT_4 = 1,
	FAMILY_BIT_6 = 2,
};

struct clause {
	uint8_t families; /* family_bits; never 0. A clause with src or dst has exactly one bit */
	/*
	 * By field number. Only PROTOCOL, SRC_PORT, DST_PORT, FRAGMENT, LENGTH, DSCP, TTL, EXPECTED
	 * and STATE are used here; the others are n == 0. A clause that constrains ports, ICMP
	 * types or TCP flags also has FRAGMENT = 0.
	 */
	struct ranges field[FIELD_SRC];
	const struct addresses *src, *dst; /* NULL: any */
	struct membership src_sets, dst_sets; /* besides */
	struct masked flags, mark;
	bool has_mac;
	uint8_t mac[6];
};

enum rule_origin {
	RULE_BUILTIN,	      /* built-in rule, before the file's */
	RULE_FILE,
	RULE_DEFAULT,	      /* `default` of a policy block */
	RULE_BUILTIN_DEFAULT, /* what holds where no default does */
};

/*
 * `n` packets every `period` seconds, `burst` at once; or `n` flows at a time (period and burst 0).
 */
struct rule_limit {
	uint32_t n, period, burst;
	enum limit_each each;
	uint8_t prefix; /* IPv6: how many bits make one source or destination */
};

struct rule {
	const char *id; /* unique in the ruleset, stable: `id NAME` or a hash, see LANGUAGE */
	enum rule_origin origin;
	uint64_t from, to; /* sets of zone numbers: bit n is zone n */
	const struct clause *clauses;
	uint32_t clause_n;
	enum action action;
	enum reject reject;
	bool stateless;
	bool log;
	const char *log_text;	/* or NULL */
	uint32_t log_sample;	/* every n-th is logged; 1 = all */
	const char *count;	/* name of a counter, or NULL */
	struct masked mark_set; /* mask 0: the mark stays */
	struct rule_limit limit, flows; /* `limit`, `max flows`; n 0: none */
	bool over; /* early: it takes what is beyond its limit, not what is within */
	uint32_t timeout;	/* seconds; 0: as usual */
	uint32_t add;		/* `add … to`: number of a dynamic set, + 1; 0: none */
	bool add_destination;	/* its destination instead of its source */
	const char *comment;	/* description from the trailing comment, or NULL */
	const char *pair;	/* canonical text of the pair, "wan -> self" */
	const char *text;	/* canonical text of the rule, "allow 22/tcp from @admins"; of a default: "default drop" */
	struct position position; /* of the rule's first word; POSITION_NONE for built-in ones */
};

/* What a zone asks for besides its rules; see core/hygiene.h. All zero: nothing. */
enum antispoof { ANTISPOOF_OFF, ANTISPOOF_STRICT, ANTISPOOF_LOOSE };

struct hygiene {
	enum antispoof antispoof; /* of packets that arrive from it */
	bool clamp_mss;		  /* of what is forwarded from it or to it */
	uint16_t mss;		  /* 0: what the MTUs allow */
	uint8_t min_ttl;	  /* this and the next: of what is forwarded to it. 0: as it is */
	bool no_df, random_id;
};

enum nat_kind { NAT_SOURCE, NAT_MASQUERADE, NAT_FORWARD, NAT_INTERCEPT };

/* To where a rule of NAT translates. */
struct nat_target {
	uint8_t family; /* 4 or 6 */
	/*
	 * Prefix to prefix: host bits stay. Both have this length, `addresses` is the target,
	 * from_lo the first address of what is matched. Else 0.
	 */
	bool prefix_to_prefix;
	uint8_t prefix;
	uint32_t from_lo[4];
	struct address_range addresses;
	/*
	 * 0: none were written. Forward: a range maps one to one from match_port_lo. Source: the
	 * pool.
	 */
	uint16_t port_lo, port_hi;
	uint16_t match_port_lo;
};

/*
 * A rule of a `nat` block, or an `intercept` statement. Its clauses, pair, text, id are those of
 * `rule`, whose action is ACTION_TRANSLATE. First match wins among the rules of NAT_FORWARD, among
 * those of NAT_INTERCEPT, and among the others.
 */
struct nat_rule {
	struct rule rule;
	enum nat_kind kind;
	bool full_cone;
	bool pass; /* NAT_INTERCEPT: `on-missing pass` */
	const struct nat_target *targets; /* of one family; none: masquerade. NAT_INTERCEPT: one, of one address and port */
	uint32_t target_n;
};

struct zone {
	const char *name;
	const char *const *patterns; /* interface names or patterns (fnmatch) */
	uint32_t pattern_n;
	uint16_t tag; /* stable over policies: from the name; never 0; self 1, other 2; unique in the ruleset; at most TAG_MAX (core/mark.h) */
	struct hygiene hygiene;
	struct position position;
};

/* What it holds is no matter of the policy, and stays under its name from one to the next. */
struct dynamic_set {
	const char *name;
	uint32_t timeout; /* seconds; 0: what is added stays */
	uint32_t max;	  /* entries */
	struct position position;
};

#define DYNAMIC_SET_MAX_DEFAULT 65536u

/* Who knows what the dynamic sets of a ruleset hold. */
struct set_contents {
	/* NULL: they are empty */
	bool (*holds)(void *context, const struct dynamic_set *set, uint32_t family,
		      const uint32_t address[4]);
	void *context;
};

enum fast_path {
	FAST_PATH_ON,	  /* where nobody would miss what it goes past */
	FAST_PATH_OFF,
	FAST_PATH_INSIST, /* also elsewhere, as far as devices can */
};

/* `options { … }`: each with its default when the policy says nothing. */
struct policy_options {
	bool builtin_nd;	/* `ipv6-nd on`: neighbour discovery, router advertisement */
	bool builtin_multicast; /* `multicast-membership on`: IGMP, MLD */
	bool builtin_dhcp;	/* `dhcp-client on` */
	bool guard;		/* `guard on` */
	bool pickup;		/* `tcp-pickup off`; on: a TCP packet in mid-stream may start a flow */
	bool windows;		/* `tcp-window on`: TCP outside of its connection's window is dropped */
	uint8_t mark_shift;	/* `mark-bits 30`: reeve's two bits of the mark start here; 0..30 */
	uint32_t flows_max;	/* `flows 131072`: replied flows */
	uint32_t embryonic_max; /* `embryonic-flows 65536`: unreplied flows */
	uint8_t fast_path;	/* `fast-path on`: enum fast_path */
	bool early_required;	/* `early required`: where it cannot be, apply refuses */
};

struct scope; /* what names stand for, so that questions can use them: see resolve.h */

struct ruleset {
	struct arena arena; /* owns everything below, except sources */
	struct zone *zones; /* by zone number; [0] self, [1] other */
	uint32_t zone_n;
	struct rule *rules; /* in judging order */
	uint32_t rule_n;
	/* In the order of the file; in the image, rule numbers from rule_n on are theirs. */
	struct nat_rule *nat;
	uint32_t nat_n;
	/*
	 * Rules of the `early` blocks, in the order of the file, of packets that arrive from their
	 * zones, wherever these go: ACTION_DROP. In the image they come behind those of NAT.
	 */
	struct rule *early;
	uint32_t early_n;
	bool protects; /* some of them are ACTION_PROTECT */
	uint64_t early_zones; /* of which zones any of them speaks, as bits */
	const struct dynamic_set *sets; /* in the order of the file */
	uint32_t set_n;			/* at most IMAGE_SETS_MAX */
	struct set_contents contents;	/* the caller's business; nothing at first */
	struct policy_options options;
	struct source_set sources; /* all texts it was made of */
	const struct scope *scope; /* sets and services by name */
};

#define RULES_MAX 250000u

/*
 * Parses and resolves the policy `name` (a file, or the first source of a sealed set). Takes
 * ownership of *sources, also on failure (it ends in ruleset->sources). On failure (-EINVAL: errors
 * are in *diagnostics; -ENOMEM) the ruleset holds only the sources, for printing the diagnostics,
 * and must still be freed.
 *
 * Parts of the language that no engine can carry out yet are errors of their line ("not supported
 * yet").
 */
int policy_load(const char *name, struct source_set *sources, struct ruleset *ruleset,
		struct diagnostics *diagnostics);
void ruleset_free(struct ruleset *ruleset);

/*
 * How many rules the image of a ruleset has: its rules, then those of NAT, then one that matches
 * what these do not, if there are any; then those of `early` in the same way.
 */
uint32_t ruleset_image_rules(const struct ruleset *ruleset);
/* The number of the first rule of `early`. */
uint32_t ruleset_early_first(const struct ruleset *ruleset);
/* A rule by its number in the image; NULL for the last ones of NAT and `early`, and beyond. */
const struct rule *ruleset_rule(const struct ruleset *ruleset, uint32_t number);
/* The number of a zone by name, or -1. */
int ruleset_zone(const struct ruleset *ruleset, const char *name);
/* The zone of an interface name: the first zone one of whose patterns matches, else ZONE_OTHER. Two zones that
 * match one name by exact names are an error of policy_load; a name beats a pattern. */
uint32_t ruleset_interface_zone(const struct ruleset *ruleset, const char *interface);
/*
 * Does some zone name the interface itself, not by a pattern? (Loopback and ports are covered only
 * then: `"*"` means no harm.)
 */
bool ruleset_names_interface(const struct ruleset *ruleset, const char *interface);
/* By which what a dynamic set of this name holds is found again, see core/image.h. */
uint64_t dynamic_set_name_tag(const char *name);
/* Is there a set of this name, and is it part of the policy? */
bool ruleset_has_static_set(const struct ruleset *ruleset, const char *name);
/* May packets that it matches go on to the next rule? */
static inline bool rule_limited(const struct rule *rule)
{
	return rule->limit.n || rule->flows.n;
}

#endif
