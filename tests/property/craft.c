// SPDX-License-Identifier: GPL-2.0-or-later
#include "craft.h"

#include <string.h>

enum { ICMP4 = 1, TCP = 6, UDP = 17, DCCP = 33, ICMP6 = 58, SCTP = 132, UDPLITE = 136 };
enum {
	HOP_BY_HOP = 0,
	ROUTING = 43,
	FRAGMENT = 44,
	AUTHENTICATION = 51,
	DESTINATION = 60,
	MOBILITY = 135
};

static const uint8_t host_mac[6] = { 2, 0, 0, 0, 0, 1 };
static const uint8_t peer_mac[6] = { 2, 0, 0, 0, 0, 2 };

void craft_init(struct craft *craft)
{
	*craft = (struct craft){
		.family = 4,
		.protocol = TCP,
		.ttl = 64,
		.src = { 0xc6336401 },
		.dst = { 0x0a000001 },
		.src_port = 40000,
		.dst_port = 80,
		.tcp_flags = 2,
		.window = 65535,
	};
	memcpy(craft->source_mac, peer_mac, 6);
	memcpy(craft->target_mac, host_mac, 6);
}

static uint8_t *put8(uint8_t *at, unsigned value)
{
	*at = (uint8_t)value;
	return at + 1;
}

static uint8_t *put16(uint8_t *at, unsigned value)
{
	return put8(put8(at, value >> 8), value & 255);
}

static uint8_t *put32(uint8_t *at, uint32_t value)
{
	return put16(put16(at, value >> 16), value & 0xffff);
}

static uint8_t *put_address(uint8_t *at, const uint32_t *address, unsigned words)
{
	for (unsigned i = 0; i < words; i++)
		at = put32(at, address[i]);
	return at;
}

