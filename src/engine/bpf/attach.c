// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Attaching: the links that hold programs on their hooks, and what the guard is told.
 *
 * A link lives as long as its pin, arrive_<ifindex>, depart_<ifindex> or guard_<hook>_<family>.
 * Whether it still does what it is for is asked every time, never remembered: the device may be
 * gone and its index used again, somebody may have detached it, it may run the programs of a policy
 * that was forgotten. What is not right is made anew beside the old link, which is then detached,
 * so that the hook is never empty.
 *
 * The guard is told last. Its word of an interface only counts together with the device's own
 * hooks, which it looks at itself; so neither order of events opens anything.
 */
#include "engine/bpf/attach.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/bpf/early.h"
#include "engine/bpf/guard_nft.h"
#include "engine/bpf/problem.h"
#include "engine/bpf/sys.h"
#include "engine/bpf/tc_filter.h"

#define NAME_MAX_LEN 48
/* In front of conntrack and NAT; another program there makes the guard step aside, one by one. */
#define GUARD_PRIORITY (-390)
#define GUARD_PRIORITY_TRIES 32

VECTOR(name_vector, char *);

static const struct {
	const char *name;
	enum loaded_program program;
	uint32_t hook;
} guard_hooks[] = {
	{ "local_in", PROGRAM_GUARD_LOCAL_IN, NF_INET_LOCAL_IN },
	{ "post_routing", PROGRAM_GUARD_POST_ROUTING, NF_INET_POST_ROUTING },
};

static const struct {
	const char *name;
	uint32_t family;
} guard_families[] = {
	{ "ipv4", NFPROTO_IPV4 },
	{ "ipv6", NFPROTO_IPV6 },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum coverage link_coverage(const struct link *link, const struct ruleset *ruleset)
{
	if (ruleset_names_interface(ruleset, link->name))
		return COVERAGE_COVERED;
	if (link->loopback)
		return COVERAGE_LOOPBACK;
	if (link->ifb)
		return COVERAGE_DETOUR;
	return link->port ? COVERAGE_PORT : COVERAGE_COVERED;
}

static void link_name(char name[NAME_MAX_LEN], uint32_t ifindex, bool departure)
{
	snprintf(name, NAME_MAX_LEN, "%s_%u", departure ? "depart" : "arrive", ifindex);
}

static void guard_name(char name[NAME_MAX_LEN], size_t hook, size_t family)
{
	snprintf(name, NAME_MAX_LEN, "guard_%s_%s", guard_hooks[hook].name,
		 guard_families[family].name);
}

static uint32_t program_id(int program)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	return bpf_obj_get_info_by_fd(program, &info, &size) ? 0 : info.id;
}

/*
 * Is the pinned link on this interface (0: wherever it is)? With a `program`, does it run that one,
 * and not a forgotten one?
 */
static bool link_alive(const struct pins *pins, const char *name, uint32_t ifindex, int program)
{
	cleanup_fd int fd = pins_get(pins, name);
	struct sys_link_info info;

	return fd >= 0 && !sys_link_info(fd, &info) && (!ifindex || info.ifindex == ifindex) &&
	       (program < 0 || info.program == program_id(program));
}

static bool by_filters(const struct loaded *loaded)
{
	return loaded->control->means & MEANS_CLSACT;
}

/* Is it there? With a `program`, does it run that one? */
static bool in_place(const struct loaded *loaded, const struct pins *pins, uint32_t ifindex,
		     bool departure, int program)
{
	struct tc_filter_look look;
	char name[NAME_MAX_LEN];

	if (by_filters(loaded))
		return !tc_filter_look(ifindex, departure, &look) && look.program && !look.behind &&
		       (program < 0 || look.program == program_id(program));
	link_name(name, ifindex, departure);
	return link_alive(pins, name, ifindex, program);
}

bool attached(const struct loaded *loaded, const struct pins *pins, uint32_t ifindex)
{
	return in_place(loaded, pins, ifindex, false, -1) &&
	       in_place(loaded, pins, ifindex, true, -1);
}

static enum loaded_program program_for(const struct link *link, bool departure)
{
	if (departure)
		return link->ethernet ? PROGRAM_DEPART_ETHERNET : PROGRAM_DEPART_RAW;
	return link->ethernet ? PROGRAM_ARRIVE_ETHERNET : PROGRAM_ARRIVE_RAW;
}

