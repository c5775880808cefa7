#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# softroce.sh - an RDMA device in software on top of a network interface, to try pagewire without
# an RDMA NIC
#
#   softroce.sh up IFACE [--provider rxe|siw] [--name NAME]
#   softroce.sh down IFACE [--provider rxe|siw]
#
#   up    make the device, unless IFACE has one of this provider already; prints its name
#   down  remove it, when there is one
#
#   --provider rxe  soft-RoCE (default): RDMA in UDP, port 4791
#   --provider siw  soft-iWARP: RDMA in TCP
#   --name NAME     of a new device; default PROVIDER_IFACE
#
# The device is there until the next boot. Both ends of a connection need the same provider. For
# full speed the interface needs an MTU of 4200 or more: with 1500, soft-RoCE has packets of 1 KiB.
set -euo pipefail

say() {
	echo "softroce: $*" >&2
}

die() {
	say "$@"
	exit 1
}

bad_usage() {
	say "$* (try --help)"
	exit 2
}

command=
iface=
provider=rxe
name=

parse() {
	while [ $# -gt 0 ]; do
		case $1 in
		-h | --help)
			sed -n '4,19s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
			exit 0
			;;
		--provider | --name)
			[ $# -ge 2 ] || bad_usage "$1 needs a value"
			[ "$1" = --name ] && name=$2 || provider=$2
			shift
			;;
		-*) bad_usage "unknown option '$1'" ;;
		*)
			[ -z "$iface" ] || bad_usage "'$1' is one word too many"
			[ -n "$command" ] && iface=$1 || command=$1
			;;
		esac
		shift
	done
	case $command in
	up | down) ;;
	*) bad_usage "up or down?" ;;
	esac
	case $provider in
	rxe | siw) ;;
	*) bad_usage "--provider is rxe or siw, not '$provider'" ;;
	esac
	[ -n "$iface" ] || bad_usage "$command: on which interface?"
	: "${name:=${provider}_$iface}"
}

# devices: the RDMA devices on IFACE that are of our provider's kind (InfiniBand-like or iWARP)
devices() {
	local kind=ca line dev
	[ "$provider" = rxe ] || kind=rnic
	while read -r line; do
		[[ " $line " == *" netdev $iface "* ]] || continue
		dev=${line#*link }
		dev=${dev%%/*}
		! rdma dev show "$dev" | grep -q "node_type $kind " || echo "$dev"
	done < <(rdma link show)
}

# why_not TEXT: after a failed attempt, what to do about it
why_not() {
	say "cannot make an $provider device on $iface: $1"
	case $1 in
	*NETLINK_RDMA* | *'not supported'*)
		die "the kernel $(uname -r) has no module $module (modprobe $module);" \
			"those of distributions have, those of clouds and containers often not"
		;;
	esac
	[ "$(cat "/sys/class/net/$iface/type" 2>/dev/null)" = 1 ] ||
		die "$iface is no Ethernet interface"
	exit 1
}

up() {
	local text
	# the kernel loads it by itself once the RDMA core is there
	modprobe -q "$module" 2>/dev/null || true
	if text=$(rdma link add "$name" type "$provider" netdev "$iface" 2>&1); then
		say "$name is an $provider device on $iface"
		[ "$(cat "/sys/class/net/$iface/mtu" 2>/dev/null || echo 9000)" -ge 4200 ] ||
			say "for packets of 4 KiB, where the network can do it:" \
				"ip link set $iface mtu 9000"
		echo "$name"
		return
	fi
	# the kernel allows one of each provider
	found=$(devices 2>/dev/null | head -n 1) || true
	[ -n "$found" ] || why_not "$text"
	say "$found is on $iface already"
	echo "$found"
}

down() {
	local dev
	for dev in $(devices 2>/dev/null); do
		# the kernel refuses this for devices that are hardware
		if rdma link delete "$dev" 2>/dev/null; then
			say "$dev is removed"
		fi
	done
}

parse "$@"
module=rdma_rxe
[ "$provider" = rxe ] || module=siw
command -v rdma >/dev/null || die "no rdma(8) here: install iproute2 (5.1 or later)"
[ "$(id -u)" -eq 0 ] || die "needs root"
ip link show "$iface" >/dev/null 2>&1 ||
	die "there is no interface $iface; there are:" \
		"$(ip -o link | awk -F': ' '{ printf "%s ", $2 }')"
"$command"
