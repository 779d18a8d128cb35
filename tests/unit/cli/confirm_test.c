// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How long a trial may be.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/confirm.h"

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		uint32_t seconds; /* 0: refused */
	} cases[] = {
		{ "10s", 10 },	 { "60s", 60 },	  { "90", 90 },	   { "2m", 120 },  { "1h", 3600 },
		{ "60m", 3600 }, { "3600", 3600 }, { "9s", 0 },	   { "61m", 0 },   { "2h", 0 },
		{ "", 0 },	 { "s", 0 },	  { "-60s", 0 },   { "60 s", 0 },  { "60sec", 0 },
		{ "1d", 0 },	 { "1e3", 0 },	  { "999999h", 0 }, { "99999999999s", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t seconds = 7;

		assert_int_equal(confirm_duration(cases[i].text, &seconds),
				 cases[i].seconds ? 0 : -EINVAL);
		assert_int_equal(seconds, cases[i].seconds ? cases[i].seconds : 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("confirm", tests, NULL, NULL);
}
