// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What rules of NAT do to each other.
 *
 * Forwards that overlap: first match wins, so an exception may stand before what is wider. What
 * comes behind and is no wider never happens, which its author cannot have meant: an error. Where
 * neither holds the other, a part of the later one does not happen: a warning. Loops: a packet is
 * forwarded once, so a target that is itself what a forward takes is not reached by the way that
 * was written down.
 *
 * And what they do to `protect`.
 */
#include "policy/resolve.h"

#include <errno.h>
#include <string.h>

/* --- ranges -------------------------------------------------------------------- */

static bool ranges_meet(const struct ranges *a, const struct ranges *b)
{
	if (!a->n || !b->n)
		return true;
	for (uint32_t i = 0, j = 0; i < a->n && j < b->n;) {
		if (a->items[i].hi < b->items[j].lo)
			i++;
		else if (b->items[j].hi < a->items[i].lo)
			j++;
		else
			return true;
	}
	return false;
}

static bool ranges_within(const struct ranges *inner, const struct ranges *outer)
{
	uint32_t j = 0;

	if (!outer->n)
		return true;
	for (uint32_t i = 0; i < inner->n; i++) {
		while (j < outer->n && outer->items[j].hi < inner->items[i].lo)
			j++;
		if (j == outer->n || outer->items[j].lo > inner->items[i].lo ||
		    outer->items[j].hi < inner->items[i].hi)
			return false;
	}
	return inner->n;
}

static int compare(const uint32_t a[4], const uint32_t b[4])
{
	unsigned i;

	for (i = 0; i < 3 && a[i] == b[i]; i++)
		;
	return (a[i] > b[i]) - (a[i] < b[i]);
}

static bool addresses_meet(const struct addresses *a, const struct addresses *b)
{
	if (!a || !b)
		return true;
	for (uint32_t i = 0, j = 0; a->family == b->family && i < a->n && j < b->n;) {
		if (compare(a->items[i].hi, b->items[j].lo) < 0)
			i++;
		else if (compare(b->items[j].hi, a->items[i].lo) < 0)
			j++;
		else
			return true;
	}
	return false;
}

static bool addresses_within(const struct addresses *inner, const struct addresses *outer)
{
	uint32_t j = 0;

	if (!outer)
		return true;
	if (!inner || inner->family != outer->family)
		return false;
	for (uint32_t i = 0; i < inner->n; i++) {
		while (j < outer->n && compare(outer->items[j].hi, inner->items[i].lo) < 0)
			j++;
		if (j == outer->n || compare(outer->items[j].lo, inner->items[i].lo) > 0 ||
		    compare(outer->items[j].hi, inner->items[i].hi) < 0)
			return false;
	}
	return true;
}

/* --- clauses: what a rule of NAT can speak about ----------------------------------- */

static const enum field fields[] = { FIELD_PROTOCOL, FIELD_SRC_PORT, FIELD_DST_PORT };
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

/* May one address be of both? Whatever the sets hold. */
static bool sets_meet(const struct membership *a, const struct membership *b)
{
	if (a->none == b->none || !a->sets || !b->sets)
		return true;
	return a->none ? (b->sets & ~a->sets) != 0 : (a->sets & ~b->sets) != 0;
}

static bool clauses_meet(const struct clause *a, const struct clause *b)
{
	for (size_t i = 0; i < FIELDS; i++)
		if (!ranges_meet(&a->field[fields[i]], &b->field[fields[i]]))
			return false;
	return a->families & b->families && addresses_meet(a->src, b->src) &&
	       addresses_meet(a->dst, b->dst) && sets_meet(&a->src_sets, &b->src_sets) &&
	       sets_meet(&a->dst_sets, &b->dst_sets);
}

/* Whatever they hold. */
static bool sets_within(const struct membership *inner, const struct membership *outer)
{
	if (!outer->sets)
		return true;
	if (!inner->sets || inner->none != outer->none)
		return false;
	return inner->none ? !(outer->sets & ~inner->sets) : !(inner->sets & ~outer->sets);
}

