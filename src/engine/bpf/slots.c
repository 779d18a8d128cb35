// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Slots, in the maps: three maps of two inner maps each (images, counters, sources), and a row of
 * the control block for each slot.
 *
 * Setting an entry of a map of maps waits until no program runs that could have seen the old one.
 * That is why a slot can be filled again at any time, and why each such step takes milliseconds:
 * those before the flip are what an interface that has just come has to wait for (slots_reimage).
 *
 * Two ways lead to the flip. An apply fills the other slot with all three and counts a generation
 * up. A change of interfaces alone brings an image, and lets the other slot share counters and
 * sources with the running one: nothing is to be carried over, and nothing is counted twice.
 */
#include "engine/bpf/slots.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "engine/bpf/problem.h"
#include "engine/bpf/set_places.h"

#define FLAG_INNER_MAP (1u << 12) /* BPF_F_INNER_MAP */

_Static_assert(SOURCE_PAGE == IMAGE_PAGE, "one page size");

static int inner_map_new(const char *name, uint32_t value_size, uint32_t entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = FLAG_INNER_MAP);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(uint32_t), value_size, entries,
				&options);

	return fd < 0 ? -errno : fd;
}

/* A frozen map of pages that holds the bytes. A descriptor, or -errno. */
static int pages_new(const char *name, const unsigned char *bytes, size_t size)
{
	uint32_t n = (uint32_t)((size + IMAGE_PAGE - 1) / IMAGE_PAGE);
	cleanup_free unsigned char *page = malloc(IMAGE_PAGE);
	cleanup_fd int fd = inner_map_new(name, IMAGE_PAGE, n ? n : 1);

	if (!page)
		return -ENOMEM;
	if (fd < 0)
		return fd;
	for (uint32_t i = 0; i < n; i++) {
		size_t left = size - (size_t)i * IMAGE_PAGE;

		if (left < IMAGE_PAGE)
			memset(page, 0, IMAGE_PAGE);
		memcpy(page, bytes + (size_t)i * IMAGE_PAGE, left < IMAGE_PAGE ? left : IMAGE_PAGE);
		if (bpf_map_update_elem(fd, &i, page, BPF_ANY))
			return -errno;
	}
	if (bpf_map_freeze(fd))
		return -errno;
	return take_fd(fd);
}

static int pages_read(int outer, uint32_t slot, size_t size, unsigned char **bytes)
{
	cleanup_free unsigned char *all = NULL;
	cleanup_fd int fd = -1;
	uint32_t id, n = (uint32_t)((size + IMAGE_PAGE - 1) / IMAGE_PAGE);

	if (bpf_map_lookup_elem(outer, &slot, &id))
		return -errno;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return -errno;
	all = aligned_alloc(16, (size_t)(n ? n : 1) * IMAGE_PAGE);
	if (!all)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		if (bpf_map_lookup_elem(fd, &i, all + (size_t)i * IMAGE_PAGE))
			return -errno;
	*bytes = take(all);
	return 0;
}

uint64_t slots_generation(const struct loaded *loaded)
{
	return loaded->control->slot[loaded->control->active & 1].generation;
}

bool slots_running(const struct loaded *loaded)
{
	return slots_generation(loaded) != 0;
}

void slots_stop(struct loaded *loaded)
{
	__atomic_store_n(&loaded->control->slot[loaded->control->active & 1].generation, 0,
			 __ATOMIC_SEQ_CST);
}

/* Updating a map of maps waits until no program runs that could have seen the old entry. */
static int slot_set(int outer, uint32_t slot, int inner)
{
	return bpf_map_update_elem(outer, &slot, &inner, BPF_ANY) ? -errno : 0;
}

/* What the zones of an image ask for, by zone number; NULL: nothing. */
static const struct image_hygiene *hygiene_table(const struct image *image)
{
	const struct image_header *header = (const void *)image->bytes;

	if (!header->hygiene)
		return NULL;
	return (const void *)(image->bytes + (size_t)header->hygiene * IMAGE_UNIT);
}

