# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/verified-instructions, and the programs that run held against it."""

import os

from e2e import TOP, same

BOUNDS = os.path.join(TOP, "tests", "verified-instructions")


def bounds(kernel):
    """{program: bound} for this kernel ("6.1")."""
    table = {}
    with open(BOUNDS, encoding="ascii") as file:
        for line in file:
            words = line.split("#")[0].split()
            if words:
                table.setdefault(words[0], {})[words[1]] = int(words[2])
    return table["any"] | table.get(kernel, {})


def kernel_here():
    return ".".join(os.uname().release.split(".")[:2])


def programs_of(host):
    return {row["name"]: row for row in host.reeve_json("show", "--image")["programs"]}


def hold_against_bounds(host):
    kernel = kernel_here()
    allowed = bounds(kernel)
    found = programs_of(host)
    for name, row in found.items():
        print(f"# verified on {kernel}: {name} {row['verified']} of {allowed.get(name)}")
    same(sorted(set(found) - set(allowed)), [], "programs without a bound")
    grown = [f"{name}: the verifier follows {row['verified']} instructions, the bound is "
             f"{allowed[name]}" for name, row in found.items() if row["verified"] > allowed[name]]
    if grown:
        raise AssertionError("\n".join(grown + [
            "If that is meant, raise the bound in tests/verified-instructions: a fifth more than now"]))
