// SPDX-License-Identifier: GPL-2.0-or-later
#include "analysis/explain.h"

#include <ctype.h>
#include <netinet/in.h>
#include <string.h>

#include "analysis/evaluate.h"
#include "analysis/explain_fill.h"
#include "analysis/explain_nat.h"
#include "analysis/explain_near.h"
#include "analysis/explain_sets.h"
#include "policy/parser.h"
#include "policy/protocols.h"

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static const char *const by_names[] = {
	[EXPLAINED_RULE] = "rule",	 [EXPLAINED_DEFAULT] = "default",
	[EXPLAINED_BUILTIN] = "builtin", [EXPLAINED_BUILTIN_DEFAULT] = "builtin-default",
	[EXPLAINED_EARLY] = "early",	 [EXPLAINED_SANITY] = "sanity",
};

static const enum explained_by by_origin[] = {
	[RULE_BUILTIN] = EXPLAINED_BUILTIN,
	[RULE_FILE] = EXPLAINED_RULE,
	[RULE_DEFAULT] = EXPLAINED_DEFAULT,
	[RULE_BUILTIN_DEFAULT] = EXPLAINED_BUILTIN_DEFAULT,
};

const char *explained_by_name(enum explained_by by)
{
	return by_names[by];
}

/* --- sanity ------------------------------------------------------------------- */

static const char *insane_flags(uint32_t flags)
{
	if ((flags & SYN) && (flags & FIN))
		return "SYN together with FIN";
	if ((flags & SYN) && (flags & RST))
		return "SYN together with RST";
	if ((flags & FIN) && (flags & RST))
		return "FIN together with RST";
	return flags & (SYN | ACK | RST) ? NULL : "none of SYN, ACK and RST is set";
}

static bool is_loopback(const uint32_t address[4], uint32_t family)
{
	if (family == 4)
		return address[0] >> 24 == 127;
	if (address[0] || address[1])
		return false;
	return (!address[2] && address[3] == 1) ||
	       (address[2] == 0xffff && address[3] >> 24 == 127); /* IPv4-mapped */
}

static const char *insane_addresses(const uint32_t *word)
{
	const uint32_t *src = &word[FIELD_SRC], *dst = &word[FIELD_DST];
	bool arrives = word[FIELD_FROM_ZONE] != ZONE_SELF;

	if (word[FIELD_FAMILY] == 4 && src[0] == 0xffffffff)
		return "the source is the broadcast address";
	if (word[FIELD_FAMILY] == 4 ? src[0] >> 28 == 14 : src[0] >> 24 == 0xff)
		return "the source is a multicast address";
	if (arrives &&
	    (is_loopback(src, word[FIELD_FAMILY]) || is_loopback(dst, word[FIELD_FAMILY])))
		return "a loopback address from outside";
	return NULL;
}

/* The checks of the packet parser that a question can fail. */
static enum sanity judge_sanity(const struct fields *fields, const char **reason)
{
	const uint32_t *word = fields->word;
	bool whole = !word[FIELD_FRAGMENT];

	*reason = insane_addresses(word);
	if (*reason)
		return SANITY_ADDRESS;
	if (whole && word[FIELD_PROTOCOL] == IPPROTO_TCP) {
		*reason = "port 0";
		if (!word[FIELD_SRC_PORT] || !word[FIELD_DST_PORT])
			return SANITY_PORT_ZERO;
		*reason = insane_flags(word[FIELD_TCP_FLAGS]);
		if (*reason)
			return SANITY_TCP_FLAGS;
	}
	if (whole && word[FIELD_PROTOCOL] == IPPROTO_UDP && !word[FIELD_DST_PORT]) {
		*reason = "port 0";
		return SANITY_PORT_ZERO;
	}
	*reason = NULL;
	return SANITY_OK;
}

/* --- the packet as a question ------------------------------------------------------ */

static void put_service(const uint32_t *word, struct text *out)
{
	const char *name = protocol_name((uint8_t)word[FIELD_PROTOCOL]);
	bool icmp = word[FIELD_PROTOCOL] ==
		    (word[FIELD_FAMILY] == 6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);

	if (protocol_has_ports((uint8_t)word[FIELD_PROTOCOL]) && word[FIELD_FRAGMENT])
		text_printf(out, " %s", name);
	else if (protocol_has_ports((uint8_t)word[FIELD_PROTOCOL]))
		text_printf(out, " %u/%s", word[FIELD_DST_PORT], name);
	else if (icmp && word[FIELD_FRAGMENT])
		text_printf(out, " %s", name);
	else if (icmp)
		text_printf(out, " %s type %u code %u", name, word[FIELD_DST_PORT] >> 8,
			    word[FIELD_DST_PORT] & 0xff);
	else
		text_printf(out, " proto %u", word[FIELD_PROTOCOL]);
}

