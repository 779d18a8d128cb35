// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Policies and what they resolve to: clauses, or diagnostics with their places.
 */
#include "loaded.h"

#include <errno.h>
#include <stdio.h>

struct row {
	const char *policy;
	const char *expected;
};

/* What rules may name in the first two tables; they begin in line 2, column 22. */
static const char before[] =
	"zone wan = eth0; zone lan = eth1; set a = { 10.0.0.0/8, fd00::/8 }; "
	"set four = 192.0.2.1; set none = {}; service web = { 80/tcp, 443/tcp, 443/udp }\n"
	"policy wan -> self { ";

static const struct test_file others[] = {
	{ "/etc/services", "# x\ngopher 70/tcp\nmulti 5/tcp mlt\nmulti 5/udp\nbroken\n" },
	{ "drop.txt", "10.0.0.0/8\n# c\n\n192.0.2.1 # x\n2001:db8::/32\n10.1.0.0/16\n" },
	{ "bad.txt", "10.0.0.0/8\nfoo\n10.0.0.1/8\n" },
};

/* Rules of `wan -> self`: zones as bits, clauses as families and fields. */
static const struct row rules[] = {
	{ "allow 22/tcp",
	  "4>1 allow [46 proto=6 dport=22 frag=0]\n" },
	{ "allow 53",
	  "4>1 allow [46 proto=6 dport=53 frag=0] [46 proto=17 dport=53 frag=0]\n" },
	{ "allow { 53, 67/udp, 22/tcp } from @a",
	  "4>1 allow [4 proto=6 dport=22,53 frag=0 src=10.0.0.0-10.255.255.255(@a)] [6 proto=6 dport=22,53 frag=0 src=fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff(@a)] [4 proto=17 dport=53,67 frag=0 src=10.0.0.0-10.255.255.255(@a)] [6 proto=17 dport=53,67 frag=0 src=fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff(@a)]\n" },
	{ "allow { 80, 81, 82, 443 }/tcp",
	  "4>1 allow [46 proto=6 dport=80-82,443 frag=0]\n" },
	{ "allow { 80/tcp, 100-200/tcp, 150-300/tcp, 301/tcp }",
	  "4>1 allow [46 proto=6 dport=80,100-301 frag=0]\n" },
	{ "allow web",
	  "4>1 allow [46 proto=6 dport=80,443 frag=0] [46 proto=17 dport=443 frag=0]\n" },
	{ "allow web/udp",
	  "4>1 allow [46 proto=17 dport=443 frag=0]\n" },
	{ "allow { web, 8080/tcp }",
	  "4>1 allow [46 proto=6 dport=80,443,8080 frag=0] [46 proto=17 dport=443 frag=0]\n" },
	{ "allow ssh",
	  "4>1 allow [46 proto=6 dport=22 frag=0]\n" },
	{ "allow domain/udp",
	  "4>1 allow [46 proto=17 dport=53 frag=0]\n" },
	{ "allow gopher",
	  "4>1 allow [46 proto=6 dport=70 frag=0]\n" },
	{ "allow mlt",
	  "4>1 allow [46 proto=6 dport=5 frag=0]\n" },
	{ "allow tcp",
	  "4>1 allow [46 proto=6]\n" },
	{ "allow { tcp, 80/tcp, tcp syn }",
	  "4>1 allow [46 proto=6]\n" },
	{ "allow tcp syn",
	  "4>1 allow [46 proto=6 frag=0 flags=2/23]\n" },
	{ "allow { tcp syn, 80/tcp }",
	  "4>1 allow [46 proto=6 dport=80 frag=0] [46 proto=6 frag=0 flags=2/23]\n" },
	{ "allow icmp",
	  "4>1 allow [4 proto=1]\n" },
	{ "allow icmp echo-request",
	  "4>1 allow [4 proto=1 dport=2048-2303 frag=0]\n" },
	{ "allow { icmp, icmpv6 }",
	  "4>1 allow [4 proto=1] [6 proto=58]\n" },
	{ "allow icmpv6 type 143",
	  "4>1 allow [6 proto=58 dport=36608-36863 frag=0]\n" },
	{ "allow icmp type 3 code 4",
	  "4>1 allow [4 proto=1 dport=772 frag=0]\n" },
	{ "allow icmp destination-unreachable",
	  "4>1 allow [4 proto=1 dport=768-1023 frag=0]\n" },
	{ "allow { icmp host-unreachable, icmp echo-request }",
	  "4>1 allow [4 proto=1 dport=769,2048-2303 frag=0]\n" },
	{ "allow proto gre",
	  "4>1 allow [46 proto=47]\n" },
	{ "allow proto 47",
	  "4>1 allow [46 proto=47]\n" },
	{ "allow any",
	  "4>1 allow [46]\n" },
	{ "allow",
	  "4>1 allow [46]\n" },
	{ "allow { any, 80/tcp }",
	  "4>1 allow [46]\n" },
	{ "allow sctp",
	  "4>1 allow [46 proto=132]\n" },
	{ "allow 5060/sctp",
	  "4>1 allow [46 proto=132 dport=5060 frag=0]\n" },
	{ "allow udp from port 53",
	  "4>1 allow [46 proto=17 sport=53 frag=0]\n" },
	{ "allow from port 53",
	  "4>1 allow [46 proto=6 sport=53 frag=0] [46 proto=17 sport=53 frag=0]\n" },
	{ "allow 53 from port ntp",
	  "4>1 allow [46 proto=17 sport=123 dport=53 frag=0]\n" },
	{ "allow { 80/tcp, 53/udp } from port 1024-65535",
	  "4>1 allow [46 proto=6 sport=1024-65535 dport=80 frag=0] [46 proto=17 sport=1024-65535 dport=53 frag=0]\n" },
	{ "allow from 10.0.0.0/8",
	  "4>1 allow [4 src=10.0.0.0-10.255.255.255]\n" },
	{ "allow from { 10.0.0.0/8, 11.0.0.0/8, 13.0.0.1 }",
	  "4>1 allow [4 src=10.0.0.0-11.255.255.255,13.0.0.1]\n" },
	{ "allow from 10.0.0.0/8 to 10.1.0.0/16",
	  "4>1 allow [4 src=10.0.0.0-10.255.255.255 dst=10.1.0.0-10.1.255.255]\n" },
	{ "allow from { 10.0.0.1, fd00::1 } to 10.0.0.2",
	  "4>1 allow [4 src=10.0.0.1 dst=10.0.0.2]\n" },
	{ "allow from @a to @four",
	  "4>1 allow [4 src=10.0.0.0-10.255.255.255(@a) dst=192.0.2.1(@four)]\n" },
	{ "allow from { @a, 11.0.0.0/8 }",
	  "4>1 allow [4 src=10.0.0.0-11.255.255.255] [6 src=fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]\n" },
	{ "allow from !10.0.0.0/8",
	  "t.reeve:2:33 note negation-family: this is every other IPv4 address; no IPv6 address matches it\n"
	  "4>1 allow [4 src=0.0.0.0-9.255.255.255,11.0.0.0-255.255.255.255]\n" },
	{ "allow from !@a",
	  "4>1 allow [4 src=0.0.0.0-9.255.255.255,11.0.0.0-255.255.255.255(!@a)] [6 src=::-fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,fe00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff(!@a)]\n" },
	{ "allow from !{ 10.0.0.0/8, fd00::/8 } to !0.0.0.0-0.255.255.255",
	  "t.reeve:2:62 note negation-family: this is every other IPv4 address; no IPv6 address matches it\n"
	  "4>1 allow [4 src=0.0.0.0-9.255.255.255,11.0.0.0-255.255.255.255 dst=1.0.0.0-255.255.255.255]\n" },
	{ "allow icmp from @a",
	  "4>1 allow [4 proto=1 src=10.0.0.0-10.255.255.255(@a)]\n" },
	{ "allow { icmp, icmpv6, 22/tcp } from 10.0.0.1",
	  "4>1 allow [4 proto=1 src=10.0.0.1] [4 proto=6 dport=22 frag=0 src=10.0.0.1]\n" },
	{ "allow from 2001:db8::1-2001:db8::ff",
	  "4>1 allow [6 src=2001:db8::1-2001:db8::ff]\n" },
	{ "allow 80/tcp flags syn/syn,ack",
	  "4>1 allow [46 proto=6 dport=80 frag=0 flags=2/18]\n" },
	{ "allow flags ack",
	  "4>1 allow [46 proto=6 frag=0 flags=16/16]\n" },
	{ "allow tcp syn flags syn/syn,psh",
	  "4>1 allow [46 proto=6 frag=0 flags=2/31]\n" },
	{ "allow length 0-128",
	  "4>1 allow [46 length=0-128]\n" },
	{ "allow length > 1000",
	  "4>1 allow [46 length=1001-4294967295]\n" },
	{ "allow dscp ef",
	  "4>1 allow [46 dscp=46]\n" },
	{ "allow mark 0x1/0xff",
	  "4>1 allow [46 mark=1/ff]\n" },
	{ "allow mark 5",
	  "4>1 allow [46 mark=5/3fffffff]\n" },
	{ "allow mac 02:00:00:00:00:01",
	  "4>1 allow [46 mac=02..01]\n" },
	{ "allow state new",
	  "4>1 allow [46 state=0]\n" },
	{ "allow state untracked",
	  "4>1 allow [46 state=1]\n" },
	{ "allow fragment",
	  "4>1 allow [46 frag=1]\n" },
	{ "allow udp fragment",
	  "4>1 allow [46 proto=17 frag=1]\n" },
	{ "allow ttl < 5",
	  "4>1 allow [46 ttl=0-4]\n" },
	{ "allow ttl 255",
	  "4>1 allow [46 ttl=255]\n" },
	{ "allow icmp from @none",
	  "t.reeve:2:22 warning never-matches: nothing matches this: the set holds no address of a family that fits\n"
	  "4>1 allow\n" },
	{ "drop 23/tcp log \"telnet\" count t stateless mark set 0x10/0xf0 id foo",
	  "4>1 drop stateless log(telnet,1) count(t) mark(10/f0) [46 proto=6 dport=23 frag=0]\n" },
	{ "drop 23/tcp log sample 1/100",
	  "4>1 drop log(,100) [46 proto=6 dport=23 frag=0]\n" },
	{ "drop mark set 1",
	  "4>1 drop mark(1/3fffffff) [46]\n" },
	{ "reject with admin-prohibited 80/tcp",
	  "4>1 reject(8) [46 proto=6 dport=80 frag=0]\n" },
	{ "reject",
	  "4>1 reject [46]\n" },
	{ "allow 0-65535/tcp",
	  "4>1 allow [46 proto=6 dport=0-65535 frag=0]\n" },
};

