// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The image validator: any bytes are refused, or safe to walk.
 *
 * The first byte chooses what is fed: the bytes as they are; the bytes behind a header put right;
 * or an image that the compiler has made, with words of it overwritten. What the validator accepts
 * is walked with packets out of the input's own words: every unit read must be inside, and no walk
 * may take more steps than the header says.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "compile/compile.h"

#define CHANGES_MAX 16
#define WALKS 8

static void need(bool good)
{
	if (!good)
		abort();
}

static uint32_t next_word(const uint8_t **data, size_t *size)
{
	uint32_t word = 0;
	size_t n = *size < 4 ? *size : 4;

	memcpy(&word, *data, n);
	*data += n;
	*size -= n;
	return word;
}

static void add_rule(struct ruleset *ruleset, struct clause clause)
{
	struct clause *copy = arena_new(&ruleset->arena, struct clause);

	need(copy);
	*copy = clause;
	ruleset->rules[ruleset->rule_n++] = (struct rule){
		.from = UINT64_MAX,
		.to = UINT64_MAX,
		.clauses = copy,
		.clause_n = 1,
		.id = "limited",
	};
}

/* Rules of NAT of every kind, which match some of what others match. */
static void add_nat(struct ruleset *ruleset, const struct addresses *four)
{
	static const struct nat_target targets[] = {
		{ .family = 4,
		  .addresses = { { 0x0a000001 }, { 0x0a000009 } },
		  .port_lo = 80,
		  .port_hi = 89,
		  .match_port_lo = 8000 },
		{ .family = 4, .addresses = { { 0x0a000101 }, { 0x0a000101 } } },
		{ .family = 6,
		  .prefix_to_prefix = true,
		  .prefix = 48,
		  .from_lo = { 0xfd000000 },
		  .addresses = { { 0x20010db8 }, { 0x20010db8, 0xffff, ~0u, ~0u } } },
	};
	static struct clause clauses[3] = { { .families = FAMILY_BIT_4 },
					    { .families = FAMILY_BIT_6 },
					    { .families = FAMILY_BIT_4, .flags = { 2, 2 } } };
	static struct nat_rule nat[] = {
		{ .kind = NAT_FORWARD, .targets = targets, .target_n = 2 },
		{ .kind = NAT_SOURCE, .targets = &targets[2], .target_n = 1 },
		{ .kind = NAT_MASQUERADE, .full_cone = true },
	};

	clauses[0].src = four;
	for (uint32_t i = 0; i < 3; i++)
		nat[i].rule = (struct rule){ .from = UINT64_MAX,
					     .to = UINT64_MAX,
					     .action = ACTION_TRANSLATE,
					     .clauses = &clauses[i],
					     .clause_n = 1 };
	ruleset->nat = nat;
	ruleset->nat_n = 3;
}

/* A set is dropped, and of the rest what is beyond a rate. */
static void add_early(struct ruleset *ruleset, const struct addresses *four)
{
	static struct clause clauses[2] = { { .families = FAMILY_BIT_4 },
					    { .families = FAMILY_BIT_4 | FAMILY_BIT_6 } };
	static struct rule early[2];

	clauses[0].src = four;
	for (uint32_t i = 0; i < 2; i++)
		early[i] = (struct rule){ .id = "e",
					  .from = 4,
					  .to = UINT64_MAX,
					  .action = ACTION_DROP,
					  .clauses = &clauses[i],
					  .clause_n = 1 };
	early[1].over = true;
	early[1].limit = (struct rule_limit){ .n = 7, .period = 1, .burst = 9, .prefix = 64 };
	ruleset->early = early;
	ruleset->early_n = 2;
}

/* An image with nodes of every kind. */
static struct image make_sample(void)
{
	static struct address_range ranges[40], long_ranges[40];
	static const struct addresses four = { .items = ranges, .n = 40, .family = 4 };
	static const struct addresses six = { .items = long_ranges, .n = 40, .family = 6 };
	static const struct range ports[] = { { 22, 22 }, { 80, 90 }, { 443, 443 } };
	static struct zone zones[3] = { { .tag = 1 }, { .tag = 2 }, { .tag = 9 } };
	static const struct compile_interface interfaces[] = { { 4, 2 }, { 5, 0 }, { 12, 2 } };
	static const struct dynamic_set sets[] = { { "a", 3600, 100, { 0 } },
						   { "b", 0, 1, { 0 } } };
	static struct rule rules[8];
	struct ruleset ruleset = {
		.zones = zones, .zone_n = 3, .rules = rules, .sets = sets, .set_n = 2
	};
	struct image image = { 0 };
	const char *why;
	uint32_t i;

