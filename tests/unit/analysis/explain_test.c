// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Questions and their answers.
 */
#include "../policy/loaded.h"

#include <stdio.h>

#include "analysis/evaluate.h"
#include "analysis/explain.h"
#include "base/cleanup.h"

static const char policy[] = "zone wan = eth0; zone lan = lan0; zone \"d m-z\" = x\n"
			     "set admins = { 192.0.2.0/28, 2001:db8:5::/64 }\n"
			     "set none = {}\n"
			     "service web = { 80/tcp, 443/tcp, 443/udp }\n"
			     "policy wan -> self default drop {\n"
			     "    allow 22/tcp from @admins id ssh\n"
			     "    allow web id web\n"
			     "    allow icmp echo-request id ping\n"
			     "    drop 40000-40010/tcp id named-ports\n"
			     "    drop from 203.0.113.0/24 to 198.51.100.20 id named-addresses\n"
			     "    allow 53 from port 49152-50000 id named-source\n"
			     "    reject with admin-prohibited 113/tcp id ident\n"
			     "}\n"
			     "policy lan -> self {\n"
			     "    allow 1/tcp mac 02:00:00:00:00:01 id mac\n"
			     "    allow 2/tcp mark 0x1/0xff id mark\n"
			     "    drop ttl < 5 id short\n"
			     "    drop length > 1500 id long\n"
			     "    drop fragment id fragment\n"
			     "    allow 3/tcp state untracked stateless id untracked\n"
			     "    allow 6/tcp id opens\n"
			     "    allow 4/tcp dscp ef id dscp\n"
			     "    allow tcp flags fin,psh,urg/fin,syn,rst,psh,ack,urg id xmas\n"
			     "}\n"
			     "policy lan -> wan default allow {\n"
			     "    drop from !{ 10.0.0.0/8, fd00::/8 } id foreign\n"
			     "    allow { 1/sctp, proto gre } id odd\n"
			     "}\n"
			     "policy wan -> lan { allow 5/tcp from 198.51.100.7-198.51.100.20 id friends }\n";

struct row {
	const char *question;
	const char *answer; /* "VERDICT by ID: PACKET", or a diagnostic */
	const char *filled; /* "what value, what value", or NULL: not looked at */
};

