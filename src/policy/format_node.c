// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Canonical text of the nodes of a tree: words, addresses, services, matches, rules, heads of
 * statements.
 *
 * Everything goes through a struct layout, which knows where text goes and which lists are broken
 * over lines. A list that holds comments is always broken, one entry a line; and so is the one
 * that the caller names (`breaks`), when it has found that the line is too long. The longest list
 * that was printed flat is remembered for that. Printing is the inverse of parsing: numbers, rates
 * and durations come in one form; names stay as they were written. How lines, blocks and files are
 * laid out is in format.c.
 */
#include "policy/format_node.h"

#include <arpa/inet.h>
#include <string.h>

#include "core/field.h"

/* --- addresses ---------------------------------------------------------- */

static void print_words_of_address(struct layout *layout, uint8_t family, const uint32_t *words)
{
	char text[INET6_ADDRSTRLEN];
	uint32_t raw[4];

	/* Others would write the mapped block with a dotted quad, which is refused when read. */
	if (family == 6 && !words[0] && !words[1] && words[2] == 0xffff) {
		text_printf(layout->out, "::ffff:%x:%x", words[3] >> 16, words[3] & 0xffff);
		return;
	}
	for (int i = 0; i < 4; i++)
		raw[i] = htonl(words[i]);
	if (inet_ntop(family == 4 ? AF_INET : AF_INET6, raw, text, sizeof(text)))
		text_puts(layout->out, text);
}

void print_address(struct layout *layout, const struct tree_address *address)
{
	if (address->kind == TREE_ADDRESS_SET) {
		text_putc(layout->out, '@');
		print_name(layout, address->set);
		return;
	}
	print_words_of_address(layout, address->family, address->lo);
	if (address->kind == TREE_ADDRESS_RANGE) {
		text_putc(layout->out, '-');
		print_words_of_address(layout, address->family, address->hi);
	} else if (address->prefix != (address->family == 4 ? 32 : 128)) {
		text_printf(layout->out, "/%u", address->prefix);
	}
}

static void print_addresses(struct layout *layout, const struct tree_addresses *addresses)
{
	bool comments = addresses->closing_n > 0;
	struct open_list list;

	if (addresses->negated)
		text_putc(layout->out, '!');
	if (!addresses->braces) {
		print_address(layout, &addresses->items[0]);
		return;
	}
	for (uint32_t i = 0; i < addresses->n; i++)
		comments |= has_comment(addresses->items[i].trivia);
	list = print_list_begin(layout, addresses, comments);
	for (uint32_t i = 0; i < addresses->n; i++) {
		print_list_entry(layout, &list, addresses->items[i].trivia);
		print_address(layout, &addresses->items[i]);
		print_list_entry_end(layout, &list);
	}
	print_list_end(layout, &list, addresses->closing, addresses->closing_n);
}

static void print_target(struct layout *layout, const struct tree_target *target)
{
	bool brackets = target->has_ports && target->address.family == 6;

	text_puts(layout->out, brackets ? "[" : "");
	print_address(layout, &target->address);
	text_puts(layout->out, brackets ? "]" : "");
	if (target->has_ports)
		text_printf(layout->out, ":%u", target->lo);
	if (target->has_ports && target->lo != target->hi)
		text_printf(layout->out, "-%u", target->hi);
}

static void print_targets(struct layout *layout, const struct tree_targets *targets)
{
	bool comments = targets->closing_n > 0;
	struct open_list list;

	if (!targets->braces) {
		print_target(layout, &targets->items[0]);
		return;
	}
	for (uint32_t i = 0; i < targets->n; i++)
		comments |= has_comment(targets->items[i].trivia);
	list = print_list_begin(layout, targets, comments);
	for (uint32_t i = 0; i < targets->n; i++) {
		print_list_entry(layout, &list, targets->items[i].trivia);
		print_target(layout, &targets->items[i]);
		print_list_entry_end(layout, &list);
	}
	print_list_end(layout, &list, targets->closing, targets->closing_n);
}

/* --- services ----------------------------------------------------------- */

