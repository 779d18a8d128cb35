// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Programs of BPF on packet hooks: found by the place (tcx of a device, a cgroup, the namespace),
 * or by going through all links (Netfilter).
 *
 * A link on a Netfilter hook does not tell of which network namespace. Where the kernel lists the
 * hooks of a namespace, the list tells (hooks_netfilter.c). Elsewhere the place is tried: a hook
 * takes one program for each priority, so a place that is taken here has its link here; one that
 * is free is given up at once, and the program tried with lets every packet pass.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <linux/bpf.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/bpf/hooks_source.h"
#include "engine/bpf/loaded.h"
#include "engine/bpf/pins.h"
#include "engine/bpf/sys.h"

#define PROGRAMS_MAX 64u /* on one hook: the kernel's own bound */
#define CGROUPS_MAX 4096u
#define LINK_TYPE_NETFILTER 10

/* --- reeve's own --- */

static bool is_link_pin(const char *name)
{
	unsigned int ifindex;

	return sscanf(name, "arrive_%u", &ifindex) == 1 ||
	       sscanf(name, "depart_%u", &ifindex) == 1 ||
	       sscanf(name, "early_%u", &ifindex) == 1 ||
	       (!strncmp(name, "guard_", 6) && strstr(name, "_ipv"));
}

struct reeve_pins {
	struct hook_reading *reading;
	const struct pins *pins;
};

/* Filters have no links: reeve's are known by their programs. */
static int program_visit(const struct reeve_pins *own, const char *name)
{
	cleanup_fd int fd = pins_get(own->pins, name);
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) &&
	    id_vector_push(&own->reading->reeve, info.id))
		own->reading->hooks->error = -ENOMEM;
	return 0;
}

static int pin_visit(void *context, const char *name)
{
	const struct reeve_pins *own = context;
	cleanup_fd int fd = -1;
	struct sys_link_info info;

	for (size_t i = 0; i < PROGRAM_COUNT; i++)
		if (!strcmp(name, loaded_program_names[i]))
			return program_visit(own, name);
	if (!is_link_pin(name))
		return 0;
	fd = pins_get(own->pins, name);
	if (fd < 0 || sys_link_info(fd, &info))
		return 0;
	if (id_vector_push(&own->reading->reeve, info.program) ||
	    id_vector_push(&own->reading->reeve_links, info.id))
		own->reading->hooks->error = -ENOMEM;
	return 0;
}

void hooks_read_reeve(struct hook_reading *reading)
{
	struct pins pins = PINS_CLOSED;
	struct reeve_pins own = { reading, &pins };
	struct problem problem;
	int err = pins_open(&pins, false, &problem);

	if (!err)
		pins_each(&pins, pin_visit, &own);
	else if (err != -ENOENT)
		hook_note(reading, "which programs are reeve's is not known: %s", problem.what);
	pins_close(&pins);
}

/* --- tcx --- */

static int tcx_read(struct hook_reading *reading, const struct link *link, enum hook_point point)
{
	uint32_t programs[PROGRAMS_MAX] = { 0 }, links[PROGRAMS_MAX] = { 0 }, n = PROGRAMS_MAX;
	int err = sys_program_query(link->ifindex,
				    point == POINT_TC_INGRESS ? SYS_ATTACH_TCX_INGRESS :
								SYS_ATTACH_TCX_EGRESS,
				    programs, links, &n);

	for (uint32_t i = 0; !err && i < n && i < PROGRAMS_MAX; i++) {
		struct hook_entry entry = {
			.point = point,
			.kind = HOOK_KIND_TCX,
			.ifindex = link->ifindex,
			.sequence = i,
			.program = programs[i],
			.links = { links[i] },
		};

		memcpy(entry.device, link->name, sizeof(entry.device));
		hook_add(reading, &entry);
	}
	return err;
}

void hooks_read_tcx(struct hook_reading *reading)
{
	for (size_t i = 0; i < reading->links->n; i++) {
		const struct link *link = &reading->links->items[i];
		int err = tcx_read(reading, link, POINT_TC_INGRESS);

		if (!err)
			err = tcx_read(reading, link, POINT_TC_EGRESS);
		if (!err || err == -ENODEV || err == -ENOENT)
			continue;
		if (err == -EINVAL || err == -EOPNOTSUPP)
			hook_note(reading, "this kernel has no tcx hooks (Linux 6.6 has)");
		else
			hook_note(reading, "tcx cannot be read: %s", strerror(-err));
		return;
	}
}

