// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bpf/hooks.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/bpf/hooks_source.h"
#include "engine/bpf/problem.h"

void hook_add(struct hook_reading *reading, const struct hook_entry *entry)
{
	if (hook_vector_push(&reading->hooks->entries, *entry))
		reading->hooks->error = -ENOMEM;
}

void hook_note(struct hook_reading *reading, const char *format, ...)
{
	struct hook_note note;
	va_list args;

	va_start(args, format);
	vsnprintf(note.text, sizeof(note.text), format, args);
	va_end(args);
	if (hook_note_vector_push(&reading->hooks->notes, note))
		reading->hooks->error = -ENOMEM;
}

bool id_known(const struct id_vector *ids, uint32_t id)
{
	for (size_t i = 0; i < ids->n; i++)
		if (ids->items[i] == id)
			return true;
	return false;
}

/* --- order --- */

#define ORDER(a, b)     \
	if ((a) != (b)) \
	return (a) < (b) ? -1 : 1

static int entry_compare(const void *a, const void *b)
{
	const struct hook_entry *left = a, *right = b;
	int names;

	ORDER(left->point, right->point);
	ORDER(left->ifindex, right->ifindex);
	names = strcmp(left->device, right->device);
	if (names)
		return names;
	/* On one hook of a device tcx runs before the filters of clsact. */
	if (left->point == POINT_TC_INGRESS || left->point == POINT_TC_EGRESS)
		ORDER(left->kind, right->kind);
	ORDER(left->priority, right->priority);
	ORDER(left->sequence, right->sequence);
	ORDER(left->chain_priority, right->chain_priority);
	ORDER(left->families, right->families);
	return strcmp(left->name, right->name);
}

static bool same_but_family(const struct hook_entry *a, const struct hook_entry *b)
{
	return a->families && b->families && !(a->families & b->families) && a->point == b->point &&
	       a->kind == b->kind && a->ifindex == b->ifindex && a->priority == b->priority &&
	       a->chain_priority == b->chain_priority && a->program == b->program &&
	       a->reeve == b->reeve && a->unsure == b->unsure && a->kind != HOOK_KIND_CHAIN &&
	       !strcmp(a->name, b->name) && !strcmp(a->detail, b->detail) &&
	       !strcmp(a->device, b->device);
}

/* A table of iptables for both families, or two links of one program, are one entry. */
static void families_merge(struct hook_vector *entries)
{
	size_t kept = 0;

	for (size_t i = 0; i < entries->n; i++) {
		size_t twin = kept;

		while (twin > 0 && entries->items[twin - 1].point == entries->items[i].point &&
		       entries->items[twin - 1].priority == entries->items[i].priority &&
		       !same_but_family(&entries->items[twin - 1], &entries->items[i]))
			twin--;
		if (twin > 0 && same_but_family(&entries->items[twin - 1], &entries->items[i])) {
			entries->items[twin - 1].families |= entries->items[i].families;
			entries->items[twin - 1].links[1] = entries->items[i].links[0];
		} else {
			entries->items[kept++] = entries->items[i];
		}
	}
	entries->n = kept;
}

void hooks_arrange(struct hooks *hooks)
{
	if (!hooks->entries.n)
		return;
	qsort(hooks->entries.items, hooks->entries.n, sizeof(hooks->entries.items[0]),
	      entry_compare);
	families_merge(&hooks->entries);
}

/* --- reading --- */

static bool order_open(const struct hook_entry *a, const struct hook_entry *b)
{
	return a->point == b->point && a->families & b->families && a->ifindex == b->ifindex &&
	       a->priority == b->priority && a->chain_priority == b->chain_priority &&
	       a->sequence >= HOOK_SEQUENCE_UNKNOWN && b->sequence >= HOOK_SEQUENCE_UNKNOWN;
}

static void note_open_order(struct hook_reading *reading)
{
	const struct hook_vector *entries = &reading->hooks->entries;

	for (size_t i = 1; i < entries->n; i++)
		if (order_open(&entries->items[i - 1], &entries->items[i])) {
			hook_note(reading,
				  "the kernel does not tell the order of entries of the same "
				  "hook and priority");
			return;
		}
}

static int read_all(struct hooks *hooks, bool sockets, struct problem *problem)
{
	struct link_vector links = { 0 };
	struct hook_reading reading = { .hooks = hooks, .links = &links };
	int err;

	*hooks = (struct hooks){ 0 };
	err = links_list(&links, problem);
	if (err)
		hook_note(&reading, "%s", problem->what);
	hooks_find_list(&reading);
	hooks_read_reeve(&reading);
	hooks_read_xdp(&reading);
	hooks_read_tcx(&reading);
	hooks_read_filters(&reading);
	hooks_read_nftables(&reading);
	hooks_read_iptables(&reading);
	hooks_read_netfilter_links(&reading);
	if (sockets) {
		hooks_read_cgroups(&reading);
		hooks_read_namespace(&reading);
	}
	hooks_read_list(&reading);
	hooks_name_programs(&reading);
	hooks_arrange(hooks);
	note_open_order(&reading);
	link_vector_free(&links);
	id_vector_free(&reading.reeve);
	id_vector_free(&reading.reeve_links);
	err = hooks->error;
	if (err) {
		hooks_free(hooks);
		return problem_set(problem, err, "out of memory");
	}
	return 0;
}

int engine_hooks(struct hooks *hooks, struct problem *problem)
{
	return read_all(hooks, true, problem);
}

int engine_hooks_path(struct hooks *hooks, struct problem *problem)
{
	return read_all(hooks, false, problem);
}

void hooks_free(struct hooks *hooks)
{
	hook_vector_free(&hooks->entries);
	hook_note_vector_free(&hooks->notes);
}
