// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/refusal.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/bpf/problem.h"

#define LOG_LINES 8
#define LOG_LINE_MAX 160 /* states of registers are longer, and their ends say little */

static const char needs[] = "reeve needs Linux 6.1 or newer with CONFIG_BPF_SYSCALL, "
			    "CONFIG_BPF_JIT, CONFIG_NET_CLS_BPF and CONFIG_DEBUG_INFO_BTF";

/* --- what libbpf says --- */

/* Copies what stands between `before` and `after` in a message; false when it is not there. */
static bool between(const char *message, const char *before, const char *after, char *out,
		    size_t size)
{
	const char *from = strstr(message, before), *to;

	if (!from)
		return false;
	from += strlen(before);
	to = strstr(from, after);
	if (!to)
		return false;
	snprintf(out, size, "%.*s", (int)(to - from), from);
	return true;
}

/* Does the line say anything? The verifier repeats the source line; libbpf marks where it ends. */
static bool line_counts(const char *line, size_t len)
{
	return len > 0 && strncmp(line, "-- ", 3) && strncmp(line, "arg#", 4);
}

/* The last lines that say something, each cut to LOG_LINE_MAX, in their order. */
static void keep_log(const char *log, size_t len, char *out, size_t size)
{
	size_t from[LOG_LINES], length[LOG_LINES], n = 0, used = 0;

	while (len > 0 && n < LOG_LINES) {
		size_t end = len;

		while (len > 0 && log[len - 1] != '\n')
			len--;
		if (line_counts(log + len, end - len)) {
			from[n] = len;
			length[n++] = end - len > LOG_LINE_MAX ? LOG_LINE_MAX : end - len;
		}
		len -= len > 0;
	}
	/* Where not all fit it is the first lines that are left out. */
	for (size_t i = 0, sum = 0; i < n; i++) {
		sum += length[i] + 1;
		if (sum > size)
			n = i;
	}
	out[0] = '\0';
	while (n-- > 0)
		used += (size_t)snprintf(out + used, size - used, "%.*s%s", (int)length[n],
					 log + from[n], n > 0 ? "\n" : "");
}

static void read_log(struct refusal *refusal, const char *message)
{
	const char *log = strstr(message, "BEGIN PROG LOAD LOG --\n");
	const char *end;

	if (!log || refusal->log[0])
		return;
	log = strchr(log, '\n') + 1;
	end = strstr(log, "-- END PROG LOAD LOG");
	keep_log(log, end ? (size_t)(end - log) : strlen(log), refusal->log, sizeof(refusal->log));
	if (between(log, "unknown func ", "\n", refusal->lacks, sizeof(refusal->lacks)) ||
	    between(log, "program of this type cannot use helper ", "\n", refusal->lacks,
		    sizeof(refusal->lacks)))
		refusal->lacks[strcspn(refusal->lacks, "# ")] = '\0';
}

void refusal_read(struct refusal *refusal, const char *message)
{
	if (strstr(message, "Couldn't load trivial BPF program"))
		refusal->nothing = true;
	if (!refusal->lacks[0])
		between(message, "extern (func ksym) '", "': not found", refusal->lacks,
			sizeof(refusal->lacks));
	if (!refusal->object[0]) {
		refusal->map = between(message, "map '", "': failed to create", refusal->object,
				       sizeof(refusal->object));
		if (!refusal->map)
			between(message, "prog '", "': BPF program load failed", refusal->object,
				sizeof(refusal->object));
	}
	read_log(refusal, message);
}

static __thread struct refusal *listening;

__attribute__((format(printf, 2, 0))) static int listen_print(enum libbpf_print_level level,
							       const char *format, va_list args)
{
	cleanup_free char *message = NULL;

	(void)level;
	if (listening && vasprintf(&message, format, args) >= 0)
		refusal_read(listening, message);
	return 0;
}

void refusal_listen(struct refusal *refusal)
{
	static __thread libbpf_print_fn_t before;

	if (refusal && !listening)
		before = libbpf_set_print(listen_print);
	else if (!refusal && listening)
		libbpf_set_print(before);
	listening = refusal;
}

/* --- what a person is told --- */

static int not_permitted(int err, struct problem *problem)
{
	problem_set(problem, err, "the kernel does not let this process load BPF programs: ");
	problem_hint(problem, "its capabilities suffice, so something else forbids it: the seccomp "
			      "filter of a container, a security module, kernel lockdown; before "
			      "Linux 5.11 also `ulimit -l`");
	return err;
}

static int verifier_refused(const struct refusal *refusal, int err, const char *release,
			    struct problem *problem)
{
	problem_set(problem, err, "the verifier of Linux %s refuses the program `%s`: ", release,
		    refusal->object);
	problem_hint(problem, "that is a fault of reeve's, or of this kernel's: please report it "
			      "with these lines");
	snprintf(problem->detail, sizeof(problem->detail), "%s", refusal->log);
	return err;
}

int refusal_explain(const struct refusal *refusal, int err, const char *release,
		    struct problem *problem)
{
	if (refusal->lacks[0]) {
		problem_set(problem, err, "Linux %s lacks `%s`, which reeve's programs call: ",
			    release, refusal->lacks);
		problem_hint(problem, "%s", needs);
	} else if (refusal->log[0]) {
		verifier_refused(refusal, err, release, problem);
	} else if (err == -EPERM || err == -EACCES) {
		not_permitted(err, problem);
	} else if (refusal->nothing) {
		problem_set(problem, err, "Linux %s loads no BPF programs at all: ", release);
		problem_hint(problem, "%s", needs);
	} else if (refusal->object[0]) {
		problem_set(problem, err, "Linux %s does not know this kind of %s (`%s`): ", release,
			    refusal->map ? "map" : "program", refusal->object);
		problem_hint(problem, "%s", needs);
	} else {
		problem_set(problem, err, "Linux %s does not load reeve's programs: ", release);
		problem_hint(problem, "%s", needs);
	}
	return err;
}
