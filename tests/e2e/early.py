#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""early on a real wire: what is dropped at XDP, natively and generically, and by which rule; programs
of others; interfaces that come, programs that are taken away, policies that want it no more."""

import fcntl
import json
import os
import socket
import struct
import time

import programs
from e2e import (REEVE, Echo, Skip, eventually, expect, holds, host_world, main, ping, run, same,
                 scapy_layers, send_frames, tcp, test, udp)
from follow import detach, pin_of, reeved

ALLOWED, CHARGEN, TRAP, LIMITED = 1001, 1019, 1023, 1004

HEAD = """zone wan = eth0
zone late = "late*"
"""
REST = f"""policy {{ wan, late }} -> self default drop {{
    allow {{ {ALLOWED}, {CHARGEN}, {LIMITED} }}
    allow {{ icmp, icmpv6 }}
}}
policy self -> any default allow
"""
OLD = {4: "10.77.1.66", 6: "2001:db8:77:1::66"}  # another address of the peer


def policy(*rules, more="", zones="wan"):
    return HEAD + more + f"early {zones} {{\n" + "".join(
        f"    {rule}\n" for rule in rules) + "}\n" + REST


def with_two_addresses(name):
    world = host_world(name)
    world.peer.ip(f"addr add {OLD[4]}/24 dev eth0", f"addr add {OLD[6]}/64 dev eth0 nodad")
    Echo(world.host, ALLOWED, CHARGEN, LIMITED)
    return world


def early_of(host, interface="eth0"):
    return next((row["early"], row["early_why"]) for row in host.reeve_json("status")["interfaces"]
                if row["name"] == interface)


def dropped(host):
    return host.statistics()["early-dropped"]


def xdp_of(host, interface="eth0"):
    """Name of the XDP program at an interface, or None."""
    found = json.loads(run("ip", "-n", host.name, "-j", "-d", "link", "show", interface))[0]
    return found.get("xdp", {}).get("prog", {}).get("name")


def apply_without(host, what, text):
    return host.reeve("apply", host.policy(text), env=dict(os.environ, REEVE_WITHOUT=what))


RULES = policy("drop from @bad log \"bad\"", f"drop {CHARGEN}/udp", "drop fragment",
               more=f"set bad = {{ {OLD[4]}, {OLD[6]} }}\n")


def try_rules(world):
    host, peer = world.host, world.peer
    before, arrived = dropped(host), host.statistics()["arrived"]
    expect({
        f"{title}, IPv{family}": row
        for family in (4, 6)
        for title, row in {
            "of the set, UDP": ("timeout", lambda f=family: udp(peer, host.address[f], ALLOWED,
                                                                source=OLD[f])),
            "of the set, TCP": ("timeout", lambda f=family: tcp(peer, host.address[f], ALLOWED,
                                                                source=OLD[f])),
            "others": ("open", lambda f=family: udp(peer, host.address[f], ALLOWED,
                                                    source=peer.address[f])),
            "others, TCP": ("open", lambda f=family: tcp(peer, host.address[f], ALLOWED,
                                                         source=peer.address[f])),
            "a port": ("timeout", lambda f=family: udp(peer, host.address[f], CHARGEN,
                                                       source=peer.address[f])),
            "its other protocol": ("open", lambda f=family: tcp(peer, host.address[f], CHARGEN,
                                                                source=peer.address[f])),
        }.items()})
    holds(dropped(host) >= before + 6, "they are counted as dropped early")
    # Nothing of the set was judged on arrival: what arrived is what the others sent.
    same(host.hits("drop from @bad log \"bad\"") + host.hits(f"drop {CHARGEN}/udp"),
         dropped(host), "each is counted by its rule")
    holds(host.statistics()["arrived"] > arrived, "what passes is judged on arrival")
    # Both halves of a large datagram: the first passes early, the second is a fragment.
    fragments = host.hits("drop fragment")
    peer.try_run("ping", "-n", "-c", "1", "-W", "1", "-s", "3000", host.address[4])
    holds(host.hits("drop fragment") > fragments, "later fragments")


@test("a set, a port, fragments: dropped at XDP, in the driver")
def _(world):
    world.host.apply(RULES)
    same(early_of(world.host), ("native", None))
    same(xdp_of(world.host), "early_ethernet")
    try_rules(world)
    holds("covered; early: native" in world.host.reeve("status"), "status says it")


@test("the same behind a driver that has no native XDP")
def _(world):
    world.host.reeve("down")
    apply_without(world.host, "native-xdp", RULES)
    same(early_of(world.host), ("generic", "its driver has no native XDP"))
    try_rules(world)
    # It stays as it is: nothing is in the way, and a keeper finds nothing to do.
    same(world.host.reeve_json("sync")["changes"], [])
    detach(world.host, f"early_{world.host.index('eth0')}")
    same(early_of(world.host)[0], "missing")
    same([row["kind"] for row in world.host.reeve_json("sync")["changes"]], ["early"])
    holds(early_of(world.host)[0] in ("native", "generic"), "it is back")


@test("a driver that takes nothing at all: the policy runs, a warning names the interface")
def _(world):
    world.host.reeve("down")
    done = world.host.try_reeve("apply", world.host.policy(RULES),
                                env=dict(os.environ, REEVE_WITHOUT="xdp"))
    same(done.returncode, 0)
    holds("eth0 goes without `early`: it takes no XDP program" in done.stderr, done.stderr)
    same(early_of(world.host)[0], "refused")
    same(udp(world.peer, world.host.address[4], CHARGEN), "open", "nothing is dropped early")
    same(world.host.reeve_json("sync")["changes"], [])
    required = "options { early required }\n" + RULES
    done = world.host.try_reeve("apply", world.host.policy(required),
                                env=dict(os.environ, REEVE_WITHOUT="xdp"))
    same(done.returncode, 1)
    holds("`early` is required, but interface `eth0` takes no XDP program" in done.stderr,
          done.stderr)


@test("limits for each source, and for all together: what is beyond is dropped")
def _(world):
    host, peer = world.host, world.peer
    scapy = scapy_layers()
    host.reeve("down")
    host.apply(policy("limit tcp syn 1/m burst 5 each source", f"limit {LIMITED}/udp 1/m burst 7"))

    def syns(family, source, n):
        layer = scapy.IP if family == 4 else scapy.IPv6
        send_frames(peer, "eth0", [
            scapy.Ether(dst=host.mac("eth0"), src=peer.mac("eth0"))
            / layer(src=source, dst=host.address[family])
            / scapy.TCP(sport=20000 + i, dport=ALLOWED, flags="S") for i in range(n)])

    text = "limit tcp syn 1/m burst 5 each source"
    for source in ("10.77.1.101", "10.77.1.102"):
        before = host.hits(text)
        syns(4, source, 12)
        eventually(lambda: host.hits(text) == before + 7, f"seven of {source} are beyond")
    before = host.hits(text)
    for i in range(12):  # one source is a whole /64
        syns(6, f"2001:db8:77:1::{0x100 + i:x}", 1)
    eventually(lambda: host.hits(text) == before + 7, "seven of a /64 are beyond")
    for i in range(10):
        with peer.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", (host.address[4], LIMITED))
    eventually(lambda: host.hits(f"limit {LIMITED}/udp 1/m burst 7") == 3, "three are beyond")
    # What a rate has counted outlives an apply, as long as its rule stays.
    host.apply(policy("limit tcp syn 1/m burst 5 each source", "drop 9/udp"))
    before = host.hits(text)
    syns(4, "10.77.1.101", 3)
    eventually(lambda: host.hits(text) == before + 3, "still beyond")


@test("watch is told of what is dropped, as logged where the rule says so; of a flood, of some")
def _(world):
    host, peer = world.host, world.peer
    host.apply(RULES)
    path = os.path.join(world.folder, "watch.json")
    with open(path, "wb") as out:
        watch = host.start(REEVE, "watch", "--json", stdout=out)
    time.sleep(0.5)
    udp(peer, host.address[4], CHARGEN, patience=0.2)
    udp(peer, host.address[4], ALLOWED, source=OLD[4], patience=0.2)

    def rows():
        with open(path, encoding="utf-8") as file:
            return [row for row in map(json.loads, file) if row.get("hook") == "early"]

    eventually(rows, "an event comes")
    world.end(watch)
    same([(row["kind"], row["rule"]["text"]) for row in rows()],
         [("drop", f"drop {CHARGEN}/udp"), ("log", "drop from @bad log \"bad\"")])
    with open(path, "wb") as out:
        watch = host.start(REEVE, "watch", "--json", stdout=out)
    time.sleep(0.5)
    before, start = host.hits(f"drop {CHARGEN}/udp"), time.monotonic()
    with peer.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(20000):
            sock.sendto(b"x", (host.address[4], CHARGEN))
    seconds = time.monotonic() - start
    eventually(lambda: host.hits(f"drop {CHARGEN}/udp") >= before + 10000, "a flood")
    time.sleep(0.5)
    world.end(watch)
    # 16 in a tick of each CPU, and there are at most 1000 ticks a second.
    holds(0 < len(rows()) <= 16 * 1000 * os.cpu_count() * (seconds + 1), len(rows()))
    holds(len(rows()) < 20000, "not all of them")


@test("what cannot be parsed, and frames of VLANs, are left to arrival")
def _(world):
    host, peer = world.host, world.peer
    scapy = scapy_layers()
    host.apply(policy("drop"))
    before = host.statistics()
    link = scapy.Ether(type=0x800, dst=host.mac("eth0"), src=peer.mac("eth0"))
    whole = bytes(scapy.IP(src=peer.address[4], dst=host.address[4]) / scapy.TCP(dport=80, flags=0))
    send_frames(peer, "eth0", [bytes(link) + whole[:15], bytes(link) + whole])
    eventually(lambda: host.statistics()["sanity"] >= before["sanity"] + 2, "arrival drops them")
    same(ping(peer, host.address[4], patience=1), "timeout")
    holds(host.hits("drop") > 0, "all else is dropped early")
    host.apply(policy("drop 9/udp"))
    datagram = scapy.IP(src=peer.address[4], dst=host.address[4]) / scapy.UDP(dport=9) / b"x"
    tagged = [scapy.Ether(dst=host.mac("eth0"), src=peer.mac("eth0")) / scapy.Dot1Q(vlan=number)
              / datagram for number in (5, 0)]
    send_frames(peer, "eth0", tagged)
    eventually(lambda: host.hits("drop 9/udp") == 1, "a priority tag is none, VLAN 5 another device's")


TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000


@test("a tun device, which has no Ethernet header")
def _(world):
    host = world.host
    scapy = scapy_layers()
    if not os.path.exists("/dev/net/tun"):
        raise Skip("there is no /dev/net/tun")
    with host:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"late0", IFF_TUN | IFF_NO_PI))
    host.ip("addr add 10.88.0.1/24 dev late0", "addr add 2001:db8:88::1/64 dev late0 nodad",
            "link set late0 up")
    for env in (None, dict(os.environ, REEVE_WITHOUT="native-xdp")):
        host.try_reeve("down")
        done = host.try_reeve("apply", host.policy(policy("drop 9/udp", zones="late")), env=env)
        same(done.returncode, 0, done.stderr)
        holds(xdp_of(host, "late0").startswith("early_raw"), xdp_of(host, "late0"))
        arrived = host.statistics()["arrived"]
        for ip, source, to in ((scapy.IP, "10.88.0.2", "10.88.0.1"),
                               (scapy.IPv6, "2001:db8:88::2", "2001:db8:88::1")):
            for port in (9, 10):
                os.write(tun, bytes(ip(src=source, dst=to) / scapy.UDP(dport=port) / b"tun"))
        eventually(lambda: host.hits("drop 9/udp") == 2, "one of each family is dropped")
        holds(host.statistics()["arrived"] >= arrived + 2, "the others arrive")
    os.close(tun)


@test("XDP programs of others stay: a warning, or a refusal when early is required")
def _(world):
    host, peer = world.host, world.peer
    host.reeve("down")
    foreign = programs.load_answer(programs.XDP, 2, "foreign_xdp", programs.AT_XDP)
    try:
        held = link_in(host, foreign)
        done = host.try_reeve("apply", host.policy("options { early required }\n" + RULES))
        same(done.returncode, 1)
        holds("`early` is required, but interface `eth0` has an XDP program of somebody else"
              in done.stderr and "nothing was changed" in done.stderr, done.stderr)
        done = host.try_reeve("apply", host.policy(RULES))
        same(done.returncode, 0)
        holds("warning: eth0 goes without `early`: somebody else's XDP program is there"
              in done.stderr, done.stderr)
        same(xdp_of(host), "foreign_xdp")
        same(early_of(host)[0], "others")
        same(udp(peer, host.address[4], CHARGEN), "open")
        same(host.reeve_json("sync")["changes"], [])
        os.close(held)
        # The place is free now: a keeper takes it.
        eventually(lambda: xdp_of(host) is None, "the other one is gone")
        same([(row["kind"], row["interface"]) for row in host.reeve_json("sync")["changes"]],
             [("early", "eth0")])
        same((xdp_of(host), early_of(host)[0]), ("early_ethernet", "native"))
        same(udp(peer, host.address[4], CHARGEN), "timeout")
    finally:
        os.close(foreign)


def link_in(host, program):
    with host:
        return programs.link(program, socket.if_nametoindex("eth0"), programs.AT_XDP)


@test("a program that is taken away is put back; so is one whose pin is removed")
def _(world):
    host = world.host
    host.apply(RULES)
    pin = f"early_{host.index('eth0')}"
    for take in (lambda: detach(host, pin), lambda: os.unlink(pin_of(host, pin))):
        take()
        eventually(lambda: xdp_of(host) is None, "it is gone")
        same(early_of(host)[0], "missing")
        same([(row["kind"], row["interface"]) for row in host.reeve_json("sync")["changes"]],
             [("early", "eth0")])
        same((xdp_of(host), early_of(host)[0]), ("early_ethernet", "native"))
        same(host.reeve_json("sync")["changes"], [])


@test("interfaces that come get it, also in place of a name that had none", 60)
def _(world):
    host, peer = world.host, world.peer
    host.reeve("down")
    host.apply(HEAD + REST)
    with reeved(host):
        time.sleep(0.5)  # what runs is found before there is any `early`
        host.apply("options { early required }\n" + policy("drop 9/udp", zones="late"))
        same((xdp_of(host), early_of(host)[0]), (None, "none"))
        world.link(host, "later", peer, "eth1")
        eventually(lambda: xdp_of(host, "later") == "early_ethernet", "reeved attaches it")
        host.ip("link set later down", "link set later name other1", "link set other1 up")
        eventually(lambda: xdp_of(host, "other1") is None, "of a zone without early: taken off")
        host.ip("link set other1 down", "link set other1 name late2", "link set late2 up")
        eventually(lambda: xdp_of(host, "late2") == "early_ethernet", "and attached again")
        host.ip("link del late2")
        eventually(lambda: not os.path.exists(pin_of(host, "early_late2")), "gone")


@test("a policy that wants it no more takes it off, and so does down; counts stay while rules do")
def _(world):
    host, peer = world.host, world.peer
    host.apply(RULES)
    udp(peer, host.address[4], CHARGEN, patience=0.2)
    counted = host.hits(f"drop {CHARGEN}/udp")
    holds(counted > 0, "counted")
    host.apply(RULES + "policy wan -> wan default drop\n")
    same(host.hits(f"drop {CHARGEN}/udp"), counted)
    # Other tables of flows, and programs of theirs: these go on.
    host.apply("options { flows 1000 }\n" + RULES)
    same(udp(peer, host.address[4], CHARGEN, patience=0.2), "timeout")
    holds(host.hits(f"drop {CHARGEN}/udp") > counted, "counted on")
    same(host.reeve_json("sync")["changes"], [])
    holds("early_ethernet" in host.reeve("hooks"), "hooks shows it")
    host.apply(HEAD + REST)
    same((xdp_of(host), early_of(host)[0]), (None, "none"))
    same(udp(peer, host.address[4], CHARGEN), "open")
    host.apply(RULES)
    same(xdp_of(host), "early_ethernet")
    host.reeve("down")
    same(xdp_of(host), None)


@test("dynamic sets, also what a rule of a policy adds: the next packet is dropped early")
def _(world):
    host, peer = world.host, world.peer
    host.apply(HEAD + "set scanners = dynamic { timeout 10m, max 1000 }\n"
               "early wan {\n    drop from @scanners\n}\n" + REST.replace(
                   "    allow {", f"    drop {TRAP}/tcp add source to @scanners\n    allow {{", 1))
    same(udp(peer, host.address[4], ALLOWED), "open")
    same(tcp(peer, host.address[4], TRAP, patience=0.3), "timeout")
    same(udp(peer, host.address[4], ALLOWED), "timeout")
    holds(host.hits("drop from @scanners") > 0, "dropped early")
    host.reeve("set", "flush", "scanners")
    same(udp(peer, host.address[4], ALLOWED), "open")
    host.reeve("set", "add", "scanners", "10.77.1.0/24")
    same(udp(peer, host.address[4], ALLOWED), "timeout")


@test("a policy whose early rules would cut the session that apply is typed in is refused")
def _(world):
    host, peer = world.host, world.peer
    connection = dict(os.environ,
                      SSH_CONNECTION=f"{OLD[4]} 50000 {host.address[4]} {ALLOWED}")
    for rule, what, more in (("drop from " + OLD[4], "cut your ssh session", ()),
                             ("drop from " + OLD[4], "cut your ssh session", ("--flows", "keep")),
                             ("drop tcp syn", "not let your ssh session be opened again", ())):
        done = host.try_reeve("apply", *more, host.policy(policy(rule)), env=connection)
        same(done.returncode, 1, done.stderr)
        for word in (what, rule, "that rule of `early`", "nothing was changed"):
            holds(word in done.stderr, f"no `{word}` in: {done.stderr}")
    done = host.try_reeve("apply", host.policy(policy("limit tcp 10/s", f"drop from {peer.address[4]}")),
                          env=connection)
    same(done.returncode, 0, done.stderr)


main(lambda: with_two_addresses("early"))
