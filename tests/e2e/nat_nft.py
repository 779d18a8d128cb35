#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The same conversations through the kernel's translation and through reeve's: what both ends see
is the same, or the difference is listed here with its reason.

Hosts write checksums themselves, so that the other end looks whether they are still right.
"""

import contextlib
import itertools
import socket
import struct
import time

from e2e import holds, main, ping, same, test, together, word_for
from nat_lab import nat_world, need

WEB, OUT, CLOSED, LOCAL, RANGE, INNER_RANGE = 80, 1001, 1003, 2200, 9000, 19000
ICMP_ERRORS = {4: (3, 11, 12), 6: (1, 2, 3, 4)}
PATIENCE = 1.0

# Outer addresses of the router besides its own, and what they are for.
SECOND = {4: "10.77.1.11", 6: "fd00:77:1::11"}
POOLED = {4: "203.0.113.9", 6: "2001:db8:203::9"}
WHOLE = {4: "203.0.113.7", 6: "2001:db8:203::7"}
DEAD = {4: "10.77.1.99", 6: "fd00:77:1::99"}
INNER = {4: "10.77.1.20", 6: "fd00:77:1::20"}
WAN = {4: "203.0.113.1", 6: "2001:db8:203::1"}
PREFIXED = {4: "10.88.7.5", 6: "fd00:88:7:3::5"}
PREFIXES = {4: ("10.88.7.0/24", "203.0.114.0/24"), 6: ("fd00:88:7::/48", "2001:db8:99::/48")}


def both(text):
    """Lines for each family: {wan}, {inner} and so on are addresses; [inner] is one before a port."""
    lines = []
    for family, name in ((4, "ip"), (6, "ip6")):
        words = {"wan": WAN, "inner": INNER, "second": SECOND, "pooled": POOLED, "whole": WHOLE,
                 "dead": DEAD}
        for word, address in words.items():
            words[word] = address[family]
        for word in ("wan", "inner", "dead"):
            words[f"_{word}"] = words[word] if family == 4 else f"[{words[word]}]"
        words["from"], words["into"] = PREFIXES[family]
        lines.append(text.format(ip=name, **words))
    return "".join(lines)


NFT = f"""
table inet judge {{
  chain pre {{
    type nat hook prerouting priority dstnat; policy accept;
{both(f'''
    {{ip}} daddr {{wan}} tcp dport 8080 dnat {{ip}} to {{_inner}}:{WEB}
    {{ip}} daddr {{wan}} udp dport 8080 dnat {{ip}} to {{_inner}}:{WEB}
    {{ip}} daddr {{wan}} udp dport 8081 dnat {{ip}} to {{_inner}}:{CLOSED}
    {{ip}} daddr {{wan}} udp dport 8082 dnat {{ip}} to {{_dead}}:{WEB}
    {{ip}} daddr {{wan}} tcp dport 2222 dnat {{ip}} to {{_wan}}:{LOCAL}
    {{ip}} daddr {{whole}} dnat {{ip}} to {{inner}}
''')}
{"".join(both(f'''
    {{ip}} daddr {{wan}} udp dport {RANGE + n} dnat {{ip}} to {{_inner}}:{INNER_RANGE + n}''')
         for n in range(5))}
  }}
  chain post {{
    type nat hook postrouting priority srcnat; policy accept;
    iifname "lan0" oifname "lan0" ct status dnat masquerade
{both('''
    iifname "lan0" oifname "wan0" {ip} saddr {second} snat {ip} to {pooled}
    iifname "lan0" oifname "wan0" snat {ip} prefix to {ip} saddr map {{ {from} : {into} }}
''')}
    iifname "lan0" oifname "wan0" masquerade
  }}
}}
"""
REEVE = f"""
zone wan = wan0
zone lan = lan0
policy any -> any default allow
policy any -> self default allow
policy self -> any default allow
nat lan -> wan {{
{both('''
    source from {second} to {pooled}
    source from {from} to {into}
''')}
    masquerade
}}
nat {{ wan, lan }} -> self {{
{both(f'''
    forward 8080/tcp to {{wan}} to {{_inner}}:{WEB}
    forward 8080/udp to {{wan}} to {{_inner}}:{WEB}
    forward 8081/udp to {{wan}} to {{_inner}}:{CLOSED}
    forward 8082/udp to {{wan}} to {{_dead}}:{WEB}
    forward 2222/tcp to {{wan}} to {{_wan}}:{LOCAL}
    forward {RANGE}-{RANGE + 4}/udp to {{wan}} to {{_inner}}:{INNER_RANGE}-{INNER_RANGE + 4}
    forward to {{whole}} to {{inner}}
''')}
}}
"""

NPT = "IPv6 prefixes are exchanged so that checksums stay (RFC 6296): a word of the host bits changes"
AMID = "what allows TCP allows a connection to begin; conntrack takes up one in its middle"
QUERY = "of ICMP only echo has flows, and what has no flow is not translated: it leaves as it came"


def prefixed(address):
    return [(address, ("2001:db8:51::80", OUT), True, True)] * 2


# conversation: (through the kernel's, through reeve's, reason)
DIFFERENT = {
    "prefix to prefix: TCP and UDP, IPv6":
        (prefixed("2001:db8:99:3::5"), prefixed("2001:db8:99:cf40::5"), NPT),
    "a segment amid a connection that nobody knows, IPv4": (WAN[4], "dropped", AMID),
    "a segment amid a connection that nobody knows, IPv6": (WAN[6], "dropped", AMID),
    "masquerade: an ICMP timestamp request, IPv4": (WAN[4], "10.77.1.10", QUERY),
}

ports = itertools.count(40000)
conversations = []


def conversation(title, families=(4, 6)):
    def register(function):
        conversations.extend((f"{title}, IPv{family}", function, family) for family in families)
        return function
    return register


# --- sockets of both ends -------------------------------------------------------------------------


def inet(family):
    return socket.AF_INET if family == 4 else socket.AF_INET6


def raw(at, family, protocol, source=None, hops=None):
    sock = at.socket(inet(family), socket.SOCK_RAW, protocol)
    if source:
        sock.bind((source, 0))
    if hops:
        level, option = ((socket.IPPROTO_IP, socket.IP_TTL) if family == 4 else
                         (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS))
        sock.setsockopt(level, option, hops)
    sock.settimeout(PATIENCE)
    return sock


def payload(family, packet):
    """Of what a raw socket has received: IPv4 tells its header too."""
    return packet[(packet[0] & 15) * 4:] if family == 4 else packet


def receive(sock, family, wanted, patience=PATIENCE):
    """(payload, who), of the first packet that is wanted; None after a while."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(socket.timeout, BlockingIOError):
            sock.settimeout(max(deadline - time.monotonic(), 0.01))
            packet, peer = sock.recvfrom(65536)
            if wanted(payload(family, packet)):
                return payload(family, packet), peer[0]
    return None


