// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The core's host in the kernel: how the tc programs read packets, images, flows and clocks.
 *
 * Included once, by reeve.bpf.c. Big steps (parse, classify) are functions of their own, so that
 * the verifier looks at each once.
 */
#ifndef REEVE_ENGINE_BPF_HOST_BPF_H
#define REEVE_ENGINE_BPF_HOST_BPF_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "core/bucket.h"
#include "core/field.h"
#include "core/image.h"
#include "core/event.h"
#include "core/flow.h"
#include "core/nat_record.h"
#include "engine/bpf/maps.h"
#include "engine/bpf/set_member.bpf.h"

#define AF_INET 2
#define AF_INET6 10
#define READ_DIRECT_MAX 0x4000u /* offsets up to here are read from linear data */

#ifndef memcpy
#define memcpy(to, from, length) __builtin_memcpy(to, from, length)
#endif
#ifndef memset
#define memset(to, byte, length) __builtin_memset(to, byte, length)
#endif

typedef struct __sk_buff host_packet_t;

/* Can a tc program look at its device (Linux 6.2)? The loader finds out by trying. */
const volatile __u32 know_namespace;

extern void *bpf_cast_to_kern_ctx(void *skb) __ksym __weak;

/* Only what is read, found by name in the kernel's BTF. */
struct net {
	__u64 net_cookie;
} __attribute__((preserve_access_index));

typedef struct {
	struct net *net;
} __attribute__((preserve_access_index)) possible_net_t;

struct net_device {
	possible_net_t nd_net;
} __attribute__((preserve_access_index));

struct sk_buff {
	struct net_device *dev;
} __attribute__((preserve_access_index));


/* Linear data if it reaches that far, otherwise through the helper, which also sees paged data. */
static __always_inline int host_read(host_packet_t *skb, __u32 offset, void *to, __u32 length)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u64 start = offset;

	/*
	 * One register for the check and for the use, or the verifier does not see that they are
	 * the same.
	 */
	asm volatile("" : "+r"(start));
	if (start < READ_DIRECT_MAX) {
		void *from = data + start;

		asm volatile("" : "+r"(from));
		if (from + length <= end) {
			/* Whole words: headers are aligned as well as the kernel can. */
			memcpy(__builtin_assume_aligned(to, 4),
			       __builtin_assume_aligned(from, 4), length);
			return 0;
		}
	}
	return (int)bpf_skb_load_bytes(skb, offset, to, length);
}

/* Linear data in place. */
static __always_inline const void *host_peek(host_packet_t *skb, __u32 offset, __u32 length)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	return data + offset + length <= end ? data + offset : 0;
}

static __always_inline int host_read_paged(host_packet_t *skb, __u32 offset, void *to, __u32 length)
{
	return (int)bpf_skb_load_bytes(skb, offset, to, length);
}

#include "core/frame.h"

static long scale_search_next(__u32 i, struct scale_search *search)
{
	return scale_search_step(search);
}

static __always_inline void host_scale_search(struct scale_search *search)
{
	bpf_loop(TCP_OPTIONS_MAX, scale_search_next, search, 0);
}

static __always_inline void host_edit_ipv4(struct __sk_buff *skb, __u32 l3, __u32 at, be16 from,
					   be16 to)
{
	bpf_l3_csum_replace(skb, l3 + __builtin_offsetof(struct wire_ipv4, checksum), from, to,
			    sizeof(to));
	bpf_skb_store_bytes(skb, l3 + at, &to, sizeof(to), 0);
}

/* Where the checksum is still to be made (CHECKSUM_PARTIAL) the helper leaves it alone. */
static __always_inline void host_edit_tcp(struct __sk_buff *skb, __u32 l4, __u32 at, be16 from,
					  be16 to)
{
	__u16 was = at & 1 ? from_be16(from) : from, is = at & 1 ? from_be16(to) : to;

	bpf_l4_csum_replace(skb, l4 + __builtin_offsetof(struct wire_tcp, checksum), was, is,
			    sizeof(to));
	bpf_skb_store_bytes(skb, l4 + at, &to, sizeof(to), 0);
}

static __always_inline void host_edit_hop_limit(struct __sk_buff *skb, __u32 offset, __u8 value)
{
	bpf_skb_store_bytes(skb, offset, &value, sizeof(value), BPF_F_RECOMPUTE_CSUM);
}

