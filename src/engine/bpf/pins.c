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

#define HOME "/run/reeve"
#define MOUNT_POINT HOME "/bpf"
#define MODE 0700
#define MODE_FILE 0600

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

int namespace_cookie(uint64_t *cookie, struct problem *problem)
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

static bool root_reachable(int pid)
{
	char path[PIN_PATH_MAX];
	struct statfs info;

	snprintf(path, sizeof(path), "/proc/%d/root/", pid);
	if (statfs(path, &info))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	return !access(path, R_OK);
}

/* One line of text of a file under /proc; "" when it cannot be read. */
static void proc_read(int pid, const char *file, char *line, int size)
{
	cleanup_file FILE *stream = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	line[0] = '\0';
	stream = fopen(path, "re");
	if (!stream || !fgets(line, size, stream))
		line[0] = '\0';
}

static int parent_of(int pid)
{
	char line[512], *end;
	int parent = 0;

	proc_read(pid, "stat", line, sizeof(line));
	end = strrchr(line, ')'); /* a command's name may hold anything */
	return end && sscanf(end, ") %*c %d", &parent) == 1 ? parent : 0;
}

/*
 * A process in the mount namespace that everybody shares: PID 1; or kthreadd, which stays in the
 * first one, where PID 1 does not let itself be looked at; or else the furthest ancestor that does.
 */
static int root_process(void)
{
	char name[32];
	int found = getpid();

	if (root_reachable(1))
		return 1;
	proc_read(2, "comm", name, sizeof(name));
	if (!strcmp(name, "kthreadd\n") && root_reachable(2))
		return 2;
	for (int pid = parent_of(found); pid > 0 && root_reachable(pid); pid = parent_of(pid))
		found = pid;
	return found;
}

/* `path` as this process reaches it. */
static void root_path(const struct pins *pins, const char *path, char result[PIN_PATH_MAX])
{
	snprintf(result, PIN_PATH_MAX, "/proc/%d/root%s", pins->root, path);
}

static void folder_name(struct pins *pins, uint64_t cookie)
{
	pins->cookie = cookie;
	snprintf(pins->folder, sizeof(pins->folder), "/proc/%d/root" MOUNT_POINT "/%" PRIx64,
		 pins->root, cookie);
}

static bool mounted(const struct pins *pins)
{
	char path[PIN_PATH_MAX];
	struct statfs info;

	root_path(pins, MOUNT_POINT, path);
	return !statfs(path, &info) && (uint32_t)info.f_type == (uint32_t)BPF_FS_MAGIC;
}

/* In the child, inside the common mount namespace. The exit status is an errno. */
/*
 * Where a folder cannot be made because the one above is missing, that is no -ENOENT: nothing will
 * bring it.
 */
