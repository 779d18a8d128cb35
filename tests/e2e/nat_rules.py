#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of NAT as a person sees them: counters, explain by this host's routes, warnings of apply,
and prefixes that are translated as explain says."""

from e2e import Echo, holds, main, router_world, same, tcp, test

WEB, OUT = 80, 1001
INNER, OUTER = "fd00:77:1::", "2001:db8:99::"

HEAD = """
zone wan = wan0
zone lan = lan0
policy lan -> wan default allow
policy self -> any default allow
policy wan -> lan default drop { allow 80/tcp }
"""
FORWARD = "forward 8080/tcp to 10.77.1.10:80"
NAT = HEAD + f"nat lan -> wan {{ masquerade }}\nnat wan -> self {{ {FORWARD} }}\n"


def explained(world, *question):
    return world.firewall.reeve_json("explain", " ".join(question))


@test("each translated flow counts at its rule, and counts are kept over an apply")
def _(world):
    world.firewall.apply(NAT)
    before = world.firewall.hits("masquerade"), world.firewall.hits(FORWARD)
    for _ in range(3):
        same(tcp(world.client, world.server.address[4], OUT), "open")
    same(tcp(world.server, world.firewall.wan[4], 8080), "open")
    after = world.firewall.hits("masquerade"), world.firewall.hits(FORWARD)
    same((after[0] - before[0], after[1] - before[1]), (3, 1))
    world.firewall.apply(NAT.replace("nat wan", "policy lan -> self default allow\nnat wan"))
    same((world.firewall.hits("masquerade"), world.firewall.hits(FORWARD)), after)
    rule = next(rule for rule in world.firewall.rules() if rule["text"] == FORWARD)
    same((rule["action"], rule["pair"]), ("translate", "wan -> self"))


@test("explain asks this host's routes for the zone of a target, and judges that pair")
def _(world):
    world.firewall.apply(NAT.replace("allow 80/tcp", "drop 80/tcp"))
    answer = explained(world, "wan -> self 8080/tcp from 203.0.113.80 to 203.0.113.1")
    same(answer["verdict"], "drop")
    same(answer["rule"]["pair"], "wan -> lan")
    same(answer["nat"]["judged"]["to"], "lan")
    same(answer["nat"]["forward"]["to"], "10.77.1.10:80")
    answer = explained(world, "lan -> wan 443/tcp from 10.77.1.10 to 203.0.113.80")
    same(answer["verdict"], "allow")
    same(answer["nat"]["source"]["rule"]["text"], "masquerade")


@test("apply warns of forwards that lead nowhere, or to where no zone is")
def _(world):
    policy = HEAD.replace("zone lan = lan0", "zone lan = eth9") + """
nat wan -> self {
    forward 8080/tcp to 10.77.1.10:80
    forward 8081/tcp to { 203.0.113.80, 198.18.5.5 }
    forward 8082/tcp to 203.0.113.1:22
    forward 8083/tcp to 203.0.113.1:8080
}
"""
    done = world.firewall.try_reeve("apply", "--dry-run", world.firewall.policy(policy))
    same(done.returncode, 0)
    holds("10.77.1.10 is reached by lan0, which no zone names" in done.stderr, done.stderr)
    holds("198.18.5.5 cannot be reached: there is no route to it" in done.stderr, done.stderr)
    holds("sends to this host's own 203.0.113.1, which `forward 8080/tcp to 10.77.1.10:80` forwards"
          in done.stderr, done.stderr)
    holds("8082" not in done.stderr, done.stderr)
    for address in ("203.0.113.80", "203.0.113.1"):
        holds(f": {address} " not in done.stderr, done.stderr)


def translated(world, inner, outer, source, port):
    world.firewall.apply(HEAD + f"nat lan -> wan {{ source from {inner} to {outer} }}\n")
    world.echo.heard.clear()
    family = 6 if ":" in source else 4
    same(tcp(world.client, world.server.address[family], port, source=source), "open")
    answer = explained(world, f"lan -> wan {port}/tcp from {source}",
                       f"to {world.server.address[family]}")
    return {peer for _, at, peer, _ in world.echo.heard if at == port}, \
        {answer["nat"]["source"]["to"]}


@test("a prefix is translated to a prefix, to the address that explain names")
def _(world):
    heard, said = translated(world, "10.88.7.0/24", "10.99.8.0/24", "10.88.7.5", OUT)
    same(heard, {"10.99.8.5"})
    same(said, heard)
    heard, said = translated(world, INNER + "/48", OUTER + "/48", "fd00:77:1:5::7", OUT)
    same(said, heard)


def build():
    world = router_world("natrules")
    world.client.ip("addr add 10.88.7.5/24 dev eth0", "addr add fd00:77:1:5::7/64 dev eth0 nodad")
    world.firewall.ip("addr add 10.88.7.1/24 dev lan0",
                      "addr add fd00:77:1:5::1/64 dev lan0 nodad")
    world.echo = Echo(world.server, OUT)
    world.inner = Echo(world.client, WEB)
    return world


main(build)
