// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Asking the kernel by netlink.
 */
#ifndef REEVE_ENGINE_BPF_NETLINK_H
#define REEVE_ENGINE_BPF_NETLINK_H

#include <libmnl/libmnl.h>

/*
 * Sends a request, in this network namespace, and hands each message of the answer to `receive`.
 * 0, the kernel's -errno, or what `receive` left in errno when it returned MNL_CB_ERROR.
 */
int netlink_dump(int protocol, struct nlmsghdr *request, mnl_cb_t receive, void *context);

#endif
