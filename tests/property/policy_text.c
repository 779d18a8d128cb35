// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/diagnostic.h"
#include "base/source.h"
#include "world.h"

/* --- from text to image ---------------------------------------------------------- */

void policy_print(const struct random_policy *policy, struct text *text)
{
	for (uint32_t i = 0; i < policy->n; i++) {
		const struct policy_line *line = &policy->lines[i];

		for (uint32_t j = 0; !line->out && j < line->part_n; j++)
			if (!line->part_out[j])
				text_printf(text, "%s%s", j ? " " : "", line->parts[j]);
		/* One line of text for each, so that the line of an error tells which it is. */
		text_putc(text, '\n');
	}
}

static uint32_t first_error(const struct ruleset *ruleset, const struct diagnostics *diagnostics)
{
	for (size_t i = 0; i < diagnostics->list.n; i++) {
		const struct diagnostic *diagnostic = &diagnostics->list.items[i];
		unsigned line, column;

		if (diagnostic->level != DIAGNOSTIC_ERROR ||
		    diagnostic->position.source == POSITION_NONE)
			continue;
		source_place(&ruleset->sources.sources.items[diagnostic->position.source],
			     diagnostic->position.offset, &line, &column);
		return line - 1;
	}
	return POLICY_LINES;
}

static int compile_rules(struct loaded_policy *loaded, struct text *errors)
{
	struct compile_interface interfaces[WORLD_INTERFACES];
	const char *why = "";
	int err;

	for (uint32_t i = 0; i < WORLD_INTERFACES; i++) {
		char name[8];

		snprintf(name, sizeof(name), "d%u", i);
		loaded->zones[i] = ruleset_interface_zone(&loaded->ruleset, name);
		interfaces[i] = (struct compile_interface){ WORLD_IFINDEX + i, loaded->zones[i] };
	}
	err = image_compile(&loaded->ruleset, interfaces, WORLD_INTERFACES, &loaded->image, &why);
	if (err) {
		text_printf(errors, "image_compile: %s (%d)\n", why, err);
		return err == -EINVAL ? -EPROTO : err;
	}
	err = image_validate(loaded->image.bytes, loaded->image.size, &why);
	if (err)
		text_printf(errors, "image_validate: %s (%d)\n", why, err);
	return err;
}

int policy_compile(const struct random_policy *policy, struct loaded_policy *loaded,
		   uint32_t *refused, struct text *errors)
{
	struct diagnostics diagnostics = { 0 };
	struct text text = TEXT_INIT(1 << 20);
	struct source_set sources = { 0 };
	uint32_t index;
	int err;

	memset(loaded, 0, sizeof(*loaded));
	policy_print(policy, &text);
	err = source_set_add(&sources, "random.reeve", text_string(&text), text.len, &index);
	text_free(&text);
	if (err) {
		source_set_free(&sources);
		return err;
	}
	loaded->loaded = true;
	err = policy_load("random.reeve", &sources, &loaded->ruleset, &diagnostics);
	if (err) {
		*refused = first_error(&loaded->ruleset, &diagnostics);
		diagnostics_print(&diagnostics, &loaded->ruleset.sources, 0, errors);
	} else {
		err = compile_rules(loaded, errors);
	}
	diagnostics_free(&diagnostics);
	return err;
}

void policy_unload(struct loaded_policy *loaded)
{
	if (!loaded->loaded)
		return;
	image_free(&loaded->image);
	ruleset_free(&loaded->ruleset);
	loaded->loaded = false;
}

/* --- shrinking ------------------------------------------------------------------- */

struct shrinking {
	struct random_policy *policy;
	bool (*fails)(void *context, const struct random_policy *policy);
	void *context;
};

/* Leaves out lines first .. last; puts them back when the failure goes with them. */
static bool try_without(const struct shrinking *shrinking, uint32_t first, uint32_t last)
{
	struct policy_line *lines = shrinking->policy->lines;
	bool before[POLICY_LINES], any = false;

	for (uint32_t i = first; i <= last; i++) {
		before[i] = lines[i].out;
		any |= !lines[i].out;
		lines[i].out = true;
	}
	if (any && shrinking->fails(shrinking->context, shrinking->policy))
		return true;
	for (uint32_t i = first; i <= last; i++)
		lines[i].out = before[i];
	return false;
}

static bool try_without_part(const struct shrinking *shrinking, uint32_t line, uint32_t part)
{
	bool *out = &shrinking->policy->lines[line].part_out[part];

	if (*out)
		return false;
	*out = true;
	if (shrinking->fails(shrinking->context, shrinking->policy))
		return true;
	*out = false;
	return false;
}

static bool shrink_once(const struct shrinking *shrinking)
{
	const struct random_policy *policy = shrinking->policy;
	bool smaller = false;

	for (uint32_t i = 0; i < policy->n; i++) {
		uint32_t end = i;

		if (policy->lines[i].kind != LINE_OPEN)
			continue;
		while (policy->lines[end].kind != LINE_CLOSE && end + 1 < policy->n)
			end++;
		smaller |= try_without(shrinking, i, end);
	}
	for (uint32_t i = 0; i < policy->n; i++)
		if (policy->lines[i].kind == LINE_RULE || policy->lines[i].kind == LINE_TOP)
			smaller |= try_without(shrinking, i, i);
	for (uint32_t i = 0; i < policy->n; i++)
		for (uint32_t j = 1; !policy->lines[i].out && j < policy->lines[i].part_n; j++)
			smaller |= try_without_part(shrinking, i, j);
	return smaller;
}

void policy_shrink(struct random_policy *policy,
		   bool (*fails)(void *context, const struct random_policy *policy), void *context)
{
	struct shrinking shrinking = { policy, fails, context };

	for (int round = 0; round < 10 && shrink_once(&shrinking); round++)
		;
}
