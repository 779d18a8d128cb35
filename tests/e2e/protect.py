#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`protect`: SYNs answered with cookies before the stack hears of them, and the connections that come
of it; floods of forged SYNs and ACKs."""

import fcntl
import json
import os
import select
import socket
import struct
import time

from e2e import (Echo, Sniffer, eventually, expect, holds, host_world, main, run, same, scapy_layers,
                 send_frames, tcp, test)
from flood import Flood, Frames

OPEN, SHUT, PLAIN, CLOSED = 8443, 8444, 8445, 8446
PACE = 10000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000

POLICY = f"""zone wan = eth0
early wan {{ protect {{ {OPEN}, {SHUT}, {CLOSED} }}/tcp }}
policy wan -> self default drop {{
    allow {{ {OPEN}, {PLAIN}, {CLOSED} }}
    allow {{ icmp, icmpv6 }}
}}
policy self -> any default allow
"""


def made(name):
    world = host_world(name)
    Echo(world.host, OPEN, SHUT, PLAIN)
    return world


def counted(host, *names):
    found = host.statistics()
    return tuple(found[name] for name in names)


def stack(host):
    """What the host's stack counted: SYNs it answered itself, and listeners that overflowed."""
    rows = run("ip", "netns", "exec", host.name, "nstat", "-asz", "-j")
    found = json.loads(rows)["kernel"]
    return found["TcpExtListenOverflows"] + found["TcpExtListenDrops"], found["TcpPassiveOpens"]


def early_of(host):
    return next((row["early"], row["early_why"]) for row in host.reeve_json("status")["interfaces"]
                if row["name"] == "eth0")


def half_open(host):
    return len(run("ip", "netns", "exec", host.name, "ss", "-Htan", "state", "syn-recv").split("\n")) - 1


@test("a connection to a protected service begins with a cookie, and goes on as any other")
def _(world):
    host, peer = world.host, world.peer
    host.apply(POLICY)
    same(host.reeve_json("status")["protect"], {"on": True, "why": None})
    expect({f"IPv{family}, {port}": (word, lambda f=family, p=port: tcp(peer, host.address[f], p))
            for family in (4, 6) for port, word in ((OPEN, "open"), (PLAIN, "open"))})
    same(counted(host, "syn-answered", "cookie-right", "cookie-wrong", "syn-refused"), (2, 2, 0, 0))


