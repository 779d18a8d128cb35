// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Flows: one record for both directions of a conversation.
 *
 * A record is found under one canonical key: the endpoint (address, port) that sorts lower comes
 * first, whoever spoke first. FLOW_ORIGIN_HIGH in the record says that the originator is the second
 * endpoint. The record is bound to the two zones (by their stable tags): a packet with the right
 * tuple that comes from elsewhere is not part of it.
 */
#ifndef REEVE_CORE_FLOW_H
#define REEVE_CORE_FLOW_H

#include "core/types.h"

/*
 * 40 bytes. Addresses as in FIELD_SRC (host order words), ports in host order; ICMP echo: the
 * identifier in both ports.
 */
struct flow_key {
	__u32 low[4], high[4];
	__u16 low_port, high_port;
	__u8 protocol;
	__u8 family; /* 4 or 6 */
	__u16 zero;
};

/*
 * The key of a tuple: its ends in canonical order. Returns 1 if the sender is key->high. Ports in
 * host order. The key is written word by word, so that no byte of it is left over from anything
 * else.
 */
static __always_inline __u32 flow_key_order(struct flow_key *key, const __u32 *src, const __u32 *dst,
					    __u32 src_port, __u32 dst_port, __u32 protocol,
					    __u32 family)
{
	__u32 high, i;

	if (src[0] != dst[0])
		high = src[0] > dst[0];
	else if (src[1] != dst[1])
		high = src[1] > dst[1];
	else if (src[2] != dst[2])
		high = src[2] > dst[2];
	else if (src[3] != dst[3])
		high = src[3] > dst[3];
	else
		high = src_port > dst_port;
	for (i = 0; i < 4; i++) {
		key->low[i] = high ? dst[i] : src[i];
		key->high[i] = high ? src[i] : dst[i];
	}
	key->low_port = (__u16)(high ? dst_port : src_port);
	key->high_port = (__u16)(high ? src_port : dst_port);
	key->protocol = (__u8)protocol;
	key->family = (__u8)family;
	key->zero = 0;
	return high;
}

enum flow_flags {
	FLOW_ORIGIN_HIGH = 1, /* the originator is key.high */
	FLOW_REPLIED = 2,     /* a packet came back */
	FLOW_PICKED_UP = 4,   /* it began in mid-stream */
	FLOW_MARKS = 8,	      /* mark_mask is not 0 */
	FLOW_LIBERAL = 16,    /* TCP: of the sequence numbers only those of resets are checked */
	FLOW_TRANSLATED = 64, /* `translation` holds: the responder sees another tuple */
	FLOW_SEEDED = 32,     /* it was there before the first apply; picked up, but it began as any other */
	FLOW_COUNTED = 128,   /* an ICMP echo whose rule has a limit: all requests meet the rules */
};

/*
 * Connection states. TCP's after RFC 9293 section 3.3.2, seen from between the two ends, under the
 * names conntrack uses.
 */
enum flow_state {
	FLOW_NONE = 0,
	/* TCP */
	FLOW_SYN_SENT,	  /* SYN from the originator */
	FLOW_SYN_RECV,	  /* SYN-ACK came back */
	FLOW_SYN_SENT2,	  /* simultaneous open: SYN from both */
	FLOW_ESTABLISHED,
	FLOW_FIN_WAIT,	  /* one side has sent FIN */
	FLOW_CLOSE_WAIT,  /* that FIN is acknowledged */
	FLOW_LAST_ACK,	  /* both have sent FIN */
	FLOW_TIME_WAIT,
	FLOW_CLOSE,	  /* RST seen */
	/* the others */
	FLOW_UNREPLIED,	  /* UDP, ICMP and others: no answer yet */
	FLOW_REPLY_SEEN,  /* answered */
	FLOW_ASSURED,	  /* UDP: traffic in both directions over more than two seconds */
	FLOW_STATES,
};

#define FLOW_TIMEOUT_MAX 0xffffffu /* seconds: 194 days */

enum flow_end_flags {
	END_SEEN = 1,	 /* it has sent something: end, window and scale hold */
	END_ACKED = 2,	 /* max_ack holds */
	END_BOUNDED = 4, /* max_end holds */
	END_SCALES = 8,	 /* its SYN had the window scale option */
};

/*
 * What is known of the sequence numbers of one end of a TCP connection (core/window.h). All zero:
 * nothing.
 */
struct flow_end {
	__u32 end;     /* highest sequence number it has sent, + 1 */
	__u32 max_end; /* how far the other end lets it send: highest acknowledgement + window */
	__u32 max_ack; /* highest acknowledgement it has sent; before the first one, the lowest that would be right */
	__u16 window;  /* largest window it has announced, in units of its scale */
	__u8 scale;
	__u8 flags;    /* enum flow_end_flags */
};

struct flow_count {
	__u64 packets, bytes;
};

/*
 * The tuple as the responder sees it, where it is not the one the originator sends (core/nat.h).
 * Host order; ICMP echo: the identifier in both ports.
 */
struct translation {
	__u32 src[4], dst[4];
	__u16 src_port, dst_port;
	__u8 flags; /* enum translated */
	__u8 zero[3];
};

enum translated {
	TRANSLATED_SOURCE = 1,
	TRANSLATED_DESTINATION = 2,
	TRANSLATED_MASQUERADE = 4, /* the source is an address of this host's, and ends with it */
};

/*
 * 152 bytes; times are CLOCK_MONOTONIC in nanoseconds. What each packet touches comes first, right
 * behind the key: with many flows every further cache line costs.
 */
struct flow {
	__u16 from_tag, to_tag; /* zones of originator and responder, see struct zone.tag */
	__u8 state;		/* enum flow_state */
	__u8 flags;		/* enum flow_flags */
	__u16 policy;		/* lower 16 bits of the generation of the policy that last allowed it */
	__u64 seen;
	struct flow_count original, reply;
	__u64 created;
	__u32 rule;		/* that allowed it, as numbered in that policy */
	__u32 protocol : 8;
	__u32 timeout : 24;	/* of its rule, in seconds; 0: as usual */
	struct flow_end ends[2]; /* originator, responder */
	__u32 from_ifindex, to_ifindex; /* of the first packet; 0 for this host */
	__u32 mark_mask, mark_value; /* of the rule's `mark set` */
	struct translation translation; /* FLOW_TRANSLATED; else zero */
};

/*
 * The first fragment of a packet that was let pass: later ones follow it. RFC 791, 8200 section
 * 4.5: they belong together by addresses and identification, in IPv4 also by protocol (else 0).
 */
struct fragment_key {
	__u32 src[4], dst[4];
	__u32 id;
	__u16 from_tag, to_tag;
	__u8 protocol, family;
	__u16 zero;
};

struct fragment {
	__u64 seen;
	__u32 end; /* of its data: the next one begins here or behind */
	__u32 rule;
	__u32 rewrite;	  /* enum rewrite, core/nat_record.h: translated as the first one */
	__u32 address[4]; /* to this */
};

_Static_assert(sizeof(struct flow_key) == 40, "flow key");
_Static_assert(sizeof(struct flow_end) == 16, "flow end");
_Static_assert(sizeof(struct flow) == 152, "flow record");

#endif
