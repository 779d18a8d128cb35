#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces come, go, and become something else, while forbidden packets of both families arrive
through them all the time: none is heard by a socket of this host or of another, with reeved and
with nobody but the guard. What is allowed passes again once somebody has looked.

First everything is done without a policy, and the same packets are heard at every step: so the
silence later is reeve's.
"""

import contextlib
import fcntl
import os
import socket
import struct
import threading
import time

from e2e import Skip, eventually, holds, main, run, same, test, try_run
from flood import folded, words_of
from follow import ALLOWED, DROPPED, LATE_MAC, POLICY, late_make, make_world, reeved

# On lo, so that no change of an interface takes them away.
HERE = {4: "10.98.0.1", 6: "2001:db8:98::1"}
SOURCE = {4: "10.99.0.2", 6: "2001:db8:99::2"}
OTHER_MAC = "02:00:00:00:99:02"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000
TIMES = 3


# --- the stream -----------------------------------------------------------------------------------


def datagram(family, to, port):
    """A UDP packet without a link header."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    ends = socket.inet_pton(kind, SOURCE[family]) + socket.inet_pton(kind, to)
    payload = b"stream"
    length = 8 + len(payload)
    udp = struct.pack("!HHHH", 4000, port, length, 0) + payload
    total = folded(words_of(ends) + words_of(udp) + 17 + length)
    udp = udp[:6] + struct.pack("!H", total) + udp[8:]
    if family == 6:
        return struct.pack("!IHBB", 6 << 28, length, 17, 64) + ends + udp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, 17, 0) + ends
    return head[:10] + struct.pack("!H", folded(words_of(head))) + head[12:] + udp


