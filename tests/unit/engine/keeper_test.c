// SPDX-License-Identifier: GPL-2.0-or-later
/* What the keeper says; what it does needs a kernel and is tested in tests/e2e/daemon.py and repair.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/bpf/keeper.h"

static const struct {
	struct upkeep upkeep;
	const char *text;
} said[] = {
	{ { UPKEEP_COVERED, 7, "eth1", "lan", NULL, NULL }, "eth1: covered now, in zone `lan`" },
	{ { UPKEEP_REPAIRED, 7, "eth1", "lan", NULL, NULL },
	  "eth1: reeve's programs were not in place; they are attached again, in zone `lan`" },
	{ { UPKEEP_ZONE, 7, "eth1", "lan", "wan", NULL }, "eth1: in zone `lan` now, before in `wan`" },
	{ { UPKEEP_RELEASED, 7, "eth1", NULL, NULL, NULL }, "eth1: left alone now; programs taken off" },
	{ { UPKEEP_PORT, 7, "eth1", NULL, NULL, NULL }, "eth1: its master changed; the guard knows" },
	{ { UPKEEP_GONE, 7, "eth1", NULL, NULL, NULL }, "eth1: gone" },
	{ { UPKEEP_GONE, 7, NULL, NULL, NULL, NULL }, "interface 7: gone" },
	{ { UPKEEP_GUARD, 0, NULL, NULL, NULL, NULL }, "the guard was taken away; it is attached again" },
	{ { UPKEEP_PIN, 0, "flows", NULL, NULL, NULL }, "the pin `flows` was removed; it is there again" },
	{ { UPKEEP_ADDRESS, 7, "eth1", NULL, NULL, "192.0.2.1" },
	  "eth1: masquerade takes 192.0.2.1 now" },
	{ { UPKEEP_FLOWS, 0, NULL, NULL, NULL, "3" },
	  "masqueraded flows whose address has gone: 3 ended" },
};

static void test_texts(void **state)
{
	char text[256], little[8];

	(void)state;
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
		upkeep_text(&said[i].upkeep, text, sizeof(text));
		assert_string_equal(text, said[i].text);
		upkeep_text(&said[i].upkeep, little, sizeof(little));
		assert_int_equal(strlen(little), sizeof(little) - 1);
		assert_memory_equal(little, said[i].text, sizeof(little) - 1);
	}
}

/* Programs tell the kinds apart by name. */
static void test_names(void **state)
{
	(void)state;
	for (unsigned i = 0; i < UPKEEP_KINDS; i++) {
		assert_non_null(upkeep_name(i));
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(upkeep_name(i), upkeep_name(j));
	}
	assert_string_equal(upkeep_name(UPKEEP_KINDS), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
