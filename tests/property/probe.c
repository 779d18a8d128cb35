// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A probe is aimed at one clause of one rule: for every field that the clause constrains, a value
 * at or beside an end of one of its ranges, or inside; then a few fields are made random again.
 * What the frame is (tags, fragments, damage) is chosen apart.
 */
#include "probe.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "analysis/evaluate.h"

/* --- aiming ---------------------------------------------------------------------- */

static uint32_t beside(struct random *r, uint32_t lo, uint32_t hi)
{
	switch (random_below(r, 8)) {
	case 0:
		return lo - 1;
	case 1:
	case 2:
		return lo;
	case 3:
	case 4:
		return hi;
	case 5:
		return hi + 1;
	default:
		return random_between(r, lo, hi);
	}
}

/* A value for a field; `otherwise` when the clause does not speak about it. */
static uint32_t aim(struct random *r, const struct ranges *ranges, uint32_t max, uint32_t otherwise)
{
	const struct range *range;
	uint32_t value;

	if (!ranges->n)
		return otherwise;
	range = &ranges->items[random_below(r, ranges->n)];
	value = beside(r, range->lo, range->hi);
	return value > max ? range->lo : value;
}

static void step_address(uint32_t address[4], int words, bool up)
{
	for (int i = words - 1; i >= 0; i--) {
		address[i] += up ? 1 : UINT32_MAX;
		if (up ? address[i] != 0 : address[i] != UINT32_MAX)
			return;
	}
}

static void random_place(struct random *r, unsigned family, uint32_t address[4])
{
	static const uint32_t places4[] = { 0x0a000001, 0xc0a80102, 0xc6336407, 0xcb007105,
					    0x08080808, 0xe0000001, 0xffffffff, 0x7f000001,
					    0,		0xac100001 };
	static const uint32_t places6[] = { 0x20010db8, 0xfd000000, 0xfe800000,
					    0xff020000, 0,	    0x20014860 };

	memset(address, 0, 16);
	if (family == 4) {
		address[0] = random_chance(r, 85) ? places4[random_below(r, 5)] :
						    random_pick(r, places4);
		if (random_chance(r, 10))
			address[0] = random_word(r);
		return;
	}
	address[0] = random_chance(r, 75) ? places6[random_below(r, 2)] : random_pick(r, places6);
	address[3] = random_between(r, 1, 3);
	if (random_chance(r, 10))
		address[2] = random_word(r);
}

static void aim_address(struct random *r, const struct addresses *addresses, unsigned family,
			uint32_t address[4])
{
	int words = family == 4 ? 1 : 4;
	const struct address_range *range;
	uint32_t kind = random_below(r, 8);

	if (!addresses || addresses->family != family || random_chance(r, 5)) {
		random_place(r, family, address);
		return;
	}
	range = &addresses->items[random_below(r, addresses->n)];
	memcpy(address, kind & 1 ? range->lo : range->hi, 16);
	if (kind < 2)
		step_address(address, words, !(kind & 1)); /* just outside */
	else if (kind < 4 && memcmp(range->lo, range->hi, 16))
		step_address(address, words, kind & 1); /* just inside */
	else if (kind == 4 && family == 4)
		address[0] = random_between(r, range->lo[0], range->hi[0]);
}

static uint32_t aim_masked(struct random *r, const struct masked *masked, uint32_t otherwise)
{
	uint32_t value = (otherwise & ~masked->mask) | masked->value;

	return random_chance(r, 15) ? value ^ 1u << random_below(r, 32) : value;
}

static uint8_t random_protocol(struct random *r, unsigned family)
{
	static const uint8_t protocols[] = { 6, 6, 6, 6, 17, 17, 17, 132, 33, 136, 47, 2, 255, 59 };
	uint8_t icmp = family == 4 ? 1 : 58;

	if (random_chance(r, 20))
		return random_chance(r, 90) ? icmp : (uint8_t)(59 - icmp);
	return random_pick(r, protocols);
}

