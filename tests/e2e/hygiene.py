#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""antispoof, clamp-mss and scrub on a real wire: forged sources, segment sizes through a small link,
TTL, DF and identification as the server sees them; checksums always right."""

import json
import socket

from e2e import (REEVE, Echo, Sniffer, eventually, holds, main, ping, router_world, same,
                 scapy_layers, send_frames, test)

PORT = 4001
SMALL_MTU = 1280
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2
IPV6_UNICAST_HOPS = 16

HEAD = """zone lan = lan0
zone wan = wan0
policy lan -> wan default allow
policy wan -> { lan, self } default allow
policy lan -> self default allow
policy self -> any default allow
"""

UNROUTED = {4: "192.0.2.9", 6: "2001:db8:dead::9"}
OF_WAN = {4: "203.0.113.99", 6: "2001:db8:203::99"}
OF_LAN = {4: "10.77.1.77", 6: "2001:db8:77:1::77"}
OWN = {4: "203.0.113.1", 6: "2001:db8:203::1"}


def ip(family, **fields):
    scapy = scapy_layers()
    return (scapy.IP if family == 4 else scapy.IPv6)(**fields)


def ethernet(world):
    return scapy_layers().Ether(src=world.client.mac("eth0"), dst=world.firewall.mac("lan0"))


def from_lan(world, family, source, port, target=None):
    """A datagram that the client sends, under whatever source."""
    return (ethernet(world) / ip(family, src=source, dst=target or world.server.address[family])
            / scapy_layers().UDP(sport=port, dport=PORT) / b"forged?")


def came(world, sniffer, port):
    """Was the datagram seen behind the firewall? A second one behind it tells that it is over."""
    scapy = scapy_layers()
    send_frames(world.client, "eth0", [from_lan(world, 4, "10.77.1.10", 6666)])

    def ports(frames):
        packets = [scapy.Ether(frame) for frame in frames]
        return [packet[scapy.UDP].sport for packet in packets
                if scapy.UDP in packet and packet[scapy.UDP].dport == PORT]

    found = ports(sniffer.frames(until=lambda frames: 6666 in ports(frames)))
    holds(6666 in found, "an honest datagram came through")
    return port in found


def try_sources(world, sources):
    """By title and family: did it come through, and was it counted as forged?"""
    found = {}
    sniffer = Sniffer(world.server, "eth0")
    for number, (title, source) in enumerate(sources.items()):
        for family in (4, 6):
            before = world.firewall.statistics()["spoofed"]
            port = 20000 + number * 10 + family
            send_frames(world.client, "eth0", [from_lan(world, family, source[family], port)])
            passed = came(world, sniffer, port)
            found[f"{title}, IPv{family}"] = (passed,
                                              world.firewall.statistics()["spoofed"] - before)
    sniffer.close()
    return found


SOURCES = {"of its own link": OF_LAN, "of the other side": OF_WAN, "of nobody": UNROUTED}


def both(**expected):
    return {f"{title.replace('_', ' ')}, IPv{family}": outcome
            for title, outcome in expected.items() for family in (4, 6)}


def calm(world):
    """The kernel's own filter of sources would be first."""
    for name in ("all", "lan0", "wan0"):
        world.firewall.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)


@test("without antispoof nobody asks")
def _(world):
    calm(world)
    world.firewall.apply(HEAD)
    same(try_sources(world, SOURCES),
         both(of_its_own_link=(True, 0), of_the_other_side=(True, 0), of_nobody=(True, 0)))


@test("strict: the way back must leave by where it came from")
def _(world):
    calm(world)
    world.firewall.apply(HEAD + "antispoof lan\n")
    same(try_sources(world, SOURCES),
         both(of_its_own_link=(True, 0), of_the_other_side=(False, 1), of_nobody=(False, 1)))


@test("loose: there must be a way back")
def _(world):
    calm(world)
    world.firewall.apply(HEAD + "antispoof any loose\n")
    same(try_sources(world, SOURCES),
         both(of_its_own_link=(True, 0), of_the_other_side=(True, 0), of_nobody=(False, 1)))


