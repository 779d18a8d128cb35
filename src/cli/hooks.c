// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hooks: what is registered on the packet hooks of this network namespace.
 *
 * The picture shows the path and how many entries each hook has; the table lists them in the order
 * a packet meets them. Bridges and ARP have hooks of their own that few use: they are in the table
 * alone.
 */
#include "cli/hooks.h"

#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "engine/bpf/engine.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const point_names[POINTS] = {
	[POINT_XDP] = "XDP",
	[POINT_TC_INGRESS] = "tc ingress",
	[POINT_INGRESS] = "ingress",
	[POINT_BRIDGE_PREROUTING] = "bridge prerouting",
	[POINT_BRIDGE_INPUT] = "bridge input",
	[POINT_BRIDGE_FORWARD] = "bridge forward",
	[POINT_ARP_INPUT] = "ARP input",
	[POINT_PREROUTING] = "prerouting",
	[POINT_INPUT] = "input",
	[POINT_SOCKET_LOOKUP] = "socket lookup",
	[POINT_CGROUP_INGRESS] = "cgroup in",
	[POINT_FORWARD] = "forward",
	[POINT_CGROUP_SOCKET] = "cgroup socket",
	[POINT_OUTPUT] = "output",
	[POINT_POSTROUTING] = "postrouting",
	[POINT_CGROUP_EGRESS] = "cgroup out",
	[POINT_ARP_OUTPUT] = "ARP output",
	[POINT_BRIDGE_OUTPUT] = "bridge output",
	[POINT_BRIDGE_POSTROUTING] = "bridge postrouting",
	[POINT_EGRESS] = "egress",
	[POINT_TC_EGRESS] = "tc egress",
};

static const char *const kind_names[HOOK_KINDS] = {
	[HOOK_KIND_XDP] = "xdp",
	[HOOK_KIND_TCX] = "tcx",
	[HOOK_KIND_TC_FILTER] = "clsact",
	[HOOK_KIND_CHAIN] = "chain",
	[HOOK_KIND_FLOWTABLE] = "flowtable",
	[HOOK_KIND_IPTABLES] = "table",
	[HOOK_KIND_NETFILTER_BPF] = "netfilter",
	[HOOK_KIND_FUNCTION] = "function",
	[HOOK_KIND_CGROUP] = "cgroup",
	[HOOK_KIND_NETNS] = "netns",
};

static const struct {
	enum hook_family family;
	const char *name;
} family_names[] = {
	{ HOOK_FAMILY_IPV4, "IPv4" },
	{ HOOK_FAMILY_IPV6, "IPv6" },
	{ HOOK_FAMILY_BRIDGE, "bridge" },
	{ HOOK_FAMILY_ARP, "ARP" },
};

static const char *const policy_names[] = {
	[HOOK_POLICY_NONE] = NULL,
	[HOOK_POLICY_DROP] = "drop",
	[HOOK_POLICY_ACCEPT] = "accept",
};

/* How functions of the kernel are named; the first that fits. */
static const struct {
	const char *part, *owner;
} function_owners[] = {
	{ "defrag", "defrag" },	      { "conntrack", "conntrack" }, { "_confirm", "conntrack" },
	{ "_helper", "conntrack" },   { "nf_nat", "nat" },	    { "ip_vs_", "ipvs" },
	{ "synproxy", "synproxy" },   { "selinux", "selinux" },	    { "apparmor", "apparmor" },
	{ "smack", "smack" },	      { "br_nf_", "br_netfilter" }, { "flow_offload", "nftables" },
	{ "t_do_table", "iptables" }, { "ebt_", "ebtables" },
};

static const char *function_owner(const char *name)
{
	for (size_t i = 0; i < COUNT(function_owners); i++)
		if (strstr(name, function_owners[i].part))
			return function_owners[i].owner;
	return "kernel";
}

static const char *entry_owner(const struct hook_entry *entry)
{
	if (entry->reeve)
		return "reeve";
	switch (entry->kind) {
	case HOOK_KIND_TC_FILTER:
		return "tc";
	case HOOK_KIND_CHAIN:
	case HOOK_KIND_FLOWTABLE:
		return "nftables";
	case HOOK_KIND_IPTABLES:
		if (entry->families == HOOK_FAMILY_ARP)
			return "arptables";
		return entry->families == HOOK_FAMILY_IPV6 ? "ip6tables" : "iptables";
	case HOOK_KIND_FUNCTION:
		return function_owner(entry->name);
	default:
		return "bpf";
	}
}

/* --- the picture --- */

#define SLOTS_MAX 6

/*
 * Each `#` is the count of one of the hooks behind the line, in their order; it also takes the
 * blanks it needs.
 */