	for (i = 0; i < 40; i++) {
		ranges[i].lo[0] = i * 1000;
		ranges[i].hi[0] = i * 1000 + 99;
		long_ranges[i].lo[i % 4] = 7;
		long_ranges[i].lo[0] = long_ranges[i].hi[0] = i * 1000;
		memcpy(long_ranges[i].hi, long_ranges[i].lo, sizeof(ranges->hi));
		long_ranges[i].hi[3] += i;
	}
	add_rule(&ruleset,
		 (struct clause){ .families = FAMILY_BIT_4, .src = &four, .flags = { 18, 2 } });
	add_rule(&ruleset,
		 (struct clause){ .families = FAMILY_BIT_6, .dst = &six, .mark = { 1, 1 } });
	add_rule(&ruleset, (struct clause){ .families = FAMILY_BIT_4 | FAMILY_BIT_6,
					    .field[FIELD_DST_PORT] = { ports, 3 } });
	add_rule(&ruleset, (struct clause){ .families = FAMILY_BIT_4, .src = &four, .dst = &four });
	add_rule(&ruleset, (struct clause){ .families = FAMILY_BIT_4 | FAMILY_BIT_6,
					    .src_sets = { 3, false }, .flags = { 1, 1 } });
	add_rule(&ruleset, (struct clause){ .families = FAMILY_BIT_6, .dst_sets = { 2, true } });
	rules[1].add = 2;
	rules[0].limit = (struct rule_limit){ .n = 5, .period = 1, .burst = 9, .prefix = 64 };
	rules[2].flows = (struct rule_limit){ .n = 3, .each = LIMIT_EACH_SOURCE, .prefix = 64 };
	add_rule(&ruleset, (struct clause){ .families = FAMILY_BIT_4 | FAMILY_BIT_6 });
	add_nat(&ruleset, &four);
	add_early(&ruleset, &four);
	need(!image_compile(&ruleset, interfaces, 3, &image, &why));
	need(!image_validate(image.bytes, image.size, &why));
	arena_free(&ruleset.arena);
	return image;
}

static const void *unit_at(const unsigned char *bytes, size_t size, uint64_t unit, uint32_t units)
{
	need((unit + units) * IMAGE_UNIT <= size);
	return bytes + unit * IMAGE_UNIT;
}

/* The dynamic set is there, and the field holds an address. */
static void asks_set(const unsigned char *bytes, size_t size, uint32_t set, uint32_t field)
{
	const struct image_header *header = (const void *)bytes;
	const struct image_dynamic_set *found;

	need(set < header->set_n && (field == FIELD_SRC || field == FIELD_DST));
	found = unit_at(bytes, size, (uint64_t)header->sets + set, 1);
	need(found->max > 0 && found->max <= IMAGE_SET_ENTRIES_MAX);
}

/* The limits of a rule are there. */
static void asks(const unsigned char *bytes, size_t size, uint32_t number)
{
	const struct image_header *header = (const void *)bytes;
	const struct image_rule *rule;

	need(number < header->rules);
	rule = unit_at(bytes, size, (uint64_t)header->rule_table + number, 1);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t entry = i ? rule->flows : rule->limit;
		const struct image_limit *limit;

		need(entry <= header->limit_n);
		if (!entry)
			continue;
		limit = unit_at(bytes, size, (uint64_t)header->limits + entry - 1, 1);
		need(i ? limit->flows > 0 : limit_interval(limit) > 0 && limit->burst > 0);
	}
}

/* Walks as image.h says; aborts where a walk leaves the image. */
static const struct image_rule *walk(const unsigned char *bytes, size_t size, uint32_t ref,
				     const struct fields *fields)
{
	const struct image_header *header = (const void *)bytes;
	uint32_t yes = 0, no = 0, steps = 0, limited = 0, asked = 0, i;

	while (REF_KIND(ref) != REF_RULE) {
		uint32_t kind = REF_KIND(ref), unit = REF_INDEX(ref);

		need(++steps <= header->walk_max);
		if (kind == REF_SWITCH) {
			const struct image_switch *node = unit_at(bytes, size, unit, 4);

			need(unit % IMAGE_PAGE_UNITS + 4 <= IMAGE_PAGE_UNITS);
			need(node->field < FIELD_WORDS);
			for (i = 0; i < 15 && node->key[i] <= fields->word[node->field]; i++)
				;
			ref = node->child[i];
		} else if (kind == REF_TEST) {
			const struct image_test *node = unit_at(bytes, size, unit, 1);

			need(node->field < FIELD_WORDS);
			ref = (fields->word[node->field] & node->mask) - node->lo <= node->span ?
				      node->yes :
				      node->no;
		} else if (kind == REF_SET) {
			const struct image_set *node = unit_at(bytes, size, unit, 1);

			ref = node->root;
			yes = node->yes;
			no = node->no;
		} else if (kind == REF_LIMIT) {
			const struct image_limited *node = unit_at(bytes, size, unit, 1);

			need(++limited <= IMAGE_LIMITED_MAX);
			asks(bytes, size, node->rule);
			ref = node->beyond;
		} else if (kind == REF_MEMBER_OF) {
			const struct image_member_of *node = unit_at(bytes, size, unit, 1);

			need(++asked <= IMAGE_ASKED_MAX);
			asks_set(bytes, size, node->set, node->field);
			/* As good as any. */
			ref = fields->word[node->field] & 1 ? node->yes : node->no;
		} else {
			need(kind == REF_MEMBER);
			ref = unit ? yes : no;
		}
	}
	need(REF_INDEX(ref) < header->rules);
	return unit_at(bytes, size, (uint64_t)header->rule_table + REF_INDEX(ref), 1);
}

