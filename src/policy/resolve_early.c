// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rules of `early` blocks. They are judged where nothing is known of a packet but its bytes and the
 * interface it came by: no flow, no mark, no way on. So they drop, and say little else; but for
 * `protect`, which answers.
 */
#include "core/protocol.h"
#include "policy/format.h"
#include "policy/resolve.h"

#include <string.h>

static int refuse_self(struct resolver *resolver, const struct tree_words *words)
{
	for (uint32_t i = 0; i < words->n; i++)
		if (!strcmp(words->items[i].text, "self"))
			return resolve_error(resolver, words->items[i].position, "zone-self",
					     "name the zones of its interfaces",
					     "`early` is about packets that arrive: none arrives from this host");
	return 0;
}

/* Why a rule of `early` cannot have an option; NULL: it can. */
static const char *option_trouble(enum tree_option_kind kind)
{
	switch (kind) {
	case TREE_OPTION_LIMIT:
	case TREE_OPTION_LOG:
	case TREE_OPTION_COUNT:
	case TREE_OPTION_ID:
		return NULL;
	case TREE_OPTION_ADD:
		return "a rule of a policy can add what it drops";
	case TREE_OPTION_MARK_SET:
		return "what is dropped has no use for a mark";
	default:
		return "nothing begins a flow here: every packet counts";
	}
}

static int check_rule(struct resolver *resolver, const struct tree_rule *tree)
{
	for (uint32_t i = 0; i < tree->option_n; i++) {
		const char *trouble = option_trouble(tree->options[i].kind);

		if (trouble)
			return resolve_error(resolver, tree->options[i].position, "early-option",
					     trouble, "a rule of `early` has no `%s`",
					     tree_option_words[tree->options[i].kind]);
	}
	for (uint32_t i = 0; i < tree->match.condition_n; i++)
		if (tree->match.conditions[i].kind == TREE_MARK)
			return resolve_error(resolver, tree->match.conditions[i].position,
					     "early-mark", "a rule of a policy can look at marks",
					     "no packet has a mark yet where `early` sees it");
	return 0;
}

/* `protect` is about connections: services of TCP, and addresses. */
static int check_protect(struct resolver *resolver, const struct tree_rule *tree,
			 const struct rule *rule)
{
	for (uint32_t i = 0; i < tree->option_n; i++)
		if (tree->options[i].kind == TREE_OPTION_LIMIT)
			return resolve_error(resolver, tree->options[i].position, "early-option",
					     "a statement `limit tcp syn 1000/s each source` before it",
					     "`protect` has no `limit`");
	if (tree->match.condition_n)
		return resolve_error(resolver, tree->match.conditions[0].position,
				     "protect-condition", "services and addresses choose connections",
				     "`protect` is about whole connections: it has no `%s`",
				     tree_condition_words[tree->match.conditions[0].kind]);
	for (uint32_t i = 0; i < rule->clause_n; i++) {
		const struct ranges *protocol = &rule->clauses[i].field[FIELD_PROTOCOL];

		if (protocol->n != 1 || protocol->items[0].lo != PROTOCOL_TCP ||
		    protocol->items[0].hi != PROTOCOL_TCP)
			return resolve_error(resolver, tree->position, "protect-service",
					     "write it as `protect 443/tcp`",
					     "`protect` answers the SYNs of TCP: other protocols have none");
		if (rule->clauses[i].flags.mask)
			return resolve_error(resolver, tree->position, "protect-service",
					     "write it as `protect tcp`, or `protect 443/tcp`",
					     "`protect` is about whole connections, not only their SYNs");
	}
	return 0;
}

/* "early wan", "early { wan, dmz }" */
static int keep_place(struct resolver *resolver, const struct tree_words *zones, const char **kept)
{
	struct text *text = resolve_fresh_text(resolver);

	text_puts(text, "early ");
	format_words(zones, text);
	return resolve_keep_text(resolver, kept);
}

static int resolve_block(struct resolver *resolver, const struct tree_early *tree,
			 struct rule_vector *rules, uint64_t *zones)
{
	struct zone_pair place = { .to = UINT64_MAX };
	int result = refuse_self(resolver, &tree->zones);

	if (!result)
		result = resolve_side(resolver, &tree->zones, &place.from);
	if (!result)
		result = keep_place(resolver, &tree->zones, &place.text);
	for (uint32_t i = 0; result != -ENOMEM && i < tree->rule_n; i++) {
		struct rule rule;
		int err = check_rule(resolver, &tree->rules[i]);

		if (!err)
			err = resolve_rule(resolver, &tree->rules[i], &place, true, &rule);
		if (!err && rule.action == ACTION_PROTECT)
			err = check_protect(resolver, &tree->rules[i], &rule);
		if (!err && !result && rule_vector_push(rules, rule))
			err = -ENOMEM;
		result = err ? err : result;
	}
	if (!result && tree->rule_n)
		*zones |= place.from;
	return result;
}

int resolve_early(struct resolver *resolver, const struct statement_vector *statements,
		  struct rule_vector *rules, uint64_t *zones)
{
	int result = 0;

	for (size_t i = 0; i < statements->n; i++) {
		int err;

		if (statements->items[i]->kind != TREE_EARLY)
			continue;
		err = resolve_block(resolver, &statements->items[i]->early, rules, zones);
		if (err == -ENOMEM)
			return err;
		if (rules->n > EARLY_RULES_MAX)
			return resolve_error(resolver, statements->items[i]->position,
					     "too-many-rules", NULL,
					     "more than %u rules of `early` by the end of this block",
					     EARLY_RULES_MAX);
		result = err ? err : result;
	}
	return result;
}
