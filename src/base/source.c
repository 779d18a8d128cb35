// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define READ_STEP ((size_t)64 * 1024)

/* The bundle: magic, number of sources, then for each its two lengths, name and text. */
#define BUNDLE_MAGIC "RVS1"
#define BUNDLE_HEAD 8
#define BUNDLE_SOURCE_HEAD 8
#define BUNDLE_SOURCES_MAX 65536u

static int source_find(const struct source_set *set, const char *name, uint32_t *index)
{
	for (uint32_t i = 0; i < set->sources.n; i++) {
		if (strcmp(set->sources.items[i].name, name) == 0) {
			*index = i;
			return 0;
		}
	}
	return -ENOENT;
}

/* Takes ownership of name and text when it succeeds. */
static int source_push(struct source_set *set, char *name, char *text, size_t len, uint32_t *index)
{
	struct source source = { .name = name, .text = text, .len = len };
	int err = source_vector_push(&set->sources, source);

	if (err)
		return err;
	*index = (uint32_t)(set->sources.n - 1);
	return 0;
}

static char *join_name(const struct source_set *set, const char *name, uint32_t from)
{
	const char *base, *slash;
	char *joined;

	if (name[0] == '/' || from >= set->sources.n)
		return strdup(name);
	base = set->sources.items[from].name;
	slash = strrchr(base, '/');
	if (!slash)
		return strdup(name);
	if (asprintf(&joined, "%.*s/%s", (int)(slash - base), base, name) < 0)
		return NULL;
	return joined;
}

