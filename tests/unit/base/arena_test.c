// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/vector.h"

VECTOR(number_vector, int);

static void test_memory(void **state)
{
	static const size_t sizes[] = { 1, 15, 16, 17, 1000, 20000, 70000, 3, 1000000 };
	struct arena arena = { 0 };
	unsigned char *blocks[9];

	(void)state;
	for (size_t i = 0; i < 9; i++) {
		blocks[i] = arena_alloc(&arena, sizes[i]);
		assert_non_null(blocks[i]);
		assert_int_equal((uintptr_t)blocks[i] % 16, 0);
		for (size_t j = 0; j < sizes[i]; j++)
			assert_int_equal(blocks[i][j], 0);
		memset(blocks[i], (int)i + 1, sizes[i]);
	}
	/* None lies over another. */
	for (size_t i = 0; i < 9; i++) {
		assert_int_equal(blocks[i][0], i + 1);
		assert_int_equal(blocks[i][sizes[i] - 1], i + 1);
	}
	arena_free(&arena);
	assert_non_null(arena_alloc(&arena, 8));
	arena_free(&arena);
}

static void test_limits(void **state)
{
	struct arena arena = { .cap = 1000 };

	(void)state;
	assert_non_null(arena_alloc(&arena, 600));
	assert_null(arena_alloc(&arena, 600));
	assert_non_null(arena_alloc(&arena, 100));
	assert_null(arena_array(&arena, SIZE_MAX / 2, 16));
	assert_null(arena_alloc(&arena, SIZE_MAX));
	arena_free(&arena);
}

static void test_strings(void **state)
{
	struct arena arena = { 0 };
	char *copy = arena_copy(&arena, "abcdef", 3);

	(void)state;
	assert_string_equal(copy, "abc");
	assert_string_equal(arena_copy(&arena, "", 0), "");
	assert_string_equal(arena_printf(&arena, "%s-%d", copy, 7), "abc-7");
	arena_free(&arena);
}

static void test_vector(void **state)
{
	struct number_vector vector = { 0 };

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(number_vector_push(&vector, i), 0);
	assert_int_equal(vector.n, 1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(vector.items[i], i);
	assert_int_equal(number_vector_reserve(&vector, VECTOR_CAP), -E2BIG);
	assert_int_equal(vector.n, 1000);
	number_vector_free(&vector);
	assert_null(vector.items);
	assert_int_equal(vector.n, 0);
}

static void test_take(void **state)
{
	char *string = strdup("x");
	cleanup_free char *taken = take(string);

	(void)state;
	assert_null(string);
	assert_string_equal(taken, "x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),	cmocka_unit_test(test_limits),
		cmocka_unit_test(test_strings), cmocka_unit_test(test_vector),
		cmocka_unit_test(test_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
