// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The maps are filled here by hand, not by the engine's loader: what is compared is the programs.
 *
 * The process stays on one CPU, so that it reads the row of counters that its own test runs write.
 * One inner map of each kind is made at the start and used for every policy; a smaller image leaves
 * the rest of a larger one behind it, which no walk reaches.
 */
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "engine/bpf/maps.h"
#include "early.skel.h"
#include "harness.skel.h"

#define PAGES 64u
#define RULES_MAX 512u
#define FAILED 99
#define SETS_MAX 8
#define NOT_OURS 98
#define LIMITED_MAX 2048u /* more than one policy's packets need */

struct world {
	struct harness *skeleton;
	struct early *early; /* NULL: not asked for */
	struct ring_buffer *ring;
	int pages, counters; /* inner maps */
	struct world_set {
		uint64_t tag; /* 0: none */
		int fd;
		bool named; /* by the policy before */
	} sets[SETS_MAX]; /* its place is one more */
	struct set_directory *directory;
	uint32_t set_n, places[IMAGE_SETS_MAX]; /* of the policy */
	unsigned cpu, cpus;
	uint32_t rules;
	struct counter before[RULES_MAX];
	uint64_t stats[STAT_COUNT];
	struct seen *listener;
	unsigned char bytes[16384]; /* of the last run */
};

void world_mac(unsigned interface, uint8_t mac[6])
{
	const uint8_t value[6] = { 2, 0, 0, 0, 0, (uint8_t)(0x10 + interface) };

	memcpy(mac, value, 6);
}

uint32_t world_packet_type(unsigned interface, const uint8_t *frame)
{
	static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };
	uint8_t mac[6];

	world_mac(interface, mac);
	if (!memcmp(frame, mac, 6))
		return PACKET_TYPE_HOST;
	if (!memcmp(frame, broadcast, 6))
		return PACKET_TYPE_BROADCAST;
	return frame[0] & 1 ? PACKET_TYPE_MULTICAST : PACKET_TYPE_OTHERHOST;
}

/* Never forwarded: to or from this link or this host only (the kernel's rt6_need_strict). */
static bool local_only(const uint32_t *address)
{
	return address[0] >> 22 == 0x3fa || address[0] >> 24 == 0xff ||
	       (!address[0] && !address[1] && !address[2] && address[3] == 1);
}

bool world_forwards(unsigned interface, unsigned family, const uint32_t *src, const uint32_t *dst)
{
	if (!(interface & 1))
		return false;
	if (family == 4)
		return dst[0] >> 24 != 10;
	return !local_only(src) && !local_only(dst) && dst[0] >> 24 != 0xfd;
}

enum route world_route(void *context, const struct user_frame *frame, const struct packet *packet)
{
	const uint32_t *word = packet->fields.word;

	(void)context;
	return world_forwards(frame->ifindex - WORLD_IFINDEX, word[FIELD_FAMILY], &word[FIELD_SRC],
			      &word[FIELD_DST]) ?
		       ROUTE_FORWARD : ROUTE_SELF;
}

int world_way_back(void *context, const struct user_frame *frame, const struct packet *packet,
		   uint32_t *ifindex)
{
	const uint32_t *src = &packet->fields.word[FIELD_SRC];
	unsigned to = 1; /* the default route */

	(void)context;
	if (!((frame->ifindex - WORLD_IFINDEX) & 1))
		return 0; /* whatever arrives here is of this host */
	if (packet->fields.word[FIELD_FAMILY] == 4) {
		if (src[0] >> 24 == 10 || src[0] == 0xc0000201 || src[0] == 0xc00002ff)
			return 0;
		to = src[0] >> 8 == 0xc63364 ? 3 : 1;
	} else {
		if (src[0] >> 24 == 0xfd)
			return 0;
		to = src[0] == 0x20010db8 && src[1] >> 16 == 1 ? 3 : 1;
	}
	*ifindex = WORLD_IFINDEX + to;
	return 1;
}

