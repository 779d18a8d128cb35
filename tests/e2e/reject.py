#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The answers that `reject` gives: type, code, checksums, addresses, what they quote."""


import time

from e2e import (Echo, Sniffer, attempts, holds, main, router_world, run, same, scapy_layers,
                 send_frames, tcp, test, udp)

# word of the language: (ICMP type, code), (ICMPv6 type, code)
KINDS = {
    "tcp-reset": ((3, 3), (1, 4)),
    "net-unreachable": ((3, 0), (1, 0)),
    "host-unreachable": ((3, 1), (1, 3)),
    "proto-unreachable": ((3, 2), (4, 1)),
    "port-unreachable": ((3, 3), (1, 4)),
    "net-prohibited": ((3, 9), (1, 1)),
    "host-prohibited": ((3, 10), (1, 1)),
    "admin-prohibited": ((3, 13), (1, 1)),
}
PORT_OF = {kind: 1100 + number for number, kind in enumerate(KINDS)}
PLAIN = 1099

RULES = f"    reject {PLAIN}\n" + "".join(
    f"    reject with {kind} {port}\n" for kind, port in PORT_OF.items())

POLICY = "zone wan = wan0\nzone lan = lan0\n" + "".join(
    f"policy {pair} default drop {{\n{RULES}}}\n"
    for pair in ("lan -> self", "lan -> wan", "self -> lan"))


def parse(frame):
    scapy = scapy_layers()
    return scapy.Ether(frame)


def checksums_right(packet):
    """Every checksum as scapy would write it: in the IP header, TCP, UDP, ICMP, ICMPv6."""
    scapy = scapy_layers()
    fresh = packet.__class__(bytes(packet))
    for layer in fresh.layers():
        part = fresh.getlayer(layer)
        if layer in (scapy.IPerror, scapy.IPerror6, scapy.TCPerror, scapy.UDPerror):
            break
        for name in ("chksum", "cksum"):
            if name in part.fields:
                delattr(part, name)
    return bytes(fresh) == bytes(packet)


def is_answer(packet, port):
    """Is it a reset from that port, or an ICMP error that quotes a packet to it?"""
    scapy = scapy_layers()
    if packet.haslayer(scapy.TCP):
        return packet[scapy.TCP].sport == port and packet[scapy.TCP].flags.R
    for layer in (scapy.TCPerror, scapy.UDPerror):
        if packet.haslayer(layer):
            return packet[layer].dport == port
    return False


def kind_of(packet):
    scapy = scapy_layers()
    if packet.haslayer(scapy.TCP):
        return "reset"
    if packet.haslayer(scapy.IPv6):
        return packet[scapy.IPv6].payload.type, packet[scapy.IPv6].payload.code
    return packet[scapy.ICMP].type, packet[scapy.ICMP].code


def answer_to(at, sniffed, address, function, port):
    """The one answer to one attempt, seen at the interface."""
    sniffer = Sniffer(*sniffed)
    try:
        function(at, address, port, patience=0.05)
        frames = sniffer.frames(until=lambda some: is_answer(parse(some[-1]), port))
        frames += sniffer.frames(quiet=0.02)
        found = [packet for packet in map(parse, frames) if is_answer(packet, port)]
    finally:
        sniffer.close()
    holds(found, f"no answer to {function.__name__} {address} {port}")
    same(len(found), 1, f"answers to {function.__name__} {address} {port}")
    return found[0]


def check_answer(packet, at_address, asked, expected, what):
    scapy = scapy_layers()
    ip = packet[scapy.IPv6 if ":" in asked else scapy.IP]
    same(kind_of(packet), expected, what)
    same((ip.src, ip.dst), (asked, at_address), f"{what}: from and to")
    holds(checksums_right(ip), f"{what}: a checksum is wrong in {ip!r}")
    if expected == "reset":
        same(packet[scapy.TCP].seq, 0, f"{what}: sequence number of a reset to a SYN")
        holds(packet[scapy.TCP].flags.A, f"{what}: the reset acknowledges the SYN")
        return
    quoted = ip.payload.payload
    same((quoted.src, quoted.dst), (at_address, asked), f"{what}: addresses of the quoted packet")


