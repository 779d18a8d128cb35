// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Canonical text: the inverse of the parser.
 *
 * Parsing the text of a tree gives the same tree (positions aside), so printing is idempotent.
 * Errors of memory stick to the text (base/text.h).
 */
#ifndef REEVE_POLICY_FORMAT_H
#define REEVE_POLICY_FORMAT_H

#include "base/text.h"
#include "policy/tree.h"

/* The whole file, with comments; ends in a newline unless it is empty. */
void format_tree(const struct tree *tree, struct text *out);

/*
 * One rule on one line, without its id and comment: "allow 22/tcp from @admins". Ids are made from
 * it.
 */
void format_rule(const struct tree_rule *rule, struct text *out);

/* The same of a rule in a `nat` block: "forward 8080/tcp to 10.0.0.1:80". */
void format_nat_rule(const struct tree_nat_rule *rule, struct text *out);

/* The same of an `intercept` statement, without its pair: "intercept 80/tcp to 127.0.0.1:3129". */
void format_intercept(const struct tree_intercept *intercept, struct text *out);

/* "default drop", "default reject with admin-prohibited". The policy has a default. */
void format_default(const struct tree_policy *policy, struct text *out);

/* "wan", "{ wan, dmz }". */
void format_words(const struct tree_words *words, struct text *out);

/* "wan -> self", "{ wan, dmz } -> any". */
void format_pair(const struct tree_pair *pair, struct text *out);

/*
 * What a rule is about: "22/tcp from @admins flags syn/syn,ack"; nothing when it is about
 * everything.
 */
void format_match(const struct tree_match *match, struct text *out);

/* "wan -> self 22/tcp from 203.0.113.9". */
void format_question(const struct question *question, struct text *out);

/* One address, prefix, range or set: "10.0.0.0/8", "2001:db8::1", "@admins". */
void format_address(const struct tree_address *address, struct text *out);

/* One service or list of services: "{ 80, 443 }/tcp". */
void format_service(const struct tree_service *service, struct text *out);

#endif
