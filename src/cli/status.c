// SPDX-License-Identifier: GPL-2.0-or-later
/* status: what is running, on which interfaces, and how it fares. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "cli/confirm.h"
#include "cli/load.h"
#include "cli/names.h"
#include "cli/running.h"
#include "engine/bpf/single.h"

static const char *policy_name(const struct running *running)
{
	return running->ruleset.sources.sources.items[0].name;
}

static unsigned long long status_digest(const struct engine_status *status)
{
	return (unsigned long long)status->digest[1] << 32 | status->digest[0];
}

static void print_policy(const struct running *running, struct text *out)
{
	time_t since = (time_t)running->status.applied_at, now = time(NULL);
	char when[64] = "?";
	struct tm tm;

	if (localtime_r(&since, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	text_toned(out, TONE_GREEN, "running");
	text_printf(out, ", applied %s (", when);
	text_age(out, now > since ? (uint64_t)(now - since) * 1000000000 : 0);
	text_puts(out, " ago)\n\npolicy     ");
	text_escaped(out, policy_name(running));
	text_printf(out, ", digest %016llx, generation %llu\nrules      ",
		    status_digest(&running->status),
		    (unsigned long long)running->status.generation);
	text_printf(out, "%u of the file, %u in all\n", ruleset_own_rules(&running->ruleset),
		    running->ruleset.rule_n + running->ruleset.nat_n + running->ruleset.early_n);
}

static void print_guard(const struct engine_status *status, struct text *out)
{
	text_puts(out, "guard      ");
	if (status->guard)
		text_toned(out, TONE_GREEN, "on");
	else if (!status->guard_wanted)
		text_puts(out, "off, as the policy says");
	else
		text_toned(out, TONE_RED, "MISSING: somebody took it away; run `reeve sync`, or reeved");
	text_putc(out, '\n');
}

static void print_routes(const struct engine_status *status, struct text *out)
{
	if (!status->intercepts)
		return;
	text_puts(out, "intercept  ");
	if (status->routes)
		text_toned(out, TONE_GREEN, "on");
	else
		text_toned(out, TONE_RED, "MISSING: one of its routing rules or its route was taken away; run `reeve sync`, or reeved");
	text_putc(out, '\n');
}

static void print_protection(const struct engine_status *status, struct text *out)
{
	const char *trouble = protection_trouble(status->protection);

	if (status->protection == PROTECTION_UNASKED)
		return;
	text_puts(out, "protect    ");
	text_toned(out, trouble ? TONE_YELLOW : TONE_GREEN, "%s", trouble ? trouble : "on");
	text_putc(out, '\n');
}

static void print_reeved(struct text *out)
{
	pid_t pid = single_process();

	if (pid)
		text_printf(out, "reeved     on, process %d\n", (int)pid);
	else
		text_puts(out, "reeved     off: new interfaces are held by the guard until `reeve sync`\n");
}

static void print_confirm(struct text *out)
{
	uint64_t left;

	if (!confirm_left(&left))
		return;
	text_puts(out, "confirm    ");
	if (left)
		text_toned(out, TONE_YELLOW, "what ran before is back in %llu s, unless you say `reeve confirm`",
			   (unsigned long long)((left + 999999999u) / 1000000000u));
	else
		text_toned(out, TONE_RED, "OVERDUE: `reeve confirm --abort` goes back, `reeve confirm` keeps this policy");
	text_putc(out, '\n');
}

static void print_fill(const char *what, uint32_t used, uint32_t max, struct text *out)
{
	bool full = max && used >= max - max / 10;

	text_puts(out, what);
	text_toned(out, full ? TONE_YELLOW : TONE_PLAIN, "%u of %u", used, max);
}

static void print_tables(const struct engine_status *status, struct text *out)
{
	print_fill("flows      answered ", status->flows, status->flows_max, out);
	print_fill(", unanswered ", status->embryonic, status->embryonic_max, out);
	text_puts(out, "\nmemory     ");
	text_bytes(out, status->map_bytes);
	text_puts(out, " in the kernel\n\n");
}

static void add_covered(struct table *table, const struct engine_interface *interface)
{
	struct text why = TEXT_INIT(1 << 12), fast = TEXT_INIT(1 << 12);
	enum tone tone = TONE_GREEN;

	if (interface->early >= EARLY_OTHERS)
		tone = TONE_YELLOW;
	early_trouble(interface->early, interface->early_why, &why);
	if (interface->fast != FAST_UNKNOWN)
		text_printf(&fast, "; fast path: %s%s%s", fast_name(interface->fast),
			    fast_trouble(interface->fast) ? ", " : "",
			    fast_trouble(interface->fast) ? fast_trouble(interface->fast) : "");
	if (interface->early == EARLY_UNASKED)
		table_cell(table, tone, "covered%s", fast.len ? text_string(&fast) : "");
	else
		table_cell(table, tone, "covered; early: %s%s%s%s",
			   interface->early >= EARLY_OTHERS ? "none" : early_state_name(interface->early),
			   why.len ? ", " : "", why.len ? text_string(&why) : "",
			   fast.len ? text_string(&fast) : "");
	text_free(&why);
	text_free(&fast);
}

static void add_interface(struct table *table, const struct running *running,
			  const struct engine_interface *interface)
{
	const char *trouble = coverage_trouble(interface->coverage);
	bool judged = interface->coverage == COVERAGE_COVERED || trouble;

	table_cell(table, TONE_PLAIN, "%s", interface->name);
	table_cell(table, TONE_PLAIN, "%s",
		   judged ? zone_name(&running->ruleset, interface->zone) : "-");
	switch (interface->coverage) {
	case COVERAGE_COVERED:
		add_covered(table, interface);
		break;
	case COVERAGE_LOOPBACK:
		table_cell(table, TONE_DIM, "left alone: loopback");
		break;
	case COVERAGE_PORT:
		table_cell(table, TONE_DIM, "left alone: port of %s", interface->master);
		break;
	case COVERAGE_DETOUR:
		table_cell(table, TONE_DIM, "left alone: ifb, a shaper's detour");
		break;
	default:
		table_cell(table, TONE_RED, "%s: %s",
			   interface->coverage == COVERAGE_MISSING ? "MISSING"
			   : interface->coverage == COVERAGE_DETACHED ? "DETACHED" : "MOVED",
			   trouble ? trouble : "?");
	}
}

static void print_interfaces(const struct running *running, struct text *out)
{
	static const struct table_column columns[] = { { "INTERFACE" }, { "ZONE" }, { "" } };
	const struct interface_vector *interfaces = &running->status.interfaces;
	struct table table = TABLE_INIT(columns);

	for (size_t i = 0; i < interfaces->n; i++)
		add_interface(&table, running, &interfaces->items[i]);
	if (table_flush(&table, out) && !out->error)
		out->error = table.error;
	table_free(&table);
}

/* The first interface whose packets the guard holds at this moment, or NULL. */
static const struct engine_interface *held_interface(const struct engine_status *status)
{
	for (size_t i = 0; i < status->interfaces.n; i++)
		if (status->interfaces.items[i].coverage == COVERAGE_MISSING
		    || status->interfaces.items[i].coverage == COVERAGE_DETACHED)
			return &status->interfaces.items[i];
	return NULL;
}

