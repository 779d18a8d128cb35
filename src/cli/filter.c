// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Filters over flows.
 *
 * The words are a small corner of the policy language, read without its parser, for a filter may
 * come in several arguments, has no statement around it and names zones of the running policy. One
 * row of `keywords` for each word that begins something; a word that is none of them is a service,
 * or the first zone of a pair when an arrow follows.
 */
#include "cli/filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/names.h"
#include "policy/protocols.h"
#include "policy/services.h"

void flow_ends(const struct flow_key *key, const struct flow *flow, struct flow_ends *ends)
{
	bool high = flow->flags & FLOW_ORIGIN_HIGH;

	*ends = (struct flow_ends){
		.from = high ? key->high : key->low,
		.to = high ? key->low : key->high,
		.from_port = high ? key->high_port : key->low_port,
		.to_port = high ? key->low_port : key->high_port,
	};
}

/* --- reading --- */

struct reader {
	const struct ruleset *ruleset;
	char **words; /* owned by filter_parse */
	size_t word_n, at;
	struct filter *filter;
	struct text *why;
};

static int number_parse(const char *string, size_t len, unsigned max, unsigned *number)
{
	unsigned value = 0;

	if (len == 0 || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (string[i] < '0' || string[i] > '9')
			return -EINVAL;
		value = value * 10 + (unsigned)(string[i] - '0');
	}
	if (value > max)
		return -EINVAL;
	*number = value;
	return 0;
}

static int prefix_parse(const char *word, struct filter_prefix *prefix)
{
	struct filter_prefix made = { 0 };
	cleanup_free char *address = strdup(word);
	char *slash = address ? strchr(address, '/') : NULL;
	unsigned bits, width;
	uint32_t wire[4] = { 0 };

	if (!address)
		return -ENOMEM;
	if (slash)
		*slash = '\0';
	if (inet_pton(AF_INET, address, wire) == 1)
		made.family = 4;
	else if (inet_pton(AF_INET6, address, wire) == 1)
		made.family = 6;
	else
		return -EINVAL;
	width = bits = made.family == 4 ? 32 : 128;
	if (slash && number_parse(slash + 1, strlen(slash + 1), width, &bits))
		return -EINVAL;
	for (unsigned i = 0; i < 4; i++) {
		unsigned left = bits > i * 32 ? bits - i * 32 : 0;

		made.mask[i] = left >= 32 ? ~0u : left ? ~0u << (32 - left) : 0;
		made.address[i] = ntohl(wire[i]) & made.mask[i];
	}
	*prefix = made;
	return 0;
}

static int read_prefix(struct reader *reader, const char *word, struct filter_prefix *prefix)
{
	int err = prefix_parse(word, prefix);

	if (err == -EINVAL)
		text_printf(reader->why, "`%s` is no address and no prefix such as 192.0.2.0/24", word);
	return err;
}

static int read_from(struct reader *reader, const char *word)
{
	return read_prefix(reader, word, &reader->filter->from);
}

static int read_to(struct reader *reader, const char *word)
{
	return read_prefix(reader, word, &reader->filter->to);
}

static int zone_tag(struct reader *reader, const char *word, uint16_t *tag)
{
	const struct ruleset *ruleset = reader->ruleset;
	cleanup_free const char **names = NULL;
	const char *nearest;
	int zone;

	if (strcmp(word, "any") == 0) {
		*tag = ANY_ZONE_TAG;
		return 0;
	}
	zone = ruleset_zone(ruleset, word);
	if (zone >= 0) {
		*tag = ruleset->zones[zone].tag;
		return 0;
	}
	names = calloc(ruleset->zone_n + 1, sizeof(*names));
	if (!names)
		return -ENOMEM;
	for (uint32_t i = 0; i < ruleset->zone_n; i++)
		names[i] = ruleset->zones[i].name;
	nearest = nearest_word(word, names, ruleset->zone_n);
	text_printf(reader->why, "unknown zone `%s`", word);
	if (nearest)
		text_printf(reader->why, "; did you mean `%s`?", nearest);
	return -EINVAL;
}

static int read_zone(struct reader *reader, const char *word)
{
	return zone_tag(reader, word, &reader->filter->zone_tag);
}

