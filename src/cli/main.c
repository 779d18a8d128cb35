// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The reeve command: a table of subcommands.
 *
 * Everything about a subcommand that is not its work stands in its row below: name, operands,
 * options, help. Parsing, usage lines, help, suggestions for misspelt words and shell completion
 * are made from the rows. Options mean the same everywhere, so they have one table too.
 *
 * Operands and options may be mixed; `--` ends the options. A question holds `->`, which getopt
 * would take for an option when it stands alone: such a word is handed on as an operand.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/output.h"

const struct option_row option_table[OPTIONS] = {
	[OPTION_HELP] = { "help", 'h', NULL, "say how the command is used" },
	[OPTION_JSON] = { "json", 'j', NULL, "print JSON, for programs" },
	[OPTION_WRITE] = { "write", 'w', NULL, "write the result back into the file" },
	[OPTION_DRY_RUN] = { "dry-run", 'n', NULL, "only say what would be done" },
	[OPTION_ALL] = { "all", 'a', NULL, "also built-in rules that no packet has met" },
	[OPTION_LIMIT] = { "limit", 'l', "N", "at most N flows" },
	[OPTION_COUNT] = { "count", 'c', "N", "end after N events" },
	[OPTION_FILE] = { "file", 'f', "FILE", "ask this policy instead of the running one" },
	[OPTION_ENTRIES] = { "file", 'f', "FILE", "entries out of a file, one a line" },
	[OPTION_BUILTIN] = { "builtin", 'b', NULL, "the built-in rules instead of the file's text" },
	[OPTION_IMAGE] = { "image", 'i', NULL, "figures of the compiled policy instead of its text" },
	[OPTION_FLOWS] = { "flows", 0, "HOW", "what becomes of live flows: recheck (the default), keep, kill" },
	[OPTION_FORCE] = { "force", 0, NULL, "even if it cuts the session that this is typed in" },
	[OPTION_CONFIRM] = { "confirm", 0, "TIME", "go back after so long (60s, 5m) unless `reeve confirm` comes first" },
	[OPTION_ABORT] = { "abort", 0, NULL, "go back at once" },
	[OPTION_GONE] = { "gone", 'g', NULL, "namespaces that nobody can reach any more, instead of this one" },
};

#define JSON_BIT OPTION_BIT(OPTION_JSON)

