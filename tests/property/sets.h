// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the dynamic sets of random policies hold: a list each, looked through from end to end. The
 * engines get the same to begin with, and are held against it.
 */
#ifndef REEVE_TESTS_PROPERTY_SETS_H
#define REEVE_TESTS_PROPERTY_SETS_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/rule.h"

#define MODEL_SETS 2
#define MODEL_ENTRIES 4096

struct model_entry {
	uint32_t address[4];
	uint8_t family, prefix;
	bool expired;
};

struct model_set {
	struct model_entry entries[MODEL_ENTRIES];
	uint32_t n;
};

/* By these names; the first is small. */
struct model_sets {
	struct model_set sets[MODEL_SETS];
};

extern const char *const model_set_names[MODEL_SETS];
/* How a policy declares it. */
extern const char *const model_set_texts[MODEL_SETS];

/* The same for every run. */
void model_sets_begin(struct model_sets *model);
struct model_set *model_set_of(struct model_sets *model, const char *name);
/* As ruleset->contents; the context is the model. */
bool model_holds(void *context, const struct dynamic_set *set, uint32_t family,
		 const uint32_t address[4]);
/* By hand. */
bool model_put(struct model_set *set, const struct model_entry *entry);
void model_remove(struct model_set *set, const struct model_entry *entry);
/* A rule adds an address. False: the set is full. */
bool model_take(struct model_set *set, uint32_t max, uint32_t family, const uint32_t address[4]);

#endif
