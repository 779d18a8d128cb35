// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A packet in memory, as the core's host_packet_t; and the core's types that speak of packets.
 */
#ifndef REEVE_ENGINE_USER_FRAME_H
#define REEVE_ENGINE_USER_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * A frame and what a kernel knows of it. The members that struct __sk_buff has too are named and
 * mean the same as there. With `ethernet` the frame begins with an Ethernet header, from which the
 * engine takes `protocol`; without, it begins with the IP header.
 */
struct user_frame {
	const uint8_t *bytes; /* borrowed */
	/* the same where they may be changed by a translation or at departure; NULL: none is written */
	uint8_t *writable;
	uint32_t len;
	bool ethernet;
	/* EtherType in network byte order; without `ethernet` the caller says it */
	uint32_t protocol;
	/*
	 * enum packet_type, core/frame.h: 0 for this host, 1 broadcast, 2 multicast, 3 other host
	 */
	uint32_t pkt_type;
	uint32_t vlan_present, vlan_tci; /* a tag that the device has taken out of the frame */
	uint32_t gso_size, gso_segs;	 /* 0 unless it stands for several packets */
	uint32_t ifindex;		 /* where it is */
	uint32_t ingress_ifindex;	 /* at departure: where it arrived; 0 for the host's own */
	uint32_t mark;			 /* changed by the checkpoints */
	uint32_t tc_index;		 /* likewise */
	/* likewise: the proof that arrival leaves for departure, core/proof.h */
	uint32_t hash;
};

typedef struct user_frame host_packet_t;

static inline int host_read(host_packet_t *frame, uint32_t offset, void *to, uint32_t length)
{
	if (offset > frame->len || length > frame->len - offset)
		return -1;
	memcpy(to, frame->bytes + offset, length);
	return 0;
}

static inline int host_read_paged(host_packet_t *frame, uint32_t offset, void *to, uint32_t length)
{
	return host_read(frame, offset, to, length);
}

/* The core tells clang how to unroll its loops; other compilers do not know the pragma. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "core/frame.h"
#include "core/judgement.h"
#include "core/proof.h"
#pragma GCC diagnostic pop

/* A word of a frame that has been parsed, and the checksum that covers it as `was` and `is`. */
static inline void frame_edit(host_packet_t *frame, uint32_t offset, be16 to, uint32_t checksum,
			      be16 was, be16 is)
{
	be16 sum;

	if (!frame->writable || host_read(frame, checksum, &sum, sizeof(sum)) ||
	    offset > frame->len || sizeof(to) > frame->len - offset)
		return;
	sum = checksum_replace(sum, was, is);
	memcpy(frame->writable + offset, &to, sizeof(to));
	memcpy(frame->writable + checksum, &sum, sizeof(sum));
}

static inline void host_edit_ipv4(host_packet_t *frame, uint32_t l3, uint32_t at, be16 from,
				  be16 to)
{
	frame_edit(frame, l3 + at, to, l3 + (uint32_t)offsetof(struct wire_ipv4, checksum), from, to);
}

static inline void host_edit_tcp(host_packet_t *frame, uint32_t l4, uint32_t at, be16 from, be16 to)
{
	frame_edit(frame, l4 + at, to, l4 + (uint32_t)offsetof(struct wire_tcp, checksum),
		   at & 1 ? from_be16(from) : from, at & 1 ? from_be16(to) : to);
}

static inline void host_edit_hop_limit(host_packet_t *frame, uint32_t offset, uint8_t value)
{
	if (frame->writable && offset < frame->len)
		frame->writable[offset] = value;
}

static __always_inline void host_scale_search(struct scale_search *search)
{
	for (uint32_t i = 0; i < TCP_OPTIONS_MAX && !scale_search_step(search); i++)
		;
}

#endif
