// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Services: from what is written to carriers.
 *
 * A service is flattened into parts (one protocol and one range of ports, or a whole protocol),
 * then the parts of one protocol are merged. So `{ 80/tcp, 443/tcp, 53 }` is two carriers, tcp with
 * three ports and udp with one, however deep the lists and names were nested. A definition keeps
 * its carriers; a rule that names it adds them as parts.
 *
 * A name is looked up among the policy's services, then in the table and in /etc/services
 * (services.h).
 */
#include "policy/resolve.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "policy/icmp.h"
#include "policy/protocols.h"
#include "policy/resolve_ranges.h"

#define PROTOCOL_ANY (-1)

/* A carrier with one range of ports, or with all. */
struct part {
	int16_t protocol;
	uint8_t families;
	bool syn;
	bool all;
	struct range ports;
};

VECTOR(part_vector, struct part);
VECTOR(carrier_vector, struct carrier);

struct collection {
	struct part_vector parts;
	bool silent; /* a name without the protocol that is wanted is passed over */
};

static int push(struct collection *collection, struct part part)
{
	return part_vector_push(&collection->parts, part) ? -ENOMEM : 0;
}

static int collect(struct resolver *resolver, const struct tree_service *tree, int protocol,
		   struct collection *collection);
static int service_resolve(struct resolver *resolver, struct named_service *service);

/* --- the kinds of service --------------------------------------------------- */

static int collect_ports(const struct tree_service *tree, int protocol,
			 struct collection *collection)
{
	struct part part = { .families = FAMILY_BITS_ALL, .ports = { tree->lo, tree->hi } };
	int err;

	if (tree->protocol >= 0)
		protocol = tree->protocol;
	part.protocol = (int16_t)(protocol == PROTOCOL_ANY ? IPPROTO_TCP : protocol);
	err = push(collection, part);
	if (err || protocol != PROTOCOL_ANY)
		return err;
	part.protocol = IPPROTO_UDP;
	return push(collection, part);
}

static int collect_protocol(struct resolver *resolver, const struct tree_service *tree,
			    struct collection *collection)
{
	int protocol = tree->protocol;

	if (protocol < 0)
		protocol = protocol_find(tree->name.text);
	if (protocol < 0)
		return resolve_error(resolver, tree->name.position, "unknown-protocol",
				     resolve_suggestion(resolver,
							protocol_nearest(tree->name.text)),
				     "unknown protocol `%s`", tree->name.text);
	return push(collection, (struct part){ .protocol = (int16_t)protocol,
					       .families = FAMILY_BITS_ALL,
					       .syn = tree->syn,
					       .all = true });
}

static int collect_icmp(struct resolver *resolver, const struct tree_service *tree,
			struct collection *collection)
{
	unsigned family = tree->protocol == IPPROTO_ICMPV6 ? 6 : 4;
	struct part part = { .protocol = tree->protocol,
			     .families = family == 6 ? FAMILY_BIT_6 : FAMILY_BIT_4 };

	if (tree->icmp_type >= 0) {
		uint32_t type = (uint32_t)tree->icmp_type << 8;
		uint32_t code = (uint32_t)tree->icmp_code;

		part.ports = (struct range){ type, type | 0xff };
		if (tree->icmp_code >= 0)
			part.ports = (struct range){ type | code, type | code };
	} else if (!tree->name.text) {
		part.all = true;
	} else if (icmp_find(family, tree->name.text, &part.ports)) {
		/* The parser looked it up as well, to point at a slip while it reads. */
		return resolve_error(resolver, tree->name.position, "unknown-icmp-type", NULL,
				     "unknown type `%s`", tree->name.text);
	}
	return push(collection, part);
}

