#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What one process has written, another one on the same mount reads, at any moment; and a file that
# is open only to be read shows what another mount wrote into it once it was asked for attributes.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse
printf '6.18\n%s\n' "$(uname -r)" | sort -VC || skip "needs Linux 6.18"

rereads_on() { # PATH MOUNT
	"$PROGRAMS/rereads" "$2/rereads-$1" 8
}

start_node a durability=interval:500
mount_paths
each_path rereads_on

A=${MNT[${PATHS[0]}]}
start_client second "$TMPDIR/mnt-second" io_uring=off
echo old >"$A/held"
exec 3<"$A/held"
same old "$(cat "$A/held")" "what was written"
echo new | dd of="$TMPDIR/mnt-second/held" conv=notrunc status=none
# by the descriptor: it is not opened again
wait_for 5 "stat -L /dev/fd/3 && [ \"\$(/usr/bin/python3 -c \
	'import os; print(os.pread(3, 3, 0).decode())')\" = new ]"
exec 3<&-
stop_client second
unmount_paths
