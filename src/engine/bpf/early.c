// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/early.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/bpf/attach.h"
#include "engine/bpf/problem.h"
#include "engine/bpf/sys.h"

void early_name(char name[EARLY_NAME_MAX], uint32_t ifindex)
{
	snprintf(name, EARLY_NAME_MAX, "early_%u", ifindex);
}

bool early_wanted(const struct link *link, const struct ruleset *ruleset)
{
	return link_coverage(link, ruleset) == COVERAGE_COVERED &&
	       ruleset->early_zones >> ruleset_interface_zone(ruleset, link->name) & 1;
}

/* What stands at a device's hook, ours or not; 0: nothing. */
struct device {
	uint32_t program;
	bool native;
};

static int device_read(uint32_t ifindex, struct device *device)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	int err = bpf_xdp_query((int)ifindex, 0, &query);

	*device = (struct device){ 0 };
	if (err)
		return err;
	device->native = query.drv_prog_id || query.hw_prog_id;
	device->program = query.hw_prog_id ? query.hw_prog_id :
			  query.drv_prog_id ? query.drv_prog_id : query.skb_prog_id;
	return 0;
}

/* The program of the link that is pinned for this interface, if it still holds it; or 0. */
static uint32_t link_program(const struct pins *pins, uint32_t ifindex)
{
	struct sys_link_info info;
	char name[EARLY_NAME_MAX];
	cleanup_fd int fd = -1;

	early_name(name, ifindex);
	fd = pins_get(pins, name);
	return fd >= 0 && !sys_link_info(fd, &info) && info.ifindex == ifindex ? info.program : 0;
}

static uint16_t why_noted(const struct loaded *loaded, uint32_t ifindex)
{
	return loaded && ifindex < INTERFACES_NEAR ? loaded->control->early_why[ifindex] : 0;
}

/* 0 or -errno of the native way, and of the one that was tried last. */
static void why_note(struct loaded *loaded, uint32_t ifindex, int native, int last)
{
	if (ifindex < INTERFACES_NEAR)
		loaded->control->early_why[ifindex] =
			(uint16_t)(last < 0 ? EARLY_WITHOUT | (uint32_t)-last : (uint32_t)-native);
}

static bool taken(int err)
{
	return err == -EBUSY || err == -EEXIST;
}

enum early_state early_look(const struct loaded *loaded, const struct pins *pins, uint32_t ifindex,
			    uint16_t *why)
{
	uint32_t own = link_program(pins, ifindex);
	uint16_t noted = why_noted(loaded, ifindex);
	struct device device;

	*why = noted & (uint16_t)~EARLY_WITHOUT;
	if (device_read(ifindex, &device))
		return EARLY_MISSING;
	/* What was in the way is not any more; what was taken away can be put back. */
	if (!device.program)
		return noted & EARLY_WITHOUT && !taken(-*why) ? EARLY_REFUSED : EARLY_MISSING;
	if (device.program != own)
		return EARLY_OTHERS;
	if (device.native)
		*why = 0;
	return device.native ? EARLY_NATIVE : EARLY_GENERIC;
}

void early_tell(const struct loaded *loaded, const struct pins *pins, const struct ruleset *ruleset,
		struct interface_vector *interfaces)
{
	for (size_t i = 0; i < interfaces->n; i++) {
		struct engine_interface *one = &interfaces->items[i];

		one->early = EARLY_UNASKED;
		if (one->coverage != COVERAGE_LOOPBACK && one->coverage != COVERAGE_PORT &&
		    one->coverage != COVERAGE_DETOUR && ruleset->early_zones >> one->zone & 1)
			one->early = early_look(loaded, pins, one->ifindex, &one->early_why);
	}
}

enum protection_state early_protection(const struct loaded *loaded, const struct ruleset *ruleset)
{
	FILE *file;
	bool cookies;

	if (!ruleset->protects)
		return PROTECTION_UNASKED;
	if (!loaded->control->cookies)
		return PROTECTION_NO_HANDOVER;
	file = fopen("/proc/sys/net/ipv4/tcp_syncookies", "re");
	cookies = file && fgetc(file) != '0';
	if (file)
		fclose(file);
	return cookies ? PROTECTION_ON : PROTECTION_NO_COOKIES;
}

static int others_are_there(const char *name, struct problem *problem)
{
	problem_set(problem, -EBUSY,
		    "`early` is required, but interface `%s` has an XDP program of somebody else", name);
	problem_hint(problem, "`reeve hooks` names it; without `options { early required }` the "
			      "policy runs without `early` there");
	return -EBUSY;
}

int early_check(const struct pins *pins, const struct ruleset *ruleset,
		const struct link_vector *links, struct problem *problem)
{
	uint16_t ignored;

	for (size_t i = 0; ruleset->options.early_required && i < links->n; i++) {
		const struct link *link = &links->items[i];

		if (early_wanted(link, ruleset) &&
		    early_look(NULL, pins, link->ifindex, &ignored) == EARLY_OTHERS)
			return others_are_there(link->name, problem);
	}
	return 0;
}

static int program_for(const struct loaded *loaded, const struct link *link, bool native)
{
	if (native)
		return loaded->programs[link->ethernet ? PROGRAM_EARLY_ETHERNET :
							 PROGRAM_EARLY_RAW];
	return loaded->programs[link->ethernet ? PROGRAM_EARLY_ETHERNET_GENERIC :
						 PROGRAM_EARLY_RAW_GENERIC];
}

