# SPDX-License-Identifier: GPL-2.0-or-later
"""The table, the bars, the surroundings."""

import os
import platform
import re
import shutil
import subprocess

from packets import TOLERANCE, difference, ratio

MIB = 1 << 20


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.splitlines()[0].strip() if done.stdout else None


def environment(reeve, cpu):
    model = "?"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.MULTILINE)
    if found:
        model = found[1]
    with open("/proc/sys/net/core/bpf_jit_enable", encoding="ascii") as file:
        jit = file.read().strip() != "0"
    return {"kernel": platform.release(), "machine": platform.machine(), "cpu": model,
            "cpus": os.cpu_count(), "pinned_to": cpu, "bpf_jit": jit,
            "load": os.getloadavg()[0], "reeve": first_line(reeve, "--version"),
            "nft": first_line("nft", "--version") if shutil.which("nft") else None}


# --- bars ---


def bar(text, measured, held):
    return {"bar": text, "measured": measured, "held": held}


def nanoseconds_bar(by_name, text, name, most):
    both = [difference(by_name.get(one), by_name.get("none")) for one in (name, name + "-reply")]
    if None in both:
        return bar(text, None, None)
    return bar(text, f"+{both[0]:.0f} ns, replies +{both[1]:.0f} ns", max(both) <= most)


def nanoseconds_bars(by_name):
    return [nanoseconds_bar(by_name, "stateful forwarding, 1 000 flows: at most no filter + 150 ns",
                            "reeve-stateful-1000", 150),
            nanoseconds_bar(by_name, "translated, 1 000 flows: at most no filter + 200 ns",
                            "reeve-nat-1000", 200)]


def rules_bar(by_name):
    text = "1 000 stateless rules: within 20 % of 10 rules"
    found = ratio(by_name.get("reeve-rules-1000"), by_name.get("reeve-rules-10"))
    return bar(text, found and f"{(found - 1) * 100:+.0f} %", found and found <= 1.2)


def apply_bar(apply):
    text = "apply of 10 000 rules: at most 1 s"
    if "apply_s" not in apply:
        return bar(text, None, None)
    return bar(text, f"{apply['apply_s']:.2f} s, the first one {apply['apply_first_s']:.2f} s",
               max(apply["apply_s"], apply["apply_first_s"]) <= 1)


def memory_bars(memory):
    texts = ("flow key: 40 bytes", "flow record: at most 160 bytes",
             "room for a million flows: at most 256 MiB")
    if "bytes" not in memory:
        return [bar(text, None, None) for text in texts]
    return [bar(texts[0], f"{memory['key']} bytes", memory["key"] == 40),
            bar(texts[1], f"{memory['record']} bytes", memory["record"] <= 160),
            bar(texts[2], f"{memory['bytes'] / MIB:.0f} MiB", memory["bytes"] <= 256 * MIB)]


def early_bar(early):
    text = "early drop by a set of 1 000 000, hot source: at most 3 times an empty XDP drop"
    if "address" not in early:
        return bar(text, None, None)
    found = [early[name]["hot_ratio"] for name in ("address", "prefix")]
    return bar(text, f"{found[0]:.2f} times by an address, {found[1]:.2f} by a prefix",
               max(found) <= 3)


def bars(cases, apply, memory, early):
    by_name = {case.name: case for case in cases}
    return [*nanoseconds_bars(by_name), rules_bar(by_name), apply_bar(apply), *memory_bars(memory),
            early_bar(early)]


# --- JSON ---


def case_json(case, by_name):
    return {"name": case.name, "title": case.title, "flows": case.flows, "ns": case.ns,
            "rounds": case.rounds, "quiet_percent": case.quiet,
            "of_no_filter": ratio(case, by_name.get("none")),
            "over_no_filter_ns": difference(case, by_name.get("none")),
            "peer": case.peer or None, "of_peer": ratio(case, by_name.get(case.peer)),
            "error": case.error or None}


def as_json(surroundings, cases, apply, memory, early):
    by_name = {case.name: case for case in cases}
    return {"environment": surroundings, "cases": [case_json(case, by_name) for case in cases],
            "apply": apply, "memory": memory, "early": early,
            "bars": bars(cases, apply, memory, early)}


# --- text ---


def number(value, form):
    return "-" if value is None else format(value, form)


def packet_table(cases):
    by_name = {case.name: case for case in cases}
    rows = [("", "ns/packet", "lowest - highest", "of no filter", "over it", "of nft")]
    notes = []
    for case in cases:
        if case.error:
            rows.append((case.title, "not measured", "", "", "", ""))
            notes.append(f"{case.title}: {case.error}")
            continue
        none = by_name.get("none")
        over = difference(case, none)
        rows.append((case.title, number(case.ns, ".0f"),
                     f"{min(case.rounds):.0f} - {max(case.rounds):.0f}",
                     number(ratio(case, none), ".2f"),
                     "-" if over is None else f"{over:+.0f} ns",
                     number(ratio(case, by_name.get(case.peer)), ".2f")))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    for note in notes:
        print(f"not measured: {note}")
    measured = [case for case in cases if case.rounds]
    if measured:
        print(f"Of the frames sent at most {TOLERANCE * 100:g} % are missing; of the batches of "
              f"the worst run {min(case.quiet for case in measured):.0f} % were undisturbed.")


def early_lines(early):
    print(f"early, {early['entries']} addresses and prefixes of {early['lengths']} lengths, "
          "ns a frame:")
    for name, source in (("address", "an address of the set"), ("prefix", "in a /24 of the set")):
        found = early[name]
        print(f"  one source, {source}: {found['hot']:.0f}, an empty drop {found['empty']:.0f}; "
              f"random sources: {found['random']:.0f}, an empty drop {found['random_empty']:.0f}")


def print_report(surroundings, cases, apply, memory, early):
    jit = "JIT on" if surroundings["bpf_jit"] else "JIT OFF: figures mean little"
    print(f"{surroundings['cpu']}, {surroundings['cpus']} CPUs, Linux {surroundings['kernel']}, "
          f"{jit}; load {surroundings['load']:.1f}")
    print(f"{surroundings['reeve']}; {surroundings['nft'] or 'nft is not installed'}\n")
    if cases:
        packet_table(cases)
        print()
    if "check_s" in apply:
        print(f"{apply['rules']} rules (seed {apply['seed']}): check {apply['check_s']:.2f} s, "
              f"apply {apply['apply_s']:.2f} s, the first apply {apply['apply_first_s']:.2f} s, "
              f"image {apply['image_bytes'] / MIB:.1f} MiB, walks of at most "
              f"{apply['walk_max']} nodes"
              + (f"; nft loads the same in {apply['nft_s']:.2f} s" if "nft_s" in apply else ""))
    if "bytes" in memory:
        print(f"{memory['entries']} flows: {memory['bytes'] / MIB:.0f} MiB "
              f"(key {memory['key']}, record {memory['record']} bytes)")
    if "entries" in early:
        early_lines(early)
    for name, part in (("apply", apply), ("memory", memory), ("early", early)):
        if "error" in part:
            print(f"not measured: {name}: {part['error']}")
    print()
    for one in bars(cases, apply, memory, early):
        held = {None: "not measured", True: "held", False: "NOT held"}[one["held"]]
        print(f"{held:12}  {one['bar']}" + (f": {one['measured']}" if one["measured"] else ""))
