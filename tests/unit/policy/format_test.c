// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "parsed.h"

/* A rule, and its canonical text; NULL: the same. */
static const struct {
	const char *rule, *canonical;
} rule_rows[] = {
	{ "allow", NULL },
	{ "allow any", NULL },
	{ "allow 22/tcp", NULL },
	{ "allow   22 / tcp", "allow 22/tcp" },
	{ "allow 53", NULL },
	{ "allow 022/tcp", "allow 22/tcp" },
	{ "allow 22-22/tcp", "allow 22/tcp" },
	{ "allow 6000-6063/tcp", NULL },
	{ "allow ssh", NULL },
	{ "allow domain/udp", NULL },
	{ "allow \"log\"", NULL },
	{ "allow {80,443}/tcp", "allow { 80, 443 }/tcp" },
	{ "allow { 53, 67/udp, 22/tcp, }", "allow { 53, 67/udp, 22/tcp }" },
	{ "allow { {80, 443}/tcp, icmp }", "allow { { 80, 443 }/tcp, icmp }" },
	{ "allow icmp", NULL },
	{ "allow icmp echo-request", NULL },
	{ "allow icmp type 3", NULL },
	{ "allow icmp type 3 code 4", NULL },
	{ "allow icmpv6 type 143", NULL },
	{ "allow proto gre", NULL },
	{ "allow proto 47", NULL },
	{ "allow tcp", NULL },
	{ "allow tcp syn", NULL },
	{ "allow sctp", NULL },
	{ "allow from 10.0.0.0/8", NULL },
	{ "allow from 10.0.0.1/32", "allow from 10.0.0.1" },
	{ "allow from 10.1.2.3/8", "allow from 10.0.0.0/8" },
	{ "allow from 10.0.0.1-10.0.0.9", NULL },
	{ "allow from 10.0.0.1-10.0.0.1", "allow from 10.0.0.1" },
	{ "allow from 2001:DB8:0::1", "allow from 2001:db8::1" },
	{ "allow from ::ffff:0:0/96", NULL },
	{ "allow from ::/0", NULL },
	{ "allow from { 10.0.0.0/8,fd00::/8 }", "allow from { 10.0.0.0/8, fd00::/8 }" },
	{ "allow from !10.0.0.0/8", NULL },
	{ "allow from ! { @a, 10.0.0.1 }", "allow from !{ @a, 10.0.0.1 }" },
	{ "allow from @admins", NULL },
	{ "allow from @\"my set\"", NULL },
	{ "allow from port 1024-65535", NULL },
	{ "allow udp from 10.0.0.1 port { 53, ntp } to @dns", NULL },
	{ "allow flags syn/syn,ack", NULL },
	{ "allow flags rst,fin,ack,syn/all", "allow flags syn,ack,fin,rst/all" },
	{ "allow flags none/syn", NULL },
	{ "allow flags syn/syn", "allow flags syn" },
	{ "allow length 0-128", NULL },
	{ "allow length > 1500", NULL },
	{ "allow dscp ef", NULL },
	{ "allow dscp 0x2e", "allow dscp 46" },
	{ "allow mark 0x01/0xFF", "allow mark 0x1/0xff" },
	{ "allow mark 5", NULL },
	{ "allow mac 02:00:5E:10:00:01", "allow mac 02:00:5e:10:00:01" },
	{ "allow state new", NULL },
	{ "allow state untracked", NULL },
	{ "allow fragment", NULL },
	{ "allow ttl<5", "allow ttl < 5" },
	{ "allow ttl <= 5", NULL },
	{ "allow ttl > 5", NULL },
	{ "allow ttl >= 5", NULL },
	{ "allow ttl 5", NULL },
	{ "allow ttl 5-9", NULL },
	{ "allow ttl < 5 fragment flags syn", "allow flags syn fragment ttl < 5" },
	{ "allow limit 10/s", NULL },
	{ "allow limit 6 per 30s each source", NULL },
	{ "allow limit 6 per 60s", "allow limit 6/m" },
	{ "allow limit 6 per 120s burst 9 each destination",
	  "allow limit 6 per 2m burst 9 each destination" },
	{ "drop log", NULL },
	{ "drop log \"a \\\"b\\\" \\\\\"", NULL },
	{ "drop log sample 1/100", NULL },
	{ "drop log \"x\" sample 1/1", "drop log \"x\"" },
	{ "drop count telnet", NULL },
	{ "drop mark set 0x10/0xf0", NULL },
	{ "drop mark 1 mark set 2", NULL },
	{ "drop stateless", NULL },
	{ "drop timeout 300s", "drop timeout 5m" },
	{ "drop timeout 90m", NULL },
	{ "drop timeout 48h", "drop timeout 2d" },
	{ "drop max flows 20 each source", NULL },
	{ "drop add source to @scanners", NULL },
	{ "drop add destination to @\"a b\"", NULL },
	{ "drop stateless count a log limit 5/s", "drop limit 5/s log count a stateless" },
	{ "reject", NULL },
	{ "reject with tcp-reset", NULL },
	{ "reject with admin-prohibited 113/tcp log", NULL },
};

