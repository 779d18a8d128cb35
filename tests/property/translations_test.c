// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The same translation everywhere: random policies with rules of NAT and `intercept`. For packets
 * near what these rules say, their walks through the image must end in the rule that the reference
 * evaluator finds, and the entries of the image must say what the rule says.
 *
 * REEVE_SEED repeats a run, REEVE_POLICIES makes it longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "analysis/evaluate.h"
#include "base/source.h"
#include "compile/compile.h"
#include "random.h"

#define PACKETS 300
#define ZONES 3

static uint64_t seed;

/* --- policies ------------------------------------------------------------------------- */

static const char *const addresses[] = {
	"10.0.0.0/8",	 "10.1.0.0/16",	 "10.1.2.3",	  "10.1.2.0-10.1.3.9", "!10.1.0.0/16",
	"192.0.2.0/24",	 "fd00::/8",	 "2001:db8::/32", "2001:db8::7",       "!fd00::/8",
	"{ 10.1.2.3, 10.1.2.9, fd00::1 }", "@few",
};
static const char *const services[] = {
	"80/tcp", "53", "443", "8000-8009/tcp", "{ 22, 80 }/tcp", "udp", "icmp", "icmpv6", "sctp",
	"tcp",
};
static const char *const zones[] = { "wan", "lan", "dmz", "other", "any", "{ wan, lan }" };
static const char *const targets_4[] = { "192.168.0.1", "192.168.0.1-192.168.0.9",
					 "{ 192.168.0.1, 192.168.0.5 }" };
static const char *const targets_6[] = { "fd01::1", "fd01::1-fd01::9", "{ fd01::1, fd01::5 }" };

static void add_match(struct random *r, struct text *out)
{
	if (random_chance(r, 60))
		text_printf(out, " %s", random_pick(r, services));
	if (random_chance(r, 40))
		text_printf(out, " from %s", random_pick(r, addresses));
	if (random_chance(r, 10))
		text_puts(out, random_chance(r, 50) ? " from port 1024-2047" : "");
}

static void add_forward(struct random *r, struct text *out)
{
	static const char *const ported[] = { "80/tcp", "8000-8009/tcp", "53", "{ 1, 9 }/udp" };

	text_puts(out, "forward");
	switch (random_below(r, 4)) {
	case 0:
		text_printf(out, " to 10.%u.0.0/16 to 172.%u.0.0/16", random_below(r, 3),
			    16 + random_below(r, 9));
		break;
	case 1:
		text_printf(out, " %s to 192.168.0.%u:%u", random_pick(r, ported),
			    1 + random_below(r, 9), 1 + random_below(r, 65535));
		break;
	case 2:
		text_puts(out, " 8000-8009/tcp to [fd01::3]:9000-9009");
		break;
	default:
		add_match(r, out);
		if (random_chance(r, 50))
			text_printf(out, " to %s", random_pick(r, addresses));
		text_printf(out, " to %s",
			    random_chance(r, 50) ? random_pick(r, targets_4) :
						   random_pick(r, targets_6));
	}
}

static void add_source(struct random *r, struct text *out)
{
	switch (random_below(r, 4)) {
	case 0:
		text_printf(out, "source from 10.%u.0.0/16 to 172.16.0.0/16", random_below(r, 3));
		break;
	case 1:
		text_puts(out, "source from fd00:1::/48 to 2001:db8:9::/48");
		break;
	case 2:
		text_puts(out, "masquerade");
		add_match(r, out);
		break;
	default:
		text_puts(out, "source");
		add_match(r, out);
		text_printf(out, " to %s",
			    random_chance(r, 50) ? random_pick(r, targets_4) :
						   random_pick(r, targets_6));
	}
	if (random_chance(r, 30))
		text_puts(out, " full-cone");
}

static void add_intercept(struct random *r, struct text *out)
{
	text_printf(out, "intercept %s -> %s", random_pick(r, zones), random_pick(r, zones));
	add_match(r, out);
	text_printf(out, " to %s:%u%s\n", random_chance(r, 50) ? "127.0.0.1" : "[::1]",
		    1 + random_below(r, 65535), random_chance(r, 30) ? " on-missing pass" : "");
}

/* One block with one rule, or one statement, which the language may refuse beside the others. */
static void add_block(struct random *r, struct text *out)
{
	bool forward = random_chance(r, 50);

	if (random_chance(r, 25)) {
		add_intercept(r, out);
		return;
	}
	text_printf(out, "nat %s -> ", random_pick(r, zones));
	if (forward && random_chance(r, 70))
		text_puts(out, "self { ");
	else
		text_printf(out, "%s { ", random_pick(r, zones));
	if (forward)
		add_forward(r, out);
	else
		add_source(r, out);
	text_puts(out, " }\n");
}

