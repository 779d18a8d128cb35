// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any bytes as a policy, as a question and as a file of a set: the parser is safe, and what it
 * accepts prints to a text that is accepted and prints to itself.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/diagnostic.h"
#include "base/source.h"
#include "policy/format.h"
#include "policy/parser.h"

#define PRINTED_MAX ((size_t)16 << 20)
#define ARENA_MAX ((size_t)256 << 20)

struct run {
	struct source_set sources;
	struct arena arena;
	struct diagnostics diagnostics;
};

static void run_free(struct run *run)
{
	diagnostics_free(&run->diagnostics);
	arena_free(&run->arena);
	source_set_free(&run->sources);
}

/* Its diagnostics must print, whatever the text was. */
static void show(const struct run *run)
{
	struct text shown = TEXT_INIT(PRINTED_MAX);

	diagnostics_print(&run->diagnostics, &run->sources, 1, &shown);
	if (text_error(&shown))
		abort();
	text_free(&shown);
}

/* The canonical text, or NULL if the policy is refused. */
static char *print_policy(const char *bytes, size_t len)
{
	struct run run = { .arena = { .cap = ARENA_MAX } };
	struct text printed = TEXT_INIT(PRINTED_MAX);
	const struct tree *tree = NULL;
	uint32_t source;
	int err;

	if (source_set_add(&run.sources, "fuzz", bytes, len, &source))
		abort();
	err = tree_parse(&run.sources, source, &run.arena, &run.diagnostics, &tree);
	if ((err == 0) != (run.diagnostics.errors == 0))
		abort();
	if (!err)
		format_tree(tree, &printed);
	show(&run);
	run_free(&run);
	return err ? NULL : text_take(&printed);
}

static char *print_question(const char *text)
{
	struct run run = { .arena = { .cap = ARENA_MAX } };
	struct text printed = TEXT_INIT(PRINTED_MAX);
	const struct question *question = NULL;
	int err = question_parse(text, &run.sources, &run.arena, &run.diagnostics, &question);

	if ((err == 0) != (run.diagnostics.errors == 0))
		abort();
	if (!err)
		format_question(question, &printed);
	show(&run);
	run_free(&run);
	return err ? NULL : text_take(&printed);
}

static void read_set_file(const char *bytes, size_t len)
{
	struct run run = { .arena = { .cap = ARENA_MAX } };
	struct tree_address *items = NULL;
	uint32_t source, n = 0;

	if (source_set_add(&run.sources, "fuzz", bytes, len, &source))
		abort();
	if (set_file_parse(&run.sources, source, 1000, &run.diagnostics, &items, &n) == 0 &&
	    n > 1000)
		abort();
	free(items);
	show(&run);
	run_free(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *text = malloc(size + 1);
	cleanup_free char *once = NULL, *twice = NULL, *question = NULL, *again = NULL;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	once = print_policy(text, size);
	if (once) {
		twice = print_policy(once, strlen(once));
		if (!twice || strcmp(once, twice) != 0)
			abort();
	}
	question = print_question(text);
	if (question) {
		again = print_question(question);
		if (!again || strcmp(question, again) != 0)
			abort();
	}
	read_set_file(text, size);
	return 0;
}
