#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""reeve hooks: what is on the packet hooks, reeve's and others', each once and in its order."""

import os
import re
import shutil
import socket
import struct

import programs
from e2e import REEVE, Skip, eventually, holds, host_world, main, same, test

POLICY = "zone lan = eth0\npolicy lan -> self default allow\npolicy self -> any default allow\n"

NFT = """
table inet near {
    chain early { type filter hook prerouting priority -310;; }
    chain in { type filter hook input priority -5; policy accept; }
    chain apart { counter; }
}
table inet far {
    chain in { type filter hook input priority 5; policy drop; accept; }
    chain post { type nat hook postrouting priority 90; oifname "eth9" masquerade; }
}
table netdev edge {
    chain in { type filter hook ingress device "eth0" priority -7;; }
    chain out { type filter hook egress device "eth0" priority -7;; }
}
table bridge within {
    chain through { type filter hook forward priority -200;; }
}
"""


def found(world, hook=None, **wanted):
    """What is there, in its order; where asked, of one hook and with these values."""
    entries = world.host.reeve_json("hooks")["hooks"]
    return [entry for entry in entries if hook in (None, entry["hook"])
            and all(entry[name] == value for name, value in wanted.items())]


def brief(entries):
    return [(entry["owner"], entry["name"], entry["device"] or "+".join(entry["families"]),
             entry["priority"]) for entry in entries]


def on(entries, device):
    return [entry for entry in entries if entry["device"] in (None, device)]


OWN = {
    "tc ingress": [("reeve", "arrive_ethernet", "eth0", None)],
    "input": [("reeve", "guard_local_in", "IPv4+IPv6", -390)],
    "postrouting": [("reeve", "guard_post_routing", "IPv4+IPv6", -390)],
    "tc egress": [("reeve", "depart_ethernet", "eth0", None)],
}


def by_hook(world):
    table = {}
    for entry in on(found(world), "eth0"):
        # Of cgroups the machine has its own; functions of the kernel only some kernels tell.
        if entry["kind"] not in ("cgroup", "function"):
            table.setdefault(entry["hook"], []).extend(brief([entry]))
    return table


@test("without reeve nothing is reeve's; with a policy its programs are on their hooks, and go")
def _(world):
    same(by_hook(world), {})
    world.host.apply(POLICY)
    same(by_hook(world), OWN)
    holds(all(entry["reeve"] and entry["program"] and entry["links"] and not entry["unsure"]
              for entry in found(world, owner="reeve")), "ids of reeve's programs")
    same(len(found(world, owner="reeve")), 4)
    text = world.host.reeve("hooks")
    holds("  device --> XDP" in text and "guard_local_in" in text and "1*" in text, text)
    world.host.reeve("down")
    same(by_hook(world), {})


@test("chains of nftables: each once, by priority, nat where NAT runs")
def _(world):
    host = world.host
    host.apply(POLICY)
    host.nft(NFT)
    try:
        table = by_hook(world)
        same(table, {
            "tc ingress": OWN["tc ingress"],
            "ingress": [("nftables", "netdev edge in", "eth0", -7)],
            "bridge forward": [("nftables", "bridge within through", "bridge", -200)],
            "prerouting": [("nftables", "inet near early", "IPv4+IPv6", -310)],
            "input": OWN["input"] + [("nftables", "inet near in", "IPv4+IPv6", -5),
                                     ("nftables", "inet far in", "IPv4+IPv6", 5)],
            "postrouting": OWN["postrouting"]
            + [("nftables", "inet far post", "IPv4+IPv6", 100)],
            "egress": [("nftables", "netdev edge out", "eth0", -7)],
            "tc egress": OWN["tc egress"],
        })
        same([(entry["policy"], entry["detail"]) for entry in found(world, "input", kind="chain")],
             [("accept", "filter"), ("drop", "filter")])
        same([entry["nat_priority"] for entry in found(world, "postrouting", kind="chain")], [90])
    finally:
        host.nft("flush ruleset\n")
    same(by_hook(world), OWN)


@test("programs of others: XDP, tcx behind reeve's, filters of clsact by priority")
def _(world):
    host, links = world.host, []
    host.apply(POLICY)
    try:
        with host:
            device = socket.if_nametoindex("eth0")
            links.append(programs.link(programs.load_answer(programs.XDP, 2, "foreign_xdp",
                                                            programs.AT_XDP),
                                       device, programs.AT_XDP, struct.pack("I", 2)))
            for where in (programs.AT_TCX_INGRESS, programs.AT_TCX_EGRESS):
                links.append(programs.link(
                    programs.load_answer(programs.SCHED_CLS, -1, "foreign_tcx"), device, where))
        same(brief(found(world, "XDP")), [("bpf", "foreign_xdp", "eth0", None)])
        same([entry["detail"] in ("native", "generic") for entry in found(world, "XDP")], [True])
        for hook in ("tc ingress", "tc egress"):
            same(by_hook(world)[hook], OWN[hook] + [("bpf", "foreign_tcx", "eth0", None)], hook)
        host.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
        host.run("tc", "filter", "add", "dev", "eth0", "ingress", "prio", "9", "protocol", "ip",
                 "u32", "match", "u32", "0", "0", "classid", "1:1")
        host.run("tc", "filter", "add", "dev", "eth0", "ingress", "prio", "7", "protocol", "all",
                 "bpf", "bytecode", "1,6 0 0 0,", "classid", "1:1")
        same(by_hook(world)["tc ingress"][2:], [("tc", "bpf", "eth0", 7), ("tc", "u32", "eth0", 9)])
        same(by_hook(world)["tc egress"][2:], [])
    finally:
        for link in links:
            os.close(link)
        host.try_run("tc", "qdisc", "del", "dev", "eth0", "clsact")


