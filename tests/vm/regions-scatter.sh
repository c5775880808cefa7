#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
#
# What lies in several pieces of a region travels over RDMA without a copy, too, in as many pieces
# as the kernel tells of, and so does what lies in a dma-buf that the device registers; pieces of
# which one is elsewhere, and those of a dma-buf that it does not, are copied and counted. The right
# bytes arrive, and nothing between the pieces changes. zc=require mounts where the kernel finds
# regions, and says why where it cannot: no ring, or no memory for the lists.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
. "$(dirname "$0")/../host/lib/mounts.sh"
. "$(dirname "$0")/lib/rdma_mount.sh"
. "$(dirname "$0")/lib/region_mount.sh"
requires jq

NR=4

# counts NAME: of the regions of mount c
counts() {
	"$BIN/pagewire" buffers --json "$TMPDIR/mnt" | jq ".mounts[0].$1"
}

# moves_all_without_a_copy
moves_all_without_a_copy() {
	local before lists pieces
	before=$(client_says c stats copied_bytes)
	for pieces in 2 20 100; do
		lists=$(counts hits_in_runs)
		step "write $pieces"
		step "read $pieces"
		lists=$(($(counts hits_in_runs) - lists))
		echo "write and read of $pieces pieces: $lists requests with lists"
		[ "$lists" -ge $((2 * NR)) ] || fail "$pieces pieces: $lists lists"
	done
	same 0 "$(counts copied_in_runs)" "bytes copied because of pieces"
	same "$before" "$(client_says c stats copied_bytes)" "bytes that the client copied"
}

region_mount_up
make_file "$TMPDIR/wanted" $((NR * MB)) 11
steps_begin region_scatter

# a list of the kernel has its place in the first page of a payload, and all the rest is closed
step "write 2"
guard closed
moves_all_without_a_copy
step "mixed 3" 'Bad address'
guard open
same_bytes "$TMPDIR/mnt/f"

# one piece elsewhere: the kernel copies the whole request (a long one may come as two)
misses=$(counts misses)
copied=$(client_says c stats copied_bytes)
step "mixed 3"
[ "$(counts misses)" -ge $((misses + NR)) ] || fail "$(counts misses) misses after $misses"
[ "$(client_says c stats copied_bytes)" -ge $((copied + NR * MB / 2)) ] ||
	fail "copies are not counted"
same_bytes "$TMPDIR/mnt/f"
on_rdma
steps_end

# the table takes a dma-buf
"$PW_BUILD/tests/unit/client/test_region" >"$TMPDIR/table" 2>&1 || fail "$(cat "$TMPDIR/table")"
grep -q 'OK ] test_add__dmabuf' "$TMPDIR/table" || fail "$(cat "$TMPDIR/table")"

# a dma-buf, which the kernel finds by its mapping, and the device does not register: one copy
steps_begin region_scatter udmabuf
hits=$(counts hits)
step "write 2"
step "read 2"
[ "$(counts hits)" -ge $((hits + 2 * NR)) ] || fail "$(counts hits) hits after $hits: a dma-buf"
[ "$(counts copied_in_runs)" -ge $((2 * NR * MB)) ] || fail "copies of a dma-buf are not counted"
"$BIN/pagewire" buffers "$TMPDIR/mnt" >"$TMPDIR/buffers"
cat "$TMPDIR/buffers"
grep -q 'copied once by the client, the device has not registered it: pwrxe' "$TMPDIR/buffers" ||
	fail "buffers does not say why"
same_bytes "$TMPDIR/mnt/f"
on_rdma
steps_end
stop_client c

# with a device that does: no copy, and no CPU can reach a payload
CLIENT_ENV="LD_PRELOAD=$PROGRAMS/payload_guard.so:$PROGRAMS/dmabuf_mr.so"
start_client c "$TMPDIR/mnt" "io_uring=on,transport=rdma"
for kind in udmabuf dma-heap; do
	make_file "$TMPDIR/wanted" $((NR * MB)) "${#kind}"
	steps_begin region_scatter $kind
	step "write 2"
	guard closed
	hits=$(counts hits)
	before=$(client_says c stats copied_bytes)
	for pieces in 1 2 20; do
		step "write $pieces"
		step "read $pieces"
		# the kernel makes a request of each piece
		hits=$((hits + 2 * NR * pieces))
		[ "$(counts hits)" -ge "$hits" ] ||
			fail "$kind, $pieces pieces: $(counts hits) of $hits hits"
	done
	same "$before" "$(client_says c stats copied_bytes)" "bytes copied of a registered $kind"
	guard open
	"$BIN/pagewire" buffers "$TMPDIR/mnt" >"$TMPDIR/buffers"
	! grep 'copied once by the client' "$TMPDIR/buffers" || fail "buffers says it is copied"
	same_bytes "$TMPDIR/mnt/f"
	on_rdma
	steps_end
done
stop_client c
CLIENT_ENV=

# over TCP pieces go to the socket from where they are
start_client c "$TMPDIR/mnt" "io_uring=on,transport=tcp,zc=require"
same tcp "$(client_says c status transport)" "transport"
steps_begin region_scatter
step "write 200"
step "read 200"
same 0 "$(counts copied_in_runs)" "bytes copied because of pieces, TCP"
[ "$(counts hits_in_runs)" -ge $((2 * NR)) ] || fail "$(counts hits_in_runs) lists over TCP"
same_bytes "$TMPDIR/mnt/f"
steps_end
stop_client c

# without memory for the lists the mount finds no regions by itself, says so, and copies
BIN=$PW_BUILD_ASAN
CLIENT_ENV="PW_FAULT=ring.runs:ENOMEM"
start_client c "$TMPDIR/mnt" "io_uring=on,transport=tcp"
same false "$(client_says c stats regions in_kernel)" "the kernel's regions"
[[ "$(client_says c stats regions kernel_why)" == *"out of memory"* ]] ||
	fail "why not: $(client_says c stats regions kernel_why)"
make_file "$TMPDIR/wanted" $((NR * MB)) 13
steps_begin region_scatter
step "write 2"
step "read 2"
same_bytes "$TMPDIR/mnt/f"
same 0 "$(counts hits)" "hits"
steps_end
stop_client c

# zc=require is refused then, and where there is no ring
refuses_to_mount() {
	# shellcheck disable=SC2086
	if on b timeout 40 env $CLIENT_ENV "$BIN/pagewire-client" -f \
		"$(node_address n):${NODE_PORT[n]}:/" "$TMPDIR/mnt" \
		-o "$(mount_options_of_all "$1,zc=require")" >"$TMPDIR/require" 2>&1; then
		fail "zc=require has mounted with $1"
	fi
	grep -q "zc=require: .*$2" "$TMPDIR/require" || fail "$(cat "$TMPDIR/require")"
	! is_mounted "$TMPDIR/mnt" || fail "zc=require leaves a mount behind"
}
refuses_to_mount io_uring=on "out of memory"
CLIENT_ENV=
refuses_to_mount io_uring=off io_uring
stop_node n
