// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any bytes as the words of a filter over flows, a line a word: it is refused with a reason, or it
 * says of each flow yes or no.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/filter.h"

#define WORDS 20

static struct zone zones[] = {
	{ .name = "self", .tag = 1 },
	{ .name = "other", .tag = 2 },
	{ .name = "wan", .tag = 1001 },
};

static const struct ruleset ruleset = { .zones = zones, .zone_n = 3 };

static const struct {
	struct flow_key key;
	struct flow flow;
} flows[] = {
	{ { { 0xc0000201 }, { 0xcb007109 }, 22, 50000, 6, 4, 0 },
	  { .flags = FLOW_ORIGIN_HIGH, .state = FLOW_ESTABLISHED, .from_tag = 1001, .to_tag = 1 } },
	{ { { 0x20010db8, 0, 0, 5 }, { 0x20010db8, 0, 0, 9 }, 53, 6010, 17, 6, 0 },
	  { .state = FLOW_UNREPLIED, .from_tag = 1, .to_tag = 2 } },
	{ { { 0xc0000201 }, { 0xcb007109 }, 77, 77, 1, 4, 0 },
	  { .state = FLOW_REPLY_SEEN, .from_tag = 1, .to_tag = 1001 } },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *bytes = malloc(size + 1), *rest = bytes;
	const char *words[WORDS];
	struct text why = TEXT_INIT(1 << 16);
	struct filter filter;
	int n = 0, err;

	if (!bytes)
		return 0;
	memcpy(bytes, data, size);
	bytes[size] = '\0';
	while (rest && n < WORDS)
		words[n++] = strsep(&rest, "\n");
	err = filter_parse(&ruleset, words, n, &filter, &why);
	if (err == -EINVAL && !*text_string(&why))
		abort();
	if (err && err != -EINVAL && err != -ENOMEM)
		abort();
	for (size_t i = 0; !err && i < sizeof(flows) / sizeof(flows[0]); i++)
		for (int embryonic = 0; embryonic < 2; embryonic++)
			filter_matches(&filter, &flows[i].key, &flows[i].flow, embryonic);
	text_free(&why);
	free(bytes);
	return 0;
}
