#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`intercept` on real traffic: TCP and UDP, both families, through the example of a transparent
proxy, and through haproxy."""

import contextlib
import os
import shutil
import signal
import socket
import time

from e2e import (TOP, Echo, Skip, Sniffer, eventually, family_of, holds, main, router_world, same,
                 scapy_layers, send_frames, tcp, test, udp, word_for)

PROXY = os.environ.get("PROXY", os.path.join(TOP, "build", "proxy"))
PORT, HANDED, OTHER, FORBIDDEN = 7001, 3129, 7002, 7003
TABLE = str(0x72656576)
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
LARGE = b"reeve" * 800

HEAD = f"""
zone wan = wan0
zone lan = lan0

policy lan -> wan default drop {{ allow {{ {PORT}, {OTHER} }}/tcp; allow {{ {PORT}, {OTHER} }}/udp }}
policy self -> any default allow
policy wan -> self default drop
policy lan -> self default drop
policy wan -> lan default drop
"""


def statements(more="", port=HANDED):
    return "".join(f"intercept lan -> wan {{ {PORT}, {FORBIDDEN} }} to {target}:{port}{more}\n"
                   for target in ("127.0.0.1", "[::1]"))


def policy(more=""):
    return HEAD + statements(more)


def start(world):
    proxy = world.firewall.start(PROXY, str(HANDED))
    eventually(lambda: f":{HANDED} " in world.firewall.run("ss", "-Hltn"), "the proxy listens")
    return proxy


@contextlib.contextmanager
def proxied(world):
    proxy = start(world)
    try:
        yield proxy
    finally:
        world.end(proxy)


def said(proxy):
    return proxy.stdout.readline().split()


def routing(world):
    """Rules and routes of reeve's own, both families."""
    found = []
    for family in ("-4", "-6"):
        found += [line.split() for line in world.firewall.run("ip", family, "rule").splitlines()
                  if "proto 114" in line]
        found += [line.split() for line in world.firewall.try_run(
            "ip", family, "route", "show", "table", TABLE).stdout.splitlines()]
    return found


def marked(bit):
    asks = ["from", "all", "fwmark", f"{1 << bit:#x}/{1 << bit:#x}"]
    rules = [["1:"] + asks + ["iif", "lo", "goto", "3"], ["2:"] + asks + ["lookup", TABLE],
             ["3:", "from", "all", "nop"]]
    return [rule + ["proto", "114"] for rule in rules] * 2


def rules_of(world):
    return [line for line in routing(world) if line[0].endswith(":")]


def connected(world, kind=socket.SOCK_STREAM, family=4):
    """A conversation through the proxy that goes on."""
    address = world.server.address[family]
    sock = world.client.socket(family_of(address), kind)
    sock.settimeout(2)
    sock.connect((address, PORT))
    talk(sock)
    talk(sock)
    return sock


def talk(sock, words=b"reeve"):
    sock.send(words)
    heard = sock.recv(65536)
    while heard and len(heard) < len(words):
        heard += sock.recv(65536)
    same(heard, words)


@test("TCP and UDP, both families, reach the server through it, and it sees both addresses")
def _(world):
    world.firewall.apply(policy())
    with proxied(world) as proxy:
        for word, call in (("tcp", tcp), ("udp", udp)):
            for family in (4, 6):
                server = world.server.address[family]
                same(call(world.client, server, PORT), "open", f"{word}, IPv{family}")
                line = said(proxy)
                same(line[:2] + line[3:], [word, world.client.address[family], "->", server,
                                           str(PORT)])
                same(world.echo.heard[-1], (word, PORT, world.firewall.wan[family], b"reeve"))


@test("it is counted, by the rule that allows it and by its own, and listed for what it is")
def _(world):
    with proxied(world), contextlib.closing(connected(world)):
        with contextlib.closing(connected(world, socket.SOCK_DGRAM, 6)):
            world.firewall.apply(policy("") + "\n# counters stay with their ids\n")
            before = world.firewall.statistics()["flows-intercepted"]
            same(tcp(world.client, world.server.address[4], PORT), "open")
            same(tcp(world.client, world.server.address[4], FORBIDDEN), "timeout")
            same(world.firewall.statistics()["flows-intercepted"], before + 1)
            flows = [flow for flow in world.firewall.flows() if flow["intercepted"]]
            found = {(flow["protocol"], flow["originator"]["zone"], flow["responder"]["zone"],
                      flow["intercepted"], flow["responder"]["address"]) for flow in flows}
            holds(found >= {("tcp", "lan", "self", "wan", world.server.address[4]),
                            ("udp", "lan", "self", "wan", world.server.address[6])}, found)
            holds("intercepted on its way to wan" in world.firewall.reeve("flows"), "flows tells")
    texts = {rule["text"]: rule["packets"] for rule in world.firewall.rules()}
    for target in ("127.0.0.1", "[::1]"):
        text = f"intercept {{ {PORT}, {FORBIDDEN} }} to {target}:{HANDED}"
        holds(texts[text] >= 2, f"{text}: {texts[text]}")
    same(world.firewall.reeve_json("status")["intercept"], {"wanted": True, "routes": True})


