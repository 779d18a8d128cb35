#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""apply, a refused apply, down; what is left behind; bad input; namespaces entered both ways."""

import fcntl
import glob
import json
import os
import shutil
import socket
import struct
import time

from e2e import (REEVE, Echo, Namespace, Skip, eventually, expect, holds, host_world, main, run,
                 same, tcp, test, try_run, udp)

PORT, OTHER = 1001, 1002
SO_NETNS_COOKIE = 71
MOUNT = "/run/reeve/bpf"

POLICY = f"""zone lan = eth0
policy lan -> self default drop {{
    allow {PORT}
}}
policy self -> any default allow
"""


# --- what is in the kernel ----------------------------------------------------------------------


def cookie_of(namespace):
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return struct.unpack("Q", sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0]


def mounts():
    with open("/proc/self/mounts", encoding="ascii") as file:
        return [line.split()[1] for line in file if line.split()[1].startswith("/run/reeve")]


def pin_folders():
    return sorted(os.listdir(MOUNT)) if os.path.isdir(MOUNT) else []


def pins_of(namespace):
    """The files under the folder of the namespace, or [] when there is none."""
    return sorted(path for path in glob.glob(f"{MOUNT}/{cookie_of(namespace):x}/**", recursive=True)
                  if os.path.isfile(path))


def bpf_objects():
    """{(kind, id)} of every program, map and link of the kernel."""
    if not shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        raise Skip("bpftool is not installed")
    found = set()
    for kind in ("prog", "map", "link"):
        done = try_run("bpftool", "-j", kind, "show", timeout=20)
        if done.returncode:
            raise Skip(f"bpftool {kind} show: {done.stderr.strip()}")
        found |= {(kind, row["id"]) for row in json.loads(done.stdout or "[]")}
    return found


def attached(namespace):
    done = namespace.try_run("bpftool", "-j", "net", "show")
    rows = json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else []
    return [(kind, row.get("devname"), row.get("kind"))
            for part in rows for kind in ("xdp", "tc", "tcx") for row in part.get(kind, [])]


def snapshot(namespace):
    """What a person would compare before and after: links, qdiscs, rules, routes, nft, pins."""
    listed = {name: namespace.run(*command) for name, command in {
        "links": ("ip", "-o", "link", "show"), "qdiscs": ("tc", "qdisc", "show"),
        "rules": ("ip", "rule", "show"), "routes": ("ip", "route", "show", "table", "all"),
        "routes 6": ("ip", "-6", "route", "show", "table", "all"),
    }.items()}
    listed["nft"] = namespace.try_run("nft", "list", "ruleset").stdout
    listed["programs"] = attached(namespace)
    listed["pins"] = pins_of(namespace)
    return listed


# --- apply and down -----------------------------------------------------------------------------


@test("down leaves nothing: links, programs, maps, pins, mount, tc, nft, routes as before")
def _(world):
    host = world.host
    before, mounts_before = snapshot(host), mounts()
    same(before["pins"], [], "pins before")
    for tries in range(3):
        objects_before = bpf_objects()
        host.apply(POLICY)
        host.apply(POLICY.replace("allow", "reject"))
        expect({"filtered": ("refused", tcp, world.peer, host.address[4], PORT)})
        ours = bpf_objects() - objects_before
        kinds = {kind for kind, _ in ours}
        same(kinds, {"prog", "map", "link"}, "what apply has made")
        holds(pins_of(host), "apply has pinned nothing")
        holds(MOUNT in mounts(), "bpffs is not mounted")
        same(host.reeve("down").count("not filtered any more"), 1)
        # Programs and maps are freed after a grace period. Others may use BPF on this machine at
        # the same time: what they have begun meanwhile is seen to change between tries.
        left = ours
        for _ in range(40):
            left = ours & bpf_objects()
            if not left:
                break
            time.sleep(0.1)
        if not left:
            break
    same(left, set(), "still in the kernel")
    same(snapshot(host), before)
    holds(f"{cookie_of(host):x}" not in pin_folders(), "its folder of pins is still there")
    if not pin_folders():
        same(mounts(), [], "mounts")
    holds(len(mounts()) <= max(1, len(mounts_before)), "more mounts than before")
    expect({"not filtered": ("open", tcp, world.peer, host.address[4], OTHER)})


