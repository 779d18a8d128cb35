// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Why the kernel did not load a program or make a map. libbpf returns an errno, which is the same
 * for a verifier that refuses and for a kernel that lacks something; what it prints meanwhile tells.
 */
#ifndef REEVE_ENGINE_BPF_REFUSAL_H
#define REEVE_ENGINE_BPF_REFUSAL_H

#include <stdbool.h>

#include "engine/bpf/engine.h"

struct refusal {
	char object[64]; /* the program or the map; "" while none is known */
	char log[896];	 /* the end of what the verifier said, whole lines; "" without any */
	char lacks[128]; /* a function that this kernel does not have */
	bool map;	 /* it is a map */
	bool nothing;	 /* not even a program that does nothing is loaded */
};

/* Takes in one message of libbpf's. The first object that fails counts, the others follow from it. */
void refusal_read(struct refusal *refusal, const char *message);
/*
 * Tells of it: which object, what is the matter, what to do; and the verifier's last lines in
 * problem->detail. `err` is what loading returned, `release` the kernel's version. Returns err.
 */
int refusal_explain(const struct refusal *refusal, int err, const char *release,
		    struct problem *problem);

/* Reads what libbpf prints, instead of having it printed, until refusal_listen(NULL). */
void refusal_listen(struct refusal *refusal);

#endif
