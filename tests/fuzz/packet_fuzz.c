// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any bytes as frames through the user engine.
 *
 * The input is a sequence of frames, each behind a small head that says where it is seen and what
 * is known of it, so that flows come about: the same tuple arrives, departs and is answered.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "engine/user/engine.h"

#define ZONES 3
#define SECOND 1000000000ull

enum { RULE_ALLOW, RULE_DROP, RULE_REJECT, RULE_STATELESS, RULES };
enum {
	UNIT_DISPATCH = IMAGE_HEADER_UNITS,
	DISPATCH_UNITS = (ZONES * ZONES * 2 * WALK_KINDS + 7) / 8,
	UNIT_TAGS = UNIT_DISPATCH + DISPATCH_UNITS,
	UNIT_INTERFACES,
	UNIT_RULES,
	UNIT_HYGIENE = UNIT_RULES + RULES,
	UNIT_UNUSED,
	UNIT_SWITCH = UNIT_UNUSED / 4 * 4 + 4, /* aligned to its size */
	UNITS = UNIT_SWITCH + 4,
};

struct small_image {
	struct image_header header;
	uint32_t dispatch[DISPATCH_UNITS * 8];
	uint16_t tags[IMAGE_UNIT_TAGS];
	struct image_bucket interfaces;
	struct image_rule rules[RULES];
	struct image_hygiene hygiene[IMAGE_UNIT_HYGIENE];
	unsigned char unused[(UNIT_SWITCH - UNIT_UNUSED) * IMAGE_UNIT];
	struct image_switch ports;
};

_Static_assert(sizeof(struct small_image) == UNITS * IMAGE_UNIT, "layout");

static struct small_image small_image(void)
{
	struct small_image image = {
		.header = { .magic = IMAGE_MAGIC,
			    .version = IMAGE_VERSION,
			    .units = UNITS,
			    .zones = ZONES,
			    .rules = RULES,
			    .policy_rules = RULES,
			    .early_rules = RULES,
			    .dispatch = UNIT_DISPATCH,
			    .interfaces = UNIT_INTERFACES,
			    .zone_tags = UNIT_TAGS,
			    .rule_table = UNIT_RULES,
			    .hygiene = UNIT_HYGIENE,
			    .walk_max = 1,
			    .flags = IMAGE_PICKUP,
			    .mark_shift = 30 },
		.tags = { IMAGE_TAG_SELF, IMAGE_TAG_OTHER, 100 },
		.interfaces.entry = { { 1, 2, 100 }, { 2, 1, IMAGE_TAG_OTHER } },
		.rules = { [RULE_ALLOW] = { .action = ACTION_ALLOW,
					    .mark_mask = 0xff,
					    .mark_value = 7 },
			   [RULE_DROP] = { .action = ACTION_DROP,
					   .flags = IMAGE_RULE_LOG,
					   .log_sample = 3 },
			   [RULE_REJECT] = { .action = ACTION_REJECT },
			   [RULE_STATELESS] = { .action = ACTION_ALLOW,
						.flags = IMAGE_RULE_STATELESS } },
		.hygiene = { [1] = { HYGIENE_ANTISPOOF | HYGIENE_CLAMP_MSS, 9, 0 },
			     [2] = { HYGIENE_ANTISPOOF | HYGIENE_LOOSE | HYGIENE_CLAMP_MSS |
					     HYGIENE_NO_DF | HYGIENE_RANDOM_ID, 0, 900 } },
		.ports = { .field = FIELD_DST_PORT },
	};

	for (int i = 0; i < IMAGE_SWITCH_KEYS; i++)
		image.ports.key[i] = 0x1000u * (uint32_t)(i + 1);
	for (int i = 0; i <= IMAGE_SWITCH_KEYS; i++)
		image.ports.child[i] = i % 5 ? RULE_ALLOW : (uint32_t)i / 5;
	for (int i = 0; i < ZONES * ZONES * 2 * (WALK_FRAGMENT + 1); i++)
		image.dispatch[i] = REF_MAKE(REF_SWITCH, UNIT_SWITCH);
	return image;
}

/* What stands before each frame in the input. */
struct head {
	/*
	 * 1: departs; 2: no Ethernet header; 4: IPv6 in a raw frame; 8: tagged; 16: GSO; 32: time
	 * passes; 64: departure may write
	 */
	uint8_t flags;
	uint8_t interfaces; /* the one where it is, the one where it arrived: 4 bits each */
	uint8_t type;
	uint8_t mark;	/* reeve's bits, and six more */
	uint8_t length; /* of the frame, in units of 2 bytes */
};

struct context {
	unsigned events;
};

static enum route route(void *context, const struct user_frame *frame, const struct packet *packet)
{
	(void)context;
	(void)frame;
	return packet->fields.word[FIELD_DST + 3] & 1 || packet->fields.word[FIELD_DST] & 1 ?
		       ROUTE_SELF : ROUTE_FORWARD;
}

