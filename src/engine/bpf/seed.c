// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Seeding, before the first policy's programs are attached: what lives shall not be cut.
 *
 * Two sources know what lives. Sockets (sock_diag): who began a TCP connection is told by whether
 * its local port is one that is listened on. And conntrack, where something else has made it run:
 * it also knows what is forwarded or translated (seed_read.c).
 *
 * Which zone an end is in, the kernel's routes say: the interface by which it is reached, from the
 * address that this host speaks with, for that can choose the way. Answers are remembered, for many
 * connections go to few peers. What is reached by an interface that the policy leaves alone is left
 * out.
 *
 * The records hold no sequence numbers: those are learnt from the next packets (core/window.h).
 * They are of an older policy than the one that runs, which therefore looks at each once, as after
 * any other apply.
 */
#include "engine/bpf/seed.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/inet_diag.h>
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
#include "engine/bpf/seed_read.h"

#define ROUTES 4096u /* remembered; a power of two */
#define DIAG_STATES(a, b, c, d, e, f) \
	(1u << (a) | 1u << (b) | 1u << (c) | 1u << (d) | 1u << (e) | 1u << (f))

/* Where an address is: at this host, or behind an interface. */
struct place {
	struct route_question asked; /* family 0: nothing is remembered here */
	bool known;		     /* covered by the policy, or this host */
	uint16_t tag;
	uint32_t ifindex; /* 0 for this host */
};

struct seeding {
	const struct loaded *loaded;
	const struct link_vector *links;
	const struct ruleset *ruleset;
	struct place *places; /* ROUTES of them */
	uint8_t *listening;   /* a bit for each TCP port */
	uint16_t policy;
	uint64_t now, n, max;
};

/* --- places --- */

static void place_behind(const struct seeding *seeding, uint32_t ifindex, struct place *place)
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

static struct place place_find(struct seeding *seeding, const struct route_question *question)
{
	uint64_t hash = XXH3_64bits(question, sizeof(*question));
	struct place *place = &seeding->places[hash & (ROUTES - 1)];
	uint32_t ifindex;
	bool local;

	if (!memcmp(&place->asked, question, sizeof(*question)))
		return *place;
	*place = (struct place){ .asked = *question };
	if (route_lookup(question, &ifindex, &local))
		return *place;
	if (local) {
		place->tag = IMAGE_TAG_SELF;
		place->known = true;
	} else {
		place_behind(seeding, ifindex, place);
	}
	return *place;
}

static bool is_self(const struct place *place)
{
	return place->known && place->tag == IMAGE_TAG_SELF;
}

/* `own`, if not NULL, is the address that this host speaks with to it. */
static struct place place_of(struct seeding *seeding, const struct seed *seed,
			     const uint32_t address[4], const uint32_t *own)
{
	struct route_question question = { .family = seed->family };

	memcpy(question.to, address, sizeof(question.to));
	if (own) {
		memcpy(question.from, own, sizeof(question.from));
		question.ifindex = seed->ifindex;
	}
	return place_find(seeding, &question);
}

/* --- records --- */

static bool places_of(struct seeding *seeding, const struct seed *seed, struct place *from,
		      struct place *to)
{
	*from = place_of(seeding, seed, seed->behind, NULL);
	*to = place_of(seeding, seed, seed->to, NULL);
	if (is_self(from) && !is_self(to))
		*to = place_of(seeding, seed, seed->to, seed->behind);
	else if (is_self(to) && !is_self(from))
		*from = place_of(seeding, seed, seed->behind, seed->to);
	return from->known && to->known && !(is_self(from) && is_self(to)) &&
	       (seed->where == SEED_ANYWHERE || is_self(to) == (seed->where == SEED_HERE));
}

/* Non-zero when the table is full enough. */
static int seed_put(struct seeding *seeding, const struct seed *seed)
{
	struct flow flow = {
		.protocol = seed->protocol,
		.state = seed->state,
		.policy = seeding->policy,
	};
	struct place from, to;
	struct flow_key key;

	if (!places_of(seeding, seed, &from, &to))
		return 0;
	flow.from_tag = from.tag;
	flow.from_ifindex = from.ifindex;
	flow.to_tag = to.tag;
	flow.to_ifindex = to.ifindex;
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

/* --- the sources --- */

static int listening_receive(const struct nlmsghdr *header, void *context)
{
	struct seeding *seeding = context;
	uint16_t port = seed_read_listening(header);

	seeding->listening[port / 8] |= (uint8_t)(1u << port % 8);
	return MNL_CB_OK;
}

static int socket_receive(const struct nlmsghdr *header, struct seeding *seeding, uint8_t protocol)
{
	struct seed seed;

	return seed_read_socket(header, protocol, seeding->listening, &seed) &&
			       seed_put(seeding, &seed) ?
		       MNL_CB_STOP : MNL_CB_OK;
}

static int tcp_receive(const struct nlmsghdr *header, void *context)
{
	return socket_receive(header, context, PROTOCOL_TCP);
}

static int udp_receive(const struct nlmsghdr *header, void *context)
{
	return socket_receive(header, context, PROTOCOL_UDP);
}

static int conntrack_receive(const struct nlmsghdr *header, void *context)
{
	struct seed seeds[2];
	unsigned n = seed_read_conntrack(header, seeds);

	for (unsigned i = 0; i < n; i++)
		if (seed_put(context, &seeds[i]))
			return MNL_CB_STOP;
	return MNL_CB_OK;
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
		    const struct ruleset *ruleset, uint64_t generation)
{
	cleanup_free struct place *places = calloc(ROUTES, sizeof(*places));
	cleanup_free uint8_t *listening = calloc(SEED_PORTS / 8, 1);
	struct seeding seeding = {
		.loaded = loaded,
		.links = links,
		.ruleset = ruleset,
		.places = places,
		.listening = listening,
		.policy = (uint16_t)generation,
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
