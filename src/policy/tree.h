// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tree: a policy file as it is written.
 *
 * One tree per file. It holds what was said, not what it means: zones, sets and services are
 * names, an `include` is a name. What is a matter of spelling (addresses, prefixes, ports, rates,
 * durations, flags) is checked and converted by the parser, so a tree is always well formed: the
 * reader of a tree only has to look names up. Comments and blank lines stay, as trivia, so that
 * the tree prints back as its file in canonical form (format.h).
 *
 * Everything lives in the arena given to the parser. Strings end in NUL and hold no NUL. Arrays
 * with n == 0 may be NULL. Numbers are in host order.
 */
#ifndef REEVE_POLICY_TREE_H
#define REEVE_POLICY_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/source.h"
#include "base/vector.h"
#include "core/types.h"

/*
 * One comment line, without `#` and the blank behind it. Comments may hold any bytes but NUL and
 * newline.
 */
struct tree_comment {
	const char *text;
	bool blank_before; /* an empty line stands before it */
};

/*
 * Comments and space around a statement, a rule or an entry of a list; NULL where there are none.
 */
struct tree_trivia {
	const struct tree_comment *leading; /* lines of their own before it */
	uint32_t leading_n;
	const char *trailing; /* behind it on its last line, or NULL: the description of a rule */
	bool blank_before;    /* an empty line between it and what is before it */
};

/* A name or a text. A quoted one is never a keyword. */
struct tree_word {
	const char *text;
	struct position position;
	bool quoted;
	const struct tree_trivia *trivia; /* in lists */
};

struct tree_words {
	const struct tree_word *items;
	uint32_t n;			    /* at least 1 */
	bool braces;			    /* `{ a, b }` */
	const struct tree_comment *closing; /* comment lines before the `}` */
	uint32_t closing_n;
};

/* --- addresses --------------------------------------------------------- */

enum tree_address_kind {
	TREE_ADDRESS_PREFIX, /* also a single address: its prefix is 32 or 128 */
	TREE_ADDRESS_RANGE,  /* lo < hi or lo == hi, one family */
	TREE_ADDRESS_SET,    /* `@name` */
};

struct tree_address {
	enum tree_address_kind kind;
	uint8_t family; /* 4 or 6; 0 for a set */
	uint8_t prefix; /* of TREE_ADDRESS_PREFIX: 0..32 or 0..128 */
	/* words as in FIELD_SRC, ends included; filled for prefixes too, host bits masked */
	uint32_t lo[4], hi[4];
	const char *set; /* name of TREE_ADDRESS_SET */
	struct position position;
	const struct tree_trivia *trivia; /* in lists */
};

struct tree_addresses {
	struct position position;
	bool negated; /* `!`: of the whole list */
	bool braces;
	const struct tree_address *items;
	uint32_t n; /* at least 1, but an empty `set x = {}` has 0 */
	const struct tree_comment *closing;
	uint32_t closing_n;
};

/* --- services and ports ------------------------------------------------ */

enum tree_service_kind {
	TREE_SERVICE_PORTS, /* `22/tcp`, `53`, `6000-6063/udp` */
	TREE_SERVICE_NAME,  /* `ssh`, `web`, `domain/udp` */
	/* `tcp`, `udp`, `sctp`, … alone, `tcp syn`, `proto gre`, `proto 47` */
	TREE_SERVICE_PROTOCOL,
	/* `icmp`, `icmp echo-request`, `icmpv6 type 143`, `icmp type 3 code 4` */
	TREE_SERVICE_ICMP,
	TREE_SERVICE_ANY,  /* `any` */
	TREE_SERVICE_LIST, /* `{ … }`, `{ 80, 443 }/tcp` */
};