static uint16_t tag_near(const struct image_interface *interface,
			 const struct image_hygiene *hygiene)
{
	if (!hygiene)
		return interface->tag;
	hygiene += interface->zone;
	if (!hygiene->min_ttl && !(hygiene->flags & (HYGIENE_NO_DF | HYGIENE_RANDOM_ID)))
		return interface->tag;
	return (uint16_t)(interface->tag | TAG_SCRUBBED);
}

static bool image_clamps(const struct image *image)
{
	const struct image_header *header = (const void *)image->bytes;
	const struct image_hygiene *hygiene = hygiene_table(image);

	for (uint32_t i = 0; hygiene && i < header->zones; i++)
		if (hygiene[i].flags & HYGIENE_CLAMP_MSS)
			return true;
	return false;
}

/* What the quick way looks up: the same as the image's table of interfaces. */
static void tags_fill(uint16_t tags[INTERFACES_NEAR], const struct image *image)
{
	const struct image_header *header = (const void *)image->bytes;
	const struct image_bucket *bucket =
		(const void *)(image->bytes + (size_t)header->interfaces * IMAGE_UNIT);

	const struct image_interface other = { .zone = ZONE_OTHER, .tag = IMAGE_TAG_OTHER };
	const struct image_hygiene *hygiene = hygiene_table(image);

	for (uint32_t i = 0; i < INTERFACES_NEAR; i++)
		tags[i] = tag_near(&other, hygiene);
	for (uint32_t i = 0; i <= header->interface_mask; i++)
		for (uint32_t j = 0; j < 4; j++)
			if (bucket[i].entry[j].ifindex && bucket[i].entry[j].ifindex < INTERFACES_NEAR)
				tags[bucket[i].entry[j].ifindex] =
					tag_near(&bucket[i].entry[j], hygiene);
}

int slots_fill(struct loaded *loaded, const struct ruleset *ruleset, const struct image *image,
	       const struct apply_options *options, uint32_t *slot, struct problem *problem)
{
	struct control *control = loaded->control;
	const struct image_header *header = (const void *)image->bytes;
	uint32_t next = slots_running(loaded) ? !(control->active & 1) : 0;
	cleanup_fd int image_fd = -1, counters_fd = -1, sources_fd = -1;
	struct control_slot *to = &control->slot[next];
	cleanup_free unsigned char *bundle = NULL;
	size_t bundle_size;
	int err;

	err = source_set_pack(&ruleset->sources, &bundle, &bundle_size);
	if (err)
		return problem_set(problem, err, "cannot pack the policy's text: ");
	image_fd = pages_new("image", image->bytes, image->size);
	counters_fd = inner_map_new("counters", sizeof(struct counter),
				    (control->cpus + 1) * header->rules);
	sources_fd = pages_new("source", bundle, bundle_size);
	if (image_fd < 0 || counters_fd < 0 || sources_fd < 0) {
		err = image_fd < 0 ? image_fd : counters_fd < 0 ? counters_fd : sources_fd;
		return problem_set(problem, err, "cannot store the policy in the kernel: ");
	}
	err = set_places_fill(loaded, ruleset, next, options, problem);
	if (err)
		return err;
	err = slot_set(loaded->maps[MAP_IMAGES], next, image_fd);
	if (!err)
		err = slot_set(loaded->maps[MAP_COUNTERS], next, counters_fd);
	if (!err)
		err = slot_set(loaded->maps[MAP_SOURCES], next, sources_fd);
	if (err)
		return problem_set(problem, err, "cannot store the policy in the kernel: ");
	tags_fill(control->tags[next], image);
	to->rules = header->rules;
	to->mark_shift = ruleset->options.mark_shift;
	if (header->flags & (IMAGE_FORWARDS | IMAGE_SOURCES))
		control->translates = 1;
	to->guard = ruleset->options.guard;
	to->clamps = image_clamps(image);
	to->applied_at = (uint64_t)time(NULL);
	to->image_size = image->size;
	to->source_size = bundle_size;
	*slot = next;
	return 0;
}

struct carried {
	const char *id;
	struct rule_counter counter;
};

static int carried_compare(const void *a, const void *b)
{
	const struct carried *left = a, *right = b;

	return strcmp(left->id, right->id);
}