@test("a packet to this host itself is asked too; one that claims to be of this host is forged")
def _(world):
    calm(world)
    scapy = scapy_layers()
    for policy in ("antispoof lan\n", "antispoof lan loose\n"):
        world.firewall.apply(HEAD + policy)
        before = world.firewall.statistics()["spoofed"]
        send_frames(world.client, "eth0",
                    [ethernet(world) / ip(family, src=source[family], dst=world.firewall.lan[family])
                     / scapy.UDP(sport=7, dport=PORT) for family in (4, 6)
                     for source in (UNROUTED, OWN)])
        eventually(lambda before=before: world.firewall.statistics()["spoofed"] == before + 4,
                   f"{policy}: {world.firewall.statistics()['spoofed'] - before} of 4 were forged")


@test("an honest source may speak to an address of the link, and to a group")
def _(world):
    calm(world)
    scapy = scapy_layers()
    world.firewall.apply(HEAD + "antispoof lan\n")
    link = world.firewall.link_local("lan0")
    before = world.firewall.statistics()
    udp = scapy.UDP(sport=7, dport=PORT)
    send_frames(world.client, "eth0", [
        ethernet(world) / scapy.IPv6(src=OF_LAN[6], dst=link) / udp,
        scapy.Ether(src=world.client.mac("eth0"), dst="33:33:00:00:00:01")
        / scapy.IPv6(src=OF_LAN[6], dst="ff02::1") / udp,
        scapy.Ether(src=world.client.mac("eth0"), dst="01:00:5e:00:00:fb")
        / scapy.IP(src=OF_LAN[4], dst="224.0.0.251") / udp,
        scapy.Ether(src=world.client.mac("eth0"), dst="ff:ff:ff:ff:ff:ff")
        / scapy.IP(src=OF_LAN[4], dst="10.77.1.255") / udp,
    ])
    eventually(lambda: world.firewall.statistics()["arrived"] >= before["arrived"] + 4, "four came")
    same(world.firewall.statistics()["spoofed"], before["spoofed"], "none is forged")
    send_frames(world.client, "eth0", [
        ethernet(world) / scapy.IPv6(src=UNROUTED[6], dst=link) / udp,
        scapy.Ether(src=world.client.mac("eth0"), dst="01:00:5e:00:00:fb")
        / scapy.IP(src=UNROUTED[4], dst="224.0.0.251") / udp,
    ])
    eventually(lambda: world.firewall.statistics()["spoofed"] == before["spoofed"] + 2, "two are")


@test("what has no address yet, and neighbour discovery, is not asked")
def _(world):
    calm(world)
    scapy = scapy_layers()
    world.firewall.apply(HEAD + "antispoof lan\n")
    ether = scapy.Ether(src=world.client.mac("eth0"), dst="ff:ff:ff:ff:ff:ff")
    group = scapy.Ether(src=world.client.mac("eth0"), dst="33:33:ff:00:00:01")
    before = world.firewall.statistics()
    send_frames(world.client, "eth0", [
        ether / scapy.IP(src="0.0.0.0", dst="255.255.255.255") / scapy.UDP(sport=68, dport=67),
        ether / scapy.IP(src="192.0.2.77", dst="255.255.255.255") / scapy.UDP(sport=68, dport=67),
        group / scapy.IPv6(src="::", dst="ff02::1:ff00:1", hlim=255)
        / scapy.ICMPv6ND_NS(tgt="2001:db8:77:1::1"),
        group / scapy.IPv6(src=UNROUTED[6], dst="ff02::1:ff00:1", hlim=255)
        / scapy.ICMPv6ND_NS(tgt="2001:db8:77:1::1"),
        group / scapy.IPv6(src="fe80::1234", dst="ff02::1:2") / scapy.UDP(sport=546, dport=547),
    ])
    eventually(lambda: world.firewall.statistics()["arrived"] >= before["arrived"] + 5, "five came")
    same(world.firewall.statistics()["spoofed"], before["spoofed"], "none is forged")
    for family in (4, 6):
        same(ping(world.client, world.firewall.lan[family]), "open")


