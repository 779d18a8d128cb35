// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/interfaces.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "engine/bpf/netlink.h"
#include "engine/bpf/problem.h"

static int link_info_receive(const struct nlattr *attr, void *context)
{
	const char *kind = netlink_string(attr);
	struct link *link = context;

	if (mnl_attr_get_type(attr) == IFLA_INFO_KIND) {
		link->ifb = !strcmp(kind, "ifb");
		link->veth = !strcmp(kind, "veth");
	}
	if (mnl_attr_get_type(attr) == IFLA_INFO_SLAVE_KIND)
		link->port = !strcmp(kind, "bridge") || !strcmp(kind, "bond") ||
			     !strcmp(kind, "team") || !strcmp(kind, "openvswitch");
	return MNL_CB_OK;
}

static int link_attr_receive(const struct nlattr *attr, void *context)
{
	struct link *link = context;

	switch (mnl_attr_get_type(attr)) {
	case IFLA_IFNAME:
		snprintf(link->name, sizeof(link->name), "%s", netlink_string(attr));
		break;
	case IFLA_MASTER:
		link->master = netlink_number(attr);
		break;
	case IFLA_LINKINFO:
		return mnl_attr_parse_nested(attr, link_info_receive, link);
	}
	return MNL_CB_OK;
}

static bool has_ethernet_header(unsigned int type)
{
	return type == ARPHRD_ETHER || type == ARPHRD_LOOPBACK;
}

static int link_receive(const struct nlmsghdr *message, void *context)
{
	const struct ifinfomsg *header = mnl_nlmsg_get_payload(message);
	struct link_vector *links = context;
	struct link link = { 0 };

	if (message->nlmsg_type != RTM_NEWLINK || !netlink_has_header(message, sizeof(*header)))
		return MNL_CB_OK;
	link.ifindex = (uint32_t)header->ifi_index;
	link.ethernet = has_ethernet_header(header->ifi_type);
	link.loopback = header->ifi_flags & IFF_LOOPBACK;
	if (mnl_attr_parse(message, sizeof(*header), link_attr_receive, &link) < 0)
		return MNL_CB_ERROR;
	return link_vector_push(links, link) ? MNL_CB_ERROR : MNL_CB_OK;
}

static void default_route_set(struct link_vector *links, uint32_t ifindex)
{
	for (size_t i = 0; i < links->n; i++)
		if (links->items[i].ifindex == ifindex)
			links->items[i].default_route = true;
}

static int route_attr_receive(const struct nlattr *attr, void *context)
{
	if (mnl_attr_get_type(attr) == RTA_OIF)
		default_route_set(context, netlink_number(attr));
	if (mnl_attr_get_type(attr) == RTA_MULTIPATH) {
		const unsigned char *at = mnl_attr_get_payload(attr);
		size_t left = mnl_attr_get_payload_len(attr);

		while (left >= sizeof(struct rtnexthop)) {
			const struct rtnexthop *hop = (const void *)at;
			size_t size = ((size_t)hop->rtnh_len + 3) & ~(size_t)3;

			if (size < sizeof(*hop) || size > left)
				break;
			default_route_set(context, (uint32_t)hop->rtnh_ifindex);
			at += size;
			left -= size;
		}
	}
	return MNL_CB_OK;
}

static int route_receive(const struct nlmsghdr *message, void *context)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);

	if (message->nlmsg_type != RTM_NEWROUTE || !netlink_has_header(message, sizeof(*route)) ||
	    route->rtm_dst_len || route->rtm_type != RTN_UNICAST)
		return MNL_CB_OK;
	return mnl_attr_parse(message, sizeof(*route), route_attr_receive, context);
}

static int link_compare(const void *a, const void *b)
{
	const struct link *left = a, *right = b;

	return (left->ifindex > right->ifindex) - (left->ifindex < right->ifindex);
}

int links_list(struct link_vector *links, struct problem *problem)
{
	char buffer[256];
	int err;

	err = netlink_dump(NETLINK_ROUTE,
			   netlink_request(buffer, RTM_GETLINK, sizeof(struct ifinfomsg), AF_UNSPEC),
			   link_receive, links);
	if (err) {
		link_vector_free(links);
		return problem_set(problem, err, "cannot list the interfaces: ");
	}
	qsort(links->items, links->n, sizeof(links->items[0]), link_compare);
	return 0;
}

