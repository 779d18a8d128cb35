// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Canonical text of a tree: comments, empty lines, blocks, and for each statement or rule whether
 * it fits.
 *
 * A line is printed flat first (format_node.c). If no list in it had to be broken for its comments
 * and the line is longer than FORMAT_WIDTH, it is printed again with its longest list broken. All
 * this follows from the tree alone, never from how lines were broken in the source, except for one
 * thing: a block that was written on one line stays there if it has one statement and fits. So
 * printing what was printed changes nothing.
 *
 * Names of consecutive zones, sets or services are padded to one width; an empty line or a comment
 * begins a new group.
 */
#include "policy/format_node.h"

#include <string.h>

#define LONG_LIST 40

/* --- lines -------------------------------------------------------------- */

/* What is printed on one line if it fits; one of the four is set. */
struct line {
	const struct tree_statement *statement;
	const struct tree_rule *rule;
	const struct tree_nat_rule *nat_rule;
	const struct tree_setting *setting;
};

static void print_line(struct layout *layout, const struct line *line)
{
	if (line->statement) {
		print_head(layout, line->statement);
	} else if (line->rule) {
		print_rule(layout, line->rule);
	} else if (line->nat_rule) {
		print_nat_rule(layout, line->nat_rule);
	} else {
		print_word(layout, &line->setting->name);
		text_putc(layout->out, ' ');
		print_word(layout, &line->setting->value);
	}
}

/* Prints a line, broken if it must be. `more` bytes will follow on its last line. */
static void fit_line(struct layout *layout, const struct line *line, size_t more)
{
	struct text first = TEXT_INIT(layout->out->cap);
	struct layout attempt = *layout;
	size_t width;

	attempt.out = &first;
	print_line(&attempt, line);
	width = first.len + more + layout->indent * FORMAT_INDENT;
	/* A short list is not broken when that does not make the line fit. */
	if (!attempt.broke && attempt.longest && width > FORMAT_WIDTH &&
	    (attempt.longest_len > LONG_LIST || width - attempt.longest_len <= FORMAT_WIDTH)) {
		struct layout again = *layout;

		again.out = &first;
		again.breaks = attempt.longest;
		text_free(&first);
		print_line(&again, line);
	}
	if (text_error(&first) && !layout->out->error)
		layout->out->error = text_error(&first);
	text_add(layout->out, text_string(&first), first.len);
	text_free(&first);
}

static void print_leading(struct layout *layout, const struct tree_trivia *trivia, bool first)
{
	if (!trivia)
		return;
	print_comments(layout, trivia->leading, trivia->leading_n, first);
	if (trivia->blank_before && !(first && !trivia->leading_n))
		text_putc(layout->out, '\n');
}

static void print_trailing(struct layout *layout, const struct tree_trivia *trivia)
{
	if (trivia && trivia->trailing) {
		text_puts(layout->out, "  ");
		print_comment(layout, trivia->trailing);
	}
}

/* --- blocks ------------------------------------------------------------- */

struct block_view {
	const struct tree_block *block;
	uint32_t n;
};

/* The block of a statement; its `block` is NULL if there is none. */
static struct block_view block_of(const struct tree_statement *statement)
{
	switch (statement->kind) {
	case TREE_POLICY:
		if (!statement->policy.has_block)
			break;
		return (struct block_view){ &statement->policy.block, statement->policy.rule_n };
	case TREE_NAT:
		return (struct block_view){ &statement->nat.block, statement->nat.rule_n };
	case TREE_EARLY:
		return (struct block_view){ &statement->early.block, statement->early.rule_n };
	case TREE_OPTIONS:
		return (struct block_view){ &statement->settings.block, statement->settings.n };
	default:
		break;
	}
	return (struct block_view){ 0 };
}

/* Statement i of a block, and its trivia. */
static struct line block_line(const struct tree_statement *statement, uint32_t i,
			      const struct tree_trivia **trivia)
{
	struct line line = { 0 };

	switch (statement->kind) {
	case TREE_NAT:
		line.nat_rule = &statement->nat.rules[i];
		*trivia = line.nat_rule->trivia;
		break;
	case TREE_OPTIONS:
		line.setting = &statement->settings.items[i];
		*trivia = line.setting->name.trivia;
		break;
	default:
		line.rule = statement->kind == TREE_EARLY ? &statement->early.rules[i] :
							    &statement->policy.rules[i];
		*trivia = line.rule->trivia;
		break;
	}
	return line;
}

/*
 * The whole block as ` { … }` if it may stand on one line with what is before it; else false and
 * nothing printed.
 */
static bool print_inline_block(struct layout *layout, const struct tree_statement *statement,
			       const struct block_view *view, size_t line_start)
{
	const struct tree_trivia *trivia = NULL;
	struct text text = TEXT_INIT(layout->out->cap);
	struct layout attempt = { .out = &text, .with_id = true };
	struct line line;
	bool fits;

	if (view->block->opening || view->block->closing_n || view->n > 1 ||
	    (view->n == 1 && !view->block->inline_block))
		return false;
	if (view->n == 0) {
		text_puts(layout->out, " { }");
		return true;
	}
	line = block_line(statement, 0, &trivia);
	if (has_comment(trivia))
		return false;
	text_puts(&text, " { ");
	print_line(&attempt, &line);
	text_puts(&text, " }");
	fits = !attempt.broke && !text_error(&text) &&
	       layout->out->len - line_start + text.len <= FORMAT_WIDTH;
	if (fits)
		text_add(layout->out, text_string(&text), text.len);
	text_free(&text);
	return fits;
}

