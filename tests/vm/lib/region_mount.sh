# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# region_mount.sh - a mount over RDMA whose payload buffers can be closed to every access, and a
# program with registered memory that does what it is told, step by step. Source it after
# rdma_mount.sh.
#
#	region_mount_up
#	steps_begin region_steps
#	guard closed
#	step write

PROGRAMS=$PW_BUILD/tests/vm/lib

# region_mount_up: node n, mount c with payload_guard.so; the kernel finds regions by itself
region_mount_up() {
	local entries heads
	export PW_GUARD=$TMPDIR/guard
	CLIENT_ENV="LD_PRELOAD=$PROGRAMS/payload_guard.so"
	rdma_up rxe store=memory memory=256MiB
	same true "$(client_says c stats regions in_kernel)" "the kernel's regions"
	entries=$(($(client_says c status fuse queues) * $(client_says c status fuse depth)))
	heads=$(((entries * 512 + 4095) / 4096 * 4096))
	echo "$heads $(client_says c status fuse max_io_bytes) $entries" >"$PW_GUARD"
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

# steps_begin PROGRAM [ARG...]: with a file of the mount and what is wanted in it
steps_begin() {
	local line program=$1
	shift
	coproc STEPS { exec "$PROGRAMS/$program" "$TMPDIR/mnt/f" "$TMPDIR/wanted" "$@"; }
	steps=$STEPS_PID
	cleanup_fn stop_pid "$steps"
	read -r -t 60 line <&"${STEPS[0]}" || fail "$program does not begin"
	same ok "$line" "$program"
}

# step WORDS [ANSWER]: one, and what the program says of it (ok)
step() {
	local line
	echo "$1" >&"${STEPS[1]}"
	read -r -t 60 line <&"${STEPS[0]}" || fail "no answer to $1"
	same "${2:-ok}" "$line" "$1"
}

steps_end() {
	eval "exec ${STEPS[1]}>&-"
	wait "$steps"
}
