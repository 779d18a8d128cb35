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

static inline uint32_t host_classify(host_t *host, enum walk_kind kind)
{
	struct walk walk = { .ref = walk_begin(&host->image, host->header, &host->packet->fields,
					       kind) };
	uint32_t i;
	int end = 0;

	for (i = 0; i <= host->header->walk_max && !end; i++)
		end = walk_step(&host->image, &host->packet->fields, &walk);
	return end == 1 ? REF_INDEX(walk.ref) : RULE_NONE;
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

static inline uint32_t host_unpredictable(host_t *host)
{
	return (uint32_t)(host_random(host) >> 32);
}

static inline int host_way_back(host_t *host, uint32_t *ifindex)
{
	const struct user_options *options = &host->engine->options;

	if (!options->way_back)
		return -1;
	return options->way_back(options->context, host->frame, host->packet, ifindex);
}

static inline uint32_t host_mtu(host_t *host, host_packet_t *frame, uint32_t ifindex)
{
	const struct user_options *options = &host->engine->options;

	(void)frame;
	return options->mtu ? options->mtu(options->context, ifindex) : 0;
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

static inline void host_log(host_t *host, uint32_t sample, const struct judgement *j)
{
	if (sample > 1 && host_random(host) % sample)
		return;
	host_event(host, EVENT_LOG, j);
}

#include "core/checkpoint.h"
#pragma GCC diagnostic pop

static inline int host_frame_proof(host_t *host, host_packet_t *frame, uint32_t ethernet,
				   uint32_t *proof)
{
	return proof_of_frame(frame, ethernet, host_proof_keys(host), proof);
}

static inline int host_spoofed(host_t *host, struct judgement *j)
{
	return host->header->hygiene ? judge_spoofed(host, j) : 0;
}

static __always_inline void host_mss_search(struct mss_search *search)
{
	for (uint32_t i = 0; i < TCP_OPTIONS_MAX && !mss_search_step(search); i++)
		;
}

static inline void host_clean(host_t *host, host_packet_t *frame, uint32_t ethernet)
{
	hygiene_depart(host, frame, ethernet);
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

#endif
