#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Flow tables of another size, while flows live in those there are."""

import contextlib
import json
import os
import shutil
import socket

from e2e import REEVE, Echo, Skip, eventually, holds, main, router_world, run, same, test, try_run
from follow import left_out, pin_of
from traffic import Conversation, start_all

ECHO, PLAIN = 5001, 5002
SIZES = [(131072, 65536), (4096, 2048), (300000, 1024), (2048, 65536)]
NOTHING_LOST = ("flows-cut", "sanity", "outside-window", "no-policy", "guard-local-in", "guard-forward",
                "guard-post-routing", "flows-failed", "flows-full")


def policy(flows, embryonic):
    """Nothing is taken up in mid-stream: a connection lives by its flow or not at all."""
    return f"""zone wan = wan0
zone lan = lan0
policy lan -> wan default drop {{ allow {{ {ECHO}, {PLAIN} }} }}
policy lan -> self default drop {{ allow {ECHO} }}
policy self -> any default allow
options {{ flows {flows}; embryonic-flows {embryonic}; tcp-pickup off }}
"""


@contextlib.contextmanager
def talking(world):
    """Conversations through the firewall and with it, which must neither end nor lose a segment."""
    talks = {(at, family): Conversation(world.client, addresses[family], ECHO)
             for at, addresses in (("server", world.server.address), ("firewall", world.firewall.lan))
             for family in (4, 6)}
    start_all(talks)
    before = world.firewall.statistics()
    try:
        yield talks
    finally:
        retransmitted = {name: talk.stop() for name, talk in talks.items()}
    same({name: talk.error for name, talk in talks.items()}, {name: None for name in talks})
    same(retransmitted, {name: 0 for name in talks}, "retransmitted segments")
    after = world.firewall.statistics()
    same({name: after[name] - before[name] for name in NOTHING_LOST},
         {name: 0 for name in NOTHING_LOST})


def progress(talks):
    """All go on from here."""
    rounds = {name: talk.rounds for name, talk in talks.items()}
    eventually(lambda: all(talk.error or talk.rounds > rounds[name] + 5
                           for name, talk in talks.items()), "the conversations go on", 10)


def tables(world):
    status = world.firewall.reeve_json("status")
    return status["flows"]["max"], status["embryonic"]["max"]


def leftovers(world):
    found = try_run("find", os.path.dirname(pin_of(world.firewall, "")), "-name", "next_*").stdout.split()
    holds(not found, f"left over: {found}")


def unanswered(world, family):
    """A datagram that nobody has answered yet: (our socket, the server's, from whom)."""
    listener = world.server.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                                   socket.SOCK_DGRAM)
    listener.bind((world.server.address[family], PLAIN))
    sock = world.client.socket(listener.family, socket.SOCK_DGRAM)
    sock.connect((world.server.address[family], PLAIN))
    sock.send(b"asked")
    return sock, listener, listener.recvfrom(100)[1]


@test("tables grow and shrink under conversations: none ends, nothing is retransmitted")
def _(world):
    firewall = world.firewall
    firewall.apply(policy(*SIZES[0]))
    same(tables(world), SIZES[0])
    with talking(world) as talks:
        progress(talks)
        for sizes in SIZES[1:] + SIZES[:1]:
            firewall.apply(policy(*sizes))
            same(tables(world), sizes)
            progress(talks)
    leftovers(world)


@test("what waits for its first answer gets it in tables of another size")
def _(world):
    firewall = world.firewall
    firewall.apply(policy(*SIZES[0]))
    with contextlib.ExitStack() as stack:
        waiting = []
        for family in (4, 6):
            sock, listener, peer = unanswered(world, family)
            stack.enter_context(sock)
            stack.enter_context(listener)
            waiting.append((sock, listener, peer))
        firewall.apply(policy(*SIZES[1]))
        same(len(firewall.flows(f"{PLAIN}/udp")), 2, "flows in the new table")
        for sock, listener, peer in waiting:
            listener.sendto(b"answer", peer)
            same(sock.recv(100), b"answer")


@test("counts of a flow go on")
def _(world):
    firewall = world.firewall
    firewall.apply(policy(*SIZES[0]))
    with world.client.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((world.server.address[4], ECHO))
        port = sock.getsockname()[1]
        for sizes in SIZES:
            firewall.apply(policy(*sizes))
            sock.sendall(b"x" * 100)
            got = b""
            while len(got) < 100:
                got += sock.recv(100)
        eventually(lambda: [flow["original"]["bytes"] >= 4 * 152 for flow in firewall.flows()
                            if flow["originator"]["port"] == port] == [True], "all bytes counted")