static int load(const struct text *text, struct ruleset *ruleset)
{
	struct diagnostics diagnostics = { 0 };
	struct source_set sources = { .sealed = true };
	uint32_t index;
	int err = source_set_add(&sources, "t", text->bytes, text->len, &index);

	assert_int_equal(err, 0);
	err = policy_load("t", &sources, ruleset, &diagnostics);
	diagnostics_free(&diagnostics);
	return err;
}

/* Blocks that are refused beside the others are left out. */
static void random_policy(struct random *r, struct ruleset *ruleset, struct text *text)
{
	uint32_t blocks = 1 + random_below(r, 12);

	text_puts(text, "zone wan = a\nzone lan = b\nzone dmz = c\n"
			"set few = { 10.1.2.0/24, 192.0.2.9, 2001:db8::/48 }\n"
			"policy any -> any default allow\npolicy wan -> lan { drop 80/tcp }\n");
	assert_int_equal(load(text, ruleset), 0);
	while (blocks--) {
		size_t len = text->len;
		struct ruleset more;

		add_block(r, text);
		assert_int_equal(text_error(text), 0);
		if (!load(text, &more)) {
			ruleset_free(ruleset);
			*ruleset = more;
		} else {
			ruleset_free(&more);
			text->len = len;
		}
	}
}

/* --- packets ---------------------------------------------------------------------------- */

static void random_address(struct random *r, bool four, uint32_t word[4])
{
	static const uint32_t first_4[] = { 0x0a000000, 0x0a010000, 0x0a010200, 0x0a010203,
					    0x0a010309, 0xc0000209, 0xc0a80001, 0xac100000 };
	static const uint32_t first_6[][2] = { { 0xfd000000 }, { 0xfd000001 }, { 0xfd010000 },
					       { 0x20010db8 }, { 0x20010db8, 0x10000 } };
	uint32_t noise = random_chance(r, 30) ? random_below(r, 70000) : random_below(r, 2);

	memset(word, 0, 4 * sizeof(*word));
	if (four) {
		word[0] = random_pick(r, first_4) + noise;
		return;
	}
	memcpy(word, first_6[random_below(r, 5)], sizeof(first_6[0]));
	word[3] = random_below(r, 12) + noise;
}

static void random_fields(struct random *r, struct fields *fields)
{
	static const uint32_t protocols[] = { 6, 6, 17, 17, 1, 58, 132, 47 };
	static const uint32_t ports[] = { 80, 53, 443, 22, 8000, 8009, 8010, 1, 9, 2048, 32768 };
	bool four = random_chance(r, 60);
	uint32_t *word = fields->word;

	memset(fields, 0, sizeof(*fields));
	word[FIELD_FROM_ZONE] = random_below(r, ZONES + 2);
	word[FIELD_TO_ZONE] = random_below(r, ZONES + 2);
	word[FIELD_FAMILY] = four ? 4 : 6;
	word[FIELD_PROTOCOL] = random_pick(r, protocols);
	word[FIELD_DST_PORT] = random_pick(r, ports);
	word[FIELD_SRC_PORT] = random_chance(r, 50) ? 1024 + random_below(r, 2000) : 0;
	word[FIELD_TTL] = 64;
	word[FIELD_LENGTH] = 60;
	random_address(r, four, &word[FIELD_SRC]);
	random_address(r, four, &word[FIELD_DST]);
}

/* --- the image -------------------------------------------------------------------------- */

static const void *unit_at(const struct image *image, uint32_t unit)
{
	assert_true((size_t)unit * IMAGE_UNIT < image->size);
	return image->bytes + (size_t)unit * IMAGE_UNIT;
}

