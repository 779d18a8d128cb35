// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/programs.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

#include "base/cleanup.h"

/* In the order of enum full_way. */
static const char *const full_names[] = {
	"arrive_full_raw",
	"arrive_full_ethernet",
	"depart_full_raw",
	"depart_full_ethernet",
};

#define FULL_NAMES (sizeof(full_names) / sizeof(full_names[0]))

_Static_assert(PROGRAM_COUNT + FULL_NAMES == ENGINE_PROGRAMS, "every program has a place");

static int read_figures(int program, const char *name, struct program_figures *figures)
{
	struct bpf_prog_info info;
	uint32_t len = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (bpf_obj_get_info_by_fd(program, &info, &len))
		return -errno;
	figures->name = name;
	figures->id = info.id;
	figures->verified = info.verified_insns;
	figures->xlated = info.xlated_prog_len;
	figures->jited = info.jited_prog_len;
	return 0;
}

/* One that a quick program ends in by a tail call: the map tells its id. */
static int read_full(const struct loaded *loaded, uint32_t way, struct program_figures *figures)
{
	cleanup_fd int fd = -1;
	uint32_t id;

	if (bpf_map_lookup_elem(loaded->maps[MAP_FULL_WAYS], &way, &id))
		return -errno;
	fd = bpf_prog_get_fd_by_id(id);
	return fd < 0 ? -errno : read_figures(fd, full_names[way], figures);
}

int programs_figures(const struct loaded *loaded, struct program_figures figures[ENGINE_PROGRAMS],
		     uint32_t *n)
{
	uint32_t found = 0;
	int err = 0;

	for (uint32_t i = 0; !err && i < PROGRAM_COUNT; i++)
		if (loaded->programs[i] >= 0)
			err = read_figures(loaded->programs[i], loaded_program_names[i],
					   &figures[found++]);
	for (uint32_t way = 0; !err && way < FULL_NAMES; way++)
		err = read_full(loaded, way, &figures[found++]);
	if (!err)
		*n = found;
	return err;
}