static const char *transport_word(int protocol)
{
	for (size_t i = 0; i < TREE_TRANSPORTS; i++) {
		if (tree_transport_numbers[i] == protocol)
			return tree_transport_words[i];
	}
	return NULL;
}

static void print_protocol(struct layout *layout, const struct tree_service *service)
{
	const char *word = service->proto ? NULL : transport_word(service->protocol);

	if (word)
		text_puts(layout->out, word);
	else if (service->name.text)
		text_puts(layout->out, "proto ");
	else
		text_printf(layout->out, "proto %d", service->protocol);
	if (!word && service->name.text)
		print_word(layout, &service->name);
	if (service->syn)
		text_puts(layout->out, " syn");
}

static void print_icmp(struct layout *layout, const struct tree_service *service)
{
	text_puts(layout->out, service->protocol == 1 ? "icmp" : "icmpv6");
	if (service->name.text) {
		text_putc(layout->out, ' ');
		print_word(layout, &service->name);
	}
	if (service->icmp_type >= 0)
		text_printf(layout->out, " type %d", service->icmp_type);
	if (service->icmp_code >= 0)
		text_printf(layout->out, " code %d", service->icmp_code);
}

/* Comments in a list or in the list within it. */
static bool service_has_comments(const struct tree_service *service)
{
	bool comments = service->closing_n > 0;

	for (uint32_t i = 0; i < service->n && !comments; i++) {
		const struct tree_service *item = &service->items[i];

		comments = has_comment(item->trivia) || item->closing_n > 0;
		for (uint32_t j = 0; j < item->n && !comments; j++)
			comments = has_comment(item->items[j].trivia);
	}
	return comments;
}

static void print_service_list(struct layout *layout, const struct tree_service *service)
{
	struct open_list list = print_list_begin(layout, service, service_has_comments(service));

	for (uint32_t i = 0; i < service->n; i++) {
		print_list_entry(layout, &list, service->items[i].trivia);
		print_service(layout, &service->items[i]);
		print_list_entry_end(layout, &list);
	}
	print_list_end(layout, &list, service->closing, service->closing_n);
}

/* Its recursion ends at two: a list within a list has no list in it. */
void print_service(struct layout *layout, const struct tree_service *service)
{
	const char *transport = transport_word(service->protocol);

	switch (service->kind) {
	case TREE_SERVICE_PORTS:
		text_printf(layout->out, "%u", service->lo);
		if (service->lo != service->hi)
			text_printf(layout->out, "-%u", service->hi);
		break;
	case TREE_SERVICE_NAME:
		print_word(layout, &service->name);
		break;
	case TREE_SERVICE_PROTOCOL:
		print_protocol(layout, service);
		return;
	case TREE_SERVICE_ICMP:
		print_icmp(layout, service);
		return;
	case TREE_SERVICE_ANY:
		text_puts(layout->out, "any");
		return;
	case TREE_SERVICE_LIST:
		print_service_list(layout, service);
		break;
	}
	if (transport)
		text_printf(layout->out, "/%s", transport);
}

/* --- match -------------------------------------------------------------- */

static void print_flag_list(struct layout *layout, uint32_t bits)
{
	const char *comma = "";

	if (bits == 0 || bits == 0xff) {
		text_puts(layout->out, bits ? "all" : "none");
		return;
	}
	for (size_t i = 0; i < TREE_FLAG_WORDS; i++) {
		if (bits & tree_flag_bits[i]) {
			text_printf(layout->out, "%s%s", comma, tree_flag_words[i]);
			comma = ",";
		}
	}
}

static void print_flags(struct layout *layout, const struct tree_masked *flags)
{
	print_flag_list(layout, flags->value);
	if (flags->has_mask) {
		text_putc(layout->out, '/');
		print_flag_list(layout, flags->mask);
	}
}

static void print_masked(struct layout *layout, const struct tree_masked *masked)
{
	text_printf(layout->out, masked->hex ? "0x%x" : "%u", masked->value);
	if (masked->has_mask)
		text_printf(layout->out, masked->hex ? "/0x%x" : "/%u", masked->mask);
}

