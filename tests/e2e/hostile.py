#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Hostile packets on a real wire: a part of the table of tests/hostile, made anew with scapy, sent raw
through a forwarding host and to it. What becomes of them is the table's; seen is it at the far
side, in `reeve watch` and in the statistics."""

import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import threading

from e2e import (REEVE, Echo, Skip, Sniffer, eventually, holds, main, router_world, run, same,
                 scapy_layers, send_frames, test)

TABLE = os.path.join(os.path.dirname(REEVE), "tests", "hostile", "hostile")
SO_NETNS_COOKIE = 71
MARK = 50000  # source ports from here on: what stands between the packets
SEEN_PORT, TOLD_PORT = 53, 9999

POLICY = """zone wan = wan0
zone lan = { lan0, tap0 }
options { dhcp-client off }
policy self -> any default allow
policy any -> { any, self } default drop {
    allow 80/tcp
    allow 53/udp
    allow 5000/sctp
    allow icmp echo-request
    allow icmpv6 echo-request
    reject 113
}
"""


def table():
    """{name: (fate, fate amid live flows)} of tests/hostile/cases.c."""
    if not os.access(TABLE, os.X_OK):
        raise Skip(f"there is no {TABLE}, which holds the table")
    rows = [line.split("\t") for line in run(TABLE, "--list").splitlines()]
    return {row[0]: (row[1], row[1] if row[2] == "same" else row[2]) for row in rows}


class Packets:
    """Makes packets of a sender that nobody is, so that no kernel answers in its name."""

    def __init__(self, world, to):
        self.scapy = scapy_layers()
        self.source = {4: "10.77.1.77", 6: "2001:db8:77:1::77"}
        self.to = to
        self.ether = self.scapy.Ether(src=world.client.mac("eth0"), dst=world.firewall.mac("lan0"))
        self.port = 30000

    def four(self, **fields):
        return self.ether / self.scapy.IP(**{"src": self.source[4], "dst": self.to[4], **fields})

    def six(self, **fields):
        return self.ether / self.scapy.IPv6(**{"src": self.source[6], "dst": self.to[6], **fields})

    def tcp(self, **fields):
        self.port += 1
        return self.scapy.TCP(**{"sport": self.port, "dport": 80, "flags": "S", **fields})

    def udp(self, **fields):
        self.port += 1
        return self.scapy.UDP(**{"sport": self.port, "dport": 53, **fields})

    def fragment4(self, protocol, offset, more, data, number=0x1111):
        return self.four(proto=protocol, id=number, frag=offset // 8, flags="MF" if more else 0) / data

    def fragment6(self, following, offset, more, data, number=0x1111):
        return (self.six() / self.scapy.IPv6ExtHdrFragment(nh=following, offset=offset // 8, m=more,
                                                           id=number) / data)

    def mark(self, number):
        """Behind each packet: one that the far side sees, one that watch tells of."""
        return [self.ether / self.scapy.IP(src=self.source[4], dst=self.far[4])
                / self.scapy.UDP(sport=MARK + number, dport=port) / b"mark"
                for port in (SEEN_PORT, TOLD_PORT)]


BY_KERNEL = "the kernel takes it out"


def cases(p):
    """[(name in the table, packet, packets that make the flow it is of, BY_KERNEL or None)]"""
    scapy = p.scapy
    four, six, tcp, udp = p.four, p.six, p.tcp, p.udp
    padding = scapy.PadN(optdata=b"\0" * 4)
    rows = []

    def case(name, packet, before=(), kernel=None):
        rows.append((name, bytes(packet), [bytes(one) for one in before], kernel))

    def link(kind, **fields):
        made = p.ether.copy()
        made.type = kind
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    def extensions(*headers):
        packet = six()
        for header in headers:
            packet = packet / header
        return packet

    def destination(n):
        return [scapy.IPv6ExtHdrDestOpt(options=[padding]) for _ in range(n)]

    # The link layer
    case("an Ethernet header for IPv4 and nothing behind it", link(0x0800))
    case("an Ethernet header for IPv6 and nothing behind it", link(0x86dd))
    case("MPLS around IPv4", link(0x8847) / b"\0\1\1\x40" / four()[scapy.IP] / tcp())
    case("to another station", link(0x0800, dst="02:00:00:00:00:77") / four()[scapy.IP] / tcp())
    case("to all stations, unicast inside",
         link(0x0800, dst="ff:ff:ff:ff:ff:ff") / four()[scapy.IP] / tcp(), kernel=BY_KERNEL)
    case("to all stations, rejected",
         link(0x0800, dst="ff:ff:ff:ff:ff:ff") / four()[scapy.IP] / tcp(dport=113))
    tag = scapy.Dot1Q(prio=7, vlan=0)
    case("a priority tag", p.ether / tag / four()[scapy.IP] / tcp())
    case("two priority tags", p.ether / tag / tag / four()[scapy.IP] / tcp())
    hundred = p.ether / tag
    for _ in range(99):
        hundred = hundred / tag
    case("a hundred priority tags", hundred / four()[scapy.IP] / tcp())
    case("VLAN 5", p.ether / scapy.Dot1Q(vlan=5) / four()[scapy.IP] / tcp())
    case("VLAN in VLAN in VLAN", p.ether / scapy.Dot1AD(vlan=5) / scapy.Dot1Q(vlan=6)
         / scapy.Dot1Q(vlan=7) / four()[scapy.IP] / tcp())
    case("a priority tag before VLAN 5",
         p.ether / tag / scapy.Dot1Q(vlan=5) / four()[scapy.IP] / tcp())

    # IPv4
    case("version 5", four(version=5) / tcp())
    case("version 6 under the EtherType of IPv4", link(0x0800) / bytes(six() / tcp())[14:])
    case("a header of 16 bytes", four(ihl=4) / tcp())
    case("a header of 60 bytes in a packet of 40", four(ihl=15) / tcp())
    case("total length 0", four(len=0) / tcp())
    case("total length 19", four(len=19) / tcp())
    case("total length one more than there is", four(len=41) / tcp())
    case("padding behind the packet", four() / tcp() / scapy.Padding(b"\0" * 6))
    case("a wrong checksum (the kernel drops it behind reeve)", four(chksum=0xdead) / tcp(),
         kernel=BY_KERNEL)
    case("TTL 0 (for this host; the kernel forwards none)", four(ttl=0) / tcp(), kernel=BY_KERNEL)
    case("the reserved flag", four(flags="evil") / tcp())
    case("40 options that do nothing", four(options=[scapy.IPOption_NOP()] * 40) / tcp())
    case("an option of length 0 (its receiver refuses it)",
         four(options=scapy.IPOption(b"\x83\0\0\0")) / tcp(), kernel=BY_KERNEL)
    case("loose source route", four(options=scapy.IPOption_LSRR(routers=["10.0.0.2"])) / tcp(),
         kernel=BY_KERNEL)
    case("record route", four(options=scapy.IPOption_RR(routers=["0.0.0.0"])) / tcp())
    case("router alert", four(options=scapy.IPOption_Router_Alert()) / tcp())
    case("protocol 255, and nothing behind the header", four(proto=255))
    case("IPv6 in IPv4", four(proto=41) / bytes(six() / tcp())[14:])

    # IPv6
    case("version 4 under the EtherType of IPv6", link(0x86dd) / bytes(four() / tcp())[14:]
         / (b"\0" * 20))
    case("version 15 under the EtherType of IPv6", six(version=15) / tcp())
    case("payload length 0 and TCP", six(plen=0) / tcp())
    case("payload length 65535", six(plen=65535) / tcp())
    case("a jumbogram of an ordinary size",
         six(plen=0) / scapy.IPv6ExtHdrHopByHop(options=[scapy.Jumbo(jumboplen=28)]) / tcp())
    case("no next header, TCP behind it", six(nh=59) / bytes(tcp()))
    case("hop-by-hop options", extensions(scapy.IPv6ExtHdrHopByHop(options=[padding]), tcp()))
    case("hop-by-hop options twice", extensions(scapy.IPv6ExtHdrHopByHop(options=[padding]),
                                                scapy.IPv6ExtHdrHopByHop(options=[padding]), tcp()))
    case("destination options", extensions(*destination(1), tcp()))
    case("eight in a row", extensions(*destination(8), tcp()))
    case("nine in a row", extensions(*destination(9), tcp()))
    case("routing header of type 0, one to go (its receiver refuses it)",
         extensions(scapy.IPv6ExtHdrRouting(type=0, segleft=1, addresses=["2001:db8::9"]), tcp()))
    case("segment routing header", extensions(
        scapy.IPv6ExtHdrSegmentRouting(segleft=1, addresses=["2001:db8::9", "2001:db8::8"]), tcp()))
    case("destination options that are not there", six(nh=60))
    case("an extension header of 2048 bytes in a packet of less",
         six(nh=60) / (b"\x06\xff" + b"\0" * 100))
    case("HIP before TCP", six(nh=139) / (b"\x06\0\1\4\0\0\0\0" + bytes(tcp())))

    # Fragments; the number tells which belong together
    short_tcp, short_udp = bytes(tcp()), bytes(udp(len=100, chksum=0)) + b"\xab" * 16
    case("first, with 8 bytes of TCP", p.fragment4(6, 0, 1, short_tcp[:8]))
    case("first, with 7 bytes of UDP", p.fragment4(17, 0, 1, short_udp[:7]))
    case("first, with 8 bytes of UDP", p.fragment4(17, 0, 1, short_udp[:8], 1))
    case("later, of nobody", p.fragment4(17, 24, 0, b"\xcd" * 16, 2))
    case("later, right behind a first one", p.fragment4(17, 24, 0, b"\xcd" * 16, 3),
         [p.fragment4(17, 0, 1, short_udp, 3)])
    case("later, without data", p.fragment4(17, 24, 0, b"", 3))
    case("later, over the last 8 bytes of the first", p.fragment4(17, 16, 0, b"\xcd" * 16, 4),
         [p.fragment4(17, 0, 1, short_udp, 4)])
    case("later, over all behind the ports", p.fragment4(17, 8, 1, b"\xcd" * 64, 4))
    case("later, TCP at 8", p.fragment4(6, 8, 1, b"\xcd" * 16, 4))
    case("later, ends at 65536", p.fragment4(17, 65512, 0, b"\xcd" * 4, 4))
    case("ping of death", p.fragment4(1, 65528, 0, b"\x65" * 1400, 5))
    case("atomic", p.fragment6(6, 0, 0, bytes(six() / tcp())[54:]))
    case("first of IPv6, with 8 bytes of TCP", p.fragment6(6, 0, 1, short_tcp[:8]))
    case("first of IPv6, ends before destination options", p.fragment6(60, 0, 1, b""))
    case("later of IPv6, of nobody", p.fragment6(17, 24, 0, b"\xcd" * 16, 2))
    case("later of IPv6, right behind a first one", p.fragment6(17, 24, 0, b"\xcd" * 16, 3),
         [p.fragment6(17, 0, 1, short_udp, 3)])
    case("later of IPv6, over the last 8 bytes of the first", p.fragment6(17, 16, 0, b"\xcd" * 16, 3))
    case("a fragment of a fragment", six() / scapy.IPv6ExtHdrFragment(m=1, id=9)
         / scapy.IPv6ExtHdrFragment(m=1, id=8) / tcp())

    # TCP
    for name, flags in (("no flags", 0), ("FIN", "F"), ("FIN PSH URG", "FPU"), ("SYN FIN", "SF"),
                        ("SYN RST", "SR"), ("FIN RST ACK", "FRA"), ("all flags", 0xff),
                        ("SYN ECE CWR", "SEC"), ("SYN URG", "SU"), ("SYN-ACK", "SA"), ("ACK", "A"),
                        ("FIN ACK", "FA")):
        case(name, four() / tcp(flags=flags))
    case("no flags, over IPv6", six() / tcp(flags=0))
    case("SYN with data", four() / tcp() / (b"a" * 100))
    case("source port 0", four() / tcp(sport=0))
    case("destination port 0", four() / tcp(dport=0))
    case("both ports 0 over IPv6", six() / tcp(sport=0, dport=0))
    case("a TCP header of 16 bytes", four() / tcp(dataofs=4))
    case("a TCP header of 60 bytes in a packet that has 20", four() / tcp(dataofs=15))
    case("40 no-operations", four() / tcp(options=[("NOP", None)] * 40))
    case("IP ends before the flags", four(proto=6) / short_tcp[:13])

    # UDP and others
    case("7 bytes of UDP", four(proto=17) / short_udp[:7])
    case("UDP length 7", four() / udp(len=7) / b"0123")
    case("UDP length beyond IP's", four() / udp(len=13) / b"0123")
    case("UDP length 0 over IPv6", six() / udp(len=0, chksum=1) / b"0123")
    case("UDP to port 0", four() / udp(dport=0))
    case("UDP from port 0", four() / udp(sport=0))
    case("8 bytes of SCTP", four(proto=132) / b"\x9c\x40\x13\x88\0\0\0\0")
    case("SCTP without a chunk", four(proto=132) / (b"\x9c\x40\x13\x88" + b"\0" * 8))

    # ICMP about what does not live
    quote = bytes(scapy.IP(src=p.to[4], dst=p.source[4]) / scapy.TCP(sport=80, dport=40000))[:28]
    case("4 bytes of ICMP", four(proto=1) / b"\x08\0\0\0")
    case("echo reply that nobody asked for", four() / scapy.ICMP(type=0, id=99))
    case("timestamp request", four() / scapy.ICMP(type=13))
    case("redirect about a live connection", four() / scapy.ICMP(type=5, code=1) / quote)
    case("unreachable without a quote", four() / scapy.ICMP(type=3, code=1))
    case("unreachable that quotes 1 byte", four() / scapy.ICMP(type=3, code=1) / quote[:1])
    case("unreachable that quotes a header of 16 bytes",
         four() / scapy.ICMP(type=3, code=1) / (b"\x44" + quote[1:]))
    case("neighbour solicitation from afar", six(hlim=64) / scapy.ICMPv6ND_NS(tgt=p.to[6]))
    case("ICMPv6 unreachable that quotes half an extension header",
         six() / scapy.ICMPv6DestUnreach(code=0) / bytes(scapy.IPv6(nh=60) / b"\x06\0\1\4"))

    # Addresses
    case("from 127.0.0.1", four(src="127.0.0.1") / tcp())
    case("to 127.0.0.1", four(dst="127.0.0.1") / tcp())
    case("from 0.0.0.0", four(src="0.0.0.0") / tcp(), kernel=BY_KERNEL)
    case("from 255.255.255.255", four(src="255.255.255.255") / udp())
    case("from 224.0.0.1", four(src="224.0.0.1") / udp())
    case("from ::1", six(src="::1") / tcp())
    case("to ::1", six(dst="::1") / tcp())
    case("from ff02::1", six(src="ff02::1") / udp())
    case("from ::ffff:127.0.0.1", six(src="::ffff:127.0.0.1") / tcp())
    case("to ::ffff:127.0.0.1", six(dst="::ffff:127.0.0.1") / udp())
    case("from its receiver to its receiver (land)",
         four(src=p.to[4]) / scapy.TCP(sport=80, dport=80, flags="S"))
    return rows


# --- what is seen of them ---------------------------------------------------------------------


class Watch:
    """`reeve watch --json` while the `with` lasts."""

    def __init__(self, world):
        self.world = world
        self.path = os.path.join(world.folder, "watch")
        open(self.path, "w", encoding="ascii").close()

    def events(self):
        with open(self.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def told(self, number):
        return any(event.get("source_port") == MARK + number
                   and event.get("destination_port") == TOLD_PORT for event in self.events())

    def __enter__(self):
        with open(self.path, "w", encoding="ascii") as file:
            self.process = self.world.firewall.start(REEVE, "watch", "--json", stdout=file,
                                                     stderr=subprocess.DEVNULL)
        packets = Packets(self.world, self.world.server.address)
        packets.far = self.world.server.address

        def begun():
            send_frames(self.world.client, "eth0", packets.mark(9999))
            return self.told(9999)

        eventually(begun, "watch tells", 8)
        return self

    def __exit__(self, *_):
        self.world.end(self.process)


def marked(frame, ports):
    """The number of a mark, in a frame."""
    if frame[12:14] != b"\x08\0" or frame[14] != 0x45 or frame[23] != 17 or frame[42:46] != b"mark":
        return None
    source, destination = struct.unpack("!HH", frame[34:38])
    return source - MARK if destination == ports else None


def noise(frame):
    """Neighbours that look for each other."""
    return (frame[12:14] not in (b"\x08\0", b"\x86\xdd")
            or (frame[12:14] == b"\x86\xdd" and frame[20] in (0, 58)
                and frame[22:24] == b"\xfe\x80")
            or (frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] in range(130, 138)))


def split(items, number_of, n):
    """Items between the marks: [those of packet 0, of packet 1, …]."""
    found, at = [[] for _ in range(n)], 0
    for item in items:
        number = number_of(item)
        if number is None:
            if at < n:
                found[at].append(item)
        elif 0 <= number < n:
            at = number + 1
    return found


def told_as(events):
    """What watch says of one packet, in the words of the table."""
    words = set()
    for event in events:
        # Of what others still send, connections of earlier tests for example, nothing is said.
        if event["kind"] == "flow" or event.get("from") != "lan":
            continue
        words.add("malformed:" + event["sanity"] if event["by"] == "sanity" else
                  "rules:" + event["rule"]["text"])
    return words


def outcomes(sniffer, watch, n):
    """What was seen and told behind each of the marks 0 .. n - 1: [(frames, words)]"""
    seen = sniffer.frames(until=lambda frames: marked(frames[-1], SEEN_PORT) == n - 1, patience=8)
    eventually(lambda: watch.told(n - 1), "watch tells of the last packet", 8)
    seen = split([frame for frame in seen if not noise(frame)],
                 lambda frame: marked(frame, SEEN_PORT), n)
    told = split(watch.events(), lambda event: event.get("source_port", 0) - MARK
                 if event.get("destination_port") == TOLD_PORT else None, n)
    return [(len(frames), told_as(events)) for frames, events in zip(seen, told)]


@contextlib.contextmanager
def one_cpu():
    """One CPU, one queue: packets do not overtake each other."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def send_all(world, packets, rows, sniffer, watch):
    """Each row's packet between two marks. [(seen at the far side, told by watch)]"""
    frames = []
    for number, (_, packet, before, _) in enumerate(rows):
        frames += before + packets.mark(2 * number) + [packet] + packets.mark(2 * number + 1)
    with one_cpu():
        send_frames(world.client, "eth0", frames)
    return outcomes(sniffer, watch, 2 * len(rows))[1::2]


