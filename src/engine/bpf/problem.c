// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/problem.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

int problem_set(struct problem *problem, int error, const char *what, ...)
{
	size_t len;
	va_list args;

	va_start(args, what);
	vsnprintf(problem->what, sizeof(problem->what), what, args);
	va_end(args);
	problem->hint[0] = '\0';
	problem->detail[0] = '\0';
	len = strlen(problem->what);
	if (len >= 2 && !strcmp(problem->what + len - 2, ": "))
		snprintf(problem->what + len, sizeof(problem->what) - len, "%s", strerror(-error));
	return error;
}

void problem_hint(struct problem *problem, const char *hint, ...)
{
	va_list args;

	va_start(args, hint);
	vsnprintf(problem->hint, sizeof(problem->hint), hint, args);
	va_end(args);
}

static const struct {
	int number;
	const char *name;
} needed[] = {
	{ CAP_BPF, "CAP_BPF" },
	{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
	{ CAP_PERFMON, "CAP_PERFMON" },
	{ CAP_SYS_ADMIN, "CAP_SYS_ADMIN" },
};

/*
 * The effective set of this process, from procfs; all of them when it cannot be read, so that the
 * kernel decides.
 */
static uint64_t effective_capabilities(void)
{
	cleanup_file FILE *file = fopen("/proc/self/status", "re");
	uint64_t set = UINT64_MAX;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "CapEff: %" SCNx64, &set) == 1)
			break;
	return set;
}

int problem_capabilities(struct problem *problem)
{
	uint64_t have = effective_capabilities();
	char missing[128] = "";

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		size_t len = strlen(missing);

		if (!(have >> needed[i].number & 1))
			snprintf(missing + len, sizeof(missing) - len, "%s%s", len ? ", " : "",
				 needed[i].name);
	}
	if (!missing[0])
		return 0;
	problem_set(problem, -EPERM, "not permitted: this process lacks %s", missing);
	problem_hint(problem, "run it as root (sudo)");
	return -EPERM;
}
