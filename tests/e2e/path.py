#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a path needs of a forwarding firewall: ICMP errors about live flows, path MTU, fragments, ping, traceroute."""

import socket
import threading
import time

from e2e import (Echo, eventually, expect, holds, main, ping, router_world, same,
                 scapy_layers, send_frames, test, udp)

OPEN, CLOSED = 4001, 4002
SMALL_MTU = 1280
IP_MTU_DISCOVER, IP_RECVERR, IP_PMTUDISC_WANT = 10, 11, 1
IPV6_RECVERR = 25
MSG_ERRQUEUE = 0x2000

# Nothing comes back by a rule, and nothing leaves the firewall itself.
HEAD = """zone lan = lan0
zone wan = wan0
policy wan -> { lan, self } default drop
"""
CLOSED_SELF = HEAD + """policy lan -> wan default allow
policy self -> any default drop
"""


def families(call):
    return {family: call(family) for family in (4, 6)}


@test("ping passes by its flow, in both families")
def _(world):
    world.firewall.apply(CLOSED_SELF)
    expect({f"IPv{family}": ("open", ping, world.client, world.server.address[family])
            for family in (4, 6)})
    expect({f"IPv{family}, back": ("timeout", ping, world.server, world.client.address[family])
            for family in (4, 6)})


@test("an error about a live flow comes back through a closed policy")
def _(world):
    world.firewall.apply(CLOSED_SELF)
    expect({f"IPv{family}": ("refused", udp, world.client, world.server.address[family], CLOSED)
            for family in (4, 6)})


def error_frame(world, family, quote, target=None):
    """A port unreachable from the server to the client about `quote`."""
    scapy = scapy_layers()
    ether = scapy.Ether(src=world.server.mac("eth0"), dst=world.firewall.mac("wan0"))
    target = target or world.client.address[family]
    if family == 4:
        return (ether / scapy.IP(src=world.server.address[4], dst=target)
                / scapy.ICMP(type=3, code=3) / bytes(quote))
    return (ether / scapy.IPv6(src=world.server.address[6], dst=target)
            / scapy.ICMPv6DestUnreach(code=4) / bytes(quote))


def quotes(world, family, port):
    """By title: what an error may quote, and whether it then passes, if `port` is the client's of a live flow to OPEN."""
    scapy = scapy_layers()
    address = {"src": world.client.address[family], "dst": world.server.address[family]}
    other = dict(address, dst=world.firewall.wan[family])
    head = scapy.IP if family == 4 else scapy.IPv6
    data = b"\0" * 8
    return {
        "the flow": (head(**address) / scapy.UDP(sport=port, dport=OPEN) / data, True),
        "another port": (head(**address) / scapy.UDP(sport=port, dport=OPEN + 1) / data, False),
        "another protocol": (head(**address) / scapy.TCP(sport=port, dport=OPEN) / data, False),
        "another address": (head(**other) / scapy.UDP(sport=port, dport=OPEN) / data, False),
        "a reply, which the server itself has sent":
            (head(src=address["dst"], dst=address["src"])
             / scapy.UDP(sport=OPEN, dport=port) / data, False),
        "nothing": (b"", False),
        "a part of a header": (bytes(head(**address) / scapy.UDP(sport=port, dport=OPEN))[:19],
                               False),
        "nonsense": (b"\x4f" * 60, False),
    }


@test("an error passes only if it quotes what a live flow has sent")
def _(world):
    world.firewall.apply(CLOSED_SELF)
    for family in (4, 6):
        sock = world.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                                   socket.SOCK_DGRAM)
        sock.connect((world.server.address[family], OPEN))
        sock.send(b"here")
        same(sock.recv(100), b"here", "the flow lives")
        found = {}
        for title, (quote, _) in quotes(world, family, sock.getsockname()[1]).items():
            before = world.firewall.statistics()
            send_frames(world.server, "eth0", [error_frame(world, family, quote)])
            eventually(lambda before=before: passed(world, before) is not None, title)
            found[title] = passed(world, before)
        same(found, {title: passes for title, (_, passes)
                     in quotes(world, family, sock.getsockname()[1]).items()}, f"IPv{family}")
        sock.close()


def passed(world, before):
    """Did the one packet since `before` pass by a flow? None: it has not come yet."""
    after = world.firewall.statistics()
    if after["by-flow"] > before["by-flow"]:
        return True
    return False if after["dropped"] > before["dropped"] else None


