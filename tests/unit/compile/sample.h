// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the compiler's tests share: random rulesets and packets, the plain judgement of a packet by
 * its rules, and a walker over images that shares no code with the core.
 */
#ifndef REEVE_TESTS_COMPILE_SAMPLE_H
#define REEVE_TESTS_COMPILE_SAMPLE_H

#include "compile/compile.h"

struct random {
	uint64_t state;
};

uint32_t random_word(struct random *random);
/* 0 .. n - 1 */
uint32_t random_below(struct random *random, uint32_t n);

/* How the rulesets are to be. */
struct sample_shape {
	uint32_t rules;
	uint32_t zones;
	uint32_t addresses; /* most ranges in a list of addresses */
};

/* An empty ruleset of so many zones, in its own arena. */
void sample_begin(struct ruleset *ruleset, uint32_t zones, uint32_t rules_max);
/* A new last rule for all pairs, of one clause without conditions, which is returned. */
struct clause *sample_rule(struct ruleset *ruleset);
/* Constrains a one-word field to lo..hi. */
void sample_range(struct ruleset *ruleset, struct clause *clause, enum field field, uint32_t lo,
		  uint32_t hi);
/* `n` IPv4 ranges spread over all addresses. */
const struct addresses *sample_addresses(struct ruleset *ruleset, struct random *random,
					 uint32_t n);
void sample_random(struct random *random, const struct sample_shape *shape,
		   struct ruleset *ruleset);
/* A packet near the bounds of some rule's conditions. */
void sample_packet(struct random *random, const struct ruleset *ruleset, struct fields *fields);
void sample_free(struct ruleset *ruleset);

/* The first rule that matches, found by looking at all. */
uint32_t sample_judge(const struct ruleset *ruleset, const struct fields *fields,
		      enum walk_kind kind);

#define WALK_DAMAGED UINT32_MAX
/*
 * The rule at which the walk ends; WALK_DAMAGED if it takes more than walk_max visits or leaves the
 * image.
 */
uint32_t sample_walk(const struct image *image, const struct fields *fields, enum walk_kind kind,
		     uint32_t *visits);

#endif
