#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Odd packets: options, extension headers, fragments, impossible headers. None of them gets past
the policy by being odd, and none that is merely unusual is lost."""

import time

from e2e import (Echo, expect, host_world, main, same, scapy_layers, send_frames, tcp, test,
                 udp)

ALLOWED, DROPPED = 1001, 1002

POLICY = f"""zone lan = eth0
policy lan -> self default drop {{
    allow {ALLOWED}
    drop {DROPPED}
}}
policy self -> any default allow
"""


def head(world, family):
    """Ethernet and IP headers from the peer to the host."""
    scapy = scapy_layers()
    ip = scapy.IP if family == 4 else scapy.IPv6
    return (scapy.Ether(src=world.peer.mac("eth0"), dst=world.host.mac("eth0"))
            / ip(src=world.peer.address[family], dst=world.host.address[family]))


def heard(world, frames):
    """Payloads that reach the host's sockets, whole."""
    del world.echo.heard[:]
    send_frames(world.peer, "eth0", frames)
    time.sleep(0.3)
    return sorted(row[3] for row in world.echo.heard)


def both(world, make):
    """Frames made for both ports, and what is heard of them without a policy."""
    frames, payloads = [], []
    for port in (ALLOWED, DROPPED):
        made = make(port)
        frames += made if isinstance(made, list) else [made]
        payloads.append(f"to {port}".encode())
    return frames, payloads


def passes_only_where_allowed(world, makers):
    """Each maker gives the frames of a packet to a port with the payload "to PORT"."""
    world.host.reeve("down")
    controls = {title: heard(world, both(world, make)[0]) for title, make in makers.items()}
    same(controls, {title: [b"to 1001", b"to 1002"] for title in makers},
         "without a policy (or the test itself is wrong)")
    world.host.apply(POLICY)
    found = {title: heard(world, both(world, make)[0]) for title, make in makers.items()}
    same(found, {title: [b"to 1001"] for title in makers})


@test("IPv4 options and IPv6 extension headers do not hide the ports, nor lose the packet")
def _(world):
    scapy = scapy_layers()

    def packet(port):
        return scapy.UDP(sport=4000, dport=port) / f"to {port}".encode()

    four, six = head(world, 4), head(world, 6)
    with_options = four.copy()
    with_options[scapy.IP].options = [scapy.IPOption_RR(routers=["0.0.0.0"] * 3)]
    padding = scapy.PadN(optdata=b"\0" * 4)
    passes_only_where_allowed(world, {
        "plain": lambda port: four / packet(port),
        "plain, IPv6": lambda port: six / packet(port),
        "record route": lambda port: with_options / packet(port),
        "hop-by-hop": lambda port: six / scapy.IPv6ExtHdrHopByHop(options=[padding]) / packet(port),
        "destination options": lambda port: six / scapy.IPv6ExtHdrDestOpt(options=[padding])
        / packet(port),
        "three in a row": lambda port: six / scapy.IPv6ExtHdrHopByHop(options=[padding])
        / scapy.IPv6ExtHdrDestOpt(options=[padding]) / scapy.IPv6ExtHdrDestOpt(options=[padding])
        / packet(port),
        "atomic fragment": lambda port: six / scapy.IPv6ExtHdrFragment(offset=0, m=0, id=port)
        / packet(port),
    })


@test("an endless chain of extension headers is dropped as malformed, and counted")
def _(world):
    scapy = scapy_layers()
    world.host.apply(POLICY)
    packet = head(world, 6)
    for _ in range(12):
        packet = packet / scapy.IPv6ExtHdrDestOpt(options=[scapy.PadN(optdata=b"\0" * 4)])
    packet = packet / scapy.UDP(sport=4000, dport=ALLOWED) / b"deep"
    before = world.host.statistics()["sanity"]
    same(heard(world, [packet]), [])
    same(world.host.statistics()["sanity"] - before, 1)


