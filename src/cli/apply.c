// SPDX-License-Identifier: GPL-2.0-or-later
/* apply and down: the commands that change what the kernel does. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/confirm.h"
#include "cli/forwards.h"
#include "cli/load.h"
#include "cli/names.h"
#include "cli/running.h"
#include "cli/session.h"
#include "engine/bpf/sets.h"

/* What goes on after a refused apply. */
static const char *untouched(void)
{
	struct problem problem = { 0 };
	struct engine *engine;
	int err = engine_open(&engine, &problem);

	if (!err)
		engine_close(engine);
	if (!err)
		return "nothing was changed: the policy applied before goes on";
	if (err == -ENOENT)
		return "nothing was changed: no policy is running";
	return "nothing was changed";
}

/* --- warnings --- */

/* Where the kernel does not forward, it tells the programs no routes. */
static void antispoof_warnings(const struct ruleset *ruleset, const struct engine_interface *interface,
			       void (*say)(void *context, const char *code, const char *message),
			       void *context)
{
	uint8_t families[2];
	unsigned n;

	if (interface->coverage != COVERAGE_COVERED
	    || ruleset->zones[interface->zone].hygiene.antispoof == ANTISPOOF_OFF)
		return;
	interface_unforwarding(interface->name, families, &n);
	for (unsigned i = 0; i < n; i++) {
		struct text text = TEXT_INIT(1 << 12);

		text_printf(&text,
			    "`antispoof` cannot ask about IPv%u sources at %s: forwarding is off there%s",
			    families[i], interface->name,
			    families[i] == 4 ? " (the kernel's own `rp_filter` can)" : "");
		say(context, "antispoof-idle", text_string(&text));
		text_free(&text);
	}
}

static void early_warning(const struct engine_interface *interface,
			  void (*say)(void *context, const char *code, const char *message),
			  void *context)
{
	struct text text = TEXT_INIT(1 << 12);

	/* Before anything is attached, it is missing everywhere. */
	if (interface->early != EARLY_OTHERS && interface->early != EARLY_REFUSED)
		return;
	text_printf(&text, "%s goes without `early`: ", interface->name);
	early_trouble(interface->early, interface->early_why, &text);
	say(context, "early-left-out", text_string(&text));
	text_free(&text);
}

/* Calls `say` for each thing about a successful apply that deserves a warning. */
static void apply_warnings(const struct ruleset *ruleset, const struct apply_report *report,
			   void (*say)(void *context, const char *code, const char *message),
			   void *context)
{
	for (size_t i = 0; i < report->interfaces.n; i++) {
		const struct engine_interface *interface = &report->interfaces.items[i];
		struct text text = TEXT_INIT(1 << 12);

		antispoof_warnings(ruleset, interface, say, context);
		early_warning(interface, say, context);
		if (interface->zone != ZONE_OTHER || interface->coverage != COVERAGE_COVERED
		    || !interface->default_route)
			continue;
		text_printf(&text,
			    "%s carries the default route, but no zone names it: its packets belong to `other`",
			    interface->name);
		say(context, "default-route-in-other", text_string(&text));
		text_free(&text);
	}
	forwards_check(ruleset, &report->interfaces, say, context);
	if (report->protection > PROTECTION_ON)
		say(context, "protect-off", protection_trouble(report->protection));
	if (report->flows_left)
		say(context, "flows-left",
		    "the policy runs, but not all live flows could be ended: `reeve flows kill all` tries again");
	if (report->addresses_unfollowed)
		say(context, "masquerade-unfollowed",
		    "this kernel does not tell programs by which address packets leave (Linux 6.7 does), and reeved does not run: masquerade takes another address only after `reeve sync`");
	if (report->xfrm_policies)
		say(context, "ipsec",
		    "IPsec policies exist: departure sees packets encrypted, and transport mode is not filtered inside");
}

static void warn_person(void *context, const char *code, const char *message)
{
	(void)context;
	(void)code;
	complain("warning: %s", message);
}

static void warn_program(void *context, const char *code, const char *message)
{
	json_array_append_new(context, json_pack("{s:s, s:o, s:n}", "code", code, "message",
						 json_text(message), "hint"));
}

/* --- what was done --- */

static void report_interfaces(const struct ruleset *ruleset, const struct apply_report *report,
			      struct text *out)
{
	static const struct table_column columns[] = { { "INTERFACE" }, { "ZONE" }, { "" } };
	struct table table = TABLE_INIT(columns);