bool attached_rightly(const struct loaded *loaded, const struct pins *pins, const struct link *link)
{
	for (int departure = 0; departure < 2; departure++)
		if (!in_place(loaded, pins, link->ifindex, departure,
			      loaded->programs[program_for(link, departure)]))
			return false;
	return true;
}

bool attached_once(const struct loaded *loaded, const struct pins *pins, uint32_t ifindex)
{
	for (int departure = 0; departure < 2; departure++) {
		struct tc_filter_look look;
		char name[NAME_MAX_LEN];
		cleanup_fd int fd = -1;

		if (by_filters(loaded)) {
			if (!tc_filter_look(ifindex, departure, &look) && look.program)
				return true;
			continue;
		}
		link_name(name, ifindex, departure);
		fd = pins_get(pins, name);
		if (fd >= 0)
			return true;
	}
	return false;
}

static int link_visit(void *context, const char *name)
{
	unsigned int ifindex;

	(void)context;
	return sscanf(name, "arrive_%u", &ifindex) == 1 || sscanf(name, "depart_%u", &ifindex) == 1;
}

/* With a `program`: does it run that one? */
static bool guard_alive(const struct pins *pins, size_t hook, size_t family, int program)
{
	cleanup_fd int fd = -1, own = -1, tried = -1;
	struct sys_link_info info;
	char name[NAME_MAX_LEN];

	guard_name(name, hook, family);
	fd = pins_get(pins, name);
	if (fd < 0 || sys_link_info(fd, &info) ||
	    (program >= 0 && info.program != program_id(program)))
		return false;
	own = bpf_prog_get_fd_by_id(info.program);
	if (own < 0)
		return true; /* it cannot be told */
	tried = sys_netfilter_link(own, info.family, info.hook, info.priority);
	if (tried < 0)
		return true;
	bpf_link_detach(tried);
	return false;
}

/* A kernel without IPv6 has nothing to guard there, and attach_guard pins nothing. */
static bool guard_possible(size_t family)
{
	return guard_families[family].family != NFPROTO_IPV6 || !access("/proc/sys/net/ipv6", F_OK);
}

bool guard_attached(const struct loaded *loaded, const struct pins *pins)
{
	if (loaded->control->means & MEANS_NFT_GUARD)
		return !(loaded->control->means & MEANS_GUARD_BEHIND) &&
		       (!loaded->control->slot[loaded->control->active & 1].guard ||
			guard_nft_alive(loaded));
	for (size_t hook = 0; hook < COUNT(guard_hooks); hook++)
		for (size_t family = 0; family < COUNT(guard_families); family++)
			if (guard_possible(family) && !guard_alive(pins, hook, family, -1))
				return false;
	return true;
}

/*
 * Pins the link under its name and notes the name, so that a failure later can undo it. One that
 * was pinned there is detached: losing its pin would do it too, but some time later, and until then
 * both judge.
 */
static int link_keep(const struct pins *pins, const char *name, int fd, struct name_vector *made)
{
	cleanup_fd int former = pins_get(pins, name);
	char *copy = strdup(name);
	int err;

	if (!copy)
		return -ENOMEM;
	err = pins_put(pins, name, fd);
	if (!err && former >= 0)
		bpf_link_detach(former);
	if (!err)
		err = name_vector_push(made, copy);
	if (err)
		free(copy);
	return err;
}

/* Removing a link's pin takes the program off its hook too, but some time later. */
static void link_remove(const struct pins *pins, const char *name)
{
	cleanup_fd int fd = pins_get(pins, name);

	if (fd >= 0)
		bpf_link_detach(fd);
	pins_remove(pins, name);
}

/* Pinned where reeve has made the qdisc: then `down` may remove it. */
static void qdisc_name(char name[NAME_MAX_LEN], uint32_t ifindex)
{
	snprintf(name, NAME_MAX_LEN, "clsact_%u", ifindex);
}

