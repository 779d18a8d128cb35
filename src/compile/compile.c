// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The compiler: clauses to terms (term.c), terms to decision trees (tree.c, cut.c, span.c) of nodes
 * (node.c), and here the frame: which pairs of zones share a tree, and the image around the nodes.
 *
 * Layout: header, nodes, rule table, dispatch table, zone tags, limits, dynamic sets, hygiene of
 * zones, translations, interface buckets.
 *
 * Pairs are sorted into classes: two pairs are of one class if the same rules are about both. Each
 * class gets a tree for each family. Where many classes have many rules in common, that would
 * multiply the rules by the pairs; then there is one tree a family, below which the zones are
 * fields like any other.
 *
 * That is done for each kind of walk (core/image.h): for packets, for flows, of which less is
 * known, and for later fragments. Most policies say nothing that a flow's record does not hold;
 * then flows share the trees of packets. Flows ask no limits: they are within those of rules that
 * allow, and not held against those that refuse, for they began in spite of them.
 *
 * Rules of NAT and of interception stand behind those of the policy, in the same table; their walks
 * see only them, and end in a last one that matches everything and translates nothing. So do those
 * of `early`, whose walk is of whole packets and of later fragments alike.
 */
#include "compile/compile.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "compile/interfaces.h"
#include "compile/translate.h"
#include "compile/tree.h"

#define PAIRS_MAX (ZONES_MAX * ZONES_MAX)
#define CLASS_COPIES 6u /* entries in all lists, for each term, until one tree for all is made */
#define CLASS_ENTRIES 200000u	/* and besides */
#define CLASS_SCAN (1ull << 28) /* terms looked at on behalf of all classes */
#define FREE_ENTRIES 20000u	/* copies of entries that every policy may have */

/* Pairs of zones by class. */
struct classes {
	uint16_t of[PAIRS_MAX]; /* by from * zones + to */
	uint32_t n;
	uint32_t zones;
};

struct zone_sets {
	uint64_t from, to;
};

VECTOR(zone_sets_vector, struct zone_sets);

static int zone_sets_compare(const void *a, const void *b)
{
	const struct zone_sets *x = a, *y = b;

	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return (x->to > y->to) - (x->to < y->to);
}

/* Divides each class into the pairs inside and outside of the sets. */
static void classes_divide(struct classes *classes, const struct zone_sets *sets)
{
	uint32_t inside[PAIRS_MAX] = { 0 }, all[PAIRS_MAX] = { 0 }, fresh[PAIRS_MAX] = { 0 };
	uint32_t pairs = classes->zones * classes->zones, i;

	for (i = 0; i < pairs; i++) {
		all[classes->of[i]]++;
		if (sets->from >> (i / classes->zones) & 1 && sets->to >> (i % classes->zones) & 1)
			inside[classes->of[i]]++;
	}
	for (i = 0; i < pairs; i++) {
		uint32_t class = classes->of[i];

		if (!(sets->from >> (i / classes->zones) & 1 &&
		      sets->to >> (i % classes->zones) & 1))
			continue;
		if (inside[class] == all[class])
			continue;
		if (!fresh[class])
			fresh[class] = classes->n++;
		classes->of[i] = (uint16_t)fresh[class];
	}
}

static int classes_make(const struct ruleset *ruleset, struct classes *classes)
{
	struct zone_sets_vector list = { 0 };
	size_t i;
	int err = 0;

	memset(classes, 0, sizeof(*classes));
	classes->n = 1;
	classes->zones = ruleset->zone_n;
	for (i = 0; i < ruleset->rule_n && !err; i++) {
		struct zone_sets sets = { ruleset->rules[i].from, ruleset->rules[i].to };

		if (!list.n || zone_sets_compare(&list.items[list.n - 1], &sets))
			err = zone_sets_vector_push(&list, sets);
	}
	if (!err && list.n)
		qsort(list.items, list.n, sizeof(*list.items), zone_sets_compare);
	for (i = 0; i < list.n && !err; i++)
		if (!i || zone_sets_compare(&list.items[i - 1], &list.items[i]))
			classes_divide(classes, &list.items[i]);
	zone_sets_vector_free(&list);
	return err;
}

