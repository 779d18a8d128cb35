// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/evaluate.h"
#include "base/cleanup.h"
#include "cli/output.h"
#include "core/field.h"
#include "engine/bpf/engine.h"

#define VARIABLE "SSH_CONNECTION="
#define ANCESTORS_MAX 64
#define ENVIRONMENT_MAX ((size_t)4 << 20)
#define SYN 2
#define ACK 16

/* --- what ssh says --- */

static void words_of(const uint8_t *bytes, unsigned n, uint32_t words[4])
{
	memset(words, 0, 4 * sizeof(*words));
	for (unsigned i = 0; i < n; i++)
		words[i] = (uint32_t)bytes[i * 4] << 24 | (uint32_t)bytes[i * 4 + 1] << 16 |
			   (uint32_t)bytes[i * 4 + 2] << 8 | bytes[i * 4 + 3];
}

/* The interface behind the `%` of a link-local address: its name, or its index. */
static uint32_t scope_parse(const char *text)
{
	uint32_t ifindex = if_nametoindex(text);

	return ifindex ? ifindex : (uint32_t)strtoul(text, NULL, 10);
}

/* Returns the family, or 0. *ifindex is left alone when the address names no interface. */
static uint8_t address_parse(const char *text, uint32_t words[4], uint32_t *ifindex)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char copy[INET6_ADDRSTRLEN + IF_NAMESIZE];
	char *scope;
	uint8_t bytes[16];

	snprintf(copy, sizeof(copy), "%s", text);
	scope = strchr(copy, '%');
	if (scope) {
		*scope = '\0';
		*ifindex = scope_parse(scope + 1);
	}
	if (inet_pton(AF_INET, copy, bytes) == 1) {
		words_of(bytes, 1, words);
		return 4;
	}
	if (inet_pton(AF_INET6, copy, bytes) != 1)
		return 0;
	if (!memcmp(bytes, mapped, sizeof(mapped))) {
		words_of(bytes + sizeof(mapped), 1, words);
		return 4;
	}
	words_of(bytes, 4, words);
	return 6;
}

int session_parse(const char *text, struct session *session)
{
	char peer[80], local[80];
	unsigned peer_port, local_port;
	struct session found = { 0 };
	int end = 0;

	if (sscanf(text, "%79s %5u %79s %5u%n", peer, &peer_port, local, &local_port, &end) != 4 ||
	    text[end] || !peer_port || peer_port > 0xffff || !local_port || local_port > 0xffff)
		return -EINVAL;
	found.family = address_parse(peer, found.peer, &found.ifindex);
	if (!found.family || address_parse(local, found.local, &found.ifindex) != found.family)
		return -EINVAL;
	found.peer_port = (uint16_t)peer_port;
	found.local_port = (uint16_t)local_port;
	*session = found;
	return 0;
}

/* The whole of a file under /proc, with a zero behind it. NULL when it cannot be read. */
static char *proc_file(pid_t pid, const char *name, size_t *size)
{
	cleanup_free char *bytes = malloc(ENVIRONMENT_MAX + 1);
	cleanup_fd int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (!bytes || fd < 0)
		return NULL;
	*size = 0;
	while (*size < ENVIRONMENT_MAX) {
		ssize_t n = read(fd, bytes + *size, ENVIRONMENT_MAX - *size);

		if (n <= 0)
			break;
		*size += (size_t)n;
	}
	bytes[*size] = '\0';
	return take(bytes);
}

static pid_t parent_of(pid_t pid)
{
	size_t size;
	cleanup_free char *line = proc_file(pid, "stat", &size);
	char *end = line ? strrchr(line, ')') : NULL; /* a command's name may hold anything */
	int parent = 0;

	return end && sscanf(end, ") %*c %d", &parent) == 1 ? parent : 0;
}

/* What the variable holds in a process, malloc'ed; or NULL. */
static char *variable_of(pid_t pid)
{
	size_t size;
	cleanup_free char *environment = proc_file(pid, "environ", &size);

	for (size_t at = 0; environment && at < size; at += strlen(environment + at) + 1)
		if (!strncmp(environment + at, VARIABLE, strlen(VARIABLE)))
			return strdup(environment + at + strlen(VARIABLE));
	return NULL;
}

int session_find(struct session *session, char **text)
{
	pid_t pid = getpid();

	for (int i = 0; i < ANCESTORS_MAX && pid > 0; i++, pid = parent_of(pid)) {
		cleanup_free char *found = variable_of(pid);
		int err;

		if (!found || !*found)
			continue;
		err = session_parse(found, session);
		if (err)
			*text = take(found);
		return err;
	}
	return -ENOENT;
}

bool session_known(struct session *session)
{
	cleanup_free char *text = NULL;
	int err = session_find(session, &text);

	if (err == -EINVAL)
		complain("warning: SSH_CONNECTION holds `%s`, which is no connection: your session is not looked after",
			 text);
	return !err;
}

bool session_has_flow(const struct session *session, const struct flow_key *key)
{
	struct flow_key own;

	flow_key_order(&own, session->peer, session->local, session->peer_port, session->local_port,
		       IPPROTO_TCP, session->family);
	return !memcmp(&own, key, sizeof(own));
}

/* --- what a policy would do to it --- */

