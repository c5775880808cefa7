#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# examples/gpu_copy.c: without a GPU it says what is missing; with one that tests/host/lib makes of
# a memfd it copies a file through regions. And pagewire doctor, which says what this machine has.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse jq
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

# doctor_says STATE NAME: of one check
doctor_says() {
	local rc=0
	"$BIN/pagewire" doctor --json >"$TMPDIR/doctor.json" || rc=$?
	same "$1" "$(jq -r --arg name "$2" '.checks[] | select(.name == $name).state' \
		"$TMPDIR/doctor.json")" "$2 of the doctor"
	same "$((rc == 0))" "$(jq 'if .good then 1 else 0 end' "$TMPDIR/doctor.json")" \
		"whether all is good, with exit code $rc"
	[ "$rc" -eq 0 ] || [ "$rc" -eq 3 ] || fail "the doctor ended with $rc"
}

[ "${PATHS[0]}" != ring ] || doctor_says good ring
if [ "$(client_says "${PATHS[0]}" stats regions in_kernel)" = true ]; then
	doctor_says good kernel
else
	doctor_says missing kernel
fi
[ -n "$(ls /sys/class/infiniband 2>/dev/null)" ] || doctor_says missing rdma
[ -e /dev/nvidiactl ] || doctor_says missing gpu
"$BIN/pagewire" doctor >"$TMPDIR/doctor.txt" || same 3 $? "exit code of the doctor"
grep -q ' -> ' "$TMPDIR/doctor.txt" || fail "nothing to do: $(cat "$TMPDIR/doctor.txt")"
fails "$BIN/pagewire" doctor nonsense

says 'usage: gpu_copy FROM TO' "$COPY"
says '/tmp: Operation not supported' "$COPY" /tmp "$m/to"
[ -e /dev/nvidiactl ] || says 'no CUDA here: libcuda.so.1' "$COPY" "$m/from" "$m/to"
export LD_LIBRARY_PATH=$PW_BUILD/tests/host/lib
FAKE_CUDA=none doctor_says missing gpu
FAKE_CUDA=closed doctor_says missing gpu
doctor_says good gpu
FAKE_CUDA=none says 'cuInit: CUDA_ERROR_NO_DEVICE (100)' "$COPY" "$m/from" "$m/to"
FAKE_CUDA=closed says 'this GPU exports no dma-buf' "$COPY" "$m/from" "$m/to"
[ ! -e "$m/to" ] || fail "a file was made before there was memory"

"$COPY" "$m/from" "$m/to"
cmp "$m/from" "$m/to"
same $((9 << 20 | 777)) "$(client_says "${PATHS[0]}" stats paths reg written_bytes)" "bytes written"
unmount_paths
