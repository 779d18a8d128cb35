// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/bpf/problem.h"

#define PID1 "/proc/1/root"
#define HOME "/run/reeve"
#define MOUNT_POINT HOME "/bpf"
#define MODE 0700

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static int namespace_cookie(uint64_t *cookie, struct problem *problem)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(*cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &size)) {
		int err = -errno;

		problem_set(problem, err, "cannot tell this network namespace from others: ");
		problem_hint(problem, "SO_NETNS_COOKIE needs Linux 5.14 or newer");
		return err;
	}
	return 0;
}

static bool mounted(void)
{
	struct statfs info;

	return !statfs(PID1 MOUNT_POINT, &info) && (uint32_t)info.f_type == (uint32_t)BPF_FS_MAGIC;
}

/* In the child, inside PID 1's mount namespace. The exit status is an errno. */
static int mount_here(void)
{
	if ((mkdir(HOME, MODE) && errno != EEXIST) || (mkdir(MOUNT_POINT, MODE) && errno != EEXIST))
		return errno;
	if (mount("bpf", MOUNT_POINT, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return errno;
	return 0;
}

static int unmount_here(void)
{
	if (umount2(MOUNT_POINT, 0) && errno != EINVAL)
		return errno;
	rmdir(MOUNT_POINT);
	rmdir(HOME);
	return 0;
}

/* Runs `work` in PID 1's mount namespace, in a child, because a mount namespace is entered for good. */
static int in_first_namespace(int (*work)(void))
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid) {
		int fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);

		_exit(fd < 0 || setns(fd, CLONE_NEWNS) ? errno : work());
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

static int mount_ensure(struct problem *problem)
{
	int err;

	if (mounted())
		return 0;
	err = in_first_namespace(mount_here);
	if (!err && !mounted())
		err = -EIO;
	if (err) {
		problem_set(problem, err, "cannot mount a bpf file system at " MOUNT_POINT ": ");
		problem_hint(problem, "reeve keeps its programs there, in the mount namespace of "
				      "PID 1; nothing was changed");
	}
	return err;
}

int pins_lock(struct pins *pins, struct problem *problem)
{
	int err;

	pins->lock = open(PID1 HOME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pins->lock >= 0 && !flock(pins->lock, LOCK_EX))
		return 0;
	err = -errno;
	pins_close(pins);
	return problem_set(problem, err, "cannot lock " HOME ": ");
}

int pins_open(struct pins *pins, bool create, struct problem *problem)
{
	uint64_t cookie;
	struct stat info;
	int err;

	err = problem_capabilities(problem);
	if (!err)
		err = namespace_cookie(&cookie, problem);
	if (err)
		return err;
	snprintf(pins->folder, sizeof(pins->folder), PID1 MOUNT_POINT "/%" PRIx64, cookie);
	if (!create) {
		if (mounted() && !stat(pins->folder, &info))
			return 0;
		problem_set(problem, -ENOENT, "nothing is applied in this network namespace");
		problem_hint(problem, "reeve apply FILE");
		return -ENOENT;
	}
	err = mount_ensure(problem);
	if (!err)
		err = pins_lock(pins, problem);
	/* Somebody else's `down` may have unmounted it before we had the lock. */
	if (!err)
		err = mount_ensure(problem);
	if (!err && mkdir(pins->folder, MODE) && errno != EEXIST) {
		err = -errno;
		problem_set(problem, err, "cannot make %s: ", pins->folder + strlen(PID1));
	}
	if (err)
		pins_close(pins);
	return err;
}

void pins_close(struct pins *pins)
{
	if (pins->lock >= 0)
		close(pins->lock);
	pins->lock = -1;
}

void pins_path(const struct pins *pins, const char *name, char path[PIN_PATH_MAX])
{
	snprintf(path, PIN_PATH_MAX, "%s/%s", pins->folder, name);
}

int pins_get(const struct pins *pins, const char *name)
{
	char path[PIN_PATH_MAX];
	int fd;

	pins_path(pins, name, path);
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

int pins_put(const struct pins *pins, const char *name, int fd)
{
	char path[PIN_PATH_MAX];

	pins_path(pins, name, path);
	if (unlink(path) && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(fd, path) ? -errno : 0;
}

int pins_remove(const struct pins *pins, const char *name)
{
	char path[PIN_PATH_MAX];

	pins_path(pins, name, path);
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

int pins_each(const struct pins *pins, int (*visit)(void *context, const char *name), void *context)
{
	DIR *folder = opendir(pins->folder);
	struct dirent *entry;
	int stop = 0;

	if (!folder)
		return -errno;
	while (!stop && (entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			stop = visit(context, entry->d_name);
	closedir(folder);
	return stop;
}

static int remove_visit(void *context, const char *name)
{
	return pins_remove(context, name);
}

static bool folder_empty(const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	bool empty = true;

	if (!folder)
		return false;
	while ((entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			empty = false;
	closedir(folder);
	return empty;
}

int pins_clear(struct pins *pins, struct problem *problem)
{
	/* Removing while reading may skip entries on this file system: until nothing is left. */
	int err = 0, rounds = 0;

	while (!err && !folder_empty(pins->folder) && rounds++ < 1000)
		err = pins_each(pins, remove_visit, pins);
	if (!err && rmdir(pins->folder) && errno != ENOENT)
		err = -errno;
	if (err)
		return problem_set(problem, err, "cannot remove the pins in %s: ",
				   pins->folder + strlen(PID1));
	if (!folder_empty(PID1 MOUNT_POINT))
		return 0;
	err = in_first_namespace(unmount_here);
	if (err == -EBUSY)
		return 0; /* somebody looks into it; it is empty, and harmless */
	return err ? problem_set(problem, err, "cannot unmount " MOUNT_POINT ": ") : 0;
}