/* Only what differs from a plain packet. */
static void put_conditions(const struct fields *fields, struct text *out)
{
	const uint32_t *word = fields->word;

	if (word[FIELD_PROTOCOL] == IPPROTO_TCP && !word[FIELD_FRAGMENT] &&
	    word[FIELD_TCP_FLAGS] != SYN) {
		text_puts(out, " flags ");
		explain_flags(word[FIELD_TCP_FLAGS], out);
		text_puts(out, "/fin,syn,rst,psh,ack,urg,ece,cwr");
	}
	if (word[FIELD_LENGTH] != 60)
		text_printf(out, " length %u", word[FIELD_LENGTH]);
	if (word[FIELD_DSCP])
		text_printf(out, " dscp %u", word[FIELD_DSCP]);
	if (word[FIELD_MARK])
		text_printf(out, " mark 0x%x", word[FIELD_MARK]);
	if (word[FIELD_MAC_HIGH] || word[FIELD_MAC_LOW])
		text_printf(out, " mac %02x:%02x:%02x:%02x:%02x:%02x", word[FIELD_MAC_HIGH] >> 8,
			    word[FIELD_MAC_HIGH] & 255, word[FIELD_MAC_LOW] >> 24,
			    word[FIELD_MAC_LOW] >> 16 & 255, word[FIELD_MAC_LOW] >> 8 & 255,
			    word[FIELD_MAC_LOW] & 255);
	if (word[FIELD_STATE] != explain_state(fields))
		text_puts(out, word[FIELD_STATE] == STATE_NEW ? " state new" : " state untracked");
	if (word[FIELD_FRAGMENT])
		text_puts(out, " fragment");
	if (word[FIELD_TTL] != 64)
		text_printf(out, " ttl %u", word[FIELD_TTL]);
}

/*
 * A name as it must be written: in quotes unless it is made of letters, digits, `_`, `.` and inner
 * `-`.
 */
static void put_zone(const char *name, struct text *out)
{
	size_t len = strlen(name);
	bool plain = isalpha((unsigned char)name[0]) && name[len - 1] != '-';

	for (size_t i = 0; i < len; i++)
		plain = plain && (isalnum((unsigned char)name[i]) || strchr("_.-", name[i]));
	if (plain) {
		text_puts(out, name);
		return;
	}
	text_putc(out, '"');
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '"' || name[i] == '\\')
			text_putc(out, '\\');
		text_putc(out, name[i]);
	}
	text_putc(out, '"');
}

const char *explain_packet(const struct ruleset *ruleset, const struct fields *fields,
			   struct arena *arena)
{
	const uint32_t *word = fields->word;
	struct text text = TEXT_INIT(65536);
	const char *kept = NULL;

	put_zone(ruleset->zones[word[FIELD_FROM_ZONE]].name, &text);
	text_puts(&text, " -> ");
	put_zone(ruleset->zones[word[FIELD_TO_ZONE]].name, &text);
	put_service(word, &text);
	text_puts(&text, " from ");
	explain_address(&word[FIELD_SRC], word[FIELD_FAMILY], &text);
	if (protocol_has_ports((uint8_t)word[FIELD_PROTOCOL]) && !word[FIELD_FRAGMENT])
		text_printf(&text, " port %u", word[FIELD_SRC_PORT]);
	text_puts(&text, " to ");
	explain_address(&word[FIELD_DST], word[FIELD_FAMILY], &text);
	put_conditions(fields, &text);
	if (!text_error(&text))
		kept = arena_copy(arena, text_string(&text), text.len);
	text_free(&text);
	return kept;
}

/* --- the answer ------------------------------------------------------------------------ */

static int dropped_by_sanity(struct explanation *e, enum sanity sanity, uint32_t rule)
{
	e->sanity = sanity;
	e->by = EXPLAINED_SANITY;
	e->verdict = ACTION_DROP;
	e->rule = rule;
	return 0;
}

/* Beyond the limits of the rules up to this one. */
static bool behind(void *context, uint32_t rule)
{
	return rule > *(const uint32_t *)context;
}

static void explain_beyond(const struct ruleset *ruleset, struct explanation *e)
{
	uint32_t rule = e->rule;

	while (rule_limited(&ruleset->rules[rule]) && e->beyond_n < EXPLAIN_BEYOND_MAX) {
		rule = evaluate_limited(ruleset, &e->fields, behind, &rule);
		e->beyond[e->beyond_n++] = rule;
	}
}

struct early_asked {
	const struct ruleset *ruleset;
	struct explanation *e;
};

static bool within_early(void *context, uint32_t rule)
{
	const struct early_asked *asked = context;
	struct explanation *e = asked->e;

	if (e->early_n < EXPLAIN_EARLY_MAX)
		e->early[e->early_n++] = ruleset_early_first(asked->ruleset) + rule;
	return true;
}

/* True when it is dropped before anything else. Of what is malformed `early` drops nothing. */
static bool explain_early(const struct ruleset *ruleset, struct explanation *e)
{
	struct early_asked asked = { ruleset, e };
	struct fields seen = e->fields;
	uint32_t rule;

	if (seen.word[FIELD_FROM_ZONE] == ZONE_SELF)
		return false;
	seen.word[FIELD_MARK] = 0;
	rule = evaluate_early(ruleset, &seen, within_early, &asked);
	if (rule == ruleset->early_n)
		return false;
	if (ruleset->early[rule].action == ACTION_PROTECT) {
		if (seen.word[FIELD_TO_ZONE] == ZONE_SELF && seen.word[FIELD_PROTOCOL] == IPPROTO_TCP)
			e->protect = ruleset_early_first(ruleset) + rule;
		return false;
	}
	e->rule = ruleset_early_first(ruleset) + rule;
	e->by = EXPLAINED_EARLY;
	e->verdict = ACTION_DROP;
	return true;
}

