// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What frames.bpf.c and inject.c share: which frame is made, and for which flows.
 */
#ifndef REEVE_BENCH_FRAMES_H
#define REEVE_BENCH_FRAMES_H

#include <linux/types.h>

#define FRAME_LENGTH 64
#define FRAME_WORDS 6 /* of 8 bytes, written anew for each frame: all headers and a little more */

#define FRAME_IP 14
#define FRAME_IP_CHECKSUM (FRAME_IP + 10)
#define FRAME_IP_SRC (FRAME_IP + 12)
#define FRAME_IP_DST (FRAME_IP + 16)
#define FRAME_UDP (FRAME_IP + 20)

#define FLOW_PORTS 60000 /* behind so many flows the client's address changes, too */
#define FLOW_PORT_FIRST 1024
#define SERVER_PORT 53

/* A flow is a client's address and port, both given by its number, and one server. */
struct frames {
	__u64 words[FRAME_WORDS]; /* the frame; client's address, its port and checksum are zero */
	__u32 first, end;	  /* numbers of the flows: first <= number < end */
	__u32 next;		  /* number of the next frame's flow */
	__u32 client;		  /* the first client's address, host order */
	__u32 sum;		  /* of the IP header as 16-bit words in network order */
	__u32 reply;		  /* 1: from the server to the client */
	__u32 redirect;		  /* 0, or the interface to which frames are sent at once */
	__u32 made;		  /* frames, in this run */
};

/*
 * Frames are made and then handed to the stack in batches; a batch begins when the one before has
 * come out at the other end. When each began is kept, for as many as there is room.
 */
#define BATCH 64
#define BATCHES (1u << 15)

/* How a source is drawn, from n of them. */
struct drawn {
	__u64 state, n;
};

#define ARRIVED_CPUS 256

struct arrived {
	__u64 frames;
	__u64 pad[7]; /* a cache line for each CPU */
};

#endif
