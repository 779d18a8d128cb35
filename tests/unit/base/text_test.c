// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

static void test_grows(void **state)
{
	struct text text = TEXT_INIT(0);

	(void)state;
	assert_string_equal(text_string(&text), "");
	for (int i = 0; i < 1000; i++)
		text_printf(&text, "%d,", i % 10);
	text_puts(&text, "end");
	text_putc(&text, '.');
	text_add(&text, "\0x", 2);
	assert_int_equal(text_error(&text), 0);
	assert_int_equal(text.len, 2006);
	assert_memory_equal(text.bytes + 1998, "9,end.\0x", 9);
	text_free(&text);
	assert_string_equal(text_string(&text), "");
}

/* The first error stays, and nothing is added behind it. */
static void test_cap(void **state)
{
	struct text text = TEXT_INIT(8);

	(void)state;
	text_puts(&text, "1234567");
	assert_int_equal(text_error(&text), 0);
	text_putc(&text, '8');
	assert_int_equal(text_error(&text), -E2BIG);
	assert_string_equal(text_string(&text), "1234567");
	text_puts(&text, "");
	assert_int_equal(text_error(&text), -E2BIG);
	assert_null(text_take(&text));
	assert_int_equal(text_error(&text), 0);
	text_printf(&text, "%s", "123456789");
	assert_int_equal(text_error(&text), -E2BIG);
	text_free(&text);
}

static void test_take(void **state)
{
	struct text text = TEXT_INIT(0);
	char *string;

	(void)state;
	string = text_take(&text);
	assert_string_equal(string, "");
	free(string);
	text_puts(&text, "abc");
	string = text_take(&text);
	assert_string_equal(string, "abc");
	assert_int_equal(text.len, 0);
	free(string);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_cap),
		cmocka_unit_test(test_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
