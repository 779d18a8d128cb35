// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The keeper: policy and interfaces in step.
 *
 * A look compares four things: the interfaces (rtnetlink), the zones that the running image gives
 * them, what the guard is told of them, and the links that hold reeve's programs. It takes no lock
 * and changes nothing, so it may be had every second. Only when something differs is the lock of
 * changes taken, which is apply's; then everything is looked at again, for apply may just have done
 * it.
 *
 * The order of setting right is that of safety: first the zones (a flip, see slots_reimage), then
 * the programs. So an interface that has just come never meets the policy as `other` when its name
 * says something else; until its programs are there the guard holds its packets. Last goes what is
 * not needed any more.
 *
 * The policy is not compiled again. Its rules do not change, so the image's table of interfaces is
 * replaced and the rest copied; how long that takes does not depend on the number of rules. The
 * generation stays too: it is the number of the policy, by which rule numbers in events are
 * understood and flows are known to have met the rules; other interfaces change neither.
 *
 * A keeper that lives on (reeved) holds maps and programs open. So a pin that somebody removes can
 * be made again from what it holds. When the whole folder is gone it was `reeve down`, and there is
 * nothing to keep.
 */
#include "engine/bpf/keeper.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/bpf/attach.h"
#include "engine/bpf/early.h"
#include "engine/bpf/problem.h"
#include "engine/bpf/resize.h"
#include "engine/bpf/slots.h"

/*
 * Interfaces that a keeper which stays covers before it lets others have the lock: each takes some
 * 20 ms.
 */
#define TURN 8

struct keeper {
	struct pins pins;
	struct loaded loaded; /* what was found last; open between looks */
	struct ruleset ruleset;
	uint64_t generation; /* of the ruleset; 0: none is loaded */
	struct link_vector links; /* as last seen */
	bool stays;
	uint64_t prepared; /* generation for which slots_reimage_prepare was done */
};

/* --- reports --- */

static const struct {
	const char *name, *text; /* %s: interface, zone, zone before */
} kinds[] = {
	[UPKEEP_COVERED] = { "covered", "%1$s: covered now, in zone `%2$s`" },
	[UPKEEP_REPAIRED] = { "repaired", "%1$s: reeve's programs were not in place; they are attached again, in zone `%2$s`" },
	[UPKEEP_ZONE] = { "zone", "%1$s: in zone `%2$s` now, before in `%3$s`" },
	[UPKEEP_RELEASED] = { "released", "%1$s: left alone now; programs taken off" },
	[UPKEEP_PORT] = { "port", "%1$s: its master changed; the guard knows" },
	[UPKEEP_GONE] = { "gone", "%1$s: gone" },
	[UPKEEP_EARLY] = { "early", "%1$s: the program of `early` was not in place; it is attached again" },
	[UPKEEP_GUARD] = { "guard", "the guard was taken away; it is attached again" },
	[UPKEEP_PIN] = { "pin", "the pin `%1$s` was removed; it is there again" },
};
_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == UPKEEP_KINDS, "kinds");

const char *upkeep_name(enum upkeep_kind kind)
{
	return kind < UPKEEP_KINDS ? kinds[kind].name : "?";
}

void upkeep_text(const struct upkeep *upkeep, char *text, size_t size)
{
	char number[32];

	snprintf(number, sizeof(number), "interface %u", upkeep->ifindex);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, size, upkeep->kind < UPKEEP_KINDS ? kinds[upkeep->kind].text : "?",
		 upkeep->interface ? upkeep->interface : number, upkeep->zone ? upkeep->zone : "?",
		 upkeep->zone_before ? upkeep->zone_before : "?");
#pragma GCC diagnostic pop
}

void upkeep_report_free(struct upkeep_report *report)
{
	upkeep_vector_free(&report->items);
	arena_free(&report->arena);
}

static const char *text_keep(struct upkeep_report *report, const char *text)
{
	return text ? arena_copy(&report->arena, text, strlen(text)) : NULL;
}

static int note(struct upkeep_report *report, enum upkeep_kind kind, uint32_t ifindex,
		const char *interface, const char *zone, const char *zone_before)
{
	struct upkeep one = { kind, ifindex, text_keep(report, interface), text_keep(report, zone),
			      text_keep(report, zone_before) };

	return upkeep_vector_push(&report->items, one);
}

/* --- looking --- */

/* The interfaces that the image names, by bucket. */
static const struct image_bucket *image_buckets(const struct image *image, uint32_t *n)
{
	const struct image_header *header = (const void *)image->bytes;

	*n = header->interface_mask + 1;
	return (const void *)(image->bytes + (size_t)header->interfaces * IMAGE_UNIT);
}

