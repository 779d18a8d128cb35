// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/loaded.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/bpf/guard_nft.h"
#include "engine/bpf/masquerade.h"
#include "engine/bpf/problem.h"
#include "engine/bpf/refusal.h"
#include "engine/bpf/sys.h"
#include "engine/bpf/tc_filter.h"

#include "early.skel.h"
#include "guard.skel.h"
#include "reeve.skel.h"

const char *const loaded_map_names[MAP_COUNT] = {
	[MAP_IMAGES] = "images",   [MAP_COUNTERS] = "counters",	  [MAP_SOURCES] = "sources",
	[MAP_FLOWS] = "flows",	   [MAP_EMBRYONIC] = "embryonic", [MAP_STATS] = "stats",
	[MAP_EVENTS] = "events",   [MAP_ASKED] = "asked",	  [MAP_ANSWERS] = "answers",
	[MAP_OTHER_FLOWS] = "other_flows", [MAP_OTHER_EMBRYONIC] = "other_embryonic",
	[MAP_FRAGMENTS] = "fragments", [MAP_TRANSLATIONS] = "translations",
	[MAP_PENDINGS] = "pendings", [MAP_FULL_WAYS] = "full_ways",
	[MAP_BUCKETS] = "buckets", [MAP_BUCKETS_OF_ALL] = "buckets_of_all",
	[MAP_TALLIES] = "tallies", [MAP_PLACES] = "places",
	[MAP_SWEEPS] = "sweeps",   [MAP_COVERED_FAR] = "covered_far",
	[MAP_SETS] = "sets",       [MAP_SET_DIRECTORY] = "set_directory",
	[MAP_LEAVING_ADDRESSES] = "leaving_addresses",
	[MAP_CONTROL] = "control",
};

const char *const loaded_program_names[PROGRAM_COUNT] = {
	[PROGRAM_ARRIVE_ETHERNET] = "arrive_ethernet",
	[PROGRAM_ARRIVE_RAW] = "arrive_raw",
	[PROGRAM_DEPART_ETHERNET] = "depart_ethernet",
	[PROGRAM_DEPART_RAW] = "depart_raw",
	[PROGRAM_GUARD_LOCAL_IN] = "guard_local_in",
	[PROGRAM_GUARD_POST_ROUTING] = "guard_post_routing",
	[PROGRAM_EARLY_ETHERNET] = "early_ethernet",
	[PROGRAM_EARLY_RAW] = "early_raw",
	[PROGRAM_EARLY_ETHERNET_GENERIC] = "early_ethernet_generic",
	[PROGRAM_EARLY_RAW_GENERIC] = "early_raw_generic",
};

void loaded_init(struct loaded *loaded)
{
	memset(loaded, 0, sizeof(*loaded));
	for (size_t i = 0; i < MAP_COUNT; i++)
		loaded->maps[i] = -1;
	for (size_t i = 0; i < PROGRAM_COUNT; i++)
		loaded->programs[i] = -1;
}

/* Names of programs and maps, and errno, are no answer to why: the kernel is named too. */
static int load_problem(const struct refusal *refusal, int err, struct problem *problem)
{
	struct utsname kernel = { 0 };

	uname(&kernel);
	return refusal_explain(refusal, err, kernel.release, problem);
}

static void *value_map(const struct loaded *loaded, enum loaded_map map, size_t size)
{
	void *value = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, loaded->maps[map], 0);

	return value == MAP_FAILED ? NULL : value;
}

static int control_map(struct loaded *loaded)
{
	loaded->control = value_map(loaded, MAP_CONTROL, sizeof(*loaded->control));
	if (!loaded->control)
		return -errno;
	loaded->sets = value_map(loaded, MAP_SET_DIRECTORY, sizeof(*loaded->sets));
	return loaded->sets ? 0 : -errno;
}

/* Global data has a section's name, which bpffs would not take. */
static const char *map_name_in_object(size_t map)
{
	return map == MAP_CONTROL	? ".data.control" :
	       map == MAP_SET_DIRECTORY ? ".data.sets" :
					  loaded_map_names[map];
}