#include "engine/bpf/image.bpf.h"

#include "engine/bpf/tables.bpf.h"

typedef struct {
	struct __sk_buff *skb;
	struct room *room; /* packet is in it */
	struct packet *packet;
	struct nat_room *nat;
	const struct image_header *header;
	host_image_t image;
	struct statistics *stats;
	__u32 slot;
} host_t;

#include "core/judgement.h"
#include "core/quoted.h"
#include "core/track.h"

static __always_inline __u64 host_now(host_t *host)
{
	return bpf_ktime_get_coarse_ns();
}

#include "engine/bpf/count.bpf.h"

static __always_inline int host_set_member(host_t *host, __u32 set, __u32 field)
{
	const __u32 *word = host->packet->fields.word;

	return set_member(set_place(host->slot, set),
			  field == FIELD_DST ? &word[FIELD_DST] : &word[FIELD_SRC],
			  word[FIELD_FAMILY]);
}

static __always_inline __u32 host_walk(host_t *host, enum walk_kind kind, __u32 from)
{
	return classify(host->packet, host->slot, kind, from);
}

struct zone_context {
	host_image_t image;
	const struct image_header *header;
	struct zone_search search;
};

static long zone_next(__u32 i, struct zone_context *context)
{
	return zone_search_step(&context->image, context->header, &context->search, i);
}

/* By itself: its context would take too much of its callers' stack. */
__noinline int zone_of(__u32 slot, __u32 tag)
{
	struct zone_context context = { .search = { tag, ZONE_UNKNOWN } };
	__u32 zero = 0;

	context.image.pages = bpf_map_lookup_elem(&images, &slot);
	if (!context.image.pages)
		return ZONE_UNKNOWN;
	context.header = bpf_map_lookup_elem(context.image.pages, &zero);
	if (!context.header)
		return ZONE_UNKNOWN;
	context.image.base = context.header;
	bpf_loop(ZONES_MAX, zone_next, &context, 0);
	return (int)context.search.zone;
}

static __always_inline __u32 host_zone(host_t *host, __u32 tag)
{
	return (__u32)zone_of(host->slot, tag);
}

static __always_inline const struct image_rule *host_image_rule(host_t *host, __u32 rule)
{
	return host_unit(&host->image, host->header->rule_table + rule);
}

/*
 * Inserts before it deletes, and deletes only what it has inserted: whoever else fetches the same
 * flow at this moment, in whichever direction, one record stays.
 */
static __always_inline void fetch(void *outer, void *own, const struct flow_key *key)
{
	struct flow *flow;
	__u32 zero = 0;
	void *other;

	if (bpf_map_lookup_elem(own, key))
		return;
	other = bpf_map_lookup_elem(outer, &zero);
	if (!other)
		return;
	flow = bpf_map_lookup_elem(other, key);
	if (flow && !bpf_map_update_elem(own, key, flow, BPF_NOEXIST))
		bpf_map_delete_elem(other, key);
}

__noinline int step_fetch(const struct flow_key *wanted)
{
	struct flow_key *key;
	__u32 zero = 0;

	key = bpf_map_lookup_elem(&fetch_keys, &zero);
	if (!wanted || !key)
		return 0;
	*key = *wanted;
	fetch(&other_flows, &flows, key);
	fetch(&other_embryonic, &embryonic, key);
	return 0;
}

static __always_inline void host_flow_fetch(host_t *host, const struct flow_key *key)
{
	if (*(volatile __u32 *)&control.moving == MOVING_FLOWS)
		step_fetch(key);
}

static __always_inline struct flow *host_flow_find(host_t *host, const struct flow_key *key)
{
	return bpf_map_lookup_elem(&flows, key);
}

static __always_inline struct flow *host_embryonic_find(host_t *host, const struct flow_key *key)
{
	return bpf_map_lookup_elem(&embryonic, key);
}

static __always_inline const struct flow *host_flow_elsewhere(host_t *host,
							      const struct flow_key *key)
{
	const struct flow *flow;
	__u32 zero = 0;
	void *other;

	if (*(volatile __u32 *)&control.moving != MOVING_FLOWS)
		return 0;
	other = bpf_map_lookup_elem(&other_flows, &zero);
	flow = other ? bpf_map_lookup_elem(other, key) : 0;
	if (flow)
		return flow;
	other = bpf_map_lookup_elem(&other_embryonic, &zero);
	return other ? bpf_map_lookup_elem(other, key) : 0;
}

