#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The node goes and comes back, in order or not, while clients are idle or hold files without a
# name; somebody else comes up in its place; a second node wants its folder.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

start_node a heartbeat=200ms dead=600ms lease=2s max_data=512MiB
mount_paths

declare -A ASK=() ANSWER=()
# hold PATH: a process that holds a file without a name, and tells what is in it when it is asked
hold() {
	local ask=$TMPDIR/ask-$1 answer=$TMPDIR/answer-$1 fd
	mkfifo "$ask" "$answer"
	/usr/bin/python3 "$HERE/hold.py" "${MNT[$1]}/held-$1" "$ask" "$answer" &
	cleanup_fn _end_pid "$!"
	# both ways, so that no open waits for the other end
	exec {fd}<>"$ask"
	ASK["$1"]=$fd
	exec {fd}<>"$answer"
	ANSWER["$1"]=$fd
}
held_is_right() { # PATH
	local answer
	echo check >&"${ASK[$1]}"
	read -r -t 40 answer <&"${ANSWER[$1]}" || fail "$1: no answer of the holder"
	same right "$answer" "the file without a name, over $1"
}
all_right() {
	local path
	for path in "${PATHS[@]}"; do
		held_is_right "$path"
		cmp "${MNT[$path]}/$path" "$(other_mount "$path")/$path"
		[ ! -e "${MNT[$path]}/held-$path" ] || fail "a removed name came back"
	done
}

for path in "${PATHS[@]}"; do
	hold "$path"
	make_file "${MNT[$path]}/$path" 300000
done
all_right
full=$(node_says a space free)

# idle, in order; idle, by a crash
stop_node a
start_node a
all_right
kill_node a
start_node a
all_right
# away for longer than the lease, as each client counts it
stop_node a
for path in "${PATHS[@]}"; do
	wait_for 20 "[ \"\$(client_says $path status nodes 0 down_ms)\" -gt 2000 ]"
done
start_node a
all_right
for path in "${PATHS[@]}"; do
	[ "$(client_says "$path" status nodes 0 reconnects)" -ge 3 ] || fail "$path: no reconnect"
done

# a second node on the folder of a running one
sed "s/^listen=.*/listen=$(node_address a):$(free_port)/" "${NODE_CONF[a]}" >"$TMPDIR/second.ini"
fails timeout 20 "${ON_NODE[@]}" "$BIN/pagewire-node" -c "$TMPDIR/second.ini"
grep -q "$TMPDIR/a" "$TMPDIR/fails.txt" || fail "no folder named: $(cat "$TMPDIR/fails.txt")"
all_right

# another filesystem behind the same address: nobody may write into it
stop_node a
mkdir "$TMPDIR/foreign"
sed "s,^dir=.*,dir=$TMPDIR/foreign," "${NODE_CONF[a]}" >"$TMPDIR/foreign.ini"
NODE_PORT["foreign"]=${NODE_PORT[a]}
start_node foreign
for path in "${PATHS[@]}"; do
	dd if=/dev/zero of="${MNT[$path]}/late-$path" bs=4096 count=1 oflag=direct status=none &
	late=$!
	cleanup_fn _end_pid "$late"
	wait_for 15 "client_says $path status nodes 0 why | grep -qi filesystem" ||
		fail "$path: a foreign node was not noticed"
	is_alive "$late" || fail "$path: a write ended at a foreign node"
done
start_client look "$TMPDIR/look" io_uring=off
same "" "$(ls "$TMPDIR/look")" "names in the foreign filesystem"
stop_client look
stop_node foreign
start_node a
for path in "${PATHS[@]}"; do
	wait_for 20 "[ -s '${MNT[$path]}/late-$path' ]" || fail "$path: the late write is missing"
done
all_right

# closed at last: their space comes back
for path in "${PATHS[@]}"; do
	echo quit >&"${ASK[$path]}"
done
wait_for 20 "[ \"\$(node_says a space free)\" -gt $((full + (7 << 20) * ${#PATHS[@]})) ]" ||
	fail "the files without a name still take space"
unmount_paths
