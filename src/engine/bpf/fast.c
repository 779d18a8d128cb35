// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/fast.h"

#include <errno.h>
#include <string.h>

#include "engine/bpf/attach.h"
#include "engine/bpf/device.h"
#include "engine/bpf/early.h"
#include "engine/bpf/hooks.h"
#include "engine/bpf/problem.h"

/* --- why not --- */

/* Reasons for which a policy may insist. */
static enum fast_why own_reason(const struct device_facts *facts, bool insists)
{
	if (!facts->told && !insists)
		return FAST_UNTOLD;
	if (facts->told && !facts->native)
		return FAST_DRIVER;
	if (facts->vlans)
		return FAST_VLANS;
	if (facts->unfinished && !insists)
		return FAST_CHECKSUMS;
	if (facts->told && !facts->redirects)
		return FAST_REDIRECT;
	return facts->shapes && !insists ? FAST_SHAPED : FAST_ON;
}

static enum fast_why reason(const struct link *link, const struct device_facts *facts,
			    const struct ruleset *ruleset)
{
	if (ruleset->options.fast_path == FAST_PATH_OFF)
		return FAST_UNWANTED;
	if (link->ifindex >= INTERFACES_NEAR)
		return FAST_FAR;
	if (!link->ethernet)
		return FAST_LINK;
	return own_reason(facts, ruleset->options.fast_path == FAST_PATH_INSIST);
}

static uint8_t bits_for(enum fast_why why)
{
	return why == FAST_ON ? FAST_ARRIVES | FAST_LEAVES : why == FAST_SHAPED ? FAST_ARRIVES : 0;
}

static void off(struct fast_place *place, enum fast_why why)
{
	place->bits = 0;
	place->why = (uint8_t)why;
}

/* Somebody else's, in the way of what is forwarded. */
static enum fast_why entry_reason(const struct hook_entry *entry, uint32_t ifindex)
{
	if (entry->reeve || (entry->ifindex && entry->ifindex != ifindex))
		return FAST_ON;
	switch (entry->point) {
	case POINT_XDP:
		return FAST_OTHERS_XDP;
	case POINT_TC_INGRESS:
	case POINT_TC_EGRESS:
		return FAST_OTHERS_TC;
	case POINT_INGRESS:
	case POINT_PREROUTING:
	case POINT_FORWARD:
	case POINT_POSTROUTING:
	case POINT_EGRESS:
		return FAST_OTHERS_NETFILTER;
	default:
		return FAST_ON;
	}
}

static int others_look(struct fast_place_vector *plan)
{
	struct hooks hooks = { 0 };
	struct problem ignored;
	int err = engine_hooks_path(&hooks, &ignored);

	for (size_t i = 0; !err && i < plan->n; i++)
		for (size_t j = 0; plan->items[i].bits && j < hooks.entries.n; j++) {
			enum fast_why why =
				entry_reason(&hooks.entries.items[j], plan->items[i].ifindex);

			if (why != FAST_ON)
				off(&plan->items[i], why);
		}
	if (!err)
		hooks_free(&hooks);
	return err;
}

/* Is there another interface where `bit` is set? */
static bool another(const struct fast_place_vector *plan, size_t than, uint8_t bit)
{
	for (size_t i = 0; i < plan->n; i++)
		if (i != than && (plan->items[i].bits & bit))
			return true;
	return false;
}

/* One alone has nowhere to send to. */
static void single_look(struct fast_place_vector *plan)
{
	for (size_t i = 0; i < plan->n; i++) {
		const struct fast_place *place = &plan->items[i];

		if (place->bits && !((place->bits & FAST_ARRIVES) && another(plan, i, FAST_LEAVES)) &&
		    !((place->bits & FAST_LEAVES) && another(plan, i, FAST_ARRIVES)))
			off(&plan->items[i], FAST_SINGLE);
	}
}

static bool any(const struct fast_place_vector *plan)
{
	return another(plan, SIZE_MAX, FAST_ARRIVES | FAST_LEAVES);
}

static bool was_refused(const struct loaded *loaded, uint32_t ifindex)
{
	return loaded && ifindex < INTERFACES_NEAR &&
	       loaded->control->fast_why[ifindex] == FAST_REFUSED;
}

