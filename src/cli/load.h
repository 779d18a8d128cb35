// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A policy from a file, for the commands that read one.
 */
#ifndef REEVE_CLI_LOAD_H
#define REEVE_CLI_LOAD_H

#include "cli/command.h"
#include "cli/output.h"
#include "policy/rule.h"

struct loaded {
	struct ruleset ruleset;
	struct diagnostics diagnostics;
};

/*
 * Loads the policy `name`. Diagnostics are printed on standard error, or with --json left to the
 * caller: errors always, warnings only if `warnings`. 0, or -errno when the policy cannot be used;
 * loaded_free is due in either case.
 */
int policy_read(const struct arguments *arguments, const char *name, bool warnings,
		struct loaded *loaded);
void loaded_free(struct loaded *loaded);

/*
 * Rules and zones that the file itself speaks of: neither defaults nor built-in ones, neither
 * `self` nor `other`.
 */
uint32_t ruleset_own_rules(const struct ruleset *ruleset);
uint32_t ruleset_own_zones(const struct ruleset *ruleset);

/* "1 rule", "2 rules". */
void text_plural(struct text *out, uint64_t n, const char *thing);

#endif
