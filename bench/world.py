# SPDX-License-Identifier: GPL-2.0-or-later
"""The world of the bench: generator - router - sink, three network namespaces of its own.

    generator eth0 ---- in0 router out0 ---- eth0 sink
         10.1.0.2     10.1.0.1   10.2.0.1     10.2.0.2

Clients live behind the generator, from 10.101.0.1 on; their flows go to the sink. Neighbours are
entered by hand, so nothing but the frames of the bench is on the wires. Frames are made and counted
by the program `inject`, bound to one CPU. What a World has made it removes again, however it ends.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("REEVE_BUILD", os.path.join(TOP, "build"))
REEVE = os.path.abspath(os.environ.get("REEVE", os.path.join(BUILD, "reeve")))
PREFIX = "reeve-bench-"
CLIENT, SERVER = "10.101.0.1", "10.2.0.2"
INGRESS, EGRESS = "in0", "out0"


class Failed(Exception):
    """Something could not be measured; the text says why."""


def run(*command, **options):
    """Output of a command; Failed with what it said when it fails."""
    options.setdefault("timeout", 300)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{os.path.basename(command[0])}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise Failed(f"{' '.join(command)}: status {done.returncode}: {said}")
    return done.stdout


def program(name):
    """Path of one of the bench's own programs."""
    path = os.path.join(os.path.abspath(BUILD), "bench", name)
    if not os.path.exists(path):
        raise Failed(f"{path} is not there; run `make` first")
    return path


def remove_namespace(name):
    """With the policy that runs in it: its pins would stay behind."""
    if os.path.exists(REEVE):
        subprocess.run(["nsenter", f"--net=/run/netns/{name}", REEVE, "down"], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def remove_files(name):
    shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)


def sweep():
    """Removes what benches left that were killed outright."""
    for folder, remove in (("/run/netns", remove_namespace), (tempfile.gettempdir(), remove_files)):
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                owner = name.removeprefix(PREFIX).split("-")[0] if name.startswith(PREFIX) else ""
                if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
                    remove(name)


class World:
    """Context manager: made on entry, gone on exit."""

    def __init__(self):
        self.folder = None
        self.injector = None
        self.names = {role: f"{PREFIX}{os.getpid()}-{role}"
                      for role in ("generator", "router", "sink")}
        self.cpu = max(os.sched_getaffinity(0))

    def __enter__(self):
        sweep()
        try:
            self.folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
            self.build()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def build(self):
        for name in self.names.values():
            run("ip", "netns", "add", name)
            # IPv6 would speak up on the wires by itself.
            self.sysctl(name, "net/ipv6/conf/default/disable_ipv6", 1)
            self.sysctl(name, "net/ipv4/conf/all/rp_filter", 0)
            self.sysctl(name, "net/ipv4/conf/default/rp_filter", 0)
        generator, router, sink = self.names.values()
        self.wire(generator, INGRESS, "10.1.0.2/24", "10.1.0.1/24")
        self.wire(sink, EGRESS, "10.2.0.2/24", "10.2.0.1/24")
        self.sysctl(router, "net/ipv4/ip_forward", 1)
        run("ip", "-n", router, "route", "add", "10.101.0.0/16", "via", "10.1.0.2")
        self.neighbour(router, INGRESS, "10.1.0.2", generator)
        self.neighbour(router, EGRESS, "10.2.0.2", sink)

    def wire(self, end, interface, end_address, router_address):
        router = self.names["router"]
        run("ip", "link", "add", interface, "netns", router, "type", "veth",
            "peer", "name", "eth0", "netns", end)
        run("ip", "-n", end, "addr", "add", end_address, "dev", "eth0")
        run("ip", "-n", router, "addr", "add", router_address, "dev", interface)
        run("ip", "-n", end, "link", "set", "eth0", "up")
        run("ip", "-n", router, "link", "set", interface, "up")

    @staticmethod
    def neighbour(router, interface, address, namespace):
        link = json.loads(run("ip", "-n", namespace, "-j", "link", "show", "eth0"))[0]
        run("ip", "-n", router, "neigh", "replace", address, "lladdr", link["address"],
            "dev", interface, "nud", "permanent")

    @staticmethod
    def sysctl(namespace, path, value):
        run("nsenter", f"--net=/run/netns/{namespace}", "sh", "-c",
            f"echo {value} >/proc/sys/{path}")

    def start(self):
        self.injector = subprocess.Popen(
            [program("inject"), *self.names.values(), INGRESS, EGRESS, CLIENT, SERVER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {self.cpu}))
        self.answer()

    def answer(self):
        line = self.injector.stdout.readline().strip()
        if not line:
            raise Failed("the program that sends frames ended")
        if line.startswith("error "):
            raise Failed(line.removeprefix("error "))
        return line

    def command(self, text):
        """Sends frames. The numbers that inject answers with (inject.c)."""
        try:
            self.injector.stdin.write(text + "\n")
            self.injector.stdin.flush()
        except OSError as error:
            raise Failed("the program that sends frames ended") from error
        return [float(word) for word in self.answer().split()]

    # --- in the router ---

    def inside(self, *command, **options):
        return run("nsenter", f"--net=/run/netns/{self.names['router']}", *command, **options)

    def reeve(self, *words, **options):
        return self.inside(REEVE, *words, **options)

    def reeve_json(self, *words):
        return json.loads(self.reeve(*words, "--json"))

    def nft(self, text):
        return self.inside("nft", "-f", "-", input=text)

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def unfilter(self):
        """No filter at all: neither ours nor nft's."""
        self.reeve("down")
        if shutil.which("nft"):
            self.nft("flush ruleset")

    def close(self):
        if self.injector:
            self.injector.stdin.close()
            try:
                self.injector.wait(10)
            except subprocess.TimeoutExpired:
                self.injector.kill()
                self.injector.wait()
            self.injector = None
        for name in self.names.values():
            if os.path.exists(f"/run/netns/{name}"):
                remove_namespace(name)
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
