#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The first apply takes over what lives: connections of this host, and forwarded ones that conntrack knows."""

import socket
import struct
import time

from e2e import (Echo, Skip, eventually, holds, main, router_world, run_nft, same, test)

SSH, OTHER = 22, 23
PUBLISHED, REDIRECTED = 2222, 2323
NETLINK_NETFILTER, NLMSG_ERROR = 12, 2
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


def lists_conntrack(world):
    """Does the kernel hand its entries out (nf_conntrack_netlink)?"""
    with world.firewall.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as sock:
        # nlmsghdr: a dump of ctnetlink's (1 << 8 | IPCTNL_MSG_CT_GET); nfgenmsg: any family
        sock.send(struct.pack("=IHHIIBBH", 20, 1 << 8 | 1, 0x301, 1, 0, 0, 0, 0))
        return struct.unpack_from("=H", sock.recv(65536), 4)[0] != NLMSG_ERROR


def translating(world):
    """Skips where the kernel has no conntrack, or does not list it; leaves a NAT table behind."""
    try:
        run_nft(world.firewall, "add table inet track\n"
                "add chain inet track p { type nat hook prerouting priority -100; }\n"
                "add chain inet track n { type nat hook postrouting priority 100; }\n")
    except (RuntimeError, AssertionError) as error:
        raise Skip(f"no conntrack here: {error}") from error
    if not lists_conntrack(world):
        run_nft(world.firewall, "delete table inet track")
        raise Skip("the kernel does not list its conntrack")


@test("connections to a published port live on: to another host behind it, and to another port here")
def _(world):
    world.firewall.reeve("down")
    translating(world)
    try:
        run_nft(world.firewall, "add rule inet track p meta nfproto ipv4 ip daddr "
                f"{world.firewall.lan[4]} tcp dport {PUBLISHED} dnat ip to "
                f"{world.server.address[4]}:{SSH}\n"
                f"add rule inet track p tcp dport {REDIRECTED} redirect to :{OTHER}\n")
        socks = {(port, family): connect(world.client, world.firewall.lan[family], port)
                 for port, family in ((PUBLISHED, 4), (REDIRECTED, 4), (REDIRECTED, 6))}
        said = first_apply(world, ZONES + f"""
policy lan -> self default drop {{ allow {PUBLISHED}/tcp; allow {REDIRECTED}/tcp }}
policy lan -> wan default drop {{ allow {SSH}/tcp }}
policy wan -> any default drop
""")
        holds(said["flows_seeded"] > 0, said)
        same({name: answer(sock) for name, sock in socks.items()}, dict.fromkeys(socks, True))
        for sock in socks.values():
            sock.close()
    finally:
        run_nft(world.firewall, "delete table inet track")


@test("connections over link-local addresses live on, on each interface")
def _(world):
    world.firewall.reeve("down")
    socks = {}
    for at, interface in ((world.client, "lan0"), (world.server, "wan0")):
        sock = at.socket(socket.AF_INET6, socket.SOCK_STREAM)
        sock.connect((world.firewall.link_local(interface), SSH, 0, at.index("eth0")))
        same(answer(sock), True, "before")
        socks[interface] = sock
    first_apply(world, ZONES + f"policy any -> self default drop {{ allow {SSH}/tcp }}\n")
    same({name: answer(sock) for name, sock in socks.items()}, dict.fromkeys(socks, True))
    for sock in socks.values():
        sock.close()


@test("where the source address chooses the way, that is the way a connection is looked for")
def _(world):
    """The server reaches the firewall's wan address from an address that is routed by lan0 elsewhere."""
    world.firewall.reeve("down")
    far = "198.51.100.9"
    world.server.ip(f"addr add {far}/32 dev eth0")
    world.firewall.ip(f"route add {far} via {world.client.address[4]}",
                      f"route add {far} via {world.server.address[4]} table 77",
                      f"rule add from {world.firewall.wan[4]} table 77")
    try:
        sock = world.server.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.bind((far, 0))
        sock.connect((world.firewall.wan[4], SSH))
        same(answer(sock), True, "before")
        first_apply(world, ZONES + f"policy wan -> self default drop {{ allow {SSH}/tcp }}\n"
                    "policy lan -> self default drop\n")
        same({(flow["originator"]["zone"], flow["responder"]["zone"])
              for flow in world.firewall.flows(f"{SSH}/tcp", "from", far)}, {("wan", "self")})
        same(answer(sock), True)
        sock.close()
    finally:
        world.firewall.ip(f"rule del from {world.firewall.wan[4]} table 77",
                          f"route del {far} via {world.server.address[4]} table 77",
                          f"route del {far} via {world.client.address[4]}")
        world.server.ip(f"addr del {far}/32 dev eth0")


def make_world():
    world = router_world("seed")
    for at in (world.server, world.firewall):
        Echo(at, SSH, OTHER)
    return world


main(make_world)