/* The rule at which a walk ends; shares no code with the core. */
static uint32_t walk(const struct image *image, const struct fields *fields, enum walk_kind kind)
{
	const struct image_header *header = (const void *)image->bytes;
	const uint32_t *dispatch = unit_at(image, header->dispatch), *word = fields->word;
	uint32_t ref = dispatch[IMAGE_DISPATCH(header->zones, kind, word[FIELD_FROM_ZONE],
					       word[FIELD_TO_ZONE], word[FIELD_FAMILY])];
	uint32_t yes = 0, no = 0, i;

	while (REF_KIND(ref) != REF_RULE) {
		const struct image_switch *node;
		const struct image_test *test;
		const struct image_set *set;

		switch (REF_KIND(ref)) {
		case REF_SWITCH:
			node = unit_at(image, REF_INDEX(ref));
			for (i = 0; i < IMAGE_SWITCH_KEYS && node->key[i] <= word[node->field]; i++)
				;
			ref = node->child[i];
			break;
		case REF_TEST:
			test = unit_at(image, REF_INDEX(ref));
			ref = (word[test->field] & test->mask) - test->lo <= test->span ? test->yes :
											  test->no;
			break;
		case REF_SET:
			set = unit_at(image, REF_INDEX(ref));
			ref = set->root;
			yes = set->yes;
			no = set->no;
			break;
		default:
			assert_int_equal(REF_KIND(ref), REF_MEMBER);
			ref = REF_INDEX(ref) ? yes : no;
		}
	}
	return REF_INDEX(ref);
}

static void compare_target(const struct nat_target *target, const struct image_translation *entry)
{
	assert_int_equal(entry->family, target->family);
	assert_memory_equal(entry->lo, target->addresses.lo, sizeof(entry->lo));
	assert_memory_equal(entry->hi, target->addresses.hi, sizeof(entry->hi));
	assert_int_equal(!!(entry->flags & TRANSLATE_PREFIX), target->prefix_to_prefix);
	assert_int_equal(!!(entry->flags & TRANSLATE_PORTS), target->port_lo != 0);
	assert_int_equal(entry->prefix, target->prefix);
	assert_memory_equal(entry->from_lo, target->from_lo, sizeof(entry->from_lo));
	assert_int_equal(entry->port_lo, target->port_lo);
	assert_int_equal(entry->port_hi, target->port_hi);
	assert_int_equal(entry->match_port_lo, target->match_port_lo);
}

/* Does the rule of the image say what the rule of NAT says? */
static void compare_rule(const struct ruleset *ruleset, const struct image *image, uint32_t number)
{
	static const uint8_t kinds[] = { [NAT_SOURCE] = TRANSLATE_SOURCE,
					 [NAT_MASQUERADE] = TRANSLATE_MASQUERADE,
					 [NAT_FORWARD] = TRANSLATE_FORWARD,
					 [NAT_INTERCEPT] = TRANSLATE_INTERCEPT };
	const struct image_header *header = (const void *)image->bytes;
	const struct image_rule *rule =
		unit_at(image, header->rule_table + ruleset->rule_n + number);
	const struct image_translation *entry;
	const struct nat_rule *nat;

	if (number == ruleset->nat_n) {
		assert_int_equal(rule->action, ACTION_ALLOW);
		return;
	}
	nat = &ruleset->nat[number];
	assert_int_equal(rule->action, ACTION_TRANSLATE);
	entry = unit_at(image, header->translations + rule->mark_value * IMAGE_TRANSLATION_UNITS);
	assert_int_equal(entry->kind, kinds[nat->kind]);
	assert_int_equal(!!(entry->flags & TRANSLATE_FULL_CONE), nat->full_cone);
	assert_int_equal(!!(entry->flags & TRANSLATE_PASS), nat->pass);
	assert_int_equal(entry->n, nat->target_n ? nat->target_n : 1);
	for (uint32_t i = 0; i < nat->target_n; i++)
		compare_target(&nat->targets[i], &entry[i]);
}

static void compare_packet(const struct ruleset *ruleset, const struct image *image,
			   const struct fields *fields, const char *policy, uint64_t *translated)
{
	static const struct {
		const char *name;
		uint32_t (*evaluate)(const struct ruleset *ruleset, const struct fields *fields);
		enum walk_kind kind;
	} ways[] = {
		{ "forward", evaluate_forward, WALK_FORWARD },
		{ "source", evaluate_source, WALK_SOURCE },
		{ "intercept", evaluate_intercept, WALK_INTERCEPT },
	};

	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		uint32_t expected = ways[i].evaluate(ruleset, fields);
		uint32_t got = walk(image, fields, ways[i].kind);

		if (got != ruleset->rule_n + expected)
			fail_msg("REEVE_SEED=%llu: %s: rule %u, but the image says %u, of\n%s",
				 (unsigned long long)seed, ways[i].name, expected,
				 got - ruleset->rule_n, policy);
		compare_rule(ruleset, image, expected);
		*translated += expected < ruleset->nat_n;
	}
}

