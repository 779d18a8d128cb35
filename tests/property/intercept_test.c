// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Interception, held against the reference evaluator: random policies with `intercept` statements,
 * random packets that begin a flow, proxies that listen or do not. What the user engine does with
 * each packet must follow from evaluate(), evaluate_intercept() and who listens; then the answer
 * leaves, the next packet stays too, and a policy that does not intercept lets none of it stay.
 *
 * REEVE_SEED repeats a run, REEVE_POLICIES makes it longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "analysis/evaluate.h"
#include "base/source.h"
#include "base/text.h"
#include "compile/compile.h"
#include "craft.h"
#include "engine/user/engine.h"
#include "random.h"

#define WAN 10
#define LAN 11
#define DMZ 12
#define PACKETS 60
#define WITNESS 0x1234u
#define OWN_BITS 0xe0000000u /* two bits of every policy's, and the one below them */
#define STAYS_BIT 0x20000000u

static uint64_t seed;

static const struct compile_interface interfaces[] = { { WAN, 2 }, { LAN, 3 }, { DMZ, 4 } };

/* --- policies ------------------------------------------------------------------------- */

static const char head[] = "zone wan = a\nzone lan = b\nzone dmz = c\n";
static const char *const zones[] = { "wan", "lan", "dmz", "{ wan, lan }", "any" };
static const char *const services[] = { "", "80/tcp", "53", "443", "{ 53, 80 }/udp", "tcp", "udp" };
static const char *const sources[] = { "", "from 10.0.0.0/8", "from 198.51.100.0/25",
				       "from fd00::/16", "from 10.0.0.16-10.0.0.18" };
static const char *const actions[] = { "allow", "allow", "drop", "reject", "reject" };

static void random_rules(struct random *r, struct text *rules)
{
	uint32_t n = 1 + random_below(r, 5);

	text_puts(rules, head);
	while (n--)
		text_printf(rules, "policy %s -> %s { %s %s %s }\n", random_pick(r, zones),
			    random_chance(r, 20) ? "self" : random_pick(r, zones),
			    random_pick(r, actions), random_pick(r, services),
			    random_pick(r, sources));
	text_printf(rules, "policy any -> any default %s\n", random_pick(r, actions));
}

static void random_intercept(struct random *r, struct text *intercepts)
{
	bool four = random_chance(r, 60);
	const char *from = random_pick(r, sources);

	if (strchr(from, ':') ? four : !four && *from)
		from = "";
	text_printf(intercepts, "intercept %s -> %s %s %s to %s:%u%s\n", random_pick(r, zones),
		    random_pick(r, zones), random_pick(r, services), from,
		    four ? "127.0.0.1" : "[::1]", 3000 + random_below(r, 6),
		    random_chance(r, 40) ? " on-missing pass" : "");
}

/* False when the language refuses it. */
static bool load(const struct text *rules, const char *more, struct ruleset *ruleset,
		 struct image *image)
{
	struct diagnostics diagnostics = { 0 };
	struct source_set set = { 0 };
	struct text whole = TEXT_INIT(1 << 16);
	const char *why = "";
	uint32_t index;
	bool taken;

	text_printf(&whole, "%s%s", text_string((struct text *)rules), more);
	assert_int_equal(source_set_add(&set, "t", whole.bytes, whole.len, &index), 0);
	set.sealed = true;
	taken = !policy_load("t", &set, ruleset, &diagnostics);
	if (taken && image_compile(ruleset, interfaces, 3, image, &why))
		fail_msg("REEVE_SEED=%llu: %s, of\n%s", (unsigned long long)seed, why,
			 text_string(&whole));
	diagnostics_free(&diagnostics);
	text_free(&whole);
	return taken;
}

/* Statements that are refused beside the others (never reached) are left out. */
static void random_policy(struct random *r, struct text *rules, struct text *intercepts)
{
	uint32_t n = 1 + random_below(r, 4);

	random_rules(r, rules);
	while (n--) {
		struct ruleset ruleset = { 0 };
		struct image image = { 0 };
		size_t len = intercepts->len;

		random_intercept(r, intercepts);
		if (!load(rules, text_string(intercepts), &ruleset, &image)) {
			intercepts->len = len;
			intercepts->bytes[len] = '\0';
		}
		image_free(&image);
		ruleset_free(&ruleset);
	}
}

