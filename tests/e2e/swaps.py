#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Swapping policies under traffic: nothing is lost, nothing leaks, connections live on."""

import contextlib
import errno
import json
import re
import socket
import threading
import time

from e2e import REEVE, Echo, eventually, holds, main, router_world, run, same, tcp, test
from traffic import Conversation, Count, Stream, start_all

ALLOWED, DROPPED, PAIR_ALLOWED = 5001, 5002, 5003
SWAPS = 200
PACE = 250  # packets a second of each of 16 streams

HEAD = "zone wan = wan0\nzone lan = lan0\n"

# By pair of zones, under which names all policies count what is allowed and what is dropped.
PAIRS = {"lan -> wan": "forth", "wan -> lan": "back", "lan -> self": "in", "self -> lan": "out"}


def policies():
    """Three policies that agree on what is measured and on nothing else: rules, order, zones."""
    small = HEAD + "policy self -> wan default allow\n" + "".join(f"""
policy {pair} default drop {{
    allow {ALLOWED}/udp id {name}-allowed
    allow {ALLOWED}/tcp
    drop {DROPPED}/udp id {name}-dropped
}}
""" for pair, name in PAIRS.items())
    many = "".join(f"    {'allow' if port % 2 else 'reject'} {port}/tcp from 192.0.2.{port % 256}\n"
                   for port in range(6000, 6400))
    large = """zone unused = nothing0
zone lan = lan0
zone wan = wan0
policy self -> wan default allow
""" + "".join(f"""
policy {pair} default reject {{
{many}    drop {DROPPED}-{DROPPED + 50}/udp id {name}-dropped
    allow {ALLOWED}/tcp
    allow {ALLOWED}/udp id {name}-allowed
}}
""" for pair, name in PAIRS.items())
    defaults = HEAD + "policy self -> wan default allow\n" + "".join(f"""
policy {pair} default allow {{
    reject 7000-7100/tcp
    allow {ALLOWED - 50}-{ALLOWED}/udp id {name}-allowed
    drop 1-{DROPPED}/udp id {name}-dropped
}}
""" for pair, name in PAIRS.items())
    return [small, large, defaults]


def ends(world):
    """(pair, who sends, who listens, the listener's addresses): forwarded both ways, to and from the
    firewall itself."""
    return [("lan -> wan", world.client, world.server, world.server.address),
            ("wan -> lan", world.server, world.client, world.client.address),
            ("lan -> self", world.client, world.firewall, world.firewall.lan),
            ("self -> lan", world.firewall, world.client, world.client.address)]


class Everything:
    """Numbered packets over every pair, both families: those that all policies allow, and those
    that all of them drop. And conversations, for what is answered."""

    def __init__(self, world):
        self.counts, self.streams, self.talks = {}, {}, {}
        for pair, sender, listener, addresses in ends(world):
            for family in (4, 6):
                for port, kind in ((ALLOWED, "allowed"), (DROPPED, "dropped")):
                    name = (pair, family, kind)
                    # None of the ports that they go to: what comes back must not look like a reply.
                    first = 10000 + 25000 * (sender is world.firewall)
                    self.counts[name] = Count(listener, addresses[family], port,
                                              sender_of(world, sender, family))
                    self.streams[name] = Stream(sender, addresses[family], port, first, 25000, PACE)
                if pair.startswith("lan"):
                    self.talks[pair, family] = Conversation(sender, addresses[family], ALLOWED)

    def start(self):
        for threads in (self.counts, self.streams, self.talks):
            start_all(threads)

    def stop(self):
        """Segments that were sent again, by conversation."""
        for stream in self.streams.values():
            stream.stop()
        time.sleep(0.3)
        retransmitted = {name: talk.stop() for name, talk in self.talks.items()}
        for count in self.counts.values():
            count.stop()
        return retransmitted

    def sent(self, pair, kind):
        return sum(self.streams[pair, family, kind].sent for family in (4, 6))


def sender_of(world, sender, family):
    """The address that its packets to the client or from it carry."""
    return world.firewall.lan[family] if sender is world.firewall else sender.address[family]