static bool clause_within(const struct clause *inner, const struct clause *outer)
{
	for (size_t i = 0; i < FIELDS; i++)
		if (!ranges_within(&inner->field[fields[i]], &outer->field[fields[i]]))
			return false;
	return !(inner->families & ~outer->families) && addresses_within(inner->src, outer->src) &&
	       addresses_within(inner->dst, outer->dst) &&
	       sets_within(&inner->src_sets, &outer->src_sets) &&
	       sets_within(&inner->dst_sets, &outer->dst_sets);
}

/* Does `outer` match whatever `inner` does? By clauses: what several cover together is not seen. */
static bool rule_within(const struct rule *inner, const struct rule *outer)
{
	uint32_t i, j;

	if (inner->from & ~outer->from || inner->to & ~outer->to)
		return false;
	for (i = 0; i < inner->clause_n; i++) {
		for (j = 0; j < outer->clause_n; j++)
			if (clause_within(&inner->clauses[i], &outer->clauses[j]))
				break;
		if (j == outer->clause_n)
			return false;
	}
	return true;
}

static bool rules_meet(const struct rule *a, const struct rule *b)
{
	for (uint32_t i = 0; a->to & b->to && i < a->clause_n; i++)
		for (uint32_t j = 0; j < b->clause_n; j++)
			if (clauses_meet(&a->clauses[i], &b->clauses[j]))
				return true;
	return false;
}

static bool same_targets(const struct nat_rule *a, const struct nat_rule *b)
{
	if (a->target_n != b->target_n)
		return false;
	for (uint32_t i = 0; i < a->target_n; i++) {
		const struct nat_target *x = &a->targets[i], *y = &b->targets[i];

		if (x->prefix_to_prefix || y->prefix_to_prefix || x->family != y->family ||
		    memcmp(&x->addresses, &y->addresses, sizeof(x->addresses)) ||
		    x->port_lo != y->port_lo || x->port_hi != y->port_hi)
			return false;
	}
	return true;
}

/* --- loops ----------------------------------------------------------------------------- */

/* Would a packet that the clause sent to the target be matched by `again`? */
static bool taken_again(const struct nat_target *target, const struct clause *clause,
			const struct clause *again)
{
	struct range port = { target->port_lo, target->port_hi };
	const struct ranges given = { &port, 1 };
	struct addresses there = { .items = &target->addresses, .n = 1, .family = target->family };

	return again->dst && clause->families & again->families &&
	       addresses_meet(&there, again->dst) && addresses_meet(clause->src, again->src) &&
	       ranges_meet(&clause->field[FIELD_PROTOCOL], &again->field[FIELD_PROTOCOL]) &&
	       ranges_meet(&clause->field[FIELD_SRC_PORT], &again->field[FIELD_SRC_PORT]) &&
	       ranges_meet(target->port_lo ? &given : &clause->field[FIELD_DST_PORT],
			   &again->field[FIELD_DST_PORT]);
}

static bool loops(const struct nat_rule *rule, const struct nat_rule *again)
{
	const struct rule *a = &rule->rule, *b = &again->rule;

	for (uint32_t t = 0; t < rule->target_n; t++)
		for (uint32_t i = 0; i < a->clause_n; i++)
			for (uint32_t j = 0; j < b->clause_n; j++)
				if (taken_again(&rule->targets[t], &a->clauses[i], &b->clauses[j]))
					return true;
	return false;
}

/* --- every forward with every other ----------------------------------------------------- */

/*
 * -EINVAL after an error; *warned when the earlier one takes a part of the later one, which is told
 * once for each rule.
 */