static const struct row rows[] = {
	{ "wan -> self 22/tcp from 192.0.2.1 port 1024 to 198.51.100.1 flags syn/fin,syn,rst,ack",
	  "allow rule ssh: wan -> self 22/tcp from 192.0.2.1 port 1024 to 198.51.100.1", "" },
	{ "wan -> self ssh from 192.0.2.1",
	  "allow rule ssh: wan -> self 22/tcp from 192.0.2.1 port 50001 to 198.51.100.21",
	  "source port 50001, flags syn, destination address 198.51.100.21" },
	/* What rules name is kept away from: ports from 40000, the usual source and its network. */
	{ "wan -> self",
	  "drop default *: wan -> self 40011/tcp from 203.0.114.0 port 50001 to 198.51.100.21",
	  "family IPv4, protocol tcp, port 40011, source port 50001, flags syn, "
	  "source address 203.0.114.0, destination address 198.51.100.21" },
	{ "wan -> self web", NULL,
	  "family IPv4, protocol tcp, port 80, source port 50001, flags syn, "
	  "source address 203.0.114.0, destination address 198.51.100.21" },
	{ "wan -> self web/udp",
	  "allow rule web: wan -> self 443/udp from 203.0.114.0 port 50001 to 198.51.100.21",
	  NULL },
	{ "wan -> self 22/tcp from @admins",
	  "allow rule ssh: wan -> self 22/tcp from 192.0.2.1 port 50001 to 198.51.100.21", NULL },
	{ "wan -> self 22/tcp from !@admins",
	  "drop default *: wan -> self 22/tcp from 203.0.114.0 port 50001 to 198.51.100.21", NULL },
	{ "wan -> self 22/tcp from 2001:db8:5::7",
	  "allow rule ssh: wan -> self 22/tcp from 2001:db8:5::7 port 50001 to 2001:db8:0:fe00::14",
	  NULL },
	{ "wan -> self icmp",
	  "allow rule ping: wan -> self icmp type 8 code 0 from 203.0.114.0 to 198.51.100.21",
	  "type echo-request, source address 203.0.114.0, destination address 198.51.100.21" },
	{ "wan -> self icmpv6",
	  "drop default *: wan -> self icmpv6 type 128 code 0 from 2001:db8:0:ff00::9 "
	  "to 2001:db8:0:fe00::14",
	  NULL },
	{ "wan -> self icmpv6 neighbour-solicitation",
	  "allow builtin builtin-nd-in: wan -> self icmpv6 type 135 code 0 from "
	  "2001:db8:0:ff00::9 to 2001:db8:0:fe00::14 ttl 255",
	  NULL },
	{ "wan -> self 113/tcp from 1.2.3.4 to 5.6.7.8",
	  "reject rule ident: wan -> self 113/tcp from 1.2.3.4 port 50001 to 5.6.7.8", NULL },
	{ "other -> self 22/tcp",
	  "drop builtin-default builtin-default-in: other -> self 22/tcp from 203.0.113.9 port "
	  "49152 to 198.51.100.20",
	  NULL },
	{ "self -> wan 80/tcp",
	  "allow builtin-default builtin-default-out: self -> wan 80/tcp from 203.0.113.9 port "
	  "49152 to 198.51.100.20",
	  NULL },
	{ "lan -> self 1/tcp mac 02:00:00:00:00:01",
	  "allow rule mac: lan -> self 1/tcp from 203.0.113.9 port 49152 to 198.51.100.20 mac "
	  "02:00:00:00:00:01",
	  NULL },
	{ "lan -> self 2/tcp mark 0x101",
	  "allow rule mark: lan -> self 2/tcp from 203.0.113.9 port 49152 to 198.51.100.20 mark 0x101",
	  NULL },
	{ "lan -> self 2/tcp ttl 3",
	  "drop rule short: lan -> self 2/tcp from 203.0.113.9 port 49152 to 198.51.100.20 ttl 3",
	  "family IPv4, source port 49152, flags syn, source address 203.0.113.9, "
	  "destination address 198.51.100.20, length 60, dscp 0, mark 0" },
	{ "lan -> self udp length > 1400",
	  "drop builtin-default builtin-default-in: lan -> self 40000/udp from 203.0.113.9 port "
	  "49152 to 198.51.100.20 length 1401",
	  NULL },
	{ "lan -> self udp fragment",
	  "drop rule fragment: lan -> self udp from 203.0.113.9 to 198.51.100.20 fragment", NULL },
	{ "lan -> self 3/tcp state untracked",
	  "allow rule untracked: lan -> self 3/tcp from 203.0.113.9 port 49152 to 198.51.100.20 "
	  "flags ack/fin,syn,rst,psh,ack,urg,ece,cwr",
	  NULL },
	{ "lan -> self 3/tcp",
	  "drop builtin-default builtin-default-in: lan -> self 3/tcp from 203.0.113.9 port "
	  "49152 to 198.51.100.20",
	  NULL },
	{ "lan -> self 4/tcp dscp ef",
	  "allow rule dscp: lan -> self 4/tcp from 203.0.113.9 port 49152 to 198.51.100.20 dscp 46",
	  NULL },
	/* A negated prefix is named: an ordinary address is outside of it. */
	{ "lan -> wan", "drop rule foreign: *", NULL },
	{ "lan -> wan from 10.0.0.0/8",
	  "allow default *: lan -> wan 40000/tcp from 10.0.0.1 port 49152 to 198.51.100.20", NULL },
	{ "lan -> wan sctp from 10.1.1.1",
	  "allow default *: lan -> wan 40000/sctp from 10.1.1.1 port "
	  "49152 to 198.51.100.20",
	  NULL },
	{ "lan -> wan proto gre from 10.1.1.1",
	  "allow rule odd: lan -> wan proto 47 from 10.1.1.1 to 198.51.100.20", NULL },
	/* Who is named as a source is no ordinary destination. */
	{ "wan -> lan 5/tcp",
	  "drop builtin-default *: wan -> lan 5/tcp from 203.0.113.9 port 49152 to 198.51.100.21",
	  NULL },
	/* Sanity comes before any rule. */
	{ "lan -> self tcp flags fin,psh,urg/fin,syn,rst,psh,ack,urg",
	  "drop sanity none of SYN, ACK and RST is set: *", NULL },
	{ "lan -> self 22/tcp flags syn,fin/syn,fin", "drop sanity SYN together with FIN: *",
	  NULL },
	{ "lan -> self 0/tcp", "drop sanity port 0: *", NULL },
	{ "lan -> self 22/tcp from 224.0.0.1", "drop sanity the source is a multicast address: *",
	  NULL },
	{ "lan -> self 22/tcp from 255.255.255.255",
	  "drop sanity the source is the broadcast address: *", NULL },
	{ "lan -> self 22/tcp from ::1", "drop sanity a loopback address from outside: *", NULL },
	{ "self -> lan 22/tcp from 127.0.0.1", "allow builtin-default builtin-default-out: *",
	  NULL },
	{ "\"d m-z\" -> self 22/tcp from 1.1.1.1 to 2.2.2.2",
	  "drop builtin-default builtin-default-in: \"d m-z\" -> self 22/tcp from 1.1.1.1 port "
	  "49152 to 2.2.2.2",
	  NULL },
	/* Amid a connection that nobody knows, a rule alone does not do; without a flow it does. */
	{ "lan -> self 6/tcp flags ack", "drop sanity opens: *", NULL },
	{ "lan -> self 6/tcp flags syn,ack", "drop sanity opens: *", NULL },
	{ "lan -> self 6/tcp to 224.0.0.9 flags ack", "allow rule opens: *", NULL },
	{ "lan -> self 6/tcp to 255.255.255.255 flags ack", "allow rule opens: *", NULL },
	{ "lan -> self 6/tcp to ff02::9 flags ack", "allow rule opens: *", NULL },
	{ "self -> lan 22/tcp flags ack", "drop sanity builtin-default-out: *", NULL },
	{ "wan -> self 113/tcp flags ack", "reject rule ident: *", NULL },
	/* What cannot be. */
	{ "any -> self", "question:1:1 error zone-any: *", NULL },
	{ "wam -> self",
	  "question:1:1 error unknown-zone: unknown zone `wam` (did you mean `wan`?)", NULL },
	{ "wan -> self icmp from 2001:db8::1", "question:1:23 error empty-match: *", NULL },
	{ "wan -> self 22/tcp from @admin",
	  "question:1:25 error unknown-set: unknown set `@admin` (did you mean `@admins`?)", NULL },
	{ "wan -> self htp",
	  "question:1:13 error unknown-service: unknown service `htp` (did you mean `http`?)",
	  NULL },
	{ "wan -> self 22/tcp from @none", "*question:1:1 error empty-question: *", NULL },
	{ "self -> self 22/tcp", "allow builtin-default builtin-default-out: *", NULL },
	{ "wan self 22/tcp", "question:1:5 error *", NULL },
	{ "", "question:1:1 error *", NULL },
};

