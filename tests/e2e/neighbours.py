#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Beside others on the same host: nftables that masquerades, forwards ports, redirects, marks; tc
and tcx programs; iptables."""

import contextlib
import json
import os
import re

import programs
from e2e import (Echo, Skip, expect, holds, main, ping, router_world, same, tcp, test,
                 try_run, udp)

WEB, PUBLISHED, OTHER, PROXY = 1080, 8080, 1001, 3128

HEAD = "zone wan = wan0\nzone lan = lan0\n"

CLOSED = HEAD + """
policy lan -> wan default drop
policy lan -> self default drop
policy self -> any default allow
"""

OUTBOUND = HEAD + """
policy lan -> wan default allow
policy self -> any default allow
"""

MASQUERADE = """
table inet outbound {
    chain post { type nat hook postrouting priority srcnat; oifname "wan0" masquerade; }
}
"""


def publish(world):
    """As Docker does: a port of the host leads to one inside."""
    inside, outside = world.client.address, world.firewall.wan
    return f"""
table inet published {{
    chain pre {{
        type nat hook prerouting priority dstnat;
        ip daddr {outside[4]} tcp dport {PUBLISHED} dnat ip to {inside[4]}:{WEB}
        ip6 daddr {outside[6]} tcp dport {PUBLISHED} dnat ip6 to [{inside[6]}]:{WEB}
    }}
    chain post {{ type nat hook postrouting priority srcnat; oifname "wan0" masquerade;; }}
}}
"""


@contextlib.contextmanager
def nft(world, text):
    """The firewall with these rules of nft."""
    world.firewall.nft(text)
    try:
        yield
    finally:
        world.firewall.nft("flush ruleset\n")


@contextlib.contextmanager
def no_way_back(world):
    """The server knows no way to the inside, so that what it answers was masqueraded."""
    world.server.ip("route del default", "route del ::/0")
    try:
        yield
    finally:
        world.server.ip("route add default via 203.0.113.1", "route add ::/0 via 2001:db8:203::1")


# --- nft ----------------------------------------------------------------------------------------


@test("masquerade: the inside goes out and is answered, and nothing else comes in")
def _(world):
    client, server, firewall = world.client, world.server, world.firewall
    with no_way_back(world):
        expect({"not without masquerading": ("timeout", tcp, client, server.address[4], OTHER)})
        with nft(world, MASQUERADE):
            expect({"without reeve": ("open", tcp, client, server.address[4], OTHER)})
            firewall.apply(OUTBOUND)
            table = {}
            for family in (4, 6):
                asked = server.address[family]
                table[f"TCP IPv{family}"] = ("open", tcp, client, asked, OTHER)
                table[f"UDP IPv{family}"] = ("open", udp, client, asked, OTHER)
                table[f"ping IPv{family}"] = ("open", ping, client, asked)
                table[f"from outside IPv{family}"] = ("timeout", tcp, server,
                                                      firewall.wan[family], OTHER)
            for _ in range(3):  # the second time the flow is known
                expect(table)


@test("masquerade: a reject is heard by who asked, though its address was translated already")
def _(world):
    client, server, firewall = world.client, world.server, world.firewall
    with no_way_back(world), nft(world, MASQUERADE):
        firewall.apply(HEAD + f"policy lan -> wan default reject {{ allow {WEB} }}\n")
        expect({f"{kind.__name__} IPv{family} {port}": (word, kind, client, server.address[family],
                                                        port)
                for kind in (tcp, udp) for family in (4, 6)
                for port, word in ((WEB, "open"), (OTHER, "refused"))})


@test("a port that nft forwards inside is closed until `wan -> self` and `wan -> lan` allow it")
def _(world):
    firewall, server = world.firewall, world.server
    outside = {f"IPv{family}": (tcp, server, firewall.wan[family], PUBLISHED) for family in (4, 6)}
    with nft(world, publish(world)):
        firewall.reeve("down")
        expect({f"{title} without reeve": ("open", *way) for title, way in outside.items()})
        for to_self in (False, True):
            for to_lan in (False, True):
                firewall.apply(OUTBOUND + "policy wan -> self default drop {"
                               + f" allow {PUBLISHED}/tcp" * to_self + " }\n"
                               + "policy wan -> lan default drop {" + f" allow {WEB}/tcp" * to_lan
                               + " }\n")
                word = "open" if to_self and to_lan else "timeout"
                expect({f"{title}, wan -> self {to_self}, wan -> lan {to_lan}": (word, *way)
                        for title, way in outside.items()})
                expect({f"lan -> wan IPv{family}": ("open", tcp, world.client,
                                                    server.address[family], OTHER)
                        for family in (4, 6)})
        # A port that was not published is no way in.
        expect({f"IPv{family}, not the published port": ("timeout", tcp, server,
                                                         world.client.address[family], OTHER)
                for family in (4, 6)})
        same(firewall.statistics()["guard-forward"], 0, "what the guard met of it")


REDIRECT = f"""
table inet proxy {{
    chain pre {{
        type nat hook prerouting priority dstnat;
        iifname "lan0" tcp dport {WEB} redirect to :{PROXY}
    }}
}}
"""


@test("an nft redirect of a forwarded packet does not reach a local socket past the policy")
def _(world):
    firewall, client, server = world.firewall, world.client, world.server
    ways = {f"IPv{family}": (tcp, client, server.address[family], WEB) for family in (4, 6)}
    with nft(world, REDIRECT):
        firewall.reeve("down")
        del world.proxy.heard[:]
        expect({title: ("open", *way) for title, way in ways.items()})
        holds(world.proxy.heard, "the redirect does not work at all")
        del world.proxy.heard[:]
        firewall.apply(OUTBOUND)
        expect({title: ("timeout", *way) for title, way in ways.items()})
        same(world.proxy.heard, [], "what the local socket heard")
        holds(firewall.statistics()["guard-local-in"] > 0, "the guard has counted nothing")
        said = firewall.reeve("status")
        holds("nft" in said, f"status does not name the likely cause:\n{said}")
        expect({"another port goes out": ("open", tcp, client, server.address[4], OTHER)})

        firewall.apply(OUTBOUND + "options { guard off; tcp-pickup on }\n")
        expect({f"{title}, with the guard turned off": ("open", *way)
                for title, way in ways.items()})


LOCAL_REDIRECT = REDIRECT.replace(f"tcp dport {WEB}", "fib daddr type local tcp dport 80")


@test("a packet to the host that nft redirects to another of its ports passes if it was allowed")
def _(world):
    firewall, client = world.firewall, world.client
    with nft(world, LOCAL_REDIRECT):
        firewall.apply(OUTBOUND + "policy lan -> self default drop { allow 80/tcp }\n")
        expect({f"IPv{family}": ("open", tcp, client, firewall.lan[family], 80)
                for family in (4, 6)})
        expect({f"IPv{family}, the proxy's own port": ("timeout", tcp, client,
                                                       firewall.lan[family], PROXY)
                for family in (4, 6)})


OWN_DROP = f"""
table inet own {{
    chain forward {{
        type filter hook forward priority 0;
        tcp dport {OTHER} counter drop
    }}
}}
"""


@test("nft's own drops still drop, and its counters still count")
def _(world):
    firewall, client, server = world.firewall, world.client, world.server
    with nft(world, OWN_DROP):
        firewall.apply(OUTBOUND)
        expect({"dropped by nft": ("timeout", tcp, client, server.address[4], OTHER),
                "not dropped": ("open", tcp, client, server.address[4], WEB)})
        holds("packets 0 " not in firewall.run("nft", "list", "table", "inet", "own"),
              "not counted")


# The counter sees the mark that a packet has when it leaves.
LOW_MARK = f"""
table inet marks {{
    chain pre {{
        type filter hook prerouting priority -300;
        iifname "lan0" meta mark set meta mark or 0x55
    }}
    chain post {{
        type filter hook postrouting priority 300;
        oifname "wan0" tcp dport {OTHER} meta mark and 0xff == 0x55 counter
    }}
}}
"""

WHOLE_MARK = """
table inet marks {
    chain pre {
        type filter hook prerouting priority -300;
        iifname "lan0" meta mark set 0x7
    }
}
"""


@test("marks of others stay; a rule that overwrites the whole mark changes nothing")
def _(world):
    firewall, client, server = world.firewall, world.client, world.server
    firewall.apply(OUTBOUND)
    ways = {f"IPv{family}": (tcp, client, server.address[family], OTHER) for family in (4, 6)}
    with nft(world, LOW_MARK):
        expect({title: ("open", *way) for title, way in ways.items()})
        holds("packets 0 " not in firewall.run("nft", "list", "table", "inet", "marks"),
              "the mark did not stay")
    with nft(world, WHOLE_MARK):
        expect({f"{title}, mark overwritten": ("open", *way) for title, way in ways.items()})
    firewall.apply(CLOSED)
    for mark in ("0x40000000", "0x80000000", "0xc0000000"):
        with nft(world, WHOLE_MARK.replace("0x7", mark)):
            expect({f"{title}, mark {mark}": ("timeout", *way) for title, way in ways.items()})


# --- other programs on the hook -----------------------------------------------------------------


@test("tcx programs of others run behind reeve and stay, before and after apply, swap and down")
def _(world):
    firewall, client, server = world.firewall, world.client, world.server
    firewall.reeve("down")
    counters = {}
    for name, where in (("in", programs.AT_TCX_INGRESS), ("out", programs.AT_TCX_EGRESS)):
        for interface in ("lan0", "wan0"):
            counters[f"before apply, {interface} {name}"] = counter = programs.Counter(world)
            counter.attach(firewall, interface, where)

    def talk():
        expect({f"IPv{family}": ("open", tcp, client, server.address[family], OTHER)
                for family in (4, 6)})

    talk()
    firewall.apply(OUTBOUND)
    for name, where in (("in", programs.AT_TCX_INGRESS), ("out", programs.AT_TCX_EGRESS)):
        counters[f"after apply, {name}"] = counter = programs.Counter(world)
        counter.attach(firewall, "lan0", where)
    same(programs.counting(counters, talk), {name: True for name in counters}, "counted while reeve runs")
    firewall.apply(OUTBOUND + "policy lan -> self default drop\n")
    same(programs.counting(counters, talk), {name: True for name in counters}, "counted after a swap")
    firewall.reeve("down")
    same(programs.counting(counters, talk), {name: True for name in counters}, "counted after down")


@test("a filter of tc (clsact) runs behind reeve and stays after down")
def _(world):
    firewall, client, server = world.firewall, world.client, world.server
    mirror = world.namespace("mirror")
    world.link(firewall, "tap0", mirror, "eth0")
    firewall.run("tc", "qdisc", "add", "dev", "lan0", "clsact")
    done = firewall.try_run("tc", "filter", "add", "dev", "lan0", "ingress", "protocol", "ip",
                            "u32", "match", "u32", "0", "0", "action", "mirred", "egress", "mirror",
                            "dev", "tap0")
    if done.returncode:
        raise Skip("the kernel has no u32 filter with mirred: " + done.stderr.strip())

    def mirrored():
        return mirror.link("eth0")["stats64"]["rx"]["packets"]

    for what, command in (("apply", lambda: firewall.apply(OUTBOUND)),
                          ("down", lambda: firewall.reeve("down"))):
        command()
        before = mirrored()
        expect({what: ("open", udp, client, server.address[4], OTHER)})
        if what == "down":
            holds(mirrored() > before, f"the filter does not see packets after {what}")
        holds("u32" in firewall.run("tc", "filter", "show", "dev", "lan0", "ingress"),
              f"the filter is gone after {what}")
        holds("clsact" in firewall.run("tc", "qdisc", "show", "dev", "lan0"),
              f"the qdisc is gone after {what}")


@test("iptables beside it: its rules stay and hold")
def _(world):
    firewall, client, server = world.firewall, world.client, world.server
    if try_run("sh", "-c", "command -v iptables").returncode:
        raise Skip("iptables is not installed")
    done = firewall.try_run("iptables", "-A", "FORWARD", "-p", "tcp", "--dport", str(OTHER), "-j",
                            "DROP")
    if done.returncode:
        raise Skip("iptables does not work here: " + done.stderr.strip())
    firewall.apply(OUTBOUND)
    expect({"dropped by iptables": ("timeout", tcp, client, server.address[4], OTHER),
            "not dropped": ("open", tcp, client, server.address[4], WEB)})
    firewall.reeve("down")
    holds("DROP" in firewall.run("iptables", "-S", "FORWARD"), "the rule is gone")
    firewall.run("iptables", "-F", "FORWARD")


def without_counts(text):
    """Counters go on counting; handles and all else stay."""
    return re.sub(r'"(packets|bytes)": \d+|packets \d+ bytes \d+|\[\d+:\d+\]', "", text)


def belongings(firewall):
    """What is there of nftables, iptables, tc, XDP and tcx, reeve's own left out."""
    found = {"nft": without_counts(firewall.run("nft", "-j", "-a", "list", "ruleset")),
             "qdiscs": firewall.run("tc", "qdisc", "show"),
             "xdp": re.findall(r"prog/xdp id \d+", firewall.run("ip", "link", "show"))}
    for family in ("iptables", "ip6tables"):
        done = firewall.try_run(family + "-save")
        lines = without_counts(done.stdout).splitlines()
        found[family] = [line for line in lines if not line.startswith("#")]
    for interface in ("lan0", "wan0"):
        for hook in ("ingress", "egress"):
            found[f"filters of {interface} {hook}"] = firewall.run("tc", "filter", "show", "dev",
                                                                  interface, hook)
    hooks = json.loads(firewall.reeve("hooks", "--json"))["hooks"]
    found["hooks"] = [(row["hook"], row["name"], row["device"]) for row in hooks if not row["reeve"]]
    return found


