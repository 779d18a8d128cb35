// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/filtering.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "engine/bpf/maps.h"
#include "engine/bpf/sys.h"

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

/* The control block of the program of a pinned link. Errors as above; also when it is no link. */
static int link_control(const struct pins *pins, const char *name, struct control **control)
{
	cleanup_fd int fd = pins_get(pins, name), program = -1;
	uint32_t maps[MAPS_MAX];
	struct bpf_prog_info info = { .nr_map_ids = MAPS_MAX, .map_ids = (uintptr_t)maps };
	uint32_t size = sizeof(info);
	struct sys_link_info link;
	int err = -ENOENT;

	if (fd < 0 || sys_link_info(fd, &link) || !sys_link_is_ours(&link))
		return -ENOENT;
	program = bpf_prog_get_fd_by_id(link.program);
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

static int filters_visit(void *context, const char *name)
{
	cleanup(control_unmap) struct control *control = NULL;
	int err = link_control(context, name, &control);

	return err == -EPROTO || (!err && *generation_of(control));
}

bool links_filter(const struct pins *pins)
{
	return pins_each(pins, filters_visit, (void *)pins) > 0;
}

static int stop_visit(void *context, const char *name)
{
	cleanup(control_unmap) struct control *control = NULL;

	if (!link_control(context, name, &control))
		__atomic_store_n(generation_of(control), 0, __ATOMIC_SEQ_CST);
	return 0;
}

void links_stop(const struct pins *pins)
{
	pins_each(pins, stop_visit, (void *)pins);
}
