// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/names.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "policy/icmp.h"
#include "policy/protocols.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
/* A table that lacks the last value of its enum does not compile. */
#define COMPLETE(array, n) _Static_assert(ARRAY_SIZE(array) == (n), #array)

static const char *pick(const char *const *names, size_t n, unsigned i)
{
	return i < n && names[i] ? names[i] : "?";
}

const char *action_name(unsigned action)
{
	static const char *const names[] = {
		[ACTION_ALLOW] = "allow",
		[ACTION_DROP] = "drop",
		[ACTION_REJECT] = "reject",
		[ACTION_TRANSLATE] = "translate",
		[ACTION_PROTECT] = "protect",
	};

	return pick(names, ARRAY_SIZE(names), action);
}

const char *event_kind_name(unsigned kind)
{
	static const char *const names[] = {
		[EVENT_DROP] = "drop",	   [EVENT_REJECT] = "reject", [EVENT_LOG] = "log",
		[EVENT_FLOW_NEW] = "flow", [EVENT_GUARD] = "guard",
	};

	return pick(names, ARRAY_SIZE(names), kind);
}

const char *event_hook_name(unsigned hook)
{
	static const char *const names[] = {
		[HOOK_ARRIVE] = "arrive",   [HOOK_DEPART] = "depart",
		[HOOK_LOCAL_IN] = "local-in", [HOOK_FORWARD] = "forward",
		[HOOK_POST_ROUTING] = "post-routing", [HOOK_EARLY] = "early",
	};

	return pick(names, ARRAY_SIZE(names), hook);
}

const char *decided_by_name(unsigned by)
{
	static const char *const names[] = {
		[BY_NOTHING] = "nothing", [BY_SANITY] = "sanity", [BY_FLOW] = "flow",
		[BY_RULE] = "rule",	  [BY_ANSWER] = "answer",
	};

	return pick(names, ARRAY_SIZE(names), by);
}

struct named {
	const char *name, *text;
	bool trouble;
};

static const struct named sanities[] = {
	[SANITY_OK] = { "ok", "well-formed" },
	[SANITY_TRUNCATED] = { "truncated", "a header ends behind the packet" },
	[SANITY_IP_VERSION] = { "ip-version", "the IP version does not fit the EtherType" },
	[SANITY_HEADER_LENGTH] = { "header-length", "impossible header length" },
	[SANITY_TOTAL_LENGTH] = { "total-length", "the IP length does not fit the frame" },
	[SANITY_EXTENSIONS] = { "extensions", "too many or broken IPv6 extension headers" },
	[SANITY_FRAGMENT] = { "fragment", "a fragment that ends too far or hides the ports" },
	[SANITY_VLAN_DEPTH] = { "vlan-depth", "too many VLAN tags" },
	[SANITY_TCP_FLAGS] = { "tcp-flags", "impossible TCP flags" },
	[SANITY_ADDRESS] = { "address", "impossible source address" },
	[SANITY_PORT_ZERO] = { "port-zero", "port 0" },
	[SANITY_MID_STREAM] = { "mid-stream", "TCP in mid-stream without a known flow" },
	[SANITY_ORPHAN] = { "orphan", "a fragment whose first one was not let pass, or not seen" },
	[SANITY_OVERLAP] = { "overlap", "a fragment that would write over the first one" },
	[SANITY_EXHAUSTED] = { "nat-exhausted", "its translation has no free port, no address, or a tuple in use" },
	[SANITY_NO_LISTENER] = { "no-listener", "nobody listens where `intercept` hands it to" },
	[SANITY_WINDOW] = { "window", "TCP with sequence numbers outside of the window of its flow" },
	[SANITY_SPOOFED] = { "spoofed", "the way back to its source does not leave by where it came from (`antispoof`)" },
};
COMPLETE(sanities, SANITY_KINDS);