@test("what others have is the same before apply, while it runs, through a swap, and after down")
def _(world):
    firewall, client, server = world.firewall, world.client, world.server
    firewall.reeve("down")
    firewall.nft(MASQUERADE + "table inet counted { chain f { type filter hook forward priority 0; "
                 "ct state established counter accept\n }\n}")
    for family in ("iptables", "ip6tables"):
        firewall.try_run(family, "-A", "INPUT", "-p", "udp", "--dport", "9", "-j", "DROP")
    firewall.try_run("tc", "qdisc", "del", "dev", "lan0", "clsact")  # left by a test that was skipped
    firewall.run("tc", "qdisc", "add", "dev", "lan0", "clsact")
    firewall.try_run("tc", "filter", "add", "dev", "lan0", "egress", "protocol", "ip", "u32", "match",
                     "u32", "0", "0", "classid", "1:7")
    counter = programs.Counter(world)
    counter.attach(firewall, "wan0", programs.AT_TCX_INGRESS)
    passing = programs.load_answer(programs.XDP, 2, "foreign_xdp", programs.AT_XDP)
    with firewall:
        links = [programs.link(passing, firewall.index("wan0"), programs.AT_XDP)]
    try:
        before = belongings(firewall)
        holds(before["xdp"] and len(before["hooks"]) >= 4, before)
        for what, change in (("apply", lambda: firewall.apply(OUTBOUND)),
                             ("swap", lambda: firewall.apply(CLOSED)),
                             ("sync", lambda: firewall.reeve("sync")),
                             ("down", lambda: firewall.reeve("down"))):
            change()
            same(belongings(firewall), before, f"after {what}")
            if what in ("apply", "down"):
                expect({what: ("open", udp, client, server.address[4], OTHER)})
    finally:
        for fd in (*links, passing):
            os.close(fd)
        firewall.run("nft", "flush", "ruleset")
        firewall.run("tc", "qdisc", "del", "dev", "lan0", "clsact")


def make_world():
    world = router_world("neighbours")
    Echo(world.client, WEB, OTHER)
    Echo(world.server, WEB, OTHER)
    Echo(world.firewall, OTHER)
    world.proxy = Echo(world.firewall, PROXY)
    return world


main(make_world)