static __always_inline void host_flow_delete(host_t *host, const struct flow_key *key)
{
	bpf_map_delete_elem(&flows, key);
}

static __always_inline void host_embryonic_delete(host_t *host, const struct flow_key *key)
{
	bpf_map_delete_elem(&embryonic, key);
}

static __always_inline const struct fragment *host_fragment_find(host_t *host,
								 const struct fragment_key *key)
{
	return bpf_map_lookup_elem(&fragments, key);
}

static __always_inline void host_fragment_put(host_t *host, const struct fragment_key *key,
					      const struct fragment *fragment)
{
	bpf_map_update_elem(&fragments, key, fragment, BPF_ANY);
}

#include "engine/bpf/rate.bpf.h"

static __always_inline struct tally *host_tally(host_t *host, const struct limit_key *key)
{
	struct tally zero = { 0 };

	return value_get(&tallies, key, &zero);
}

static __always_inline const struct place *host_place(host_t *host, const struct limit_key *key)
{
	return bpf_map_lookup_elem(&places, key);
}

static __always_inline int host_place_put(host_t *host, const struct limit_key *key,
					  const struct place *place)
{
	return (int)bpf_map_update_elem(&places, key, place, BPF_ANY);
}

#include "engine/bpf/sweep.bpf.h"

static __always_inline struct nat_room *host_nat(host_t *host)
{
	return host->nat;
}

static __always_inline int host_translates(host_t *host)
{
	return *(volatile __u32 *)&control.translates;
}

static __always_inline struct translated_tuple *host_translated_find(host_t *host,
							       const struct flow_key *key)
{
	return bpf_map_lookup_elem(&translations, key);
}

static __always_inline int host_translated_add(host_t *host, const struct flow_key *key,
					       const struct translated_tuple *entry)
{
	long error = bpf_map_update_elem(&translations, key, entry, BPF_NOEXIST);

	if (error == -7 /* E2BIG: full */)
		sweep_start();
	return (int)error;
}

static __always_inline const struct pending *host_pending_find(host_t *host,
							       const struct flow_key *key)
{
	return bpf_map_lookup_elem(&pendings, key);
}

static __always_inline void host_pending_put(host_t *host, const struct flow_key *key,
					     const struct pending *value)
{
	bpf_map_update_elem(&pendings, key, value, BPF_ANY);
}

static __always_inline const struct image_translation *host_translation(host_t *host, __u32 number)
{
	if (number >= host->header->translation_n)
		return 0;
	return host_pair(&host->image, host->header->translations + number * 2);
}

static __always_inline __u32 host_random32(host_t *host)
{
	return bpf_get_prandom_u32();
}

static __always_inline int host_flow_promote(host_t *host, const struct flow_key *key,
					     const struct flow *flow)
{
	long error = bpf_map_update_elem(&flows, key, flow, BPF_NOEXIST);

	/* Another CPU may have been first: then it is there, which is what counts. */
	if (error && error != -17 /* EEXIST */) {
		sweep_start();
		return -1;
	}
	bpf_map_delete_elem(&embryonic, key);
	return 0;
}

static __always_inline int host_flow_create(host_t *host, const struct flow_key *key,
					    const struct judgement *j, __u32 state,
					    __u32 sender_high,
					    const struct translation *to)
{
	struct packet *p = host->packet;
	struct flow *flow;
	__u32 zero = 0;

	flow = bpf_map_lookup_elem(&scratch, &zero);
	if (!flow)
		return -1;
	flow_fill(flow, p, j, state, sender_high, to, host_now(host));
	return bpf_map_update_elem(&embryonic, key, flow, BPF_ANY) ? -1 : 0;
}