	for (size_t i = 0; i < report->interfaces.n; i++) {
		const struct engine_interface *interface = &report->interfaces.items[i];
		bool covered = interface->coverage == COVERAGE_COVERED;

		table_cell(&table, TONE_PLAIN, "%s", interface->name);
		table_cell(&table, TONE_PLAIN, "%s",
			   covered ? zone_name(ruleset, interface->zone) : "-");
		if (interface->coverage == COVERAGE_PORT)
			table_cell(&table, TONE_DIM, "left alone: port of %s", interface->master);
		else if (interface->coverage == COVERAGE_DETOUR)
			table_cell(&table, TONE_DIM, "left alone: ifb, a shaper's detour");
		else if (interface->coverage == COVERAGE_LOOPBACK)
			table_cell(&table, TONE_DIM, "left alone: loopback");
		else if (interface->zone == ZONE_OTHER)
			table_cell(&table, TONE_YELLOW, "covered; no zone names it");
		else
			table_cell(&table, TONE_GREEN, "covered");
	}
	if (table_flush(&table, out) && !out->error)
		out->error = table.error;
	table_free(&table);
}

static void report_print(const char *name, const struct ruleset *ruleset, bool dry_run,
			 uint32_t seconds, const struct apply_report *report)
{
	struct text out = TEXT_INIT(TEXT_CAP_DEFAULT);

	text_escaped(&out, strcmp(name, "-") == 0 ? "standard input" : name);
	text_puts(&out, ": ");
	text_toned(&out, TONE_GREEN, "%s",
		   dry_run	   ? "could be applied (dry run: nothing was changed)"
		   : report->first ? "applied"
				   : "applied, in place of the policy before");
	text_puts(&out, "\n\n");
	report_interfaces(ruleset, report, &out);
	text_putc(&out, '\n');
	text_plural(&out, ruleset_own_rules(ruleset), "rule");
	text_puts(&out, " of the file, image of ");
	text_bytes(&out, report->stats.bytes);
	text_puts(&out, "; compiled in ");
	text_age(&out, report->compile_ns);
	text_puts(&out, ", loaded in ");
	text_age(&out, report->load_ns);
	if (!dry_run) {
		text_puts(&out, ", switched in ");
		text_age(&out, report->flip_ns);
	}
	text_putc(&out, '\n');
	if (seconds && !dry_run)
		text_printf(&out, "what ran before is back in %u s, unless you say `reeve confirm`\n",
			    seconds);
	if (report->flows_seeded) {
		text_plural(&out, report->flows_seeded, "live connection");
		text_puts(&out, " taken over: each is judged at its next packet\n");
	}
	if (report->flows_ended) {
		text_plural(&out, report->flows_ended, "live flow");
		text_puts(&out, " ended\n");
	}
	output_write(&out);
	apply_warnings(ruleset, report, warn_person, NULL);
}

static void report_json(const struct loaded *loaded, bool dry_run,
			const struct apply_report *report)
{
	const struct compile_stats *stats = &report->stats;
	json_t *interfaces = json_array();
	json_t *warnings = json_diagnostics(&loaded->diagnostics, &loaded->ruleset.sources,
					    DIAGNOSTIC_WARNING);

	for (size_t i = 0; i < report->interfaces.n; i++)
		json_array_append_new(interfaces, interface_json(&loaded->ruleset,
								 &report->interfaces.items[i]));
	apply_warnings(&loaded->ruleset, report, warn_program, warnings);
	output_json_take(
		json_pack("{s:b, s:b, s:b, s:I, s:I, s:I, s:o, s:o, s:{s:I, s:I, s:I}, s:{s:I, s:I}}", "ok",
			  1, "dry_run", dry_run, "first", report->first, "rules",
			  (json_int_t)ruleset_own_rules(&loaded->ruleset), "flows_seeded",
			  (json_int_t)report->flows_seeded, "flows_ended",
			  (json_int_t)report->flows_ended, "interfaces", interfaces,
			  "warnings", warnings, "ns", "compile", (json_int_t)report->compile_ns,
			  "load", (json_int_t)report->load_ns, "switch",
			  (json_int_t)report->flip_ns, "image", "bytes", (json_int_t)stats->bytes,
			  "walk_max", (json_int_t)stats->walk_max),
		false);
}