static const struct row wrong_rules[] = {
	{ "allow htp",
	  "t.reeve:2:28 error unknown-service: unknown service `htp` (did you mean `http`?)\n" },
	{ "allow 22/tcp from @admin",
	  "t.reeve:2:40 error unknown-set: unknown set `@admin`\n" },
	{ "allow icmp from 2001:db8::1",
	  "t.reeve:2:38 error empty-match: icmp is IPv4, these addresses are IPv6 (for IPv6 say `icmpv6`)\n" },
	{ "allow icmpv6 from 10.0.0.0/8",
	  "t.reeve:2:40 error empty-match: icmpv6 is IPv6, these addresses are IPv4 (for IPv4 say `icmp`)\n" },
	{ "allow from 10.0.0.1 to 2001:db8::1",
	  "t.reeve:2:45 error empty-match: `from` is IPv4 and `to` is IPv6: no packet has both\n" },
	{ "allow 53/udp flags syn",
	  "t.reeve:2:35 error flags-protocol: `flags` are of tcp only, this is about udp as well (name the service with its protocol, as in `80/tcp`)\n" },
	{ "allow 53 flags syn",
	  "t.reeve:2:31 error flags-protocol: `flags` are of tcp only, this is about udp as well (name the service with its protocol, as in `80/tcp`)\n" },
	{ "allow tcp syn flags ack/ack",
	  "t.reeve:2:36 error empty-match: `tcp syn` and these flags contradict each other (`tcp syn` is `tcp flags syn/syn,ack,fin,rst`)\n" },
	{ "allow icmp from port 53",
	  "t.reeve:2:43 error ports-protocol: icmp has no ports\n" },
	{ "allow 22/tcp from port ntp",
	  "t.reeve:2:45 error empty-match: no port that is named here is of the protocol this is about\n" },
	{ "allow 22/tcp fragment",
	  "t.reeve:2:35 error empty-match: later fragments carry no ports, types or flags (say the protocol alone, as in `udp fragment`)\n" },
	{ "allow fragment state new",
	  "t.reeve:2:37 error empty-match: a later fragment is never `new`\n" },
	{ "allow flags syn fragment",
	  "t.reeve:2:38 error empty-match: later fragments carry no ports, types or flags (say the protocol alone, as in `udp fragment`)\n" },
	{ "allow proto grr",
	  "t.reeve:2:34 error unknown-protocol: unknown protocol `grr` (did you mean `gre`?)\n" },
	{ "allow gre",
	  "t.reeve:2:28 error unknown-service: unknown service `gre` (a protocol without ports: `proto gre`)\n" },
	{ "allow ssh/udp",
	  "t.reeve:2:28 error service-protocol: service `ssh` has no port of udp\n" },
	{ "allow from !@none",
	  "t.reeve:2:33 error empty-negation: set `none` is empty, so `!@none` speaks of no family at all (leave the address out, or put an address into the set)\n" },
	{ "allow from !0.0.0.0/0",
	  "t.reeve:2:33 error empty-match: everything is named here, so no address is left to match\n" },
	{ "allow from !::/0",
	  "t.reeve:2:33 error empty-match: everything is named here, so no address is left to match\n" },
	{ "allow mark 0xc0000000",
	  "t.reeve:2:28 error mark-bits: bits 30 and 31 of the mark are reeve's own and never match (`options { mark-bits N }` moves them)\n" },
	{ "drop mark set 0x40000000/0x40000000",
	  "t.reeve:2:27 error mark-bits: bits 30 and 31 of the mark are reeve's own (`options { mark-bits N }` moves them)\n" },
	{ "drop limit 11000000/s",
	  "t.reeve:2:27 error limit-rate: a limit is at most 10000000 packets a second\n" },
	{ "allow 22/tcp limit 1/d burst 3651 each source",
	  "t.reeve:2:35 error limit-burst: a burst of 3651 takes more than ten years to come back (a smaller burst, or a higher rate)\n" },
	{ "allow timeout 195d",
	  "t.reeve:2:28 error timeout-range: a timeout is from 1s to 194d\n" },
	{ "reject timeout 5m",
	  "t.reeve:2:29 error no-flows: a rule that refuses begins no flow: it has no `timeout` (it belongs to the `allow` that lets the flows begin)\n" },
	{ "allow stateless max flows 5 each source",
	  "t.reeve:2:38 error no-flows: no flow begins by a `stateless` rule: it has no `max flows` (leave one of the two out)\n" },
	{ "drop add source to @a",
	  "t.reeve:2:42 error static-set: set `a` is not dynamic: nothing can be added to it (only dynamic sets change while the policy runs: `set NAME = dynamic`)\n" },
	{ "allow id builtin-x",
	  "t.reeve:2:31 error reserved-id: ids that begin with `builtin-` are reeve's own\n" },
	{ "allow id x; drop id x",
	  "t.reeve:2:34 error duplicate-id: id `x` is already given to the rule at t.reeve:2\n" },
	{ "reject with tcp-reset 53/udp",
	  "t.reeve:2:22 error reject-protocol: `tcp-reset` answers tcp only, this rule is about other protocols (leave `with tcp-reset` out, or reject tcp)\n" },
	{ "allow 80/tcp from @four to fd00::1",
	  "t.reeve:2:22 warning never-matches: nothing matches this: the set holds no address of a family that fits\n"
	  "4>1 allow\n" },
};