/* For this host or not: the kernel's own routing is asked, for the packet as it arrived. */
static __noinline int route(struct __sk_buff *skb, struct packet *p, __u32 *leaves)
{
	struct bpf_fib_lookup fib = {};
	long result;
	__u32 i;

	fib.ifindex = skb->ifindex;
	fib.l4_protocol = (__u8)p->fields.word[FIELD_PROTOCOL];
	if (p->flags & PACKET_PORTS) {
		fib.sport = bpf_htons((__u16)p->fields.word[FIELD_SRC_PORT]);
		fib.dport = bpf_htons((__u16)p->fields.word[FIELD_DST_PORT]);
	}
	if (p->fields.word[FIELD_FAMILY] == 4) {
		fib.family = AF_INET;
		fib.tos = (__u8)(p->fields.word[FIELD_DSCP] << 2);
		fib.ipv4_src = bpf_htonl(p->fields.word[FIELD_SRC]);
		fib.ipv4_dst = bpf_htonl(p->fields.word[FIELD_DST]);
	} else {
		fib.family = AF_INET6;
#pragma clang loop unroll(full)
		for (i = 0; i < 4; i++) {
			fib.ipv6_src[i] = bpf_htonl(p->fields.word[FIELD_SRC + i]);
			fib.ipv6_dst[i] = bpf_htonl(p->fields.word[FIELD_DST + i]);
		}
	}
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	/*
	 * One that is too large for the way on is forwarded too: its sender must hear so from the
	 * kernel.
	 */
	*leaves = fib.ifindex;
	return result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH ||
			       result == BPF_FIB_LKUP_RET_UNSUPP_LWT ||
			       result == BPF_FIB_LKUP_RET_FRAG_NEEDED ?
		       ROUTE_FORWARD : ROUTE_SELF;
}

static __always_inline enum route host_route(host_t *host, __u32 *leaves)
{
	return (enum route)route(host->skb, host->packet, leaves);
}

/* The way back: as a packet from here to the source of this one would be sent (core/hygiene.h). */
static __noinline int way_back(struct __sk_buff *skb, struct packet *p, __u32 *ifindex)
{
	/* The kernel tells no routes from an address of the link, nor from a group. */
	__u32 nowhere = (p->flags & PACKET_GROUP) ||
			(p->fields.word[FIELD_FAMILY] == 6 &&
			 p->fields.word[FIELD_DST] >> 22 == 0xfe80 >> 6);
	struct bpf_fib_lookup fib = {};
	long result;
	__u32 i;

	fib.ifindex = skb->ifindex;
	fib.l4_protocol = (__u8)p->fields.word[FIELD_PROTOCOL];
	if (p->flags & PACKET_PORTS) {
		fib.sport = bpf_htons((__u16)p->fields.word[FIELD_DST_PORT]);
		fib.dport = bpf_htons((__u16)p->fields.word[FIELD_SRC_PORT]);
	}
	if (p->fields.word[FIELD_FAMILY] == 4) {
		fib.family = AF_INET;
		fib.tos = (__u8)(p->fields.word[FIELD_DSCP] << 2);
		if (!nowhere)
			fib.ipv4_src = bpf_htonl(p->fields.word[FIELD_DST]);
		fib.ipv4_dst = bpf_htonl(p->fields.word[FIELD_SRC]);
	} else {
		fib.family = AF_INET6;
#pragma clang loop unroll(full)
		for (i = 0; i < 4; i++) {
			if (!nowhere)
				fib.ipv6_src[i] = bpf_htonl(p->fields.word[FIELD_DST + i]);
			fib.ipv6_dst[i] = bpf_htonl(p->fields.word[FIELD_SRC + i]);
		}
	}
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	*ifindex = fib.ifindex;
	if (result < 0 || result == BPF_FIB_LKUP_RET_FWD_DISABLED)
		return -1; /* a host that does not forward is not told */
	return result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH ||
	       result == BPF_FIB_LKUP_RET_UNSUPP_LWT || result == BPF_FIB_LKUP_RET_FRAG_NEEDED;
}

static __always_inline int host_way_back(host_t *host, __u32 *ifindex)
{
	return way_back(host->skb, host->packet, ifindex);
}

static __always_inline __u32 host_mtu(host_t *host, struct __sk_buff *skb, __u32 ifindex)
{
	__u32 mtu = 0;

	bpf_check_mtu(skb, ifindex, &mtu, 0, 0);
	return mtu;
}

int step_event(struct room *room, __u32 kind);

/* Events are made only while somebody reads them: nobody pays for what nobody sees. */
static __always_inline void host_event(host_t *host, enum event_kind kind,
				       const struct judgement *j)
{
	if (control.watch_until > bpf_ktime_get_coarse_ns())
		step_event(host->room, kind);
}