/* --- the host --------------------------------------------------------------------------- */

static const uint32_t own4[4] = { 0xcb007101 }, own6[4] = { 0x20010db8, 0x0203, 0, 1 };

static uint32_t leaves_to(unsigned family, const uint32_t *dst)
{
	if (!memcmp(dst, family == 4 ? own4 : own6, 16))
		return 0;
	if (family == 4 ? dst[0] >> 24 == 10 : dst[0] >> 16 == 0xfd00)
		return LAN;
	return family == 4 && dst[0] >> 20 == 0xac1 ? DMZ : WAN;
}

static enum route route_of(void *context, const struct user_frame *frame,
			   const struct packet *packet)
{
	(void)context;
	(void)frame;
	return leaves_to(packet->fields.word[FIELD_FAMILY], &packet->fields.word[FIELD_DST]) ?
		       ROUTE_FORWARD : ROUTE_SELF;
}

static uint32_t leaves_by(void *context, const struct user_frame *frame,
			  const struct packet *packet)
{
	(void)context;
	(void)frame;
	return leaves_to(packet->fields.word[FIELD_FAMILY], &packet->fields.word[FIELD_DST]);
}

/* Proxies listen on odd ports; of UDP, on those below 3004. */
static bool proxy_listens(uint16_t port, unsigned protocol)
{
	return port % 2 && (protocol != 17 || port < 3004);
}

static bool listens(void *context, const uint32_t address[4], uint16_t port,
		    const struct packet *packet)
{
	(void)context;
	assert_true(packet->fields.word[FIELD_FAMILY] == 4 ? address[0] == 0x7f000001 :
							     address[3] == 1 && !address[0]);
	return proxy_listens(port, packet->fields.word[FIELD_PROTOCOL]);
}

/* --- packets ---------------------------------------------------------------------------- */

static void random_packet(struct random *r, struct craft *craft, uint32_t *in)
{
	static const uint8_t protocols[] = { 6, 6, 17, 17, 132 };
	static const uint16_t ports[] = { 80, 53, 443, 22 };
	static const uint32_t first4[] = { 0x0a000010, 0xc6336410, 0xc63364f0, 0xac100001 };
	bool four = random_chance(r, 60);

	craft_init(craft);
	craft->family = four ? 4 : 6;
	craft->protocol = random_pick(r, protocols);
	craft->src_port = (uint16_t)random_between(r, 2000, 60000);
	craft->dst_port = random_pick(r, ports);
	memset(craft->src, 0, sizeof(craft->src));
	memset(craft->dst, 0, sizeof(craft->dst));
	if (four) {
		craft->src[0] = random_pick(r, first4) + random_below(r, 5);
		craft->dst[0] = random_chance(r, 10) ? own4[0] : random_pick(r, first4) + 8;
	} else {
		craft->src[0] = random_chance(r, 50) ? 0xfd000000 : 0x20010db8;
		craft->src[3] = 1 + random_below(r, 5);
		memcpy(craft->dst, own6, 16);
		if (random_chance(r, 90)) {
			craft->dst[0] = random_chance(r, 50) ? 0xfd000000 : 0x20010db8;
			craft->dst[3] = 9;
		}
	}
	craft->tcp_flags = 0x02;
	craft->seq = 100;
	craft->payload = craft->protocol == 6 ? 0 : 20;
	*in = WAN + random_below(r, 3);
}

static void turn(struct craft *craft)
{
	struct craft was = *craft;

	memcpy(craft->src, was.dst, sizeof(craft->src));
	memcpy(craft->dst, was.src, sizeof(craft->dst));
	craft->src_port = was.dst_port;
	craft->dst_port = was.src_port;
}

struct trip {
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame;
	struct user_verdict verdict;
};