/* Adds what the old policy's rules have counted to the carry row of the new one's, by rule id. */
static int counters_carry(struct loaded *loaded, const struct ruleset *old,
			  const struct rule_counter *counts, uint32_t n,
			  const struct ruleset *ruleset, uint32_t slot)
{
	cleanup_free struct carried *carried = calloc(n, sizeof(*carried));
	uint32_t rules = ruleset_image_rules(ruleset), id;
	cleanup_fd int fd = -1;

	if (!carried)
		return -ENOMEM;
	if (bpf_map_lookup_elem(loaded->maps[MAP_COUNTERS], &slot, &id))
		return -errno;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return -errno;
	for (uint32_t i = 0; i < n; i++) {
		const struct rule *rule = ruleset_rule(old, i);

		carried[i] = (struct carried){ rule ? rule->id : "", counts[i] };
	}
	qsort(carried, n, sizeof(*carried), carried_compare);
	for (uint32_t i = 0; i < rules; i++) {
		const struct rule *rule = ruleset_rule(ruleset, i);
		struct carried key = { .id = rule ? rule->id : "" };
		struct carried *found =
			bsearch(&key, carried, n, sizeof(*carried), carried_compare);
		uint32_t index = loaded->control->cpus * rules + i;

		if (found && found->counter.packets &&
		    bpf_map_update_elem(fd, &index, &found->counter, BPF_ANY))
			return -errno;
	}
	return 0;
}

/*
 * Counters are a comfort: that they could not be carried over is no reason to refuse a policy that
 * already runs.
 */
static void counters_move(struct loaded *loaded, const struct ruleset *ruleset, uint32_t from,
			  uint32_t to)
{
	struct source_set sources = { 0 };
	struct rule_counter *counts = NULL;
	struct diagnostics diagnostics = { 0 };
	struct ruleset old = { 0 };
	struct problem ignored;
	uint32_t n;

	if (!slots_sources(loaded, from, &sources, &ignored) && sources.sources.n &&
	    !policy_load(sources.sources.items[0].name, &sources, &old, &diagnostics) &&
	    !slots_counters(loaded, from, &counts, &n, &ignored) && n == ruleset_image_rules(&old))
		counters_carry(loaded, &old, counts, n, ruleset, to);
	free(counts);
	ruleset_free(&old);
	diagnostics_free(&diagnostics);
}

int slots_flip(struct loaded *loaded, const struct ruleset *ruleset, uint32_t slot,
	       const struct apply_options *options, struct problem *problem)
{
	struct control *control = loaded->control;
	bool running = slots_running(loaded);
	uint32_t old = control->active & 1, generation = control->slot[old].generation + 1, id;
	int err, fd;

	control->slot[slot].flows_since =
		options->keep_flows ? control->slot[old].flows_since : generation;
	/* The first policy begins with the first of these words, each other with the second. */
	__atomic_store_n(&control->slot[slot].generation, generation, __ATOMIC_RELEASE);
	__atomic_store_n(&control->active, slot, __ATOMIC_RELEASE);
	if (!running || old == slot)
		return 0;
	/*
	 * Setting the entry again changes nothing but waits for the programs that still see the old
	 * slot.
	 */
	if (!bpf_map_lookup_elem(loaded->maps[MAP_SOURCES], &slot, &id)) {
		fd = bpf_map_get_fd_by_id(id);
		if (fd >= 0) {
			slot_set(loaded->maps[MAP_SOURCES], slot, fd);
			close(fd);
		}
	}
	if (!options->trial)
		set_places_tidy(loaded);
	counters_move(loaded, ruleset, old, slot);
	err = bpf_map_delete_elem(loaded->maps[MAP_IMAGES], &old) ||
			      bpf_map_delete_elem(loaded->maps[MAP_COUNTERS], &old) ||
			      bpf_map_delete_elem(loaded->maps[MAP_SOURCES], &old) ?
		      -errno : 0;
	return err ? problem_set(problem, err, "cannot free the former policy: ") : 0;
}