@test("the policy of the pair decides all the same, and what no statement names goes its way")
def _(world):
    world.firewall.apply(policy())
    with proxied(world):
        for call in (tcp, udp):
            same(call(world.client, world.server.address[4], FORBIDDEN), "timeout")
            world.echo.heard.clear()
            same(call(world.client, world.server.address[4], OTHER), "open")
            same(world.echo.heard[0][2], world.client.address[4])
    same(world.firewall.statistics()["no-listener"], 0)


@test("nobody listens: dropped and counted, and `watch` says why")
def _(world):
    world.firewall.apply(policy())
    world.echo.heard.clear()
    watch = world.firewall.start(os.environ.get("REEVE", os.path.join(TOP, "build", "reeve")),
                                 "watch", "--json")
    time.sleep(0.5)
    for family in (4, 6):
        for call in (tcp, udp):
            same(call(world.client, world.server.address[family], PORT), "timeout")
    same(world.echo.heard, [])
    holds(world.firewall.statistics()["no-listener"] >= 4, "counted")
    watch.send_signal(signal.SIGINT)
    holds("no-listener" in watch.stdout.read(), "watch says why")
    world.end(watch)


@test("nobody listens, and `on-missing pass`: forwarded, and through the proxy again once it is there")
def _(world):
    world.firewall.apply(policy(" on-missing pass"))
    for family in (4, 6):
        for call in (tcp, udp):
            world.echo.heard.clear()
            same(call(world.client, world.server.address[family], PORT), "open")
            same(world.echo.heard[0][2], world.client.address[family])
    holds(world.firewall.statistics()["intercept-passed"] >= 4, "counted")
    with proxied(world) as proxy:
        same(tcp(world.client, world.server.address[4], PORT), "open")
        same(said(proxy)[0], "tcp")


@test("the proxy dies: connections end at once, and what it did not answer does not get past it")
def _(world):
    world.firewall.apply(policy())
    proxy = start(world)
    with contextlib.closing(connected(world)) as stream, \
            contextlib.closing(connected(world, socket.SOCK_DGRAM)) as datagrams:
        proxy.kill()
        world.end(proxy)
        with contextlib.suppress(ConnectionResetError):
            same(stream.recv(1), b"")
            stream.send(b"more")
            same(stream.recv(1), b"", "no answer")
        world.echo.heard.clear()
        datagrams.send(b"lost")
        with contextlib.suppress(socket.timeout):
            raise AssertionError(datagrams.recv(10))
        same(world.echo.heard, [])
        with proxied(world) as proxy:
            talk(datagrams, b"again")
            same(said(proxy)[0], "udp")


@test("the proxy dies, and `on-missing pass`: datagrams of its conversations are forwarded")
def _(world):
    world.firewall.apply(policy(" on-missing pass"))
    proxy = start(world)
    with contextlib.closing(connected(world, socket.SOCK_DGRAM)) as datagrams:
        world.end(proxy)
        world.echo.heard.clear()
        talk(datagrams, b"past it")
        talk(datagrams, b"past it too")
        same({peer for _, _, peer, _ in world.echo.heard}, {world.client.address[4]})


@test("datagrams in fragments: within a conversation handed over, none begins with one")
def _(world):
    world.firewall.apply(policy())
    with proxied(world):
        for family in (4, 6):
            with contextlib.closing(connected(world, socket.SOCK_DGRAM, family)) as datagrams:
                talk(datagrams, LARGE)
            before = world.firewall.statistics()["no-listener"]
            world.echo.heard.clear()
            address = world.server.address[family]
            with contextlib.closing(world.client.socket(family_of(address),
                                                        socket.SOCK_DGRAM)) as sock:
                sock.sendto(LARGE, (address, PORT))
                time.sleep(0.3)
            same(world.firewall.statistics()["no-listener"], before + 1)
            same(world.echo.heard, [])


@test("an apply: conversations go on, the rule follows the mark's bits, and is there once")
def _(world):
    world.firewall.apply(policy())
    same(rules_of(world), marked(29))
    with proxied(world), contextlib.closing(connected(world)) as stream, \
            contextlib.closing(connected(world, socket.SOCK_DGRAM, 6)) as datagrams:
        for more, bit in (("", 29), ("options { mark-bits 8 }\n", 7),
                          ("options { mark-bits 0 }\n", 2), ("", 29)):
            world.firewall.apply(policy() + more)
            same(rules_of(world), marked(bit))
            talk(stream)
            talk(datagrams)
            same(tcp(world.client, world.server.address[6], PORT), "open")
        # The policy does not allow them any more.
        world.firewall.apply(policy().replace(f"allow {{ {PORT}, {OTHER} }}/tcp", "allow 1/tcp"))
        with contextlib.suppress(socket.timeout):
            talk(stream)
            raise AssertionError("a connection that is not allowed any more goes on")
        talk(datagrams)