static const struct link *link_find(const struct link_vector *links, uint32_t ifindex)
{
	for (size_t i = 0; i < links->n; i++)
		if (links->items[i].ifindex == ifindex)
			return &links->items[i];
	return NULL;
}

static const char *zone_text(const struct keeper *keeper, uint32_t zone)
{
	return zone < keeper->ruleset.zone_n ? keeper->ruleset.zones[zone].name : NULL;
}

struct look {
	struct link_vector links;
	struct image image;
	bool zones_differ; /* the image's table of interfaces is not what it should be */
};

static void look_free(struct look *look)
{
	link_vector_free(&look->links);
	image_free(&look->image);
}

static int look_at_link(const struct keeper *keeper, struct look *look, const struct link *link,
			struct upkeep_report *report)
{
	enum coverage coverage = link_coverage(link, &keeper->ruleset);
	struct coverage_entry told = coverage_told(&keeper->loaded, link->ifindex);
	struct coverage_entry wanted = coverage_wanted(link, coverage);
	uint32_t zone = coverage == COVERAGE_COVERED ?
				ruleset_interface_zone(&keeper->ruleset, link->name) : ZONE_OTHER;
	uint32_t before = image_interface_zone(&look->image, link->ifindex);
	const char *name = link->name, *zone_now = zone_text(keeper, zone);

	look->zones_differ |= zone != before;
	if (coverage == COVERAGE_COVERED) {
		report->covered++;
		if (!attached_rightly(&keeper->loaded, &keeper->pins, link))
			return note(report, told.bits & COVERED_PROGRAMS ? UPKEEP_REPAIRED :
									   UPKEEP_COVERED,
				    link->ifindex, name, zone_now, NULL);
		if (zone != before)
			return note(report, UPKEEP_ZONE, link->ifindex, name, zone_now,
				    zone_text(keeper, before));
		if (early_wanted(link, &keeper->ruleset) &&
		    early_missing(&keeper->loaded, &keeper->pins, link))
			return note(report, UPKEEP_EARLY, link->ifindex, name, NULL, NULL);
	} else if (attached_once(&keeper->loaded, &keeper->pins, link->ifindex)) {
		return note(report, UPKEEP_RELEASED, link->ifindex, name, NULL, NULL);
	}
	if (told.bits != wanted.bits || told.master != wanted.master)
		return note(report, UPKEEP_PORT, link->ifindex, name, NULL, NULL);
	return 0;
}

static int note_gone(const struct keeper *keeper, const struct look *look, uint32_t ifindex,
		     struct upkeep_report *report)
{
	const struct link *known = link_find(&keeper->links, ifindex);

	if (link_find(&look->links, ifindex))
		return 0;
	return note(report, UPKEEP_GONE, ifindex, known ? known->name : NULL, NULL, NULL);
}

/*
 * Interfaces that the guard, the image or a pin still speak of. What the guard was told of is all
 * that was ever covered.
 */
static int look_for_gone(const struct keeper *keeper, struct look *look,
			 struct upkeep_report *report)
{
	int far = keeper->loaded.maps[MAP_COVERED_FAR], err = 0;
	uint32_t key, *previous = NULL, n;
	const struct image_bucket *buckets = image_buckets(&look->image, &n);

	for (uint32_t i = 1; !err && i < INTERFACES_NEAR; i++)
		if (keeper->loaded.control->covered[i].bits)
			err = note_gone(keeper, look, i, report);
	while (!err && !bpf_map_get_next_key(far, previous, &key)) {
		err = note_gone(keeper, look, key, report);
		previous = &key;
	}
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = 0; j < 4; j++)
			if (buckets[i].entry[j].ifindex &&
			    !link_find(&look->links, buckets[i].entry[j].ifindex))
				look->zones_differ = true;
	return err;
}

static int look_at_all(const struct keeper *keeper, struct look *look, struct upkeep_report *report,
		       struct problem *problem)
{
	int err;

	err = links_list(&look->links, problem);
	if (!err)
		err = slots_image(&keeper->loaded, keeper->loaded.control->active & 1, &look->image,
				  problem);
	if (err)
		return err;
	for (size_t i = 0; !err && i < look->links.n; i++)
		err = look_at_link(keeper, look, &look->links.items[i], report);
	if (!err)
		err = look_for_gone(keeper, look, report);
	if (!err && !guard_attached(&keeper->loaded, &keeper->pins))
		err = note(report, UPKEEP_GUARD, 0, NULL, NULL, NULL);
	return err ? problem_set(problem, err, "out of memory") : 0;
}

