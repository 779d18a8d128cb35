// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of hostile packets, against everything that judges packets.
 *
 * Each packet of the table comes at three places: on arrival at this host, at departure as a
 * forwarded one, at departure as the host's own; each with an Ethernet header and, where a test run
 * can say its EtherType, without. Each time it goes through the user engine, the program as it is
 * attached (quick way first), and the same with what a test run cannot set or tell. They must agree
 * with each other in everything, and with the table; where rules decide, the reference evaluator
 * must name the same one. A packet that is dropped amid live flows must leave them as they were.
 *
 * hostile --manual prints docs/HOSTILE.md, hostile --list the table for other tests.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../property/bench.h"
#include "analysis/evaluate.h"
#include "engine/bpf/maps.h"
#include "engine/bpf/sys.h"
#include "guard.skel.h"
#include "hostile.h"

#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "core/track.h"

#define FLOWS_MAX 32
#define ENOTSUPP 524 /* the kernel's own */

static struct world *world; /* NULL: no kernel */
static int world_error;
static unsigned long long sent; /* packets, each engine's once */
static unsigned failures;

#define FAILURES_SHOWN 10000

/* --- places ---------------------------------------------------------------------- */

struct place {
	const char *name;
	bool departs;
	unsigned at;
	int from; /* at departure: where it arrived; -1: the host's own */
};

/* And where what answers is seen. */
static const struct place places[][2] = {
	{ { "arrives", false, 0, -1 }, { "answer departs", true, 0, -1 } },
	{ { "departs forwarded", true, 2, 1 }, { "answer departs forwarded", true, 1, 2 } },
	{ { "departs", true, 2, -1 }, { "answer arrives", false, 2, -1 } },
};
#define PLACES (sizeof(places) / sizeof(places[0]))

/* How a packet is handed over. */
struct manner {
	const char *name;
	bool ethernet, wrapped;
	bool compared; /* with each other only: a plain test run takes the bytes of an address for a MAC */
};

static const struct manner manners[] = {
	{ "wrapped", true, true, false },
	{ "as attached", true, false, false },
	{ "wrapped, without Ethernet header", false, true, false },
	{ "as attached, without Ethernet header", false, false, true },
};
#define MANNERS (sizeof(manners) / sizeof(manners[0]))

/* --- one packet ------------------------------------------------------------------ */

struct trial {
	const struct hostile *row;
	const struct place *place;
	const struct manner *manner;
	bool live;
	uint32_t length; /* of the frame with its Ethernet header */
	struct user_verdict verdict;
	struct seen user, kernel;
	uint64_t counted[2][STAT_COUNT]; /* by this packet: user engine, kernel */
	bool in_kernel;
};

/* One of many: all rows are looked at before the test ends. */
static void fail_trial(const struct trial *trial, const char *what)
{
	static const struct hostile *shown;
	struct text report = TEXT_INIT(1 << 16);

	if (failures++ >= FAILURES_SHOWN || shown == trial->row)
		return;
	shown = trial->row;
	text_printf(&report, "%s (%s, %s, %s, %u bytes): %s\n", trial->row->name, trial->place->name,
		    trial->manner->name, trial->live ? "amid live flows" : "no flows", trial->length,
		    what);
	seen_print("user engine", &trial->user, &report);
	if (trial->in_kernel)
		seen_print("kernel", &trial->kernel, &report);
	text_printf(&report, "by %u, sanity %u, protocol %u, port %u, flags %#x, length %u\n",
		    trial->verdict.judgement.by, trial->verdict.packet.sanity,
		    trial->verdict.packet.fields.word[FIELD_PROTOCOL],
		    trial->verdict.packet.fields.word[FIELD_DST_PORT], trial->verdict.packet.flags,
		    trial->verdict.packet.length);
	bench_print(text_string(&report));
	text_free(&report);
}

