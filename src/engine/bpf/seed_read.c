// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What sock_diag and conntrack say of one connection, read out of their netlink messages.
 *
 * The bytes are looked at as foreign ones, though a kernel wrote them: lengths before contents, and
 * an entry that lacks something is left out.
 *
 * Conntrack knows a connection under two tuples, which differ where it is translated. Departure
 * sees the original direction as its reply tuple says, turned around. Arrival sees it as it came,
 * as the original tuple; what arrival finds to be for this host has a flow of that name there. So
 * where the destination is translated (a published port, a redirection) there are two flows of
 * which the one counts only if its responder is this host, and the other only if it is not.
 */
#include "engine/bpf/seed_read.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>

#include "core/flow.h"
#include "core/protocol.h"
#include "policy/protocols.h"

/* --- sockets --- */

static uint8_t diag_addresses(const struct inet_diag_msg *message, uint32_t local[4],
			      uint32_t peer[4])
{
	const uint32_t *src = message->id.idiag_src, *dst = message->id.idiag_dst;
	bool mapped = message->idiag_family == AF_INET6 && !dst[0] && !dst[1] &&
		      dst[2] == htonl(0xffff) && !src[0] && !src[1] && src[2] == htonl(0xffff);

	memset(local, 0, 16);
	memset(peer, 0, 16);
	if (message->idiag_family == AF_INET || mapped) {
		local[0] = ntohl(src[mapped ? 3 : 0]);
		peer[0] = ntohl(dst[mapped ? 3 : 0]);
		return 4;
	}
	for (int i = 0; i < 4; i++) {
		local[i] = ntohl(src[i]);
		peer[i] = ntohl(dst[i]);
	}
	return message->idiag_family == AF_INET6 ? 6 : 0;
}

static uint8_t tcp_state(unsigned kernel)
{
	switch (kernel) {
	case TCP_ESTABLISHED:
		return FLOW_ESTABLISHED;
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
	case TCP_CLOSE_WAIT:
		return FLOW_CLOSE_WAIT; /* one side has sent its FIN */
	case TCP_CLOSING:
	case TCP_LAST_ACK:
		return FLOW_LAST_ACK;
	}
	return FLOW_NONE;
}

static const struct inet_diag_msg *diag_message(const struct nlmsghdr *header)
{
	if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    mnl_nlmsg_get_payload_len(header) < sizeof(struct inet_diag_msg))
		return NULL;
	return mnl_nlmsg_get_payload(header);
}

uint16_t seed_read_listening(const struct nlmsghdr *header)
{
	const struct inet_diag_msg *message = diag_message(header);

	return message ? ntohs(message->id.idiag_sport) : 0;
}

static bool listens(const uint8_t *listening, uint16_t port)
{
	return listening[port / 8] >> port % 8 & 1;
}

unsigned seed_read_socket(const struct nlmsghdr *header, uint8_t protocol, const uint8_t *listening,
			  struct seed *seed)
{
	const struct inet_diag_msg *message = diag_message(header);
	struct seed found = { .protocol = protocol };
	uint32_t local[4], peer[4];
	uint16_t local_port, peer_port;
	bool accepted;

	if (!message)
		return 0;
	found.family = diag_addresses(message, local, peer);
	found.state = protocol == PROTOCOL_TCP ? tcp_state(message->idiag_state) : FLOW_ASSURED;
	found.ifindex = message->id.idiag_if;
	local_port = ntohs(message->id.idiag_sport);
	peer_port = ntohs(message->id.idiag_dport);
	if (!found.family || !peer_port || !found.state)
		return 0;
	accepted = protocol == PROTOCOL_TCP && listens(listening, local_port);
	memcpy(found.from, accepted ? peer : local, sizeof(found.from));
	memcpy(found.behind, found.from, sizeof(found.behind));
	memcpy(found.to, accepted ? local : peer, sizeof(found.to));
	found.from_port = accepted ? peer_port : local_port;
	found.to_port = accepted ? local_port : peer_port;
	*seed = found;
	return 1;
}

/* --- conntrack --- */

struct tuple {
	uint8_t family, protocol;
	uint32_t src[4], dst[4];
	uint16_t src_port, dst_port;
	bool addresses; /* there were some */
};

/* What is read of an entry. */
struct entry {
	struct tuple original, reply;
	uint8_t tcp_state;
	uint32_t status;
};

static bool attr_words(const struct nlattr *attr, unsigned n, uint32_t words[4])
{
	uint32_t raw[4];

	if (mnl_attr_get_payload_len(attr) < n * sizeof(*raw))
		return false;
	memcpy(raw, mnl_attr_get_payload(attr), n * sizeof(*raw));
	for (unsigned i = 0; i < n; i++)
		words[i] = ntohl(raw[i]);
	return true;
}

static int ip_receive(const struct nlattr *attr, void *context)
{
	struct tuple *tuple = context;
	unsigned n = tuple->family == 6 ? 4 : 1;

	switch (mnl_attr_get_type(attr)) {
	case CTA_IP_V4_SRC:
	case CTA_IP_V6_SRC:
		if (!attr_words(attr, n, tuple->src))
			return MNL_CB_ERROR;
		break;
	case CTA_IP_V4_DST:
	case CTA_IP_V6_DST:
		tuple->addresses = attr_words(attr, n, tuple->dst);
		break;
	}
	return MNL_CB_OK;
}

static uint16_t attr_port(const struct nlattr *attr)
{
	return mnl_attr_get_payload_len(attr) < 2 ? 0 : ntohs(mnl_attr_get_u16(attr));
}