static int read_state(struct reader *reader, const char *word)
{
	const char *const *names;
	const char *nearest;
	size_t n;

	names = flow_state_names(&n);
	for (size_t i = 1; i < n; i++) {
		if (strcmp(names[i], word) != 0)
			continue;
		reader->filter->states |= 1u << i;
		return 0;
	}
	nearest = nearest_word(word, names, n);
	text_printf(reader->why, "unknown state `%s`; ", word);
	if (nearest) {
		text_printf(reader->why, "did you mean `%s`?", nearest);
		return -EINVAL;
	}
	text_puts(reader->why, "states are");
	for (size_t i = 1; i < n; i++)
		text_printf(reader->why, "%s %s", i > 1 ? "," : "", names[i]);
	return -EINVAL;
}

static int read_embryonic(struct reader *reader, const char *word)
{
	(void)word;
	reader->filter->embryonic = true;
	return 0;
}

static const struct keyword {
	const char *name;
	bool has_word; /* the next word belongs to it */
	int (*read)(struct reader *reader, const char *word);
} keywords[] = {
	{ "from", true, read_from },
	{ "to", true, read_to },
	{ "zone", true, read_zone },
	{ "state", true, read_state },
	{ "embryonic", false, read_embryonic },
};

#define KEYWORDS (sizeof(keywords) / sizeof(keywords[0]))

static int service_add(struct reader *reader, struct filter_service service)
{
	struct filter *filter = reader->filter;

	if (filter->service_n == FILTER_PARTS_MAX) {
		text_printf(reader->why, "more than %d services", FILTER_PARTS_MAX);
		return -EINVAL;
	}
	filter->services[filter->service_n++] = service;
	return 0;
}

/* A service by name: of reeve's table, then of /etc/services. */
static int read_named_service(struct reader *reader, const char *word)
{
	struct arena arena = { .cap = (size_t)64 << 20 };
	struct source_set sources = { 0 };
	struct services services = { .arena = &arena, .sources = &sources };
	struct service_port ports[SERVICE_PORTS_MAX];
	const char *more[KEYWORDS], *nearest;
	unsigned n = 0;
	int err;

	for (size_t i = 0; i < KEYWORDS; i++)
		more[i] = keywords[i].name;
	err = services_find(&services, word, ports, &n);
	if (err == -ENOENT) {
		nearest = services_nearest(&services, word, more, KEYWORDS);
		text_printf(reader->why, "unknown word `%s`", word);
		if (nearest)
			text_printf(reader->why, "; did you mean `%s`?", nearest);
		err = -EINVAL;
	}
	for (unsigned i = 0; !err && i < n; i++)
		err = service_add(reader, (struct filter_service){ ports[i].protocol, true,
								   ports[i].port, ports[i].port });
	source_set_free(&sources);
	arena_free(&arena);
	return err;
}

/* `22/tcp`, `6000-6063/tcp`, `53`, `tcp`, or a name. */
static int read_service(struct reader *reader, const char *word)
{
	size_t len = strcspn(word, "/"), first = strcspn(word, "-/");
	struct filter_service service = { .ports = true };
	unsigned lo, hi;
	int protocol;

	if (number_parse(word, first, 65535, &lo) == 0) {
		hi = lo;
		if (first < len && number_parse(word + first + 1, len - first - 1, 65535, &hi)) {
			text_printf(reader->why, "`%s`: expected ports such as 22 or 6000-6063", word);
			return -EINVAL;
		}
		service.lo = (uint16_t)lo;
		service.hi = (uint16_t)hi;
		protocol = word[len] ? protocol_find(word + len + 1) : 0;
		if (protocol < 0 || (word[len] && !protocol_has_ports((uint8_t)protocol))) {
			text_printf(reader->why, "`%s`: `%s` is no protocol with ports", word,
				    word + len + 1);
			return -EINVAL;
		}
		service.protocol = (uint8_t)protocol;
		return service_add(reader, service);
	}
	protocol = protocol_find(word);
	if (protocol > 0)
		return service_add(reader, (struct filter_service){ .protocol = (uint8_t)protocol });
	return read_named_service(reader, word);
}

/*
 * `wan -> self`, the arrow with or without spaces. Returns 1 when there was no pair, else 0 or an
 * error.
 */
