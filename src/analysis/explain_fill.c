// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Filling in a packet.
 *
 * A question resolves to clauses as a rule does. The first clause is taken (a question about port
 * 53 is answered for tcp), and a value is picked for every field: the one that is said, or one of
 * the range that is said, or an ordinary one. "Ordinary" means what a packet usually has, moved
 * aside where a rule of this pair of zones singles that value out: then the answer would be about
 * that rule, which nobody asked for.
 *
 * Ports are looked for with one flag for each of the 65536. Addresses are looked for by leaping:
 * from a usual address to behind the named range it lies in, and again, a bounded number of times.
 *
 * What was chosen is told, unless no rule of this pair looks at it (a length nobody asks for is no
 * news).
 */
#include "analysis/explain_fill.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/icmp.h"
#include "policy/protocols.h"
#include "policy/resolve_ranges.h"

#define PORTS 65536u
#define EPHEMERAL_FIRST 49152u
#define SERVER_PORT_FIRST 40000u
#define LEAPS_MAX 256
#define ICMP_ECHO_REQUEST 8u
#define ICMPV6_ECHO_REQUEST 128u
#define TTL_USUAL 64
#define LENGTH_USUAL 60

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

struct filling {
	const struct ruleset *ruleset;
	const struct question_meaning *meaning;
	const struct clause *clause;
	struct arena *arena;
	struct fields *fields;
	struct filled_vector *filled;
};

/* --- texts ------------------------------------------------------------------ */

void explain_address(const uint32_t address[4], unsigned family, struct text *out)
{
	char buffer[INET6_ADDRSTRLEN];
	uint32_t network[4];

	for (int i = 0; i < 4; i++)
		network[i] = htonl(address[i]);
	if (inet_ntop(family == 6 ? AF_INET6 : AF_INET, network, buffer, sizeof(buffer)))
		text_puts(out, buffer);
}

void explain_flags(uint32_t flags, struct text *out)
{
	bool first = true;

	if (!flags)
		text_puts(out, "none");
	for (unsigned i = 0; i < TREE_FLAG_WORDS; i++) {
		if (!(flags & tree_flag_bits[i]))
			continue;
		text_printf(out, "%s%s", first ? "" : ",", tree_flag_words[i]);
		first = false;
	}
}

static int tell(struct filling *f, const char *what, const char *value)
{
	struct explain_filled filled = { what, value };

	if (!value)
		return -ENOMEM;
	return filled_vector_push(f->filled, filled) ? -ENOMEM : 0;
}

static int tell_number(struct filling *f, const char *what, uint32_t number)
{
	return tell(f, what, arena_printf(f->arena, "%u", number));
}

static int tell_text(struct filling *f, const char *what, struct text *text)
{
	const char *value = arena_copy(f->arena, text_string(text), text->len);

	if (text_error(text))
		value = NULL;
	text_free(text);
	return tell(f, what, value);
}

/* --- what rules name ----------------------------------------------------------- */

/* The policy's rules, then those of `early`, which are about every way on. */
static uint32_t rules_n(const struct filling *f)
{
	return f->ruleset->rule_n + f->ruleset->early_n;
}

static const struct rule *rule_at(const struct filling *f, uint32_t i)
{
	return i < f->ruleset->rule_n ? &f->ruleset->rules[i] :
					&f->ruleset->early[i - f->ruleset->rule_n];
}

static bool of_pair(const struct filling *f, const struct rule *rule)
{
	return rule->from >> f->meaning->from & 1 && rule->to >> f->meaning->to & 1;
}

static bool ranges_have(const struct ranges *ranges, uint32_t value)
{
	for (uint32_t i = 0; i < ranges->n; i++)
		if (ranges->items[i].lo <= value && value <= ranges->items[i].hi)
			return true;
	return !ranges->n;
}

/* Could the clause match a packet of this family and protocol at all? */
static bool concerns(const struct filling *f, const struct clause *clause)
{
	uint8_t family = f->fields->word[FIELD_FAMILY] == 6 ? FAMILY_BIT_6 : FAMILY_BIT_4;

	return clause->families & family &&
	       ranges_have(&clause->field[FIELD_PROTOCOL], f->fields->word[FIELD_PROTOCOL]);
}

/* Does a rule of this pair look at the field (or at the mark) of such packets? */
static bool looked_at(const struct filling *f, enum field field)
{
	for (uint32_t i = 0; i < rules_n(f); i++) {
		const struct rule *rule = rule_at(f, i);

		for (uint32_t n = 0; of_pair(f, rule) && n < rule->clause_n; n++) {
			const struct clause *clause = &rule->clauses[n];

			if (!concerns(f, clause))
				continue;
			if (clause->field[field].n || (field == FIELD_MARK && clause->mark.mask))
				return true;
		}
	}
	return false;
}

