// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/services.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/diagnostic.h"
#include "policy/protocols.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

enum carriers { TCP = 1, UDP = 2, SCTP = 4, BOTH = TCP | UDP };

struct known_service {
	const char *name;
	uint16_t port;
	uint8_t carriers;
};

/*
 * The first name of a port is the one that is printed, and of names equally near to a wrong one the
 * first is suggested: the most common ones come first, the others by port. A name may have several
 * rows.
 */
static const struct known_service known[] = {
	{ "http", 80, TCP },
	{ "https", 443, BOTH },
	{ "ssh", 22, TCP },
	{ "domain", 53, BOTH },
	{ "dns", 53, BOTH },
	{ "ftp-data", 20, TCP },
	{ "ftp", 21, TCP },
	{ "telnet", 23, TCP },
	{ "smtp", 25, TCP },
	{ "whois", 43, TCP },
	{ "tacacs", 49, TCP },
	{ "bootps", 67, UDP },
	{ "dhcp", 67, UDP },
	{ "bootpc", 68, UDP },
	{ "tftp", 69, UDP },
	{ "finger", 79, TCP },
	{ "kerberos", 88, BOTH },
	{ "pop3", 110, TCP },
	{ "sunrpc", 111, BOTH },
	{ "rpcbind", 111, BOTH },
	{ "auth", 113, TCP },
	{ "ident", 113, TCP },
	{ "nntp", 119, TCP },
	{ "ntp", 123, UDP },
	{ "netbios-ns", 137, UDP },
	{ "netbios-dgm", 138, UDP },
	{ "netbios-ssn", 139, TCP },
	{ "imap", 143, TCP },
	{ "snmp", 161, UDP },
	{ "snmp-trap", 162, UDP },
	{ "snmptrap", 162, UDP },
	{ "bgp", 179, TCP },
	{ "irc", 194, TCP },
	{ "ldap", 389, BOTH },
	{ "microsoft-ds", 445, TCP },
	{ "smb", 445, TCP },
	{ "smtps", 465, TCP },
	{ "submissions", 465, TCP },
	{ "isakmp", 500, UDP },
	{ "ike", 500, UDP },
	{ "syslog", 514, UDP },
	{ "printer", 515, TCP },
	{ "lpd", 515, TCP },
	{ "rip", 520, UDP },
	{ "ripng", 521, UDP },
	{ "dhcpv6-client", 546, UDP },
	{ "dhcpv6-server", 547, UDP },
	{ "dhcpv6", 547, UDP },
	{ "rtsp", 554, BOTH },
	{ "nntps", 563, TCP },
	{ "submission", 587, TCP },
	{ "ipp", 631, BOTH },
	{ "ldaps", 636, TCP },
	{ "dns-over-tls", 853, TCP },
	{ "dot", 853, TCP },
	{ "dns-over-quic", 853, UDP },
	{ "rsync", 873, TCP },
	{ "ftps", 990, TCP },
	{ "imaps", 993, TCP },
	{ "pop3s", 995, TCP },
	{ "socks", 1080, TCP },
	{ "openvpn", 1194, BOTH },
	{ "ms-sql-s", 1433, TCP },
	{ "oracle", 1521, TCP },
	{ "l2tp", 1701, UDP },
	{ "pptp", 1723, TCP },
	{ "radius", 1812, UDP },
	{ "radius-acct", 1813, UDP },
	{ "mqtt", 1883, TCP },
	{ "ssdp", 1900, UDP },
	{ "nfs", 2049, BOTH },
	{ "docker", 2375, TCP },
	{ "etcd-client", 2379, TCP },
	{ "etcd-server", 2380, TCP },
	{ "squid", 3128, TCP },
	{ "mysql", 3306, TCP },
	{ "rdp", 3389, BOTH },
	{ "stun", 3478, BOTH },
	{ "svn", 3690, TCP },
	{ "ipsec-nat-t", 4500, UDP },
	{ "vxlan", 4789, UDP },
	{ "sip", 5060, BOTH },
	{ "sips", 5061, TCP },
	{ "xmpp-client", 5222, TCP },
	{ "xmpp-server", 5269, TCP },
	{ "mdns", 5353, UDP },
	{ "llmnr", 5355, BOTH },
	{ "postgresql", 5432, TCP },
	{ "postgres", 5432, TCP },
	{ "amqp", 5672, TCP },
	{ "vnc", 5900, TCP },
	{ "geneve", 6081, UDP },
	{ "redis", 6379, TCP },
	{ "kubernetes-api", 6443, TCP },
	{ "syslog-tls", 6514, TCP },
	{ "ircs", 6697, TCP },
	{ "http-alt", 8080, TCP },
	{ "https-alt", 8443, TCP },
	{ "mqtts", 8883, TCP },
	{ "prometheus", 9090, TCP },
	{ "jetdirect", 9100, TCP },
	{ "elasticsearch", 9200, TCP },
	{ "git", 9418, TCP },
	{ "kubelet", 10250, TCP },
	{ "zabbix-agent", 10050, TCP },
	{ "zabbix-trapper", 10051, TCP },
	{ "memcached", 11211, TCP },
	{ "mongodb", 27017, TCP },
	{ "wireguard", 51820, UDP },
};

struct services_entry {
	const char *name;
	uint32_t order;
	uint16_t port;
	uint8_t protocol;
};

VECTOR(entry_vector, struct services_entry);

static const struct {
	uint8_t bit, protocol;
} carriers[] = {
	{ TCP, IPPROTO_TCP },
	{ UDP, IPPROTO_UDP },
	{ SCTP, IPPROTO_SCTP },
};

static const char blanks[] = " \t\r\f\v";

