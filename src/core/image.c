// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The validator: makes any byte string safe to walk.
 *
 * A unit does not say what it is; the reference that leads to it does. So the validator finds the
 * nodes the way a walk does, from the dispatch table downwards, and notes at every unit as what it
 * was referred to. Children have smaller unit numbers than their parents, hence one pass from the
 * last unit to the first sees every node after all its parents; a second pass, upwards, sees it
 * after all its children and adds up the longest walk. Both are linear in the size of the image.
 *
 * A node belongs to the rules or to a set tree, never to both: the trees of the rules end in
 * REF_RULE, those of sets in REF_MEMBER, and a set tree holds no REF_SET. In the same way a node
 * belongs to the trees of the policy, of forwarding, of source translation, of `early` or of
 * interception, which end in rules of their own; set trees may be shared. Units that nothing refers
 * to are never read by a walk and may hold anything, and so may tables overlap: that is wasteful,
 * but harmless.
 *
 * This file runs on hosts with a C library only; the builtins below are its allocator, for the core
 * includes no libc.
 */
#include "core/flow.h"
#include "core/image.h"
#include "core/mark.h"

#include <linux/errno.h>
#include <stdbool.h>
#include <stdint.h>

enum mark {
	MARK_NODE_NONE = 0,
	MARK_KIND = 7,	 /* mask of the reference's kind */
	MARK_MEMBER = 8, /* inside a set tree */
	/* Above a set tree: whose rules are at the ends. Neither: those of the policy. */
	MARK_FORWARD = 16,
	MARK_SOURCE = 32,
	MARK_EARLY = 64,
	MARK_INTERCEPT = 128,
	MARK_ENDS = MARK_MEMBER | MARK_FORWARD | MARK_SOURCE | MARK_EARLY | MARK_INTERCEPT,
};

struct check {
	const unsigned char *bytes;
	const struct image_header *header;
	uint8_t *marks;	 /* by unit */
	uint32_t *walks; /* by unit: longest walk from here */
	struct asks {
		uint8_t limited; /* rules with limits, */
		uint8_t sets;	 /* dynamic sets that a walk from here may come to */
	} *asks; /* by unit */
	const char *why;
};

static const void *unit_at(const struct check *check, uint32_t unit)
{
	return check->bytes + (size_t)unit * IMAGE_UNIT;
}

static bool refuse(struct check *check, const char *why)
{
	check->why = why;
	return false;
}

static bool all_zero(const uint32_t *words, unsigned n)
{
	uint32_t any = 0;

	while (n--)
		any |= words[n];
	return !any;
}

/* Are `n` units from `first` on inside the image and behind the header? */
static bool in_bounds(const struct check *check, uint32_t first, uint64_t n)
{
	uint32_t units = check->header->units;

	return first >= IMAGE_HEADER_UNITS && first <= units && n <= units - first;
}

