// SPDX-License-Identifier: GPL-2.0-or-later
/* sync: the running policy, for the interfaces of this moment. */
#include <errno.h>

#include "cli/load.h"
#include "cli/names.h"
#include "engine/bpf/keeper.h"

static void report_print(const struct upkeep_report *report)
{
	struct text out = TEXT_INIT(TEXT_CAP_DEFAULT);
	char line[512];

	for (size_t i = 0; i < report->items.n; i++) {
		upkeep_text(&report->items.items[i], line, sizeof(line));
		text_escaped(&out, line);
		text_putc(&out, '\n');
	}
	text_printf(&out, "%s: ", report->items.n ? "in step" : "nothing to do");
	text_plural(&out, report->covered, "interface");
	text_puts(&out, " covered by ");
	text_escaped(&out, report->policy ? report->policy : "?");
	text_printf(&out, ", generation %llu\n", (unsigned long long)report->generation);
	output_write(&out);
}

static json_t *upkeep_json(const struct upkeep *upkeep)
{
	char line[512];

	upkeep_text(upkeep, line, sizeof(line));
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "kind",
			 upkeep_name(upkeep->kind), "interface", json_text(upkeep->interface), "index",
			 upkeep->ifindex ? json_integer(upkeep->ifindex) : json_null(), "zone",
			 json_text(upkeep->zone), "zone_before", json_text(upkeep->zone_before),
			 "detail", json_text(upkeep->detail), "text", json_text(line));
}

static void report_json(const struct upkeep_report *report, int err, const struct problem *problem)
{
	json_t *changes = json_array();

	for (size_t i = 0; i < report->items.n; i++)
		json_array_append_new(changes, upkeep_json(&report->items.items[i]));
	output_json_take(json_pack("{s:b, s:o, s:I, s:I, s:o, s:o, s:o}", "ok", !err, "policy",
				   json_text(report->policy), "generation",
				   (json_int_t)report->generation, "covered",
				   (json_int_t)report->covered, "changes", changes, "error",
				   json_text(err ? problem->what : NULL), "hint",
				   json_text(err && problem->hint[0] ? problem->hint : NULL)),
			 false);
}

int command_sync(const struct arguments *arguments)
{
	struct upkeep_report report = { 0 };
	struct problem problem = { 0 };
	struct keeper *keeper = NULL;
	int err;

	err = keeper_new(false, &keeper, &problem);
	if (!err)
		err = keeper_sync(keeper, &report, &problem);
	if (err)
		complain_problem(&(struct arguments){ .command = arguments->command }, err,
				 &problem);
	if (arguments->json)
		report_json(&report, err, &problem);
	else if (!err)
		report_print(&report);
	upkeep_report_free(&report);
	keeper_free(keeper);
	return err ? STATUS_FAILED : STATUS_DONE;
}
