// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The validator: one sound image made by hand, and every way to damage it, each refused for its own
 * reason.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/flow.h"
#include "core/image.h"

/* Where things lie in the sound image. */
enum {
	UNIT_TEST = 6,	/* destination port 80? */
	UNIT_INNER = 7, /* a test inside the set tree */
	UNIT_TREE = 8,	/* the switch of the set tree */
	UNIT_SET = 12,
	UNIT_SPARE = 13, /* referred to by nothing */
	UNIT_SWITCH = 16,
	UNIT_RULES = 20,    /* two of the policy, two of NAT, two of early */
	UNIT_DISPATCH = 26, /* 2 zones: 8 words for each kind of walk */
	UNIT_TAGS = UNIT_DISPATCH + WALK_KINDS,
	UNIT_TRANSLATIONS = (UNIT_TAGS + 2) / 2 * 2, /* two */
	UNIT_BUCKETS = UNIT_TRANSLATIONS + 2 * IMAGE_TRANSLATION_UNITS, /* two */
	UNITS = UNIT_BUCKETS + 2,
};

union sample {
	unsigned char bytes[UNITS * IMAGE_UNIT];
	uint32_t words[UNITS * 8];
	struct image_header header;
};

static void *at(union sample *sample, unsigned unit)
{
	return sample->bytes + unit * IMAGE_UNIT;
}

static void put_switch(union sample *sample, unsigned unit, uint32_t key, uint32_t below,
		       uint32_t above)
{
	struct image_switch *node = at(sample, unit);
	unsigned i;

	node->field = FIELD_SRC;
	node->child[0] = below;
	for (i = 0; i < IMAGE_SWITCH_KEYS; i++) {
		node->key[i] = i ? UINT32_MAX : key;
		node->child[i + 1] = above;
	}
}

/* To one of two ranges, from port 8000 on to port 80 on. */
static void put_translations(union sample *sample)
{
	struct image_translation *entry = at(sample, UNIT_TRANSLATIONS);
	unsigned i;

	for (i = 0; i < 2; i++)
		entry[i] = (struct image_translation){
			.kind = TRANSLATE_FORWARD,
			.family = 4,
			.flags = TRANSLATE_PORTS,
			.port_lo = 80,
			.port_hi = 89,
			.match_port_lo = 8000,
			.n = (uint16_t)(2 - i),
			.lo = { 0x0a000001 + i * 256 },
			.hi = { 0x0a000009 + i * 256 },
		};
}

static void make(union sample *sample)
{
	uint32_t *dispatch = at(sample, UNIT_DISPATCH);
	struct image_bucket *buckets = at(sample, UNIT_BUCKETS);
	struct image_rule *rules = at(sample, UNIT_RULES);
	unsigned i;

	memset(sample, 0, sizeof(*sample));
	sample->header = (struct image_header){
		.magic = IMAGE_MAGIC,
		.version = IMAGE_VERSION,
		.units = UNITS,
		.zones = 2,
		.rules = 6,
		.policy_rules = 2,
		.early_rules = 4,
		.translations = UNIT_TRANSLATIONS,
		.translation_n = 2,
		.dispatch = UNIT_DISPATCH,
		.interfaces = UNIT_BUCKETS,
		.zone_tags = UNIT_TAGS,
		.interface_mask = 1,
		.rule_table = UNIT_RULES,
		.walk_max = 6, /* switch, set, tree, inner test, member, test */
		.flags = IMAGE_PICKUP | IMAGE_GUARD,
		.mark_shift = 30,
	};
	*(struct image_test *)at(sample, UNIT_TEST) = (struct image_test){
		.field = FIELD_DST_PORT,
		.mask = UINT32_MAX,
		.lo = 80,
		.yes = REF_MAKE(REF_RULE, 0),
		.no = REF_MAKE(REF_RULE, 1),
	};
	*(struct image_test *)at(sample, UNIT_INNER) = (struct image_test){
		.field = FIELD_SRC + 3,
		.mask = UINT32_MAX,
		.yes = REF_MAKE(REF_MEMBER, 1),
		.no = REF_MAKE(REF_MEMBER, 0),
	};
	put_switch(sample, UNIT_TREE, 7, REF_MAKE(REF_MEMBER, 0), REF_MAKE(REF_TEST, UNIT_INNER));
	*(struct image_set *)at(sample, UNIT_SET) = (struct image_set){
		.root = REF_MAKE(REF_SWITCH, UNIT_TREE),
		.yes = REF_MAKE(REF_TEST, UNIT_TEST),
		.no = REF_MAKE(REF_RULE, 1),
	};
	put_switch(sample, UNIT_SWITCH, 9, REF_MAKE(REF_SET, UNIT_SET), REF_MAKE(REF_RULE, 1));
	for (i = 0; i < 8 * WALK_KINDS; i++)
		dispatch[i] = REF_MAKE(REF_SWITCH, UNIT_SWITCH);
	for (i = 0; i < 8; i++) {
		dispatch[8 * WALK_FORWARD + i] = REF_MAKE(REF_RULE, i % 2 + 2);
		dispatch[8 * WALK_SOURCE + i] = REF_MAKE(REF_RULE, 3);
		dispatch[8 * WALK_EARLY + i] = REF_MAKE(REF_RULE, i % 2 + 4);
		dispatch[8 * WALK_INTERCEPT + i] = REF_MAKE(REF_RULE, 3);
	}
	rules[0].flags = IMAGE_RULE_LOG;
	rules[0].log_sample = 1;
	rules[1].action = ACTION_REJECT;
	rules[1].reject = REJECT_ADMIN_PROHIBITED;
	rules[2].action = ACTION_TRANSLATE;
	rules[4].action = ACTION_DROP;
	put_translations(sample);
	memcpy(at(sample, UNIT_TAGS), (uint16_t[]){ 1, 2 }, 4);
	buckets[image_hash(5) & 1].entry[2] = (struct image_interface){ 5, 1, 2 };
}

