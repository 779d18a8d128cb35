// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any bytes as a bundle of sources, as it lies in a map and in the file of a policy on trial: what
 * is accepted is packed into the same bytes again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source_set set = { 0 };
	unsigned char *bytes;
	size_t len;

	if (source_set_unpack(data, size, &set))
		return 0;
	for (size_t i = 0; i < set.sources.n; i++)
		if (set.sources.items[i].text[set.sources.items[i].len])
			abort();
	if (source_set_pack(&set, &bytes, &len))
		abort();
	if (len != size || memcmp(bytes, data, size) != 0)
		abort();
	free(bytes);
	source_set_free(&set);
	return 0;
}