/* The pin is no program: one of a set that others took the place of would keep its tables. */
static int attach_filter(const struct loaded *loaded, const struct pins *pins, uint32_t ifindex,
			 bool departure, int program, struct name_vector *made)
{
	char name[NAME_MAX_LEN];
	char *copy;
	int err = 0;

	snprintf(name, sizeof(name), "filter_%u_%u", ifindex, departure);
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	qdisc_name(name, ifindex);
	/* Before it is made: one that nobody knows to be reeve's would stay. */
	if (tc_qdisc_missing(ifindex))
		err = pins_put(pins, name, loaded->maps[MAP_CONTROL]);
	if (!err)
		err = tc_filter_put(ifindex, departure, program);
	if (!err)
		err = name_vector_push(made, copy);
	if (err)
		free(copy);
	return err;
}

static int attach_one(struct loaded *loaded, const struct pins *pins, const struct link *link,
		      bool departure, struct name_vector *made)
{
	int program = loaded->programs[program_for(link, departure)];
	cleanup_fd int fd = -1;
	char name[NAME_MAX_LEN];

	if (in_place(loaded, pins, link->ifindex, departure, program))
		return 0;
	if (by_filters(loaded))
		return attach_filter(loaded, pins, link->ifindex, departure, program, made);
	link_name(name, link->ifindex, departure);
	fd = sys_tcx_link(program, link->ifindex, departure);
	return fd < 0 ? fd : link_keep(pins, name, fd, made);
}

static void qdisc_remove(const struct pins *pins, uint32_t ifindex)
{
	cleanup_fd int fd = -1;
	char name[NAME_MAX_LEN];

	qdisc_name(name, ifindex);
	fd = pins_get(pins, name);
	if (fd < 0)
		return;
	tc_qdisc_remove(ifindex);
	pins_remove(pins, name);
}

/* Takes back what attach_all has made. */
static void unmake(const struct pins *pins, const char *name)
{
	unsigned int ifindex, departure;

	if (sscanf(name, "filter_%u_%u", &ifindex, &departure) == 2) {
		tc_filter_remove(ifindex, departure);
		qdisc_remove(pins, ifindex);
		return;
	}
	link_remove(pins, name);
}

void guard_will_change(const struct loaded *loaded)
{
	if (loaded->control->means & MEANS_NFT_GUARD)
		__atomic_fetch_or(&loaded->control->means, MEANS_GUARD_BEHIND, __ATOMIC_SEQ_CST);
}

static int covered_set(struct loaded *loaded, uint32_t ifindex, struct coverage_entry entry)
{
	struct coverage_entry told = coverage_told(loaded, ifindex);
	int far = loaded->maps[MAP_COVERED_FAR];

	if (told.bits != entry.bits || told.master != entry.master)
		guard_will_change(loaded);
	if (ifindex < INTERFACES_NEAR) {
		/* A word at a time, and the bits last: a master without bits means nothing. */
		loaded->control->covered[ifindex].master = entry.master;
		__atomic_store_n(&loaded->control->covered[ifindex].bits, entry.bits,
				 __ATOMIC_RELEASE);
		return 0;
	}
	return bpf_map_update_elem(far, &ifindex, &entry, BPF_ANY) ? -errno : 0;
}

struct coverage_entry coverage_wanted(const struct link *link, enum coverage coverage)
{
	struct coverage_entry entry = { .bits = COVERED_PROGRAMS };

	if (coverage == COVERAGE_LOOPBACK)
		entry.bits = COVERED_EXEMPT;
	if (coverage == COVERAGE_PORT || coverage == COVERAGE_DETOUR)
		entry.bits = 0;
	if (link->port) { /* also if a zone names it */
		entry.bits |= COVERED_PORT;
		entry.master = link->master;
	}
	return entry;
}

struct coverage_entry coverage_told(const struct loaded *loaded, uint32_t ifindex)
{
	struct coverage_entry entry = { 0 };

	if (ifindex < INTERFACES_NEAR)
		return loaded->control->covered[ifindex];
	bpf_map_lookup_elem(loaded->maps[MAP_COVERED_FAR], &ifindex, &entry);
	return entry;
}

