#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Owners, groups, modes, umask, sticky and set-id bits, as other users too; times; statfs.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

# the users of the test have to get there
chmod 755 "$TMPDIR"
start_node a durability=interval:500
mount_paths
rights() { # PATH MOUNT
	mkdir "$2/$1"
	/usr/bin/python3 "$HERE/rights.py" "$2/$1"
}
each_path rights
unmount_paths