static int check_pair(struct resolver *resolver, const struct nat_rule *earlier,
		      const struct nat_rule *later, bool *warned)
{
	const struct rule *a = &earlier->rule, *b = &later->rule;
	const struct nat_rule *loop = loops(later, earlier) ? later :
				      loops(earlier, later) ? earlier :
							      NULL;
	const struct nat_rule *other = loop == later ? earlier : later;

	if (loop)
		return resolve_error(resolver, loop->rule.position, "nat-loop",
				     "a packet is forwarded once: write where it ends at once",
				     "this forwards to what `%s` at %s forwards", other->rule.text,
				     resolve_place(resolver, other->rule.position));
	if (earlier == later || same_targets(earlier, later) || !rules_meet(a, b))
		return 0;
	if (rule_within(b, a))
		return resolve_error(resolver, b->position, "nat-overlap",
				     "first match wins: an exception stands before what is wider",
				     "never reached: `%s` at %s takes all of this and sends it elsewhere",
				     a->text, resolve_place(resolver, a->position));
	if (!rule_within(a, b) && !*warned) {
		diagnose(resolver->diagnostics, DIAGNOSTIC_WARNING, b->position, "nat-overlap", NULL,
			 "`%s` at %s takes a part of this and sends it elsewhere", a->text,
			 resolve_place(resolver, a->position));
		*warned = true;
	}
	return 0;
}

int resolve_nat_check(struct resolver *resolver, const struct nat_rule *rules, uint32_t n)
{
	int result = 0;

	for (uint32_t j = 0; j < n; j++) {
		bool warned = false;

		for (uint32_t i = 0; rules[j].kind == NAT_FORWARD && i <= j; i++) {
			if (rules[i].kind != NAT_FORWARD ||
			    !(rules[i].rule.from & rules[j].rule.from))
				continue;
			if (check_pair(resolver, &rules[i], &rules[j], &warned)) {
				result = -EINVAL;
				break;
			}
		}
	}
	return result;
}

/* --- interceptions ------------------------------------------------------------------------ */

static bool hidden_by(const struct nat_rule *later, const struct nat_rule *earlier)
{
	return earlier->kind == NAT_INTERCEPT && !same_targets(earlier, later) &&
	       rule_within(&later->rule, &earlier->rule);
}

int resolve_intercept_check(struct resolver *resolver, const struct nat_rule *rules, uint32_t n)
{
	int result = 0;

	for (uint32_t j = 0; j < n; j++) {
		uint32_t i = 0;

		while (i < j && rules[j].kind == NAT_INTERCEPT && !hidden_by(&rules[j], &rules[i]))
			i++;
		if (rules[j].kind != NAT_INTERCEPT || i == j)
			continue;
		resolve_error(resolver, rules[j].rule.position, "intercept-overlap",
			      "first match wins: an exception stands before what is wider",
			      "never reached: `%s` at %s takes all of this and hands it elsewhere",
			      rules[i].rule.text,
			      resolve_place(resolver, rules[i].rule.position));
		result = -EINVAL;
	}
	return result;
}

/* --- forwards and `protect` --------------------------------------------------------------- */

/* The connection that a cookie began is handed to a socket here: forwarded ones have none. */
static int check_protected(struct resolver *resolver, const struct rule *rule,
			   const struct nat_rule *rules, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct rule *forward = &rules[i].rule;

		if (rules[i].kind == NAT_FORWARD && rule->from & forward->from &&
		    rules_meet(forward, rule))
			return resolve_error(resolver, rule->position, "protect-forwarded",
					     "forwarded services are not protected yet: `limit tcp syn 1000/s each "
					     "source` slows a flood",
					     "`%s` at %s forwards a part of this elsewhere",
					     forward->text,
					     resolve_place(resolver, forward->position));
	}
	return 0;
}

int resolve_protect_check(struct resolver *resolver, const struct rule *early, uint32_t early_n,
			  const struct nat_rule *rules, uint32_t n)
{
	int result = 0;

	for (uint32_t i = 0; i < early_n; i++)
		if (early[i].action == ACTION_PROTECT &&
		    check_protected(resolver, &early[i], rules, n))
			result = -EINVAL;
	return result;
}
