#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""examples/docker.reeve on a host with a bridge docker0, a container, and rules like Docker's."""

import os

from e2e import (TOP, Echo, eventually, expect, holds, host_world, main, ping, same, tcp, test,
                 udp)

PUBLISHED, INSIDE = 8080, 80      # allowed by the example in both places
ALSO_PUBLISHED, ALSO_INSIDE = 9090, 5432  # published by Docker, and not by the policy
OUTSIDE, HOST = 1001, 5000        # services of the outside, and of the host

CONTAINER, GATEWAY = "172.17.0.2", "172.17.0.1"

with open(os.path.join(TOP, "examples", "docker.reeve"), encoding="utf-8") as example:
    EXAMPLE = example.read()

# What Docker (with its iptables) does about one container with two published ports.
DOCKER = f"""
table ip docker {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        fib daddr type local jump published
    }}
    chain output {{
        type nat hook output priority -100;
        ip daddr != 127.0.0.0/8 fib daddr type local jump published
    }}
    chain published {{
        iifname != "docker0" tcp dport {PUBLISHED} dnat to {CONTAINER}:{INSIDE}
        iifname != "docker0" tcp dport {ALSO_PUBLISHED} dnat to {CONTAINER}:{ALSO_INSIDE}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
    }}
}}
"""


def without(line):
    """The example without the line that begins so."""
    kept = [row for row in EXAMPLE.splitlines() if not row.strip().startswith(line)]
    holds(len(kept) == len(EXAMPLE.splitlines()) - 1, f"`{line}` is not one line of the example")
    return "\n".join(kept) + "\n"


@test("without reeve Docker publishes both ports to the world")
def _(world):
    expect({f"port {port}": ("open", tcp, world.peer, world.host.address[4], port)
            for port in (PUBLISHED, ALSO_PUBLISHED)})


@test("a published port is closed until it is allowed in both places")
def _(world):
    host, peer = world.host, world.peer
    ways = {f"port {port}": (tcp, peer, host.address[4], port)
            for port in (PUBLISHED, ALSO_PUBLISHED)}
    for title, text in (("neither", without(f"allow {PUBLISHED}/tcp").replace(
                            f"    allow {INSIDE}/tcp", "    allow 65000/tcp")),
                        ("wan -> self alone", without(f"allow {INSIDE}/tcp")),
                        ("wan -> docker alone", without(f"allow {PUBLISHED}/tcp"))):
        host.apply(text)
        expect({f"{title}: {name}": ("timeout", *way) for name, way in ways.items()})
    host.apply(EXAMPLE)
    for _ in range(3):  # the first time, and when it is known
        expect({"as the example says": ("open", tcp, peer, host.address[4], PUBLISHED),
                "published by Docker alone": ("timeout", tcp, peer, host.address[4],
                                              ALSO_PUBLISHED)})
    same(host.statistics()["guard-forward"], 0, "what the guard met of it")


@test("the container reaches the world and is answered; the outside begins nothing")
def _(world):
    host, peer, container = world.host, world.peer, world.container
    host.apply(EXAMPLE)
    peer.ip("route add 172.17.0.0/16 via 10.77.1.1")
    try:
        for _ in range(2):
            expect({"TCP out": ("open", tcp, container, peer.address[4], OUTSIDE),
                    "UDP out": ("open", udp, container, peer.address[4], OUTSIDE),
                    "ping out": ("open", ping, container, peer.address[4]),
                    "in, past Docker's rules": ("timeout", tcp, peer, CONTAINER, ALSO_INSIDE),
                    "UDP in": ("timeout", udp, peer, CONTAINER, INSIDE)})
    finally:
        peer.ip("route del 172.17.0.0/16")


@test("the container does not reach the host's services; the host reaches the container's")
def _(world):
    host, container = world.host, world.container
    host.apply(EXAMPLE)
    expect({"by the bridge's address": ("timeout", tcp, container, GATEWAY, HOST),
            "by the outer address": ("timeout", tcp, container, host.address[4], HOST),
            "ping": ("open", ping, container, GATEWAY),
            "host to container": ("open", tcp, host, CONTAINER, INSIDE),
            "host to its own published port": ("open", tcp, host, host.address[4], PUBLISHED),
            "the host's service from outside": ("timeout", tcp, world.peer, host.address[4],
                                                HOST)})


@test("a container that comes later is served without `reeve sync`; a network that comes needs it")
def _(world):
    host, peer = world.host, world.peer
    host.apply(EXAMPLE)
    late = world.namespace("late")
    world.link(host, "veth2", late, "eth0")
    late.ip("addr add 172.17.0.3/16 dev eth0", "route add default via 172.17.0.1")
    host.ip("link set veth2 master docker0")
    expect({"out of docker0": ("open", tcp, late, peer.address[4], OUTSIDE)})
    network = world.namespace("network")
    host.ip("link add br-0123456789ab type bridge forward_delay 0",
            "addr add 172.18.0.1/16 dev br-0123456789ab", "link set br-0123456789ab up")
    world.link(host, "veth3", network, "eth0")
    network.ip("addr add 172.18.0.2/16 dev eth0", "route add default via 172.18.0.1")
    host.ip("link set veth3 master br-0123456789ab")
    peer.ip("route add 172.18.0.0/16 via 10.77.1.1")
    same(tcp(network, peer.address[4], OUTSIDE), "timeout")
    host.reeve("sync")
    eventually(lambda: tcp(network, peer.address[4], OUTSIDE) == "open", "the network goes out")
    Echo(network, INSIDE)
    same(tcp(late, "172.18.0.2", INSIDE), "timeout", "from one network to another")


def make_world():
    world = host_world("docker")
    host = world.host
    world.container = container = world.namespace("container")
    host.forward()
    host.ip("link add docker0 type bridge forward_delay 0", f"addr add {GATEWAY}/16 dev docker0",
            "link set docker0 up")
    world.link(host, "veth1", container, "eth0")
    host.ip("link set veth1 master docker0")
    container.ip(f"addr add {CONTAINER}/16 dev eth0", f"route add default via {GATEWAY}")
    host.nft(DOCKER)
    Echo(container, INSIDE, ALSO_INSIDE)
    Echo(world.peer, OUTSIDE)
    Echo(host, HOST)
    eventually(lambda: tcp(container, world.peer.address[4], OUTSIDE) == "open",
               "the container reaches the outside without reeve", 8)
    return world


main(make_world)
