// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/field.h"
#include "parsed.h"

/* --- errors ------------------------------------------------------------- */

/*
 * A text with one error: the word it points at, its code, and what its hint holds (NULL: no hint).
 */
static const struct {
	const char *text, *word, *code, *hint;
} error_rows[] = {
	{ "zonne a = b", "zonne", "unknown-word", "`zone`" },
	{ "allow ssh", "allow", "syntax", "policy FROM -> TO" },
	{ "}", "}", "syntax", NULL },
	{ "test x {\n a\n}", "test", "not-supported", NULL },
	{ "zone self = eth0", "self", "bad-name", "`self`" },
	{ "zone \"any\" = eth0", "\"any\"", "bad-name", "`any`" },
	{ "zone a eth0", "eth0", "syntax", NULL },
	{ "zone a = eth0 eth1", "eth1", "syntax", "{ a, b }" },
	{ "zone a = eth0, eth1", ",", "syntax", "{ a, b }" },
	{ "zone a = { }", "{", "syntax", NULL },
	{ "zone a = vlan*", "*", "bad-character", "\"vlan*\"" },
	{ "zone a = eth0:1", "eth0:1", "bad-name", "quotes" },
	{ "zone a = \"\"", "\"\"", "bad-name", NULL },
	{ "zone a = \"x", "\"", "bad-string", "same line" },
	{ "zone a = \"\\n\"", "\"\\n\"", "bad-string", "\\\\" },
	{ "zone aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa = b",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bad-name", "63" },
	{ "set a = { 10.0.0.1", "{", "not-closed", "`}`" },
	{ "set a = { 10.0.0.1,\nzone b = c", "{", "not-closed", "`}`" },
	{ "set a = { 10.0.0.1 10.0.0.2 }", "10.0.0.2", "syntax", NULL },
	{ "set a = { { 10.0.0.1 } }", "{ 10", "syntax", "one list" },
	{ "set a = { !10.0.0.1 }", "!", "syntax", "!{" },
	{ "set a = !10.0.0.1", "!", "syntax", "from !@name" },
	{ "set a = 10.0.0.0/33", "33", "bad-prefix", "0 to 32" },
	{ "set a = fd00::/129", "129", "bad-prefix", "0 to 128" },
	{ "set a = 10.0.0.0/255.0.0.0", "255.0.0.0", "bad-prefix", "`/8`" },
	{ "set a = 10.0.0.256", "10.0.0.256", "bad-address", NULL },
	{ "set a = 10.0.0", "10.0.0", "bad-address", NULL },
	{ "set a = example.org", "example.org", "bad-address", "`@example.org`" },
	{ "set a = any", "any", "bad-address", "leave it out" },
	{ "set a = ::ffff:10.0.0.1", "::ffff:10.0.0.1", "bad-address", "`10.0.0.1`" },
	{ "set a = ::ffff:10.0.0.0/104", "::ffff:10.0.0.0/104", "bad-address", "`10.0.0.0/8`" },
	{ "set a = 10.0.0.9-10.0.0.1", "10.0.0.9-10.0.0.1", "bad-range", "`10.0.0.1-10.0.0.9`" },
	{ "set a = 10.0.0.1-20", "10.0.0.1-20", "bad-range", "`10.0.0.1-10.0.0.20`" },
	{ "set a = 10.0.0.1-::1", "10.0.0.1-::1", "bad-range", NULL },
	{ "set a = file b.txt", "b.txt", "syntax", "quotes" },
	{ "set a = dynamic { timout 1h }", "timout", "unknown-word", "`timeout`" },
	{ "set a = dynamic { max 5, max 6 }", "max 6", "duplicate", NULL },
	{ "set a = dynamic { max 0 }", "0", "bad-number", "from 1" },
	{ "set a = dynamic { timeout 5 }", "5", "bad-duration", "`5s`" },
	{ "set a = dynamic { timeout 0s }", "0s", "bad-duration", "at least 1s" },
	{ "set a = dynamic { timeout 5y }", "5y", "bad-duration", "s, m, h, d" },
	{ "service a = { }", "{", "syntax", NULL },
	{ "service a = { 80/udp }/tcp", "80/udp", "syntax", "ports and names" },
	{ "service a = { { 80 } }", "{ 80", "syntax", "{ 80, 443 }/tcp" },
	{ "service a = { { { 80 }/tcp }/tcp }", "{ 80", "syntax", "one list" },
	{ "service a = 65536", "65536", "bad-port", "65535" },
	{ "service a = 443-80", "443-80", "bad-range", "`80-443`" },
	{ "service a = 80/tpc", "tpc", "unknown-word", "`tcp`" },
	{ "service a = 10.0.0.1", "10.0.0.1", "bad-port", "`from` or `to`" },
	{ "service a = icmp ecko-request", "ecko-request", "unknown-word", "`echo-request`" },
	{ "service a = icmp type 256", "256", "bad-number", "255" },
	{ "service a = icmp 8", "8", "syntax", "`type 8`" },
	{ "service a = proto 256", "256", "bad-number", "255" },
	{ "service a = tcp 22", "22", "syntax", "`22/tcp`" },
	{ "service a = tcp port 22", "port", "syntax", "`22/tcp`" },
	{ "include local.reeve", "local.reeve", "syntax", "quotes" },
	{ "policy a > b default drop", ">", "syntax", NULL },
	{ "policy a -> b", "\n", "syntax", NULL },
	{ "policy a -> b default accept", "accept", "unknown-word", "`allow`" },
	{ "policy a -> b default drop {", "{", "not-closed", "`}`" },
	{ "policy a -> b {\nallow ssh\npolicy c -> d default drop", "{", "not-closed", "`}`" },
	{ "policy a -> b { alow ssh }", "alow", "unknown-word", "`allow`" },
	{ "policy a -> b { deny ssh }", "deny", "unknown-word", "`drop`" },
	{ "policy a -> b { allow ssh form 10.0.0.1 }", "form", "unknown-word", "`from`" },
	{ "policy a -> b { allow ssh log from 10.0.0.1 }", "from", "order", "[from ...]" },
	{ "policy a -> b { allow to 1.1.1.1 from 2.2.2.2 }", "from", "order", "[from ...]" },
	{ "policy a -> b { allow ssh log ttl 5 }", "ttl", "order", "[conditions]" },
	{ "policy a -> b { allow ssh 10.0.0.1 }", "10.0.0.1", "syntax", "`from` or `to`" },
	{ "policy a -> b { allow 22 80 }", "80", "syntax", "{ 80/tcp, 443/tcp }" },
	{ "policy a -> b { allow from admins }", "admins", "bad-address", "`@admins`" },
	{ "policy a -> b { allow from { } }", "{ }", "syntax", NULL },
	{ "policy a -> b { allow from port 53/udp }", "/", "syntax", "protocol" },
	{ "policy a -> b { allow to 1.1.1.1 port 80 }", "port", "syntax", "destination port" },
	{ "policy a -> b { allow flags syn/ack }", "syn/ack", "bad-mask", "`/`" },
	{ "policy a -> b { allow flags none }", "none", "bad-mask", "none/syn,ack" },
	{ "policy a -> b { allow flags sin }", "sin", "unknown-word", "`syn`" },
	{ "policy a -> b { allow length 9-5 }", "9-5", "bad-range", "`5-9`" },
	{ "policy a -> b { allow ttl 256 }", "256", "bad-number", "255" },
	{ "policy a -> b { allow ttl < 0 }", "< 0", "bad-range", NULL },
	{ "policy a -> b { allow ttl > 255 }", "> 255", "bad-range", NULL },
	{ "policy a -> b { allow ttl 5 ttl 6 }", "ttl 6", "duplicate", NULL },
	{ "policy a -> b { allow dscp eff }", "eff", "unknown-word", "`ef`" },
	{ "policy a -> b { allow mark 0x1f/0xf }", "0x1f/0xf", "bad-mask", "`0x1f/0x1f`" },
	{ "policy a -> b { allow mark 0x1ffffffff }", "0x1ffffffff", "bad-number", "32 bits" },
	{ "policy a -> b { allow mac 02:00:00:00:00 }", "02:00:00:00:00", "bad-mac", "six bytes" },
	{ "policy a -> b { allow mac 02:00:00:00:00:0g }", "02:00:00:00:00:0g", "bad-mac",
	  "six bytes" },
	{ "policy a -> b { allow state established }", "established", "syntax", "known flows" },
	{ "policy a -> b { allow limit 10 }", "}", "syntax", NULL },
	{ "policy a -> b { allow limit 0/s }", "0", "bad-number", "from 1" },
	{ "policy a -> b { allow limit 6/30s }", "30s", "syntax", "per 30s" },
	{ "policy a -> b { allow limit 6/s each host }", "host", "unknown-word", "`source`" },
	{ "policy a -> b { allow log log }", "log }", "duplicate", NULL },
	{ "policy a -> b { allow log sample 2/5 }", "log sample", "bad-number", "1/100" },
	{ "policy a -> b { allow add source to x }", "x", "syntax", NULL },
	{ "policy a -> b { allow max 5 }", "5", "syntax", NULL },
	{ "policy a -> b { reject with tcp-rest }", "tcp-rest", "unknown-word", "`tcp-reset`" },
	{ "policy a -> b { allow 'x' }", "'", "bad-character", "\"" },
	{ "policy a -> b { allow ssh; } x", "x", "syntax", NULL },
	{ "nat a -> b { masquerad }", "masquerad", "unknown-word", "`masquerade`" },
	{ "nat a -> b { masquerade to 1.1.1.1 }", "to", "syntax", "source ... to" },
	{ "nat a -> b { forward 80/tcp }", "}", "syntax", NULL },
	{ "nat a -> b { forward 80/tcp to 1.1.1.1:0 }", "1.1.1.1:0", "bad-port", "1 to 65535" },
	{ "nat a -> b { forward 80/tcp to 1.1.1.1:9-5 }", "1.1.1.1:9-5", "bad-range", NULL },
	{ "nat a -> b { forward 80/tcp to [1.1.1.1]:5 }", "1.1.1.1", "bad-address", NULL },
	{ "nat a -> b { forward 80/tcp to @x }", "@", "syntax", "themselves" },
	{ "nat a -> b", "\n", "syntax", NULL },
	{ "early a { allow ssh }", "allow", "unknown-word", "`drop`" },
	{ "early a { limit tcp syn }", "}", "syntax", NULL },
	{ "intercept a -> b 80/tcp", "\n", "syntax", NULL },
	{ "intercept a -> b 80/tcp to 127.0.0.1:9 on-missing", "\n", "syntax", NULL },
	{ "intercept a -> b 80/tcp to 127.0.0.1:9 on-missing reject", "reject", "unknown-word", "`drop`" },
	{ "intercept a -> b 80/tcp to 127.0.0.1:9 log", "log", "syntax", NULL },
	{ "assert a -> b ssh is blocked", "blocked", "unknown-word", "`dropped`" },
	{ "assert a -> b ssh", "\n", "syntax", NULL },
	{ "assert a -> b ssh is dropped except", "\n", "syntax", NULL },
	{ "options { guard }", "}", "syntax", "`on`" },
};

static void check_error(size_t i, const struct parsed *parsed)
{
	const struct diagnostic *d = parsed->diagnostics.list.items;
	const char *text = error_rows[i].text, *at;
	size_t len = strlen(text);

	if (parsed->err != -EINVAL || parsed->diagnostics.errors != 1)
		fail_msg("`%s`: %d, %u errors", text, parsed->err, parsed->diagnostics.errors);
	at = d->position.offset < len ? text + d->position.offset : "\n";
	if (strncmp(at, error_rows[i].word, strlen(error_rows[i].word)) != 0)
		fail_msg("`%s`: points at `%s`", text, at);
	if (strcmp(d->code, error_rows[i].code) != 0)
		fail_msg("`%s`: %s (%s)", text, d->code, d->message);
	if (error_rows[i].hint ? !d->hint || !strstr(d->hint, error_rows[i].hint) : d->hint != NULL)
		fail_msg("`%s`: hint %s", text, d->hint ? d->hint : "missing");
}

static void test_errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(error_rows) / sizeof(*error_rows); i++) {
		struct parsed parsed;

		parse_string(&parsed, error_rows[i].text);
		check_error(i, &parsed);
		parsed_free(&parsed);
	}
}

