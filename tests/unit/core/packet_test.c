// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The packet parser, case by case: what each kind of malformed packet is called, and what is read
 * from whole ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "../../property/craft.h"
#include "engine/user/frame.h"

#define L3 14  /* offset of the IP header */
#define L4V4 34
#define L4V6 54

struct patch {
	uint16_t offset;
	uint8_t value;
};

static int parse(const uint8_t *bytes, uint32_t length, bool ethernet, bool arriving,
		 struct packet *p)
{
	struct user_frame frame = { .bytes = bytes, .len = length, .ethernet = ethernet };
	be16 protocol = 0;

	memset(p, 0, sizeof(*p));
	if (ethernet)
		memcpy(&protocol, bytes + 12, sizeof(protocol));
	else
		protocol = htons(bytes[0] >> 4 == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
	frame.protocol = protocol;
	return frame_parse(&frame, p, ethernet, arriving);
}

static struct craft ordinary(uint8_t family, uint8_t protocol)
{
	struct craft craft;

	craft_init(&craft);
	craft.protocol = protocol;
	if (family == 6) {
		craft.family = 6;
		craft.src[0] = craft.dst[0] = 0x20010db8;
		craft.src[3] = 1;
		craft.dst[3] = 2;
	}
	return craft;
}

/*
 * Packets that are wrong in one byte or one byte too short. The base has 20 bytes behind the
 * transport header.
 */
static const struct {
	const char *name;
	uint8_t family, protocol;
	struct patch patches[3];
	int cut; /* bytes left of the frame; 0: all */
	enum sanity sanity;
} damaged[] = {
	{ "whole IPv4", 4, 6, { { 0 } }, 0, SANITY_OK },
	{ "whole IPv6", 6, 6, { { 0 } }, 0, SANITY_OK },
	{ "no IPv4 header", 4, 6, { { 0 } }, L3, SANITY_TRUNCATED },
	{ "half an IPv4 header", 4, 6, { { 0 } }, L3 + 19, SANITY_TRUNCATED },
	{ "half an IPv6 header", 6, 6, { { 0 } }, L3 + 39, SANITY_TRUNCATED },
	{ "IPv4 shorter than it says", 4, 6, { { 0 } }, L3 + 59, SANITY_TRUNCATED },
	{ "IPv6 shorter than it says", 6, 6, { { 0 } }, L3 + 79, SANITY_TRUNCATED },
	{ "version 5 in IPv4", 4, 6, { { L3, 0x55 } }, 0, SANITY_IP_VERSION },
	{ "version 6 in IPv4", 4, 6, { { L3, 0x65 } }, 0, SANITY_IP_VERSION },
	{ "version 4 in IPv6", 6, 6, { { L3, 0x40 } }, 0, SANITY_IP_VERSION },
	{ "IHL 4", 4, 6, { { L3, 0x44 } }, 0, SANITY_HEADER_LENGTH },
	{ "IHL 0", 4, 6, { { L3, 0x40 } }, 0, SANITY_HEADER_LENGTH },
	{ "IHL beyond the total length", 4, 6, { { L3, 0x4f }, { L3 + 3, 59 } }, 0,
	  SANITY_TOTAL_LENGTH },
	{ "total length below the header", 4, 6, { { L3 + 3, 19 } }, 0, SANITY_TOTAL_LENGTH },
	{ "total length zero", 4, 6, { { L3 + 3, 0 } }, 0, SANITY_TOTAL_LENGTH },
	{ "IP ends within TCP", 4, 6, { { L3 + 3, 39 } }, 0, SANITY_TRUNCATED },
	{ "IPv6 ends within TCP", 6, 6, { { L3 + 5, 19 } }, 0, SANITY_TRUNCATED },
	{ "IPv6 length zero", 6, 6, { { L3 + 5, 0 } }, 0, SANITY_TRUNCATED },
	{ "TCP offset 4", 4, 6, { { L4V4 + 12, 0x40 } }, 0, SANITY_HEADER_LENGTH },
	{ "TCP offset 15 of 40 bytes", 4, 6, { { L4V4 + 12, 0xf0 } }, 0, SANITY_TRUNCATED },
	{ "TCP offset 10 of 40 bytes", 4, 6, { { L4V4 + 12, 0xa0 } }, 0, SANITY_OK },
	{ "TCP source port 0", 4, 6, { { L4V4, 0 }, { L4V4 + 1, 0 } }, 0, SANITY_PORT_ZERO },
	{ "TCP destination port 0", 4, 6, { { L4V4 + 3, 0 } }, 0, SANITY_PORT_ZERO },
	{ "TCP without flags", 4, 6, { { L4V4 + 13, 0 } }, 0, SANITY_TCP_FLAGS },
	{ "TCP FIN alone", 4, 6, { { L4V4 + 13, 1 } }, 0, SANITY_TCP_FLAGS },
	{ "TCP PSH URG alone", 4, 6, { { L4V4 + 13, 0x28 } }, 0, SANITY_TCP_FLAGS },
	{ "TCP SYN FIN", 4, 6, { { L4V4 + 13, 3 } }, 0, SANITY_TCP_FLAGS },
	{ "TCP SYN RST", 6, 6, { { L4V6 + 13, 6 } }, 0, SANITY_TCP_FLAGS },
	{ "TCP FIN RST ACK", 6, 6, { { L4V6 + 13, 0x15 } }, 0, SANITY_TCP_FLAGS },
	{ "TCP SYN ECE CWR", 6, 6, { { L4V6 + 13, 0xc2 } }, 0, SANITY_OK },
	{ "TCP RST alone", 6, 6, { { L4V6 + 13, 4 } }, 0, SANITY_OK },
	{ "UDP source port 0", 4, 17, { { L4V4, 0 }, { L4V4 + 1, 0 } }, 0, SANITY_OK },
	{ "UDP destination port 0", 4, 17, { { L4V4 + 3, 0 } }, 0, SANITY_PORT_ZERO },
	{ "UDP length below its header", 4, 17, { { L4V4 + 5, 7 } }, 0, SANITY_TOTAL_LENGTH },
	{ "UDP length beyond IP", 4, 17, { { L4V4 + 5, 29 } }, 0, SANITY_TOTAL_LENGTH },
	{ "UDP length within IP", 4, 17, { { L4V4 + 5, 27 } }, 0, SANITY_OK },
	{ "IP ends within UDP", 4, 17, { { L3 + 3, 27 } }, 0, SANITY_TRUNCATED },
	{ "SCTP port 0", 4, 132, { { L4V4 + 3, 0 } }, 0, SANITY_OK },
	{ "IP ends within SCTP", 4, 132, { { L3 + 3, 31 } }, 0, SANITY_TRUNCATED },
	{ "SCTP and no chunk", 4, 132, { { L3 + 3, 32 } }, 0, SANITY_OK },
	{ "IP ends within DCCP", 4, 33, { { L3 + 3, 31 } }, 0, SANITY_TRUNCATED },
	{ "IP ends within ICMP", 4, 1, { { L3 + 3, 27 } }, 0, SANITY_TRUNCATED },
	{ "IP ends within ICMPv6", 6, 58, { { L3 + 5, 7 } }, 0, SANITY_TRUNCATED },
	{ "ICMP in IPv6 is a protocol like others", 6, 1, { { L3 + 5, 0 } }, 0, SANITY_OK },
	{ "GRE without a header", 4, 47, { { L3 + 3, 20 } }, 0, SANITY_OK },
	{ "tiny first fragment of TCP", 4, 6, { { L3 + 3, 36 }, { L3 + 6, 0x20 } }, 0,
	  SANITY_FRAGMENT },
	{ "tiny first fragment of UDP", 4, 17, { { L3 + 3, 24 }, { L3 + 6, 0x20 } }, 0,
	  SANITY_FRAGMENT },
	{ "first fragment cuts TCP options", 4, 6, { { L4V4 + 12, 0xf0 }, { L3 + 6, 0x20 } }, 0,
	  SANITY_FRAGMENT },
	{ "first fragment of UDP", 4, 17, { { L4V4 + 4, 9 }, { L3 + 6, 0x20 } }, 0, SANITY_OK },
	{ "fragment beyond 65535", 4, 17, { { L3 + 6, 0x1f }, { L3 + 7, 0xff } }, 0,
	  SANITY_FRAGMENT },
	{ "fragment at 65000", 4, 17, { { L3 + 6, 0x1f }, { L3 + 7, 0xbd } }, 0, SANITY_OK },
	{ "source multicast", 4, 6, { { L3 + 12, 224 } }, 0, SANITY_ADDRESS },
	{ "source 239", 4, 6, { { L3 + 12, 239 } }, 0, SANITY_ADDRESS },
	{ "source 240", 4, 6, { { L3 + 12, 240 } }, 0, SANITY_OK },
	{ "source loopback", 4, 6, { { L3 + 12, 127 } }, 0, SANITY_ADDRESS },
	{ "destination loopback", 4, 6, { { L3 + 16, 127 } }, 0, SANITY_ADDRESS },
	{ "source multicast, IPv6", 6, 6, { { L3 + 8, 0xff } }, 0, SANITY_ADDRESS },
};

static void test_damaged(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		struct craft craft = ordinary(damaged[i].family, damaged[i].protocol);
		uint8_t bytes[CRAFT_BYTES];
		struct packet p;
		uint32_t length;

		craft.payload = 20;
		length = craft_build(&craft, bytes);
		for (int j = 0; j < 3; j++)
			if (damaged[i].patches[j].offset)
				bytes[damaged[i].patches[j].offset] = damaged[i].patches[j].value;
		if (damaged[i].cut)
			length = (uint32_t)damaged[i].cut;
		if (parse(bytes, length, true, true, &p) != FRAME_IP ||
		    p.sanity != damaged[i].sanity)
			fail_msg("%s: sanity %u, not %u", damaged[i].name, p.sanity,
				 damaged[i].sanity);
	}
}

