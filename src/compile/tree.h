// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lists of terms to decision trees.
 */
#ifndef REEVE_COMPILE_TREE_H
#define REEVE_COMPILE_TREE_H

#include "compile/cut.h"

struct memo_slot {
	const uint32_t *key; /* NULL: empty */
	uint32_t len, ref;
};

struct tree {
	const struct terms *terms;
	struct nodes *nodes; /* holds the error, if one happens */
	struct cutter cutter;
	struct arena arena;	/* keys of the memo */
	struct memo_slot *memo; /* what was built already */
	uint32_t memo_mask, memo_n;
	struct word_vector key; /* working memory */
	uint32_t *roots;	/* set trees: four a list, by direction and family; 0: not made */
	uint32_t *seen;		/* by list: the last call that met it */
	uint32_t calls;
	bool limits;	/* of a rule with limits, what matches may go on behind it */
	uint64_t spare; /* budget of each tree besides a multiple of its list's length */
	uint64_t spent;
	uint32_t chain_max;
};

#define TREE_NO_FAIL UINT32_MAX

/* `spare`: entries that each tree may hold, besides a multiple of its list's length. -ENOMEM. */
int tree_init(struct tree *tree, const struct terms *terms, struct nodes *nodes, uint64_t spare);
void tree_free(struct tree *tree);

/*
 * The reference at which a walk finds the rule of the first entry that matches, for packets in the
 * box, and `fail` if none does (TREE_NO_FAIL: the last entry must match everything in the box, else
 * -EINVAL). Errors go to nodes->error.
 */
uint32_t tree_build(struct tree *tree, const struct entry *entries, uint32_t n,
		    const struct box *box, uint32_t fail);

#endif