const struct command command_table[] = {
	{ "check", "FILE", "say whether a policy is right, and what is wrong with it",
	  "Reads the policy and everything it includes, resolves names and compiles it. Nothing is\n"
	  "applied and no privilege is needed. FILE `-` is standard input.\n",
	  JSON_BIT, 1, 1, false, command_check },
	{ "fmt", "FILE", "print a policy in its canonical form",
	  "Comments stay. A file with syntax errors is not touched. With -w the file is replaced in one\n"
	  "step, and only if something changes. FILE `-` is standard input.\n",
	  OPTION_BIT(OPTION_WRITE), 1, 1, false, command_fmt },
	{ "apply", "FILE", "make a policy the running one",
	  "Checks and compiles the policy, covers every interface of this network namespace and switches\n"
	  "to the new policy in one step: each packet meets the old policy or the new one. Counters stay.\n"
	  "When anything is wrong, nothing is changed. Live flows, by --flows:\n"
	  "  recheck  those that the new policy would not let begin end at their next packet\n"
	  "  keep     all live on\n"
	  "  kill     all end now, but for the ssh session that this is typed in\n"
	  "Typed in an ssh session, it refuses a policy that would cut that session, or not let it be\n"
	  "opened again, unless --force or --confirm. With --confirm the policy before is back after that\n"
	  "time, unless you say `reeve confirm`: a process of its own sees to it, whatever becomes of your\n"
	  "terminal or connection.\n",
	  JSON_BIT | OPTION_BIT(OPTION_DRY_RUN) | OPTION_BIT(OPTION_FLOWS) |
		  OPTION_BIT(OPTION_FORCE) | OPTION_BIT(OPTION_CONFIRM),
	  1, 1, false, command_apply },
	{ "confirm", "", "keep the policy that `apply --confirm` has made the running one",
	  "With --abort what ran before is back at once. When nothing waits for confirmation the exit\n"
	  "status is 1.\n",
	  JSON_BIT | OPTION_BIT(OPTION_ABORT), 0, 0, false, command_confirm },
	{ "down", "", "stop filtering and leave nothing behind",
	  "Removes programs, flows, counters and the policy from this network namespace. When nothing\n"
	  "is running it says so and is content.\n"
	  "Take it down before you delete a namespace: the kernel keeps a namespace, and its devices, as\n"
	  "long as a policy is in it. With --gone the policies of namespaces that were deleted all the\n"
	  "same are removed: those that no process is in and no mount or open file names.\n",
	  JSON_BIT | OPTION_BIT(OPTION_GONE), 0, 0, false, command_down },
	{ "sync", "", "bring the running policy in step with the interfaces",
	  "Covers interfaces that have come, moves renamed ones to their zone, puts back programs, the guard\n"
	  "and pins that somebody took away, and forgets what is gone. The policy stays as it is, and so do\n"
	  "its flows and counters. reeved does the same by itself.\n",
	  JSON_BIT, 0, 0, false, command_sync },
	{ "status", "", "what is running, on which interfaces, and how it fares",
	  "The exit status is 0 whether a policy is running or not; --json has \"running\".\n",
	  JSON_BIT, 0, 0, false, command_status },
	{ "rules", "", "the rules in their order, with what they decided",
	  "Packets and bytes are those that the rule itself decided: the first packet of each flow, or\n"
	  "every packet of a stateless rule. Built-in rules without hits are left out unless --all.\n",
	  JSON_BIT | OPTION_BIT(OPTION_ALL), 0, 0, false, command_rules },
	{ "flows", "[kill] [FILTER]", "the flows that are known at this moment, or their end",
	  "FILTER is said as in a policy, each word narrows it:\n"
	  "  22/tcp  53  ssh  tcp  icmp      what the originator spoke to\n"
	  "  from ADDRESS  to ADDRESS        an address or a prefix: 192.0.2.0/24\n"
	  "  zone NAME                       one of the two zones\n"
	  "  wan -> self                     both zones; quote the arrow\n"
	  "  state established  embryonic    the state; flows not answered yet\n"
	  "With --json each line is one object.\n"
	  "`flows kill FILTER` ends them: what comes then meets the rules. `flows kill all` ends all of\n"
	  "them; with --dry-run they are only counted. The ssh session that this is typed in is left\n"
	  "alone, unless --force.\n",
	  JSON_BIT | OPTION_BIT(OPTION_LIMIT) | OPTION_BIT(OPTION_DRY_RUN) |
		  OPTION_BIT(OPTION_FORCE),
	  0, -1, false, command_flows },
	{ "set", "list [NAME] | add|del|replace NAME ENTRIES | flush NAME",
	  "what the dynamic sets hold, and changing it",
	  "ENTRIES are addresses, prefixes and ranges; or -f FILE, or `-` for standard input, with one a\n"
	  "line. Behind each may stand how long it stays: `timeout 10m`, or `forever`; else it stays for as\n"
	  "long as the set says. A change holds at once for the packets that meet the rules; live flows go\n"
	  "on. When one entry is wrong nothing is changed, and every wrong one is named.\n"
	  "  list         the sets, with how much they hold\n"
	  "  list NAME    what one holds, as `replace` takes it; with --json each line is one object\n"
	  "  add          puts entries in, or gives those that are there another time\n"
	  "  del          takes them out, just as they were put in\n"
	  "  replace      from now on these and no others, in one step\n"
	  "  flush        nothing any more\n",
	  JSON_BIT | OPTION_BIT(OPTION_ENTRIES), 1, -1, false, command_set },
	{ "sweep", "", "remove flows and entries of sets that are over",
	  "A flow that was silent for longer than its timeout is over: no packet passes by it, and `flows`\n"
	  "does not list it. Its record goes when a packet meets it, when the table is full, or now. So do\n"
	  "entries of dynamic sets whose time is over.\n",
	  JSON_BIT, 0, 0, false, command_sweep },
	{ "explain", "QUESTION", "what happens to a packet, and why",
	  "QUESTION is a packet, said as a rule says it, in quotes:\n"
	  "  reeve explain 'wan -> self 22/tcp from 203.0.113.9'\n"
	  "What is left out is filled with ordinary values, and the answer says with which. The exit\n"
	  "status is 0 whatever the verdict.\n",
	  JSON_BIT | OPTION_BIT(OPTION_FILE), 1, -1, false, command_explain },
	{ "watch", "", "events as they happen: dropped, rejected, logged, new flows",
	  "One line for each event, until Ctrl-C. With --json each line is one object.\n",
	  JSON_BIT | OPTION_BIT(OPTION_COUNT), 0, 0, false, command_watch },
	{ "hooks", "", "what is on the kernel's packet hooks, reeve's and others'",
	  "Everything that meets packets in this network namespace, in the order a packet meets it: XDP,\n"
	  "tcx and clsact, Netfilter (BPF, nftables, iptables and, where the kernel lists them, conntrack\n"
	  "and NAT), programs of cgroups. reeve need not run. What the kernel does not tell is noted at the\n"
	  "end. A chain's packets are those that came to its policy; a program's runs are only counted\n"
	  "while sysctl kernel.bpf_stats_enabled is 1.\n",
	  JSON_BIT, 0, 0, false, command_hooks },
	{ "show", "", "the text of the running policy",
	  "As it was applied, with the files it included. On a terminal control characters are escaped;\n"
	  "elsewhere the bytes come as they were.\n",
	  JSON_BIT | OPTION_BIT(OPTION_BUILTIN) | OPTION_BIT(OPTION_IMAGE), 0, 0, false,
	  command_show },
	{ "completions", "SHELL", "completion of commands and options for a shell",
	  "SHELL is bash.\n",
	  0, 1, 1, true, command_completions },
};
const size_t command_n = sizeof(command_table) / sizeof(command_table[0]);

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < command_n; i++)
		if (strcmp(command_table[i].name, name) == 0)
			return &command_table[i];
	return NULL;
}

