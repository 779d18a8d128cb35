// SPDX-License-Identifier: GPL-2.0-or-later
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFUSED_MAX 150 /* lines that the language may refuse in one policy */

static void hear(void *context, const struct event *event)
{
	struct bench *bench = context;

	if (bench->listener && bench->listener->events < WORLD_EVENTS)
		bench->listener->event[bench->listener->events] = *event;
	if (bench->listener)
		bench->listener->events++;
}

const uint8_t bench_next_address[6] = { 2, 0, 0, 0, 0, 0x77 };

static int next_hop(void *context, const struct user_frame *frame, uint32_t length,
		    uint32_t *ifindex, uint8_t destination[6], uint8_t source[6])
{
	const struct bench *bench = context;

	(void)frame;
	(void)length;
	if (!bench->next_hop)
		return -1;
	*ifindex = bench->next_hop;
	memcpy(destination, bench_next_address, sizeof(bench_next_address));
	world_mac(bench->next_hop - WORLD_IFINDEX, source);
	return 0;
}

void bench_close(struct bench *bench)
{
	user_engine_free(bench->engine);
	free(bench->before);
	policy_unload(&bench->policy);
}

static int start_engine(struct bench *bench)
{
	struct user_options options = { .flows_max = 512,
					.embryonic_max = 512,
					.route = world_route,
					.way_back = world_way_back,
					.mtu = world_mtu,
					.leaves = world_leaves,
					.address = world_address,
					.next_hop = next_hop,
					.event = hear,
					.context = bench };
	const char *why = "";

	bench->generation = bench->flows_since = 1;
	bench->before = calloc(ruleset_image_rules(&bench->policy.ruleset), sizeof(*bench->before));
	if (!bench->before)
		return -ENOMEM;
	return user_engine_new(bench->policy.image.bytes, bench->policy.image.size, &options,
			       &bench->engine, &why);
}

/* What dynamic sets hold at first, for all. */
static int fill_sets(struct bench *bench)
{
	struct ruleset *ruleset = &bench->policy.ruleset;
	int err = 0;

	model_sets_begin(&bench->policy.sets);
	ruleset->contents = (struct set_contents){ model_holds, &bench->policy.sets };
	user_engine_set_clock(bench->engine, world_now());
	for (uint32_t i = 0; i < ruleset->set_n; i++) {
		const struct model_set *set =
			model_set_of(&bench->policy.sets, ruleset->sets[i].name);

		if (bench->world)
			world_set_clear(bench->world, i);
		for (uint32_t j = 0; !err && j < set->n; j++) {
			const struct model_entry *entry = &set->entries[j];

			err = user_engine_set_add(bench->engine, i, entry->family, entry->address,
						  entry->prefix, entry->expired);
			if (!err && bench->world)
				err = world_set_add(bench->world, i, entry->family, entry->address,
						    entry->prefix, entry->expired);
		}
	}
	return err;
}

#define BY_HAND_MOST 16 /* in the small set: there is to be room for what rules add */

int bench_change_sets(struct bench *bench, struct random *r)
{
	const struct ruleset *ruleset = &bench->policy.ruleset;
	uint32_t i = ruleset->set_n ? random_below(r, ruleset->set_n) : 0;
	struct model_entry entry = { .family = random_chance(r, 50) ? 4 : 6 };
	uint8_t whole = entry.family == 4 ? 32 : 128;
	struct model_set *set;
	bool small;
	int err;

	if (!ruleset->set_n)
		return 0;
	set = model_set_of(&bench->policy.sets, ruleset->sets[i].name);
	small = ruleset->sets[i].max < 1000;
	policy_random_address(r, entry.family, entry.address);
	entry.prefix = random_chance(r, 40) ? whole : (uint8_t)random_between(r, 0, whole);
	entry.expired = !small && random_chance(r, 20);
	if (random_chance(r, 30) || (small && set->n >= BY_HAND_MOST)) {
		if (set->n && random_chance(r, 80))
			entry = set->entries[random_below(r, set->n)];
		model_remove(set, &entry);
		user_engine_set_delete(bench->engine, i, entry.family, entry.address, entry.prefix);
		if (bench->world)
			world_set_delete(bench->world, i, entry.family, entry.address, entry.prefix);
		return 0;
	}
	if (!model_put(set, &entry))
		return -ENOSPC;
	err = user_engine_set_add(bench->engine, i, entry.family, entry.address, entry.prefix,
				  entry.expired);
	if (!err && bench->world)
		err = world_set_add(bench->world, i, entry.family, entry.address, entry.prefix,
				    entry.expired);
	return err;
}

