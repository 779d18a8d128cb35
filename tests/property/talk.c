// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Each conversation is first written down as a script, who speaks and what; then the scripts are
 * disturbed one by one, and shuffled into each other, each in its own order.
 */
#include "talk.h"

#include <string.h>

#include "world.h"

#define LINES 60

enum { ICMP4 = 1, TCP = 6, UDP = 17, GRE = 47, ICMP6 = 58, SCTP = 132 };
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

/* Two ends and the way between them. */
struct speaker {
	struct craft ends[2]; /* packets of the originator, of the responder */
	enum way way;	      /* of the originator's packets */
	unsigned near, far;   /* interfaces of the originator's side and of the responder's */
	uint32_t next[2];     /* TCP: sequence number of what each end sends next */
	uint32_t n;
	struct line {
		bool reply;
		uint8_t flags;
		uint8_t size;
		uint32_t seq, ack;
	} lines[LINES];
};

static void say(struct speaker *speaker, bool reply, unsigned flags, unsigned size)
{
	if (speaker->n == LINES)
		return;
	speaker->lines[speaker->n++] = (struct line){
		.reply = reply,
		.flags = (uint8_t)flags,
		.size = (uint8_t)size,
		.seq = speaker->next[reply],
		.ack = flags & ACK ? speaker->next[!reply] : 0,
	};
	speaker->next[reply] += size + !!(flags & SYN) + !!(flags & FIN);
}

/* Before a SYN: numbers that nobody has seen yet. */
static void new_numbers(struct random *r, struct speaker *speaker)
{
	speaker->next[0] = random_word(r);
	speaker->next[1] = random_word(r);
}

/* --- scripts --------------------------------------------------------------------- */

static void tcp_open(struct random *r, struct speaker *speaker, bool calm)
{
	uint32_t kind = calm ? 0 : random_below(r, 10);

	new_numbers(r, speaker);
	if (kind == 9) /* it was there before */
		return;
	say(speaker, false, SYN, 0);
	if (kind == 8) { /* both at once */
		say(speaker, true, SYN, 0);
		for (int reply = 0; reply < 2; reply++) {
			speaker->next[reply]--; /* the SYN once more */
			say(speaker, reply, SYN | ACK, 0);
		}
		return;
	}
	if (kind == 7) { /* refused */
		say(speaker, true, RST | ACK, 0);
		return;
	}
	say(speaker, true, SYN | ACK, 0);
	say(speaker, false, ACK, 0);
}

static void tcp_close(struct random *r, struct speaker *speaker, bool calm)
{
	bool first = random_chance(r, 50);

	switch (random_below(r, calm ? 2 : 4)) {
	case 0:
		say(speaker, first, FIN | ACK, 0);
		say(speaker, !first, ACK, 0);
		if (random_chance(r, 50))
			say(speaker, !first, ACK, 9);
		say(speaker, !first, FIN | ACK, 0);
		say(speaker, first, ACK, 0);
		break;
	case 1:
		say(speaker, first, FIN | ACK, 0);
		say(speaker, !first, FIN | ACK, 0);
		say(speaker, first, ACK, 0);
		break;
	case 2:
		say(speaker, first, random_chance(r, 50) ? RST : RST | ACK, 0);
		break;
	default:
		break; /* it stays open */
	}
}

static void tcp_script(struct random *r, struct speaker *speaker, bool calm)
{
	uint32_t exchanges = random_below(r, 8);

	tcp_open(r, speaker, calm);
	while (exchanges--)
		say(speaker, random_chance(r, 50), ACK | (random_chance(r, 50) ? 8 : 0),
		    random_below(r, 200));
	tcp_close(r, speaker, calm);
	if (!calm && random_chance(r, 20)) /* the same ports once more */
		tcp_open(r, speaker, false);
}