def stream(at, address, port, size=3_000_000):
    """Sends so much through an echo, and closes; how much came back, and the last byte of it."""
    with at.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect((address, port))
        back = 0
        for _ in range(size // 30000):
            sock.sendall(b"x" * 30000)
            wanted = back + 30000
            while back < wanted:
                back += len(sock.recv(1 << 16))
        sock.shutdown(socket.SHUT_WR)
        same(sock.recv(1), b"", "the end of the echo")
        return back


def frames_of(world, family, port, *parts, source=None):
    scapy = scapy_layers()
    layer = scapy.IP if family == 4 else scapy.IPv6
    return [scapy.Ether(dst=world.host.mac("eth0"), src=world.peer.mac("eth0"))
            / layer(src=source or world.peer.address[family], dst=world.host.address[family])
            / scapy.TCP(dport=port, **part) for part in parts]


def answers(world, family, port, *parts, source=None):
    """What the host answers to these segments: scapy's TCP layers."""
    scapy = scapy_layers()
    with_answers = Sniffer(world.peer, "eth0")
    send_frames(world.peer, "eth0", frames_of(world, family, port, *parts, source=source))
    found = [scapy.Ether(frame) for frame in with_answers.frames(quiet=0.3)]
    with_answers.close()
    return [frame for frame in found if scapy.TCP in frame and frame[scapy.TCP].sport == port]


@test("the flow is that of a whole handshake: windows are tracked, data and close pass")
def _(world):
    host, peer = world.host, world.peer
    for family in (4, 6):
        before = host.statistics()
        same(stream(peer, host.address[family], OPEN), 3_000_000)
        after = host.statistics()
        same({name: after[name] - before[name] for name in
              ("outside-window", "sanity", "cookie-right", "flows-replied", "flows-failed")},
             {"outside-window": 0, "sanity": 0, "cookie-right": 1, "flows-replied": 1,
              "flows-failed": 0}, f"IPv{family}")
    with peer.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((host.address[4], OPEN))
        port = sock.getsockname()[1]
        row = next(row for row in host.flows() if str(port) in json.dumps(row))
        same(row["state"], "established", json.dumps(row))


def connected(world, family, **options):
    """TCP_INFO at the host of a connection to a listener of its own: options, scales, segments."""
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    with world.host.socket(kind, socket.SOCK_STREAM) as listener, \
            world.peer.socket(kind, socket.SOCK_STREAM) as sock:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::" if family == 6 else "0.0.0.0", CLOSED))
        listener.listen(5)
        listener.settimeout(3)
        sock.settimeout(3)
        sock.connect((world.host.address[family], CLOSED))
        with listener.accept()[0] as taken:
            info = taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            size = taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    return info[5] & 7, info[6] & 15, info[6] >> 4, size


@test("window scale, selective acknowledgements and the size of segments come through")
def _(world):
    host, peer = world.host, world.peer
    scale = connected(world, 4)[1]
    for family, size in ((4, 1448), (6, 1428)):
        same(connected(world, family), (7, scale, 7, size), f"IPv{family}")
    holds(scale != 0, "the peer scales its windows")
    # Without timestamps there is nothing to carry them; the size is in the cookie.
    peer.sysctl("net.ipv4.tcp_timestamps", 0)
    try:
        same(connected(world, 4), (0, 0, 0, 1460))
        same(connected(world, 6), (0, 0, 0, 1440))
        same(stream(peer, host.address[4], OPEN), 3_000_000)
    finally:
        peer.sysctl("net.ipv4.tcp_timestamps", 1)
    # What the host itself has switched off is not offered.
    host.sysctl("net.ipv4.tcp_sack", 0)
    host.sysctl("net.ipv4.tcp_window_scaling", 0)
    try:
        same(connected(world, 4), (1, 0, 0, 1448))
    finally:
        host.sysctl("net.ipv4.tcp_sack", 1)
        host.sysctl("net.ipv4.tcp_window_scaling", 1)


@test("a listener of both families takes connections of IPv4 too")
def _(world):
    with world.host.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", CLOSED))
        listener.listen(5)
        listener.settimeout(3)
        before = counted(world.host, "cookie-right")[0]
        for family in (4, 6):
            with world.peer.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                                   socket.SOCK_STREAM) as sock:
                sock.settimeout(3)
                sock.connect((world.host.address[family], CLOSED))
                taken, name = listener.accept()
                with taken:
                    sock.sendall(b"reeve")
                    same(taken.recv(9), b"reeve", name)
        same(counted(world.host, "cookie-right")[0], before + 2)


@test("one of MPTCP is left to the stack")
def _(world):
    host, peer = world.host, world.peer
    try:
        listener = host.socket(socket.AF_INET, socket.SOCK_STREAM, 262)  # IPPROTO_MPTCP
    except OSError:
        return
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.address[4], CLOSED))
        listener.listen(5)
        before = counted(host, "syn-answered", "cookie-right")
        with peer.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(3)
            sock.connect((host.address[4], CLOSED))
        same(counted(host, "syn-answered", "cookie-right"), before)


@test("the answer says no more than the SYN did, and its sums are right")
def _(world):
    scapy = scapy_layers()
    tried = {
        "everything": [("MSS", 1400), ("SAckOK", b""), ("Timestamp", (77, 0)), ("NOP", None), ("WScale", 9)],
        "no scale": [("MSS", 1400), ("SAckOK", b""), ("Timestamp", (77, 0))],
        "no timestamp": [("MSS", 1400), ("SAckOK", b""), ("NOP", None), ("WScale", 9)],
        "nothing": [],
    }
    said = {"everything": ["MSS", "SAckOK", "Timestamp", "NOP", "WScale"],
            "no scale": ["MSS", "SAckOK", "Timestamp"], "no timestamp": ["MSS"], "nothing": []}
    for family in (4, 6):
        for number, (title, options) in enumerate(tried.items()):
            found = answers(world, family, OPEN,
                            {"sport": 31000 + number, "flags": "S", "seq": 1000, "options": options})
            same(len(found), 1, f"IPv{family}, {title}")
            layer = found[0][scapy.TCP]
            same((str(layer.flags), layer.ack), ("SA", 1001), title)
            same([kind for kind, _ in layer.options if kind not in ("EOL",)], said[title], title)
            parsed = found[0].payload.copy()
            if family == 4:
                del parsed.chksum
            del parsed[scapy.TCP].chksum
            same(bytes(found[0].payload)[:len(parsed)].hex(), bytes(parsed).hex(), title)


