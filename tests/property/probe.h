// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Probes: packets aimed at the rules of a policy, and what must become of them, by the reference
 * evaluator and the rules of the way of a packet, without any code of the core.
 */
#ifndef REEVE_TESTS_PROPERTY_PROBE_H
#define REEVE_TESTS_PROPERTY_PROBE_H

#include "craft.h"
#include "policy.h"
#include "random.h"
#include "world.h"

#define PROBE_DAMAGES 3

struct probe {
	struct craft craft;
	bool departs, forwarded; /* not forwarded: the host's own */
	/* interfaces: where it is seen; where it arrived, if it departs forwarded */
	unsigned here, there;
	uint32_t mark;
	uint32_t gso_size, gso_segs;
	uint32_t packet_type;	 /* given to the harness; else what the MAC says */
	bool wrapped, typed;
	uint32_t tagged;	 /* 0x10000 | tag taken out by the device */
	uint8_t damage_n;
	struct {
		uint16_t offset;
		uint8_t value;
	} damage[PROBE_DAMAGES];
	uint16_t cut;		 /* bytes left of the frame; 0: all */
};

/* What must become of it. */
struct expected {
	bool known; /* false for damaged ones: the engines must only agree */
	enum user_action action;
	enum decided_by by;
	uint32_t rule; /* RULE_NONE: none was asked */
	uint32_t mark; /* when it goes on */
};

/* A packet at, beside or far from what some rule says. */
void probe_random(struct random *r, const struct loaded_policy *policy, struct probe *probe);
/* The same for one rule of it. */
void probe_aim(struct random *r, const struct loaded_policy *policy, const struct rule *rule,
	       struct probe *probe);
/* The frame, over `bytes`. */
void probe_frame(const struct probe *probe, uint8_t bytes[CRAFT_BYTES], struct user_frame *frame);
/*
 * The fields, with zones, for a packet that is neither foreign nor malformed. False when it is
 * deferred.
 */
bool probe_fields(const struct probe *probe, const struct loaded_policy *policy,
		  struct fields *fields);
void probe_expect(const struct probe *probe, struct loaded_policy *policy,
		  struct expected *expected);
/*
 * The n-th way to make it simpler; false when there are no more. It may be equal to the one before.
 */
bool probe_simplify(const struct probe *probe, unsigned n, struct probe *simpler);

#endif