uint32_t world_mtu(void *context, uint32_t ifindex)
{
	(void)context;
	(void)ifindex;
	return 1500;
}

const unsigned char *world_bytes(const struct world *world)
{
	return world->bytes;
}

uint64_t world_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (!file)
		return -errno;
	fputs(text, file);
	return fclose(file) ? -errno : 0;
}

static int run_ip(const char *command, const char *lines)
{
	FILE *pipe = popen(command, "w");

	if (!pipe)
		return -errno;
	fputs(lines, pipe);
	return pclose(pipe) ? -EIO : 0;
}

/*
 * The gateway of d1 is known, those of other networks are not: both answers of a route that leads
 * on.
 */
static int make_namespace(void)
{
	char links[2048] = "link set lo up\n";
	size_t n = strlen(links);
	int err;

	if (unshare(CLONE_NEWNET))
		return -errno;
	err = write_file("/proc/sys/net/ipv4/conf/all/forwarding", "1\n");
	if (!err)
		err = write_file("/proc/sys/net/ipv6/conf/all/forwarding", "1\n");
	for (int i = 0; i < WORLD_INTERFACES; i++)
		n += (size_t)snprintf(links + n, sizeof(links) - n,
				      "link add d%d index %d address 02:00:00:00:00:%x type veth "
				      "peer name p%d\n"
				      "link set p%d up\n"
				      "link set d%d up\n",
				      i, WORLD_IFINDEX + i, 0x10 + i, i, i, i);
	for (int i = 0; i < WORLD_INTERFACES; i += 2)
		n += (size_t)snprintf(links + n, sizeof(links) - n, "rule add iif d%d lookup 100\n",
				      i);
	snprintf(links + n, sizeof(links) - n,
		 "route add local 0.0.0.0/0 dev lo table 100\n"
		 "route add local 10.0.0.0/8 dev lo\n"
		 "address add 192.0.2.1/24 dev d1\n"
		 "neigh add 192.0.2.2 lladdr 02:00:00:00:00:99 dev d1 nud permanent\n"
		 "route add default via 192.0.2.2\n"
		 "route add 198.51.100.0/24 dev d3\n");
	if (!err)
		err = run_ip("ip -batch -", links);
	if (!err)
		err = run_ip("ip -6 -batch -",
			     "rule add iif d0 lookup 100\n"
			     "rule add iif d2 lookup 100\n"
			     "rule add iif d4 lookup 100\n"
			     "route add local ::/0 dev lo table 100\n"
			     "route add local fd00::/8 dev lo\n"
			     "neigh add fe80::99 lladdr 02:00:00:00:00:99 dev d1 nud permanent\n"
			     "route add default via fe80::99 dev d1\n"
			     "route add 2001:db8:1::/48 dev d3\n");
	return err;
}

static int stay_on_cpu(struct world *world)
{
	int cpu = sched_getcpu();
	cpu_set_t set;

	if (cpu < 0)
		return -errno;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	world->cpu = (unsigned)cpu;
	world->cpus = (unsigned)libbpf_num_possible_cpus();
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

static int hear(void *context, void *data, size_t size)
{
	struct world *world = context;
	struct seen *to = world->listener;

	if (to && to->events < WORLD_EVENTS && size >= sizeof(struct event))
		memcpy(&to->event[to->events], data, sizeof(struct event));
	if (to)
		to->events++;
	return 0;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static int make_maps(struct world *world)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_INNER_MAP);
	struct harness *skeleton = world->skeleton;
	uint32_t zero = 0;

	world->pages = bpf_map_create(BPF_MAP_TYPE_ARRAY, "pages", 4, IMAGE_PAGE, PAGES, &options);
	if (world->pages < 0)
		return world->pages;
	world->counters = bpf_map_create(BPF_MAP_TYPE_ARRAY, "counters", 4, sizeof(struct counter),
					 RULES_MAX * world->cpus, &options);
	if (world->counters < 0)
		return world->counters;
	if (bpf_map_update_elem(bpf_map__fd(skeleton->maps.images), &zero, &world->pages, 0) ||
	    bpf_map_update_elem(bpf_map__fd(skeleton->maps.counters), &zero, &world->counters, 0))
		return -errno;
	world->directory = mmap(NULL, sizeof(*world->directory), PROT_READ | PROT_WRITE, MAP_SHARED,
				bpf_map__fd(skeleton->maps.data_sets), 0);
	if (world->directory == MAP_FAILED)
		return -errno;
	world->ring = ring_buffer__new(bpf_map__fd(skeleton->maps.events), hear, world, NULL);
	return world->ring ? 0 : -errno;
}

