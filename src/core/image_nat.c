// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include "core/image.h"

#include <stdbool.h>
#include <stdint.h>

static bool all_zero(const uint32_t *words, unsigned n)
{
	uint32_t any = 0;

	while (n--)
		any |= words[n];
	return !any;
}

/* The bits of word `word` that a prefix of this length leaves free. */
static uint32_t host_bits(unsigned prefix, unsigned word)
{
	if (prefix >= word * 32 + 32)
		return 0;
	return prefix <= word * 32 ? UINT32_MAX : UINT32_MAX >> (prefix - word * 32);
}

static bool addresses_ordered(const struct image_translation *entry)
{
	unsigned i;

	for (i = 0; i < 3 && entry->lo[i] == entry->hi[i]; i++)
		;
	return entry->lo[i] <= entry->hi[i];
}

static const char *prefix_wrong(const struct image_translation *entry)
{
	unsigned i, words = entry->family == 4 ? 1 : 4;

	if (!(entry->flags & TRANSLATE_PREFIX))
		return entry->prefix || !all_zero(entry->from_lo, 4) ?
			       "a translation has a prefix it does not use" :
			       NULL;
	if (!entry->family || entry->n != 1 || entry->prefix > words * 32)
		return "a translation's prefix out of range";
	for (i = 0; i < words; i++) {
		uint32_t bits = host_bits(entry->prefix, i);

		if (entry->lo[i] & bits || entry->from_lo[i] & bits ||
		    entry->hi[i] != (entry->lo[i] | bits))
			return "a translation's prefix is none";
	}
	return NULL;
}

static const char *addresses_wrong(const struct image_translation *entry)
{
	if (entry->kind == TRANSLATE_MASQUERADE) {
		if (entry->family || !all_zero(entry->lo, 4) || !all_zero(entry->hi, 4))
			return "masquerading has a target";
		return NULL;
	}
	if (entry->family != 4 && entry->family != 6)
		return "unknown family of a translation";
	if (!addresses_ordered(entry) ||
	    (entry->family == 4 && (!all_zero(entry->lo + 1, 3) || !all_zero(entry->hi + 1, 3) ||
				    !all_zero(entry->from_lo + 1, 3))))
		return "addresses of a translation out of range";
	return NULL;
}

static const char *ports_wrong(const struct image_translation *entry)
{
	unsigned span = (unsigned)entry->port_hi - entry->port_lo;

	if (!(entry->flags & TRANSLATE_PORTS))
		return entry->port_lo || entry->port_hi || entry->match_port_lo ?
			       "a translation has ports it does not use" :
			       NULL;
	if (!entry->port_lo || entry->port_lo > entry->port_hi || entry->flags & TRANSLATE_PREFIX)
		return "ports of a translation out of range";
	if (entry->kind == TRANSLATE_INTERCEPT && span)
		return "ports of a translation out of range";
	if (entry->match_port_lo + span > UINT16_MAX ||
	    (entry->kind != TRANSLATE_FORWARD && entry->match_port_lo))
		return "matched ports of a translation out of range";
	return NULL;
}

/* Which flags each kind may have. */
static const uint8_t flags_of[] = {
	[TRANSLATE_SOURCE] = TRANSLATE_PREFIX | TRANSLATE_FULL_CONE | TRANSLATE_PORTS,
	[TRANSLATE_MASQUERADE] = TRANSLATE_PREFIX | TRANSLATE_FULL_CONE | TRANSLATE_PORTS,
	[TRANSLATE_FORWARD] = TRANSLATE_PREFIX | TRANSLATE_PORTS,
	[TRANSLATE_INTERCEPT] = TRANSLATE_PORTS | TRANSLATE_PASS,
};

/* Flows are handed to one listener. */
static const char *interception_wrong(const struct image_translation *entry)
{
	if (entry->kind != TRANSLATE_INTERCEPT)
		return NULL;
	if (entry->n != 1 || !(entry->flags & TRANSLATE_PORTS))
		return "an interception has no target, or several";
	for (unsigned i = 0; i < 4; i++)
		if (entry->lo[i] != entry->hi[i])
			return "an interception has no target, or several";
	return NULL;
}

/* `left`: entries from this one on. */
static const char *entry_wrong(const struct image_translation *entry, uint32_t left)
{
	const char *why;
	uint32_t i;

	if (entry->kind == TRANSLATE_NONE || entry->kind > TRANSLATE_INTERCEPT)
		return "unknown kind of translation";
	if (entry->flags & ~flags_of[entry->kind])
		return "unknown flag of a translation";
	if (!entry->n || entry->n > left)
		return "alternatives of a translation out of bounds";
	/* Those behind the first have none of their own, so this is linear in all. */
	for (i = 1; i < entry->n; i++) {
		if (entry[i].n != 1)
			return "alternatives within alternatives of a translation";
		if (entry[i].kind != entry->kind || entry[i].family != entry->family)
			return "alternatives of a translation differ in kind";
	}
	if (entry->reserved)
		return "reserved part of a translation is not zero";
	why = interception_wrong(entry);
	if (!why)
		why = addresses_wrong(entry);
	if (!why)
		why = prefix_wrong(entry);
	return why ? why : ports_wrong(entry);
}

const char *image_translations_wrong(const struct image_translation *entries, uint32_t n)
{
	const char *why = NULL;

	for (uint32_t i = 0; i < n && !why; i++)
		why = entry_wrong(&entries[i], n - i);
	return why;
}
