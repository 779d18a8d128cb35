// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The full way in the kernel: what it works with, and the judge's big steps as functions of their
 * own.
 *
 * A program has 512 bytes of stack over all functions in a row, and the verifier follows each way
 * through a function that is not global. So packet, judgement and key lie in a map (struct room),
 * and the steps are global functions, each verified once, whoever calls it. Pointers to map values
 * cannot be handed to such functions inside a struct: each step opens the image of the same slot
 * again.
 *
 * Included once, by reeve.bpf.c, behind host_bpf.h.
 */
#ifndef REEVE_ENGINE_BPF_STEPS_BPF_H
#define REEVE_ENGINE_BPF_STEPS_BPF_H

#include "engine/bpf/host_bpf.h"

/* Programs of one CPU do not interrupt each other. */
struct room {
	struct packet packet;
	struct judgement judgement;
	struct quoted quoted;
	struct flow_key key;
	__u32 proof;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct room);
} rooms SEC(".maps");

static __always_inline struct room *room_get(host_t *host, struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct room *room = bpf_map_lookup_elem(&rooms, &zero);

	if (!room)
		return 0;
	memset(room, 0, sizeof(*room));
	host->nat = bpf_map_lookup_elem(&nat_rooms, &zero);
	if (!host->nat)
		return 0;
	host->skb = skb;
	host->room = room;
	host->packet = &room->packet;
	return room;
}

/*
 * The room is looked up again: before Linux 6.3 what a global function is handed is no memory for
 * the keys of maps.
 */
static __always_inline int host_reopen(host_t *host, struct __sk_buff *skb, __u32 slot)
{
	__u32 zero = 0;
	struct room *room = bpf_map_lookup_elem(&rooms, &zero);

	if (!room)
		return -1;
	host->nat = bpf_map_lookup_elem(&nat_rooms, &zero);
	if (!host->nat)
		return -1;
	host->skb = skb;
	host->room = room;
	host->packet = &room->packet;
	host->slot = slot & 1;
	return host_open_slot(host);
}

__noinline int step_proof(struct __sk_buff *skb, struct room *room, __u32 ethernet)
{
	return room ? proof_of_frame(skb, ethernet, (const __u64 *)control.proof_keys, &room->proof) : -1;
}

__noinline int step_packet_proof(struct room *room)
{
	return room ? (int)proof_of_packet(&room->packet, (const __u64 *)control.proof_keys) : 0;
}

static __always_inline __u32 host_packet_proof(host_t *host)
{
	return (__u32)step_packet_proof(host->room);
}

static __always_inline int host_frame_proof(host_t *host, struct __sk_buff *skb, __u32 ethernet,
					    __u32 *proof)
{
	if (step_proof(skb, host->room, ethernet))
		return -1;
	*proof = host->room->proof;
	return 0;
}

__noinline int step_event(struct room *room, __u32 kind)
{
	struct statistics *row;
	struct event *event;
	__u32 zero = 0;

	if (!room)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		row = bpf_map_lookup_elem(&stats, &zero);
		if (row)
			row->count[STAT_EVENT_LOST]++;
		return 0;
	}
	event_fill(event, kind, &room->packet, &room->judgement, bpf_ktime_get_ns());
	bpf_ringbuf_submit(event, 0);
	return 0;
}

__noinline __u32 step_ask(struct room *room, __u32 slot, __u32 ref)
{
	host_t host;

	if (!room || host_reopen(&host, 0, slot))
		return REF_NONE;
	return set_ask(&host, ref);
}

static __always_inline __u32 host_ask(host_t *host, __u32 ref)
{
	return step_ask(host->room, host->slot, ref);
}

/* 1: it is in the set now; 0: it was before; negative: it is not. */
static __always_inline int set_take(__u32 place, const struct set_key *key)
{
	__u64 now, expires = SET_NEVER, *found;
	void *set;
	struct set_head *head = set_open(place, &set);

	if (!head)
		return -1;
	now = bpf_ktime_get_coarse_ns();
	if (head->timeout)
		expires = now + head->timeout;
	found = bpf_map_lookup_elem(set, key);
	if (found) {
		__u64 before = *(volatile __u64 *)found;

		if (set_expired(before, now)) {
			*(volatile __u64 *)found = expires;
			return 1;
		}
		*(volatile __u64 *)found = set_longer(before, expires);
		return 0;
	}
	if (!bpf_map_update_elem(set, key, &expires, BPF_ANY))
		return 1;
	__sync_fetch_and_add(&head->refused, 1);
	set_sweep_start(head);
	return -1;
}

