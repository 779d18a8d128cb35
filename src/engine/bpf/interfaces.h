// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The interfaces of this network namespace, from rtnetlink.
 */
#ifndef REEVE_ENGINE_BPF_INTERFACES_H
#define REEVE_ENGINE_BPF_INTERFACES_H

#include "engine/bpf/engine.h"

struct link {
	char name[16];
	uint32_t ifindex;
	uint32_t master;	 /* ifindex, or 0 */
	bool ethernet;		 /* frames begin with an Ethernet header */
	bool loopback;
	bool ifb;		 /* a shaper's detour: what passes it has arrived, or is about to depart, elsewhere */
	bool veth;
	bool port;		 /* of a bridge, bond, team or Open vSwitch: its master is covered instead */
	bool default_route;
};

VECTOR(link_vector, struct link);

/* All of them, by index, but for what routes say (a router's can be many). 0 or -errno. */
int links_list(struct link_vector *links, struct problem *problem);
/* The same with default_route. */
int links_read(struct link_vector *links, struct problem *problem);
/* Do IPsec policies exist in this namespace? */
bool xfrm_policies_exist(void);

/*
 * Which way the kernel sends packets of this host, and whether `to` is one of its own addresses.
 * When there is no way from `from`, it is asked without. -errno.
 */
int route_lookup(const struct route_question *question, uint32_t *ifindex, bool *local);

#endif
