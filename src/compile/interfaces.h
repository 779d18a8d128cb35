// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The image's table of interfaces.
 */
#ifndef REEVE_COMPILE_INTERFACES_H
#define REEVE_COMPILE_INTERFACES_H

#include "compile/compile.h"

/* Interfaces by bucket. */
struct interfaces {
	struct image_bucket *buckets;
	uint32_t n;
};

/*
 * In any order in, filled buckets out: malloc'ed, a power of two of them. -ENOMEM; -E2BIG; -EINVAL
 * for a zone that does not exist.
 */
int interfaces_make(const struct ruleset *ruleset, const struct compile_interface *interfaces,
		    uint32_t interface_n, struct interfaces *made);

#endif
