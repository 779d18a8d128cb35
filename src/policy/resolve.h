// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The resolver: from trees (what was said) to rules (what it means). Its entry is policy_load in
 * rule.h; this header is what its files share, and how a question of `explain` finds the names of a
 * loaded policy.
 *
 * Functions return 0; -EINVAL after a diagnostic, which never stops the caller from going on with
 * the next statement; or -ENOMEM (-E2BIG of a vector counts as that), which stops everything.
 */
#ifndef REEVE_POLICY_RESOLVE_H
#define REEVE_POLICY_RESOLVE_H

#include "base/text.h"
#include "base/vector.h"
#include "policy/resolve_names.h"
#include "policy/rule.h"
#include "policy/services.h"
#include "policy/tree.h"

#define INCLUDE_DEPTH_MAX 16
#define REFERENCE_DEPTH_MAX 64 /* sets in sets, services in services */
#define SET_ENTRIES_MAX 4000000u
#define INTERFACE_NAME_MAX 15

#define FAMILY_BITS_ALL (FAMILY_BIT_4 | FAMILY_BIT_6)
#define FAMILY_INDEX(family) ((family) == 6)

/* --- names of a policy --------------------------------------------------- */

enum progress { UNRESOLVED, RESOLVING, RESOLVED, FAILED };

/*
 * Addresses of both families, [FAMILY_INDEX]; NULL: none of that family, or all of them where it is
 * among `whole`. Those in `sets` are meant besides; with sets.none, only what is in none of those.
 */
struct address_pair {
	const struct addresses *family[2];
	uint8_t whole; /* enum family_bits */
	struct membership sets;
};

struct named_set {
	const char *name;
	struct position position; /* of its name */
	enum progress progress;
	const struct tree_set *tree; /* NULL once the policy is loaded */
	struct address_pair addresses;
	struct address_pair complement; /* made when first asked for */
	bool has_complement;
};

/* What one transport of a service matches. */
struct carrier {
	int16_t protocol;    /* -1: any */
	uint8_t families;    /* enum family_bits */
	bool syn;	     /* only TCP packets that open a connection */
	struct ranges ports; /* destination ports, or ICMP type << 8 | code; n == 0: any */
};

struct carriers {
	const struct carrier *items; /* by protocol; what one covers whole is not listed again */
	uint32_t n;
};

struct named_service {
	const char *name;
	struct position position;
	enum progress progress;
	const struct tree_service *tree; /* NULL once the policy is loaded */
	struct carriers carriers;
};

struct scope {
	struct named_set *sets;
	uint32_t set_n;
	struct dynamic_set *dynamic; /* those of them that are */
	uint32_t dynamic_n;
	struct name_table set_names;
	struct named_service *services;
	uint32_t service_n;
	struct name_table service_names;
};

/* --- the resolver -------------------------------------------------------- */

VECTOR(statement_vector, const struct tree_statement *);
VECTOR(rule_vector, struct rule);
VECTOR(nat_rule_vector, struct nat_rule);

struct interned {
	uint64_t hash;
	const struct addresses *addresses; /* NULL: free */
};

struct resolver {
	struct arena *arena;  /* results: the ruleset's, or the question's */
	struct arena scratch; /* trees and texts that die with the resolver */
	struct source_set *sources;
	struct diagnostics *diagnostics;
	struct scope *scope;
	const struct zone *zones;
	uint32_t zone_n;
	uint8_t mark_shift;
	bool intercepts; /* the policy has `intercept` statements */
	struct services services;
	const char *chain[REFERENCE_DEPTH_MAX + 1]; /* names being resolved, to show a loop */
	uint32_t chain_n;
	struct interned *interned; /* open hash table in the scratch arena */
	size_t interned_n, interned_room;
	uint32_t negation_notes;
	struct broken_vector broken; /* definitions that had errors */
	bool incomplete;	     /* a file could not be read: any name may be missing */
	struct text text; /* for canonical texts, emptied before each */
};

void resolver_free(struct resolver *resolver);

