// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/forwards.h"

#include <netinet/in.h>
#include <string.h>

#include "analysis/evaluate.h"
#include "cli/names.h"
#include "cli/running.h"

#define TOLD_MAX 20 /* a list of hundreds helps nobody */

struct telling {
	const struct ruleset *ruleset;
	const struct interface_vector *interfaces;
	struct places places;
	void (*say)(void *context, const char *code, const char *message);
	void *context;
	unsigned told;
};

static const struct engine_interface *find(const struct interface_vector *interfaces,
					   uint32_t ifindex)
{
	for (size_t i = 0; i < interfaces->n; i++)
		if (interfaces->items[i].ifindex == ifindex)
			return &interfaces->items[i];
	return NULL;
}

/* `interface` NULL: there is no route. */
static void tell(struct telling *telling, const struct nat_rule *rule,
		 const struct nat_target *target, const struct engine_interface *interface)
{
	struct text text = TEXT_INIT(1 << 14), place = TEXT_INIT(1 << 12);

	if (telling->told++ >= TOLD_MAX)
		return;
	rule_place_text(&telling->places, &rule->rule, &place);
	text_printf(&text, "`%s` at %s: ", rule->rule.text, text_string(&place));
	text_address(&text, target->family, target->addresses.lo);
	if (interface)
		text_printf(&text, " is reached by %s, which no zone names: write rules for `other`, or name it",
			    interface->name);
	else
		text_puts(&text, " cannot be reached: there is no route to it");
	telling->say(telling->context, "forward-outside", text_string(&text));
	text_free(&place);
	text_free(&text);
}

/* A packet that the clause has sent to the target. */
static void example_of(const struct clause *clause, const struct nat_target *target, uint32_t zone,
		       struct fields *fields)
{
	const struct ranges *protocol = &clause->field[FIELD_PROTOCOL];
	const struct ranges *port = &clause->field[FIELD_DST_PORT];
	const struct ranges *from = &clause->field[FIELD_SRC_PORT];

	*fields = (struct fields){ 0 };
	fields->word[FIELD_FROM_ZONE] = zone;
	fields->word[FIELD_TO_ZONE] = ZONE_SELF;
	fields->word[FIELD_FAMILY] = target->family;
	fields->word[FIELD_PROTOCOL] = protocol->n ? protocol->items[0].lo : IPPROTO_TCP;
	fields->word[FIELD_SRC_PORT] = from->n ? from->items[0].lo : 0;
	fields->word[FIELD_DST_PORT] = port->n ? port->items[0].lo : 0;
	if (target->port_lo)
		fields->word[FIELD_DST_PORT] = target->port_lo;
	if (clause->src)
		memcpy(&fields->word[FIELD_SRC], clause->src->items[0].lo, 16);
	memcpy(&fields->word[FIELD_DST], target->addresses.lo, 16);
}

/*
 * The target is an address of this host: is what is sent there forwarded in turn? The rule may match
 * many packets; asked is of one whose port is the target's, or the first that is matched.
 */
static void check_own(struct telling *telling, const struct nat_rule *rule,
		      const struct nat_target *target)
{
	const struct ruleset *ruleset = telling->ruleset;
	struct text text = TEXT_INIT(1 << 14), place = TEXT_INIT(1 << 12);
	const struct clause *clause = rule->rule.clause_n ? &rule->rule.clauses[0] : NULL;
	struct fields fields = { 0 };
	uint32_t again = ruleset->nat_n;

	for (uint32_t zone = 0; clause && zone < ruleset->zone_n; zone++) {
		if (again != ruleset->nat_n || !(rule->rule.from >> zone & 1))
			continue;
		example_of(clause, target, zone, &fields);
		again = evaluate_forward(ruleset, &fields);
	}
	if (again == ruleset->nat_n || telling->told++ >= TOLD_MAX)
		return;
	rule_place_text(&telling->places, &rule->rule, &place);
	text_printf(&text, "`%s` at %s sends to this host's own ", rule->rule.text,
		    text_string(&place));
	text_address(&text, target->family, target->addresses.lo);
	text_printf(&text, ", which `%s` forwards: a packet is forwarded once",
		    ruleset->nat[again].rule.text);
	telling->say(telling->context, "nat-loop", text_string(&text));
	text_free(&place);
	text_free(&text);
}

static void check_target(struct telling *telling, const struct nat_rule *rule,
			 const struct nat_target *target)
{
	struct route_question question = { .family = target->family };
	const struct engine_interface *interface;
	uint32_t ifindex;

	memcpy(question.to, target->addresses.lo, sizeof(question.to));
	if (engine_route(&question, &ifindex)) {
		tell(telling, rule, target, NULL);
		return;
	}
	interface = find(telling->interfaces, ifindex);
	/* This host's own addresses are reached by loopback. */
	if (interface && strcmp(interface->name, "lo") == 0)
		check_own(telling, rule, target);
	else if (interface && interface->zone == ZONE_OTHER)
		tell(telling, rule, target, interface);
}

void forwards_check(const struct ruleset *ruleset, const struct interface_vector *interfaces,
		    void (*say)(void *context, const char *code, const char *message),
		    void *context)
{
	struct telling telling = { .ruleset = ruleset,
				   .interfaces = interfaces,
				   .places = { .sources = &ruleset->sources },
				   .say = say,
				   .context = context };

	for (uint32_t i = 0; i < ruleset->nat_n; i++)
		for (uint32_t j = 0; ruleset->nat[i].kind == NAT_FORWARD &&
				     j < ruleset->nat[i].target_n; j++)
			check_target(&telling, &ruleset->nat[i], &ruleset->nat[i].targets[j]);
	places_free(&telling.places);
}
