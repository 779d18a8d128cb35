// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The image: a compiled policy, plain data in host byte order.
 *
 * An image is an array of 32-byte units. References are 32-bit words: a kind in the upper 4 bits, a
 * number in the lower 28 (a unit index for nodes, a rule number for REF_RULE). In the kernel an
 * image is stored as pages of IMAGE_PAGE bytes, so no node straddles a page: a switch is aligned to
 * its own size.
 *
 * The first IMAGE_HEADER_UNITS units hold the header. The dispatch table gives, for a kind of walk, a pair of zones and
 * a family, the reference at which the walk begins. The walk goes on until it meets REF_RULE:
 *
 *	REF_SWITCH  one field, up to 15 sorted keys; child i, where i is the number of keys <= the field
 *	REF_TEST    one field: yes if ((field & mask) - lo) <= span (unsigned), else no
 *	REF_SET     walk the tree `root`, which ends in REF_MEMBER 0 or 1; go on at no or yes. Not nested.
 *	REF_LIMIT   a rule with limits, all of whose conditions hold: if it admits the packet
 *		    (core/limit.h), that rule; else go on at `beyond`. Not in set trees; at most
 *		    IMAGE_LIMITED_MAX on any way down
 *	REF_MEMBER_OF  a dynamic set and an address of the packet: go on at yes if the set holds it
 *		    (core/set.h), else at no. Not in set trees; at most IMAGE_ASKED_MAX on any way
 *		    down
 *	REF_TUPLES  reserved
 *
 * Children always have a smaller unit index than their parent, so every walk ends. The longest
 * walk, counted in nodes visited (those of set trees included, and REF_MEMBER as one more), is
 * header.walk_max and at most IMAGE_WALK_MAX.
 *
 * The walks of NAT and of interception end in rules of their own, those of `early` in its rules, all
 * others in those of the policy: all are in one table, so that counters know one numbering. A rule
 * of NAT or interception is ACTION_TRANSLATE, and mark_value is then the number of its first
 * translation, or ACTION_ALLOW: nothing is translated. One of `early` is ACTION_DROP,
 * ACTION_PROTECT (core/early.h), or ACTION_ALLOW: the packet goes on to be judged. Where the image
 * has no translations, or no rules of `early`, the words of their walks in the dispatch table are
 * zero.
 *
 * Zone tags: 16 words of 16 bits a unit, by zone number; behind the last zone zero.
 *
 * Hygiene: 8 entries a unit, by zone number; behind the last zone zero. It is there only when some
 * zone asks for some.
 *
 * Dynamic sets: one unit each. What they hold is no part of the image: it is found by the tag, and
 * so outlives it.
 *
 * Interfaces: a hash table of buckets, one unit each, of four {ifindex, zone, tag} entries; the
 * bucket of an ifindex is image_hash(ifindex) & interface_mask. An ifindex of 0 is an empty entry.
 * An interface that is not in it is ZONE_OTHER.
 */
#ifndef REEVE_CORE_IMAGE_H
#define REEVE_CORE_IMAGE_H

#include "core/field.h"
#include "core/types.h"

#define IMAGE_MAGIC 0x56454552u /* "REEV" */
#define IMAGE_VERSION 4u
#define IMAGE_UNIT 32u
#define IMAGE_HEADER_UNITS 4u
#define IMAGE_PAGE 65536u
#define IMAGE_PAGE_UNITS (IMAGE_PAGE / IMAGE_UNIT)
#define IMAGE_UNITS_MAX (1u << 23) /* 256 MiB */
#define IMAGE_WALK_MAX (1u << 18)
#define IMAGE_RULES_MAX (1u << 18)
#define IMAGE_LIMITED_MAX 32u	     /* rules with limits that one packet may come to */
#define IMAGE_ASKED_MAX 128u	     /* times that a dynamic set is asked for one packet */
#define IMAGE_LIMITS_MAX (1u << 14)
#define IMAGE_BURST_NS_MAX (1ull << 62) /* interval times burst */
#define IMAGE_SETS_MAX 64u		     /* dynamic ones: some of them are bits of a word */
#define IMAGE_SET_ENTRIES_MAX (1u << 24)

