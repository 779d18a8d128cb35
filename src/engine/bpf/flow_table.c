// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/flow_table.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <time.h>

#include "base/cleanup.h"
#include "core/timeout.h"

#define BATCH 4096u

/* A walk through a table; flows that come or go meanwhile may be missed. */
struct reading {
	struct flow_key keys[BATCH];
	struct flow flows[BATCH];
	uint32_t position, n;
	bool more; /* `position` says where to go on */
	bool last;
};

static int reading_next(int fd, struct reading *reading)
{
	int err;

	reading->n = BATCH;
	err = bpf_map_lookup_batch(fd, reading->more ? &reading->position : NULL,
				   &reading->position, reading->keys, reading->flows, &reading->n,
				   NULL) ? -errno : 0;
	reading->more = true;
	reading->last = err == -ENOENT;
	return reading->last ? 0 : err;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t flow_table_room(int fd)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.max_entries;
}

int flow_table_read(int fd, bool embryonic, flow_visitor *visit, void *context, uint32_t *total,
		    bool *stopped)
{
	cleanup_free struct reading *reading = calloc(1, sizeof(*reading));
	uint64_t now = now_ns();

	if (!reading)
		return -ENOMEM;
	while (!reading->last && !*stopped) {
		int err = reading_next(fd, reading);

		if (err)
			return err;
		*total += reading->n;
		for (uint32_t i = 0; visit && i < reading->n && !*stopped; i++)
			if (!flow_expired(&reading->flows[i], now))
				*stopped = visit(context, &reading->keys[i], &reading->flows[i],
						 embryonic);
	}
	return 0;
}

/* Looked at once more: meanwhile another flow may have the key. */
static bool still_expired(int fd, const struct flow_key *key)
{
	struct flow flow;

	return !bpf_map_lookup_elem(fd, key, &flow) && flow_expired(&flow, now_ns());
}

/* Removes the live flows that `choose` chooses; without it those that are over. */
static int table_remove(int fd, bool embryonic, flow_visitor *choose, void *context, uint64_t *n)
{
	cleanup_free struct reading *reading = calloc(1, sizeof(*reading));
	uint64_t now = now_ns();

	if (!reading)
		return -ENOMEM;
	while (!reading->last) {
		int err = reading_next(fd, reading);

		if (err)
			return err;
		for (uint32_t i = 0; i < reading->n; i++) {
			const struct flow_key *key = &reading->keys[i];
			bool over = flow_expired(&reading->flows[i], now);

			if (choose ? over || !choose(context, key, &reading->flows[i], embryonic) :
				     !over || !still_expired(fd, key))
				continue;
			if (!bpf_map_delete_elem(fd, key))
				++*n;
			else if (errno != ENOENT)
				return -errno;
		}
	}
	return 0;
}

/* In this order: a flow that is promoted meanwhile is in the second before it leaves the first. */
static int tables_remove(const struct loaded *loaded, flow_visitor *choose, void *context,
			 uint64_t *n)
{
	int err = table_remove(loaded->maps[MAP_EMBRYONIC], true, choose, context, n);

	return err ? err : table_remove(loaded->maps[MAP_FLOWS], false, choose, context, n);
}

int flow_table_move(int from, int to)
{
	cleanup_free struct reading *reading = calloc(1, sizeof(*reading));
	uint64_t now = now_ns();

	if (!reading)
		return -ENOMEM;
	while (!reading->last) {
		int err = reading_next(from, reading);

		if (err)
			return err;
		for (uint32_t i = 0; i < reading->n; i++) {
			if (!flow_expired(&reading->flows[i], now) &&
			    bpf_map_update_elem(to, &reading->keys[i], &reading->flows[i],
						BPF_NOEXIST) &&
			    errno != EEXIST)
				return -errno;
			bpf_map_delete_elem(from, &reading->keys[i]);
		}
	}
	return 0;
}

int flow_tables_kill(const struct loaded *loaded, flow_visitor *choose, void *context,
		     uint64_t *killed)
{
	return tables_remove(loaded, choose, context, killed);
}

int flow_tables_sweep(const struct loaded *loaded, uint64_t *removed)
{
	return tables_remove(loaded, NULL, NULL, removed);
}
