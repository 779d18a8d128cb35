// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * watch: events as they happen.
 *
 * An event speaks in numbers of the policy that was running when it happened. The names of that
 * policy are read at the start, and again when an event of another generation comes; the view
 * before is kept, for events of the old policy may still be in the ring. Events whose policy is
 * gone are printed with the number of the rule alone.
 */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/health.h"
#include "cli/names.h"
#include "cli/output.h"
#include "cli/running.h"
#include "policy/protocols.h"

#define VIEWS 2
#define RETRY_NS 50000000 /* how often an unknown generation is looked for again */

struct watcher {
	struct engine *engine;	      /* what is watched, open as long as the watching lasts */
	struct running *views[VIEWS]; /* newest first; owned */
	uint64_t looked_ns;	      /* when the running policy was last read */
	int64_t wall_ns;	      /* what to add to CLOCK_MONOTONIC to get the time of day */
	uint64_t count, seen;	      /* count 0: no end */
	bool json;
	int error;
	struct health_watch health;
};

static volatile int stop;

static void stop_soon(int number)
{
	(void)number;
	stop = 1;
}

/* What to add to CLOCK_MONOTONIC to get the time of day. */
static int64_t wall_offset_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - (int64_t)monotonic_ns();
}

/* --- views --- */

static void view_free(struct running *view)
{
	if (!view)
		return;
	running_close(view);
	free(view);
}

/*
 * Reads the running policy; false when that was not possible or it is the one that is known
 * already.
 */
static bool view_refresh(struct watcher *watcher)
{
	struct running *view = calloc(1, sizeof(*view));
	struct problem problem = { 0 };

	watcher->looked_ns = monotonic_ns();
	if (!view || running_open(view, &problem)) {
		free(view);
		return false;
	}
	if (watcher->views[0]->status.generation == view->status.generation) {
		view_free(view);
		return false;
	}
	view_free(watcher->views[VIEWS - 1]);
	memmove(&watcher->views[1], &watcher->views[0], sizeof(watcher->views[0]) * (VIEWS - 1));
	watcher->views[0] = view;
	return true;
}

static struct running *view_known(const struct watcher *watcher, uint32_t generation)
{
	for (int i = 0; i < VIEWS; i++)
		if (watcher->views[i] && (uint32_t)watcher->views[i]->status.generation == generation)
			return watcher->views[i];
	return NULL;
}

/* The view of the policy that this event is about, or NULL. Borrowed until the next call. */
static struct running *view_of(struct watcher *watcher, const struct event *event)
{
	struct running *view = view_known(watcher, event->generation);
	int32_t behind = (int32_t)((uint32_t)watcher->views[0]->status.generation - event->generation);

	if (view || behind > 0
	    || monotonic_ns() - watcher->looked_ns < RETRY_NS)
		return view;
	view_refresh(watcher);
	return view_known(watcher, event->generation);
}

static const char *event_zone(const struct running *view, unsigned zone)
{
	return view && zone != 0xffff ? zone_name(&view->ruleset, zone) : "?";
}

static const struct rule *event_rule(const struct running *view, const struct event *event)
{
	if (event->by != BY_RULE || !view)
		return NULL;
	return ruleset_rule(&view->ruleset, event->rule);
}

/* Why the guard dropped: what is known of the interface says more than the hook. */
static const char *event_guard_cause(struct watcher *watcher, const struct event *event)
{
	bool leaving = event->hook == HOOK_POST_ROUTING;
	uint32_t ifindex = leaving ? event->ifindex : event->in_ifindex;
	const struct engine_interface *interface;

	interface = running_interface(watcher->views[0], ifindex);
	if (!interface || interface->coverage == COVERAGE_MISSING
	    || interface->coverage == COVERAGE_DETACHED)
		return "the interface is not covered; run `reeve sync`, or reeved";
	return guard_cause(event->hook);
}

/*
 * What became of the packet. Only a logging rule may have done anything; the other kinds say it
 * themselves.
 */
static enum action event_verdict(const struct event *event)
{
	switch (event->kind) {
	case EVENT_FLOW_NEW:
		return ACTION_ALLOW;
	case EVENT_REJECT:
		return ACTION_REJECT;
	case EVENT_LOG:
		return event->action;
	default:
		return ACTION_DROP;
	}
}

/* --- for people --- */

static void print_time(const struct watcher *watcher, const struct event *event, struct text *out)
{
	int64_t wall = watcher->wall_ns + (int64_t)event->time_ns;
	time_t seconds = (time_t)(wall / 1000000000);
	char string[32] = "?";
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		strftime(string, sizeof(string), "%H:%M:%S", &tm);
	text_printf(out, "%s.%03d", string, (int)(wall / 1000000 % 1000));
}

/* Not when the headers could not be read, nor where only the hook is known. */
static bool event_has_addresses(const struct event *event)
{
	static const uint32_t none[4];

	return (event->family == 4 || event->family == 6)
	    && (event->protocol || memcmp(event->src, none, sizeof(none)) != 0
		|| memcmp(event->dst, none, sizeof(none)) != 0);
}

