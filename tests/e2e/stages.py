# SPDX-License-Identifier: GPL-2.0-or-later
"""Firewalls that are judged by packets: which policy, the old, the new or none, do they follow?

Over five ways through each, in both families, packets are sent to four ports: of the old policy,
of the new one, of both and of neither. What arrives tells; reeve is not asked.
"""

import collections
import contextlib
import os
import socket
import struct
import threading
import time

from e2e import Echo, eventually, holds, router_world, run, same
from traffic import Conversation

STAGES = 3
HOME, MOUNT = "/run/reeve", "/run/reeve/bpf"
SO_NETNS_COOKIE = 71
# A guard of nftables comes after the policy and goes before it; status says when it is not there.
TABLE = "netfilter-links" in os.environ.get("REEVE_WITHOUT", "")
LATE, LATE_PEER = "10.99.0.1", "10.99.0.2"
LATE_MACS = "02:00:00:00:99:01", "02:00:00:00:99:02"

# Who passes under which policy.
OLD, NEW, BOTH, NEITHER = 2001, 2002, 2003, 2004
PORTS = (OLD, NEW, NEITHER, BOTH)  # BOTH last: when it has come, the others have, or never will
WORDS = {frozenset((OLD, BOTH)): "old", frozenset((NEW, BOTH)): "new", frozenset(PORTS): "none",
         frozenset(): "held"}

PROBE = struct.Struct("!HHHHII")  # a UDP header, the round and the way
BACKGROUND = 0  # its round: packets that are sent all the time, and forbidden


def policy(port, extra=""):
    return f"""zone wan = wan0
zone lan = lan0
zone late = "late*"
policy {{ lan, wan, late }} -> self default drop {{ allow {{ {port}, {BOTH} }} }}
policy lan -> wan default drop {{ allow {{ {port}, {BOTH} }} }}
policy self -> any default drop {{ allow {{ {port}, {BOTH} }} }}
{extra}
"""


# --- packets --------------------------------------------------------------------------------------


class Sender:
    """UDP of any source port, so that no probe is part of a flow."""

    def __init__(self, at, address):
        six = ":" in address
        self.to = (address, 0)
        self.sock = at.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW,
                              socket.IPPROTO_UDP)
        if six:
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 6)

    def send(self, source, port, number, way):
        with contextlib.suppress(OSError):  # what departure or the guard drops is told here
            self.sock.sendto(PROBE.pack(source, port, PROBE.size, 0, number, way), self.to)


class Receiver:
    """The four ports of a namespace, both families."""

    def __init__(self, at):
        self.socks = {}
        for port in PORTS:
            sock = at.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", port))
            sock.setblocking(False)
            self.socks[port] = sock
            at.world.closers.append(sock.close)

    def read(self):
        """(port, round, way) of all that has come."""
        for port, sock in self.socks.items():
            while True:
                try:
                    yield (port, *struct.unpack("!II", sock.recv(100)))
                except BlockingIOError:
                    break


class Forbidden(threading.Thread):
    """Packets that neither policy lets pass, all the time, over every way."""

    def __init__(self, senders):
        super().__init__(daemon=True)
        self.senders = senders
        self.going = True

    def run(self):
        source = 40000
        while self.going:
            for way, sender in enumerate(self.senders):
                sender.send(source, NEITHER, BACKGROUND, way)
            source = source + 1 if source < 60000 else 40000
            time.sleep(0.005)

    def stop(self):
        self.going = False
        self.join()