static const struct named stats[] = {
	[STAT_ARRIVED] = { "arrived", "packets judged on arrival" },
	[STAT_DEPARTED] = { "departed", "packets judged on departure" },
	[STAT_EARLY_DROPPED] = { "early-dropped", "dropped by `early`, before they were judged on arrival" },
	[STAT_BY_FLOW] = { "by-flow", "passed as part of a known flow" },
	[STAT_BY_RULE] = { "by-rule", "met the rules" },
	[STAT_ALLOWED] = { "allowed", "allowed by a rule" },
	[STAT_DROPPED] = { "dropped", "dropped by a rule, or rejected without an answer" },
	[STAT_REJECTED] = { "rejected", "rejected with an answer" },
	[STAT_REJECT_LIMITED] = { "reject-limited",
				  "rejected without an answer: too many answers a second" },
	[STAT_OUTSIDE] = { "outside-window", "TCP outside of the window of its flow (`reeve watch` shows them)" },
	[STAT_SPOOFED] = { "spoofed", "dropped by `antispoof` (`reeve watch` shows them)" },
	[STAT_BEYOND] = { "beyond-limits", "went on to the next rule, beyond the limits of one" },
	[STAT_SANITY] = { "sanity", "dropped before any rule (`reeve watch` names the reason)" },
	[STAT_FLOW_NEW] = { "flows-new", "flows begun" },
	[STAT_FLOW_PROMOTED] = { "flows-replied", "flows that were answered" },
	[STAT_FLOW_CUT] = { "flows-cut", "flows ended because a later policy does not allow them" },
	[STAT_FLOW_FULL] = { "flows-full",
			     "answered flows that found the table full (`options { flows N }`)", true },
	[STAT_FLOW_FAILED] = { "flows-failed", "dropped: no flow record could be made", true },
	[STAT_GUARD_LOCAL] = { "guard-local-in",
			       "dropped by the guard before a local socket", true },
	[STAT_GUARD_FORWARD] = { "guard-forward", "dropped by the guard while forwarded", true },
	[STAT_GUARD_POST] = { "guard-post-routing", "dropped by the guard while leaving", true },
	[STAT_TRANSLATED] = { "flows-translated", "flows begun with a translation" },
	[STAT_NAT_EXHAUSTED] = { "nat-exhausted",
				 "dropped: the translation had no free port, no address on the leaving interface, or a tuple in use", true },
	[STAT_INTERCEPTED] = { "flows-intercepted", "flows handed to a transparent proxy" },
	[STAT_NO_LISTENER] = { "no-listener", "dropped: nobody listens where `intercept` hands them to", true },
	[STAT_INTERCEPT_PASSED] = { "intercept-passed", "forwarded past a proxy that does not listen (`on-missing pass`)", true },
	[STAT_SET_ADDED] = { "sets-added", "addresses added to dynamic sets by rules" },
	[STAT_SET_FULL] = { "sets-full",
			    "addresses that a rule could not add, for the set was full", true },
	[STAT_FAST] = { "fast", "of these, forwarded by the fast path" },
	[STAT_SYN_ANSWERED] = { "syn-answered", "SYNs to a protected service, answered with a cookie" },
	[STAT_SYN_REFUSED] = { "syn-refused", "SYNs to a protected service that nobody could answer: dropped" },
	[STAT_COOKIE_RIGHT] = { "cookie-right", "connections begun by an ACK with a cookie" },
	[STAT_COOKIE_WRONG] = { "cookie-wrong", "ACKs to a protected service, of no connection and without a cookie: dropped" },
	[STAT_EVENT_LOST] = { "events-lost", "events that `reeve watch` could not be shown" },
	[STAT_NO_POLICY] = { "no-policy", "dropped: the policy could not be read", true },
};
COMPLETE(stats, STAT_COUNT);

const char *sanity_name(unsigned sanity)
{
	return sanity < SANITY_KINDS ? sanities[sanity].name : "?";
}

const char *sanity_text(unsigned sanity)
{
	return sanity < SANITY_KINDS ? sanities[sanity].text : "?";
}

const char *stat_name(unsigned stat)
{
	return stat < STAT_COUNT ? stats[stat].name : "?";
}

const char *stat_text(unsigned stat)
{
	return stat < STAT_COUNT ? stats[stat].text : "?";
}

bool stat_is_trouble(unsigned stat)
{
	return stat < STAT_COUNT && stats[stat].trouble;
}

const char *guard_cause(enum event_hook hook)
{
	switch (hook) {
	case HOOK_LOCAL_IN:
		return "an nft or iptables rule redirected it to this host or overwrote its mark; or it came out of a tunnel with the outer packet's mark, or over an interface that was not covered yet";
	case HOOK_FORWARD:
		return "it came in where no program of reeve is attached, or over an interface that was not covered yet";
	case HOOK_POST_ROUTING:
		return "no program of reeve was attached where it was to leave";
	default:
		return "?";
	}
}