/* Everything image_compile() works with. */
struct work {
	const struct ruleset *ruleset; /* with the rules of NAT and of `early` among its rules */
	struct translations translations;
	struct terms terms;
	struct nodes nodes;
	struct tree tree;
	struct classes classes;
	uint32_t *dispatch;
};

static void work_free(struct work *work)
{
	tree_free(&work->tree);
	nodes_free(&work->nodes);
	terms_free(&work->terms);
	free(work->dispatch);
	translations_free(&work->translations);
}

static uint32_t dispatch_words(const struct ruleset *ruleset)
{
	return ruleset->zone_n * ruleset->zone_n * 2 * WALK_KINDS;
}

/* A pair of each class: its number by class. */
static void class_pairs(const struct classes *classes, uint32_t pairs[PAIRS_MAX])
{
	uint32_t i = classes->zones * classes->zones;

	while (i--)
		pairs[classes->of[i]] = i;
}

/* How many terms there are in the lists of all classes. */
static uint64_t class_entries(const struct work *work, const uint32_t pairs[PAIRS_MAX])
{
	uint32_t zones = work->classes.zones, i;
	uint64_t sum = 0;
	size_t j;

	for (i = 0; i < work->classes.n; i++) {
		uint32_t from = pairs[i] / zones, to = pairs[i] % zones;

		for (j = 0; j < work->terms.list.n; j++) {
			const struct rule *rule =
				&work->ruleset->rules[work->terms.list.items[j].rule];

			sum += rule->from >> from & rule->to >> to & 1;
		}
	}
	return sum * 2;
}

/*
 * Does a walk of this kind look at the term? Later fragments meet rules that say `fragment`, and
 * what is built in.
 */
static bool walked(const struct work *work, const struct term *term, enum walk_kind kind)
{
	enum rule_origin origin = work->ruleset->rules[term->rule].origin;

	if (!translations_walked(&work->translations, term->rule, kind))
		return false;
	if (translations_walk(kind))
		return true;
	if (kind == WALK_FLOW && term->limited)
		return work->ruleset->rules[term->rule].action == ACTION_ALLOW;
	return kind != WALK_FRAGMENT || term->dims & DIM_BIT(DIM_FRAGMENT) ||
	       origin == RULE_BUILTIN || origin == RULE_BUILTIN_DEFAULT;
}

static int entries_make(const struct work *work, uint32_t family, enum walk_kind kind,
			struct entry **entries, uint32_t *n)
{
	const struct terms *terms = &work->terms;
	uint32_t bit = family == 6 ? FAMILY_BIT_6 : FAMILY_BIT_4, i, kept = 0;
	uint32_t known = kind == WALK_FLOW ? ~DIM_UNKNOWN_OF_FLOWS : UINT32_MAX;
	struct entry *list = calloc(terms->list.n + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (i = 0; i < terms->list.n; i++) {
		const struct term *term = &terms->list.items[i];

		if (term->families & bit && walked(work, term, kind))
			list[kept++] = (struct entry){ i, term->dims & known };
	}
	*entries = list;
	*n = kept;
	return 0;
}

/* The words of the dispatch table for one kind of walk. */
static uint32_t *dispatch_of(const struct work *work, enum walk_kind kind)
{
	return work->dispatch + IMAGE_DISPATCH(work->classes.zones, kind, 0, 0, 4);
}

/* One tree for all pairs. */
static void build_merged(struct work *work, const struct entry *entries, uint32_t n,
			 struct box *box, enum walk_kind kind)
{
	uint32_t zones = work->classes.zones, *dispatch = dispatch_of(work, kind), i, ref;

	box->range[DIM_FROM].hi[0] = zones - 1;
	box->range[DIM_TO].hi[0] = zones - 1;
	ref = tree_build(&work->tree, entries, n, box, TREE_NO_FAIL);
	for (i = 0; i < zones * zones; i++)
		dispatch[i * 2 + (box->family == 6)] = ref;
}

/* A tree for each class of pairs. */
static void build_classes(struct work *work, const struct entry *entries, uint32_t n,
			  struct box *box, enum walk_kind kind, const uint32_t pairs[PAIRS_MAX])
{
	uint32_t zones = work->classes.zones, refs[PAIRS_MAX] = { 0 }, i;
	uint32_t *dispatch = dispatch_of(work, kind);