/* Whole policies. */
static const struct row policies[] = {
	{ "zone wan = eth0\n"
	  "zone wan = eth1\n",
	  "t.reeve:2:6 error duplicate-zone: zone `wan` is already defined at t.reeve:1\n" },
	{ "zone wan = eth0\n"
	  "zone lan = { eth1, eth0 }\n",
	  "t.reeve:2:20 error interface-in-two-zones: interface `eth0` is in zone `lan` and in zone `wan` (t.reeve:1) (an interface belongs to one zone)\n" },
	{ "zone wan = { eth0, eth0 }\n",
	  "t.reeve:1:20 warning duplicate-interface: zone `wan` names `eth0` twice\n" },
	{ "zone wan = \"eth*\"\n"
	  "zone lan = \"eth*\"\n",
	  "t.reeve:2:12 error interface-in-two-zones: interface `eth*` is in zone `lan` and in zone `wan` (t.reeve:1) (an interface belongs to one zone)\n" },
	{ "zone wan = averyveryverylongname\n",
	  "t.reeve:1:12 error interface-name: interface name `averyveryverylongname` is too long (the kernel allows 15 bytes)\n" },
	{ "zone wan = \"a b\"\n",
	  "t.reeve:1:12 error interface-name: `a b` is not the name of an interface (names of interfaces have no blanks and no `/`)\n" },
	{ "policy wam -> self default drop\n"
	  "zone wan = eth0\n",
	  "t.reeve:1:8 error unknown-zone: unknown zone `wam` (did you mean `wan`?)\n" },
	{ "policy wan -> slf default drop\n"
	  "zone wan = eth0\n",
	  "t.reeve:1:15 error unknown-zone: unknown zone `slf` (did you mean `self`?)\n" },
	{ "zone wan = eth0\n"
	  "policy wan -> self default drop\n"
	  "policy wan -> self default allow\n",
	  "t.reeve:3:20 error duplicate-default: `wan -> self` already has a default at t.reeve:2\n" },
	{ "zone wan = eth0\n"
	  "policy any -> self default drop\n"
	  "policy { wan, other } -> self default allow\n",
	  "t.reeve:3:31 error duplicate-default: `{ wan, other } -> self` already has a default at t.reeve:2\n" },
	{ "zone wan = eth0\n"
	  "policy wan -> self default drop\n"
	  "policy any -> self default allow\n",
	  "4>1 drop [46]\n"
	  "6>1 allow [46]\n" },
	{ "policy self -> self { allow }\n",
	  "t.reeve:1:8 error self-to-self: what this host sends to itself is not filtered (`any -> self` is what comes in, `self -> any` what goes out)\n" },
	{ "policy any -> any { allow mac 02:00:00:00:00:01 }\n",
	  "t.reeve:1:27 error mac-pair: `mac` is known on arrival only, not where a packet leaves (it can be asked for in a policy `ZONE -> self`)\n" },
	{ "policy self -> any { allow mac 02:00:00:00:00:01 }\n",
	  "t.reeve:1:28 error mac-pair: `mac` is known on arrival only, not where a packet leaves (it can be asked for in a policy `ZONE -> self`)\n" },
	{ "policy any -> { self, any } { allow mac 02:00:00:00:00:01 }\n",
	  "t.reeve:1:37 error mac-pair: `mac` is known on arrival only, not where a packet leaves (it can be asked for in a policy `ZONE -> self`)\n" },
	{ "set a = @b\n"
	  "set b = @c\n"
	  "set c = @a\n",
	  "t.reeve:3:9 error set-loop: set `a` contains itself: a -> b -> c -> a\n" },
	{ "set a = @a\n",
	  "t.reeve:1:9 error set-loop: set `a` contains itself: a -> a\n" },
	{ "set a = { 10.0.0.1, @b }\n"
	  "set b = 10.0.0.2\n"
	  "policy any -> self { drop from @a }\n",
	  "2>1 drop [4 src=10.0.0.1-10.0.0.2(@a)]\n" },
	{ "set a = @nosuch\n",
	  "t.reeve:1:9 error unknown-set: unknown set `@nosuch`\n" },
	{ "set a = 10.0.0.1\n"
	  "set a = 10.0.0.2\n",
	  "t.reeve:2:5 error duplicate-set: set `a` is already defined at t.reeve:1\n" },
	{ "set a = file \"drop.txt\"\n"
	  "policy any -> self { drop from @a }\n",
	  "2>1 drop [4 src=10.0.0.0-10.255.255.255,192.0.2.1(@a)] [6 src=2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff(@a)]\n" },
	{ "set a = file \"bad.txt\"\n"
	  "policy any -> self { drop from @a }\n",
	  "bad.txt:2:1 error bad-address: `foo` is not an address (a set is written `@foo`; host names are not looked up)\n"
	  "bad.txt:3:1 warning host-bits: `10.0.0.1/8` has bits set behind its prefix (did you mean `10.0.0.0/8`?)\n" },
	{ "set a = file \"missing.txt\"\n",
	  "t.reeve:1:14 error unreadable-file: cannot read `missing.txt`: No such file or directory\n" },
	{ "set z = 10.0.0.1; set a = dynamic { max 100 }; set b = dynamic\n"
	  "policy any -> self { drop from @b }\n",
	  "2>1 drop [4 src in 2] [6 src in 2]\n" },
	{ "set a = dynamic; set b = dynamic\n"
	  "policy any -> self { drop 22/tcp from !@a to { @a, @b } }\n",
	  "2>1 drop [4 proto=6 dport=22 frag=0 src not in 1 dst in 3] [6 proto=6 dport=22 frag=0 src not in 1 dst in 3]\n" },
	{ "set c = { @b, 10.0.0.1, @a }; set a = dynamic; set b = dynamic\n"
	  "policy any -> self { drop from @c }\n",
	  "2>1 drop [4 src=10.0.0.1(@c)] [4 src in 3] [6 src in 3]\n" },
	{ "set c = { @b, 10.0.0.1 }; set b = dynamic\n"
	  "policy any -> self { drop from !@c }\n",
	  "2>1 drop [4 src=0.0.0.0-10.0.0.0,10.0.0.2-255.255.255.255(!@c) src not in 1] [6 src not in 1]\n" },
	{ "set b = dynamic\n"
	  "policy any -> self { drop from !{ 0.0.0.0/0, @b } }\n",
	  "2>1 drop [6 src not in 1]\n" },
	{ "set b = dynamic\n"
	  "policy any -> self { drop icmp from { fd00::1, @b } }\n",
	  "2>1 drop [4 proto=1 src in 1]\n" },
	{ "set a = dynamic; set b = dynamic { timeout 1h }\n"
	  "policy any -> self { drop 23/tcp add source to @b; allow add destination to @a }\n",
	  "2>1 drop add(src,1) [46 proto=6 dport=23 frag=0]\n"
	  "2>1 allow add(dst,0) [46]\n" },
	{ "set a = dynamic { max 16777217 }\n",
	  "t.reeve:1:5 error set-size: a dynamic set holds at most 16777216 addresses\n" },
	{ "set a = dynamic; set b = @a\n"
	  "policy any -> self { drop add source to @b }\n",
	  "t.reeve:2:42 error static-set: set `b` is not dynamic: nothing can be added to it (only dynamic sets change while the policy runs: `set NAME = dynamic`)\n" },
	{ "set scanners = dynamic\n"
	  "policy any -> self { drop add source to @scaners }\n",
	  "t.reeve:2:42 error unknown-set: unknown set `@scaners` (did you mean `@scanners`?)\n" },
	{ "service a = b\n"
	  "service b = { 80/tcp, a }\n",
	  "t.reeve:2:23 error service-loop: service `a` contains itself: a -> b -> a\n" },
	{ "service a = { 80/tcp, b }\n"
	  "service b = icmp\n"
	  "policy any -> self { allow a }\n",
	  "2>1 allow [4 proto=1] [46 proto=6 dport=80 frag=0]\n" },
	{ "service a = 80/tcp\n"
	  "service a = 81/tcp\n",
	  "t.reeve:2:9 error duplicate-service: service `a` is already defined at t.reeve:1\n" },
	{ "service ssh = 2222/tcp\n"
	  "policy any -> self { allow ssh }\n",
	  "t.reeve:1:9 warning hidden-service: service `ssh` of this policy hides the well-known one\n"
	  "2>1 allow [46 proto=6 dport=2222 frag=0]\n" },
	{ "include \"missing.reeve\"\n",
	  "t.reeve:1:9 error unreadable-file: cannot read `missing.reeve`: No such file or directory\n" },
	{ "include \"t.reeve\"\n",
	  "t.reeve:1:9 error include-loop: `t.reeve` includes itself: t.reeve -> t.reeve\n" },
	{ "nat any -> any { masquerade }\n", "" },
	{ "nat any -> self { masquerade }\n",
	  "t.reeve:1:19 error nat-side: `masquerade` is for packets that leave, `self` stands on the right of `any -> self` (name the zone to which the packets leave, as in `nat lan -> wan`)\n" },
	{ "early other { drop fragment; limit tcp syn 2000/s each source; drop 19/udp limit 5/s log }\n",
	  "" },
	{ "early self { drop fragment }\n",
	  "t.reeve:1:7 error zone-self: `early` is about packets that arrive: none arrives from this host (name the zones of its interfaces)\n" },
	{ "early nowhere { drop fragment }\n",
	  "t.reeve:1:7 error unknown-zone: unknown zone `nowhere` (define it: zone NAME = INTERFACE)\n" },
	{ "early any { drop 22/tcp mark 0x1 }\n",
	  "t.reeve:1:25 error early-mark: no packet has a mark yet where `early` sees it (a rule of a policy can look at marks)\n" },
	{ "set s = dynamic; early any { drop 22/tcp add source to @s; drop 23/tcp mark set 0x1 }\n",
	  "t.reeve:1:42 error early-option: a rule of `early` has no `add` (a rule of a policy can add what it drops)\n"
	  "t.reeve:1:72 error early-option: a rule of `early` has no `mark set` (what is dropped has no use for a mark)\n" },
	{ "early any { drop udp stateless; drop udp timeout 5m; drop udp max flows 3 }\n",
	  "t.reeve:1:22 error early-option: a rule of `early` has no `stateless` (nothing begins a flow here: every packet counts)\n"
	  "t.reeve:1:42 error early-option: a rule of `early` has no `timeout` (nothing begins a flow here: every packet counts)\n"
	  "t.reeve:1:63 error early-option: a rule of `early` has no `max flows` (nothing begins a flow here: every packet counts)\n" },
	{ "early any { drop from @none }\n",
	  "t.reeve:1:23 error unknown-set: unknown set `@none`\n" },
	{ "options { fast-path insist }\n", "" },
	{ "options { fast-path required }\n",
	  "t.reeve:1:21 error option-value: `required` is neither on, off nor insist (say `on`, `off` or `insist`)\n" },
	{ "options { early required }\n", "" },
	{ "options { early on }\n",
	  "t.reeve:1:17 error option-value: `on` is neither required nor optional (say `required` or `optional`)\n" },
	{ "assert any -> self 22/tcp is dropped\n",
	  "t.reeve:1:1 warning not-proved: `assert` is not proved yet\n" },
	{ "intercept any -> any 80/tcp to 127.0.0.1:3129\n", "" },
	{ "intercept any -> any 80/tcp to 127.0.0.1:3129\n"
	  "policy any -> self { allow mark set 0x20000000/0x20000000 }\n",
	  "t.reeve:2:28 error mark-bits: bit 29 of the mark is reeve's own, for the policy intercepts (`options { mark-bits N }` moves them)\n" },
	{ "intercept any -> any 80/tcp to 127.0.0.1:3129; options { mark-bits 0 }\n"
	  "policy any -> self { allow mark 0x4 }\n",
	  "t.reeve:2:28 error mark-bits: bit 2 of the mark is reeve's own, for the policy intercepts (`options { mark-bits N }` moves them)\n" },
	{ "policy any -> self { allow mark set 0x20000000/0x20000000 }\n",
	  "2>1 allow mark(20000000/20000000) [46]\n" },
	{ "options { ipv6-nd off; guard off; mark-bits 8; flows 1000 }\n",
	  "" },
	{ "options { ipv6nd off }\n",
	  "t.reeve:1:11 error unknown-option: unknown option `ipv6nd` (did you mean `ipv6-nd`?)\n" },
	{ "options { ipv6-nd maybe }\n",
	  "t.reeve:1:19 error option-value: `maybe` is neither on nor off (say `on` or `off`)\n" },
	{ "options { mark-bits 31 }\n",
	  "t.reeve:1:21 error option-value: `mark-bits` must be a number from 0 to 30, not `31`\n" },
	{ "options { flows 1 }\n",
	  "t.reeve:1:17 error option-value: `flows` must be a number from 64 to 16777216, not `1`\n" },
	{ "options { guard on; guard off }\n",
	  "t.reeve:1:21 error duplicate-option: option `guard` is already set at t.reeve:1\n" },
	{ "options { guard on }\n"
	  "options { guard on }\n",
	  "t.reeve:2:11 error duplicate-option: option `guard` is already set at t.reeve:1\n" },
	{ "options { mark-bits 0 }\n"
	  "policy any -> self { drop mark 3 }\n",
	  "t.reeve:2:27 error mark-bits: bits 0 and 1 of the mark are reeve's own and never match (`options { mark-bits N }` moves them)\n" },
	{ "policy any -> self default reject with host-unreachable\n",
	  "2>1 reject(3) [46]\n" },
	{ "policy any -> self { allow 22/tcp\n"
	  "allow foo\n"
	  "allow bar\n"
	  "drop from @x }\n",
	  "t.reeve:2:7 error unknown-service: unknown service `foo`\n"
	  "t.reeve:3:7 error unknown-service: unknown service `bar`\n"
	  "t.reeve:4:11 error unknown-set: unknown set `@x`\n" },
	{ "set a = { 10.0.0.1, 10.0.0.0, 10.0.0.2-10.0.0.255, 10.0.1.0/24, fd00::1, fd00::2, 255.255.255.255, ::/1, 8000::/1 }\n"
	  "policy any -> self { drop from @a }\n",
	  "2>1 drop [4 src=10.0.0.0-10.0.1.255,255.255.255.255(@a)] [6 src=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff(@a)]\n" },
	{ "service a = { icmp, tcp }\n"
	  "policy any -> self { allow a from fd00::1; allow a/tcp; allow from port a }\n",
	  "t.reeve:2:73 error empty-match: no port that is named here is of the protocol this is about\n" },
	{ "policy any -> self default drop { drop from !10.0.0.0/8; allow udp }\n",
	  "t.reeve:1:45 note negation-family: this is every other IPv4 address; no IPv6 address matches it\n"
	  "2>1 drop [4 src=0.0.0.0-9.255.255.255,11.0.0.0-255.255.255.255]\n"
	  "2>1 allow [46 proto=17]\n"
	  "2>1 drop [46]\n" },
	{ "set none = {}\n"
	  "policy any -> self { allow from { @none, 10.0.0.1 } }\n",
	  "2>1 allow [4 src=10.0.0.1]\n" },
};

