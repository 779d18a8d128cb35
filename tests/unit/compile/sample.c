// SPDX-License-Identifier: GPL-2.0-or-later
#include "sample.h"

#include <stdlib.h>
#include <string.h>

/* What one-word fields can hold, and values that rules like. */
static const struct {
	enum field field;
	uint32_t hi;
	uint32_t values[8];
} scalars[] = {
	{ FIELD_PROTOCOL, 255, { 6, 17, 1, 58, 0, 255, 6, 17 } },
	{ FIELD_SRC_PORT, 65535, { 0, 53, 1023, 1024, 40000, 65535, 68, 80 } },
	{ FIELD_DST_PORT, 65535, { 22, 53, 80, 443, 0x800, 65535, 0, 8080 } },
	{ FIELD_FRAGMENT, 1, { 0, 0, 0, 0, 0, 0, 0, 1 } },
	{ FIELD_LENGTH, UINT32_MAX, { 20, 40, 64, 1500, 65535, 0, UINT32_MAX, 576 } },
	{ FIELD_DSCP, 63, { 0, 46, 10, 63, 8, 16, 34, 1 } },
	{ FIELD_TTL, 255, { 1, 64, 255, 128, 0, 2, 63, 254 } },
	{ FIELD_EXPECTED, 1, { 1, 0, 1, 1, 1, 0, 1, 1 } },
	{ FIELD_STATE, 1, { 0, 0, 0, 1, 0, 0, 0, 1 } },
};
#define SCALARS (sizeof(scalars) / sizeof(*scalars))

static const uint8_t macs[3][6] = {
	{ 2, 0, 0, 0, 0, 1 },
	{ 2, 0, 0, 0, 0, 2 },
	{ 2, 1, 0xff, 0xff, 0xff, 0xff },
};

uint32_t random_word(struct random *random)
{
	random->state ^= random->state << 13;
	random->state ^= random->state >> 7;
	random->state ^= random->state << 17;
	return (uint32_t)(random->state >> 24);
}

uint32_t random_below(struct random *random, uint32_t n)
{
	return (uint32_t)((uint64_t)random_word(random) * n >> 32);
}

