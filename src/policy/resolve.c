// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * policy_load: from a file to a ruleset.
 *
 * 1. The file and what it includes are parsed; their statements are strung together in the order of
 *    reading, an included file in the place of its `include`. If any text has syntax errors, that
 *    is told and all ends here: what is missing from a tree would only give rise to errors that are
 *    none.
 * 2. What cannot be carried out yet is refused.
 * 3. Names are declared and resolved: options first (they say which bits of the mark are free),
 *    zones, services, sets.
 * 4. Rules are resolved one by one. A wrong rule is reported and left out, the next one is looked
 *    at.
 * 5. The list is put together: built-in rules, rules, defaults, built-in defaults; then ids.
 *
 * Results live in the ruleset's arena, trees and tables in the resolver's, which is gone at the
 * end. After any error the ruleset is emptied but for its sources. Only -ENOMEM ends the work
 * early.
 */
#include "policy/resolve.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/builtin.h"
#include "policy/parser.h"

#define TEXT_MAX ((size_t)128 << 20)
#define SUGGEST_MAX 50 /* errors after which nobody is helped any more */
#define MESSAGE_MAX 4096

/* --- what the other files use --------------------------------------------------- */

int resolve_error(struct resolver *resolver, struct position position, const char *code,
		  const char *hint, const char *format, ...)
{
	char message[MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	diagnose(resolver->diagnostics, DIAGNOSTIC_ERROR, position, code, hint, "%s", message);
	return -EINVAL;
}

bool resolve_may_suggest(const struct resolver *resolver)
{
	return resolver->diagnostics->errors < SUGGEST_MAX;
}

const char *resolve_place(struct resolver *resolver, struct position position)
{
	const struct source *source;
	unsigned line, column;
	const char *place;

	if (!resolve_may_suggest(resolver) || position.source >= resolver->sources->sources.n)
		return "another place";
	source = &resolver->sources->sources.items[position.source];
	source_place(source, position.offset, &line, &column);
	place = arena_printf(&resolver->scratch, "%s:%u", source->name, line);
	return place ? place : "another place";
}

const char *resolve_suggestion(struct resolver *resolver, const char *nearest)
{
	return nearest ? arena_printf(&resolver->scratch, "did you mean `%s`?", nearest) : NULL;
}

int resolve_copy(struct resolver *resolver, const char *string, const char **copy)
{
	*copy = string ? arena_copy(resolver->arena, string, strlen(string)) : NULL;
	return string && !*copy ? -ENOMEM : 0;
}

bool resolve_excused(const struct resolver *resolver, enum tree_statement_kind kind,
		     const char *name)
{
	for (size_t i = 0; i < resolver->broken.n; i++) {
		const struct tree_broken *broken = &resolver->broken.items[i];

		if (broken->kind == kind && (!broken->name || strcmp(broken->name, name) == 0))
			return true;
	}
	return resolver->incomplete;
}

void resolver_free(struct resolver *resolver)
{
	broken_vector_free(&resolver->broken);
	arena_free(&resolver->scratch);
	text_free(&resolver->text);
}

static void resolver_init(struct resolver *resolver, struct arena *arena,
			  struct source_set *sources, struct diagnostics *diagnostics,
			  struct scope *scope)
{
	*resolver = (struct resolver){ .arena = arena,
				       .sources = sources,
				       .diagnostics = diagnostics,
				       .scope = scope,
				       .text = TEXT_INIT(TEXT_MAX) };
	/* Names of /etc/services end in the scratch arena: only their numbers are kept. */
	resolver->services = (struct services){ .arena = &resolver->scratch, .sources = sources };
}

/* --- reading files ---------------------------------------------------------------- */

VECTOR(place_vector, struct position);

struct reader {
	struct resolver *resolver;
	struct statement_vector statements;
	uint32_t stack[INCLUDE_DEPTH_MAX]; /* sources being read, the main file first */
	uint32_t depth;
	struct place_vector
		included; /* by source: where it was included; source POSITION_NONE: nowhere */
};

static int read_source(struct reader *reader, uint32_t source);

/* "a.reeve -> b.reeve -> a.reeve" */
static int include_loop(struct reader *reader, struct position position, uint32_t source)
{
	const struct source_vector *sources = &reader->resolver->sources->sources;
	struct text chain = TEXT_INIT(1 << 20);
	bool begun = false;
	int err;

	for (uint32_t i = 0; i < reader->depth; i++) {
		begun = begun || reader->stack[i] == source;
		if (begun)
			text_printf(&chain, "%s -> ", sources->items[reader->stack[i]].name);
	}
	err = resolve_error(reader->resolver, position, "include-loop", NULL,
			    "`%s` includes itself: %s%s", sources->items[source].name,
			    text_string(&chain), sources->items[source].name);
	text_free(&chain);
	return err;
}

/* Remembers where a source was included; the second time is an error. */
static int include_once(struct reader *reader, struct position position, uint32_t source)
{
	const struct source_vector *sources = &reader->resolver->sources->sources;
	const struct position nowhere = { .source = POSITION_NONE };

	while (reader->included.n <= source)
		if (place_vector_push(&reader->included, nowhere))
			return -ENOMEM;
	if (reader->included.items[source].source != POSITION_NONE)
		return resolve_error(reader->resolver, position, "included-twice", NULL,
				     "`%s` is already included at %s", sources->items[source].name,
				     resolve_place(reader->resolver,
						   reader->included.items[source]));
	reader->included.items[source] = position;
	return 0;
}

static int read_include(struct reader *reader, const struct tree_word *name)
{
	struct resolver *resolver = reader->resolver;
	uint32_t source;
	int err = source_set_read(resolver->sources, name->text, name->position.source, &source);

	if (err == -ENOMEM)
		return err;
	if (err)
		return resolve_error(resolver, name->position, "unreadable-file", NULL,
				     "cannot read `%s`: %s", name->text, strerror(-err));
	for (uint32_t i = 0; i < reader->depth; i++)
		if (reader->stack[i] == source)
			return include_loop(reader, name->position, source);
	if (reader->depth == INCLUDE_DEPTH_MAX)
		return resolve_error(resolver, name->position, "include-depth", NULL,
				     "files include each other deeper than %d", INCLUDE_DEPTH_MAX);
	err = include_once(reader, name->position, source);
	return err ? err : read_source(reader, source);
}

static int read_source(struct reader *reader, uint32_t source)
{
	struct resolver *resolver = reader->resolver;
	const struct tree *tree;
	int result = tree_parse(resolver->sources, source, &resolver->scratch,
				resolver->diagnostics, &tree);

	if (result == -ENOMEM || !tree)
		return result;
	for (uint32_t i = 0; i < tree->broken_n; i++)
		if (broken_vector_push(&resolver->broken, tree->broken[i]))
			return -ENOMEM;
	reader->stack[reader->depth++] = source;
	for (uint32_t i = 0; result != -ENOMEM && i < tree->n; i++) {
		const struct tree_statement *statement = tree->statements[i];
		int err;

		if (statement->kind == TREE_INCLUDE) {
			err = read_include(reader, &statement->include);
			resolver->incomplete = resolver->incomplete || err;
		} else {
			err = statement_vector_push(&reader->statements, statement) ? -ENOMEM : 0;
		}
		result = err ? err : result;
	}
	reader->depth--;
	return result;
}

static int read_policy(struct resolver *resolver, const char *name,
		       struct statement_vector *statements)
{
	struct reader reader = { .resolver = resolver };
	const struct position nowhere = { .source = POSITION_NONE, .length = 1 };
	uint32_t source;
	int err = source_set_read(resolver->sources, name, POSITION_NONE, &source);

	if (err && err != -ENOMEM)
		return resolve_error(resolver, nowhere, "unreadable-file", NULL,
				     "cannot read `%s`: %s", name, strerror(-err));
	if (!err)
		err = read_source(&reader, source);
	place_vector_free(&reader.included);
	*statements = reader.statements;
	return err;
}

/* --- putting it together ------------------------------------------------------------ */

/*
 * Statements that are understood but that no engine carries out. What is only a promise about the
 * rules does not keep a policy from loading.
 */
static int refuse_unsupported(struct resolver *resolver, const struct statement_vector *statements)
{
	int result = 0;

	for (size_t i = 0; i < statements->n; i++) {
		const struct tree_statement *statement = statements->items[i];

		switch (statement->kind) {
		case TREE_ASSERT:
			diagnose(resolver->diagnostics, DIAGNOSTIC_WARNING, statement->position,
				 "not-proved", NULL, "`assert` is not proved yet");
			break;
		default:
			break;
		}
	}
	return result;
}

/* Rules of NAT with their ids, which are unlike those of all other rules; they stand at `with_ids`. */
static int keep_nat(struct resolver *resolver, struct ruleset *ruleset,
		    const struct nat_rule_vector *nat, const struct rule *with_ids)
{
	if (!nat->n)
		return 0;
	ruleset->nat = (void *)arena_copy(resolver->arena, nat->items,
					  nat->n * sizeof(*nat->items));
	if (!ruleset->nat)
		return -ENOMEM;
	ruleset->nat_n = (uint32_t)nat->n;
	for (uint32_t i = 0; i < ruleset->nat_n; i++)
		ruleset->nat[i].rule.id = with_ids[i].id;
	return 0;
}

/* What else a policy has rules for. */
struct others {
	struct nat_rule_vector nat;
	struct rule_vector early;
};

static void append(struct rule *rules, uint32_t *n, const struct rule_vector *more)
{
	if (more->n)
		memcpy(rules + *n, more->items, more->n * sizeof(*rules));
	*n += (uint32_t)more->n;
}

/* The list in judging order, into the ruleset. */
static int assemble(struct resolver *resolver, struct ruleset *ruleset,
		    const struct rule_vector *file, const struct rule_vector *defaults,
		    const struct others *others)
{
	struct rule_vector first = { 0 }, last = { 0 };
	const struct nat_rule_vector *nat = &others->nat;
	uint32_t n = 0;
	int err = builtin_rules(resolver->arena, &ruleset->options, ruleset->zone_n, &first);

	if (!err)
		err = builtin_defaults(resolver->arena, ruleset->zone_n, &last);
	if (!err) {
		ruleset->rules = arena_array(resolver->arena,
					     first.n + file->n + defaults->n + last.n + nat->n +
						     others->early.n,
					     sizeof(*ruleset->rules));
		err = ruleset->rules ? 0 : -ENOMEM;
	}
	if (!err) {
		append(ruleset->rules, &n, &first);
		append(ruleset->rules, &n, file);
		append(ruleset->rules, &n, defaults);
		append(ruleset->rules, &n, &last);
		ruleset->rule_n = n;
		/* Behind the end, so that ids are given to all at once. */
		for (size_t i = 0; i < nat->n; i++)
			ruleset->rules[n++] = nat->items[i].rule;
		ruleset->early = ruleset->rules + n; /* these stay there */
		ruleset->early_n = (uint32_t)others->early.n;
		append(ruleset->rules, &n, &others->early);
		for (size_t i = 0; i < others->early.n; i++)
			ruleset->protects |= others->early.items[i].action == ACTION_PROTECT;
		err = resolve_ids(resolver, ruleset->rules, n);
	}
	if (!err)
		err = keep_nat(resolver, ruleset, nat, ruleset->rules + ruleset->rule_n);
	rule_vector_free(&first);
	rule_vector_free(&last);
	return err;
}

static int resolve_statements(struct resolver *resolver, const struct statement_vector *statements,
			      struct ruleset *ruleset)
{
	struct rule_vector rules = { 0 }, defaults = { 0 };
	struct others others = { 0 };
	int result = refuse_unsupported(resolver, statements);
	int err = resolve_options(resolver, statements, &ruleset->options);

	result = err ? err : result;
	err = resolve_zones(resolver, statements, ruleset);
	if (err != -ENOMEM) {
		result = err ? err : result;
		err = resolve_hygiene(resolver, statements, ruleset->zones);
	}
	if (err != -ENOMEM) {
		result = err ? err : result;
		err = resolve_service_definitions(resolver, statements);
	}
	if (err != -ENOMEM) {
		result = err ? err : result;
		err = resolve_sets(resolver, statements);
	}
	ruleset->sets = resolver->scope->dynamic;
	ruleset->set_n = resolver->scope->dynamic_n;
	if (err != -ENOMEM) {
		result = err ? err : result;
		err = resolve_rules(resolver, statements, &rules, &defaults);
	}
	if (err != -ENOMEM) {
		result = err ? err : result;
		err = resolve_nat(resolver, statements, &others.nat);
	}
	if (err != -ENOMEM) {
		result = err ? err : result;
		err = resolve_early(resolver, statements, &others.early, &ruleset->early_zones);
	}
	if (err != -ENOMEM) {
		result = err ? err : result;
		err = resolve_intercept(resolver, statements, &others.nat);
	}
	if (err != -ENOMEM) {
		result = err ? err : result;
		err = resolve_protect_check(resolver, others.early.items, (uint32_t)others.early.n,
					    others.nat.items, (uint32_t)others.nat.n);
	}
	if (err != -ENOMEM) {
		result = err ? err : result;
		err = assemble(resolver, ruleset, &rules, &defaults, &others);
	}
	nat_rule_vector_free(&others.nat);
	rule_vector_free(&others.early);
	rule_vector_free(&rules);
	rule_vector_free(&defaults);
	return err ? err : result;
}

/* Trees are about to go; what has a name stays. */
static void forget_trees(struct scope *scope)
{
	for (uint32_t i = 0; i < scope->set_n; i++)
		scope->sets[i].tree = NULL;
	for (uint32_t i = 0; i < scope->service_n; i++)
		scope->services[i].tree = NULL;
}

int policy_load(const char *name, struct source_set *sources, struct ruleset *ruleset,
		struct diagnostics *diagnostics)
{
	struct ruleset loaded = { .sources = *sources };
	struct statement_vector statements = { 0 };
	struct scope *scope = arena_new(&loaded.arena, struct scope);
	struct resolver resolver;
	unsigned errors = diagnostics->errors;
	int err;

	*sources = (struct source_set){ 0 };
	resolver_init(&resolver, &loaded.arena, &loaded.sources, diagnostics, scope);
	err = scope ? read_policy(&resolver, name, &statements) : -ENOMEM;
	/* What had no errors of its own is looked at all the same: all errors in one run. */
	if (!err || (err == -EINVAL && statements.n))
		err = resolve_statements(&resolver, &statements, &loaded);
	if (!err && diagnostics->errors != errors)
		err = -EINVAL;
	if (!err) {
		forget_trees(scope);
		loaded.scope = scope;
	} else {
		arena_free(&loaded.arena);
		loaded = (struct ruleset){ .sources = loaded.sources };
	}
	statement_vector_free(&statements);
	resolver_free(&resolver);
	*ruleset = loaded;
	return err == -E2BIG ? -ENOMEM : err;
}

/* --- questions ------------------------------------------------------------------------ */

/* The policy's own copy of /etc/services, where it looked into it, rather than that of today. */
static int lend_services(const struct ruleset *ruleset, struct source_set *sources)
{
	uint32_t index;

	for (size_t i = 0; i < ruleset->sources.sources.n; i++) {
		const struct source *source = &ruleset->sources.sources.items[i];

		if (!strcmp(source->name, SERVICES_FILE))
			return source_set_add(sources, SERVICES_FILE, source->text, source->len,
					      &index);
	}
	return 0;
}

/* A scope that may be written to (complements of sets are made when asked for). */
static int borrow_scope(const struct ruleset *ruleset, struct arena *arena, struct scope *scope)
{
	if (!ruleset->scope)
		return 0;
	*scope = *ruleset->scope;
	scope->sets = (void *)arena_copy(arena, scope->sets, scope->set_n * sizeof(*scope->sets));
	return scope->sets ? 0 : -ENOMEM;
}

int resolve_question(const struct ruleset *ruleset, const struct question *question,
		     struct source_set *sources, struct arena *arena,
		     struct diagnostics *diagnostics, struct question_meaning *meaning)
{
	struct scope scope = { 0 };
	struct question_meaning result = { 0 };
	struct resolver resolver;
	int from, to, err;

	resolver_init(&resolver, arena, sources, diagnostics, &scope);
	resolver.zones = ruleset->zones;
	resolver.zone_n = ruleset->zone_n;
	resolver.mark_shift = ruleset->options.mark_shift;
	for (uint32_t i = 0; i < ruleset->nat_n; i++)
		resolver.intercepts |= ruleset->nat[i].kind == NAT_INTERCEPT;
	err = borrow_scope(ruleset, arena, &scope);
	if (!err)
		err = lend_services(ruleset, sources);
	if (!err) {
		from = resolve_zone(&resolver, &question->from, &result.from);
		to = resolve_zone(&resolver, &question->to, &result.to);
		err = resolve_match(&resolver, &question->match, question->position,
				    !to && result.to == ZONE_SELF, &result.clauses);
		if (!err)
			err = from ? from : to;
	}
	resolver_free(&resolver);
	if (!err)
		*meaning = result;
	return err == -E2BIG ? -ENOMEM : err;
}
