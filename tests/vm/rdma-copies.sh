#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 180
#
# What the counters of copies say, as the kernel sees it: on the client FUSE copies each byte once;
# the node's CPU does not touch a payload, neither in system calls nor in its own memory. Each probe
# is shown something that it must see, too.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
. "$(dirname "$0")/../host/lib/mounts.sh"
. "$(dirname "$0")/lib/rdma_mount.sh"
. "$(dirname "$0")/lib/probes.sh"

NR=16
PAYLOAD=$((NR * MB))

write_all() {
	dd if="$TMPDIR/wanted" of="$TMPDIR/mnt/f" bs="$1" oflag=direct conv=notrunc status=none
}

rdma_up rxe store=memory memory=256MiB
make_file "$TMPDIR/wanted" $PAYLOAD 7
probes_up
probe_fuse_copies
probe_calls_of "${NODE_PID[n]}"

# the first writes make the memory and the windows
write_all 1M

forget "${NODE_PID[n]}"
trace_start
write_all 1M
trace_end
more "FUSE on the client, writes of 1 MiB" "$(sum fuse_copy)" $PAYLOAD
less "FUSE on the client, writes of 1 MiB" "$(sum fuse_copy)" $((PAYLOAD + PAYLOAD / 100))
less "system calls of the node, writes of 1 MiB" $(($(sum to_user) + $(sum from_user))) "$MB"
less "touched by the node, writes of 1 MiB" "$(touched "${NODE_PID[n]}")" $((PAYLOAD / 2))

forget "${NODE_PID[n]}"
trace_start
dd if="$TMPDIR/mnt/f" of="$TMPDIR/got" bs=1M iflag=direct status=none
trace_end
cmp "$TMPDIR/got" "$TMPDIR/wanted"
more "FUSE on the client, reads of 1 MiB" "$(sum fuse_copy)" $PAYLOAD
less "FUSE on the client, reads of 1 MiB" "$(sum fuse_copy)" $((PAYLOAD + PAYLOAD / 100))
less "system calls of the node, reads of 1 MiB" $(($(sum to_user) + $(sum from_user))) "$MB"
less "touched by the node, reads of 1 MiB" "$(touched "${NODE_PID[n]}")" $((PAYLOAD / 2))
echo "1 MiB over RDMA: touched by the node $(touched "${NODE_PID[n]}") of $PAYLOAD bytes"

# the memory store copies what is smaller than a unit: this must be seen
forget "${NODE_PID[n]}"
write_all 64K
more "touched by the node, writes of 64 KiB" "$(touched "${NODE_PID[n]}")" $PAYLOAD
stop_client c

# and over TCP the node's system calls move everything
CLIENT_AT=b
start_client c "$TMPDIR/mnt" "io_uring=on,transport=tcp"
trace_start
write_all 1M
trace_end
more "system calls of the node over TCP" "$(sum to_user)" $PAYLOAD
stop_client c
stop_node n
