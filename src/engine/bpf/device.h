// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a device can do, and what is done with what leaves it, as far as the fast path asks.
 */
#ifndef REEVE_ENGINE_BPF_DEVICE_H
#define REEVE_ENGINE_BPF_DEVICE_H

#include "engine/bpf/interfaces.h"

struct device_facts {
	uint32_t ifindex;
	uint8_t address[6]; /* of its link layer */
	bool told;	    /* the kernel says what its driver does with XDP: the next two hold (Linux 6.3) */
	bool native;	    /* takes a program, which may redirect */
	bool redirects;	    /* takes frames that are redirected to it */
	bool shared;	    /* its programs run at its ports */
	bool vlans;	    /* VLAN devices stand on it: XDP may be shown their frames without the tag */
	bool unfinished;    /* frames may arrive on it whose checksums are still to be made */
	bool shapes;	    /* a qdisc of it does more than to queue */
};

VECTOR(device_facts_vector, struct device_facts);

/* Of all these, in their order. Ends with -ENOMEM only: what cannot be read counts as not there. */
int device_facts_read(const struct link_vector *links, struct device_facts_vector *facts);

#endif