static const struct fate *fate_of(const struct trial *trial)
{
	if (trial->place->departs && trial->row->leaves.kind)
		return &trial->row->leaves;
	return trial->live && trial->row->live.kind ? &trial->row->live : &trial->row->fate;
}

/* What a test run asks for: an Ethernet header, or what it takes for one, and an IP header if it says so. */
static uint32_t least_frame(const uint8_t *bytes, uint32_t length)
{
	if (length > ETHERNET_HEADER && bytes[12] == 0x08 && !bytes[13])
		return ETHERNET_HEADER + sizeof(struct wire_ipv4);
	if (length > ETHERNET_HEADER && bytes[12] == 0x86 && bytes[13] == 0xdd)
		return ETHERNET_HEADER + sizeof(struct wire_ipv6);
	return ETHERNET_HEADER + 1;
}

/* A frame without Ethernet header: only if its EtherType also stands where a test run looks for it. */
static bool can_be_raw(const uint8_t *bytes, uint32_t length)
{
	static const uint8_t ordinary[12] = { 2, 0, 0, 0, 0, 16, 2, 0, 0, 0, 0, 2 };

	return length > 2 * ETHERNET_HEADER && !memcmp(bytes, ordinary, 12) &&
	       !memcmp(bytes + 12, bytes + ETHERNET_HEADER + 12, 2);
}

static void count_change(const struct bench *bench, struct trial *trial, bool before)
{
	const uint64_t *user = user_engine_stats(bench->engine);
	uint64_t kernel[STAT_COUNT] = { 0 };

	if (trial->in_kernel)
		assert_int_equal(world_stats(world, kernel), 0);
	for (int i = 0; i < STAT_COUNT; i++) {
		trial->counted[0][i] = before ? user[i] : user[i] - trial->counted[0][i];
		trial->counted[1][i] = before ? kernel[i] : kernel[i] - trial->counted[1][i];
	}
}

static void hand_over(struct bench *bench, struct trial *trial, const uint8_t *bytes)
{
	const struct place *place = trial->place;
	struct user_frame frame = {
		.bytes = bytes,
		.len = trial->length,
		.ethernet = trial->manner->ethernet,
		.pkt_type = trial->length < 6 ? 0 : world_packet_type(place->at, bytes),
		.gso_size = trial->row->gso_size,
		.ifindex = WORLD_IFINDEX + place->at,
		.ingress_ifindex = place->from < 0 ? 0 : WORLD_IFINDEX + (unsigned)place->from,
	};
	int err = 0;

	if (!place->departs)
		frame.ingress_ifindex = frame.ifindex;
	if (!frame.ethernet) {
		frame.bytes += ETHERNET_HEADER;
		frame.len -= ETHERNET_HEADER;
		frame.protocol = (uint32_t)bytes[12] | (uint32_t)bytes[13] << 8;
		if (!trial->manner->wrapped) /* as eth_type_trans() understands an IP header */
			frame.pkt_type = world_packet_type(place->at, frame.bytes);
	}
	trial->in_kernel = world && frame.len >= least_frame(frame.bytes, frame.len);
	count_change(bench, trial, true);
	if (trial->in_kernel)
		err = world_run(world, &frame, place->departs, trial->manner->wrapped, &trial->kernel);
	if (err)
		fail_trial(trial, strerror(-err));
	bench_run(bench, &frame, place->departs, &trial->verdict, &trial->user);
	count_change(bench, trial, false);
	sent++;
	if (trial->in_kernel && !seen_same(&trial->user, &trial->kernel))
		fail_trial(trial, "user engine and kernel differ");
}

/* --- what the table says --------------------------------------------------------- */

static uint32_t rule_number(const struct ruleset *ruleset, enum rule_name name)
{
	for (uint32_t i = 0; i < ruleset->rule_n; i++)
		if ((ruleset->rules[i].origin == RULE_FILE ||
		     ruleset->rules[i].origin == RULE_DEFAULT) &&
		    !strcmp(ruleset->rules[i].text, hostile_rules[name]))
			return i;
	fail_msg("no rule `%s`", hostile_rules[name]);
	return RULE_NONE;
}

