#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Links that are not plain Ethernet: priority tags, VLANs, a tun device, a bridge, VXLAN; links
that come later, and links that go."""

import fcntl
import os
import select
import socket
import struct
import time

from e2e import (Echo, Skip, eventually, expect, holds, host_world, main, ping, run,
                 same, scapy_layers, send_frames, tcp, test, try_run, udp)
from follow import left_out

ALLOWED, DROPPED = 1001, 1002

POLICY = f"""
zone lan = eth0
zone vpn = tun0
zone tunnel = vxlan0
zone bridge = br0
policy {{ lan, vpn, bridge }} -> self default drop {{
    allow {ALLOWED}
    allow 4789/udp
    drop {DROPPED}
    allow icmp echo-request
    allow icmpv6 echo-request
}}
policy tunnel -> self default drop {{ allow {ALLOWED} }}
policy vpn -> lan default drop {{ allow {ALLOWED} }}
policy self -> any default allow
"""


# --- tags ---------------------------------------------------------------------------------------


def tagged(world, tags, family, port, payload):
    """A UDP packet of the peer behind VLAN tags: (EtherType, VID) each."""
    scapy = scapy_layers()
    head = scapy.Ether(src=world.peer.mac("eth0"), dst=world.host.mac("eth0"))
    inner = scapy.IP if family == 4 else scapy.IPv6
    body = inner(src=world.peer.address[family], dst=world.host.address[family]) / scapy.UDP(
        sport=4000, dport=port) / payload
    kind = 0x0800 if family == 4 else 0x86dd
    frame = bytes(body)
    for ethertype, vid in reversed(tags):
        frame = struct.pack("!HH", vid | 5 << 13, kind) + frame
        kind = ethertype
    head.type = kind
    return bytes(head) + frame


def heard(world, frames, patience=0.4):
    """Payloads that reach the host's sockets."""
    del world.echo.heard[:]
    send_frames(world.peer, "eth0", frames)
    time.sleep(patience)
    return sorted(row[3] for row in world.echo.heard)


PRIORITY = {"one": [(0x8100, 0)], "stacked": [(0x88a8, 0), (0x8100, 0)]}


@test("priority-tagged frames (VID 0) are judged like others, also stacked")
def _(world):
    frames, expected, others = [], [], []
    for title, tags in PRIORITY.items():
        for family in (4, 6):
            name = f"{title} {family}".encode()
            expected.append(name)
            others += [name + b" dropped", name + b" unnamed"]
            frames += [tagged(world, tags, family, port, payload) for port, payload in (
                (ALLOWED, name), (DROPPED, name + b" dropped"), (1009, name + b" unnamed"))]
    same(heard(world, frames), sorted(expected + others), "without a policy")
    world.host.apply(POLICY)
    same(heard(world, frames), sorted(expected), "with a policy")
    same(world.host.hits(f"drop {DROPPED}"), len(expected), "dropped by the rule")


@test("a frame of a VLAN is left to its VLAN device: not delivered, counted or dropped")
def _(world):
    # What tcx ingress lets go on is seen by the netdev hook of Netfilter, which comes after it.
    world.host.nft("""
table netdev after {
    chain in { type filter hook ingress device eth0 priority 0; vlan id 5 counter; }
}
""")
    frames = [tagged(world, [(0x8100, 5)], family, port, b"vlan")
              for family in (4, 6) for port in (ALLOWED, DROPPED)]
    for tries in range(1, 6):
        before = world.host.statistics()
        same(heard(world, frames), [])
        after = world.host.statistics()
        counted = {name: after[name] - before[name] for name in ("arrived", "dropped", "sanity")}
        if not any(counted.values()):
            break  # else the kernel may have asked for a neighbour meanwhile
    same(counted, {"arrived": 0, "dropped": 0, "sanity": 0})
    listed = world.host.run("nft", "list", "table", "netdev", "after")
    world.host.run("nft", "delete", "table", "netdev", "after")
    holds(f"packets {4 * tries} " in listed, f"they do not go on:\n{listed}")


