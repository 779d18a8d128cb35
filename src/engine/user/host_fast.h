// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The core's host in user space for the fast path. Included once, by engine.c, behind host_user.h.
 * The fast path is on wherever the caller knows a next hop.
 */
#ifndef REEVE_ENGINE_USER_HOST_FAST_H
#define REEVE_ENGINE_USER_HOST_FAST_H

static inline const void *host_peek(host_packet_t *frame, uint32_t offset, uint32_t length)
{
	return offset <= frame->len && length <= frame->len - offset ? frame->bytes + offset : NULL;
}

static inline void *host_edit(host_packet_t *frame, uint32_t length)
{
	return length <= frame->len ? frame->writable : NULL;
}

static inline void host_count_open(host_t *host)
{
	(void)host;
}

static inline uint64_t host_now_quick(host_t *host)
{
	return host_now(host);
}

static inline uint32_t host_fast_tag(host_t *host, uint32_t ifindex)
{
	return interface_find(&host->image, host->header, ifindex).tag;
}

static inline int host_fast_leaves(host_t *host, uint32_t ifindex, uint32_t tag)
{
	struct image_interface to = interface_find(&host->image, host->header, ifindex);
	struct image_hygiene zone = hygiene_of(host, to.zone);

	return to.tag == tag && !zone.min_ttl &&
	       !(zone.flags & (HYGIENE_NO_DF | HYGIENE_RANDOM_ID));
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "core/fast_way.h"

static inline int host_way(host_t *host, host_packet_t *frame, const struct fast_packet *packet,
			   uint32_t ifindex, uint64_t now, struct fast_way *way)
{
	const struct user_options *options = &host->engine->options;

	(void)ifindex;
	(void)now; /* no kernel watches over neighbours here */
	return options->next_hop ? options->next_hop(options->context, frame, packet->brief.length,
						     &way->ifindex, way->link.destination,
						     way->link.source) : -1;
}

#include "core/fast.h"
#pragma GCC diagnostic pop

#endif
