#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces that come, change and go, and programs that somebody takes away: `reeve sync` and
reeved follow, and at no moment does a forbidden packet pass.

A stream of forbidden and allowed packets is sent over the interface all the while. The forbidden
ones must never be heard; that the stream is alive is seen by the allowed ones, which are heard as
soon as the interface is covered, and by what the guard has counted before."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

from e2e import (REEVE, Echo, Skip, eventually, expect, holds, host_world, main, run, same, tcp,
                 test, try_run, udp)

REEVED = os.path.join(os.path.dirname(REEVE), "reeved")
ALLOWED, DROPPED = 1001, 1002
ELSEWHERE = 1003  # allowed from interfaces that no zone names: `other`
SO_NETNS_COOKIE = 71
MOUNT = "/run/reeve/bpf"
BOUND_MS = 100

POLICY = f"""
zone lan = eth0
zone late = "late*"
zone tunnel = "vxlan*"
zone vpn = "tun*"
zone open = br0
zone closed = br1
policy lan -> self default drop {{
    allow {ALLOWED}
    allow 4789/udp
}}
policy {{ late, tunnel, vpn, open }} -> self default drop {{ allow {ALLOWED} }}
policy {{ late, vpn }} -> lan default drop {{ allow {ALLOWED} }}
policy other -> {{ self, lan }} default drop {{ allow {ELSEWHERE} }}
policy self -> any default allow
"""


# --- reeved ---------------------------------------------------------------------------------------