/* The parts of a defined service whose protocol is wanted. */
static int add_carriers(const struct carriers *carriers, int protocol,
			struct collection *collection)
{
	for (uint32_t i = 0; i < carriers->n; i++) {
		const struct carrier *carrier = &carriers->items[i];
		struct part part = { .protocol = carrier->protocol,
				     .families = carrier->families,
				     .syn = carrier->syn,
				     .all = !carrier->ports.n };

		if (protocol != PROTOCOL_ANY && carrier->protocol != protocol)
			continue;
		if (part.all && push(collection, part))
			return -ENOMEM;
		for (uint32_t n = 0; n < carrier->ports.n; n++) {
			part.ports = carrier->ports.items[n];
			if (push(collection, part))
				return -ENOMEM;
		}
	}
	return 0;
}

static int unknown_service(struct resolver *resolver, const struct tree_word *name)
{
	const char *near = NULL, *hint;

	if (resolve_may_suggest(resolver)) {
		uint32_t n = resolver->scope->service_n;
		const char **names = arena_array(&resolver->scratch, n, sizeof(*names));

		if (!names)
			return -ENOMEM;
		for (uint32_t i = 0; i < n; i++)
			names[i] = resolver->scope->services[i].name;
		near = services_nearest(&resolver->services, name->text, names, n);
	}
	hint = resolve_suggestion(resolver, near);
	if (!hint && protocol_find(name->text) >= 0)
		hint = arena_printf(&resolver->scratch, "a protocol without ports: `proto %s`",
				    name->text);
	if (resolve_excused(resolver, TREE_SERVICE, name->text))
		return -EINVAL;
	return resolve_error(resolver, name->position, "unknown-service", hint,
			     "unknown service `%s`", name->text);
}

static int service_loop(struct resolver *resolver, const struct named_service *service,
			struct position position)
{
	struct text chain = TEXT_INIT(1 << 16);
	int err;

	for (uint32_t i = 0; i < resolver->chain_n; i++)
		text_printf(&chain, "%s -> ", resolver->chain[i]);
	err = resolve_error(resolver, position, "service-loop", NULL,
			    "service `%s` contains itself: %s%s", service->name,
			    text_string(&chain), service->name);
	text_free(&chain);
	return err;
}

static int collect_defined(struct resolver *resolver, struct named_service *service,
			   const struct tree_word *name, int protocol,
			   struct collection *collection)
{
	int err;

	if (service->progress == RESOLVING)
		return service_loop(resolver, service, name->position);
	if (service->progress == UNRESOLVED && resolver->chain_n == REFERENCE_DEPTH_MAX)
		return resolve_error(resolver, name->position, "service-depth", NULL,
				     "services within services go deeper than %d",
				     REFERENCE_DEPTH_MAX);
	err = service_resolve(resolver, service);
	return err ? err : add_carriers(&service->carriers, protocol, collection);
}

static int collect_known(struct resolver *resolver, const struct tree_word *name, int protocol,
			 struct collection *collection)
{
	struct service_port ports[SERVICE_PORTS_MAX];
	unsigned n;
	int err = services_find(&resolver->services, name->text, ports, &n);

	if (err == -ENOENT)
		return unknown_service(resolver, name);
	for (unsigned i = 0; !err && i < n; i++)
		if (protocol == PROTOCOL_ANY || ports[i].protocol == protocol)
			err = push(collection,
				   (struct part){ .protocol = ports[i].protocol,
						  .families = FAMILY_BITS_ALL,
						  .ports = { ports[i].port, ports[i].port } });
	return err;
}

static int collect_name(struct resolver *resolver, const struct tree_service *tree, int protocol,
			struct collection *collection)
{
	size_t before = collection->parts.n;
	const char *wanted;
	uint32_t index;
	int err;

	if (tree->protocol >= 0)
		protocol = tree->protocol;
	if (name_table_get(&resolver->scope->service_names, tree->name.text, &index))
		err = collect_defined(resolver, &resolver->scope->services[index], &tree->name,
				      protocol, collection);
	else
		err = collect_known(resolver, &tree->name, protocol, collection);
	if (err || collection->silent || collection->parts.n > before || protocol < 0)
		return err;
	wanted = protocol_name((uint8_t)protocol);
	return resolve_error(resolver, tree->name.position, "service-protocol", NULL,
			     "service `%s` has no port of %s", tree->name.text,
			     wanted ? wanted : "that protocol");
}

