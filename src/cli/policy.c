// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * check and fmt: policies as files. Nothing here needs a privilege or touches the kernel.
 *
 * fmt -w replaces a file in one step: the text goes to a temporary file in the same folder, which
 * gets the old one's owner and mode, reaches the disk and is then renamed over it. Whatever fails
 * before the rename leaves the old file as it was. A symbolic link is followed, so the link stays a
 * link.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/load.h"
#include "compile/compile.h"
#include "core/image.h"
#include "policy/format.h"
#include "policy/parser.h"

/* --- reading, shared with apply and explain --- */

int policy_read(const struct arguments *arguments, const char *name, bool warnings,
		struct loaded *loaded)
{
	struct source_set sources = { 0 };
	int err;

	*loaded = (struct loaded){ 0 };
	err = policy_load(name, &sources, &loaded->ruleset, &loaded->diagnostics);
	if (!arguments->json && (err == -EINVAL || (!err && warnings)))
		complain_diagnostics(&loaded->diagnostics, &loaded->ruleset.sources);
	if (err && err != -EINVAL)
		complain("%s: %s", name, strerror(-err));
	return err;
}

void loaded_free(struct loaded *loaded)
{
	ruleset_free(&loaded->ruleset);
	diagnostics_free(&loaded->diagnostics);
}

uint32_t ruleset_own_rules(const struct ruleset *ruleset)
{
	uint32_t n = ruleset->nat_n + ruleset->early_n;

	for (uint32_t i = 0; i < ruleset->rule_n; i++)
		n += ruleset->rules[i].origin == RULE_FILE;
	return n;
}

uint32_t ruleset_own_zones(const struct ruleset *ruleset)
{
	return ruleset->zone_n > ZONE_FIRST ? ruleset->zone_n - ZONE_FIRST : 0;
}

void text_plural(struct text *out, uint64_t n, const char *thing)
{
	text_printf(out, "%llu %s%s", (unsigned long long)n, thing, n == 1 ? "" : "s");
}

/* --- check --- */

/*
 * Does the policy compile, and is the image one that every engine takes? -errno; *why then says
 * what is wrong.
 */
static int check_image(const struct ruleset *ruleset, struct compile_stats *stats, const char **why)
{
	struct image image = { 0 };
	int err;

	*why = NULL;
	err = image_compile(ruleset, NULL, 0, &image, why);
	if (!err)
		err = image_validate(image.bytes, image.size, why);
	if (!err)
		*stats = image.stats;
	else if (!*why)
		*why = strerror(-err);
	image_free(&image);
	return err;
}

static void check_print(const char *name, const struct loaded *loaded)
{
	struct text out = TEXT_INIT(1 << 16);

	text_escaped(&out, strcmp(name, "-") == 0 ? "standard input" : name);
	text_puts(&out, ": ");
	text_plural(&out, ruleset_own_rules(&loaded->ruleset), "rule");
	text_puts(&out, ", ");
	text_plural(&out, ruleset_own_zones(&loaded->ruleset), "zone");
	text_puts(&out, ", ");
	if (loaded->diagnostics.warnings)
		text_plural(&out, loaded->diagnostics.warnings, "warning");
	else
		text_toned(&out, TONE_GREEN, "fine");
	text_putc(&out, '\n');
	output_write(&out);
}

static void check_json(const struct loaded *loaded, const struct compile_stats *stats, bool ok,
		       const char *why)
{
	const struct source_set *sources = &loaded->ruleset.sources;
	json_t *errors = json_diagnostics(&loaded->diagnostics, sources, DIAGNOSTIC_ERROR);

	if (why)
		json_array_append_new(errors, json_pack("{s:s, s:o, s:n}", "code", "compile", "message",
							json_text(why), "hint"));
	output_json_take(
		json_pack("{s:b, s:o, s:o, s:o, s:I, s:I, s:{s:I, s:I}}", "ok", ok, "errors", errors,
			  "warnings",
			  json_diagnostics(&loaded->diagnostics, sources, DIAGNOSTIC_WARNING), "notes",
			  json_diagnostics(&loaded->diagnostics, sources, DIAGNOSTIC_NOTE), "rules",
			  (json_int_t)ruleset_own_rules(&loaded->ruleset), "zones",
			  (json_int_t)ruleset_own_zones(&loaded->ruleset), "image", "bytes",
			  (json_int_t)stats->bytes, "walk_max", (json_int_t)stats->walk_max),
		false);
}

int command_check(const struct arguments *arguments)
{
	const char *name = arguments->words[0], *why = NULL;
	struct compile_stats stats = { 0 };
	struct loaded loaded;
	int err;

	err = policy_read(arguments, name, true, &loaded);
	if (!err)
		err = check_image(&loaded.ruleset, &stats, &why);
	if (why)
		complain("%s: %s", name, why);
	if (arguments->json)
		check_json(&loaded, &stats, !err, why);
	else if (!err)
		check_print(name, &loaded);
	loaded_free(&loaded);
	return err ? STATUS_FAILED : STATUS_DONE;
}

