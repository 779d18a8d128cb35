// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The two checkpoints, from the frame that the engine is handed to the mark that it gets: what
 * stands around judge.h.
 *
 * What is judged on arrival: packets for this host by their link layer (host, broadcast,
 * multicast). Other hosts' packets, seen in promiscuous mode, are left alone; own multicast that
 * comes back was judged when it left, and so were reeve's own answers.
 *
 * The including host header defines, before this file, what frame.h and judge.h ask for,
 * host_packet_t having also the members mark, tc_index, ifindex and ingress_ifindex of struct
 * __sk_buff, written to as well as read; and:
 *	int host_parse(host_packet_t *, struct packet *, __u32 ethernet, __u32 arriving)   frame_parse(), as a function of its own or not
 *	int host_open(host_t *)				  opens the running image: `header` and `image`; negative when there is none
 *	int host_foreign(host_t *, host_packet_t *)	  has its device moved to another network namespace, with the programs on it?
 *	__u32 host_generation(host_t *)			  of the policy opened
 *	const __u64 *host_asked(host_t *, __u32 ifindex)  when the DHCP client of the interface last sent; 0 if it never has
 *	void host_asks(host_t *, __u32 ifindex, __u64 now)
 *	const __u64 *host_proof_keys(host_t *)		  PROOF_KEYS of them, random, the same for all packets
 *	__u32 host_witness(host_t *)			  likewise, 16 bits
 *	__u32 host_packet_proof(host_t *)		  proof_of_packet() of host->packet, as a function of its own or not
 *	int host_frame_proof(host_t *, host_packet_t *, __u32 ethernet, __u32 *proof)	proof_of_frame(), as a function of its own or not
 *	int host_rewrite(host_t *, host_packet_t *)	  writes address and port of host_nat(host) into the packet, checksums too
 *	void host_set_hash(host_packet_t *, __u32 hash)	  host_packet_t has the member hash to read it
 *	void host_cookie_accept(host_t *, host_packet_t *)	  handshake_complete(), and the
 *							  connection handed to who listens
 *	void host_clean(host_t *, host_packet_t *, __u32 ethernet)	hygiene_depart(), as a function of its own or not
 */
#ifndef REEVE_CORE_CHECKPOINT_H
#define REEVE_CORE_CHECKPOINT_H

#include "core/frame.h"
#include "core/handshake.h"
#include "core/judge.h"
#include "core/proof.h"

static int host_rewrite(host_t *host, host_packet_t *skb);
static __u32 host_packet_proof(host_t *host);
static int host_frame_proof(host_t *host, host_packet_t *skb, __u32 ethernet, __u32 *proof);
static void host_clean(host_t *host, host_packet_t *skb, __u32 ethernet);
static void host_cookie_accept(host_t *host, host_packet_t *skb);

#define DHCP_ANSWER_WITHIN (120 * SECOND)

/* The bits of the mark that are the policy's, not its rules'. */
static __always_inline __u32 mark_own(const struct image_header *header)
{
	__u32 own = 3u << (header->mark_shift & 31);

	if (header->flags & IMAGE_INTERCEPTS)
		own |= image_intercept_mark(header->mark_shift & 31);
	return own;
}

/* Writes the rule's mark and reeve's own bits; the rule may not touch the latter. */
static __always_inline void mark_write(host_packet_t *skb, const struct image_header *header,
				       const struct judgement *j, __u32 state)
{
	__u32 shift = header->mark_shift & 31, mark = skb->mark;

	mark = (mark & ~j->mark_mask) | (j->mark_value & j->mark_mask);
	mark = (mark & ~mark_own(header)) | state << shift;
	if (j->stays && (header->flags & IMAGE_INTERCEPTS))
		mark |= image_intercept_mark(shift);
	if (mark != skb->mark)
		skb->mark = mark;
}

/* May this packet be answered when it is rejected? (RFC 1122, 3.2.2) */
static __always_inline int answerable(const struct packet *p)
{
	const __u32 *src = &p->fields.word[FIELD_SRC];

	if (p->flags & (PACKET_ICMP_ERROR | PACKET_GROUP))
		return 0;
	if (p->fields.word[FIELD_FRAGMENT] || (p->fields.word[FIELD_TCP_FLAGS] & TCP_RST))
		return 0;
	if (p->fields.word[FIELD_MAC_HIGH] & 0x0100)
		return 0; /* a group as the link-layer source */
	/* "This network", and what was never given out (RFC 1122, 3.2.1.3; RFC 1112, 4). */
	if (p->fields.word[FIELD_FAMILY] == 4)
		return src[0] >> 24 && src[0] >> 28 != 15 && p->fields.word[FIELD_DST];
	return src[0] || src[1] || src[2] || src[3];
}

/* Writes the translation that was noted into the packet. Non-zero: it cannot be, and is dropped. */
static __always_inline int rewrite(host_t *host, host_packet_t *skb, struct judgement *j)
{
	if (!host_translates(host) || !host_nat(host)->rewrite)
		return 0;
	if (first_fragment(host->packet) && host_nat(host)->rewrite == REWRITE_DESTINATION)
		host_fragment_note_arrival(host, j->from_tag);
	translation_apply(host_nat(host), host->packet);
	if (!host_rewrite(host, skb))
		return 0;
	j->outcome = OUTCOME_DROP;
	return -1;
}

/*
 * On arrival. host->packet and *j are zero. Afterwards j->outcome tells what to do; if it is
 * OUTCOME_PASS, skb->mark and skb->tc_index are as departure and the guard expect them. j->by is
 * BY_NOTHING for what was left alone or deferred.
 */
static __always_inline void checkpoint_arrive(host_t *host, host_packet_t *skb,
					      struct judgement *j, __u32 ethernet)
{
	__u32 type = skb->pkt_type, shift, witness, tag;
	struct packet *p = host->packet;
	int none = host_open(host);