/* `*` at the end stands for anything; at the beginning too. */
static bool fits(const char *got, const char *expected)
{
	const char *star;

	if (*expected == '*')
		return (got = strstr(got, "question:1:1 error")) && fits(got, expected + 1);
	star = strchr(expected, '*');
	if (!star)
		return !strcmp(got, expected);
	if (strncmp(got, expected, (size_t)(star - expected)))
		return false;
	got = star[1] ? strchr(got + (star - expected), star[1]) : "";
	return got && !strcmp(got, star + 1);
}

static void put_answer(const struct ruleset *ruleset, const struct explanation *e, struct text *out)
{
	static const char *const verdicts[] = { "allow", "drop", "reject" };

	text_printf(out, "%s %s %s: %s", verdicts[e->verdict], explained_by_name(e->by),
		    e->rule < ruleset->rule_n ? ruleset->rules[e->rule].id : e->reason, e->packet);
}

static void ask(const struct ruleset *ruleset, const struct row *row)
{
	struct source_set sources = { .sealed = true };
	struct diagnostics diagnostics = { 0 };
	struct text got = TEXT_INIT(1 << 16), filled = TEXT_INIT(1 << 16);
	struct explanation e;
	int err = explain(ruleset, row->question, &sources, &e, &diagnostics);

	if (err) {
		put_diagnostics(&diagnostics, &sources, &got);
		got.bytes[--got.len] = '\0';
	} else {
		put_answer(ruleset, &e, &got);
		for (uint32_t i = 0; i < e.filled_n; i++)
			text_printf(&filled, "%s%s %s", i ? ", " : "", e.filled[i].what,
				    e.filled[i].value);
	}
	if (row->answer && !fits(text_string(&got), row->answer))
		fail_msg("%s\n  got      %s\n  expected %s", row->question, text_string(&got),
			 row->answer);
	if (row->filled)
		assert_string_equal(text_string(&filled), row->filled);
	if (!err)
		explanation_free(&e);
	text_free(&got);
	text_free(&filled);
	diagnostics_free(&diagnostics);
	source_set_free(&sources);
}

