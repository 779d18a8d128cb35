// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * reeved: keeps the running policy of its network namespace in step with the interfaces.
 *
 * One loop over four descriptors: signals, rtnetlink, a timer, and the name that makes it the only
 * one. A notification arms the timer a few milliseconds ahead, so that a burst of them (a
 * container's start is dozens) becomes one look; a burst that does not end puts the look off by
 * BURST_MS at most. Without any, it looks every POLL_MS: the kernel sends no message when somebody
 * detaches a program or applies a policy. One second is what a look may cost: reading links and
 * pins takes a millisecond, and what it waits for is rare and the guard holds meanwhile.
 *
 * Filtering does not depend on this process. It holds nothing that would be lost with it; when it
 * is started again it looks and sets right what it has missed. What is wrong and stays wrong is
 * said once.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/privileges.h"
#include "engine/bpf/keeper.h"
#include "engine/bpf/single.h"

#define QUIET_MS 3
#define BURST_MS 15
#define POLL_MS 1000
#define AGAIN_MS 5 /* somebody else is changing things, or is to have the chance to */

struct daemon {
	struct keeper *keeper;
	struct mnl_socket *links;
	int signals, timer, poll;
	int single; /* -1: without the name */
	uint64_t burst_ns;	/* when the first notification of this burst came; 0: no burst */
	uint64_t generation;	/* last told; 0: nothing runs */
	char policy[256];
	char complaint[512];	/* last told; "" when all is well */
	bool waiting;		/* told that nothing is applied */
	int status;		/* of the exit; -1: go on */
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void timer_set(struct daemon *daemon, uint64_t in_ns)
{
	struct itimerspec when = { .it_value = { (time_t)(in_ns / 1000000000u),
						 (long)(in_ns % 1000000000u) } };

	if (!in_ns)
		when.it_value.tv_nsec = 1; /* zero would disarm it */
	timerfd_settime(daemon->timer, 0, &when, NULL);
}

/* --- a look, and what is said of it --- */

static void tell_policy(struct daemon *daemon, const struct upkeep_report *report)
{
	const char *policy = report->policy ? report->policy : "?";

	if (report->generation == daemon->generation && !strcmp(policy, daemon->policy))
		return;
	log_line("%s, generation %llu, covers %u interface%s", policy,
		 (unsigned long long)report->generation, report->covered,
		 report->covered == 1 ? "" : "s");
	daemon->generation = report->generation;
	snprintf(daemon->policy, sizeof(daemon->policy), "%s", policy);
	daemon->waiting = false;
}

static void tell_nothing_runs(struct daemon *daemon)
{
	if (!daemon->waiting)
		log_line("nothing is applied in this network namespace; waiting for `reeve apply`");
	daemon->waiting = true;
	daemon->generation = 0;
	daemon->policy[0] = '\0';
	daemon->complaint[0] = '\0';
}

static void tell_failure(struct daemon *daemon, const struct problem *problem)
{
	if (!strcmp(daemon->complaint, problem->what))
		return;
	log_warning("%s%s%s", problem->what, problem->hint[0] ? "; " : "", problem->hint);
	snprintf(daemon->complaint, sizeof(daemon->complaint), "%s", problem->what);
}

static void look(struct daemon *daemon)
{
	struct upkeep_report report = { 0 };
	struct problem problem = { 0 };
	bool still_bad = daemon->complaint[0];
	char line[512];
	int err = keeper_sync(daemon->keeper, &report, &problem);

	if (!err && report.more && !report.generation) {
		; /* it has not looked */
	} else if (err == -ENOENT) {
		tell_nothing_runs(daemon);
	} else {
		if (err)
			tell_failure(daemon, &problem);
		else if (still_bad)
			log_line("well again");
		if (!err)
			daemon->complaint[0] = '\0';
		if (report.generation)
			tell_policy(daemon, &report);
		/* What could not be set right comes back at every look. */
		for (size_t i = 0; !(err && still_bad) && i < report.items.n; i++) {
			upkeep_text(&report.items.items[i], line, sizeof(line));
			log_line("%s%s", err ? "tried: " : "", line);
		}
	}
	daemon->burst_ns = 0;
	timer_set(daemon, (report.more ? AGAIN_MS : POLL_MS) * 1000000ull);
	upkeep_report_free(&report);
}

/* --- events --- */

static void on_signal(struct daemon *daemon)
{
	struct signalfd_siginfo info;

	if (read(daemon->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		look(daemon);
		return;
	}
	log_line("ends (%s); the policy goes on, new interfaces are held by the guard",
		 strsignal((int)info.ssi_signo));
	daemon->status = 0;
}

static void on_links(struct daemon *daemon)
{
	int heard = listen_drain(daemon->links);
	uint64_t now = now_ns(), end;

	if (heard < 0) {
		log_warning("cannot hear of interfaces any more: %s", strerror(-heard));
		daemon->status = 1;
		return;
	}
	if (!heard)
		return;
	if (!daemon->burst_ns)
		daemon->burst_ns = now;
	end = daemon->burst_ns + BURST_MS * 1000000ull;
	if (end > now + QUIET_MS * 1000000ull)
		end = now + QUIET_MS * 1000000ull;
	timer_set(daemon, end > now ? end - now : 0);
}

static void on_timer(struct daemon *daemon)
{
	uint64_t times;

	if (read(daemon->timer, &times, sizeof(times)) == sizeof(times))
		look(daemon);
}

static int run(struct daemon *daemon)
{
	struct epoll_event events[4];

	look(daemon);
	while (daemon->status < 0) {
		int n = epoll_wait(daemon->poll, events, 4, -1);

		if (n < 0 && errno != EINTR) {
			log_warning("cannot wait for events: %s", strerror(errno));
			return 1;
		}
		for (int i = 0; i < n && daemon->status < 0; i++) {
			if (events[i].data.fd == daemon->signals)
				on_signal(daemon);
			else if (events[i].data.fd == daemon->timer)
				on_timer(daemon);
			else if (events[i].data.fd == daemon->single)
				single_answer(daemon->single);
			else
				on_links(daemon);
		}
	}
	return daemon->status;
}

/* --- beginning and end --- */

static int poll_add(struct daemon *daemon, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(daemon->poll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int signals_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int daemon_open(struct daemon *daemon)
{
	struct problem problem = { 0 };

	daemon->signals = signals_open();
	daemon->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	daemon->poll = epoll_create1(EPOLL_CLOEXEC);
	/* Before the first look: what changes after it is heard of. */
	daemon->links = listen_open();
	if (daemon->signals < 0 || daemon->timer < 0 || daemon->poll < 0 || !daemon->links ||
	    poll_add(daemon, daemon->signals) || poll_add(daemon, daemon->timer) ||
	    poll_add(daemon, mnl_socket_get_fd(daemon->links)) ||
	    (daemon->single >= 0 && poll_add(daemon, daemon->single))) {
		log_warning("cannot set up: %s", strerror(errno));
		return -1;
	}
	if (keeper_new(true, &daemon->keeper, &problem)) {
		log_warning("%s", problem.what);
		return -1;
	}
	return 0;
}

static void daemon_close(struct daemon *daemon)
{
	keeper_free(daemon->keeper);
	if (daemon->links)
		mnl_socket_close(daemon->links);
	cleanup_fd_(&daemon->signals);
	cleanup_fd_(&daemon->timer);
	cleanup_fd_(&daemon->poll);
	cleanup_fd_(&daemon->single);
}

/*
 * The descriptor that makes this reeved the only one; -1 where somebody else has taken the name,
 * which is told; -2: do not run.
 */
static int be_single(void)
{
	pid_t pid = 0;
	int fd = single_take(&pid);

	if (fd == -EADDRINUSE) {
		log_warning("another reeved (process %d) runs in this network namespace already",
			    (int)pid);
		return -2;
	}
	if (fd == -EACCES)
		log_warning("process %d, which is not root's, has taken the name of reeved in this "
			    "network namespace; going on without it", (int)pid);
	else if (fd < 0)
		log_warning("cannot see whether another reeved runs here: %s", strerror(-fd));
	return fd < 0 ? -1 : fd;
}

static const char usage[] =
	"usage: reeved [--help | --version]\n\n"
	"Keeps the policy that runs in this network namespace in step with its interfaces:\n"
	"covers new ones, follows renamed ones, puts back what somebody took away. Filtering\n"
	"does not depend on it. It stays in the foreground and ends on SIGTERM; SIGHUP makes it\n"
	"look at once.\n";

/* -1: go on; else the exit status. */
static int options_read(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' },
						 { "version", no_argument, NULL, 'V' },
						 { 0 } };

	switch (getopt_long(argc, argv, "hV", options, NULL)) {
	case 'h':
		fputs(usage, stdout);
		return 0;
	case 'V':
		puts("reeved " REEVE_VERSION);
		return 0;
	case -1:
		if (optind == argc)
			return -1;
		fprintf(stderr, "reeved: unexpected `%s`\n", argv[optind]);
	}
	fputs(usage, stderr);
	return 2;
}

int main(int argc, char **argv)
{
	struct daemon daemon = { .signals = -1, .timer = -1, .poll = -1, .status = -1 };
	struct problem problem = { 0 };
	int status = options_read(argc, argv), err;

	if (status >= 0)
		return status;
	if (keeper_permitted(&problem)) {
		log_warning("%s; %s", problem.what, problem.hint);
		return 1;
	}
	daemon.single = be_single();
	if (daemon.single == -2)
		return 1;
	log_line("starts, version " REEVE_VERSION);
	err = privileges_drop();
	if (err)
		log_warning("goes on with all its privileges: %s", strerror(-err));
	status = daemon_open(&daemon) ? 1 : run(&daemon);
	daemon_close(&daemon);
	return status;
}
