// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The user engine: reeve's core over packets in memory.
 *
 * The same files of src/core that the kernel programs are made of, over hash tables and a clock
 * that the caller sets. Same image, same packets in the same order: same verdicts, marks and flows
 * as in the kernel; tests/property holds them against each other. It differs in what a kernel does
 * around packets: it sends nothing, builds no answers and has no limit on their rate, asks the
 * caller for routes, and evicts from a full table of embryonic flows exactly the one not met for
 * longest.
 *
 * An engine belongs to one thread at a time. There may be any number of them. Functions return 0 or
 * -errno.
 */
#ifndef REEVE_ENGINE_USER_ENGINE_H
#define REEVE_ENGINE_USER_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/user/frame.h"

struct user_options {
	uint32_t flows_max;	/* replied flows; 0: none */
	/* unreplied flows; 0: none, so no rule that is not stateless lets a packet pass */
	uint32_t embryonic_max;
	/*
	 * For this host or to be forwarded, as the kernel's routing would say on arrival? NULL: all
	 * is for this host.
	 */
	enum route (*route)(void *context, const struct user_frame *frame,
			    const struct packet *packet);
	/*
	 * The device by which a packet to the source of this one would leave: 1; 0 when there is no
	 * route to it; negative when that is not known. NULL: it never is.
	 */
	int (*way_back)(void *context, const struct user_frame *frame, const struct packet *packet,
			uint32_t *ifindex);
	/* MTU of a device; 0 when it is not known. NULL: it never is. */
	uint32_t (*mtu)(void *context, uint32_t ifindex);
	/* By which interface, where it is forwarded? NULL: it cannot be told, so `other`. */
	uint32_t (*leaves)(void *context, const struct user_frame *frame,
			   const struct packet *packet);
	/* The address of an interface, words as in FIELD_SRC; -ENOENT without one. NULL: none has. */
	int (*address)(void *context, uint32_t ifindex, unsigned family, uint32_t address[4]);
	/*
	 * Does a transparent proxy listen there, for the protocol of this packet? Words as in
	 * FIELD_SRC. NULL: always.
	 */
	bool (*listens)(void *context, const uint32_t address[4], uint16_t port,
			const struct packet *packet);
	/*
	 * For the fast path: where a packet of `length` bytes (the IP packet) goes next. 0; anything
	 * else where that is not known, or it does not fit. NULL: it never is.
	 */
	int (*next_hop)(void *context, const struct user_frame *frame, uint32_t length,
			uint32_t *ifindex, uint8_t destination[6], uint8_t source[6]);
	/* Called for every event, while it happens. NULL: nobody listens. */
	void (*event)(void *context, const struct event *event);
	void *context; /* of all */
	uint64_t proof_seed; /* any value; core/proof.h */
	uint16_t witness;   /* likewise; core/mark.h */
};

enum user_action {
	/*
	 * it goes on, with frame.mark and frame.tc_index; whether others let it pass is not reeve's
	 * business
	 */
	USER_NEXT,
	USER_DROP,
	/*
	 * dropped; the kernel engine answers with judgement.reject, as far as its rate limit lets
	 * it
	 */
	USER_ANSWER,
};

struct user_verdict {
	enum user_action action;
	/* by BY_NOTHING: left alone, or deferred to departure (mark MARK_DEFERRED) */
	struct judgement judgement;
	struct packet packet;	    /* what was parsed; zero where nothing was */
};

struct user_counter {
	uint64_t packets, bytes; /* what the rule itself decided */
	uint64_t last_ns;	 /* the engine's clock at the last hit */
};

struct user_engine;

/*
 * An engine without flows, its clock at 0. The image is copied and may have any alignment.
 * -EBADMSG, -EPROTONOSUPPORT when image_validate refuses it (*why is then a static text), -ENOMEM.
 * `options` is copied.
 */
int user_engine_new(const void *image, size_t size, const struct user_options *options,
		    struct user_engine **engine, const char **why);
void user_engine_free(struct user_engine *engine);

