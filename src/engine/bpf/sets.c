// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changing what dynamic sets hold.
 *
 * A set is found without its policy: names are hashed to tags, and the directory of sets tells the
 * place. The table at a place is exchanged by a replace, and by an apply that gives the set another
 * size; its descriptor is kept as long as its id stays, so that adding one address is a lookup and
 * an update.
 *
 * The lengths of prefixes that a set has are noted before such a prefix comes, and forgotten after
 * the last one of it has gone: a packet that looks for one too many only loses time. Programs add
 * single addresses only, so under the lock the lengths are ours.
 */
#include "engine/bpf/sets.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/cleanup.h"
#include "engine/bpf/open.h"
#include "engine/bpf/problem.h"
#include "engine/bpf/set_places.h"
#include "engine/bpf/set_table.h"
#include "engine/bpf/slots.h"

#define NANOSECONDS 1000000000ull
#define CHUNK 4096u

/* One that is being changed. */
struct open_set {
	const char *name;
	uint32_t place;
	struct set_head *head;
	int fd; /* the engine's */
};

/* --- finding ------------------------------------------------------------------------ */

static int not_running(struct problem *problem)
{
	problem_set(problem, -ENOENT, "reeve was taken down");
	problem_hint(problem, "reeve apply FILE");
	return -ENOENT;
}

/* The table at the place now, from before if it is still the same. */
static int table_of(struct engine *engine, uint32_t place)
{
	uint32_t id;

	if (bpf_map_lookup_elem(engine->loaded.maps[MAP_SETS], &place, &id))
		return -errno;
	if (engine->set_fds[place] >= 0 && engine->set_ids[place] == id)
		return engine->set_fds[place];
	cleanup_fd_(&engine->set_fds[place]);
	engine->set_fds[place] = bpf_map_get_fd_by_id(id);
	engine->set_ids[place] = id;
	if (engine->set_fds[place] >= 0)
		return engine->set_fds[place];
	engine->set_fds[place] = -1;
	return -errno;
}

static int set_find(struct engine *engine, const char *name, struct open_set *set,
		    struct problem *problem)
{
	uint32_t place = set_places_find(&engine->loaded, dynamic_set_name_tag(name));

	if (!place) {
		problem_set(problem, -ESRCH, "the running policy has no dynamic set `%s`", name);
		problem_hint(problem, "`reeve set list` names those that it has");
		return -ESRCH;
	}
	*set = (struct open_set){ .name = name,
				  .place = place,
				  .head = &engine->loaded.sets->heads[place],
				  .fd = table_of(engine, place) };
	if (set->fd < 0)
		return problem_set(problem, set->fd, "cannot open the dynamic set `%s`: ", name);
	return 0;
}

/*
 * The lock of changes, kept open from one change to the next: a `down` removes the file, and says
 * in the maps that they are not in use any more.
 */
static int changes_lock(struct engine *engine, struct problem *problem)
{
	int err = 0;

	if (engine->lock < 0) {
		err = pins_lock(&engine->pins, problem);
		engine->lock = engine->pins.lock;
		engine->pins.lock = -1;
	} else if (flock(engine->lock, LOCK_EX)) {
		err = problem_set(problem, -errno, "cannot lock the dynamic sets: ");
	}
	if (!err && !slots_running(&engine->loaded))
		err = -ENOENT;
	if (err) {
		cleanup_fd_(&engine->lock);
		engine->lock = -1;
	}
	return err == -ENOENT ? not_running(problem) : err;
}

static void changes_unlock(struct engine *engine)
{
	flock(engine->lock, LOCK_UN);
}

/* Finds a set to be changed; until changes_unlock() nobody else changes any. */
static int set_open(struct engine *engine, const char *name, struct open_set *set,
		    struct problem *problem)
{
	int err = changes_lock(engine, problem);

	if (err)
		return err;
	err = set_find(engine, name, set, problem);
	if (err)
		changes_unlock(engine);
	return err;
}

