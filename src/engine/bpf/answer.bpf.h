// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Answers to rejected packets: a TCP reset (RFC 9293, 3.10.7.1) or an ICMP error (RFC 792, 4443),
 * built in the packet itself.
 *
 * Which way an answer goes:
 *	rejected on arrival		   back out of the device it came from, to the link-layer sender
 *	rejected at departure, forwarded   out of the device it came in by, to the neighbour that leads to its sender
 *	rejected at departure, own	   in by the device it was about to leave by, as if the other end had sent it
 *	the same, forwarded and already translated by others (masquerade)	likewise: they translate the answer back
 *
 * The source address is always the one the sender spoke to, so no other address of this host shows
 * and no route says "martian". Never answered: ICMP errors, resets, broadcast, multicast, later
 * fragments, packets without a source (RFC 1122, 3.2.2).
 */
#ifndef REEVE_ENGINE_BPF_ANSWER_BPF_H
#define REEVE_ENGINE_BPF_ANSWER_BPF_H

#define ANSWER_NONE (-100)    /* it may not be answered; the packet is untouched */
#define ANSWER_LIMITED (-101) /* over the rate; the packet is untouched */

#define QUOTE_MAX 128u /* bytes of the packet that an ICMP error quotes: more than RFC 792 asks for */
#define ANSWER_TTL 64
#define CHECKSUM_ROOM 256u /* behind the IP header while a pending checksum is moved out of the way */

struct answer_buffer {
	union {
		struct wire_ipv4 v4;
		struct wire_ipv6 v6;
	} ip;
	union {
		struct wire_tcp tcp;
		struct {
			struct wire_icmp header;
			__u8 quote[QUOTE_MAX];
		} icmp;
	} l4;
	struct bpf_fib_lookup fib; /* not part of the answer: here, because the stack is short */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct answer_buffer);
} answer_room SEC(".maps");

static const struct {
	__u8 type4, code4, type6, code6;
} icmp_error[REJECT_KINDS] = {
	[REJECT_DEFAULT] = { 3, 3, 1, 4 },
	[REJECT_TCP_RESET] = { 3, 3, 1, 4 },
	[REJECT_NET_UNREACHABLE] = { 3, 0, 1, 0 },
	[REJECT_HOST_UNREACHABLE] = { 3, 1, 1, 3 },
	[REJECT_PROTO_UNREACHABLE] = { 3, 2, 4, 1 },
	[REJECT_PORT_UNREACHABLE] = { 3, 3, 1, 4 },
	[REJECT_NET_PROHIBITED] = { 3, 9, 1, 1 },
	[REJECT_HOST_PROHIBITED] = { 3, 10, 1, 1 },
	[REJECT_ADMIN_PROHIBITED] = { 3, 13, 1, 1 },
};

static __always_inline __u16 checksum_fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

static __always_inline __u32 checksum_sum(void *bytes, __u32 length, __u32 seed)
{
	return (__u32)bpf_csum_diff(0, 0, bytes, length, seed);
}

/* The sum over the pseudo header of a packet from `src` to `dst` (host order words). */
static __always_inline __u32 pseudo_sum(const __u32 *src, const __u32 *dst, __u32 length,
					__u32 protocol)
{
	__u64 sum = (__u64)bpf_htonl(length) + bpf_htonl(protocol);

	/* Added up here, word by word: for the helper it would have to be laid out on the stack. */
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < 4; i++)
		sum += (__u64)bpf_htonl(src[i]) + bpf_htonl(dst[i]);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)(sum + (sum >> 32));
}

/* One second's budget, over all CPUs. A race lets a few more through, never none. */
static __always_inline int answer_allowed(void)
{
	__u64 window = bpf_ktime_get_coarse_ns() / SECOND;
	struct answer_budget *budget;
	__u32 zero = 0;

	budget = bpf_map_lookup_elem(&answers, &zero);
	if (!budget)
		return 0;
	if (budget->window != window) {
		budget->window = window;
		budget->used = 0;
	}
	return __sync_fetch_and_add(&budget->used, 1) < ANSWERS_PER_SECOND;
}

/*
 * RFC 9293, 3.10.7.1: the reset takes its number from the ACK, or else acknowledges all that came.
 */
static __always_inline void answer_tcp(const struct packet *p, struct wire_tcp *tcp)
{
	const __u32 *src = &p->fields.word[FIELD_SRC], *dst = &p->fields.word[FIELD_DST];
	__u32 flags = p->fields.word[FIELD_TCP_FLAGS];
	__u32 segment = p->length - (__u32)(p->l4 - p->l3);

	memset(tcp, 0, sizeof(*tcp));
	tcp->src = bpf_htons((__u16)p->fields.word[FIELD_DST_PORT]);
	tcp->dst = bpf_htons((__u16)p->fields.word[FIELD_SRC_PORT]);
	tcp->offset = sizeof(*tcp) / 4 << 4;
	if (flags & TCP_ACK) {
		tcp->seq = bpf_htonl(p->numbers.ack);
		tcp->flags = TCP_RST;
	} else {
		__u32 length = segment - p->tcp_header + !!(flags & TCP_SYN) + !!(flags & TCP_FIN);

		tcp->ack = bpf_htonl(p->numbers.seq + length);
		tcp->flags = TCP_RST | TCP_ACK;
	}
	tcp->checksum = (be16)~checksum_fold(checksum_sum(
		tcp, sizeof(*tcp), pseudo_sum(dst, src, sizeof(*tcp), PROTOCOL_TCP)));
}

