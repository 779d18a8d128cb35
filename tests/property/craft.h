// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Packets from a description: the bytes, and, told from the description alone, what a filter should
 * see in them. The core's parser is not used, so that it can be held against this.
 */
#ifndef REEVE_TESTS_PROPERTY_CRAFT_H
#define REEVE_TESTS_PROPERTY_CRAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/field.h"

#define CRAFT_EXTENSIONS 10
#define CRAFT_TAGS 6
#define CRAFT_BYTES 4096
#define CRAFT_QUOTE 128 /* bytes of a packet that an ICMP error quotes */

struct craft_extension {
	uint8_t kind;	/* 0, 43, 44, 51, 60, 135 */
	/* as in the header: units of 8 bytes beyond the first (51: of 4 bytes beyond two) */
	uint8_t length;
};

struct craft {
	uint8_t family;	  /* 4 or 6 */
	uint8_t protocol; /* behind extension headers */
	uint8_t dscp, ttl;
	uint32_t src[4], dst[4];
	uint16_t src_port, dst_port; /* ICMP: dst_port is type << 8 | code */
	uint16_t echo_id, echo_sequence;
	uint8_t tcp_flags;
	uint32_t seq, ack;
	uint16_t window;
	uint8_t tcp_options; /* words of 4 bytes */
	bool has_scale;	     /* the first of them is the window scale option */
	uint8_t scale;
	uint16_t payload;    /* bytes behind the transport header */
	uint8_t quote[CRAFT_QUOTE], quote_n; /* the first of them, where they are no matter of chance */
	uint8_t ip_options;  /* IPv4: words of 4 bytes, up to 10 */
	uint8_t extension_n;
	struct craft_extension extensions[CRAFT_EXTENSIONS];
	/* IPv4: offset and `more`; IPv6: the values of a fragment header among the extensions */
	bool fragmented;
	uint16_t offset;   /* of the fragment, in units of 8 bytes */
	bool more;
	bool raw;	   /* no Ethernet header */
	uint8_t tags;	   /* VLAN tags in the frame */
	uint16_t tci[CRAFT_TAGS];
	bool qinq;	   /* the outermost tag is 802.1ad */
	uint8_t source_mac[6], target_mac[6];
};

/* Ordinary values: an IPv4 TCP SYN from 198.51.100.1:40000 to 10.0.0.1:80 to a MAC of this host. */
void craft_init(struct craft *craft);

/*
 * Writes the frame; returns its length, at most CRAFT_BYTES. Checksums are right (IPv4, TCP, UDP,
 * ICMP).
 */
uint32_t craft_build(const struct craft *craft, uint8_t bytes[CRAFT_BYTES]);

/*
 * An ICMP or ICMPv6 error from `from` to the sender of a packet, quoting at most `length` bytes of
 * it.
 */
void craft_error(const struct craft *quoted, uint16_t type_code, const uint32_t from[4],
		 uint32_t length, struct craft *error);

/*
 * The fields that the description has, without zones, mark and EXPECTED. `arriving`: with the
 * source MAC.
 */
void craft_fields(const struct craft *craft, bool arriving, struct fields *fields);

/* Does it belong to a VLAN device? Then it is left alone. */
bool craft_foreign(const struct craft *craft);

/* Must it be dropped as malformed, unless it is left alone? */
bool craft_malformed(const struct craft *craft, bool arriving);

/* To a broadcast or multicast address; what the MAC says is not looked at. */
bool craft_group(const struct craft *craft);

#endif