@test("more tags than the bound, and a header that ends too early, are dropped and told apart")
def _(world):
    scapy = scapy_layers()
    head = scapy.Ether(src=world.peer.mac("eth0"), dst=world.host.mac("eth0"))
    short = bytes(head / scapy.IP(src=world.peer.address[4], dst=world.host.address[4])
                  / scapy.UDP(sport=4000, dport=ALLOWED) / b"short")[:14 + 20 + 4]
    before = world.host.statistics()["sanity"]
    frames = [tagged(world, [(0x8100, 0)] * 9, 4, ALLOWED, b"deep"), short]
    same(heard(world, frames), [])
    same(world.host.statistics()["sanity"] - before, 2)


# --- tun ----------------------------------------------------------------------------------------

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000


def tun_device(world, name):
    """The other end of a tun device of the host: packets are written to it and read from it."""
    if not os.path.exists("/dev/net/tun"):
        raise Skip("there is no /dev/net/tun")
    with world.host:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    world.closers.append(lambda: os.close(fd))
    world.host.ip(f"addr add 10.88.0.1/24 dev {name}",
                  f"addr add 2001:db8:88::1/64 dev {name} nodad", f"link set {name} up")
    return fd


def tun_answers(fd, packets, patience=0.6):
    """Writes packets; the answers, as (class, source port) or the ICMP they are."""
    scapy = scapy_layers()
    for packet in packets:
        os.write(fd, bytes(packet))
    found = []
    deadline = time.monotonic() + patience
    while select.select([fd], [], [], max(deadline - time.monotonic(), 0))[0]:
        data = os.read(fd, 65536)
        packet = scapy.IPv6(data) if data[0] >> 4 == 6 else scapy.IP(data)
        if packet.haslayer(scapy.UDP) and packet[scapy.UDP].dport == 4000:
            found.append(("udp", packet.version, packet[scapy.UDP].sport))
        elif packet.haslayer(scapy.TCP):
            found.append((str(packet[scapy.TCP].flags), packet.version, packet[scapy.TCP].sport))
        elif packet.haslayer(scapy.ICMP) or packet.haslayer(scapy.ICMPv6EchoReply):
            found.append(("icmp", packet.version, 0))
    return sorted(found)


def tun_packets(scapy, world):
    packets = []
    for ip, source, to in ((scapy.IP, "10.88.0.2", "10.88.0.1"),
                           (scapy.IPv6, "2001:db8:88::2", "2001:db8:88::1")):
        head = ip(src=source, dst=to)
        for port in (ALLOWED, DROPPED, 1009):
            packets.append(head / scapy.UDP(sport=4000, dport=port) / b"tun")
            packets.append(head / scapy.TCP(sport=4000 + port, dport=port, flags="S"))
    packets.append(scapy.IP(src="10.88.0.2", dst="10.88.0.1") / scapy.ICMP(id=7))
    return packets


@test("a tun device, which has no Ethernet header, is judged: for the host, and forwarded")
def _(world):
    scapy = scapy_layers()
    fd = world.tun = tun_device(world, "tun0")
    world.host.apply(POLICY)
    same(tun_answers(fd, tun_packets(scapy, world)),
         sorted([("udp", 4, ALLOWED), ("SA", 4, ALLOWED), ("udp", 6, ALLOWED), ("SA", 6, ALLOWED),
                 ("icmp", 4, 0)]))
    world.host.forward()
    world.peer.ip("route add 10.88.0.0/24 via 10.77.1.1",
                  "route add 2001:db8:88::/64 via 2001:db8:77:1::1")
    through = []
    for ip, source, to in ((scapy.IP, "10.88.0.2", world.peer.address[4]),
                           (scapy.IPv6, "2001:db8:88::2", world.peer.address[6])):
        for port in (ALLOWED, DROPPED):
            through.append(ip(src=source, dst=to) / scapy.UDP(sport=4000, dport=port) / b"through")
    same([row for row in tun_answers(fd, through) if row[0] == "udp"],
         [("udp", 4, ALLOWED), ("udp", 6, ALLOWED)])