struct tree_service {
	enum tree_service_kind kind;
	struct position position;
	const struct tree_trivia *trivia; /* in lists */
	uint16_t lo, hi;		  /* PORTS */
	/*
	 * PORTS, NAME, LIST: the number behind `/` (tcp, udp, sctp, dccp, udplite), or -1: none
	 * was written. PROTOCOL: the number, or -1: `name` is to be looked up. ICMP: 1 or 58.
	 * Below a LIST with a protocol there are only PORTS and NAME, with protocol -1.
	 */
	int16_t protocol;
	/* NAME; PROTOCOL written `proto NAME`; ICMP type by name; else text == NULL */
	struct tree_word name;
	bool proto; /* PROTOCOL: written with the word `proto` */
	bool syn;   /* PROTOCOL tcp: `tcp syn`, that is flags syn/syn,ack,fin,rst */
	/* ICMP: the number behind `type`, or -1: by name, or any if there is no name */
	int16_t icmp_type;
	int16_t icmp_code; /* ICMP: the number behind `code`, or -1: any */
	/* LIST; a list within a list has a protocol, and no list in it */
	const struct tree_service *items;
	uint32_t n;
	const struct tree_comment *closing;
	uint32_t closing_n;
};

/* --- match: what a rule, a question, an assertion is about ------------- */

enum tree_condition_kind { /* also the order in which they are printed */
			   TREE_FLAGS,
			   TREE_LENGTH,
			   TREE_DSCP,
			   TREE_MARK,
			   TREE_MAC,
			   TREE_STATE,
			   TREE_FRAGMENT,
			   TREE_TTL,
			   TREE_CONDITION_KINDS,
};

enum tree_comparison { TREE_IN, TREE_LESS, TREE_LESS_EQUAL, TREE_GREATER, TREE_GREATER_EQUAL };

struct tree_span {
	enum tree_comparison comparison; /* as written; lo and hi hold what it means */
	uint32_t lo, hi;		 /* ends included; never lo > hi */
};

struct tree_masked {
	/* value lies in mask. Without a written mask: all bits (flags: those of value) */
	uint32_t value, mask;
	bool has_mask; /* a mask was written */
	bool hex;      /* written in hexadecimal */
};

struct tree_condition {
	enum tree_condition_kind kind;
	struct position position;
	union {
		struct tree_masked masked; /* FLAGS (bits as in FIELD_TCP_FLAGS), MARK */
		struct tree_span span;	   /* LENGTH 0..UINT32_MAX, TTL 0..255 */
		struct {
			uint8_t value;
			const char *name; /* as written, or NULL for a number */
		} dscp;
		uint8_t mac[6];
		uint8_t state; /* STATE_NEW or STATE_UNTRACKED */
	};
};

/*
 * `[SERVICE] [from [ADDR] [port PORTS]] [to ADDR] [conditions]`. Parts that were not written are
 * NULL.
 */
struct tree_match {
	const struct tree_service *service;
	const struct tree_addresses *from;
	/* PORTS, NAME, or a LIST of these without protocol */
	const struct tree_service *from_ports;
	const struct tree_addresses *to;
	const struct tree_condition *conditions; /* sorted by kind, each at most once */
	uint32_t condition_n;
};

/* --- rules ------------------------------------------------------------- */

enum tree_action { TREE_ALLOW, TREE_DROP, TREE_REJECT, TREE_LIMIT, TREE_PROTECT /* only in `early` */ };

enum tree_each { TREE_EACH_NONE, TREE_EACH_SOURCE, TREE_EACH_DESTINATION };

struct tree_rate {
	uint32_t count, period; /* count per `period` seconds, both at least 1 */
	uint32_t burst;		/* 0: not written */
	enum tree_each each;
	uint8_t prefix; /* of IPv6 addresses: `each source/56`; 0: not written */
};

enum tree_option_kind { /* also the order in which they are printed */
			TREE_OPTION_LIMIT,
			TREE_OPTION_LOG,
			TREE_OPTION_COUNT,
			TREE_OPTION_MARK_SET,
			TREE_OPTION_STATELESS,
			TREE_OPTION_TIMEOUT,
			TREE_OPTION_MAX_FLOWS,
			TREE_OPTION_ADD,
			TREE_OPTION_ID,
			TREE_OPTION_KINDS,
};

struct tree_option {
	enum tree_option_kind kind;
	struct position position;
	union {
		struct tree_rate rate; /* LIMIT */
		struct {
			const char *text; /* or NULL */
			uint32_t sample;  /* `sample 1/N`; 1 when not written */
		} log;
		struct tree_word name;	   /* COUNT, ID */
		struct tree_masked masked; /* MARK_SET */
		uint32_t seconds;	   /* TIMEOUT */
		struct {
			uint32_t n;
			enum tree_each each;
			uint8_t prefix; /* as in a rate */
		} max_flows;
		struct {
			enum tree_each what; /* SOURCE or DESTINATION */
			struct tree_word set;
		} add;
	};
};

