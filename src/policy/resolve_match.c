// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Matches: from what a rule is about to clauses.
 *
 * A match is planned as lanes, one for each carrier of its service, to which source ports and TCP
 * flags are added; then each lane becomes one clause, or one for each family when addresses are
 * named. Conditions that do not depend on the protocol (length, mark, …) are put into a base clause
 * once and copied.
 *
 * Addresses that are partly in dynamic sets are alternatives: a clause for the ranges and one for
 * the sets.
 *
 * What cannot match is an error that says why, when the words of the rule alone decide it: flags of
 * udp, ports of icmp, an IPv4 source with an IPv6 destination. When the contents of a set decide it
 * (an empty blocklist is nothing wrong), the match gets no clause and a warning.
 */
#include "policy/resolve.h"

#include <netinet/in.h>
#include <string.h>

#include "policy/protocols.h"

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

static const struct range zero = { 0, 0 };
static const struct range one = { 1, 1 };
static const struct ranges not_fragment = { &zero, 1 };
static const struct ranges fragment = { &one, 1 };

/* A carrier with what the rest of the match says about its protocol. */
struct lane {
	struct carrier carrier;
	struct ranges src_ports;
	struct masked flags;
};

VECTOR(lane_vector, struct lane);
VECTOR(clause_vector, struct clause);

struct plan {
	struct resolver *resolver;
	const struct tree_match *match;
	struct position position; /* of the whole match */
	bool to_self;
	struct lane_vector lanes;
	struct clause base;
	struct address_pair from, to;
};

static const struct tree_condition *condition_find(const struct tree_match *match,
						   enum tree_condition_kind kind)
{
	for (uint32_t i = 0; i < match->condition_n; i++)
		if (match->conditions[i].kind == kind)
			return &match->conditions[i];
	return NULL;
}

/* --- lanes -------------------------------------------------------------------- */

static int lane_push(struct plan *plan, const struct carrier *carrier)
{
	struct lane lane = { .carrier = *carrier };

	if (carrier->syn)
		lane.flags = (struct masked){ .mask = TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST,
					      .value = TCP_SYN };
	return lane_vector_push(&plan->lanes, lane) ? -ENOMEM : 0;
}

static int plan_service(struct plan *plan)
{
	static const struct carrier any = { .protocol = -1, .families = FAMILY_BITS_ALL };
	struct carriers carriers = { .items = &any, .n = 1 };
	int err = 0;

	if (plan->match->service)
		err = resolve_service(plan->resolver, plan->match->service, &carriers);
	for (uint32_t i = 0; !err && i < carriers.n; i++)
		err = lane_push(plan, &carriers.items[i]);
	return err;
}

/* Flags are TCP's: a match without a protocol becomes TCP, one with another is refused. */
static int plan_flags(struct plan *plan)
{
	const struct tree_condition *condition = condition_find(plan->match, TREE_FLAGS);

	for (size_t i = 0; condition && i < plan->lanes.n; i++) {
		struct lane *lane = &plan->lanes.items[i];
		const char *name;

		if (lane->carrier.protocol < 0)
			lane->carrier.protocol = IPPROTO_TCP;
		if (lane->carrier.protocol != IPPROTO_TCP) {
			name = protocol_name((uint8_t)lane->carrier.protocol);
			return resolve_error(plan->resolver, condition->position, "flags-protocol",
					     "name the service with its protocol, as in `80/tcp`",
					     "`flags` are of tcp only, this is about %s as well",
					     name ? name : "another protocol");
		}
		if ((lane->flags.value ^ condition->masked.value) & lane->flags.mask &
		    condition->masked.mask)
			return resolve_error(plan->resolver, condition->position, "empty-match",
					     "`tcp syn` is `tcp flags syn/syn,ack,fin,rst`",
					     "`tcp syn` and these flags contradict each other");
		lane->flags.mask |= condition->masked.mask;
		lane->flags.value |= condition->masked.value;
	}
	return 0;
}

