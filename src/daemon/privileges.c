// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>

static const unsigned int kept[] = {
	CAP_BPF,	/* maps, links */
	CAP_NET_ADMIN,	/* attaching to interfaces and Netfilter */
	CAP_PERFMON,	/* programs that read kernel structures */
	CAP_SYS_ADMIN,	/* maps by their id (the pages of an image), on every kernel so far */
	CAP_SYS_PTRACE, /* /proc/1/root, the way to the pins from another mount namespace */
};

int privileges_drop(void)
{
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
				 kept[i]))
			return -EINVAL;
	if (capng_apply(CAPNG_SELECT_BOTH))
		return errno ? -errno : -EPERM;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}
