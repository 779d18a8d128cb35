// SPDX-License-Identifier: GPL-2.0-or-later
/* explain: what happens to a packet, and why. */
#include "analysis/explain.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "cli/load.h"
#include "cli/names.h"
#include "cli/running.h"
#include "engine/bpf/sets.h"
#include "policy/protocols.h"
#include "policy/tree.h"

/* The policy that is asked: a file's or the running one. */
struct asked {
	struct loaded loaded;
	struct running running;
	const struct ruleset *ruleset;
	struct engine *sets; /* of a file's policy; NULL: nothing runs */
	struct places places;
};

/* What runs here tells what dynamic sets hold, also those of a policy that does not run yet. */
static void ask_sets(struct asked *asked)
{
	struct problem ignored;

	if (!asked->running.engine && engine_open(&asked->sets, &ignored))
		asked->sets = NULL;
	if (asked->running.engine)
		asked->running.ruleset.contents =
			(struct set_contents){ engine_set_holds, asked->running.engine };
	else if (asked->sets)
		asked->loaded.ruleset.contents =
			(struct set_contents){ engine_set_holds, asked->sets };
}

/* STATUS_DONE, or what is to be returned after the reason was printed. */
static int asked_open(const struct arguments *arguments, struct asked *asked)
{
	struct problem problem = { 0 };
	int err;

	*asked = (struct asked){ 0 };
	if (arguments->option[OPTION_FILE]) {
		err = policy_read(arguments, arguments->option[OPTION_FILE], false, &asked->loaded);
		if (err && arguments->json)
			output_json_take(json_pack("{s:b, s:o}", "ok", 0, "errors",
						   json_diagnostics(&asked->loaded.diagnostics,
								    &asked->loaded.ruleset.sources,
								    DIAGNOSTIC_ERROR)),
					 false);
		asked->ruleset = &asked->loaded.ruleset;
	} else {
		err = running_open(&asked->running, &problem);
		if (err)
			complain_problem(arguments, err, &problem);
		if (err == -ENOENT)
			complain("hint: `reeve explain -f FILE …` asks a policy that is not running");
		asked->ruleset = &asked->running.ruleset;
	}
	asked->places.sources = &asked->ruleset->sources;
	if (!err && asked->ruleset->set_n)
		ask_sets(asked);
	return err ? STATUS_FAILED : STATUS_DONE;
}

static void asked_close(struct asked *asked)
{
	engine_close(asked->sets);
	places_free(&asked->places);
	loaded_free(&asked->loaded);
	running_close(&asked->running);
}

/* The words: a default is a default, whether the file or reeve says it. */
static const char *by_name(const struct explanation *explanation)
{
	return explanation->by == EXPLAINED_BUILTIN_DEFAULT ? explained_by_name(EXPLAINED_DEFAULT)
							    : explained_by_name(explanation->by);
}

/* With what a rejected packet is really answered; enum reject says how the default is chosen. */
static const char *answer_name(const struct explanation *explanation)
{
	if (explanation->reject > REJECT_TCP_RESET && explanation->reject < REJECT_KINDS)
		return tree_reject_words[explanation->reject];
	return tree_reject_words[explanation->fields.word[FIELD_PROTOCOL] == IPPROTO_TCP
					 ? REJECT_TCP_RESET : REJECT_PORT_UNREACHABLE];
}

/* --- for people --- */

static void print_rule(struct asked *asked, const struct rule *rule, struct text *out)
{
	struct text place = TEXT_INIT(1 << 20);

	rule_place_text(&asked->places, rule, &place);
	text_toned(out, TONE_BOLD, "%s", text_string(&place));
	text_toned(out, TONE_PLAIN, "  %s  ", rule->pair);
	text_toned(out, TONE_BOLD, "%s", rule->text);
	text_free(&place);
}

static void print_sanity(struct asked *asked, const struct explanation *explanation,
			 struct text *out)
{
	const char *why = explanation->reason ? explanation->reason
					      : sanity_text(explanation->sanity);

	if (explanation->rule == UINT32_MAX) {
		text_toned(out, TONE_PLAIN, "sanity: %s; no rule is asked", why);
		text_putc(out, '\n');
		return;
	}
	text_toned(out, TONE_PLAIN, "sanity: %s, and `tcp-pickup` is off", why);
	text_puts(out, "\n        as the first packet of a connection it would be allowed:\n        ");
	print_rule(asked, &asked->ruleset->rules[explanation->rule], out);
	text_putc(out, '\n');
}

static void print_translation(struct asked *asked, const struct explain_translation *translation,
			      struct text *out)
{
	bool forward = translation->rule->kind == NAT_FORWARD;

