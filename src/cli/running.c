// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/running.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/names.h"
#include "cli/output.h"

/* --- places --- */

static int line_starts_build(const struct source *source, struct line_starts *starts)
{
	size_t n = 1;

	for (size_t i = 0; i < source->len; i++)
		n += source->text[i] == '\n';
	starts->offsets = reallocarray(NULL, n, sizeof(*starts->offsets));
	if (!starts->offsets)
		return -ENOMEM;
	starts->offsets[0] = 0;
	starts->n = 1;
	for (size_t i = 0; i < source->len; i++)
		if (source->text[i] == '\n')
			starts->offsets[starts->n++] = (uint32_t)i + 1;
	return 0;
}

bool place_find(struct places *places, struct position position, const char **file, unsigned *line)
{
	size_t n = places->sources->sources.n;
	struct line_starts *starts;
	size_t lo = 0, hi;

	if (position.source >= n)
		return false;
	if (!places->starts)
		places->starts = calloc(n, sizeof(*places->starts));
	if (!places->starts)
		return false;
	starts = &places->starts[position.source];
	if (!starts->n && line_starts_build(&places->sources->sources.items[position.source], starts))
		return false;
	hi = starts->n; /* offsets[lo] <= offset < offsets[hi] */
	while (hi - lo > 1) {
		size_t middle = (lo + hi) / 2;

		if (starts->offsets[middle] <= position.offset)
			lo = middle;
		else
			hi = middle;
	}
	*file = places->sources->sources.items[position.source].name;
	*line = (unsigned)lo + 1;
	return true;
}

void places_free(struct places *places)
{
	for (size_t i = 0; places->starts && i < places->sources->sources.n; i++)
		free(places->starts[i].offsets);
	free(places->starts);
	*places = (struct places){ .sources = places->sources };
}

void rule_place_text(struct places *places, const struct rule *rule, struct text *out)
{
	const char *file;
	unsigned line;

	if (place_find(places, rule->position, &file, &line))
		text_printf(out, "%s:%u", file, line);
	else
		text_puts(out, "built in");
}

/* --- the running policy --- */

static void running_forget(struct running *running)
{
	places_free(&running->places);
	ruleset_free(&running->ruleset);
	interface_vector_free(&running->status.interfaces);
	running->ruleset = (struct ruleset){ 0 };
	running->status = (struct engine_status){ 0 };
}

static int running_load(struct running *running, struct problem *problem)
{
	struct diagnostics diagnostics = { 0 };
	struct source_set sources = { 0 };
	int err;

	err = engine_sources(running->engine, &sources, problem);
	if (err)
		return err;
	if (sources.sources.n == 0) {
		source_set_free(&sources);
		snprintf(problem->what, sizeof(problem->what),
			 "the text of the running policy is not there");
		return -EPROTO;
	}
	/* The name lives in the set that policy_load takes over. */
	err = policy_load(sources.sources.items[0].name, &sources, &running->ruleset, &diagnostics);
	running->places.sources = &running->ruleset.sources;
	if (err == -EINVAL) {
		snprintf(problem->what, sizeof(problem->what),
			 "this version of reeve does not understand the running policy: %s",
			 diagnostics.list.n ? diagnostics.list.items[0].message : "unknown reason");
		snprintf(problem->hint, sizeof(problem->hint),
			 "apply a policy again with this version");
		err = -EPROTO;
	} else if (err) {
		snprintf(problem->what, sizeof(problem->what), "cannot read the running policy: %s",
			 strerror(-err));
	}
	diagnostics_free(&diagnostics);
	return err;
}

/* Rules and generation belong together: read again when somebody applies in between. */
static int running_read(struct running *running, struct problem *problem)
{
	for (int tries = 0; tries < 8; tries++) {
		struct engine_status before = { 0 };
		int err = engine_status(running->engine, &before, problem);

		interface_vector_free(&before.interfaces);
		if (!err)
			err = running_load(running, problem);
		if (!err)
			err = engine_status(running->engine, &running->status, problem);
		if (!err && running->status.generation == before.generation)
			return 0;
		running_forget(running);
		if (err)
			return err;
	}
	snprintf(problem->what, sizeof(problem->what),
		 "the policy changes faster than it can be read");
	return -EAGAIN;
}

int running_open(struct running *running, struct problem *problem)
{
	int err;

	*running = (struct running){ .places.sources = &running->ruleset.sources };
	err = engine_open(&running->engine, problem);
	if (err) {
		running->engine = NULL;
		return err;
	}
	err = running_read(running, problem);
	if (err)
		running_close(running);
	return err;
}

void running_close(struct running *running)
{
	if (!running->places.sources)
		return;
	running_forget(running);
	if (running->engine)
		engine_close(take(running->engine));
}

const struct engine_interface *running_interface(const struct running *running, uint32_t ifindex)
{
	const struct interface_vector *interfaces = &running->status.interfaces;

	for (size_t i = 0; i < interfaces->n; i++)
		if (interfaces->items[i].ifindex == ifindex)
			return &interfaces->items[i];
	return NULL;
}

/* --- as JSON --- */

json_t *rule_json(struct places *places, const struct rule *rule)
{
	const char *file = NULL;
	unsigned line = 0;
	bool placed = place_find(places, rule->position, &file, &line);

	return json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "id", json_text(rule->id), "origin",
			 rule_origin_name(rule->origin), "action", action_name(rule->action),
			 "pair", json_text(rule->pair), "text", json_text(rule->text), "file",
			 json_text(file), "line", placed ? json_integer(line) : json_null(),
			 "comment", json_text(rule->comment));
}

json_t *interface_json(const struct ruleset *ruleset, const struct engine_interface *interface)
{
	struct text why = TEXT_INIT(1 << 12);

	early_trouble(interface->early, interface->early_why, &why);
	return json_pack("{s:o, s:i, s:o, s:o, s:s, s:o, s:b, s:s, s:o, s:s, s:o}", "name", json_text(interface->name), "index",
			 (int)interface->ifindex, "zone",
			 json_text(zone_name(ruleset, interface->zone)), "zone_running",
			 json_text(zone_name(ruleset, interface->zone_running)), "coverage",
			 coverage_name(interface->coverage), "master",
			 json_text(interface->master[0] ? interface->master : NULL), "default_route",
			 interface->default_route, "early", early_state_name(interface->early),
			 "early_why", why.len ? json_take(&why) : json_null(), "fast",
			 fast_name(interface->fast), "fast_why",
			 json_text(fast_trouble(interface->fast)));
}
