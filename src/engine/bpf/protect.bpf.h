// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * `protect` at XDP: SYNs to a listening socket of this host are answered with the kernel's cookies,
 * from the frame they came in; ACKs of no connection must bear one. The kernel's table of sockets
 * says which is which, so reeve's flows, whose tables may be changed for others, are not asked.
 *
 * What arrives for somebody else goes on: forwarded packets, and frames for another station that a
 * device in promiscuous mode sees.
 *
 * Included once, by early.bpf.c, behind host_early.bpf.h.
 */
#ifndef REEVE_ENGINE_BPF_PROTECT_BPF_H
#define REEVE_ENGINE_BPF_PROTECT_BPF_H

#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include <bpf/bpf_core_read.h>

#include "core/cookie.h"
#include "engine/bpf/host_early.bpf.h"

#define AF_INET 2
#define AF_INET6 10
#define TCP_STATE_LISTEN 10
#define FRAME_MIN 60u /* an Ethernet frame without its checksum: short ones are padded with zeros */

/* As in reeve.bpf.c: without it the ACKs could not be handed over. */
const volatile __u32 know_cookies;

struct tcp_sock {
	_Bool is_mptcp;
} __attribute__((preserve_access_index));

/* Which program it is. */
enum way {
	WAY_ETHERNET = 1,
	WAY_GENERIC = 2, /* behind the driver: checksums may be left to the device */
};

struct protect_room {
	struct synack answer; /* with the IP header that came, until it is made */
	struct options_search came; /* its TCP header */
	struct wire_link link;
	__u32 l4, tcp_length, old_length;
	__u32 checksum; /* enum syn_checksum */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct protect_room);
} protect_rooms SEC(".maps");

#include "engine/bpf/options.bpf.h"

enum listener {
	LISTENER_NONE, /* or the tuple is of a connection that the kernel knows */
	LISTENER_THERE,
	LISTENER_MULTIPATH, /* MPTCP: it can be handed nothing */
};

static __always_inline enum listener listener_kind(struct bpf_sock *sock)
{
	struct tcp_sock *listener;

	if (sock->state != TCP_STATE_LISTEN)
		return LISTENER_NONE;
	listener = bpf_skc_to_tcp_sock(sock);
	if (!listener)
		return LISTENER_NONE;
	if (bpf_core_field_exists(listener->is_mptcp) && listener->is_mptcp)
		return LISTENER_MULTIPATH;
	return LISTENER_THERE;
}

