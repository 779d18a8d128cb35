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

#define PENDING_MAX 8192u /* destinations that are remembered until departure makes the flow */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "core/bucket.h"
#include "core/classify.h"
#include "core/judgement.h"
#include "core/nat_record.h"
#include "core/quoted.h"
#include "core/track.h"

typedef struct {
	struct user_engine *engine;
	const struct user_frame *frame;
	struct packet *packet;
	struct quoted quoted;
	struct flow_key key;
	struct nat_room nat;
	struct admission admission;
	const struct image_header *header;
	host_image_t image;
} host_t;

static inline int host_parse(host_packet_t *frame, struct packet *p, uint32_t ethernet,
			     uint32_t arriving)
{
	return frame_parse(frame, p, ethernet, arriving);
}

/* The parser sees it all; the tests hold a glance against it. */
static inline int host_glance(host_packet_t *frame, struct packet *p)
{
	(void)frame;
	(void)p;
	return 0;
}

static inline int host_open(host_t *host)
{
	host->header = (const struct image_header *)(const void *)host->engine->image;
	host->image.bytes = host->engine->image;
	host->image.units = host->header->units;
	return 0;
}

static inline int host_set_member(host_t *host, uint32_t set, uint32_t field)
{
	const uint32_t *word = host->packet->fields.word;

	return user_engine_set_holds(host->engine, set, word[FIELD_FAMILY], &word[field]);
}

/* As image_rule.add says: what is in the set stays for the longer of the two times. */
static inline void host_set_add(host_t *host, uint32_t add)
{
	struct set_table *table = &host->engine->sets[IMAGE_ADD_SET(add)];
	const uint32_t *word = host->packet->fields.word;
	uint64_t now = host->engine->now, expires = SET_NEVER;
	uint64_t *found;
	struct set_key key;

	if (table->timeout)
		expires = now + (uint64_t)table->timeout * SECOND;
	set_key_whole(&key, &word[IMAGE_ADD_FIELD(add)], word[FIELD_FAMILY]);
	found = set_table_find(table, &key);
	if (found && !set_expired(*found, now))
		*found = set_longer(*found, expires);
	else if (set_table_put(table, &key, expires, now))
		host->engine->stats[STAT_SET_FULL]++;
	else
		host->engine->stats[STAT_SET_ADDED]++;
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
				   const struct judgement *j, uint32_t state, uint32_t sender_high,
				   const struct translation *to)
{
	struct flow flow;

	flow_fill(&flow, host->packet, j, state, sender_high, to, host->engine->now);
	return flow_table_push(&host->engine->embryonic, key, &flow);
}

static inline const struct quoted *host_quoted(host_t *host)
{
	struct user_frame frame = *host->frame;

	return quoted_parse(&frame, host->packet, &host->quoted) ? NULL : &host->quoted;
}

static inline enum route host_route(host_t *host, uint32_t *leaves)
{
	const struct user_options *options = &host->engine->options;

	if (!options->route ||
	    options->route(options->context, host->frame, host->packet) != ROUTE_FORWARD)
		return ROUTE_SELF;
	*leaves = options->leaves ? options->leaves(options->context, host->frame, host->packet) :
				    UINT32_MAX;
	return ROUTE_FORWARD;
}

/* Frames in memory belong to no socket. */
static inline int host_socket_own(host_t *host)
{
	(void)host;
	return 0;
}

static inline int host_socket_listens(host_t *host, uint32_t hand)
{
	const struct user_options *options = &host->engine->options;
	const struct pending *target = &host->nat.asked;

	(void)hand;
	return !options->listens || options->listens(options->context, target->dst, target->port,
						     host->packet);
}

static inline struct nat_room *host_nat(host_t *host)
{
	return &host->nat;
}

static inline int host_translates(host_t *host)
{
	return host->engine->translates;
}

static inline struct translated_tuple *host_translated_find(host_t *host, const struct flow_key *key)
{
	union nat_value *value = nat_table_find(&host->engine->translated, key);

	return value ? &value->translated : NULL;
}

static inline int record_gone(void *context, const struct flow_key *key,
			      const union nat_value *value)
{
	struct user_engine *engine = context;
	const struct translated_tuple *entry = &value->translated;
	const struct flow *flow = flow_table_look(&engine->flows, &entry->real);

	(void)key;
	if (!flow)
		flow = flow_table_look(&engine->embryonic, &entry->real);
	return (!flow || flow_expired(flow, engine->now)) && !translated_young(entry, engine->now);
}

static inline int host_translated_add(host_t *host, const struct flow_key *key,
				      const struct translated_tuple *entry)
{
	struct user_engine *engine = host->engine;
	union nat_value value = { .translated = *entry };

	if (nat_table_find(&engine->translated, key))
		return -1;
	if (engine->translated.n >= (engine->flows.max + engine->embryonic.max) * 2)
		nat_table_sweep(&engine->translated, record_gone, engine);
	if (engine->translated.n >= (engine->flows.max + engine->embryonic.max) * 2)
		return -1;
	return nat_table_put(&engine->translated, key, &value);
}