static int read_all(int fd, char **text, size_t *len)
{
	cleanup_free char *bytes = NULL;
	size_t n = 0, room = 0;

	for (;;) {
		ssize_t got;

		if (room - n < 2) {
			size_t more = room ? room * 2 : READ_STEP;
			char *grown = realloc(bytes, more);

			if (!grown)
				return -ENOMEM;
			bytes = grown;
			room = more;
		}
		got = read(fd, bytes + n, room - n - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
		if (n > SOURCE_SIZE_MAX)
			return -EFBIG;
	}
	bytes[n] = '\0';
	*text = take(bytes);
	*len = n;
	return 0;
}

static int known_error(int err)
{
	switch (err) {
	case -ENOENT:
	case -EACCES:
	case -EISDIR:
	case -EFBIG:
	case -ENOMEM:
		return err;
	case -ENOTDIR:
	case -ENAMETOOLONG:
		return -ENOENT;
	case -EPERM:
		return -EACCES;
	default:
		return -EIO;
	}
}

int source_set_read(struct source_set *set, const char *name, uint32_t from, uint32_t *index)
{
	cleanup_free char *joined = join_name(set, name, from);
	cleanup_free char *text = NULL;
	cleanup_fd int fd = -1;
	size_t len = 0;
	int err;

	if (!joined)
		return -ENOMEM;
	if (source_find(set, joined, index) == 0)
		return 0;
	if (set->sealed)
		return -ENOENT;
	fd = strcmp(joined, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) :
					open(joined, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return known_error(-errno);
	err = read_all(fd, &text, &len);
	if (err)
		return known_error(err);
	err = source_push(set, joined, text, len, index);
	if (err)
		return err;
	take(joined);
	take(text);
	return 0;
}

int source_set_add(struct source_set *set, const char *name, const char *text, size_t len,
		   uint32_t *index)
{
	cleanup_free char *name_copy = strdup(name);
	cleanup_free char *text_copy = malloc(len + 1);
	int err;

	if (len > SOURCE_SIZE_MAX)
		return -EFBIG;
	if (!name_copy || !text_copy)
		return -ENOMEM;
	if (len)
		memcpy(text_copy, text, len);
	text_copy[len] = '\0';
	err = source_push(set, name_copy, text_copy, len, index);
	if (err)
		return err;
	take(name_copy);
	take(text_copy);
	return 0;
}

void source_set_free(struct source_set *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->sources.n; i++) {
		free(set->sources.items[i].name);
		free(set->sources.items[i].text);
	}
	source_vector_free(&set->sources);
	set->sealed = false;
}

void source_place(const struct source *source, uint32_t offset, unsigned *line, unsigned *column)
{
	size_t end = offset < source->len ? offset : source->len;
	size_t start = 0;
	unsigned lines = 1;

	for (;;) {
		const char *newline = memchr(source->text + start, '\n', end - start);

		if (!newline)
			break;
		start = (size_t)(newline - source->text) + 1;
		lines++;
	}
	*line = lines;
	*column = (unsigned)(end - start) + 1;
}

static void put_word(unsigned char *bytes, size_t value)
{
	for (int i = 0; i < 4; i++)
		bytes[i] = (unsigned char)(value >> (8 * i));
}

static size_t get_word(const unsigned char *bytes)
{
	return (size_t)bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 |
	       (size_t)bytes[3] << 24;
}

int source_set_pack(const struct source_set *set, unsigned char **bytes, size_t *len)
{
	size_t size = BUNDLE_HEAD, at = BUNDLE_HEAD;
	unsigned char *out;

	if (set->sources.n > BUNDLE_SOURCES_MAX)
		return -E2BIG;
	for (size_t i = 0; i < set->sources.n; i++)
		size += BUNDLE_SOURCE_HEAD + strlen(set->sources.items[i].name) +
			set->sources.items[i].len;
	out = malloc(size);
	if (!out)
		return -ENOMEM;
	memcpy(out, BUNDLE_MAGIC, 4);
	put_word(out + 4, set->sources.n);
	for (size_t i = 0; i < set->sources.n; i++) {
		const struct source *source = &set->sources.items[i];
		size_t name_len = strlen(source->name);

		put_word(out + at, name_len);
		put_word(out + at + 4, source->len);
		at += BUNDLE_SOURCE_HEAD;
		memcpy(out + at, source->name, name_len);
		at += name_len;
		memcpy(out + at, source->text, source->len);
		at += source->len;
	}
	*bytes = out;
	*len = size;
	return 0;
}

/* One source at `at`, which moves behind it. */
static int unpack_source(const unsigned char *bytes, size_t len, size_t *at, struct source_set *set)
{
	cleanup_free char *name = NULL, *text = NULL;
	size_t name_len, text_len;
	uint32_t index;
	int err;

	if (len - *at < BUNDLE_SOURCE_HEAD)
		return -EBADMSG;
	name_len = get_word(bytes + *at);
	text_len = get_word(bytes + *at + 4);
	*at += BUNDLE_SOURCE_HEAD;
	if (text_len > SOURCE_SIZE_MAX || name_len > len - *at || text_len > len - *at - name_len ||
	    memchr(bytes + *at, '\0', name_len))
		return -EBADMSG;
	name = malloc(name_len + 1);
	text = malloc(text_len + 1);
	if (!name || !text)
		return -ENOMEM;
	memcpy(name, bytes + *at, name_len);
	name[name_len] = '\0';
	memcpy(text, bytes + *at + name_len, text_len);
	text[text_len] = '\0';
	err = source_push(set, name, text, text_len, &index);
	if (err)
		return err;
	take(name);
	take(text);
	*at += name_len + text_len;
	return 0;
}

int source_set_unpack(const unsigned char *bytes, size_t len, struct source_set *set)
{
	struct source_set unpacked = { .sealed = true };
	size_t at = BUNDLE_HEAD, n;
	int err = 0;

	if (len < BUNDLE_HEAD || memcmp(bytes, BUNDLE_MAGIC, 4) != 0)
		return -EBADMSG;
	n = get_word(bytes + 4);
	if (n > BUNDLE_SOURCES_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < n && !err; i++)
		err = unpack_source(bytes, len, &at, &unpacked);
	if (!err && at != len)
		err = -EBADMSG;
	if (err) {
		source_set_free(&unpacked);
		return err;
	}
	*set = unpacked;
	return 0;
}
