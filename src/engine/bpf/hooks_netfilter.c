// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Netfilter's hooks: base chains and flowtables of nftables, tables of iptables, and the kernel's
 * own list.
 *
 * The list (CONFIG_NETFILTER_NETLINK_HOOK, Linux 5.14) is the truth about what is registered and
 * in which order, and knows little else. So the others are read first, and the list then says
 * where each stands, and adds what nobody else told: conntrack, NAT, defragmentation. What is said
 * to be there and is not in a list is dropped. Kernels without the list give what the others know,
 * and a note.
 *
 * Chains of type nat, and the nat tables of iptables, are no hooks of their own: NAT has one
 * function on each hook, at a priority that is fixed, and runs them from there. They are told at
 * that place.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_hook.h>
#include <linux/netfilter_arp.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/bpf/hooks_source.h"
#include "engine/bpf/netlink.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Values that older headers lack. */
enum {
	NUMBER_INET_INGRESS = 5,  /* NF_INET_INGRESS */
	NUMBER_NETDEV_EGRESS = 1, /* NF_NETDEV_EGRESS */
	DEVICE_PREFIX = 2,	  /* NFTA_DEVICE_PREFIX */
	TYPE_BPF = 2,		  /* NFNL_HOOK_TYPE_BPF */
	TYPE_FLOWTABLE = 3,	  /* NFNL_HOOK_TYPE_NFT_FLOWTABLE */
	BPF_ID = 1,		  /* NFNLA_HOOK_BPF_ID */
};

static const struct {
	unsigned family; /* NFPROTO */
	uint32_t number;
	enum hook_point point;
} numbers[] = {
	{ NFPROTO_IPV4, NF_INET_PRE_ROUTING, POINT_PREROUTING },
	{ NFPROTO_IPV4, NF_INET_LOCAL_IN, POINT_INPUT },
	{ NFPROTO_IPV4, NF_INET_FORWARD, POINT_FORWARD },
	{ NFPROTO_IPV4, NF_INET_LOCAL_OUT, POINT_OUTPUT },
	{ NFPROTO_IPV4, NF_INET_POST_ROUTING, POINT_POSTROUTING },
	{ NFPROTO_IPV4, NUMBER_INET_INGRESS, POINT_INGRESS },
	{ NFPROTO_BRIDGE, NF_INET_PRE_ROUTING, POINT_BRIDGE_PREROUTING },
	{ NFPROTO_BRIDGE, NF_INET_LOCAL_IN, POINT_BRIDGE_INPUT },
	{ NFPROTO_BRIDGE, NF_INET_FORWARD, POINT_BRIDGE_FORWARD },
	{ NFPROTO_BRIDGE, NF_INET_LOCAL_OUT, POINT_BRIDGE_OUTPUT },
	{ NFPROTO_BRIDGE, NF_INET_POST_ROUTING, POINT_BRIDGE_POSTROUTING },
	{ NFPROTO_ARP, NF_ARP_IN, POINT_ARP_INPUT },
	{ NFPROTO_ARP, NF_ARP_OUT, POINT_ARP_OUTPUT },
	{ NFPROTO_NETDEV, NF_NETDEV_INGRESS, POINT_INGRESS },
	{ NFPROTO_NETDEV, NUMBER_NETDEV_EGRESS, POINT_EGRESS },
};

static const struct {
	unsigned family;
	const char *name;
	unsigned bits;
} families[] = {
	{ NFPROTO_INET, "inet", HOOK_FAMILY_IPV4 | HOOK_FAMILY_IPV6 },
	{ NFPROTO_IPV4, "ip", HOOK_FAMILY_IPV4 },
	{ NFPROTO_IPV6, "ip6", HOOK_FAMILY_IPV6 },
	{ NFPROTO_BRIDGE, "bridge", HOOK_FAMILY_BRIDGE },
	{ NFPROTO_ARP, "arp", HOOK_FAMILY_ARP },
	{ NFPROTO_NETDEV, "netdev", 0 },
};

