// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The BPF engine: reeve in the kernel, for the network namespace of the calling process.
 *
 * What is running lives in pinned objects under /run/reeve/bpf/<namespace cookie>/ and nowhere
 * else; these functions read and change it. No process has to stay. Every function that a person
 * waits for fills a struct problem when it fails: what is wrong, and what to do about it.
 *
 * Errors common to all: -EPERM (the problem names the missing capability), -ENOSYS (the kernel
 * lacks something), -ENOENT (nothing is applied in this namespace), -EPROTO (what is pinned belongs
 * to another version of reeve).
 */
#ifndef REEVE_ENGINE_BPF_ENGINE_H
#define REEVE_ENGINE_BPF_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vector.h"
#include "compile/compile.h"
#include "core/event.h"
#include "core/flow.h"
#include "engine/bpf/maps.h"
#include "policy/rule.h"

struct problem {
	char what[512];
	char hint[512];	  /* "" when there is none */
	char detail[896]; /* lines that the kernel says itself, without the last line's end; or "" */
};

/* An interface of the namespace and what reeve does with it. */
enum coverage {
	COVERAGE_COVERED,     /* programs on arrival and departure */
	COVERAGE_LOOPBACK,    /* left alone: loopback that no zone names */
	COVERAGE_PORT,	      /* left alone: its master (bridge, bond, team) is covered */
	COVERAGE_DETOUR,      /* left alone: an ifb, where packets of other interfaces are shaped */
	COVERAGE_MISSING,     /* should be covered and is not: it appeared a moment ago */
	COVERAGE_DETACHED,    /* it was covered, and somebody took the programs away */
	COVERAGE_MOVED,	      /* covered, but still in the zone of its former name */
	COVERAGE_KINDS,
};

/* The XDP program of `early` at an interface. */
enum early_state {
	EARLY_UNASKED, /* no rules of `early` for its zone */
	EARLY_NATIVE,  /* in the driver */
	EARLY_GENERIC, /* behind it, for it takes none: later, and dearer */
	EARLY_OTHERS,  /* none: somebody else's XDP program is there */
	EARLY_REFUSED, /* none: the kernel would not attach it */
	EARLY_MISSING, /* none yet, or somebody took it away */
	EARLY_STATES,
};

/* In early_why, and no errno: what its driver sends back may be lost, and `protect` sends answers. */
#define EARLY_ANSWERS_LOST 1000

/* `protect`: are SYNs answered? Interface by interface it takes early's program besides. */
enum protection_state {
	PROTECTION_UNASKED,   /* the policy protects nothing */
	PROTECTION_ON,
	PROTECTION_NO_HANDOVER, /* off: the kernel cannot be handed a connection (before Linux 6.9) */
	PROTECTION_NO_COOKIES,  /* off: net.ipv4.tcp_syncookies is 0 */
	PROTECTION_STATES,
};

struct engine_interface {
	char name[16];
	uint32_t ifindex;
	uint32_t zone;
	uint32_t zone_running; /* by which its packets are judged; differs from `zone` only for COVERAGE_MOVED */
	enum coverage coverage;
	char master[16];    /* of a port, else "" */
	bool default_route; /* a default route (either family) leaves here */
	enum early_state early;
	uint16_t early_why; /* of EARLY_GENERIC, EARLY_REFUSED: an errno, 0 when it is not known */
	enum fast_why fast; /* is the fast path on there, and why not; FAST_UNKNOWN before anything runs */
};

/*
 * Families (4, 6) for which the kernel forwards nothing that arrives at the interface, into
 * families[0..*n): its programs are told no routes there, so `antispoof` cannot ask. A family that
 * the interface does not speak does not count.
 */
void interface_unforwarding(const char *name, uint8_t families[2], unsigned *n);

VECTOR(interface_vector, struct engine_interface);

/*
 * The interfaces of this namespace, sorted by index, as this policy would have them: what is wrong
 * with them (COVERAGE_MISSING and what follows it) is not told here.
 */
int engine_interfaces(const struct ruleset *ruleset, struct interface_vector *interfaces,
		      struct problem *problem);

/* A flow as seen from user space. Borrowed for the time of the call. Return non-zero to stop. */
typedef int flow_visitor(void *context, const struct flow_key *key, const struct flow *flow,
			 bool embryonic);
/* A way that packets of this host take. Words as in FIELD_SRC; no padding, so comparable. */
struct route_question {
	uint32_t family; /* 4 or 6 */
	uint32_t to[4];
	uint32_t from[4]; /* the address it speaks with, which can choose the way; all zero: not said */
	uint32_t ifindex; /* of a link-local address, or that a socket is bound to; or 0 */
};
/* The interface by which they leave. -errno. */
int engine_route(const struct route_question *question, uint32_t *ifindex);

struct apply_options {
	bool dry_run;
	bool keep_flows;   /* live flows are not judged by the new policy */
	bool take_over;	   /* live connections without a flow are taken over, as at the first apply */
	/*
	 * It may be taken back: dynamic sets that it does not name keep what they hold. Until another
	 * policy is applied without this, or engine_keep().
	 */
	bool trial;
	bool back; /* from such a trial: not refused because a set holds more than it has room for */
	flow_visitor *end; /* after the switch live flows end for which it returns non-zero; or NULL */
	void *context;	   /* of `end` */
};