@test("SYNs of a shape or from a source that nobody answers are dropped")
def _(world):
    host = world.host
    scapy = scapy_layers()
    before = counted(host, "syn-answered", "syn-refused")
    passive = stack(host)
    head = scapy.Ether(dst=host.mac("eth0"), src=world.peer.mac("eth0"))
    bad = scapy.IP(src=world.peer.address[4], dst=host.address[4])
    send_frames(world.peer, "eth0", [
        head / scapy.IP(src=world.peer.address[4], dst=host.address[4],
                        options=[scapy.IPOption(b"\x94\x04\x00\x00")]) / scapy.TCP(sport=1, dport=OPEN, flags="S"),
        head / scapy.IP(src=host.address[4], dst=host.address[4]) / scapy.TCP(sport=2, dport=OPEN, flags="S"),
        head / bad / scapy.TCP(sport=3, dport=OPEN, flags="S", chksum=0x1234),
    ])
    eventually(lambda: counted(host, "syn-answered", "syn-refused") == (before[0], before[1] + 3),
               f"they are counted: {before} {counted(host, 'syn-answered', 'syn-refused')}")
    same(stack(host), passive, "the stack has heard nothing")


@test("to somebody else, or where nobody listens, SYNs go on")
def _(world):
    host, peer = world.host, world.peer
    before = counted(host, "syn-answered")
    expect({"nobody listens": ("refused", lambda: tcp(peer, host.address[4], CLOSED))})
    scapy = scapy_layers()
    send_frames(peer, "eth0", [scapy.Ether(dst="02:00:00:00:00:99", src=peer.mac("eth0"))
                               / scapy.IP(src=peer.address[4], dst=host.address[4])
                               / scapy.TCP(sport=5, dport=OPEN, flags="S")])
    time.sleep(0.3)
    same(counted(host, "syn-answered"), before)


@test("a device without Ethernet headers; and data that comes with the ACK, or in its place")
def _(world):
    host, scapy = world.host, scapy_layers()
    with host:
        device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
    try:
        host.ip("addr add 10.99.0.1/24 dev tun0", "link set tun0 up")
        host.apply(POLICY.replace("zone wan = eth0", "zone wan = { eth0, tun0 }"))
        before = counted(host, "syn-answered", "cookie-right")

        def answer_to(data=b"", **part):
            os.write(device, bytes(scapy.IP(src="10.99.0.2", dst="10.99.0.1")
                                   / scapy.TCP(sport=777, dport=OPEN, **part) / data))
            found = []
            while select.select([device], [], [], 0.5)[0]:
                found.append(scapy.IP(os.read(device, 2000)))
            return [packet[scapy.TCP] for packet in found if scapy.TCP in packet]

        answer = answer_to(flags="S", seq=5)[0]
        same((str(answer.flags), answer.ack), ("SA", 6))
        found = answer_to(b"reeve", flags="PA", seq=6, ack=answer.seq + 1)
        same([bytes(part.payload) for part in found if part.payload], [b"reeve"], "the echo")
        same(counted(host, "syn-answered", "cookie-right"), (before[0] + 1, before[1] + 1))
    finally:
        os.close(device)


@test("rules decide as ever, when the ACK comes: no rule lets this one in")
def _(world):
    host, peer = world.host, world.peer
    before = counted(host, "cookie-right", "syn-answered")
    # The answer is given before any rule is asked; then nothing passes.
    same(tcp(peer, host.address[4], SHUT), "timeout")
    same(counted(host, "cookie-right", "syn-answered"), (before[0], before[1] + 1))


@test("ACKs without a cookie, of no connection, are dropped early and counted")
def _(world):
    host, peer = world.host, world.peer
    for family in (4, 6):
        before = counted(host, "cookie-wrong", "arrived")
        same(answers(world, family, OPEN, *({"sport": 41000 + i, "flags": "A", "seq": i, "ack": 99 * i + 7}
                                            for i in range(20))), [])
        same(counted(host, "cookie-wrong")[0], before[0] + 20)
        holds(counted(host, "arrived")[0] < before[1] + 20, "they do not arrive")
    # A service that is not protected answers for itself, and arrival drops what is in mid-stream.
    before = counted(host, "cookie-wrong", "sanity")
    answers(world, 4, PLAIN, {"sport": 42000, "flags": "A", "seq": 1, "ack": 1})
    same(counted(host, "cookie-wrong", "sanity"), (before[0], before[1] + 1))


