#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nobody is locked out: what apply says to an ssh session that the new policy would cut."""

import json
import os
import pty
import select
import signal
import socket
import time

from e2e import REEVE, Echo, eventually, holds, host_world, main, same, tcp, test

SSH = 22
OPEN = f"""zone lan = eth0
policy lan -> self default drop {{ allow {SSH}/tcp }}
"""
SHUT = """zone lan = eth0
policy lan -> self default drop { allow 443/tcp }
"""


def session(world, family=4, port=50000, local=None):
    return f"{world.peer.address[family]} {port} {local or world.host.address[family]} {SSH}"


def apply_in(world, text, connection, *options):
    """`apply` typed in a session: (status, standard error)."""
    environment = dict(os.environ, SSH_CONNECTION=connection)
    done = world.host.try_reeve("apply", *options, world.host.policy(text), env=environment)
    return done.returncode, done.stderr


def running(world):
    return world.host.reeve_json("status")["running"]


@test("a policy that would not let the session be opened again is refused, and nothing is changed")
def _(world):
    for family in (4, 6):
        status, said = apply_in(world, SHUT, session(world, family))
        same(status, 1, said)
        for word in ("ssh session", f"{SSH}/tcp from {world.peer.address[family]}", "default drop",
                     "policy.reeve:2", "--force", "nothing was changed"):
            holds(word in said, f"IPv{family}: no `{word}` in: {said}")
        same(running(world), False)
    same(apply_in(world, SHUT, session(world), "--dry-run")[0], 1, "a dry run says so too")
    same(apply_in(world, OPEN, session(world))[0], 0)
    status, said = apply_in(world, SHUT, session(world))
    same((status, "applied before goes on" in said), (1, True), said)
    same(tcp(world.peer, world.host.address[4], SSH), "open")


@test("--force applies it all the same")
def _(world):
    same(apply_in(world, SHUT, session(world), "--force"), (0, ""))
    same(tcp(world.peer, world.host.address[4], SSH), "timeout")


@test("without a session, or with one of another host, nothing is refused")
def _(world):
    same(apply_in(world, SHUT, "")[0], 0)
    same(apply_in(world, SHUT, session(world, local="192.0.2.77"))[0], 0)


@test("IPv4 in IPv6 addresses, as sshd may say them, are IPv4")
def _(world):
    mapped = (f"::ffff:{world.peer.address[4]} 50000 ::ffff:{world.host.address[4]} {SSH}")
    same(apply_in(world, SHUT, mapped)[0], 1)
    same(apply_in(world, OPEN, mapped)[0], 0)


@test("a link-local session is in the zone of the interface that it names")
def _(world):
    world.link(world.host, "eth1", world.peer, "eth1")
    try:
        here, there = (eventually(lambda at=at: at.link_local("eth1"), "an address")
                       for at in (world.host, world.peer))
        text = OPEN + "zone dmz = eth1\npolicy dmz -> self default drop { allow 443/tcp }\n"
        status, said = apply_in(world, text, f"{there}%eth1 50000 {here}%eth1 {SSH}")
        same((status, f"`dmz -> self {SSH}/tcp" in said), (1, True), said)
        same(apply_in(world, text.replace("443", str(SSH)),
                      f"{there}%eth1 50000 {here}%eth1 {SSH}"), (0, ""))
    finally:
        world.host.reeve("down")
        world.host.ip("link del eth1")


@test("what is no connection is said, and no reason to refuse")
def _(world):
    for text in ("nonsense", "10.0.0.1 22 10.0.0.2", "10.0.0.1 0 10.0.0.2 22", "::1 1 10.0.0.1 22",
                 "10.0.0.1 1 10.0.0.2 99999", "x" * 5000):
        status, said = apply_in(world, SHUT, text)
        same((status, "SSH_CONNECTION" in said), (0, True), said)


@test("sudo leaves the variable out: it is found in an ancestor")
def _(world):
    path = world.host.policy(SHUT)
    done = world.host.try_run("sh", "-c", f"env -u SSH_CONNECTION {REEVE} apply {path}; exit $?",
                              env=dict(os.environ, SSH_CONNECTION=session(world)))
    same((done.returncode, "ssh session" in done.stderr), (1, True), done.stderr)


@test("a session that may not go on, though it could be opened again, is seen too")
def _(world):
    world.host.apply(OPEN)
    # A flow's record does not hold its first packet's length: the drop counts as matching.
    text = OPEN.replace("drop {", f"drop {{ drop {SSH}/tcp length 1000-2000;")
    status, said = apply_in(world, text, session(world))
    same((status, "cut your ssh session" in said), (1, True), said)
    # The flow is spared by kill, but its next packet would be judged.
    status, said = apply_in(world, text, session(world), "--flows", "kill")
    same((status, "cut your ssh session" in said), (1, True), said)
    same(apply_in(world, text, session(world), "--flows", "keep")[0], 0)