static int judge(const struct ruleset *ruleset, const struct explain_host *host,
		 struct filled_vector *filled, struct explanation *e)
{
	const struct rule *rule;
	int err;

	e->protect = UINT32_MAX;
	e->sanity = judge_sanity(&e->fields, &e->reason);
	if (e->sanity != SANITY_OK)
		return dropped_by_sanity(e, e->sanity, UINT32_MAX);
	if (explain_early(ruleset, e))
		return 0;
	err = explain_forward(ruleset, host, filled, e);
	if (err)
		return err;
	e->rule = evaluate(ruleset, &e->fields);
	if (evaluate_orphan(ruleset, &e->fields, e->rule))
		return dropped_by_sanity(e, SANITY_ORPHAN, UINT32_MAX);
	if (evaluate_mid_stream(ruleset, &e->fields, e->rule))
		return dropped_by_sanity(e, SANITY_MID_STREAM, e->rule);
	rule = &ruleset->rules[e->rule];
	e->by = by_origin[rule->origin];
	e->verdict = rule->action;
	e->reject = rule->action == ACTION_REJECT ? rule->reject : REJECT_DEFAULT;
	err = e->verdict == ACTION_ALLOW ? explain_intercept(ruleset, e) : 0;
	/* What is intercepted does not leave. */
	if (!err && e->verdict == ACTION_ALLOW && !e->intercept.rule)
		err = explain_source(ruleset, e);
	if (err)
		return err;
	explain_beyond(ruleset, e);
	return explain_near(ruleset, &e->fields, e->rule, &e->arena, e->near, &e->near_n);
}

/* What is dropped as malformed is not asked for more. */
static int note(const struct ruleset *ruleset, struct explanation *e)
{
	if ((e->sanity != SANITY_OK && e->sanity != SANITY_MID_STREAM) || e->by == EXPLAINED_EARLY)
		return 0;
	return explain_hygiene(ruleset, &e->fields, e->verdict == ACTION_ALLOW, &e->arena, e->notes,
			       &e->note_n);
}

static int answer(const struct ruleset *ruleset, const struct explain_host *host,
		  const struct question_meaning *meaning, struct explanation *e)
{
	struct filled_vector filled = { 0 };
	int err = explain_fill(ruleset, meaning, &e->arena, &e->fields, &filled);

	if (!err) {
		e->asked = e->fields;
		e->packet = explain_packet(ruleset, &e->fields, &e->arena);
		err = e->packet ? judge(ruleset, host, &filled, e) : -ENOMEM;
	}
	/* Of what is malformed no set is asked. */
	if (!err && (e->sanity == SANITY_OK || e->sanity == SANITY_MID_STREAM))
		err = explain_sets(ruleset, &e->fields, &e->arena, &filled);
	if (!err)
		err = note(ruleset, e);
	if (!err) {
		e->filled = (const void *)arena_copy(&e->arena, filled.items,
						     filled.n * sizeof(*filled.items));
		e->filled_n = (uint32_t)filled.n;
		err = e->filled ? 0 : -ENOMEM;
	}
	filled_vector_free(&filled);
	return err;
}

int explain(const struct ruleset *ruleset, const char *question, struct source_set *sources,
	    struct explanation *explanation, struct diagnostics *diagnostics)
{
	return explain_on(ruleset, NULL, question, sources, explanation, diagnostics);
}

int explain_on(const struct ruleset *ruleset, const struct explain_host *host,
	       const char *question, struct source_set *sources, struct explanation *explanation,
	       struct diagnostics *diagnostics)
{
	struct explanation result = { 0 };
	struct question_meaning meaning = { 0 };
	const struct question *parsed;
	struct arena scratch = { 0 };
	int err = question_parse(question, sources, &scratch, diagnostics, &parsed);

	if (!err)
		err = resolve_question(ruleset, parsed, sources, &scratch, diagnostics, &meaning);
	if (!err)
		err = explain_no_sets(parsed, &meaning, diagnostics);
	if (!err && !meaning.clauses.n) {
		diagnose(diagnostics, DIAGNOSTIC_ERROR, parsed->position, "empty-question", NULL,
			 "no packet is like this");
		err = -EINVAL;
	}
	if (!err)
		err = answer(ruleset, host, &meaning, &result);
	arena_free(&scratch);
	if (err) {
		arena_free(&result.arena);
		return err;
	}
	*explanation = result;
	return 0;
}

void explanation_free(struct explanation *explanation)
{
	if (!explanation)
		return;
	arena_free(&explanation->arena);
	*explanation = (struct explanation){ 0 };
}