def check_all(world, at, sniffed, own_address, asked_address):
    for family in (4, 6):
        for function, proto in ((tcp, "tcp"), (udp, "udp")):
            for kind, port in [(None, PLAIN), *PORT_OF.items()]:
                asked = asked_address[family]
                expected = KINDS[kind or "port-unreachable"][0 if family == 4 else 1]
                if proto == "tcp" and kind in (None, "tcp-reset"):
                    expected = "reset"
                packet = answer_to(at, sniffed, asked, function, port)
                check_answer(packet, own_address[family], asked, expected,
                             f"{proto} IPv{family} {kind or 'reject'}")


@test("rejected on arrival, lan -> self: every kind, both families", 60)
def _(world):
    world.firewall.apply(POLICY)
    check_all(world, world.client, (world.client, "eth0"), world.client.address,
              world.firewall.lan)


@test("rejected at departure, lan -> wan: every kind, from the address that was asked", 60)
def _(world):
    check_all(world, world.client, (world.client, "eth0"), world.client.address,
              world.server.address)


@test("rejected at departure, self -> lan: every kind, heard by the host itself", 60)
def _(world):
    check_all(world, world.firewall, (world.firewall, "lan0"), world.firewall.lan,
              world.client.address)


def patient_tcp(at, address, port):
    return tcp(at, address, port, patience=3)


@test("sockets understand the answers")
def _(world):
    calls = {}
    for at, addresses in ((world.client, world.firewall.lan), (world.client, world.server.address),
                          (world.firewall, world.client.address)):
        for family in (4, 6):
            for kind in ("tcp-reset", "port-unreachable", "host-unreachable", "admin-prohibited"):
                # Patience for a second SYN: an ICMP error that comes while the kernel is still
                # busy sending the first one is not heeded.
                calls[f"{at} {addresses[family]} {kind}"] = (patient_tcp, at, addresses[family],
                                                             PORT_OF[kind])
    found = attempts(calls)
    words = {"tcp-reset": "refused", "port-unreachable": "refused",
             "host-unreachable": "unreachable", "admin-prohibited": "unreachable"}
    same(found, {title: words[title.split()[-1]] for title in found})


@test("a reset to a packet amid a connection takes its number from the acknowledgement")
def _(world):
    scapy = scapy_layers()
    client, firewall = world.client, world.firewall
    firewall.apply(POLICY)
    before = firewall.statistics()["rejected"]
    for family, ip in ((4, scapy.IP), (6, scapy.IPv6)):
        sniffer = Sniffer(client, "eth0")
        send_frames(client, "eth0", [
            scapy.Ether(src=client.mac("eth0"), dst=firewall.mac("lan0"))
            / ip(src=client.address[family], dst=firewall.lan[family])
            / scapy.TCP(sport=4000, dport=PLAIN, flags="PA", seq=1000, ack=777) / b"data"])
        found = [packet for packet in map(parse, sniffer.frames(quiet=0.2))
                 if is_answer(packet, PLAIN)]
        sniffer.close()
        same([(p[scapy.TCP].seq, str(p[scapy.TCP].flags)) for p in found], [(777, "R")],
             f"IPv{family}")
        holds(checksums_right(found[0][ip]), f"IPv{family}: checksum")
    same(firewall.statistics()["rejected"] - before, 2, "answered by reeve, not by the host")


