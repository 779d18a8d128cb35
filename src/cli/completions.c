// SPDX-License-Identifier: GPL-2.0-or-later
/* Shell completion, made from the table of commands. */
#include <string.h>

#include "cli/output.h"

static void add_bash_row(const struct command *command, struct text *out)
{
	text_printf(out, "\t%s) words=\"--%s", command->name, option_table[OPTION_HELP].name);
	for (unsigned id = 0; id < OPTIONS; id++)
		if (command->options & OPTION_BIT(id))
			text_printf(out, " --%s", option_table[id].name);
	text_printf(out, "\"; files=%d ;;\n", strcmp(command->operands, "FILE") == 0);
}

static void add_bash(struct text *out)
{
	text_puts(out, "# bash completion for reeve; made by `reeve completions bash`\n"
		       "_reeve() {\n"
		       "\tlocal word=${COMP_WORDS[COMP_CWORD]} previous= words= files=0\n"
		       "\tCOMPREPLY=()\n"
		       "\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n"
		       "\t\tCOMPREPLY=($(compgen -W \"");
	for (size_t i = 0; i < command_n; i++)
		if (!command_table[i].hidden)
			text_printf(out, "%s ", command_table[i].name);
	text_puts(out, "help --help --version\" -- \"$word\"))\n"
		       "\t\treturn\n"
		       "\tfi\n"
		       "\tprevious=${COMP_WORDS[COMP_CWORD-1]}\n"
		       "\tcase ${COMP_WORDS[1]} in\n");
	for (size_t i = 0; i < command_n; i++)
		if (!command_table[i].hidden)
			add_bash_row(&command_table[i], out);
	text_puts(out, "\tesac\n"
		       "\tcase $previous in\n");
	for (unsigned id = 0; id < OPTIONS; id++)
		if (option_table[id].argument)
			text_printf(out, "\t-%c|--%s) words=; files=%d ;;\n", option_table[id].letter,
				    option_table[id].name,
				    strcmp(option_table[id].argument, "FILE") == 0);
	text_puts(out, "\tesac\n"
		       "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
		       "\tif [ \"$files\" = 1 ]; then\n"
		       "\t\tCOMPREPLY+=($(compgen -f -- \"$word\"))\n"
		       "\tfi\n"
		       "}\n"
		       "complete -o filenames -F _reeve reeve\n");
}

int command_completions(const struct arguments *arguments)
{
	struct text out = TEXT_INIT(1 << 16);

	if (strcmp(arguments->words[0], "bash") != 0)
		return usage_error(arguments, "unknown shell `%s`; known is `bash`",
				   arguments->words[0]);
	add_bash(&out);
	output_write(&out);
	return STATUS_DONE;
}
