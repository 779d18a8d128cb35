// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What limits count with (core/limit.h): keys, buckets, places.
 */
#ifndef REEVE_CORE_BUCKET_H
#define REEVE_CORE_BUCKET_H

#include "core/field.h"
#include "core/flow.h"
#include "core/image.h"
#include "core/prefix.h"

/* How many there are of each; of rates for all together as many as an image can have. */
#define BUCKETS_MAX 65536u
#define TALLIES_MAX 16384u
#define PLACES_MAX 32768u
#define PLACES_LOOKED_AT 64
#define SWAP_TRIES 4

struct limit_key { /* no padding */
	__u32 id[2];
	__u32 address[4];
	__u32 family; /* 0 for all together */
	__u32 place;  /* its number; else 0 */
};

struct place {
	struct flow_key key;
	__u64 created; /* of the flow */
};

struct tally {
	__u64 n;    /* places given out */
	__u64 next; /* where the next search begins, modulo n */
};

/* What asking a limit works with. */
struct admission {
	struct limit_key key;
	struct place place;    /* of the flow that begins */
	struct limit_key last; /* of a place that moves */
	__u64 now;
	__u32 n, next; /* the search: over so many, here now */
	__u32 found;
	__u32 reserved;
};

static __always_inline void limit_key_make(const struct image_limit *limit,
					   const struct fields *fields, struct limit_key *key)
{
	__u32 at = limit->each == LIMIT_EACH_DESTINATION ? FIELD_DST : FIELD_SRC, i;
	__u32 family = fields->word[FIELD_FAMILY], prefix = family == 6 ? limit->prefix : 32;

	key->id[0] = limit->id[0];
	key->id[1] = limit->id[1];
	key->family = limit->each ? family : 0;
	key->place = 0;
	for (i = 0; i < 4; i++)
		key->address[i] = limit->each ? prefix_word(fields->word[at + i], prefix, i) : 0;
}

/*
 * Takes `n` tokens at once out of a bucket that is full again at `full_at`: when it will be now, or
 * 0 when there are not so many.
 */
static __always_inline __u64 bucket_after(__u64 full_at, __u64 interval, __u32 burst, __u32 n,
					  __u64 now)
{
	__u64 whole = interval * burst, missing = full_at > now ? full_at - now : 0;

	/* Its rule may have got a smaller burst since. */
	if (missing > whole)
		missing = whole;
	missing += interval * (n < burst ? n : burst);
	return missing > whole ? 0 : now + missing;
}

#endif
