// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Packet fields to rule number, by walking an image (core/image.h describes it).
 *
 * A walk goes node by node; one step is one node. The host runs the steps, because loops are the
 * host's business: BPF has bpf_loop(), user space a plain loop. The validator has made sure that
 * the walk ends within header.walk_max steps and that every reference is in bounds; the checks here
 * only keep a damaged image from doing harm.
 *
 * The including host header defines, before this file:
 *	host_image_t	a view of the image: the page last read and where it is
 *	const void *host_unit(host_image_t *image, __u32 unit)
 *			the unit, or NULL
 *	const struct image_switch *host_switch(host_image_t *image, __u32 unit)
 *			the switch at a unit that is a multiple of 4, or NULL
 */
#ifndef REEVE_CORE_CLASSIFY_H
#define REEVE_CORE_CLASSIFY_H

#include "core/field.h"
#include "core/image.h"

#define RULE_NONE 0xffffffffu
#define REF_NONE 0xffffffffu
#define ZONE_UNKNOWN 0xffffu

struct walk {
	__u32 ref;	/* where we are */
	__u32 yes, no;	/* where to go on behind a set */
};

/* 1 if a <= b, without a branch. */
static __always_inline __u32 at_most(__u32 a, __u32 b)
{
	return (__u32)(~((__u64)b - a) >> 63);
}

/* The number of keys that are at most `value`: which child. */
static __always_inline __u32 switch_rank(const struct image_switch *node, __u32 value)
{
	__u32 rank = 0, i;

#pragma clang loop unroll(full)
	for (i = 0; i < IMAGE_SWITCH_KEYS; i++)
		rank += at_most(node->key[i], value);
	return rank;
}

/*
 * Is this where a walk ends? At a rule; or where something is asked that is the judge's business:
 * the limits of a rule (REF_LIMIT), a dynamic set (REF_MEMBER_OF).
 */
static __always_inline int walk_ends(__u32 ref)
{
	__u32 kind = REF_KIND(ref);

	return kind == REF_RULE || kind == REF_LIMIT || kind == REF_MEMBER_OF;
}

/* One step. 0: go on; 1: the walk ends at walk->ref; negative: the image is damaged. */
static __always_inline int walk_step(host_image_t *image, const struct fields *fields,
				     struct walk *walk)
{
	__u32 ref = walk->ref, kind = REF_KIND(ref), index = REF_INDEX(ref);

	if (kind == REF_SWITCH) {
		const struct image_switch *node = host_switch(image, index);
		__u32 field;

		if (!node)
			return -1;
		field = node->field;
		if (field >= FIELD_WORDS)
			return -1;
		walk->ref = node->child[switch_rank(node, fields->word[field]) & 15];
		return 0;
	}
	if (kind == REF_TEST) {
		const struct image_test *node = host_unit(image, index);
		__u32 field;

		if (!node)
			return -1;
		field = node->field;
		if (field >= FIELD_WORDS)
			return -1;
		walk->ref = (fields->word[field] & node->mask) - node->lo <= node->span ?
				    node->yes : node->no;
		return 0;
	}
	if (walk_ends(ref))
		return 1;
	if (kind == REF_MEMBER) {
		walk->ref = index ? walk->yes : walk->no;
		return 0;
	}
	if (kind == REF_SET) {
		const struct image_set *node = host_unit(image, index);

		if (!node)
			return -1;
		walk->ref = node->root;
		walk->yes = node->yes;
		walk->no = node->no;
		return 0;
	}
	return -1;
}

/* Where the walk of a pair begins. Returns a reference; RULE_NONE when the image is damaged. */
static __always_inline __u32 walk_begin(host_image_t *image, const struct image_header *header,
					const struct fields *fields, enum walk_kind kind)
{
	__u32 slot = IMAGE_DISPATCH(header->zones, kind, fields->word[FIELD_FROM_ZONE],
				    fields->word[FIELD_TO_ZONE], fields->word[FIELD_FAMILY]);
	const __u32 *unit = host_unit(image, header->dispatch + slot / 8);

	return unit ? unit[slot & 7] : RULE_NONE;
}

/*
 * The search for the number of a zone by its tag; the host runs the steps, as those of a walk, for
 * at most ZONES_MAX zones.
 */
struct zone_search {
	__u32 tag;
	__u32 zone; /* ZONE_UNKNOWN at first, and when the policy has no such zone */
};

/* Non-zero when the search is over. */
static __always_inline int zone_search_step(host_image_t *image, const struct image_header *header,
					    struct zone_search *search, __u32 zone)
{
	const __u16 *tags;

	if (zone >= header->zones)
		return 1;
	tags = host_unit(image, header->zone_tags + zone / IMAGE_UNIT_TAGS);
	if (!tags)
		return 1;
	if (tags[zone % IMAGE_UNIT_TAGS] != search->tag)
		return 0;
	search->zone = zone;
	return 1;
}

/* The zone of an interface and its tag; ZONE_OTHER when the image does not know it. */
static __always_inline struct image_interface interface_find(host_image_t *image,
							     const struct image_header *header,
							     __u32 ifindex)
{
	struct image_interface found = { ifindex, ZONE_OTHER, IMAGE_TAG_OTHER };
	const struct image_bucket *bucket;
	__u32 i;

	bucket = host_unit(image, header->interfaces + (image_hash(ifindex) & header->interface_mask));
	if (!bucket)
		return found;
#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++)
		if (bucket->entry[i].ifindex == ifindex)
			found = bucket->entry[i];
	return found;
}

#endif