static void one_policy(struct random *r, uint64_t *translated, uint64_t *rules)
{
	struct text text = TEXT_INIT(1 << 16);
	struct ruleset ruleset = { 0 };
	struct image image = { 0 };
	const char *why = "";

	random_policy(r, &ruleset, &text);
	if (image_compile(&ruleset, NULL, 0, &image, &why) ||
	    image_validate(image.bytes, image.size, &why))
		fail_msg("REEVE_SEED=%llu: %s, of\n%s", (unsigned long long)seed, why,
			 text_string(&text));
	*rules += ruleset.nat_n;
	for (unsigned i = 0; ruleset.nat_n && i < PACKETS; i++) {
		struct fields fields;

		random_fields(r, &fields);
		compare_packet(&ruleset, &image, &fields, text_string(&text), translated);
		/* What rules of NAT there are is of no concern to the policy's. */
		assert_int_equal(walk(&image, &fields, WALK_PACKET), evaluate(&ruleset, &fields));
	}
	image_free(&image);
	ruleset_free(&ruleset);
	text_free(&text);
}

static void test_translations(void **state)
{
	unsigned policies = (unsigned)environment_number("REEVE_POLICIES", 400);
	uint64_t translated = 0, rules = 0;

	(void)state;
	for (unsigned i = 0; i < policies; i++) {
		struct random r;

		random_seed(&r, seed + i);
		one_policy(&r, &translated, &rules);
	}
	printf("# %u policies, %llu rules of NAT, %llu translations\n", policies,
		      (unsigned long long)rules, (unsigned long long)translated);
	assert_true(rules > policies && translated > 10 * policies);
}

/* --- from prefix to prefix --------------------------------------------------------------- */

/* The ones' complement sum of an address; 0xffff is 0. */
static uint32_t sum_of(const uint32_t address[4])
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < 4; i++)
		sum += (address[i] >> 16) + (address[i] & 0xffff);
	return (uint32_t)(sum % 0xffff);
}

static uint32_t host_mask(unsigned prefix, unsigned word)
{
	unsigned bits = prefix > word * 32 ? prefix - word * 32 : 0;

	return bits >= 32 ? 0 : bits ? UINT32_MAX >> bits : UINT32_MAX;
}

static struct nat_target prefix_target(unsigned prefix, const uint32_t from[4],
				       const uint32_t to[4])
{
	struct nat_target target = { .family = 6, .prefix_to_prefix = true,
				     .prefix = (uint8_t)prefix };

	for (unsigned i = 0; i < 4; i++) {
		uint32_t host = host_mask(prefix, i);

		target.from_lo[i] = from[i] & ~host;
		target.addresses.lo[i] = to[i] & ~host;
		target.addresses.hi[i] = to[i] | host;
	}
	return target;
}

/* Sums stay, the prefix is the new one, and the way back leads back. */
static void test_prefixes(void **state)
{
	/* RFC 6296, 2.7. */
	static const uint32_t inner[4] = { 0xfd010203, 0x04050000 }, outer[4] = { 0x20010db8, 0x00010000 };
	static const uint32_t host[4] = { 0xfd010203, 0x04050001, 0, 0x1234 };
	static const uint32_t expected[4] = { 0x20010db8, 0x0001d550, 0, 0x1234 };
	struct nat_target target = prefix_target(48, inner, outer), back;
	uint32_t out[4], again[4], address[4], to[4];
	struct random r;

	(void)state;
	evaluate_target(&target, host, out);
	assert_memory_equal(out, expected, sizeof(out));
	random_seed(&r, seed);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned prefix = 1 + random_below(&r, 112);

		for (unsigned j = 0; j < 4; j++) {
			/* No word of all ones or zeros, which are one value in such sums. */
			address[j] = (random_word(&r) & 0x7fff7fff) | 0x00010001;
			to[j] = random_word(&r);
		}
		target = prefix_target(prefix, address, to);
		back = prefix_target(prefix, to, address);
		evaluate_target(&target, address, out);
		assert_int_equal(sum_of(out), sum_of(address));
		for (unsigned j = 0; j < 4; j++)
			assert_int_equal((out[j] ^ to[j]) & ~host_mask(prefix, j), 0);
		evaluate_target(&back, out, again);
		assert_memory_equal(again, address, sizeof(again));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_translations),
		cmocka_unit_test(test_prefixes),
	};

	seed = environment_number("REEVE_SEED", (uint64_t)time(NULL));
	printf("# REEVE_SEED=%llu\n", (unsigned long long)seed);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("translations", tests, NULL, NULL);
}
