// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/masquerade.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/bpf/flow_table.h"
#include "engine/bpf/problem.h"
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
bool route_source_possible(void)
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

/* --- telling programs --- */

static int link_compare(const void *a, const void *b)
{
	const struct link *left = a, *right = b;

	return (left->ifindex > right->ifindex) - (left->ifindex < right->ifindex);
}

static bool link_there(const struct link_vector *links, uint32_t ifindex)
{
	struct link one = { .ifindex = ifindex };

	return links->n && bsearch(&one, links->items, links->n, sizeof(one), link_compare);
}

/* Does IP leave by it? */
static bool leads_out(const struct link *link)
{
	return !link->loopback && !link->port;
}

static int look_at_link(int map, const struct link *link, uint32_t family,
			const struct own_address_vector *addresses,
			struct leaving_change_vector *changes)
{
	struct leaving_change one = { .key = { link->ifindex, family } };
	struct leaving_address told;
	bool was_known = !bpf_map_lookup_elem(map, &one.key, &told);

	one.known = leads_out(link) &&
		    own_addresses_leaving(addresses, link->ifindex, family, one.address.words);
	if (one.known == was_known &&
	    (!was_known || !memcmp(&told, &one.address, sizeof(told))))
		return 0;
	return leaving_change_vector_push(changes, one);
}

static bool told_by_us(const struct loaded *loaded)
{
	return loaded->control->translates && (loaded->control->means & MEANS_OWN_ADDRESSES);
}

int masquerade_look(const struct loaded *loaded, const struct link_vector *links,
		    const struct own_address_vector *addresses,
		    struct leaving_change_vector *changes)
{
	struct leaving_change gone = { .known = false };
	struct leaving_key *previous = NULL;
	int map = loaded->maps[MAP_LEAVING_ADDRESSES], err = 0;

	if (!told_by_us(loaded))
		return 0;
	for (size_t i = 0; !err && i < links->n; i++) {
		err = look_at_link(map, &links->items[i], 4, addresses, changes);
		if (!err)
			err = look_at_link(map, &links->items[i], 6, addresses, changes);
	}
	while (!err && !bpf_map_get_next_key(map, previous, &gone.key)) {
		if (!link_there(links, gone.key.ifindex))
			err = leaving_change_vector_push(changes, gone);
		previous = &gone.key;
	}
	return err;
}

int masquerade_tell(const struct loaded *loaded, const struct leaving_change_vector *changes,
		    struct problem *problem)
{
	int map = loaded->maps[MAP_LEAVING_ADDRESSES];

	for (size_t i = 0; i < changes->n; i++) {
		const struct leaving_change *one = &changes->items[i];

		if (one->known ? bpf_map_update_elem(map, &one->key, &one->address, BPF_ANY) :
				 bpf_map_delete_elem(map, &one->key) && errno != ENOENT)
			return problem_set(problem, -errno,
					   "cannot tell programs the addresses of interfaces: ");
	}
	return 0;
}

int masquerade_follow(const struct loaded *loaded, const struct link_vector *links,
		      struct problem *problem)
{
	struct leaving_change_vector changes = { 0 };
	struct own_address_vector addresses = { 0 };
	int err = 0;

	if (!told_by_us(loaded))
		return 0;
	err = own_addresses_list(&addresses, problem);
	if (!err) {
		err = masquerade_look(loaded, links, &addresses, &changes);
		if (err)
			problem_set(problem, err, "cannot see the addresses of interfaces: ");
	}
	if (!err)
		err = masquerade_tell(loaded, &changes, problem);
	leaving_change_vector_free(&changes);
	own_address_vector_free(&addresses);
	return err;
}

/* --- flows whose address has gone --- */

static int address_gone(void *context, const struct flow_key *key, const struct flow *flow,
			bool embryonic)
{
	const struct translation *to = &flow->translation;

	(void)embryonic;
	return (flow->flags & FLOW_TRANSLATED) && (to->flags & TRANSLATED_MASQUERADE) &&
	       !own_addresses_have(context, key->family, to->src);
}

int masquerade_end_flows(const struct loaded *loaded, const struct own_address_vector *addresses,
			 uint64_t *ended, struct problem *problem)
{
	struct own_address_vector borrowed = *addresses; /* for a context that is not const */
	int err = 0;

	if (loaded->control->translates)
		err = flow_tables_kill(loaded, address_gone, &borrowed, ended);
	return err ? problem_set(problem, err, "cannot end flows whose address has gone: ") : 0;
}
