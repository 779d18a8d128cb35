// SPDX-License-Identifier: GPL-2.0-or-later
/* rules: the rules in their order, with what they decided. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/names.h"
#include "cli/output.h"
#include "cli/running.h"

static enum tone action_tone(enum action action)
{
	static const enum tone tones[] = {
		[ACTION_ALLOW] = TONE_GREEN,
		[ACTION_DROP] = TONE_RED,
		[ACTION_REJECT] = TONE_YELLOW,
		[ACTION_TRANSLATE] = TONE_PLAIN,
		[ACTION_PROTECT] = TONE_PLAIN,
	};

	return tones[action];
}

static void add_rule(struct table *table, struct running *running, const struct rule *rule,
		     const struct rule_counter *counter, uint64_t now)
{
	struct text packets = TEXT_INIT(64), bytes = TEXT_INIT(64), last = TEXT_INIT(64);
	struct text place = TEXT_INIT(1 << 20);

	text_count(&packets, counter->packets);
	text_bytes(&bytes, counter->bytes);
	if (!counter->last_ns)
		text_putc(&last, '-');
	else
		text_age(&last, now > counter->last_ns ? now - counter->last_ns : 0);
	rule_place_text(&running->places, rule, &place);
	table_cell(table, TONE_PLAIN, "%s", rule->id);
	table_take(table, TONE_PLAIN, &packets);
	table_take(table, TONE_PLAIN, &bytes);
	table_take(table, TONE_PLAIN, &last);
	table_take(table, TONE_DIM, &place);
	table_cell(table, TONE_PLAIN, "%s", rule->pair);
	table_cell(table, action_tone(rule->action), "%s", rule->text);
}

/* `rule` may be NULL: what no rule of NAT matches is of no interest. */
static bool rule_shown(const struct rule *rule, const struct rule_counter *counter, bool all)
{
	if (!rule)
		return false;
	return all || rule->origin != RULE_BUILTIN || counter->packets > 0;
}

static void print_rules(struct running *running, const struct rule_counter *counters, bool all)
{
	static const struct table_column columns[] = {
		{ "ID" },    { "PACKETS", true }, { "BYTES", true }, { "LAST HIT", true },
		{ "PLACE" }, { "PAIR" },	  { "RULE" },
	};
	struct table table = TABLE_INIT(columns);
	struct text out = TEXT_INIT(TEXT_CAP_DEFAULT);
	uint64_t now = monotonic_ns();
	int err = 0;

	for (uint32_t i = 0; i < ruleset_image_rules(&running->ruleset); i++) {
		const struct rule *rule = ruleset_rule(&running->ruleset, i);

		if (rule_shown(rule, &counters[i], all))
			add_rule(&table, running, rule, &counters[i], now);
	}
	err = table_flush(&table, &out);
	if (err && !out.error)
		out.error = err;
	output_write(&out);
	table_free(&table);
}

static json_t *rule_row_json(struct running *running, uint32_t number,
			     const struct rule_counter *counter, uint64_t now)
{
	json_t *row = rule_json(&running->places, ruleset_rule(&running->ruleset, number));

	if (!row)
		return NULL;
	json_object_set_new(row, "number", json_integer(number));
	json_object_set_new(row, "packets", json_integer((json_int_t)counter->packets));
	json_object_set_new(row, "bytes", json_integer((json_int_t)counter->bytes));
	json_object_set_new(row, "last_hit_ns",
			    !counter->last_ns ? json_null()
			    : json_integer(now > counter->last_ns
						   ? (json_int_t)(now - counter->last_ns) : 0));
	return row;
}

static void print_json(struct running *running, const struct rule_counter *counters, bool all)
{
	json_t *rows = json_array();
	uint64_t now = monotonic_ns();

	for (uint32_t i = 0; i < ruleset_image_rules(&running->ruleset); i++)
		if (rule_shown(ruleset_rule(&running->ruleset, i), &counters[i], all))
			json_array_append_new(rows, rule_row_json(running, i, &counters[i], now));
	output_json_take(json_pack("{s:I, s:o}", "generation",
				   (json_int_t)running->status.generation, "rules", rows), false);
}

int command_rules(const struct arguments *arguments)
{
	bool all = arguments->option[OPTION_ALL] != NULL;
	cleanup_free struct rule_counter *counters = NULL;
	struct problem problem = { 0 };
	struct running running;
	uint32_t n = 0;
	int err;

	err = running_open(&running, &problem);
	if (!err)
		err = engine_counters(running.engine, &counters, &n, &problem);
	if (err) {
		running_close(&running);
		return complain_problem(arguments, err, &problem);
	}
	if (n < ruleset_image_rules(&running.ruleset)) {
		complain("the policy was changed at this moment; try again");
		running_close(&running);
		return STATUS_FAILED;
	}
	if (arguments->json)
		print_json(&running, counters, all);
	else
		print_rules(&running, counters, all);
	running_close(&running);
	return STATUS_DONE;
}