static void test_sound(void **state)
{
	union sample sample;
	const char *why = "";

	(void)state;
	make(&sample);
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), 0);
	memset(at(&sample, UNIT_SPARE), 0xff, 3 * IMAGE_UNIT); /* never read */
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), 0);
	sample.header.walk_max = IMAGE_WALK_MAX;
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), 0);
}

static void test_hygiene(void **state)
{
	static const struct {
		uint32_t unit;
		struct image_hygiene self, other;
		const char *why; /* NULL: sound */
	} cases[] = {
		{ UNIT_SPARE, { 0 }, { 0 }, NULL },
		{ UNIT_SPARE, { 0 }, { HYGIENE_ANTISPOOF | HYGIENE_LOOSE, 0, 0 }, NULL },
		{ UNIT_SPARE, { 0 }, { HYGIENE_CLAMP_MSS, 255, 65535 }, NULL },
		{ UNIT_SPARE, { 0 }, { HYGIENE_CLAMP_MSS | HYGIENE_RANDOM_ID, 1, 88 }, NULL },
		{ UNITS, { 0 }, { 0 }, "hygiene of zones out of bounds" },
		{ 3, { 0 }, { 0 }, "hygiene of zones out of bounds" },
		{ UINT32_MAX, { 0 }, { 0 }, "hygiene of zones out of bounds" },
		{ UNIT_SPARE, { 0 }, { 32, 0, 0 }, "unknown hygiene of a zone" },
		{ UNIT_SPARE, { HYGIENE_NO_DF, 0, 0 }, { 0 }, "hygiene of this host" },
		{ UNIT_SPARE, { 0, 5, 0 }, { 0 }, "hygiene of this host" },
		{ UNIT_SPARE, { 0 }, { HYGIENE_LOOSE, 0, 0 }, "loose, but not against spoofing" },
		{ UNIT_SPARE, { 0 }, { 0, 0, 1400 }, "segment size of a zone out of range" },
		{ UNIT_SPARE, { 0 }, { HYGIENE_CLAMP_MSS, 0, 87 }, "segment size of a zone out of range" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct image_hygiene *entry;
		union sample sample;
		const char *why = NULL;

		make(&sample);
		entry = at(&sample, UNIT_SPARE);
		entry[ZONE_SELF] = cases[i].self;
		entry[ZONE_OTHER] = cases[i].other;
		sample.header.hygiene = cases[i].unit;
		assert_int_equal(image_validate(&sample, sizeof(sample), &why),
				 cases[i].why ? -EBADMSG : 0);
		if (cases[i].why)
			assert_string_equal(why, cases[i].why);
	}
}

static void test_length(void **state)
{
	union sample sample;
	const char *why = "";
	size_t size;

	(void)state;
	make(&sample);
	for (size = 0; size < sizeof(sample); size++)
		assert_int_equal(image_validate(&sample, size, &why), -EBADMSG);
	for (size = 2; size < UNITS; size++) {
		sample.header.units = (uint32_t)size;
		assert_int_equal(image_validate(&sample, size * IMAGE_UNIT, &why), -EBADMSG);
	}
	assert_string_equal(why, "interface table out of bounds");
}

static void test_version(void **state)
{
	union sample sample;
	const char *why = "";

	(void)state;
	make(&sample);
	sample.header.version++;
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), -EPROTONOSUPPORT);
	assert_string_equal(why, "another version of the image format");
}

/* One word of the image and what it is changed to. */
struct damage {
	unsigned unit, word;
	uint32_t value;
	const char *why;
};

#define HEADER(member, value, why)                                       \
	{                                                                \
		0, offsetof(struct image_header, member) / 4, value, why \
	}
#define TEST(unit, member, value, why)                                    \
	{                                                                 \
		unit, offsetof(struct image_test, member) / 4, value, why \
	}
#define SET(member, value, why)                                              \
	{                                                                    \
		UNIT_SET, offsetof(struct image_set, member) / 4, value, why \
	}
#define SWITCH(unit, member, value, why)                                    \
	{                                                                   \
		unit, offsetof(struct image_switch, member) / 4, value, why \
	}
#define DISPATCH(value, why)                 \
	{                                    \
		UNIT_DISPATCH, 3, value, why \
	}
#define RULE(number, word, value, why)                  \
	{                                               \
		UNIT_RULES + (number), word, value, why \
	}