/* Files, and their canonical text; NULL: the same. */
static const struct {
	const char *text, *canonical;
} file_rows[] = {
	{ "", NULL },
	{ "\n\n\n", "" },
	{ "# a\n", NULL },
	{ "#a\n#\n##b\n#!c\n", "# a\n#\n##b\n#!c\n" },
	{ "\n\n# a\n\n\n\n# b\n\n", "# a\n\n# b\n" },
	{ "zone a = b", "zone a = b\n" },
	{ "zone a = b\r\nzone c = d\r\n", "zone a = b\nzone c = d\n" },
	{ "\xef\xbb\xbfzone a = b\n", "zone a = b\n" },
	{ "zone a = b; zone c = d; # e\n", "zone a = b\nzone c = d  # e\n" },
	{ "zone wan = b\nzone c = d\nset x = 1.2.3.4\n\nzone longer = e\n",
	  "zone wan = b\nzone c   = d\nset x = 1.2.3.4\n\nzone longer = e\n" },
	{ "zone \"a b\" = { \"vlan*\", eth0 }\n", NULL },
	{ "set a = { }\n", NULL },
	{ "set a = {}\n", "set a = { }\n" },
	{ "set a = file \"x y.txt\"\n", NULL },
	{ "set a = dynamic\n", NULL },
	{ "set a = dynamic { max 5, timeout 1h }\n", "set a = dynamic { timeout 1h, max 5 }\n" },
	{ "set a = dynamic {\n    timeout 1h,  # why\n    # how\n}\n", NULL },
	{ "set a = {\n1.2.3.4,\n\n5.6.7.8 }\n", "set a = { 1.2.3.4, 5.6.7.8 }\n" },
	{ "set a = { # one\n1.2.3.4, # two\n\n# three\n5.6.7.8\n# four\n}  # five\n",
	  "set a = {\n    # one\n    1.2.3.4,  # two\n\n    # three\n    5.6.7.8,\n    # four\n"
	  "}  # five\n" },
	{ "set a = { 198.51.100.101, 198.51.100.102, 198.51.100.103, 198.51.100.104, 198.51.100.105, "
	  "198.51.100.106 }\n",
	  "set a = {\n    198.51.100.101,\n    198.51.100.102,\n    198.51.100.103,\n"
	  "    198.51.100.104,\n    198.51.100.105,\n    198.51.100.106,\n}\n" },
	{ "service web = { 80/tcp, { 443, https }/udp }\n", NULL },
	{ "include \"local.reeve\"\n", NULL },
	{ "policy a->b default allow\n", "policy a -> b default allow\n" },
	{ "policy { a,b } -> { any, self } default reject with tcp-reset\n",
	  "policy { a, b } -> { any, self } default reject with tcp-reset\n" },
	{ "policy a -> b { }\n", NULL },
	{ "policy a -> b {\n}\n", "policy a -> b { }\n" },
	{ "policy a -> b { allow; drop }\n", "policy a -> b {\n    allow\n    drop\n}\n" },
	{ "policy a -> b { allow ssh id x } # c\n", "policy a -> b { allow ssh id x }  # c\n" },
	{ "policy a -> b {\n    allow ssh\n}\n", NULL },
	{ "policy a -> b {  # c\n    # d\n    allow  # e\n\n    drop\n    # f\n}\n", NULL },
	{ "policy a -> b {\n\n\nallow\n\n\n\ndrop\n\n}\n",
	  "policy a -> b {\n    allow\n\n    drop\n}\n" },
	{ "nat a -> b { masquerade }\n", NULL },
	{ "nat a -> b {\n    source from 10.0.0.0/8 to 1.2.3.4-1.2.3.9\n"
	  "    forward 80/tcp to { 10.0.0.1:80, [::1]:8000-8010 }\n"
	  "    forward 9/udp to 10.0.0.0/24\n    masquerade from @x\n}\n",
	  NULL },
	{ "nat a -> b { forward 80/tcp to [::1] }\n", "nat a -> b { forward 80/tcp to ::1 }\n" },
	{ "early wan {\n    drop from @drop\n    limit tcp syn 2000/s burst 4000 each source\n"
	  "    limit 5/m log\n    limit 22/tcp fragment 6 per 7s\n}\n",
	  NULL },
	{ "intercept a -> b 80/tcp from 10.0.0.0/8 to 127.0.0.1:3129\n", NULL },
	{ "intercept a -> b 80/tcp to [::1]:3129 on-missing pass\n", NULL },
	{ "intercept a -> b to 127.0.0.1:3129 on-missing drop\n", "intercept a -> b to 127.0.0.1:3129\n" },
	{ "assert a -> b is allowed\n", NULL },
	{ "assert a -> b 22/tcp from 10.0.0.1 is dropped except from @x\n", NULL },
	{ "options { ipv6-nd off; flows 5 }\n", "options {\n    ipv6-nd off\n    flows 5\n}\n" },
	{ "options { guard off }\n", NULL },
};

