#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A folder of 10,000 names (fewer where CPUs are emulated): read whole, in pieces with telldir and
# seekdir, while names come and go; and emptied again.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

COUNT=$(scaled 10000 3200)
start_node a durability=interval:500
mount_paths
# made over one path, read over all
MANY=${MNT[${PATHS[-1]}]}/many
mkdir "$MANY"
/usr/bin/python3 "$HERE/folder.py" fill "$MANY" "$COUNT"

walk() { # PATH MOUNT
	/usr/bin/python3 "$HERE/folder.py" walk "$2/many" "$COUNT"
}
each_path walk

changes() { # PATH MOUNT
	mkdir "$2/$1"
	/usr/bin/python3 "$HERE/folder.py" change "$2/$1" "$(scaled 300)"
	rmdir "$2/$1"
}
each_path changes
/usr/bin/python3 "$HERE/folder.py" empty "${MNT[${PATHS[0]}]}/many"
rmdir "${MNT[${PATHS[0]}]}/many"
unmount_paths