@test("down where nothing runs says so and succeeds; status and rules too know")
def _(world):
    done = world.host.try_reeve("down")
    same((done.returncode, "nothing was running" in done.stdout), (0, True), done.stdout)
    same(world.host.reeve_json("status"), {"running": False})
    for command in ("rules", "flows", "show"):
        done = world.host.try_reeve(command)
        same(done.returncode, 1, f"reeve {command}")
        holds(done.stderr.strip(), f"reeve {command} fails in silence")


@test("a policy filters without any process, and again after down and apply")
def _(world):
    host = world.host
    for _ in range(3):
        host.apply(POLICY)
        expect({f"{port} IPv{family}": (word, tcp, world.peer, host.address[family], port)
                for port, word in ((PORT, "open"), (OTHER, "timeout")) for family in (4, 6)})
        host.reeve("down")
    host.apply(POLICY)
    same(run("ip", "netns", "pids", host.name).split(), [], "processes")


@test("namespaces are apart: a policy of one is not seen in the other, nor is its down")
def _(world):
    world.host.apply(POLICY)
    world.peer.apply("policy any -> self default allow\npolicy self -> any default allow\n")
    same(world.peer.reeve_json("status")["generation"], 1)
    world.peer.reeve("down")
    same(world.host.reeve_json("status")["running"], True)
    holds(pins_of(world.host), "down in one namespace took the pins of another")
    same(pins_of(world.peer), [])
    expect({"still filtered": ("timeout", tcp, world.peer, world.host.address[4], OTHER)})


@test("`ip netns exec` and nsenter lead to the same policy")
def _(world):
    name = world.host.name
    digest = world.host.reeve_json("status")["digest"]
    done = try_run("ip", "netns", "exec", name, REEVE, "status", "--json")
    same((done.returncode, done.stderr), (0, ""))
    same(json.loads(done.stdout)["digest"], digest)
    run("ip", "netns", "exec", name, REEVE, "down")
    same(world.host.reeve_json("status"), {"running": False})
    path = world.host.policy(POLICY)
    run("ip", "netns", "exec", name, REEVE, "apply", path)
    same(world.host.reeve_json("status")["digest"], digest)
    expect({"allowed": ("open", tcp, world.peer, world.host.address[4], PORT),
            "dropped": ("timeout", tcp, world.peer, world.host.address[4], OTHER)})


