// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * SYN cookies: the answer to a SYN of which nothing is remembered, and what the ACK that comes back
 * tells of it.
 *
 * The cookie itself, which is the answer's sequence number, is the kernel's: it makes and checks
 * it, and it holds a size of segments. What else the SYN offered goes into the timestamp that the other
 * end echoes, as Linux's own cookies do it: window scale and selective acknowledgements. Without
 * timestamps a connection has neither.
 *
 *	bits of the timestamp	5		4	3 .. 0
 *				0		sack	window scale of the originator, 15: none
 *
 * Header fields are in network byte order where their type says so (be16, be32). The host defines,
 * behind this file:
 *	void host_options_search(struct options_search *)
 *				runs options_step() at most TCP_OPTIONS_MAX times
 */
#ifndef REEVE_CORE_COOKIE_H
#define REEVE_CORE_COOKIE_H

#include "core/flow.h"
#include "core/packet.h"

#define TCP_HEADER_MAX 60u
#define TCP_ROOM 80u /* for a TCP header, and so much behind it that no option ends outside */

#define TCP_OPTION_SACK 4
#define TCP_OPTION_STAMPS 8

#define STAMP_BITS 0x3fu
#define STAMP_SCALE 0x0fu /* 15: none */
#define STAMP_SACK 0x10u

#define COOKIE_WINDOW 64240u /* what the answer lets the other end send at once */
#define COOKIE_SCALE 7u	     /* of this end's windows from then on */
#define COOKIE_TTL 64
#define SYNACK_OPTIONS 5u    /* words */

enum told_flags {
	TOLD_SACK = 1,
	TOLD_STAMPS = 2,
};

/* What the options of a segment say. */
struct tcp_told {
	__u32 stamp, echo;
	__u16 mss;  /* 0: nothing */
	__u8 scale; /* SCALE_NONE */
	__u8 flags; /* enum told_flags */
};

/* A TCP header, and the search through its options. */
struct options_search {
	__u8 tcp[TCP_ROOM];
	__u32 at, end;
	struct tcp_told told;
};

/* The answer, ready to be sent behind a link header. */
struct synack {
	union {
		struct wire_ipv4 v4;
		struct wire_ipv6 v6;
	} ip;
	struct wire_tcp tcp;
	be32 options[SYNACK_OPTIONS];
	__u32 tcp_length; /* of the header with options: all there is behind the IP header */
};

static __always_inline be16 to_be16(__u32 value)
{
	return __builtin_bswap16((__u16)value);
}

static __always_inline be32 to_be32(__u32 value)
{
	return __builtin_bswap32(value);
}

static __always_inline __u32 be32_at(const __u8 *bytes)
{
	return (__u32)bytes[0] << 24 | (__u32)bytes[1] << 16 | (__u32)bytes[2] << 8 | bytes[3];
}

/* The header of `length` bytes is there. */
static __always_inline void options_begin(struct options_search *search, __u32 length)
{
	__builtin_memset(&search->told, 0, sizeof(search->told));
	search->at = sizeof(struct wire_tcp);
	search->end = length;
	search->told.scale = SCALE_NONE;
}

/* One option. Non-zero when the search is over; options out of shape end it. */
static __always_inline int options_step(struct options_search *search)
{
	const __u8 *option = search->tcp + (search->at & 63);
	__u32 kind, length;

	if (search->at >= search->end || option[0] == TCP_OPTION_END)
		return 1;
	kind = option[0];
	if (kind == TCP_OPTION_NOP) {
		search->at++;
		return 0;
	}
	length = option[1];
	if (length < 2 || search->at + length > search->end)
		return 1;
	if (kind == TCP_OPTION_MSS && length == 4) {
		search->told.mss = (__u16)(option[2] << 8 | option[3]);
	} else if (kind == TCP_OPTION_WINDOW_SCALE && length == 3) {
		search->told.scale = option[2] > SCALE_MAX ? SCALE_MAX : option[2];
	} else if (kind == TCP_OPTION_SACK && length == 2) {
		search->told.flags |= TOLD_SACK;
	} else if (kind == TCP_OPTION_STAMPS && length == 10) {
		search->told.stamp = be32_at(option + 2);
		search->told.echo = be32_at(option + 6);
		search->told.flags |= TOLD_STAMPS;
	}
	search->at += length;
	return 0;
}

