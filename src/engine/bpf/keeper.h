// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keeping what runs in step with the interfaces of the moment: what `reeve sync` does once and
 * reeved does always.
 *
 * The policy stays: rules, generation, counters and flows are what they were. What changes is which
 * interfaces it covers and in which zone each is; and programs, links and pins that somebody took
 * away are put back.
 */
#ifndef REEVE_ENGINE_BPF_KEEPER_H
#define REEVE_ENGINE_BPF_KEEPER_H

#include "base/arena.h"
#include "engine/bpf/engine.h"

enum upkeep_kind {
	UPKEEP_COVERED,	 /* an interface that has come: programs attached */
	UPKEEP_REPAIRED, /* programs somebody took away, or that did not fit any more */
	UPKEEP_ZONE,	 /* an interface is in another zone now: its name changed */
	UPKEEP_RELEASED, /* left alone now, as a port for example: programs taken off */
	UPKEEP_PORT,	 /* of another bridge, or of none */
	UPKEEP_GONE,
	UPKEEP_EARLY,	 /* the XDP program of `early` was not there, or is not wanted any more */
	UPKEEP_FAST,	 /* the fast path can be there now, or cannot any more */
	UPKEEP_GUARD,	 /* the guard was taken away */
	UPKEEP_PIN,	 /* a pin was removed by hand */
	UPKEEP_ROUTES,	 /* a rule or the route of `intercept` was taken away */
	UPKEEP_ADDRESS,	 /* masquerade takes another address of the interface */
	UPKEEP_FLOWS,	 /* masqueraded flows whose address has gone were ended */
	UPKEEP_KINDS,
};

/* One thing that was not as it should be. Texts belong to the report; NULL where there is none. */
struct upkeep {
	enum upkeep_kind kind;
	uint32_t ifindex;
	const char *interface; /* or pin; NULL for one that went before this keeper knew it */
	const char *zone, *zone_before;
	const char *detail; /* the address, or "no address"; how many flows */
};

VECTOR(upkeep_vector, struct upkeep);

struct upkeep_report {
	struct arena arena;
	struct upkeep_vector items;
	const char *policy; /* name of the policy's file */
	uint64_t generation;
	uint32_t covered; /* interfaces */
	bool more; /* not all is done, or (generation 0) somebody else is at it: look again soon */
};

void upkeep_report_free(struct upkeep_report *report);
/* "covered": for programs. */
const char *upkeep_name(enum upkeep_kind kind);
/*
 * A sentence for people, without the end of a line: "eth1 covered, in zone `lan`". `size` bytes at
 * most.
 */
void upkeep_text(const struct upkeep *upkeep, char *text, size_t size);

/*
 * What is kept open between two looks, so that a look costs little and lost pins can be put back.
 */
struct keeper;

/* -EPERM, and what is missing, where this process may not keep anything. */
int keeper_permitted(struct problem *problem);
/*
 * One that `stays` prepares for the next change, which makes that one quicker, and neither waits
 * for the lock of changes nor keeps it for long: see `more`.
 */
int keeper_new(bool stays, struct keeper **keeper, struct problem *problem);
void keeper_free(struct keeper *keeper);
/*
 * Looks, and if something is not as it should be, takes the lock of changes, looks again and sets
 * it right. The report tells what was found and done; after a failure too, for one interface that
 * cannot be covered holds up nothing else (the guard holds its packets). Free it. Errors as in
 * engine.h; -ENOENT: nothing is applied here.
 */
int keeper_sync(struct keeper *keeper, struct upkeep_report *report, struct problem *problem);

#endif
