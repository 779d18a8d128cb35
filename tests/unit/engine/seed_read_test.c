// SPDX-License-Identifier: GPL-2.0-or-later
/* What is read out of the messages of sock_diag and conntrack, right and damaged ones. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/inet_diag.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "core/flow.h"
#include "engine/bpf/seed_read.h"

#define BUFFER 1024

static uint8_t listening[SEED_PORTS / 8];

/* --- sockets --- */

struct socket_case {
	int family;
	const char *local, *peer;
	uint16_t local_port, peer_port;
	uint8_t protocol, state;
	unsigned n;
	/* what is found */
	uint8_t seed_family, seed_state;
	bool accepted;
};

static void socket_message(const struct socket_case *one, char *buffer)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct inet_diag_msg *message = mnl_nlmsg_put_extra_header(header, sizeof(*message));

	header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	message->idiag_family = (uint8_t)one->family;
	message->idiag_state = one->state;
	message->id.idiag_sport = htons(one->local_port);
	message->id.idiag_dport = htons(one->peer_port);
	message->id.idiag_if = 7;
	assert_int_equal(inet_pton(one->family, one->local, message->id.idiag_src), 1);
	assert_int_equal(inet_pton(one->family, one->peer, message->id.idiag_dst), 1);
}

static const struct socket_case sockets[] = {
	{ AF_INET, "192.0.2.1", "198.51.100.2", 22, 40000, IPPROTO_TCP, TCP_ESTABLISHED, 1, 4,
	  FLOW_ESTABLISHED, true },
	{ AF_INET, "192.0.2.1", "198.51.100.2", 40000, 22, IPPROTO_TCP, TCP_ESTABLISHED, 1, 4,
	  FLOW_ESTABLISHED, false },
	{ AF_INET6, "2001:db8::1", "2001:db8::2", 22, 40000, IPPROTO_TCP, TCP_CLOSE_WAIT, 1, 6,
	  FLOW_CLOSE_WAIT, true },
	{ AF_INET6, "::ffff:192.0.2.1", "::ffff:198.51.100.2", 22, 40000, IPPROTO_TCP,
	  TCP_LAST_ACK, 1, 4, FLOW_LAST_ACK, true },
	/* UDP knows no listener: that the port is one of TCP means nothing */
	{ AF_INET, "192.0.2.1", "198.51.100.2", 22, 53, IPPROTO_UDP, TCP_ESTABLISHED, 1, 4,
	  FLOW_ASSURED, false },
	{ AF_INET, "192.0.2.1", "198.51.100.2", 22, 40000, IPPROTO_TCP, TCP_TIME_WAIT, 0 },
	{ AF_INET, "192.0.2.1", "0.0.0.0", 22, 0, IPPROTO_TCP, TCP_ESTABLISHED, 0 },
	{ AF_INET, "192.0.2.1", "198.51.100.2", 22, 40000, IPPROTO_TCP, 99, 0 },
};

static void test_sockets(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sockets) / sizeof(sockets[0]); i++) {
		const struct socket_case *one = &sockets[i];
		char buffer[BUFFER];
		struct seed seed;

		socket_message(one, buffer);
		assert_int_equal(seed_read_socket((void *)buffer, one->protocol, listening, &seed),
				 one->n);
		if (!one->n)
			continue;
		assert_int_equal(seed.family, one->seed_family);
		assert_int_equal(seed.state, one->seed_state);
		assert_int_equal(seed.protocol, one->protocol);
		assert_int_equal(seed.ifindex, 7);
		assert_int_equal(seed.where, SEED_ANYWHERE);
		assert_int_equal(seed.from_port, one->accepted ? one->peer_port : one->local_port);
		assert_int_equal(seed.to_port, one->accepted ? one->local_port : one->peer_port);
		if (one->seed_family == 4) {
			assert_int_equal(seed.from[0], one->accepted ? 0xc6336402 : 0xc0000201);
			assert_int_equal(seed.to[0], one->accepted ? 0xc0000201 : 0xc6336402);
		} else {
			assert_int_equal(seed.from[3], 2);
			assert_int_equal(seed.to[3], 1);
		}
		assert_memory_equal(seed.behind, seed.from, sizeof(seed.from));
	}
}

