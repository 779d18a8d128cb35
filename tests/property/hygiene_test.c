// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What zones ask for besides rules, in both engines: random packets through random hygiene.
 *
 * Departing packets: what the options say is done here once more, on the bytes that were crafted,
 * in the simplest way (every field by its place, checksums summed anew). The user engine and the
 * programs in the kernel must both leave exactly these bytes, but for an identification that is
 * asked to be random. Arriving packets: who is forged is told from the routes of world.h.
 *
 * REEVE_SEED repeats a run, REEVE_PACKETS makes it longer.
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

#define WIRE_MSS 1460 /* every MTU is 1500 */

static struct world *world; /* NULL: no kernel */
static uint64_t seed;

/* --- policies ----------------------------------------------------------------------- */

static void add_line(struct random_policy *policy, enum line_kind kind, const char *text)
{
	struct policy_line *line = &policy->lines[policy->n++];

	memset(line, 0, sizeof(*line));
	line->kind = kind;
	line->part_n = 1;
	snprintf(line->parts[0], sizeof(line->parts[0]), "%s", text);
}

/* Zone a is d1, zone b is d3; everything passes, without flows. */
static void open_policy(struct bench *bench, const struct hygiene hygiene[2])
{
	struct random_policy *policy = calloc(1, sizeof(*policy));
	struct text errors = TEXT_INIT(1 << 20);
	char text[POLICY_PART];
	uint32_t refused;

	assert_non_null(policy);
	add_line(policy, LINE_TOP, "zone a = d1; zone b = d3");
	for (int i = 0; i < 2; i++) {
		const struct hygiene *h = &hygiene[i];
		char size[16] = "";

		if (h->antispoof) {
			snprintf(text, sizeof(text), "antispoof %c%s", 'a' + i,
				 h->antispoof == ANTISPOOF_LOOSE ? " loose" : "");
			add_line(policy, LINE_TOP, text);
		}
		if (h->mss)
			snprintf(size, sizeof(size), " to %u", h->mss);
		if (h->clamp_mss) {
			snprintf(text, sizeof(text), "clamp-mss %c%s", 'a' + i, size);
			add_line(policy, LINE_TOP, text);
		}
		snprintf(size, sizeof(size), "min-ttl %u,", h->min_ttl);
		if (h->min_ttl || h->no_df || h->random_id) {
			snprintf(text, sizeof(text), "scrub %c { %s %s %s }", 'a' + i,
				 h->min_ttl ? size : "", h->no_df ? "no-df," : "",
				 h->random_id ? "random-id" : "");
			add_line(policy, LINE_TOP, text);
		}
	}
	add_line(policy, LINE_TOP, "options { ipv6-nd off; multicast-membership off; dhcp-client off }");
	add_line(policy, LINE_TOP, "policy any -> { any, self } { allow any stateless }");
	if (bench_open(bench, world, policy, &refused, &errors)) {
		bench_print(text_string(&errors));
		fail_msg("the policy cannot be opened");
	}
	text_free(&errors);
	free(policy);
}

static void random_hygiene(struct random *r, struct hygiene *hygiene)
{
	*hygiene = (struct hygiene){
		.antispoof = random_below(r, 3),
		.clamp_mss = random_chance(r, 60),
		.min_ttl = random_chance(r, 50) ? (uint8_t)random_between(r, 1, 255) : 0,
		.no_df = random_chance(r, 50),
		.random_id = random_chance(r, 40),
	};
	if (hygiene->clamp_mss && random_chance(r, 60))
		hygiene->mss = (uint16_t)random_between(r, 88, 2000);
}

/* --- checksums, summed from the beginning --------------------------------------------- */