static void check_counted(const struct trial *trial, enum statistic stat, uint64_t expected)
{
	if (trial->counted[0][stat] != expected ||
	    (trial->in_kernel && trial->counted[1][stat] != expected))
		fail_trial(trial, stat == STAT_SANITY ? "`sanity` counts wrongly" :
				  stat == STAT_OUTSIDE ? "`outside-window` counts wrongly" :
							 "its way counts wrongly");
}

static void check_malformed(const struct trial *trial, enum sanity sanity)
{
	const struct event *event = &trial->user.event[0]; /* the kernel's is the same */

	if (trial->user.action != USER_DROP || trial->verdict.judgement.by != BY_SANITY ||
	    trial->verdict.packet.sanity != sanity)
		fail_trial(trial, "not dropped for the reason that the table gives");
	if (trial->user.events != 1 || event->kind != EVENT_DROP || event->by != BY_SANITY ||
	    event->sanity != sanity)
		fail_trial(trial, "its event tells something else");
	check_counted(trial, STAT_SANITY, sanity != SANITY_WINDOW);
	check_counted(trial, STAT_OUTSIDE, sanity == SANITY_WINDOW);
}

static void check_rules(const struct trial *trial, const struct bench *bench,
			const struct fate *fate)
{
	const struct ruleset *ruleset = &bench->policy.ruleset;
	const struct packet *packet = &trial->verdict.packet;
	uint32_t number = rule_number(ruleset, fate->rule);
	enum user_action action = USER_NEXT;

	if (ruleset->rules[number].action == ACTION_REJECT)
		action = fate->kind == FATE_SILENT ? USER_DROP : USER_ANSWER;
	else if (ruleset->rules[number].action == ACTION_DROP)
		action = USER_DROP;
	if (trial->verdict.judgement.by != BY_RULE || trial->user.rule != number)
		fail_trial(trial, "another rule decides, or none");
	if (trial->user.action != action)
		fail_trial(trial, "another action");
	if (packet->fields.word[FIELD_PROTOCOL] != fate->protocol ||
	    packet->fields.word[FIELD_DST_PORT] != fate->port)
		fail_trial(trial, "rules see another protocol or port");
	if (evaluate(ruleset, &packet->fields) != number)
		fail_trial(trial, "the reference evaluator names another rule");
	check_counted(trial, STAT_BY_RULE, 1);
	check_counted(trial, STAT_SANITY, 0);
}

static void check(const struct trial *trial, const struct bench *bench)
{
	const struct fate *fate = fate_of(trial);

	switch (fate->kind) {
	case FATE_LEFT:
		if (trial->user.action != USER_NEXT || trial->verdict.judgement.by != BY_NOTHING ||
		    trial->user.events || trial->user.rule != RULE_NONE)
			fail_trial(trial, "not left alone");
		check_counted(trial, STAT_SANITY, 0);
		break;
	case FATE_MALFORMED:
		check_malformed(trial, fate->sanity);
		break;
	case FATE_RULES:
	case FATE_SILENT:
		check_rules(trial, bench, fate);
		break;
	case FATE_FLOW:
		if (trial->user.action != USER_NEXT || trial->verdict.judgement.by != BY_FLOW)
			fail_trial(trial, "it does not pass by the flow");
		check_counted(trial, STAT_BY_FLOW, 1);
		break;
	case FATE_NONE:
		fail_trial(trial, "the table says nothing");
	}
	if (trial->row->scale && trial->verdict.packet.numbers.scale != trial->row->scale - 1)
		fail_trial(trial, "another window scale");
}

/* --- live flows ------------------------------------------------------------------ */

struct snapshot {
	uint32_t n;
	struct flow_key keys[FLOWS_MAX];
	struct flow flows[FLOWS_MAX];
};

