// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "hostile.h"

static const char *const reasons[SANITY_KINDS] = {
	[SANITY_TRUNCATED] = "truncated",     [SANITY_IP_VERSION] = "ip-version",
	[SANITY_HEADER_LENGTH] = "header-length", [SANITY_TOTAL_LENGTH] = "total-length",
	[SANITY_EXTENSIONS] = "extensions",   [SANITY_FRAGMENT] = "fragment",
	[SANITY_VLAN_DEPTH] = "vlan-depth",   [SANITY_TCP_FLAGS] = "tcp-flags",
	[SANITY_ADDRESS] = "address",	      [SANITY_PORT_ZERO] = "port-zero",
	[SANITY_MID_STREAM] = "mid-stream",   [SANITY_ORPHAN] = "orphan",
	[SANITY_OVERLAP] = "overlap",	      [SANITY_WINDOW] = "window",
	[SANITY_SPOOFED] = "spoofed",
};

static const char intro[] =
	"# Hostile packets\n"
	"\n"
	"What becomes of packets that nobody should send. This page is printed from the table of `tests/hostile/cases.c`\n"
	"(`build/tests/hostile/hostile --manual`), and a test compares them. The same table is sent through every engine: on\n"
	"arrival and at departure, forwarded and own, with and without Ethernet header, where nothing lives and amid live\n"
	"flows that the packets pretend to be of.\n"
	"\n"
	"| outcome | means |\n"
	"| --- | --- |\n"
	"| *reason* | dropped before any rule, also under `default allow`; counted as `sanity` (`window`: as `outside-window`), and `reeve watch` names the reason |\n"
	"| *mid-stream* | dropped likewise, where a rule that is not `stateless` would allow it; another rule decides as always |\n"
	"| rules: TCP 80 | it is well-formed enough: rules decide, and see this protocol and destination port (of ICMP: type and code) |\n"
	"| rules: TCP 113, no answer | the same, but a `reject` is not answered |\n"
	"| flow | it passes as part of a live flow |\n"
	"| left alone | it is not reeve's: not IP, of a VLAN device, or of another station |\n"
	"\n"
	"The outcome amid live flows is given where it differs: there are a TCP connection (whose next number is 101, with\n"
	"a window of 65535), a UDP flow and an echo of the same addresses and ports, and first fragments of 24 bytes that passed,\n"
	"of IPv4 and of IPv6. \"Its receiver refuses it\" and remarks on the kernel tell what happens behind reeve.\n";

static void print_protocol(FILE *to, const struct fate *fate)
{
	switch (fate->protocol) {
	case 6:
		fprintf(to, "TCP %u", fate->port);
		return;
	case 17:
		fprintf(to, "UDP %u", fate->port);
		return;
	case 132:
		fprintf(to, "SCTP %u", fate->port);
		return;
	case 1:
	case 58:
		/* In the other family it is a protocol like others. */
		fprintf(to, "%s %u/%u", fate->protocol == 1 ? "ICMP" : "ICMPv6", fate->port >> 8,
			fate->port & 255);
		return;
	}
	fprintf(to, "protocol %u", fate->protocol);
	if (fate->port)
		fprintf(to, ", port %u", fate->port);
}

static void print_fate(FILE *to, const struct fate *fate)
{
	switch (fate->kind) {
	case FATE_LEFT:
		fputs("left alone", to);
		return;
	case FATE_MALFORMED:
		fputs(reasons[fate->sanity], to);
		return;
	case FATE_FLOW:
		fputs("flow", to);
		return;
	case FATE_RULES:
	case FATE_SILENT:
		fputs("rules: ", to);
		print_protocol(to, fate);
		fputs(fate->kind == FATE_SILENT ? ", no answer" : "", to);
		return;
	case FATE_NONE:
		return;
	}
}

static void print_row(FILE *to, const struct hostile *row, const char *source)
{
	const char *star = "";

	fprintf(to, "| %s | ", row->name);
	if (row->fate.kind == FATE_MALFORMED)
		star = "*";
	fputs(star, to);
	print_fate(to, &row->fate);
	fputs(star, to);
	if (row->leaves.kind) {
		fputs("; leaving: ", to);
		print_fate(to, &row->leaves);
	}
	fputs(" | ", to);
	star = row->live.kind == FATE_MALFORMED ? "*" : "";
	fputs(star, to);
	print_fate(to, &row->live);
	fprintf(to, "%s | %s |\n", star, row->source ? row->source : source);
}

void hostile_manual(FILE *to)
{
	const char *source = "";

	fputs(intro, to);
	for (size_t i = 0; i < hostile_case_n; i++) {
		const struct hostile *row = &hostile_cases[i];

		if (!row->section) {
			print_row(to, row, source);
			continue;
		}
		source = row->source;
		fprintf(to, "\n## %s\n\n| packet | outcome | amid live flows | source |\n| --- | --- | --- | --- |\n",
			row->section);
	}
}

/* One word a fate, for machines. */
static void list_fate(FILE *to, const struct fate *fate)
{
	static const char *const words[] = {
		[FATE_NONE] = "same",	[FATE_LEFT] = "left",	  [FATE_MALFORMED] = "malformed:",
		[FATE_RULES] = "rules:", [FATE_SILENT] = "silent:", [FATE_FLOW] = "flow",
	};

	fputs(words[fate->kind], to);
	if (fate->kind == FATE_MALFORMED)
		fputs(reasons[fate->sanity], to);
	if (fate->kind == FATE_RULES || fate->kind == FATE_SILENT)
		fputs(hostile_rules[fate->rule], to);
}

void hostile_list(FILE *to)
{
	for (size_t i = 0; i < hostile_case_n; i++) {
		const struct hostile *row = &hostile_cases[i];
		uint8_t bytes[HOSTILE_BYTES];
		int n;

		if (row->section)
			continue;
		fprintf(to, "%s\t", row->name);
		list_fate(to, &row->fate);
		fputc('\t', to);
		list_fate(to, &row->live);
		fprintf(to, "\t%u\t", row->gso_size);
		n = hostile_build(row->bytes, bytes);
		for (int j = 0; j < n; j++)
			fprintf(to, "%02x", bytes[j]);
		fputc('\n', to);
	}
}