static bool address_here(const struct ifaddrs *one, const struct session *session)
{
	uint32_t words[4];

	if (!one->ifa_addr)
		return false;
	if (session->family == 4 && one->ifa_addr->sa_family == AF_INET)
		words_of((const uint8_t *)&((const struct sockaddr_in *)(const void *)one->ifa_addr)
				 ->sin_addr,
			 1, words);
	else if (session->family == 6 && one->ifa_addr->sa_family == AF_INET6)
		words_of((const uint8_t *)&((const struct sockaddr_in6 *)(const void *)one->ifa_addr)
				 ->sin6_addr,
			 4, words);
	else
		return false;
	return !memcmp(words, session->local, sizeof(words));
}

static bool local_here(const struct session *session)
{
	struct ifaddrs *all = NULL;
	bool here = false;

	if (getifaddrs(&all))
		return false;
	for (const struct ifaddrs *one = all; one && !here; one = one->ifa_next)
		here = address_here(one, session);
	freeifaddrs(all);
	return here;
}

/* The interface by which the peer is reached, if the policy covers it. */
static bool find_interface(const struct ruleset *ruleset, const struct session *session,
			   struct session_fate *fate, uint32_t *zone)
{
	struct route_question question = { .family = session->family, .ifindex = session->ifindex };
	struct interface_vector interfaces = { 0 };
	struct problem ignored;
	uint32_t ifindex;
	bool found = false;

	memcpy(question.to, session->peer, sizeof(question.to));
	memcpy(question.from, session->local, sizeof(question.from));
	if (engine_route(&question, &ifindex) ||
	    engine_interfaces(ruleset, &interfaces, &ignored))
		return false;
	for (size_t i = 0; i < interfaces.n; i++) {
		const struct engine_interface *one = &interfaces.items[i];

		if (one->ifindex != ifindex || one->coverage != COVERAGE_COVERED)
			continue;
		memcpy(fate->interface, one->name, sizeof(fate->interface));
		*zone = one->zone;
		found = true;
	}
	interface_vector_free(&interfaces);
	return found;
}

static void first_packet(const struct session *session, uint32_t zone, struct fields *fields)
{
	uint32_t *word = fields->word;

	*fields = (struct fields){ 0 };
	word[FIELD_FROM_ZONE] = zone;
	word[FIELD_TO_ZONE] = ZONE_SELF;
	word[FIELD_FAMILY] = session->family;
	word[FIELD_PROTOCOL] = IPPROTO_TCP;
	word[FIELD_SRC_PORT] = session->peer_port;
	word[FIELD_DST_PORT] = session->local_port;
	word[FIELD_TCP_FLAGS] = SYN;
	word[FIELD_LENGTH] = session->family == 4 ? 60 : 80;
	word[FIELD_TTL] = 64;
	for (int i = 0; i < 4; i++) {
		word[FIELD_SRC + i] = session->peer[i];
		word[FIELD_DST + i] = session->local[i];
	}
}

static bool within_limit(void *context, uint32_t rule)
{
	(void)context;
	(void)rule;
	return true;
}

/* `early` knows no flows: it drops what belongs to a live one like all else. */
static void judge_early(const struct ruleset *ruleset, const struct fields *first,
			struct session_fate *fate)
{
	struct fields later = *first;
	uint32_t rule = evaluate_early(ruleset, first, within_limit, NULL);

	if (rule < ruleset->early_n) {
		fate->opens = false;
		fate->rule = ruleset_early_first(ruleset) + rule;
	}
	later.word[FIELD_TCP_FLAGS] = ACK;
	later.word[FIELD_STATE] = STATE_UNTRACKED;
	rule = evaluate_early(ruleset, &later, within_limit, NULL);
	if (rule < ruleset->early_n) {
		fate->lives = false;
		fate->unseen = true;
		fate->rule = ruleset_early_first(ruleset) + rule;
	}
}

void session_judge(const struct ruleset *ruleset, const struct session *session,
		   struct session_fate *fate)
{
	struct fields fields;
	uint32_t zone, rule;

	*fate = (struct session_fate){ .opens = true, .lives = true };
	if (!local_here(session) || !find_interface(ruleset, session, fate, &zone))
		return;
	fate->here = true;
	first_packet(session, zone, &fields);
	rule = evaluate(ruleset, &fields);
	if (ruleset->rules[rule].action != ACTION_ALLOW) {
		fate->opens = false;
		fate->rule = rule;
	}
	/* Forwarded, it would be opened elsewhere. */
	rule = evaluate_forward(ruleset, &fields);
	if (rule < ruleset->nat_n) {
		fate->opens = false;
		fate->rule = ruleset->rule_n + rule;
	}
	/* At the first apply too: then it is taken over, see engine/bpf/seed.h. */
	rule = evaluate_flow(ruleset, &fields);
	if (ruleset->rules[rule].action != ACTION_ALLOW) {
		fate->lives = false;
		fate->rule = rule;
	}
	judge_early(ruleset, &fields, fate);
}

static void address_text(const struct session *session, const uint32_t *words, char *text)
{
	uint8_t bytes[16];

	for (int i = 0; i < 16; i++)
		bytes[i] = (uint8_t)(words[i / 4] >> (24 - i % 4 * 8));
	if (!inet_ntop(session->family == 4 ? AF_INET : AF_INET6, bytes, text, INET6_ADDRSTRLEN))
		*text = '\0';
}

void session_question(const struct ruleset *ruleset, const struct session *session,
		      const struct session_fate *fate, char *text, size_t size)
{
	uint32_t zone = ruleset_interface_zone(ruleset, fate->interface);
	char peer[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN];

	address_text(session, session->peer, peer);
	address_text(session, session->local, local);
	snprintf(text, size, "%s -> self %u/tcp from %s to %s", ruleset->zones[zone].name,
		 session->local_port, peer, local);
}
