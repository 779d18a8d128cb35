#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What keeps working under a closed policy, and what multicast and broadcast meet.

Neighbour discovery, router advertisements, MLD, IGMP and DHCP are let through by built-in rules,
which `options` can turn off.
"""

import os
import shutil
import socket
import struct
import time

from e2e import (SO_BINDTODEVICE, Echo, Skip, Sniffer, eventually, expect, holds, host_world, main,
                 ping, run, same, scapy_layers, send_frames, tcp, test, udp)

ALLOWED, DROPPED = 1001, 1002

CLOSED = "zone lan = eth0\npolicy lan -> self default drop\npolicy self -> any default drop\n"
GROUPS = CLOSED.replace("lan -> self default drop",
                        f"lan -> self default drop {{ allow {ALLOWED}/udp; drop {DROPPED} }}")


# --- neighbours ---------------------------------------------------------------------------------


def neighbour(at, address):
    """Is the link-layer address of this neighbour known?"""
    return "lladdr" in at.run("ip", "neigh", "show", address)


def forget_neighbours(world):
    for at in (world.host, world.peer):
        at.run("ip", "neigh", "flush", "all")


def find_each_other(world):
    """Each asks for the other, as the first packet to send makes it do."""
    forget_neighbours(world)
    ping(world.peer, world.host.address[6])
    from_peer = neighbour(world.peer, world.host.address[6])
    forget_neighbours(world)
    ping(world.host, world.peer.address[6])
    return from_peer, neighbour(world.host, world.peer.address[6])


@test("IPv6 neighbour discovery works under a closed policy, both ways, and echo does not")
def _(world):
    world.host.apply(CLOSED)
    same(find_each_other(world), (True, True))
    expect({f"{at} IPv{family}": ("timeout", ping, at, to.address[family])
            for at, to in ((world.peer, world.host), (world.host, world.peer))
            for family in (4, 6)})


@test("neighbour discovery of link-local addresses too, and probes of a neighbour's reachability")
def _(world):
    host, peer = world.host, world.peer
    local = run("ip", "-n", host.name, "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link")
    address = local.split()[3].split("/")[0]
    forget_neighbours(world)
    ping(peer, address + "%eth0")
    holds(neighbour(peer, address), f"{address} is not found")


@test("with `ipv6-nd off` neighbour discovery meets the policy, and fails under a closed one")
def _(world):
    world.host.apply(CLOSED + "options { ipv6-nd off }\n")
    same(find_each_other(world), (False, False))
    world.host.apply(CLOSED)
    same(find_each_other(world), (True, True))


def advertisement(world, hop_limit):
    scapy = scapy_layers()
    peer = world.peer
    source = run("ip", "-n", peer.name, "-6", "-o", "addr", "show", "dev", "eth0", "scope",
                 "link").split()[3].split("/")[0]
    prefix = f"2001:db8:{hop_limit:x}:7::"
    return prefix[:-1], (scapy.Ether(src=peer.mac("eth0"), dst="33:33:00:00:00:01")
                    / scapy.IPv6(src=source, dst="ff02::1", hlim=hop_limit)
                    / scapy.ICMPv6ND_RA(routerlifetime=0)
                    / scapy.ICMPv6NDOptPrefixInfo(prefix=prefix, prefixlen=64,
                                                  validlifetime=600, preferredlifetime=600))


@test("router advertisements reach the host, with hop limit 255 only")
def _(world):
    host = world.host
    host.apply(CLOSED)
    host.sysctl("net.ipv6.conf.eth0.accept_ra", 2)
    sniffed = host.statistics()["dropped"]
    prefix, frame = advertisement(world, 254)
    send_frames(world.peer, "eth0", [frame])
    time.sleep(0.2)
    holds(prefix not in host.run("ip", "-6", "addr"), "an advertisement from beyond the link")
    holds(host.statistics()["dropped"] > sniffed, "it was not the policy that dropped it")
    prefix, frame = advertisement(world, 255)
    send_frames(world.peer, "eth0", [frame])
    eventually(lambda: prefix in host.run("ip", "-6", "addr"), "an address of the prefix")
    host.sysctl("net.ipv6.conf.eth0.accept_ra", 0)


# --- membership ---------------------------------------------------------------------------------


def join(at, group):
    """A UDP socket of the namespace that is member of the group."""
    index = struct.pack("I", at.index("eth0"))
    if ":" in group:
        sock = at.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                        socket.inet_pton(socket.AF_INET6, group) + index)
    else:
        sock = at.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                        socket.inet_aton(group) + socket.inet_aton("0.0.0.0") + index)
    return sock


def reports(world, group):
    """Does the peer hear the host join the group?"""
    raw = socket.inet_pton(socket.AF_INET6 if ":" in group else socket.AF_INET, group)
    sniffer = Sniffer(world.peer, "eth0")
    sock = join(world.host, group)
    kinds = {143, 131} if ":" in group else {0x22, 0x16}
    found = sniffer.frames(patience=2, until=lambda frames: any(
        is_report(frame, kinds) and raw in frame for frame in frames))
    sniffer.close()
    sock.close()
    return any(is_report(frame, kinds) and raw in frame for frame in found)


def is_report(frame, kinds):
    if frame[12:14] == b"\x08\x00":
        return frame[23] == 2 and frame[14 + (frame[14] & 15) * 4] in kinds
    return frame[12:14] == b"\x86\xdd" and frame[20] == 0 and frame[54] == 58 and frame[62] in kinds


@test("the host says which groups it has joined: IGMP and MLD reports leave a closed host")
def _(world):
    world.host.apply(CLOSED)
    same({group: reports(world, group) for group in ("239.7.7.7", "ff05::7:7")},
         {"239.7.7.7": True, "ff05::7:7": True})
    world.host.apply(CLOSED + "options { multicast-membership off }\n")
    same({group: reports(world, group) for group in ("239.7.7.8", "ff05::7:8")},
         {"239.7.7.8": False, "ff05::7:8": False}, "with `multicast-membership off`")
    world.host.apply(CLOSED)


@test("a query for members is heard and answered")
def _(world):
    scapy = scapy_layers()
    host, peer = world.host, world.peer
    member = join(host, "ff05::7:9")
    sniffer = Sniffer(peer, "eth0")
    sniffer.frames(quiet=0.5, patience=2)  # what joining says of itself
    source = run("ip", "-n", peer.name, "-6", "-o", "addr", "show", "dev", "eth0", "scope",
                 "link").split()[3].split("/")[0]
    query = (scapy.Ether(src=peer.mac("eth0"), dst="33:33:00:00:00:01")
             / scapy.IPv6(src=source, dst="ff02::1", hlim=1)
             / scapy.IPv6ExtHdrHopByHop(options=[scapy.RouterAlert()])
             / scapy.ICMPv6MLQuery(mrd=100))
    send_frames(peer, "eth0", [query])
    raw = socket.inet_pton(socket.AF_INET6, "ff05::7:9")
    found = sniffer.frames(patience=2, until=lambda frames: any(
        is_report(frame, {143, 131}) and raw in frame for frame in frames))
    member.close()
    sniffer.close()
    holds(any(is_report(frame, {143, 131}) and raw in frame for frame in found), "no report")


# --- groups and broadcast -----------------------------------------------------------------------


def send_to_group(at, group, port):
    six = ":" in group
    with at.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, at.index("eth0"))
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                            socket.inet_aton("10.77.1.10"))
            sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0\0")
        sock.sendto(f"{group} {port}".encode(), (group, port))


@test("multicast and broadcast to the host meet `lan -> self`, whatever a default route says")
def _(world):
    host, peer = world.host, world.peer
    groups = ["239.1.1.1", "10.77.1.255", "255.255.255.255", "ff05::1:1", "ff02::1"]
    members = [join(host, group) for group in groups if group in ("239.1.1.1", "ff05::1:1")]
    peer.ip("route add default via 10.77.1.1", "route add ::/0 via 2001:db8:77:1::1")
    everything = sorted(f"{group} {port}".encode() for group in groups
                        for port in (ALLOWED, DROPPED, 1009))

    def heard():
        del world.echo.heard[:]
        for group in groups:
            for port in (ALLOWED, DROPPED, 1009):
                send_to_group(peer, group, port)
        time.sleep(0.4)
        return sorted(row[3] for row in world.echo.heard)

    host.reeve("down")
    same(heard(), everything, "without a policy")
    default = ["route add default via 10.77.1.10", "route add ::/0 via 2001:db8:77:1::10"]
    for routes in ([], default):
        host.ip(*routes)
        for forwarding in (0, 1):
            host.sysctl("net.ipv4.ip_forward", forwarding)
            host.sysctl("net.ipv6.conf.all.forwarding", forwarding)
            host.apply(GROUPS + "policy any -> any default allow\n")
            same(heard(), [row for row in everything if row.endswith(b"1001")],
                 f"default route: {bool(routes)}, forwarding: {forwarding}")
    for member in members:
        member.close()
    host.ip("route del default", "route del ::/0")
    peer.ip("route del default", "route del ::/0")
    host.sysctl("net.ipv4.ip_forward", 0)
    host.sysctl("net.ipv6.conf.all.forwarding", 0)


@test("the host's own multicast that comes back to it is left alone")
def _(world):
    host = world.host
    host.apply(GROUPS.replace("self -> any default drop", "self -> any default allow"))
    member = join(host, "239.1.1.1")
    before = host.statistics()["dropped"]
    del world.echo.heard[:]
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.77.1.1"))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        sock.sendto(b"own", ("239.1.1.1", DROPPED))
        time.sleep(0.3)
    member.close()
    same([row[3] for row in world.echo.heard], [b"own"])
    same(host.statistics()["dropped"], before, "dropped")


# --- DHCP ---------------------------------------------------------------------------------------


def dhcp_packet(kind, mac, transaction, message, address="0.0.0.0"):
    options = bytes([53, 1, message]) + (bytes([54, 4]) + socket.inet_aton("10.77.1.10")) + b"\xff"
    return (struct.pack("!BBBBIHH", kind, 1, 6, 0, transaction, 0, 0x8000) + b"\0" * 4
            + socket.inet_aton(address) + b"\0" * 8 + mac.ljust(16, b"\0") + b"\0" * 192
            + bytes([99, 130, 83, 99]) + options).ljust(300, b"\0")


def dhcp_socket(at, port):
    sock = at.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0\0")
    sock.bind(("0.0.0.0", port))
    sock.settimeout(1)
    return sock


def hears(sock, patience=0.4):
    sock.settimeout(patience)
    try:
        return sock.recv(2000)
    except socket.timeout:
        return None


@test("DHCP: no answer is let in that nobody asked for; what was asked for is")
def _(world):
    host, peer = world.host, world.peer
    host.reeve("down")  # forgets whether a client has sent
    host.apply(CLOSED)
    mac = bytes.fromhex(host.mac("eth0").replace(":", ""))
    with dhcp_socket(host, 68) as client, dhcp_socket(peer, 67) as server:
        offer = dhcp_packet(2, mac, 7, 2, "10.77.1.50")
        server.sendto(offer, ("255.255.255.255", 68))
        same(hears(client), None, "an offer nobody asked for")
        client.sendto(dhcp_packet(1, mac, 7, 1), ("255.255.255.255", 67))
        holds(hears(server), "the client's request did not leave the host")
        server.sendto(offer, ("255.255.255.255", 68))
        same(hears(client), offer, "the offer, to everyone")
        server.sendto(offer, ("10.77.1.1", 68))
        same(hears(client), offer, "the offer, to the host alone")
    expect({"nothing else": ("timeout", udp, peer, host.address[4], ALLOWED)})
    host.apply(CLOSED + "options { dhcp-client off }\n")
    with dhcp_socket(host, 68) as client, dhcp_socket(peer, 67) as server:
        client.sendto(dhcp_packet(1, mac, 8, 1), ("255.255.255.255", 67))
        same(hears(server), None, "a request with `dhcp-client off`")
    host.apply(CLOSED)


@test("DHCPv6: the same")
def _(world):
    host, peer = world.host, world.peer
    host.reeve("down")
    host.apply(CLOSED)

    def bound(at, port):
        sock = at.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0\0")
        sock.bind(("::", port))
        return sock

    index, group = host.index("eth0"), socket.inet_pton(socket.AF_INET6, "ff02::1:2")
    local = run("ip", "-n", host.name, "-6", "-o", "addr", "show", "dev", "eth0", "scope",
                "link").split()[3].split("/")[0]
    with bound(host, 546) as client, bound(peer, 547) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                          group + struct.pack("I", peer.index("eth0")))
        server.sendto(b"advertise", (local, 546, 0, peer.index("eth0")))
        same(hears(client), None, "an answer nobody asked for")
        client.sendto(b"solicit", ("ff02::1:2", 547, 0, index))
        same(hears(server), b"solicit", "what the client asks")
        server.sendto(b"advertise", (local, 546, 0, peer.index("eth0")))
        same(hears(client), b"advertise", "the answer")


@test("a real DHCP server answers a client through raw sockets, under a closed policy")
def _(world):
    host, peer = world.host, world.peer
    if not shutil.which("dnsmasq", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        raise Skip("dnsmasq is not installed")
    host.reeve("down")
    host.apply(CLOSED)
    server = peer.start(
        "dnsmasq", "--keep-in-foreground", "--port=0", "--conf-file=/dev/null", "--bind-interfaces",
        "--interface=eth0", "--dhcp-range=10.77.1.100,10.77.1.110,10m", "--user=root",
        "--no-ping", f"--dhcp-leasefile={world.folder}/leases", f"--pid-file={world.folder}/pid")
    scapy = scapy_layers()
    mac = bytes.fromhex(host.mac("eth0").replace(":", ""))

    def ask(number):
        sniffer = Sniffer(host, "eth0")
        send_frames(host, "eth0", [
            scapy.Ether(src=host.mac("eth0"), dst="ff:ff:ff:ff:ff:ff")
            / scapy.IP(src="0.0.0.0", dst="255.255.255.255") / scapy.UDP(sport=68, dport=67)
            / dhcp_packet(1, mac, number, 1).replace(bytes([54, 4]) + socket.inet_aton(
                "10.77.1.10"), b"")])
        # A client that listens through a packet socket hears what comes before the policy; what
        # counts here is that the policy let the request out and would not have held the answer.
        found = sniffer.frames(patience=1.5, until=lambda frames: any(
            b"\x63\x82\x53\x63\x35\x01\x02" in frame for frame in frames))
        sniffer.close()
        return any(b"\x63\x82\x53\x63\x35\x01\x02" in frame for frame in found)

    try:
        with dhcp_socket(host, 68) as client:
            eventually(lambda: ask(int(time.monotonic()) & 0xffff), "an offer on the wire", 8)
            holds(hears(client), "the offer was not let through to a socket")
    finally:
        world.end(server)


@test("the built-in rules are shown")
def _(world):
    said = world.host.reeve("show", "--builtin").lower()
    words = ("neighbour", "router-advertisement", "igmp", "68", "546")
    same({word: word in said for word in words}, {word: True for word in words})


@test("a closed policy is closed: TCP, UDP and ping, in and out, both families")
def _(world):
    world.host.apply(CLOSED)
    table = {}
    for at, to in ((world.peer, world.host), (world.host, world.peer)):
        for family in (4, 6):
            table[f"TCP {at} IPv{family}"] = ("timeout", tcp, at, to.address[family], ALLOWED)
            table[f"UDP {at} IPv{family}"] = ("timeout", udp, at, to.address[family], ALLOWED)
            table[f"ping {at} IPv{family}"] = ("timeout", ping, at, to.address[family])
    expect(table)


def make_world():
    world = host_world("closed")
    world.echo = Echo(world.host, ALLOWED, DROPPED, 1009)
    Echo(world.peer, ALLOWED)
    return world


main(make_world)