/* --- Netfilter --- */

/* A program that lets everything pass. A descriptor, or -errno. */
static int passing_program(void)
{
	static const struct bpf_insn instructions[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = NF_ACCEPT },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options,
		    .expected_attach_type = (enum bpf_attach_type)SYS_ATTACH_NETFILTER);
	int fd = bpf_prog_load((enum bpf_prog_type)SYS_PROG_TYPE_NETFILTER, "reeve_hooks", "GPL",
			       instructions, sizeof(instructions) / sizeof(instructions[0]),
			       &options);

	return fd < 0 ? -errno : fd;
}

enum place { PLACE_FREE, PLACE_TAKEN, PLACE_UNKNOWN };

static enum place place_try(int program, const struct sys_link_info *info)
{
	int fd = program < 0 ?
			 program :
			 sys_netfilter_link(program, info->family, info->hook, info->priority);

	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
		return PLACE_FREE;
	}
	return fd == -EBUSY ? PLACE_TAKEN : PLACE_UNKNOWN;
}

VECTOR(link_info_vector, struct sys_link_info);

static int netfilter_links(struct link_info_vector *infos)
{
	uint32_t id = 0;

	while (!bpf_link_get_next_id(id, &id)) {
		cleanup_fd int fd = bpf_link_get_fd_by_id(id);
		struct sys_link_info info;

		if (fd < 0 && errno != ENOENT)
			return -errno;
		if (fd < 0 || sys_link_info(fd, &info) || info.type != LINK_TYPE_NETFILTER)
			continue;
		if (link_info_vector_push(infos, info))
			return -ENOMEM;
	}
	return errno == ENOENT ? 0 : -errno;
}

static bool same_place(const struct sys_link_info *a, const struct sys_link_info *b)
{
	return a->family == b->family && a->hook == b->hook && a->priority == b->priority;
}

/* Is a link at this place, `reeve` one of this namespace's reeve, another than `info`? */
static bool rival(const struct link_info_vector *infos, const struct hook_reading *reading,
		  const struct sys_link_info *info, bool reeve)
{
	for (size_t i = 0; i < infos->n; i++) {
		const struct sys_link_info *other = &infos->items[i];

		if (other->id != info->id && same_place(other, info) &&
		    (!reeve || id_known(&reading->reeve_links, other->id)))
			return true;
	}
	return false;
}

static void netfilter_link_read(struct hook_reading *reading, const struct link_info_vector *infos,
				const struct sys_link_info *info, int trial)
{
	bool own = id_known(&reading->reeve_links, info->id);
	struct hook_entry entry = {
		.point = point_of(info->family, info->hook),
		.kind = HOOK_KIND_NETFILTER_BPF,
		.families = info->family == NFPROTO_IPV6 ? HOOK_FAMILY_IPV6 : HOOK_FAMILY_IPV4,
		.prioritised = true,
		.priority = info->priority,
		.sequence = HOOK_SEQUENCE_UNKNOWN,
		.program = info->program,
		.links = { info->id },
		.reeve = own,
	};
	enum place place = reading->listed ? PLACE_UNKNOWN : place_try(trial, info);
	bool taken_by_reeve = !own && rival(infos, reading, info, true);

	if (entry.point == POINTS || place == PLACE_FREE || (taken_by_reeve && !reading->listed))
		return;
	entry.unsure = !own && (place == PLACE_UNKNOWN || rival(infos, reading, info, false));
	hook_add(reading, &entry);
}

void hooks_read_netfilter_links(struct hook_reading *reading)
{
	cleanup_fd int trial = reading->listed ? -1 : passing_program();
	struct link_info_vector infos = { 0 };
	int err = netfilter_links(&infos);

	if (err)
		hook_note(reading, "links of BPF on Netfilter cannot be read: %s", strerror(-err));
	for (size_t i = 0; i < infos.n; i++)
		netfilter_link_read(reading, &infos, &infos.items[i], trial);
	link_info_vector_free(&infos);
}

/* --- cgroups --- */

