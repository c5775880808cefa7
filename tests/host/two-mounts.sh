#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Two mounts of one filesystem: what one closes, the other opens; names that one makes, the other
# sees within a second; what only one of them may have, only one of them gets.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

start_node a durability=interval:500
mount_paths
A=${MNT[${PATHS[0]}]}
if [ "${#PATHS[@]}" -eq 1 ]; then
	start_client second "$TMPDIR/mnt-second" io_uring=off
	B=$TMPDIR/mnt-second
else
	B=${MNT[dev]}
fi
mkdir "$A/there" "$A/back"
wait_for 5 "[ -d '$B/back' ]"
/usr/bin/python3 "$HERE/two_mounts.py" "$A/there" "$B/there"
# the other way round
/usr/bin/python3 "$HERE/two_mounts.py" "$B/back" "$A/back"
[ "${#PATHS[@]}" -gt 1 ] || stop_client second
unmount_paths