__noinline int step_set_add(struct room *room, __u32 slot, __u32 add)
{
	struct statistics *row;
	struct set_key key;
	const __u32 *word;
	__u32 zero = 0;
	int taken;

	if (!room)
		return 0;
	word = room->packet.fields.word;
	set_key_whole(&key, IMAGE_ADD_FIELD(add) == FIELD_DST ? &word[FIELD_DST] : &word[FIELD_SRC],
		      word[FIELD_FAMILY]);
	taken = set_take(set_place(slot, IMAGE_ADD_SET(add)), &key);
	row = bpf_map_lookup_elem(&stats, &zero);
	if (row && taken)
		row->count[taken > 0 ? STAT_SET_ADDED : STAT_SET_FULL]++;
	return 0;
}

static __always_inline void host_set_add(host_t *host, __u32 add)
{
	step_set_add(host->room, host->slot, add);
}

__noinline int step_spoofed(struct __sk_buff *skb, struct room *room, __u32 slot)
{
	host_t host;

	if (!room || host_reopen(&host, skb, slot))
		return 0;
	return judge_spoofed(&host, &room->judgement);
}

static __always_inline int host_spoofed(host_t *host, struct judgement *j)
{
	return host->header->hygiene ? step_spoofed(host->skb, host->room, host->slot) : 0;
}

static long mss_search_next(__u32 i, struct mss_search *search)
{
	return mss_search_step(search);
}

static __always_inline void host_mss_search(struct mss_search *search)
{
	bpf_loop(TCP_OPTIONS_MAX, mss_search_next, search, 0);
}

__noinline int step_clean(struct __sk_buff *skb, struct room *room, __u32 slot, __u32 ethernet)
{
	host_t host;

	if (!room || host_reopen(&host, skb, slot))
		return 0;
	hygiene_depart(&host, skb, ethernet);
	return 0;
}

static __always_inline void host_clean(host_t *host, struct __sk_buff *skb, __u32 ethernet)
{
	step_clean(skb, host->room, host->slot, ethernet);
}

__noinline int step_recheck(struct room *room, __u32 slot, __u32 unreplied)
{
	struct found found = { 0 };
	struct flow_key *key;
	host_t host;

	if (!room || host_reopen(&host, 0, slot))
		return -1;
	key = &host.room->key;
	found.embryonic = unreplied;
	found.flow = unreplied ? host_embryonic_find(&host, key) : host_flow_find(&host, key);
	if (!found.flow)
		return -1;
	/* Of a translated flow the key is not the packet's, and the direction does not matter. */
	if (!(found.flow->flags & FLOW_TRANSLATED)) {
		found.sender_high = (__u32)flow_key_make(host.packet, key);
		if (found.sender_high != (found.flow->flags & FLOW_ORIGIN_HIGH))
			found.direction = DIRECTION_REPLY;
	}
	return flow_recheck(&host, key, &found);
}

static __always_inline struct flow_key *host_key(host_t *host)
{
	return &host->room->key;
}

static __always_inline int host_recheck(host_t *host, const struct flow_key *key,
					struct found *found)
{
	if (!step_recheck(host->room, host->slot, found->embryonic))
		return 0;
	found->flow = 0;
	return -1;
}

enum search_result {
	SEARCH_FOUND = 1,
	SEARCH_EMBRYONIC = 2,
	SEARCH_REPLY = 4,
	SEARCH_ELSEWHERE = 8, /* not under the packet's own tuple */
};

/* `own` tells where the flow of the packet's own tuple is, if there is one: SEARCH_FOUND, SEARCH_EMBRYONIC. */
__noinline int step_translated_search(struct room *room, __u32 slot, __u32 own)
{
	struct found found = { 0 };
	struct flow *flow = 0;
	host_t host;

	if (!room || host_reopen(&host, 0, slot))
		return 0;
	if (own)
		flow = own & SEARCH_EMBRYONIC ? host_embryonic_find(&host, &host.room->key) :
						host_flow_find(&host, &host.room->key);
	found.flow = flow;
	found.embryonic = own & SEARCH_EMBRYONIC;
	if (!translated_search(&host, &host.room->key, &found, host_now(&host)))
		return 0;
	return SEARCH_FOUND | (found.embryonic ? SEARCH_EMBRYONIC : 0) |
	       (found.direction ? SEARCH_REPLY : 0) | (found.flow != flow ? SEARCH_ELSEWHERE : 0);
}

static __always_inline int host_translated_search(host_t *host, struct flow_key *key,
						  struct found *found)
{
	__u32 own = found->flow ? SEARCH_FOUND | (found->embryonic ? SEARCH_EMBRYONIC : 0) : 0;
	int result = step_translated_search(host->room, host->slot, own);

