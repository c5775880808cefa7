# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# probes.sh - what the kernel of a guest copies, summed by probes. Source it after functions.sh.
#
#	probes_up
#	probe to_user 'p:to_user _copy_to_iter n=%si:u64' "common_pid == $pid"
#	trace_start; ...; trace_end
#	sum to_user

T=/sys/kernel/tracing

# probes_up: until the test ends
probes_up() {
	[ -e $T/kprobe_events ] || mount -t tracefs tracefs $T
	requires $T/kprobe_events
	cleanup_fn end_probes
	echo 16384 >$T/buffer_size_kb
}

# probe NAME DEFINITION [FILTER]: its value is called n
probe() {
	echo "$2" >>$T/kprobe_events
	[ $# -lt 3 ] || echo "$3" >"$T/events/kprobes/$1/filter"
	echo 1 >"$T/events/kprobes/$1/enable"
}

# probe_fuse_copies: the bytes that FUSE copies between applications and its servers, as fuse_copy
probe_fuse_copies() {
	# shellcheck disable=SC2016 # the kernel's word
	probe fuse_copy 'r:fuse_copy fuse_copy_do n=$retval:u32'
}

# probe_calls_of PID: the bytes that its system calls copy to it and from it, as to_user, from_user
probe_calls_of() {
	probe to_user 'p:to_user _copy_to_iter n=%si:u64' "common_pid == $1"
	probe from_user 'p:from_user _copy_from_iter n=%si:u64' "common_pid == $1"
}

end_probes() {
	local f
	for f in "$T"/events/kprobes/*/enable; do
		[ ! -e "$f" ] || echo 0 >"$f"
	done
	echo >$T/kprobe_events
}

trace_start() {
	echo >$T/trace
	echo 1 >$T/tracing_on
}

# trace_end: what was traced is in $TMPDIR/trace; nothing was lost
trace_end() {
	echo 0 >$T/tracing_on
	cat $T/trace >"$TMPDIR/trace"
	[ "$(cat $T/per_cpu/cpu*/stats | awk '/^overrun/ { s += $2 } END { print s + 0 }')" = 0 ] ||
		fail "the trace buffer is too small"
}

# sum NAME: of what the probe has seen between trace_start and trace_end
sum() {
	awk -v name="$1:" '$0 ~ " " name " " { sub(/.* n=/, ""); s += $0 } END { print s + 0 }' \
		"$TMPDIR/trace"
}

# forget PID: the marks in its page tables of what its CPU has touched
forget() {
	echo 1 >"/proc/$1/clear_refs"
}

# touched PID: bytes in pages that its CPU has touched since then
touched() {
	awk '/^Referenced:/ { s += $2 } END { print s * 1024 }' "/proc/$1/smaps"
}

# less WHAT VALUE LIMIT, more WHAT VALUE LIMIT
less() {
	[ "$2" -lt "$3" ] || fail "$1: $2 bytes, less than $3 wanted"
}
more() {
	[ "$2" -ge "$3" ] || fail "$1: $2 bytes, at least $3 wanted"
}
