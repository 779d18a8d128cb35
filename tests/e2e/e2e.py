# SPDX-License-Identifier: GPL-2.0-or-later
"""What the end-to-end tests share: network namespaces, traffic, the command, TAP.

A test file builds a World of namespaces, registers functions with @test, and calls main(). Every
socket is made inside the namespace it belongs to and stays there, so one process can be client,
firewall and server at once, and no test has to wait for a program to start. What a World has made,
it removes again, whatever happens: processes by their ids, running policies, namespaces, files.

The words that an attempt ends with (tcp(), udp(), ping()):
    open         it was answered by who was asked
    refused      TCP reset, or ICMP port unreachable
    unreachable  another ICMP error
    timeout      silence
    held         the kernel itself said no while sending (the guard at post_routing)
"""

import atexit
import concurrent.futures
import contextlib
import ctypes
import errno
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REEVE = os.path.abspath(os.environ.get("REEVE", os.path.join(TOP, "build", "reeve")))

SLOWNESS = int(os.environ.get("REEVE_SLOWNESS", "1"))  # of an emulated machine
PATIENCE = 1.0 * SLOWNESS  # seconds after which silence counts as silence
ETH_P_ALL = 3
CLONE_NEWNET = 0x40000000
SO_RCVBUFFORCE = 33
SO_BINDTODEVICE = 25

libc = ctypes.CDLL(None, use_errno=True)


class Skip(Exception):
    """The test cannot be made here; its text says why."""


# --- namespaces ---------------------------------------------------------------------------------


class Namespace:
    """A network namespace. `with namespace:` moves this thread into it."""

    def __init__(self, world, role):
        self.world = world
        self.role = role
        self.name = f"{world.prefix}-{role}"
        self.filtered = False  # reeve was called in here
        self.saved = threading.local()
        self.path = f"/run/netns/{self.name}"
        run("ip", "netns", "add", self.name)
        self.fd = os.open(self.path, os.O_RDONLY)
        for family in ("ipv4", "ipv6"):
            self.sysctl(f"net.{family}.conf.default.forwarding", 0)
        for where in ("all", "default"):
            self.sysctl(f"net.ipv6.conf.{where}.accept_dad", 0)
            self.sysctl(f"net.ipv6.conf.{where}.accept_ra", 0)
            self.sysctl(f"net.ipv4.conf.{where}.rp_filter", 0)
        # The kernel's own limits on ICMP errors are not what is tested here.
        self.sysctl("net.ipv4.icmp_ratelimit", 0)
        self.sysctl("net.ipv6.icmp.ratelimit", 0)
        self.ip("link set lo up")

    def __enter__(self):
        stack = self.saved.__dict__.setdefault("stack", [])
        stack.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        set_namespace(self.fd)
        return self

    def __exit__(self, *_):
        fd = self.saved.stack.pop()
        set_namespace(fd)
        os.close(fd)

    def __str__(self):
        return self.role

    def sysctl(self, name, value):
        with self, open("/proc/sys/" + name.replace(".", "/"), "w", encoding="ascii") as file:
            file.write(str(value))

    def forward(self):
        self.sysctl("net.ipv4.ip_forward", 1)
        self.sysctl("net.ipv6.conf.all.forwarding", 1)

    def ip(self, *lines):
        """ip(8) commands, in one batch."""
        run("ip", "-n", self.name, "-batch", "-", input="".join(line + "\n" for line in lines))

    def run(self, *command, **options):
        return run("nsenter", f"--net={self.path}", *command, **options)

    def try_run(self, *command, **options):
        return try_run("nsenter", f"--net={self.path}", *command, **options)

    def start(self, *command, **options):
        """A process that lives until the world ends, or end(process)."""
        return self.world.start("nsenter", f"--net={self.path}", *command, **options)

    def nft(self, text):
        run_nft(self, text)

    def socket(self, family, kind, protocol=0):
        with self:
            made = socket.socket(family, kind, protocol)
        made.settimeout(PATIENCE)
        return made

    def index(self, interface):
        with self:
            return socket.if_nametoindex(interface)

    def mac(self, interface):
        return self.link(interface)["address"]

    def link(self, interface):
        """What `ip -s link show` says of it."""
        return json.loads(run("ip", "-n", self.name, "-j", "-s", "link", "show", interface))[0]

    def link_local(self, interface):
        """Its IPv6 link-local address; None while it has none."""
        found = json.loads(run("ip", "-n", self.name, "-j", "addr", "show", interface, "scope",
                               "link", "-tentative"))
        return next((address["local"] for one in found for address in one.get("addr_info", ())
                     if address.get("family") == "inet6"), None)

    # --- the command ---

    def try_reeve(self, *arguments, **options):
        self.filtered = True
        return self.try_run(REEVE, *arguments, **options)

    def reeve(self, *arguments, **options):
        done = self.try_reeve(*arguments, **options)
        if done.returncode:
            raise AssertionError(f"{self}: reeve {' '.join(arguments)}: status {done.returncode}\n"
                                 + done.stdout + done.stderr)
        return done.stdout

    def reeve_json(self, *arguments):
        return json.loads(self.reeve(*arguments, "--json"))

    def policy(self, text, name="policy.reeve"):
        """Writes a policy file and returns its path."""
        path = os.path.join(self.world.folder, f"{self.role}-{name}")
        with open(path, "wb" if isinstance(text, bytes) else "w") as file:
            file.write(text)
        return path

    def apply(self, text):
        return self.reeve("apply", self.policy(text))

    def flows(self, *words):
        return [json.loads(line) for line in self.reeve("flows", *words, "--json").splitlines()]

    def statistics(self):
        return self.reeve_json("status")["statistics"]

    def rules(self):
        return self.reeve_json("rules")["rules"]

    def hits(self, text):
        """How many packets the rules with this text (as `reeve rules` prints it) have decided."""
        found = [rule["packets"] for rule in self.rules() if rule["text"] == text]
        if not found:
            raise AssertionError(f"{self}: no rule `{text}` among "
                                 + ", ".join(repr(rule["text"]) for rule in self.rules()))
        return sum(found)


