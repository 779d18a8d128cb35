// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sends frames through a router that stands between two network namespaces, and says how long that
 * took.
 *
 *	inject GENERATOR ROUTER SINK INGRESS EGRESS CLIENT SERVER
 *
 * The first three are names of network namespaces (ip netns). Generator and sink have an interface
 * "eth0", the router has INGRESS towards the generator and EGRESS towards the sink. CLIENT is the
 * address of the first client; flows go to SERVER.
 *
 * It then reads commands, one a line, and answers each with one line, "error TEXT" when it could
 * not be done:
 *
 *	send original|reply FIRST FLOWS COUNT
 *		COUNT frames, over the flows from FIRST on
 *	forward original|reply FIRST FLOWS COUNT
 *		likewise, through the native XDP program of the interface, which is to send them on
 *	redirect FLOWS COUNT
 *		likewise, sent on to the sink by XDP as they come in: no stack
 *	-> MADE ARRIVED NANOSECONDS QUIET SHARE
 *		frames made and arrived, time per frame, the same in quiet batches only, and
 *		how many per cent of the batches were quiet
 *
 * Frames are live XDP frames of BPF_PROG_RUN: each comes in by an interface of the router as if a
 * driver had received it, passes the whole stack of the router, and is counted and dropped by XDP
 * behind it, all on the CPU that this process is bound to. So the time from the beginning of one
 * batch of frames to that of the next is what a batch costs, unless something else ran in between.
 * A batch that took more than QUIET_FACTOR times the median one was disturbed: it is not quiet.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

#include "frames.h"
#include "frames.skel.h"

#define QUIET_FACTOR 3
#define PATIENCE_MS 200

struct port {
	unsigned int ifindex;
	unsigned char mac[6];
};

struct world {
	int router;		     /* namespace */
	struct port ingress, egress; /* of the router */
	struct port generator, sink;
	struct in_addr client, server;
	struct frames_bpf *object;
};

static int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int complain(const char *format, ...)
{
	va_list args;

	printf("error ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	return -1;
}

static int namespace_enter(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET)) {
		complain("%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

static int port_find(const char *name, struct port *port)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request))
		return complain("interface %s: %s", name, strerror(errno));
	memcpy(port->mac, request.ifr_hwaddr.sa_data, sizeof(port->mac));
	port->ifindex = if_nametoindex(name);
	return 0;
}

/* The far end of a wire: frames end there. The link is held by this process and ends with it. */
static int end_attach(struct world *world, const char *namespace, struct port *port)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = XDP_FLAGS_DRV_MODE);
	int fd = namespace_enter(namespace);

	if (fd < 0)
		return -1;
	close(fd);
	if (port_find("eth0", port))
		return -1;
	fd = bpf_link_create(bpf_program__fd(world->object->progs.swallow), (int)port->ifindex,
			     BPF_XDP, &options);
	return fd < 0 ? complain("XDP on eth0 of %s: %s", namespace, strerror(errno)) : 0;
}

static int world_open(struct world *world, char **words)
{
	world->object = frames_bpf__open_and_load();
	if (!world->object)
		return complain("cannot load the programs that make frames: %s", strerror(errno));
	if (inet_pton(AF_INET, words[5], &world->client) != 1 ||
	    inet_pton(AF_INET, words[6], &world->server) != 1)
		return complain("%s or %s is not an IPv4 address", words[5], words[6]);
	if (end_attach(world, words[0], &world->generator) ||
	    end_attach(world, words[2], &world->sink))
		return -1;
	world->router = namespace_enter(words[1]);
	if (world->router < 0)
		return -1;
	return port_find(words[3], &world->ingress) || port_find(words[4], &world->egress) ? -1 : 0;
}

/* The frame without what differs from flow to flow (struct frames). */
static void frames_prepare(struct world *world, int reply, int redirect, struct frames *frames)
{
	unsigned char frame[FRAME_WORDS * 8] = { 0 };
	const struct port *to = redirect ? &world->sink : reply ? &world->egress : &world->ingress;
	const struct port *from = redirect ? &world->egress :
				  reply	   ? &world->sink :
					     &world->generator;
	unsigned char *ip = frame + FRAME_IP, *udp = frame + FRAME_UDP;
	unsigned int sum = 0;

	memcpy(frame, to->mac, 6);
	memcpy(frame + 6, from->mac, 6);
	frame[12] = 0x08;
	ip[0] = 0x45;
	ip[3] = FRAME_LENGTH - FRAME_IP;
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	memcpy(frame + (reply ? FRAME_IP_SRC : FRAME_IP_DST), &world->server, 4);
	udp[reply ? 1 : 3] = SERVER_PORT;
	udp[5] = FRAME_LENGTH - FRAME_UDP; /* checksum 0: none */
	for (int i = 0; i < 20; i += 2) {
		unsigned short word;

		memcpy(&word, ip + i, sizeof(word));
		sum += word;
	}
	memcpy(frames->words, frame, sizeof(frame));
	frames->client = ntohl(world->client.s_addr);
	frames->sum = sum;
	frames->reply = (unsigned int)reply;
	frames->redirect = redirect ? world->egress.ifindex : 0;
}