struct apply_report {
	struct interface_vector interfaces; /* what was covered; free with interface_vector_free */
	struct compile_stats stats;
	bool first;		/* nothing was running before */
	bool xfrm_policies;	/* IPsec policies exist, which departure cannot see */
	bool addresses_unfollowed; /* the kernel tells no addresses for masquerade, and reeved does not run */
	uint64_t flows_seeded;	/* live connections taken over, see apply_options.take_over */
	uint64_t flows_ended;	/* by apply_options.end */
	bool flows_left;	/* not all of those could be ended */
	enum protection_state protection;
	uint64_t compile_ns, load_ns, flip_ns;
};

/*
 * Makes `ruleset` the running policy: compiles it for the interfaces of this moment, loads and
 * attaches what is missing, flips. On failure the old policy goes on untouched. With
 * options->dry_run everything is done but attaching and flipping.
 */
int engine_apply(const struct ruleset *ruleset, const struct apply_options *options,
		 struct apply_report *report, struct problem *problem);

/* A trial's policy stays: what it does not name is let go. */
int engine_keep(struct problem *problem);

/*
 * Takes everything of this namespace away: links, maps, pins, the mount when no other namespace
 * uses it. Idempotent; -ENOENT when there was nothing.
 */
int engine_down(struct problem *problem);

/*
 * Takes away what was left behind by namespaces that nobody can reach any more: no process is in
 * them, no file or mount names them. (The guard's links keep such a namespace and its devices
 * alive.) *removed is how many there were.
 */
int engine_down_gone(uint32_t *removed, struct problem *problem);

/* An open view of what is running. */
struct engine;

int engine_open(struct engine **engine, struct problem *problem);
void engine_close(struct engine *engine);

/*
 * The sources the running policy was made of (sealed); load them with policy_load. The set is the
 * caller's.
 */
int engine_sources(struct engine *engine, struct source_set *sources, struct problem *problem);
/* The running image, a copy of the caller's. */
int engine_image(struct engine *engine, struct image *image, struct problem *problem);

/* A program as the kernel has loaded it. */
struct program_figures {
	const char *name; /* static */
	uint32_t id;
	uint32_t verified;	/* instructions that the verifier followed, all ways together */
	uint32_t xlated, jited; /* bytes: of instructions, and of machine code (0 without a JIT) */
};

#define ENGINE_PROGRAMS 14

/*
 * The programs that run: the quick ones, the full ones they end in, the guard's as far as they are
 * programs. *n of them.
 */
int engine_programs(struct engine *engine, struct program_figures figures[ENGINE_PROGRAMS],
		    uint32_t *n, struct problem *problem);

struct engine_status {
	struct interface_vector interfaces; /* with what is wrong */
	bool guard;			    /* its links are alive */
	bool guard_wanted;
	bool intercepts;		    /* the policy does */
	bool routes;			    /* likewise as in engine_health */
	bool nft_guard;			    /* the guard is an nftables table: the kernel has no BPF on Netfilter */
	enum protection_state protection;
	bool clsact;			    /* programs are filters of clsact: the kernel has no tcx */
	uint64_t generation;		    /* counts applies */
	uint64_t applied_at;		    /* seconds since 1970 */
	uint32_t digest[2];
	uint32_t flows, flows_max, embryonic, embryonic_max; /* entries in the tables, expired ones included */
	uint64_t stats[STAT_COUNT];	    /* by enum statistic, see core/event.h */
	uint64_t map_bytes;		    /* kernel memory of all maps */
};

/*
 * Only what is wrong at this moment: interfaces (all of them, as in status) and guard. Cheap;
 * `ruleset` is the running one.
 */
struct engine_health {
	struct interface_vector interfaces;
	bool guard;
	bool routes; /* the routing rules and the route that `intercept` needs are there; true where none are needed */
	uint64_t generation; /* when it is not the ruleset's, look again with the right one */
};

int engine_health(struct engine *engine, const struct ruleset *ruleset, struct engine_health *health,
		  struct problem *problem);
int engine_status(struct engine *engine, struct engine_status *status, struct problem *problem);

struct rule_counter {
	uint64_t packets, bytes; /* what the rule itself decided: first packets of flows, or every packet when stateless */
	uint64_t last_ns;	 /* CLOCK_MONOTONIC of the last hit; 0 never */
};

/*
 * One for each rule of the running ruleset; malloc'ed array of *n. Counts survive an apply for
 * rules whose id stays.
 */
int engine_counters(struct engine *engine, struct rule_counter **counters, uint32_t *n,
		    struct problem *problem);

/*
 * Every live (not expired) flow; the tables are read in batches, so memory does not grow with them.
 */
int engine_flows(struct engine *engine, flow_visitor *visit, void *context, struct problem *problem);

/*
 * Ends the live flows for which `choose` returns non-zero; *killed is how many. Their next packets
 * meet the rules.
 */
int engine_flows_kill(struct engine *engine, flow_visitor *choose, void *context, uint64_t *killed,
		      struct problem *problem);

/* Removes the records of flows that have expired; *removed is how many. */
int engine_sweep(struct engine *engine, uint64_t *removed, struct problem *problem);

/*
 * Events as they come. `lost` counts events that did not fit the ring since the last call. Return
 * non-zero to stop.
 */
typedef int event_visitor(void *context, const struct event *event, uint64_t lost);
/* Called every 200 ms, for what happens without an event. Return non-zero to stop. */
typedef int tick_visitor(void *context);
/*
 * Reads events until a visitor stops it, or until *stop becomes non-zero (looked at every 200 ms).
 */
int engine_watch(struct engine *engine, event_visitor *visit, tick_visitor *tick, void *context,
		 const volatile int *stop, struct problem *problem);

#endif