#define REF_KIND(ref) ((ref) >> 28)
#define REF_INDEX(ref) ((ref) & 0x0fffffffu)
#define REF_MAKE(kind, index) ((__u32)(kind) << 28 | (index))

enum ref_kind {
	REF_RULE = 0,
	REF_SWITCH = 1,
	REF_TEST = 2,
	REF_SET = 3,
	REF_MEMBER = 4, /* index 0 or 1; only inside set trees */
	REF_TUPLES = 5, /* reserved: comes with large rule sets */
	REF_LIMIT = 6,
	REF_MEMBER_OF = 7,
};

enum image_flags {
	IMAGE_PICKUP = 1, /* a TCP packet in mid-stream may start a flow */
	IMAGE_GUARD = 2,
	IMAGE_LIBERAL = 4, /* new flows are FLOW_LIBERAL */
	IMAGE_FORWARDS = 8, /* destinations are translated: WALK_FORWARD is to be asked */
	IMAGE_SOURCES = 16, /* sources are translated: WALK_SOURCE is to be asked */
	IMAGE_INTERCEPTS = 32, /* flows are handed to proxies of this host: WALK_INTERCEPT is to be asked */
	IMAGE_PROTECTS = 64, /* some rule of early is ACTION_PROTECT: ACKs may bear cookies */
};

/* For what a rule is looked for. */
enum walk_kind {
	WALK_PACKET,   /* a packet with all its fields */
	WALK_FLOW,     /* a flow: conditions on fields that its record does not hold count as matching */
	WALK_FRAGMENT, /* a later fragment: only rules that say `fragment`, and the built-in ones */
	WALK_FORWARD,  /* the destination of a new packet, before it is judged */
	WALK_SOURCE,   /* the source of a new flow that leaves */
	WALK_EARLY,    /* before anything else: every packet that arrives, from its zone to zone 0 */
	WALK_INTERCEPT, /* the proxy that gets a new flow, which was to be forwarded */
	WALK_KINDS,
};

struct image_header { /* IMAGE_HEADER_UNITS */
	__u32 magic, version;
	__u32 units;	       /* length of the whole */
	__u32 zones;	       /* number of zones, at least 2 */
	__u32 rules;	       /* number of rules, at least 1 */
	__u32 dispatch;	       /* unit where the dispatch table begins: WALK_KINDS * zones * zones * 2 words */
	__u32 interfaces;      /* unit of the first bucket */
	__u32 interface_mask;  /* buckets - 1, a power of two minus one */
	__u32 rule_table;      /* unit of rule 0; a rule is one unit */
	__u32 walk_max;
	__u32 flags;	       /* enum image_flags */
	__u32 mark_shift;      /* reeve's two bits of the mark begin here */
	__u32 digest[2];       /* xxh64 of the rest of the image with this field zero */
	__u32 zone_tags;       /* unit of the first tags */
	__u32 hygiene;	       /* unit of the first struct image_hygiene; 0: no zone asks for any */
	__u32 translations;    /* unit of the first, even; 0 if there are none */
	__u32 translation_n;   /* 0: nothing is translated, and the walks of NAT are not to be walked */
	__u32 policy_rules;    /* rules below are the policy's, those from here on NAT's, */
	__u32 limits;	       /* unit of the first limit */
	__u32 limit_n;
	__u32 sets;	       /* unit of the first dynamic set */
	__u32 set_n;
	__u32 early_rules;     /* and those from here on early's; `rules` where there are none */
	__u32 reserved[8];     /* zero */
};

_Static_assert(sizeof(struct image_header) == IMAGE_HEADER_UNITS * IMAGE_UNIT, "header");

#define IMAGE_DISPATCH(zones, walk, from, to, family) \
	((((walk) * (zones) + (from)) * (zones) + (to)) * 2 + ((family) == 6))
#define IMAGE_UNIT_TAGS (IMAGE_UNIT / 2)

#define IMAGE_SWITCH_KEYS 15
struct image_switch { /* 4 units, aligned to 4 units */
	__u32 field;   /* a word number below FIELD_WORDS */
	__u32 key[IMAGE_SWITCH_KEYS]; /* ascending; unused ones are 0xffffffff */
	__u32 child[IMAGE_SWITCH_KEYS + 1]; /* unused ones repeat the last used child */
};