static void arrive(struct user_engine *engine, const struct craft *craft, uint32_t in, uint32_t mark,
		   struct trip *trip)
{
	uint32_t length = craft_build(craft, trip->bytes);

	trip->frame = (struct user_frame){ .bytes = trip->bytes, .writable = trip->bytes,
					   .len = length, .ethernet = true, .ifindex = in,
					   .mark = mark };
	user_engine_arrive(engine, &trip->frame, &trip->verdict);
}

static void leave(struct user_engine *engine, const struct craft *craft, uint32_t out,
		  struct trip *trip)
{
	uint32_t length = craft_build(craft, trip->bytes);

	trip->frame = (struct user_frame){ .bytes = trip->bytes, .writable = trip->bytes,
					   .len = length, .ethernet = true, .ifindex = out };
	user_engine_depart(engine, &trip->frame, &trip->verdict);
}

/* --- what must be ------------------------------------------------------------------------ */

enum fate {
	FATE_DEFERRED,	/* forwarded, if departure lets it */
	FATE_NOBODY,	/* dropped: nobody listens */
	FATE_STAYS,	/* intercepted and allowed */
	FATE_DROPPED,	/* intercepted, and not allowed */
	FATE_ANSWERED,	/* likewise: rejected */
	FATE_SELF,	/* for this host: of no concern here */
};

static enum fate fate_of(const struct ruleset *ruleset, const struct craft *craft, uint32_t in)
{
	uint32_t leaves = leaves_to(craft->family, craft->dst), number;
	const struct nat_rule *rule;
	struct fields fields;

	if (!leaves)
		return FATE_SELF;
	craft_fields(craft, true, &fields);
	fields.word[FIELD_FROM_ZONE] = in - WAN + 2;
	fields.word[FIELD_TO_ZONE] = leaves - WAN + 2;
	number = evaluate_intercept(ruleset, &fields);
	if (number == ruleset->nat_n)
		return FATE_DEFERRED;
	rule = &ruleset->nat[number];
	if (!proxy_listens(rule->targets[0].port_lo, craft->protocol))
		return rule->pass ? FATE_DEFERRED : FATE_NOBODY;
	switch (ruleset->rules[evaluate(ruleset, &fields)].action) {
	case ACTION_ALLOW:
		return FATE_STAYS;
	case ACTION_REJECT:
		return FATE_ANSWERED;
	default:
		return FATE_DROPPED;
	}
}

static enum fate fate_seen(const struct trip *trip)
{
	const struct user_verdict *verdict = &trip->verdict;
	uint32_t own = trip->frame.mark & OWN_BITS;

	if (verdict->action == USER_ANSWER)
		return FATE_ANSWERED;
	if (verdict->action == USER_DROP)
		return verdict->packet.sanity == SANITY_NO_LISTENER ? FATE_NOBODY : FATE_DROPPED;
	if (own == ((uint32_t)MARK_DEFERRED << 30))
		return FATE_DEFERRED;
	if (own == ((uint32_t)MARK_SELF << 30 | STAYS_BIT) &&
	    trip->frame.tc_index == (IMAGE_TAG_SELF ^ WITNESS))
		return FATE_STAYS;
	return FATE_SELF;
}

/* What is intercepted goes on: the answer, the next packet; and ends with what made it so. */
static void converse(struct user_engine *engine, const struct craft *first, uint32_t in,
		     const struct image *without)
{
	struct craft back = *first, next = *first;
	uint64_t cut = user_engine_stats(engine)[STAT_FLOW_CUT];
	static struct trip trip;
	const char *why;

	turn(&back);
	back.tcp_flags = 0x12;
	back.seq = 5000;
	back.ack = 101;
	leave(engine, &back, in, &trip);
	assert_int_equal(trip.verdict.action, USER_NEXT);
	assert_int_equal(trip.verdict.judgement.by, BY_FLOW);
	assert_int_equal(trip.frame.mark, 0);
	next.tcp_flags = 0x10;
	next.seq = 101;
	next.ack = 5001;
	for (unsigned i = 0; i < 2; i++) {
		arrive(engine, &next, in, 0, &trip);
		assert_int_equal(trip.verdict.action, USER_NEXT);
		assert_int_equal(trip.verdict.judgement.by, BY_FLOW);
		assert_int_equal(fate_seen(&trip), FATE_STAYS);
	}
	if (!without)
		return;
	assert_int_equal(user_engine_swap(engine, without->bytes, without->size, false, &why), 0);
	arrive(engine, &next, in, STAYS_BIT, &trip);
	assert_int_equal(trip.verdict.action, USER_NEXT);
	assert_int_equal(trip.verdict.judgement.mark, MARK_DEFERRED);
	assert_int_equal(user_engine_stats(engine)[STAT_FLOW_CUT], cut + 1);
}