static void print_span(struct layout *layout, const struct tree_span *span)
{
	switch (span->comparison) {
	case TREE_IN:
		text_printf(layout->out, "%u", span->lo);
		if (span->lo != span->hi)
			text_printf(layout->out, "-%u", span->hi);
		break;
	case TREE_LESS:
		text_printf(layout->out, "< %u", span->hi + 1);
		break;
	case TREE_LESS_EQUAL:
		text_printf(layout->out, "<= %u", span->hi);
		break;
	case TREE_GREATER:
		text_printf(layout->out, "> %u", span->lo - 1);
		break;
	case TREE_GREATER_EQUAL:
		text_printf(layout->out, ">= %u", span->lo);
		break;
	}
}

static void print_condition(struct layout *layout, const struct tree_condition *condition)
{
	text_printf(layout->out, " %s", tree_condition_words[condition->kind]);
	if (condition->kind != TREE_FRAGMENT)
		text_putc(layout->out, ' ');
	switch (condition->kind) {
	case TREE_FLAGS:
		print_flags(layout, &condition->masked);
		break;
	case TREE_MARK:
		print_masked(layout, &condition->masked);
		break;
	case TREE_LENGTH:
	case TREE_TTL:
		print_span(layout, &condition->span);
		break;
	case TREE_DSCP:
		if (condition->dscp.name)
			text_puts(layout->out, condition->dscp.name);
		else
			text_printf(layout->out, "%u", condition->dscp.value);
		break;
	case TREE_MAC:
		for (int i = 0; i < 6; i++)
			text_printf(layout->out, "%s%02x", i ? ":" : "", condition->mac[i]);
		break;
	case TREE_STATE:
		text_puts(layout->out, condition->state == STATE_NEW ? "new" : "untracked");
		break;
	case TREE_FRAGMENT:
	case TREE_CONDITION_KINDS:
		break;
	}
}

void print_match(struct layout *layout, const struct tree_match *match)
{
	if (match->service) {
		text_putc(layout->out, ' ');
		print_service(layout, match->service);
	}
	if (match->from || match->from_ports)
		text_puts(layout->out, " from");
	if (match->from) {
		text_putc(layout->out, ' ');
		print_addresses(layout, match->from);
	}
	if (match->from_ports) {
		text_puts(layout->out, " port ");
		print_service(layout, match->from_ports);
	}
	if (match->to) {
		text_puts(layout->out, " to ");
		print_addresses(layout, match->to);
	}
	for (uint32_t i = 0; i < match->condition_n; i++)
		print_condition(layout, &match->conditions[i]);
}

/* --- rules -------------------------------------------------------------- */

static void print_each(struct layout *layout, enum tree_each each, uint8_t prefix)
{
	if (each != TREE_EACH_NONE)
		text_printf(layout->out, " each %s", tree_each_words[each]);
	if (prefix)
		text_printf(layout->out, "/%u", prefix);
}

static void print_rate(struct layout *layout, const struct tree_rate *rate)
{
	size_t unit = 0;

	while (unit < TREE_UNITS && tree_units[unit].seconds != rate->period)
		unit++;
	text_printf(layout->out, " %u", rate->count);
	if (unit < TREE_UNITS) {
		text_printf(layout->out, "/%c", tree_units[unit].letter);
	} else {
		text_puts(layout->out, " per ");
		print_duration(layout, rate->period);
	}
	if (rate->burst)
		text_printf(layout->out, " burst %u", rate->burst);
	print_each(layout, rate->each, rate->prefix);
}

