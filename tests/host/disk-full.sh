#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A full disk: ENOSPC at once and nothing else, what was there stays right, deletes work and give
# the space back, also over a restart of the node on the full disk. With a disk that is really
# full, and with a store that may not grow.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse mkfs.ext4

MB=$((1 << 20))
SLOW=$TIME_FACTOR
DISK_MB=$(scaled 160 104)

no_space() { # COMMAND...: ends with ENOSPC, and soon
	local from=$SECONDS
	fails timeout $((60 * SLOW)) "$@"
	grep -q 'No space left' "$TMPDIR/fails.txt" ||
		fail "no ENOSPC of $*: $(tail -n 3 "$TMPDIR/fails.txt")"
	[ $((SECONDS - from)) -le $((20 * SLOW)) ] || fail "ENOSPC only after $((SECONDS - from)) s"
}

fill() { # FILE: until there is no space; what was written stays
	no_space dd if=/dev/zero of="$1" bs=1M count=1000 oflag=direct
	[ -s "$1" ] || fail "nothing was written to $1"
}

full_and_empty() { # PATH
	local path=$1 dir=${MNT[$1]} free i
	make_file "$dir/kept" $((5 * MB)) 7
	for i in {1..50}; do
		echo "$i" >"$dir/small$i"
	done
	free=$(node_says a space free)
	# half of it through the page cache
	dd if=/dev/zero of="$dir/cached" bs=1M count=$((free / MB / 2)) status=none
	fill "$dir/direct"
	# full for everybody, in small pieces too
	no_space dd if=/dev/zero of="$dir/direct" bs=4k count=100000 oflag=append conv=notrunc
	same true "$(node_says a space full)" "the status says full"
	make_file "$TMPDIR/same" $((5 * MB)) 7
	cmp "$TMPDIR/same" "$dir/kept" || fail "a file was damaged"
	# over a restart, in order and not
	stop_node a
	start_node a
	cmp "$TMPDIR/same" "$dir/kept"
	kill_node a
	start_node a
	cmp "$TMPDIR/same" "$dir/kept"
	for i in {1..50}; do
		same "$i" "$(cat "$dir/small$i")" "small$i"
	done
	no_space dd if=/dev/zero of="$dir/other" bs=1M count=1000 oflag=direct

	# deletes, renames and truncates need no space that is not there
	mv "$dir/small1" "$dir/small1b"
	rm "$dir/small1b"
	truncate -s 0 "$dir/cached"
	rm "$dir/cached" "$dir/direct"
	rm -f "$dir/other" # a full disk may have no room for a new name either
	wait_for 20 "[ \"\$(node_says a space free)\" -ge $((free - 4 * MB)) ]" ||
		fail "space does not come back: $(node_says a space free) of $free"
	same false "$(node_says a space full)" "the status says full"
	make_file "$dir/again" $((20 * MB)) 8
	make_file "$TMPDIR/same" $((20 * MB)) 8
	cmp "$TMPDIR/same" "$dir/again"
	rm -r "${dir:?}"/*
	wait_for 20 "[ \"\$(node_says a space free)\" -ge $((free + 4 * MB)) ]" ||
		fail "space does not come back after all"
}

# a disk of its own; files without a name wait for a lease after a start, as somebody may return for
# them
disk=$TMPDIR/disk
truncate -s "$DISK_MB"M "$TMPDIR/image"
mkfs.ext4 -q -m 0 "$TMPDIR/image" || skip "cannot make a filesystem"
mkdir "$disk"
mount -o loop "$TMPDIR/image" "$disk" || skip "no loop devices"
cleanup_fn umount -i "$disk"
mkdir "$TMPDIR/a"
mount --bind "$disk" "$TMPDIR/a"
cleanup_fn umount -i "$TMPDIR/a"

start_node a journal=16MiB index_map=64MiB heartbeat=200ms dead=600ms lease=2s
mount_paths
for path in "${PATHS[@]}"; do
	full_and_empty "$path"
done
unmount_paths
stop_node a

# a store that may not grow
start_node b max_data=64MiB journal=16MiB heartbeat=200ms dead=600ms lease=2s
mount_paths
dir=${MNT[${PATHS[-1]}]}
fill "$dir/f"
# its journal lies in it too
[ "$(stat -c %s "$TMPDIR/b/store.dat")" -le $((81 * MB)) ] || fail "store.dat has grown too far"
# what a delete is about to give back counts for a new name, too; what was just closed may be open
# for a moment
wait_for 5 "[ \"\$(node_says b clients 0 open_files)\" = 0 ]" || fail "a file is still open"
rm "$dir/f"
dd if=/dev/zero of="$dir/g" bs=1M count=40 oflag=direct || fail "no space right behind a delete"
unmount_paths
