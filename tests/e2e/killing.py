# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 just before a chosen system call.

strace writes down the calls of a clean run. To kill with it too would take twice as long as the
command does (it stops at every call), so a seccomp filter and ptrace do that: the process stops
only at calls of the one kind, and those are counted.
"""

import collections
import ctypes
import errno
import os
import re
import shutil
import signal

from e2e import Skip, libc, try_run

ALL = os.environ.get("CRASH_ALL") == "1"

NUMBERS = {  # x86-64, aarch64; None: it has no such call
    "bpf": (321, 280), "rename": (82, None), "renameat": (264, 38), "unlink": (87, None),
    "unlinkat": (263, 35), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "mount": (165, 40), "umount2": (166, 39), "flock": (73, 32), "clone": (56, 220),
    "wait4": (61, 260), "openat": (257, 56), "close": (3, 57), "mmap": (9, 222),
    "munmap": (11, 215), "write": (1, 64), "fsync": (74, 82), "setns": (308, 268),
}
MACHINES = {"x86_64": 0, "aarch64": 1}

CHANGING = re.compile(r"bpf\(BPF_(OBJ_PIN|LINK_CREATE|LINK_DETACH|LINK_UPDATE|MAP_UPDATE_ELEM|"
                      r"MAP_DELETE_ELEM|MAP_FREEZE)|(renameat|rename|unlinkat|unlink|mkdirat|mkdir|"
                      r"rmdir|mount|umount2|clone|wait4|write|fsync)\(")
BEGINS = re.compile(r"bpf\(BPF_(OBJ_PIN|LINK_DETACH|MAP_DELETE_ELEM)|"
                    r"(unlinkat|unlink|mkdirat|mkdir)\(")

TRACEME, CONT, SETOPTIONS = 0, 7, 0x4200
EVENT_EXEC, EVENT_SECCOMP = 4, 7
OPTIONS = 0x100000 | 0x80 | 0x10 | 8 | 4 | 2  # EXITKILL, SECCOMP, EXEC, CLONE, VFORK, FORK
WALL, WNOTHREAD = 0x40000000, 0x20000000
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SECCOMP_TRACE, SECCOMP_ALLOW = 0x7FF00000, 0x7FFF0000
LOAD_WORD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06

libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8),
                ("value", ctypes.c_uint32)]


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction))]


class Point(collections.namedtuple("Point", "call number text")):
    """Just before the n-th of these system calls of a process."""

    def __str__(self):
        return f"before {self.call} {self.number}, {self.text}"


# --- where ----------------------------------------------------------------------------------------


def system_call(name):
    machine = MACHINES.get(os.uname().machine)
    if machine is None:
        raise Skip(f"the numbers of system calls of {os.uname().machine} are not known here")
    return NUMBERS[name][machine]


def points(at, *command, most=1000, few=6, follow=True):
    """Where to kill it, after a clean run: at calls that change something and behind them, thinned
    out to so many, and at a few of the others."""
    if not shutil.which("strace"):
        raise Skip("strace is not installed")
    calls = [name for name in NUMBERS if system_call(name) is not None]
    path = os.path.join(at.world.folder, "strace")
    done = at.try_run("strace", "-qq", *(["-f", "--seccomp-bpf"] if follow else []), "-o", path,
                      "-e", "trace=" + ",".join(calls), *command)
    if done.returncode:
        raise Skip(f"strace: {done.stderr.strip()}")
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    changing, others = sorted_out(lines, calls)
    if not changing:
        raise AssertionError(f"{' '.join(command)} has changed nothing, says strace")
    return thin(changing, most) + thin(others, few)


def sorted_out(lines, calls):
    seen = collections.Counter()
    changing, others = [], []
    begun = behind = False
    for line in lines:
        found = re.match(r"(\d+ +)?((\w+)\(.*)", line)
        if not found or found[3] not in calls:
            continue
        pid, text, call = found[1], found[2], found[3]
        seen[pid, call] += 1
        begun = begun or bool(BEGINS.match(text))
        changes = begun and bool(CHANGING.match(text)) and "= -1" not in text
        (changing if changes or behind else others).append(Point(call, seen[pid, call], text[:80]))
        behind = changes
    return changing, others


def thin(rows, most):
    if ALL or len(rows) <= most:
        return rows
    return [rows[int(i * len(rows) / most)] for i in range(most)]


# --- killing --------------------------------------------------------------------------------------


def traced_child(instructions, command):
    """Stops before it does anything; from then on, it stops at the calls that the filter names."""
    try:
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        libc.ptrace(TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        rules = Filter(len(instructions), instructions)
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(rules), 0, 0) == 0:
            os.execv(command[0], command)
    finally:
        os._exit(127)


def kill_before(at, point, *command, meanwhile=None):
    """Runs it in the namespace. How many of its processes were killed: none if there was no such
    call this time. What it starts is waited for too. `meanwhile` is called halfway there."""
    instructions = (Instruction * 4)((LOAD_WORD, 0, 0, 0),
                                     (JUMP_EQUAL, 0, 1, system_call(point.call)),
                                     (RETURN, 0, 0, SECCOMP_TRACE), (RETURN, 0, 0, SECCOMP_ALLOW))
    at.filtered = True
    with at:
        main = os.fork()
        if main == 0:
            traced_child(instructions, list(command))
    os.waitpid(main, WALL)
    if libc.ptrace(SETOPTIONS, main, None, OPTIONS) or libc.ptrace(CONT, main, None, None):
        error = os.strerror(ctypes.get_errno())
        os.kill(main, signal.SIGKILL)
        os.waitpid(main, WALL)
        raise Skip(f"ptrace: {error}")
    counts, killed, began = collections.Counter(), 0, False
    while True:
        try:
            pid, status = os.waitpid(-1, WALL | WNOTHREAD)
        except ChildProcessError:
            return killed
        if not os.WIFSTOPPED(status):
            if pid == main and os.WIFEXITED(status) and os.WEXITSTATUS(status) == 127:
                raise Skip("the filter for system calls cannot be installed here")
            continue
        event, number = status >> 16, os.WSTOPSIG(status)
        began = began or event == EVENT_EXEC
        if event == EVENT_SECCOMP and began:
            counts[pid] += 1
            if meanwhile and counts[pid] >= point.number // 2:
                meanwhile()
                meanwhile = None
            if counts[pid] == point.number:
                os.kill(pid, signal.SIGKILL)
                killed += 1
                continue
        go_on(pid, 0 if event or number in (signal.SIGSTOP, signal.SIGTRAP) else number)


def go_on(pid, number):
    if libc.ptrace(CONT, pid, None, number) and ctypes.get_errno() != errno.ESRCH:
        raise OSError(ctypes.get_errno(), "ptrace: " + os.strerror(ctypes.get_errno()))


def kill_alone(at, point, *command):
    """The same with strace; processes that it has started live on."""
    at.filtered = True
    done = at.try_run("strace", "-qq", "-o", "/dev/null", "-e", f"trace={point.call}", "-e",
                      f"inject={point.call}:signal=SIGKILL:when={point.number}", *command)
    return done.returncode == -signal.SIGKILL