@test("what is forwarded already goes on as it is when a policy begins to intercept")
def _(world):
    world.firewall.apply(HEAD)
    with proxied(world), contextlib.closing(connected(world)) as stream, \
            contextlib.closing(connected(world, socket.SOCK_DGRAM, 6)) as datagrams:
        world.firewall.apply(policy())
        world.echo.heard.clear()
        talk(stream)
        talk(datagrams)
        same([peer for _, _, peer, _ in world.echo.heard],
             [world.client.address[4], world.client.address[6]])


@test("a policy that does not intercept any more: conversations end, and the routes are as before")
def _(world):
    world.firewall.apply(policy())
    same(len(routing(world)), 8)
    with proxied(world), contextlib.closing(connected(world)) as stream:
        world.firewall.apply(HEAD)
        same(routing(world), [])
        with contextlib.suppress(socket.timeout):
            talk(stream)
            raise AssertionError("an intercepted connection goes on")
        world.echo.heard.clear()
        same(udp(world.client, world.server.address[4], PORT), "open")
        same(world.echo.heard[0][2], world.client.address[4])
    world.firewall.apply(HEAD + f"intercept lan -> wan {PORT}/udp to [::1]:{HANDED}\n")
    same(len(routing(world)), 4, "only the family that is intercepted")


@test("somebody removes the rule or the route: status says so, and `sync` puts it back")
def _(world):
    world.firewall.apply(policy())
    whole = routing(world)
    for command in (("-4", "rule", "del", "pref", "1"), ("-6", "rule", "del", "pref", "2"),
                    ("-4", "route", "flush", "table", TABLE), ("-6", "rule", "del", "pref", "3"),
                    ("-6", "route", "flush", "table", TABLE)):
        world.firewall.run("ip", *command)
        same(world.firewall.reeve_json("status")["intercept"], {"wanted": True, "routes": False})
        holds("intercept  MISSING" in world.firewall.reeve("status"), "status")
        holds("routing rule" in world.firewall.reeve("sync"), "sync tells")
        same(routing(world), whole)
        same(world.firewall.reeve_json("status")["intercept"], {"wanted": True, "routes": True})


@test("marks that the kernel carries over to the way back do not lead astray")
def _(world):
    world.firewall.apply(policy())
    settings = ("conf.all.rp_filter", "conf.lan0.rp_filter", "conf.lan0.src_valid_mark",
                "tcp_fwmark_accept", "fwmark_reflect")
    with proxied(world):
        for setting in settings:
            world.firewall.sysctl(f"net.ipv4.{setting}", 1)
        try:
            for family in (4, 6):
                for call in (tcp, udp):
                    same(call(world.client, world.server.address[family], PORT), "open")
                same(from_client(world, family, OTHER), "open")
        finally:
            for setting in settings:
                world.firewall.sysctl(f"net.ipv4.{setting}", 0)


@test("loopback is down: refused with a hint, and what ran before runs on")
def _(world):
    world.firewall.apply(HEAD)
    world.firewall.ip("link set lo down")
    try:
        done = world.firewall.try_reeve("apply", world.firewall.policy(policy()))
        same(done.returncode, 1)
        holds("ip link set lo up" in done.stderr, done.stderr)
        same(routing(world), [])
        same(world.firewall.reeve_json("status")["intercept"], {"wanted": False, "routes": True})
    finally:
        world.firewall.ip("link set lo up")