bool engine_set_runs(const struct engine *engine, const char *name)
{
	return set_places_find(&engine->loaded, dynamic_set_name_tag(name)) != 0;
}

/* --- lengths of prefixes --------------------------------------------------------------- */

static void lengths_note(struct set_lengths *lengths, uint32_t family, uint32_t prefix)
{
	if (prefix != (family == 4 ? 32 : 128))
		lengths->bits[SET_LENGTHS_WORD(family, prefix)] |= SET_LENGTHS_BIT(prefix);
}

/* Words singly: programs read them. */
static void lengths_store(struct set_head *head, const struct set_lengths *lengths)
{
	for (size_t i = 0; i < sizeof(lengths->bits) / sizeof(lengths->bits[0]); i++)
		__atomic_store_n(&head->lengths.bits[i], lengths->bits[i], __ATOMIC_RELEASE);
}

static void lengths_add(struct set_head *head, const struct set_lengths *more)
{
	struct set_lengths all = head->lengths;

	for (size_t i = 0; i < sizeof(all.bits) / sizeof(all.bits[0]); i++)
		all.bits[i] |= more->bits[i];
	lengths_store(head, &all);
}

static struct set_lengths lengths_of(const struct set_entry *entries, size_t n)
{
	struct set_lengths lengths = { 0 };

	for (size_t i = 0; i < n; i++)
		lengths_note(&lengths, entries[i].family, entries[i].prefix);
	return lengths;
}

/* --- entries ------------------------------------------------------------------------------ */

struct chunk {
	struct set_key keys[CHUNK];
	uint64_t expires[CHUNK];
};

static void key_of(const struct set_entry *entry, struct set_key *key)
{
	set_key_make(key, entry->address, entry->family, entry->prefix);
}

static uint64_t expiry_of(const struct set_entry *entry, const struct set_head *head, uint64_t now)
{
	if (entry->timeout == ENTRY_FOREVER)
		return SET_NEVER;
	if (entry->timeout == ENTRY_AS_SET)
		return head->timeout ? now + head->timeout : SET_NEVER;
	return now + entry->timeout * NANOSECONDS;
}

/* Puts entries into a table; -E2BIG when it is full. *done are in it. */
static int put_entries(int fd, const struct set_head *head, const struct set_entry *entries,
		       size_t n, struct chunk *chunk, size_t *done)
{
	uint64_t now = set_now();
	int err = 0;

	*done = 0;
	while (!err && *done < n) {
		size_t some = n - *done < CHUNK ? n - *done : CHUNK, put;

		for (size_t i = 0; i < some; i++) {
			key_of(&entries[*done + i], &chunk->keys[i]);
			chunk->expires[i] = expiry_of(&entries[*done + i], head, now);
		}
		err = set_table_put(fd, chunk->keys, chunk->expires, some, false, &put);
		*done += put;
	}
	return err;
}

static int set_failed(const struct open_set *set, int err, struct problem *problem)
{
	return problem_set(problem, err, "cannot change the dynamic set `%s`: ", set->name);
}

static int set_full(const struct open_set *set, uint64_t holds, struct problem *problem)
{
	problem_set(problem, -ENOSPC, "dynamic set `%s` is full: it holds %lu of at most %u",
		    set->name, holds, set->head->max);
	problem_hint(problem, "`set %s = dynamic { max N }` in the policy gives it more room",
		     set->name);
	return -ENOSPC;
}

/* The common case by itself: one address, and no memory for many. */
static int add_one(const struct open_set *set, const struct set_entry *entry)
{
	uint64_t expires = expiry_of(entry, set->head, set_now());
	struct set_key key;
	size_t done;

	key_of(entry, &key);
	return set_table_put(set->fd, &key, &expires, 1, false, &done);
}