static uint8_t random_tcp_flags(struct random *r)
{
	static const uint8_t flags[] = { 2, 2, 2, 2, 0x12, 0x10, 0x18, 0x11, 4, 0x14, 0xc2, 0x30 };

	return random_chance(r, 92) ? random_pick(r, flags) : (uint8_t)random_word(r);
}

static bool is_extension(unsigned protocol)
{
	return protocol == 0 || protocol == 43 || protocol == 44 || protocol == 51 ||
	       protocol == 60 || protocol == 135;
}

static const struct clause any_clause = { .families = FAMILY_BIT_4 | FAMILY_BIT_6 };

static void aim_ports(struct random *r, const struct clause *clause, struct craft *craft)
{
	static const uint16_t types4[] = { 8, 0, 3, 11, 5, 13 };
	static const uint16_t types6[] = { 128, 129, 1, 2, 135, 143, 127 };
	uint32_t other = random_chance(r, 70) ? random_between(r, 1, 65535) :
						random_between(r, 1, 1030);

	if (craft->protocol == (craft->family == 4 ? 1 : 58))
		other = (craft->family == 4 ? random_pick(r, types4) : random_pick(r, types6)) *
				256u +
			random_below(r, 3);
	craft->dst_port = (uint16_t)aim(r, &clause->field[FIELD_DST_PORT], 65535, other);
	craft->src_port = (uint16_t)aim(r, &clause->field[FIELD_SRC_PORT], 65535,
					random_between(r, 1, 65535));
	craft->echo_id = (uint16_t)random_word(r);
}

static void aim_length(struct random *r, const struct clause *clause, struct craft *craft)
{
	struct fields fields;
	uint32_t wanted, least;

	craft->payload = 0;
	craft_fields(craft, false, &fields);
	least = fields.word[FIELD_LENGTH];
	/* Some are larger than what the leaving interface takes. */
	wanted = aim(r, &clause->field[FIELD_LENGTH], 2800,
		     least + random_below(r, random_chance(r, 5) ? 2500 : 100));
	if (wanted > least && wanted <= 2800)
		craft->payload = (uint16_t)(wanted - least);
}

static void add_extensions(struct random *r, struct craft *craft)
{
	static const uint8_t kinds[] = { 60, 43, 51, 135, 60, 0 };

	if (random_chance(r, 80))
		return;
	craft->extension_n = (uint8_t)random_between(r, 1, random_chance(r, 80) ? 3 : 10);
	for (unsigned i = 0; i < craft->extension_n; i++) {
		craft->extensions[i].kind = !i && random_chance(r, 50) ? 0 : random_pick(r, kinds);
		craft->extensions[i].length = (uint8_t)random_below(r, 3);
		if (i && craft->extensions[i].kind == 0 && random_chance(r, 80))
			craft->extensions[i].kind = 60;
	}
}

static void add_fragment(struct random *r, const struct clause *clause, struct craft *craft)
{
	const struct ranges *wanted = &clause->field[FIELD_FRAGMENT];
	bool later = wanted->n && wanted->items[0].lo == 1;
	struct craft_extension header = { 44, 0 };

	if (!(later && random_chance(r, 80)) && !random_chance(r, 7))
		return;
	craft->fragmented = random_chance(r, 90); /* IPv6: or an atomic one */
	craft->more = random_chance(r, 50);
	craft->offset = later || random_chance(r, 60) ? (uint16_t)random_between(r, 1, 180) : 0;
	if (craft->offset && random_chance(r, 20))
		craft->offset = 1;
	if (random_chance(r, 5))
		craft->offset = (uint16_t)random_between(r, 8100, 8191);
	if (craft->family == 6 && craft->extension_n < CRAFT_EXTENSIONS)
		craft->extensions[craft->extension_n++] = header;
}