static const struct named coverages[] = {
	[COVERAGE_COVERED] = { "covered", NULL },
	[COVERAGE_LOOPBACK] = { "loopback", NULL },
	[COVERAGE_PORT] = { "port", NULL },
	[COVERAGE_DETOUR] = { "ifb", NULL },
	[COVERAGE_MISSING] = { "missing", "came after the last apply and is not covered, the guard holds its packets; run `reeve sync`, or reeved", true },
	[COVERAGE_DETACHED] = { "detached", "somebody took reeve's programs away; run `reeve sync`, or reeved", true },
	[COVERAGE_MOVED] = { "moved", "renamed, and judged by the zone of its former name; run `reeve sync`, or reeved", true },
};
COMPLETE(coverages, COVERAGE_KINDS);

const char *coverage_name(unsigned coverage)
{
	return coverage < COVERAGE_KINDS ? coverages[coverage].name : "?";
}

const char *coverage_trouble(unsigned coverage)
{
	return coverage < COVERAGE_KINDS ? coverages[coverage].text : NULL;
}

const char *early_state_name(unsigned early)
{
	static const char *const names[] = {
		[EARLY_UNASKED] = "none",     [EARLY_NATIVE] = "native",
		[EARLY_GENERIC] = "generic",  [EARLY_OTHERS] = "others",
		[EARLY_REFUSED] = "refused",  [EARLY_MISSING] = "missing",
	};

	COMPLETE(names, EARLY_STATES);
	return pick(names, ARRAY_SIZE(names), early);
}

const char *protection_trouble(unsigned protection)
{
	switch (protection) {
	case PROTECTION_NO_HANDOVER:
		return "`protect` is off: this kernel takes no connections that began with a SYN cookie (Linux "
		       "6.9 does); SYNs go on as if it was not there";
	case PROTECTION_NO_COOKIES:
		return "`protect` is off: SYN cookies are switched off (`sysctl -w net.ipv4.tcp_syncookies=1`); "
		       "SYNs go on as if it was not there";
	default:
		return NULL;
	}
}

#define NOT_SUPPORTED 524 /* the kernel's own ENOTSUPP, which some drivers return */

void early_trouble(enum early_state early, unsigned why, struct text *text)
{
	switch (early) {
	case EARLY_GENERIC:
		if (why == EOPNOTSUPP || why == NOT_SUPPORTED)
			text_puts(text, "its driver has no native XDP");
		else if (why == EARLY_ANSWERS_LOST)
			text_puts(text, "its driver might lose the answers of `protect`");
		else if (why)
			text_printf(text, "its driver would not take it: %s", strerror((int)why));
		else
			text_puts(text, "its driver would not take it");
		break;
	case EARLY_OTHERS:
		text_puts(text, "somebody else's XDP program is there (`reeve hooks`)");
		break;
	case EARLY_REFUSED:
		text_printf(text, "it takes no XDP program: %s", strerror((int)why));
		break;
	case EARLY_MISSING:
		text_puts(text, "not in place; run `reeve sync`, or reeved");
		break;
	default:
		break;
	}
}

/* With a text only where it is off, or half on. */
static const struct {
	const char *name, *why;
} fast_whys[] = {
	[FAST_UNKNOWN] = { "off", NULL },
	[FAST_ON] = { "on", NULL },
	[FAST_UNWANTED] = { "off", "the policy says so" },
	[FAST_SINGLE] = { "off", "no other interface where it could be on" },
	[FAST_FAR] = { "off", "the interface's index is too large" },
	[FAST_LINK] = { "off", "it has no Ethernet header" },
	[FAST_UNTOLD] = { "off", "this kernel does not tell what its driver can do with XDP" },
	[FAST_DRIVER] = { "off", "its driver has no native XDP" },
	[FAST_REDIRECT] = { "off", "its driver takes no redirected frames now" },
	[FAST_VLANS] = { "off", "VLAN devices stand on it, and XDP cannot tell their frames" },
	[FAST_CHECKSUMS] = { "off", "frames may arrive with checksums still to be made (`ethtool -K` tx off "
				    "at both ends)" },
	[FAST_OTHERS_XDP] = { "off", "somebody else's XDP program is there (`reeve hooks`)" },
	[FAST_OTHERS_TC] = { "off", "others have tc filters or programs there (`reeve hooks`)" },
	[FAST_OTHERS_NETFILTER] = { "off", "others have nftables, iptables or conntrack in the way "
					   "(`reeve hooks`)" },
	[FAST_IPSEC] = { "off", "there are IPsec policies" },
	[FAST_SHAPED] = { "arriving", "only for what arrives: its qdisc does more than queue what leaves" },
	[FAST_REFUSED] = { "off", "its program could not be attached natively" },
};
COMPLETE(fast_whys, FAST_WHYS);