@test(f"{SWAPS} swaps under traffic: none lost, none leaked, each judged once, connections live on", 100)
def _(world):
    firewall = world.firewall
    paths = [firewall.policy(text, f"{number}.reeve") for number, text in enumerate(policies())]
    firewall.reeve("apply", paths[0])
    load = Everything(world)
    before = firewall.statistics()
    load.start()
    generation = firewall.reeve_json("status")["generation"]
    start = time.monotonic()
    for swap in range(SWAPS):
        firewall.reeve("apply", paths[(swap + 1) % len(paths)])
    took = time.monotonic() - start
    retransmitted = load.stop()
    after = firewall.statistics()
    print(f"# {SWAPS} swaps in {took:.2f} s; {sum(s.sent for s in load.streams.values())} packets, "
          f"{sum(t.rounds for t in load.talks.values())} rounds of {len(load.talks)} conversations, "
          f"slowest {max(t.slowest for t in load.talks.values()) * 1000:.0f} ms")
    same(firewall.reeve_json("status")["generation"] - generation, SWAPS, "applies")
    # The kernel tells who sends by IPv6 that departure has dropped it.
    same({name: [error for error in stream.failed
                 if name[::2] != ("self -> lan", "dropped") or error.errno != errno.ENOBUFS]
          for name, stream in load.streams.items()},
         {name: [] for name in load.streams}, "errors while sending")
    for name, count in load.counts.items():
        expected = range(load.streams[name].sent) if name[2] == "allowed" else ()
        holds(sorted(count.seen) == list(expected),
              f"{name}: {len(set(count.seen))} numbers arrived, of {len(expected)} that should")
    # Every packet was judged once, by the old policy or by the new: counts are carried over.
    same({rule["id"]: rule["packets"] for rule in firewall.rules()
          if rule["id"].endswith(("-allowed", "-dropped"))},
         {f"{name}-{kind}": load.sent(pair, kind) for pair, name in PAIRS.items()
          for kind in ("allowed", "dropped")}, "counted by rules")
    same({name: talk.error for name, talk in load.talks.items()}, {name: None for name in load.talks})
    same(retransmitted, {name: 0 for name in load.talks}, "retransmitted segments")
    holds(all(talk.rounds > 20 for talk in load.talks.values()), "the conversations stood still")
    same({name: after[name] - before[name] for name in (
        "no-policy", "guard-local-in", "guard-forward", "guard-post-routing", "sanity")},
         {"no-policy": 0, "guard-local-in": 0, "guard-forward": 0, "guard-post-routing": 0,
          "sanity": 0})


@test("a connection that the new policy would let begin lives on, whatever it says of packets; others are cut")
def _(world):
    firewall, client = world.firewall, world.client
    open_ = HEAD + f"policy lan -> wan default drop {{ allow {PAIR_ALLOWED}/tcp }}\n"
    # A flow's record does not hold the length: that condition counts as matching.
    half = HEAD + ("policy lan -> wan default drop {\n"
                   f"    allow {PAIR_ALLOWED}/tcp from 0.0.0.0/0 length 1-20\n}}\n")
    firewall.apply(open_)
    talks = {family: Conversation(client, world.server.address[family], PAIR_ALLOWED)
             for family in (4, 6)}
    start_all(talks)
    eventually(lambda: all(talk.rounds > 5 for talk in talks.values()), "conversations")
    cut = firewall.statistics()["flows-cut"]
    firewall.apply(half)
    eventually(lambda: firewall.statistics()["flows-cut"] > cut, "a flow that is cut")
    time.sleep(0.1)
    stood, went = talks[6].rounds, talks[4].rounds
    same([tcp(client, world.server.address[family], PAIR_ALLOWED) for family in (4, 6)],
         ["timeout"] * 2)
    same(talks[6].rounds, stood, "rounds of the one that is cut")
    holds(talks[4].rounds > went + 50, "the other one stood still")
    same(firewall.statistics()["flows-cut"] - cut, 1)
    firewall.apply(open_)
    same(talks[4].stop(), 0, "retransmitted segments")
    same(talks[4].error, None)
    talks[6].sock.shutdown(socket.SHUT_RDWR)
    talks[6].stop()


@test("apply --flows keep: a connection lives on under a policy that would not let it begin")
def _(world):
    firewall, client = world.firewall, world.client
    open_ = HEAD + f"policy lan -> wan default drop {{ allow {PAIR_ALLOWED}/tcp }}\n"
    shut = HEAD + "policy lan -> wan default drop\n"
    firewall.apply(open_)
    talks = {family: Conversation(client, world.server.address[family], PAIR_ALLOWED)
             for family in (4, 6)}
    start_all(talks)
    firewall.reeve("apply", "--flows", "keep", firewall.policy(shut, "shut.reeve"))
    time.sleep(0.3)
    same([tcp(client, world.server.address[family], PAIR_ALLOWED) for family in (4, 6)],
         ["timeout"] * 2)
    firewall.apply(open_)
    same([talk.stop() for talk in talks.values()], [0, 0], "retransmitted segments")
    same([talk.error for talk in talks.values()], [None, None])
    holds(all(talk.rounds > 50 for talk in talks.values()), "the conversations stood still")