	text_puts(out, "nat     ");
	print_rule(asked, &translation->rule->rule, out);
	text_toned(out, TONE_DIM, "  id %s", translation->rule->rule.id);
	text_puts(out, "\n        ");
	text_toned(out, TONE_PLAIN, "its %s becomes %s",
		   forward ? "destination" : "source", translation->to);
	text_putc(out, '\n');
}

static void print_interception(struct asked *asked, const struct explanation *explanation,
			       struct text *out)
{
	const struct explain_translation *intercept = &explanation->intercept;

	text_puts(out, "proxy   ");
	print_rule(asked, &intercept->rule->rule, out);
	text_toned(out, TONE_DIM, "  id %s", intercept->rule->rule.id);
	text_puts(out, "\n        ");
	text_toned(out, TONE_PLAIN, "intercepted to %s; where nobody listens it is %s", intercept->to,
		   intercept->rule->pass ? "forwarded" : "dropped");
	text_putc(out, '\n');
}

static void print_verdict(struct asked *asked, const struct explanation *explanation,
			  struct text *out)
{
	enum tone tone = explanation->verdict == ACTION_ALLOW  ? TONE_GREEN
		       : explanation->verdict == ACTION_REJECT ? TONE_YELLOW
							       : TONE_RED;
	const struct rule *rule;

	text_toned(out, tone, "%s", action_name(explanation->verdict));
	if (explanation->verdict == ACTION_REJECT)
		text_printf(out, " with %s", answer_name(explanation));
	text_toned(out, TONE_PLAIN, "  %s", explanation->packet);
	text_putc(out, '\n');
	if (explanation->forward.rule) {
		print_translation(asked, &explanation->forward, out);
		text_toned(out, TONE_PLAIN, "        judged as %s", explanation->forwarded);
		text_putc(out, '\n');
	}
	text_puts(out, "by      ");
	if (explanation->by == EXPLAINED_SANITY) {
		print_sanity(asked, explanation, out);
		return;
	}
	rule = ruleset_rule(asked->ruleset, explanation->rule);
	print_rule(asked, rule, out);
	text_toned(out, TONE_DIM, "  id %s", rule->id);
	text_putc(out, '\n');
	if (rule->comment) {
		text_toned(out, TONE_PLAIN, "        # %s", rule->comment);
		text_putc(out, '\n');
	}
}

/* The rule's answer is that of a packet within its limits. */
static void print_beyond(struct asked *asked, const struct explanation *explanation,
			 struct text *out)
{
	for (uint32_t i = 0; i < explanation->beyond_n; i++) {
		const struct rule *rule = &asked->ruleset->rules[explanation->beyond[i]];

		text_puts(out, i ? "        " : "beyond  ");
		text_toned(out, TONE_PLAIN, "its limits%s: %s  ", i ? " too" : "",
			   action_name(rule->action));
		print_rule(asked, rule, out);
		text_putc(out, '\n');
	}
}

static void print_early(struct asked *asked, const struct explanation *explanation, struct text *out)
{
	for (uint32_t i = 0; i < explanation->early_n; i++) {
		const struct rule *rule = ruleset_rule(asked->ruleset, explanation->early[i]);

		text_puts(out, i ? "        " : "early   ");
		text_toned(out, TONE_PLAIN, "within its limit; beyond: %s  ",
			   rule->over ? "drop" : "not dropped by it");
		print_rule(asked, rule, out);
		text_putc(out, '\n');
	}
	if (explanation->protect == UINT32_MAX)
		return;
	text_puts(out, explanation->early_n ? "        " : "early   ");
	text_puts(out, "a new connection here is answered with a SYN cookie, then judged  ");
	print_rule(asked, ruleset_rule(asked->ruleset, explanation->protect), out);
	text_putc(out, '\n');
}

static void print_explanation(struct asked *asked, const struct explanation *explanation)
{
	struct text out = TEXT_INIT(TEXT_CAP_DEFAULT);

	print_verdict(asked, explanation, &out);
	if (explanation->intercept.rule)
		print_interception(asked, explanation, &out);
	if (explanation->source.rule)
		print_translation(asked, &explanation->source, &out);
	else if (explanation->hairpin)
		text_puts(&out, "nat     it leaves to where it came from: masqueraded, so that answers come back here\n");
	print_beyond(asked, explanation, &out);
	print_early(asked, explanation, &out);
	for (uint32_t i = 0; i < explanation->filled_n; i++) {
		text_puts(&out, i ? "        " : "filled  ");
		text_toned(&out, TONE_PLAIN, "%s %s", explanation->filled[i].what,
			   explanation->filled[i].value);
		text_putc(&out, '\n');
	}
	for (uint32_t i = 0; i < explanation->near_n; i++) {
		const struct explain_near *near = &explanation->near[i];

		text_puts(&out, i ? "        " : "near    ");
		print_rule(asked, &asked->ruleset->rules[near->rule], &out);
		text_puts(&out, "\n          ");
		text_toned(&out, TONE_PLAIN, "but the %s is %s; it asks for %s", near->what, near->is,
			   near->wants);
		text_putc(&out, '\n');
	}
	for (uint32_t i = 0; i < explanation->note_n; i++) {
		text_puts(&out, i ? "        " : "and     ");
		text_toned(&out, TONE_PLAIN, "%s", explanation->notes[i]);
		text_putc(&out, '\n');
	}
	output_write(&out);
}

