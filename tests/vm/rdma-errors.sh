#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 180
#
# Who may not connect, over RDMA as over TCP (cli-errors.sh, cli-version.sh): keys that differ,
# versions that do not meet, strangers. A clear sentence, the exit code; who is connected goes on.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
. "$(dirname "$0")/../host/lib/mounts.sh"
. "$(dirname "$0")/lib/rdma_mount.sh"
requires root netns rdma ring /dev/fuse

OUT=$TMPDIR/out.txt
M=$TMPDIR/refused
STRANGER=$BIN/tests/vm/lib/rdma_stranger
mkdir "$M"

# refused CODE TEXT SERVER OPTIONS: a mount over RDMA and nothing else
refused() {
	local rc=0
	on b timeout 100 "$BIN/pagewire" mount "$3" "$M" -o "transport=rdma${4:+,$4}" \
		>"$OUT" 2>&1 </dev/null || rc=$?
	same "$1" "$rc" "exit code with ${4:-no options}: $(cat "$OUT")"
	grep -q -- "$2" "$OUT" || fail "no '$2' with ${4:-no options}: $(cat "$OUT")"
	! is_mounted "$M" || fail "mounted all the same"
}

rdma_up rxe store=memory memory=64MiB
SPEC=${NODE_ADDR[n]}:${NODE_PORT[n]}:/
# RDMA is at the port behind that of TCP
PORT=$((NODE_PORT[n] + 1))
make_file "$TMPDIR/wanted" "$MB"
cp "$TMPDIR/wanted" "$TMPDIR/mnt/file"
connections() { client_says c status nodes 0 reconnects; }
before=$(connections)

(umask 077 && printf '2%.0s' {1..64} >"$TMPDIR/wrong.key")
refused 8 'the node has a cluster key, this client has none' "$SPEC" ""
refused 8 'the node did not prove our cluster key' "$SPEC" "key_file=$TMPDIR/wrong.key"

# a node that is newer than we are: in the hand-shake, and already in how it connects
# stranger WHAT PORT [ARG...]: on host a, ready when this returns
stranger() {
	start_on a "$STRANGER" "$1" "${NODE_ADDR[n]}" "${@:2}" >"$TMPDIR/stranger.txt" 2>&1 &
	cleanup_fn _end_pid "$!"
	wait_for 20 "grep -q listening '$TMPDIR/stranger.txt'" ||
		fail "stranger: $(cat "$TMPDIR/stranger.txt")"
}
KEY=key_file=$TMPDIR/cluster.key
stranger node 9001 7 9
refused 9 'speaks protocol version 7 to 9, we 1 to 2' "${NODE_ADDR[n]}:9000:/" "$KEY"
stranger other 9003
refused 9 'no pagewire node of our version' "${NODE_ADDR[n]}:9002:/" "$KEY"

# a client that is newer than our node
on b timeout 100 "$STRANGER" client "${NODE_ADDR[n]}" "$PORT" 7 9 >"$OUT" ||
	fail "a newer client ended with $?"
same "type 5 status 24 versions 1 to 2" "$(cat "$OUT")" "answer of the node"
grep -q 'client speaks protocol version 7 to 9, we 1 to 2' "${NODE_LOG[n]}" ||
	fail "the node does not say it"

# strangers who want to do harm
for how in cm-magic cm-version magic type grants short long early proof write; do
	on b timeout 100 "$STRANGER" bad "${NODE_ADDR[n]}" "$PORT" "$how" >"$OUT" 2>&1 ||
		fail "$how: ended with $?: $(cat "$OUT")"
	is_alive "${NODE_PID[n]}" || fail "the node has ended after: $how"
done

# nobody else has noticed anything
same_bytes "$TMPDIR/mnt/file"
same "$before" "$(connections)" "connections of the mount that was there"
one_client() { [ "$(node_says status clients '#')" = 1 ]; }
wait_for 20 one_client || fail "the node keeps strangers: $(node_says status clients)"
stop_client c
stop_node n
