// SPDX-License-Identifier: GPL-2.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/source.h"

static char folder[] = "/tmp/reeve-source-test.XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) && chdir(folder) == 0 && mkdir("sub", 0700) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink("a.reeve");
	unlink("sub/b.reeve");
	unlink("sub/c.txt");
	unlink("big");
	rmdir("sub");
	return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static void write_file(const char *name, const char *bytes, size_t len)
{
	cleanup_file FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
}

static void test_read(void **state)
{
	struct source_set set = { 0 };
	uint32_t a, b, c, again;

	(void)state;
	write_file("a.reeve", "a\0b\n", 4);
	write_file("sub/b.reeve", "", 0);
	write_file("sub/c.txt", "c", 1);
	assert_int_equal(source_set_read(&set, "a.reeve", POSITION_NONE, &a), 0);
	assert_int_equal(set.sources.items[a].len, 4);
	assert_memory_equal(set.sources.items[a].text, "a\0b\n", 5);
	/* Relative to the folder of the one that names it. */
	assert_int_equal(source_set_read(&set, "sub/b.reeve", a, &b), 0);
	assert_int_equal(set.sources.items[b].len, 0);
	assert_int_equal(source_set_read(&set, "c.txt", b, &c), 0);
	assert_string_equal(set.sources.items[c].name, "sub/c.txt");
	assert_int_equal(source_set_read(&set, "c.txt", b, &again), 0);
	assert_int_equal(again, c);
	assert_int_equal(set.sources.n, 3);
	source_set_free(&set);
}

static void test_read_errors(void **state)
{
	struct source_set set = { 0 };
	uint32_t index = 77;

	(void)state;
	assert_int_equal(source_set_read(&set, "none", POSITION_NONE, &index), -ENOENT);
	assert_int_equal(source_set_read(&set, "sub", POSITION_NONE, &index), -EISDIR);
	write_file("big", "x", 1);
	assert_int_equal(source_set_read(&set, "big/x", POSITION_NONE, &index), -ENOENT);
	assert_int_equal(truncate("big", (off_t)SOURCE_SIZE_MAX + 1), 0);
	assert_int_equal(source_set_read(&set, "big", POSITION_NONE, &index), -EFBIG);
	assert_int_equal(index, 77);
	assert_int_equal(set.sources.n, 0);
	set.sealed = true;
	assert_int_equal(source_set_read(&set, "a.reeve", POSITION_NONE, &index), -ENOENT);
	source_set_free(&set);
}

static void test_place(void **state)
{
	static const struct {
		uint32_t offset;
		unsigned line, column;
	} rows[] = { { 0, 1, 1 }, { 1, 1, 2 }, { 2, 2, 1 }, { 3, 3, 1 }, { 5, 3, 3 }, { 99, 3, 3 } };
	struct source source = { .text = (char[]){ "a\n\nbc" }, .len = 5 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		unsigned line, column;

		source_place(&source, rows[i].offset, &line, &column);
		assert_int_equal(line, rows[i].line);
		assert_int_equal(column, rows[i].column);
	}
}

static void pack(unsigned char **bytes, size_t *len)
{
	struct source_set set = { 0 };
	uint32_t index;

	assert_int_equal(source_set_add(&set, "one", "a\0b", 3, &index), 0);
	assert_int_equal(source_set_add(&set, "two", "", 0, &index), 0);
	assert_int_equal(source_set_pack(&set, bytes, len), 0);
	source_set_free(&set);
}

static void test_bundle(void **state)
{
	cleanup_free unsigned char *bytes = NULL;
	struct source_set set = { 0 };
	uint32_t index;
	size_t len;

	(void)state;
	pack(&bytes, &len);
	assert_int_equal(source_set_unpack(bytes, len, &set), 0);
	assert_true(set.sealed);
	assert_int_equal(set.sources.n, 2);
	assert_string_equal(set.sources.items[1].name, "two");
	assert_memory_equal(set.sources.items[0].text, "a\0b", 4);
	assert_int_equal(source_set_read(&set, "two", 0, &index), 0);
	assert_int_equal(index, 1);
	source_set_free(&set);
}

/* Cut anywhere, with any byte changed, with more behind it: refused, or a set that can be used. */
static void test_bad_bundles(void **state)
{
	cleanup_free unsigned char *bytes = NULL;
	struct source_set set = { 0 };
	size_t len;

	(void)state;
	pack(&bytes, &len);
	for (size_t cut = 0; cut < len; cut++) {
		cleanup_free unsigned char *part = malloc(cut + 1);

		memcpy(part, bytes, cut);
		assert_int_equal(source_set_unpack(part, cut, &set), -EBADMSG);
		assert_int_equal(set.sources.n, 0);
	}
	for (size_t at = 0; at < len; at++) {
		static const unsigned char values[] = { 0, 1, 0x7f, 0xff };

		for (size_t v = 0; v < 4; v++) {
			unsigned char was = bytes[at];
			int err;

			bytes[at] = values[v];
			err = source_set_unpack(bytes, len, &set);
			assert_true(err == 0 || err == -EBADMSG);
			if (!err)
				source_set_free(&set);
			bytes[at] = was;
		}
	}
	bytes = realloc(bytes, len + 1);
	bytes[len] = 0;
	assert_int_equal(source_set_unpack(bytes, len + 1, &set), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),	    cmocka_unit_test(test_read_errors),
		cmocka_unit_test(test_place),	    cmocka_unit_test(test_bundle),
		cmocka_unit_test(test_bad_bundles),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
