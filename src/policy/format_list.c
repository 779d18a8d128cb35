// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/format_node.h"

#include <string.h>

#include "policy/lexer.h"

/* --- comments and lists ------------------------------------------------- */

void new_line(struct layout *layout)
{
	text_printf(layout->out, "\n%*s", (int)(layout->indent * FORMAT_INDENT), "");
}

void print_comment(struct layout *layout, const char *text)
{
	text_putc(layout->out, '#');
	if (*text && *text != '#' && *text != '!')
		text_putc(layout->out, ' ');
	text_puts(layout->out, text);
}

void print_comments(struct layout *layout, const struct tree_comment *comments, uint32_t n,
		    bool first)
{
	for (uint32_t i = 0; i < n; i++) {
		if (comments[i].blank_before && !(first && i == 0))
			text_putc(layout->out, '\n');
		new_line(layout);
		print_comment(layout, comments[i].text);
	}
}

bool has_comment(const struct tree_trivia *trivia)
{
	return trivia && (trivia->leading_n || trivia->trailing);
}

struct open_list print_list_begin(struct layout *layout, const void *address, bool comments)
{
	struct open_list list = { .address = address, .start = layout->out->len };

	list.broken = !layout->flat && (comments || layout->breaks == address);
	text_putc(layout->out, '{');
	layout->lists++;
	if (list.broken) {
		layout->broke = true;
		layout->indent++;
	}
	return list;
}

void print_list_entry(struct layout *layout, struct open_list *list,
		      const struct tree_trivia *trivia)
{
	bool first = list->n++ == 0;

	list->trivia = trivia;
	if (!list->broken) {
		text_puts(layout->out, first ? " " : ", ");
		return;
	}
	if (trivia) {
		print_comments(layout, trivia->leading, trivia->leading_n, first);
		if (trivia->blank_before && !(first && !trivia->leading_n))
			text_putc(layout->out, '\n');
	}
	new_line(layout);
}

void print_list_entry_end(struct layout *layout, struct open_list *list)
{
	if (!list->broken)
		return;
	text_putc(layout->out, ',');
	if (list->trivia && list->trivia->trailing) {
		text_puts(layout->out, "  ");
		print_comment(layout, list->trivia->trailing);
	}
}

void print_list_end(struct layout *layout, struct open_list *list,
		    const struct tree_comment *closing, uint32_t closing_n)
{
	layout->lists--;
	if (list->broken) {
		print_comments(layout, closing, closing_n, list->n == 0);
		layout->indent--;
		new_line(layout);
		text_putc(layout->out, '}');
		return;
	}
	text_puts(layout->out, " }");
	if (layout->lists == 0 && list->n && layout->out->len - list->start > layout->longest_len) {
		layout->longest = list->address;
		layout->longest_len = layout->out->len - list->start;
	}
}

/* --- words -------------------------------------------------------------- */

void print_quoted(struct layout *layout, const char *text)
{
	text_putc(layout->out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			text_putc(layout->out, '\\');
		text_putc(layout->out, *text);
	}
	text_putc(layout->out, '"');
}

void print_word(struct layout *layout, const struct tree_word *word)
{
	if (word->quoted)
		print_quoted(layout, word->text);
	else
		text_puts(layout->out, word->text);
}

void print_name(struct layout *layout, const char *name)
{
	if (name_is_plain(name, strlen(name)))
		text_puts(layout->out, name);
	else
		print_quoted(layout, name);
}

void print_words(struct layout *layout, const struct tree_words *words)
{
	struct open_list list;
	bool comments = words->closing_n > 0;

	if (!words->braces) {
		print_word(layout, &words->items[0]);
		return;
	}
	for (uint32_t i = 0; i < words->n; i++)
		comments |= has_comment(words->items[i].trivia);
	list = print_list_begin(layout, words->items, comments);
	for (uint32_t i = 0; i < words->n; i++) {
		print_list_entry(layout, &list, words->items[i].trivia);
		print_word(layout, &words->items[i]);
		print_list_entry_end(layout, &list);
	}
	print_list_end(layout, &list, words->closing, words->closing_n);
}

void print_pair(struct layout *layout, const struct tree_pair *pair)
{
	print_words(layout, &pair->from);
	text_puts(layout->out, " -> ");
	print_words(layout, &pair->to);
}

void print_duration(struct layout *layout, uint32_t seconds)
{
	size_t unit = TREE_UNITS - 1;

	while (unit > 0 && seconds % tree_units[unit].seconds)
		unit--;
	text_printf(layout->out, "%u%c", seconds / tree_units[unit].seconds,
		    tree_units[unit].letter);
}
