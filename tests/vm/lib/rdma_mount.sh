# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# rdma_mount.sh - a node on host a, a mount on host b, RDMA between them. Source it after
# functions.sh, hosts.sh and ../host/lib/mounts.sh.

MB=$((1 << 20))

# rdma_up PROVIDER [CONFIG-LINE...]: hosts, devices, node n, mount c on $TMPDIR/mnt with
# transport=rdma, and it says which device
rdma_up() {
	local provider=$1
	shift
	two_hosts "$provider"
	NODE_AT=a
	CLIENT_AT=b
	ring_switch on
	start_node n "$@"
	OBJECTS_BEFORE=$(rdma_objects b)
	start_client c "$TMPDIR/mnt" "io_uring=on,transport=rdma"
	on_rdma
	# regression: over siw nothing woke a client at the end of its hand-shake, it tried again
	! grep 'client is back' "${NODE_LOG[n]}" || fail "the first connection was of no use"
}

on_rdma() {
	same rdma "$(client_says c status transport)" "transport"
	case $(client_says c status transport_device) in
	"${RDMA_DEV[b]} port 1, "*) ;;
	*) fail "device: $(client_says c status transport_device)" ;;
	esac
}

# node_says WORD...: of node n
node_says() {
	/usr/bin/python3 "$PW_SOURCE/tests/host/lib/ask.py" "$TMPDIR/n/control.sock" "$@"
}

# same_bytes FILE...: each is $TMPDIR/wanted, read from the node
same_bytes() {
	local f
	for f; do
		dd if="$f" bs=1M iflag=direct status=none | cmp - "$TMPDIR/wanted" ||
			fail "$f is not what was written"
	done
}

# rdma_objects HOST: how many queue pairs, completion queues, registrations and domains the
# kernel counts for its device
rdma_objects() {
	on "$1" rdma resource show "${RDMA_DEV[$1]}" |
		sed 's/.*: //; s/cm_id [0-9]*//; s/ctx [0-9]*//' | tr -s ' '
}
