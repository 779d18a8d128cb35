// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/resolve.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

enum setting_type { SETTING_SWITCH, SETTING_BYTE, SETTING_WORD, SETTING_REQUIRED, SETTING_FAST };

/* One row for each setting: its name, where its value goes, and what it may be. */
struct setting {
	const char *name;
	enum setting_type type;
	size_t offset;
	uint32_t min, max;
};

#define OFFSET(member) offsetof(struct policy_options, member)

static const struct setting settings[] = {
	{ "ipv6-nd", SETTING_SWITCH, OFFSET(builtin_nd), 0, 1 },
	{ "multicast-membership", SETTING_SWITCH, OFFSET(builtin_multicast), 0, 1 },
	{ "dhcp-client", SETTING_SWITCH, OFFSET(builtin_dhcp), 0, 1 },
	{ "guard", SETTING_SWITCH, OFFSET(guard), 0, 1 },
	{ "tcp-pickup", SETTING_SWITCH, OFFSET(pickup), 0, 1 },
	{ "tcp-window", SETTING_SWITCH, OFFSET(windows), 0, 1 },
	{ "mark-bits", SETTING_BYTE, OFFSET(mark_shift), 0, 30 },
	{ "flows", SETTING_WORD, OFFSET(flows_max), 64, 1u << 24 },
	{ "embryonic-flows", SETTING_WORD, OFFSET(embryonic_max), 64, 1u << 24 },
	{ "fast-path", SETTING_FAST, OFFSET(fast_path), FAST_PATH_ON, FAST_PATH_INSIST },
	{ "early", SETTING_REQUIRED, OFFSET(early_required), 0, 1 },
};

const struct policy_options policy_options_default = {
	.builtin_nd = true,
	.builtin_multicast = true,
	.builtin_dhcp = true,
	.guard = true,
	.pickup = false,
	.windows = true,
	.mark_shift = 30,
	.flows_max = 131072,
	.embryonic_max = 65536,
};

static const struct setting *setting_find(struct resolver *resolver, const struct tree_word *name)
{
	const char *names[ARRAY_SIZE(settings)];

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		names[i] = settings[i].name;
		if (!strcmp(settings[i].name, name->text))
			return &settings[i];
	}
	resolve_error(resolver, name->position, "unknown-option",
		      resolve_suggestion(resolver,
					 nearest_word(name->text, names, ARRAY_SIZE(names))),
		      "unknown option `%s`", name->text);
	return NULL;
}

/* A decimal number of at most nine digits, or -1. */
static long parse_number(const char *text)
{
	long number = 0;

	if (!text[0] || strlen(text) > 9)
		return -1;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return -1;
		number = number * 10 + (*text - '0');
	}
	return number;
}

static int fast_path_value(struct resolver *resolver, const struct tree_word *value,
			   uint32_t *result)
{
	static const char *const words[] = {
		[FAST_PATH_ON] = "on",
		[FAST_PATH_OFF] = "off",
		[FAST_PATH_INSIST] = "insist",
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcmp(value->text, words[i])) {
			*result = i;
			return 0;
		}
	}
	return resolve_error(resolver, value->position, "option-value",
			     "say `on`, `off` or `insist`", "`%s` is neither on, off nor insist",
			     value->text);
}

static int setting_value(struct resolver *resolver, const struct setting *setting,
			 const struct tree_word *value, uint32_t *result)
{
	long number = parse_number(value->text);

	if (setting->type == SETTING_SWITCH) {
		if (strcmp(value->text, "on") && strcmp(value->text, "off"))
			return resolve_error(resolver, value->position, "option-value",
					     "say `on` or `off`", "`%s` is neither on nor off",
					     value->text);
		*result = !strcmp(value->text, "on");
		return 0;
	}
	if (setting->type == SETTING_REQUIRED) {
		if (strcmp(value->text, "required") && strcmp(value->text, "optional"))
			return resolve_error(resolver, value->position, "option-value",
					     "say `required` or `optional`",
					     "`%s` is neither required nor optional", value->text);
		*result = !strcmp(value->text, "required");
		return 0;
	}
	if (setting->type == SETTING_FAST)
		return fast_path_value(resolver, value, result);
	if (number < (long)setting->min || number > (long)setting->max)
		return resolve_error(resolver, value->position, "option-value", NULL,
				     "`%s` must be a number from %u to %u, not `%s`", setting->name,
				     setting->min, setting->max, value->text);
	*result = (uint32_t)number;
	return 0;
}

static void setting_store(const struct setting *setting, uint32_t value,
			  struct policy_options *options)
{
	char *member = (char *)options + setting->offset;

	switch (setting->type) {
	case SETTING_SWITCH:
	case SETTING_REQUIRED:
		*(bool *)member = value != 0;
		break;
	case SETTING_BYTE:
	case SETTING_FAST:
		*(uint8_t *)member = (uint8_t)value;
		break;
	case SETTING_WORD:
		memcpy(member, &value, sizeof(value));
		break;
	}
}

static int resolve_block(struct resolver *resolver, const struct tree_settings *tree,
			 const struct tree_word *seen[ARRAY_SIZE(settings)],
			 struct policy_options *options)
{
	int result = 0;

	for (uint32_t i = 0; i < tree->n; i++) {
		const struct tree_setting *item = &tree->items[i];
		const struct setting *setting = setting_find(resolver, &item->name);
		uint32_t value = 0;
		size_t row;

		if (!setting || setting_value(resolver, setting, &item->value, &value)) {
			result = -EINVAL;
			continue;
		}
		row = (size_t)(setting - settings);
		if (seen[row])
			result = resolve_error(resolver, item->name.position, "duplicate-option",
					       NULL, "option `%s` is already set at %s",
					       setting->name,
					       resolve_place(resolver, seen[row]->position));
		seen[row] = &item->name;
		setting_store(setting, value, options);
	}
	return result;
}

uint32_t resolve_own_marks(const struct resolver *resolver)
{
	uint32_t own = UINT32_C(3) << resolver->mark_shift;

	return resolver->intercepts ? own | image_intercept_mark(resolver->mark_shift) : own;
}

int resolve_own_marks_error(struct resolver *resolver, struct position position, uint32_t asked,
			    const char *more)
{
	uint32_t mark = image_intercept_mark(resolver->mark_shift);
	const char *hint = "`options { mark-bits N }` moves them";

	if (asked & UINT32_C(3) << resolver->mark_shift)
		return resolve_error(resolver, position, "mark-bits", hint,
				     "bits %d and %d of the mark are reeve's own%s",
				     resolver->mark_shift, resolver->mark_shift + 1, more);
	return resolve_error(resolver, position, "mark-bits", hint,
			     "bit %d of the mark is reeve's own, for the policy intercepts",
			     __builtin_ctz(mark));
}

int resolve_options(struct resolver *resolver, const struct statement_vector *statements,
		    struct policy_options *options)
{
	const struct tree_word *seen[ARRAY_SIZE(settings)] = { 0 };
	int result = 0;

	*options = policy_options_default;
	for (size_t i = 0; i < statements->n; i++)
		if (statements->items[i]->kind == TREE_OPTIONS &&
		    resolve_block(resolver, &statements->items[i]->settings, seen, options))
			result = -EINVAL;
		else if (statements->items[i]->kind == TREE_INTERCEPT)
			resolver->intercepts = true;
	resolver->mark_shift = options->mark_shift;
	return result;
}
