// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The tc programs: arrival and departure, each for devices with and without an Ethernet header.
 *
 * They are loaded once; a policy is the image they read. TCX_NEXT, never TCX_PASS, lets other people's programs on the hook run.
 */
#include "engine/bpf/host_bpf.h"

#include "engine/bpf/answer.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#define NEXT TC_ACT_UNSPEC /* TCX_NEXT */
#define ETHERNET_HEADER 14
#define VLAN_DEPTH 4
#define DHCP_ANSWER_WITHIN (120 * SECOND)

#define PACKET_TYPE_HOST 0
#define PACKET_TYPE_BROADCAST 1
#define PACKET_TYPE_MULTICAST 2
#define PACKET_TYPE_LOOPBACK 5

enum frame {
	FRAME_IP,    /* judge it */
	FRAME_OTHER, /* not IP, or it belongs to a VLAN device: left alone */
};

/*
 * Looks at the link layer and parses what is behind it. A global function: verified once, whoever calls it.
 * `ethernet` is 1 if the frame begins with an Ethernet header.
 */
__noinline int frame_parse(struct __sk_buff *skb, struct packet *p, __u32 ethernet, __u32 arriving)
{
	__u32 ethertype = bpf_ntohs((__u16)skb->protocol), offset = 0, i;

	if (!p)
		return FRAME_OTHER;
	p->segments = 1;
	if (skb->gso_size) {
		p->flags |= PACKET_GSO;
		p->segments = skb->gso_segs;
		if (!p->segments)
			p->segments = 1 + skb->len / skb->gso_size;
	}
	if (skb->pkt_type == PACKET_TYPE_BROADCAST || skb->pkt_type == PACKET_TYPE_MULTICAST)
		p->flags |= PACKET_GROUP;
	if (arriving)
		p->flags |= PACKET_ARRIVING;
	if (skb->vlan_present && (skb->vlan_tci & 0xfff))
		return FRAME_OTHER;
	if (ethernet)
		offset = ETHERNET_HEADER;
#pragma clang loop unroll(full)
	for (i = 0; i < VLAN_DEPTH; i++) {
		struct {
			be16 tci, ethertype;
		} tag;

		if (ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ)
			break;
		if (!ethernet || host_read(skb, offset, &tag, sizeof(tag))) {
			p->sanity = SANITY_TRUNCATED;
			return FRAME_IP;
		}
		if (bpf_ntohs(tag.tci) & 0xfff)
			return FRAME_OTHER;
		ethertype = bpf_ntohs(tag.ethertype);
		offset += sizeof(tag);
	}
	if (ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ) {
		p->sanity = SANITY_VLAN_DEPTH;
		return FRAME_IP;
	}
	if (ethertype != ETHERTYPE_IPV4 && ethertype != ETHERTYPE_IPV6)
		return FRAME_OTHER;
	p->l3 = (__u16)offset;
	if (ethernet && arriving) {
		__u8 mac[6];

		if (!host_read(skb, 6, mac, sizeof(mac))) {
			p->fields.word[FIELD_MAC_HIGH] = (__u32)mac[0] << 8 | mac[1];
			p->fields.word[FIELD_MAC_LOW] = (__u32)mac[2] << 24 | (__u32)mac[3] << 16 |
							(__u32)mac[4] << 8 | mac[5];
		}
	}
	packet_parse(skb, p, ethertype, skb->len);
	return FRAME_IP;
}

/* Opens the running image. 0, or -1 when there is none. */
static __always_inline int host_open(host_t *host, struct __sk_buff *skb, struct packet *p)
{
	__u32 zero = 0;

	host->skb = skb;
	host->packet = p;
	host->control = bpf_map_lookup_elem(&control, &zero);
	if (!host->control)
		return -1;
	host->slot = *(volatile const __u32 *)&host->control->active & 1;
	host->image.pages = bpf_map_lookup_elem(&images, &host->slot);
	if (!host->image.pages)
		return -1;
	host->header = bpf_map_lookup_elem(host->image.pages, &zero);
	if (!host->header)
		return -1;
	host->image.base = host->header;
	host->image.page = 0;
	return 0;
}

static __always_inline void mark_write(struct __sk_buff *skb, const struct image_header *header,
				       const struct judgement *j, __u32 state)
{
	__u32 shift = header->mark_shift & 31, mark = skb->mark;

	mark = (mark & ~j->mark_mask) | (j->mark_value & j->mark_mask);
	mark = (mark & ~(3u << shift)) | state << shift;
	if (mark != skb->mark)
		skb->mark = mark;
}

/* UDP ports of DHCP (RFC 2131) and DHCPv6 (RFC 8415): client and server. */
static __always_inline int dhcp_to(const struct packet *p, int client)
{
	int v6 = p->fields.word[FIELD_FAMILY] == 6;
	__u32 client_port = v6 ? 546 : 68, server_port = v6 ? 547 : 67;

	return p->fields.word[FIELD_PROTOCOL] == PROTOCOL_UDP &&
	       p->fields.word[FIELD_DST_PORT] == (client ? client_port : server_port) &&
	       p->fields.word[FIELD_SRC_PORT] == (client ? server_port : client_port);
}