@test("a port is used again at once: the new connection takes the place of the old flow")
def _(world):
    host, peer = world.host, world.peer
    for source in (45001, 45001, 45001):
        with peer.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Ends by a reset: neither side keeps the connection, reeve's flow stays a while.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.bind((peer.address[4], source))
            sock.settimeout(3)
            sock.connect((host.address[4], OPEN))
            sock.sendall(b"reeve")
            same(sock.recv(10), b"reeve")


@test("an honest connection succeeds while forged SYNs flood in; the stack hears of none", seconds=60)
def _(world):
    host, peer = world.host, world.peer
    targets = [(host.address[family], OPEN) for family in (4, 6)]
    frames = Frames(peer.mac("eth0"), host.mac("eth0"), ["syn"], targets, count=20000)
    # Answers to forged sources go nowhere, but they do leave.
    host.ip("route add 198.18.0.0/16 via 10.77.1.10", "route add 2001:db8:198::/64 via 2001:db8:77:1::10")
    before, heard = counted(host, "syn-answered"), stack(host)
    flood = Flood(peer, "eth0", frames, PACE)
    flood.start()
    try:
        eventually(lambda: counted(host, "syn-answered")[0] > before[0] + PACE / 4, "the flood is on")
        for _ in range(8):
            for family in (4, 6):
                same(tcp(peer, host.address[family], OPEN), "open", f"IPv{family}")
            same(half_open(host), 0, "half-open connections of the stack")
        same(stream(peer, host.address[4], OPEN, 600_000), 600_000)
    finally:
        flood.stop()
    answered = counted(host, "syn-answered")[0] - before[0]
    same(answered, flood.sent + 17, "every SYN was answered at XDP")
    after = stack(host)
    same(after[0], heard[0], "listeners that overflowed")
    holds(after[1] - heard[1] <= 17, f"connections the stack has accepted: {after[1] - heard[1]}")
    holds(host.reeve_json("status")["embryonic"]["used"] < 100, "no flows of the flood")


@test("without it the same flood fills the stack's queue; and so after `down`", seconds=60)
def _(world):
    host, peer = world.host, world.peer
    host.reeve("down")
    frames = Frames(peer.mac("eth0"), host.mac("eth0"), ["syn"], [(host.address[4], OPEN)], count=4000)
    flood = Flood(peer, "eth0", frames, PACE)
    flood.start()
    try:
        eventually(lambda: half_open(host) > 50, "half-open connections of the stack")
    finally:
        flood.stop()
    same(tcp(peer, host.address[4], OPEN), "open", "the kernel's own cookies")


@test("where it cannot be: apply and status say so, and connections begin as ever")
def _(world):
    host, peer = world.host, world.peer
    done = host.try_reeve("apply", host.policy(POLICY), env=dict(os.environ, REEVE_WITHOUT="cookies"))
    same(done.returncode, 0, done.stderr)
    holds("`protect` is off: this kernel takes no connections" in done.stderr, done.stderr)
    same(host.reeve_json("status")["protect"]["on"], False)
    same(tcp(peer, host.address[4], OPEN), "open")
    same(counted(host, "syn-answered", "cookie-right"), (0, 0))
    host.reeve("down")
    host.apply(POLICY)
    host.sysctl("net.ipv4.tcp_syncookies", 0)
    holds("SYN cookies are switched off" in host.reeve("status"), "status says it")
    same(tcp(peer, host.address[6], OPEN), "open")
    same(counted(host, "syn-answered", "cookie-right"), (0, 0))
    host.sysctl("net.ipv4.tcp_syncookies", 1)
    same(tcp(peer, host.address[6], OPEN), "open")
    same(counted(host, "syn-answered", "cookie-right"), (1, 1))


@test("a policy that protects nothing any more, and one that does again: veth answers behind the driver")
def _(world):
    host, peer = world.host, world.peer
    same(early_of(host), ("generic", "its driver might lose the answers of `protect`"))
    host.apply(POLICY.replace("protect", "drop"))
    same(tcp(peer, host.address[4], OPEN), "timeout", "drop")
    host.apply("\n".join(line for line in POLICY.split("\n") if "protect" not in line))
    same(tcp(peer, host.address[4], OPEN), "open")
    same(host.reeve_json("status")["protect"], {"on": False, "why": None})
    host.reeve("down")
    host.apply(POLICY.replace("protect", "drop"))
    same(early_of(host), ("native", None))
    host.apply(POLICY)
    same(early_of(host)[0], "generic")
    same(tcp(peer, host.address[4], OPEN), "open")
    same(host.reeve_json("sync")["changes"], [])


if __name__ == "__main__":
    main(lambda: made("protect"))