/* Copies of descriptors: the skeletons close their own. */
static int keep_maps(struct loaded *loaded, struct bpf_object *object)
{
	for (size_t i = 0; i < MAP_COUNT; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, map_name_in_object(i));

		if (!map || loaded->maps[i] >= 0)
			continue;
		loaded->maps[i] = dup(bpf_map__fd(map));
		if (loaded->maps[i] < 0)
			return -errno;
	}
	return 0;
}

static int keep_programs(struct loaded *loaded, struct bpf_object *object)
{
	for (size_t i = 0; i < PROGRAM_COUNT; i++) {
		struct bpf_program *program =
			bpf_object__find_program_by_name(object, loaded_program_names[i]);

		if (!program)
			continue;
		loaded->programs[i] = dup(bpf_program__fd(program));
		if (loaded->programs[i] < 0)
			return -errno;
	}
	return 0;
}

bool loaded_own_map(enum loaded_map map)
{
	/* A timer holds the program it calls, and that its tables. */
	return map == MAP_FLOWS || map == MAP_EMBRYONIC || map == MAP_OTHER_FLOWS ||
	       map == MAP_OTHER_EMBRYONIC || map == MAP_FULL_WAYS || map == MAP_SWEEPS;
}

bool loaded_own_program(enum loaded_program program)
{
	return program < PROGRAM_GUARD_LOCAL_IN;
}

/* All maps are those of `shared`; but for a set's own, unless these are wanted too. */
static int share_maps(struct bpf_object *object, const struct loaded *shared, bool own)
{
	for (size_t i = 0; i < MAP_COUNT; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, map_name_in_object(i));
		int err = 0;

		if (map && (own || !loaded_own_map((enum loaded_map)i)))
			err = bpf_map__reuse_fd(map, shared->maps[i]);
		if (err)
			return err;
	}
	return 0;
}

/* Beside `shared`, whose maps it uses but for its own; or NULL. */
static int load_reeve(struct loaded *loaded, const struct policy_options *options,
		      bool know_namespace, bool know_cookies, const struct loaded *shared)
{
	struct reeve *skeleton = reeve__open();
	int err = 0;

	if (!skeleton)
		return -errno;
	skeleton->rodata->know_namespace = know_namespace;
	skeleton->rodata->know_cookies = know_cookies;
	bpf_map__set_max_entries(skeleton->maps.flows, options->flows_max);
	bpf_map__set_max_entries(skeleton->maps.embryonic, options->embryonic_max);
	bpf_map__set_max_entries(skeleton->maps.translations,
				 (options->flows_max + options->embryonic_max) * 2);
	if (shared)
		err = share_maps(skeleton->obj, shared, false);
	if (!err)
		err = reeve__load(skeleton);
	if (!err)
		err = keep_maps(loaded, skeleton->obj);
	if (!err)
		err = keep_programs(loaded, skeleton->obj);
	reeve__destroy(skeleton);
	return err;
}

static int load_guard(struct loaded *loaded)
{
	struct guard *skeleton = guard__open();
	struct bpf_program *program;
	int err;

	if (!skeleton)
		return -errno;
	bpf_object__for_each_program(program, skeleton->obj) {
		bpf_program__set_type(program, (enum bpf_prog_type)SYS_PROG_TYPE_NETFILTER);
		bpf_program__set_expected_attach_type(program,
						      (enum bpf_attach_type)SYS_ATTACH_NETFILTER);
	}
	err = bpf_map__reuse_fd(skeleton->maps.data_control, loaded->maps[MAP_CONTROL]);
	if (!err)
		err = bpf_map__reuse_fd(skeleton->maps.stats, loaded->maps[MAP_STATS]);
	if (!err)
		err = bpf_map__reuse_fd(skeleton->maps.events, loaded->maps[MAP_EVENTS]);
	if (!err)
		err = guard__load(skeleton);
	if (!err)
		err = keep_maps(loaded, skeleton->obj);
	if (!err)
		err = keep_programs(loaded, skeleton->obj);
	guard__destroy(skeleton);
	return err;
}

