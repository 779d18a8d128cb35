// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A seeded generator (xorshift64*, Vigna 2016): the same seed gives the same test on every machine.
 */
#ifndef REEVE_TESTS_PROPERTY_RANDOM_H
#define REEVE_TESTS_PROPERTY_RANDOM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct random {
	uint64_t state;
};

static inline void random_seed(struct random *r, uint64_t seed)
{
	/* splitmix64: neighbouring seeds give unrelated sequences. */
	seed += 0x9e3779b97f4a7c15u;
	seed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9u;
	seed = (seed ^ seed >> 27) * 0x94d049bb133111ebu;
	r->state = (seed ^ seed >> 31) | 1;
}

static inline uint32_t random_word(struct random *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return (uint32_t)(r->state * 0x2545f4914f6cdd1du >> 32);
}

/* 0 .. n - 1; n is at least 1. */
static inline uint32_t random_below(struct random *r, uint32_t n)
{
	return (uint32_t)((uint64_t)random_word(r) * n >> 32);
}

/* lo .. hi, ends included. */
static inline uint32_t random_between(struct random *r, uint32_t lo, uint32_t hi)
{
	return lo + (hi - lo == UINT32_MAX ? random_word(r) : random_below(r, hi - lo + 1));
}

/* True in `percent` of 100 cases. */
static inline bool random_chance(struct random *r, uint32_t percent)
{
	return random_below(r, 100) < percent;
}

#define random_pick(r, array) \
	((array)[random_below(r, (uint32_t)(sizeof(array) / sizeof((array)[0])))])

/* A number from the environment, or what holds without it. */
static inline uint64_t environment_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

#endif