/* Does what a walk ended in belong there, and what it leads to? */
static void check_end(const unsigned char *bytes, size_t size, uint32_t kind,
		      const struct image_rule *rule)
{
	const struct image_header *header = (const void *)bytes;
	const struct image_translation *entry;
	uint32_t i;

	if (kind != WALK_FORWARD && kind != WALK_SOURCE) {
		need(rule->action <= ACTION_REJECT);
		need(kind != WALK_EARLY || header->early_rules == header->rules ||
		     rule->action <= ACTION_DROP);
		if (rule->add)
			asks_set(bytes, size, IMAGE_ADD_SET(rule->add),
				 IMAGE_ADD_FIELD(rule->add));
		return;
	}
	if (!header->translation_n || rule->action != ACTION_TRANSLATE) {
		need(!header->translation_n || rule->action == ACTION_ALLOW);
		return;
	}
	for (i = 0;; i++) {
		need(rule->mark_value + i < header->translation_n);
		entry = unit_at(bytes, size,
				header->translations + (uint64_t)(rule->mark_value + i) *
							       IMAGE_TRANSLATION_UNITS,
				IMAGE_TRANSLATION_UNITS);
		need((entry->kind == TRANSLATE_FORWARD) == (kind == WALK_FORWARD));
		need(entry->port_lo <= entry->port_hi && entry->n);
		if (i + 1 >= (entry - i)->n)
			break;
	}
}

static void walk_all(const unsigned char *bytes, size_t size, const uint8_t *data, size_t left)
{
	const struct image_header *header = (const void *)bytes;
	uint32_t pairs = header->zones * header->zones * 2 * WALK_KINDS, i, j, k;
	const uint32_t *dispatch;

	unit_at(bytes, size, header->dispatch, (pairs + 7) / 8);
	unit_at(bytes, size, header->interfaces, header->interface_mask + 1);
	unit_at(bytes, size, header->zone_tags,
		(header->zones + IMAGE_UNIT_TAGS - 1) / IMAGE_UNIT_TAGS);
	dispatch = unit_at(bytes, size, header->dispatch, 1);
	for (i = 0; i < WALKS; i++) {
		struct fields fields;

		for (j = 0; j < FIELD_WORDS; j++) {
			fields.word[j] = next_word(&data, &left);
			if (i & 1) /* likely to meet a key */
				fields.word[j] =
					((const uint32_t *)bytes)[fields.word[j] % (size / 4)];
		}
		for (k = 0; k < pairs; k++)
			check_end(bytes, size, k / (pairs / WALK_KINDS),
				  walk(bytes, size, dispatch[k], &fields));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image sample;
	unsigned char *bytes;
	const char *why = NULL;
	unsigned how, changes;
	size_t length;

	if (!sample.bytes)
		sample = make_sample();
	if (!size)
		return 0;
	how = *data % 4;
	data++;
	size--;
	length = how >= 2 ? sample.size : size;
	bytes = malloc(length + 1);
	need(bytes);
	memcpy(bytes, how >= 2 ? sample.bytes : data, length);
	if (how == 1 && length >= sizeof(struct image_header)) {
		struct image_header *header = (void *)bytes;

		length -= length % IMAGE_UNIT;
		header->magic = IMAGE_MAGIC;
		header->version = IMAGE_VERSION;
		header->units = (uint32_t)(length / IMAGE_UNIT);
	}
	for (changes = 0; how >= 2 && size && changes < CHANGES_MAX; changes++) {
		uint32_t where = next_word(&data, &size) % (uint32_t)(length / 4);
		uint32_t value = next_word(&data, &size);

		if (how == 3) /* stay near what is there */
			value = ((uint32_t *)bytes)[where] + value % 17 - 8;
		((uint32_t *)bytes)[where] = value;
	}
	if (!image_validate(bytes, length, &why))
		walk_all(bytes, length, data, size);
	else
		need(why != NULL);
	free(bytes);
	return 0;
}
