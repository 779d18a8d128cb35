#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The fast path on real traffic: what it forwards is counted as ever, what is unusual goes the slow
way, and where others would miss something it is off and says why."""

import contextlib
import errno
import json
import os
import socket
import struct
import time

import programs
from follow import pin_of
from e2e import (Echo, Skip, Sniffer, eventually, holds, main, router_world, run, same, scapy_layers,
                 send_frames, tcp, test)

PORT, OTHER = 7001, 7002
XDP_PASS = 2
IP_MTU_DISCOVER, IP_RECVERR, IP_PMTUDISC_DO, IP_PMTUDISC_PROBE = 10, 11, 2, 3

POLICY = """zone lan = lan0
zone wan = wan0
zone dmz = dmz0
policy lan -> wan default drop { allow { 7001, 7002 }; allow { icmp, icmpv6 } }
policy wan -> lan default drop { allow { icmp, icmpv6 } }
policy { any } -> self default allow
policy self -> any default allow
"""
RULE = "allow { 7001, 7002 }"


def option(word):
    return f"options {{ fast-path {word} }}\n" + POLICY


def checksums(world, state):
    for at, name in ((world.firewall, "lan0"), (world.firewall, "wan0"),
                     (world.client, "eth0"), (world.server, "eth0")):
        at.run("ethtool", "-K", name, "tx", state)


def make_world(name):
    world = router_world(name)
    Echo(world.server, PORT, OTHER)
    return world


def take_redirected(world):
    """A veth takes redirected frames while its peer has a program."""
    world.passing = []
    for at in (world.client, world.server):
        program = programs.load_answer(programs.XDP, XDP_PASS, "pass", programs.AT_XDP)
        with at:
            made = programs.link(program, socket.if_nametoindex("eth0"), programs.AT_XDP)
        os.close(program)
        world.passing.append(made)
        world.closers.append(lambda fd=made: os.close(fd))


def fast_of(world):
    rows = world.firewall.reeve_json("status")["interfaces"]
    return {row["name"]: row["fast"] for row in rows if row["name"] in ("lan0", "wan0")}


def why_of(world, interface):
    rows = world.firewall.reeve_json("status")["interfaces"]
    return next(row["fast_why"] for row in rows if row["name"] == interface)


ON = {"lan0": "on", "wan0": "on"}
OFF = {"lan0": "off", "wan0": "off"}


def fast(world):
    return world.firewall.statistics()["fast"]


def went(world, before, n):
    """So many went fast since then; but for one now and then that neighbours are left."""
    found = fast(world) - before
    holds(n - 2 <= found <= n, f"{found} went fast, not {n}")


class Talk:
    """A UDP flow with the server, through the firewall, that is answered."""

    def __init__(self, world, family, port=PORT):
        self.world = world
        self.family = family
        self.sock = world.client.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                                        socket.SOCK_DGRAM)
        self.sock.connect((world.server.address[family], port))
        self.sock.settimeout(1)
        world.closers.append(self.sock.close)
        self.rounds(3)  # the third packet finds it among the replied ones

    def say(self, text=b"x" * 40):
        """What is heard, or the name of an error."""
        try:
            self.sock.send(text)
            return self.sock.recv(65536)
        except socket.timeout:
            return "timeout"
        except OSError as error:
            return errno.errorcode[error.errno]

    def rounds(self, n, text=b"x" * 40):
        for _ in range(n):
            same(self.say(text), text)

    def flow(self):
        ports = self.sock.getsockname()[1]
        found = [flow for flow in self.world.firewall.flows()
                 if flow["originator"]["port"] == ports and flow["protocol"] == "udp"]
        return found[0]


def counts(flow):
    return [flow[side][what] for side in ("original", "reply") for what in ("packets", "bytes")]


@test("as veth is at first: off, with a reason")
def _(world):
    world.firewall.apply(POLICY)
    same(fast_of(world), OFF)
    holds("checksums" in why_of(world, "lan0"), "it names checksums")
    same(tcp(world.client, world.server.address[4], PORT), "open")
    same(fast(world), 0)
    holds("fast path: off, frames may arrive with checksums" in world.firewall.reeve("status"),
          "status says it to people")


@test("checksums made, but peers without a program: nobody would take redirected frames")
def _(world):
    checksums(world, "off")
    world.firewall.reeve("sync")
    same(fast_of(world), OFF)
    holds("redirected" in why_of(world, "wan0"), why_of(world, "wan0"))


@test("both: sync turns it on")
def _(world):
    take_redirected(world)
    changes = world.firewall.reeve_json("sync")["changes"]
    same({(change["kind"], change["interface"]) for change in changes},
         {("fast", "lan0"), ("fast", "wan0")})
    same(fast_of(world), ON)
    same(world.firewall.reeve_json("sync")["changes"], [])


@test("UDP, both families: sent on at the device, and counted as by the slow way")
def _(world):
    sizes = [1, 100, 1400] * 20
    for family in (4, 6):
        numbers = {}
        for word in ("on", "off"):
            world.firewall.apply(option(word))
            before = world.firewall.hits(RULE), fast(world)
            talk = Talk(world, family)
            for size in sizes:
                talk.rounds(1, b"y" * size)
            numbers[word] = counts(talk.flow()) + [world.firewall.hits(RULE) - before[0]]
            if word == "on":
                went(world, before[1], 2 * len(sizes) + 3)
            else:
                same(fast(world), before[1])
        same(numbers["on"], numbers["off"], f"IPv{family}")
        same(numbers["on"][0], len(sizes) + 3)
    world.firewall.apply(POLICY)
    same(fast_of(world), ON)


def segments(frames, port):
    """Packets and bytes of TCP frames of this client port, by direction."""
    found = [0, 0, 0, 0]
    scapy = scapy_layers()
    for frame in frames:
        packet = scapy.Ether(frame)
        if scapy.TCP not in packet:
            continue
        ip = packet[scapy.IP] if scapy.IP in packet else packet[scapy.IPv6]
        length = ip.len if scapy.IP in packet else ip.plen + 40
        if port in (packet[scapy.TCP].sport, packet[scapy.TCP].dport):
            side = 0 if packet[scapy.TCP].sport == port else 2
            found[side] += 1
            found[side + 1] += length
    return found


@test("TCP, both families: every segment is counted, a transfer keeps its bytes")
def _(world):
    for family in (4, 6):
        before = fast(world)
        sniffer = Sniffer(world.client, "eth0", outgoing=True)
        sock = world.client.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                                   socket.SOCK_STREAM)
        with contextlib.closing(sock):
            sock.connect((world.server.address[family], PORT))
            port = sock.getsockname()[1]
            for size in (10, 1000, 3000, 9000) * 5:
                text = os.urandom(size)
                sock.sendall(text)
                heard = b""
                while len(heard) < size:
                    heard += sock.recv(65536)
                same(heard == text, True)
            time.sleep(0.1)
            flow = next(one for one in world.firewall.flows() if one["originator"]["port"] == port)
            seen = segments(sniffer.frames(quiet=0.2), port)
        sniffer.close()
        same(counts(flow), seen, f"IPv{family}: the flow counts what passed the client's device")
        same(flow["state"], "established")
        holds(fast(world) - before > 40, f"{fast(world) - before} went fast")
        # FIN and what follows take their course.
        eventually(lambda p=port: [one["state"] for one in world.firewall.flows()
                                   if one["originator"]["port"] == p] in (["time-wait"], ["last-ack"]),
                   "the connection is over")


@test("what it sends: one hop less, right checksums, the neighbour's address")
def _(world):
    scapy = scapy_layers()
    for family in (4, 6):
        talk = Talk(world, family)
        sniffer = Sniffer(world.server, "eth0")
        before = fast(world)
        talk.rounds(4)
        went(world, before, 8)
        frames = [scapy.Ether(frame) for frame in sniffer.frames()]
        sniffer.close()
        layer = scapy.IP if family == 4 else scapy.IPv6
        mine = [frame for frame in frames if scapy.UDP in frame and layer in frame]
        same(len(mine), 4)
        for frame in mine:
            same(frame.dst, world.server.mac("eth0"))
            same(frame.src, world.firewall.mac("wan0"))
            same(frame[layer].ttl if family == 4 else frame[layer].hlim, 63)
            again = scapy.Ether(bytes(frame))
            if family == 4:
                del again[layer].chksum
                same(scapy.Ether(bytes(again))[layer].chksum, frame[layer].chksum)


@test("the last hop: time exceeded, from the kernel")
def _(world):
    talk = Talk(world, 4)
    talk.sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    talk.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    same(talk.say(), "EHOSTUNREACH")
    talk.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64)
    talk.rounds(2)


@test("too large for the way on: fragmentation needed, from the kernel")
def _(world):
    talk = Talk(world, 4)
    world.firewall.ip("link set wan0 mtu 1300")
    try:
        talk.sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        talk.sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        same(talk.say(b"z" * 1400), "EMSGSIZE")
        before = fast(world)
        talk.rounds(3, b"z" * 1200)
        holds(fast(world) > before, "what fits goes fast")
    finally:
        world.firewall.ip("link set wan0 mtu 1500")
        world.client.ip("route flush cache")


@test("a route that changes: unreachable, another zone, and back")
def _(world):
    talk = Talk(world, 4)
    server = world.server.address[4]
    talk.sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    world.firewall.ip(f"route add unreachable {server}/32")
    eventually(lambda: talk.say() == "EHOSTUNREACH", "the kernel says so", 5)
    world.firewall.ip(f"route del unreachable {server}/32")
    talk.rounds(2)
    run("ip", "link", "add", "dmz0", "netns", world.firewall.name, "type", "veth", "peer", "name",
        "eth1", "netns", world.server.name)
    world.firewall.ip("link set dmz0 up", "addr add 198.51.100.1/24 dev dmz0")
    world.server.ip("link set eth1 up", "addr add 198.51.100.2/24 dev eth1")
    world.firewall.reeve("sync")
    world.firewall.ip(f"route add {server}/32 via 198.51.100.2")
    dropped = world.firewall.statistics()["dropped"]
    same(talk.say(), "timeout", "lan -> dmz is not allowed")
    holds(world.firewall.statistics()["dropped"] > dropped, "the rules said so")
    world.firewall.ip(f"route del {server}/32")
    talk.rounds(2)
    world.firewall.ip("link del dmz0")
    world.firewall.reeve("sync")


@test("a neighbour that is gone is looked for by the kernel; one that is stale is asked")
def _(world):
    talk = Talk(world, 4)
    server = world.server.address[4]
    before = fast(world)
    world.firewall.ip(f"neigh del {server} dev wan0")
    talk.rounds(3)
    holds(fast(world) > before, "and then it goes fast again")

    def state():
        found = json.loads(run("ip", "-n", world.firewall.name, "-j", "neigh", "show", server))
        return found[0]["state"][0] if found else None

    mac = world.server.mac("eth0")
    world.firewall.ip(f"neigh replace {server} lladdr {mac} dev wan0 nud stale")
    same(state(), "STALE")
    deadline = time.monotonic() + 12
    while state() == "STALE" and time.monotonic() < deadline:
        talk.rounds(5)
        time.sleep(0.2)
    holds(state() != "STALE", "a packet now and then goes the slow way")


@test("frames for others are none of its business")
def _(world):
    scapy = scapy_layers()
    talk = Talk(world, 4)
    world.firewall.ip("link set lan0 promisc on")
    before = fast(world)
    port = talk.sock.getsockname()[1]
    send_frames(world.client, "eth0", [
        scapy.Ether(dst="02:00:00:00:00:99", src=world.client.mac("eth0"))
        / scapy.IP(src=world.client.address[4], dst=world.server.address[4])
        / scapy.UDP(sport=port, dport=PORT) / b"astray"] * 3)
    same(talk.say(), b"x" * 40, "no echo of a frame gone astray")
    went(world, before, 2)
    world.firewall.ip("link set lan0 promisc off")


@test("a policy that allows it no more ends it; `off` turns it off")
def _(world):
    talk = Talk(world, 4)
    talk.rounds(2)
    world.firewall.apply(POLICY.replace("7001, 7002", "7002"))
    same(fast_of(world), ON)
    same(talk.say(), "timeout")
    world.firewall.apply(POLICY)
    talk.rounds(4)
    before = fast(world)
    talk.rounds(3)
    holds(fast(world) > before, "allowed again, fast again")
    world.firewall.apply(option("off"))
    same(fast_of(world), OFF)
    same(why_of(world, "lan0"), "the policy says so")
    before = fast(world)
    talk.rounds(3)
    same(fast(world), before)
    found = json.loads(run("ip", "-n", world.firewall.name, "-j", "-d", "link", "show", "lan0"))
    same(found[0].get("xdp"), None, "no program stays")
    world.firewall.apply(POLICY)


@test("rules of `early` see every packet first")
def _(world):
    talk = Talk(world, 4)
    world.firewall.apply(POLICY + "early lan { drop 7001/udp }\n")
    same(fast_of(world), ON)
    same(talk.say(), "timeout")
    holds(world.firewall.statistics()["early-dropped"] > 0, "dropped early")
    other = Talk(world, 4, OTHER)
    before = fast(world)
    other.rounds(3)
    went(world, before, 6)
    world.firewall.apply(POLICY)
    talk.rounds(2)


@test("a device that shapes: off for what leaves there")
def _(world):
    world.firewall.run("tc", "qdisc", "add", "dev", "wan0", "root", "tbf", "rate", "100mbit",
                       "burst", "100k", "latency", "50ms")
    world.firewall.reeve("sync")
    same(fast_of(world), {"lan0": "on", "wan0": "arriving"})
    holds("qdisc" in why_of(world, "wan0"), why_of(world, "wan0"))
    holds("fast path: arriving, only for what arrives" in world.firewall.reeve("status"),
          world.firewall.reeve("status"))
    talk = Talk(world, 4)
    before = fast(world)
    talk.rounds(20)
    went(world, before, 20)  # the answers alone
    world.firewall.run("tc", "qdisc", "del", "dev", "wan0", "root")
    world.firewall.reeve("sync")
    same(fast_of(world), ON)


@test("a device with VLANs on it: XDP may not see the tags of their frames")
def _(world):
    if world.firewall.try_run("ip", "link", "add", "link", "wan0", "name", "wan0.7", "type", "vlan",
                              "id", "7").returncode:
        raise Skip("the kernel has no VLAN devices")
    world.firewall.reeve("sync")
    same(fast_of(world), OFF)
    holds("VLAN" in why_of(world, "wan0"), why_of(world, "wan0"))
    holds("no other interface" in why_of(world, "lan0"), why_of(world, "lan0"))
    world.firewall.ip("link del wan0.7")
    world.firewall.reeve("sync")
    same(fast_of(world), ON)


@test("a driver that refuses the program: off, and not tried again with every look")
def _(world):
    without = dict(os.environ, REEVE_WITHOUT="native-xdp")
    world.firewall.apply(option("off"))
    world.firewall.reeve("apply", world.firewall.policy(POLICY), env=without)
    same(fast_of(world), OFF)
    holds("could not be attached" in why_of(world, "lan0"), why_of(world, "lan0"))
    same(world.firewall.reeve_json("sync")["changes"], [])
    world.firewall.apply(POLICY)
    same(fast_of(world), ON)


@test("others in the way: nftables, conntrack, programs; unless the policy insists")
def _(world):
    firewall = world.firewall
    firewall.nft("table ip mine { chain f { type filter hook forward priority 0; policy accept; }\n}")
    firewall.reeve("sync")
    same(fast_of(world), OFF)
    holds("nftables" in why_of(world, "wan0"), why_of(world, "wan0"))
    talk = Talk(world, 4)
    before = fast(world)
    talk.rounds(3)
    same(fast(world), before)
    firewall.apply(option("insist"))
    same(fast_of(world), ON)
    talk.rounds(3)
    holds(fast(world) > before, "it insists")
    firewall.nft("delete table ip mine")
    firewall.apply(POLICY)
    same(fast_of(world), ON)
    counter = programs.Counter(world)
    with firewall:
        foreign = programs.link(counter.program, socket.if_nametoindex("wan0"),
                                programs.AT_TCX_EGRESS)
    firewall.reeve("sync")
    holds("tc" in why_of(world, "wan0"), why_of(world, "wan0"))
    same(fast_of(world), OFF, "the other one is alone now")
    os.close(foreign)
    firewall.reeve("sync")
    same(fast_of(world), ON)


@test("flow tables of another size: the program finds flows in the new ones")
def _(world):
    talk = Talk(world, 6)
    world.firewall.apply("options { flows 4096 }\n" + POLICY)
    talk.rounds(3)
    before = fast(world)
    talk.rounds(5)
    went(world, before, 10)
    world.firewall.apply(POLICY)
    talk.rounds(3)


@test("a program that is taken away comes back; `down` leaves none")
def _(world):
    os.unlink(pin_of(world.firewall, f"early_{world.firewall.index('lan0')}"))

    def program():
        found = json.loads(run("ip", "-n", world.firewall.name, "-j", "-d", "link", "show", "lan0"))
        return "xdp" in found[0]

    eventually(lambda: not program(), "it is off the device")
    talk = Talk(world, 4)
    world.firewall.reeve("sync")
    same(program(), True)
    before = fast(world)
    talk.rounds(3)
    went(world, before, 6)
    world.firewall.reeve("down")
    eventually(lambda: not program(), "down takes it off")
    same(talk.say(), b"x" * 40)


main(lambda: make_world("fast"))