def quoted(family, sock, patience):
    """The ICMP error that comes, as (who, type, code, mtu or 0, the tuple it quotes)."""
    found = receive(sock, family, lambda data: data[0] in ICMP_ERRORS[family], patience)
    if not found:
        return "no error"
    data, who = found
    inner = data[8:]
    size, at, header = (4, 12, (inner[0] & 15) * 4) if family == 4 else (16, 8, 40)
    source, target = (socket.inet_ntop(inet(family), inner[at + size * n:at + size * (n + 1)])
                      for n in (0, 1))
    too_big = (3, 4) if family == 4 else (2, 0)
    mtu = struct.unpack_from("!I", data, 4)[0] if (data[0], data[1]) == too_big else 0
    return who, data[0], data[1], mtu, source, target, inner[header:header + 4]


def answered(at, other, kind, to, port, there, source=None, more=None):
    """A datagram or a connection: who the other end sees, at which port, and who answers."""
    family = 6 if ":" in to else 4
    with other.socket(inet(family), kind) as far, at.socket(inet(family), kind) as near:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        far.bind(("::" if family == 6 else "0.0.0.0", there))
        if source:
            near.bind((source, 0))
        for option in more or ():
            near.setsockopt(*option)
        try:
            if kind == socket.SOCK_DGRAM:
                near.sendto(b"there" * 300, (to, port))
                data, peer = far.recvfrom(4000)
                far.sendto(b"back" * 300, peer)
                back, answerer = near.recvfrom(4000)
            else:
                far.listen(1)
                near.connect((to, port))
                far, peer = far.accept()
                near.sendall(b"there" * 300)
                data = far.recv(1500, socket.MSG_WAITALL)
                far.sendall(b"back" * 300)
                back, answerer = near.recv(1200, socket.MSG_WAITALL), near.getpeername()
                far.close()
        except OSError as error:
            return word_for(error)
    return (peer[0], answerer[:2], data == b"there" * 300, back == b"back" * 300)


