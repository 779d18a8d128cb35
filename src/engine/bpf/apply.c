// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changing what runs: apply and down.
 *
 * The order of an apply is that of safety. Everything that can fail for the policy's sake
 * (compiling, loading) comes before anything changes. Then the image goes into the free slot; new
 * interfaces get their programs (under the old policy they belong to `other`); the flip; last, what
 * is not needed any more is taken away.
 *
 * The flip is one word, also for the first policy: until it is written, programs and guard are idle
 * and let everything pass. `down` takes that word back before it takes anything away. So whatever
 * is killed, at any moment, packets meet the old policy or the new one everywhere, or none at all
 * where there was none; and what it has left lying about, the next change removes.
 */
#include "engine/bpf/attach.h"
#include "engine/bpf/early.h"
#include "engine/bpf/fast.h"
#include "engine/bpf/filtering.h"
#include "engine/bpf/flow_table.h"
#include "engine/bpf/intercept.h"
#include "engine/bpf/limits.h"
#include "engine/bpf/masquerade.h"
#include "engine/bpf/problem.h"
#include "engine/bpf/resize.h"
#include "engine/bpf/seed.h"
#include "engine/bpf/set_places.h"
#include "engine/bpf/single.h"
#include "engine/bpf/slots.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static const char *link_name_of(const struct link_vector *links, uint32_t ifindex)
{
	for (size_t i = 0; i < links->n; i++)
		if (links->items[i].ifindex == ifindex)
			return links->items[i].name;
	return "";
}

static int interfaces_from(const struct link_vector *links, const struct ruleset *ruleset,
			   struct interface_vector *interfaces, struct problem *problem)
{
	for (size_t i = 0; i < links->n; i++) {
		const struct link *link = &links->items[i];
		struct engine_interface one = {
			.ifindex = link->ifindex,
			.zone = ruleset_interface_zone(ruleset, link->name),
			.coverage = link_coverage(link, ruleset),
			.default_route = link->default_route,
		};

		one.zone_running = one.zone;
		memcpy(one.name, link->name, sizeof(one.name));
		if (link->port)
			snprintf(one.master, sizeof(one.master), "%s",
				 link_name_of(links, link->master));
		if (interface_vector_push(interfaces, one)) {
			interface_vector_free(interfaces);
			return problem_set(problem, -ENOMEM, "out of memory");
		}
	}
	return 0;
}

int engine_interfaces(const struct ruleset *ruleset, struct interface_vector *interfaces,
		      struct problem *problem)
{
	struct link_vector links = { 0 };
	int err = links_read(&links, problem);

	if (!err)
		err = interfaces_from(&links, ruleset, interfaces, problem);
	link_vector_free(&links);
	return err;
}

static int compile_for(const struct ruleset *ruleset, const struct interface_vector *interfaces,
		       struct image *image, struct problem *problem)
{
	cleanup_free struct compile_interface *zones =
		calloc(interfaces->n ? interfaces->n : 1, sizeof(*zones));
	const char *why = "";
	uint32_t n = 0;
	int err;

	if (!zones)
		return problem_set(problem, -ENOMEM, "out of memory");
	for (size_t i = 0; i < interfaces->n; i++)
		if (interfaces->items[i].coverage == COVERAGE_COVERED)
			zones[n++] = (struct compile_interface){ interfaces->items[i].ifindex,
								 interfaces->items[i].zone };
	err = image_compile(ruleset, zones, n, image, &why);
	if (err)
		return problem_set(problem, err, "the policy cannot be compiled: %s", why);
	err = image_validate(image->bytes, image->size, &why);
	if (err) {
		image_free(image);
		return problem_set(problem, err, "the compiled policy is not sound: %s", why);
	}
	return 0;
}

/*
 * Finds what runs or loads it; *first tells which. Where flow tables of another size are asked for,
 * `next` is what brings them. *filtering: what runs cannot be found, for somebody removed pins by hand;
 * but links are left, and they filter.
 */
static int loaded_get(struct loaded *loaded, struct loaded *next, const struct pins *pins,
		      bool have_pins, const struct policy_options *options, bool dry_run,
		      bool *first, bool *filtering, struct problem *problem)
{
	int err = have_pins ? loaded_find(loaded, pins, problem) : -ENOENT;

	if (!err && slots_running(loaded)) {
		*first = false;
		if (!dry_run)
			err = resize_finish(loaded, pins, problem);
		if (!err && resize_wanted(loaded, options))
			err = resize_load(loaded, options, next, problem);
		return err;
	}
	if (err && err != -ENOENT)
		return err;
	*filtering = have_pins && programs_filter(pins);
	/* Nothing, or what an apply left that never got as far as to run. */
	loaded_close(loaded);
	*first = true;
	return loaded_load(loaded, options, problem);
}

