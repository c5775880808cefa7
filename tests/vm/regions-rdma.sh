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
. "$(dirname "$0")/lib/probes.sh"

NR=16
PAYLOAD=$((NR * MB))
PROGRAMS=$PW_BUILD/tests/vm/lib

# step NAME [ANSWER]: of region_steps
step() {
	local line
	echo "$1" >&"${STEPS[1]}"
	read -r -t 60 line <&"${STEPS[0]}" || fail "no answer to $1"
	same "${2:-ok}" "$line" "$1"
}

# guard_is open|closed: what the client said last
guard_is() {
	[ "$(grep '^payloads are' "${CLIENT_LOG[c]}" | tail -n 1)" = "payloads are $1" ]
}

# guard open|closed: the client's payload buffers, all but the first page of each
guard() {
	kill -USR2 "${CLIENT_PID[c]}"
	wait_for 10 "guard_is $1"
}

# copied: by the client, as its counters say
copied() {
	client_says c stats copied_bytes
}

export PW_GUARD=$TMPDIR/guard
CLIENT_ENV="LD_PRELOAD=$PROGRAMS/payload_guard.so"
rdma_up rxe store=memory memory=256MiB
same true "$(client_says c stats regions in_kernel)" "the kernel's regions"
entries=$(($(client_says c status fuse queues) * $(client_says c status fuse depth)))
heads=$(((entries * 512 + 4095) / 4096 * 4096))
echo "$heads $(client_says c status fuse max_io_bytes) $entries" >"$PW_GUARD"
make_file "$TMPDIR/wanted" $PAYLOAD 7
probes_up
probe_fuse_copies
probe_calls_of "${NODE_PID[n]}"

coproc STEPS { exec "$PROGRAMS/region_steps" "$TMPDIR/mnt/f" "$TMPDIR/wanted"; }
steps=$STEPS_PID
cleanup_fn stop_pid "$steps"
read -r -t 60 line <&"${STEPS[0]}" || fail "region_steps does not begin"
same ok "$line" "region_steps"

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
eval "exec ${STEPS[1]}>&-"
wait "$steps"
stop_client c
stop_node n
