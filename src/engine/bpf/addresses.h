// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Addresses of this host, and by which of them packets leave an interface.
 */
#ifndef REEVE_ENGINE_BPF_ADDRESSES_H
#define REEVE_ENGINE_BPF_ADDRESSES_H

#include <arpa/inet.h>

#include "engine/bpf/engine.h"

/* Of an interface. Words as in FIELD_SRC. */
struct own_address {
	uint32_t ifindex, family; /* 4 or 6 */
	uint32_t words[4];
	uint32_t rank; /* the lowest suits best as a source for the world; ADDRESS_UNFIT: not at all */
};

#define ADDRESS_UNFIT UINT32_MAX

VECTOR(own_address_vector, struct own_address);

/* All of this namespace, sorted by family and address. 0 or -errno. */
int own_addresses_list(struct own_address_vector *addresses, struct problem *problem);
bool own_addresses_have(const struct own_address_vector *addresses, uint32_t family,
			const uint32_t *words);
/*
 * The source that the kernel gives what leaves by the interface for nowhere in particular: that of
 * its route there, else the interface's first address of global scope. False where there is none.
 */
bool own_addresses_leaving(const struct own_address_vector *addresses, uint32_t ifindex,
			   uint32_t family, uint32_t words[4]);
void own_address_text(uint32_t family, const uint32_t *words, char text[INET6_ADDRSTRLEN]);

#endif
