#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# kernel: debug
#
# Registered regions, kernel/patches 0003 and on, when the kernel has no memory: each allocation of
# a command or a request fails once (tests/vm/lib/reg_fail.c). Only a kernel that can let them fail
# shows it: kernel/build --debug.
. "$(dirname "$0")/../lib/functions.sh"
requires root ring /dev/fuse

faults=/sys/kernel/debug
for what in /proc/self/fail-nth $faults/failslab $faults/fail_page_alloc; do
	[ -e "$what" ] ||
		skip "no $what: this kernel lets no allocation fail (kernel/build --debug does)"
done
mnt=$TMPDIR/mnt
mkdir "$mnt"
ring_switch on
echo 16 >/proc/sys/vm/nr_hugepages
for what in failslab fail_page_alloc; do
	# also those that could wait; and only the one that is asked for
	echo N >$faults/$what/ignore-gfp-wait
	echo 0 >$faults/$what/probability
	echo "${PW_FAULT_VERBOSE:-0}" >$faults/$what/verbose
done
echo N >$faults/fail_page_alloc/ignore-gfp-highmem
echo 0 >$faults/fail_page_alloc/min-order

"$BIN/tests/vm/lib/fuse_regions" -f "$mnt" || fail "allocations that fail"
