// SPDX-License-Identifier: GPL-2.0-or-later
/* What hangs at devices and is asked for by rtnetlink: XDP, filters of clsact. */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "engine/bpf/hooks_source.h"
#include "engine/bpf/netlink.h"

static struct nlmsghdr *dump_new(char *buffer, uint16_t type)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = 1;
	return request;
}

/* --- XDP --- */

static const struct {
	int attr;
	const char *mode;
} xdp_modes[] = {
	{ IFLA_XDP_HW_PROG_ID, "in the device" },
	{ IFLA_XDP_DRV_PROG_ID, "native" },
	{ IFLA_XDP_SKB_PROG_ID, "generic" },
};

#define XDP_MODES (sizeof(xdp_modes) / sizeof(xdp_modes[0]))

struct device {
	char name[16];
	uint32_t programs[XDP_MODES];
};

static int xdp_attr(const struct nlattr *attr, void *context)
{
	struct device *device = context;

	for (size_t i = 0; i < XDP_MODES; i++)
		if (mnl_attr_get_type(attr) == xdp_modes[i].attr)
			device->programs[i] = netlink_number(attr);
	return MNL_CB_OK;
}

static int device_attr(const struct nlattr *attr, void *context)
{
	struct device *device = context;

	if (mnl_attr_get_type(attr) == IFLA_IFNAME)
		snprintf(device->name, sizeof(device->name), "%s", netlink_string(attr));
	if (mnl_attr_get_type(attr) == IFLA_XDP)
		return mnl_attr_parse_nested(attr, xdp_attr, device);
	return MNL_CB_OK;
}

static int device_receive(const struct nlmsghdr *message, void *context)
{
	const struct ifinfomsg *header = mnl_nlmsg_get_payload(message);
	struct hook_reading *reading = context;
	struct device device = { 0 };

	if (message->nlmsg_type != RTM_NEWLINK || !netlink_has_header(message, sizeof(*header)) ||
	    mnl_attr_parse(message, sizeof(*header), device_attr, &device) < 0)
		return MNL_CB_OK;
	for (size_t i = 0; i < XDP_MODES; i++) {
		struct hook_entry entry = { .point = POINT_XDP, .kind = HOOK_KIND_XDP };

		if (!device.programs[i])
			continue;
		entry.ifindex = (uint32_t)header->ifi_index;
		entry.sequence = (uint32_t)i;
		entry.program = device.programs[i];
		memcpy(entry.device, device.name, sizeof(entry.device));
		snprintf(entry.detail, sizeof(entry.detail), "%s", xdp_modes[i].mode);
		hook_add(reading, &entry);
	}
	return MNL_CB_OK;
}

void hooks_read_xdp(struct hook_reading *reading)
{
	struct nlmsghdr *request;
	char buffer[256];
	int err;

	request = dump_new(buffer, RTM_GETLINK);
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	err = netlink_dump(NETLINK_ROUTE, request, device_receive, reading);
	if (err)
		hook_note(reading, "XDP cannot be read: %s", strerror(-err));
}

/* --- filters --- */

struct filter {
	const char *kind, *name;
	const struct nlattr *options;
	uint32_t program, chain;
};

static int filter_attr(const struct nlattr *attr, void *context)
{
	struct filter *filter = context;

	switch (mnl_attr_get_type(attr)) {
	case TCA_KIND:
		filter->kind = netlink_string(attr);
		break;
	case TCA_CHAIN:
		filter->chain = netlink_number(attr);
		break;
	case TCA_OPTIONS:
		filter->options = attr;
		break;
	}
	return MNL_CB_OK;
}

static int filter_bpf_attr(const struct nlattr *attr, void *context)
{
	struct filter *filter = context;

	if (mnl_attr_get_type(attr) == TCA_BPF_NAME)
		filter->name = netlink_string(attr);
	if (mnl_attr_get_type(attr) == TCA_BPF_ID)
		filter->program = netlink_number(attr);
	return MNL_CB_OK;
}

/* A dump also lists what holds filters: an instance without options, and the hash tables of u32. */
static bool is_filter(const struct filter *filter, uint32_t handle)
{
	return filter->kind && filter->options &&
	       (strcmp(filter->kind, "u32") != 0 || TC_U32_NODE(handle));
}

struct filter_reading {
	struct hook_reading *reading;
	const struct link *link;
	enum hook_point point;
	uint32_t n;
};

static int filter_receive(const struct nlmsghdr *message, void *context)
{
	const struct tcmsg *header = mnl_nlmsg_get_payload(message);
	struct filter_reading *filters = context;
	struct hook_entry entry = { .point = filters->point, .kind = HOOK_KIND_TC_FILTER };
	struct filter filter = { 0 };

	if (message->nlmsg_type != RTM_NEWTFILTER ||
	    !netlink_has_header(message, sizeof(*header)) ||
	    mnl_attr_parse(message, sizeof(*header), filter_attr, &filter) < 0 ||
	    !is_filter(&filter, header->tcm_handle))
		return MNL_CB_OK;
	if (!strcmp(filter.kind, "bpf"))
		mnl_attr_parse_nested(filter.options, filter_bpf_attr, &filter);
	entry.ifindex = filters->link->ifindex;
	memcpy(entry.device, filters->link->name, sizeof(entry.device));
	entry.prioritised = true;
	entry.priority = (int32_t)(header->tcm_info >> 16);
	/* Chains but the first are only reached by a `goto`. */
	entry.sequence = filter.chain << 16 | filters->n++;
	entry.program = filter.program;
	if (filter.chain)
		snprintf(entry.detail, sizeof(entry.detail), "%s of chain %u", filter.kind,
			 filter.chain);
	else
		snprintf(entry.detail, sizeof(entry.detail), "%s", filter.kind);
	snprintf(entry.name, sizeof(entry.name), "%s", filter.name ? filter.name : filter.kind);
	hook_add(filters->reading, &entry);
	return MNL_CB_OK;
}

/* Without clsact (or ingress) on the device the dump is empty, or the kernel refuses it. */
static int filters_read(struct hook_reading *reading, const struct link *link,
			enum hook_point point)
{
	struct filter_reading filters = { reading, link, point, 0 };
	struct nlmsghdr *request;
	struct tcmsg *header;
	char buffer[256];

	request = dump_new(buffer, RTM_GETTFILTER);
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->tcm_ifindex = (int)link->ifindex;
	header->tcm_parent = TC_H_MAKE(TC_H_CLSACT, point == POINT_TC_INGRESS ? TC_H_MIN_INGRESS :
										TC_H_MIN_EGRESS);
	return netlink_dump(NETLINK_ROUTE, request, filter_receive, &filters);
}

void hooks_read_filters(struct hook_reading *reading)
{
	for (size_t i = 0; i < reading->links->n; i++) {
		const struct link *link = &reading->links->items[i];
		int err = filters_read(reading, link, POINT_TC_INGRESS);

		if (!err)
			err = filters_read(reading, link, POINT_TC_EGRESS);
		if (err && err != -ENOENT && err != -EINVAL && err != -ENODEV) {
			hook_note(reading, "the tc filters of `%s` cannot be read: %s", link->name,
				  strerror(-err));
			return;
		}
	}
}