struct image_test { /* 1 unit */
	__u32 field;
	__u32 mask, lo, span;
	__u32 yes, no;
	__u32 reserved[2];
};

struct image_set { /* 1 unit */
	__u32 root;
	__u32 yes, no;
	__u32 reserved[5];
};

struct image_limited { /* 1 unit: REF_LIMIT */
	__u32 rule;
	__u32 beyond;
	__u32 reserved[6];
};

struct image_member_of { /* 1 unit: REF_MEMBER_OF */
	__u32 set;   /* number of a dynamic set */
	__u32 field; /* FIELD_SRC or FIELD_DST */
	__u32 yes, no;
	__u32 reserved[4];
};

struct image_dynamic_set { /* 1 unit */
	__u32 tag[2];  /* from its name; unlike those of the others */
	__u32 timeout; /* seconds that an address stays; 0: until it is taken out */
	__u32 max;     /* entries, 1 to IMAGE_SET_ENTRIES_MAX */
	__u32 reserved[4];
};

static __always_inline __u64 dynamic_set_tag(const struct image_dynamic_set *set)
{
	return (__u64)set->tag[1] << 32 | set->tag[0];
}

enum limit_each {
	LIMIT_EACH_NONE, /* one for all */
	LIMIT_EACH_SOURCE,
	LIMIT_EACH_DESTINATION,
};

/*
 * 1 unit. A rate: a bucket of `burst` tokens, of which one comes back every `interval`; or a number
 * of flows at a time. What was counted is found by `id`, also by the next policy, where its rule's
 * id stays.
 */
struct image_limit {
	__u32 id[2];
	__u32 interval[2]; /* nanoseconds, lower half first, at least 1; 0: `flows` counts */
	__u32 burst;	/* at least 1; interval * burst is at most IMAGE_BURST_NS_MAX */
	__u32 flows;	/* at least 1; 0: a rate */
	__u8 each;	/* enum limit_each */
	__u8 prefix;	/* of IPv6 addresses, how many bits are looked at: 1 to 128 */
	__u16 reserved[3];
};

static __always_inline __u64 limit_interval(const struct image_limit *limit)
{
	return (__u64)limit->interval[1] << 32 | limit->interval[0];
}

enum image_rule_flags {
	IMAGE_RULE_LOG = 1,
	IMAGE_RULE_STATELESS = 2,
	IMAGE_RULE_BUILTIN = 4, /* built-in rule, or built-in default */
	IMAGE_RULE_DEFAULT = 8, /* a default, of the file or built in */
	IMAGE_RULE_OVER = 16,	/* early: it takes what is beyond its limit, not what is within */
};

struct image_rule { /* 1 unit */
	__u8 action; /* enum action */
	__u8 reject; /* enum reject */
	__u8 flags;
	__u8 reserved0;
	__u32 log_sample;
	__u32 mark_mask, mark_value;
	__u32 timeout; /* seconds that its flows may be silent, at most FLOW_TIMEOUT_MAX; 0: as usual */
	__u32 limit;   /* number of its limit, + 1; 0: none */
	__u32 flows;   /* likewise of the one that counts flows */
	/*
	 * An address of what it decides goes into a dynamic set: number of the set, + 1, and the
	 * address's field << 16. 0: none.
	 */
	__u32 add;
};

#define IMAGE_ADD(set, field) (((set) + 1) | (__u32)(field) << 16)
#define IMAGE_ADD_SET(add) (((add) & 0xffff) - 1)
#define IMAGE_ADD_FIELD(add) ((add) >> 16)

enum translation_kind {
	TRANSLATE_NONE,
	TRANSLATE_SOURCE,
	TRANSLATE_MASQUERADE, /* source: the address of the leaving interface */
	TRANSLATE_FORWARD,    /* destination */
	TRANSLATE_INTERCEPT,  /* nothing: the flow goes to who listens at this address and port */
};

