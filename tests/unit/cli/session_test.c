// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What ssh says of a session.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/session.h"

static void test_right(void **state)
{
	static const struct {
		const char *text;
		uint8_t family;
		uint32_t peer0, local3;
		uint16_t peer_port, local_port;
	} cases[] = {
		{ "192.0.2.1 50000 198.51.100.7 22", 4, 0xc0000201, 0, 50000, 22 },
		{ "  192.0.2.1   1 198.51.100.7\t65535", 4, 0xc0000201, 0, 1, 65535 },
		{ "2001:db8::1 50000 2001:db8::7 22", 6, 0x20010db8, 7, 50000, 22 },
		{ "::ffff:192.0.2.1 50000 ::ffff:198.51.100.7 22", 4, 0xc0000201, 0, 50000, 22 },
		{ "fe80::1%eth0 50000 fe80::7%eth0 22", 6, 0xfe800000, 7, 50000, 22 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct session session;

		assert_int_equal(session_parse(cases[i].text, &session), 0);
		assert_int_equal(session.family, cases[i].family);
		assert_int_equal(session.peer[0], cases[i].peer0);
		assert_int_equal(session.local[3], cases[i].local3);
		assert_int_equal(session.peer_port, cases[i].peer_port);
		assert_int_equal(session.local_port, cases[i].local_port);
	}
}

static void test_wrong(void **state)
{
	static const char *const cases[] = {
		"",
		"192.0.2.1",
		"192.0.2.1 50000 198.51.100.7",
		"192.0.2.1 50000 198.51.100.7 22 more",
		"192.0.2.1 0 198.51.100.7 22",
		"192.0.2.1 50000 198.51.100.7 65536",
		"192.0.2.1 -1 198.51.100.7 22",
		"192.0.2.1 50000 2001:db8::7 22",
		"192.0.2.256 50000 198.51.100.7 22",
		"a b c d",
		"2001:db8::1 50000 2001:db8:::7 22",
	};
	struct session session = { .family = 9 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(session_parse(cases[i], &session), -EINVAL);
	assert_int_equal(session.family, 9); /* untouched */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right),
		cmocka_unit_test(test_wrong),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
