// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Looking at what runs: status, counters, flows, events. Nothing here changes a verdict.
 */
#include "engine/bpf/attach.h"
#include "engine/bpf/early.h"
#include "engine/bpf/fast.h"
#include "engine/bpf/filtering.h"
#include "engine/bpf/flow_table.h"
#include "engine/bpf/guard_nft.h"
#include "engine/bpf/intercept.h"
#include "engine/bpf/open.h"
#include "engine/bpf/problem.h"
#include "engine/bpf/programs.h"
#include "engine/bpf/sets.h"
#include "engine/bpf/slots.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "base/cleanup.h"
#include "core/timeout.h"

#define WATCH_POLL_MS 200
#define WATCH_LEASE (2ull * 1000000000u)

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* -ENOENT when nothing is pinned, or nothing that runs. */
static int find_running(struct engine *engine, struct problem *problem)
{
	int err = loaded_find(&engine->loaded, &engine->pins, problem);

	if (err || slots_running(&engine->loaded))
		return err;
	loaded_close(&engine->loaded);
	problem_set(problem, -ENOENT, "nothing is applied in this network namespace");
	problem_hint(problem, "reeve apply FILE");
	return -ENOENT;
}

int engine_open(struct engine **engine, struct problem *problem)
{
	cleanup_free struct engine *new = calloc(1, sizeof(*new));
	int err;

	if (!new)
		return problem_set(problem, -ENOMEM, "out of memory");
	new->pins = (struct pins)PINS_CLOSED;
	new->lock = -1;
	loaded_init(&new->loaded);
	for (uint32_t i = 0; i < SET_PLACES; i++)
		new->set_fds[i] = -1;
	err = pins_open(&new->pins, false, problem);
	if (!err)
		err = find_running(new, problem);
	if (err == -ENOENT && programs_filter(&new->pins)) {
		/* Unless an apply was done just now. */
		err = find_running(new, problem);
		if (err == -ENOENT) {
			err = problem_set(problem, -EBADMSG,
					  "pins of what runs here were removed by hand: packets are "
					  "still filtered, but what filters them cannot be looked at");
			problem_hint(problem, "reeved, if it runs, puts them back; `reeve apply "
					      "FILE` begins anew (live flows are lost)");
		}
	}
	if (err)
		return err;
	*engine = take(new);
	return 0;
}

void engine_close(struct engine *engine)
{
	if (!engine)
		return;
	for (uint32_t i = 0; i < SET_PLACES; i++)
		cleanup_fd_(&engine->set_fds[i]);
	cleanup_fd_(&engine->lock);
	loaded_close(&engine->loaded);
	pins_close(&engine->pins);
	free(engine);
}

static uint32_t running_slot(const struct engine *engine)
{
	return engine->loaded.control->active & 1;
}

/*
 * Reads something of the running slot; anew when another one has become the running one meanwhile
 * and this one was emptied.
 */
#define READ_RUNNING(engine, read)                                                                 \
	({                                                                                         \
		uint32_t slot, tries = 0;                                                          \
		int err_;                                                                          \
		do {                                                                               \
			slot = running_slot(engine);                                               \
			err_ = (read);                                                             \
		} while (err_ && slot != running_slot(engine) && tries++ < 100);                   \
		err_;                                                                              \
	})

int engine_sources(struct engine *engine, struct source_set *sources, struct problem *problem)
{
	return READ_RUNNING(engine, slots_sources(&engine->loaded, slot, sources, problem));
}

int engine_image(struct engine *engine, struct image *image, struct problem *problem)
{
	return READ_RUNNING(engine, slots_image(&engine->loaded, slot, image, problem));
}

int engine_programs(struct engine *engine, struct program_figures figures[ENGINE_PROGRAMS],
		    uint32_t *n, struct problem *problem)
{
	int err = programs_figures(&engine->loaded, figures, n);

	return err ? problem_set(problem, err, "cannot read what the kernel tells of programs: ")
		   : 0;
}

