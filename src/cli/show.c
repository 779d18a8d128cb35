// SPDX-License-Identifier: GPL-2.0-or-later
/* show: the running policy as text, the built-in rules, figures of the image. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/load.h"
#include "cli/names.h"
#include "cli/running.h"
#include "compile/compile.h"
#include "policy/services.h"

#define BPF_INSTRUCTION 8u /* bytes */

/* --- text --- */

/*
 * As it is for a file or a pipe; on a terminal without control characters other than line ends and
 * tabs.
 */
static void add_source(const struct source *source, struct text *out)
{
	size_t from = 0;

	if (!isatty(STDOUT_FILENO)) {
		text_add(out, source->text, source->len);
	} else {
		for (size_t i = 0; i < source->len; i++) {
			if (source->text[i] != '\n' && source->text[i] != '\t')
				continue;
			text_escaped_n(out, source->text + from, i - from);
			text_putc(out, source->text[i]);
			from = i + 1;
		}
		text_escaped_n(out, source->text + from, source->len - from);
	}
	if (source->len && source->text[source->len - 1] != '\n')
		text_putc(out, '\n');
}

static void show_text(const struct running *running)
{
	const struct source_vector *sources = &running->ruleset.sources.sources;
	struct text out = TEXT_INIT(TEXT_CAP_DEFAULT);

	for (size_t i = 0; i < sources->n; i++) {
		const struct source *source = &sources->items[i];

		if (strcmp(source->name, SERVICES_FILE) == 0) {
			text_putc(&out, '\n');
			text_toned(&out, TONE_DIM, "# names of services came from %s", source->name);
			text_putc(&out, '\n');
			continue;
		}
		if (i > 0) {
			text_putc(&out, '\n');
			text_toned(&out, TONE_DIM, "# file %s", source->name);
			text_putc(&out, '\n');
		}
		add_source(source, &out);
	}
	output_write(&out);
}

static void show_text_json(const struct running *running)
{
	const struct source_vector *sources = &running->ruleset.sources.sources;
	json_t *files = json_array();

	for (size_t i = 0; i < sources->n; i++)
		json_array_append_new(files, json_pack("{s:o, s:o}", "name",
						       json_text(sources->items[i].name), "text",
						       json_text(sources->items[i].text)));
	output_json_take(json_pack("{s:I, s:o}", "generation",
				   (json_int_t)running->status.generation, "files", files), false);
}

/* --- built-in rules --- */

static bool rule_is_builtin(const struct rule *rule)
{
	return rule->origin == RULE_BUILTIN || rule->origin == RULE_BUILTIN_DEFAULT;
}

static void show_builtin(const struct ruleset *ruleset, bool json)
{
	static const struct table_column columns[] = { { "ID" }, { "PAIR" }, { "RULE" }, { "" } };
	struct places places = { .sources = &ruleset->sources };
	struct table table = TABLE_INIT(columns);
	struct text out = TEXT_INIT(TEXT_CAP_DEFAULT);
	json_t *rows = json_array();

	for (uint32_t i = 0; i < ruleset->rule_n; i++) {
		const struct rule *rule = &ruleset->rules[i];

		if (!rule_is_builtin(rule))
			continue;
		if (json) {
			json_array_append_new(rows, rule_json(&places, rule));
			continue;
		}
		table_cell(&table, TONE_PLAIN, "%s", rule->id);
		table_cell(&table, TONE_PLAIN, "%s", rule->pair);
		table_cell(&table, TONE_PLAIN, "%s", rule->text);
		table_cell(&table, TONE_DIM, "%s%s", rule->comment ? "# " : "",
			   rule->comment ? rule->comment : "");
	}
	if (json) {
		output_json_take(json_pack("{s:O}", "rules", rows), false);
	} else {
		if (table_flush(&table, &out) && !out.error)
			out.error = table.error;
		output_write(&out);
	}
	json_decref(rows);
	places_free(&places);
	table_free(&table);
}