static uint16_t checksum_of(const uint8_t *bytes, uint32_t length, uint32_t sum)
{
	for (uint32_t i = 0; i < length; i++)
		sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static bool has_ports(unsigned protocol)
{
	return protocol == TCP || protocol == UDP || protocol == DCCP || protocol == SCTP ||
	       protocol == UDPLITE;
}

/* ICMPv4 in IPv6 and the other way round are protocols like others. */
static bool is_icmp(const struct craft *craft)
{
	return craft->protocol == (craft->family == 4 ? ICMP4 : ICMP6);
}

/* The index of the first fragment header among the extensions; extension_n when there is none. */
static unsigned fragment_header(const struct craft *craft)
{
	unsigned i = 0;

	while (i < craft->extension_n && craft->extensions[i].kind != FRAGMENT)
		i++;
	return i;
}

static bool later_fragment(const struct craft *craft)
{
	if (craft->family == 6 && fragment_header(craft) == craft->extension_n)
		return false;
	return craft->fragmented && craft->offset;
}

static uint32_t transport_header(const struct craft *craft)
{
	if (craft->protocol == TCP)
		return 20 + craft->tcp_options * 4u;
	if (craft->protocol == SCTP || craft->protocol == DCCP)
		return 12;
	if (has_ports(craft->protocol) || is_icmp(craft))
		return 8;
	return 0;
}

static uint32_t transport_length(const struct craft *craft)
{
	return (later_fragment(craft) ? 0 : transport_header(craft)) + craft->payload;
}

static uint32_t extension_size(const struct craft_extension *extension)
{
	if (extension->kind == FRAGMENT)
		return 8;
	if (extension->kind == AUTHENTICATION)
		return (extension->length + 2u) * 4;
	return (extension->length + 1u) * 8;
}

static uint32_t extensions_length(const struct craft *craft)
{
	uint32_t length = 0;

	for (unsigned i = 0; i < craft->extension_n; i++)
		length += extension_size(&craft->extensions[i]);
	return length;
}

static uint32_t ip_length(const struct craft *craft)
{
	if (craft->family == 4)
		return 20 + craft->ip_options * 4u + transport_length(craft);
	return 40 + extensions_length(craft) + transport_length(craft);
}

static uint32_t pseudo_sum(const struct craft *craft, uint32_t length)
{
	uint32_t sum = craft->protocol + length;

	for (unsigned i = 0; i < (craft->family == 4 ? 1 : 4); i++)
		sum += (craft->src[i] >> 16) + (craft->src[i] & 0xffff) + (craft->dst[i] >> 16) +
		       (craft->dst[i] & 0xffff);
	return sum;
}

static uint8_t *build_transport(const struct craft *craft, uint8_t *start)
{
	uint32_t length = transport_length(craft), sum = pseudo_sum(craft, length);
	uint8_t *at = start, *checksum = NULL;

	if (craft->protocol == TCP) {
		at = put16(put16(at, craft->src_port), craft->dst_port);
		at = put32(put32(at, craft->seq), craft->ack);
		at = put8(put8(at, (5u + craft->tcp_options) << 4), craft->tcp_flags);
		at = put16(at, craft->window);
		checksum = at;
		at = put32(at, 0);
		memset(at, 1, craft->tcp_options * 4u); /* no-operation */
		if (craft->has_scale && craft->tcp_options)
			put8(put8(put8(at, 3), 3), craft->scale);
		at += craft->tcp_options * 4;
	} else if (has_ports(craft->protocol)) {
		at = put16(put16(at, craft->src_port), craft->dst_port);
		at = put16(at, length);
		checksum = craft->protocol == UDP ? at : NULL;
		at = put16(at, 0);
		if (craft->protocol == SCTP || craft->protocol == DCCP)
			at = put32(at, 0);
	} else if (is_icmp(craft)) {
		at = put16(at, craft->dst_port);
		checksum = at;
		at = put16(put16(put16(at, 0), craft->echo_id), craft->echo_sequence);
		if (craft->family == 4)
			sum = 0;
	}
	for (uint32_t i = 0; i < craft->payload; i++)
		at = put8(at, i < craft->quote_n ? craft->quote[i] : i & 255);
	if (checksum)
		put16(checksum, checksum_of(start, length, sum));
	return at;
}

static uint8_t *build_rest(const struct craft *craft, uint8_t *at)
{
	if (!later_fragment(craft))
		return build_transport(craft, at);
	for (uint32_t i = 0; i < craft->payload; i++)
		at = put8(at, i & 255);
	return at;
}

static uint8_t *build_ipv4(const struct craft *craft, uint8_t *start)
{
	unsigned header = 20 + craft->ip_options * 4u, fragment = 0;
	uint8_t *at = start;

	if (craft->fragmented)
		fragment = craft->offset | (craft->more ? 0x2000u : 0);
	at = put8(put8(at, 0x40 | header / 4), (unsigned)craft->dscp << 2);
	at = put16(put16(put16(at, ip_length(craft)), 0x1234), fragment);
	at = put16(put8(put8(at, craft->ttl), craft->protocol), 0);
	at = put_address(put_address(at, craft->src, 1), craft->dst, 1);
	memset(at, 1, craft->ip_options * 4u); /* no-operation */
	at += craft->ip_options * 4;
	put16(start + 10, checksum_of(start, header, 0));
	return build_rest(craft, at);
}

static uint8_t *build_ipv6(const struct craft *craft, uint8_t *at)
{
	unsigned n = craft->extension_n;

	at = put32(at, 6u << 28 | (uint32_t)craft->dscp << 22);
	at = put16(at, ip_length(craft) - 40);
	at = put8(put8(at, n ? craft->extensions[0].kind : craft->protocol), craft->ttl);
	at = put_address(put_address(at, craft->src, 4), craft->dst, 4);
	for (unsigned i = 0; i < n; i++) {
		uint8_t next = i + 1 < n ? craft->extensions[i + 1].kind : craft->protocol;
		uint32_t size = extension_size(&craft->extensions[i]);

		memset(at, 0, size);
		at[0] = next;
		if (craft->extensions[i].kind == FRAGMENT) {
			if (craft->fragmented)
				put16(at + 2, craft->offset << 3 | craft->more);
			put32(at + 4, 0x12345678);
		} else {
			at[1] = craft->extensions[i].length;
		}
		at += size;
	}
	return build_rest(craft, at);
}

uint32_t craft_build(const struct craft *craft, uint8_t bytes[CRAFT_BYTES])
{
	uint8_t *at = bytes;

	if (!craft->raw) {
		memcpy(at, craft->target_mac, 6);
		memcpy(at + 6, craft->source_mac, 6);
		at += 12;
		for (unsigned i = 0; i < craft->tags; i++)
			at = put16(put16(at, !i && craft->qinq ? 0x88a8 : 0x8100), craft->tci[i]);
		at = put16(at, craft->family == 4 ? 0x0800 : 0x86dd);
	}
	at = craft->family == 4 ? build_ipv4(craft, at) : build_ipv6(craft, at);
	return (uint32_t)(at - bytes);
}

void craft_error(const struct craft *quoted, uint16_t type_code, const uint32_t from[4],
		 uint32_t length, struct craft *error)
{
	struct craft raw = *quoted;
	uint8_t bytes[CRAFT_BYTES];
	uint32_t n;

	raw.raw = true;
	n = craft_build(&raw, bytes);
	if (n > length)
		n = length;
	if (n > CRAFT_QUOTE)
		n = CRAFT_QUOTE;
	craft_init(error);
	error->family = quoted->family;
	error->protocol = quoted->family == 4 ? ICMP4 : ICMP6;
	memcpy(error->src, from, sizeof(error->src));
	memcpy(error->dst, quoted->src, sizeof(error->dst));
	error->src_port = 0;
	error->dst_port = type_code;
	memcpy(error->quote, bytes, n);
	error->payload = error->quote_n = (uint8_t)n;
}

void craft_fields(const struct craft *craft, bool arriving, struct fields *fields)
{
	const uint8_t *mac = craft->source_mac;
	uint32_t *word = fields->word;

	memset(fields, 0, sizeof(*fields));
	word[FIELD_FAMILY] = craft->family;
	word[FIELD_PROTOCOL] = craft->protocol;
	word[FIELD_LENGTH] = ip_length(craft);
	word[FIELD_DSCP] = craft->dscp;
	word[FIELD_TTL] = craft->ttl;
	memcpy(&word[FIELD_SRC], craft->src, craft->family == 4 ? 4 : 16);
	memcpy(&word[FIELD_DST], craft->dst, craft->family == 4 ? 4 : 16);
	if (arriving && !craft->raw) {
		word[FIELD_MAC_HIGH] = (uint32_t)mac[0] * 256 + mac[1];
		word[FIELD_MAC_LOW] = ((uint32_t)mac[2] * 256 + mac[3]) * 65536 + mac[4] * 256u +
				      mac[5];
	}
	if (later_fragment(craft)) {
		unsigned behind = fragment_header(craft) + 1;

		/* a header for whoever puts it together again, data for others */
		if (behind < craft->extension_n)
			word[FIELD_PROTOCOL] = craft->extensions[behind].kind;
		word[FIELD_FRAGMENT] = 1;
		word[FIELD_STATE] = STATE_UNTRACKED;
		return;
	}
	if (has_ports(craft->protocol)) {
		word[FIELD_SRC_PORT] = craft->src_port;
		word[FIELD_DST_PORT] = craft->dst_port;
	} else if (is_icmp(craft)) {
		unsigned type = craft->dst_port >> 8;
		bool error = craft->family == 6 ? type < 128 || type == 129 :
						  type == 0 || (type >= 3 && type <= 5) ||
							  type == 11 || type == 12;

		word[FIELD_DST_PORT] = craft->dst_port;
		word[FIELD_STATE] = error ? STATE_UNTRACKED : STATE_NEW;
	}
	if (craft->protocol == TCP) {
		bool opens = (craft->tcp_flags & 2) && !(craft->tcp_flags & 0x14);

		word[FIELD_TCP_FLAGS] = craft->tcp_flags;
		word[FIELD_STATE] = opens ? STATE_NEW : STATE_UNTRACKED;
	}
}

static bool loopback(const struct craft *craft, const uint32_t *address)
{
	if (craft->family == 4)
		return address[0] >> 24 == 127;
	if (address[0] || address[1])
		return false;
	return (!address[2] && address[3] == 1) ||
	       (address[2] == 0xffff && (address[3] & 0xff000000) == 0x7f000000);
}

static bool group_address(const struct craft *craft, const uint32_t *address)
{
	if (craft->family == 4)
		return (address[0] & 0xf0000000) == 0xe0000000 || address[0] == 0xffffffff;
	return address[0] >= 0xff000000;
}

/*
 * More than eight extension headers, hop-by-hop options not first, or two fragment headers of which
 * the first says something.
 */
static bool extensions_malformed(const struct craft *craft)
{
	bool fragment = false;

	for (unsigned i = 0; i < craft->extension_n; i++) {
		if (i >= 8 || (i && craft->extensions[i].kind == HOP_BY_HOP))
			return true;
		if (craft->extensions[i].kind != FRAGMENT)
			continue;
		if (fragment)
			return true;
		if (!craft->fragmented || !(craft->offset || craft->more))
			continue;
		if (craft->offset)
			return false; /* what follows is data */
		fragment = true;
	}
	return false;
}

static bool transport_malformed(const struct craft *craft)
{
	unsigned flags = craft->tcp_flags;

	if (craft->protocol == TCP) {
		bool syn = flags & 2, fin = flags & 1, rst = flags & 4, ack = flags & 16;

		return !craft->src_port || !craft->dst_port || !(syn || rst || ack) ||
		       (syn && (fin || rst)) || (fin && rst);
	}
	return craft->protocol == UDP && !craft->dst_port;
}

/* Would the packet, put together, be longer than an IP packet can be? */
static bool fragment_too_long(const struct craft *craft)
{
	uint32_t end = craft->offset * 8u + transport_length(craft);

	if (craft->family == 4)
		return end + 20 + craft->ip_options * 4u > 65535;
	for (unsigned i = fragment_header(craft) + 1; i < craft->extension_n; i++)
		end += extension_size(&craft->extensions[i]);
	return end > 65535;
}

bool craft_malformed(const struct craft *craft, bool arriving)
{
	if (craft->tags > 4)
		return true;
	if (craft->family == 6 && extensions_malformed(craft))
		return true;
	if (group_address(craft, craft->src))
		return true;
	if (arriving && (loopback(craft, craft->src) || loopback(craft, craft->dst)))
		return true;
	if (later_fragment(craft)) /* nor may it write over a TCP header */
		return fragment_too_long(craft) ||
		       (craft->family == 4 && craft->protocol == TCP && craft->offset * 8 < 20);
	return transport_malformed(craft);
}

bool craft_foreign(const struct craft *craft)
{
	for (unsigned i = 0; i < craft->tags && i < 4; i++)
		if (craft->tci[i] & 0xfff)
			return true;
	return false;
}

bool craft_group(const struct craft *craft)
{
	return group_address(craft, craft->dst);
}
