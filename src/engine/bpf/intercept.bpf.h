// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Interception in the kernel: whose socket is it, and who listens (core/intercept.h).
 *
 * A socket that is assigned to a packet gets it whatever the packet's addresses are, once the routes
 * have let it stay here. It is looked for as for a packet that arrives by this interface.
 *
 * Included once, by steps.bpf.h.
 */
#ifndef REEVE_ENGINE_BPF_INTERCEPT_BPF_H
#define REEVE_ENGINE_BPF_INTERCEPT_BPF_H

enum socket_question {
	SOCKET_OWN,	/* is there one of the packet's own tuple? */
	SOCKET_LISTENS, /* does one listen at the target? */
	SOCKET_HAND,	/* likewise; it gets the packet */
};

/* From the packet's source to its own destination, or to the target. Returns its length. */
static __always_inline __u32 socket_tuple(struct bpf_sock_tuple *tuple, const struct packet *p,
					  const struct nat_room *nat, __u32 own)
{
	const __u32 *dst = own ? &p->fields.word[FIELD_DST] : nat->asked.dst;
	__u16 port = own ? (__u16)p->fields.word[FIELD_DST_PORT] : nat->asked.port;
	__u16 source = (__u16)p->fields.word[FIELD_SRC_PORT];
	__u32 i;

	if (p->fields.word[FIELD_FAMILY] == 4) {
		tuple->ipv4.saddr = bpf_htonl(p->fields.word[FIELD_SRC]);
		tuple->ipv4.daddr = bpf_htonl(dst[0]);
		tuple->ipv4.sport = bpf_htons(source);
		tuple->ipv4.dport = bpf_htons(port);
		return sizeof(tuple->ipv4);
	}
#pragma clang loop unroll(full)
	for (i = 0; i < 4; i++) {
		tuple->ipv6.saddr[i] = bpf_htonl(p->fields.word[FIELD_SRC + i]);
		tuple->ipv6.daddr[i] = bpf_htonl(dst[i]);
	}
	tuple->ipv6.sport = bpf_htons(source);
	tuple->ipv6.dport = bpf_htons(port);
	return sizeof(tuple->ipv6);
}

static __always_inline struct bpf_sock *socket_find(struct __sk_buff *skb,
						    struct bpf_sock_tuple *tuple, __u32 length,
						    __u32 udp)
{
	/* The length is a constant on each way: verifiers want to see it. */
	if (length == sizeof(tuple->ipv4))
		return udp ? bpf_sk_lookup_udp(skb, tuple, sizeof(tuple->ipv4), BPF_F_CURRENT_NETNS, 0) :
			     bpf_skc_lookup_tcp(skb, tuple, sizeof(tuple->ipv4), BPF_F_CURRENT_NETNS, 0);
	return udp ? bpf_sk_lookup_udp(skb, tuple, sizeof(tuple->ipv6), BPF_F_CURRENT_NETNS, 0) :
		     bpf_skc_lookup_tcp(skb, tuple, sizeof(tuple->ipv6), BPF_F_CURRENT_NETNS, 0);
}

/* `question`: enum socket_question. 1 or 0. */
static __always_inline int socket_ask(struct __sk_buff *skb, __u32 question, __u32 udp)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	struct room *room;
	__u32 length;
	host_t host;
	int result;

	room = host_light(&host);
	if (!room)
		return 0;
	length = socket_tuple(&tuple, &room->packet, host.nat, question == SOCKET_OWN);
	socket = socket_find(skb, &tuple, length, udp);
	if (!socket)
		return 0;
	/* A socket of UDP that speaks with one end is in the same state as a connection. */
	if (udp)
		result = (socket->state == BPF_TCP_ESTABLISHED) == (question == SOCKET_OWN);
	else
		result = (socket->state == BPF_TCP_LISTEN) == (question != SOCKET_OWN);
	if (result && question == SOCKET_HAND)
		result = !bpf_sk_assign(skb, socket, 0);
	bpf_sk_release(socket);
	return result;
}

/* Two functions: to the verifier sockets of TCP and of UDP are of two types. */
__noinline int step_socket_tcp(struct __sk_buff *skb, __u32 question)
{
	return socket_ask(skb, question, 0);
}

__noinline int step_socket_udp(struct __sk_buff *skb, __u32 question)
{
	return socket_ask(skb, question, 1);
}

static __always_inline int step_socket(host_t *host, __u32 question)
{
	return host->packet->fields.word[FIELD_PROTOCOL] == PROTOCOL_UDP ?
		       step_socket_udp(host->skb, question) : step_socket_tcp(host->skb, question);
}

static __always_inline int host_socket_own(host_t *host)
{
	return step_socket(host, SOCKET_OWN);
}

static __always_inline int host_socket_listens(host_t *host, __u32 hand)
{
	return step_socket(host, hand ? SOCKET_HAND : SOCKET_LISTENS);
}

__noinline int step_intercept(struct __sk_buff *skb, struct room *room, __u32 slot, __u32 leaves)
{
	host_t host;

	if (!room || host_reopen(&host, skb, slot))
		return INTERCEPT_NOT;
	return judge_intercept(&host, &host.room->judgement, leaves);
}

static __always_inline int host_intercept(host_t *host, struct judgement *j, __u32 leaves)
{
	return step_intercept(host->skb, host->room, host->slot, leaves);
}

__noinline int step_stays(struct __sk_buff *skb, __u32 reply)
{
	host_t host;
	struct room *room = host_light(&host);

	if (!room)
		return 0;
	host.skb = skb;
	flow_stays(&host, &room->key, &room->judgement, reply);
	return 0;
}

static __always_inline void host_stays(host_t *host, const struct flow_key *key,
				       struct judgement *j, __u32 reply)
{
	step_stays(host->skb, reply);
}

__noinline int step_hand_over(struct __sk_buff *skb, struct room *room, __u32 slot)
{
	host_t host;

	if (!room || host_reopen(&host, skb, slot))
		return 0;
	return hand_over(&host, &host.room->judgement);
}

static __always_inline int host_hand_over(host_t *host, struct judgement *j)
{
	return step_hand_over(host->skb, host->room, host->slot);
}

#endif
