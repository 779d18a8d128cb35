// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/pending.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/bpf/pins.h"
#include "engine/bpf/problem.h"

#define MAGIC 0x31444e5056454552ull /* "REEVPND1" */
#define NEW_PATH_MAX (PIN_PATH_MAX + 8)
#define SIZE_MAX_ ((size_t)256 << 20)

struct head {
	uint64_t magic, deadline_ns, bundle_size;
};

uint64_t pending_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int read_all(int fd, void *to, size_t size)
{
	unsigned char *at = to;

	while (size) {
		ssize_t n = read(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EBADMSG;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

static int write_all(int fd, const void *from, size_t size)
{
	const unsigned char *at = from;

	while (size) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

/* Opens the file; locked, and still the one of that name, if asked for. A descriptor, or -errno. */
static int open_file(const char *path, bool lock)
{
	struct stat locked, there;

	for (;;) {
		cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0 || (lock && flock(fd, LOCK_EX)))
			return -errno;
		if (!lock)
			return take_fd(fd);
		if (!fstat(fd, &locked) && !stat(path, &there) && locked.st_ino == there.st_ino)
			return take_fd(fd);
	}
}

/* A descriptor, or -errno. */
static int open_pending(bool lock, struct problem *problem)
{
	char path[PIN_PATH_MAX];
	int err = problem_capabilities(problem), fd;

	if (!err)
		err = pins_state_path("pending", false, path, problem);
	if (err)
		return err;
	fd = open_file(path, lock);
	if (fd == -ENOENT)
		return problem_set(problem, fd, "no policy waits for confirmation");
	return fd < 0 ? problem_set(problem, fd, "cannot open %s: ", path) : fd;
}

static int head_read(int fd, struct head *head)
{
	int err = read_all(fd, head, sizeof(*head));

	return !err && (head->magic != MAGIC || head->bundle_size > SIZE_MAX_) ? -EBADMSG : err;
}

int pending_deadline(uint64_t *deadline_ns, struct problem *problem)
{
	cleanup_fd int fd = open_pending(false, problem);
	struct head head;
	int err = fd < 0 ? fd : head_read(fd, &head);

	if (!err)
		*deadline_ns = head.deadline_ns;
	return err;
}

int pending_read(bool lock, struct pending *pending, struct problem *problem)
{
	cleanup_free unsigned char *bundle = NULL;
	struct head head;
	int err;

	*pending = (struct pending)PENDING_NONE;
	pending->fd = open_pending(lock, problem);
	if (pending->fd < 0) {
		err = pending->fd;
		pending->fd = -1;
		return err;
	}
	err = head_read(pending->fd, &head);
	if (!err && head.bundle_size) {
		bundle = malloc(head.bundle_size);
		err = bundle ? read_all(pending->fd, bundle, head.bundle_size) : -ENOMEM;
	}
	if (err)
		return problem_set(problem, err, "what waits for confirmation cannot be read: ");
	pending->deadline_ns = head.deadline_ns;
	pending->bundle = take(bundle);
	pending->bundle_size = head.bundle_size;
	return 0;
}

/* Where it is written before it takes its place. */
static void new_path(const char path[PIN_PATH_MAX], char new[NEW_PATH_MAX])
{
	snprintf(new, NEW_PATH_MAX, "%s.new", path);
}

int pending_write(uint64_t deadline_ns, const unsigned char *bundle, size_t bundle_size,
		  struct problem *problem)
{
	struct head head = { MAGIC, deadline_ns, bundle ? bundle_size : 0 };
	char path[PIN_PATH_MAX], new[NEW_PATH_MAX];
	cleanup_fd int fd = -1;
	int err;

	err = pins_state_path("pending", true, path, problem);
	if (err)
		return err;
	new_path(path, new);
	fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	err = fd < 0 ? -errno : write_all(fd, &head, sizeof(head));
	if (!err && bundle)
		err = write_all(fd, bundle, bundle_size);
	if (!err && (fsync(fd) || rename(new, path)))
		err = -errno;
	if (!err)
		return 0;
	if (fd >= 0)
		unlink(new);
	return problem_set(problem, err, "cannot note down the former policy in %s: ", path);
}

int pending_remove(struct problem *problem)
{
	char path[PIN_PATH_MAX], new[NEW_PATH_MAX];
	int err = pins_state_path("pending", false, path, problem);

	if (err)
		return err;
	if (unlink(path) && errno != ENOENT)
		return problem_set(problem, -errno, "cannot remove %s: ", path);
	new_path(path, new);
	unlink(new); /* left by an `apply --confirm` that was killed */
	return 0;
}

void pending_close(struct pending *pending)
{
	free(pending->bundle);
	if (pending->fd >= 0)
		close(pending->fd);
	*pending = (struct pending)PENDING_NONE;
}