@test("a reject on a tun device answers into it")
def _(world):
    scapy = scapy_layers()
    if not hasattr(world, "tun"):
        raise Skip("there is no tun device")
    world.host.apply(POLICY.replace(f"drop {DROPPED}", f"reject {DROPPED}"))
    asked = [ip(src=source, dst=to) / scapy.TCP(sport=4000, dport=DROPPED, flags="S")
             for ip, source, to in ((scapy.IP, "10.88.0.2", "10.88.0.1"),
                                    (scapy.IPv6, "2001:db8:88::2", "2001:db8:88::1"))]
    same([row for row in tun_answers(world.tun, asked) if "R" in row[0]],
         [("RA", 4, DROPPED), ("RA", 6, DROPPED)])
    world.host.apply(POLICY)


@test("the host's own packets out of a tun device meet `self -> vpn`")
def _(world):
    scapy = scapy_layers()
    if not hasattr(world, "tun"):
        raise Skip("there is no tun device")
    world.host.apply(POLICY.replace("policy self -> any default allow",
                                    f"policy self -> any default drop {{ allow {ALLOWED} }}"))
    with world.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for port in (ALLOWED, DROPPED):
            sock.sendto(b"own", ("10.88.0.2", port))
    ports = []
    while select.select([world.tun], [], [], 0.3)[0]:
        packet = scapy.IP(os.read(world.tun, 65536))
        if packet.version == 4 and packet.haslayer(scapy.UDP):
            ports.append(packet[scapy.UDP].dport)
    same(ports, [ALLOWED])
    world.host.apply(POLICY)


# --- a link that comes after apply ----------------------------------------------------------------


def coverage_of(host, interface):
    return {row["name"]: row["coverage"] for row in host.reeve_json("status")["interfaces"]}.get(
        interface)


@test("an interface that comes after apply carries nothing until the next one; status says so")
def _(world):
    late = world.namespace("late")
    host = world.host
    world.link(host, "late0", late, "eth0")
    host.ip("addr add 10.99.0.1/24 dev late0", "addr add 2001:db8:99::1/64 dev late0 nodad")
    late.ip("addr add 10.99.0.2/24 dev eth0", "addr add 2001:db8:99::2/64 dev eth0 nodad",
            "route add default via 10.99.0.1", "route add ::/0 via 2001:db8:99::1")
    world.peer.ip("route add 10.99.0.0/24 via 10.77.1.1",
                  "route add 2001:db8:99::/64 via 2001:db8:77:1::1")
    Echo(late, ALLOWED)
    before = host.statistics()
    ways = {}
    for family, at_host, at_late in ((4, "10.99.0.1", "10.99.0.2"),
                                     (6, "2001:db8:99::1", "2001:db8:99::2")):
        ways[f"late -> self IPv{family}"] = (tcp, late, at_host, ALLOWED)
        ways[f"late -> lan IPv{family}"] = (udp, late, world.peer.address[family], ALLOWED)
        ways[f"lan -> late IPv{family}"] = (udp, world.peer, at_late, ALLOWED)
    expect({title: ("timeout", *way) for title, way in ways.items()})
    for at_late in ("10.99.0.2", "2001:db8:99::2"):
        holds(udp(host, at_late, ALLOWED) in ("held", "timeout"), f"self -> late {at_late} passes")
    after = host.statistics()
    for hook in ("guard-local-in", "guard-forward", "guard-post-routing"):
        holds(after[hook] > before[hook], f"{hook} has counted nothing")
    same(coverage_of(host, "late0"), "missing")
    holds("MISSING" in host.reeve("status"), "status does not say so")

    host.apply(POLICY + f"zone late = late0\n"
               f"policy late -> any default drop {{ allow {ALLOWED} }}\n"
               f"policy late -> self default drop {{ allow {ALLOWED} }}\n"
               f"policy any -> late default drop {{ allow {ALLOWED} }}\n")
    same(coverage_of(host, "late0"), "covered")
    expect({title: ("open", *way) for title, way in ways.items()})