static int refused(const struct arguments *arguments, const struct loaded *loaded, int err,
		   const struct problem *problem)
{
	const struct source_set *sources = &loaded->ruleset.sources;
	const char *after = untouched();

	if (problem) {
		complain_problem(&(struct arguments){ .command = arguments->command }, err, problem);
	}
	complain("%s", after);
	if (arguments->json)
		output_json_take(
			json_pack("{s:b, s:o, s:o, s:o, s:o, s:s}", "ok", 0, "errors",
				  json_diagnostics(&loaded->diagnostics, sources, DIAGNOSTIC_ERROR),
				  "error", json_text(problem ? problem->what : NULL), "hint",
				  json_text(problem && problem->hint[0] ? problem->hint : NULL),
				  "detail",
				  json_text(problem && problem->detail[0] ? problem->detail : NULL),
				  "state", after),
			false);
	return STATUS_FAILED;
}

enum flows_how { FLOWS_RECHECK, FLOWS_KEEP, FLOWS_KILL };

/* What --flows says. -EINVAL, after usage_error. */
static int flows_how(const struct arguments *arguments, enum flows_how *how)
{
	static const char *const names[] = {
		[FLOWS_RECHECK] = "recheck", [FLOWS_KEEP] = "keep", [FLOWS_KILL] = "kill",
	};
	const char *said = arguments->option[OPTION_FLOWS];

	*how = FLOWS_RECHECK;
	if (!said)
		return 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(said, names[i]) == 0) {
			*how = (enum flows_how)i;
			return 0;
		}
	usage_error(arguments, "--flows: recheck, keep or kill, not `%s`", said);
	return -EINVAL;
}

/* --- the session that this is typed in --- */

/* All flows but the session's; context NULL: all. */
static int not_the_session(void *context, const struct flow_key *key, const struct flow *flow,
			   bool embryonic)
{
	(void)flow;
	(void)embryonic;
	return !context || !session_has_flow(context, key);
}

/* Dynamic sets go on with what those of the same names hold now. */
static void judge_session(struct ruleset *ruleset, const struct session *session,
			  struct session_fate *fate)
{
	struct engine *engine = NULL;
	struct problem ignored;

	if (ruleset->set_n && !engine_open(&engine, &ignored))
		ruleset->contents = (struct set_contents){ engine_set_holds, engine };
	session_judge(ruleset, session, fate);
	ruleset->contents = (struct set_contents){ 0 };
	engine_close(engine);
}

/* Would the policy cut the session? *problem then says which rule does, and what to do. */
static bool session_cut(struct loaded *loaded, const struct session *session, enum flows_how how,
			struct problem *problem)
{
	struct places places = { .sources = &loaded->ruleset.sources };
	struct text place = TEXT_INIT(1 << 12);
	const struct rule *rule;
	struct session_fate fate;
	char question[256];

	judge_session(&loaded->ruleset, session, &fate);
	if (!fate.here || (fate.opens && (fate.lives || (how == FLOWS_KEEP && !fate.unseen))))
		return false;
	rule = ruleset_rule(&loaded->ruleset, fate.rule);
	session_question(&loaded->ruleset, session, &fate, question, sizeof(question));
	rule_place_text(&places, rule, &place);
	snprintf(problem->what, sizeof(problem->what),
		 "this policy would %s: `%s` meets `%s`, %s",
		 fate.lives ? "not let your ssh session be opened again" : "cut your ssh session",
		 question, rule->text, place.len ? text_string(&place) : "built in");
	if (fate.rule >= ruleset_early_first(&loaded->ruleset))
		snprintf(problem->hint, sizeof(problem->hint),
			 "leave its address or its port out of that rule of `early`; or --confirm 60s, which takes it back by itself; or --force");
	else
		snprintf(problem->hint, sizeof(problem->hint),
			 "allow %u/tcp in the policy from `%s` to self, before that rule; or --confirm 60s, which takes it back by itself; or --force",
			 session->local_port,
			 loaded->ruleset.zones[ruleset_interface_zone(&loaded->ruleset, fate.interface)].name);
	text_free(&place);
	places_free(&places);
	return true;
}

/*
 * Neither another policy that waits for confirmation, nor the session stands against it. 0 or
 * -EPERM.
 */
static int may_apply(const struct arguments *arguments, struct loaded *loaded,
		     const struct session *session, enum flows_how how, struct problem *problem)
{
	uint64_t left;

	if (arguments->option[OPTION_FORCE])
		return 0;
	if (confirm_left(&left)) {
		snprintf(problem->what, sizeof(problem->what),
			 "the running policy waits for confirmation, %llu s more",
			 (unsigned long long)(left / 1000000000u));
		snprintf(problem->hint, sizeof(problem->hint),
			 "`reeve confirm` keeps it, `reeve confirm --abort` takes it back; --force goes on all the same");
		return -EPERM;
	}
	if (!session || !session_cut(loaded, session, how, problem))
		return 0;
	if (!arguments->option[OPTION_CONFIRM])
		return -EPERM;
	complain("warning: %s", problem->what);
	return 0;
}

