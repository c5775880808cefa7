#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A node that does not answer: programs wait and can be interrupted, timeout= gives them EIO, and
# unmounting and asking for the status take no longer than they should. When the node is back,
# those who waited go on.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

# emulated CPUs take longer over everything
SLOW=$TIME_FACTOR

seconds() { # COMMAND...: how long it took, in ms, whatever its end; MS and RC are set
	local from
	from=$(date +%s%N)
	RC=0
	"$@" >"$TMPDIR/out.txt" 2>&1 || RC=$?
	MS=$((($(date +%s%N) - from) / 1000000))
}

freeze() {
	kill -STOP "${NODE_PID[a]}"
}
thaw() {
	kill -CONT "${NODE_PID[a]}" 2>/dev/null || true
}

read_block() { # FILE
	dd if="$1" of=/dev/null bs=4096 count=1 iflag=direct
}

waits() { # PATH MOUNT
	local pid signal
	for signal in INT TERM KILL; do
		# bash has its background commands ignore INT: put it back
		env --default-signal=INT dd if="$2/file" of=/dev/null bs=4096 iflag=direct count=1 \
			2>/dev/null &
		pid=$!
		cleanup_fn _end_pid "$pid"
		# it is in the filesystem when the client has a request out for it
		wait_for 10 "[ \"\$(client_says $1 status nodes 0 inflight)\" -gt 0 ] ||
			[ \"\$(client_says $1 status nodes 0 waiting)\" -gt 0 ]" ||
			fail "$1: no request is waiting"
		is_alive "$pid" || fail "$1: the reader did not wait"
		kill -s "$signal" "$pid"
		wait_for 10 "! is_alive $pid" || fail "$1: SIG$signal did not end the reader"
		wait "$pid" || true
	done
}

start_node a heartbeat=200ms dead=600ms
find_paths
for path in "${PATHS[@]}"; do
	start_client "$path" "$TMPDIR/mnt-$path" "$(mount_options "$path")"
	MNT["$path"]=$TMPDIR/mnt-$path
	start_client "soft-$path" "$TMPDIR/soft-$path" \
		"$(mount_options "$path" timeout=$((2 * SLOW)))"
	start_client "busy-$path" "$TMPDIR/busy-$path" "$(mount_options "$path")"
	start_client "idle-$path" "$TMPDIR/idle-$path" "$(mount_options "$path")"
	make_file "$TMPDIR/mnt-$path/file" 100000
	cmp "$TMPDIR/mnt-$path/file" "$TMPDIR/soft-$path/file"
	cmp "$TMPDIR/mnt-$path/file" "$TMPDIR/busy-$path/file"
done

freeze
cleanup_fn thaw
declare -A LATE=()
for path in "${PATHS[@]}"; do
	waits "$path" "${MNT[$path]}"
	# a reader and a writer that stay
	(cmp "${MNT[$path]}/file" "${MNT[$path]}/file" &&
		dd if=/dev/zero of="${MNT[$path]}/new" bs=64k count=4 oflag=direct status=none) &
	LATE[$path]=$!
	cleanup_fn _end_pid "${LATE[$path]}"

	seconds read_block "$TMPDIR/soft-$path/file"
	grep -q 'Input/output error' "$TMPDIR/out.txt" || fail "timeout=: $(cat "$TMPDIR/out.txt")"
	[ "$MS" -ge 1500 ] || fail "timeout=: an error after $MS ms"
	[ "$MS" -le $((9000 * SLOW)) ] || fail "timeout=: an error only after $MS ms"
	seconds touch "$TMPDIR/soft-$path/other"
	[ "$RC" -ne 0 ] || fail "timeout=: a file was made by nobody"
	[ "$MS" -le $((12000 * SLOW)) ] || fail "timeout=: touch took $MS ms"

	seconds client_says "$path" status state
	same 0 "$RC" "status of a mount whose node is away"
	[ "$MS" -le $((4000 * SLOW)) ] || fail "status took $MS ms"

	# nobody uses it: an ordinary umount
	seconds timeout $((20 * SLOW)) umount -i "$TMPDIR/idle-$path"
	same 0 "$RC" "umount of an idle mount"
	[ "$MS" -le $((8000 * SLOW)) ] || fail "umount took $MS ms"
	wait_for 15 "! is_alive ${CLIENT_PID[idle-$path]}" ||
		fail "the client of an unmounted idle mount goes on"

	# somebody waits in it
	read_block "$TMPDIR/busy-$path/file" 2>"$TMPDIR/busy-$path.txt" &
	reader=$!
	cleanup_fn _end_pid "$reader"
	wait_for 10 "[ \"\$(client_says busy-$path status nodes 0 inflight)\" -gt 0 ] ||
		[ \"\$(client_says busy-$path status nodes 0 waiting)\" -gt 0 ]"
	seconds timeout $((20 * SLOW)) umount -i "$TMPDIR/busy-$path"
	[ "$RC" -ne 0 ] || fail "a busy mount was unmounted"
	[ "$MS" -le $((8000 * SLOW)) ] || fail "umount of a busy mount took $MS ms"
	seconds timeout $((20 * SLOW)) umount -f -i "$TMPDIR/busy-$path"
	[ "$MS" -le $((8000 * SLOW)) ] || fail "umount -f took $MS ms"
	wait_for 10 "! is_alive $reader" || fail "umount -f did not end the reader"
	wait "$reader" && fail "the reader read from nobody"
	! is_mounted "$TMPDIR/busy-$path" || umount -i "$TMPDIR/busy-$path"
	wait_for 15 "! is_alive ${CLIENT_PID[busy-$path]}" ||
		fail "the client of an aborted mount goes on"
done
thaw
for path in "${PATHS[@]}"; do
	wait_for 20 "! is_alive ${LATE[$path]}" || fail "$path: who waited waits on"
	wait "${LATE[$path]}" || fail "$path: who waited got an error"
	cmp "$TMPDIR/mnt-$path/file" "$TMPDIR/soft-$path/file"
	stop_client "soft-$path"
	stop_client "$path"
done