def set_namespace(fd):
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns: " + os.strerror(ctypes.get_errno()))


def run_nft(namespace, text):
    if not shutil.which("nft"):
        raise Skip("nft is not installed")
    done = namespace.try_run("nft", "-f", "-", input=text)
    if done.returncode:
        raise AssertionError(f"nft: {done.stderr}")


class World:
    """Everything a test file makes, under one name."""

    def __init__(self, name):
        self.name = name
        self.prefix = f"reeve-{name}-{os.getpid()}"
        self.folder = tempfile.mkdtemp(prefix=self.prefix + "-")
        self.namespaces = []
        self.processes = []
        self.closers = []
        self.closed = False
        atexit.register(self.close)

    def namespace(self, role):
        made = Namespace(self, role)
        self.namespaces.append(made)
        return made

    def link(self, a, a_name, b, b_name):
        """A veth pair, up, with short-cut checksums and offloads as the kernel has them."""
        run("ip", "link", "add", a_name, "netns", a.name, "type", "veth", "peer", "name", b_name,
            "netns", b.name)
        a.ip(f"link set {a_name} up")
        b.ip(f"link set {b_name} up")

    def start(self, *command, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.DEVNULL)
        process = subprocess.Popen(command, text=True, **options)
        self.processes.append(process)
        return process

    def end(self, process):
        if process in self.processes:
            self.processes.remove(process)
        end_process(process)

    def close(self):
        if self.closed:
            return
        self.closed = True
        for close in reversed(self.closers):
            with contextlib.suppress(OSError):
                close()
        for process in list(self.processes):
            self.end(process)
        for namespace in self.namespaces:
            if namespace.filtered and os.path.exists(REEVE):
                done = namespace.try_reeve("down")
                if done.returncode:
                    print(f"# reeve down in {namespace.name}: {done.stderr.strip()}",
                          file=sys.stderr)
            os.close(namespace.fd)
            try_run("ip", "netns", "del", namespace.name)
        shutil.rmtree(self.folder, ignore_errors=True)