static __always_inline void host_log(host_t *host, __u32 sample, const struct judgement *j)
{
	if (sample > 1 && bpf_get_prandom_u32() % sample)
		return;
	host_event(host, EVENT_LOG, j);
}

/* A global function: verified once, whoever calls it. */
__noinline int parse(struct __sk_buff *skb, struct packet *p, __u32 ethernet, __u32 arriving)
{
	if (!p)
		return FRAME_OTHER;
	return frame_parse(skb, p, ethernet, arriving);
}

static __always_inline int host_parse(struct __sk_buff *skb, struct packet *p, __u32 ethernet,
				      __u32 arriving)
{
	return parse(skb, p, ethernet, arriving);
}

static __always_inline int host_start(host_t *host)
{
	host->slot = *(volatile __u32 *)&control.active & 1;
	return 0;
}

static __always_inline void host_count_open(host_t *host)
{
	__u32 zero = 0;

	host->stats = bpf_map_lookup_elem(&stats, &zero);
}

/*
 * The coarse clock moves with the kernel's ticks: within one tick there is no need to ask again.
 * After host_count_open().
 */
static __always_inline __u64 host_now_quick(host_t *host)
{
	struct statistics *row = host->stats;
	__u64 tick = bpf_jiffies64();

	if (!row)
		return bpf_ktime_get_coarse_ns();
	if (row->tick != tick) {
		row->tick = tick;
		row->now = bpf_ktime_get_coarse_ns();
	}
	return row->now;
}

static __always_inline __u32 host_tag(host_t *host, __u32 ifindex)
{
	return ifindex < INTERFACES_NEAR ?
		       control.tags[host->slot & 1][ifindex] & ~TAG_SCRUBBED : 0;
}

static __always_inline int host_scrubs(host_t *host, __u32 ifindex)
{
	return ifindex >= INTERFACES_NEAR ||
	       (control.tags[host->slot & 1][ifindex] & TAG_SCRUBBED);
}

static __always_inline int host_clamps(host_t *host)
{
	return control.slot[host->slot & 1].clamps != 0;
}

static __always_inline __u32 host_mark_shift(host_t *host)
{
	return control.slot[host->slot & 1].mark_shift & 31;
}

static __always_inline int host_open_slot(host_t *host)
{
	__u32 zero = 0, slot; /* not host->slot: what the address is taken of lives on the stack */

	host_count_open(host);
	slot = host->slot;
	host->image.pages = bpf_map_lookup_elem(&images, &slot);
	if (!host->image.pages)
		return -1;
	host->header = bpf_map_lookup_elem(host->image.pages, &zero);
	if (!host->header)
		return -1;
	host->image.base = host->header;
	host->image.page = 0;
	return 0;
}

static __always_inline int host_open(host_t *host)
{
	return host_start(host) ? -1 : host_open_slot(host);
}

/*
 * Programs travel with their device. The device tells its namespace; a helper would tell that of
 * the packet's socket, which arriving packets do not have.
 */
static __always_inline int host_foreign(host_t *host, struct __sk_buff *skb)
{
	struct sk_buff *inside;

	if (!know_namespace)
		return 0;
	inside = bpf_cast_to_kern_ctx(skb);
	return inside->dev->nd_net.net->net_cookie != control.cookie;
}

static __always_inline __u32 host_generation(host_t *host)
{
	return control.slot[host->slot & 1].generation;
}

static __always_inline __u32 host_flows_since(host_t *host)
{
	return control.slot[host->slot & 1].flows_since;
}

static __always_inline const __u64 *host_proof_keys(host_t *host)
{
	return (const __u64 *)control.proof_keys;
}

static __always_inline __u32 host_witness(host_t *host)
{
	return control.witness & 0xffff;
}

static __always_inline void host_set_hash(struct __sk_buff *skb, __u32 hash)
{
	bpf_set_hash(skb, hash);
}

static __always_inline const __u64 *host_asked(host_t *host, __u32 ifindex)
{
	return bpf_map_lookup_elem(&asked, &ifindex);
}

static __always_inline void host_asks(host_t *host, __u32 ifindex, __u64 now)
{
	bpf_map_update_elem(&asked, &ifindex, &now, BPF_ANY);
}

#include "core/checkpoint.h"
#include "core/quick.h"

_Static_assert(sizeof(control.proof_keys) >= PROOF_KEYS * sizeof(__u64), "proof keys");

#endif
