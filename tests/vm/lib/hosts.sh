# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# hosts.sh - two hosts in one machine: the network namespaces `a` and `b`, a veth pair between them,
# an RDMA device for each. Source it after functions.sh.
#
#	two_hosts rxe
#	start_on a ib_write_bw -d "${RDMA_DEV[a]}" ... &
#	on b ib_write_bw -d "${RDMA_DEV[b]}" ... "${HOST_ADDR[a]}"
#
# Only the network is another one: processes, files and mounts are those of the machine, so a mount
# made on `b` is seen everywhere. `ip netns exec` would hide it.

declare -A HOST_NS=() HOST_ADDR=() HOST_IF=() RDMA_DEV=()

# the devices carry packets of 4 KiB only when the network does
HOSTS_MTU=9000

# on HOST COMMAND [ARG...]: run it there
on() {
	local host=$1
	shift
	nsenter --net="/run/netns/${HOST_NS[$host]}" -- "$@"
}

# start_on HOST COMMAND [ARG...]: as in `start_on a server &`: $! is the command then, not a shell
# that waits for it
start_on() {
	local host=$1
	shift
	exec nsenter --net="/run/netns/${HOST_NS[$host]}" -- "$@"
}

# two_hosts rxe|siw|none [LINKS]: make both, with LINKS (1) veth pairs, each with a device at both
# ends. HOST_ADDR, HOST_IF, RDMA_DEV [HOST] are those of the first link, HOST_ADDR[HOST.2] and so
# on those of the others. All of it is gone when the test ends.
two_hosts() {
	local provider=$1 links=${2:-1} host i
	requires root netns ip nsenter
	for host in a b; do
		HOST_NS[$host]=pw-$$-$host
		ip netns add "${HOST_NS[$host]}"
		cleanup_fn ip netns del "${HOST_NS[$host]}"
		on "$host" ip link set lo up
	done
	for ((i = 1; i <= links; i++)); do
		_link "$i"
		for host in a b; do
			[ "$provider" = none ] || _rdma_device "$provider" "$host" "$i"
		done
	done
	for host in a b; do
		HOST_ADDR[$host]=${HOST_ADDR[$host.1]}
		HOST_IF[$host]=${HOST_IF[$host.1]}
		RDMA_DEV[$host]=${RDMA_DEV[$host.1]:-}
	done
}

_link() {
	local i=$1 host
	for host in a b; do
		HOST_IF[$host.$i]=pw$host$i
	done
	HOST_ADDR[a.$i]=10.77.$i.1
	HOST_ADDR[b.$i]=10.77.$i.2
	ip link add "${HOST_IF[a.$i]}" netns "${HOST_NS[a]}" mtu $HOSTS_MTU type veth \
		peer name "${HOST_IF[b.$i]}" netns "${HOST_NS[b]}" mtu $HOSTS_MTU
	for host in a b; do
		on "$host" ip address add "${HOST_ADDR[$host.$i]}/24" dev "${HOST_IF[$host.$i]}"
		on "$host" ip link set "${HOST_IF[$host.$i]}" up
	done
	wait_for 10 "on a ping -c 1 -W 1 ${HOST_ADDR[b.$i]} || _answers $i" ||
		fail "no way from a to b"
}

# _answers LINK: b's end is up and known to a, also where there is no ping
_answers() {
	on a ip -br link show "${HOST_IF[a.$1]}" | grep -q 'UP'
}

_rdma_device() {
	local provider=$1 host=$2 i=$3 dev=pw$1_$2$3
	requires rdma
	on "$host" "$PW_SOURCE/deploy/softroce.sh" up "${HOST_IF[$host.$i]}" \
		--provider "$provider" --name "$dev" >/dev/null ||
		fail "no $provider device on host $host"
	cleanup_fn rdma_device_gone "$host" "$i" "$provider"
	RDMA_DEV[$host.$i]=$dev
}

# rdma_device_gone HOST LINK PROVIDER: take the device away, as when a driver is unbound
rdma_device_gone() {
	on "$1" "$PW_SOURCE/deploy/softroce.sh" down "${HOST_IF[$1.$2]}" --provider "$3"
}

# rdma_carried: payload has come through the first device of each host, as the devices count
rdma_carried() {
	local host bytes counters
	for host in a b; do
		counters=/sys/class/infiniband/${RDMA_DEV[$host]}/ports/1/hw_counters
		bytes=$(cat "$counters/rcvd_bytes")
		echo "RDMA on host $host: $bytes bytes received"
		[ "$bytes" -gt 0 ] || {
			echo "FAIL: nothing came through ${RDMA_DEV[$host]}" >&2
			return 1
		}
	done
}

# link_set up|down [LINK]: a cable, pulled and put back
link_set() {
	on a ip link set "${HOST_IF[a.${2:-1}]}" "$1"
}

# netem [ARG...]: loss, delay and reordering from a to b and back (tc-netem(8)); none: as it was
netem() {
	local host
	for host in a b; do
		on "$host" tc qdisc del dev "${HOST_IF[$host]}" root 2>/dev/null || true
		[ $# -eq 0 ] || on "$host" tc qdisc add dev "${HOST_IF[$host]}" root netem "$@"
	done
}

# gid_index DEVICE ADDRESS: the index of the RoCE v2 (or iWARP) GID that belongs to an IPv4 address
gid_index() {
	local dev=$1 hex f i byte
	IFS=. read -ra byte <<<"$2"
	hex=$(printf 'ffff:%02x%02x:%02x%02x' "${byte[@]}")
	for f in "/sys/class/infiniband/$dev/ports/1/gids/"*; do
		i=${f##*/}
		case $(cat "$f" 2>/dev/null) in
		*"$hex") echo "$i" && return ;;
		esac
	done
	echo "no GID of $2 on $dev" >&2
	return 1
}
