#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fifty thousand translated flows at once: each is answered, and each answer finds its sender.

Frames are made here, in the client and in the server, so that neither needs a socket a flow.
"""

import collections
import select
import socket
import struct
import threading
import time

from e2e import ETH_P_ALL, SO_RCVBUFFORCE, holds, main, router_world, same, test

FLOWS, HOSTS, FIRST_PORT, PORT = 50_000, 50, 20000, 9
WINDOW = 400  # packets on their way at once, so that no queue is too short for them
HEAD = """
zone wan = wan0
zone lan = lan0
policy lan -> wan default allow
policy self -> any default allow
"""
PREFIX = {4: "10.88.0.", 6: "fd00:88::"}
POOL = {4: "203.0.113.100-203.0.113.103", 6: "2001:db8:203::100-2001:db8:203::103"}


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def sum_of(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return (total & 0xffff) + (total >> 16)


class Frames:
    """UDP frames of one family between two links, and back: 4 bytes of data, the flow's number."""

    def __init__(self, family, source_mac, target_mac):
        self.family = family
        self.link = (bytes.fromhex(target_mac.replace(":", "")) +
                     bytes.fromhex(source_mac.replace(":", "")) +
                     (b"\x08\x00" if family == 4 else b"\x86\xdd"))
        self.header, self.addresses = (20, 12) if family == 4 else (40, 8)
        self.size = 4 if family == 4 else 16

    def make(self, source, source_port, target, target_port, data):
        udp = struct.pack("!HHHH", source_port, target_port, 8 + len(data), 0)
        pseudo = sum_of(source + target + udp + data) + 17 + len(udp + data)
        check = ~((pseudo & 0xffff) + (pseudo >> 16)) & 0xffff or 0xffff
        udp = udp[:6] + struct.pack("!H", check) + data
        if self.family == 6:
            return self.link + struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + source + target + udp
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + source + target
        return self.link + ip[:10] + struct.pack("!H", ~sum_of(ip) & 0xffff) + ip[12:] + udp

    def read(self, frame):
        """(source, source port, target, target port, data), of what is UDP and has a right checksum."""
        if frame[12:14] != self.link[12:14] or frame[14 + (9 if self.family == 4 else 6)] != 17:
            return None
        at = 14 + self.addresses
        source, target = frame[at:at + self.size], frame[at + self.size:at + 2 * self.size]
        udp = frame[14 + self.header:]
        source_port, target_port, length, check = struct.unpack_from("!HHHH", udp)
        udp = udp[:length]
        total = sum_of(source + target + udp) + 17 + length
        if check and (total & 0xffff) + (total >> 16) != 0xffff:
            return None
        return source, source_port, target, target_port, udp[8:]


def wire(at, interface):
    sock = at.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
    sock.bind((interface, ETH_P_ALL))
    sock.setblocking(False)
    return sock


def arriving(sock):
    """The frames that have come in so far."""
    while True:
        try:
            frame, address = sock.recvfrom(2048)
        except BlockingIOError:
            return
        if address[2] != socket.PACKET_OUTGOING:
            yield frame


class Mirror(threading.Thread):
    """In the server: sends everything back, and remembers as whom each flow came."""

    def __init__(self, world, family):
        super().__init__(daemon=True)
        self.frames = Frames(family, world.server.mac("eth0"), world.firewall.mac("wan0"))
        self.sock = wire(world.server, "eth0")
        self.seen = collections.defaultdict(set)
        self.going = True

    def run(self):
        while self.going:
            select.select([self.sock], [], [], 0.1)
            for frame in arriving(self.sock):
                found = self.frames.read(frame)
                if found and found[3] == PORT:
                    source, source_port, target, target_port, data = found
                    self.seen[data].add((source, source_port))
                    self.sock.send(self.frames.make(target, target_port, source, source_port, data))

    def stop(self):
        self.going = False
        self.join()
        self.sock.close()


