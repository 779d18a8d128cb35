// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Programs on an interface where the kernel has no tcx (before 6.6): as filters of a clsact qdisc,
 * in direct action, before all others (Documentation: tc-bpf(8)).
 *
 * A filter stays until it is removed, whatever becomes of pins. Ours is known by its handle. What
 * others have there stays as it is: their filters, and a qdisc that reeve has not made.
 */
#ifndef REEVE_ENGINE_BPF_TC_FILTER_H
#define REEVE_ENGINE_BPF_TC_FILTER_H

#include <stdbool.h>
#include <stdint.h>

/* Does this kernel have tcx? Tried once; REEVE_WITHOUT=tcx in the environment says no, for tests. */
bool tcx_possible(void);

struct tc_filter_look {
	uint32_t program; /* the id of the one that our filter runs; 0: there is none */
	bool foreign;	  /* others have filters there */
	bool behind;	  /* one of them comes before ours */
};

/* What is on this hook of an interface. -ENODEV when that is gone, or another -errno. */
int tc_filter_look(uint32_t ifindex, bool departure, struct tc_filter_look *look);
/*
 * Puts our filter there, or another program into it, in one step; clsact too, where it is missing.
 * -EEXIST when something of another kind has our place,
 * -EBUSY when there is a qdisc `ingress`, which has no egress, -EOPNOTSUPP when the filters belong to
 * a block that interfaces can share, -ENOENT when the kernel lacks clsact or cls_bpf.
 */
int tc_filter_put(uint32_t ifindex, bool departure, int program);
/* 0 also when there was none. */
int tc_filter_remove(uint32_t ifindex, bool departure);
/* Is there no clsact qdisc, nor anything else in its place? */
bool tc_qdisc_missing(uint32_t ifindex);
/* Removes the clsact qdisc, if it holds no filter. */
void tc_qdisc_remove(uint32_t ifindex);
/* Calls `visit` for each interface of this namespace until it returns non-zero, and hands that on. */
int tc_each_interface(int (*visit)(void *context, uint32_t ifindex), void *context);

#endif