@test("flows kill FILTER ends just those; apply --flows kill ends all")
def _(world):
    firewall, client = world.firewall, world.client
    # What has no flow any more may not be taken up in mid-stream.
    open_ = HEAD + (f"policy lan -> wan default drop {{ allow {PAIR_ALLOWED}/tcp }}\n"
                    "options { tcp-pickup off }\n")
    firewall.apply(open_)
    talks = {family: Conversation(client, world.server.address[family], PAIR_ALLOWED)
             for family in (4, 6)}
    start_all(talks)
    eventually(lambda: all(talk.rounds > 5 for talk in talks.values()), "conversations")
    words = (f"{PAIR_ALLOWED}/tcp", "to", world.server.address[6], "state", "established")
    same(json.loads(firewall.reeve("flows", "kill", "--dry-run", "--json", *words)),
         {"ok": True, "dry_run": True, "flows": 1, "session_spared": False})
    same(json.loads(firewall.reeve("flows", "kill", "--json", *words)),
         {"ok": True, "dry_run": False, "flows": 1, "session_spared": False})
    time.sleep(0.1)
    stood, went = talks[6].rounds, talks[4].rounds
    eventually(lambda: talks[4].rounds > went + 20, "the other conversation goes on")
    same(talks[6].rounds, stood, "rounds of the one that is killed")
    firewall.reeve("apply", "--flows", "kill", firewall.policy(open_, "again.reeve"))
    time.sleep(0.1)
    stood = talks[4].rounds
    time.sleep(0.2)
    same(talks[4].rounds, stood, "all are killed")
    for talk in talks.values():
        talk.sock.shutdown(socket.SHUT_RDWR)
        talk.stop()
    same(firewall.try_run(REEVE, "flows", "kill").returncode, 2, "which ones?")


@test("counts survive a swap for rules that stay")
def _(world):
    firewall = world.firewall
    kept = f"allow {ALLOWED}/tcp id kept"
    firewall.apply(HEAD + f"policy lan -> self default drop {{ {kept}; drop 9/udp }}\n")
    for _ in range(3):
        same(tcp(world.client, firewall.lan[4], ALLOWED), "open")
    firewall.apply(HEAD + "policy lan -> wan default reject { allow 1-9/tcp }\n"
                   f"policy lan -> self default drop {{ drop 7/tcp; {kept} }}\n")
    same(tcp(world.client, firewall.lan[4], ALLOWED), "open")
    same({rule["id"]: rule["packets"] for rule in firewall.rules() if rule["id"] == "kept"},
         {"kept": 4})


@test("bulk data keeps flowing through swaps")
def _(world):
    with contextlib.ExitStack() as stack:
        firewall = world.firewall
        paths = [firewall.policy(re.sub("default (drop|reject) {", r"default \1 { allow 5005;", text),
                                 f"{number}.reeve")
                 for number, text in enumerate(policies())]
        firewall.reeve("apply", paths[0])
        listener = stack.enter_context(world.server.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((world.server.address[4], 5005))
        listener.listen(1)
        sender = stack.enter_context(world.client.socket(socket.AF_INET, socket.SOCK_STREAM))
        sender.connect((world.server.address[4], 5005))
        receiver = stack.enter_context(listener.accept()[0])
        receiver.settimeout(5)
        received, sent, swaps = [], [], 0
        deadline = time.monotonic() + 2

        def receive():
            while chunk := receiver.recv(1 << 18):
                received.append(len(chunk))

        def send():
            sender.settimeout(5)
            data = b"\0" * (1 << 18)
            while time.monotonic() < deadline or (
                    swaps < 3 and time.monotonic() < deadline + 20):  # a busy machine
                sender.sendall(data)
                sent.append(len(data))
            sender.shutdown(socket.SHUT_WR)

        threads = [threading.Thread(target=function) for function in (receive, send)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            firewall.reeve("apply", paths[swaps % len(paths)])
            swaps += 1
        same(sum(received), sum(sent), "bytes that arrived")
        holds(sum(sent) > 10 << 20, "hardly anything was sent")
        print(f"# {swaps} swaps during {sum(sent) >> 20} MiB")
        holds(swaps > 2, "too few swaps to say anything")


def make_world():
    world = router_world("swaps")
    for at in (world.server, world.firewall):
        run("nsenter", f"--net={at.path}", "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1")
    # Conversations talk to an echo of TCP alone: UDP on the same ports is counted, not answered.
    Echo(world.server, ALLOWED, PAIR_ALLOWED, udp=False)
    Echo(world.firewall, ALLOWED, udp=False)
    return world


main(make_world)