static void plain_script(struct random *r, struct speaker *speaker)
{
	uint32_t n = random_between(r, 1, 10);

	say(speaker, false, 0, random_below(r, 200));
	while (n--)
		say(speaker, random_chance(r, 50), 0, random_below(r, 200));
}

static void echo_script(struct random *r, struct speaker *speaker)
{
	uint32_t n = random_between(r, 1, 5);

	while (n--) {
		say(speaker, false, 0, 56);
		say(speaker, true, 0, 56);
	}
}

/* --- who speaks ------------------------------------------------------------------ */

static void address_of(struct random *r, unsigned family, bool self, unsigned side,
		       uint32_t address[4])
{
	memset(address, 0, 16);
	if (family == 4) {
		address[0] = (self ? 0x0a000000 :
			      side ? 0xc0a80000 :
				     0xc6336400) |
			     random_between(r, 1, 3);
		return;
	}
	address[0] = self ? 0xfd000000 : 0x20010db8;
	address[1] = side;
	address[3] = random_between(r, 1, 3);
}

static void set_ports(struct random *r, struct speaker *speaker)
{
	static const uint16_t servers[] = { 22, 53, 80, 443, 25, 113, 5000, 67, 547 };
	struct craft *there = &speaker->ends[0], *back = &speaker->ends[1];

	there->src_port = back->dst_port = (uint16_t)random_between(r, 1024, 1030);
	there->dst_port = back->src_port = random_pick(r, servers);
	if (there->dst_port == 67 || there->dst_port == 547)
		there->src_port = back->dst_port = (uint16_t)(there->dst_port == 67 ? 68 : 546);
	there->echo_id = back->echo_id = (uint16_t)random_below(r, 3);
	for (int i = 0; i < 2; i++) {
		struct craft *end = &speaker->ends[i];

		end->tcp_options = (uint8_t)random_below(r, 4);
		end->has_scale = random_chance(r, 60);
		end->scale = (uint8_t)random_below(r, 16);
		end->window = (uint16_t)(random_chance(r, 30) ? 0xffff : random_between(r, 512, 0xffff));
	}
	if (there->protocol == ICMP4 || there->protocol == ICMP6) {
		there->dst_port = there->protocol == ICMP4 ? 8 << 8 : 128 << 8;
		back->dst_port = there->protocol == ICMP4 ? 0 : 129 << 8;
	}
}

static void choose_ends(struct random *r, struct speaker *speaker)
{
	static const uint8_t protocols[] = { TCP, TCP, TCP, TCP, UDP, UDP, ICMP4, GRE, SCTP };
	struct craft *there = &speaker->ends[0], *back = &speaker->ends[1];
	bool to_self, from_self;

	speaker->way = random_chance(r, 50) ? WAY_FORWARD :
		       random_chance(r, 60) ? WAY_TO_SELF :
					      WAY_FROM_SELF;
	to_self = speaker->way == WAY_TO_SELF;
	from_self = speaker->way == WAY_FROM_SELF;
	speaker->near = random_below(r, WORLD_INTERFACES);
	speaker->far = random_below(r, WORLD_INTERFACES);
	if (speaker->way == WAY_FORWARD) { /* what arrives at the others is for this host */
		speaker->near |= 1;
		speaker->far |= 1;
	}
	craft_init(there);
	there->family = random_chance(r, 50) ? 4 : 6;
	there->protocol = random_pick(r, protocols);
	if (there->protocol == ICMP4 && there->family == 6)
		there->protocol = ICMP6;
	address_of(r, there->family, from_self, 0, there->src);
	address_of(r, there->family, to_self, 1, there->dst);
	*back = *there;
	memcpy(back->src, there->dst, 16);
	memcpy(back->dst, there->src, 16);
	set_ports(r, speaker);
}

static void write_script(struct random *r, struct speaker *speaker, bool calm)
{
	speaker->n = 0;
	if (speaker->ends[0].protocol == TCP)
		tcp_script(r, speaker, calm);
	else if (speaker->ends[0].protocol == ICMP4 || speaker->ends[0].protocol == ICMP6)
		echo_script(r, speaker);
	else
		plain_script(r, speaker);
}

