// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/limits.h"

#include <bpf/bpf.h>
#include <string.h>

#include "core/bucket.h"

static bool known(const struct image *image, const struct limit_key *key)
{
	const struct image_header *header = (const void *)image->bytes;
	const struct image_limit *limits =
		(const void *)(image->bytes + (size_t)header->limits * IMAGE_UNIT);

	for (uint32_t i = 0; i < header->limit_n; i++)
		if (!memcmp(limits[i].id, key->id, sizeof(key->id)))
			return true;
	return false;
}

void limits_forget(const struct loaded *loaded, const struct image *image)
{
	int fd = loaded->maps[MAP_BUCKETS_OF_ALL];
	struct limit_key key, next;
	int more = bpf_map_get_next_key(fd, NULL, &key);

	/* A key that is gone would begin the walk again: the next one is asked for before. */
	for (uint32_t i = 0; !more && i < IMAGE_LIMITS_MAX; i++) {
		more = bpf_map_get_next_key(fd, &key, &next);
		if (!known(image, &key))
			bpf_map_delete_elem(fd, &key);
		key = next;
	}
}