static uint32_t sum(const uint8_t *bytes, uint32_t n, uint32_t before)
{
	for (uint32_t i = 0; i < n; i++)
		before += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (before >> 16)
		before = (before & 0xffff) + (before >> 16);
	return before;
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static void sum_ipv4(uint8_t *ip)
{
	put16(ip + 10, 0);
	put16(ip + 10, ~sum(ip, (ip[0] & 15u) * 4, 0));
}

static void sum_tcp(const uint8_t *ip, uint8_t *tcp, uint32_t length)
{
	uint32_t pseudo = 6 + length;

	pseudo = ip[0] >> 4 == 4 ? sum(ip + 12, 8, pseudo) : sum(ip + 8, 32, pseudo);
	put16(tcp + 16, 0);
	put16(tcp + 16, ~sum(tcp, length, pseudo));
}

/* --- departing ------------------------------------------------------------------------ */

struct sample {
	struct craft craft;
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame;
	uint32_t l3, l4; /* l4: of a whole TCP header, else 0 */
	uint32_t end;	 /* of the IP packet */
	bool departs_b;	 /* a -> b, else b -> a */
};

/* Options of a SYN: what is usual, and what is not, in any order. */
static void random_options(struct random *r, uint8_t *at, uint32_t room)
{
	while (room) {
		uint32_t kind = random_below(r, 6), length = 1;

		if (kind == 0 && room >= 4) {
			length = 4;
			at[0] = 2;
			at[1] = 4;
			put16(at + 2, random_between(r, 0, random_chance(r, 20) ? 65535 : 2500));
		} else if (kind == 1 && room >= 2) {
			length = random_between(r, 2, room);
			at[0] = (uint8_t)random_between(r, 3, 254);
			at[1] = (uint8_t)length;
		} else if (kind == 2 && random_chance(r, 20)) {
			at[0] = (uint8_t)random_word(r); /* out of shape */
		} else {
			at[0] = random_chance(r, 4) ? 0 : 1;
		}
		at += length;
		room -= length;
	}
}

static void random_sample(struct random *r, struct sample *s)
{
	struct craft *craft = &s->craft;
	static const uint8_t flags[] = { 2, 2, 0x12, 0x12, 0x10, 0x18, 4, 0xc2 };
	uint32_t words;

	craft_init(craft);
	craft->family = random_chance(r, 50) ? 4 : 6;
	for (int i = 0; i < 4; i++) {
		craft->src[i] = craft->family == 6 || !i ? random_word(r) : 0;
		craft->dst[i] = craft->family == 6 || !i ? random_word(r) : 0;
	}
	craft->src[0] = craft->family == 4 ? 0xcb007100 | craft->src[0] >> 24 : 0x20010db8;
	craft->dst[0] = craft->family == 4 ? 0xcb007200 | craft->dst[0] >> 24 : 0x20010db8;
	craft->protocol = random_chance(r, 75) ? 6 : 17;
	craft->ttl = (uint8_t)random_between(r, 1, 255);
	craft->tcp_flags = random_pick(r, flags);
	craft->seq = random_word(r);
	craft->window = (uint16_t)random_word(r);
	words = craft->protocol == 6 ? random_below(r, 11) : 0;
	craft->tcp_options = (uint8_t)words;
	craft->payload = (uint16_t)random_below(r, 200);
	craft->ip_options = craft->family == 4 && random_chance(r, 20) ?
				    (uint8_t)random_between(r, 1, 10) : 0;
	if (craft->family == 6 && random_chance(r, 20)) {
		craft->extension_n = 1;
		craft->extensions[0] = (struct craft_extension){ 60, (uint8_t)random_below(r, 3) };
	}
	craft->raw = random_chance(r, 20);
	if (craft->raw && craft->family == 4) /* a test run takes the EtherType from here */
		craft->src[0] = 0x08000000 | (craft->src[0] & 0xffff);
	else if (craft->raw)
		craft->src[1] = 0x86dd0000 | (craft->src[1] & 0xffff);
	s->departs_b = random_chance(r, 50);
	s->frame = (struct user_frame){ .bytes = s->bytes, .writable = s->bytes };
	s->frame.len = craft_build(craft, s->bytes);
	s->frame.ethernet = !craft->raw;
	s->frame.protocol = craft->family == 4 ? 0x0008 : 0xdd86;
	s->frame.ifindex = WORLD_IFINDEX + (s->departs_b ? 3 : 1);
	s->frame.ingress_ifindex = WORLD_IFINDEX + (s->departs_b ? 1 : 3);
	s->l3 = craft->raw ? 0 : 14;
	s->end = s->frame.len;
	s->l4 = s->l3 + (craft->family == 4 ? 20 + craft->ip_options * 4u : 40);
	if (craft->extension_n)
		s->l4 += (craft->extensions[0].length + 1u) * 8;
	if (craft->protocol != 6)
		s->l4 = 0;
	if (craft->family == 4) {
		s->bytes[s->l3 + 6] = random_chance(r, 50) ? 0x40 : 0;
		put16(s->bytes + s->l3 + 4, random_word(r));
		sum_ipv4(s->bytes + s->l3);
	}
	if (s->l4) {
		random_options(r, s->bytes + s->l4 + 20, words * 4);
		sum_tcp(s->bytes + s->l3, s->bytes + s->l4, s->end - s->l4);
	}
}

/* What the segment sizes of a SYN have to be at most; 0: as they are. */
static uint32_t size_limit(const struct sample *s, const struct hygiene hygiene[2])
{
	uint32_t limit = 0, wire = s->craft.family == 4 ? WIRE_MSS : WIRE_MSS - 20;

	for (int i = 0; i < 2; i++) {
		uint32_t one = hygiene[i].mss ? hygiene[i].mss : wire;

		if (hygiene[i].clamp_mss && (!limit || one < limit))
			limit = one;
	}
	return limit;
}

/* The same once more, the simplest way. True when the identification may be any. */
static bool expect_bytes(const struct sample *s, const struct hygiene hygiene[2], uint8_t *bytes)
{
	const struct hygiene *to = &hygiene[s->departs_b];
	uint8_t *ip = bytes + s->l3, *tcp = bytes + s->l4;
	uint32_t limit = size_limit(s, hygiene), at = 20, header;

	if (s->l4 && (tcp[13] & 2) && limit) {
		header = (tcp[12] >> 4) * 4u;
		while (at < header && tcp[at] != 0) {
			uint32_t length = tcp[at] == 1 ? 1 : at + 1 < header ? tcp[at + 1] : 0;

			if (!length || (tcp[at] != 1 && length < 2) || length > header - at)
				break;
			if (tcp[at] == 2 && length == 4 && get16(tcp + at + 2) > limit)
				put16(tcp + at + 2, limit);
			at += length;
		}
		sum_tcp(ip, tcp, s->end - s->l4);
	}
	if (s->craft.family == 6) {
		ip[7] = ip[7] < to->min_ttl ? to->min_ttl : ip[7];
		return false;
	}
	ip[8] = ip[8] < to->min_ttl ? to->min_ttl : ip[8];
	if (to->no_df)
		ip[6] &= (uint8_t)~0x40;
	sum_ipv4(ip);
	return to->random_id;
}

/* Takes a random identification out of the comparison, when its checksum is right. */
static bool any_id(uint8_t *bytes, const struct sample *s, const uint8_t *before)
{
	uint8_t *ip = bytes + s->l3;
	bool right = sum(ip, (ip[0] & 15u) * 4, 0) == 0xffff && get16(ip + 4);

	memcpy(ip + 4, before + s->l3 + 4, 2);
	sum_ipv4(ip);
	return right;
}

static void show(const char *who, const uint8_t *bytes, uint32_t n)
{
	printf("# %s:", who);
	for (uint32_t i = 0; i < n && i < 120; i++)
		printf(" %02x", bytes[i]);
	printf("\n");
}

/* True when they agree. */
static bool try_departing(struct bench *bench, const struct hygiene hygiene[2], struct sample *s)
{
	uint8_t before[CRAFT_BYTES], expected[CRAFT_BYTES], kernel[CRAFT_BYTES];
	struct user_verdict verdict;
	struct seen user, seen = { 0 };
	bool random_id, good;
	int err;

	memcpy(before, s->bytes, sizeof(before));
	memcpy(expected, s->bytes, sizeof(expected));
	random_id = expect_bytes(s, hygiene, expected);
	err = world ? world_run(world, &s->frame, true, true, &seen) : 0;
	if (err == -EINVAL)
		return true; /* the kernel does not take such a frame */
	if (err)
		printf("# test run: %s\n", strerror(-err));
	if (world)
		memcpy(kernel, world_bytes(world), s->frame.len);
	bench_run(bench, &s->frame, true, &verdict, &user);
	good = user.action == USER_NEXT && (!world || seen_same(&user, &seen));
	if (random_id) {
		good = any_id(s->bytes, s, before) && good;
		good = (!world || any_id(kernel, s, before)) && good;
	}
	good = good && !memcmp(s->bytes, expected, s->frame.len) &&
	       (!world || !memcmp(kernel, expected, s->frame.len));
	if (good)
		return true;
	printf("# user %u, kernel %u\n", user.action, seen.action);
	show("before", before, s->frame.len);
	show("expected", expected, s->frame.len);
	show("user", s->bytes, s->frame.len);
	show("kernel", kernel, world ? s->frame.len : 0);
	return false;
}

static void test_departing(void **state)
{
	uint64_t n = environment_number("REEVE_PACKETS", 6000), changed = 0;
	struct random r;

	(void)state;
	random_seed(&r, seed);
	for (uint64_t i = 0; i < n;) {
		struct hygiene hygiene[2];
		struct bench bench;

		random_hygiene(&r, &hygiene[0]);
		random_hygiene(&r, &hygiene[1]);
		open_policy(&bench, hygiene);
		for (int k = 0; k < 100; k++, i++) {
			struct sample sample;
			uint8_t before[CRAFT_BYTES];

			random_sample(&r, &sample);
			memcpy(before, sample.bytes, sizeof(before));
			if (!try_departing(&bench, hygiene, &sample))
				fail_msg("REEVE_SEED=%llu, packet %llu", (unsigned long long)seed,
					 (unsigned long long)i);
			changed += memcmp(before, sample.bytes, sample.frame.len) != 0;
		}
		bench_close(&bench);
	}
	printf("# %llu packets, %llu changed%s\n", (unsigned long long)n,
	       (unsigned long long)changed, world ? "" : ", without the kernel");
	assert_true(changed > n / 4);
}

/* --- arriving --------------------------------------------------------------------------- */

static const uint32_t sources[][5] = {
	/* family, address */
	{ 4, 0x08080808 }, { 4, 0xc6336407 }, { 4, 0x0a010203 }, { 4, 0xc0000263 }, { 4, 0xa9fe0101 },
	{ 6, 0x20010db8, 0x00010000, 0, 7 }, { 6, 0x20010db8, 0x00020000, 0, 7 },
	{ 6, 0xfd000000, 0, 0, 1 }, { 6, 0xfe800000, 0, 0, 0x77 },
};

/* Is it forged, as zone and routes have it? */
static bool forged(const struct craft *craft, unsigned interface, const struct hygiene hygiene[2])
{
	enum antispoof ask = interface == 1 ? hygiene[0].antispoof :
			     interface == 3 ? hygiene[1].antispoof : ANTISPOOF_OFF;
	struct packet packet = { 0 };
	struct user_frame frame = { .ifindex = WORLD_IFINDEX + interface };
	uint32_t back = 0;

	if (ask == ANTISPOOF_OFF || (craft->family == 6 && craft->src[0] >> 22 == 0x3fa))
		return false;
	packet.fields.word[FIELD_FAMILY] = craft->family;
	memcpy(&packet.fields.word[FIELD_SRC], craft->src, sizeof(craft->src));
	if (!world_way_back(NULL, &frame, &packet, &back))
		return true;
	return ask == ANTISPOOF_STRICT && back != frame.ifindex;
}

static void try_arriving(struct random *r, struct bench *bench, const struct hygiene hygiene[2])
{
	const uint32_t *source = random_pick(r, sources);
	unsigned interface = random_below(r, WORLD_INTERFACES);
	struct user_verdict verdict;
	struct seen user, kernel = { 0 };
	uint8_t bytes[CRAFT_BYTES];
	struct craft craft;
	bool spoofed;

	craft_init(&craft);
	craft.family = (uint8_t)source[0];
	craft.protocol = random_chance(r, 50) ? 6 : 17;
	memcpy(craft.src, source + 1, sizeof(craft.src));
	memset(craft.dst, 0, sizeof(craft.dst));
	craft.dst[0] = craft.family == 4 ? 0x0a000001 : 0xfd000000;
	if (random_chance(r, 50))
		craft.dst[0] = craft.family == 4 ? 0xcb007105 : 0x20010db8;
	craft.dst[3] = craft.family == 6;
	world_mac(interface, craft.target_mac);
	struct user_frame frame = {
		.bytes = bytes,
		.len = craft_build(&craft, bytes),
		.ethernet = true,
		.ifindex = WORLD_IFINDEX + interface,
	};
	if (world)
		assert_int_equal(world_run(world, &frame, false, true, &kernel), 0);
	bench_run(bench, &frame, false, &verdict, &user);
	spoofed = user.action == USER_DROP && verdict.packet.sanity == SANITY_SPOOFED;
	if (spoofed != forged(&craft, interface, hygiene) || (world && !seen_same(&user, &kernel)))
		fail_msg("REEVE_SEED=%llu: source %08x %08x at d%u, antispoof %u %u: forged %d, user %u, kernel %u",
			 (unsigned long long)seed, craft.src[0], craft.src[1], interface,
			 hygiene[0].antispoof, hygiene[1].antispoof, spoofed, user.action,
			 kernel.action);
}

static void test_arriving(void **state)
{
	uint64_t forged_n = 0;
	struct random r;

	(void)state;
	random_seed(&r, seed + 1);
	for (int i = 0; i < 30; i++) {
		struct hygiene hygiene[2];
		uint64_t stats[STAT_COUNT];
		struct bench bench;

		random_hygiene(&r, &hygiene[0]);
		random_hygiene(&r, &hygiene[1]);
		open_policy(&bench, hygiene);
		for (int k = 0; k < 100; k++)
			try_arriving(&r, &bench, hygiene);
		forged_n += user_engine_stats(bench.engine)[STAT_SPOOFED];
		if (world) {
			assert_int_equal(world_stats(world, stats), 0);
			assert_int_equal(stats[STAT_SPOOFED],
					 user_engine_stats(bench.engine)[STAT_SPOOFED]);
		}
		bench_close(&bench);
	}
	printf("# 3000 packets, %llu forged\n", (unsigned long long)forged_n);
	assert_true(forged_n > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_departing),
		cmocka_unit_test(test_arriving),
	};
	const char *no_world;
	int status, err;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	seed = environment_number("REEVE_SEED", (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32);
	err = world_open(&world, &no_world);
	if (err)
		printf("# the kernel is left out: %s: %s\n", no_world, strerror(-err));
	printf("# REEVE_SEED=%llu\n", (unsigned long long)seed);
	status = cmocka_run_group_tests_name("hygiene", tests, NULL, NULL);
	world_close(world);
	return status;
}