static void print_option(struct layout *layout, const struct tree_option *option)
{
	text_printf(layout->out, " %s", tree_option_words[option->kind]);
	switch (option->kind) {
	case TREE_OPTION_LIMIT:
		print_rate(layout, &option->rate);
		break;
	case TREE_OPTION_LOG:
		if (option->log.text) {
			text_putc(layout->out, ' ');
			print_quoted(layout, option->log.text);
		}
		if (option->log.sample != 1)
			text_printf(layout->out, " sample 1/%u", option->log.sample);
		break;
	case TREE_OPTION_COUNT:
	case TREE_OPTION_ID:
		text_putc(layout->out, ' ');
		print_word(layout, &option->name);
		break;
	case TREE_OPTION_MARK_SET:
		text_putc(layout->out, ' ');
		print_masked(layout, &option->masked);
		break;
	case TREE_OPTION_TIMEOUT:
		text_putc(layout->out, ' ');
		print_duration(layout, option->seconds);
		break;
	case TREE_OPTION_MAX_FLOWS:
		text_printf(layout->out, " %u", option->max_flows.n);
		print_each(layout, option->max_flows.each, option->max_flows.prefix);
		break;
	case TREE_OPTION_ADD:
		text_printf(layout->out, " %s to @", tree_each_words[option->add.what]);
		print_name(layout, option->add.set.text);
		break;
	case TREE_OPTION_STATELESS:
	case TREE_OPTION_KINDS:
		break;
	}
}

static void print_action(struct layout *layout, enum tree_action action, enum reject reject)
{
	text_puts(layout->out, tree_action_words[action]);
	if (action == TREE_REJECT && reject != REJECT_DEFAULT)
		text_printf(layout->out, " with %s", tree_reject_words[reject]);
}

void print_rule(struct layout *layout, const struct tree_rule *rule)
{
	print_action(layout, rule->action, rule->reject);
	print_match(layout, &rule->match);
	for (uint32_t i = 0; i < rule->option_n; i++) {
		const struct tree_option *option = &rule->options[i];

		if (rule->action == TREE_LIMIT && option->kind == TREE_OPTION_LIMIT)
			print_rate(layout, &option->rate);
		else if (layout->with_id || option->kind != TREE_OPTION_ID)
			print_option(layout, option);
	}
}

void print_nat_rule(struct layout *layout, const struct tree_nat_rule *rule)
{
	static const char *const words[] = {
		[TREE_NAT_SOURCE] = "source",
		[TREE_NAT_MASQUERADE] = "masquerade",
		[TREE_NAT_FORWARD] = "forward",
	};

	text_puts(layout->out, words[rule->kind]);
	print_match(layout, &rule->match);
	if (rule->to.n) {
		text_puts(layout->out, " to ");
		print_targets(layout, &rule->to);
	}
	if (rule->full_cone)
		text_puts(layout->out, " full-cone");
}

void print_default(struct layout *layout, const struct tree_policy *policy)
{
	text_puts(layout->out, "default ");
	print_action(layout, policy->default_action, policy->default_reject);
}

/* --- statements --------------------------------------------------------- */

static void print_defined_name(struct layout *layout, const struct tree_word *name)
{
	size_t start;

	text_putc(layout->out, ' ');
	start = layout->out->len;
	print_word(layout, name);
	while (layout->out->len - start < layout->name_width && !text_error(layout->out))
		text_putc(layout->out, ' ');
	text_puts(layout->out, " = ");
}

static void print_dynamic(struct layout *layout, const struct tree_set *set)
{
	struct open_list list;

	text_puts(layout->out, "dynamic");
	if (!set->dynamic_braces)
		return;
	text_putc(layout->out, ' ');
	list = print_list_begin(layout, set,
				set->closing_n || has_comment(set->timeout_trivia) ||
					has_comment(set->max_trivia));
	if (set->timeout) {
		print_list_entry(layout, &list, set->timeout_trivia);
		text_puts(layout->out, "timeout ");
		print_duration(layout, set->timeout);
		print_list_entry_end(layout, &list);
	}
	if (set->max) {
		print_list_entry(layout, &list, set->max_trivia);
		text_printf(layout->out, "max %u", set->max);
		print_list_entry_end(layout, &list);
	}
	print_list_end(layout, &list, set->closing, set->closing_n);
}

