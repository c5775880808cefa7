#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Where something ends: blocks, segments, chunks, requests, files, offsets. Every kind of call that
# reads or writes. With both durabilities, and with small requests.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

edges() { # SKIP PATH MOUNT
	local dir=$3/$2
	mkdir "$dir"
	/usr/bin/python3 "$HERE/edges.py" "$dir" "$1"
	rmdir "$dir"
}

start_node a
mount_paths
each_path edges none
unmount_paths
stop_node a

start_node a durability=interval:500
mount_paths_with max_io=65536
each_path edges large
unmount_paths
stop_node a

# it has units of 1 MiB
start_node m store=memory "memory=$(scaled 512 128)MiB"
mount_paths
each_path edges sparse
unmount_paths
