# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# The lab: a client, a firewall and a server, network namespaces with both families. To be sourced.
#
#     client (eth0) ────── (lan0) firewall (wan0) ────── (eth0) server
#     10.77.1.10        10.77.1.1            203.0.113.1      203.0.113.80
#     2001:db8:77:1::10 2001:db8:77:1::1     2001:db8:203::1  2001:db8:203::80
#
# The client also has an address among the server's admins: 192.0.2.5 and 2001:db8:5::5.
#
# lab_start makes it, lab_services puts servers into it, and `client`, `firewall` and `server` run a
# command inside. What was made is taken away when the shell that sourced this ends, however it
# ends: processes by their ids, running policies, namespaces, files.

set -euo pipefail

lab_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
REEVE=$(realpath -m "${REEVE:-$lab_top/build/reeve}")
PATH=$PATH:/usr/sbin:/sbin

client_4=10.77.1.10
client_6=2001:db8:77:1::10
admin_4=192.0.2.5
admin_6=2001:db8:5::5
firewall_lan_4=10.77.1.1
firewall_lan_6=2001:db8:77:1::1
firewall_wan_4=203.0.113.1
firewall_wan_6=2001:db8:203::1
server_4=203.0.113.80
server_6=2001:db8:203::80

lab_name=reeve-$$
lab_roles=(client firewall server)
lab_folder=
lab_pids=()

lab_fail() {
	echo "lab: $*" >&2
	exit 1
}

# What is needed, said before anything is made.
lab_require() {
	local word

	[ "$(id -u)" -eq 0 ] || lab_fail "only root can make network namespaces; try: sudo $0"
	[ -x "$REEVE" ] || lab_fail "there is no command $REEVE; run make first, or set REEVE"
	for word in ip nsenter "$@"; do
		command -v "$word" >/dev/null ||
			lab_fail "$word is not installed; scripts/install-packages installs what is missing"
	done
}

# nsenter, not `ip netns exec`: the mounts and cgroups stay those of the caller.
lab_in() {
	local role=$1

	shift
	nsenter --net="/run/netns/$lab_name-$role" "$@"
}
client() { lab_in client "$@"; }
firewall() { lab_in firewall "$@"; }
server() { lab_in server "$@"; }

# Starts a process in a namespace that lives as long as the lab; its id is then in $!.
lab_background() {
	local role=$1 output=$2

	shift 2
	nsenter --net="/run/netns/$lab_name-$role" "$@" </dev/null >"$output" 2>&1 &
	lab_pids+=($!)
}

# Asks a process to end, and ends it if it does not: nginx forgets the request while it reloads.
lab_end() {
	local pid=$1

	kill "$pid" 2>/dev/null
	for _ in {1..40}; do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	kill -KILL "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
}

lab_stop() {
	local status=$? pid role

	# A command that fails as its signal comes may end the shell before the signal's own trap has run.
	trap 'status=130' INT
	trap 'status=143' TERM
	trap 'status=129' HUP
	[ "$status" -eq 0 ] || sleep 0.01
	trap '' INT TERM HUP
	trap - EXIT
	set +e
	for pid in "${lab_pids[@]}"; do
		lab_end "$pid"
	done
	for role in "${lab_roles[@]}"; do
		[ -e "/run/netns/$lab_name-$role" ] || continue
		if ! lab_in "$role" "$REEVE" down >/dev/null; then
			echo "lab: reeve down failed in $lab_name-$role" >&2
			status=1
		fi
		ip netns del "$lab_name-$role"
	done
	[ -z "$lab_folder" ] || rm -rf "$lab_folder"
	exit "$status"
}

lab_sysctl() {
	local role=$1

	shift
	lab_in "$role" sysctl -qw "$@"
}

lab_links() {
	local role

	for role in "${lab_roles[@]}"; do
		ip netns add "$lab_name-$role"
		# No waiting for duplicate address detection: nobody else is there.
		lab_sysctl "$role" net.ipv6.conf.{all,default}.accept_dad=0
		ip -n "$lab_name-$role" link set lo up
	done
	lab_sysctl firewall net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	ip link add lan0 netns "$lab_name-firewall" type veth peer name eth0 netns "$lab_name-client"
	ip link add wan0 netns "$lab_name-firewall" type veth peer name eth0 netns "$lab_name-server"
}