/* Returns the length of the ICMP message, 0 on failure. */
static __always_inline __u32 answer_icmp(struct __sk_buff *skb, const struct packet *p,
					 __u32 reject, struct answer_buffer *buffer)
{
	int v6 = p->fields.word[FIELD_FAMILY] == 6;
	__u32 quoted = p->length, sum = 0;

	if (reject >= REJECT_KINDS)
		return 0;
	memset(&buffer->l4.icmp, 0, sizeof(buffer->l4.icmp));
	if (quoted > QUOTE_MAX)
		quoted = QUOTE_MAX;
	/* Lengths are not held against 0: verifiers before Linux 6.8 learn nothing from that. */
	forget(quoted); /* two questions of it, not one of a difference */
	if (quoted < sizeof(struct wire_ipv4))
		return 0;
	forget(quoted);
	if (quoted > QUOTE_MAX ||
	    bpf_skb_load_bytes(skb, p->l3, buffer->l4.icmp.quote, quoted))
		return 0;
	buffer->l4.icmp.header.type = v6 ? icmp_error[reject].type6 : icmp_error[reject].type4;
	buffer->l4.icmp.header.code = v6 ? icmp_error[reject].code6 : icmp_error[reject].code4;
	quoted += sizeof(struct wire_icmp);
	if (v6)
		sum = pseudo_sum(&p->fields.word[FIELD_DST], &p->fields.word[FIELD_SRC], quoted,
				 PROTOCOL_ICMPV6);
	/* What is behind the message in the buffer is zero and adds nothing. */
	sum = checksum_sum(&buffer->l4.icmp, sizeof(buffer->l4.icmp), sum);
	buffer->l4.icmp.header.checksum = (be16)~checksum_fold(sum);
	return quoted;
}

/* Fills the IP header for a message of `length` bytes; returns the header's length. */
static __always_inline __u32 answer_ip(const struct packet *p, __u32 protocol, __u32 length,
				       struct answer_buffer *buffer)
{
	const __u32 *src = &p->fields.word[FIELD_SRC], *dst = &p->fields.word[FIELD_DST];

	if (p->fields.word[FIELD_FAMILY] == 4) {
		struct wire_ipv4 *ip = &buffer->ip.v4;

		memset(ip, 0, sizeof(*ip));
		ip->version_ihl = 0x45;
		ip->length = bpf_htons((__u16)(sizeof(*ip) + length));
		ip->fragment = bpf_htons(0x4000);
		ip->ttl = ANSWER_TTL;
		ip->protocol = (__u8)protocol;
		ip->src = bpf_htonl(dst[0]);
		ip->dst = bpf_htonl(src[0]);
		ip->checksum = (be16)~checksum_fold(checksum_sum(ip, sizeof(*ip), 0));
		return sizeof(*ip);
	}
	memset(&buffer->ip.v6, 0, sizeof(buffer->ip.v6));
	buffer->ip.v6.version_class_flow = bpf_htonl(6u << 28);
	buffer->ip.v6.length = bpf_htons((__u16)length);
	buffer->ip.v6.next = (__u8)protocol;
	buffer->ip.v6.hop_limit = ANSWER_TTL;
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < 4; i++) {
		buffer->ip.v6.src[i] = bpf_htonl(dst[i]);
		buffer->ip.v6.dst[i] = bpf_htonl(src[i]);
	}
	return sizeof(struct wire_ipv6);
}

/*
 * A packet that came without a checksum (over veth, virtio, from our own sockets) has one pending:
 * whoever sends it writes the sum to where it was in that packet, amid the answer. The kernel
 * forgets it when the place to begin summing lies before the data: so the headers are moved over
 * it. What the packet held is lost. 0, or negative.
 */
static __always_inline int checksum_forget(struct __sk_buff *skb, const struct packet *p)
{
	/*
	 * Behind tags in the frame the helper does not know IP; there are no pending checksums
	 * either, for nobody makes such frames up.
	 */
	if (skb->protocol != bpf_htons(ETHERTYPE_IPV4) && skb->protocol != bpf_htons(ETHERTYPE_IPV6))
		return 0;
	if (bpf_skb_change_tail(skb, p->l4 + CHECKSUM_ROOM, 0))
		return -1;
	if (bpf_skb_adjust_room(skb, -(__s32)(p->l4 + 4), BPF_ADJ_ROOM_MAC, 0))
		return -1;
	/* Older kernels notice only at the next move. */
	return (int)bpf_skb_adjust_room(skb, -4, BPF_ADJ_ROOM_MAC, 0);
}

