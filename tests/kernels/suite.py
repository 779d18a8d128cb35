#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A pass over everything that the kernel must do for reeve, short enough for an emulated machine:
client - firewall - server, both families, and devices that need modules. make check-kernels runs it
in older kernels; it runs on any."""

import json
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))

import bounds
import follow
from e2e import (Echo, Skip, eventually, expect, holds, main, ping, router_world,
                 run, same, tcp, test, try_run, udp)

ALLOWED, DROPPED, REJECTED = 1001, 1002, 1003
POLICY = f"""
zone lan = {{ lan0, "new*" }}
zone wan = wan0
zone tagged = vlan7
zone bridge = br0
policy lan -> self default drop {{
    allow {ALLOWED}
    reject {REJECTED}
    allow icmp echo-request
    allow icmpv6 echo-request
}}
policy lan -> wan default drop {{
    allow {ALLOWED}
    reject {REJECTED}
    allow icmp echo-request
    allow icmpv6 echo-request
}}
policy {{ tagged, bridge }} -> self default drop {{ allow {ALLOWED} }}
policy self -> any default drop {{ allow {ALLOWED} }}
"""
LISTS_HOOKS = {"6.1": False, "6.12": True}  # as Debian configures them



def objects_of(host):
    """What bpftool can be asked for, of the programs that run here and the maps they use."""
    found = set()
    for row in bounds.programs_of(host).values():
        found.add(("prog", row["id"]))
        told = json.loads(run("bpftool", "-j", "prog", "show", "id", str(row["id"])))
        found |= {("map", number) for number in told.get("map_ids", ())}
    return found


def alive(objects):
    return {(kind, number) for kind, number in objects
            if not try_run("bpftool", kind, "show", "id", str(number)).returncode}


def both(world, outcome, call, at, addresses, port):
    return {f"{call.__name__} {family} {at} {port}": (outcome, call, at, addresses[family], port)
            for family in (4, 6)}


@test("the programs load, and apply says so", 120)
def _(world):
    world.firewall.apply(POLICY)
    status = world.firewall.reeve_json("status")
    same({row["name"]: row["coverage"] for row in status["interfaces"] if row["name"] != "lo"},
         {"lan0": "covered", "wan0": "covered"})


@test("to the firewall and through it: allowed, dropped, rejected; TCP and UDP, both families", 90)
def _(world):
    table = {}
    for to in (world.firewall.lan, world.server.address):
        for call in (tcp, udp):
            for outcome, port in (("open", ALLOWED), ("timeout", DROPPED), ("refused", REJECTED)):
                table |= {f"{to[4]} {title}": row for title, row in
                          both(world, outcome, call, world.client, to, port).items()}
    expect(table)


@test("echo requests and their replies; nothing from the server's side; the firewall's own", 90)
def _(world):
    table = {f"ping {address}": ("open", ping, world.client, address)
             for to in (world.firewall.lan, world.server.address) for address in to.values()}
    table |= both(world, "timeout", tcp, world.server, world.client.address, ALLOWED)
    table |= both(world, "timeout", udp, world.server, world.firewall.wan, ALLOWED)
    table |= both(world, "open", tcp, world.firewall, world.server.address, ALLOWED)
    expect(table)
    # What leaves is dropped where it leaves; local sends of UDP hear nothing of it.
    expect(both(world, "timeout", udp, world.firewall, world.server.address, DROPPED))


@test("another policy keeps the flows it allows, and cuts those it does not", 120)
def _(world):
    firewall = world.firewall
    sockets = {}
    for port in (ALLOWED, DROPPED):
        sockets[port] = world.client.socket(socket.AF_INET, socket.SOCK_STREAM)
    firewall.apply(POLICY.replace("-> wan default drop", "-> wan default allow"))
    for port, sock in sockets.items():
        sock.connect((world.server.address[4], port))
        sock.send(b"one")
        same(sock.recv(10), b"one", str(port))
    firewall.apply(POLICY)
    sockets[ALLOWED].send(b"two")
    same(sockets[ALLOWED].recv(10), b"two")
    sockets[DROPPED].send(b"two")
    try:
        answer = sockets[DROPPED].recv(10)
    except OSError:
        answer = b""
    same(answer, b"", "a flow that the policy does not allow any more")
    for sock in sockets.values():
        sock.close()


@test("flows, rules, status and watch tell of it", 60)
def _(world):
    firewall = world.firewall
    watch = firewall.start(follow.REEVE, "watch", "--json")
    eventually(lambda: udp(world.client, world.firewall.lan[4], DROPPED, patience=0.2) and
               firewall.hits("default drop") > 0, "a drop is counted")
    tcp(world.client, world.server.address[4], ALLOWED)
    holds(any(flow["protocol"] in ("tcp", 6) for flow in firewall.flows()), str(firewall.flows()))
    holds(firewall.hits(f"allow {ALLOWED}") > 0, "the allowing rules have counted")
    udp(world.client, world.firewall.lan[4], DROPPED, patience=0.2)
    line = watch.stdout.readline()
    holds(json.loads(line), line)
    world.end(watch)


@test("hooks names reeve's programs; where the kernel lists its hooks, everyone else's", 60)
def _(world):
    firewall = world.firewall
    firewall.nft("table inet near {\nchain in {\ntype filter hook input priority -5\n"
                 "ct state established accept\n}\n}\n")
    said = firewall.reeve_json("hooks")
    ours = {(row["hook"], row["device"]) for row in said["hooks"] if row["reeve"]}
    for device in ("lan0", "wan0"):
        for hook in ("tc ingress", "tc egress"):
            holds((hook, device) in ours, f"{hook} {device}: {ours}")
    holds(any(row["hook"] == "input" and row["priority"] == -390 for row in said["hooks"]), str(said))
    holds(any("near" in str(row.values()) and row["priority"] == -5 for row in said["hooks"]), str(said))
    for row in said["hooks"]:
        print(f"# hooks: {row['hook']} {row['device'] or row['families']} {row['priority']} "
              f"{row['owner']} {row['name']}")
    listed = not any("NETLINK_HOOK" in note for note in said.get("notes", ()))
    same(listed, LISTS_HOOKS.get(bounds.kernel_here(), listed), f"notes: {said.get('notes')}")
    if listed:
        # conntrack registers functions of the kernel's own, which only that list tells of.
        holds(any(row["owner"] == "conntrack" for row in said["hooks"]), str(said["hooks"]))
    firewall.nft("delete table inet near")


@test("a new interface is held by the guard until sync covers it", 60)
def _(world):
    firewall = world.firewall
    world.link(firewall, "new0", world.client, "eth1")
    firewall.ip("addr add 10.77.9.1/24 dev new0")
    world.client.ip("addr add 10.77.9.10/24 dev eth1")
    expect({"held": ("timeout", udp, world.client, "10.77.9.1", ALLOWED)})
    firewall.reeve("sync")
    eventually(lambda: follow.covered(firewall, "new0"), "new0 is covered")
    expect({"allowed": ("open", udp, world.client, "10.77.9.1", ALLOWED),
            "dropped": ("timeout", udp, world.client, "10.77.9.1", DROPPED)})
    firewall.ip("link del new0")


@test("a VLAN device: what is tagged is judged there, by its own zone", 60)
def _(world):
    for at, parent, address in ((world.firewall, "lan0", "10.77.7.1"), (world.client, "eth0", "10.77.7.10")):
        done = try_run("ip", "-n", at.name, "link", "add", "link", parent, "name", "vlan7", "type", "vlan",
                       "id", "7")
        if done.returncode:
            raise Skip("no VLAN devices here: " + done.stderr.strip())
        at.ip(f"addr add {address}/24 dev vlan7", "link set vlan7 up")
    world.firewall.reeve("sync")
    expect({"allowed": ("open", tcp, world.client, "10.77.7.1", ALLOWED),
            "dropped": ("timeout", tcp, world.client, "10.77.7.1", DROPPED),
            "not of that zone": ("timeout", tcp, world.client, "10.77.7.1", REJECTED)})
    world.firewall.ip("link del vlan7")


@test("a bridge is judged as itself, its ports are left alone", 60)
def _(world):
    firewall = world.firewall
    world.link(firewall, "port0", world.client, "eth2")
    firewall.ip("link add br0 type bridge", "link set port0 master br0", "link set br0 up",
                "addr add 10.77.8.1/24 dev br0")
    world.client.ip("addr add 10.77.8.10/24 dev eth2")
    firewall.reeve("sync")
    eventually(lambda: ping(world.client, "10.77.8.1", 1) == "timeout" and
               tcp(world.client, "10.77.8.1", ALLOWED) == "open", "the bridge forwards", 10)
    expect({"dropped": ("timeout", tcp, world.client, "10.77.8.1", DROPPED)})
    same(follow.coverage_of(firewall, "br0"), "covered")
    firewall.ip("link del br0", "link del port0")


@test("a program that somebody takes off is missed, and the guard holds the interface", 60)
def _(world):
    firewall = world.firewall
    clsact = firewall.reeve_json("status")["hooks"] == "clsact"
    if clsact:
        firewall.run("tc", "qdisc", "del", "dev", "lan0", "clsact")
    else:
        run("bpftool", "link", "detach", "pinned",
            follow.pin_of(firewall, f"arrive_{firewall.index('lan0')}"))
    holds("DETACHED" in firewall.reeve("status"), firewall.reeve("status"))
    expect({"held": ("timeout", tcp, world.client, firewall.lan[4], ALLOWED)})
    firewall.reeve("sync")
    expect({"allowed": ("open", tcp, world.client, firewall.lan[4], ALLOWED),
            "dropped": ("timeout", tcp, world.client, firewall.lan[6], DROPPED)})


@test("early: a port, a limit, a dynamic set, both families; and off again", 120)
def _(world):
    firewall, client = world.firewall, world.client
    rule = f"drop {ALLOWED}/udp"
    firewall.apply(f"set bad = dynamic\n{POLICY}early lan {{\n    {rule}\n    drop from @bad\n"
                   "    limit icmp 1/m burst 2 each source\n}\n")
    print("# early:", {row["name"]: row["early"] for row in firewall.reeve_json("status")["interfaces"]})
    expect(both(world, "timeout", udp, client, firewall.lan, ALLOWED) |
           both(world, "open", tcp, client, firewall.lan, ALLOWED))
    holds(firewall.hits(rule) >= 2, "counted at its rule")
    same([ping(client, firewall.lan[4], 1) for _ in range(3)], ["open", "open", "timeout"])
    firewall.reeve("set", "add", "bad", client.address[4], "2001:db8::/16")
    expect(both(world, "timeout", tcp, client, firewall.lan, ALLOWED))
    bounds.hold_against_bounds(firewall)
    firewall.apply(POLICY)
    expect(both(world, "open", udp, client, firewall.lan, ALLOWED))


@test("no program has grown beyond its bound", 60)
def _(world):
    bounds.hold_against_bounds(world.firewall)


@test("down leaves nothing", 60)
def _(world):
    ours = objects_of(world.firewall)
    same(alive(ours), ours)
    world.firewall.reeve("down")
    expect({"open": ("open", tcp, world.client, world.firewall.lan[4], DROPPED)})
    eventually(lambda: not alive(ours), "programs and maps are gone", 10)
    same([row["kind"] for row in json.loads(world.firewall.run("tc", "-j", "qdisc", "show")) if
          row["kind"] == "clsact"], [])


def world():
    made = router_world("kernels")
    Echo(made.firewall, ALLOWED, DROPPED, REJECTED)
    Echo(made.server, ALLOWED, DROPPED, REJECTED)
    Echo(made.client, ALLOWED, DROPPED)
    return made


if __name__ == "__main__":
    main(world)