static int read_pair(struct reader *reader)
{
	char *word = reader->words[reader->at], *arrow = strstr(word, "->");
	char *next = reader->at + 1 < reader->word_n ? reader->words[reader->at + 1] : NULL;
	const char *to = NULL;
	int err;

	if (arrow) {
		*arrow = '\0';
		to = arrow[2] ? arrow + 2 : next;
		reader->at += arrow[2] ? 1 : 2;
	} else if (next && strncmp(next, "->", 2) == 0) {
		to = next[2] ? next + 2
		   : reader->at + 2 < reader->word_n ? reader->words[reader->at + 2] : NULL;
		reader->at += next[2] ? 2 : 3;
	} else {
		return 1;
	}
	if (!to || !word[0]) {
		text_puts(reader->why, "a pair names two zones: `wan -> self`");
		return -EINVAL;
	}
	err = zone_tag(reader, word, &reader->filter->from_tag);
	return err ? err : zone_tag(reader, to, &reader->filter->to_tag);
}

static int read_part(struct reader *reader)
{
	const char *word;
	int err = read_pair(reader);

	if (err <= 0)
		return err;
	word = reader->words[reader->at++];
	for (size_t i = 0; i < KEYWORDS; i++) {
		if (strcmp(keywords[i].name, word) != 0)
			continue;
		if (!keywords[i].has_word)
			return keywords[i].read(reader, NULL);
		if (reader->at == reader->word_n) {
			text_printf(reader->why, "`%s` needs a word behind it", word);
			return -EINVAL;
		}
		return keywords[i].read(reader, reader->words[reader->at++]);
	}
	return read_service(reader, word);
}

static char *join(const char *const *words, int word_n)
{
	struct text all = TEXT_INIT(1 << 20);
	char *string;

	text_putc(&all, ' ');
	for (int i = 0; i < word_n; i++)
		text_printf(&all, "%s ", words[i]);
	string = text_take(&all);
	text_free(&all);
	return string;
}

int filter_parse(const struct ruleset *ruleset, const char *const *words, int word_n,
		 struct filter *filter, struct text *why)
{
	struct filter made = { 0 };
	struct reader reader = { .ruleset = ruleset, .filter = &made, .why = why };
	cleanup_free char *all = join(words, word_n);
	cleanup_free char **split = all ? calloc(strlen(all) / 2 + 1, sizeof(*split)) : NULL;
	char *rest = NULL;
	int err = 0;

	if (!split)
		return -ENOMEM;
	for (char *word = strtok_r(all, " \t\r\n", &rest); word; word = strtok_r(NULL, " \t\r\n", &rest))
		split[reader.word_n++] = word;
	reader.words = split;
	while (!err && reader.at < reader.word_n)
		err = read_part(&reader);
	if (!err)
		*filter = made;
	return err;
}

/* --- matching --- */

static bool service_matches(const struct filter_service *service, uint8_t protocol, uint16_t port)
{
	if (service->protocol ? protocol != service->protocol
			      : protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return false;
	return !service->ports || (port >= service->lo && port <= service->hi);
}

static bool prefix_matches(const struct filter_prefix *prefix, uint8_t family,
			   const uint32_t *address)
{
	if (!prefix->family)
		return true;
	if (prefix->family != family)
		return false;
	for (int i = 0; i < (family == 4 ? 1 : 4); i++)
		if ((address[i] & prefix->mask[i]) != prefix->address[i])
			return false;
	return true;
}

static bool tag_matches(uint16_t wanted, uint16_t tag)
{
	return !wanted || wanted == tag || (wanted == ANY_ZONE_TAG && tag != IMAGE_TAG_SELF);
}

bool filter_matches(const struct filter *filter, const struct flow_key *key,
		    const struct flow *flow, bool embryonic)
{
	struct flow_ends ends;
	bool service = filter->service_n == 0;

	if (filter->embryonic && !embryonic)
		return false;
	if (filter->states && (flow->state >= 32 || !(filter->states & 1u << flow->state)))
		return false;
	if (!tag_matches(filter->from_tag, flow->from_tag) || !tag_matches(filter->to_tag, flow->to_tag))
		return false;
	if (!tag_matches(filter->zone_tag, flow->from_tag)
	    && !tag_matches(filter->zone_tag, flow->to_tag))
		return false;
	flow_ends(key, flow, &ends);
	for (unsigned i = 0; !service && i < filter->service_n; i++)
		service = service_matches(&filter->services[i], key->protocol, ends.to_port);
	return service && prefix_matches(&filter->from, key->family, ends.from)
	    && prefix_matches(&filter->to, key->family, ends.to);
}
