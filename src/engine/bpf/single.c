// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/single.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"

#define NAME "reeved"

static socklen_t address_fill(struct sockaddr_un *address)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path + 1, NAME, sizeof(NAME) - 1);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(NAME));
}

/* Who listens at the name. 0 when it cannot be told. */
static pid_t holder(const struct sockaddr_un *address, socklen_t size, uid_t *uid)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, size) ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return 0;
	*uid = peer.uid;
	return peer.pid;
}

int single_take(pid_t *pid)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;
	socklen_t size = address_fill(&address);
	uid_t uid = 0;

	if (fd < 0)
		return -errno;
	if (!bind(fd, (const struct sockaddr *)&address, size))
		return listen(fd, 64) ? -errno : take_fd(fd);
	if (errno != EADDRINUSE)
		return -errno;
	*pid = holder(&address, size, &uid);
	return *pid && !uid ? -EADDRINUSE : -EACCES;
}

void single_answer(int fd)
{
	int asked;

	while ((asked = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(asked);
}

pid_t single_process(void)
{
	struct sockaddr_un address;
	socklen_t size = address_fill(&address);
	uid_t uid = 0;
	pid_t pid = holder(&address, size, &uid);

	return uid ? 0 : pid;
}
