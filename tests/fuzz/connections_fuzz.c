// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any bytes as what sock_diag and conntrack say of connections: a flow that is made of them is one
 * that tracking can live with.
 */
#include <linux/netfilter/nfnetlink.h>
#include <linux/sock_diag.h>

#include "core/flow.h"
#include "core/protocol.h"
#include "engine/bpf/seed_read.h"
#include "messages.h"

enum { KIND_TCP, KIND_UDP, KIND_CONNTRACK, KINDS };

static void check_address(const struct seed *seed, const uint32_t *address)
{
	if (seed->family == 4 && (address[1] || address[2] || address[3]))
		abort();
}

static void check(const struct seed *seed)
{
	if ((seed->family != 4 && seed->family != 6) || !seed->protocol || !seed->state ||
	    seed->state >= FLOW_STATES)
		abort();
	if ((seed->protocol == PROTOCOL_TCP) != (seed->state <= FLOW_CLOSE))
		abort();
	check_address(seed, seed->from);
	check_address(seed, seed->to);
	check_address(seed, seed->behind);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t listening[SEED_PORTS / 8] = { [22 / 8] = 1 << 22 % 8 };
	struct nlmsghdr *message;
	unsigned kind;

	while ((message = message_next(&data, &size, &kind))) {
		struct seed seeds[2];
		unsigned n;

		kind %= KINDS;
		message->nlmsg_type = kind == KIND_CONNTRACK ? NFNL_SUBSYS_CTNETLINK << 8 :
							       SOCK_DIAG_BY_FAMILY;
		seed_read_listening(message);
		n = kind == KIND_CONNTRACK ?
			    seed_read_conntrack(message, seeds) :
			    seed_read_socket(message, kind == KIND_TCP ? PROTOCOL_TCP : PROTOCOL_UDP,
					     listening, seeds);
		if (n > 2)
			abort();
		for (unsigned i = 0; i < n; i++)
			check(&seeds[i]);
		free(message);
	}
	return 0;
}