/* Reports an error and returns -EINVAL. */
int resolve_error(struct resolver *resolver, struct position position, const char *code,
		  const char *hint, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/* Is an unknown name no error of its own, because its definition had one? */
bool resolve_excused(const struct resolver *resolver, enum tree_statement_kind kind,
		     const char *name);
/* "host.reeve:12"; "" once so many errors came that nobody reads it. In the scratch arena. */
const char *resolve_place(struct resolver *resolver, struct position position);
/* "did you mean `http`?"; NULL for NULL. In the scratch arena. */
const char *resolve_suggestion(struct resolver *resolver, const char *nearest);
/* False once so many errors came that looking for the nearest name is wasted. */
bool resolve_may_suggest(const struct resolver *resolver);
/* A copy in the results; NULL stays NULL. -ENOMEM through the return value. */
int resolve_copy(struct resolver *resolver, const char *string, const char **copy);

/* --- resolve_zones.c ------------------------------------------------------ */

/* The zones among the statements, with self and other before them, into the ruleset. */
int resolve_zones(struct resolver *resolver, const struct statement_vector *statements,
		  struct ruleset *ruleset);
/* The zones of one side of a pair as bits; `any` is every zone but self. */
int resolve_side(struct resolver *resolver, const struct tree_words *words, uint64_t *zones);
/* The number of one zone; `any` is refused. */
int resolve_zone(struct resolver *resolver, const struct tree_word *word, uint32_t *zone);

/* --- resolve_hygiene.c ---------------------------------------------------- */

/* What the zones ask for with antispoof, clamp-mss, scrub, into the zones. */
int resolve_hygiene(struct resolver *resolver, const struct statement_vector *statements,
		    struct zone *zones);

/* --- resolve_options.c ---------------------------------------------------- */

/* What holds where the policy says nothing. */
extern const struct policy_options policy_options_default;
/* The `options` blocks among the statements, over the defaults. */
int resolve_options(struct resolver *resolver, const struct statement_vector *statements,
		    struct policy_options *options);

/* --- resolve_sets.c ------------------------------------------------------- */

/* Declares the sets among the statements, then resolves each of them. */
int resolve_sets(struct resolver *resolver, const struct statement_vector *statements);
/* The number of the dynamic set that `add … to @NAME` names. */
int resolve_dynamic_set(struct resolver *resolver, const struct tree_word *name, uint32_t *number);
/*
 * Addresses as a rule names them. With `!`, the complement within the families that are named. Both
 * families may come back empty.
 */
int resolve_addresses(struct resolver *resolver, const struct tree_addresses *tree,
		      struct address_pair *addresses);

/* --- resolve_services.c --------------------------------------------------- */

/* Declares the services among the statements, then resolves each of them. */
int resolve_service_definitions(struct resolver *resolver,
				const struct statement_vector *statements);
int resolve_service(struct resolver *resolver, const struct tree_service *tree,
		    struct carriers *carriers);
/*
 * Source ports for one protocol. -ENOENT, without a diagnostic, when what is named has none for it.
 */
int resolve_ports(struct resolver *resolver, const struct tree_service *tree, uint8_t protocol,
		  struct ranges *ports);

/* --- resolve_match.c ------------------------------------------------------ */

struct clauses {
	const struct clause *items; /* none: a set is empty, nothing matches */
	uint32_t n;
};

/*
 * `position` is of the whole rule or question. `to_self`: the pair is `X -> self` (`mac` needs
 * that).
 */
int resolve_match(struct resolver *resolver, const struct tree_match *match,
		  struct position position, bool to_self, struct clauses *clauses);

/* --- resolve_rules.c ------------------------------------------------------ */

/* A pair of zones as a rule needs it. */
struct zone_pair {
	uint64_t from, to;
	const char *text;
};

int resolve_pair(struct resolver *resolver, const struct tree_pair *tree, struct zone_pair *pair);
/*
 * A rule without an id that is not written; `arrives` as resolve_match's to_self. What it may say
 * where it stands is the caller's business.
 */
int resolve_rule(struct resolver *resolver, const struct tree_rule *tree,
		 const struct zone_pair *pair, bool arrives, struct rule *rule);
/* resolver.text, empty; and what it holds, kept in the results. */
struct text *resolve_fresh_text(struct resolver *resolver);
int resolve_keep_text(struct resolver *resolver, const char **kept);
/* Rules and defaults of the policies among the statements, without ids where none is written. */
int resolve_rules(struct resolver *resolver, const struct statement_vector *statements,
		  struct rule_vector *rules, struct rule_vector *defaults);
/* Gives every rule its id. Two written ones that are equal are an error. */
int resolve_ids(struct resolver *resolver, struct rule *rules, uint32_t n);

/* --- resolve_nat.c, resolve_nat_check.c ------------------------------------- */

#define NAT_RULES_MAX 8192
#define NAT_TARGETS_MAX 1024 /* of one rule */

/* The rules of the `nat` blocks among the statements, without ids. */
int resolve_nat(struct resolver *resolver, const struct statement_vector *statements,
		struct nat_rule_vector *rules);
/* What rules of NAT do to each other: forwards that overlap, or whose target is forwarded again. */
int resolve_nat_check(struct resolver *resolver, const struct nat_rule *rules, uint32_t n);
/* Does a rule of `early` protect what a rule of NAT forwards elsewhere? That is an error. */
int resolve_protect_check(struct resolver *resolver, const struct rule *early, uint32_t early_n,
			  const struct nat_rule *rules, uint32_t n);

/* An `intercept` statement that is never reached is an error. */
int resolve_intercept_check(struct resolver *resolver, const struct nat_rule *rules, uint32_t n);

/* --- resolve_early.c ---------------------------------------------------------- */

#define EARLY_RULES_MAX 8192

/* The rules of the `early` blocks among the statements, without ids, and the zones they speak of. */
int resolve_early(struct resolver *resolver, const struct statement_vector *statements,
		  struct rule_vector *rules, uint64_t *zones);

/* --- resolve_intercept.c ----------------------------------------------------- */

/* The rules of the `intercept` statements among the statements, without ids, behind those of NAT. */
int resolve_intercept(struct resolver *resolver, const struct statement_vector *statements,
		      struct nat_rule_vector *rules);

/* --- bits of the mark ---------------------------------------------------- */

/* Those that are reeve's own, which no rule may ask for or set. */
uint32_t resolve_own_marks(const struct resolver *resolver);
/* Reports that `asked` has some of them: "bits 30 and 31 of the mark are reeve's own" and `more`. */
int resolve_own_marks_error(struct resolver *resolver, struct position position, uint32_t asked,
			    const char *more);

/* --- questions ------------------------------------------------------------ */

struct question_meaning {
	uint32_t from, to; /* zones */
	struct clauses clauses; /* each a way to read the question */
};

/*
 * What a question means in the names of a loaded policy. Services that neither the policy nor reeve
 * knows are looked up in *sources (or /etc/services). Results live in `arena`.
 */
int resolve_question(const struct ruleset *ruleset, const struct question *question,
		     struct source_set *sources, struct arena *arena,
		     struct diagnostics *diagnostics, struct question_meaning *meaning);

#endif
