#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Floods with forged sources, while fifty connections transfer: at a pace that the machine carries,
they keep what they have without a filter, and none is lost."""

import contextlib
import os
import selectors
import socket
import sys
import threading
import time

from e2e import eventually, holds, main, router_world, same, test

FLOOD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flood.py")
OPEN, BUSY = 5001, 5002  # what is flooded; where the connections go
CONNECTIONS, CHUNK, TICK = 50, 4096, 0.05
PACE, SECONDS = 15000, 2
EMBRYONIC = 1024
KEEP = 0.95
TRIES = 4

POLICY = f"""zone wan = wan0
zone lan = lan0
policy lan -> {{ wan, self }} default drop {{
    allow {{ {OPEN}, {BUSY} }}
    allow icmp echo-request
    allow icmpv6 echo-request
}}
policy self -> any default allow
options {{ embryonic-flows {EMBRYONIC} }}
"""


class Transfers:
    """Connections from the client to one end; each sends a chunk every tick, and what comes there
    is counted."""

    def __init__(self, world, at, addresses):
        self.stack = contextlib.ExitStack()
        self.going = True
        self.offered = self.delivered = 0
        self.lost = []
        self.senders = []
        self.selector = selectors.DefaultSelector()
        listeners = {}
        for family, kind in ((4, socket.AF_INET), (6, socket.AF_INET6)):
            listener = listeners[family] = self.stack.enter_context(at.socket(kind, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((addresses[family], BUSY))
            listener.listen(CONNECTIONS)
        for number in range(CONNECTIONS):
            family = 4 if number % 2 else 6
            kind = socket.AF_INET6 if family == 6 else socket.AF_INET
            sock = self.stack.enter_context(world.client.socket(kind, socket.SOCK_STREAM))
            sock.settimeout(5)
            sock.connect((addresses[family], BUSY))
            taken = self.stack.enter_context(listeners[family].accept()[0])
            taken.setblocking(False)
            sock.setblocking(False)
            self.senders.append(sock)
            self.selector.register(taken, selectors.EVENT_READ)
        self.threads = [threading.Thread(target=target, daemon=True) for target in (self.send, self.receive)]
        for thread in self.threads:
            thread.start()

    def send(self):
        due = time.monotonic()
        while self.going:
            for sock in self.senders:
                try:
                    self.offered += sock.send(bytes(CHUNK))
                except BlockingIOError:
                    pass  # its buffer is full: what does not get through is not offered either
                except OSError as error:
                    self.lost.append(error)
            due += TICK
            time.sleep(max(0, due - time.monotonic()))

    def receive(self):
        while self.going or self.delivered < self.offered:
            for key, _ in self.selector.select(0.5):
                try:
                    data = key.fileobj.recv(1 << 20)
                except OSError as error:
                    self.lost.append(error)
                    return
                if not data:
                    self.lost.append("closed")
                    return
                self.delivered += len(data)

    def close(self):
        """All that was sent arrives, then they end."""
        self.going = False
        for thread in self.threads:
            thread.join(10)
        behind = self.offered - self.delivered
        self.selector.close()
        self.stack.close()
        same((self.lost, behind), ([], 0), "connections lost, bytes that did not arrive")


def flood(world, kind, to):
    """Starts it; it says "ready" when it begins, and at last how many."""
    client = world.client
    return client.start(sys.executable, FLOOD, "eth0", world.firewall.mac("lan0"), kind, to, str(OPEN),
                        str(PACE), str(SECONDS))


def goodput(world, at, addresses, kind, family):
    """Bytes a second that arrive during the flood."""
    transfers = Transfers(world, at, addresses)
    try:
        eventually(lambda: transfers.delivered > CONNECTIONS * CHUNK, "they transfer", 5)
        process = flood(world, kind, addresses[family])
        same(process.stdout.readline(), "ready\n")
        before, start = transfers.delivered, time.monotonic()
        sent = int(process.stdout.readline())
        rate = (transfers.delivered - before) / (time.monotonic() - start)
        process.wait()
        world.end(process)
    finally:
        transfers.close()
    return rate, sent


def carries(world, at, addresses, kind, family):
    firewall = world.firewall
    ratios = []
    for _ in range(TRIES):  # the machine may be busy with something else just then
        firewall.reeve("down")
        bare, sent_bare = goodput(world, at, addresses, kind, family)
        firewall.apply(POLICY)
        before = firewall.statistics()
        ours, sent = goodput(world, at, addresses, kind, family)
        ratios.append(ours / bare)
        status = firewall.reeve_json("status")
        statistics = status["statistics"]
        holds(sent > PACE * SECONDS / 3 and sent_bare > PACE * SECONDS / 3,
              f"the flood got not going: {sent_bare}, {sent}")
        begun = statistics["flows-new"] - before["flows-new"]
        holds(begun > EMBRYONIC, f"{begun} flows begun: the table of embryonic flows did not run over")
        holds(status["embryonic"]["used"] <= EMBRYONIC, status["embryonic"])
        print(f"# {kind} IPv{family}: {sent} packets, {begun} flows begun; {ours / 1e6:.2f} MB/s of "
              f"{bare / 1e6:.2f} MB/s", flush=True)
        if ratios[-1] >= KEEP:
            return
    raise AssertionError(f"kept {max(ratios):.3f} of the throughput at best; {KEEP} is asked for")


for kind in ("syn", "udp", "echo", "fragment"):
    for where in ("forwarded", "to the firewall"):
        family = 4 if (kind == "fragment" or (kind == "udp") == (where == "forwarded")) else 6

        @test(f"{kind} flood, {where}, IPv{family}: fifty connections keep their throughput, none is lost", 90)
        def _(world, kind=kind, where=where, family=family):
            at, addresses = ((world.server, world.server.address) if where == "forwarded"
                             else (world.firewall, world.firewall.lan))
            carries(world, at, addresses, kind, family)


def world():
    made = router_world("floods")
    for at in (made.firewall, made.server):
        at.ip("route add 198.18.0.0/15 via " + (made.client.address[4] if at is made.firewall else
                                               made.firewall.wan[4]),
              "route add 2001:db8:bad::/48 via " + (made.client.address[6] if at is made.firewall else
                                                    made.firewall.wan[6]))
    return made


if __name__ == "__main__":
    main(world)