/* --- setting right --- */

static int zones_set(struct keeper *keeper, const struct look *look, struct problem *problem)
{
	const struct link_vector *links = &look->links;
	cleanup_free struct compile_interface *zones = calloc(links->n + 1, sizeof(*zones));
	struct image image = { 0 };
	const char *why = "";
	uint32_t n = 0;
	int err;

	if (!zones)
		return problem_set(problem, -ENOMEM, "out of memory");
	for (size_t i = 0; i < links->n; i++)
		if (link_coverage(&links->items[i], &keeper->ruleset) == COVERAGE_COVERED)
			zones[n++] = (struct compile_interface){
				links->items[i].ifindex,
				ruleset_interface_zone(&keeper->ruleset, links->items[i].name)
			};
	err = image_replace_interfaces(&keeper->ruleset, &look->image, zones, n, &image);
	if (!err)
		err = image_validate(image.bytes, image.size, &why);
	if (err)
		problem_set(problem, err, "cannot make an image for these interfaces%s%s: ",
			    why[0] ? ", " : "", why);
	else
		err = slots_reimage(&keeper->loaded, &image, problem);
	image_free(&image);
	return err;
}

/* Leaves in the report what was done: interfaces behind `last` come next time. */
static void report_trim(struct upkeep_report *report, uint32_t last)
{
	size_t n = 0;

	for (size_t i = 0; i < report->items.n; i++) {
		const struct upkeep *one = &report->items.items[i];

		if (one->ifindex <= last || (one->kind != UPKEEP_COVERED &&
					     one->kind != UPKEEP_REPAIRED && one->kind != UPKEEP_PORT &&
					     one->kind != UPKEEP_EARLY))
			report->items.items[n++] = *one;
	}
	report->items.n = n;
	report->more = last != UINT32_MAX;
}

static int set_right(struct keeper *keeper, const struct look *look, struct upkeep_report *report,
		     struct problem *problem)
{
	struct problem other;
	int err = 0, first;
	uint32_t last;

	if (look->zones_differ) {
		err = zones_set(keeper, look, problem);
		/*
		 * Programs that judge by the wrong zone are no better than none: the guard holds.
		 */
		if (err)
			return err;
	}
	first = attach_again(&keeper->loaded, &keeper->pins, &look->links, &keeper->ruleset,
			     keeper->stays ? TURN : UINT32_MAX, &last, problem);
	report_trim(report, last);
	if (look->zones_differ)
		err = slots_reimage_done(&keeper->loaded, first ? &other : problem);
	attach_tidy(&keeper->loaded, &keeper->pins, &look->links, &keeper->ruleset);
	return first ? first : err;
}

/* --- finding what runs --- */

static void let_go(struct keeper *keeper)
{
	loaded_close(&keeper->loaded);
	ruleset_free(&keeper->ruleset);
	keeper->ruleset = (struct ruleset){ 0 };
	keeper->generation = keeper->prepared = 0;
}

static uint32_t map_id(int fd)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);

	return fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.id;
}

/*
 * Is what is pinned something else than what this keeper holds? Nothing pinned counts as the same.
 */
static bool replaced(const struct keeper *keeper)
{
	static const enum loaded_map maps[] = { MAP_CONTROL, MAP_FLOWS };

	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		cleanup_fd int fd = pins_get(&keeper->pins, loaded_map_names[maps[i]]);

		if (fd >= 0 && map_id(fd) != map_id(keeper->loaded.maps[maps[i]]))
			return true;
	}
	return false;
}

static int ruleset_read(struct keeper *keeper, struct problem *problem)
{
	const struct control *control = keeper->loaded.control;
	struct diagnostics diagnostics = { 0 };
	struct source_set sources = { 0 };
	struct ruleset ruleset = { 0 };
	uint32_t slot = control->active & 1;
	uint64_t generation = control->slot[slot].generation;
	int err;

	if (generation == keeper->generation)
		return 0;
	loaded_find_early(&keeper->loaded, &keeper->pins);
	err = slots_sources(&keeper->loaded, slot, &sources, problem);
	if (err)
		return err;
	if (!sources.sources.n) {
		source_set_free(&sources);
		return problem_set(problem, -EBADMSG, "the running policy has no text");
	}
	err = policy_load(sources.sources.items[0].name, &sources, &ruleset, &diagnostics);
	diagnostics_free(&diagnostics);
	if (err) {
		ruleset_free(&ruleset);
		problem_set(problem, -EPROTO,
			    "the running policy does not parse with this version of reeve");
		problem_hint(problem, "apply a policy again with this version");
		return -EPROTO;
	}
	ruleset_free(&keeper->ruleset);
	keeper->ruleset = ruleset;
	keeper->generation = generation;
	return 0;
}