class Stream(threading.Thread):
    """Forbidden and allowed packets of both families, to this host and to be forwarded, through
    everything that write() functions lead into; again and again."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.writers = []
        self.rounds = 0
        self.going = True
        self.newest = False  # only through what came last
        ends = [HERE, world.peer.address]
        self.packets = [(family, datagram(family, to[family], port))
                        for port in (DROPPED, ALLOWED) for to in ends for family in (4, 6)]

    def run(self):
        while self.going:
            for write in self.writers[-1:] if self.newest else list(self.writers):
                for family, packet in self.packets:
                    with contextlib.suppress(OSError):
                        write(family, packet)
            self.rounds += 1
            time.sleep(0.001)

    def pass_by(self, rounds=4):
        """Waits until so many rounds have been sent."""
        until = self.rounds + rounds
        eventually(lambda: self.rounds >= until, "the stream goes on", 10)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.going = False
        self.join(5)


def framed(world, interface, mac, source):
    """A write() of Ethernet frames out of an interface of the namespace `late` or `peer`."""
    sock = world.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    world.world.closers.append(sock.close)
    sock.bind((interface, 0))
    head = bytes.fromhex((mac + source).replace(":", ""))

    def write(family, packet):
        sock.send(head + (b"\x08\x00" if family == 4 else b"\x86\xdd") + packet)
    return write


def heard(world, port):
    """{(family, who): how many datagrams of the stream came}"""
    found = {(family, who): 0 for family in (4, 6) for who in ("host", "peer")}
    for who, echo in (("host", world.echo), ("peer", world.peer_echo)):
        for row in list(echo.heard):
            if row[1] == port and row[3] == b"stream":
                found[6 if ":" in row[2] else 4, who] += 1
    return found


def listen_anew(world):
    for echo in (world.echo, world.peer_echo):
        del echo.heard[:]


def all_heard(world, port, what):
    """From now on, in both families, here and at the other host."""
    before = heard(world, port)
    try:
        eventually(lambda: all(count > before[name] for name, count in heard(world, port).items()),
                   what, 10)
    except AssertionError as error:
        raise AssertionError(f"{error}: before {before}, then {heard(world, port)}") from error


def none_heard(world, what):
    found = heard(world, DROPPED)
    same(found, dict.fromkeys(found, 0), f"{what}: forbidden packets that were heard")


# --- changes --------------------------------------------------------------------------------------
# Each ends as it began, with late0 in the host and up. It yields after every step, whether packets
# of the stream would pass now if there were no policy.


def down_and_up(world, _):
    for _ in range(2):
        world.host.ip("link set late0 down")
        yield False
        world.host.ip("link set late0 up")
        yield True


def rename(world, _):
    for old, new in (("late0", "late1"), ("late1", "spare0"), ("spare0", "eth9"), ("eth9", "late0")):
        world.host.ip(f"link set {old} name {new}")
        yield True


def between_bridges(world, _):
    for lines in (["link set late0 master br0"], ["link set late0 master br1"],
                  ["link set late0 nomaster"], ["link set late0 master br1"],
                  ["link set late0 nomaster", "link set late0 master br0"],
                  ["link set late0 nomaster"]):
        world.host.ip(*lines)
        yield True


def into_a_bond(world, _):
    world.host.ip("link set late0 down", "link set late0 master bond0")
    yield True
    world.host.ip("link set late0 nomaster", "link set late0 up")
    yield True
    world.host.ip("link set late0 down", "link set late0 master bond0")
    yield True
    world.host.ip("link set late0 nomaster", f"link set late0 address {LATE_MAC}",
                  "link set late0 up")
    yield True


def to_another_namespace(world, _):
    away = world.away
    world.host.ip(f"link set late0 netns {away.name}")
    yield False
    away.ip("link set late0 up")
    yield False
    away.ip("link set late0 down", f"link set late0 netns {world.host.name}")
    yield False
    world.host.ip("link set late0 up")
    yield True


def away_under_another_name(world, _):
    """It comes back as what no zone names, and only then gets its name again."""
    away = world.away
    world.host.ip(f"link set late0 netns {away.name}")
    away.ip("link set late0 name spare0", f"link set spare0 netns {world.host.name}")
    world.host.ip("link set spare0 up")
    yield True
    world.host.ip("link set spare0 name late0")
    yield True


def gone_and_new(world, stream):
    world.host.ip("link del late0")
    yield False
    stream.writers.remove(world.into)
    begin_late(world, stream)
    yield True


def another_interface(world, stream):
    """A second one comes and goes; late0 stays."""
    host, late = world.host, world.late
    run("ip", "link", "add", "late5", "address", OTHER_MAC, "netns", host.name, "type", "veth",
        "peer", "name", "eth5", "netns", late.name)
    late.ip("link set eth5 up")
    host.ip("link set late5 up")
    write = framed(late, "eth5", OTHER_MAC, late.mac("eth5"))
    stream.writers.append(write)
    yield True
    stream.writers.remove(write)
    host.ip("link del late5")
    yield True


def a_vlan(world, stream):
    host = world.host
    host.ip("link add link late0 name vlan7 type vlan id 7", "link set vlan7 up")
    plain = world.into

    def write(family, packet):
        plain.raw(b"\x81\x00\x00\x07" + (b"\x08\x00" if family == 4 else b"\x86\xdd") + packet)
    stream.writers.append(write)
    yield True
    stream.writers.remove(write)
    host.ip("link del vlan7")
    yield True


def a_vxlan(world, stream):
    host = world.host
    host.ip("link add vxlan0 address 02:00:00:00:55:01 type vxlan id 7 local 10.77.1.1 "
            "remote 10.77.1.10 dstport 4789 dev eth0", "link set vxlan0 up")
    write = framed(world.peer, "vxlan0", "02:00:00:00:55:01", world.peer.mac("vxlan0"))
    stream.writers.append(write)
    yield True
    host.ip("link set vxlan0 down")
    yield False
    host.ip("link set vxlan0 up")
    yield True
    stream.writers.remove(write)
    host.ip("link del vxlan0")
    yield True


def a_tun(world, stream):
    with world.host:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))

    def write(_, packet):
        os.write(fd, packet)
    world.host.ip("link set tun0 up")
    stream.writers.append(write)
    yield True
    stream.writers.remove(write)
    stream.pass_by(1)  # it does not write into what is closed now
    os.close(fd)
    yield True


CHANGES = {
    "it goes down and up": down_and_up,
    "it is renamed, also out of its zone": rename,
    "it is moved between bridges": between_bridges,
    "it is enslaved to a bond": into_a_bond,
    "it is moved to another namespace and back": to_another_namespace,
    "it comes back from another namespace under another name": away_under_another_name,
    "it is removed and made anew": gone_and_new,
    "another interface comes and goes": another_interface,
    "a VLAN comes and goes": a_vlan,
    "a VXLAN comes and goes": a_vxlan,
    "a tun device comes and goes": a_tun,
}

NEEDS = {into_a_bond: "has_bond", a_vxlan: "has_vxlan", a_vlan: "has_vlan", a_tun: "has_tun"}


# --- the tests ------------------------------------------------------------------------------------


def begin_late(world, stream):
    late_make(world)
    late = world.late
    mac = late.mac("eth0")
    world.into = framed(late, "eth0", LATE_MAC, mac)
    sock = late.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    world.closers.append(sock.close)
    sock.bind(("eth0", 0))
    head = bytes.fromhex((LATE_MAC + mac).replace(":", ""))
    world.into.raw = lambda tail: sock.send(head + tail)
    stream.writers.append(world.into)


@contextlib.contextmanager
def streaming(world):
    """Late0 as it is in the beginning, and the stream through it."""
    with Stream(world) as stream:
        begin_late(world, stream)
        listen_anew(world)
        try:
            yield stream
        finally:
            try_run("ip", "-n", world.away.name, "link", "del", "late0")
            for name in ("late0", "late1", "late5", "spare0", "eth9", "vxlan0", "tun0"):
                try_run("ip", "-n", world.host.name, "link", "del", name)


def demand(world, change):
    if not getattr(world, NEEDS.get(change, "host")):
        raise Skip(f"this kernel lacks what `{change.__name__}` needs")


def without_policy(world, change):
    """Every step that says so is open in all ways: the stream reaches what it is meant to."""
    world.host.reeve("down")
    with streaming(world) as stream:
        stream.newest = True
        for number, open_now in enumerate(change(world, stream)):
            if open_now:
                all_heard(world, DROPPED, f"without a policy, step {number}")


def with_policy(world, change, follow):
    host = world.host
    host.apply(POLICY)
    with streaming(world) as stream:
        host.reeve("sync")
        all_heard(world, ALLOWED, "allowed packets, in the beginning")
        for turn in range(TIMES):
            for number, _ in enumerate(change(world, stream)):
                # The last turn is as fast as can be.
                stream.pass_by(4 if turn < TIMES - 1 else 0)
                none_heard(world, f"turn {turn}, step {number}")
            if not follow:
                stream.pass_by(10)
                none_heard(world, f"turn {turn}, before sync")
                host.reeve("sync")
            all_heard(world, ALLOWED, f"turn {turn}: allowed packets pass again")
            none_heard(world, f"turn {turn}")


def register(title, change):
    @test(f"{title}: nothing forbidden passes, with the guard alone and with reeved", 120)
    def _(world):
        demand(world, change)
        without_policy(world, change)
        with_policy(world, change, False)
        world.host.apply(POLICY)
        with reeved(world.host):
            with_policy(world, change, True)


for name, what in CHANGES.items():
    register(name, what)


@test("all of it at once, in no order: nothing forbidden passes", 120)
def _(world):
    host = world.host
    host.apply(POLICY)
    changes = [change for change in CHANGES.values()
               if getattr(world, NEEDS.get(change, "host")) and change is not gone_and_new]
    apart = [change for change in changes if change in (a_tun, a_vxlan, another_interface)]
    ours = [change for change in changes if change not in apart]
    with reeved(host), streaming(world) as stream:
        for turn in range(TIMES):
            # Those that do not touch late0 go on amid the steps of those that do.
            others = [step for change in apart for step in [change(world, stream)]]
            for change in ours[turn:] + ours[:turn]:
                for _ in change(world, stream):
                    for step in others:
                        next(step, None)
                    none_heard(world, change.__name__)
            for step in others:
                for _ in step:
                    pass
            all_heard(world, ALLOWED, "allowed packets pass again")
        none_heard(world, "at the end")
        holds(stream.rounds > 100, "the stream stood still")


def offers(world, *words):
    """Has the kernel such a device?"""
    done = try_run("ip", "-n", world.host.name, "link", "add", "probe0", *words)
    if done.returncode == 0:
        world.host.ip("link del probe0")
    return done.returncode == 0


def churn_world():
    world = make_world("churn")
    host, peer = world.host, world.peer
    world.away = world.namespace("away")
    host.ip(*(f"addr add {HERE[family]} dev lo" for family in (4, 6)),
            *(f"neigh replace {peer.address[family]} lladdr {peer.mac('eth0')} dev eth0 nud permanent"
              for family in (4, 6)))
    world.has_bond = offers(world, "type", "bond", "mode", "active-backup")
    world.has_vxlan = offers(world, "type", "vxlan", "id", "9", "dstport", "4790")
    world.has_vlan = offers(world, "link", "eth0", "type", "vlan", "id", "9")
    world.has_tun = os.path.exists("/dev/net/tun")
    for number in (0, 1):
        host.ip(f"link add br{number} address {LATE_MAC} type bridge forward_delay 0",
                f"link set br{number} up")
    if world.has_bond:
        host.ip("link add bond0 type bond mode active-backup", "link set bond0 up")
    if world.has_vxlan:
        peer.ip("link add vxlan0 type vxlan id 7 local 10.77.1.10 remote 10.77.1.1 dstport 4789 "
                "dev eth0", "link set vxlan0 up")
    return world


main(churn_world)