@test("a listener that may not speak for others gets connections, but cannot answer")
def _(world):
    world.firewall.apply(policy())
    with contextlib.closing(world.firewall.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.bind(("127.0.0.1", HANDED))
        sock.listen(1)
        same(tcp(world.client, world.server.address[4], PORT), "timeout")


def from_client(world, family, port):
    """What a proxy does that keeps the client's address."""
    address = world.server.address[family]
    sock = world.firewall.socket(family_of(address), socket.SOCK_STREAM)
    level, option = ((socket.IPPROTO_IP, IP_TRANSPARENT) if family == 4 else
                     (socket.IPPROTO_IPV6, IPV6_TRANSPARENT))
    with contextlib.closing(sock):
        sock.setsockopt(level, option, 1)
        sock.bind((world.client.address[family], 0))
        try:
            sock.connect((address, port))
            for _ in range(5):
                talk(sock)
            return "open"
        except OSError as error:
            return word_for(error)


@test("a proxy that speaks with the client's address gets its answers, and refusals")
def _(world):
    world.firewall.apply(policy())
    for family in (4, 6):
        world.echo.heard.clear()
        same(from_client(world, family, OTHER), "open")
        same(world.echo.heard[0][2], world.client.address[family])
        same(from_client(world, family, FORBIDDEN), "refused")
    same(tcp(world.client, world.server.address[4], OTHER), "open", "the client itself")


@test("what is forwarded to the inside is intercepted by its new destination")
def _(world):
    outside, inside = 8080, PORT
    world.firewall.apply(HEAD.replace("policy wan -> lan default drop", f"""
policy wan -> lan default drop {{ allow {inside}/tcp to {{ 10.77.1.10, 2001:db8:77:1::10 }} }}
nat wan -> self {{
    forward {outside}/tcp to 10.77.1.10:{inside}
    forward {outside}/tcp to [2001:db8:77:1::10]:{inside}
}}
intercept wan -> lan {inside}/tcp to 127.0.0.1:{HANDED}
intercept wan -> lan {inside}/tcp to [::1]:{HANDED}"""))
    echo = Echo(world.client, inside)
    with proxied(world) as proxy:
        for family in (4, 6):
            same(tcp(world.server, world.firewall.wan[family], outside), "open")
            line = said(proxy)
            same(line[1::3] + line[5:], [world.server.address[family],
                                         world.client.address[family], str(inside)])
            same(echo.heard[-1], ("tcp", inside, world.firewall.lan[family], b"reeve"))


@test("a way to the client that carries less is heard of by the proxy's connection")
def _(world):
    layers = scapy_layers()
    world.firewall.apply(policy())
    with proxied(world), contextlib.closing(connected(world)) as stream:
        sniffer = Sniffer(world.client, "eth0")
        talk(stream)
        quoted = [packet for packet in map(layers.Ether, sniffer.frames()) if layers.TCP in packet
                  and packet[layers.TCP].sport == PORT][-1]
        sniffer.close()
        error = layers.IP(src=world.client.address[4], dst=world.server.address[4]) / layers.ICMP(
            type=3, code=4, nexthopmtu=1000) / bytes(quoted[layers.IP])[:28]
        frame = layers.Ether(src=world.client.mac("eth0"),
                             dst=world.firewall.mac("lan0")) / error
        before = world.firewall.statistics()
        send_frames(world.client, "eth0", [frame])
        eventually(lambda: snmp(world, "Icmp", "InDestUnreachs") > 0, "the kernel gets the error")
        same(world.firewall.statistics()["guard-local-in"], before["guard-local-in"])
        talk(stream)


def snmp(world, group, name):
    with world.firewall, open("/proc/thread-self/net/snmp", encoding="ascii") as file:
        rows = [line.split() for line in file if line.startswith(group + ":")]
    return int(rows[1][rows[0].index(name)])


HAPROXY = """
global
    noreuseport  # before Linux 6.6 a listener that shares its port cannot be handed anything
defaults
    mode tcp
    timeout connect 3s
    timeout client 10s
    timeout server 10s
listen intercepted
    bind 127.0.0.1:{port} transparent
    bind [::1]:{port} transparent
    source 0.0.0.0 usesrc clientip
    server original *
"""


@test("haproxy in transparent mode: the server sees the client's address")
def _(world):
    program = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
    if not program:
        raise Skip("haproxy is not installed")
    port = HANDED + 1
    world.firewall.apply(HEAD + statements(port=port))
    path = os.path.join(world.folder, "haproxy.cfg")
    with open(path, "w", encoding="ascii") as file:
        file.write(HAPROXY.format(port=port))
    proxy = world.firewall.start(program, "-db", "-f", path)
    try:
        eventually(lambda: f":{port} " in world.firewall.run("ss", "-Hltn"), "haproxy listens")
        world.echo.heard.clear()
        same(tcp(world.client, world.server.address[4], PORT), "open")
        same(world.echo.heard, [("tcp", PORT, world.client.address[4], b"reeve")])
        with contextlib.closing(connected(world)) as stream:
            for _ in range(20):
                talk(stream, LARGE)
        world.firewall.flows()
    finally:
        world.end(proxy)
    same(tcp(world.client, world.server.address[4], PORT), "timeout", "it is gone")


@test("down removes the rules and the routes")
def _(world):
    world.firewall.apply(policy())
    same(len(routing(world)), 8)
    world.firewall.reeve("down")
    same(routing(world), [])
    world.firewall.reeve("down")


if __name__ == "__main__":
    def make_world():
        world = router_world("intercept")
        world.echo = Echo(world.server, PORT, OTHER)
        return world

    main(make_world)
