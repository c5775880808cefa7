#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
# deploy/quickstart: start, again, stop, start with the data that is there, two side by side, purge
. "$(dirname "$0")/../lib/functions.sh"
requires root /dev/fuse python3
[ ! -w "$RING_SWITCH" ] || ring_switch on

Q=$TMPDIR/q
OUT=$TMPDIR/out.txt
mkdir "$Q"

# quick NAME [ARGUMENT...]: as CI calls it, without stdin
quick() {
	local name=$1
	shift
	"$PW_SOURCE/deploy/quickstart" --build "$BIN" --dir "$Q/$name" "$@" >"$OUT" 2>&1 </dev/null
}
says() { grep -q -- "$1" "$OUT" || { cat "$OUT" >&2; fail "does not say: $1"; }; }

PORT_A=$(free_port)
cleanup_fn quick a --purge
quick a --mount "$Q/ma" --port "$PORT_A" || { cat "$OUT" >&2; fail "does not start"; }
same 2 "$(grep -c 'is the same' "$OUT")" "files that the self check compared"
says 'O_DIRECT *64 MiB written'
says 'buffered *64 MiB written'
if [ -w "$RING_SWITCH" ]; then
	says 'data path pool: 128 MiB written, 128 MiB read'
else
	says 'data path dev: 128 MiB written, 128 MiB read'
fi
says "mount $Q/ma  127.0.0.1:$PORT_A:/  serving"
says 'everything runs'
is_mounted "$Q/ma" || fail "not mounted"
same 600 "$(stat -c %a "$Q/a/cluster.key")" "mode of the key"
same "" "$(ls -A "$Q/ma")" "what the self check left behind"
echo kept >"$Q/ma/file"

node=$(cat "$Q/a/node.pid")
quick a || fail "started again: $(cat "$OUT")"
says 'already runs'
same "$node" "$(cat "$Q/a/node.pid")" "node"
quick a --port "$((PORT_A + 1))" && fail "another port while it runs"
says 'stop it first'

# a second one beside it
PORT_B=$(free_port)
cleanup_fn quick b --purge
quick b --mount "$Q/ma" --port "$PORT_B" && fail "mounts over another one"
says 'already a mount'
quick b --mount "$Q/mb" --port "$PORT_A" && fail "takes a port that is in use"
says 'port is in use'
rc=0
quick b --mount "$Q/mb" --port "$PORT_A" || rc=$?
same 7 "$rc" "exit code for a port in use"
quick b --mount "$Q/mb" --port "$PORT_B" || { cat "$OUT" >&2; fail "no second instance"; }
echo other >"$Q/mb/file"
same kept "$(cat "$Q/ma/file")"

# the mount is gone, the node is not: only what is missing is started
timeout 20 "$BIN/pagewire" umount -q "$Q/mb" || fail "cannot unmount"
node=$(cat "$Q/b/node.pid")
quick b || { cat "$OUT" >&2; fail "does not mount again"; }
same "$node" "$(cat "$Q/b/node.pid")" "node after the mount was lost"
same other "$(cat "$Q/mb/file")"

# stop keeps the data, also when nothing runs any more
quick a --stop || { cat "$OUT" >&2; fail "does not stop"; }
says 'the data is kept'
is_mounted "$Q/ma" && fail "still mounted"
quick a --stop || fail "stopped twice: $(cat "$OUT")"
says 'nothing runs'
same other "$(cat "$Q/mb/file")"
quick a || { cat "$OUT" >&2; fail "does not start with its data"; }
same kept "$(cat "$Q/ma/file")" "file after stop and start"

# somebody works in the mount: nothing is torn down below him
(cd "$Q/ma" && exec sleep 60) &
user=$!
cleanup_fn _end_pid "$user"
wait_for 5 "[ \"\$(readlink /proc/$user/cwd)\" = '$Q/ma' ]"
quick a --stop && fail "stops under a user"
says "process $user (sleep) works in it"
stop_pid "$user" || true

# purge deletes what quickstart made and nothing else
touch "$Q/a/mine"
quick a --purge || { cat "$OUT" >&2; fail "does not purge"; }
says "deleted the data"
same mine "$(ls -A "$Q/a")" "what purge left"
[ ! -e "$Q/ma" ] || fail "the mount point stays"
quick b --purge || fail "does not purge: $(cat "$OUT")"
[ ! -e "$Q/b" ] || fail "the directory stays"

# directories of others
mkdir "$Q/foreign"
touch "$Q/foreign/letter"
rc=0
quick foreign --mount "$Q/mf" || rc=$?
same 13 "$rc" "exit code for a directory of somebody else"
rc=0
quick foreign --purge || rc=$?
same 13 "$rc" "exit code of a purge there"
same letter "$(ls -A "$Q/foreign")"
rc=0
quick a --frob || rc=$?
same 2 "$rc" "exit code for an unknown argument"
