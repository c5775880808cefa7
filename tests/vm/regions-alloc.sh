#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 120
#
# dd knows nothing of pagewire; under libpagewire-alloc.so its buffer is found by a kernel with
# registered regions, and not a byte of it is copied.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/../host/lib/mounts.sh"
requires root ring /dev/fuse
ALLOC=$PW_BUILD/libpagewire/libpagewire-alloc.so
PW_PATHS=ring

# run COMMAND...: under the library, which says what it does
run() {
	PAGEWIRE_ALLOC_VERBOSE=1 LD_PRELOAD=$ALLOC "$@" 2>>"$TMPDIR/said.txt"
}

# copied: payload bytes that somebody has copied on the client so far
copied() {
	client_says ring stats copied_bytes
}

start_node a store=memory memory=256MiB
mount_paths
m=${MNT[ring]}
make_file "$TMPDIR/in" $((8 << 20))
before=$(copied)
run dd if="$TMPDIR/in" of="$m/f" bs=2M oflag=direct status=none
run dd if="$m/f" of="$TMPDIR/out" bs=2M iflag=direct status=none
# names and the like are
[ $(($(copied) - before)) -lt 16384 ] || fail "$(($(copied) - before)) bytes copied"
cmp "$TMPDIR/in" "$TMPDIR/out"
[ "$(client_says ring stats regions hits)" -ge 16 ] || fail "hits"
same 2 "$(grep -c '16 MiB registered$' "$TMPDIR/said.txt")" "processes with a chunk"

# what it has without the library is copied: so the count above can be another one
dd if="$m/f" of="$TMPDIR/out" bs=2M iflag=direct status=none
[ "$(copied)" -ge $((before + (8 << 20))) ] || fail "a copy is not counted"

# the memory of a parent, of a child, and what a child has of its parent
run "$PW_BUILD/tests/host/lib/bigblocks" "$m" direct fork madvise closed
wait_for 10 "same 0 \"\$(client_says ring stats regions count)\" regions"
unmount_paths