void bench_follow(struct bench *bench, const struct user_verdict *verdict)
{
	const struct ruleset *ruleset = &bench->policy.ruleset;
	const uint32_t *word = verdict->packet.fields.word;
	uint32_t family = word[FIELD_FAMILY];

	for (uint32_t i = 0; i < ruleset->set_n; i++) {
		struct model_set *set =
			model_set_of(&bench->policy.sets, ruleset->sets[i].name);

		for (unsigned at = FIELD_SRC; at <= FIELD_DST; at += FIELD_DST - FIELD_SRC) {
			uint64_t expires;

			if (!user_engine_set_find(bench->engine, i, family, &word[at],
						  family == 4 ? 32 : 128, &expires) &&
			    expires != 1)
				model_take(set, ruleset->sets[i].max, family, &word[at]);
		}
	}
}

int bench_open(struct bench *bench, struct world *world, const struct random_policy *policy,
	       uint32_t *refused, struct text *errors)
{
	int err;

	memset(bench, 0, sizeof(*bench));
	bench->world = world;
	err = policy_compile(policy, &bench->policy, refused, errors);
	if (!err)
		err = start_engine(bench);
	if (!err && world)
		err = world_policy(world, bench->policy.image.bytes, bench->policy.image.size,
				   bench->generation, bench->flows_since);
	if (!err)
		err = fill_sets(bench);
	if (err)
		bench_close(bench);
	else
		bench_forget(bench);
	return err;
}

void bench_forget(struct bench *bench)
{
	user_engine_forget(bench->engine);
	if (bench->world)
		world_forget(bench->world);
	bench->policy.spent_n = 0;
}

int bench_swap(struct bench *bench, const struct random_policy *policy)
{
	struct text errors = TEXT_INIT(1 << 20);
	struct loaded_policy next;
	uint64_t *before = NULL;
	const char *why = "";
	uint32_t refused;
	/* Now and then, and the same when it is played again. */
	bool keep = bench->generation % 3 == 0;
	int err = policy_compile(policy, &next, &refused, &errors);

	text_free(&errors);
	if (!err) {
		before = calloc(ruleset_image_rules(&next.ruleset), sizeof(*before));
		err = before ? 0 : -ENOMEM;
	}
	if (!err)
		err = user_engine_swap(bench->engine, next.image.bytes, next.image.size, keep, &why);
	if (err) {
		free(before);
		policy_unload(&next);
		return err;
	}
	policy_unload(&bench->policy);
	free(bench->before);
	bench->policy = next;
	bench->before = before;
	bench->generation++;
	if (!keep)
		bench->flows_since = bench->generation;
	return bench->world ? world_policy(bench->world, next.image.bytes, next.image.size,
					   bench->generation, bench->flows_since) :
			      0;
}

/* --- random policies ------------------------------------------------------------- */

static void leave_out(struct random_policy *policy, uint32_t line)
{
	bool block = policy->lines[line].kind == LINE_OPEN;

	policy->lines[line].out = true;
	while (block && policy->lines[line].kind != LINE_CLOSE && line + 1 < policy->n)
		policy->lines[++line].out = true;
}

int bench_open_random(struct bench *bench, struct world *world, struct random *r,
		      struct random_policy *policy, uint64_t *lines, uint64_t *refused)
{
	struct text errors = TEXT_INIT(1 << 20), text = TEXT_INIT(1 << 20);
	int err = -EINVAL;

	policy_random(r, policy);
	*lines += policy->n;
	for (int i = 0; i < REFUSED_MAX && err == -EINVAL; i++) {
		uint32_t line = POLICY_LINES;

		text_free(&errors);
		errors = TEXT_INIT(1 << 20);
		err = bench_open(bench, world, policy, &line, &errors);
		if (err != -EINVAL || line >= policy->n || policy->lines[line].out)
			break;
		leave_out(policy, line);
		++*refused;
	}
	if (err) {
		policy_print(policy, &text);
		bench_print(text_string(&text));
		bench_print(text_string(&errors));
	}
	text_free(&text);
	text_free(&errors);
	return err;
}