static int no_filter(const char *name, int err, struct problem *problem)
{
	if (err == -ENOENT) {
		problem_set(problem, -ENOSYS,
			    "the kernel has neither tcx nor filters of clsact for `%s`", name);
		problem_hint(problem, "reeve needs Linux 6.6 or newer, or CONFIG_NET_SCH_INGRESS and "
				      "CONFIG_NET_CLS_BPF");
		return -ENOSYS;
	}
	problem_set(problem, err,
		    "cannot put a filter on interface `%s`: its qdisc has a block that interfaces can share",
		    name);
	problem_hint(problem, "`tc qdisc show dev %s` tells `ingress_block` or `egress_block`; reeve "
			      "needs a `clsact` without", name);
	return err;
}

/* Last, for without it the rest does all that has to be done. */
static int attach_early(struct loaded *loaded, const struct pins *pins, const struct link *link,
			const struct ruleset *ruleset, struct name_vector *made,
			struct problem *problem)
{
	int done = early_wanted(link, ruleset) ?
			   early_attach(loaded, pins, link, ruleset, problem) : 0;
	char name[EARLY_NAME_MAX];
	char *copy;
	int err;

	if (done <= 0)
		return done;
	early_name(name, link->ifindex);
	copy = strdup(name);
	err = copy ? name_vector_push(made, copy) : -ENOMEM;
	if (err) {
		free(copy);
		return problem_set(problem, err, "out of memory");
	}
	return 0;
}

static int attach_interface(struct loaded *loaded, const struct pins *pins,
			    const struct link *link, const struct ruleset *ruleset,
			    struct name_vector *made, struct problem *problem)
{
	enum coverage coverage = link_coverage(link, ruleset);
	int err = 0;

	if (coverage == COVERAGE_COVERED) {
		err = attach_one(loaded, pins, link, false, made);
		if (!err)
			err = attach_one(loaded, pins, link, true, made);
		if (err == -ENODEV)
			return 0; /* it has just vanished: tidying takes it for gone */
	}
	if (by_filters(loaded) && (err == -ENOENT || err == -EOPNOTSUPP))
		return no_filter(link->name, err, problem);
	if (err == -EINVAL || err == -EOPNOTSUPP) {
		problem_set(problem, -ENOSYS, "the kernel has no tcx hook for `%s`", link->name);
		problem_hint(problem, "reeve needs Linux 6.6 or newer");
		return -ENOSYS;
	}
	if (err == -EEXIST || err == -EBUSY) {
		problem_set(problem, err, "cannot put a filter on interface `%s`: %s", link->name,
			    err == -EEXIST ? "something else has priority 1 there" :
					     "it has an `ingress` qdisc, which has no egress");
		problem_hint(problem, "`tc filter show dev %s ingress` (and egress) lists the filters; "
				      "reeve's must be the first%s",
			     link->name, err == -EBUSY ? ", and the qdisc `clsact`" : "");
		return err;
	}
	if (err == -ERANGE)
		return problem_set(problem, err,
				   "cannot attach to interface `%s`: too many other programs on its hook",
				   link->name);
	if (err)
		return problem_set(problem, err, "cannot attach to interface `%s`: ", link->name);
	return attach_early(loaded, pins, link, ruleset, made, problem);
}

/*
 * Tells the guard, once everything is attached, so that a refused apply has told it nothing. It
 * asks the devices themselves too, so an interface that vanished meanwhile does no harm.
 */
static int cover_all(struct loaded *loaded, const struct link_vector *links,
		     const struct ruleset *ruleset, struct problem *problem)
{
	for (size_t i = 0; i < links->n; i++) {
		const struct link *link = &links->items[i];
		int err = covered_set(loaded, link->ifindex,
				      coverage_wanted(link, link_coverage(link, ruleset)));

		if (err)
			return problem_set(problem, err, "cannot tell the guard of `%s`: ",
					   link->name);
	}
	return 0;
}

static int attach_guard_one(struct loaded *loaded, const struct pins *pins, size_t hook,
			    size_t family, struct name_vector *made)
{
	int program = loaded->programs[guard_hooks[hook].program];
	cleanup_fd int fd = -1;
	char name[NAME_MAX_LEN];

	guard_name(name, hook, family);
	if (guard_alive(pins, hook, family, program))
		return 0;
	for (int i = 0; i < GUARD_PRIORITY_TRIES; i++) {
		fd = sys_netfilter_link(program, guard_families[family].family, guard_hooks[hook].hook,
					GUARD_PRIORITY + i);
		if (fd != -EBUSY)
			break;
	}
	return fd < 0 ? fd : link_keep(pins, name, fd, made);
}

