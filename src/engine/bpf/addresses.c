// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/addresses.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/bpf/netlink.h"
#include "engine/bpf/problem.h"

/* Where nobody is: the dummy address (RFC 7600), and one that IANA has not given away. */
static const uint32_t nowhere[2][4] = { { 0xc0000008 }, { 0x20000000, 0, 0, 1 } };

/* Flags of addresses with which the kernel takes none for a source. */
#define UNFIT (IFA_F_TENTATIVE | IFA_F_DADFAILED)

static void words_read(const struct nlattr *attr, uint32_t words[4])
{
	size_t size = mnl_attr_get_payload_len(attr);
	const char *payload = mnl_attr_get_payload(attr);

	memset(words, 0, 4 * sizeof(*words));
	for (size_t i = 0; i < 4 && (i + 1) * sizeof(uint32_t) <= size; i++) {
		memcpy(&words[i], payload + i * sizeof(uint32_t), sizeof(uint32_t));
		words[i] = ntohl(words[i]);
	}
}

struct address_message {
	uint32_t flags;
	uint32_t local[4], address[4];
	bool has_local;
};

static int address_attr_receive(const struct nlattr *attr, void *context)
{
	struct address_message *message = context;

	switch (mnl_attr_get_type(attr)) {
	case IFA_FLAGS:
		message->flags = netlink_number(attr);
		break;
	case IFA_LOCAL: /* of a point-to-point interface; IFA_ADDRESS is the other end there */
		message->has_local = true;
		words_read(attr, message->local);
		break;
	case IFA_ADDRESS:
		words_read(attr, message->address);
		break;
	}
	return MNL_CB_OK;
}

/* RFC 6724, section 5, as far as it does not look at the destination: it is a global one. */
static uint32_t address_rank(uint32_t family, const struct ifaddrmsg *header, uint32_t flags,
			     uint32_t first_word)
{
	bool private = first_word >> 25 == 0xfc >> 1;

	if (header->ifa_scope != RT_SCOPE_UNIVERSE || (flags & UNFIT))
		return ADDRESS_UNFIT;
	if (family == 4)
		return flags & IFA_F_SECONDARY ? ADDRESS_UNFIT : 0;
	return (flags & IFA_F_DEPRECATED ? 4u : 0) + (private ? 2u : 0) +
	       (flags & IFA_F_TEMPORARY ? 1u : 0);
}

static int address_receive(const struct nlmsghdr *message, void *context)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	struct own_address_vector *addresses = context;
	struct address_message said = { 0 };
	struct own_address one = { 0 };

	if (message->nlmsg_type != RTM_NEWADDR || !netlink_has_header(message, sizeof(*header)) ||
	    (header->ifa_family != AF_INET && header->ifa_family != AF_INET6))
		return MNL_CB_OK;
	said.flags = header->ifa_flags;
	if (mnl_attr_parse(message, sizeof(*header), address_attr_receive, &said) < 0)
		return MNL_CB_ERROR;
	one.ifindex = header->ifa_index;
	one.family = header->ifa_family == AF_INET ? 4 : 6;
	memcpy(one.words, said.has_local ? said.local : said.address, sizeof(one.words));
	one.rank = address_rank(one.family, header, said.flags, one.words[0]);
	/* Of equal ones the kernel takes the first that it lists. */
	if (one.rank != ADDRESS_UNFIT)
		one.rank = one.rank << 24 | (uint32_t)(addresses->n & 0xffffff);
	return own_address_vector_push(addresses, one) ? MNL_CB_ERROR : MNL_CB_OK;
}

static int address_compare(const void *a, const void *b)
{
	const struct own_address *left = a, *right = b;

	if (left->family != right->family)
		return left->family < right->family ? -1 : 1;
	for (int i = 0; i < 4; i++)
		if (left->words[i] != right->words[i])
			return left->words[i] < right->words[i] ? -1 : 1;
	return 0;
}