def silent_frames(world):
    """Packets that must not be answered, whatever the policy says (RFC 1122, 3.2.2)."""
    scapy = scapy_layers()
    client, firewall = world.client, world.firewall
    to = scapy.Ether(src=client.mac("eth0"), dst=firewall.mac("lan0"))
    v4 = scapy.IP(src=client.address[4], dst=firewall.lan[4])
    v6 = scapy.IPv6(src=client.address[6], dst=firewall.lan[6])
    inner4 = scapy.IP(src=firewall.lan[4], dst=client.address[4]) / scapy.UDP(sport=9, dport=9)
    inner6 = scapy.IPv6(src=firewall.lan[6], dst=client.address[6]) / scapy.UDP(sport=9, dport=9)
    everyone = scapy.Ether(src=client.mac("eth0"), dst="ff:ff:ff:ff:ff:ff")
    return {
        "reset": to / v4 / scapy.TCP(sport=4000, dport=PLAIN, flags="R", seq=5),
        "reset, IPv6": to / v6 / scapy.TCP(sport=4000, dport=PLAIN, flags="R", seq=5),
        "ICMP error": to / v4 / scapy.ICMP(type=3, code=1) / inner4,
        "ICMPv6 error": to / v6 / scapy.ICMPv6DestUnreach(code=0) / inner6,
        "broadcast": everyone / scapy.IP(src=client.address[4], dst="10.77.1.255")
        / scapy.UDP(sport=4000, dport=PLAIN) / b"x",
        "multicast": scapy.Ether(src=client.mac("eth0"), dst="01:00:5e:01:01:01")
        / scapy.IP(src=client.address[4], dst="239.1.1.1") / scapy.UDP(sport=4000, dport=PLAIN)
        / b"x",
        "multicast, IPv6": scapy.Ether(src=client.mac("eth0"), dst="33:33:00:00:00:01")
        / scapy.IPv6(src=client.address[6], dst="ff02::1") / scapy.UDP(sport=4000, dport=PLAIN)
        / b"x",
        "later fragment": to / scapy.IP(src=client.address[4], dst=firewall.lan[4], frag=100,
                                        proto=17) / (b"x" * 64),
        "later fragment, IPv6": to / v6 / scapy.IPv6ExtHdrFragment(offset=100, nh=17, id=5)
        / (b"x" * 64),
    }


@test("never answered: errors, resets, broadcast, multicast, later fragments")
def _(world):
    scapy = scapy_layers()
    world.firewall.apply("zone lan = lan0\npolicy lan -> self default reject\n"
                         "policy self -> any default allow\n")
    client = world.client
    answered = []
    for title, frame in silent_frames(world).items():
        sniffer = Sniffer(client, "eth0")
        send_frames(client, "eth0", [frame])
        for packet in map(parse, sniffer.frames(quiet=0.15)):
            if packet.haslayer(scapy.TCP) or any(
                    packet.haslayer(layer) for layer in (
                        scapy.IPerror, scapy.IPerror6, scapy.ICMPv6ParamProblem,
                        scapy.ICMPv6DestUnreach)):
                answered.append((title, packet.summary()))
        sniffer.close()
    same(answered, [])
    for family in (4, 6):
        same(udp(client, world.firewall.lan[family], PLAIN), "refused",
             "while an ordinary packet is answered")


@test("a flood of rejected packets is not answered with a flood")
def _(world):
    scapy = scapy_layers()
    client, firewall = world.client, world.firewall
    frames = [bytes(scapy.Ether(src=client.mac("eth0"), dst=firewall.mac("lan0"))
                    / scapy.IP(src=client.address[4], dst=firewall.lan[4])
                    / scapy.UDP(sport=4000, dport=PLAIN) / b"x")] * 6000
    before = firewall.statistics()
    sniffer = Sniffer(client, "eth0")
    send_frames(client, "eth0", frames)
    answers = len(sniffer.frames(quiet=0.3, patience=5))
    sniffer.close()
    after = firewall.statistics()
    holds(0 < answers < 4000, f"{answers} answers to 6000 packets")
    holds(after["reject-limited"] > before["reject-limited"], "nothing was held back")
    same(after["rejected"] - before["rejected"] + after["reject-limited"]
         - before["reject-limited"], 6000, "answered and held back")


def checksum_offload(at, interface, state):
    run("nsenter", f"--net={at.path}", "ethtool", "-K", interface, "tx", state)


@test("with checksums pending: packets that come without one are answered with a whole one", 60)
def _(world):
    time.sleep(1)  # the flood has used up this second's answers
    world.firewall.apply(POLICY)
    # The client leaves checksums to its device, which leaves them to whoever reads: nobody. The
    # firewall's device has the kernel complete what is pending when it sends.
    checksum_offload(world.client, "eth0", "on")
    check_all(world, world.client, (world.client, "eth0"), world.client.address,
              world.firewall.lan)
    checksum_offload(world.firewall, "lan0", "on")
    check_all(world, world.client, (world.client, "eth0"), world.client.address,
              world.server.address)


def make_world():
    world = router_world("reject")
    for at, interface in ((world.client, "eth0"), (world.firewall, "lan0")):
        checksum_offload(at, interface, "off")
    for namespace in (world.client, world.firewall, world.server):
        Echo(namespace, PLAIN, *PORT_OF.values())
    return world


main(make_world)