/* Pinned while there is a table, so that whoever takes the rest away knows of it. */
#define GUARD_TABLE "guard_table"

int guard_tell_coming(const struct loaded *loaded, const struct pins *pins, uint32_t coming,
		      struct problem *problem)
{
	cleanup_fd int pinned = -1;
	int err = 0;

	if (!(loaded->control->means & MEANS_NFT_GUARD))
		return 0;
	pinned = pins_get(pins, GUARD_TABLE);
	if (pinned < 0)
		err = pins_put(pins, GUARD_TABLE, loaded->maps[MAP_CONTROL]);
	if (err)
		return problem_set(problem, err, "cannot pin `%s`: ", GUARD_TABLE);
	return guard_nft_set(loaded, coming, problem);
}

int guard_tell(const struct loaded *loaded, const struct pins *pins, struct problem *problem)
{
	int err = guard_tell_coming(loaded, pins, loaded->control->active & 1, problem);

	if (!err)
		__atomic_fetch_and(&loaded->control->means, ~(uint32_t)MEANS_GUARD_BEHIND,
				   __ATOMIC_SEQ_CST);
	return err;
}

int guard_take_away(const struct pins *pins, struct problem *problem)
{
	cleanup_fd int table = pins_get(pins, GUARD_TABLE);
	cleanup_fd int control = pins_get(pins, loaded_map_names[MAP_CONTROL]);
	int err;

	/* Pinned or not: without `control` nobody knows. */
	if (table < 0 && control >= 0)
		return 0;
	err = guard_nft_remove();
	if (err) {
		problem_set(problem, err, "cannot remove the guard's nftables table");
		problem_hint(problem, "`nft delete table inet reeve-guard`");
		return err;
	}
	pins_remove(pins, GUARD_TABLE);
	return 0;
}

static int attach_guard(struct loaded *loaded, const struct pins *pins, struct name_vector *made,
			struct problem *problem)
{
	if (loaded->control->means & MEANS_NFT_GUARD)
		return 0;
	for (size_t hook = 0; hook < COUNT(guard_hooks); hook++) {
		for (size_t family = 0; family < COUNT(guard_families); family++) {
			int err = attach_guard_one(loaded, pins, hook, family, made);

			/* A kernel without IPv6 has nothing to guard there. */
			if (err == -EAFNOSUPPORT && guard_families[family].family == NFPROTO_IPV6)
				continue;
			if (err)
				return problem_set(problem, err,
						   "cannot attach the guard to %s (%s): ",
						   guard_hooks[hook].name,
						   guard_families[family].name);
		}
	}
	return 0;
}

int attach_all(struct loaded *loaded, const struct pins *pins, const struct link_vector *links,
	       const struct ruleset *ruleset, struct problem *problem)
{
	struct name_vector made = { 0 };
	int err = 0;

	for (size_t i = 0; !err && i < links->n; i++)
		err = attach_interface(loaded, pins, &links->items[i], ruleset, &made, problem);
	if (!err)
		err = attach_guard(loaded, pins, &made, problem);
	if (!err)
		err = cover_all(loaded, links, ruleset, problem);
	if (!err) /* nothing yet, before the first flip */
		err = guard_tell(loaded, pins, problem);
	for (size_t i = 0; i < made.n; i++) {
		if (err)
			unmake(pins, made.items[i]);
		free(made.items[i]);
	}
	name_vector_free(&made);
	return err;
}

int attach_again(struct loaded *loaded, const struct pins *pins, const struct link_vector *links,
		 const struct ruleset *ruleset, uint32_t most, uint32_t *last,
		 struct problem *problem)
{
	/* Without `early` an interface that has come is filtered all the same: it is not held up for it. */
	struct ruleset lenient = *ruleset;
	struct name_vector made = { 0 };
	uint32_t attached_n = 0;
	struct problem one;
	int first = 0, err;

