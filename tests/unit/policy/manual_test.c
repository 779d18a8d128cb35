// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The examples of docs/LANGUAGE.md: each must parse without a warning and be in canonical form.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "parsed.h"

#define MANUAL "docs/LANGUAGE.md" /* suites run at the top of the tree */
#define BEGIN "```reeve\n"
#define END "```\n"

static void check_example(const char *text, size_t len)
{
	struct parsed parsed;
	char *printed;

	parse_bytes(&parsed, text, len);
	printed = parsed_print(&parsed);
	if (parsed.err || parsed.diagnostics.warnings || strlen(printed) != len ||
	    memcmp(printed, text, len) != 0)
		fail_msg("%.*s\n--- became\n%s", (int)len, text, printed);
	free(printed);
	parsed_free(&parsed);
}

static void test_examples(void **state)
{
	struct source_set sources = { 0 };
	const char *at;
	uint32_t index;
	unsigned n = 0;

	(void)state;
	if (source_set_read(&sources, MANUAL, POSITION_NONE, &index))
		fail_msg("there is no " MANUAL " here");
	for (at = sources.sources.items[index].text; (at = strstr(at, BEGIN)); n++) {
		const char *start = at + strlen(BEGIN), *end = strstr(start, END);

		assert_non_null(end);
		check_example(start, (size_t)(end - start));
		at = end;
	}
	assert_true(n >= 10);
	source_set_free(&sources);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
