#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What others have on the same hooks, of every kind at once: it is the same after apply, sync and
down as it was before, and goes on counting all the while. And two namespaces with a policy each."""

import json
import os
import re
import shutil
import socket
import struct

import programs
from e2e import (Echo, Skip, expect, holds, main, router_world, same, tcp, test, udp)
from follow import left_out

OPEN, ALSO, SHUT = 1001, 1002, 1003
XDP_PASS, NF_ACCEPT, SKB_MODE = 2, 1, 1 << 1
PF_INET, PF_INET6 = 2, 10
HOOKS = {1: "input", 2: "forward", 3: "output"}

HEAD = "zone wan = wan0\nzone lan = lan0\n"
FIRST = HEAD + f"""policy lan -> {{ wan, self }} default drop {{ allow {{ {OPEN}, {ALSO} }} }}
policy self -> any default allow
"""
SECOND = HEAD + f"""policy {{ lan, wan }} -> self default reject {{ allow {OPEN} }}
policy lan -> wan default drop {{ allow {OPEN} }}
"""

# Rules that count, in every family and type; priorities around reeve's own.
NFT = """
table inet theirs {
    counter named { }
    set talkers { type ipv4_addr; size 64; flags dynamic; timeout 1h; }
    chain early { type filter hook prerouting priority raw; counter; }
    chain in { type filter hook input priority filter; counter name named; }
    chain through { type filter hook forward priority -400; counter; add @talkers { ip saddr }; }
    chain out { type filter hook output priority -391; counter; }
    chain post { type filter hook postrouting priority -390; counter; }
}
table netdev theirs {
    chain in { type filter hook ingress device "lan0" priority 0; counter; }
}
table ip theirs_nat {
    chain post { type nat hook postrouting priority srcnat; oifname "eth9" counter masquerade; }
}
"""
UNMET = ("masquerade",)  # rules of the above that nothing meets


# --- everything of others -------------------------------------------------------------------------


class Others:
    """Rules and programs of somebody else on the firewall, of all the kinds that this kernel has."""

    def __init__(self, world):
        self.world, self.firewall = world, world.firewall
        self.lacking = []
        self.counters = {}  # programs that count
        self.links = {}
        self.nft()
        self.iptables()
        self.tc()
        self.programs()

    def nft(self):
        if shutil.which("nft"):
            self.firewall.nft(NFT)
        else:
            self.lacking.append("nft")

    def iptables(self):
        self.saves = []
        for kind in ("iptables-legacy", "ip6tables-legacy", "iptables-nft", "ip6tables-nft"):
            rules = [("filter", "INPUT"), ("filter", "FORWARD"), ("mangle", "PREROUTING")]
            done = [self.firewall.try_run(kind, "-w", "-t", table, "-A", chain, "-m", "comment",
                                          "--comment", "theirs").returncode if shutil.which(kind)
                    else 127 for table, chain in rules]
            if not any(done):
                self.saves.append(kind + "-save")
            else:
                self.lacking.append(kind)

    def tc(self):
        """Filters of clsact, and a queue at the root."""
        run = self.firewall.try_run
        for interface in ("lan0", "wan0"):
            commands = [("qdisc", "add", "dev", interface, "clsact")] + [
                ("filter", "add", "dev", interface, hook, "prio", "5", "protocol", "all", "u32",
                 "match", "u32", "0", "0", "classid", "1:1") for hook in ("ingress", "egress")]
            if any(run("tc", *command).returncode for command in commands):
                run("tc", "qdisc", "del", "dev", interface, "clsact")
                self.lacking.append(f"filters of clsact on {interface}")
        if run("tc", "qdisc", "add", "dev", "wan0", "root", "handle", "7:", "pfifo").returncode:
            self.lacking.append("pfifo")

    def attach(self, title, kind, answer, interface, where, more=b"", expected=0):
        try:
            counter = programs.Counter(self.world, kind, answer, expected)
            self.links[title] = counter.attach(self.firewall, interface, where, more)
            self.counters[title] = counter
        except (Skip, OSError) as reason:
            self.lacking.append(f"{title} ({reason})")

    def programs(self):
        for interface in ("lan0", "wan0"):
            self.attach(f"XDP of {interface}", programs.XDP, XDP_PASS, interface, programs.AT_XDP,
                        struct.pack("I", SKB_MODE), programs.AT_XDP)
            for hook, where in (("ingress", programs.AT_TCX_INGRESS), ("egress", programs.AT_TCX_EGRESS)):
                self.attach(f"tcx {hook} of {interface}", programs.SCHED_CLS, programs.TCX_NEXT,
                            interface, where)
        for family in (PF_INET, PF_INET6):
            for hook, name in HOOKS.items():
                self.attach(f"Netfilter {name} {family}", programs.NETFILTER, NF_ACCEPT, None,
                            programs.AT_NETFILTER, struct.pack("IIiI", family, hook, -380, 0),
                            programs.AT_NETFILTER)

    # --- what is there, counts aside ---

    def snapshot(self):
        run = self.firewall.run
        found = {"qdiscs": run("tc", "qdisc", "show")}
        if "nft" not in self.lacking:
            found["nft"] = nft_rows(run("nft", "-j", "-a", "list", "ruleset"))
        for save in self.saves:
            found[save] = [line for line in uncounted(run(save)).splitlines() if line[0] != "#"]
        for interface in ("lan0", "wan0"):
            for hook in ("ingress", "egress"):
                found[f"filters of {interface} {hook}"] = uncounted(run(
                    "tc", "filter", "show", "dev", interface, hook))
            link = self.firewall.link(interface)
            found[f"{interface}"] = {name: link.get(name) for name in (
                "xdp", "qdisc", "flags", "mtu", "promiscuity", "address", "operstate")}
        for title, fd in self.links.items():
            found[title] = link_of(fd)
        if shutil.which("bpftool"):
            ours = {row["id"] for name in ("link", "prog") for row in json.loads(
                run("bpftool", "-j", name, "show")) if row.get("name") == "foreign"}
            found["programs that are loaded"] = sum(number is not None for number in ours) >= len(
                self.counters)
        return found

    # --- what has counted ---

    def counts(self):
        """{what: packets}"""
        run = self.firewall.run
        found = {title: counter.value() for title, counter in self.counters.items()}
        if "nft" not in self.lacking:
            for number, (rule, packets) in enumerate(nft_counts(run("nft", "-j", "list", "ruleset"))):
                if not any(word in rule for word in UNMET):
                    found[f"nft {number}: {rule[:60]}"] = packets
        for save in self.saves:
            for line in run(save, "-c").splitlines():
                if line.startswith("[") and "theirs" in line:
                    found[f"{save} {line.split('] ')[1]}"] = int(line[1:].split(":")[0])
        for interface in ("lan0", "wan0"):
            for hook in ("ingress", "egress"):
                text = run("tc", "-s", "filter", "show", "dev", interface, hook, "prio", "5")
                for packets in re.findall(r"rule hit (\d+)", text):  # where the kernel counts them
                    found[f"filter of {interface} {hook}"] = int(packets)
        return found


def uncounted(text):
    return re.sub(r"\[\d+:\d+\]|\((rule hit|success) \d+[^)]*\)", "", text)


def nft_rows(text):
    """The rules set, without counts and without what sets have learnt."""
    def stripped(what):
        if isinstance(what, dict):
            return {name: stripped(part) for name, part in what.items()
                    if name not in ("packets", "bytes", "elem")}
        return [stripped(part) for part in what] if isinstance(what, list) else what
    return stripped(json.loads(text)["nftables"])


def nft_counts(text):
    """(the rule, packets) of every counter, but for those of iptables-nft."""
    for row in json.loads(text)["nftables"]:
        if "counter" in row and row["counter"]["table"] == "theirs":
            yield "named", row["counter"]["packets"]
        rule = row.get("rule", {"table": ""})
        if not rule["table"].startswith("theirs"):
            continue
        for part in rule["expr"]:
            if "counter" in part and isinstance(part["counter"], dict):
                yield (f"{rule['table']} {rule['chain']} {'masquerade' * ('masquerade' in str(rule))}",
                       part["counter"]["packets"])


def link_of(fd):
    """What the kernel tells of a link: its id, its program, where it is."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        return [line for line in file.read().splitlines()
                if line.split(":")[0] in ("link_type", "link_id", "prog_tag", "prog_id", "ifindex",
                                          "attach_type", "pf", "hooknum", "prio", "priority")]


