// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The search through TCP options (core/cookie.h) in the kernel.
 */
#ifndef REEVE_ENGINE_BPF_OPTIONS_BPF_H
#define REEVE_ENGINE_BPF_OPTIONS_BPF_H

#include "core/cookie.h"

/* The search itself is in a map: what the verifier does not know, it need not follow. */
struct options_loop {
	struct options_search *search;
};

static long options_search_next(__u32 i, struct options_loop *loop)
{
	return options_step(loop->search);
}

static __always_inline void host_options_search(struct options_search *search)
{
	struct options_loop loop = { search };

	bpf_loop(TCP_OPTIONS_MAX, options_search_next, &loop, 0);
}

#endif
