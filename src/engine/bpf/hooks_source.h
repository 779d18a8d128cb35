// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The sources of hooks.h, and what they share.
 */
#ifndef REEVE_ENGINE_BPF_HOOKS_SOURCE_H
#define REEVE_ENGINE_BPF_HOOKS_SOURCE_H

#include <libmnl/libmnl.h>

#include "engine/bpf/hooks.h"
#include "engine/bpf/interfaces.h"

/* Where an entry stands whose order among equals nobody tells. */
#define HOOK_SEQUENCE_UNKNOWN 0x40000000u

VECTOR(id_vector, uint32_t);

struct hook_reading {
	struct hooks *hooks;	       /* what has been found */
	const struct link_vector *links;
	struct id_vector reeve;	       /* programs that this namespace's pinned links run */
	struct id_vector reeve_links;
	bool listed;		       /* the kernel lists Netfilter's hooks */
	uint32_t sequence;	       /* of the list being read */
};

void hook_add(struct hook_reading *reading, const struct hook_entry *entry);
void hook_note(struct hook_reading *reading, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
bool id_known(const struct id_vector *ids, uint32_t id);

/* Brings entries in order, and makes one of two that differ by family alone. */
void hooks_arrange(struct hooks *hooks);

/* hooks_device.c: XDP and the filters of clsact. */
void hooks_read_xdp(struct hook_reading *reading);
void hooks_read_filters(struct hook_reading *reading);

/* hooks_program.c: programs of BPF by their links and places. */
void hooks_read_reeve(struct hook_reading *reading);
void hooks_read_tcx(struct hook_reading *reading);
void hooks_read_netfilter_links(struct hook_reading *reading);
void hooks_read_cgroups(struct hook_reading *reading);
void hooks_read_namespace(struct hook_reading *reading);
/* Names and counts of the programs of all entries. */
void hooks_name_programs(struct hook_reading *reading);

/*
 * hooks_netfilter.c. Whether the kernel has a list is found out first, for others to know. The
 * list of hooks is read after the rest: it tells what is there and in which order, the others tell
 * more of each.
 */
void hooks_read_nftables(struct hook_reading *reading);
void hooks_read_iptables(struct hook_reading *reading);
void hooks_find_list(struct hook_reading *reading);
void hooks_read_list(struct hook_reading *reading);
/* One message of each dump; context is the reading. */
int hooks_chain_receive(const struct nlmsghdr *message, void *context);
int hooks_flowtable_receive(const struct nlmsghdr *message, void *context);
int hooks_list_receive(const struct nlmsghdr *message, void *context);
/* POINTS when there is none of these numbers. `family` is an NFPROTO. */
enum hook_point point_of(unsigned family, uint32_t number);

#endif