static int collect_list(struct resolver *resolver, const struct tree_service *tree, int protocol,
			struct collection *collection)
{
	int result = 0;

	if (tree->protocol >= 0)
		protocol = tree->protocol;
	for (uint32_t i = 0; i < tree->n; i++) {
		int err = collect(resolver, &tree->items[i], protocol, collection);

		if (err == -ENOMEM)
			return err;
		result = result ? result : err;
	}
	return result;
}

/*
 * `protocol` is what a list around says behind its `/`, or what a source port is wanted for. The
 * parser bounds the depth.
 */
static int collect(struct resolver *resolver, const struct tree_service *tree, int protocol,
		   struct collection *collection)
{
	switch (tree->kind) {
	case TREE_SERVICE_PORTS:
		return collect_ports(tree, protocol, collection);
	case TREE_SERVICE_NAME:
		return collect_name(resolver, tree, protocol, collection);
	case TREE_SERVICE_PROTOCOL:
		return collect_protocol(resolver, tree, collection);
	case TREE_SERVICE_ICMP:
		return collect_icmp(resolver, tree, collection);
	case TREE_SERVICE_ANY:
		return push(collection, (struct part){ .protocol = PROTOCOL_ANY,
						       .families = FAMILY_BITS_ALL,
						       .all = true });
	case TREE_SERVICE_LIST:
		return collect_list(resolver, tree, protocol, collection);
	}
	return -EINVAL;
}

/* --- merging ----------------------------------------------------------------- */

/* By protocol, whole protocols first; of these the ones of both families first, `syn` last. */
static int compare_parts(const void *left, const void *right)
{
	const struct part *a = left, *b = right;

	if (a->protocol != b->protocol)
		return a->protocol < b->protocol ? -1 : 1;
	if (a->syn != b->syn)
		return a->syn ? 1 : -1;
	if (a->all != b->all)
		return a->all ? -1 : 1;
	return (a->families < b->families) - (a->families > b->families);
}

/* Does a carrier that is there already match all of this part? */
static bool covered(const struct carrier_vector *carriers, const struct part *part)
{
	for (size_t i = 0; i < carriers->n; i++) {
		const struct carrier *carrier = &carriers->items[i];

		if (carrier->ports.n || carrier->syn || (part->families & ~carrier->families))
			continue;
		if (carrier->protocol == PROTOCOL_ANY || carrier->protocol == part->protocol)
			return true;
	}
	return false;
}

static bool same_carrier(const struct part *a, const struct part *b)
{
	return a->protocol == b->protocol && a->families == b->families && a->syn == b->syn &&
	       a->all == b->all;
}

/* Parts first..end, which differ only in ports, as one carrier. */
static int merge_run(struct resolver *resolver, const struct part *parts, size_t n,
		     struct carrier_vector *carriers)
{
	struct carrier carrier = { .protocol = parts->protocol,
				   .families = parts->families,
				   .syn = parts->syn };
	struct range_vector ranges = { 0 };
	int err = 0;

	for (size_t i = 0; !err && !parts->all && i < n; i++)
		err = range_vector_push(&ranges, parts[i].ports);
	if (!err && ranges.n) {
		range_vector_normalise(&ranges);
		carrier.ports.items = (const void *)arena_copy(resolver->arena, ranges.items,
							       ranges.n * sizeof(*ranges.items));
		carrier.ports.n = (uint32_t)ranges.n;
		err = carrier.ports.items ? 0 : -ENOMEM;
	}
	range_vector_free(&ranges);
	if (!err)
		err = carrier_vector_push(carriers, carrier);
	return err ? -ENOMEM : 0;
}

static int merge(struct resolver *resolver, struct part_vector *parts, struct carriers *result)
{
	struct carrier_vector carriers = { 0 };
	int err = 0;

	if (parts->n)
		qsort(parts->items, parts->n, sizeof(*parts->items), compare_parts);
	for (size_t i = 0, end; !err && i < parts->n; i = end) {
		end = i + 1;
		while (end < parts->n && same_carrier(&parts->items[i], &parts->items[end]))
			end++;
		if (!covered(&carriers, &parts->items[i]))
			err = merge_run(resolver, &parts->items[i], end - i, &carriers);
	}
	if (!err) {
		result->items = (const void *)arena_copy(resolver->arena, carriers.items,
							 carriers.n * sizeof(*carriers.items));
		result->n = (uint32_t)carriers.n;
		err = result->items ? 0 : -ENOMEM;
	}
	carrier_vector_free(&carriers);
	return err;
}