def impossible(world):
    scapy = scapy_layers()
    four, six = head(world, 4), head(world, 6)
    loopback, group, multicast6 = four.copy(), four.copy(), six.copy()
    loopback[scapy.IP].src = "127.0.0.1"
    group[scapy.IP].src = "239.1.1.1"
    multicast6[scapy.IPv6].src = "ff02::1"
    datagram = scapy.UDP(sport=4000, dport=ALLOWED) / b"impossible"
    short_tcp = scapy.TCP(sport=4000, dport=ALLOWED, flags="S", dataofs=3)
    cut = bytes(four / datagram)[:14 + 20 + 6]
    return {
        "SYN and FIN": four / scapy.TCP(sport=4000, dport=ALLOWED, flags="SF"),
        "SYN and RST": six / scapy.TCP(sport=4000, dport=ALLOWED, flags="SR"),
        "no TCP flags": four / scapy.TCP(sport=4000, dport=ALLOWED, flags=0),
        "TCP header too short": four / short_tcp,
        "source 127.0.0.1": loopback / datagram,
        "source multicast": group / datagram,
        "source multicast, IPv6": multicast6 / datagram,
        "UDP port 0": four / scapy.UDP(sport=4000, dport=0) / b"impossible",
        "cut in the UDP header": cut,
        "IP length beyond the frame": head_with_length(world, 400) / datagram,
        "IPv6 in an IPv4 frame": bytes(four)[:12] + b"\x08\x00" + bytes(six / datagram)[14:],
    }


def head_with_length(world, length):
    scapy = scapy_layers()
    packet = head(world, 4)
    packet[scapy.IP].len = length
    return packet


@test("impossible headers are dropped before any rule, each is counted")
def _(world):
    world.host.apply(POLICY.replace("default drop", "default allow"))
    found = {}
    for title, frame in impossible(world).items():
        before = world.host.statistics()["sanity"]
        seen = heard(world, [frame])
        found[title] = (seen, world.host.statistics()["sanity"] - before)
    same(found, {title: ([], 1) for title in found})


