// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/resolve.h"

#include <ctype.h>
#include <string.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "core/image.h"
#include "core/mark.h"

static bool is_pattern(const char *name)
{
	return name[strcspn(name, "*?[")] != '\0';
}

/* The zone is numbered by its place; `self` and `other` are there before the file begins. */
static int zone_number(const struct resolver *resolver, const char *name)
{
	for (uint32_t i = 0; i < resolver->zone_n; i++)
		if (!strcmp(resolver->zones[i].name, name))
			return (int)i;
	return -1;
}

static int check_zone_name(struct resolver *resolver, const struct tree_word *name)
{
	int number;

	if (!strcmp(name->text, "any") || !strcmp(name->text, "self") ||
	    !strcmp(name->text, "other"))
		return resolve_error(resolver, name->position, "reserved-zone",
				     "`self`, `other` and `any` always exist; choose another name",
				     "zone `%s` cannot be defined", name->text);
	number = zone_number(resolver, name->text);
	if (number < 0)
		return 0;
	return resolve_error(resolver, name->position, "duplicate-zone", NULL,
			     "zone `%s` is already defined at %s", name->text,
			     resolve_place(resolver, resolver->zones[number].position));
}

static int check_pattern(struct resolver *resolver, const struct tree_word *word)
{
	const char *name = word->text;

	if (!name[0] || !strcmp(name, ".") || !strcmp(name, ".."))
		return resolve_error(resolver, word->position, "interface-name", NULL,
				     "`%s` is not the name of an interface", name);
	for (const char *c = name; *c; c++)
		if (*c == '/' || isspace((unsigned char)*c) || iscntrl((unsigned char)*c))
			return resolve_error(resolver, word->position, "interface-name",
					     "names of interfaces have no blanks and no `/`",
					     "`%s` is not the name of an interface", name);
	if (!is_pattern(name) && strlen(name) > INTERFACE_NAME_MAX)
		return resolve_error(resolver, word->position, "interface-name",
				     "the kernel allows 15 bytes",
				     "interface name `%s` is too long", name);
	return 0;
}

/* An interface can be in one zone only; nor does a pattern mean anything the second time. */
static int check_interface_taken(struct resolver *resolver, const char *zone,
				 const struct tree_words *patterns, uint32_t n,
				 struct name_table *taken, uint32_t number)
{
	const struct tree_word *word = &patterns->items[n];
	uint32_t owner;

	if (!name_table_get(taken, word->text, &owner))
		return name_table_put(taken, &resolver->scratch, word->text, number);
	if (owner == number) {
		diagnose(resolver->diagnostics, DIAGNOSTIC_WARNING, word->position,
			 "duplicate-interface", NULL, "zone `%s` names `%s` twice", zone,
			 word->text);
		return 0;
	}
	return resolve_error(resolver, word->position, "interface-in-two-zones",
			     "an interface belongs to one zone",
			     "interface `%s` is in zone `%s` and in zone `%s` (%s)", word->text,
			     zone, resolver->zones[owner].name,
			     resolve_place(resolver, resolver->zones[owner].position));
}

static int copy_patterns(struct resolver *resolver, const struct tree_words *words,
			 struct zone *zone)
{
	const char **patterns = arena_array(resolver->arena, words->n, sizeof(*patterns));

	if (!patterns)
		return -ENOMEM;
	for (uint32_t i = 0; i < words->n; i++)
		if (resolve_copy(resolver, words->items[i].text, &patterns[i]))
			return -ENOMEM;
	zone->patterns = patterns;
	zone->pattern_n = words->n;
	return 0;
}

/*
 * 15 bits of the hash of the name; the next hash if that is taken by an earlier zone or has a
 * meaning of its own.
 */
static uint16_t zone_tag(const struct zone *zones, uint32_t n, const char *name)
{
	for (uint64_t seed = 0;; seed++) {
		uint16_t tag = XXH64(name, strlen(name), seed) & 0x7fff;
		bool free = tag > IMAGE_TAG_OTHER && tag <= TAG_MAX;

		for (uint32_t i = 0; i < n && free; i++)
			free = zones[i].tag != tag;
		if (free)
			return tag;
	}
}

static int zone_add(struct resolver *resolver, const struct tree_zone *tree, struct zone *zones,
		    struct name_table *taken)
{
	struct zone *zone = &zones[resolver->zone_n];
	int result = check_zone_name(resolver, &tree->name), err;

