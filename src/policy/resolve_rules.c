// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>
#include <xxhash.h>

#include "core/bucket.h"
#include "policy/builtin.h"
#include "policy/format.h"
#include "policy/resolve.h"

#define FILE_RULES_MAX (RULES_MAX - 16) /* leaves room for the built-in ones */
#define DEFAULTS_LOOKED_AT 1024	       /* whether one of them covers a later one */
#define LIMIT_BURST_MIN 5u /* when none is given: one second's worth, but so many at least */
#define LIMIT_RATE_MAX 10000000u
#define LIMIT_FILL_MAX (10ull * 365 * 24 * 60 * 60) /* seconds */
#define MAX_FLOWS_MAX (PLACES_MAX / 2) /* what is counted must not be forgotten for want of room */
#define ID_DIGITS 10
#define ID_MASK ((UINT64_C(1) << (ID_DIGITS * 4)) - 1)

static const enum action actions[] = {
	[TREE_ALLOW] = ACTION_ALLOW,
	[TREE_DROP] = ACTION_DROP,
	[TREE_REJECT] = ACTION_REJECT,
	[TREE_LIMIT] = ACTION_DROP, /* what is beyond */
	[TREE_PROTECT] = ACTION_PROTECT,
};

int resolve_keep_text(struct resolver *resolver, const char **kept)
{
	if (text_error(&resolver->text))
		return -ENOMEM;
	*kept = arena_copy(resolver->arena, text_string(&resolver->text), resolver->text.len);
	return *kept ? 0 : -ENOMEM;
}

struct text *resolve_fresh_text(struct resolver *resolver)
{
	resolver->text.len = 0;
	text_add(&resolver->text, "", 0);
	return &resolver->text;
}

int resolve_pair(struct resolver *resolver, const struct tree_pair *tree, struct zone_pair *pair)
{
	int from = resolve_side(resolver, &tree->from, &pair->from);
	int to = resolve_side(resolver, &tree->to, &pair->to);

	if (from || to)
		return -EINVAL;
	if (pair->from == UINT64_C(1) << ZONE_SELF && pair->to == pair->from)
		return resolve_error(resolver, tree->position, "self-to-self",
				     "`any -> self` is what comes in, `self -> any` what goes out",
				     "what this host sends to itself is not filtered");
	format_pair(tree, resolve_fresh_text(resolver));
	return resolve_keep_text(resolver, &pair->text);
}

/* --- options of a rule -------------------------------------------------------- */

static int resolve_mark_set(struct resolver *resolver, const struct tree_option *option,
			    struct rule *rule)
{
	uint32_t own = resolve_own_marks(resolver), asked;
	const struct tree_masked *masked = &option->masked;

	asked = masked->value | (masked->has_mask ? masked->mask : 0);
	if (asked & own)
		return resolve_own_marks_error(resolver, option->position, asked, "");
	rule->mark_set = (struct masked){ .mask = masked->mask & ~own, .value = masked->value };
	return 0;
}

static int resolve_id(struct resolver *resolver, const struct tree_word *name, struct rule *rule)
{
	if (!strncmp(name->text, BUILTIN_ID_PREFIX, strlen(BUILTIN_ID_PREFIX)))
		return resolve_error(resolver, name->position, "reserved-id", NULL,
				     "ids that begin with `" BUILTIN_ID_PREFIX "` are reeve's own");
	if (!name->text[0])
		return resolve_error(resolver, name->position, "empty-id", NULL,
				     "an id is not empty");
	return resolve_copy(resolver, name->text, &rule->id);
}

static enum limit_each each_of(enum tree_each each)
{
	static const enum limit_each meaning[] = {
		[TREE_EACH_NONE] = LIMIT_EACH_NONE,
		[TREE_EACH_SOURCE] = LIMIT_EACH_SOURCE,
		[TREE_EACH_DESTINATION] = LIMIT_EACH_DESTINATION,
	};

	return meaning[each];
}

/* One host has a whole /64 to send from (RFC 7934); an address is sent to as it is. */
static uint8_t prefix_of(enum tree_each each, uint8_t written)
{
	if (written)
		return written;
	return each == TREE_EACH_SOURCE ? 64 : 128;
}

static int resolve_limit(struct resolver *resolver, const struct tree_option *option,
			 struct rule *rule)
{
	const struct tree_rate *rate = &option->rate;
	uint32_t second = rate->count / rate->period + !!(rate->count % rate->period);
	uint32_t burst = rate->burst;

