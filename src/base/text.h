// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Text that grows, up to a cap stated at its birth.
 *
 * An error sticks: after the first failure every further call does nothing, and `text_error` tells
 * it once at the end (-ENOMEM, or -E2BIG over the cap). So callers print freely and check once.
 */
#ifndef REEVE_BASE_TEXT_H
#define REEVE_BASE_TEXT_H

#include <stdarg.h>
#include <stddef.h>

struct text {
	char *bytes; /* NUL-terminated once anything was added; NULL before */
	size_t len, room;
	size_t cap;
	int error;
};

#define TEXT_CAP_DEFAULT ((size_t)256 << 20)
#define TEXT_INIT(limit) ((struct text){ .cap = (limit) })

void text_add(struct text *text, const void *bytes, size_t len);
void text_puts(struct text *text, const char *string);
void text_putc(struct text *text, char c);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(struct text *text, const char *format, va_list args);
/* 0, or the first error. */
int text_error(const struct text *text);
/* The string so far, "" when empty. Borrowed. */
const char *text_string(const struct text *text);
/*
 * Hands the string to the caller, who frees it; NULL when an error happened. The text is empty
 * again.
 */
char *text_take(struct text *text);
void text_free(struct text *text);

#endif
