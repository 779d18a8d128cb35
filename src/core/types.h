// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The few types the core needs. No libc: this compiles for BPF and for the host.
 */
#ifndef REEVE_CORE_TYPES_H
#define REEVE_CORE_TYPES_H

#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/*
 * The compiler forgets what it knows of a value, so that a bound check on it stays where the
 * verifier sees it.
 */
#define forget(value) __asm__ volatile("" : "+r"(value))

/*
 * Stands last in a loop's body, with what the next round begins with. Verifiers before Linux 6.3
 * refuse a loop whose last instruction is no jump but falls into its head ("back-edge"), and how it
 * is laid out is the compiler's affair: so here is a jump to the next instruction. Verifiers remove
 * it once they have followed it. scripts/check-loops finds the loops that need it.
 */
#ifdef __bpf__
#define LOOP_ENDS(a, b, c) __asm__ volatile("goto +0" : "+r"(a), "+r"(b), "+r"(c))
#else
#define LOOP_ENDS(a, b, c) ((void)0)
#endif

typedef __u16 be16;
typedef __u32 be32;

/* What happens to a packet. */
enum action {
	ACTION_ALLOW = 0,
	ACTION_DROP = 1,
	ACTION_REJECT = 2,
	ACTION_TRANSLATE = 3, /* only in rules of the walks of NAT */
	ACTION_PROTECT = 4,   /* only in rules of `early`: its SYNs are answered with cookies */
};

/* With what a rejected packet is answered. */
enum reject {
	REJECT_DEFAULT = 0,	 /* TCP: reset; everything else: port unreachable */
	REJECT_TCP_RESET,	 /* TCP only; other protocols as REJECT_DEFAULT */
	REJECT_NET_UNREACHABLE,	 /* ICMP 3/0,  ICMPv6 1/0 */
	REJECT_HOST_UNREACHABLE, /* ICMP 3/1,  ICMPv6 1/3 */
	REJECT_PROTO_UNREACHABLE,/* ICMP 3/2,  ICMPv6 4/1 */
	REJECT_PORT_UNREACHABLE, /* ICMP 3/3,  ICMPv6 1/4 */
	REJECT_NET_PROHIBITED,	 /* ICMP 3/9,  ICMPv6 1/1 */
	REJECT_HOST_PROHIBITED,	 /* ICMP 3/10, ICMPv6 1/1 */
	REJECT_ADMIN_PROHIBITED, /* ICMP 3/13, ICMPv6 1/1 */
	REJECT_KINDS,
};

#endif
