// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Thin wrappers over bpf(2) for what libbpf 1.1 does not know yet: tcx and netfilter links
 * (Documentation/bpf in the kernel).
 */
#ifndef REEVE_ENGINE_BPF_SYS_H
#define REEVE_ENGINE_BPF_SYS_H

#include <stdbool.h>
#include <stdint.h>

/* Values of the kernel's enums that older headers lack. */
enum {
	SYS_PROG_TYPE_NETFILTER = 32,
	SYS_ATTACH_NETFILTER = 45,
	SYS_ATTACH_TCX_INGRESS = 46,
	SYS_ATTACH_TCX_EGRESS = 47,
	SYS_LINK_TYPE_XDP = 6,
	SYS_LINK_TYPE_NETFILTER = 10,
	SYS_LINK_TYPE_TCX = 11,
};

/* A new link on the tcx hook of a device, before all others there. A file descriptor, or -errno. */
int sys_tcx_link(int program, uint32_t ifindex, bool egress);
/* A new link on a Netfilter hook of this namespace. `family` is NFPROTO_IPV4 or NFPROTO_IPV6. */
int sys_netfilter_link(int program, uint32_t family, uint32_t hook, int32_t priority);

/*
 * Is the kernel to be treated as if it lacked something? REEVE_WITHOUT in the environment lists it,
 * `tcx,netfilter-links` (and `xdp`, `native-xdp`): so what older kernels get is tested on newer ones.
 */
bool sys_left_out(const char *what);

struct sys_link_info {
	uint32_t type, id, program;
	uint32_t ifindex; /* tcx, XDP: 0 when the device is gone or somebody detached the link */
	uint32_t family, hook; /* Netfilter; they stay when somebody detaches the link */
	int32_t priority;
};

/*
 * 0 or -errno. Of a program's or map's descriptor the kernel tells something too, which makes no
 * sense here: see sys_link_is_ours.
 */
int sys_link_info(int link, struct sys_link_info *info);
/* Is it a tcx, XDP or Netfilter link, and not one of reeve's programs? */
bool sys_link_is_ours(const struct sys_link_info *info);

/*
 * The programs attached to a hook in the order they run, and their links (`links` may be NULL; 0:
 * no link). `target` is an interface's index for tcx, a descriptor of a cgroup or a network
 * namespace for their hooks. *n is how many there is room for, and then how many there are. 0 or
 * -errno.
 */
int sys_program_query(uint32_t target, uint32_t attach_type, uint32_t *programs, uint32_t *links,
		      uint32_t *n);

#endif