static bool check_header(struct check *check, size_t size)
{
	const struct image_header *header = check->header;
	uint64_t words = (uint64_t)header->zones * header->zones * 2 * WALK_KINDS;

	if (header->units > IMAGE_UNITS_MAX || size != (size_t)header->units * IMAGE_UNIT)
		return refuse(check, "the length is not the one the header names");
	if (header->zones < ZONE_FIRST || header->zones > ZONES_MAX)
		return refuse(check, "number of zones out of range");
	if (!header->rules || header->rules > IMAGE_RULES_MAX)
		return refuse(check, "number of rules out of range");
	if (!in_bounds(check, header->dispatch, (words + 7) / 8))
		return refuse(check, "dispatch table out of bounds");
	if (!in_bounds(check, header->rule_table, header->rules))
		return refuse(check, "rule table out of bounds");
	if (header->interface_mask & (header->interface_mask + 1))
		return refuse(check, "number of interface buckets is not a power of two");
	if (!in_bounds(check, header->interfaces, (uint64_t)header->interface_mask + 1))
		return refuse(check, "interface table out of bounds");
	if (header->walk_max > IMAGE_WALK_MAX)
		return refuse(check, "walk limit out of range");
	if (!in_bounds(check, header->zone_tags,
		       (header->zones + IMAGE_UNIT_TAGS - 1) / IMAGE_UNIT_TAGS))
		return refuse(check, "zone tags out of bounds");
	if (header->hygiene && !in_bounds(check, header->hygiene,
					  (header->zones + IMAGE_UNIT_HYGIENE - 1) / IMAGE_UNIT_HYGIENE))
		return refuse(check, "hygiene of zones out of bounds");
	if (header->flags & ~(uint32_t)(IMAGE_PICKUP | IMAGE_GUARD | IMAGE_LIBERAL |
				   IMAGE_FORWARDS | IMAGE_SOURCES | IMAGE_INTERCEPTS |
				   IMAGE_PROTECTS))
		return refuse(check, "unknown flag in the header");
	if (header->mark_shift > 30)
		return refuse(check, "mark bits out of range");
	if (header->policy_rules < 1 || header->policy_rules > header->rules)
		return refuse(check, "number of rules of the policy out of range");
	if (header->translation_n > IMAGE_TRANSLATIONS_MAX || header->translations & 1 ||
	    !header->translation_n != !header->translations ||
	    (header->translation_n &&
	     !in_bounds(check, header->translations,
			(uint64_t)header->translation_n * IMAGE_TRANSLATION_UNITS)))
		return refuse(check, "translations out of bounds");
	if (header->early_rules < header->policy_rules || header->early_rules > header->rules)
		return refuse(check, "number of rules before those of early out of range");
	if (!header->translation_n != (header->policy_rules == header->early_rules))
		return refuse(check, "rules of NAT without translations, or the reverse");
	if (header->limit_n > IMAGE_LIMITS_MAX ||
	    (header->limit_n && !in_bounds(check, header->limits, header->limit_n)))
		return refuse(check, "table of limits out of bounds");
	if (header->set_n > IMAGE_SETS_MAX ||
	    (header->set_n && !in_bounds(check, header->sets, header->set_n)))
		return refuse(check, "table of dynamic sets out of bounds");
	if (!all_zero(header->reserved, 8))
		return refuse(check, "reserved word of the header is not zero");
	return true;
}

static bool check_nat_rule(struct check *check, const struct image_rule *rule)
{
	if (rule->action != ACTION_TRANSLATE && rule->action != ACTION_ALLOW)
		return refuse(check, "a rule of NAT neither translates nor leaves things alone");
	if (rule->flags & IMAGE_RULE_STATELESS || rule->mark_mask || rule->reject || rule->add)
		return refuse(check, "a rule of NAT does more than translate");
	if (rule->action == ACTION_TRANSLATE ? rule->mark_value >= check->header->translation_n :
					       rule->mark_value)
		return refuse(check, "a rule names a translation that does not exist");
	return true;
}

static bool check_early_rule(struct check *check, const struct image_rule *rule)
{
	if (rule->action != ACTION_DROP && rule->action != ACTION_ALLOW &&
	    rule->action != ACTION_PROTECT)
		return refuse(check, "a rule of early neither drops nor leaves things alone");
	if (rule->action == ACTION_PROTECT && rule->limit)
		return refuse(check, "a rule of early that protects has a limit");
	if (rule->action == ACTION_PROTECT && !(check->header->flags & IMAGE_PROTECTS))
		return refuse(check, "a rule of early protects, and the header does not say so");
	if (rule->flags & ~(IMAGE_RULE_LOG | IMAGE_RULE_OVER | IMAGE_RULE_BUILTIN |
			    IMAGE_RULE_DEFAULT) ||
	    rule->mark_mask || rule->reject || rule->add || rule->flows || rule->timeout)
		return refuse(check, "a rule of early does more than drop");
	if (rule->flags & IMAGE_RULE_OVER && !rule->limit)
		return refuse(check, "a rule takes what is beyond a limit that it has not");
	return true;
}

