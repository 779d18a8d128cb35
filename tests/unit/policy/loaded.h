// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For tests: policies loaded from strings, and what came of them as text.
 *
 * Nothing is read from disk: the source set is sealed. A policy may have other files, each given as
 * name, text.
 */
#ifndef REEVE_TESTS_POLICY_LOADED_H
#define REEVE_TESTS_POLICY_LOADED_H

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/diagnostic.h"
#include "base/text.h"
#include "policy/rule.h"

#define FILES_MAX 4

struct test_file {
	const char *name, *text;
};

static inline int load_files(const struct test_file *files, size_t n, struct ruleset *ruleset,
			     struct diagnostics *diagnostics)
{
	struct source_set sources = { 0 };
	uint32_t index;

	for (size_t i = 0; i < n && files[i].name; i++)
		assert_int_equal(source_set_add(&sources, files[i].name, files[i].text,
						strlen(files[i].text), &index),
				 0);
	sources.sealed = true;
	return policy_load(files[0].name, &sources, ruleset, diagnostics);
}

static inline int load_text(const char *text, struct ruleset *ruleset,
			    struct diagnostics *diagnostics)
{
	const struct test_file file = { "t.reeve", text };

	return load_files(&file, 1, ruleset, diagnostics);
}

/* Loads a policy that must be right. */
static inline void load_right(const char *text, struct ruleset *ruleset)
{
	struct diagnostics diagnostics = { 0 };
	int err = load_text(text, ruleset, &diagnostics);

	for (size_t i = 0; err && i < diagnostics.list.n; i++)
		print_message("%s\n", diagnostics.list.items[i].message);
	assert_int_equal(err, 0);
	diagnostics_free(&diagnostics);
}

/* "t.reeve:2:8 error unknown-zone: unknown zone `wam` (did you mean `wan`?)", a line each. */
static inline void put_diagnostics(const struct diagnostics *diagnostics,
				   const struct source_set *sources, struct text *out)
{
	static const char *const levels[] = { "error", "warning", "note" };

	for (size_t i = 0; i < diagnostics->list.n; i++) {
		const struct diagnostic *one = &diagnostics->list.items[i];
		unsigned line = 0, column = 0;
		const char *name = "-";

		if (one->position.source != POSITION_NONE) {
			name = sources->sources.items[one->position.source].name;
			source_place(&sources->sources.items[one->position.source],
				     one->position.offset, &line, &column);
		}
		text_printf(out, "%s:%u:%u %s %s: %s", name, line, column, levels[one->level],
			    one->code, one->message);
		text_printf(out, one->hint ? " (%s)\n" : "%s\n", one->hint ? one->hint : "");
	}
}

static inline void put_address(const uint32_t words[4], unsigned family, struct text *out)
{
	char buffer[INET6_ADDRSTRLEN];
	uint32_t network[4];

	for (int i = 0; i < 4; i++)
		network[i] = htonl(words[i]);
	text_puts(out,
		  inet_ntop(family == 6 ? AF_INET6 : AF_INET, network, buffer, sizeof(buffer)));
}

static inline void put_addresses(const char *label, const struct addresses *addresses,
				 struct text *out)
{
	if (!addresses)
		return;
	text_printf(out, " %s=", label);
	for (uint32_t i = 0; i < addresses->n; i++) {
		text_puts(out, i ? "," : "");
		put_address(addresses->items[i].lo, addresses->family, out);
		if (memcmp(addresses->items[i].lo, addresses->items[i].hi,
			   sizeof(addresses->items[i].lo))) {
			text_putc(out, '-');
			put_address(addresses->items[i].hi, addresses->family, out);
		}
	}
	if (addresses->name)
		text_printf(out, "(%s@%s)", addresses->negated ? "!" : "", addresses->name);
}

/* " src in 5", " src not in 5": dynamic sets as bits */
static inline void put_sets(const char *label, const struct membership *sets, struct text *out)
{
	if (sets->sets)
		text_printf(out, " %s %sin %llx", label, sets->none ? "not " : "",
			    (unsigned long long)sets->sets);
}

/* "4 proto=6 dport=22 frag=0 src=10.0.0.0-10.255.255.255" */
static inline void put_clause(const struct clause *clause, struct text *out)
{
	static const char *const names[FIELD_SRC] = {
		[FIELD_FROM_ZONE] = "from",    [FIELD_TO_ZONE] = "to",
		[FIELD_FAMILY] = "family",     [FIELD_PROTOCOL] = "proto",
		[FIELD_SRC_PORT] = "sport",    [FIELD_DST_PORT] = "dport",
		[FIELD_FRAGMENT] = "frag",     [FIELD_TCP_FLAGS] = "?",
		[FIELD_LENGTH] = "length",     [FIELD_DSCP] = "dscp",
		[FIELD_TTL] = "ttl",	       [FIELD_MARK] = "?",
		[FIELD_MAC_HIGH] = "?",	       [FIELD_MAC_LOW] = "?",
		[FIELD_EXPECTED] = "expected", [FIELD_STATE] = "state",
	};

	text_puts(out, clause->families == 1 ? "4" : clause->families == 2 ? "6" : "46");
	for (unsigned field = 0; field < FIELD_SRC; field++) {
		const struct ranges *ranges = &clause->field[field];

		for (uint32_t i = 0; i < ranges->n; i++) {
			text_printf(out, i ? ",%.0s%u" : " %s=%u", names[field],
				    ranges->items[i].lo);
			if (ranges->items[i].lo != ranges->items[i].hi)
				text_printf(out, "-%u", ranges->items[i].hi);
		}
	}
	put_addresses("src", clause->src, out);
	put_sets("src", &clause->src_sets, out);
	put_addresses("dst", clause->dst, out);
	put_sets("dst", &clause->dst_sets, out);
	if (clause->flags.mask)
		text_printf(out, " flags=%u/%u", clause->flags.value, clause->flags.mask);
	if (clause->mark.mask)
		text_printf(out, " mark=%x/%x", clause->mark.value, clause->mark.mask);
	if (clause->has_mac)
		text_printf(out, " mac=%02x..%02x", clause->mac[0], clause->mac[5]);
}

/* One line a rule: zones as bits, action and options, then clauses in brackets. */
static inline void put_rule(const struct rule *rule, struct text *out)
{
	static const char *const actions[] = { "allow", "drop", "reject" };

	text_printf(out, "%llx>%llx %s", (unsigned long long)rule->from,
		    (unsigned long long)rule->to, actions[rule->action]);
	if (rule->reject)
		text_printf(out, "(%d)", (int)rule->reject);
	if (rule->stateless)
		text_puts(out, " stateless");
	if (rule->log)
		text_printf(out, " log(%s,%u)", rule->log_text ? rule->log_text : "",
			    rule->log_sample);
	if (rule->count)
		text_printf(out, " count(%s)", rule->count);
	if (rule->mark_set.mask)
		text_printf(out, " mark(%x/%x)", rule->mark_set.value, rule->mark_set.mask);
	if (rule->add)
		text_printf(out, " add(%s,%u)", rule->add_destination ? "dst" : "src",
			    rule->add - 1);
	for (uint32_t i = 0; i < rule->clause_n; i++) {
		text_puts(out, " [");
		put_clause(&rule->clauses[i], out);
		text_putc(out, ']');
	}
	text_putc(out, '\n');
}

static inline void put_rules(const struct ruleset *ruleset, enum rule_origin origin,
			     struct text *out)
{
	for (uint32_t i = 0; i < ruleset->rule_n; i++)
		if (ruleset->rules[i].origin == origin)
			put_rule(&ruleset->rules[i], out);
}

#endif
