// SPDX-License-Identifier: GPL-2.0-or-later
/* Places of rules: the line table says what source_place says, at every offset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/running.h"

static const char *const texts[] = {
	"", "\n", "one", "one\n", "one\ntwo", "\n\n\nfour\n", "a\r\nb\r\n", "no end\n\n",
};

#define TEXTS (sizeof(texts) / sizeof(texts[0]))

static void test_lines(void **state)
{
	struct source_set sources = { 0 };
	struct places places = { .sources = &sources };

	(void)state;
	for (size_t i = 0; i < TEXTS; i++) {
		char name[] = { (char)('a' + i), '\0' };
		uint32_t index;

		assert_int_equal(source_set_add(&sources, name, texts[i], strlen(texts[i]), &index), 0);
		assert_int_equal(index, i);
	}
	for (uint32_t i = 0; i < TEXTS; i++)
		for (uint32_t offset = 0; offset <= strlen(texts[i]); offset++) {
			unsigned line, wanted, column;
			const char *file;

			assert_true(place_find(&places, (struct position){ i, offset, 1 }, &file, &line));
			source_place(&sources.sources.items[i], offset, &wanted, &column);
			assert_int_equal(line, wanted);
			assert_string_equal(file, sources.sources.items[i].name);
		}
	places_free(&places);
	source_set_free(&sources);
}

static void test_nowhere(void **state)
{
	const struct rule rule = { .position = { POSITION_NONE, 0, 1 } };
	struct source_set sources = { 0 };
	struct places places = { .sources = &sources };
	struct text text = TEXT_INIT(1 << 10);
	const char *file;
	unsigned line;

	(void)state;
	assert_false(place_find(&places, rule.position, &file, &line));
	assert_false(place_find(&places, (struct position){ 0, 0, 1 }, &file, &line));
	rule_place_text(&places, &rule, &text);
	assert_string_equal(text_string(&text), "built in");
	text_free(&text);
	places_free(&places);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_nowhere),
	};

	return cmocka_run_group_tests_name("places", tests, NULL, NULL);
}
