#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
#
# RDMA over a bad network and with ends that die: a pause, and the right bytes; nothing stays
# behind in the kernel.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/hosts.sh"
. "$(dirname "$0")/../host/lib/mounts.sh"
. "$(dirname "$0")/lib/rdma_mount.sh"
requires root netns rdma tc ring /dev/fuse

rdma_up rxe
make_file "$TMPDIR/wanted" $((4 * MB))
reconnects() { client_says c status nodes 0 reconnects; }
write_one() { dd if="$TMPDIR/wanted" of="$TMPDIR/mnt/$1" bs=1M oflag=direct status=none; }

write_one plain
# soft-RoCE takes a packet out of order for a lost one, and goes back to it: small numbers suffice
head -c "$MB" "$TMPDIR/wanted" >"$TMPDIR/part"
for bad in "loss 0.2%" "delay 1ms reorder 99% gap 200"; do
	# shellcheck disable=SC2086
	netem $bad
	dd if="$TMPDIR/part" of="$TMPDIR/mnt/lossy" bs=1M oflag=direct status=none
	dd if="$TMPDIR/mnt/lossy" bs=1M iflag=direct status=none | cmp - "$TMPDIR/part" ||
		fail "wrong bytes with $bad"
	netem
done
same_bytes "$TMPDIR/mnt/plain"
on_rdma

link_set down
write_one waits &
copy=$!
cleanup_fn _end_pid "$copy"
# the device says so; without that, the silence of the peer would be the reason
wait_for 20 "grep -q 'port 1 of ${RDMA_DEV[b]} is down' '$TMPDIR/c.log'" ||
	fail "the connection did not end by the event of its port"
is_alive "$copy" || fail "a write did not wait for the cable"
link_set up
wait "$copy" || fail "the write ended with $? after the cable was back"
same_bytes "$TMPDIR/mnt/waits"

for i in 1 2 3; do
	before=$(reconnects)
	kill_node n
	write_one "killed-$i" &
	copy=$!
	cleanup_fn _end_pid "$copy"
	start_node n
	wait "$copy" || fail "the write ended with $? after the node was back"
	[ "$(reconnects)" -gt "$before" ] || fail "no new connection"
	on_rdma
done
same_bytes "$TMPDIR/mnt/"killed-{1,2,3}

# a client that dies takes nothing along, and leaves nothing
kill_client c
client_is_away() { [ "$(node_says status clients 0 state)" = away ]; }
wait_for 20 client_is_away || fail "the node did not notice"
start_client c "$TMPDIR/mnt" io_uring=on,transport=rdma
same_bytes "$TMPDIR/mnt/"{plain,waits,killed-1}
stop_client c
same "$OBJECTS_BEFORE" "$(rdma_objects b)" "objects of the device after all clients are gone"

# without a device: auto takes TCP and says why, rdma refuses
rdma_device_gone b 1 rxe
start_client c "$TMPDIR/mnt" io_uring=on
same tcp "$(client_says c status transport)" "transport without a device"
[ -n "$(client_says c status transport_reason)" ] || fail "no reason"
same_bytes "$TMPDIR/mnt/plain"
stop_client c
rc=0
on b timeout 60 "$BIN/pagewire-client" "${NODE_ADDR[n]}:${NODE_PORT[n]}:/" "$TMPDIR/mnt" -f \
	-o "key_file=$TMPDIR/cluster.key,transport=rdma" >"$TMPDIR/refused.log" 2>&1 || rc=$?
same 16 "$rc" "exit code with transport=rdma and no device"
grep -q 'RDMA device' "$TMPDIR/refused.log" || fail "it does not say why"
stop_node n