static void one_packet(struct random *r, struct user_engine *engine, const struct ruleset *ruleset,
		       const char *policy, const struct image *images, uint64_t fates[])
{
	static struct trip trip;
	enum fate expected, seen;
	struct craft craft;
	const char *why;
	uint32_t in;

	random_packet(r, &craft, &in);
	expected = fate_of(ruleset, &craft, in);
	if (expected == FATE_SELF)
		return;
	user_engine_flush(engine);
	/* Whatever it brings along in reeve's bits says nothing. */
	arrive(engine, &craft, in, random_chance(r, 20) ? OWN_BITS : 0, &trip);
	seen = fate_seen(&trip);
	if (seen != expected)
		fail_msg("REEVE_SEED=%llu: expected %d, found %d, by interface %u, IPv%u protocol %u port %u, of\n%s",
			 (unsigned long long)seed, expected, seen, in, craft.family, craft.protocol,
			 craft.dst_port, policy);
	fates[expected]++;
	if (expected != FATE_STAYS)
		return;
	if (random_chance(r, 30)) {
		converse(engine, &craft, in, &images[1]);
		assert_int_equal(user_engine_swap(engine, images[0].bytes, images[0].size, false, &why),
				 0);
	} else {
		converse(engine, &craft, in, NULL);
	}
}

static void one_policy(struct random *r, uint64_t fates[])
{
	static const struct user_options options = {
		.flows_max = 64, .embryonic_max = 64, .route = route_of, .leaves = leaves_by,
		.listens = listens, .proof_seed = 7, .witness = WITNESS,
	};
	struct text rules = TEXT_INIT(1 << 16), intercepts = TEXT_INIT(1 << 16);
	struct ruleset ruleset = { 0 }, plain = { 0 };
	struct image images[2] = { 0 };
	struct user_engine *engine = NULL;
	const char *why = "";

	random_policy(r, &rules, &intercepts);
	assert_true(load(&rules, text_string(&intercepts), &ruleset, &images[0]));
	assert_true(load(&rules, "", &plain, &images[1]));
	assert_int_equal(user_engine_new(images[0].bytes, images[0].size, &options, &engine, &why),
			 0);
	text_puts(&rules, text_string(&intercepts));
	for (unsigned i = 0; i < PACKETS; i++)
		one_packet(r, engine, &ruleset, text_string(&rules), images, fates);
	user_engine_free(engine);
	image_free(&images[0]);
	image_free(&images[1]);
	ruleset_free(&ruleset);
	ruleset_free(&plain);
	text_free(&rules);
	text_free(&intercepts);
}

static void test_interception(void **state)
{
	uint64_t policies = environment_number("REEVE_POLICIES", 300), fates[FATE_SELF + 1] = { 0 };

	(void)state;
	for (uint64_t i = 0; i < policies; i++) {
		struct random r;

		random_seed(&r, seed + i);
		one_policy(&r, fates);
	}
	for (unsigned i = 0; i < FATE_SELF; i++) {
		printf("# fate %u: %llu packets\n", i, (unsigned long long)fates[i]);
		assert_true(fates[i] > policies / 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interception),
	};

	seed = environment_number("REEVE_SEED", (uint64_t)time(NULL));
	printf("# REEVE_SEED=%llu\n", (unsigned long long)seed);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("interception", tests, NULL, NULL);
}
