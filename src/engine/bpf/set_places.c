// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/set_places.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/bpf/problem.h"
#include "engine/bpf/set_table.h"

#define NANOSECONDS 1000000000ull

static bool named_in(const struct loaded *loaded, uint32_t slot, uint32_t place)
{
	return memchr(loaded->sets->places[slot & 1], (int)place, IMAGE_SETS_MAX) != NULL;
}

/* By the policy that runs. */
static bool named(const struct loaded *loaded, uint32_t place)
{
	return named_in(loaded, loaded->control->active, place);
}

static void place_free(struct loaded *loaded, uint32_t place)
{
	bpf_map_delete_elem(loaded->maps[MAP_SETS], &place);
	memset(&loaded->sets->heads[place], 0, sizeof(loaded->sets->heads[place]));
}

void set_places_tidy(struct loaded *loaded)
{
	for (uint32_t place = 1; place < SET_PLACES; place++)
		if (loaded->sets->heads[place].max && !named(loaded, place))
			place_free(loaded, place);
}

/* One that neither the running policy has nor the one that comes; what trials have left goes. */
static uint32_t place_let_go(struct loaded *loaded, uint32_t coming)
{
	for (uint32_t place = 1; place < SET_PLACES; place++)
		if (!named(loaded, place) && !named_in(loaded, coming, place)) {
			place_free(loaded, place);
			return place;
		}
	return 0; /* not with two policies' sets, see SET_PLACES */
}

void set_places_share(struct loaded *loaded, uint32_t from, uint32_t to)
{
	memcpy(loaded->sets->places[to], loaded->sets->places[from],
	       sizeof(loaded->sets->places[to]));
}

static uint32_t place_of(const struct loaded *loaded, uint64_t tag)
{
	for (uint32_t place = 1; place < SET_PLACES; place++)
		if (loaded->sets->heads[place].max && loaded->sets->heads[place].tag == tag)
			return place;
	return 0;
}

static uint32_t place_unused(const struct loaded *loaded)
{
	for (uint32_t place = 1; place < SET_PLACES; place++)
		if (!loaded->sets->heads[place].max)
			return place;
	return 0;
}

uint32_t set_places_find(const struct loaded *loaded, uint64_t tag)
{
	uint32_t place = place_of(loaded, tag);

	return place && named(loaded, place) ? place : 0;
}

int set_places_exchange(const struct loaded *loaded, uint32_t place, int table)
{
	return bpf_map_update_elem(loaded->maps[MAP_SETS], &place, &table, BPF_ANY) ? -errno : 0;
}

static int no_room(const struct dynamic_set *set, int err, struct problem *problem)
{
	problem_set(problem, err, "cannot make the dynamic set `%s` (max %u): ", set->name,
		    set->max);
	problem_hint(problem, "a smaller one: `max N`");
	return err;
}

static int place_make(struct loaded *loaded, const struct dynamic_set *set, uint64_t tag,
		      uint32_t slot, uint32_t *place, struct problem *problem)
{
	cleanup_fd int table = set_table_new(set->max);
	uint32_t unused = place_unused(loaded);
	int err = table < 0 ? table : 0;

	if (!unused)
		unused = place_let_go(loaded, slot);
	if (!err)
		err = set_places_exchange(loaded, unused, table);
	if (err)
		return no_room(set, err, problem);
	loaded->sets->heads[unused] = (struct set_head){ .tag = tag, .max = set->max };
	*place = unused;
	return 0;
}

/* Does a set hold more than it is to have room for? */
static int room_check(const struct dynamic_set *set, int table, struct problem *problem)
{
	uint64_t live, removed;
	int err = set_table_sweep(table, &live, &removed);

	if (err || live <= set->max)
		return err;
	problem_set(problem, -EBUSY,
		    "dynamic set `%s` holds %lu entries, and is to have room for %u", set->name,
		    live, set->max);
	problem_hint(problem,
		     "more room; or take some out first: `reeve set del %s …`, `reeve set flush %s`",
		     set->name, set->name);
	return -EBUSY;
}

int set_places_check(const struct loaded *loaded, const struct ruleset *ruleset,
		     struct problem *problem)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < ruleset->set_n; i++) {
		const struct dynamic_set *set = &ruleset->sets[i];
		uint32_t place = set_places_find(loaded, dynamic_set_name_tag(set->name));
		cleanup_fd int table = -1;

		if (!place || loaded->sets->heads[place].max <= set->max)
			continue;
		table = set_table_at(loaded->maps[MAP_SETS], place);
		err = table < 0 ? no_room(set, table, problem) : room_check(set, table, problem);
	}
	return err;
}

/*
 * Another size: what it holds moves into another table. What rules add meanwhile is fetched when
 * they do not see the former one any more.
 */
static int place_resize(struct loaded *loaded, const struct dynamic_set *set, uint32_t place,
			struct problem *problem)
{
	cleanup_fd int former = set_table_at(loaded->maps[MAP_SETS], place);
	cleanup_fd int table = set_table_new(set->max);
	int err = former < 0 ? former : table < 0 ? table : 0;

	if (!err)
		err = room_check(set, former, problem);
	if (err == -EBUSY)
		return err;
	if (!err)
		err = set_table_copy(former, table, false);
	if (!err)
		err = set_places_exchange(loaded, place, table);
	if (err)
		return no_room(set, err, problem);
	set_table_copy(former, table, true); /* full: as it would have been by then */
	loaded->sets->heads[place].max = set->max;
	return 0;
}

int set_places_fill(struct loaded *loaded, const struct ruleset *ruleset, uint32_t slot,
		    const struct apply_options *options, struct problem *problem)
{
	uint8_t *places = loaded->sets->places[slot];
	int err = 0;

	if (!options->trial && !options->back)
		set_places_tidy(loaded); /* what trials have left, or an apply that was killed */
	memset(places, 0, IMAGE_SETS_MAX);
	for (uint32_t i = 0; !err && i < ruleset->set_n; i++) {
		const struct dynamic_set *set = &ruleset->sets[i];
		uint64_t tag = dynamic_set_name_tag(set->name);
		uint32_t place = place_of(loaded, tag);

		if (!place)
			err = place_make(loaded, set, tag, slot, &place, problem);
		else if (loaded->sets->heads[place].max != set->max)
			err = place_resize(loaded, set, place, problem);
		if (place && options->back)
			err = 0; /* it works with the room that it has */
		places[i] = (uint8_t)place;
	}
	/* From here on nothing fails: the sets that stay get their times. */
	for (uint32_t i = 0; !err && i < ruleset->set_n; i++)
		loaded->sets->heads[places[i]].timeout = ruleset->sets[i].timeout * NANOSECONDS;
	return err;
}
