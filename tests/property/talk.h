// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random conversations: several at once, with loss, reordering, repetition and strays, as one
 * sequence of packets, each with the way it takes through the host.
 */
#ifndef REEVE_TESTS_PROPERTY_TALK_H
#define REEVE_TESTS_PROPERTY_TALK_H

#include "craft.h"
#include "random.h"

#define TALK_STEPS 400
#define TALK_SPEAKERS 6

enum way {
	WAY_TO_SELF,   /* arrives at `in` */
	WAY_FROM_SELF, /* departs at `out` */
	WAY_FORWARD,   /* arrives at `in`, departs at `out` */
};

/* What others do to a forwarded packet between arrival and departure. */
enum tamper {
	TAMPER_NONE,
	TAMPER_LOST,	 /* it does not get as far as departure */
	TAMPER_TC_INDEX, /* tc_index is cleared */
	TAMPER_MARK,	 /* the mark is cleared */
	TAMPER_OUT,	 /* it is sent out elsewhere */
	TAMPER_SOURCE,	 /* its source port is translated */
	TAMPER_TARGET,	 /* its destination port is */
	TAMPERS,
};

struct step {
	struct craft craft;
	enum way way;
	unsigned in, out;
	enum tamper tamper;
	uint32_t mark;	   /* when it arrives, or when the host sends it */
	uint32_t tc_index; /* likewise */
	uint32_t gso_segs;
	bool swap;	   /* the other policy comes into force before it */
	bool reply;	   /* sent by the responder */
	unsigned speaker;  /* number of the conversation */
};

struct talk {
	uint32_t n;
	struct step steps[TALK_STEPS];
};

/*
 * `calm`: every packet comes once, in order and untouched, and all conversations are well-behaved.
 */
void talk_random(struct random *r, bool calm, struct talk *talk);

#endif
