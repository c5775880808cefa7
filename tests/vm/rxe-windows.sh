#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A window that is not bound cannot be ended, whoever tries: the request fails, soft-RoCE goes on.
# Without the patch of kernel/series this is a null pointer in the kernel.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
requires root netns rdma

two_hosts rxe
gid=$(gid_index "${RDMA_DEV[a]}" "${HOST_ADDR[a]}")
for how in never local remote; do
	# as it has to end: a kernel that lost its way does not let it
	on a timeout 100 "$BIN/tests/vm/lib/mw_unbound" -d "${RDMA_DEV[a]}" -g "$gid" "$how" ||
		fail "$how: ended with $?"
done