static void print_tuple(const struct event *event, struct text *out)
{
	bool ports = protocol_has_ports(event->protocol) && (event->src_port || event->dst_port);

	if (!event_has_addresses(event)) {
		text_printf(out, "%spacket of %u bytes",
			    event->family == 4	 ? "IPv4 "
			    : event->family == 6 ? "IPv6 "
						 : "",
			    event->length);
		return;
	}
	text_protocol(out, event->protocol);
	text_putc(out, ' ');
	if (ports)
		text_endpoint(out, event->family, event->src, event->src_port);
	else
		text_address(out, event->family, event->src);
	text_puts(out, " -> ");
	if (ports)
		text_endpoint(out, event->family, event->dst, event->dst_port);
	else
		text_address(out, event->family, event->dst);
	text_putc(out, ' ');
	if (event->protocol == IPPROTO_TCP)
		text_tcp_flags(out, event->tcp_flags);
	else if (protocol_is_icmp(event->protocol))
		text_icmp(out, event->family, event->dst_port);
	else
		text_printf(out, "%u bytes", event->length);
}

static void print_reason(struct watcher *watcher, struct running *view, const struct event *event,
			 struct text *out)
{
	const struct rule *rule = event_rule(view, event);
	struct text place = TEXT_INIT(1 << 20);

	if (event->kind == EVENT_GUARD) {
		text_printf(out, "guard; likely: %s", event_guard_cause(watcher, event));
	} else if (event->by == BY_SANITY) {
		text_printf(out, "sanity: %s", sanity_text(event->sanity));
	} else if (rule) {
		rule_place_text(&view->places, rule, &place);
		text_toned(out, TONE_BOLD, "%s", text_string(&place));
		text_toned(out, TONE_PLAIN, " %s", rule->id);
		if (event->kind == EVENT_LOG)
			text_puts(out, " log");
		if (event->kind == EVENT_LOG && rule->log_text)
			text_toned(out, TONE_PLAIN, " \"%s\"", rule->log_text);
	} else if (event->by == BY_RULE) {
		text_printf(out, "rule %u of policy %u, which is gone", event->rule,
			    event->generation);
	} else {
		text_puts(out, decided_by_name(event->by));
	}
	text_free(&place);
}

static void print_interface(const struct event *event, struct text *out)
{
	uint32_t ifindex = event->ifindex ? event->ifindex : event->in_ifindex;
	char name[IF_NAMESIZE];

	if (ifindex && if_indextoname(ifindex, name))
		text_toned(out, TONE_PLAIN, "%s", name);
	else
		text_printf(out, "interface %u", ifindex);
}

/*
 * TIME VERDICT HOOK INTERFACE PAIR TUPLE by WHAT. The guard looks at interfaces only and knows no
 * pair.
 */
static int print_event(struct watcher *watcher, struct running *view, const struct event *event)
{
	const char *verdict = event->kind == EVENT_LOG ? action_name(event->action)
						       : event_kind_name(event->kind);
	enum action action = event_verdict(event);
	enum tone tone = action == ACTION_ALLOW	 ? TONE_GREEN
		       : action == ACTION_REJECT ? TONE_YELLOW
						 : TONE_RED;
	struct text out = TEXT_INIT(1 << 20);

	print_time(watcher, event, &out);
	text_puts(&out, "  ");
	text_toned(&out, tone, "%-6s", verdict);
	text_printf(&out, "  %s ", event_hook_name(event->hook));
	print_interface(event, &out);
	if (event->kind != EVENT_GUARD)
		text_toned(&out, TONE_PLAIN, "  %s -> %s", event_zone(view, event->from_zone),
			   event_zone(view, event->to_zone));
	text_puts(&out, "  ");
	print_tuple(event, &out);
	text_puts(&out, "  by ");
	print_reason(watcher, view, event, &out);
	text_putc(&out, '\n');
	return output_write(&out);
}

static int print_lost(const struct watcher *watcher, uint64_t lost)
{
	struct text out = TEXT_INIT(1 << 10);

	if (watcher->json)
		return output_json_take(json_pack("{s:s, s:I}", "kind", "lost", "lost",
						  (json_int_t)lost), true);
	text_toned(&out, TONE_YELLOW, "%llu event%s lost", (unsigned long long)lost,
		   lost == 1 ? "" : "s");
	text_putc(&out, '\n');
	return output_write(&out);
}

/* --- for programs --- */

static json_t *interface_name_json(uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	return json_text(ifindex && if_indextoname(ifindex, name) ? name : NULL);
}

static json_t *zone_json(const struct running *view, unsigned zone)
{
	return view && zone < view->ruleset.zone_n ? json_text(view->ruleset.zones[zone].name)
						   : json_null();
}