class Sink(threading.Thread):
    """Takes a TCP connection on a port of the server and counts what comes."""

    def __init__(self, at, family, port):
        super().__init__(daemon=True)
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        self.listener = at.socket(kind, socket.SOCK_STREAM)
        self.listener.bind((at.address[family], port))
        self.listener.listen(1)
        self.listener.settimeout(10)
        self.size = 0

    def run(self):
        try:
            sock, _ = self.listener.accept()
            with sock:
                sock.settimeout(10)
                while part := sock.recv(1 << 16):
                    self.size += len(part)
        except OSError:
            pass


@test("path MTU discovery: bulk data passes to a smaller link, though the firewall itself may send nothing")
def _(world):
    world.firewall.ip(f"link set wan0 mtu {SMALL_MTU}")
    # Otherwise large segments cross as one.
    for at, name in ((world.client, "eth0"), (world.firewall, "lan0"), (world.firewall, "wan0")):
        at.try_run("ethtool", "-K", name, "tso", "off", "gso", "off", "gro", "off")
    world.firewall.apply(CLOSED_SELF)
    for family in (4, 6):
        sink = Sink(world.server, family, 4100 + family)
        sink.start()
        sock = world.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                                   socket.SOCK_STREAM)
        sock.settimeout(15)
        sock.connect((world.server.address[family], 4100 + family))
        sock.sendall(b"x" * 300000)
        sock.close()
        sink.join(15)
        same(sink.size, 300000, f"IPv{family}")
        route = world.client.run("ip", "route", "get", world.server.address[family])
        holds(f"mtu {SMALL_MTU}" in route, f"the client has not learnt the MTU: {route}")
    world.firewall.ip("link set wan0 mtu 1500")


@test("large datagrams cross in fragments, in both families and both directions")
def _(world):
    world.firewall.apply(HEAD + f"policy lan -> wan default drop {{ allow {OPEN}/udp }}\n")
    expect({f"IPv{family}, {size} bytes": ("whole", large, world, family, size)
            for family in (4, 6) for size in (2000, 9000)})
    same(world.firewall.statistics()["sanity"], 0)


def large(world, family, size):
    with world.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                             socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        if family == 4:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)
        sock.connect((world.server.address[family], OPEN))
        said = bytes(range(256)) * (size // 256)
        sock.send(said)
        try:
            return "whole" if sock.recv(65536) == said else "damaged"
        except socket.timeout:
            return "timeout"


def probe(world, family, hops):
    """Who answers a datagram to a closed port that may go so many hops, as traceroute asks."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with world.client.socket(kind, socket.SOCK_DGRAM) as sock:
        if family == 4:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        sock.sendto(b"trace", (world.server.address[family], 33434 + hops))
        end = time.monotonic() + 3
        while time.monotonic() < end:
            try:
                _, ancillary, _, _ = sock.recvmsg(512, 512, MSG_ERRQUEUE)
            except OSError:
                time.sleep(0.02)
                continue
            data = ancillary[0][2]
            offender = data[16:]  # struct sock_extended_err, then the address
            at = slice(4, 8) if family == 4 else slice(8, 24)
            return socket.inet_ntop(kind, offender[at])
        return "silence"


@test("traceroute sees the firewall, then the server")
def _(world):
    world.firewall.apply(HEAD + "policy lan -> wan default allow\npolicy self -> any default allow\n")
    same(families(lambda family: [probe(world, family, hops) for hops in (1, 2)]),
         families(lambda family: [world.firewall.lan[family], world.server.address[family]]))


@test("redirects belong to no flow: they meet the rules")
def _(world):
    scapy = scapy_layers()
    world.firewall.apply(CLOSED_SELF)
    with world.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((world.server.address[4], OPEN))
        sock.send(b"here")
        same(sock.recv(100), b"here")
        quote = (scapy.IP(src=world.client.address[4], dst=world.server.address[4])
                 / scapy.UDP(sport=sock.getsockname()[1], dport=OPEN) / b"12345678")
        frame = (scapy.Ether(src=world.server.mac("eth0"), dst=world.firewall.mac("wan0"))
                 / scapy.IP(src=world.server.address[4], dst=world.client.address[4])
                 / scapy.ICMP(type=5, code=1, gw=world.server.address[4]) / bytes(quote))
        before = world.firewall.statistics()
        send_frames(world.server, "eth0", [frame])
        eventually(lambda: passed(world, before) is not None, "the redirect")
        same(passed(world, before), False)


def make_world():
    world = router_world("path")
    Echo(world.server, OPEN)
    return world


main(make_world)
