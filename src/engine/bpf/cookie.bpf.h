// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * SYN cookies at arrival: an ACK that bears one is judged as its SYN, and then handed to the socket
 * that listens, with what the SYN had offered. The stack, which knows nothing of the SYN, takes the
 * connection from there (bpf_sk_assign_tcp_reqsk(), Linux 6.9).
 *
 * Included once, by reeve.bpf.c, behind steps.bpf.h.
 */
#ifndef REEVE_ENGINE_BPF_COOKIE_BPF_H
#define REEVE_ENGINE_BPF_COOKIE_BPF_H

#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include "engine/bpf/steps.bpf.h"

#define TCP_STATE_LISTEN 10
#define SEGMENTS_TOLD 4 /* sizes that a cookie can tell apart */

struct bpf_tcp_req_attrs {
	__u32 rcv_tsval, rcv_tsecr;
	__u16 mss;
	__u8 rcv_wscale, snd_wscale;
	__u8 ecn_ok, wscale_ok, sack_ok, tstamp_ok, usec_ts_ok;
	__u8 reserved[3];
};

/* The kernel's, but for what nobody here reads. */
struct sock {
	__u16 sk_type;
} __attribute__((preserve_access_index));

extern int bpf_sk_assign_tcp_reqsk(struct __sk_buff *skb, struct sock *sk,
				   struct bpf_tcp_req_attrs *attrs, int attrs__sz) __ksym __weak;

/* Can the kernel be handed a connection? The loader finds out by trying. */
const volatile __u32 know_cookies;

/* What an ACK and its SYN look like to the helpers, and what was found. */
struct cookie_room {
	union {
		struct iphdr v4;
		struct ipv6hdr v6;
	} ip;
	struct tcphdr tcp;
	__u8 options[4];
	struct options_search search;
	struct cookie cookie;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cookie_room);
} cookie_rooms SEC(".maps");

#include "engine/bpf/options.bpf.h"

static __always_inline void cookie_heads(struct cookie_room *own, const struct packet *p)
{
	const __u32 *word = p->fields.word;
	__u32 i;

	memset(&own->ip, 0, sizeof(own->ip));
	memset(&own->tcp, 0, sizeof(own->tcp));
	if (word[FIELD_FAMILY] == 4) {
		own->ip.v4.version = 4;
		own->ip.v4.ihl = 5;
		own->ip.v4.protocol = PROTOCOL_TCP;
		own->ip.v4.saddr = to_be32(word[FIELD_SRC]);
		own->ip.v4.daddr = to_be32(word[FIELD_DST]);
	} else {
		own->ip.v6.version = 6;
		own->ip.v6.nexthdr = PROTOCOL_TCP;
#pragma clang loop unroll(full)
		for (i = 0; i < 4; i++) {
			own->ip.v6.saddr.in6_u.u6_addr32[i] = to_be32(word[FIELD_SRC + i]);
			own->ip.v6.daddr.in6_u.u6_addr32[i] = to_be32(word[FIELD_DST + i]);
		}
	}
	own->tcp.source = to_be16(word[FIELD_SRC_PORT]);
	own->tcp.dest = to_be16(word[FIELD_DST_PORT]);
	own->tcp.seq = to_be32(p->numbers.seq);
	own->tcp.ack_seq = to_be32(p->numbers.ack);
	own->tcp.ack = 1;
	own->tcp.doff = 5;
}

static __always_inline int cookie_right(struct cookie_room *own, __u32 family)
{
	if (family == 4)
		return !bpf_tcp_raw_check_syncookie_ipv4(&own->ip.v4, &own->tcp);
	return !bpf_tcp_raw_check_syncookie_ipv6(&own->ip.v6, &own->tcp);
}

/*
 * The size of segments that the cookie holds. The kernel does not tell, but it makes the same
 * cookie of the same SYN, within a minute or so; of one that is older the least is taken.
 */
static __always_inline __u32 cookie_segments(struct cookie_room *own, __u32 family)
{
	__u32 cookie = from_be32(own->tcp.ack_seq) - 1, size = 0xffff, i;
	__s64 made;

	own->tcp.seq = to_be32(from_be32(own->tcp.seq) - 1);
	own->tcp.ack_seq = 0;
	own->tcp.ack = 0;
	own->tcp.syn = 1;
	own->tcp.doff = 6;
	own->options[0] = TCP_OPTION_MSS;
	own->options[1] = 4;
#pragma clang loop unroll(full)
	for (i = 0; i < SEGMENTS_TOLD; i++) {
		own->options[2] = (__u8)(size >> 8);
		own->options[3] = (__u8)size;
		made = family == 4 ? bpf_tcp_raw_gen_syncookie_ipv4(&own->ip.v4, &own->tcp, 24) :
				     bpf_tcp_raw_gen_syncookie_ipv6(&own->ip.v6, &own->tcp, 24);
		if (made < 0)
			break;
		if ((__u32)made == cookie)
			return (__u32)(made >> 32) & 0xffff;
		size = ((__u32)(made >> 32) & 0xffff) - 1;
	}
	return family == 4 ? 536 : 1220;
}

