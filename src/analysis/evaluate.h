// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The reference evaluator: walks the rules one after the other, knows nothing of images. Simple and
 * slow; every engine is held against it, and `explain` speaks from it.
 */
#ifndef REEVE_ANALYSIS_EVALUATE_H
#define REEVE_ANALYSIS_EVALUATE_H

#include "policy/rule.h"

/*
 * Does one clause match these fields? (Zones are the rule's business.) What dynamic sets hold,
 * ruleset->contents tells.
 */
bool clause_matches(const struct ruleset *ruleset, const struct clause *clause,
		    const struct fields *fields);
bool rule_matches(const struct ruleset *ruleset, const struct rule *rule,
		  const struct fields *fields);
/* Is the address in any of these dynamic sets, or with sets->none in none of them? */
bool membership_holds(const struct ruleset *ruleset, const struct membership *sets,
		      uint32_t family, const uint32_t address[4]);
/*
 * The number of the first rule that matches. There is always one when family is 4 or 6 and zones
 * are the ruleset's.
 */
uint32_t evaluate(const struct ruleset *ruleset, const struct fields *fields);
/*
 * The same, where of each rule with limits that matches `within` is asked, in order, whether it
 * takes the packet. evaluate() takes all for within.
 */
uint32_t evaluate_limited(const struct ruleset *ruleset, const struct fields *fields,
			  bool (*within)(void *context, uint32_t rule), void *context);
/*
 * Is it a later fragment that no rule with `fragment` has decided (`rule` is what evaluate() said)?
 * Without its first fragment it is then dropped, whatever the built-in rule says.
 */
bool evaluate_orphan(const struct ruleset *ruleset, const struct fields *fields, uint32_t rule);
/*
 * Is it TCP amid a connection that nobody knows, which `rule` allows but may not begin a flow with
 * (`tcp-pickup off`)? Then it is dropped.
 */
bool evaluate_mid_stream(const struct ruleset *ruleset, const struct fields *fields, uint32_t rule);
/*
 * The rule that would let a live flow begin, of which zones, addresses, protocol, ports and ICMP
 * type are known, and STATE; conditions on anything else count as matching. Rules with limits that
 * refuse do not match: the flow began in spite of them.
 */
uint32_t evaluate_flow(const struct ruleset *ruleset, const struct fields *fields);

/*
 * The rule of NAT, by its index in ruleset->nat, that translates the destination of a new packet
 * (its to-zone is that of its destination before), or the source of a new flow that leaves (its
 * destination is the translated one); ruleset->nat_n if none does. Later fragments are translated as
 * their first one was, so nothing translates them here.
 */
uint32_t evaluate_forward(const struct ruleset *ruleset, const struct fields *fields);
uint32_t evaluate_source(const struct ruleset *ruleset, const struct fields *fields);
/*
 * Likewise the `intercept` statement that takes a flow which would begin with the packet, and be
 * forwarded from its from-zone to its to-zone.
 */
uint32_t evaluate_intercept(const struct ruleset *ruleset, const struct fields *fields);
/*
 * The rule of `early`, by its index in ruleset->early, that takes a packet which arrives: drops
 * it, or protects its service (the packet goes on, as far as anybody but the kernel can tell);
 * ruleset->early_n if none does. Zone and fields as a program sees them that looks at nothing but
 * the packet: no mark. Of each rule with a limit that matches `within` is asked, in order: beyond it
 * (`over`), or within it, the rule drops.
 */
uint32_t evaluate_early(const struct ruleset *ruleset, const struct fields *fields,
			bool (*within)(void *context, uint32_t rule), void *context);

/*
 * The address that a target gives one that is translated: the first of a range, that with the same
 * host bits of a prefix. IPv6 prefixes are translated checksum-neutral, RFC 6296: the difference of
 * the prefixes is added to a word behind them (3.4, 3.5).
 */
void evaluate_target(const struct nat_target *target, const uint32_t address[4],
		     uint32_t translated[4]);
/* The port for one that is matched; the target has ports. */
uint32_t evaluate_target_port(const struct nat_target *target, uint32_t port);

/* Does the list hold the address? */
bool addresses_have(const struct addresses *addresses, uint32_t family, const uint32_t address[4]);

#endif
