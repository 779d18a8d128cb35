// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Asking the kernel by netlink.
 */
#ifndef REEVE_ENGINE_BPF_NETLINK_H
#define REEVE_ENGINE_BPF_NETLINK_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Sends a request, in this network namespace, and hands each message of the answer to `receive`.
 * 0, the kernel's -errno, or what `receive` left in errno when it returned MNL_CB_ERROR.
 */
int netlink_dump(int protocol, struct nlmsghdr *request, mnl_cb_t receive, void *context);

/*
 * A request for all of a kind, in `buffer` (256 bytes do): `header` is the size of the kind's own
 * header, which is left zero but for the family in its first byte.
 */
struct nlmsghdr *netlink_request(char *buffer, uint16_t type, size_t header, unsigned char family);

/*
 * The kernel's messages are read as foreign ones. Has a message the fixed header that its type
 * says? A string, or "" where it does not end within its attribute; a number, or 0 where its
 * attribute has another size.
 */
bool netlink_has_header(const struct nlmsghdr *message, size_t size);
const char *netlink_string(const struct nlattr *attr);
uint32_t netlink_number(const struct nlattr *attr);

#endif
