// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * ICMP errors: is what they quote a packet of a live flow? Part of judge.h, which includes it.
 */
#ifndef REEVE_CORE_JUDGE_RELATED_H
#define REEVE_CORE_JUDGE_RELATED_H

/*
 * This host's own error about a packet whose flow has not begun: one that is forwarded and went no
 * further. Its sender knows it by the destination that it had.
 */
static __always_inline void related_pending(host_t *host, const struct quoted *quoted, __u64 now)
{
	const struct pending *pending = host_pending_find(host, &quoted->key);
	struct nat_room *nat = host_nat(host);

	if (!pending || now - pending->seen >= PENDING_LIFETIME)
		return;
	nat->quoted = 1;
	nat->rewrite = REWRITE_SOURCE;
	address_copy(nat->address, pending->dst);
	nat->port = pending->port;
}

/*
 * The translated flow of the packet that an ICMP error quotes. Turned round, the quoted tuple is
 * that of a packet which goes the error's way, and is translated as such a packet would be: on
 * arrival the quoted source with the error's destination, at departure the quoted destination,
 * with the error's source where that is the same. 1: in *found, nat->key is the record's key, and
 * what is to be rewritten is noted. 0: it is of no translated flow.
 */
static __always_inline int related_translated(host_t *host, struct found *found)
{
	const struct quoted *quoted = host_quoted_read(host);
	__u32 *word = host->packet->fields.word, high = quoted->sender_high;
	const __u32 *target = high ? quoted->key.low : quoted->key.high;
	struct nat_room *nat = host_nat(host);
	struct packet *p = host->packet;
	__u8 flags = p->flags;
	__u64 now = host_now(host);
	int result;

	nat->key = quoted->key;
	address_copy(nat->asked_src, &word[FIELD_SRC]);
	address_copy(nat->asked.dst, &word[FIELD_DST]);
	nat->asked_src_port = word[FIELD_SRC_PORT];
	nat->asked.port = (__u16)word[FIELD_DST_PORT];
	nat->outer = (flags & PACKET_ARRIVING) || address_same(&word[FIELD_SRC], target);
	address_copy(&word[FIELD_SRC], target);
	address_copy(&word[FIELD_DST], high ? quoted->key.high : quoted->key.low);
	word[FIELD_SRC_PORT] = high ? quoted->key.low_port : quoted->key.high_port;
	word[FIELD_DST_PORT] = high ? quoted->key.high_port : quoted->key.low_port;
	if (protocol_echoes(quoted->key.protocol))
		p->echo_id = quoted->key.low_port;
	else
		p->flags |= PACKET_PORTS;
	found->flow = host_flow_find(host, &nat->key);
	if (!found->flow)
		found->flow = host_embryonic_find(host, &nat->key);
	result = translated_search(host, &nat->key, found, now);
	nat->quoted = (__u32)result;
	p->flags = flags;
	nat_as_it_is(nat, p);
	if (!result && word[FIELD_FROM_ZONE] == ZONE_SELF)
		related_pending(host, quoted, now);
	return result;
}

/*
 * Does an ICMP error belong to a live flow? It comes from where the quoted packet went, or from
 * this host itself on its way, and goes to its sender. At arrival `to_tag` is 0: unknown. 1 when it
 * passes.
 */
static __always_inline int judge_related(host_t *host, struct judgement *j, __u32 from_tag, __u32 to_tag)
{
	const struct quoted *quoted = host_quoted(host);
	struct packet *p = host->packet;
	const struct flow_key *key;
	__u32 sender, other, i, travels = 0;
	int translated = 0;
	struct flow *flow;
	int direction;

	if (!quoted)
		return 0;
	host_flow_fetch(host, &quoted->key);
	if (host_translates(host))
		translated = host_related_translated(host, &travels);
	key = translated ? &host_nat(host)->key : &quoted->key;
	flow = host_flow_find(host, key);
	if (!flow)
		flow = host_embryonic_find(host, key);
	if (!flow || flow_expired(flow, host_now(host)) ||
	    (!translated && (flow->flags & FLOW_TRANSLATED)) ||
	    flow_stale(flow, host_flows_since(host)))
		return 0;
	direction = translated ? quoted_fits(quoted, flow, !travels) : quoted_direction(quoted, flow);
	if (direction < 0)
		return 0;
#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++)
		if (p->fields.word[FIELD_DST + i] !=
		    (quoted->sender_high ? quoted->key.high[i] : quoted->key.low[i]))
			return 0;
	sender = direction == DIRECTION_ORIGINAL ? flow->from_tag : flow->to_tag;
	other = direction == DIRECTION_ORIGINAL ? flow->to_tag : flow->from_tag;
	if ((to_tag && to_tag != sender) || (from_tag != other && from_tag != IMAGE_TAG_SELF))
		return 0;
	j->outcome = OUTCOME_PASS;
	j->by = BY_FLOW;
	j->rule = flow->rule;
	j->mark = sender == IMAGE_TAG_SELF ? MARK_SELF : MARK_REPLY;
	if (translated && sender != IMAGE_TAG_SELF && host_nat(host)->departs)
		j->mark = MARK_DEFERRED;
	j->leave_tag = (__u16)sender;
	if (sender == IMAGE_TAG_SELF && (flow->translation.flags & TRANSLATION_STAYS))
		j->stays = STAYS;
	host_count(host, STAT_BY_FLOW);
	return 1;
}

#endif
