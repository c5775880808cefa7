#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 300
#
# Files over RDMA: all sizes, both ways, names; soft-RoCE, which has memory windows.
. "$(dirname "$0")/lib/rdma_basics.sh"
rdma_basics rxe
