// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>

#include "hostile.h"

#define LENGTHS_MAX 8

struct length {
	int at, from; /* where it stands, and from where on it counts */
};

struct frame {
	uint8_t *bytes;
	int n, end, cut;
	struct length lengths[LENGTHS_MAX];
	int length_n;
};

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int put_hex(struct frame *frame, const char *word, size_t n)
{
	if (n % 2 || frame->n + (int)(n / 2) > HOSTILE_BYTES)
		return -1;
	for (size_t i = 0; i < n; i += 2) {
		int high = digit(word[i]), low = digit(word[i + 1]);

		if (high < 0 || low < 0)
			return -1;
		frame->bytes[frame->n++] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static int put_repeated(struct frame *frame, const char *word, size_t n)
{
	char *hex;
	long times = strtol(word, &hex, 10);

	if (*hex != ':' || times < 1)
		return -1;
	hex++;
	while (times--)
		if (put_hex(frame, hex, n - (size_t)(hex - word)))
			return -1;
	return 0;
}

static int put_length(struct frame *frame, int from)
{
	if (frame->length_n == LENGTHS_MAX || frame->n + 2 > HOSTILE_BYTES)
		return -1;
	frame->lengths[frame->length_n++] = (struct length){ frame->n, frame->n + from };
	frame->n += 2;
	return 0;
}

static int put_word(struct frame *frame, const char *word, size_t n)
{
	if (n == 4 && !strncmp(word, "len4", n))
		return put_length(frame, -2);
	if (n == 4 && !strncmp(word, "len6", n))
		return put_length(frame, 36);
	if (n == 4 && !strncmp(word, "lenu", n))
		return put_length(frame, -4);
	if (n == 3 && !strncmp(word, "end", n)) {
		frame->end = frame->n;
		return 0;
	}
	if (n > 4 && !strncmp(word, "rep:", 4))
		return put_repeated(frame, word + 4, n - 4);
	if (n > 4 && !strncmp(word, "cut:", 4)) {
		frame->cut = atoi(word + 4);
		return 0;
	}
	return put_hex(frame, word, n);
}

int hostile_build(const char *spelling, uint8_t bytes[HOSTILE_BYTES])
{
	struct frame frame = { .bytes = bytes, .end = -1, .cut = -1 };

	for (size_t n; *(spelling += strspn(spelling, " ")); spelling += n) {
		n = strcspn(spelling, " ");
		if (put_word(&frame, spelling, n))
			return -1;
	}
	if (frame.end < 0)
		frame.end = frame.n;
	for (int i = 0; i < frame.length_n; i++) {
		int length = frame.end - frame.lengths[i].from;

		if (length < 0)
			return -1;
		bytes[frame.lengths[i].at] = (uint8_t)(length >> 8);
		bytes[frame.lengths[i].at + 1] = (uint8_t)length;
	}
	return frame.cut >= 0 && frame.cut < frame.n ? frame.cut : frame.n;
}
