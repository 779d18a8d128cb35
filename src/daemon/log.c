// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/log.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* One write a line, so that lines of several writers do not mix. sd-daemon(3) has the levels. */
static void log_write(int level, const char *format, va_list args)
{
	const char *prefix = getenv("JOURNAL_STREAM") ? "" : "reeved: ";
	char text[1024], line[1100];

	vsnprintf(text, sizeof(text), format, args);
	for (char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	if (*prefix)
		snprintf(line, sizeof(line), "%s%s\n", prefix, text);
	else
		snprintf(line, sizeof(line), "<%d>%s\n", level, text);
	fputs(line, stderr);
}

void log_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_write(6, format, args);
	va_end(args);
}

void log_warning(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_write(4, format, args);
	va_end(args);
}