static const char BEFORE[] = "a node is not before its parent";
static const char MISPLACED[] = "a switch is misaligned or out of bounds";
static const char NO_RULE[] = "a rule that does not exist";
static const char OUTSIDE[] = "translations out of bounds";
static const char NO_KIND[] = "unknown kind of node";

static void test_damage(void **state)
{
	const struct damage damages[] = {
		HEADER(magic, 0, "not an image"),
		HEADER(units, UNITS - 1, "the length is not the one the header names"),
		HEADER(units, IMAGE_UNITS_MAX + 1, "the length is not the one the header names"),
		HEADER(zones, 1, "number of zones out of range"),
		HEADER(zones, ZONES_MAX + 1, "number of zones out of range"),
		HEADER(zones, 4, "dispatch table out of bounds"),
		HEADER(rules, 0, "number of rules out of range"),
		HEADER(rules, IMAGE_RULES_MAX + 1, "number of rules out of range"),
		HEADER(rules, UNITS, "rule table out of bounds"),
		HEADER(dispatch, UNITS, "dispatch table out of bounds"),
		HEADER(dispatch, 1, "dispatch table out of bounds"),
		HEADER(dispatch, UINT32_MAX, "dispatch table out of bounds"),
		HEADER(rule_table, UNITS - 1, "rule table out of bounds"),
		HEADER(rule_table, 0, "rule table out of bounds"),
		HEADER(interfaces, UNITS - 1, "interface table out of bounds"),
		HEADER(interfaces, 1, "interface table out of bounds"),
		HEADER(interface_mask, 3, "interface table out of bounds"),
		HEADER(interface_mask, UINT32_MAX, "interface table out of bounds"),
		HEADER(interface_mask, 2, "number of interface buckets is not a power of two"),
		HEADER(walk_max, 5, "a walk is longer than the header says"),
		HEADER(walk_max, IMAGE_WALK_MAX + 1, "walk limit out of range"),
		HEADER(flags, 128, "unknown flag in the header"),
		HEADER(zone_tags, UNITS, "zone tags out of bounds"),
		HEADER(zone_tags, 1, "zone tags out of bounds"),
		HEADER(zone_tags, UNIT_SPARE, "zone tag out of range"),
		HEADER(zone_tags, UNIT_TEST, "zone tag out of range"),
		HEADER(mark_shift, 31, "mark bits out of range"),
		HEADER(policy_rules, 0, "number of rules of the policy out of range"),
		HEADER(policy_rules, 7, "number of rules of the policy out of range"),
		HEADER(policy_rules, 5, "number of rules before those of early out of range"),
		HEADER(early_rules, 1, "number of rules before those of early out of range"),
		HEADER(early_rules, 7, "number of rules before those of early out of range"),
		HEADER(early_rules, 2, "rules of NAT without translations, or the reverse"),
		HEADER(early_rules, 3, "a walk ends in a rule of early"),
		HEADER(early_rules, 5, "a rule of NAT neither translates nor leaves things alone"),
		HEADER(early_rules, 6, "a rule of NAT neither translates nor leaves things alone"),
		HEADER(policy_rules, 4, "rules of NAT without translations, or the reverse"),
		HEADER(policy_rules, 3, "unknown action of a rule"),
		HEADER(translations, UNITS - 2, OUTSIDE),
		HEADER(translations, 0, OUTSIDE),
		HEADER(translations, UNIT_TRANSLATIONS - 1, OUTSIDE),
		HEADER(translation_n, 0, OUTSIDE),
		HEADER(translation_n, 4, OUTSIDE),
		HEADER(translation_n, UINT32_MAX, OUTSIDE),
		HEADER(reserved, 1, "reserved word of the header is not zero"),
		DISPATCH(REF_MAKE(REF_RULE, 6), NO_RULE),
		DISPATCH(REF_MAKE(REF_MEMBER, 0), "a set's answer outside of a set tree"),
		DISPATCH(REF_MAKE(REF_TUPLES, UNIT_TEST), NO_KIND),
		DISPATCH(REF_MAKE(REF_LIMIT, UNIT_TEST), "one unit is used as two kinds of node"),
		DISPATCH(REF_MAKE(REF_LIMIT, UNITS), BEFORE),
		DISPATCH(REF_MAKE(REF_LIMIT, UNIT_TAGS), NO_RULE),
		SWITCH(UNIT_TREE, child[0], REF_MAKE(REF_LIMIT, UNIT_INNER), "a limit inside a set tree"),
		HEADER(limit_n, 1, "table of limits out of bounds"),
		HEADER(limit_n, IMAGE_LIMITS_MAX + 1, "table of limits out of bounds"),
		RULE(1, 4, FLOW_TIMEOUT_MAX + 1, "timeout of a rule out of range"),
		RULE(1, 5, 1, "a limit that does not exist"),
		RULE(1, 6, UINT32_MAX, "a limit that does not exist"),
		DISPATCH(REF_MAKE(15, UNIT_TEST), NO_KIND),
		DISPATCH(REF_MAKE(REF_TEST, UNITS), BEFORE),
		DISPATCH(REF_MAKE(REF_TEST, 0), BEFORE),
		DISPATCH(REF_MAKE(REF_TEST, 1), BEFORE),
		DISPATCH(REF_MAKE(REF_SWITCH, 0), BEFORE),
		DISPATCH(REF_MAKE(REF_SWITCH, 13), MISPLACED),
		DISPATCH(REF_MAKE(REF_SWITCH, UNITS - 1), MISPLACED),
		DISPATCH(REF_MAKE(REF_TEST, UNIT_SET), "one unit is used as two kinds of node"),
		DISPATCH(REF_MAKE(REF_SWITCH, UNIT_TREE), "one unit is used as two kinds of node"),
		SWITCH(UNIT_SWITCH, field, FIELD_WORDS, "unknown field of a switch"),
		SWITCH(UNIT_SWITCH, key[1], 9, "the keys of a switch do not ascend"),
		SWITCH(UNIT_SWITCH, key[2], 3, "the keys of a switch do not ascend"),
		SWITCH(UNIT_SWITCH, child[15], REF_MAKE(REF_RULE, 0),
		       "the unused children of a switch differ"),
		SWITCH(UNIT_SWITCH, child[0], REF_MAKE(REF_RULE, 6), NO_RULE),
		SWITCH(UNIT_SWITCH, child[0], REF_MAKE(REF_SWITCH, UNIT_SWITCH), BEFORE),
		SWITCH(UNIT_SWITCH, child[0], REF_MAKE(REF_TEST, 17), BEFORE),
		SWITCH(UNIT_SWITCH, child[0], REF_MAKE(REF_MEMBER, 1),
		       "a set's answer outside of a set tree"),
		SWITCH(UNIT_TREE, child[0], REF_MAKE(REF_RULE, 0), "a set tree ends in a rule"),
		SWITCH(UNIT_TREE, child[0], REF_MAKE(REF_MEMBER, 2),
		       "unknown answer of a set tree"),
		SWITCH(UNIT_TREE, child[0], REF_MAKE(REF_SET, UNIT_INNER),
		       "a set inside a set tree"),
		SWITCH(UNIT_TREE, child[0], REF_MAKE(REF_TUPLES, UNIT_INNER), NO_KIND),
		SET(root, REF_MAKE(REF_RULE, 0), "a set tree ends in a rule"),
		SET(root, REF_MAKE(REF_SET, UNIT_TEST), "a set inside a set tree"),
		SET(root, REF_MAKE(REF_SWITCH, UNIT_SWITCH), BEFORE),
		SET(root, REF_MAKE(REF_TEST, UNIT_TEST), "one unit is used as two kinds of node"),
		SET(yes, REF_MAKE(REF_MEMBER, 1), "a set's answer outside of a set tree"),
		SET(yes, REF_MAKE(REF_SET, UNIT_SET), BEFORE),
		SET(no, REF_MAKE(REF_RULE, 7), NO_RULE),
		SET(reserved[4], 1, "reserved part of a set is not zero"),
		TEST(UNIT_TEST, field, FIELD_WORDS, "unknown field of a test"),
		TEST(UNIT_TEST, reserved[1], 1, "reserved part of a test is not zero"),
		TEST(UNIT_TEST, yes, REF_MAKE(REF_TEST, UNIT_TEST), BEFORE),
		TEST(UNIT_TEST, no, REF_MAKE(REF_RULE, 6), NO_RULE),
		TEST(UNIT_INNER, no, REF_MAKE(REF_RULE, 1), "a set tree ends in a rule"),
		RULE(0, 0, ACTION_REJECT + 1, "unknown action of a rule"),
		RULE(0, 0, REJECT_KINDS << 8, "unknown kind of reject"),
		RULE(0, 0, 16 << 16, "unknown flag of a rule"),
		RULE(0, 0, 1u << 24, "reserved part of a rule is not zero"),
		RULE(0, 1, 0, "a logging rule samples none"),
		RULE(1, 7, 1, "a dynamic set that does not exist"),
		RULE(2, 7, 1, "a rule of NAT does more than translate"),
		DISPATCH(REF_MAKE(REF_MEMBER_OF, UNIT_TEST),
			 "one unit is used as two kinds of node"),
		DISPATCH(REF_MAKE(REF_MEMBER_OF, UNITS), BEFORE),
		SWITCH(UNIT_TREE, child[0], REF_MAKE(REF_MEMBER_OF, UNIT_INNER),
		       "a set inside a set tree"),
		HEADER(set_n, 1, "table of dynamic sets out of bounds"),
		HEADER(set_n, IMAGE_SETS_MAX + 1, "table of dynamic sets out of bounds"),
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
		union sample sample;
		const char *why = "nothing";

		make(&sample);
		sample.words[damages[i].unit * 8 + damages[i].word] = damages[i].value;
		if (image_validate(&sample, sizeof(sample), &why) != -EBADMSG ||
		    strcmp(why, damages[i].why))
			fail_msg("damage %zu: expected \"%s\", got \"%s\"", i, damages[i].why, why);
	}
}