/* A first fragment of more than 65535 bytes: only GSO lets a packet be so long. */
static void test_long_fragment(void **state)
{
	static const struct {
		uint8_t family;
		uint32_t behind; /* bytes behind UDP's header */
		enum sanity sanity;
	} cases[] = {
		{ 4, 65507, SANITY_OK },
		{ 4, 65508, SANITY_FRAGMENT },
		{ 6, 65527, SANITY_OK },
		{ 6, 65528, SANITY_FRAGMENT },
		{ 6, 70000, SANITY_FRAGMENT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct craft craft = ordinary(cases[i].family, 17);
		static uint8_t bytes[80000];
		struct user_frame frame = { .bytes = bytes, .ethernet = true, .gso_size = 1000 };
		struct packet p = { 0 };

		craft.fragmented = craft.more = true;
		craft.extension_n = cases[i].family == 6;
		craft.extensions[0].kind = EXTENSION_FRAGMENT;
		frame.len = craft_build(&craft, bytes) + cases[i].behind;
		frame.protocol = htons(cases[i].family == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
		memset(bytes + L3 + (cases[i].family == 4 ? 2 : 4), 0, 2); /* BIG TCP's length */
		frame_parse(&frame, &p, 1, 1);
		assert_int_equal(p.sanity, cases[i].sanity);
		if (p.sanity == SANITY_OK)
			assert_int_equal(p.fragment_at, cases[i].behind + 8);
	}
}

/* Loopback addresses are malformed only from outside. */
static void test_loopback_leaves(void **state)
{
	struct craft craft = ordinary(4, 17);
	uint8_t bytes[CRAFT_BYTES];
	struct packet p;

	(void)state;
	craft.src[0] = craft.dst[0] = 0x7f000001;
	parse(bytes, craft_build(&craft, bytes), true, false, &p);
	assert_int_equal(p.sanity, SANITY_OK);
	craft = ordinary(6, 17);
	memset(craft.dst, 0, sizeof(craft.dst));
	craft.dst[3] = 1;
	parse(bytes, craft_build(&craft, bytes), true, true, &p);
	assert_int_equal(p.sanity, SANITY_ADDRESS);
	parse(bytes, craft_build(&craft, bytes), true, false, &p);
	assert_int_equal(p.sanity, SANITY_OK);
	craft.dst[3] = 2; /* the address before was ::1 in all its words */
	parse(bytes, craft_build(&craft, bytes), true, true, &p);
	assert_int_equal(p.sanity, SANITY_OK);
}

static void check_fields(const struct craft *craft, const char *name)
{
	uint8_t bytes[CRAFT_BYTES];
	struct fields expected;
	struct packet p;
	uint32_t length = craft_build(craft, bytes);

	craft_fields(craft, true, &expected);
	if (parse(bytes, length, !craft->raw, true, &p) != FRAME_IP || p.sanity != SANITY_OK)
		fail_msg("%s: sanity %u", name, p.sanity);
	for (int i = 0; i < FIELD_WORDS; i++)
		if (p.fields.word[i] != expected.word[i])
			fail_msg("%s: word %d is %#x, not %#x", name, i, p.fields.word[i],
				 expected.word[i]);
	assert_int_equal(p.length, expected.word[FIELD_LENGTH]);
	/* One byte less, and it is truncated: all of it was looked at. */
	if (parse(bytes, length - 1, !craft->raw, true, &p) != FRAME_IP ||
	    p.sanity != SANITY_TRUNCATED)
		fail_msg("%s, cut: sanity %u", name, p.sanity);
}

static void test_fields(void **state)
{
	static const uint8_t protocols[] = { 6, 17, 132, 33, 136, 1, 58, 47, 50, 2 };
	struct craft craft;

	(void)state;
	for (unsigned family = 4; family <= 6; family += 2) {
		for (size_t i = 0; i < sizeof(protocols); i++) {
			craft = ordinary((uint8_t)family, protocols[i]);
			craft.payload = 1;
			craft.dscp = 46;
			craft.ttl = 255;
			craft.src[0] ^= 0x01020304;
			check_fields(&craft, "a protocol");
			craft.raw = true;
			check_fields(&craft, "without Ethernet");
		}
	}
	for (uint8_t words = 0; words <= 10; words++) {
		craft = ordinary(4, 6);
		craft.ip_options = words;
		craft.tcp_options = words;
		check_fields(&craft, "options");
	}
	for (unsigned type = 0; type < 256; type++) {
		craft = ordinary(4, 1);
		craft.dst_port = (uint16_t)(type << 8 | 3);
		check_fields(&craft, "an ICMP type");
		craft = ordinary(6, 58);
		craft.dst_port = (uint16_t)(type << 8 | 3);
		check_fields(&craft, "an ICMPv6 type");
	}
}

static void test_fragments(void **state)
{
	struct craft craft = ordinary(4, 17);
	uint8_t bytes[CRAFT_BYTES];
	struct packet p;

	(void)state;
	craft.fragmented = craft.more = true;
	check_fields(&craft, "first fragment");
	parse(bytes, craft_build(&craft, bytes), true, true, &p);
	assert_true(p.flags & PACKET_FRAGMENT);
	craft.offset = 185;
	craft.payload = 9;
	check_fields(&craft, "middle fragment");
	craft.more = false;
	check_fields(&craft, "last fragment");

	craft = ordinary(6, 17);
	craft.extension_n = 1;
	craft.extensions[0].kind = EXTENSION_FRAGMENT;
	check_fields(&craft, "atomic fragment");
	parse(bytes, craft_build(&craft, bytes), true, true, &p);
	assert_false(p.flags & PACKET_FRAGMENT);
	craft.fragmented = craft.more = true;
	check_fields(&craft, "first fragment, IPv6");
	craft.offset = 185;
	craft.payload = 9;
	check_fields(&craft, "middle fragment, IPv6");
	parse(bytes, craft_build(&craft, bytes), true, true, &p);
	assert_true(p.flags & PACKET_FRAGMENT);
	assert_false(p.flags & PACKET_PORTS);
}

static enum sanity sanity_of(const struct craft *craft)
{
	uint8_t bytes[CRAFT_BYTES];
	struct packet p;

	assert_int_equal(parse(bytes, craft_build(craft, bytes), true, true, &p), FRAME_IP);
	return p.sanity;
}

static void test_extensions(void **state)
{
	static const uint8_t kinds[] = { 0, 43, 51, 60, 135 };
	struct craft craft;

	(void)state;
	for (size_t i = 0; i < sizeof(kinds); i++) {
		craft = ordinary(6, 6);
		craft.extension_n = 1;
		craft.extensions[0].kind = kinds[i];
		check_fields(&craft, "one extension header");
		craft.extensions[0].length = 255;
		check_fields(&craft, "a long extension header");
	}
	craft = ordinary(6, 17);
	for (uint8_t n = 0; n <= CRAFT_EXTENSIONS; n++) {
		for (int i = 0; i < n; i++)
			craft.extensions[i].kind = EXTENSION_DESTINATION;
		craft.extension_n = n;
		if (n <= EXTENSION_MAX)
			check_fields(&craft, "extension headers up to the bound");
		else
			assert_int_equal(sanity_of(&craft), SANITY_EXTENSIONS);
	}
	craft.extension_n = 2;
	craft.extensions[0].kind = EXTENSION_HOP_BY_HOP;
	check_fields(&craft, "hop-by-hop options first");
	craft.extensions[0].kind = EXTENSION_DESTINATION;
	craft.extensions[1].kind = EXTENSION_HOP_BY_HOP;
	assert_int_equal(sanity_of(&craft), SANITY_EXTENSIONS);
	craft.extensions[0].kind = craft.extensions[1].kind = EXTENSION_FRAGMENT;
	check_fields(&craft, "two atomic fragment headers");
	craft.fragmented = craft.more = true;
	assert_int_equal(sanity_of(&craft), SANITY_EXTENSIONS);
	craft = ordinary(6, 59); /* no next header */
	check_fields(&craft, "no next header");
}

/* The chain ends behind the packet: in the middle of a header, or where its length points to. */
static void test_extension_truncated(void **state)
{
	struct craft craft = ordinary(6, 6);
	uint8_t bytes[CRAFT_BYTES];
	struct packet p;
	uint32_t length;

	(void)state;
	craft.extension_n = 1;
	craft.extensions[0].kind = EXTENSION_ROUTING;
	length = craft_build(&craft, bytes);
	bytes[L3 + 41] = 3; /* 32 bytes of the 28 that are left */
	parse(bytes, length, true, true, &p);
	assert_int_equal(p.sanity, SANITY_TRUNCATED);
	bytes[L3 + 41] = 0;
	bytes[L3 + 5] = 7; /* the packet ends one byte short of the header */
	parse(bytes, length, true, true, &p);
	assert_int_equal(p.sanity, SANITY_TRUNCATED);
}

static void test_vlan(void **state)
{
	static const struct {
		const char *name;
		uint8_t tags;
		uint16_t tci[CRAFT_TAGS];
		int frame;
		enum sanity sanity;
	} cases[] = {
		{ "priority tag", 1, { 0xe000 }, FRAME_IP, SANITY_OK },
		{ "VLAN 5", 1, { 5 }, FRAME_OTHER, SANITY_OK },
		{ "stacked priority tags", 2, { 0, 0x2000 }, FRAME_IP, SANITY_OK },
		{ "VLAN in a priority tag", 2, { 0, 5 }, FRAME_OTHER, SANITY_OK },
		{ "VLAN in VLAN", 2, { 5, 6 }, FRAME_OTHER, SANITY_OK },
		{ "four tags", 4, { 0 }, FRAME_IP, SANITY_OK },
		{ "five tags", 5, { 0 }, FRAME_IP, SANITY_VLAN_DEPTH },
		{ "the fourth of five is a VLAN", 5, { 0, 0, 0, 9 }, FRAME_OTHER, SANITY_OK },
	};
	uint8_t bytes[CRAFT_BYTES];
	struct packet p;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (int qinq = 0; qinq < 2; qinq++) {
			struct craft craft = ordinary(4, 6);
			uint32_t length;

			craft.tags = cases[i].tags;
			memcpy(craft.tci, cases[i].tci, sizeof(craft.tci));
			craft.qinq = qinq;
			length = craft_build(&craft, bytes);
			if (parse(bytes, length, true, true, &p) != cases[i].frame ||
			    p.sanity != cases[i].sanity)
				fail_msg("%s: sanity %u", cases[i].name, p.sanity);
			if (cases[i].frame == FRAME_IP && p.sanity == SANITY_OK)
				assert_int_equal(p.l3, 14 + 4 * cases[i].tags);
		}
	}
	/* A frame that ends within its tags. */
	struct craft craft = ordinary(4, 6);

	craft.tags = 2;
	craft_build(&craft, bytes);
	parse(bytes, 17, true, true, &p);
	assert_int_equal(p.sanity, SANITY_TRUNCATED);
}

/* What the device says beside the bytes. */
static void test_facts(void **state)
{
	struct craft craft = ordinary(4, 6);
	uint8_t bytes[CRAFT_BYTES];
	struct user_frame frame = { .bytes = bytes, .ethernet = true, .protocol = htons(0x0800) };
	struct packet p = { 0 };

	(void)state;
	frame.len = craft_build(&craft, bytes);
	frame.vlan_present = 1;
	frame.vlan_tci = 0xe000;
	assert_int_equal(frame_parse(&frame, &p, 1, 1), FRAME_IP);
	assert_int_equal(p.segments, 1);
	assert_int_equal(p.flags, PACKET_ARRIVING | PACKET_PORTS);
	frame.vlan_tci = 1;
	assert_int_equal(frame_parse(&frame, &p, 1, 1), FRAME_OTHER);
	frame.vlan_present = 0;
	frame.pkt_type = PACKET_TYPE_BROADCAST;
	frame.gso_size = 10;
	frame.gso_segs = 0;
	/* BIG TCP: a total length of zero speaks of the whole frame. */
	bytes[L3 + 2] = bytes[L3 + 3] = 0;
	memset(&p, 0, sizeof(p));
	assert_int_equal(frame_parse(&frame, &p, 1, 0), FRAME_IP);
	assert_int_equal(p.sanity, SANITY_OK);
	assert_int_equal(p.length, 40);
	assert_int_equal(p.segments, 1 + 54 / 10);
	assert_int_equal(p.flags, PACKET_GSO | PACKET_GROUP | PACKET_PORTS);
	frame.gso_segs = 7;
	memset(&p, 0, sizeof(p));
	frame_parse(&frame, &p, 1, 0);
	assert_int_equal(p.segments, 7);
	frame.protocol = htons(0x0806); /* ARP */
	assert_int_equal(frame_parse(&frame, &p, 1, 1), FRAME_OTHER);
}

static void test_groups(void **state)
{
	static const uint32_t groups[] = { 0xe0000001, 0xefffffff, 0xffffffff };
	static const uint32_t others[] = { 0xdfffffff, 0xf0000000, 0xfffffffe, 0 };
	struct craft craft = ordinary(4, 17);
	uint8_t bytes[CRAFT_BYTES];
	struct packet p;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		craft.dst[0] = groups[i];
		parse(bytes, craft_build(&craft, bytes), true, true, &p);
		assert_true(p.flags & PACKET_GROUP);
	}
	for (size_t i = 0; i < 4; i++) {
		craft.dst[0] = others[i];
		parse(bytes, craft_build(&craft, bytes), true, true, &p);
		assert_false(p.flags & PACKET_GROUP);
	}
	craft = ordinary(6, 17);
	craft.dst[0] = 0xff020000;
	parse(bytes, craft_build(&craft, bytes), true, true, &p);
	assert_true(p.flags & PACKET_GROUP);
}

