// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Words for what the core says in numbers. Names are short and stable, for --json and for filters;
 * texts are sentences for people. A number that has no name gives "?".
 */
#ifndef REEVE_CLI_NAMES_H
#define REEVE_CLI_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "core/event.h"
#include "core/flow.h"
#include "engine/bpf/engine.h"
#include "policy/rule.h"

const char *action_name(unsigned action);     /* "allow" */
const char *event_kind_name(unsigned kind);   /* "drop", "flow" */
const char *event_hook_name(unsigned hook);   /* "arrive", "local-in" */
const char *decided_by_name(unsigned by);     /* "rule" */
const char *sanity_name(unsigned sanity);     /* "tcp-flags" */
const char *sanity_text(unsigned sanity);     /* "impossible TCP flags" */
const char *stat_name(unsigned stat);	      /* "flows-new" */
const char *stat_text(unsigned stat);	      /* what the figure counts */
bool stat_is_trouble(unsigned stat);	      /* a healthy host has none of it */
const char *guard_cause(enum event_hook hook);/* why the guard may have dropped there */
const char *coverage_name(unsigned coverage); /* "covered" */
const char *coverage_trouble(unsigned coverage); /* what is wrong and what helps; NULL when nothing is */
/* "native", "generic", … */
const char *early_state_name(unsigned early);
/* What is wrong with it, or why it is not native: a sentence for people, into `text`; empty: nothing. */
/* Why `protect` is off; NULL: it is not. */
const char *protection_trouble(unsigned protection);
void early_trouble(enum early_state early, unsigned why, struct text *text);
/* "on", "off", "arriving"; and why not wholly on, or NULL. Of enum fast_why. */
const char *fast_name(unsigned fast);
const char *fast_trouble(unsigned fast);
const char *rule_origin_name(unsigned origin);/* "file" */
const char *flow_state_name(unsigned state);  /* "established" */
/* The names of all states, for messages; *n of them, in the order of enum flow_state. */
const char *const *flow_state_names(size_t *n);

/* The name of a zone by number or by tag; "?" when this ruleset has none such. */
const char *zone_name(const struct ruleset *ruleset, unsigned zone);
const char *zone_tag_name(const struct ruleset *ruleset, unsigned tag);

/* "192.0.2.1", "2001:db8::1". */
void text_address(struct text *out, unsigned family, const uint32_t address[4]);
/* The same with a port: "192.0.2.1:80", "[2001:db8::1]:80". */
void text_endpoint(struct text *out, unsigned family, const uint32_t address[4], unsigned port);
/* "tcp", "protocol 200". */
void text_protocol(struct text *out, unsigned protocol);
/* "syn,ack"; "none". */
void text_tcp_flags(struct text *out, unsigned flags);
/* "echo-request", "type 200 code 3". */
void text_icmp(struct text *out, unsigned family, unsigned type_code);
bool protocol_is_icmp(unsigned protocol);

#endif
