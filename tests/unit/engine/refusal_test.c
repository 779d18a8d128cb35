// SPDX-License-Identifier: GPL-2.0-or-later
/* What is told when the kernel does not load something; the messages are libbpf's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/bpf/refusal.h"

#define NEEDS                                                                                      \
	"reeve needs Linux 6.1 or newer with CONFIG_BPF_SYSCALL, CONFIG_BPF_JIT, "                 \
	"CONFIG_NET_CLS_BPF and CONFIG_DEBUG_INFO_BTF"
#define REPORT                                                                                     \
	"that is a fault of reeve's, or of this kernel's: please report it with these lines"

static const struct {
	const char *name;
	const char *messages[4];
	int err;
	const char *what, *hint, *detail;
} cases[] = {
	{ "the verifier refuses",
	  { "libbpf: prog 'arrive': BPF program load failed: Invalid argument\n",
	    "libbpf: prog 'arrive': -- BEGIN PROG LOAD LOG --\n"
	    "0: (bf) r6 = r1\n\n; return flow->state;\n1: (79) r0 = *(u64 *)(r2 +0)\n"
	    "R2 !read_ok\nprocessed 2 insns (limit 1000000)\n-- END PROG LOAD LOG --\n",
	    "libbpf: prog 'arrive': failed to load: -22\n",
	    "libbpf: prog 'depart': BPF program load failed: Invalid argument\n" },
	  -EINVAL, "the verifier of Linux 6.1.0 refuses the program `arrive`: Invalid argument",
	  REPORT,
	  "0: (bf) r6 = r1\n; return flow->state;\n1: (79) r0 = *(u64 *)(r2 +0)\nR2 !read_ok\n"
	  "processed 2 insns (limit 1000000)" },
	{ "only the end of a long log",
	  { "libbpf: prog 'arrive': BPF program load failed: Permission denied\n",
	    "libbpf: prog 'arrive': -- BEGIN PROG LOAD LOG --\n"
	    "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n-- END PROG LOAD LOG --\n" },
	  -EACCES, "the verifier of Linux 6.1.0 refuses the program `arrive`: Permission denied",
	  REPORT, "3\n4\n5\n6\n7\n8\n9\n10" },
	{ "a helper that is not there",
	  { "libbpf: prog 'arrive': BPF program load failed: Invalid argument\n",
	    "libbpf: prog 'arrive': -- BEGIN PROG LOAD LOG --\n"
	    "0: (85) call bpf_loop#181\nunknown func bpf_loop#181\n-- END PROG LOAD LOG --\n" },
	  -EINVAL,
	  "Linux 6.1.0 lacks `bpf_loop`, which reeve's programs call: Invalid argument", NEEDS, "" },
	{ "a kernel function that is not there",
	  { "libbpf: extern (func ksym) 'bpf_dynptr_slice': not found in kernel or module BTFs\n" },
	  -ESRCH, "Linux 6.1.0 lacks `bpf_dynptr_slice`, which reeve's programs call: "
	  "No such process", NEEDS, "" },
	{ "a kind of program",
	  { "libbpf: prog 'guard_local_in': BPF program load failed: Invalid argument\n",
	    "libbpf: prog 'guard_local_in': failed to load: -22\n" },
	  -EINVAL,
	  "Linux 6.1.0 does not know this kind of program (`guard_local_in`): Invalid argument",
	  NEEDS, "" },
	{ "a kind of map",
	  { "libbpf: map 'events': failed to create: Invalid argument(-22)\n" },
	  -EINVAL, "Linux 6.1.0 does not know this kind of map (`events`): Invalid argument", NEEDS,
	  "" },
	{ "forbidden",
	  { "libbpf: Error in bpf_object__probe_loading():Operation not permitted(1). Couldn't load "
	    "trivial BPF program. Make sure your kernel supports BPF\n" },
	  -EPERM,
	  "the kernel does not let this process load BPF programs: Operation not permitted",
	  "its capabilities suffice, so something else forbids it: the seccomp filter of a "
	  "container, a security module, kernel lockdown; before Linux 5.11 also `ulimit -l`", "" },
	{ "no BPF at all",
	  { "libbpf: Error in bpf_object__probe_loading():Function not implemented(38). Couldn't "
	    "load trivial BPF program. Make sure your kernel supports BPF\n" },
	  -ENOSYS, "Linux 6.1.0 loads no BPF programs at all: Function not implemented", NEEDS, "" },
	{ "something else", { NULL }, -EBUSY,
	  "Linux 6.1.0 does not load reeve's programs: Device or resource busy", NEEDS, "" },
};

static void test_explain(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct refusal refusal = { 0 };
		struct problem problem;

		memset(&problem, 'x', sizeof(problem));
		print_message("%s\n", cases[i].name);
		for (size_t j = 0; j < 4 && cases[i].messages[j]; j++)
			refusal_read(&refusal, cases[i].messages[j]);
		assert_int_equal(refusal_explain(&refusal, cases[i].err, "6.1.0", &problem),
				 cases[i].err);
		assert_string_equal(problem.what, cases[i].what);
		assert_string_equal(problem.hint, cases[i].hint);
		assert_string_equal(problem.detail, cases[i].detail);
	}
}

/* Lines of registers can be very long, and there may be many: the last ones are kept. */
static void test_long_lines(void **state)
{
	struct refusal refusal = { 0 };
	char message[8000];
	size_t len;

	(void)state;
	len = (size_t)snprintf(message, sizeof(message), "-- BEGIN PROG LOAD LOG --\n");
	for (int i = 0; i < 8; i++)
		len += (size_t)snprintf(message + len, sizeof(message) - len, "%d%0600d\n", i, 0);
	snprintf(message + len, sizeof(message) - len, "the last one\n-- END PROG LOAD LOG --\n");
	refusal_read(&refusal, message);
	assert_true(strlen(refusal.log) < sizeof(refusal.log));
	assert_int_equal(refusal.log[0], '3');
	assert_string_equal(strrchr(refusal.log, '\n'), "\nthe last one");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_explain),
		cmocka_unit_test(test_long_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