def expected_of(row, fates, forwarded):
    """(frames at the far side, what watch tells); "" for whatever is allowed."""
    name, _, before, kernel = row
    fate = fates[name][bool(before) or name in AMID]
    if fate.startswith("malformed:"):
        return 0, {fate}
    if fate in ("left", "flow") or fate.startswith("rules:allow"):
        return int(forwarded and fate != "left" and not kernel), set()
    return 0, {fate.replace("silent:", "rules:")}


# Rows that go on with the fragments of the row before.
AMID = {"later, without data", "later, over all behind the ports", "later, TCP at 8",
        "later, ends at 65536", "later of IPv6, over the last 8 bytes of the first"}


def send_and_compare(world, to, forwarded):
    fates = table()
    packets = Packets(world, to)
    packets.far = world.server.address
    rows = cases(packets)
    unknown = [row[0] for row in rows if row[0] not in fates]
    same(unknown, [], "packets that the table does not have")
    holds(len(rows) >= 40, "a part of at least 40")
    sniffer = Sniffer(world.server, "eth0")
    with contextlib.closing(sniffer), Watch(world) as watch:
        before = world.firewall.statistics()
        found = send_all(world, packets, rows, sniffer, watch)
        after = world.firewall.statistics()
    expected = {row[0]: expected_of(row, fates, forwarded) for row in rows}
    same({row[0]: one for row, one in zip(rows, found)}, expected,
         "(frames at the far side, what watch tells)")
    malformed = sum(any(word.startswith("malformed:") for word in told)
                    for _, told in expected.values())
    same(after["sanity"] - before["sanity"], malformed, "counted as `sanity`")
    print(f"# {len(rows)} packets, {malformed} of them malformed")


