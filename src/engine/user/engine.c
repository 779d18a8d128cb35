// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * uthash calls exit() without memory, unless it is told to leave the new element out and say so in
 * its handle.
 */
#define HASH_NONFATAL_OOM 1

#include "engine/user/engine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "base/cleanup.h"
#include "core/image.h"
#include "engine/user/flow_table.h"
#include "engine/user/fragment_table.h"
#include "engine/user/nat_table.h"
#include "engine/user/limit_table.h"
#include "engine/user/set_table.h"

/* When the DHCP client of an interface last sent something. */
struct asked {
	uint32_t ifindex;
	__u64 when;
	UT_hash_handle hh;
};

struct user_engine {
	struct user_options options;
	unsigned char *image; /* valid */
	struct user_counter *counters; /* by rule */
	uint32_t generation;
	uint64_t now;
	uint64_t random;
	__u64 proof_keys[PROOF_KEYS];
	uint32_t flows_since;
	struct flow_table flows, embryonic;
	struct fragment_table fragments;
	struct nat_table translated, pending;
	bool translates; /* a policy has translated: flows may be */
	struct limit_table buckets, buckets_of_all, tallies, places; /* core/limit.h */
	struct set_table sets[IMAGE_SETS_MAX]; /* by number, as many as the image has */
	struct asked *asked;
	uint64_t stats[STAT_COUNT];
};

#include "engine/user/host_user.h"

#include "engine/user/host_fast.h"

/* A copy of the image, after it was found valid, and counters for its rules. */
static int image_take_in(const void *image, size_t size, unsigned char **copy,
			 struct user_counter **counters, const char **why)
{
	cleanup_free unsigned char *bytes = malloc(size ? size : 1);
	const struct image_header *header = (const void *)bytes;
	int err;

	if (!bytes) {
		*why = "out of memory";
		return -ENOMEM;
	}
	memcpy(bytes, image, size);
	err = image_validate(bytes, size, why);
	if (err)
		return err;
	*counters = calloc(header->rules, sizeof(**counters));
	if (!*counters) {
		*why = "out of memory";
		return -ENOMEM;
	}
	*copy = take(bytes);
	return 0;
}

static void note_translations(struct user_engine *engine)
{
	const struct image_header *header = (const void *)engine->image;

	if (header->flags & (IMAGE_FORWARDS | IMAGE_SOURCES))
		engine->translates = true;
}

/* The sets of the image: what a set of the same name held before, it still holds. */
static void note_sets(struct user_engine *engine)
{
	const struct image_header *header = (const void *)engine->image;
	const struct image_dynamic_set *sets =
		(const void *)(engine->image + (size_t)header->sets * IMAGE_UNIT);
	struct set_table former[IMAGE_SETS_MAX];

	memcpy(former, engine->sets, sizeof(former));
	memset(engine->sets, 0, sizeof(engine->sets));
	for (uint32_t i = 0; i < header->set_n; i++) {
		struct set_table *table = &engine->sets[i];

		for (uint32_t j = 0; j < IMAGE_SETS_MAX; j++) {
			if (!former[j].max || former[j].tag != dynamic_set_tag(&sets[i]))
				continue;
			*table = former[j];
			former[j] = (struct set_table){ 0 };
		}
		table->tag = dynamic_set_tag(&sets[i]);
		table->timeout = sets[i].timeout;
		table->max = sets[i].max;
	}
	for (uint32_t i = 0; i < IMAGE_SETS_MAX; i++)
		set_table_clear(&former[i]);
}

int user_engine_new(const void *image, size_t size, const struct user_options *options,
		    struct user_engine **engine, const char **why)
{
	struct user_engine *new = calloc(1, sizeof(*new));
	int err;

	if (!new) {
		*why = "out of memory";
		return -ENOMEM;
	}
	err = image_take_in(image, size, &new->image, &new->counters, why);
	if (err) {
		free(new);
		return err;
	}
	new->options = *options;
	new->generation = new->flows_since = 1;
	new->random = 0x9e3779b97f4a7c15u;
	proof_keys_make(new->proof_keys, options->proof_seed);
	new->flows.max = options->flows_max;
	new->embryonic.max = options->embryonic_max;
	note_translations(new);
	note_sets(new);
	new->buckets.max = BUCKETS_MAX;
	new->buckets_of_all = (struct limit_table){ .max = IMAGE_LIMITS_MAX, .keeps = true };
	new->tallies.max = TALLIES_MAX;
	new->places.max = PLACES_MAX;
	*engine = new;
	return 0;
}

