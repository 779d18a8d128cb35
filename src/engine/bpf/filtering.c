// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/filtering.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "engine/bpf/maps.h"
#include "engine/bpf/sys.h"
#include "engine/bpf/tc_filter.h"

#define CONTROL_NAME ".data.control"
#define MAPS_MAX 64u

static void control_unmap(struct control **control)
{
	if (*control)
		munmap(*control, sizeof(**control));
}

/* 0; -ENOENT when this is no control block; -EPROTO when it is another version's. */
static int control_map(uint32_t map, struct control **control)
{
	cleanup_fd int fd = bpf_map_get_fd_by_id(map);
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);
	void *value;

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) || strcmp(info.name, CONTROL_NAME) != 0)
		return -ENOENT;
	if (info.value_size != sizeof(**control))
		return -EPROTO;
	value = mmap(NULL, sizeof(**control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (value == MAP_FAILED)
		return -errno;
	*control = value;
	return (*control)->layout == LAYOUT_VERSION ? 0 : -EPROTO;
}

/* The control block of a program. Errors as above. */
static int program_control(uint32_t id, struct control **control)
{
	cleanup_fd int program = bpf_prog_get_fd_by_id(id);
	uint32_t maps[MAPS_MAX];
	struct bpf_prog_info info = { .nr_map_ids = MAPS_MAX, .map_ids = (uintptr_t)maps };
	uint32_t size = sizeof(info);
	int err = -ENOENT;

	if (program < 0 || bpf_obj_get_info_by_fd(program, &info, &size))
		return -ENOENT;
	for (uint32_t i = 0; err == -ENOENT && i < info.nr_map_ids && i < MAPS_MAX; i++)
		err = control_map(maps[i], control);
	return err;
}

static uint32_t *generation_of(struct control *control)
{
	return &control->slot[control->active & 1].generation;
}

static int program_filters(uint32_t id)
{
	cleanup(control_unmap) struct control *control = NULL;
	int err = program_control(id, &control);

	return err == -EPROTO || (!err && *generation_of(control));
}

static int program_stop(uint32_t id)
{
	cleanup(control_unmap) struct control *control = NULL;

	if (!program_control(id, &control))
		__atomic_store_n(generation_of(control), 0, __ATOMIC_SEQ_CST);
	return 0;
}

struct visit {
	const struct pins *pins;
	int (*program)(uint32_t id);
};

static int pin_visit(void *context, const char *name)
{
	const struct visit *visit = context;
	cleanup_fd int fd = pins_get(visit->pins, name);
	struct sys_link_info link;

	return fd >= 0 && !sys_link_info(fd, &link) && sys_link_is_ours(&link) ?
		       visit->program(link.program) : 0;
}

static int interface_visit(void *context, uint32_t ifindex)
{
	const struct visit *visit = context;
	struct tc_filter_look look;
	int stop = 0;

	for (int departure = 0; !stop && departure < 2; departure++)
		if (!tc_filter_look(ifindex, departure, &look) && look.program)
			stop = visit->program(look.program);
	return stop;
}

/* Stops at the first non-zero return, and hands it on. */
static int each_program(const struct pins *pins, int (*program)(uint32_t id))
{
	struct visit visit = { pins, program };
	int stop = pins_each(pins, pin_visit, &visit);

	return stop > 0 ? stop : tc_each_interface(interface_visit, &visit);
}

bool programs_filter(const struct pins *pins)
{
	return each_program(pins, program_filters) > 0;
}

void programs_stop(const struct pins *pins)
{
	each_program(pins, program_stop);
}