/*
 * Puts the answer in place of the packet. `l2` is the length of the link-layer header in front. 0,
 * or negative.
 */
static __always_inline int answer_store(struct __sk_buff *skb, struct answer_buffer *buffer,
					__u32 l2, __u32 ip, __u32 length)
{
	__u8 mac[12];

	if (l2 && bpf_skb_load_bytes(skb, 0, mac, sizeof(mac)))
		return -1;
	if (bpf_skb_change_tail(skb, l2 + ip + length, 0))
		return -1;
	if (l2) {
		be16 ethertype = bpf_htons(ip == 20 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);

		if (bpf_skb_store_bytes(skb, 0, mac + 6, 6, 0) ||
		    bpf_skb_store_bytes(skb, 6, mac, 6, 0) ||
		    bpf_skb_store_bytes(skb, 12, &ethertype, sizeof(ethertype), 0))
			return -1;
	}
	if (bpf_skb_store_bytes(skb, l2, &buffer->ip, ip == 20 ? 20 : 40, 0))
		return -1;
	forget(length);
	if (length < sizeof(struct wire_icmp))
		return -1;
	forget(length);
	if (length > sizeof(buffer->l4))
		return -1;
	return (int)bpf_skb_store_bytes(skb, l2 + ip, &buffer->l4, length, 0);
}

/* Marks the packet so that reeve's own programs know it as an answer, wherever it goes next. */
static __always_inline void skb_mark_answer(struct __sk_buff *skb, __u32 shift, __u32 witness)
{
	skb->mark |= (__u32)MARK_REPLY << (shift & 31);
	skb->tc_index = TAG_ANSWER ^ witness;
}

/*
 * Is the source of a packet that is being forwarded one of our own addresses? Then somebody has
 * translated it.
 */
static __always_inline int translated(struct __sk_buff *skb, const struct packet *p, __u32 in,
				      struct bpf_fib_lookup *fib)
{
	memset(fib, 0, sizeof(*fib));
	fib->ifindex = in;
	if (p->fields.word[FIELD_FAMILY] == 4) {
		fib->family = AF_INET;
		fib->ipv4_src = bpf_htonl(p->fields.word[FIELD_DST]);
		fib->ipv4_dst = bpf_htonl(p->fields.word[FIELD_SRC]);
	} else {
		fib->family = AF_INET6;
#pragma clang loop unroll(full)
		for (__u32 i = 0; i < 4; i++) {
			fib->ipv6_src[i] = bpf_htonl(p->fields.word[FIELD_DST + i]);
			fib->ipv6_dst[i] = bpf_htonl(p->fields.word[FIELD_SRC + i]);
		}
	}
	return bpf_fib_lookup(skb, fib, sizeof(*fib), 0) == BPF_FIB_LKUP_RET_NOT_FWDED;
}

/* Builds and sends the answer. A TC verdict, ANSWER_NONE or ANSWER_LIMITED. */
static __noinline int answer(struct __sk_buff *skb, struct packet *p, struct judgement *j,
			     __u32 ethernet)
{
	__u32 l2 = ethernet ? 14 : 0, zero = 0, length, ip, protocol, back;
	struct answer_buffer *buffer;

	if (!answerable(p))
		return ANSWER_NONE;
	if (!answer_allowed())
		return ANSWER_LIMITED;
	buffer = bpf_map_lookup_elem(&answer_room, &zero);
	if (!buffer)
		return ANSWER_NONE;
	/* Back into our own stack, and not out to a neighbour? */
	back = j->hook == HOOK_DEPART && (!j->in_ifindex || translated(skb, p, j->in_ifindex, &buffer->fib));
	if (p->fields.word[FIELD_PROTOCOL] == PROTOCOL_TCP && j->reject <= REJECT_TCP_RESET) {
		protocol = PROTOCOL_TCP;
		length = sizeof(struct wire_tcp);
		answer_tcp(p, &buffer->l4.tcp);
	} else {
		protocol = p->fields.word[FIELD_FAMILY] == 6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP;
		length = answer_icmp(skb, p, j->reject, buffer);
		if (!length)
			return ANSWER_NONE;
	}
	ip = answer_ip(p, protocol, length, buffer);
	if (skb->vlan_present && bpf_skb_vlan_pop(skb))
		return TC_ACT_SHOT;
	if (checksum_forget(skb, p))
		return TC_ACT_SHOT;
	if (j->hook == HOOK_DEPART && !back && !l2) {
		/*
		 * The neighbour's address is put into an Ethernet header, which this device does
		 * not have.
		 */
		if (bpf_skb_change_head(skb, 14, 0))
			return TC_ACT_SHOT;
		l2 = 14;
	}
	if (answer_store(skb, buffer, l2, ip, length))
		return TC_ACT_SHOT;
	if (j->hook == HOOK_ARRIVE)
		return (int)bpf_redirect(skb->ifindex, 0);
	if (back)
		return (int)bpf_redirect(skb->ifindex, BPF_F_INGRESS);
	return (int)bpf_redirect_neigh(j->in_ifindex, 0, 0, 0);
}

#endif