/* Both ways, or none of them, are there: they are loaded together. */
static bool programs_there(const struct loaded *loaded)
{
	return loaded->programs[PROGRAM_EARLY_ETHERNET] >= 0 &&
	       loaded->programs[PROGRAM_EARLY_ETHERNET_GENERIC] >= 0 &&
	       loaded->programs[PROGRAM_EARLY_RAW] >= 0 &&
	       loaded->programs[PROGRAM_EARLY_RAW_GENERIC] >= 0;
}

static bool in_place(const struct loaded *loaded, const struct pins *pins, const struct link *link)
{
	uint32_t there = link_program(pins, link->ifindex);

	for (int native = 0; there && programs_there(loaded) && native < 2; native++) {
		struct bpf_prog_info info = { 0 };
		uint32_t size = sizeof(info);

		if (!bpf_obj_get_info_by_fd(program_for(loaded, link, native), &info, &size) &&
		    info.id == there)
			return true;
	}
	return false;
}

bool early_missing(const struct loaded *loaded, const struct pins *pins, const struct link *link)
{
	uint16_t ignored;

	if (in_place(loaded, pins, link))
		return false;
	switch (early_look(loaded, pins, link->ifindex, &ignored)) {
	case EARLY_OTHERS:
	case EARLY_REFUSED:
		return false;
	default:
		return programs_there(loaded);
	}
}

static int xdp_link(int program, uint32_t ifindex, bool native)
{
	LIBBPF_OPTS(bpf_link_create_opts, options,
		    .flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);

	if (sys_left_out("xdp") || (native && sys_left_out("native-xdp")))
		return -EOPNOTSUPP;
	return bpf_link_create(program, (int)ifindex, BPF_XDP, &options);
}

/* Another program on the link that is there, which stays as it is: native or not. */
static int exchange(const struct loaded *loaded, const struct pins *pins, const struct link *link)
{
	struct device device;
	char name[EARLY_NAME_MAX];
	cleanup_fd int fd = -1;
	int err;

	early_name(name, link->ifindex);
	fd = pins_get(pins, name);
	if (fd < 0)
		return fd;
	err = device_read(link->ifindex, &device);
	if (err)
		return err;
	return bpf_link_update(fd, program_for(loaded, link, device.native), NULL) ? -errno : 0;
}

static int refused(const struct link *link, int err, struct problem *problem)
{
	if (taken(err))
		return others_are_there(link->name, problem);
	problem_set(problem, err, "`early` is required, but interface `%s` takes no XDP program: ",
		    link->name);
	problem_hint(problem, "without `options { early required }` the policy runs without `early` there");
	return err;
}

/*
 * What veth's driver sends back is lost unless the other end has NAPI, and nobody tells: there
 * answers to SYNs go out behind the driver.
 */
static bool unable_to_answer(const struct link *link, const struct ruleset *ruleset)
{
	return link->veth && ruleset->protects;
}

/* Takes a program out of a driver that cannot do what this policy asks of it. True: it was there. */
static bool step_back(const struct pins *pins, const struct link *link,
		      const struct ruleset *ruleset)
{
	struct device device;
	char name[EARLY_NAME_MAX];
	cleanup_fd int fd = -1;

	if (!unable_to_answer(link, ruleset) || device_read(link->ifindex, &device) ||
	    !device.native)
		return false;
	early_name(name, link->ifindex);
	fd = pins_get(pins, name);
	return fd >= 0 && !bpf_link_detach(fd);
}

int early_attach(struct loaded *loaded, const struct pins *pins, const struct link *link,
		 const struct ruleset *ruleset, struct problem *problem)
{
	int native = 0, err = 0;
	char name[EARLY_NAME_MAX];
	cleanup_fd int fd = -1;

	if (!programs_there(loaded) ||
	    (!step_back(pins, link, ruleset) && in_place(loaded, pins, link)))
		return 0;
	if (link_program(pins, link->ifindex) && !exchange(loaded, pins, link))
		return 0;
	fd = unable_to_answer(link, ruleset) ?
		     -EARLY_ANSWERS_LOST : xdp_link(program_for(loaded, link, true), link->ifindex, true);
	if (fd < 0 && !taken(fd) && fd != -ENODEV) {
		native = fd;
		fd = xdp_link(program_for(loaded, link, false), link->ifindex, false);
	}
	if (fd == -ENODEV)
		return 0; /* it has just vanished */
	why_note(loaded, link->ifindex, native, fd < 0 ? fd : 0);
	if (fd < 0)
		return ruleset->options.early_required ? refused(link, fd, problem) : 0;
	early_name(name, link->ifindex);
	err = pins_put(pins, name, fd);
	return err ? problem_set(problem, err, "cannot pin `%s`: ", name) : 1;
}

int early_attach_native(const struct loaded *loaded, const struct pins *pins,
			const struct link *link)
{
	char name[EARLY_NAME_MAX];
	cleanup_fd int fd = -1;
	uint16_t ignored;

	if (!programs_there(loaded))
		return -ENOENT;
	if (!in_place(loaded, pins, link) && link_program(pins, link->ifindex))
		exchange(loaded, pins, link);
	if (in_place(loaded, pins, link))
		return early_look(loaded, pins, link->ifindex, &ignored) == EARLY_NATIVE ?
			       0 : -EOPNOTSUPP;
	fd = xdp_link(program_for(loaded, link, true), link->ifindex, true);
	if (fd < 0)
		return fd;
	early_name(name, link->ifindex);
	return pins_put(pins, name, fd);
}