/* The lines of all errors of a text, as "3 5 7". */
static void check_lines(const char *text, const char *expected)
{
	struct text lines = TEXT_INIT(0);
	struct parsed parsed;

	parse_string(&parsed, text);
	for (size_t i = 0; i < parsed.diagnostics.list.n; i++) {
		unsigned line, column;

		source_place(&parsed.sources.sources.items[0],
			     parsed.diagnostics.list.items[i].position.offset, &line, &column);
		text_printf(&lines, "%s%u", i ? " " : "", line);
	}
	if (strcmp(text_string(&lines), expected) != 0)
		fail_msg("%s\n--- errors on lines %s, expected %s", text, text_string(&lines),
			 expected);
	text_free(&lines);
	parsed_free(&parsed);
}

/* One run tells all errors, and no error is the echo of another. */
static void test_recovery(void **state)
{
	(void)state;
	check_lines("zonne a = b\nzone c = d\nsett e = f\n", "1 3");
	check_lines("zonne a = b; zone c = d; sett e = f\n", "1 1");
	check_lines("policy a -> b {\n alow ssh\n allow ssh\n drp ssh\n}\nzonne x = y\n", "2 4 6");
	check_lines("polcy a -> b {\n alow ssh\n}\nzonne x = y\n", "1 4");
	check_lines("policy a > b {\n alow ssh\n}\nzonne x = y\n", "1 2 4");
	check_lines("policy a > b { alow ssh }\nzonne x = y\n", "1 2");
	check_lines("policy { a, b -> c {\n alow ssh\n}\nzonne x = y\n", "1 2 4");
	check_lines("set a = {\n 1.1.1.1\n 2.2.2.2\n}\nzonne x = y\n", "3 5");
	check_lines("set a = {\n 1.1.1.1,\nzone b = c\nzonne x = y\n", "1 4");
	check_lines("policy a -> b {\n allow { 80, 443\n allow ssh\n drp ssh\n}\nzonne x = y\n",
		    "2 4 6");
	check_lines("policy a -> b {\n allow ssh\n\npolicy c -> d { alow ssh }\n", "1 4");
	check_lines("nat a -> b {\n masq\n masquerade\n forward\n}\noptions { x }\n", "2 4 6");
	check_lines("zone a = b }\nzonne x = y\n", "1 2");
	check_lines("policy { a,\nzone b =\nzonne x = y\n", "1 2 3");
	check_lines("policy a -> b { alow ssh } x\nzonne x = y\n", "1 1 2");
}