	for (i = 0; i < work->classes.n; i++) {
		struct address_range *from = &box->range[DIM_FROM], *to = &box->range[DIM_TO];

		from->lo[0] = from->hi[0] = pairs[i] / zones;
		to->lo[0] = to->hi[0] = pairs[i] % zones;
		refs[i] = tree_build(&work->tree, entries, n, box, TREE_NO_FAIL);
	}
	for (i = 0; i < zones * zones; i++)
		dispatch[i * 2 + (box->family == 6)] = refs[work->classes.of[i]];
}

/* Do flows need trees of their own? */
static bool flows_differ(const struct work *work)
{
	const struct term_vector *list = &work->terms.list;

	for (size_t i = 0; i < list->n; i++)
		if (list->items[i].rule < work->translations.policy_rules &&
		    (list->items[i].dims & DIM_UNKNOWN_OF_FLOWS || list->items[i].limited))
			return true;
	return false;
}

static int build_walk(struct work *work, enum walk_kind kind, uint32_t family, bool merged,
		      const uint32_t pairs[PAIRS_MAX])
{
	cleanup_free struct entry *list = NULL;
	struct address_range *fragment;
	struct box box;
	uint32_t n;
	int err;

	err = entries_make(work, family, kind, &list, &n);
	if (err)
		return err;
	box_whole(family, &box);
	fragment = &box.range[DIM_FRAGMENT];
	if (kind != WALK_EARLY)
		fragment->lo[0] = fragment->hi[0] = kind == WALK_FRAGMENT;
	work->tree.limits = kind != WALK_FLOW;
	if (merged)
		build_merged(work, list, n, &box, kind);
	else
		build_classes(work, list, n, &box, kind, pairs);
	return work->nodes.error;
}

static bool kind_built(const struct work *work, enum walk_kind kind, bool flows)
{
	if (translations_walk(kind))
		return work->translations.n;
	if (kind == WALK_EARLY)
		return work->translations.early_rules < work->ruleset->rule_n;
	return kind != WALK_FLOW || flows;
}

static int build_trees(struct work *work)
{
	uint64_t terms = work->terms.list.n;
	uint32_t pairs[PAIRS_MAX] = { 0 }, family;
	bool flows = flows_differ(work);
	bool merged = work->classes.n * terms > CLASS_SCAN;
	int err;

	class_pairs(&work->classes, pairs);
	if (!merged)
		merged = class_entries(work, pairs) > terms * CLASS_COPIES + CLASS_ENTRIES;
	err = tree_init(&work->tree, &work->terms, &work->nodes,
			FREE_ENTRIES / (merged ? 1 : work->classes.n));
	if (err)
		return err;
	for (family = 4; family <= 6 && !err; family += 2)
		for (unsigned kind = 0; kind < WALK_KINDS && !err; kind++)
			if (kind_built(work, kind, flows))
				err = build_walk(work, kind, family, merged, pairs);
	if (!err && !flows)
		memcpy(dispatch_of(work, WALK_FLOW), dispatch_of(work, WALK_PACKET),
		       dispatch_words(work->ruleset) / WALK_KINDS * sizeof(*work->dispatch));
	return err;
}

#define NANOSECONDS 1000000000ull

static void limit_write(const struct rule *rule, const struct rule_limit *limit,
			struct image_limit *made)
{
	uint64_t id = XXH64(rule->id, strlen(rule->id), 0), interval;

	*made = (struct image_limit){
		.id = { (uint32_t)id, (uint32_t)(id >> 32) },
		.each = (uint8_t)limit->each,
		.prefix = limit->prefix,
	};
	if (!limit->period) {
		made->flows = limit->n;
		return;
	}
	interval = (NANOSECONDS * limit->period + limit->n / 2) / limit->n;
	made->interval[0] = (uint32_t)interval;
	made->interval[1] = (uint32_t)(interval >> 32);
	made->burst = limit->burst;
}

/* The limits of all rules go to `table`, and their numbers into the rules. Returns how many. */
static uint32_t limits_write(const struct ruleset *ruleset, struct image_rule *rules,
			     struct image_limit *table)
{
	uint32_t n = 0, i;