static __noinline int listener(struct xdp_md *xdp, const struct packet *p)
{
	const __u32 *word = p->fields.word;
	struct bpf_sock_tuple tuple = {};
	enum listener kind;
	struct bpf_sock *sock;
	__u32 i;

	if (word[FIELD_FAMILY] == 4) {
		tuple.ipv4.saddr = to_be32(word[FIELD_SRC]);
		tuple.ipv4.daddr = to_be32(word[FIELD_DST]);
		tuple.ipv4.sport = to_be16(word[FIELD_SRC_PORT]);
		tuple.ipv4.dport = to_be16(word[FIELD_DST_PORT]);
		sock = bpf_skc_lookup_tcp(xdp, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
#pragma clang loop unroll(full)
		for (i = 0; i < 4; i++) {
			tuple.ipv6.saddr[i] = to_be32(word[FIELD_SRC + i]);
			tuple.ipv6.daddr[i] = to_be32(word[FIELD_DST + i]);
		}
		tuple.ipv6.sport = to_be16(word[FIELD_SRC_PORT]);
		tuple.ipv6.dport = to_be16(word[FIELD_DST_PORT]);
		sock = bpf_skc_lookup_tcp(xdp, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sock)
		return LISTENER_NONE;
	kind = listener_kind(sock);
	bpf_sk_release(sock);
	return (int)kind;
}

/* As route() of the tc programs: is it for this host? */
static __noinline int for_this_host(struct xdp_md *xdp, const struct packet *p)
{
	const __u32 *word = p->fields.word;
	struct bpf_fib_lookup fib = {};
	long result;
	__u32 i;

	fib.ifindex = xdp->ingress_ifindex;
	fib.l4_protocol = PROTOCOL_TCP;
	fib.sport = to_be16(word[FIELD_SRC_PORT]);
	fib.dport = to_be16(word[FIELD_DST_PORT]);
	if (word[FIELD_FAMILY] == 4) {
		fib.family = AF_INET;
		fib.tos = (__u8)(word[FIELD_DSCP] << 2);
		fib.ipv4_src = to_be32(word[FIELD_SRC]);
		fib.ipv4_dst = to_be32(word[FIELD_DST]);
	} else {
		fib.family = AF_INET6;
#pragma clang loop unroll(full)
		for (i = 0; i < 4; i++) {
			fib.ipv6_src[i] = to_be32(word[FIELD_SRC + i]);
			fib.ipv6_dst[i] = to_be32(word[FIELD_DST + i]);
		}
	}
	result = bpf_fib_lookup(xdp, &fib, sizeof(fib), 0);
	return result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH &&
	       result != BPF_FIB_LKUP_RET_UNSUPP_LWT && result != BPF_FIB_LKUP_RET_FRAG_NEEDED;
}

/* Reads the headers. Negative when it is no plain one: with IP options, tags, a fragment. */
static __always_inline int protect_read(struct xdp_md *xdp, struct protect_room *own,
					const struct packet *p, __u32 way)
{
	__u32 family = p->fields.word[FIELD_FAMILY], l3 = 0, length;
	struct wire_tcp *tcp = (struct wire_tcp *)(void *)own->came.tcp;

	if (way & WAY_ETHERNET) {
		l3 = ETHERNET_HEADER;
		if (bpf_xdp_load_bytes(xdp, 0, &own->link, sizeof(own->link)) ||
		    own->link.ethertype !=
			    to_be16(family == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6))
			return -1;
	}
	if (family == 4) {
		if (bpf_xdp_load_bytes(xdp, l3, &own->answer.ip.v4, sizeof(own->answer.ip.v4)) ||
		    own->answer.ip.v4.version_ihl != 0x45 ||
		    (own->answer.ip.v4.fragment & to_be16(0x3fff)))
			return -1;
		own->l4 = l3 + (__u32)sizeof(own->answer.ip.v4);
	} else {
		if (bpf_xdp_load_bytes(xdp, l3, &own->answer.ip.v6, sizeof(own->answer.ip.v6)) ||
		    own->answer.ip.v6.next != PROTOCOL_TCP)
			return -1;
		own->l4 = l3 + (__u32)sizeof(own->answer.ip.v6);
	}
	memset(own->came.tcp, 0, sizeof(own->came.tcp));
	if (bpf_xdp_load_bytes(xdp, own->l4, own->came.tcp, sizeof(*tcp)))
		return -1;
	length = (__u32)(tcp->offset >> 4) * 4;
	forget(length);
	if (length < sizeof(*tcp) || length > TCP_HEADER_MAX ||
	    bpf_xdp_load_bytes(xdp, own->l4, own->came.tcp, length))
		return -1;
	own->tcp_length = length;
	return 0;
}

static __always_inline __s64 cookie_make(struct protect_room *own, __u32 family)
{
	struct tcphdr *tcp = (struct tcphdr *)(void *)own->came.tcp;
	__u32 length = own->tcp_length;

	forget(length);
	if (length < sizeof(*tcp) || length > TCP_HEADER_MAX)
		return -1;
	return family == 4 ?
		       bpf_tcp_raw_gen_syncookie_ipv4((struct iphdr *)(void *)&own->answer.ip, tcp,
						      length) :
		       bpf_tcp_raw_gen_syncookie_ipv6((struct ipv6hdr *)(void *)&own->answer.ip, tcp,
						      length);
}

static __always_inline int cookie_right(struct protect_room *own, __u32 family)
{
	struct tcphdr *tcp = (struct tcphdr *)(void *)own->came.tcp;

	return !(family == 4 ?
			 bpf_tcp_raw_check_syncookie_ipv4((struct iphdr *)(void *)&own->answer.ip,
							  tcp) :
			 bpf_tcp_raw_check_syncookie_ipv6((struct ipv6hdr *)(void *)&own->answer.ip,
							  tcp));
}

/*
 * Is the checksum right, and is it a whole one? Of a SYN with data (TCP Fast Open) nobody knows:
 * the data is thrown away, and comes again.
 */
static __always_inline enum syn_checksum checksum_look(struct protect_room *own,
						       const struct packet *p)
{
	__u32 behind = p->length - (p->fields.word[FIELD_FAMILY] == 4 ? 20 : 40), pseudo;

	pseudo = p->fields.word[FIELD_FAMILY] == 4 ? sum_pseudo(&own->answer.ip.v4.src, 8, behind) :
						     sum_pseudo(own->answer.ip.v6.src, 32, behind);
	if (behind == own->tcp_length)
		return syn_checksum(own->came.tcp, pseudo);
	return *(const any_be16 *)(const void *)(own->came.tcp + 16) == sum_fold(pseudo) ?
		       SYN_CHECKSUM_PARTIAL : SYN_CHECKSUM_WHOLE;
}

/* The source can be no station's: a group, nobody, or this one (RFC 1122, 3.2.1.3). */
static __always_inline int unanswerable(const struct packet *p)
{
	const __u32 *src = &p->fields.word[FIELD_SRC], *dst = &p->fields.word[FIELD_DST];

	if (src[0] == dst[0] && src[1] == dst[1] && src[2] == dst[2] && src[3] == dst[3])
		return 1;
	if (p->fields.word[FIELD_FAMILY] == 4)
		return !(src[0] >> 24) || src[0] >> 29 == 7 || src[0] >> 24 == 127;
	return src[0] >> 24 == 0xff || !(src[0] | src[1]);
}

struct kernel_view {
	__u8 cookies, stamps, sack, scaling, own; /* own: the frame is for this station */
};

/* The namespace's settings as they are now, and the device's address. */
static __always_inline void kernel_look(struct xdp_md *xdp, const struct protect_room *own,
					struct kernel_view *view, __u32 way)
{
	struct xdp_buff *inside = bpf_cast_to_kern_ctx(xdp);
	struct net_device *device = inside->rxq->dev;
	struct net *net = device->nd_net.net;
	__u8 address[6] = { 0 };
	__u32 i, different = 0;

	view->cookies = net->ipv4.sysctl_tcp_syncookies;
	view->stamps = net->ipv4.sysctl_tcp_timestamps;
	view->sack = net->ipv4.sysctl_tcp_sack;
	view->scaling = net->ipv4.sysctl_tcp_window_scaling;
	if (way & WAY_ETHERNET) {
		bpf_probe_read_kernel(address, sizeof(address), device->dev_addr);
#pragma clang loop unroll(full)
		for (i = 0; i < 6; i++)
			different |= address[i] ^ own->link.destination[i];
	}
	view->own = !different;
}

/* A part of the work, so that the stack is short: what may be offered, and what is answered. */
static __noinline int answer_make(struct protect_room *own, const struct packet *p, __u32 stamps,
				  __u32 generic)
{
	struct tcp_told *told = &own->came.told;
	__s64 cookie = cookie_make(own, p->fields.word[FIELD_FAMILY]);

	if (cookie < 0)
		return -1;
	options_begin(&own->came, own->tcp_length);
	host_options_search(&own->came);
	if (!(stamps & 1))
		told->flags = 0;
	if (!(stamps & 2))
		told->flags &= (__u8)~TOLD_SACK;
	if (!(stamps & 4))
		told->scale = SCALE_NONE;
	synack_make(&own->answer, p->fields.word[FIELD_FAMILY],
		    (const struct wire_tcp *)(const void *)own->came.tcp, told, (__u32)cookie,
		    (__u32)(cookie >> 32) & 0xffff, (__u32)(bpf_ktime_get_ns() / 1000000),
		    generic && own->checksum == SYN_CHECKSUM_PARTIAL);
	return 0;
}

/* The answer into the frame, in the place of the SYN. */
static __always_inline int answer_write(struct xdp_md *xdp, struct protect_room *own,
					const struct packet *p, __u32 way)
{
	__u32 length = own->answer.tcp_length, end = own->l4, l3 = 0, pad;
	static const __u8 zeros[8];
	struct wire_link link;

	forget(length);
	if (length < sizeof(struct wire_tcp) ||
	    length > sizeof(struct wire_tcp) + 4 * SYNACK_OPTIONS)
		return -1;
	end += length;
	own->old_length = (__u32)bpf_xdp_get_buff_len(xdp);
	pad = (way & WAY_ETHERNET) && end < FRAME_MIN && own->old_length >= FRAME_MIN ?
		      FRAME_MIN - end : 0;
	if (bpf_xdp_adjust_tail(xdp, (int)(end + pad - own->old_length)))
		return -1;
	if (way & WAY_ETHERNET) {
		l3 = ETHERNET_HEADER;
		memcpy(link.destination, own->link.source, 6);
		memcpy(link.source, own->link.destination, 6);
		link.ethertype = own->link.ethertype;
		if (bpf_xdp_store_bytes(xdp, 0, &link, sizeof(link)))
			return -1;
	}
	forget(pad);
	if (pad && pad <= sizeof(zeros) && bpf_xdp_store_bytes(xdp, end, (void *)zeros, pad))
		return -1;
	if (p->fields.word[FIELD_FAMILY] == 4 ?
		    bpf_xdp_store_bytes(xdp, l3, &own->answer.ip.v4, sizeof(own->answer.ip.v4)) :
		    bpf_xdp_store_bytes(xdp, l3, &own->answer.ip.v6, sizeof(own->answer.ip.v6)))
		return -1;
	return (int)bpf_xdp_store_bytes(xdp, own->l4, &own->answer.tcp, length);
}

static __always_inline enum protection answer(struct xdp_md *xdp, struct protect_room *own,
					      struct packet *p, __u32 way)
{
	struct kernel_view view;

	if (listener(xdp, p) != LISTENER_THERE || !for_this_host(xdp, p))
		return PROTECTION_NONE;
	if (protect_read(xdp, own, p, way))
		return PROTECTION_REFUSED;
	kernel_look(xdp, own, &view, way);
	if (!view.own || !view.cookies)
		return PROTECTION_NONE;
	own->checksum = checksum_look(own, p);
	if (unanswerable(p) || own->checksum == SYN_CHECKSUM_WRONG)
		return PROTECTION_REFUSED;
	if (answer_make(own, p, !!view.stamps | !!view.sack << 1 | !!view.scaling << 2,
			way & WAY_GENERIC))
		return PROTECTION_NONE; /* a kernel that has no cookies after all */
	return answer_write(xdp, own, p, way) ? PROTECTION_REFUSED : PROTECTION_ANSWERED;
}

static __always_inline enum protection examine(struct xdp_md *xdp, struct protect_room *own,
					       struct packet *p, __u32 way)
{
	if (listener(xdp, p) != LISTENER_THERE || protect_read(xdp, own, p, way) ||
	    cookie_right(own, p->fields.word[FIELD_FAMILY]) || !for_this_host(xdp, p))
		return PROTECTION_NONE;
	return PROTECTION_FORGED;
}

__noinline int step_protect(struct xdp_md *xdp, __u32 way)
{
	struct protect_room *own;
	struct room *room = room_find();
	__u32 zero = 0;

	own = bpf_map_lookup_elem(&protect_rooms, &zero);
	if (!know_cookies || !know_namespace || !own || !room)
		return PROTECTION_NONE;
	return room->packet.fields.word[FIELD_TCP_FLAGS] & TCP_SYN ?
		       (int)answer(xdp, own, &room->packet, way) :
		       (int)examine(xdp, own, &room->packet, way);
}

static __always_inline enum protection host_protect(host_t *host, host_packet_t *frame,
						    __u32 ethernet)
{
	return (enum protection)step_protect(frame->xdp,
					     (ethernet ? WAY_ETHERNET : 0) | host->generic);
}

#endif
