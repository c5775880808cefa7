#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Records that several processes append to one file, on both mounts at once, are all there, whole.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

COUNT=$(scaled 150)
start_node a durability=interval:500
mount_paths

writers=()
for i in 0 1 2 3; do
	path=${PATHS[i % ${#PATHS[@]}]}
	/usr/bin/python3 "$HERE/append.py" write "${MNT[$path]}/log" "$i" "$COUNT" &
	writers+=($!)
done
for pid in "${writers[@]}"; do
	wait "$pid" || fail "a writer ended with $?"
done
for path in "${PATHS[@]}"; do
	/usr/bin/python3 "$HERE/append.py" check "${MNT[$path]}/log" 4 "$COUNT"
done
unmount_paths