/* --- for programs --- */

static json_t *address_json(const struct fields *fields, unsigned field)
{
	struct text text = TEXT_INIT(128);

	text_address(&text, fields->word[FIELD_FAMILY], &fields->word[field]);
	return json_take(&text);
}

static void packet_transport_json(json_t *packet, const struct fields *fields)
{
	unsigned protocol = fields->word[FIELD_PROTOCOL], port = fields->word[FIELD_DST_PORT];
	struct text flags = TEXT_INIT(128);

	if (fields->word[FIELD_FRAGMENT])
		return;
	if (protocol_is_icmp(protocol)) {
		json_object_set_new(packet, "type", json_integer(port >> 8));
		json_object_set_new(packet, "code", json_integer(port & 0xff));
	} else if (protocol < 256 && protocol_has_ports((uint8_t)protocol)) {
		json_object_set_new(packet, "source_port",
				    json_integer(fields->word[FIELD_SRC_PORT]));
		json_object_set_new(packet, "destination_port", json_integer(port));
	}
	if (protocol == IPPROTO_TCP) {
		text_tcp_flags(&flags, fields->word[FIELD_TCP_FLAGS]);
		json_object_set_new(packet, "flags", json_take(&flags));
	}
}

static json_t *packet_json(const struct ruleset *ruleset, const struct fields *fields,
			   const char *text)
{
	struct text protocol = TEXT_INIT(64);
	json_t *packet;

	text_protocol(&protocol, fields->word[FIELD_PROTOCOL]);
	packet = json_pack(
		"{s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:s}", "text",
		json_text(text), "from",
		json_text(zone_name(ruleset, fields->word[FIELD_FROM_ZONE])), "to",
		json_text(zone_name(ruleset, fields->word[FIELD_TO_ZONE])), "family",
		(json_int_t)fields->word[FIELD_FAMILY], "protocol",
		json_take(&protocol), "source", address_json(fields, FIELD_SRC),
		"destination", address_json(fields, FIELD_DST), "fragment",
		fields->word[FIELD_FRAGMENT] != 0, "length", (json_int_t)fields->word[FIELD_LENGTH],
		"ttl", (json_int_t)fields->word[FIELD_TTL], "dscp",
		(json_int_t)fields->word[FIELD_DSCP], "mark", (json_int_t)fields->word[FIELD_MARK],
		"state", fields->word[FIELD_STATE] == STATE_NEW ? "new" : "untracked");
	if (packet)
		packet_transport_json(packet, fields);
	return packet;
}

static json_t *near_json(struct asked *asked, const struct explain_near *near)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "rule",
			 rule_json(&asked->places, &asked->ruleset->rules[near->rule]), "what",
			 json_text(near->what), "is", json_text(near->is), "wants",
			 json_text(near->wants));
}

static json_t *translation_json(struct asked *asked, const struct explain_translation *translation)
{
	if (!translation->rule)
		return json_null();
	return json_pack("{s:o, s:o}", "rule", rule_json(&asked->places, &translation->rule->rule),
			 "to", json_text(translation->to));
}

static json_t *nat_json(struct asked *asked, const struct explanation *explanation)
{
	return json_pack("{s:o, s:o, s:o, s:b}", "forward",
			 translation_json(asked, &explanation->forward), "judged",
			 explanation->forwarded ? packet_json(asked->ruleset, &explanation->fields,
							      explanation->forwarded) :
						  json_null(),
			 "source", translation_json(asked, &explanation->source), "hairpin",
			 explanation->hairpin);
}

static json_t *intercept_json(struct asked *asked, const struct explanation *explanation)
{
	const struct explain_translation *intercept = &explanation->intercept;

	if (!intercept->rule)
		return json_null();
	return json_pack("{s:o, s:o, s:s}", "rule", rule_json(&asked->places, &intercept->rule->rule),
			 "to", json_text(intercept->to), "on_missing",
			 tree_missing_words[intercept->rule->pass]);
}

