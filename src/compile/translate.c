// SPDX-License-Identifier: GPL-2.0-or-later
#include "compile/translate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What no rule of NAT matches stays as it is; what none of `early` does goes on. */
static const struct clause everything = { .families = FAMILY_BIT_4 | FAMILY_BIT_6 };
static const struct rule left_alone = {
	.id = "",
	.origin = RULE_BUILTIN_DEFAULT,
	.from = UINT64_MAX,
	.to = UINT64_MAX,
	.clauses = &everything,
	.clause_n = 1,
	.action = ACTION_ALLOW,
	.log_sample = 1,
};

static const uint8_t kinds[] = {
	[NAT_SOURCE] = TRANSLATE_SOURCE,
	[NAT_MASQUERADE] = TRANSLATE_MASQUERADE,
	[NAT_FORWARD] = TRANSLATE_FORWARD,
	[NAT_INTERCEPT] = TRANSLATE_INTERCEPT,
};

static struct image_translation entry_of(const struct nat_rule *rule,
					 const struct nat_target *target)
{
	struct image_translation entry = {
		.kind = kinds[rule->kind],
		.flags = (uint8_t)((rule->full_cone ? TRANSLATE_FULL_CONE : 0) |
				   (rule->pass ? TRANSLATE_PASS : 0)),
		.n = 1,
	};

	if (!target)
		return entry;
	entry.family = target->family;
	memcpy(entry.lo, target->addresses.lo, sizeof(entry.lo));
	memcpy(entry.hi, target->addresses.hi, sizeof(entry.hi));
	if (target->prefix_to_prefix) {
		entry.flags |= TRANSLATE_PREFIX;
		entry.prefix = target->prefix;
		memcpy(entry.from_lo, target->from_lo, sizeof(entry.from_lo));
	}
	if (target->port_lo) {
		entry.flags |= TRANSLATE_PORTS;
		entry.port_lo = target->port_lo;
		entry.port_hi = target->port_hi;
		entry.match_port_lo = target->match_port_lo;
	}
	return entry;
}

static int make_entries(const struct ruleset *ruleset, struct translations *translations)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < ruleset->nat_n; i++) {
		if (ruleset->nat[i].target_n > UINT16_MAX)
			return -E2BIG;
		n += ruleset->nat[i].target_n ? ruleset->nat[i].target_n : 1;
	}
	if (n > IMAGE_TRANSLATIONS_MAX)
		return -E2BIG;
	translations->first = calloc(ruleset->nat_n, sizeof(*translations->first));
	translations->entries = calloc(n, sizeof(*translations->entries));
	if (!translations->first || !translations->entries)
		return -ENOMEM;
	for (uint32_t i = 0; i < ruleset->nat_n; i++) {
		const struct nat_rule *rule = &ruleset->nat[i];
		struct image_translation *first = &translations->entries[translations->n];

		translations->first[i] = translations->n;
		if (!rule->target_n)
			translations->entries[translations->n++] = entry_of(rule, NULL);
		for (uint32_t j = 0; j < rule->target_n; j++)
			translations->entries[translations->n++] =
				entry_of(rule, &rule->targets[j]);
		if (rule->target_n)
			first->n = (uint16_t)rule->target_n;
	}
	return 0;
}

int translations_make(const struct ruleset *ruleset, struct translations *translations)
{
	uint32_t n = ruleset_image_rules(ruleset), early = ruleset_early_first(ruleset), i;

	*translations = (struct translations){ .whole = *ruleset,
					       .policy_rules = ruleset->rule_n,
					       .early_rules = early,
					       .nat = ruleset->nat,
					       .nat_n = ruleset->nat_n };
	if (n == ruleset->rule_n)
		return 0;
	translations->rules = calloc(n, sizeof(*translations->rules));
	if (!translations->rules)
		return -ENOMEM;
	memcpy(translations->rules, ruleset->rules, ruleset->rule_n * sizeof(*ruleset->rules));
	for (i = 0; i < ruleset->nat_n; i++)
		translations->rules[ruleset->rule_n + i] = ruleset->nat[i].rule;
	if (ruleset->nat_n)
		translations->rules[early - 1] = left_alone;
	for (i = 0; i < ruleset->early_n; i++)
		translations->rules[early + i] = ruleset->early[i];
	if (ruleset->early_n)
		translations->rules[n - 1] = left_alone;
	translations->whole.rules = translations->rules;
	translations->whole.rule_n = n;
	return ruleset->nat_n ? make_entries(ruleset, translations) : 0;
}

void translations_free(struct translations *translations)
{
	free(translations->rules);
	free(translations->first);
	free(translations->entries);
	*translations = (struct translations){ 0 };
}

static const enum walk_kind walks[] = {
	[NAT_SOURCE] = WALK_SOURCE,
	[NAT_MASQUERADE] = WALK_SOURCE,
	[NAT_FORWARD] = WALK_FORWARD,
	[NAT_INTERCEPT] = WALK_INTERCEPT,
};

bool translations_walked(const struct translations *translations, uint32_t rule,
			 enum walk_kind kind)
{
	bool nat = translations_walk(kind);

	if (rule >= translations->early_rules)
		return kind == WALK_EARLY;
	if (rule < translations->policy_rules)
		return !nat && kind != WALK_EARLY;
	if (!nat)
		return false;
	rule -= translations->policy_rules;
	if (rule >= translations->nat_n)
		return true;
	return walks[translations->nat[rule].kind] == kind;
}

void translations_number(const struct translations *translations, uint32_t number,
			 struct image_rule *rule)
{
	if (rule->action == ACTION_TRANSLATE)
		rule->mark_value = translations->first[number - translations->policy_rules];
}
