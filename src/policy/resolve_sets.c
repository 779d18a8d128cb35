// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sets of addresses, and addresses as rules name them.
 *
 * A set is resolved once, when it is declared or when another set or rule first asks for it: its
 * entries are gathered as ranges per family, sorted and merged. What results is interned: two rules
 * that name the same addresses hold the same pointer, so that the compiler builds one tree for
 * them. A set keeps its own results, and its complement once somebody said `!@set`, so that a large
 * one costs its size once and not once a rule.
 *
 * Sets refer to sets by name. A set that is being resolved and is asked for again contains itself;
 * the names on the way are kept in resolver.chain to show the loop.
 *
 * A set that failed stays silent afterwards: rules that name it fail with it, with no message of
 * their own.
 *
 * What a dynamic set holds is not known here. It goes as a bit through the sets that name it,
 * beside the ranges, and a clause asks for it.
 */
#include "policy/resolve.h"

#include <string.h>
#include <xxhash.h>

#include "policy/parser.h"
#include "policy/resolve_ranges.h"

#define NEGATION_NOTES_MAX 10
#define INTERNED_FIRST 256

/* Entries being gathered, by family; dynamic sets by their bits. */
struct gathering {
	struct address_vector family[2];
	uint64_t sets;
};

static void gathering_free(struct gathering *gathering)
{
	address_vector_free(&gathering->family[0]);
	address_vector_free(&gathering->family[1]);
}

static int push(struct gathering *gathering, unsigned family, const uint32_t lo[4],
		const uint32_t hi[4])
{
	struct address_range range;

	memcpy(range.lo, lo, sizeof(range.lo));
	memcpy(range.hi, hi, sizeof(range.hi));
	return address_vector_push(&gathering->family[FAMILY_INDEX(family)], range) ? -ENOMEM : 0;
}

static size_t gathered(const struct gathering *gathering)
{
	return gathering->family[0].n + gathering->family[1].n;
}

/* --- interning ------------------------------------------------------------ */

static bool same_addresses(const struct addresses *a, const struct addresses *b)
{
	return a->n == b->n && a->family == b->family && a->negated == b->negated &&
	       (a->name == b->name || (a->name && b->name && !strcmp(a->name, b->name))) &&
	       !memcmp(a->items, b->items, a->n * sizeof(*a->items));
}

static struct interned *interned_slot(struct interned *slots, size_t room, uint64_t hash,
				      const struct addresses *addresses)
{
	size_t i = hash & (room - 1);

	while (slots[i].addresses &&
	       (slots[i].hash != hash || !same_addresses(slots[i].addresses, addresses)))
		i = (i + 1) & (room - 1);
	return &slots[i];
}

static int interned_grow(struct resolver *resolver)
{
	size_t room = resolver->interned_room ? resolver->interned_room * 2 : INTERNED_FIRST;
	struct interned *slots = arena_array(&resolver->scratch, room, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < resolver->interned_room; i++) {
		const struct interned *old = &resolver->interned[i];

		if (old->addresses)
			*interned_slot(slots, room, old->hash, old->addresses) = *old;
	}
	resolver->interned = slots;
	resolver->interned_room = room;
	return 0;
}

/* The one copy of `key`, whose items and name are copied if they are new. */
static int intern(struct resolver *resolver, const struct addresses *key,
		  const struct addresses **addresses)
{
	size_t size = key->n * sizeof(*key->items);
	uint64_t hash = XXH3_64bits_withSeed(key->items, size, key->family);
	struct interned *slot;
	struct addresses *copy;

	if (resolver->interned_n * 2 >= resolver->interned_room && interned_grow(resolver))
		return -ENOMEM;
	slot = interned_slot(resolver->interned, resolver->interned_room, hash, key);
	if (!slot->addresses) {
		copy = arena_new(resolver->arena, struct addresses);
		if (!copy)
			return -ENOMEM;
		*copy = *key;
		copy->items = (const void *)arena_copy(resolver->arena, key->items, size);
		if (!copy->items)
			return -ENOMEM;
		*slot = (struct interned){ .hash = hash, .addresses = copy };
		resolver->interned_n++;
	}
	*addresses = slot->addresses;
	return 0;
}

/* Gathered entries, sorted and merged, as interned addresses. */
static int conclude(struct resolver *resolver, struct gathering *gathering, const char *name,
		    struct address_pair *pair)
{
	struct address_pair result = { .sets.sets = gathering->sets };