def router_world(name):
    """client (eth0) - (lan0) firewall (wan0) - (eth0) server, both families, all routes set."""
    world = World(name)
    world.client = client = world.namespace("client")
    world.firewall = firewall = world.namespace("firewall")
    world.server = server = world.namespace("server")
    world.link(firewall, "lan0", client, "eth0")
    world.link(firewall, "wan0", server, "eth0")
    firewall.forward()
    firewall.ip("addr add 10.77.1.1/24 dev lan0", "addr add 2001:db8:77:1::1/64 dev lan0 nodad",
                "addr add 203.0.113.1/24 dev wan0", "addr add 2001:db8:203::1/64 dev wan0 nodad")
    client.ip("addr add 10.77.1.10/24 dev eth0", "addr add 2001:db8:77:1::10/64 dev eth0 nodad",
              "route add default via 10.77.1.1", "route add ::/0 via 2001:db8:77:1::1")
    server.ip("addr add 203.0.113.80/24 dev eth0", "addr add 2001:db8:203::80/64 dev eth0 nodad",
              "route add default via 203.0.113.1", "route add ::/0 via 2001:db8:203::1")
    client.address = {4: "10.77.1.10", 6: "2001:db8:77:1::10"}
    server.address = {4: "203.0.113.80", 6: "2001:db8:203::80"}
    firewall.lan = {4: "10.77.1.1", 6: "2001:db8:77:1::1"}
    firewall.wan = {4: "203.0.113.1", 6: "2001:db8:203::1"}
    world.warm_up = [(client, firewall.lan), (server, firewall.wan), (firewall, client.address),
                     (firewall, server.address), (client, server.address)]
    warm_up(world)
    return world


def host_world(name):
    """peer (eth0) - (eth0) host: the host is what is filtered."""
    world = World(name)
    world.peer = peer = world.namespace("peer")
    world.host = host = world.namespace("host")
    world.link(host, "eth0", peer, "eth0")
    host.ip("addr add 10.77.1.1/24 brd + dev eth0", "addr add 2001:db8:77:1::1/64 dev eth0 nodad")
    peer.ip("addr add 10.77.1.10/24 brd + dev eth0", "addr add 2001:db8:77:1::10/64 dev eth0 nodad")
    peer.address = {4: "10.77.1.10", 6: "2001:db8:77:1::10"}
    host.address = {4: "10.77.1.1", 6: "2001:db8:77:1::1"}
    warm_up(world, [(peer, host.address), (host, peer.address)])
    return world


def warm_up(world, pairs=None):
    """Neighbours are known and addresses usable before anything is measured; proves the wiring."""
    pairs = pairs or world.warm_up
    calls = [(ping, at, addresses[family]) for at, addresses in pairs for family in (4, 6)]
    deadline = time.monotonic() + 8 * SLOWNESS
    while time.monotonic() < deadline:
        if all(answer == "open" for answer in together(calls)):
            return
    raise RuntimeError(f"the namespaces of {world.name} do not reach each other without reeve")


# --- processes ----------------------------------------------------------------------------------


def try_run(*command, input=None, timeout=30, text=True, **options):
    if input is None:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(command, input=input, text=text, timeout=timeout * SLOWNESS, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def run(*command, **options):
    done = try_run(*command, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}: {done.stderr}")
    return done.stdout


def end_process(process):
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)
    if process.stdout:
        process.stdout.close()


# --- attempts -----------------------------------------------------------------------------------


