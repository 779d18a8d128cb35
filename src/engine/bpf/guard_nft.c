// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/guard_nft.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "core/mark.h"
#include "engine/bpf/attach.h"
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
static int run(const char *commands, unsigned int flags, char **printed, char *error,
	       size_t size)
{
	struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
	int err = 0;

	if (!context)
		return -ENOMEM;
	nft_ctx_output_set_flags(context, flags);
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
	return !run("list table " TABLE, 0, NULL, NULL, 0);
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
	bool marks; /* what comes from covered interfaces needs its mark */
	const char *rules;
} chains[] = {
	{ "local_in", "input", true,
	  "iif @exempt accept\n"
	  "counter name local_in drop\n" },
	{ "forward", "forward", false,
	  "iif @exempt accept\n"
	  "iif @covered accept\n"
	  "counter name forwarded drop\n" },
	{ "post_routing", "postrouting", false,
	  "oif @exempt accept\n"
	  "oif @covered accept\n"
	  "counter name post_routing drop\n" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* An interface may be named by a number, but by none behind a space. */
static void put_element(struct text *text, const char *set, uint32_t ifindex)
{
	text_printf(text, "add element " TABLE " %s { \" %u\" }\n", set, ifindex);
}

/* How many interfaces belong into a set; with a `text`, they are put there. */
static uint32_t put_interfaces(struct text *text, const struct loaded *loaded, size_t set)
{
	uint32_t key, *previous = NULL, n = 0;

	for (uint32_t i = 1; i < INTERFACES_NEAR; i++) {
		if (!(coverage_told(loaded, i).bits & sets[set].bits))
			continue;
		n++;
		if (text)
			put_element(text, sets[set].set, i);
	}
	while (!bpf_map_get_next_key(loaded->maps[MAP_COVERED_FAR], previous, &key)) {
		if (coverage_told(loaded, key).bits & sets[set].bits) {
			n++;
			if (text)
				put_element(text, sets[set].set, key);
		}
		previous = &key;
	}
	return n;
}

static void put_marks(struct text *text, const char *chain, uint32_t mark_shift)
{
	text_printf(text, "add rule " TABLE " %s iif @covered meta mark & %u == { %u, %u } accept\n",
		    chain, 3u << mark_shift, (unsigned)MARK_SELF << mark_shift,
		    (unsigned)MARK_REPLY << mark_shift);
}

static void put_chain(struct text *text, size_t chain, uint32_t mark_shift, uint32_t coming_shift)
{
	const char *name = chains[chain].chain;
	char rules[256], *rule, *rest = rules;

	text_printf(text,
		    "add chain " TABLE " %s { type filter hook %s priority " PRIORITY
		    "; policy accept; }\n"
		    "flush chain " TABLE " %s\n",
		    name, chains[chain].hook, name);
	if (chains[chain].marks)
		put_marks(text, name, mark_shift);
	if (chains[chain].marks && coming_shift != mark_shift)
		put_marks(text, name, coming_shift);
	snprintf(rules, sizeof(rules), "%s", chains[chain].rules);
	while ((rule = strsep(&rest, "\n")) && *rule)
		text_printf(text, "add rule " TABLE " %s %s\n", name, rule);
}

static void put_table(struct text *text, const struct loaded *loaded, uint32_t mark_shift,
		      uint32_t coming_shift)
{
	/* Without flags: one that was made dormant wakes up. */
	text_puts(text, "add table " TABLE " { comment \"made by reeve, and made anew: not to be "
			"edited or saved\"; }\n");
	for (size_t i = 0; i < COUNT(counters); i++)
		text_printf(text, "add counter " TABLE " %s\n", counters[i].counter);
	for (size_t i = 0; i < COUNT(sets); i++) {
		text_printf(text, "add set " TABLE " %s { type iface_index; }\nflush set " TABLE " %s\n",
			    sets[i].set, sets[i].set);
		put_interfaces(text, loaded, i);
	}
	for (size_t i = 0; i < COUNT(chains); i++)
		put_chain(text, i, mark_shift, coming_shift);
}

/* --- looking --- */

/* One pass over what nft lists of the table. */
struct listing {
	uint64_t hash; /* of all but interfaces, spaces and counts */
	uint32_t n[COUNT(sets)];
	bool strange; /* an interface is in a set in which it should not be */
};

static void hash_byte(struct listing *listing, char c)
{
	/* FNV-1a: nobody is kept from anything by it. */
	if (!strchr(" \t\n", c))
		listing->hash = (listing->hash ^ (unsigned char)c) * 0x100000001b3u;
}

/* `at` is behind the brace of a set's elements; returns what is behind the closing one. */
static const char *read_elements(const struct loaded *loaded, size_t set, const char *at,
				 struct listing *listing)
{
	while (*at && *at != '}') {
		bool quoted = *at == '"';
		size_t length = strcspn(at += quoted, quoted ? "\"" : ", \t\n}");
		char word[32];
		uint32_t ifindex;

		if (length) {
			snprintf(word, sizeof(word), "%.*s", (int)length, at);
			ifindex = quoted ? if_nametoindex(word) :
					   (uint32_t)strtoul(word, NULL, 10);
			if (!(coverage_told(loaded, ifindex).bits & sets[set].bits))
				listing->strange = true;
			listing->n[set]++;
		}
		at += length;
		at += *at && *at != '}';
	}
	return *at ? at + 1 : at;
}

static int list(const struct loaded *loaded, struct listing *listing)
{
	static const char elements[] = "elements = {";
	cleanup_free char *printed = NULL;
	const char *at, *next;
	size_t set = 0;
	int err;

	*listing = (struct listing){ .hash = 0xcbf29ce484222325u };
	err = run("list table " TABLE, NFT_CTX_OUTPUT_STATELESS, &printed, NULL, 0);
	if (err)
		return err;
	for (at = printed; *at; at = next) {
		next = at + 1;
		for (size_t i = 0; i < COUNT(sets); i++)
			if (!strncmp(at, "set ", 4) &&
			    !strncmp(at + 4, sets[i].set, strlen(sets[i].set)))
				set = i;
		if (!strncmp(at, elements, strlen(elements)))
			next = read_elements(loaded, set, at + strlen(elements), listing);
		else
			hash_byte(listing, *at);
	}
	return 0;
}

bool guard_nft_alive(const struct loaded *loaded)
{
	struct listing listing;

	if (list(loaded, &listing) || listing.strange ||
	    listing.hash != loaded->control->guard_table)
		return false;
	for (size_t i = 0; i < COUNT(sets); i++)
		if (listing.n[i] != put_interfaces(NULL, loaded, i))
			return false;
	return true;
}

/* --- setting --- */

int guard_nft_set(const struct loaded *loaded, uint32_t coming, struct problem *problem)
{
	const struct control_slot *slot = &loaded->control->slot[loaded->control->active & 1];
	struct text text = TEXT_INIT(1 << 24);
	struct listing listing;
	char said[256] = "";
	int err;

	if (!slot->generation || !slot->guard) {
		err = guard_nft_remove();
		return err ? problem_set(problem, err, "cannot remove the guard's nftables table") : 0;
	}
	put_table(&text, loaded, slot->mark_shift, loaded->control->slot[coming & 1].mark_shift);
	err = text_error(&text);
	if (!err)
		err = run(text_string(&text), 0, NULL, said, sizeof(said));
	text_free(&text);
	if (!err)
		err = list(loaded, &listing);
	if (!err) {
		loaded->control->guard_table = listing.hash;
		return 0;
	}
	problem_set(problem, err, "cannot make the guard's nftables table: %s", said);
	problem_hint(problem, "this kernel has no BPF on Netfilter (Linux 6.4 has), so the guard needs "
			      "nftables; or `options { guard off }`");
	return err;
}

int guard_nft_remove(void)
{
	/* Adding it first: somebody may just have removed it. */
	return there() ? run("add table " TABLE "\ndelete table " TABLE, 0, NULL, NULL, 0) : 0;
}

void guard_nft_counts(uint64_t stats[STAT_COUNT])
{
	cleanup_free char *printed = NULL;

	if (run("list counters table " TABLE, 0, &printed, NULL, 0))
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
