// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Fragments: later ones have no ports, so they follow their first one. Part of judge.h, which includes
 * it.
 */
#ifndef REEVE_CORE_JUDGE_FRAGMENT_H
#define REEVE_CORE_JUDGE_FRAGMENT_H

static __always_inline void fragment_key_make(const struct packet *p, __u32 from_tag, __u32 to_tag,
					      struct fragment_key *key)
{
	__u32 i;

#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++) {
		key->src[i] = p->fields.word[FIELD_SRC + i];
		key->dst[i] = p->fields.word[FIELD_DST + i];
	}
	key->id = p->fragment_id;
	key->from_tag = (__u16)from_tag;
	key->to_tag = (__u16)to_tag;
	key->family = (__u8)p->fields.word[FIELD_FAMILY];
	key->protocol = key->family == 4 ? (__u8)p->fields.word[FIELD_PROTOCOL] : 0;
	key->zero = 0;
}

/* A first fragment passes between these zones: others follow it. */
static __always_inline void fragment_note(host_t *host, struct judgement *j, __u32 from_tag,
					  __u32 to_tag)
{
	struct fragment first = {
		.seen = host_now(host),
		.end = host->packet->fragment_at,
		.rule = j->rule,
	};
	struct fragment_key key;

	if (host_translates(host) && host_nat(host)->rewrite == REWRITE_SOURCE) {
		first.rewrite = REWRITE_SOURCE;
		address_copy(first.address, host_nat(host)->address);
	}
	fragment_key_make(host->packet, from_tag, to_tag, &key);
	host_fragment_put(host, &key, &first);
}

/*
 * A later fragment: does it follow a first one? Otherwise it meets the rules that say `fragment`. 1
 * when it is decided.
 */
static __always_inline int fragment_follow(host_t *host, struct judgement *j)
{
	const struct fragment *first;
	struct fragment_key key;
	__u64 now = host_now(host);

	fragment_key_make(host->packet, j->from_tag, j->to_tag, &key);
	first = host_fragment_find(host, &key);
	if (!first || (now > first->seen && now - first->seen > FRAGMENT_LIFETIME))
		return 0;
	if (host->packet->fragment_at < first->end) {
		host->packet->sanity = SANITY_OVERLAP;
		judge_malformed(host, j);
		return 1;
	}
	j->outcome = OUTCOME_PASS;
	j->by = BY_FLOW;
	j->rule = first->rule;
	if (first->rewrite && host_translates(host)) {
		host_nat(host)->rewrite = first->rewrite;
		address_copy(host_nat(host)->address, first->address);
	}
	host_count(host, STAT_BY_FLOW);
	return 1;
}

/*
 * A first fragment's destination was translated on arrival: later ones follow it, under a key
 * without the zone that they go to.
 */
static __always_inline void fragment_note_arrival(host_t *host, __u32 from_tag)
{
	struct nat_room *nat = host_nat(host);
	struct fragment first = {
		.seen = host_now(host),
		.rewrite = REWRITE_DESTINATION,
	};
	struct fragment_key key;

	address_copy(first.address, nat->address);
	fragment_key_make(host->packet, from_tag, 0, &key);
	address_copy(key.dst, nat->old);
	host_fragment_put(host, &key, &first);
}

/* A later fragment arrives: is its destination translated with that of its first one? */
static __always_inline void fragment_translate(host_t *host, __u32 from_tag)
{
	struct nat_room *nat = host_nat(host);
	const struct fragment *first;
	struct fragment_key key;
	__u64 now = host_now(host);

	fragment_key_make(host->packet, from_tag, 0, &key);
	first = host_fragment_find(host, &key);
	if (!first || (now > first->seen && now - first->seen > FRAGMENT_LIFETIME))
		return;
	nat->rewrite = REWRITE_DESTINATION;
	address_copy(nat->address, first->address);
	translation_apply(nat, host->packet);
}

static __always_inline int first_fragment(const struct packet *p)
{
	return (p->flags & PACKET_FRAGMENT) && !p->fields.word[FIELD_FRAGMENT];
}

#endif