/* `22/tcp`: 0, or -EINVAL for anything that is not a port of a protocol with ports. */
static int parse_port(const char *word, struct services_entry *entry)
{
	char *end;
	unsigned long port = strtoul(word, &end, 10);
	int protocol;

	if (end == word || *end != '/' || port < 1 || port > 65535)
		return -EINVAL;
	protocol = protocol_find(end + 1);
	if (protocol < 0 || !protocol_has_ports((uint8_t)protocol))
		return -EINVAL;
	entry->port = (uint16_t)port;
	entry->protocol = (uint8_t)protocol;
	return 0;
}

/* One line, which is cut up. A line that is not a service is skipped, as the C library does. */
static int parse_line(struct services *services, char *line, struct entry_vector *entries)
{
	struct services_entry entry = { 0 };
	char *rest = NULL, *name, *port;

	line[strcspn(line, "#")] = '\0';
	name = strtok_r(line, blanks, &rest);
	port = name ? strtok_r(NULL, blanks, &rest) : NULL;
	if (!port || parse_port(port, &entry))
		return 0;
	for (; name; name = strtok_r(NULL, blanks, &rest)) {
		int err;

		entry.name = arena_copy(services->arena, name, strlen(name));
		entry.order = (uint32_t)entries->n;
		err = entry.name ? entry_vector_push(entries, entry) : -ENOMEM;
		if (err)
			return err;
	}
	return 0;
}

static int compare_entries(const void *left, const void *right)
{
	const struct services_entry *a = left, *b = right;
	int order = strcmp(a->name, b->name);

	return order ? order : (a->order > b->order) - (a->order < b->order);
}

static int parse_file(struct services *services, const struct source *source,
		      struct entry_vector *entries)
{
	cleanup_free char *text = malloc(source->len + 1);
	char *line, *end;

	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < source->len; i++)
		text[i] = source->text[i] ? source->text[i] : ' ';
	text[source->len] = '\0';
	for (line = text; line; line = end) {
		int err;

		end = strchr(line, '\n');
		if (end)
			*end++ = '\0';
		err = parse_line(services, line, entries);
		if (err)
			return err;
	}
	return 0;
}

/* Reads /etc/services once. Where there is none, nothing but the table is known. */
static int services_read(struct services *services)
{
	struct entry_vector entries = { 0 };
	uint32_t index;
	int err;

	if (services->read)
		return 0;
	err = source_set_read(services->sources, SERVICES_FILE, POSITION_NONE, &index);
	if (err && err != -ENOMEM) {
		services->read = true;
		return 0;
	}
	if (!err)
		err = parse_file(services, &services->sources->sources.items[index], &entries);
	if (!err && entries.n) {
		services->entries = arena_array(services->arena, entries.n, sizeof(*entries.items));
		if (services->entries) {
			memcpy(services->entries, entries.items,
			       entries.n * sizeof(*entries.items));
			services->n = entries.n;
			qsort(services->entries, services->n, sizeof(*entries.items),
			      compare_entries);
		} else {
			err = -ENOMEM;
		}
	}
	services->read = !err;
	entry_vector_free(&entries);
	return err;
}

static void port_add(struct service_port *ports, unsigned *n, uint8_t protocol, uint16_t port)
{
	for (unsigned i = 0; i < *n; i++)
		if (ports[i].protocol == protocol && ports[i].port == port)
			return;
	if (*n < SERVICE_PORTS_MAX)
		ports[(*n)++] = (struct service_port){ .protocol = protocol, .port = port };
}

static unsigned find_known(const char *name, struct service_port *ports)
{
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcmp(known[i].name, name))
			continue;
		for (size_t c = 0; c < ARRAY_SIZE(carriers); c++)
			if (known[i].carriers & carriers[c].bit)
				port_add(ports, &n, carriers[c].protocol, known[i].port);
	}
	return n;
}

/* The first entry of this name, by halving. */
static size_t lower_bound(const struct services *services, const char *name)
{
	size_t low = 0, high = services->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(services->entries[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int services_find(struct services *services, const char *name, struct service_port *ports,
		  unsigned *n)
{
	struct service_port found[SERVICE_PORTS_MAX];
	unsigned found_n = find_known(name, found);

	if (!found_n) {
		int err = services_read(services);

		if (err)
			return err;
		for (size_t i = lower_bound(services, name);
		     i < services->n && !strcmp(services->entries[i].name, name); i++)
			port_add(found, &found_n, services->entries[i].protocol,
				 services->entries[i].port);
	}
	if (!found_n)
		return -ENOENT;
	memcpy(ports, found, found_n * sizeof(*found));
	*n = found_n;
	return 0;
}

bool service_is_known(const char *name)
{
	struct service_port ports[SERVICE_PORTS_MAX];

	return find_known(name, ports) > 0;
}

const char *services_nearest(struct services *services, const char *name, const char *const *more,
			     size_t more_n)
{
	cleanup_free const char **words = NULL;
	size_t n = 0;

	if (services_read(services))
		return NULL;
	words = calloc(more_n + ARRAY_SIZE(known) + services->n, sizeof(*words));
	if (!words)
		return NULL;
	for (size_t i = 0; i < more_n; i++)
		words[n++] = more[i];
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		words[n++] = known[i].name;
	for (size_t i = 0; i < services->n; i++)
		words[n++] = services->entries[i].name;
	return nearest_word(name, words, n);
}

const char *service_name(uint8_t protocol, uint16_t port)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		for (size_t c = 0; c < ARRAY_SIZE(carriers); c++)
			if (known[i].port == port && carriers[c].protocol == protocol &&
			    known[i].carriers & carriers[c].bit)
				return known[i].name;
	return NULL;
}
