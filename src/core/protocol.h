// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* IP protocol numbers (IANA). */
#ifndef REEVE_CORE_PROTOCOL_H
#define REEVE_CORE_PROTOCOL_H

#define PROTOCOL_ICMP 1
#define PROTOCOL_IGMP 2
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_DCCP 33
#define PROTOCOL_ICMPV6 58
#define PROTOCOL_SCTP 132
#define PROTOCOL_UDPLITE 136

#endif