def netfilter(namespace, name, hook, priority):
    """A link of somebody else's on a Netfilter hook of IPv4."""
    program = programs.load_answer(programs.NETFILTER, 1, name, programs.AT_NETFILTER)
    with namespace:
        made = programs.link(program, 0, programs.AT_NETFILTER,
                             struct.pack("IIiI", 2, hook, priority, 0))
    os.close(program)
    return made


@test("a program on Netfilter is told in its own namespace alone")
def _(world):
    host, peer = world.host, world.peer
    host.apply(POLICY)
    peer.apply("policy self -> any default allow\npolicy any -> self default allow\n")
    links = [netfilter(host, "foreign_here", 1, 7), netfilter(peer, "foreign_there", 1, 8)]
    try:
        same(by_hook(world)["input"], OWN["input"] + [("bpf", "foreign_here", "IPv4", 7)])
        same([entry["unsure"] for entry in found(world, name="foreign_here")], [False])
        # Other tests have links too, but none with these names.
        links.append(netfilter(peer, "foreign_twin", 1, 7))
        known = {entry["name"]: entry["unsure"] for entry in found(world, "input", owner="bpf")}
        holds("foreign_here" in known, f"the one here is not told: {known}")
        holds(known == {"foreign_here": False}
              or known == {"foreign_here": True, "foreign_twin": True},
              f"two at the same place in two namespaces: told apart, or both unsure: {known}")
    finally:
        for link in links:
            os.close(link)
    peer.reeve("down")
    eventually(lambda: by_hook(world) == OWN, "links are gone")


@test("a program of a cgroup is told with the cgroup")
def _(world):
    lines = open("/proc/self/mountinfo", encoding="ascii").read().splitlines()
    mounts = [line.split()[4] for line in lines if " - cgroup2 " in line and line.split()[3] == "/"]
    if not mounts:
        raise Skip("no cgroup2 file system is mounted")
    name = f"reeve-hooks-{os.getpid()}"
    folder = os.path.join(mounts[0], name)
    os.mkdir(folder)
    cgroup = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    link = -1
    try:
        link = programs.link(programs.load_answer(programs.CGROUP_SKB, 1, "foreign_cgroup"),
                             cgroup, programs.AT_CGROUP_INGRESS)
        mine = [(entry["hook"], entry["owner"], entry["name"], entry["detail"])
                for entry in found(world, cgroup="/" + name)]
        same(mine, [("cgroup in", "bpf", "foreign_cgroup", "ingress")])
    finally:
        for fd in (link, cgroup):
            if fd >= 0:
                os.close(fd)
        os.rmdir(folder)


@test("the text has all that JSON has, within 100 columns")
def _(world):
    host = world.host
    host.apply(POLICY)
    host.nft(NFT)
    try:
        text, data = host.reeve("hooks"), host.reeve_json("hooks")
    finally:
        host.nft("flush ruleset\n")
    place = 0
    for entry in data["hooks"]:
        place = text.find(entry["name"], place + 1)
        holds(place > 0, f"{entry['name']} is not in its place:\n{text}")
    words = " ".join(text.split())
    holds(all(note in words for note in data["notes"]), text)
    lines = [re.sub(r"[0-9]{6,}", "99999", line) for line in text.splitlines()]  # ids grow
    same([line for line in lines if len(line) > 100], [])


@test("without root it says what it cannot know, and tells the rest")
def _(world):
    if not shutil.which("setpriv"):
        raise Skip("setpriv is not installed")
    os.chmod(world.folder, 0o755)
    reach = os.path.join(world.folder, "reeve")
    shutil.copy(REEVE, reach)
    done = world.host.try_run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                              "--inh-caps=-all", reach, "hooks")
    same((done.returncode, done.stderr), (0, ""))
    holds("CAP_" in done.stdout and "note:" in done.stdout, done.stdout)


# Last: a table of iptables-legacy stays as long as its namespace.
@test("iptables: the nft kind is chains, the legacy kind tables")
def _(world):
    host = world.host
    tables = []
    if shutil.which("iptables-nft"):
        host.run("iptables-nft", "-A", "FORWARD", "-j", "ACCEPT")
        tables.append(("nftables", "ip filter FORWARD", "IPv4", 0))
    try:
        if shutil.which("iptables-legacy") and not host.try_run(
                "iptables-legacy", "-t", "mangle", "-A", "FORWARD", "-j", "ACCEPT").returncode:
            tables.insert(0, ("iptables", "mangle", "IPv4", -150))
            same(("iptables", "mangle", "IPv4", -150) in by_hook(world)["prerouting"], True)
        if not tables:
            raise Skip("neither iptables-nft nor iptables-legacy works here")
        same(by_hook(world)["forward"], tables)
    finally:
        host.nft("flush ruleset\n")


main(lambda: host_world("hooks"))
