#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Node and client on two hosts with a network between them, over TCP: loss and reordering are
# TCP's affair, a pulled cable is a pause. What RDMA has to do as well has tests of its own.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
requires root netns /dev/fuse tc

two_hosts none
NODE_AT=a
CLIENT_AT=b
ring_switch on
start_node n store=memory memory=256MiB
start_client c "$TMPDIR/mnt" io_uring=on
make_file "$TMPDIR/wanted" $((4 << 20))

cp "$TMPDIR/wanted" "$TMPDIR/mnt/plain"
netem loss 1% delay 1ms reorder 10%
cp "$TMPDIR/wanted" "$TMPDIR/mnt/lossy"
cmp "$TMPDIR/wanted" "$TMPDIR/mnt/lossy"
netem

link_set down
cp "$TMPDIR/wanted" "$TMPDIR/mnt/waits" &
copy=$!
cleanup_fn _end_pid "$copy"
is_alive "$copy" || fail "a copy did not wait for the cable"
link_set up
wait "$copy" || fail "the copy ended with $? after the cable was back"

for f in plain lossy waits; do
	dd if="$TMPDIR/mnt/$f" bs=1M iflag=direct status=none | cmp - "$TMPDIR/wanted" ||
		fail "$f is not what was written"
done
stop_client c
stop_node n
