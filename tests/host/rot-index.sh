#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# timeout: 240
#
# The index or the journal is damaged while the node is down: it does not start, says which file it
# is and what to do, and changes nothing: with the file as it was, everything is there. What nobody
# needs any more may be damaged.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

MOUNT=$TMPDIR/mnt
INDEX=$TMPDIR/a/index/data.mdb
STORE=$TMPDIR/a/store.dat
flip() { # FILE TEXT: a bit of it, or back
	/usr/bin/python3 "$HERE/flip.py" bit "$1" "$2"
}
NEEDLES=$(scaled 200 80)
SAYS="data directory $TMPDIR/a: its index or journal is damaged"
refused() { # PATTERN...
	local rc=0 pattern
	timeout 30 "${ON_NODE[@]}" "$BIN/pagewire-node" -c "${NODE_CONF[a]}" \
		>"$TMPDIR/refused.txt" 2>&1 || rc=$?
	same 14 "$rc" "exit code ($(tail -n 2 "$TMPDIR/refused.txt"))"
	for pattern in "$@" "$SAYS"; do
		grep -q -- "$pattern" "$TMPDIR/refused.txt" ||
			fail "not said: $pattern: $(cat "$TMPDIR/refused.txt")"
	done
}
# damaged PATTERN COMMAND [ARG...]: COMMAND damages the index
damaged() {
	local pattern=$1
	shift
	cp "$INDEX" "$TMPDIR/good.mdb"
	"$@"
	cp "$INDEX" "$TMPDIR/bad.mdb"
	refused "$pattern"
	cmp "$INDEX" "$TMPDIR/bad.mdb" || fail "a damaged file was changed"
	cp "$TMPDIR/good.mdb" "$INDEX"
}
garbage() { # FILE OFFSET
	head -c 100 /dev/zero | tr '\0' 'x' |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
mount_it() {
	start_client c "$MOUNT" io_uring=off
}
all_there() {
	local i
	for ((i = 1; i <= NEEDLES; i++)); do
		same "$i" "$(cat "$MOUNT/needle-$i")" "needle-$i"
	done
}

start_node a scrub=0 journal=16MiB max_data=64MiB
mount_it
for ((i = 1; i <= NEEDLES; i++)); do
	echo "$i" >"$MOUNT/needle-$i"
done
stop_client c
stop_node a
cp "$INDEX" "$TMPDIR/old.mdb"

damaged "$INDEX: page 0: " garbage "$INDEX" 0
damaged "$INDEX: page 1: " garbage "$INDEX" 4096
damaged "$INDEX: page [0-9]*: " flip "$INDEX" needle-77
damaged "$INDEX: page [0-9]*: .*end of the file" truncate -s 12288 "$INDEX"
SAYS="" damaged "index/data.mdb is missing or empty" truncate -s 0 "$INDEX"
# after an orderly end nobody needs what is in the journal
garbage "$STORE" 0
start_node a
mount_it
all_there
mkdir "$MOUNT/later"
stop_client c
stop_node a

# an index of earlier, beside a journal of later
damaged "the index is an old copy" cp "$TMPDIR/old.mdb" "$INDEX"

# the last thing that was acknowledged before a crash
start_node a
mount_it
seals() {
	ask "$TMPDIR/a/control.sock" stats kv seals
}
mkdir "$MOUNT/the-last-name"
wait_for 10 "[ \"\$(seals)\" -ge 1 ]" || fail "the journal was not sealed"
kill_node a
flip "$STORE" the-last-name
refused "journal: damaged: commit [0-9]*"
flip "$STORE" the-last-name
start_node a
[ -d "$MOUNT/the-last-name" ] || fail "an acknowledged name is gone"
[ -d "$MOUNT/later" ] || fail "a name is gone"
all_there
stop_client c
