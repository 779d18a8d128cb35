// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Filters over flows, said in the policy's own words: `22/tcp from 192.0.2.0/24 zone wan state
 * established`.
 *
 * Parts of one kind are alternatives where a flow can have but one of them (two services, two
 * states); everything else narrows: zones, addresses.
 */
#ifndef REEVE_CLI_FILTER_H
#define REEVE_CLI_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "core/flow.h"
#include "core/image.h"
#include "policy/rule.h"

#define FILTER_PARTS_MAX 16

struct filter_service { /* protocol 0: TCP and UDP */
	uint8_t protocol;
	bool ports; /* lo and hi count */
	uint16_t lo, hi;
};

struct filter_prefix { /* family 0: any address */
	uint8_t family;
	uint32_t address[4], mask[4];
};

struct filter {
	struct filter_service services[FILTER_PARTS_MAX];
	unsigned service_n;
	struct filter_prefix from, to;
	uint16_t zone_tag, from_tag, to_tag; /* 0: any; ANY_ZONE_TAG: every zone but self */
	uint32_t states;		     /* bits of enum flow_state; 0: any */
	bool embryonic;			     /* only unanswered flows */
};

#define ANY_ZONE_TAG 0xffff

/* One end of a flow, as seen from the originator. */
struct flow_ends {
	const uint32_t *from, *to;
	uint16_t from_port, to_port;
};

void flow_ends(const struct flow_key *key, const struct flow *flow, struct flow_ends *ends);

/*
 * Reads a filter out of words (split again at white space). Zone names are those of `ruleset`.
 * -EINVAL: *why then says what is wrong and what would be right; -ENOMEM. *filter is untouched on
 * failure.
 */
int filter_parse(const struct ruleset *ruleset, const char *const *words, int word_n,
		 struct filter *filter, struct text *why);
bool filter_matches(const struct filter *filter, const struct flow_key *key,
		    const struct flow *flow, bool embryonic);

#endif
