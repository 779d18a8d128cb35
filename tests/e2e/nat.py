#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Translation on real traffic: masquerade, source, forward, hairpin, both families."""

import contextlib
import os
import socket
import threading

from e2e import Echo, eventually, main, ping, router_world, same, tcp, test, udp

WEB, OUT, LISTENING, CLOSED, OUTSIDE, BULK = 80, 1001, 1002, 1003, 8080, 300000

HEAD = """
zone wan = wan0
zone lan = lan0

policy lan -> wan default allow
policy lan -> self default allow
policy self -> any default allow
policy wan -> self default drop { allow icmp echo-request; allow icmpv6 echo-request }
"""
MASQUERADE = HEAD + "nat lan -> wan { masquerade }\n"
FORWARD = HEAD + f"""
policy wan -> lan default drop {{
    allow {WEB} to {{ 10.77.1.10, 2001:db8:77:1::10 }}
    allow {WEB + 1}/udp
}}
policy lan -> lan default drop {{ allow {WEB}/tcp to {{ 10.77.1.10, 2001:db8:77:1::10 }} }}
nat lan -> wan {{ masquerade }}
nat {{ wan, lan }} -> self {{
    forward {OUTSIDE} to 10.77.1.10:{WEB}
    forward {OUTSIDE} to [2001:db8:77:1::10]:{WEB}
    forward {OUTSIDE + 2}/udp to 10.77.1.10:{WEB + 1}
    forward {OUTSIDE + 2}/udp to [2001:db8:77:1::10]:{WEB + 1}
}}
"""


def addresses(echo, port):
    return {peer for _, at, peer, _ in echo.heard if at == port}


@test("masquerade: TCP, UDP and ping get through, from the address of the leaving interface")
def _(world):
    world.firewall.apply(MASQUERADE)
    for family in (4, 6):
        world.echo.heard.clear()
        same(tcp(world.client, world.server.address[family], OUT), "open")
        same(udp(world.client, world.server.address[family], OUT), "open")
        same(ping(world.client, world.server.address[family]), "open")
        same(addresses(world.echo, OUT), {world.firewall.wan[family]})
        seen = [flow["translated"] for flow in world.firewall.flows()
                if flow["responder"]["address"] == world.server.address[family]]
        same(len(seen), 3)
        for translated in seen:
            same(translated["originator"]["address"], world.firewall.wan[family])
            same(translated["responder"]["address"], world.server.address[family])
    same(world.firewall.statistics()["nat-exhausted"], 0)


@test("a source keeps its port where it is free; two clients with the same one both get through")
def _(world):
    world.firewall.apply(MASQUERADE)
    for family, second in ((4, "10.77.1.11"), (6, "2001:db8:77:1::11")):
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        listener = world.server.socket(kind, socket.SOCK_STREAM)
        listener.bind((world.server.address[family], LISTENING))
        listener.listen(5)
        ports = []
        held = [listener]
        for source in (world.client.address[family], second):
            sock = world.client.socket(kind, socket.SOCK_STREAM)
            sock.bind((source, 41000))
            sock.connect((world.server.address[family], LISTENING))
            other, peer = listener.accept()
            ports.append(peer[1])
            same(peer[0], world.firewall.wan[family])
            held += [sock, other]
            sock.send(source.encode())
            same(other.recv(100), source.encode())
            other.send(b"back")
            same(sock.recv(100), b"back")
        same(ports[0], 41000)
        same(len(set(ports)), 2)
        for sock in held:
            sock.close()


@test("the host's own packets are translated by `self -> wan`, and come back")
def _(world):
    world.firewall.apply(HEAD + "nat self -> wan { source to 203.0.113.9 }\n")
    world.echo.heard.clear()
    same(tcp(world.firewall, world.server.address[4], OUT), "open")
    same(addresses(world.echo, OUT), {"203.0.113.9"})


@test("forward: outside clients reach the inner server, with their own address")
def _(world):
    world.firewall.apply(FORWARD)
    for family in (4, 6):
        world.inner.heard.clear()
        same(tcp(world.server, world.firewall.wan[family], OUTSIDE), "open")
        same(udp(world.server, world.firewall.wan[family], OUTSIDE), "open")
        same(addresses(world.inner, WEB), {world.server.address[family]})
        same(tcp(world.server, world.firewall.wan[family], WEB), "timeout")


