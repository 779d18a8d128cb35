// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tables of names: services, protocols, DSCP classes, ICMP messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "policy/icmp.h"
#include "policy/protocols.h"
#include "policy/services.h"

static const char services_file[] = "# comment\n"
				    "\n"
				    "gopher\t70/tcp\t\t# old\n"
				    "multi 5/tcp first second\r\n"
				    "multi 5/udp\n"
				    "multi 6/sctp\n"
				    "multi 5/tcp\n"
				    "ssh 2222/tcp\n"
				    "noport\n"
				    "toohigh 65536/tcp\n"
				    "zero 0/tcp\n"
				    "strange 1/ddp\n"
				    "word x/tcp\n"
				    "last 9/udp"; /* no newline */

struct fixture {
	struct arena arena;
	struct source_set sources;
	struct services services;
};

static int setup(void **state)
{
	static struct fixture fixture;
	uint32_t index;

	fixture = (struct fixture){ 0 };
	fixture.services.arena = &fixture.arena;
	fixture.services.sources = &fixture.sources;
	assert_int_equal(source_set_add(&fixture.sources, SERVICES_FILE, services_file,
					sizeof(services_file) - 1, &index),
			 0);
	fixture.sources.sealed = true;
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	arena_free(&fixture->arena);
	source_set_free(&fixture->sources);
	return 0;
}

/* "tcp 80, udp 443" */
static void expect(struct fixture *fixture, const char *name, const char *expected)
{
	struct service_port ports[SERVICE_PORTS_MAX];
	struct text got = TEXT_INIT(1024);
	unsigned n = 0;
	int err = services_find(&fixture->services, name, ports, &n);

	if (err)
		text_printf(&got, "%d", err);
	for (unsigned i = 0; i < n; i++)
		text_printf(&got, "%s%s %u", i ? ", " : "", protocol_name(ports[i].protocol),
			    ports[i].port);
	assert_string_equal(text_string(&got), expected);
	text_free(&got);
}

static void test_services(void **state)
{
	expect(*state, "ssh", "tcp 22"); /* the table comes before the file */
	assert_false(((struct fixture *)*state)->services.read);
	expect(*state, "domain", "tcp 53, udp 53");
	expect(*state, "dns", "tcp 53, udp 53");
	expect(*state, "https", "tcp 443, udp 443");
	expect(*state, "ntp", "udp 123");
	expect(*state, "gopher", "tcp 70");
	expect(*state, "multi", "tcp 5, udp 5, sctp 6");
	expect(*state, "second", "tcp 5");
	expect(*state, "last", "udp 9");
	expect(*state, "noport", "-2");
	expect(*state, "toohigh", "-2");
	expect(*state, "zero", "-2");
	expect(*state, "strange", "-2");
	expect(*state, "word", "-2");
	expect(*state, "", "-2");
	expect(*state, "SSH", "-2");
}

static void test_no_services_file(void **state)
{
	struct fixture empty = { .sources.sealed = true };

	(void)state;
	empty.services.arena = &empty.arena;
	empty.services.sources = &empty.sources;
	expect(&empty, "http", "tcp 80");
	expect(&empty, "gopher", "-2");
	assert_string_equal(services_nearest(&empty.services, "htp", NULL, 0), "http");
	arena_free(&empty.arena);
}

static void test_nearest_service(void **state)
{
	struct fixture *fixture = *state;
	const char *const own[] = { "intranet" };

	assert_string_equal(services_nearest(&fixture->services, "htp", own, 1), "http");
	assert_string_equal(services_nearest(&fixture->services, "gofer", own, 1), "gopher");
	assert_string_equal(services_nearest(&fixture->services, "intrant", own, 1), "intranet");
	assert_null(services_nearest(&fixture->services, "quetzalcoatlus", own, 1));
}

