// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/tc_filter.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bpf/netlink.h"
#include "engine/bpf/sys.h"

#define HANDLE 0x72656576u /* "reev" */
#define PRIORITY 1u
#define LOOPBACK_INDEX 1u

bool tcx_possible(void)
{
	static int known; /* 1: yes, -1: no */
	uint32_t programs[1], links[1], n = 0;

	if (!known && sys_left_out("tcx"))
		known = -1;
	if (!known) {
		int err = sys_program_query(LOOPBACK_INDEX, SYS_ATTACH_TCX_INGRESS, programs, links,
					    &n);

		/* Whatever else it says of a hook that it knows. */
		known = err == -EINVAL || err == -EOPNOTSUPP ? -1 : 1;
	}
	return known > 0;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

struct attributes {
	const char *kind;
	const struct nlattr *options;
	uint32_t program, chain;
};

static int bpf_attribute(const struct nlattr *attr, void *context)
{
	struct attributes *attributes = context;

	if (mnl_attr_get_type(attr) == TCA_BPF_ID && !mnl_attr_validate(attr, MNL_TYPE_U32))
		attributes->program = mnl_attr_get_u32(attr);
	return MNL_CB_OK;
}

static int attribute(const struct nlattr *attr, void *context)
{
	struct attributes *attributes = context;

	if (mnl_attr_get_type(attr) == TCA_KIND && !mnl_attr_validate(attr, MNL_TYPE_NUL_STRING))
		attributes->kind = mnl_attr_get_str(attr);
	if (mnl_attr_get_type(attr) == TCA_CHAIN && !mnl_attr_validate(attr, MNL_TYPE_U32))
		attributes->chain = mnl_attr_get_u32(attr);
	if (mnl_attr_get_type(attr) == TCA_OPTIONS)
		attributes->options = attr;
	return MNL_CB_OK;
}

static int filter_receive(const struct nlmsghdr *message, void *context)
{
	const struct tcmsg *header = mnl_nlmsg_get_payload(message);
	struct attributes attributes = { 0 };
	struct tc_filter_look *look = context;

	if (message->nlmsg_type != RTM_NEWTFILTER ||
	    mnl_attr_parse(message, sizeof(*header), attribute, &attributes) < 0 ||
	    !attributes.kind || !attributes.options)
		return MNL_CB_OK; /* without options: an instance, which holds filters and is none */
	if (!attributes.chain && header->tcm_handle == HANDLE && !strcmp(attributes.kind, "bpf") &&
	    header->tcm_info >> 16 == PRIORITY)
		mnl_attr_parse_nested(attributes.options, bpf_attribute, &attributes);
	if (attributes.program) {
		look->program = attributes.program;
		look->behind = look->foreign; /* they are told in the order in which packets meet them */
	} else {
		look->foreign = true;
	}
	return MNL_CB_OK;
}

int tc_filter_look(uint32_t ifindex, bool departure, struct tc_filter_look *look)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct tcmsg *header;
	int err;

	*look = (struct tc_filter_look){ 0 };
	request->nlmsg_type = RTM_GETTFILTER;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = 1;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->tcm_ifindex = (int)ifindex;
	header->tcm_parent = TC_H_MAKE(TC_H_CLSACT, departure ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
	err = netlink_dump(NETLINK_ROUTE, request, filter_receive, look);
	/* Without clsact the dump is empty, or the kernel refuses it. */
	return err == -EINVAL || err == -ENOENT || err == -EOPNOTSUPP ? 0 : err;
}

struct qdisc_look {
	int ifindex;
	bool any, ingress;
};

static int qdisc_receive(const struct nlmsghdr *message, void *context)
{
	const struct tcmsg *header = mnl_nlmsg_get_payload(message);
	struct attributes attributes = { 0 };
	struct qdisc_look *look = context;

	if (message->nlmsg_type != RTM_NEWQDISC || header->tcm_ifindex != look->ifindex ||
	    header->tcm_parent != TC_H_INGRESS)
		return MNL_CB_OK;
	look->any = true;
	if (mnl_attr_parse(message, sizeof(*header), attribute, &attributes) >= 0 &&
	    attributes.kind && !strcmp(attributes.kind, "ingress"))
		look->ingress = true;
	return MNL_CB_OK;
}

static int qdisc_look(uint32_t ifindex, struct qdisc_look *look)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	*look = (struct qdisc_look){ .ifindex = (int)ifindex };
	request->nlmsg_type = RTM_GETQDISC;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = 1;
	mnl_nlmsg_put_extra_header(request, sizeof(struct tcmsg));
	return netlink_dump(NETLINK_ROUTE, request, qdisc_receive, look);
}

/*
 * The older kind of qdisc, which takes clsact's place. It has one list of filters, whichever is
 * asked for.
 */
static bool has_ingress(uint32_t ifindex)
{
	struct qdisc_look look;

	return !qdisc_look(ifindex, &look) && look.ingress;
}

bool tc_qdisc_missing(uint32_t ifindex)
{
	struct qdisc_look look;

	return !qdisc_look(ifindex, &look) && !look.any;
}

int tc_filter_put(uint32_t ifindex, bool departure, int program)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = departure ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = HANDLE, .priority = PRIORITY, .prog_fd = program,
		    .flags = BPF_TC_F_REPLACE);
	libbpf_print_fn_t print = libbpf_set_print(quiet);
	int err = bpf_tc_hook_create(&hook);
	struct tc_filter_look look;

	if (err == -EEXIST)
		err = has_ingress(ifindex) ? -EBUSY : 0;
	/* Others can come before it with the same priority; a new one is the first again. */
	if (!err && !tc_filter_look(ifindex, departure, &look) && look.behind)
		err = tc_filter_remove(ifindex, departure);
	if (!err) {
		err = bpf_tc_attach(&hook, &filter);
		/* Two of different kinds cannot have the same priority. */
		if (err == -EINVAL)
			err = -EEXIST;
	}
	libbpf_set_print(print);
	return err;
}

int tc_filter_remove(uint32_t ifindex, bool departure)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = departure ? BPF_TC_EGRESS : BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = HANDLE, .priority = PRIORITY);
	struct tc_filter_look look;
	libbpf_print_fn_t print;
	int err = tc_filter_look(ifindex, departure, &look);

	if (err || !look.program)
		return err;
	print = libbpf_set_print(quiet);
	err = bpf_tc_detach(&hook, &filter);
	libbpf_set_print(print);
	return err == -ENOENT || err == -ENODEV ? 0 : err;
}

void tc_qdisc_remove(uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	libbpf_print_fn_t print;

	for (int departure = 0; departure < 2; departure++) {
		struct tc_filter_look look;

		if (tc_filter_look(ifindex, departure, &look) || look.program || look.foreign)
			return;
	}
	print = libbpf_set_print(quiet);
	bpf_tc_hook_destroy(&hook);
	libbpf_set_print(print);
}

int tc_each_interface(int (*visit)(void *context, uint32_t ifindex), void *context)
{
	struct if_nameindex *all = if_nameindex();
	int stop = all ? 0 : -errno;

	for (size_t i = 0; !stop && all[i].if_index; i++)
		stop = visit(context, all[i].if_index);
	if_freenameindex(all);
	return stop;
}
