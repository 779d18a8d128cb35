#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nobody is locked out: what apply says to an ssh session that the new policy would cut."""

import os
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


def make_world():
    world = host_world("lockout")
    Echo(world.host, SSH)
    return world


main(make_world)