int resolve_service(struct resolver *resolver, const struct tree_service *tree,
		    struct carriers *carriers)
{
	struct collection collection = { 0 };
	int err = collect(resolver, tree, PROTOCOL_ANY, &collection);

	if (!err && !collection.parts.n)
		err = resolve_error(resolver, tree->position, "empty-match", NULL,
				    "this list of services is empty, so nothing matches");
	if (!err)
		err = merge(resolver, &collection.parts, carriers);
	part_vector_free(&collection.parts);
	return err;
}

int resolve_ports(struct resolver *resolver, const struct tree_service *tree, uint8_t protocol,
		  struct ranges *ports)
{
	struct collection collection = { .silent = true };
	struct carriers carriers = { 0 };
	int err = collect(resolver, tree, protocol, &collection);

	if (!err)
		err = merge(resolver, &collection.parts, &carriers);
	part_vector_free(&collection.parts);
	if (err)
		return err;
	for (uint32_t i = 0; i < carriers.n; i++) {
		if (carriers.items[i].protocol == protocol && carriers.items[i].ports.n) {
			*ports = carriers.items[i].ports;
			return 0;
		}
	}
	return -ENOENT;
}

/* --- definitions ---------------------------------------------------------------- */

static int service_resolve(struct resolver *resolver, struct named_service *service)
{
	int err;

	if (service->progress == RESOLVED)
		return 0;
	if (service->progress == FAILED)
		return -EINVAL;
	service->progress = RESOLVING;
	resolver->chain[resolver->chain_n++] = service->name;
	err = resolve_service(resolver, service->tree, &service->carriers);
	resolver->chain_n--;
	service->progress = err ? FAILED : RESOLVED;
	return err;
}

static int service_declare(struct resolver *resolver, const struct tree_service_definition *tree)
{
	struct scope *scope = resolver->scope;
	struct named_service *service = &scope->services[scope->service_n];
	uint32_t index;

	if (name_table_get(&scope->service_names, tree->name.text, &index))
		return resolve_error(resolver, tree->name.position, "duplicate-service", NULL,
				     "service `%s` is already defined at %s", tree->name.text,
				     resolve_place(resolver, scope->services[index].position));
	if (service_is_known(tree->name.text))
		diagnose(resolver->diagnostics, DIAGNOSTIC_WARNING, tree->name.position,
			 "hidden-service", NULL,
			 "service `%s` of this policy hides the well-known one", tree->name.text);
	*service = (struct named_service){ .position = tree->name.position, .tree = tree->service };
	if (resolve_copy(resolver, tree->name.text, &service->name))
		return -ENOMEM;
	return name_table_put(&scope->service_names, resolver->arena, service->name,
			      scope->service_n++);
}

int resolve_service_definitions(struct resolver *resolver,
				const struct statement_vector *statements)
{
	struct scope *scope = resolver->scope;
	size_t n = 0;
	int result = 0, err;

	for (size_t i = 0; i < statements->n; i++)
		n += statements->items[i]->kind == TREE_SERVICE;
	scope->services = arena_array(resolver->arena, n, sizeof(*scope->services));
	if (!scope->services)
		return -ENOMEM;
	for (size_t i = 0; i < statements->n; i++) {
		if (statements->items[i]->kind != TREE_SERVICE)
			continue;
		err = service_declare(resolver, &statements->items[i]->service);
		if (err == -ENOMEM)
			return err;
		result = result ? result : err;
	}
	for (uint32_t i = 0; i < scope->service_n; i++) {
		err = service_resolve(resolver, &scope->services[i]);
		if (err == -ENOMEM)
			return err;
		result = result ? result : err;
	}
	return result;
}
