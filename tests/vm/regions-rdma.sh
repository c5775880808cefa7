#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 180
#
# No CPU copies a byte of a payload that lies in a region: FUSE's copies are summed by a probe, the
# client's payload buffers are closed to every access, the node's system calls and page tables are
# looked at; and the right bytes arrive both ways, by plain calls, io_uring and fixed buffers.
# Memory that is no region is seen by each of these means.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
. "$(dirname "$0")/../host/lib/mounts.sh"
. "$(dirname "$0")/lib/rdma_mount.sh"
. "$(dirname "$0")/lib/region_mount.sh"
. "$(dirname "$0")/lib/probes.sh"

NR=16
PAYLOAD=$((NR * MB))

# copied: by the client, as its counters say
copied() {
	client_says c stats copied_bytes
}

region_mount_up
make_file "$TMPDIR/wanted" $PAYLOAD 7
probes_up
probe_fuse_copies
probe_calls_of "${NODE_PID[n]}"

steps_begin region_steps
# the first ones make the memory and the windows
step write
step read
step heap

guard closed
step heap 'Bad address'
before=$(copied)
for way in '' -uring -fixed; do
	for op in write read; do
		hits=$(client_says c stats regions hits)
		forget "${NODE_PID[n]}"
		trace_start
		step $op$way
		trace_end
		touched=$(touched "${NODE_PID[n]}")
		echo "$op$way of $PAYLOAD: FUSE copied $(sum fuse_copy), the node touched $touched"
		less "FUSE on the client, $op$way" "$(sum fuse_copy)" 1024
		less "system calls of the node" $(($(sum to_user) + $(sum from_user))) "$MB"
		less "touched by the node, $op$way" "$touched" $((PAYLOAD / 2))
		hits=$(($(client_says c stats regions hits) - hits))
		[ "$hits" -ge $NR ] || fail "$op$way: $hits hits"
	done
done
same "$before" "$(copied)" "bytes that the client says are copied"
guard open

same_bytes "$TMPDIR/mnt/f"
trace_start
step heap
trace_end
more "FUSE on the client, memory that is no region" "$(sum fuse_copy)" "$MB"
[ "$(copied)" -ge $((before + MB)) ] || fail "a copy is not counted"
on_rdma
steps_end
stop_client c
stop_node n