/* One word, and the policy runs. */
static int begin(struct loaded *loaded, const struct pins *pins, const struct link_vector *links,
		 const struct ruleset *ruleset, uint32_t slot, const struct apply_options *options,
		 struct apply_report *report, struct problem *problem)
{
	const struct control *control = loaded->control;
	int err = 0;

	err = intercept_routes_make(ruleset, problem);
	if (err)
		return err;
	if (report->first)
		report->flows_seeded = seed_flows(loaded, links, ruleset, 0);
	else if (control->slot[slot].mark_shift != control->slot[control->active & 1].mark_shift)
		err = guard_tell_coming(loaded, pins, slot, problem);
	if (err)
		return err;
	guard_will_change(loaded);
	return slots_flip(loaded, ruleset, slot, options, problem);
}

static int change(struct loaded *loaded, struct loaded *next, struct pins *pins,
		  bool filtering, const struct link_vector *links,
		  const struct ruleset *ruleset, const struct image *image,
		  const struct apply_options *options, struct apply_report *report, struct problem *problem)
{
	/* Where pins were removed by hand, links that are left still filter: no moment without a policy. */
	bool at_once = report->first && filtering;
	uint64_t start = now_ns();
	uint32_t slot, last;
	int err = 0;

	detach_unfinished(pins);
	/* What is idle goes, for without the pins that it is about to lose it would drop everything. */
	if (report->first && !filtering)
		detach_all(pins);
	if (report->first)
		err = loaded_pin(loaded, pins, problem);
	else if (ruleset->early_zones)
		err = loaded_pin_early(loaded, pins, problem);
	if (!err && next->control) {
		fast_stop(loaded); /* its program looks into the tables that go */
		err = resize_move(loaded, next, pins, problem);
		if (!err && ruleset->early_zones)
			err = loaded_load_early(loaded, problem);
		if (!err && ruleset->early_zones)
			err = loaded_pin_early(loaded, pins, problem);
	}
	if (!err)
		err = slots_fill(loaded, ruleset, image, options, &slot, problem);
	if (!err)
		err = masquerade_follow(loaded, links, problem);
	if (!err && at_once)
		err = begin(loaded, pins, links, ruleset, slot, options, report, problem);
	if (!err && at_once) /* it runs: nothing is taken off again, and then the guard is told */
		err = attach_again(loaded, pins, links, ruleset, UINT32_MAX, &last, problem);
	else if (!err)
		err = attach_all(loaded, pins, links, ruleset, problem);
	if (!err && !at_once)
		err = begin(loaded, pins, links, ruleset, slot, options, report, problem);
	if (!err && !at_once)
		err = guard_tell(loaded, pins, problem);
	/* Not before the flip: the policy that goes did not let them on. */
	if (!err && !report->first && options->take_over)
		report->flows_seeded =
			seed_flows(loaded, links, ruleset, slots_generation(loaded) - 1);
	if (!err) {
		fast_update(loaded, pins, links, ruleset, true);
		attach_tidy(loaded, pins, links, ruleset);
		intercept_routes_tidy(ruleset);
	}
	if (!err)
		limits_forget(loaded, image);
	report->flip_ns = now_ns() - start;
	/* The policy runs: that some flows live on is no reason to say that nothing was changed. */
	if (!err && options->end)
		report->flows_left = flow_tables_kill(loaded, options->end, options->context,
						      &report->flows_ended) != 0;
	return err;
}

/* Would another address of an interface be followed only when somebody says so? */
static bool addresses_unfollowed(const struct ruleset *ruleset, const struct loaded *loaded)
{
	bool masquerades = false;

	for (uint32_t i = 0; i < ruleset->nat_n; i++)
		masquerades |= ruleset->nat[i].kind == NAT_MASQUERADE;
	return masquerades && (loaded->control->means & MEANS_OWN_ADDRESSES) && !single_process();
}

/* What an apply works with; made before anything of the running state is looked at. */
struct plan {
	struct link_vector links;
	struct image image;
};

static int plan_make(const struct ruleset *ruleset, struct plan *plan, struct apply_report *report,
		     struct problem *problem)
{
	uint64_t start = now_ns();
	int err;

	err = links_read(&plan->links, problem);
	if (!err)
		err = interfaces_from(&plan->links, ruleset, &report->interfaces, problem);
	if (!err)
		err = compile_for(ruleset, &report->interfaces, &plan->image, problem);
	report->compile_ns = now_ns() - start;
	report->stats = plan->image.stats;
	return err;
}