/* The timestamp that says what a SYN offered; `clock` counts milliseconds. */
static __always_inline __u32 stamp_make(__u32 clock, const struct tcp_told *told)
{
	__u32 scale = told->scale > SCALE_MAX ? STAMP_SCALE : told->scale;

	return (clock & ~STAMP_BITS) | scale | (told->flags & TOLD_SACK ? STAMP_SACK : 0);
}

/* What was offered, from the echo in *told, the options of the ACK. */
static __always_inline void stamp_read(struct tcp_told *told)
{
	__u32 scale = told->echo & STAMP_SCALE;

	told->scale = SCALE_NONE;
	if (!(told->flags & TOLD_STAMPS)) {
		told->flags = 0;
		return;
	}
	if (scale <= SCALE_MAX)
		told->scale = (__u8)scale;
	told->flags = (__u8)(TOLD_STAMPS | (told->echo & STAMP_SACK ? TOLD_SACK : 0));
}

/* --- checksums ------------------------------------------------------------------------ */

/* A word of whatever was written as something else. */
typedef be16 __attribute__((may_alias)) any_be16;

static __always_inline __u32 sum_words(__u32 sum, const void *bytes, __u32 length)
{
	const any_be16 *word = bytes;
	__u32 i;

#pragma clang loop unroll(full)
	for (i = 0; i < length / 2; i++)
		sum += word[i];
	return sum;
}

static __always_inline __u16 sum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)((sum & 0xffff) + (sum >> 16));
}

/* Of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1); addresses of `length` bytes in a row. */
static __always_inline __u32 sum_pseudo(const void *addresses, __u32 length, __u32 tcp_length)
{
	return sum_words((__u32)to_be16(PROTOCOL_TCP) + to_be16(tcp_length), addresses, length);
}

/* --- the answer ----------------------------------------------------------------------- */

/*
 * Never longer than the SYN's options were: nothing is said that it did not offer. Without
 * timestamps there is nobody to remember the scale.
 */
static __always_inline void synack_options(struct synack *answer, const struct tcp_told *told,
					   __u32 mss, __u32 stamp)
{
	__u32 n = 0, first;

	__builtin_memset(answer->options, 0, sizeof(answer->options));
	if (told->mss)
		answer->options[n++] = to_be32((__u32)TCP_OPTION_MSS << 24 | 4 << 16 | mss);
	if (told->flags & TOLD_STAMPS) {
		first = (__u32)TCP_OPTION_NOP << 24 | TCP_OPTION_NOP << 16;
		if (told->flags & TOLD_SACK)
			first = (__u32)TCP_OPTION_SACK << 24 | 2 << 16;
		answer->options[n++] = to_be32(first | TCP_OPTION_STAMPS << 8 | 10);
		answer->options[n++] = to_be32(stamp);
		answer->options[n++] = to_be32(told->stamp);
		if (told->scale != SCALE_NONE)
			answer->options[n++] = to_be32((__u32)TCP_OPTION_NOP << 24 |
						       TCP_OPTION_WINDOW_SCALE << 16 | 3 << 8 |
						       COOKIE_SCALE);
	}
	answer->tcp_length = (__u32)sizeof(struct wire_tcp) + 4 * n;
}

/*
 * answer->ip.v4 or .v6 is the SYN's header, *syn its TCP header. `partial`: the device completes
 * the checksum, as it would have done with the SYN's.
 */