def talk(world, port=OPEN):
    """Over every hook, both families: to the firewall, through it, from it."""
    table = {}
    for family in (4, 6):
        for kind in (tcp, udp):
            table[f"{kind.__name__} through, IPv{family}"] = (
                "open", kind, world.client, world.server.address[family], port)
            table[f"{kind.__name__} to it, IPv{family}"] = (
                "open", kind, world.client, world.firewall.lan[family], port)
            table[f"{kind.__name__} from it, IPv{family}"] = (
                "open", kind, world.firewall, world.server.address[family], port)
    expect(table)


def all_count(world, others, what):
    before = others.counts()
    talk(world)
    after = others.counts()
    same(sorted(before), sorted(after), f"{what}: what counts")
    same([name for name in before if after[name] <= before[name]], [], f"{what}: does not count")


STAGES = (("apply", lambda at: at.apply(FIRST)), ("another policy", lambda at: at.apply(SECOND)),
          ("sync", lambda at: at.reeve("sync")),
          ("a refused policy", lambda at: at.try_reeve("apply", at.policy("zone", "bad.reeve"))),
          ("down", lambda at: at.reeve("down")), ("apply again", lambda at: at.apply(FIRST)),
          ("flows kill", lambda at: at.reeve("flows", "kill", f"{OPEN}/tcp")),
          ("down again", lambda at: at.reeve("down")))