@test("--flows kill spares the session, and ends the others")
def _(world):
    text = OPEN + "options { tcp-pickup off }\n"
    world.host.apply(text)
    mine, other = (world.peer.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(2))
    for sock in (mine, other):
        sock.connect((world.host.address[4], SSH))
        sock.send(b"before")
        same(sock.recv(100), b"before")
    status, said = apply_in(world, text, session(world, port=mine.getsockname()[1]), "--flows",
                            "kill")
    same(status, 0, said)
    mine.send(b"after")
    same(mine.recv(100), b"after")
    other.send(b"after")
    before = world.host.statistics()["sanity"]
    eventually(lambda: world.host.statistics()["sanity"] >= before, "it is dropped")
    time.sleep(0.3)
    other.setblocking(False)
    try:
        heard = other.recv(100)
    except BlockingIOError:
        heard = None
    same(heard, None, "the other connection")
    mine.close()
    other.close()


@test("`flows kill` leaves the session alone, whoever has begun it, unless --force")
def _(world):
    def kill(connection, *options):
        done = world.host.try_reeve("flows", "kill", "all", "--json", *options,
                                    env=dict(os.environ, SSH_CONNECTION=connection))
        same(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        return said["flows"], said["session_spared"]

    text = OPEN + "policy self -> lan default allow\n"
    for at, to in ((world.peer, world.host), (world.host, world.peer)):
        world.host.reeve("down")
        world.host.apply(text)
        mine, other = (at.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(2))
        for sock in (mine, other):
            sock.connect((to.address[4], SSH))
            sock.send(b"before")
            same(sock.recv(100), b"before")
        port = mine.getsockname()[1]
        there = (f"{at.address[4]} {port} {to.address[4]} {SSH}" if at is world.peer
                 else f"{to.address[4]} {SSH} {at.address[4]} {port}")
        same(kill(there, "--dry-run"), (1, True))
        same(kill(there), (1, True))
        mine.send(b"after")
        same(mine.recv(100), b"after")
        same(kill(there), (0, True))
        same(kill(there, "--force"), (1, False))
        same(kill(there), (0, False))
        for sock in (mine, other):
            sock.close()
    same(world.host.try_reeve("flows", "--force").returncode, 2)


# --- --confirm -----------------------------------------------------------------------------------

TRIAL = "10s"  # the shortest


def left(world):
    return world.host.reeve_json("status")["confirm_left_ns"]


def waiting(world):
    """Ids of the processes that wait in the host's namespace."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if b"--confirm" in words and os.path.samefile(f"/proc/{pid}/ns/net", world.host.path):
                found.append(int(pid))
        except OSError:
            pass
    return found


@test("--confirm: without `reeve confirm` the former policy is back, though the terminal is gone", 60)
def _(world):
    world.host.apply(OPEN)
    # In a session of its own that is hung up at once.
    path = world.host.policy(SHUT, "shut.reeve")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("nsenter", ["nsenter", f"--net={world.host.path}", REEVE, "apply", "--confirm",
                              TRIAL, path])
    said = b""
    while b"unless you say" not in said:
        said += os.read(terminal, 4096)
    os.close(terminal)
    os.waitpid(pid, 0)
    same(tcp(world.peer, world.host.address[4], SSH), "timeout")
    holds(0 < left(world) <= 10e9, "time left")
    status, said = apply_in(world, OPEN, "")
    same((status, "reeve confirm" in said), (1, True), said)
    eventually(lambda: left(world) is None, "the former policy is back", 30)
    same(tcp(world.peer, world.host.address[4], SSH), "open")
    eventually(lambda: not waiting(world), "the process that waited ends")


@test("`reeve confirm` keeps the policy; there is nothing to confirm twice")
def _(world):
    world.host.apply(SHUT)
    world.host.reeve("apply", "--confirm", TRIAL, world.host.policy(OPEN))
    same(world.host.reeve_json("confirm"), {"ok": True, "result": "confirmed"})
    same(left(world), None)
    eventually(lambda: not waiting(world), "the process that waited ends")
    same(tcp(world.peer, world.host.address[4], SSH), "open")
    same(world.host.try_reeve("confirm").returncode, 1)


@test("`reeve confirm --abort` goes back at once; before the first policy was none")
def _(world):
    world.host.reeve("down")
    world.host.reeve("apply", "--confirm", "60s", world.host.policy(SHUT))
    same(tcp(world.peer, world.host.address[4], SSH), "timeout")
    same(world.host.reeve_json("confirm", "--abort"), {"ok": True, "result": "aborted"})
    same(running(world), False)
    same(tcp(world.peer, world.host.address[4], SSH), "open")


@test("the waiting process killed: status says that it is overdue, and --abort still goes back", 60)
def _(world):
    world.host.apply(OPEN)
    world.host.reeve("apply", "--confirm", TRIAL, world.host.policy(SHUT, "shut.reeve"))
    for pid in waiting(world):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: left(world) == 0, "overdue", 30)
    holds("OVERDUE" in world.host.reeve("status"), "status says so")
    world.host.reeve("confirm", "--abort")
    same(tcp(world.peer, world.host.address[4], SSH), "open")
    same(left(world), None)


@test("--force goes on while one waits, and the oldest policy is what is gone back to")
def _(world):
    world.host.apply(OPEN)
    for text in (SHUT, SHUT.replace("443", "444")):
        world.host.reeve("apply", "--force", "--confirm", "60s", world.host.policy(text, "x.reeve"))
    world.host.reeve("confirm", "--abort")
    same(tcp(world.peer, world.host.address[4], SSH), "open")
    world.host.reeve("apply", "--confirm", "60s", world.host.policy(SHUT, "shut.reeve"))
    world.host.reeve("apply", "--force", world.host.policy(OPEN))
    same(left(world), None, "forced without --confirm")


@test("an apply that is refused leaves nothing waiting; down forgets what waits")
def _(world):
    world.host.apply(OPEN)
    same(world.host.try_reeve("apply", "--confirm", TRIAL,
                              world.host.policy("nonsense", "bad.reeve")).returncode, 1)
    same(left(world), None)
    world.host.reeve("apply", "--confirm", "1m", world.host.policy(SHUT, "shut.reeve"))
    world.host.reeve("down")
    same(world.host.try_reeve("confirm").returncode, 1)
    eventually(lambda: not waiting(world), "the process that waited ends")
    for words in ("9s", "2h", "x", "-5s", "10d", ""):
        same(world.host.try_reeve("apply", "--confirm", words, "x").returncode, 2, words)


@test("a connection that the trial has cut lives on when the former policy is back")
def _(world):
    world.host.apply(OPEN)
    with world.peer.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((world.host.address[4], SSH))
        sock.send(b"before")
        same(sock.recv(100), b"before")
        world.host.reeve("apply", "--confirm", "60s", world.host.policy(SHUT, "shut.reeve"))
        sock.send(b"after")
        eventually(lambda: world.host.statistics()["flows-cut"] > 0, "it is cut")
        world.host.reeve("confirm", "--abort")
        sock.settimeout(20)  # until TCP tries again
        same(sock.recv(100), b"after")


@test("the time counts from when the policy runs, however long that took", 60)
def _(world):
    def notes():
        return {name for name in os.listdir("/run/reeve")
                if name.startswith("pending-") and not name.endswith(".new")}

    world.host.apply(OPEN)
    before = notes()
    many = "".join(f"    drop 443/tcp from 198.{i // 65536}.{i // 256 % 256}.{i % 256}\n"
                   for i in range(20000))
    path = world.host.policy(SHUT.replace("drop {", "drop {\n" + many), "many.reeve")
    process = world.host.start(REEVE, "apply", "--confirm", TRIAL, path)
    while not notes() - before:
        holds(process.poll() is None, "apply ends before it notes anything down")
    # It is compiling.
    process.send_signal(signal.SIGSTOP)
    time.sleep(11)
    process.send_signal(signal.SIGCONT)
    same(process.wait(30), 0)
    holds(0 < (left(world) or 0) <= 10e9, f"time left: {left(world)}")
    same(tcp(world.peer, world.host.address[4], SSH), "timeout")
    world.host.reeve("confirm", "--abort")
    same(tcp(world.peer, world.host.address[4], SSH), "open")


@test("the process that waits keeps nothing of its caller open")
def _(world):
    world.host.apply(OPEN)
    ours, theirs = os.pipe()
    world.host.reeve("apply", "--confirm", "60s", world.host.policy(SHUT, "shut.reeve"),
                     pass_fds=(theirs,))
    os.close(theirs)
    holds(waiting(world), "somebody waits")
    same(select.select([ours], [], [], 5)[0], [ours], "the end of the pipe is seen")
    same(os.read(ours, 1), b"")
    os.close(ours)
    world.host.reeve("confirm", "--abort")


@test("an apply that fails leaves an earlier trial its time")
def _(world):
    world.host.apply(OPEN)
    world.host.reeve("apply", "--confirm", "60s", world.host.policy(SHUT, "shut.reeve"))
    # Which fails late: its descriptors do not suffice to load anything.
    same(world.host.try_run("prlimit", "--nofile=24:24", REEVE, "apply", "--force", "--confirm", "1h",
                            world.host.policy(OPEN + "options { flows 4096 }\n",
                                              "other-size.reeve")).returncode, 1)
    holds(0 < left(world) <= 60e9, f"time left: {left(world)}")
    world.host.reeve("confirm", "--abort")
    same(tcp(world.peer, world.host.address[4], SSH), "open")


def make_world():
    world = host_world("lockout")
    Echo(world.host, SSH)
    Echo(world.peer, SSH)
    return world


main(make_world)