static unsigned long long arrived_sum(const struct world *world)
{
	const volatile struct arrived *arrived = world->object->bss->arrived;
	unsigned long long sum = 0;

	for (int i = 0; i < ARRIVED_CPUS; i++)
		sum += arrived[i].frames;
	return sum;
}

static int compare(const void *a, const void *b)
{
	unsigned long long left = *(const unsigned long long *)a;
	unsigned long long right = *(const unsigned long long *)b;

	return left < right ? -1 : left > right;
}

/* Times of the whole batches of a run that is over. The last one's end is not known. */
static int times_print(const struct world *world, unsigned int made, unsigned long long arrived)
{
	const __u64 *began = world->object->bss->began;
	unsigned int n = (made - 1) / BATCH, quiet = 0;
	cleanup_free unsigned long long *spent = calloc(n + 1, sizeof(*spent));
	unsigned long long all = 0, sum = 0;

	if (!spent)
		return complain("out of memory");
	for (unsigned int i = 0; i < n; i++)
		spent[i] = began[i + 1] - began[i];
	qsort(spent, n, sizeof(*spent), compare);
	for (unsigned int i = 0; i < n; i++) {
		all += spent[i];
		if (spent[i] <= QUIET_FACTOR * spent[n / 2]) {
			sum += spent[i];
			quiet++;
		}
	}
	printf("%u %llu %.1f %.1f %.1f\n", made, arrived, (double)all / (n ? n : 1) / BATCH,
	       (double)sum / (quiet ? quiet : 1) / BATCH, 100.0 * quiet / (n ? n : 1));
	return 0;
}

/* The program that the driver would call. */
static int forwarder_set(struct world *world, const struct port *in)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	unsigned int zero = 0;
	cleanup_fd int fd = -1;

	if (bpf_xdp_query((int)in->ifindex, 0, &query) || !query.drv_prog_id)
		return complain("no native XDP program is where frames come in");
	fd = bpf_prog_get_fd_by_id(query.drv_prog_id);
	if (fd < 0 || bpf_map_update_elem(bpf_map__fd(world->object->maps.forwarder), &zero, &fd,
					  BPF_ANY))
		return complain("the XDP program where frames come in: %s", strerror(errno));
	return 0;
}

static int run(struct world *world, const struct bpf_program *program, const struct port *in,
	       unsigned int count)
{
	struct frames *frames = &world->object->bss->frames;
	unsigned long long arrived = arrived_sum(world);
	unsigned char frame[FRAME_LENGTH] = { 0 };
	struct xdp_md context = { .data_end = sizeof(frame), .ingress_ifindex = in->ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame),
		    .ctx_in = &context, .ctx_size_in = sizeof(context), .repeat = (int)count,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);

	frames->made = 0;
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &options))
		return complain("BPF_PROG_RUN with live frames: %s", strerror(errno));
	if (!frames->made)
		return complain("no frame was made");
	for (int i = 0; i < PATIENCE_MS && arrived_sum(world) - arrived < frames->made; i++)
		usleep(1000);
	return times_print(world, frames->made, arrived_sum(world) - arrived);
}

static int obey(struct world *world, const char *line)
{
	struct frames *frames = &world->object->bss->frames;
	unsigned int first = 0, flows, count;
	const struct bpf_program *program = world->object->progs.generate;
	int redirect = 0, reply = 0, forward = 0;
	char direction[16];

	if (sscanf(line, "send %15s %u %u %u", direction, &first, &flows, &count) == 4)
		reply = strcmp(direction, "reply") == 0;
	else if (sscanf(line, "forward %15s %u %u %u", direction, &first, &flows, &count) == 4)
		reply = strcmp(direction, "reply") == 0, forward = 1;
	else if (sscanf(line, "redirect %u %u", &flows, &count) == 2)
		redirect = 1;
	else
		return complain("what is `%.*s`?", (int)strcspn(line, "\n"), line);
	if (!flows || !count || count > BATCH * BATCHES || first + flows < first)
		return complain("numbers out of range");
	frames_prepare(world, reply, redirect, frames);
	frames->first = first;
	frames->next = first;
	frames->end = first + flows;
	if (forward) {
		program = world->object->progs.generate_forwarded;
		if (forwarder_set(world, reply ? &world->egress : &world->ingress))
			return -1;
	}
	return run(world, program, reply ? &world->egress : &world->ingress, count);
}

int main(int n, char **words)
{
	struct world world = { 0 };
	char line[128];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (n != 8) {
		fprintf(stderr, "usage: %s GENERATOR ROUTER SINK INGRESS EGRESS CLIENT SERVER\n",
			words[0]);
		return 2;
	}
	if (world_open(&world, words + 1))
		return 1;
	puts("ready");
	while (fgets(line, sizeof(line), stdin))
		obey(&world, line);
	frames_bpf__destroy(world.object);
	return 0;
}
