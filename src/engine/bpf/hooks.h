// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is registered on the packet hooks of this network namespace, reeve's or not, in the order
 * in which a packet meets it.
 *
 * Nothing is printed here and nothing is changed. Each source (links of BPF, tc, nftables, ...) is
 * asked for itself; what a kernel or a missing capability keeps back becomes a note, and the rest
 * is told.
 */
#ifndef REEVE_ENGINE_BPF_HOOKS_H
#define REEVE_ENGINE_BPF_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vector.h"

/*
 * Hooks in the order of a packet that arrives; then of one that is forwarded or sent; then of both
 * as they leave.
 */
enum hook_point {
	POINT_XDP,
	POINT_TC_INGRESS,
	POINT_INGRESS, /* Netfilter's, of a device */
	POINT_BRIDGE_PREROUTING,
	POINT_BRIDGE_INPUT,
	POINT_BRIDGE_FORWARD,
	POINT_ARP_INPUT,
	POINT_PREROUTING,
	POINT_INPUT,
	POINT_SOCKET_LOOKUP,
	POINT_CGROUP_INGRESS,
	POINT_FORWARD,
	POINT_CGROUP_SOCKET, /* what sockets do: create, bind, connect, send */
	POINT_OUTPUT,
	POINT_POSTROUTING,
	POINT_CGROUP_EGRESS,
	POINT_ARP_OUTPUT,
	POINT_BRIDGE_OUTPUT,
	POINT_BRIDGE_POSTROUTING,
	POINT_EGRESS, /* Netfilter's, of a device */
	POINT_TC_EGRESS,
	POINTS,
};

enum hook_kind {
	HOOK_KIND_XDP,
	HOOK_KIND_TCX,
	HOOK_KIND_TC_FILTER,
	HOOK_KIND_CHAIN,	 /* a base chain of nftables */
	HOOK_KIND_FLOWTABLE,	 /* of nftables */
	HOOK_KIND_IPTABLES,	 /* a table of iptables-legacy and its kin */
	HOOK_KIND_NETFILTER_BPF,
	HOOK_KIND_FUNCTION,	 /* of the kernel: conntrack, NAT, ... */
	HOOK_KIND_CGROUP,
	HOOK_KIND_NETNS,
	HOOK_KINDS,
};

enum hook_family {
	HOOK_FAMILY_IPV4 = 1,
	HOOK_FAMILY_IPV6 = 2,
	HOOK_FAMILY_BRIDGE = 4,
	HOOK_FAMILY_ARP = 8,
};

enum hook_policy {
	HOOK_POLICY_NONE,
	HOOK_POLICY_DROP,
	HOOK_POLICY_ACCEPT,
};

struct hook_entry {
	enum hook_point point;
	enum hook_kind kind;
	unsigned families;	/* of Netfilter's hooks, by enum hook_family; else 0 */
	uint32_t ifindex;	/* 0: not bound to a device */
	char device[16];	/* its name, or a pattern with `*` */
	bool prioritised;	/* has a priority: lower comes first */
	int32_t priority;
	int32_t chain_priority; /* of a nat chain: all run where NAT does, ordered by this */
	uint32_t sequence;	/* the order among equals */
	char name[544];		/* program, "inet filter input", table, function, filter */
	char detail[64];	/* mode of XDP, type of a chain, hook of a cgroup, module */
	char cgroup[256];	/* path from the root of the hierarchy */
	enum hook_policy policy;
	uint32_t program;	/* ids of BPF, 0: none */
	uint32_t links[2];	/* a second one where a program has one for each family */
	bool reeve;		/* this namespace's reeve */
	bool unsure;		/* may be of another network namespace: the kernel does not tell */
	bool counted;
	uint64_t packets;	/* runs of a program; packets that came to a chain's policy */
};

VECTOR(hook_vector, struct hook_entry);

/* Something that could not be read, or not for certain: a sentence without its full stop. */
struct hook_note {
	char text[256];
};

VECTOR(hook_note_vector, struct hook_note);

struct hooks {
	struct hook_vector entries;
	struct hook_note_vector notes;
	int error; /* -ENOMEM: something was lost */
};

struct problem;

/* Fails only for want of memory. Free it with hooks_free. */
int engine_hooks(struct hooks *hooks, struct problem *problem);
/* The same without those of cgroups and sockets: what a packet meets that is forwarded. */
int engine_hooks_path(struct hooks *hooks, struct problem *problem);
void hooks_free(struct hooks *hooks);

#endif
