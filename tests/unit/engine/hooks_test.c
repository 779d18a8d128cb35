// SPDX-License-Identifier: GPL-2.0-or-later
/* What the kernel says of Netfilter's hooks, as messages; and the order of entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_hook.h>

#include "engine/bpf/hooks_source.h"

static struct link device_items[] = { { .name = "lo", .ifindex = 1 },
				      { .name = "eth0", .ifindex = 2 } };
static const struct link_vector devices = { device_items, 2, 2 };

static _Alignas(8) char buffer[1024];

static struct nlmsghdr *message_new(unsigned family)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));

	header->nfgen_family = (uint8_t)family;
	return message;
}

/* --- a dump of chains --- */

struct chain {
	unsigned family;
	const char *table, *name, *type;
	uint32_t number;
	int32_t priority;
	const char *device;
};

static void chain_say(struct hook_reading *reading, const struct chain *chain)
{
	struct nlmsghdr *message = message_new(chain->family);
	struct nlattr *nest;

	mnl_attr_put_strz(message, NFTA_CHAIN_TABLE, chain->table);
	mnl_attr_put_strz(message, NFTA_CHAIN_NAME, chain->name);
	if (chain->type) {
		nest = mnl_attr_nest_start(message, NFTA_CHAIN_HOOK);
		mnl_attr_put_u32(message, NFTA_HOOK_HOOKNUM, htonl(chain->number));
		mnl_attr_put_u32(message, NFTA_HOOK_PRIORITY, htonl((uint32_t)chain->priority));
		if (chain->device)
			mnl_attr_put_strz(message, NFTA_HOOK_DEV, chain->device);
		mnl_attr_nest_end(message, nest);
		mnl_attr_put_strz(message, NFTA_CHAIN_TYPE, chain->type);
		mnl_attr_put_u32(message, NFTA_CHAIN_POLICY, htonl(NF_DROP));
		nest = mnl_attr_nest_start(message, NFTA_CHAIN_COUNTERS);
		mnl_attr_put_u64(message, NFTA_COUNTER_PACKETS, htobe64(42));
		mnl_attr_nest_end(message, nest);
	}
	assert_int_equal(hooks_chain_receive(message, reading), MNL_CB_OK);
}

/* --- the kernel's list --- */

struct listing {
	unsigned family;
	uint32_t number;
	int32_t priority;
	const char *function;
	uint32_t type; /* enum nfnl_hook_chaintype */
	const char *table, *chain;
	unsigned chain_family;
	uint32_t program;
};

static void listing_say(struct hook_reading *reading, const struct listing *listing)
{
	struct nlmsghdr *message = message_new(listing->family);
	struct nlattr *info, *description;

	mnl_attr_put_u32(message, NFNLA_HOOK_HOOKNUM, htonl(listing->number));
	mnl_attr_put_u32(message, NFNLA_HOOK_PRIORITY, htonl((uint32_t)listing->priority));
	mnl_attr_put_strz(message, NFNLA_HOOK_FUNCTION_NAME, listing->function);
	if (listing->type) {
		info = mnl_attr_nest_start(message, NFNLA_HOOK_CHAIN_INFO);
		mnl_attr_put_u32(message, NFNLA_HOOK_INFO_TYPE, htonl(listing->type));
		description = mnl_attr_nest_start(message, NFNLA_HOOK_INFO_DESC);
		if (listing->program)
			mnl_attr_put_u32(message, 1, htonl(listing->program));
		if (listing->table) {
			mnl_attr_put_strz(message, NFNLA_CHAIN_TABLE, listing->table);
			mnl_attr_put_strz(message, NFNLA_CHAIN_NAME, listing->chain);
			mnl_attr_put_u8(message, NFNLA_CHAIN_FAMILY,
					(uint8_t)listing->chain_family);
		}
		mnl_attr_nest_end(message, description);
		mnl_attr_nest_end(message, info);
	}
	assert_int_equal(hooks_list_receive(message, reading), MNL_CB_OK);
}

static void check(const struct hooks *hooks, const char *const *names)
{
	size_t n = 0;

	assert_int_equal(hooks->error, 0);
	for (; names[n]; n++) {
		assert_true(n < hooks->entries.n);
		assert_string_equal(hooks->entries.items[n].name, names[n]);
	}
	assert_int_equal(hooks->entries.n, n);
}

/*
 * Two chains of one priority, of which the younger runs first; one at a device; NAT at its own
 * place.
 */
static const struct chain chains[] = {
	{ NFPROTO_IPV4, "t", "old", "filter", NF_INET_LOCAL_IN, 0, NULL },
	{ NFPROTO_IPV4, "t", "no base chain", NULL, 0, 0, NULL },
	{ NFPROTO_INET, "t", "young", "filter", NF_INET_LOCAL_IN, 0, NULL },
	{ NFPROTO_INET, "t", "first", "filter", NF_INET_LOCAL_IN, -2147483647 - 1, NULL },
	{ NFPROTO_IPV4, "n", "late nat", "nat", NF_INET_POST_ROUTING, 500, NULL },
	{ NFPROTO_IPV4, "n", "early nat", "nat", NF_INET_POST_ROUTING, -500, NULL },
	{ NFPROTO_NETDEV, "d", "in", "filter", NF_NETDEV_INGRESS, 3, "eth0" },
};

static void chains_say(struct hook_reading *reading)
{
	for (size_t i = 0; i < sizeof(chains) / sizeof(chains[0]); i++)
		chain_say(reading, &chains[i]);
}