enum translation_flags {
	/* prefix to prefix: host bits stay; IPv6: checksum-neutral, RFC 6296 */
	TRANSLATE_PREFIX = 1,
	TRANSLATE_FULL_CONE = 2,
	TRANSLATE_PORTS = 4, /* port_lo..port_hi were given */
	TRANSLATE_PASS = 8,  /* intercept: where nobody listens the flow goes its way, instead of being dropped */
};

struct image_translation { /* 2 units, aligned to 2 units */
	__u8 kind;   /* enum translation_kind */
	__u8 family; /* 4 or 6; masquerade: 0 */
	__u8 flags;  /* enum translation_flags */
	__u8 prefix; /* TRANSLATE_PREFIX: length of both prefixes; else 0 */
	/*
	 * Forward: the target's ports; a range maps one to one from match_port_lo. Source: the
	 * pool. Without TRANSLATE_PORTS both are 0: the port stays, or is of the default pool.
	 */
	__u16 port_lo, port_hi;
	__u16 match_port_lo;
	/*
	 * This and the n - 1 entries behind it are alternatives, spread evenly by flow. On the
	 * first of them, else 1.
	 */
	__u16 n;
	__u32 lo[4], hi[4]; /* addresses, ends included; masquerade: 0 */
	__u32 from_lo[4];   /* TRANSLATE_PREFIX: first address of the prefix matched; else 0 */
	__u32 reserved;
};

#define IMAGE_TRANSLATION_UNITS 2u
#define IMAGE_TRANSLATIONS_MAX (1u << 18)

_Static_assert(sizeof(struct image_translation) == IMAGE_TRANSLATION_UNITS * IMAGE_UNIT,
	       "translation");

struct image_interface {
	__u32 ifindex;
	__u16 zone;
	__u16 tag; /* of the zone, see struct zone */
};

/* What a zone asks for besides its rules (core/hygiene.h). Of ZONE_SELF nothing. */
enum hygiene_flags {
	HYGIENE_ANTISPOOF = 1, /* packets that arrive: the route back leaves by where they came from */
	HYGIENE_LOOSE = 2,     /* with HYGIENE_ANTISPOOF: any route back will do */
	HYGIENE_CLAMP_MSS = 4, /* forwarded, from it or to it */
	HYGIENE_NO_DF = 8,     /* this and the next: forwarded, to it */
	HYGIENE_RANDOM_ID = 16,
};

struct image_hygiene { /* IMAGE_UNIT_HYGIENE of them a unit */
	__u8 flags;   /* enum hygiene_flags */
	__u8 min_ttl; /* forwarded, to it; 0: as it is */
	__u16 mss;    /* with HYGIENE_CLAMP_MSS; 0: what the MTUs of both devices allow */
};

#define IMAGE_UNIT_HYGIENE (IMAGE_UNIT / 4)
#define HYGIENE_MSS_MIN 88 /* the least that Linux takes from a peer */

#define IMAGE_TAG_SELF 1
#define IMAGE_TAG_OTHER 2

struct image_bucket { /* 1 unit */
	struct image_interface entry[4];
};

/*
 * A policy that intercepts has a third bit of the mark, the one below its two, or above where there
 * is none below: it sends packets to the routing table in which everything is local.
 */
static __always_inline __u32 image_intercept_mark(__u32 mark_shift)
{
	return 1u << (mark_shift ? (mark_shift - 1) & 31 : 2);
}

static __always_inline __u32 image_hash(__u32 ifindex)
{
	return (ifindex * 0x9e3779b1u) >> 12;
}

#ifndef __bpf__
#include <stddef.h>
/*
 * Makes any byte string safe to walk: 0 if the image is whole, in bounds, acyclic, within the
 * limits above and every walk ends in a rule that exists; else -EBADMSG, or -EPROTONOSUPPORT for
 * another version. *why is then a short static text. `image` is aligned to 4 bytes. Does not check
 * the digest (the writer's business). -ENOMEM without memory.
 */
int image_validate(const void *image, size_t size, const char **why);
/* What is wrong with the table of translations, by itself; NULL: nothing. For image_validate(). */
const char *image_translations_wrong(const struct image_translation *entries, __u32 n);
#endif

#endif