/* Small tables: emptying one walks all of its buckets. */
static int load_programs(struct world *world)
{
	struct harness *skeleton = harness__open();

	if (!skeleton)
		return -errno;
	world->skeleton = skeleton;
	bpf_map__set_max_entries(skeleton->maps.flows, 512);
	bpf_map__set_max_entries(world->skeleton->maps.fragments, 256); /* soon emptied */
	bpf_map__set_max_entries(skeleton->maps.embryonic, 1024);
	bpf_map__set_max_entries(skeleton->maps.asked, 256);
	bpf_map__set_max_entries(skeleton->maps.buckets, LIMITED_MAX);
	bpf_map__set_max_entries(skeleton->maps.buckets_of_all, LIMITED_MAX);
	bpf_map__set_max_entries(skeleton->maps.tallies, LIMITED_MAX);
	bpf_map__set_max_entries(skeleton->maps.places, LIMITED_MAX);
	return harness__load(skeleton); /* -EPERM without the capability */
}

int world_open(struct world **result, const char **why)
{
	struct world *world = calloc(1, sizeof(*world));
	int err;

	if (!world)
		return -ENOMEM;
	libbpf_set_print(quiet);
	*why = "no network namespace can be made";
	err = make_namespace();
	if (!err)
		err = stay_on_cpu(world);
	if (!err) {
		*why = "the BPF programs cannot be loaded";
		err = load_programs(world);
	}
	if (!err)
		err = make_maps(world);
	if (err) {
		world_close(world);
		return err;
	}
	*result = world;
	return 0;
}

void world_close(struct world *world)
{
	if (!world)
		return;
	ring_buffer__free(world->ring);
	if (world->pages > 0)
		close(world->pages);
	if (world->counters > 0)
		close(world->counters);
	for (int i = 0; i < SETS_MAX; i++)
		if (world->sets[i].fd > 0)
			close(world->sets[i].fd);
	early__destroy(world->early);
	harness__destroy(world->skeleton);
	free(world);
}

static int raw_stats(struct world *world, uint64_t *stats)
{
	struct statistics *rows = calloc(world->cpus, sizeof(*rows));
	uint32_t zero = 0;
	int err;

	if (!rows)
		return -ENOMEM;
	err = bpf_map_lookup_elem(bpf_map__fd(world->skeleton->maps.stats), &zero, rows) ? -errno :
											   0;
	for (uint32_t i = 0; i < STAT_COUNT; i++) {
		stats[i] = 0;
		for (unsigned cpu = 0; cpu < world->cpus; cpu++)
			stats[i] += rows[cpu].count[i];
	}
	free(rows);
	return err;
}

int world_stats(struct world *world, uint64_t *stats)
{
	int err = raw_stats(world, stats);

	for (int i = 0; !err && i < STAT_COUNT; i++)
		stats[i] -= world->stats[i];
	return err;
}

