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
#define MARKS 32

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

static int change_rule(uint16_t type, uint16_t flags, uint8_t family, uint32_t mark)
{
	char buffer[REQUEST_SIZE];
	struct nlmsghdr *request = message(buffer, type, NLM_F_ACK | flags);
	struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(request, sizeof(*rule));

	rule->family = family;
	rule->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(request, FRA_PRIORITY, INTERCEPT_PREFERENCE);
	mnl_attr_put_u32(request, FRA_FWMARK, mark);
	mnl_attr_put_u32(request, FRA_FWMASK, mark);
	mnl_attr_put_u32(request, FRA_TABLE, INTERCEPT_TABLE);
	mnl_attr_put_u8(request, FRA_PROTOCOL, PROTOCOL);
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
	bool route, rule;
};

static int make_family(uint8_t family, uint32_t mark, struct made *made)
{
	/* The route first: a rule without it would lead on to the next one. */
	int err = change_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, family);

	made->route = !err;
	if (err && err != -EEXIST)
		return err;
	err = change_rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, family, mark);
	made->rule = !err;
	return err == -EEXIST ? 0 : err;
}

static void unmake(const struct wanted *wanted, const struct made made[2])
{
	for (unsigned i = 0; i < 2; i++) {
		if (made[i].rule)
			change_rule(RTM_DELRULE, 0, families[i], wanted->mark);
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
		    "`intercept` needs a rule and a route of IPv%u that cannot be made: ",
		    i == 1 ? 4 : 6);
	if (err == -ENETDOWN)
		problem_hint(problem, "loopback is down: `ip link set lo up`");
	return err;
}

/* --- looking --------------------------------------------------------------------------- */

struct route_seen {
	uint32_t table;
	uint8_t type;
};

static int see_table(const struct nlattr *attr, void *context)
{
	struct route_seen *seen = context;

	if (mnl_attr_get_type(attr) == RTA_TABLE)
		seen->table = netlink_number(attr);
	return MNL_CB_OK;
}

static int see_route(const struct nlmsghdr *answer, void *context)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(answer);
	struct route_seen *seen = context;

	if (answer->nlmsg_type != RTM_NEWROUTE || !netlink_has_header(answer, sizeof(*route)))
		return MNL_CB_OK;
	seen->type = route->rtm_type;
	mnl_attr_parse(answer, sizeof(*route), see_table, seen);
	return MNL_CB_STOP;
}

/* Where does a packet with the mark go, to an address that no host has (RFC 5737, 3849)? */
static bool stays_here(uint8_t family, uint32_t mark)
{
	static const uint8_t nobody4[4] = { 192, 0, 2, 1 };
	static const uint8_t nobody6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
	char buffer[REQUEST_SIZE];
	struct nlmsghdr *request = message(buffer, RTM_GETROUTE, 0);
	struct rtmsg *route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	bool six = family == AF_INET6;
	struct route_seen seen = { 0 };

	route->rtm_family = family;
	route->rtm_dst_len = six ? 128 : 32;
	route->rtm_flags = RTM_F_LOOKUP_TABLE;
	mnl_attr_put(request, RTA_DST, six ? sizeof(nobody6) : sizeof(nobody4),
		     six ? nobody6 : nobody4);
	mnl_attr_put_u32(request, RTA_MARK, mark);
	return !netlink_dump(NETLINK_ROUTE, request, see_route, &seen) &&
	       seen.type == RTN_LOCAL && seen.table == INTERCEPT_TABLE;
}

bool intercept_routes_work(const struct ruleset *ruleset)
{
	struct wanted wanted = wanted_by(ruleset);

	for (unsigned i = 0; i < 2; i++)
		if (wanted.family[i] && !stays_here(families[i], wanted.mark))
			return false;
	return true;
}

/* --- removing -------------------------------------------------------------------------- */

/* The marks for which there are rules that lead to reeve's table. */
struct marks {
	uint32_t items[MARKS];
	unsigned n;
};

struct rule_seen {
	uint32_t table, mark;
};

static int see_rule_part(const struct nlattr *attr, void *context)
{
	struct rule_seen *seen = context;

	if (mnl_attr_get_type(attr) == FRA_TABLE)
		seen->table = netlink_number(attr);
	else if (mnl_attr_get_type(attr) == FRA_FWMARK)
		seen->mark = netlink_number(attr);
	return MNL_CB_OK;
}

static int see_rule(const struct nlmsghdr *answer, void *context)
{
	struct rule_seen seen = { 0 };
	struct marks *marks = context;

	if (answer->nlmsg_type != RTM_NEWRULE ||
	    !netlink_has_header(answer, sizeof(struct fib_rule_hdr)))
		return MNL_CB_OK;
	mnl_attr_parse(answer, sizeof(struct fib_rule_hdr), see_rule_part, &seen);
	if (seen.table == INTERCEPT_TABLE && marks->n < MARKS)
		marks->items[marks->n++] = seen.mark;
	return MNL_CB_OK;
}

static void tidy_family(uint8_t family, uint32_t mark)
{
	char buffer[REQUEST_SIZE];
	struct nlmsghdr *request = message(buffer, RTM_GETRULE, NLM_F_DUMP);
	struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(request, sizeof(*rule));
	struct marks marks = { 0 };

	rule->family = family;
	if (netlink_dump(NETLINK_ROUTE, request, see_rule, &marks))
		return;
	for (unsigned i = 0; i < marks.n; i++)
		if (marks.items[i] != mark)
			change_rule(RTM_DELRULE, 0, family, marks.items[i]);
	if (!mark)
		change_route(RTM_DELROUTE, 0, family);
}

void intercept_routes_tidy(const struct ruleset *ruleset)
{
	struct wanted wanted = wanted_by(ruleset);

	for (unsigned i = 0; i < 2; i++)
		tidy_family(families[i], wanted.family[i] ? wanted.mark : 0);
}
