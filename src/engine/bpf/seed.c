// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Seeding, before the first policy's programs are attached: what lives shall not be cut.
 *
 * Two sources know what lives. Sockets (sock_diag): who began a TCP connection is told by whether
 * its local port is one that is listened on. And conntrack, where something else has made it run:
 * it also knows what is forwarded. Its reply tuple, turned around, is what departure sees of the
 * original direction, whatever is translated on the way, and departure is where reeve knows
 * forwarded flows.
 *
 * Which zone an end is in, the kernel's routes say: the interface by which it is reached. Answers
 * are remembered by address, for many connections go to few peers. What is reached by an interface
 * that the policy leaves alone is left out.
 *
 * The records hold no sequence numbers: those are learnt from the next packets (core/window.h).
 * They are of policy 0, which is older than any, so the policy that runs looks at each once, as
 * after any other apply.
 */
#include "engine/bpf/seed.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "core/protocol.h"
#include "engine/bpf/attach.h"

#define ROUTES 4096u /* remembered; a power of two */
#define PORTS 65536u
#define DIAG_STATES(a, b, c, d, e, f) \
	(1u << (a) | 1u << (b) | 1u << (c) | 1u << (d) | 1u << (e) | 1u << (f))

/* Where an address is: at this host, or behind an interface. */
struct place {
	uint32_t address[4];
	uint8_t family; /* 0: nothing is remembered here */
	bool known;	/* covered by the policy, or this host */
	uint16_t tag;
	uint32_t ifindex; /* 0 for this host */
};

struct seeding {
	const struct loaded *loaded;
	const struct link_vector *links;
	const struct ruleset *ruleset;
	struct place *places; /* ROUTES of them */
	uint8_t *listening;   /* a bit for each TCP port */
	uint64_t now, n, max;
};

/* --- places --- */

static void place_behind(struct seeding *seeding, uint32_t ifindex, struct place *place)
{
	for (size_t i = 0; i < seeding->links->n; i++) {
		const struct link *link = &seeding->links->items[i];
		uint32_t zone;

		if (link->ifindex != ifindex ||
		    link_coverage(link, seeding->ruleset) != COVERAGE_COVERED)
			continue;
		zone = ruleset_interface_zone(seeding->ruleset, link->name);
		place->tag = seeding->ruleset->zones[zone].tag;
		place->ifindex = ifindex;
		place->known = true;
	}
}

static const struct place *place_of(struct seeding *seeding, uint8_t family,
				    const uint32_t address[4])
{
	uint64_t hash = XXH3_64bits(address, 16);
	struct place *place = &seeding->places[hash & (ROUTES - 1)];
	uint32_t ifindex;
	bool local;

	if (place->family == family && !memcmp(place->address, address, 16))
		return place;
	*place = (struct place){ .family = family };
	memcpy(place->address, address, 16);
	if (route_lookup(family, address, &ifindex, &local))
		return place;
	if (local) {
		place->tag = IMAGE_TAG_SELF;
		place->known = true;
	} else {
		place_behind(seeding, ifindex, place);
	}
	return place;
}

/* --- records --- */

struct seed {
	uint8_t family, protocol, state;
	uint32_t from[4], to[4]; /* originator, responder; as in FIELD_SRC */
	uint16_t from_port, to_port;
	uint32_t behind[4]; /* by what the originator's zone is found: its address, untranslated */
};

/* Non-zero when the table is full enough. */
static int seed_put(struct seeding *seeding, const struct seed *seed)
{
	const struct place *from = place_of(seeding, seed->family, seed->behind);
	struct flow flow = { .protocol = seed->protocol, .state = seed->state };
	const struct place *to;
	struct flow_key key;

	if (!from->known)
		return 0;
	flow.from_tag = from->tag;
	flow.from_ifindex = from->ifindex;
	to = place_of(seeding, seed->family, seed->to); /* it may take the other's place */
	if (!to->known || (flow.from_tag == IMAGE_TAG_SELF && to->tag == IMAGE_TAG_SELF))
		return 0;
	flow.to_tag = to->tag;
	flow.to_ifindex = to->ifindex;
	flow.created = flow.seen = seeding->now;
	flow.flags = FLOW_REPLIED | FLOW_PICKED_UP | FLOW_SEEDED;
	if (flow_key_order(&key, seed->from, seed->to, seed->from_port, seed->to_port,
			   seed->protocol, seed->family))
		flow.flags |= FLOW_ORIGIN_HIGH;
	if (!bpf_map_update_elem(seeding->loaded->maps[MAP_FLOWS], &key, &flow, BPF_NOEXIST))
		seeding->n++;
	return seeding->n >= seeding->max;
}

/* --- netlink --- */

static void socket_close(struct mnl_socket **socket)
{
	if (*socket)
		mnl_socket_close(*socket);
}

