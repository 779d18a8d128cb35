// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The session that a command is typed in, as ssh tells: so that `apply` does not cut it.
 */
#ifndef REEVE_CLI_SESSION_H
#define REEVE_CLI_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/flow.h"
#include "policy/rule.h"

/* One TCP connection; addresses as in FIELD_SRC, ports in host order. */
struct session {
	uint8_t family; /* 4 or 6; IPv4-mapped addresses are IPv4 */
	uint32_t peer[4], local[4];
	uint16_t peer_port, local_port;
	uint32_t ifindex; /* of link-local addresses, or 0 */
};

/* Reads what SSH_CONNECTION holds: "PEER PORT LOCAL PORT". -EINVAL when it is something else. */
int session_parse(const char *text, struct session *session);
/*
 * Of this process, or of its nearest ancestor that has one (sudo leaves the variable out). 0;
 * -ENOENT when there is none; -EINVAL when it does not parse: *text (malloc'ed) is then what it
 * holds.
 */
int session_find(struct session *session, char **text);

/* The same; says what does not parse, and is false when there is no session. */
bool session_known(struct session *session);
/* Is this its flow, whoever is thought to have begun it? */
bool session_has_flow(const struct session *session, const struct flow_key *key);

/* What a policy would do to it. */
struct session_fate {
	bool here;	       /* its address is one of this network namespace, on an interface that the policy covers */
	char interface[16];    /* by which the peer is reached */
	bool opens, lives;     /* may it be opened anew? would it have been let begin, as a live flow is judged? */
	bool unseen;	       /* its packets are dropped early, whatever is done to live flows */
	uint32_t rule;	       /* that says no, when one of them is false; see ruleset_rule() */
};

void session_judge(const struct ruleset *ruleset, const struct session *session,
		   struct session_fate *fate);
/*
 * The question that `explain` answers about opening it: "wan -> self 22/tcp from 192.0.2.1 to
 * 198.51.100.1".
 */
void session_question(const struct ruleset *ruleset, const struct session *session,
		      const struct session_fate *fate, char *text, size_t size);

#endif
