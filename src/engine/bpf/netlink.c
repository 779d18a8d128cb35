// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/netlink.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"

#define BUFFER_SIZE ((size_t)64 * 1024)

static void socket_close(struct mnl_socket **socket)
{
	if (*socket)
		mnl_socket_close(*socket);
}

int netlink_dump(int protocol, struct nlmsghdr *request, mnl_cb_t receive, void *context)
{
	cleanup(socket_close) struct mnl_socket *socket = mnl_socket_open(protocol);
	cleanup_free char *buffer = malloc(BUFFER_SIZE);
	unsigned int port;
	ssize_t len;
	int more = 1;

	if (!buffer)
		return -ENOMEM;
	if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return -errno;
	port = mnl_socket_get_portid(socket);
	while (more > 0) {
		len = mnl_socket_recvfrom(socket, buffer, BUFFER_SIZE);
		if (len < 0)
			return -errno;
		more = mnl_cb_run(buffer, (size_t)len, request->nlmsg_seq, port, receive, context);
		if (more < 0)
			return -errno;
	}
	return 0;
}

struct nlmsghdr *netlink_request(char *buffer, uint16_t type, size_t header, unsigned char family)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	unsigned char *extra;

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = (uint32_t)time(NULL);
	extra = mnl_nlmsg_put_extra_header(request, header);
	extra[0] = family; /* the first byte of ifinfomsg, ifaddrmsg and rtmsg */
	return request;
}

bool netlink_has_header(const struct nlmsghdr *message, size_t size)
{
	return mnl_nlmsg_get_payload_len(message) >= size;
}

const char *netlink_string(const struct nlattr *attr)
{
	return mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0 ? "" : mnl_attr_get_str(attr);
}

uint32_t netlink_number(const struct nlattr *attr)
{
	return mnl_attr_validate(attr, MNL_TYPE_U32) < 0 ? 0 : mnl_attr_get_u32(attr);
}
