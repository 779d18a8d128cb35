// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any bytes as what the kernel says of interfaces, addresses, routes, rules, qdiscs, filters, chains and
 * hooks. The functions that receive messages are the files' own: so the files are here.
 */
#include "engine/bpf/addresses.c"
#include "engine/bpf/hooks_device.c"
#include "engine/bpf/intercept.c"
#include "engine/bpf/interfaces.c"

#include "engine/bpf/device.c"

#include "messages.h"

enum {
	KIND_LINK,
	KIND_ROUTE,
	KIND_LOOKUP,
	KIND_XDP,
	KIND_FILTER,
	KIND_CHAIN,
	KIND_FLOWTABLE,
	KIND_LIST,
	KIND_ADDRESS,
	KIND_SOURCE,
	KIND_RULE,
	KIND_TABLE,
	KIND_FAMILY,
	KIND_FEATURES,
	KIND_UPPER,
	KIND_QDISC,
	KINDS,
};

struct context {
	struct link_vector links;
	struct own_address_vector addresses;
	struct hooks hooks;
	struct hook_reading reading;
	struct filter_reading filters;
	struct rules_seen rules;
	struct device_facts_vector facts;
};

static const struct link device = { .name = "eth0", .ifindex = 2 };

static void receive(struct context *context, unsigned kind, struct nlmsghdr *message)
{
	struct route_answer answer = { 0 };
	struct source_answer source = { 0 };
	bool there;
	uint16_t family = 0;

	switch (kind) {
	case KIND_LINK:
		message->nlmsg_type = RTM_NEWLINK;
		link_receive(message, &context->links);
		break;
	case KIND_ROUTE:
		message->nlmsg_type = RTM_NEWROUTE;
		route_receive(message, &context->links);
		break;
	case KIND_LOOKUP:
		message->nlmsg_type = RTM_NEWROUTE;
		oif_receive(message, &answer);
		break;
	case KIND_XDP:
		message->nlmsg_type = RTM_NEWLINK;
		device_receive(message, &context->reading);
		break;
	case KIND_FILTER:
		message->nlmsg_type = RTM_NEWTFILTER;
		filter_receive(message, &context->filters);
		break;
	case KIND_CHAIN:
		hooks_chain_receive(message, &context->reading);
		break;
	case KIND_FLOWTABLE:
		hooks_flowtable_receive(message, &context->reading);
		break;
	case KIND_LIST:
		hooks_list_receive(message, &context->reading);
		break;
	case KIND_ADDRESS:
		message->nlmsg_type = RTM_NEWADDR;
		address_receive(message, &context->addresses);
		break;
	case KIND_SOURCE:
		message->nlmsg_type = RTM_NEWROUTE;
		source_receive(message, &source);
		break;
	case KIND_RULE:
		message->nlmsg_type = RTM_NEWRULE;
		see_rule(message, &context->rules);
		break;
	case KIND_TABLE:
		message->nlmsg_type = RTM_NEWROUTE;
		see_route(message, &there);
		break;
	case KIND_FAMILY:
		family_receive(message, &family);
		break;
	case KIND_FEATURES:
		features_receive(message, &context->facts);
		break;
	case KIND_UPPER:
		message->nlmsg_type = RTM_NEWLINK;
		upper_receive(message, &context->facts);
		break;
	case KIND_QDISC:
		message->nlmsg_type = RTM_NEWQDISC;
		qdisc_receive(message, &context->facts);
		break;
	}
}

static void ends(const char *string, size_t size)
{
	if (strnlen(string, size) == size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct context context = { .reading = { .hooks = &context.hooks, .links = &context.links },
				   .filters = { &context.reading, &device, POINT_TC_INGRESS, 0 } };
	struct device_facts facts = { .ifindex = device.ifindex };
	struct nlmsghdr *message;
	unsigned kind;

	context.facts = (struct device_facts_vector){ .items = &facts, .n = 1 };
	while ((message = message_next(&data, &size, &kind))) {
		receive(&context, kind % KINDS, message);
		free(message);
	}
	hooks_arrange(&context.hooks);
	for (size_t i = 0; i < context.links.n; i++)
		ends(context.links.items[i].name, sizeof(context.links.items[i].name));
	for (size_t i = 0; i < context.hooks.entries.n; i++) {
		const struct hook_entry *entry = &context.hooks.entries.items[i];

		ends(entry->name, sizeof(entry->name));
		ends(entry->device, sizeof(entry->device));
		ends(entry->detail, sizeof(entry->detail));
		if (entry->point >= POINTS || entry->kind >= HOOK_KINDS)
			abort();
	}
	for (size_t i = 0; i < context.addresses.n; i++) {
		const struct own_address *address = &context.addresses.items[i];

		if (address->family != 4 && address->family != 6)
			abort();
	}
	own_address_vector_free(&context.addresses);
	link_vector_free(&context.links);
	hooks_free(&context.hooks);
	return 0;
}
