#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The kernel's own tests that kernel/patches adds: the selftest of registered regions, which
# kernel/build has compiled beside the image, and the KUnit tests of their lookup.
. "$(dirname "$0")/../lib/functions.sh"
requires root ring /dev/fuse

program=${PW_VM_KERNEL_DIR:-/nowhere}/fuse_uring_reg_test
[ -x "$program" ] || skip "no selftest beside the kernel's image"
kunit=/sys/kernel/debug/kunit/fuse_uring_reg
ring_switch on
if ! mountpoint -q /sys/fs/fuse/connections; then
	mount -t fusectl none /sys/fs/fuse/connections
	cleanup_fn umount /sys/fs/fuse/connections
fi
if ! mountpoint -q /sys/kernel/debug; then
	mount -t debugfs none /sys/kernel/debug
	cleanup_fn umount /sys/kernel/debug
fi

# passed LOG NUMBER PATTERN: so many lines of cases, none failed, none skipped
passed() {
	local bad
	bad=$(grep -E '^ *not ok|# SKIP' "$1") || bad=
	[ -z "$bad" ] || fail "$bad"$'\n'"$(cat "$1")"
	same "$2" "$(grep -cE "$3" "$1")" "cases of $1"
}

"$program" >"$TMPDIR/selftest" 2>&1 || fail "$(cat "$TMPDIR/selftest")"
passed "$TMPDIR/selftest" 10 '^ok [0-9]+ fuse_reg\.'

[ -e "$kunit/run" ] || fail "no KUnit tests of FUSE in this kernel"
echo 1 >"$kunit/run"
cat "$kunit/results" >"$TMPDIR/kunit"
passed "$TMPDIR/kunit" 6 '^ +ok [0-9]+ reg_test_'