/* The row of this CPU, into `values`. */
static int read_counters(const struct world *world, struct counter *values)
{
	uint32_t start = world->cpu * world->rules - 1, last, keys[RULES_MAX], n = world->rules;
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	int err = bpf_map_lookup_batch(world->counters, world->cpu ? &start : NULL, &last, keys,
				       values, &n, &options);

	/* -ENOENT: the end of the map was met. */
	return (err && errno != ENOENT) || n != world->rules ? -EIO : 0;
}

static int write_image(struct world *world, const unsigned char *image, size_t size)
{
	unsigned char *page = malloc(IMAGE_PAGE);
	int err = page ? 0 : -ENOMEM;

	for (uint32_t i = 0; !err && i * (size_t)IMAGE_PAGE < size; i++) {
		size_t offset = i * (size_t)IMAGE_PAGE, left = size - offset;

		memset(page, 0, IMAGE_PAGE);
		memcpy(page, image + offset, left < IMAGE_PAGE ? left : IMAGE_PAGE);
		if (bpf_map_update_elem(world->pages, &i, page, 0))
			err = -errno;
	}
	free(page);
	return err;
}

static int write_control(const struct world *world, const struct image_header *header,
			 uint32_t generation, uint32_t flows_since)
{
	const struct image_bucket *bucket =
		(const void *)((const uint8_t *)header + (size_t)header->interfaces * IMAGE_UNIT);
	const struct image_hygiene *hygiene =
		(const void *)((const uint8_t *)header + (size_t)header->hygiene * IMAGE_UNIT);
	struct control control = { .cpus = world->cpus, .watch_until = UINT64_MAX };
	uint32_t zero = 0;

	proof_keys_make(control.proof_keys, 0); /* as in the user engine */
	control.slot[0].generation = generation;
	control.slot[0].flows_since = flows_since;
	control.slot[0].mark_shift = header->mark_shift;
	for (uint32_t i = 0; i < INTERFACES_NEAR; i++)
		control.tags[0][i] = IMAGE_TAG_OTHER;
	for (uint32_t i = 0; i <= header->interface_mask; i++)
		for (uint32_t j = 0; j < 4; j++)
			if (bucket[i].entry[j].ifindex < INTERFACES_NEAR)
				control.tags[0][bucket[i].entry[j].ifindex] = bucket[i].entry[j].tag;
	/* Every interface: it is right to look closer where nothing is to be done. */
	for (uint32_t i = 0; header->hygiene && i < header->zones; i++)
		control.slot[0].clamps |= hygiene[i].flags & HYGIENE_CLAMP_MSS;
	for (uint32_t i = 0; header->hygiene && i < INTERFACES_NEAR; i++)
		control.tags[0][i] |= TAG_SCRUBBED;
	return bpf_map_update_elem(bpf_map__fd(world->skeleton->maps.data_control), &zero, &control, 0) ?
		       -errno : 0;
}

static void empty_fd(int fd, void *key)
{
	while (!bpf_map_get_next_key(fd, NULL, key))
		bpf_map_delete_elem(fd, key);
}

static int set_make(struct world *world, uint32_t index, const struct image_dynamic_set *set)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
	struct set_head *head = &world->directory->heads[index + 1];
	struct world_set *made = &world->sets[index];
	uint32_t place = index + 1;

	made->tag = dynamic_set_tag(set);
	made->fd = bpf_map_create(BPF_MAP_TYPE_HASH, "set", sizeof(struct set_key),
				  sizeof(uint64_t), set->max, &options);
	if (made->fd < 0)
		return made->fd;
	head->max = set->max;
	head->timeout = set->timeout * UINT64_C(1000000000);
	return bpf_map_update_elem(bpf_map__fd(world->skeleton->maps.sets), &place, &made->fd, 0) ?
		       -errno : 0;
}

