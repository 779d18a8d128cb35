# SPDX-License-Identifier: GPL-2.0-or-later
"""A home router in namespaces, for tests of translation with real programs.

    client ─┐
            switch ── (lan0) firewall (wan0) ── hop ── server
    inner  ─┘

client and inner are neighbours. server is behind one more router, and nobody outside knows the way
to inner addresses.
"""

import os
import shutil
import socket
import subprocess

from e2e import Skip, World, eventually, warm_up


def addresses(at, four, six):
    at.address = {4: four, 6: six}


def nat_world(name):
    world = World(name)
    for role in ("switch", "client", "inner", "firewall", "hop", "server"):
        setattr(world, role, world.namespace(role))
    world.switch.ip("link add br0 type bridge", "link set br0 up")
    for port, at, interface in (("fw", world.firewall, "lan0"), ("client", world.client, "eth0"),
                                ("inner", world.inner, "eth0")):
        world.link(world.switch, port, at, interface)
        world.switch.ip(f"link set {port} master br0")
    world.link(world.firewall, "wan0", world.hop, "near")
    world.link(world.hop, "far", world.server, "eth0")
    for at in (world.firewall, world.hop):
        at.forward()
    number(world)
    for at, other in ((world.client, world.firewall.lan), (world.inner, world.firewall.lan),
                      (world.firewall, world.server.address), (world.server, world.firewall.wan)):
        warm_up(world, [(at, other)])
    return world


def number(world):
    addresses(world.client, "10.77.1.10", "fd00:77:1::10")
    addresses(world.inner, "10.77.1.20", "fd00:77:1::20")
    addresses(world.server, "198.51.100.80", "2001:db8:51::80")
    world.firewall.lan = {4: "10.77.1.1", 6: "fd00:77:1::1"}
    world.firewall.wan = {4: "203.0.113.1", 6: "2001:db8:203::1"}
    world.hop.near = {4: "203.0.113.2", 6: "2001:db8:203::2"}
    world.hop.far = {4: "198.51.100.1", 6: "2001:db8:51::1"}
    for at, interface, address, gateway in (
            (world.client, "eth0", world.client.address, world.firewall.lan),
            (world.inner, "eth0", world.inner.address, world.firewall.lan),
            (world.firewall, "lan0", world.firewall.lan, None),
            (world.firewall, "wan0", world.firewall.wan, world.hop.near),
            (world.hop, "near", world.hop.near, None), (world.hop, "far", world.hop.far, None),
            (world.server, "eth0", world.server.address, world.hop.far)):
        at.ip(f"addr add {address[4]}/24 dev {interface}",
              f"addr add {address[6]}/64 dev {interface} nodad")
        if gateway:
            at.ip(f"route add default via {gateway[4]}", f"route add ::/0 via {gateway[6]}")


# --- programs ------------------------------------------------------------------------------------


def need(*programs):
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for program in programs:
        if not shutil.which(program, path=path):
            raise Skip(f"{program} is not installed")


def server(at, port, *command, **options):
    """Starts a program that listens at this TCP port, and waits until it does."""
    log = open(os.path.join(at.world.folder, f"{at.role}-{os.path.basename(command[0])}.log"), "ab")
    at.world.closers.append(log.close)
    options.setdefault("stdout", subprocess.DEVNULL)
    process = at.start(*command, stderr=log, **options)

    def listens():
        if process.poll() is not None:
            raise AssertionError(f"{command[0]} ended: {tail(log.name)}")
        with at.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0
    eventually(listens, f"{command[0]} listens", 10)
    return process


def tail(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()[-600:]


def web(at, port, folder):
    """python's web server, for both families; it logs who asks."""
    return server(at, port, "/usr/bin/python3", "-u", "-m", "http.server", "--bind", "::",
                  "--directory", folder, str(port))


def sshd(at, port):
    """A server with its own keys, for root with the key that is in the world's folder."""
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    folder = at.world.folder
    for name in (f"host-{at.role}", "key"):
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True,
                           stdin=subprocess.DEVNULL)
    return server(at, port, "/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-p", str(port),
                  "-h", f"{folder}/host-{at.role}", "-o", "PidFile=none", "-o", "UsePAM=no",
                  "-o", "StrictModes=no", "-o", f"AuthorizedKeysFile={folder}/key.pub",
                  "-o", "PermitRootLogin=yes", "-o", "UseDNS=no")


def ssh(at, address, port, *command, **options):
    return at.run("ssh", "-F", "/dev/null", "-i", f"{at.world.folder}/key", "-p", str(port),
                  "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                  "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5",
                  "-o", "KexAlgorithms=curve25519-sha256",
                  f"root@{address}", *command, **options)


VSFTPD = """
background=NO
listen=NO
listen_ipv6=YES
listen_port={port}
anonymous_enable=YES
anon_root={root}
no_anon_password=YES
anon_max_rate=0
secure_chroot_dir={empty}
pasv_min_port={passive[0]}
pasv_max_port={passive[1]}
seccomp_sandbox=NO
isolate_network=NO
xferlog_enable=NO
"""


def vsftpd(at, port, root, passive):
    folder = at.world.folder
    os.makedirs(f"{folder}/empty", exist_ok=True)
    path = f"{folder}/vsftpd-{at.role}.conf"
    with open(path, "w", encoding="ascii") as file:
        file.write(VSFTPD.format(port=port, root=root, passive=passive, empty=f"{folder}/empty"))
    os.chmod(folder, 0o755)
    return server(at, port, "/usr/sbin/vsftpd", path)


def dnsmasq(at, records):
    return server(at, 53, "/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
                  "--pid-file", "--no-resolv", "--no-hosts", "--user=root", "--edns-packet-max=4096",
                  *records)