static bool check_limit(struct check *check, const struct image_limit *limit)
{
	uint64_t interval = limit_interval(limit);

	if (limit->each > LIMIT_EACH_DESTINATION || !limit->prefix || limit->prefix > 128)
		return refuse(check, "a limit is for each of nothing known");
	if (limit->reserved[0] || limit->reserved[1] || limit->reserved[2])
		return refuse(check, "reserved part of a limit is not zero");
	if (!interval != !limit->burst || !interval == !limit->flows)
		return refuse(check, "a limit is neither a rate nor a number of flows");
	if (interval && limit->burst > IMAGE_BURST_NS_MAX / interval)
		return refuse(check, "burst of a limit out of range");
	return true;
}

static bool check_limits(struct check *check)
{
	uint32_t i;

	for (i = 0; i < check->header->limit_n; i++)
		if (!check_limit(check, unit_at(check, check->header->limits + i)))
			return false;
	return true;
}

/* `number` is that of a limit + 1, or 0. */
static bool check_limit_ref(struct check *check, uint32_t number, bool rate)
{
	const struct image_limit *limit;

	if (!number)
		return true;
	if (number > check->header->limit_n)
		return refuse(check, "a limit that does not exist");
	limit = unit_at(check, check->header->limits + number - 1);
	if (!limit->flows != rate)
		return refuse(check, "a limit of the wrong kind");
	return true;
}

/* An address of the packet and a dynamic set. */
static bool check_set_ref(struct check *check, uint32_t set, uint32_t field)
{
	if (set >= check->header->set_n)
		return refuse(check, "a dynamic set that does not exist");
	if (field != FIELD_SRC && field != FIELD_DST)
		return refuse(check, "a set of something that is no address");
	return true;
}

static bool check_sets(struct check *check)
{
	const struct image_header *header = check->header;
	const struct image_dynamic_set *sets = unit_at(check, header->sets);
	uint32_t i, j;

	for (i = 0; i < header->set_n; i++) {
		if (!sets[i].max || sets[i].max > IMAGE_SET_ENTRIES_MAX)
			return refuse(check, "size of a dynamic set out of range");
		if (!all_zero(sets[i].reserved, 4))
			return refuse(check, "reserved part of a dynamic set is not zero");
		for (j = 0; j < i; j++)
			if (dynamic_set_tag(&sets[i]) == dynamic_set_tag(&sets[j]))
				return refuse(check, "two dynamic sets have one tag");
	}
	return true;
}

static bool check_rules(struct check *check)
{
	uint32_t i;

	for (i = 0; i < check->header->rules; i++) {
		const struct image_rule *rule = unit_at(check, check->header->rule_table + i);

		if (i >= check->header->early_rules) {
			if (!check_early_rule(check, rule))
				return false;
		} else if (i >= check->header->policy_rules) {
			if (!check_nat_rule(check, rule))
				return false;
		} else if (rule->action > ACTION_REJECT) {
			return refuse(check, "unknown action of a rule");
		}
		if (rule->reject >= REJECT_KINDS)
			return refuse(check, "unknown kind of reject");
		if (rule->flags & ~(IMAGE_RULE_LOG | IMAGE_RULE_STATELESS | IMAGE_RULE_BUILTIN |
				    IMAGE_RULE_DEFAULT |
				    (i < check->header->early_rules ? 0 : IMAGE_RULE_OVER)))
			return refuse(check, "unknown flag of a rule");
		if ((rule->flags & IMAGE_RULE_LOG) && !rule->log_sample)
			return refuse(check, "a logging rule samples none");
		if (rule->reserved0)
			return refuse(check, "reserved part of a rule is not zero");
		if (rule->timeout > FLOW_TIMEOUT_MAX)
			return refuse(check, "timeout of a rule out of range");
		if (!check_limit_ref(check, rule->limit, true) ||
		    !check_limit_ref(check, rule->flows, false) ||
		    (rule->add && !check_set_ref(check, IMAGE_ADD_SET(rule->add),
						 IMAGE_ADD_FIELD(rule->add))))
			return false;
	}
	return true;
}