static void check(const char *policy, const char *expected)
{
	struct test_file files[4] = { { "t.reeve", policy }, others[0], others[1], others[2] };
	struct diagnostics diagnostics = { 0 };
	struct text got = TEXT_INIT(1 << 20);
	struct ruleset ruleset;
	int err = load_files(files, 4, &ruleset, &diagnostics);

	put_diagnostics(&diagnostics, &ruleset.sources, &got);
	put_rules(&ruleset, RULE_FILE, &got);
	put_rules(&ruleset, RULE_DEFAULT, &got);
	if (strcmp(text_string(&got), expected))
		print_message("%s\n", policy);
	assert_string_equal(text_string(&got), expected);
	assert_int_equal(err, diagnostics.errors ? -EINVAL : 0);
	if (err)
		assert_int_equal(ruleset.rule_n, 0);
	text_free(&got);
	diagnostics_free(&diagnostics);
	ruleset_free(&ruleset);
}

static void check_rules(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct text policy = TEXT_INIT(1 << 16);

		text_printf(&policy, "%s%s }", before, rows[i].policy);
		check(text_string(&policy), rows[i].expected);
		text_free(&policy);
	}
}

#define ROWS(table) table, sizeof(table) / sizeof((table)[0])

static void test_rules(void **state)
{
	(void)state;
	check_rules(ROWS(rules));
}