static int add_entries(const struct open_set *set, const struct set_entry *entries, size_t n,
		       size_t *added)
{
	cleanup_free struct chunk *chunk = NULL;
	int err;

	if (n == 1) {
		err = add_one(set, entries);
		*added = !err;
		return err;
	}
	chunk = malloc(sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	return put_entries(set->fd, set->head, entries, n, chunk, added);
}

/* Something of it may expire sooner than the programs think. */
static void times_changed(const struct open_set *set)
{
	__atomic_store_n(&set->head->quiet_until, 0, __ATOMIC_RELAXED);
}

int engine_set_add(struct engine *engine, const char *name, const struct set_entry *entries,
		   size_t n, size_t *added, struct problem *problem)
{
	struct set_lengths lengths = lengths_of(entries, n);
	uint64_t live = 0, removed = 0;
	struct open_set set;
	size_t more = 0;
	int err;

	*added = 0;
	err = set_open(engine, name, &set, problem);
	if (err)
		return err;
	lengths_add(set.head, &lengths);
	err = add_entries(&set, entries, n, added);
	if (err == -E2BIG) {
		err = set_table_sweep(set.fd, &live, &removed);
		if (!err)
			err = removed ? add_entries(&set, entries + *added, n - *added, &more) :
					-E2BIG;
		*added += more;
	}
	if (err == -E2BIG)
		err = set_full(&set, live + more, problem);
	else if (err)
		set_failed(&set, err, problem);
	times_changed(&set);
	changes_unlock(engine);
	return err;
}

int engine_set_delete(struct engine *engine, const char *name, const struct set_entry *entries,
		      size_t n, size_t *removed, struct problem *problem)
{
	uint64_t now = set_now(), expires;
	struct open_set set;
	int err;

	*removed = 0;
	err = set_open(engine, name, &set, problem);
	if (err)
		return err;
	for (size_t i = 0; !err && i < n; i++) {
		struct set_key key;
		bool live;

		key_of(&entries[i], &key);
		live = !bpf_map_lookup_elem(set.fd, &key, &expires) && !set_expired(expires, now);
		if (!bpf_map_delete_elem(set.fd, &key))
			*removed += live;
		else if (errno != ENOENT)
			err = set_failed(&set, -errno, problem);
	}
	changes_unlock(engine);
	return err;
}

int engine_set_replace(struct engine *engine, const char *name, const struct set_entry *entries,
		       size_t n, struct problem *problem)
{
	struct set_lengths lengths = lengths_of(entries, n);
	cleanup_free struct chunk *chunk = malloc(sizeof(*chunk));
	cleanup_fd int table = -1;
	struct open_set set;
	size_t done = 0;
	int err;

	if (!chunk)
		return problem_set(problem, -ENOMEM, "out of memory");
	err = set_open(engine, name, &set, problem);
	if (err)
		return err;
	table = set_table_new(set.head->max);
	err = table < 0 ? table : put_entries(table, set.head, entries, n, chunk, &done);
	if (err == -E2BIG) {
		problem_set(problem, -ENOSPC,
			    "these are too many for the dynamic set `%s`: it has room for %u",
			    name, set.head->max);
		problem_hint(problem,
			     "nothing was changed; `set %s = dynamic { max N }` in the policy "
			     "gives it more room",
			     name);
		changes_unlock(engine);
		return -ENOSPC;
	}
	if (!err) {
		lengths_add(set.head, &lengths);
		err = set_places_exchange(&engine->loaded, set.place, table);
	}
	if (!err)
		lengths_store(set.head, &lengths);
	else
		set_failed(&set, err, problem);
	times_changed(&set);
	changes_unlock(engine);
	return err;
}

/* --- looking --------------------------------------------------------------------------- */

struct walk {
	set_entry_visitor *visit;
	void *context;
	struct set_lengths lengths;
	uint64_t now, live;
};

static int walk_one(void *context, const struct set_key *key, uint64_t expires)
{
	struct walk *walk = context;

	if (set_expired(expires, walk->now))
		return 0;
	walk->live++;
	lengths_note(&walk->lengths, SET_KEY_FAMILY(key), SET_KEY_PREFIX(key));
	return walk->visit ? walk->visit(walk->context, (uint8_t)SET_KEY_FAMILY(key),
					 (uint8_t)SET_KEY_PREFIX(key), key->address, expires) :
			     0;
}

/* Sweeps, then goes through what is left; what it does not meet is not looked for any more. */
static int walk_set(const struct open_set *set, struct walk *walk, uint64_t *removed)
{
	uint64_t live;
	int err = set_table_sweep(set->fd, &live, removed);

	walk->now = set_now();
	if (!err)
		err = set_table_each(set->fd, walk_one, walk);
	if (!err)
		lengths_store(set->head, &walk->lengths);
	return err;
}

int engine_set_each(struct engine *engine, const char *name, set_entry_visitor *visit,
		    void *context, struct problem *problem)
{
	struct walk walk = { .visit = visit, .context = context };
	struct open_set set;
	uint64_t removed;
	int err = set_open(engine, name, &set, problem);

	if (err)
		return err;
	err = walk_set(&set, &walk, &removed);
	changes_unlock(engine);
	if (err < 0)
		problem_set(problem, err, "cannot read the dynamic set `%s`: ", name);
	return err < 0 ? err : 0;
}

/* Kernel memory of a map, as its fdinfo tells. */
static uint64_t table_memory(int fd)
{
	cleanup_file FILE *file = NULL;
	char path[48], line[128];
	uint64_t bytes = 0;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "memlock: %lu", &bytes) == 1)
			break;
	return bytes;
}

