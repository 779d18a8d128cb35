// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The fields a rule can speak about, as 32-bit words in host byte order.
 *
 * One numbering for everybody: the packet parser fills these words, rules constrain them, the
 * reference evaluator compares them and decision nodes index them. An address is four words, most
 * significant first; an IPv4 address is in the first word and the other three are zero.
 */
#ifndef REEVE_CORE_FIELD_H
#define REEVE_CORE_FIELD_H

#include "core/types.h"

enum field {
	FIELD_FROM_ZONE,   /* zone number, see below */
	FIELD_TO_ZONE,
	FIELD_FAMILY,	   /* 4 or 6 */
	FIELD_PROTOCOL,	   /* IP protocol number behind IPv6 extension headers */
	FIELD_SRC_PORT,	   /* TCP, UDP, UDP-Lite, SCTP, DCCP; else 0 */
	FIELD_DST_PORT,	   /* the same; for ICMP and ICMPv6: type << 8 | code */
	FIELD_FRAGMENT,	   /* 1 for a fragment with an offset > 0 (it has no ports), else 0 */
	FIELD_TCP_FLAGS,   /* FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128; 0 if not TCP */
	FIELD_LENGTH,	   /* of the IP packet in bytes, headers included; of the whole for GSO */
	FIELD_DSCP,
	FIELD_TTL,	   /* or hop limit */
	FIELD_MARK,	   /* skb mark without reeve's own two bits */
	FIELD_MAC_HIGH,	   /* source MAC, upper 16 bits; on arrival over Ethernet, else 0 */
	FIELD_MAC_LOW,	   /* source MAC, lower 32 bits */
	FIELD_EXPECTED,	   /* 1: a DHCP answer on an interface whose client has sent lately */
	FIELD_STATE,	   /* 0 new: may start a flow; 1 untracked: TCP in mid-stream, a later fragment, an ICMP error or reply */
	FIELD_SRC,	   /* four words */
	FIELD_DST = FIELD_SRC + 4,
	FIELD_WORDS = FIELD_DST + 4,
};

enum {
	STATE_NEW = 0,
	STATE_UNTRACKED = 1,
};

/* Zone numbers. Zones of the policy follow in the order of the file. */
enum {
	ZONE_SELF = 0,
	ZONE_OTHER = 1,
	ZONE_FIRST = 2,
	ZONES_MAX = 64, /* so that a set of zones is one 64-bit word */
};

struct fields {
	__u32 word[FIELD_WORDS];
};

#endif