static void test_listening(void **state)
{
	char buffer[BUFFER];

	(void)state;
	socket_message(&sockets[0], buffer);
	assert_int_equal(seed_read_listening((void *)buffer), 22);
	((struct nlmsghdr *)(void *)buffer)->nlmsg_type = NLMSG_DONE;
	assert_int_equal(seed_read_listening((void *)buffer), 0);
}

/* --- conntrack --- */

struct tuple_text {
	const char *src, *dst;
	uint16_t src_port, dst_port;
};

struct entry_case {
	int family;
	uint8_t protocol, tcp_state;
	uint32_t status;
	struct tuple_text original, reply;
	unsigned n;
	uint8_t state;
};

static void tuple_put(struct nlmsghdr *header, uint16_t kind, const struct entry_case *one,
		      const struct tuple_text *tuple)
{
	bool four = one->family == AF_INET, icmp = one->protocol == IPPROTO_ICMP;
	struct nlattr *outer = mnl_attr_nest_start(header, kind), *inner;
	size_t size = four ? 4 : 16;
	unsigned char address[16];

	inner = mnl_attr_nest_start(header, CTA_TUPLE_IP);
	assert_int_equal(inet_pton(one->family, tuple->src, address), 1);
	mnl_attr_put(header, four ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, size, address);
	assert_int_equal(inet_pton(one->family, tuple->dst, address), 1);
	mnl_attr_put(header, four ? CTA_IP_V4_DST : CTA_IP_V6_DST, size, address);
	mnl_attr_nest_end(header, inner);
	inner = mnl_attr_nest_start(header, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(header, CTA_PROTO_NUM, one->protocol);
	mnl_attr_put_u16(header, icmp ? CTA_PROTO_ICMP_ID : CTA_PROTO_SRC_PORT,
			 htons(tuple->src_port));
	if (!icmp)
		mnl_attr_put_u16(header, CTA_PROTO_DST_PORT, htons(tuple->dst_port));
	mnl_attr_nest_end(header, inner);
	mnl_attr_nest_end(header, outer);
}

static void entry_message(const struct entry_case *one, char *buffer)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *body = mnl_nlmsg_put_extra_header(header, sizeof(*body));
	struct nlattr *outer, *inner;

	body->nfgen_family = (uint8_t)one->family;
	tuple_put(header, CTA_TUPLE_ORIG, one, &one->original);
	tuple_put(header, CTA_TUPLE_REPLY, one, &one->reply);
	mnl_attr_put_u32(header, CTA_STATUS, htonl(one->status));
	outer = mnl_attr_nest_start(header, CTA_PROTOINFO);
	inner = mnl_attr_nest_start(header, CTA_PROTOINFO_TCP);
	mnl_attr_put_u8(header, CTA_PROTOINFO_TCP_STATE, one->tcp_state);
	mnl_attr_nest_end(header, inner);
	mnl_attr_nest_end(header, outer);
}

#define ANSWERED IPS_SEEN_REPLY

