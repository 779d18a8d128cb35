#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs, the guard and pins that somebody takes away are noticed, told and put back; reeved as a
process: one of it, its end, its crash, its privileges."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

from e2e import REEVE, Skip, eventually, expect, holds, main, same, tcp, test, udp
from follow import (ALLOWED, DROPPED, POLICY, REEVED, arrive_pin, coverage_of, covered, detach,
                    guard_drops, late_make, left_out, make_world, pin_of, reeved)


# --- programs that are taken away -----------------------------------------------------------------


class Watch:
    """`reeve watch --json` in the background."""

    def __init__(self, at):
        self.path = os.path.join(at.world.folder, "watch.json")
        self.world = at.world
        with open(self.path, "wb") as out:
            self.process = at.start(REEVE, "watch", "--json", stdout=out)
        time.sleep(0.4)

    def health(self):
        """(state, interface, good) of every line about health."""
        with open(self.path, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.endswith("\n")]
        return [(row["state"], row["interface"], row["good"]) for row in rows
                if row["kind"] == "health"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.world.end(self.process)


@test("a program that is detached by hand: status and watch say so, the guard holds, sync repairs")
def _(world):
    host, peer = world.host, world.peer
    host.apply(POLICY)
    with Watch(host) as watch:
        detach(host, arrive_pin(host))
        same(coverage_of(host, "eth0"), "detached")
        holds("DETACHED" in host.reeve("status"), "status does not say so")
        eventually(lambda: ("detached", "eth0", False) in watch.health(), "watch says so")
        expect({"held": ("timeout", udp, peer, host.address[4], ALLOWED)})
        said = host.reeve("status")
        holds("likely: `eth0` is not covered" in said, f"the drops are not explained:\n{said}")
        changes = host.reeve_json("sync")["changes"]
        same([(row["kind"], row["interface"]) for row in changes], [("repaired", "eth0")])
        same(coverage_of(host, "eth0"), "covered")
        eventually(lambda: ("covered", "eth0", True) in watch.health(), "watch says it is well")
    expect({"allowed": ("open", udp, peer, host.address[4], ALLOWED),
            "dropped": ("timeout", udp, peer, host.address[4], DROPPED)})
    same(host.reeve_json("sync")["changes"], [])


@test("a guard that is detached by hand is missed by status and watch, and put back by sync")
def _(world):
    host = world.host
    host.apply(POLICY)
    for name in ("guard_local_in_ipv4", "guard_post_routing_ipv6"):
        with Watch(host) as watch:
            detach(host, name)
            guard = host.reeve_json("status")["guard"]
            same((guard["wanted"], guard["alive"]), (True, False))
            eventually(lambda: ("guard-lost", None, False) in watch.health(), "watch says so")
            same([row["kind"] for row in host.reeve_json("sync")["changes"]], ["guard"])
            same(host.reeve_json("status")["guard"]["alive"], True)
            eventually(lambda: ("guard", None, True) in watch.health(), "watch says it is back")
    # It works again: what comes over an interface without programs is held.
    late_make(world)
    before = guard_drops(host)
    same(udp(world.late, "10.99.0.1", ALLOWED), "timeout")
    holds(guard_drops(host) > before, "the guard has counted nothing")
    host.ip("link del late0")


@test("reeved puts back detached programs, the guard, and pins that were removed by hand")
def _(world):
    host, peer = world.host, world.peer
    host.apply(POLICY)
    expect({"a flow": ("open", udp, peer, host.address[4], ALLOWED)})
    flows = len(host.flows())
    with reeved(host) as daemon:
        detach(host, arrive_pin(host), "guard_local_in_ipv4")
        eventually(lambda: covered(host, "eth0") and host.reeve_json("status")["guard"]["alive"],
                   "they are back", 10)
        eventually(lambda: "guard was taken away" in daemon.said(), "it says so")
        gone = (*[arrive_pin(host)] * (not left_out("tcx")), "flows", "arrive_raw", "full_ways")
        for name in gone:
            os.unlink(pin_of(host, name))
        os.unlink(pin_of(host, "control"))
        done = host.try_reeve("rules")
        if done.returncode:  # unless reeved was quicker
            holds("removed by hand" in done.stderr, done.stderr)
        eventually(lambda: all(os.path.exists(pin_of(host, name)) for name in
                               (*gone, "control")), "the pins are back", 10)
        eventually(lambda: covered(host, "eth0"), "it is covered", 10)
        holds(len(host.flows()) >= flows > 0, "the flows are lost")
        eventually(lambda: "the pin `control` was removed" in daemon.said(), "it says so")
    expect({"allowed": ("open", udp, peer, host.address[4], ALLOWED),
            "dropped": ("timeout", udp, peer, host.address[4], DROPPED)})


@test("pins removed by hand, and no reeved: commands say so, nothing opens, apply makes it whole")
def _(world):
    host, peer = world.host, world.peer
    host.apply(POLICY)
    for names in (("control",), ("flows", "images"), ("full_ways",)):
        for name in names:
            os.unlink(pin_of(host, name))
        for command in ("status", "rules", "flows"):
            done = host.try_reeve(command)
            same((command, done.returncode, "removed by hand" in done.stderr), (command, 1, True),
                 done.stdout + done.stderr)
        same(host.try_reeve("sync").returncode, 1)
        expect({"dropped": ("timeout", udp, peer, host.address[4], DROPPED)})
        host.apply(POLICY)
        expect({"allowed": ("open", udp, peer, host.address[4], ALLOWED),
                "dropped": ("timeout", udp, peer, host.address[4], DROPPED)})
        same((coverage_of(host, "eth0"), host.reeve_json("status")["guard"]["alive"]),
             ("covered", True))


@test("sync keeps generation, counters, flows and the time of apply; explain and rules still agree")
def _(world):
    host, peer = world.host, world.peer
    host.apply(POLICY)
    expect({"counted": ("open", tcp, peer, host.address[4], ALLOWED)})
    before = host.reeve_json("status")
    rules = {row["id"]: row["packets"] for row in host.rules()}
    flows = len(host.flows("22/tcp", "1001/tcp"))
    for _ in range(3):  # both slots, and back
        host.ip("link add late0 type veth peer name late1")
        same({row["interface"] for row in host.reeve_json("sync")["changes"]}, {"late0", "late1"})
        host.ip("link del late0")
        same({row["kind"] for row in host.reeve_json("sync")["changes"]}, {"gone"})
    after = host.reeve_json("status")
    same({key: after[key] for key in ("generation", "since", "rules_all", "digest")},
         {key: before[key] for key in ("generation", "since", "rules_all", "digest")})
    found = {row["id"]: row["packets"] for row in host.rules()}
    same([name for name in rules if found[name] < rules[name]], [], "counters that were lost")
    holds(len(host.flows("22/tcp", "1001/tcp")) >= flows > 0, "flows were lost")
    holds(f"allow {ALLOWED}" in host.reeve("show"), "the text is lost")
    # The counters go on, and an apply after it carries them over.
    hits = host.hits(f"allow {ALLOWED}")
    expect({"counted again": ("open", udp, peer, host.address[4], ALLOWED)})
    holds(host.hits(f"allow {ALLOWED}") > hits, "counters stand still")
    hits = host.hits(f"allow {ALLOWED}")
    host.apply(POLICY + "# another text\n")
    same(host.reeve_json("status")["generation"], before["generation"] + 1)
    holds(host.hits(f"allow {ALLOWED}") >= hits, "apply has lost the counters")


# --- the process ----------------------------------------------------------------------------------


@test("a second reeved in the same namespace is refused, and says who runs; another may then run")
def _(world):
    host = world.host
    with reeved(host) as first:
        done = host.try_run(REEVED)
        same(done.returncode, 1)
        holds(f"process {first.process.pid}" in done.stderr and "already" in done.stderr,
              done.stderr)
        host.apply(POLICY)
        for _ in range(70):  # more than wait in a queue that nobody empties
            same(host.reeve_json("status")["reeved"], first.process.pid)
        holds(f"on, process {first.process.pid}" in host.reeve("status"), "status does not say so")
    same(host.reeve_json("status")["reeved"], None)
    with reeved(host) as next_one:
        same(next_one.end(), 0)


@test("somebody else's process on its name does not keep reeved away")
def _(world):
    host = world.host
    if not shutil.which("setpriv"):
        raise Skip("setpriv is not installed")
    squatter = host.start("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                          sys.executable,
                          "-c", "import socket, time\n"
                          "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
                          "s.bind('\\0reeved'); s.listen(); print('here', flush=True)\n"
                          "time.sleep(60)")
    same(squatter.stdout.readline(), "here\n")
    with reeved(host) as daemon:
        eventually(lambda: "not root's" in daemon.said(), "it says so")
        host.apply(POLICY)
        same(host.reeve_json("status")["reeved"], None, "who is no reeved")
        late_make(world)
        eventually(lambda: covered(host, "late0"), "it works", 10)
        host.ip("link del late0")
    world.end(squatter)


@test("started by `ip netns exec`, in a mount namespace of its own, reeved works all the same")
def _(world):
    host = world.host
    host.apply(POLICY)
    daemon = world.start("ip", "netns", "exec", host.name, REEVED, stdout=subprocess.DEVNULL)
    late_make(world)
    eventually(lambda: covered(host, "late0"), "it covers a new interface", 10)
    detach(host, arrive_pin(host))
    eventually(lambda: covered(host, "eth0"), "it repairs", 10)
    world.end(daemon)
    host.ip("link del late0")


@test("SIGTERM and SIGINT end reeved cleanly, and nothing of the filter changes")
def _(world):
    host, peer = world.host, world.peer
    host.apply(POLICY)
    before = host.reeve_json("status")
    for number in (signal.SIGTERM, signal.SIGINT):
        with reeved(host) as daemon:
            same(daemon.end(number), 0)
            holds("the policy goes on" in daemon.said(), daemon.said())
    after = host.reeve_json("status")
    same((after["digest"], after["generation"]), (before["digest"], before["generation"]))
    expect({"allowed": ("open", tcp, peer, host.address[4], ALLOWED),
            "dropped": ("timeout", tcp, peer, host.address[4], DROPPED)})


@test("kill -9 changes no verdict; started again it catches up with what it has missed")
def _(world):
    host, peer = world.host, world.peer
    host.apply(POLICY)
    with reeved(host) as daemon:
        same(daemon.end(signal.SIGKILL), -signal.SIGKILL)
    expect({"allowed": ("open", tcp, peer, host.address[4], ALLOWED),
            "dropped": ("timeout", tcp, peer, host.address[4], DROPPED)})
    late_make(world)
    detach(host, arrive_pin(host))
    same((coverage_of(host, "late0"), coverage_of(host, "eth0")), ("missing", "detached"))
    same(udp(world.late, "10.99.0.1", ALLOWED), "timeout")
    with reeved(host):
        eventually(lambda: covered(host, "late0") and covered(host, "eth0"), "it catches up", 10)
        expect({"allowed": ("open", udp, world.late, "10.99.0.1", ALLOWED),
                "dropped": ("timeout", udp, world.late, "10.99.0.1", DROPPED)})
    host.ip("link del late0")


@test("reeved waits where nothing is applied, follows apply and down, and starts neither itself")
def _(world):
    host = world.host
    host.reeve("down")
    with reeved(host) as daemon:
        eventually(lambda: "waiting" in daemon.said(), "it waits")
        host.apply(POLICY)
        eventually(lambda: "generation 1, covers 1 interface" in daemon.said(), "it follows", 10)
        host.apply(POLICY + "# again\n")
        eventually(lambda: "generation 2" in daemon.said(), "it follows again", 10)
        host.reeve("down")
        eventually(lambda: daemon.said().count("waiting") == 2, "it sees down", 10)
        same(host.reeve_json("status"), {"running": False})
        host.ip("link add late0 type veth peer name late1")
        time.sleep(0.3)
        same(host.reeve_json("status"), {"running": False})
        host.ip("link del late0")
        holds("taken away" not in daemon.said() and "removed" not in daemon.said(), daemon.said())
    done = host.try_reeve("sync")
    same(done.returncode, 1)
    holds("nothing is applied" in done.stderr, done.stderr)


@test("two namespaces with a reeved each do not touch each other")
def _(world):
    host, peer = world.host, world.peer
    host.apply(POLICY)
    peer.apply("zone lan = eth0\npolicy any -> self default allow\n")
    with reeved(host) as one, reeved(peer) as two:
        host.ip("link add late0 type veth peer name late1")
        peer.ip("link add mine0 type veth peer name mine1")
        eventually(lambda: covered(host, "late0") and covered(peer, "mine0"), "both follow", 10)
        same((coverage_of(host, "mine0"), coverage_of(peer, "late0")), (None, None))
        holds("mine" not in one.said() and "late" not in two.said(), one.said() + two.said())
        peer.reeve("down")
        eventually(lambda: "waiting" in two.said(), "the other sees its own down", 10)
        time.sleep(1.2)  # more than a look of each
        holds("waiting" not in one.said(), one.said())
        same(covered(host, "eth0"), True)
        host.ip("link del late0")
        peer.ip("link del mine0")
    expect({"allowed": ("open", tcp, peer, host.address[4], ALLOWED),
            "dropped": ("timeout", tcp, peer, host.address[4], DROPPED)})


@test("reeved keeps only the capabilities it needs; without them it says which")
def _(world):
    host = world.host
    needed = sum(1 << number for number in (12, 19, 21, 38, 39))
    with reeved(host) as daemon:
        with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:
            found = dict(line.split(":\t", 1) for line in file if line.startswith(("Cap", "NoNew")))
        same({name: int(found[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")},
             {"CapEff": needed, "CapPrm": needed, "CapBnd": needed, "CapInh": 0})
        same(found["NoNewPrivs"].strip(), "1")
    if not shutil.which("setpriv"):
        raise Skip("setpriv is not installed")
    os.chmod(world.folder, 0o755)
    reach = os.path.join(world.folder, "reeved")
    shutil.copy(REEVED, reach)
    done = host.try_run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                        "--inh-caps=-all", reach)
    same(done.returncode, 1)
    holds("CAP_" in done.stderr, done.stderr)


main(lambda: make_world("repair"))
