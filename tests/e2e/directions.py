#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each action in each direction, both families, TCP, UDP and ping; replies, and what is none."""

import socket
import time

from e2e import (Echo, Sniffer, attempts, expect, holds, main, ping, router_world, same,
                 scapy_layers, send_frames, tcp, test, udp)

ALLOWED, DROPPED, REJECTED, UNNAMED = 1001, 1002, 1003, 1004
SILENT = 1005  # allowed, and nothing answers there by itself

# Every pair has the same rules, so that a pair that is mistaken for another shows only in the
# ports of its own, 11 to 16: each is allowed in one pair alone.
PAIRS = {"lan -> self": 1011, "self -> lan": 1012, "lan -> wan": 1013, "wan -> lan": 1014,
         "wan -> self": 1015, "self -> wan": 1016}
PORTS = [ALLOWED, DROPPED, REJECTED, UNNAMED, *PAIRS.values()]

POLICY = """
zone wan = wan0
zone lan = lan0
""" + "".join(f"""
policy {pair} default drop {{
    allow {{ {ALLOWED}, {own}, {SILENT} }}
    drop {DROPPED}
    reject {REJECTED}
    allow icmp echo-request
    allow icmpv6 echo-request
}}
""" for pair, own in PAIRS.items())


def ways(world):
    """(pair, who asks, who is asked by family)"""
    client, firewall, server = world.client, world.firewall, world.server
    return [("lan -> self", client, firewall.lan), ("self -> lan", firewall, client.address),
            ("lan -> wan", client, server.address), ("wan -> lan", server, client.address),
            ("wan -> self", server, firewall.wan), ("self -> wan", firewall, server.address)]


def outcome_of(pair, port):
    if port == REJECTED:
        return "refused"
    return "open" if port in (ALLOWED, PAIRS[pair]) else "timeout"


def matrix(world, function):
    return {f"{pair} IPv{family} {port}": (outcome_of(pair, port), function, at, to[family], port)
            for pair, at, to in ways(world) for family in (4, 6) for port in PORTS}


@test("without a policy every port answers")
def _(world):
    expect({title: ("open", *row[1:]) for title, row in matrix(world, tcp).items()})


@test("TCP: allow, drop, reject and default in six directions, both families")
def _(world):
    world.firewall.apply(POLICY)
    expect(matrix(world, tcp))


@test("UDP: allow, drop, reject and default in six directions, both families")
def _(world):
    expect(matrix(world, udp))


@test("ping in six directions, both families, and not where it is dropped")
def _(world):
    expect({f"{pair} IPv{family}": ("open", ping, at, to[family])
            for pair, at, to in ways(world) for family in (4, 6)})
    world.firewall.apply(POLICY.replace("allow icmp", "drop icmp"))
    expect({f"{pair} IPv{family}": ("timeout", ping, at, to[family])
            for pair, at, to in ways(world) for family in (4, 6)})
    world.firewall.apply(POLICY)


@test("a reject is heard at once, a drop never")
def _(world):
    for pair, at, to in ways(world):
        for family in (4, 6):
            start = time.monotonic()
            same(tcp(at, to[family], REJECTED), "refused", f"{pair} IPv{family}")
            took = time.monotonic() - start
            holds(took < 0.3, f"{pair} IPv{family}: refused after {took:.2f} s")


@test("rules count what they decided, not what followed")
def _(world):
    before = {rule["id"]: rule["packets"] for rule in world.firewall.rules()}
    for family in (4, 6):
        same(tcp(world.client, world.server.address[family], 1013), "open")
        same(udp(world.client, world.server.address[family], DROPPED, patience=0.2), "timeout")
    grown = {f"{rule['pair']}: {rule['text']}": rule["packets"] - before[rule["id"]]
             for rule in world.firewall.rules() if rule["packets"] != before[rule["id"]]}
    same(grown, {"lan -> wan: allow { 1001, 1013, 1005 }": 2, "lan -> wan: drop 1002": 2})


@test("flows: one record for both directions, with its zones and counts")
def _(world):
    with world.client.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((world.server.address[4], ALLOWED))
        port = sock.getsockname()[1]
        for _ in range(3):
            sock.send(b"reeve")
            sock.recv(100)
        flows = [flow for flow in world.firewall.flows() if flow["originator"]["port"] == port]
        same(len(flows), 1, "records of the connection")
        flow = flows[0]
        same((flow["protocol"], flow["originator"]["zone"], flow["responder"]["zone"],
              flow["originator"]["address"], flow["responder"]["address"]),
             ("tcp", "lan", "wan", world.client.address[4], world.server.address[4]))
        holds("established" in str(flow), f"not established: {flow}")


