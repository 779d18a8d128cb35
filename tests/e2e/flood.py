# SPDX-License-Identifier: GPL-2.0-or-later
"""Floods of forged packets at a steady pace, and connections that transfer at a steady pace."""

import ctypes
import random
import selectors
import socket
import struct
import threading
import time

from e2e import SO_RCVBUFFORCE, libc

BATCH = 50  # frames given to the kernel at once
FORGED = {4: "198.18.0.0", 6: "2001:db8:198::"}  # where the packets pretend to come from
UDP, TCP, ICMP, ICMPV6, FRAGMENT = 17, 6, 1, 58, 44


# --- frames -------------------------------------------------------------------------------------


def folded(total):
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def words_of(data):
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


def transport_of(kind, family, rng, port, pseudo):
    """Protocol and bytes of one packet of the flood; pseudo(protocol, length) sums its pseudo header."""
    sport, more = rng.randrange(1024, 65536), rng.randrange(1 << 32)
    if kind == "syn":
        data = struct.pack("!HHIIHHHH", sport, port, more, 0, 0x5002, 65000, 0, 0)
        protocol, at = TCP, 16
    elif kind == "icmp":
        protocol, at = (ICMP, 2) if family == 4 else (ICMPV6, 2)
        data = struct.pack("!BBHHH8s", 8 if family == 4 else 128, 0, 0, sport, 1, b"flooding")
    else:
        data = struct.pack("!HHHH8s", sport, port, 16, 0, b"flooding")
        protocol, at = UDP, 6
    total = words_of(data) + (0 if protocol == ICMP else pseudo(protocol, len(data)))
    return protocol, data[:at] + struct.pack("!H", folded(total)) + data[at + 2:]


def packet(kind, family, rng, target, port):
    """One packet with forged source, as bytes; kinds: syn, udp, icmp, first (a first fragment), later."""
    offset = {"first": 0, "later": 64}.get(kind)
    identification = rng.randrange(1 << 32)
    if family == 4:
        source = struct.pack("!HH", 0xc612, rng.randrange(1, 65535))
    else:
        source = socket.inet_pton(socket.AF_INET6, FORGED[6])[:12] + struct.pack(
            "!I", rng.randrange(1, 1 << 32))

    def pseudo(protocol, length):
        return words_of(source) + words_of(target) + protocol + length

    protocol, data = transport_of(kind, family, rng, port, pseudo)
    if family == 4:
        cut = 0 if offset is None else offset // 8 | (0x2000 if kind == "first" else 0)
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), identification & 0xffff, cut,
                           64, protocol, 0, source, target)
        return head[:10] + struct.pack("!H", folded(words_of(head))) + head[12:] + data
    if offset is not None:
        data = struct.pack("!BBHI", protocol, 0, offset | (kind == "first"), identification) + data
        protocol = FRAGMENT
    return struct.pack("!IHBB16s16s", 6 << 28, len(data), protocol, 64, source, target) + data