static int load_early(struct loaded *loaded, bool know_namespace, bool know_cookies)
{
	struct early *skeleton = early__open();
	int err;

	if (!skeleton)
		return -errno;
	skeleton->rodata->know_namespace = know_namespace;
	skeleton->rodata->know_cookies = know_cookies;
	err = share_maps(skeleton->obj, loaded, true);
	if (!err)
		err = early__load(skeleton);
	if (!err)
		err = keep_programs(loaded, skeleton->obj);
	early__destroy(skeleton);
	return err;
}

int loaded_load_early(struct loaded *loaded, struct problem *problem)
{
	struct refusal refusal = { 0 };
	bool missing = false;
	int err;

	for (size_t i = PROGRAM_EARLY_ETHERNET; i < PROGRAM_COUNT; i++)
		missing |= loaded->programs[i] < 0;
	if (!missing)
		return 0;
	for (size_t i = PROGRAM_EARLY_ETHERNET; i < PROGRAM_COUNT; i++)
		cleanup_fd_(&loaded->programs[i]);
	refusal_listen(&refusal);
	err = load_early(loaded, true, loaded->control->cookies);
	if (err && err != -ENOMEM && loaded->control->cookies) {
		loaded->control->cookies = 0;
		err = load_early(loaded, true, false);
	}
	if (err && err != -ENOMEM) {
		memset(&refusal, 0, sizeof(refusal));
		err = load_early(loaded, false, false);
	}
	refusal_listen(NULL);
	return err ? load_problem(&refusal, err, problem) : 0;
}

/* The map of the guard's object, where that is not loaded: the keeper works with it all the same. */
static int covered_far_new(struct loaded *loaded)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "covered_far", sizeof(uint32_t),
				sizeof(struct coverage_entry), COVERED_FAR_MAX, &options);

	loaded->maps[MAP_COVERED_FAR] = fd;
	return fd < 0 ? -errno : 0;
}

/* Whether programs may call it is tried; but not where it is not even there. */
static bool cookies_known(void)
{
	struct btf *kernel = btf__load_vmlinux_btf();
	bool there = kernel && btf__find_by_name_kind(kernel, "bpf_sk_assign_tcp_reqsk",
						      BTF_KIND_FUNC) > 0;

	btf__free(kernel);
	return there && !sys_left_out("cookies");
}

/* *cookies: with SYN cookies; false afterwards where they were refused. */
static int load_programs(struct loaded *loaded, const struct policy_options *options,
			 const struct loaded *shared, bool *cookies, struct problem *problem)
{
	struct refusal refusal = { 0 };
	int err;

	refusal_listen(&refusal);
	err = load_reeve(loaded, options, true, *cookies, shared);
	if (err && err != -ENOMEM && *cookies) {
		loaded_close(loaded);
		*cookies = false;
		err = load_reeve(loaded, options, true, false, shared);
	}
	if (err && err != -ENOMEM) {
		loaded_close(loaded);
		memset(&refusal, 0, sizeof(refusal));
		err = load_reeve(loaded, options, false, false, shared);
	}
	refusal_listen(NULL);
	if (err == -ENOMEM) {
		problem_set(problem, err, "not enough memory for the flow tables (%u + %u flows)",
			    options->flows_max, options->embryonic_max);
		problem_hint(problem, "smaller ones: `options { flows N }`");
	} else if (err) {
		load_problem(&refusal, err, problem);
	}
	return err;
}

int loaded_load(struct loaded *loaded, const struct policy_options *options,
		struct problem *problem)
{
	struct refusal refusal = { 0 };
	struct stat namespace;
	bool cookies = cookies_known();
	uint64_t cookie;
	uint16_t witness;
	int err;

