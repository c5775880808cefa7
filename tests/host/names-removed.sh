#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Folders, files, pipes and links that somebody holds while their last name goes.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

# soon after the start nothing without a name is deleted: clients may still claim it
start_node a durability=interval:500 lease=1s dead=500ms heartbeat=100ms
# every fstat asks
mount_paths_with attr_timeout=0
start_client other "$TMPDIR/other" io_uring=off,attr_timeout=0
for path in "${PATHS[@]}"; do
	mkdir "${MNT[$path]}/$path"
	/usr/bin/python3 "$HERE/removed.py" "${MNT[$path]}/$path" "$TMPDIR/other/$path"
done
stop_client other
unmount_paths
# and with attributes that are kept for a while
mount_paths
start_client other "$TMPDIR/other" io_uring=off,attr_timeout=0
for path in "${PATHS[@]}"; do
	mkdir "${MNT[$path]}/$path-kept"
	/usr/bin/python3 "$HERE/removed.py" "${MNT[$path]}/$path-kept" "$TMPDIR/other/$path-kept"
done
stop_client other
unmount_paths
stop_node a