static bool stat_of_guard(unsigned stat)
{
	return stat == STAT_GUARD_LOCAL || stat == STAT_GUARD_FORWARD || stat == STAT_GUARD_POST;
}

static const char *stat_cause(unsigned stat)
{
	switch (stat) {
	case STAT_GUARD_LOCAL:
		return guard_cause(HOOK_LOCAL_IN);
	case STAT_GUARD_FORWARD:
		return guard_cause(HOOK_FORWARD);
	case STAT_GUARD_POST:
		return guard_cause(HOOK_POST_ROUTING);
	default:
		return NULL;
	}
}

static void print_statistics(const struct engine_status *status, struct text *out)
{
	static const struct table_column columns[] = { { "STATISTIC" }, { "", true }, { "" } };
	struct table table = TABLE_INIT(columns);

	for (unsigned i = 0; i < STAT_COUNT; i++) {
		enum tone tone = stat_is_trouble(i) ? TONE_RED : TONE_PLAIN;
		struct text figure = TEXT_INIT(64);
		const struct engine_interface *held = stat_of_guard(i) ? held_interface(status) : NULL;
		const char *cause = stat_cause(i);

		if (!status->stats[i])
			continue;
		text_count(&figure, status->stats[i]);
		table_cell(&table, tone, "%s", stat_name(i));
		table_take(&table, tone, &figure);
		if (held)
			table_cell(&table, TONE_PLAIN, "%s; likely: `%s` is not covered, see above",
				   stat_text(i), held->name);
		else
			table_cell(&table, TONE_PLAIN, "%s%s%s", stat_text(i),
				   cause ? "; likely: " : "", cause ? cause : "");
	}
	if (table.cells.n)
		text_putc(out, '\n');
	if (table_flush(&table, out) && !out->error)
		out->error = table.error;
	table_free(&table);
}