/* --- disturbances ---------------------------------------------------------------- */

static uint32_t random_near(struct random *r)
{
	static const int32_t far[] = { 0, 0, 1, -1, 500, -500, 65535, -65536, -66001, 1 << 24, 1 << 30 };

	return random_chance(r, 10) ? random_word(r) : (uint32_t)random_pick(r, far);
}

static void disturb_script(struct random *r, struct speaker *speaker)
{
	for (uint32_t i = 0; i < speaker->n; i++) {
		uint32_t kind = random_below(r, 100), n = speaker->n;

		if (kind < 6) { /* lost before it is seen */
			memmove(&speaker->lines[i], &speaker->lines[i + 1],
				(n - i - 1) * sizeof(speaker->lines[0]));
			speaker->n--;
		} else if (kind < 12 && n < LINES) { /* repeated */
			memmove(&speaker->lines[i + 1], &speaker->lines[i],
				(n - i) * sizeof(speaker->lines[0]));
			speaker->n++;
			i++;
		} else if (kind < 20 && i + 1 < n) { /* overtaken */
			struct line late = speaker->lines[i];

			speaker->lines[i] = speaker->lines[i + 1];
			speaker->lines[i + 1] = late;
		} else if (kind < 23 && speaker->ends[0].protocol == TCP) { /* nonsense */
			static const uint8_t flags[] = { SYN,	    SYN | ACK, FIN | ACK, RST,
							 RST | ACK, ACK,       0,	  FIN };

			speaker->lines[i].flags = random_pick(r, flags);
			speaker->lines[i].reply ^= random_chance(r, 30);
		} else if (kind < 27) { /* of another window, or close to the edge of this one */
			speaker->lines[i].seq += random_near(r);
			speaker->lines[i].ack += random_near(r);
		}
	}
}

static void disturb_step(struct random *r, struct step *step)
{
	if (random_chance(r, 12))
		step->tamper = 1 + random_below(r, TAMPERS - 1);
	if (random_chance(r, 8))
		step->mark = random_word(r);
	if (random_chance(r, 4))
		step->tc_index = random_chance(r, 50) ? 0xffff : random_below(r, 65536);
	if (random_chance(r, 3))
		step->in = random_below(r, WORLD_INTERFACES); /* the route has changed */
	if (random_chance(r, 3))
		step->out = random_below(r, WORLD_INTERFACES);
	if (random_chance(r, 5))
		step->gso_segs = random_between(r, 2, 5);
	if (random_chance(r, 3)) {
		step->craft.fragmented = step->craft.more = true;
		step->craft.offset = random_chance(r, 50) ? 8 : 0;
		if (step->craft.family == 6) {
			step->craft.extension_n = 1;
			step->craft.extensions[0].kind = 44;
		}
	}
	step->swap = random_chance(r, 2);
}

/* What an error quotes, if it is not what was sent. */
static void misquote(struct random *r, struct craft *quoted)
{
	uint32_t address[4];

	switch (random_below(r, 6)) {
	case 0:
		quoted->seq += random_near(r);
		break;
	case 1:
		quoted->src_port++;
		quoted->echo_id++;
		break;
	case 2:
		quoted->dst_port++;
		break;
	case 3:
		quoted->protocol = quoted->protocol == TCP ? UDP : TCP;
		break;
	case 4:
		quoted->dst[quoted->family == 4 ? 0 : 3]++;
		break;
	default: /* what the other end would have sent */
		memcpy(address, quoted->src, sizeof(address));
		memcpy(quoted->src, quoted->dst, sizeof(address));
		memcpy(quoted->dst, address, sizeof(address));
	}
}

