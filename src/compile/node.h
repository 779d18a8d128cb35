// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The nodes of an image under construction, equal ones made once.
 *
 * Nodes are made bottom up: a reference exists before the node that holds it, so children always
 * come to lie before their parents. An error sticks (-ENOMEM, -E2BIG): from then on every call
 * returns a harmless reference and the caller asks `nodes->error` once at the end.
 */
#ifndef REEVE_COMPILE_NODE_H
#define REEVE_COMPILE_NODE_H

#include <stddef.h>
#include <stdint.h>

#include "core/image.h"

#include "compile/compile.h"

#define NODES_FIRST IMAGE_HEADER_UNITS

/* What a walk from a node may come to, at most. */
struct node_asks {
	uint8_t limited; /* rules with limits */
	uint8_t sets;	 /* dynamic sets, asked so often */
};

struct nodes {
	unsigned char *bytes;  /* of the image from unit 0 on; the header's units are zero */
	uint32_t *walks;       /* by unit: longest walk from the node there */
	struct node_asks *asks; /* by unit */
	uint32_t used, room;   /* units */
	uint32_t hole, hole_n; /* units that the alignment of a switch left free */
	uint32_t *slots;       /* hash table of references, 0 is empty */
	uint32_t slot_mask, slot_n;
	struct compile_stats stats; /* counts by kind */
	int error;
};

int nodes_init(struct nodes *nodes);
void nodes_free(struct nodes *nodes);

/*
 * yes if (field & mask) - lo <= span, else no. Where both answers are the same, that answer.
 */
uint32_t nodes_test(struct nodes *nodes, uint32_t field, uint32_t mask, uint32_t lo, uint32_t span,
		    uint32_t yes, uint32_t no);
/* Walk the set tree `root`, then yes or no. */
uint32_t nodes_set(struct nodes *nodes, uint32_t root, uint32_t yes, uint32_t no);
/*
 * A switch of `n` <= 15 strictly ascending keys and n + 1 children. Equal neighbours are merged;
 * what can be a test, or nothing at all, becomes that.
 */
uint32_t nodes_switch(struct nodes *nodes, uint32_t field, const uint32_t *keys,
		      const uint32_t *children, uint32_t n);
/* yes if the dynamic set holds the address in that field, else no. */
uint32_t nodes_member_of(struct nodes *nodes, uint32_t set, uint32_t field, uint32_t yes,
			 uint32_t no);
/* The rule, if its limits admit the packet; else `beyond`. */
uint32_t nodes_limited(struct nodes *nodes, uint32_t rule, uint32_t beyond);
/* The longest walk from a reference on. */
uint32_t nodes_walk(const struct nodes *nodes, uint32_t ref);

#endif
