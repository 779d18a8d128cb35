// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What it costs to drop a frame at XDP: by the program of `early` that filters this network
 * namespace, beside a program that does nothing else.
 *
 *	drops FILE ROUNDS COUNT INTERFACE
 *		FILE has IPv4 addresses, one a line, all of which `early` drops. In each of so many
 *		rounds COUNT live frames of BPF_PROG_RUN come in by the interface, on the CPU that
 *		this process is bound to:
 *			from the first address, straight to the program;
 *			from any of them, made by a program that ends in the one that drops.
 *		-> {"empty": [ns per frame, ...], "hot": [...], "random_empty": [...], "random": [...]}
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "engine/bpf/pins.h"

#include "frames.h"
#include "frames.skel.h"

#define SLICE 50000 /* frames of one BPF_PROG_RUN */
#define SLICES_MAX 1000
#define RANDOM_SHARE 4 /* of COUNT: these take longer */

struct bench {
	struct frames_bpf *object;
	int early, generic; /* the programs */
	unsigned int *sources, n;
	unsigned int ifindex, count;
	unsigned char frame[FRAME_LENGTH];
};

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

static int sources_read(const char *name, struct bench *bench)
{
	cleanup_file FILE *file = fopen(name, "re");
	unsigned int room = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		struct in_addr address;

		line[strcspn(line, "\n")] = 0;
		if (inet_pton(AF_INET, line, &address) != 1)
			continue;
		if (bench->n == room) {
			room = room ? room * 2 : 1024;
			bench->sources = realloc(bench->sources, room * sizeof(*bench->sources));
			if (!bench->sources)
				return fail("memory");
		}
		bench->sources[bench->n++] = address.s_addr;
	}
	return file && bench->n ? 0 : fail(name);
}

static int programs_find(struct bench *bench)
{
	struct pins pins = PINS_CLOSED;
	struct problem problem = { 0 };

	if (pins_open(&pins, false, &problem)) {
		fprintf(stderr, "%s\n", problem.what);
		return 1;
	}
	bench->early = pins_get(&pins, "early_ethernet");
	bench->generic = pins_get(&pins, "early_ethernet_generic");
	pins_close(&pins);
	errno = ENOENT;
	return bench->early >= 0 && bench->generic >= 0 ? 0 : fail("the programs of `early`");
}

static int programs_load(struct bench *bench)
{
	bench->object = frames_bpf__open();
	if (!bench->object)
		return fail("cannot open the programs of the bench");
	bpf_map__set_max_entries(bench->object->maps.sources, bench->n);
	if (frames_bpf__load(bench->object))
		return fail("cannot load the programs of the bench");
	for (unsigned int i = 0; i < bench->n; i++)
		if (bpf_map_update_elem(bpf_map__fd(bench->object->maps.sources), &i,
					&bench->sources[i], BPF_ANY))
			return fail("sources");
	bench->object->bss->drawn.state = 1;
	bench->object->bss->drawn.n = bench->n;
	return 0;
}

static void frame_make(struct bench *bench)
{
	unsigned char *frame = bench->frame, *ip = frame + FRAME_IP, *udp = frame + FRAME_UDP;

	memset(frame, 0, FRAME_LENGTH);
	frame[0] = frame[6] = 2;
	frame[12] = 0x08;
	ip[0] = 0x45;
	ip[3] = FRAME_LENGTH - FRAME_IP;
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	memcpy(frame + FRAME_IP_SRC, &bench->sources[0], 4);
	ip[16] = 10;
	ip[19] = 1;
	udp[0] = 0x80;
	udp[3] = SERVER_PORT;
	udp[5] = FRAME_LENGTH - FRAME_UDP;
}

/* What others do on this CPU meanwhile does not count. */
static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* One that is not dropped would come out of the device: then this measures something else. */
static int drops(struct bench *bench, int program)
{
	struct xdp_md context = { .data_end = FRAME_LENGTH, .ingress_ifindex = bench->ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = bench->frame,
		    .data_size_in = FRAME_LENGTH, .ctx_in = &context,
		    .ctx_size_in = sizeof(context), .repeat = 1);

	for (int i = 0; i < 1000; i++) {
		if (bpf_prog_test_run_opts(program, &options))
			return fail("BPF_PROG_RUN");
		if (options.retval != XDP_DROP) {
			fprintf(stderr, "a frame was not dropped: verdict %u\n", options.retval);
			return 1;
		}
	}
	return 0;
}