static void test_service_names(void **state)
{
	(void)state;
	assert_string_equal(service_name(IPPROTO_TCP, 22), "ssh");
	assert_string_equal(service_name(IPPROTO_UDP, 53), "domain");
	assert_null(service_name(IPPROTO_UDP, 22));
	assert_true(service_is_known("imap"));
	assert_false(service_is_known("gopher"));
}

static void test_protocols(void **state)
{
	(void)state;
	assert_int_equal(protocol_find("tcp"), 6);
	assert_int_equal(protocol_find("GRE"), 47);
	assert_int_equal(protocol_find("ipv6-icmp"), 58);
	assert_int_equal(protocol_find("0"), 0);
	assert_int_equal(protocol_find("255"), 255);
	assert_int_equal(protocol_find("256"), -1);
	assert_int_equal(protocol_find("6x"), -1);
	assert_int_equal(protocol_find("99999999999999999999999"), -1);
	assert_int_equal(protocol_find(""), -1);
	assert_int_equal(protocol_find("-1"), -1);
	assert_string_equal(protocol_name(58), "icmpv6");
	assert_null(protocol_name(254));
	assert_string_equal(protocol_nearest("grr"), "gre");
	for (int i = 0; i < 256; i++) {
		const char *name = protocol_name((uint8_t)i);

		if (name)
			assert_int_equal(protocol_find(name), i);
	}
}

static void test_dscp(void **state)
{
	(void)state;
	assert_int_equal(dscp_find("ef"), 46);
	assert_int_equal(dscp_find("AF41"), 34);
	assert_int_equal(dscp_find("cs1"), 8);
	assert_int_equal(dscp_find("0x2e"), 46);
	assert_int_equal(dscp_find("63"), 63);
	assert_int_equal(dscp_find("64"), -1);
	assert_int_equal(dscp_find("af44"), -1);
	assert_string_equal(dscp_nearest("aff11"), "af11");
}

static void test_icmp(void **state)
{
	struct range message = { 7, 7 };

	(void)state;
	assert_int_equal(icmp_find(4, "echo-request", &message), 0);
	assert_int_equal(message.lo, 0x800);
	assert_int_equal(message.hi, 0x8ff);
	assert_int_equal(icmp_find(6, "echo-request", &message), 0);
	assert_int_equal(message.lo, 0x8000);
	assert_int_equal(icmp_find(4, "Fragmentation-Needed", &message), 0);
	assert_int_equal(message.lo, 0x304);
	assert_int_equal(message.hi, 0x304);
	assert_int_equal(icmp_find(4, "packet-too-big", &message), -ENOENT);
	assert_int_equal(message.lo, 0x304); /* untouched */
	assert_string_equal(icmp_name(4, 8, -1), "echo-request");
	assert_string_equal(icmp_name(4, 8, 0), "echo-request");
	assert_string_equal(icmp_name(4, 3, 4), "fragmentation-needed");
	assert_string_equal(icmp_name(4, 3, 99), "destination-unreachable");
	assert_string_equal(icmp_name(6, 135, -1), "neighbour-solicitation");
	assert_null(icmp_name(4, 200, -1));
	assert_string_equal(icmp_nearest(6, "neighbor-solicitatoin"), "neighbor-solicitation");
}

/* Every name of a message leads back to its type. */
static void test_icmp_names_return(void **state)
{
	(void)state;
	for (unsigned family = 4; family <= 6; family += 2) {
		for (int type = 0; type < 256; type++) {
			for (int code = -1; code < 16; code++) {
				const char *name = icmp_name(family, (uint8_t)type, code);
				struct range message;

				if (!name)
					continue;
				assert_int_equal(icmp_find(family, name, &message), 0);
				assert_int_equal(message.lo >> 8, type);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_services, setup, teardown),
		cmocka_unit_test(test_no_services_file),
		cmocka_unit_test_setup_teardown(test_nearest_service, setup, teardown),
		cmocka_unit_test(test_service_names),
		cmocka_unit_test(test_protocols),
		cmocka_unit_test(test_dscp),
		cmocka_unit_test(test_icmp),
		cmocka_unit_test(test_icmp_names_return),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
