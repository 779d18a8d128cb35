// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rules of NAT and of `early` as the compiler wants them: one list with the rules of the policy, and
 * the table of translations that those of NAT name.
 */
#ifndef REEVE_COMPILE_TRANSLATE_H
#define REEVE_COMPILE_TRANSLATE_H

#include "core/image.h"
#include "policy/rule.h"

struct translations {
	/*
	 * The ruleset with every rule of its image in `rules`: the policy's; NAT's, and one that
	 * matches everything; early's, likewise. The ruleset itself where it has but the first.
	 */
	struct ruleset whole;
	struct rule *rules; /* of `whole`; NULL where it is the ruleset itself */
	uint32_t policy_rules, early_rules; /* as in the image's header */
	const struct nat_rule *nat; /* borrowed */
	uint32_t nat_n;
	uint32_t *first; /* by rule of NAT: its first entry */
	struct image_translation *entries;
	uint32_t n;
};

/* The ruleset must outlive them. -ENOMEM, -E2BIG; freed in any case. */
int translations_make(const struct ruleset *ruleset, struct translations *translations);
void translations_free(struct translations *translations);

/* Does a walk of this kind look at rules like the one with this number: whose is it? */
bool translations_walked(const struct translations *translations, uint32_t rule,
			 enum walk_kind kind);
/* Says in a rule of the image which entry is its first; leaves rules of the policy alone. */
void translations_number(const struct translations *translations, uint32_t number,
			 struct image_rule *rule);

#endif
