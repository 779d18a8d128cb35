#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends frames with forged sources at a pace, for so many seconds; then prints how many.

usage: flood.py INTERFACE MAC KIND DESTINATION PORT A_SECOND SECONDS

KIND: syn, udp, echo or fragment (first fragments of UDP). Sources are 198.18.0.0/15 or
2001:db8:bad::/48.
"""

import random
import socket
import struct
import sys
import time

BATCH = 50


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def transport(kind, port, rng, pseudo, six):
    if kind == "syn":
        head = struct.pack("!HHIIBBHHH", rng.randrange(1024, 65536), port, rng.getrandbits(32), 0,
                           5 << 4, 2, 64240, 0, 0)
        number, at = 6, 16
    elif kind == "echo":
        head = struct.pack("!BBHHH", 128 if six else 8, 0, 0, rng.getrandbits(16), 1)
        number, at = 58 if six else 1, 2
        if not six:
            pseudo = b""
    else:
        head = struct.pack("!HHHH", rng.randrange(1024, 65536), port, 16, 0) + b"forged!!"
        number, at = 17, 6
    if pseudo:
        pseudo = pseudo(number, len(head))
    return number, head[:at] + struct.pack("!H", checksum(pseudo + head)) + head[at + 2:]


def frame(kind, macs, destination, port, rng):
    six = ":" in destination
    if six:
        source = socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")[:8] + rng.getrandbits(64).to_bytes(8, "big")
        to = socket.inet_pton(socket.AF_INET6, destination)
        number, data = transport(kind, port, rng, lambda protocol, length: source + to + struct.pack(
            "!II", length, protocol), True)
        return macs + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(data), number, 64) + source + to + data
    source = (0xc6120000 + rng.getrandbits(17)).to_bytes(4, "big")
    to = socket.inet_aton(destination)
    number, data = transport(kind, port, rng, lambda protocol, length: source + to + struct.pack(
        "!HH", protocol, length), False)
    flags = 0x2000 if kind == "fragment" else 0
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), rng.getrandbits(16), flags, 64, number, 0)
    head += source + to
    return macs + b"\x08\x00" + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + data


def main():
    interface, mac, kind, destination, port, pace, seconds = sys.argv[1:]
    rng = random.Random(1)
    pace, seconds = int(pace), float(seconds)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((interface, 0))
        macs = bytes.fromhex(mac.replace(":", "")) + sock.getsockname()[4][:6]
        # As many different ones as fit the time to make them; then over again.
        frames = [frame(kind, macs, destination, int(port), rng)
                  for _ in range(min(20000, int(pace * seconds)))]
        print("ready", flush=True)
        start, sent = time.monotonic(), 0
        while (now := time.monotonic()) < start + seconds:
            if sent > (now - start) * pace:
                time.sleep(0.001)
                continue
            for one in range(sent, sent + BATCH):
                sock.send(frames[one % len(frames)])
            sent += BATCH
    print(sent, flush=True)


if __name__ == "__main__":
    main()