@test("forwarded: each packet is seen at the far side, or told by watch with the table's reason")
def _(world):
    world.firewall.apply(POLICY)
    send_and_compare(world, world.server.address, True)


@test("to the host itself: the same")
def _(world):
    world.firewall.reeve("down")
    world.firewall.apply(POLICY)
    send_and_compare(world, world.firewall.lan, False)


def handshake(world, packets):
    """A connection of the sender that nobody is with a listener of the server's; its numbers."""
    scapy = packets.scapy
    sniffer = Sniffer(world.client, "eth0")
    with contextlib.closing(sniffer):
        send_frames(world.client, "eth0", [packets.four() / scapy.TCP(
            sport=40000, dport=80, flags="S", seq=100, window=65535)])
        frames = sniffer.frames(until=lambda frames: frames[-1][23] == 6 and frames[-1][47] == 0x12,
                                patience=5)
    holds(frames and frames[-1][47] == 0x12, "no SYN-ACK came")
    answer = struct.unpack("!I", frames[-1][38:42])[0]
    send_frames(world.client, "eth0", [packets.four() / scapy.TCP(
        sport=40000, dport=80, flags="A", seq=101, ack=answer + 1, window=65535)])
    eventually(lambda: any(flow["state"] == "established" for flow in world.firewall.flows()),
               "the connection is established")
    return 101, answer + 1


