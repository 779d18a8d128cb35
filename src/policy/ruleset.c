// SPDX-License-Identifier: GPL-2.0-or-later
#include <fnmatch.h>
#include <string.h>
#include <xxhash.h>

#include "policy/rule.h"

void ruleset_free(struct ruleset *ruleset)
{
	if (!ruleset)
		return;
	arena_free(&ruleset->arena);
	source_set_free(&ruleset->sources);
	*ruleset = (struct ruleset){ 0 };
}

uint32_t ruleset_image_rules(const struct ruleset *ruleset)
{
	return ruleset->rule_n + (ruleset->nat_n ? ruleset->nat_n + 1 : 0);
}

const struct rule *ruleset_rule(const struct ruleset *ruleset, uint32_t number)
{
	if (number < ruleset->rule_n)
		return &ruleset->rules[number];
	number -= ruleset->rule_n;
	return number < ruleset->nat_n ? &ruleset->nat[number].rule : NULL;
}

int ruleset_zone(const struct ruleset *ruleset, const char *name)
{
	for (uint32_t i = 0; i < ruleset->zone_n; i++)
		if (!strcmp(ruleset->zones[i].name, name))
			return (int)i;
	return -1;
}

static bool names_exactly(const struct zone *zone, const char *interface)
{
	for (uint32_t i = 0; i < zone->pattern_n; i++)
		if (!strcmp(zone->patterns[i], interface))
			return true;
	return false;
}

static bool matches(const struct zone *zone, const char *interface)
{
	for (uint32_t i = 0; i < zone->pattern_n; i++)
		if (!fnmatch(zone->patterns[i], interface, 0))
			return true;
	return false;
}

uint32_t ruleset_interface_zone(const struct ruleset *ruleset, const char *interface)
{
	for (uint32_t i = ZONE_FIRST; i < ruleset->zone_n; i++)
		if (names_exactly(&ruleset->zones[i], interface))
			return i;
	for (uint32_t i = ZONE_FIRST; i < ruleset->zone_n; i++)
		if (matches(&ruleset->zones[i], interface))
			return i;
	return ZONE_OTHER;
}

bool ruleset_names_interface(const struct ruleset *ruleset, const char *interface)
{
	for (uint32_t i = ZONE_FIRST; i < ruleset->zone_n; i++)
		if (names_exactly(&ruleset->zones[i], interface))
			return true;
	return false;
}

uint64_t dynamic_set_name_tag(const char *name)
{
	return XXH64(name, strlen(name), 0);
}
