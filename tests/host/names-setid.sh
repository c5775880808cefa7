#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
#
# Set-id bits after changes of owner, mode, size and contents are those of a local filesystem.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

# the users of the test have to get there
chmod 755 "$TMPDIR"
start_node a durability=interval:500
mkdir "$TMPDIR/ref"
mount -t tmpfs -o size=16m pw-reference "$TMPDIR/ref"
cleanup_fn umount -i "$TMPDIR/ref"
chmod 755 "$TMPDIR/ref"
mount_paths
setid() { # PATH MOUNT
	mkdir "$2/$1" "$TMPDIR/ref/$1"
	/usr/bin/python3 "$HERE/setid.py" "$2/$1" "$TMPDIR/ref/$1"
}
each_path setid
unmount_paths
stop_node a
