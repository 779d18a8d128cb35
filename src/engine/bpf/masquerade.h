// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Masquerade and the addresses of this host: where programs cannot ask the kernel by which address
 * a packet leaves (MEANS_OWN_ADDRESSES), they are told; and flows whose address has gone end.
 *
 * Neither concerns a namespace that has had no NAT since its first apply: then nothing is done.
 */
#ifndef REEVE_ENGINE_BPF_MASQUERADE_H
#define REEVE_ENGINE_BPF_MASQUERADE_H

#include "engine/bpf/addresses.h"
#include "engine/bpf/interfaces.h"
#include "engine/bpf/loaded.h"

/*
 * Does the kernel tell programs by which address a packet leaves (bpf_fib_lookup,
 * BPF_FIB_LOOKUP_SRC, Linux 6.7)? Found out by trying.
 */
bool route_source_possible(void);

/* An interface whose address is another one than programs were told. */
struct leaving_change {
	struct leaving_key key;
	bool known; /* false: there is none any more */
	struct leaving_address address;
};

VECTOR(leaving_change_vector, struct leaving_change);

/* Appends what has changed; `links` are sorted by index. 0 or -errno. */
int masquerade_look(const struct loaded *loaded, const struct link_vector *links,
		    const struct own_address_vector *addresses,
		    struct leaving_change_vector *changes);
int masquerade_tell(const struct loaded *loaded, const struct leaving_change_vector *changes,
		    struct problem *problem);
/* Both. */
int masquerade_follow(const struct loaded *loaded, const struct link_vector *links,
		      struct problem *problem);

/*
 * Ends the masqueraded flows whose address is none of these any more: answers do not reach this
 * host, and their next packets begin anew. *ended goes up by each.
 */
int masquerade_end_flows(const struct loaded *loaded, const struct own_address_vector *addresses,
			 uint64_t *ended, struct problem *problem);

#endif