enum hook_point point_of(unsigned family, uint32_t number)
{
	if (family == NFPROTO_IPV6 || family == NFPROTO_INET)
		family = NFPROTO_IPV4;
	for (size_t i = 0; i < COUNT(numbers); i++)
		if (numbers[i].family == family && numbers[i].number == number)
			return numbers[i].point;
	return POINTS;
}

static const char *family_name(unsigned family)
{
	for (size_t i = 0; i < COUNT(families); i++)
		if (families[i].family == family)
			return families[i].name;
	return "?";
}

static unsigned family_bits(unsigned family)
{
	for (size_t i = 0; i < COUNT(families); i++)
		if (families[i].family == family)
			return families[i].bits;
	return 0;
}

/* Where NAT's function is. */
static int32_t nat_priority(enum hook_point point)
{
	return point == POINT_PREROUTING || point == POINT_OUTPUT ? -100 : 100;
}

/* A dump of a subsystem of nfnetlink. */
static struct nlmsghdr *request_new(char *buffer, unsigned subsystem, unsigned type,
				    unsigned family)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *header;

	request->nlmsg_type = (uint16_t)(subsystem << 8 | type);
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = 1;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->nfgen_family = (uint8_t)family;
	header->version = NFNETLINK_V0;
	return request;
}

/* --- attributes --- */

#define ATTRIBUTES 32

struct attributes {
	const struct nlattr *at[ATTRIBUTES];
};

