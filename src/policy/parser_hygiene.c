// SPDX-License-Identifier: GPL-2.0-or-later
/* antispoof, clamp-mss, scrub: what a zone asks for besides its rules. */
#include "policy/parser_state.h"

#include <errno.h>

#include "core/image.h"

int parse_antispoof(struct parser *parser, struct tree_antispoof *antispoof)
{
	int err = parse_words(parser, "a zone", &antispoof->zones);

	if (err)
		return err;
	if (at_word(parser, "strict"))
		return bad_token(parser, "syntax", "leave it out; the other kind is `antispoof ZONE loose`",
				 "is what `antispoof` is without a word");
	antispoof->loose = accept_word(parser, "loose");
	return 0;
}

int parse_clamp_mss(struct parser *parser, struct tree_clamp_mss *clamp)
{
	int err = parse_words(parser, "a zone", &clamp->zones);

	if (err || !accept_word(parser, "to"))
		return err;
	return parse_number(parser, "a segment size", HYGIENE_MSS_MIN, 65495, &clamp->size);
}

/* One word of a scrub, and where its trivia goes. */
static int parse_scrub_entry(struct parser *parser, struct tree_scrub *scrub, int *which)
{
	struct position position = parser->token.position;
	uint32_t ttl = 0;
	bool again;
	int err = 0;

	*which = accept_one_of(parser, tree_scrub_words, TREE_SCRUB_WORDS);
	if (*which < 0)
		return unknown_word(parser, "word of a scrub", tree_scrub_words, TREE_SCRUB_WORDS);
	again = scrub->asked & 1u << *which;
	if (*which == TREE_SCRUB_MIN_TTL)
		err = parse_number(parser, "a TTL", 1, 255, &ttl);
	if (!err && again)
		err = fail(parser, position, "duplicate", NULL, "`%s` is given twice",
			   tree_scrub_words[*which]);
	if (err)
		return err;
	if (*which == TREE_SCRUB_MIN_TTL)
		scrub->min_ttl = (uint8_t)ttl;
	scrub->asked |= 1u << *which;
	return 0;
}

int parse_scrub(struct parser *parser, struct tree_scrub *scrub)
{
	struct list list;
	bool more = true;
	int err = parse_words(parser, "a zone", &scrub->zones);

	if (!err && !at_kind(parser, TOKEN_OPEN))
		err = expected(parser, "`{` and what is to be done",
			       "such as `{ min-ttl 5, no-df, random-id }`");
	if (!err)
		err = list_open(parser, &list);
	while (!err) {
		int which;

		err = list_next(parser, &list, &more);
		if (err || !more)
			break;
		err = parse_scrub_entry(parser, scrub, &which);
		if (!err)
			err = list_entry_end(parser, &list, &scrub->trivia[which]);
	}
	if (err)
		return err;
	if (!scrub->asked)
		return fail(parser, list.open, "syntax", NULL, "this list is empty");
	scrub->closing = list.closing;
	scrub->closing_n = list.closing_n;
	return 0;
}
