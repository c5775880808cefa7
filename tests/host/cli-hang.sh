#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
# status and umount -f with a node and with a client that are stopped or gone: nothing hangs
. "$(dirname "$0")/../lib/functions.sh"
requires root /dev/fuse

M=$TMPDIR/mnt
OUT=$TMPDIR/out.txt

# within SECONDS CODE COMMAND...: ends in that time with that exit code; the output is in $OUT
within() {
	local limit=$1 code=$2 rc=0
	shift 2
	timeout $((limit * TIME_FACTOR)) "$@" >"$OUT" 2>&1 || rc=$?
	[ "$rc" -ne 124 ] || fail "hangs: $*"
	[ "$rc" -eq "$code" ] || { cat "$OUT" >&2; fail "$* ended with $rc, wanted $code"; }
}
says() { grep -q -- "$1" "$OUT" || { cat "$OUT" >&2; fail "does not say: $1"; }; }
ended() { wait_for 15 "! is_alive $1" || fail "$2 still runs"; }

_continue() { ! is_alive "$1" || kill -s CONT "$1"; }

node_stopped() {
	local opts=$1 waiter rc=0
	start_client c "$M" "$opts"
	echo x >"$M/f"
	kill -s STOP "${NODE_PID[a]}"
	cleanup_fn _continue "${NODE_PID[a]}"
	# the node says nothing, the mount says everything
	within 10 3 "$BIN/pagewire" status --node "$TMPDIR/a"
	says "process ${NODE_PID[a]}, is stopped"
	says "kill -CONT ${NODE_PID[a]}"
	within 10 0 "$BIN/pagewire" stats "$M"
	wait_for 20 "! '$BIN/pagewire' status -q '$M'" || fail "nobody notices"
	within 10 3 "$BIN/pagewire" status "$M"
	says 'is not reachable for'
	says "pagewire umount -f $M"
	within 10 3 "$BIN/pagewire" status --json "$M"
	says '"good": false'
	# a program waits for the node, until it is given up
	cat "$M/f" "$M/g" >/dev/null 2>&1 &
	waiter=$!
	cleanup_fn _end_pid "$waiter"
	within 20 0 "$BIN/pagewire" umount -f "$M"
	says 'by force'
	is_mounted "$M" && fail "still mounted"
	ended "$waiter" "who waited"
	wait "$waiter" || rc=$?
	[ "$rc" -ne 0 ] || fail "who waited saw no error"
	ended "${CLIENT_PID[c]}" "the client"
	_continue "${NODE_PID[a]}"
	within 10 1 "$BIN/pagewire" umount -f "$M"
	says 'is not a mount point'
}

client_stopped() {
	local opts=$1 waiter client
	start_client c "$M" "$opts"
	client=${CLIENT_PID[c]}
	kill -s STOP "$client"
	cleanup_fn _continue "$client"
	stat "$M/none" >/dev/null 2>&1 &
	waiter=$!
	cleanup_fn _end_pid "$waiter"
	within 10 3 "$BIN/pagewire" status "$M"
	says "process $client, is stopped by a signal"
	within 10 3 "$BIN/pagewire" status -q
	within 10 12 "$BIN/pagewire" umount "$M"
	says "kill -CONT $client"
	is_mounted "$M" || fail "unmounted"
	within 20 0 "$BIN/pagewire" umount -f "$M"
	is_mounted "$M" && fail "still mounted"
	ended "$waiter" "who waited"
	ended "$client" "the client"
}

client_killed() {
	local opts=$1
	start_client c "$M" "$opts"
	kill_client c
	within 10 0 "$BIN/pagewire" status -q --node "$TMPDIR/a"
	is_mounted "$M" && fail "a dead mount stays"
	within 10 1 "$BIN/pagewire" status "$M"
}

node_gone() {
	start_client c "$M" "$1"
	kill_node a
	wait_for 20 "! '$BIN/pagewire' status -q '$M'" || fail "nobody notices"
	within 10 12 "$BIN/pagewire" status --node "$TMPDIR/a"
	says 'no node answers'
	# orderly: there is nothing to wait for
	within 40 0 "$BIN/pagewire" umount "$M"
	ended "${CLIENT_PID[c]}" "the client"
}

start_node a store=memory memory=64MiB max_clients=2 heartbeat=100ms dead=1s
modes=(io_uring=off)
if [ -w "$RING_SWITCH" ]; then
	ring_switch on
	modes+=(io_uring=on)
	[ "${PW_PATHS:-}" != ring ] || modes=(io_uring=on)
fi
for mode in "${modes[@]}"; do
	echo "== $mode"
	node_stopped "$mode"
	client_stopped "$mode"
	client_killed "$mode"
done
node_gone io_uring=auto
within 10 0 "$BIN/pagewire" help
