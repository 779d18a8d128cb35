#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`intercept` on real traffic: TCP and UDP, both families, through the example of a transparent
proxy."""

import os
import socket
import time

from e2e import TOP, Echo, eventually, holds, main, router_world, same, tcp, test, udp

PROXY = os.environ.get("PROXY", os.path.join(TOP, "build", "proxy"))
PORT, HANDED, OTHER, CLOSED = 7001, 3129, 7002, 7003
TABLE = 0x72656576

HEAD = """
zone wan = wan0
zone lan = lan0

policy lan -> wan default drop { allow { 7001, 7002 }/tcp; allow { 7001, 7002 }/udp }
policy self -> any default allow
policy wan -> self default drop
policy lan -> self default drop
policy wan -> lan default drop
"""


def policy(more="", port=HANDED, head=HEAD):
    return head + f"""
intercept lan -> wan {{ {PORT}, {CLOSED} }} to 127.0.0.1:{port}{more}
intercept lan -> wan {{ {PORT}, {CLOSED} }} to [::1]:{port}{more}
"""


def start(world):
    proxy = world.firewall.start(PROXY, str(HANDED))
    eventually(lambda: f":{HANDED} " in world.firewall.run("ss", "-Hltn"),
               "the proxy listens")
    return proxy


def said(proxy):
    return proxy.stdout.readline().split()


def routing(world):
    """Rules and routes of reeve's own, both families."""
    found = []
    for family in ("-4", "-6"):
        found += [line for line in world.firewall.run("ip", family, "rule").splitlines()
                  if str(TABLE) in line]
        found += world.firewall.try_run("ip", family, "route", "show", "table",
                                        str(TABLE)).stdout.splitlines()
    return found


@test("TCP and UDP, both families, reach the server through it, and it sees both addresses")
def _(world):
    world.firewall.apply(policy())
    proxy = start(world)
    try:
        for word, call in (("tcp", tcp), ("udp", udp)):
            for family in (4, 6):
                server = world.server.address[family]
                same(call(world.client, server, PORT), "open", f"{word}, IPv{family}")
                line = said(proxy)
                same(line[:2] + line[3:], [word, world.client.address[family], "->", server,
                                           str(PORT)])
                same(world.echo.heard[-1], (word, PORT, world.firewall.wan[family], b"reeve"))
    finally:
        world.end(proxy)


if __name__ == "__main__":
    def make_world():
        world = router_world("intercept")
        world.echo = Echo(world.server, PORT, OTHER)
        return world

    main(make_world)
