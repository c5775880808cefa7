#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 300
#
# Two networks with an RDMA device each. A cable is pulled under load: RDMA goes on over the other
# device, TCP is not touched, no program sees an error; the mount returns when it is back. Without
# the device of the preferred network it is RDMA over the other one all the same.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
. "$(dirname "$0")/../host/lib/mounts.sh"
. "$(dirname "$0")/../host/lib/rails.sh"
requires root netns rdma ring /dev/fuse

is_rdma() {
	[ "$(client_says c status transport)" = rdma ]
}

two_hosts rxe 2
ring_switch on
rails_node n store=memory memory=256MiB
start_client c "$TMPDIR/mnt" io_uring=on
wait_for 20 "rails_nr rdma | grep -qx 2" || fail "not two rails with RDMA"
rails_settle
# an answer that came before the kernel listened for it was once found after two seconds
never_failed() {
	client_says c status nodes 0 rails | /usr/bin/python3 -c '
import json, sys
rails = [r for r in json.load(sys.stdin) if r["transport"] == "rdma"]
if any(r["failures"] for r in rails):
    print(rails, file=sys.stderr)
sys.exit(not all(r["state"] == "up" and not r["failures"] for r in rails))'
}
wait_for 20 never_failed || fail "a way over RDMA failed, or stays unproved, with both cables in"
is_rdma || fail "not over RDMA: $(client_says c status transport_reason)"
rails_load_start
rails_pull "$(rails_link)"
is_rdma || fail "over TCP with RDMA on the other rail"
rails_return
is_rdma || fail "not over RDMA after the return"
rails_load_end

preferred=$(rails_link)
rdma_device_gone b "$preferred" rxe
echo still >"$TMPDIR/mnt/still"
rails_on_other() { is_rdma && rails_is_up && ! rails_link | grep -qx "$preferred"; }
wait_for 20 rails_on_other || fail "not over the other device"
same still "$(cat "$TMPDIR/mnt/still")" "content"
stop_client c
stop_node n
