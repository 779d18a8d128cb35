// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Rates: token buckets.
 *
 * A bucket is one word: when it will be full again. It is full when that is now or past; a token
 * moves it an interval further; without room for one more before it would have been empty for
 * longer than `burst` intervals, the packet is beyond. So buckets need no sweep and no timer, and a
 * forgotten one is a full one. A packet that stands for several takes as many, but at most all.
 *
 * The including host header defines, with a zeroed value where the key is new (NULL without room):
 *	__u64 host_now_exact(host_t *)	 host_now() may stand still for milliseconds
 *	__u64 *host_bucket(host_t *, const struct limit_key *)		for one address
 *	__u64 *host_bucket_of_all(host_t *, const struct limit_key *)	for all together
 *	int host_swap(__u64 *word, __u64 old, __u64 new)	 atomically, if it is still `old`: 1
 *	struct admission *host_admission(host_t *)	room for what it works with; need not be zero
 */
#ifndef REEVE_CORE_RATE_H
#define REEVE_CORE_RATE_H

#include "core/bucket.h"
#include "core/classify.h"

static __always_inline const struct image_limit *limit_at(host_t *host, __u32 number)
{
	if (!number || number > host->header->limit_n)
		return 0;
	return host_unit(&host->image, host->header->limits + number - 1);
}

/* 1 within, 0 beyond. */
static __always_inline int limit_take(host_t *host, const struct image_limit *limit, int otherwise,
				      struct admission *a)
{
	__u64 *bucket, interval = limit_interval(limit);
	__u32 i;

	a->now = host_now_exact(host);
	limit_key_make(limit, &host->packet->fields, &a->key);
	bucket = limit->each ? host_bucket(host, &a->key) : host_bucket_of_all(host, &a->key);
	if (!bucket)
		return otherwise;
#pragma clang loop unroll(full)
	for (i = 0; i < SWAP_TRIES; i++) {
		__u64 old = *(volatile __u64 *)bucket;
		__u64 after = bucket_after(old, interval, limit->burst, host->packet->segments,
					   a->now);

		if (!after)
			return 0;
		if (host_swap(bucket, old, after))
			return 1;
	}
	return otherwise; /* so many CPUs at once */
}

#endif
