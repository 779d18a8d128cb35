// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Translation in both engines: random conversations, ICMP errors about their packets and fragments,
 * through arrival and departure of the user engine and of the kernel's programs. After every
 * checkpoint both have done the same, the frame is the same to the byte, the record of the flow is,
 * and checksums are right.
 *
 * Every sender has a port of its own: which port is taken where one is not free is a matter of
 * chance (property-nat looks at that).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench.h"
#include "craft.h"

#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "core/track.h"

#define ROUNDS 60
#define STEPS 120
#define TALKS 24
#define LAN 3 /* 198.51.100.0/24, 2001:db8:1::/48 */
#define WAN 1 /* all others but this host's 10.0.0.0/8, fd00::/8 */

enum { ICMP4 = 1, TCP = 6, UDP = 17, GRE = 47, ICMP6 = 58, SCTP = 132 };
enum { SYN = 2, ACK = 16 };

static struct world *world; /* NULL: no kernel */
static int world_error;
static uint64_t seed;

static const char *const head[] = {
	"zone wan = { d1 }",
	"zone lan = { d3 }",
	"policy { any, self } -> { any, self } default allow",
};

static const char *const blocks[][4] = {
	{ "nat lan -> wan { source from 2001:db8:1::/48 to 2001:db8:7::/48; masquerade }" },
	{ "nat lan -> wan { source from 198.51.100.0/24 to 203.0.113.0/24 }",
	  "nat lan -> wan { source to 2001:db8:9::5-2001:db8:9::8 }" },
	{ "nat wan -> self { forward 80-89/tcp to 198.51.100.9:8080-8089; forward 80-89/udp to { 198.51.100.3, 198.51.100.4, 198.51.100.5 } }",
	  "nat wan -> self { forward udp to 2001:db8:1::9; forward tcp to 2001:db8:1::7-2001:db8:1::8 }",
	  "nat wan -> self { forward to 10.0.0.2 to 198.51.100.7; forward to fd00::2 to 2001:db8:1::7 }" },
	{ "nat { wan, lan } -> self { forward 80-89 to 198.51.100.9:8080-8089 }",
	  "nat lan -> wan { source to 203.0.113.5 }" },
	{ "nat wan -> self { forward to 10.0.0.1 to 198.51.100.7; forward to 10.0.0.2 to 198.51.100.8 }",
	  "nat wan -> self { forward to fd00::1 to 2001:db8:1::7; forward to fd00::2 to 2001:db8:1::8 }",
	  "nat wan -> lan { source to 10.0.0.9; source to fd00::9 }" },
};
#define BLOCKS (sizeof(blocks) / sizeof(blocks[0]))

struct tuple {
	uint32_t src[4], dst[4];
	uint16_t src_port, dst_port; /* of echo both the identifier */
	uint8_t family, protocol;
	uint16_t zero; /* compared as bytes */
};

struct conversation {
	struct tuple sent, came; /* as the originator sends it, as the responder sees it */
	bool known;		 /* the responder has seen it */
	bool answered;
};

struct round {
	struct bench bench;
	struct random r;
	struct conversation talks[TALKS];
	unsigned n;
	uint8_t bytes[CRAFT_BYTES];
	uint64_t checkpoints, rewritten, errors, fragments;
};

/* --- tuples ---------------------------------------------------------------------- */

static bool inside(const struct tuple *tuple, const uint32_t *address)
{
	return tuple->family == 4 ? address[0] >> 8 == 0xc63364 :
				    address[0] == 0x20010db8 && address[1] >> 16 == 1;
}

static bool own(const struct tuple *tuple, const uint32_t *address)
{
	return tuple->family == 4 ? address[0] >> 24 == 10 || address[0] == WORLD_ADDRESS :
				    address[0] >> 24 == 0xfd;
}

static struct tuple turned(const struct tuple *tuple)
{
	struct tuple other = *tuple;

	memcpy(other.src, tuple->dst, 16);
	memcpy(other.dst, tuple->src, 16);
	other.src_port = tuple->dst_port;
	other.dst_port = tuple->src_port;
	return other;
}

static bool echo(const struct tuple *tuple)
{
	return tuple->protocol == ICMP4 || tuple->protocol == ICMP6;
}

