// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/confirm.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/output.h"
#include "engine/bpf/pending.h"

#define LOOK_NS 200000000 /* how often the waiting process looks */
#define TRIES 10	  /* to go back, a second apart */
#define CHANGE_NS 60000000000ull /* more than a change takes */

int confirm_duration(const char *text, uint32_t *seconds)
{
	static const struct {
		char unit;
		uint32_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { '\0', 1 } };
	unsigned number;
	char *end;

	if (!isdigit((unsigned char)*text) || strlen(text) > 6)
		return -EINVAL;
	number = (unsigned)strtoul(text, &end, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		uint64_t all = (uint64_t)number * units[i].seconds;

		if (*end != units[i].unit || (*end && end[1]))
			continue;
		if (all < CONFIRM_MIN || all > CONFIRM_MAX)
			return -EINVAL;
		*seconds = (uint32_t)all;
		return 0;
	}
	return -EINVAL;
}

/* --- going back --- */

static int policy_back(const struct pending *pending, struct problem *problem)
{
	/* The session that the trial has cut is one of those. */
	struct apply_options options = { .take_over = true, .back = true };
	struct apply_report report = { 0 };
	struct diagnostics diagnostics = { 0 };
	struct source_set sources = { 0 };
	struct ruleset ruleset = { 0 };
	int err;

	if (!pending->bundle) {
		err = engine_down(problem);
		return err == -ENOENT ? 0 : err;
	}
	err = source_set_unpack(pending->bundle, pending->bundle_size, &sources);
	if (!err && !sources.sources.n)
		err = -EBADMSG;
	if (err) {
		source_set_free(&sources);
		snprintf(problem->what, sizeof(problem->what), "the former policy is damaged");
		return err;
	}
	err = policy_load(sources.sources.items[0].name, &sources, &ruleset, &diagnostics);
	if (err)
		snprintf(problem->what, sizeof(problem->what), "the former policy does not parse");
	else
		err = engine_apply(&ruleset, &options, &report, problem);
	interface_vector_free(&report.interfaces);
	ruleset_free(&ruleset);
	diagnostics_free(&diagnostics);
	return err;
}

/* -ENOENT when nothing waits; -EAGAIN when it is not due and ought to be. */
static int go_back(bool when_due, struct problem *problem)
{
	struct pending pending;
	int err = pending_read(true, &pending, problem);

	if (!err && when_due && pending_now() < pending.deadline_ns)
		err = -EAGAIN;
	if (!err)
		err = policy_back(&pending, problem);
	if (!err)
		err = pending_remove(problem);
	pending_close(&pending);
	return err;
}

/* --- the process that waits --- */

static void detach(void)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	signal(SIGHUP, SIG_IGN);
	if (chdir("/"))
		_exit(1);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	/* Also what a caller left open, such as its lock file. */
	close_range(3, ~0u, 0);
}

/* The file says until when: a later trial moves that on, and is waited for by two. */
static void wait_and_go_back(void)
{
	const struct timespec look = { 0, LOOK_NS }, second = { 1, 0 };
	struct problem ignored;
	uint64_t deadline_ns;

	for (int tries = 0; tries < TRIES && !pending_deadline(&deadline_ns, &ignored);) {
		if (pending_now() < deadline_ns) {
			nanosleep(&look, NULL);
			continue;
		}
		if (!go_back(true, &ignored))
			return;
		tries++;
		nanosleep(&second, NULL);
	}
}