static void test_interfaces(void **state)
{
	static const struct {
		unsigned bucket; /* 0: the right one */
		struct image_interface entry;
		const char *why;
	} cases[] = {
		{ 0, { 5, 2, 2 }, "zone of an interface out of range" },
		{ 0, { 5, 1, 0 }, "zone tag of an interface out of range" },
		{ 1, { 5, 1, 2 }, "an interface is in the wrong bucket" },
		{ 0, { 0, 1, 0 }, "an empty interface entry is not zero" },
		{ 0, { 0, 0, 9 }, "an empty interface entry is not zero" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		union sample sample;
		struct image_bucket *buckets;
		const char *why = "nothing";

		make(&sample);
		buckets = at(&sample, UNIT_BUCKETS);
		buckets[(image_hash(5) & 1) ^ cases[i].bucket].entry[2] = cases[i].entry;
		assert_int_equal(image_validate(&sample, sizeof(sample), &why), -EBADMSG);
		assert_string_equal(why, cases[i].why);
	}
}

static void test_nat_rules(void **state)
{
	const struct {
		unsigned walk; /* WALK_KINDS: of the rule */
		uint32_t value;
		const char *why;
	} cases[] = {
		{ WALK_PACKET, 2, "a walk of the policy ends in a rule of NAT" },
		{ WALK_FRAGMENT, 3, "a walk of the policy ends in a rule of NAT" },
		{ WALK_FORWARD, 1, "a walk of NAT ends in a rule of the policy" },
		{ WALK_FORWARD, REF_MAKE(REF_SWITCH, UNIT_SWITCH),
		  "one unit is used as two kinds of node" },
		{ WALK_FORWARD, 6, NO_RULE },
		{ WALK_SOURCE, 2, "a walk of NAT ends in a translation of the other side" },
		{ WALK_INTERCEPT, 2, "a walk of NAT ends in a translation of the other side" },
		{ WALK_INTERCEPT, 0, "a walk of NAT ends in a rule of the policy" },
		{ WALK_KINDS, ACTION_DROP,
		  "a rule of NAT neither translates nor leaves things alone" },
		{ WALK_KINDS, ACTION_TRANSLATE | IMAGE_RULE_STATELESS << 16,
		  "a rule of NAT does more than translate" },
		{ WALK_KINDS, ACTION_TRANSLATE | 1 << 8, "a rule of NAT does more than translate" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		union sample sample;
		const char *why = "nothing";

		make(&sample);
		if (cases[i].walk == WALK_KINDS)
			*(uint32_t *)at(&sample, UNIT_RULES + 2) = cases[i].value;
		else
			*(uint32_t *)at(&sample, UNIT_DISPATCH + cases[i].walk) = cases[i].value;
		if (image_validate(&sample, sizeof(sample), &why) != -EBADMSG ||
		    strcmp(why, cases[i].why))
			fail_msg("case %zu: expected \"%s\", got \"%s\"", i, cases[i].why, why);
	}
}

static void test_early_rules(void **state)
{
	static const struct {
		unsigned walk; /* WALK_KINDS: of the rule */
		uint32_t value;
		const char *why;
	} cases[] = {
		{ WALK_PACKET, 4, "a walk ends in a rule of early" },
		{ WALK_SOURCE, 5, "a walk ends in a rule of early" },
		{ WALK_EARLY, 1, "a walk of early ends in another's rule" },
		{ WALK_EARLY, 3, "a walk of early ends in another's rule" },
		{ WALK_EARLY, 6, NO_RULE },
		{ WALK_EARLY, REF_MAKE(REF_SWITCH, UNIT_SWITCH),
		  "one unit is used as two kinds of node" },
		{ WALK_KINDS, ACTION_REJECT,
		  "a rule of early neither drops nor leaves things alone" },
		{ WALK_KINDS, ACTION_TRANSLATE,
		  "a rule of early neither drops nor leaves things alone" },
		{ WALK_KINDS, ACTION_PROTECT,
		  "a rule of early protects, and the header does not say so" },
		{ WALK_KINDS, ACTION_DROP | IMAGE_RULE_STATELESS << 16,
		  "a rule of early does more than drop" },
		{ WALK_KINDS, ACTION_DROP | 1 << 8, "a rule of early does more than drop" },
		{ WALK_KINDS, ACTION_DROP | IMAGE_RULE_OVER << 16,
		  "a rule takes what is beyond a limit that it has not" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		union sample sample;
		const char *why = "nothing";

		make(&sample);
		if (cases[i].walk == WALK_KINDS)
			*(uint32_t *)at(&sample, UNIT_RULES + 4) = cases[i].value;
		else
			*(uint32_t *)at(&sample, UNIT_DISPATCH + cases[i].walk) = cases[i].value;
		if (image_validate(&sample, sizeof(sample), &why) != -EBADMSG ||
		    strcmp(why, cases[i].why))
			fail_msg("case %zu: expected \"%s\", got \"%s\"", i, cases[i].why, why);
	}
}

/* Without rules of early its walks lead nowhere, and no rule turns its limit round. */
static void test_no_early(void **state)
{
	union sample sample;
	uint32_t *dispatch = at(&sample, UNIT_DISPATCH);
	const char *why = "nothing";

	(void)state;
	make(&sample);
	sample.header.rules = 4;
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), -EBADMSG);
	assert_string_equal(why, "a walk of early without rules");
	memset(&dispatch[8 * WALK_EARLY], 0, IMAGE_UNIT);
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), 0);
	((struct image_rule *)at(&sample, UNIT_RULES))[1].flags = IMAGE_RULE_OVER;
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), -EBADMSG);
	assert_string_equal(why, "unknown flag of a rule");
}

