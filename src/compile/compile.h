// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The compiler: rules in, image out. The same ruleset and interfaces give the same bytes.
 */
#ifndef REEVE_COMPILE_COMPILE_H
#define REEVE_COMPILE_COMPILE_H

#include "core/image.h"
#include "policy/rule.h"

struct compile_interface {
	uint32_t ifindex;
	uint32_t zone;
};

struct compile_stats {
	uint32_t switches, tests;
	uint32_t set_nodes, set_trees; /* REF_SET; the trees they walk */
	uint32_t set_switches;	       /* in set trees; not counted in switches */
	uint32_t limited; /* REF_LIMIT */
	uint32_t dynamic; /* REF_MEMBER_OF */
	uint32_t walk_max;
	uint32_t chain_max; /* longest list of clauses left to be tested one after the other */
	size_t bytes;
};

struct image {
	unsigned char *bytes; /* malloc'ed, aligned to 16 */
	size_t size;	      /* a multiple of IMAGE_UNIT */
	struct compile_stats stats;
};

/*
 * `interfaces` may be in any order; those of ZONE_OTHER need not be listed. -ENOMEM; -E2BIG or
 * -EMLINK or -EXFULL when a limit of the image is passed; -EINVAL when the rules leave a packet undecided or an interface
 * names a zone that does not exist. *why is then a static text for the person.
 */
int image_compile(const struct ruleset *ruleset, const struct compile_interface *interfaces,
		  uint32_t interface_n, struct image *image, const char **why);
/*
 * The rules of a valid image of this ruleset, for other interfaces: the bytes that image_compile
 * would give, without compiling. `old` stays the caller's; its figures are handed on. -ENOMEM,
 * -E2BIG, -EINVAL for a zone that does not exist.
 */
int image_replace_interfaces(const struct ruleset *ruleset, const struct image *old,
			     const struct compile_interface *interfaces, uint32_t interface_n,
			     struct image *image);
/* The zone that a valid image gives an interface; ZONE_OTHER when it does not name it. */
uint32_t image_interface_zone(const struct image *image, uint32_t ifindex);
void image_free(struct image *image);

#endif