/* Nothing runs, or nobody may look: the built-in rules of a policy that says nothing. */
static int show_builtin_of_nothing(const struct arguments *arguments, int reason)
{
	static const char empty[] = "# an empty policy\n";
	struct diagnostics diagnostics = { 0 };
	struct source_set sources = { 0 };
	struct ruleset ruleset = { 0 };
	uint32_t index;
	int err;

	err = source_set_add(&sources, "empty", empty, sizeof(empty) - 1, &index);
	sources.sealed = true;
	if (!err)
		err = policy_load("empty", &sources, &ruleset, &diagnostics);
	else
		source_set_free(&sources);
	if (err) {
		complain("cannot make the built-in rules: %s", strerror(-err));
	} else {
		complain("%s: these are the built-in rules of an empty one",
			 reason == -ENOENT ? "no policy is running"
					   : "the running policy cannot be read without privilege");
		show_builtin(&ruleset, arguments->json);
	}
	ruleset_free(&ruleset);
	diagnostics_free(&diagnostics);
	return err ? STATUS_FAILED : STATUS_DONE;
}

/* --- image --- */

/* What is only known while compiling: the same rules and interfaces give the same image again. */
static int image_figures(const struct running *running, struct compile_stats *stats)
{
	const struct interface_vector *interfaces = &running->status.interfaces;
	cleanup_free struct compile_interface *listed = calloc(interfaces->n + 1, sizeof(*listed));
	struct image image = { 0 };
	const char *why = NULL;
	uint32_t n = 0;
	int err;

	if (!listed)
		return -ENOMEM;
	for (size_t i = 0; i < interfaces->n; i++)
		if (interfaces->items[i].zone != ZONE_OTHER)
			listed[n++] = (struct compile_interface){ interfaces->items[i].ifindex,
								  interfaces->items[i].zone };
	err = image_compile(&running->ruleset, listed, n, &image, &why);
	if (!err)
		*stats = image.stats;
	image_free(&image);
	return err;
}

/* A table of its own: counts of instructions and sizes change with compilers and kernels. */
static int add_programs(const struct program_figures *programs, uint32_t n, struct text *out)
{
	static const struct table_column columns[] = {
		{ "PROGRAM" }, { "VERIFIED", true }, { "INSTRUCTIONS", true }, { "MACHINE CODE", true },
	};
	struct table table = TABLE_INIT(columns);
	int err;

	for (uint32_t i = 0; i < n; i++) {
		table_cell(&table, TONE_PLAIN, "%s", programs[i].name);
		table_cell(&table, TONE_PLAIN, "%u", programs[i].verified);
		table_cell(&table, TONE_PLAIN, "%u", programs[i].xlated / BPF_INSTRUCTION);
		table_cell(&table, TONE_PLAIN, "%u B", programs[i].jited);
	}
	text_putc(out, '\n');
	err = table_flush(&table, out) ? table.error : 0;
	table_free(&table);
	return err;
}

static json_t *programs_json(const struct program_figures *programs, uint32_t n)
{
	json_t *rows = json_array();

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(rows, json_pack("{s:s, s:I, s:I, s:I, s:I}", "name",
						      programs[i].name, "id",
						      (json_int_t)programs[i].id, "verified",
						      (json_int_t)programs[i].verified, "xlated_bytes",
						      (json_int_t)programs[i].xlated, "jited_bytes",
						      (json_int_t)programs[i].jited));
	return rows;
}