/* The other slot's entry becomes the same inner map as the running slot's. */
static int slot_share(int outer, uint32_t from, uint32_t to)
{
	cleanup_fd int fd = -1;
	uint32_t id, there;

	if (bpf_map_lookup_elem(outer, &from, &id))
		return -errno;
	if (!bpf_map_lookup_elem(outer, &to, &there) && there == id)
		return 0;
	fd = bpf_map_get_fd_by_id(id);
	return fd < 0 ? -errno : slot_set(outer, to, fd);
}

int slots_reimage_prepare(struct loaded *loaded)
{
	uint32_t active = loaded->control->active & 1;
	int err = slot_share(loaded->maps[MAP_COUNTERS], active, !active);

	return err ? err : slot_share(loaded->maps[MAP_SOURCES], active, !active);
}

int slots_reimage(struct loaded *loaded, const struct image *image, struct problem *problem)
{
	struct control *control = loaded->control;
	uint32_t old = control->active & 1, next = !old;
	cleanup_fd int fd = pages_new("image", image->bytes, image->size);
	int err = fd < 0 ? fd : 0;

	if (!err)
		err = slots_reimage_prepare(loaded);
	if (!err) /* last: it waits for programs that still see what this slot once was */
		err = slot_set(loaded->maps[MAP_IMAGES], next, fd);
	if (err)
		return problem_set(problem, err, "cannot store the policy in the kernel: ");
	tags_fill(control->tags[next], image);
	set_places_share(loaded, old, next);
	control->slot[next] = control->slot[old];
	control->slot[next].image_size = image->size;
	__atomic_store_n(&control->active, next, __ATOMIC_RELEASE);
	return 0;
}

int slots_reimage_done(struct loaded *loaded, struct problem *problem)
{
	uint32_t old = !(loaded->control->active & 1);

	if (bpf_map_delete_elem(loaded->maps[MAP_IMAGES], &old) && errno != ENOENT)
		return problem_set(problem, -errno, "cannot free the former image: ");
	return 0;
}

int slots_sources(const struct loaded *loaded, uint32_t slot, struct source_set *sources,
		  struct problem *problem)
{
	size_t size = loaded->control->slot[slot].source_size;
	cleanup_free unsigned char *bytes = NULL;
	int err;

	err = pages_read(loaded->maps[MAP_SOURCES], slot, size, &bytes);
	if (!err)
		err = source_set_unpack(bytes, size, sources);
	return err ? problem_set(problem, err, "cannot read the running policy's text: ") : 0;
}

int slots_image(const struct loaded *loaded, uint32_t slot, struct image *image,
		struct problem *problem)
{
	size_t size = loaded->control->slot[slot].image_size;
	unsigned char *bytes = NULL;
	const char *why;
	int err;

	err = pages_read(loaded->maps[MAP_IMAGES], slot, size, &bytes);
	if (err)
		return problem_set(problem, err, "cannot read the running image: ");
	err = image_validate(bytes, size, &why);
	if (err) {
		free(bytes);
		return problem_set(problem, err, "the running image is damaged: %s", why);
	}
	*image = (struct image){ .bytes = bytes, .size = size };
	return 0;
}

int slots_counters(const struct loaded *loaded, uint32_t slot, struct rule_counter **counters,
		   uint32_t *n, struct problem *problem)
{
	uint32_t rules = loaded->control->slot[slot].rules, rows = loaded->control->cpus + 1;
	cleanup_free struct rule_counter *sums = calloc(rules ? rules : 1, sizeof(*sums));
	cleanup_fd int fd = -1;
	uint32_t id;

	if (!sums)
		return problem_set(problem, -ENOMEM, "out of memory");
	if (!bpf_map_lookup_elem(loaded->maps[MAP_COUNTERS], &slot, &id))
		fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return problem_set(problem, -errno, "cannot read the counters: ");
	for (uint32_t index = 0; index < rows * rules; index++) {
		struct rule_counter *sum = &sums[index % rules];
		struct counter one;

		if (bpf_map_lookup_elem(fd, &index, &one))
			return problem_set(problem, -errno, "cannot read the counters: ");
		sum->packets += one.packets;
		sum->bytes += one.bytes;
		if (one.last_ns > sum->last_ns)
			sum->last_ns = one.last_ns;
	}
	*counters = take(sums);
	*n = rules;
	return 0;
}