static void test_chains(void **state)
{
	static const char *const order[] = { "netdev d in", "inet t first",   "inet t young",
					     "ip t old",    "ip n early nat", "ip n late nat",
					     NULL };
	struct hooks hooks = { 0 };
	struct hook_reading reading = { .hooks = &hooks, .links = &devices };
	const struct hook_entry *entry;

	(void)state;
	chains_say(&reading);
	hooks_arrange(&hooks);
	check(&hooks, order);
	entry = &hooks.entries.items[0];
	assert_string_equal(entry->device, "eth0");
	assert_int_equal(entry->ifindex, 2);
	entry = &hooks.entries.items[2];
	assert_int_equal(entry->families, HOOK_FAMILY_IPV4 | HOOK_FAMILY_IPV6);
	assert_int_equal(entry->policy, HOOK_POLICY_DROP);
	assert_true(entry->counted);
	assert_int_equal(entry->packets, 42);
	entry = &hooks.entries.items[4];
	assert_int_equal(entry->priority, 100);
	assert_int_equal(entry->chain_priority, -500);
	hooks_free(&hooks);
}

/* As Linux 6.12 lists them. */
static const struct listing listings[] = {
	{ NFPROTO_IPV4, NF_INET_LOCAL_IN, -400, "guard", 2, NULL, NULL, 0, 77 },
	{ NFPROTO_IPV4, NF_INET_LOCAL_IN, 0, "nft_do_chain", 1, "t", "old", NFPROTO_IPV4, 0 },
	{ NFPROTO_IPV4, NF_INET_LOCAL_IN, 0, "iptable_filter_hook", 0, NULL, NULL, 0, 0 },
	{ NFPROTO_IPV4, NF_INET_LOCAL_IN, 0, "nft_do_chain_inet", 1, "t", "young", NFPROTO_INET,
	  0 },
	{ NFPROTO_IPV4, NF_INET_LOCAL_IN, 2147483647, "nf_confirm", 0, NULL, NULL, 0, 0 },
	{ NFPROTO_IPV6, NF_INET_LOCAL_IN, 0, "nft_do_chain_inet", 1, "t", "young", NFPROTO_INET,
	  0 },
	{ NFPROTO_IPV6, NF_INET_LOCAL_IN, 2147483647, "nf_confirm", 0, NULL, NULL, 0, 0 },
	{ NFPROTO_IPV4, NF_INET_POST_ROUTING, 100, "nf_nat_ipv4_out", 0, NULL, NULL, 0, 0 },
};

static void test_list(void **state)
{
	static const char *const order[] = {
		"netdev d in",	  "inet t first",  "guard",	 "ip t old",
		"filter",	  "inet t young",  "nf_confirm", "nf_nat_ipv4_out",
		"ip n early nat", "ip n late nat", NULL
	};
	struct hooks hooks = { 0 };
	struct hook_reading reading = { .hooks = &hooks, .links = &devices };
	struct hook_entry guard = { .point = POINT_INPUT,
				    .kind = HOOK_KIND_NETFILTER_BPF,
				    .families = HOOK_FAMILY_IPV4,
				    .prioritised = true,
				    .priority = -400,
				    .program = 77,
				    .unsure = true,
				    .name = "guard",
				    .sequence = HOOK_SEQUENCE_UNKNOWN };
	struct hook_entry table = { .point = POINT_INPUT,
				    .kind = HOOK_KIND_IPTABLES,
				    .families = HOOK_FAMILY_IPV4,
				    .prioritised = true,
				    .sequence = HOOK_SEQUENCE_UNKNOWN,
				    .name = "filter" };

	(void)state;
	chains_say(&reading);
	hook_add(&reading, &guard);
	hook_add(&reading, &table);
	for (size_t i = 0; i < sizeof(listings) / sizeof(listings[0]); i++)
		listing_say(&reading, &listings[i]);
	hooks_arrange(&hooks);
	check(&hooks, order);
	assert_false(hooks.entries.items[2].unsure);
	assert_int_equal(hooks.entries.items[6].families, HOOK_FAMILY_IPV4 | HOOK_FAMILY_IPV6);
	assert_int_equal(hooks.entries.items[6].kind, HOOK_KIND_FUNCTION);
	hooks_free(&hooks);
}

/* A message may lack anything, and numbers may have any length. */
static void test_odd_messages(void **state)
{
	struct hooks hooks = { 0 };
	struct hook_reading reading = { .hooks = &hooks, .links = &devices };
	struct nlmsghdr *message;
	struct nlattr *nest;

	(void)state;
	message = message_new(NFPROTO_IPV4);
	assert_int_equal(hooks_chain_receive(message, &reading), MNL_CB_OK);
	assert_int_equal(hooks.entries.n, 0);
	nest = mnl_attr_nest_start(message, NFTA_CHAIN_HOOK);
	mnl_attr_put_u8(message, NFTA_HOOK_HOOKNUM, 1);
	mnl_attr_nest_end(message, nest);
	assert_int_equal(hooks_chain_receive(message, &reading), MNL_CB_OK);
	assert_int_equal(hooks_list_receive(message_new(NFPROTO_IPV4), &reading), MNL_CB_OK);
	assert_int_equal(hooks_flowtable_receive(message_new(NFPROTO_INET), &reading), MNL_CB_OK);
	assert_int_equal(hooks_list_receive(message_new(200), &reading), MNL_CB_OK);
	assert_int_equal(hooks.entries.n, 3);
	hooks_free(&hooks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_odd_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
