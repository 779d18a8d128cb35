// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guard where the kernel has no BPF programs on Netfilter (before 6.4): an nftables table of
 * reeve's own, `inet reeve-guard`, at the same hooks and the same priority.
 *
 * nftables sees the mark and not tc_index, the index of an interface and not its programs. So this
 * guard believes the mark alone (a rule of others that sets the whole mark before input makes it
 * drop), and what it was told of an interface. A forwarded packet's way in is looked at in
 * `forward`, where nftables knows it. It makes no events; what it dropped is counted.
 */
#ifndef REEVE_ENGINE_BPF_GUARD_NFT_H
#define REEVE_ENGINE_BPF_GUARD_NFT_H

#include "engine/bpf/loaded.h"

/*
 * Are there BPF programs on Netfilter? Tried once; REEVE_WITHOUT=netfilter-links in the environment
 * says no, for tests.
 */
bool netfilter_links_possible(void);

/*
 * Makes the table what the running policy and `control` ask for, in one step; without a policy, or
 * where it wants no guard, there is none. The policy in the slot `coming` is about to run: what its
 * programs mark may pass too. Counts go on. 0 or -errno with a problem.
 */
int guard_nft_set(const struct loaded *loaded, uint32_t coming, struct problem *problem);
/* Takes it away; 0 also when there was none. */
int guard_nft_remove(void);
/* Is it there, and as reeve has made it? */
bool guard_nft_alive(const struct loaded *loaded);
/* Adds what it has dropped to the statistics. */
void guard_nft_counts(uint64_t stats[STAT_COUNT]);

#endif