static void print_json(struct asked *asked, const struct explanation *explanation)
{
	bool sane = explanation->by != EXPLAINED_SANITY;
	bool ruled = explanation->rule != UINT32_MAX;
	bool rejects = explanation->verdict == ACTION_REJECT;
	json_t *filled = json_array(), *near = json_array(), *beyond = json_array(),
	       *early = json_array(), *notes = json_array();

	for (uint32_t i = 0; i < explanation->filled_n; i++)
		json_array_append_new(filled, json_pack("{s:o, s:o}", "what",
							json_text(explanation->filled[i].what), "value",
							json_text(explanation->filled[i].value)));
	for (uint32_t i = 0; i < explanation->beyond_n; i++)
		json_array_append_new(
			beyond,
			rule_json(&asked->places, &asked->ruleset->rules[explanation->beyond[i]]));
	for (uint32_t i = 0; i < explanation->early_n; i++)
		json_array_append_new(
			early, rule_json(&asked->places,
					 ruleset_rule(asked->ruleset, explanation->early[i])));
	for (uint32_t i = 0; i < explanation->near_n; i++)
		json_array_append_new(near, near_json(asked, &explanation->near[i]));
	for (uint32_t i = 0; i < explanation->note_n; i++)
		json_array_append_new(notes, json_text(explanation->notes[i]));
	output_json_take(
		json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "verdict",
			  action_name(explanation->verdict), "by", by_name(explanation), "rule",
			  ruled ? rule_json(&asked->places,
					    ruleset_rule(asked->ruleset, explanation->rule))
			       : json_null(),
			  "beyond", beyond, "early", early, "protect",
			  explanation->protect == UINT32_MAX ? json_null() :
				  rule_json(&asked->places, ruleset_rule(asked->ruleset, explanation->protect)),
			  "with", json_text(rejects ? answer_name(explanation) : NULL),
			  "sanity", json_text(sane ? NULL : sanity_name(explanation->sanity)),
			  "reason", json_text(explanation->reason), "packet",
			  packet_json(asked->ruleset, &explanation->asked, explanation->packet),
			  "filled", filled, "near", near, "nat", nat_json(asked, explanation),
			  "intercept", intercept_json(asked, explanation), "hygiene", notes),
		false);
}

/* --- the question --- */

/* Nothing is silently lost when the shell has taken the `>` of an unquoted arrow for itself. */
static bool arrow_was_lost(const struct arguments *arguments)
{
	for (int i = 0; i < arguments->word_n; i++) {
		size_t len = strlen(arguments->words[i]);

		if (len && arguments->words[i][len - 1] == '-' && !strstr(arguments->words[i], "->"))
			return true;
	}
	return false;
}

/* Of the running policy: where this host's routes lead. */
static int zone_of(void *context, unsigned family, const uint32_t address[4], uint32_t *zone)
{
	const struct running *running = context;
	struct route_question question = { .family = family };
	const struct engine_interface *interface;
	uint32_t ifindex;
	int err;

	memcpy(question.to, address, sizeof(question.to));
	err = engine_route(&question, &ifindex);
	if (err)
		return err;
	interface = running_interface(running, ifindex);
	if (!interface)
		return -ENODEV;
	*zone = strcmp(interface->name, "lo") == 0 ? ZONE_SELF : interface->zone;
	return 0;
}

static int ask(const struct arguments *arguments, struct asked *asked, const char *question)
{
	struct diagnostics diagnostics = { 0 };
	struct explanation explanation = { 0 };
	struct source_set sources = { 0 };
	struct explain_host host = { .zone_of = zone_of, .context = &asked->running };
	int status = STATUS_DONE;
	int err = explain_on(asked->ruleset, asked->running.engine ? &host : NULL, question,
			     &sources, &explanation, &diagnostics);

	if (err == -EINVAL) {
		if (arguments->json)
			output_json_take(json_pack("{s:b, s:o}", "ok", 0, "errors",
						   json_diagnostics(&diagnostics, &sources,
								    DIAGNOSTIC_ERROR)), false);
		else
			complain_diagnostics(&diagnostics, &sources);
		status = STATUS_USAGE;
	} else if (err) {
		complain("cannot answer: %s", strerror(-err));
		status = STATUS_FAILED;
	} else if (arguments->json) {
		print_json(asked, &explanation);
	} else {
		print_explanation(asked, &explanation);
	}
	if (!err)
		explanation_free(&explanation);
	diagnostics_free(&diagnostics);
	source_set_free(&sources);
	return status;
}

int command_explain(const struct arguments *arguments)
{
	struct text question = TEXT_INIT(1 << 20);
	struct asked asked;
	int status;

	if (arrow_was_lost(arguments))
		return usage_error(arguments,
				   "put the question in quotes: the shell has taken `>` for a redirection");
	for (int i = 0; i < arguments->word_n; i++)
		text_printf(&question, "%s%s", i ? " " : "", arguments->words[i]);
	if (text_error(&question)) {
		text_free(&question);
		return usage_error(arguments, "the question is too long");
	}
	status = asked_open(arguments, &asked);
	if (!status)
		status = ask(arguments, &asked, text_string(&question));
	asked_close(&asked);
	text_free(&question);
	return status;
}