static int mount_here(void)
{
	if ((mkdir(HOME, MODE) && errno != EEXIST) || (mkdir(MOUNT_POINT, MODE) && errno != EEXIST))
		return errno == ENOENT ? ENOTDIR : errno;
	if (mount("bpf", MOUNT_POINT, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return errno;
	return 0;
}

static int unmount_here(void)
{
	/* Lazily: a reader that is just about to end may still hold the folder that is gone. */
	if (umount2(MOUNT_POINT, MNT_DETACH) && errno != EINVAL && errno != ENOENT)
		return errno;
	rmdir(MOUNT_POINT);
	rmdir(HOME);
	return 0;
}

/*
 * Runs `work` in the common mount namespace, in a child, because a mount namespace is entered for
 * good.
 */
static int in_root_namespace(const struct pins *pins, int (*work)(void))
{
	char path[PIN_PATH_MAX];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pins->root);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0) /* no /proc: nothing that a `down` would have removed */
			_exit(errno == ENOENT ? ESRCH : errno);
		_exit(setns(fd, CLONE_NEWNS) ? errno : work());
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

static int home_missing(struct problem *problem)
{
	problem_set(problem, -ENOTDIR,
		    "cannot make " MOUNT_POINT ", for a folder above it is missing: ");
	problem_hint(problem, "is /run there, and " HOME " a folder? nothing was changed");
	return -ENOTDIR;
}

static void unlock(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int mount_ensure(const struct pins *pins, struct problem *problem)
{
	int err;

	if (mounted(pins))
		return 0;
	err = in_root_namespace(pins, mount_here);
	if (!err && !mounted(pins))
		err = -EIO;
	if (err == -ENOTDIR)
		return home_missing(problem);
	if (err) {
		problem_set(problem, err, "cannot mount a bpf file system at " MOUNT_POINT ": ");
		problem_hint(problem, "reeve keeps its programs there, in the mount namespace of "
				      "PID 1; nothing was changed");
	}
	return err;
}

/*
 * One try; -EAGAIN when what was locked is not what is at this path any more: `down` removes it.
 */
static int lock_once(int *fd, const char *path, int flags, int how)
{
	struct stat locked, there;

	*fd = open(path, flags | O_CLOEXEC, MODE_FILE);
	if (*fd < 0 || flock(*fd, how))
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (!fstat(*fd, &locked) && !stat(path, &there) && locked.st_ino == there.st_ino &&
	    locked.st_dev == there.st_dev)
		return 0;
	return -EAGAIN;
}

/* *fd holds the lock when this returns 0, and is -1 otherwise. */
static int lock(int *fd, const char *path, int flags, int how)
{
	int err;

	do {
		unlock(fd);
		err = lock_once(fd, path, flags, how);
	} while (err == -EAGAIN);
	if (err)
		unlock(fd);
	return err;
}

static void lock_path(const struct pins *pins, char path[PIN_PATH_MAX])
{
	char name[PIN_PATH_MAX / 2];

	snprintf(name, sizeof(name), HOME "/lock-%" PRIx64, pins->cookie);
	root_path(pins, name, path);
}

/* The lock of changes in this namespace. */
static int lock_changes(struct pins *pins, int how, struct problem *problem)
{
	char path[PIN_PATH_MAX];
	int err;

	lock_path(pins, path);
	err = lock(&pins->lock, path, O_RDONLY | O_CREAT, how);
	if (err == -ENOENT)
		return problem_set(problem, err, "nothing is applied in this network namespace");
	return err ? problem_set(problem, err, "cannot lock the changes in " HOME ": ") : 0;
}

/*
 * The lock of the mount and its folders. It is held for a moment, and never while waiting for that
 * of a namespace.
 */
static int lock_home(struct pins *pins, struct problem *problem)
{
	char path[PIN_PATH_MAX];
	int err;

	root_path(pins, HOME, path);
	err = lock(&pins->home, path, O_RDONLY | O_DIRECTORY, LOCK_EX);
	return err ? problem_set(problem, err, "cannot lock " HOME ": ") : 0;
}

int pins_lock(struct pins *pins, struct problem *problem)
{
	return lock_changes(pins, LOCK_EX, problem);
}

int pins_try_lock(struct pins *pins, struct problem *problem)
{
	return lock_changes(pins, LOCK_EX | LOCK_NB, problem);
}

/* Makes the mount and the namespace's folder, where they are missing. */
static int folder_make(struct pins *pins, struct problem *problem)
{
	char home[PIN_PATH_MAX];
	int err;

	root_path(pins, HOME, home);
	if (mkdir(home, MODE) && errno != EEXIST)
		return home_missing(problem);
	err = lock_home(pins, problem);
	if (!err)
		err = mount_ensure(pins, problem);
	if (!err && mkdir(pins->folder, MODE) && errno != EEXIST)
		err = problem_set(problem, -errno, "cannot make a folder in " MOUNT_POINT ": ");
	unlock(&pins->home);
	return err;
}

static bool folder_there(const struct pins *pins)
{
	struct stat info;

	return mounted(pins) && !stat(pins->folder, &info);
}

int pins_open(struct pins *pins, bool create, struct problem *problem)
{
	uint64_t cookie;
	int err;

	err = problem_capabilities(problem);
	if (!err)
		err = namespace_cookie(&cookie, problem);
	if (err)
		return err;
	pins->root = root_process();
	folder_name(pins, cookie);
	if (!create) {
		if (folder_there(pins))
			return 0;
		problem_set(problem, -ENOENT, "nothing is applied in this network namespace");
		problem_hint(problem, "reeve apply FILE");
		return -ENOENT;
	}
	/* Somebody's `down` may remove each before we have the next. */
	do {
		err = folder_make(pins, problem);
		if (!err)
			err = pins_lock(pins, problem);
	} while (err == -ENOENT || (!err && !folder_there(pins)));
	if (err)
		pins_close(pins);
	return err;
}

int pins_open_home(struct pins *pins, struct problem *problem)
{
	int err = problem_capabilities(problem);

	if (err)
		return err;
	pins->root = root_process();
	pins->folder[0] = '\0';
	if (!mounted(pins))
		return problem_set(problem, -ENOENT, "nothing is applied on this machine");
	return lock_home(pins, problem);
}

int pins_each_namespace(const struct pins *home,
			int (*visit)(void *context, struct pins *namespace), void *context)
{
	struct pins namespace = { .root = home->root, .lock = -1, .home = home->home };
	struct dirent *entry;
	char path[PIN_PATH_MAX];
	uint64_t cookie;
	int stop = 0;
	DIR *folder;

	root_path(home, MOUNT_POINT, path);
	folder = opendir(path);
	if (!folder)
		return -errno;
	while (!stop && (entry = readdir(folder))) {
		if (entry->d_type != DT_DIR || sscanf(entry->d_name, "%" SCNx64, &cookie) != 1)
			continue;
		folder_name(&namespace, cookie);
		stop = visit(context, &namespace);
	}
	closedir(folder);
	return stop;
}

int pins_state_path(const char *kind, bool create, char path[PIN_PATH_MAX],
		    struct problem *problem)
{
	struct pins pins = PINS_CLOSED;
	char home[PIN_PATH_MAX];
	uint64_t cookie;
	int err = namespace_cookie(&cookie, problem);

	if (err)
		return err;
	pins.root = root_process();
	root_path(&pins, HOME, home);
	if (create && mkdir(home, MODE) && errno != EEXIST)
		return problem_set(problem, -errno, "cannot make " HOME ": ");
	if (snprintf(path, PIN_PATH_MAX, "%s/%s-%" PRIx64, home, kind, cookie) >= PIN_PATH_MAX)
		return problem_set(problem, -ENAMETOOLONG, "cannot name a file in " HOME ": ");
	return 0;
}

void pins_close(struct pins *pins)
{
	unlock(&pins->lock);
	unlock(&pins->home);
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
	char new[PIN_PATH_MAX / 2], path[PIN_PATH_MAX];

	snprintf(new, sizeof(new), PINS_NEW "%s", name);
	pins_path(pins, new, path);
	if (unlink(path) && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(fd, path) ? -errno : pins_rename(pins, new, name);
}

int pins_remove(const struct pins *pins, const char *name)
{
	char path[PIN_PATH_MAX];

	pins_path(pins, name, path);
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

int pins_rename(const struct pins *pins, const char *name, const char *to)
{
	char path[PIN_PATH_MAX], path_to[PIN_PATH_MAX];

	pins_path(pins, name, path);
	pins_path(pins, to, path_to);
	return rename(path, path_to) ? -errno : 0;
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

/*
 * Is there nothing but `.`, `..` and, where `files` may stay, files? (The kernel puts some of its
 * own into every bpffs.)
 */
static bool folder_empty(const char *path, bool files)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	bool empty = true;

	if (!folder)
		return false;
	while ((entry = readdir(folder)))
		if (entry->d_name[0] != '.' && !(files && entry->d_type != DT_DIR))
			empty = false;
	closedir(folder);
	return empty;
}

static int unmount_if_empty(const struct pins *pins)
{
	char path[PIN_PATH_MAX];

	root_path(pins, MOUNT_POINT, path);
	return folder_empty(path, true) || access(path, F_OK) ?
		       in_root_namespace(pins, unmount_here) : 0;
}

int pins_clear(struct pins *pins, struct problem *problem)
{
	/* Removing while reading may skip entries on this file system: until nothing is left. */
	bool home_held = pins->home >= 0;
	char path[PIN_PATH_MAX];
	int err = 0, rounds = 0;

	while (!err && !folder_empty(pins->folder, false) && rounds++ < 1000)
		err = pins_each(pins, remove_visit, pins);
	if (err)
		return problem_set(problem, err, "cannot remove the pins in " MOUNT_POINT ": ");
	if (!home_held)
		err = lock_home(pins, problem);
	if (err)
		return err;
	if (rmdir(pins->folder) && errno != ENOENT)
		err = problem_set(problem, -errno, "cannot remove the pins in " MOUNT_POINT ": ");
	lock_path(pins, path);
	if (!err && unlink(path) && errno != ENOENT)
		err = problem_set(problem, -errno, "cannot remove what was locked in " HOME ": ");
	if (!err) {
		err = unmount_if_empty(pins);
		if (err)
			problem_set(problem, err, "cannot unmount " MOUNT_POINT ": ");
	}
	if (!home_held)
		unlock(&pins->home);
	return err;
}

void pins_clear_home(struct pins *pins)
{
	struct problem ignored;
	char path[PIN_PATH_MAX];

	if (lock_home(pins, &ignored))
		return;
	/* Whoever holds it without a folder looks again, and makes both anew. */
	lock_path(pins, path);
	if (!folder_there(pins))
		unlink(path);
	unmount_if_empty(pins);
	unlock(&pins->home);
}