@test("amid a live connection: what does not fit it is dropped, and it lives on")
def _(world):
    world.firewall.reeve("down")
    world.firewall.apply(POLICY)
    fates = table()
    packets = Packets(world, world.server.address)
    packets.far = world.server.address
    scapy = packets.scapy
    with world.server.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", 80))
        listener.listen()
        seq, ack = handshake(world, packets)

        def segment(flags, seq=seq, ack=ack, data=b"", **fields):
            return bytes(packets.four() / scapy.TCP(sport=40000, dport=80, flags=flags, seq=seq,
                                                    ack=ack, window=65535, **fields) / data)

        rows = [(name, segment(*arguments, **more), [], None) for name, arguments, more in (
            ("no flags", (0,), {}),
            ("all flags", (0xff,), {}),
            ("SYN FIN", ("SF",), {}),
            ("a TCP header of 16 bytes in a segment amid a connection", ("A",), {"dataofs": 4}),
            ("data beyond the window", ("PA", seq + 140000), {"data": b"0123456789"}),
            ("data older than a window", ("PA", seq - 70000 & 0xffffffff), {"data": b"0123456789"}),
            ("an acknowledgement of what was never sent", ("A", seq, ack + 1), {}),
            ("an acknowledgement of long ago", ("A", seq, ack - 70000 & 0xffffffff), {}),
            ("RST before what was acknowledged", ("R", seq - 1), {}),
            ("RST beyond the window", ("R", seq + 140000), {}),
            ("FIN beyond the window", ("FA", seq + 140000), {}),
            ("SYN-ACK", ("SA",), {}),
            ("SYN amid a connection, with any numbers", ("S", 0x80000000), {}),
            ("RST within the window", ("R", seq + 1000), {}),
            ("ACK", ("A",), {}))]
        sniffer = Sniffer(world.server, "eth0")
        with contextlib.closing(sniffer), Watch(world) as watch:
            found = send_all(world, packets, rows, sniffer, watch)
        same({row[0]: one for row, one in zip(rows, found)},
             {name: (1, set()) if fates[name][1] == "flow" else (0, {fates[name][1]})
              for name, _, _, _ in rows})
        flows = [flow for flow in world.firewall.flows() if flow["originator"]["port"] == 40000]
        same([flow["state"] for flow in flows], ["established"])
        accepted, _ = listener.accept()
        with contextlib.closing(accepted):
            accepted.settimeout(3)
            send_frames(world.client, "eth0", [segment("PA", data=b"still here")])
            same(accepted.recv(100), b"still here")