int bench_random_policy(struct random *r, struct random_policy *policy)
{
	uint64_t lines = 0, refused = 0;
	struct bench bench;
	int err = bench_open_random(&bench, NULL, r, policy, &lines, &refused);

	if (!err)
		bench_close(&bench);
	return err;
}

enum way { BENCH_ARRIVES, BENCH_DEPARTS, BENCH_EARLY };

/* --- what was seen --------------------------------------------------------------- */

/* Counters and events of a packet that the user engine is handed. */
static void run(struct bench *bench, struct user_frame *frame, enum way way,
		struct user_verdict *verdict, struct seen *seen)
{
	const struct user_counter *counters = user_engine_counters(bench->engine);

	memset(seen, 0, sizeof(*seen));
	bench->listener = seen;
	user_engine_set_clock(bench->engine, world_now());
	if (way == BENCH_DEPARTS)
		user_engine_depart(bench->engine, frame, verdict);
	else if (way == BENCH_ARRIVES)
		user_engine_arrive(bench->engine, frame, verdict);
	else
		user_engine_early(bench->engine, frame, verdict);
	bench->listener = NULL;
	seen->action = verdict->action;
	seen->mark = frame->mark;
	seen->tc_index = frame->tc_index;
	seen->hash = frame->hash;
	seen->told = true;
	seen->rule = RULE_NONE;
	for (uint32_t i = 0; i < user_engine_rules(bench->engine); i++) {
		if (counters[i].packets == bench->before[i])
			continue;
		bench->before[i] = counters[i].packets;
		seen->rule = i;
	}
}

void bench_run(struct bench *bench, struct user_frame *frame, bool departs,
	       struct user_verdict *verdict, struct seen *seen)
{
	run(bench, frame, departs ? BENCH_DEPARTS : BENCH_ARRIVES, verdict, seen);
}

void bench_run_early(struct bench *bench, struct user_frame *frame, struct user_verdict *verdict,
		     struct seen *seen)
{
	run(bench, frame, BENCH_EARLY, verdict, seen);
	seen->mark = 0; /* nothing has one yet */
	seen->told = false;
}

static bool same_event(const struct event *one, const struct event *two)
{
	struct event copy = *two;

	copy.time_ns = one->time_ns;
	return !memcmp(one, &copy, sizeof(copy));
}

bool seen_same(const struct seen *one, const struct seen *two)
{
	if (one->action != two->action || one->rule != two->rule || one->events != two->events)
		return false;
	/* An answer is another packet; only what goes on keeps its mark. */
	if (one->action == USER_NEXT && one->mark != two->mark)
		return false;
	if (one->action == USER_NEXT && one->told && two->told &&
	    (one->tc_index != two->tc_index || one->hash != two->hash))
		return false;
	for (uint32_t i = 0; i < one->events && i < WORLD_EVENTS; i++)
		if (!same_event(&one->event[i], &two->event[i]))
			return false;
	return true;
}

void seen_print(const char *who, const struct seen *seen, struct text *report)
{
	static const char *const actions[] = { "next", "drop", "answer" };

	text_printf(report, "%s: %s, rule %d, mark %#x, tc_index %#x, hash %#x, %u events\n", who,
		    seen->action <= USER_ANSWER ? actions[seen->action] : "?", (int)seen->rule,
		    seen->mark, seen->tc_index, seen->hash, seen->events);
	for (uint32_t i = 0; i < seen->events && i < WORLD_EVENTS; i++) {
		const struct event *e = &seen->event[i];

		text_printf(
			report,
			"    event: kind %u hook %u by %u action %u sanity %u family %u protocol %u flags %#x rule %u zones %u %u ports %u %u length %u\n",
			e->kind, e->hook, e->by, e->action, e->sanity, e->family, e->protocol,
			e->tcp_flags, e->rule, e->from_zone, e->to_zone, e->src_port, e->dst_port,
			e->length);
	}
}

void bench_print(const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		if (length)
			printf("# %.*s\n", (int)length, text);
		text += length + (text[length] == '\n');
	}
}
