#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Memory of an application, registered with a mount: pw_pread() and pw_pwrite() move the right bytes
# and nobody copies them; who sends rubbish, names regions of others, changes bytes on their way or
# dies harms only himself.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse
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
	[ "$user" -le $((payload / 1000)) ] || fail "$user of $payload bytes copied, $path"
	# applications that are gone leave nothing
	wait_for 10 "same 0 \"\$(client_says $path stats regions count)\" regions"
	same 0 "$(client_says "$path" stats regions bytes)" "bytes in regions, $path"
done
unmount_paths

# zc=off takes nothing; PW_OPTIONAL lives with that
start_client off "$TMPDIR/off" zc=off
fails "$REGIONS" "$TMPDIR/off" data
stop_client off

# zc=require: or do not mount
if "$BIN/pagewire-client" -f "$(node_address a):${NODE_PORT[a]}:/" "$TMPDIR/off" -o zc=require \
	>"$TMPDIR/require.txt" 2>&1; then
	fail "zc=require has mounted on a kernel without regions"
fi
grep -q 'zc=require: this kernel' "$TMPDIR/require.txt" || fail "zc=require does not say why not"
! is_mounted "$TMPDIR/off" || fail "zc=require leaves a mount behind"