static void aim_craft(struct random *r, const struct clause *clause, struct craft *craft)
{
	unsigned family = random_chance(r, 50) ? 4 : 6;

	craft_init(craft);
	if (!(clause->families & (family == 4 ? FAMILY_BIT_4 : FAMILY_BIT_6)))
		family = 10 - family;
	craft->family = (uint8_t)family;
	do
		craft->protocol = (uint8_t)aim(r, &clause->field[FIELD_PROTOCOL], 255,
					       random_protocol(r, family));
	while (family == 6 && is_extension(craft->protocol) && random_chance(r, 90));
	if (family == 6 && is_extension(craft->protocol))
		craft->protocol = 59;
	aim_address(r, clause->src, family, craft->src);
	aim_address(r, clause->dst, family, craft->dst);
	aim_ports(r, clause, craft);
	craft->tcp_flags = random_tcp_flags(r);
	if (clause->flags.mask)
		craft->tcp_flags = (uint8_t)aim_masked(r, &clause->flags, craft->tcp_flags);
	if (clause->field[FIELD_STATE].n && clause->field[FIELD_STATE].items[0].lo == 1)
		craft->tcp_flags |= 16;
	craft->dscp = aim(r, &clause->field[FIELD_DSCP], 63, random_below(r, 4)) & 63;
	craft->ttl = (uint8_t)aim(r, &clause->field[FIELD_TTL], 255,
				  random_chance(r, 50) ? 255 : random_between(r, 0, 255));
	if (random_chance(r, 10))
		craft->ip_options = (uint8_t)random_between(r, 0, 10);
	if (random_chance(r, 10))
		craft->tcp_options = (uint8_t)random_between(r, 0, 10);
	if (family == 6)
		add_extensions(r, craft);
	add_fragment(r, clause, craft);
	aim_length(r, clause, craft);
}

/* --- the frame and where it is --------------------------------------------------- */

/* An interface of one of these zones, if there is one. */
static unsigned interface_of(struct random *r, const struct loaded_policy *policy, uint64_t zones)
{
	unsigned interface = random_below(r, WORLD_INTERFACES);

	for (unsigned i = 0; i < WORLD_INTERFACES;
	     i++, interface = (interface + 1) % WORLD_INTERFACES)
		if (zones >> policy->zones[interface] & 1)
			break;
	return interface;
}

static void aim_place(struct random *r, const struct loaded_policy *policy, const struct rule *rule,
		      struct probe *probe)
{
	bool to_self = (rule->to & 1) && (rule->to == 1 || random_chance(r, 50));
	bool from_self = !to_self && (rule->from & 1) && (rule->from == 1 || random_chance(r, 50));

	if (to_self) {
		probe->here = interface_of(r, policy, rule->from);
		if (random_chance(r, 80) && probe->here & 1 && probe->craft.family == 4)
			probe->craft.dst[0] = (probe->craft.dst[0] & 0xffffff) | 0x0a000000;
		return;
	}
	probe->departs = true;
	probe->forwarded = !from_self;
	probe->here = interface_of(r, policy, rule->to);
	probe->there = interface_of(r, policy, rule->from);
}

static void choose_macs(struct random *r, const struct clause *clause, struct probe *probe)
{
	struct craft *craft = &probe->craft;

	world_mac(probe->here, craft->target_mac);
	if (random_chance(r, 4))
		memset(craft->target_mac, 255, 6);
	else if (random_chance(r, 4))
		craft->target_mac[0] = 1;
	else if (random_chance(r, 2))
		craft->target_mac[5] = 0x77;
	craft->source_mac[5] = (uint8_t)random_below(r, 4);
	if (clause->has_mac && random_chance(r, 90))
		memcpy(craft->source_mac, clause->mac, 6);
}

/*
 * A test run takes the EtherType of a frame without Ethernet header from its source address, as it
 * lies at the same place.
 */
static void make_raw(struct probe *probe)
{
	struct craft *craft = &probe->craft;

	craft->raw = true;
	if (craft->family == 4)
		craft->src[0] = 0x08000000 | (craft->src[0] & 0xffff);
	else
		craft->src[1] = 0x86dd0000 | (craft->src[1] & 0xffff);
	probe->wrapped = probe->typed = true;
	probe->packet_type = PACKET_TYPE_HOST;
}

