#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a path needs of a forwarding firewall: ICMP errors about live flows, path MTU, fragments, ping, traceroute."""

import errno
import re
import socket
import threading
import time

from e2e import (Echo, Sniffer, eventually, expect, holds, main, ping, router_world, same,
                 scapy_layers, send_frames, test, udp, warm_up)

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


# --- a router behind the server's side, and a host behind that ---


def kind_of(family):
    return socket.AF_INET if family == 4 else socket.AF_INET6


def learnt(world, address):
    return f"mtu {SMALL_MTU}" in world.client.run("ip", "route", "get", address)


@test("path MTU discovery over a router beyond the firewall: its errors come in through a closed policy")
def _(world):
    world.firewall.apply(CLOSED_SELF)
    for family in (4, 6):
        address = world.far.address[family]
        same(learnt(world, address), False, f"IPv{family}, before")
        sink = Sink(world.far, family, 4200 + family)
        sink.start()
        with world.client.socket(kind_of(family), socket.SOCK_STREAM) as sock:
            sock.settimeout(15)
            sock.connect((address, 4200 + family))
            sock.sendall(b"x" * 300000)
        sink.join(15)
        same(sink.size, 300000, f"IPv{family}")
        holds(learnt(world, address), f"IPv{family}: the client has not learnt the MTU")
        world.client.run("ip", f"-{family}", "route", "flush", "cache")
        same(learnt(world, address), False, f"IPv{family}, afterwards")


@test("path MTU of datagrams: the sender is told, and its smaller ones arrive")
def _(world):
    world.firewall.apply(CLOSED_SELF)
    for family in (4, 6):
        with world.client.socket(kind_of(family), socket.SOCK_DGRAM) as sock:
            if family == 4:
                sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 2)  # always: DF
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, 23, 2)  # IPV6_MTU_DISCOVER
            sock.settimeout(3)
            sock.connect((world.far.address[family], OPEN))

            def refused():
                try:
                    sock.send(b"x" * 1400)
                except OSError as error:
                    return error.errno == errno.EMSGSIZE
                return False
            eventually(refused, f"IPv{family}: EMSGSIZE", 10)

            def crosses():
                try:  # each error is told once, by the next call
                    sock.send(b"y" * 1200)
                    return sock.recv(65536) == b"y" * 1200
                except OSError:
                    return False
            eventually(crosses, f"IPv{family}: a smaller one", 10)


def echoed(at, address, size, *options):
    """Did a ping of so many bytes come back whole? It is asked twice: the first one may tell the MTU."""
    return any(at.try_run("ping", "-n", "-c", "1", "-W", "2", "-s", str(size), *options,
                          address).returncode == 0 for _ in range(2))


@test("a ping larger than any link crosses in fragments, in both families, near and far")
def _(world):
    world.firewall.apply(HEAD + "policy lan -> wan default drop { allow icmp; allow icmpv6 }\n")
    same({f"{size} bytes to {address}": echoed(world.client, address, size)
          for at in (world.server, world.far) for address in at.address.values()
          for size in (2000, 20000)},
         {f"{size} bytes to {address}": True for at in (world.server, world.far)
          for address in at.address.values() for size in (2000, 20000)})
    same(world.firewall.statistics()["sanity"], 0)


@test("the firewall itself cuts up what does not fit, and what was cut up before, and all of it arrives")
def _(world):
    world.firewall.apply(HEAD + f"policy lan -> wan default drop {{ allow {OPEN}/udp; allow icmp }}\n")
    narrow = f"{world.server.address[4]}/32 dev wan0"
    world.firewall.ip(f"route add {narrow} mtu lock {SMALL_MTU}")
    sniffer = Sniffer(world.server, "eth0")
    try:
        same({size: large(world, 4, size) for size in (1400, 2000, 9000)},
             {size: "whole" for size in (1400, 2000, 9000)}, "without DF")
        same([echoed(world.client, world.server.address[4], size, "-M", "dont")
              for size in (1400, 4000)], [True, True], "ping without DF")
    finally:
        world.firewall.ip(f"route del {narrow}")
    sizes = {len(frame) - 14 for frame in sniffer.frames() if frame[12:14] == b"\x08\x00"}
    holds(SMALL_MTU - 8 < max(sizes) <= SMALL_MTU, f"it was not cut up: {sorted(sizes)[-3:]}")
    same(world.firewall.statistics()["sanity"], 0)


