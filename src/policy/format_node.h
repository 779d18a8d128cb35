// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the files of the formatter share. For src/policy/format*.c only.
 */
#ifndef REEVE_POLICY_FORMAT_NODE_H
#define REEVE_POLICY_FORMAT_NODE_H

#include "policy/format.h"

#define FORMAT_WIDTH 100
#define FORMAT_INDENT 4

struct layout {
	struct text *out;
	unsigned indent;
	unsigned lists;	     /* open lists */
	bool flat;	     /* everything on one line, comments left out */
	bool with_id;	     /* print `id NAME` */
	bool broke;	     /* some list was broken */
	const void *breaks;  /* the list to break, by its address */
	const void *longest; /* the longest list that was printed flat, and its length */
	size_t longest_len;
	unsigned name_width; /* names of definitions are padded to it */
};

/* Prints a newline and the indent. */
void new_line(struct layout *layout);
/* `# text`, to the end of the line. */
void print_comment(struct layout *layout, const char *text);
/*
 * Comment lines, each begun by a newline; `first` of a block or list has no empty line before it.
 */
void print_comments(struct layout *layout, const struct tree_comment *comments, uint32_t n,
		    bool first);
bool has_comment(const struct tree_trivia *trivia);

struct open_list {
	const void *address;
	size_t start; /* of its text */
	bool broken;
	uint32_t n;
	const struct tree_trivia *trivia; /* of the current entry */
};

/*
 * A list in braces: begin, then an entry and its end for each, then the end. `address` tells this
 * list from others of its line; `comments`: there are some in it, so that it must be broken.
 */
struct open_list print_list_begin(struct layout *layout, const void *address, bool comments);
void print_list_entry(struct layout *layout, struct open_list *list,
		      const struct tree_trivia *trivia);
void print_list_entry_end(struct layout *layout, struct open_list *list);
void print_list_end(struct layout *layout, struct open_list *list,
		    const struct tree_comment *closing, uint32_t closing_n);

/* A name, in quotes if it needs them; a text, always in quotes. */
void print_name(struct layout *layout, const char *name);
void print_quoted(struct layout *layout, const char *text);
void print_words(struct layout *layout, const struct tree_words *words);
void print_duration(struct layout *layout, uint32_t seconds);

void print_word(struct layout *layout, const struct tree_word *word);
void print_pair(struct layout *layout, const struct tree_pair *pair);
void print_address(struct layout *layout, const struct tree_address *address);
void print_service(struct layout *layout, const struct tree_service *service);
/* Every part with a blank before it. */
void print_match(struct layout *layout, const struct tree_match *match);
void print_rule(struct layout *layout, const struct tree_rule *rule);
void print_nat_rule(struct layout *layout, const struct tree_nat_rule *rule);
void print_intercept(struct layout *layout, const struct tree_intercept *intercept);
void print_default(struct layout *layout, const struct tree_policy *policy);
/* A statement up to its block, if it has one. */
void print_head(struct layout *layout, const struct tree_statement *statement);

#endif