def together(calls):
    """Runs (function, argument...) tuples side by side; results in their order."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=48) as pool:
        futures = [pool.submit(call[0], *call[1:]) for call in calls]
        return [future.result() for future in futures]


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def word_for(error):
    if isinstance(error, (socket.timeout, BlockingIOError)):
        return "timeout"
    if error.errno in (errno.ECONNREFUSED, errno.ECONNRESET):
        return "refused"
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.ENOPROTOOPT,
                       errno.ENONET, errno.EPROTO):
        return "unreachable"
    if error.errno == errno.EPERM:
        return "held"
    raise error


def attempt(at, kind, address, port, source=None, source_port=0, patience=PATIENCE):
    with contextlib.closing(at.socket(family_of(address), kind)) as sock:
        sock.settimeout(patience)
        try:
            if source or source_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((source or ("::" if ":" in address else "0.0.0.0"), source_port))
            sock.connect((address, port))
            sock.send(b"reeve")
            return "open" if sock.recv(100) == b"reeve" else "cut"
        except OSError as error:
            return word_for(error)


def tcp(at, address, port, **options):
    """Connects and has an echo sent back."""
    return attempt(at, socket.SOCK_STREAM, address, port, **options)


def udp(at, address, port, **options):
    return attempt(at, socket.SOCK_DGRAM, address, port, **options)


def ping(at, address, patience=int(PATIENCE)):
    done = at.try_run("ping", "-n", "-c", "1", "-W", str(patience), address)
    if done.returncode == 0:
        return "open"
    return "unreachable" if "nreachable" in done.stdout or "rohibited" in done.stdout else "timeout"


class Echo:
    """TCP and UDP echo on these ports of a namespace, both families, in a thread of its own."""

    def __init__(self, at, *ports, udp=True):
        self.kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM)[:1 + udp]
        self.heard = []  # (protocol, port, peer address, bytes) of everything that came
        self.selector = selectors.DefaultSelector()
        self.alive = True
        for port in ports:
            for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                self.listen(at, family, address, port)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        at.world.closers.append(self.close)

    def listen(self, at, family, address, port):
        for kind in self.kinds:
            sock = at.socket(family, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if kind == socket.SOCK_DGRAM:
                sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
            sock.setblocking(False)
            if kind == socket.SOCK_STREAM:
                sock.listen(100)
                self.selector.register(sock, selectors.EVENT_READ, (self.accept, port))
            else:
                self.selector.register(sock, selectors.EVENT_READ, (self.datagram, port))

    def accept(self, sock, port):
        accepted, _ = sock.accept()
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(accepted, selectors.EVENT_READ, (self.stream, port))

    def stream(self, sock, port):
        data = sock.recv(65536)
        if data:
            self.heard.append(("tcp", port, sock.getpeername()[0], data))
            sock.send(data)
        else:
            self.selector.unregister(sock)
            sock.close()

    def datagram(self, sock, port):
        data, peer = sock.recvfrom(65536)
        self.heard.append(("udp", port, peer[0], data))
        sock.sendto(data, peer)

    def serve(self):
        while self.alive:
            for key, _ in self.selector.select(0.2):
                handle, port = key.data
                try:
                    handle(key.fileobj, port)
                except OSError:
                    if handle == self.stream:
                        self.selector.unregister(key.fileobj)
                        key.fileobj.close()

    def close(self):
        self.alive = False
        self.thread.join(2)
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()


# --- frames -------------------------------------------------------------------------------------


class Sniffer:
    """What passes an interface. Sent frames count only with outgoing=True."""

    def __init__(self, at, interface, outgoing=False):
        self.outgoing = outgoing
        self.sock = at.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.sock.bind((interface, ETH_P_ALL))
        at.world.closers.append(self.sock.close)

    def frames(self, quiet=0.1, until=None, patience=PATIENCE):
        """Bytes of the frames so far; waits until it was quiet for so long, or until(frames)."""
        found = []
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            self.sock.settimeout(quiet if until is None else max(deadline - time.monotonic(), 0.01))
            try:
                frame, address = self.sock.recvfrom(65536)
            except socket.timeout:
                break
            if self.outgoing or address[2] != socket.PACKET_OUTGOING:
                found.append(frame)
                if until and until(found):
                    break
        return found

    def close(self):
        self.sock.close()


def send_frames(at, interface, frames):
    """Raw frames out of an interface; scapy packets or bytes."""
    with contextlib.closing(at.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)) as sock:
        sock.bind((interface, 0))
        for frame in frames:
            sock.send(bytes(frame))


def scapy_layers():
    """scapy's layers, or a Skip: importing them takes a second, so only those who need them do."""
    try:
        import logging
        logging.getLogger("scapy").setLevel(logging.ERROR)
        import scapy.all
        return scapy.all
    except ImportError as error:
        raise Skip("python3-scapy is not installed") from error


