#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 180
#
# kill -9 of the client under load: its mount is gone, the node goes on and gives back what the
# client had open, and a new mount shows everything that was promised.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse pgrep

check() {
	/usr/bin/python3 "$HERE/crashcheck.py" "$@"
}
grown() { # FILE BYTES
	[ "$(wc -c <"$1")" -ge "$2" ]
}
no_clients() {
	[ "$(node_says a clients '#')" = 0 ]
}

# A process that holds a piece of a dead FUSE server can hang the machine: nobody may do so.
watcher_is_clean() { # PID of the client
	local child
	for child in $(pgrep -P "$1" || true); do
		if find "/proc/$child/fd" -lname '/dev/fuse' -o -lname '*io_uring*' \
			-o -lname '*memfd*' |
			grep -q .; then
			fail "process $child has descriptors of the client $1"
		fi
		! grep -E 'io_uring|memfd|/dev/fuse' "/proc/$child/maps" ||
			fail "process $child has memory of the client $1"
	done
}

crash() { # PATH ROUND
	local path=$1 dir=$TMPDIR/mnt-$1 load holder full rc=0
	local work=$dir/$1$2 ledger=$TMPDIR/ledger-$1$2 held=$TMPDIR/held-$1$2
	start_client "$path" "$dir" "$(mount_options "$path")"
	mkdir "$work"
	: >"$ledger"
	check load --dir "$work" --ledger "$ledger" --stop "$TMPDIR/never" --lossy \
		--seed "$RANDOM" &
	load=$!
	cleanup_fn _end_pid "$load"
	# a file without a name, held by a process that will not let go of it
	make_file "$work/held" $((16 << 20))
	/usr/bin/python3 -c 'import os, sys, signal
f = open(sys.argv[1], "rb")
os.unlink(sys.argv[1])
print(os.fstat(f.fileno()).st_nlink, flush=True)
signal.pause()' "$work/held" >"$held" &
	holder=$!
	cleanup_fn _end_pid "$holder"
	wait_for 20 "[ -s '$held' ]"
	same 0 "$(cat "$held")" "links of the held file"
	wait_for 30 "grown '$ledger' $(($(scaled 6000) + RANDOM % $(scaled 10000)))" ||
		fail "no load over $path"
	full=$(node_says a space free) # the load goes on, with less than 4 MiB

	watcher_is_clean "${CLIENT_PID[$path]}"
	kill -KILL "${CLIENT_PID[$path]}"
	wait_for 10 "! is_alive ${CLIENT_PID[$path]}" || fail "the client did not die"
	wait_for 10 "! is_mounted '$dir'" || fail "the dead mount is still there"
	wait "$load" || rc=$?
	same 0 "$rc" "end of the load"
	# the program with the open file lives; its file is dead
	is_alive "$holder" || fail "the holder is gone"
	is_alive "${NODE_PID[a]}" || fail "the node is gone"

	# after the lease the session is over, and the file without a name too
	wait_for 15 no_clients || fail "the session outlived its lease"
	wait_for 15 "[ \"\$(node_says a space free)\" -ge $((full + (12 << 20))) ]" ||
		fail "the held file still takes space"
	stop_pid "$holder" || true

	start_client "$path" "$dir" "$(mount_options "$path")"
	check verify --dir "$work" --ledger "$ledger"
	[ ! -e "$work/held" ] || fail "the file without a name has one again"
	stop_client "$path"
	wait_for 15 no_clients || fail "a client that said goodbye is still there"
}

start_node a heartbeat=200ms dead=600ms lease=1s max_data=512MiB
find_paths
ROUNDS=$(scaled 2)
for ((round = 1; round <= ROUNDS; round++)); do
	for path in "${PATHS[@]}"; do
		crash "$path" "$round"
	done
done
