// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engines side by side under one policy, and what each of them did with a packet.
 */
#ifndef REEVE_TESTS_PROPERTY_BENCH_H
#define REEVE_TESTS_PROPERTY_BENCH_H

#include "policy.h"
#include "world.h"

struct bench {
	struct loaded_policy policy;
	struct user_engine *engine;
	struct world *world; /* borrowed; NULL: no kernel */
	struct seen *listener;
	uint64_t *before; /* packets counted by rule of the user engine */
	uint32_t generation, flows_since;
	uint32_t next_hop; /* where the fast path of the user engine goes on to; 0: it does not know */
};

/* The link layer's address there. */
extern const uint8_t bench_next_address[6];

/*
 * Compiles the policy and gives it to the user engine and, if there is one, to the kernel. -EINVAL:
 * the language refuses a line (see policy_compile); anything else is a failure of the compiler, or
 * the world is too small. On failure nothing is left open.
 */
int bench_open(struct bench *bench, struct world *world, const struct random_policy *policy,
	       uint32_t *refused, struct text *errors);
/* Another policy under the same flows. On failure the old one stays. */
int bench_swap(struct bench *bench, const struct random_policy *policy);
void bench_close(struct bench *bench);

/*
 * Makes a random policy that the language takes, by leaving out the lines that it refuses; opens
 * the bench. On failure the text and the errors have been printed. lines and refused are added to.
 */
int bench_open_random(struct bench *bench, struct world *world, struct random *r,
		      struct random_policy *policy, uint64_t *lines, uint64_t *refused);
/* The same without opening: a policy for bench_swap. */
int bench_random_policy(struct random *r, struct random_policy *policy);

/*
 * Hands the packet to the user engine, whose clock is set to the kernel's. frame->mark and tc_index
 * are updated.
 */
void bench_run(struct bench *bench, struct user_frame *frame, bool departs,
	       struct user_verdict *verdict, struct seen *seen);

/* The same before it arrives, see user_engine_early(). */
void bench_run_early(struct bench *bench, struct user_frame *frame, struct user_verdict *verdict,
		     struct seen *seen);

/* Somebody changes what a dynamic set holds, in all of them. */
int bench_change_sets(struct bench *bench, struct random *r);
/*
 * A packet of which nobody knew what to expect may have added something to a dynamic set: what the
 * user engine has taken, the model takes.
 */
void bench_follow(struct bench *bench, const struct user_verdict *verdict);
/* All limits are fresh: in the engines, and in what is expected of them. */
void bench_forget(struct bench *bench);

bool seen_same(const struct seen *one, const struct seen *two);
void seen_print(const char *who, const struct seen *seen, struct text *report);
/* Prints a text as comments of TAP. */
void bench_print(const char *text);

#endif