	if (!(result & SEARCH_FOUND))
		return 0;
	if (result & SEARCH_ELSEWHERE)
		found->flow = result & SEARCH_EMBRYONIC ? host_embryonic_find(host, key) :
							  host_flow_find(host, key);
	if (!found->flow)
		return 0;
	found->embryonic = !!(result & SEARCH_EMBRYONIC);
	found->direction = !!(result & SEARCH_REPLY);
	return 1;
}

/* What needs no image: the room and the tables alone. */
static __always_inline struct room *host_light(host_t *host)
{
	__u32 zero = 0;
	struct room *room = bpf_map_lookup_elem(&rooms, &zero);

	host->nat = bpf_map_lookup_elem(&nat_rooms, &zero);
	if (!room || !host->nat)
		return 0;
	host->packet = &room->packet;
	return room;
}

__noinline int step_nat_tuples(void)
{
	host_t host;
	struct room *room = host_light(&host);

	return room ? nat_tuples(&host, &room->key) : -1;
}

static __always_inline int host_nat_tuples(host_t *host, struct flow_key *key)
{
	return step_nat_tuples();
}

__noinline int step_nat_source(struct room *room, __u32 slot)
{
	host_t host;

	if (!room || host_reopen(&host, 0, slot))
		return -1;
	return nat_source(&host, &host.room->judgement);
}

static __always_inline int host_nat_source(host_t *host, const struct judgement *j)
{
	return step_nat_source(host->room, host->slot);
}

__noinline int step_nat_taken(void)
{
	host_t host;
	struct room *room = host_light(&host);

	return room ? nat_taken(&host, &room->key) : 1;
}

static __always_inline int host_nat_taken(host_t *host, const struct flow_key *key)
{
	return step_nat_taken();
}

__noinline int step_nat_key(void)
{
	host_t host;

	return host_light(&host) ? nat_key(&host) : -1;
}

static __always_inline int host_nat_key(host_t *host)
{
	return step_nat_key();
}

__noinline int step_nat_take(void)
{
	host_t host;

	return host_light(&host) ? nat_take(&host) : 0;
}

static __always_inline int host_nat_take(host_t *host)
{
	return step_nat_take();
}

__noinline int step_nat_middle(void)
{
	host_t host;
	struct room *room = host_light(&host);

	return room ? nat_middle(&host, &room->key) : -1;
}

static __always_inline int host_nat_middle(host_t *host, const struct flow_key *key)
{
	return step_nat_middle();
}

static long port_search_next(__u32 i, struct nat_room **nat)
{
	host_t host;

	host.nat = *nat;
	return port_search_step(&host);
}

__noinline int step_port_search(void)
{
	struct nat_room *nat;
	__u32 zero = 0;

	nat = bpf_map_lookup_elem(&nat_rooms, &zero);
	if (nat)
		bpf_loop(PORT_TRIES, port_search_next, &nat, 0);
	return 0;
}

static __always_inline void host_port_search(host_t *host)
{
	step_port_search();
}

static __always_inline int host_nat_begin(host_t *host, struct flow_key *key,
					  struct judgement *j)
{
	return nat_begin(host, &host->room->key, j);
}

__noinline int step_forward(struct room *room, __u32 slot, __u32 leaves)
{
	host_t host;

	if (!room || host_reopen(&host, 0, slot))
		return 0;
	return judge_forward(&host, leaves);
}

static __always_inline int host_forward(host_t *host, __u32 leaves)
{
	return step_forward(host->room, host->slot, leaves);
}


/* An error that quotes a packet is read by a function of its own: the stack is short. */
__noinline int step_quoted(struct __sk_buff *skb, struct room *room)
{
	return room ? quoted_parse(skb, &room->packet, &room->quoted) : -1;
}

static __always_inline const struct quoted *host_quoted(host_t *host)
{
	return &host->room->quoted;
}

static __always_inline const struct quoted *host_quoted_read(host_t *host)
{
	return &host->room->quoted;
}

__noinline int step_related_translated(void)
{
	struct found found = { 0 };
	host_t host;
	struct room *room = host_light(&host);

	if (!room)
		return 0;
	host.room = room;
	if (!related_translated(&host, &found))
		return 0;
	return SEARCH_FOUND | (found.direction ? SEARCH_REPLY : 0);
}

static __always_inline int host_related_translated(host_t *host, __u32 *travels)
{
	int result = step_related_translated();

	*travels = !!(result & SEARCH_REPLY);
	return result & SEARCH_FOUND;
}