	for (i = 0; i < ruleset->rule_n; i++) {
		const struct rule *rule = &ruleset->rules[i];

		if (rule->limit.n) {
			limit_write(rule, &rule->limit, &table[n]);
			rules[i].limit = ++n;
		}
		if (rule->flows.n) {
			limit_write(rule, &rule->flows, &table[n]);
			rules[i].flows = ++n;
		}
	}
	return n;
}

static uint32_t limits_count(const struct ruleset *ruleset)
{
	uint32_t n = 0, i;

	for (i = 0; i < ruleset->rule_n; i++)
		n += (uint32_t)!!ruleset->rules[i].limit.n + !!ruleset->rules[i].flows.n;
	return n;
}

static struct image_rule image_rule_make(const struct rule *rule)
{
	struct image_rule made = {
		.action = (uint8_t)rule->action,
		.reject = (uint8_t)rule->reject,
		.mark_mask = rule->mark_set.mask,
		.mark_value = rule->mark_set.value,
		.timeout = rule->timeout,
	};

	if (rule->add)
		made.add = IMAGE_ADD(rule->add - 1, rule->add_destination ? FIELD_DST : FIELD_SRC);
	if (rule->log) {
		made.flags |= IMAGE_RULE_LOG;
		made.log_sample = rule->log_sample ? rule->log_sample : 1;
	}
	if (rule->stateless)
		made.flags |= IMAGE_RULE_STATELESS;
	if (rule->over)
		made.flags |= IMAGE_RULE_OVER;
	if (rule->origin == RULE_BUILTIN || rule->origin == RULE_BUILTIN_DEFAULT)
		made.flags |= IMAGE_RULE_BUILTIN;
	if (rule->origin == RULE_DEFAULT || rule->origin == RULE_BUILTIN_DEFAULT)
		made.flags |= IMAGE_RULE_DEFAULT;
	return made;
}

static struct image_dynamic_set image_set_make(const struct dynamic_set *set)
{
	uint64_t tag = dynamic_set_name_tag(set->name);

	return (struct image_dynamic_set){
		.tag = { (uint32_t)tag, (uint32_t)(tag >> 32) },
		.timeout = set->timeout,
		.max = set->max,
	};
}

static struct image_hygiene image_hygiene_make(const struct hygiene *hygiene)
{
	struct image_hygiene made = { .min_ttl = hygiene->min_ttl, .mss = hygiene->mss };

	if (hygiene->antispoof != ANTISPOOF_OFF)
		made.flags |= HYGIENE_ANTISPOOF;
	if (hygiene->antispoof == ANTISPOOF_LOOSE)
		made.flags |= HYGIENE_LOOSE;
	if (hygiene->clamp_mss)
		made.flags |= HYGIENE_CLAMP_MSS;
	if (hygiene->no_df)
		made.flags |= HYGIENE_NO_DF;
	if (hygiene->random_id)
		made.flags |= HYGIENE_RANDOM_ID;
	return made;
}

static bool asks_hygiene(const struct ruleset *ruleset)
{
	for (uint32_t i = 0; i < ruleset->zone_n; i++) {
		struct image_hygiene made = image_hygiene_make(&ruleset->zones[i].hygiene);

		if (made.flags || made.min_ttl)
			return true;
	}
	return false;
}

static void header_fill(const struct work *work, const struct interfaces *interfaces,
			struct image_header *header)
{
	static const uint32_t flags[] = {
		[NAT_SOURCE] = IMAGE_SOURCES,
		[NAT_MASQUERADE] = IMAGE_SOURCES,
		[NAT_FORWARD] = IMAGE_FORWARDS,
		[NAT_INTERCEPT] = IMAGE_INTERCEPTS,
	};
	const struct ruleset *ruleset = work->ruleset;
	uint32_t i;