/* Sets by their tags, as an apply does: what the policy before did not name begins empty. */
static int write_sets(struct world *world, const struct image_header *header)
{
	const struct image_dynamic_set *sets =
		(const void *)((const uint8_t *)header + (size_t)header->sets * IMAGE_UNIT);
	bool named[SETS_MAX] = { false };
	int err = 0;

	world->set_n = header->set_n;
	for (uint32_t i = 0, j; !err && i < header->set_n; i++) {
		struct set_key key;

		for (j = 0; j < SETS_MAX && world->sets[j].tag; j++)
			if (world->sets[j].tag == dynamic_set_tag(&sets[i]))
				break;
		if (j == SETS_MAX)
			return -E2BIG;
		if (!world->sets[j].tag)
			err = set_make(world, j, &sets[i]);
		else if (!world->sets[j].named)
			empty_fd(world->sets[j].fd, &key);
		named[j] = true;
		world->places[i] = j + 1;
		world->directory->places[0][i] = (uint8_t)(j + 1);
	}
	for (uint32_t j = 0; j < SETS_MAX; j++)
		world->sets[j].named = named[j];
	return err;
}

int world_set_add(struct world *world, uint32_t set, uint32_t family, const uint32_t address[4],
		  uint32_t prefix, uint64_t expires)
{
	uint32_t place = world->places[set];
	struct set_lengths *lengths = &world->directory->heads[place].lengths;
	struct set_key key;

	set_key_make(&key, address, family, prefix);
	if (prefix != (family == 4 ? 32 : 128))
		lengths->bits[SET_LENGTHS_WORD(family, prefix)] |= SET_LENGTHS_BIT(prefix);
	return bpf_map_update_elem(world->sets[place - 1].fd, &key, &expires, 0) ? -errno : 0;
}

int world_set_delete(struct world *world, uint32_t set, uint32_t family, const uint32_t address[4],
		     uint32_t prefix)
{
	struct set_key key;

	set_key_make(&key, address, family, prefix);
	return bpf_map_delete_elem(world->sets[world->places[set] - 1].fd, &key) ? -errno : 0;
}

void world_set_clear(struct world *world, uint32_t set)
{
	struct set_key key;

	empty_fd(world->sets[world->places[set] - 1].fd, &key);
}

bool world_set_has(struct world *world, uint32_t set, uint32_t family, const uint32_t address[4],
		   uint32_t prefix)
{
	struct set_key key;
	uint64_t expires;

	set_key_make(&key, address, family, prefix);
	return !bpf_map_lookup_elem(world->sets[world->places[set] - 1].fd, &key, &expires);
}

int world_policy(struct world *world, const void *image, size_t size, uint32_t generation,
		 uint32_t flows_since)
{
	const struct image_header *header = image;
	int err;

	if (size > PAGES * (size_t)IMAGE_PAGE || header->rules > RULES_MAX)
		return -E2BIG;
	world->rules = header->rules;
	err = write_image(world, image, size);
	if (!err)
		err = write_sets(world, header);
	if (!err)
		err = write_control(world, header, generation, flows_since);
	if (!err)
		err = read_counters(world, world->before);
	if (!err)
		err = raw_stats(world, world->stats);
	return err;
}

/* Which rule's counter has gone up. */
static int find_rule(struct world *world, uint32_t *rule)
{
	struct counter now[RULES_MAX];
	int err = read_counters(world, now);

	*rule = RULE_NONE;
	for (uint32_t i = 0; !err && i < world->rules; i++)
		if (now[i].packets != world->before[i].packets)
			*rule = i;
	memcpy(world->before, now, world->rules * sizeof(*now));
	return err;
}

enum way {
	WAY_ATTACHED, /* the programs as they are attached */
	WAY_FULL,     /* through the harness */
	WAY_QUICK,
};

