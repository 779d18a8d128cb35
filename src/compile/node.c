// SPDX-License-Identifier: GPL-2.0-or-later
#include "compile/node.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SLOTS_FIRST 1024u
#define UNITS_FIRST 1024u

int nodes_init(struct nodes *nodes)
{
	*nodes = (struct nodes){ .used = NODES_FIRST, .room = UNITS_FIRST };
	nodes->bytes = calloc(UNITS_FIRST, IMAGE_UNIT);
	nodes->walks = calloc(UNITS_FIRST, sizeof(*nodes->walks));
	nodes->asks = calloc(UNITS_FIRST, sizeof(*nodes->asks));
	nodes->slots = calloc(SLOTS_FIRST, sizeof(*nodes->slots));
	nodes->slot_mask = SLOTS_FIRST - 1;
	if (nodes->bytes && nodes->walks && nodes->asks && nodes->slots)
		return 0;
	nodes_free(nodes);
	return -ENOMEM;
}

void nodes_free(struct nodes *nodes)
{
	free(nodes->bytes);
	free(nodes->walks);
	free(nodes->asks);
	free(nodes->slots);
	*nodes = (struct nodes){ 0 };
}

static uint32_t fail(struct nodes *nodes, int error)
{
	if (!nodes->error)
		nodes->error = error;
	return REF_MAKE(REF_RULE, 0);
}

static size_t node_size(uint32_t kind)
{
	return kind == REF_SWITCH ? sizeof(struct image_switch) : IMAGE_UNIT;
}

static unsigned char *node_at(const struct nodes *nodes, uint32_t unit)
{
	return nodes->bytes + (size_t)unit * IMAGE_UNIT;
}

static uint32_t node_hash(uint32_t kind, const void *node)
{
	return (uint32_t)XXH3_64bits_withSeed(node, node_size(kind), kind);
}

uint32_t nodes_walk(const struct nodes *nodes, uint32_t ref)
{
	uint32_t kind = REF_KIND(ref);

	if (kind == REF_RULE || kind == REF_MEMBER)
		return kind == REF_MEMBER;
	return nodes->walks[REF_INDEX(ref)];
}

/* The slot of an equal node, or the empty slot where it belongs. */
static uint32_t *slot_find(const struct nodes *nodes, uint32_t kind, const void *node)
{
	uint32_t i = node_hash(kind, node) & nodes->slot_mask;

	for (;; i = (i + 1) & nodes->slot_mask) {
		uint32_t ref = nodes->slots[i];

		if (!ref || (REF_KIND(ref) == kind &&
			     !memcmp(node_at(nodes, REF_INDEX(ref)), node, node_size(kind))))
			return &nodes->slots[i];
	}
}

