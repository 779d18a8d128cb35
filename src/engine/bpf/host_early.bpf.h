// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The core's host at XDP: a frame as the driver has received it, before the kernel has made a packet
 * of it.
 *
 * The parser is that of the tc programs; what is read of struct __sk_buff there is said here by
 * struct early_frame: one packet, nothing taken out of the frame, of the link layer what the
 * destination address says. Data beyond the linear part (multi-buffer frames) is read by the helper.
 *
 * Included once, by early.bpf.c.
 */
#ifndef REEVE_ENGINE_BPF_HOST_EARLY_BPF_H
#define REEVE_ENGINE_BPF_HOST_EARLY_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "core/bucket.h"
#include "core/event.h"
#include "core/field.h"
#include "core/image.h"
#include "engine/bpf/maps.h"
#include "engine/bpf/set_member.bpf.h"

#define TOLD_IN_A_TICK 16 /* events of drops, of each CPU: some thousands a second */
#define READ_DIRECT_MAX 0x4000u /* offsets up to here are read from linear data */

#ifndef memcpy
#define memcpy(to, from, length) __builtin_memcpy(to, from, length)
#endif
#ifndef memset
#define memset(to, byte, length) __builtin_memset(to, byte, length)
#endif

struct early_frame {
	struct xdp_md *xdp;
	__u32 len, pkt_type, protocol;
	__u32 vlan_present, vlan_tci, gso_size, gso_segs;
};

typedef struct early_frame host_packet_t;

/* Can an XDP program look at its device (Linux 6.2)? The loader finds out by trying. */
const volatile __u32 know_namespace;

extern void *bpf_cast_to_kern_ctx(void *xdp) __ksym __weak;

/* Only what is read, found by name in the kernel's BTF. */
struct netns_ipv4 {
	__u8 sysctl_tcp_syncookies, sysctl_tcp_timestamps, sysctl_tcp_sack,
		sysctl_tcp_window_scaling;
} __attribute__((preserve_access_index));

struct net {
	__u64 net_cookie;
	struct netns_ipv4 ipv4;
} __attribute__((preserve_access_index));

typedef struct {
	struct net *net;
} __attribute__((preserve_access_index)) possible_net_t;

struct net_device {
	possible_net_t nd_net;
	const unsigned char *dev_addr;
} __attribute__((preserve_access_index));

struct xdp_rxq_info {
	struct net_device *dev;
} __attribute__((preserve_access_index));

struct xdp_buff {
	struct xdp_rxq_info *rxq;
} __attribute__((preserve_access_index));

static __always_inline int host_read_paged(host_packet_t *frame, __u32 offset, void *to,
					   __u32 length)
{
	return (int)bpf_xdp_load_bytes(frame->xdp, offset, to, length);
}

static __always_inline int host_read(host_packet_t *frame, __u32 offset, void *to, __u32 length)
{
	void *data = (void *)(long)frame->xdp->data, *end = (void *)(long)frame->xdp->data_end;
	__u64 start = offset;

	/* As of the tc programs (host_bpf.h): one register for the check and for the use. */
	asm volatile("" : "+r"(start));
	if (start < READ_DIRECT_MAX) {
		void *from = data + start;

		asm volatile("" : "+r"(from));
		if (from + length <= end) {
			memcpy(__builtin_assume_aligned(to, 4),
			       __builtin_assume_aligned(from, 4), length);
			return 0;
		}
	}
	return host_read_paged(frame, offset, to, length);
}

/* Linear data in place. */
static __always_inline const void *host_peek(host_packet_t *frame, __u32 offset, __u32 length)
{
	void *data = (void *)(long)frame->xdp->data, *end = (void *)(long)frame->xdp->data_end;

	return data + offset + length <= end ? data + offset : 0;
}

#include "core/frame.h"
#include "core/glance.h"
#include "core/judgement.h"

/* Windows are the business of flows. */
static __always_inline void host_scale_search(struct scale_search *search)
{
}

#include "engine/bpf/image.bpf.h"

/* Programs of one CPU do not interrupt each other. */
struct room {
	struct packet packet;
	struct judgement judgement;
	/* Events of drops in this tick of the coarse clock. */
	__u64 tick;
	__u32 told;
};

typedef struct {
	struct room *room; /* packet is in it */
	struct packet *packet;
	const struct image_header *header;
	host_image_t image;
	struct statistics *stats;
	__u32 slot;
	__u32 generic; /* WAY_GENERIC, or 0 */
} host_t;

#include "engine/bpf/rate.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct room);
} early_rooms SEC(".maps");

static __always_inline struct room *room_find(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&early_rooms, &zero);
}