class Reeved:
    """reeved in a namespace; what it has said so far is said()."""

    made = 0

    def __init__(self, at):
        Reeved.made += 1
        self.path = os.path.join(at.world.folder, f"reeved-{Reeved.made}.log")
        self.world = at.world
        with open(self.path, "wb") as log:
            self.process = at.start(REEVED, stdout=subprocess.DEVNULL, stderr=log)
        eventually(self.said, "reeved says something")

    def said(self):
        with open(self.path, encoding="utf-8") as file:
            return file.read()

    def end(self, number=signal.SIGTERM):
        """The exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(5)
        self.world.processes.remove(self.process)
        return status

    def signal(self, number):
        self.process.send_signal(number)


@contextlib.contextmanager
def reeved(at):
    made = Reeved(at)
    try:
        yield made
    except AssertionError as error:
        raise AssertionError(f"{error}\nreeved said:\n{made.said()}") from error
    finally:
        if made.process in made.world.processes:
            made.end()


class Sync:
    """The other way to follow: `reeve sync`, when somebody runs it."""

    def __init__(self, at):
        self.at = at

    def go(self):
        self.at.reeve("sync")


class Held(Sync):
    """reeved, stopped until go(): so the time before it has looked is as long as the test wants."""

    def __init__(self, daemon):
        self.daemon = daemon
        daemon.signal(signal.SIGSTOP)

    def go(self):
        self.daemon.signal(signal.SIGCONT)


@contextlib.contextmanager
def follower(world, kind):
    if kind == "sync":
        yield Sync(world.host)
        return
    with reeved(world.host) as daemon:
        try:
            yield Held(daemon)
        finally:
            daemon.signal(signal.SIGCONT)


FOLLOWERS = ("reeved", "sync")


# --- what is known --------------------------------------------------------------------------------


def coverage_of(host, interface):
    for row in host.reeve_json("status")["interfaces"]:
        if row["name"] == interface:
            return row["coverage"]
    return None


def covered(host, interface):
    return coverage_of(host, interface) == "covered"


def pin_of(host, name):
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        cookie = struct.unpack("Q", sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0]
    return f"{MOUNT}/{cookie:x}/{name}"


def detach(host, *names):
    """Takes programs off their hooks as a person would."""
    if not shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        raise Skip("bpftool is not installed")
    for name in names:
        run("bpftool", "link", "detach", "pinned", pin_of(host, name))


def guard_drops(host):
    found = host.statistics()
    return sum(found[f"guard-{hook}"] for hook in ("local-in", "forward", "post-routing"))


class Stream:
    """Calls send() again and again, in a thread, until it ends."""

    def __init__(self, send):
        self.send = send
        self.alive = True
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while self.alive:
            with contextlib.suppress(OSError):
                self.send()
            time.sleep(0.002)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.alive = False
        self.thread.join(5)


def datagrams(at, *addresses):
    """A send() of forbidden and allowed datagrams to each address."""
    sock = at.socket(socket.AF_INET, socket.SOCK_DGRAM)
    at.world.closers.append(sock.close)

    def send():
        for address in addresses:
            for port in (DROPPED, ELSEWHERE, ALLOWED):
                with contextlib.suppress(OSError):
                    sock.sendto(b"stream", (address, port))
    return send


def heard(echo, port, source=None):
    """How many datagrams of the stream came to a port."""
    return sum(row[1] == port and row[3] == b"stream" and source in (None, row[2])
               for row in list(echo.heard))


def listen_anew(world):
    for echo in (world.echo, world.peer_echo):
        del echo.heard[:]


def never_heard(world, ports=(DROPPED,)):
    found = {f"{port} at the {echo}": heard(getattr(world, echo), port)
             for port in ports for echo in ("echo", "peer_echo")}
    same(found, dict.fromkeys(found, 0), "forbidden packets that were heard")


def appears(world, make, send, interface, source, forwarded=False):
    """The interface is made and goes up amid the stream; before and after it is covered."""
    host = world.host
    for kind in FOLLOWERS:
        host.apply(POLICY)
        listen_anew(world)
        with follower(world, kind) as follow, Stream(send(world)):
            before = guard_drops(host)
            make(world)
            eventually(lambda: guard_drops(host) > before + 3,
                       f"{kind}: the guard meets the stream")
            same((heard(world.echo, ALLOWED, source), coverage_of(host, interface)), (0, "missing"),
                 f"{kind}: before it is covered")
            follow.go()
            eventually(lambda: heard(world.echo, ALLOWED, source) > 3,
                       f"{kind}: allowed packets pass over {interface}", 10)
            if forwarded:
                eventually(lambda: heard(world.peer_echo, ALLOWED, source) > 3,
                           f"{kind}: allowed packets are forwarded from {interface}", 10)
            # It never was `other`, not for a moment.
            never_heard(world, (DROPPED, ELSEWHERE))
        with contextlib.suppress(RuntimeError):
            run("ip", "-n", host.name, "link", "del", interface)
        eventually(lambda: coverage_of(host, interface) is None, f"{interface} is gone")


# --- interfaces that come -------------------------------------------------------------------------

LATE_MAC = "02:00:00:00:99:01"


def late_make(world, name="late0"):
    """A veth to the namespace `late`, with everything known beforehand that would need asking."""
    try_run("ip", "-n", world.host.name, "link", "del", name)  # left by a test that failed
    run("ip", "link", "add", name, "address", LATE_MAC, "netns", world.host.name, "type", "veth",
        "peer", "name", "eth0", "netns", world.late.name)
    world.late.ip("addr add 10.99.0.2/24 dev eth0", "link set eth0 up",
                  "route add default via 10.99.0.1",
                  f"neigh replace 10.99.0.1 lladdr {LATE_MAC} dev eth0 nud permanent")
    world.host.ip(f"addr add 10.99.0.1/24 dev {name}", f"link set {name} up")


@test("a new interface: forbidden packets are heard neither here nor at another host", 60)
def _(world):
    appears(world, late_make, lambda w: datagrams(w.late, "10.99.0.1", w.peer.address[4]), "late0",
            "10.99.0.2", forwarded=True)


def vxlan_make(world):
    world.host.ip("link add vxlan0 address 02:00:00:00:55:01 type vxlan id 7 local 10.77.1.1 "
                  "remote 10.77.1.10 dstport 4789 dev eth0", "addr add 10.55.0.1/24 dev vxlan0",
                  "link set vxlan0 up")


@test("a new VXLAN: its inner packets do not pass with the outer ones' mark", 60)
def _(world):
    peer = world.peer
    done = try_run("ip", "-n", peer.name, "link", "add", "vxlan0", "type", "vxlan", "id", "7",
                   "local", "10.77.1.10", "remote", "10.77.1.1", "dstport", "4789", "dev", "eth0")
    if done.returncode:
        raise Skip("the kernel has no VXLAN: " + done.stderr.strip())
    peer.ip("addr add 10.55.0.2/24 dev vxlan0", "link set vxlan0 up",
            "neigh replace 10.55.0.1 lladdr 02:00:00:00:55:01 dev vxlan0 nud permanent")
    appears(world, vxlan_make, lambda w: datagrams(w.peer, "10.55.0.1"), "vxlan0", "10.55.0.2")


TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~((total & 0xffff) + (total >> 16)) & 0xffff


def bare_datagram(source, to, port):
    """An IPv4 UDP packet without a link header; UDP's checksum is left out."""
    payload = b"stream"
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0,
                       socket.inet_aton(source), socket.inet_aton(to))
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return head + struct.pack("!HHHH", 4000, port, 8 + len(payload), 0) + payload