static const struct entry_case entries[] = {
	{ AF_INET, IPPROTO_TCP, 3, ANSWERED, { "10.0.0.1", "192.0.2.2", 1000, 22 },
	  { "192.0.2.2", "10.0.0.1", 22, 1000 }, 1, FLOW_ESTABLISHED },
	/* masqueraded */
	{ AF_INET, IPPROTO_TCP, 3, ANSWERED, { "10.0.0.1", "192.0.2.2", 1000, 22 },
	  { "192.0.2.2", "203.0.113.1", 22, 61000 }, 1, FLOW_ESTABLISHED },
	/* a published port, and one of the same host */
	{ AF_INET, IPPROTO_TCP, 3, ANSWERED, { "192.0.2.2", "203.0.113.1", 1000, 8080 },
	  { "172.17.0.2", "192.0.2.2", 80, 1000 }, 2, FLOW_ESTABLISHED },
	{ AF_INET, IPPROTO_TCP, 3, ANSWERED, { "192.0.2.2", "203.0.113.1", 1000, 8080 },
	  { "203.0.113.1", "192.0.2.2", 80, 1000 }, 2, FLOW_ESTABLISHED },
	{ AF_INET6, IPPROTO_UDP, 0, ANSWERED | IPS_ASSURED,
	  { "2001:db8::1", "2001:db8::2", 1000, 53 }, { "2001:db8::2", "2001:db8::1", 53, 1000 }, 1,
	  FLOW_ASSURED },
	{ AF_INET, IPPROTO_ICMP, 0, ANSWERED, { "10.0.0.1", "192.0.2.2", 77, 0 },
	  { "192.0.2.2", "10.0.0.1", 77, 0 }, 1, FLOW_REPLY_SEEN },
	/* the keys of GRE are no ports */
	{ AF_INET, IPPROTO_GRE, 0, ANSWERED, { "10.0.0.1", "192.0.2.2", 5, 6 },
	  { "192.0.2.2", "10.0.0.1", 6, 5 }, 1, FLOW_REPLY_SEEN },
	/* not answered; a handshake; TIME_WAIT; a state of tomorrow; of no protocol */
	{ AF_INET, IPPROTO_TCP, 3, 0, { "10.0.0.1", "192.0.2.2", 1000, 22 },
	  { "192.0.2.2", "10.0.0.1", 22, 1000 }, 0, 0 },
	{ AF_INET, IPPROTO_TCP, 2, ANSWERED, { "10.0.0.1", "192.0.2.2", 1000, 22 },
	  { "192.0.2.2", "10.0.0.1", 22, 1000 }, 0, 0 },
	{ AF_INET, IPPROTO_TCP, 7, ANSWERED, { "10.0.0.1", "192.0.2.2", 1000, 22 },
	  { "192.0.2.2", "10.0.0.1", 22, 1000 }, 0, 0 },
	{ AF_INET, IPPROTO_TCP, 200, ANSWERED, { "10.0.0.1", "192.0.2.2", 1000, 22 },
	  { "192.0.2.2", "10.0.0.1", 22, 1000 }, 0, 0 },
	{ AF_INET, 0, 3, ANSWERED, { "10.0.0.1", "192.0.2.2", 1000, 22 },
	  { "192.0.2.2", "10.0.0.1", 22, 1000 }, 0, 0 },
};

static void assert_end(const struct entry_case *one, const uint32_t *words, uint16_t port,
		       const char *text, uint16_t expected)
{
	uint32_t address[4] = { 0 };
	bool numbers = one->protocol != IPPROTO_GRE;

	assert_int_equal(inet_pton(one->family, text, address), 1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(words[i], ntohl(address[i]));
	assert_int_equal(port, numbers ? expected : 0);
}

static void test_conntrack(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		const struct entry_case *one = &entries[i];
		uint16_t dst_port = one->protocol == IPPROTO_ICMP ? one->reply.src_port
								   : one->reply.dst_port;
		struct seed seeds[2];
		char buffer[BUFFER];

		entry_message(one, buffer);
		assert_int_equal(seed_read_conntrack((void *)buffer, seeds), one->n);
		for (unsigned j = 0; j < one->n; j++) {
			assert_int_equal(seeds[j].state, one->state);
			assert_int_equal(seeds[j].protocol, one->protocol);
			assert_int_equal(seeds[j].ifindex, 0);
			assert_end(one, seeds[j].behind, 0, one->original.src, 0);
		}
		if (!one->n)
			continue;
		assert_end(one, seeds[0].from, seeds[0].from_port, one->reply.dst, dst_port);
		assert_end(one, seeds[0].to, seeds[0].to_port, one->reply.src, one->reply.src_port);
		assert_int_equal(seeds[0].where, one->n == 2 ? SEED_AWAY : SEED_ANYWHERE);
		if (one->n < 2)
			continue;
		assert_end(one, seeds[1].from, seeds[1].from_port, one->original.src,
			   one->original.src_port);
		assert_end(one, seeds[1].to, seeds[1].to_port, one->original.dst,
			   one->original.dst_port);
		assert_int_equal(seeds[1].where, SEED_HERE);
	}
}

