#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Real programs through masquerade, through a forward and by hairpin, over both families."""

import errno
import hashlib
import json
import os
import re
import socket
import subprocess
import threading
import time

from e2e import eventually, holds, main, same, test, together
from nat_lab import dnsmasq, nat_world, need, server, ssh, sshd, vsftpd, web

PASSIVE = (30000, 30019)
BIG = 3_000_000
BULK, BULK_PORT = 300_000, 9000

POLICY = f"""
zone wan = wan0
zone lan = lan0

policy lan -> wan default allow
policy lan -> self default allow
policy self -> any default allow
policy wan -> self default drop {{ allow icmp echo-request; allow icmpv6 echo-request }}
policy {{ wan, lan }} -> lan default drop {{
    allow {{ 21, 22, 53, 80, 5201, {BULK_PORT}-{BULK_PORT + 1}, {PASSIVE[0]}-{PASSIVE[1]} }}/tcp
    allow {{ 53, 5201 }}/udp
    allow 33434-33534/udp
}}
nat lan -> wan {{ masquerade }}
nat {{ wan, lan }} -> self {{
    forward 8080/tcp to 10.77.1.20:80
    forward 8080/tcp to [fd00:77:1::20]:80
    forward 2222/tcp to 10.77.1.20:22
    forward 2222/tcp to [fd00:77:1::20]:22
    forward {{ 21, 53, 5201, {BULK_PORT}-{BULK_PORT + 1}, {PASSIVE[0]}-{PASSIVE[1]} }}/tcp to 10.77.1.20
    forward {{ 21, 53, 5201, {BULK_PORT}-{BULK_PORT + 1}, {PASSIVE[0]}-{PASSIVE[1]} }}/tcp to fd00:77:1::20
    forward {{ 53, 5201, 33434-33534 }}/udp to 10.77.1.20
    forward {{ 53, 5201, 33434-33534 }}/udp to fd00:77:1::20
}}
"""


class Way:
    """Who asks whom, by which address and ports, and as whom the other side knows him."""

    def __init__(self, title, at, to, other, seen, web_port=80, ssh_port=22):
        self.title, self.at, self.to, self.other, self.seen = title, at, to, other, seen
        self.web_port, self.ssh_port = web_port, ssh_port

    def url(self, family, scheme="http", path="big"):
        address = self.to[family] if family == 4 else f"[{self.to[family]}]"
        port = f":{self.web_port}" if scheme == "http" else ""
        return f"{scheme}://{address}{port}/{path}"


def ways(world):
    wan = world.firewall.wan
    return (Way("masquerade", world.client, world.server.address, world.server, wan),
            Way("forward", world.server, wan, world.inner, world.server.address, 8080, 2222),
            Way("hairpin", world.client, wan, world.inner, world.firewall.lan, 8080, 2222))


