// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzzed bytes as netlink messages: what stands before each in the input, and the message made of
 * it.
 */
#ifndef REEVE_TESTS_FUZZ_MESSAGES_H
#define REEVE_TESTS_FUZZ_MESSAGES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <libmnl/libmnl.h>

struct message_head {
	uint8_t kind;	/* the target's */
	uint8_t length; /* of the payload, in units of 4 bytes; the last one takes what is left */
};

/*
 * The next message, of just its size, so that a read beyond it is seen. NULL at the end. Free it.
 */
static inline struct nlmsghdr *message_next(const uint8_t **data, size_t *size, unsigned *kind)
{
	struct message_head head;
	struct nlmsghdr *message;
	size_t length;

	if (*size < sizeof(head))
		return NULL;
	memcpy(&head, *data, sizeof(head));
	*data += sizeof(head);
	*size -= sizeof(head);
	/* Whole words, as in the kernel's buffers: libmnl looks at the padding too. */
	length = head.length * 4u < *size ? head.length * 4u : *size & ~(size_t)3;
	message = malloc(NLMSG_HDRLEN + length);
	if (!message)
		return NULL;
	*message = (struct nlmsghdr){ .nlmsg_len = (uint32_t)(NLMSG_HDRLEN + length) };
	memcpy((char *)message + NLMSG_HDRLEN, *data, length);
	*data += length;
	*size -= length;
	if (length < head.length * 4u)
		*size = 0;
	*kind = head.kind;
	return message;
}

#endif
