// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The world of the property tests: six interfaces, their addresses and routes; and the same in the
 * kernel, in a network namespace of its own, with reeve's programs loaded and called through
 * BPF_PROG_TEST_RUN.
 *
 * Interface i is called d0 .. d5, has index WORLD_IFINDEX + i and the MAC 02:00:00:00:00:10 + i.
 * What arrives at d0, d2, d4 is for this host, whatever its address; at d1, d3, d5 only 10.0.0.0/8
 * and fd00::/8 are, the rest is forwarded.
 */
#ifndef REEVE_TESTS_PROPERTY_WORLD_H
#define REEVE_TESTS_PROPERTY_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/user/engine.h"

#define WORLD_INTERFACES 6
#define WORLD_IFINDEX 10
#define WORLD_ADDRESS 0xc0000201 /* 192.0.2.1, of d1 */
#define WORLD_FRAME_MAX 3200 /* bytes that a test run takes */
#define WORLD_EVENTS 4

struct world;

/* What an engine did with a packet. */
struct seen {
	enum user_action action;
	uint32_t mark;
	uint32_t tc_index;
	uint32_t hash;
	bool told; /* tc_index and hash are known: a plain test run does not tell them */
	uint32_t rule; /* whose counter went up; RULE_NONE: none */
	uint32_t events;
	struct event event[WORLD_EVENTS];
};

#define RULE_NONE 0xffffffffu

void world_mac(unsigned interface, uint8_t mac[6]);
/* The pkt_type that the kernel gives a frame at this interface, by its destination MAC. */
uint32_t world_packet_type(unsigned interface, const uint8_t *frame);
/* Routing as described above. */
bool world_forwards(unsigned interface, unsigned family, const uint32_t *src, const uint32_t *dst);
/* The same for struct user_options. */
enum route world_route(void *context, const struct user_frame *frame, const struct packet *packet);

/*
 * Moves this process into a new namespace and loads the programs. -EPERM and the like: *why tells
 * what is missing, for a test that is skipped.
 */
int world_open(struct world **world, const char **why);
void world_close(struct world *world);
/* The next policy: counters and statistics at zero. */
int world_policy(struct world *world, const void *image, size_t size, uint32_t generation,
		 uint32_t flows_since);
/* How many records there are in the tables of flows. */
uint32_t world_flow_count(struct world *world);
/*
 * Hands a frame to a program. `wrapped`: through the harness, which knows tc_index, pkt_type and
 * vlan_tci; without it frame->tc_index must be 0 and seen->tc_index is 0. -EINVAL when the kernel
 * does not take such a frame.
 */
int world_run(struct world *world, const struct user_frame *frame, bool departs, bool wrapped,
	      struct seen *seen);
/* Loads the programs of `early` beside the others, for world_run_early(). */
int world_open_early(struct world *world);
/* The same at XDP: only bytes, `ethernet` and ifindex count. */
int world_run_early(struct world *world, const struct user_frame *frame, struct seen *seen);
/*
 * The frame as the last run left it; only where frame->writable says that it may differ, else that
 * is an error of the run.
 */
const unsigned char *world_bytes(const struct world *world);
/* The same for struct user_options, as the routes of the world are; and every MTU. */
int world_way_back(void *context, const struct user_frame *frame, const struct packet *packet,
		   uint32_t *ifindex);
uint32_t world_mtu(void *context, uint32_t ifindex);
/*
 * And what translation asks: by which interface what is forwarded leaves; the address by which this
 * host speaks, of IPv4 only.
 */
uint32_t world_leaves(void *context, const struct user_frame *frame, const struct packet *packet);
int world_address(void *context, uint32_t ifindex, unsigned family, uint32_t address[4]);
/* The record of a key; -ENOENT. */
int world_flow(struct world *world, const struct flow_key *key, struct flow *flow, bool *embryonic);
/* Forgets all flows and expected DHCP answers. */
void world_flush(struct world *world);
/* Forgets what limits have counted. */
void world_forget(struct world *world);
/* An entry of a dynamic set, by its number in the policy; `expires` as in core/set.h. */
int world_set_add(struct world *world, uint32_t set, uint32_t family, const uint32_t address[4],
		  uint32_t prefix, uint64_t expires);
int world_set_delete(struct world *world, uint32_t set, uint32_t family, const uint32_t address[4],
		     uint32_t prefix);
void world_set_clear(struct world *world, uint32_t set);
/* Does it hold just this entry, expired or not? */
bool world_set_has(struct world *world, uint32_t set, uint32_t family, const uint32_t address[4],
		   uint32_t prefix);
/* Counts since world_policy, by enum statistic. */
int world_stats(struct world *world, uint64_t *stats);
/* The clock of the programs. */
uint64_t world_now(void);

#endif
