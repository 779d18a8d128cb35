// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Entries of dynamic sets: what is read, as what it is kept, and what is refused where.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policy/set_entries.h"

static const struct {
	const char *text;
	const char *expected; /* the entries, or "CODE LINE:COLUMN" of each error */
} cases[] = {
	{ "", "" },
	{ "# nothing\n\n", "" },
	{ "192.0.2.1", "192.0.2.1 0; " },
	{ "192.0.2.1\n2001:db8::1\n", "192.0.2.1 0; 2001:db8::1 0; " },
	{ "10.0.0.0/8,\n10.1.0.0/16", "10.0.0.0/8 0; 10.1.0.0/16 0; " },
	{ "0.0.0.0/0\n::/0", "0.0.0.0/0 0; ::/0 0; " },
	{ "1.2.3.4 timeout 90s\n1.2.3.5 timeout 2h,\n1.2.3.6 forever # long\n",
	  "1.2.3.4 90; 1.2.3.5 7200; 1.2.3.6 4294967295; " },
	{ "10.0.0.1-10.0.0.6 timeout 1m",
	  "10.0.0.1 60; 10.0.0.2/31 60; 10.0.0.4/31 60; 10.0.0.6 60; " },
	{ "10.0.0.0-10.0.0.255", "10.0.0.0/24 0; " },
	{ "10.0.0.7-10.0.0.7", "10.0.0.7 0; " },
	{ "0.0.0.0-255.255.255.255", "0.0.0.0/0 0; " },
	{ "255.255.255.254-255.255.255.255", "255.255.255.254/31 0; " },
	{ "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0 0; " },
	{ "2001:db8::ffff-2001:db8::1:0", "2001:db8::ffff 0; 2001:db8::1:0 0; " },
	{ "2001:db8::-2001:db8:0:0:1::", "2001:db8::/80 0; 2001:db8:0:0:1:: 0; " },
	{ "192.0.2.1/24", "192.0.2.0/24 0; " }, /* with a warning */
	{ "nonsense", "bad-address 1:1; " },
	{ "1.2.3.4\nx\n1.2.3.5 timeout 5\n@s\n!1.2.3.4\n",
	  "bad-address 2:1; bad-duration 3:17; syntax 4:1; syntax 5:1; " },
	{ "1.2.3.4 1.2.3.5", "syntax 1:9; " },
	{ "1.2.3.4 timeout", "syntax 1:16; " },
	{ "1.2.3.4 timeout 0s", "bad-duration 1:17; " },
	{ "1.2.3.4 forever timeout 5s", "syntax 1:17; " },
	{ "10.0.0.9-10.0.0.1", "bad-range 1:1; " },
	{ "::ffff:192.0.2.1", "bad-address 1:1; " },
};

static int parse(const char *text, size_t max, struct set_entry_vector *entries, struct text *errors)
{
	struct diagnostics diagnostics = { 0 };
	struct source_set sources = { 0 };
	uint32_t source;
	int err;

	assert_int_equal(source_set_add(&sources, "entries", text, strlen(text), &source), 0);
	err = set_entries_parse(&sources, source, max, &diagnostics, entries);
	for (size_t i = 0; i < diagnostics.list.n; i++) {
		const struct diagnostic *one = &diagnostics.list.items[i];
		unsigned line, column;

		source_place(&sources.sources.items[0], one->position.offset, &line, &column);
		if (one->level == DIAGNOSTIC_ERROR)
			text_printf(errors, "%s %u:%u; ", one->code, line, column);
	}
	diagnostics_free(&diagnostics);
	source_set_free(&sources);
	return err;
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct set_entry_vector entries = { 0 };
		struct text got = TEXT_INIT(1 << 16);
		int err = parse(cases[i].text, 1000, &entries, &got);

		assert_int_equal(err, got.len ? -EINVAL : 0);
		for (size_t j = 0; j < entries.n; j++) {
			const struct set_entry *entry = &entries.items[j];

			set_entry_text(entry->family, entry->prefix, entry->address, &got);
			text_printf(&got, " %u; ", entry->timeout);
		}
		assert_string_equal(text_string(&got), cases[i].expected);
		text_free(&got);
		set_entry_vector_free(&entries);
	}
}

/* The worst range of each family, and the bound. */
static void test_ranges(void **state)
{
	struct set_entry_vector entries = { 0 };
	struct text errors = TEXT_INIT(1 << 12);

	(void)state;
	assert_int_equal(parse("0.0.0.1-255.255.255.254", 1000, &entries, &errors), 0);
	assert_int_equal(entries.n, 62);
	assert_int_equal(parse("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 1000, &entries,
			       &errors), 0);
	assert_int_equal(entries.n, 62 + 254); /* added to what was there */
	assert_int_equal(parse("1.1.1.1\n0.0.0.1-255.255.255.254", 62, &entries, &errors), -E2BIG);
	assert_int_equal(entries.n, 62 + 254);
	assert_string_equal(text_string(&errors), "too-many 2:1; ");
	text_free(&errors);
	set_entry_vector_free(&entries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_ranges),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("set_entries", tests, NULL, NULL);
}