static void *need(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

void sample_begin(struct ruleset *ruleset, uint32_t zones, uint32_t rules_max)
{
	uint32_t i;

	memset(ruleset, 0, sizeof(*ruleset));
	ruleset->zones = need(arena_array(&ruleset->arena, zones + 1, sizeof(*ruleset->zones)));
	ruleset->rules = need(arena_array(&ruleset->arena, rules_max, sizeof(*ruleset->rules)));
	ruleset->zone_n = zones;
	ruleset->options.mark_shift = 30;
	for (i = 0; i < zones; i++) {
		ruleset->zones[i].name = "zone";
		ruleset->zones[i].tag = (uint16_t)(i + 1);
	}
}

void sample_free(struct ruleset *ruleset)
{
	arena_free(&ruleset->arena);
}

static struct rule *rule_add(struct ruleset *ruleset, uint32_t clauses)
{
	struct rule *rule = &ruleset->rules[ruleset->rule_n++];
	struct clause *list = need(arena_array(&ruleset->arena, clauses, sizeof(*list)));
	uint32_t i;

	*rule = (struct rule){ .origin = RULE_FILE, .from = UINT64_MAX, .to = UINT64_MAX };
	for (i = 0; i < clauses; i++)
		list[i].families = FAMILY_BIT_4 | FAMILY_BIT_6;
	rule->clauses = list;
	rule->clause_n = clauses;
	return rule;
}

struct clause *sample_rule(struct ruleset *ruleset)
{
	return (struct clause *)rule_add(ruleset, 1)->clauses;
}

void sample_range(struct ruleset *ruleset, struct clause *clause, enum field field, uint32_t lo,
		  uint32_t hi)
{
	struct range *range = need(arena_new(&ruleset->arena, struct range));

	*range = (struct range){ lo, hi };
	clause->field[field] = (struct ranges){ range, 1 };
}

const struct addresses *sample_addresses(struct ruleset *ruleset, struct random *random, uint32_t n)
{
	struct addresses *list = need(arena_new(&ruleset->arena, struct addresses));
	struct address_range *items = need(arena_array(&ruleset->arena, n, sizeof(*items)));
	uint32_t step = UINT32_MAX / (n + 1), i;

	for (i = 0; i < n; i++) {
		items[i].lo[0] = i * step + random_below(random, step / 3 + 1);
		items[i].hi[0] = items[i].lo[0] + random_below(random, step / 3 + 1);
	}
	*list = (struct addresses){ .items = items, .n = n, .family = 4 };
	return list;
}

static int compare_words(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint32_t scalar_value(struct random *random, size_t which)
{
	uint32_t value = scalars[which].values[random_below(random, 8)];

	if (random_below(random, 3) == 0)
		value = random_word(random);
	return scalars[which].hi == UINT32_MAX ? value : value % (scalars[which].hi + 1);
}

/* A sorted list of ranges, disjoint and not adjacent. */
static void random_ranges(struct random *random, struct ruleset *ruleset, struct clause *clause,
			  size_t which)
{
	uint32_t points[24], i,
		n = 2 * (1 + random_below(random, random_below(random, 3) ? 2 : 12));
	struct range *items = need(arena_array(&ruleset->arena, n, sizeof(*items)));
	uint32_t kept = 0;

	for (i = 0; i < n; i++)
		points[i] = scalar_value(random, which);
	for (i = 0; i < n; i += 2)
		if (random_below(random, 2))
			points[i + 1] = points[i];
	qsort(points, n, sizeof(*points), compare_words);
	for (i = 0; i < n; i += 2)
		if (!kept || points[i] > (uint64_t)items[kept - 1].hi + 1)
			items[kept++] = (struct range){ points[i], points[i + 1] };
	clause->field[scalars[which].field] = (struct ranges){ items, kept };
}

static void random_address(struct random *random, unsigned family, uint32_t words[4])
{
	static const uint32_t liked[] = { 0, 1, 0x0a000000, 0x20010db8, UINT32_MAX, 0xfe800000 };
	unsigned i;

	for (i = 0; i < 4; i++) {
		words[i] = liked[random_below(random, 6)];
		if (random_below(random, 4) == 0)
			words[i] = random_word(random);
		else if (random_below(random, 2))
			words[i] += random_below(random, 600);
		if (family == 4 && i)
			words[i] = 0;
	}
}

static int compare_addresses(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	unsigned i;

	for (i = 0; i < 4; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

/* One more or less; wraps around. */
static void address_step(uint32_t words[4], unsigned family, int up)
{
	int i;

	for (i = family == 4 ? 0 : 3; i >= 0; i--) {
		words[i] += up ? 1 : UINT32_MAX;
		if (words[i] != (up ? 0 : UINT32_MAX))
			break;
	}
}

static const struct addresses *random_addresses(struct random *random, struct ruleset *ruleset,
						unsigned family, uint32_t most)
{
	uint32_t n = 1 + random_below(random, random_below(random, 3) ? 3 : most), i, kept = 0;
	struct address_range *items = need(arena_array(&ruleset->arena, n, sizeof(*items)));
	struct addresses *list = need(arena_new(&ruleset->arena, struct addresses));
	uint32_t(*points)[4] = need(calloc(2 * n, sizeof(*points)));

	for (i = 0; i < 2 * n; i += 2) {
		uint32_t *lo = points[i], *hi = points[i + 1];

		random_address(random, family, lo);
		random_address(random, family, hi);
		if (random_below(random, 3)) { /* a prefix */
			unsigned length = random_below(random, family == 4 ? 33 : 129), word;

			for (word = 0; word < (family == 4 ? 1 : 4); word++) {
				unsigned bits = length > 32 * word + 32 ? 32 :
						length > 32 * word	? length - 32 * word :
									  0;
				uint32_t host = bits == 32 ? 0 : UINT32_MAX >> bits;

				lo[word] &= ~host;
				hi[word] = lo[word] | host;
			}
		}
	}
	qsort(points, 2 * n, sizeof(*points), compare_addresses);
	for (i = 0; i < 2 * n; i += 2) {
		uint32_t past[4];

		if (kept) {
			memcpy(past, items[kept - 1].hi, sizeof(past));
			address_step(past, family, 1);
			if (compare_addresses(points[i], past) <= 0 ||
			    compare_addresses(past, items[kept - 1].hi) < 0)
				continue; /* overlaps, touches, or the last one ends at all ones */
		}
		memcpy(items[kept].lo, points[i], sizeof(items->lo));
		memcpy(items[kept].hi, points[i + 1], sizeof(items->hi));
		kept++;
	}
	free(points);
	*list = (struct addresses){ .items = items, .n = kept, .family = (uint8_t)family };
	return list;
}

#define POOL 6
#define SAMPLE_SETS 5
static const struct dynamic_set dynamic_sets[SAMPLE_SETS] = {
	{ "a", 0, 1, { 0 } },	     { "b", 60, 100, { 0 } }, { "c", 0, 1000000, { 0 } },
	{ "d", UINT32_MAX, 7, { 0 } }, { "e", 1, 16, { 0 } },
};

/* What a dynamic set holds is as good as any, as long as it is the same for all. */
static bool holds(uint32_t set, const uint32_t words[4])
{
	return (words[0] ^ words[1] * 3 ^ words[3] ^ set * 0x9e3779b1u) % 5 < 2;
}

static bool in_sets(const struct membership *sets, const uint32_t words[4])
{
	bool in = false;

	for (uint32_t i = 0; i < SAMPLE_SETS; i++)
		in = in || (sets->sets >> i & 1 && holds(i, words));
	return !sets->sets || in != sets->none;
}

static void random_clause(struct random *random, struct ruleset *ruleset, struct clause *clause,
			  const struct addresses *pool[2][POOL], uint32_t most)
{
	unsigned six = random_below(random, 2), family = six ? 6 : 4;
	size_t i;

	clause->families = (uint8_t)(1 + random_below(random, 3));
	for (i = 0; i < SCALARS; i++)
		if (random_below(random, 4) == 0)
			random_ranges(random, ruleset, clause, i);
	for (i = 0; i < 2; i++) {
		const struct addresses **to = i ? &clause->src : &clause->dst;

		if (random_below(random, 2))
			continue;
		clause->families = six ? FAMILY_BIT_6 : FAMILY_BIT_4;
		*to = random_below(random, 2) ? pool[six][random_below(random, POOL)] :
						random_addresses(random, ruleset, family, most);
	}
	for (i = 0; i < 2; i++) {
		struct membership *sets = i ? &clause->src_sets : &clause->dst_sets;

		if (random_below(random, 16))
			continue;
		do
			sets->sets |= UINT64_C(1) << random_below(random, SAMPLE_SETS);
		while (random_below(random, 4) == 0);
		sets->none = random_below(random, 2);
	}
	if (random_below(random, 8) == 0) {
		clause->flags.mask = random_below(random, 256);
		clause->flags.value = clause->flags.mask & random_word(random);
	}
	if (random_below(random, 12) == 0)
		clause->mark = (struct masked){ 3, random_below(random, 4) };
	if (random_below(random, 12) == 0) {
		clause->has_mac = true;
		memcpy(clause->mac, macs[random_below(random, 3)], 6);
	}
}

static uint64_t random_zones(struct random *random, uint32_t zones)
{
	uint64_t set = 0;

	if (random_below(random, 3) == 0)
		return UINT64_MAX;
	do
		set |= 1ull << random_below(random, zones);
	while (random_below(random, 3) == 0);
	return set;
}

#define LIMITED 12 /* rules with limits, about */

void sample_random(struct random *random, const struct sample_shape *shape, struct ruleset *ruleset)
{
	const struct addresses *pool[2][POOL];
	uint32_t i, j, limited = 0;

	sample_begin(ruleset, shape->zones, shape->rules + 2);
	ruleset->sets = dynamic_sets;
	ruleset->set_n = SAMPLE_SETS;
	for (i = 0; i < 2; i++)
		for (j = 0; j < POOL; j++)
			pool[i][j] = random_addresses(random, ruleset, i ? 6 : 4, shape->addresses);
	for (i = 0; i < shape->rules; i++) {
		struct rule *rule = rule_add(ruleset, 1 + random_below(random, 3));

		rule->from = random_zones(random, shape->zones);
		rule->to = random_zones(random, shape->zones);
		rule->action = random_below(random, 3);
		if (random_below(random, shape->rules) < LIMITED && limited < IMAGE_LIMITED_MAX) {
			rule->id = "limited";
			rule->limit = (struct rule_limit){ .n = 1, .period = 1, .burst = 1, .prefix = 64 };
			limited++;
		}
		for (j = 0; j < rule->clause_n; j++)
			random_clause(random, ruleset, (struct clause *)&rule->clauses[j], pool,
				      shape->addresses);
	}
	((struct clause *)rule_add(ruleset, 1)->clauses)->families = FAMILY_BIT_4;
	rule_add(ruleset, 1)->origin = RULE_BUILTIN_DEFAULT;
}

static void near_address(struct random *random, const struct addresses *list, unsigned family,
			 uint32_t words[4])
{
	const struct address_range *range;

	if (!list || list->family != family || random_below(random, 6) == 0) {
		random_address(random, family, words);
		return;
	}
	range = &list->items[random_below(random, list->n)];
	memcpy(words, random_below(random, 2) ? range->lo : range->hi, sizeof(range->lo));
	if (random_below(random, 3) == 0)
		address_step(words, family, random_below(random, 2) != 0);
	else if (random_below(random, 3) == 0)
		words[family == 4 ? 0 : random_below(random, 4)] ^= random_word(random) & 0xffff;
}

static uint32_t near_scalar(struct random *random, const struct ranges *ranges, size_t which)
{
	uint32_t value;

	if (!ranges->n || random_below(random, 6) == 0)
		return scalar_value(random, which);
	value = ranges->items[random_below(random, ranges->n)].lo;
	if (random_below(random, 2))
		value = ranges->items[random_below(random, ranges->n)].hi;
	if (random_below(random, 4) == 0)
		value += random_below(random, 2) ? 1 : UINT32_MAX;
	return value > scalars[which].hi ? scalars[which].hi : value;
}

void sample_packet(struct random *random, const struct ruleset *ruleset, struct fields *fields)
{
	const struct rule *rule = &ruleset->rules[random_below(random, ruleset->rule_n)];
	const struct clause *clause = &rule->clauses[random_below(random, rule->clause_n)];
	const uint8_t *mac = macs[random_below(random, 3)];
	uint32_t *word = fields->word;
	unsigned family;
	size_t i;

	memset(fields, 0, sizeof(*fields));
	do {
		word[FIELD_FROM_ZONE] = random_below(random, ruleset->zone_n);
		word[FIELD_TO_ZONE] = random_below(random, ruleset->zone_n);
	} while (random_below(random, 8) &&
		 !(rule->from >> word[FIELD_FROM_ZONE] & 1 && rule->to >> word[FIELD_TO_ZONE] & 1));
	family = clause->families == FAMILY_BIT_4 ? 4 : 6;
	if (random_below(random, 10) == 0)
		family = 10 - family;
	word[FIELD_FAMILY] = family;
	for (i = 0; i < SCALARS; i++)
		word[scalars[i].field] = near_scalar(random, &clause->field[scalars[i].field], i);
	near_address(random, clause->src, family, &word[FIELD_SRC]);
	near_address(random, clause->dst, family, &word[FIELD_DST]);
	word[FIELD_TCP_FLAGS] = random_below(random, 256);
	if (random_below(random, 2))
		word[FIELD_TCP_FLAGS] = (word[FIELD_TCP_FLAGS] & ~clause->flags.mask & 255) |
					clause->flags.value;
	word[FIELD_MARK] = random_below(random, 5);
	if (clause->has_mac && random_below(random, 4))
		mac = clause->mac;
	word[FIELD_MAC_HIGH] = (uint32_t)mac[0] << 8 | mac[1];
	word[FIELD_MAC_LOW] = (uint32_t)mac[2] << 24 | (uint32_t)mac[3] << 16 |
			      (uint32_t)mac[4] << 8 | mac[5];
}

static bool in_ranges(const struct ranges *ranges, uint32_t value)
{
	uint32_t i;

	for (i = 0; i < ranges->n; i++)
		if (ranges->items[i].lo <= value && value <= ranges->items[i].hi)
			return true;
	return !ranges->n;
}

static bool in_addresses(const struct addresses *list, const uint32_t words[4])
{
	uint32_t i;

	for (i = 0; list && i < list->n; i++)
		if (compare_addresses(list->items[i].lo, words) <= 0 &&
		    compare_addresses(words, list->items[i].hi) <= 0)
			return true;
	return !list;
}

static bool matches(const struct clause *clause, const struct fields *fields)
{
	const uint32_t *word = fields->word;
	unsigned i;

	if (!(clause->families & (word[FIELD_FAMILY] == 6 ? FAMILY_BIT_6 : FAMILY_BIT_4)))
		return false;
	for (i = 0; i < FIELD_SRC; i++)
		if (!in_ranges(&clause->field[i], word[i]))
			return false;
	if ((word[FIELD_TCP_FLAGS] & clause->flags.mask) != clause->flags.value ||
	    (word[FIELD_MARK] & clause->mark.mask) != clause->mark.value)
		return false;
	for (i = 0; clause->has_mac && i < 6; i++) {
		uint32_t part = i < 2 ? word[FIELD_MAC_HIGH] >> (8 - 8 * i) :
					word[FIELD_MAC_LOW] >> (40 - 8 * i);

		if ((part & 255) != clause->mac[i])
			return false;
	}
	return in_addresses(clause->src, &word[FIELD_SRC]) &&
	       in_addresses(clause->dst, &word[FIELD_DST]) &&
	       in_sets(&clause->src_sets, &word[FIELD_SRC]) &&
	       in_sets(&clause->dst_sets, &word[FIELD_DST]);
}

/* What a flow's record does not hold counts as matching. */
static struct clause known_of_flow(const struct clause *clause)
{
	struct clause known = *clause;

	known.field[FIELD_LENGTH].n = known.field[FIELD_DSCP].n = known.field[FIELD_TTL].n = 0;
	known.field[FIELD_EXPECTED].n = 0;
	known.flags.mask = known.flags.value = known.mark.mask = known.mark.value = 0;
	known.has_mac = false;
	return known;
}

/* As good as any: the same for the rules and for the image. */
static bool within(const struct fields *fields, uint32_t rule)
{
	return (fields->word[FIELD_SRC] ^ fields->word[FIELD_DST_PORT] ^ rule) % 3 == 0;
}

uint32_t sample_judge(const struct ruleset *ruleset, const struct fields *fields,
		      enum walk_kind kind)
{
	uint32_t i, j;

	for (i = 0; i < ruleset->rule_n; i++) {
		const struct rule *rule = &ruleset->rules[i];

		if (!(rule->from >> fields->word[FIELD_FROM_ZONE] & 1 &&
		      rule->to >> fields->word[FIELD_TO_ZONE] & 1))
			continue;
		/* A flow is within the limits of what allows, and began in spite of what does not. */
		if (rule->limit.n && (kind == WALK_FLOW ? rule->action != ACTION_ALLOW :
							  !within(fields, i)))
			continue;
		for (j = 0; j < rule->clause_n; j++) {
			struct clause clause = rule->clauses[j];

			if (kind == WALK_FLOW)
				clause = known_of_flow(&clause);
			if (matches(&clause, fields) &&
			    (kind != WALK_FRAGMENT || rule->origin == RULE_BUILTIN ||
			     rule->origin == RULE_BUILTIN_DEFAULT ||
			     (clause.field[FIELD_FRAGMENT].n &&
			      clause.field[FIELD_FRAGMENT].items[0].lo)))
				return i;
		}
	}
	abort();
}

uint32_t sample_walk(const struct image *image, const struct fields *fields, enum walk_kind kind,
		     uint32_t *visits)
{
	const struct image_header *header = (const void *)image->bytes;
	const uint32_t *words = (const void *)image->bytes;
	uint32_t zones = header->zones, yes = 0, no = 0, i, next;
	uint32_t ref =
		words[header->dispatch * 8 + kind * zones * zones * 2 +
		      (fields->word[FIELD_FROM_ZONE] * zones + fields->word[FIELD_TO_ZONE]) * 2 +
		      (fields->word[FIELD_FAMILY] == 6 ? 1 : 0)];

	for (*visits = 0; ref >> 28 != REF_RULE; ref = next) {
		uint32_t unit = ref & 0x0fffffff;
		const uint32_t *node = words + (size_t)unit * 8;

		if (++*visits > header->walk_max ||
		    (ref >> 28 != REF_MEMBER && (size_t)unit * 32 >= image->size))
			return WALK_DAMAGED;
		switch (ref >> 28) {
		case REF_SWITCH:
			if (unit % IMAGE_PAGE_UNITS + 4 > IMAGE_PAGE_UNITS)
				return WALK_DAMAGED; /* straddles a page */
			for (i = 0; i < 15 && node[1 + i] <= fields->word[node[0]]; i++)
				;
			next = node[16 + i];
			break;
		case REF_TEST:
			next = (fields->word[node[0]] & node[1]) - node[2] <= node[3] ? node[4] :
											node[5];
			break;
		case REF_SET:
			next = node[0];
			yes = node[1];
			no = node[2];
			break;
		case REF_LIMIT:
			next = within(fields, node[0]) ? node[0] : node[1];
			break;
		case REF_MEMBER_OF:
			next = holds(node[0], &fields->word[node[1]]) ? node[2] : node[3];
			break;
		case REF_MEMBER:
			next = unit ? yes : no;
			break;
		default:
			return WALK_DAMAGED;
		}
	}
	return ref & 0x0fffffff;
}
