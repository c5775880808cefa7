#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
#
# A disk below the node that others fill and empty again: ENOSPC while there is no room, and none
# as soon as there is, for names and for data, also when the node was started without room.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse mkfs.ext4

others_fill() {
	local free
	free=$(stat -f -c '%a * %S' "$disk")
	fallocate -l $((free - 65536)) "$disk/others"
}

write_some() { # FILE: 20 MiB
	rm -f "$1"
	dd if=/dev/zero of="$1" bs=1M count=20 oflag=direct status=none 2>"$TMPDIR/write.txt"
}

no_room() { # DIR: neither for data nor, in the end, for names
	local i
	! write_some "$1/none" || fail "there is room for data"
	grep -q 'No space left' "$TMPDIR/write.txt" || fail "$(cat "$TMPDIR/write.txt")"
	for i in {1..20000}; do
		(: >"$1/name$i") 2>"$TMPDIR/write.txt" || break
	done
	grep -q 'No space left' "$TMPDIR/write.txt" || fail "there is room for $i names"
	same true "$(node_says a space full)" "the status says full"
}

disk=$TMPDIR/disk
truncate -s 1G "$TMPDIR/image"
mkfs.ext4 -q -m 0 "$TMPDIR/image" || skip "cannot make a filesystem"
mkdir "$disk" "$TMPDIR/a"
mount -o loop "$TMPDIR/image" "$disk" || skip "no loop devices"
cleanup_fn umount -i "$disk"
mkdir "$disk/node"
mount --bind "$disk/node" "$TMPDIR/a"
cleanup_fn umount -i "$TMPDIR/a"

start_node a journal=16MiB index_map=64MiB
find_paths
path=${PATHS[0]}
start_client "$path" "$TMPDIR/mnt" "$(mount_options "$path")"
dir=$TMPDIR/mnt
write_some "$dir/before"
others_fill
# what the node had allocated before is its own
dd if=/dev/zero of="$dir/own" bs=1M count=2000 oflag=direct status=none 2>/dev/null || :
no_room "$dir"
rm "$disk/others"
wait_for 5 "write_some '$dir/after'" || fail "no room again: $(cat "$TMPDIR/write.txt")"
same false "$(node_says a space full)" "the status says full"

# without room from the start
others_fill
dd if=/dev/zero of="$dir/own2" bs=1M count=2000 oflag=direct status=none 2>/dev/null || :
stop_node a
start_node a journal=16MiB index_map=64MiB
no_room "$dir"
rm "$disk/others"
for i in {1..15}; do # more than the disk had at the start
	wait_for 5 "write_some '$dir/after$i'" || fail "no room again: $(cat "$TMPDIR/write.txt")"
done

stop_client "$path"
stop_node a
