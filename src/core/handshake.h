// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The flow of a connection that began with a SYN cookie (core/cookie.h). Rules have seen the SYN,
 * told again from the ACK that came; here the flow they let begin is told the rest of the
 * handshake, by the state machine, as if each packet had been seen.
 *
 * Included behind judge.h, whose host functions it uses.
 */
#ifndef REEVE_CORE_HANDSHAKE_H
#define REEVE_CORE_HANDSHAKE_H

#include "core/cookie.h"
#include "core/judge.h"

/*
 * Where the rules let the ACK's connection begin with a flow (not so `stateless` ones): the
 * handshake is through. The packet is the ACK again.
 */
static __always_inline void handshake_complete(host_t *host, const struct cookie *cookie)
{
	struct flow_key *key = host_key(host);
	struct packet *p = host->packet;
	struct numbers answer;
	struct flow *flow;
	__u64 now;

	p->numbers = cookie->ack;
	p->fields.word[FIELD_TCP_FLAGS] = TCP_ACK;
	flow_key_make(p, key);
	flow = host_embryonic_find(host, key);
	if (!flow || flow->state != FLOW_SYN_SENT)
		return;
	now = flow->seen;
	cookie_answer(cookie, &answer);
	flow_take(flow, FLOW_SYN_RECV | LEARN, &answer, TCP_SYN | TCP_ACK, DIRECTION_REPLY, now);
	flow_take(flow, FLOW_ESTABLISHED | LEARN, &cookie->ack, TCP_ACK, DIRECTION_ORIGINAL, now);
	flow->flags |= FLOW_REPLIED;
	host_count(host, STAT_COOKIE_RIGHT);
	host_count(host, host_flow_promote(host, key, flow) ? STAT_FLOW_FULL : STAT_FLOW_PROMOTED);
}

#endif
