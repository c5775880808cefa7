#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
#
# Connections over soft-RoCE and soft-iWARP, both ends in one process: contents are right, buffers
# change hands, and a thousand connections in a row leave nothing with the device.
. "$(dirname "$0")/../lib/functions.sh"
requires root netns rdma ip

ADDR=10.78.0.1

# resources DEVICE: what programs have made on it
resources() {
	rdma resource show "$1" | sed 's/^[^:]*://; s/ctx [0-9]*//'
}

# connections PROVIDER [RECONNECTS]
connections() {
	local provider=$1 nic=pwd0 dev=pw$1 before
	ip link add $nic mtu 9000 type dummy
	ip address add $ADDR/24 dev $nic
	ip link set $nic up
	"$PW_SOURCE/deploy/softroce.sh" up $nic --provider "$provider" --name "$dev" >/dev/null ||
		fail "no $provider device"
	before=$(resources "$dev")
	"$BIN/tests/unit/rdma/conn_pair" -a $ADDR -n 200 -r 2
	"$BIN/tests/unit/rdma/conn_pair" -a $ADDR -n 200 -r 2 -m -s 2
	"$BIN/tests/unit/rdma/conn_pair" -a $ADDR -n 1 -r "$2"
	same "$before" "$(resources "$dev")" "resources of $dev"
	"$PW_SOURCE/deploy/softroce.sh" down $nic --provider "$provider" >/dev/null
	ip link del $nic
}

# a network of its own, gone with this shell
[ "${PW_IN_NETNS:-}" ] || PW_IN_NETNS=1 exec unshare --net "$0"
ip link set lo up
connections rxe 1000
connections siw 200
