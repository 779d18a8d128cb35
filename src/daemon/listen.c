// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/listen.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <sys/socket.h>

static const unsigned heard_of = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;

struct mnl_socket *listen_open(void)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (!socket || mnl_socket_bind(socket, heard_of, MNL_SOCKET_AUTOPID) < 0) {
		int err = errno;

		if (socket)
			mnl_socket_close(socket);
		errno = err;
		return NULL;
	}
	return socket;
}

int listen_drain(struct mnl_socket *socket)
{
	static char buffer[65536];
	int heard = 0;

	for (;;) {
		if (mnl_socket_recvfrom(socket, buffer, sizeof(buffer)) >= 0) {
			heard = 1;
			continue;
		}
		if (errno == EAGAIN)
			return heard;
		/* ENOSPC: libmnl's word for a message longer than the buffer. */
		if (errno == ENOBUFS || errno == ENOSPC || errno == EINTR)
			heard = 1;
		else
			return -errno;
	}
}