@test("fewer places than flows live: refused, and said how; the old policy goes on")
def _(world):
    firewall, client = world.firewall, world.client
    firewall.apply(policy(*SIZES[0]))
    with contextlib.ExitStack() as stack:
        for _ in range(80):
            sock = stack.enter_context(client.socket(socket.AF_INET, socket.SOCK_STREAM))
            sock.connect((world.server.address[4], ECHO))
            sock.send(b"x")
            sock.recv(1)
        generation = firewall.reeve_json("status")["generation"]
        done = firewall.try_reeve("apply", firewall.policy(policy(64, 1024), "few.reeve"))
        same((done.returncode, "flows kill" in done.stderr), (1, True), done.stderr)
        same(firewall.reeve_json("status")["generation"], generation)
        same(tables(world), SIZES[0])


def tables_of_flows():
    """Sizes of the tables of replied flows, of all the machine."""
    return sorted(one["max_entries"] for one in json.loads(run("bpftool", "-j", "map", "show"))
                  if one.get("name") == "flows" and one["type"] == "hash")


@test("the old tables are freed, also when they once were full and swept")
def _(world):
    firewall, client = world.firewall, world.client
    if not shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        raise Skip("bpftool is not installed")
    firewall.reeve("down")
    eventually(lambda: 64 not in tables_of_flows(), "no other table of that size", 10)
    firewall.apply(policy(64, 1024))
    with contextlib.ExitStack() as stack:
        for _ in range(80):
            sock = stack.enter_context(client.socket(socket.AF_INET, socket.SOCK_STREAM))
            sock.connect((world.server.address[4], ECHO))
            sock.send(b"x")
            sock.recv(1)
        holds(firewall.statistics()["flows-full"] > 0, "the table did not fill up")
        holds(64 in tables_of_flows(), tables_of_flows())
        firewall.apply(policy(*SIZES[1]))
        eventually(lambda: 64 not in tables_of_flows(), "the old table is gone", 10)


@test("killed amid the change: both sets of programs judge alike, and the next command ends it", 120)
def _(world):
    """Each link changes over by a call of its own, so some interfaces are left with old programs."""
    if not shutil.which("strace"):
        raise Skip("strace is not installed")
    firewall = world.firewall
    paths = [firewall.policy(policy(*size), f"size{i}.reeve") for i, size in enumerate(SIZES[:2])]
    firewall.reeve("apply", paths[0])
    kills = worst_moments(firewall, paths[1])
    firewall.reeve("apply", paths[0])
    with talking(world) as talks:
        progress(talks)
        for number, (call, when) in enumerate(kills):
            killed = firewall.try_run("strace", "-qq", "-e", "trace=" + call, "-e",
                                      f"inject={call}:signal=SIGKILL:when={when}", REEVE, "apply",
                                      paths[1])
            holds(killed.returncode != 0, f"not killed at {call} {when}")
            progress(talks)
            if number % 2:
                firewall.reeve("sync")
                leftovers(world)
            firewall.reeve("apply", paths[0])
            same(tables(world), SIZES[0], f"{call} {when}")
            leftovers(world)
            progress(talks)


def worst_moments(firewall, path):
    """(system call, which of them) while links change over, flows move and pins are renamed."""
    done = firewall.try_run("strace", "-qq", "-e", "trace=bpf,rename", REEVE, "apply", path)
    same(done.returncode, 0, done.stderr)
    calls = [line.split("(")[0] for line in done.stderr.splitlines()]
    bpf = [line for line in done.stderr.splitlines() if line.startswith("bpf(")]
    updates = [number for number, line in enumerate(bpf, 1) if "BPF_LINK_UPDATE" in line]
    if not left_out("tcx"):
        same(len(updates), 4, "links that change over")
    renames = calls.count("rename")
    holds(renames > 4, "pins are renamed")
    # A filter is changed by netlink, so whatever calls happen to be near then.
    near = [*updates, updates[-1] + 1, updates[-1] + 5] if updates else range(len(bpf) - 60,
                                                                              len(bpf) - 20, 8)
    return ([("bpf", number) for number in near] +
            [("rename", number) for number in (1, 2, renames // 2, renames)])


def world():
    made = router_world("sizes")
    Echo(made.server, ECHO)
    Echo(made.firewall, ECHO)
    return made


if __name__ == "__main__":
    main(world)