	if (!burst)
		burst = second > LIMIT_BURST_MIN ? second : LIMIT_BURST_MIN;
	if (rate->count / rate->period > LIMIT_RATE_MAX)
		return resolve_error(resolver, option->position, "limit-rate", NULL,
				     "a limit is at most %u packets a second", LIMIT_RATE_MAX);
	if ((uint64_t)burst * rate->period / rate->count > LIMIT_FILL_MAX)
		return resolve_error(resolver, option->position, "limit-burst",
				     "a smaller burst, or a higher rate",
				     "a burst of %u takes more than ten years to come back",
				     burst);
	rule->limit = (struct rule_limit){
		.n = rate->count,
		.period = rate->period,
		.burst = burst,
		.each = each_of(rate->each),
		.prefix = prefix_of(rate->each, rate->prefix),
	};
	return 0;
}

static int resolve_max_flows(struct resolver *resolver, const struct tree_option *option,
			     struct rule *rule)
{
	if (option->max_flows.n > MAX_FLOWS_MAX)
		return resolve_error(resolver, option->position, "max-flows",
				     "`options { flows N }` bounds all flows together",
				     "a rule counts at most %u flows", MAX_FLOWS_MAX);
	rule->flows = (struct rule_limit){
		.n = option->max_flows.n,
		.each = each_of(option->max_flows.each),
		.prefix = prefix_of(option->max_flows.each, option->max_flows.prefix),
	};
	return 0;
}

static int resolve_timeout(struct resolver *resolver, const struct tree_option *option,
			   struct rule *rule)
{
	if (!option->seconds || option->seconds > FLOW_TIMEOUT_MAX)
		return resolve_error(resolver, option->position, "timeout-range", NULL,
				     "a timeout is from 1s to %ud",
				     FLOW_TIMEOUT_MAX / (24 * 60 * 60));
	rule->timeout = option->seconds;
	return 0;
}

static int resolve_add(struct resolver *resolver, const struct tree_option *option,
		       struct rule *rule)
{
	uint32_t number;
	int err = resolve_dynamic_set(resolver, &option->add.set, &number);

	if (err)
		return err;
	rule->add = number + 1;
	rule->add_destination = option->add.what == TREE_EACH_DESTINATION;
	return 0;
}

static int resolve_option(struct resolver *resolver, const struct tree_option *option,
			  struct rule *rule)
{
	switch (option->kind) {
	case TREE_OPTION_LOG:
		rule->log = true;
		rule->log_sample = option->log.sample ? option->log.sample : 1;
		return resolve_copy(resolver, option->log.text, &rule->log_text);
	case TREE_OPTION_COUNT:
		return resolve_copy(resolver, option->name.text, &rule->count);
	case TREE_OPTION_MARK_SET:
		return resolve_mark_set(resolver, option, rule);
	case TREE_OPTION_STATELESS:
		rule->stateless = true;
		return 0;
	case TREE_OPTION_ID:
		return resolve_id(resolver, &option->name, rule);
	case TREE_OPTION_LIMIT:
		return resolve_limit(resolver, option, rule);
	case TREE_OPTION_TIMEOUT:
		return resolve_timeout(resolver, option, rule);
	case TREE_OPTION_MAX_FLOWS:
		return resolve_max_flows(resolver, option, rule);
	case TREE_OPTION_ADD:
		return resolve_add(resolver, option, rule);
	case TREE_OPTION_KINDS:
		break;
	}
	return resolve_error(resolver, option->position, "not-supported", NULL,
			     "`%s` is not supported yet", tree_option_words[option->kind]);
}

/* A reset answers TCP only: asking for one where no TCP can match is a slip. */
static int check_reject(struct resolver *resolver, const struct tree_rule *tree,
			const struct rule *rule)
{
	if (rule->reject != REJECT_TCP_RESET || !rule->clause_n)
		return 0;
	for (uint32_t i = 0; i < rule->clause_n; i++) {
		const struct ranges *protocol = &rule->clauses[i].field[FIELD_PROTOCOL];

		if (!protocol->n || protocol->items[0].lo == IPPROTO_TCP)
			return 0;
	}
	return resolve_error(resolver, tree->position, "reject-protocol",
			     "leave `with tcp-reset` out, or reject tcp",
			     "`tcp-reset` answers tcp only, this rule is about other protocols");
}