/* Sets a flag for each port that a rule of this pair names for such packets. */
static void mark_named(const struct filling *f, enum field field, bool *named)
{
	for (uint32_t i = 0; i < rules_n(f); i++) {
		const struct rule *rule = rule_at(f, i);

		for (uint32_t n = 0; of_pair(f, rule) && n < rule->clause_n; n++) {
			const struct ranges *ports = &rule->clauses[n].field[field];

			if (!concerns(f, &rule->clauses[n]))
				continue;
			for (uint32_t r = 0; r < ports->n; r++) {
				struct range range = ports->items[r];

				if (range.hi >= PORTS || (range.lo <= 1 && range.hi == PORTS - 1))
					continue;
				memset(named + range.lo, true, range.hi - range.lo + 1);
			}
		}
	}
}

/* --- ports ------------------------------------------------------------------------ */

/*
 * The first port from `first` on, then from `least`, that is wanted and not named; `first` or what
 * is wanted if there is none.
 */
static int choose_port(struct filling *f, enum field field, uint32_t first, uint32_t least,
		       uint32_t *port)
{
	const struct ranges *wanted = &f->clause->field[field];
	cleanup_free bool *named = calloc(PORTS, sizeof(*named));
	uint32_t choice = wanted->n ? wanted->items[0].lo : first;

	if (!named)
		return -ENOMEM;
	if (wanted->n && !choice && wanted->items[0].hi)
		choice = 1;
	mark_named(f, field, named);
	for (uint32_t i = 0; !wanted->n && i < PORTS - least; i++) {
		uint32_t candidate = least + (first - least + i) % (PORTS - least);

		if (!named[candidate]) {
			choice = candidate;
			break;
		}
	}
	*port = choice;
	return 0;
}

/* Is the value said, to the last bit? */
static bool is_said(const struct ranges *ranges)
{
	return ranges->n == 1 && ranges->items[0].lo == ranges->items[0].hi;
}

static int fill_ports(struct filling *f)
{
	uint32_t *word = f->fields->word;
	int err = choose_port(f, FIELD_DST_PORT, SERVER_PORT_FIRST, 1, &word[FIELD_DST_PORT]);

	if (!err && !is_said(&f->clause->field[FIELD_DST_PORT]))
		err = tell_number(f, "port", word[FIELD_DST_PORT]);
	if (!err)
		err = choose_port(f, FIELD_SRC_PORT, EPHEMERAL_FIRST, EPHEMERAL_FIRST,
				  &word[FIELD_SRC_PORT]);
	if (!err && !is_said(&f->clause->field[FIELD_SRC_PORT]))
		err = tell_number(f, "source port", word[FIELD_SRC_PORT]);
	return err;
}

/*
 * ICMP's type and code lie where the destination port is. A type without a code is asked with code
 * 0.
 */
static int fill_icmp(struct filling *f, unsigned family)
{
	const struct ranges *wanted = &f->clause->field[FIELD_DST_PORT];
	uint32_t message = (family == 6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO_REQUEST) << 8;
	const char *name;

	if (wanted->n)
		message = wanted->items[0].lo;
	f->fields->word[FIELD_DST_PORT] = message;
	if (wanted->n == 1 && wanted->items[0].hi <= (message | 0xff))
		return 0;
	name = icmp_name(family, (uint8_t)(message >> 8), (int)(message & 0xff));
	return tell(f, "type", name ? name : arena_printf(f->arena, "%u", message >> 8));
}

/* --- flags and state ------------------------------------------------------------------ */

static uint32_t tcp_state(uint32_t flags)
{
	return (flags & (SYN | ACK | RST)) == SYN ? STATE_NEW : STATE_UNTRACKED;
}

/* The usual flags that fit what is said of flags and state. */
static int fill_flags(struct filling *f)
{
	static const uint8_t usual[] = { SYN,	    ACK,       SYN | ACK, PSH | ACK,
					 FIN | ACK, RST | ACK, RST,	  FIN };
	const struct masked *wanted = &f->clause->flags;
	const struct ranges *state = &f->clause->field[FIELD_STATE];
	struct text text = TEXT_INIT(256);
	uint32_t flags = wanted->value;

	for (size_t i = 0; i < sizeof(usual); i++) {
		if ((usual[i] & wanted->mask) == wanted->value &&
		    ranges_have(state, tcp_state(usual[i]))) {
			flags = usual[i];
			break;
		}
	}
	f->fields->word[FIELD_TCP_FLAGS] = flags;
	if (wanted->mask)
		return 0;
	explain_flags(flags, &text);
	return tell_text(f, "flags", &text);
}