@test("a live flow is not asked, until a policy that asks comes: then once")
def _(world):
    calm(world)
    world.firewall.apply(HEAD)
    sniffer = Sniffer(world.server, "eth0")
    frame = from_lan(world, 4, UNROUTED[4], 5555)
    send_frames(world.client, "eth0", [frame])
    same(came(world, sniffer, 5555), True, "the flow begins")
    world.firewall.apply(HEAD + "antispoof lan\n")
    send_frames(world.client, "eth0", [frame])
    same(came(world, sniffer, 5555), False, "it does not go on")
    # A flow that was asked once goes on, whatever becomes of the routes.
    send_frames(world.client, "eth0", [from_lan(world, 4, OF_LAN[4], 5556)])
    same(came(world, sniffer, 5556), True, "an honest flow begins")
    world.firewall.ip("route add blackhole 10.77.1.77/32")
    send_frames(world.client, "eth0", [from_lan(world, 4, OF_LAN[4], 5556)])
    same(came(world, sniffer, 5556), True, "and goes on")
    world.firewall.ip("route del blackhole 10.77.1.77/32")
    sniffer.close()


@test("where the kernel does not forward nobody can be asked: apply says so, and nothing is dropped")
def _(world):
    calm(world)
    firewall = world.firewall
    path = firewall.policy(HEAD + "antispoof lan\n")
    same(firewall.try_reeve("apply", path).stderr, "")
    firewall.sysctl("net.ipv4.conf.lan0.forwarding", 0)
    holds("`antispoof` cannot ask about IPv4 sources at lan0: forwarding is off there"
          in firewall.try_reeve("apply", path).stderr, "apply warns")
    same([warning["code"] for warning in firewall.reeve_json("apply", path)["warnings"]],
         ["antispoof-idle"])
    before = firewall.statistics()["spoofed"]
    same(ping(world.client, firewall.lan[4]), "open")
    same(firewall.statistics()["spoofed"], before)
    firewall.sysctl("net.ipv4.conf.lan0.forwarding", 1)


@test("watch tells of a forged source under its own name")
def _(world):
    calm(world)
    firewall = world.firewall
    firewall.apply(HEAD + "antispoof lan\n")
    path = world.folder + "/events"
    with open(path, "w", encoding="ascii") as file:
        process = firewall.start(REEVE, "watch", "--json", stdout=file)

    def told():
        send_frames(world.client, "eth0", [from_lan(world, 4, UNROUTED[4], 5557)])
        with open(path, encoding="utf-8") as file:
            events = [json.loads(line) for line in file if line.endswith("\n")]
        return [event for event in events if event.get("sanity")]

    try:
        events = eventually(told, "watch tells of it", 5)
    finally:
        world.end(process)
    same({event["sanity"] for event in events}, {"spoofed"})


# --- segment sizes ------------------------------------------------------------------------------


def sizes(frames):
    """(family, SYN or SYN-ACK, segment size) of the SYNs among the frames."""
    scapy = scapy_layers()
    found = []
    for frame in frames:
        packet = scapy.Ether(frame)
        if scapy.TCP not in packet or not packet[scapy.TCP].flags & 2:
            continue
        family = 4 if scapy.IP in packet else 6
        options = dict(option for option in packet[scapy.TCP].options if option[0] == "MSS")
        found.append((family, str(packet[scapy.TCP].flags), options.get("MSS")))
    return found


def checksum_right(frame):
    """Does the packet carry the checksums that scapy would give it?"""
    scapy = scapy_layers()
    packet = scapy.Ether(frame)
    fresh = packet.copy()
    for layer in (scapy.IP, scapy.TCP, scapy.UDP):
        if layer in fresh:
            del fresh[layer].chksum
    return bytes(scapy.Ether(bytes(fresh))) == bytes(packet)


