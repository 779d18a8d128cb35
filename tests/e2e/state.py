#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Flows on real traffic: reuse, resets, floods, connections older than the policy; and what watch
tells of it."""

import contextlib
import json
import random
import signal
import socket
import struct
import subprocess
import time

from e2e import (REEVE, Echo, eventually, holds, main, router_world, run, same, scapy_layers,
                 send_frames, tcp, test, together, udp)
from follow import detach, left_out

ALLOWED, DROPPED, REJECTED = 1001, 1002, 1003

HEAD = "zone wan = wan0\nzone lan = lan0\n"
POLICY = HEAD + f"""
policy lan -> wan default drop {{
    allow {ALLOWED}
    drop {DROPPED} log "as ordered"
    reject {REJECTED}
}}
policy lan -> self default drop {{ allow {ALLOWED} }}
policy self -> any default allow
"""


def conversation(at, address, port, source_port=0, reset=False):
    """One connection, an echo, an end; the port it came from."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with at.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if source_port:
            sock.bind(("::" if ":" in address else "0.0.0.0", source_port))
        if reset:  # linger 0: close() sends a reset
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.connect((address, port))
        sock.send(b"reeve")
        same(sock.recv(100), b"reeve")
        return sock.getsockname()[1]


@test("a connection from the same port begins anew after a close, and after a reset")
def _(world):
    world.firewall.apply(POLICY)
    for family in (4, 6):
        address = world.server.address[family]
        for number in range(12):
            # Ended by reset, so that the client itself does not wait with the port.
            conversation(world.client, address, ALLOWED, 40000 + family, reset=True)
        for number in range(3):
            conversation(world.client, address, ALLOWED, 41000 + family + number)


@test("states are followed: established, then closed by FIN or reset")
def _(world):
    firewall, client, server = world.firewall, world.client, world.server

    def state(port):
        rows = [flow["state"] for flow in firewall.flows() if flow["originator"]["port"] == port]
        return rows[0] if len(rows) == 1 else rows

    with client.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((server.address[4], ALLOWED))
        port = sock.getsockname()[1]
        eventually(lambda: state(port) == "established", "established")
    eventually(lambda: state(port) == "time-wait", "time-wait after both FINs")
    port = conversation(client, server.address[6], ALLOWED, reset=True)
    eventually(lambda: state(port) == "close", "close after a reset")


@test("many connections at once, each its own flow")
def _(world):
    client, server, firewall = world.client, world.server, world.firewall
    with contextlib.ExitStack() as stack:
        ports = set()
        for number in range(400):
            family = (socket.AF_INET, socket.AF_INET6)[number % 2]
            sock = stack.enter_context(client.socket(family, socket.SOCK_STREAM))
            sock.connect((server.address[4 + number % 2 * 2], ALLOWED))
            ports.add((4 + number % 2 * 2, sock.getsockname()[1]))
        flows = {(flow["family"], flow["originator"]["port"]) for flow in firewall.flows()
                 if flow["state"] == "established"}
        same(len(ports - flows), 0, "connections without a flow")


