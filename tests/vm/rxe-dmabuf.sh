#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# soft-RoCE registers dma-bufs, which a patch of kernel/series adds: data moves from and to parts of
# one; ranges outside of it and descriptors of anything else are refused. Nothing of it is left.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
. "$(dirname "$0")/lib/rdma_mount.sh"
requires root netns rdma

two_hosts rxe
gid=$(gid_index "${RDMA_DEV[a]}" "${HOST_ADDR[a]}")
before=$(rdma_objects a)
LD_PRELOAD=$BIN/tests/vm/lib/dmabuf_mr.so on a timeout 100 "$BIN/tests/vm/lib/mr_dmabuf" \
	-d "${RDMA_DEV[a]}" -g "$gid" || fail "ended with $?"
same "$before" "$(rdma_objects a)" "what the device has"
