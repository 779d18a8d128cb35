#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP conversations packet by packet through the kernel's conntrack and through reeve: the same pass, or it is known why.

Both ends are played: frames are sent from either side of a forwarding firewall, between addresses that
no host has, and what comes out at the other side is compared. Random conversations with loss,
repetition, reordering, wrong numbers and strays. REEVE_SEED and REEVE_ROUNDS choose others.
"""

import os
import random
import socket
import struct
import time

from e2e import ETH_P_ALL, Skip, holds, main, router_world, run_nft, same, test

CLIENT, SERVER = "10.77.1.200", "203.0.113.200"
PORT = 80
PATIENCE = 0.008  # what has not come out after that does not: the kernel forwards in the sender's own time
ROUNDS = int(os.environ.get("REEVE_ROUNDS", "150"))
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

NFT = f"""
add table ip judge
add chain ip judge forward {{ type filter hook forward priority 0; policy drop; }}
add rule ip judge forward ct state invalid drop
add rule ip judge forward ct state established,related accept
add rule ip judge forward iifname "lan0" tcp dport {PORT} tcp flags syn / syn,ack,fin,rst accept
"""
POLICY = f"""zone lan = lan0
zone wan = wan0
options {{ tcp-pickup off }}
policy lan -> wan default drop {{ allow {PORT}/tcp flags syn/syn,ack,fin,rst }}
policy wan -> lan default drop
"""


class Segment:
    def __init__(self, reply, flags, seq, ack, size, window=20000, scale=None):
        self.reply = reply
        self.flags = flags
        self.seq, self.ack, self.size = seq & 0xffffffff, ack & 0xffffffff, size
        self.window, self.scale = window, scale
        self.old = False  # older than a window

    def copy(self, **changes):
        made = Segment(self.reply, self.flags, self.seq, self.ack, self.size, self.window, self.scale)
        made.__dict__.update(changes)
        return made

    def __str__(self):
        names = "".join(letter for bit, letter in ((SYN, "S"), (FIN, "F"), (RST, "R"), (ACK, "A"))
                        if self.flags & bit)
        return (f"{'<' if self.reply else '>'} {names} seq {self.seq} ack {self.ack} +{self.size} "
                f"win {self.window}" + (f" scale {self.scale}" if self.scale is not None else ""))


class Script:
    """A well-behaved connection, then disturbed."""

    def __init__(self, dice):
        self.dice = dice
        self.next = [dice.getrandbits(32), dice.getrandbits(32)]
        self.scale = [dice.choice((None, 0, 3, 7)) for _ in range(2)]
        self.segments = []
        self.open()
        for _ in range(dice.randrange(8)):
            self.say(dice.random() < 0.5, ACK | PSH, dice.randrange(1, 400))
            if dice.random() < 0.5:
                self.say(not self.segments[-1].reply, ACK, 0)
        self.close()
        self.disturb()

    def say(self, reply, flags, size):
        syn = bool(flags & SYN)
        self.segments.append(Segment(reply, flags, self.next[reply],
                                     self.next[not reply] if flags & ACK else 0, size,
                                     scale=self.scale[reply] if syn else None))
        self.next[reply] += size + syn + bool(flags & FIN)

    def open(self):
        self.say(False, SYN, 0)
        if self.dice.random() < 0.1:
            self.say(True, RST | ACK, 0)
            return
        self.say(True, SYN | ACK, 0)
        self.say(False, ACK, 0)

    def close(self):
        first = self.dice.random() < 0.5
        kind = self.dice.randrange(4)
        if kind == 0:
            self.say(first, FIN | ACK, 0)
            self.say(not first, ACK, 0)
            self.say(not first, ACK, 30)
            self.say(not first, FIN | ACK, 0)
            self.say(first, ACK, 0)
        elif kind == 1:
            self.say(first, FIN | ACK, 0)
            self.say(not first, FIN | ACK, 0)
            self.say(first, ACK, 0)
        elif kind == 2:
            self.say(first, RST, 0)

    def disturb(self):
        dice, i = self.dice, 1
        while i < len(self.segments):
            kind, segment = dice.randrange(100), self.segments[i]
            if kind < 4:
                del self.segments[i]
            elif kind < 8:
                self.segments.insert(i, segment.copy())
                i += 1
            elif kind < 12 and i + 1 < len(self.segments):
                self.segments[i:i + 2] = [self.segments[i + 1], segment]
            elif kind < 18:
                far = dice.choice((1 << 30, -(1 << 30), 1 << 24, -100000))
                field = dice.choice(("seq", "ack"))
                if field == "seq" or segment.flags & ACK:
                    self.segments.insert(i, segment.copy(
                        **{field: (getattr(segment, field) + far) & 0xffffffff}, old=far < 0))
                    i += 1
            elif kind < 21:
                self.segments.insert(i, segment.copy(flags=RST, ack=0, size=0, scale=None, seq=(
                    segment.seq + dice.choice((1 << 29, -(1 << 29)))) & 0xffffffff))
                i += 1
            i += 1


def checksum(data):
    data += b"\0" * (len(data) & 1)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~((total & 0xffff) + (total >> 16)) & 0xffff


def frame(segment, number, port, macs):
    """IP's identification is the segment's number, by which it is known again."""
    source, target = (SERVER, CLIENT) if segment.reply else (CLIENT, SERVER)
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    ports = (PORT, port) if segment.reply else (port, PORT)
    options = b"" if segment.scale is None else bytes((3, 3, segment.scale, 1))
    tcp = struct.pack("!HHIIBBHHH", *ports, segment.seq, segment.ack, (5 + len(options) // 4) << 4,
                      segment.flags, segment.window, 0, 0) + options + b"x" * segment.size
    tcp = tcp[:16] + struct.pack("!H", checksum(
        addresses + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), number, 0, 64, 6, 0) + addresses
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return macs[segment.reply] + b"\x08\x00" + ip + tcp


class Players:
    """Raw sockets on both sides."""

    def __init__(self, world):
        self.ends = []
        self.macs = []
        for at, near in ((world.client, "lan0"), (world.server, "wan0")):
            sock = at.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            sock.bind(("eth0", ETH_P_ALL))
            sock.setblocking(False)
            self.ends.append(sock)
            self.macs.append(bytes.fromhex(
                (world.firewall.mac(near) + at.mac("eth0")).replace(":", "")))

    def drain(self, reply, port, numbers):
        """The segments of the connection that have come out opposite."""
        sock = self.ends[not reply]
        source = socket.inet_aton(SERVER if reply else CLIENT)
        while True:
            try:
                data, (_, _, kind, _, _) = sock.recvfrom(4096)
            except BlockingIOError:
                return
            at = 36 if reply else 34
            if kind != socket.PACKET_OUTGOING and data[12:14] == b"\x08\x00" \
                    and data[26:30] == source and data[at:at + 2] == struct.pack("!H", port):
                numbers.add(struct.unpack("!H", data[18:20])[0])

    def play(self, segments, port, patience=PATIENCE):
        """Which of them pass, by number."""
        numbers = set()
        for number, segment in enumerate(segments, 1):
            self.ends[segment.reply].send(frame(segment, number, port, self.macs))
            end = time.monotonic() + patience
            while number not in numbers and time.monotonic() < end:
                self.drain(segment.reply, port, numbers)
        return [number in numbers for number in range(1, len(segments) + 1)]


def prepare(world):
    firewall = world.firewall
    firewall.ip(f"neigh replace {CLIENT} lladdr {world.client.mac('eth0')} dev lan0",
                f"neigh replace {SERVER} lladdr {world.server.mac('eth0')} dev wan0")
    return Players(world)


def with_conntrack(world, play):
    try:
        run_nft(world.firewall, NFT)
        world.firewall.sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
    except (RuntimeError, OSError) as error:
        raise Skip(f"no conntrack here: {error}") from error
    found = play()
    run_nft(world.firewall, "delete table ip judge")
    return found


def with_reeve(world, play):
    world.firewall.apply(POLICY)
    found = play()
    world.firewall.reeve("down")
    return found


def reason(segments, number, theirs, ours):
    """Why the two may differ about a segment, as docs/STATE.md lists it; None: they may not."""
    segment, before = segments[number], segments[:number]
    passed = [other for other, one, two in zip(before, theirs, ours) if one and two]
    complete = any(other.flags & ACK and not other.reply for other in passed)
    if segment.old:
        return "older than a window"
    if len({other.seq for other in before if other.flags == SYN | ACK}) > 1:
        return "another SYN-ACK"
    if segment.flags == RST and any(other.flags & FIN for other in passed):
        return "a reset while it closes"
    if complete:
        return None
    if any(other.flags & RST for other in passed):
        return "behind a refusal"
    if segment.flags == RST:
        return "a reset before the handshake is through"
    if segment.flags & ACK and not segment.reply and ours[number]:
        return "the handshake's last ACK comes late"
    return None


@test("random TCP conversations: what conntrack lets pass passes, what it finds invalid does not", 100)
def _(world):
    seed = int(os.environ.get("REEVE_SEED", "1"))
    dice = random.Random(seed)
    print(f"# REEVE_SEED={seed}")
    players = prepare(world)
    scripts = [Script(dice).segments for _ in range(ROUNDS)]
    conntrack, reeve = both(world, players, scripts, 10000, PATIENCE)
    wrong, known = differences(scripts, conntrack, reeve)
    if wrong:
        # A busy machine may be late: only what is seen again counts.
        scripts = [scripts[number] for number, _ in wrong]
        conntrack, reeve = both(world, players, scripts, 30000, 0.2)
        wrong, _ = differences(scripts, conntrack, reeve)
    total = sum(len(segments) for segments in scripts)
    print(f"# {total} segments, {sum(map(sum, reeve))} pass; known differences: {known}")
    holds(sum(map(sum, reeve)) > total // 3, "hardly anything passes")
    same(len(wrong), 0, f"conntrack, reeve (REEVE_SEED={seed}):\n"
         + "\n\n".join(text for _, text in wrong[:5]))


def both(world, players, scripts, port, patience):
    def play(first):
        return [players.play(segments, first + i, patience) for i, segments in enumerate(scripts)]

    # Other ports for reeve: at the first apply it takes over what conntrack still knows.
    return (with_conntrack(world, lambda: play(port)),
            with_reeve(world, lambda: play(port + 10000)))


def differences(scripts, conntrack, reeve):
    """Conversations that went otherwise than may be, as (number, text); and how often they may, by reason."""
    wrong, known = [], {}
    for i, (segments, theirs, ours) in enumerate(zip(scripts, conntrack, reeve)):
        for number, (one, other) in enumerate(zip(theirs, ours)):
            if one == other:
                continue
            why = reason(segments, number, theirs, ours)
            if why:
                known[why] = known.get(why, 0) + 1
                break  # what follows follows from it
            wrong.append((i, "\n".join(f"{'pass' if a else 'drop'} {'pass' if b else 'drop'} {text}"
                                       for a, b, text in zip(theirs, ours, map(str, segments)))))
            break
    return wrong, known


def make_world():
    return router_world("conntrack")


main(make_world)