@test("forward: what the policy of the real pair drops stays out")
def _(world):
    world.firewall.apply(FORWARD.replace(f"allow {WEB} to", f"drop {WEB} to"))
    same(tcp(world.server, world.firewall.wan[4], OUTSIDE), "timeout")
    same(tcp(world.server, world.firewall.wan[6], OUTSIDE), "timeout")


@test("hairpin: an inside client reaches the inner server by the outer address")
def _(world):
    world.firewall.apply(FORWARD)
    for family in (4, 6):
        world.inner.heard.clear()
        same(tcp(world.second, world.firewall.wan[family], OUTSIDE), "open")
        same(addresses(world.inner, WEB), {world.firewall.lan[family]})


@test("forward to a port of this host")
def _(world):
    world.firewall.apply(HEAD + """
policy wan -> self { allow 2222/tcp }
nat wan -> self { forward 22/tcp to 203.0.113.1:2222 }
""")
    Echo(world.firewall, 2222)
    same(tcp(world.server, "203.0.113.1", 22), "open")


@test("no port left: the new flow is dropped and counted, the others go on")
def _(world):
    world.firewall.apply(HEAD + "nat lan -> wan { source to 203.0.113.1:50000-50001 }\n")
    held = []
    for number in range(3):
        sock = world.client.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.bind(("10.77.1.10", 42000 + number))
        held.append(sock)
    for sock in held[:2]:
        sock.connect((world.server.address[4], OUT))
    same(tcp(world.client, world.server.address[4], OUT, source_port=42005), "timeout")
    if not world.firewall.statistics()["nat-exhausted"]:
        raise AssertionError("the dropped flow was not counted")
    for sock in held[:2]:
        sock.send(b"still here")
        same(sock.recv(100), b"still here")
    for sock in held:
        sock.close()


@test("translated flows live on over an apply, also one without any nat")
def _(world):
    world.firewall.apply(MASQUERADE)
    sock = world.client.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.connect((world.server.address[4], OUT))
    for text in (MASQUERADE + "# again\n", HEAD):
        world.firewall.apply(text)
        sock.send(b"after")
        same(sock.recv(100), b"after")
    sock.close()


@test("masquerade is refused where the kernel does not tell addresses, and nothing is changed")
def _(world):
    world.firewall.apply(HEAD)
    done = world.firewall.try_reeve("apply", world.firewall.policy(MASQUERADE),
                                    env=dict(os.environ, REEVE_WITHOUT="route-source"))
    same(done.returncode, 1)
    same("source to ADDRESS" in done.stderr and "nothing was changed" in done.stderr, True)
    world.firewall.apply(MASQUERADE)


@test("ICMP errors come back through the translation, in both directions")
def _(world):
    world.firewall.apply(FORWARD)
    for family in (4, 6):
        same(udp(world.client, world.server.address[family], CLOSED), "refused")
        same(udp(world.server, world.firewall.wan[family], OUTSIDE + 1), "timeout")
    world.firewall.apply(FORWARD.replace(f"to 10.77.1.10:{WEB}", f"to 10.77.1.10:{CLOSED}")
                         .replace(f"::10]:{WEB}", f"::10]:{CLOSED}")
                         .replace(f"allow {WEB}", f"allow {CLOSED}"))
    for family in (4, 6):
        same(udp(world.server, world.firewall.wan[family], OUTSIDE), "refused")


@test("a smaller MTU on the way is learnt through the translation, by either end")
def _(world):
    world.firewall.apply(MASQUERADE)
    for interface, upload in (("lan0", False), ("wan0", True)):
        world.firewall.ip(f"link set {interface} mtu 1300")
        try:
            for family in (4, 6):
                same(bulk(world, family, upload), BULK)
        finally:
            world.firewall.ip(f"link set {interface} mtu 1500")


@test("fragments are translated as their first one, both ways")
def _(world):
    world.firewall.apply(FORWARD)
    for family in (4, 6):
        for at, to, listens, port in (
                (world.client, world.server.address[family], world.server, LISTENING),
                (world.server, world.firewall.wan[family], world.client, WEB + 1)):
            kind = socket.AF_INET if family == 4 else socket.AF_INET6
            with listens.socket(kind, socket.SOCK_DGRAM) as heard, \
                    at.socket(kind, socket.SOCK_DGRAM) as sock:
                heard.bind((listens.address[family], port))
                sock.connect((to, port if listens is world.server else OUTSIDE + 2))
                sock.send(b"x" * 4000)
                data, peer = heard.recvfrom(9000)
                same(len(data), 4000)
                same(peer[0] in (world.firewall.wan[family], world.server.address[family]), True)
                heard.sendto(b"y" * 5000, peer)
                same(len(sock.recv(9000)), 5000)