# --- packets in pieces --------------------------------------------------------------------------

TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_NAPI, IFF_NAPI_FRAGS, IFF_VNET_HDR = (
    0x400454ca, 2, 0x1000, 0x10, 0x20, 0x4000)


@contextlib.contextmanager
def tap(world, flags):
    """A tap device of the firewall's, whose other end is this file."""
    with world.firewall:
        try:
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise Skip(f"/dev/net/tun: {error.strerror}") from error
        try:
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"tap0", IFF_TAP | IFF_NO_PI | flags))
        except OSError as error:
            os.close(fd)
            raise Skip(f"a tap device of this kind: {error.strerror}") from error
    try:
        world.firewall.ip("link set tap0 up", "addr add 10.77.9.1/24 dev tap0",
                          "addr add 2001:db8:77:9::1/64 dev tap0 nodad")
        yield fd
    finally:
        os.close(fd)


def tap_packets(world):
    packets = Packets(world, world.server.address)
    packets.far = world.server.address
    packets.source = {4: "10.77.9.10", 6: "2001:db8:77:9::10"}
    packets.ether = packets.scapy.Ether(src="02:00:00:00:00:02", dst=world.firewall.mac("tap0"))
    return packets


def pieces(frame, *ends):
    """The frame as a list of its parts: the first becomes the linear one, the others are pages."""
    starts = [0, *[end for end in ends if 0 < end < len(frame)]]
    return [frame[start:end] for start, end in zip(starts, starts[1:] + [len(frame)])]


