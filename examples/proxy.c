// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A small transparent proxy: proxy PORT. It listens on all addresses, TCP and UDP, both families,
 * for packets that were sent to others and handed to it, prints who wanted to speak with whom, one
 * line each ("tcp 10.0.0.2 40000 -> 192.0.2.1 80"), opens a conversation of its own with the
 * original destination, and copies both ways. Its answers leave under the destination's address.
 *
 * A thread for each conversation keeps this short, and makes it no server for thousands.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <linux/in6.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_MS 30000 /* of UDP */
#define LISTENERS 4

struct conversation {
	int kind, client, server;
	struct sockaddr_storage to;
	socklen_t to_length;
	ssize_t first_length; /* of the datagram that opened it; -1: TCP */
	char first[65536];
};

static void report(int kind, const struct sockaddr_storage *from, const struct sockaddr_storage *to)
{
	char host[2][NI_MAXHOST], port[2][NI_MAXSERV];
	const struct sockaddr_storage *sides[2] = { from, to };

	for (int i = 0; i < 2; i++)
		if (getnameinfo((const struct sockaddr *)sides[i], sizeof(*sides[i]), host[i],
				sizeof(host[i]), port[i], sizeof(port[i]),
				NI_NUMERICHOST | NI_NUMERICSERV))
			return;
	printf("%s %s %s -> %s %s\n", kind == SOCK_STREAM ? "tcp" : "udp", host[0], port[0],
	       host[1], port[1]);
	fflush(stdout);
}

/* A socket that may bind to, and receive for, addresses that are not of this host. */
static int transparent(int family, int kind)
{
	int on = 1, fd = socket(family, kind | SOCK_CLOEXEC, 0);
	int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	int option = family == AF_INET ? IP_TRANSPARENT : IPV6_TRANSPARENT;
	int original = family == AF_INET ? IP_RECVORIGDSTADDR : IPV6_RECVORIGDSTADDR;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, level, option, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    (family == AF_INET6 && setsockopt(fd, level, IPV6_V6ONLY, &on, sizeof(on))) ||
	    (kind == SOCK_DGRAM && setsockopt(fd, level, original, &on, sizeof(on)))) {
		close(fd);
		return -1;
	}
	return fd;
}

static int listener(int family, int kind, in_port_t port)
{
	/* Family and port are at the same place for both; all else is zero. */
	struct sockaddr_in6 any = { .sin6_family = (sa_family_t)family, .sin6_port = htons(port) };
	int fd = transparent(family, kind);

	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) ||
	    (kind == SOCK_STREAM && listen(fd, 128))) {
		perror("proxy: cannot listen");
		exit(1);
	}
	return fd;
}

/* What one side says goes to the other; false when there is nothing more to come from it. */
static int copy(const struct conversation *now, int from, int to)
{
	char buf[65536];
	ssize_t n = recv(from, buf, sizeof(buf), 0);

	if (n < 0 || (n == 0 && now->kind == SOCK_STREAM)) {
		shutdown(to, SHUT_WR);
		return 0;
	}
	for (ssize_t sent = 0, more = 1; sent < n && more > 0; sent += more) {
		more = send(to, buf + sent, (size_t)(n - sent), MSG_NOSIGNAL);
		if (more < 0)
			return 0;
	}
	return 1;
}

static void *converse(void *argument)
{
	struct conversation *now = argument;
	struct pollfd sides[2] = { { .fd = now->client, .events = POLLIN },
				   { .fd = now->server, .events = POLLIN } };
	int patience = now->kind == SOCK_STREAM ? -1 : IDLE_MS;

	if (connect(now->server, (struct sockaddr *)&now->to, now->to_length))
		goto end;
	if (now->first_length >= 0)
		send(now->server, now->first, (size_t)now->first_length, MSG_NOSIGNAL);
	while ((sides[0].fd >= 0 || sides[1].fd >= 0) && poll(sides, 2, patience) > 0)
		for (int i = 0; i < 2; i++)
			if (sides[i].revents && !copy(now, i ? now->server : now->client,
						      i ? now->client : now->server))
				sides[i].fd = -1;
end:
	close(now->client);
	close(now->server);
	free(now);
	return NULL;
}

/* TCP: the accepted socket bears the original destination as its own address. */
static int accept_stream(int fd, struct conversation *now, struct sockaddr_storage *from)
{
	socklen_t length = sizeof(*from);

	now->first_length = -1;
	now->to_length = sizeof(now->to);
	now->client = accept4(fd, (struct sockaddr *)from, &length, SOCK_CLOEXEC);
	return now->client < 0 ||
	       getsockname(now->client, (struct sockaddr *)&now->to, &now->to_length);
}

/* UDP: the original destination comes beside the datagram; answers need a socket bound to it. */
static int accept_datagram(int fd, struct conversation *now, struct sockaddr_storage *from)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct sockaddr_in6))];
	} control;
	struct iovec data = { .iov_base = now->first, .iov_len = sizeof(now->first) };
	struct msghdr message = { .msg_name = from, .msg_namelen = sizeof(*from),
				  .msg_iov = &data, .msg_iovlen = 1,
				  .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *beside;

	now->first_length = recvmsg(fd, &message, 0);
	beside = now->first_length < 0 ? NULL : CMSG_FIRSTHDR(&message);
	if (!beside)
		return -1;
	now->to_length = (socklen_t)(beside->cmsg_len - CMSG_LEN(0));
	memcpy(&now->to, CMSG_DATA(beside), now->to_length);
	now->client = transparent(from->ss_family, SOCK_DGRAM);
	return now->client < 0 || bind(now->client, (struct sockaddr *)&now->to, now->to_length) ||
	       connect(now->client, (struct sockaddr *)from, message.msg_namelen);
}

static void begin(int fd, int kind)
{
	struct conversation *now = calloc(1, sizeof(*now));
	struct sockaddr_storage from = { 0 };
	pthread_t thread;

	if (!now)
		return;
	now->kind = kind;
	now->client = now->server = -1;
	if (!(kind == SOCK_STREAM ? accept_stream : accept_datagram)(fd, now, &from)) {
		report(kind, &from, &now->to);
		now->server = socket(now->to.ss_family, kind | SOCK_CLOEXEC, 0);
		if (now->server >= 0 && !pthread_create(&thread, NULL, converse, now)) {
			pthread_detach(thread);
			return;
		}
	}
	close(now->client);
	close(now->server);
	free(now);
}

int main(int argc, char **argv)
{
	long port = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
	struct pollfd listeners[LISTENERS];

	if (port < 1 || port > 65535)
		return fprintf(stderr, "usage: proxy PORT\n"), 2;
	for (int i = 0; i < LISTENERS; i++) {
		listeners[i].fd = listener(i & 1 ? AF_INET6 : AF_INET,
					   i & 2 ? SOCK_DGRAM : SOCK_STREAM, (in_port_t)port);
		listeners[i].events = POLLIN;
	}
	while (poll(listeners, LISTENERS, -1) > 0 || errno == EINTR)
		for (int i = 0; i < LISTENERS; i++)
			if (listeners[i].revents)
				begin(listeners[i].fd, i & 2 ? SOCK_DGRAM : SOCK_STREAM);
	return 1;
}
