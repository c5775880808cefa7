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

T=/sys/kernel/tracing
NR=16
PAYLOAD=$((NR * MB))

[ -e $T/kprobe_events ] || mount -t tracefs tracefs $T
requires $T/kprobe_events

# probe NAME DEFINITION [FILTER]: its value is called n
probe() {
	echo "$2" >>$T/kprobe_events
	[ $# -lt 3 ] || echo "$3" >"$T/events/kprobes/$1/filter"
	echo 1 >"$T/events/kprobes/$1/enable"
}

end_probes() {
	local f
	for f in "$T"/events/kprobes/*/enable; do
		[ ! -e "$f" ] || echo 0 >"$f"
	done
	echo >$T/kprobe_events
}

# sum NAME: of what the probe has seen since the last trace_start
sum() {
	awk -v name="$1:" '$0 ~ " " name " " { sub(/.* n=/, ""); s += $0 } END { print s + 0 }' \
		"$TMPDIR/trace"
}

trace_start() {
	echo >$T/trace
	echo 1 >$T/tracing_on
}

# what was traced is in $TMPDIR/trace; nothing was lost
trace_end() {
	echo 0 >$T/tracing_on
	cat $T/trace >"$TMPDIR/trace"
	[ "$(cat $T/per_cpu/cpu*/stats | awk '/^overrun/ { s += $2 } END { print s + 0 }')" = 0 ] ||
		fail "the trace buffer is too small"
}

# forget: the marks in the node's page tables of what its CPU has touched
forget() {
	echo 1 >"/proc/${NODE_PID[n]}/clear_refs"
}

# touched: bytes in pages that the node's CPU has touched since then
touched() {
	awk '/^Referenced:/ { s += $2 } END { print s * 1024 }' "/proc/${NODE_PID[n]}/smaps"
}

# less WHAT VALUE LIMIT, more WHAT VALUE LIMIT
less() {
	[ "$2" -lt "$3" ] || fail "$1: $2 bytes, less than $3 wanted"
}
more() {
	[ "$2" -ge "$3" ] || fail "$1: $2 bytes, at least $3 wanted"
}

write_all() {
	dd if="$TMPDIR/wanted" of="$TMPDIR/mnt/f" bs="$1" oflag=direct conv=notrunc status=none
}

rdma_up rxe store=memory memory=256MiB
make_file "$TMPDIR/wanted" $PAYLOAD 7
cleanup_fn end_probes
echo 16384 >$T/buffer_size_kb
# shellcheck disable=SC2016 # the kernel's word
probe fuse_copy 'r:fuse_copy fuse_copy_do n=$retval:u32'
probe to_user 'p:to_user _copy_to_iter n=%si:u64' "common_pid == ${NODE_PID[n]}"
probe from_user 'p:from_user _copy_from_iter n=%si:u64' "common_pid == ${NODE_PID[n]}"

# the first writes make the memory and the windows
write_all 1M

forget
trace_start
write_all 1M
trace_end
more "FUSE on the client, writes of 1 MiB" "$(sum fuse_copy)" $PAYLOAD
less "FUSE on the client, writes of 1 MiB" "$(sum fuse_copy)" $((PAYLOAD + PAYLOAD / 100))
less "system calls of the node, writes of 1 MiB" $(($(sum to_user) + $(sum from_user))) "$MB"
less "touched by the node, writes of 1 MiB" "$(touched)" $((PAYLOAD / 2))

forget
trace_start
dd if="$TMPDIR/mnt/f" of="$TMPDIR/got" bs=1M iflag=direct status=none
trace_end
cmp "$TMPDIR/got" "$TMPDIR/wanted"
more "FUSE on the client, reads of 1 MiB" "$(sum fuse_copy)" $PAYLOAD
less "FUSE on the client, reads of 1 MiB" "$(sum fuse_copy)" $((PAYLOAD + PAYLOAD / 100))
less "system calls of the node, reads of 1 MiB" $(($(sum to_user) + $(sum from_user))) "$MB"
less "touched by the node, reads of 1 MiB" "$(touched)" $((PAYLOAD / 2))
echo "1 MiB over RDMA: touched by the node $(touched) of $PAYLOAD bytes"

# the memory store copies what is smaller than a unit: this must be seen
forget
write_all 64K
more "touched by the node, writes of 64 KiB" "$(touched)" $PAYLOAD
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
