#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What older kernels get: filters of clsact where there is no tcx. Other suites run this way too,
with REEVE_WITHOUT in their environment; here is what is special about it."""

import json
import os

from e2e import Echo, expect, holds, host_world, main, same, test, udp
from follow import pin_of

os.environ["REEVE_WITHOUT"] = "tcx,netfilter-links"
ALLOWED, DROPPED = 1001, 1002
POLICY = f"""zone lan = eth0
policy lan -> self default drop {{ allow {ALLOWED} }}
policy self -> any default allow
"""
HANDLE = "0x72656576"
ANY = ("u32", "match", "u32", "0", "0", "classid", "1:7")  # somebody's filter, which takes all


def filters(host, hook):
    rows = json.loads(host.run("tc", "-j", "filter", "show", "dev", "eth0", hook))
    return [(row["pref"], row["kind"], row["options"].get("handle")) for row in rows
            if "handle" in row.get("options", ()) or "match" in row.get("options", ())]


def qdiscs(host):
    return sorted(row["kind"] for row in json.loads(host.run("tc", "-j", "qdisc", "show", "dev", "eth0")))


def filtered(world):
    expect({"allowed": ("open", udp, world.peer, world.host.address[4], ALLOWED),
            "dropped": ("timeout", udp, world.peer, world.host.address[6], DROPPED)})


@test("a filter on each side of each interface; down takes them and the qdisc away")
def _(world):
    host = world.host
    before = qdiscs(host)
    host.apply(POLICY)
    same(host.reeve_json("status")["hooks"], "clsact")
    filtered(world)
    for hook in ("ingress", "egress"):
        same(filters(host, hook), [(1, "bpf", HANDLE)], hook)
    host.reeve("down")
    same(qdiscs(host), before)
    expect({"open": ("open", udp, world.peer, host.address[4], DROPPED)})


@test("filters of others stay, behind reeve's, and so does a qdisc that was there")
def _(world):
    host = world.host
    host.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    host.run("tc", "filter", "add", "dev", "eth0", "ingress", "pref", "7", "protocol", "ip", *ANY)
    before = filters(host, "ingress"), filters(host, "egress"), qdiscs(host)
    host.apply(POLICY)
    same([row[0] for row in filters(host, "ingress")], [1, 7])
    filtered(world)
    host.reeve("down")
    same((filters(host, "ingress"), filters(host, "egress"), qdiscs(host)), before)
    host.run("tc", "filter", "del", "dev", "eth0", "ingress", "pref", "7")
    before = qdiscs(host)
    host.apply(POLICY)
    host.reeve("down")
    same(qdiscs(host), before, "an empty qdisc of somebody else's")
    host.run("tc", "qdisc", "del", "dev", "eth0", "clsact")


@test("a filter that somebody adds keeps the qdisc that reeve made")
def _(world):
    host = world.host
    host.apply(POLICY)
    host.run("tc", "filter", "add", "dev", "eth0", "egress", "pref", "9", "protocol", "ip", *ANY)
    host.reeve("down")
    same([row[:2] for row in filters(host, "egress")], [(9, "u32")])
    host.run("tc", "qdisc", "del", "dev", "eth0", "clsact")


@test("the whole qdisc taken away: status says so, apply and sync put it back")
def _(world):
    host = world.host
    host.apply(POLICY)
    for command in (("sync",), ("apply", host.policy(POLICY))):
        host.run("tc", "qdisc", "del", "dev", "eth0", "clsact")
        holds("DETACHED" in host.reeve("status"), host.reeve("status"))
        expect({"held": ("timeout", udp, world.peer, host.address[4], ALLOWED)})
        host.reeve(*command)
        filtered(world)
    host.reeve("down")


@test("its place taken, or a qdisc without egress: refused and said how; nothing is left")
def _(world):
    host = world.host
    for lines, word in (([["qdisc", "add", "dev", "eth0", "clsact"],
                          ["filter", "add", "dev", "eth0", "egress", "pref", "1", "protocol", "ip",
                           *ANY]], "priority 1"),
                        ([["qdisc", "add", "dev", "eth0", "ingress"]], "`ingress` qdisc")):
        for line in lines:
            host.run("tc", *line)
        before = filters(host, "ingress"), filters(host, "egress"), qdiscs(host)
        done = host.try_reeve("apply", host.policy(POLICY))
        same((done.returncode, word in done.stderr), (1, True), done.stderr)
        same((filters(host, "ingress"), filters(host, "egress"), qdiscs(host)), before)
        holds("not running" in host.reeve("status"), "it runs")
        expect({"open": ("open", udp, world.peer, host.address[4], DROPPED)})
        host.run("tc", "qdisc", "del", "dev", "eth0", lines[0][-1])


def table(host):
    return "reeve-guard" in host.run("nft", "list", "tables")


@test("the guard is a table of nftables: told of interfaces, by the policy's bits of the mark; down removes it")
def _(world):
    host = world.host
    rules = host.run("nft", "list", "ruleset")
    for bits, mask in (("", "0xc0000000"), ("options { mark-bits 4 }\n", "0x00000030")):
        host.apply(POLICY + bits)
        same(host.reeve_json("status")["guard"], {"wanted": True, "alive": True, "by": "nftables"})
        holds(mask in host.run("nft", "list", "table", "inet", "reeve-guard"), mask)
        filtered(world)
    host.apply(POLICY + "options { guard off }\n")
    same((table(host), host.reeve_json("status")["guard"]["wanted"]), (False, False))
    filtered(world)
    host.apply(POLICY)
    host.reeve("down")
    same(host.run("nft", "list", "ruleset"), rules)


@test("a rule less in it: status says so, sync puts it back; what it has dropped stays counted")
def _(world):
    host = world.host
    host.apply(POLICY)
    host.run("tc", "qdisc", "del", "dev", "eth0", "clsact")
    expect({"held": ("timeout", udp, world.peer, host.address[4], ALLOWED)})
    dropped = host.statistics()["guard-local-in"]
    holds(dropped > 0, "nothing is counted")
    host.reeve("sync")
    host.run("nft", "flush", "chain", "inet", "reeve-guard", "local_in")
    same(host.reeve_json("status")["guard"]["alive"], False)
    same([row["kind"] for row in host.reeve_json("sync")["changes"]], ["guard"])
    same(host.reeve_json("status")["guard"]["alive"], True)
    holds(host.statistics()["guard-local-in"] >= dropped, "counts are lost")
    host.reeve("down")


@test("pins removed by hand: down still takes filters and table away")
def _(world):
    host = world.host
    host.apply(POLICY)
    for name in os.listdir(os.path.dirname(pin_of(host, "x"))):
        os.unlink(pin_of(host, name))
    host.reeve("down")
    same((filters(host, "ingress"), filters(host, "egress"), table(host)), ([], [], False))
    expect({"open": ("open", udp, world.peer, host.address[4], DROPPED)})


@test("what runs by filters goes on so, also for a command that would use tcx")
def _(world):
    host = world.host
    host.apply(POLICY)
    environment = {key: value for key, value in os.environ.items() if key != "REEVE_WITHOUT"}
    host.reeve("apply", host.policy(POLICY), env=environment)
    same(host.reeve_json("status")["hooks"], "clsact")
    same(filters(host, "ingress"), [(1, "bpf", HANDLE)])
    filtered(world)
    host.reeve("down", env=environment)
    same(filters(host, "ingress"), [])


def world():
    made = host_world("fallback")
    Echo(made.host, ALLOWED, DROPPED)
    return made


if __name__ == "__main__":
    main(world)
