// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Subcommands: one row of a table each. Parsing, help, suggestions and shell completion loop over
 * the same rows, so a command exists everywhere or nowhere.
 */
#ifndef REEVE_CLI_COMMAND_H
#define REEVE_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1, /* refused or failed */
	STATUS_USAGE = 2,  /* wrong usage */
};

enum option_id {
	OPTION_HELP,
	OPTION_JSON,
	OPTION_WRITE,
	OPTION_DRY_RUN,
	OPTION_ALL,
	OPTION_LIMIT,
	OPTION_COUNT,
	OPTION_FILE,
	OPTION_ENTRIES,
	OPTION_BUILTIN,
	OPTION_IMAGE,
	OPTION_GONE,
	OPTION_FLOWS,
	OPTION_FORCE,
	OPTION_CONFIRM,
	OPTION_ABORT,
	OPTIONS,
};

#define OPTION_BIT(id) (1u << (id))

struct option_row {
	const char *name;
	char letter;	      /* 0: long form only */
	const char *argument; /* how help names it, or NULL when the option takes none */
	const char *help;
};

struct arguments;

struct command {
	const char *name;
	const char *operands; /* as usage shows them, "" for none */
	const char *summary;  /* one line */
	const char *details;  /* the rest of its help: whole lines */
	unsigned options;     /* OPTION_BITs; OPTION_HELP is always understood */
	int words_min, words_max; /* how many operands; words_max -1: any number */
	bool hidden;
	int (*run)(const struct arguments *arguments); /* returns enum status */
};

/* What was said behind the command's name. Strings are borrowed from argv. */
struct arguments {
	const struct command *command;
	const char *option[OPTIONS]; /* NULL: not given; "" when the option takes no argument */
	const char **words;
	int word_n;
	bool json;
};

extern const struct option_row option_table[OPTIONS];
extern const struct command command_table[];
extern const size_t command_n;

/* Prints what is wrong and where help is; returns STATUS_USAGE. */
int usage_error(const struct arguments *arguments, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/*
 * The number given to an option, 0 when it was not given. -EINVAL, after usage_error, when it is no
 * number from 1 up.
 */
int arguments_number(const struct arguments *arguments, enum option_id id, uint64_t *number);

int command_check(const struct arguments *arguments);
int command_fmt(const struct arguments *arguments);
int command_apply(const struct arguments *arguments);
int command_confirm(const struct arguments *arguments);
int command_down(const struct arguments *arguments);
int command_sync(const struct arguments *arguments);
int command_status(const struct arguments *arguments);
int command_rules(const struct arguments *arguments);
int command_flows(const struct arguments *arguments);
int command_set(const struct arguments *arguments);
int command_sweep(const struct arguments *arguments);
int command_explain(const struct arguments *arguments);
int command_watch(const struct arguments *arguments);
int command_hooks(const struct arguments *arguments);
int command_show(const struct arguments *arguments);
int command_completions(const struct arguments *arguments);

#endif