def sender(family, number):
    """Of this flow: hosts use the same ports."""
    return packed(PREFIX[family] + str(number % HOSTS + 1)), FIRST_PORT + number // HOSTS


def converse(world, family, flows=FLOWS):
    """One packet of each flow; {number: answers}, of those that came to who has asked."""
    frames = Frames(family, world.client.mac("eth0"), world.firewall.mac("lan0"))
    server, sock = packed(world.server.address[family]), wire(world.client, "eth0")
    right, wrong = collections.Counter(), []
    sent, heard, quiet = 0, 0, time.monotonic()
    while heard < flows and time.monotonic() - quiet < 3:
        while sent < flows and sent - heard < WINDOW:
            source, port = sender(family, sent)
            sock.send(frames.make(source, port, server, PORT, struct.pack("!I", sent)))
            sent += 1
        select.select([sock], [], [], 0.1)
        for frame in arriving(sock):
            found = frames.read(frame)
            if not found:
                continue
            number = struct.unpack("!I", found[4])[0]
            if found[:2] == (server, PORT) and found[2:4] == sender(family, number):
                right[number] += 1
                heard += 1
            else:
                wrong.append(found)
            quiet = time.monotonic()
    sock.close()
    same(wrong, [], "answers that somebody else got")
    return right


def all_at_once(world, family, outer, policy):
    """Twice: flows begin, and go on."""
    world.firewall.apply(HEAD + policy)
    before = world.firewall.statistics()
    mirror = Mirror(world, family)
    mirror.start()
    begin = time.monotonic()
    try:
        for round_ in ("begin", "go on"):
            right = converse(world, family)
            same(len(right), FLOWS, f"answered, as they {round_}; status: "
                 f"{world.firewall.statistics()['nat-exhausted']} without a port")
            same(set(right.values()), {1}, "answers for each")
    finally:
        mirror.stop()
    print(f"# IPv{family}: 2 x {FLOWS} packets there and back in {time.monotonic() - begin:.1f} s")
    seen = mirror.seen
    same(len(seen), FLOWS)
    same({len(ends) for ends in seen.values()}, {1}, "outer ends of one flow")
    ends = {end for found in seen.values() for end in found}
    same(len(ends), FLOWS, "different outer ends")
    same({address for address, _ in ends}, {packed(address) for address in outer})
    after = world.firewall.statistics()
    same(after["nat-exhausted"] - before["nat-exhausted"], 0)
    same(after["flows-new"] - before["flows-new"], FLOWS)
    holds(world.firewall.reeve_json("status")["flows"]["used"] >= FLOWS, "all of them are alive")
    world.firewall.reeve("flows", "kill", f"{PORT}/udp")


@test("50 000 flows by masquerade, to one port of one server: nearly all ports of the address", 60)
def _(world):
    all_at_once(world, 4, [world.firewall.wan[4]], "nat lan -> wan { masquerade }\n")


@test("50 000 flows from a pool of addresses, IPv6", 60)
def _(world):
    all_at_once(world, 6, [f"2001:db8:203::10{n}" for n in range(4)],
                f"nat lan -> wan {{ source to {POOL[6]} }}\n")


def build():
    world = router_world("natmany")
    world.server.ip("route del default", "route del ::/0")
    world.firewall.ip(f"route add {PREFIX[4]}0/24 via {world.client.address[4]}",
                      f"route add {PREFIX[6]}/64 via {world.client.address[6]}",
                      *(f"addr add {address}/{bits} dev wan0 nodad" for number in range(4)
                        for address, bits in ((f"203.0.113.10{number}", 24),
                                              (f"2001:db8:203::10{number}", 64))))
    # The senders are nobody: what comes for them must not be answered by the kernel.
    world.client.ip(f"route add blackhole {PREFIX[4]}0/24", f"route add blackhole {PREFIX[6]}/64")
    world.server.nft("table inet quiet { chain in { type filter hook input priority 0; "
                     f"udp dport {PORT} drop; }}\n}}\n")
    return world


main(build)
