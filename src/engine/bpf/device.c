// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/device.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/bpf/netlink.h"

/* <linux/netdev.h>, which older headers lack. */
enum {
	NETDEV_GET = 1,	     /* NETDEV_CMD_DEV_GET */
	NETDEV_IFINDEX = 1,  /* NETDEV_A_DEV_IFINDEX */
	NETDEV_FEATURES = 3, /* NETDEV_A_DEV_XDP_FEATURES */
	FEATURE_BASIC = 1,
	FEATURE_REDIRECT = 2,
	FEATURE_TAKES = 4, /* NETDEV_XDP_ACT_NDO_XMIT */
};

static struct device_facts *facts_find(struct device_facts_vector *facts, uint32_t ifindex)
{
	for (size_t i = 0; i < facts->n; i++)
		if (facts->items[i].ifindex == ifindex)
			return &facts->items[i];
	return NULL;
}

/* --- what the driver does with XDP --- */

struct family {
	const char *name;
	uint16_t id;
};

static int family_attr(const struct nlattr *attr, void *context)
{
	struct family *family = context;

	if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_NAME)
		family->name = netlink_string(attr);
	if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID &&
	    mnl_attr_validate(attr, MNL_TYPE_U16) >= 0)
		family->id = mnl_attr_get_u16(attr);
	return MNL_CB_OK;
}

static int family_receive(const struct nlmsghdr *message, void *context)
{
	struct family family = { "", 0 };

	if (netlink_has_header(message, sizeof(struct genlmsghdr)) &&
	    mnl_attr_parse(message, sizeof(struct genlmsghdr), family_attr, &family) >= 0 &&
	    !strcmp(family.name, "netdev"))
		*(uint16_t *)context = family.id;
	return MNL_CB_OK;
}

static struct nlmsghdr *generic_new(char *buffer, uint16_t family, uint8_t command)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *header;

	request->nlmsg_type = family;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = 1;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->cmd = command;
	header->version = 1;
	return request;
}

struct features {
	uint32_t ifindex;
	uint64_t bits;
	bool told;
};

static int features_attr(const struct nlattr *attr, void *context)
{
	struct features *features = context;

	if (mnl_attr_get_type(attr) == NETDEV_IFINDEX)
		features->ifindex = netlink_number(attr);
	if (mnl_attr_get_type(attr) == NETDEV_FEATURES &&
	    mnl_attr_validate(attr, MNL_TYPE_U64) >= 0) {
		features->bits = mnl_attr_get_u64(attr);
		features->told = true;
	}
	return MNL_CB_OK;
}

static int features_receive(const struct nlmsghdr *message, void *context)
{
	struct features features = { 0 };
	struct device_facts *facts;

	if (!netlink_has_header(message, sizeof(struct genlmsghdr)) ||
	    mnl_attr_parse(message, sizeof(struct genlmsghdr), features_attr, &features) < 0)
		return MNL_CB_OK;
	facts = facts_find(context, features.ifindex);
	if (!facts)
		return MNL_CB_OK;
	facts->told = features.told;
	facts->native = (features.bits & (FEATURE_BASIC | FEATURE_REDIRECT)) ==
			(FEATURE_BASIC | FEATURE_REDIRECT);
	facts->redirects = features.bits & FEATURE_TAKES;
	return MNL_CB_OK;
}

static void features_read(struct device_facts_vector *facts)
{
	uint16_t family = 0;
	char buffer[256];

	netlink_dump(NETLINK_GENERIC, generic_new(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY),
		     family_receive, &family);
	if (family)
		netlink_dump(NETLINK_GENERIC, generic_new(buffer, family, NETDEV_GET),
			     features_receive, facts);
}

/* --- what stands on it --- */

struct upper {
	uint32_t lower;
	bool vlan;
};

static int upper_kind_attr(const struct nlattr *attr, void *context)
{
	struct upper *upper = context;

	if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
		upper->vlan = !strcmp(netlink_string(attr), "vlan");
	return MNL_CB_OK;
}

static int upper_attr(const struct nlattr *attr, void *context)
{
	struct upper *upper = context;

	if (mnl_attr_get_type(attr) == IFLA_LINK)
		upper->lower = netlink_number(attr);
	if (mnl_attr_get_type(attr) == IFLA_LINKINFO)
		return mnl_attr_parse_nested(attr, upper_kind_attr, upper);
	return MNL_CB_OK;
}