	if (type != PACKET_TYPE_HOST && type != PACKET_TYPE_BROADCAST &&
	    type != PACKET_TYPE_MULTICAST && type != PACKET_TYPE_LOOPBACK)
		return;
	if ((!none && host_foreign(host, skb)) || host_parse(skb, p, ethernet, 1) != FRAME_IP)
		return;
	if (none) {
		j->outcome = OUTCOME_DROP;
		return;
	}
	shift = host->header->mark_shift & 31;
	witness = host_witness(host);
	if (type == PACKET_TYPE_LOOPBACK) {
		/* Own multicast that comes back: it was judged when it left. */
		mark_write(skb, host->header, j, MARK_SELF);
		skb->tc_index = IMAGE_TAG_SELF ^ witness;
		return;
	}
	if ((skb->tc_index ^ witness) == TAG_ANSWER && (skb->mark >> shift & 3) == MARK_REPLY) {
		j->by = BY_ANSWER; /* it keeps its marks: others may translate it and send it on */
		return;
	}
	p->fields.word[FIELD_MARK] = skb->mark & ~mark_own(host->header);
	if (host_translates(host))
		nat_reset(host_nat(host));
	j->hook = HOOK_ARRIVE;
	j->ifindex = skb->ifindex;
	j->in_ifindex = skb->ifindex;
	j->generation = host_generation(host);
	if (dhcp_to(p, 1)) {
		const __u64 *when = host_asked(host, j->ifindex);

		if (when && host_now(host) - *when < DHCP_ANSWER_WITHIN)
			p->fields.word[FIELD_EXPECTED] = 1;
	}
	judge_arrive(host, j);
	if (j->outcome != OUTCOME_PASS || rewrite(host, skb, j))
		return;
	if (j->stays && host_hand_over(host, j))
		return;
	if (host_knows_cookies(host) && p->cookie && j->mark == MARK_SELF)
		host_cookie_accept(host, skb);
	mark_write(skb, host->header, j, j->mark);
	tag = IMAGE_TAG_SELF;
	if (j->mark != MARK_SELF)
		tag = j->mark == MARK_REPLY ? j->leave_tag : TAG_DEFERRED;
	if (j->mark == MARK_DEFERRED && !(p->flags & PACKET_FRAGMENT)) {
		__u32 proof = host_packet_proof(host);

		if (j->leave_tag) {
			/* What is to be rewritten at departure, departure looks up. */
			if (!host_translates(host) || !host_nat(host)->departs)
				tag = j->leave_tag | TAG_ORIGINAL;
			proof |= PROOF_TAKEN_IN;
		}
		host_set_hash(skb, proof);
	}
	skb->tc_index = tag ^ witness;
}

/* Does a forwarded packet pass by what arrival has decided? Looks at no more than it needs. */
static __always_inline int decided_on_arrival(host_t *host, host_packet_t *skb, __u32 tag,
					      __u32 ethernet)
{
	__u32 zone = interface_find(&host->image, host->header, skb->ifindex).tag, proof;

	if (tag == zone)
		return 1;
	return tag == (zone | TAG_ORIGINAL) &&
	       !host_frame_proof(host, skb, ethernet, &proof) &&
	       (proof | PROOF_TAKEN_IN) == skb->hash;
}

/* Judges at departure. Is it a forwarded packet that passes? */
static __always_inline int checkpoint_leave(host_t *host, host_packet_t *skb, struct judgement *j,
					    __u32 ethernet)
{
	struct packet *p = host->packet;
	int taken_in = 0, none = host_open(host);
	__u32 shift, tag = TAG_DEFERRED;

	if (!none && host_foreign(host, skb))
		return 0;
	/* Own packets have no arrival that could have decided. */
	if (!none && skb->ingress_ifindex) {
		tag = skb->tc_index ^ host_witness(host);
		if (tag == TAG_ANSWER) {
			j->by = BY_ANSWER;
			return 0;
		}
		if (decided_on_arrival(host, skb, tag, ethernet))
			return 1;
	}
	if (host_parse(skb, p, ethernet, 0) != FRAME_IP)
		return 0;
	if (none) {
		j->outcome = OUTCOME_DROP;
		return 0;
	}
	shift = host->header->mark_shift & 31;
	if (skb->ingress_ifindex)
		taken_in = (host_packet_proof(host) | PROOF_TAKEN_IN) == skb->hash ||
			   /* A reply has no proof; where tc_index is lost the mark tells. */
			   (tag != TAG_DEFERRED && (skb->mark >> shift & 3) == MARK_REPLY);
	p->fields.word[FIELD_MARK] = skb->mark & ~mark_own(host->header);
	if (host_translates(host))
		nat_reset(host_nat(host));
	j->hook = HOOK_DEPART;
	j->ifindex = skb->ifindex;
	j->in_ifindex = skb->ingress_ifindex;
	j->generation = host_generation(host);
	judge_depart(host, j, taken_in);
	if (j->outcome != OUTCOME_PASS || rewrite(host, skb, j))
		return 0;
	if (!j->in_ifindex && dhcp_to(p, 0))
		host_asks(host, j->ifindex, host_now(host));
	if (j->mark_mask)
		mark_write(skb, host->header, j, skb->mark >> shift & 3);
	return j->in_ifindex != 0;
}

/* At departure; as checkpoint_arrive(). What passes may have been written to. */
static __always_inline void checkpoint_depart(host_t *host, host_packet_t *skb,
					      struct judgement *j, __u32 ethernet)
{
	if (checkpoint_leave(host, skb, j, ethernet) && host->header->hygiene)
		host_clean(host, skb, ethernet);
}

#endif
