# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules that are measured, in reeve's language and in nft's; a large policy made at random."""

import random

from world import EGRESS, INGRESS

PORT = 53  # what the frames of the bench go to
CLIENTS = "10.101.0.0/16"  # where they come from
SEED = 20240607

ZONES = f"zone client = {INGRESS}\nzone server = {EGRESS}\n"


def miss(i):
    """The i-th rule that no frame of the bench matches: port, source, destination."""
    return 1000 + i, f"172.{i % 200}.{i // 200}.0/24", f"10.9.{i % 250}.1"


def reeve_stateful(options=""):
    return f"{ZONES}{options}policy client -> server default drop {{\n    allow {PORT}/udp\n}}\n"


def reeve_nat():
    """Every source is translated to itself, so the frames and their replies stay as they are."""
    return reeve_stateful() + (f"nat client -> server {{ source from {CLIENTS} to {CLIENTS} }}\n")


def reeve_stateless(rules):
    """`rules` rules without state; the last one matches."""
    lines = [f"    allow {port}/udp from {source} to {destination} stateless"
             for port, source, destination in map(miss, range(rules - 1))]
    lines.append(f"    allow {PORT}/udp stateless")
    return ZONES + "policy client -> server default drop {\n" + "\n".join(lines) + "\n}\n"


def nft_chain(lines):
    return ("table ip bench {\n chain forward {\n"
            "  type filter hook forward priority 0; policy drop;\n  "
            + "\n  ".join(lines) + "\n }\n}\n")


def nft_stateful():
    return nft_chain(["ct state established accept", f"udp dport {PORT} accept"])


def nft_nat():
    return nft_stateful() + ("table ip bench-nat {\n chain out {\n"
                             "  type nat hook postrouting priority srcnat;\n"
                             f"  snat ip prefix to ip saddr map {{ {CLIENTS} : {CLIENTS} }}\n"
                             " }\n}\n")


def nft_stateless(rules):
    lines = [f"ip saddr {source} ip daddr {destination} udp dport {port} accept"
             for port, source, destination in map(miss, range(rules - 1))]
    return nft_chain([*lines, f"udp dport {PORT} accept"])


# --- a large policy ---


class Maker:
    """Rules as access lists have them: mostly a prefix to a server's port, some ranges of ports."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def prefix(self, lengths):
        length = self.random.choice(lengths)
        value = self.random.getrandbits(length) << (32 - length) if length else 0
        value = value & 0x7fffffff | 0x0a000000  # somewhere among ordinary addresses
        value &= 0xffffffff << (32 - length) & 0xffffffff
        return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0)) + f"/{length}"

    def ports(self):
        first = self.random.choice([22, 25, 53, 80, 123, 443, 3306, 5432, 8080,
                                    self.random.randrange(1024, 60000)])
        if self.random.random() < 0.1:
            return f"{first}-{first + self.random.randrange(1, 2000)}"
        return str(first)

    def rule(self):
        """(action, protocol, source, source ports or None, destination, destination ports)"""
        source_ports = "1024-65535" if self.random.random() < 0.3 else None
        return (self.random.choice(["allow", "allow", "drop"]),
                self.random.choice(["tcp", "tcp", "udp"]),
                self.prefix([16, 20, 24, 24, 28, 32]), source_ports,
                self.prefix([24, 28, 32, 32, 32]), self.ports())


def large_rules(count, seed=SEED):
    maker = Maker(seed)
    return [maker.rule() for _ in range(count)]


def reeve_large(rules):
    lines = [f"    {action} {ports}/{protocol} from {source}"
             + (f" port {source_ports}" if source_ports else "") + f" to {destination}"
             for action, protocol, source, source_ports, destination, ports in rules]
    return ZONES + "policy client -> server default drop {\n" + "\n".join(lines) + "\n}\n"


def nft_large(rules):
    lines = [f"ip saddr {source} ip daddr {destination} {protocol} "
             + (f"sport {source_ports} {protocol} " if source_ports else "")
             + f"dport {ports} {'accept' if action == 'allow' else 'drop'}"
             for action, protocol, source, source_ports, destination, ports in rules]
    return nft_chain(["ct state established accept", *lines])
