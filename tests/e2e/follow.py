# SPDX-License-Identifier: GPL-2.0-or-later
"""What daemon.py and repair.py share: reeved in a namespace, what is known of interfaces, a host
with a peer and a namespace `late` that is not connected yet."""

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess

from e2e import REEVE, Echo, Skip, eventually, host_world, run, try_run

REEVED = os.path.join(os.path.dirname(REEVE), "reeved")
ALLOWED, DROPPED = 1001, 1002
ELSEWHERE = 1003  # allowed from interfaces that no zone names: `other`
SO_NETNS_COOKIE = 71
MOUNT = "/run/reeve/bpf"

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
        status = self.process.wait(20)
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


def left_out(what):
    """Is the kernel treated as if it lacked this?"""
    return what in os.environ.get("REEVE_WITHOUT", "").split(",")


def hook_of(host, pin):
    """(interface, ingress or egress) of a pin arrive_<ifindex> or depart_<ifindex>."""
    word, index = pin.split("_")
    with host:
        return socket.if_indextoname(int(index)), {"arrive": "ingress", "depart": "egress"}[word]


def detach(host, *names):
    """Takes programs off their hooks as a person would."""
    if not shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        raise Skip("bpftool is not installed")
    for name in names:
        if left_out("netfilter-links") and name.startswith("guard_"):
            host.run("nft", "flush", "ruleset")
        elif left_out("tcx") and not name.startswith("guard_"):
            interface, hook = hook_of(host, name)
            host.run("tc", "filter", "del", "dev", interface, hook, "pref", "1")
        else:
            run("bpftool", "link", "detach", "pinned", pin_of(host, name))


def program_of(host, name):
    """The name of the program that runs where the pin says, or None."""
    if left_out("tcx"):
        interface, hook = hook_of(host, name)
        done = host.try_run("tc", "-j", "filter", "show", "dev", interface, hook, "pref", "1")
        ours = [row["options"]["prog"]["id"] for row in json.loads(done.stdout or "[]")
                if row.get("options", {}).get("handle") == "0x72656576"]
        number = ours[0] if ours else None
    else:
        done = try_run("bpftool", "-j", "link", "show", "pinned", pin_of(host, name))
        number = json.loads(done.stdout)["prog_id"] if done.returncode == 0 else None
    return json.loads(run("bpftool", "-j", "prog", "show", "id", str(number)))["name"] if number else None


def in_place(host, name):
    return bool(program_of(host, name)) if left_out("tcx") else os.path.exists(pin_of(host, name))


def guard_drops(host):
    found = host.statistics()
    return sum(found[f"guard-{hook}"] for hook in ("local-in", "forward", "post-routing"))


def arrive_pin(host):
    return f"arrive_{host.index('eth0')}"


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


def make_world(name):
    world = host_world(name)
    world.late = world.namespace("late")
    world.host.forward()
    world.peer.ip("route add 10.99.0.0/24 via 10.77.1.1", "route add 10.88.0.0/24 via 10.77.1.1")
    world.echo = Echo(world.host, ALLOWED, DROPPED, ELSEWHERE)
    world.peer_echo = Echo(world.peer, ALLOWED, DROPPED, ELSEWHERE)
    return world
