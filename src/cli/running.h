// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The running policy, read back: its rules out of the sources that the kernel keeps, its status,
 * and where in the text each rule stands.
 */
#ifndef REEVE_CLI_RUNNING_H
#define REEVE_CLI_RUNNING_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "engine/bpf/engine.h"
#include "policy/rule.h"

/* Where the lines of each source begin; built when first asked for. */
struct line_starts {
	uint32_t *offsets;
	size_t n;
};

struct places {
	const struct source_set *sources; /* borrowed */
	struct line_starts *starts;	  /* one for each source */
};

/*
 * The file and line of a position; false when it has none (built-in rules) or memory is short.
 * *file is borrowed.
 */
bool place_find(struct places *places, struct position position, const char **file, unsigned *line);
void places_free(struct places *places);

struct running {
	struct engine *engine;
	struct ruleset ruleset;
	struct engine_status status;
	struct places places;
};

/*
 * Opens what runs in this network namespace: a consistent view, rules and generation together.
 * Errors as in engine.h;
 * -ENOENT when nothing runs, -EPROTO when the running policy cannot be read by this version.
 * On failure nothing needs closing.
 */
int running_open(struct running *running, struct problem *problem);
/* Takes a zeroed one too. */
void running_close(struct running *running);

/* The interface with this index, or NULL. Borrowed. */
const struct engine_interface *running_interface(const struct running *running, uint32_t ifindex);

/* "host.reeve:12", or "built in". Escaped where it is printed, not here. */
void rule_place_text(struct places *places, const struct rule *rule, struct text *out);
/*
 * {"id","origin","action","pair","text","file","line","comment"}; file and line are null for
 * built-in rules.
 */
json_t *rule_json(struct places *places, const struct rule *rule);
/*
 * One interface of a report:
 * {"name","index","zone","zone_running","coverage","master","default_route"}.
 */
json_t *interface_json(const struct ruleset *ruleset, const struct engine_interface *interface);

#endif
