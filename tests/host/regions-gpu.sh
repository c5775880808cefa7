#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# examples/gpu_copy.c: without a GPU it says what is missing; with one that tests/host/lib makes of
# a memfd it copies a file through regions.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse
COPY=$PW_BUILD/examples/gpu_copy

start_node a store=memory memory=128MiB
mount_paths
m=${MNT[${PATHS[0]}]}
make_file "$m/from" $((9 << 20 | 777))

# says TEXT COMMAND...: it fails, and why
says() {
	local text=$1
	shift
	fails "$@"
	grep -q "$text" "$TMPDIR/fails.txt" || fail "not '$text': $(cat "$TMPDIR/fails.txt")"
}

says 'usage: gpu_copy FROM TO' "$COPY"
says '/tmp: Operation not supported' "$COPY" /tmp "$m/to"
[ -e /dev/nvidiactl ] || says 'no CUDA here: libcuda.so.1' "$COPY" "$m/from" "$m/to"
export LD_LIBRARY_PATH=$PW_BUILD/tests/host/lib
FAKE_CUDA=none says 'cuInit: CUDA_ERROR_NO_DEVICE (100)' "$COPY" "$m/from" "$m/to"
FAKE_CUDA=closed says 'this GPU exports no dma-buf' "$COPY" "$m/from" "$m/to"
[ ! -e "$m/to" ] || fail "a file was made before there was memory"

"$COPY" "$m/from" "$m/to"
cmp "$m/from" "$m/to"
same $((9 << 20 | 777)) "$(client_says "${PATHS[0]}" stats paths reg written_bytes)" "bytes written"
unmount_paths
