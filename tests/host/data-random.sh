#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Random reads, writes, truncates and mappings of one file give what a copy in memory has; after a
# close the other mount sees the same. With and without the page cache, small and large files.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

start_node a durability=interval:500
find_paths

run() { # ROUND ARG... PATH MOUNT
	local round=$1 path=${*: -2:1} dir=${*: -1} other
	shift
	set -- "${@:1:$#-2}"
	other=$(other_mount "$path")
	echo "$path, round $round"
	"$PROGRAMS/randio" -s "$round$((${#path}))" "$@" -o "$other/$path$round" "$dir/$path$round"
}

mount_paths
each_path run 1 -n "$(scaled 900)"
each_path run 2 -n "$(scaled 500)" -l 67108864 -i 2097152
each_path run 3 -n "$(scaled 600)" -l 65536 -i 16384
for path in "${PATHS[@]}"; do
	same 0 "$(client_says "$path" stats bad_requests)" "bad requests"
done
unmount_paths

mount_paths_with cache=none
each_path run 4 -n "$(scaled 500)" -M
unmount_paths

stop_node a
start_node a
mount_paths_with max_io=65536
each_path run 5 -n "$(scaled 300)" -l 8388608 -i 1048576
unmount_paths