int engine_counters(struct engine *engine, struct rule_counter **counters, uint32_t *n,
		    struct problem *problem)
{
	return READ_RUNNING(engine, slots_counters(&engine->loaded, slot, counters, n, problem));
}

/* Statistics are per CPU. */
static int stats_read(const struct engine *engine, uint64_t stats[STAT_COUNT],
		      struct problem *problem)
{
	uint32_t cpus = engine->loaded.control->cpus;
	cleanup_free struct statistics *rows = calloc(cpus, sizeof(*rows));
	uint32_t zero = 0;

	if (!rows)
		return problem_set(problem, -ENOMEM, "out of memory");
	if (bpf_map_lookup_elem(engine->loaded.maps[MAP_STATS], &zero, rows))
		return problem_set(problem, -errno, "cannot read the statistics: ");
	for (uint32_t i = 0; i < STAT_COUNT; i++) {
		stats[i] = 0;
		for (uint32_t cpu = 0; cpu < cpus; cpu++)
			stats[i] += rows[cpu].count[i];
	}
	return 0;
}

int engine_flows(struct engine *engine, flow_visitor *visit, void *context, struct problem *problem)
{
	bool stopped = false;
	uint32_t total = 0;
	int err;

	err = flow_table_read(engine->loaded.maps[MAP_FLOWS], false, visit, context, &total, &stopped);
	if (!err && !stopped)
		err = flow_table_read(engine->loaded.maps[MAP_EMBRYONIC], true, visit, context, &total,
				 &stopped);
	return err ? problem_set(problem, err, "cannot read the flow tables: ") : 0;
}

int engine_flows_kill(struct engine *engine, flow_visitor *choose, void *context, uint64_t *killed,
		      struct problem *problem)
{
	int err;

	*killed = 0;
	err = flow_tables_kill(&engine->loaded, choose, context, killed);
	return err ? problem_set(problem, err, "cannot change the flow tables: ") : 0;
}

int engine_sweep(struct engine *engine, uint64_t *removed, struct problem *problem)
{
	int err;

	*removed = 0;
	err = flow_tables_sweep(&engine->loaded, removed);
	return err ? problem_set(problem, err, "cannot change the flow tables: ") : 0;
}

/* Kernel memory of a map, as its fdinfo tells. */
static uint64_t map_memory(int fd)
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

static uint64_t inner_memory(int outer, uint32_t slot)
{
	cleanup_fd int fd = -1;
	uint32_t id;

	if (bpf_map_lookup_elem(outer, &slot, &id))
		return 0;
	fd = bpf_map_get_fd_by_id(id);
	return fd < 0 ? 0 : map_memory(fd);
}

static uint64_t all_memory(const struct engine *engine)
{
	static const enum loaded_map outers[] = { MAP_IMAGES, MAP_COUNTERS, MAP_SOURCES };
	uint64_t sum = 0;

	for (size_t i = 0; i < MAP_COUNT; i++)
		sum += map_memory(engine->loaded.maps[i]);
	for (size_t i = 0; i < sizeof(outers) / sizeof(outers[0]); i++)
		sum += inner_memory(engine->loaded.maps[outers[i]], running_slot(engine));
	for (uint32_t place = 1; place < SET_PLACES; place++)
		if (engine->loaded.sets->heads[place].max)
			sum += inner_memory(engine->loaded.maps[MAP_SETS], place);
	return sum;
}

/* The running policy, for names and zones. */
static int running_ruleset(struct engine *engine, struct ruleset *ruleset, struct problem *problem)
{
	struct diagnostics diagnostics = { 0 };
	struct source_set sources = { 0 };
	int err;

	err = engine_sources(engine, &sources, problem);
	if (err)
		return err;
	if (!sources.sources.n) {
		source_set_free(&sources);
		return problem_set(problem, -EBADMSG, "the running policy has no text");
	}
	err = policy_load(sources.sources.items[0].name, &sources, ruleset, &diagnostics);
	diagnostics_free(&diagnostics);
	if (err) {
		ruleset_free(ruleset);
		return problem_set(problem, err,
				   "the running policy does not parse with this version of reeve");
	}
	return 0;
}