	for (unsigned i = 0; i < 2; i++) {
		struct address_vector *ranges = &gathering->family[i];
		struct addresses key = { .family = i ? 6 : 4, .name = name };

		if (!ranges->n)
			continue;
		address_vector_normalise(ranges, key.family);
		key.items = ranges->items;
		key.n = (uint32_t)ranges->n;
		if (intern(resolver, &key, &result.family[i]))
			return -ENOMEM;
	}
	*pair = result;
	return 0;
}

/* What is left of the families that are named at all; a dynamic set names both. */
static int complement(struct resolver *resolver, const struct address_pair *of, const char *name,
		      struct address_pair *pair)
{
	struct address_pair result = { .sets = { of->sets.sets, of->sets.sets != 0 } };

	for (unsigned i = 0; i < 2; i++) {
		struct address_vector rest = { 0 };
		struct addresses key = { .family = i ? 6 : 4, .negated = true, .name = name };
		int err = 0;

		if (!of->family[i]) {
			if (of->sets.sets)
				result.whole |= i ? FAMILY_BIT_6 : FAMILY_BIT_4;
			continue;
		}
		if (address_complement(of->family[i]->items, of->family[i]->n, key.family, &rest))
			err = -ENOMEM;
		key.items = rest.items;
		key.n = (uint32_t)rest.n;
		if (!err && rest.n)
			err = intern(resolver, &key, &result.family[i]);
		address_vector_free(&rest);
		if (err)
			return err;
	}
	*pair = result;
	return 0;
}

/* --- sets ------------------------------------------------------------------ */

static int set_resolve(struct resolver *resolver, struct named_set *set);

static int unknown_set(struct resolver *resolver, const struct tree_address *address)
{
	const struct scope *scope = resolver->scope;
	const char *near = NULL, *hint = NULL;

	if (resolve_may_suggest(resolver) && scope->set_n) {
		const char **names = arena_array(&resolver->scratch, scope->set_n, sizeof(*names));

		if (!names)
			return -ENOMEM;
		for (uint32_t i = 0; i < scope->set_n; i++)
			names[i] = scope->sets[i].name;
		near = nearest_word(address->set, names, scope->set_n);
	}
	if (resolve_excused(resolver, TREE_SET, address->set))
		return -EINVAL;
	if (near)
		hint = arena_printf(&resolver->scratch, "did you mean `@%s`?", near);
	return resolve_error(resolver, address->position, "unknown-set", hint, "unknown set `@%s`",
			     address->set);
}

static int set_loop(struct resolver *resolver, const struct named_set *set,
		    struct position position)
{
	struct text chain = TEXT_INIT(1 << 16);
	int err;

	for (uint32_t i = 0; i < resolver->chain_n; i++)
		text_printf(&chain, "%s -> ", resolver->chain[i]);
	err = resolve_error(resolver, position, "set-loop", NULL, "set `%s` contains itself: %s%s",
			    set->name, text_string(&chain), set->name);
	text_free(&chain);
	return err;
}

/* The set that is named, resolved. */
static int reference(struct resolver *resolver, const struct tree_address *address,
		     struct named_set **set)
{
	struct named_set *found;
	uint32_t index;
	int err;

	if (!name_table_get(&resolver->scope->set_names, address->set, &index))
		return unknown_set(resolver, address);
	found = &resolver->scope->sets[index];
	if (found->progress == RESOLVING)
		return set_loop(resolver, found, address->position);
	if (found->progress == UNRESOLVED && resolver->chain_n == REFERENCE_DEPTH_MAX)
		return resolve_error(resolver, address->position, "set-depth", NULL,
				     "sets within sets go deeper than %d", REFERENCE_DEPTH_MAX);
	err = set_resolve(resolver, found);
	if (!err)
		*set = found;
	return err;
}

static int gather_set(struct resolver *resolver, const struct tree_address *address,
		      struct gathering *gathering)
{
	struct named_set *set;
	int err = reference(resolver, address, &set);

	if (!err)
		gathering->sets |= set->addresses.sets.sets;
	for (unsigned i = 0; !err && i < 2; i++) {
		const struct addresses *from = set->addresses.family[i];

		for (uint32_t n = 0; !err && from && n < from->n; n++)
			err = push(gathering, from->family, from->items[n].lo, from->items[n].hi);
	}
	return err;
}

/* All entries of a list, also behind one that is wrong. */
static int gather(struct resolver *resolver, const struct tree_address *items, uint32_t n,
		  struct gathering *gathering)
{
	int result = 0;

	for (uint32_t i = 0; i < n; i++) {
		int err;

		if (items[i].kind == TREE_ADDRESS_SET)
			err = gather_set(resolver, &items[i], gathering);
		else
			err = push(gathering, items[i].family, items[i].lo, items[i].hi);
		if (err == -ENOMEM)
			return err;
		result = result ? result : err;
		if (gathered(gathering) > SET_ENTRIES_MAX)
			return resolve_error(resolver, items[i].position, "set-size", NULL,
					     "more than %u addresses in one set", SET_ENTRIES_MAX);
	}
	return result;
}

