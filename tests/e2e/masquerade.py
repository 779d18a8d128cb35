#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Masquerade and the addresses of this host, as they come, change and go.

REEVE_WITHOUT=route-source in the environment makes programs take what they are told instead of
asking the kernel's routes; all here holds either way."""

import contextlib
import socket

from e2e import Echo, eventually, holds, main, ping, router_world, same, tcp, test, udp
from follow import left_out, reeved

OUT = 1001
POLICY = """
zone wan = { wan0, "late*" }
zone lan = lan0
policy lan -> wan default allow
policy lan -> self default allow
policy self -> any default allow
nat lan -> wan { masquerade }
"""
SECOND = {4: "203.0.113.7", 6: "2001:db8:203::7"}
LENGTH = {4: 24, 6: 64}
TOLD = left_out("route-source")


def heard_as(world, family):
    """The address by which a new flow reaches the server; None if it does not."""
    world.echo.heard.clear()
    if udp(world.client, world.server.address[family], OUT, patience=0.4) != "open":
        return None
    return {peer for _, at, peer, _ in world.echo.heard if at == OUT}.pop()


def addresses(world, *lines):
    world.firewall.ip(*(f"addr {line}" for line in lines))


def moved(world, family):
    """wan0 has another address now, instead of the first one."""
    old, new, length = world.firewall.wan[family], SECOND[family], LENGTH[family]
    addresses(world, f"add {new}/{length} dev wan0" + " nodad" * (family == 6),
              f"del {old}/{length} dev wan0")
    if family == 4 and new not in world.firewall.run("ip", "-4", "addr", "show", "dev", "wan0"):
        addresses(world, f"add {new}/{length} dev wan0")  # a second address goes with the first


def moved_back(world, family):
    old, new, length = world.firewall.wan[family], SECOND[family], LENGTH[family]
    world.firewall.try_run("ip", "addr", "del", f"{new}/{length}", "dev", "wan0")
    world.firewall.try_run("ip", "addr", "add", f"{old}/{length}", "dev", "wan0", *["nodad"] * (family == 6))


@contextlib.contextmanager
def held(world, family):
    """A TCP connection through the firewall that has been answered."""
    with world.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                             socket.SOCK_STREAM) as sock:
        sock.connect((world.server.address[family], OUT))
        sock.send(b"one")
        same(sock.recv(10), b"one")
        yield sock


def flows_by(world, address):
    return [flow for flow in world.firewall.flows()
            if flow.get("translated") and flow["translated"]["originator"]["address"] == address]


@test("both families, TCP, UDP and ping leave by the address of the leaving interface")
def _(world):
    world.firewall.apply(POLICY)
    for family in (4, 6):
        world.echo.heard.clear()
        same(tcp(world.client, world.server.address[family], OUT), "open")
        same(udp(world.client, world.server.address[family], OUT), "open")
        same(ping(world.client, world.server.address[family]), "open")
        same({peer for _, _, peer, _ in world.echo.heard}, {world.firewall.wan[family]})
    same(world.firewall.statistics()["nat-exhausted"], 0)


@test("apply warns where only sync follows another address; with reeved it need not")
def _(world):
    file = world.firewall.policy(POLICY)
    said = world.firewall.try_reeve("apply", file).stderr
    same("reeve sync" in said, TOLD, said)
    with reeved(world.firewall) as daemon:
        eventually(lambda: "covers" in daemon.said(), "it has looked", 10)
        said = world.firewall.try_reeve("apply", file).stderr
        same("reeve sync" in said, False, said)
    said = world.firewall.try_reeve("apply", "--dry-run", world.firewall.policy(
        POLICY.replace("masquerade", "source to 203.0.113.1"))).stderr
    same("reeve sync" in said, False, said)


@test("sync: new flows take the new address, and flows by the old one end", 60)
def _(world):
    world.firewall.apply(POLICY)
    for family in (4, 6):
        with held(world, family):
            same(len(flows_by(world, world.firewall.wan[family])) > 0, True)
            moved(world, family)
            try:
                if TOLD:
                    holds(heard_as(world, family) != SECOND[family], "nobody has said so yet")
                said = world.firewall.reeve("sync")
                holds("whose address has gone" in said, said)
                same(f"masquerade takes {SECOND[family]} now" in said, TOLD, said)
                same(heard_as(world, family), SECOND[family])
                same(flows_by(world, world.firewall.wan[family]), [])
                same("nothing to do" in world.firewall.reeve("sync"), True)
            finally:
                moved_back(world, family)
                world.firewall.reeve("sync")
        same(heard_as(world, family), world.firewall.wan[family])


@test("reeved does so by itself; another flow, to an address that stays, lives on", 60)
def _(world):
    world.firewall.apply(POLICY)
    with reeved(world.firewall) as daemon, held(world, 4) as four, held(world, 6) as six:
        eventually(lambda: "covers" in daemon.said(), "it has looked", 10)
        for family, other in ((4, six), (6, four)):
            moved(world, family)
            try:
                eventually(lambda f=family: heard_as(world, f) == SECOND[f], "it takes the new address")
                eventually(lambda f=family: not flows_by(world, world.firewall.wan[f]), "the old flows end")
                if family == 4:
                    other.send(b"two")
                    same(other.recv(10), b"two")
            finally:
                moved_back(world, family)
            eventually(lambda f=family: heard_as(world, f) == world.firewall.wan[f], "and the old one again")
        holds("whose address has gone" in daemon.said(), daemon.said())