/* The tuple of a frame that this test has made, as it is now. */
static struct tuple tuple_of(const uint8_t *frame, const struct tuple *like)
{
	uint32_t words = like->family == 4 ? 1 : 4;
	const uint8_t *at = frame + 14 + (like->family == 4 ? 12 : 8);
	const uint8_t *l4 = frame + 14 + (like->family == 4 ? 20 : 40);
	struct tuple tuple = { .family = like->family, .protocol = like->protocol };

	for (uint32_t i = 0; i < words; i++, at += 4)
		tuple.src[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
	for (uint32_t i = 0; i < words; i++, at += 4)
		tuple.dst[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
	if (echo(like)) {
		tuple.src_port = tuple.dst_port = (uint16_t)(l4[4] << 8 | l4[5]);
	} else if (like->protocol != GRE) {
		tuple.src_port = (uint16_t)(l4[0] << 8 | l4[1]);
		tuple.dst_port = (uint16_t)(l4[2] << 8 | l4[3]);
	}
	return tuple;
}

static void choose_tuple(struct round *round, struct tuple *tuple)
{
	static const uint8_t protocols[] = { TCP, TCP, TCP, UDP, UDP, ICMP4, GRE, SCTP };
	struct random *r = &round->r;
	bool outward = random_chance(r, 50), hairpin = !outward && random_chance(r, 20);

	memset(tuple, 0, sizeof(*tuple));
	tuple->family = hairpin || random_chance(r, 60) ? 4 : 6;
	tuple->protocol = random_pick(r, protocols);
	if (tuple->protocol == ICMP4 && tuple->family == 6)
		tuple->protocol = ICMP6;
	if (tuple->protocol != GRE) {
		tuple->src_port = (uint16_t)(20000 + round->n);
		tuple->dst_port = (uint16_t)(echo(tuple) ? tuple->src_port : random_between(r, 80, 90));
	}
	if (tuple->family == 4) {
		tuple->src[0] = (outward || hairpin ? 0xc6336410 : 0xc0a80510) + random_below(r, 3);
		tuple->dst[0] = outward ? 0xc0a80540 + random_below(r, 3) : 0x0a000001 + random_below(r, 2);
		return;
	}
	tuple->src[0] = 0x20010db8;
	tuple->src[1] = outward ? 1 << 16 | random_below(r, 2) : 0x64 << 16;
	tuple->src[3] = 0x10 + random_below(r, 3);
	tuple->dst[0] = outward ? 0x20010db8 : 0xfd000000;
	tuple->dst[1] = outward ? 0x64 << 16 : 0;
	tuple->dst[3] = outward ? 0x40 + random_below(r, 3) : 1 + random_below(r, 2);
}

static void craft_of(const struct conversation *talk, bool reply, struct craft *craft)
{
	struct tuple tuple = reply ? turned(&talk->came) : talk->sent;

	craft_init(craft);
	craft->family = tuple.family;
	craft->protocol = tuple.protocol;
	memcpy(craft->src, tuple.src, 16);
	memcpy(craft->dst, tuple.dst, 16);
	craft->src_port = tuple.src_port;
	craft->dst_port = tuple.dst_port;
	craft->payload = tuple.protocol == TCP ? 0 : 40;
	if (echo(&tuple)) {
		craft->echo_id = tuple.src_port;
		craft->dst_port = (uint16_t)(tuple.protocol == ICMP4 ? (reply ? 0 : 8) << 8 :
								       (128 + reply) << 8);
	}
	if (tuple.protocol != TCP)
		return;
	craft->tcp_flags = reply ? SYN | ACK : talk->answered ? ACK : SYN;
	craft->seq = reply ? 5000 : talk->answered ? 101 : 100;
	craft->ack = reply ? 101 : talk->answered ? 5001 : 0;
}

/* --- checks ---------------------------------------------------------------------- */

static uint32_t sum_of(const uint8_t *bytes, uint32_t n, uint32_t sum)
{
	for (uint32_t i = 0; i < n; i++)
		sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static bool sums_right(const uint8_t *frame, const struct craft *craft)
{
	const uint8_t *ip = frame + 14;
	uint32_t header = craft->family == 4 ? 20 : 40, sum = 0, length;

	length = craft->family == 4 ? (uint32_t)(ip[2] << 8 | ip[3]) - header : (uint32_t)(ip[4] << 8 | ip[5]);
	if (craft->family == 4 && sum_of(ip, header, 0) != 0xffff)
		return false;
	if (craft->protocol == GRE || craft->protocol == SCTP || craft->fragmented)
		return true;
	if (craft->protocol != ICMP4)
		sum = sum_of(craft->family == 4 ? ip + 12 : ip + 8, craft->family == 4 ? 8 : 32,
			     craft->protocol + length);
	return sum_of(ip + header, length, sum) == 0xffff;
}

static bool same_record(const struct flow *one, const struct flow *two)
{
	struct flow copy = *two;

	copy.created = one->created;
	copy.seen = one->seen;
	return !memcmp(one, &copy, sizeof(copy));
}

static const char *compare_flow(const struct round *round, const struct tuple *tuple)
{
	bool user_embryonic, kernel_embryonic;
	const struct flow *user;
	struct flow_key key;
	struct flow kernel;

	flow_key_order(&key, tuple->src, tuple->dst, tuple->src_port, tuple->dst_port,
		       tuple->protocol, tuple->family);
	user = user_engine_flow(round->bench.engine, &key, &user_embryonic);
	if (!world)
		return NULL;
	if (world_flow(world, &key, &kernel, &kernel_embryonic))
		return user ? "only the user engine has the flow" : NULL;
	if (!user)
		return "only the kernel has the flow";
	return user_embryonic == kernel_embryonic && same_record(user, &kernel) ?
		       NULL : "the records of the flow differ";
}

static void fail_with(const struct round *round, const struct craft *craft, bool departs,
		      const char *what, const struct seen *user, const struct seen *kernel)
{
	struct text report = TEXT_INIT(1 << 16);

	text_printf(&report, "%s: %s, IPv%u protocol %u flags %#x %08x..%x:%u -> %08x..%x:%u%s, talk %u\n",
		    departs ? "departure" : "arrival", what, craft->family, craft->protocol,
		    craft->tcp_flags, craft->src[0], craft->src[3], craft->src_port, craft->dst[0],
		    craft->dst[3], craft->dst_port, craft->fragmented ? " fragment" : "", round->n);
	if (user)
		seen_print("user engine", user, &report);
	if (kernel && world)
		seen_print("kernel", kernel, &report);
	bench_print(text_string(&report));
	text_free(&report);
	fail_msg("engines differ; REEVE_SEED=%llu", (unsigned long long)seed);
}

/* One checkpoint of both engines; round->bytes is the frame. True when it goes on. */
static bool pass(struct round *round, struct user_frame *frame, const struct craft *craft,
		 bool departs, struct user_verdict *verdict)
{
	struct seen user = { 0 }, kernel = { 0 };
	uint8_t before[CRAFT_BYTES];

	round->checkpoints++;
	memcpy(before, round->bytes, frame->len);
	if (world && world_run(world, frame, departs, true, &kernel))
		fail_with(round, craft, departs, "the kernel refuses it", NULL, NULL);
	bench_run(&round->bench, frame, departs, verdict, &user);
	if (world && !seen_same(&user, &kernel))
		fail_with(round, craft, departs, "done", &user, &kernel);
	if (verdict->action != USER_NEXT)
		return false;
	if (world && memcmp(round->bytes, world_bytes(world), frame->len))
		fail_with(round, craft, departs, "frames differ", &user, &kernel);
	if (!sums_right(round->bytes, craft))
		fail_with(round, craft, departs, "a checksum is wrong", &user, &kernel);
	round->rewritten += memcmp(before, round->bytes, frame->len) != 0;
	return true;
}

/* --- packets --------------------------------------------------------------------- */

/*
 * Through the router, from this side. True when it comes out, *out is then as whom; `lost`: not as
 * far as departure. For this host: false.
 */
static bool travel(struct round *round, const struct craft *craft, const struct tuple *like,
		   unsigned in, bool lost, struct tuple *out)
{
	struct user_frame frame = { .bytes = round->bytes, .writable = round->bytes,
				    .ethernet = true, .ifindex = WORLD_IFINDEX + in,
				    .ingress_ifindex = WORLD_IFINDEX + in };
	struct craft made = *craft;
	struct user_verdict verdict;

	world_mac(in, made.target_mac);
	frame.len = craft_build(&made, round->bytes);
	if (!pass(round, &frame, craft, false, &verdict))
		return false;
	*out = tuple_of(round->bytes, like);
	if (lost || own(out, out->dst))
		return false;
	if (random_chance(&round->r, 10))
		frame.tc_index = 0;
	frame.ifindex = WORLD_IFINDEX + (inside(out, out->dst) ? LAN : WAN);
	if (!pass(round, &frame, craft, true, &verdict))
		return false;
	*out = tuple_of(round->bytes, like);
	return true;
}

static unsigned side_of(const struct tuple *tuple, const uint32_t *address)
{
	return inside(tuple, address) ? LAN : WAN;
}

static void fragment_of(struct craft *craft, bool later)
{
	craft->fragmented = true;
	craft->more = !later;
	craft->offset = later ? 8 : 0; /* far enough behind the first one's headers */
	if (craft->family == 6) {
		craft->extension_n = 1;
		craft->extensions[0].kind = 44;
	}
}

static void say(struct round *round, struct conversation *talk, bool reply)
{
	struct tuple out, like = reply ? talk->came : talk->sent;
	const uint32_t *from = reply ? talk->came.dst : talk->sent.src;
	bool lost = random_chance(&round->r, 6);
	struct craft craft;

	craft_of(talk, reply, &craft);
	if (random_chance(&round->r, 8) && craft.family == 4 && craft.protocol == UDP) {
		round->fragments++;
		for (int later = 0; later < 2; later++) {
			craft_of(talk, reply, &craft);
			fragment_of(&craft, later);
			craft.payload = (uint16_t)(later ? 40 : 56);
			travel(round, &craft, &like, side_of(&like, from), false, &out);
		}
		return;
	}
	if (!travel(round, &craft, &like, side_of(&like, from), lost, &out))
		return;
	if (reply) {
		struct tuple expected = turned(&talk->sent);

		if (memcmp(&out, &expected, sizeof(out)))
			fail_with(round, &craft, true, "a reply does not come back", NULL, NULL);
		talk->answered = true;
	} else if (talk->known && memcmp(&out, &talk->came, sizeof(out))) {
		fail_with(round, &craft, true, "a later packet is translated otherwise", NULL, NULL);
	} else {
		talk->came = out;
		talk->known = true;
	}
}

static uint16_t error_type(struct random *r, unsigned family)
{
	static const uint16_t types4[] = { 0x301, 0x303, 0x304, 0xb00, 0xc00 };
	static const uint16_t types6[] = { 0x100, 0x104, 0x200, 0x300, 0x401 };

	return family == 4 ? random_pick(r, types4) : random_pick(r, types6);
}

/* An error about a packet as its receiver's side sees it, from there. */
static void complain(struct round *round, const struct conversation *talk, bool about_reply)
{
	struct tuple seen = about_reply ? turned(&talk->sent) : talk->came, like = seen, out;
	struct craft quoted, error;
	struct random *r = &round->r;
	uint32_t from[4];

	craft_of(talk, about_reply, &quoted);
	memcpy(quoted.src, seen.src, 16);
	memcpy(quoted.dst, seen.dst, 16);
	if (echo(&seen))
		quoted.echo_id = seen.src_port;
	else
		quoted.src_port = seen.src_port, quoted.dst_port = seen.dst_port;
	memcpy(from, seen.dst, sizeof(from));
	if (random_chance(r, 40)) /* a router on the way */
		from[seen.family == 4 ? 0 : 3] += 100;
	if (random_chance(r, 10))
		quoted.dst_port++;
	craft_error(&quoted, error_type(r, seen.family), from,
		    random_chance(r, 70) ? CRAFT_QUOTE : random_between(r, 28, 60), &error);
	like.protocol = seen.family == 4 ? ICMP4 : ICMP6;
	round->errors++;
	travel(round, &error, &like, side_of(&seen, seen.dst), false, &out);
}

/* This host's own error about a packet that comes no further than arrival. */
static void give_up(struct round *round, struct conversation *talk)
{
	struct user_frame frame = { .bytes = round->bytes, .writable = round->bytes,
				    .ethernet = true };
	struct tuple out, like = talk->sent;
	struct craft craft, quoted, error;
	uint32_t from[4] = { 0x0a000001 };
	struct user_verdict verdict;
	unsigned in = side_of(&like, like.src);

	craft_of(talk, false, &craft);
	if (travel(round, &craft, &like, in, true, &out) || own(&out, out.dst))
		return;
	quoted = craft;
	memcpy(quoted.dst, out.dst, 16);
	if (!echo(&like))
		quoted.dst_port = out.dst_port;
	if (like.family == 6)
		memcpy(from, (const uint32_t[4]){ 0xfd000000, 0, 0, 1 }, sizeof(from));
	craft_error(&quoted, error_type(&round->r, like.family), from, CRAFT_QUOTE, &error);
	frame.len = craft_build(&error, round->bytes);
	frame.ifindex = WORLD_IFINDEX + in;
	round->errors++;
	if (!pass(round, &frame, &error, true, &verdict))
		fail_with(round, &error, true, "an own error does not leave", NULL, NULL);
	/* Whatever became of the packet, its sender knows what it is about. */
	out = tuple_of(round->bytes + 14 + 8 + (like.family == 4 ? 20 : 40) - 14, &like);
	if (memcmp(out.dst, like.dst, 16) || out.dst_port != like.dst_port)
		fail_with(round, &error, true, "an own error quotes what nobody has sent", NULL, NULL);
}

static void take_step(struct round *round)
{
	struct random *r = &round->r;
	struct conversation *talk;
	uint32_t kind = random_below(r, 100);

	if (!round->n || (kind < 20 && round->n < TALKS)) {
		talk = &round->talks[round->n++];
		memset(talk, 0, sizeof(*talk));
		choose_tuple(round, &talk->sent);
	} else {
		talk = &round->talks[random_below(r, round->n)];
	}
	kind = random_below(r, 100);
	if (kind < 8)
		give_up(round, talk);
	else if (!talk->known || kind < 45)
		say(round, talk, false);
	else if (kind < 80)
		say(round, talk, true);
	else
		complain(round, talk, talk->answered && random_chance(r, 50));
	if (compare_flow(round, &talk->sent)) {
		struct craft craft;

		craft_of(talk, false, &craft);
		fail_with(round, &craft, true, compare_flow(round, &talk->sent), NULL, NULL);
	}
}

static void policy_of(struct random_policy *policy, const char *const *nat)
{
	memset(policy, 0, sizeof(*policy));
	for (size_t i = 0; i < sizeof(head) / sizeof(head[0]) + 4; i++) {
		size_t n = sizeof(head) / sizeof(head[0]);
		const char *text = i < n ? head[i] : nat[i - n];
		struct policy_line *line = &policy->lines[policy->n];

		if (!text)
			break;
		line->part_n = 1;
		line->kind = LINE_RULE;
		snprintf(line->parts[0], POLICY_PART, "%s", text);
		policy->n++;
	}
}

static void test_engines_agree(void **state)
{
	uint64_t rounds = environment_number("REEVE_ROUNDS", ROUNDS);
	static struct round round;
	struct random_policy *policy = malloc(sizeof(*policy));
	struct text errors = TEXT_INIT(1 << 16);

	(void)state;
	assert_non_null(policy);
	random_seed(&round.r, seed);
	for (uint64_t i = 0; i < rounds; i++) {
		uint32_t refused;

		policy_of(policy, blocks[i % BLOCKS]);
		if (bench_open(&round.bench, world, policy, &refused, &errors))
			fail_msg("%s", text_string(&errors));
		round.n = 0;
		for (unsigned step = 0; step < STEPS; step++)
			take_step(&round);
		if (world)
			world_flush(world);
		bench_close(&round.bench);
	}
	printf("# %llu rounds, %llu checkpoints: %llu rewrote, %llu errors, %llu in fragments\n",
	       (unsigned long long)rounds, (unsigned long long)round.checkpoints,
	       (unsigned long long)round.rewritten, (unsigned long long)round.errors,
	       (unsigned long long)round.fragments);
	assert_true(rounds < 20 || round.rewritten > round.checkpoints / 5);
	text_free(&errors);
	free(policy);
}

static void test_kernel(void **state)
{
	(void)state;
	if (world_error == -EPERM || world_error == -ENOSYS)
		skip();
	assert_int_equal(world_error, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel),
		cmocka_unit_test(test_engines_agree),
	};
	const char *no_world;
	int status;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	seed = environment_number("REEVE_SEED", (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32);
	world_error = world_open(&world, &no_world);
	if (world_error)
		printf("# the kernel is left out: %s: %s\n", no_world, strerror(-world_error));
	printf("# REEVE_SEED=%llu\n", (unsigned long long)seed);
	status = cmocka_run_group_tests_name("nat-engines", tests, NULL, NULL);
	world_close(world);
	return status;
}
