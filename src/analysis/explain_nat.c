// SPDX-License-Identifier: GPL-2.0-or-later
#include "analysis/explain_nat.h"

#include <errno.h>
#include <string.h>

#include "analysis/evaluate.h"
#include "base/cleanup.h"

/* --- texts -------------------------------------------------------------------------- */

static void put_target(const struct nat_target *target, struct text *out)
{
	bool bracket = target->port_lo && target->family == 6;
	const struct address_range *there = &target->addresses;

	if (bracket)
		text_putc(out, '[');
	explain_address(there->lo, target->family, out);
	if (target->prefix_to_prefix) {
		text_printf(out, "/%u", target->prefix);
	} else if (memcmp(there->lo, there->hi, sizeof(there->lo))) {
		text_putc(out, '-');
		explain_address(there->hi, target->family, out);
	}
	if (bracket)
		text_putc(out, ']');
	if (target->port_lo)
		text_printf(out, ":%u", target->port_lo);
	if (target->port_lo != target->port_hi)
		text_printf(out, "-%u", target->port_hi);
}

/* "10.0.0.1:80"; "one of 10.0.0.1, 10.0.0.2-10.0.0.9". */
static const char *targets_text(const struct nat_rule *rule, struct arena *arena)
{
	cleanup(text_free) struct text text = TEXT_INIT(1 << 16);

	if (rule->kind == NAT_MASQUERADE)
		text_puts(&text, "the address of the leaving interface");
	else if (rule->target_n > 1)
		text_puts(&text, "one of ");
	for (uint32_t i = 0; i < rule->target_n; i++) {
		text_puts(&text, i ? ", " : "");
		put_target(&rule->targets[i], &text);
	}
	return text_error(&text) ? NULL : arena_copy(arena, text_string(&text), text.len);
}

static const char *address_text(const struct fields *fields, unsigned field, struct arena *arena)
{
	cleanup(text_free) struct text text = TEXT_INIT(256);

	explain_address(&fields->word[field], fields->word[FIELD_FAMILY], &text);
	return text_error(&text) ? NULL : arena_copy(arena, text_string(&text), text.len);
}

/* --- to which zone -------------------------------------------------------------------- */

/*
 * Does a rule of this pair name the target? Whatever else it says: who forwards a port writes the
 * rule that lets it through.
 */
static bool names_target(const struct rule *rule, const struct fields *fields, uint32_t zone)
{
	const uint32_t *word = fields->word;

	if (rule->origin != RULE_FILE || !(rule->from >> word[FIELD_FROM_ZONE] & 1) ||
	    !(rule->to >> zone & 1))
		return false;
	for (uint32_t i = 0; i < rule->clause_n; i++) {
		const struct addresses *dst = rule->clauses[i].dst;

		if (dst && !dst->negated &&
		    addresses_have(dst, word[FIELD_FAMILY], &word[FIELD_DST]))
			return true;
	}
	return false;
}

/* Without routes to ask: the zone to which a rule names the target, or the only other one. */
static uint32_t likely_zone(const struct ruleset *ruleset, const struct fields *fields)
{
	uint32_t from = fields->word[FIELD_FROM_ZONE], zone, other = ZONE_OTHER, n = 0, i;

	for (i = 0; i < ruleset->rule_n; i++)
		for (zone = ZONE_FIRST; zone < ruleset->zone_n; zone++)
			if (names_target(&ruleset->rules[i], fields, zone))
				return zone;
	for (zone = ZONE_FIRST; zone < ruleset->zone_n; zone++) {
		if (zone == from)
			continue;
		other = zone;
		n++;
	}
	return n == 1 ? other : ZONE_OTHER;
}

static int find_zone(const struct ruleset *ruleset, const struct explain_host *host,
		     struct filled_vector *filled, struct explanation *e)
{
	uint32_t *word = e->fields.word;
	struct explain_filled guess = { .what = "zone of the target" };

	if (host && !host->zone_of(host->context, word[FIELD_FAMILY], &word[FIELD_DST],
				   &word[FIELD_TO_ZONE]))
		return 0;
	word[FIELD_TO_ZONE] = likely_zone(ruleset, &e->fields);
	guess.value = ruleset->zones[word[FIELD_TO_ZONE]].name;
	return filled_vector_push(filled, guess) ? -ENOMEM : 0;
}

/* --- translation ------------------------------------------------------------------------ */

int explain_forward(const struct ruleset *ruleset, const struct explain_host *host,
		    struct filled_vector *filled, struct explanation *e)
{
	uint32_t number = evaluate_forward(ruleset, &e->fields);
	const struct nat_target *target;
	int err;

	if (number == ruleset->nat_n)
		return 0;
	target = &ruleset->nat[number].targets[0];
	e->forward.rule = &ruleset->nat[number];
	e->forward.to = targets_text(e->forward.rule, &e->arena);
	evaluate_target(target, &e->asked.word[FIELD_DST], &e->fields.word[FIELD_DST]);
	if (target->port_lo)
		e->fields.word[FIELD_DST_PORT] =
			evaluate_target_port(target, e->asked.word[FIELD_DST_PORT]);
	err = find_zone(ruleset, host, filled, e);
	if (err)
		return err;
	e->forwarded = explain_packet(ruleset, &e->fields, &e->arena);
	return e->forward.to && e->forwarded ? 0 : -ENOMEM;
}

int explain_source(const struct ruleset *ruleset, struct explanation *e)
{
	uint32_t number = evaluate_source(ruleset, &e->fields);
	const struct nat_rule *rule;
	struct fields there = e->fields;

	if (e->fields.word[FIELD_TO_ZONE] == ZONE_SELF)
		return 0;
	if (number == ruleset->nat_n) {
		e->hairpin = e->forward.rule && e->fields.word[FIELD_FROM_ZONE] ==
							e->fields.word[FIELD_TO_ZONE];
		return 0;
	}
	rule = &ruleset->nat[number];
	e->source.rule = rule;
	if (rule->target_n && rule->targets[0].prefix_to_prefix) {
		evaluate_target(&rule->targets[0], &e->fields.word[FIELD_SRC],
				&there.word[FIELD_SRC]);
		e->source.to = address_text(&there, FIELD_SRC, &e->arena);
	} else {
		e->source.to = targets_text(rule, &e->arena);
	}
	return e->source.to ? 0 : -ENOMEM;
}

int explain_intercept(const struct ruleset *ruleset, struct explanation *e)
{
	const uint32_t *word = e->fields.word;
	uint32_t number;

	/* Only flows that begin, and are forwarded. */
	if (word[FIELD_FROM_ZONE] == ZONE_SELF || word[FIELD_TO_ZONE] == ZONE_SELF ||
	    word[FIELD_STATE] != STATE_NEW)
		return 0;
	number = evaluate_intercept(ruleset, &e->fields);
	if (number == ruleset->nat_n)
		return 0;
	e->intercept.rule = &ruleset->nat[number];
	e->intercept.to = targets_text(e->intercept.rule, &e->arena);
	return e->intercept.to ? 0 : -ENOMEM;
}
