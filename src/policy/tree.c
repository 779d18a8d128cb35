// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/tree.h"

const char *const tree_action_words[] = {
	[TREE_ALLOW] = "allow",
	[TREE_DROP] = "drop",
	[TREE_REJECT] = "reject",
	[TREE_LIMIT] = "limit",
	[TREE_PROTECT] = "protect",
};

const char *const tree_missing_words[2] = { "drop", "pass" };

const char *const tree_outcome_words[] = {
	[TREE_ALLOWED] = "allowed",
	[TREE_DROPPED] = "dropped",
	[TREE_REJECTED] = "rejected",
};

const char *const tree_statement_words[] = {
	[TREE_ZONE] = "zone",	    [TREE_SET] = "set",
	[TREE_SERVICE] = "service", [TREE_INCLUDE] = "include",
	[TREE_POLICY] = "policy",   [TREE_NAT] = "nat",
	[TREE_EARLY] = "early",	    [TREE_INTERCEPT] = "intercept",
	[TREE_ANTISPOOF] = "antispoof", [TREE_CLAMP_MSS] = "clamp-mss",
	[TREE_SCRUB] = "scrub",
	[TREE_ASSERT] = "assert",   [TREE_OPTIONS] = "options",
};

const char *const tree_scrub_words[] = {
	[TREE_SCRUB_MIN_TTL] = "min-ttl",
	[TREE_SCRUB_NO_DF] = "no-df",
	[TREE_SCRUB_RANDOM_ID] = "random-id",
};

const char *const tree_condition_words[] = {
	[TREE_FLAGS] = "flags",	      [TREE_LENGTH] = "length", [TREE_DSCP] = "dscp",
	[TREE_MARK] = "mark",	      [TREE_MAC] = "mac",	[TREE_STATE] = "state",
	[TREE_FRAGMENT] = "fragment", [TREE_TTL] = "ttl",
};

const char *const tree_option_words[] = {
	[TREE_OPTION_LIMIT] = "limit",
	[TREE_OPTION_LOG] = "log",
	[TREE_OPTION_COUNT] = "count",
	[TREE_OPTION_MARK_SET] = "mark set",
	[TREE_OPTION_STATELESS] = "stateless",
	[TREE_OPTION_TIMEOUT] = "timeout",
	[TREE_OPTION_MAX_FLOWS] = "max flows",
	[TREE_OPTION_ADD] = "add",
	[TREE_OPTION_ID] = "id",
};

const char *const tree_reject_words[REJECT_KINDS] = {
	[REJECT_DEFAULT] = "",
	[REJECT_TCP_RESET] = "tcp-reset",
	[REJECT_NET_UNREACHABLE] = "net-unreachable",
	[REJECT_HOST_UNREACHABLE] = "host-unreachable",
	[REJECT_PROTO_UNREACHABLE] = "proto-unreachable",
	[REJECT_PORT_UNREACHABLE] = "port-unreachable",
	[REJECT_NET_PROHIBITED] = "net-prohibited",
	[REJECT_HOST_PROHIBITED] = "host-prohibited",
	[REJECT_ADMIN_PROHIBITED] = "admin-prohibited",
};

const char *const tree_flag_words[TREE_FLAG_WORDS] = { "syn", "ack", "fin", "rst",
						       "psh", "urg", "ece", "cwr" };
const uint8_t tree_flag_bits[TREE_FLAG_WORDS] = { 2, 16, 1, 4, 8, 32, 64, 128 };

const char *const tree_each_words[] = {
	[TREE_EACH_NONE] = "",
	[TREE_EACH_SOURCE] = "source",
	[TREE_EACH_DESTINATION] = "destination",
};

const char *const tree_transport_words[TREE_TRANSPORTS] = { "tcp", "udp", "sctp", "dccp",
							    "udplite" };
const uint8_t tree_transport_numbers[TREE_TRANSPORTS] = { 6, 17, 132, 33, 136 };

const struct tree_unit tree_units[TREE_UNITS] = {
	{ 's', 1 },
	{ 'm', 60 },
	{ 'h', 3600 },
	{ 'd', 86400 },
};