/* --- help --- */

static void usage_line(const struct command *command, struct text *out)
{
	text_printf(out, "usage: reeve %s", command->name);
	for (unsigned id = 0; id < OPTIONS; id++) {
		const struct option_row *row = &option_table[id];

		if (!(command->options & OPTION_BIT(id)))
			continue;
		text_printf(out, row->argument ? " [--%s %s]" : " [--%s%s]", row->name,
			    row->argument ? row->argument : "");
	}
	text_printf(out, "%s%s\n", command->operands[0] ? " " : "", command->operands);
}

static int print_command_help(const struct command *command)
{
	struct text out = TEXT_INIT(1 << 16);

	usage_line(command, &out);
	text_printf(&out, "\n%s\n\n%s\n", command->summary, command->details);
	for (unsigned id = 0; id < OPTIONS; id++) {
		const struct option_row *row = &option_table[id];
		char name[32];

		if (id != OPTION_HELP && !(command->options & OPTION_BIT(id)))
			continue;
		snprintf(name, sizeof(name), row->letter ? "-%c, --%s%s%s" : "%c   --%s%s%s",
			 row->letter ? row->letter : ' ', row->name, row->argument ? " " : "",
			 row->argument ? row->argument : "");
		text_printf(&out, "  %-18s  %s\n", name, row->help);
	}
	output_write(&out);
	return output_status(STATUS_DONE);
}

static void overview(struct text *out)
{
	text_puts(out, "usage: reeve COMMAND [OPTIONS]\n\n");
	text_puts(out, "reeve is a stateful packet filter: a readable policy, kept by the kernel.\n\n");
	for (size_t i = 0; i < command_n; i++)
		if (!command_table[i].hidden)
			text_printf(out, "  %-8s  %s\n", command_table[i].name,
				    command_table[i].summary);
	text_puts(out, "\n`reeve COMMAND --help` says more about each; `reeve --version` prints the version.\n");
	text_puts(out, "Exit status: 0 done, 1 refused or failed, 2 wrong usage.\n");
}