static void check_text(const char *text, const char *canonical)
{
	struct parsed parsed;
	char *printed;

	parse_string(&parsed, text);
	printed = parsed_print(&parsed);
	if (parsed.err || strcmp(printed, canonical) != 0)
		fail_msg("%s\n--- became\n%s--- expected\n%s", text, printed, canonical);
	free(printed);
	parsed_free(&parsed);
}

static void test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(file_rows) / sizeof(*file_rows); i++) {
		const char *canonical = file_rows[i].canonical ? file_rows[i].canonical :
								 file_rows[i].text;

		check_text(file_rows[i].text, canonical);
		check_text(canonical, canonical);
	}
}

static void check_rule(const char *text, const char *canonical)
{
	struct text file = TEXT_INIT(0), printed = TEXT_INIT(0);
	const struct tree_policy *policy;
	struct parsed parsed;

	text_printf(&file, "policy a -> b {\n%s id x # c\n}\n", text);
	parse_string(&parsed, text_string(&file));
	if (parsed.err)
		fail_msg("`%s` is refused: %s", text, parsed.diagnostics.list.items[0].message);
	policy = &parsed.tree->statements[0]->policy;
	assert_int_equal(policy->rule_n, 1);
	assert_string_equal(policy->rules[0].trivia->trailing, "c");
	format_rule(&policy->rules[0], &printed);
	if (strcmp(text_string(&printed), canonical) != 0)
		fail_msg("`%s` became `%s`, expected `%s`", text, text_string(&printed), canonical);
	text_free(&file);
	text_free(&printed);
	parsed_free(&parsed);
}

static void test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rule_rows) / sizeof(*rule_rows); i++) {
		const char *canonical = rule_rows[i].canonical ? rule_rows[i].canonical :
								 rule_rows[i].rule;

		check_rule(rule_rows[i].rule, canonical);
		check_rule(canonical, canonical);
	}
}

/* What ids are made of has no comments in it, however the rule was written. */
static void test_rule_is_flat(void **state)
{
	struct text printed = TEXT_INIT(0);
	struct parsed parsed;

	(void)state;
	parse_string(&parsed,
		     "policy { a, # x\n b } -> c default drop {\n allow from { 10.0.0.1, # y\n"
		     " 10.0.0.2 } id z\n}\n");
	assert_int_equal(parsed.err, 0);
	format_rule(&parsed.tree->statements[0]->policy.rules[0], &printed);
	assert_string_equal(text_string(&printed), "allow from { 10.0.0.1, 10.0.0.2 }");
	text_free(&printed);
	format_pair(&parsed.tree->statements[0]->policy.pair, &printed);
	assert_string_equal(text_string(&printed), "{ a, b } -> c");
	text_free(&printed);
	format_default(&parsed.tree->statements[0]->policy, &printed);
	assert_string_equal(text_string(&printed), "default drop");
	text_free(&printed);
	parsed_free(&parsed);
}

static void test_questions(void **state)
{
	static const char *const rows[] = {
		"wan -> self",
		"wan -> self 22/tcp from 203.0.113.9 port 4000 to 10.0.0.1 flags syn/syn,ack ttl 64",
		"any -> \"x y\" icmp echo-request",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct question *question = NULL;
		struct text printed = TEXT_INIT(0);
		struct parsed parsed = { 0 };

		assert_int_equal(question_parse(rows[i], &parsed.sources, &parsed.arena,
						&parsed.diagnostics, &question),
				 0);
		format_question(question, &printed);
		assert_string_equal(text_string(&printed), rows[i]);
		text_free(&printed);
		parsed_free(&parsed);
	}
}

/* Running out of room is told by the text, not ignored. */
static void test_errors_stick(void **state)
{
	struct text small = TEXT_INIT(16);
	struct parsed parsed;

	(void)state;
	parse_string(&parsed, "set a = { 10.0.0.1, 10.0.0.2, 10.0.0.3 }\n");
	assert_int_equal(parsed.err, 0);
	format_tree(parsed.tree, &small);
	assert_int_not_equal(text_error(&small), 0);
	text_free(&small);
	parsed_free(&parsed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),	     cmocka_unit_test(test_files),
		cmocka_unit_test(test_rule_is_flat), cmocka_unit_test(test_questions),
		cmocka_unit_test(test_errors_stick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