	if (result)
		return result;
	if (resolver->zone_n == ZONES_MAX)
		return resolve_error(resolver, tree->name.position, "too-many-zones", NULL,
				     "more than %d zones", ZONES_MAX - ZONE_FIRST);
	zone->position = tree->name.position;
	if (resolve_copy(resolver, tree->name.text, &zone->name))
		return -ENOMEM;
	for (uint32_t i = 0; i < tree->patterns.n; i++) {
		err = check_pattern(resolver, &tree->patterns.items[i]);
		if (!err)
			err = check_interface_taken(resolver, tree->name.text, &tree->patterns, i,
						    taken, resolver->zone_n);
		if (err == -ENOMEM)
			return err;
		result = result ? result : err;
	}
	if (copy_patterns(resolver, &tree->patterns, zone))
		return -ENOMEM;
	zone->tag = zone_tag(zones, resolver->zone_n, zone->name);
	resolver->zone_n++;
	return result;
}

int resolve_zones(struct resolver *resolver, const struct statement_vector *statements,
		  struct ruleset *ruleset)
{
	struct zone *zones = arena_array(resolver->arena, ZONES_MAX, sizeof(*zones));
	const struct position nowhere = { .source = POSITION_NONE };
	struct name_table taken = { 0 };
	int result = 0;

	if (!zones)
		return -ENOMEM;
	zones[ZONE_SELF] =
		(struct zone){ .name = "self", .tag = IMAGE_TAG_SELF, .position = nowhere };
	zones[ZONE_OTHER] =
		(struct zone){ .name = "other", .tag = IMAGE_TAG_OTHER, .position = nowhere };
	resolver->zones = zones;
	resolver->zone_n = ZONE_FIRST;
	for (size_t i = 0; i < statements->n; i++) {
		int err;

		if (statements->items[i]->kind != TREE_ZONE)
			continue;
		err = zone_add(resolver, &statements->items[i]->zone, zones, &taken);
		if (err == -ENOMEM)
			return err;
		result = result ? result : err;
	}
	ruleset->zones = zones;
	ruleset->zone_n = resolver->zone_n;
	return result;
}

static int unknown_zone(struct resolver *resolver, const struct tree_word *word,
			const char *otherwise)
{
	const char *names[ZONES_MAX + 1], *hint;
	size_t n = 0;

	if (resolve_excused(resolver, TREE_ZONE, word->text))
		return -EINVAL;
	names[n++] = "any";
	for (uint32_t i = 0; i < resolver->zone_n; i++)
		names[n++] = resolver->zones[i].name;
	hint = resolve_suggestion(resolver, nearest_word(word->text, names, n));
	return resolve_error(resolver, word->position, "unknown-zone",
			     hint ? hint : otherwise, "unknown zone `%s`", word->text);
}

/* "the zones are `self`, `other`, `wan`": a question cannot define one. */
static const char *zones_there(struct resolver *resolver)
{
	cleanup(text_free) struct text list = TEXT_INIT(TEXT_CAP_DEFAULT);

	text_puts(&list, "the zones are ");
	for (uint32_t i = 0; i < resolver->zone_n; i++)
		text_printf(&list, "%s`%s`", i ? ", " : "", resolver->zones[i].name);
	if (text_error(&list))
		return NULL;
	return arena_copy(&resolver->scratch, text_string(&list), list.len);
}

int resolve_zone(struct resolver *resolver, const struct tree_word *word, uint32_t *zone)
{
	int number = zone_number(resolver, word->text);

	if (number < 0 && !strcmp(word->text, "any"))
		return resolve_error(resolver, word->position, "zone-any",
				     "a packet comes from one zone and goes to one zone",
				     "`any` is not one zone");
	if (number < 0)
		return unknown_zone(resolver, word, zones_there(resolver));
	*zone = (uint32_t)number;
	return 0;
}

int resolve_side(struct resolver *resolver, const struct tree_words *words, uint64_t *zones)
{
	uint64_t every = resolver->zone_n == 64 ? UINT64_MAX :
						  (UINT64_C(1) << resolver->zone_n) - 1;
	uint64_t found = 0;
	int result = 0;

	for (uint32_t i = 0; i < words->n; i++) {
		const struct tree_word *word = &words->items[i];
		int number = zone_number(resolver, word->text);

		if (number >= 0)
			found |= UINT64_C(1) << number;
		else if (!strcmp(word->text, "any") && !word->quoted)
			found |= every & ~(UINT64_C(1) << ZONE_SELF);
		else
			result = unknown_zone(resolver, word,
					      "define it: zone NAME = INTERFACE");
	}
	if (!result)
		*zones = found;
	return result;
}
