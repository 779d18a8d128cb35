// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/sys.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FLAG_BEFORE (1u << 3) /* BPF_F_BEFORE */

/* union bpf_attr of BPF_LINK_CREATE, with room for what is newer than our headers. */
struct link_create {
	uint32_t program, target, attach_type, flags;
	union {
		struct {
			uint32_t relative, pad;
			uint64_t revision;
		} tcx;
		struct {
			uint32_t family, hook;
			int32_t priority;
			uint32_t flags;
		} netfilter;
		uint8_t room[48];
	};
};

static int sys_bpf(int command, void *attr, unsigned int size)
{
	long result = syscall(SYS_bpf, command, attr, size);

	return result < 0 ? -errno : (int)result;
}

bool sys_left_out(const char *what)
{
	const char *list = getenv("REEVE_WITHOUT");
	size_t length = strlen(what);

	while (list && *list) {
		size_t word = strcspn(list, ",");

		if (word == length && !strncmp(list, what, length))
			return true;
		list += word + (list[word] == ',');
	}
	return false;
}

int sys_tcx_link(int program, uint32_t ifindex, bool egress)
{
	struct link_create attr;

	memset(&attr, 0, sizeof(attr));
	attr.program = (uint32_t)program;
	attr.target = ifindex;
	attr.attach_type = egress ? SYS_ATTACH_TCX_EGRESS : SYS_ATTACH_TCX_INGRESS;
	attr.flags = FLAG_BEFORE;
	return sys_bpf(BPF_LINK_CREATE, &attr, sizeof(attr));
}

int sys_netfilter_link(int program, uint32_t family, uint32_t hook, int32_t priority)
{
	struct link_create attr;

	memset(&attr, 0, sizeof(attr));
	attr.program = (uint32_t)program;
	attr.attach_type = SYS_ATTACH_NETFILTER;
	attr.netfilter.family = family;
	attr.netfilter.hook = hook;
	attr.netfilter.priority = priority;
	return sys_bpf(BPF_LINK_CREATE, &attr, sizeof(attr));
}

int sys_link_info(int link, struct sys_link_info *info)
{
	struct {
		uint32_t type, id, program, pad;
		union {
			struct {
				uint32_t ifindex, attach_type;
			} tcx;
			struct {
				uint32_t family, hook;
				int32_t priority;
			} netfilter;
			uint8_t room[112];
		};
	} raw;
	struct {
		uint32_t fd, size;
		uint64_t info;
	} attr;
	int err;

	memset(&raw, 0, sizeof(raw));
	memset(&attr, 0, sizeof(attr));
	attr.fd = (uint32_t)link;
	attr.size = sizeof(raw);
	attr.info = (uint64_t)(uintptr_t)&raw;
	err = sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));
	if (err)
		return err;
	info->type = raw.type;
	info->id = raw.id;
	info->program = raw.program;
	info->ifindex = raw.tcx.ifindex;
	info->family = raw.netfilter.family;
	info->hook = raw.netfilter.hook;
	info->priority = raw.netfilter.priority;
	return 0;
}

bool sys_link_is_ours(const struct sys_link_info *info)
{
	return info->type == SYS_LINK_TYPE_TCX || info->type == SYS_LINK_TYPE_XDP ||
	       info->type == SYS_LINK_TYPE_NETFILTER;
}

int sys_program_query(uint32_t target, uint32_t attach_type, uint32_t *programs, uint32_t *links,
		      uint32_t *n)
{
	struct {
		uint32_t target, attach_type, query_flags, attach_flags;
		uint64_t programs;
		uint32_t n, pad;
		uint64_t program_flags, links, link_flags, revision;
	} attr;
	int err;

	memset(&attr, 0, sizeof(attr));
	attr.target = target;
	attr.attach_type = attach_type;
	attr.programs = (uint64_t)(uintptr_t)programs;
	attr.links = (uint64_t)(uintptr_t)links;
	attr.n = *n;
	err = sys_bpf(BPF_PROG_QUERY, &attr, sizeof(attr));
	if (!err)
		*n = attr.n;
	return err;
}
