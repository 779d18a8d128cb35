// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flows: what is known at this moment. Rows are printed in portions, so the listing of a full table
 * needs no memory for all of it; with --json each flow is an object on a line of its own.
 */
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "cli/filter.h"
#include "cli/load.h"
#include "cli/names.h"
#include "cli/output.h"
#include "cli/running.h"
#include "cli/session.h"
#include "policy/protocols.h"

#define ROWS_AT_ONCE 512

struct listing {
	struct running *running;
	struct filter filter;
	struct table table;
	struct text out;
	bool json;
	uint64_t limit, seen; /* limit 0: none */
	uint64_t now;
};

static uint64_t since(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

/* The rule that allowed the flow, or NULL when it was one of an earlier policy. */
static const struct rule *flow_rule(const struct running *running, const struct flow *flow)
{
	if (flow->policy != (uint16_t)running->status.generation
	    || flow->rule >= running->ruleset.rule_n)
		return NULL;
	return &running->ruleset.rules[flow->rule];
}

/* --- for people --- */

static void endpoint(const struct flow_key *key, const uint32_t *address, uint16_t port,
		     struct text *out)
{
	if (protocol_has_ports(key->protocol))
		text_endpoint(out, key->family, address, port);
	else
		text_address(out, key->family, address);
}

/* Behind each end what the translation makes of it. */
static void translated_cells(const struct flow_key *key, const struct flow *flow,
			     struct text *from, struct text *to)
{
	const struct translation *as = &flow->translation;

	if (!(flow->flags & FLOW_TRANSLATED))
		return;
	if (as->flags & TRANSLATED_SOURCE) {
		text_puts(from, " as ");
		endpoint(key, as->src, as->src_port, from);
		if (protocol_is_icmp(key->protocol))
			text_printf(from, " id %u", as->src_port);
	}
	if (as->flags & TRANSLATED_DESTINATION) {
		text_puts(to, " at ");
		endpoint(key, as->dst, as->dst_port, to);
	}
}

static void count_cell(struct table *table, const struct flow_count *count)
{
	struct text cell = TEXT_INIT(128);

	text_count(&cell, count->packets);
	text_puts(&cell, " / ");
	text_bytes(&cell, count->bytes);
	table_take(table, TONE_PLAIN, &cell);
}

static void age_cell(struct table *table, uint64_t ns)
{
	struct text cell = TEXT_INIT(64);

	text_age(&cell, ns);
	table_take(table, TONE_PLAIN, &cell);
}

static void add_row(struct listing *listing, const struct flow_key *key, const struct flow *flow)
{
	const struct ruleset *ruleset = &listing->running->ruleset;
	const struct rule *rule = flow_rule(listing->running, flow);
	struct text protocol = TEXT_INIT(64), from = TEXT_INIT(128), to = TEXT_INIT(128);
	struct table *table = &listing->table;
	struct flow_ends ends;

	flow_ends(key, flow, &ends);
	text_protocol(&protocol, key->protocol);
	endpoint(key, ends.from, ends.from_port, &from);
	text_puts(&to, "-> ");
	endpoint(key, ends.to, ends.to_port, &to);
	if (protocol_is_icmp(key->protocol))
		text_printf(&from, " id %u", ends.from_port);
	translated_cells(key, flow, &from, &to);
	table_take(table, TONE_PLAIN, &protocol);
	table_take(table, TONE_PLAIN, &from);
	table_take(table, TONE_PLAIN, &to);
	if (flow->translation.toward)
		table_cell(table, TONE_PLAIN, "%s -> self, intercepted on its way to %s",
			   zone_tag_name(ruleset, flow->from_tag),
			   zone_tag_name(ruleset, flow->translation.toward));
	else
		table_cell(table, TONE_PLAIN, "%s -> %s", zone_tag_name(ruleset, flow->from_tag),
			   zone_tag_name(ruleset, flow->to_tag));
	table_cell(table, flow->flags & FLOW_REPLIED ? TONE_PLAIN : TONE_YELLOW, "%s",
		   flow_state_name(flow->state));
	age_cell(table, since(listing->now, flow->created));
	age_cell(table, since(listing->now, flow->seen));
	count_cell(table, &flow->original);
	count_cell(table, &flow->reply);
	table_cell(table, rule ? TONE_PLAIN : TONE_DIM, "%s",
		   rule ? rule->id : "of an earlier policy");
}

static int flush(struct listing *listing)
{
	int err = table_flush(&listing->table, &listing->out);

	if (err && !listing->out.error)
		listing->out.error = err;
	return output_write(&listing->out);
}

/* --- for programs --- */

static json_t *address_json(unsigned family, const uint32_t *address)
{
	struct text text = TEXT_INIT(128);

	text_address(&text, family, address);
	return json_take(&text);
}

static json_t *count_json(const struct flow_count *count)
{
	return json_pack("{s:I, s:I}", "packets", (json_int_t)count->packets, "bytes",
			 (json_int_t)count->bytes);
}

static json_t *end_json(const struct flow_key *key, const uint32_t *address, uint16_t port,
			const char *zone, uint32_t ifindex)
{
	char name[IF_NAMESIZE];
	bool known = ifindex && if_indextoname(ifindex, name);

	return json_pack("{s:o, s:o, s:o, s:o}", "address", address_json(key->family, address), "port",
			 protocol_has_ports(key->protocol) ? json_integer(port) : json_null(),
			 "zone", json_text(zone), "interface", json_text(known ? name : NULL));
}

/* The ends as the responder sees them, and ICMP's identifier there; null where nothing is translated. */
static json_t *translated_json(const struct flow_key *key, const struct flow *flow)
{
	const struct translation *as = &flow->translation;
	bool ports = protocol_has_ports(key->protocol);

	if (!(flow->flags & FLOW_TRANSLATED))
		return json_null();
	return json_pack("{s:{s:o, s:o}, s:{s:o, s:o}, s:o}", "originator", "address",
			 address_json(key->family, as->src), "port",
			 ports ? json_integer(as->src_port) : json_null(), "responder", "address",
			 address_json(key->family, as->dst), "port",
			 ports ? json_integer(as->dst_port) : json_null(), "id",
			 protocol_is_icmp(key->protocol) ? json_integer(as->src_port) : json_null());
}

static json_t *flow_json(const struct listing *listing, const struct flow_key *key,
			 const struct flow *flow, bool embryonic)
{
	const struct ruleset *ruleset = &listing->running->ruleset;
	const struct rule *rule = flow_rule(listing->running, flow);
	struct text protocol = TEXT_INIT(64);
	struct flow_ends ends;

	flow_ends(key, flow, &ends);
	text_protocol(&protocol, key->protocol);
	return json_pack(
		"{s:o, s:i, s:o, s:o, s:o, s:s, s:b, s:b, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "protocol",
		json_take(&protocol), "family", (int)key->family, "id",
		protocol_is_icmp(key->protocol) ? json_integer(ends.from_port) : json_null(),
		"originator",
		end_json(key, ends.from, ends.from_port, zone_tag_name(ruleset, flow->from_tag),
			 flow->from_ifindex),
		"responder",
		end_json(key, ends.to, ends.to_port, zone_tag_name(ruleset, flow->to_tag),
			 flow->to_ifindex),
		"state", flow_state_name(flow->state), "embryonic", embryonic, "picked_up",
		(flow->flags & FLOW_PICKED_UP) != 0, "age_ns",
		(json_int_t)since(listing->now, flow->created), "idle_ns",
		(json_int_t)since(listing->now, flow->seen), "original",
		count_json(&flow->original), "reply", count_json(&flow->reply), "rule",
		json_text(rule ? rule->id : NULL), "translated", translated_json(key, flow),
		"intercepted", json_text(flow->translation.toward ?
						 zone_tag_name(ruleset, flow->translation.toward) : NULL));
}

/* --- the listing --- */

static int visit(void *context, const struct flow_key *key, const struct flow *flow, bool embryonic)
{
	struct listing *listing = context;
	int err = 0;

	if (!filter_matches(&listing->filter, key, flow, embryonic))
		return 0;
	listing->seen++;
	if (listing->json) {
		err = output_json_take(flow_json(listing, key, flow, embryonic), true);
	} else {
		add_row(listing, key, flow);
		if (listing->seen % ROWS_AT_ONCE == 0)
			err = flush(listing);
	}
	return err || (listing->limit && listing->seen >= listing->limit);
}

static int list(struct listing *listing, struct problem *problem)
{
	int err = engine_flows(listing->running->engine, visit, listing, problem);

	if (!listing->json) {
		if (!listing->seen && err >= 0)
			text_puts(&listing->out, "no flows\n");
		flush(listing);
	}
	return err < 0 ? err : 0;
}

/* --- their end --- */

struct killing {
	struct filter filter;
	const struct session *session; /* it is spared; NULL: none */
	bool count_only, spared;
	uint64_t counted;
};

static int choose(void *context, const struct flow_key *key, const struct flow *flow, bool embryonic)
{
	struct killing *killing = context;

	if (!filter_matches(&killing->filter, key, flow, embryonic))
		return 0;
	if (killing->session && session_has_flow(killing->session, key)) {
		killing->spared = true;
		return 0;
	}
	killing->counted++;
	return !killing->count_only;
}

static int kill_report(const struct arguments *arguments, uint64_t n, const struct killing *killing)
{
	bool dry_run = killing->count_only;
	struct text out = TEXT_INIT(1 << 12);

	if (arguments->json) {
		output_json_take(json_pack("{s:b, s:b, s:I, s:b}", "ok", 1, "dry_run", dry_run,
					   "flows", (json_int_t)n, "session_spared", killing->spared),
				 false);
		return STATUS_DONE;
	}
	text_plural(&out, n, "flow");
	text_puts(&out, dry_run ? " would end (dry run: nothing was changed)\n" : " ended\n");
	if (killing->spared)
		text_puts(&out, dry_run ? "your ssh session would be left alone (--force: ends too)\n"
					: "your ssh session was left alone (--force ends it too)\n");
	output_write(&out);
	return STATUS_DONE;
}

/* `flows kill FILTER`. The words begin behind `kill`. */
static int flows_kill(const struct arguments *arguments, const char **words, int word_n)
{
	bool all = word_n == 1 && strcmp(words[0], "all") == 0;
	struct killing killing = { .count_only = arguments->option[OPTION_DRY_RUN] != NULL };
	struct text why = TEXT_INIT(1 << 16);
	struct problem problem = { 0 };
	int status = STATUS_DONE, err;
	struct running running;
	struct session session;
	uint64_t killed;

	if (!word_n)
		return usage_error(arguments, "which ones? `flows kill FILTER`; or `flows kill all`");
	if (!arguments->option[OPTION_FORCE] && session_known(&session))
		killing.session = &session;
	err = running_open(&running, &problem);
	if (err)
		return complain_problem(arguments, err, &problem);
	err = filter_parse(&running.ruleset, words, all ? 0 : word_n, &killing.filter, &why);
	if (err)
		status = usage_error(arguments, "%s", why.len ? text_string(&why) : "out of memory");
	else if (engine_flows_kill(running.engine, choose, &killing, &killed, &problem))
		status = complain_problem(arguments, -EIO, &problem);
	else
		status = kill_report(arguments, killing.count_only ? killing.counted : killed,
				     &killing);
	text_free(&why);
	running_close(&running);
	return status;
}

int command_flows(const struct arguments *arguments)
{
	static const struct table_column columns[] = {
		{ "PROTO" }, { "ORIGINATOR" },	 { "RESPONDER" },  { "ZONES" },	       { "STATE" },
		{ "AGE", true }, { "IDLE", true }, { "SENT", true }, { "ANSWERED", true }, { "RULE" },
	};
	struct listing listing = { .table = TABLE_INIT(columns), .out = TEXT_INIT(TEXT_CAP_DEFAULT),
				   .json = arguments->json, .now = monotonic_ns() };
	struct text why = TEXT_INIT(1 << 16);
	struct problem problem = { 0 };
	int status = STATUS_DONE, err;
	struct running running;

	if (arguments_number(arguments, OPTION_LIMIT, &listing.limit))
		return STATUS_USAGE;
	if (arguments->word_n && strcmp(arguments->words[0], "kill") == 0)
		return flows_kill(arguments, arguments->words + 1, arguments->word_n - 1);
	if (arguments->option[OPTION_DRY_RUN] || arguments->option[OPTION_FORCE])
		return usage_error(arguments, "--%s goes with `flows kill FILTER`",
				   arguments->option[OPTION_FORCE] ? "force" : "dry-run");
	err = running_open(&running, &problem);
	if (err)
		return complain_problem(arguments, err, &problem);
	listing.running = &running;
	err = filter_parse(&running.ruleset, arguments->words, arguments->word_n, &listing.filter,
			   &why);
	if (err)
		status = usage_error(arguments, "%s", why.len ? text_string(&why) : "out of memory");
	else if (list(&listing, &problem))
		status = complain_problem(arguments, -EIO, &problem);
	table_free(&listing.table);
	text_free(&listing.out);
	text_free(&why);
	running_close(&running);
	return status;
}