/* As the packet parser sees it: answers and errors start no flow. */
static bool is_icmp_reply(uint32_t family, uint32_t type)
{
	if (family == 6)
		return type < 128 || type == 129;
	return type == 0 || type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

uint32_t explain_state(const struct fields *fields)
{
	const uint32_t *word = fields->word;
	uint32_t icmp = word[FIELD_FAMILY] == 6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;

	if (word[FIELD_FRAGMENT])
		return STATE_UNTRACKED;
	if (word[FIELD_PROTOCOL] == IPPROTO_TCP)
		return tcp_state(word[FIELD_TCP_FLAGS]);
	if (word[FIELD_PROTOCOL] == icmp &&
	    is_icmp_reply(word[FIELD_FAMILY], word[FIELD_DST_PORT] >> 8))
		return STATE_UNTRACKED;
	return STATE_NEW;
}

static void fill_state(struct filling *f)
{
	const struct ranges *wanted = &f->clause->field[FIELD_STATE];

	f->fields->word[FIELD_STATE] = wanted->n ? wanted->items[0].lo : explain_state(f->fields);
}

static int fill_transport(struct filling *f)
{
	uint32_t *word = f->fields->word;
	const struct ranges *protocol = &f->clause->field[FIELD_PROTOCOL];
	const struct ranges *fragment = &f->clause->field[FIELD_FRAGMENT];
	unsigned family = word[FIELD_FAMILY];
	const char *name;
	int err = 0;

	word[FIELD_PROTOCOL] = protocol->n ? protocol->items[0].lo : IPPROTO_TCP;
	word[FIELD_FRAGMENT] = fragment->n ? fragment->items[0].lo : 0;
	name = protocol_name((uint8_t)word[FIELD_PROTOCOL]);
	for (uint32_t i = 0; !err && i < f->meaning->clauses.n; i++) {
		const struct ranges *other = &f->meaning->clauses.items[i].field[FIELD_PROTOCOL];

		if (other->n && other->items[0].lo == word[FIELD_PROTOCOL])
			continue;
		err = tell(f, "protocol", name ? name : "");
		break;
	}
	if (err || word[FIELD_FRAGMENT])
		return err;
	if (protocol_has_ports((uint8_t)word[FIELD_PROTOCOL]))
		err = fill_ports(f);
	else if (word[FIELD_PROTOCOL] == (family == 6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		err = fill_icmp(f, family);
	if (!err && word[FIELD_PROTOCOL] == IPPROTO_TCP)
		err = fill_flags(f);
	return err;
}

/* --- addresses ---------------------------------------------------------------------- */

/* Addresses no ordinary host has: a source of these is malformed or means nothing elsewhere. */
static const struct address_range special_4[] = {
	{ { 0 }, { 0x00ffffff } },
	{ { 0x7f000000 }, { 0x7fffffff } },
	{ { 0xe0000000 }, { 0xffffffff } },
};
static const struct address_range special_6[] = {
	{ { 0 }, { 0, 0, 0, 0xffffffff } },
	{ { 0, 0, 0xffff, 0 }, { 0, 0, 0xffff, 0xffffffff } },
	{ { 0xfe800000 }, { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff } },
};
static const struct addresses specials[2] = {
	{ .items = special_4, .n = 3, .family = 4 },
	{ .items = special_6, .n = 3, .family = 6 },
};

/* From these on: documentation addresses (RFC 5737, 3849). Source, destination. */
static const uint32_t usual_4[2][4] = { { 0xcb007109 }, { 0xc6336414 } };
static const uint32_t usual_6[2][4] = { { 0x20010db8, 0x0000ff00, 0, 9 },
					{ 0x20010db8, 0x0000fe00, 0, 20 } };

/*
 * The named range that holds the address: of the items, or between them if they are a complement.
 */
static bool named_range(const struct addresses *named, const uint32_t address[4],
			struct address_range *range)
{
	size_t low = 0, high = named->n;
	bool inside;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (address_order(named->items[middle].hi, address) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	inside = low < named->n && address_order(named->items[low].lo, address) <= 0;
	if (inside == named->negated)
		return false;
	if (inside) {
		*range = named->items[low];
		return true;
	}
	*range = (struct address_range){ 0 };
	if (low > 0) {
		memcpy(range->lo, named->items[low - 1].hi, sizeof(range->lo));
		address_next(range->lo, named->family);
	}
	memset(range->hi, 0xff, named->family == 4 ? sizeof(uint32_t) : sizeof(range->hi));
	if (low < named->n) {
		memcpy(range->hi, named->items[low].lo, sizeof(range->hi));
		address_previous(range->hi, named->family);
	}
	return true;
}

/*
 * If the address lies in a named range that does not hold all of `within`: true, and *behind is its
 * far end if that is further.
 */
static bool singled_out(const struct addresses *named, const uint32_t address[4],
			const struct address_range *within, uint32_t behind[4])
{
	struct address_range range;

	if (!named_range(named, address, &range))
		return false;
	if (address_order(range.lo, within->lo) <= 0 && address_order(within->hi, range.hi) <= 0)
		return false;
	if (address_order(range.hi, behind) > 0)
		memcpy(behind, range.hi, sizeof(range.hi));
	return true;
}

/* The same over all rules of the pair; with `both`, also by what they name on the other side. */
static bool any_singles_out(const struct filling *f, bool source, bool both,
			    const uint32_t address[4], const struct address_range *within,
			    uint32_t behind[4])
{
	unsigned family = f->fields->word[FIELD_FAMILY];
	bool found = singled_out(&specials[FAMILY_INDEX(family)], address, within, behind);

	for (uint32_t i = 0; i < rules_n(f); i++) {
		const struct rule *rule = rule_at(f, i);

		for (uint32_t n = 0; of_pair(f, rule) && n < rule->clause_n; n++) {
			const struct clause *clause = &rule->clauses[n];
			const struct addresses *own = source ? clause->src : clause->dst;
			const struct addresses *other = source ? clause->dst : clause->src;

			if (own && own->family == family)
				found |= singled_out(own, address, within, behind);
			/* A complement names what it leaves out; all the rest is not special there. */
			if (both && other && other->family == family && !other->negated)
				found |= singled_out(other, address, within, behind);
		}
	}
	return found;
}

/*
 * Leaps from `start` through `within` until nothing singles the address out; false if that leads
 * nowhere.
 */
static bool leap(const struct filling *f, bool source, bool both, const uint32_t start[4],
		 const struct address_range *within, uint32_t chosen[4])
{
	unsigned family = f->fields->word[FIELD_FAMILY];
	uint32_t address[4], behind[4];

	memcpy(address, start, sizeof(address));
	for (int leaps = 0; leaps < LEAPS_MAX; leaps++) {
		memcpy(behind, address, sizeof(behind));
		if (!any_singles_out(f, source, both, address, within, behind)) {
			memcpy(chosen, address, sizeof(address));
			return true;
		}
		/* Behind the end, on from the beginning. */
		if (!address_next(behind, family) || address_order(behind, within->hi) > 0)
			memcpy(behind, within->lo, sizeof(behind));
		memcpy(address, behind, sizeof(address));
	}
	return false;
}

/*
 * An address that no rule of the pair names, on either side: one of @admins would be a strange choice
 * for this host's own. If there is none, one that is not named on this side; or else `start` itself.
 */
static void choose_address(const struct filling *f, bool source, const uint32_t start[4],
			   const struct address_range *within, uint32_t chosen[4])
{
	if (!leap(f, source, true, start, within, chosen) &&
	    !leap(f, source, false, start, within, chosen))
		memcpy(chosen, start, 4 * sizeof(*start));
}

/*
 * Where to look: the range of `wanted` that holds the usual address, else the first one; and where
 * to start in it.
 */
static void begin_search(const struct addresses *wanted, unsigned family, const uint32_t usual[4],
			 struct address_range *within, uint32_t start[4])
{
	memset(within, 0, sizeof(*within));
	memset(within->hi, 0xff, family == 4 ? sizeof(uint32_t) : sizeof(within->hi));
	memcpy(start, usual, sizeof(within->lo));
	if (!wanted)
		return;
	for (uint32_t i = 0; i < wanted->n; i++) {
		*within = wanted->items[i];
		if (address_in(within, 1, usual))
			return;
	}
	*within = wanted->items[0];
	memcpy(start, within->lo, sizeof(within->lo));
	/* Not the network's own address, if there are others. */
	if (address_order(within->lo, within->hi))
		address_next(start, family);
}

static int fill_address(struct filling *f, bool source)
{
	unsigned family = f->fields->word[FIELD_FAMILY];
	const struct addresses *wanted = source ? f->clause->src : f->clause->dst;
	uint32_t *word = &f->fields->word[source ? FIELD_SRC : FIELD_DST];
	const uint32_t *usual = family == 6 ? usual_6[!source] : usual_4[!source];
	struct text text = TEXT_INIT(256);
	struct address_range within;
	uint32_t start[4];

	begin_search(wanted, family, usual, &within, start);
	choose_address(f, source, start, &within, word);
	if (wanted && wanted->n == 1 && !address_order(within.lo, within.hi))
		return 0;
	explain_address(word, family, &text);
	return tell_text(f, source ? "source address" : "destination address", &text);
}

/* --- the rest ---------------------------------------------------------------------------- */

/* IPv4 unless the question is of IPv6 only. */
static int fill_family(struct filling *f)
{
	uint8_t families = 0;

	for (uint32_t i = 0; i < f->meaning->clauses.n; i++)
		families |= f->meaning->clauses.items[i].families;
	f->fields->word[FIELD_FAMILY] = f->clause->families & FAMILY_BIT_4 ? 4 : 6;
	return families == FAMILY_BITS_ALL ? tell(f, "family", "IPv4") : 0;
}

/*
 * Neighbour discovery is sent with hop limit 255, group membership with 1; anything else is heard
 * after a few hops.
 */
static uint32_t usual_ttl(const struct fields *fields)
{
	uint32_t type = fields->word[FIELD_DST_PORT] >> 8;

	if (fields->word[FIELD_PROTOCOL] == IPPROTO_IGMP)
		return 1;
	if (fields->word[FIELD_FAMILY] == 4 || fields->word[FIELD_PROTOCOL] != IPPROTO_ICMPV6)
		return TTL_USUAL;
	if (type >= 133 && type <= 137)
		return 255;
	return (type >= 130 && type <= 132) || type == 143 ? 1 : TTL_USUAL;
}

static int fill_number(struct filling *f, enum field field, const char *what, uint32_t usual)
{
	const struct ranges *wanted = &f->clause->field[field];

	f->fields->word[field] = ranges_have(wanted, usual) ? usual : wanted->items[0].lo;
	if (is_said(wanted) || (!wanted->n && !looked_at(f, field)))
		return 0;
	return tell_number(f, what, f->fields->word[field]);
}

static int fill_mark(struct filling *f)
{
	f->fields->word[FIELD_MARK] = f->clause->mark.value;
	if (f->clause->mark.mask || !looked_at(f, FIELD_MARK))
		return 0;
	return tell_number(f, "mark", 0);
}

static void fill_mac(struct filling *f)
{
	const uint8_t *mac = f->clause->mac;

	if (!f->clause->has_mac)
		return;
	f->fields->word[FIELD_MAC_HIGH] = (uint32_t)mac[0] << 8 | mac[1];
	f->fields->word[FIELD_MAC_LOW] = (uint32_t)mac[2] << 24 | (uint32_t)mac[3] << 16 |
					 (uint32_t)mac[4] << 8 | mac[5];
}

/* The way of reading the question that is answered: the first of IPv4, else the first. */
static const struct clause *choose_clause(const struct clauses *clauses)
{
	for (uint32_t i = 0; i < clauses->n; i++)
		if (clauses->items[i].families & FAMILY_BIT_4)
			return &clauses->items[i];
	return &clauses->items[0];
}

int explain_fill(const struct ruleset *ruleset, const struct question_meaning *meaning,
		 struct arena *arena, struct fields *fields, struct filled_vector *filled)
{
	struct filling f = { .ruleset = ruleset,
			     .meaning = meaning,
			     .clause = choose_clause(&meaning->clauses),
			     .arena = arena,
			     .fields = fields,
			     .filled = filled };
	int err;

	*fields = (struct fields){ 0 };
	fields->word[FIELD_FROM_ZONE] = meaning->from;
	fields->word[FIELD_TO_ZONE] = meaning->to;
	err = fill_family(&f);
	if (!err)
		err = fill_transport(&f);
	if (!err)
		err = fill_address(&f, true);
	if (!err)
		err = fill_address(&f, false);
	if (!err)
		err = fill_number(&f, FIELD_TTL, "ttl", usual_ttl(fields));
	if (!err)
		err = fill_number(&f, FIELD_LENGTH, "length", LENGTH_USUAL);
	if (!err)
		err = fill_number(&f, FIELD_DSCP, "dscp", 0);
	if (!err)
		err = fill_mark(&f);
	if (!err) {
		fill_mac(&f);
		fill_state(&f);
	}
	return err;
}