static int program_of(const struct world *world, const struct user_frame *frame, bool departs,
		      enum way way)
{
	struct harness *skeleton = world->skeleton;
	const struct bpf_program *programs[3][2][2] = {
		{ { skeleton->progs.arrive_raw, skeleton->progs.arrive_ethernet },
		  { skeleton->progs.depart_raw, skeleton->progs.depart_ethernet } },
		{ { skeleton->progs.wrapped_arrive_raw, skeleton->progs.wrapped_arrive_ethernet },
		  { skeleton->progs.wrapped_depart_raw, skeleton->progs.wrapped_depart_ethernet } },
		{ { skeleton->progs.wrapped_quick_arrive_raw,
		    skeleton->progs.wrapped_quick_arrive_ethernet },
		  { skeleton->progs.wrapped_quick_depart_raw,
		    skeleton->progs.wrapped_quick_depart_ethernet } },
	};

	return bpf_program__fd(programs[way][departs][frame->ethernet]);
}

static enum user_action action_of(uint32_t verdict)
{
	switch ((int)verdict) {
	case TC_ACT_UNSPEC:
		return USER_NEXT;
	case TC_ACT_SHOT:
		return USER_DROP;
	case TC_ACT_REDIRECT:
		return USER_ANSWER;
	}
	return (enum user_action)verdict; /* is unlike any other */
}

/* Both ways, as the tail call joins them; the quick one leaves alone what is not its own. */
static int run_ways(const struct world *world, const struct user_frame *frame, bool departs,
		    struct bpf_test_run_opts *run, const struct __sk_buff *in,
		    const struct __sk_buff *out)
{
	if (bpf_prog_test_run_opts(program_of(world, frame, departs, WAY_QUICK), run))
		return -errno;
	if (run->retval != NOT_OURS)
		return 0;
	if (out->mark != in->mark || out->cb[0] != in->cb[0] ||
	    (in->cb[3] && out->cb[3] != in->cb[3]) ||
	    (!frame->vlan_present && (run->data_size_out != frame->len ||
				      memcmp(run->data_out, frame->bytes, frame->len))))
		return -EBADMSG;
	run->data_size_out = sizeof(world->bytes);
	run->ctx_size_out = sizeof(*out);
	return bpf_prog_test_run_opts(program_of(world, frame, departs, WAY_FULL), run) ? -errno : 0;
}

int world_run(struct world *world, const struct user_frame *frame, bool departs, bool wrapped,
	      struct seen *seen)
{
	unsigned char *bytes = world->bytes;
	struct __sk_buff in = { .mark = frame->mark,
				.ingress_ifindex = frame->ingress_ifindex,
				.ifindex = frame->ifindex,
				.gso_size = frame->gso_size,
				.gso_segs = frame->gso_segs },
			 out = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame->bytes, .data_size_in = frame->len,
		    .data_out = bytes, .data_size_out = sizeof(world->bytes), .ctx_in = &in,
		    .ctx_size_in = sizeof(in), .ctx_out = &out, .ctx_size_out = sizeof(out),
		    .repeat = 1);
	uint32_t zero = 0;
	int err;

	if (wrapped) {
		in.cb[0] = frame->tc_index;
		in.cb[3] = frame->hash;
		in.cb[1] = frame->pkt_type + 1;
		in.cb[2] = frame->vlan_present ? 0x10000 | frame->vlan_tci : 0;
	}
	memset(seen, 0, sizeof(*seen));
	world->listener = seen;
	if (wrapped)
		err = run_ways(world, frame, departs, &run, &in, &out);
	else
		err = bpf_prog_test_run_opts(program_of(world, frame, departs, WAY_ATTACHED), &run) ?
			      -errno : 0;
	if (err)
		return err;
	if (run.retval == FAILED)
		return -EINVAL;
	seen->action = action_of(run.retval);
	seen->mark = out.mark;
	seen->tc_index = wrapped ? out.cb[0] : 0;
	seen->hash = wrapped ? out.cb[3] : 0;
	seen->told = wrapped;
	ring_buffer__consume(world->ring);
	world->listener = NULL;
	if (seen->action == USER_NEXT &&
	    (run.data_size_out != frame->len ||
	     (!frame->vlan_present && !frame->writable && memcmp(bytes, frame->bytes, frame->len))))
		return -EBADMSG; /* a packet that goes on was changed */
	if (seen->action == USER_ANSWER) {
		struct answer_budget none = { 0 };

		bpf_map_update_elem(bpf_map__fd(world->skeleton->maps.answers), &zero, &none, 0);
	}
	return find_rule(world, &seen->rule);
}

