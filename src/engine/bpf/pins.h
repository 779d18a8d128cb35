// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where everything that runs is pinned: a bpffs of reeve's own, a folder for each network
 * namespace.
 *
 *	/run/reeve/bpf/<cookie>/	the namespace's SO_NETNS_COOKIE in hex (inode numbers are reused, cookies are not)
 *		control, images, …	maps, by their names
 *		arrive_ethernet, …	programs
 *		arrive_<ifindex>, depart_<ifindex>, guard_<hook>_<family>   links
 *		new_<name>			on its way to its name; left over from a killed change
 *	/run/reeve/lock-<cookie>	locked while something is changed in this namespace
 *
 * The file system is mounted in the mount namespace of PID 1, and reached from everywhere as
 * /proc/1/root/run/reeve/bpf: a mount made under `ip netns exec` would vanish with that command,
 * and every pin with it. Where PID 1 does not let itself be looked at, another process of that
 * namespace serves.
 */
#ifndef REEVE_ENGINE_BPF_PINS_H
#define REEVE_ENGINE_BPF_PINS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/bpf/engine.h"

#define PIN_PATH_MAX 160
#define PINS_NEW "new_"

struct pins {
	char folder[PIN_PATH_MAX / 2]; /* of this namespace, as this process reaches it */
	uint64_t cookie;	       /* of this namespace */
	int root;		       /* a process in the mount namespace where it is */
	int lock;		       /* holds the lock of changes in this namespace while >= 0 */
	int home;		       /* holds that of the mount and the folders in it while >= 0 */
};

#define PINS_CLOSED { .lock = -1, .home = -1 }

/*
 * Finds the folder. With `create` the file system is mounted and the folder made when they are
 * missing, and the lock is taken: one change at a time in a namespace. Without, -ENOENT when there is
 * no folder.
 */
int pins_open(struct pins *pins, bool create, struct problem *problem);
/*
 * The path of a file of this network namespace's beside the mount: <kind>-<cookie>; with `create`
 * its folder is made if it is missing.
 */
int pins_state_path(const char *kind, bool create, char path[PIN_PATH_MAX],
		    struct problem *problem);
/* SO_NETNS_COOKIE of this network namespace. */
int namespace_cookie(uint64_t *cookie, struct problem *problem);
/*
 * Finds the file system, not a namespace's folder in it; until pins_close nobody makes or removes
 * folders there. -ENOENT when it is not mounted.
 */
int pins_open_home(struct pins *pins, struct problem *problem);
/*
 * Calls `visit` with the pins of each namespace. Stops at the first non-zero return and hands it
 * on.
 */
int pins_each_namespace(const struct pins *home,
			int (*visit)(void *context, struct pins *namespace), void *context);
/* Takes the lock of changes on what pins_open found. */
int pins_lock(struct pins *pins, struct problem *problem);
/* The same without waiting: -EBUSY when somebody else has it. */
int pins_try_lock(struct pins *pins, struct problem *problem);
void pins_close(struct pins *pins);

void pins_path(const struct pins *pins, const char *name, char path[PIN_PATH_MAX]);
/* A file descriptor of the pinned object, or -errno. */
int pins_get(const struct pins *pins, const char *name);
/* Pins a descriptor; an older pin of that name is replaced in one step. 0 or -errno. */
int pins_put(const struct pins *pins, const char *name, int fd);
int pins_remove(const struct pins *pins, const char *name);
/* In one step; what was pinned as `to` is let go. */
int pins_rename(const struct pins *pins, const char *name, const char *to);
/*
 * Calls `visit` for each pinned name; it may remove that name. Stops at the first non-zero return
 * and hands it on.
 */
int pins_each(const struct pins *pins, int (*visit)(void *context, const char *name), void *context);
/*
 * Removes all pins and the folder; the file system too when no other namespace has one. The lock is
 * kept till pins_close.
 */
int pins_clear(struct pins *pins, struct problem *problem);
/*
 * Removes what a `down` that was killed behind the folder has left: what it had locked, and the file
 * system if no other namespace has a folder in it.
 */
void pins_clear_home(struct pins *pins);

#endif