/* A match without a protocol but with source ports is about tcp and udp, as a port alone is. */
static int split_any(struct plan *plan)
{
	for (size_t i = 0; i < plan->lanes.n; i++) {
		struct lane udp = plan->lanes.items[i];

		if (udp.carrier.protocol >= 0)
			continue;
		plan->lanes.items[i].carrier.protocol = IPPROTO_TCP;
		udp.carrier.protocol = IPPROTO_UDP;
		return lane_vector_push(&plan->lanes, udp) ? -ENOMEM : 0;
	}
	return 0;
}

static int plan_source_ports(struct plan *plan)
{
	const struct tree_service *tree = plan->match->from_ports;
	size_t kept = 0;
	int err;

	if (!tree)
		return 0;
	if (split_any(plan))
		return -ENOMEM;
	for (size_t i = 0; i < plan->lanes.n; i++) {
		struct lane lane = plan->lanes.items[i];
		uint8_t protocol = (uint8_t)lane.carrier.protocol;

		if (!protocol_has_ports(protocol)) {
			const char *name = protocol_name(protocol);

			return resolve_error(plan->resolver, tree->position, "ports-protocol", NULL,
					     "%s has no ports", name ? name : "this protocol");
		}
		err = resolve_ports(plan->resolver, tree, protocol, &lane.src_ports);
		if (err == -ENOENT)
			continue;
		if (err)
			return err;
		plan->lanes.items[kept++] = lane;
	}
	plan->lanes.n = kept;
	if (!kept)
		return resolve_error(plan->resolver, tree->position, "empty-match", NULL,
				     "no port that is named here is of the protocol this is about");
	return 0;
}

/* Later fragments have no ports, types or flags to look at. */
static int plan_fragment(struct plan *plan)
{
	const struct tree_condition *condition = condition_find(plan->match, TREE_FRAGMENT);

	if (!condition)
		return 0;
	for (size_t i = 0; i < plan->lanes.n; i++) {
		const struct lane *lane = &plan->lanes.items[i];

		if (lane->carrier.ports.n || lane->src_ports.n || lane->flags.mask)
			return resolve_error(plan->resolver, condition->position, "empty-match",
					     "say the protocol alone, as in `udp fragment`",
					     "later fragments carry no ports, types or flags");
	}
	condition = condition_find(plan->match, TREE_STATE);
	if (condition && condition->state == STATE_NEW)
		return resolve_error(plan->resolver, condition->position, "empty-match", NULL,
				     "a later fragment is never `new`");
	plan->base.field[FIELD_FRAGMENT] = fragment;
	return 0;
}

/* --- conditions ----------------------------------------------------------------- */

static int constrain(struct plan *plan, enum field field, uint32_t lo, uint32_t hi)
{
	struct range *range = arena_new(plan->resolver->arena, struct range);

	if (!range)
		return -ENOMEM;
	*range = (struct range){ lo, hi };
	plan->base.field[field] = (struct ranges){ range, 1 };
	return 0;
}

static int plan_mark(struct plan *plan, const struct tree_condition *condition)
{
	uint32_t own = UINT32_C(3) << plan->resolver->mark_shift;

	if (condition->masked.value & own)
		return resolve_error(plan->resolver, condition->position, "mark-bits",
				     "`options { mark-bits N }` moves them",
				     "bits %d and %d of the mark are reeve's own and never match",
				     plan->resolver->mark_shift, plan->resolver->mark_shift + 1);
	plan->base.mark = (struct masked){ .mask = condition->masked.mask & ~own,
					   .value = condition->masked.value };
	return 0;
}

static int plan_mac(struct plan *plan, const struct tree_condition *condition)
{
	if (!plan->to_self)
		return resolve_error(plan->resolver, condition->position, "mac-pair",
				     "it can be asked for in a policy `ZONE -> self`",
				     "`mac` is known on arrival only, not where a packet leaves");
	plan->base.has_mac = true;
	memcpy(plan->base.mac, condition->mac, sizeof(plan->base.mac));
	return 0;
}