/* --- damage --- */

static void read_both(const char *bytes, size_t size)
{
	/* To the byte, so that reading behind it is found. */
	char *copy = malloc(size);
	struct seed seeds[2];

	assert_non_null(copy);
	memcpy(copy, bytes, size);
	((struct nlmsghdr *)(void *)copy)->nlmsg_len = (uint32_t)size;
	assert_in_range(seed_read_conntrack((void *)copy, seeds), 0, 2);
	assert_in_range(seed_read_socket((void *)copy, IPPROTO_TCP, listening, seeds), 0, 1);
	seed_read_listening((void *)copy);
	free(copy);
}

/* Every length, and every byte with every value that is likely to matter. */
static void test_damaged(void **state)
{
	static const unsigned char values[] = { 0, 1, 3, 4, 5, 8, 0x7f, 0x80, 0xff };
	char buffers[2][BUFFER];

	(void)state;
	entry_message(&entries[2], buffers[0]);
	socket_message(&sockets[0], buffers[1]);
	for (int i = 0; i < 2; i++) {
		char *bytes = buffers[i];
		size_t size = ((struct nlmsghdr *)(void *)bytes)->nlmsg_len;

		for (size_t n = sizeof(struct nlmsghdr); n <= size; n++)
			read_both(bytes, n);
		for (size_t at = sizeof(struct nlmsghdr); at < size; at++)
			for (size_t j = 0; j < sizeof(values); j++) {
				char was = bytes[at];

				bytes[at] = (char)values[j];
				read_both(bytes, size);
				bytes[at] = was;
			}
	}
}

/* Attributes that are shorter than what they are to hold, with nothing behind them. */
static void test_short(void **state)
{
	static const struct {
		uint16_t nest[3]; /* 0: none */
		uint16_t type;
	} cases[] = {
		{ { CTA_TUPLE_REPLY, CTA_TUPLE_IP }, CTA_IP_V4_SRC },
		{ { CTA_TUPLE_REPLY, CTA_TUPLE_IP }, CTA_IP_V6_DST },
		{ { CTA_TUPLE_ORIG, CTA_TUPLE_PROTO }, CTA_PROTO_NUM },
		{ { CTA_TUPLE_ORIG, CTA_TUPLE_PROTO }, CTA_PROTO_SRC_PORT },
		{ { CTA_TUPLE_ORIG, CTA_TUPLE_PROTO }, CTA_PROTO_DST_PORT },
		{ { CTA_TUPLE_ORIG, CTA_TUPLE_PROTO }, CTA_PROTO_ICMP_ID },
		{ { CTA_PROTOINFO, CTA_PROTOINFO_TCP }, CTA_PROTOINFO_TCP_STATE },
		{ { CTA_TUPLE_ORIG }, CTA_TUPLE_IP },
		{ { 0 }, CTA_TUPLE_REPLY },
		{ { 0 }, CTA_STATUS },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char buffer[BUFFER];
		struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
		struct nfgenmsg *body = mnl_nlmsg_put_extra_header(header, sizeof(*body));
		struct nlattr *nests[3] = { NULL };

		body->nfgen_family = i % 2 ? AF_INET6 : AF_INET;
		for (int j = 0; j < 3 && cases[i].nest[j]; j++)
			nests[j] = mnl_attr_nest_start(header, cases[i].nest[j]);
		mnl_attr_put(header, cases[i].type, 0, "");
		for (int j = 3; j-- > 0;)
			if (nests[j])
				mnl_attr_nest_end(header, nests[j]);
		read_both(buffer, header->nlmsg_len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_listening),
		cmocka_unit_test(test_conntrack),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_short),
	};

	listening[22 / 8] |= 1u << 22 % 8;
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("seed_read", tests, NULL, NULL);
}
