// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What the core tells about single packets (events) and counts (statistics).
 */
#ifndef REEVE_CORE_EVENT_H
#define REEVE_CORE_EVENT_H

#include "core/types.h"

/* What decided a packet. */
enum decided_by {
	BY_NOTHING = 0, /* not ours: not IP, other host's, a VLAN device's, deferred to departure */
	BY_SANITY,	/* malformed; see enum sanity */
	BY_FLOW,
	BY_RULE,	/* includes defaults and built-in rules: look at the rule */
	BY_ANSWER,	/* reeve's own reset or ICMP error */
};

/* Why a packet is malformed. */
enum sanity {
	SANITY_OK = 0,
	SANITY_TRUNCATED,	/* a header ends behind the packet */
	SANITY_IP_VERSION,	/* version does not fit the EtherType */
	SANITY_HEADER_LENGTH,	/* IPv4 IHL < 5, TCP data offset < 5 */
	SANITY_TOTAL_LENGTH,	/* IP length longer than the frame, or shorter than its headers */
	SANITY_EXTENSIONS,	/* more IPv6 extension headers than the bound, or out of shape */
	SANITY_FRAGMENT,	/* fragment beyond 65535 bytes, or one so short that it hides the ports */
	SANITY_VLAN_DEPTH,	/* more tags than the bound */
	SANITY_TCP_FLAGS,	/* no flags, SYN with FIN or RST, FIN with RST */
	SANITY_ADDRESS,		/* source is multicast, broadcast, or loopback from outside */
	SANITY_PORT_ZERO,	/* TCP or UDP port 0 */
	SANITY_MID_STREAM,	/* TCP without a flow, and `tcp-pickup` is off */
	SANITY_ORPHAN,		/* a later fragment whose first one was not let pass, or not seen */
	SANITY_OVERLAP,		/* a later fragment that would write over the first */
	SANITY_WINDOW,		/* TCP: numbers outside of the window of the connection it claims to be of */
	SANITY_SPOOFED,		/* no way back to the source, or not the one it came by (`antispoof`) */
	SANITY_EXHAUSTED,	/* no port or address was free for its translation */
	SANITY_NO_LISTENER,	/* intercepted, and nobody listens at the target */
	SANITY_KINDS,
};

/* Statistics, per CPU, summed for people. */
enum statistic {
	STAT_ARRIVED,	    /* packets judged on arrival */
	STAT_DEPARTED,	    /* packets judged on departure: not those that arrival has decided */
	STAT_EARLY_DROPPED, /* by a rule of `early`; all others count what came so far */
	STAT_BY_FLOW,	    /* passed as part of a flow */
	STAT_BY_RULE,	    /* met the rules */
	STAT_ALLOWED,	    /* by a rule */
	STAT_DROPPED,	    /* by a rule, or rejected without an answer */
	STAT_REJECTED,	    /* answered */
	STAT_REJECT_LIMITED,/* not answered: over the rate */
	STAT_BEYOND,	    /* matched a rule beyond its limits, and went on to the next one */
	STAT_SANITY,	    /* malformed */
	STAT_OUTSIDE,	    /* TCP outside of the window of its connection */
	STAT_SPOOFED,	    /* dropped by `antispoof` */
	STAT_FLOW_NEW,
	STAT_FLOW_PROMOTED, /* replied: moved to the table of replied flows */
	STAT_FLOW_CUT,	    /* the policy that runs now would not have allowed them: ended */
	STAT_FLOW_FULL,	    /* the table of replied flows is full; the flow stays embryonic */
	STAT_FLOW_FAILED,   /* no record could be made: the packet was dropped */
	STAT_GUARD_LOCAL,   /* dropped by the guard, by hook */
	STAT_GUARD_FORWARD,
	STAT_GUARD_POST,
	STAT_EVENT_LOST,    /* events that did not fit the ring */
	STAT_NO_POLICY,	    /* dropped: no image could be read (never in a healthy state) */
	STAT_TRANSLATED,    /* flows that began with a translation */
	STAT_NAT_EXHAUSTED, /* dropped: no port, or no address, was free for the translation */
	STAT_INTERCEPTED,   /* flows that were handed to a proxy */
	STAT_NO_LISTENER,   /* dropped: nobody listens where they were to be handed to */
	STAT_INTERCEPT_PASSED, /* forwarded instead: nobody listens, and `on-missing pass` */
	STAT_SET_ADDED,	    /* addresses that rules have added to dynamic sets */
	STAT_SET_FULL,	    /* and that they could not, for the set was full */
	STAT_FAST,	    /* forwarded by the fast path; they are also counted as arrived, and by flow */
	STAT_SYN_ANSWERED,  /* `protect`: SYNs answered with a cookie */
	STAT_SYN_REFUSED,   /* and dropped, for they could not be answered */
	STAT_COOKIE_RIGHT,  /* ACKs that bore a cookie */
	STAT_COOKIE_WRONG,  /* and that bore none, of no connection: dropped early */
	STAT_COUNT,
};

enum event_kind {
	EVENT_DROP,
	EVENT_REJECT,
	EVENT_LOG,	/* a rule with `log`, in place of a drop or reject; action tells what was done */
	EVENT_FLOW_NEW,
	EVENT_GUARD,	/* dropped by the guard: hook tells which one */
};

enum event_hook {
	HOOK_ARRIVE,
	HOOK_DEPART,
	HOOK_LOCAL_IN,
	HOOK_FORWARD,
	HOOK_POST_ROUTING,
	HOOK_EARLY,
};

/* 104 bytes, host byte order. */
struct event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u8 kind;     /* enum event_kind */
	__u8 hook;     /* enum event_hook */
	__u8 by;       /* enum decided_by */
	__u8 action;   /* enum action */
	__u8 sanity;   /* enum sanity */
	__u8 family;   /* 4, 6, or 0 when unknown */
	__u8 protocol;
	__u8 tcp_flags;
	__u32 rule;	    /* number in the running ruleset; valid when by == BY_RULE */
	__u32 ifindex;	    /* the interface at whose hook it happened */
	__u32 in_ifindex;   /* arriving interface; 0 for own packets */
	__u16 from_zone, to_zone; /* numbers; to_zone 0xffff when it was not known yet */
	__u16 src_port, dst_port; /* ICMP: dst_port is type << 8 | code */
	__u32 length;
	__u32 src[4], dst[4];	  /* as in FIELD_SRC */
	__u32 generation;	  /* of the policy whose rule number this is */
	__u32 reserved;
	__u64 reserved2[3];
};

_Static_assert(sizeof(struct event) == 104, "event");

#endif