/* --- values ------------------------------------------------------------- */

static const struct tree_rule *only_rule(struct parsed *parsed, const char *rule)
{
	struct text file = TEXT_INIT(0);

	text_printf(&file, "policy a -> b { %s }", rule);
	parse_string(parsed, text_string(&file));
	if (parsed->err)
		fail_msg("`%s` is refused: %s", rule, parsed->diagnostics.list.items[0].message);
	text_free(&file);
	return &parsed->tree->statements[0]->policy.rules[0];
}

static void test_addresses(void **state)
{
	static const struct {
		const char *text;
		enum tree_address_kind kind;
		uint8_t family, prefix;
		uint32_t lo[4], hi[4];
		unsigned warnings;
	} rows[] = {
		{ "10.1.2.3", TREE_ADDRESS_PREFIX, 4, 32, { 0x0a010203 }, { 0x0a010203 }, 0 },
		{ "10.0.0.0/8", TREE_ADDRESS_PREFIX, 4, 8, { 0x0a000000 }, { 0x0affffff }, 0 },
		{ "10.1.2.3/8", TREE_ADDRESS_PREFIX, 4, 8, { 0x0a000000 }, { 0x0affffff }, 1 },
		{ "0.0.0.0/0", TREE_ADDRESS_PREFIX, 4, 0, { 0 }, { 0xffffffff }, 0 },
		{ "10.0.0.1-10.0.1.0", TREE_ADDRESS_RANGE, 4, 32, { 0x0a000001 }, { 0x0a000100 }, 0 },
		{ "2001:db8::/33",
		  TREE_ADDRESS_PREFIX,
		  6,
		  33,
		  { 0x20010db8 },
		  { 0x20010db8, 0x7fffffff, 0xffffffff, 0xffffffff },
		  0 },
		{ "2001:db8::1/64",
		  TREE_ADDRESS_PREFIX,
		  6,
		  64,
		  { 0x20010db8 },
		  { 0x20010db8, 0, 0xffffffff, 0xffffffff },
		  1 },
		{ "::/0",
		  TREE_ADDRESS_PREFIX,
		  6,
		  0,
		  { 0 },
		  { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
		  0 },
		{ "::5-::1:0", TREE_ADDRESS_RANGE, 6, 128, { 0, 0, 0, 5 }, { 0, 0, 0, 0x10000 }, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct text file = TEXT_INIT(0);
		const struct tree_address *address;
		struct parsed parsed;

		text_printf(&file, "set a = %s", rows[i].text);
		parse_string(&parsed, text_string(&file));
		assert_int_equal(parsed.err, 0);
		address = &parsed.tree->statements[0]->set.list.items[0];
		assert_int_equal(address->kind, rows[i].kind);
		assert_int_equal(address->family, rows[i].family);
		assert_int_equal(address->prefix, rows[i].prefix);
		assert_memory_equal(address->lo, rows[i].lo, sizeof(address->lo));
		assert_memory_equal(address->hi, rows[i].hi, sizeof(address->hi));
		assert_int_equal(parsed.diagnostics.warnings, rows[i].warnings);
		assert_int_equal(address->position.offset, strlen("set a = "));
		assert_int_equal(address->position.length, strlen(rows[i].text));
		text_free(&file);
		parsed_free(&parsed);
	}
}

static void test_host_bits_hint(void **state)
{
	struct parsed parsed;

	(void)state;
	parse_string(&parsed, "set a = { 10.1.2.3/8, 2001:db8::1/32 }");
	assert_int_equal(parsed.err, 0);
	assert_int_equal(parsed.diagnostics.warnings, 2);
	assert_string_equal(parsed.diagnostics.list.items[0].hint, "did you mean `10.0.0.0/8`?");
	assert_string_equal(parsed.diagnostics.list.items[1].hint, "did you mean `2001:db8::/32`?");
	assert_string_equal(parsed.diagnostics.list.items[0].code, "host-bits");
	parsed_free(&parsed);
}

static void test_rule_values(void **state)
{
	const struct tree_rule *rule;
	const struct tree_condition *c;
	const struct tree_option *o;
	struct parsed parsed;

	(void)state;
	rule = only_rule(&parsed, "reject with host-unreachable { 80, http }/udp from !@x port 7 "
				  "flags syn/syn,ack length >= 100 dscp ef mark 0x1/0xf "
				  "mac 02:00:00:00:00:ff state untracked fragment ttl < 5 "
				  "limit 6 per 2m burst 9 each source log \"t\" sample 1/7 "
				  "mark set 3 timeout 1h max flows 4 each destination "
				  "add destination to @y");
	assert_int_equal(rule->action, TREE_REJECT);
	assert_int_equal(rule->reject, REJECT_HOST_UNREACHABLE);
	assert_int_equal(rule->match.service->kind, TREE_SERVICE_LIST);
	assert_int_equal(rule->match.service->protocol, 17);
	assert_int_equal(rule->match.service->items[0].lo, 80);
	assert_int_equal(rule->match.service->items[0].protocol, -1);
	assert_string_equal(rule->match.service->items[1].name.text, "http");
	assert_true(rule->match.from->negated);
	assert_string_equal(rule->match.from->items[0].set, "x");
	assert_int_equal(rule->match.from_ports->hi, 7);
	assert_null(rule->match.to);
	assert_int_equal(rule->match.condition_n, TREE_CONDITION_KINDS);
	c = rule->match.conditions;
	assert_int_equal(c[TREE_FLAGS].masked.value, 2);
	assert_int_equal(c[TREE_FLAGS].masked.mask, 18);
	assert_int_equal(c[TREE_LENGTH].span.lo, 100);
	assert_int_equal(c[TREE_LENGTH].span.hi, UINT32_MAX);
	assert_int_equal(c[TREE_DSCP].dscp.value, 46);
	assert_int_equal(c[TREE_MARK].masked.mask, 15);
	assert_int_equal(c[TREE_MAC].mac[5], 0xff);
	assert_int_equal(c[TREE_STATE].state, STATE_UNTRACKED);
	assert_int_equal(c[TREE_TTL].span.lo, 0);
	assert_int_equal(c[TREE_TTL].span.hi, 4);
	assert_int_equal(rule->option_n, 6);
	o = rule->options;
	assert_int_equal(o[0].rate.count, 6);
	assert_int_equal(o[0].rate.period, 120);
	assert_int_equal(o[0].rate.burst, 9);
	assert_int_equal(o[0].rate.each, TREE_EACH_SOURCE);
	assert_string_equal(o[1].log.text, "t");
	assert_int_equal(o[1].log.sample, 7);
	assert_int_equal(o[2].masked.mask, UINT32_MAX);
	assert_int_equal(o[3].seconds, 3600);
	assert_int_equal(o[4].max_flows.each, TREE_EACH_DESTINATION);
	assert_int_equal(o[5].add.what, TREE_EACH_DESTINATION);
	assert_string_equal(o[5].add.set.text, "y");
	parsed_free(&parsed);
}

static void test_services(void **state)
{
	const struct tree_service *s;
	struct parsed parsed;

	(void)state;
	s = only_rule(&parsed, "allow { 53, 20-21/tcp, icmp type 3 code 4, icmpv6 echo-request, "
			       "tcp syn, proto gre, proto 47, any, { 1, 2 }/sctp }")
		    ->match.service;
	assert_int_equal(s->n, 9);
	assert_int_equal(s->items[0].protocol, -1);
	assert_int_equal(s->items[1].protocol, 6);
	assert_int_equal(s->items[1].hi, 21);
	assert_int_equal(s->items[2].protocol, 1);
	assert_int_equal(s->items[2].icmp_type, 3);
	assert_int_equal(s->items[2].icmp_code, 4);
	assert_int_equal(s->items[3].protocol, 58);
	assert_int_equal(s->items[3].icmp_type, -1);
	assert_string_equal(s->items[3].name.text, "echo-request");
	assert_true(s->items[4].syn);
	assert_int_equal(s->items[5].protocol, -1);
	assert_string_equal(s->items[5].name.text, "gre");
	assert_int_equal(s->items[6].protocol, 47);
	assert_int_equal(s->items[7].kind, TREE_SERVICE_ANY);
	assert_int_equal(s->items[8].protocol, 132);
	assert_int_equal(s->items[8].items[1].lo, 2);
	parsed_free(&parsed);
}

static void test_targets(void **state)
{
	const struct tree_targets *to;
	struct parsed parsed;

	(void)state;
	parse_string(&parsed,
		     "nat a -> b { forward 1/tcp to { 10.0.0.1:80, [2001:db8::1]:80-90, ::1, "
		     "10.0.0.1-10.0.0.2:5, 10.0.0.0/24 } }");
	assert_int_equal(parsed.err, 0);
	to = &parsed.tree->statements[0]->nat.rules[0].to;
	assert_int_equal(to->n, 5);
	assert_int_equal(to->items[0].lo, 80);
	assert_int_equal(to->items[1].hi, 90);
	assert_int_equal(to->items[1].address.family, 6);
	assert_false(to->items[2].has_ports);
	assert_int_equal(to->items[3].address.kind, TREE_ADDRESS_RANGE);
	assert_int_equal(to->items[4].address.prefix, 24);
	parsed_free(&parsed);
}

/* --- questions and files of sets ---------------------------------------- */

static void test_question(void **state)
{
	const struct question *question = NULL;
	struct parsed parsed = { 0 };

	(void)state;
	assert_int_equal(question_parse("wan -> self 22/tcp from 203.0.113.9 port 4000",
					&parsed.sources, &parsed.arena, &parsed.diagnostics,
					&question),
			 0);
	assert_string_equal(question->from.text, "wan");
	assert_string_equal(question->to.text, "self");
	assert_int_equal(question->match.service->lo, 22);
	assert_int_equal(question->match.from_ports->lo, 4000);
	question = NULL;
	assert_int_equal(question_parse("wan -> self log", &parsed.sources, &parsed.arena,
					&parsed.diagnostics, &question),
			 -EINVAL);
	assert_null(question);
	assert_int_equal(question_parse("wan self", &parsed.sources, &parsed.arena,
					&parsed.diagnostics, &question),
			 -EINVAL);
	assert_int_equal(question_parse("", &parsed.sources, &parsed.arena, &parsed.diagnostics,
					&question),
			 -EINVAL);
	assert_int_equal(parsed.diagnostics.errors, 3);
	parsed_free(&parsed);
}

static void test_set_file(void **state)
{
	static const struct {
		const char *text;
		int err;
		uint32_t n;
		unsigned errors;
	} rows[] = {
		{ "", 0, 0, 0 },
		{ "# none\n\n", 0, 0, 0 },
		{ "10.0.0.0/8\n2001:db8::1 # x\r\n10.0.0.1-10.0.0.9,\n", 0, 3, 0 },
		{ "10.0.0.1\n10.0.0.2\n10.0.0.3\n10.0.0.4\n", -E2BIG, 0, 1 },
		{ "10.0.0.1 10.0.0.2\n@x\n!10.0.0.1\nexample.org\n10.0.0.7\n", -EINVAL, 0, 4 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct tree_address *items = NULL;
		struct parsed parsed = { 0 };
		uint32_t source, n = 0;

		source_set_add(&parsed.sources, "x.txt", rows[i].text, strlen(rows[i].text),
			       &source);
		assert_int_equal(set_file_parse(&parsed.sources, source, 3, &parsed.diagnostics,
						&items, &n),
				 rows[i].err);
		assert_int_equal(n, rows[i].n);
		assert_int_equal(parsed.diagnostics.errors, rows[i].errors);
		free(items);
		parsed_free(&parsed);
	}
}

/* --- hostile texts ------------------------------------------------------ */

/*
 * Parses `n` times `piece` between `head` and `tail`; returns the number of errors. Must not take
 * long, whatever it is.
 */
static unsigned parse_repeated(const char *head, const char *piece, size_t n, const char *tail)
{
	struct text text = TEXT_INIT(0);
	struct parsed parsed;
	struct timespec before, after;
	unsigned errors;

	text_puts(&text, head);
	for (size_t i = 0; i < n; i++)
		text_puts(&text, piece);
	text_puts(&text, tail);
	assert_int_equal(text_error(&text), 0);
	clock_gettime(CLOCK_MONOTONIC, &before);
	parse_bytes(&parsed, text.bytes, text.len);
	free(parsed_print(&parsed));
	clock_gettime(CLOCK_MONOTONIC, &after);
	if (after.tv_sec - before.tv_sec > 10)
		fail_msg("`%s%s%s` takes %ld s", head, piece, tail,
			 (long)(after.tv_sec - before.tv_sec));
	errors = parsed.diagnostics.errors;
	text_free(&text);
	parsed_free(&parsed);
	return errors;
}

static void test_long_texts(void **state)
{
	const size_t many = 1000000;

	(void)state;
	/* One line of ten megabytes. */
	assert_int_equal(parse_repeated("zone a = \"", "0123456789", many, "\"\n"), 1);
	assert_int_equal(parse_repeated("zone a", "0123456789", many, " = b\n"), 1);
	assert_int_equal(parse_repeated("# ", "0123456789", many, "\nzone a = b\n"), 0);
	assert_int_equal(parse_repeated("set a = { ", "10.0.0.0, ", many / 4, "}\n"), 0);
	assert_int_equal(parse_repeated("set a = { ", "x, ", many, "}\n"), 1);
	/* Deep nesting, and what is never closed. */
	assert_int_equal(parse_repeated("service a = ", "{ ", many, "80"), 1);
	assert_int_equal(parse_repeated("policy a -> b ", "{ ", many, "80"), 2);
	assert_int_equal(parse_repeated("policy a > b ", "{ ", many, "80"), 1);
	assert_int_equal(parse_repeated("", "}", many, ""), 1);
	assert_true(parse_repeated("", "\"\n", many, "") == many);
	assert_true(parse_repeated("policy a -> b {\n", "allow {\n", many / 4, "") >= 1);
	/* Runs that a careless lexer reads again and again. */
	assert_int_equal(parse_repeated("zone a", "-", many, "= b"), 1);
	assert_int_equal(parse_repeated("zone a", "\r", many, "= b"), 1);
	assert_int_equal(parse_repeated("zone a", " ;", many, "= b"), 2);
	assert_int_equal(parse_repeated("", "x ", many, ""), 1);
	assert_int_equal(parse_repeated("", "}\n", many, ""), many);
}

static void test_nul_bytes(void **state)
{
	static const char text[] = "zone a = b\n\0\0\0\nzone c\0 = d\nzone e = \"f\0\"\n# \0\n";
	struct parsed parsed;

	(void)state;
	parse_bytes(&parsed, text, sizeof(text) - 1);
	assert_int_equal(parsed.err, -EINVAL);
	assert_int_equal(parsed.diagnostics.errors, 4);
	for (size_t i = 0; i < parsed.diagnostics.list.n; i++)
		assert_string_equal(parsed.diagnostics.list.items[i].code, "encoding");
	parsed_free(&parsed);
}

/* Without memory there is no tree and no crash. */
static void test_small_arena(void **state)
{
	static const char text[] =
		"zone a = { b, \"c\" } # x\nset s = { 10.0.0.1, @t } # y\n"
		"service w = { 80, icmp }\ninclude \"x\"\n"
		"policy a -> b default drop {\n # c\n allow ssh from @s ttl 5 log \"x\"\n}\n"
		"nat a -> b { forward 80/tcp to 10.0.0.1:80 }\noptions { guard on }\n"
		"intercept a -> b 80 to 127.0.0.1:3129 on-missing pass\nassert a -> b is dropped\n# z\n";
	bool done = false;

	(void)state;
	for (size_t cap = 1; !done && cap < 1 << 20; cap += 16) {
		struct parsed parsed = { .arena = { .cap = cap } };
		uint32_t source;

		assert_int_equal(
			source_set_add(&parsed.sources, "test", text, strlen(text), &source), 0);
		parsed.err = tree_parse(&parsed.sources, source, &parsed.arena, &parsed.diagnostics,
					&parsed.tree);
		assert_true(parsed.err == 0 || parsed.err == -ENOMEM);
		assert_true((parsed.err == 0) == (parsed.tree != NULL));
		done = parsed.err == 0;
		parsed_free(&parsed);
	}
	assert_true(done);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),	    cmocka_unit_test(test_recovery),
		cmocka_unit_test(test_addresses),   cmocka_unit_test(test_host_bits_hint),
		cmocka_unit_test(test_rule_values), cmocka_unit_test(test_services),
		cmocka_unit_test(test_targets),	    cmocka_unit_test(test_question),
		cmocka_unit_test(test_set_file),    cmocka_unit_test(test_long_texts),
		cmocka_unit_test(test_nul_bytes),   cmocka_unit_test(test_small_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
