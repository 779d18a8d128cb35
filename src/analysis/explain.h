// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Explain: what happens to a packet, and why.
 *
 * A question says a packet as a rule says it, `wan -> self 22/tcp from 192.0.2.1`. What it leaves
 * out is filled with an ordinary value that no rule singles out where there is one (an ephemeral
 * source port, an address outside every named prefix, TTL 64, a SYN), and the answer says with
 * what. The packet is judged as the first of its flow: by the sanity checks that need no packet
 * bytes, then by the reference evaluator.
 */
#ifndef REEVE_ANALYSIS_EXPLAIN_H
#define REEVE_ANALYSIS_EXPLAIN_H

#include "analysis/explain_hygiene.h"
#include "base/arena.h"
#include "base/diagnostic.h"
#include "base/source.h"
#include "core/event.h"
#include "core/field.h"
#include "policy/rule.h"

#define EXPLAIN_NEAR_MAX 5
#define EXPLAIN_BEYOND_MAX 32
#define EXPLAIN_EARLY_MAX 32

enum explained_by {
	EXPLAINED_RULE,		   /* a rule of the file */
	EXPLAINED_DEFAULT,	   /* a `default` of the file */
	EXPLAINED_BUILTIN,	   /* a built-in rule */
	EXPLAINED_BUILTIN_DEFAULT, /* what holds where no default does */
	EXPLAINED_EARLY,	   /* dropped by a rule of `early`, before all others */
	EXPLAINED_SANITY,	   /* dropped whatever the rules say; see `sanity` */
};

/* Something the question left open. */
struct explain_filled {
	const char *what;  /* "source port" */
	const char *value; /* "49152" */
};

/* A rule judged before the deciding one, of this pair, that all but one part of the packet fits. */
struct explain_near {
	uint32_t rule;	  /* its number in the ruleset */
	enum field field; /* the part that differs: FIELD_SRC for the source address and so on */
	const char *what; /* the same for a person: "source address" */
	const char *is;	  /* what the packet has: "203.0.113.9" */
	const char *wants;/* what the rule asks for: "@admins", "22", "syn"; shortened when long */
};

/* A rule of NAT, or an `intercept` statement, that the packet meets. */
struct explain_translation {
	const struct nat_rule *rule; /* of the ruleset; NULL: none */
	const char *to; /* "10.77.1.10:80", "the address of the leaving interface" */
};

/* What is known of the host that the policy runs on. */
struct explain_host {
	/* The zone to which packets for an address go, ZONE_SELF for the host's own; or -errno. */
	int (*zone_of)(void *context, unsigned family, const uint32_t address[4], uint32_t *zone);
	void *context;
};

struct explanation {
	struct arena arena; /* owns everything below */
	enum action verdict;
	enum reject reject; /* when verdict is ACTION_REJECT */
	enum explained_by by;
	enum sanity sanity;  /* SANITY_OK unless by is EXPLAINED_SANITY */
	const char *reason;  /* for EXPLAINED_SANITY: "SYN together with FIN"; else NULL */
	/*
	 * Number of the deciding rule, see ruleset_rule(). For EXPLAINED_SANITY: UINT32_MAX, or in
	 * mid-stream the rule that would have allowed the packet as the first of a connection.
	 */
	uint32_t rule;
	struct fields asked; /* the packet that was asked about */
	const char *packet;  /* the same as a question that leaves nothing open that matters */
	struct fields fields;/* the packet that was judged: another one if it is forwarded */
	struct explain_translation forward; /* of its destination, before it was judged */
	const char *forwarded;		    /* the packet that was judged, as a question; or NULL */
	struct explain_translation source;  /* of its source, when it is allowed and leaves */
	struct explain_translation intercept; /* it is allowed, and handed to a proxy of this host */
	bool hairpin; /* forwarded to where it came from: masqueraded without a rule */
	const struct explain_filled *filled;
	uint32_t filled_n;
	/*
	 * `rule` has limits, within which the packet is taken to be. Who decides beyond them; where that
	 * one has limits too, who does beyond those, and so on.
	 */
	uint32_t beyond[EXPLAIN_BEYOND_MAX];
	uint32_t beyond_n;
	/* Rules of `early` with limits, within which the packet is taken to be, by number. */
	uint32_t early[EXPLAIN_EARLY_MAX];
	uint32_t early_n;
	uint32_t protect; /* the rule of `early` that protects its service, by number; UINT32_MAX: none */
	struct explain_near near[EXPLAIN_NEAR_MAX];
	uint32_t near_n;
	/* what antispoof, clamp-mss and scrub of its zones mean for it: sentences */
	const char *notes[EXPLAIN_NOTES_MAX];
	uint32_t note_n;
};

/*
 * Answers `question` under `ruleset`. The text of the question is added to *sources (the caller's
 * own set, not the ruleset's) under the name "question", so that diagnostics can be shown with it.
 * What dynamic sets hold, ruleset->contents tells; else they are taken to be empty, and that is
 * told.
 * -EINVAL: *diagnostics says why (syntax, an unknown name, a packet that cannot exist such as icmp
 * with an IPv6 address); -ENOMEM. *explanation is untouched on failure.
 */
int explain(const struct ruleset *ruleset, const char *question, struct source_set *sources,
	    struct explanation *explanation, struct diagnostics *diagnostics);
/*
 * The same for a policy of which more is known. Without a host (NULL), the zone of a forwarded
 * packet's target is the one to which a rule of the policy allows it, or else a likely one, and
 * that is told among `filled`. The explanation borrows from the ruleset.
 */
int explain_on(const struct ruleset *ruleset, const struct explain_host *host,
	       const char *question, struct source_set *sources, struct explanation *explanation,
	       struct diagnostics *diagnostics);
void explanation_free(struct explanation *explanation);

/* "rule", "default", "builtin", "builtin-default", "early", "sanity": for --json. */
const char *explained_by_name(enum explained_by by);

#endif
