# SPDX-License-Identifier: GPL-2.0-or-later
"""What it costs to drop a packet early, by a set of a million addresses and prefixes."""

import json
import random
import statistics

import policies
from world import INGRESS, program

SEED = 20240607
ENTRIES = 1_000_000
# How many prefixes of each length; the other entries are addresses.
LENGTHS = {16: 50, 20: 1000, 22: 5000, 24: 60_000, 28: 20_000, 30: 13_950}
COUNT = 2_000_000  # frames of a run

POLICY = f"""{policies.ZONES}set blocked = dynamic {{ max {ENTRIES} }}
early client {{
    drop from @blocked
}}
"""


def dotted(value):
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def entries():
    """([entry], {prefix length: [a source of each entry of it]}); no two entries overlap."""
    draw = random.Random(SEED)
    lines, sources, taken = [], {}, {}
    for length in (*LENGTHS, 32):
        wanted = LENGTHS.get(length, ENTRIES - len(lines))
        found = []
        while len(found) < wanted:
            value = draw.randrange(1 << 24, 224 << 24)
            host = 32 - length
            if value >> 24 in (10, 127) or any(value >> 32 - other in there
                                               for other, there in taken.items()):
                continue
            taken.setdefault(length, set()).add(value >> host)
            lines.append(f"{dotted(value >> host << host)}/{length}")
            found.append(dotted(value))
        sources[length] = found
    return lines, sources


def drops(world, sources, rounds):
    path = world.file("sources", "\n".join(sources) + "\n")
    return json.loads(world.inside("taskset", "-c", str(world.cpu), program("drops"), path,
                                   str(rounds), str(COUNT), INGRESS))


def ratio(figures, one, base):
    return statistics.median(a / b for a, b in zip(figures[one], figures[base]))


def million_drops(world, progress, rounds):
    """Medians of ns a frame, and of their ratios round by round."""
    progress(f"a set of {ENTRIES} entries")
    lines, sources = entries()
    draw = random.Random(SEED)
    every = [source for some in sources.values() for source in some]
    draw.shuffle(every)
    try:
        world.reeve("apply", world.file("early.reeve", POLICY))
        blocked = world.file("blocked", "\n".join(lines) + "\n")
        world.reeve("set", "replace", "blocked", "-f", blocked)
        found = {"entries": len(lines), "lengths": len(sources)}
        for name, first in (("address", sources[32][0]), ("prefix", sources[24][0])):
            progress(f"drops by the set: hot source of {name}")
            figures = drops(world, [first, *every], rounds)
            found[name] = {key: statistics.median(values) for key, values in figures.items()}
            found[name]["hot_ratio"] = ratio(figures, "hot", "empty")
            found[name]["random_ratio"] = ratio(figures, "random", "random_empty")
    finally:
        world.unfilter()
    return found