static int plan_condition(struct plan *plan, const struct tree_condition *condition)
{
	switch (condition->kind) {
	case TREE_LENGTH:
		return constrain(plan, FIELD_LENGTH, condition->span.lo, condition->span.hi);
	case TREE_TTL:
		return constrain(plan, FIELD_TTL, condition->span.lo, condition->span.hi);
	case TREE_DSCP:
		return constrain(plan, FIELD_DSCP, condition->dscp.value, condition->dscp.value);
	case TREE_STATE:
		return constrain(plan, FIELD_STATE, condition->state, condition->state);
	case TREE_MARK:
		return plan_mark(plan, condition);
	case TREE_MAC:
		return plan_mac(plan, condition);
	case TREE_FLAGS:
	case TREE_FRAGMENT:
		return 0; /* with the lanes */
	case TREE_CONDITION_KINDS:
		break;
	}
	return resolve_error(plan->resolver, condition->position, "not-supported", NULL,
			     "this condition is not supported yet");
}

static int plan_conditions(struct plan *plan)
{
	int result = 0;

	for (uint32_t i = 0; i < plan->match->condition_n; i++) {
		int err = plan_condition(plan, &plan->match->conditions[i]);

		if (err == -ENOMEM)
			return err;
		result = result ? result : err;
	}
	return result;
}

/* --- addresses and families ------------------------------------------------------- */

static int plan_addresses(struct plan *plan)
{
	int err = 0, second = 0;

	if (plan->match->from)
		err = resolve_addresses(plan->resolver, plan->match->from, &plan->from);
	if (err != -ENOMEM && plan->match->to)
		second = resolve_addresses(plan->resolver, plan->match->to, &plan->to);
	return err ? err : second;
}

static uint8_t families_of(const struct tree_addresses *tree, const struct address_pair *pair)
{
	if (!tree || (pair->sets.sets && !pair->sets.none))
		return FAMILY_BITS_ALL;
	return (uint8_t)(pair->whole |
			 (pair->family[0] ? FAMILY_BIT_4 : 0) |
			 (pair->family[1] ? FAMILY_BIT_6 : 0));
}

static bool names_set(const struct tree_addresses *tree)
{
	for (uint32_t i = 0; tree && i < tree->n; i++)
		if (tree->items[i].kind == TREE_ADDRESS_SET)
			return true;
	return false;
}

static const char *family_word(uint8_t families)
{
	return families == FAMILY_BIT_4 ? "IPv4" : "IPv6";
}

/* No clause came out: by the words of the rule, or by what is in a set. */
static int nothing_left(struct plan *plan)
{
	const struct tree_match *match = plan->match;
	uint8_t from = families_of(match->from, &plan->from);
	uint8_t to = families_of(match->to, &plan->to);
	const struct tree_addresses *which = match->from ? match->from : match->to;
	uint8_t families = 0;

	if (names_set(match->from) || names_set(match->to)) {
		diagnose(plan->resolver->diagnostics, DIAGNOSTIC_WARNING, plan->position,
			 "never-matches", NULL,
			 "nothing matches this: the set holds no address of a family that fits");
		return 0;
	}
	if (!from || !to)
		return resolve_error(plan->resolver, plan->position, "empty-match", NULL,
				     "this list of addresses is empty, so nothing matches");
	if (!(from & to))
		return resolve_error(plan->resolver, match->to->position, "empty-match", NULL,
				     "`from` is %s and `to` is %s: no packet has both",
				     family_word(from), family_word(to));
	for (size_t i = 0; i < plan->lanes.n; i++)
		families |= plan->lanes.items[i].carrier.families;
	return resolve_error(
		plan->resolver, which->position, "empty-match",
		families == FAMILY_BIT_4 ? "for IPv6 say `icmpv6`" : "for IPv4 say `icmp`",
		"%s is %s, these addresses are %s", families == FAMILY_BIT_4 ? "icmp" : "icmpv6",
		family_word(families), family_word(from & to));
}

/* --- clauses ----------------------------------------------------------------------- */

/* One way in which an address fits. */
struct alternative {
	const struct addresses *addresses; /* NULL: any */
	struct membership sets;
};

/* The alternatives for a family of which something is named; at most two. */
static unsigned alternatives(const struct address_pair *pair, unsigned family,
			     struct alternative items[2])
{
	unsigned n = 0;