struct tree_rule {
	struct position position; /* of the action */
	const struct tree_trivia *trivia;
	enum tree_action action;
	enum reject reject; /* of TREE_REJECT; REJECT_DEFAULT without `with` */
	struct tree_match match;
	/* sorted by kind, each at most once. TREE_LIMIT always has LIMIT */
	const struct tree_option *options;
	uint32_t option_n;
};

/* --- statements -------------------------------------------------------- */

/* What is inside the braces of a policy, nat, early or options block, apart from the statements. */
struct tree_block {
	bool inline_block;		    /* was written on one line */
	const char *opening;		    /* comment behind `{`, or NULL */
	const struct tree_comment *closing; /* comment lines before `}` */
	uint32_t closing_n;
};

struct tree_zone {
	struct tree_word name;
	struct tree_words patterns;
};

enum tree_set_kind { TREE_SET_LIST, TREE_SET_FILE, TREE_SET_DYNAMIC };

struct tree_set {
	struct tree_word name;
	enum tree_set_kind kind;
	struct tree_addresses list; /* LIST; never negated */
	struct tree_word file;	    /* FILE */
	uint32_t timeout, max;	    /* DYNAMIC: seconds and entries; 0: not written */
	/* DYNAMIC: written with braces; the rest is what stands in them */
	bool dynamic_braces;
	const struct tree_trivia *timeout_trivia, *max_trivia;
	const struct tree_comment *closing;
	uint32_t closing_n;
};

struct tree_service_definition {
	struct tree_word name;
	const struct tree_service *service;
};

/* `wan`, `{ wan, dmz }`; `self`, `any` and `other` are words like others here. */
struct tree_pair {
	struct position position; /* of the whole pair */
	struct tree_words from, to;
};

struct tree_policy {
	struct tree_pair pair;
	bool has_default;
	struct position default_position; /* of the word `default` */
	enum tree_action default_action;  /* allow, drop, reject */
	enum reject default_reject;
	bool has_block;
	struct tree_block block;
	const struct tree_rule *rules;
	uint32_t rule_n;
};

enum tree_nat_kind { TREE_NAT_SOURCE, TREE_NAT_MASQUERADE, TREE_NAT_FORWARD };

/*
 * Where a packet is sent: `10.0.0.1`, `10.0.0.1:80`, `[2001:db8::1]:8000-8010`, a range, a prefix.
 */
struct tree_target {
	struct tree_address address; /* PREFIX or RANGE */
	bool has_ports;
	uint16_t lo, hi;
	const struct tree_trivia *trivia; /* in lists */
};

struct tree_targets {
	const struct tree_target *items;
	uint32_t n; /* 0: none was written (masquerade) */
	bool braces;
	const struct tree_comment *closing;
	uint32_t closing_n;
};

struct tree_nat_rule {
	struct position position;
	const struct tree_trivia *trivia;
	enum tree_nat_kind kind;
	/* service, from and from_ports; FORWARD: also `to`, when two were written */
	struct tree_match match;
	struct tree_targets to;
	bool full_cone; /* SOURCE, MASQUERADE */
};

struct tree_nat {
	struct tree_pair pair;
	struct tree_block block;
	const struct tree_nat_rule *rules;
	uint32_t rule_n;
};

struct tree_early {
	struct tree_words zones;
	struct tree_block block;
	const struct tree_rule *rules; /* TREE_DROP, TREE_LIMIT, TREE_PROTECT */
	uint32_t rule_n;
};

struct tree_intercept {
	struct tree_pair pair;
	struct tree_match match; /* service, from and from_ports only */
	struct tree_target to;
	bool pass; /* `on-missing pass` */
};

struct tree_antispoof {
	struct tree_words zones;
	bool loose;
};

struct tree_clamp_mss {
	struct tree_words zones;
	uint32_t size; /* `to 1360`; 0: none was written */
};

enum tree_scrub_word { TREE_SCRUB_MIN_TTL, TREE_SCRUB_NO_DF, TREE_SCRUB_RANDOM_ID, TREE_SCRUB_WORDS };