	*header = (struct image_header){
		.magic = IMAGE_MAGIC,
		.version = IMAGE_VERSION,
		.zones = ruleset->zone_n,
		.rules = ruleset->rule_n,
		.policy_rules = work->translations.policy_rules,
		.early_rules = work->translations.early_rules,
		.rule_table = work->nodes.used,
		.dispatch = work->nodes.used + ruleset->rule_n,
		.translation_n = work->translations.n,
		.interface_mask = interfaces->n - 1,
		.mark_shift = ruleset->options.mark_shift,
	};
	header->zone_tags = header->dispatch + (dispatch_words(ruleset) + 7) / 8;
	header->limits = header->zone_tags +
			 (ruleset->zone_n + IMAGE_UNIT_TAGS - 1) / IMAGE_UNIT_TAGS;
	header->limit_n = limits_count(ruleset);
	header->sets = header->limits + header->limit_n;
	header->set_n = ruleset->set_n;
	header->interfaces = header->sets + header->set_n;
	if (asks_hygiene(ruleset)) {
		header->hygiene = header->interfaces;
		header->interfaces += (ruleset->zone_n + IMAGE_UNIT_HYGIENE - 1) / IMAGE_UNIT_HYGIENE;
	}
	if (work->translations.n) {
		header->translations = (header->interfaces + 1) & ~1u;
		header->interfaces = header->translations +
				     work->translations.n * IMAGE_TRANSLATION_UNITS;
	}
	header->units = header->interfaces + interfaces->n;
	for (i = 0; i < dispatch_words(ruleset); i++) {
		uint32_t walk = nodes_walk(&work->nodes, work->dispatch[i]);

		if (walk > header->walk_max)
			header->walk_max = walk;
	}
	if (ruleset->options.pickup)
		header->flags |= IMAGE_PICKUP;
	if (ruleset->options.guard)
		header->flags |= IMAGE_GUARD;
	if (!ruleset->options.windows)
		header->flags |= IMAGE_LIBERAL;
	if (ruleset->protects)
		header->flags |= IMAGE_PROTECTS;
	for (i = 0; i < ruleset->nat_n; i++)
		header->flags |= flags[ruleset->nat[i].kind];
}

/* Over everything else: the field itself is zero until then. */
static void digest_write(unsigned char *bytes, size_t size)
{
	struct image_header *header = (struct image_header *)bytes;
	uint64_t digest = XXH64(bytes, size, 0);

	header->digest[0] = (uint32_t)digest;
	header->digest[1] = (uint32_t)(digest >> 32);
}

/* Puts the image together. */
static int image_write(const struct work *work, const struct interfaces *interfaces,
		       struct image *image)
{
	struct image_header header;
	unsigned char *bytes;
	size_t size;
	uint32_t i;

