// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The core's host in user space: how the user engine reads images, flows and clocks. Included once,
 * by engine.c, after it has defined struct user_engine.
 */
#ifndef REEVE_ENGINE_USER_HOST_USER_H
#define REEVE_ENGINE_USER_HOST_USER_H

typedef struct {
	const unsigned char *bytes;
	uint32_t units;
} host_image_t;

static inline const void *host_unit(host_image_t *image, uint32_t unit)
{
	return unit < image->units ? image->bytes + (size_t)unit * IMAGE_UNIT : NULL;
}

static inline const struct image_switch *host_switch(host_image_t *image, uint32_t unit)
{
	return unit < image->units && image->units - unit >= 4 ? host_unit(image, unit & ~3u) :
								 NULL;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "core/bucket.h"
#include "core/classify.h"
#include "core/judgement.h"
#include "core/quoted.h"
#include "core/track.h"

typedef struct {
	struct user_engine *engine;
	const struct user_frame *frame;
	struct packet *packet;
	struct quoted quoted;
	struct flow_key key;
	struct admission admission;
	const struct image_header *header;
	host_image_t image;
} host_t;

static inline int host_parse(host_packet_t *frame, struct packet *p, uint32_t ethernet,
			     uint32_t arriving)
{
	return frame_parse(frame, p, ethernet, arriving);
}

static inline int host_open(host_t *host)
{
	host->header = (const struct image_header *)(const void *)host->engine->image;
	host->image.bytes = host->engine->image;
	host->image.units = host->header->units;
	return 0;
}

/* Frames in memory have no namespace. */
static inline int host_foreign(host_t *host, host_packet_t *frame)
{
	(void)host;
	(void)frame;
	return 0;
}

static inline uint32_t host_generation(host_t *host)
{
	return host->engine->generation;
}

static inline uint32_t host_flows_since(host_t *host)
{
	return host->engine->flows_since;
}

static inline const __u64 *host_proof_keys(host_t *host)
{
	return host->engine->proof_keys;
}

static inline uint32_t host_witness(host_t *host)
{
	return host->engine->options.witness;
}

static inline void host_set_hash(host_packet_t *frame, uint32_t hash)
{
	frame->hash = hash;
}

static inline uint64_t host_now(host_t *host)
{
	return host->engine->now;
}

static inline void host_count(host_t *host, unsigned stat)
{
	host->engine->stats[stat]++;
}

static inline void host_count_rule(host_t *host, uint32_t rule)
{
	struct user_counter *counter = &host->engine->counters[rule];

	counter->packets += host->packet->segments;
	counter->bytes += host->packet->length;
	counter->last_ns = host->engine->now;
}

static inline uint32_t host_walk(host_t *host, enum walk_kind kind, uint32_t from)
{
	struct walk walk = { .ref = from };
	uint32_t i;
	int end = 0;

	if (from == REF_NONE)
		walk.ref = walk_begin(&host->image, host->header, &host->packet->fields, kind);
	for (i = 0; i <= host->header->walk_max && !end; i++)
		end = walk_step(&host->image, &host->packet->fields, &walk);
	return end == 1 ? walk.ref : REF_NONE;
}

static inline uint32_t host_zone(host_t *host, uint32_t tag)
{
	struct zone_search search = { tag, ZONE_UNKNOWN };

	for (uint32_t i = 0; !zone_search_step(&host->image, host->header, &search, i); i++)
		;
	return search.zone;
}

static inline const struct image_rule *host_image_rule(host_t *host, uint32_t rule)
{
	if (rule >= host->header->rules)
		return NULL;
	return host_unit(&host->image, host->header->rule_table + rule);
}

static inline void host_flow_fetch(host_t *host, const struct flow_key *key)
{
	(void)host;
	(void)key;
}

static inline const struct flow *host_flow_elsewhere(host_t *host, const struct flow_key *key)
{
	(void)host;
	(void)key;
	return NULL;
}

static inline struct flow *host_flow_find(host_t *host, const struct flow_key *key)
{
	return flow_table_find(&host->engine->flows, key);
}

static inline struct flow *host_embryonic_find(host_t *host, const struct flow_key *key)
{
	return flow_table_find(&host->engine->embryonic, key);
}

static inline void host_flow_delete(host_t *host, const struct flow_key *key)
{
	flow_table_remove(&host->engine->flows, key);
}

static inline void host_embryonic_delete(host_t *host, const struct flow_key *key)
{
	flow_table_remove(&host->engine->embryonic, key);
}

static inline const struct fragment *host_fragment_find(host_t *host,
							const struct fragment_key *key)
{
	return fragment_table_find(&host->engine->fragments, key);
}

static inline void host_fragment_put(host_t *host, const struct fragment_key *key,
				     const struct fragment *fragment)
{
	fragment_table_put(&host->engine->fragments, key, fragment);
}

static inline int host_flow_promote(host_t *host, const struct flow_key *key,
				    const struct flow *flow)
{
	(void)flow; /* it is the one under this key */
	return flow_table_move(&host->engine->embryonic, &host->engine->flows, key);
}

static inline int host_flow_create(host_t *host, const struct flow_key *key,
				   const struct judgement *j, uint32_t state, uint32_t sender_high)
{
	struct flow flow;

	flow_fill(&flow, host->packet, j, state, sender_high, host->engine->now);
	return flow_table_push(&host->engine->embryonic, key, &flow);
}

static inline const struct quoted *host_quoted(host_t *host)
{
	struct user_frame frame = *host->frame;

	return quoted_parse(&frame, host->packet, &host->quoted) ? NULL : &host->quoted;
}

static inline enum route host_route(host_t *host)
{
	const struct user_options *options = &host->engine->options;

	return options->route ? options->route(options->context, host->frame, host->packet) :
				ROUTE_SELF;
}

static inline const __u64 *host_asked(host_t *host, uint32_t ifindex)
{
	struct asked *asked;

	HASH_FIND(hh, host->engine->asked, &ifindex, sizeof(ifindex), asked);
	return asked ? &asked->when : NULL;
}

/* Without memory the answer is not expected, and meets the other rules. */
static inline void host_asks(host_t *host, uint32_t ifindex, uint64_t now)
{
	struct user_engine *engine = host->engine;
	struct asked *asked;

	HASH_FIND(hh, engine->asked, &ifindex, sizeof(ifindex), asked);
	if (!asked) {
		asked = calloc(1, sizeof(*asked));
		if (!asked)
			return;
		asked->ifindex = ifindex;
		HASH_ADD(hh, engine->asked, ifindex, sizeof(ifindex), asked);
		if (!asked->hh.tbl) {
			free(asked);
			return;
		}
	}
	asked->when = now;
}

static inline void host_event(host_t *host, enum event_kind kind, const struct judgement *j)
{
	const struct user_options *options = &host->engine->options;
	struct event event;

	if (!options->event)
		return;
	event_fill(&event, kind, host->packet, j, host->engine->now);
	options->event(options->context, &event);
}

/* xorshift64 (Marsaglia 2003): which packets of a sampled log are told need not be secret. */
static inline uint64_t host_random(host_t *host)
{
	uint64_t x = host->engine->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	host->engine->random = x;
	return x;
}

static inline void host_log(host_t *host, uint32_t sample, const struct judgement *j)
{
	if (sample > 1 && host_random(host) % sample)
		return;
	host_event(host, EVENT_LOG, j);
}

static inline struct admission *host_admission(host_t *host)
{
	return &host->admission;
}

static inline __u64 host_now_exact(host_t *host)
{
	return host->engine->now;
}

static inline __u64 *host_bucket(host_t *host, const struct limit_key *key)
{
	union limit_value *value = limit_table_get(&host->engine->buckets, key);

	return value ? &value->bucket : NULL;
}

static inline __u64 *host_bucket_of_all(host_t *host, const struct limit_key *key)
{
	union limit_value *value = limit_table_get(&host->engine->buckets_of_all, key);

	return value ? &value->bucket : NULL;
}

static inline struct tally *host_tally(host_t *host, const struct limit_key *key)
{
	return (struct tally *)(void *)limit_table_get(&host->engine->tallies, key);
}

static inline const struct place *host_place(host_t *host, const struct limit_key *key)
{
	return (const struct place *)(const void *)limit_table_look(&host->engine->places, key);
}

static inline int host_place_put(host_t *host, const struct limit_key *key,
				 const struct place *place)
{
	union limit_value *value = limit_table_get(&host->engine->places, key);

	if (!value)
		return -1;
	memcpy(value, place, sizeof(*place));
	return 0;
}

/* One thread. */
static inline int host_swap(__u64 *word, __u64 old, __u64 new)
{
	if (*word != old)
		return 0;
	*word = new;
	return 1;
}

#include "core/checkpoint.h"
#pragma GCC diagnostic pop

_Static_assert(sizeof(struct place) <= sizeof(union limit_value), "place");

static inline int host_frame_proof(host_t *host, host_packet_t *frame, uint32_t ethernet,
				   uint32_t *proof)
{
	return proof_of_frame(frame, ethernet, host_proof_keys(host), proof);
}

static inline struct flow_key *host_key(host_t *host)
{
	return &host->key;
}

static inline int host_recheck(host_t *host, const struct flow_key *key, struct found *found)
{
	return flow_recheck(host, key, found);
}

static inline int host_related(host_t *host, struct judgement *j, uint32_t from_tag, uint32_t to_tag)
{
	return judge_related(host, j, from_tag, to_tag);
}

static inline int host_fragment_follow(host_t *host, struct judgement *j)
{
	return fragment_follow(host, j);
}

static inline void host_fragment_note(host_t *host, struct judgement *j, uint32_t from_tag,
				      uint32_t to_tag)
{
	fragment_note(host, j, from_tag, to_tag);
}

static inline void host_rules(host_t *host, const struct flow_key *key, const struct found *found,
			      struct judgement *j)
{
	judge_by_rules(host, key, found, j);
}

static inline void host_place_search(host_t *host, struct admission *admission)
{
	for (uint32_t i = 0; i < PLACES_LOOKED_AT && !place_search_step(host, admission); i++)
		;
}

static inline uint32_t host_admit(host_t *host, struct judgement *j, uint32_t ref, uint32_t taken)
{
	return limit_rate(host, ref, (uint32_t)limit_place(host, j, ref, taken));
}

#endif