@test("a new tun device: what is written into it meets the policy or the guard", 60)
def _(world):
    if not os.path.exists("/dev/net/tun"):
        raise Skip("there is no /dev/net/tun")
    host = world.host
    end = {}

    def make(_):
        with host:
            end["fd"] = fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
        host.ip("addr add 10.88.0.1/24 dev tun0", "link set tun0 up")

    packets = [bare_datagram("10.88.0.2", to, port) for port in (DROPPED, ELSEWHERE, ALLOWED)
               for to in ("10.88.0.1", world.peer.address[4])]

    def send():
        for packet in packets if "fd" in end else ():
            os.write(end["fd"], packet)

    try:
        appears(world, make, lambda _: send, "tun0", "10.88.0.2", forwarded=True)
    finally:
        fd = end.pop("fd", None)
        if fd is not None:
            os.close(fd)


@test(f"reeved has covered a new interface within {BOUND_MS} ms", 60)
def _(world):
    host = world.host
    host.apply(POLICY)

    def measure():
        """From the moment the interface is there."""
        try_run("ip", "-n", host.name, "link", "del", "late0")  # left by a test that failed
        run("ip", "link", "add", "late0", "netns", host.name, "type", "veth", "peer", "name",
            "eth0", "netns", world.late.name)
        start = time.monotonic()
        while not os.path.exists(pin_of(host, f"depart_{host.index('late0')}")):
            holds(time.monotonic() < start + 5, "not covered at all")
            time.sleep(0.001)
        took = (time.monotonic() - start) * 1000
        eventually(lambda: covered(host, "late0"), "it is covered")
        host.ip("link del late0")
        eventually(lambda: "late0: gone" in daemon.said(), "reeved sees it go")
        return took

    with reeved(host) as daemon:
        for _ in range(4):  # others may use the machine
            found = [measure() for _ in range(7)]
            print("# ms: " + " ".join(f"{ms:.0f}" for ms in found))
            if statistics.median(found) < BOUND_MS:
                return
        raise AssertionError(f"the median of seven was never below {BOUND_MS} ms")


@test("a hundred interfaces at once are covered, though the queue of notifications may run over",
      60)