static void print_block(struct layout *layout, const struct tree_statement *statement,
			const struct block_view *view)
{
	text_puts(layout->out, " {");
	if (view->block->opening) {
		text_puts(layout->out, "  ");
		print_comment(layout, view->block->opening);
	}
	layout->indent++;
	for (uint32_t i = 0; i < view->n; i++) {
		const struct tree_trivia *trivia;
		struct line line = block_line(statement, i, &trivia);

		print_leading(layout, trivia, i == 0);
		new_line(layout);
		fit_line(layout, &line, 0);
		print_trailing(layout, trivia);
	}
	print_comments(layout, view->block->closing, view->block->closing_n, view->n == 0);
	layout->indent--;
	new_line(layout);
	text_putc(layout->out, '}');
}

/* --- the file ----------------------------------------------------------- */

static const struct tree_word *defined_name(const struct tree_statement *statement)
{
	switch (statement->kind) {
	case TREE_ZONE:
		return &statement->zone.name;
	case TREE_SET:
		return &statement->set.name;
	case TREE_SERVICE:
		return &statement->service.name;
	default:
		return NULL;
	}
}

static size_t word_width(const struct tree_word *word)
{
	size_t width = 0;

	for (const char *c = word->text; *c; c++)
		width += word->quoted && (*c == '"' || *c == '\\') ? 2 : 1;
	return width + (word->quoted ? 2 : 0);
}

/* The width of names in the group that begins at statement `first`, and where it ends. */
static unsigned group_width(const struct tree *tree, uint32_t first, uint32_t *end)
{
	size_t width = 0;
	uint32_t i = first;

	do {
		size_t one = word_width(defined_name(tree->statements[i]));

		width = one > width ? one : width;
		i++;
	} while (i < tree->n && tree->statements[i]->kind == tree->statements[first]->kind &&
		 !(tree->statements[i]->trivia && (tree->statements[i]->trivia->leading_n ||
						   tree->statements[i]->trivia->blank_before)));
	*end = i;
	return (unsigned)width;
}

static void print_statement(struct layout *layout, const struct tree_statement *statement,
			    bool first)
{
	struct line line = { .statement = statement };
	struct block_view view = block_of(statement);
	size_t start;

	print_leading(layout, statement->trivia, first);
	new_line(layout);
	start = layout->out->len;
	fit_line(layout, &line, view.block ? strlen(" {") : 0);
	if (view.block) {
		const char *text = text_string(layout->out);
		const char *newline = memrchr(text + start, '\n', layout->out->len - start);

		if (newline)
			start = (size_t)(newline - text) + 1;
		if (!print_inline_block(layout, statement, &view, start))
			print_block(layout, statement, &view);
	}
	print_trailing(layout, statement->trivia);
}

void format_tree(const struct tree *tree, struct text *out)
{
	struct text body = TEXT_INIT(out->cap);
	struct layout layout = { .out = &body, .with_id = true };
	uint32_t group_end = 0;

	for (uint32_t i = 0; i < tree->n; i++) {
		if (i >= group_end) {
			layout.name_width = 0;
			group_end = i + 1;
			if (defined_name(tree->statements[i]))
				layout.name_width = group_width(tree, i, &group_end);
		}
		print_statement(&layout, tree->statements[i], i == 0);
	}
	print_comments(&layout, tree->closing, tree->closing_n, tree->n == 0);
	/* Every line began with its newline; the file ends with one instead. */
	if (body.len) {
		text_putc(&body, '\n');
		text_add(out, body.bytes + 1, body.len - 1);
	}
	if (text_error(&body) && !out->error)
		out->error = text_error(&body);
	text_free(&body);
}

void format_rule(const struct tree_rule *rule, struct text *out)
{
	struct layout layout = { .out = out, .flat = true };

	print_rule(&layout, rule);
}

void format_nat_rule(const struct tree_nat_rule *rule, struct text *out)
{
	struct layout layout = { .out = out, .flat = true };

	print_nat_rule(&layout, rule);
}

void format_intercept(const struct tree_intercept *intercept, struct text *out)
{
	struct layout layout = { .out = out, .flat = true };

	text_puts(out, tree_statement_words[TREE_INTERCEPT]);
	print_intercept(&layout, intercept);
}

void format_default(const struct tree_policy *policy, struct text *out)
{
	struct layout layout = { .out = out, .flat = true };

	print_default(&layout, policy);
}

void format_words(const struct tree_words *words, struct text *out)
{
	struct layout layout = { .out = out, .flat = true };

	print_words(&layout, words);
}

void format_pair(const struct tree_pair *pair, struct text *out)
{
	struct layout layout = { .out = out, .flat = true };

	print_pair(&layout, pair);
}

void format_match(const struct tree_match *match, struct text *out)
{
	struct text spaced = TEXT_INIT(out->cap);
	struct layout layout = { .out = &spaced, .flat = true };

	print_match(&layout, match);
	if (spaced.len)
		text_add(out, spaced.bytes + 1, spaced.len - 1);
	if (text_error(&spaced) && !out->error)
		out->error = text_error(&spaced);
	text_free(&spaced);
}

void format_question(const struct question *question, struct text *out)
{
	struct layout layout = { .out = out, .flat = true };

	print_word(&layout, &question->from);
	text_puts(out, " -> ");
	print_word(&layout, &question->to);
	print_match(&layout, &question->match);
}

void format_address(const struct tree_address *address, struct text *out)
{
	struct layout layout = { .out = out, .flat = true };

	print_address(&layout, address);
}

void format_service(const struct tree_service *service, struct text *out)
{
	struct layout layout = { .out = out, .flat = true };

	print_service(&layout, service);
}