@test("packets in pieces, cut at and within each header: the same outcome")
def _(world):
    fates = table()
    world.firewall.reeve("down")
    with tap(world, IFF_NAPI | IFF_NAPI_FRAGS) as fd:
        # Or the kernel would put the headers into one piece.
        run("nsenter", f"--net={world.firewall.path}", "ethtool", "-K", "tap0", "gro", "off")
        world.firewall.apply(POLICY)
        packets = tap_packets(world)
        chosen = [row for row in cases(packets) if row[0] in (
            "SYN with data", "UDP from port 0", "40 options that do nothing", "40 no-operations",
            "eight in a row", "nine in a row", "hop-by-hop options", "atomic", "no flags",
            "SYN FIN", "no flags, over IPv6", "destination port 0", "UDP to port 0",
            "UDP length beyond IP's", "a TCP header of 16 bytes", "a header of 16 bytes",
            "total length one more than there is", "first, with 8 bytes of TCP",
            "later, of nobody", "unreachable that quotes 1 byte", "from ::1", "from 127.0.0.1",
            "hop-by-hop options twice", "payload length 65535", "segment routing header")]
        names, sent = [], []
        for row in chosen:
            for ends in ((14,), (20,), (34,), (36,), (54,), (58,), (14, 34, 38), (14, 54, 62, 70),
                         (14, 15, 16, 17, 18, 19, 20)):
                names.append(f"{row[0]}, cut at {ends}")
                sent.append((row, pieces(row[1], *ends)))
        sniffer = Sniffer(world.server, "eth0")
        with contextlib.closing(sniffer), Watch(world) as watch:
            with one_cpu():
                for number, (_, parts) in enumerate(sent):
                    os.writev(fd, parts)
                    for mark in packets.mark(number):
                        os.writev(fd, [bytes(mark)])
            found = outcomes(sniffer, watch, len(sent))
        same(dict(zip(names, found)),
             {name: expected_of(row, fates, True) for name, (row, _) in zip(names, sent)})
        print(f"# {len(sent)} packets")


