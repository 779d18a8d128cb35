// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Filling a struct problem.
 */
#ifndef REEVE_ENGINE_BPF_PROBLEM_H
#define REEVE_ENGINE_BPF_PROBLEM_H

#include "engine/bpf/engine.h"

/*
 * Sets the text and returns `error` (negative errno), whose meaning is appended when `what` ends in
 * ": ". Hint and detail are
 * cleared.
 */
int problem_set(struct problem *problem, int error, const char *what, ...)
	__attribute__((format(printf, 3, 4)));
void problem_hint(struct problem *problem, const char *hint, ...)
	__attribute__((format(printf, 2, 3)));
/*
 * -EPERM with the names of the missing ones, when this process lacks a capability that reeve needs;
 * else 0.
 */
int problem_capabilities(struct problem *problem);

#endif