# --- bridge ---------------------------------------------------------------------------------------


def bridge_world(world):
    """Two stations on a bridge of the host."""
    host = world.host
    host.ip("link add br0 type bridge forward_delay 0", "addr add 10.66.0.1/24 dev br0",
            "addr add 2001:db8:66::1/64 dev br0 nodad", "link set br0 up")
    stations = []
    for number in (1, 2):
        station = world.namespace(f"station{number}")
        world.link(host, f"port{number}", station, "eth0")
        host.ip(f"link set port{number} master br0")
        station.ip(f"addr add 10.66.0.1{number}/24 dev eth0",
                   f"addr add 2001:db8:66::1{number}/64 dev eth0 nodad")
        Echo(station, ALLOWED, DROPPED)
        stations.append(station)
    return stations


@test("a bridge still bridges, with bridge-nf-call on and off, and its own address is filtered")
def _(world):
    host = world.host
    host.reeve("down")
    one, two = world.stations = bridge_world(world)
    eventually(lambda: ping(one, "10.66.0.12") == "open" and ping(one, "2001:db8:66::12") == "open",
               "the bridge bridges without reeve")
    host.apply(POLICY)
    same((coverage_of(host, "port1"), coverage_of(host, "br0")), ("port", "covered"))
    knobs = [name for name in ("iptables", "ip6tables")
             if os.path.exists(f"/proc/sys/net/bridge/bridge-nf-call-{name}")]
    for state in (0, 1) if knobs else (0,):
        for name in knobs:
            host.sysctl(f"net.bridge.bridge-nf-call-{name}", state)
        table = {}
        for family, at_host, at_two in ((4, "10.66.0.1", "10.66.0.12"),
                                        (6, "2001:db8:66::1", "2001:db8:66::12")):
            what = f"IPv{family}, bridge-nf-call {state}: "
            for port in (ALLOWED, DROPPED):
                table[f"{what}station to station, TCP {port}"] = ("open", tcp, one, at_two, port)
                table[f"{what}station to station, UDP {port}"] = ("open", udp, one, at_two, port)
            table[f"{what}station to station, ping"] = ("open", ping, one, at_two)
            table[f"{what}to the bridge, allowed"] = ("open", tcp, one, at_host, ALLOWED)
            table[f"{what}to the bridge, dropped"] = ("timeout", tcp, one, at_host, DROPPED)
            table[f"{what}from the bridge"] = ("open", tcp, host, at_two, DROPPED)
        expect(table)
    if not knobs:
        raise Skip("the kernel has no bridge-nf-call; the rest holds")


@test("a bridge that is made behind an apply bridges, and nothing of it reaches this host")
def _(world):
    host = world.host
    one, _ = world.stations
    if left_out("netfilter-links"):
        raise Skip("nftables does not tell frames between ports of a bridge from what is routed")
    for name in ("iptables", "ip6tables"):
        if os.path.exists(f"/proc/sys/net/bridge/bridge-nf-call-{name}"):
            host.sysctl(f"net.bridge.bridge-nf-call-{name}", 1)
    host.apply(POLICY)
    try:
        host.ip("link add late1 type bridge forward_delay 0", "link set late1 up",
                "addr add 10.66.0.9/24 dev late1", "link set port1 master late1",
                "link set port2 master late1")
        expect({address: ("open", tcp, one, address, ALLOWED)
                for address in ("10.66.0.12", "2001:db8:66::12")})
        expect({"its own address": ("timeout", tcp, one, "10.66.0.9", ALLOWED)})
    finally:
        host.ip("link set port1 master br0", "link set port2 master br0", "link del late1")