lab_addresses() {
	ip -n "$lab_name-client" -batch - <<-END
		link set eth0 up
		addr add $client_4/24 dev eth0
		addr add $client_6/64 dev eth0 nodad
		addr add $admin_4/32 dev eth0
		addr add $admin_6/128 dev eth0 nodad
		route add default via $firewall_lan_4
		route add ::/0 via $firewall_lan_6 src $client_6
	END
	ip -n "$lab_name-firewall" -batch - <<-END
		link set lan0 up
		link set wan0 up
		addr add $firewall_lan_4/24 dev lan0
		addr add $firewall_lan_6/64 dev lan0 nodad
		addr add $firewall_wan_4/24 dev wan0
		addr add $firewall_wan_6/64 dev wan0 nodad
		route add $admin_4/32 via $client_4
		route add $admin_6/128 via $client_6
	END
	ip -n "$lab_name-server" -batch - <<-END
		link set eth0 up
		addr add $server_4/24 dev eth0
		addr add $server_6/64 dev eth0 nodad
		route add default via $firewall_wan_4
		route add ::/0 via $firewall_wan_6
	END
}

# Both ends answer each other, in both families, before any policy is there.
lab_settle() {
	local address

	for address in "$server_4" "$server_6"; do
		timeout 10 nsenter --net="/run/netns/$lab_name-client" \
			ping -n -q -c 1 -i 0.2 -w 8 "$address" >/dev/null ||
			lab_fail "$address is not reached, though no policy is there yet"
	done
}

lab_start() {
	trap lab_stop EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
	lab_folder=$(mktemp -d "/tmp/$lab_name-XXXXXX")
	lab_links
	lab_addresses
	lab_settle
}

# A web server on ports 80 and 443 (both plain HTTP) that says who it is.
lab_web() {
	local role=$1 folder=$lab_folder/web-$1

	mkdir -p "$folder/files"
	chmod 755 "$lab_folder"
	echo "hello from the $role" >"$folder/files/index.html"
	head -c 3000000 /dev/zero >"$folder/files/large"
	cat >"$folder/nginx.conf" <<-END
		daemon off;
		master_process off;
		pid $folder/pid;
		error_log $folder/error.log;
		events { worker_connections 256; }
		http {
		    access_log off;
		    client_body_temp_path $folder/body;
		    proxy_temp_path $folder/proxy;
		    fastcgi_temp_path $folder/fastcgi;
		    uwsgi_temp_path $folder/uwsgi;
		    scgi_temp_path $folder/scgi;
		    server {
		        listen 80; listen [::]:80;
		        listen 443; listen [::]:443;
		        root $folder/files;
		        location /large { limit_rate 1200k; }
		    }
		}
	END
	lab_background "$role" "$folder/output" nginx -c "$folder/nginx.conf" -e "$folder/error.log"
}

lab_wait_for() {
	local what=$1 tries

	shift
	for tries in {1..100}; do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.05
	done
	lab_fail "$what does not start (tried $tries times)"
}

# Web servers at server and client, and something that listens wherever a policy has an opinion.
lab_services() {
	lab_web server
	lab_web client
	lab_background server "$lab_folder/listen-server" "$lab_top/lab/listen" 22 23 25 113 3306
	lab_background firewall "$lab_folder/listen-firewall" "$lab_top/lab/listen" 22 53 54 80
	lab_background client "$lab_folder/listen-client" "$lab_top/lab/listen" 22
	for role in server firewall client; do
		lab_wait_for "listen at the $role" grep -q ready "$lab_folder/listen-$role"
	done
	lab_wait_for "the web server" client curl -s -m 1 "http://$server_4/"
	lab_wait_for "the client's web server" server curl -s -m 1 "http://$client_4/"
}

# Called from the top of the tree, so that the places of rules stay short.
lab_policies() (
	cd "$lab_top"
	firewall "$REEVE" apply lab/router.reeve
	server "$REEVE" apply lab/server.reeve
)