static int proto_receive(const struct nlattr *attr, void *context)
{
	struct tuple *tuple = context;

	switch (mnl_attr_get_type(attr)) {
	case CTA_PROTO_NUM:
		if (mnl_attr_get_payload_len(attr) >= 1)
			tuple->protocol = mnl_attr_get_u8(attr);
		break;
	case CTA_PROTO_SRC_PORT:
		tuple->src_port = attr_port(attr);
		break;
	case CTA_PROTO_DST_PORT:
		tuple->dst_port = attr_port(attr);
		break;
	case CTA_PROTO_ICMP_ID:
	case CTA_PROTO_ICMPV6_ID:
		tuple->src_port = tuple->dst_port = attr_port(attr);
		break;
	}
	return MNL_CB_OK;
}

static int tuple_receive(const struct nlattr *attr, void *context)
{
	if (mnl_attr_get_type(attr) == CTA_TUPLE_IP)
		return mnl_attr_parse_nested(attr, ip_receive, context);
	if (mnl_attr_get_type(attr) == CTA_TUPLE_PROTO)
		return mnl_attr_parse_nested(attr, proto_receive, context);
	return MNL_CB_OK;
}

static int tcp_info_receive(const struct nlattr *attr, void *context)
{
	struct entry *entry = context;

	if (mnl_attr_get_type(attr) == CTA_PROTOINFO_TCP_STATE && mnl_attr_get_payload_len(attr) >= 1)
		entry->tcp_state = mnl_attr_get_u8(attr);
	return MNL_CB_OK;
}

static int protoinfo_receive(const struct nlattr *attr, void *context)
{
	return mnl_attr_get_type(attr) == CTA_PROTOINFO_TCP ?
		       mnl_attr_parse_nested(attr, tcp_info_receive, context) : MNL_CB_OK;
}

static int entry_attr_receive(const struct nlattr *attr, void *context)
{
	struct entry *entry = context;

	switch (mnl_attr_get_type(attr)) {
	case CTA_TUPLE_ORIG:
		return mnl_attr_parse_nested(attr, tuple_receive, &entry->original);
	case CTA_TUPLE_REPLY:
		return mnl_attr_parse_nested(attr, tuple_receive, &entry->reply);
	case CTA_PROTOINFO:
		return mnl_attr_parse_nested(attr, protoinfo_receive, entry);
	case CTA_STATUS:
		if (mnl_attr_get_payload_len(attr) >= 4)
			entry->status = ntohl(mnl_attr_get_u32(attr));
		break;
	}
	return MNL_CB_OK;
}

/* Conntrack's TCP states, by its numbers, which netlink shows. */
static uint8_t entry_state(const struct entry *entry)
{
	static const uint8_t states[] = { [3] = FLOW_ESTABLISHED, [4] = FLOW_FIN_WAIT,
					  [5] = FLOW_CLOSE_WAIT, [6] = FLOW_LAST_ACK };

	if (entry->reply.protocol == PROTOCOL_TCP)
		return entry->tcp_state < sizeof(states) ? states[entry->tcp_state] : 0;
	return entry->reply.protocol == PROTOCOL_UDP && entry->status & IPS_ASSURED ? FLOW_ASSURED :
									       FLOW_REPLY_SEEN;
}

/* What is no port here is none in a flow's key either: conntrack has keys of GRE in their place. */
static bool has_numbers(uint8_t protocol)
{
	return protocol_has_ports(protocol) || protocol == PROTOCOL_ICMP ||
	       protocol == PROTOCOL_ICMPV6;
}

static void seed_of(struct seed *seed, const struct entry *entry, const uint32_t from[4],
		    uint16_t from_port, const uint32_t to[4], uint16_t to_port)
{
	bool numbers = has_numbers(entry->reply.protocol);

	*seed = (struct seed){
		.family = entry->reply.family,
		.protocol = entry->reply.protocol,
		.state = entry_state(entry),
		.from_port = numbers ? from_port : 0,
		.to_port = numbers ? to_port : 0,
	};
	memcpy(seed->from, from, sizeof(seed->from));
	memcpy(seed->to, to, sizeof(seed->to));
	memcpy(seed->behind, entry->original.src, sizeof(seed->behind));
}

static bool entry_read(const struct nlmsghdr *header, struct entry *entry)
{
	const struct nfgenmsg *body = mnl_nlmsg_get_payload(header);
	uint8_t family;

	if (mnl_nlmsg_get_payload_len(header) < sizeof(*body))
		return false;
	family = body->nfgen_family == AF_INET6 ? 6 : body->nfgen_family == AF_INET ? 4 : 0;
	entry->original.family = entry->reply.family = family;
	return family && mnl_attr_parse(header, sizeof(*body), entry_attr_receive, entry) >= 0 &&
	       entry->original.addresses && entry->reply.addresses && entry->reply.protocol &&
	       entry->status & IPS_SEEN_REPLY && entry_state(entry);
}

unsigned seed_read_conntrack(const struct nlmsghdr *header, struct seed seeds[2])
{
	struct entry entry = { 0 };
	const struct tuple *original = &entry.original, *reply = &entry.reply;

	if (!entry_read(header, &entry))
		return 0;
	seed_of(&seeds[0], &entry, reply->dst, reply->dst_port, reply->src, reply->src_port);
	if (!memcmp(original->dst, reply->src, sizeof(original->dst)) &&
	    original->dst_port == reply->src_port)
		return 1;
	seeds[0].where = SEED_AWAY;
	seed_of(&seeds[1], &entry, original->src, original->src_port, original->dst,
		original->dst_port);
	seeds[1].where = SEED_HERE;
	return 2;
}
