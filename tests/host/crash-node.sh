#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 300
#
# kill -9 of the node at random instants under load, and start it again: no program sees an error,
# nothing that was acknowledged is missing, nothing is torn. With either durability.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

KILLS=${KILLS:-$(scaled 8 2)}
check() {
	/usr/bin/python3 "$HERE/crashcheck.py" "$@"
}
check selftest

declare -A LOAD=()
declare -A FROM=()
mark() {
	local path
	for path in "${PATHS[@]}"; do
		FROM[$path]=$(wc -c <"$TMPDIR/ledger-$path")
	done
}
grown() { # BYTES: each ledger has become longer by that much since mark
	local path
	for path in "${PATHS[@]}"; do
		[ "$(wc -c <"$TMPDIR/ledger-$path")" -ge $((FROM[$path] + $1)) ] || return 1
	done
}
loads_live() {
	local path
	for path in "${PATHS[@]}"; do
		is_alive "${LOAD[$path]}" || fail "the load over $path ended"
	done
}
verify_all() { # PATH MOUNT: what all paths have written
	local path
	for path in "${PATHS[@]}"; do
		check verify --dir "$2/$path" --ledger "$TMPDIR/ledger-$path"
	done
}

run() { # NODE CONFIG-LINE
	local node=$1 path i
	shift
	start_node "$node" "$@"
	mount_paths
	rm -f "$TMPDIR/stop"
	for path in "${PATHS[@]}"; do
		mkdir "${MNT[$path]}/$path"
		: >"$TMPDIR/ledger-$path"
		check load --dir "${MNT[$path]}/$path" --ledger "$TMPDIR/ledger-$path" \
			--stop "$TMPDIR/stop" --seed $((RANDOM)) &
		LOAD[$path]=$!
		cleanup_fn _end_pid "$!"
	done
	for ((i = 1; i <= KILLS; i++)); do
		mark
		# until some work is done: a random instant in the middle of the next
		wait_for 30 "grown $((RANDOM % 4000))" || fail "no progress before kill $i"
		kill_node "$node"
		start_node "$node"
		loads_live
	done
	mark
	wait_for 30 "grown 3000" || fail "no progress after the last kill"
	touch "$TMPDIR/stop"
	for path in "${PATHS[@]}"; do
		wait "${LOAD[$path]}" || fail "the load over $path ended with $?"
	done
	# on the mounts that lived through it, after one more crash, and after an orderly end
	each_path verify_all
	kill_node "$node"
	start_node "$node"
	each_path verify_all
	for path in "${PATHS[@]}"; do
		[ "$(client_says "$path" status nodes 0 reconnects)" -ge 1 ] ||
			fail "the client of $path was never cut off"
	done
	unmount_paths
	stop_node "$node"
	start_node "$node"
	mount_paths
	each_path verify_all
	unmount_paths
	stop_node "$node"
}

run always
run interval durability=interval:1000
