#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`protect`: SYNs answered with cookies before the stack hears of them, and the connections that come
of it; floods of forged SYNs and ACKs."""

import json
import os
import socket
import time

from e2e import (Echo, Sniffer, eventually, expect, holds, host_world, main, run, same, scapy_layers,
                 send_frames, tcp, test)
from flood import Flood, Frames

OPEN, SHUT, PLAIN, CLOSED = 8443, 8444, 8445, 8446
PACE = 10000

POLICY = f"""zone wan = eth0
early wan {{ protect {{ {OPEN}, {SHUT}, {CLOSED} }}/tcp }}
policy wan -> self default drop {{
    allow {{ {OPEN}, {PLAIN}, {CLOSED} }}
    allow {{ icmp, icmpv6 }}
}}
policy self -> any default allow
"""


def made(name):
    world = host_world(name)
    Echo(world.host, OPEN, SHUT, PLAIN)
    return world


def counted(host, *names):
    found = host.statistics()
    return tuple(found[name] for name in names)


def stack(host):
    """What the host's stack counted: SYNs it answered itself, and listeners that overflowed."""
    rows = run("ip", "netns", "exec", host.name, "nstat", "-asz", "-j")
    found = json.loads(rows)["kernel"]
    return found["TcpExtListenOverflows"] + found["TcpExtListenDrops"], found["TcpPassiveOpens"]


def half_open(host):
    return len(run("ip", "netns", "exec", host.name, "ss", "-Htan", "state", "syn-recv").split("\n")) - 1


@test("a connection to a protected service begins with a cookie, and goes on as any other")
def _(world):
    host, peer = world.host, world.peer
    host.apply(POLICY)
    same(host.reeve_json("status")["protect"], {"on": True, "why": None})
    expect({f"IPv{family}, {port}": (word, lambda f=family, p=port: tcp(peer, host.address[f], p))
            for family in (4, 6) for port, word in ((OPEN, "open"), (PLAIN, "open"))})
    same(counted(host, "syn-answered", "cookie-right", "cookie-wrong", "syn-refused"), (2, 2, 0, 0))


if __name__ == "__main__":
    main(lambda: made("protect"))