static void packet_json(json_t *object, const struct event *event)
{
	struct text text = TEXT_INIT(256);

	if (!event_has_addresses(event))
		return;
	text_protocol(&text, event->protocol);
	json_object_set_new(object, "protocol", json_take(&text));
	text_address(&text, event->family, event->src);
	json_object_set_new(object, "source", json_take(&text));
	text_address(&text, event->family, event->dst);
	json_object_set_new(object, "destination", json_take(&text));
	if (protocol_is_icmp(event->protocol)) {
		json_object_set_new(object, "type", json_integer(event->dst_port >> 8));
		json_object_set_new(object, "code", json_integer(event->dst_port & 0xff));
	} else if (protocol_has_ports(event->protocol)) {
		json_object_set_new(object, "source_port", json_integer(event->src_port));
		json_object_set_new(object, "destination_port", json_integer(event->dst_port));
	}
	if (event->protocol == IPPROTO_TCP) {
		text_tcp_flags(&text, event->tcp_flags);
		json_object_set_new(object, "flags", json_take(&text));
	}
}

static json_t *event_json(struct watcher *watcher, struct running *view, const struct event *event)
{
	const struct rule *rule = event_rule(view, event);
	double time = (double)(watcher->wall_ns + (int64_t)event->time_ns) / 1e9;
	json_t *object = json_pack(
		"{s:f, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:i, s:I, s:I, s:o}", "time", time, "kind",
		event_kind_name(event->kind), "verdict",
		action_name(event_verdict(event)), "hook",
		event_hook_name(event->hook), "by",
		event->kind == EVENT_GUARD ? "guard" : decided_by_name(event->by), "from",
		zone_json(view, event->from_zone), "to", zone_json(view, event->to_zone),
		"interface", interface_name_json(event->ifindex), "in_interface",
		interface_name_json(event->in_ifindex), "family", (int)event->family, "length",
		(json_int_t)event->length, "generation", (json_int_t)event->generation, "rule",
		rule ? rule_json(&view->places, rule) : json_null());

	if (!object)
		return NULL;
	packet_json(object, event);
	if (event->by == BY_SANITY)
		json_object_set_new(object, "sanity", json_text(sanity_name(event->sanity)));
	if (event->kind == EVENT_LOG)
		json_object_set_new(object, "log", json_text(rule ? rule->log_text : NULL));
	if (event->kind == EVENT_GUARD)
		json_object_set_new(object, "cause", json_text(event_guard_cause(watcher, event)));
	return object;
}

/* --- watching --- */

static int visit(void *context, const struct event *event, uint64_t lost)
{
	struct watcher *watcher = context;
	struct running *view;

	if (lost)
		watcher->error = print_lost(watcher, lost);
	if (!watcher->error && event) {
		view = view_of(watcher, event);
		watcher->error = watcher->json
				       ? output_json_take(event_json(watcher, view, event), true)
				       : print_event(watcher, view, event);
		watcher->seen++;
	}
	return watcher->error || (watcher->count && watcher->seen >= watcher->count);
}

/*
 * The interfaces of the view are those of the last tick, so that the cause of a guard's drop is
 * that of this moment.
 */
static int tick(void *context)
{
	struct watcher *watcher = context;
	struct engine_health health = { 0 };
	struct problem problem = { 0 };
	struct running *view = watcher->views[0];

	/* Without a sound look nothing is told; the next one is due soon. */
	if (engine_health(watcher->engine, &view->ruleset, &health, &problem))
		return 0;
	if (health.generation != view->status.generation) {
		interface_vector_free(&health.interfaces);
		view_refresh(watcher);
		return 0;
	}
	watcher->error = health_tell(&watcher->health, &health, view->status.guard_wanted);
	interface_vector_free(&view->status.interfaces);
	view->status.interfaces = health.interfaces;
	return watcher->error;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = stop_soon };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

static int watch(struct watcher *watcher, struct problem *problem)
{
	int err;

	watcher->views[0] = calloc(1, sizeof(*watcher->views[0]));
	if (!watcher->views[0]) {
		snprintf(problem->what, sizeof(problem->what), "out of memory");
		return -ENOMEM;
	}
	err = running_open(watcher->views[0], problem);
	if (err) {
		free(take(watcher->views[0]));
		return err;
	}
	err = engine_open(&watcher->engine, problem);
	if (err)
		return err;
	watcher->wall_ns = wall_offset_ns();
	catch_signals();
	if (isatty(STDOUT_FILENO) && !watcher->json)
		complain("watching; Ctrl-C ends");
	err = engine_watch(watcher->engine, visit, tick, watcher, &stop, problem);
	engine_close(watcher->engine);
	return err < 0 && !stop ? err : 0;
}

int command_watch(const struct arguments *arguments)
{
	struct watcher watcher = { .json = arguments->json, .health = { .json = arguments->json } };
	struct problem problem = { 0 };
	int status = STATUS_DONE, err;

	if (arguments_number(arguments, OPTION_COUNT, &watcher.count))
		return STATUS_USAGE;
	err = watch(&watcher, &problem);
	if (err)
		status = complain_problem(arguments, err, &problem);
	for (int i = 0; i < VIEWS; i++)
		view_free(watcher.views[i]);
	health_free(&watcher.health);
	return status;
}
