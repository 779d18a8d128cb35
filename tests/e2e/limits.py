#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits and flow options on real traffic: rates, flows at a time, timeouts, sweeping; floods of
forged sources stay bounded."""

import contextlib
import json
import random
import shutil
import socket
import struct
import time

from e2e import (Echo, Skip, eventually, holds, main, ping, router_world, run, same, scapy_layers,
                 send_frames, tcp, test, udp)
from follow import pin_of

OPEN, SCARCE, SHORT, FLOOD = 1001, 1002, 1003, 1004
BUCKETS, PLACES = 65536, 32768

HEAD = """zone wan = wan0
zone lan = lan0
policy self -> any default allow
"""


def policy(*rules, more=""):
    return HEAD + "policy lan -> { self, wan } default drop {\n" + "".join(
        f"    {rule}\n" for rule in rules) + "}\n" + more


def pings(at, address, count, interval="0.01"):
    """How many of so many echo requests, with one id, are answered."""
    done = at.try_run("ping", "-n", "-q", "-c", str(count), "-i", interval, "-W", "1", address)
    return int(done.stdout.split(" received")[0].split()[-1])


def connect(stack, at, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = stack.enter_context(at.socket(family, socket.SOCK_STREAM))
    sock.settimeout(0.4)
    try:
        sock.connect((address, port))
        sock.send(b"reeve")
        same(sock.recv(100), b"reeve")
    except OSError:
        sock.close()
        return None
    return sock


@test("of echo requests every one counts, through the firewall and to it, beyond the limit the next rule decides")
def _(world):
    for address in (world.server.address[4], world.server.address[6], world.firewall.lan[4]):
        word = "icmpv6" if ":" in address else "icmp"
        # Six a minute, three at once: none comes back while this runs for a second or two.
        world.firewall.apply(policy(f"allow {word} echo-request limit 6/m burst 3", "allow icmpv6"
                                    if word == "icmp" else "allow icmp"))
        same(pings(world.client, address, 10), 3, f"answers of {address}")
        world.firewall.apply(policy(f"allow {word} echo-request limit 6/m burst 3 id first{address[-1]}",
                                    f"allow {word} echo-request id second{address[-1]}"))
        same(pings(world.client, address, 10), 10, f"answers of {address}")
        packets = {rule["id"]: rule["packets"] for rule in world.firewall.rules()}
        same((packets[f"first{address[-1]}"], packets[f"second{address[-1]}"]), (3, 7))
        counts = [(flow["original"]["packets"], flow["reply"]["packets"])
                  for flow in world.firewall.flows() if flow["protocol"] == word]
        holds((10, 10) in counts, f"a flow of ten requests and answers: {counts}")


@test("a bucket fills again at its rate")
def _(world):
    world.firewall.apply(policy("allow icmp echo-request limit 20/s burst 5", "allow icmpv6"))
    start = time.monotonic()
    answered = pings(world.client, world.server.address[4], 100, "0.01")
    seconds = time.monotonic() - start
    expected = 5 + 20 * seconds
    holds(5 + 20 * 0.9 <= answered <= expected + 1, f"{answered} answers in {seconds:.2f} s")


@test("a limit counts connections, not their packets; and keeps its bucket over an apply")
def _(world):
    text = policy(f"allow {OPEN}/tcp limit 3/h burst 3 id few", "allow icmp")
    world.firewall.apply(text)
    with contextlib.ExitStack() as stack:
        sock = connect(stack, world.client, world.server.address[4], OPEN)
        for _ in range(50):
            sock.send(b"reeve")
            same(sock.recv(100), b"reeve")
        same(tcp(world.client, world.server.address[4], OPEN), "open")
        world.firewall.apply(text.replace("allow icmp", "allow icmpv6"))
        # The recheck of the live connection takes no token.
        sock.send(b"reeve")
        same(sock.recv(100), b"reeve")
        same(tcp(world.client, world.server.address[6], OPEN), "open")
        same(tcp(world.client, world.server.address[4], OPEN, patience=0.4), "timeout")
        sock.send(b"again")
        same(sock.recv(100), b"again")


@test("each source has its own bucket; of IPv6 each /64")
def _(world):
    client = world.client
    client.ip("addr add 10.77.1.11/24 dev eth0", "addr add 2001:db8:77:1::11/64 dev eth0 nodad")
    world.firewall.apply(policy(f"allow {OPEN}/udp limit 2/h burst 2 each source", "allow icmpv6"))

    def count(source, address):
        return sum(udp(client, address, OPEN, source=source, patience=0.3) == "open" for _ in range(4))

    same(count("10.77.1.10", world.server.address[4]), 2)
    same(count("10.77.1.11", world.server.address[4]), 2)
    same(count("2001:db8:77:1::10", world.server.address[6]), 2)
    same(count("2001:db8:77:1::11", world.server.address[6]), 0)


@test("each destination has its own bucket")
def _(world):
    world.firewall.apply(policy(f"allow {OPEN}/udp limit 2/h burst 2 each destination", "allow icmpv6"))
    for address in (world.firewall.lan[4], world.server.address[4], world.server.address[6]):
        same(sum(udp(world.client, address, OPEN, patience=0.3) == "open" for _ in range(3)), 2, address)


@test("a limit on a drop: beyond it the next rule decides")
def _(world):
    world.firewall.apply(policy(f"drop {OPEN}/tcp limit 2/h burst 2 id some", f"allow {OPEN}/tcp"))
    answers = [tcp(world.client, world.server.address[4], OPEN, patience=0.4) for _ in range(3)]
    same(answers, ["timeout", "timeout", "open"])
    world.firewall.apply(policy(f"drop {OPEN}/tcp limit 2/h burst 2 id some", f"allow {OPEN}/tcp",
                                "allow icmp"))
    same(tcp(world.client, world.server.address[4], OPEN), "open")


@test("of a stateless rule every packet counts")
def _(world):
    world.firewall.apply(policy(f"allow {OPEN}/udp stateless limit 5/h burst 5", more=(
        f"policy {{ wan, self }} -> lan {{ allow udp from port {OPEN} stateless }}\n")))
    with world.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        sock.connect((world.server.address[4], OPEN))
        answered = 0
        for _ in range(8):
            sock.send(b"reeve")
            with contextlib.suppress(OSError):
                answered += sock.recv(100) == b"reeve"
        same(answered, 5)


@test("max flows 3 each source: a fourth connection waits until one has ended, however it ended")
def _(world):
    client, server = world.client, world.server
    world.firewall.apply(policy(f"allow {SCARCE}/tcp max flows 3 each source id scarce"))
    with contextlib.ExitStack() as stack:
        def another(address=server.address[4]):
            return connect(stack, client, address, SCARCE)

        socks = [another() for _ in range(3)]
        holds(all(socks), "three connections")
        same(another(), None)
        same(bool(another(server.address[6])), True)  # another source: another family
        # Ended by reset: the record goes soon after.
        socks[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socks[0].close()
        eventually(another, "a connection after a reset", 20)
        same(another(), None)
        # Ended by hand.
        world.firewall.reeve("flows", "kill", "all")
        socks[1].close()
        holds(another(), "a connection after `flows kill`")
        # The count lives over an apply, and follows a smaller number.
        holds(another() and another(), "three again")
        same(another(), None)
        world.firewall.apply(policy(f"allow {SCARCE}/tcp max flows 3 each source id scarce", "allow icmp"))
        same(another(), None)
        world.firewall.apply(policy(f"allow {SCARCE}/tcp max flows 4 each source id scarce", "allow icmp"))
        holds(another(), "a fourth is allowed now")
        same(another(), None)


@test("max flows without an address counts all; ended by expiry too")
def _(world):
    world.firewall.apply(policy(f"allow {SHORT}/udp timeout 1s max flows 2"))
    server = world.server.address
    same([udp(world.client, server[family], SHORT, patience=0.3) for family in (4, 6, 4)],
         ["open", "open", "timeout"])
    time.sleep(1.3)
    same(udp(world.client, server[4], SHORT), "open")


@test("a timeout shortens an idle UDP flow; sweep removes what is over and says how many")
def _(world):
    firewall = world.firewall
    firewall.reeve("flows", "kill", "all")
    firewall.reeve("sweep")
    firewall.apply(policy(f"allow {SHORT}/udp timeout 2s", f"allow {OPEN}/udp"))
    same(udp(world.client, world.server.address[4], SHORT), "open")
    same(udp(world.client, world.server.address[4], OPEN), "open")

    def ports():
        return sorted(flow["responder"]["port"] for flow in firewall.flows())

    holds(SHORT in ports() and OPEN in ports(), f"flows to {ports()}")
    eventually(lambda: SHORT not in ports(), "the idle flow is over", 5)
    holds(OPEN in ports(), "the other one is not")
    same(firewall.reeve_json("sweep")["flows"], 1)
    same(firewall.reeve("sweep"), "0 flows removed\n")
    holds(OPEN in ports(), "the other one stays")


def entries(at, name):
    if not shutil.which("bpftool"):
        raise Skip("bpftool is not installed")
    return len(json.loads(run("bpftool", "-j", "map", "dump", "pinned", pin_of(at, name))))


@test("a flood from forged sources: tables stay bounded, memory is not taken, a limit for all holds", 90)
def _(world):
    client, firewall, server = world.client, world.firewall, world.server
    scapy = scapy_layers()
    firewall.reeve("down")
    firewall.apply(policy(f"allow {FLOOD}/udp limit 5/h each source max flows 2 each source",
                          f"allow {FLOOD}/udp limit 100/h burst 100 id all",
                          f"allow {OPEN}"))
    memory = firewall.reeve_json("status")["memory"]
    template = bytes(scapy.Ether(src=client.mac("eth0"), dst=firewall.mac("lan0"))
                     / scapy.IP(src="198.18.0.1", dst=server.address[4], chksum=0)
                     / scapy.UDP(sport=1, dport=FLOOD, chksum=0) / b"reeve")
    rng = random.Random(1)
    frames = []
    for _ in range(150000):
        source = struct.pack("!I", 0xc6120000 | rng.randrange(1, 1 << 17))
        ip = template[14:24] + b"\0\0" + source + template[30:34]
        total = sum(struct.unpack("!10H", ip))
        total = (total & 0xffff) + (total >> 16)
        checksum = ~((total & 0xffff) + (total >> 16)) & 0xffff
        frames.append(template[:14] + ip[:10] + struct.pack("!H", checksum) + ip[12:]
                      + struct.pack("!H", rng.randrange(1024, 65536)) + template[36:])
    with contextlib.ExitStack() as stack:
        sock = connect(stack, client, server.address[4], OPEN)
        send_frames(client, "eth0", frames)
        sock.send(b"reeve")
        same(sock.recv(100), b"reeve")
        same(tcp(client, server.address[4], OPEN), "open")
    # The one bucket for all was made meanwhile.
    holds(abs(firewall.reeve_json("status")["memory"] - memory) < 1000, "memory")
    holds(entries(firewall, "buckets") <= BUCKETS, "buckets")
    holds(PLACES / 4 < entries(firewall, "places") <= PLACES, "places")
    rules = {rule["id"]: rule["packets"] for rule in firewall.rules()}
    holds(rules["all"] <= 100, f"beyond the limit for all: {rules['all']}")


def make_world():
    world = router_world("limits")
    for at in (world.server, world.firewall):
        Echo(at, OPEN, SCARCE, SHORT)
    world.firewall.ip("route add 198.18.0.0/15 via 10.77.1.10")
    world.client.ip("route add blackhole 198.18.0.0/15")
    return world


main(make_world)