static __always_inline int open_slot(host_t *host)
{
	__u32 zero = 0, slot = host->slot;

	host->stats = bpf_map_lookup_elem(&stats, &zero);
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
	host->slot = *(volatile __u32 *)&control.active & 1;
	return open_slot(host);
}

/* For a step that is a function of its own. */
static __always_inline int host_reopen(host_t *host, __u32 slot)
{
	struct room *room = room_find();

	if (!room)
		return -1;
	host->room = room;
	host->packet = &room->packet;
	host->slot = slot & 1;
	return open_slot(host);
}

/* Programs travel with their device to another network namespace. */
static __always_inline int host_foreign(host_t *host, host_packet_t *frame)
{
	struct xdp_buff *inside;

	if (!know_namespace)
		return 0;
	inside = bpf_cast_to_kern_ctx(frame->xdp);
	return inside->rxq->dev->nd_net.net->net_cookie != control.cookie;
}

static __always_inline __u32 host_generation(host_t *host)
{
	return control.slot[host->slot & 1].generation;
}

/* A global function: verified once. */
__noinline int parse(struct xdp_md *xdp, struct packet *p, __u32 ethernet)
{
	host_packet_t frame = { .xdp = xdp, .len = (__u32)bpf_xdp_get_buff_len(xdp) };
	struct {
		__u8 destination[6], source[6];
		be16 ethertype;
	} link;
	__u8 first;

	if (!p)
		return FRAME_OTHER;
	if (ethernet) {
		if (host_read(&frame, 0, &link, sizeof(link)))
			return FRAME_OTHER;
		frame.protocol = link.ethertype;
		if (link.destination[0] & 1)
			frame.pkt_type = PACKET_TYPE_MULTICAST;
	} else {
		if (host_read_paged(&frame, 0, &first, sizeof(first)))
			return FRAME_OTHER;
		frame.protocol = from_be16(first >> 4 == 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
	}
	return frame_parse(&frame, p, ethernet, 1);
}

static __always_inline int host_parse(host_packet_t *frame, struct packet *p, __u32 ethernet,
				      __u32 arriving)
{
	return parse(frame->xdp, p, ethernet);
}

static __always_inline int host_glance(host_packet_t *frame, struct packet *p)
{
	frame->len = (__u32)(frame->xdp->data_end - frame->xdp->data);
	return glance(frame, p);
}

static __always_inline __u32 host_walk(host_t *host, enum walk_kind kind, __u32 from)
{
	return classify(host->packet, host->slot, kind, from);
}

static __always_inline const struct image_rule *host_image_rule(host_t *host, __u32 rule)
{
	return host_unit(&host->image, host->header->rule_table + rule);
}

#include "engine/bpf/count.bpf.h"

static __always_inline int host_set_member(host_t *host, __u32 set, __u32 field)
{
	const __u32 *word = host->packet->fields.word;

	return set_member(set_place(host->slot, set),
			  field == FIELD_DST ? &word[FIELD_DST] : &word[FIELD_SRC],
			  word[FIELD_FAMILY]);
}

__noinline int step_event(__u32 kind)
{
	struct room *room = room_find();
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

static __always_inline void host_log(host_t *host, __u32 sample, const struct judgement *j)
{
	if (control.watch_until <= bpf_ktime_get_coarse_ns())
		return;
	if (sample <= 1 || !(bpf_get_prandom_u32() % sample))
		step_event(EVENT_LOG);
}

/* Somebody who watches a flood must not make it dearer. */
static __always_inline void host_tell(host_t *host, enum event_kind kind,
				      const struct judgement *j)
{
	struct room *room = host->room;
	__u64 tick;

	if (!control.watch_until)
		return;
	tick = bpf_ktime_get_coarse_ns();
	if (control.watch_until <= tick)
		return;
	if (room->tick != tick) {
		room->tick = tick;
		room->told = 0;
	}
	if (room->told < TOLD_IN_A_TICK) {
		room->told++;
		step_event(kind);
	}
}

#include "core/early.h"

__noinline __u32 step_ask(__u32 slot, __u32 ref)
{
	host_t host;

	return host_reopen(&host, slot) ? REF_NONE : set_ask(&host, ref);
}

static __always_inline __u32 host_ask(host_t *host, __u32 ref)
{
	return step_ask(host->slot, ref);
}

__noinline __u32 step_early_admit(__u32 slot, __u32 ref)
{
	host_t host;

	return host_reopen(&host, slot) ? REF_NONE : early_admit(&host, ref);
}

static __always_inline __u32 host_early_admit(host_t *host, __u32 ref)
{
	return step_early_admit(host->slot, ref);
}

#endif
