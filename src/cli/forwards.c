// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/forwards.h"

#include <string.h>

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
	if (interface && interface->zone == ZONE_OTHER && strcmp(interface->name, "lo") != 0)
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
