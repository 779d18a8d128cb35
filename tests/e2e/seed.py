#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The first apply takes over what lives: connections of this host, and forwarded ones that conntrack knows."""

import socket
import time

from e2e import Echo, Skip, eventually, holds, main, router_world, run_nft, same, test

SSH, OTHER = 22, 23
MID_STREAM = "options { tcp-pickup off }\n"  # without being taken over nothing lives on
ZONES = "zone lan = lan0\nzone wan = wan0\n" + MID_STREAM


def connect(at, address, port, kind=socket.SOCK_STREAM):
    sock = at.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    sock.connect((address, port))
    same(answer(sock), True, f"{address} {port} answers before any policy")
    return sock


def answer(sock, patience=1.5):
    sock.settimeout(patience)
    try:
        sock.send(b"hello")
        return sock.recv(100) == b"hello"
    except OSError:
        return False


def first_apply(world, text):
    world.firewall.reeve("down")
    return world.firewall.reeve_json("apply", world.firewall.policy(text))


@test("connections to this host and from it live on, in both families")
def _(world):
    world.firewall.reeve("down")
    socks = {}
    for family in (4, 6):
        socks[f"to, IPv{family}"] = connect(world.client, world.firewall.lan[family], SSH)
        socks[f"from, IPv{family}"] = connect(world.firewall, world.server.address[family], SSH)
    said = first_apply(world, ZONES + f"policy lan -> self default drop {{ allow {SSH}/tcp }}\n"
                       "policy wan -> self default drop\n"
                       f"policy self -> any default drop {{ allow {SSH}/tcp }}\n")
    holds(said["flows_seeded"] >= 4, said)
    same({name: answer(sock) for name, sock in socks.items()}, dict.fromkeys(socks, True))
    flows = world.firewall.flows(f"{SSH}/tcp")
    same({(flow["originator"]["zone"], flow["responder"]["zone"]) for flow in flows},
         {("lan", "self"), ("self", "wan")})
    again = world.firewall.reeve_json("apply", world.firewall.policy(
        ZONES + f"policy lan -> self default drop {{ allow {SSH}/tcp }}\n"
        f"policy self -> any default drop {{ allow {SSH}/tcp }}\n"))
    same(again["flows_seeded"], 0, "only at the first apply")
    same({name: answer(sock) for name, sock in socks.items()}, dict.fromkeys(socks, True))
    for sock in socks.values():
        sock.close()


@test("a connection that the first policy would not let begin is cut")
def _(world):
    world.firewall.reeve("down")
    allowed = connect(world.client, world.firewall.lan[4], SSH)
    other = connect(world.client, world.firewall.lan[4], OTHER)
    first_apply(world, ZONES + f"policy lan -> self default drop {{ allow {SSH}/tcp state new }}\n")
    same((answer(allowed), answer(other, 0.7)), (True, False))
    eventually(lambda: world.firewall.statistics()["flows-cut"] >= 1, "it is counted")
    allowed.close()
    other.close()


@test("a connected UDP socket of this host goes on to be answered")
def _(world):
    world.firewall.reeve("down")
    socks = [connect(world.firewall, world.server.address[family], OTHER, socket.SOCK_DGRAM)
             for family in (4, 6)]
    first_apply(world, ZONES + "policy wan -> self default drop\npolicy self -> any default allow\n")
    flows = {flow["family"] for flow in world.firewall.flows(f"{OTHER}/udp")}
    same(flows, {4, 6})
    same([answer(sock) for sock in socks], [True, True])
    for sock in socks:
        sock.close()


@test("forwarded connections that conntrack knows live on, also translated ones")
def _(world):
    world.firewall.reeve("down")
    try:
        run_nft(world.firewall, "add table inet track\n"
                "add chain inet track f { type filter hook forward priority 0; }\n"
                "add rule inet track f ct state invalid counter\n"
                "add chain inet track n { type nat hook postrouting priority 100; }\n"
                'add rule inet track n meta nfproto ipv4 oifname "wan0" masquerade\n')
    except (RuntimeError, AssertionError) as error:
        raise Skip(f"no conntrack here: {error}") from error
    socks = {family: connect(world.client, world.server.address[family], SSH)
             for family in (4, 6)}
    time.sleep(0.1)
    said = first_apply(world, ZONES + f"policy lan -> wan default drop {{ allow {SSH}/tcp }}\n"
                       "policy wan -> lan default drop\n")
    if not said["flows_seeded"]:
        run_nft(world.firewall, "delete table inet track")
        raise Skip("the kernel does not list its conntrack")
    same({family: answer(sock) for family, sock in socks.items()}, {4: True, 6: True})
    same({(flow["originator"]["zone"], flow["responder"]["zone"])
          for flow in world.firewall.flows(f"{SSH}/tcp")}, {("lan", "wan")})
    for sock in socks.values():
        sock.close()
    run_nft(world.firewall, "delete table inet track")


def make_world():
    world = router_world("seed")
    for at in (world.server, world.firewall):
        Echo(at, SSH, OTHER)
    return world


main(make_world)