@test("GSO packets of a hostile guest: lengths that lie, headers that are none")
def _(world):
    fates = table()
    world.firewall.reeve("down")
    with tap(world, IFF_VNET_HDR) as fd:
        world.firewall.apply(POLICY)
        packets = tap_packets(world)

        def gso(frame, kind=1, size=1000):
            """struct virtio_net_hdr: NEEDS_CSUM, GSO_TCPV4 (1), GSO_TCPV6 (4), GSO_UDP_L4 (5)."""
            transport = 34 if frame[12:14] == b"\x08\0" else 54
            at = 6 if kind == 5 else 16
            return struct.pack("<BBHHHH", 1, kind, transport + (8 if kind == 5 else 20), size,
                               transport, at) + frame

        data = b"a" * 2800
        four, six, tcp, udp = packets.four, packets.six, packets.tcp, packets.udp
        rows = [("SYN with data", gso(bytes(four() / tcp() / data)), [], None),
                ("no flags", gso(bytes(four() / tcp(flags=0) / data)), [], None),
                ("no flags, over IPv6", gso(bytes(six() / tcp(flags=0) / data), 4), [], None),
                ("ACK", gso(bytes(four() / tcp(flags="A") / data)), [], None),
                ("IPv4 longer than the frame",
                 gso(bytes(four(len=4000) / tcp(flags="A") / data)), [], None),
                ("destination port 0", gso(bytes(four() / tcp(dport=0) / data)), [], None),
                ("UDP to port 0, GSO", gso(bytes(four() / udp(dport=0) / data), 5), [], None)]
        sniffer = Sniffer(world.server, "eth0")
        with contextlib.closing(sniffer), Watch(world) as watch:
            with one_cpu():
                for number, row in enumerate(rows):
                    os.write(fd, row[1])
                    for mark in packets.mark(number):
                        os.write(fd, bytes(10) + bytes(mark))
            found = {row[0]: (bool(frames), words) for row, (frames, words)
                     in zip(rows, outcomes(sniffer, watch, len(rows)))}
        same(found, {row[0]: (bool(count), words) for row in rows
                     for count, words in [expected_of(row, fates, True)]})