static int attribute_note(const struct nlattr *attr, void *context)
{
	struct attributes *attributes = context;

	if (mnl_attr_get_type(attr) < ATTRIBUTES)
		attributes->at[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

static struct attributes attributes_of(const struct nlmsghdr *message)
{
	struct attributes attributes = { 0 };

	mnl_attr_parse(message, sizeof(struct nfgenmsg), attribute_note, &attributes);
	return attributes;
}

static struct attributes attributes_in(const struct nlattr *nest)
{
	struct attributes attributes = { 0 };

	if (nest)
		mnl_attr_parse_nested(nest, attribute_note, &attributes);
	return attributes;
}

static uint32_t number_of(const struct nlattr *attr)
{
	return attr ? ntohl(netlink_number(attr)) : 0;
}

/* A string, with its NUL or without. */
static void string_of(const struct nlattr *attr, char *string, size_t size)
{
	int len = attr ? (int)mnl_attr_get_payload_len(attr) : 0;

	snprintf(string, size, "%.*s", len, attr ? (const char *)mnl_attr_get_payload(attr) : "");
}

/* --- chains and flowtables --- */

static uint32_t device_index(const struct hook_reading *reading, const char *name)
{
	for (size_t i = 0; i < reading->links->n; i++)
		if (!strcmp(reading->links->items[i].name, name))
			return reading->links->items[i].ifindex;
	return 0;
}

static void add_at_device(struct hook_reading *reading, struct hook_entry *entry,
			  const struct nlattr *device, bool pattern)
{
	char name[sizeof(entry->device)];

	string_of(device, name, sizeof(name));
	snprintf(entry->device, sizeof(entry->device), pattern ? "%.14s*" : "%.15s", name);
	entry->ifindex = pattern ? 0 : device_index(reading, name);
	hook_add(reading, entry);
}

struct at_device {
	struct hook_reading *reading;
	struct hook_entry *entry;
};

static int device_receive(const struct nlattr *device, void *context)
{
	struct at_device *at = context;

	add_at_device(at->reading, at->entry, device, mnl_attr_get_type(device) == DEVICE_PREFIX);
	return MNL_CB_OK;
}

/* One entry for each device that the hook names, or one without. */
static void add_at_devices(struct hook_reading *reading, struct hook_entry *entry,
			   const struct attributes *hook)
{
	struct at_device at = { reading, entry };

	if (hook->at[NFTA_HOOK_DEV])
		add_at_device(reading, entry, hook->at[NFTA_HOOK_DEV], false);
	else if (hook->at[NFTA_HOOK_DEVS])
		mnl_attr_parse_nested(hook->at[NFTA_HOOK_DEVS], device_receive, &at);
	else
		hook_add(reading, entry);
}

/* Of equals the youngest runs first, and a dump begins with the oldest. */
static uint32_t sequence_unknown(const struct hook_reading *reading)
{
	return HOOK_SEQUENCE_UNKNOWN + 0x10000u - (uint32_t)reading->hooks->entries.n % 0x10000u;
}

int hooks_chain_receive(const struct nlmsghdr *message, void *context)
{
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	struct attributes chain = attributes_of(message);
	struct attributes hook = attributes_in(chain.at[NFTA_CHAIN_HOOK]);
	struct attributes counters = attributes_in(chain.at[NFTA_CHAIN_COUNTERS]);
	struct hook_reading *reading = context;
	struct hook_entry entry = { .kind = HOOK_KIND_CHAIN, .prioritised = true };
	char table[256], name[256];

	if (!netlink_has_header(message, sizeof(*header)) || !chain.at[NFTA_CHAIN_HOOK])
		return MNL_CB_OK; /* no base chain */
	entry.point = point_of(header->nfgen_family, number_of(hook.at[NFTA_HOOK_HOOKNUM]));
	if (entry.point == POINTS)
		return MNL_CB_OK;
	entry.priority = entry.chain_priority = (int32_t)number_of(hook.at[NFTA_HOOK_PRIORITY]);
	entry.families = entry.point == POINT_INGRESS ? 0 : family_bits(header->nfgen_family);
	entry.sequence = sequence_unknown(reading);
	string_of(chain.at[NFTA_CHAIN_TYPE], entry.detail, sizeof(entry.detail));
	if (!strcmp(entry.detail, "nat")) {
		entry.priority = nat_priority(entry.point);
		entry.sequence = HOOK_SEQUENCE_UNKNOWN; /* its own priority tells */
	}
	string_of(chain.at[NFTA_CHAIN_TABLE], table, sizeof(table));
	string_of(chain.at[NFTA_CHAIN_NAME], name, sizeof(name));
	snprintf(entry.name, sizeof(entry.name), "%s %s %s", family_name(header->nfgen_family),
		 table, name);
	if (chain.at[NFTA_CHAIN_POLICY])
		entry.policy = number_of(chain.at[NFTA_CHAIN_POLICY]) == NF_DROP ?
				       HOOK_POLICY_DROP :
				       HOOK_POLICY_ACCEPT;
	entry.counted = counters.at[NFTA_COUNTER_PACKETS] &&
			!mnl_attr_validate(counters.at[NFTA_COUNTER_PACKETS], MNL_TYPE_U64);
	if (entry.counted)
		entry.packets = be64toh(mnl_attr_get_u64(counters.at[NFTA_COUNTER_PACKETS]));
	add_at_devices(reading, &entry, &hook);
	return MNL_CB_OK;
}

int hooks_flowtable_receive(const struct nlmsghdr *message, void *context)
{
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	struct attributes flowtable = attributes_of(message);
	struct attributes hook = attributes_in(flowtable.at[NFTA_FLOWTABLE_HOOK]);
	struct hook_reading *reading = context;
	struct hook_entry entry = {
		.point = POINT_INGRESS,
		.kind = HOOK_KIND_FLOWTABLE,
		.prioritised = true,
		.priority = (int32_t)number_of(hook.at[NFTA_FLOWTABLE_HOOK_PRIORITY]),
		.sequence = sequence_unknown(reading),
		.detail = "flowtable",
	};
	/* Its attributes are those of a chain's hook, by other names. */
	struct attributes devices = {
		.at[NFTA_HOOK_DEVS] = hook.at[NFTA_FLOWTABLE_HOOK_DEVS],
	};
	char table[256], name[256];

	if (!netlink_has_header(message, sizeof(*header)))
		return MNL_CB_OK;
	string_of(flowtable.at[NFTA_FLOWTABLE_TABLE], table, sizeof(table));
	string_of(flowtable.at[NFTA_FLOWTABLE_NAME], name, sizeof(name));
	snprintf(entry.name, sizeof(entry.name), "%s %s %s", family_name(header->nfgen_family),
		 table, name);
	add_at_devices(reading, &entry, &devices);
	return MNL_CB_OK;
}

void hooks_read_nftables(struct hook_reading *reading)
{
	char buffer[256];
	int err;

	err = netlink_dump(NETLINK_NETFILTER,
			   request_new(buffer, NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN, AF_UNSPEC),
			   hooks_chain_receive, reading);
	if (err == -EINVAL || err == -EPROTONOSUPPORT) {
		hook_note(reading, "this kernel has no nftables");
		return;
	}
	if (!err)
		err = netlink_dump(NETLINK_NETFILTER,
				   request_new(buffer, NFNL_SUBSYS_NFTABLES, NFT_MSG_GETFLOWTABLE,
					       AF_UNSPEC),
				   hooks_flowtable_receive, reading);
	if (err)
		hook_note(reading, "nftables cannot be read: %s", strerror(-err));
}

/* --- iptables --- */

static const struct {
	const char *table;
	enum hook_point point;
	int32_t priority;
} iptables_hooks[] = {
	{ "raw", POINT_PREROUTING, -300 },     { "raw", POINT_OUTPUT, -300 },
	{ "mangle", POINT_PREROUTING, -150 },  { "mangle", POINT_INPUT, -150 },
	{ "mangle", POINT_FORWARD, -150 },     { "mangle", POINT_OUTPUT, -150 },
	{ "mangle", POINT_POSTROUTING, -150 }, { "nat", POINT_PREROUTING, -100 },
	{ "nat", POINT_INPUT, 100 },	       { "nat", POINT_OUTPUT, -100 },
	{ "nat", POINT_POSTROUTING, 100 },     { "filter", POINT_INPUT, 0 },
	{ "filter", POINT_FORWARD, 0 },	       { "filter", POINT_OUTPUT, 0 },
	{ "security", POINT_INPUT, 50 },       { "security", POINT_FORWARD, 50 },
	{ "security", POINT_OUTPUT, 50 },      { "arp filter", POINT_ARP_INPUT, 0 },
	{ "arp filter", POINT_ARP_OUTPUT, 0 },
};

static const struct {
	const char *file, *prefix;
	unsigned family;
} iptables_files[] = {
	{ "/proc/net/ip_tables_names", "", HOOK_FAMILY_IPV4 },
	{ "/proc/net/ip6_tables_names", "", HOOK_FAMILY_IPV6 },
	{ "/proc/net/arp_tables_names", "arp ", HOOK_FAMILY_ARP },
};

static void iptables_add(struct hook_reading *reading, const char *prefix, const char *table,
			 unsigned family)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%s", prefix, table);
	for (size_t i = 0; i < COUNT(iptables_hooks); i++) {
		struct hook_entry entry = {
			.point = iptables_hooks[i].point,
			.kind = HOOK_KIND_IPTABLES,
			.families = family,
			.prioritised = true,
			.priority = iptables_hooks[i].priority,
			.chain_priority = iptables_hooks[i].priority,
			.sequence = HOOK_SEQUENCE_UNKNOWN,
		};

		if (strcmp(iptables_hooks[i].table, name) != 0)
			continue;
		snprintf(entry.name, sizeof(entry.name), "%s", table);
		hook_add(reading, &entry);
	}
}

/* A kernel without these files has none of these tables. */
void hooks_read_iptables(struct hook_reading *reading)
{
	for (size_t i = 0; i < COUNT(iptables_files); i++) {
		cleanup_file FILE *file = fopen(iptables_files[i].file, "re");
		char table[33];

		if (!file && errno != ENOENT)
			hook_note(reading, "iptables-legacy cannot be read: %s: %s",
				  iptables_files[i].file, strerror(errno));
		while (file && fscanf(file, "%32s", table) == 1)
			iptables_add(reading, iptables_files[i].prefix, table,
				     iptables_files[i].family);
	}
}

/* --- the kernel's list --- */

/* What one message of the list says. */
struct listed {
	struct hook_entry entry;
	unsigned type; /* enum nfnl_hook_chaintype, 0: a function */
};

static bool function_is(const struct hook_entry *listed, const char *part)
{
	return strstr(listed->name, part) != NULL;
}

/* Is what the list says the same as what another source told? */
static bool listed_is(const struct listed *listed, const struct hook_entry *known)
{
	const struct hook_entry *entry = &listed->entry;

	if (known->point != entry->point || known->priority != entry->priority ||
	    (entry->families && !(entry->families & known->families)) ||
	    (entry->ifindex && entry->ifindex != known->ifindex))
		return false;
	switch (known->kind) {
	case HOOK_KIND_CHAIN:
		return listed->type == NFNL_HOOK_TYPE_NFTABLES && !strcmp(entry->name, known->name);
	case HOOK_KIND_FLOWTABLE:
		return listed->type == TYPE_FLOWTABLE || function_is(entry, "flow_offload");
	case HOOK_KIND_NETFILTER_BPF:
		return listed->type == TYPE_BPF && entry->program == known->program;
	case HOOK_KIND_IPTABLES:
		return !listed->type &&
		       (function_is(entry, "ipt_do_table") || function_is(entry, "ip6t_do_table") ||
			function_is(entry, "arpt_do_table") || function_is(entry, "table_"));
	default:
		return false;
	}
}

static void chain_name(const struct attributes *description, struct hook_entry *entry)
{
	const struct nlattr *family = description->at[NFNLA_CHAIN_FAMILY];
	char table[256], name[256];

	string_of(description->at[NFNLA_CHAIN_TABLE], table, sizeof(table));
	string_of(description->at[NFNLA_CHAIN_NAME], name, sizeof(name));
	snprintf(entry->name, sizeof(entry->name), "%s %s %s",
		 family && !mnl_attr_validate(family, MNL_TYPE_U8) ?
			 family_name(mnl_attr_get_u8(family)) : "?",
		 table, name);
}

static void listed_parse(struct hook_reading *reading, const struct nlmsghdr *message,
			 struct listed *listed)
{
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	struct attributes hook = attributes_of(message);
	struct attributes info = attributes_in(hook.at[NFNLA_HOOK_CHAIN_INFO]);
	struct attributes description = attributes_in(info.at[NFNLA_HOOK_INFO_DESC]);
	struct hook_entry *entry = &listed->entry;

	entry->kind = HOOK_KIND_FUNCTION;
	entry->point = point_of(header->nfgen_family, number_of(hook.at[NFNLA_HOOK_HOOKNUM]));
	entry->prioritised = true;
	entry->priority = entry->chain_priority = (int32_t)number_of(hook.at[NFNLA_HOOK_PRIORITY]);
	entry->families = entry->point == POINT_INGRESS ? 0 : family_bits(header->nfgen_family);
	string_of(hook.at[NFNLA_HOOK_DEV], entry->device, sizeof(entry->device));
	entry->ifindex = device_index(reading, entry->device);
	string_of(hook.at[NFNLA_HOOK_FUNCTION_NAME], entry->name, sizeof(entry->name));
	string_of(hook.at[NFNLA_HOOK_MODULE_NAME], entry->detail, sizeof(entry->detail));
	listed->type = number_of(info.at[NFNLA_HOOK_INFO_TYPE]);
	if (listed->type == NFNL_HOOK_TYPE_NFTABLES)
		chain_name(&description, entry);
	if (listed->type == TYPE_BPF) {
		entry->kind = HOOK_KIND_NETFILTER_BPF;
		entry->program = number_of(description.at[BPF_ID]);
		entry->name[0] = entry->detail[0] = '\0';
	}
}

/* NAT's function runs the chains of type nat: they come behind it. */
static void nat_found(struct hook_reading *reading, const struct hook_entry *nat)
{
	struct hook_vector *entries = &reading->hooks->entries;

	for (size_t i = 0; i < entries->n; i++) {
		struct hook_entry *entry = &entries->items[i];
		bool runs = (entry->kind == HOOK_KIND_CHAIN || entry->kind == HOOK_KIND_IPTABLES) &&
			    (!strcmp(entry->detail, "nat") || !strcmp(entry->name, "nat"));

		if (runs && entry->point == nat->point && entry->families & nat->families)
			entry->sequence = nat->sequence + 1;
	}
}

int hooks_list_receive(const struct nlmsghdr *message, void *context)
{
	struct hook_reading *reading = context;
	struct hook_vector *entries = &reading->hooks->entries;
	struct listed listed = { 0 };

	if (!netlink_has_header(message, sizeof(struct nfgenmsg)))
		return MNL_CB_OK;
	listed_parse(reading, message, &listed);
	if (listed.entry.point == POINTS)
		return MNL_CB_OK;
	listed.entry.sequence = 2 * ++reading->sequence;
	for (size_t i = 0; i < entries->n; i++)
		if (entries->items[i].sequence >= HOOK_SEQUENCE_UNKNOWN &&
		    listed_is(&listed, &entries->items[i])) {
			entries->items[i].sequence = listed.entry.sequence;
			entries->items[i].unsure = false;
			return MNL_CB_OK;
		}
	/* A chain of inet is in two lists, a flowtable's program may be. */
	for (size_t i = 0; i < entries->n; i++)
		if (listed.type && listed_is(&listed, &entries->items[i]))
			return MNL_CB_OK;
	if (listed.type == NFNL_HOOK_TYPE_NFTABLES)
		listed.entry.kind = HOOK_KIND_CHAIN;
	hook_add(reading, &listed.entry);
	if (function_is(&listed.entry, "nf_nat_"))
		nat_found(reading, &listed.entry);
	return MNL_CB_OK;
}

static int list_read(struct hook_reading *reading, unsigned family, uint32_t number,
		     const char *device, mnl_cb_t receive)
{
	struct nlmsghdr *request;
	char buffer[256];

	request = request_new(buffer, NFNL_SUBSYS_HOOK, NFNL_MSG_HOOK_GET, family);
	mnl_attr_put_u32(request, NFNLA_HOOK_HOOKNUM, htonl(number));
	if (device)
		mnl_attr_put_strz(request, NFNLA_HOOK_DEV, device);
	reading->sequence = 0;
	return netlink_dump(NETLINK_NETFILTER, request, receive, reading);
}

static int list_ignore(const struct nlmsghdr *message, void *context)
{
	(void)message;
	(void)context;
	return MNL_CB_OK;
}

void hooks_find_list(struct hook_reading *reading)
{
	int err = list_read(reading, NFPROTO_IPV4, NF_INET_PRE_ROUTING, NULL, list_ignore);

	reading->listed = !err || err == -ENOENT;
	if (err == -EINVAL || err == -EPROTONOSUPPORT || err == -EOPNOTSUPP)
		hook_note(reading,
			  "this kernel does not list Netfilter's hooks "
			  "(CONFIG_NETFILTER_NETLINK_HOOK): conntrack, NAT and others of its "
			  "own may be there unseen");
	else if (!reading->listed)
		hook_note(reading, "the list of Netfilter's hooks cannot be read: %s",
			  strerror(-err));
}

/* Links of other namespaces, and links that somebody has detached. */
static void unlisted_drop(struct hook_vector *entries)
{
	size_t kept = 0;

	for (size_t i = 0; i < entries->n; i++)
		if (entries->items[i].kind != HOOK_KIND_NETFILTER_BPF ||
		    entries->items[i].sequence < HOOK_SEQUENCE_UNKNOWN)
			entries->items[kept++] = entries->items[i];
	entries->n = kept;
}

void hooks_read_list(struct hook_reading *reading)
{
	static const unsigned protocols[] = { NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_BRIDGE,
					      NFPROTO_ARP };
	const struct link_vector *links = reading->links;

	if (!reading->listed)
		return;
	/*
	 * A hook that this kernel lacks, or has nothing on, gives an error: it is one without
	 * entries.
	 */
	for (size_t i = 0; i < COUNT(protocols); i++)
		for (uint32_t number = 0; number < NF_INET_NUMHOOKS; number++)
			if (point_of(protocols[i], number) != POINTS)
				list_read(reading, protocols[i], number, NULL, hooks_list_receive);
	for (size_t i = 0; i < links->n; i++) {
		list_read(reading, NFPROTO_NETDEV, NF_NETDEV_INGRESS, links->items[i].name,
			  hooks_list_receive);
		list_read(reading, NFPROTO_NETDEV, NUMBER_NETDEV_EGRESS, links->items[i].name,
			  hooks_list_receive);
	}
	unlisted_drop(&reading->hooks->entries);
}