@test("a flood of SYNs takes no established connection away and lets new ones begin", 60)
def _(world):
    client, server, firewall = world.client, world.server, world.firewall
    scapy = scapy_layers()
    firewall.reeve("down")
    firewall.apply(POLICY + "options { embryonic-flows 4096 }\n")
    template = bytes(scapy.Ether(src=client.mac("eth0"), dst=firewall.mac("lan0"))
                     / scapy.IP(src="10.77.1.99", dst=server.address[4], chksum=0)
                     / scapy.TCP(sport=1, dport=ALLOWED, flags="S", chksum=0))
    rng = random.Random(1)
    frames = []
    for _ in range(60000):
        source = struct.pack("!HH", 0x0a4d, 0x0100 + rng.randrange(100, 250))
        ip = template[14:24] + b"\0\0" + source + template[30:34]
        total = sum(struct.unpack("!10H", ip))
        checksum = ~((total & 0xffff) + (total >> 16)) & 0xffff
        frames.append(template[:14] + ip[:10] + struct.pack("!H", checksum) + ip[12:]
                      + struct.pack("!H", rng.randrange(1024, 65536)) + template[36:])
    with client.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((server.address[4], ALLOWED))
        sock.send(b"before")
        same(sock.recv(100), b"before")
        # The server must not be what gives in.
        server.sysctl("net.ipv4.tcp_syncookies", 1)
        begin = time.monotonic()
        send_frames(client, "eth0", frames[:40000])
        sock.send(b"amid")
        same(sock.recv(100), b"amid", "the established connection")
        send_frames(client, "eth0", frames[40000:])
        status = firewall.reeve_json("status")
        print(f"# {len(frames)} SYNs in {time.monotonic() - begin:.2f} s, {status['embryonic']}")
        same(status["statistics"]["flows-failed"], 0, "packets without a record")
        holds(status["embryonic"]["used"] <= status["embryonic"]["max"], str(status["embryonic"]))
        sock.send(b"after")
        same(sock.recv(100), b"after")
    same(together([(tcp, client, server.address[family], ALLOWED) for family in (4, 6, 4, 6)]),
         ["open"] * 4, "new connections")


@test("forwarded connections older than the first apply, of which nothing tells, live on only with `tcp-pickup on`")
def _(world):
    client, server, firewall = world.client, world.server, world.firewall
    for option, expected in (("on", b"after"), ("off", None)):
        firewall.reeve("down")
        time.sleep(0.1)
        with client.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.connect((server.address[4], ALLOWED))
            sock.send(b"before")
            same(sock.recv(100), b"before")
            firewall.apply(POLICY + f"options {{ tcp-pickup {option} }}\n")
            sock.send(b"after")
            sock.settimeout(0.8)
            try:
                found = sock.recv(100)
            except socket.timeout:
                found = None
            same(found, expected, f"tcp-pickup {option}")


@test("a stateless rule makes no flow: its answers need a rule of their own")
def _(world):
    client, server, firewall = world.client, world.server, world.firewall
    there = f"policy lan -> wan default drop {{ allow {ALLOWED}/udp stateless }}\n"
    back = f"policy wan -> lan default drop {{ allow udp from port {ALLOWED} stateless }}\n"
    firewall.reeve("down")
    firewall.apply(HEAD + there)
    same(udp(client, server.address[4], ALLOWED), "timeout")
    same(firewall.flows(), [])
    firewall.apply(HEAD + there + back)
    same([udp(client, server.address[family], ALLOWED) for family in (4, 6)], ["open"] * 2)
    same(firewall.flows(), [])
    same((firewall.hits(f"allow {ALLOWED}/udp stateless"),
          firewall.hits(f"allow udp from port {ALLOWED} stateless")), (3, 2), "every packet counts")


