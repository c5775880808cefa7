#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 180
#
# A data directory that was copied is two nodes of one identity: the second one on a machine is
# refused, a mount does not go on with a copy or an older state behind the address of the original,
# and a copy can be made a filesystem of its own. A node that comes back at another port, too.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

OUT=$TMPDIR/out.txt
fsid_of() { # NODE
	grep -o 'fsid [-0-9a-f]*' "${NODE_LOG[$1]}" | tail -n 1
}
# node_on NAME DIR PORT: another configuration of node a: that directory, that port
node_on() {
	NODE_PORT["$1"]=$3
	sed -e "s,^dir=.*,dir=$2," -e "s,^listen=.*,listen=$(node_address a):$3," \
		"${NODE_CONF[a]}" >"$TMPDIR/$1.ini"
}
# waits_for_node TEXT: every mount has a write that waits, and says why
waits_for_node() {
	local path late
	for path in "${PATHS[@]}"; do
		dd if=/dev/zero of="${MNT[$path]}/$2-$path" bs=4096 count=1 oflag=direct \
			status=none &
		late=$!
		cleanup_fn _end_pid "$late"
		wait_for 15 "client_says $path status nodes 0 why | grep -q '$1'" ||
			fail "$path: why is not '$1' but $(client_says "$path" status nodes 0 why)"
		is_alive "$late" || fail "$path: a write ended at the wrong node"
	done
	rc=0
	"$BIN/pagewire" status "${MNT[$path]}" >"$OUT" || rc=$?
	same 3 "$rc" "status of a mount that waits"
	grep -q "PROBLEM.*$1" "$OUT" || fail "status does not tell why: $(cat "$OUT")"
}
is_written() { # PREFIX
	local path
	for path in "${PATHS[@]}"; do
		wait_for 20 "[ -s '${MNT[$path]}/$1-$path' ]" || fail "$path: lost: $1"
	done
}

start_node a heartbeat=200ms dead=600ms
mount_paths
mkdir "${MNT[${PATHS[0]}]}/there"
stop_node a
cp -a "$TMPDIR/a" "$TMPDIR/copy"
cp -a "$TMPDIR/a" "$TMPDIR/second"
start_node a
for path in "${PATHS[@]}"; do
	make_file "${MNT[$path]}/there/$path" 70000
done

# the copy beside the original
node_on copy "$TMPDIR/copy" "$(free_port)"
rc=0
timeout 20 "${ON_NODE[@]}" "$BIN/pagewire-node" -c "$TMPDIR/copy.ini" >"$OUT" 2>&1 || rc=$?
same 11 "$rc" "exit code of a copy beside its original"
grep -q "$TMPDIR/copy: .*copy of its directory.*--new-identity" "$OUT" || fail "$(cat "$OUT")"

# the copy in place of the original: what was written since then is not in it
stop_node a
NODE_CONF["copy"]=$TMPDIR/copy.ini
node_on copy "$TMPDIR/copy" "${NODE_PORT[a]}"
start_node copy
same "$(fsid_of a)" "$(fsid_of copy)" "fsid of a copy"
waits_for_node 'older state or a copy' late
# started as often as the original, or more often
for _ in 1 2 3; do
	stop_node copy
	start_node copy
done
for path in "${PATHS[@]}"; do
	wait_for 15 "client_says $path status nodes 0 why | grep -q 'older state or a copy'"
done
# who mounts it now means it
start_client look "$TMPDIR/look" io_uring=off
same "" "$(ls "$TMPDIR/look/there")" "names in the copy"
stop_client look
stop_node copy
start_node a
is_written late
make_file "$TMPDIR/wanted" 70000
for path in "${PATHS[@]}"; do
	cmp "${MNT[$path]}/there/$path" "$TMPDIR/wanted"
done

# a filesystem of its own, beside the original
node_on second "$TMPDIR/second" "$(free_port)"
"${ON_NODE[@]}" "$BIN/pagewire-node" -c "$TMPDIR/second.ini" --new-identity \
	>"$TMPDIR/second.log" 2>&1 &
cleanup_fn _end_pid "$!"
second=$!
wait_for 20 "! is_alive $second || grep -q 'listening on' '$TMPDIR/second.log'"
is_alive "$second" || fail "--new-identity: $(cat "$TMPDIR/second.log")"
NODE_LOG["second"]=$TMPDIR/second.log
[ "$(fsid_of a)" != "$(fsid_of second)" ] || fail "two filesystems with one fsid"
start_client other "$TMPDIR/other" io_uring=off "$(node_address a):${NODE_PORT[second]}:/"
same "" "$(ls "$TMPDIR/other/there")" "names in the second filesystem"
stop_client other
stop_pid "$second" || fail "the second node ended with $?"
# and it stays one
NODE_CONF["second"]=$TMPDIR/second.ini
before=$(fsid_of second)
start_node second
same "$before" "$(fsid_of second)" "fsid after a restart"

# fsid=: that filesystem, or none
LAST_NODE=a
rc=0
fsid=$(fsid_of second)
"${ON_CLIENT[@]}" "$BIN/pagewire" mount "$(node_address a):${NODE_PORT[a]}:/" "$TMPDIR/look" \
	-o "$(mount_options_of_all "fsid=${fsid#fsid }")" >"$OUT" 2>&1 || rc=$?
same 10 "$rc" "exit code of fsid= of another filesystem"
grep -q "another filesystem, .* instead of ${fsid#fsid }" "$OUT" || fail "$(cat "$OUT")"
is_mounted "$TMPDIR/look" && fail "another filesystem was mounted"
fsid=$(fsid_of a)
start_client look "$TMPDIR/look" "io_uring=off,fsid=${fsid#fsid }"
stop_client look
stop_node second

# another port: a mount has one address; the one who looks for the node there finds out why
stop_node a
node_on moved "$TMPDIR/a" "$(free_port)"
start_node moved
waits_for_node 'refused\|nobody listens' elsewhere
start_client look "$TMPDIR/look" io_uring=off
cmp "$TMPDIR/look/there/${PATHS[0]}" "$TMPDIR/wanted"
stop_client look
stop_node moved
start_node a
is_written elsewhere
unmount_paths
stop_node a
