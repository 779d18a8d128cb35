// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Dynamic sets: addresses and prefixes that come and go while a policy runs.
 *
 * A set is a hash table of prefixes, single addresses among them. Whether it holds an address is
 * asked for the address itself first, and then for each length of prefix that the set has, from the
 * longest down: mostly there are none, or few. An entry counts until it expires; what has expired
 * is taken away later, when there is need for its room.
 *
 * Entries do not know of each other: a prefix may be in a set beside addresses of it, and each goes
 * when its own time is over.
 *
 * An address that a rule adds is in the set from then on, for the set's timeout; what is in it
 * already stays for as long as the longer of the two times. A full set takes nothing in: that is
 * counted, and has no part in what becomes of the packet.
 */
#ifndef REEVE_CORE_SET_H
#define REEVE_CORE_SET_H

#include "core/image.h"
#include "core/prefix.h"

struct set_key {
	__u32 address[4]; /* as in FIELD_SRC, host bits zero */
	__u32 kind;	  /* SET_KIND */
};

#define SET_KIND(family, prefix) ((family) << 8 | (prefix))
#define SET_KEY_FAMILY(key) ((key)->kind >> 8)
#define SET_KEY_PREFIX(key) ((key)->kind & 0xff)

/* The lengths of prefixes that a set has, besides 32 and 128, which are always looked for. */
struct set_lengths {
	__u64 bits[3]; /* IPv4; IPv6 from 0 on; from 64 on */
};

#define SET_LENGTHS_WORD(family, prefix) ((family) == 4 ? 0 : 1 + (prefix) / 64)
#define SET_LENGTHS_BIT(prefix) (1ull << ((prefix) & 63))

/* A value is when the entry expires, or 0: never. */
#define SET_NEVER 0

static __always_inline int set_expired(__u64 expires, __u64 now)
{
	return expires && expires <= now;
}

/* What a rule makes of the time of an entry that is there. */
static __always_inline __u64 set_longer(__u64 expires, __u64 wanted)
{
	if (!expires || !wanted)
		return SET_NEVER;
	return wanted > expires ? wanted : expires;
}

static __always_inline void set_key_make(struct set_key *key, const __u32 *address, __u32 family,
					 __u32 prefix)
{
	__u32 i;

	key->kind = SET_KIND(family, prefix);
	for (i = 0; i < 4; i++)
		key->address[i] = prefix_word(address[i], prefix, i);
}

/* The key of a single address. */
static __always_inline void set_key_whole(struct set_key *key, const __u32 *address, __u32 family)
{
	__u32 i;

	key->kind = SET_KIND(family, family == 4 ? 32 : 128);
	for (i = 0; i < 4; i++)
		key->address[i] = address[i];
}

/* The number of the highest bit that is set; there is one. Without branches, for the verifier. */
static __always_inline __u32 set_top_bit(__u64 bits)
{
	__u32 n = 0, step;

	for (step = 32; step; step /= 2) {
		__u64 above = bits >> step;
		__u32 move = (__u32)((above | -above) >> 63) * step;

		bits >>= move;
		n += move;
	}
	return n;
}

/*
 * The key of its address's prefix that is longest among *bits; the bit goes. These are those of a
 * word of struct set_lengths that begins at `first`: 0 or 64.
 */
static __always_inline void set_key_shorten(struct set_key *key, __u64 *bits, __u32 first)
{
	__u32 bit = set_top_bit(*bits) & 63;
	__u64 mask = ~(~0ull >> bit);

	*bits &= ~(1ull << bit);
	key->kind = (key->kind & 0xff00) | (first + bit);
	if (first) {
		key->address[2] &= (__u32)(mask >> 32);
		key->address[3] &= (__u32)mask;
		return;
	}
	key->address[0] &= (__u32)(mask >> 32);
	key->address[1] &= (__u32)mask;
	key->address[2] = key->address[3] = 0;
}

#endif