static int remember(void *context, const struct flow_key *key, const struct flow *flow,
		    bool embryonic)
{
	struct snapshot *snapshot = context;

	(void)embryonic;
	assert_true(snapshot->n < FLOWS_MAX);
	snapshot->keys[snapshot->n] = *key;
	snapshot->flows[snapshot->n++] = *flow;
	return 0;
}

static bool same_flow(const struct flow *one, const struct flow *two)
{
	struct flow copy = *two;

	copy.created = one->created;
	copy.seen = one->seen;
	return !memcmp(one, &copy, sizeof(copy));
}

/* In the user engine and in the kernel. */
static void check_untouched(const struct trial *trial, const struct bench *bench,
			    const struct snapshot *before)
{
	static struct snapshot now;
	bool embryonic;

	now.n = 0;
	user_engine_flows(bench->engine, remember, &now);
	if (now.n != before->n || (world && world_flow_count(world) != before->n))
		fail_trial(trial, "dropped, and there is another number of flows");
	for (uint32_t i = 0; i < before->n; i++) {
		const struct flow *user =
			user_engine_flow(bench->engine, &before->keys[i], &embryonic);
		struct flow kernel = before->flows[i];

		if (world && world_flow(world, &before->keys[i], &kernel, &embryonic))
			fail_trial(trial, "dropped, and a flow is gone");
		if (!user || !same_flow(&before->flows[i], user) ||
		    !same_flow(&before->flows[i], &kernel))
			fail_trial(trial, "dropped, and a flow has changed");
	}
}

static void forget_flows(struct bench *bench)
{
	user_engine_flush(bench->engine);
	if (world)
		world_flush(world);
}

static void begin_flows(struct bench *bench, const struct place place[2], struct snapshot *snapshot)
{
	static const struct hostile row = { .name = "a packet of what lives" };
	uint8_t bytes[HOSTILE_BYTES];

	forget_flows(bench);
	for (size_t i = 0; i < hostile_live_n; i++) {
		struct trial trial = { .row = &row,
				       .place = &place[hostile_live[i].reply],
				       .manner = &manners[0] };

		trial.length = (uint32_t)hostile_build(hostile_live[i].bytes, bytes);
		world_mac(trial.place->at, bytes);
		hand_over(bench, &trial, bytes);
		if (trial.user.action != USER_NEXT)
			fail_trial(&trial, "it does not pass");
	}
	snapshot->n = 0;
	user_engine_flows(bench->engine, remember, snapshot);
	assert_int_equal(snapshot->n, 6);
}

/* --- the table ------------------------------------------------------------------- */

static struct random_policy policy_of(void)
{
	struct random_policy policy = { 0 };

	for (const char *const *line = hostile_policy; *line; line++) {
		policy.lines[policy.n].part_n = 1;
		policy.lines[policy.n].kind = LINE_RULE;
		snprintf(policy.lines[policy.n++].parts[0], POLICY_PART, "%s", *line);
	}
	return policy;
}

static void open_bench(struct bench *bench)
{
	struct random_policy policy = policy_of();
	struct text errors = TEXT_INIT(1 << 16);
	uint32_t refused;

	if (bench_open(bench, world, &policy, &refused, &errors)) {
		bench_print(text_string(&errors));
		fail_msg("the policy is refused");
	}
	text_free(&errors);
}

/* In every manner at one place; without flows, or amid live ones. */
static void try_place(struct bench *bench, const struct hostile *row, const struct place place[2],
		      bool live, const uint8_t *bytes, uint32_t length)
{
	struct snapshot snapshot = { 0 };

	if (live)
		begin_flows(bench, place, &snapshot);
	else
		forget_flows(bench);
	for (size_t i = 0; i < MANNERS; i++) {
		struct trial trial = { .row = row,
				       .place = place,
				       .manner = &manners[i],
				       .live = live,
				       .length = length };

		if (!manners[i].ethernet && !can_be_raw(bytes, length))
			continue;
		hand_over(bench, &trial, bytes);
		if (!manners[i].compared)
			check(&trial, bench);
		if (!live)
			forget_flows(bench);
		else if (trial.user.action == USER_NEXT)
			begin_flows(bench, place, &snapshot);
		else
			check_untouched(&trial, bench, &snapshot);
	}
}