static int slots_grow(struct nodes *nodes)
{
	uint32_t n = (nodes->slot_mask + 1) * 2, *old = nodes->slots;
	uint32_t i, *slots = calloc(n, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	nodes->slots = slots;
	for (i = 0; i <= nodes->slot_mask; i++) {
		uint32_t j, ref = old[i];

		if (!ref)
			continue;
		j = node_hash(REF_KIND(ref), node_at(nodes, REF_INDEX(ref))) & (n - 1);
		while (slots[j])
			j = (j + 1) & (n - 1);
		slots[j] = ref;
	}
	nodes->slot_mask = n - 1;
	free(old);
	return 0;
}

static int units_grow(struct nodes *nodes, uint32_t need)
{
	uint32_t *walks, room = nodes->room;
	unsigned char *bytes;
	struct node_asks *asks;

	if (need > IMAGE_UNITS_MAX)
		return -E2BIG;
	if (need <= room)
		return 0;
	while (room < need)
		room *= 2;
	bytes = reallocarray(nodes->bytes, room, IMAGE_UNIT);
	if (!bytes)
		return -ENOMEM;
	nodes->bytes = bytes;
	walks = reallocarray(nodes->walks, room, sizeof(*walks));
	if (!walks)
		return -ENOMEM;
	nodes->walks = walks;
	asks = reallocarray(nodes->asks, room, sizeof(*asks));
	if (!asks)
		return -ENOMEM;
	nodes->asks = asks;
	memset(asks + nodes->room, 0, (room - nodes->room) * sizeof(*asks));
	memset(node_at(nodes, nodes->room), 0, (size_t)(room - nodes->room) * IMAGE_UNIT);
	memset(walks + nodes->room, 0, (size_t)(room - nodes->room) * sizeof(*walks));
	nodes->room = room;
	return 0;
}

/* Where a new node goes: behind all others, or into a hole if that lies behind its children. */
static int place(struct nodes *nodes, uint32_t kind, uint32_t youngest, uint32_t *unit)
{
	uint32_t units = (uint32_t)(node_size(kind) / IMAGE_UNIT);
	uint32_t at = (nodes->used + units - 1) / units * units;
	int err;

	if (units == 1 && nodes->hole_n && youngest < nodes->hole) {
		*unit = nodes->hole++;
		nodes->hole_n--;
		return 0;
	}
	err = units_grow(nodes, at + units);
	if (err)
		return err;
	if (at > nodes->used) {
		nodes->hole = nodes->used;
		nodes->hole_n = at - nodes->used;
	}
	nodes->used = at + units;
	*unit = at;
	return 0;
}

/* The node's reference; it is made unless there is an equal one. `walk` is its longest walk. */
static uint32_t node_make(struct nodes *nodes, uint32_t kind, const void *node, uint32_t youngest,
			  uint32_t walk)
{
	uint32_t *slot, unit;
	int err;

	if (nodes->error)
		return fail(nodes, nodes->error);
	slot = slot_find(nodes, kind, node);
	if (*slot)
		return *slot;
	if (walk > IMAGE_WALK_MAX)
		return fail(nodes, -E2BIG);
	err = place(nodes, kind, youngest, &unit);
	if (err)
		return fail(nodes, err);
	memcpy(node_at(nodes, unit), node, node_size(kind));
	nodes->walks[unit] = walk;
	*slot = REF_MAKE(kind, unit);
	if (++nodes->slot_n > nodes->slot_mask / 2) {
		err = slots_grow(nodes);
		if (err)
			return fail(nodes, err);
	}
	return REF_MAKE(kind, unit);
}

static void youngest_of(uint32_t ref, uint32_t *youngest)
{
	if (REF_KIND(ref) != REF_RULE && REF_KIND(ref) != REF_MEMBER && REF_INDEX(ref) > *youngest)
		*youngest = REF_INDEX(ref);
}

static struct node_asks asks_of(const struct nodes *nodes, uint32_t ref)
{
	uint32_t kind = REF_KIND(ref);

	if (kind == REF_RULE || kind == REF_MEMBER)
		return (struct node_asks){ 0 };
	return nodes->asks[REF_INDEX(ref)];
}

/* What is made of `ref` asks as much as `child` at least, and that itself besides. */
static void asks_raise(struct nodes *nodes, uint32_t ref, uint32_t child, struct node_asks own)
{
	struct node_asks most = asks_of(nodes, child), *asks;

	if (nodes->error || REF_KIND(ref) == REF_RULE || REF_KIND(ref) == REF_MEMBER)
		return;
	most.limited = (uint8_t)(most.limited + own.limited);
	most.sets = (uint8_t)(most.sets + own.sets);
	asks = &nodes->asks[REF_INDEX(ref)];
	if (most.limited > asks->limited)
		asks->limited = most.limited;
	if (most.sets > asks->sets)
		asks->sets = most.sets;
	if (most.limited > IMAGE_LIMITED_MAX)
		fail(nodes, -EMLINK);
	if (most.sets > IMAGE_ASKED_MAX)
		fail(nodes, -EXFULL);
}

static const struct node_asks none = { 0 };

static uint32_t longer(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

uint32_t nodes_test(struct nodes *nodes, uint32_t field, uint32_t mask, uint32_t lo, uint32_t span,
		    uint32_t yes, uint32_t no)
{
	struct image_test node = {
		.field = field,
		.mask = mask,
		.lo = lo,
		.span = span,
		.yes = yes,
		.no = no,
	};
	uint32_t before = nodes->slot_n, youngest = 0, ref;

	if (yes == no)
		return yes;
	youngest_of(yes, &youngest);
	youngest_of(no, &youngest);
	ref = node_make(nodes, REF_TEST, &node, youngest,
			longer(nodes_walk(nodes, yes), nodes_walk(nodes, no)) + 1);
	asks_raise(nodes, ref, yes, none);
	asks_raise(nodes, ref, no, none);
	nodes->stats.tests += nodes->slot_n - before;
	return ref;
}

uint32_t nodes_set(struct nodes *nodes, uint32_t root, uint32_t yes, uint32_t no)
{
	struct image_set node = { .root = root, .yes = yes, .no = no };
	uint32_t before = nodes->slot_n, youngest = 0, ref;

	if (yes == no)
		return yes;
	if (REF_KIND(root) == REF_MEMBER)
		return REF_INDEX(root) ? yes : no;
	youngest_of(root, &youngest);
	youngest_of(yes, &youngest);
	youngest_of(no, &youngest);
	ref = node_make(nodes, REF_SET, &node, youngest,
			longer(nodes_walk(nodes, yes), nodes_walk(nodes, no)) +
				nodes_walk(nodes, root) + 1);
	asks_raise(nodes, ref, yes, none);
	asks_raise(nodes, ref, no, none);
	nodes->stats.set_nodes += nodes->slot_n - before;
	return ref;
}

uint32_t nodes_member_of(struct nodes *nodes, uint32_t set, uint32_t field, uint32_t yes,
			 uint32_t no)
{
	struct image_member_of node = { .set = set, .field = field, .yes = yes, .no = no };
	uint32_t before = nodes->slot_n, youngest = 0, ref;

	if (yes == no)
		return yes;
	youngest_of(yes, &youngest);
	youngest_of(no, &youngest);
	ref = node_make(nodes, REF_MEMBER_OF, &node, youngest,
			longer(nodes_walk(nodes, yes), nodes_walk(nodes, no)) + 1);
	asks_raise(nodes, ref, yes, (struct node_asks){ .sets = 1 });
	asks_raise(nodes, ref, no, (struct node_asks){ .sets = 1 });
	nodes->stats.dynamic += nodes->slot_n - before;
	return ref;
}

uint32_t nodes_limited(struct nodes *nodes, uint32_t rule, uint32_t beyond)
{
	struct image_limited node = { .rule = rule, .beyond = beyond };
	uint32_t before = nodes->slot_n, youngest = 0, ref;

	youngest_of(beyond, &youngest);
	ref = node_make(nodes, REF_LIMIT, &node, youngest, nodes_walk(nodes, beyond) + 1);
	asks_raise(nodes, ref, beyond, (struct node_asks){ .limited = 1 });
	nodes->stats.limited += nodes->slot_n - before;
	return ref;
}

uint32_t nodes_switch(struct nodes *nodes, uint32_t field, const uint32_t *keys,
		      const uint32_t *children, uint32_t n)
{
	struct image_switch node = { .field = field };
	uint32_t before = nodes->slot_n, youngest = 0, walk = 0, used = 0, i, ref;

	node.child[0] = children[0];
	for (i = 0; i < n; i++) {
		if (children[i + 1] == node.child[used])
			continue;
		node.key[used++] = keys[i];
		node.child[used] = children[i + 1];
	}
	if (!used)
		return node.child[0];
	if (used == 1)
		return nodes_test(nodes, field, UINT32_MAX, node.key[0], UINT32_MAX - node.key[0],
				  node.child[1], node.child[0]);
	if (used == 2 && node.child[0] == node.child[2])
		return nodes_test(nodes, field, UINT32_MAX, node.key[0],
				  node.key[1] - node.key[0] - 1, node.child[1], node.child[0]);
	for (i = 0; i <= used; i++) {
		youngest_of(node.child[i], &youngest);
		walk = longer(walk, nodes_walk(nodes, node.child[i]));
	}
	for (i = used; i < IMAGE_SWITCH_KEYS; i++) {
		node.key[i] = UINT32_MAX;
		node.child[i + 1] = node.child[used];
	}
	ref = node_make(nodes, REF_SWITCH, &node, youngest, walk + 1);
	for (i = 0; i <= used; i++)
		asks_raise(nodes, ref, node.child[i], none);
	nodes->stats.switches += nodes->slot_n - before;
	return ref;
}