/* Sends a request for a dump. Errors end it: the source is then left out. */
static void dump(int protocol, struct nlmsghdr *request, mnl_cb_t receive, struct seeding *seeding)
{
	cleanup(socket_close) struct mnl_socket *socket = mnl_socket_open(protocol);
	size_t size = (size_t)MNL_SOCKET_BUFFER_SIZE * 8;
	cleanup_free char *buffer = malloc(size);
	ssize_t n;

	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = 1;
	if (!socket || !buffer || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return;
	do {
		n = mnl_socket_recvfrom(socket, buffer, size);
	} while (n > 0 && seeding->n < seeding->max &&
		 mnl_cb_run(buffer, (size_t)n, 1, mnl_socket_get_portid(socket), receive, seeding) > 0);
}

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

static int listening_receive(const struct nlmsghdr *header, void *context)
{
	const struct inet_diag_msg *message = mnl_nlmsg_get_payload(header);
	struct seeding *seeding = context;
	uint16_t port;

	if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    mnl_nlmsg_get_payload_len(header) < sizeof(*message))
		return MNL_CB_OK;
	port = ntohs(message->id.idiag_sport);
	seeding->listening[port / 8] |= (uint8_t)(1u << port % 8);
	return MNL_CB_OK;
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

static int socket_receive(const struct nlmsghdr *header, struct seeding *seeding, uint8_t protocol)
{
	const struct inet_diag_msg *message = mnl_nlmsg_get_payload(header);
	struct seed seed = { .protocol = protocol };
	uint32_t local[4], peer[4];
	uint16_t local_port, peer_port;
	bool accepted;

	if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    mnl_nlmsg_get_payload_len(header) < sizeof(*message))
		return MNL_CB_OK;
	seed.family = diag_addresses(message, local, peer);
	local_port = ntohs(message->id.idiag_sport);
	peer_port = ntohs(message->id.idiag_dport);
	seed.state = protocol == PROTOCOL_TCP ? tcp_state(message->idiag_state) : FLOW_ASSURED;
	if (!seed.family || !peer_port || !seed.state)
		return MNL_CB_OK;
	accepted = protocol == PROTOCOL_TCP &&
		   seeding->listening[local_port / 8] >> local_port % 8 & 1;
	memcpy(seed.from, accepted ? peer : local, 16);
	memcpy(seed.behind, seed.from, 16);
	memcpy(seed.to, accepted ? local : peer, 16);
	seed.from_port = accepted ? peer_port : local_port;
	seed.to_port = accepted ? local_port : peer_port;
	return seed_put(seeding, &seed) ? MNL_CB_STOP : MNL_CB_OK;
}

static int tcp_receive(const struct nlmsghdr *header, void *context)
{
	return socket_receive(header, context, PROTOCOL_TCP);
}

static int udp_receive(const struct nlmsghdr *header, void *context)
{
	return socket_receive(header, context, PROTOCOL_UDP);
}

static void sockets_dump(struct seeding *seeding, unsigned char family, unsigned char protocol,
			 uint32_t states, mnl_cb_t receive)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *body = mnl_nlmsg_put_extra_header(request, sizeof(*body));

	request->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	body->sdiag_family = family;
	body->sdiag_protocol = protocol;
	body->idiag_states = states;
	dump(NETLINK_SOCK_DIAG, request, receive, seeding);
}

static void seed_sockets(struct seeding *seeding)
{
	static const unsigned char families[] = { AF_INET, AF_INET6 };
	uint32_t live = DIAG_STATES(TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_CLOSE_WAIT,
				    TCP_CLOSING, TCP_LAST_ACK);

	for (size_t i = 0; i < sizeof(families); i++)
		sockets_dump(seeding, families[i], IPPROTO_TCP, 1u << TCP_LISTEN, listening_receive);
	for (size_t i = 0; i < sizeof(families); i++) {
		sockets_dump(seeding, families[i], IPPROTO_TCP, live, tcp_receive);
		/* A connected UDP socket is "established". */
		sockets_dump(seeding, families[i], IPPROTO_UDP, 1u << TCP_ESTABLISHED, udp_receive);
	}
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

static int conntrack_receive(const struct nlmsghdr *header, void *context)
{
	const struct nfgenmsg *body = mnl_nlmsg_get_payload(header);
	struct seeding *seeding = context;
	struct entry entry = { 0 };
	struct seed seed = { 0 };

	if (mnl_nlmsg_get_payload_len(header) < sizeof(*body))
		return MNL_CB_OK;
	seed.family = body->nfgen_family == AF_INET6 ? 6 : body->nfgen_family == AF_INET ? 4 : 0;
	entry.original.family = entry.reply.family = seed.family;
	if (!seed.family || mnl_attr_parse(header, sizeof(*body), entry_attr_receive, &entry) < 0 ||
	    !entry.original.addresses || !entry.reply.addresses ||
	    !(entry.status & IPS_SEEN_REPLY))
		return MNL_CB_OK;
	seed.protocol = entry.reply.protocol;
	seed.state = entry_state(&entry);
	memcpy(seed.behind, entry.original.src, 16);
	memcpy(seed.from, entry.reply.dst, 16);
	memcpy(seed.to, entry.reply.src, 16);
	seed.from_port = entry.reply.dst_port;
	seed.to_port = entry.reply.src_port;
	return seed.state && seed_put(seeding, &seed) ? MNL_CB_STOP : MNL_CB_OK;
}

static void seed_conntrack(struct seeding *seeding)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *body = mnl_nlmsg_put_extra_header(request, sizeof(*body));

	request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
	body->nfgen_family = AF_UNSPEC;
	body->version = NFNETLINK_V0;
	dump(NETLINK_NETFILTER, request, conntrack_receive, seeding);
}

uint64_t seed_flows(const struct loaded *loaded, const struct link_vector *links,
		    const struct ruleset *ruleset)
{
	cleanup_free struct place *places = calloc(ROUTES, sizeof(*places));
	cleanup_free uint8_t *listening = calloc(PORTS / 8, 1);
	struct seeding seeding = {
		.loaded = loaded,
		.links = links,
		.ruleset = ruleset,
		.places = places,
		.listening = listening,
		.max = ruleset->options.flows_max - ruleset->options.flows_max / 4,
	};
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	seeding.now = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	if (!places || !listening)
		return 0;
	seed_sockets(&seeding);
	seed_conntrack(&seeding);
	return seeding.n;
}
