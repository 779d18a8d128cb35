#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What older kernels get: filters of clsact where there is no tcx. Other suites run this way too,
with REEVE_WITHOUT in their environment; here is what is special about it."""

import json
import os
import shutil

from e2e import Echo, Skip, eventually, expect, holds, host_world, main, run, same, test, udp
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
                        ([["qdisc", "add", "dev", "eth0", "ingress"]], "`ingress` qdisc"),
                        ([["qdisc", "add", "dev", "eth0", "ingress_block", "22", "clsact"]],
                         "can share")):
        for line in lines:
            host.run("tc", *line)
        before = filters(host, "ingress"), filters(host, "egress"), qdiscs(host)
        done = host.try_reeve("apply", host.policy(POLICY))
        same((done.returncode, word in done.stderr), (1, True), done.stderr)
        same((filters(host, "ingress"), filters(host, "egress"), qdiscs(host)), before)
        holds("not running" in host.reeve("status"), "it runs")
        expect({"open": ("open", udp, world.peer, host.address[4], DROPPED)})
        host.run("tc", "qdisc", "del", "dev", "eth0", lines[0][-1])


@test("somebody's filter of the same priority comes before reeve's: noticed, and sync is the first again")
def _(world):
    host = world.host
    host.apply(POLICY)
    for hook in ("ingress", "egress"):
        host.run("tc", "filter", "add", "dev", "eth0", hook, "pref", "1", "handle", "2", "bpf",
                 "bytecode", "1,6 0 0 4294967295,", "classid", "1:7")
        same([row[2] for row in filters(host, hook)], ["0x2", HANDLE], hook)
    same([row["coverage"] for row in host.reeve_json("status")["interfaces"]],
         ["loopback", "detached"])
    host.reeve("sync")
    for hook in ("ingress", "egress"):
        same([row[2] for row in filters(host, hook)], [HANDLE, "0x2"], hook)
    filtered(world)
    host.reeve("down")
    same([row[2] for row in filters(host, "ingress")], ["0x2"])
    host.run("tc", "qdisc", "del", "dev", "eth0", "clsact")


@test("flow tables that others have taken the place of are freed")
def _(world):
    host = world.host
    if not shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        raise Skip("bpftool is not installed")
    tables = 54321, 65432
    for flows in tables:
        host.apply(POLICY + f"options {{ flows {flows} }}\n")
    # Freed a moment later, where the kernel does it behind a grace period.
    def left():
        rows = json.loads(run("bpftool", "-j", "map", "show"))
        return {row["max_entries"] for row in rows if row.get("max_entries") in tables}
    eventually(lambda: left() == {65432}, "only the new table is there", 10)
    host.reeve("down")


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


@test("asleep, without its interfaces, or from an old listing: no longer reeve's table, until sync")
def _(world):
    host = world.host
    host.apply(POLICY)
    listed = host.run("nft", "list", "table", "inet", "reeve-guard")
    host.ip("link add name late0 type bridge")
    host.reeve("sync")
    for text in ("add table inet reeve-guard { flags dormant; }",
                 "flush set inet reeve-guard covered",
                 "delete element inet reeve-guard covered { eth0 }\n"
                 "add element inet reeve-guard covered { lo }",
                 "insert rule inet reeve-guard local_in accept",
                 "delete table inet reeve-guard\n" + listed):
        same(host.reeve_json("status")["guard"]["alive"], True, f"before {text}")
        host.nft(text)
        same(host.reeve_json("status")["guard"]["alive"], False, text)
        host.reeve("sync")
        filtered(world)
    same(host.reeve_json("sync")["changes"], [])
    host.ip("link set late0 name late1")  # the name is none of the table's business
    same(host.reeve_json("status")["guard"]["alive"], True)
    host.ip("link del late1")
    host.reeve("down")


@test("an interface whose name is the index of another one")
def _(world):
    host = world.host
    host.ip(f"link add name {host.index('eth0')} type bridge")
    host.apply(POLICY)
    filtered(world)
    host.ip(f"link del {host.index('eth0')}")
    host.reeve("down")


@test("pins removed by hand, and an interface that takes no filter: the others are filtered and not held")
def _(world):
    host = world.host
    host.apply(POLICY)
    for name in os.listdir(os.path.dirname(pin_of(host, "x"))):
        os.unlink(pin_of(host, name))
    host.ip("link add odd0 type bridge")
    host.run("tc", "qdisc", "add", "dev", "odd0", "ingress")
    done = host.try_reeve("apply", host.policy(POLICY))
    same((done.returncode, "`odd0`" in done.stderr), (1, True), done.stderr)
    filtered(world)
    host.ip("link del odd0")
    host.apply(POLICY)
    filtered(world)
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