def payloads(at, other, family, protocol, to, there, back, source=None):
    """A packet of some protocol and its answer: who is seen, who answers, and that both are intact."""
    with raw(other, family, protocol, other.address[family]) as far, \
            raw(at, family, protocol, source) as near:
        near.sendto(there, (to, 0))
        found = receive(far, family, lambda data: data[:len(there)] == there)
        if not found:
            return "nothing arrives"
        far.sendto(back, (found[1], 0))
        answer = receive(near, family, lambda data: data[:len(back)] == back)
        return found[1], answer[1] if answer else "no answer"


# --- conversations --------------------------------------------------------------------------------


@conversation("masquerade: TCP")
def _(world, family):
    return answered(world.client, world.server, socket.SOCK_STREAM, world.server.address[family],
                    OUT, OUT)


@conversation("masquerade: UDP")
def _(world, family):
    return answered(world.client, world.server, socket.SOCK_DGRAM, world.server.address[family],
                    OUT, OUT)


@conversation("masquerade: UDP in fragments")
def _(world, family):
    with world.server.socket(inet(family), socket.SOCK_DGRAM) as far, \
            world.client.socket(inet(family), socket.SOCK_DGRAM) as near:
        far.bind((world.server.address[family], OUT))
        near.sendto(b"x" * 4000, (world.server.address[family], OUT))
        data, peer = far.recvfrom(9000)
        far.sendto(b"y" * 5000, peer)
        return peer[0], len(data), len(near.recv(9000))


@conversation("masquerade: UDP without a checksum", (4,))
def _(world, family):
    return answered(world.client, world.server, socket.SOCK_DGRAM, world.server.address[family],
                    OUT, OUT, more=((socket.SOL_SOCKET, 11, 1),))  # SO_NO_CHECK


@conversation("source to an address: TCP and UDP")
def _(world, family):
    return [answered(world.client, world.server, kind, world.server.address[family], OUT, OUT,
                     SECOND[family]) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]


@conversation("prefix to prefix: TCP and UDP")
def _(world, family):
    return [answered(world.client, world.server, kind, world.server.address[family], OUT, OUT,
                     PREFIXED[family]) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]


@conversation("forward: TCP and UDP to another port")
def _(world, family):
    return [answered(world.server, world.inner, kind, WAN[family], 8080, WEB)
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]


@conversation("forward of a range of ports")
def _(world, family):
    return [answered(world.server, world.inner, socket.SOCK_DGRAM, WAN[family], RANGE + n,
                     INNER_RANGE + n) for n in (0, 2, 4)]


@conversation("forward of all of an address: TCP, UDP")
def _(world, family):
    return [answered(world.server, world.inner, kind, WHOLE[family], 1234, 1234)
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]


@conversation("hairpin: TCP and UDP")
def _(world, family):
    return [answered(world.client, world.inner, kind, WAN[family], 8080, WEB)
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]


@conversation("forward to a port of the router")
def _(world, family):
    return answered(world.server, world.firewall, socket.SOCK_STREAM, WAN[family], 2222, LOCAL)


@conversation("the router's own connection")
def _(world, family):
    return answered(world.firewall, world.server, socket.SOCK_STREAM, world.server.address[family],
                    OUT, OUT)


@conversation("pings: masqueraded, of an address that is forwarded, of the router")
def _(world, family):
    return [ping(world.client, world.server.address[family]), ping(world.server, WHOLE[family]),
            ping(world.server, WAN[family]), ping(world.client, WAN[family])]


@conversation("two clients with one port")
def _(world, family):
    with world.server.socket(inet(family), socket.SOCK_DGRAM) as far, \
            world.client.socket(inet(family), socket.SOCK_DGRAM) as one, \
            world.inner.socket(inet(family), socket.SOCK_DGRAM) as other:
        far.bind((world.server.address[family], OUT))
        port, seen = next(ports), []
        for near, at in ((one, world.client), (other, world.inner)):
            near.bind((at.address[family], port))
            near.sendto(at.role.encode(), (world.server.address[family], OUT))
            data, peer = far.recvfrom(100)
            far.sendto(data, peer)
            seen.append((peer[0], near.recv(100), peer[1]))
        return [row[:2] for row in seen], seen[0][2] == port, seen[0][2] != seen[1][2]


@conversation("somebody else sends to the outer end of a UDP flow")
def _(world, family):
    with world.server.socket(inet(family), socket.SOCK_DGRAM) as far, \
            world.hop.socket(inet(family), socket.SOCK_DGRAM) as stranger, \
            world.client.socket(inet(family), socket.SOCK_DGRAM) as near:
        far.bind((world.server.address[family], OUT))
        near.sendto(b"x", (world.server.address[family], OUT))
        _, peer = far.recvfrom(100)
        stranger.sendto(b"y", peer[:2])
        near.settimeout(0.3)
        try:
            return near.recv(100)
        except OSError as error:
            return word_for(error)