static void test_table(void **state)
{
	struct bench bench;
	unsigned cases = 0;

	(void)state;
	open_bench(&bench);
	for (size_t i = 0; i < hostile_case_n; i++) {
		const struct hostile *row = &hostile_cases[i];
		uint8_t bytes[HOSTILE_BYTES];
		int length, first;

		if (row->section)
			continue;
		cases++;
		length = hostile_build(row->bytes, bytes);
		if (length < 0)
			fail_msg("%s: it is spelt wrongly", row->name);
		first = row->sweep ? row->sweep : length;
		for (int n = first; n < length + !row->sweep; n++)
			for (size_t j = 0; j < 2 * PLACES; j++)
				try_place(&bench, row, places[j / 2], j & 1, bytes, (uint32_t)n);
	}
	forget_flows(&bench);
	bench_close(&bench);
	printf("# %u rows, %llu packets\n", cases, sent);
	assert_true(cases >= 200);
	assert_int_equal(failures, 0);
}

static void test_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < hostile_case_n; i++)
		for (size_t j = 0; j < i; j++)
			if (!hostile_cases[i].section && !hostile_cases[j].section)
				assert_string_not_equal(hostile_cases[i].name, hostile_cases[j].name);
}

/* --- the guard ------------------------------------------------------------------- */

/* What a test run of a Netfilter program takes: the rest of the kernel's struct is zero. */
struct hook_state {
	uint8_t hook, family;
	uint64_t pointers[5];
};

struct guard_events {
	unsigned n;
	struct event last;
};

static int hear_guard(void *context, void *data, size_t size)
{
	struct guard_events *events = context;

	events->n++;
	memcpy(&events->last, data, size < sizeof(events->last) ? size : sizeof(events->last));
	return 0;
}

static int guard_control(struct guard *guard, uint32_t on)
{
	struct control control = { .watch_until = UINT64_MAX };
	uint32_t zero = 0;

	control.slot[0].generation = 1;
	control.slot[0].guard = on;
	control.slot[0].mark_shift = 30;
	return bpf_map_update_elem(bpf_map__fd(guard->maps.data_control), &zero, &control, 0);
}

static int run_guard(int program, const uint8_t *bytes, uint32_t length, uint32_t *verdict)
{
	struct hook_state hook_state = { .hook = 4 /* post_routing */,
					 .family = bytes[12] == 8 ? AF_INET : AF_INET6 };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = bytes, .data_size_in = length,
		    .ctx_in = &hook_state, .ctx_size_in = sizeof(hook_state), .repeat = 1);
	int err = bpf_prog_test_run_opts(program, &run);

	*verdict = run.retval;
	return err ? -errno : 0;
}

static struct guard *load_guard(void)
{
	struct guard *guard = guard__open();
	struct bpf_program *program;

	assert_non_null(guard);
	/* As the engine does: an old libbpf does not know the section. */
	bpf_object__for_each_program(program, guard->obj) {
		bpf_program__set_type(program, (enum bpf_prog_type)SYS_PROG_TYPE_NETFILTER);
		bpf_program__set_expected_attach_type(program,
						      (enum bpf_attach_type)SYS_ATTACH_NETFILTER);
	}
	assert_int_equal(guard__load(guard), 0);
	return guard;
}

/*
 * Packets that leave by an interface without programs: dropped, whatever they are, and told with
 * the addresses that stand where addresses stand; nothing of it with the guard off. (A test run
 * shows local_in no arriving interface, so there is nothing to be guarded: tests/e2e/hostile.py.)
 */