static bool check_translations(struct check *check)
{
	const struct image_header *header = check->header;
	const char *why = NULL;

	if (header->translation_n)
		why = image_translations_wrong(unit_at(check, header->translations),
					       header->translation_n);
	return !why || refuse(check, why);
}

static bool check_zone_tags(struct check *check)
{
	const uint16_t *tags = unit_at(check, check->header->zone_tags);
	uint32_t i;

	for (i = 0; i < check->header->zones; i++)
		if (!tags[i] || tags[i] > TAG_MAX)
			return refuse(check, "zone tag out of range");
	return true;
}

static bool check_hygiene(struct check *check)
{
	const struct image_hygiene *entry = unit_at(check, check->header->hygiene);
	uint32_t i;

	if (!check->header->hygiene)
		return true;
	for (i = 0; i < check->header->zones; i++, entry++) {
		if (entry->flags & ~(HYGIENE_ANTISPOOF | HYGIENE_LOOSE | HYGIENE_CLAMP_MSS |
				     HYGIENE_NO_DF | HYGIENE_RANDOM_ID))
			return refuse(check, "unknown hygiene of a zone");
		if (i == ZONE_SELF && (entry->flags || entry->min_ttl))
			return refuse(check, "hygiene of this host");
		if ((entry->flags & (HYGIENE_ANTISPOOF | HYGIENE_LOOSE)) == HYGIENE_LOOSE)
			return refuse(check, "loose, but not against spoofing");
		if (entry->mss && (entry->mss < HYGIENE_MSS_MIN || !(entry->flags & HYGIENE_CLAMP_MSS)))
			return refuse(check, "segment size of a zone out of range");
	}
	return true;
}

static bool check_interfaces(struct check *check)
{
	uint32_t i, j;

	for (i = 0; i <= check->header->interface_mask; i++) {
		const struct image_bucket *bucket = unit_at(check, check->header->interfaces + i);

		for (j = 0; j < 4; j++) {
			const struct image_interface *entry = &bucket->entry[j];

			if (!entry->ifindex) {
				if (entry->zone || entry->tag)
					return refuse(check,
						      "an empty interface entry is not zero");
				continue;
			}
			if (entry->zone >= check->header->zones)
				return refuse(check, "zone of an interface out of range");
			if (!entry->tag || entry->tag > TAG_MAX)
				return refuse(check, "zone tag of an interface out of range");
			if ((image_hash(entry->ifindex) & check->header->interface_mask) != i)
				return refuse(check, "an interface is in the wrong bucket");
		}
	}
	return true;
}

/* May a tree of this kind (of MARK_ENDS) end in the rule? */
static bool check_end(struct check *check, uint32_t number, unsigned ends)
{
	/* The entries are known to be sound. */
	static const unsigned sides[] = {
		[TRANSLATE_SOURCE] = MARK_SOURCE,
		[TRANSLATE_MASQUERADE] = MARK_SOURCE,
		[TRANSLATE_FORWARD] = MARK_FORWARD,
		[TRANSLATE_INTERCEPT] = MARK_INTERCEPT,
	};
	const struct image_header *header = check->header;
	const struct image_translation *entry;
	const struct image_rule *rule;

	if (ends & MARK_MEMBER || number >= header->rules)
		return refuse(check, ends & MARK_MEMBER ? "a set tree ends in a rule" :
							  "a rule that does not exist");
	if (ends == MARK_EARLY || number >= header->early_rules)
		return (ends == MARK_EARLY && number >= header->early_rules) ||
		       refuse(check, ends == MARK_EARLY ? "a walk of early ends in another's rule" :
							  "a walk ends in a rule of early");
	if (!ends != (number < header->policy_rules))
		return refuse(check, ends ? "a walk of NAT ends in a rule of the policy" :
					    "a walk of the policy ends in a rule of NAT");
	rule = unit_at(check, header->rule_table + number);
	if (!ends || rule->action != ACTION_TRANSLATE)
		return true;
	entry = unit_at(check, header->translations + rule->mark_value * IMAGE_TRANSLATION_UNITS);
	if (sides[entry->kind] != ends)
		return refuse(check, "a walk of NAT ends in a translation of the other side");
	return true;
}

