#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The example of a transparent proxy, handed its packets by the kernel's routing alone: what is
local to a table of its own is delivered to this host, whatever its address."""

import os
import time

from e2e import TOP, Echo, holds, main, router_world, same, tcp, test, udp

PROXY = os.environ.get("PROXY", os.path.join(TOP, "build", "proxy"))
PORT = 7001
TABLE = 77
BURST = 200000


def make_world():
    world = router_world("proxy")
    for name in ("all", "lan0"):
        world.firewall.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
    for family, everything in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        world.firewall.run("ip", family, "rule", "add", "iif", "lan0", "lookup", str(TABLE))
        world.firewall.run("ip", family, "route", "add", "local", everything, "dev", "lo", "table",
                           str(TABLE))
    world.echo = Echo(world.server, PORT)
    return world


def start(world):
    proxy = world.firewall.start(PROXY, str(PORT))
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if f":{PORT} " in world.firewall.run("ss", "-Hltn"):
            return proxy
        time.sleep(0.05)
    raise AssertionError("the proxy listens")


def said(proxy, lines):
    return [proxy.stdout.readline().split() for _ in range(lines)]


@test("without it, nobody answers in the server's place")
def _(world):
    same(tcp(world.client, world.server.address[4], PORT), "timeout")
    same(world.echo.heard, [])


@test("TCP and UDP, both families, reach the server through it, and it says for whom")
def _(world):
    proxy = start(world)
    try:
        for word, call in (("tcp", tcp), ("udp", udp)):
            for family in (4, 6):
                server = world.server.address[family]
                same(call(world.client, server, PORT), "open", f"{word}, IPv{family}")
                line = said(proxy, 1)[0]
                same(line[:2] + line[3:], [word, world.client.address[family], "->", server,
                                           str(PORT)])
                same(world.echo.heard[-1], (word, PORT, world.firewall.wan[family], b"reeve"))
    finally:
        world.end(proxy)


@test("a long stream comes back whole, and a closed side is passed on")
def _(world):
    proxy = start(world)
    try:
        with world.client.socket(2, 1) as sock:
            sock.settimeout(10)
            sock.connect((world.server.address[4], PORT))
            sent = back = b""
            for number in range(BURST // 1000):
                piece = bytes([number % 251]) * 1000
                sock.sendall(piece)
                sent += piece
                while len(back) < len(sent):
                    back += sock.recv(65536)
            holds(back == sent, "what came back is what was sent")
            sock.shutdown(1)
            same(sock.recv(1), b"", "the end")
    finally:
        world.end(proxy)


if __name__ == "__main__":
    main(make_world)