int fast_plan(const struct loaded *loaded, const struct link_vector *links,
	      const struct ruleset *ruleset, struct fast_place_vector *plan)
{
	struct device_facts_vector facts = { 0 };
	int err = device_facts_read(links, &facts);

	for (size_t i = 0; !err && i < links->n; i++) {
		const struct link *link = &links->items[i];
		struct fast_place place = { .ifindex = link->ifindex };

		if (link_coverage(link, ruleset) == COVERAGE_COVERED)
			place.why = (uint8_t)reason(link, &facts.items[i], ruleset);
		place.bits = bits_for(place.why);
		if (place.bits && was_refused(loaded, link->ifindex))
			off(&place, FAST_REFUSED);
		memcpy(place.address, facts.items[i].address, sizeof(place.address));
		err = fast_place_vector_push(plan, place);
	}
	device_facts_vector_free(&facts);
	/* What costs more is asked only where it matters. */
	single_look(plan);
	if (!err && any(plan) && ruleset->options.fast_path != FAST_PATH_INSIST) {
		err = others_look(plan);
		for (size_t i = 0; any(plan) && i < plan->n && xfrm_policies_exist(); i++)
			if (plan->items[i].bits)
				off(&plan->items[i], FAST_IPSEC);
		single_look(plan);
	}
	for (size_t i = 0; !err && i < plan->n; i++)
		if (plan->items[i].bits &&
		    !(ruleset->early_zones >>
			      ruleset_interface_zone(ruleset, links->items[i].name) & 1))
			plan->items[i].bits |= FAST_ALONE;
	if (err)
		fast_place_vector_free(plan);
	return err;
}

/* --- what programs are told --- */

bool fast_agrees(const struct loaded *loaded, const struct fast_place *place)
{
	const struct control *control = loaded->control;
	const struct fast_interface *now;

	if (place->ifindex >= INTERFACES_NEAR)
		return true;
	now = &control->fast[place->ifindex];
	return control->fast_why[place->ifindex] == place->why &&
	       now->bits[control->active & 1] == place->bits &&
	       (!place->bits || !memcmp(now->address, place->address, sizeof(now->address)));
}

static void tell(struct loaded *loaded, const struct fast_place *place)
{
	struct fast_interface *to;

	if (place->ifindex >= INTERFACES_NEAR)
		return;
	to = &loaded->control->fast[place->ifindex];
	if (memcmp(to->address, place->address, sizeof(to->address)) != 0) {
		to->bits[0] = to->bits[1] = 0;
		memcpy(to->address, place->address, sizeof(to->address));
	}
	__atomic_store_n(&to->bits[loaded->control->active & 1], place->bits, __ATOMIC_RELEASE);
	loaded->control->fast_why[place->ifindex] = place->why;
}

static const struct fast_place *place_of(const struct fast_place_vector *plan, uint32_t ifindex)
{
	for (size_t i = 0; i < plan->n; i++)
		if (plan->items[i].ifindex == ifindex)
			return &plan->items[i];
	return NULL;
}

static void tell_all(struct loaded *loaded, const struct fast_place_vector *plan)
{
	for (uint32_t i = 0; i < INTERFACES_NEAR; i++) {
		struct fast_place gone = { .ifindex = i };
		const struct fast_place *place = place_of(plan, i);

		tell(loaded, place ? place : &gone);
	}
}

static int programs_load(struct loaded *loaded, const struct pins *pins)
{
	struct problem ignored;
	int err = loaded_load_early(loaded, &ignored);

	return err ? err : loaded_pin_early(loaded, pins, &ignored);
}

void fast_update(struct loaded *loaded, const struct pins *pins, const struct link_vector *links,
		 const struct ruleset *ruleset, bool again)
{
	struct fast_place_vector plan = { 0 };
	bool loads;

	if (fast_plan(again ? NULL : loaded, links, ruleset, &plan)) {
		fast_stop(loaded);
		return;
	}
	loads = any(&plan) && !programs_load(loaded, pins);
	for (size_t i = 0; i < plan.n; i++)
		if (plan.items[i].bits &&
		    (!loads || early_attach_native(loaded, pins, &links->items[i])))
			off(&plan.items[i], FAST_REFUSED);
	single_look(&plan);
	tell_all(loaded, &plan);
	fast_place_vector_free(&plan);
}

void fast_stop(struct loaded *loaded)
{
	for (uint32_t i = 0; i < INTERFACES_NEAR; i++) {
		struct fast_interface *one = &loaded->control->fast[i];

		one->bits[0] = one->bits[1] = 0;
		loaded->control->fast_why[i] = FAST_UNKNOWN;
	}
}

bool fast_wanted(const struct loaded *loaded, uint32_t ifindex)
{
	return ifindex < INTERFACES_NEAR &&
	       loaded->control->fast[ifindex].bits[loaded->control->active & 1];
}

void fast_tell(const struct loaded *loaded, struct interface_vector *interfaces)
{
	for (size_t i = 0; i < interfaces->n; i++) {
		struct engine_interface *one = &interfaces->items[i];

		one->fast = one->ifindex < INTERFACES_NEAR ?
				    (enum fast_why)loaded->control->fast_why[one->ifindex] : FAST_FAR;
	}
}