static void choose_frame(struct random *r, struct probe *probe)
{
	struct craft *craft = &probe->craft;

	if (random_chance(r, 4)) {
		craft->tags = (uint8_t)random_between(r, 1, random_chance(r, 70) ? 2 : CRAFT_TAGS);
		craft->qinq = random_chance(r, 50);
		for (unsigned i = 0; i < craft->tags; i++)
			craft->tci[i] = (uint16_t)(random_chance(r, 90) ? 0xe000 : 0xe005);
	}
	if (random_chance(r, 4)) {
		probe->gso_size = random_between(r, 1, 100);
		probe->gso_segs = random_below(r, 5);
	}
	probe->wrapped = random_chance(r, 30);
	if (probe->wrapped && random_chance(r, 10)) {
		probe->typed = true;
		probe->packet_type = random_below(r, 4);
	}
	if (probe->wrapped && !craft->tags && random_chance(r, 10))
		probe->tagged = 0x10000 | (random_chance(r, 50) ? 0xe000 : 0xe007);
	if (!craft->tags && !probe->tagged && random_chance(r, 8))
		make_raw(probe);
}

static void damage(struct random *r, struct probe *probe)
{
	uint8_t bytes[CRAFT_BYTES];
	uint32_t length = craft_build(&probe->craft, bytes);
	uint32_t start = probe->craft.raw ? 0 : 12;

	if (random_chance(r, 40)) {
		probe->cut = (uint16_t)random_between(r, start + 14,
						      length > start + 14 ? length : start + 14);
		return;
	}
	probe->damage_n = (uint8_t)random_between(r, 1, PROBE_DAMAGES);
	for (unsigned i = 0; i < probe->damage_n; i++) {
		uint32_t last = length - 1 < start + 80 ? length - 1 : start + 80;

		probe->damage[i].offset = (uint16_t)random_between(r, start, last);
		probe->damage[i].value = (uint8_t)random_word(r);
	}
}

void probe_random(struct random *r, const struct loaded_policy *policy, struct probe *probe)
{
	const struct ruleset *ruleset = &policy->ruleset;
	const struct rule *rule = &ruleset->rules[random_below(r, ruleset->rule_n)];
	const struct clause *clause = &any_clause;

	if (rule->clause_n && random_chance(r, 95))
		clause = &rule->clauses[random_below(r, rule->clause_n)];
	memset(probe, 0, sizeof(*probe));
	aim_craft(r, clause, &probe->craft);
	aim_place(r, policy, rule, probe);
	if (random_chance(r, 10))
		probe->here = random_below(r, WORLD_INTERFACES);
	choose_macs(r, clause, probe);
	probe->mark = random_chance(r, 50) ? 0 : random_word(r);
	if (clause->mark.mask)
		probe->mark = aim_masked(r, &clause->mark, probe->mark);
	/* What departs as a reply passes by its mark: conversations are about that. */
	if (probe->departs)
		probe->mark &= ~(2u << ruleset->options.mark_shift);
	choose_frame(r, probe);
	if (random_chance(r, 12))
		damage(r, probe);
}

void probe_frame(const struct probe *probe, uint8_t bytes[CRAFT_BYTES], struct user_frame *frame)
{
	uint32_t length = craft_build(&probe->craft, bytes);

	for (unsigned i = 0; i < probe->damage_n; i++)
		bytes[probe->damage[i].offset] = probe->damage[i].value;
	if (probe->cut && probe->cut < length)
		length = probe->cut;
	*frame = (struct user_frame){
		.bytes = bytes,
		.len = length,
		.ethernet = !probe->craft.raw,
		.pkt_type = probe->typed ? probe->packet_type :
					   world_packet_type(probe->here, bytes),
		.vlan_present = probe->tagged >> 16,
		.vlan_tci = probe->tagged & 0xffff,
		.gso_size = probe->gso_size,
		.gso_segs = probe->gso_segs,
		.ifindex = WORLD_IFINDEX + probe->here,
		.ingress_ifindex =
			probe->departs && probe->forwarded ? WORLD_IFINDEX + probe->there : 0,
		.mark = probe->mark,
	};
	if (probe->craft.raw) /* network order, as it lies in the address */
		frame->protocol = (uint32_t)bytes[12] | (uint32_t)bytes[13] << 8;
}

/* --- what must become of it ------------------------------------------------------ */