	header_fill(work, interfaces, &header);
	if (header.units > IMAGE_UNITS_MAX || header.limit_n > IMAGE_LIMITS_MAX)
		return -E2BIG;
	size = (size_t)header.units * IMAGE_UNIT;
	bytes = aligned_alloc(IMAGE_UNIT, size);
	if (!bytes)
		return -ENOMEM;
	memset(bytes, 0, size);
	memcpy(bytes, work->nodes.bytes, (size_t)work->nodes.used * IMAGE_UNIT);
	memcpy(bytes, &header, sizeof(header));
	for (i = 0; i < header.rules; i++) {
		struct image_rule rule = image_rule_make(&work->ruleset->rules[i]);

		translations_number(&work->translations, i, &rule);

		memcpy(bytes + (size_t)(header.rule_table + i) * IMAGE_UNIT, &rule, sizeof(rule));
	}
	limits_write(work->ruleset, (void *)(bytes + (size_t)header.rule_table * IMAGE_UNIT),
		     (void *)(bytes + (size_t)header.limits * IMAGE_UNIT));
	for (i = 0; i < header.set_n; i++)
		((struct image_dynamic_set *)(void *)(bytes + (size_t)header.sets * IMAGE_UNIT))[i] =
			image_set_make(&work->ruleset->sets[i]);
	memcpy(bytes + (size_t)header.dispatch * IMAGE_UNIT, work->dispatch,
	       dispatch_words(work->ruleset) * sizeof(*work->dispatch));
	for (i = 0; i < header.zones; i++)
		((uint16_t *)(void *)(bytes + (size_t)header.zone_tags * IMAGE_UNIT))[i] =
			work->ruleset->zones[i].tag;
	for (i = 0; header.hygiene && i < header.zones; i++)
		((struct image_hygiene *)(void *)(bytes + (size_t)header.hygiene * IMAGE_UNIT))[i] =
			image_hygiene_make(&work->ruleset->zones[i].hygiene);
	if (header.translation_n)
		memcpy(bytes + (size_t)header.translations * IMAGE_UNIT,
		       work->translations.entries,
		       header.translation_n * sizeof(*work->translations.entries));
	memcpy(bytes + (size_t)header.interfaces * IMAGE_UNIT, interfaces->buckets,
	       interfaces->n * sizeof(*interfaces->buckets));
	digest_write(bytes, size);
	image->bytes = bytes;
	image->size = size;
	image->stats = work->nodes.stats;
	image->stats.walk_max = header.walk_max;
	image->stats.chain_max = work->tree.chain_max;
	image->stats.bytes = size;
	return 0;
}

static int compile(struct work *work, const struct compile_interface *interfaces,
		   uint32_t interface_n, struct image *image)
{
	struct interfaces made = { 0 };
	int err;

	work->dispatch = calloc(dispatch_words(work->ruleset), sizeof(*work->dispatch));
	if (!work->dispatch)
		return -ENOMEM;
	err = nodes_init(&work->nodes);
	if (err)
		return err;
	err = classes_make(work->ruleset, &work->classes);
	if (err)
		return err;
	err = terms_make(work->ruleset, &work->terms);
	if (err)
		return err;
	err = build_trees(work);
	if (err)
		return err;
	err = interfaces_make(work->ruleset, interfaces, interface_n, &made);
	if (err)
		return err;
	err = image_write(work, &made, image);
	free(made.buckets);
	return err;
}

int image_compile(const struct ruleset *ruleset, const struct compile_interface *interfaces,
		  uint32_t interface_n, struct image *image, const char **why)
{
	cleanup(work_free) struct work work = { 0 };
	int err;

	if (ruleset->zone_n > ZONES_MAX || ruleset_image_rules(ruleset) > IMAGE_RULES_MAX) {
		*why = "the policy has too many zones or rules";
		return -E2BIG;
	}
	if (ruleset->zone_n < ZONE_FIRST || !ruleset->rule_n) {
		*why = "the policy has no zones or no rules";
		return -EINVAL;
	}
	err = translations_make(ruleset, &work.translations);
	work.ruleset = &work.translations.whole;
	if (!err)
		err = compile(&work, interfaces, interface_n, image);
	if (err == -E2BIG)
		*why = "the compiled policy is too large, or a walk through it too long";
	else if (err == -EMLINK)
		*why = "one packet can meet more than 32 rules with `limit` or `max flows`";
	else if (err == -EXFULL)
		*why = "dynamic sets would be asked more than 128 times for one packet";
	else if (err == -EINVAL)
		*why = "the rules do not decide every packet, or name a zone that does not exist";
	else if (err)
		*why = "out of memory";
	return err;
}

int image_replace_interfaces(const struct ruleset *ruleset, const struct image *old,
			     const struct compile_interface *interfaces, uint32_t interface_n,
			     struct image *image)
{
	struct image_header header = *(const struct image_header *)old->bytes;
	size_t head = (size_t)header.interfaces * IMAGE_UNIT, size;
	struct interfaces made = { 0 };
	unsigned char *bytes;
	int err;

	err = interfaces_make(ruleset, interfaces, interface_n, &made);
	if (err)
		return err;
	header.interface_mask = made.n - 1;
	header.units = header.interfaces + made.n;
	header.digest[0] = header.digest[1] = 0;
	size = (size_t)header.units * IMAGE_UNIT;
	bytes = header.units <= IMAGE_UNITS_MAX ? aligned_alloc(IMAGE_UNIT, size) : NULL;
	if (!bytes) {
		free(made.buckets);
		return header.units <= IMAGE_UNITS_MAX ? -ENOMEM : -E2BIG;
	}
	memcpy(bytes, old->bytes, head);
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + head, made.buckets, made.n * sizeof(*made.buckets));
	free(made.buckets);
	digest_write(bytes, size);
	*image = (struct image){ .bytes = bytes, .size = size, .stats = old->stats };
	image->stats.bytes = size;
	return 0;
}

void image_free(struct image *image)
{
	free(image->bytes);
	*image = (struct image){ 0 };
}
