# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic that goes on in threads of its own while a test changes things."""

import socket
import struct
import threading
import time

from e2e import SO_RCVBUFFORCE

PACKETS_A_SECOND = 500


class Stream(threading.Thread):
    """UDP to one port at a steady pace, each packet from another source port: each one meets the
    rules, none is saved by a flow."""

    def __init__(self, at, address, port, first_source=10000, sources=50000, pace=PACKETS_A_SECOND):
        super().__init__(daemon=True)
        six = ":" in address
        self.sock = at.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW,
                              socket.IPPROTO_UDP)
        if six:  # the kernel writes the checksum, which IPv6 demands
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 6)
        self.to = (address, 0)
        self.port = port
        self.first_source = first_source
        self.sources = sources
        self.pace = pace
        self.sent = 0
        self.failed = []
        self.going = True

    def run(self):
        start = time.monotonic()
        while self.going:
            due = int((time.monotonic() - start) * self.pace)
            while self.sent < due and self.going:
                source = self.first_source + self.sent % self.sources
                packet = struct.pack("!HHHHI", source, self.port, 12, 0, self.sent)
                try:
                    self.sock.sendto(packet, self.to)
                except OSError as error:
                    self.failed.append(error)
                self.sent += 1
            time.sleep(0.002)

    def stop(self):
        self.going = False
        self.join()
        self.sock.close()


class Count(threading.Thread):
    """What arrives at a UDP port, by the number in it; from one address, or from all."""

    def __init__(self, at, address, port, source=None):
        super().__init__(daemon=True)
        six = ":" in address
        self.sock = at.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 25)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((address, port))
        if source:
            self.sock.connect((source, 0))
        self.sock.settimeout(0.2)
        self.seen = []
        self.going = True

    def run(self):
        while True:
            try:
                self.seen.append(struct.unpack("!I", self.sock.recv(100))[0])
            except socket.timeout:
                if not self.going:
                    return

    def stop(self):
        self.going = False
        self.join()
        self.sock.close()


class Conversation(threading.Thread):
    """One TCP connection that says something every few milliseconds and waits for the echo."""

    def __init__(self, at, address, port, pause=0.004):
        super().__init__(daemon=True)
        self.pause = pause
        self.sock = at.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                              socket.SOCK_STREAM)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect((address, port))
        self.sock.settimeout(5)
        self.rounds = 0
        self.slowest = 0.0
        self.error = None
        self.going = True

    def run(self):
        try:
            while self.going:
                start = time.monotonic()
                said = struct.pack("!I", self.rounds) * 16
                self.sock.sendall(said)
                heard = b""
                while len(heard) < len(said):
                    part = self.sock.recv(len(said) - len(heard))
                    if not part:
                        raise ConnectionError("closed by the other end")
                    heard += part
                if heard != said:
                    raise ConnectionError("the echo is not what was said")
                self.slowest = max(self.slowest, time.monotonic() - start)
                self.rounds += 1
                time.sleep(self.pause)
        except OSError as error:
            self.error = error

    def retransmits(self):
        return struct.unpack_from("I", self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO,
                                                            192), 100)[0]

    def stop(self):
        self.going = False
        self.join()
        count = self.retransmits()
        self.sock.close()
        return count


def start_all(threads):
    for thread in threads.values():
        thread.start()