/* Without translations there are no rules of NAT either, and its walks lead nowhere. */
static void test_no_nat(void **state)
{
	union sample sample;
	uint32_t *dispatch = at(&sample, UNIT_DISPATCH);
	const char *why = "nothing";

	(void)state;
	make(&sample);
	sample.header.rules = sample.header.early_rules = 2;
	memset(&dispatch[8 * WALK_EARLY], 0, IMAGE_UNIT);
	sample.header.translations = sample.header.translation_n = 0;
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), -EBADMSG);
	assert_string_equal(why, "a walk of NAT without translations");
	memset(&dispatch[8 * WALK_FORWARD], 0, (WALK_KINDS - WALK_FORWARD) * IMAGE_UNIT);
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), 0);
}

/* Translations in the place of the sample's first. */
static void test_translations(void **state)
{
	static const struct {
		bool good;
		struct image_translation entry;
		const char *why;
	} cases[] = {
		{ true, { 3, 4, 0, 0, .n = 1, .lo = { 7 }, .hi = { 7 } }, "" },
		{ true, { 3, 6, 0, 0, .n = 1, .lo = { 7 }, .hi = { 8, 1, 2, 3 } }, "" },
		{ true, { 3, 6, 1, 64, .n = 1, .lo = { 8, 1 }, .hi = { 8, 1, ~0u, ~0u },
			  .from_lo = { 9, 5 } }, "" },
		{ true, { 3, 4, 1, 0, .n = 1, .hi = { ~0u } }, "" },
		{ false, { 0, 4, 0, 0, .n = 1 }, "unknown kind of translation" },
		{ false, { 5, 4, 0, 0, .n = 1 }, "unknown kind of translation" },
		{ false, { 4, 4, 5, 0, 9, 9, .n = 1 }, "unknown flag of a translation" },
		{ false, { 4, 4, 8, 0, .n = 1, .lo = { 7 }, .hi = { 7 } },
		  "an interception has no target, or several" },
		{ false, { 4, 4, 4, 0, 9, 9, .n = 1, .lo = { 7 }, .hi = { 8 } },
		  "an interception has no target, or several" },
		{ false, { 4, 6, 4, 0, 9, 10, .n = 1, .lo = { 7 }, .hi = { 7 } },
		  "ports of a translation out of range" },
		{ false, { 4, 4, 12, 0, 9, 9, .n = 2, .lo = { 7 }, .hi = { 7 } },
		  "alternatives of a translation differ in kind" },
		{ false, { 3, 4, 8, 0, .n = 1 }, "unknown flag of a translation" },
		{ false, { 3, 4, 2, 0, .n = 1 }, "unknown flag of a translation" },
		{ false, { 3, 4, .n = 0 }, "alternatives of a translation out of bounds" },
		{ false, { 3, 4, .n = 3 }, "alternatives of a translation out of bounds" },
		{ false, { 1, 4, .n = 2 }, "alternatives of a translation differ in kind" },
		{ false, { 3, 6, .n = 2 }, "alternatives of a translation differ in kind" },
		{ false, { 3, 4, .n = 1, .reserved = 1 },
		  "reserved part of a translation is not zero" },
		{ false, { 2, 4, .n = 1 }, "masquerading has a target" },
		{ false, { 2, 0, .n = 1, .hi = { 1 } }, "masquerading has a target" },
		{ false, { 2, 0, 1, 1, .n = 1 }, "a translation's prefix out of range" },
		{ false, { 3, 5, .n = 1 }, "unknown family of a translation" },
		{ false, { 3, 4, .n = 1, .lo = { 2 }, .hi = { 1 } },
		  "addresses of a translation out of range" },
		{ false, { 3, 6, .n = 1, .lo = { 2, 2 }, .hi = { 2, 1, 9 } },
		  "addresses of a translation out of range" },
		{ false, { 3, 4, .n = 1, .hi = { 1, 1 } },
		  "addresses of a translation out of range" },
		{ false, { 3, 4, 0, 8, .n = 1 }, "a translation has a prefix it does not use" },
		{ false, { 3, 4, .n = 1, .from_lo = { 1 } },
		  "a translation has a prefix it does not use" },
		{ false, { 3, 4, 1, 33, .n = 1 }, "a translation's prefix out of range" },
		{ false, { 3, 4, 1, 24, .n = 2 }, "a translation's prefix out of range" },
		{ false, { 3, 4, 1, 24, .n = 1, .lo = { 256 }, .hi = { 510 } },
		  "a translation's prefix is none" },
		{ false, { 3, 4, 1, 24, .n = 1, .hi = { 255 }, .from_lo = { 1 } },
		  "a translation's prefix is none" },
		{ false, { 3, 4, .n = 1, .port_hi = 1 },
		  "a translation has ports it does not use" },
		{ false, { 3, 4, 4, 0, 0, 5, .n = 1 }, "ports of a translation out of range" },
		{ false, { 3, 4, 4, 0, 6, 5, .n = 1 }, "ports of a translation out of range" },
		{ false, { 3, 4, 4, 0, 1, 65535, 9, .n = 1 },
		  "matched ports of a translation out of range" },
		{ false, { 1, 4, 4, 0, 5, 5, 5, .n = 1 },
		  "matched ports of a translation out of range" },
	};
	struct image_translation *entries;
	union sample damaged;
	const char *reason = "";
	size_t i;

	(void)state;
	make(&damaged);
	damaged.header.translation_n = 2;
	entries = at(&damaged, UNIT_TRANSLATIONS);
	entries[1].n = 2;
	assert_int_equal(image_validate(&damaged, sizeof(damaged), &reason), -EBADMSG);
	assert_string_equal(reason, "alternatives within alternatives of a translation");
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		union sample sample;
		const char *why = "";

		make(&sample);
		*(struct image_translation *)at(&sample, UNIT_TRANSLATIONS) = cases[i].entry;
		if (image_validate(&sample, sizeof(sample), &why) !=
			    (cases[i].good ? 0 : -EBADMSG) ||
		    strcmp(why, cases[i].why))
			fail_msg("case %zu: expected \"%s\", got \"%s\"", i, cases[i].why, why);
	}
}