static int slice(struct bench *bench, int program, double *ns)
{
	struct xdp_md context = { .data_end = FRAME_LENGTH, .ingress_ifindex = bench->ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = bench->frame,
		    .data_size_in = FRAME_LENGTH, .ctx_in = &context,
		    .ctx_size_in = sizeof(context), .repeat = SLICE,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);
	double start = now_ns();

	if (bpf_prog_test_run_opts(program, &options))
		return fail("BPF_PROG_RUN with live frames");
	*ns = (now_ns() - start) / SLICE;
	return 0;
}

static int by_size(const void *one, const void *two)
{
	double a = *(const double *)one, b = *(const double *)two;

	return (a > b) - (a < b);
}

/* The median of slices: one that was disturbed does not count. */
static int measure(struct bench *bench, int program, unsigned int count, double *ns)
{
	double slices[SLICES_MAX];
	unsigned int n = count / SLICE, i;

	n = n < 1 ? 1 : n > SLICES_MAX ? SLICES_MAX : n;
	for (i = 0; i < n; i++)
		if (slice(bench, program, &slices[i]))
			return 1;
	qsort(slices, n, sizeof(*slices), by_size);
	*ns = slices[n / 2];
	return 0;
}

static int dropper_set(struct bench *bench, int program)
{
	unsigned int zero = 0;

	return bpf_map_update_elem(bpf_map__fd(bench->object->maps.dropper), &zero, &program,
				   BPF_ANY) ? fail("dropper") : 0;
}

enum { EMPTY, HOT, RANDOM_EMPTY, RANDOM, FIGURES };
static const char *const names[FIGURES] = { "empty", "hot", "random_empty", "random" };

static int round_of(struct bench *bench, double figures[FIGURES])
{
	int nothing = bpf_program__fd(bench->object->progs.drop);
	int any = bpf_program__fd(bench->object->progs.from_any);
	unsigned int few = bench->count / RANDOM_SHARE;

	return measure(bench, nothing, bench->count, &figures[EMPTY]) ||
	       measure(bench, bench->early, bench->count, &figures[HOT]) ||
	       dropper_set(bench, nothing) || measure(bench, any, few, &figures[RANDOM_EMPTY]) ||
	       dropper_set(bench, bench->generic) || drops(bench, any) ||
	       measure(bench, any, few, &figures[RANDOM]);
}

static void print(const double (*rounds)[FIGURES], unsigned int n)
{
	for (unsigned int i = 0; i < FIGURES; i++) {
		printf("%s\"%s\": [", i ? ", " : "{", names[i]);
		for (unsigned int j = 0; j < n; j++)
			printf("%s%.1f", j ? ", " : "", rounds[j][i]);
		printf("]");
	}
	printf("}\n");
}

int main(int n, char **words)
{
	struct bench bench = { 0 };
	double (*rounds)[FIGURES];
	unsigned int round_n;

	if (n != 5) {
		fprintf(stderr, "usage: %s FILE ROUNDS COUNT INTERFACE\n", words[0]);
		return 2;
	}
	round_n = (unsigned int)strtoul(words[2], NULL, 10);
	bench.count = (unsigned int)strtoul(words[3], NULL, 10);
	bench.ifindex = if_nametoindex(words[4]);
	if (!bench.ifindex)
		return fail(words[4]);
	rounds = calloc(round_n + 1, sizeof(*rounds));
	if (!rounds || sources_read(words[1], &bench) || programs_find(&bench) ||
	    programs_load(&bench))
		return 1;
	frame_make(&bench);
	if (drops(&bench, bench.early))
		return 1;
	/* One round more comes first, and does not count. */
	for (unsigned int i = 0; i <= round_n; i++)
		if (round_of(&bench, rounds[i ? i - 1 : round_n]))
			return 1;
	print((const double (*)[FIGURES])rounds, round_n);
	frames_bpf__destroy(bench.object);
	free(rounds);
	free(bench.sources);
	return 0;
}
