// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random policies as text, in pieces that can be left out: to make a failing one small.
 */
#ifndef REEVE_TESTS_PROPERTY_POLICY_H
#define REEVE_TESTS_PROPERTY_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "compile/compile.h"
#include "random.h"
#include "sets.h"

#define POLICY_LINES 160
#define POLICY_PARTS 16
#define POLICY_PART 160
#define POLICY_SPENT 8192

enum line_kind {
	LINE_TOP,   /* a statement of its own */
	LINE_OPEN,  /* policy ... { */
	LINE_RULE,
	LINE_CLOSE, /* } */
};

struct policy_line {
	enum line_kind kind;
	bool out; /* left out */
	uint8_t part_n;
	bool part_out[POLICY_PARTS];
	char parts[POLICY_PARTS][POLICY_PART];
};

struct random_policy {
	uint32_t n;
	struct policy_line lines[POLICY_LINES];
};

/* A policy loaded and compiled for the interfaces of world.h. */
struct loaded_policy {
	struct ruleset ruleset;
	struct image image;
	bool loaded;
	uint32_t zones[6]; /* of each interface */
	/* What limits have let pass: their buckets are so slow that nothing comes back meanwhile. */
	struct spent {
		uint32_t rule, family, address[4], n;
	} spent[POLICY_SPENT];
	uint32_t spent_n;
	struct model_sets sets; /* ruleset.contents is theirs */
};

void policy_random(struct random *r, struct random_policy *policy);
/* Out of the pool that rules have theirs from. */
void policy_random_address(struct random *r, unsigned family, uint32_t address[4]);
void policy_print(const struct random_policy *policy, struct text *text);
/*
 * Loads and compiles it. -EINVAL when the language refuses it: *refused is then the number of the
 * line that the first error is in, or POLICY_LINES; `errors` tells. Any other failure is one of the
 * compiler. Free with policy_unload, also after a failure.
 */
int policy_compile(const struct random_policy *policy, struct loaded_policy *loaded,
		   uint32_t *refused, struct text *errors);
void policy_unload(struct loaded_policy *loaded);

/*
 * Makes the policy smaller while `fails` still says true of it: leaves out blocks, lines, then
 * parts of lines.
 */
void policy_shrink(struct random_policy *policy,
		   bool (*fails)(void *context, const struct random_policy *policy), void *context);

#endif