/* Checks a reference out of unit `parent` and marks what it refers to. `ends`: of MARK_ENDS. */
static bool check_ref(struct check *check, uint32_t ref, uint32_t parent, unsigned ends)
{
	uint32_t kind = REF_KIND(ref), index = REF_INDEX(ref);
	unsigned mark = kind | ends, member = ends & MARK_MEMBER;

	if (kind == REF_RULE)
		return check_end(check, index, ends);
	if (kind == REF_MEMBER) {
		if (!member || index > 1)
			return refuse(check, member ? "unknown answer of a set tree" :
						      "a set's answer outside of a set tree");
		return true;
	}
	if (kind != REF_SWITCH && kind != REF_TEST &&
	    ((kind != REF_SET && kind != REF_LIMIT && kind != REF_MEMBER_OF) || member))
		return refuse(check, kind == REF_SET || kind == REF_MEMBER_OF ?
					     "a set inside a set tree" :
				     kind == REF_LIMIT ? "a limit inside a set tree" :
							 "unknown kind of node");
	if (index < 2 || index >= parent)
		return refuse(check, "a node is not before its parent");
	if (kind == REF_SWITCH && (index & 3 || !in_bounds(check, index, 4)))
		return refuse(check, "a switch is misaligned or out of bounds");
	if (check->marks[index] != MARK_NODE_NONE && check->marks[index] != mark)
		return refuse(check, "one unit is used as two kinds of node");
	check->marks[index] = (uint8_t)mark;
	return true;
}

static bool check_switch(struct check *check, uint32_t unit, unsigned ends)
{
	const struct image_switch *node = unit_at(check, unit);
	unsigned i;

	if (node->field >= FIELD_WORDS)
		return refuse(check, "unknown field of a switch");
	for (i = 1; i < IMAGE_SWITCH_KEYS; i++) {
		if (node->key[i - 1] == UINT32_MAX ? node->key[i] != UINT32_MAX :
						     node->key[i] <= node->key[i - 1])
			return refuse(check, "the keys of a switch do not ascend");
		if (node->key[i - 1] == UINT32_MAX && node->child[i + 1] != node->child[i])
			return refuse(check, "the unused children of a switch differ");
	}
	for (i = 0; i <= IMAGE_SWITCH_KEYS; i++)
		if (!check_ref(check, node->child[i], unit, ends))
			return false;
	return true;
}

static bool check_test(struct check *check, uint32_t unit, unsigned ends)
{
	const struct image_test *node = unit_at(check, unit);

	if (node->field >= FIELD_WORDS)
		return refuse(check, "unknown field of a test");
	if (!all_zero(node->reserved, 2))
		return refuse(check, "reserved part of a test is not zero");
	return check_ref(check, node->yes, unit, ends) && check_ref(check, node->no, unit, ends);
}

static bool check_set(struct check *check, uint32_t unit, unsigned ends)
{
	const struct image_set *node = unit_at(check, unit);

	if (!all_zero(node->reserved, 5))
		return refuse(check, "reserved part of a set is not zero");
	return check_ref(check, node->root, unit, MARK_MEMBER) &&
	       check_ref(check, node->yes, unit, ends) && check_ref(check, node->no, unit, ends);
}

