#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
#
# Memory of an application, registered with a mount: pw_pread() and pw_pwrite() move the right bytes
# and nobody copies them; who sends rubbish, names regions of others, changes bytes on their way or
# dies harms only himself.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse jq
# the application is as it is for users, also when the daemons are of the ASan build
REGIONS=$PW_BUILD/tests/host/lib/regions

start_node a store=memory memory=256MiB
mount_paths
for path in "${PATHS[@]}"; do
	"$REGIONS" "${MNT[$path]}"
	# 5 MiB there and back, and the cases besides
	moved=$(client_says "$path" stats paths reg written_bytes)
	[ "$moved" -gt $((40 << 20)) ] || fail "only $moved bytes of regions written over $path"
	moved=$((moved + $(client_says "$path" stats paths reg read_bytes)))
	payload=$(client_says "$path" stats payload_bytes)
	copied=$(client_says "$path" stats copied_bytes)
	user=$(client_says "$path" stats user_copied_bytes)
	same $((payload - moved + user)) "$copied" "copied bytes, $path"
	user=$((user - $(client_says "$path" stats regions copied_in_runs)))
	[ "$user" -le $((payload / 1000)) ] || fail "$user of $payload bytes copied, $path"
	# a kernel that finds regions by itself has found those of read(2) and write(2)
	if [ "$(client_says "$path" stats regions in_kernel)" = true ]; then
		hits=$(client_says "$path" stats regions hits)
		runs=$(client_says "$path" stats regions hits_in_runs)
		[ "$hits" -ge 16 ] || fail "only $hits hits over $path"
		[ "$runs" -gt 1 ] || fail "only $runs hits in runs over $path"
		found=1
	fi
	# applications that are gone leave nothing, no descriptor either
	wait_for 10 "! ls -l /proc/${CLIENT_PID[$path]}/fd | grep -q memfd:t"
	wait_for 10 "same 0 \"\$(client_says $path stats regions count)\" regions"
	same 0 "$(client_says "$path" stats regions bytes)" "bytes in regions, $path"
done

# who has what, as long as he lives
path=${PATHS[0]}
coproc HOLD { exec "$REGIONS" "${MNT[$path]}" hold; }
holder=$HOLD_PID
cleanup_fn stop_pid "$holder"
read -r line <&"${HOLD[0]}"
same holding "$line" "what the holder says"
"$BIN/pagewire" buffers --json "${MNT[$path]}" >"$TMPDIR/buffers.json"
format='"\(.pid) \(.state) \(.bytes) \(.writes) \(.written_bytes)"'
one=$(jq -r ".mounts[0].regions[0] | $format" "$TMPDIR/buffers.json")
same "$holder live 4194304 1 1048576" "$one" "the region"
"$BIN/pagewire" buffers >"$TMPDIR/buffers.txt"
grep -q "regions $holder, user 0, 4.0 MiB, live; .* 1 writes, 1.0 MiB" "$TMPDIR/buffers.txt" ||
	fail "$(cat "$TMPDIR/buffers.txt")"
eval "exec ${HOLD[1]}>&-"
wait_for 10 "same 0 \"\$(client_says $path stats regions count)\" regions"
"$BIN/pagewire" buffers --json "${MNT[$path]}" >"$TMPDIR/buffers.json"
same 0 "$(jq '.mounts[0].regions | length' "$TMPDIR/buffers.json")" "regions afterwards"
fails "$BIN/pagewire" buffers /tmp
unmount_paths

# zc=off takes nothing; PW_OPTIONAL lives with that
start_client off "$TMPDIR/off" zc=off
fails "$REGIONS" "$TMPDIR/off" data
stop_client off

# zc=require: or do not mount
if [ "${found:-}" ]; then
	start_client require "$TMPDIR/off" zc=require
	stop_client require
elif "${ON_CLIENT[@]}" "$BIN/pagewire-client" -f "$(node_address a):${NODE_PORT[a]}:/" \
	"$TMPDIR/off" -o "$(mount_options_of_all zc=require)" >"$TMPDIR/require.txt" 2>&1; then
	fail "zc=require has mounted on a kernel without regions"
else
	grep -q 'zc=require: this kernel' "$TMPDIR/require.txt" || fail "it does not say why not"
fi
! is_mounted "$TMPDIR/off" || fail "zc=require leaves a mount behind"
