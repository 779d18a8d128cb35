// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What masquerading needs of the kernel.
 */
#ifndef REEVE_ENGINE_BPF_MASQUERADE_H
#define REEVE_ENGINE_BPF_MASQUERADE_H

#include "engine/bpf/problem.h"
#include "policy/rule.h"

/*
 * Can this kernel carry out the policy's masquerading? Programs ask it for the address by which a
 * packet leaves (bpf_fib_lookup, BPF_FIB_LOOKUP_SRC, Linux 6.7); found out by trying. 0, or
 * -EOPNOTSUPP with the problem set. Where the question itself fails the answer is yes.
 */
int masquerade_check(const struct ruleset *ruleset, struct problem *problem);

#endif
