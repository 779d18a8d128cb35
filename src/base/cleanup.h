// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Cleanup attributes: a local that frees itself when it leaves scope, and `take` to hand it on.
 */
#ifndef REEVE_BASE_CLEANUP_H
#define REEVE_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_(void *pointer)
{
	free(*(void **)pointer);
}

static inline void cleanup_fd_(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_file_(FILE **file)
{
	if (*file)
		fclose(*file);
}

#define cleanup(function) __attribute__((cleanup(function)))
#define cleanup_free cleanup(cleanup_free_)
#define cleanup_fd cleanup(cleanup_fd_)
#define cleanup_file cleanup(cleanup_file_)

/* The value of a pointer variable, which is NULL afterwards: ownership moves to the caller. */
#define take(pointer)                                                                              \
	({                                                                                         \
		__typeof__(pointer) taken_ = (pointer);                                            \
		(pointer) = NULL;                                                                  \
		taken_;                                                                            \
	})
/* The same for a file descriptor variable. */
#define take_fd(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})

#endif
