// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The flow tables as user space sees them: read, and thinned out, in batches.
 */
#ifndef REEVE_ENGINE_BPF_FLOW_TABLE_H
#define REEVE_ENGINE_BPF_FLOW_TABLE_H

#include "engine/bpf/engine.h"
#include "engine/bpf/loaded.h"

/* How many it has room for; 0 when that cannot be told. */
uint32_t flow_table_room(int fd);
/*
 * Calls `visit` for every live flow of a table, until it returns non-zero: then *stopped. `visit`
 * may be NULL: then the entries are only counted. *total goes up by the entries that were read,
 * expired ones included. 0 or -errno.
 */
int flow_table_read(int fd, bool embryonic, flow_visitor *visit, void *context, uint32_t *total,
		    bool *stopped);
/* Moves what is live and not known there into the table `to`. 0 or -errno: -E2BIG when that is full. */
int flow_table_move(int from, int to);
/*
 * Deletes the live flows of both tables for which `choose` returns non-zero; *killed goes up by
 * each. 0 or -errno.
 */
int flow_tables_kill(const struct loaded *loaded, flow_visitor *choose, void *context,
		     uint64_t *killed);
/* Deletes the flows of both tables that have expired; *removed goes up by each. 0 or -errno. */
int flow_tables_sweep(const struct loaded *loaded, uint64_t *removed);

#endif