const char *fast_name(unsigned fast)
{
	return fast < FAST_WHYS ? fast_whys[fast].name : "?";
}

const char *fast_trouble(unsigned fast)
{
	return fast < FAST_WHYS ? fast_whys[fast].why : NULL;
}

const char *rule_origin_name(unsigned origin)
{
	static const char *const names[] = {
		[RULE_BUILTIN] = "builtin", [RULE_FILE] = "rule", [RULE_DEFAULT] = "default",
		[RULE_BUILTIN_DEFAULT] = "builtin-default",
	};

	return pick(names, ARRAY_SIZE(names), origin);
}

static const char *const states[] = {
	[FLOW_NONE] = "none",
	[FLOW_SYN_SENT] = "syn-sent",
	[FLOW_SYN_RECV] = "syn-recv",
	[FLOW_SYN_SENT2] = "syn-sent2",
	[FLOW_ESTABLISHED] = "established",
	[FLOW_FIN_WAIT] = "fin-wait",
	[FLOW_CLOSE_WAIT] = "close-wait",
	[FLOW_LAST_ACK] = "last-ack",
	[FLOW_TIME_WAIT] = "time-wait",
	[FLOW_CLOSE] = "close",
	[FLOW_UNREPLIED] = "unreplied",
	[FLOW_REPLY_SEEN] = "replied",
	[FLOW_ASSURED] = "assured",
};
COMPLETE(states, FLOW_STATES);

const char *flow_state_name(unsigned state)
{
	return pick(states, ARRAY_SIZE(states), state);
}

const char *const *flow_state_names(size_t *n)
{
	*n = ARRAY_SIZE(states);
	return states;
}

const char *zone_name(const struct ruleset *ruleset, unsigned zone)
{
	return zone < ruleset->zone_n ? ruleset->zones[zone].name : "?";
}

const char *zone_tag_name(const struct ruleset *ruleset, unsigned tag)
{
	for (uint32_t i = 0; i < ruleset->zone_n; i++)
		if (ruleset->zones[i].tag == tag)
			return ruleset->zones[i].name;
	return "?";
}

void text_address(struct text *out, unsigned family, const uint32_t address[4])
{
	char string[INET6_ADDRSTRLEN];
	uint32_t wire[4];

	for (int i = 0; i < 4; i++)
		wire[i] = htonl(address[i]);
	if (inet_ntop(family == 6 ? AF_INET6 : AF_INET, wire, string, sizeof(string)))
		text_puts(out, string);
}

void text_endpoint(struct text *out, unsigned family, const uint32_t address[4], unsigned port)
{
	if (family == 6)
		text_putc(out, '[');
	text_address(out, family, address);
	text_printf(out, family == 6 ? "]:%u" : ":%u", port);
}

void text_protocol(struct text *out, unsigned protocol)
{
	const char *name = protocol < 256 ? protocol_name((uint8_t)protocol) : NULL;

	if (name)
		text_puts(out, name);
	else
		text_printf(out, "protocol %u", protocol);
}

void text_tcp_flags(struct text *out, unsigned flags)
{
	static const char *const names[] = { "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr" };
	bool first = true;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (!(flags & 1u << i))
			continue;
		text_printf(out, "%s%s", first ? "" : ",", names[i]);
		first = false;
	}
	if (first)
		text_puts(out, "none");
}

void text_icmp(struct text *out, unsigned family, unsigned type_code)
{
	unsigned type = type_code >> 8 & 0xff, code = type_code & 0xff;
	const char *name = icmp_name(family, (uint8_t)type, (int)code);

	if (name)
		text_puts(out, name);
	else
		text_printf(out, "type %u code %u", type, code);
}

bool protocol_is_icmp(unsigned protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}