static void print_set(struct layout *layout, const struct tree_set *set)
{
	print_defined_name(layout, &set->name);
	switch (set->kind) {
	case TREE_SET_LIST:
		print_addresses(layout, &set->list);
		break;
	case TREE_SET_FILE:
		text_puts(layout->out, "file ");
		print_word(layout, &set->file);
		break;
	case TREE_SET_DYNAMIC:
		print_dynamic(layout, set);
		break;
	}
}

static void print_scrub(struct layout *layout, const struct tree_scrub *scrub)
{
	bool comments = scrub->closing_n > 0;
	struct open_list list;

	print_words(layout, &scrub->zones);
	text_putc(layout->out, ' ');
	for (unsigned i = 0; i < TREE_SCRUB_WORDS; i++)
		comments |= has_comment(scrub->trivia[i]);
	list = print_list_begin(layout, scrub, comments);
	for (unsigned i = 0; i < TREE_SCRUB_WORDS; i++) {
		if (!(scrub->asked >> i & 1))
			continue;
		print_list_entry(layout, &list, scrub->trivia[i]);
		text_puts(layout->out, tree_scrub_words[i]);
		if (i == TREE_SCRUB_MIN_TTL)
			text_printf(layout->out, " %u", scrub->min_ttl);
		print_list_entry_end(layout, &list);
	}
	print_list_end(layout, &list, scrub->closing, scrub->closing_n);
}

static void print_assert(struct layout *layout, const struct tree_assert *assertion)
{
	text_putc(layout->out, ' ');
	print_pair(layout, &assertion->pair);
	print_match(layout, &assertion->match);
	text_printf(layout->out, " is %s", tree_outcome_words[assertion->outcome]);
	if (assertion->has_except) {
		text_puts(layout->out, " except");
		print_match(layout, &assertion->except);
	}
}

void print_intercept(struct layout *layout, const struct tree_intercept *intercept)
{
	print_match(layout, &intercept->match);
	text_puts(layout->out, " to ");
	print_target(layout, &intercept->to);
	if (intercept->pass)
		text_printf(layout->out, " on-missing %s", tree_missing_words[1]);
}

void print_head(struct layout *layout, const struct tree_statement *statement)
{
	text_puts(layout->out, tree_statement_words[statement->kind]);
	switch (statement->kind) {
	case TREE_ZONE:
		print_defined_name(layout, &statement->zone.name);
		print_words(layout, &statement->zone.patterns);
		break;
	case TREE_SET:
		print_set(layout, &statement->set);
		break;
	case TREE_SERVICE:
		print_defined_name(layout, &statement->service.name);
		print_service(layout, statement->service.service);
		break;
	case TREE_INCLUDE:
		text_putc(layout->out, ' ');
		print_word(layout, &statement->include);
		break;
	case TREE_POLICY:
		text_putc(layout->out, ' ');
		print_pair(layout, &statement->policy.pair);
		if (statement->policy.has_default) {
			text_putc(layout->out, ' ');
			print_default(layout, &statement->policy);
		}
		break;
	case TREE_NAT:
		text_putc(layout->out, ' ');
		print_pair(layout, &statement->nat.pair);
		break;
	case TREE_EARLY:
		text_putc(layout->out, ' ');
		print_words(layout, &statement->early.zones);
		break;
	case TREE_INTERCEPT:
		text_putc(layout->out, ' ');
		print_pair(layout, &statement->intercept.pair);
		print_intercept(layout, &statement->intercept);
		break;
	case TREE_ANTISPOOF:
		text_putc(layout->out, ' ');
		print_words(layout, &statement->antispoof.zones);
		text_puts(layout->out, statement->antispoof.loose ? " loose" : "");
		break;
	case TREE_CLAMP_MSS:
		text_putc(layout->out, ' ');
		print_words(layout, &statement->clamp_mss.zones);
		if (statement->clamp_mss.size)
			text_printf(layout->out, " to %u", statement->clamp_mss.size);
		break;
	case TREE_SCRUB:
		text_putc(layout->out, ' ');
		print_scrub(layout, &statement->scrub);
		break;
	case TREE_ASSERT:
		print_assert(layout, &statement->assertion);
		break;
	case TREE_OPTIONS:
		break;
	}
}
