# SPDX-License-Identifier: GPL-2.0-or-later
"""What a forwarded packet costs under each filter.

Cases take turns, so that what else the machine does meets all of them. A turn puts the filter in
place, establishes the flows, sends several runs of frames over them, and takes the filter away. A
run's figure is the mean of its quiet batches (inject.c), a turn's the median of its runs, a case's
the median of its turns, of which the first is not counted. Ratios and differences are taken within
a round and then the median of these.
"""

import shutil
import statistics
import time
from dataclasses import dataclass, field

import policies
from world import Failed

RUNS = 5
RUN_NS = 60e6  # about how long one run is
COUNT_MAX = 2_000_000  # frames of a run
BLOCK = 10_000  # flows established at once: fewer than any table of unanswered ones holds
TOLERANCE = 1e-4  # of the frames sent may be missing
SETTLE = 0.1  # seconds; what was taken away is freed by then


@dataclass
class Case:
    name: str
    title: str
    filter: str = "none"  # none, nft, reeve
    flows: int = 1000
    stateful: bool = False
    translated: bool = False  # stateful too
    rules: int = 0
    redirect: bool = False
    reply: bool = False  # measured in the direction of the replies
    peer: str = ""  # the case to compare with
    rounds: list = field(default_factory=list)  # ns per packet
    quiet: float = 100.0  # per cent of the batches of the worst run
    error: str = ""

    @property
    def ns(self):
        return statistics.median(self.rounds) if self.rounds else None

    def policy(self):
        if self.translated:
            return policies.nft_nat() if self.filter == "nft" else policies.reeve_nat()
        module = {"nft": (policies.nft_stateful, policies.nft_stateless),
                  "reeve": (policies.reeve_stateful, policies.reeve_stateless)}[self.filter]
        return module[0]() if self.stateful else module[1](self.rules)


def all_cases():
    cases = [Case("floor", "XDP redirect, no stack", redirect=True),
             Case("none", "no filter")]
    for kind, peer in (("nft", ""), ("reeve", "nft-")):
        for flows in (1000, 50_000):
            name = f"stateful-{flows}"
            title = f"{kind}, stateful, {flows // 1000} 000 flows"
            cases.append(Case(f"{kind}-{name}", title, kind, flows, True,
                              peer=peer and peer + name))
            cases.append(Case(f"{kind}-{name}-reply", title + ", replies", kind, flows, True,
                              reply=True, peer=peer and peer + name + "-reply"))
        for reply in (False, True):
            name = "nat-1000" + ("-reply" if reply else "")
            cases.append(Case(f"{kind}-{name}",
                              f"{kind}, translated, 1 000 flows" + (", replies" if reply else ""),
                              kind, 1000, True, True, reply=reply, peer=peer and peer + name))
        for rules in (10, 100, 1000):
            name = f"rules-{rules}"
            cases.append(Case(f"{kind}-{name}", f"{kind}, {rules} stateless rules", kind,
                              rules=rules, peer=peer and peer + name))
    return cases


def send(world, case, count, reply=None, first=0, flows=None):
    """ns per packet; Failed when frames are missing."""
    flows = flows or case.flows
    if case.redirect:
        answer = world.command(f"redirect {flows} {count}")
    else:
        direction = "reply" if (case.reply if reply is None else reply) else "original"
        answer = world.command(f"send {direction} {first} {flows} {count}")
    made, arrived, _, nanoseconds, quiet = answer
    if made != count or abs(made - arrived) > made * TOLERANCE:
        raise Failed(f"{arrived:.0f} of {made:.0f} frames arrived ({count} wanted)")
    case.quiet = min(case.quiet, quiet)
    return nanoseconds


def establish(world, case):
    """Original, reply, original for each flow: then every filter takes it for answered."""
    for first in range(0, case.flows, BLOCK):
        flows = min(BLOCK, case.flows - first)
        for reply in (False, True, False):
            send(world, case, flows, reply, first, flows)


def tracked(world, case):
    """How many flows the filter knows."""
    if case.filter == "reeve":
        return world.reeve_json("status")["flows"]["used"]
    return int(world.inside("cat", "/proc/sys/net/netfilter/nf_conntrack_count"))


def raise_filter(world, case):
    if case.filter == "nft":
        world.nft(case.policy())
    elif case.filter == "reeve":
        world.reeve("apply", world.file(f"{case.name}.reeve", case.policy()))
        world.reeve("flows", "kill", "all")  # what it has taken over of nft's, from conntrack


def turn(world, case):
    """One turn: ns per packet."""
    try:
        raise_filter(world, case)
        if case.stateful:
            establish(world, case)
        warm = send(world, case, max(2000, 2 * case.flows))
        count = int(min(max(RUN_NS / warm, 2 * case.flows), COUNT_MAX))
        figures = [send(world, case, count) for _ in range(RUNS)]
        if case.stateful and tracked(world, case) < case.flows:
            raise Failed(f"only {tracked(world, case)} of {case.flows} flows are tracked")
        if case.filter == "reeve" and not case.stateful and tracked(world, case):
            raise Failed("stateless rules have made flows")
        return statistics.median(figures)
    finally:
        world.unfilter()
        time.sleep(SETTLE)


def measure(world, cases, rounds, progress):
    """Fills the cases. One that fails is not tried again."""
    for case in cases:
        if case.filter == "nft" and not shutil.which("nft"):
            case.error = "nft is not installed"
    for i in range(rounds + 1):
        for case in cases:
            if case.error:
                continue
            progress(f"round {i} of {rounds}: {case.title}")
            try:
                figure = turn(world, case)
            except Failed as error:
                case.error = str(error)
                case.rounds = []
                continue
            if i:
                case.rounds.append(figure)


def ratio(case, base):
    """Median of the ratios round by round; None when either was not measured."""
    if not case or not base or not case.rounds or not base.rounds:
        return None
    return statistics.median(a / b for a, b in zip(case.rounds, base.rounds))


def difference(case, base):
    if not case or not base or not case.rounds or not base.rounds:
        return None
    return statistics.median(a - b for a, b in zip(case.rounds, base.rounds))