/* Twice forked, so that it belongs to nobody whose end could be its own. */
static int start_waiting(void)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (!pid) {
		detach();
		pid = fork();
		if (!pid)
			wait_and_go_back();
		_exit(pid < 0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EAGAIN;
}

/* --- around an apply --- */

/* The running policy's sources as one bundle; *bundle stays NULL when nothing runs. */
static int running_bundle(unsigned char **bundle, size_t *size, struct problem *problem)
{
	struct source_set sources = { 0 };
	struct engine *engine;
	int err = engine_open(&engine, problem);

	if (err)
		return err == -ENOENT ? 0 : err;
	err = engine_sources(engine, &sources, problem);
	engine_close(engine);
	if (err)
		return err;
	err = source_set_pack(&sources, bundle, size);
	source_set_free(&sources);
	if (err)
		snprintf(problem->what, sizeof(problem->what), "out of memory");
	return err;
}

int confirm_prepare(uint32_t seconds, struct trial *trial, struct problem *problem)
{
	uint64_t deadline_ns = pending_now() + (uint64_t)seconds * 1000000000u + CHANGE_NS;
	struct trial made = { .seconds = seconds };
	struct pending pending;
	int err;

	/* Locked until there is another, lest somebody goes back to it in between. */
	err = pending_read(true, &pending, problem);
	made.kept = !err;
	if (!err) {
		made.kept_deadline_ns = pending.deadline_ns;
		made.bundle_size = pending.bundle_size;
		made.bundle = take(pending.bundle);
	} else {
		err = running_bundle(&made.bundle, &made.bundle_size, problem);
	}
	if (!err)
		err = pending_write(deadline_ns, made.bundle, made.bundle_size, problem);
	pending_close(&pending); /* the process that waits would keep the lock */
	if (!err) {
		err = start_waiting();
		if (err) {
			snprintf(problem->what, sizeof(problem->what),
				 "cannot start the process that would go back: %s", strerror(-err));
			confirm_undo(&made);
		}
	}
	if (err)
		trial_free(&made);
	else
		*trial = made;
	return err;
}

int confirm_begin(const struct trial *trial, struct problem *problem)
{
	uint64_t deadline_ns = pending_now() + (uint64_t)trial->seconds * 1000000000u;
	struct pending pending;
	bool gone;
	int err;

	gone = pending_read(true, &pending, problem) == -ENOENT;
	err = pending_write(deadline_ns, trial->bundle, trial->bundle_size, problem);
	pending_close(&pending);
	/* The change took longer than anybody thought, and has been waited for in vain. */
	return !err && gone ? start_waiting() : err;
}

void confirm_undo(const struct trial *trial)
{
	struct problem ignored;

	if (trial->kept)
		pending_write(trial->kept_deadline_ns, trial->bundle, trial->bundle_size, &ignored);
	else
		confirm_forget();
}

void confirm_forget(void)
{
	struct problem ignored;

	pending_remove(&ignored);
}

void trial_free(struct trial *trial)
{
	free(trial->bundle);
	*trial = (struct trial){ 0 };
}

bool confirm_left(uint64_t *left_ns)
{
	uint64_t deadline_ns = 0, now = pending_now();
	struct problem ignored;
	int err = pending_deadline(&deadline_ns, &ignored);

	*left_ns = !err && deadline_ns > now ? deadline_ns - now : 0;
	return !err || err == -EBADMSG;
}

/* --- the command --- */

static int report(const struct arguments *arguments, const char *what, const char *text)
{
	struct text out = TEXT_INIT(1 << 12);

	if (arguments->json) {
		output_json_take(json_pack("{s:b, s:s}", "ok", 1, "result", what), false);
		return STATUS_DONE;
	}
	text_printf(&out, "%s\n", text);
	output_write(&out);
	return STATUS_DONE;
}

int command_confirm(const struct arguments *arguments)
{
	struct problem problem = { 0 };
	struct pending pending;
	int err;

	if (arguments->option[OPTION_ABORT]) {
		err = go_back(false, &problem);
		if (err)
			return complain_problem(arguments, err, &problem);
		return report(arguments, "aborted", "taken back: what ran before runs again");
	}
	err = pending_read(true, &pending, &problem);
	if (!err || err == -EBADMSG)
		err = pending_remove(&problem);
	pending_close(&pending);
	if (err)
		return complain_problem(arguments, err, &problem);
	engine_keep(&problem); /* what it does not let go now, the next apply does */
	return report(arguments, "confirmed", "confirmed: the running policy stays");
}
