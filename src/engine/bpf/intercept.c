// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/intercept.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/bpf/netlink.h"
#include "engine/bpf/problem.h"

#define LOOPBACK 1u /* the first device of every network namespace */
#define PROTOCOL 114 /* who has made it, as others see it: a number that nobody else has */
#define REQUEST_SIZE 512
#define MARKS 32 /* more than there are bits */

/* The rules, in the order in which they are made: each needs those before it. */
enum own_rule {
	RULE_END,  /* where the next one leads */
	RULE_PAST, /* what does not arrive */
	RULE_STAY,
	RULES,
};

static const struct {
	uint32_t preference;
	uint8_t action;
} own_rules[RULES] = {
	[RULE_END] = { 3, FR_ACT_NOP },
	[RULE_PAST] = { 1, FR_ACT_GOTO },
	[RULE_STAY] = { 2, FR_ACT_TO_TBL },
};

/* What the policy needs: the bit of the mark, and by family whether it is intercepted. */
struct wanted {
	uint32_t mark;
	bool family[2]; /* IPv4, IPv6 */
};

static const uint8_t families[2] = { AF_INET, AF_INET6 };

static struct wanted wanted_by(const struct ruleset *ruleset)
{
	struct wanted wanted = { 0 };

	for (uint32_t i = 0; ruleset && i < ruleset->nat_n; i++) {
		if (ruleset->nat[i].kind != NAT_INTERCEPT)
			continue;
		wanted.family[ruleset->nat[i].targets[0].family == 6] = true;
		wanted.mark = image_intercept_mark(ruleset->options.mark_shift);
	}
	return wanted;
}

bool intercept_asked(const struct ruleset *ruleset)
{
	return wanted_by(ruleset).mark;
}

/* --- messages ------------------------------------------------------------------------ */

static struct nlmsghdr *message(void *buffer, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST | flags;
	request->nlmsg_seq = 1;
	return request;
}

static int change_rule(uint16_t type, uint16_t flags, uint8_t family, enum own_rule which,
		       uint32_t mark)
{
	char buffer[REQUEST_SIZE];
	struct nlmsghdr *request = message(buffer, type, NLM_F_ACK | flags);
	struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(request, sizeof(*rule));

	rule->family = family;
	rule->action = own_rules[which].action;
	mnl_attr_put_u32(request, FRA_PRIORITY, own_rules[which].preference);
	mnl_attr_put_u8(request, FRA_PROTOCOL, PROTOCOL);
	if (which != RULE_END) {
		mnl_attr_put_u32(request, FRA_FWMARK, mark);
		mnl_attr_put_u32(request, FRA_FWMASK, mark);
	}
	if (which == RULE_PAST) {
		mnl_attr_put_strz(request, FRA_IIFNAME, "lo");
		mnl_attr_put_u32(request, FRA_GOTO, own_rules[RULE_END].preference);
	}
	if (which == RULE_STAY)
		mnl_attr_put_u32(request, FRA_TABLE, INTERCEPT_TABLE);
	return netlink_dump(NETLINK_ROUTE, request, NULL, NULL);
}

static int change_route(uint16_t type, uint16_t flags, uint8_t family)
{
	char buffer[REQUEST_SIZE];
	struct nlmsghdr *request = message(buffer, type, NLM_F_ACK | flags);
	struct rtmsg *route = mnl_nlmsg_put_extra_header(request, sizeof(*route));

	route->rtm_family = family;
	route->rtm_protocol = PROTOCOL;
	route->rtm_scope = RT_SCOPE_HOST;
	route->rtm_type = RTN_LOCAL;
	mnl_attr_put_u32(request, RTA_TABLE, INTERCEPT_TABLE);
	mnl_attr_put_u32(request, RTA_OIF, LOOPBACK);
	return netlink_dump(NETLINK_ROUTE, request, NULL, NULL);
}

/* --- making --------------------------------------------------------------------------- */

/* What of a family was made just now, and was not there before. */
struct made {
	bool route, rule[RULES];
};

static int make_family(uint8_t family, uint32_t mark, struct made *made)
{
	/* The route first: a rule without it would lead on to the next one. */
	int err = change_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, family);

	made->route = !err;
	for (enum own_rule i = 0; i < RULES && (!err || err == -EEXIST); i++) {
		err = change_rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, family, i, mark);
		made->rule[i] = !err;
	}
	return err == -EEXIST ? 0 : err;
}

static void unmake(const struct wanted *wanted, const struct made made[2])
{
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned rule = RULES; rule--;)
			if (made[i].rule[rule])
				change_rule(RTM_DELRULE, 0, families[i], (enum own_rule)rule,
					    wanted->mark);
		if (made[i].route)
			change_route(RTM_DELROUTE, 0, families[i]);
	}
}

int intercept_routes_make(const struct ruleset *ruleset, struct problem *problem)
{
	struct wanted wanted = wanted_by(ruleset);
	struct made made[2] = { 0 };
	unsigned i = 0;
	int err = 0;

	for (; i < 2 && !err; i++)
		if (wanted.family[i])
			err = make_family(families[i], wanted.mark, &made[i]);
	if (!err)
		return 0;
	unmake(&wanted, made);
	problem_set(problem, err,
		    "`intercept` needs rules and a route of IPv%u that cannot be made: ",
		    i == 1 ? 4 : 6);
	if (err == -ENETDOWN)
		problem_hint(problem, "loopback is down: `ip link set lo up`");
	return err;
}

