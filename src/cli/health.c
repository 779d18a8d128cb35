// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/health.h"

#include <errno.h>
#include <time.h>

#include "cli/names.h"
#include "cli/output.h"

static int tell(const struct health_watch *watch, const struct engine_interface *interface,
		const char *state, bool good, const char *message)
{
	const char *name = interface ? interface->name : NULL;
	struct text out = TEXT_INIT(1 << 12);
	char string[32] = "?";
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	if (watch->json)
		return output_json_take(
			json_pack("{s:f, s:s, s:s, s:o, s:b, s:s}", "time",
				  (double)now.tv_sec + (double)now.tv_nsec / 1e9, "kind", "health",
				  "state", state, "interface", json_text(name), "good", good,
				  "message", message),
			true);
	if (localtime_r(&now.tv_sec, &tm))
		strftime(string, sizeof(string), "%H:%M:%S", &tm);
	text_printf(&out, "%s.%03d  ", string, (int)(now.tv_nsec / 1000000));
	text_toned(&out, good ? TONE_GREEN : TONE_RED, "%-6s", good ? "health" : "HEALTH");
	text_puts(&out, "  ");
	if (name)
		text_toned(&out, TONE_BOLD, "%s", name);
	text_printf(&out, "%s%s\n", name ? ": " : "", message);
	return output_write(&out);
}

static enum coverage coverage_before(const struct health_watch *watch, uint32_t ifindex)
{
	for (size_t i = 0; i < watch->seen.n; i++)
		if (watch->seen.items[i].ifindex == ifindex)
			return watch->seen.items[i].coverage;
	return COVERAGE_COVERED;
}

static int tell_interface(const struct health_watch *watch,
			  const struct engine_interface *interface)
{
	enum coverage before = coverage_before(watch, interface->ifindex);
	const char *trouble = coverage_trouble(interface->coverage);

	if (interface->coverage == before)
		return 0;
	if (trouble)
		return tell(watch, interface, coverage_name(interface->coverage), false, trouble);
	if (coverage_trouble(before))
		return tell(watch, interface, coverage_name(interface->coverage), true,
			    interface->coverage == COVERAGE_COVERED ? "covered" : "left alone");
	return 0;
}

int health_tell(struct health_watch *watch, const struct engine_health *health, bool guard_wanted)
{
	bool lost = guard_wanted && !health->guard;
	int err = 0;

	for (size_t i = 0; !err && i < health->interfaces.n; i++)
		err = tell_interface(watch, &health->interfaces.items[i]);
	if (!err && lost != watch->guard_lost)
		err = tell(watch, NULL, lost ? "guard-lost" : "guard", !lost,
			   lost ? "somebody took the guard away; run `reeve sync`, or reeved"
				: "the guard is back");
	watch->guard_lost = lost;
	lost = !health->routes;
	if (!err && lost != watch->routes_lost)
		err = tell(watch, NULL, lost ? "routes-lost" : "routes", !lost,
			   lost ? "what `intercept` needs of the routes was taken away; run `reeve sync`, or reeved"
				: "what `intercept` needs of the routes is back");
	watch->routes_lost = lost;
	interface_vector_free(&watch->seen);
	for (size_t i = 0; !err && i < health->interfaces.n; i++)
		err = interface_vector_push(&watch->seen, health->interfaces.items[i]);
	return err;
}

void health_free(struct health_watch *watch)
{
	interface_vector_free(&watch->seen);
}