@test("where the program of arrival is gone, the guard lets none of them up to a socket")
def _(world):
    world.firewall.reeve("down")
    world.firewall.apply(POLICY)
    with world.firewall.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        cookie = struct.unpack("Q", sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0]
    run("bpftool", "link", "detach", "pinned",
        f"/run/reeve/bpf/{cookie:x}/arrive_{world.firewall.index('lan0')}")
    packets = Packets(world, world.firewall.lan)
    packets.far = world.server.address
    rows = cases(packets)
    echo = Echo(world.firewall, 80, 53)
    try:
        before = world.firewall.statistics()
        with Watch(world) as watch:
            frames = [packet for row in rows for packet in row[2] + [row[1]]]
            with one_cpu():
                send_frames(world.client, "eth0", frames + packets.mark(0))
            # The mark is for the far side: departure judges it.
            eventually(lambda: watch.told(0), "watch tells of the last packet", 8)
            stopped = world.firewall.statistics()["guard-local-in"] - before["guard-local-in"]

            def told():
                return sum(event["kind"] == "guard" for event in watch.events())

            eventually(lambda: told() >= stopped, f"watch tells of the {stopped} that the guard stopped", 8)
            events = watch.events()
        # What the network says by itself may come in between.
        later = world.firewall.statistics()["guard-local-in"] - before["guard-local-in"]
        same(echo.heard, [], "what sockets were given")
    finally:
        world.firewall.reeve("down")
    heard = sum(event["kind"] == "guard" for event in events)
    holds(20 < stopped <= heard <= later,
          f"the guard has stopped {stopped} to {later}, watch told of {heard}")
    same([event for event in events if event.get("to") == "self"], [], "judged by others")


@test("BIG TCP: segments of more than 64 KiB, which say a length of 0, pass and none is malformed", 60)
def _(world):
    world.firewall.reeve("down")
    for at, device in ((world.client, "eth0"), (world.firewall, "lan0"), (world.firewall, "wan0"),
                       (world.server, "eth0")):
        done = at.try_run("ip", "link", "set", device, "gso_max_size", "180000", "gro_max_size",
                          "180000")
        if done.returncode:
            raise Skip("no gso_max_size: " + done.stderr.strip())
    world.firewall.apply(POLICY)
    size, largest = 24 << 20, 0
    with contextlib.ExitStack() as stack:
        sniffer = stack.enter_context(contextlib.closing(Sniffer(world.firewall, "lan0")))
        listener = stack.enter_context(world.server.socket(socket.AF_INET6, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(("::", 80))
        listener.listen()
        sender = stack.enter_context(world.client.socket(socket.AF_INET6, socket.SOCK_STREAM))
        sender.settimeout(20)
        sender.connect((world.server.address[6], 80))
        receiver, _ = listener.accept()
        stack.enter_context(contextlib.closing(receiver))
        receiver.settimeout(20)
        before = world.firewall.statistics()
        pump = threading.Thread(target=sender.sendall, args=(bytes(size),), daemon=True)
        pump.start()
        received = 0
        sniffer.sock.setblocking(False)
        while received < size:
            received += len(receiver.recv(1 << 20))
            with contextlib.suppress(BlockingIOError):
                while True:
                    largest = max(largest, sniffer.sock.recv_into(bytearray(100), 0,
                                                                  socket.MSG_TRUNC))
        pump.join(20)
        after = world.firewall.statistics()
    same((received, *(after[name] - before[name] for name in ("sanity", "outside-window"))),
         (size, 0, 0))
    print(f"# the largest was of {largest} bytes")
    if largest <= 65549:
        raise Skip(f"the kernel made none: the largest was of {largest} bytes")


def make_world():
    world = router_world("hostile")
    for address in ("10.77.1.77", "2001:db8:77:1::77"):
        world.firewall.ip(f"neigh replace {address} lladdr {world.client.mac('eth0')} dev lan0 "
                          "nud permanent")
    return world


main(make_world)