static void test_wrong_rules(void **state)
{
	(void)state;
	check_rules(ROWS(wrong_rules));
}

static void test_policies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
		check(policies[i].policy, policies[i].expected);
}

/* --- includes ------------------------------------------------------------------ */

static void check_files(const struct test_file *files, size_t n, const char *expected)
{
	struct diagnostics diagnostics = { 0 };
	struct text got = TEXT_INIT(1 << 20);
	struct ruleset ruleset;

	load_files(files, n, &ruleset, &diagnostics);
	put_diagnostics(&diagnostics, &ruleset.sources, &got);
	put_rules(&ruleset, RULE_FILE, &got);
	assert_string_equal(text_string(&got), expected);
	text_free(&got);
	diagnostics_free(&diagnostics);
	ruleset_free(&ruleset);
}

static void test_include_order(void **state)
{
	const struct test_file files[] = {
		{ "/p/main.reeve", "policy any -> self { allow 1/tcp }\ninclude \"sub/b.reeve\"\n"
				   "policy any -> self { allow 3/tcp from @s }" },
		{ "/p/sub/b.reeve", "set s = file \"s.txt\"\npolicy any -> self { allow 2/tcp }" },
		{ "/p/sub/s.txt", "10.0.0.1\n" },
	};

	(void)state;
	check_files(files, 3,
		    "2>1 allow [46 proto=6 dport=1 frag=0]\n"
		    "2>1 allow [46 proto=6 dport=2 frag=0]\n"
		    "2>1 allow [4 proto=6 dport=3 frag=0 src=10.0.0.1(@s)]\n");
}

