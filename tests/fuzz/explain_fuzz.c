// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The syntax of questions, and the resolver behind it. The first line is a question; what follows
 * is the policy it is asked of, or a fixed one when nothing follows. An answer's packet must be one
 * of those that the question is about, and must be the same when it is asked for by its own text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/evaluate.h"
#include "analysis/explain.h"
#include "base/cleanup.h"
#include "policy/parser.h"
#include "policy/resolve.h"

#define SIZE_MAX_FUZZ 65536

static const char fixed_policy[] =
	"zone wan = eth0; zone lan = \"lan*\"\n"
	"set s = { 192.0.2.0/28, 198.51.100.7-198.51.100.20, 2001:db8:5::/64 }\n"
	"service web = { 80/tcp, 443/tcp, 443/udp }\n"
	"policy wan -> self default drop { allow 22/tcp from @s; allow web; allow icmp\n"
	"drop from !@s length > 1000 mark 1/3 dscp ef; reject tcp syn; drop fragment ttl < 5 }\n"
	"policy any -> any { allow 53 from 10.0.0.0/8 port 1024-65535; drop state untracked }\n"
	"policy lan -> self { allow 1/udp mac 02:00:00:00:00:01 }\n";

static int load(const char *text, size_t len, struct ruleset *ruleset)
{
	struct source_set sources = { 0 };
	struct diagnostics diagnostics = { 0 };
	uint32_t index;
	int err = source_set_add(&sources, "policy", text, len, &index);

	sources.sealed = true;
	if (err)
		abort();
	err = policy_load("policy", &sources, ruleset, &diagnostics);
	if (!err != !diagnostics.errors)
		abort();
	diagnostics_free(&diagnostics);
	return err;
}

static void check_meaning(const struct ruleset *ruleset, const char *text,
			  const struct fields *fields)
{
	struct source_set sources = { .sealed = true };
	struct diagnostics diagnostics = { 0 };
	struct arena arena = { 0 };
	const struct question *question;
	struct question_meaning meaning;
	bool found = false;

	if (question_parse(text, &sources, &arena, &diagnostics, &question) ||
	    resolve_question(ruleset, question, &sources, &arena, &diagnostics, &meaning))
		abort();
	for (uint32_t i = 0; i < meaning.clauses.n; i++)
		found = found || clause_matches(ruleset, &meaning.clauses.items[i], fields);
	if (!found || fields->word[FIELD_FROM_ZONE] != meaning.from ||
	    fields->word[FIELD_TO_ZONE] != meaning.to)
		abort();
	diagnostics_free(&diagnostics);
	source_set_free(&sources);
	arena_free(&arena);
}

static int ask(const struct ruleset *ruleset, const char *text, struct explanation *explanation)
{
	struct source_set sources = { .sealed = true };
	struct diagnostics diagnostics = { 0 };
	int err = explain(ruleset, text, &sources, explanation, &diagnostics);

	if (err && !diagnostics.errors)
		abort();
	diagnostics_free(&diagnostics);
	source_set_free(&sources);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *question = NULL;
	const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
	size_t len = newline ? (size_t)(newline - data) : size;
	struct explanation one, two;
	struct ruleset ruleset;
	int err;

	if (size > SIZE_MAX_FUZZ)
		return 0;
	question = strndup((const char *)data, len);
	if (!question)
		return 0;
	if (newline && len + 1 < size)
		err = load((const char *)newline + 1, size - len - 1, &ruleset);
	else
		err = load(fixed_policy, sizeof(fixed_policy) - 1, &ruleset);
	if (!err && !ask(&ruleset, question, &one)) {
		check_meaning(&ruleset, question, &one.asked);
		if (one.rule != UINT32_MAX &&
		    !rule_matches(&ruleset, ruleset_rule(&ruleset, one.rule), &one.fields))
			abort();
		if (ask(&ruleset, one.packet, &two) || strcmp(one.packet, two.packet) ||
		    memcmp(&one.fields, &two.fields, sizeof(one.fields)) ||
		    one.rule != two.rule || one.forward.rule != two.forward.rule ||
		    one.source.rule != two.source.rule)
			abort();
		explanation_free(&two);
		explanation_free(&one);
	}
	ruleset_free(&ruleset);
	return 0;
}