static int note_pin(void *context, const char *name)
{
	return note(context, UPKEEP_PIN, 0, name, NULL, NULL);
}

/*
 * Opens what runs, or makes sure that what is open still does. Under the lock pins that were
 * removed are put back.
 */
static int find(struct keeper *keeper, struct upkeep_report *report, bool locked,
		struct problem *problem)
{
	int err = 0;

	if (keeper->loaded.control && replaced(keeper))
		let_go(keeper);
	if (!keeper->loaded.control) {
		err = loaded_find(&keeper->loaded, &keeper->pins, problem);
	} else {
		err = loaded_repin(&keeper->loaded, &keeper->pins, locked, note_pin, report);
		if (err)
			problem_set(problem, err, "cannot put back what is pinned: ");
	}
	if (!err && locked)
		err = resize_finish(&keeper->loaded, &keeper->pins, problem);
	else if (!err && resize_pending(&keeper->loaded))
		err = problem_set(problem, -EBUSY, "flow tables are being replaced");
	if (!err && !slots_running(&keeper->loaded)) {
		let_go(keeper);
		err = problem_set(problem, -ENOENT, "nothing is applied in this network namespace");
		problem_hint(problem, "reeve apply FILE");
	}
	return err ? err : ruleset_read(keeper, problem);
}

int keeper_permitted(struct problem *problem)
{
	return problem_capabilities(problem);
}

int keeper_new(bool stays, struct keeper **keeper, struct problem *problem)
{
	struct keeper *new = calloc(1, sizeof(*new));

	if (!new)
		return problem_set(problem, -ENOMEM, "out of memory");
	new->stays = stays;
	new->pins = (struct pins)PINS_CLOSED;
	loaded_init(&new->loaded);
	*keeper = new;
	return 0;
}

void keeper_free(struct keeper *keeper)
{
	if (!keeper)
		return;
	let_go(keeper);
	pins_close(&keeper->pins);
	link_vector_free(&keeper->links);
	free(keeper);
}

/* One look. What it found is in the report. */
static int look_once(struct keeper *keeper, bool locked, struct look *look,
		     struct upkeep_report *report, struct problem *problem)
{
	int err = find(keeper, report, locked, problem);

	if (!err)
		err = look_at_all(keeper, look, report, problem);
	if (err)
		return err;
	report->policy = text_keep(report, keeper->ruleset.sources.sources.items[0].name);
	report->generation = keeper->generation;
	return 0;
}

static int sync_locked(struct keeper *keeper, struct upkeep_report *report, struct problem *problem)
{
	struct look look = { 0 };
	int err;

	err = keeper->stays ? pins_try_lock(&keeper->pins, problem) :
			      pins_lock(&keeper->pins, problem);
	if (err == -EBUSY) {
		report->more = true;
		return 0;
	}
	if (!err) {
		detach_unfinished(&keeper->pins);
		err = look_once(keeper, true, &look, report, problem);
	}
	if (!err && (report->items.n || look.zones_differ))
		err = set_right(keeper, &look, report, problem);
	if (!err && keeper->stays && keeper->prepared != keeper->generation &&
	    !slots_reimage_prepare(&keeper->loaded))
		keeper->prepared = keeper->generation;
	pins_close(&keeper->pins);
	if (look.links.n) {
		link_vector_free(&keeper->links);
		keeper->links = look.links;
		look.links = (struct link_vector){ 0 };
	}
	look_free(&look);
	return err;
}

int keeper_sync(struct keeper *keeper, struct upkeep_report *report, struct problem *problem)
{
	struct look look = { 0 };
	bool fine;
	int err;

	*report = (struct upkeep_report){ 0 };
	err = pins_open(&keeper->pins, false, problem);
	if (err) {
		let_go(keeper);
		return err;
	}
	err = look_once(keeper, false, &look, report, problem);
	fine = !err && !report->items.n && !look.zones_differ && keeper->links.n &&
	       (!keeper->stays || keeper->prepared == keeper->generation);
	look_free(&look);
	if (fine)
		return 0;
	/* Also when the look failed: somebody may be changing things at this moment. */
	upkeep_report_free(report);
	*report = (struct upkeep_report){ 0 };
	err = sync_locked(keeper, report, problem);
	if (err == -ENOENT)
		let_go(keeper);
	return err;
}