/* --- looking --------------------------------------------------------------------------- */

/* Rules that are reeve's own, by what they do: how many, and their marks. */
struct rules_seen {
	unsigned n[RULES];
	uint32_t marks[RULES][MARKS];
};

struct rule_seen {
	uint32_t preference, mark;
	uint8_t protocol;
};

static int see_rule_part(const struct nlattr *attr, void *context)
{
	struct rule_seen *seen = context;

	switch (mnl_attr_get_type(attr)) {
	case FRA_PRIORITY:
		seen->preference = netlink_number(attr);
		break;
	case FRA_FWMARK:
		seen->mark = netlink_number(attr);
		break;
	case FRA_PROTOCOL:
		if (mnl_attr_validate(attr, MNL_TYPE_U8) >= 0)
			seen->protocol = mnl_attr_get_u8(attr);
		break;
	}
	return MNL_CB_OK;
}

static int see_rule(const struct nlmsghdr *answer, void *context)
{
	const struct fib_rule_hdr *rule = mnl_nlmsg_get_payload(answer);
	struct rules_seen *seen = context;
	struct rule_seen one = { 0 };

	if (answer->nlmsg_type != RTM_NEWRULE || !netlink_has_header(answer, sizeof(*rule)))
		return MNL_CB_OK;
	mnl_attr_parse(answer, sizeof(*rule), see_rule_part, &one);
	for (unsigned i = 0; one.protocol == PROTOCOL && i < RULES; i++)
		if (rule->action == own_rules[i].action &&
		    one.preference == own_rules[i].preference && seen->n[i] < MARKS)
			seen->marks[i][seen->n[i]++] = one.mark;
	return MNL_CB_OK;
}

static int see_rules(uint8_t family, struct rules_seen *seen)
{
	char buffer[REQUEST_SIZE];
	struct nlmsghdr *request = message(buffer, RTM_GETRULE, NLM_F_DUMP);
	struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(request, sizeof(*rule));

	*seen = (struct rules_seen){ 0 };
	rule->family = family;
	return netlink_dump(NETLINK_ROUTE, request, see_rule, seen);
}

static bool rules_there(uint8_t family, uint32_t mark)
{
	struct rules_seen seen;

	if (see_rules(family, &seen))
		return false;
	for (unsigned i = 0; i < RULES; i++) {
		unsigned j = 0;

		while (j < seen.n[i] && seen.marks[i][j] != (i == RULE_END ? 0 : mark))
			j++;
		if (j == seen.n[i])
			return false;
	}
	return true;
}

static int see_table(const struct nlattr *attr, void *context)
{
	uint32_t *table = context;

	if (mnl_attr_get_type(attr) == RTA_TABLE)
		*table = netlink_number(attr);
	return MNL_CB_OK;
}

static int see_route(const struct nlmsghdr *answer, void *context)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(answer);
	uint32_t table = 0;
	bool *there = context;

	if (answer->nlmsg_type != RTM_NEWROUTE || !netlink_has_header(answer, sizeof(*route)))
		return MNL_CB_OK;
	mnl_attr_parse(answer, sizeof(*route), see_table, &table);
	if (table == INTERCEPT_TABLE && route->rtm_type == RTN_LOCAL && !route->rtm_dst_len)
		*there = true;
	return MNL_CB_OK;
}

static bool route_there(uint8_t family)
{
	char buffer[REQUEST_SIZE];
	struct nlmsghdr *request = message(buffer, RTM_GETROUTE, NLM_F_DUMP);
	struct rtmsg *route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	bool there = false;

	route->rtm_family = family;
	mnl_attr_put_u32(request, RTA_TABLE, INTERCEPT_TABLE);
	return !netlink_dump_chosen(NETLINK_ROUTE, request, see_route, &there) && there;
}

bool intercept_routes_there(const struct ruleset *ruleset)
{
	struct wanted wanted = wanted_by(ruleset);

	for (unsigned i = 0; i < 2; i++)
		if (wanted.family[i] &&
		    !(rules_there(families[i], wanted.mark) && route_there(families[i])))
			return false;
	return true;
}

/* --- removing -------------------------------------------------------------------------- */

static void tidy_family(uint8_t family, uint32_t mark)
{
	struct rules_seen seen;

	if (see_rules(family, &seen))
		return;
	for (unsigned i = RULES; i--;)
		for (unsigned j = 0; j < seen.n[i]; j++)
			if (i == RULE_END ? !mark : seen.marks[i][j] != mark)
				change_rule(RTM_DELRULE, 0, family, (enum own_rule)i,
					    seen.marks[i][j]);
	if (!mark)
		change_route(RTM_DELROUTE, 0, family);
}

void intercept_routes_tidy(const struct ruleset *ruleset)
{
	struct wanted wanted = wanted_by(ruleset);

	for (unsigned i = 0; i < 2; i++)
		tidy_family(families[i], wanted.family[i] ? wanted.mark : 0);
}