static int upper_receive(const struct nlmsghdr *message, void *context)
{
	struct upper upper = { 0 };
	struct device_facts *facts;

	if (message->nlmsg_type != RTM_NEWLINK ||
	    !netlink_has_header(message, sizeof(struct ifinfomsg)) ||
	    mnl_attr_parse(message, sizeof(struct ifinfomsg), upper_attr, &upper) < 0 || !upper.vlan)
		return MNL_CB_OK;
	facts = facts_find(context, upper.lower);
	if (facts)
		facts->vlans = true;
	return MNL_CB_OK;
}

static void uppers_read(struct device_facts_vector *facts)
{
	struct nlmsghdr *request;
	char buffer[256];

	request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_GETLINK;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = 1;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	netlink_dump(NETLINK_ROUTE, request, upper_receive, facts);
}

/* --- qdiscs --- */

/* What leaves in the order in which it came, or fairly by flow, and no later than it could. */
static const char *const queues[] = { "noqueue", "pfifo_fast", "fq_codel", "fq",
				      "mq",	 "clsact",     "ingress" };

static bool only_queues(const char *kind)
{
	for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]); i++)
		if (!strcmp(kind, queues[i]))
			return true;
	return false;
}

static int qdisc_attr(const struct nlattr *attr, void *context)
{
	const char **kind = context;

	if (mnl_attr_get_type(attr) == TCA_KIND)
		*kind = netlink_string(attr);
	return MNL_CB_OK;
}

static int qdisc_receive(const struct nlmsghdr *message, void *context)
{
	const struct tcmsg *header = mnl_nlmsg_get_payload(message);
	struct device_facts *facts;
	const char *kind = "";

	if (message->nlmsg_type != RTM_NEWQDISC || !netlink_has_header(message, sizeof(*header)) ||
	    mnl_attr_parse(message, sizeof(*header), qdisc_attr, &kind) < 0)
		return MNL_CB_OK;
	facts = facts_find(context, (uint32_t)header->tcm_ifindex);
	if (facts && !only_queues(kind))
		facts->shapes = true;
	return MNL_CB_OK;
}

static void qdiscs_read(struct device_facts_vector *facts)
{
	struct nlmsghdr *request;
	char buffer[256];

	request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_GETQDISC;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = 1;
	mnl_nlmsg_put_extra_header(request, sizeof(struct tcmsg));
	netlink_dump(NETLINK_ROUTE, request, qdisc_receive, facts);
}

/* --- by ioctl --- */

static int ethtool(int fd, const char *name, void *command)
{
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	request.ifr_data = command;
	return ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
}

/*
 * Frames of these come from a kernel, this one or a guest's, that leaves checksums to whoever sends
 * them on. Whether the other end does cannot be seen from here; that it does not is said by turning
 * it off at this one.
 */
static bool checksums_unfinished(int fd, const char *name, const char *driver)
{
	struct ethtool_value sums = { .cmd = ETHTOOL_GTXCSUM };

	if (strcmp(driver, "veth") != 0 && strcmp(driver, "tun") != 0)
		return false;
	return ethtool(fd, name, &sums) || sums.data;
}

static void device_ask(int fd, const struct link *link, struct device_facts *facts)
{
	struct ethtool_drvinfo driver = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", link->name);
	if (ethtool(fd, link->name, &driver))
		driver.driver[0] = '\0';
	/* It hands programs on to its ports, and there they see the port. */
	facts->shared = !strcmp(driver.driver, "bonding") || !strcmp(driver.driver, "team");
	if (!ioctl(fd, SIOCGIFHWADDR, &request))
		memcpy(facts->address, request.ifr_hwaddr.sa_data, sizeof(facts->address));
	facts->unfinished = checksums_unfinished(fd, link->name, driver.driver);
}

int device_facts_read(const struct link_vector *links, struct device_facts_vector *facts)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (size_t i = 0; i < links->n; i++) {
		struct device_facts one = { .ifindex = links->items[i].ifindex };

		if (fd >= 0)
			device_ask(fd, &links->items[i], &one);
		if (device_facts_vector_push(facts, one)) {
			device_facts_vector_free(facts);
			return -ENOMEM;
		}
	}
	features_read(facts);
	for (size_t i = 0; i < facts->n; i++)
		facts->items[i].native &= !facts->items[i].shared;
	uppers_read(facts);
	qdiscs_read(facts);
	return 0;
}
