// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * How long flows live. Looked at when a packet meets a flow, and by whoever lists flows.
 */
#ifndef REEVE_CORE_TIMEOUT_H
#define REEVE_CORE_TIMEOUT_H

#include "core/flow.h"
#include "core/protocol.h"

#define SECOND 1000000000ull

/* How long a flow may be silent, in seconds; the values conntrack has by default. */
#define TIMEOUT_ROWS 16 /* a power of two, so that an index can be masked */

static const __u32 flow_timeout[TIMEOUT_ROWS] = {
	[FLOW_SYN_SENT] = 120,	 [FLOW_SYN_RECV] = 60,	  [FLOW_SYN_SENT2] = 120,
	[FLOW_ESTABLISHED] = 432000, [FLOW_FIN_WAIT] = 120, [FLOW_CLOSE_WAIT] = 60,
	[FLOW_LAST_ACK] = 30,	 [FLOW_TIME_WAIT] = 120,  [FLOW_CLOSE] = 10,
	[FLOW_UNREPLIED] = 30,	 [FLOW_REPLY_SEEN] = 30,  [FLOW_ASSURED] = 120,
};

#define FLOW_TIMEOUT_GENERIC 600 /* protocols other than TCP, UDP and ICMP */
#define FLOW_TIMEOUT_PICKED_UP 300 /* TCP taken up in mid-stream, while nobody has answered */
#define FLOW_LIFETIME_MIN SECOND /* the smallest that there is: a rule's `timeout 1s` */
#define FRAGMENT_LIFETIME (30 * SECOND) /* as the kernel's own reassembly waits (ipfrag_time) */
#define FLOW_ASSURED_AFTER (2 * SECOND)

/*
 * A rule's `timeout` is that of an established connection, and of all states of what is not TCP:
 * how a connection begins and ends is TCP's business.
 */
static __always_inline __u64 flow_lifetime(const struct flow *flow)
{
	__u32 state = flow->state;

	if (flow->timeout && (flow->protocol != PROTOCOL_TCP || state == FLOW_ESTABLISHED))
		return flow->timeout * SECOND;
	if (flow->protocol == PROTOCOL_TCP) {
		if ((flow->flags & (FLOW_PICKED_UP | FLOW_REPLIED)) == FLOW_PICKED_UP &&
		    state == FLOW_ESTABLISHED)
			return FLOW_TIMEOUT_PICKED_UP * SECOND;
	} else if (flow->protocol != PROTOCOL_UDP && flow->protocol != PROTOCOL_ICMP &&
		   flow->protocol != PROTOCOL_ICMPV6) {
		return FLOW_TIMEOUT_GENERIC * SECOND;
	}
	if (state >= FLOW_STATES)
		return 0;
	forget(state);
	return flow_timeout[state & (TIMEOUT_ROWS - 1)] * SECOND;
}

/* Clocks of two CPUs may differ a little: a flow seen "in the future" is alive. */
static __always_inline int flow_expired(const struct flow *flow, __u64 now)
{
	__u64 seen = flow->seen;

	/* Nothing lives shorter than FLOW_LIFETIME_MIN: most packets need not ask. */
	return now > seen + FLOW_LIFETIME_MIN && now - seen > flow_lifetime(flow);
}

#endif