int engine_set_figures(struct engine *engine, const char *name, struct set_figures *figures,
		       struct problem *problem)
{
	struct walk walk = { 0 };
	struct open_set set;
	uint64_t removed;
	int err = set_open(engine, name, &set, problem);

	if (err)
		return err;
	err = walk_set(&set, &walk, &removed);
	if (!err)
		*figures = (struct set_figures){
			.entries = walk.live,
			.max = set.head->max,
			.timeout = (uint32_t)(set.head->timeout / NANOSECONDS),
			.refused = set.head->refused,
			.bytes = table_memory(set.fd),
		};
	else
		problem_set(problem, err, "cannot read the dynamic set `%s`: ", name);
	changes_unlock(engine);
	return err;
}

int engine_sets_sweep(struct engine *engine, uint64_t *removed, struct problem *problem)
{
	const uint8_t *places;
	int err = changes_lock(engine, problem);

	*removed = 0;
	if (err)
		return err;
	places = engine->loaded.sets->places[engine->loaded.control->active & 1];
	for (uint32_t i = 0; !err && i < IMAGE_SETS_MAX; i++) {
		uint64_t live, gone = 0;
		int fd;

		if (!places[i])
			continue;
		fd = table_of(engine, places[i]);
		err = fd < 0 ? fd : set_table_sweep(fd, &live, &gone);
		*removed += gone;
	}
	changes_unlock(engine);
	return err ? problem_set(problem, err, "cannot change the dynamic sets: ") : 0;
}

static bool table_has(int fd, const struct set_key *key, uint64_t now)
{
	uint64_t expires;

	return !bpf_map_lookup_elem(fd, key, &expires) && !set_expired(expires, now);
}

bool engine_set_holds(void *context, const struct dynamic_set *set, uint32_t family,
		      const uint32_t address[4])
{
	struct engine *engine = context;
	uint32_t place = set_places_find(&engine->loaded, dynamic_set_name_tag(set->name));
	uint32_t prefix = family == 4 ? 32 : 128;
	uint64_t now = set_now();
	int fd = place ? table_of(engine, place) : -1;
	struct set_key key;

	if (fd < 0)
		return false;
	set_key_make(&key, address, family, prefix);
	if (table_has(fd, &key, now))
		return true;
	while (prefix--) {
		const struct set_lengths *lengths = &engine->loaded.sets->heads[place].lengths;

		if (!(lengths->bits[SET_LENGTHS_WORD(family, prefix)] & SET_LENGTHS_BIT(prefix)))
			continue;
		set_key_make(&key, address, family, prefix);
		if (table_has(fd, &key, now))
			return true;
	}
	return false;
}
