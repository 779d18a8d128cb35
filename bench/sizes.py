# SPDX-License-Identifier: GPL-2.0-or-later
"""What a large policy costs to check and apply, and how much memory a million flows take."""

import json
import shutil
import statistics
import time

import policies
from world import REEVE, program, run

RULES = 10_000
TIMES = 5
FLOWS = 1_000_000


def seconds(action):
    start = time.monotonic()
    action()
    return time.monotonic() - start


def first_apply(world, path):
    """With the programs loaded and verified anew."""
    world.reeve("down")
    return seconds(lambda: world.reeve("apply", path))


def nft_load(world, path):
    world.nft("flush ruleset")
    return seconds(lambda: world.inside("nft", "-f", path))


def large_policy(world, progress, _rounds):
    """Medians in seconds, and the size of the image."""
    rules = policies.large_rules(RULES)
    path = world.file("large.reeve", policies.reeve_large(rules))
    other = world.file("other.reeve", policies.reeve_large(policies.large_rules(RULES, 1)))
    figures = {"rules": RULES, "seed": policies.SEED}
    try:
        progress(f"check of {RULES} rules")
        figures["check_s"] = statistics.median(seconds(lambda: run(REEVE, "check", path))
                                               for _ in range(TIMES))
        progress(f"apply of {RULES} rules")
        figures["apply_first_s"] = statistics.median(first_apply(world, path)
                                                     for _ in range(TIMES))
        figures["apply_s"] = statistics.median(
            seconds(lambda i=i: world.reeve("apply", path if i % 2 else other))
            for i in range(TIMES))
        report = json.loads(world.reeve("apply", path, "--json"))
        figures["image_bytes"] = report["image"]["bytes"]
        figures["walk_max"] = report["image"]["walk_max"]
        if shutil.which("nft"):
            progress(f"nft loads {RULES} rules")
            nft = world.file("large.nft", policies.nft_large(rules))
            figures["nft_s"] = statistics.median(nft_load(world, nft) for _ in range(TIMES))
    finally:
        world.unfilter()
    return figures


def million_flows(world, progress, _rounds):
    """Shape and memory of the table of a policy with room for a million flows."""
    progress(f"room for {FLOWS} flows")
    options = f"options {{ flows {FLOWS} }}\n"
    try:
        world.reeve("apply", world.file("million.reeve", policies.reeve_stateful(options)))
        return json.loads(world.inside(program("repeat"), "map", "flows"))
    finally:
        world.unfilter()