def fragments(world, family, port, size=2400):
    scapy = scapy_layers()
    payload = (f"to {port} ".encode() * size)[:size]
    if family == 4:
        whole = head(world, 4) / scapy.UDP(sport=4000, dport=port) / payload
        whole[scapy.IP].id = port
        return [whole.__class__(bytes(part)) for part in scapy.fragment(whole, 1000)]
    layers = head(world, 6)
    datagram = bytes((layers / scapy.UDP(sport=4000, dport=port) / payload)[scapy.UDP])
    step, parts = 1000, []
    for start in range(0, len(datagram), step):
        piece = datagram[start:start + step]
        parts.append(layers / scapy.IPv6ExtHdrFragment(
            nh=17, id=port, offset=start // 8, m=int(start + step < len(datagram))) / piece)
    return parts


@test("fragments: the first meets its ports, later ones follow it; those without a first meet `fragment`")
def _(world):
    def sizes(late=False):
        frames = []
        for family in (4, 6):
            for port in (ALLOWED, DROPPED):
                parts = fragments(world, family, port)
                frames += parts[1:] + parts[:1] if late else parts
        del world.echo.heard[:]
        send_frames(world.peer, "eth0", frames)
        time.sleep(0.3)
        return sorted((row[1], len(row[3])) for row in world.echo.heard)

    world.host.reeve("down")
    same(sizes(), [(ALLOWED, 2400)] * 2 + [(DROPPED, 2400)] * 2, "without a policy")
    world.host.apply(POLICY)
    same(sizes(), [(ALLOWED, 2400)] * 2, "they follow")
    world.host.reeve("down")
    world.host.apply(POLICY.replace("default drop", "default allow"))
    before = world.host.statistics()["sanity"]
    same(sizes(late=True), [], "the first comes last, `default allow`")
    same(world.host.statistics()["sanity"] - before, 8, "orphans")
    world.host.reeve("down")
    world.host.apply(POLICY.replace("drop {\n", "drop {\n    allow from 10.77.1.10 fragment\n"
                                    "    allow from 2001:db8:77:1::10 fragment\n"))
    same(sizes(late=True), [(ALLOWED, 2400)] * 2, "the first comes last, `allow fragment`")


@test("a later fragment that would write over the first is dropped")
def _(world):
    scapy = scapy_layers()
    world.host.apply(POLICY)
    datagram = bytes(scapy.UDP(sport=4000, dport=ALLOWED, len=40, chksum=0)) + b"x" * 32
    before = world.host.statistics()["sanity"]
    for family, number in ((4, 900), (6, 901)):
        parts = []
        for start, end, more in ((0, 24, 1), (16, 40, 0)):
            layers = head(world, family)
            if family == 4:
                layers[scapy.IP].proto = 17
                layers[scapy.IP].id = number
                layers[scapy.IP].flags = more
                layers[scapy.IP].frag = start // 8
            else:
                layers /= scapy.IPv6ExtHdrFragment(nh=17, id=number, offset=start // 8, m=more)
            parts.append(layers / datagram[start:end])
        same(heard(world, parts), [], f"IPv{family}")
    same(world.host.statistics()["sanity"] - before, 2)


@test("a first fragment that is too short to show the ports is dropped")
def _(world):
    scapy = scapy_layers()
    world.host.apply(POLICY.replace("default drop", "default allow"))
    datagram = bytes(scapy.UDP(sport=4000, dport=ALLOWED, len=24, chksum=0)) + b"0123456789abcdef"
    four = head(world, 4)
    four[scapy.IP].proto = 17
    four[scapy.IP].id = 77
    first, second = four.copy(), four.copy()
    first[scapy.IP].flags = "MF"
    second[scapy.IP].frag = 1
    tiny = four.copy()
    tiny[scapy.IP].proto = 6
    tiny[scapy.IP].flags = "MF"
    before = world.host.statistics()["sanity"]
    same(heard(world, [tiny / (b"\x0f\xa0\x03\xe9\0\0\0\0")]), [])
    same(world.host.statistics()["sanity"] - before, 1, "8 bytes of TCP hide the flags")
    same(heard(world, [first / datagram[:8], second / datagram[8:]]), [b"0123456789abcdef"],
         "8 bytes of UDP show all there is")


@test("a protocol that reeve has no name for meets the rules by its number")
def _(world):
    def received(policy):
        world.host.apply(policy)
        before = world.host.statistics()
        frames = []
        for family in (4, 6):
            packet = head(world, family)
            packet.payload.fields["proto" if family == 4 else "nh"] = 253
            frames.append(packet / b"experiment")
        send_frames(world.peer, "eth0", frames)
        time.sleep(0.1)
        after = world.host.statistics()
        return {name: after[name] - before[name] for name in ("allowed", "dropped", "sanity")}

    same(received(POLICY), {"allowed": 0, "dropped": 2, "sanity": 0})
    # The host itself says that it does not know the protocol: that belongs to the flow.
    same(received(POLICY.replace("drop {\n", "drop {\n    allow proto 253\n")),
         {"allowed": 2, "dropped": 0, "sanity": 0})


@test("a frame for another station and one that is not IP are left alone")
def _(world):
    scapy = scapy_layers()
    world.host.apply(POLICY)
    world.host.ip("link set eth0 promisc on")
    other = head(world, 4) / scapy.UDP(sport=4000, dport=ALLOWED) / b"other"
    other[scapy.Ether].dst = "02:00:00:00:00:77"
    raw = scapy.Ether(src=world.peer.mac("eth0"), dst=world.host.mac("eth0"), type=0x88b5) / b"raw"
    before = world.host.statistics()
    same(heard(world, [other, raw]), [])
    after = world.host.statistics()
    same({name: after[name] - before[name] for name in ("flows-new", "dropped", "sanity")},
         {"flows-new": 0, "dropped": 0, "sanity": 0})
    world.host.ip("link set eth0 promisc off")
    world.peer.run("ip", "neigh", "flush", "all")
    expect({"ARP passes": ("open", udp, world.peer, world.host.address[4], ALLOWED),
            "TCP passes": ("open", tcp, world.peer, world.host.address[6], ALLOWED)})


def make_world():
    world = host_world("odd")
    world.echo = Echo(world.host, ALLOWED, DROPPED)
    return world


main(make_world)
