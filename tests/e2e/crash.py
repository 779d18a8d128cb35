#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 amid apply, down, sync, flows kill, confirm and reeved, under traffic.

Commands are killed just before calls that change something, as many as there is time for (all of
them with CRASH_ALL=1), before some of the others, and at any time.

What runs afterwards is judged by packets alone, see stages.py: each way must meet the same policy,
the old one or the new one, or none where none was. Only then is reeve asked: what status says must
be what packets meet, the next command must work, whatever it is, and nothing may be left over.

The kills are spread over several firewalls that change at the same time, each with its own links,
so what one removes (a folder, the mount) is what another is just about to use.
"""

import collections
import contextlib
import os
import random
import signal
import subprocess
import time
from shutil import which

from e2e import REEVE, Skip, holds, main, run, same, test, together, try_run
from killing import Point, kill_alone, kill_before, points, thin
from stages import LATE, LATE_MACS, LATE_PEER, MOUNT, NEW, TABLE, Stages, policy

REEVED = os.path.join(os.path.dirname(REEVE), "reeved")
TRIAL = "60s"


# --- kills ----------------------------------------------------------------------------------------


def kill_some_time(stage, seconds, *command):
    process = stage.firewall.start(*command, stdout=subprocess.DEVNULL)
    time.sleep(seconds)
    process.kill()
    status = process.wait(20)
    stage.world.processes.remove(process)
    stage.firewall.filtered = True
    return status == -signal.SIGKILL


def spread(world, title, todo, cycle):
    """cycle(stage, point) for all of them, on all stages at once; it says whether it has killed."""
    queue = collections.deque(todo)
    begun = time.monotonic()
    done = []

    def work(stage):
        while True:
            try:
                point = queue.popleft()
            except IndexError:
                return
            try:
                done.append(cycle(stage, point))
            except Exception as error:
                queue.clear()
                raise AssertionError(f"{title}, killed {point}: {error}") from error

    try:
        together([(work, stage) for stage in world.stages])
    finally:
        queue.clear()
    for stage in world.stages:
        stage.nobody()
    world.kills[title] = sum(done)
    print(f"# {title}: {world.kills[title]} kills in {time.monotonic() - begun:.1f} s")


@contextlib.contextmanager
def traffic(world, state, connection=True):
    """On every stage; before and after it, this runs."""
    with contextlib.ExitStack() as stack:
        together([(start, stage, state) for stage in world.stages])
        for stage in world.stages:
            stack.enter_context(stage.traffic(connection, forbidden=state != "none"))
        yield
    if state == "none":
        together([(start, stage, state) for stage in world.stages])


def pairs(comes, goes):
    return [(comes[i % len(comes)], goes[i % len(goes)])
            for i in range(max(len(comes), len(goes)))]


def start(stage, state):
    try_run("ip", "-n", stage.firewall.name, "link", "del", "late0")  # left by a test that failed
    if state == "none":
        stage.down()
    else:
        stage.apply(state)


# --- the tests ------------------------------------------------------------------------------------


@test("the first apply: nothing runs, or the new policy on every way", 180)
def _(world):
    first = world.stages[0]
    start(first, "none")
    todo = points(first.firewall, REEVE, "apply", first.paths["new"], most=22, few=4)

    def cycle(stage, point):
        killed = kill_before(stage.firewall, point, REEVE, "apply", stage.paths["new"])
        state = stage.state("none", "new")
        stage.agrees(state)
        if state == "none" and stage.heals % 3 == 0:  # over what is idle there
            killed += kill_before(stage.firewall, point, REEVE, "apply", stage.paths["new"])
            state = stage.state("none", "new")
            stage.agrees(state)
        if stage.heal(state, "down", "sync", "down", "old", "down") != "down":
            stage.down()
        return killed

    with traffic(world, "none"):
        spread(world, "first apply", todo, cycle)


@test("down: the policy runs on every way, or nothing", 180)
def _(world):
    first = world.stages[0]
    start(first, "old")
    todo = points(first.firewall, REEVE, "down", most=18, few=4)

    def cycle(stage, point):
        if stage.state("none", "old") == "none":
            stage.apply("old")
        killed = kill_before(stage.firewall, point, REEVE, "down")
        state = stage.state("none", "old")
        stage.agrees(state)
        if stage.heal(state, "down", "old", "sync") == "sync":
            stage.heal(state, "down", "old")
        return killed

    with traffic(world, "none"):
        spread(world, "down", todo, cycle)


@test("apply in place of another policy: the old one or the new one on every way", 180)
def _(world):
    first = world.stages[0]
    start(first, "old")
    todo = points(first.firewall, REEVE, "apply", first.paths["new"], most=80, few=10)
    todo += [random.uniform(0, 0.03) for _ in range(80)]

    def cycle(stage, point):
        command = REEVE, "apply", stage.paths["new"]
        if isinstance(point, Point):
            killed = kill_before(stage.firewall, point, *command)
        else:
            killed = kill_some_time(stage, point, *command)
        state = stage.state("old", "new")
        stage.agrees(state)
        if stage.heal(state, "old", "sync", "old") == "sync":
            stage.apply("old")
        return killed

    with traffic(world, "old"):
        spread(world, "apply", todo, cycle)


@test("apply with flow tables of another size: the old policy or the new one, no flow lost", 180)
def _(world):
    first = world.stages[0]
    start(first, "old")
    for stage in world.stages:
        stage.paths["sizes"] = stage.firewall.policy(
            policy(NEW, "options { flows 4096; embryonic-flows 2048 }"), "new.reeve")
    todo = points(first.firewall, REEVE, "apply", first.paths["sizes"], most=4, few=0)

    def cycle(stage, point):
        killed = kill_before(stage.firewall, point, REEVE, "apply", stage.paths["sizes"])
        state = stage.state("old", "new")
        stage.agrees(state)
        if stage.heal(state, "old", "sync") == "sync":
            stage.apply("old")
        return killed

    with traffic(world, "old"):
        spread(world, "apply with other sizes", todo, cycle)
    for stage in world.stages:
        stage.firewall.policy(policy(NEW), "new.reeve")


@test("apply over removed pins: one of both policies, or nothing passes; never all", 180)
def _(world):
    first = world.stages[0]
    start(first, "old")
    os.unlink(f"{MOUNT}/{first.cookie}/control")
    todo = points(first.firewall, REEVE, "apply", first.paths["new"], few=0)
    pinned = max(i for i, point in enumerate(todo) if "/new_control" in point.text)
    # Anywhere, and where all is pinned and does not run yet; then another one, as it attaches.
    firsts = thin(todo[:pinned], 2) + todo[pinned + 2:pinned + 8:2] + thin(todo[pinned:], 1)
    links = [point for point in todo if "LINK_CREATE" in point.text]
    seconds = thin(links or todo[pinned:], 6)
    allowed = {"old", "new", "held"}  # without the pin of `full_ways` nothing new passes

    def cycle(stage, points):
        stage.apply("old")
        os.unlink(f"{MOUNT}/{stage.cookie}/control")
        killed = 0
        for point in points:
            killed += kill_before(stage.firewall, point, REEVE, "apply", stage.paths["new"])
            found = stage.round()
            holds(set(found.values()) <= allowed, f"killed {point}, some open: {found}")
        stage.apply("old")
        return killed

    with traffic(world, "old", connection=False):  # flows are lost with the pins
        spread(world, "apply over removed pins", pairs(firsts, seconds), cycle)


def late_come(stage):
    firewall, client = stage.firewall, stage.world.client
    run("ip", "link", "add", "late0", "address", LATE_MACS[0], "netns", firewall.name, "type",
        "veth", "peer", "name", "late1", "address", LATE_MACS[1], "netns", client.name)
    firewall.ip(f"addr add {LATE}/24 dev late0", "link set late0 up")
    client.ip(f"addr add {LATE_PEER}/24 dev late1", "link set late1 up",
              f"neigh replace {LATE} lladdr {LATE_MACS[0]} dev late1 nud permanent")


def late_go(stage):
    stage.firewall.ip("link del late0")


@test("sync, while interfaces come and go: the policy stays, nothing passes that it forbids", 180)
def _(world):
    first = world.stages[0]
    start(first, "old")
    late_come(first)
    comes = points(first.firewall, REEVE, "sync", most=24, few=4)
    late_go(first)
    goes = points(first.firewall, REEVE, "sync", most=24, few=4)

    def cycle(stage, point):
        late_come(stage)
        killed = kill_before(stage.firewall, point[0], REEVE, "sync")
        stage.late_state("held", "old")
        stage.firewall.reeve("sync")
        stage.late_state("old")
        stage.agrees("old")
        late_go(stage)
        killed += kill_before(stage.firewall, point[1], REEVE, "sync")
        stage.state("old")
        stage.heal("old", "sync", "old")
        return killed

    with traffic(world, "old"):
        spread(world, "sync", pairs(comes, goes), cycle)


def udp_flows(stage):
    """{the ends of a flow: what must not change by itself}"""
    return {(str(flow["originator"]), str(flow["responder"])): (flow["rule"], flow["original"])
            for flow in stage.firewall.flows("udp")}


@test("flows kill: some flows are gone, the others are as they were", 120)
def _(world):
    first = world.stages[0]
    partly = []

    def ready(stage):
        stage.firewall.reeve("flows", "kill", "udp")
        stage.state("old")
        return udp_flows(stage)

    def cycle(stage, point):
        before = ready(stage)
        killed = kill_before(stage.firewall, point, REEVE, "flows", "kill", "udp")
        after = udp_flows(stage)
        same({key: value for key, value in after.items() if before.get(key) != value}, {})
        partly.append(0 < len(after) < len(before))
        stage.firewall.reeve("flows", "kill", "udp")
        same(udp_flows(stage), {})
        stage.whole("old")
        return killed

    start(first, "old")
    holds(len(ready(first)) > 10, "too few flows")
    todo = points(first.firewall, REEVE, "flows", "kill", "udp", most=18, few=2)
    with traffic(world, "old"):
        spread(world, "flows kill", todo, cycle)
    holds(any(partly), "it was never killed amid its work")


@test("commands that only look leave nothing behind, and change nothing", 60)
def _(world):
    first = world.stages[0]
    start(first, "old")
    looks = ("status",), ("hooks",), ("flows",), ("sync",)
    todo = [(command, Point("bpf", number, " ".join(command))) for command in looks
            for number in (3, 20, 45, 70, 90)]

    def cycle(stage, todo):
        killed = kill_before(stage.firewall, todo[1], REEVE, *todo[0])
        stage.whole("old")
        return killed

    with traffic(world, "old"):
        spread(world, "looking", todo, cycle)


# --- policies on trial ----------------------------------------------------------------------------


def settle(stage, state):
    """The next command after a kill amid a trial; each of those that there are has its turn."""
    waits = stage.waits()
    stage.heals += 1
    way = ("abort", "confirm", "apply", "abort", "confirm", "force")[stage.heals % 6]
    if way == "abort":
        done = stage.firewall.try_reeve("confirm", "--abort")
        same(done.returncode, 0 if waits else 1, done.stdout + done.stderr)
        state = "old" if waits else state
    elif way == "confirm":
        done = stage.firewall.try_reeve("confirm")
        same(done.returncode, 0 if waits else 1, done.stdout + done.stderr)
    elif way == "apply" and waits:
        done = stage.firewall.try_reeve("apply", stage.paths["old"])
        same((done.returncode, "waits for confirmation" in done.stderr), (1, True), done.stderr)
        stage.state(state)
        stage.firewall.reeve("confirm", "--abort")
        state = "old"
    else:
        stage.firewall.reeve("apply", "--force", stage.paths["old"])
        state = "old"
    if not waits and stage.files():  # killed before anything waited
        stage.firewall.reeve("apply", stage.paths["old"])
    holds(not stage.waits(), f"{way}: something waits for confirmation still")
    if TABLE:
        stage.firewall.reeve("sync")
    stage.whole(state)
    if state != "old":
        stage.apply("old")


def told(stage, state):
    """Status knows whether something waits."""
    stage.agrees(state)
    same(stage.firewall.reeve_json("status")["confirm_left_ns"] is not None, stage.waits(),
         "status says that something waits")


@test("apply --confirm: the new policy never runs without its end being noted down", 180)
def _(world):
    first = world.stages[0]
    command = "apply", "--confirm", TRIAL
    start(first, "old")
    todo = points(first.firewall, REEVE, *command, first.paths["new"], most=34, few=4, follow=False)
    first.firewall.reeve("confirm", "--abort")

    def cycle(stage, point):
        killed = kill_alone(stage.firewall, point, REEVE, *command, stage.paths["new"])
        state = stage.state("old", "new")
        holds(state == "old" or stage.waits(), "the new policy runs, and nothing says until when")
        told(stage, state)
        settle(stage, state)
        return killed

    with traffic(world, "old"):
        spread(world, "apply --confirm", todo, cycle)


@test("confirm --abort and confirm: done, or to be said again", 180)
def _(world):
    first = world.stages[0]
    trial = "apply", "--confirm", TRIAL
    start(first, "old")
    todo = []
    for command, most in ((("confirm", "--abort"), 20), (("confirm",), 4)):
        first.firewall.reeve(*trial, first.paths["new"])
        todo += [(command, point) for point in
                 points(first.firewall, REEVE, *command, most=most, few=2, follow=False)]
    start(first, "old")

    def cycle(stage, todo):
        command, point = todo
        stage.firewall.reeve(*trial, stage.paths["new"])
        killed = kill_alone(stage.firewall, point, REEVE, *command)
        state = stage.state("old", "new")
        if not stage.waits():
            same(state, "old" if len(command) > 1 else "new", "nothing waits any more")
        told(stage, state)
        settle(stage, state)
        return killed

    with traffic(world, "old"):
        spread(world, "confirm", todo, cycle)


# --- reeved ---------------------------------------------------------------------------------------


@test("reeved, while an interface comes: the policy stays, and sync ends what it has begun", 120)
def _(world):
    first = world.stages[0]
    start(first, "old")
    late_come(first)
    calls = [point.number for point in points(first.firewall, REEVE, "sync")
             if point.call == "bpf"]
    late_go(first)
    todo = [Point("bpf", number, "") for number in thin(range(1, 2 * max(calls)), 24)]

    def cycle(stage, point):
        killed = kill_before(stage.firewall, point, REEVED, meanwhile=lambda: late_come(stage))
        stage.late_state("held", "old")
        stage.firewall.reeve("sync")
        stage.late_state("old")
        late_go(stage)
        stage.sync("old")
        return killed

    with traffic(world, "old"):
        spread(world, "reeved", todo, cycle)


@test("all that was killed leaves nothing behind; there were at least 300 kills", 60)
def _(world):
    together([(stage.down,) for stage in world.stages])
    if not (os.path.isdir(MOUNT) and any(os.path.isdir(os.path.join(MOUNT, name))
                                         for name in os.listdir(MOUNT))):
        with open("/proc/self/mounts", encoding="utf-8") as file:
            same([line for line in file if f" {MOUNT} " in line], [], "mounts")
    for stage in world.stages:
        same(stage.files(), [], "left over")
        stage.nobody()
        qdiscs = stage.firewall.run("tc", "qdisc", "show")
        holds("clsact" not in qdiscs, f"left over: {qdiscs}")
        tables = stage.firewall.try_run("nft", "list", "ruleset").stdout if which("nft") else ""
        same(tables.strip(), "", "tables of nftables that are left over")
    if not world.kills:
        raise Skip("nothing could be killed")
    print(f"# {sum(world.kills.values())} kills")
    holds(sum(world.kills.values()) >= 300, f"too few kills: {dict(world.kills)}")


if __name__ == "__main__":
    main(Stages)
