# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of BPF that are somebody else's: bpf(2) by its number, no compiler needed."""

import ctypes
import errno
import os
import socket
import struct

from e2e import Skip, libc

MAP_CREATE, MAP_LOOKUP, PROG_LOAD, LINK_CREATE = 0, 1, 5, 28
SCHED_CLS, XDP, CGROUP_SKB, NETFILTER = 3, 6, 8, 32  # types of programs
AT_CGROUP_INGRESS, AT_XDP, AT_NETFILTER, AT_TCX_INGRESS, AT_TCX_EGRESS = 0, 37, 45, 46, 47
TCX_NEXT = -1
SYS_BPF = {"x86_64": 321, "aarch64": 280}


def bpf(command, attributes):
    number = SYS_BPF.get(os.uname().machine)
    if number is None:
        raise Skip("the number of bpf(2) is not known here")
    buffer = ctypes.create_string_buffer(attributes.ljust(144, b"\0"), 144)
    result = libc.syscall(number, command, buffer, 144)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command}): {os.strerror(ctypes.get_errno())}")
    return result


def load(kind, lines, name="", attach_type=0):
    """Instructions (code, registers, offset, immediate) as a program's descriptor."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=BBhi", *line) for line in lines))
    licence = ctypes.create_string_buffer(b"GPL")
    return bpf(PROG_LOAD, struct.pack(
        "=IIQQIIQII16sII", kind, len(lines), ctypes.addressof(code), ctypes.addressof(licence),
        0, 0, 0, 0, 0, name.encode(), 0, attach_type))


def load_answer(kind, answer, name, attach_type=0):
    """A program that always gives this answer."""
    return load(kind, [(0xb7, 0, 0, answer), (0x95, 0, 0, 0)], name, attach_type)


def link(program, target, attach_type, more=b""):
    """A link's descriptor; closing it detaches. Skips where the kernel has no such hook."""
    try:
        return bpf(LINK_CREATE, struct.pack("=IIII", program, target, attach_type, 0) + more)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            raise Skip(f"the kernel has no hook of type {attach_type}") from error
        raise


class Counter:
    """A program that counts packets and gives this answer: somebody else's."""

    def __init__(self, world, kind=SCHED_CLS, answer=TCX_NEXT, attach_type=0):
        self.map = bpf(MAP_CREATE, struct.pack("IIII", 2, 4, 8, 1))
        world.closers.append(lambda: os.close(self.map))
        lines = [
            (0xb7, 0x01, 0, 0),            # r1 = 0
            (0x63, 0x1a, -4, 0),           # *(u32 *)(r10 - 4) = r1
            (0xbf, 0xa2, 0, 0),            # r2 = r10
            (0x07, 0x02, 0, -4),           # r2 += -4
            (0x18, 0x11, 0, self.map), (0, 0, 0, 0),  # r1 = map
            (0x85, 0, 0, 1),               # map_lookup_elem
            (0x15, 0x00, 2, 0),            # if r0 == 0 goto +2
            (0xb7, 0x01, 0, 1),            # r1 = 1
            (0xdb, 0x10, 0, 0),            # lock *(u64 *)r0 += r1
            (0xb7, 0x00, 0, answer),       # r0 = answer
            (0x95, 0, 0, 0),               # exit
        ]
        self.program = load(kind, lines, "foreign", attach_type)
        world.closers.append(lambda: os.close(self.program))

    def attach(self, namespace, interface, where, more=b""):
        """interface: None where the hook is the namespace's."""
        with namespace:
            made = link(self.program, socket.if_nametoindex(interface) if interface else 0, where,
                        more)
        namespace.world.closers.append(lambda: os.close(made))
        return made

    def value(self):
        key = ctypes.create_string_buffer(4)
        value = ctypes.create_string_buffer(8)
        bpf(MAP_LOOKUP, struct.pack(
            "IIQQ", self.map, 0, ctypes.addressof(key), ctypes.addressof(value)))
        return struct.unpack("Q", value.raw)[0]


def counting(counters, function):
    """How much each counter grew during the call."""
    before = {name: counter.value() for name, counter in counters.items()}
    function()
    return {name: counter.value() - before[name] > 0 for name, counter in counters.items()}