	lenient.options.early_required = false;
	*last = UINT32_MAX;
	for (size_t i = 0; i < links->n && *last == UINT32_MAX; i++) {
		const struct link *link = &links->items[i];
		enum coverage coverage = link_coverage(link, ruleset);
		size_t made_before = made.n;

		err = attach_interface(loaded, pins, link, &lenient, &made, &one);
		if (!err)
			err = covered_set(loaded, link->ifindex, coverage_wanted(link, coverage));
		if (err && !first) {
			first = err;
			*problem = one;
		}
		attached_n += made.n > made_before;
		if (attached_n >= most && i + 1 < links->n)
			*last = link->ifindex;
	}
	err = attach_guard(loaded, pins, &made, &one);
	if (!err)
		err = guard_tell(loaded, pins, &one);
	if (err && !first) {
		first = err;
		*problem = one;
	}
	for (size_t i = 0; i < made.n; i++)
		free(made.items[i]);
	name_vector_free(&made);
	return first;
}

struct exchange {
	const struct pins *pins;
	const struct loaded *from, *to;
	int err;
};

/* The program of `to` that stands for the one with this id of `from`; -1 when it is none. */
static int counterpart(const struct exchange *exchange, uint32_t id)
{
	for (size_t i = 0; i < PROGRAM_COUNT; i++)
		if (loaded_own_program((enum loaded_program)i) &&
		    program_id(exchange->from->programs[i]) == id)
			return exchange->to->programs[i];
	return -1;
}

static int exchange_filters(void *context, uint32_t ifindex)
{
	struct exchange *exchange = context;

	for (int departure = 0; !exchange->err && departure < 2; departure++) {
		struct tc_filter_look look;
		int program;

		if (tc_filter_look(ifindex, departure, &look) || !look.program)
			continue;
		program = counterpart(exchange, look.program);
		if (program >= 0)
			exchange->err = tc_filter_put(ifindex, departure, program);
		if (exchange->err == -ENODEV)
			exchange->err = 0;
	}
	return exchange->err;
}

static int exchange_visit(void *context, const char *name)
{
	const struct exchange *exchange = context;
	struct sys_link_info info;
	cleanup_fd int fd = -1;
	int program;

	if (!link_visit(NULL, name))
		return 0;
	fd = pins_get(exchange->pins, name);
	if (fd < 0 || sys_link_info(fd, &info) || !info.ifindex)
		return 0;
	program = counterpart(exchange, info.program);
	/* -ENOLINK: its interface has just vanished. */
	if (program >= 0 && bpf_link_update(fd, program, NULL) && errno != ENOLINK)
		return -errno;
	return 0;
}

int attach_exchange(const struct pins *pins, const struct loaded *from, const struct loaded *to)
{
	struct exchange exchange = { pins, from, to, 0 };

	if (by_filters(from))
		return tc_each_interface(exchange_filters, &exchange);
	return pins_each(pins, exchange_visit, &exchange);
}

struct tidy {
	const struct pins *pins;
	const struct link_vector *links;
	const struct ruleset *ruleset;
};

static bool should_be_covered(const struct tidy *tidy, uint32_t ifindex)
{
	for (size_t i = 0; i < tidy->links->n; i++)
		if (tidy->links->items[i].ifindex == ifindex)
			return link_coverage(&tidy->links->items[i], tidy->ruleset) ==
			       COVERAGE_COVERED;
	return false;
}

static bool should_have_early(const struct tidy *tidy, uint32_t ifindex)
{
	for (size_t i = 0; i < tidy->links->n; i++)
		if (tidy->links->items[i].ifindex == ifindex)
			return early_wanted(&tidy->links->items[i], tidy->ruleset);
	return false;
}

static bool link_exists(const struct link_vector *links, uint32_t ifindex)
{
	for (size_t i = 0; i < links->n; i++)
		if (links->items[i].ifindex == ifindex)
			return true;
	return false;
}

