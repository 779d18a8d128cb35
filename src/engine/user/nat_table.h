// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What translations need beside flows: to which record a translated tuple leads, and which
 * destination a packet had before it was translated.
 */
#ifndef REEVE_ENGINE_USER_NAT_TABLE_H
#define REEVE_ENGINE_USER_NAT_TABLE_H

#include <stdint.h>

#include "core/nat_record.h"

struct nat_entry;

struct nat_table {
	struct nat_entry *entries; /* oldest first; NULL: none */
	uint32_t n;
};

/* What a key has, or NULL. Borrowed until the table changes. */
union nat_value *nat_table_find(const struct nat_table *table, const struct flow_key *key);
/* In place of what the key had. -ENOMEM. */
int nat_table_put(struct nat_table *table, const struct flow_key *key, const union nat_value *value);
/* Removes every entry for which `gone` says so. */
void nat_table_sweep(struct nat_table *table,
		     int (*gone)(void *context, const struct flow_key *key,
				 const union nat_value *value),
		     void *context);
void nat_table_clear(struct nat_table *table);

#endif
