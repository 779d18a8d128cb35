// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/resolve.h"

#include <string.h>

enum hygiene_kind { KIND_ANTISPOOF, KIND_CLAMP_MSS, KIND_SCRUB, KINDS };

/* By kind and zone: the statement that spoke of it first. */
struct spoken {
	const struct tree_statement *by[KINDS][ZONES_MAX];
};

static void apply(struct hygiene *hygiene, const struct tree_statement *statement)
{
	switch (statement->kind) {
	case TREE_ANTISPOOF:
		hygiene->antispoof = statement->antispoof.loose ? ANTISPOOF_LOOSE : ANTISPOOF_STRICT;
		break;
	case TREE_CLAMP_MSS:
		hygiene->clamp_mss = true;
		hygiene->mss = (uint16_t)statement->clamp_mss.size;
		break;
	case TREE_SCRUB:
		hygiene->min_ttl = statement->scrub.min_ttl;
		hygiene->no_df = statement->scrub.asked >> TREE_SCRUB_NO_DF & 1;
		hygiene->random_id = statement->scrub.asked >> TREE_SCRUB_RANDOM_ID & 1;
		break;
	default:
		break;
	}
}

/* This host is no zone that packets come from or leave to on a wire. */
static int refuse_self(struct resolver *resolver, const struct tree_statement *statement,
		       const struct tree_words *words)
{
	for (uint32_t i = 0; i < words->n; i++)
		if (!strcmp(words->items[i].text, "self"))
			return resolve_error(resolver, words->items[i].position, "zone-self",
					     "name the zones of its interfaces",
					     "`%s` is about packets on the wire, not about this host",
					     tree_statement_words[statement->kind]);
	return 0;
}

static int resolve_one(struct resolver *resolver, const struct tree_statement *statement,
		       enum hygiene_kind kind, const struct tree_words *words,
		       struct spoken *spoken, struct zone *zones)
{
	uint64_t set = 0;
	int result = refuse_self(resolver, statement, words);

	if (!result)
		result = resolve_side(resolver, words, &set);
	for (uint32_t i = 0; !result && i < resolver->zone_n; i++) {
		const struct tree_statement **by = &spoken->by[kind][i];

		if (!(set >> i & 1))
			continue;
		if (*by)
			return resolve_error(resolver, statement->position, "duplicate-hygiene", NULL,
					     "`%s` for zone `%s` is already given at %s",
					     tree_statement_words[statement->kind], zones[i].name,
					     resolve_place(resolver, (*by)->position));
		*by = statement;
		apply(&zones[i].hygiene, statement);
	}
	return result;
}

int resolve_hygiene(struct resolver *resolver, const struct statement_vector *statements,
		    struct zone *zones)
{
	struct spoken spoken = { 0 };
	int result = 0;

	for (size_t i = 0; i < statements->n; i++) {
		const struct tree_statement *statement = statements->items[i];
		int err = 0;

		if (statement->kind == TREE_ANTISPOOF)
			err = resolve_one(resolver, statement, KIND_ANTISPOOF,
					  &statement->antispoof.zones, &spoken, zones);
		else if (statement->kind == TREE_CLAMP_MSS)
			err = resolve_one(resolver, statement, KIND_CLAMP_MSS,
					  &statement->clamp_mss.zones, &spoken, zones);
		else if (statement->kind == TREE_SCRUB)
			err = resolve_one(resolver, statement, KIND_SCRUB, &statement->scrub.zones,
					  &spoken, zones);
		result = err ? err : result;
	}
	return result;
}