/* Units that nothing else needs, for a limit, and for the node of the rule that has it. */
static struct image_limit *make_limited(union sample *sample, struct image_limited **node)
{
	struct image_limit *limit = at(sample, UNIT_SPARE);
	struct image_rule *rules = at(sample, UNIT_RULES);
	uint32_t *dispatch = at(sample, UNIT_DISPATCH);

	make(sample);
	sample->header.limits = UNIT_SPARE;
	sample->header.limit_n = 1;
	*limit = (struct image_limit){ .id = { 1, 2 }, .interval = { 1000 }, .burst = 5, .prefix = 64 };
	rules[0].limit = 1;
	*node = at(sample, UNIT_SPARE + 1);
	**node = (struct image_limited){ .rule = 0, .beyond = REF_MAKE(REF_TEST, UNIT_TEST) };
	dispatch[3] = REF_MAKE(REF_LIMIT, UNIT_SPARE + 1);
	return limit;
}

static void test_limits(void **state)
{
	static const struct {
		struct image_limit limit;
		const char *why;
	} cases[] = {
		{ { .interval = { 1 }, .burst = 1, .prefix = 1 }, NULL },
		{ { .interval = { 0, 1u << 29 }, .burst = 2, .prefix = 128, .each = 2 }, NULL },
		{ { .interval = { 1 }, .burst = 1 }, "a limit is for each of nothing known" },
		{ { .interval = { 1 }, .burst = 1, .prefix = 129 }, "a limit is for each of nothing known" },
		{ { .interval = { 1 }, .burst = 1, .prefix = 64, .each = 3 }, "a limit is for each of nothing known" },
		{ { .interval = { 1 }, .prefix = 64 }, "a limit is neither a rate nor a number of flows" },
		{ { .burst = 1, .prefix = 64 }, "a limit is neither a rate nor a number of flows" },
		{ { .prefix = 64 }, "a limit is neither a rate nor a number of flows" },
		{ { .interval = { 1 }, .burst = 1, .flows = 1, .prefix = 64 },
		  "a limit is neither a rate nor a number of flows" },
		{ { .flows = 1, .prefix = 64 }, "a limit of the wrong kind" },
		{ { .interval = { 0, 1u << 29 }, .burst = 3, .prefix = 64 }, "burst of a limit out of range" },
		{ { .interval = { 1 }, .burst = 1, .prefix = 64, .reserved = { 0, 1 } },
		  "reserved part of a limit is not zero" },
	};
	struct image_limited *node;
	const char *why = NULL;
	union sample sample;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		*make_limited(&sample, &node) = cases[i].limit;
		assert_int_equal(image_validate(&sample, sizeof(sample), &why), cases[i].why ? -EBADMSG : 0);
		if (cases[i].why)
			assert_string_equal(why, cases[i].why);
	}
	make_limited(&sample, &node);
	node->rule = 6;
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), -EBADMSG);
	make_limited(&sample, &node);
	node->reserved[5] = 1;
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), -EBADMSG);
	assert_string_equal(why, "reserved part of a limited rule's node is not zero");
	make_limited(&sample, &node);
	node->beyond = REF_MAKE(REF_LIMIT, UNIT_SPARE + 1);
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), -EBADMSG);
	assert_string_equal(why, BEFORE);
}