static const struct {
	const char *line;
	enum hook_point points[SLOTS_MAX];
} picture[] = {
	{ "  device --> XDP --> tc --> ingress --> prerouting --+--> input --> cgroup --> socket",
	  { 0 } },
	{ "              #      #         #            #        |      #         #          |",
	  { POINT_XDP, POINT_TC_INGRESS, POINT_INGRESS, POINT_PREROUTING, POINT_INPUT,
	    POINT_CGROUP_INGRESS } },
	{ "                                                     v                           v",
	  { 0 } },
	{ "                                                  forward                     cgroup",
	  { 0 } },
	{ "                                                     #                           #",
	  { POINT_FORWARD, POINT_CGROUP_SOCKET } },
	{ "                                                     v                           v",
	  { 0 } },
	{ "  device <-- tc <-- egress <-- cgroup <-- postrouting <-------- output <---------+",
	  { 0 } },
	{ "             #        #          #            #                   #",
	  { POINT_TC_EGRESS, POINT_EGRESS, POINT_CGROUP_EGRESS, POINT_POSTROUTING, POINT_OUTPUT } },
};

/* "." for none, "12*" where reeve is among them. */
static bool point_count(const struct hooks *hooks, enum hook_point point, char count[8])
{
	bool reeve = false;
	unsigned n = 0;

	for (size_t i = 0; i < hooks->entries.n; i++)
		if (hooks->entries.items[i].point == point) {
			reeve |= hooks->entries.items[i].reeve;
			n++;
		}
	if (n)
		snprintf(count, 8, "%u%s", n > 999 ? 999 : n, reeve ? "*" : "");
	else
		snprintf(count, 8, ".");
	return reeve;
}

static void picture_line(const struct hooks *hooks, size_t line, struct text *out)
{
	const char *at = picture[line].line;
	size_t slot = 0;

	while (*at) {
		char count[8];
		bool reeve;

		if (*at != '#') {
			text_putc(out, *at++);
			continue;
		}
		reeve = point_count(hooks, picture[line].points[slot++], count);
		text_toned(out, reeve ? TONE_GREEN : TONE_PLAIN, "%s", count);
		for (size_t i = strlen(count); i > 0 && *at; i--)
			at++;
	}
	text_putc(out, '\n');
}

static void print_picture(const struct hooks *hooks, struct text *out)
{
	for (size_t i = 0; i < COUNT(picture); i++)
		picture_line(hooks, i, out);
	text_puts(out, "\n  how many are on each hook; * reeve is among them\n\n");
}

/* --- the table --- */

/* Where on the hook: a device, families, a cgroup. */
static void place_text(const struct hook_entry *entry, struct text *out)
{
	if (entry->device[0])
		text_puts(out, entry->device);
	else if (entry->cgroup[0])
		text_puts(out, entry->cgroup);
	else if (entry->families == (HOOK_FAMILY_IPV4 | HOOK_FAMILY_IPV6))
		text_puts(out, "IPv4+6");
	else
		for (size_t i = 0; i < COUNT(family_names); i++)
			if (entry->families & family_names[i].family)
				text_puts(out, family_names[i].name);
}

static void program_text(const struct hook_entry *entry, struct text *out)
{
	if (!entry->program)
		return;
	text_printf(out, " (program %u", entry->program);
	if (entry->links[0])
		text_printf(out, ", link%s %u", entry->links[1] ? "s" : "", entry->links[0]);
	if (entry->links[1])
		text_printf(out, " %u", entry->links[1]);
	text_putc(out, ')');
}

static void what_text(const struct hook_entry *entry, struct text *out)
{
	const char *kind = kind_names[entry->kind];

	if (entry->kind == HOOK_KIND_FUNCTION || entry->kind == HOOK_KIND_NETFILTER_BPF)
		text_puts(out, entry->name[0] ? entry->name : "?");
	else if (entry->kind == HOOK_KIND_TC_FILTER && !strcmp(entry->name, entry->detail))
		text_printf(out, "%s %s", kind, entry->name);
	else if (entry->kind == HOOK_KIND_TC_FILTER)
		text_printf(out, "%s %s: %s", kind, entry->detail, entry->name);
	else if (entry->kind == HOOK_KIND_FLOWTABLE || entry->kind == HOOK_KIND_IPTABLES)
		text_printf(out, "%s %s", kind, entry->name);
	else if (entry->kind == HOOK_KIND_CHAIN)
		text_printf(out, "%s%s%s %s", entry->detail, entry->detail[0] ? " " : "", kind,
			    entry->name);
	else
		text_printf(out, "%s %s", entry->detail[0] ? entry->detail : kind,
			    entry->name[0] ? entry->name : "?");
	program_text(entry, out);
	if (entry->kind == HOOK_KIND_CHAIN && entry->chain_priority != entry->priority)
		text_printf(out, ", %d within NAT", entry->chain_priority);
	if (policy_names[entry->policy])
		text_printf(out, ", policy %s", policy_names[entry->policy]);
	if (entry->counted && entry->kind == HOOK_KIND_CHAIN)
		text_printf(out, ": %llu packets", (unsigned long long)entry->packets);
	else if (entry->counted)
		text_printf(out, ", run %llu times", (unsigned long long)entry->packets);
	if (entry->unsure)
		text_puts(out, "; here or in another namespace");
}