def answers_of(world, at, interface, frames, other, other_interface):
    """What of these frames reaches the other end, as source ports."""
    scapy = scapy_layers()
    sniffer = Sniffer(other, other_interface)
    send_frames(at, interface, frames)
    seen = []
    for frame in sniffer.frames(quiet=0.4):
        packet = scapy.Ether(frame)
        for layer in (scapy.TCP, scapy.UDP):
            if packet.haslayer(layer):
                seen.append((layer.__name__, packet[layer].sport, packet[layer].dport))
    sniffer.close()
    return seen


@test("what answers nobody does not pass: SYN-ACK, ACK, UDP from an open port, echo reply")
def _(world):
    scapy = scapy_layers()
    server, client, firewall = world.server, world.client, world.firewall
    frames = []
    for family, ip in ((4, scapy.IP), (6, scapy.IPv6)):
        head = scapy.Ether(src=server.mac("eth0"), dst=firewall.mac("wan0")) / ip(
            src=server.address[family], dst=client.address[family])
        frames += [head / scapy.TCP(sport=ALLOWED, dport=4000, flags="SA", seq=1, ack=1),
                   head / scapy.TCP(sport=ALLOWED, dport=4001, flags="A", seq=1, ack=1),
                   head / scapy.TCP(sport=ALLOWED, dport=4002, flags="R", seq=1),
                   head / scapy.UDP(sport=ALLOWED, dport=4003) / b"hello",
                   head / scapy.UDP(sport=4004, dport=ALLOWED) / b"hello"]
    same(sorted(answers_of(world, server, "eth0", frames, client, "eth0")),
         [("UDP", 4004, ALLOWED)] * 2)


@test("an answer passes from the port that was asked, and from no other")
def _(world):
    server, client = world.server, world.client
    for family, kind in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        with client.socket(kind, socket.SOCK_DGRAM) as ask, \
                server.socket(kind, socket.SOCK_DGRAM) as asked, \
                server.socket(kind, socket.SOCK_DGRAM) as stranger:
            asked.bind((server.address[family], SILENT))
            stranger.bind((server.address[family], 0))
            ask.bind((client.address[family], 0))
            ask.sendto(b"question", asked.getsockname()[:2])
            _, peer = asked.recvfrom(100)
            stranger.sendto(b"lie", peer)
            asked.sendto(b"truth", peer)
            same(ask.recvfrom(100)[0], b"truth", f"IPv{family}")
            ask.settimeout(0.3)
            try:
                same(ask.recvfrom(100)[0], None, f"IPv{family} a second datagram")
            except socket.timeout:
                pass


@test("a flow of the lan is not the wan's: the same tuple from the other side meets the rules")
def _(world):
    scapy = scapy_layers()
    server, client, firewall = world.server, world.client, world.firewall
    with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((client.address[4], 0))
        sock.sendto(b"reeve", (server.address[4], 1013))
        port = sock.getsockname()[1]
        spoofed = scapy.Ether(src=server.mac("eth0"), dst=firewall.mac("wan0")) / scapy.IP(
            src=client.address[4], dst=server.address[4]) / scapy.UDP(sport=port, dport=1013)
        before = world.firewall.statistics()["dropped"]
        same(answers_of(world, server, "eth0", [spoofed], server, "eth0"), [])
        holds(world.firewall.statistics()["dropped"] > before, "the spoofed packet was not dropped")


@test("explain says of each of these what the kernel did")
def _(world):
    verdicts = {"open": "allow", "timeout": "drop", "refused": "reject"}
    found = {}
    for pair in PAIRS:
        for port in (ALLOWED, DROPPED, REJECTED, UNNAMED):
            for protocol in ("tcp", "udp"):
                question = f"{pair} {port}/{protocol}"
                found[question] = world.firewall.reeve_json("explain", question)["verdict"]
    same(found, {f"{pair} {port}/{protocol}": verdicts[outcome_of(pair, port)]
                 for pair in PAIRS for port in (ALLOWED, DROPPED, REJECTED, UNNAMED)
                 for protocol in ("tcp", "udp")})


@test("zones reject by default as the policy says; the built-in default closes forwarding alone")
def _(world):
    world.firewall.apply("""
zone wan = wan0
zone lan = lan0
policy lan -> self default reject
policy self -> any default allow
""")
    client, firewall, server = world.client, world.firewall, world.server
    same(attempts({
        "lan -> self": (tcp, client, firewall.lan[4], ALLOWED),
        "lan -> self, UDP, IPv6": (udp, client, firewall.lan[6], ALLOWED),
        "self -> lan": (tcp, firewall, client.address[6], ALLOWED),
        "wan -> self": (tcp, server, firewall.wan[4], ALLOWED),
        "lan -> wan": (tcp, client, server.address[4], ALLOWED),
    }), {"lan -> self": "refused", "lan -> self, UDP, IPv6": "refused", "self -> lan": "open",
         "wan -> self": "timeout", "lan -> wan": "timeout"})


def make_world():
    world = router_world("directions")
    for namespace in (world.client, world.firewall, world.server):
        Echo(namespace, *PORTS)
    return world


main(make_world)