static bool check_dispatch(struct check *check)
{
	static const unsigned ends[WALK_KINDS] = {
		[WALK_FORWARD] = MARK_FORWARD,
		[WALK_SOURCE] = MARK_SOURCE,
		[WALK_EARLY] = MARK_EARLY,
		[WALK_INTERCEPT] = MARK_INTERCEPT,
	};
	const struct image_header *header = check->header;
	const uint32_t *dispatch = unit_at(check, header->dispatch);
	uint32_t i, kind, words = header->zones * header->zones * 2;

	for (kind = 0; kind < WALK_KINDS; kind++) {
		bool there = !ends[kind] || header->translation_n;

		if (kind == WALK_EARLY)
			there = header->early_rules < header->rules;
		for (i = 0; i < words; i++, dispatch++) {
			if (!there && *dispatch)
				return refuse(check, kind == WALK_EARLY ?
							     "a walk of early without rules" :
							     "a walk of NAT without translations");
			if (there && !check_ref(check, *dispatch, header->units, ends[kind]))
				return false;
		}
	}
	return true;
}

static bool check_limited(struct check *check, uint32_t unit, unsigned ends)
{
	const struct image_limited *node = unit_at(check, unit);

	if (!all_zero(node->reserved, 6))
		return refuse(check, "reserved part of a limited rule's node is not zero");
	return check_end(check, node->rule, ends) && check_ref(check, node->beyond, unit, ends);
}

static bool check_member_of(struct check *check, uint32_t unit, unsigned ends)
{
	const struct image_member_of *node = unit_at(check, unit);

	if (!all_zero(node->reserved, 4))
		return refuse(check, "reserved part of a dynamic set's node is not zero");
	return check_set_ref(check, node->set, node->field) &&
	       check_ref(check, node->yes, unit, ends) && check_ref(check, node->no, unit, ends);
}

/* Downwards: every node after its parents. */
static bool check_nodes(struct check *check)
{
	const struct image_header *header = check->header;
	uint32_t i;

	for (i = header->units; i-- > IMAGE_HEADER_UNITS;) {
		unsigned mark = check->marks[i], ends = mark & MARK_ENDS;
		bool good = true;

		if ((mark & MARK_KIND) == REF_SWITCH)
			good = check_switch(check, i, ends);
		else if ((mark & MARK_KIND) == REF_TEST)
			good = check_test(check, i, ends);
		else if ((mark & MARK_KIND) == REF_SET)
			good = check_set(check, i, ends);
		else if ((mark & MARK_KIND) == REF_LIMIT)
			good = check_limited(check, i, ends);
		else if ((mark & MARK_KIND) == REF_MEMBER_OF)
			good = check_member_of(check, i, ends);
		if (!good)
			return false;
	}
	return true;
}

static uint32_t walk_of(const struct check *check, uint32_t ref)
{
	uint32_t kind = REF_KIND(ref);

	if (kind == REF_RULE || kind == REF_MEMBER)
		return kind == REF_MEMBER;
	return check->walks[REF_INDEX(ref)];
}

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/*
 * The longest walk from a node whose children are known; may pass the limit once, and is refused
 * then.
 */
static uint32_t walk_from(const struct check *check, uint32_t unit, uint32_t kind)
{
	uint32_t longest = 0;
	unsigned i;

	if (kind == REF_SWITCH) {
		const struct image_switch *node = unit_at(check, unit);

		for (i = 0; i <= IMAGE_SWITCH_KEYS; i++)
			longest = larger(longest, walk_of(check, node->child[i]));
	} else if (kind == REF_TEST) {
		const struct image_test *node = unit_at(check, unit);

		longest = larger(walk_of(check, node->yes), walk_of(check, node->no));
	} else if (kind == REF_LIMIT) {
		const struct image_limited *node = unit_at(check, unit);

		longest = walk_of(check, node->beyond);
	} else if (kind == REF_MEMBER_OF) {
		const struct image_member_of *node = unit_at(check, unit);

		longest = larger(walk_of(check, node->yes), walk_of(check, node->no));
	} else {
		const struct image_set *node = unit_at(check, unit);

		longest = larger(walk_of(check, node->yes), walk_of(check, node->no)) +
			  walk_of(check, node->root);
	}
	return longest + 1;
}