static void test_include_loop(void **state)
{
	const struct test_file files[] = {
		{ "a.reeve", "include \"b.reeve\"" },
		{ "b.reeve", "\ninclude \"c.reeve\"" },
		{ "c.reeve", "include \"b.reeve\"" },
	};
	const struct test_file twice[] = {
		{ "a.reeve", "include \"b.reeve\"\ninclude \"b.reeve\"" },
		{ "b.reeve", "" },
	};

	(void)state;
	check_files(files, 3,
		    "c.reeve:1:9 error include-loop: "
		    "`b.reeve` includes itself: b.reeve -> c.reeve -> b.reeve\n");
	check_files(twice, 2,
		    "a.reeve:2:9 error included-twice: "
		    "`b.reeve` is already included at a.reeve:1\n");
}

static void test_include_depth(void **state)
{
	struct test_file files[20];
	char names[20][32], texts[20][64];

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(names[i], sizeof(names[i]), "%d.reeve", i);
		snprintf(texts[i], sizeof(texts[i]), "include \"%d.reeve\"", i + 1);
		files[i] = (struct test_file){ names[i], i == 19 ? "" : texts[i] };
	}
	check_files(files, 20,
		    "15.reeve:1:9 error include-depth: "
		    "files include each other deeper than 16\n");
	files[15].text = "policy any -> self { allow 1/tcp }";
	check_files(files, 20, "2>1 allow [46 proto=6 dport=1 frag=0]\n");
}