static void test_answers(void **state)
{
	struct ruleset ruleset;

	(void)state;
	load_right(policy, &ruleset);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ask(&ruleset, &rows[i]);
	ruleset_free(&ruleset);
}

/* The packet of an answer, asked again, is the same packet with the same answer. */
static void test_packet_is_a_question(void **state)
{
	struct ruleset ruleset;

	(void)state;
	load_right(policy, &ruleset);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct source_set sources = { .sealed = true }, again = { .sealed = true };
		struct diagnostics diagnostics = { 0 };
		struct explanation one, two;

		if (!explain(&ruleset, rows[i].question, &sources, &one, &diagnostics)) {
			if (explain(&ruleset, one.packet, &again, &two, &diagnostics))
				fail_msg("%s: %s", one.packet, diagnostics.list.items[0].message);
			assert_string_equal(one.packet, two.packet);
			assert_memory_equal(&one.fields, &two.fields, sizeof(one.fields));
			assert_int_equal(one.rule, two.rule);
			explanation_free(&one);
			explanation_free(&two);
		}
		diagnostics_free(&diagnostics);
		source_set_free(&sources);
		source_set_free(&again);
	}
	ruleset_free(&ruleset);
}

static void test_near(void **state)
{
	struct source_set sources = { .sealed = true };
	struct diagnostics diagnostics = { 0 };
	struct ruleset ruleset;
	struct explanation e;

	(void)state;
	load_right(
		"zone wan = eth0; set admins = 192.0.2.0/28\npolicy wan -> self {\n"
		"allow 1/tcp id a\nallow 2/tcp id b\nallow 3/tcp id c\nallow 4/tcp id d\n"
		"allow 5/tcp id e\nallow 6/tcp id f\n"
		"allow 22/tcp from @admins id g\nallow 22/tcp from 2001:db8::/32 id h\n"
		"allow 22/udp id i\nallow 22/tcp flags ack id j\nallow 22/udp from @admins id k\n}\n"
		"policy self -> any { allow 22/tcp from @admins id l\n}",
		&ruleset);
	assert_int_equal(explain(&ruleset, "wan -> self 22/tcp from 203.0.113.9", &sources, &e,
				 &diagnostics),
			 0);
	/*
	 * g: address; i: protocol; j: flags. h and k differ in two parts; the others are about
	 * other ports.
	 */
	assert_int_equal(e.near_n, 3);
	assert_string_equal(ruleset.rules[e.near[0].rule].id, "g");
	assert_int_equal(e.near[0].field, FIELD_SRC);
	assert_string_equal(e.near[0].what, "source address");
	assert_string_equal(e.near[0].is, "203.0.113.9");
	assert_string_equal(e.near[0].wants, "@admins");
	assert_string_equal(ruleset.rules[e.near[1].rule].id, "i");
	assert_int_equal(e.near[1].field, FIELD_PROTOCOL);
	assert_string_equal(e.near[1].is, "tcp");
	assert_string_equal(e.near[1].wants, "udp");
	assert_string_equal(ruleset.rules[e.near[2].rule].id, "j");
	assert_int_equal(e.near[2].field, FIELD_TCP_FLAGS);
	assert_string_equal(e.near[2].wants, "ack/ack");
	explanation_free(&e);
	/* Where nothing but ports differ, the first five. */
	assert_int_equal(explain(&ruleset, "wan -> self 7/tcp", &sources, &e, &diagnostics), 0);
	assert_int_equal(e.near_n, EXPLAIN_NEAR_MAX);
	assert_string_equal(ruleset.rules[e.near[0].rule].id, "a");
	assert_string_equal(e.near[0].what, "port");
	assert_string_equal(e.near[0].is, "7");
	assert_string_equal(e.near[0].wants, "1");
	assert_string_equal(ruleset.rules[e.near[4].rule].id, "e");
	explanation_free(&e);
	diagnostics_free(&diagnostics);
	source_set_free(&sources);
	ruleset_free(&ruleset);
}