int own_addresses_list(struct own_address_vector *addresses, struct problem *problem)
{
	char buffer[256];
	int err;

	err = netlink_dump(NETLINK_ROUTE,
			   netlink_request(buffer, RTM_GETADDR, sizeof(struct ifaddrmsg), AF_UNSPEC),
			   address_receive, addresses);
	if (err) {
		own_address_vector_free(addresses);
		return problem_set(problem, err, "cannot list the addresses of this host: ");
	}
	if (addresses->n)
		qsort(addresses->items, addresses->n, sizeof(addresses->items[0]), address_compare);
	return 0;
}

bool own_addresses_have(const struct own_address_vector *addresses, uint32_t family,
		    const uint32_t *words)
{
	struct own_address one = { .family = family };

	memcpy(one.words, words, sizeof(one.words));
	return addresses->n && bsearch(&one, addresses->items, addresses->n,
				       sizeof(addresses->items[0]), address_compare);
}

void own_address_text(uint32_t family, const uint32_t *words, char text[INET6_ADDRSTRLEN])
{
	uint32_t bytes[4];

	for (int i = 0; i < 4; i++)
		bytes[i] = htonl(words[i]);
	inet_ntop(family == 6 ? AF_INET6 : AF_INET, bytes, text, INET6_ADDRSTRLEN);
}

/* --- by which of them packets leave --- */

struct source_answer {
	uint32_t ifindex;
	uint32_t words[4];
	bool known;
};

static int source_attr_receive(const struct nlattr *attr, void *context)
{
	struct source_answer *answer = context;

	if (mnl_attr_get_type(attr) == RTA_OIF)
		answer->ifindex = netlink_number(attr);
	if (mnl_attr_get_type(attr) == RTA_PREFSRC) {
		answer->known = true;
		words_read(attr, answer->words);
	}
	return MNL_CB_OK;
}

static int source_receive(const struct nlmsghdr *message, void *context)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);

	if (message->nlmsg_type != RTM_NEWROUTE || !netlink_has_header(message, sizeof(*route)) ||
	    route->rtm_type != RTN_UNICAST)
		return MNL_CB_STOP;
	return mnl_attr_parse(message, sizeof(*route), source_attr_receive, context) < 0 ?
		       MNL_CB_ERROR : MNL_CB_STOP;
}

/* Nobody behind the next router answers to it. */
static bool link_local(uint32_t family, const uint32_t words[4])
{
	return family == 6 ? words[0] >> 22 == 0xfe80 >> 6 : words[0] >> 16 == 0xa9fe;
}

/* That of the route by which a packet for nowhere would leave the interface. */
static bool source_ask(uint32_t ifindex, uint32_t family, uint32_t words[4])
{
	struct source_answer answer = { 0 };
	struct nlmsghdr *request;
	struct rtmsg *route;
	char buffer[256];
	uint32_t to[4];

	request = netlink_request(buffer, RTM_GETROUTE, sizeof(*route),
				  family == 6 ? AF_INET6 : AF_INET);
	request->nlmsg_flags = NLM_F_REQUEST;
	route = mnl_nlmsg_get_payload(request);
	route->rtm_dst_len = family == 6 ? 128 : 32;
	for (int i = 0; i < 4; i++)
		to[i] = htonl(nowhere[family == 6][i]);
	mnl_attr_put(request, RTA_DST, family == 6 ? 16 : 4, to);
	mnl_attr_put_u32(request, RTA_OIF, ifindex);
	if (netlink_dump(NETLINK_ROUTE, request, source_receive, &answer) || !answer.known ||
	    answer.ifindex != ifindex || link_local(family, answer.words))
		return false;
	memcpy(words, answer.words, sizeof(answer.words));
	return true;
}

bool own_addresses_leaving(const struct own_address_vector *addresses, uint32_t ifindex,
			   uint32_t family, uint32_t words[4])
{
	uint32_t best = ADDRESS_UNFIT;

	if (source_ask(ifindex, family, words))
		return true;
	for (size_t i = 0; i < addresses->n; i++) {
		const struct own_address *one = &addresses->items[i];

		if (one->ifindex != ifindex || one->family != family || one->rank >= best)
			continue;
		best = one->rank;
		memcpy(words, one->words, sizeof(one->words));
	}
	return best != ADDRESS_UNFIT;
}