/* An ICMP error about a packet, from where it went or from elsewhere. */
static void make_error(struct random *r, const struct step *about, struct step *error)
{
	static const uint16_t types4[] = { 0x301, 0x303, 0x304, 0xb00, 0xc00, 0x501, 0x400 };
	static const uint16_t types6[] = { 0x100, 0x104, 0x200, 0x300, 0x401, 0x500, 0x8900 };
	struct craft quoted = about->craft;
	uint32_t from[4], length = CRAFT_QUOTE;

	memcpy(from, quoted.dst, sizeof(from));
	if (random_chance(r, 30)) /* a router on the way */
		from[quoted.family == 4 ? 0 : 3] += 100;
	if (random_chance(r, 40))
		misquote(r, &quoted);
	if (random_chance(r, 40))
		length = random_below(r, 100);
	memset(error, 0, sizeof(*error));
	craft_error(&quoted, quoted.family == 4 ? random_pick(r, types4) : random_pick(r, types6), from,
		    length, &error->craft);
	if (random_chance(r, 10))
		error->craft.dst[quoted.family == 4 ? 0 : 3]++;
	error->way = about->way == WAY_TO_SELF	 ? WAY_FROM_SELF :
		     about->way == WAY_FROM_SELF ? WAY_TO_SELF :
						   WAY_FORWARD;
	error->in = about->out;
	error->out = about->in;
	error->reply = !about->reply;
	error->speaker = about->speaker;
	if (random_chance(r, 10)) { /* from the side of who sent it */
		error->in = about->in;
		error->out = about->out;
	}
	world_mac(error->in, error->craft.target_mac);
	disturb_step(r, error);
}

static void make_step(const struct speaker *speaker, uint32_t line, unsigned number,
		      struct step *step)
{
	bool reply = speaker->lines[line].reply;

	memset(step, 0, sizeof(*step));
	step->craft = speaker->ends[reply];
	step->craft.tcp_flags = speaker->lines[line].flags;
	step->craft.payload = speaker->lines[line].size;
	step->craft.seq = speaker->lines[line].seq;
	step->craft.ack = speaker->lines[line].ack;
	step->way = speaker->way;
	step->in = speaker->near;
	step->out = speaker->far;
	step->reply = reply;
	step->speaker = number;
	if (!reply)
		return;
	step->in = speaker->far;
	step->out = speaker->near;
	if (speaker->way == WAY_TO_SELF)
		step->way = WAY_FROM_SELF;
	else if (speaker->way == WAY_FROM_SELF)
		step->way = WAY_TO_SELF;
}

/* A conversation with this host has one interface: where it arrives, it also leaves. */
static void one_interface(struct speaker *speaker)
{
	if (speaker->way != WAY_FORWARD)
		speaker->far = speaker->near;
}

void talk_random(struct random *r, bool calm, struct talk *talk)
{
	struct speaker speakers[TALK_SPEAKERS];
	uint32_t said[TALK_SPEAKERS] = { 0 }, n = random_between(r, 1, TALK_SPEAKERS), left = 0;

	talk->n = 0;
	for (uint32_t i = 0; i < n; i++) {
		choose_ends(r, &speakers[i]);
		one_interface(&speakers[i]);
		write_script(r, &speakers[i], calm);
		if (!calm)
			disturb_script(r, &speakers[i]);
		left += speakers[i].n;
	}
	while (left && talk->n < TALK_STEPS) {
		uint32_t i = random_below(r, n);
		struct step *step = &talk->steps[talk->n];

		while (said[i] == speakers[i].n)
			i = (i + 1) % n;
		make_step(&speakers[i], said[i]++, i, step);
		world_mac(step->in, step->craft.target_mac);
		if (!calm)
			disturb_step(r, step);
		talk->n++;
		left--;
		if (calm || talk->n == TALK_STEPS || !random_chance(r, 15))
			continue;
		/* About any of the packets so far; also about errors, which nobody answers. */
		make_error(r, &talk->steps[random_below(r, talk->n)], &talk->steps[talk->n]);
		talk->n++;
	}
}