	err = load_programs(loaded, options, NULL, &cookies, problem);
	if (!err) {
		refusal_listen(&refusal);
		err = netfilter_links_possible() ? load_guard(loaded) : covered_far_new(loaded);
		refusal_listen(NULL);
		if (err)
			load_problem(&refusal, err, problem);
	}
	if (!err) {
		err = control_map(loaded);
		if (err)
			problem_set(problem, err, "cannot map the control block: ");
	}
	if (err) {
		loaded_close(loaded);
		return err;
	}
	loaded->control->cpus = (uint32_t)libbpf_num_possible_cpus();
	loaded->control->layout = LAYOUT_VERSION;
	loaded->control->cookies = cookies;
	loaded->control->means = (tcx_possible() ? 0 : MEANS_CLSACT) |
				 (netfilter_links_possible() ? 0 : MEANS_NFT_GUARD) |
				 (route_source_possible() ? 0 : MEANS_OWN_ADDRESSES);
	if (getrandom(loaded->control->proof_keys, sizeof(loaded->control->proof_keys), 0) < 0 ||
	    getrandom(&witness, sizeof(witness), 0) < 0) {
		err = problem_set(problem, -errno, "cannot get random bytes: ");
		loaded_close(loaded);
		return err;
	}
	/*
	 * Minors of classes are small numbers, or large ones: neither comes near a word in between.
	 */
	loaded->control->witness = 0x0800u + witness % 0x7000u;
	err = namespace_cookie(&cookie, problem);
	if (err) {
		loaded_close(loaded);
		return err;
	}
	loaded->control->cookie = cookie;
	if (!stat("/proc/self/ns/net", &namespace))
		loaded->control->namespace_inode = namespace.st_ino;
	return 0;
}

/* Descriptors for what is not there yet. */
static int copy_missing(int *to, const int *from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (to[i] >= 0 || from[i] < 0)
			continue;
		to[i] = dup(from[i]);
		if (to[i] < 0)
			return -errno;
	}
	return 0;
}

int loaded_copy(struct loaded *copy, const struct loaded *loaded)
{
	int err = copy_missing(copy->maps, loaded->maps, MAP_COUNT);

	if (!err)
		err = copy_missing(copy->programs, loaded->programs, PROGRAM_COUNT);
	if (!err && !copy->control)
		err = control_map(copy);
	return err;
}

int loaded_load_beside(struct loaded *beside, const struct loaded *loaded,
		       const struct policy_options *options, struct problem *problem)
{
	bool cookies = loaded->control->cookies;
	int err = load_programs(beside, options, loaded, &cookies, problem);

	if (!err) {
		err = loaded_copy(beside, loaded);
		if (err)
			problem_set(problem, err, "cannot load programs beside those that run: ");
	}
	if (err)
		loaded_close(beside);
	return err;
}

int loaded_pin(struct loaded *loaded, const struct pins *pins, struct problem *problem)
{
	const char *name = loaded_map_names[MAP_CONTROL];
	/* First, and pinned last: nothing older, and nothing half, is taken for what runs. */
	int err = pins_remove(pins, name);

	for (size_t i = 0; !err && i < PROGRAM_COUNT; i++) {
		if (loaded->programs[i] < 0)
			continue; /* of a guard that is no program, or of `early` that nobody asks for */
		name = loaded_program_names[i];
		err = pins_put(pins, name, loaded->programs[i]);
	}
	for (size_t i = 0; !err && i < MAP_COUNT; i++) {
		name = loaded_map_names[i];
		err = pins_put(pins, name, loaded->maps[i]);
	}
	return err ? problem_set(problem, err, "cannot pin `%s`: ", name) : 0;
}

int loaded_pin_early(const struct loaded *loaded, const struct pins *pins, struct problem *problem)
{
	int err = 0;

	for (size_t i = PROGRAM_EARLY_ETHERNET; !err && i < PROGRAM_COUNT; i++)
		err = pins_put(pins, loaded_program_names[i], loaded->programs[i]);
	return err ? problem_set(problem, err, "cannot pin the programs of `early`: ") : 0;
}

void loaded_forget_early(struct loaded *loaded, const struct pins *pins)
{
	for (size_t i = PROGRAM_EARLY_ETHERNET; i < PROGRAM_COUNT; i++) {
		cleanup_fd_(&loaded->programs[i]);
		loaded->programs[i] = -1;
		pins_remove(pins, loaded_program_names[i]);
	}
}