def _(world):
    host = world.host
    host.apply(POLICY)
    before = guard_drops(host)
    with reeved(host) as daemon:
        daemon.signal(signal.SIGSTOP)
        # 100 interfaces, and enough notifications to overrun a socket's queue.
        lines = [f"link add late{i} type veth peer name other{i}" for i in range(50)]
        flaps = [f"link set late{i} alias {'x' * 200}{n}" for n in range(12) for i in range(50)]
        host.ip(*lines, *flaps)
        daemon.signal(signal.SIGCONT)
        rows = eventually(lambda: [row for row in host.reeve_json("status")["interfaces"]
                                   if row["name"].startswith(("late", "other"))
                                   and row["coverage"] == "covered"], "some are covered", 20)
        eventually(lambda: all(row["coverage"] in ("covered", "loopback")
                               for row in host.reeve_json("status")["interfaces"]),
                   "all are covered", 30)
        same({row["zone"] for row in rows} <= {"late", "other"}, True)
        host.ip(*(f"link del late{i}" for i in range(50)))
        eventually(lambda: "late49: gone" in daemon.said(), "they go", 20)
    same(guard_drops(host), before, "guard drops without any packet")


# --- interfaces that change -----------------------------------------------------------------------


@test("an interface that is renamed belongs to the zone of its new name, and nothing slips", 60)
def _(world):
    host = world.host
    late_make(world)
    for kind in FOLLOWERS:
        host.apply(POLICY)
        listen_anew(world)
        with follower(world, kind) as follow, Stream(datagrams(world.late, "10.99.0.1",
                                                               world.peer.address[4])):
            eventually(lambda: heard(world.echo, ALLOWED) > 3, "allowed as late0")
            host.ip("link set late0 name spare0")
            same(coverage_of(host, "spare0"), "moved")
            follow.go()
            eventually(lambda: covered(host, "spare0"), f"{kind}: moved to its zone", 10)
            status = host.reeve_json("status")
            same([row["zone"] for row in status["interfaces"] if row["name"] == "spare0"],
                 ["other"])
            same(status["generation"], host.reeve_json("status")["generation"])
            eventually(lambda: quiet(world.echo, ALLOWED), f"{kind}: closed to what was `late`")
            eventually(lambda: heard(world.echo, ELSEWHERE) > 3, f"{kind}: it is `other`")
            listen_anew(world)
            host.ip("link set spare0 name late0")
            follow.go()
            eventually(lambda: heard(world.echo, ALLOWED) > 3, f"{kind}: allowed again", 10)
            never_heard(world)
    host.ip("link del late0")


def quiet(echo, port):
    """Nothing comes any more."""
    before = heard(echo, port)
    time.sleep(0.2)
    return heard(echo, port) == before


@test("an interface that goes down and up keeps its policy all the while", 60)
def _(world):
    host = world.host
    host.apply(POLICY)
    listen_anew(world)
    with reeved(host), Stream(datagrams(world.peer, host.address[4])):
        for _ in range(5):
            listen_anew(world)
            host.ip("link set eth0 down", "link set eth0 up")
            eventually(lambda: heard(world.echo, ALLOWED) > 3, "allowed packets pass again", 10)
            never_heard(world)
        same(coverage_of(host, "eth0"), "covered")
    host.ip("addr replace 2001:db8:77:1::1/64 dev eth0 nodad")


TUNSETLINK, IFF_TAP, ARPHRD_NONE, ARPHRD_ETHER = 0x400454cd, 2, 0xfffe, 1


@test("an interface whose frames change their kind gets the programs for the new kind")
def _(world):
    if not os.path.exists("/dev/net/tun"):
        raise Skip("there is no /dev/net/tun")
    host = world.host
    host.apply(POLICY)
    with host:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TAP | IFF_NO_PI))

    def program():
        """The name of the program on arrival."""
        done = try_run("bpftool", "-j", "link", "show", "pinned",
                       pin_of(host, f"arrive_{host.index('tun0')}"))
        if done.returncode:
            return None
        number = json.loads(done.stdout)["prog_id"]
        return json.loads(run("bpftool", "-j", "prog", "show", "id", str(number)))["name"]

    try:
        with reeved(host):
            for kind, name in ((ARPHRD_ETHER, "arrive_ethernet"), (ARPHRD_NONE, "arrive_raw"),
                               (ARPHRD_ETHER, "arrive_ethernet")):
                fcntl.ioctl(fd, TUNSETLINK, kind)
                eventually(lambda: program() == name, f"{name} for the type {kind}", 10)
    finally:
        os.close(fd)