static __always_inline void synack_make(struct synack *answer, __u32 family,
					const struct wire_tcp *syn, const struct tcp_told *told,
					__u32 cookie, __u32 mss, __u32 clock, int partial)
{
	struct wire_ipv4 *v4 = &answer->ip.v4;
	struct wire_ipv6 *v6 = &answer->ip.v6;
	__u32 sum, i;
	be32 word;

	synack_options(answer, told, mss, stamp_make(clock, told));
	if (family == 4) {
		word = v4->src;
		v4->src = v4->dst;
		v4->dst = word;
		v4->version_ihl = 0x45;
		v4->tos = 0;
		v4->length = to_be16((__u32)sizeof(*v4) + answer->tcp_length);
		v4->id = 0;
		v4->fragment = to_be16(0x4000);
		v4->ttl = COOKIE_TTL;
		v4->protocol = PROTOCOL_TCP;
		v4->checksum = 0;
		v4->checksum = (__u16)~sum_fold(sum_words(0, v4, sizeof(*v4)));
		sum = sum_pseudo(&v4->src, 8, answer->tcp_length);
	} else {
#pragma clang loop unroll(full)
		for (i = 0; i < 4; i++) {
			word = v6->src[i];
			v6->src[i] = v6->dst[i];
			v6->dst[i] = word;
		}
		v6->version_class_flow = to_be32(6u << 28);
		v6->length = to_be16(answer->tcp_length);
		v6->next = PROTOCOL_TCP;
		v6->hop_limit = COOKIE_TTL;
		sum = sum_pseudo(v6->src, 32, answer->tcp_length);
	}
	answer->tcp.src = syn->dst;
	answer->tcp.dst = syn->src;
	answer->tcp.seq = to_be32(cookie);
	answer->tcp.ack = to_be32(from_be32(syn->seq) + 1);
	answer->tcp.offset = (__u8)(answer->tcp_length / 4 << 4);
	answer->tcp.flags = TCP_SYN | TCP_ACK;
	answer->tcp.window = to_be16(COOKIE_WINDOW);
	answer->tcp.urgent = 0;
	answer->tcp.checksum = 0;
	if (partial)
		answer->tcp.checksum = sum_fold(sum);
	else
		answer->tcp.checksum = (__u16)~sum_fold(sum_words(
			sum, &answer->tcp, sizeof(answer->tcp) + sizeof(answer->options)));
}

enum syn_checksum {
	SYN_CHECKSUM_WRONG,
	SYN_CHECKSUM_WHOLE,
	SYN_CHECKSUM_PARTIAL, /* of the pseudo header only: the device, or nobody, completes it */
};

/* `tcp`: the header of a SYN without data, zero behind it; `pseudo` by sum_pseudo(). */
static __always_inline enum syn_checksum syn_checksum(const __u8 *tcp, __u32 pseudo)
{
	if (sum_fold(sum_words(pseudo, tcp, TCP_HEADER_MAX)) == 0xffff)
		return SYN_CHECKSUM_WHOLE;
	return *(const any_be16 *)(const void *)(tcp + 16) == sum_fold(pseudo) ?
		       SYN_CHECKSUM_PARTIAL : SYN_CHECKSUM_WRONG;
}

/* --- the ACK -------------------------------------------------------------------------- */

/* An ACK that bore a cookie, as it came, and what it told. */
struct cookie {
	struct numbers ack;
	struct tcp_told told;
	__u32 mss;
};

/* An ACK, whole, that was not looked at yet. */
static __always_inline int cookie_possible(const struct packet *p)
{
	__u32 flags = p->fields.word[FIELD_TCP_FLAGS];

	return p->fields.word[FIELD_PROTOCOL] == PROTOCOL_TCP && !p->cookie &&
	       !(p->flags & (PACKET_FRAGMENT | PACKET_GROUP)) &&
	       (flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) == TCP_ACK;
}

/*
 * Makes of the ACK in *p the SYN that was answered, as far as rules and flows see one: they are
 * asked whether such a connection may begin.
 */
static __always_inline void cookie_turn(struct packet *p, struct cookie *cookie)
{
	cookie->ack = p->numbers;
	p->numbers.seq--;
	p->numbers.ack = 0;
	p->numbers.length = 0;
	p->numbers.scale = cookie->told.scale;
	p->fields.word[FIELD_TCP_FLAGS] = TCP_SYN;
	p->fields.word[FIELD_STATE] = STATE_NEW;
	p->cookie = 1;
}

/* The answer that was given, from what came back. */
static __always_inline void cookie_answer(const struct cookie *cookie, struct numbers *answer)
{
	answer->seq = cookie->ack.ack - 1;
	answer->ack = cookie->ack.seq;
	answer->length = 0;
	answer->window = COOKIE_WINDOW;
	answer->scale = cookie->told.scale == SCALE_NONE ? SCALE_NONE : COOKIE_SCALE;
	answer->fragment = 0;
}

#endif