/* --- fmt --- */

/* Formats source 0 of the set into *out. -EINVAL after printing what is wrong with it. */
static int format_source(const struct source_set *sources, uint32_t index, struct text *out)
{
	struct diagnostics diagnostics = { 0 };
	struct arena arena = { 0 };
	const struct tree *tree;
	int err;

	err = tree_parse(sources, index, &arena, &diagnostics, &tree);
	if (err == -EINVAL)
		complain_diagnostics(&diagnostics, sources);
	if (!err) {
		format_tree(tree, out);
		err = text_error(out);
	}
	arena_free(&arena);
	diagnostics_free(&diagnostics);
	return err;
}

static int file_write(int fd, const struct text *text)
{
	size_t done = 0;

	while (done < text->len) {
		ssize_t n = write(fd, text->bytes + done, text->len - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			return n == 0 ? -EIO : -errno;
	}
	return fsync(fd) ? -errno : 0;
}

/* Owner first: changing it takes the set-id bits of the mode away. */
static int file_adopt(int fd, const struct stat *old)
{
	struct stat now;

	if (fstat(fd, &now))
		return -errno;
	if ((now.st_uid != old->st_uid || now.st_gid != old->st_gid)
	    && fchown(fd, old->st_uid, old->st_gid))
		return -errno;
	return fchmod(fd, old->st_mode & 07777) ? -errno : 0;
}

static bool file_unchanged(const char *path, const struct stat *old)
{
	struct stat now;

	return stat(path, &now) == 0 && now.st_dev == old->st_dev && now.st_ino == old->st_ino
	    && now.st_size == old->st_size && now.st_mtim.tv_sec == old->st_mtim.tv_sec
	    && now.st_mtim.tv_nsec == old->st_mtim.tv_nsec;
}

/*
 * Makes the rename itself last. The new text is in place already, so a failure here is no failure.
 */
static void folder_sync(const char *path)
{
	cleanup_free char *folder = strdup(path);
	cleanup_fd int fd = -1;

	if (!folder || !strrchr(folder, '/'))
		return;
	strrchr(folder, '/')[1] = '\0';
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fsync(fd);
}

/*
 * `path` is absolute and no link; `old` is what it was when it was read. *step names what failed.
 */
static int file_replace(const char *path, const struct stat *old, const struct text *text,
			const char **step)
{
	cleanup_free char *temporary = NULL;
	cleanup_fd int fd = -1;
	int err = 0;

	*step = "cannot write to it";
	if (access(path, W_OK))
		return -errno;
	if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	*step = "cannot make a temporary file beside it";
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*step = "cannot write the temporary file beside it";
	err = file_write(fd, text);
	if (!err) {
		*step = "cannot keep its owner and mode";
		err = file_adopt(fd, old);
	}
	if (!err && !file_unchanged(path, old)) {
		*step = "it was changed meanwhile";
		err = -EBUSY;
	}
	if (!err) {
		*step = "cannot put the new text in its place";
		err = rename(temporary, path) ? -errno : 0;
	}
	if (err)
		unlink(temporary);
	else
		folder_sync(path);
	return err;
}

static int fmt_write_back(const char *name, const struct stat *old, const struct source *source,
			  const struct text *text)
{
	cleanup_free char *path = NULL;
	const char *step = "cannot find it";
	int err;

	if (text->len == source->len
	    && (text->len == 0 || memcmp(text->bytes, source->text, text->len) == 0))
		return STATUS_DONE;
	path = realpath(name, NULL);
	err = path ? file_replace(path, old, text, &step) : -errno;
	if (!err)
		return STATUS_DONE;
	complain("%s: %s: %s; the file is as it was", name, step, strerror(-err));
	return STATUS_FAILED;
}

int command_fmt(const struct arguments *arguments)
{
	bool write_back = arguments->option[OPTION_WRITE] != NULL;
	struct text text = TEXT_INIT(TEXT_CAP_DEFAULT);
	const char *name = arguments->words[0];
	struct source_set sources = { 0 };
	int status = STATUS_DONE, err;
	struct stat old = { 0 };
	uint32_t index = 0;

	if (write_back && strcmp(name, "-") == 0)
		return usage_error(arguments, "standard input cannot be written back");
	err = write_back && stat(name, &old) ? -errno : 0;
	if (!err && write_back && !S_ISREG(old.st_mode))
		err = S_ISDIR(old.st_mode) ? -EISDIR : -ENOTSUP;
	if (!err)
		err = source_set_read(&sources, name, POSITION_NONE, &index);
	if (!err)
		err = format_source(&sources, index, &text);
	if (err && err != -EINVAL)
		complain("%s: %s", name, strerror(-err));
	if (err)
		status = STATUS_FAILED;
	else if (write_back)
		status = fmt_write_back(name, &old, &sources.sources.items[index], &text);
	else
		output_write(&text);
	text_free(&text);
	source_set_free(&sources);
	return status;
}