__noinline int step_related(struct room *room, __u32 slot, __u32 tags)
{
	host_t host;

	if (!room || host_reopen(&host, 0, slot))
		return 0;
	return judge_related(&host, &room->judgement, tags & 0xffff, tags >> 16);
}

static __always_inline int host_related(host_t *host, struct judgement *j, __u32 from_tag,
					__u32 to_tag)
{
	return !step_quoted(host->skb, host->room) &&
	       step_related(host->room, host->slot, (from_tag & 0xffff) | to_tag << 16);
}

__noinline int step_fragment_follow(struct room *room, __u32 slot)
{
	host_t host;

	if (!room || host_reopen(&host, 0, slot))
		return 0;
	return fragment_follow(&host, &room->judgement);
}

static __always_inline int host_fragment_follow(host_t *host, struct judgement *j)
{
	return step_fragment_follow(host->room, host->slot);
}

__noinline int step_fragment_note(struct room *room, __u32 slot, __u32 tags)
{
	host_t host;

	if (!room || host_reopen(&host, 0, slot))
		return 0;
	fragment_note(&host, &room->judgement, tags & 0xffff, tags >> 16);
	return 0;
}

static __always_inline void host_fragment_note(host_t *host, struct judgement *j, __u32 from_tag,
					       __u32 to_tag)
{
	step_fragment_note(host->room, host->slot, (from_tag & 0xffff) | to_tag << 16);
}

__noinline int step_fragment_translate(__u32 from_tag)
{
	host_t host;

	if (host_light(&host))
		fragment_translate(&host, from_tag);
	return 0;
}

static __always_inline void host_fragment_translate(host_t *host, __u32 from_tag)
{
	step_fragment_translate(from_tag);
}

__noinline int step_fragment_note_arrival(__u32 from_tag)
{
	host_t host;

	if (host_light(&host))
		fragment_note_arrival(&host, from_tag);
	return 0;
}

static __always_inline void host_fragment_note_arrival(host_t *host, __u32 from_tag)
{
	step_fragment_note_arrival(from_tag);
}

/* What a search is handed must be on the stack, and there is little of that. */
struct place_search {
	struct admission *admission;
};

static long place_search_next(__u32 i, struct place_search *search)
{
	host_t *none = 0; /* nothing is asked of it */

	return place_search_step(none, search->admission);
}

static __always_inline void host_place_search(host_t *host, struct admission *admission)
{
	struct place_search search = { admission };

	bpf_loop(PLACES_LOOKED_AT, place_search_next, &search, 0);
}

__noinline int step_place(struct room *room, __u32 slot, __u32 ref, __u32 taken)
{
	host_t host;

	if (!room || host_reopen(&host, 0, slot))
		return 0;
	return limit_place(&host, &host.room->judgement, ref, taken);
}

__noinline __u32 step_rate(struct room *room, __u32 slot, __u32 ref, __u32 place)
{
	host_t host;

	if (!room || host_reopen(&host, 0, slot))
		return REF_NONE;
	return limit_rate(&host, ref, place);
}

static __always_inline __u32 host_admit(host_t *host, struct judgement *j, __u32 ref, __u32 taken)
{
	return step_rate(host->room, host->slot, ref,
			 (__u32)step_place(host->room, host->slot, ref, taken));
}

/* By itself, so that its loop is verified once. */
__noinline __u32 step_find(struct room *room, __u32 slot, __u32 kind, __u32 taken)
{
	host_t host;

	if (!room)
		return RULE_NONE;
	host.room = room;
	host.packet = &room->packet;
	host.slot = slot;
	return rule_find(&host, &room->judgement, kind, taken);
}

static __always_inline __u32 host_find(host_t *host, struct judgement *j, enum walk_kind kind,
				       __u32 taken)
{
	return step_find(host->room, host->slot, kind, taken);
}

__noinline int step_rules(struct __sk_buff *skb, struct room *room, __u32 slot, __u32 taken,
			  __u32 replace)
{
	struct found found = { .taken = taken, .replace = replace };
	host_t host;

	if (!room || host_reopen(&host, skb, slot))
		return 0;
	found.sender_high = (__u32)flow_key_make(host.packet, &host.room->key);
	judge_by_rules(&host, &host.room->key, &found, &host.room->judgement);
	return 0;
}

static __always_inline void host_rules(host_t *host, struct flow_key *key,
				       const struct found *found, struct judgement *j)
{
	j->outcome = OUTCOME_DROP; /* whatever happens */
	step_rules(host->skb, host->room, host->slot, found->taken, found->replace);
}

#include "engine/bpf/translate.bpf.h"

#endif