/* Likewise what it may ask. */
static struct asks asks_of(const struct check *check, uint32_t ref)
{
	uint32_t kind = REF_KIND(ref);

	return kind == REF_RULE || kind == REF_MEMBER ? (struct asks){ 0 } :
							check->asks[REF_INDEX(ref)];
}

static struct asks asks_most(struct asks a, struct asks b)
{
	return (struct asks){
		.limited = a.limited > b.limited ? a.limited : b.limited,
		.sets = a.sets > b.sets ? a.sets : b.sets,
	};
}

static struct asks asks_from(const struct check *check, uint32_t unit, uint32_t kind)
{
	const struct image_switch *node = unit_at(check, unit);
	const struct image_test *test = unit_at(check, unit);
	const struct image_set *set = unit_at(check, unit);
	const struct image_limited *limited = unit_at(check, unit);
	const struct image_member_of *member = unit_at(check, unit);
	struct asks most = { 0 };
	unsigned i;

	switch (kind) {
	case REF_SWITCH:
		for (i = 0; i <= IMAGE_SWITCH_KEYS; i++)
			most = asks_most(most, asks_of(check, node->child[i]));
		return most;
	case REF_LIMIT:
		most = asks_of(check, limited->beyond);
		most.limited++;
		return most;
	case REF_MEMBER_OF:
		most = asks_most(asks_of(check, member->yes), asks_of(check, member->no));
		most.sets++;
		return most;
	case REF_SET:
		return asks_most(asks_of(check, set->yes), asks_of(check, set->no));
	default:
		return asks_most(asks_of(check, test->yes), asks_of(check, test->no));
	}
}

/* Upwards: every node after its children. */
static bool check_walks(struct check *check)
{
	const struct image_header *header = check->header;
	uint32_t i;

	for (i = IMAGE_HEADER_UNITS; i < header->units; i++) {
		uint32_t kind = check->marks[i] & MARK_KIND;

		if (kind == MARK_NODE_NONE)
			continue;
		check->walks[i] = walk_from(check, i, kind);
		if (check->walks[i] > header->walk_max)
			return refuse(check, "a walk is longer than the header says");
		check->asks[i] = asks_from(check, i, kind);
		if (check->asks[i].limited > IMAGE_LIMITED_MAX)
			return refuse(check, "a walk may come to too many rules with limits");
		if (check->asks[i].sets > IMAGE_ASKED_MAX)
			return refuse(check, "a walk may ask dynamic sets too often");
	}
	return true;
}

int image_validate(const void *image, size_t size, const char **why)
{
	struct check check = { .bytes = image, .header = image };
	bool good;

	if (size < sizeof(struct image_header) || check.header->magic != IMAGE_MAGIC) {
		*why = "not an image";
		return -EBADMSG;
	}
	if (check.header->version != IMAGE_VERSION) {
		*why = "another version of the image format";
		return -EPROTONOSUPPORT;
	}
	if (!check_header(&check, size)) {
		*why = check.why;
		return -EBADMSG;
	}
	check.marks = __builtin_calloc(check.header->units, sizeof(*check.marks));
	check.walks = __builtin_calloc(check.header->units, sizeof(*check.walks));
	check.asks = __builtin_calloc(check.header->units, sizeof(*check.asks));
	if (!check.marks || !check.walks || !check.asks) {
		__builtin_free(check.asks);
		__builtin_free(check.marks);
		__builtin_free(check.walks);
		*why = "out of memory";
		return -ENOMEM;
	}
	good = check_limits(&check) && check_sets(&check) && check_rules(&check) &&
	       check_translations(&check) && check_zone_tags(&check) && check_hygiene(&check) &&
	       check_interfaces(&check) && check_dispatch(&check) && check_nodes(&check) &&
	       check_walks(&check);
	__builtin_free(check.asks);
	__builtin_free(check.marks);
	__builtin_free(check.walks);
	if (!good) {
		*why = check.why;
		return -EBADMSG;
	}
	return 0;
}
