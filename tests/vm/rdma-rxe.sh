#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Soft-RoCE moves data between two network namespaces, with the tools of others.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
. "$(dirname "$0")/lib/rdma_tools.sh"
requires root netns rdma ss ib_write_bw ib_read_bw ib_send_bw ibv_rc_pingpong rping

two_hosts rxe
cm_ping 10 4096
rc_pingpong
for program in ib_write_bw ib_read_bw ib_send_bw; do
	perftest $program
done