# --- other protocols ---


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def sctp(source, target, tag, kind, mine):
    """INIT (1) or INIT ACK (2)."""
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20, mine, 65536, 1, 1, mine)
    chunk += struct.pack("!HHI", 7, 8, 0x1234) if kind == 2 else b""
    chunk = chunk[:2] + struct.pack("!H", len(chunk)) + chunk[4:]
    head = struct.pack("!HHI", source, target, tag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def others(port):
    """{name: (protocol, packet, answer)}"""
    return {"SCTP": (132, sctp(port, 7, 0, 1, 99), sctp(7, port, 99, 2, 77)),
            "GRE": (47, struct.pack("!HH", 0, 0x6558) + b"there", struct.pack("!HH", 0, 0x6558) + b"back"),
            "ESP": (50, struct.pack("!II", 0x1000 + port, 1) + b"there" * 5,
                    struct.pack("!II", 0x2000 + port, 1) + b"back" * 5),
            "a protocol without a name": (253, b"there" * 5, b"back" * 5)}


@conversation("masquerade: SCTP, GRE, ESP, another protocol: by address, nothing else is touched")
def _(world, family):
    return {name: payloads(world.client, world.server, family, protocol,
                           world.server.address[family], there, back)
            for name, (protocol, there, back) in others(next(ports)).items()}


@conversation("forward of all of an address: SCTP, GRE, ESP, another protocol")
def _(world, family):
    return {name: payloads(world.server, world.inner, family, protocol, WHOLE[family], there, back)
            for name, (protocol, there, back) in others(next(ports)).items()}


def icmp(kind, code, rest):
    data = struct.pack("!BBH", kind, code, 0) + rest
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return data[:2] + struct.pack("!H", ~total & 0xffff) + data[4:]


@conversation("masquerade: an ICMP timestamp request", (4,))
def _(world, family):
    with raw(world.server, family, 1) as far, raw(world.client, family, 1) as near:
        near.sendto(icmp(13, 0, struct.pack("!HHIII", next(ports), 1, 5, 0, 0)),
                    (world.server.address[family], 0))
        found = receive(far, family, lambda data: data[0] == 13)
        return found[1] if found else "nothing arrives"


@conversation("a segment amid a connection that nobody knows")
def _(world, family):
    with raw(world.server, family, 6) as far, raw(world.client, family, 6, world.client.address[family]) as near:
        port = next(ports)
        segment = struct.pack("!HHIIBBHHH", port, 999, 5, 6, 0x50, 0x10, 1000, 0, 0)
        pseudo = socket.inet_pton(inet(family), world.client.address[family]) + socket.inet_pton(
            inet(family), world.server.address[family]) + struct.pack("!II", len(segment), 6) + segment
        total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
        total = (total & 0xffff) + (total >> 16)
        segment = segment[:16] + struct.pack("!H", ~total & 0xffff) + segment[18:]
        near.sendto(segment, (world.server.address[family], 0))
        found = receive(far, family, lambda data: data[2:4] == segment[2:4])
        return found[1] if found else "dropped"


# --- ICMP errors ---


def error_of(world, at, family, to, port, hops=None, size=10, twice=False, patience=PATIENCE):
    """The error that a UDP datagram brings, without the port of its sender."""
    del world
    with raw(at, family, 1 if family == 4 else 58) as listener, \
            at.socket(inet(family), socket.SOCK_DGRAM) as sock:
        sock.bind((at.address[family], next(ports)))
        level, ttl, discover = ((socket.IPPROTO_IP, socket.IP_TTL, 10) if family == 4 else
                                (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 23))
        sock.setsockopt(level, discover, 3)  # IP_PMTUDISC_PROBE
        if twice:
            sock.sendto(b"first", (to, port))
            time.sleep(0.1)
        if hops:
            sock.setsockopt(level, ttl, hops)
        sock.sendto(b"x" * size, (to, port))
        found = quoted(family, listener, patience)
        if isinstance(found, str):
            return found
        own = struct.pack("!H", sock.getsockname()[1])
        return found[:6] + (found[6][:2] == own, struct.unpack("!H", found[6][2:])[0])


@conversation("error: a closed port outside, to a masqueraded sender")
def _(world, family):
    return error_of(world, world.client, family, world.server.address[family], CLOSED)


@conversation("error: a closed port inside, to the sender of what is forwarded")
def _(world, family):
    return error_of(world, world.server, family, WAN[family], 8081)


@conversation("error: a closed port inside, by hairpin")
def _(world, family):
    return error_of(world, world.client, family, WAN[family], 8081)


@conversation("error: time exceeded at the router, and behind it, to a masqueraded sender")
def _(world, family):
    return [error_of(world, world.client, family, world.server.address[family], OUT, hops)
            for hops in (1, 2)]


@conversation("error: time exceeded at the router, for what it forwards, first packet")
def _(world, family):
    return error_of(world, world.server, family, WAN[family], 8080, 2)


@conversation("error: time exceeded at the router, for what it forwards, later packet")
def _(world, family):
    return error_of(world, world.server, family, WAN[family], 8080, 2, twice=True)


@conversation("error: too big outside, for a masqueraded sender")
def _(world, family):
    with narrow(world.hop, world.server.address[family], "far"):
        return error_of(world, world.client, family, world.server.address[family], OUT, size=1400)


@conversation("error: too big inside, for what is forwarded, first packet")
def _(world, family):
    with narrow(world.firewall, INNER[family], "lan0"):
        return error_of(world, world.server, family, WAN[family], 8080, size=1400)


@conversation("error: too big inside, for what is forwarded, later packet")
def _(world, family):
    with narrow(world.firewall, INNER[family], "lan0"):
        return error_of(world, world.server, family, WAN[family], 8080, size=1400, twice=True)


@contextlib.contextmanager
def narrow(at, address, interface):
    route = f"{address}/{128 if ':' in address else 32} dev {interface}"
    at.ip(f"route add {route} mtu 1300")
    try:
        yield
    finally:
        at.ip(f"route del {route}")


@conversation("error: nobody has the inner address")
def _(world, family):
    return error_of(world, world.server, family, WAN[family], 8082, patience=4)


# --- comparison -----------------------------------------------------------------------------------


def outcomes(world):
    found = {}
    for title, function, family in conversations:
        try:
            found[title] = function(world, family)
        except OSError as error:
            found[title] = word_for(error)
    return found


@test("every conversation is the same through the kernel's translation and through reeve's", 100)
def _(world):
    kernel, ours = together([(outcomes, world.kernel), (outcomes, world)])
    lines = []
    for title, found in ours.items():
        expected = DIFFERENT.get(title, (kernel[title], kernel[title]))[:2]
        if (kernel[title], found) != expected:
            lines += [f"{title}:", f"    the kernel's {kernel[title]}", f"    reeve's      {found}"]
            if title in DIFFERENT:
                lines.append(f"    expected     {expected}")
    if lines:
        print("\n".join("# " + line for line in lines))
    holds(not lines, f"{len(lines)} lines of differences")


@test("what is listed as different is something that is compared")
def _(world):
    del world
    same([title for title in DIFFERENT if title not in {row[0] for row in conversations}], [])


def lab(name):
    world = nat_world(name)
    for at in (world.client, world.inner, world.server):
        at.run("ethtool", "-K", "eth0", "tx", "off")
    world.client.ip(f"addr add {SECOND[4]}/24 dev eth0",
                    f"addr add {SECOND[6]}/64 dev eth0 nodad preferred_lft 0",
                    f"addr add {PREFIXED[4]}/32 dev eth0",
                    f"addr add {PREFIXED[6]}/128 dev eth0 nodad preferred_lft 0")
    world.firewall.ip(
        f"addr add {POOLED[4]}/24 dev wan0", f"addr add {WHOLE[4]}/24 dev wan0",
        f"addr add {POOLED[6]}/64 dev wan0 nodad preferred_lft 0",
        f"addr add {WHOLE[6]}/64 dev wan0 nodad preferred_lft 0",
        f"route add {PREFIXES[4][0]} via {world.client.address[4]}",
        f"route add {PREFIXES[6][0]} via {world.client.address[6]}")
    world.hop.ip(f"route add {PREFIXES[4][1]} via {WAN[4]}",
                 f"route add {PREFIXES[6][1]} via {WAN[6]}")
    return world


def build():
    """Two labs: what one filter has learnt, the other must not take up."""
    need("nft", "ethtool")
    kernel, world = lab("natkernel"), lab("natnft")
    world.kernel = kernel
    kernel.firewall.nft(NFT)
    world.firewall.apply(REEVE)
    return world


main(build)