@test("UDP between the same two ends goes on by the new address, without another socket", 60)
def _(world):
    world.firewall.apply(POLICY)
    for family in (4, 6):
        with world.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                                 socket.SOCK_DGRAM) as sock:
            sock.connect((world.server.address[family], OUT))
            sock.send(b"one")
            same(sock.recv(10), b"one")
            moved(world, family)
            try:
                world.firewall.reeve("sync")
                world.echo.heard.clear()
                sock.send(b"two")
                same(sock.recv(10), b"two")
                same({peer for _, _, peer, _ in world.echo.heard}, {SECOND[family]})
            finally:
                moved_back(world, family)
                world.firewall.reeve("sync")


@test("flows translated to an address by `source` live on when it goes from the interface")
def _(world):
    world.firewall.apply(POLICY.replace("masquerade", "source to 203.0.113.1"))
    with held(world, 4):
        moved(world, 4)
        try:
            said = world.firewall.reeve("sync")
            same("whose address has gone" in said, False, said)
            same(len(flows_by(world, "203.0.113.1")) > 0, True)
        finally:
            moved_back(world, 4)


@test("no address at all: the new flow is dropped and counted; with one again it goes on")
def _(world):
    world.firewall.apply(POLICY)
    target = world.server.address[4]
    before = world.firewall.statistics()["nat-exhausted"]
    # What is of the link's scope is no source for the world.
    addresses(world, "del 203.0.113.1/24 dev wan0", "del 10.77.1.1/24 dev lan0",
              "add 10.77.1.1/24 dev lan0 scope link")
    world.firewall.ip(f"route add {target}/32 dev wan0")
    try:
        world.firewall.reeve("sync")
        same(heard_as(world, 4), None)
        holds(world.firewall.statistics()["nat-exhausted"] > before, "it is counted")
    finally:
        world.firewall.ip(f"route del {target}/32")
        addresses(world, "del 10.77.1.1/24 dev lan0", "add 10.77.1.1/24 dev lan0",
                  "add 203.0.113.1/24 dev wan0")
        world.firewall.reeve("sync")
    same(heard_as(world, 4), "203.0.113.1")


@test("a route that names its source decides, also against the first address")
def _(world):
    world.firewall.apply(POLICY)
    target = {4: "198.18.9.9", 6: "2001:db8:9::9"}
    for family in (4, 6):
        bits, everything = (32, "0.0.0.0/0") if family == 4 else (128, "::/0")
        nodad = " nodad preferred_lft 0" * (family == 6)
        world.server.ip(f"addr add {target[family]}/{bits} dev lo")
        addresses(world, f"add {SECOND[family]}/{LENGTH[family]} dev wan0{nodad}")
        world.firewall.ip(f"route add {everything} via {world.server.address[family]} dev wan0 "
                          f"src {SECOND[family]}")
        try:
            world.firewall.reeve("sync")
            with world.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                                     socket.SOCK_DGRAM) as sock:
                world.echo.heard.clear()
                sock.sendto(b"x", (target[family], OUT))
                eventually(lambda: world.echo.heard, "it arrives")
            same({peer for _, _, peer, _ in world.echo.heard}, {SECOND[family]})
        finally:
            world.firewall.ip(f"route del {everything} dev wan0")
            addresses(world, f"del {SECOND[family]}/{LENGTH[family]} dev wan0")
            world.server.ip(f"addr del {target[family]}/{bits} dev lo")
            world.firewall.reeve("sync")


@test("an interface that comes later is masqueraded by its own address")
def _(world):
    world.firewall.apply(POLICY)
    with reeved(world.firewall) as daemon:
        eventually(lambda: "covers" in daemon.said(), "it has looked", 10)
        world.link(world.firewall, "late0", world.server, "eth7")
        addresses(world, "add 192.0.2.1/24 dev late0")
        world.server.ip("addr add 192.0.2.80/24 dev eth7")
        try:
            def answered():
                world.echo.heard.clear()
                return udp(world.client, "192.0.2.80", OUT, patience=0.3) == "open"
            eventually(answered, "it gets through", 10)
            same({peer for _, _, peer, _ in world.echo.heard}, {"192.0.2.1"})
        finally:
            world.firewall.ip("link del late0")
        eventually(lambda: not flows_by(world, "192.0.2.1"), "its flows end")


@test("an apply of another policy keeps what programs are told")
def _(world):
    world.firewall.apply(POLICY)
    for text in (POLICY + "# again\n", POLICY.replace("nat lan", "# nat lan"), POLICY):
        world.firewall.apply(text)
    same(heard_as(world, 4), world.firewall.wan[4])


def build(name):
    world = router_world(name)
    # Nobody outside knows the way to inner addresses.
    world.server.ip("route del default", "route del ::/0")
    world.echo = Echo(world.server, OUT)
    return world


if __name__ == "__main__":
    main(lambda: build("masquerade"))