MACS = {"br0": "02:00:00:00:66:00", "br1": "02:00:00:00:66:10", "port1": "02:00:00:00:66:01"}


@test("a port that is moved between bridges meets the policy of the bridge it is in", 90)
def _(world):
    host = world.host
    run("ip", "link", "add", "port1", "address", MACS["port1"], "netns", host.name, "type", "veth",
        "peer", "name", "eth0", "netns", world.late.name)
    for number in (0, 1):
        host.ip(f"link add br{number} address {MACS[f'br{number}']} type bridge forward_delay 0",
                f"addr add 10.66.{number}.1/24 dev br{number}", f"link set br{number} up")
    world.late.ip("addr add 10.66.0.2/24 dev eth0", "link set eth0 up")
    host.ip("link set port1 master br0", "link set port1 up")
    sock = world.late.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    world.closers.append(sock.close)
    sock.bind(("eth0", 0))
    source = bytes.fromhex(world.late.mac("eth0").replace(":", ""))

    def send():
        """To whatever the port may be part of, each with a source that tells it."""
        for number, (name, mac) in enumerate(MACS.items()):
            for port in (DROPPED, ALLOWED):
                sock.send(bytes.fromhex(mac.replace(":", "")) + source + b"\x08\x00"
                          + bare_datagram(f"10.66.0.{100 + number}", "10.66.0.1", port))

    def closed_now(kind, what):
        eventually(lambda: quiet(world.echo, ALLOWED), f"{kind}: {what} is closed")
        listen_anew(world)
        time.sleep(0.2)
        same(heard(world.echo, ALLOWED), 0, f"{kind}: heard through {what}")

    for kind in FOLLOWERS:
        host.apply(POLICY)
        listen_anew(world)
        with follower(world, kind) as follow, Stream(send):
            eventually(lambda: heard(world.echo, ALLOWED, "10.66.0.100") > 3, "br0 is open", 10)
            for master, what in (("master br1", "br1"), ("nomaster", "port1")):
                # Closed from the moment the port has moved, followed or not.
                host.ip(f"link set port1 {master}", "link set port1 up")
                closed_now(kind, what + ", not followed yet,")
                follow.go()
                if what == "port1":
                    eventually(lambda: covered(host, "port1"), f"{kind}: it is covered", 10)
                closed_now(kind, what)
                if kind == "reeved":
                    follow.daemon.signal(signal.SIGSTOP)
            host.ip("link set port1 master br0")
            follow.go()
            eventually(lambda: heard(world.echo, ALLOWED, "10.66.0.100") > 3, "open again", 10)
            eventually(lambda: coverage_of(host, "port1") == "port", f"{kind}: a port again", 10)
            never_heard(world)
    host.ip("link del port1", "link del br0", "link del br1")


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


def arrive_pin(host):
    return f"arrive_{host.index('eth0')}"


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
            same(host.reeve_json("status")["guard"], {"wanted": True, "alive": False})
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
        holds("guard was taken away" in daemon.said(), "it has not said so")
        gone = (arrive_pin(host), "flows", "arrive_raw", "full_ways")
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
        holds("the pin `control` was removed" in daemon.said(), "it has not said so")
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
    squatter = host.start("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable,
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


def make_world():
    world = host_world("daemon")
    world.late = world.namespace("late")
    world.host.forward()
    world.peer.ip("route add 10.99.0.0/24 via 10.77.1.1", "route add 10.88.0.0/24 via 10.77.1.1")
    world.echo = Echo(world.host, ALLOWED, DROPPED, ELSEWHERE)
    world.peer_echo = Echo(world.peer, ALLOWED, DROPPED, ELSEWHERE)
    return world


main(make_world)
