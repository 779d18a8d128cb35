# SPDX-License-Identifier: GPL-2.0-or-later
"""Inside a kernel that tests/kernels/run has booted: runs the suites, looks at what the kernel said,
and turns the machine off with the outcome as its status."""

import os
import re
import subprocess
import sys
import termios
import tty

TESTS = "/reeve/tests"
TAP = "/dev/ttyS1"
SUITE_SECONDS = 200
# What a kernel says when it is not well; the poison and red zones of slub_debug are among it.
BAD = re.compile(r"BUG|WARNING:|Oops|general protection|KASAN|Slab corruption|Redzone|Poison|"
                 r"Object padding overwritten|refcount_t|suspicious RCU|unregister_netdevice")


def chosen_suites():
    with open("/proc/cmdline", encoding="ascii") as file:
        words = dict(word.partition("=")[::2] for word in file.read().split())
    return words["suites"].split(",")


def run_suite(path, out):
    """True if all went well; what it printed is a TAP stream of its own."""
    out.write(f"# --- {path}\n")
    out.flush()
    try:
        done = subprocess.run([sys.executable, os.path.join(TESTS, path)], stdin=subprocess.DEVNULL,
                              stdout=out, stderr=out, timeout=SUITE_SECONDS, check=False,
                              cwd=os.path.dirname(TESTS))
    except subprocess.TimeoutExpired:
        out.write(f"Bail out! {path} took longer than {SUITE_SECONDS} s\n")
        return False
    return done.returncode == 0


def kernel_is_well(out):
    said = subprocess.run(["dmesg"], stdout=subprocess.PIPE, text=True, check=False,
                          errors="replace").stdout.splitlines()
    bad = [line for line in said if BAD.search(line)]
    out.write("1..1\n" + "not " * bool(bad) + "ok 1 - the kernel has not complained\n")
    for line in bad[:20]:
        out.write(f"# {line}\n")
    return not bad


def main():
    with open(TAP, "w", encoding="utf-8") as out:
        tty.setraw(out.fileno())
        good = all([run_suite(suite, out) for suite in chosen_suites()])
        good = kernel_is_well(out) and good
        with open("/proc/uptime", encoding="ascii") as file:
            out.write(f"# after {file.read().split()[0]} s\n")
        out.write("# outcome: " + ("well" if good else "ill") + "\n")
        out.flush()
        termios.tcdrain(out.fileno())
    subprocess.run(["/usr/bin/busybox", "reboot", "-f"], check=False)


if __name__ == "__main__":
    main()