@test("a change in one namespace does not wait for one in another")
def _(world):
    host, peer = world.host, world.peer
    host.apply(POLICY)
    path = peer.policy("zone lan = eth0\npolicy any -> self default allow\n")
    with open(f"/run/reeve/lock-{cookie_of(host):x}", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        peer.reeve("apply", path)
        peer.reeve("apply", path)
        peer.reeve("sync")
        peer.reeve("down")
        waiting = host.start(REEVE, "apply", host.policy(POLICY))
        time.sleep(0.5)
        same(waiting.poll(), None, "a change in the same namespace waits")
    same(waiting.wait(10), 0)


@test("a namespace that is deleted while its policy runs can be made again")
def _(world):
    for _ in range(2):
        short = Namespace(world, "short")
        short.apply("policy any -> self default drop\n")
        same(short.reeve_json("status")["generation"], 1, "of a new namespace")
        short.reeve("down")
        os.close(short.fd)
        run("ip", "netns", "del", short.name)


# --- a refused apply ----------------------------------------------------------------------------

BROKEN = {
    "unknown word": ("zone lan = eth0\npolicy lan -> self default drop { permit 22/tcp }\n",
                     "permit"),
    "unknown zone": ("policy dmz -> self default drop\n", "dmz"),
    "unknown set": ("zone lan = eth0\npolicy lan -> self { allow from @nobody }\n", "nobody"),
    "interface in two zones": ("zone lan = eth0\nzone wan = eth0\n", "eth0"),
    "two defaults": ("zone lan = eth0\npolicy lan -> self default drop\n"
                     "policy lan -> self default allow\n", "default"),
    "not supported yet": ("zone lan = eth0\ntest \"web\" {\n}\n", "not supported yet"),
    "NUL": (b"zone lan = eth0\npolicy lan -> self default drop { allow 22/tcp\0 }\n", "NUL"),
    "no text at all": (b"\xff\xfe\x00\x01" * 64, ""),
    "a port too high": ("zone lan = eth0\npolicy lan -> self { allow 70000/tcp }\n", "70000"),
    "a range backwards": ("zone lan = eth0\npolicy lan -> self { allow 90-80/tcp }\n", "90-80"),
    "unclosed brace": ("zone lan = eth0\npolicy lan -> self default drop {\n allow 22/tcp\n", ""),
    "a long line": ("policy " + "x" * (10 << 20) + "\n", ""),
}


@test("a refused apply changes nothing: status, pins, counters, traffic")
def _(world):
    host = world.host
    host.apply(POLICY)
    expect({"before": ("open", tcp, world.peer, host.address[4], PORT)})

    def state():
        status = host.reeve_json("status")
        return {"digest": status["digest"], "generation": status["generation"],
                "since": status["since"], "pins": pins_of(host), "programs": attached(host),
                "text": host.reeve("show"), "ids": [rule["id"] for rule in host.rules()],
                "packets": host.hits("allow 1001")}

    before = state()
    found = {}
    for title, (text, word) in BROKEN.items():
        path = host.policy(text, "broken.reeve")
        done = host.try_reeve("apply", path)
        said = done.stdout + done.stderr
        found[title] = (done.returncode, word in said, "broken.reeve" in said, len(said) < 20000)
    same(found, {title: (1, True, True, True) for title in BROKEN},
         "status 1, names the word, names the file, is not endless")
    same(state(), before)
    expect({"after, allowed": ("open", tcp, world.peer, host.address[4], PORT),
            "after, dropped": ("timeout", udp, world.peer, host.address[6], OTHER)})


@test("--dry-run says what is wrong, and changes nothing when all is right")
def _(world):
    host = world.host
    before = host.reeve_json("status")
    host.reeve("apply", "--dry-run", host.policy(POLICY.replace("allow", "drop"), "dry.reeve"))
    after = host.reeve_json("status")
    same((after["digest"], after["generation"]), (before["digest"], before["generation"]))
    expect({"allowed": ("open", tcp, world.peer, host.address[4], PORT)})
    same(host.try_reeve("apply", "--dry-run",
                        host.policy(BROKEN["unknown word"][0], "dry.reeve")).returncode, 1)
    host.reeve("down")
    objects = pins_of(host)
    host.reeve("apply", "--dry-run", host.policy(POLICY, "dry.reeve"))
    same((pins_of(host), host.reeve_json("status")), (objects, {"running": False}))


# --- bad input to the command -------------------------------------------------------------------


@test("files that are not there, folders, loops: status 1 and the name")
def _(world):
    host, folder = world.host, world.folder
    one, two = os.path.join(folder, "one.reeve"), os.path.join(folder, "two.reeve")
    for path, included in ((one, "two.reeve"), (two, "one.reeve")):
        with open(path, "w", encoding="ascii") as file:
            file.write(f'include "{included}"\n')
    missing = host.policy('zone lan = eth0\ninclude "nowhere.reeve"\n', "including.reeve")
    set_missing = host.policy('set drop = file "nowhere.txt"\n', "set.reeve")
    found = {}
    for title, path, word in (("missing file", "/nowhere/policy.reeve", "/nowhere/policy.reeve"),
                              ("folder", folder, folder), ("include loop", one, "one.reeve"),
                              ("missing include", missing, "nowhere.reeve"),
                              ("missing set", set_missing, "nowhere.txt")):
        for command in ("check", "apply"):
            done = host.try_reeve(command, path)
            found[command, title] = (done.returncode, word in done.stdout + done.stderr)
    same(found, {key: (1, True) for key in found})


@test("CRLF line ends and a missing last newline are no error")
def _(world):
    text = POLICY.replace("\n", "\r\n").rstrip()
    world.host.reeve("check", world.host.policy(text.encode(), "crlf.reeve"))
    world.host.apply(text.encode())
    expect({"allowed": ("open", tcp, world.peer, world.host.address[4], PORT),
            "dropped": ("timeout", tcp, world.peer, world.host.address[4], OTHER)})


@test("wrong usage is status 2, and names what was meant")
def _(world):
    found = {}
    for words, hint in ((("aply",), "apply"), ((), ""), (("apply",), ""),
                        (("status", "--jason"), "--json"),
                        (("apply", "--dry-run"), ""), (("check", "a", "b", "--nonsense"), "")):
        done = world.host.try_reeve(*words)
        found[words] = (done.returncode, hint in done.stdout + done.stderr)
    same(found, {words: (2, True) for words in found})
    for words in (("--help",), ("apply", "--help"), ("--version",)):
        done = world.host.try_reeve(*words)
        same((done.returncode, bool(done.stdout.strip())), (0, True), " ".join(words))


@test("without root: status 1 and the capability that is missing; check needs none")
def _(world):
    if not shutil.which("setpriv"):
        raise Skip("setpriv is not installed")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
    os.chmod(world.folder, 0o755)
    path = world.host.policy(POLICY)
    # The build may be in a folder that nobody may enter.
    reach = os.path.join(world.folder, "reeve")
    shutil.copy(REEVE, reach)
    found = {}
    for words in (("apply", path), ("down",), ("status",), ("rules",), ("flows",)):
        done = world.host.try_run(*nobody, reach, *words)
        found[words[0]] = (done.returncode, "CAP_" in done.stderr)
    same(found, {word: (1, True) for word in found})
    done = world.host.try_run(*nobody, reach, "check", path)
    same(done.returncode, 0, done.stderr)
    expect({"still filtered": ("timeout", tcp, world.peer, world.host.address[4], OTHER)})


@test("a zone of interfaces that are not there is applied, and told")
def _(world):
    done = world.host.try_reeve("apply", world.host.policy(
        "zone lan = eth0\nzone wan = gone0\npolicy wan -> self default allow\n"
        f"policy lan -> self default drop {{ allow {PORT} }}\n"))
    same(done.returncode, 0, done.stderr)
    expect({"allowed": ("open", tcp, world.peer, world.host.address[4], PORT),
            "dropped": ("timeout", tcp, world.peer, world.host.address[4], OTHER)})


@test("apply lists the interfaces that no zone names, and warns of the default route")
def _(world):
    host = world.host
    host.ip("route add default via 10.77.1.10")
    try:
        done = host.try_reeve("apply", host.policy("policy any -> self default allow\n"))
        said = done.stdout + done.stderr
        same(done.returncode, 0, said)
        holds("eth0" in said and "other" in said and "default route" in said, said)
    finally:
        host.ip("route del default")


@test("many applies at the same time: each is whole, the last one holds")
def _(world):
    host = world.host
    paths = [host.policy(POLICY + f"# {number}\n" + f"policy lan -> self {{ drop {number}/tcp }}\n",
                         f"racing{number}.reeve") for number in range(2000, 2008)]
    processes = [host.start(REEVE, "apply", path) for path in paths]
    statuses = [process.wait(20) for process in processes]
    for process in processes:
        world.end(process)
    holds(0 in statuses and set(statuses) <= {0, 1}, f"statuses {statuses}")
    same(host.reeve_json("status")["running"], True)
    expect({"allowed": ("open", tcp, world.peer, host.address[4], PORT),
            "dropped": ("timeout", tcp, world.peer, host.address[4], OTHER)})


@test("apply that is killed at any moment leaves the old policy or the new")
def _(world):
    host = world.host
    paths = [host.policy(POLICY + f"policy lan -> self {{ allow {number} }}\n",
                         f"killed{number}.reeve") for number in (2001, 2002)]
    host.reeve("apply", paths[0])
    for number in range(24):
        process = host.start(REEVE, "apply", paths[number % 2])
        time.sleep(number * 0.003)
        process.kill()
        world.end(process)
        same(host.reeve_json("status")["running"], True, f"killed after {number * 3} ms")
        same(tcp(world.peer, host.address[4], PORT), "open", f"killed after {number * 3} ms")
        same(tcp(world.peer, host.address[4], OTHER, patience=0.1), "timeout",
             f"killed after {number * 3} ms")
    host.reeve("apply", paths[1])
    host.reeve("down")
    same(pins_of(host), [])
    eventually(lambda: attached(host) == [], "programs are gone")


@test("down that is killed can be run again")
def _(world):
    host = world.host
    for number in range(8):
        host.apply(POLICY)
        process = host.start(REEVE, "down")
        time.sleep(number * 0.002)
        process.kill()
        world.end(process)
        same(host.try_reeve("down").returncode, 0, f"killed after {number * 2} ms")
        same((pins_of(host), attached(host)), ([], []), f"killed after {number * 2} ms")
        same(tcp(world.peer, host.address[4], OTHER), "open", f"killed after {number * 2} ms")


def make_world():
    world = host_world("lifecycle")
    Echo(world.host, PORT, OTHER)
    return world


main(make_world)