static int repin_one(const struct pins *pins, const char *name, int object, bool put,
		     int (*missing)(void *context, const char *name), void *context)
{
	char path[PIN_PATH_MAX];
	int err = 0;

	pins_path(pins, name, path);
	if (!access(path, F_OK))
		return 0;
	if (put)
		err = pins_put(pins, name, object);
	return err ? err : missing(context, name);
}

int loaded_repin(const struct loaded *loaded, const struct pins *pins, bool put,
		 int (*missing)(void *context, const char *name), void *context)
{
	int err = access(pins->folder, F_OK) ? -errno : 0;

	for (size_t i = 0; !err && i < PROGRAM_COUNT; i++)
		if (loaded->programs[i] >= 0)
			err = repin_one(pins, loaded_program_names[i], loaded->programs[i], put, missing, context);
	for (size_t i = 0; !err && i < MAP_COUNT; i++)
		err = repin_one(pins, loaded_map_names[i], loaded->maps[i], put, missing, context);
	return err;
}

void loaded_find_early(struct loaded *loaded, const struct pins *pins)
{
	for (size_t i = PROGRAM_EARLY_ETHERNET; i < PROGRAM_COUNT; i++)
		if (loaded->programs[i] < 0)
			loaded->programs[i] = pins_get(pins, loaded_program_names[i]);
}

static bool program_needed(const struct loaded *loaded, enum loaded_program program)
{
	if (program >= PROGRAM_EARLY_ETHERNET)
		return false;
	return loaded_own_program(program) || !(loaded->control->means & MEANS_NFT_GUARD);
}

int control_read(int fd, struct control *control)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info), zero = 0;

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	if (info.value_size != sizeof(*control))
		return -EPROTO;
	if (bpf_map_lookup_elem(fd, &zero, control))
		return -errno;
	return control->layout == LAYOUT_VERSION ? 0 : -EPROTO;
}

/* The control block comes first: of another version nothing else need be there. */
static int find_maps(struct loaded *loaded, const struct pins *pins)
{
	struct control control;
	int err;

	for (size_t i = MAP_COUNT; i-- > 0;) {
		loaded->maps[i] = pins_get(pins, loaded_map_names[i]);
		if (loaded->maps[i] < 0)
			return loaded->maps[i];
		err = i == MAP_CONTROL ? control_read(loaded->maps[i], &control) : 0;
		if (err)
			return err;
	}
	return control_map(loaded);
}

int loaded_find(struct loaded *loaded, const struct pins *pins, struct problem *problem)
{
	int err = find_maps(loaded, pins);

	for (size_t i = 0; !err && i < PROGRAM_COUNT; i++) {
		loaded->programs[i] = pins_get(pins, loaded_program_names[i]);
		if (loaded->programs[i] < 0 && program_needed(loaded, (enum loaded_program)i))
			err = loaded->programs[i];
	}
	if (err == -EPROTO) {
		problem_set(problem, err, "what runs here was loaded by another version of reeve");
		problem_hint(problem, "`reeve down`, then `reeve apply FILE`; or use that version");
	} else if (err == -ENOENT) {
		problem_set(problem, err, "nothing is applied in this network namespace");
		problem_hint(problem, "reeve apply FILE");
	} else if (err) {
		problem_set(problem, err, "cannot open what is pinned: ");
	}
	if (err)
		loaded_close(loaded);
	return err;
}

void loaded_close(struct loaded *loaded)
{
	if (loaded->control)
		munmap(loaded->control, sizeof(*loaded->control));
	if (loaded->sets)
		munmap(loaded->sets, sizeof(*loaded->sets));
	for (size_t i = 0; i < MAP_COUNT; i++)
		cleanup_fd_(&loaded->maps[i]);
	for (size_t i = 0; i < PROGRAM_COUNT; i++)
		cleanup_fd_(&loaded->programs[i]);
	loaded_init(loaded);
}