static const struct {
	uint32_t type;
	enum hook_point point;
	const char *name;
} cgroup_hooks[] = {
	{ BPF_CGROUP_INET_INGRESS, POINT_CGROUP_INGRESS, "ingress" },
	{ BPF_CGROUP_UDP4_RECVMSG, POINT_CGROUP_INGRESS, "recvmsg4" },
	{ BPF_CGROUP_UDP6_RECVMSG, POINT_CGROUP_INGRESS, "recvmsg6" },
	{ BPF_CGROUP_INET_SOCK_CREATE, POINT_CGROUP_SOCKET, "sock_create" },
	{ BPF_CGROUP_SETSOCKOPT, POINT_CGROUP_SOCKET, "setsockopt" },
	{ BPF_CGROUP_GETSOCKOPT, POINT_CGROUP_SOCKET, "getsockopt" },
	{ BPF_CGROUP_INET4_BIND, POINT_CGROUP_SOCKET, "bind4" },
	{ BPF_CGROUP_INET6_BIND, POINT_CGROUP_SOCKET, "bind6" },
	{ BPF_CGROUP_INET4_POST_BIND, POINT_CGROUP_SOCKET, "post_bind4" },
	{ BPF_CGROUP_INET6_POST_BIND, POINT_CGROUP_SOCKET, "post_bind6" },
	{ BPF_CGROUP_INET4_CONNECT, POINT_CGROUP_SOCKET, "connect4" },
	{ BPF_CGROUP_INET6_CONNECT, POINT_CGROUP_SOCKET, "connect6" },
	{ BPF_CGROUP_SOCK_OPS, POINT_CGROUP_SOCKET, "sock_ops" },
	{ BPF_CGROUP_INET4_GETSOCKNAME, POINT_CGROUP_SOCKET, "getsockname4" },
	{ BPF_CGROUP_INET6_GETSOCKNAME, POINT_CGROUP_SOCKET, "getsockname6" },
	{ BPF_CGROUP_INET4_GETPEERNAME, POINT_CGROUP_SOCKET, "getpeername4" },
	{ BPF_CGROUP_INET6_GETPEERNAME, POINT_CGROUP_SOCKET, "getpeername6" },
	{ BPF_CGROUP_UDP4_SENDMSG, POINT_CGROUP_SOCKET, "sendmsg4" },
	{ BPF_CGROUP_UDP6_SENDMSG, POINT_CGROUP_SOCKET, "sendmsg6" },
	{ BPF_CGROUP_INET_SOCK_RELEASE, POINT_CGROUP_SOCKET, "sock_release" },
	{ BPF_CGROUP_INET_EGRESS, POINT_CGROUP_EGRESS, "egress" },
};

/* 0, or -errno when nothing at all could be asked of this cgroup. */
static int cgroup_read(struct hook_reading *reading, const char *path, const char *name,
		       uint32_t depth)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno; /* it went away meanwhile */
	for (uint32_t i = 0; i < sizeof(cgroup_hooks) / sizeof(cgroup_hooks[0]); i++) {
		uint32_t programs[PROGRAMS_MAX] = { 0 }, n = PROGRAMS_MAX;

		err = sys_program_query((uint32_t)fd, cgroup_hooks[i].type, programs, NULL, &n);
		if (err == -EINVAL)
			err = 0; /* younger than this kernel */
		else if (err)
			break;
		else
			for (uint32_t j = 0; j < n && j < PROGRAMS_MAX; j++) {
				struct hook_entry entry = {
					.point = cgroup_hooks[i].point,
					.kind = HOOK_KIND_CGROUP,
					/*
					 * A cgroup's own programs run before those of the ones it
					 * is in.
					 */
					.sequence = i << 20 | (255 - (depth & 255)) << 8 | j,
					.program = programs[j],
				};

				snprintf(entry.detail, sizeof(entry.detail), "%s",
					 cgroup_hooks[i].name);
				snprintf(entry.cgroup, sizeof(entry.cgroup), "%s", name);
				hook_add(reading, &entry);
			}
	}
	return err;
}

/* Where the hierarchy of cgroups is mounted, as process `pid` sees it ("self" or a number). */
static bool cgroup_root(const char *pid, char *path, size_t size)
{
	char name[64], line[1024], mount[512];
	cleanup_file FILE *file = NULL;

	snprintf(name, sizeof(name), "/proc/%s/mountinfo", pid);
	file = fopen(name, "re");
	while (file && fgets(line, sizeof(line), file)) {
		const char *type = strstr(line, " - ");

		if (type && !strncmp(type, " - cgroup2 ", 11) &&
		    sscanf(line, "%*s %*s %*s / %511s", mount) == 1) {
			snprintf(path, size, "/proc/%s/root%s", pid, mount);
			return true;
		}
	}
	return false;
}

static void fts_end(FTS **tree)
{
	if (*tree)
		fts_close(*tree);
}

