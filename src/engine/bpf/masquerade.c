// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/masquerade.h"

#include <errno.h>
#include <linux/bpf.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "engine/bpf/sys.h"

#define LOOPBACK 1
#define LOOKUP_BYTES 64 /* of struct bpf_fib_lookup */
#define FIB_OUTPUT 2
#define FIB_SKIP_NEIGHBOUR 8
#define FIB_SOURCE 16

#define ZERO(offset) \
	{ .code = BPF_ST | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_10, .off = -(offset) }

/* Asks for the route to 0.0.0.0 by the loopback device; the answer is the program's. */
static const struct bpf_insn question[] = {
	ZERO(64), ZERO(56), ZERO(48), ZERO(40), ZERO(32), ZERO(24), ZERO(16), ZERO(8),
	/* family = AF_INET, ifindex */
	{ .code = BPF_ST | BPF_MEM | BPF_B, .dst_reg = BPF_REG_10, .off = -LOOKUP_BYTES, .imm = 2 },
	{ .code = BPF_ST | BPF_MEM | BPF_W,
	  .dst_reg = BPF_REG_10,
	  .off = 8 - LOOKUP_BYTES,
	  .imm = LOOPBACK },
	{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_10 },
	{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_2, .imm = -LOOKUP_BYTES },
	{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = LOOKUP_BYTES },
	{ .code = BPF_ALU64 | BPF_MOV | BPF_K,
	  .dst_reg = BPF_REG_4,
	  .imm = FIB_OUTPUT | FIB_SKIP_NEIGHBOUR | FIB_SOURCE },
	{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_fib_lookup },
	{ .code = BPF_JMP | BPF_EXIT },
};

/* Flags that it does not know the kernel answers with -EINVAL. */
static bool source_told(void)
{
	unsigned char frame[64] = { [12] = 8 };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = 1);
	cleanup_fd int fd = -1;

	if (sys_left_out("route-source"))
		return false;
	fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "reeve_question", "GPL", question,
			   sizeof(question) / sizeof(*question), NULL);
	if (fd < 0 || bpf_prog_test_run_opts(fd, &run))
		return true;
	return (int)run.retval != -EINVAL;
}

int masquerade_check(const struct ruleset *ruleset, struct problem *problem)
{
	const struct nat_rule *rule = NULL;

	for (uint32_t i = 0; i < ruleset->nat_n && !rule; i++)
		if (ruleset->nat[i].kind == NAT_MASQUERADE)
			rule = &ruleset->nat[i];
	if (!rule || source_told())
		return 0;
	problem_set(problem, -EOPNOTSUPP,
		    "`masquerade` (%s): this kernel does not tell programs by which address a packet leaves",
		    rule->rule.pair);
	problem_hint(problem, "Linux 6.7 does; until then name the address: `source to ADDRESS`");
	return -EOPNOTSUPP;
}
