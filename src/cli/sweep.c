// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sweep: what is over goes from the tables of flows and from dynamic sets.
 */
#include <errno.h>

#include "cli/load.h"
#include "cli/output.h"
#include "cli/running.h"
#include "engine/bpf/sets.h"

int command_sweep(const struct arguments *arguments)
{
	struct text out = TEXT_INIT(1 << 12);
	struct problem problem = { 0 };
	struct running running;
	uint64_t removed = 0, entries = 0;
	int err;

	err = running_open(&running, &problem);
	if (err)
		return complain_problem(arguments, err, &problem);
	err = engine_sweep(running.engine, &removed, &problem);
	if (!err)
		err = engine_sets_sweep(running.engine, &entries, &problem);
	running_close(&running);
	if (err)
		return complain_problem(arguments, err, &problem);
	if (arguments->json) {
		output_json_take(json_pack("{s:b, s:I, s:I}", "ok", 1, "flows",
					   (json_int_t)removed, "set_entries", (json_int_t)entries),
				 false);
		return STATUS_DONE;
	}
	text_plural(&out, removed, "flow");
	if (entries)
		text_printf(&out, entries == 1 ? " and %lu entry of a set" : " and %lu entries of sets",
			    entries);
	text_puts(&out, " removed\n");
	output_write(&out);
	text_free(&out);
	return STATUS_DONE;
}
