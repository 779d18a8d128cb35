// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Conversations played through both engines at once.
 */
#ifndef REEVE_TESTS_PROPERTY_PLAY_H
#define REEVE_TESTS_PROPERTY_PLAY_H

#include "bench.h"
#include "talk.h"

struct tally {
	uint64_t packets, by[BY_ANSWER + 1], embryonic, replied, gone;
	uint64_t errors, related; /* ICMP errors, and those of them that passed by a flow */
};

/* Policies of a round, and the packets under them. */
struct round {
	struct packet arrived; /* by the last arrival */
	struct random_policy policies[2];
	struct talk talk;
	unsigned at;	      /* the running policy */
	/* what was last parsed: departure need not look at what arrival has decided */
	struct packet packet;
	struct text *report;  /* NULL: nobody reads */
	struct tally *tally;  /* NULL: nobody counts */
};

/*
 * One step: an arrival, a departure, or both. *verdict is the last of them. False when the engines
 * differ; round->report then tells how.
 */
bool take_step(struct bench *bench, struct round *round, const struct step *step,
	       struct user_verdict *verdict);
/*
 * All of a round from the beginning, in the kernel too if there is a world. False when the engines
 * differ.
 */
bool play(struct world *world, struct round *round);
/* Makes a round that fails small: fewer packets, smaller policies. */
void shrink_round(struct world *world, struct round *round);

#endif