static int gather_file(struct resolver *resolver, const struct tree_word *file,
		       struct gathering *gathering)
{
	struct tree_address *items;
	uint32_t source, n;
	int err = source_set_read(resolver->sources, file->text, file->position.source, &source);

	if (err == -ENOMEM)
		return err;
	if (err)
		return resolve_error(resolver, file->position, "unreadable-file", NULL,
				     "cannot read `%s`: %s", file->text, strerror(-err));
	err = set_file_parse(resolver->sources, source, SET_ENTRIES_MAX, resolver->diagnostics,
			     &items, &n);
	if (err)
		return err == -ENOMEM ? err : -EINVAL;
	err = gather(resolver, items, n, gathering);
	free(items);
	return err;
}

/* A dynamic set gets its number. */
static int gather_dynamic(struct resolver *resolver, const struct named_set *set,
			  struct gathering *gathering)
{
	const struct tree_set *tree = set->tree;
	struct scope *scope = resolver->scope;

	if (tree->max > IMAGE_SET_ENTRIES_MAX)
		return resolve_error(resolver, set->position, "set-size", NULL,
				     "a dynamic set holds at most %u addresses",
				     IMAGE_SET_ENTRIES_MAX);
	if (scope->dynamic_n == IMAGE_SETS_MAX)
		return resolve_error(resolver, set->position, "too-many-sets", NULL,
				     "a policy has at most %u dynamic sets", IMAGE_SETS_MAX);
	gathering->sets = UINT64_C(1) << scope->dynamic_n;
	scope->dynamic[scope->dynamic_n++] = (struct dynamic_set){
		.name = set->name,
		.timeout = tree->timeout,
		.max = tree->max ? tree->max : DYNAMIC_SET_MAX_DEFAULT,
		.position = set->position,
	};
	return 0;
}

static int set_resolve(struct resolver *resolver, struct named_set *set)
{
	struct gathering gathering = { 0 };
	int err;

	if (set->progress == RESOLVED)
		return 0;
	if (set->progress == FAILED)
		return -EINVAL;
	set->progress = RESOLVING;
	resolver->chain[resolver->chain_n++] = set->name;
	if (set->tree->kind == TREE_SET_DYNAMIC)
		err = gather_dynamic(resolver, set, &gathering);
	else if (set->tree->kind == TREE_SET_FILE)
		err = gather_file(resolver, &set->tree->file, &gathering);
	else
		err = gather(resolver, set->tree->list.items, set->tree->list.n, &gathering);
	if (!err)
		err = conclude(resolver, &gathering, set->name, &set->addresses);
	gathering_free(&gathering);
	resolver->chain_n--;
	set->progress = err ? FAILED : RESOLVED;
	return err;
}

static int set_declare(struct resolver *resolver, const struct tree_set *tree)
{
	struct scope *scope = resolver->scope;
	struct named_set *set = &scope->sets[scope->set_n];
	uint32_t index;

	if (name_table_get(&scope->set_names, tree->name.text, &index))
		return resolve_error(resolver, tree->name.position, "duplicate-set", NULL,
				     "set `%s` is already defined at %s", tree->name.text,
				     resolve_place(resolver, scope->sets[index].position));
	*set = (struct named_set){ .position = tree->name.position, .tree = tree };
	if (resolve_copy(resolver, tree->name.text, &set->name))
		return -ENOMEM;
	return name_table_put(&scope->set_names, resolver->arena, set->name, scope->set_n++);
}

int resolve_sets(struct resolver *resolver, const struct statement_vector *statements)
{
	struct scope *scope = resolver->scope;
	size_t n = 0;
	int result = 0, err;

	for (size_t i = 0; i < statements->n; i++)
		n += statements->items[i]->kind == TREE_SET;
	scope->sets = arena_array(resolver->arena, n, sizeof(*scope->sets));
	scope->dynamic = arena_array(resolver->arena, n < IMAGE_SETS_MAX ? n : IMAGE_SETS_MAX,
				     sizeof(*scope->dynamic));
	if (!scope->sets || !scope->dynamic)
		return -ENOMEM;
	for (size_t i = 0; i < statements->n; i++) {
		if (statements->items[i]->kind != TREE_SET)
			continue;
		err = set_declare(resolver, &statements->items[i]->set);
		if (err == -ENOMEM)
			return err;
		result = result ? result : err;
	}
	/* First those: their numbers follow the file, whoever names them. */
	for (uint32_t i = 0; i < scope->set_n; i++) {
		if (scope->sets[i].tree->kind != TREE_SET_DYNAMIC)
			continue;
		err = set_resolve(resolver, &scope->sets[i]);
		result = result ? result : err;
	}
	for (uint32_t i = 0; i < scope->set_n; i++) {
		err = set_resolve(resolver, &scope->sets[i]);
		if (err == -ENOMEM)
			return err;
		result = result ? result : err;
	}
	return result;
}