/* Two dynamic sets, and a node that asks one, in the spare units. */
static struct image_member_of *make_sets(union sample *sample, struct image_dynamic_set **sets)
{
	struct image_member_of *node = at(sample, UNIT_SPARE + 2);
	uint32_t *dispatch = at(sample, UNIT_DISPATCH);

	make(sample);
	*sets = at(sample, UNIT_SPARE);
	sample->header.sets = UNIT_SPARE;
	sample->header.set_n = 2;
	(*sets)[0] = (struct image_dynamic_set){ .tag = { 7, 8 }, .max = 1 };
	(*sets)[1] = (struct image_dynamic_set){ .tag = { 8, 7 },
						 .timeout = UINT32_MAX,
						 .max = IMAGE_SET_ENTRIES_MAX };
	*node = (struct image_member_of){ .set = 1,
					  .field = FIELD_DST,
					  .yes = REF_MAKE(REF_SET, UNIT_SET),
					  .no = REF_MAKE(REF_RULE, 1) };
	dispatch[3] = REF_MAKE(REF_MEMBER_OF, UNIT_SPARE + 2);
	return node;
}

static void sets_refused(union sample *sample, const char *expected)
{
	const char *why = NULL;

	assert_int_equal(image_validate(sample, sizeof(*sample), &why), -EBADMSG);
	assert_string_equal(why, expected);
}

