#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A bit flips on the disk: EIO for that block only, a log line that names file, chunk and block,
# and never wrong data. Writing the block anew heals it; a write of a part of it must not make
# the rest of it look right. The scrub finds such a block by itself.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

BLOCK=4096
flip() { # FILE TEXT: one bit of the only place in the store where TEXT is
	/usr/bin/python3 "$HERE/flip.py" "$TMPDIR/a/store.dat" "$1"
}
log_size() {
	wc -c <"${NODE_LOG[a]}"
}
logged() { # FROM PATTERN
	tail -c +$(($1 + 1)) "${NODE_LOG[a]}" | grep -qE "$2"
}

start_node a scrub=0
mount_paths
# a chunk and a bit, in blocks that can be found again
for path in "${PATHS[@]}"; do
	/usr/bin/python3 "$HERE/flip.py" make "${MNT[$path]}/$path" 1100
	/usr/bin/python3 "$HERE/flip.py" make "${MNT[$path]}/$path-good" 40
done
unmount_paths
stop_node a
# the blocks 5 and 6 (chunk 0), 1050 (chunk 1)
for path in "${PATHS[@]}"; do
	for block in 5 6 1050; do
		flip "$path/$block"
	done
done
start_node a
mount_paths

damaged() { # BLOCK... PATH MOUNT: exactly these give EIO; what is read is right
	local path=${*: -2:1} dir=${*: -1}
	set -- "${@:1:$#-2}"
	/usr/bin/python3 "$HERE/flip.py" check "$dir/$path" 1100 "$@"
	/usr/bin/python3 "$HERE/flip.py" check "$dir/$path-good" 40
}
# each one once: repeated lines are held back
from=$(log_size)
for path in "${PATHS[@]}"; do
	for where in "5 chunk 0, block 5" "6 chunk 0, block 6" "1050 chunk 1, block 26"; do
		fails dd if="${MNT[$path]}/$path" bs=$BLOCK skip="${where%% *}" count=1 iflag=direct
		grep -q 'Input/output error' "$TMPDIR/fails.txt" || fail "$path, $where: no EIO"
		logged "$from" "file /$path: .*${where#* }\b" || fail "no log line: $path, $where"
	done
done
each_path damaged 5 6 1050
[ "$(node_says a errors '#')" -gt 0 ] || fail "the status has no error"

heal() { # PATH MOUNT
	local file=$2/$1 rc=0
	# a part of a damaged block: what is left of it cannot become right by that
	printf 'some' | dd of="$file" bs=4 seek=$((5 * BLOCK / 4 + 10)) conv=notrunc \
		oflag=direct status=none 2>"$TMPDIR/part-$1.txt" || rc=$?
	[ "$rc" -ne 0 ] || fail "$1: a part of a damaged block was written"
	# the whole block
	/usr/bin/python3 "$HERE/flip.py" rewrite "$file" 5 1050
}
each_path heal
each_path damaged 6
unmount_paths
stop_node a
start_node a
mount_paths
each_path damaged 6
for path in "${PATHS[@]}"; do
	rm "${MNT[$path]}/$path"
done

# the scrub: nobody reads this file
/usr/bin/python3 "$HERE/flip.py" make "${MNT[${PATHS[0]}]}/unread" 300
stop_node a
flip unread/77
from=$(log_size)
sed -i 's/^scrub=.*/scrub=64MiB/' "${NODE_CONF[a]}"
start_node a
# not the first error that it counts: the files that were just removed are damaged too, and are
# there until nobody can come back for them; they have no name that it could log
wait_for 30 "logged $from 'file /unread: .*chunk 0, block 77\\b'" ||
	fail "no log line of the scrub"
[ "$(node_says a scrub errors)" -gt 0 ] || fail "the scrub counted nothing"
passes=$(node_says a scrub passes)
wait_for 30 "[ \"\$(node_says a scrub passes)\" -gt $((passes + 1)) ]" || fail "it scrubs no more"
is_alive "${NODE_PID[a]}" || fail "the node is gone"
unmount_paths