@test("XDP, tcx, clsact, Netfilter, nft and iptables of others: as before, and counting, at every stage", 120)
def _(world):
    firewall = world.firewall
    world.others = others = Others(world)
    if others.lacking:
        print(f"# not here: {', '.join(others.lacking)}")
    holds(len(others.counters) >= 1 and others.saves or "nft" not in others.lacking, "nothing to look at")
    before = others.snapshot()
    all_count(world, others, "before")
    same(others.snapshot(), before, "it changes by itself")
    for what, act in STAGES:
        act(firewall)
        found = others.snapshot()
        running = not what.startswith("down")
        # An older kernel's way: reeve has a filter and a table among theirs while it runs.
        same({name: row for name, row in found.items() if not (running and shared(name))},
             {name: row for name, row in before.items() if not (running and shared(name))},
             f"after {what}")
        all_count(world, others, f"after {what}")
    same(others.snapshot(), before, "at the end")


def shared(name):
    return (left_out("tcx") and ("filters" in name or name == "qdiscs")
            or left_out("netfilter-links") and name == "nft")


@test("what others change while reeve runs is theirs too: it stays after down", 60)
def _(world):
    firewall = world.firewall
    firewall.apply(FIRST)
    firewall.run("tc", "filter", "add", "dev", "lan0", "ingress", "prio", "6", "protocol", "ip", "u32",
                 "match", "u32", "0", "0", "classid", "1:2")
    firewall.run("tc", "qdisc", "add", "dev", "lan0", "root", "handle", "9:", "pfifo")
    firewall.nft("table inet later { chain in { type filter hook input priority -390; counter; }\n}\n")
    talk(world)
    firewall.apply(SECOND)
    firewall.reeve("down")
    for command, word in ((("tc", "filter", "show", "dev", "lan0", "ingress", "prio", "6"), "u32"),
                          (("tc", "qdisc", "show", "dev", "lan0"), "pfifo 9:"),
                          (("tc", "qdisc", "show", "dev", "lan0"), "clsact"),
                          (("nft", "list", "table", "inet", "later"), "counter")):
        holds(word in firewall.run(*command), f"{' '.join(command)}: no `{word}` any more")
    all_count(world, world.others, "after down")