struct tree_scrub {
	struct tree_words zones;
	uint32_t asked; /* bit n: enum tree_scrub_word n was written; at least one */
	uint8_t min_ttl;
	const struct tree_trivia *trivia[TREE_SCRUB_WORDS];
	const struct tree_comment *closing;
	uint32_t closing_n;
};

enum tree_outcome { TREE_ALLOWED, TREE_DROPPED, TREE_REJECTED };

struct tree_assert {
	struct tree_pair pair;
	struct tree_match match;
	enum tree_outcome outcome;
	bool has_except;
	struct tree_match except;
};

/*
 * `NAME VALUE` of an options block; which there are and what they mean is not the parser's
 * business.
 */
struct tree_setting {
	struct tree_word name;	/* with the trivia of the line */
	struct tree_word value; /* `on`, `off`, a number: as written */
};

struct tree_settings {
	struct tree_block block;
	const struct tree_setting *items;
	uint32_t n;
};

enum tree_statement_kind {
	TREE_ZONE,
	TREE_SET,
	TREE_SERVICE,
	TREE_INCLUDE,
	TREE_POLICY,
	TREE_NAT,
	TREE_EARLY,
	TREE_INTERCEPT,
	TREE_ANTISPOOF,
	TREE_CLAMP_MSS,
	TREE_SCRUB,
	TREE_ASSERT,
	TREE_OPTIONS,
};

struct tree_statement {
	enum tree_statement_kind kind;
	struct position position; /* of the keyword */
	const struct tree_trivia *trivia;
	union {
		struct tree_zone zone;
		struct tree_set set;
		struct tree_service_definition service;
		struct tree_word include;
		struct tree_policy policy;
		struct tree_nat nat;
		struct tree_early early;
		struct tree_intercept intercept;
		struct tree_antispoof antispoof;
		struct tree_clamp_mss clamp_mss;
		struct tree_scrub scrub;
		struct tree_assert assertion;
		struct tree_settings settings;
	};
};

/* A definition that had an error: whoever speaks of it is not to blame. */
struct tree_broken {
	enum tree_statement_kind kind; /* TREE_ZONE, TREE_SET, TREE_SERVICE */
	const char *name;	       /* NULL: it could not be read */
};

VECTOR(broken_vector, struct tree_broken);

struct tree {
	uint32_t source; /* index in the source set */
	const struct tree_broken *broken; /* empty in a tree without errors */
	uint32_t broken_n;
	const struct tree_statement *const *statements;
	uint32_t n;
	const struct tree_comment *closing; /* comment lines at the end of the file */
	uint32_t closing_n;
};

/* `wan -> self 22/tcp from 203.0.113.9`: a packet said as a rule says it. */
struct question {
	struct position position;
	struct tree_word from, to; /* zones */
	struct tree_match match;
};

/* --- words ------------------------------------------------------------- */

/* Tables of words, for messages and printing. Each is indexed by its enum. */
extern const char *const tree_action_words[];	 /* enum tree_action */
extern const char *const tree_outcome_words[];	 /* enum tree_outcome */
extern const char *const tree_missing_words[2];	 /* what happens where nobody listens: `drop`, `pass` */
extern const char *const tree_statement_words[]; /* enum tree_statement_kind */
extern const char *const tree_scrub_words[];	 /* enum tree_scrub_word, in the order in which they are printed */
extern const char *const tree_condition_words[]; /* enum tree_condition_kind */
/* enum tree_option_kind, "mark set", "max flows", … */
extern const char *const tree_option_words[];
extern const char *const tree_reject_words[REJECT_KINDS]; /* "" for REJECT_DEFAULT */
extern const char *const tree_each_words[];		  /* enum tree_each, "" for none */

/* TCP flags in the order in which they are printed, and their bits. */
#define TREE_FLAG_WORDS 8
extern const char *const tree_flag_words[TREE_FLAG_WORDS];
extern const uint8_t tree_flag_bits[TREE_FLAG_WORDS];

/* Protocols with ports, which may stand behind `/`, and their numbers. */
#define TREE_TRANSPORTS 5
extern const char *const tree_transport_words[TREE_TRANSPORTS];
extern const uint8_t tree_transport_numbers[TREE_TRANSPORTS];

/* Units of time, the shortest first. */
#define TREE_UNITS 4
extern const struct tree_unit {
	char letter;
	uint32_t seconds;
} tree_units[TREE_UNITS];

#endif
