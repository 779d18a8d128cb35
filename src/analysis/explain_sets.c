// SPDX-License-Identifier: GPL-2.0-or-later
#include "analysis/explain_sets.h"

#include <errno.h>

#include "analysis/evaluate.h"

/* The sets that rules of the pair ask for one side, as bits. */
static uint64_t sets_asked(const struct ruleset *ruleset, const struct fields *fields, bool source)
{
	const uint32_t *word = fields->word;
	uint64_t sets = 0;

	for (uint32_t i = 0; i < ruleset->rule_n; i++) {
		const struct rule *rule = &ruleset->rules[i];

		if (!(rule->from >> word[FIELD_FROM_ZONE] & 1) ||
		    !(rule->to >> word[FIELD_TO_ZONE] & 1))
			continue;
		for (uint32_t j = 0; j < rule->clause_n; j++) {
			const struct clause *clause = &rule->clauses[j];

			sets |= source ? clause->src_sets.sets : clause->dst_sets.sets;
		}
	}
	return sets;
}

static int tell(const struct ruleset *ruleset, const struct fields *fields, uint32_t set,
		bool source, struct arena *arena, struct filled_vector *filled)
{
	const uint32_t *address = &fields->word[source ? FIELD_SRC : FIELD_DST];
	const struct membership one = { .sets = UINT64_C(1) << set };
	struct explain_filled told = { .value = "taken to be empty" };
	struct text text = TEXT_INIT(256);

	told.what = arena_printf(arena, "set @%s", ruleset->sets[set].name);
	if (ruleset->contents.holds) {
		bool holds = membership_holds(ruleset, &one, fields->word[FIELD_FAMILY], address);

		text_puts(&text, holds ? "holds " : "does not hold ");
		explain_address(address, fields->word[FIELD_FAMILY], &text);
		told.value = text_error(&text) ? NULL :
						 arena_copy(arena, text_string(&text), text.len);
	}
	text_free(&text);
	if (!told.what || !told.value)
		return -ENOMEM;
	return filled_vector_push(filled, told) ? -ENOMEM : 0;
}

int explain_sets(const struct ruleset *ruleset, const struct fields *fields, struct arena *arena,
		 struct filled_vector *filled)
{
	uint64_t sources = sets_asked(ruleset, fields, true);
	uint64_t targets = sets_asked(ruleset, fields, false);
	int err = 0;

	for (uint32_t i = 0; i < ruleset->set_n && !err; i++) {
		if (sources >> i & 1)
			err = tell(ruleset, fields, i, true, arena, filled);
		if (!err && targets >> i & 1 && (ruleset->contents.holds || !(sources >> i & 1)))
			err = tell(ruleset, fields, i, false, arena, filled);
	}
	return err;
}

int explain_no_sets(const struct question *question, const struct question_meaning *meaning,
		    struct diagnostics *diagnostics)
{
	const struct tree_match *match = &question->match;

	for (uint32_t i = 0; i < meaning->clauses.n; i++) {
		const struct clause *clause = &meaning->clauses.items[i];
		const struct tree_addresses *where = clause->src_sets.sets ? match->from :
						     clause->dst_sets.sets ? match->to :
									     NULL;

		if (!where)
			continue;
		diagnose(diagnostics, DIAGNOSTIC_ERROR, where->position, "dynamic-set",
			 "name an address",
			 "what a dynamic set holds is no part of the policy");
		return -EINVAL;
	}
	return 0;
}