static void test_icmp_kinds(void **state)
{
	static const struct {
		uint8_t family, type;
		uint8_t flags;
	} cases[] = {
		{ 4, 8, PACKET_ECHO_REQUEST },	{ 4, 0, PACKET_ECHO_REPLY },
		{ 4, 3, PACKET_ICMP_ERROR },	{ 4, 11, PACKET_ICMP_ERROR },
		{ 4, 13, 0 },			{ 6, 128, PACKET_ECHO_REQUEST },
		{ 6, 129, PACKET_ECHO_REPLY },	{ 6, 1, PACKET_ICMP_ERROR },
		{ 6, 127, PACKET_ICMP_ERROR },	{ 6, 133, 0 },
	};
	uint8_t bytes[CRAFT_BYTES];
	struct packet p;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct craft craft = ordinary(cases[i].family, cases[i].family == 4 ? 1 : 58);

		craft.dst_port = (uint16_t)(cases[i].type << 8);
		craft.echo_id = 0x4321;
		parse(bytes, craft_build(&craft, bytes), true, false, &p);
		assert_int_equal(p.flags, cases[i].flags);
		assert_int_equal(p.echo_id, cases[i].flags & ~PACKET_ICMP_ERROR ? 0x4321 : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_long_fragment),
		cmocka_unit_test(test_loopback_leaves),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_extension_truncated),
		cmocka_unit_test(test_vlan),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_icmp_kinds),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("packet", tests, NULL, NULL);
}