static int way_back(void *context, const struct user_frame *frame, const struct packet *packet,
		    uint32_t *ifindex)
{
	(void)context;
	*ifindex = packet->fields.word[FIELD_SRC] & 2 ? frame->ifindex : 3;
	return packet->fields.word[FIELD_SRC] & 1;
}

static uint32_t mtu(void *context, uint32_t ifindex)
{
	(void)context;
	return ifindex * 20;
}

/* An IPv4 header that added up still does when departure has written to it. */
static uint32_t header_sum(const struct user_frame *frame, const struct packet *p)
{
	uint32_t sum = 0;

	for (uint32_t at = p->l3; at < p->l4; at += 2)
		sum += (uint32_t)frame->bytes[at] << 8 | frame->bytes[at + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void check_written(const struct user_frame *frame, const uint8_t *before,
			  const struct user_verdict *verdict)
{
	const struct packet *p = &verdict->packet;
	struct user_frame old = *frame;

	old.bytes = before;
	if (verdict->action != USER_NEXT) {
		if (memcmp(before, frame->bytes, frame->len))
			abort(); /* what is dropped is left as it is */
		return;
	}
	if (p->l4 && p->fields.word[FIELD_FAMILY] == 4 && p->sanity == SANITY_OK &&
	    header_sum(&old, p) == 0xffff && header_sum(frame, p) != 0xffff)
		abort();
}

static void hear(void *context, const struct event *event)
{
	struct context *counts = context;

	counts->events += event->kind < EVENT_GUARD;
}

static void check(const struct user_frame *frame, const struct user_verdict *verdict)
{
	const struct packet *p = &verdict->packet;

	/* What was read lies within the frame; what is malformed is dropped. */
	if (p->sanity == SANITY_OK && p->length && p->l3 + p->length > frame->len)
		abort();
	if (p->sanity == SANITY_OK && p->l4 > frame->len)
		abort();
	if (p->sanity != SANITY_OK && verdict->judgement.by != BY_NOTHING &&
	    verdict->judgement.by != BY_ANSWER && verdict->action == USER_NEXT &&
	    verdict->judgement.hook == HOOK_ARRIVE)
		abort();
	if (p->fields.word[FIELD_FAMILY] == 4 && p->fields.word[FIELD_SRC + 1])
		abort();
}

static int count(void *context, const struct flow_key *key, const struct flow *flow, bool embryonic)
{
	(void)embryonic;
	if (key->zero || flow->state >= FLOW_STATES || !flow->original.packets)
		abort();
	++*(unsigned *)context;
	return 0;
}

static void run(struct user_engine *engine, const uint8_t *data, size_t size)
{
	uint64_t now = SECOND;
	struct head head;

	while (size > sizeof(head)) {
		struct user_frame frame = { 0 };
		struct user_verdict verdict;
		uint8_t *bytes, before[512];

		memcpy(&head, data, sizeof(head));
		data += sizeof(head);
		size -= sizeof(head);
		frame.len = head.length * 2u < size ? head.length * 2u : (uint32_t)size;
		/* of just this size, so that a read beyond it is seen */
		bytes = malloc(frame.len ? frame.len : 1);
		if (!bytes)
			return;
		memcpy(bytes, data, frame.len);
		memcpy(before, data, frame.len);
		frame.bytes = bytes;
		frame.writable = head.flags & 64 ? bytes : NULL;
		frame.ethernet = !(head.flags & 2);
		frame.protocol = htons(head.flags & 4 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
		frame.vlan_present = head.flags & 8;
		frame.gso_size = head.flags & 16 ? 100 : 0;
		frame.pkt_type = head.type & 7;
		frame.ifindex = head.interfaces & 15;
		frame.ingress_ifindex = head.interfaces >> 4;
		frame.mark = (uint32_t)head.mark << 24;
		frame.tc_index = head.type & 8 ? 100 : head.type & 16 ? TAG_ANSWER : 0;
		now += head.flags & 32 ? 20 * SECOND : 1;
		user_engine_set_clock(engine, now);
		if (head.flags & 1)
			user_engine_depart(engine, &frame, &verdict);
		else
			user_engine_arrive(engine, &frame, &verdict);
		check(&frame, &verdict);
		check_written(&frame, before, &verdict);
		free(bytes);
		data += frame.len;
		size -= frame.len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct small_image image = small_image();
	struct context context = { 0 };
	struct user_options options = { .flows_max = 3,
					.embryonic_max = 3,
					.route = route,
					.way_back = way_back,
					.mtu = mtu,
					.event = hear,
					.context = &context };
	struct user_engine *engine;
	unsigned flows = 0;
	const char *why;

	if (user_engine_new(&image, sizeof(image), &options, &engine, &why))
		abort();
	run(engine, data, size);
	user_engine_flows(engine, count, &flows);
	if (flows > 6)
		abort();
	user_engine_free(engine);
	return 0;
}