static void test_dynamic_sets(void **state)
{
	struct image_dynamic_set *sets;
	union sample sample;
	const char *why = "";

	(void)state;
	make_sets(&sample, &sets);
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), 0);
	((struct image_rule *)at(&sample, UNIT_RULES))[0].add = IMAGE_ADD(1, FIELD_SRC);
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), 0);
	((struct image_rule *)at(&sample, UNIT_RULES))[0].add = IMAGE_ADD(2, FIELD_SRC);
	sets_refused(&sample, "a dynamic set that does not exist");
	((struct image_rule *)at(&sample, UNIT_RULES))[0].add = IMAGE_ADD(1, FIELD_SRC + 1);
	sets_refused(&sample, "a set of something that is no address");
	make_sets(&sample, &sets)->set = 2;
	sets_refused(&sample, "a dynamic set that does not exist");
	make_sets(&sample, &sets)->field = FIELD_DST_PORT;
	sets_refused(&sample, "a set of something that is no address");
	make_sets(&sample, &sets)->reserved[3] = 1;
	sets_refused(&sample, "reserved part of a dynamic set's node is not zero");
	make_sets(&sample, &sets)->yes = REF_MAKE(REF_MEMBER_OF, UNIT_SPARE + 2);
	sets_refused(&sample, BEFORE);
	make_sets(&sample, &sets)->no = REF_MAKE(REF_RULE, 3);
	sets_refused(&sample, "a walk of the policy ends in a rule of NAT");
	make_sets(&sample, &sets);
	sets[1].tag[0] = 7;
	sets[1].tag[1] = 8;
	sets_refused(&sample, "two dynamic sets have one tag");
	make_sets(&sample, &sets);
	sets[0].max = 0;
	sets_refused(&sample, "size of a dynamic set out of range");
	sets[0].max = IMAGE_SET_ENTRIES_MAX + 1;
	sets_refused(&sample, "size of a dynamic set out of range");
	make_sets(&sample, &sets);
	sets[1].reserved[3] = 1;
	sets_refused(&sample, "reserved part of a dynamic set is not zero");
}

/* A key of 0xffffffff may be used: then only the children behind it must agree. */
static void test_last_key(void **state)
{
	union sample sample;
	struct image_switch *node;
	const char *why = "";
	unsigned i;

	(void)state;
	make(&sample);
	node = at(&sample, UNIT_SWITCH);
	for (i = 2; i <= IMAGE_SWITCH_KEYS; i++)
		node->child[i] = REF_MAKE(REF_RULE, 0);
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), 0);
	node->child[9] = REF_MAKE(REF_RULE, 1);
	assert_int_equal(image_validate(&sample, sizeof(sample), &why), -EBADMSG);
}

/*
 * Every single word set to each of a few values: refused or accepted, but read within bounds
 * (sanitizers watch).
 */
static void test_any_word(void **state)
{
	static const uint32_t values[] = { 0,
					   1,
					   2,
					   0x7fffffff,
					   0x80000000,
					   UINT32_MAX,
					   REF_MAKE(REF_SWITCH, 16),
					   REF_MAKE(REF_TEST, 20),
					   REF_MAKE(REF_SET, 18),
					   REF_MAKE(REF_SET, 0x0fffffff) };
	unsigned word, i, refused = 0;

	(void)state;
	for (word = 0; word < UNITS * 8; word++) {
		for (i = 0; i < sizeof(values) / sizeof(*values); i++) {
			union sample sample;
			const char *why = NULL;

			make(&sample);
			sample.words[word] = values[i];
			if (image_validate(&sample, sizeof(sample), &why)) {
				assert_non_null(why);
				refused++;
			}
		}
	}
	assert_true(refused > 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sound),	   cmocka_unit_test(test_length),
		cmocka_unit_test(test_version),	   cmocka_unit_test(test_damage),
		cmocka_unit_test(test_interfaces), cmocka_unit_test(test_last_key),
		cmocka_unit_test(test_any_word),   cmocka_unit_test(test_nat_rules),
		cmocka_unit_test(test_no_nat),
		cmocka_unit_test(test_early_rules),
		cmocka_unit_test(test_no_early),	   cmocka_unit_test(test_translations),
		cmocka_unit_test(test_hygiene),	   cmocka_unit_test(test_limits),
		cmocka_unit_test(test_dynamic_sets),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