	if (pair->family[family] || pair->sets.none || !pair->sets.sets)
		items[n++] = (struct alternative){ .addresses = pair->family[family] };
	if (pair->sets.none)
		items[0].sets = pair->sets;
	else if (pair->sets.sets)
		items[n++] = (struct alternative){ .sets = pair->sets };
	return n;
}

/* The clauses of one family: each alternative of the source with each of the destination. */
static int family_clauses(struct plan *plan, unsigned family, struct clause clause,
			  struct clause_vector *clauses)
{
	struct alternative from[2], to[2];
	unsigned from_n = alternatives(&plan->from, family, from), i, j;
	unsigned to_n = alternatives(&plan->to, family, to);
	int err = 0;

	clause.families = family ? FAMILY_BIT_6 : FAMILY_BIT_4;
	for (i = 0; i < from_n; i++) {
		for (j = 0; j < to_n && !err; j++) {
			clause.src = from[i].addresses;
			clause.src_sets = from[i].sets;
			clause.dst = to[j].addresses;
			clause.dst_sets = to[j].sets;
			err = clause_vector_push(clauses, clause);
		}
	}
	return err;
}

static int lane_clauses(struct plan *plan, const struct lane *lane, struct clause_vector *clauses)
{
	bool addresses = plan->match->from || plan->match->to;
	uint8_t families = lane->carrier.families & families_of(plan->match->from, &plan->from) &
			   families_of(plan->match->to, &plan->to);
	struct clause clause = plan->base;
	int err = 0;

	if (lane->carrier.protocol >= 0) {
		struct range *protocol = arena_new(plan->resolver->arena, struct range);

		if (!protocol)
			return -ENOMEM;
		protocol->lo = protocol->hi = (uint32_t)lane->carrier.protocol;
		clause.field[FIELD_PROTOCOL] = (struct ranges){ protocol, 1 };
	}
	clause.field[FIELD_SRC_PORT] = lane->src_ports;
	clause.field[FIELD_DST_PORT] = lane->carrier.ports;
	clause.flags = lane->flags;
	if (lane->carrier.ports.n || lane->src_ports.n || lane->flags.mask)
		clause.field[FIELD_FRAGMENT] = not_fragment;
	clause.families = families;
	if (!addresses)
		return clause_vector_push(clauses, clause) ? -ENOMEM : 0;
	for (unsigned i = 0; !err && i < 2; i++)
		if (families & (i ? FAMILY_BIT_6 : FAMILY_BIT_4))
			err = family_clauses(plan, i, clause, clauses);
	return err ? -ENOMEM : 0;
}

static int make_clauses(struct plan *plan, struct clauses *result)
{
	struct clause_vector clauses = { 0 };
	int err = 0;

	for (size_t i = 0; !err && i < plan->lanes.n; i++)
		err = lane_clauses(plan, &plan->lanes.items[i], &clauses);
	if (!err && !clauses.n)
		err = nothing_left(plan);
	if (!err) {
		result->items = (const void *)arena_copy(plan->resolver->arena, clauses.items,
							 clauses.n * sizeof(*clauses.items));
		result->n = (uint32_t)clauses.n;
		err = result->items ? 0 : -ENOMEM;
	}
	clause_vector_free(&clauses);
	return err;
}

int resolve_match(struct resolver *resolver, const struct tree_match *match,
		  struct position position, bool to_self, struct clauses *clauses)
{
	struct plan plan = {
		.resolver = resolver, .match = match, .position = position, .to_self = to_self
	};
	/*
	 * In this order; every part that can be checked is, so that one run tells all that is
	 * wrong.
	 */
	int service = plan_service(&plan);
	int addresses = service == -ENOMEM ? 0 : plan_addresses(&plan);
	int err = service ? service : addresses;

	if (err != -ENOMEM) {
		int conditions = plan_conditions(&plan);

		err = err ? err : conditions;
	}
	if (!err)
		err = plan_flags(&plan);
	if (!err)
		err = plan_source_ports(&plan);
	if (!err)
		err = plan_fragment(&plan);
	if (!err)
		err = make_clauses(&plan, clauses);
	lane_vector_free(&plan.lanes);
	return err;
}