__noinline int step_cookie(struct __sk_buff *skb, struct room *room)
{
	struct cookie_room *own;
	__u32 zero = 0, length;
	struct packet *p;

	if (!know_cookies || !room)
		return 0;
	own = bpf_map_lookup_elem(&cookie_rooms, &zero);
	if (!own)
		return 0;
	p = &room->packet;
	if (!cookie_possible(p))
		return 0;
	cookie_heads(own, p);
	if (!cookie_right(own, p->fields.word[FIELD_FAMILY]))
		return 0;
	length = p->tcp_header;
	forget(length);
	if (length < sizeof(struct wire_tcp) || length > TCP_HEADER_MAX ||
	    bpf_skb_load_bytes(skb, p->l4, own->search.tcp, length))
		return 0;
	options_begin(&own->search, length);
	host_options_search(&own->search);
	own->cookie.told = own->search.told;
	stamp_read(&own->cookie.told);
	own->cookie.mss = cookie_segments(own, p->fields.word[FIELD_FAMILY]);
	cookie_turn(p, &own->cookie);
	return 1;
}

static __always_inline int host_knows_cookies(host_t *host)
{
	return !!know_cookies;
}

static __always_inline int host_cookie(host_t *host)
{
	return step_cookie(host->skb, host->room);
}

/* Back to the ACK's own head, for the tables and for the socket. */
__noinline int step_cookie_flow(void)
{
	struct cookie_room *own;
	__u32 zero = 0;
	host_t host;
	struct room *room;

	if (!know_cookies)
		return 0;
	room = host_light(&host);
	own = bpf_map_lookup_elem(&cookie_rooms, &zero);
	if (!room || !own)
		return 0;
	host.room = room;
	host.stats = bpf_map_lookup_elem(&stats, &zero);
	handshake_complete(&host, &own->cookie);
	return 0;
}

static __always_inline void cookie_attributes(struct bpf_tcp_req_attrs *attributes,
					      const struct cookie *cookie)
{
	const struct tcp_told *told = &cookie->told;

	memset(attributes, 0, sizeof(*attributes));
	attributes->mss = (__u16)cookie->mss;
	if (!(told->flags & TOLD_STAMPS))
		return;
	attributes->tstamp_ok = 1;
	attributes->rcv_tsval = told->stamp;
	attributes->rcv_tsecr = told->echo;
	attributes->sack_ok = !!(told->flags & TOLD_SACK);
	if (told->scale == SCALE_NONE)
		return;
	attributes->wscale_ok = 1;
	attributes->snd_wscale = told->scale;
	attributes->rcv_wscale = COOKIE_SCALE;
}

/* Negative: nobody listens, or the kernel does not take it. The stack then answers with a reset. */
__noinline int step_cookie_assign(struct __sk_buff *skb, struct room *room)
{
	struct bpf_tcp_req_attrs attributes;
	struct bpf_sock_tuple tuple = {};
	struct cookie_room *own;
	struct tcp_sock *listener;
	struct bpf_sock *sock;
	__u32 zero = 0, i;
	const __u32 *word;
	int result = -1;

	if (!know_cookies || !room)
		return -1;
	own = bpf_map_lookup_elem(&cookie_rooms, &zero);
	if (!own)
		return -1;
	word = room->packet.fields.word;
	if (word[FIELD_FAMILY] == 4) {
		tuple.ipv4.saddr = to_be32(word[FIELD_SRC]);
		tuple.ipv4.daddr = to_be32(word[FIELD_DST]);
		tuple.ipv4.sport = to_be16(word[FIELD_SRC_PORT]);
		tuple.ipv4.dport = to_be16(word[FIELD_DST_PORT]);
		sock = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
#pragma clang loop unroll(full)
		for (i = 0; i < 4; i++) {
			tuple.ipv6.saddr[i] = to_be32(word[FIELD_SRC + i]);
			tuple.ipv6.daddr[i] = to_be32(word[FIELD_DST + i]);
		}
		tuple.ipv6.sport = to_be16(word[FIELD_SRC_PORT]);
		tuple.ipv6.dport = to_be16(word[FIELD_DST_PORT]);
		sock = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sock)
		return -1;
	if (sock->state == TCP_STATE_LISTEN) {
		cookie_attributes(&attributes, &own->cookie);
		listener = bpf_skc_to_tcp_sock(sock);
		if (listener)
			result = bpf_sk_assign_tcp_reqsk(skb, (struct sock *)listener, &attributes,
							 sizeof(attributes));
	}
	bpf_sk_release(sock);
	return result;
}

static __always_inline void host_cookie_accept(host_t *host, struct __sk_buff *skb)
{
	step_cookie_flow();
	step_cookie_assign(skb, host->room);
}

#endif