static void print_entry(struct table *table, const struct hook_entry *entry, bool first)
{
	struct text place = TEXT_INIT(1 << 12), what = TEXT_INIT(1 << 12);
	enum tone tone = entry->reeve ? TONE_GREEN : TONE_PLAIN;

	place_text(entry, &place);
	what_text(entry, &what);
	table_cell(table, TONE_BOLD, "%s", first ? point_names[entry->point] : "");
	table_take(table, TONE_PLAIN, &place);
	if (entry->prioritised)
		table_cell(table, TONE_PLAIN, "%d", entry->priority);
	else
		table_cell(table, TONE_PLAIN, "%s", "");
	table_cell(table, tone, "%s", entry_owner(entry));
	table_take(table, tone, &what);
}

static void print_table(const struct hooks *hooks, struct text *out)
{
	static const struct table_column columns[] = {
		{ "HOOK" }, { "ON" }, { "PRIORITY", .right = true }, { "OWNER" }, { "WHAT" },
	};
	struct table table = TABLE_INIT(columns);

	for (size_t i = 0; i < hooks->entries.n; i++) {
		const struct hook_entry *entry = &hooks->entries.items[i];

		print_entry(&table, entry, i == 0 || entry[-1].point != entry->point);
	}
	if (table_flush(&table, out) && !out->error)
		out->error = table.error;
	table_free(&table);
}

#define NOTE_WIDTH 80

/* Broken between words, lines after the first set in. */
static void print_note(const char *text, bool first, struct text *out)
{
	size_t column = strlen("note:");

	text_puts(out, first ? "\nnote:" : "note:");
	while (*text) {
		size_t len = strcspn(text, " ");

		if (column + 1 + len > NOTE_WIDTH) {
			text_puts(out, "\n     ");
			column = strlen("note:");
		}
		text_putc(out, ' ');
		text_escaped_n(out, text, len);
		column += 1 + len;
		text += len + (text[len] == ' ');
	}
	text_putc(out, '\n');
}

void hooks_text(const struct hooks *hooks, struct text *out)
{
	print_picture(hooks, out);
	if (hooks->entries.n)
		print_table(hooks, out);
	else
		text_puts(out, "nothing is registered on any of them\n");
	for (size_t i = 0; i < hooks->notes.n; i++)
		print_note(hooks->notes.items[i].text, i == 0, out);
}

/* --- JSON --- */

static json_t *number_or_null(bool there, long long number)
{
	return there ? json_integer(number) : json_null();
}

static json_t *string_or_null(const char *string)
{
	return json_text(string && string[0] ? string : NULL);
}

static json_t *families_json(unsigned families)
{
	json_t *array = json_array();

	for (size_t i = 0; i < COUNT(family_names); i++)
		if (families & family_names[i].family)
			json_array_append_new(array, json_string(family_names[i].name));
	return array;
}

static json_t *links_json(const uint32_t links[2])
{
	json_t *array = json_array();

	for (size_t i = 0; i < 2; i++)
		if (links[i])
			json_array_append_new(array, json_integer(links[i]));
	return array;
}

static json_t *entry_json(const struct hook_entry *entry)
{
	bool nat = entry->kind == HOOK_KIND_CHAIN && entry->chain_priority != entry->priority;

	return json_pack(
		"{s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}",
		"hook", point_names[entry->point], "kind", kind_names[entry->kind], "owner",
		entry_owner(entry), "reeve", entry->reeve, "name", string_or_null(entry->name),
		"detail", string_or_null(entry->detail), "device", string_or_null(entry->device),
		"families", families_json(entry->families), "cgroup", string_or_null(entry->cgroup),
		"priority", number_or_null(entry->prioritised, entry->priority), "nat_priority",
		number_or_null(nat, entry->chain_priority), "policy",
		string_or_null(policy_names[entry->policy]), "program",
		number_or_null(entry->program, entry->program), "links", links_json(entry->links),
		"packets", number_or_null(entry->counted, (long long)entry->packets), "unsure",
		entry->unsure);
}

json_t *hooks_json(const struct hooks *hooks)
{
	json_t *entries = json_array(), *notes = json_array();

	for (size_t i = 0; i < hooks->entries.n; i++)
		json_array_append_new(entries, entry_json(&hooks->entries.items[i]));
	for (size_t i = 0; i < hooks->notes.n; i++)
		json_array_append_new(notes, json_text(hooks->notes.items[i].text));
	return json_pack("{s:o, s:o}", "hooks", entries, "notes", notes);
}

int command_hooks(const struct arguments *arguments)
{
	struct text out = TEXT_INIT(TEXT_CAP_DEFAULT);
	struct problem problem;
	struct hooks hooks;
	int err;

	err = engine_hooks(&hooks, &problem);
	if (err)
		return complain_problem(arguments, err, &problem);
	if (arguments->json) {
		output_json_take(hooks_json(&hooks), false);
	} else {
		hooks_text(&hooks, &out);
		output_write(&out);
	}
	hooks_free(&hooks);
	return STATUS_DONE;
}
