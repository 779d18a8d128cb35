// SPDX-License-Identifier: GPL-2.0-or-later
/* Hooks as text and as JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/hooks.h"

static struct hook_entry sample[] = {
	{ .point = POINT_XDP, .kind = HOOK_KIND_XDP, .ifindex = 2, .device = "eth0", .name = "shield",
	  .detail = "native", .program = 5, .counted = true, .packets = 1200 },
	{ .point = POINT_TC_INGRESS, .kind = HOOK_KIND_TCX, .ifindex = 2, .device = "eth0",
	  .name = "arrive_ethernet", .program = 14, .links = { 3 }, .reeve = true },
	{ .point = POINT_TC_INGRESS, .kind = HOOK_KIND_TC_FILTER, .ifindex = 2, .device = "eth0",
	  .prioritised = true, .priority = 49152, .name = "u32", .detail = "u32" },
	{ .point = POINT_TC_INGRESS, .kind = HOOK_KIND_TC_FILTER, .ifindex = 2, .device = "eth0",
	  .prioritised = true, .priority = 49153, .name = "main.o:[tc]", .detail = "bpf", .program = 6 },
	{ .point = POINT_PREROUTING, .kind = HOOK_KIND_FUNCTION, .families = HOOK_FAMILY_IPV4,
	  .prioritised = true, .priority = -400, .name = "ipv4_conntrack_defrag",
	  .detail = "nf_defrag_ipv4" },
	{ .point = POINT_PREROUTING, .kind = HOOK_KIND_FUNCTION, .families = HOOK_FAMILY_IPV4,
	  .prioritised = true, .priority = -200, .name = "ipv4_conntrack_in" },
	{ .point = POINT_INPUT, .kind = HOOK_KIND_NETFILTER_BPF,
	  .families = HOOK_FAMILY_IPV4 | HOOK_FAMILY_IPV6, .prioritised = true, .priority = -390,
	  .name = "guard_local_in", .program = 31, .links = { 7, 8 }, .reeve = true },
	{ .point = POINT_INPUT, .kind = HOOK_KIND_CHAIN, .families = HOOK_FAMILY_IPV4,
	  .prioritised = true, .name = "ip t in\033[2J", .detail = "filter",
	  .policy = HOOK_POLICY_DROP, .counted = true, .packets = 9 },
	{ .point = POINT_INPUT, .kind = HOOK_KIND_NETFILTER_BPF, .families = HOOK_FAMILY_IPV6,
	  .prioritised = true, .priority = 7, .program = 32, .unsure = true },
	{ .point = POINT_CGROUP_INGRESS, .kind = HOOK_KIND_CGROUP, .cgroup = "/system.slice",
	  .name = "sd_fw_ingress", .detail = "ingress", .program = 40 },
	{ .point = POINT_POSTROUTING, .kind = HOOK_KIND_CHAIN, .families = HOOK_FAMILY_IPV4,
	  .prioritised = true, .priority = 100, .chain_priority = 90, .name = "ip n post",
	  .detail = "nat" },
	{ .point = POINT_POSTROUTING, .kind = HOOK_KIND_IPTABLES, .families = HOOK_FAMILY_IPV6,
	  .prioritised = true, .priority = 100, .chain_priority = 100, .name = "nat" },
};

static struct hook_note notes[] = {
	{ "one that is long enough to be broken between two of its words, so that it fits a narrow "
	  "terminal" },
	{ "short" },
};

static const struct hooks hooks = {
	.entries = { sample, sizeof(sample) / sizeof(sample[0]), sizeof(sample) / sizeof(sample[0]) },
	.notes = { notes, 2, 2 },
};

static const char expected[] =
	"  device --> XDP --> tc --> ingress --> prerouting --+--> input --> cgroup --> socket\n"
	"              1      3*        .            2        |      3*        1          |\n"
	"                                                     v                           v\n"
	"                                                  forward                     cgroup\n"
	"                                                     .                           .\n"
	"                                                     v                           v\n"
	"  device <-- tc <-- egress <-- cgroup <-- postrouting <-------- output <---------+\n"
	"             .        .          .            2                   .\n"
	"\n"
	"  how many are on each hook; * reeve is among them\n"
	"\n"
	"HOOK         ON             PRIORITY  OWNER      WHAT\n"
	"XDP          eth0                     bpf        native shield (program 5), run 1200 times\n"
	"tc ingress   eth0                     reeve      tcx arrive_ethernet (program 14, link 3)\n"
	"             eth0              49152  tc         clsact u32\n"
	"             eth0              49153  tc         clsact bpf: main.o:[tc] (program 6)\n"
	"prerouting   IPv4               -400  defrag     ipv4_conntrack_defrag\n"
	"             IPv4               -200  conntrack  ipv4_conntrack_in\n"
	"input        IPv4+6             -390  reeve      guard_local_in (program 31, links 7 8)\n"
	"             IPv4                  0  nftables   filter chain ip t in\\x1b[2J, policy drop: 9 packets\n"
	"             IPv6                  7  bpf        ? (program 32); here or in another namespace\n"
	"cgroup in    /system.slice            bpf        ingress sd_fw_ingress (program 40)\n"
	"postrouting  IPv4                100  nftables   nat chain ip n post, 90 within NAT\n"
	"             IPv6                100  ip6tables  table nat\n"
	"\n"
	"note: one that is long enough to be broken between two of its words, so that it\n"
	"      fits a narrow terminal\n"
	"note: short\n";

static void test_text(void **state)
{
	struct text text = TEXT_INIT(1 << 16);

	(void)state;
	hooks_text(&hooks, &text);
	assert_int_equal(text_error(&text), 0);
	assert_string_equal(text_string(&text), expected);
	text_free(&text);
}

static void test_nothing(void **state)
{
	struct text text = TEXT_INIT(1 << 16);
	struct hooks none = { 0 };

	(void)state;
	hooks_text(&none, &text);
	assert_non_null(strstr(text_string(&text), "nothing is registered"));
	assert_null(strchr(text_string(&text), '#'));
	text_free(&text);
}

static void test_many(void **state)
{
	static struct hook_entry items[1200];
	struct hooks many = { .entries = { items, 1200, 1200 } };
	struct text text = TEXT_INIT(1 << 20);

	(void)state;
	for (size_t i = 0; i < 1200; i++)
		items[i] = (struct hook_entry){ .point = POINT_XDP, .kind = HOOK_KIND_XDP, .reeve = true };
	hooks_text(&many, &text);
	assert_non_null(strstr(text_string(&text), "\n              999*   .         .  "));
	text_free(&text);
}

static void test_json(void **state)
{
	json_t *root = hooks_json(&hooks), *one;

	(void)state;
	assert_non_null(root);
	assert_int_equal(json_array_size(json_object_get(root, "hooks")), hooks.entries.n);
	assert_int_equal(json_array_size(json_object_get(root, "notes")), 2);
	one = json_array_get(json_object_get(root, "hooks"), 6);
	assert_string_equal(json_string_value(json_object_get(one, "hook")), "input");
	assert_string_equal(json_string_value(json_object_get(one, "owner")), "reeve");
	assert_true(json_is_true(json_object_get(one, "reeve")));
	assert_int_equal(json_integer_value(json_object_get(one, "priority")), -390);
	assert_int_equal(json_array_size(json_object_get(one, "links")), 2);
	assert_int_equal(json_array_size(json_object_get(one, "families")), 2);
	assert_true(json_is_null(json_object_get(one, "packets")));
	one = json_array_get(json_object_get(root, "hooks"), 10);
	assert_int_equal(json_integer_value(json_object_get(one, "nat_priority")), 90);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
