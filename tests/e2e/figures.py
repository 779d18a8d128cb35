#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel tells of the programs: show --image, and that none of them has grown unnoticed."""

import os

from e2e import TOP, World, holds, main, same, test

BOUNDS = os.path.join(TOP, "tests", "verified-instructions")
QUICK = ["arrive_ethernet", "arrive_raw", "depart_ethernet", "depart_raw"]
FULL = ["arrive_full_ethernet", "arrive_full_raw", "depart_full_ethernet", "depart_full_raw"]
GUARD = ["guard_local_in", "guard_post_routing"]
POLICY = "zone lan = lo\npolicy lan -> self default allow\n"


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


@test("show --image names every program, with its figures; --json too")
def _(world):
    host = world.host
    host.apply(POLICY)
    found = programs_of(host)
    same(sorted(set(found) - set(GUARD)), sorted(QUICK + FULL))
    for name, row in found.items():
        holds(row["id"] > 0 and row["verified"] > 0 and row["xlated_bytes"] > 8, f"{name}: {row}")
        # A quick program reaches its full one by a tail call, which is no part of it.
        if name in FULL:
            holds(row["verified"] > found[name.replace("full_", "")]["verified"], f"{name}: {row}")
    same(len({row["id"] for row in found.values()}), len(found), "ids")
    text = host.reeve("show", "--image")
    for name, row in found.items():
        holds(any(line.split()[:2] == [name, str(row["verified"])] for line in text.splitlines()),
              f"{name} {row['verified']}\n{text}")


@test("no program has grown beyond its bound")
def _(world):
    hold_against_bounds(world.host)


def world():
    made = World("figures")
    made.host = made.namespace("host")
    return made


if __name__ == "__main__":
    main(world)
