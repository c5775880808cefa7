#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 400
#
# SQLite on the mount in each of its journal modes: two writers with locks, readers, a mapped
# database, a writer that is killed in the middle.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse
/usr/bin/python3 -c 'import sqlite3' 2>/dev/null || skip "needs sqlite3 for python"

sqlite_on() { # PATH MOUNT
	mkdir "$2/$1"
	/usr/bin/python3 "$HERE/database.py" "$2/$1"
}
start_node a durability=interval:100
mount_paths
each_path sqlite_on
unmount_paths
stop_node a