class Header(ctypes.Structure):
    """struct mmsghdr"""
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("vector", ctypes.c_void_p),
                ("vectors", ctypes.c_size_t), ("control", ctypes.c_void_p),
                ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int), ("length", ctypes.c_uint)]


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class Frames:
    """Frames of a flood, made once; targets: (address, port), kinds in turn."""

    def __init__(self, source_mac, target_mac, kinds, targets, count=40000):
        rng = random.Random(1)
        macs = bytes.fromhex((target_mac + source_mac).replace(":", ""))
        self.frames = []
        for number in range(count):
            address, port = targets[number % len(targets)]
            family = 6 if ":" in address else 4
            packed = socket.inet_pton(socket.AF_INET6 if family == 6 else socket.AF_INET, address)
            kind = kinds[number // len(targets) % len(kinds)]
            self.frames.append(macs + (b"\x08\x00", b"\x86\xdd")[family == 6]
                               + packet(kind, family, rng, packed, port))
        self.vectors = (Vector * count)()
        self.headers = (Header * count)()
        size = ctypes.sizeof(Vector)
        for number, frame in enumerate(self.frames):
            self.vectors[number] = Vector(frame, len(frame))
            self.headers[number].vector = ctypes.addressof(self.vectors) + number * size
            self.headers[number].vectors = 1


class Flood(threading.Thread):
    """Sends frames out of an interface, so many a second, until it is stopped."""

    def __init__(self, at, interface, frames, pace):
        super().__init__(daemon=True)
        self.sock = at.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.sock.bind((interface, 0))
        self.frames = frames
        self.pace = pace
        self.sent = 0
        self.going = True

    def run(self):
        count = len(self.frames.frames)
        size = ctypes.sizeof(Header)
        base = ctypes.addressof(self.frames.headers)
        start = time.monotonic()
        skipped = 0
        while self.going:
            due = int((time.monotonic() - start) * self.pace) - self.sent - skipped
            if due < BATCH:
                time.sleep(0.001)
                continue
            # What a busy machine could not send in time is left out: no burst makes up for it.
            skipped += max(0, due - 10 * BATCH)
            first = self.sent % count
            done = libc.sendmmsg(self.sock.fileno(), ctypes.c_void_p(base + first * size),
                                 min(BATCH, count - first), 0)
            self.sent += max(done, 0)

    def stop(self):
        self.going = False
        if self.is_alive():
            self.join()
        self.sock.close()


# --- transfers ----------------------------------------------------------------------------------


class Sink(threading.Thread):
    """Takes connections on a port of a namespace, both families, and reads what comes."""

    def __init__(self, at, port):
        super().__init__(daemon=True)
        self.selector = selectors.DefaultSelector()
        self.received = {}  # bytes by (this end's address, the other's port)
        self.broken = []
        self.alive = True
        self.listener = at.socket(socket.AF_INET6, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("::", port))
        self.listener.setblocking(False)
        self.listener.listen(1000)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.unread = at.socket(socket.AF_INET6, socket.SOCK_DGRAM)  # nobody reads the flood
        self.unread.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.unread.bind(("::", port))
        at.world.closers.append(self.close)
        self.start()

    def run(self):
        while self.alive:
            for key, _ in self.selector.select(0.1):
                try:
                    self.serve(key.fileobj, key.data)
                except OSError as error:
                    self.broken.append(f"{key.data}: {error}")
                    self.forget(key.fileobj)

    def serve(self, sock, peer):
        if sock is self.listener:
            taken, peer = sock.accept()
            taken.setblocking(False)
            here = taken.getsockname()[0].removeprefix("::ffff:")
            self.selector.register(taken, selectors.EVENT_READ, (here, peer[1]))
            return
        data = sock.recv(1 << 17)
        if data:
            self.received[peer] = self.received.get(peer, 0) + len(data)
        else:
            self.forget(sock)

    def forget(self, sock):
        self.selector.unregister(sock)
        sock.close()

    def close(self):
        self.alive = False
        self.join(2)
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()
        self.unread.close()


class Transfers(threading.Thread):
    """Connections that each send `chunk` bytes a tick, well below what the machine can carry."""

    TICK = 0.02

    def __init__(self, at, ends, count, chunk):
        """ends: addresses and ports, in turn."""
        super().__init__(daemon=True)
        self.chunk = chunk
        self.socks = []
        self.broken = []
        self.sent = 0
        self.going = True
        for number in range(count):
            address = ends[number % len(ends)]
            sock = at.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET,
                             socket.SOCK_STREAM)
            sock.settimeout(5)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            self.socks.append(sock)
        self.names = [(ends[number % len(ends)][0], sock.getsockname()[1])
                      for number, sock in enumerate(self.socks)]

    def run(self):
        data = b"\0" * (1 << 17)
        debts = [0] * len(self.socks)
        start, ticks = time.monotonic(), 0
        while self.going:
            due = int((time.monotonic() - start) / self.TICK)
            for number, sock in enumerate(self.socks):
                debts[number] += (due - ticks) * self.chunk
                try:
                    done = sock.send(data[:debts[number]]) if debts[number] else 0
                except BlockingIOError:
                    done = 0
                except OSError as error:
                    self.broken.append(f"{self.names[number]}: {error}")
                    done = debts[number]
                debts[number] -= done
                self.sent += done
            ticks = due
            time.sleep(self.TICK / 2)

    def stop(self):
        self.going = False
        self.join()

    def close(self):
        for sock in self.socks:
            sock.close()
