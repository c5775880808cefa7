#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Client and node of versions that do not meet: both say so, with the numbers
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

OUT=$TMPDIR/out.txt
M=$TMPDIR/mnt
mkdir "$M"

# a node that is newer than we are
/usr/bin/python3 "$HERE/version.py" node "$TMPDIR/port" 7 9 &
cleanup_fn _end_pid "$!"
wait_for 20 "[ -s '$TMPDIR/port' ]"
SPEC=127.0.0.1:$(cat "$TMPDIR/port"):/
rc=0
"$BIN/pagewire" mount "$SPEC" "$M" >"$OUT" 2>&1 || rc=$?
same 9 "$rc" "exit code: $(cat "$OUT")"
grep -q 'speaks protocol version 7 to 9, we 1 to 2' "$OUT" || fail "$(cat "$OUT")"
rc=0
"$BIN/mount.pagewire" "$SPEC" "$M" >"$OUT" 2>&1 || rc=$?
same 32 "$rc" "exit code of mount.pagewire: $(cat "$OUT")"
grep -q 'version 7 to 9' "$OUT" || fail "$(cat "$OUT")"
is_mounted "$M" && fail "mounted"

# a client that is newer than our node
start_node a
same "type 5 status 24 versions 1 to 2" \
	"$(/usr/bin/python3 "$HERE/version.py" client "${NODE_PORT[a]}" 7 9)"
grep -q 'client speaks protocol version 7 to 9, we 1 to 2' "${NODE_LOG[a]}" ||
	fail "the node does not say it"
# the node is as it was
start_client c "$M"
echo hello >"$M/hello"
stop_client c
stop_node a
