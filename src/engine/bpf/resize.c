// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/resize.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/bpf/attach.h"
#include "engine/bpf/flow_table.h"
#include "engine/bpf/problem.h"

#define NEXT_PREFIX "next_"
#define NAME_MAX_LEN 48

static const struct {
	enum loaded_map map, other;
	const char *option;
} tables[] = {
	{ MAP_FLOWS, MAP_OTHER_FLOWS, "flows" },
	{ MAP_EMBRYONIC, MAP_OTHER_EMBRYONIC, "embryonic-flows" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint32_t size_wanted(const struct policy_options *options, size_t table)
{
	return tables[table].map == MAP_FLOWS ? options->flows_max : options->embryonic_max;
}

bool resize_wanted(const struct loaded *loaded, const struct policy_options *options)
{
	for (size_t i = 0; i < COUNT(tables); i++)
		if (flow_table_room(loaded->maps[tables[i].map]) != size_wanted(options, i))
			return true;
	return false;
}

static int count_live(void *context, const struct flow_key *key, const struct flow *flow,
		      bool embryonic)
{
	(void)key;
	(void)flow;
	(void)embryonic;
	++*(uint64_t *)context;
	return 0;
}

/* Embryonic flows are evicted when there are too many, replied ones never. */
static int room_check(const struct loaded *loaded, const struct policy_options *options,
		      struct problem *problem)
{
	uint64_t live = 0;
	uint32_t total = 0;
	bool stopped = false;
	int err;

	if (flow_table_room(loaded->maps[MAP_FLOWS]) <= options->flows_max)
		return 0;
	err = flow_table_read(loaded->maps[MAP_FLOWS], false, count_live, &live, &total, &stopped);
	if (err)
		return problem_set(problem, err, "cannot read the flow tables: ");
	if (live <= options->flows_max)
		return 0;
	problem_set(problem, -EBUSY, "option `flows %u`: %lu flows live, and none is cut for want of room",
		    options->flows_max, live);
	problem_hint(problem, "more room; or end some first: `reeve flows kill FILTER`");
	return -EBUSY;
}

int resize_load(const struct loaded *loaded, const struct policy_options *options,
		struct loaded *next, struct problem *problem)
{
	int err = room_check(loaded, options, problem);

	return err ? err : loaded_load_beside(next, loaded, options, problem);
}

bool resize_pending(const struct loaded *loaded)
{
	return loaded->control->moving != MOVING_NOTHING;
}

static void moving_set(const struct loaded *loaded, enum moving moving)
{
	__atomic_store_n(&loaded->control->moving, moving, __ATOMIC_SEQ_CST);
}

static void next_name(char name[NAME_MAX_LEN], const char *of)
{
	snprintf(name, NAME_MAX_LEN, NEXT_PREFIX "%s", of);
}

/* Calls `each` for every pin of a set of its own: name and descriptor. */
static int own_each(struct loaded *loaded, const struct pins *pins,
		    int (*each)(const struct pins *pins, const char *name, int *fd))
{
	int err = 0;

	for (size_t i = 0; !err && i < PROGRAM_COUNT; i++)
		if (loaded_own_program((enum loaded_program)i))
			err = each(pins, loaded_program_names[i], &loaded->programs[i]);
	for (size_t i = 0; !err && i < MAP_COUNT; i++)
		if (loaded_own_map((enum loaded_map)i))
			err = each(pins, loaded_map_names[i], &loaded->maps[i]);
	return err;
}

static int next_pin(const struct pins *pins, const char *name, int *fd)
{
	char next[NAME_MAX_LEN];

	next_name(next, name);
	return pins_put(pins, next, *fd);
}

static int next_unpin(const struct pins *pins, const char *name, int *fd)
{
	char next[NAME_MAX_LEN];

	(void)fd;
	next_name(next, name);
	return pins_remove(pins, next);
}

/* Takes the place of what `fd` is. */
static int next_open(const struct pins *pins, const char *name, int *fd)
{
	char next[NAME_MAX_LEN];
	int opened;

	next_name(next, name);
	opened = pins_get(pins, next);
	if (opened < 0)
		return opened;
	cleanup_fd_(fd);
	*fd = opened;
	return 0;
}

static int next_rename(const struct pins *pins, const char *name, int *fd)
{
	char next[NAME_MAX_LEN];
	int err;

	(void)fd;
	next_name(next, name);
	err = pins_rename(pins, next, name);
	return err == -ENOENT ? 0 : err; /* it was done before */
}

/* Programs of `to` look for what they miss in the tables of `from`. */
static int other_set(const struct loaded *to, const struct loaded *from)
{
	uint32_t zero = 0;

	for (size_t i = 0; i < COUNT(tables); i++)
		if (bpf_map_update_elem(to->maps[tables[i].other], &zero,
					&from->maps[tables[i].map], BPF_ANY))
			return -errno;
	return 0;
}

static void other_clear(const struct loaded *loaded)
{
	uint32_t zero = 0;

	for (size_t i = 0; i < COUNT(tables); i++)
		bpf_map_delete_elem(loaded->maps[tables[i].other], &zero);
}

/*
 * From one to the other, both links and flows. `from` is not in use any more then. Setting its
 * entries again, behind the links, waits for the programs that still run.
 */
static int switch_over(struct loaded *from, struct loaded *to, const struct pins *pins,
		       const char **what)
{
	int err;

	*what = "cannot change over to them: ";
	err = attach_exchange(pins, from, to);
	if (!err)
		err = other_set(from, to);
	*what = "cannot move the flows into them: ";
	for (size_t i = 0; !err && i < COUNT(tables); i++)
		err = flow_table_move(from->maps[tables[i].map], to->maps[tables[i].map]);
	return err;
}

/* Back to `loaded`: as if nothing had been begun. Where even that fails, resize_finish() tries again. */
static void undo(struct loaded *loaded, struct loaded *next, const struct pins *pins)
{
	const char *ignored;

	if (resize_pending(loaded) && switch_over(next, loaded, pins, &ignored))
		return;
	moving_set(loaded, MOVING_NOTHING);
	other_clear(loaded);
	own_each(next, pins, next_unpin);
}

/* `loaded` becomes what `next` is. */
static void become(struct loaded *loaded, struct loaded *next)
{
	struct loaded former = *loaded;

	*loaded = *next;
	*next = former;
	loaded_close(next);
}

static int finish_pins(struct loaded *loaded, const struct pins *pins, struct problem *problem)
{
	int err = own_each(loaded, pins, next_rename);

	if (err)
		return problem_set(problem, err, "cannot pin the new flow tables: ");
	moving_set(loaded, MOVING_NOTHING);
	return 0;
}

int resize_move(struct loaded *loaded, struct loaded *next, const struct pins *pins,
		struct problem *problem)
{
	const char *what = "cannot pin them: ";
	int err;

	err = own_each(next, pins, next_pin);
	if (!err)
		err = other_set(loaded, next);
	if (!err)
		err = other_set(next, loaded);
	if (!err) {
		moving_set(loaded, MOVING_FLOWS);
		err = switch_over(loaded, next, pins, &what);
	}
	if (err) {
		undo(loaded, next, pins);
		return problem_set(problem, err, "flow tables of another size: %s", what);
	}
	moving_set(loaded, MOVING_PINS);
	other_clear(next);
	become(loaded, next);
	loaded_forget_early(loaded, pins); /* they have the tables that went */
	return finish_pins(loaded, pins, problem);
}

/* Opens the set that was to come, beside the one that was found. */
static int next_find(const struct loaded *loaded, const struct pins *pins, struct loaded *next)
{
	int err = loaded_copy(next, loaded);

	return err ? err : own_each(next, pins, next_open);
}

int resize_finish(struct loaded *loaded, const struct pins *pins, struct problem *problem)
{
	struct loaded next;
	int err;

	loaded_init(&next);
	if (!resize_pending(loaded)) {
		own_each(loaded, pins, next_unpin);
		return 0;
	}
	if (loaded->control->moving == MOVING_PINS) {
		err = finish_pins(loaded, pins, problem);
		loaded_close(loaded);
		return err ? err : loaded_find(loaded, pins, problem);
	}
	err = next_find(loaded, pins, &next);
	if (!err)
		return resize_move(loaded, &next, pins, problem);
	loaded_close(&next);
	return problem_set(problem, err,
			   "a change of the size of the flow tables was broken off, and its pins are gone: ");
}