void hooks_read_cgroups(struct hook_reading *reading)
{
	cleanup(fts_end) FTS *tree = NULL;
	char root[640];
	char *const roots[] = { root, NULL };
	uint32_t n = 0;
	FTSENT *one;

	/* `ip netns exec` hides it from its command, not from process 1. */
	if (!cgroup_root("self", root, sizeof(root)) && !cgroup_root("1", root, sizeof(root))) {
		hook_note(reading, "cgroups are not looked at: no cgroup2 file system is mounted");
		return;
	}
	tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	while (tree && (one = fts_read(tree))) {
		const char *name = one->fts_path + strlen(root);
		int err;

		if (one->fts_info != FTS_D)
			continue;
		if (n++ >= CGROUPS_MAX) {
			hook_note(reading, "only %u cgroups are looked at, there are more",
				  CGROUPS_MAX);
			return;
		}
		err = cgroup_read(reading, one->fts_path, name[0] ? name : "/",
				  (uint32_t)one->fts_level);
		if (err) {
			hook_note(reading, "programs of cgroups cannot be read: %s",
				  strerror(-err));
			return;
		}
	}
}

/* --- the namespace --- */

void hooks_read_namespace(struct hook_reading *reading)
{
	cleanup_fd int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	uint32_t programs[PROGRAMS_MAX] = { 0 }, n = PROGRAMS_MAX;
	int err = fd < 0 ? -errno :
			   sys_program_query((uint32_t)fd, BPF_SK_LOOKUP, programs, NULL, &n);

	if (err && err != -EINVAL)
		hook_note(reading, "programs of sk_lookup cannot be read: %s", strerror(-err));
	for (uint32_t i = 0; !err && i < n && i < PROGRAMS_MAX; i++) {
		struct hook_entry entry = {
			.point = POINT_SOCKET_LOOKUP,
			.kind = HOOK_KIND_NETNS,
			.sequence = i,
			.program = programs[i],
			.detail = "sk_lookup",
		};

		hook_add(reading, &entry);
	}
}

/* --- names --- */

static void btf_end(struct btf **btf)
{
	btf__free(*btf);
}

/* The kernel keeps 15 letters of a program's name; its type information has the whole. */
static void whole_name(int fd, const struct bpf_prog_info *info, struct hook_entry *entry)
{
	cleanup(btf_end) struct btf *btf = NULL;
	cleanup_free char *functions = NULL;
	struct bpf_prog_info again = { 0 };
	uint32_t size = sizeof(again);
	const struct btf_type *type;
	const char *name;

	if (!info->btf_id || !info->nr_func_info || strlen(info->name) < BPF_OBJ_NAME_LEN - 1)
		return;
	functions = calloc(info->nr_func_info, info->func_info_rec_size);
	if (!functions || info->func_info_rec_size < sizeof(struct bpf_func_info))
		return;
	again.nr_func_info = info->nr_func_info;
	again.func_info_rec_size = info->func_info_rec_size;
	again.func_info = (uintptr_t)functions;
	if (bpf_obj_get_info_by_fd(fd, &again, &size))
		return;
	btf = btf__load_from_kernel_by_id(info->btf_id);
	type = btf ? btf__type_by_id(btf, ((struct bpf_func_info *)functions)->type_id) : NULL;
	name = type ? btf__name_by_offset(btf, type->name_off) : NULL;
	if (name && name[0])
		snprintf(entry->name, sizeof(entry->name), "%s", name);
}

static void name_program(struct hook_reading *reading, struct hook_entry *entry)
{
	cleanup_fd int fd = bpf_prog_get_fd_by_id(entry->program);
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	entry->reeve = entry->kind == HOOK_KIND_NETFILTER_BPF ?
			       id_known(&reading->reeve_links, entry->links[0]) :
			       id_known(&reading->reeve, entry->program);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size))
		return;
	if (!entry->name[0]) {
		snprintf(entry->name, sizeof(entry->name), "%s", info.name);
		whole_name(fd, &info, entry);
	}
	/*
	 * Counted only while somebody asks for statistics; the counts stay, and go on with the
	 * next.
	 */
	entry->counted = info.run_cnt > 0;
	entry->packets = info.run_cnt;
}

void hooks_name_programs(struct hook_reading *reading)
{
	for (size_t i = 0; i < reading->hooks->entries.n; i++)
		if (reading->hooks->entries.items[i].program)
			name_program(reading, &reading->hooks->entries.items[i]);
}