static void test_guard(void **state)
{
	struct guard *guard;
	struct ring_buffer *ring;
	struct guard_events events = { 0 };
	unsigned tried = 0;

	(void)state;
	if (!world)
		skip();
	guard = load_guard();
	ring = ring_buffer__new(bpf_map__fd(guard->maps.events), hear_guard, &events, NULL);
	assert_non_null(ring);
	for (size_t i = 0; i < 2 * hostile_case_n; i++) {
		const struct hostile *row = &hostile_cases[i / 2];
		bool on = i & 1;
		uint8_t bytes[HOSTILE_BYTES];
		uint32_t verdict, source, family;
		int length, err;

		if (row->section)
			continue;
		length = hostile_build(row->bytes, bytes);
		family = length < 15 ? 0 : bytes[12] == 8 && !bytes[13] ? 4 :
			 bytes[12] == 0x86 && bytes[13] == 0xdd ? 6 : 0;
		/* IP is all that gets there, and never less than its header. */
		if (!family || length < ETHERNET_HEADER + (family == 4 ? 20 : 40))
			continue;
		assert_int_equal(guard_control(guard, on), 0);
		events.n = 0;
		err = run_guard(bpf_program__fd(guard->progs.guard_post_routing), bytes,
				(uint32_t)length, &verdict);
		if (err == -ENOTSUPP) {
			printf("# the kernel has no test runs for Netfilter\n");
			ring_buffer__free(ring);
			guard__destroy(guard);
			skip();
		}
		ring_buffer__consume(ring);
		if (err || verdict != !on || events.n != on)
			fail_msg("%s: guard %s: error %d, verdict %u, %u events", row->name,
				 on ? "on" : "off", err, verdict, events.n);
		tried++;
		if (!on)
			continue;
		memcpy(&source, bytes + ETHERNET_HEADER + (family == 4 ? 12 : 8), 4);
		if (events.last.kind != EVENT_GUARD || events.last.family != family ||
		    events.last.src[0] != ntohl(source) ||
		    events.last.protocol != bytes[ETHERNET_HEADER + (family == 4 ? 9 : 6)])
			fail_msg("%s: the guard's event tells something else", row->name);
	}
	printf("# %u packets through the guard\n", tried);
	assert_true(tried > 400);
	ring_buffer__free(ring);
	guard__destroy(guard);
}

/* --- the manual ------------------------------------------------------------------ */

static void test_manual(void **state)
{
	char *expected = NULL, *found;
	size_t expected_size = 0, found_size;
	FILE *file = open_memstream(&expected, &expected_size);

	(void)state;
	assert_non_null(file);
	hostile_manual(file);
	fclose(file);
	file = fopen(HOSTILE_MANUAL, "r");
	assert_non_null(file);
	found = calloc(1, expected_size + 2);
	assert_non_null(found);
	found_size = fread(found, 1, expected_size + 1, file);
	fclose(file);
	if (found_size != expected_size || memcmp(found, expected, expected_size))
		fail_msg("%s is not what the table says: print it anew with `hostile --manual`",
			 HOSTILE_MANUAL);
	free(found);
	free(expected);
}

static void test_kernel(void **state)
{
	(void)state;
	if (world_error == -EPERM || world_error == -ENOSYS)
		skip();
	assert_int_equal(world_error, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel), cmocka_unit_test(test_names),
		cmocka_unit_test(test_manual), cmocka_unit_test(test_table),
		cmocka_unit_test(test_guard),
	};
	const char *no_world = "";
	int status;

	if (argc == 2 && !strcmp(argv[1], "--manual")) {
		hostile_manual(stdout);
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "--list")) {
		hostile_list(stdout);
		return 0;
	}
	cmocka_set_message_output(CM_OUTPUT_TAP);
	world_error = world_open(&world, &no_world);
	if (world_error)
		printf("# the kernel is left out: %s: %s\n", no_world, strerror(-world_error));
	status = cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
	world_close(world);
	return status;
}