static enum coverage coverage_now(const struct engine *engine, const struct image *image,
				  struct engine_interface *interface)
{
	uint32_t ifindex = interface->ifindex;

	interface->zone_running = interface->zone;
	if (interface->coverage != COVERAGE_COVERED)
		return interface->coverage;
	if (!attached(&engine->loaded, &engine->pins, ifindex))
		return coverage_told(&engine->loaded, ifindex).bits & COVERED_PROGRAMS ?
			       COVERAGE_DETACHED : COVERAGE_MISSING;
	interface->zone_running = image_interface_zone(image, ifindex);
	return interface->zone_running == interface->zone ? COVERAGE_COVERED : COVERAGE_MOVED;
}

int engine_health(struct engine *engine, const struct ruleset *ruleset, struct engine_health *health,
		  struct problem *problem)
{
	struct engine_health result = {
		.guard = guard_attached(&engine->loaded, &engine->pins),
		.routes = intercept_routes_there(ruleset),
		.generation = engine->loaded.control->slot[running_slot(engine)].generation,
	};
	struct image image = { 0 };
	int err;

	if (!slots_running(&engine->loaded))
		return problem_set(problem, -ENOENT, "reeve was taken down");
	err = engine_image(engine, &image, problem);
	if (!err)
		err = engine_interfaces(ruleset, &result.interfaces, problem);
	for (size_t i = 0; !err && i < result.interfaces.n; i++)
		result.interfaces.items[i].coverage =
			coverage_now(engine, &image, &result.interfaces.items[i]);
	if (!err)
		early_tell(&engine->loaded, &engine->pins, ruleset, &result.interfaces);
	if (!err)
		fast_tell(&engine->loaded, &result.interfaces);
	image_free(&image);
	if (!err)
		*health = result;
	return err;
}

static int health_read(struct engine *engine, struct engine_status *status, struct problem *problem)
{
	struct engine_health health = { 0 };
	struct ruleset ruleset = { 0 };
	int err;

	err = running_ruleset(engine, &ruleset, problem);
	if (err)
		return err;
	err = engine_health(engine, &ruleset, &health, problem);
	status->intercepts = intercept_asked(&ruleset);
	status->protection = early_protection(&engine->loaded, &ruleset);
	ruleset_free(&ruleset);
	if (!err) {
		status->routes = health.routes;
		status->interfaces = health.interfaces;
		status->guard = health.guard;
	}
	return err;
}

int engine_status(struct engine *engine, struct engine_status *status, struct problem *problem)
{
	const struct control_slot *slot = &engine->loaded.control->slot[running_slot(engine)];
	struct engine_status result = {
		.guard_wanted = slot->guard,
		.clsact = engine->loaded.control->means & MEANS_CLSACT,
		.nft_guard = engine->loaded.control->means & MEANS_NFT_GUARD,
		.generation = slot->generation,
		.applied_at = slot->applied_at,
		.flows_max = flow_table_room(engine->loaded.maps[MAP_FLOWS]),
		.embryonic_max = flow_table_room(engine->loaded.maps[MAP_EMBRYONIC]),
		.map_bytes = all_memory(engine),
	};
	struct image image = { 0 };
	bool stopped = false;
	int err;

	err = engine_image(engine, &image, problem);
	if (!err) {
		const struct image_header *header = (const void *)image.bytes;

		memcpy(result.digest, header->digest, sizeof(result.digest));
		image_free(&image);
		err = stats_read(engine, result.stats, problem);
	}
	if (!err && (flow_table_read(engine->loaded.maps[MAP_FLOWS], false, NULL, NULL, &result.flows,
				&stopped) ||
		     flow_table_read(engine->loaded.maps[MAP_EMBRYONIC], true, NULL, NULL,
				&result.embryonic, &stopped)))
		err = problem_set(problem, -EIO, "cannot read the flow tables");
	if (!err)
		err = health_read(engine, &result, problem);
	if (result.nft_guard)
		guard_nft_counts(result.stats);
	if (!err)
		*status = result;
	return err;
}

