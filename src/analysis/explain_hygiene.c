// SPDX-License-Identifier: GPL-2.0-or-later
#include "analysis/explain_hygiene.h"

#include <errno.h>
#include <netinet/in.h>

#include "analysis/explain_fill.h"

#define TCP_SYN_FLAG 2

static int keep(struct text *text, struct arena *arena, const char **notes, uint32_t *n)
{
	if (!text_error(text))
		notes[*n] = arena_copy(arena, text_string(text), text->len);
	text_free(text);
	if (!notes[*n])
		return -ENOMEM;
	++*n;
	return 0;
}

static int note_source(const struct zone *from, const struct fields *fields, struct arena *arena,
		       const char **notes, uint32_t *n)
{
	struct text text = TEXT_INIT(65536);
	const uint32_t *src = &fields->word[FIELD_SRC];
	uint32_t family = fields->word[FIELD_FAMILY];

	if (from->hygiene.antispoof == ANTISPOOF_OFF || (family == 6 && src[0] >> 22 == 0x3fa))
		return 0;
	text_printf(&text, "antispoof %s: without a live flow it is dropped unless ", from->name);
	if (from->hygiene.antispoof == ANTISPOOF_LOOSE) {
		text_puts(&text, "there is a route back to ");
		explain_address(src, family, &text);
	} else {
		text_puts(&text, "the route back to ");
		explain_address(src, family, &text);
		text_puts(&text, " leaves by the interface it came by");
	}
	return keep(&text, arena, notes, n);
}

static int note_size(const struct zone *from, const struct zone *to, const struct fields *fields,
		     struct arena *arena, const char **notes, uint32_t *n)
{
	const struct zone *zones[2] = { to, from };
	struct text text = TEXT_INIT(65536);
	bool any = false;

	for (unsigned i = 0; i < 2; i++) {
		const struct hygiene *hygiene = &zones[i]->hygiene;

		if (!hygiene->clamp_mss || fields->word[FIELD_PROTOCOL] != IPPROTO_TCP ||
		    !(fields->word[FIELD_TCP_FLAGS] & TCP_SYN_FLAG) || (i && from == to))
			continue;
		text_printf(&text, "%sclamp-mss %s: its segment size is at most ", any ? "; " : "",
			    zones[i]->name);
		if (hygiene->mss)
			text_printf(&text, "%u", hygiene->mss);
		else
			text_puts(&text, "what both interfaces can carry");
		any = true;
	}
	if (any)
		return keep(&text, arena, notes, n);
	text_free(&text);
	return 0;
}

static int note_scrub(const struct zone *to, uint32_t family, struct arena *arena,
		      const char **notes, uint32_t *n)
{
	const struct hygiene *hygiene = &to->hygiene;
	struct text text = TEXT_INIT(65536);
	const char *comma = "";

	text_printf(&text, "scrub %s: it leaves with", to->name);
	if (hygiene->min_ttl) {
		text_printf(&text, " a %s of at least %u", family == 6 ? "hop limit" : "TTL",
			    hygiene->min_ttl);
		comma = ",";
	}
	if (hygiene->no_df && family == 4) {
		text_printf(&text, "%s no DF", comma);
		comma = ",";
	}
	if (hygiene->random_id && family == 4) {
		text_printf(&text, "%s a random identification", comma);
		comma = ",";
	}
	if (*comma)
		return keep(&text, arena, notes, n);
	text_free(&text);
	return 0;
}

int explain_hygiene(const struct ruleset *ruleset, const struct fields *fields, bool passes,
		    struct arena *arena, const char **notes, uint32_t *note_n)
{
	const struct zone *from = &ruleset->zones[fields->word[FIELD_FROM_ZONE]];
	const struct zone *to = &ruleset->zones[fields->word[FIELD_TO_ZONE]];
	bool forwarded = fields->word[FIELD_FROM_ZONE] != ZONE_SELF &&
			 fields->word[FIELD_TO_ZONE] != ZONE_SELF;
	uint32_t n = 0;
	int err = note_source(from, fields, arena, notes, &n);

	if (!err && forwarded && passes)
		err = note_size(from, to, fields, arena, notes, &n);
	if (!err && forwarded && passes)
		err = note_scrub(to, fields->word[FIELD_FAMILY], arena, notes, &n);
	if (!err)
		*note_n = n;
	return err;
}