bool probe_fields(const struct probe *probe, const struct loaded_policy *policy,
		  struct fields *fields)
{
	const struct craft *craft = &probe->craft;
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame;

	probe_frame(probe, bytes, &frame);
	craft_fields(craft, !probe->departs, fields);
	fields->word[FIELD_MARK] = probe->mark & ~(3u << policy->ruleset.options.mark_shift);
	fields->word[FIELD_FROM_ZONE] = policy->zones[probe->here];
	fields->word[FIELD_TO_ZONE] = ZONE_SELF;
	if (probe->departs) {
		fields->word[FIELD_FROM_ZONE] = probe->forwarded ? policy->zones[probe->there] :
								   (uint32_t)ZONE_SELF;
		fields->word[FIELD_TO_ZONE] = policy->zones[probe->here];
		return true;
	}
	if (frame.pkt_type == PACKET_TYPE_BROADCAST || frame.pkt_type == PACKET_TYPE_MULTICAST ||
	    craft_group(craft))
		return true;
	return !world_forwards(probe->here, craft->family, craft->src, craft->dst);
}

/* TCP that does not open a connection, where that is not wanted. */
static bool mid_stream(const struct probe *probe, const struct loaded_policy *policy,
		       const struct fields *fields, const struct rule *rule)
{
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame;

	probe_frame(probe, bytes, &frame);
	if (policy->ruleset.options.pickup || rule->stateless ||
	    probe->craft.protocol != 6 || fields->word[FIELD_FRAGMENT])
		return false;
	if (frame.pkt_type == PACKET_TYPE_BROADCAST || frame.pkt_type == PACKET_TYPE_MULTICAST ||
	    craft_group(&probe->craft))
		return false;
	return fields->word[FIELD_STATE] == STATE_UNTRACKED;
}

static bool may_be_answered(const struct probe *probe, const struct fields *fields)
{
	const struct craft *craft = &probe->craft;
	unsigned type = craft->dst_port >> 8;
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame;

	probe_frame(probe, bytes, &frame);
	if (frame.pkt_type == PACKET_TYPE_BROADCAST || frame.pkt_type == PACKET_TYPE_MULTICAST ||
	    craft_group(craft) || fields->word[FIELD_FRAGMENT])
		return false;
	if (craft->protocol == 6 && craft->tcp_flags & 4)
		return false;
	if (craft->family == 4 && craft->protocol == 1 &&
	    (type == 3 || type == 4 || type == 5 || type == 11 || type == 12))
		return false;
	if (craft->family == 6 && craft->protocol == 58 && type < 128)
		return false;
	if (fields->word[FIELD_MAC_HIGH] & 0x100)
		return false;
	if (craft->family == 4)
		return craft->src[0] >= 0x01000000 && craft->src[0] < 0xf0000000 && craft->dst[0];
	return craft->src[0] || craft->src[1] || craft->src[2] || craft->src[3];
}

/* --- limits ------------------------------------------------------------------------ */

/* A rule with limits is asked for a packet. */
struct asked {
	const struct probe *probe;
	struct loaded_policy *policy;
	const struct fields *fields;
	uint32_t length; /* of the frame */
};

/* What a rule's bucket for this packet has given out. */
static struct spent *spent_of(const struct asked *asked, uint32_t number)
{
	const struct rule_limit *limit = &asked->policy->ruleset.rules[number].limit;
	const uint32_t *word = asked->fields->word;
	struct spent wanted = { .rule = number };
	uint32_t i;

	if (limit->each != LIMIT_EACH_NONE) {
		wanted.family = word[FIELD_FAMILY];
		memcpy(wanted.address,
		       word + (limit->each == LIMIT_EACH_SOURCE ? FIELD_SRC : FIELD_DST), 16);
		/* A source is a whole /64. */
		if (limit->each == LIMIT_EACH_SOURCE && wanted.family == 6)
			wanted.address[2] = wanted.address[3] = 0;
	}
	for (i = 0; i < asked->policy->spent_n; i++) {
		struct spent *spent = &asked->policy->spent[i];

		if (!memcmp(spent, &wanted, offsetof(struct spent, n)))
			return spent;
	}
	assert(i < POLICY_SPENT);
	asked->policy->spent_n++;
	asked->policy->spent[i] = wanted;
	return &asked->policy->spent[i];
}

