#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
#
# Registered regions, kernel/patches 0003 and on: what is in a region is not copied, and is right;
# everything else is copied, and is right as well; and nothing stays pinned, whoever dies. The cases
# are the tables of tests/vm/lib/reg_*.c; this runs them with a payload buffer for each entry and
# with buffer pools, and counts the bytes that the kernel copies.
#
#	PW_REGIONS_STRESS=600 ...     that many seconds of dying servers instead of a few
. "$(dirname "$0")/../lib/functions.sh"
requires root ring /dev/fuse

trace=/sys/kernel/tracing
mnt=$TMPDIR/mnt
mkdir "$mnt"
if ! mountpoint -q /sys/fs/fuse/connections; then
	mount -t fusectl none /sys/fs/fuse/connections
	cleanup_fn umount /sys/fs/fuse/connections
fi
ring_switch on
echo 16 >/proc/sys/vm/nr_hugepages
count_copies() {
	# what fuse_copy_do() returns is what it has copied
	# shellcheck disable=SC2016
	echo 'r:regions/copy fuse_copy_do n=$retval:u32' >>$trace/kprobe_events
	cleanup_fn forget_copies
}

forget_copies() {
	echo 0 >$trace/events/regions/copy/enable
	echo '-:regions/copy' >>$trace/kprobe_events
}

count_copies
echo 1 >$trace/events/regions/copy/enable

"$BIN/tests/vm/lib/fuse_regions" "$mnt" || fail "without pools"
"$BIN/tests/vm/lib/fuse_regions" -p "$mnt" || fail "with pools"
echo 0 >$trace/events/regions/copy/enable
"$BIN/tests/vm/lib/fuse_regions" "$mnt" "${PW_REGIONS_STRESS:-5}" || fail "stress"
"$BIN/tests/vm/lib/fuse_regions" -p "$mnt" "${PW_REGIONS_STRESS:-5}" || fail "stress with pools"