static void show_image_text(const struct image_header *header, const struct compile_stats *stats,
			    const struct program_figures *programs, uint32_t n)
{
	const struct {
		const char *name;
		uint64_t value;
		const char *text;
	} rows[] = {
		{ "rules", header->rules, "built-in ones and defaults included" },
		{ "zones", header->zones, "`self` and `other` included" },
		{ "translations", header->translation_n, "to where rules of NAT translate" },
		{ "switches", stats->switches, "nodes that ask one field for up to 15 boundaries" },
		{ "tests", stats->tests, "nodes that ask one field for one range" },
		{ "sets", stats->set_nodes, "nodes that ask a tree of addresses" },
		{ "set trees", stats->set_trees, "trees of addresses, each there once" },
		{ "set switches", stats->set_switches, "nodes in these trees" },
		{ "limits", stats->limited, "nodes that ask the limits of a rule" },
		{ "dynamic sets", stats->dynamic, "nodes that ask a dynamic set" },
		{ "longest walk", header->walk_max, "nodes for the slowest packet" },
		{ "longest chain", stats->chain_max, "matches tried one after the other" },
	};
	static const struct table_column columns[] = { { "" }, { "", true }, { "" } };
	struct table table = TABLE_INIT(columns);
	struct text out = TEXT_INIT(1 << 16);
	int err;

	table.bare = true;
	text_puts(&out, "image of ");
	text_bytes(&out, (uint64_t)header->units * IMAGE_UNIT);
	text_printf(&out, ", format %u, digest %08x%08x\n\n", header->version, header->digest[1],
		    header->digest[0]);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		table_cell(&table, TONE_PLAIN, "%s", rows[i].name);
		table_cell(&table, TONE_PLAIN, "%llu", (unsigned long long)rows[i].value);
		table_cell(&table, TONE_DIM, "%s", rows[i].text);
	}
	if (table_flush(&table, &out) && !out.error)
		out.error = table.error;
	table_free(&table);
	err = add_programs(programs, n, &out);
	if (err && !out.error)
		out.error = err;
	output_write(&out);
}

static void show_image_json(const struct image_header *header, const struct compile_stats *stats,
			    const struct program_figures *programs, uint32_t n)
{
	char digest[17];

	snprintf(digest, sizeof(digest), "%08x%08x", header->digest[1], header->digest[0]);
	output_json_take(
		json_pack("{s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "bytes",
			  (json_int_t)header->units * IMAGE_UNIT, "format",
			  (json_int_t)header->version, "digest", digest, "rules",
			  (json_int_t)header->rules, "zones", (json_int_t)header->zones,
			  "translations", (json_int_t)header->translation_n, "switches",
			  (json_int_t)stats->switches, "tests", (json_int_t)stats->tests, "sets",
			  (json_int_t)stats->set_nodes, "set_trees", (json_int_t)stats->set_trees,
			  "set_switches", (json_int_t)stats->set_switches, "limits",
			  (json_int_t)stats->limited, "dynamic_sets",
			  (json_int_t)stats->dynamic, "walk_max", (json_int_t)header->walk_max,
			  "chain_max", (json_int_t)stats->chain_max, "programs", programs_json(programs, n)),
		false);
}

static int show_image(const struct arguments *arguments, const struct running *running)
{
	struct program_figures programs[ENGINE_PROGRAMS];
	struct compile_stats stats = { 0 };
	struct problem problem = { 0 };
	struct image_header header;
	struct image image = { 0 };
	const char *why = "it is too short";
	uint32_t n;
	int err;

	err = engine_programs(running->engine, programs, &n, &problem);
	if (!err)
		err = engine_image(running->engine, &image, &problem);
	if (err)
		return complain_problem(arguments, err, &problem);
	if (image.size < sizeof(header) || image_validate(image.bytes, image.size, &why)) {
		complain("the running image is broken: %s", why);
		image_free(&image);
		return STATUS_FAILED;
	}
	memcpy(&header, image.bytes, sizeof(header));
	image_free(&image);
	err = image_figures(running, &stats);
	if (err) {
		complain("cannot count the nodes: %s", strerror(-err));
		return STATUS_FAILED;
	}
	if (arguments->json)
		show_image_json(&header, &stats, programs, n);
	else
		show_image_text(&header, &stats, programs, n);
	return STATUS_DONE;
}

int command_show(const struct arguments *arguments)
{
	bool builtin = arguments->option[OPTION_BUILTIN] != NULL;
	int status = STATUS_DONE, err;
	struct problem problem = { 0 };
	struct running running;

	if (builtin && arguments->option[OPTION_IMAGE])
		return usage_error(arguments, "--builtin and --image are two different things");
	err = running_open(&running, &problem);
	if (builtin && (err == -ENOENT || err == -EPERM))
		return show_builtin_of_nothing(arguments, err);
	if (err)
		return complain_problem(arguments, err, &problem);
	if (builtin)
		show_builtin(&running.ruleset, arguments->json);
	else if (arguments->option[OPTION_IMAGE])
		status = show_image(arguments, &running);
	else if (arguments->json)
		show_text_json(&running);
	else
		show_text(&running);
	running_close(&running);
	return status;
}