def connect(world, family, amount):
    """What SYN and SYN-ACK say of segment sizes behind the firewall; so many bytes then pass."""
    for which in ("-4", "-6"):  # what path MTU discovery has taught
        world.client.run("ip", which, "route", "flush", "cache")
        world.server.run("ip", which, "route", "flush", "cache")
    at_server, at_client = Sniffer(world.server, "eth0"), Sniffer(world.client, "eth0")
    with world.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                             socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect((world.server.address[family], PORT))
        sock.sendall(b"x" * amount)
        size = 0
        while size < amount:
            size += len(sock.recv(65536))
    found = sizes(at_server.frames()) + sizes(at_client.frames())
    at_server.close()
    at_client.close()
    same([row[:2] for row in found], [(family, "S"), (family, "SA")], "one SYN, one SYN-ACK")
    return [row[2] for row in found]


def offload(world, state):
    """Off: checksums are whole on the wire, and receivers look at them."""
    for at, name in ((world.client, "eth0"), (world.server, "eth0")):
        at.run("ethtool", "-K", name, "tx", state)


CLAMPED = {
    "clamp-mss wan\n": {4: [SMALL_MTU - 40] * 2, 6: [SMALL_MTU - 60] * 2},
    "clamp-mss lan\n": {4: [SMALL_MTU - 40] * 2, 6: [SMALL_MTU - 60] * 2},
    "clamp-mss any to 1000\n": {4: [1000] * 2, 6: [1000] * 2},
    "clamp-mss lan to 900\nclamp-mss wan to 1000\n": {4: [900] * 2, 6: [900] * 2},
    "clamp-mss wan to 9000\n": {4: [1460] * 2, 6: [1440] * 2},
    "scrub wan { min-ttl 9 }\nclamp-mss wan\n": {4: [SMALL_MTU - 40] * 2, 6: [SMALL_MTU - 60] * 2},
    "": {4: [1460] * 2, 6: [1440] * 2},
}


@test("clamp-mss: both ends hear what a small link carries, with checksums of both kinds", 90)
def _(world):
    world.firewall.ip(f"link set wan0 mtu {SMALL_MTU}")
    for policy, expected in CLAMPED.items():
        world.firewall.apply(HEAD + policy)
        for state in ("on", "off"):
            offload(world, state)
            # What is too large for the small link is lost at its far end.
            amount = 50000 if max(expected[4]) < SMALL_MTU else 500
            same({family: connect(world, family, amount) for family in (4, 6)}, expected,
                 f"{policy!r}, offload {state}")
    offload(world, "on")
    world.firewall.ip("link set wan0 mtu 1500")


@test("clamp-mss: odd options, odd places, retransmissions; never raised, never added")
def _(world):
    scapy = scapy_layers()
    world.firewall.apply(HEAD + "clamp-mss wan to 1000\n")
    cases = {
        "odd offset": ([("NOP", None), ("MSS", 1460)], [1000]),
        "two of them": ([("MSS", 1460), ("MSS", 1400)], [1000, 1000]),
        "lower": ([("MSS", 536)], [536]),
        "none": ([("SAckOK", b"")], []),
        "behind the end": ([("EOL", None)], []),
    }
    for number, (title, (options, expected)) in enumerate(cases.items()):
        for family in (4, 6):
            sniffer = Sniffer(world.server, "eth0")
            port = 30000 + 10 * number + family
            frame = (ethernet(world) / ip(family, src=OF_LAN[family], dst=world.server.address[family])
                     / scapy.TCP(sport=port, dport=4999, flags="S", seq=1, options=options))
            send_frames(world.client, "eth0", [frame, frame])
            seen = [found for found in sniffer.frames()
                    if scapy.TCP in scapy.Ether(found) and scapy.Ether(found).sport == port]
            sniffer.close()
            same(len(seen), 2, f"{title}: the SYN and its retransmission")
            for found in seen:
                holds(checksum_right(found), f"{title}, IPv{family}: checksum")
                same([value for name, value in scapy.Ether(found)[scapy.TCP].options
                      if name == "MSS"], expected, f"{title}, IPv{family}")


