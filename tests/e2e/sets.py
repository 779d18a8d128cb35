#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Dynamic sets on real traffic: changed while it flows, added to by rules, timed out, full, replaced
in one step, kept from one policy to the next."""

import contextlib
import json
import socket
import struct
import threading
import time

from e2e import (Echo, eventually, holds, main, ping, router_world, same, tcp, test, udp)
from traffic import Conversation, Count, Stream

OPEN, SECRET, KNOCK, COUNTED = 1001, 1002, 1003, 1004
EXTRA = {4: [f"10.77.1.{n}" for n in range(11, 17)],
         6: [f"2001:db8:77:1::{n}" for n in range(11, 17)]}

HEAD = """zone wan = wan0
zone lan = lan0
policy self -> any default allow
"""


def policy(*rules, sets=(), more=""):
    return HEAD + "".join(f"set {line}\n" for line in sets) + \
        "policy lan -> { self, wan } default drop {\n" + \
        "".join(f"    {rule}\n" for rule in rules) + "    allow icmpv6\n}\n" + more


def entries(at, name):
    """What a set holds, as (entry, seconds left or None)."""
    return [(row["entry"], row["expires_in"])
            for row in map(json.loads, at.reeve("set", "list", name, "--json").splitlines())]


def names(at, name):
    return [entry for entry, _ in entries(at, name)]


def figures(at, name):
    return next(one for one in at.reeve_json("set", "list")["sets"] if one["name"] == name)


def knock(at, address, source=None, port=KNOCK):
    """One packet that nobody answers."""
    with contextlib.closing(at.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                                      socket.SOCK_DGRAM)) as sock:
        if source:
            sock.bind((source, 0))
        sock.sendto(b"knock", (address, port))


@test("what is in a set is decided by what it holds at that moment: in, out, both families, to this host and through it")
def _(world):
    firewall, client = world.firewall, world.client

    def ask(address, port, source, patience=1):
        return udp(client, address, port, source=source, patience=patience)

    firewall.apply(policy("drop from @bad", "drop to @closed", f"allow {OPEN}",
                          sets=("bad = dynamic { max 100 }", "closed = dynamic { max 100 }")))
    for family in (4, 6):
        for address in (firewall.lan[family], world.server.address[family]):
            same(tcp(client, address, OPEN, source=client.address[family]), "open", address)
            for entry in (client.address[family],
                          "10.77.0.0/16" if family == 4 else "2001:db8:77::/48",
                          "10.77.1.9-10.77.1.10" if family == 4 else
                          "2001:db8:77:1::7-2001:db8:77:1::10",
                          "0.0.0.0/0" if family == 4 else "::/0"):
                firewall.reeve("set", "add", "bad", entry)
                same(ask(address, OPEN, client.address[family], 0.3), "timeout", f"{address} by {entry}")
                firewall.reeve("set", "del", "bad", entry)
                same(ask(address, OPEN, client.address[family]), "open", f"{address} without {entry}")
            firewall.reeve("set", "add", "closed", address)
            same(ask(address, OPEN, client.address[family], 0.3), "timeout", f"closed: {address}")
            firewall.reeve("set", "flush", "closed")
            same(ask(address, OPEN, client.address[family]), "open", address)
    same(names(firewall, "bad"), [])


@test("everything but a set, and sets beside fixed addresses")
def _(world):
    firewall, client = world.firewall, world.client

    def ask(address, port, source, patience=1):
        return udp(client, address, port, source=source, patience=patience)

    firewall.apply(policy(f"drop {OPEN} from !@friends", f"allow {OPEN}",
                          f"allow {SECRET} from {{ 192.0.2.1, @all, 2001:db8:77:1::10 }}",
                          sets=("friends = dynamic", "others = dynamic { timeout 1h }",
                                "all = { @others, 198.51.100.0/24 }")))
    to = firewall.lan
    same([ask(to[f], OPEN, client.address[f], 0.3) for f in (4, 6)], ["timeout", "timeout"])
    same([ask(to[f], SECRET, client.address[f], 0.3) for f in (4, 6)], ["timeout", "open"])
    firewall.reeve("set", "add", "friends", client.address[4], client.address[6])
    firewall.reeve("set", "add", "others", client.address[4])
    same([ask(to[f], port, client.address[f]) for f in (4, 6) for port in (OPEN, SECRET)], ["open"] * 4)


@test("a set changes amid traffic: not one packet more, and none too few")
def _(world):
    firewall, client = world.firewall, world.client
    firewall.apply(policy("drop from @bad", f"allow {COUNTED}/udp stateless",
                          sets=("bad = dynamic { max 100 }",)))
    count = Count(firewall, firewall.lan[4], COUNTED)
    count.start()
    stream = Stream(client, firewall.lan[4], COUNTED)
    stream.start()
    spans = []
    for _ in range(5):
        time.sleep(0.15)
        before = stream.sent
        firewall.reeve("set", "add", "bad", client.address[4])
        closed = stream.sent
        time.sleep(0.15)
        reopening = stream.sent
        firewall.reeve("set", "del", "bad", client.address[4])
        spans.append((before, closed, reopening, stream.sent))
        time.sleep(0.15)
    stream.stop()
    time.sleep(0.3)
    count.stop()
    same(stream.failed, [])
    seen = set(count.seen)
    shut = set()
    for before, closed, reopening, opened in spans:
        # The number that is being sent at the moment may be either.
        holds(not any(n in seen for n in range(closed + 2, reopening - 1)),
              f"packets passed while their source was in the set: {spans}")
        shut |= set(range(before - 1, opened + 2))
    missing = [n for n in range(stream.sent) if n not in seen and n not in shut]
    same(missing, [], f"lost, but the set did not hold their source: {spans}")
    holds(len(seen) > 100, "hardly anything passed")


@test("entries are over when their time is: the set's, their own, or never")
def _(world):
    firewall, client = world.firewall, world.client
    source = EXTRA[4]
    firewall.apply(policy("drop from @bad", f"allow {OPEN}",
                          sets=("bad = dynamic { timeout 2s, max 100 }",)))
    firewall.reeve("set", "add", "bad", source[0], source[1], "timeout", "5s", source[2], "forever")
    start = time.monotonic()
    left = dict(entries(firewall, "bad"))
    same(left, {source[0]: 2, source[1]: 5, source[2]: None})

    def answers():
        return [udp(client, firewall.lan[4], OPEN, source=one, patience=0.2) for one in source[:3]]

    same(answers(), ["timeout"] * 3)
    time.sleep(max(0, start + 2.3 - time.monotonic()))
    same(answers(), ["open", "timeout", "timeout"])
    same(names(firewall, "bad"), [source[1], source[2]])
    time.sleep(max(0, start + 5.3 - time.monotonic()))
    same(answers(), ["open", "open", "timeout"])
    same(firewall.reeve("set", "list", "bad"), f"{source[2]} forever\n")


@test("a rule adds the source, or the destination, of what it decides")
def _(world):
    firewall, client = world.firewall, world.client
    text = policy("drop from @scanners", f"drop {KNOCK}/udp add source to @scanners",
                  f"allow {SECRET}/udp to @reached", f"allow {OPEN} add destination to @reached",
                  sets=("scanners = dynamic { timeout 2s, max 1000 }",
                        "reached = dynamic { max 1000 }"))
    firewall.apply(text)
    for family in (4, 6):
        for address in (firewall.lan[family], world.server.address[family]):
            one = EXTRA[family][0]
            same(udp(client, address, SECRET, patience=0.2), "timeout")
            same(udp(client, address, OPEN, source=one), "open")
            same(udp(client, address, SECRET), "open")
            knock(client, address, one)
            eventually(lambda: one in names(firewall, "scanners"), "the source is in the set")
            same(udp(client, address, OPEN, source=one, patience=0.2), "timeout")
            same(udp(client, address, OPEN, source=EXTRA[family][1]), "open")
            eventually(lambda: udp(client, address, OPEN, source=one, patience=0.2) == "open",
                       "its time is over", 5)
    same(set(names(firewall, "reached")),
         {firewall.lan[4], firewall.lan[6], world.server.address[4], world.server.address[6]})
    holds(firewall.statistics()["sets-added"] >= 8, firewall.statistics())


@test("what a rule adds again stays for longer; what stays forever, stays; limits say when it adds")
def _(world):
    firewall, client = world.firewall, world.client
    first, second, third = EXTRA[4][:3]
    firewall.apply(policy(f"drop {KNOCK}/udp add source to @slow",
                          f"allow {OPEN}/udp stateless limit 3/h burst 3 each source",
                          f"drop {OPEN}/udp add source to @eager",
                          sets=("slow = dynamic { timeout 1m }", "eager = dynamic")))
    firewall.reeve("set", "add", "slow", first, "timeout", "5s", second, "forever",
                   third, "timeout", "1h")
    for one in (first, second, third):
        knock(client, firewall.lan[4], one)
    eventually(lambda: dict(entries(firewall, "slow"))[first] > 50, "the first has a minute")
    left = dict(entries(firewall, "slow"))
    same(left[second], None)
    holds(3500 < left[third] <= 3600, left)
    for _ in range(3):
        knock(client, firewall.lan[4], first, OPEN)
    same(names(firewall, "eager"), [])
    knock(client, firewall.lan[4], first, OPEN)
    eventually(lambda: names(firewall, "eager") == [first], "the fourth is beyond the limit")
    same(firewall.reeve("set", "list", "eager"), f"{first}\n")


@test("a full set takes nothing in, says so, and what has expired makes room", 60)
def _(world):
    firewall, client = world.firewall, world.client
    firewall.apply(policy(f"drop {KNOCK}/udp add source to @small", f"allow {OPEN}",
                          sets=("small = dynamic { timeout 2s, max 3 }",)))
    before = firewall.statistics()["sets-full"]
    for one in EXTRA[4][:5]:
        knock(client, firewall.lan[4], one)
    eventually(lambda: firewall.statistics()["sets-full"] == before + 2, "two were not added")
    same(figures(firewall, "small")["refused"], 2)
    same(sorted(names(firewall, "small")), EXTRA[4][:3])
    done = firewall.try_reeve("set", "add", "small", "192.0.2.1")
    same((done.returncode, "`small` is full: it holds 3 of at most 3" in done.stderr), (1, True))
    done = firewall.try_reeve("set", "replace", "small", "192.0.2.1-192.0.2.7")
    same(done.returncode, 0, "three prefixes")
    done = firewall.try_reeve("set", "replace", "small", "192.0.2.1-192.0.2.9")
    same((done.returncode, "too many" in done.stderr), (1, True))
    same(len(names(firewall, "small")), 3)
    same(tcp(client, firewall.lan[4], OPEN), "open", "nothing else suffers")
    # Nobody lists or sweeps: packets alone find the room.
    for one in EXTRA[4][:3]:
        knock(client, firewall.lan[4], one)
    time.sleep(2.3)
    makes_room(world)
    # What stays forever was found to make none; then other entries are there.
    firewall.reeve("set", "replace", "small", "192.0.2.0/30", "forever", "192.0.2.4",
                   "forever", "192.0.2.5", "forever")
    refused = firewall.statistics()["sets-full"]
    knock(client, firewall.lan[4], EXTRA[4][4])
    eventually(lambda: firewall.statistics()["sets-full"] == refused + 1, "it was not added")
    time.sleep(1.2)
    firewall.reeve("set", "replace", "small", "192.0.2.0/30", "timeout", "1s", "192.0.2.4",
                   "192.0.2.5")
    time.sleep(2.3)
    makes_room(world)


def makes_room(world):
    """Packets of an address until the full set takes it in; that is never long."""
    firewall, client = world.firewall, world.client
    deadline = time.monotonic() + 10
    before = firewall.statistics()["sets-added"]
    while firewall.statistics()["sets-added"] == before and time.monotonic() < deadline:
        knock(client, firewall.lan[4], EXTRA[4][4])
        time.sleep(0.2)
    holds(EXTRA[4][4] in names(firewall, "small"), "what had expired made no room")


def alternate(world, pairs, pace, going):
    """Packets from two addresses in turns, numbered; those of a pair right after one another."""
    client, to = world.client, (world.firewall.lan[4], COUNTED)
    socks = []
    for one in EXTRA[4][:2]:
        sock = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((one, 0))
        socks.append(sock)
    while going.is_set():
        for n, sock in enumerate(socks):
            sock.sendto(struct.pack("!I", 2 * pairs[0] + n), to)
        pairs[0] += 1
        time.sleep(pace)
    for sock in socks:
        sock.close()


@test("replacing 100 000 entries is one step: each packet meets the set before or the set after", 90)
def _(world):
    firewall = world.firewall
    firewall.apply(policy(f"allow {COUNTED}/udp from @turn stateless",
                          sets=("turn = dynamic { max 200000 }",)))
    filler = "".join(f"100.{64 + (n >> 16)}.{n >> 8 & 255}.{n & 255}\n" for n in range(99_999))
    lists = [f"{one}\n{filler}" for one in EXTRA[4][:2]]
    firewall.reeve("set", "replace", "turn", "-", input=lists[0])
    count = Count(firewall, firewall.lan[4], COUNTED)
    count.start()
    going, pairs = threading.Event(), [0]
    going.set()
    sender = threading.Thread(target=alternate, args=(world, pairs, 0.001, going), daemon=True)
    sender.start()
    turns = 6
    for turn in range(1, turns + 1):
        time.sleep(0.1)
        firewall.reeve("set", "replace", "turn", "-", input=lists[turn % 2])
    time.sleep(0.1)
    going.clear()
    sender.join()
    time.sleep(0.3)
    count.stop()
    seen = set(count.seen)
    kinds = [(2 * n in seen, 2 * n + 1 in seen) for n in range(pairs[0])]
    same([n for n, kind in enumerate(kinds) if kind == (False, False)], [], "pairs that met neither")
    # Both of a pair only where the exchange came between them; and as many turns as there were.
    holds(kinds.count((True, True)) <= turns, f"{kinds.count((True, True))} pairs met both")
    changes = [kind for n, kind in enumerate(kinds) if kind != (True, True)]
    same(sum(a != b for a, b in zip(changes, changes[1:])), turns, "turns that packets saw")
    same(figures(firewall, "turn")["entries"], 100_000)


@test("a set keeps what it holds under its name: over an apply, another size, new interfaces")
def _(world):
    firewall, client = world.firewall, world.client
    sets = ["first = dynamic { max 10 }", "bad = dynamic { timeout 1h, max 10 }"]
    rules = ["drop from @bad", f"allow {OPEN}", "drop to @first"]
    firewall.apply(policy(*rules, sets=sets))
    firewall.reeve("set", "add", "bad", client.address[4], "10.0.0.0/24", "192.0.2.7", "forever")
    held = [("10.0.0.0/24", 3600), (client.address[4], 3600), ("192.0.2.7", None)]

    def closed(what):
        same(udp(client, firewall.lan[4], OPEN, patience=0.3), "timeout", what)
        same([one for one, _ in entries(firewall, "bad")], [one for one, _ in held], what)
        same(entries(firewall, "bad")[2][1], None, what)

    closed("at first")
    # Another number for it, other times, more room, then less.
    for size in (10, 500, 5):
        firewall.apply(policy(*rules, sets=[f"bad = dynamic {{ timeout 2h, max {size} }}",
                                            "late = dynamic", sets[0]]))
        closed(f"max {size}")
        same((figures(firewall, "bad")["max"], figures(firewall, "bad")["timeout"]), (size, 7200))
    for options in (["--dry-run"], []):
        done = firewall.try_reeve("apply", *options, firewall.policy(
            policy(*rules, sets=["bad = dynamic { max 2 }", sets[0]])))
        same((done.returncode, "holds 3 entries, and is to have room for 2" in done.stderr),
             (1, True))
    closed("after an apply that was refused")
    firewall.ip("link add extra0 type veth peer name extra1", "link set extra0 up")
    firewall.reeve("sync")
    closed("after another interface has come")
    firewall.ip("link del extra0")
    firewall.reeve("sync")
    # A policy without it lets go of it.
    firewall.apply(policy(f"allow {OPEN}"))
    same(udp(client, firewall.lan[4], OPEN), "open")
    same(firewall.reeve_json("set", "list")["sets"], [])
    firewall.apply(policy(*rules, sets=sets))
    same(names(firewall, "bad"), [])
    firewall.reeve("down")
    done = firewall.try_reeve("set", "list", "bad")
    same((done.returncode, "nothing is applied" in done.stderr), (1, True))


@test("back from a trial: sets hold what they held, also more than fits, and those it did not have", 60)
def _(world):
    firewall = world.firewall
    small, other = "bad = dynamic { max 4 }", "other = dynamic"
    before = policy("drop from { @bad, @other }", f"allow {OPEN}", sets=(small, other))
    on_trial = policy("drop from @bad", f"allow {OPEN}", sets=("bad = dynamic { max 100 }",))
    firewall.apply(before)
    firewall.reeve("set", "add", "bad", "192.0.2.1")
    firewall.reeve("set", "add", "other", "198.51.100.0/24", "timeout", "1h", "203.0.113.7")
    held = firewall.reeve("set", "list", "other")
    for _ in range(2):
        firewall.reeve("apply", "--confirm", "60s", firewall.policy(on_trial))
        same([one["name"] for one in firewall.reeve_json("set", "list")["sets"]], ["bad"])
        same(firewall.try_reeve("set", "list", "other").returncode, 1)
        firewall.reeve("set", "add", "bad", "192.0.2.1-192.0.2.16")
        firewall.reeve("confirm", "--abort")
        same(len(names(firewall, "bad")), 5)
        same(firewall.reeve("set", "list", "other").split()[0], held.split()[0])
        same(len(names(firewall, "other")), 2)
    done = firewall.try_reeve("apply", firewall.policy(before))
    same((done.returncode, "is to have room for 4" in done.stderr), (1, True))
    # One that stays lets go of it.
    firewall.reeve("apply", "--confirm", "60s", firewall.policy(on_trial))
    firewall.reeve("confirm")
    firewall.reeve("set", "flush", "bad")
    firewall.apply(before)
    same(names(firewall, "other"), [])


@test("a live flow goes on when its address goes, until an apply looks at it again")
def _(world):
    firewall, client = world.firewall, world.client
    text = policy(f"allow {OPEN}/tcp from @friends", sets=("friends = dynamic",))
    firewall.apply(text)
    firewall.reeve("set", "add", "friends", client.address[4])
    talk = Conversation(client, world.server.address[4], OPEN)
    talk.start()
    time.sleep(0.2)
    firewall.reeve("set", "del", "friends", client.address[4])
    rounds = talk.rounds
    eventually(lambda: talk.rounds > rounds + 20, "the connection goes on")
    same(tcp(client, world.server.address[4], OPEN, patience=0.3), "timeout")
    firewall.reeve("set", "add", "friends", client.address[4])
    firewall.apply(text + "# again\n")
    rounds = talk.rounds
    eventually(lambda: talk.rounds > rounds + 20, "the connection goes on over an apply")
    firewall.reeve("set", "del", "friends", client.address[4])
    firewall.apply(text + "# and again\n")
    time.sleep(0.2)
    rounds = talk.rounds
    time.sleep(0.5)
    holds(talk.rounds <= rounds + 1, "it was cut by the apply")
    talk.going = False
    talk.sock.close()


@test("nothing is lost where sets change and policies are applied at the same time", 90)
def _(world):
    firewall = world.firewall
    sizes = (4000, 9000, 5000, 7000)

    def text(n):
        return policy("drop from @busy", f"allow {OPEN}",
                      sets=(f"busy = dynamic {{ max {sizes[n % 4]} }}",) if n % 2 else
                      ("idle = dynamic", f"busy = dynamic {{ max {sizes[n % 4]} }}"))

    firewall.apply(text(0))
    failed = []

    def add(first):
        for n in range(first, first + 60):
            done = firewall.try_reeve("set", "add", "busy", f"100.64.{n >> 8}.{n & 255}")
            if done.returncode:
                failed.append(done.stderr)

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 1000)]
    for thread in threads:
        thread.start()
    n = 0
    while any(thread.is_alive() for thread in threads):
        n += 1
        firewall.apply(text(n))
    for thread in threads:
        thread.join()
    same(failed, [])
    same(figures(firewall, "busy")["entries"], 120, f"{n} applies")


@test("rules of NAT ask sets too")
def _(world):
    firewall, client = world.firewall, world.client
    firewall.apply(policy(f"allow {OPEN}", sets=("sent = dynamic",),
                          more=f"nat lan -> self {{ forward {SECRET}/udp from @sent to "
                               f"{world.server.address[4]}:{OPEN} }}\n"))
    same(udp(client, firewall.lan[4], SECRET, patience=0.3), "timeout")
    firewall.reeve("set", "add", "sent", client.address[4])
    same(udp(client, firewall.lan[4], SECRET), "open")


@test("what is wrong is said, each line of it, and then nothing is changed")
def _(world):
    firewall = world.firewall
    firewall.apply(policy(f"allow {OPEN}", sets=("bad = dynamic { max 10 }",
                                                 "fixed = 192.0.2.0/24")))
    firewall.reeve("set", "add", "bad", "192.0.2.1")
    text = "192.0.2.2\nnonsense\n192.0.2.3 timeout 5\n# a comment\n\n10.0.0.9-10.0.0.1\n@fixed\n"
    for word in ("add", "replace", "del"):
        done = firewall.try_reeve("set", word, "bad", "-", input=text)
        same(done.returncode, 1)
        for line in (2, 3, 6, 7):
            holds(f"-:{line}:" in done.stderr, f"line {line}\n{done.stderr}")
        same(names(firewall, "bad"), ["192.0.2.1"])
    for arguments, status, said in (
            (("add", "bda", "192.0.2.1"), 1, "did you mean `bad`?"),
            (("add", "fixed", "192.0.2.1"), 1, "part of the policy"),
            (("add", "bad"), 2, "entries come behind the name"),
            (("add",), 2, "which set?"),
            (("ad", "bad", "192.0.2.1"), 2, "did you mean `add`?"),
            (("flush", "bad", "192.0.2.1"), 2, "unexpected"),
            (("add", "bad", "-f", "/nonexistent"), 1, "cannot read `/nonexistent`")):
        done = firewall.try_reeve("set", *arguments)
        same((done.returncode, said in done.stderr), (status, True), f"{arguments}: {done.stderr}")
    same(names(firewall, "bad"), ["192.0.2.1"])
    same(firewall.reeve("set", "del", "bad", "192.0.2.1", "192.0.2.9"),
         "1 entry taken out, 1 not there\n")


@test("explain asks the sets that run")
def _(world):
    firewall = world.firewall
    firewall.apply(policy("drop from @bad", f"allow {OPEN}", sets=("bad = dynamic",)))
    question = f"lan -> self {OPEN}/tcp from 10.77.1.10"
    same(firewall.reeve_json("explain", question)["verdict"], "allow")
    firewall.reeve("set", "add", "bad", "10.77.0.0/16")
    found = firewall.reeve_json("explain", question)
    same((found["verdict"], found["rule"]["text"]), ("drop", "drop from @bad"))
    same({"what": "set @bad", "value": "holds 10.77.1.10"} in found["filled"], True, str(found))


def world():
    made = router_world("sets")
    made.client.ip(*[f"addr add {one}/24 dev eth0" for one in EXTRA[4]],
                   *[f"addr add {one}/64 dev eth0 nodad" for one in EXTRA[6]])
    Echo(made.firewall, OPEN, SECRET)
    Echo(made.server, OPEN, SECRET)
    same(ping(made.client, made.server.address[4]), "open")
    return made


if __name__ == "__main__":
    main(world)