static int plan_carry_out(const struct ruleset *ruleset, const struct plan *plan,
			  const struct apply_options *options, struct pins *pins, bool have_pins,
			  struct apply_report *report, struct problem *problem)
{
	uint64_t start = now_ns();
	bool filtering = false;
	struct problem ignored;
	struct loaded loaded, next;
	int err;

	loaded_init(&loaded);
	loaded_init(&next);
	err = loaded_get(&loaded, &next, pins, have_pins, &ruleset->options, options->dry_run,
			 &report->first, &filtering, problem);
	if (!err)
		err = early_check(pins, ruleset, &plan->links, problem);
	if (!err && ruleset->early_zones)
		err = loaded_load_early(&loaded, problem);
	report->load_ns = now_ns() - start;
	if (!err && !report->first && !options->back)
		err = set_places_check(&loaded, ruleset, problem);
	if (!err && !options->dry_run)
		err = change(&loaded, &next, pins, filtering, &plan->links, ruleset, &plan->image, options, report,
			     problem);
	if (!err)
		report->addresses_unfollowed = addresses_unfollowed(ruleset, &loaded);
	if (!err)
		report->protection = early_protection(&loaded, ruleset);
	if (!err)
		early_tell(options->dry_run ? NULL : &loaded, pins, ruleset, &report->interfaces);
	if (!err && !options->dry_run)
		fast_tell(&loaded, &report->interfaces);
	loaded_close(&next);
	loaded_close(&loaded);
	/* A first apply that failed leaves nothing behind, not even the mount. */
	if (err && report->first && !options->dry_run && !filtering) {
		detach_all(pins);
		intercept_routes_tidy(NULL);
		pins_clear(pins, &ignored);
	}
	return err;
}

int engine_apply(const struct ruleset *ruleset, const struct apply_options *options,
		 struct apply_report *report, struct problem *problem)
{
	struct apply_report result = { 0 };
	struct pins pins = PINS_CLOSED;
	struct plan plan = { 0 };
	bool have_pins = true;
	int err;

	err = problem_capabilities(problem);
	if (!err)
		err = plan_make(ruleset, &plan, &result, problem);
	if (!err)
		err = pins_open(&pins, !options->dry_run, problem);
	if (err == -ENOENT && options->dry_run) {
		have_pins = false;
		err = 0;
	}
	if (!err)
		err = plan_carry_out(ruleset, &plan, options, &pins, have_pins, &result, problem);
	pins_close(&pins);
	image_free(&plan.image);
	link_vector_free(&plan.links);
	if (err) {
		interface_vector_free(&result.interfaces);
		return err;
	}
	result.xfrm_policies = xfrm_policies_exist();
	*report = result;
	return 0;
}

int engine_keep(struct problem *problem)
{
	struct pins pins = PINS_CLOSED;
	struct loaded loaded;
	int err = pins_open(&pins, false, problem);

	loaded_init(&loaded);
	if (!err)
		err = pins_lock(&pins, problem);
	if (!err)
		err = loaded_find(&loaded, &pins, problem);
	if (!err && slots_running(&loaded))
		set_places_tidy(&loaded);
	loaded_close(&loaded);
	pins_close(&pins);
	return err;
}

/* Says in the maps that what follows is meant, for those who watch and for reeved. */
static void stop(const struct pins *pins)
{
	struct problem ignored;
	struct loaded loaded;

	loaded_init(&loaded);
	if (!loaded_find(&loaded, pins, &ignored))
		slots_stop(&loaded);
	loaded_close(&loaded);
	programs_stop(pins); /* where somebody removed pins, these have another such word */
}

/*
 * Takes away what is left where no pins are. 0, with the lock held, when an apply has just made
 * some.
 */
static int down_unpinned(struct pins *pins, struct problem *problem)
{
	struct problem ignored;
	bool locked = !pins_lock(pins, &ignored); /* with no place for a lock nobody has begun */
	int err;

	if (locked && !pins_open(pins, false, &ignored))
		return 0;
	err = guard_take_away(pins, problem);
	detach_all(pins);
	intercept_routes_tidy(NULL);
	pins_clear_home(pins);
	return err ? err : -ENOENT;
}

int engine_down(struct problem *problem)
{
	struct pins pins = PINS_CLOSED;
	int err;

	err = pins_open(&pins, false, problem);
	/* Without a folder too: filters and a table stay whatever becomes of the pins. */
	if (err == -ENOENT)
		err = down_unpinned(&pins, problem);
	else if (!err)
		err = pins_lock(&pins, problem);
	if (!err)
		err = guard_take_away(&pins, problem);
	if (!err) {
		stop(&pins);
		detach_all(&pins);
		intercept_routes_tidy(NULL);
		err = pins_clear(&pins, problem);
	}
	pins_close(&pins);
	return err;
}
