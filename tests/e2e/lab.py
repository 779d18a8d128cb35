#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo and the lab's shell: that they work, and that they leave nothing, however they end."""

import glob
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time

from e2e import REEVE, TOP, Skip, World, eventually, holds, main, run, same, test, try_run

DEMO = os.path.join(TOP, "lab", "demo")
SHELL = os.path.join(TOP, "lab", "shell")


COOKIE = ("import socket, struct; print('%x' % struct.unpack('Q', socket.socket().getsockopt("
          "socket.SOL_SOCKET, 71, 8)))")


def start(*command, **options):
    """In a session of its own, as a terminal would do."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True,
                            env=dict(os.environ, REEVE=REEVE), **options)


def pins():
    """Folders of pins whose namespace is gone: nobody could take them down any more."""
    if not os.path.isdir("/run/reeve/bpf"):
        return []
    alive = set()
    for path in glob.glob("/run/netns/*"):
        done = try_run("nsenter", f"--net={path}", sys.executable, "-c", COOKIE)
        alive.add(done.stdout.strip())
    # Not the files that the kernel puts into every such file system.
    folders = {entry.name for entry in os.scandir("/run/reeve/bpf") if entry.is_dir()}
    return sorted(folders - alive)


def left_by(process):
    """Namespaces, files and processes of a lab that has ended."""
    names = [name for name in run("ip", "netns", "list").split()
             if name.startswith(f"reeve-{process.pid}-")]
    session = [line for line in run("ps", "-eo", "sid=,pid=,args=").splitlines()
               if line.split()[0] == str(process.pid) and "<defunct>" not in line]
    return names + glob.glob(f"/tmp/reeve-{process.pid}-*") + session


def needs(*programs):
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for program in programs:
        if not shutil.which(program, path=path):
            raise Skip(f"{program} is not installed")


@test("the demo: every row is as expected, in less than 60 seconds, and nothing is left", 90)
def _(world):
    needs("nginx", "nmap", "nc", "curl", "jq", "ping")
    before = pins()
    begin = time.monotonic()
    process = start(DEMO)
    said, _ = process.communicate(timeout=80)
    took = time.monotonic() - begin
    wrong = "\n".join(line for line in said.splitlines() if line.startswith("NO "))
    same(process.returncode, 0, wrong or said[-2000:])
    rows = re.findall(r"^ok  ", said, re.MULTILINE)
    holds(len(rows) > 20, f"only {len(rows)} rows")
    last = said.strip().splitlines()[-1]
    same(last, f"{len(rows)} of {len(rows)} as expected")
    holds(took < 60, f"it took {took:.0f} s")
    holds("\x1b" not in said, "colour where there is no terminal")
    same(left_by(process), [])
    same([name for name in pins() if name not in before], [], "pins")


@test("the demo, interrupted at any moment, leaves nothing", 60)
def _(world):
    needs("nginx", "nmap", "nc", "curl", "jq", "ping")
    before = pins()
    for seconds, number in ((0.1, signal.SIGINT), (0.7, signal.SIGTERM), (1.6, signal.SIGINT),
                            (3.5, signal.SIGHUP), (5.0, signal.SIGINT)):
        process = start(DEMO)
        time.sleep(seconds)
        what = f"{signal.Signals(number).name} after {seconds} s"
        early = process.poll()
        os.killpg(process.pid, number)
        said, _ = process.communicate(timeout=20)
        same(early, None, f"ended before {what}: {said[-2000:]}")
        same(process.returncode in (128 + number, -number), True,
             f"{what}: status {process.returncode}: {said[-2000:]}")
        same(left_by(process), [], what)
        same([name for name in pins() if name not in before], [], f"{what}: pins")


@test("the demo refuses to begin without a command, and says what to do")
def _(world):
    done = subprocess.run([DEMO], env=dict(os.environ, REEVE="/nowhere/reeve"), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    same((done.returncode, "/nowhere/reeve" in done.stdout, "make" in done.stdout), (1, True, True))


@test("lab/shell COMMAND runs it in the lab; what it names is there")
def _(world):
    needs("nginx", "nc", "curl", "ping")
    process = start(SHELL, "client curl -s http://203.0.113.80/ && server reeve status --json "
                    "&& ! client nc -z -w 1 203.0.113.80 23 && echo the end")
    said, _ = process.communicate(timeout=30)
    same(process.returncode, 0, said)
    same([word in said for word in ("hello from the server", '"running"', "the end")], [True] * 3,
         said)
    same(left_by(process), [])
    process = start(SHELL, "exit 7")
    process.communicate(timeout=30)
    same(process.returncode, 7, "the command's own status")


@test("lab/shell in a terminal: a prompt, help, and nothing left after exit")
def _(world):
    needs("nginx", "nc", "curl", "ping")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(SHELL, [SHELL], dict(os.environ, REEVE=REEVE, TERM="dumb", HOME="/nonexistent"))
    said = b""

    def hear(word):
        nonlocal said
        try:
            said += os.read(terminal, 65536)
        except OSError:
            pass
        return word in said

    eventually(lambda: hear(b"lab "), "a prompt", 20)
    os.write(terminal, b"client curl -s http://203.0.113.80/\n")
    eventually(lambda: hear(b"hello from the server"), "the web server's answer", 5)
    os.write(terminal, b"exit\n")
    end = time.monotonic() + 20
    status = None
    while status is None and time.monotonic() < end:
        hear(b"\0")
        done, code = os.waitpid(pid, os.WNOHANG)
        status = code if done else None
    os.close(terminal)
    same(status, 0, said.decode(errors="replace")[-1000:])
    names = [name for name in run("ip", "netns", "list").split()
             if name.startswith(f"reeve-{pid}-")]
    same(names + glob.glob(f"/tmp/reeve-{pid}-*"), [])


def make_world():
    return World("lab")


main(make_world)