# --- two namespaces -------------------------------------------------------------------------------


def says(world):
    """What a policy in the firewall and another in the server let the client do."""
    return {f"{port} IPv{family} {where}": outcome for family in (4, 6) for port in (OPEN, ALSO, SHUT)
            for where, to in (("firewall", world.firewall.lan), ("server", world.server.address))
            for outcome in [(world.client, to[family], port)]}


def outcomes(world, firewall_ports, server_ports):
    """expect() of what is open at the firewall, and through it at the server."""
    table = {}
    for name, (at, address, port) in says(world).items():
        ports = firewall_ports if "firewall" in name else [p for p in server_ports if p in firewall_ports]
        table[name] = ("open" if port in ports else "timeout", tcp, at, address, port)
    expect(table)


def only(*ports):
    """A policy by which these ports are open, in a namespace whose interfaces it does not name."""
    return (f"policy any -> any default drop {{ allow {{ {', '.join(map(str, ports))} }} }}\n"
            f"policy any -> self default drop {{ allow {{ {', '.join(map(str, ports))} }} }}\n"
            "policy self -> any default allow\n")


def known(at):
    """What status, rules and flows say, but for counts and times."""
    status = at.reeve_json("status")
    return (status["digest"], status["generation"], status["interfaces"],
            [rule["text"] for rule in at.rules()])


ALL = (OPEN, ALSO, SHUT)


@test("two namespaces, two policies: each rules its own, and nothing of one is changed through the other", 90)
def _(world):
    firewall, server = world.firewall, world.server
    firewall.reeve("down")
    outcomes(world, ALL, ALL)
    firewall.apply(only(OPEN, ALSO))
    outcomes(world, (OPEN, ALSO), ALL)
    before = known(firewall)
    server.apply(only(ALSO, SHUT))
    same(known(firewall), before, "the firewall, when the server's began")
    outcomes(world, (OPEN, ALSO), (ALSO, SHUT))
    theirs = known(server)
    counted = [rule["packets"] for rule in server.rules()]
    firewall.apply(only(*ALL))
    outcomes(world, ALL, (ALSO, SHUT))
    same(known(server), theirs, "the server, when the firewall's changed")
    holds(all(rule["packets"] >= packets for rule, packets in zip(server.rules(), counted)),
          "counts of the server")
    # Flows: those of one are not the other's, and killing them leaves the other's.
    with world.client.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((server.address[4], ALSO))
        sock.send(b"here")
        same(sock.recv(100), b"here")

        def flow(at):
            return [row["state"] for row in at.flows()
                    if row["originator"]["port"] == sock.getsockname()[1]]
        same((flow(firewall), flow(server)), (["established"], ["established"]))
        firewall.reeve("flows", "kill", f"{ALSO}/tcp")
        same((flow(firewall), flow(server)), ([], ["established"]), "after flows kill")
    firewall.reeve("sync")
    same(known(server), theirs, "the server, after sync in the firewall")
    firewall.reeve("down")
    same(known(server), theirs, "the server, when the firewall's is down")
    outcomes(world, ALL, (ALSO, SHUT))
    firewall.apply(only(OPEN))
    server.reeve("down")
    outcomes(world, (OPEN,), ALL)
    same(firewall.reeve_json("status")["generation"], 1)


def make_world():
    world = router_world("others")
    for at in (world.firewall, world.server):
        Echo(at, *ALL)
    return world


main(make_world)
