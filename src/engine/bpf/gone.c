// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Policies of network namespaces that are gone for everybody but the kernel.
 */
#include "engine/bpf/attach.h"
#include "engine/bpf/problem.h"

#include <bpf/bpf.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define PATH_SHORT 96

VECTOR(inode_vector, uint64_t);

static void folder_close(DIR **folder)
{
	if (*folder)
		closedir(*folder);
}

/* "net:[4026531833]" */
static void link_inode(const char *path, struct inode_vector *inodes)
{
	char target[64];
	ssize_t len = readlink(path, target, sizeof(target) - 1);
	uint64_t inode;

	if (len <= 0)
		return;
	target[len] = '\0';
	if (sscanf(target, "net:[%" SCNu64 "]", &inode) == 1)
		inode_vector_push(inodes, inode);
}

/* The number of the next entry of a folder under /proc that is one; 0 at the end. */
static unsigned int next_number(DIR *folder, bool *end)
{
	struct dirent *entry;

	while ((entry = readdir(folder)))
		if (isdigit((unsigned char)entry->d_name[0]))
			return (unsigned int)strtoul(entry->d_name, NULL, 10);
	*end = true;
	return 0;
}

/* The links /proc/PID/NAME/NUMBER plus suffix, for every number. */
static void folder_inodes(unsigned int pid, const char *name, const char *suffix,
			  struct inode_vector *inodes)
{
	cleanup(folder_close) DIR *folder = NULL;
	char path[PATH_SHORT];
	bool end = false;

	snprintf(path, sizeof(path), "/proc/%u/%s", pid, name);
	folder = opendir(path);
	while (folder) {
		unsigned int number = next_number(folder, &end);

		if (end)
			break;
		snprintf(path, sizeof(path), "/proc/%u/%s/%u%s", pid, name, number, suffix);
		link_inode(path, inodes);
	}
}

/* Mounts such as those of `ip netns add`: the fourth word of a line is "net:[INODE]". */
static void mount_inodes(const char *path, struct inode_vector *inodes)
{
	cleanup_file FILE *file = fopen(path, "re");
	cleanup_free char *line = NULL;
	size_t room = 0;
	uint64_t inode;

	while (file && getline(&line, &room, file) > 0)
		if (sscanf(line, "%*s %*s %*s net:[%" SCNu64 "]", &inode) == 1)
			inode_vector_push(inodes, inode);
}

static int compare_inodes(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

/* All network namespaces that somebody is in or holds open. */
static int reachable_inodes(struct inode_vector *inodes)
{
	cleanup(folder_close) DIR *proc = opendir("/proc");
	char path[PATH_SHORT];
	bool end = false;

	if (!proc)
		return -errno;
	for (;;) {
		unsigned int pid = next_number(proc, &end);

		if (end)
			break;
		folder_inodes(pid, "task", "/ns/net", inodes);
		folder_inodes(pid, "fd", "", inodes);
		snprintf(path, sizeof(path), "/proc/%u/mountinfo", pid);
		mount_inodes(path, inodes);
	}
	if (inodes->n)
		qsort(inodes->items, inodes->n, sizeof(inodes->items[0]), compare_inodes);
	return 0;
}

struct sweep {
	struct inode_vector reachable;
	uint32_t removed;
	struct problem *problem;
};

/* 0 when it cannot be told: then the namespace is left alone. */
static uint64_t namespace_inode(const struct pins *namespace)
{
	cleanup_fd int fd = pins_get(namespace, loaded_map_names[MAP_CONTROL]);
	struct control control;

	if (fd < 0 || control_read(fd, &control))
		return 0;
	return control.namespace_inode;
}

static int sweep_visit(void *context, struct pins *namespace)
{
	struct sweep *sweep = context;
	uint64_t inode = namespace_inode(namespace);
	int err;

	if (!inode || bsearch(&inode, sweep->reachable.items, sweep->reachable.n,
			      sizeof(sweep->reachable.items[0]), compare_inodes))
		return 0;
	detach_links(namespace);
	err = pins_clear(namespace, sweep->problem);
	if (!err)
		sweep->removed++;
	return err;
}

int engine_down_gone(uint32_t *removed, struct problem *problem)
{
	struct sweep sweep = { .problem = problem };
	struct pins home = PINS_CLOSED;
	int err;

	err = pins_open_home(&home, problem);
	if (err == -ENOENT) {
		*removed = 0;
		return 0;
	}
	if (err)
		return err;
	err = reachable_inodes(&sweep.reachable);
	if (err)
		problem_set(problem, err, "cannot look through /proc: ");
	else
		err = pins_each_namespace(&home, sweep_visit, &sweep);
	inode_vector_free(&sweep.reachable);
	pins_close(&home);
	if (!err)
		*removed = sweep.removed;
	return err;
}