/* --- addresses of rules ---------------------------------------------------- */

/* Is there any family of which something is named? */
static bool names_families(const struct address_pair *addresses)
{
	return addresses->family[0] || addresses->family[1] ||
	       (addresses->sets.sets && !addresses->sets.none);
}

/* Said a few times: a negation that names one family leaves the other one out. */
static void note_negation(struct resolver *resolver, const struct tree_addresses *tree,
			  const struct address_pair *addresses)
{
	bool four = addresses->family[0] != NULL, six = addresses->family[1] != NULL;

	if (addresses->sets.sets || four == six || resolver->negation_notes++ >= NEGATION_NOTES_MAX)
		return;
	diagnose(resolver->diagnostics, DIAGNOSTIC_NOTE, tree->position, "negation-family", NULL,
		 "this is every other %s address; no %s address matches it", four ? "IPv4" : "IPv6",
		 four ? "IPv6" : "IPv4");
}

/* `@set` alone, perhaps negated: what the set itself keeps. */
static int resolve_one_set(struct resolver *resolver, const struct tree_addresses *tree,
			   struct address_pair *addresses)
{
	struct named_set *set;
	int err = reference(resolver, &tree->items[0], &set);

	if (err)
		return err;
	if (tree->negated && !set->has_complement) {
		err = complement(resolver, &set->addresses, set->name, &set->complement);
		if (err)
			return err;
		set->has_complement = true;
		note_negation(resolver, tree, &set->complement);
	}
	*addresses = tree->negated ? set->complement : set->addresses;
	if (tree->negated && !names_families(&set->addresses))
		return resolve_error(resolver, tree->position, "empty-negation",
				     "leave the address out, or put an address into the set",
				     "set `%s` is empty, so `!@%s` speaks of no family at all",
				     set->name, set->name);
	return 0;
}

static int resolve_list(struct resolver *resolver, const struct tree_addresses *tree,
			struct address_pair *addresses)
{
	struct gathering gathering = { 0 };
	struct address_pair named;
	int err = gather(resolver, tree->items, tree->n, &gathering);

	if (!err)
		err = conclude(resolver, &gathering, NULL, &named);
	gathering_free(&gathering);
	if (!err && tree->negated) {
		err = complement(resolver, &named, NULL, &named);
		if (!err)
			note_negation(resolver, tree, &named);
	}
	if (!err)
		*addresses = named;
	return err;
}

int resolve_addresses(struct resolver *resolver, const struct tree_addresses *tree,
		      struct address_pair *addresses)
{
	struct address_pair result;
	int err;

	if (tree->n == 1 && tree->items[0].kind == TREE_ADDRESS_SET)
		err = resolve_one_set(resolver, tree, &result);
	else
		err = resolve_list(resolver, tree, &result);
	if (err)
		return err;
	if (tree->negated && !names_families(&result) && !result.whole)
		return resolve_error(resolver, tree->position, "empty-match", NULL,
				     "everything is named here, so no address is left to match");
	*addresses = result;
	return 0;
}

int resolve_dynamic_set(struct resolver *resolver, const struct tree_word *name, uint32_t *number)
{
	const struct tree_address address = { .set = name->text, .position = name->position };
	struct named_set *set;
	int err = reference(resolver, &address, &set);

	if (err)
		return err;
	for (uint32_t i = 0; i < resolver->scope->dynamic_n; i++) {
		if (strcmp(resolver->scope->dynamic[i].name, set->name) != 0)
			continue;
		*number = i;
		return 0;
	}
	return resolve_error(resolver, name->position, "static-set",
			     "only dynamic sets change while the policy runs: `set NAME = dynamic`",
			     "set `%s` is not dynamic: nothing can be added to it", set->name);
}

bool ruleset_has_static_set(const struct ruleset *ruleset, const char *name)
{
	uint32_t index;

	if (!ruleset->scope || !name_table_get(&ruleset->scope->set_names, name, &index))
		return false;
	for (uint32_t i = 0; i < ruleset->set_n; i++)
		if (!strcmp(ruleset->sets[i].name, name))
			return false;
	return true;
}