@test("a zone of every interface, all of it open, cuts neither loopback nor the bridge")
def _(world):
    host = world.host
    one, _ = world.stations
    host.apply('zone all = "*"\npolicy all -> { any, self } default allow\n'
               'policy self -> any default allow\n')
    table = {f"loopback {kind.__name__} {address}": ("open", kind, host, address, ALLOWED)
             for kind in (tcp, udp) for address in ("127.0.0.1", "::1", host.address[4])}
    table |= {f"bridge {kind.__name__} {address}": ("open", kind, one, address, ALLOWED)
              for kind in (tcp, udp)
              for address in ("10.66.0.12", "2001:db8:66::12", "10.66.0.1")}
    expect(table)


@test("loopback that no zone names is left alone, under a policy that is closed")
def _(world):
    host = world.host
    host.apply("policy any -> self default drop\npolicy self -> any default drop\n")
    same(coverage_of(host, "lo"), "loopback")
    expect({f"{kind.__name__} {address}": ("open", kind, host, address, ALLOWED)
            for kind in (tcp, udp) for address in ("127.0.0.1", "::1", host.address[4])})


# --- VXLAN ----------------------------------------------------------------------------------------


def vxlan_world(world):
    """The same VXLAN at both ends of the link, its device named vxlan0."""
    for at, local, remote, number in ((world.host, "10.77.1.1", "10.77.1.10", 1),
                                      (world.peer, "10.77.1.10", "10.77.1.1", 2)):
        done = try_run("ip", "-n", at.name, "link", "add", "vxlan0", "type", "vxlan", "id", "7",
                       "local", local, "remote", remote, "dstport", "4789", "dev", "eth0")
        if done.returncode:
            raise Skip("the kernel has no VXLAN: " + done.stderr.strip())
        at.ip(f"addr add 10.55.0.{number}/24 dev vxlan0",
              f"addr add 2001:db8:55::{number}/64 dev vxlan0 nodad", "link set vxlan0 up")


@test("what comes out of a tunnel meets the policy of the tunnel's zone, not the outer packet's")
def _(world):
    world.host.apply(POLICY)
    vxlan_world(world)
    # Not covered yet: the inner packet still carries the mark with which the outer one was allowed.
    before = world.host.statistics()["guard-local-in"]
    expect({"before apply, IPv4": ("timeout", udp, world.peer, "10.55.0.1", ALLOWED),
            "before apply, IPv6": ("timeout", udp, world.peer, "2001:db8:55::1", ALLOWED)})
    holds(world.host.statistics()["guard-local-in"] > before, "the guard has counted nothing")
    world.host.apply(POLICY)
    expect({f"{kind.__name__} {address} {port}": (word, kind, world.peer, address, port)
            for kind in (tcp, udp) for address in ("10.55.0.1", "2001:db8:55::1")
            for port, word in ((ALLOWED, "open"), (DROPPED, "timeout"), (1009, "timeout"))})
    expect({"the host's own, IPv4": ("open", tcp, world.host, "10.55.0.2", ALLOWED),
            "the host's own, IPv6": ("open", udp, world.host, "2001:db8:55::2", ALLOWED)})


@test("where the outer packets are not allowed, nothing comes out of the tunnel")
def _(world):
    if try_run("ip", "-n", world.host.name, "link", "show", "vxlan0").returncode:
        raise Skip("the kernel has no VXLAN")
    world.host.apply(POLICY.replace("    allow 4789/udp\n", ""))
    expect({"IPv4": ("timeout", udp, world.peer, "10.55.0.1", ALLOWED),
            "IPv6": ("timeout", tcp, world.peer, "2001:db8:55::1", ALLOWED)})


# --- links that go --------------------------------------------------------------------------------


@test("an interface that goes away takes nothing else with it")
def _(world):
    host = world.host
    host.apply(POLICY)
    run("ip", "-n", host.name, "link", "del", "late0")
    same(coverage_of(host, "late0"), None)
    expect({"allowed": ("open", tcp, world.peer, host.address[4], ALLOWED),
            "dropped": ("timeout", tcp, world.peer, host.address[6], DROPPED)})
    host.apply(POLICY)


def make_world():
    world = host_world("links")
    world.echo = Echo(world.host, ALLOWED, DROPPED, 1009)
    Echo(world.peer, ALLOWED, DROPPED)
    return world


main(make_world)