def offender(sock, family, patience=3):
    """Who sent the ICMP error that this socket has got."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            _, ancillary, _, _ = sock.recvmsg(512, 512, MSG_ERRQUEUE)
        except OSError:
            time.sleep(0.02)
            continue
        data = ancillary[0][2][16:]  # struct sock_extended_err, then the address
        return socket.inet_ntop(kind_of(family), data[slice(4, 8) if family == 4 else slice(8, 24)])
    return "silence"


def going(sock, family, hops):
    """It hears of errors, and its packets may go so many hops."""
    if family == 4:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)


def probe(world, family, hops, at):
    """Who answers a datagram to a closed port, as traceroute asks."""
    with world.client.socket(kind_of(family), socket.SOCK_DGRAM) as sock:
        going(sock, family, hops)
        sock.sendto(b"trace", (at.address[family], 33434 + hops))
        return offender(sock, family)


def probe_tcp(world, family, hops, at):
    """Who answers a SYN, as `traceroute -T` asks."""
    with world.client.socket(kind_of(family), socket.SOCK_STREAM) as sock:
        going(sock, family, hops)
        try:
            sock.connect((at.address[family], OPEN))
            return at.address[family]
        except OSError:
            return offender(sock, family)


def probe_echo(world, family, hops, at):
    """Who answers an echo request, as `traceroute -I` asks."""
    done = world.client.try_run("ping", "-n", "-c", "1", "-W", "2", "-t", str(hops), at.address[family])
    found = re.search(r"[Ff]rom ([0-9a-f.:]+?):? ", done.stdout)
    return found.group(1) if found else done.stdout


@test("traceroute sees the firewall, the router and the host: by datagrams, SYNs and echo requests")
def _(world):
    world.firewall.apply(HEAD + "policy lan -> wan default allow\npolicy self -> any default allow\n")
    before = world.firewall.statistics()["dropped"]
    for ask in (probe, probe_tcp, probe_echo):
        same(families(lambda family, ask=ask: [ask(world, family, hops, world.far) for hops in (1, 2, 3)]),
             families(lambda family: [world.firewall.lan[family], world.server.address[family],
                                      world.far.address[family]]), ask.__name__)
    # What the path says of probes that went out passes by their flows.
    same(world.firewall.statistics()["dropped"] - before, 0)


@test("traceroute where the firewall itself may send nothing: it hides, the others are seen")
def _(world):
    world.firewall.apply(CLOSED_SELF)
    for ask in (probe, probe_tcp, probe_echo):
        same(families(lambda family, ask=ask: [ask(world, family, hops, world.far) for hops in (2, 3)]),
             families(lambda family: [world.server.address[family], world.far.address[family]]),
             ask.__name__)
    same(families(lambda family: probe(world, family, 1, world.far)), families(lambda _: "silence"))


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
    client, firewall, server = world.client, world.firewall, world.server
    # far (eth0) - (far0) server, by a way with a small MTU
    world.far = far = world.namespace("far")
    world.link(server, "far0", far, "eth0")
    server.forward()
    # The way to it is narrow, not the way back: else it would offer small segments from the first.
    server.ip("addr add 198.51.100.1/24 dev far0", "addr add 2001:db8:51::1/64 dev far0 nodad",
              f"route add 198.51.100.2/32 dev far0 mtu lock {SMALL_MTU}",
              f"route add 2001:db8:51::2/128 dev far0 mtu lock {SMALL_MTU}")
    far.ip("addr add 198.51.100.2/24 dev eth0",
           "addr add 2001:db8:51::2/64 dev eth0 nodad", "route add default via 198.51.100.1",
           "route add ::/0 via 2001:db8:51::1")
    firewall.ip(f"route add 198.51.100.0/24 via {server.address[4]}",
                f"route add 2001:db8:51::/48 via {server.address[6]}")
    far.address = {4: "198.51.100.2", 6: "2001:db8:51::2"}
    # Otherwise large segments cross as one.
    for at, name in ((client, "eth0"), (firewall, "lan0"), (firewall, "wan0"), (server, "eth0"),
                     (server, "far0")):
        at.try_run("ethtool", "-K", name, "tso", "off", "gso", "off", "gro", "off")
    warm_up(world, [(client, far.address)])
    Echo(server, OPEN)
    Echo(far, OPEN)
    return world


main(make_world)
