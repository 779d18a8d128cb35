// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/guard_nft.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "core/mark.h"
#include "engine/bpf/problem.h"
#include "engine/bpf/sys.h"

#define TABLE "inet reeve-guard"
#define PRIORITY "-390" /* as the programs', in front of conntrack and NAT */

bool netfilter_links_possible(void)
{
	static int known; /* 1: yes, -1: no */
	static const struct bpf_insn accept[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options,
		    .expected_attach_type = (enum bpf_attach_type)SYS_ATTACH_NETFILTER);

	if (!known && sys_left_out("netfilter-links"))
		known = -1;
	if (!known) {
		cleanup_fd int fd = bpf_prog_load((enum bpf_prog_type)SYS_PROG_TYPE_NETFILTER,
						  "reeve_try", "GPL", accept, 2, &options);

		known = fd < 0 && errno == EINVAL ? -1 : 1;
	}
	return known > 0;
}

/* --- nftables --- */

/* Runs commands; what they print is for the caller to free, or NULL. */
static int run(const char *commands, bool json, char **printed, char *error, size_t size)
{
	struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
	int err = 0;

	if (!context)
		return -ENOMEM;
	if (json)
		nft_ctx_output_set_flags(context, NFT_CTX_OUTPUT_JSON);
	if (nft_ctx_buffer_output(context) || nft_ctx_buffer_error(context))
		err = -ENOMEM;
	if (!err && nft_run_cmd_from_buffer(context, commands)) {
		const char *said = nft_ctx_get_error_buffer(context);

		err = -EIO;
		if (error)
			snprintf(error, size, "%.*s", (int)strcspn(said, "\n"), said);
	}
	if (!err && printed) {
		*printed = strdup(nft_ctx_get_output_buffer(context));
		err = *printed ? 0 : -ENOMEM;
	}
	nft_ctx_free(context);
	return err;
}

static bool there(void)
{
	return !run("list table " TABLE, false, NULL, NULL, 0);
}

/* --- the rules --- */

static const struct {
	const char *counter;
	enum statistic stat;
} counters[] = {
	{ "local_in", STAT_GUARD_LOCAL },
	{ "forwarded", STAT_GUARD_FORWARD },
	{ "post_routing", STAT_GUARD_POST },
};

static const struct {
	const char *set;
	uint32_t bits; /* any of them */
} sets[] = {
	{ "covered", COVERED_PROGRAMS },
	{ "exempt", COVERED_EXEMPT },
};

static const struct {
	const char *chain, *hook;
	const char *rules; /* %1$u: the mask of the mark, %2$u and %3$u: what may go up */
	unsigned int rule_n;
} chains[] = {
	{ "local_in", "input",
	  "iif @exempt accept\n"
	  "iif @covered meta mark & %1$u == { %2$u, %3$u } accept\n"
	  "counter name local_in drop\n", 3 },
	{ "forward", "forward",
	  "iif @exempt accept\n"
	  "iif @covered accept\n"
	  "counter name forwarded drop\n", 3 },
	{ "post_routing", "postrouting",
	  "oif @exempt accept\n"
	  "oif @covered accept\n"
	  "counter name post_routing drop\n", 3 },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void put_element(struct text *text, const char *set, uint32_t ifindex)
{
	text_printf(text, "add element " TABLE " %s { %u }\n", set, ifindex);
}

static void put_interfaces(struct text *text, const struct loaded *loaded, const char *set,
			   uint32_t bits)
{
	uint32_t key, *previous = NULL;

	for (uint32_t i = 1; i < INTERFACES_NEAR; i++)
		if (loaded->control->covered[i].bits & bits)
			put_element(text, set, i);
	while (!bpf_map_get_next_key(loaded->maps[MAP_COVERED_FAR], previous, &key)) {
		struct coverage_entry entry = { 0 };

		if (!bpf_map_lookup_elem(loaded->maps[MAP_COVERED_FAR], &key, &entry) &&
		    (entry.bits & bits))
			put_element(text, set, key);
		previous = &key;
	}
}

static void put_table(struct text *text, const struct loaded *loaded, uint32_t mark_shift)
{
	text_puts(text, "add table " TABLE "\n");
	for (size_t i = 0; i < COUNT(counters); i++)
		text_printf(text, "add counter " TABLE " %s\n", counters[i].counter);
	for (size_t i = 0; i < COUNT(sets); i++) {
		text_printf(text, "add set " TABLE " %s { type iface_index; }\nflush set " TABLE " %s\n",
			    sets[i].set, sets[i].set);
		put_interfaces(text, loaded, sets[i].set, sets[i].bits);
	}
	for (size_t i = 0; i < COUNT(chains); i++) {
		char rules[512], *rule, *rest = rules;

		text_printf(text,
			    "add chain " TABLE " %s { type filter hook %s priority " PRIORITY "; }\n"
			    "flush chain " TABLE " %s\n",
			    chains[i].chain, chains[i].hook, chains[i].chain);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
		snprintf(rules, sizeof(rules), chains[i].rules, 3u << mark_shift,
			 (unsigned)MARK_SELF << mark_shift, (unsigned)MARK_REPLY << mark_shift);
#pragma GCC diagnostic pop
		while ((rule = strsep(&rest, "\n")) && *rule)
			text_printf(text, "add rule " TABLE " %s %s\n", chains[i].chain, rule);
	}
}

int guard_nft_set(const struct loaded *loaded, struct problem *problem)
{
	const struct control_slot *slot = &loaded->control->slot[loaded->control->active & 1];
	struct text text = TEXT_INIT(1 << 24);
	char said[256] = "";
	int err;

	if (!slot->generation || !slot->guard) {
		err = guard_nft_remove();
		return err ? problem_set(problem, err, "cannot remove the guard's nftables table") : 0;
	}
	put_table(&text, loaded, slot->mark_shift);
	err = text_error(&text);
	if (!err)
		err = run(text_string(&text), false, NULL, said, sizeof(said));
	text_free(&text);
	if (!err)
		return 0;
	problem_set(problem, err, "cannot make the guard's nftables table: %s", said);
	problem_hint(problem, "this kernel has no BPF on Netfilter (Linux 6.4 has), so the guard needs "
			      "nftables; or `options { guard off }`");
	return err;
}

int guard_nft_remove(void)
{
	return there() ? run("delete table " TABLE, false, NULL, NULL, 0) : 0;
}

/* --- looking --- */

static unsigned int occurrences(const char *text, const char *what)
{
	unsigned int n = 0;

	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

bool guard_nft_alive(void)
{
	cleanup_free char *printed = NULL;
	unsigned int rules = 0;

	for (size_t i = 0; i < COUNT(chains); i++)
		rules += chains[i].rule_n;
	return !run("list table " TABLE, true, &printed, NULL, 0) &&
	       occurrences(printed, "{\"rule\": ") == rules &&
	       occurrences(printed, "\"hook\": ") == COUNT(chains);
}

void guard_nft_counts(uint64_t stats[STAT_COUNT])
{
	cleanup_free char *printed = NULL;

	if (run("list counters table " TABLE, false, &printed, NULL, 0))
		return;
	for (size_t i = 0; i < COUNT(counters); i++) {
		char name[40];
		uint64_t packets;
		const char *at;

		snprintf(name, sizeof(name), "counter %s {", counters[i].counter);
		at = strstr(printed, name);
		at = at ? strstr(at, "packets ") : NULL;
		if (at && sscanf(at, "packets %" SCNu64, &packets) == 1)
			stats[counters[i].stat] += packets;
	}
}
