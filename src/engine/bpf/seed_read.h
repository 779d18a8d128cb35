// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connections that live, as sock_diag and conntrack tell of them. No state, no system calls.
 */
#ifndef REEVE_ENGINE_BPF_SEED_READ_H
#define REEVE_ENGINE_BPF_SEED_READ_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#define SEED_PORTS 65536u

enum seed_where {
	SEED_ANYWHERE,
	SEED_HERE, /* a flow only if the responder is this host */
	SEED_AWAY, /* only if it is not */
};

/* A flow to be; addresses as in FIELD_SRC, ports in host order. */
struct seed {
	uint8_t family; /* 4 or 6 */
	uint8_t protocol;
	uint8_t state; /* enum flow_state */
	enum seed_where where;
	uint32_t from[4], to[4]; /* originator, responder */
	uint16_t from_port, to_port;
	uint32_t behind[4]; /* by what the originator's zone is found: its address, untranslated */
	uint32_t ifindex;   /* that a socket is bound to, or 0 */
};

/*
 * Each takes a message whose nlmsg_len bytes are all there, and returns how many flows it tells of;
 * 0 too for one that is no such message, lacks something, or is not answered yet.
 *
 * `listening` has a bit for each TCP port, SEED_PORTS of them: it is the originator whose port is
 * not one of those. UDP tells no listener, so there it is always this host.
 */
unsigned seed_read_socket(const struct nlmsghdr *header, uint8_t protocol, const uint8_t *listening,
			  struct seed *seed);
unsigned seed_read_conntrack(const struct nlmsghdr *header, struct seed seeds[2]);
/* The port of a socket, in host order; 0 for no such message. */
uint16_t seed_read_listening(const struct nlmsghdr *header);

#endif