# --- scrub --------------------------------------------------------------------------------------


def talk(world, family, ttl):
    """Five datagrams and their answers, so that the flow is a live one; those that the server sees."""
    scapy = scapy_layers()
    sniffer = Sniffer(world.server, "eth0")
    with world.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                             socket.SOCK_DGRAM) as sock:
        if family == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl)
        sock.connect((world.server.address[family], PORT))
        for _ in range(5):
            sock.send(b"reeve")
            same(sock.recv(100), b"reeve")
    frames = [frame for frame in sniffer.frames() if scapy.UDP in scapy.Ether(frame)]
    sniffer.close()
    same(len(frames), 5)
    return frames


@test("scrub: TTL, DF and identification as they leave, of packets of every way")
def _(world):
    scapy = scapy_layers()
    offload(world, "off")
    world.firewall.apply(HEAD + "scrub wan { min-ttl 20, no-df, random-id }\n")
    for ttl, expected in ((3, 20), (21, 20), (64, 63)):
        packets = [scapy.Ether(frame) for frame in talk(world, 4, ttl)]
        same({packet[scapy.IP].ttl for packet in packets}, {expected}, "TTL")
        same({str(packet[scapy.IP].flags) for packet in packets}, {""}, "DF")
        same(len({packet[scapy.IP].id for packet in packets}), 5, "identifications")
        for packet in packets:
            holds(checksum_right(bytes(packet)), f"checksum of {packet!r}")
        same({scapy.Ether(frame)[scapy.IPv6].hlim for frame in talk(world, 6, ttl)}, {expected},
             "hop limit")
    world.firewall.apply(HEAD + "scrub lan { min-ttl 20, no-df, random-id }\n")
    packets = [scapy.Ether(frame) for frame in talk(world, 4, 3)]
    same({packet[scapy.IP].ttl for packet in packets}, {2}, "the other way is left alone")
    same({str(packet[scapy.IP].flags) for packet in packets}, {"DF"})
    offload(world, "on")


@test("scrub: a fragment keeps its identification")
def _(world):
    scapy = scapy_layers()
    world.firewall.apply(HEAD + "scrub wan { min-ttl 20, random-id }\n")
    sniffer = Sniffer(world.server, "eth0")
    whole = (scapy.IP(src=OF_LAN[4], dst=world.server.address[4], id=0x1234, ttl=9)
             / scapy.UDP(sport=777, dport=PORT) / (b"y" * 2000))
    send_frames(world.client, "eth0",
                [ethernet(world) / part for part in scapy.fragment(whole, fragsize=1200)])
    found = [scapy.Ether(frame) for frame in sniffer.frames()]
    found = [packet for packet in found if scapy.IP in packet and packet[scapy.IP].src == OF_LAN[4]]
    same([(packet[scapy.IP].id, packet[scapy.IP].ttl) for packet in found], [(0x1234, 20)] * 2)
    holds(all(checksum_right(bytes(packet)) for packet in found[1:]), "checksums")
    sniffer.close()


@test("what the host sends itself is left alone")
def _(world):
    scapy = scapy_layers()
    world.firewall.apply(HEAD + "scrub wan { min-ttl 200 }\nclamp-mss wan to 500\n")
    sniffer = Sniffer(world.server, "eth0")
    same(ping(world.firewall, world.server.address[4]), "open")
    found = [scapy.Ether(frame) for frame in sniffer.frames()]
    same({packet[scapy.IP].ttl for packet in found if scapy.ICMP in packet}, {64})
    sniffer.close()


def world():
    made = router_world("hygiene")
    Echo(made.server, PORT)
    return made


if __name__ == "__main__":
    main(world)
