// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Source texts: the policy file, what it includes, the files of its sets.
 *
 * A source_set owns every text that a policy was made of, so that positions can be shown with their
 * lines later, and so that the running policy can be stored whole and resolved again elsewhere
 * (bundle). Texts are read through a source_set only: from files, or from a bundle in which nothing
 * is read from disk any more.
 */
#ifndef REEVE_BASE_SOURCE_H
#define REEVE_BASE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vector.h"

#define SOURCE_SIZE_MAX ((size_t)64 << 20) /* bytes of one file */

struct source {
	char *name; /* as said by the person, relative names joined to the includer's folder */
	char *text; /* NUL-terminated; may hold NUL bytes before its end */
	size_t len;
};

VECTOR(source_vector, struct source);

struct source_set {
	struct source_vector sources;
	bool sealed; /* no reading from disk: a name that is not here does not exist */
};

/*
 * A position: which source, and the byte offset in it. Lines and columns are counted when asked
 * for.
 */
struct position {
	uint32_t source; /* index in the set, or POSITION_NONE */
	uint32_t offset;
	uint32_t length; /* bytes to underline, at least 1 */
};

#define POSITION_NONE UINT32_MAX

/*
 * The text of `name`: already in the set, or read from disk ("-" is standard input). `from` is the
 * index of the including source for relative names, or POSITION_NONE. *index is where it is.
 * -ENOENT, -EACCES, -EISDIR, -EFBIG over SOURCE_SIZE_MAX, -EIO, -ENOMEM.
 */
int source_set_read(struct source_set *set, const char *name, uint32_t from, uint32_t *index);
/* Adds a text under a name; both are copied. */
int source_set_add(struct source_set *set, const char *name, const char *text, size_t len,
		   uint32_t *index);
void source_set_free(struct source_set *set);

/* Line and column, both from 1; the column counts bytes. */
void source_place(const struct source *source, uint32_t offset, unsigned *line, unsigned *column);

/* One byte string holding the whole set; *bytes is malloc'ed. */
int source_set_pack(const struct source_set *set, unsigned char **bytes, size_t *len);
/* A sealed set out of such bytes; any bytes are safe: -EBADMSG when they are not a bundle. */
int source_set_unpack(const unsigned char *bytes, size_t len, struct source_set *set);

#endif
