// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static int text_room(struct text *text, size_t more)
{
	size_t cap = text->cap ? text->cap : TEXT_CAP_DEFAULT;
	size_t room = text->room ? text->room : 128;
	char *bytes;

	if (text->error)
		return text->error;
	if (more >= cap || text->len >= cap - more) {
		text->error = -E2BIG;
		return text->error;
	}
	if (text->room > text->len + more)
		return 0;
	while (room <= text->len + more)
		room *= 2;
	bytes = realloc(text->bytes, room);
	if (!bytes) {
		text->error = -ENOMEM;
		return text->error;
	}
	text->bytes = bytes;
	text->room = room;
	return 0;
}

void text_add(struct text *text, const void *bytes, size_t len)
{
	if (text_room(text, len))
		return;
	if (len)
		memcpy(text->bytes + text->len, bytes, len);
	text->len += len;
	text->bytes[text->len] = '\0';
}

void text_puts(struct text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

void text_putc(struct text *text, char c)
{
	text_add(text, &c, 1);
}

void text_vprintf(struct text *text, const char *format, va_list args)
{
	va_list again;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, args);
	if (len < 0)
		text->error = text->error ? text->error : -EINVAL;
	else if (!text_room(text, (size_t)len)) {
		vsnprintf(text->bytes + text->len, (size_t)len + 1, format, again);
		text->len += (size_t)len;
	}
	va_end(again);
}

void text_printf(struct text *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text_vprintf(text, format, args);
	va_end(args);
}

int text_error(const struct text *text)
{
	return text->error;
}

const char *text_string(const struct text *text)
{
	return text->bytes ? text->bytes : "";
}

char *text_take(struct text *text)
{
	char *string;

	if (!text->bytes)
		text_add(text, "", 0);
	string = text->error ? NULL : take(text->bytes);
	text_free(text);
	return string;
}

void text_free(struct text *text)
{
	free(text->bytes);
	*text = (struct text){ .cap = text->cap };
}