/* A service name that only /etc/services knows means what it meant when the policy was sealed. */
static void test_services_of_the_policy(void **state)
{
	const struct test_file files[] = {
		{ "t.reeve", "policy any -> self { allow oddity id odd }" },
		{ "/etc/services", "oddity 4321/udp\n" },
	};
	const struct row row = { "other -> self oddity",
				 "allow rule odd: other -> self 4321/udp from 203.0.113.9 port "
				 "49152 to 198.51.100.20",
				 NULL };
	struct diagnostics diagnostics = { 0 };
	struct ruleset ruleset;

	(void)state;
	assert_int_equal(load_files(files, 2, &ruleset, &diagnostics), 0);
	ask(&ruleset, &row);
	diagnostics_free(&diagnostics);
	ruleset_free(&ruleset);
}

/* Everything is named: an answer is found all the same. */
static void test_nothing_ordinary_left(void **state)
{
	const struct row row = {
		"other -> self",
		"drop rule all: other -> self 40000/tcp from 203.0.113.9 port 49152 to "
		"198.51.100.20",
		NULL
	};
	struct ruleset ruleset;

	(void)state;
	load_right("policy any -> self {\ndrop 1-32767/tcp from port 49152-60000\n"
		   "drop 32768-65535/tcp from port 60001-65535\n"
		   "drop from { 0.0.0.0/1, 128.0.0.0/2 }\n"
		   "drop from 192.0.0.0/2 id all\n}",
		   &ruleset);
	ask(&ruleset, &row);
	ruleset_free(&ruleset);
}

/* The examples that are shipped load, and do what their comments say. */
static void check_example(const char *name, const struct row *questions, size_t n)
{
	struct source_set sources = { 0 };
	struct diagnostics diagnostics = { 0 };
	struct ruleset ruleset;
	int err = policy_load(name, &sources, &ruleset, &diagnostics);

	if (err)
		fail_msg("%s: %s", name, diagnostics.list.items[0].message);
	assert_int_equal(diagnostics.list.n, 0);
	for (size_t i = 0; i < n; i++)
		ask(&ruleset, &questions[i]);
	diagnostics_free(&diagnostics);
	ruleset_free(&ruleset);
}

static void test_examples(void **state)
{
	static const struct row host[] = {
		{ "wan -> self 22/tcp from 192.0.2.3", "allow rule *", NULL },
		{ "wan -> self 22/tcp", "drop default *", NULL },
		{ "wan -> self 443/udp", "allow rule *", NULL },
		{ "wan -> self 3306/tcp", "drop default *", NULL },
		{ "wan -> self 113/tcp", "reject rule *", NULL },
		{ "self -> wan", "allow default *", NULL },
		{ "other -> self", "drop builtin-default *", NULL },
	};
	static const struct row router[] = {
		{ "lan -> wan 443/tcp", "allow default *", NULL },
		{ "lan -> wan smtp", "reject rule *", NULL },
		{ "lan -> self 53/udp", "allow rule *", NULL },
		{ "lan -> self 80/tcp", "reject default *", NULL },
		{ "wan -> lan 80/tcp to 192.168.1.10", "allow rule *", NULL },
		{ "wan -> lan 22/tcp to 192.168.1.10", "drop default *", NULL },
		{ "lan -> lan", "drop default *", NULL },
		{ "wan -> self 8080/tcp", "allow rule *", NULL },
		{ "wan -> other", "drop builtin-default *", NULL },
	};

	(void)state;
	check_example("examples/host.reeve", host, sizeof(host) / sizeof(host[0]));
	check_example("examples/router.reeve", router, sizeof(router) / sizeof(router[0]));
	check_example("examples/laptop.reeve", NULL, 0);
	check_example("examples/docker.reeve", NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_packet_is_a_question),
		cmocka_unit_test(test_near),
		cmocka_unit_test(test_services_of_the_policy),
		cmocka_unit_test(test_nothing_ordinary_left),
		cmocka_unit_test(test_examples),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