/*
 * Another policy, as an apply does: the generation (1 at first) goes up, counters begin at zero;
 * flows are judged by it at their next packet, unless `keep_flows`. Errors as above; the old policy
 * is then untouched.
 */
int user_engine_swap(struct user_engine *engine, const void *image, size_t size, bool keep_flows,
		     const char **why);

/* The clock in nanoseconds; it stands still until it is set again. */
void user_engine_set_clock(struct user_engine *engine, uint64_t now);

/*
 * What `early` makes of a packet, before it arrives: USER_DROP, or USER_NEXT, and then
 * user_engine_arrive() comes next. Only the frame's bytes, `ethernet` and ifindex count.
 */
void user_engine_early(struct user_engine *engine, struct user_frame *frame,
		       struct user_verdict *verdict);
/*
 * The fast path (core/fast.h), behind `early`: the interface by which the frame is sent on, changed in
 * frame->writable; nothing else is to be done with it then. 0: it is none of the fast path's,
 * nothing was changed, and user_engine_arrive() comes next. Only bytes, pkt_type and ifindex count. The
 * IP header must be aligned to 4 bytes (frame->bytes to 4, and 2): otherwise it is 0 too.
 */
uint32_t user_engine_fast(struct user_engine *engine, struct user_frame *frame);
/*
 * Judges one packet. frame->mark and frame->tc_index are left as the kernel's would be;
 * frame->protocol is filled in when there is an Ethernet header. Any bytes are safe. Departure
 * changes frame->writable as a zone of the policy asks for (core/hygiene.h).
 */
void user_engine_arrive(struct user_engine *engine, struct user_frame *frame,
			struct user_verdict *verdict);
void user_engine_depart(struct user_engine *engine, struct user_frame *frame,
			struct user_verdict *verdict);

/* By rule number, as many as the image has rules. Borrowed until swap or free. */
const struct user_counter *user_engine_counters(const struct user_engine *engine);
uint32_t user_engine_rules(const struct user_engine *engine);
/* By enum statistic, STAT_COUNT of them. Borrowed. STAT_REJECTED counts what is USER_ANSWER. */
const uint64_t *user_engine_stats(const struct user_engine *engine);

/*
 * The record of a key, expired or not, and in which table; NULL when there is none. Borrowed until
 * the next packet.
 */
const struct flow *user_engine_flow(const struct user_engine *engine, const struct flow_key *key,
				    bool *embryonic);
/*
 * Every record that has not expired, replied ones first. Non-zero from the visitor stops, and is
 * returned.
 */
int user_engine_flows(const struct user_engine *engine,
		      int (*visit)(void *context, const struct flow_key *key,
				   const struct flow *flow, bool embryonic),
		      void *context);
/* Forgets all flows, and what DHCP answers are expected. */
void user_engine_flush(struct user_engine *engine);
/*
 * What dynamic sets hold, by their number in the policy; it stays over a swap under a set's name.
 * An entry is a prefix, or a single address (prefix 32 or 128); host bits are masked. `expires` is
 * a time of the engine's clock, 0: never. -ENOENT when there is no such set, or none such entry to
 * delete; -ENOSPC when the set is full; -ENOMEM.
 */
int user_engine_set_add(struct user_engine *engine, uint32_t set, uint32_t family,
			const uint32_t address[4], uint32_t prefix, uint64_t expires);
int user_engine_set_delete(struct user_engine *engine, uint32_t set, uint32_t family,
			   const uint32_t address[4], uint32_t prefix);
bool user_engine_set_holds(const struct user_engine *engine, uint32_t set, uint32_t family,
			   const uint32_t address[4]);
/* When an entry expires; -ENOENT when there is none. */
int user_engine_set_find(const struct user_engine *engine, uint32_t set, uint32_t family,
			 const uint32_t address[4], uint32_t prefix, uint64_t *expires);
void user_engine_set_flush(struct user_engine *engine, uint32_t set);
/* Forgets what limits have counted: all buckets are full, all places free. */
void user_engine_forget(struct user_engine *engine);

#endif