# --- TAP ----------------------------------------------------------------------------------------

tests = []


def test(title, seconds=40):
    """Registers a function of the world as a test."""
    def register(function):
        tests.append((title, function, seconds))
        return function
    return register


def same(found, expected, what=""):
    """Compares; a dictionary is compared key by key, and only what differs is told."""
    if found == expected:
        return
    if isinstance(found, dict) and isinstance(expected, dict):
        lines = [f"{key}: expected {expected.get(key)!r}, found {found.get(key)!r}"
                 for key in sorted(set(found) | set(expected), key=str)
                 if found.get(key) != expected.get(key)]
        raise AssertionError("\n".join([what] * bool(what) + lines))
    if isinstance(found, list) and isinstance(expected, list):
        lines = [f"{word}: {some!r}" for word, some in (
            ("missing", [row for row in expected if row not in found]),
            ("not expected", [row for row in found if row not in expected])) if some]
        if lines:
            raise AssertionError("\n".join([what] * bool(what) + lines))
    raise AssertionError(f"{what + ': ' if what else ''}expected {expected!r}, found {found!r}")


def holds(truth, text):
    if not truth:
        raise AssertionError(text)


def eventually(question, text, patience=3):
    """Asks until the answer is true; returns it."""
    deadline = time.monotonic() + patience * SLOWNESS
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {text}")
        time.sleep(0.05)


def attempts(table):
    """{title: (function, argument..., )} side by side, as {title: outcome}."""
    return dict(zip(table, together(list(table.values()))))


def expect(table):
    """{title: (expected, function, argument...)}: all of them, side by side, as expected."""
    same(attempts({title: row[1:] for title, row in table.items()}),
         {title: row[0] for title, row in table.items()})


def complain(text, limit=40):
    lines = text.rstrip().splitlines()
    for line in lines[:limit]:
        print(f"# {line[:300]}")
    if len(lines) > limit:
        print(f"# and {len(lines) - limit} more lines")


def describe(world):
    """For a failure: what runs in the namespaces."""
    for namespace in getattr(world, "namespaces", []):
        if namespace.filtered:
            done = namespace.try_reeve("status")
            complain(f"--- reeve status in {namespace}\n{done.stdout}{done.stderr}")


class TooLong(Exception):
    pass


def alarm(_number, _frame):
    raise TooLong("it took too long")


def end_by_signal(number, _frame):
    sys.exit(128 + number)


def run_test(world, number, title, function, seconds):
    signal.signal(signal.SIGALRM, alarm)
    signal.alarm(seconds * SLOWNESS)
    try:
        function(world)
    except Skip as reason:
        print(f"ok {number} - {title} # SKIP {reason}")
        return True
    except Exception as error:  # whatever it is, this test has failed and the next one is due
        signal.alarm(0)
        print(f"not ok {number} - {title}")
        complain(str(error) or type(error).__name__)
        if not isinstance(error, AssertionError):
            complain(traceback.format_exc())
        describe(world)
        return False
    finally:
        signal.alarm(0)
        sys.stdout.flush()
    print(f"ok {number} - {title}", flush=True)
    return True


def main(make_world):
    """Runs the registered tests, in order, in the world that make_world() builds."""
    if os.geteuid() != 0:
        print("1..0 # SKIP only root can make network namespaces")
        sys.exit(0)
    if not os.access(REEVE, os.X_OK):
        print(f"Bail out! there is no command {REEVE}; build it, or set REEVE")
        sys.exit(1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, end_by_signal)
    wanted = sys.argv[1:]
    chosen = [row for row in tests if not wanted or any(word in row[0] for word in wanted)]
    print(f"1..{len(chosen)}", flush=True)
    try:
        world = make_world()
    except (RuntimeError, OSError, AssertionError) as error:
        print(f"Bail out! {error}".replace("\n", " "))
        sys.exit(1)
    good = True
    try:
        for number, (title, function, seconds) in enumerate(chosen, 1):
            good = run_test(world, number, title, function, seconds) and good
    finally:
        world.close()
    sys.exit(0 if good else 1)
