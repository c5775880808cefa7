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
	receives_are_shared
	stop_client c
	stop_node n
	largest_requests
}

# what the node keeps for messages that come in is one thing for all connections of a device
receives_are_shared() {
	"$BIN/pagewire" status >"$TMPDIR/status"
	grep -q "receives *${RDMA_DEV[a]}: .* 1 connections share [1-9]" "$TMPDIR/status" ||
		fail "no row 'receives' of ${RDMA_DEV[a]}: $(cat "$TMPDIR/status")"
}

# requests of 16 MiB, the largest that there are
largest_requests() {
	local before
	echo 4096 >/proc/sys/fs/fuse/max_pages_limit
	NODE_AT=a
	CLIENT_AT=b
	start_node n store=memory memory=256MiB max_io=16MiB slots=4
	start_client c "$TMPDIR/mnt" "io_uring=on,transport=rdma,max_io=16M,slots=4,queue_depth=2"
	on_rdma
	same $((16 * MB)) "$(client_says c status fuse max_io_bytes)" "max_io"
	make_file "$TMPDIR/wanted" $((32 * MB)) 3
	before=$(client_says c stats paths pool requests)
	dd if="$TMPDIR/wanted" of="$TMPDIR/mnt/large" bs=16M oflag=direct status=none
	dd if="$TMPDIR/mnt/large" of="$TMPDIR/got" bs=16M iflag=direct status=none
	cmp "$TMPDIR/wanted" "$TMPDIR/got"
	# 4 of them, and those that open and close
	before=$(($(client_says c stats paths pool requests) - before))
	[ "$before" -lt 32 ] || fail "$before requests for 4 times 16 MiB"
	stop_client c
	stop_node n
}