/* Errors of syntax in an included file are told, those of its absence are not. */
static void test_include_syntax(void **state)
{
	const struct test_file files[] = {
		{ "a.reeve", "include \"b.reeve\"\npolicy any -> self { drop from @s }" },
		{ "b.reeve", "set s = 10.0.0.1\nzone" },
	};
	struct diagnostics diagnostics = { 0 };
	struct ruleset ruleset;

	(void)state;
	assert_int_equal(load_files(files, 2, &ruleset, &diagnostics), -EINVAL);
	assert_int_equal(diagnostics.errors, 1);
	assert_int_equal(diagnostics.list.items[0].position.source, 1);
	diagnostics_free(&diagnostics);
	ruleset_free(&ruleset);
}

static void test_missing_file(void **state)
{
	struct source_set sources = { .sealed = true };
	struct diagnostics diagnostics = { 0 };
	struct ruleset ruleset;

	(void)state;
	assert_int_equal(policy_load("nowhere.reeve", &sources, &ruleset, &diagnostics), -EINVAL);
	assert_string_equal(diagnostics.list.items[0].message,
			    "cannot read `nowhere.reeve`: No such file or directory");
	assert_null(sources.sources.items);
	diagnostics_free(&diagnostics);
	ruleset_free(&ruleset);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_wrong_rules),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_include_order),
		cmocka_unit_test(test_include_loop),
		cmocka_unit_test(test_include_depth),
		cmocka_unit_test(test_include_syntax),
		cmocka_unit_test(test_missing_file),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
