#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A queue pair ends while its peer goes on writing: at once, and soft-RoCE goes on. Without the
# patches 0013 and 0014 of kernel/series it works on freed memory, or waits for a minute.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
requires root netns rdma

two_hosts rxe
gid=$(gid_index "${RDMA_DEV[a]}" "${HOST_ADDR[a]}")
for how in destroy reset; do
	on a timeout 100 "$BIN/tests/vm/lib/qp_end" -d "${RDMA_DEV[a]}" -g "$gid" "$how" 1000 ||
		fail "$how: ended with $?"
done