/* Flows are forgotten after each packet, so there is always room for one. */
static bool within(void *context, uint32_t number)
{
	const struct asked *asked = context;
	const struct rule *rule = &asked->policy->ruleset.rules[number];
	uint32_t n = 1;
	struct spent *spent;

	if (!rule->limit.n)
		return true;
	if (rule->action == ACTION_ALLOW &&
	    mid_stream(asked->probe, asked->policy, asked->fields, rule))
		return true; /* it is dropped, and costs nothing */
	if (asked->probe->gso_size)
		n = asked->probe->gso_segs ? asked->probe->gso_segs :
					     1 + asked->length / asked->probe->gso_size;
	if (n > rule->limit.burst)
		n = rule->limit.burst;
	spent = spent_of(asked, number);
	if (spent->n + n > rule->limit.burst)
		return false;
	spent->n += n;
	return true;
}

/* What the rule adds to a dynamic set. */
static void expect_added(struct loaded_policy *policy, const struct fields *fields,
			 const struct rule *rule)
{
	const struct dynamic_set *set = &policy->ruleset.sets[rule->add - 1];

	model_take(model_set_of(&policy->sets, set->name), set->max, fields->word[FIELD_FAMILY],
		   &fields->word[rule->add_destination ? FIELD_DST : FIELD_SRC]);
}

static void expect_by_rule(const struct probe *probe, struct loaded_policy *policy,
			   const struct fields *fields, struct expected *expected)
{
	uint32_t bits = 3u << policy->ruleset.options.mark_shift;
	const struct rule *rule;

	struct asked asked = { probe, policy, fields, 0 };
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame;

	probe_frame(probe, bytes, &frame);
	asked.length = frame.len;
	expected->rule = evaluate_limited(&policy->ruleset, fields, within, &asked);
	rule = &policy->ruleset.rules[expected->rule];
	expected->by = BY_RULE;
	expected->action = USER_DROP;
	if (evaluate_orphan(&policy->ruleset, fields, expected->rule)) {
		expected->by = BY_SANITY;
		expected->rule = RULE_NONE;
		return;
	}
	if (rule->action == ACTION_REJECT && may_be_answered(probe, fields))
		expected->action = USER_ANSWER;
	if (rule->add &&
	    !(rule->action == ACTION_ALLOW && mid_stream(probe, policy, fields, rule)))
		expect_added(policy, fields, rule);
	if (rule->action != ACTION_ALLOW)
		return;
	if (mid_stream(probe, policy, fields, rule)) {
		expected->by = BY_SANITY;
		expected->rule = RULE_NONE; /* which has not decided */
		return;
	}
	expected->action = USER_NEXT;
	expected->mark = ((probe->mark & ~rule->mark_set.mask) | rule->mark_set.value) & ~bits;
	if (!probe->departs)
		expected->mark |= (uint32_t)MARK_SELF << policy->ruleset.options.mark_shift;
	else /* what stands in the two bits stays */
		expected->mark |= probe->mark & bits;
}

/* Is its source forged, as far as its zone asks? */
static bool forged(const struct probe *probe, const struct loaded_policy *policy,
		   const struct user_frame *frame, const struct fields *fields)
{
	enum antispoof ask = policy->ruleset.zones[policy->zones[probe->here]].hygiene.antispoof;
	bool group = frame->pkt_type == PACKET_TYPE_BROADCAST ||
		     frame->pkt_type == PACKET_TYPE_MULTICAST || craft_group(&probe->craft);
	const struct craft *craft = &probe->craft;
	bool whole = !fields->word[FIELD_FRAGMENT];
	struct packet packet = { .fields = *fields };
	uint32_t back = 0, type = craft->dst_port >> 8;

	if (ask == ANTISPOOF_OFF || probe->departs)
		return false;
	if (group && !craft->src[0] && !craft->src[1] && !craft->src[2] && !craft->src[3])
		return false;
	if (group && craft->protocol == 17 && whole &&
	    (craft->family == 4 ? (craft->dst_port == 67 && craft->src_port == 68) ||
					  (craft->dst_port == 68 && craft->src_port == 67) :
				  (craft->dst_port == 547 && craft->src_port == 546) ||
					  (craft->dst_port == 546 && craft->src_port == 547)))
		return false;
	if (craft->family == 6 && craft->src[0] >> 22 == 0x3fa)
		return false;
	if (craft->family == 6 && craft->protocol == 58 && whole && type >= 133 && type <= 137 &&
	    craft->ttl == 255)
		return false;
	if (!world_way_back(NULL, frame, &packet, &back))
		return true;
	return ask == ANTISPOOF_STRICT && back != frame->ifindex;
}