static int tidy_visit(void *context, const char *name)
{
	const struct tidy *tidy = context;
	unsigned int ifindex;
	int end = 0;

	if ((sscanf(name, "arrive_%u%n", &ifindex, &end) != 1 &&
	     sscanf(name, "depart_%u%n", &ifindex, &end) != 1 &&
	     sscanf(name, "early_%u%n", &ifindex, &end) != 1 &&
	     sscanf(name, "clsact_%u%n", &ifindex, &end) != 1) ||
	    name[end])
		return 0;
	if (!strncmp(name, "clsact", 6)) {
		/* Its index may be another one's tomorrow. */
		if (!link_exists(tidy->links, ifindex))
			pins_remove(tidy->pins, name);
		return 0;
	}
	if (!strncmp(name, "early", 5) ? !should_have_early(tidy, ifindex) :
					 !should_be_covered(tidy, ifindex))
		link_remove(tidy->pins, name);
	return 0;
}

/* Forgets the coverage of interfaces that are gone. */
static void covered_tidy(struct loaded *loaded, const struct link_vector *links)
{
	uint32_t key, next, *previous = NULL;
	int far = loaded->maps[MAP_COVERED_FAR];

	for (uint32_t i = 0; i < INTERFACES_NEAR; i++)
		if (loaded->control->covered[i].bits && !link_exists(links, i))
			covered_set(loaded, i, (struct coverage_entry){ 0 });
	while (!bpf_map_get_next_key(far, previous, &next)) {
		bool known = link_exists(links, next);

		if (!known) {
			guard_will_change(loaded);
			bpf_map_delete_elem(far, &next);
		}
		/* Behind a deleted key the walk begins again: entries are few. */
		key = next;
		previous = known ? &key : NULL;
	}
}

int attach_tidy(struct loaded *loaded, const struct pins *pins, const struct link_vector *links,
		const struct ruleset *ruleset)
{
	struct tidy tidy = { pins, links, ruleset };
	struct problem ignored;
	int err;

	for (size_t i = 0; by_filters(loaded) && i < links->n; i++) {
		uint32_t ifindex = links->items[i].ifindex;

		if (should_be_covered(&tidy, ifindex))
			continue;
		tc_filter_remove(ifindex, false);
		tc_filter_remove(ifindex, true);
		qdisc_remove(pins, ifindex);
	}
	err = pins_each(pins, tidy_visit, &tidy);
	/* Last: by what the guard was told, the next sync knows that something is to be removed. */
	covered_tidy(loaded, links);
	if (loaded->control->means & MEANS_GUARD_BEHIND)
		guard_tell(loaded, pins, &ignored);
	return err;
}

struct detaching {
	const struct pins *pins;
	const char *prefix;
	bool found;
};

static int detach_visit(void *context, const char *name)
{
	struct detaching *detaching = context;
	struct sys_link_info info;
	cleanup_fd int fd = -1;

	if (strncmp(name, detaching->prefix, strlen(detaching->prefix)) != 0)
		return 0;
	fd = pins_get(detaching->pins, name);
	/* Programs have such names too. What was on its way to its name goes, whatever it is. */
	if (fd < 0 || sys_link_info(fd, &info) ||
	    (!sys_link_is_ours(&info) && strncmp(name, PINS_NEW, strlen(PINS_NEW)) != 0))
		return 0;
	bpf_link_detach(fd);
	if (!pins_remove(detaching->pins, name))
		detaching->found = true;
	return 0;
}

/* Links whose pins begin so. Removing while reading may skip some: until none is left. */
static void detach_some(const struct pins *pins, const char *prefix)
{
	struct detaching detaching = { pins, prefix, true };

	while (detaching.found) {
		detaching.found = false;
		pins_each(pins, detach_visit, &detaching);
	}
}

static int undo_filters(void *context, uint32_t ifindex)
{
	tc_filter_remove(ifindex, false);
	tc_filter_remove(ifindex, true);
	qdisc_remove(context, ifindex);
	return 0;
}

void detach_all(const struct pins *pins)
{
	struct problem ignored;

	guard_take_away(pins, &ignored);
	detach_links(pins);
	tc_each_interface(undo_filters, (void *)(uintptr_t)pins);
}

void detach_links(const struct pins *pins)
{
	static const char *const prefixes[] = { PINS_NEW, "guard_", "arrive_", "depart_",
						"early_" };

	for (size_t i = 0; i < COUNT(prefixes); i++)
		detach_some(pins, prefixes[i]);
}

void detach_unfinished(const struct pins *pins)
{
	detach_some(pins, PINS_NEW);
}