class Stage:
    """A firewall with its neighbours, and the packets that tell which policy it follows."""

    def __init__(self, number):
        self.number = number
        self.world = world = router_world(f"crash{number}")
        self.firewall = firewall = world.firewall
        client, server = world.client, world.server
        neighbours_known(world)
        ways = [("lan -> self", client, firewall.lan, firewall),
                ("wan -> self", server, firewall.wan, firewall),
                ("lan -> wan", client, server.address, server),
                ("self -> wan", firewall, server.address, server),
                ("self -> lan", firewall, client.address, client)]
        self.ways = [f"{name} IPv{family}" for name, *_ in ways for family in (4, 6)]
        self.senders = [Sender(at, to[family]) for _, at, to, _ in ways for family in (4, 6)]
        self.receivers = [Receiver(at) for at in (client, firewall, server)]
        for sender in self.senders:
            world.closers.append(sender.sock.close)
        self.rounds = BACKGROUND
        self.leaked = collections.Counter()
        self.late = Sender(client, LATE)
        world.closers.append(self.late.sock.close)
        Echo(firewall, BOTH, udp=False)
        self.paths = {"old": firewall.policy(policy(OLD), "old.reeve"),
                      "new": firewall.policy(policy(NEW), "new.reeve")}
        with firewall.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            cookie = struct.unpack("Q", sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0]
        self.cookie = f"{cookie:x}"
        self.pins = None  # names of them, when a policy runs and nothing else is there
        self.heals = 0

    # --- what packets say ---

    def round(self, extra=()):
        """Probes over every way; {way: frozenset of ports that came through}."""
        self.rounds += 1
        senders = [*extra, *self.senders]
        came = collections.defaultdict(set)
        mine = os.sched_getaffinity(0)
        # One CPU: what is sent first is there first.
        os.sched_setaffinity(0, {sorted(mine)[self.number % len(mine)]})
        try:
            for way, sender in enumerate(senders):
                for port in PORTS:
                    sender.send(20000 + self.rounds % 20000, port, self.rounds, way)
        finally:
            os.sched_setaffinity(0, mine)
        deadline = time.monotonic() + 3
        while True:
            for receiver in self.receivers:
                for port, number, way in receiver.read():
                    if number == self.rounds:
                        came[way].add(port)
                    elif number == BACKGROUND:
                        self.leaked[self.ways[way]] += 1
            if all(BOTH in came[way] for way in range(len(extra), len(senders))):
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.001)
        names = [f"late {n}" for n in range(len(extra))] + self.ways
        return {name: WORDS.get(frozenset(came[way]), f"only {sorted(came[way])}")
                for way, name in enumerate(names)}

    def state(self, *allowed):
        """The one policy that packets meet on every way; it is among these."""
        found = self.round()
        words = set(found.values())
        holds(len(words) == 1, f"a mix: {found}")
        word = words.pop()
        holds(word in allowed, f"packets meet `{word}`, neither of {allowed}")
        return word

    def late_state(self, *allowed):
        """The same, and of what comes over late0."""
        found = self.round([self.late])
        late = found.pop("late 0")
        same(found, {way: "old" for way in self.ways})
        holds(late in allowed, f"packets of late0 meet `{late}`, none of {allowed}")
        return late

    @contextlib.contextmanager
    def traffic(self, connection=True, forbidden=True):
        """A connection with the firewall, which must live on, and packets that must not pass."""
        with contextlib.ExitStack() as stack:
            if connection:
                stack.enter_context(self.connection())
            if forbidden:
                stack.enter_context(self.flood())
            yield

    @contextlib.contextmanager
    def connection(self):
        talk = Conversation(self.world.client, self.firewall.lan[4], BOTH, pause=0.02)
        talk.start()
        try:
            yield
            rounds = talk.rounds
            eventually(lambda: talk.error or talk.rounds > rounds + 3, "the connection goes on", 10)
        finally:
            talk.stop()
        same(talk.error, None, "the connection")

    @contextlib.contextmanager
    def flood(self):
        flood = Forbidden(self.senders)
        self.leaked.clear()
        flood.start()
        try:
            yield
        finally:
            flood.stop()
        self.round()
        same(dict(self.leaked), {}, "packets that no policy allows, and that passed")

    # --- what reeve says ---

    def agrees(self, state, healed=False):
        status = self.firewall.reeve_json("status")
        if state == "none":
            same(status, {"running": False}, "status, while packets meet no policy")
            return
        same((status["running"], os.path.basename(status.get("policy", "?"))),
             (True, os.path.basename(self.paths[state])), f"status, while packets meet `{state}`")
        same({row["name"]: row["coverage"] for row in status["interfaces"]
              if row["coverage"] not in ("covered", "loopback")}, {}, "interfaces, by status")
        if healed or not TABLE:
            same((status["guard"]["wanted"], status["guard"]["alive"]), (True, True),
                 "the guard, by status")

    def files(self):
        """Files of this namespace's beside the mount, but for the lock."""
        return sorted(name for name in os.listdir(HOME) if self.cookie in name and
                      name != f"lock-{self.cookie}") if os.path.isdir(HOME) else []

    def pinned(self):
        folder = f"{MOUNT}/{self.cookie}"
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else None

    def waits(self):
        return os.path.exists(f"{HOME}/pending-{self.cookie}")

    def whole(self, state):
        """It is this, for packets and for reeve, and nothing else is there."""
        self.state(state)
        self.agrees(state, True)
        same(self.files(), [], "left over")
        if state == "none":
            same(self.pinned(), None, "pins that are left over")
            holds(not os.path.exists(f"{HOME}/lock-{self.cookie}"), "the lock is left over")
        elif self.pins is None:
            self.pins = self.pinned()
            holds(len(self.pins) > 20, f"few pins: {self.pins}")
        else:
            same(self.pinned(), self.pins, "pins")

    def apply(self, state):
        self.firewall.reeve("apply", self.paths[state])
        self.whole(state)

    def down(self):
        self.firewall.reeve("down")
        self.whole("none")

    def sync(self, state):
        """Changes no policy, and removes what is left over if one runs."""
        done = self.firewall.try_reeve("sync")
        if state == "none":
            same((done.returncode, "nothing is applied" in done.stderr), (1, True), done.stderr)
            self.state("none")
        else:
            same(done.returncode, 0, done.stderr)
            self.whole(state)

    def heal(self, state, *ways):
        """The next command: each of these has its turn."""
        self.heals += 1
        way = ways[self.heals % len(ways)]
        if way == "sync":
            self.sync(state)
        elif way == "down":
            self.down()
        else:
            self.apply(way)
        return way

    def nobody(self):
        """No process of reeve's is left in the firewall."""
        eventually(lambda: not run("ip", "netns", "pids", self.firewall.name).split(),
                   f"no process is left in {self.firewall.name}", 10)


def neighbours_known(world):
    """For good: nothing has to be asked while packets are counted."""
    for at, name, other, other_name, addresses in (
            (world.client, "eth0", world.firewall, "lan0", world.firewall.lan),
            (world.server, "eth0", world.firewall, "wan0", world.firewall.wan),
            (world.firewall, "lan0", world.client, "eth0", world.client.address),
            (world.firewall, "wan0", world.server, "eth0", world.server.address)):
        mac = other.mac(other_name)
        at.ip(*(f"neigh replace {address} lladdr {mac} dev {name} nud permanent"
                for address in addresses.values()))


class Stages:
    """What main() gets for a world."""

    def __init__(self):
        self.stages = []
        self.kills = collections.Counter()
        for number in range(STAGES):
            self.stages.append(Stage(number))

    @property
    def namespaces(self):
        return [stage.firewall for stage in self.stages]

    def close(self):
        for stage in self.stages:
            stage.world.close()