int links_read(struct link_vector *links, struct problem *problem)
{
	static const unsigned char families[] = { AF_INET, AF_INET6 };
	char buffer[256];
	int err = links_list(links, problem);

	if (err)
		return err;
	/* Routes only decide a warning: without IPv6, say, there is none to give. */
	for (size_t i = 0; i < sizeof(families); i++)
		netlink_dump(NETLINK_ROUTE,
			     netlink_request(buffer, RTM_GETROUTE, sizeof(struct rtmsg), families[i]),
			     route_receive, links);
	return 0;
}

struct route_answer {
	uint32_t ifindex;
	bool local;
};

static int oif_attr_receive(const struct nlattr *attr, void *context)
{
	struct route_answer *answer = context;

	if (mnl_attr_get_type(attr) == RTA_OIF)
		answer->ifindex = netlink_number(attr);
	return MNL_CB_OK;
}

static int oif_receive(const struct nlmsghdr *message, void *context)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);
	struct route_answer *answer = context;

	if (message->nlmsg_type != RTM_NEWROUTE || !netlink_has_header(message, sizeof(*route)))
		return MNL_CB_STOP;
	answer->local = route->rtm_type == RTN_LOCAL;
	return mnl_attr_parse(message, sizeof(*route), oif_attr_receive, context) < 0 ?
		       MNL_CB_ERROR : MNL_CB_STOP;
}

static void address_put(struct nlmsghdr *request, uint16_t attr, uint32_t family,
			const uint32_t *address)
{
	uint32_t words[4];

	for (int i = 0; i < 4; i++)
		words[i] = htonl(address[i]);
	mnl_attr_put(request, attr, family == 6 ? 16 : 4, words);
}

static int route_ask(const struct route_question *question, bool with_source,
		     struct route_answer *answer)
{
	uint8_t bits = question->family == 6 ? 128 : 32;
	struct nlmsghdr *request;
	struct rtmsg *route;
	char buffer[256];
	int err;

	request = netlink_request(buffer, RTM_GETROUTE, sizeof(*route),
			      question->family == 6 ? AF_INET6 : AF_INET);
	request->nlmsg_flags = NLM_F_REQUEST;
	route = mnl_nlmsg_get_payload(request);
	route->rtm_dst_len = bits;
	address_put(request, RTA_DST, question->family, question->to);
	if (with_source) {
		route->rtm_src_len = bits;
		address_put(request, RTA_SRC, question->family, question->from);
	}
	if (question->ifindex)
		mnl_attr_put_u32(request, RTA_OIF, question->ifindex);
	err = netlink_dump(NETLINK_ROUTE, request, oif_receive, answer);
	return !err && !answer->ifindex ? -ENETUNREACH : err;
}

int route_lookup(const struct route_question *question, uint32_t *ifindex, bool *local)
{
	static const uint32_t none[4];
	bool with_source = memcmp(question->from, none, sizeof(none)) != 0;
	struct route_answer answer = { 0 };
	int err = route_ask(question, with_source, &answer);

	if (err && with_source)
		err = route_ask(question, false, &answer);
	if (err)
		return err;
	*ifindex = answer.ifindex;
	*local = answer.local;
	return 0;
}

int engine_route(const struct route_question *question, uint32_t *ifindex)
{
	bool local;

	return route_lookup(question, ifindex, &local);
}

static int policy_receive(const struct nlmsghdr *message, void *context)
{
	if (message->nlmsg_type == XFRM_MSG_NEWPOLICY)
		*(bool *)context = true;
	return MNL_CB_OK;
}

bool xfrm_policies_exist(void)
{
	struct nlmsghdr *request;
	bool exist = false;
	char buffer[512];

	request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = XFRM_MSG_GETPOLICY;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = (uint32_t)time(NULL);
	mnl_nlmsg_put_extra_header(request, sizeof(struct xfrm_userpolicy_id));
	netlink_dump(NETLINK_XFRM, request, policy_receive, &exist);
	return exist;
}

void interface_unforwarding(const char *name, uint8_t families[2], unsigned *n)
{
	static const uint8_t known[2] = { 4, 6 };

	*n = 0;
	for (unsigned i = 0; i < 2; i++) {
		char path[96];
		FILE *file;

		snprintf(path, sizeof(path), "/proc/sys/net/ipv%u/conf/%s/forwarding", known[i], name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fgetc(file) == '0')
			families[(*n)++] = known[i];
		fclose(file);
	}
}
