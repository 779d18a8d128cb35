#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel tells of the programs: show --image, and that none of them has grown unnoticed."""

from bounds import hold_against_bounds, programs_of
from e2e import World, holds, main, same, test

QUICK = ["arrive_ethernet", "arrive_raw", "depart_ethernet", "depart_raw"]
FULL = ["arrive_full_ethernet", "arrive_full_raw", "depart_full_ethernet", "depart_full_raw"]
GUARD = ["guard_local_in", "guard_post_routing"]
EARLY = ["early_ethernet", "early_raw", "early_ethernet_generic", "early_raw_generic"]
POLICY = "zone lan = lo\npolicy lan -> self default allow\n"


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


@test("no program has grown beyond its bound; those of early are there once a policy has some")
def _(world):
    world.host.apply(POLICY + "early lan { drop fragment }\n")
    same(set(EARLY) - set(programs_of(world.host)), set())
    hold_against_bounds(world.host)


def world():
    made = World("figures")
    made.host = made.namespace("host")
    return made


if __name__ == "__main__":
    main(world)