def every(world, function, title=""):
    """function(way, family) over all ways and families, side by side; every failure is told."""
    def one(way, family):
        try:
            function(way, family)
        except (AssertionError, RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            return f"{title} {way.title}, IPv{family}: {error}".strip()
        return None
    failures = together([(one, way, family) for way in ways(world) for family in (4, 6)])
    holds(not any(failures), "\n".join(filter(None, failures)))


def log_of(world, at, program="python3"):
    with open(os.path.join(world.folder, f"{at.role}-{program}.log"), encoding="utf-8") as file:
        return file.read()


def check(world, path):
    with open(path, "rb") as file:
        same(hashlib.sha256(file.read()).hexdigest(), world.digest)
    os.unlink(path)


@test("curl: a page of some megabytes, and the server knows the address that it should")
def _(world):
    def one(way, family):
        name = f"{way.title}{family}"
        at = os.path.join(world.folder, name)
        way.at.run("curl", "-sS", "-m", "10", "-g", "-o", at, way.url(family, path=f"big?{name}"))
        check(world, at)
        line = next(line for line in log_of(world, way.other).splitlines() if f"?{name} " in line)
        same(line.split()[0].removeprefix("::ffff:"), way.seen[family])
    every(world, one)


@test("iperf3: TCP both ways, and UDP without loss")
def _(world):
    def one(way, family):
        for words in (("-n", "20M"), ("-n", "20M", "-R"), ("-u", "-n", "80K", "-l", "1000")):
            with busy[way.other]:  # it serves one at a time
                done = way.at.run("iperf3", "-c", way.to[family], "-J", "--connect-timeout", "2000",
                                  *words, timeout=10)
            end = json.loads(done)["end"]
            total = end["sum"] if "-u" in words else end["sum_received"]
            holds(total["bytes"] >= 80_000, f"{words}: {total}")
            if "-u" in words:
                same(total["lost_packets"], 0)
    busy = {at: threading.Lock() for at in (world.server, world.inner)}
    every(world, one)


@test("ssh: a session with data in both directions, from the address that it should be")
def _(world):
    def one(way, family):
        said = ssh(way.at, way.to[family], way.ssh_port, "echo $SSH_CONNECTION; sha256sum",
                   input="x" * 500_000)
        connection, digest = said.splitlines()
        same(connection.split()[0], way.seen[family])
        same(digest.split()[0], hashlib.sha256(b"x" * 500_000).hexdigest())
    every(world, one)


@test("dig: over UDP, over TCP, and an answer that comes in fragments")
def _(world):
    def one(way, family):
        for words, expected in ((("A", "a.reeve.test"), "192.0.2.55"),
                                (("+tcp", "A", "a.reeve.test"), "192.0.2.55"),
                                (("+bufsize=4096", "+ignore", "TXT", "big.reeve.test"), "z" * 200)):
            said = way.at.run("dig", f"@{way.to[family]}", "+time=2", "+tries=1", "+short", *words)
            holds(expected in said, f"{words}: {said!r}")
    every(world, one)


@test("ping: small, in fragments, and two from one host at once")
def _(world):
    def one(at, target):
        for size in ("56", "4000"):
            said = at.run("ping", "-n", "-c", "3", "-i", "0.1", "-W", "1", "-s", size, target)
            holds(" 3 received" in said, said)
    for family in (4, 6):
        together([(one, world.client, world.server.address[family]),
                  (one, world.client, world.server.address[family]),
                  (one, world.inner, world.server.address[family]),
                  (one, world.server, world.firewall.wan[family])])


@test("ping: two hosts with one identifier at once, each gets its own answers")
def _(world):
    for family in (4, 6):
        together([(pings, at, world.server.address[family]) for at in (world.client, world.inner)])


def pings(at, target):
    said = at.run("ping", "-n", "-e", "4711", "-c", "10", "-i", "0.05", "-W", "1", target)
    holds(" 10 received" in said and "DUP" not in said, said)


def hops(said):
    """The answers of traceroute, by distance."""
    return [line.split()[1] for line in said.splitlines() if re.match(r"\s*\d+ ", line)]


@test("traceroute out through masquerade, by UDP, ICMP and TCP, shows every router")
def _(world):
    def one(kind, family):
        said = world.client.run("traceroute", "-n", "-q", "1", "-w", "1", "-m", "6", *kind,
                                world.server.address[family])
        same(hops(said), [world.firewall.lan[family], world.hop.near[family],
                          world.server.address[family]], f"{kind} IPv{family}")
    together([(one, kind, family) for family in (4, 6)
              for kind in (("-U", "-p", "33440"), (), ("-I",), ("-T", "-p", "80"))])


@test("traceroute in through a forward: the inner host is known by the outer address only")
def _(world):
    def one(kind, family):
        said = world.server.run("traceroute", "-n", "-q", "1", "-w", "1", "-m", "6", *kind,
                                world.firewall.wan[family])
        # The router, whose packet has no flow yet, and then the host behind it.
        same(hops(said), [world.hop.far[family], world.firewall.wan[family],
                          world.firewall.wan[family]], f"{kind} IPv{family}")
    together([(one, kind, family) for family in (4, 6) for kind in ((), ("-T", "-p", "8080"))])


@test("FTP, passive: EPSV and PASV, with curl and lftp")
def _(world):
    def one(way, family):
        at = os.path.join(world.folder, f"{way.title}{family}")
        programs = [("curl", "-sS", "-m", "8", "-g", "-o", at)]
        if family == 4:  # PASV has no room for others
            programs.append((*programs[0], "--disable-epsv"))
        for program in programs:
            way.at.run(*program, way.url(family, "ftp"))
            check(world, at)
        way.at.run("lftp", "-c", "set net:timeout 4; set net:max-retries 1; set cmd:fail-exit true; "
                   f"get {way.url(family, 'ftp')} -o {at}")
        check(world, at)
    every(world, one)


@test("two clients with the same source port at once, and each gets its own page")
def _(world):
    def fetch(at, family, path):
        return at.run("curl", "-sS", "-m", "10", "-g", "--local-port", "45000",
                      "--limit-rate", "150K",
                      ways(world)[0].url(family, path=path))
    for family in (4, 6):
        pages = together([(fetch, world.client, family, "page-a"),
                          (fetch, world.inner, family, "page-b")])
        same([page[0] for page in pages], ["a", "b"])
        same([len(page) for page in pages], [100_000, 100_000])
        time.sleep(0.1)


class Narrow:
    """Routes with a smaller MTU, for a while: (namespace, interface, addresses behind it)."""

    def __init__(self, *places):
        self.places = [(at, f"{address}/{32 if family == 4 else 128} dev {interface}")
                       for at, interface, addresses in places for family, address in addresses.items()]

    def __enter__(self):
        for at, words in self.places:
            at.ip(f"route add {words} mtu 1300")

    def __exit__(self, *_):
        for at, words in self.places:
            at.ip(f"route del {words}")


def forget(*ends):
    for at in ends:
        for family in ("-4", "-6"):
            at.run("ip", family, "route", "flush", "cache")


def path_mtu(at, address):
    found = json.loads(at.run("ip", "-j", "route", "get", address))[0]
    return [metric.get("mtu") for metric in found.get("metrics", [])]


@test("path MTU: fragmentation-needed and packet-too-big reach the sender, and bulk gets through")
def _(world):
    places = {"to the server": [(world.hop, "far", world.server.address)],
              "to the router": [(world.hop, "near", world.firewall.wan)],
              "to the hosts inside": [(world.firewall, "lan0", at.address)
                                      for at in (world.client, world.inner)]}
    for title, narrow in places.items():
        with Narrow(*narrow):
            every(world, bulk, title)
        forget(world.client, world.inner, world.server)


def bulk(way, family):
    """Both ways at once: whatever direction the narrow place has."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with way.other.socket(kind, socket.SOCK_STREAM) as listener, \
            way.at.socket(kind, socket.SOCK_STREAM) as near:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = BULK_PORT + (way.title == "hairpin")
        listener.bind((way.other.address[family], port))
        listener.listen(5)
        near.connect((way.to[family], port))
        far, peer = listener.accept()
        with far:
            same(peer[0], way.seen[family])
            for sock in (near, far):
                sock.settimeout(3)
            together([(near.sendall, b"a" * BULK), (far.sendall, b"b" * BULK),
                      (receive, near), (receive, far)])


def receive(sock):
    got = 0
    while got < BULK:
        data = sock.recv(65536)
        holds(data, f"closed after {got} bytes")
        got += len(data)


@test("path MTU: a datagram socket hears of it, with the right number")
def _(world):
    with Narrow((world.hop, "far", world.server.address)):
        for family in (4, 6):
            kind = socket.AF_INET if family == 4 else socket.AF_INET6
            with world.client.socket(kind, socket.SOCK_DGRAM) as sock:
                level, option = (socket.IPPROTO_IP, 10) if family == 4 else (socket.IPPROTO_IPV6, 23)
                sock.setsockopt(level, option, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
                sock.connect((world.server.address[family], 9))

                def heard():
                    try:
                        sock.send(b"x" * 1400)
                    except OSError as error:
                        return error.errno == errno.EMSGSIZE
                    return False
                same(heard(), False)
                eventually(heard, f"IPv{family}: the client hears that it is too big")
                same(path_mtu(world.client, world.server.address[family]), [1300], f"IPv{family}")
    forget(world.client)


@test("UDP that is silent for less, and for more, than its timeout comes back", 60)
def _(world):
    world.firewall.apply(POLICY.replace("policy lan -> wan default allow", """
policy lan -> wan default allow { allow udp timeout 2s }
"""))
    try:
        together([(idle, world, family) for family in (4, 6)])
    finally:
        world.firewall.apply(POLICY)


def idle(world, family):
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with world.server.socket(kind, socket.SOCK_DGRAM) as far, \
            world.client.socket(kind, socket.SOCK_DGRAM) as near:
        far.bind((world.server.address[family], 7000))
        near.bind((world.client.address[family], 46000))
        near.connect((world.server.address[family], 7000))
        near.send(b"hello")
        _, peer = far.recvfrom(100)
        same(peer[:2], (world.firewall.wan[family], 46000))
        far.sendto(b"welcome", peer)
        same(near.recv(100), b"welcome")
        time.sleep(1)
        far.sendto(b"still there?", peer)
        same(near.recv(100), b"still there?")
        time.sleep(2.5)
        far.sendto(b"too late", peer)
        near.settimeout(0.3)
        try:
            raise AssertionError(f"after its timeout the flow let in {near.recv(100)}")
        except socket.timeout:
            pass
        for word in (b"again", b"and again"):
            near.send(word)
            data, now = far.recvfrom(100)
            same((data, now[:2]), (word, peer[:2]), "the port is the same again")
            far.sendto(b"yes", now)
            same(near.recv(100), b"yes")


@test("afterwards: nothing was dropped for want of a port")
def _(world):
    same(world.firewall.statistics()["nat-exhausted"], 0)


def build():
    need("curl", "iperf3", "ssh", "sshd", "dig", "traceroute", "dnsmasq", "vsftpd", "lftp")
    world = nat_world("natprog")
    root = os.path.join(world.folder, "www")
    os.makedirs(root, mode=0o755)
    content = os.urandom(BIG)
    for name, data in (("big", content), ("page-a", b"a" * 100_000), ("page-b", b"b" * 100_000)):
        with open(os.path.join(root, name), "wb") as file:
            file.write(data)
    world.digest = hashlib.sha256(content).hexdigest()
    records = ["--host-record=a.reeve.test,192.0.2.55", "--txt-record=big.reeve.test," + ",".join(
        ["z" * 250] * 11)]
    for at in (world.server, world.inner):
        web(at, 80, root)
        sshd(at, 22)
        vsftpd(at, 21, root, PASSIVE)
        dnsmasq(at, records)
        server(at, 5201, "iperf3", "-s")
    world.firewall.apply(POLICY)
    return world


main(build)
