#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Soft-iWARP moves data between two network namespaces, with the tools of others.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
. "$(dirname "$0")/lib/rdma_tools.sh"
requires root netns rdma rping

two_hosts siw
# iWARP connects through the connection manager only
cm_ping 10 64
cm_ping 20 65000