static int print_overview(void)
{
	struct text out = TEXT_INIT(1 << 16);

	overview(&out);
	output_write(&out);
	return output_status(STATUS_DONE);
}

static int print_version(void)
{
	struct text out = TEXT_INIT(1 << 10);

	text_puts(&out, "reeve " REEVE_VERSION "\n");
	output_write(&out);
	return output_status(STATUS_DONE);
}

/* --- wrong words --- */

int usage_error(const struct arguments *arguments, const char *format, ...)
{
	struct text what = TEXT_INIT(1 << 16), usage = TEXT_INIT(1 << 10);
	va_list args;

	va_start(args, format);
	text_vprintf(&what, format, args);
	va_end(args);
	complain("%s: %s", arguments->command->name, text_string(&what));
	usage_line(arguments->command, &usage);
	if (usage.len)
		usage.bytes[usage.len - 1] = '\0';
	complain("%s", text_string(&usage));
	text_free(&what);
	text_free(&usage);
	return STATUS_USAGE;
}

static int unknown_command(const char *word)
{
	const char *names[sizeof(command_table) / sizeof(command_table[0])];
	const char *nearest;
	size_t n = 0;

	for (size_t i = 0; i < command_n; i++)
		if (!command_table[i].hidden)
			names[n++] = command_table[i].name;
	nearest = nearest_word(word, names, n);
	if (nearest)
		complain("unknown command `%s`; did you mean `%s`?", word, nearest);
	else
		complain("unknown command `%s`; `reeve --help` lists them", word);
	return STATUS_USAGE;
}

static int unknown_option(const struct arguments *arguments, const char *word)
{
	const char *names[OPTIONS];
	const char *nearest;
	size_t n = 0, len = strcspn(word, "=");
	cleanup_free char *bare = NULL;

	if (word[0] != '-' || word[1] != '-')
		return usage_error(arguments, "unknown option `%s`", word);
	for (unsigned id = 0; id < OPTIONS; id++)
		if (id == OPTION_HELP || arguments->command->options & OPTION_BIT(id))
			names[n++] = option_table[id].name;
	bare = strndup(word + 2, len - 2);
	for (size_t i = 0; bare && word[len] && i < n; i++)
		if (strcmp(names[i], bare) == 0)
			return usage_error(arguments, "`--%s` takes no value", bare);
	nearest = bare ? nearest_word(bare, names, n) : NULL;
	if (nearest)
		return usage_error(arguments, "unknown option `%s`; did you mean `--%s`?", word, nearest);
	return usage_error(arguments, "unknown option `%s`", word);
}

/* --- parsing --- */

/* By what getopt tells an option: its letter, or a number that is none. */
static int option_value(unsigned id)
{
	return option_table[id].letter ? option_table[id].letter : 256 + (int)id;
}

/*
 * What getopt wants, for the options of one command. The leading '-' of letters hands operands over
 * in their place.
 */
static void options_build(const struct command *command, struct option *options, char *letters)
{
	size_t n = 0;

	*letters++ = '-';
	*letters++ = ':';
	for (unsigned id = 0; id < OPTIONS; id++) {
		const struct option_row *row = &option_table[id];

		if (id != OPTION_HELP && !(command->options & OPTION_BIT(id)))
			continue;
		options[n++] = (struct option){ row->name,
						row->argument ? required_argument : no_argument, NULL,
						option_value(id) };
		if (!row->letter)
			continue;
		*letters++ = row->letter;
		if (row->argument)
			*letters++ = ':';
	}
	options[n] = (struct option){ 0 };
	*letters = '\0';
}

static void option_given(struct arguments *arguments, int value)
{
	for (unsigned id = 0; id < OPTIONS; id++)
		if (option_value(id) == value)
			arguments->option[id] = option_table[id].argument ? optarg : "";
}