/* What is said of flows holds for rules that begin some. */
static int check_flow_options(struct resolver *resolver, const struct tree_rule *tree,
			      const struct rule *rule)
{
	for (uint32_t i = 0; i < tree->option_n; i++) {
		const struct tree_option *option = &tree->options[i];

		if (option->kind != TREE_OPTION_TIMEOUT && option->kind != TREE_OPTION_MAX_FLOWS)
			continue;
		if (rule->action != ACTION_ALLOW)
			return resolve_error(resolver, option->position, "no-flows",
					     "it belongs to the `allow` that lets the flows begin",
					     "a rule that refuses begins no flow: it has no `%s`",
					     tree_option_words[option->kind]);
		if (rule->stateless)
			return resolve_error(resolver, option->position, "no-flows",
					     "leave one of the two out",
					     "no flow begins by a `stateless` rule: it has no `%s`",
					     tree_option_words[option->kind]);
	}
	return 0;
}

int resolve_rule(struct resolver *resolver, const struct tree_rule *tree,
		 const struct zone_pair *pair, bool arrives, struct rule *rule)
{
	struct clauses clauses = { 0 };
	int result, err;

	*rule = (struct rule){ .origin = RULE_FILE,
			       .from = pair->from,
			       .to = pair->to,
			       .reject = tree->reject,
			       .log_sample = 1,
			       .pair = pair->text,
			       .position = tree->position };
	rule->action = actions[tree->action];
	rule->over = tree->action == TREE_LIMIT;
	result = resolve_match(resolver, &tree->match, tree->position, arrives, &clauses);
	for (uint32_t i = 0; result != -ENOMEM && i < tree->option_n; i++) {
		err = resolve_option(resolver, &tree->options[i], rule);
		result = err ? err : result;
	}
	if (result)
		return result;
	rule->clauses = clauses.items;
	rule->clause_n = clauses.n;
	if (check_reject(resolver, tree, rule) || check_flow_options(resolver, tree, rule))
		return -EINVAL;
	if (tree->trivia && resolve_copy(resolver, tree->trivia->trailing, &rule->comment))
		return -ENOMEM;
	format_rule(tree, resolve_fresh_text(resolver));
	return resolve_keep_text(resolver, &rule->text);
}

/* --- policies ------------------------------------------------------------------ */

/*
 * A default all of whose pairs an earlier one has is no error: `any` and lists overlap for good
 * reasons. But it never decides, and its author thinks that it does.
 */
static void warn_of_covered(struct resolver *resolver, const struct tree_policy *tree,
			    const struct zone_pair *pair, const struct rule_vector *defaults)
{
	size_t n = defaults->n < DEFAULTS_LOOKED_AT ? defaults->n : DEFAULTS_LOOKED_AT;

	for (size_t i = 0; i < n; i++) {
		const struct rule *earlier = &defaults->items[i];

		if (pair->from & ~earlier->from || pair->to & ~earlier->to)
			continue;
		diagnose(resolver->diagnostics, DIAGNOSTIC_WARNING, tree->default_position,
			 "covered-default",
			 "the first default whose pair matches decides: put this one before it",
			 "this default never decides: `%s` has one at %s", earlier->pair,
			 resolve_place(resolver, earlier->position));
		return;
	}
}

/* The default of a policy; `pairs` finds an earlier one of the same pair. */
static int resolve_default(struct resolver *resolver, const struct tree_policy *tree,
			   const struct zone_pair *pair, struct name_table *pairs,
			   struct rule_vector *defaults)
{
	static const struct clause everything = { .families = FAMILY_BITS_ALL };
	struct rule rule = { .origin = RULE_DEFAULT,
			     .from = pair->from,
			     .to = pair->to,
			     .clauses = &everything,
			     .clause_n = 1,
			     .action = actions[tree->default_action],
			     .reject = tree->default_reject,
			     .log_sample = 1,
			     .pair = pair->text,
			     .position = tree->default_position };
	const char *key =
		arena_printf(&resolver->scratch, "%" PRIx64 " %" PRIx64, pair->from, pair->to);
	uint32_t earlier;

