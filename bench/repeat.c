// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs the programs that filter this network namespace over one packet again and again
 * (BPF_PROG_TEST_RUN), and looks at their maps.
 *
 *	repeat run INGRESS EGRESS arrive|depart|nothing original|reply PORT MARK TIMES
 *		the UDP packet of the client with this source port (reply: to it); MARK is the
 *		mark at first. "nothing" is an empty program: what a run costs by itself.
 *		-> {"ns": per run, "verdict": of the last run, "mark": behind it}
 *	repeat map NAME
 *		-> {"key": bytes, "record": bytes, "entries": room, "bytes": of kernel memory}
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "engine/bpf/pins.h"

#include "frames.h"
#include "frames.skel.h"

#define CLIENT "10.101.0.1"
#define SERVER "10.2.0.2"

struct request {
	const char *ingress, *egress;
	bool arrive, nothing, reply;
	unsigned short port;
	unsigned int mark, times;
};

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

static int pinned(const char *name, int *fd)
{
	struct pins pins = PINS_CLOSED;
	struct problem problem = { 0 };

	if (pins_open(&pins, false, &problem)) {
		fprintf(stderr, "%s\n", problem.what);
		return 1;
	}
	*fd = pins_get(&pins, name);
	pins_close(&pins);
	if (*fd >= 0)
		return 0;
	errno = -*fd;
	return fail(name);
}

static int map_show(const char *name)
{
	struct bpf_map_info info = { 0 };
	unsigned long long bytes = 0;
	unsigned int size = sizeof(info);
	cleanup_file FILE *file = NULL;
	cleanup_fd int fd = -1;
	char line[128];

	if (pinned(name, &fd))
		return 1;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return fail(name);
	snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", fd);
	file = fopen(line, "re");
	if (!file)
		return fail(line);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	printf("{\"key\": %u, \"record\": %u, \"entries\": %u, \"bytes\": %llu}\n", info.key_size,
	       info.value_size, info.max_entries, bytes);
	return 0;
}

/* The packet as it is on the wire in front of (arrive) or behind (depart) the device. */
static int frame_make(const struct request *request, const char *device, unsigned char *frame)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned char *ip = frame + FRAME_IP, *udp = frame + FRAME_UDP;
	struct ifreq query = { 0 };

	snprintf(query.ifr_name, sizeof(query.ifr_name), "%s", device);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &query))
		return fail(device);
	memset(frame, 0, FRAME_LENGTH);
	memcpy(frame, query.ifr_hwaddr.sa_data, 6);
	frame[12] = 0x08;
	ip[0] = 0x45;
	ip[3] = FRAME_LENGTH - FRAME_IP;
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	inet_pton(AF_INET, CLIENT, request->reply ? ip + 16 : ip + 12);
	inet_pton(AF_INET, SERVER, request->reply ? ip + 12 : ip + 16);
	udp[request->reply ? 1 : 3] = SERVER_PORT;
	udp[request->reply ? 2 : 0] = (unsigned char)(request->port >> 8);
	udp[request->reply ? 3 : 1] = (unsigned char)request->port;
	udp[5] = FRAME_LENGTH - FRAME_UDP;
	return 0;
}

static int repeat_fd(const struct request *request, int fd)
{
	const char *from = request->reply ? request->egress : request->ingress;
	const char *to = request->reply ? request->ingress : request->egress;
	const char *device = request->arrive ? from : to;
	unsigned char frame[FRAME_LENGTH];
	struct __sk_buff context = { 0 }, after = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame),
		    .ctx_in = &context, .ctx_size_in = sizeof(context), .ctx_out = &after,
		    .ctx_size_out = sizeof(after), .repeat = (int)request->times);

	if (frame_make(request, device, frame))
		return 1;
	context.mark = request->mark;
	context.ifindex = if_nametoindex(device);
	context.ingress_ifindex = request->arrive ? 0 : if_nametoindex(from);
	if (bpf_prog_test_run_opts(fd, &options))
		return fail("BPF_PROG_TEST_RUN");
	printf("{\"ns\": %u, \"verdict\": %d, \"mark\": %u}\n", options.duration,
	       (int)options.retval, after.mark);
	return 0;
}

static int repeat(const struct request *request)
{
	struct frames_bpf *object = NULL;
	cleanup_fd int fd = -1;
	int status;

	if (request->nothing) {
		object = frames_bpf__open_and_load();
		if (!object)
			return fail("cannot load the empty program");
		fd = dup(bpf_program__fd(object->progs.nothing));
	} else if (pinned(request->arrive ? "arrive_ethernet" : "depart_ethernet", &fd)) {
		return 1;
	}
	status = repeat_fd(request, fd);
	frames_bpf__destroy(object);
	return status;
}

int main(int n, char **words)
{
	if (n == 3 && strcmp(words[1], "map") == 0)
		return map_show(words[2]);
	if (n == 9 && strcmp(words[1], "run") == 0) {
		struct request request = {
			.ingress = words[2],
			.egress = words[3],
			.arrive = strcmp(words[4], "depart") != 0,
			.nothing = strcmp(words[4], "nothing") == 0,
			.reply = strcmp(words[5], "reply") == 0,
			.port = (unsigned short)strtoul(words[6], NULL, 0),
			.mark = (unsigned int)strtoul(words[7], NULL, 0),
			.times = (unsigned int)strtoul(words[8], NULL, 0),
		};

		return repeat(&request);
	}
	fprintf(stderr,
		"usage: %s run INGRESS EGRESS arrive|depart|nothing original|reply PORT MARK "
		"TIMES\n"
		"       %s map NAME\n",
		words[0], words[0]);
	return 2;
}