static inline const struct pending *host_pending_find(host_t *host, const struct flow_key *key)
{
	const union nat_value *value = nat_table_find(&host->engine->pending, key);

	return value ? &value->pending : NULL;
}

static inline void host_pending_put(host_t *host, const struct flow_key *key,
				    const struct pending *pending)
{
	union nat_value value = { .pending = *pending };

	if (host->engine->pending.n >= PENDING_MAX)
		nat_table_clear(&host->engine->pending);
	nat_table_put(&host->engine->pending, key, &value);
}

static inline const struct image_translation *host_translation(host_t *host, uint32_t number)
{
	if (number >= host->header->translation_n)
		return NULL;
	return host_unit(&host->image, host->header->translations + number * 2);
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

static inline uint32_t host_random32(host_t *host)
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

static inline void host_tell(host_t *host, enum event_kind kind, const struct judgement *j)
{
	host_event(host, kind, j);
}

static inline void host_log(host_t *host, uint32_t sample, const struct judgement *j)
{
	if (sample > 1 && host_random(host) % sample)
		return;
	host_event(host, EVENT_LOG, j);
}

static inline void host_own_address(host_t *host)
{
	const struct user_options *options = &host->engine->options;

	if (options->address &&
	    !options->address(options->context, host->frame->ifindex,
			      host->packet->fields.word[FIELD_FAMILY], host->nat.own))
		host->nat.own_known = 1;
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
#include "core/early.h"
#pragma GCC diagnostic pop

_Static_assert(sizeof(struct place) <= sizeof(union limit_value), "place");

/* The kernel's cookies are its secret. */
static inline enum protection host_protect(host_t *host, host_packet_t *frame, uint32_t ethernet)
{
	(void)host;
	(void)frame;
	(void)ethernet;
	return PROTECTION_NONE;
}

static inline int host_knows_cookies(host_t *host)
{
	(void)host;
	return 0;
}

static inline int host_cookie(host_t *host)
{
	(void)host;
	return 0;
}

static inline void host_cookie_accept(host_t *host, host_packet_t *frame)
{
	(void)host;
	(void)frame;
}

static inline uint32_t host_early_admit(host_t *host, uint32_t ref)
{
	return early_admit(host, ref);
}

static inline uint32_t host_packet_proof(host_t *host)
{
	return proof_of_packet(host->packet, host_proof_keys(host));
}

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

static inline int host_nat_tuples(host_t *host, struct flow_key *key)
{
	return nat_tuples(host, key);
}

static inline int host_nat_source(host_t *host, const struct judgement *j)
{
	return nat_source(host, j);
}

static inline int host_nat_taken(host_t *host, const struct flow_key *key)
{
	return nat_taken(host, key);
}

static inline int host_nat_key(host_t *host)
{
	return nat_key(host);
}

static inline int host_nat_take(host_t *host)
{
	return nat_take(host);
}

static inline int host_nat_middle_taken(host_t *host)
{
	return nat_middle_taken(host);
}

static inline int host_nat_middle(host_t *host, const struct flow_key *key)
{
	return nat_middle(host, key);
}

static inline void host_port_search(host_t *host)
{
	for (uint32_t i = 0; i < PORT_TRIES && !port_search_step(host); i++)
		;
}

static inline int host_translated_search(host_t *host, struct flow_key *key, struct found *found)
{
	return translated_search(host, key, found, host->engine->now);
}

static inline int host_nat_begin(host_t *host, struct flow_key *key, struct judgement *j)
{
	return nat_begin(host, key, j);
}

static inline int host_forward(host_t *host, uint32_t leaves)
{
	return judge_forward(host, leaves);
}

static inline int host_intercept(host_t *host, struct judgement *j, uint32_t leaves)
{
	return judge_intercept(host, j, leaves);
}

static inline void host_stays(host_t *host, const struct flow_key *key, struct judgement *j,
			      uint32_t reply)
{
	flow_stays(host, key, j, reply);
}

static inline int host_hand_over(host_t *host, struct judgement *j)
{
	return hand_over(host, j);
}

/* Writes `n` 16-bit words, and brings the checksums at `sums` in step; 0: there is none. */
static inline int frame_replace(host_packet_t *frame, uint32_t offset, const be16 *words,
				uint32_t n, const uint32_t sums[2])
{
	be16 old, sum;

	for (uint32_t i = 0; i < n; i++, offset += 2) {
		if (host_read(frame, offset, &old, sizeof(old)))
			return -1;
		for (uint32_t j = 0; j < 2; j++) {
			if (!sums[j])
				continue;
			if (host_read(frame, sums[j], &sum, sizeof(sum)))
				return -1;
			sum = checksum_replace(sum, old, words[i]);
			memcpy(frame->writable + sums[j], &sum, sizeof(sum));
		}
		memcpy(frame->writable + offset, &words[i], sizeof(old));
	}
	return 0;
}

/* The error's own address, and in what it quotes the other end's, which is the same place turned. */
static inline int rewrite_quoted(host_t *host, host_packet_t *frame)
{
	const struct packet *p = host->packet;
	const struct nat_room *nat = &host->nat;
	uint32_t v6 = p->fields.word[FIELD_FAMILY] == 6, source = nat->rewrite == REWRITE_SOURCE;
	uint32_t ip = p->l4 + 8u, icmp = p->l4 + 2u, n = v6 ? 8 : 2, place;
	uint32_t outer[2] = { v6 ? icmp : p->l3 + 10u, 0 }, inner[2] = { v6 ? icmp : ip + 10, 0 };
	uint32_t sum[2] = { icmp, 0 };
	be16 words[8], port = from_be16((be16)nat->port);

	for (uint32_t i = 0; i < 4; i++) {
		words[i * 2] = from_be16((be16)(nat->address[i] >> 16));
		words[i * 2 + 1] = from_be16((be16)nat->address[i]);
	}
	place = v6 ? (source ? 8u : 24u) : (source ? 12u : 16u);
	if (nat->outer && frame_replace(frame, p->l3 + place, words, n, outer))
		return -1;
	place = v6 ? (source ? 24u : 8u) : (source ? 16u : 12u);
	if (frame_replace(frame, ip + place, words, n, inner))
		return -1;
	switch (host->quoted.key.protocol) {
	case PROTOCOL_TCP:
	case PROTOCOL_UDP:
	case PROTOCOL_UDPLITE:
		return frame_replace(frame, host->quoted.l4 + (source ? 2 : 0), &port, 1, sum);
	case PROTOCOL_ICMP:
	case PROTOCOL_ICMPV6:
		return frame_replace(frame, host->quoted.l4 + 4, &port, 1, sum);
	}
	return 0;
}

static inline int host_rewrite(host_t *host, host_packet_t *frame)
{
	const struct packet *p = host->packet;
	const struct nat_room *nat = &host->nat;
	uint32_t v6 = p->fields.word[FIELD_FAMILY] == 6, source = nat->rewrite == REWRITE_SOURCE;
	uint32_t later = p->fields.word[FIELD_FRAGMENT], l4 = 0, none[2] = { 0 };
	uint32_t sums[2] = { v6 ? 0 : p->l3 + 10u, 0 };
	uint32_t udp = p->fields.word[FIELD_PROTOCOL] == PROTOCOL_UDP;
	be16 words[8], sum = 0, port = from_be16((be16)nat->port);

	if (!frame->writable)
		return 0;
	if (nat->quoted)
		return rewrite_quoted(host, frame);
	if (!later && checksum_offset(p))
		l4 = p->l4 + checksum_offset(p);
	if (l4 && (host_read(frame, l4, &sum, sizeof(sum)) || (udp && !sum)))
		l4 = 0;
	if (p->fields.word[FIELD_PROTOCOL] != PROTOCOL_ICMP)
		sums[1] = l4;
	for (uint32_t i = 0; i < 4; i++) {
		words[i * 2] = from_be16((be16)(nat->address[i] >> 16));
		words[i * 2 + 1] = from_be16((be16)nat->address[i]);
	}
	if (frame_replace(frame, p->l3 + (v6 ? (source ? 8u : 24u) : (source ? 12u : 16u)), words,
			  v6 ? 8 : 2, sums))
		return -1;
	sums[0] = 0;
	sums[1] = l4;
	if (p->flags & PACKET_PORTS) {
		if (frame_replace(frame, p->l4 + (source ? 0u : 2u), &port, 1, l4 ? sums : none))
			return -1;
	} else if ((p->flags & (PACKET_ECHO_REQUEST | PACKET_ECHO_REPLY)) && !later) {
		if (frame_replace(frame, p->l4 + 4u, &port, 1, l4 ? sums : none))
			return -1;
	}
	/* A sum of zero would say that there is none (RFC 768). */
	if (l4 && udp && !host_read(frame, l4, &sum, sizeof(sum)) && !sum)
		memset(frame->writable + l4, 0xff, sizeof(sum));
	return 0;
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

static inline const struct quoted *host_quoted_read(host_t *host)
{
	return &host->quoted;
}

static inline int host_related_translated(host_t *host, uint32_t *travels)
{
	struct found found = { 0 };

	if (!related_translated(host, &found))
		return 0;
	*travels = found.direction;
	return 1;
}

static inline void host_fragment_translate(host_t *host, uint32_t from_tag)
{
	fragment_translate(host, from_tag);
}

static inline void host_fragment_note_arrival(host_t *host, uint32_t from_tag)
{
	fragment_note_arrival(host, from_tag);
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

static inline void host_rules(host_t *host, struct flow_key *key, const struct found *found,
			      struct judgement *j)
{
	struct found here = *found;

	(void)key; /* it may be that of the record to which the tuple leads */
	here.sender_high = (uint32_t)flow_key_make(host->packet, &host->key);
	judge_by_rules(host, &host->key, &here, j);
}

static inline uint32_t host_ask(host_t *host, uint32_t ref)
{
	return set_ask(host, ref);
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

static inline uint32_t host_find(host_t *host, struct judgement *j, enum walk_kind kind,
				 uint32_t taken)
{
	return rule_find(host, j, kind, taken);
}

#endif