static int arguments_parse(struct arguments *arguments, int argc, char **argv)
{
	struct option options[OPTIONS + 1];
	char letters[2 * OPTIONS + 3];
	int letter;

	options_build(arguments->command, options, letters);
	opterr = 0;
	optind = 1;
	for (;;) {
		const char *word = argv[optind];

		if (word && word[0] == '-' && word[1] == '>') {
			arguments->words[arguments->word_n++] = argv[optind++];
			continue;
		}
		letter = getopt_long(argc, argv, letters, options, NULL);
		if (letter < 0)
			break;
		if (letter == 1)
			arguments->words[arguments->word_n++] = optarg;
		else if (letter == ':')
			return usage_error(arguments, "`%s` needs a value", word);
		else if (letter == '?')
			return unknown_option(arguments, word ? word : "?");
		else
			option_given(arguments, letter);
	}
	while (optind < argc)
		arguments->words[arguments->word_n++] = argv[optind++];
	arguments->json = arguments->option[OPTION_JSON] != NULL;
	return STATUS_DONE;
}

int arguments_number(const struct arguments *arguments, enum option_id id, uint64_t *number)
{
	const char *string = arguments->option[id];
	uint64_t value = 0;
	size_t len;

	if (!string) {
		*number = 0;
		return 0;
	}
	len = strlen(string);
	if (len > 0 && len <= 18 && strspn(string, "0123456789") == len)
		value = strtoull(string, NULL, 10);
	if (value == 0) {
		usage_error(arguments, "`--%s %s`: expected a number from 1 up", option_table[id].name,
			    string);
		return -EINVAL;
	}
	*number = value;
	return 0;
}

static int words_judge(const struct arguments *arguments)
{
	const struct command *command = arguments->command;

	if (arguments->word_n < command->words_min)
		return usage_error(arguments, "expected %s", command->operands);
	if (command->words_max == 0 && arguments->word_n > 0)
		return usage_error(arguments, "unexpected `%s`", arguments->words[0]);
	if (command->words_max > 0 && arguments->word_n > command->words_max)
		return usage_error(arguments, "unexpected `%s` after the %s",
				   arguments->words[command->words_max], command->operands);
	return STATUS_DONE;
}

static int command_run(const struct command *command, int argc, char **argv)
{
	struct arguments arguments = { .command = command };
	cleanup_free const char **words = calloc((size_t)argc + 1, sizeof(*words));
	int status;

	if (!words) {
		complain("out of memory");
		return STATUS_FAILED;
	}
	arguments.words = words;
	status = arguments_parse(&arguments, argc, argv);
	if (status)
		return status;
	if (arguments.option[OPTION_HELP])
		return print_command_help(command);
	status = words_judge(&arguments);
	if (status)
		return status;
	return output_status(command->run(&arguments));
}

/* `reeve help`, `reeve help COMMAND`. */
static int help(const char *word)
{
	const struct command *command;

	if (!word)
		return print_overview();
	command = command_find(word);
	return command ? print_command_help(command) : unknown_command(word);
}

/*
 * A closed standard descriptor would be given to the next file that is opened. The placeholder is
 * read-only, so writing to a closed standard output still fails.
 */
static void hold_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;
	const struct command *command;

	hold_standard_descriptors();
	signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write, see output.c */
	signal(SIGXFSZ, SIG_IGN); /* so is a file that may not grow */
	if (!word) {
		struct text out = TEXT_INIT(1 << 16);

		overview(&out);
		fputs(text_string(&out), stderr);
		text_free(&out);
		return STATUS_USAGE;
	}
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		return print_overview();
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
		return print_version();
	if (strcmp(word, "help") == 0)
		return help(argv[2]);
	if (word[0] == '-') {
		complain("unknown option `%s`; the command comes first: `reeve COMMAND [OPTIONS]`", word);
		return STATUS_USAGE;
	}
	command = command_find(word);
	return command ? command_run(command, argc - 1, argv + 1) : unknown_command(word);
}
