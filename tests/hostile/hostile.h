// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hostile packets and what must become of them.
 *
 * One table (cases.c), written by hand from the RFCs and the language's documents, is all there is:
 * the test sends its packets through every engine and program, docs/HOSTILE.md is printed from it,
 * tests/e2e/hostile.py takes its outcomes from it.
 *
 * A packet is spelt in words that are separated by blanks:
 *	hex digits	bytes
 *	len4		the total length of the IPv4 header whose third byte this is: up to `end`
 *	len6		the payload length of the IPv6 header whose fifth byte this is
 *	lenu		the length of the UDP header whose fifth byte this is
 *	rep:N:HEX	the bytes, N times
 *	end		where those lengths end, if not at the end of the frame
 *	cut:N		of the frame there are only N bytes
 *
 * All packets are under one policy (HOSTILE_POLICY), so that it shows as what a packet meets the
 * rules. Each is sent twice: where nothing lives, and where the flows of hostile_live live.
 */
#ifndef REEVE_TESTS_HOSTILE_H
#define REEVE_TESTS_HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/event.h"

#define HOSTILE_BYTES 3200

/* The rules of HOSTILE_POLICY. */
enum rule_name {
	ALLOW_HTTP,
	ALLOW_DNS,
	ALLOW_SCTP,
	ALLOW_ECHO,
	ALLOW_ECHO6,
	REJECT_AUTH,
	DEFAULT,
	RULE_NAMES,
};

enum fate_kind {
	FATE_NONE,
	FATE_LEFT,	/* none of ours */
	FATE_MALFORMED, /* dropped for `sanity` */
	FATE_RULES,	/* meets `rule` as `protocol` to `port` */
	FATE_SILENT,	/* the same, and rejected without an answer */
	FATE_FLOW,	/* passes as part of a live flow */
};

struct fate {
	enum fate_kind kind;
	enum sanity sanity;
	enum rule_name rule;
	uint8_t protocol;
	uint16_t port; /* destination port, or ICMP type << 8 | code */
};

/* A row with a section and nothing else begins a section; `source` is then that of its rows. */
struct hostile {
	const char *section;
	const char *name; /* unique */
	const char *bytes;
	struct fate fate;
	struct fate live;   /* amid live flows, if that is another one */
	struct fate leaves; /* at departure, likewise; flows or not */
	const char *source; /* RFC, or what else says so */
	uint16_t gso_size;
	uint16_t scale;	    /* 1 + the window scale that is read of a SYN; SCALE_NONE where there is none */
	uint16_t sweep;	    /* cut at each length from this one on, and each time this fate */
};

struct live_packet {
	bool reply;
	const char *bytes;
};

extern const char *const hostile_policy[]; /* lines, NULL at the end */
extern const char *const hostile_rules[RULE_NAMES]; /* their texts */
extern const struct hostile hostile_cases[];
extern const size_t hostile_case_n;
extern const struct live_packet hostile_live[];
extern const size_t hostile_live_n;

/* Writes the frame; returns its length, or -1 for a spelling that is wrong. */
int hostile_build(const char *spelling, uint8_t bytes[HOSTILE_BYTES]);
/* The manual: docs/HOSTILE.md. */
void hostile_manual(FILE *to);
/* A line a case: name, fate, fate amid live flows; for other tests. */
void hostile_list(FILE *to);

#endif