void user_engine_free(struct user_engine *engine)
{
	if (!engine)
		return;
	user_engine_flush(engine);
	user_engine_forget(engine);
	for (uint32_t i = 0; i < IMAGE_SETS_MAX; i++)
		set_table_clear(&engine->sets[i]);
	free(engine->counters);
	free(engine->image);
	free(engine);
}

int user_engine_swap(struct user_engine *engine, const void *image, size_t size, bool keep_flows,
		     const char **why)
{
	struct user_counter *counters;
	unsigned char *copy;
	int err;

	err = image_take_in(image, size, &copy, &counters, why);
	if (err)
		return err;
	free(engine->image);
	free(engine->counters);
	engine->image = copy;
	engine->counters = counters;
	engine->generation++;
	note_translations(engine);
	note_sets(engine);
	if (!keep_flows)
		engine->flows_since = engine->generation;
	return 0;
}

void user_engine_set_clock(struct user_engine *engine, uint64_t now)
{
	engine->now = now;
}

/* A frame shorter than an Ethernet header has no protocol, and is none of ours. */
static void frame_protocol(struct user_frame *frame)
{
	be16 protocol = 0;

	if (!frame->ethernet)
		return;
	host_read(frame, ETHERNET_HEADER - (uint32_t)sizeof(protocol), &protocol, sizeof(protocol));
	frame->protocol = protocol;
}

static void conclude(struct user_engine *engine, struct user_verdict *verdict)
{
	if (verdict->judgement.outcome == OUTCOME_PASS) {
		verdict->action = USER_NEXT;
	} else if (verdict->judgement.outcome == OUTCOME_REJECT && answerable(&verdict->packet)) {
		verdict->action = USER_ANSWER;
		engine->stats[STAT_REJECTED]++;
	} else {
		verdict->action = USER_DROP;
		if (verdict->judgement.outcome == OUTCOME_REJECT)
			engine->stats[STAT_DROPPED]++;
	}
}

void user_engine_early(struct user_engine *engine, struct user_frame *frame,
		       struct user_verdict *verdict)
{
	/* As the driver hands it on: one packet, of which nothing is known. */
	struct user_frame bare = { .bytes = frame->bytes,
				   .len = frame->len,
				   .ethernet = frame->ethernet,
				   .ifindex = frame->ifindex };
	host_t host = { .engine = engine, .frame = &bare, .packet = &verdict->packet };
	uint8_t first = 0;

	*verdict = (struct user_verdict){ 0 };
	host_read(&bare, 0, &first, sizeof(first));
	frame_protocol(&bare);
	if (!frame->ethernet)
		bare.protocol = from_be16(first >> 4 == 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
	else if (first & 1)
		bare.pkt_type = PACKET_TYPE_MULTICAST;
	checkpoint_early(&host, &bare, frame->ifindex, &verdict->judgement, frame->ethernet);
	conclude(engine, verdict);
}

uint32_t user_engine_fast(struct user_engine *engine, struct user_frame *frame)
{
	struct user_frame bare = { .bytes = frame->bytes,
				   .writable = frame->writable,
				   .len = frame->len,
				   .ethernet = frame->ethernet,
				   .pkt_type = frame->pkt_type,
				   .ifindex = frame->ifindex };
	host_t host = { .engine = engine, .frame = &bare };

	/* Headers are read in place. */
	if (!frame->ethernet || ((uintptr_t)frame->bytes + ETHERNET_HEADER) % sizeof(uint32_t))
		return 0;
	frame_protocol(&bare);
	host_open(&host);
	return fast_forward(&host, &bare, frame->ifindex);
}

void user_engine_arrive(struct user_engine *engine, struct user_frame *frame,
			struct user_verdict *verdict)
{
	host_t host = { .engine = engine, .frame = frame, .packet = &verdict->packet };

	*verdict = (struct user_verdict){ 0 };
	frame_protocol(frame);
	checkpoint_arrive(&host, frame, &verdict->judgement, frame->ethernet);
	conclude(engine, verdict);
}

void user_engine_depart(struct user_engine *engine, struct user_frame *frame,
			struct user_verdict *verdict)
{
	host_t host = { .engine = engine, .frame = frame, .packet = &verdict->packet };

