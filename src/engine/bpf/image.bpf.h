// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Images in the kernel, and walks through them; what is counted and told. For every object with
 * programs that judge: each has maps of these names, and the loader makes them the same.
 *
 * Included once by an object, behind core/frame.h.
 */
#ifndef REEVE_ENGINE_BPF_IMAGE_BPF_H
#define REEVE_ENGINE_BPF_IMAGE_BPF_H

#include "engine/bpf/maps.h"

#define INNER_MAP(name, size)                                                                      \
	struct name {                                                                              \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(max_entries, 1);                                                            \
		__uint(map_flags, BPF_F_INNER_MAP);                                                \
		__uint(key_size, sizeof(__u32));                                                   \
		__uint(value_size, size);                                                          \
	}

INNER_MAP(image_pages, IMAGE_PAGE);
INNER_MAP(rule_counters, sizeof(struct counter));

#define SLOT_MAP(name, inner)                                                                      \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                          \
		__uint(max_entries, SLOTS);                                                        \
		__uint(key_size, sizeof(__u32));                                                   \
		__array(values, struct inner);                                                     \
	} name SEC(".maps")

SLOT_MAP(images, image_pages);
SLOT_MAP(counters, rule_counters);

/* Global data: the programs know its address, and user space maps it. */
struct control control SEC(".data.control");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct statistics);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

/* A view of an image: the inner map and the page that was read last. */
typedef struct {
	void *pages;
	const void *base;
	__u32 page;
} host_image_t;

static __always_inline const void *image_at(host_image_t *image, __u32 page, __u32 offset)
{
	if (page != image->page) {
		const void *base = bpf_map_lookup_elem(image->pages, &page);

		if (!base)
			return 0;
		image->base = base;
		image->page = page;
	}
	return image->base + offset;
}

static __always_inline const void *host_unit(host_image_t *image, __u32 unit)
{
	return image_at(image, unit / IMAGE_PAGE_UNITS, unit % IMAGE_PAGE_UNITS * IMAGE_UNIT);
}

/* Two units at one that is even. */
static __always_inline const void *host_pair(host_image_t *image, __u32 unit)
{
	return image_at(image, unit / IMAGE_PAGE_UNITS,
			(unit % IMAGE_PAGE_UNITS & ~1u) * IMAGE_UNIT);
}

static __always_inline const void *host_switch(host_image_t *image, __u32 unit)
{
	return image_at(image, unit / IMAGE_PAGE_UNITS,
			(unit % IMAGE_PAGE_UNITS & ~3u) * IMAGE_UNIT);
}

#include "core/classify.h"

struct walk_context {
	host_image_t image;
	struct walk walk;
	const struct packet *packet;
};

static long walk_next(__u32 i, struct walk_context *context)
{
	int result = walk_step(&context->image, &context->packet->fields, &context->walk);

	if (result < 0)
		context->walk.ref = REF_NONE;
	return result != 0;
}

/* Where the walk ends, as host_walk(). */
__noinline __u32 classify(struct packet *p, __u32 slot, __u32 kind, __u32 from)
{
	const struct image_header *header;
	struct walk_context context = {};
	__u32 zero = 0;

	if (!p)
		goto damaged;
	context.image.pages = bpf_map_lookup_elem(&images, &slot);
	if (!context.image.pages)
		goto damaged;
	header = bpf_map_lookup_elem(context.image.pages, &zero);
	if (!header)
		goto damaged;
	context.image.base = header;
	context.packet = p;
	context.walk.ref = from;
	if (from == REF_NONE)
		context.walk.ref = walk_begin(&context.image, header, &p->fields, kind);
	/*
	 * Not into the loop with a constant: before Linux 6.8 the verifier may take what it has seen
	 * of a step with that for all there is, and remove the rest of walk_next() as dead.
	 */
	if (context.walk.ref == REF_NONE)
		goto damaged;
	bpf_loop(IMAGE_WALK_MAX, walk_next, &context, 0);
	return context.walk.ref;
damaged:
	asm volatile("" ::: "memory"); /* no register holds the constant all the while: 64 bytes of stack */
	return REF_NONE;
}

#endif