@test("watch names rule, file and line of what it tells: drop, reject, log, new flow, guard")
def _(world):
    client, server, firewall = world.client, world.server, world.firewall
    firewall.apply(POLICY)
    path = world.folder + "/events"
    with open(path, "w", encoding="ascii") as file:
        process = firewall.start(REEVE, "watch", "--json", stdout=file)

    def events():
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def begun():
        udp(client, server.address[4], DROPPED, patience=0.02)
        return events()

    try:
        eventually(begun, "watch has begun", 5)
        for family in (4, 6):
            tcp(client, server.address[family], ALLOWED)
            tcp(client, server.address[family], REJECTED)
            udp(client, server.address[family], DROPPED, patience=0.05)
            udp(client, server.address[family], 1009, patience=0.05)
        world.firewall.nft("""
table inet redirected {
    chain pre {
        type nat hook prerouting priority dstnat
        iifname "lan0" tcp dport 1001 redirect to :1001
    }
}
""")
        tcp(client, server.address[4], ALLOWED, patience=0.1)
        wanted = {("flow", 4, ALLOWED), ("flow", 6, ALLOWED), ("reject", 4, REJECTED),
                  ("reject", 6, REJECTED), ("log", 4, DROPPED), ("log", 6, DROPPED),
                  ("drop", 4, 1009), ("drop", 6, 1009), *[("guard", 4, ALLOWED)] * (not left_out("netfilter-links"))}
        eventually(lambda: wanted <= {(event["kind"], event["family"], event["destination_port"])
                                      for event in events() if event["kind"] != "lost"},
                   f"{sorted(wanted)} among the events")
    finally:
        world.end(process)
        world.firewall.nft("flush ruleset\n")
    texts = {(event["kind"], event["destination_port"]):
             (event["verdict"], event["rule"]["text"], event["rule"]["line"])
             for event in events()
             if event["kind"] in ("reject", "log", "drop") and event["rule"]}
    lines = POLICY.splitlines()
    same(texts.get(("reject", REJECTED)), ("reject", "reject 1003",
                                           lines.index("    reject 1003") + 1))
    same(texts.get(("log", DROPPED)), ("drop", 'drop 1002 log "as ordered"',
                                       lines.index('    drop 1002 log "as ordered"') + 1))
    same(texts.get(("drop", 1009), ("", ""))[:2], ("drop", "default drop"))


@test("watch in a terminal's words, ended by Ctrl-C, with status 0")
def _(world):
    client, server, firewall = world.client, world.server, world.firewall
    firewall.apply(POLICY)
    path = world.folder + "/words"
    with open(path, "w", encoding="ascii") as file:
        process = firewall.start(REEVE, "watch", stdout=file, stderr=subprocess.STDOUT)

    def read():
        with open(path, encoding="utf-8") as file:
            return file.read()

    def told():
        udp(client, server.address[4], DROPPED, patience=0.02)
        return "1002" in read()

    try:
        eventually(told, "an event", 8)
    except AssertionError as error:
        raise AssertionError(f"{error}; it said {read()!r}, status {process.poll()}") from error
    process.send_signal(signal.SIGINT)
    same(process.wait(3), 0)
    world.end(process)
    line = read().splitlines()[0]
    holds(all(word in line for word in ("drop", "lan -> wan", "10.77.1.10", "203.0.113.80:1002",
                                        "firewall-policy.reeve:")), line)


@test("programs that somebody takes away are missed by status and put back by apply", 60)
def _(world):
    client, server, firewall = world.client, world.server, world.firewall
    for interface in ("lan0", "wan0"):
        for link in ("arrive", "depart"):
            firewall.apply(POLICY)
            detach(firewall, f"{link}_{firewall.index(interface)}")
            holds("DETACHED" in firewall.reeve("status"),
                  f"{link} of {interface}:\n" + firewall.reeve("status"))
            what = f"without {link} of {interface}"
            if link == "arrive":
                same([tcp(client, server.address[family], DROPPED) for family in (4, 6)],
                     ["timeout"] * 2, f"{what}: what the policy drops")
            if (link, interface) == ("arrive", "lan0"):
                same([tcp(client, firewall.lan[family], ALLOWED) for family in (4, 6)],
                     ["timeout"] * 2, f"{what}: for the host, judged by nobody")
            firewall.apply(POLICY)
            same([tcp(client, address[family], ALLOWED) for family in (4, 6)
                  for address in (server.address, firewall.lan)],
                 ["open"] * 4, f"{link} of {interface} is back")
            holds("DETACHED" not in firewall.reeve("status"), firewall.reeve("status"))


@test("show prints the policy as it was written; applied again it is the same policy")
def _(world):
    firewall = world.firewall
    firewall.apply(POLICY)
    digest = firewall.reeve_json("status")["digest"]
    firewall.apply(firewall.reeve("show"))
    same(firewall.reeve_json("status")["digest"], digest)


def make_world():
    world = router_world("state")
    for namespace in (world.client, world.server, world.firewall):
        Echo(namespace, ALLOWED, DROPPED, REJECTED)
    return world


main(make_world)