	*verdict = (struct user_verdict){ 0 };
	frame_protocol(frame);
	checkpoint_depart(&host, frame, &verdict->judgement, frame->ethernet);
	conclude(engine, verdict);
}

const struct user_counter *user_engine_counters(const struct user_engine *engine)
{
	return engine->counters;
}

uint32_t user_engine_rules(const struct user_engine *engine)
{
	return ((const struct image_header *)(const void *)engine->image)->rules;
}

const uint64_t *user_engine_stats(const struct user_engine *engine)
{
	return engine->stats;
}

const struct flow *user_engine_flow(const struct user_engine *engine, const struct flow_key *key,
				    bool *embryonic)
{
	const struct flow *flow = flow_table_look(&engine->flows, key);

	*embryonic = !flow;
	return flow ? flow : flow_table_look(&engine->embryonic, key);
}

struct visit {
	int (*call)(void *context, const struct flow_key *key, const struct flow *flow,
		    bool embryonic);
	void *context;
	uint64_t now;
	bool embryonic;
};

static int visit_live(void *context, const struct flow_key *key, const struct flow *flow)
{
	const struct visit *visit = context;

	if (flow_expired(flow, visit->now))
		return 0;
	return visit->call(visit->context, key, flow, visit->embryonic);
}

int user_engine_flows(const struct user_engine *engine,
		      int (*call)(void *context, const struct flow_key *key,
				  const struct flow *flow, bool embryonic),
		      void *context)
{
	struct visit visit = { call, context, engine->now, false };
	int stop;

	stop = flow_table_each(&engine->flows, visit_live, &visit);
	if (stop)
		return stop;
	visit.embryonic = true;
	return flow_table_each(&engine->embryonic, visit_live, &visit);
}

void user_engine_flush(struct user_engine *engine)
{
	struct asked *asked, *next;

	flow_table_clear(&engine->flows);
	flow_table_clear(&engine->embryonic);
	nat_table_clear(&engine->translated);
	nat_table_clear(&engine->pending);
	fragment_table_clear(&engine->fragments);
	HASH_ITER(hh, engine->asked, asked, next) {
		HASH_DELETE(hh, engine->asked, asked);
		free(asked);
	}
}

void user_engine_forget(struct user_engine *engine)
{
	limit_table_clear(&engine->buckets);
	limit_table_clear(&engine->buckets_of_all);
	limit_table_clear(&engine->tallies);
	limit_table_clear(&engine->places);
}

int user_engine_set_add(struct user_engine *engine, uint32_t set, uint32_t family,
			const uint32_t address[4], uint32_t prefix, uint64_t expires)
{
	struct set_key key;

	if (set >= IMAGE_SETS_MAX || !engine->sets[set].max)
		return -ENOENT;
	set_key_make(&key, address, family, prefix);
	return set_table_put(&engine->sets[set], &key, expires, engine->now);
}

int user_engine_set_delete(struct user_engine *engine, uint32_t set, uint32_t family,
			   const uint32_t address[4], uint32_t prefix)
{
	struct set_key key;

	if (set >= IMAGE_SETS_MAX)
		return -ENOENT;
	set_key_make(&key, address, family, prefix);
	return set_table_remove(&engine->sets[set], &key);
}

bool user_engine_set_holds(const struct user_engine *engine, uint32_t set, uint32_t family,
			   const uint32_t address[4])
{
	return set < IMAGE_SETS_MAX &&
	       set_table_holds(&engine->sets[set], address, family, engine->now);
}

int user_engine_set_find(const struct user_engine *engine, uint32_t set, uint32_t family,
			 const uint32_t address[4], uint32_t prefix, uint64_t *expires)
{
	const uint64_t *found = NULL;
	struct set_key key;

	set_key_make(&key, address, family, prefix);
	if (set < IMAGE_SETS_MAX)
		found = set_table_find(&engine->sets[set], &key);
	if (!found)
		return -ENOENT;
	*expires = *found;
	return 0;
}

void user_engine_set_flush(struct user_engine *engine, uint32_t set)
{
	if (set < IMAGE_SETS_MAX)
		set_table_clear(&engine->sets[set]);
}