@test("echo requests that a limit counts keep their one flow, and their identifier")
def _(world):
    world.firewall.apply(MASQUERADE.replace("policy lan -> wan default allow", """
policy lan -> wan default drop { allow icmp echo-request limit 1000/s burst 1000 }
"""))
    before = world.firewall.statistics()["flows-new"]
    world.client.run("ping", "-n", "-q", "-c", "5", "-i", "0.05", "-W", "1", world.server.address[4])
    same(world.firewall.statistics()["flows-new"] - before, 1)


@test("a flow whose route has changed to another zone begins anew, translated or not")
def _(world):
    head = HEAD + "zone backup = { backup0, backup1 }\npolicy lan -> backup default allow\n"
    target, home = world.server.address[4], "10.77.1.0/24"
    world.server.ip(f"route add {home} via {world.firewall.wan[4]}")
    world.firewall.ip("link add backup0 type veth peer name backup1", "link set backup0 up",
                      "link set backup1 up", "addr add 192.0.2.77/24 dev backup0",
                      "neigh add 192.0.2.78 lladdr 02:00:00:00:00:09 dev backup0")
    try:
        for nat in ("wan -> self { forward 2222/tcp to 10.77.1.10:22 }",
                    "lan -> { wan, backup } { masquerade }"):
            world.firewall.apply(head + f"nat {nat}\n")
            moved(world, target)
    finally:
        world.firewall.ip("link del backup0")
        world.server.ip(f"route del {home}")


def moved(world, target):
    """An answered flow, whose next packet leaves by another zone."""
    before = world.firewall.statistics()
    with world.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((target, OUT))
        for _ in range(3):
            sock.send(b"x")
            same(sock.recv(100), b"x")
        world.firewall.ip(f"route add {target}/32 via 192.0.2.78 dev backup0")
        try:
            sock.send(b"x")
            eventually(lambda: world.firewall.statistics()["flows-new"] -
                       before["flows-new"] == 2, "the flow begins anew")
        finally:
            world.firewall.ip(f"route del {target}/32")
    same(world.firewall.statistics()["nat-exhausted"], before["nat-exhausted"])


def bulk(world, family, upload):
    """Moves BULK bytes through a translated connection; how many arrived."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with world.server.socket(kind, socket.SOCK_STREAM) as listener, \
            world.client.socket(kind, socket.SOCK_STREAM) as sock:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((world.server.address[family], LISTENING))
        listener.listen(5)
        sock.connect((world.server.address[family], LISTENING))
        other, _ = listener.accept()
        with other:
            other.settimeout(3)
            sock.settimeout(3)
            sender, receiver = (sock, other) if upload else (other, sock)
            got = []
            reader = threading.Thread(target=receive, args=(receiver, got))
            reader.start()
            sender.sendall(b"z" * BULK)
            reader.join(5)
            return sum(got)


def receive(sock, got):
    with contextlib.suppress(OSError):
        while sum(got) < BULK:
            got.append(len(sock.recv(65536)))


def build(name):
    world = router_world(name)
    world.second = second = world.namespace("second")
    bridge_client(world, second)
    # Nobody outside knows the way to inner addresses.
    world.server.ip("route del default", "route del ::/0")
    world.client.ip("addr add 10.77.1.11/24 dev eth0", "addr add 2001:db8:77:1::11/64 dev eth0 nodad preferred_lft 0")
    world.firewall.ip("addr add 203.0.113.9/24 dev wan0")
    world.echo = Echo(world.server, OUT)
    world.inner = Echo(world.client, WEB)
    return world


def bridge_client(world, second):
    """A second inside host, behind the first one: routed, so that both share lan0."""
    world.link(world.client, "eth1", second, "eth0")
    world.client.forward()
    world.client.ip("addr add 10.77.2.1/24 dev eth1", "addr add 2001:db8:77:2::1/64 dev eth1 nodad")
    second.ip("addr add 10.77.2.2/24 dev eth0", "addr add 2001:db8:77:2::2/64 dev eth0 nodad",
              "route add default via 10.77.2.1", "route add ::/0 via 2001:db8:77:2::1")
    world.firewall.ip("route add 10.77.2.0/24 via 10.77.1.10",
                      "route add 2001:db8:77:2::/64 via 2001:db8:77:1::10")


main(lambda: build("nat"))