static void print_status(const struct running *running)
{
	struct text out = TEXT_INIT(TEXT_CAP_DEFAULT);

	print_policy(running, &out);
	print_guard(&running->status, &out);
	print_protection(&running->status, &out);
	if (running->status.clsact)
		text_puts(&out, "hooks      filters of clsact, for the kernel has no tcx\n");
	if (running->status.nft_guard && running->status.guard_wanted)
		text_puts(&out, "           the guard is the nftables table `inet reeve-guard`, for the kernel has no BPF on Netfilter\n");
	print_routes(&running->status, &out);
	print_reeved(&out);
	print_confirm(&out);
	print_tables(&running->status, &out);
	print_interfaces(running, &out);
	print_statistics(&running->status, &out);
	output_write(&out);
}

static json_t *reeved_json(void)
{
	pid_t pid = single_process();

	return pid ? json_integer(pid) : json_null();
}

/* Nanoseconds until the former policy is back; null when nothing waits. */
static json_t *confirm_json(void)
{
	uint64_t left;

	return confirm_left(&left) ? json_integer((json_int_t)left) : json_null();
}

static json_t *fill_json(uint32_t used, uint32_t max)
{
	return json_pack("{s:I, s:I}", "used", (json_int_t)used, "max", (json_int_t)max);
}

static void print_json(const struct running *running)
{
	const struct engine_status *status = &running->status;
	json_t *interfaces = json_array(), *statistics = json_object();
	char digest[17];

	snprintf(digest, sizeof(digest), "%016llx", status_digest(status));
	for (size_t i = 0; i < status->interfaces.n; i++)
		json_array_append_new(interfaces, interface_json(&running->ruleset,
								 &status->interfaces.items[i]));
	for (unsigned i = 0; i < STAT_COUNT; i++)
		json_object_set_new(statistics, stat_name(i),
				    json_integer((json_int_t)status->stats[i]));
	output_json_take(
		json_pack("{s:b, s:o, s:I, s:I, s:s, s:I, s:I, s:o, s:s, s:{s:b, s:b, s:s}, s:{s:b, s:b}, s:{s:b, s:o}, s:o, s:o, s:o, s:o, s:I, s:o}",
			  "running", 1, "policy", json_text(policy_name(running)), "since",
			  (json_int_t)status->applied_at, "generation",
			  (json_int_t)status->generation, "digest", digest, "rules",
			  (json_int_t)ruleset_own_rules(&running->ruleset), "rules_all",
			  (json_int_t)running->ruleset.rule_n + running->ruleset.nat_n +
				  running->ruleset.early_n,
			  "interfaces", interfaces, "hooks",
			  status->clsact ? "clsact" : "tcx", "guard",
			  "wanted", status->guard_wanted, "alive", status->guard, "by",
			  status->nft_guard ? "nftables" : "bpf", "intercept", "wanted",
			  status->intercepts, "routes", status->routes, "protect",
			  "on", status->protection == PROTECTION_ON, "why",
			  json_text(protection_trouble(status->protection)), "reeved",
			  reeved_json(), "confirm_left_ns", confirm_json(), "flows",
			  fill_json(status->flows, status->flows_max), "embryonic",
			  fill_json(status->embryonic, status->embryonic_max), "memory",
			  (json_int_t)status->map_bytes, "statistics", statistics),
		false);
}

static int not_running(const struct arguments *arguments)
{
	struct text out = TEXT_INIT(1 << 12);

	if (arguments->json) {
		output_json_take(json_pack("{s:b}", "running", 0), false);
		return STATUS_DONE;
	}
	text_puts(&out, "not running: no policy is applied in this network namespace\n");
	output_write(&out);
	return STATUS_DONE;
}

int command_status(const struct arguments *arguments)
{
	struct problem problem = { 0 };
	struct running running;
	int err = running_open(&running, &problem);

	if (err == -ENOENT)
		return not_running(arguments);
	if (err)
		return complain_problem(arguments, err, &problem);
	if (arguments->json)
		print_json(&running);
	else
		print_status(&running);
	running_close(&running);
	return STATUS_DONE;
}
