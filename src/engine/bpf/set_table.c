// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/set_table.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"

#define BATCH 4096u
#define SINGLY 16u /* so few are put in one by one */
#define MEMORY_TRIES 50

struct batch {
	struct set_key keys[BATCH];
	uint64_t expires[BATCH];
};

uint64_t set_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int set_table_new(uint32_t max)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "set", sizeof(struct set_key), sizeof(uint64_t),
				max, &options);

	return fd < 0 ? -errno : fd;
}

int set_table_at(int sets, uint32_t place)
{
	uint32_t id;
	int fd;

	if (bpf_map_lookup_elem(sets, &place, &id))
		return -errno;
	fd = bpf_map_get_fd_by_id(id);
	return fd < 0 ? -errno : fd;
}

int set_table_each(int fd, set_visitor *visit, void *context)
{
	cleanup_free struct batch *batch = malloc(sizeof(*batch));
	uint32_t position, n;
	bool more = false, last = false;
	int stop = 0;

	if (!batch)
		return -ENOMEM;
	while (!last && !stop) {
		n = BATCH;
		if (bpf_map_lookup_batch(fd, more ? &position : NULL, &position, batch->keys,
					 batch->expires, &n, NULL)) {
			if (errno != ENOENT)
				return -errno;
			last = true;
		}
		more = true;
		for (uint32_t i = 0; i < n && !stop; i++)
			stop = visit(context, &batch->keys[i], batch->expires[i]);
	}
	return stop;
}

/* The kernel fills up its stock of memory for entries by itself: a moment, and there is more. */
static void wait_for_memory(void)
{
	const struct timespec moment = { .tv_nsec = 200000 };

	nanosleep(&moment, NULL);
}

/* What is there stays, unless its time is the shorter one. */
static int put_longer(int fd, const struct set_key *key, uint64_t expires)
{
	uint64_t there;
	bool is_there = !bpf_map_lookup_elem(fd, key, &there);

	if (is_there && set_longer(there, expires) == there)
		return 0;
	if (!bpf_map_update_elem(fd, key, &expires, is_there ? BPF_EXIST : BPF_NOEXIST))
		return 0;
	return errno == EEXIST || errno == ENOENT ? 0 : -errno; /* a rule has been at it */
}

/* One step of a put: *done of n. */
static int put_some(int fd, const struct set_key *keys, const uint64_t *expires, size_t n,
		    bool keep, size_t *done)
{
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	uint32_t count = (uint32_t)(n < BATCH ? n : BATCH);
	int err = 0;

	*done = 0;
	if (n > SINGLY && !keep) {
		if (bpf_map_update_batch(fd, keys, expires, &count, &options))
			err = -errno;
		*done = count;
		return err;
	}
	err = keep ? put_longer(fd, keys, *expires) :
		     bpf_map_update_elem(fd, keys, expires, BPF_ANY) ? -errno : 0;
	*done = !err;
	return err;
}

int set_table_put(int fd, const struct set_key *keys, const uint64_t *expires, size_t n, bool keep,
		  size_t *done)
{
	unsigned tries = 0;
	int err = 0;

	*done = 0;
	while (*done < n && !err) {
		size_t some;

		err = put_some(fd, keys + *done, expires + *done, n - *done, keep, &some);
		*done += some;
		if (some)
			tries = 0;
		if (err == -ENOMEM && tries++ < MEMORY_TRIES) {
			wait_for_memory();
			err = 0;
		}
	}
	return err;
}

struct copying {
	struct batch *batch;
	uint32_t n;
	uint64_t now;
	int to;
	bool keep;
};

static int copy_some(struct copying *copying)
{
	size_t done;
	int err = set_table_put(copying->to, copying->batch->keys, copying->batch->expires,
				copying->n, copying->keep, &done);

	copying->n = 0;
	return err;
}

static int copy_one(void *context, const struct set_key *key, uint64_t expires)
{
	struct copying *copying = context;

	if (set_expired(expires, copying->now))
		return 0;
	copying->batch->keys[copying->n] = *key;
	copying->batch->expires[copying->n++] = expires;
	return copying->n == BATCH ? copy_some(copying) : 0;
}

int set_table_copy(int from, int to, bool keep)
{
	cleanup_free struct batch *batch = malloc(sizeof(*batch));
	struct copying copying = { .batch = batch, .now = set_now(), .to = to, .keep = keep };
	int err;

	if (!batch)
		return -ENOMEM;
	err = set_table_each(from, copy_one, &copying);
	return err ? err : copy_some(&copying);
}

struct sweeping {
	int fd;
	uint64_t now, live, removed;
};

/* A rule may just have given it another time, which comes out with it: then it goes back. */
static int sweep_one(void *context, const struct set_key *key, uint64_t expires)
{
	struct sweeping *sweeping = context;
	bool live = !set_expired(expires, sweeping->now);

	if (!live && bpf_map_lookup_and_delete_elem(sweeping->fd, key, &expires))
		return errno == ENOENT ? 0 : -errno;
	if (!live && !set_expired(expires, sweeping->now)) {
		bpf_map_update_elem(sweeping->fd, key, &expires, BPF_NOEXIST);
		live = true;
	}
	if (live)
		sweeping->live++;
	else
		sweeping->removed++;
	return 0;
}

int set_table_sweep(int fd, uint64_t *live, uint64_t *removed)
{
	struct sweeping sweeping = { .fd = fd, .now = set_now() };
	int err = set_table_each(fd, sweep_one, &sweeping);

	if (err)
		return err;
	*live = sweeping.live;
	*removed = sweeping.removed;
	return 0;
}
