#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Random namespace operations end as they do on a tmpfs, errno by errno, and leave the same tree;
# a second mount and a restarted node show that tree too.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

start_node a durability=interval:500
mkdir "$TMPDIR/ref"
mount -t tmpfs -o size=256m pw-reference "$TMPDIR/ref"
cleanup_fn umount -i "$TMPDIR/ref"
mount_paths

tree() { # SEED PATH MOUNT
	local name=$2$1
	mkdir -p "$3/$name" "$TMPDIR/ref/$name"
	/usr/bin/python3 "$HERE/treecheck.py" --seed "$1" --steps "$(scaled 1000)" \
		"$3/$name" "$TMPDIR/ref/$name"
}
each_path tree 1
each_path tree 2

compare() { # PATH MOUNT: all trees of all paths
	/usr/bin/python3 "$HERE/treecheck.py" --compare "$2" "$TMPDIR/ref"
}
# names are cached for a second
wait_for 10 "each_path compare"
unmount_paths
stop_node a
start_node a
mount_paths_with cache=none
each_path compare
unmount_paths
