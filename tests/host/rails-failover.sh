#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
#
# Two networks between a mount and its node. One cable is pulled under load: the load goes on over
# the other, no program sees an error, nothing is lost or doubled. The cable is put back: the mount
# returns. With the addresses from the mount options, and with those that the node tells.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/../vm/lib/hosts.sh"
. "$(dirname "$0")/lib/mounts.sh"
. "$(dirname "$0")/lib/rails.sh"
requires root netns /dev/fuse ip nsenter

two_hosts none 2
rails_node n store=memory memory=256MiB

# a list in the mount options
start_client c "$TMPDIR/mnt" \
	"io_uring=off,rails=${HOST_ADDR[a.2]}:${NODE_PORT[n]}/${HOST_ADDR[b.2]}"
same 2 "$(rails_nr)" "rails of the list"
rails_settle
rails_load_start
rails_pull "$(rails_link)"
rails_return
rails_pull "$(rails_link)"
rails_put_back
rails_load_end
stop_client c

# what the node tells; the mount may begin at the other one, and moves
start_client c "$TMPDIR/mnt" io_uring=off
wait_for 10 "rails_nr | grep -qx 2" || fail "the client did not take the node's second address"
client_says c status nodes 0 rails | grep -q '"source": "node"' || fail "it is not the node's"
rails_settle
rails_load_start
rails_pull "$(rails_link)"
rails_return
# both: calls wait, and go on
link_set down 1
link_set down 2
wait_for 20 "! rails_is_up" || fail "up without a cable"
rails_loads_live
link_set up 2
rails_progress 30 "with one of two cables back"
link_set up 1
rails_load_end
stop_client c

# rails=off: the second address is not used
start_client c "$TMPDIR/mnt" io_uring=off,rails=off
echo one >"$TMPDIR/mnt/one"
same 1 "$(rails_nr)" "rails with rails=off"
stop_client c
stop_node n