int world_open_early(struct world *world)
{
	static const char *const shared[] = { ".data.control", ".data.sets", "images",	"counters",
					      "stats",	       "events",     "sets",	"buckets",
					      "buckets_of_all" };
	int err = 0;

	world->early = early__open();
	if (!world->early)
		return -errno;
	for (size_t i = 0; !err && i < sizeof(shared) / sizeof(shared[0]); i++)
		err = bpf_map__reuse_fd(
			bpf_object__find_map_by_name(world->early->obj, shared[i]),
			bpf_object__find_map_fd_by_name(world->skeleton->obj, shared[i]));
	return err ? err : early__load(world->early);
}

int world_run_early(struct world *world, const struct user_frame *frame, struct seen *seen)
{
	const struct bpf_program *program = frame->ethernet ? world->early->progs.early_ethernet :
							      world->early->progs.early_raw;
	struct xdp_md in = { .data_end = frame->len, .ingress_ifindex = frame->ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame->bytes, .data_size_in = frame->len,
		    .data_out = world->bytes, .data_size_out = sizeof(world->bytes), .ctx_in = &in,
		    .ctx_size_in = sizeof(in), .repeat = 1);

	memset(seen, 0, sizeof(*seen));
	world->listener = seen;
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &run))
		return -errno;
	seen->action = run.retval == XDP_PASS ? USER_NEXT :
		       run.retval == XDP_DROP ? USER_DROP : (enum user_action)run.retval + 100;
	ring_buffer__consume(world->ring);
	world->listener = NULL;
	if (run.data_size_out != frame->len || memcmp(world->bytes, frame->bytes, frame->len))
		return -EBADMSG; /* nothing is changed here */
	return find_rule(world, &seen->rule);
}

int world_flow(struct world *world, const struct flow_key *key, struct flow *flow, bool *embryonic)
{
	*embryonic = false;
	if (!bpf_map_lookup_elem(bpf_map__fd(world->skeleton->maps.flows), key, flow))
		return 0;
	*embryonic = true;
	return bpf_map_lookup_elem(bpf_map__fd(world->skeleton->maps.embryonic), key, flow) ?
		       -ENOENT : 0;
}

static uint32_t count_map(const struct bpf_map *map)
{
	unsigned char key[sizeof(struct flow_key)], *previous = NULL;
	uint32_t n = 0;

	while (!bpf_map_get_next_key(bpf_map__fd(map), previous, key)) {
		previous = key;
		n++;
	}
	return n;
}

uint32_t world_flow_count(struct world *world)
{
	return count_map(world->skeleton->maps.flows) + count_map(world->skeleton->maps.embryonic);
}

static void empty_map(const struct bpf_map *map)
{
	unsigned char key[sizeof(struct fragment_key)]; /* the longest */
	int fd = bpf_map__fd(map);

	while (!bpf_map_get_next_key(fd, NULL, key))
		bpf_map_delete_elem(fd, key);
}

void world_flush(struct world *world)
{
	empty_map(world->skeleton->maps.flows);
	empty_map(world->skeleton->maps.embryonic);
	empty_map(world->skeleton->maps.asked);
	empty_map(world->skeleton->maps.fragments);
}

void world_forget(struct world *world)
{
	empty_map(world->skeleton->maps.buckets);
	empty_map(world->skeleton->maps.buckets_of_all);
	empty_map(world->skeleton->maps.tallies);
	empty_map(world->skeleton->maps.places);
}