/* Drops, after answering if the judgement asks for it and an answer is allowed. */
static __always_inline int refuse(host_t *host, struct judgement *j, __u32 ethernet)
{
	int verdict;

	if (j->outcome != OUTCOME_REJECT)
		return TC_ACT_SHOT;
	verdict = answer(host->skb, host->packet, j, ethernet);
	if (verdict == ANSWER_NONE || verdict == ANSWER_LIMITED) {
		host_count(host, verdict == ANSWER_LIMITED ? STAT_REJECT_LIMITED : STAT_DROPPED);
		return TC_ACT_SHOT;
	}
	host_count(host, STAT_REJECTED);
	skb_mark_answer(host->skb, host->header->mark_shift);
	return verdict;
}

static __always_inline int arrive(struct __sk_buff *skb, __u32 ethernet)
{
	__u32 type = skb->pkt_type, shift;
	struct judgement j = {};
	struct packet p = {};
	host_t host;

	if (type != PACKET_TYPE_HOST && type != PACKET_TYPE_BROADCAST &&
	    type != PACKET_TYPE_MULTICAST && type != PACKET_TYPE_LOOPBACK)
		return NEXT;
	if (frame_parse(skb, &p, ethernet, 1) != FRAME_IP)
		return NEXT;
	if (host_open(&host, skb, &p))
		return TC_ACT_SHOT;
	shift = host.header->mark_shift & 31;
	if (type == PACKET_TYPE_LOOPBACK) {
		/* Own multicast that comes back: it was judged when it left. */
		mark_write(skb, host.header, &j, MARK_SELF);
		return NEXT;
	}
	if (skb->tc_index) {
		int own = skb->tc_index == TAG_ANSWER && (skb->mark >> shift & 3) == MARK_REPLY;

		skb->tc_index = 0;
		if (own) {
			mark_write(skb, host.header, &j, MARK_SELF);
			return NEXT;
		}
	}
	p.fields.word[FIELD_MARK] = skb->mark & ~(3u << shift);
	j.hook = HOOK_ARRIVE;
	j.ifindex = skb->ifindex;
	j.in_ifindex = skb->ifindex;
	j.generation = host.control->slot[host.slot & 1].generation;
	if (dhcp_to(&p, 1)) {
		__u64 *when = bpf_map_lookup_elem(&asked, &j.ifindex);

		if (when && host_now(&host) - *when < DHCP_ANSWER_WITHIN)
			p.fields.word[FIELD_EXPECTED] = 1;
	}
	judge_arrive(&host, &j);
	if (j.outcome != OUTCOME_PASS)
		return refuse(&host, &j, ethernet);
	mark_write(skb, host.header, &j, j.mark);
	if (j.mark == MARK_REPLY)
		skb->tc_index = j.leave_tag;
	return NEXT;
}

static __always_inline int depart(struct __sk_buff *skb, __u32 ethernet)
{
	__u32 shift, mark;
	struct judgement j = {};
	struct packet p = {};
	host_t host;

	if (frame_parse(skb, &p, ethernet, 0) != FRAME_IP)
		return NEXT;
	if (host_open(&host, skb, &p))
		return TC_ACT_SHOT;
	shift = host.header->mark_shift & 31;
	mark = skb->ingress_ifindex ? skb->mark >> shift & 3 : MARK_NONE;
	if (mark == MARK_REPLY && skb->tc_index == TAG_ANSWER)
		return NEXT;
	p.fields.word[FIELD_MARK] = skb->mark & ~(3u << shift);
	j.hook = HOOK_DEPART;
	j.ifindex = skb->ifindex;
	j.in_ifindex = skb->ingress_ifindex;
	j.generation = host.control->slot[host.slot & 1].generation;
	judge_depart(&host, &j, mark, skb->tc_index);
	if (j.outcome != OUTCOME_PASS)
		return refuse(&host, &j, ethernet);
	if (!j.in_ifindex && dhcp_to(&p, 0)) {
		__u64 now = host_now(&host);

		bpf_map_update_elem(&asked, &j.ifindex, &now, BPF_ANY);
	}
	if (j.mark_mask)
		mark_write(skb, host.header, &j, mark);
	return NEXT;
}

SEC("tc")
int arrive_ethernet(struct __sk_buff *skb)
{
	return arrive(skb, 1);
}

SEC("tc")
int arrive_raw(struct __sk_buff *skb)
{
	return arrive(skb, 0);
}

SEC("tc")
int depart_ethernet(struct __sk_buff *skb)
{
	return depart(skb, 1);
}

SEC("tc")
int depart_raw(struct __sk_buff *skb)
{
	return depart(skb, 0);
}