void probe_expect(const struct probe *probe, struct loaded_policy *policy,
		  struct expected *expected)
{
	uint32_t bits = 3u << policy->ruleset.options.mark_shift;
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame;
	struct fields fields;
	bool deferred;

	*expected = (struct expected){ .rule = RULE_NONE, .mark = probe->mark };
	if (probe->damage_n || probe->cut)
		return;
	probe_frame(probe, bytes, &frame);
	expected->known = true;
	expected->action = USER_NEXT;
	expected->by = BY_NOTHING;
	if (!probe->departs && frame.pkt_type == PACKET_TYPE_OTHERHOST)
		return;
	if (probe->tagged & 0xfff || craft_foreign(&probe->craft))
		return;
	if (craft_malformed(&probe->craft, !probe->departs)) {
		expected->action = USER_DROP;
		expected->by = BY_SANITY;
		return;
	}
	deferred = !probe_fields(probe, policy, &fields);
	if (forged(probe, policy, &frame, &fields)) {
		expected->action = USER_DROP;
		expected->by = BY_SANITY;
		return;
	}
	if (deferred) {
		expected->mark = (probe->mark & ~bits) |
				 (uint32_t)MARK_DEFERRED << policy->ruleset.options.mark_shift;
		return;
	}
	expect_by_rule(probe, policy, &fields, expected);
}

/* --- shrinking ------------------------------------------------------------------- */

bool probe_simplify(const struct probe *probe, unsigned n, struct probe *simpler)
{
	struct craft *craft = &simpler->craft, plain;

	craft_init(&plain);
	*simpler = *probe;
	switch (n) {
	case 0:
		simpler->damage_n = 0;
		break;
	case 1:
		simpler->cut = 0;
		break;
	case 2:
		simpler->damage_n = simpler->damage_n > 1 ? (uint8_t)(simpler->damage_n - 1) : 0;
		break;
	case 3:
		craft->payload = 0;
		break;
	case 4:
		craft->extension_n = 0;
		break;
	case 5:
		craft->ip_options = craft->tcp_options = 0;
		break;
	case 6:
		craft->fragmented = craft->more = false;
		craft->offset = 0;
		break;
	case 7:
		craft->tags = 0;
		break;
	case 8:
		simpler->gso_size = simpler->gso_segs = 0;
		break;
	case 9:
		simpler->tagged = 0;
		break;
	case 10:
		simpler->mark = 0;
		break;
	case 11:
		world_mac(probe->here, craft->target_mac);
		break;
	case 12:
		memcpy(craft->source_mac, plain.source_mac, 6);
		break;
	case 13:
		craft->dscp = 0;
		break;
	case 14:
		craft->ttl = 64;
		break;
	case 15:
		craft->src_port = 40000;
		break;
	case 16:
		craft->tcp_flags = 2;
		break;
	case 17:
		if (craft->family == 4 && !craft->raw)
			memcpy(craft->src, plain.src, sizeof(plain.src));
		break;
	case 18:
		if (craft->family == 4)
			memcpy(craft->dst, plain.dst, sizeof(plain.dst));
		break;
	case 19:
		craft->payload = craft->payload / 2;
		break;
	case 20:
		simpler->wrapped = simpler->typed || simpler->tagged;
		break;
	default:
		return false;
	}
	return true;
}
