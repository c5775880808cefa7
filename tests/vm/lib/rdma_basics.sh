# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# rdma_basics.sh - what has to hold over every RDMA device: $1 is the provider
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
. "$(dirname "$0")/../host/lib/mounts.sh"
. "$(dirname "$0")/lib/rdma_mount.sh"
requires root netns rdma ring /dev/fuse

rdma_basics() {
	local f sizes=(1 100 4095 4096 4097 65536 $((MB - 1)) "$MB" $((3 * MB + 5)))

	rdma_up "$1" store=memory memory=256MiB
	make_file "$TMPDIR/wanted" $((4 * MB))
	cp "$TMPDIR/wanted" "$TMPDIR/mnt/buffered"
	dd if="$TMPDIR/wanted" of="$TMPDIR/mnt/direct" bs=1M oflag=direct status=none
	dd if="$TMPDIR/wanted" of="$TMPDIR/mnt/small" bs=4k oflag=direct status=none
	same_bytes "$TMPDIR/mnt/"{buffered,direct,small}
	for f in "${sizes[@]}"; do
		head -c "$f" "$TMPDIR/wanted" >"$TMPDIR/mnt/size-$f"
		head -c "$f" "$TMPDIR/wanted" | cmp - "$TMPDIR/mnt/size-$f" || fail "size $f"
	done
	# names that do not fit a message
	mkdir -p "$TMPDIR/mnt/tree"
	for f in {1..200}; do
		: >"$TMPDIR/mnt/tree/a-rather-long-name-so-that-the-list-of-them-is-long-$f"
	done
	same 200 "$(find "$TMPDIR/mnt/tree" -type f | wc -l)" "files"
	stop_client c
	stop_node n
}
