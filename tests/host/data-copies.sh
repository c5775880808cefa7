#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Large I/O is copied once on the client, by the kernel, and by nobody else; it takes the path that
# the mount was told to take.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

MB=$((1 << 20))
COUNT=$(scaled 32 4)
start_node a store=memory memory=256MiB
mount_paths
for path in "${PATHS[@]}"; do
	pool=pool
	[ "$path" = ring ] || pool=dev
	same "$pool" "$(client_says "$path" status path)" "path of the mount"
	for flag in direct nonblock; do # nonblock: means nothing for a file
		file=${MNT[$path]}/$path-$flag
		before=$(client_says "$path" stats paths "$pool" written_bytes)
		dd if=/dev/zero of="$file" bs=1M count="$COUNT" oflag=$flag status=none
		after=$(client_says "$path" stats paths "$pool" written_bytes)
		same $((COUNT * MB)) $((after - before)) "bytes written over $path ($flag)"
		before=$(client_says "$path" stats paths "$pool" read_bytes)
		dd if="$file" of=/dev/null bs=1M iflag=direct status=none
		after=$(client_says "$path" stats paths "$pool" read_bytes)
		same $((COUNT * MB)) $((after - before)) "bytes read over $path ($flag)"
	done
	# commands that arrive together with the end of a payload: not more than one in a thousand
	copied=$(client_says "$path" stats user_copied_bytes)
	payload=$(client_says "$path" stats payload_bytes)
	[ "$copied" -le $((payload / 1000)) ] || fail "$copied of $payload bytes copied, $path"
	same $((payload + copied)) "$(client_says "$path" stats copied_bytes)" "copied bytes, $path"
done
same 0 "$(client_says dev stats paths pool requests)" "requests on the ring of a /dev/fuse mount"
unmount_paths