	if (!key)
		return -ENOMEM;
	if (name_table_get(pairs, key, &earlier))
		return resolve_error(resolver, tree->default_position, "duplicate-default", NULL,
				     "`%s` already has a default at %s", pair->text,
				     resolve_place(resolver, defaults->items[earlier].position));
	warn_of_covered(resolver, tree, pair, defaults);
	if (name_table_put(pairs, &resolver->scratch, key, (uint32_t)defaults->n))
		return -ENOMEM;
	format_default(tree, resolve_fresh_text(resolver));
	if (resolve_keep_text(resolver, &rule.text) || rule_vector_push(defaults, rule))
		return -ENOMEM;
	return 0;
}

static int resolve_policy(struct resolver *resolver, const struct tree_policy *tree,
			  struct name_table *pairs, struct rule_vector *rules,
			  struct rule_vector *defaults)
{
	struct zone_pair pair = { 0 };
	int result = resolve_pair(resolver, &tree->pair, &pair);
	bool known = !result, to_self;

	if (result == -ENOMEM)
		return result;
	if (!known)
		pair = (struct zone_pair){ .from = 0, .to = UINT64_C(1) << ZONE_SELF, .text = "" };
	if (known && tree->has_default)
		result = resolve_default(resolver, tree, &pair, pairs, defaults);
	to_self = pair.to == UINT64_C(1) << ZONE_SELF;
	for (uint32_t i = 0; result != -ENOMEM && i < tree->rule_n; i++) {
		struct rule rule;
		int err = resolve_rule(resolver, &tree->rules[i], &pair, to_self, &rule);

		if (!err && known && rule_vector_push(rules, rule))
			err = -ENOMEM;
		result = err ? err : result;
	}
	return result;
}

int resolve_rules(struct resolver *resolver, const struct statement_vector *statements,
		  struct rule_vector *rules, struct rule_vector *defaults)
{
	struct name_table pairs = { 0 };
	int result = 0;

	for (size_t i = 0; i < statements->n; i++) {
		int err;

		if (statements->items[i]->kind != TREE_POLICY)
			continue;
		err = resolve_policy(resolver, &statements->items[i]->policy, &pairs, rules,
				     defaults);
		if (err == -ENOMEM)
			return err;
		if (rules->n + defaults->n > FILE_RULES_MAX)
			return resolve_error(resolver, statements->items[i]->position,
					     "too-many-rules", NULL,
					     "more than %u rules by the end of this policy",
					     FILE_RULES_MAX);
		result = err ? err : result;
	}
	return result;
}

/* --- ids ------------------------------------------------------------------------- */

/*
 * The n-th rule of this hash: the hash alone, then with an ordinal. Skips what a person has taken.
 */
static int make_id(struct resolver *resolver, struct name_table *ids, struct name_table *ordinals,
		   struct rule *rule, uint32_t index)
{
	struct text *text = resolve_fresh_text(resolver);
	uint32_t ordinal = 1;
	const char *hash;

	text_printf(text, "%s\n%s", rule->pair, rule->text);
	if (text_error(text))
		return -ENOMEM;
	hash = arena_printf(resolver->arena, "%0*" PRIx64, ID_DIGITS,
			    (uint64_t)XXH64(text_string(text), text->len, 0) & ID_MASK);
	if (!hash)
		return -ENOMEM;
	if (name_table_get(ordinals, hash, &ordinal))
		ordinal++;
	for (;; ordinal++) {
		rule->id = ordinal == 1 ? hash :
					  arena_printf(resolver->arena, "%s.%u", hash, ordinal);
		if (!rule->id)
			return -ENOMEM;
		if (!name_table_get(ids, rule->id, NULL))
			break;
	}
	if (name_table_set(ordinals, &resolver->scratch, hash, ordinal))
		return -ENOMEM;
	return name_table_put(ids, &resolver->scratch, rule->id, index);
}

int resolve_ids(struct resolver *resolver, struct rule *rules, uint32_t n)
{
	struct name_table ids = { 0 }, ordinals = { 0 };
	uint32_t earlier;
	int result = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (!rules[i].id)
			continue;
		if (name_table_get(&ids, rules[i].id, &earlier))
			result = resolve_error(resolver, rules[i].position, "duplicate-id", NULL,
					       "id `%s` is already given to the rule at %s",
					       rules[i].id,
					       resolve_place(resolver, rules[earlier].position));
		else if (name_table_put(&ids, &resolver->scratch, rules[i].id, i))
			return -ENOMEM;
	}
	for (uint32_t i = 0; !result && i < n; i++)
		if (!rules[i].id && make_id(resolver, &ids, &ordinals, &rules[i], i))
			return -ENOMEM;
	return result;
}