/* `seconds` 0: for good. */
static int apply_it(const struct ruleset *ruleset, const struct apply_options *options,
		    uint32_t seconds, struct apply_report *report, struct problem *problem)
{
	struct apply_options for_a_time = *options;
	struct trial trial = { 0 };
	struct problem other;
	int err;

	for_a_time.trial = true;
	if (options->dry_run)
		return engine_apply(ruleset, options, report, problem);
	if (!seconds) {
		err = engine_apply(ruleset, options, report, problem);
		if (!err)
			confirm_forget(); /* a forced policy needs no confirmation */
		return err;
	}
	err = confirm_prepare(seconds, &trial, problem);
	if (err)
		return err;
	err = engine_apply(ruleset, &for_a_time, report, problem);
	if (err)
		confirm_undo(&trial);
	else if (confirm_begin(&trial, &other))
		complain("warning: it may take a minute longer until what ran before is back: %s",
			 other.what);
	trial_free(&trial);
	return err;
}

int command_apply(const struct arguments *arguments)
{
	struct apply_options options = { .dry_run = arguments->option[OPTION_DRY_RUN] != NULL };
	struct apply_report report = { 0 };
	struct session session;
	enum flows_how how;
	struct problem problem = { 0 };
	struct loaded loaded;
	bool known = false;
	uint32_t seconds = 0;
	int status, err;

	if (arguments->option[OPTION_CONFIRM] &&
	    confirm_duration(arguments->option[OPTION_CONFIRM], &seconds))
		return usage_error(arguments, "--confirm: a time between 10s and 1h, such as 60s or 5m, not `%s`",
				   arguments->option[OPTION_CONFIRM]);
	if (flows_how(arguments, &how))
		return STATUS_USAGE;
	options.keep_flows = how == FLOWS_KEEP;
	if (how == FLOWS_KILL)
		options.end = not_the_session;
	if (session_known(&session)) {
		options.context = &session;
		known = true;
	}
	err = policy_read(arguments, arguments->words[0], true, &loaded);
	if (err) {
		status = refused(arguments, &loaded, err, NULL);
		loaded_free(&loaded);
		return status;
	}
	err = may_apply(arguments, &loaded, known ? &session : NULL, how, &problem);
	if (!err)
		err = apply_it(&loaded.ruleset, &options, seconds, &report, &problem);
	if (err)
		status = refused(arguments, &loaded, err, &problem);
	else
		status = STATUS_DONE;
	if (!err && arguments->json)
		report_json(&loaded, options.dry_run, &report);
	else if (!err)
		report_print(arguments->words[0], &loaded.ruleset, options.dry_run, seconds,
			     &report);
	interface_vector_free(&report.interfaces);
	loaded_free(&loaded);
	return status;
}

static int down_gone(const struct arguments *arguments)
{
	struct problem problem = { 0 };
	struct text out = TEXT_INIT(1 << 12);
	uint32_t removed = 0;
	int err = engine_down_gone(&removed, &problem);

	if (err)
		return complain_problem(arguments, err, &problem);
	if (arguments->json) {
		output_json_take(json_pack("{s:b, s:I}", "ok", 1, "removed", (json_int_t)removed),
				 false);
		return STATUS_DONE;
	}
	if (removed)
		text_printf(&out, "down: the policies of %u namespace%s that %s gone\n", removed,
			    removed == 1 ? "" : "s", removed == 1 ? "is" : "are");
	else
		text_puts(&out, "no policy is left in a namespace that is gone\n");
	output_write(&out);
	return STATUS_DONE;
}

int command_down(const struct arguments *arguments)
{
	struct problem problem = { 0 };
	struct text out = TEXT_INIT(1 << 12);
	int err;

	if (arguments->option[OPTION_GONE])
		return down_gone(arguments);
	err = engine_down(&problem);
	if (err && err != -ENOENT)
		return complain_problem(arguments, err, &problem);
	confirm_forget();
	if (arguments->json) {
		output_json_take(json_pack("{s:b, s:b}", "ok", 1, "was_running", !err), false);
		return STATUS_DONE;
	}
	text_puts(&out, err ? "nothing was running\n"
			    : "down: packets of this network namespace are not filtered any more\n");
	output_write(&out);
	return STATUS_DONE;
}