struct watch {
	const struct engine *engine;
	event_visitor *visit;
	void *context;
	uint64_t started;
	uint64_t lost; /* as last told */
	int stopped;
};

static uint64_t events_lost(const struct engine *engine)
{
	uint64_t stats[STAT_COUNT];
	struct problem ignored;

	return stats_read(engine, stats, &ignored) ? 0 : stats[STAT_EVENT_LOST];
}

static int watch_receive(void *context, void *data, size_t size)
{
	struct watch *watch = context;
	uint64_t lost;
	struct event event;

	if (size < sizeof(event))
		return 0;
	memcpy(&event, data, sizeof(event));
	if (event.time_ns < watch->started)
		return 0; /* left over from an earlier reader */
	lost = events_lost(watch->engine);
	watch->stopped = watch->visit(watch->context, &event, lost - watch->lost);
	watch->lost = lost;
	return watch->stopped ? -ECANCELED : 0;
}

/* One reader at a time: a ring has one reading position. The lock ends with the process. */
static int watch_lock(const struct engine *engine, struct problem *problem)
{
	int fd = open(engine->pins.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return problem_set(problem, -errno, "cannot lock the events: ");
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		int err = -errno;

		close(fd);
		problem_set(problem, err, "somebody else is watching already");
		problem_hint(problem, "one `reeve watch` at a time can read the events of a "
				      "network namespace");
		return err;
	}
	return fd;
}

/*
 * Is the ring that we read still the one in use? After `down` nobody writes to it any more; a pin
 * removed by hand changes nothing.
 */
static bool still_running(const struct engine *engine)
{
	cleanup_fd int fd = pins_get(&engine->pins, loaded_map_names[MAP_EVENTS]);
	struct bpf_map_info ours = { 0 }, pinned = { 0 };
	uint32_t ours_size = sizeof(ours), pinned_size = sizeof(pinned);

	if (fd < 0)
		return slots_running(&engine->loaded);
	return !bpf_obj_get_info_by_fd(fd, &pinned, &pinned_size) &&
	       !bpf_obj_get_info_by_fd(engine->loaded.maps[MAP_EVENTS], &ours, &ours_size) &&
	       ours.id == pinned.id;
}

int engine_watch(struct engine *engine, event_visitor *visit, tick_visitor *tick, void *context,
		 const volatile int *stop, struct problem *problem)
{
	struct watch watch = {
		.engine = engine,
		.visit = visit,
		.context = context,
		.started = now_ns(),
		.lost = events_lost(engine),
	};
	cleanup_fd int lock = watch_lock(engine, problem);
	struct ring_buffer *ring;
	uint64_t ticked = 0;
	int err = 0;

	if (lock < 0)
		return lock;
	ring = ring_buffer__new(engine->loaded.maps[MAP_EVENTS], watch_receive, &watch, NULL);
	if (!ring)
		return problem_set(problem, -errno, "cannot read the events: ");
	while (!*stop && !watch.stopped) {
		if (!still_running(engine)) {
			err = problem_set(problem, -ENOENT, "reeve was taken down");
			problem_hint(problem, "events come again after the next `reeve apply FILE`");
			break;
		}
		__atomic_store_n(&engine->loaded.control->watch_until, now_ns() + WATCH_LEASE,
				 __ATOMIC_RELAXED);
		if (now_ns() - ticked >= WATCH_POLL_MS * 1000000ull) {
			ticked = now_ns();
			if (tick(context))
				break;
		}
		err = ring_buffer__poll(ring, WATCH_POLL_MS);
		if (err == -EINTR || err == -ECANCELED || err >= 0)
			err = 0;
		else
			break;
	}
	if (err && err != -ENOENT)
		problem_set(problem, err, "cannot read the events: ");
	__atomic_store_n(&engine->loaded.control->watch_until, 0, __ATOMIC_RELAXED);
	ring_buffer__free(ring);
	return err;
}
